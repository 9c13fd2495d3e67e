/* minhash.c - parameters, the portable kernel, signatures and band keys. */
#include "dedup/minhash.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/mem.h"
#include "dedup/minhash_internal.h"

/* MT19937 (Matsumoto, Nishimura 1998), seeded by a 32-bit word. */
struct mt {
    uint32_t s[624];
    unsigned at;
};

static void mt_seed(struct mt *m, uint32_t seed)
{
    m->s[0] = seed;
    for (uint32_t i = 1; i < 624; i++)
        m->s[i] = 1812433253u * (m->s[i - 1] ^ m->s[i - 1] >> 30) + i;
    m->at = 624;
}

static void mt_turn(struct mt *m)
{
    for (unsigned i = 0; i < 624; i++) {
        uint32_t y = (m->s[i] & 0x80000000u) | (m->s[(i + 1) % 624] & 0x7FFFFFFFu);
        m->s[i] = m->s[(i + 397) % 624] ^ y >> 1 ^ (y & 1 ? 0x9908B0DFu : 0);
    }
    m->at = 0;
}

static uint32_t mt_next(struct mt *m)
{
    if (m->at == 624)
        mt_turn(m);
    uint32_t y = m->s[m->at++];
    y ^= y >> 11;
    y ^= y << 7 & 0x9D2C5680u;
    y ^= y << 15 & 0xEFC60000u;
    return y ^ y >> 18;
}

/* Uniform on [low, prime), by drawing 61 bits until they are in range: the
 * first word drawn is the high half. */
static uint64_t draw(struct mt *m, uint64_t low)
{
    uint64_t range = KJ_MINHASH_PRIME - 1 - low, v;
    do {
        uint64_t hi = mt_next(m);
        v = (hi << 32 | mt_next(m)) & KJ_MINHASH_PRIME;
    } while (v > range);
    return v + low;
}

uint64_t *kj_minhash_alloc(size_t n)
{
    void *p = NULL;
    if (posix_memalign(&p, 64, n * sizeof(uint64_t)))
        abort(); /* checksrc: ok, small and fixed, as kj_xmalloc */
    return p;
}

void kj_minhash_init(struct kj_minhash *m, unsigned bands, unsigned rows, uint32_t seed)
{
    size_t n = (size_t)bands * rows;
    *m = (struct kj_minhash){
        .bands = bands, .rows = rows, .n = n, .padded = (n + 15) / 16 * 16};
    m->a = kj_minhash_alloc(m->padded);
    m->b = kj_minhash_alloc(m->padded);
    struct mt mt;
    mt_seed(&mt, seed);
    for (size_t i = 0; i < m->padded; i++)
        m->a[i] = i < n ? draw(&mt, 1) : 1;
    for (size_t i = 0; i < m->padded; i++)
        m->b[i] = i < n ? draw(&mt, 0) : 0;
    for (int isa = KJ_ISA_COUNT - 1; isa >= 0 && !m->fold; isa--)
        m->fold = kj_minhash_kernel((enum kj_minhash_isa)isa);
}

void kj_minhash_release(struct kj_minhash *m)
{
    free(m->a);
    free(m->b);
    m->a = m->b = NULL;
}

static void fold_portable(const uint64_t *a, const uint64_t *b, uint64_t *min, size_t n,
                          const uint64_t *h, size_t nh)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t least = min[i];
        for (size_t k = 0; k < nh; k++) {
            uint64_t v = a[i] * h[k] + b[i];
            v = (v & KJ_MINHASH_PRIME) + (v >> 61);
            v = v >= KJ_MINHASH_PRIME ? v - KJ_MINHASH_PRIME : v;
            least = v < least ? v : least;
        }
        min[i] = least;
    }
}

kj_minhash_fn *kj_minhash_kernel(enum kj_minhash_isa isa)
{
    if (isa == KJ_ISA_PORTABLE)
        return fold_portable;
#if defined(__x86_64__)
    if (isa == KJ_ISA_AVX2 && __builtin_cpu_supports("avx2"))
        return kj_minhash_fold_avx2;
    if (isa == KJ_ISA_AVX512 && __builtin_cpu_supports("avx512f") &&
        __builtin_cpu_supports("avx512dq"))
        return kj_minhash_fold_avx512;
#endif
    return NULL;
}

void kj_minhash_sign(const struct kj_minhash *m, const uint64_t *h, size_t nh,
                     uint64_t *sig)
{
    /* A kernel goes over the hashes once per group of positions: the piece
     * (16 KiB) stays in the first-level cache. */
    enum { PIECE = 2048 };
    memset(sig, 0xFF, m->padded * sizeof *sig);
    for (size_t at = 0; at < nh; at += PIECE)
        m->fold(m->a, m->b, sig, m->padded, h + at, nh - at < PIECE ? nh - at : PIECE);
}

void kj_minhash_bands(const struct kj_minhash *m, const uint64_t *sig, uint64_t *keys)
{
    for (unsigned i = 0; i < m->bands; i++)
        keys[i] = XXH3_64bits(sig + (size_t)i * m->rows, m->rows * sizeof *sig);
}

double kj_minhash_curve(unsigned bands, unsigned rows, double similarity)
{
    return 1 - pow(1 - pow(similarity, rows), bands);
}
