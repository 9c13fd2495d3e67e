/* test_units.c - a backward pass tells of each unit when its gradients are complete, and
 * not before: from the last to the first, while those below are still to come. */
#include "tests/unit/test.h"

#include <stdlib.h>

#include "nn/backend.h"
#include "trainer/llama.h"

static const struct kj_shape shape = {.vocab_size = 13,
                                      .hidden = 8,
                                      .ffn = 12,
                                      .layers = 3,
                                      .heads = 2,
                                      .kv_heads = 1,
                                      .head_dim = 4,
                                      .max_positions = 8,
                                      .rope_theta = 10000,
                                      .norm_eps = 1e-5,
                                      .init_range = 0.1};

struct seen {
    struct kj_llama *m;
    size_t next; /* unit + 1 */
    float *then; /* each unit's gradients when it was told */
};

static void grown(void *ctx, size_t unit)
{
    struct seen *s = ctx;
    size_t at = kj_llama_unit(s->m, unit), end = kj_llama_unit(s->m, unit + 1);
    double below = s->m->b->ops->sumsq(s->m->b, kj_mat(s->m->g, 0, 1), at);
    CHECK_INT(unit + 1, s->next);
    s->next = unit;
    /* A tied embedding has its part of the head by then. */
    if (unit > 1 && !s->m->shape.tied)
        CHECK(below == 0);
    s->m->b->ops->read(s->m->b, s->m->g, at, s->then + at, end - at);
}

static void one(bool tied)
{
    static const int32_t ids[] = {1, 2, 3, 4, 5, 6}, pos[] = {0, 1, 2, 0, 1, 2},
                         targets[] = {2, 3, -1, 5, 6, 7}, cu[] = {0, 3, 6};
    struct kj_rows rows = {
        .n = 6, .ids = ids, .pos = pos, .targets = targets, .segs = 2, .cu = cu};
    struct kj_shape sh = shape;
    struct kj_backend *b;
    struct seen s = {0};
    double sum;
    sh.tied = tied;
    if (!CHECK_INT(kj_backend_open(&b, "cpu", 1, NULL), KJ_OK) ||
        !CHECK_INT(kj_llama_new(&s.m, b, &sh, 8, 4, true, NULL), KJ_OK))
        return;
    size_t n = s.m->n, units = kj_llama_units(s.m);
    CHECK_INT(units, 5);
    CHECK_INT(kj_llama_unit(s.m, 0), 0);
    CHECK_INT(kj_llama_unit(s.m, units), n);
    for (size_t i = 0; i < s.m->n_params; i++) { /* whole parameters, of one layer */
        size_t at = s.m->params[i].at, u = 0;
        while (kj_llama_unit(s.m, u + 1) <= at)
            u++;
        CHECK_INT(s.m->params[i].layer, u == 0 || u == units - 1 ? -1 : (int)u - 1);
    }
    kj_llama_init(s.m, 3);
    s.next = units;
    s.then = calloc(n, sizeof *s.then);
    s.m->grown = grown;
    s.m->grown_ctx = &s;
    CHECK_INT(kj_llama_loss(s.m, &rows, true, 1, 0, &sum, NULL, NULL), KJ_OK);
    CHECK_INT(s.next, 0);
    float *now = calloc(n, sizeof *now);
    b->ops->read(b, s.m->g, 0, now, n);
    CHECK(memcmp(now, s.then, n * sizeof *now) == 0);
    CHECK(b->ops->sumsq(b, kj_mat(s.m->g, 0, 1), n) > 0);
    free(now);
    free(s.then);
    kj_llama_free(s.m);
    kj_backend_close(b);
}

int main(void)
{
    one(false);
    one(true);
    return test_end();
}
