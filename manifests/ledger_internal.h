/* ledger_internal.h - shared by the files of the ledger and of the report. */
#ifndef KJ_MANIFESTS_LEDGER_INTERNAL_H
#define KJ_MANIFESTS_LEDGER_INTERNAL_H

#include <sqlite3.h>

#include "manifests/ledger.h"

#define KJ_LEDGER_APP_ID  1802070636
#define KJ_LEDGER_VERSION 9
/* Rules that a ledger names; signals beyond them are not recorded. They come
 * from the input's `signals`, so there has to be a bound. */
#define KJ_LEDGER_RULES_MAX 1000
/* Examples kept for each side of each rule, and in all. */
#define KJ_SAMPLES_RULE  8
#define KJ_SAMPLES_ALL   24
#define KJ_EXCERPT_CHARS 400

extern const char kj_ledger_schema[];
/* SQL that makes a file of version i one of i + 1; and what stands in, in a file of
 * version i or before that is only read, for what it lacks (or NULL). */
extern const char *const kj_ledger_upgrade[KJ_LEDGER_VERSION];
extern const char *const kj_ledger_like[KJ_LEDGER_VERSION];

/* Names to row numbers, for one dimension table. */
struct kj_names {
    struct kj_name {
        char *name; /* NULL: empty slot */
        size_t len;
        int64_t id;
    } * slots;
    size_t n, size; /* size is 0 or a power of two */
};

struct kj_bucket {
    int32_t key;
    uint32_t docs, dropped; /* both 0: empty slot */
};

struct kj_sample {
    double rank, value;
    uint64_t hash;
    char *id, *url, *language, *excerpt;
};

enum kj_side { KJ_DROPPED, KJ_KEPT, KJ_DROPPED_FAR, KJ_SIDES };

/* Values that were compared with one cut, or with none: their distribution, and
 * examples. */
struct kj_track {
    int64_t cut; /* 0: none */
    double threshold;
    struct kj_bucket *buckets; /* open addressing; n_buckets used of size */
    size_t n_buckets, size;
    /* by enum kj_side, each in the order of its rank */
    struct kj_sample samples[KJ_SIDES][KJ_SAMPLES_RULE];
    size_t n_samples[KJ_SIDES];
};

/* What is known of a rule while a flow runs. */
struct kj_rule_slot {
    int64_t id;
    char *name;
    bool ours; /* measured by this process; else it came with the input */
    const struct kj_rule *only; /* where the stages of the flow have it once */
    unsigned declared;          /* how often they have it */
    struct kj_track *tracks;    /* few: one for each group of a recipe */
    size_t n_tracks;
};

struct kj_count {
    uint64_t docs, bytes;
};
/* What a flow has read, and how long it took. */
struct kj_spent {
    uint64_t bytes, text;
    double wall, cpu;
};
/* Counters of a step that are already in the file. */
struct kj_done {
    uint64_t in, kept, bytes_in, bytes_kept, sum_in, sum_kept;
    struct kj_count *tallies;
    size_t n_tallies;
};

/* A row of a stage's rules(), and how documents fared with it. */
struct kj_cut {
    int64_t id; /* 0: not in the file */
    uint64_t failed, alone;
};
struct kj_cut_stage {
    const struct kj_rule *rules; /* borrowed from the stage */
    struct kj_cut *cuts;
    size_t n;
    size_t fails; /* of the document at hand; the last of them */
    struct kj_cut *last;
    int64_t stage;
    const struct kj_rule *band; /* whose values are counted by language; or NULL */
};

enum {
    ST_DOC_NEW,
    ST_DOC_FIND,
    ST_DOC_UPDATE,
    ST_DECIDED,
    ST_DECIDE,
    ST_SIGNAL,
    ST_CLUSTER,
    ST_PASSAGE,
    ST_BAND,
    ST_COUNT
};

