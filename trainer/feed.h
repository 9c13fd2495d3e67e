/* feed.h - the rows of a run: which document goes into which row of which step.
 *
 * A feed is a run's stages over its sets of documents. Global row number g, counted
 * from 0 over the whole run, belongs to step g / batch_sequences; its stage follows
 * from the step, its set from the stage's weights, and its place in the set from
 * the number of rows that the run has taken from that set before. So row g is a
 * function of the run file and the data alone: nothing has to be saved but g, and
 * any number of processes can read one run together.
 *
 * Weights: the rows of a stage go round a pattern of KJ_FEED_PATTERN, in which each
 * row is of the source that is furthest behind its weight. In every prefix a
 * source is within one row of its share.
 *
 * Groups: tokens are counted by part of an order, or by set where shards are named
 * as they are; equal names are one group.
 *
 * Ranks: pass p of a step, its rows p * micro_sequences and on, belongs to rank p mod
 * ranks. So the ranks' rows together are those of one process at any number of
 * ranks, and every rank knows, without asking another, how many predictions the
 * whole step has.
 *
 * kj_prefetch fills the batches of the next steps in a thread of its own, in a ring
 * of data.prefetch + 1; memory does not grow, and the bytes are those of
 * kj_feed_fill.
 *
 * Thread-safety: one thread at a time; while a kj_prefetch runs, its thread is that
 * one, and only kj_feed_cells and the fields groups, n_groups, group_of and seen are
 * left to others.
 */
#ifndef KJ_TRAINER_FEED_H
#define KJ_TRAINER_FEED_H

#include <stdint.h>

#include "trainer/config.h"
#include "trainer/data.h"

#define KJ_FEED_PATTERN 4096

struct kj_feed {
    const struct kj_run *run;
    struct kj_loader *loaders; /* one per set */
    size_t n_sets;
    struct kj_feed_stage *stages;
    const char **groups; /* names, borrowed from the documents */
    size_t n_groups;
    unsigned **group_of; /* [set][part] */
    /* Tokens trained on, [stage][group]: kept by whoever trains. */
    uint64_t *seen;
};

/* run must be resolved; docs are those of run->sets, in order, and stay there. */
int kj_feed_open(struct kj_feed *f, const struct kj_run *run,
                 const struct kj_docs *docs, size_t n_docs, struct kj_err *err);
void kj_feed_close(struct kj_feed *f);

/* Where a row is. */
struct kj_feed_place {
    size_t stage, set;
    uint64_t row;   /* of the set's loader */
    uint64_t token; /* its first, of the set */
    uint64_t epoch; /* of the set */
};
struct kj_feed_place kj_feed_place(const struct kj_feed *f, uint64_t g);

/* Rows g, g + 1, ... g + rows, packed. KJ_FAIL when the files end early. */
int kj_feed_rows(struct kj_feed *f, uint64_t g, size_t rows, struct kj_packed *p,
                 struct kj_err *err);

/* Add the tokens that rows from..to train on to seen[stage][group]; no token is
 * read. */
void kj_feed_count(const struct kj_feed *f, uint64_t from, uint64_t to, uint64_t *seen);
/* Cells of seen: stages times groups. */
size_t kj_feed_cells(const struct kj_feed *f);
/* A step's rows, as far as they are a rank's. */
struct kj_feed_step {
    int64_t step;            /* counted from 0 */
    uint64_t row;            /* the step's first, of all ranks */
    struct kj_feed_place at; /* of that row */
    int64_t count;           /* predictions of the step, of all ranks */
    uint64_t *seen;          /* [group]: tokens of the step, of all ranks */
    struct kj_packed *packs; /* the rank's rows; the last pass may be smaller */
    size_t passes;
    size_t rank, ranks;
};
void kj_feed_step_init(struct kj_feed_step *b, const struct kj_feed *f, size_t rank,
                       size_t ranks);
void kj_feed_step_release(struct kj_feed_step *b);
/* Fill it. KJ_FAIL when the files end early. */
int kj_feed_fill(struct kj_feed *f, int64_t step, struct kj_feed_step *b,
                 struct kj_err *err);

/* Batches of steps from..to. */
struct kj_prefetch;
struct kj_prefetch *kj_prefetch_start(struct kj_feed *f, size_t rank, size_t ranks,
                                      int64_t from, int64_t to);
/* The next one, until the next call; NULL with *err where reading failed, or behind
 * the last step. */
const struct kj_feed_step *kj_prefetch_next(struct kj_prefetch *p, struct kj_err *err);
void kj_prefetch_stop(struct kj_prefetch *p); /* NULL: nothing */

/* Rows of a set that the first `rows` rows of a stage take. */
uint64_t kj_feed_taken(const struct kj_feed *f, size_t stage, size_t set,
                       uint64_t rows);

#endif
