/* open.h - the two symbols of the shared object kijil-cuda.so.
 *
 * The program finds it by dlopen (nn/backend.c), so that one binary runs with and
 * without a GPU, and without CUDA installed. */
#ifndef KJ_NN_CUDA_OPEN_H
#define KJ_NN_CUDA_OPEN_H

#include "nn/backend.h"

#ifdef __cplusplus
extern "C" {
#endif

#define KJ_CUDA_EXPORT __attribute__((visibility("default")))

/* The KJ_BACKEND_ABI that it was built with. */
KJ_CUDA_EXPORT unsigned kj_cuda_abi(void);
/* KJ_USAGE with the reason when there is no driver, no GPU, or none that serves.
 * Of several GPUs the one that LOCAL_RANK, SLURM_LOCALID or Open MPI number. With
 * KIJIL_CUDA_WAIT set, every operation is waited for, so that a fault on the GPU
 * names the operation that had it (faults.cu). */
KJ_CUDA_EXPORT int kj_cuda_open(struct kj_backend **out, unsigned threads,
                                struct kj_err *err);

#ifdef __cplusplus
}
#endif

#endif
