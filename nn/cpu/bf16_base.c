/* bf16_base.c - bfloat16 products on any processor: slow, for the same numbers.
 *
 * A product of two bfloat16 is exact in double; the sum with a float32 is either
 * exact there too, or one side is so small that its rounding cannot make a half of
 * a float32's last place. So rounding it to float32 gives what a fused operation
 * would.
 */
#include <string.h>

#include "nn/cpu/bf16.h"

enum { MR = KJ_BF16_MR, NR = KJ_BF16_NR };

static uint32_t bits_of(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static float float_of(uint32_t u)
{
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

/* Subnormal: zero of the same sign. */
static uint32_t flushed(uint32_t u)
{
    return u & 0x7F800000u ? u : u & 0x80000000u;
}

/* To nearest even; NaN stays NaN. */
static uint32_t rounded(float x)
{
    uint32_t u = flushed(bits_of(x));
    if ((u & 0x7FFFFFFFu) > 0x7F800000u)
        return u >> 16 | 0x40u;
    return (u + 0x7FFFu + (u >> 16 & 1)) >> 16;
}

static void pack(uint32_t *to, size_t width, const float *x, size_t next, size_t step,
                 size_t n, size_t k)
{
    for (size_t j = 0; j < (k + 1) / 2; j++)
        for (size_t i = 0; i < width; i++) {
            const float *p = x + i * next + 2 * j * step;
            uint32_t w = 0;
            if (i < n)
                w = rounded(p[0]) | (2 * j + 1 < k ? rounded(p[step]) << 16 : 0);
            to[j * width + i] = w;
        }
}

static void pack_along(uint32_t *to, size_t width, const float *x, size_t step,
                       size_t n, size_t k)
{
    pack(to, width, x, step, 1, n, k);
}

static void pack_across(uint32_t *to, size_t width, const float *x, size_t step,
                        size_t n, size_t k)
{
    pack(to, width, x, 1, step, n, k);
}

static float fused(float a, float b, float c)
{
    return float_of(flushed(bits_of((float)((double)a * (double)b + (double)c))));
}

static void product(float *c, size_t ldc, const uint32_t *a, const uint32_t *b,
                    size_t pairs, size_t rows, size_t cols, int add)
{
    for (size_t r = 0; r < rows; r++) {
        float sum[NR] = {0};
        for (size_t j = 0; j < pairs; j++) {
            uint32_t w = a[j * MR + r];
            float odd = float_of(w & 0xFFFF0000u), even = float_of(w << 16);
            for (size_t i = 0; i < NR; i++) {
                uint32_t v = b[j * NR + i];
                sum[i] = fused(odd, float_of(v & 0xFFFF0000u), sum[i]);
                sum[i] = fused(even, float_of(v << 16), sum[i]);
            }
        }
        for (size_t i = 0; i < cols; i++)
            c[r * ldc + i] = add ? c[r * ldc + i] + sum[i] : sum[i];
    }
}

const struct kj_bf16_isa kj_bf16_base = {"emulated", pack_along, pack_across, product};

const struct kj_bf16_isa *kj_bf16_best(void)
{
#if defined(__x86_64__)
    /* What the instructions need, and F and BW for the packing. */
    if (__builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512bw"))
        return &kj_bf16_avx512;
#endif
    return &kj_bf16_base;
}
