/* normal.h - normal numbers by counter, the same on every machine.
 *
 * Number i of a key is Box and Muller's of 1958 from two uniforms that SplitMix64's
 * finish makes of (key, i): (float)(sqrt(-2 log u) * cos(2 pi v)), in the C library's
 * double arithmetic. It depends on nothing else, so parts may be drawn in any order,
 * by any number of threads. Thread-safe.
 */
#ifndef KJ_TRAINER_NORMAL_H
#define KJ_TRAINER_NORMAL_H

#include <stddef.h>
#include <stdint.h>

/* SplitMix64's finish: keys of it, too. */
static inline uint64_t kj_normal_mix(uint64_t z)
{
    z += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

/* x[j] = scale * number at + j of the key, j < n. */
typedef void kj_normals_fn(float *x, size_t n, uint64_t key, uint64_t at, float scale);
kj_normals_fn kj_normals;

/* For tests: one number plainly, and what kj_normals may choose from by the processor: 0
 * is for all, 1 AVX2, 2 AVX-512; NULL: not here. The bits are the same. */
float kj_normal(uint64_t key, uint64_t i);
kj_normals_fn *kj_normals_isa(unsigned isa);

#endif
