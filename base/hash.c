/* hash.c - xxHash behind fixed names, and base 32.
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
