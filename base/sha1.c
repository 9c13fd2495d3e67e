/* sha1.c - SHA-1, FIPS 180-4 section 6.1.
 *
 * Where the processor has instructions for it (x86's SHA extensions, described in
 * Gulley and others, "Intel SHA Extensions", 2013) a block is twenty groups of four
 * steps: sha1rnds4 does the four, sha1nexte brings e along, and the schedule's next four
 * words come from sha1msg1 and sha1msg2. On a Zen 5 that is 2.6 times the plain code.
 */
#include "base/hash.h"

#include <stdatomic.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

/* ---- plain ---- */

static uint32_t rol(uint32_t x, int k)
{
    return x << k | x >> (32 - k);
}

static uint32_t load_be(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* One step; the caller rotates the names instead of moving the values. */
#define STEP(a, b, c, d, e, f, k, x)                                                   \
    do {                                                                               \
        e += rol(a, 5) + (f) + (k) + (x);                                              \
        b = rol(b, 30);                                                                \
    } while (0)
#define CH(b, c, d)  ((d) ^ ((b) & ((c) ^ (d))))
#define PAR(b, c, d) ((b) ^ (c) ^ (d))
#define MAJ(b, c, d) (((b) & (c)) | ((d) & ((b) | (c))))
/* The message schedule in a ring of 16 words. */
#define MIX(i)                                                                         \
    (w[(i)&15] = rol(                                                                  \
         w[((i) + 13) & 15] ^ w[((i) + 8) & 15] ^ w[((i) + 2) & 15] ^ w[(i)&15], 1))
#define FIVE(F, k, X, i)                                                               \
    STEP(a, b, c, d, e, F(b, c, d), k, X(i));                                          \
    STEP(e, a, b, c, d, F(a, b, c), k, X((i) + 1));                                    \
    STEP(d, e, a, b, c, F(e, a, b), k, X((i) + 2));                                    \
    STEP(c, d, e, a, b, F(d, e, a), k, X((i) + 3));                                    \
    STEP(b, c, d, e, a, F(c, d, e), k, X((i) + 4))
#define WORD(i) ((i) < 16 ? w[(i)&15] : MIX(i))

static void block_plain(uint32_t h[5], const unsigned char *p)
{
    uint32_t w[16], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
    for (int i = 0; i < 16; i++)
        w[i] = load_be(p + 4 * i);
    for (int i = 0; i < 20; i += 5) {
        FIVE(CH, 0x5A827999u, WORD, i);
    }
    for (int i = 20; i < 40; i += 5) {
        FIVE(PAR, 0x6ED9EBA1u, MIX, i);
    }
    for (int i = 40; i < 60; i += 5) {
        FIVE(MAJ, 0x8F1BBCDCu, MIX, i);
    }
    for (int i = 60; i < 80; i += 5) {
        FIVE(PAR, 0xCA62C1D6u, MIX, i);
    }
    h[0] += a;
    h[1] += b;
    h[2] += c;
    h[3] += d;
    h[4] += e;
}

static void blocks_plain(uint32_t h[5], const unsigned char *p, size_t n)
{
    for (; n > 0; p += 64, n--)
        block_plain(h, p);
}

/* ---- by the processor's instructions ---- */

#if defined(__x86_64__)

/* Four steps; g is the group. x: e and the words, already added. */
#define GROUP(g, f)                                                                    \
    do {                                                                               \
        if ((g) >= 4)                                                                  \
            w[(g)&3] = _mm_sha1msg2_epu32(                                             \
                _mm_xor_si128(_mm_sha1msg1_epu32(w[(g)&3], w[((g) + 1) & 3]),          \
                              w[((g) + 2) & 3]),                                       \
                w[((g) + 3) & 3]);                                                     \
        __m128i x = (g) ? _mm_sha1nexte_epu32(e, w[(g)&3]) : _mm_add_epi32(e, w[0]);   \
        e = abcd;                                                                      \
        abcd = _mm_sha1rnds4_epu32(abcd, x, f);                                        \
    } while (0)
#define GROUPS(g, f)                                                                   \
    GROUP(g, f);                                                                       \
    GROUP((g) + 1, f);                                                                 \
    GROUP((g) + 2, f);                                                                 \
    GROUP((g) + 3, f);                                                                 \
    GROUP((g) + 4, f)

/* The instructions have a word's first step in the upper lane. */
__attribute__((target("sha,ssse3,sse4.1"))) static void
blocks_sha(uint32_t h[5], const unsigned char *p, size_t n)
{
    const __m128i turn = _mm_set_epi64x(0x0001020304050607, 0x08090a0b0c0d0e0f);
    __m128i abcd = _mm_loadu_si128((const __m128i *)(const void *)h), w[4];
    __m128i e = _mm_set_epi32((int)h[4], 0, 0, 0);
    abcd = _mm_shuffle_epi32(abcd, 0x1B);
    for (; n > 0; p += 64, n--) {
        const __m128i abcd_was = abcd, e_was = e;
        for (int i = 0; i < 4; i++)
            w[i] = _mm_shuffle_epi8(
                _mm_loadu_si128((const __m128i *)(const void *)(p + 16 * i)), turn);
        GROUPS(0, 0);
        GROUPS(5, 1);
        GROUPS(10, 2);
        GROUPS(15, 3);
        e = _mm_sha1nexte_epu32(e, e_was);
        abcd = _mm_add_epi32(abcd, abcd_was);
    }
    _mm_storeu_si128((__m128i *)(void *)h, _mm_shuffle_epi32(abcd, 0x1B));
    h[4] = (uint32_t)_mm_extract_epi32(e, 3);
}

static bool have(void)
{
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_SSSE3) || !(c & bit_SSE4_1))
        return false;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_SHA);
}

