/* axpby.c - sums of two scaled runs of elements. */
#include "nn/cpu/cpu.h"

#define PER ((size_t)16384) /* elements of a task: as other loops over elements */

struct work {
    const struct kj_kern *kern;
    float *y;
    const float *x;
    size_t n;
    float alpha, beta;
};

static void task(void *ctx, size_t i, unsigned worker)
{
    const struct work *w = ctx;
    size_t at = i * PER, n = w->n - at < PER ? w->n - at : PER;
    (void)worker;
    w->kern->axpby(w->y + at, w->x + at, n, w->alpha, w->beta);
}

void kj_cpu_axpby(struct kj_backend *b, struct kj_mat y, struct kj_mat x, size_t n,
                  float alpha, float beta)
{
    struct kj_cpu *c = kj_cpu_of(b);
    if (!kj_cpu_inside(b, "axpby", y, 1, n) || !kj_cpu_inside(b, "axpby", x, 1, n))
        return;
    struct work w = {c->kern, kj_cpu_f32(y), kj_cpu_f32(x), n, alpha, beta};
    kj_pool_run(c->pool, (n + PER - 1) / PER, task, &w);
}
