/* input_bzip2.c - bzip2, stream by stream.
 *
 * The dumps of Wikipedia are thousands of streams of a hundred pages, made so
 * that each can be found and unpacked alone. So a stream is a member here, as in
 * gzip: damage costs one stream, and streams can be unpacked ahead, which bzip2
 * needs more than others: a core makes 30 MB/s of it.
 */
#include "base/input_internal.h"

#include <bzlib.h>
#include <stdlib.h>
#include <string.h>

#include "base/input_ahead.h"
#include "base/mem.h"

#define MAGIC "BZh"

struct kj_bz {
    struct kj_unpack u;
    bz_stream z;
    bool live;
    unsigned threads;
    struct kj_ahead *ahead;
    struct kj_ahead_member ready; /* p: what is left of a stream unpacked ahead */
};

struct kj_bz *kj_bz_new(struct kj_raw *raw, unsigned threads)
{
    struct kj_bz *b = kj_xcalloc(1, sizeof *b);
    b->u.raw = raw;
    b->threads = threads;
    return b;
}

void kj_bz_free(struct kj_bz *b)
{
    if (!b)
        return;
    kj_ahead_free(b->ahead);
    if (b->live)
        BZ2_bzDecompressEnd(&b->z);
    free(b->u.out);
    free(b);
}

void kj_bz_restart(struct kj_bz *b)
{
    b->u.state = KJ_AT_START;
    b->ready.p = NULL;
    kj_ahead_free(b->ahead);
    b->ahead = NULL;
}

bool kj_bz_magic(const char *p, size_t n)
{
    return n >= 10 && memcmp(p, MAGIC, 3) == 0 && p[3] >= '1' && p[3] <= '9' &&
           (memcmp(p + 4, "\x31\x41\x59\x26\x53\x59", 6) == 0 ||
            memcmp(p + 4, "\x17\x72\x45\x38\x50\x90", 6) == 0);
}

size_t kj_bz_peek(const char *p, size_t n, char *out, size_t room)
{
    bz_stream z = {0};
    if (BZ2_bzDecompressInit(&z, 0, 0) != BZ_OK)
        return 0;
    z.next_in = (char *)(uintptr_t)p;
    z.avail_in = (unsigned)(n < KJ_BZ_PEEK ? n : KJ_BZ_PEEK);
    z.next_out = out;
    z.avail_out = (unsigned)room;
    BZ2_bzDecompress(&z);
    size_t got = room - z.avail_out;
    BZ2_bzDecompressEnd(&z);
    return got;
}

/* Ten bytes that are what they should be are no chance. */
static bool trial(void *ctx, const char *p, size_t n, bool more, bool strict)
{
    (void)ctx;
    (void)more;
    (void)strict;
    return kj_bz_magic(p, n);
}

/* ---- ahead ---- */

static void *ahead_begin(void)
{
    return kj_xcalloc(1, sizeof(bz_stream));
}

static void ahead_end(void *dec)
{
    free(dec);
}

static int ahead_unpack(void *dec, const char *p, size_t n, char *out, size_t room,
                        size_t *used, size_t *made)
{
    bz_stream *z = dec;
    if (!kj_bz_magic(p, n))
        return -1;
    memset(z, 0, sizeof *z);
    if (BZ2_bzDecompressInit(z, 0, 0) != BZ_OK)
        return -1;
    z->next_in = (char *)(uintptr_t)p;
    z->avail_in = (unsigned)(n < (1u << 30) ? n : 1u << 30);
    z->next_out = out;
    z->avail_out = (unsigned)room;
    unsigned in = z->avail_in;
    int r = BZ2_bzDecompress(z);
    *used = in - z->avail_in;
    *made = room - z->avail_out;
    BZ2_bzDecompressEnd(z);
    return r == BZ_STREAM_END ? 0 : r == BZ_OK && z->avail_out == 0 ? 1 : -1;
}

static bool taken_ahead(struct kj_bz *b)
{
    static const struct kj_ahead_form form = {MAGIC,       3,         (size_t)4 << 20,
                                              ahead_begin, ahead_end, ahead_unpack};
    struct kj_raw *r = b->u.raw;
    if (!b->threads || !r->mapped)
        return false;
    if (!b->ahead && !(b->ahead = kj_ahead_new(&form, r->p, r->n, r->at, b->threads)))
        b->threads = 0;
    if (!b->ahead || !kj_ahead_take(b->ahead, r->at, &b->ready))
        return false;
    kj_raw_advance(r, b->ready.used);
    return true;
}

