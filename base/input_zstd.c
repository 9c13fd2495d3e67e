/* input_zstd.c - zstd, frame by frame.
 *
 * A small frame of a mapped file whose header tells its content's size is decoded
 * at once; others are streamed. Skippable frames (seek tables, and the
 * dictionaries of some archives) are passed over. The window is limited to
 * zstd's own default of 128 MiB.
 */
#include "base/input_internal.h"

#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "base/mem.h"

#define MAGIC "\x28\xb5\x2f\xfd"
enum { TRIAL_OUT = 512 };
/* Larger frames are streamed through memory that is warm already: a frame of
 * 10 MB takes 15.9 ms so, and 18.3 ms at once. */
#define WHOLE_MAX ((size_t)4 << 20)

struct kj_zst {
    struct kj_unpack u;
    ZSTD_DCtx *d;
    ZSTD_DCtx *probe; /* for trials */
};

struct kj_zst *kj_zst_new(struct kj_raw *raw)
{
    struct kj_zst *z = kj_xcalloc(1, sizeof *z);
    z->u.raw = raw;
    return z;
}

void kj_zst_free(struct kj_zst *z)
{
    if (!z)
        return;
    ZSTD_freeDCtx(z->d);
    ZSTD_freeDCtx(z->probe);
    free(z->u.out);
    free(z);
}

void kj_zst_restart(struct kj_zst *z)
{
    z->u.state = KJ_AT_START;
}

static bool is_frame(const char *p, size_t n)
{
    return n >= 4 && memcmp(p, MAGIC, 4) == 0;
}

static bool is_skippable(const char *p, size_t n)
{
    return n >= 4 && ((unsigned char)p[0] & 0xF0) == 0x50 &&
           memcmp(p + 1, "\x2a\x4d\x18", 3) == 0;
}

bool kj_zst_magic(const char *p, size_t n)
{
    return is_frame(p, n) || is_skippable(p, n);
}

static bool trial(void *ctx, const char *p, size_t n, bool more, bool strict)
{
    struct kj_zst *z = ctx;
    char *scratch = kj_xmalloc(1 << 17);
    if (!z->probe)
        z->probe = ZSTD_createDCtx();
    ZSTD_inBuffer in = {p, n, 0};
    size_t want = strict ? KJ_CHUNK : TRIAL_OUT, made = 0, r = 1;
    bool good = z->probe != NULL;
    if (good)
        ZSTD_DCtx_reset(z->probe, ZSTD_reset_session_only);
    while (good && r != 0 && made < want) {
        ZSTD_outBuffer out = {scratch, 1 << 17, 0};
        size_t before = in.pos;
        r = ZSTD_decompressStream(z->probe, &out, &in);
        made += out.pos;
        if (ZSTD_isError(r))
            good = false;
        else if (r != 0 && out.pos == 0 && in.pos == before) {
            good = more && made > 0;
            break;
        }
    }
    if (good && r == 0 && strict)
        good = is_skippable(p + in.pos, n - in.pos) ||
               kj_raw_boundary(p + in.pos, n - in.pos, MAGIC, 4);
    free(scratch);
    return good;
}

size_t kj_zst_peek(const char *p, size_t n, char *out, size_t room)
{
    ZSTD_DCtx *d = ZSTD_createDCtx();
    ZSTD_inBuffer in = {p, n < (1u << 18) ? n : 1u << 18, 0};
    ZSTD_outBuffer o = {out, room, 0};
    size_t r = 1;
    while (d && r != 0 && !ZSTD_isError(r) && o.pos < room && in.pos < in.size) {
        size_t before = in.pos;
        r = ZSTD_decompressStream(d, &o, &in);
        if (in.pos == before)
            break;
    }
    ZSTD_freeDCtx(d);
    return o.pos;
}

/* The cursor is on a skippable frame: pass it. */
static void skip_frame(struct kj_zst *z)
{
    struct kj_raw *r = z->u.raw;
    if (kj_raw_need(r, 8) < 8) {
        kj_raw_advance(r, r->n - r->at);
        kj_unpack_damage(&z->u, "it is cut short", false);
        return;
    }
    const unsigned char *t = (const unsigned char *)r->p + r->at + 4;
    uint64_t left =
        8 + (t[0] | (uint64_t)t[1] << 8 | (uint64_t)t[2] << 16 | (uint64_t)t[3] << 24);
    while (left > 0) {
        size_t n = kj_raw_need(r, 1);
        if (n == 0) {
            kj_unpack_damage(&z->u, "it is cut short", false);
            return;
        }
        n = n < left ? n : (size_t)left;
        kj_raw_advance(r, n);
        left -= n;
    }
}

