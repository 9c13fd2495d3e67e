/* ranks.c - see ranks.h. */
#include "trainer/ranks.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "nn/comm.h"

void kj_ranks_init(struct kj_ranks *k, struct kj_backend *b, struct kj_comm *c,
                   size_t n, bool whole)
{
    *k = (struct kj_ranks){
        .comm = c, .b = b, .size = 1, .whole = whole, .n = n, .to = n};
    if (c) {
        k->rank = kj_comm_rank(c);
        k->size = kj_comm_size(c);
    }
    if (c && !whole)
        kj_comm_part(c, k->rank, n, &k->from, &k->to);
}

void kj_ranks_sum(struct kj_ranks *k, struct kj_tensor *g)
{
    if (!k->comm)
        return;
    k->b->ops->reduce_scatter(k->b, kj_mat(g, 0, 1), k->n);
    if (k->whole)
        k->b->ops->all_gather(k->b, kj_mat(g, 0, 1), k->n);
    k->b->ops->await(k->b, kj_mat(g, 0, 1), k->n);
}

void kj_ranks_share(struct kj_ranks *k, struct kj_tensor *w)
{
    if (!k->comm || k->whole)
        return;
    k->b->ops->all_gather(k->b, kj_mat(w, 0, 1), k->n);
    k->b->ops->await(k->b, kj_mat(w, 0, 1), k->n);
}

int kj_ranks_norm(struct kj_ranks *k, struct kj_tensor *g, double *norm,
                  struct kj_err *err)
{
    double squares = k->b->ops->sumsq(k->b, kj_mat(g, k->from, 1), k->to - k->from);
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
    size_t from = k->from > at ? k->from : at;
    size_t end = k->to < at + n ? k->to : at + n;
    if (from < end)
        k->b->ops->read(k->b, t, from - k->from, out, end - from);
    return k->b->ops->sync(k->b, err);
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
        rc = kj_comm_collect(k->comm, mine, k->n, at, n, out, err);
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
            rc = kj_comm_collect(k->comm, mine, k->n, q.at, q.n, NULL, err);
        if (rc)
            break;
    }
    free(mine);
    return rc;
}
