/* gemm_own.cu - matrix products by a plain kernel.
 *
 * For what cuBLASLt refuses, such as odd strides of bfloat16: 16x16 outputs a block, a
 * thread each, sums in order of k. Not fast.
 */
#include "nn/cuda/dev.cuh"
#include "nn/cuda/gemm.cuh"

#define EDGE 16

/* sa, sb: scales, or NULL. */
template <class TA, class TB, class TC>
__global__ void k_matmul(TC *c, size_t ldc, const TA *a, size_t lda, const TB *b,
                         size_t ldb, size_t m, size_t n, size_t k, unsigned across,
                         unsigned flags, const float *sa, const float *sb)
{
    KJ_SHARED(float, sm);
    float *x = sm, *y = sm + EDGE * EDGE, sum = 0;
    unsigned i = threadIdx.x / EDGE, j = threadIdx.x % EDGE;
    size_t row = (size_t)(blockIdx.x / across) * EDGE + i;
    size_t col = (size_t)(blockIdx.x % across) * EDGE + j;
    for (size_t k0 = 0; k0 < k; k0 += EDGE) {
        /* x[i][j]: row i, k j; y[i][j]: k i, column j */
        x[threadIdx.x] = row < m && k0 + j < k
                             ? kj_get(flags & KJ_MM_TA ? a[(k0 + j) * lda + row]
                                                       : a[row * lda + k0 + j])
                             : 0.0f;
        y[threadIdx.x] = k0 + i < k && col < n
                             ? kj_get(flags & KJ_MM_TB ? b[col * ldb + k0 + i]
                                                       : b[(k0 + i) * ldb + col])
                             : 0.0f;
        __syncthreads();
        for (unsigned q = 0; q < EDGE; q++)
            sum += x[i * EDGE + q] * y[q * EDGE + j];
        __syncthreads();
    }
    if (sa)
        sum *= *sa * *sb;
    if (row < m && col < n)
        kj_set(&c[row * ldc + col],
               flags & KJ_MM_ADD ? kj_get(c[row * ldc + col]) + sum : sum);
}

template <class TA, class TB, class TC>
static void own(struct kj_cuda *c, const struct kj_gemm_key *k,
                const struct kj_gemm_operands *o)
{
    size_t across = kj_ceil(k->n, EDGE);
    kj_launch(c, k_matmul<TA, TB, TC>, kj_ceil(k->m, EDGE) * across, EDGE * EDGE,
              2 * EDGE * EDGE * sizeof(float), (TC *)o->to, k->ldc, (const TA *)o->a,
              k->lda, (const TB *)o->b, k->ldb, k->m, k->n, k->k, (unsigned)across,
              k->flags, o->sa, o->sb);
}

template <class TC>
static void own_by_type(struct kj_cuda *c, const struct kj_gemm_key *k,
                        const struct kj_gemm_operands *o)
{
    using e4 = struct kj_e4m3;
    using e5 = struct kj_e5m2;
    if (k->type == KJ_F32)
        own<float, float, float>(c, k, o);
    else if (k->type == KJ_BF16)
        own<struct kj_bf16, struct kj_bf16, TC>(c, k, o);
    else if (k->type == KJ_E5M2)
        own<e5, e4, TC>(c, k, o);
    else if (k->type_b == KJ_E5M2)
        own<e4, e5, TC>(c, k, o);
    else
        own<e4, e4, TC>(c, k, o);
}

void kj_gemm_own(struct kj_cuda *c, const struct kj_gemm_key *k,
                 const struct kj_gemm_operands *o)
{
    if (k->type_c == KJ_F32)
        own_by_type<float>(c, k, o);
    else
        own_by_type<struct kj_bf16>(c, k, o);
}
