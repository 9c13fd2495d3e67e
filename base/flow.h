/* flow.h - a run: a source, stages, a sink, and those who watch.
 *
 * The reader thread calls source.read; a worker calls source.decode, every
 * parallel stage, and sink.encode on one batch; the ordered writer calls the
 * serial stages, the watchers, and sink.write. Serial stages come behind all
 * parallel ones.
 *
 * At every stage: documents in = kept + out, counted by rule; and an
 * order-free checksum over (id, text) of what went in and what came out.
 */
#ifndef KJ_BASE_FLOW_H
#define KJ_BASE_FLOW_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/doc.h"
#include "base/err.h"
#include "base/stage.h"

struct kj_source {
    void *self;
    /* Append documents to b, about KJ_BATCH_BYTES of input, and set b->next
     * and b->bytes_in. KJ_OK, KJ_EOF (nothing added), negative. Damage that
     * costs one record is a document marked with kj_doc_damage. */
    int (*read)(void *self, struct kj_batch *b, struct kj_err *err);
    /* Turn raw into documents; concurrent. May be NULL. */
    int (*decode)(void *self, struct kj_batch *b, struct kj_err *err);
    /* Share of the input read, 0..1, or NAN; any thread. May be NULL. */
    double (*progress)(void *self);
    void (*close)(void *self);
    /* Told once before the first read: so many workers wait for what is read. A
     * source may then start threads of its own to keep up. May be NULL. */
    void (*workers)(void *self, unsigned n);
};

struct kj_sink {
    void *self;
    int (*encode)(void *self, struct kj_batch *b, struct kj_err *err); /* worker */
    int (*write)(void *self, struct kj_batch *b, struct kj_err *err);  /* in order */
};

struct kj_flow;

/* Sees every batch in order, before the sink writes it: ledger, rejects,
 * progress. */
struct kj_watch {
    void *self;
    int (*begin)(void *self, const struct kj_flow *f, struct kj_err *err);
    int (*batch)(void *self, const struct kj_flow *f, const struct kj_batch *b,
                 struct kj_err *err);
    int (*end)(void *self, const struct kj_flow *f, struct kj_err *err);
};

/* Documents that a rule took out at a stage. */
struct kj_tally {
    const char *rule;
    uint64_t docs, bytes; /* bytes of text */
    bool damaged;
};

struct kj_step {
    const struct kj_stage *stage;
    void *cfg;
    /* counts of this run */
    uint64_t in, kept;
    uint64_t bytes_in, bytes_kept; /* of text */
    uint64_t sum_in, sum_kept;     /* order-free checksums */
    struct kj_tally *tallies;      /* in order of first sight */
    size_t n_tallies;
};

struct kj_flow {
    struct kj_source source;
    struct kj_step *steps;
    size_t n_steps;
    struct kj_sink sink;
    struct kj_watch *watches;
    size_t n_watches;
    unsigned threads;
    unsigned shard, shards; /* 0,1: all */
    int64_t limit;          /* stop at this serial number; 0: read all */
    uint64_t first_doc;     /* serial number of the first document: for runs in parts */
    const atomic_bool *stop;

    /* results */
    uint64_t docs_in; /* given by the source, of this shard */
    uint64_t damaged; /* among them */
    uint64_t docs_kept, bytes_kept;
    uint64_t bytes_in;               /* stored bytes read */
    uint64_t text_in;                /* bytes of text (or raw record) in */
    double wall, cpu;                /* seconds */
    struct kj_tally *source_tallies; /* damage found by the source itself */
    size_t n_source_tallies;
};

/* Run it. The stages must be open (and surveyed). KJ_OK, also when documents
 * were damaged: see f->damaged. */
int kj_flow_run(struct kj_flow *f, struct kj_err *err);
/* Frees the counters (not the stages' configurations). */
void kj_flow_release(struct kj_flow *f);

/* Read all inputs again for stages with survey(): gives a kj_corpus whose
 * pass() opens a fresh source each time by calling reopen. */
struct kj_corpus_inputs {
    int (*reopen)(void *self, struct kj_source *out, struct kj_err *err);
    void *self;
};
int kj_corpus_pass(
    struct kj_corpus *c, void *ctx,
    int (*work)(void *, unsigned, struct kj_batch *, struct kj_err *),
    int (*collect)(void *, struct kj_batch *, struct kj_err *),
    struct kj_err *err); /* for kj_corpus.pass; self is kj_corpus_inputs */

#endif
