/* llama_parts.c - what a model consists of: its parameters and where they lie, the units
 * that they make, what of these a rank keeps, and where passes put their gradients.
 *
 * Ranks that train together cut a model unit by unit, each unit at multiples of 16
 * elements (kj_comm_cut), so that a unit's exchange is a matter of that unit alone. What
 * a rank keeps of them, its spans, lies one behind the other.
 *
 * With zero 2 (Rajbhandari et al. 2020) gradients of a pass go into slots, a unit each,
 * and from there to the ranks that own them:
 *
 *   slot 0      the last norm with the head, at the end of a pass the embedding
 *   slots 1, 2  layers by turns: one is exchanged while the other is filled
 *   slot 3      the last norm, where the head is the embedding, which has slot 0 then
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "nn/comm.h"
#include "trainer/llama_internal.h"

/* Slots begin at as good addresses as whole gradients do: products are chosen by that. */
#define GRAIN 128

/* So do spans: as the elements that others have. */
#define SPAN_GRAIN 16

static void param(struct kj_param *p, size_t *n, size_t *at, size_t rows, size_t cols,
                  double init, int layer, const char *what)
{
    struct kj_param *q = &p[(*n)++];
    q->at = *at;
    q->rows = rows;
    q->cols = cols;
    q->layer = layer;
    q->vector = rows == 1;
    q->init = (float)init;
    if (layer < 0)
        snprintf(q->name, sizeof q->name, "%s.weight", what);
    else
        snprintf(q->name, sizeof q->name, "model.layers.%d.%s.weight", layer, what);
    *at += rows * cols;
}

struct kj_param *kj_llama_params(const struct kj_shape *s, size_t *n, size_t *elements)
{
    size_t h = (size_t)s->hidden, f = (size_t)s->ffn, v = (size_t)s->vocab_size;
    size_t q = (size_t)(s->heads * s->head_dim),
           kv = (size_t)(s->kv_heads * s->head_dim);
    double init = s->init_range, back = init / sqrt(2.0 * (double)s->layers);
    struct kj_param *p = kj_xcalloc((size_t)s->layers * 9 + 3, sizeof *p);
    size_t at = 0;
    *n = 0;
    param(p, n, &at, v, h, init, -1, "model.embed_tokens");
    for (int i = 0; i < (int)s->layers; i++) {
        param(p, n, &at, 1, h, 0, i, "input_layernorm");
        param(p, n, &at, q, h, init, i, "self_attn.q_proj");
        param(p, n, &at, kv, h, init, i, "self_attn.k_proj");
        param(p, n, &at, kv, h, init, i, "self_attn.v_proj");
        param(p, n, &at, h, q, back, i, "self_attn.o_proj");
        param(p, n, &at, 1, h, 0, i, "post_attention_layernorm");
        param(p, n, &at, f, h, init, i, "mlp.gate_proj");
        param(p, n, &at, f, h, init, i, "mlp.up_proj");
        param(p, n, &at, h, f, back, i, "mlp.down_proj");
    }
    param(p, n, &at, 1, h, 0, -1, "model.norm");
    if (!s->tied)
        param(p, n, &at, v, h, init, -1, "lm_head");
    /* A model may be one wide: these are vectors by name, not by rows. */
    for (size_t i = 0; i < *n; i++)
        p[i].vector = strstr(p[i].name, "norm.weight") != NULL;
    if (elements)
        *elements = at;
    return p;
}

/* ---- where things are ---- */

struct kj_llama_dims kj_llama_dims(const struct kj_shape *s)
{
    struct kj_llama_dims d = {
        .h = (size_t)s->hidden,
        .f = (size_t)s->ffn,
        .v = (size_t)s->vocab_size,
        .q = (size_t)(s->heads * s->head_dim),
        .kv = (size_t)(s->kv_heads * s->head_dim),
        .heads = (size_t)s->heads,
        .kv_heads = (size_t)s->kv_heads,
        .dim = (size_t)s->head_dim,
        .layers = (size_t)s->layers,
    };
    d.qkv = d.q + 2 * d.kv;
    d.per_layer = 2 * d.h + d.qkv * d.h + d.h * d.q + 3 * d.f * d.h;
    return d;
}

struct kj_llama_layer kj_llama_layer(const struct kj_llama *m, struct kj_mat u)
{
    struct kj_llama_dims d = kj_llama_dims(&m->shape);
    struct kj_llama_layer l;
    l.norm1 = kj_mat(u.t, u.at, d.h);
    l.qkv = kj_mat(u.t, u.at += d.h, d.h);
    l.o = kj_mat(u.t, u.at += d.qkv * d.h, d.q);
    l.norm2 = kj_mat(u.t, u.at += d.h * d.q, d.h);
    l.gu = kj_mat(u.t, u.at += d.h, d.h);
    l.down = kj_mat(u.t, u.at + 2 * d.f * d.h, d.f);
    return l;
}

struct kj_llama_layer kj_llama_layer_of(const struct kj_llama *m, struct kj_tensor *t,
                                        size_t i)
{
    return kj_llama_layer(m, kj_mat(t, kj_llama_unit(m, i + 1), 1));
}

struct kj_llama_ends kj_llama_ends(const struct kj_llama *m, struct kj_mat first,
                                   struct kj_mat last)
{
    size_t h = (size_t)m->shape.hidden;
    struct kj_llama_ends e = {kj_mat(first.t, first.at, h), kj_mat(last.t, last.at, h),
                              kj_mat(last.t, last.at + h, h)};
    if (m->shape.tied)
        e.head = e.embed;
    return e;
}

