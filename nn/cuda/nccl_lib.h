/* nccl_lib.h - what is used of NVIDIA's NCCL, which is opened only where there is
 * more than one rank: a machine without it can work alone. */
#ifndef KJ_NN_CUDA_NCCL_LIB_H
#define KJ_NN_CUDA_NCCL_LIB_H

#include <nccl.h>

#ifdef __cplusplus
extern "C" {
#endif

struct kj_err;

/* As NCCL's manual has them. */
struct kj_nccl {
    ncclResult_t (*get_version)(int *version);
    ncclResult_t (*get_unique_id)(ncclUniqueId *id);
    ncclResult_t (*init_rank)(ncclComm_t *comm, int ranks, ncclUniqueId id, int rank,
                              ncclConfig_t *config);
    ncclResult_t (*finalize)(ncclComm_t comm);
    ncclResult_t (*destroy)(ncclComm_t comm);
    ncclResult_t (*abort)(ncclComm_t comm);
    ncclResult_t (*async_error)(ncclComm_t comm, ncclResult_t *state);
    ncclResult_t (*group_start)(void);
    ncclResult_t (*group_end)(void);
    ncclResult_t (*send)(const void *p, size_t n, ncclDataType_t type, int peer,
                         ncclComm_t comm, cudaStream_t stream);
    ncclResult_t (*recv)(void *p, size_t n, ncclDataType_t type, int peer,
                         ncclComm_t comm, cudaStream_t stream);
    const char *(*error_string)(ncclResult_t rc);
    const char *(*last_error)(ncclComm_t comm);
};

/* libnccl.so.2 where the loader looks, and beside the CUDA libraries this was linked
 * with. KJ_USAGE with the reason when there is none, or one that lacks a function. */
int kj_nccl_open(struct kj_nccl *lib, struct kj_err *err);

#ifdef __cplusplus
}
#endif

#endif
