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

/* Tokens of each part of the order in rows 0..rows, of len tokens, of a run
 * with this seed: the order's parts many; 0 for a set of shards. */
int kj_data_seen(const struct kj_data *d, uint64_t seed, bool shuffle, uint64_t rows,
                 size_t len, uint64_t *tokens, struct kj_err *err);

#endif
