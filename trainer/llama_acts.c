/* llama_acts.c - where a model's activations lie, and the rotary table.
 *
 * The layers' sets lie in one tensor, layer by layer; without training the layers
 * share one set. Factors of norms, log sums and losses lie in tensors of their own,
 * because they stay float32 where activations are bfloat16.
 */
#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "trainer/llama_internal.h"

static size_t take(size_t *at, size_t n)
{
    size_t here = *at;
    *at += (n + 15) / 16 * 16;
    return here;
}

/* Elements of a set: activations, and sums, which are always float32. */
struct need {
    size_t acts, sums;
};

static struct need layer_acts(const struct kj_llama *m, size_t i,
                              struct kj_llama_layer_acts *l)
{
    struct kj_llama_acts *a = m->acts;
    struct kj_llama_dims d = kj_llama_dims(&m->shape);
    struct kj_tensor *t = a->layers, *f = a->layer_sums;
    size_t n = a->tokens, set = a->train ? i : 0;
    size_t from = set * a->per_layer, at = from, from_s = set * a->sums_layer;
    size_t as = from_s;
    l->x1 = kj_mat(t, take(&at, n * d.h), d.h);
    l->r1 = kj_mat(f, take(&as, n), 1);
    l->y1 = kj_mat(t, take(&at, n * d.h), d.h);
    l->qkv = kj_mat(t, take(&at, n * d.qkv), d.qkv);
    l->att = kj_mat(t, take(&at, n * d.q), d.q);
    l->lse = kj_mat(f, take(&as, n * d.heads), d.heads);
    l->x2 = kj_mat(t, take(&at, n * d.h), d.h);
    l->r2 = kj_mat(f, take(&as, n), 1);
    l->y2 = kj_mat(t, take(&at, n * d.h), d.h);
    l->gu = kj_mat(t, take(&at, n * 2 * d.f), 2 * d.f);
    l->h = kj_mat(t, take(&at, n * d.f), d.f);
    return (struct need){at - from, as - from_s};
}

void kj_llama_layer_acts(const struct kj_llama *m, size_t i,
                         struct kj_llama_layer_acts *l)
{
    layer_acts(m, i, l);
}

static struct need rest_acts(const struct kj_llama *m)
{
    struct kj_llama_acts *a = m->acts;
    struct kj_llama_dims d = kj_llama_dims(&m->shape);
    struct kj_tensor *t = a->rest, *f = a->rest_sums;
    size_t n = a->tokens, at = 0, as = 0;
    a->delta = kj_mat(t, take(&at, n * d.h), d.h);
    a->x = kj_mat(t, take(&at, n * d.h), d.h);
    a->r = kj_mat(f, take(&as, n), 1);
    a->y = kj_mat(t, take(&at, n * d.h), d.h);
    a->logits = kj_mat(t, take(&at, a->chunk * d.v), d.v);
    a->loss = kj_mat(f, take(&as, n), 1);
    a->lse = kj_mat(f, take(&as, n), 1);
    if (a->train) {
        a->dres = kj_mat(t, take(&at, n * d.h), d.h);
        a->dy = kj_mat(t, take(&at, n * d.h), d.h);
        a->dqkv = kj_mat(t, take(&at, n * d.qkv), d.qkv);
        a->datt = kj_mat(t, take(&at, n * d.q), d.q);
        a->dh = kj_mat(t, take(&at, n * d.f), d.f);
    }
    return (struct need){at, as};
}

size_t kj_llama_act_floats(const struct kj_shape *s, size_t tokens, size_t chunk,
                           bool train)
{
    struct kj_llama_acts a = {
        .tokens = tokens, .chunk = chunk < tokens ? chunk : tokens, .train = train};
    struct kj_llama m = {.shape = *s, .acts = &a};
    struct kj_llama_layer_acts l;
    struct need per = layer_acts(&m, 0, &l), rest = rest_acts(&m);
    return (per.acts + per.sums) * (train ? (size_t)s->layers : 1) + rest.acts +
           rest.sums + 3 * tokens + (size_t)(s->max_positions * s->head_dim);
}

