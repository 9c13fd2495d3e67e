/* speed_internal.h - what speed.c, speed_ops.c and speed_items.c share. */
#ifndef KJ_NN_SPEED_INTERNAL_H
#define KJ_NN_SPEED_INTERNAL_H

#include "nn/backend.h"
#include "nn/speed.h"

/* A tensor of n random numbers of about +-0.5; NULL leaves a fault. */
struct kj_tensor *kj_speed_random(struct kj_backend *b, enum kj_dtype type, size_t n);

/* ---- operations at a model's shapes (speed_items.c), which speed_ops.c times ---- */

struct kj_speed_arena {
    struct kj_tensor *t;
    enum kj_dtype type;
    size_t at, need; /* next element; of one set */
};

struct kj_speed_bench {
    struct kj_backend *b;
    const struct kj_ops *o;
    const struct kj_speed_shape *s;
    size_t n, h, f, q, kv, qkv, params;
    struct kj_speed_arena low, wide;   /* activations and weights; sums */
    struct kj_speed_arena flat, steep; /* FP8: E4M3, and E5M2 for gradients */
    bool f8;
    struct kj_tensor *ids, *pos, *rope;
    int32_t *cu;
    size_t segs;
    double pairs; /* of a query and a key that it sees */
    unsigned mm;
    bool dry, first; /* only count; the first time with these operands */
    double flops, bytes;
};

#define KJ_SPEED_ARENAS(s) &(s)->low, &(s)->wide, &(s)->flat, &(s)->steep

struct kj_speed_item {
    const char *op, *what;
    void (*run)(struct kj_speed_bench *s, const struct kj_speed_item *it);
    double count;
    size_t m, n, k; /* product, or rows and columns */
    unsigned flags;
};

struct kj_speed_items {
    struct kj_speed_item v[72];
    size_t n;
};

/* Bytes of an element. */
static inline size_t kj_speed_width(enum kj_dtype t)
{
    return t == KJ_E4M3 || t == KJ_E5M2 ? 1 : t == KJ_BF16 ? 2 : 4;
}

/* The operations of a step, or of an encoder's window. */
void kj_speed_items(const struct kj_speed_bench *s, struct kj_speed_items *t);

#endif