struct kj_llama_ends kj_llama_ends_of(const struct kj_llama *m, struct kj_tensor *t)
{
    size_t last = kj_llama_units(m) - 1;
    return kj_llama_ends(m, kj_mat(t, 0, 1), kj_mat(t, kj_llama_unit(m, last), 1));
}

struct kj_tensor *kj_llama_working(const struct kj_llama *m)
{
    return m->low ? m->low : m->w;
}

struct kj_llama_ends kj_llama_end_grads(const struct kj_llama *m)
{
    size_t last = kj_llama_units(m) - 1;
    return kj_llama_ends(m, kj_llama_unit_grads(m, 0), kj_llama_unit_grads(m, last));
}

/* ---- units ---- */

/* Where unit i begins. */
static size_t unit_at(const struct kj_shape *s, size_t i)
{
    struct kj_llama_dims d = kj_llama_dims(s);
    if (i <= d.layers + 1)
        return i ? d.v * d.h + (i - 1) * d.per_layer : 0;
    return d.v * d.h + d.layers * d.per_layer + d.h + (s->tied ? 0 : d.v * d.h);
}

size_t kj_llama_units(const struct kj_llama *m)
{
    return (size_t)m->shape.layers + 2;
}

size_t kj_llama_unit(const struct kj_llama *m, size_t i)
{
    return unit_at(&m->shape, i);
}

/* ---- spans ---- */

static struct kj_span span_of(const struct kj_shape *s, const struct kj_llama_how *how,
                              size_t unit)
{
    struct kj_span p = {0, 0, 0};
    size_t at = unit_at(s, unit), n = unit_at(s, unit + 1) - at;
    kj_comm_cut(n, how->rank, how->ranks, &p.from, &p.to);
    p.from += at;
    p.to += at;
    return p;
}

static size_t kept(const struct kj_span *s)
{
    return (s->to - s->from + SPAN_GRAIN - 1) / SPAN_GRAIN * SPAN_GRAIN;
}

size_t kj_llama_own(const struct kj_shape *s, const struct kj_llama_how *how)
{
    size_t units = (size_t)s->layers + 2, own = 0;
    if (how->ranks <= 1)
        return unit_at(s, units);
    for (size_t i = 0; i < units; i++) {
        struct kj_span p = span_of(s, how, i);
        own += kept(&p);
    }
    return own;
}

void kj_llama_spans_new(struct kj_llama *m)
{
    bool cut = m->how.ranks > 1;
    m->n_spans = cut ? kj_llama_units(m) : 1;
    m->spans = kj_xcalloc(m->n_spans, sizeof *m->spans);
    m->spans[0].to = m->own = m->n;
    if (!cut)
        return;
    m->own = 0;
    for (size_t i = 0; i < m->n_spans; i++) {
        m->spans[i] = span_of(&m->shape, &m->how, i);
        m->spans[i].at = m->own;
        m->own += kept(&m->spans[i]);
    }
}

bool kj_llama_span(const struct kj_llama *m, size_t i, size_t at, size_t end,
                   struct kj_span *part)
{
    *part = m->spans[i];
    if (at > part->from) {
        part->at += at - part->from;
        part->from = at;
    }
    part->to = part->to < end ? part->to : end;
    return part->from < part->to;
}

bool kj_llama_masters_cut(const struct kj_llama *m)
{
    return m->low && m->how.ranks > 1;
}

bool kj_llama_grads_cut(const struct kj_llama *m)
{
    return m->slots != NULL;
}

struct kj_mat kj_llama_master(const struct kj_llama *m, const struct kj_span *s)
{
    return kj_mat(m->w, kj_llama_masters_cut(m) ? s->at : s->from, 1);
}

struct kj_mat kj_llama_grad(const struct kj_llama *m, const struct kj_span *s)
{
    return kj_mat(m->g, kj_llama_grads_cut(m) ? s->at : s->from, 1);
}

void kj_llama_write(struct kj_llama *m, size_t at, const float *x, size_t n)
{
    struct kj_span p;
    if (!kj_llama_masters_cut(m)) {
        m->b->ops->write(m->b, m->w, at, x, n);
        m->stale = m->low != NULL;
        return;
    }
    m->b->ops->write(m->b, m->low, at, x, n);
    for (size_t i = 0; i < m->n_spans; i++)
        if (kj_llama_span(m, i, at, at + n, &p))
            m->b->ops->write(m->b, m->w, p.at, x + (p.from - at), p.to - p.from);
}

/* ---- slots ---- */

size_t kj_llama_slot(const struct kj_llama *m, size_t unit)
{
    if (unit == 0)
        return 0;
    if (unit == (size_t)m->shape.layers + 1)
        return m->shape.tied ? 3 : 0;
    return 1 + unit % 2;
}

/* The elements of slots 0 .. n. */
static size_t slots_at(const struct kj_shape *s, size_t n)
{
    struct kj_llama_dims d = kj_llama_dims(s);
    const size_t size[KJ_LLAMA_SLOTS] = {d.v * d.h + (s->tied ? 0 : d.h), d.per_layer,
                                         d.per_layer, s->tied ? d.h : 0};
    size_t at = 0;
    for (size_t i = 0; i < n; i++)
        at += (size[i] + GRAIN - 1) / GRAIN * GRAIN;
    return at;
}

size_t kj_llama_slots(const struct kj_shape *s, const struct kj_llama_how *how)
{
    bool cut = how->train && how->zero == 2 && how->ranks > 1;
    return cut ? slots_at(s, KJ_LLAMA_SLOTS) : 0;
}

struct kj_mat kj_llama_unit_grads(const struct kj_llama *m, size_t unit)
{
    if (!m->slots)
        return kj_mat(m->g, unit_at(&m->shape, unit), 1);
    return kj_mat(m->slots, slots_at(&m->shape, kj_llama_slot(m, unit)), 1);
}
