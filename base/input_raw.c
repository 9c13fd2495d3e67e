/* input_raw.c - the window over stored bytes, and the search for the next
 * member behind damage.
 *
 * Resync: a damaged member is left, and its magic number is searched for, each
 * hit being decoded on trial. Where the search begins matters. A member that
 * was cut short lets the decoder run into the next one before it notices, so
 * the next member may start before the place of the error: the search begins
 * right behind the damaged member's first byte. But web archives hold pages
 * that were themselves sent as gzip, and deflate stores those as they are: in
 * the part that did decode, hits are mostly such inner streams. There only a
 * member counts that decodes to its end with the right checksum and has a
 * neighbour behind it that fits.
 */
#define _GNU_SOURCE /* memmem */
#include "base/input_internal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/mem.h"

/* Bytes that a trial may look at. */
enum { TRIAL = 1 << 20 };
/* Mapped pages that were read are given back in steps of this size, so that a
 * large archive does not count as memory of the program. */
#define DROP_STEP ((size_t)4 << 20)

void kj_raw_release(struct kj_raw *r)
{
    free(r->buf);
    r->buf = NULL;
}

/* Make room for more bytes at the window's end, moving what is to stay. */
static void make_room(struct kj_raw *r, size_t ahead)
{
    size_t start = r->at > r->keep ? r->at - r->keep : 0;
    size_t want = r->keep + ahead;
    if (want < KJ_CHUNK)
        want = KJ_CHUNK;
    if (r->size < want) {
        r->size = want;
        r->buf = kj_xrealloc(r->buf, want + KJ_BUF_PAD);
    }
    if (start > 0) {
        memmove(r->buf, r->buf + start, r->n - start);
        r->n -= start;
        r->at -= start;
        r->base += (int64_t)start;
    }
    r->p = r->buf;
}

size_t kj_raw_need(struct kj_raw *r, size_t ahead)
{
    while (!r->eof && r->n - r->at < ahead) {
        size_t got = 0;
        if (r->size < r->at + ahead || r->n == r->size)
            make_room(r, ahead);
        if (r->fill(r->src, r->buf + r->n, r->size - r->n, &got, &r->fault) || got == 0)
            r->eof = true;
        r->n += got;
    }
    return r->n - r->at;
}

void kj_raw_advance(struct kj_raw *r, size_t n)
{
    r->at += n;
    /* The last step stays: a search may go back. */
    while (r->mapped && r->at >= r->dropped + 2 * DROP_STEP) {
        madvise((char *)(uintptr_t)r->p + r->dropped, DROP_STEP, MADV_DONTNEED);
        r->dropped += DROP_STEP;
    }
}

int kj_raw_end(const struct kj_raw *r, struct kj_err *err)
{
    if (r->fault.rc >= 0)
        return KJ_EOF;
    if (err && err->rc >= 0)
        *err = r->fault;
    return r->fault.rc;
}

bool kj_raw_boundary(const char *p, size_t n, const char *magic, size_t magic_n)
{
    if (n == 0 || *p == 0)
        return true;
    return memcmp(p, magic, n < magic_n ? n : magic_n) == 0;
}

/* Set the cursor on the next member after a damaged one. `from`: where the
 * search may begin; `upto`: how far the damaged member could be read. Inside
 * of that, a candidate must prove itself more strictly, since a page may
 * itself hold a gzip stream. KJ_OK or KJ_EOF. */
static int resync(struct kj_raw *r, int64_t from, int64_t upto, const char *magic,
                  size_t magic_n, kj_raw_trial *trial, void *ctx)
{
    r->at = from > r->base ? (size_t)(from - r->base) : 0;
    if (r->mapped && r->at < r->dropped)
        r->dropped = r->at / DROP_STEP * DROP_STEP;
    for (;;) {
        size_t n = kj_raw_need(r, TRIAL);
        const char *p = r->p + r->at;
        const char *hit = n >= magic_n ? memmem(p, n, magic, magic_n) : NULL;
        if (!hit) {
            size_t tail = n < magic_n - 1 ? n : magic_n - 1;
            kj_raw_advance(r, r->eof ? n : n - tail);
            if (r->eof)
                return KJ_EOF;
            continue;
        }
        kj_raw_advance(r, (size_t)(hit - p));
        n = kj_raw_need(r, TRIAL);
        bool strict = kj_raw_tell(r) < upto;
        if (trial(ctx, r->p + r->at, n, !r->eof, strict))
            return KJ_OK;
        kj_raw_advance(r, 1);
    }
}

/* ---- shared by the decoders ---- */

void kj_unpack_room(struct kj_unpack *u, size_t n)
{
    if (u->out_size >= n)
        return;
    free(u->out);
    u->out = kj_xmalloc(n + KJ_BUF_PAD);
    u->out_size = n;
}

int kj_unpack_skip_zeros(struct kj_unpack *u, struct kj_err *err)
{
    struct kj_raw *r = u->raw;
    for (;;) {
        size_t n = kj_raw_need(r, 16), i = 0;
        if (n == 0) {
            u->state = KJ_AT_END;
            return kj_raw_end(r, err);
        }
        while (i < n && r->p[r->at + i] == 0)
            i++;
        kj_raw_advance(r, i);
        if (i < n)
            return KJ_OK;
    }
}

void kj_unpack_damage(struct kj_unpack *u, const char *why, bool junk)
{
    u->state = KJ_AT_DAMAGE;
    u->junk = junk;
    size_t n = strlen(why);
    if (n > sizeof u->why - 1)
        n = sizeof u->why - 1;
    memcpy(u->why, why, n);
    u->why[n] = 0;
}

int kj_unpack_report(struct kj_unpack *u, const char *unit, const char *magic,
                     size_t magic_n, kj_raw_trial *trial, void *ctx, struct kj_err *err)
{
    int64_t upto = kj_raw_tell(u->raw);
    /* Not at damage of its own, but of what feeds it. */
    if (u->raw->eof && u->raw->at == u->raw->n && u->raw->fault.rc < 0) {
        u->state = KJ_AT_END;
        return kj_raw_end(u->raw, err);
    }
    if (u->junk)
        kj_err_set(err, KJ_BAD_RECORD, "bytes that are no %s", unit);
    else
        kj_err_set(err, KJ_BAD_RECORD, "damaged %s: %s", unit, u->why);
    kj_err_where(err, NULL, u->member);
    int rc = resync(u->raw, u->member + 1, upto, magic, magic_n, trial, ctx);
    u->state = rc == KJ_OK ? KJ_AT_START : KJ_AT_END;
    return KJ_BAD_RECORD;
}

void kj_unpack_chunk(struct kj_unpack *u, struct kj_chunk *c, size_t n, bool last)
{
    *c = (struct kj_chunk){.p = u->out, .n = n, .member = u->member, .at = u->at};
    c->last = last;
    c->stored = last ? kj_raw_tell(u->raw) - u->member : -1;
    u->at += (int64_t)n;
    if (last)
        u->state = KJ_AT_START;
}
