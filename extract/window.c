/* window.c - see window.h. */
#include "extract/window.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/err.h"

void kj_window_init(struct kj_window *w, struct kj_input *in, size_t cap)
{
    memset(w, 0, sizeof *w);
    w->in = in;
    w->p = "";
    kj_buf_init(&w->buf, cap);
}

void kj_window_release(struct kj_window *w)
{
    if (w->z_live)
        inflateEnd(w->z);
    free(w->z);
    free(w->segs);
    kj_buf_release(&w->buf);
    kj_input_close(w->in);
    memset(w, 0, sizeof *w);
}

static void seg_add(struct kj_window *w, struct kj_seg s)
{
    /* Only runs that end before the window are forgotten, and never the last
     * one: it tells whether a member has just ended. */
    size_t drop = 0;
    while (drop + 1 < w->n_segs && w->segs[drop].pos + w->segs[drop].n <= w->pos)
        drop++;
    if (drop) {
        w->n_segs -= drop;
        memmove(w->segs, w->segs + drop, w->n_segs * sizeof *w->segs);
    }
    if (w->n_segs == w->cap_segs) {
        w->cap_segs = w->cap_segs ? 2 * w->cap_segs : 8;
        w->segs = kj_xrealloc(w->segs, w->cap_segs * sizeof *w->segs);
    }
    w->segs[w->n_segs++] = s;
}

/* Move what is left of the window to the front of the buffer. */
static int own(struct kj_window *w, size_t room, struct kj_err *err)
{
    if (w->owned && w->off) {
        memmove(w->buf.p, w->buf.p + w->off, w->n);
        w->buf.n = w->n;
        w->off = 0;
    } else if (!w->owned) {
        kj_buf_reset(&w->buf);
        if (kj_buf_add(&w->buf, w->p, w->n) < 0)
            goto full;
        w->owned = true;
        w->off = 0;
    }
    if (kj_buf_reserve(&w->buf, room) < 0)
        goto full;
    w->p = w->buf.p;
    return KJ_OK;
full:
    return kj_err_set(err, KJ_FAIL, "more than %zu bytes in one record", w->buf.cap);
}

static int append(struct kj_window *w, const char *p, size_t n, struct kj_err *err)
{
    if (w->n == 0) { /* the common case: hand the chunk through */
        w->p = p;
        w->n = n;
        w->owned = false;
        return KJ_OK;
    }
    int rc = own(w, n, err);
    if (rc < 0)
        return rc;
    kj_buf_add(&w->buf, p, n);
    w->p = w->buf.p;
    w->n = w->buf.n;
    return KJ_OK;
}

/* Names of entries that hold records: *.warc, *.arc, with or without .gz. */
static bool entry_wanted(const char *name)
{
    size_t n = strlen(name);
    if (n > 3 && memcmp(name + n - 3, ".gz", 3) == 0)
        n -= 3;
    return (n >= 5 && memcmp(name + n - 5, ".warc", 5) == 0) ||
           (n >= 4 && memcmp(name + n - 4, ".arc", 4) == 0);
}

/* Unpack a piece of a gzip file that lies inside another archive. */
static int gunzip(struct kj_window *w, const struct kj_chunk *c, struct kj_err *err)
{
    size_t room = 256 * 1024;
    int rc = own(w, room, err);
    if (rc < 0)
        return rc;
    w->z->next_in = (Bytef *)(uintptr_t)c->p;
    w->z->avail_in = (uInt)c->n;
    while (w->z->avail_in > 0) {
        if (!w->z_live) {
            if (inflateInit2(w->z, 31) != Z_OK)
                return kj_err_set(err, KJ_FATAL, "zlib: no memory");
            w->z_live = true;
        }
        if (kj_buf_reserve(&w->buf, room) < 0)
            return kj_err_set(err, KJ_FAIL, "more than %zu bytes in one record",
                              w->buf.cap);
        w->z->next_out = (Bytef *)w->buf.p + w->buf.n;
        w->z->avail_out = (uInt)room;
        int z = inflate(w->z, Z_NO_FLUSH);
        w->buf.n += room - w->z->avail_out;
        w->p = w->buf.p;
        w->n = w->buf.n;
        if (z == Z_STREAM_END) {
            inflateEnd(w->z);
            w->z_live = false;
        } else if (z != Z_OK && !(z == Z_BUF_ERROR && w->z->avail_out == 0)) {
            w->entry_mode = 1; /* the rest of this entry is lost */
            inflateEnd(w->z);
            w->z_live = false;
            kj_err_where(err, kj_input_name(w->in), c->member);
            return kj_err_set(err, KJ_BAD_RECORD, "%s: gzip member damaged", w->entry);
        }
    }
    return KJ_OK;
}

