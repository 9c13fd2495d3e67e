/* ranks.c - see ranks.h. */
#include "trainer/ranks.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "nn/comm.h"
#include "trainer/llama.h"

void kj_ranks_init(struct kj_ranks *k, struct kj_backend *b, struct kj_comm *c,
                   const struct kj_llama *m, bool whole)
{
    bool cut = c && !whole;
    *k = (struct kj_ranks){.comm = c, .b = b, .size = 1, .whole = whole};
    k->units = kj_llama_units(m);
    k->cut = kj_xcalloc(k->units + 1, sizeof *k->cut);
    for (size_t i = 0; i <= k->units; i++)
        k->cut[i] = kj_llama_unit(m, i);
    k->n_spans = cut ? k->units : 1;
    k->spans = kj_xcalloc(k->n_spans, sizeof *k->spans);
    k->spans[0].to = k->own = m->n;
    if (c) {
        k->rank = kj_comm_rank(c);
        k->size = kj_comm_size(c);
    }
    if (!cut)
        return;
    k->own = 0;
    for (size_t i = 0; i < k->units; i++) {
        struct kj_span *s = &k->spans[i];
        kj_comm_part(c, k->rank, k->cut[i + 1] - k->cut[i], &s->from, &s->to);
        s->from += k->cut[i];
        s->to += k->cut[i];
        s->moment = k->own;
        k->own += s->to - s->from;
    }
}

void kj_ranks_free(struct kj_ranks *k)
{
    free(k->cut);
    free(k->spans);
    k->cut = NULL;
    k->spans = NULL;
}

bool kj_ranks_span(const struct kj_ranks *k, size_t i, size_t at, size_t end,
                   struct kj_span *part)
{
    *part = k->spans[i];
    if (at > part->from) {
        part->moment += at - part->from;
        part->from = at;
    }
    part->to = part->to < end ? part->to : end;
    return part->from < part->to;
}

/* ---- exchanges of a step ---- */

void kj_ranks_sum_unit(struct kj_ranks *k, struct kj_tensor *g, size_t unit)
{
    struct kj_mat x = kj_mat(g, k->cut[unit], 1);
    size_t n = k->cut[unit + 1] - k->cut[unit];
    if (!k->comm)
        return;
    k->b->ops->reduce_scatter(k->b, x, n);
    if (k->whole)
        k->b->ops->all_gather(k->b, x, n);
    k->begun++;
}

void kj_ranks_sum(struct kj_ranks *k, struct kj_tensor *g)
{
    if (!k->comm)
        return;
    for (size_t i = k->units - k->begun; i-- > 0;)
        kj_ranks_sum_unit(k, g, i);
    k->begun = 0;
    k->b->ops->await(k->b, kj_mat(g, 0, 1), k->cut[k->units]);
}

/* In the order of forward passes. */
static void gather(struct kj_ranks *k, struct kj_tensor *t)
{
    for (size_t i = 0; i < k->units; i++)
        k->b->ops->all_gather(k->b, kj_mat(t, k->cut[i], 1), k->cut[i + 1] - k->cut[i]);
}

void kj_ranks_share(struct kj_ranks *k, struct kj_llama *m)
{
    m->stale = true;
    if (!k->comm || k->whole)
        return;
    if (!m->low) {
        gather(k, m->w);
        return;
    }
    for (size_t i = 0; i < k->n_spans; i++) {
        const struct kj_span *s = &k->spans[i];
        k->b->ops->axpby(k->b, kj_mat(m->low, s->from, 1), kj_mat(m->w, s->from, 1),
                         s->to - s->from, 1, 0);
    }
    gather(k, m->low);
    m->stale = false;
    k->behind = true;
}

int kj_ranks_settle(struct kj_ranks *k, struct kj_llama *m, struct kj_err *err)
{
    size_t n = k->cut[k->units];
    if (!k->comm)
        return KJ_OK;
    if (k->behind)
        gather(k, m->w);
    k->behind = false;
    k->b->ops->await(k->b, kj_mat(m->w, 0, 1), n);
    if (m->low)
        k->b->ops->await(k->b, kj_mat(m->low, 0, 1), n);
    return k->b->ops->sync(k->b, err);
}

