/* tensor.h - how exactly tensor cores add: less exactly than float32 would.
 *
 * Products are exact. Those of one instruction and what they are added to are aligned
 * to the largest exponent among them, cut off so many bits behind its first, added as
 * integers, and cut off again (towards 0, both times). As measured on GPUs from the
 * outside: Fasi, Higham, Mikaitis and Pranesh 2021; Khattak and Mikaitis 2025,
 * arXiv:2512.07004. An H100 has 25 bits for bfloat16 and keeps float32's 23. For FP8 it
 * has 13 and keeps 13 (NVIDIA calls these sums float32): an error of 1e-4 of a sum in one
 * instruction. Products without KJ_MM_FAST add such sums up in float32, four at a time
 * (as CUTLASS does; cuBLASLt does not say).
 */
#ifndef KJ_TESTS_TENSOR_H
#define KJ_TESTS_TENSOR_H

#include <cstdint>
#include <cstring>

enum { KJ_EMU_BF16_BITS = 25, KJ_EMU_BF16_KEEPS = 23, KJ_EMU_F8_BITS = 13 };

static inline uint32_t kj_emu_exponent(float x)
{
    uint32_t u;
    memcpy(&u, &x, 4);
    return u & 0x7f800000u;
}

/* c and the n numbers of p, 32 at most. */
static inline float kj_emu_add(float c, const float *p, unsigned n, unsigned bits,
                               unsigned keeps)
{
    uint32_t most = kj_emu_exponent(c);
    for (unsigned i = 0; i < n; i++) {
        uint32_t e = kj_emu_exponent(p[i]);
        most = e > most ? e : most;
    }
    if (most == 0x7f800000u || most < 0x20000000u) { /* not finite; next to nothing */
        for (unsigned i = 0; i < n; i++)
            c += p[i];
        return c;
    }
    uint32_t up = (254u << 23) - most + (bits << 23);
    float scale;
    memcpy(&scale, &up, 4);
    int32_t sum = (int32_t)(c * scale);
    for (unsigned i = 0; i < n; i++)
        sum += (int32_t)(p[i] * scale);
    double y = (double)sum / (double)scale;
    uint64_t u;
    memcpy(&u, &y, 8);
    u &= ~(((uint64_t)1 << (52 - keeps)) - 1);
    memcpy(&y, &u, 8);
    return (float)y;
}

#endif