/* YaRN: the pair (a real number) that turns `beta` times in the old context. */
static double pair_of(const struct kj_shape *s, double beta)
{
    double dim = (double)s->head_dim;
    return dim * log((double)s->rope_original / (beta * 6.283185307179586)) /
           (2 * log(s->rope_theta));
}

/* How pair i turns, and the factor of all pairs: what turns fast enough to tell
 * neighbours apart stays; slow pairs are stretched; a ramp lies between. */
static double turns(const struct kj_shape *s, size_t i, double *scale)
{
    double dim = (double)s->head_dim;
    double f = pow(s->rope_theta, -2.0 * (double)i / dim);
    *scale = 1;
    if (s->rope_factor <= 1)
        return f;
    double low = fmax(floor(pair_of(s, s->rope_beta_fast)), 0);
    double high = fmin(ceil(pair_of(s, s->rope_beta_slow)), dim - 1);
    if (high == low)
        high += 0.001;
    double ramp = fmin(fmax(((double)i - low) / (high - low), 0), 1);
    *scale = 0.1 * log(s->rope_factor) + 1;
    return f * (1 - ramp) + f / s->rope_factor * ramp;
}

/* Angles are made in double: at position 8000 float32 would be off by 5e-4. */
void kj_llama_rope_row(const struct kj_shape *s, size_t p, float *row)
{
    size_t dim = (size_t)s->head_dim, half = dim / 2;
    for (size_t i = 0; i < half; i++) {
        double scale, f = turns(s, i, &scale);
        row[i] = (float)(scale * cos((double)p * f));
        row[i + half] = (float)(scale * sin((double)p * f));
    }
}

static void rope_table(struct kj_llama *m)
{
    size_t dim = (size_t)m->shape.head_dim;
    float *row = kj_xcalloc(dim, sizeof *row);
    for (size_t p = 0; p < m->acts->rope_n; p++) {
        kj_llama_rope_row(&m->shape, p, row);
        m->b->ops->write(m->b, m->acts->rope, p * dim, row, dim);
    }
    free(row);
}

void kj_llama_acts_new(struct kj_llama *m, size_t tokens, size_t chunk, bool train,
                       enum kj_dtype type)
{
    const struct kj_ops *o = m->b->ops;
    struct kj_llama_acts *a = m->acts = kj_xcalloc(1, sizeof *a);
    struct kj_llama_layer_acts l;
    a->tokens = tokens;
    a->chunk = chunk < tokens ? chunk : tokens;
    a->train = train;
    struct need per = layer_acts(m, 0, &l), rest = rest_acts(m);
    a->per_layer = per.acts;
    a->sums_layer = per.sums;
    size_t sets = train ? (size_t)m->shape.layers : 1;
    a->layers = o->tensor_new(m->b, type, per.acts * sets);
    a->layer_sums = o->tensor_new(m->b, KJ_F32, per.sums * sets);
    a->rest = o->tensor_new(m->b, type, rest.acts);
    a->rest_sums = o->tensor_new(m->b, KJ_F32, rest.sums);
    rest_acts(m);
    a->ids = o->tensor_new(m->b, KJ_I32, tokens);
    a->pos = o->tensor_new(m->b, KJ_I32, tokens);
    a->targets = o->tensor_new(m->b, KJ_I32, tokens);
    a->rope_n = (size_t)m->shape.max_positions;
    a->rope = o->tensor_new(m->b, KJ_F32, a->rope_n * (size_t)m->shape.head_dim);
    a->host = kj_xcalloc(tokens, sizeof *a->host);
    if (a->rope)
        rope_table(m);
}

void kj_llama_acts_free(struct kj_llama *m)
{
    struct kj_llama_acts *a = m->acts;
    if (!a)
        return;
    struct kj_tensor *t[] = {a->layers, a->layer_sums, a->rest,    a->rest_sums,
                             a->ids,    a->pos,        a->targets, a->rope};
    for (size_t i = 0; i < sizeof t / sizeof *t; i++)
        m->b->ops->tensor_free(m->b, t[i]);
    free(a->host);
    free(a);
    m->acts = NULL;
}