#else

static void blocks_sha(uint32_t h[5], const unsigned char *p, size_t n)
{
    blocks_plain(h, p, n);
}

static bool have(void)
{
    return false;
}

#endif

enum { UNKNOWN, PLAIN, HARDWARE };
static _Atomic int kind;

bool kj_sha1_hardware(bool on)
{
    bool can = on && have();
    atomic_store_explicit(&kind, can ? HARDWARE : PLAIN, memory_order_relaxed);
    return can;
}

static void blocks(uint32_t h[5], const unsigned char *p, size_t n)
{
    int k = atomic_load_explicit(&kind, memory_order_relaxed);
    if (k == UNKNOWN)
        k = kj_sha1_hardware(true) ? HARDWARE : PLAIN;
    if (k == HARDWARE)
        blocks_sha(h, p, n);
    else
        blocks_plain(h, p, n);
}

/* ---- any length ---- */

void kj_sha1_init(struct kj_sha1 *s)
{
    static const uint32_t iv[5] = {0x67452301u, 0xEFCDAB89u, 0x98BADCFEu, 0x10325476u,
                                   0xC3D2E1F0u};
    memcpy(s->h, iv, sizeof iv);
    s->n = 0;
}

void kj_sha1_add(struct kj_sha1 *s, const void *p, size_t n)
{
    const unsigned char *q = p;
    size_t fill = s->n & 63;
    s->n += n;
    if (fill > 0) {
        size_t take = 64 - fill < n ? 64 - fill : n;
        memcpy(s->block + fill, q, take);
        q += take;
        n -= take;
        if (fill + take < 64)
            return;
        blocks(s->h, s->block, 1);
    }
    if (n >= 64)
        blocks(s->h, q, n / 64);
    if (n % 64)
        memcpy(s->block, q + n / 64 * 64, n % 64);
}

void kj_sha1_end(struct kj_sha1 *s, unsigned char out[20])
{
    uint64_t bits = s->n * 8;
    unsigned char pad[72] = {0x80}, len[8];
    size_t fill = s->n & 63;
    kj_sha1_add(s, pad, fill < 56 ? 56 - fill : 120 - fill);
    for (int i = 0; i < 8; i++)
        len[i] = (unsigned char)(bits >> (56 - 8 * i));
    kj_sha1_add(s, len, 8);
    for (int i = 0; i < 20; i++)
        out[i] = (unsigned char)(s->h[i / 4] >> (24 - 8 * (i & 3)));
}