/* Streams come in the same pieces whoever unpacked them. */
static void give_ready(struct kj_bz *b, struct kj_chunk *c)
{
    size_t n = b->ready.n < KJ_CHUNK ? b->ready.n : KJ_CHUNK;
    bool last = n == b->ready.n;
    kj_unpack_chunk(&b->u, c, n, last);
    c->p = b->ready.p;
    b->ready.p = last ? NULL : b->ready.p + n;
    b->ready.n -= n;
}

/* ---- streaming ---- */

static int start_stream(struct kj_bz *b, struct kj_err *err)
{
    if (b->live)
        BZ2_bzDecompressEnd(&b->z);
    memset(&b->z, 0, sizeof b->z);
    b->live = BZ2_bzDecompressInit(&b->z, 0, 0) == BZ_OK;
    if (!b->live)
        return kj_err_set(err, KJ_FAIL, "cannot set up bzip2");
    b->u.state = KJ_IN_STREAM;
    return KJ_OK;
}

/* Fill one chunk. When the room is used up the decoder is asked on, without
 * room: at the end of a block it then finds the stream's end by itself, and the
 * chunk is known to be the last. */
static void unpack_chunk(struct kj_bz *b, size_t *n, bool *last)
{
    struct kj_raw *raw = b->u.raw;
    kj_unpack_room(&b->u, KJ_CHUNK);
    b->z.next_out = b->u.out;
    b->z.avail_out = KJ_CHUNK;
    *last = false;
    for (;;) {
        size_t have = kj_raw_need(raw, 1);
        unsigned in = (unsigned)(have < (1u << 30) ? have : 1u << 30);
        bool full = b->z.avail_out == 0;
        b->z.next_in = (char *)(uintptr_t)(raw->p + raw->at);
        b->z.avail_in = in;
        unsigned room = b->z.avail_out;
        int r = BZ2_bzDecompress(&b->z);
        unsigned used = in - b->z.avail_in;
        kj_raw_advance(raw, used);
        if (r == BZ_STREAM_END) {
            *last = true;
            break;
        }
        if (r != BZ_OK) {
            kj_unpack_damage(&b->u, "it does not decode", false);
            break;
        }
        if (used == 0 && room == b->z.avail_out) {
            if (!full && have == 0)
                kj_unpack_damage(&b->u, "it is cut short", false);
            break;
        }
    }
    *n = KJ_CHUNK - b->z.avail_out;
}

int kj_bz_chunk(struct kj_bz *b, struct kj_chunk *c, struct kj_err *err)
{
    struct kj_unpack *u = &b->u;
    for (;;) {
        size_t n = 0;
        bool last = false;
        int rc;
        if (b->ready.p) {
            give_ready(b, c);
            return KJ_OK;
        }
        switch (u->state) {
        case KJ_AT_END:
            return KJ_EOF;
        case KJ_AT_DAMAGE:
            return kj_unpack_report(u, "bzip2 stream", MAGIC, 3, trial, NULL, err);
        case KJ_AT_START:
            if ((rc = kj_unpack_skip_zeros(u, err)))
                return rc;
            u->member = kj_raw_tell(u->raw);
            u->at = 0;
            n = kj_raw_need(u->raw, 10);
            if (!kj_bz_magic(u->raw->p + u->raw->at, n)) {
                kj_unpack_damage(u, "", true);
                continue;
            }
            if (taken_ahead(b)) {
                if (b->ready.n == 0)
                    b->ready.p = NULL; /* an empty stream */
                continue;
            }
            if ((rc = start_stream(b, err)))
                return rc;
            continue;
        case KJ_IN_STREAM:
            unpack_chunk(b, &n, &last);
            break;
        }
        if (last && n == 0 && u->at == 0) {
            u->state = KJ_AT_START;
        } else if (n > 0 || last) {
            kj_unpack_chunk(u, c, n, last);
            return KJ_OK;
        }
    }
}
