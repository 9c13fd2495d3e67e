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

/* 1 / x for x from 1 on. A GPU has an instruction within 2 units in the last place (0
 * from 2^126 on); the exact quotient takes ten, and a branch that keeps stores from
 * being joined. */
KJ_ARITH float kj_reciprocal(float x)
{
#if defined(__CUDA_ARCH__)
    return __fdividef(1.0f, x);
#else
    return 1.0f / x;
#endif
}
KJ_ARITH float kj_sigmoid(float x)
{
    return kj_reciprocal(1.0f + kj_exp(-x));
}

/* x Phi(x) = x - x/2 erfc(x / sqrt 2) for x > 0, x/2 erfc(-x / sqrt 2) below;
 * erfc by Abramowitz and Stegun 7.1.26 (error 1.5e-7 of erf's values). */
KJ_ARITH float kj_gelu(float x)
{
    float z = x < 0.0f ? -x : x;
    float t = kj_reciprocal(1.0f + 0.231641888f * z); /* 0.3275911 / sqrt 2 */
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
    float far = 1.0f - 2.0f * kj_reciprocal(kj_exp(2.0f * x) + 1.0f);
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

/* FP8 (OCP 8-bit Floating Point Specification, 2023). E4M3: four bits of exponent,
 * three of fraction, up to 448, no infinities; E5M2: five and two, up to 57344. Rounding
 * is to the nearest, ties to even; what is larger, infinities too, becomes the largest
 * number. NaN becomes the code 7F. */
struct kj_e4m3 {
    uint8_t u;
};
struct kj_e5m2 {
    uint8_t u;
};
/* m: bits of fraction, low: the least normal number, 2^-low. */
KJ_ARITH uint8_t kj_to_f8(float x, uint32_t m, uint32_t low, float top)
{
    union {
        float f;
        uint32_t u;
    } v, a, small, magic;
    v.f = x;
    a.u = v.u & 0x7fffffffu;
    a.f = a.f > top ? top : a.f;
    /* Below 2^-low codes count steps of 2^-(low + m): where 2^(23 - low - m) is added,
     * a float32 counts them too. */
    magic.u = (127u + 23u - low - m) << 23;
    small.f = a.f + magic.f;
    uint32_t up = a.u + (1u << (22u - m)) - 1u + (a.u >> (23u - m) & 1u);
    uint32_t normal = (up >> (23u - m)) - ((126u - low) << m);
    uint32_t code = a.u < (127u - low) << 23 ? small.u - magic.u : normal;
    return (uint8_t)(x != x ? 0x7fu : (v.u >> 24 & 0x80u) | code);
}
KJ_ARITH struct kj_e4m3 kj_to_e4m3(float x)
{
    struct kj_e4m3 y;
    y.u = kj_to_f8(x, 3, 6, 448.0f);
    return y;
}
KJ_ARITH struct kj_e5m2 kj_to_e5m2(float x)
{
    struct kj_e5m2 y;
    y.u = kj_to_f8(x, 2, 14, 57344.0f);
    return y;
}
/* With `nan` the code from which on numbers end, less the sign. */
KJ_ARITH float kj_from_f8(uint32_t u, uint32_t m, uint32_t low, uint32_t nan)
{
    union {
        uint32_t u;
        float f;
    } v, step;
    uint32_t c = u & 0x7fu;
    step.u = (127u - low - m) << 23;
    v.u = (c << (23u - m)) + ((126u - low) << 23);
    float x = c >> m ? v.f : (float)c * step.f;
    v.u = 0x7fc00000u;
    x = c >= nan ? v.f : x;
    return u & 0x80u ? -x : x;
}
KJ_ARITH float kj_from_e4m3(struct kj_e4m3 x)
{
    return kj_from_f8(x.u, 3, 6, 0x7fu);
}
KJ_ARITH float kj_from_e5m2(struct kj_e5m2 x)
{
    /* 7C is infinite; nothing here makes it. */
    union {
        uint32_t u;
        float f;
    } v;
    v.u = (uint32_t)(x.u & 0x80u) << 24 | 0x7f800000u;
    return (x.u & 0x7fu) == 0x7cu ? v.f : kj_from_f8(x.u, 2, 14, 0x7cu);
}
/* The least power of two that brings a tensor into FP8's range, from the bits of its
 * largest magnitude and the type's exponent of 1.75 2^e (8, 15), its largest number. A
 * power of two, so that scaling changes no digits: codes depend on the numbers alone but
 * for what becomes 0. 1 when all are 0, NaN when one is not finite. */
KJ_ARITH float kj_f8_scale(uint32_t most, uint32_t e)
{
    union {
        uint32_t u;
        float f;
    } v;
    uint32_t up = (most >> 23) + ((most & 0x7fffffu) > 0x600000u);
    v.u = (up > e ? up - e : 1u) << 23;
    v.u = most == 0 ? 0x3f800000u : v.u;
    v.u = most >= 0x7f800000u ? 0x7fc00000u : v.u;
    return v.f;
}
/* 1 / s for such an s. */
KJ_ARITH float kj_f8_inverse(float s)
{
    union {
        float f;
        uint32_t u;
    } v;
    v.f = s;
    v.u = s != s ? v.u : (254u << 23) - v.u;
    return v.f;
}

/* 16 of them for element i. */
KJ_ARITH uint32_t kj_chance16(uint64_t key, uint64_t i)
{
    return (uint32_t)(kj_random64(key, i / 4u) >> (i % 4u * 16u)) & 0xffffu;
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
