/* speed.c - how fast a back end multiplies and how fast it moves memory. */
#include <math.h>

#include "base/clock.h"
#include "nn/backend.h"
#include "nn/selftest.h"

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

int kj_selftest_speed(struct kj_backend *b, unsigned n, double seconds,
                      struct kj_selftest_speed *speed, struct kj_err *err)
{
    const struct kj_ops *o = b->ops;
    size_t size = (size_t)n * n;
    struct kj_mat m[4];
    struct kj_adamw p = {.lr = 1e-3f,
                         .beta1 = 0.9f,
                         .beta2 = 0.95f,
                         .eps = 1e-8f,
                         .grad_scale = 1,
                         .fix1 = 1,
                         .fix2 = 1};
    struct kj_mat half[3] = {KJ_MAT_NONE};
    *speed = (struct kj_selftest_speed){0};
    for (int i = 0; i < 4; i++)
        m[i] = kj_mat(o->tensor_new(b, KJ_F32, size), 0, n);
    /* as training holds them: where a device keeps bfloat16, nothing is rounded here */
    for (int i = 0; i < 3 && o->bf16; i++)
        half[i] = kj_mat(o->tensor_new(b, KJ_BF16, size), 0, n);
    int rc = o->sync(b, err);
    for (double start = kj_now(); !rc && kj_now() - start < seconds;) {
        rc = product(b, m, n, 0, &speed->gflops, err);
        if (!rc)
            rc = product(b, o->bf16 ? half : m, n, o->bf16 ? 0 : KJ_MM_BF16,
                         &speed->gflops_bf16, err);
        double t0 = kj_now();
        if (!rc)
            o->adamw(b, m[0], m[1], m[2], m[3], size, &p);
        rc = rc ? rc : o->sync(b, err);
        speed->gbytes = fmax(speed->gbytes, 28e-9 * (double)size / (kj_now() - t0));
    }
    for (int i = 0; i < 4; i++)
        o->tensor_free(b, m[i].t);
    for (int i = 0; i < 3; i++)
        o->tensor_free(b, half[i].t);
    return rc;
}
