/* gemm.cuh - a matrix product, and the two that compute it: the library and a kernel.
 *
 * Internal to gemm.cu (the operations), gemm_plan.cu (cuBLASLt) and gemm_own.cu.
 */
#ifndef KJ_NN_CUDA_GEMM_CUH
#define KJ_NN_CUDA_GEMM_CUH

#include "nn/cuda/cuda.cuh"

/* What a product is, operands aside. Compared as bytes: set to zero before it is
 * filled. */
struct kj_gemm_key {
    uint64_t m, n, k, lda, ldb, ldc;
    uint32_t flags, type, type_b, type_c;
    uint32_t align[4]; /* bytes, a power of two, of A, B, C and the bias */
    uint32_t epilogue; /* a cublasLtEpilogue_t, or 0 */
};

struct kj_gemm_operands {
    const void *a, *b, *old;
    void *to;
    const float *sa, *sb; /* of FP8 */
    const void *bias;     /* with an epilogue */
};

/* By cuBLASLt. False: it has no algorithm for that, and nothing was done. */
bool kj_gemm_library(struct kj_cuda *c, const struct kj_gemm_key *k,
                     const struct kj_gemm_operands *o);
/* By a plain kernel, which takes all but epilogues. */
void kj_gemm_own(struct kj_cuda *c, const struct kj_gemm_key *k,
                 const struct kj_gemm_operands *o);

#endif
