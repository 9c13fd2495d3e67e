/* data.h - what a model is trained on: a set of shards, or an order over some. */
#ifndef KJ_COMMANDS_DATA_H
#define KJ_COMMANDS_DATA_H

#include "base/order.h"
#include "base/shards.h"
#include "trainer/data.h"

struct kj_data {
    struct kj_shards *shards; /* one of the two is there */
    struct kj_order *order;
    const struct kj_shards *first; /* the set, or the order's first */
    const char *manifest;          /* path of that, for what lies beside it */
    uint64_t tokens;
};

/* path: manifest.jsonl or order.json, or their folder; borrowed until close. */
int kj_data_open(struct kj_data *d, const char *path, struct kj_err *err);
void kj_data_close(struct kj_data *d);
struct kj_docs kj_data_docs(const struct kj_data *d);
/* Identifies what is trained on: tokenizer, every shard's content, the order. */
void kj_data_hash(const struct kj_data *d, char out[40]);

struct kj_run;

/* All that a run is trained on: the sets that its stages name, in order. */
struct kj_datas {
    struct kj_data *v;
    struct kj_docs *docs;
    size_t n;
    uint64_t tokens;
};
/* Open them (the run need not be resolved yet). All must be of one tokenizer.
 * with `here` set, those that are not there are left out: first stays NULL. */
int kj_datas_open(struct kj_datas *d, struct kj_run *r, bool here, struct kj_err *err);
/* Open the run's validation.data; all must be of the tokenizer of `trained`. */
int kj_datas_held(struct kj_datas *d, const struct kj_run *r,
                  const struct kj_datas *trained, struct kj_err *err);
void kj_datas_close(struct kj_datas *d);
void kj_datas_hash(const struct kj_datas *d, char out[40]);

#endif
