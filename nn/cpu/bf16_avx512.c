/* bf16_avx512.c - bfloat16 products by AVX-512 BF16.
 *
 * product(): 12 rows by 2 vectors of sums stay in registers, every pair of k costs 2
 * loads of B and 12 broadcasts of A for 24 VDPBF16PS. pack_along() turns blocks of
 * 16 x 16 words by four rounds of shuffles.
 */
#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512bf16"))),   \
                             apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512bf16")
#endif
#include <immintrin.h>
#include <string.h>

#include "nn/cpu/bf16.h"

enum { MR = KJ_BF16_MR, NR = KJ_BF16_NR };

static inline __m512i words(__m512 even, __m512 odd)
{
    return (__m512i)_mm512_cvtne2ps_pbh(odd, even);
}

/* Row i's word j becomes row j's word i. */
static inline void turn(__m512i r[16])
{
    __m512i t[16];
#pragma GCC unroll 8
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 16; i += 4) {
        r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        t[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
        t[i + 4] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xDD);
        t[i + 8] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
        t[i + 12] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xDD);
    }
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {
        r[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
        r[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xDD);
    }
}

/* Vectors i .. i + n of a panel (n <= 16), their elements e .. e + k (k <= 32). */
static inline void along(uint32_t *to, size_t width, const float *x, size_t step,
                         size_t n, size_t k, size_t room)
{
    __m512i r[16];
    __mmask16 lo = (__mmask16)(k >= 16 ? 0xFFFF : (1u << k) - 1);
    __mmask16 hi = (__mmask16)(k >= 32 ? 0xFFFF : k > 16 ? (1u << (k - 16)) - 1 : 0);
    __mmask16 out = (__mmask16)(room >= 16 ? 0xFFFF : (1u << room) - 1);
    for (size_t i = 0; i < 16; i++)
        r[i] = i >= n ? _mm512_setzero_si512()
                      : (__m512i)_mm512_cvtne2ps_pbh(
                            _mm512_maskz_loadu_ps(hi, x + i * step + 16),
                            _mm512_maskz_loadu_ps(lo, x + i * step));
    turn(r);
    for (size_t j = 0; j < (k + 1) / 2; j++)
        _mm512_mask_storeu_epi32(to + j * width, out, r[j]);
}

static void pack_along(uint32_t *to, size_t width, const float *x, size_t step,
                       size_t n, size_t k)
{
    for (size_t e = 0; e < k; e += 32)
        for (size_t i = 0; i < width; i += 16)
            along(to + e / 2 * width + i, width, x + i * step + e, step,
                  i < n ? n - i : 0, k - e < 32 ? k - e : 32, width - i);
}

static void pack_across(uint32_t *to, size_t width, const float *x, size_t step,
                        size_t n, size_t k)
{
    for (size_t i = 0; i < width; i += 16) {
        size_t have = i < n ? n - i : 0, room = width - i;
        __mmask16 in = (__mmask16)(have >= 16 ? 0xFFFF : (1u << have) - 1);
        __mmask16 out = (__mmask16)(room >= 16 ? 0xFFFF : (1u << room) - 1);
        const __m512i mix =
            _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24,
                             8, 23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
        for (size_t e = 0; e < k; e += 2) {
            __m512 a = _mm512_maskz_loadu_ps(in, x + e * step + i);
            __m512 b = _mm512_setzero_ps();
            if (e + 1 < k)
                b = _mm512_maskz_loadu_ps(in, x + (e + 1) * step + i);
            _mm512_mask_storeu_epi32(to + e / 2 * width + i, out,
                                     _mm512_permutexvar_epi16(mix, words(a, b)));
        }
    }
}

static inline void store(float *c, __m512 lo, __m512 hi, __mmask16 ml, __mmask16 mh,
                         int add)
{
    if (add) {
        lo = _mm512_add_ps(_mm512_maskz_loadu_ps(ml, c), lo);
        hi = _mm512_add_ps(_mm512_maskz_loadu_ps(mh, c + 16), hi);
    }
    _mm512_mask_storeu_ps(c, ml, lo);
    _mm512_mask_storeu_ps(c + 16, mh, hi);
}

/* R rows, a constant where it is inlined. */
static inline __attribute__((always_inline)) void
rows_of(size_t R, float *c, size_t ldc, const uint32_t *a, const uint32_t *b,
        size_t pairs, size_t rows, size_t cols, int add)
{
    __m512 lo[MR], hi[MR];
    __mmask16 ml = (__mmask16)(cols >= 16 ? 0xFFFF : (1u << cols) - 1);
    __mmask16 mh = (__mmask16)(cols >= 32  ? 0xFFFF
                               : cols > 16 ? (1u << (cols - 16)) - 1
                                           : 0);
#pragma GCC unroll 12
    for (size_t r = 0; r < R; r++) {
        lo[r] = hi[r] = _mm512_setzero_ps();
        if (r < rows) { /* C comes while sums are made: 361 GFLOP/s, 320 without */
            _mm_prefetch((const char *)(c + r * ldc), _MM_HINT_T0);
            _mm_prefetch((const char *)(c + r * ldc + 16), _MM_HINT_T0);
        }
    }
    for (size_t j = 0; j < pairs; j++, a += MR, b += NR) {
        __m512bh b0 = (__m512bh)_mm512_loadu_si512(b);
        __m512bh b1 = (__m512bh)_mm512_loadu_si512(b + 16);
#pragma GCC unroll 12
        for (size_t r = 0; r < R; r++) {
            __m512bh x = (__m512bh)_mm512_set1_epi32((int)a[r]);
            lo[r] = _mm512_dpbf16_ps(lo[r], x, b0);
            hi[r] = _mm512_dpbf16_ps(hi[r], x, b1);
        }
    }
#pragma GCC unroll 12
    for (size_t r = 0; r < R; r++)
        if (r < rows)
            store(c + r * ldc, lo[r], hi[r], ml, mh, add);
}

static void product(float *c, size_t ldc, const uint32_t *a, const uint32_t *b,
                    size_t pairs, size_t rows, size_t cols, int add)
{
    if (rows > 8)
        rows_of(12, c, ldc, a, b, pairs, rows, cols, add);
    else if (rows > 4)
        rows_of(8, c, ldc, a, b, pairs, rows, cols, add);
    else
        rows_of(4, c, ldc, a, b, pairs, rows, cols, add);
}

const struct kj_bf16_isa kj_bf16_avx512 = {"by avx512_bf16", pack_along, pack_across,
                                           product};
#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
typedef int kj_bf16_no_avx512; /* ISO C wants one declaration */
#endif
