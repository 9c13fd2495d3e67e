/* input_gzip.c - gzip, member by member.
 *
 * A member of a mapped file is given to libdeflate as a whole: about three
 * times the speed of zlib's inflate, but it needs room for the whole content
 * and says nothing of what it decoded before a fault. So a member that is too
 * large, or does not decode, goes through zlib's streaming inflate. In a pipe
 * the same is tried on what lies in the window, while members are small.
 *
 * The content's length is not known in front: the buffer grows fourfold on
 * demand and is kept, so that a file of many members settles. The file's last
 * four bytes are the length of its last member, and a good guess for the
 * common file of one.
 */
#include "base/input_internal.h"

#include <libdeflate.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/input_ahead.h"
#include "base/mem.h"

#define MAGIC "\x1f\x8b\x08"
/* Bytes of a pipe that are looked at for a whole member. */
enum { PIPE_WINDOW = 128 << 10 };
/* A stream that decodes for this many bytes is taken for a member: random
 * bytes run into an impossible distance or code long before. */
enum { TRIAL_OUT = 512 };

struct kj_gz {
    struct kj_unpack u;
    struct libdeflate_decompressor *ld;
    z_stream z;
    bool z_live;
    bool large;             /* in a pipe: the last member was beyond its window */
    unsigned threads;       /* that unpack ahead; 0: none */
    struct kj_ahead *ahead; /* they, once there is something to do */
};

struct kj_gz *kj_gz_new(struct kj_raw *raw)
{
    struct kj_gz *g = kj_xcalloc(1, sizeof *g);
    g->u.raw = raw;
    return g;
}

void kj_gz_free(struct kj_gz *g)
{
    if (!g)
        return;
    kj_ahead_free(g->ahead);
    if (g->z_live)
        inflateEnd(&g->z);
    libdeflate_free_decompressor(g->ld);
    free(g->u.out);
    free(g);
}

void kj_gz_restart(struct kj_gz *g)
{
    g->u.state = KJ_AT_START;
    kj_ahead_free(g->ahead);
    g->ahead = NULL;
}

void kj_gz_threads(struct kj_gz *g, unsigned threads)
{
    g->threads = threads;
}

bool kj_gz_magic(const char *p, size_t n)
{
    return n >= 4 && memcmp(p, MAGIC, 3) == 0 && !(p[3] & 0xE0);
}

/* ---- trials ---- */

static bool trial(void *ctx, const char *p, size_t n, bool more, bool strict)
{
    (void)ctx;
    z_stream z = {0};
    unsigned char out[4096];
    if (!kj_gz_magic(p, n) || inflateInit2(&z, 15 + 16) != Z_OK)
        return false;
    z.next_in = (Bytef *)(uintptr_t)p;
    z.avail_in = (uInt)(n < (1u << 30) ? n : 1u << 30);
    size_t want = strict ? KJ_CHUNK : TRIAL_OUT;
    int r = Z_OK;
    while (r == Z_OK && z.total_out < want) {
        z.next_out = out;
        z.avail_out = sizeof out;
        r = inflate(&z, Z_NO_FLUSH);
    }
    size_t used = z.total_in, made = z.total_out;
    bool good;
    if (r == Z_STREAM_END)
        good = !strict || kj_raw_boundary(p + used, n - used, MAGIC, 3);
    else if (r == Z_OK)
        good = made >= want;
    else /* the bytes at hand are used up */
        good = r == Z_BUF_ERROR && more && made > 0;
    inflateEnd(&z);
    return good;
}

bool kj_gz_starts(const char *p, size_t n)
{
    return trial(NULL, p, n, true, false);
}

size_t kj_gz_peek(const char *p, size_t n, char *out, size_t room)
{
    z_stream z = {0};
    if (inflateInit2(&z, 15 + 16) != Z_OK)
        return 0;
    z.next_in = (Bytef *)(uintptr_t)p;
    z.avail_in = (uInt)(n < (1u << 16) ? n : 1u << 16);
    z.next_out = (Bytef *)out;
    z.avail_out = (uInt)room;
    inflate(&z, Z_SYNC_FLUSH);
    size_t got = z.total_out;
    inflateEnd(&z);
    return got;
}

/* ---- whole members ---- */

static void guess_room(struct kj_gz *g)
{
    const struct kj_raw *r = g->u.raw;
    kj_unpack_room(&g->u, KJ_CHUNK);
    if (!r->mapped || r->at != 0 || r->n < 18)
        return;
    const unsigned char *t = (const unsigned char *)r->p + r->n - 4;
    size_t isize = t[0] | (size_t)t[1] << 8 | (size_t)t[2] << 16 | (size_t)t[3] << 24;
    /* Deflate does not pack better than 1:1032. */
    if (isize <= KJ_INPUT_MEMBER_MAX && isize / 1032 <= r->n)
        kj_unpack_room(&g->u, isize);
}

/* KJ_OK: the member is in u.out, *n bytes. KJ_DROP: it must be streamed. */
static int whole(struct kj_gz *g, size_t *n)
{
    struct kj_raw *r = g->u.raw;
    size_t used = 0;
    if (!g->ld && !(g->ld = libdeflate_alloc_decompressor()))
        return KJ_DROP;
    guess_room(g);
    for (;;) {
        enum libdeflate_result res = libdeflate_gzip_decompress_ex(
            g->ld, r->p + r->at, r->n - r->at, g->u.out, g->u.out_size, &used, n);
        if (res == LIBDEFLATE_SUCCESS) {
            kj_raw_advance(r, used);
            return KJ_OK;
        }
        if (res != LIBDEFLATE_INSUFFICIENT_SPACE ||
            g->u.out_size >= KJ_INPUT_MEMBER_MAX)
            return KJ_DROP;
        size_t more = 4 * g->u.out_size;
        kj_unpack_room(&g->u, more < KJ_INPUT_MEMBER_MAX ? more : KJ_INPUT_MEMBER_MAX);
    }
}

