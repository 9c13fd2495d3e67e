/* data.h - documents of tokens in, packed training batches out.
 *
 * The documents of the set stand one behind the other and are cut into rows of
 * T tokens, or are put into rows by best fit (bestfit.h), which cuts none that is
 * shorter than a row; attention and positions start anew at each document and each
 * row.
 * A document of tokens t1 .. tn (the last is its end token) trains the n
 * predictions (end, t1), (t1, t2), ..., so an end token is also what a model
 * is started with.
 *
 * Rows of the first kind are taken in a fresh order every epoch: a permutation computed from
 * (seed, epoch), with the cuts moved by a distance that depends on them too.
 * So neighbouring rows of a long document do not meet in one batch, no list is
 * kept, and row number g is a function of (seed, g) alone: any run that knows
 * g goes on exactly where another stopped. An epoch leaves out the less than T
 * tokens that do not fill a row.
 */
#ifndef KJ_TRAINER_DATA_H
#define KJ_TRAINER_DATA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "trainer/llama.h"

struct kj_err;
struct kj_order;
struct kj_shards;

/* Where documents come from: all of them as one run of tokens. */
struct kj_docs {
    const void *self;
    uint64_t documents;
    uint32_t end;                                         /* the end token */
    uint64_t (*start)(const void *self, uint64_t doc);    /* first token; documents
                                                          gives the total */
    uint64_t (*doc_at)(const void *self, uint64_t token); /* that holds it */
    size_t (*read)(const void *self, uint64_t at, uint32_t *out, size_t n);
    /* Part of a mix that a document is of; NULL: there are none. */
    unsigned (*group)(const void *self, uint64_t doc);
    size_t groups;
    const char *(*group_name)(const void *self, size_t group);
    const char *name; /* of the whole, where there are no groups; may be NULL */
};
struct kj_docs kj_docs_shards(const struct kj_shards *s);
/* A document that an order repeats is one document each time. */
struct kj_docs kj_docs_order(const struct kj_order *o);

struct kj_bestfit;
struct kj_loader {
    struct kj_docs docs;
    struct kj_bestfit *fit; /* NULL: concatenation */
    uint64_t seed;
    bool shuffle;
    uint64_t row;    /* the next one */
    uint64_t tokens; /* of the set */
    uint32_t *buf;   /* tokens of a row */
    size_t buf_n;
};

/* KJ_FAIL when there is no token to train on. */
int kj_loader_init(struct kj_loader *l, const struct kj_docs *d, uint64_t seed,
                   bool shuffle, struct kj_err *err);
/* From now on rows of len tokens (and no others) by best fit. */
void kj_loader_bestfit(struct kj_loader *l, size_t len);
void kj_loader_release(struct kj_loader *l);

/* Rows with the memory they point to. */
struct kj_packed {
    struct kj_rows rows;
    int32_t *ids, *pos, *targets, *cu;
    size_t cap;
};
void kj_packed_init(struct kj_packed *p, size_t tokens);
void kj_packed_release(struct kj_packed *p);
void kj_packed_clear(struct kj_packed *p); /* no rows */

/* First token of row number g of `len` tokens, and its epoch. By concatenation a
 * row goes on at the set's first token when it reaches the end. */
uint64_t kj_loader_place(const struct kj_loader *l, uint64_t g, size_t len,
                         uint64_t *epoch);

/* Append row number g of `len` tokens. KJ_FAIL when the files end early. */
int kj_loader_row(struct kj_loader *l, uint64_t g, size_t len, struct kj_packed *p,
                  struct kj_err *err);
/* The next `rows` rows of `len` tokens. KJ_FAIL when the files end early. */
int kj_loader_next(struct kj_loader *l, size_t rows, size_t len, struct kj_packed *p,
                   struct kj_err *err);

/* Predictions of row g: len but where a row by best fit is not full. */
size_t kj_loader_predictions(const struct kj_loader *l, uint64_t g, size_t len);

/* How many tokens of each part rows from..to of `len` tokens train on: added to
 * tokens[cell[part]]. Documents without parts are part 0. No token is read. */
void kj_loader_seen(const struct kj_loader *l, uint64_t from, uint64_t to, size_t len,
                    const unsigned *cell, uint64_t *tokens);

/* Place of x (below n) in a permutation of 0..n-1 given by key; a key of a seed
 * and an epoch. */
uint64_t kj_permute_key(uint64_t seed, uint64_t epoch);
uint64_t kj_permute(uint64_t x, uint64_t n, uint64_t key);

#endif
