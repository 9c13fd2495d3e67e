/* llama_init.c - fresh weights. */
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "nn/cpu/pool.h"
#include "trainer/llama_internal.h"
#include "trainer/normal.h"

/* Blocks of one parameter, drawn by several threads: each number depends on its
 * place only. */
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
    size_t from = task * DRAW_BLOCK;
    size_t n = d->n - from < DRAW_BLOCK ? d->n - from : DRAW_BLOCK;
    (void)worker;
    for (size_t j = 0; d->p->vector && j < n; j++)
        d->x[from + j] = 1.0f;
    if (!d->p->vector)
        kj_normals(d->x + from, n, d->key, d->at + from, d->p->init);
}

void kj_llama_init(struct kj_llama *m, uint64_t seed)
{
    struct kj_pool *pool = NULL;
    size_t turn = 4 * (m->b->threads ? m->b->threads : 1) * DRAW_BLOCK;
    if (kj_pool_new(&pool, m->b->threads, NULL) != KJ_OK)
        kj_pool_new(&pool, 1, NULL); /* which starts nothing, so cannot fail */
    float *x = kj_xmalloc(turn * sizeof *x);
    for (size_t i = 0; i < m->n_params; i++) {
        struct draw d = {
            .p = &m->params[i], .key = kj_normal_mix(seed ^ kj_normal_mix(i)), .x = x};
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