static bool may_be_whole(struct kj_gz *g)
{
    struct kj_raw *r = g->u.raw;
    if (r->mapped)
        return true;
    if (g->large)
        return false;
    kj_raw_need(r, PIPE_WINDOW);
    return true;
}

/* ---- members unpacked by others ---- */

static void *ahead_begin(void)
{
    return libdeflate_alloc_decompressor();
}

static void ahead_end(void *dec)
{
    libdeflate_free_decompressor(dec);
}

static int ahead_unpack(void *dec, const char *p, size_t n, char *out, size_t room,
                        size_t *used, size_t *made)
{
    switch (libdeflate_gzip_decompress_ex(dec, p, n, out, room, used, made)) {
    case LIBDEFLATE_SUCCESS:
        return 0;
    case LIBDEFLATE_INSUFFICIENT_SPACE:
        return 1;
    default:
        return -1;
    }
}

/* The member at the cursor, if it was unpacked already. */
static bool taken_ahead(struct kj_gz *g, struct kj_ahead_member *m)
{
    static const struct kj_ahead_form form = {MAGIC,       3,         (size_t)1 << 20,
                                              ahead_begin, ahead_end, ahead_unpack};
    struct kj_raw *r = g->u.raw;
    if (!g->threads || !r->mapped)
        return false;
    if (!g->ahead && !(g->ahead = kj_ahead_new(&form, r->p, r->n, r->at, g->threads)))
        g->threads = 0;
    if (!g->ahead || !kj_ahead_take(g->ahead, r->at, m))
        return false;
    kj_raw_advance(r, m->used);
    return true;
}

/* ---- streaming ---- */

static int start_stream(struct kj_gz *g, struct kj_err *err)
{
    int r = g->z_live ? inflateReset(&g->z) : inflateInit2(&g->z, 15 + 16);
    if (r != Z_OK)
        return kj_err_set(err, KJ_FAIL, "cannot set up inflate");
    g->z_live = true;
    g->u.state = KJ_IN_STREAM;
    return KJ_OK;
}

/* Fill one chunk. Sets *n, and *last at the member's end. When the room is
 * used up, inflate is asked once more without room: it may reach the trailer,
 * and then the chunk is known to be the last. */
static void inflate_chunk(struct kj_gz *g, size_t *n, bool *last)
{
    struct kj_raw *raw = g->u.raw;
    kj_unpack_room(&g->u, KJ_CHUNK);
    g->z.next_out = (Bytef *)g->u.out;
    g->z.avail_out = KJ_CHUNK;
    *last = false;
    for (;;) {
        size_t have = kj_raw_need(raw, 1);
        bool full = g->z.avail_out == 0;
        if (have == 0) {
            if (!full)
                kj_unpack_damage(&g->u, "it is cut short", false);
            break;
        }
        uInt in = (uInt)(have < (1u << 30) ? have : 1u << 30);
        g->z.next_in = (Bytef *)(uintptr_t)(raw->p + raw->at);
        g->z.avail_in = in;
        int r = inflate(&g->z, Z_NO_FLUSH);
        kj_raw_advance(raw, in - g->z.avail_in);
        if (r == Z_STREAM_END) {
            *last = true;
            break;
        }
        if (r != Z_OK && r != Z_BUF_ERROR) {
            kj_unpack_damage(&g->u, g->z.msg ? g->z.msg : "it does not decode", false);
            break;
        }
        if (full && g->z.avail_in > 0)
            break;
    }
    *n = KJ_CHUNK - g->z.avail_out;
}

int kj_gz_chunk(struct kj_gz *g, struct kj_chunk *c, struct kj_err *err)
{
    struct kj_unpack *u = &g->u;
    struct kj_ahead_member ready = {0};
    size_t n = 0;
    bool last = false;
    int rc;
    for (;;) {
        switch (u->state) {
        case KJ_AT_END:
            return KJ_EOF;
        case KJ_AT_DAMAGE:
            return kj_unpack_report(u, "gzip member", MAGIC, 3, trial, NULL, err);
        case KJ_AT_START:
            rc = kj_unpack_skip_zeros(u, err);
            if (rc)
                return rc;
            u->member = kj_raw_tell(u->raw);
            u->at = 0;
            n = kj_raw_need(u->raw, 4);
            if (!kj_gz_magic(u->raw->p + u->raw->at, n)) {
                kj_unpack_damage(u, "", true);
                continue;
            }
            ready.p = NULL;
            if (taken_ahead(g, &ready)) {
                n = ready.n;
                last = true;
                break;
            }
            if (may_be_whole(g) && whole(g, &n) == KJ_OK) {
                last = true;
                break;
            }
            g->large = true;
            rc = start_stream(g, err);
            if (rc)
                return rc;
            continue;
        case KJ_IN_STREAM:
            inflate_chunk(g, &n, &last);
            if (last)
                g->large = kj_raw_tell(u->raw) - u->member > PIPE_WINDOW;
            break;
        }
        if (last && n == 0 && u->at == 0)
            u->state = KJ_AT_START; /* an empty member */
        else if (n > 0 || last) {
            kj_unpack_chunk(u, c, n, last);
            if (ready.p)
                c->p = ready.p;
            return KJ_OK;
        }
    }
}
