/* llama_init.c - fresh weights. */
#include <math.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "nn/cpu/pool.h"
#include "trainer/llama_internal.h"

static uint64_t mix(uint64_t z)
{
    z += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

/* Box and Muller 1958, two uniforms from one counter. */
static float normal(uint64_t key, uint64_t i)
{
    uint64_t a = mix(key ^ mix(i)), b = mix(a ^ key);
    double u = ((double)(a >> 11) + 1) * 0x1p-53, v = (double)(b >> 11) * 0x1p-53;
    return (float)(sqrt(-2 * log(u)) * cos(6.283185307179586 * v));
}

/* Blocks of one parameter, drawn by several threads: each number depends on its
 * place only. One costs 29 ns: two thousand million on one thread a minute. */
struct draw {
    const struct kj_param *p;
    uint64_t key;
    size_t at, n; /* elements of this turn */
    float *x;
};
#define DRAW_BLOCK ((size_t)65536)

static void draw_block(void *ctx, size_t task, unsigned worker)
{
    const struct draw *d = ctx;
    size_t end = (task + 1) * DRAW_BLOCK < d->n ? (task + 1) * DRAW_BLOCK : d->n;
    (void)worker;
    for (size_t j = task * DRAW_BLOCK; j < end; j++)
        d->x[j] = d->p->vector ? 1.0f : d->p->init * normal(d->key, d->at + j);
}

void kj_llama_init(struct kj_llama *m, uint64_t seed)
{
    struct kj_pool *pool = NULL;
    size_t turn = 4 * (m->b->threads ? m->b->threads : 1) * DRAW_BLOCK;
    if (kj_pool_new(&pool, m->b->threads, NULL) != KJ_OK)
        kj_pool_new(&pool, 1, NULL); /* which starts nothing, so cannot fail */
    float *x = kj_xmalloc(turn * sizeof *x);
    for (size_t i = 0; i < m->n_params; i++) {
        struct draw d = {.p = &m->params[i], .key = mix(seed ^ mix(i)), .x = x};
        size_t n = d.p->rows * d.p->cols;
        for (; d.at < n; d.at += d.n) {
            d.n = n - d.at < turn ? n - d.at : turn;
            kj_pool_run(pool, (d.n + DRAW_BLOCK - 1) / DRAW_BLOCK, draw_block, &d);
            kj_llama_write(m, d.p->at + d.at, x, d.n);
        }
    }
    free(x);
    kj_pool_free(pool);
}
