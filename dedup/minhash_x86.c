/* minhash_x86.c - the permutations in vector registers.
 *
 * A group of positions keeps a, b and the running minimum in registers while
 * one hash after the other is broadcast. v mod (2^61 - 1) for a 64-bit v is
 * (v & p) + (v >> 61), at most p + 7, less p where it reaches p.
 *
 * AVX-512: the 64-bit product is one instruction (DQ), and so is the unsigned
 * minimum, which also does the last subtraction: min(x, x - p), since x - p
 * wraps to something huge below p.
 * AVX2: the product is made of three 32x32 ones; reduced values are below
 * 2^62, so that signed comparison serves.
 */
#include "dedup/minhash_internal.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define V512(p) _mm512_load_si512((const void *)(p))

/* One hash into one register's minimum. */
#define STEP512(m, a, b)                                                               \
    do {                                                                               \
        __m512i v_ = _mm512_add_epi64(_mm512_mullo_epi64(a, x), b);                    \
        v_ = _mm512_add_epi64(_mm512_and_si512(v_, p), _mm512_srli_epi64(v_, 61));     \
        v_ = _mm512_min_epu64(v_, _mm512_sub_epi64(v_, p));                            \
        m = _mm512_min_epu64(m, v_);                                                   \
    } while (0)

__attribute__((target("avx512f,avx512dq"))) void
kj_minhash_fold_avx512(const uint64_t *a, const uint64_t *b, uint64_t *min, size_t n,
                       const uint64_t *h, size_t nh)
{
    const __m512i p = _mm512_set1_epi64((long long)KJ_MINHASH_PRIME);
    size_t i = 0;
    for (; i + 32 <= n; i += 32) {
        __m512i a0 = V512(a + i), a1 = V512(a + i + 8), a2 = V512(a + i + 16),
                a3 = V512(a + i + 24);
        __m512i b0 = V512(b + i), b1 = V512(b + i + 8), b2 = V512(b + i + 16),
                b3 = V512(b + i + 24);
        __m512i m0 = V512(min + i), m1 = V512(min + i + 8), m2 = V512(min + i + 16),
                m3 = V512(min + i + 24);
        for (size_t k = 0; k < nh; k++) {
            __m512i x = _mm512_set1_epi64((long long)h[k]);
            STEP512(m0, a0, b0);
            STEP512(m1, a1, b1);
            STEP512(m2, a2, b2);
            STEP512(m3, a3, b3);
        }
        _mm512_store_si512((void *)(min + i), m0);
        _mm512_store_si512((void *)(min + i + 8), m1);
        _mm512_store_si512((void *)(min + i + 16), m2);
        _mm512_store_si512((void *)(min + i + 24), m3);
    }
    for (; i < n; i += 16) {
        __m512i a0 = V512(a + i), a1 = V512(a + i + 8);
        __m512i b0 = V512(b + i), b1 = V512(b + i + 8);
        __m512i m0 = V512(min + i), m1 = V512(min + i + 8);
        for (size_t k = 0; k < nh; k++) {
            __m512i x = _mm512_set1_epi64((long long)h[k]);
            STEP512(m0, a0, b0);
            STEP512(m1, a1, b1);
        }
        _mm512_store_si512((void *)(min + i), m0);
        _mm512_store_si512((void *)(min + i + 8), m1);
    }
}

#define V256(p) _mm256_load_si256((const __m256i *)(const void *)(p))

#define STEP256(m, a, b)                                                               \
    do {                                                                               \
        __m256i hi_ = _mm256_add_epi64(_mm256_mul_epu32(_mm256_srli_epi64(a, 32), x),  \
                                       _mm256_mul_epu32(a, xh));                       \
        __m256i v_ = _mm256_add_epi64(_mm256_mul_epu32(a, x), b);                      \
        v_ = _mm256_add_epi64(v_, _mm256_slli_epi64(hi_, 32));                         \
        v_ = _mm256_add_epi64(_mm256_and_si256(v_, p), _mm256_srli_epi64(v_, 61));     \
        v_ = _mm256_sub_epi64(v_, _mm256_and_si256(_mm256_cmpgt_epi64(v_, p1), p));    \
        m = _mm256_blendv_epi8(m, v_, _mm256_cmpgt_epi64(m, v_));                      \
    } while (0)

__attribute__((target("avx2"))) void kj_minhash_fold_avx2(const uint64_t *a,
                                                          const uint64_t *b,
                                                          uint64_t *min, size_t n,
                                                          const uint64_t *h, size_t nh)
{
    const __m256i p = _mm256_set1_epi64x((long long)KJ_MINHASH_PRIME);
    const __m256i p1 = _mm256_set1_epi64x((long long)KJ_MINHASH_PRIME - 1);
    const __m256i top = _mm256_set1_epi64x(INT64_MAX);
    for (size_t i = 0; i < n; i += 8) {
        __m256i a0 = V256(a + i), a1 = V256(a + i + 4);
        __m256i b0 = V256(b + i), b1 = V256(b + i + 4);
        /* an empty minimum is all ones, negative to a signed comparison */
        __m256i m0 = V256(min + i), m1 = V256(min + i + 4);
        m0 = _mm256_and_si256(m0, top);
        m1 = _mm256_and_si256(m1, top);
        for (size_t k = 0; k < nh; k++) {
            __m256i x = _mm256_set1_epi64x((long long)h[k]);
            __m256i xh = _mm256_srli_epi64(x, 32);
            STEP256(m0, a0, b0);
            STEP256(m1, a1, b1);
        }
        _mm256_store_si256((__m256i *)(void *)(min + i), m0);
        _mm256_store_si256((__m256i *)(void *)(min + i + 4), m1);
    }
}
#endif