void kj_ranks_squares(struct kj_ranks *k, struct kj_tensor *g, struct kj_mat acc)
{
    for (size_t i = 0; i < k->n_spans; i++) {
        const struct kj_span *s = &k->spans[i];
        k->b->ops->add_sum(k->b, acc, kj_mat(g, s->from, 1), s->to - s->from, true);
    }
}

int kj_ranks_norm(struct kj_ranks *k, double squares, double *norm, struct kj_err *err)
{
    int rc = k->whole ? KJ_OK : kj_ranks_add(k, &squares, 1, err);
    *norm = sqrt(squares);
    return rc;
}

int kj_ranks_add(struct kj_ranks *k, double *x, size_t n, struct kj_err *err)
{
    return k->comm ? kj_comm_sum(k->comm, x, n, err) : KJ_OK;
}

int kj_ranks_tell(struct kj_ranks *k, void *p, size_t n, struct kj_err *err)
{
    return k->comm ? kj_comm_broadcast(k->comm, p, n, 0, err) : KJ_OK;
}

/* ---- moments for a checkpoint ---- */

/* What rank 0 asks for; n 0: nothing more. */
struct request {
    uint64_t at, n;
    int32_t which, pad;
};

/* This rank's elements of at .. at+n, read from the device. */
static int own(struct kj_ranks *k, struct kj_tensor *t, size_t at, size_t n, float *out,
               struct kj_err *err)
{
    struct kj_span s;
    for (size_t i = 0; i < k->n_spans; i++)
        if (kj_ranks_span(k, i, at, at + n, &s)) {
            k->b->ops->read(k->b, t, s.moment, out, s.to - s.from);
            out += s.to - s.from;
        }
    return k->b->ops->sync(k->b, err);
}

/* Elements at .. at+n from all ranks' to rank 0's `to`; mine: this rank's of them. */
static int collect(struct kj_ranks *k, const float *mine, size_t at, size_t n,
                   float *to, struct kj_err *err)
{
    struct kj_span s;
    int rc = KJ_OK;
    for (size_t i = 0; i < k->units && rc == KJ_OK; i++) {
        size_t from = k->cut[i] > at ? k->cut[i] : at;
        size_t end = k->cut[i + 1] < at + n ? k->cut[i + 1] : at + n;
        if (from >= end)
            continue;
        rc = kj_comm_collect(k->comm, mine, k->cut[i + 1] - k->cut[i], from - k->cut[i],
                             end - from, to ? to + (from - at) : NULL, err);
        if (kj_ranks_span(k, i, from, end, &s))
            mine += s.to - s.from;
    }
    return rc;
}

int kj_ranks_read(struct kj_ranks *k, struct kj_tensor *t, int which, size_t at,
                  float *out, size_t n, struct kj_err *err)
{
    struct request q = {at, n, which, 0};
    if (!k->comm || k->whole)
        return own(k, t, at, n, out, err);
    float *mine = kj_xmalloc((n + 1) * sizeof *mine);
    int rc = kj_ranks_tell(k, &q, sizeof q, err);
    if (rc == KJ_OK)
        rc = own(k, t, at, n, mine, err);
    if (rc == KJ_OK)
        rc = collect(k, mine, at, n, out, err);
    free(mine);
    return rc;
}

int kj_ranks_done(struct kj_ranks *k, struct kj_err *err)
{
    struct request q = {0};
    return k->whole ? KJ_OK : kj_ranks_tell(k, &q, sizeof q, err);
}

int kj_ranks_lend(struct kj_ranks *k, struct kj_tensor *const t[2], struct kj_err *err)
{
    struct request q = {0};
    float *mine = NULL;
    int rc = KJ_OK;
    while (!k->whole && (rc = kj_ranks_tell(k, &q, sizeof q, err)) == KJ_OK && q.n) {
        mine = kj_xrealloc(mine, (q.n + 1) * sizeof *mine);
        rc = own(k, t[q.which], q.at, q.n, mine, err);
        if (rc == KJ_OK)
            rc = collect(k, mine, q.at, q.n, NULL, err);
        if (rc)
            break;
    }
    free(mine);
    return rc;
}
