/* coding.c - see coding.h. */
#include "extract/coding.h"

#include <brotli/decode.h>
#include <stdint.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#define STEP ((size_t)64 * 1024)

/* Room behind out->n: as much as the cap allows, at most a growing step. */
static size_t room(struct kj_buf *out)
{
    size_t want = out->n > STEP ? out->n : STEP;
    size_t left = out->cap - out->n;
    if (want > left)
        want = left;
    return want && kj_buf_reserve(out, want) == 0 ? want : 0;
}

static enum kj_coding_result ended(const struct kj_buf *out, enum kj_coding_result r)
{
    return r == KJ_CODING_CUT && out->n == 0 ? KJ_CODING_NOT : r;
}

/* bits: zlib's windowBits, which choose the wrapper. */
static enum kj_coding_result inflate_as(int bits, struct kj_str in, struct kj_buf *out)
{
    z_stream z;
    enum kj_coding_result r = KJ_CODING_CUT;
    memset(&z, 0, sizeof z);
    if (inflateInit2(&z, bits) != Z_OK)
        return KJ_CODING_NOT;
    z.next_in = (Bytef *)(uintptr_t)in.p;
    z.avail_in = (uInt)in.n; /* blocks are at most 64 MiB */
    for (;;) {
        size_t n = room(out);
        if (n == 0) {
            r = KJ_CODING_LARGE;
            break;
        }
        z.next_out = (Bytef *)out->p + out->n;
        z.avail_out = (uInt)n;
        int rc = inflate(&z, Z_NO_FLUSH);
        out->n += n - z.avail_out;
        if (rc == Z_STREAM_END) {
            r = KJ_CODING_OK;
            /* gzip may go on with another member */
            if (bits != 31 || z.avail_in < 18 || z.next_in[0] != 0x1f ||
                inflateReset(&z) != Z_OK)
                break;
            continue;
        }
        if (rc != Z_OK || (z.avail_in == 0 && z.avail_out > 0)) {
            r = KJ_CODING_CUT;
            break;
        }
    }
    inflateEnd(&z);
    return ended(out, r);
}

static enum kj_coding_result brotli(struct kj_str in, struct kj_buf *out)
{
    BrotliDecoderState *s = BrotliDecoderCreateInstance(NULL, NULL, NULL);
    enum kj_coding_result r;
    const uint8_t *p = (const uint8_t *)in.p;
    size_t n = in.n;
    if (!s)
        return KJ_CODING_NOT;
    for (;;) {
        size_t k = room(out), left = k;
        if (k == 0) {
            r = KJ_CODING_LARGE;
            break;
        }
        uint8_t *to = (uint8_t *)out->p + out->n;
        BrotliDecoderResult rc =
            BrotliDecoderDecompressStream(s, &n, &p, &left, &to, NULL);
        out->n += k - left;
        if (rc == BROTLI_DECODER_RESULT_NEEDS_MORE_OUTPUT)
            continue;
        r = rc == BROTLI_DECODER_RESULT_SUCCESS ? KJ_CODING_OK : KJ_CODING_CUT;
        break;
    }
    BrotliDecoderDestroyInstance(s);
    return ended(out, r);
}

static enum kj_coding_result zstd(struct kj_str in, struct kj_buf *out)
{
    ZSTD_DStream *s = ZSTD_createDStream();
    enum kj_coding_result r = KJ_CODING_CUT;
    ZSTD_inBuffer src = {in.p, in.n, 0};
    if (!s)
        return KJ_CODING_NOT;
    for (;;) {
        size_t k = room(out);
        if (k == 0) {
            r = KJ_CODING_LARGE;
            break;
        }
        ZSTD_outBuffer dst = {out->p + out->n, k, 0};
        size_t rc = ZSTD_decompressStream(s, &dst, &src);
        out->n += dst.pos;
        if (ZSTD_isError(rc))
            break;
        if (src.pos == src.size && dst.pos < k) {
            r = rc == 0 ? KJ_CODING_OK : KJ_CODING_CUT;
            break;
        }
    }
    ZSTD_freeDStream(s);
    return ended(out, r);
}

/* Brotli has no magic, and text can decode to something by accident: believe
 * it only when it does not turn plain markup into bytes. */
static bool looks_like_text(struct kj_str in)
{
    size_t n = in.n < 256 ? in.n : 256, i = 0;
    while (i < n &&
           (in.p[i] == ' ' || in.p[i] == '\n' || in.p[i] == '\r' || in.p[i] == '\t'))
        i++;
    if (i == n || in.p[i] != '<')
        return false;
    for (; i < n; i++)
        if ((unsigned char)in.p[i] < 9)
            return false;
    return true;
}

enum kj_coding_result kj_coding_undo(enum kj_coding c, struct kj_str in,
                                     struct kj_buf *out)
{
    enum kj_coding_result r;
    kj_buf_reset(out);
    if (in.n == 0)
        return KJ_CODING_NOT;
    switch (c) {
    case KJ_CODING_GZIP:
        return in.n > 2 && memcmp(in.p, "\x1f\x8b", 2) == 0 ? inflate_as(31, in, out)
                                                            : KJ_CODING_NOT;
    case KJ_CODING_DEFLATE:
        if (looks_like_text(in))
            return KJ_CODING_NOT;
        r = inflate_as(15, in, out);
        if (r != KJ_CODING_NOT)
            return r;
        kj_buf_reset(out);
        return inflate_as(-15, in, out);
    case KJ_CODING_BR:
        return looks_like_text(in) ? KJ_CODING_NOT : brotli(in, out);
    case KJ_CODING_ZSTD:
        return in.n > 4 && memcmp(in.p, "\x28\xb5\x2f\xfd", 4) == 0 ? zstd(in, out)
                                                                    : KJ_CODING_NOT;
    case KJ_CODING_NONE:
        break;
    }
    return KJ_CODING_NOT;
}
