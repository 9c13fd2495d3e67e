/* shards_internal.h - what the reader and the verifier of shards share. */
#ifndef KJ_BASE_SHARDS_INTERNAL_H
#define KJ_BASE_SHARDS_INTERNAL_H

#include "base/map.h"
#include "base/mem.h"
#include "base/shards.h"

struct kj_shards {
    struct kj_arena arena;
    char *folder;
    struct kj_shard *v;
    struct kj_map *bins, *idxs;
    size_t n;
    uint64_t tokens, documents;
};

/* Tokens at..at+n of one shard, which holds them. */
void kj_shards_copy(const struct kj_shard *r, uint64_t at, uint32_t *out, size_t n);

#endif
