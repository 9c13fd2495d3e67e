/* doc.h - the document, the batch, and their form on the wire (JSONL).
 *
 * One document per line (docs/formats/stream.md). Fields that the program
 * knows have a place in the struct; every other field is kept as its raw JSON
 * and passes through byte for byte, in its place behind the known ones.
 *
 * Memory: everything that a document points to lives in its batch's arena,
 * in the input buffer of its batch, or is static; nothing outlives the batch.
 * A stage that rewrites text takes the new bytes from the batch's arena.
 */
#ifndef KJ_BASE_DOC_H
#define KJ_BASE_DOC_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"

struct kj_err;
struct kj_json;
struct kj_rule;

/* Largest line, and so largest document, that is read. */
#define KJ_DOC_LINE_MAX (64u << 20)
/* Most fields of a document, and most signals; more are damage. Looking one up
 * is linear, and adding n of them takes n^2 / 2 comparisons: 100,000 took more
 * than a minute. Published corpora have below 50. */
#define KJ_DOC_FIELDS_MAX 1024
/* A batch is cut once its documents hold this many bytes of input. */
#define KJ_BATCH_BYTES (1u << 20)
/* Cap of a batch's arena: a batch may hold one largest document, decoded. */
#define KJ_BATCH_ARENA_CAP ((size_t)1 << 30)

/* A field that the program does not know, as it stood. */
struct kj_field {
    struct kj_str key;  /* escaped as it stood, without quotes */
    struct kj_str json; /* raw value */
};

/* A value that some rule looked at. Names are "family.rule". */
struct kj_signal {
    struct kj_str name;
    double value;
    const struct kj_rule *by; /* the row of rules() of the stage that compared it in
                                 this process; NULL: none, or it came with the input */
};

/* Who decided, when it was no stage. */
enum { KJ_BY_NONE = -1, KJ_BY_SOURCE = -2 };

/* Why a document is out. */
struct kj_verdict {
    int stage;        /* index in the running flow, set by it; or KJ_BY_... */
    const char *rule; /* "gopher.min_words"; static, or lives as long as the stage */
    double value, threshold; /* NAN where the rule has none */
    bool damaged;            /* a fault of the input, not a decision: exit status 3 */
    const char *note;        /* for damage: what was wrong; else NULL */
};

/* Where a document lies in an archive. */
struct kj_place {
    struct kj_str file;   /* base name of the archive */
    int64_t offset;       /* stored offset of its member (or record); -1 none */
    int64_t length;       /* stored length, -1 unknown */
    struct kj_str digest; /* WARC-Payload-Digest as it stood */
};

struct kj_doc {
    struct kj_str id;   /* WARC-Record-ID, or "xxh128:HEX" of the text */
    struct kj_str text; /* UTF-8 */
    struct kj_str url, date, dump, file_path, source;
    struct kj_str language, language_script;
    double language_score; /* NAN = absent */
    int64_t token_count;   /* -1 = absent */
    struct kj_place warc;
    struct kj_signal *signals; /* in the order in which they were measured */
    size_t n_signals, cap_signals;
    struct kj_field *fields; /* in input order, then in order of setting */
    size_t n_fields, cap_fields;

    struct kj_verdict out;
    uint64_t serial;   /* number within the input; never a basis of decisions */
    bool textless;     /* there was no field text, and none is written */
    struct kj_str raw; /* from sources: the undecoded record or line */
    void *aux;         /* for one stage or sink at a time: its own per-document data */
};

/* Where reading would go on behind a batch. */
struct kj_pos {
    uint32_t file;  /* index in the list of inputs */
    int64_t offset; /* stored offset of the next member; -1 = cannot restart here */
};

struct kj_batch {
    struct kj_arena arena;
    struct kj_doc *docs; /* owned; grows with kj_batch_add */
    size_t n, cap;
    uint64_t serial;      /* number of this batch */
    struct kj_buf in;     /* the source's undecoded bytes */
    struct kj_buf out;    /* the sink's encoded bytes */
    struct kj_pos next;   /* filled by the source; */
    int64_t next_at;      /* lines: how far into that member's decoded bytes */
    uint64_t next_doc;    /* number of the document behind the batch */
    uint64_t bytes_in;    /* stored or raw bytes that went into it */
    void *aux;            /* for one stage or sink at a time */
    struct kj_json *json; /* a parser for whoever works on the batch */
};

void kj_batch_init(struct kj_batch *b);
void kj_batch_reset(struct kj_batch *b);
void kj_batch_release(struct kj_batch *b);

/* A new, empty document at the end of the batch. Earlier pointers into
 * b->docs become invalid. */
struct kj_doc *kj_batch_add(struct kj_batch *b);

/* Read one line into *d. Strings come from a. KJ_BAD_RECORD with the reason
 * when the line is not a JSON object, or a known field is of the wrong kind.
 * A line without text is no fault (text.p is NULL; not so of one that is null); one
 * without id gets the
 * content hash of its text. */
int kj_doc_parse(struct kj_doc *d, struct kj_json *j, struct kj_arena *a, const char *p,
                 size_t n, struct kj_err *err);

/* Append the document as one line with its \n. Order: id, text, url, date,
 * dump, file_path, language, language_score, language_script, token_count,
 * source, warc, then other fields as they came, signals, and drop when
 * with_drop. Empty known fields are left out; text is written if not textless. */
int kj_doc_write(const struct kj_doc *d, const char *stage_name, bool with_drop,
                 struct kj_buf *out, struct kj_err *err);

/* Set id to "xxh128:HEX" of the text. */
void kj_doc_content_id(struct kj_doc *d, struct kj_arena *a);
/* Record a measured value; a second one of the same name replaces the first.
 * The name is borrowed. */
void kj_doc_signal(struct kj_doc *d, struct kj_arena *a, const char *name,
                   double value);
/* The same for a value that a rule with a cut was applied to: r is one of the
 * rows that the stage's rules() gives, and lives as long as the stage. The
 * ledger keeps which cut it was, so that others can be tried later. */
void kj_doc_signal_by(struct kj_doc *d, struct kj_arena *a, const struct kj_rule *r,
                      double value);
double kj_doc_signal_get(const struct kj_doc *d, const char *name); /* NAN absent */
/* Set an unknown field to raw JSON (borrowed: static or in the arena). */
void kj_doc_set(struct kj_doc *d, struct kj_arena *a, const char *key,
                struct kj_str json);
/* Its raw JSON, or {NULL,0}. */
struct kj_str kj_doc_get(const struct kj_doc *d, const char *key);
/* The field as a number: known numeric fields and unknown ones; NAN absent. */
double kj_doc_number(const struct kj_doc *d, const char *key);

/* Mark as out. The first verdict stands. */
void kj_doc_drop(struct kj_doc *d, const char *rule, double value, double threshold);
void kj_doc_damage(struct kj_doc *d, const char *rule, const char *note);
static inline bool kj_doc_kept(const struct kj_doc *d)
{
    return !d->out.rule;
}

/* The document's share of an order-free checksum: add up over documents. */
uint64_t kj_doc_checksum(const struct kj_doc *d);
/* Is the document in shard i of n? Decided by its id alone. */
bool kj_doc_in_shard(const struct kj_doc *d, unsigned i, unsigned n);

#endif
