/* mix_internal.h - what the files of the mixer share. */
#ifndef KJ_MANIFESTS_MIX_INTERNAL_H
#define KJ_MANIFESTS_MIX_INTERNAL_H

#include <stdbool.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/shards.h"
#include "manifests/mix.h"

struct kj_mix_doc {
    uint32_t tokens;
    uint16_t part, weight;
};

struct kj_mix_set {
    struct kj_shards *shards;
    char *manifest;
};

struct kj_mix_table {
    struct kj_mix_set *sets;
    size_t n_sets;
    struct kj_mix_doc *v; /* of all sets, in their order */
    uint64_t n, cap;
    uint32_t *weights; /* in 2^-12 */
    size_t n_weights;
};

bool kj_mix_is_folder(const char *path);
/* order.json, with order.bin's hash, for the folder dir. */
int kj_mix_order_json(const struct kj_mix *m, const char *dir, const char *hash,
                      const char *tool, struct kj_buf *out, struct kj_err *err);

#endif
