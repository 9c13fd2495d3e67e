/* distil.c - a student's loss against its teacher, row by row.
 *
 * With p = softmax(z/T), q = softmax(t/T): d/dz of T^2 sum q (log q - log p) is
 * T (p - q). The hard loss's own terms are added in the same sweep.
 */
#include "nn/cpu/cpu.h"

#include <math.h>
#include <string.h>

struct work {
    struct kj_cpu *c;
    struct kj_mat z, t, loss, kl, targets;
    size_t n, v;
    struct kj_distil p;
};

static float log_sum(const struct kj_kern *k, const float *x, size_t n)
{
    float top = k->max(x, n);
    return top + logf(k->expsum(NULL, x, n, top));
}

static void task(void *ctx, size_t i, unsigned worker)
{
    const struct work *w = ctx;
    const struct kj_kern *k = w->c->kern;
    const struct kj_distil *p = &w->p;
    float *z = kj_cpu_f32(w->z) + i * w->z.stride;
    float *t = kj_cpu_f32(w->t) + i * w->t.stride;
    float *tmp = w->c->scratch[worker].p;
    int32_t y = kj_cpu_i32(w->targets)[i];
    if (y < 0) {
        memset(z, 0, w->v * sizeof *z);
        kj_cpu_f32(w->loss)[i] = kj_cpu_f32(w->kl)[i] = 0;
        return;
    }
    float temp = p->temperature, hard = 1 - p->weight;
    struct kj_kd_row r = {.lse = log_sum(k, z, w->v), .inv = 1 / temp};
    k->scale(tmp, z, w->v, r.inv);
    r.lse_z = log_sum(k, tmp, w->v);
    k->scale(tmp, t, w->v, r.inv);
    r.lse_t = log_sum(k, tmp, w->v);
    r.c = p->scale * (hard + 2 * p->zeta * r.lse);
    r.d = p->scale * p->weight * temp;
    kj_cpu_f32(w->loss)[i] = r.lse - z[y];
    kj_cpu_f32(w->kl)[i] = temp * temp * k->distil(z, t, w->v, &r);
    z[y] -= p->scale * hard;
}

void kj_cpu_distil(struct kj_backend *b, struct kj_mat z, struct kj_mat t,
                   struct kj_mat loss, struct kj_mat kl, struct kj_mat targets,
                   size_t n, size_t v, const struct kj_distil *p)
{
    const char *op = "distil";
    struct work w = {kj_cpu_of(b), z, t, loss, kl, targets, n, v, *p};
    if (!kj_cpu_inside(b, op, z, n, v) || !kj_cpu_inside(b, op, t, n, v) ||
        !kj_cpu_inside(b, op, loss, 1, n) || !kj_cpu_inside(b, op, kl, 1, n) ||
        !kj_cpu_inside(b, op, targets, 1, n) || !kj_cpu_scratch(w.c, op, v, 0) ||
        (p->scale_by.t && !kj_cpu_inside(b, op, p->scale_by, 1, 1)))
        return;
    if (p->scale_by.t)
        w.p.scale *= *kj_cpu_f32(p->scale_by);
    for (size_t i = 0; i < n; i++)
        if (kj_cpu_i32(targets)[i] >= (int64_t)v) {
            kj_backend_fault(b, op, "target %d at %zu is outside the vocabulary of %zu",
                             kj_cpu_i32(targets)[i], i, v);
            return;
        }
    kj_pool_run(w.c->pool, n, task, &w);
}
