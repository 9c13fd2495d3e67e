/* decontam_internal.h - the index of benchmark parts, shared by the file that
 * builds it (decontam.c) and the one that searches with it (decontam_find.c). */
#ifndef KJ_FILTER_DECONTAM_INTERNAL_H
#define KJ_FILTER_DECONTAM_INTERNAL_H

#include <stdbool.h>

#include "filter/decontam.h"

#define KJ_UNIT_WORD   5 /* weights */
#define KJ_UNIT_SINGLE 2
#define KJ_WINDOW      20 /* least weight of a window */
#define KJ_SHORT_MIN   16 /* least weight of a part: below KJ_WINDOW as a whole only */
#define KJ_POLY        0x9E3779B97F4A7C15ull

struct unit {
    uint64_t hash;
    uint32_t start, end; /* bytes */
    uint32_t weight;
};
struct units {
    struct unit *v;
    size_t n, cap;
};

struct part {
    size_t first, n; /* units in the pool */
    uint32_t weight;
    uint32_t item;
};
struct item {
    char *name, *id;
};
struct posting {
    uint64_t hash;
    uint32_t part, at, next, count; /* next: 1 + index; count: in the head */
};

struct kj_decontam {
    struct kj_strs fields;
    struct units pool;
    struct part *parts;
    struct item *items;
    struct posting *posts;
    size_t n_parts, n_items, n_posts, too_short;
    size_t cap_parts, cap_items, cap_posts;
    uint32_t *table; /* 1 + index of the head */
    uint64_t *bits, mask, bit_mask;
    bool any_short; /* parts below KJ_WINDOW */
};

/* Grows an array of n elements so that one more fits. */
void *kj_decontam_room(void *p, size_t n, size_t *cap, size_t size);
/* Append the units of p[0..n). */
void kj_decontam_units(struct units *u, const char *p, size_t n);
/* The hash of a window, from its polynomial, and the head of its postings. */
uint64_t kj_decontam_spread(uint64_t h);
struct posting *kj_decontam_head(const struct kj_decontam *d, uint64_t hash);
/* May it be in the index? Turns away nearly all that are not. */
static inline bool kj_decontam_maybe(const struct kj_decontam *d, uint64_t hash)
{
    uint64_t bit = hash >> 20 & d->bit_mask;
    return d->bits[bit / 64] >> bit % 64 & 1;
}

#endif