struct kj_ledger {
    sqlite3 *db;
    char *path;
    bool write;
    int64_t version; /* of the file when it was opened */
    bool in_txn;     /* a transaction of ours is open */
    sqlite3_stmt *st[ST_COUNT];
    struct kj_json *json;

    int64_t run;
    char *phase;
    bool parts;
    double signals; /* share of documents whose values are kept */

    struct kj_names languages, sources, archives, cutsets;
    struct kj_names rule_names; /* id: index in rules */
    struct kj_rule_slot *rules;
    size_t n_rules;
    struct kj_sample kept[KJ_SAMPLES_ALL];
    size_t n_kept;
    struct kj_copied *copied; /* texts of clusters */
    size_t n_copied;

    /* the flow being watched */
    bool open_flow;
    int64_t stage0; /* the row of its input; its steps follow */
    size_t n_steps;
    struct kj_done *done; /* [0] the input, [1..n_steps] the steps */
    uint64_t own_sum;
    struct kj_spent spent;           /* what is in the file already */
    bool known_first;                /* the last document was in the file already */
    struct kj_cut_stage *cut_stages; /* by step */
    size_t n_cut_stages;
    int64_t *set, *last_set, last_set_id; /* cuts of this document, of the last one */
    size_t n_last_set;
    struct kj_count last; /* documents and bytes that the last flow kept */
    uint64_t last_sum;
};

/* ---- SQLite with our errors (ledger_db.c) ---- */
int kj_db_fail(struct kj_ledger *l, const char *what, struct kj_err *err);
int kj_db_exec(struct kj_ledger *l, const char *sql, struct kj_err *err);
int kj_db_prepare(struct kj_ledger *l, sqlite3_stmt **st, const char *sql,
                  struct kj_err *err);
/* Step a statement that gives no row, and reset it. */
int kj_db_run(struct kj_ledger *l, sqlite3_stmt *st, struct kj_err *err);
/* Prepare, bind, step once, finalize. fmt: one letter per parameter: i int64_t,
 * u uint64_t (kept as its two's complement), d double (NAN is NULL), s C string
 * (NULL is NULL). */
int kj_db_do(struct kj_ledger *l, struct kj_err *err, const char *sql, const char *fmt,
             ...);
/* The same for a query: its first column of the first row in *out, which is
 * left alone when there is none or it is NULL. */
int kj_db_int(struct kj_ledger *l, int64_t *out, struct kj_err *err, const char *sql,
              const char *fmt, ...);
/* Prepare and bind, for the caller to step and finalize. */
int kj_db_query(struct kj_ledger *l, sqlite3_stmt **st, struct kj_err *err,
                const char *sql, const char *fmt, ...);
int kj_db_begin(struct kj_ledger *l, struct kj_err *err);
int kj_db_commit(struct kj_ledger *l, struct kj_err *err);
void kj_db_rollback(struct kj_ledger *l);

/* "2026-01-31T12:00:00Z" */
void kj_ledger_now(char out[32]);

/* "key: value" lines to rows of config. number: of the stage, 0 for the run. */
int kj_ledger_put_config(struct kj_ledger *l, int64_t number, const char *stage,
                         const char *lines, size_t n, struct kj_err *err);

/* ---- the flow being watched (ledger_flow.c) ---- */
/* Forget its counters. */
void kj_ledger_done_release(struct kj_ledger *l);
/* What was counted since the last time to the file, and into l->last. */
int kj_ledger_flush_flow(struct kj_ledger *l, const struct kj_flow *f,
                         struct kj_err *err);
/* Adds what the flow read and how long it took since the last time. Bytes
 * count once, in the run's first phase: later ones read what it wrote. */
int kj_ledger_add_run(struct kj_ledger *l, const struct kj_flow *f, struct kj_err *err);

/* ---- names (ledger_names.c) ---- */
void kj_names_clear(struct kj_names *m);
/* Row number of a name in table (column `name_col`), made when missing. */
int kj_names_row(struct kj_ledger *l, struct kj_names *m, const char *table,
                 const char *key_col, const char *name_col, const char *p, size_t n,
                 int64_t *id, struct kj_err *err);
