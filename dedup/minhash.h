/* minhash.h - MinHash signatures and their bands.
 *
 * A. Broder, On the resemblance and containment of documents, 1997; banding
 * as in Leskovec, Rajaraman, Ullman, Mining of Massive Datasets, ch. 3. Two
 * sets of Jaccard similarity s agree in one position of the signature with
 * probability s, and in all rows of at least one band with probability
 *     1 - (1 - s^rows)^bands.
 *
 * The arithmetic is datatrove's, bit for bit, so that signatures of the same
 * shingles are equal: position i is the least of
 *     ((a[i] * h + b[i]) mod 2^64) mod (2^61 - 1)
 * over the shingles' hashes h (the product wraps before the modulus is taken),
 * with a and b drawn as numpy's RandomState(seed) draws them: all a from
 * [1, 2^61 - 1), then all b from [0, 2^61 - 1), by MT19937 with masked
 * rejection.
 *
 * Three kernels give the same values: portable C, AVX2, AVX-512. The fastest
 * that the processor has is taken when the object is made.
 *
 * Read-only after kj_minhash_init: one object serves all threads.
 */
#ifndef KJ_DEDUP_MINHASH_H
#define KJ_DEDUP_MINHASH_H

#include <stddef.h>
#include <stdint.h>

#define KJ_MINHASH_PRIME (((uint64_t)1 << 61) - 1)
#define KJ_MINHASH_MAX   16384 /* most bands x rows */

enum kj_minhash_isa { KJ_ISA_PORTABLE, KJ_ISA_AVX2, KJ_ISA_AVX512, KJ_ISA_COUNT };

/* min[i] = least of min[i] and the permuted hashes, for i in [0,n); n is a
 * multiple of 16, and a, b, min are aligned to 64 bytes. */
typedef void kj_minhash_fn(const uint64_t *a, const uint64_t *b, uint64_t *min,
                           size_t n, const uint64_t *h, size_t nh);

struct kj_minhash {
    unsigned bands, rows;
    size_t n;      /* bands * rows */
    size_t padded; /* n, rounded up to 16: length of every array */
    uint64_t *a, *b;
    kj_minhash_fn *fold;
};

void kj_minhash_init(struct kj_minhash *m, unsigned bands, unsigned rows,
                     uint32_t seed);
void kj_minhash_release(struct kj_minhash *m);

/* The kernel for an instruction set, or NULL when this machine lacks it. */
kj_minhash_fn *kj_minhash_kernel(enum kj_minhash_isa isa);

/* Signature of h[0..nh) into sig[0..padded), aligned to 64 bytes. Positions
 * from n on are of no meaning. Without hashes all are UINT64_MAX. */
void kj_minhash_sign(const struct kj_minhash *m, const uint64_t *h, size_t nh,
                     uint64_t *sig);

/* One key per band: XXH3-64 of its rows. Equal rows have equal keys; different
 * rows have different ones but for a chance of 2^-64, which costs time only,
 * since every pair is verified. */
void kj_minhash_bands(const struct kj_minhash *m, const uint64_t *sig, uint64_t *keys);

/* n words aligned to 64 bytes; free() them. */
uint64_t *kj_minhash_alloc(size_t n);

/* The probability above. */
double kj_minhash_curve(unsigned bands, unsigned rows, double similarity);

#endif
