/* axpby.c - sums of two scaled runs of elements, of either type. */
#include <string.h>

#include "nn/arith.h"
#include "nn/cpu/cpu.h"

#define PER ((size_t)16384) /* elements of a task: as other loops over elements */
#define RUN 1024            /* elements that are converted at a time */

struct work {
    const struct kj_kern *kern;
    struct kj_mat y, x;
    size_t n;
    float alpha, beta;
    uint64_t chance;
};

void kj_cpu_load(float *to, struct kj_mat m, size_t i, size_t n)
{
    if (m.t->type == KJ_BF16) {
        const struct kj_bf16 *x = (const struct kj_bf16 *)m.t->p + m.at + i;
        for (size_t j = 0; j < n; j++)
            to[j] = kj_from_bf16(x[j]);
    } else if (m.t->type == KJ_E4M3) {
        const struct kj_e4m3 *x = (const struct kj_e4m3 *)m.t->p + m.at + i;
        for (size_t j = 0; j < n; j++)
            to[j] = kj_from_e4m3(x[j]);
    } else if (m.t->type == KJ_E5M2) {
        const struct kj_e5m2 *x = (const struct kj_e5m2 *)m.t->p + m.at + i;
        for (size_t j = 0; j < n; j++)
            to[j] = kj_from_e5m2(x[j]);
    } else
        memcpy(to, (const float *)m.t->p + m.at + i, n * sizeof *to);
}

void kj_cpu_store(struct kj_mat m, size_t i, const float *from, size_t n)
{
    if (m.t->type == KJ_BF16) {
        struct kj_bf16 *x = (struct kj_bf16 *)m.t->p + m.at + i;
        for (size_t j = 0; j < n; j++)
            x[j] = kj_to_bf16(from[j]);
    } else if (m.t->type == KJ_E4M3) {
        struct kj_e4m3 *x = (struct kj_e4m3 *)m.t->p + m.at + i;
        for (size_t j = 0; j < n; j++)
            x[j] = kj_to_e4m3(from[j]);
    } else if (m.t->type == KJ_E5M2) {
        struct kj_e5m2 *x = (struct kj_e5m2 *)m.t->p + m.at + i;
        for (size_t j = 0; j < n; j++)
            x[j] = kj_to_e5m2(from[j]);
    } else
        memcpy((float *)m.t->p + m.at + i, from, n * sizeof *from);
}

void kj_cpu_store_by(struct kj_mat m, size_t i, const float *from, size_t n,
                     uint64_t chance)
{
    struct kj_bf16 *x = (struct kj_bf16 *)m.t->p + m.at + i;
    for (size_t j = 0; j < n; j++)
        x[j] = kj_to_bf16_by(from[j], kj_chance16(chance, m.at + i + j));
}

static void mixed(const struct work *w, size_t at, size_t n)
{
    float x[RUN], y[RUN];
    for (size_t i = 0; i < n; i += RUN) {
        size_t k = n - i < RUN ? n - i : RUN;
        kj_cpu_load(x, w->x, at + i, k);
        if (w->beta != 0.0f)
            kj_cpu_load(y, w->y, at + i, k);
        w->kern->axpby(y, x, k, w->alpha, w->beta);
        if (w->chance)
            kj_cpu_store_by(w->y, at + i, y, k, w->chance);
        else
            kj_cpu_store(w->y, at + i, y, k);
    }
}

static void task(void *ctx, size_t i, unsigned worker)
{
    const struct work *w = ctx;
    size_t at = i * PER, n = w->n - at < PER ? w->n - at : PER;
    (void)worker;
    if (w->x.t->type == KJ_BF16 || w->y.t->type == KJ_BF16)
        mixed(w, at, n);
    else
        w->kern->axpby(kj_cpu_f32(w->y) + at, kj_cpu_f32(w->x) + at, n, w->alpha,
                       w->beta);
}

void kj_cpu_axpby(struct kj_backend *b, struct kj_mat y, struct kj_mat x, size_t n,
                  float alpha, float beta)
{
    struct kj_cpu *c = kj_cpu_of(b);
    if (!kj_cpu_fits(b, "axpby", y, 1, n) || !kj_cpu_fits(b, "axpby", x, 1, n))
        return;
    if (y.t->type >= KJ_E4M3 || x.t->type >= KJ_E4M3) {
        kj_backend_fault(b, "axpby", "takes no FP8");
        return;
    }
    bool adds = y.t->type == KJ_BF16 && beta != 0.0f;
    struct work w = {c->kern, y, x, n, alpha, beta, adds ? b->chance : 0};
    kj_pool_run(c->pool, (n + PER - 1) / PER, task, &w);
}