/* Slot of a rule; NULL in *out when there are too many. */
int kj_ledger_rule(struct kj_ledger *l, const char *p, size_t n, bool declared,
                   struct kj_rule_slot **out, struct kj_err *err);
void kj_ledger_rules_release(struct kj_ledger *l);

/* ---- cuts (ledger_cuts.c) ---- */
/* Is v dropped by this cut? */
bool kj_cut_fails(const char *op, double threshold, double v);
/* rule[i]: row number of the rule r[i], 0 for none. */
int kj_ledger_cuts_register(struct kj_ledger *l, size_t step, int64_t stage,
                            const struct kj_rule *r, size_t n, const int64_t *rule,
                            struct kj_err *err);
/* Count a document; *set: the row of its set of cuts, 0 for none. */
int kj_ledger_cuts_doc(struct kj_ledger *l, const struct kj_doc *d, int64_t *set,
                       struct kj_err *err);
/* The row of the cut that a value was compared with; 0: none. */
int64_t kj_ledger_cut_by(const struct kj_ledger *l, const struct kj_rule *by);
int kj_ledger_cuts_flush(struct kj_ledger *l, struct kj_err *err);
void kj_ledger_cuts_unflush(struct kj_ledger *l);
void kj_ledger_cuts_release(struct kj_ledger *l);

/* ---- bands (ledger_bands.c) ---- */
/* The cuts that the survey of this step found; behind kj_ledger_cuts_register. */
int kj_ledger_bands_register(struct kj_ledger *l, size_t step, const struct kj_step *s,
                             struct kj_err *err);
/* Count a document under its bands; language: its row, 0 for none. */
int kj_ledger_bands_doc(struct kj_ledger *l, const struct kj_doc *d, int64_t language,
                        struct kj_err *err);

/* ---- texts of some clusters (ledger_copies.c) ---- */
#define KJ_COPIES_LARGEST 6
#define KJ_COPIES_SAMPLED 24
#define KJ_COPIES_OF      3    /* members of each beside its keeper */
#define KJ_COPIES_TEXT    6000 /* bytes of a text */
/* A document with a cluster of that id and size. */
void kj_ledger_copies_add(struct kj_ledger *l, const struct kj_doc *d, struct kj_str id,
                          int64_t size, struct kj_str keeper, double similarity);
int kj_ledger_copies_flush(struct kj_ledger *l, struct kj_err *err);
void kj_ledger_copies_release(struct kj_ledger *l);

/* ---- rows of a batch (ledger_rows.c) ---- */
int kj_ledger_rows(struct kj_ledger *l, const struct kj_batch *b, struct kj_err *err);

/* ---- histograms and samples (ledger_gather.c) ---- */
/* A rule's value in a document that cut judged (0: none, threshold NAN); drops: that it
 * was dropped for it. hash: of the document's id. */
void kj_gather_value(struct kj_rule_slot *r, int64_t cut, double threshold, double v,
                     bool drops, uint64_t hash, const struct kj_doc *d);
/* A document that a rule without values dropped, and one that stays. */
void kj_gather_drop(struct kj_rule_slot *r, int64_t cut, uint64_t hash,
                    const struct kj_doc *d);
void kj_gather_kept(struct kj_ledger *l, uint64_t hash, const struct kj_doc *d);
/* A hash as a number in [0, 1). */
double kj_hash_unit(uint64_t hash);
/* What was gathered so far to the file, and start over. */
int kj_ledger_flush(struct kj_ledger *l, struct kj_err *err);
void kj_ledger_unflush(struct kj_ledger *l); /* throw it away */
/* Edges of a histogram bucket. */
int32_t kj_bucket_key(double v);
void kj_bucket_edges(int32_t key, double *lo, double *hi);

#endif
