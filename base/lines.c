/* lines.c - lines over an input's chunks.
 *
 * A line inside of one chunk is given where it lies; only a line that spans
 * chunks is gathered in a buffer. Damage drops the line that it interrupted:
 * its other half is lost.
 */
#include "base/input.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"

struct kj_lines {
    struct kj_input *in;
    struct kj_chunk c;
    size_t i; /* cursor in the chunk */
    struct kj_buf part;
    bool in_part;  /* a line began in an earlier chunk */
    bool too_long; /* it is over max: skip to its end */
    bool ended;
    int64_t member, at; /* of the line in part */
    size_t max;
};

struct kj_lines *kj_lines_new(struct kj_input *in, size_t max)
{
    struct kj_lines *l = kj_xcalloc(1, sizeof *l);
    l->in = in;
    l->max = max;
    kj_buf_init(&l->part, max + 2);
    return l;
}

void kj_lines_free(struct kj_lines *l)
{
    if (!l)
        return;
    kj_buf_release(&l->part);
    free(l);
}

/* Where in the store the byte at the cursor lies. A plain chunk is its own
 * member: a line there is addressed by its own offset. */
static void place(const struct kj_lines *l, int64_t *member, int64_t *at)
{
    bool plain = strcmp(kj_input_kind(l->in), "plain") == 0;
    *member = plain ? l->c.member + (int64_t)l->i : l->c.member;
    *at = plain ? 0 : l->c.at + (int64_t)l->i;
}

bool kj_lines_place(const struct kj_lines *l, int64_t *member, int64_t *at)
{
    if (l->in_part || l->c.n == 0 || l->c.entry)
        return false;
    place(l, member, at);
    return true;
}

static int too_long(struct kj_lines *l, int64_t member, struct kj_err *err)
{
    kj_err_set(err, KJ_BAD_RECORD, "line over %zu bytes", l->max);
    kj_err_where(err, kj_input_name(l->in), member);
    return KJ_BAD_RECORD;
}

/* Keep [i, i + n) of the chunk as a part of a longer line. */
static void hold(struct kj_lines *l, size_t n)
{
    if (!l->in_part) {
        place(l, &l->member, &l->at);
        l->in_part = true;
        l->too_long = false;
        kj_buf_reset(&l->part);
    }
    /* One byte more than max may be the \r of a line that fits. */
    if (!l->too_long &&
        (l->part.n + n > l->max + 1 || kj_buf_add(&l->part, l->c.p + l->i, n)))
        l->too_long = true;
    l->i += n;
}

/* The line is complete: in part, or [p, n). */
static int give(struct kj_lines *l, const char **p, size_t *n, struct kj_err *err)
{
    if (*n > 0 && (*p)[*n - 1] == '\r')
        --*n;
    if (l->too_long || *n > l->max) {
        l->too_long = false;
        return too_long(l, l->member, err);
    }
    return KJ_OK;
}

static int give_part(struct kj_lines *l, const char **p, size_t *n, int64_t *member,
                     int64_t *at, struct kj_err *err)
{
    l->in_part = false;
    *p = l->part.p ? l->part.p : "";
    *n = l->part.n;
    *member = l->member;
    *at = l->at;
    return give(l, p, n, err);
}

static int next_chunk(struct kj_lines *l, struct kj_err *err)
{
    l->i = 0;
    l->c.n = 0;
    int rc = kj_input_chunk(l->in, &l->c, err);
    if (rc) {
        l->c.n = 0;
        l->ended = rc == KJ_EOF || rc <= KJ_FAIL;
    }
    if (rc < 0)
        l->in_part = l->too_long = false;
    return rc;
}

int kj_lines_skip(struct kj_lines *l, int64_t bytes, struct kj_err *err)
{
    while (bytes > 0) {
        if (l->i == l->c.n) {
            int rc = next_chunk(l, err);
            if (rc == KJ_EOF)
                return kj_err_set(err, KJ_FAIL, "%s is shorter than it was",
                                  kj_input_name(l->in));
            if (rc)
                return rc;
        }
        size_t n = l->c.n - l->i;
        n = bytes < (int64_t)n ? (size_t)bytes : n;
        l->i += n;
        bytes -= (int64_t)n;
    }
    return KJ_OK;
}

int kj_lines_next(struct kj_lines *l, const char **p, size_t *n, int64_t *member,
                  int64_t *at, struct kj_err *err)
{
    for (;;) {
        if (l->i == l->c.n) {
            int rc = l->ended ? KJ_EOF : next_chunk(l, err);
            if (rc == KJ_EOF && l->in_part)
                return give_part(l, p, n, member, at, err);
            if (rc)
                return rc;
            continue;
        }
        const char *s = l->c.p + l->i;
        size_t left = l->c.n - l->i;
        const char *nl = memchr(s, '\n', left);
        if (!nl) {
            hold(l, left);
            continue;
        }
        size_t len = (size_t)(nl - s);
        if (l->in_part) {
            hold(l, len);
            l->i++;
            return give_part(l, p, n, member, at, err);
        }
        place(l, member, at);
        l->member = *member;
        l->i += len + 1;
        *p = s;
        *n = len;
        return give(l, p, n, err);
    }
}
