/* ranks.cu - exchanges between the ranks of a run, by way of the host.
 *
 * The tensor is copied to host memory, exchanged by nn/comm.h, whose sums have a fixed
 * order, and what changed is copied back.
 */
#include "nn/cuda/cuda.cuh"

#include <cstdlib>

extern "C" {
#include "nn/comm.h"
}

/* x on the host in float32, or NULL and a fault. */
static float *fetch(struct kj_cuda *c, const char *op, struct kj_mat x, size_t n)
{
    if (n == 0 || !kj_cuda_op(c, op, n) || !kj_cuda_inside(c, x, kj_cuda_type(x), 1, n))
        return NULL;
    float *host = (float *)malloc(n * sizeof *host);
    if (!host)
        kj_cuda_fault(c, "no memory");
    else
        c->base.ops->read(&c->base, x.t, x.at, host, n);
    return host;
}

void kj_cuda_reduce_scatter(struct kj_backend *b, struct kj_mat x, size_t n)
{
    float *host = fetch(kj_cuda_of(b), "reduce_scatter", x, n);
    size_t from, to;
    if (host && !b->fault.rc &&
        kj_comm_reduce_scatter(b->comm, host, n, &b->fault) == KJ_OK) {
        kj_comm_part(b->comm, kj_comm_rank(b->comm), n, &from, &to);
        b->ops->write(b, x.t, x.at + from, host + from, to - from);
    }
    free(host);
}

void kj_cuda_all_gather(struct kj_backend *b, struct kj_mat x, size_t n)
{
    float *host = fetch(kj_cuda_of(b), "all_gather", x, n);
    if (host && !b->fault.rc &&
        kj_comm_all_gather(b->comm, host, n, &b->fault) == KJ_OK)
        b->ops->write(b, x.t, x.at, host, n);
    free(host);
}