static void enter(struct kj_window *w, const struct kj_chunk *c)
{
    if (strncmp(w->entry, c->entry, sizeof w->entry - 1) != 0) {
        snprintf(w->entry, sizeof w->entry, "%s", c->entry);
        w->entry_mode = 0;
        if (w->z_live)
            inflateEnd(w->z);
        w->z_live = false;
    }
    if (w->entry_mode || c->n == 0)
        return;
    w->entry_mode = !entry_wanted(w->entry)                        ? 1
                    : c->n > 1 && memcmp(c->p, "\x1f\x8b", 2) == 0 ? 3
                                                                   : 2;
    if (w->entry_mode == 3 && !w->z)
        w->z = kj_xcalloc(1, sizeof *w->z);
}

int kj_window_fill(struct kj_window *w, struct kj_err *err)
{
    struct kj_chunk c = {0};
    if (w->eof)
        return KJ_EOF;
    /* The chunk in view dies with the next call, so save its rest first. */
    if (w->n > 0 && !w->owned) {
        int rc = own(w, 0, err);
        if (rc < 0)
            return rc;
    }
    int rc = kj_input_chunk(w->in, &c, err);
    if (rc == KJ_EOF)
        w->eof = true;
    if (rc != KJ_OK)
        return rc;
    if (w->n_segs == 0)
        w->plain = strcmp(kj_input_kind(w->in), "plain") == 0;
    size_t before = w->n;
    if (c.entry) {
        w->entries = true;
        enter(w, &c);
        if (w->entry_mode < 2)
            return KJ_OK;
        rc = w->entry_mode == 3 ? gunzip(w, &c, err) : append(w, c.p, c.n, err);
    } else if (c.n > 0) {
        rc = append(w, c.p, c.n, err);
    }
    seg_add(w, (struct kj_seg){.pos = w->pos + (int64_t)before,
                               .n = (int64_t)(w->n - before),
                               .member = c.member,
                               .at = c.at,
                               .last = c.last,
                               .stored = c.stored});
    return rc;
}

void kj_window_skip(struct kj_window *w, size_t n)
{
    w->p += n;
    w->n -= n;
    w->pos += (int64_t)n;
    if (w->owned)
        w->off += n;
}

const struct kj_seg *kj_window_seg(const struct kj_window *w, size_t i)
{
    int64_t pos = w->pos + (int64_t)i;
    for (size_t s = w->n_segs; s-- > 0;)
        if (w->segs[s].pos <= pos && (w->segs[s].n > 0 || w->segs[s].pos == pos))
            return &w->segs[s];
    return w->n_segs ? &w->segs[0] : NULL;
}

int64_t kj_window_offset(const struct kj_window *w, size_t i)
{
    const struct kj_seg *s = kj_window_seg(w, i);
    if (!s)
        return 0;
    return w->plain ? s->member + (w->pos + (int64_t)i - s->pos) : s->member;
}

int64_t kj_window_start(const struct kj_window *w, size_t i)
{
    const struct kj_seg *s = kj_window_seg(w, i);
    if (!s)
        return w->entries ? -1 : 0;
    if (w->entries)
        return -1;
    int64_t in_seg = w->pos + (int64_t)i - s->pos;
    if (w->plain)
        return s->member + in_seg;
    if (s->last && in_seg == s->n)
        return s->member + s->stored;
    return s->at + in_seg == 0 ? s->member : -1;
}
