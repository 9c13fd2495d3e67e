/* ranks.c - see ranks.h. */
#include "trainer/ranks.h"

#include <math.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "nn/arith.h"
#include "nn/backend.h"
#include "nn/comm.h"
#include "trainer/llama_internal.h"

void kj_ranks_init(struct kj_ranks *k, struct kj_comm *c, struct kj_llama *m)
{
    *k = (struct kj_ranks){.comm = c, .b = m->b, .m = m, .size = 1};
    if (!c)
        return;
    k->rank = kj_comm_rank(c);
    k->size = kj_comm_size(c);
    k->whole = m->how.ranks <= 1;
}

static size_t elements(const struct kj_ranks *k, size_t unit)
{
    return kj_llama_unit(k->m, unit + 1) - kj_llama_unit(k->m, unit);
}

/* ---- gradients ---- */

/* Sums of bfloat16 would lose small passes if they were rounded to nearest for long. */
static void add_up(struct kj_ranks *k, const struct kj_span *s, struct kj_mat x)
{
    uint64_t was = k->b->chance;
    k->b->chance = k->chance ? kj_random64(k->chance, ++k->taken) | 1u : 0;
    k->b->ops->axpby(k->b, kj_llama_grad(k->m, s), x, s->to - s->from, 1, 1);
    k->b->chance = was;
}

/* What was summed over ranks in a slot goes where this rank keeps it. */
static void empty(struct kj_ranks *k, size_t slot)
{
    size_t unit = k->held[slot] - 1;
    if (!k->held[slot])
        return;
    k->held[slot] = 0;
    struct kj_mat x = kj_llama_unit_grads(k->m, unit);
    struct kj_span s = k->m->spans[unit];
    k->b->ops->await(k->b, x, elements(k, unit));
    x.at += s.from - kj_llama_unit(k->m, unit);
    add_up(k, &s, x);
}

static void make_room(void *ctx, size_t unit)
{
    struct kj_ranks *k = ctx;
    empty(k, kj_llama_slot(k->m, unit));
    k->b->ops->zero(k->b, kj_llama_unit_grads(k->m, unit), elements(k, unit));
}

/* A unit's gradients of this pass, or with zero 1 of all passes, are there. */
static void sum_unit(void *ctx, size_t unit)
{
    struct kj_ranks *k = ctx;
    struct kj_mat x = kj_llama_unit_grads(k->m, unit);
    k->b->ops->reduce_scatter(k->b, x, elements(k, unit));
    if (k->whole)
        k->b->ops->all_gather(k->b, x, elements(k, unit));
    if (kj_llama_grads_cut(k->m))
        k->held[kj_llama_slot(k->m, unit)] = unit + 1;
    else
        k->begun++;
}

void kj_ranks_begin(struct kj_ranks *k, uint64_t chance)
{
    struct kj_tensor *g = k->m->g;
    k->b->ops->zero(k->b, kj_mat(g, 0, 1), k->b->ops->tensor_size(g));
    k->begun = 0;
    k->chance = chance;
    k->taken = 0;
}

void kj_ranks_pass(struct kj_ranks *k, size_t i, size_t passes)
{
    bool cut = kj_llama_grads_cut(k->m);
    k->m->growing = cut ? make_room : NULL;
    k->m->grown = k->comm && (cut || i + 1 == passes) ? sum_unit : NULL;
    k->m->grown_ctx = k;
}

/* A pass without rows. */
static void idle(struct kj_ranks *k)
{
    for (size_t i = kj_llama_units(k->m); i-- > 0;) {
        make_room(k, i);
        sum_unit(k, i);
    }
}

void kj_ranks_end(struct kj_ranks *k, size_t passes, size_t rounds)
{
    size_t units = kj_llama_units(k->m);
    k->m->growing = k->m->grown = NULL;
    if (!k->comm)
        return;
    if (kj_llama_grads_cut(k->m)) {
        for (; passes < rounds; passes++)
            idle(k);
        for (size_t i = 0; i < KJ_LLAMA_SLOTS; i++)
            empty(k, i);
        return;
    }
    for (size_t i = units - k->begun; i-- > 0;)
        sum_unit(k, i);
    k->b->ops->await(k->b, kj_mat(k->m->g, 0, 1), k->m->n);
}

void kj_ranks_squares(struct kj_ranks *k, struct kj_mat acc)
{
    for (size_t i = 0; i < k->m->n_spans; i++) {
        const struct kj_span *s = &k->m->spans[i];
        k->b->ops->add_sum(k->b, acc, kj_llama_grad(k->m, s), s->to - s->from, true);
    }
}

int kj_ranks_norm(struct kj_ranks *k, double squares, double *norm, struct kj_err *err)
{
    int rc = k->whole ? KJ_OK : kj_ranks_add(k, &squares, 1, err);
    *norm = sqrt(squares);
    return rc;
}

int kj_ranks_spoiled(struct kj_ranks *k, bool gradients, const struct kj_param **first,
                     size_t *count, struct kj_err *err)
{
    const struct kj_llama *m = k->m;
    double *squares = kj_xcalloc(m->n_params, sizeof *squares);
    struct kj_span s;
    for (size_t i = 0; i < m->n_params; i++) {
        const struct kj_param *p = &m->params[i];
        for (size_t j = 0; j < m->n_spans; j++)
            if (kj_llama_span(m, j, p->at, p->at + p->rows * p->cols, &s))
                squares[i] += k->b->ops->sumsq(
                    k->b, gradients ? kj_llama_grad(m, &s) : kj_llama_master(m, &s),
                    s.to - s.from);
    }
    int rc = kj_ranks_add(k, squares, m->n_params, err);
    *first = NULL;
    *count = 0;
    for (size_t i = m->n_params; i-- > 0 && rc == KJ_OK;)
        if (!isfinite(squares[i])) {
            *first = &m->params[i];
            ++*count;
        }
    free(squares);
    return rc;
}

/* ---- weights ---- */

void kj_ranks_share(struct kj_ranks *k)
{
    const struct kj_ops *o = k->b->ops;
    struct kj_llama *m = k->m;
    m->stale = m->low && !kj_llama_masters_cut(m);
    if (!k->comm || k->whole)
        return;
    for (size_t i = 0; m->low && i < m->n_spans; i++) {
        const struct kj_span *s = &m->spans[i];
        o->axpby(k->b, kj_mat(m->low, s->from, 1), kj_llama_master(m, s),
                 s->to - s->from, 1, 0);
    }
    for (size_t i = 0; i < kj_llama_units(m); i++) /* as forward passes take them */
        o->all_gather(k->b, kj_mat(kj_llama_working(m), kj_llama_unit(m, i), 1),
                      elements(k, i));
}

int kj_ranks_settle(struct kj_ranks *k, struct kj_err *err)
{
    if (!k->comm)
        return KJ_OK;
    k->b->ops->await(k->b, kj_mat(kj_llama_working(k->m), 0, 1), k->m->n);
    return k->b->ops->sync(k->b, err);
}

/* ---- numbers of the host ---- */

int kj_ranks_add(struct kj_ranks *k, double *x, size_t n, struct kj_err *err)
{
    return k->comm ? kj_comm_sum(k->comm, x, n, err) : KJ_OK;
}

int kj_ranks_tell(struct kj_ranks *k, void *p, size_t n, struct kj_err *err)
{
    return k->comm ? kj_comm_broadcast(k->comm, p, n, 0, err) : KJ_OK;
}
