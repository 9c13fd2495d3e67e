/* data.h - documents of tokens in, packed training batches out.
 *
 * Documents are laid one behind the other into rows of T tokens; attention and
 * positions are cut between documents and between rows. A document of tokens
 * t1 .. tn (the last is its end token) trains the n predictions (end, t1),
 * (t1, t2), ..., so every token of the set is predicted once an epoch, and an
 * end token is also what a model is started with. What does not fit the rest
 * of a row goes on in the next row, without the context before it.
 *
 * The order of documents is a fresh permutation per epoch, computed from
 * (seed, epoch) alone: no list is kept, and a position is three numbers. The
 * n-th row depends on nothing but those, so any run that knows them goes on
 * exactly where another stopped.
 */
#ifndef KJ_TRAINER_DATA_H
#define KJ_TRAINER_DATA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "trainer/llama.h"

struct kj_err;
struct kj_shards;

/* Where documents come from: all of them as one run of tokens. */
struct kj_docs {
    const void *self;
    uint64_t documents;
    uint32_t end;                                      /* the end token */
    uint64_t (*start)(const void *self, uint64_t doc); /* first token; documents
                                                          gives the total */
    size_t (*read)(const void *self, uint64_t at, uint32_t *out, size_t n);
};
struct kj_docs kj_docs_shards(const struct kj_shards *s);

/* A position: document number `index` of the epoch's order, and how many of
 * its predictions are done. */
struct kj_loader_at {
    uint64_t epoch, index, offset;
};

struct kj_loader {
    struct kj_docs docs;
    uint64_t seed;
    bool shuffle;
    struct kj_loader_at at;
    uint32_t *buf; /* tokens of a row */
    size_t buf_n;
};

/* KJ_FAIL when there is no token to train on. */
int kj_loader_init(struct kj_loader *l, const struct kj_docs *d, uint64_t seed,
                   bool shuffle, struct kj_err *err);
void kj_loader_release(struct kj_loader *l);

/* Rows with the memory they point to. */
struct kj_packed {
    struct kj_rows rows;
    int32_t *ids, *pos, *targets, *cu;
    size_t cap;
};
void kj_packed_init(struct kj_packed *p, size_t tokens);
void kj_packed_release(struct kj_packed *p);

/* The next `rows` rows of `len` tokens. KJ_FAIL when the files end early. */
int kj_loader_next(struct kj_loader *l, size_t rows, size_t len, struct kj_packed *out,
                   struct kj_err *err);

/* Place of x (below n) in a permutation of 0..n-1 given by key. */
uint64_t kj_permute(uint64_t x, uint64_t n, uint64_t key);

#endif
