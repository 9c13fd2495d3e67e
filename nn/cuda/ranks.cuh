/* ranks.cuh - exchanges by NCCL.
 *
 * Internal to ranks.cu (the operations) and ranks_nccl.cu. Without NCCL's header at
 * build time there are none, and c->ranks is always NULL.
 */
#ifndef KJ_NN_CUDA_RANKS_CUH
#define KJ_NN_CUDA_RANKS_CUH

#include "nn/cuda/cuda.cuh"

/* Ranks agree on the way; c->ranks is NULL afterwards if that is the host. */
int kj_cuda_nccl_join(struct kj_cuda *c, struct kj_comm *comm, struct kj_err *err);
/* Where c->ranks is not NULL. As the operations of nn/backend.h. */
void kj_cuda_nccl_reduce_scatter(struct kj_cuda *c, struct kj_mat x, size_t n);
void kj_cuda_nccl_all_gather(struct kj_cuda *c, struct kj_mat x, size_t n);
void kj_cuda_nccl_await(struct kj_cuda *c, struct kj_mat x, size_t n);

#endif
