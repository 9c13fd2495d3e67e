/* llama_parts.c - the units of a model, what of them a rank keeps, and where passes put
 * their gradients.
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
#include <stdlib.h>

#include "base/mem.h"
#include "nn/comm.h"
#include "trainer/llama_internal.h"

/* Slots begin at as good addresses as whole gradients do: products are chosen by that. */
#define GRAIN 128

/* So do spans: as the elements that others have. */
#define SPAN_GRAIN 16

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