/* KJ_OK: the frame is in u.out, *n bytes. KJ_DROP: it must be streamed. */
static int whole(struct kj_zst *z, size_t *n)
{
    struct kj_raw *r = z->u.raw;
    const char *p = r->p + r->at;
    unsigned long long size = ZSTD_getFrameContentSize(p, r->n - r->at);
    if (size == ZSTD_CONTENTSIZE_UNKNOWN || size == ZSTD_CONTENTSIZE_ERROR ||
        size > WHOLE_MAX)
        return KJ_DROP;
    size_t used = ZSTD_findFrameCompressedSize(p, r->n - r->at);
    if (ZSTD_isError(used))
        return KJ_DROP;
    kj_unpack_room(&z->u, size > KJ_CHUNK ? (size_t)size : KJ_CHUNK);
    *n = ZSTD_decompressDCtx(z->d, z->u.out, z->u.out_size, p, used);
    if (ZSTD_isError(*n))
        return KJ_DROP;
    kj_raw_advance(r, used);
    return KJ_OK;
}

/* One chunk; the same last step without room as in gzip. */
static void stream_chunk(struct kj_zst *z, size_t *n, bool *last)
{
    struct kj_raw *raw = z->u.raw;
    kj_unpack_room(&z->u, KJ_CHUNK);
    ZSTD_outBuffer out = {z->u.out, KJ_CHUNK, 0};
    *last = false;
    for (;;) {
        size_t have = kj_raw_need(raw, 1), before = out.pos;
        bool full = out.pos == out.size;
        if (have == 0) {
            if (!full)
                kj_unpack_damage(&z->u, "it is cut short", false);
            break;
        }
        ZSTD_inBuffer in = {raw->p + raw->at, have, 0};
        size_t r = ZSTD_decompressStream(z->d, &out, &in);
        kj_raw_advance(raw, in.pos);
        if (ZSTD_isError(r)) {
            kj_unpack_damage(&z->u, ZSTD_getErrorName(r), false);
            break;
        }
        if (r == 0) {
            *last = true;
            break;
        }
        if (full && (in.pos < in.size || in.pos == 0))
            break;
        if (!full && in.pos == 0 && out.pos == before) {
            kj_unpack_damage(&z->u, "no progress", false);
            break;
        }
    }
    *n = out.pos;
}

/* At the start of a frame: KJ_OK with *n when it was decoded as a whole,
 * KJ_DROP when the state says how to go on. */
static int start(struct kj_zst *z, size_t *n, struct kj_err *err)
{
    struct kj_unpack *u = &z->u;
    int rc = kj_unpack_skip_zeros(u, err);
    if (rc)
        return rc;
    u->member = kj_raw_tell(u->raw);
    u->at = 0;
    size_t have = kj_raw_need(u->raw, 4);
    const char *p = u->raw->p + u->raw->at;
    if (is_skippable(p, have)) {
        skip_frame(z);
        return KJ_DROP;
    }
    if (!is_frame(p, have)) {
        kj_unpack_damage(u, "", true);
        return KJ_DROP;
    }
    if (!z->d && !(z->d = ZSTD_createDCtx()))
        return kj_err_set(err, KJ_FAIL, "cannot set up zstd");
    if (u->raw->mapped && whole(z, n) == KJ_OK)
        return KJ_OK;
    ZSTD_DCtx_reset(z->d, ZSTD_reset_session_only);
    u->state = KJ_IN_STREAM;
    return KJ_DROP;
}

int kj_zst_chunk(struct kj_zst *z, struct kj_chunk *c, struct kj_err *err)
{
    struct kj_unpack *u = &z->u;
    size_t n = 0;
    bool last = false;
    int rc;
    for (;;) {
        switch (u->state) {
        case KJ_AT_END:
            return KJ_EOF;
        case KJ_AT_DAMAGE:
            return kj_unpack_report(u, "zstd frame", MAGIC, 4, trial, z, err);
        case KJ_AT_START:
            rc = start(z, &n, err);
            if (rc == KJ_DROP)
                continue;
            if (rc)
                return rc;
            last = true;
            break;
        case KJ_IN_STREAM:
            stream_chunk(z, &n, &last);
            break;
        }
        if (last && n == 0 && u->at == 0)
            u->state = KJ_AT_START; /* an empty frame */
        else if (n > 0 || last) {
            kj_unpack_chunk(u, c, n, last);
            return KJ_OK;
        }
    }
}
