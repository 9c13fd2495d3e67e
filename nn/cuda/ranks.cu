/* ranks.cu - operations between the ranks of a run.
 *
 * By NCCL (ranks_nccl.cu). KIJIL_NCCL=host goes by way of host memory and nn/comm.h
 * instead: slow, but it wants neither NCCL nor a GPU for each rank. The bits are the same.
 */
#include "nn/cuda/cuda.cuh"

#include <cstdlib>

extern "C" {
#include "nn/comm.h"
}
#include "nn/cuda/ranks.cuh"

/* x on the host in float32, or NULL and a fault. */
static float *fetch(struct kj_cuda *c, struct kj_mat x, size_t n)
{
    float *host = (float *)malloc(n * sizeof *host);
    if (!host)
        kj_cuda_fault(c, "no memory");
    else
        c->base.ops->read(&c->base, x.t, x.at, host, n);
    return host;
}

static void host_exchange(struct kj_cuda *c, struct kj_mat x, size_t n, bool gather)
{
    struct kj_backend *b = &c->base;
    float *host = fetch(c, x, n);
    size_t from = 0, to = n;
    int rc = !host || b->fault.rc ? KJ_FATAL
             : gather             ? kj_comm_all_gather(b->comm, host, n, &b->fault)
                                  : kj_comm_reduce_scatter(b->comm, host, n, &b->fault);
    if (!gather)
        kj_comm_part(b->comm, kj_comm_rank(b->comm), n, &from, &to);
    if (rc == KJ_OK)
        b->ops->write(b, x.t, x.at + from, host + from, to - from);
    free(host);
}

/* The operation may go on: there are ranks, x fits, nobody is gone. */
static bool begin(struct kj_cuda *c, const char *op, struct kj_mat x, size_t n)
{
    kj_cuda_leave(c);
    return n && c->base.comm && kj_comm_size(c->base.comm) > 1 &&
           kj_cuda_op(c, op, n) && kj_cuda_inside(c, x, kj_cuda_type(x), 1, n) &&
           kj_cuda_ranks_good(c);
}

int kj_cuda_join(struct kj_backend *b, struct kj_comm *comm, struct kj_err *err)
{
    return kj_comm_size(comm) > 1 ? kj_cuda_nccl_join(kj_cuda_of(b), comm, err) : KJ_OK;
}

void kj_cuda_reduce_scatter(struct kj_backend *b, struct kj_mat x, size_t n)
{
    struct kj_cuda *c = kj_cuda_of(b);
    if (!begin(c, "reduce_scatter", x, n))
        return;
    if (c->ranks)
        kj_cuda_nccl_reduce_scatter(c, x, n);
    else
        host_exchange(c, x, n, false);
}

void kj_cuda_all_gather(struct kj_backend *b, struct kj_mat x, size_t n)
{
    struct kj_cuda *c = kj_cuda_of(b);
    if (!begin(c, "all_gather", x, n))
        return;
    if (c->ranks)
        kj_cuda_nccl_all_gather(c, x, n);
    else
        host_exchange(c, x, n, true);
}

void kj_cuda_await(struct kj_backend *b, struct kj_mat x, size_t n)
{
    struct kj_cuda *c = kj_cuda_of(b);
    if (!c->ranks || !n || !kj_cuda_op(c, "await", n))
        return;
    kj_cuda_leave(c);
    kj_cuda_nccl_await(c, x, n);
}
