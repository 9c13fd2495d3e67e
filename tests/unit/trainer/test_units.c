/* test_units.c - a backward pass tells of each unit before its gradients begin, and when
 * they are complete, and not before: from the last to the first, while those below are
 * still to come. Cut among ranks: spans that together are the model, weights and
 * gradients in them, slots that a unit has for itself while it grows. */
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
    bool growing[8];
};

/* Nobody has added to it yet; one that is cut has the slot's last gradients. */
static void growing(void *ctx, size_t unit)
{
    struct seen *s = ctx;
    const struct kj_ops *o = s->m->b->ops;
    struct kj_mat g = kj_llama_unit_grads(s->m, unit);
    size_t n = kj_llama_unit(s->m, unit + 1) - kj_llama_unit(s->m, unit);
    if (kj_llama_grads_cut(s->m))
        o->zero(s->m->b, g, n);
    CHECK(o->sumsq(s->m->b, g, n) == 0);
    CHECK(!s->growing[unit] && unit < s->next);
    s->growing[unit] = true;
}

static void grown(void *ctx, size_t unit)
{
    struct seen *s = ctx;
    size_t at = kj_llama_unit(s->m, unit), end = kj_llama_unit(s->m, unit + 1);
    struct kj_mat g = kj_llama_unit_grads(s->m, unit);
    bool cut = kj_llama_grads_cut(s->m);
    double below = cut ? 0 : s->m->b->ops->sumsq(s->m->b, kj_mat(s->m->g, 0, 1), at);
    CHECK_INT(unit + 1, s->next);
    CHECK(s->growing[unit]);
    s->next = unit;
    /* A tied embedding has its part of the head by then. */
    if (unit > 1 && !s->m->shape.tied)
        CHECK(below == 0);
    s->m->b->ops->read(s->m->b, g.t, g.at, s->then + at, end - at);
}

/* The gradients of a pass, each unit's when it was told. */
static float *grow(struct kj_llama *m)
{
    static const int32_t ids[] = {1, 2, 3, 4, 5, 6}, pos[] = {0, 1, 2, 0, 1, 2},
                         targets[] = {2, 3, -1, 5, 6, 7}, cu[] = {0, 3, 6};
    struct kj_rows rows = {
        .n = 6, .ids = ids, .pos = pos, .targets = targets, .segs = 2, .cu = cu};
    struct seen s = {.m = m, .next = kj_llama_units(m)};
    double sum;
    s.then = calloc(m->n, sizeof *s.then);
    m->growing = growing;
    m->grown = grown;
    m->grown_ctx = &s;
    CHECK_INT(kj_llama_loss(m, &rows, true, 1, 0, &sum, NULL, NULL), KJ_OK);
    CHECK_INT(s.next, 0);
    return s.then;
}

/* Rank by rank of three: what each holds, and what a pass gives it. */
static void cut(struct kj_backend *b, const struct kj_shape *sh, const float *want)
{
    struct kj_llama_how how = {.tokens = 8, .chunk = 4, .train = true, .zero = 2};
    size_t next[8] = {0}, all = 0;
    how.ranks = 3;
    for (how.rank = 0; how.rank < how.ranks; how.rank++) {
        struct kj_llama *m;
        struct kj_span p;
        if (!CHECK_INT(kj_llama_make(&m, b, sh, &how, NULL), KJ_OK))
            return;
        CHECK_INT(m->n_spans, kj_llama_units(m));
        CHECK_INT(b->ops->tensor_size(m->g), m->own);
        for (size_t i = 0; i < m->n_spans; i++) {
            const struct kj_span *s = &m->spans[i];
            CHECK_INT(s->from, next[i] ? next[i] : kj_llama_unit(m, i));
            CHECK(s->at + (s->to - s->from) <= m->own);
            CHECK_INT(kj_llama_grad(m, s).at, s->at);
            next[i] = s->to;
            all += s->to - s->from;
            if (s->from < s->to) {
                CHECK(!kj_llama_span(m, i, 0, s->from, &p));
                CHECK(kj_llama_span(m, i, s->from + 1, m->n, &p) ==
                      (s->to - s->from > 1));
                CHECK(p.from == s->from + 1 && p.at == s->at + 1 && p.to == s->to);
            }
        }
        kj_llama_init(m, 3);
        float *got = grow(m);
        CHECK(memcmp(got, want, m->n * sizeof *got) == 0);
        free(got);
        if (how.rank == how.ranks - 1) {
            CHECK_INT(all, m->n);
            for (size_t i = 0; i < m->n_spans; i++)
                CHECK_INT(next[i], kj_llama_unit(m, i + 1));
        }
        kj_llama_free(m);
    }
}

static void one(bool tied)
{
    struct kj_shape sh = shape;
    struct kj_backend *b;
    struct kj_llama *m;
    sh.tied = tied;
    if (!CHECK_INT(kj_backend_open(&b, "cpu", 1, NULL), KJ_OK) ||
        !CHECK_INT(kj_llama_new(&m, b, &sh, 8, 4, true, NULL), KJ_OK))
        return;
    size_t n = m->n, units = kj_llama_units(m);
    CHECK_INT(units, 5);
    CHECK_INT(kj_llama_unit(m, 0), 0);
    CHECK_INT(kj_llama_unit(m, units), n);
    for (size_t i = 0; i < m->n_params; i++) { /* whole parameters, of one layer */
        size_t at = m->params[i].at, u = 0;
        while (kj_llama_unit(m, u + 1) <= at)
            u++;
        CHECK_INT(m->params[i].layer, u == 0 || u == units - 1 ? -1 : (int)u - 1);
    }
    kj_llama_init(m, 3);
    float *then = grow(m), *now = calloc(n, sizeof *now);
    b->ops->read(b, m->g, 0, now, n);
    CHECK(memcmp(now, then, n * sizeof *now) == 0);
    CHECK(b->ops->sumsq(b, kj_mat(m->g, 0, 1), n) > 0);
    cut(b, &sh, then);
    free(now);
    free(then);
    kj_llama_free(m);
    CHECK_INT(b->bytes, 0);
    kj_backend_close(b);
}

int main(void)
{
    one(false);
    one(true);
    return test_end();
}
