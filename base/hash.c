/* hash.c - xxHash behind fixed names, and SHA-1.
 *
 * kj_hash64 is XXH64, the hash that other tools' MinHash signatures use;
 * kj_hash128 is XXH3's 128 bits with seed 0, in its canonical byte order.
 */
#include "base/hash.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/err.h"
#include "base/mem.h"

uint64_t kj_hash64(const void *p, size_t n, uint64_t seed)
{
    return XXH64(n ? p : "", n, seed);
}

struct kj_hash128 kj_hash128(const void *p, size_t n)
{
    XXH128_hash_t h = XXH3_128bits(n ? p : "", n);
    return (struct kj_hash128){.hi = h.high64, .lo = h.low64};
}

void kj_hash128_hex(struct kj_hash128 h, char out[33])
{
    static const char hex[] = "0123456789abcdef";
    for (int i = 0; i < 16; i++) {
        out[i] = hex[h.hi >> (60 - 4 * i) & 15];
        out[16 + i] = hex[h.lo >> (60 - 4 * i) & 15];
    }
    out[32] = 0;
}

int kj_hash_file(const char *path, char out[40], int64_t *bytes, struct kj_err *err)
{
    enum { STEP = 1 << 18 };
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return kj_err_errno(err, KJ_FAIL, "cannot open %s", path);
    XXH3_state_t *st = XXH3_createState();
    char *buf = kj_xmalloc(STEP);
    int64_t total = 0;
    ssize_t got = -1;
    if (st && XXH3_128bits_reset(st) == XXH_OK)
        while ((got = read(fd, buf, STEP)) > 0) {
            XXH3_128bits_update(st, buf, (size_t)got);
            total += got;
        }
    int rc = KJ_OK;
    if (got < 0) {
        rc = kj_err_errno(err, KJ_FAIL, "cannot read %s", path);
    } else {
        XXH128_hash_t h = XXH3_128bits_digest(st);
        memcpy(out, "xxh128:", 7);
        kj_hash128_hex((struct kj_hash128){.hi = h.high64, .lo = h.low64}, out + 7);
        if (bytes)
            *bytes = total;
    }
    XXH3_freeState(st);
    free(buf);
    close(fd);
    return rc;
}

/* ---- SHA-1, FIPS 180-4 section 6.1 ---- */

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

static void sha1_block(uint32_t h[5], const unsigned char *p)
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
        sha1_block(s->h, s->block);
    }
    for (; n >= 64; q += 64, n -= 64)
        sha1_block(s->h, q);
    if (n > 0)
        memcpy(s->block, q, n);
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

void kj_base32_20(const unsigned char in[20], char out[33])
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    for (int i = 0; i < 4; i++) {
        uint64_t v = 0;
        for (int k = 0; k < 5; k++)
            v = v << 8 | in[5 * i + k];
        for (int k = 0; k < 8; k++)
            out[8 * i + k] = digits[v >> (35 - 5 * k) & 31];
    }
    out[32] = 0;
}
