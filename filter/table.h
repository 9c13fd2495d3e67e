/* table.h - a set of 64-bit hashes, open-addressed, for one text after another.
 *
 * Its room grows with the largest text so far. For one thread.
 */
#ifndef KJ_FILTER_TABLE_H
#define KJ_FILTER_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/mem.h"

struct kj_table {
    uint64_t *keys; /* free it when done */
    size_t cap;
    unsigned bits; /* of the size in use */
};

/* Empty it, for n keys at most: a quarter full. */
static inline void kj_table_reset(struct kj_table *t, size_t n)
{
    t->bits = 4;
    while (((size_t)1 << t->bits) < 4 * n)
        t->bits++;
    size_t size = (size_t)1 << t->bits;
    if (size > t->cap) {
        t->keys = kj_xrealloc(t->keys, size * sizeof *t->keys);
        t->cap = size;
    }
    memset(t->keys, 0, size * sizeof *t->keys);
}

/* Where the key is, or is to be put. */
static inline size_t kj_table_at(const struct kj_table *t, uint64_t key)
{
    size_t mask = ((size_t)1 << t->bits) - 1;
    size_t i = key * 0x9FB21C651E98DF25u >> (64 - t->bits);
    while (t->keys[i] && t->keys[i] != key)
        i = (i + 1) & mask;
    return i;
}

/* Was it there? It is afterwards. */
static inline bool kj_table_add(struct kj_table *t, uint64_t key)
{
    key += key == 0;
    size_t i = kj_table_at(t, key);
    bool was = t->keys[i] != 0;
    t->keys[i] = key;
    return was;
}

#endif
