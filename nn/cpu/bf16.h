/* bf16.h - what a processor must do for products of bfloat16 numbers: one table
 * per instruction set, chosen at run time; bf16.c is the rest.
 *
 * The arithmetic is that of the VDPBF16PS instruction: an element of C takes two
 * products at a time, the odd one (k = 1, 3, ..) before the even one, each by a
 * fused multiply-add in float32, rounded to nearest even; subnormal numbers, read or
 * made, are zero. So all tables give the same bits.
 */
#ifndef KJ_NN_CPU_BF16_H
#define KJ_NN_CPU_BF16_H

#include <stddef.h>
#include <stdint.h>

/* A block of C held in registers. Rows of A are packed 12 to a panel, columns of
 * B 32: 24 registers of sums, 2 of B, and a number of A spread over one. */
enum { KJ_BF16_MR = 12, KJ_BF16_NR = 32 };

struct kj_bf16_isa {
    const char *isa;
    /* Panels of `width` (MR or NR) vectors, of which n exist; the others become
     * zero. Word j * width + i holds elements 2j (low half) and 2j + 1 of vector i;
     * behind an odd k stands a zero. Vector i's element e lies at x[i * step + e]
     * in pack_along and at x[e * step + i] in pack_across. */
    void (*pack_along)(uint32_t *to, size_t width, const float *x, size_t step,
                       size_t n, size_t k);
    void (*pack_across)(uint32_t *to, size_t width, const float *x, size_t step,
                        size_t n, size_t k);
    /* C = (add ? C : 0) + the products of `pairs` words a row; rows <= MR and cols
     * <= NR are written. a and b are at the words to begin with. */
    void (*product)(float *c, size_t ldc, const uint32_t *a, const uint32_t *b,
                    size_t pairs, size_t rows, size_t cols, int add);
};

extern const struct kj_bf16_isa kj_bf16_base, kj_bf16_avx512;
const struct kj_bf16_isa *kj_bf16_best(void);

#endif
