/* speed.c - how fast a back end multiplies and how fast it moves memory. */
#include "nn/speed.h"

#include <math.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "nn/speed_internal.h"

/* A block from the host, then copies of what is there. */
struct kj_tensor *kj_speed_random(struct kj_backend *b, enum kj_dtype type, size_t n)
{
    enum { BLOCK = 1 << 18 };
    struct kj_tensor *t = b->ops->tensor_new(b, type, n);
    float *x = kj_xmalloc(BLOCK * sizeof *x);
    uint32_t z = 20261;
    size_t have = n < BLOCK ? n : BLOCK;
    for (size_t i = 0; i < have; i++) {
        z = z * 1664525u + 1013904223u;
        x[i] = (float)(z >> 8) * 0x1p-24f - 0.5f;
    }
    if (t)
        b->ops->write(b, t, 0, x, have);
    for (size_t k; t && have < n; have += k) {
        k = n - have < have ? n - have : have;
        b->ops->axpby(b, kj_mat(t, have, 1), kj_mat(t, 0, 1), k, 1, 0);
    }
    free(x);
    return t;
}

/* One product; its GFLOP/s into *best where it is faster. */
static int product(struct kj_backend *b, const struct kj_mat *m, size_t n,
                   unsigned flags, double *best, struct kj_err *err)
{
    double t0 = kj_now();
    b->ops->matmul(b, m[2], m[0], m[1], n, n, n, KJ_MM_TB | flags);
    int rc = b->ops->sync(b, err);
    *best = fmax(*best, 2e-9 * (double)(n * n * n) / (kj_now() - t0));
    return rc;
}

/* The same of FP8: a and b are quantised, once. */
static int product_f8(struct kj_backend *b, const struct kj_mat *m,
                      const struct kj_mat *codes, const struct kj_mat *scale, size_t n,
                      double *best, struct kj_err *err)
{
    if (*best == 0) /* the first time */
        for (int i = 0; i < 2; i++)
            b->ops->quantize(b, codes[i], KJ_MAT_NONE, scale[i], m[i], KJ_MAT_NONE, n,
                             n);
    int rc = b->ops->sync(b, err);
    double t0 = kj_now();
    if (rc == KJ_OK) {
        b->ops->matmul_f8(b, m[2], codes[0], scale[0], codes[1], scale[1], n, n, n,
                          KJ_MM_FAST);
        rc = b->ops->sync(b, err);
    }
    *best = fmax(*best, 2e-9 * (double)(n * n * n) / (kj_now() - t0));
    return rc;
}

/* A copy, and a step of the optimizer. */
static int moves(struct kj_backend *b, const struct kj_mat *m, size_t size,
                 struct kj_speed_peaks *p, struct kj_err *err)
{
    const struct kj_adamw step = {.lr = 1e-3f,
                                  .beta1 = 0.9f,
                                  .beta2 = 0.95f,
                                  .eps = 1e-8f,
                                  .grad_scale = 1,
                                  .fix1 = 1,
                                  .fix2 = 1};
    double t0 = kj_now();
    b->ops->axpby(b, m[2], m[0], size, 1, 0);
    int rc = b->ops->sync(b, err);
    double t1 = kj_now();
    if (rc)
        return rc;
    b->ops->adamw(b, m[0], m[1], m[2], m[3], size, &step);
    rc = b->ops->sync(b, err);
    p->copy = fmax(p->copy, 8e-9 * (double)size / (t1 - t0));
    p->adamw = fmax(p->adamw, 28e-9 * (double)size / (kj_now() - t1));
    return rc;
}

int kj_speed_peaks(struct kj_backend *b, unsigned n, double seconds,
                   struct kj_speed_peaks *p, struct kj_err *err)
{
    const struct kj_ops *o = b->ops;
    size_t size = (size_t)n * n;
    struct kj_mat m[4], half[3] = {KJ_MAT_NONE}, codes[2] = {KJ_MAT_NONE},
                        scale[2] = {KJ_MAT_NONE};
    size_t row = (n + 15) / 16 * 16;
    *p = (struct kj_speed_peaks){0};
    for (int i = 0; i < 4; i++)
        m[i] = kj_mat(kj_speed_random(b, KJ_F32, size), 0, n);
    /* as training holds them: where a device keeps bfloat16, nothing is rounded here */
    for (int i = 0; i < 3 && o->bf16; i++)
        half[i] = kj_mat(kj_speed_random(b, KJ_BF16, size), 0, n);
    for (int i = 0; i < 2 && b->f8; i++) {
        codes[i] = kj_mat(o->tensor_new(b, KJ_E4M3, n * row), 0, row);
        scale[i] = kj_mat(o->tensor_new(b, KJ_F32, 1), 0, 1);
    }
    int rc = o->sync(b, err);
    for (double start = kj_now(); !rc && kj_now() - start < seconds;) {
        rc = product(b, m, n, 0, &p->gflops, err);
        if (!rc)
            rc = product(b, o->bf16 ? half : m, n, o->bf16 ? 0 : KJ_MM_BF16,
                         &p->gflops_bf16, err);
        if (!rc && codes[0].t)
            rc = product_f8(b, o->bf16 ? half : m, codes, scale, n, &p->gflops_f8, err);
        if (!rc)
            rc = moves(b, m, size, p, err);
    }
    for (int i = 0; i < 4; i++)
        o->tensor_free(b, m[i].t);
    for (int i = 0; i < 3; i++)
        o->tensor_free(b, half[i].t);
    for (int i = 0; i < 2; i++) {
        o->tensor_free(b, codes[i].t);
        o->tensor_free(b, scale[i].t);
    }
    return rc;
}
