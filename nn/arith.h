/* arith.h - the arithmetic of one element, shared by all back ends.
 *
 * Plain float32 expressions without branches, so that C compilers turn loops
 * over them into vector code and CUDA kernels can call them. Nothing here
 * allocates, loops or sums; the order of sums is the back end's affair.
 */
#ifndef KJ_NN_ARITH_H
#define KJ_NN_ARITH_H

#include <stdint.h>

#ifdef __CUDACC__
#define KJ_ARITH __host__ __device__ static inline
#else
#define KJ_ARITH static inline
#endif

/* e^x within 2 units in the last place for |x| < 87; below it is at least
 * 1e-38 and above at most 2e38, never infinite. NaN stays NaN. x = k ln 2 + r
 * with |r| <= ln2/2, and e^r by its Taylor polynomial. k is found by adding
 * 1.5 * 2^23, which leaves it in the low bits of the sum. */
KJ_ARITH float kj_exp(float x)
{
    union {
        float f;
        uint32_t u;
    } k, s;
    x = x < -87.0f ? -87.0f : x;
    x = x > 88.0f ? 88.0f : x;
    k.f = x * 1.44269504f + 12582912.0f;
    float n = k.f - 12582912.0f;
    float r = x - n * 0.693145752f;
    r = r - n * 1.42860677e-6f;
    float p = 1.98412698e-4f;
    p = p * r + 1.38888889e-3f;
    p = p * r + 8.33333333e-3f;
    p = p * r + 4.16666667e-2f;
    p = p * r + 1.66666667e-1f;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    s.u = (k.u - 0x4B400000u + 127u) << 23;
    return p * s.f;
}

KJ_ARITH float kj_sigmoid(float x)
{
    return 1.0f / (1.0f + kj_exp(-x));
}

/* x Phi(x) = x - x/2 erfc(x / sqrt 2) for x > 0, x/2 erfc(-x / sqrt 2) below;
 * erfc by Abramowitz and Stegun 7.1.26 (error 1.5e-7 of erf's values). */
KJ_ARITH float kj_gelu(float x)
{
    float z = x < 0.0f ? -x : x;
    float t = 1.0f / (1.0f + 0.231641888f * z); /* 0.3275911 / sqrt 2 */
    float p = 1.061405429f;
    p = p * t - 1.453152027f;
    p = p * t + 1.421413741f;
    p = p * t - 0.284496736f;
    p = p * t + 0.254829592f;
    float half = 0.5f * z * (p * t * kj_exp(-0.5f * z * z));
    return (x > 0.0f ? x : 0.0f) - half;
}
/* tanh x = 1 - 2 / (e^2x + 1); near 0 by its series, where that cancels. */
KJ_ARITH float kj_tanh(float x)
{
    float s = x * x;
    float far = 1.0f - 2.0f / (kj_exp(2.0f * x) + 1.0f);
    float near =
        x * (1.0f + s * (-0.333333333f + s * (0.133333333f - s * 0.0539682540f)));
    return s < 0.015625f ? near : far;
}
KJ_ARITH float kj_gelu_tanh(float x)
{
    float u = 0.797884561f * (x + 0.044715f * x * x * x);
    return x * kj_sigmoid(2.0f * u);
}

/* silu(g) * u and its derivatives times dh */
KJ_ARITH float kj_swiglu(float g, float u)
{
    return g * kj_sigmoid(g) * u;
}
KJ_ARITH float kj_swiglu_dg(float g, float u, float dh)
{
    float s = kj_sigmoid(g);
    return dh * u * s * (1.0f + g * (1.0f - s));
}
KJ_ARITH float kj_swiglu_du(float g, float dh)
{
    return dh * g * kj_sigmoid(g);
}

/* RMSNorm: gradient by the input, given r = (mean x^2 + eps)^-1/2 and
 * c = r^3 / H * sum(w dy x) */
KJ_ARITH float kj_norm_dx(float dy, float w, float x, float r, float c)
{
    return r * (w * dy) - x * c;
}

/* Rotary: first and second of a pair */
KJ_ARITH float kj_rope_a(float a, float b, float c, float s)
{
    return a * c - b * s;
}
KJ_ARITH float kj_rope_b(float a, float b, float c, float s)
{
    return b * c + a * s;
}

/* Logits' gradient but for the one-hot part; p is the softmax, c = 1 + 2 zeta
 * lse */
KJ_ARITH float kj_ce_dz(float p, float c, float scale)
{
    return scale * (p * c);
}

/* bfloat16 is the upper half of a float32: rounding is to the nearest, ties to
 * even; NaN stays NaN. */
struct kj_bf16 {
    uint16_t u;
};
KJ_ARITH float kj_from_bf16(struct kj_bf16 x)
{
    union {
        uint32_t u;
        float f;
    } v;
    v.u = (uint32_t)x.u << 16;
    return v.f;
}
KJ_ARITH struct kj_bf16 kj_to_bf16(float x)
{
    union {
        float f;
        uint32_t u;
    } v;
    struct kj_bf16 y;
    v.f = x;
    uint32_t up = v.u + 0x7fffu + ((v.u >> 16) & 1u);
    y.u = (uint16_t)((x != x ? v.u | 0x400000u : up) >> 16);
    return y;
}
/* The same by chance: up with the probability of what is cut off, so that the
 * mean of many roundings is x. r: 16 random bits. */
KJ_ARITH struct kj_bf16 kj_to_bf16_by(float x, uint32_t r)
{
    union {
        float f;
        uint32_t u;
    } v;
    struct kj_bf16 y;
    v.f = x;
    uint32_t up = v.u + (r & 0xffffu);
    int special = (v.u & 0x7f800000u) == 0x7f800000u;
    y.u = (uint16_t)((x != x ? v.u | 0x400000u : special ? v.u : up) >> 16);
    return y;
}
/* 64 random bits from a key and a counter (Steele et al. 2014, splitmix64). */
KJ_ARITH uint64_t kj_random64(uint64_t key, uint64_t i)
{
    uint64_t z = key + (i + 1u) * 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

/* AdamW. sqrt is given as an argument's value by the caller's own function. */
KJ_ARITH float kj_ema(float old, float x, float beta)
{
    return beta * old + (1.0f - beta) * x;
}
KJ_ARITH float kj_adamw_w(float w, float m, float root, float lr, float eps,
                          float decay, float fix1)
{
    return w * (1.0f - decay) - lr * (m * fix1) / (root + eps);
}

/* Products that no compiler fuses with a sum (nvcc would; C files that use them are
 * compiled with -ffp-contract=off): what follows has the same bits everywhere. */
KJ_ARITH float kj_mul(float a, float b)
{
#if defined(__CUDA_ARCH__)
    return __fmul_rn(a, b);
#else
    return a * b;
#endif
}

/* AdamW on bfloat16 states: the moments in float32 behind a step, then the weight in
 * float32 from these; only what is kept is rounded. */
KJ_ARITH float kj_ema_low(struct kj_bf16 old, float x, float beta)
{
    return kj_mul(beta, kj_from_bf16(old)) + kj_mul(1.0f - beta, x);
}
KJ_ARITH float kj_adamw_low(struct kj_bf16 w, float m, float root, float lr, float eps,
                            float decay, float fix1)
{
    float step = kj_mul(lr, kj_mul(m, fix1)) / (root + eps);
    return kj_mul(kj_from_bf16(w), 1.0f - decay) - step;
}

#endif
