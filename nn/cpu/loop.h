/* loop.h - loops over rows or runs of elements, cut into tasks of about KJ_GRAIN
 * elements, by shape alone, and claimed by the pool's threads.
 */
#ifndef KJ_NN_CPU_LOOP_H
#define KJ_NN_CPU_LOOP_H

#include "nn/cpu/cpu.h"

#define KJ_GRAIN 16384

struct kj_loop {
    struct kj_cpu *c;
    size_t n, per; /* items in all and in a task */
    size_t h, heads;
    struct kj_mat a, b, d, e, f, g;
    float s, z;
    bool flag;
    enum kj_act act;
    const struct kj_adamw *opt;
    double *sums;
};

static inline size_t kj_cpu_tasks(const struct kj_loop *l)
{
    return (l->n + l->per - 1) / l->per;
}

static inline size_t kj_cpu_per_task(size_t width)
{
    return width >= KJ_GRAIN ? 1 : KJ_GRAIN / (width ? width : 1);
}

static inline void kj_cpu_run(struct kj_loop *l, kj_pool_fn *fn)
{
    kj_pool_run(l->c->pool, kj_cpu_tasks(l), fn, l);
}

#define KJ_TASK_RANGE(l, task, i0, i1)                                                 \
    size_t i0 = (task) * (l)->per, i1 = i0 + (l)->per < (l)->n ? i0 + (l)->per : (l)->n

static inline float *kj_cpu_row(struct kj_mat m, size_t i)
{
    return kj_cpu_f32(m) + i * m.stride;
}

#endif
