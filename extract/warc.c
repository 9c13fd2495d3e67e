/* warc.c - framing of records.
 *
 * The walk. At a position that is not a version line, bytes are passed over up
 * to the next one. A header ends at the first empty line. Then:
 *
 *   Content-Length is a number, and behind that many bytes comes an empty
 *   line, or the next version line, or the end: the block is whole.
 *   The file ends before that: the block is cut; it ends at the next version
 *   line that is in it, else at the end.
 *   Neither: if a version line stands inside the block, the length was too
 *   large and the block ends there; else it was too small, and what follows is
 *   passed over as garbage.
 *   No number: the block goes up to the next version line.
 *
 * Only a window of the file is ever in memory, so "the next version line" is
 * looked for within KJ_WARC_BLOCK_MAX.
 */
#include "extract/warc.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/input.h"
#include "extract/arc.h"
#include "extract/lex.h"
#include "extract/warc_fields.h"
#include "extract/window.h"

#define HEAD_SEEN  ((size_t)16 << 10) /* looked at to tell what a file is */
#define TAIL       64                 /* bytes that decide what follows a block */
#define GARBAGE    ((size_t)1 << 20)  /* how far damage behind a record is looked for */
#define MAX_FAULTS 16

static const char garbage[] = "extract.warc_garbage";

struct fault {
    const char *rule;
    int64_t offset;
    int64_t lost;
    char msg[160];
};

struct kj_warc {
    struct kj_window win;
    int format; /* enum kj_warc_format, -1 not yet known */
    bool first;
    struct kj_buf head; /* the current header, unfolded */
    struct kj_warc_field *fields;
    struct fault faults[MAX_FAULTS]; /* to be told before the record */
    size_t n_faults, told;
    const char *rule;
    int64_t rule_offset, rule_lost;
    size_t consumed; /* bytes of the record last given, with its line ends */
    struct kj_warc_rec rec;
    int64_t from; /* stored offset at which reading began */
    bool have;    /* rec waits behind the faults */
    bool broken;  /* the window ends at damage, not at the end of the file */
};

struct kj_warc *kj_warc_new(struct kj_input *in)
{
    struct kj_warc *w = kj_xcalloc(1, sizeof *w);
    kj_window_init(&w->win, in,
                   KJ_WARC_BLOCK_MAX + KJ_WARC_HEAD_MAX + KJ_INPUT_MEMBER_MAX +
                       (8u << 20));
    kj_buf_init(&w->head, KJ_WARC_HEAD_MAX + 64);
    w->fields = kj_xcalloc(KJ_WARC_FIELDS_MAX, sizeof *w->fields);
    w->format = -1;
    w->first = true;
    w->from = kj_input_consumed(in);
    return w;
}

void kj_warc_free(struct kj_warc *w)
{
    if (!w)
        return;
    kj_window_release(&w->win);
    kj_buf_release(&w->head);
    free(w->fields);
    free(w);
}

static struct fault *fault(struct kj_warc *w, const char *rule, int64_t offset,
                           const char *fmt, ...) __attribute__((format(printf, 4, 5)));

static struct fault *fault(struct kj_warc *w, const char *rule, int64_t offset,
                           const char *fmt, ...)
{
    /* One record cannot have more to say that matters. */
    struct fault *f = &w->faults[w->n_faults - (w->n_faults == MAX_FAULTS)];
    if (w->n_faults == MAX_FAULTS)
        return f;
    w->n_faults++;
    f->rule = rule;
    f->offset = offset;
    f->lost = 0;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(f->msg, sizeof f->msg, fmt, ap);
    va_end(ap);
    return f;
}

/* Stored bytes that n decoded ones took, as this file goes. */
static int64_t stored_bytes(const struct kj_warc *w, uint64_t n)
{
    double decoded = (double)w->win.pos + (double)w->win.n;
    double stored = (double)kj_input_consumed(w->win.in) - (double)w->from;
    if (w->win.plain || decoded <= 0 || stored <= 0)
        return (int64_t)n;
    return (int64_t)((double)n * stored / decoded);
}

/* Stored bytes that damage cost: from where the member could not be read any
 * more (`upto`) to where reading goes on (`next`), and of what lies before, the
 * share of the record that had begun. Records of that member that stand before
 * it were given. */
static int64_t member_lost(const struct kj_warc *w, int64_t member, int64_t upto,
                           int64_t next)
{
    const struct kj_seg *s = kj_window_seg(&w->win, 0);
    int64_t end = w->win.pos + (int64_t)w->win.n;
    double share = 1;
    if (upto < member || upto > next)
        upto = member;
    if (s && s->member == member && !w->win.entries) {
        double had = (double)(w->win.pos - s->pos + s->at);
        double all = (double)(end - s->pos + s->at);
        share = all > 0 && had > 0 ? (all - had) / all : 1;
    }
    return next - upto + (int64_t)(share * (double)(upto - member));
}

/* A longer window: KJ_OK, KJ_EOF or KJ_FAIL. Damage is noted, and ends the
 * window as if the file ended there: what comes behind it is of another member,
 * and would be taken for the rest of the record that was hurt. */
static int more(struct kj_warc *w, struct kj_err *err)
{
    struct kj_err e = KJ_ERR_INIT;
    int64_t upto = kj_input_consumed(w->win.in);
    int rc = kj_window_fill(&w->win, &e);
    if (rc == KJ_BAD_RECORD) {
        fault(w, "extract.warc_member", e.pos, "%s", e.msg)->lost =
            member_lost(w, e.pos, upto, kj_input_consumed(w->win.in));
        w->broken = w->win.eof = true;
        return KJ_EOF;
    }
    if (rc < 0 && err && err->rc == KJ_OK)
        *err = e;
    return rc;
}

/* At least n bytes in the window, if the file has them. */
static int want(struct kj_warc *w, size_t n, struct kj_err *err)
{
    while (w->win.n < n) {
        int rc = more(w, err);
        if (rc == KJ_EOF)
            break;
        if (rc < 0)
            return rc;
    }
    return KJ_OK;
}

/* Pass over line ends; they may reach into the next chunk. */
static int skip_newlines(struct kj_warc *w, struct kj_err *err)
{
    for (;;) {
        size_t i = 0;
        while (i < w->win.n && (w->win.p[i] == '\r' || w->win.p[i] == '\n'))
            i++;
        kj_window_skip(&w->win, i);
        if (w->win.n > 0)
            return KJ_OK;
        int rc = more(w, err);
        if (rc != KJ_OK)
            return rc;
    }
}

/* Pass over bytes up to the next version line; they are garbage unless blank. */
static int resync(struct kj_warc *w, struct kj_err *err)
{
    int64_t start = kj_window_offset(&w->win, 0);
    uint64_t lost = 0;
    bool blank = true;
    char first = 0; /* what stands there first */
    int rc = KJ_OK;
    for (;;) {
        size_t at = kj_lex_find(w->win.p, 0, w->win.n);
        size_t go = at;
        if (at == w->win.n && !w->win.eof) /* one may straddle the end */
            go = w->win.n > TAIL ? w->win.n - TAIL : 0;
        for (size_t i = 0; blank && i < go; i++) {
            first = w->win.p[i];
            blank = kj_lex_is_blank(first) || first == '\n';
        }
        lost += go;
        kj_window_skip(&w->win, go);
        if (at < w->win.n + go)
            break;
        if ((rc = more(w, err)) != KJ_OK && w->win.n == 0)
            break;
        if (rc < 0)
            return rc;
    }
    if (!blank) {
        if (w->first && rc == KJ_EOF)
            fault(w, "extract.warc_none", start, "no WARC or ARC record in it%s",
                  first == '{' ? "; if it is JSONL, all other commands read it" : "")
                ->lost = stored_bytes(w, lost);
        else
            fault(w, garbage, start, "%llu bytes outside any record",
                  (unsigned long long)lost)
                ->lost = stored_bytes(w, lost);
    }
    return rc == KJ_EOF && w->win.n == 0 ? KJ_EOF : KJ_OK;
}

/* Pass over n bytes of a record that is too large to be held: KJ_DROP. */
static int too_large(struct kj_warc *w, int64_t at, uint64_t n, struct kj_err *err)
{
    uint64_t left = n;
    int rc = KJ_OK;
    while (left > 0 && rc == KJ_OK) {
        size_t k = w->win.n < left ? w->win.n : (size_t)left;
        kj_window_skip(&w->win, k);
        left -= k;
        if (left > 0)
            rc = more(w, err);
    }
    fault(w, "extract.warc_large", at, "block of %llu bytes", (unsigned long long)n)
        ->lost = stored_bytes(w, n - left);
    return rc < 0 ? rc : KJ_DROP;
}

/* What follows at `at`: is the block that ends there believable? */
static bool good_tail(const struct kj_window *v, size_t at)
{
    const char *p = v->p + at;
    size_t n = v->n - at;
    if (n == 0 || kj_lex_blank_line(p, n) || kj_lex_version(p, n))
        return true;
    size_t i = 0;
    while (i < n && p[i] == '\r')
        i++;
    if (i >= n || p[i] != '\n')
        return i == n && v->eof;
    while (i < n && (kj_lex_is_blank(p[i]) || p[i] == '\n'))
        i++;
    return i == n ? v->eof : kj_lex_version(p + i, n - i) > 0;
}

/* End of the block that starts at `h` and should hold `len` bytes. */
static int block_end(struct kj_warc *w, size_t h, uint64_t len, int64_t at, size_t *end,
                     struct kj_err *err)
{
    int rc = want(w, h + (size_t)len, err);
    if (rc < 0)
        return rc;
    if (w->win.n < h + len) {
        *end = kj_lex_find(w->win.p, h, w->win.n);
        fault(w, "extract.warc_cut", at, "record cut short: %zu of %llu bytes",
              w->win.n - h, (unsigned long long)len);
        w->rec.cut = true;
        return KJ_OK;
    }
    *end = h + (size_t)len;
    /* Ask for more only when what is here does not decide: a gzip member that
     * holds its record whole is then never copied. */
    if (good_tail(&w->win, *end) && w->win.n > *end)
        return KJ_OK;
    const struct kj_seg *s = kj_window_seg(&w->win, *end);
    if (w->win.n == *end && s && s->last && !w->win.plain)
        return KJ_OK;
    if ((rc = want(w, *end + TAIL, err)) < 0)
        return rc;
    if (good_tail(&w->win, *end))
        return KJ_OK;
    /* The line may begin inside the block and end behind it. */
    size_t seen = w->win.n < *end + TAIL ? w->win.n : *end + TAIL;
    size_t next = kj_lex_find(w->win.p, h, seen);
    if (next < *end) {
        fault(w, "extract.warc_length", at,
              "Content-Length runs past the next version line");
        *end = next;
    } else {
        fault(w, "extract.warc_length", at,
              "Content-Length too small, or garbage behind the block");
        /* It may be the garbage that a damaged member decodes to: look on, so
         * that the damage is known before the record is given. */
        if (!w->win.plain && (rc = want(w, *end + GARBAGE, err)) < 0)
            return rc;
    }
    return KJ_OK;
}

/* The block of a record without a usable Content-Length. */
static int block_open(struct kj_warc *w, size_t h, struct kj_str text, int64_t at,
                      size_t *end, struct kj_err *err)
{
    fault(w, "extract.warc_length", at, "%s",
          text.n ? "Content-Length is no number" : "no Content-Length");
    size_t from = h;
    for (;;) {
        size_t next = kj_lex_find(w->win.p, from, w->win.n);
        if (next < w->win.n || w->win.eof || w->win.n > h + KJ_WARC_BLOCK_MAX) {
            *end = next;
            return KJ_OK;
        }
        from = w->win.n > h + TAIL ? w->win.n - TAIL : h;
        int rc = more(w, err);
        if (rc < 0)
            return rc;
    }
}

/* Line ends behind the record at window byte `end`; sets what was consumed,
 * and the stored length where that is known. */
static int finish(struct kj_warc *w, size_t end, struct kj_err *err)
{
    struct kj_window *v = &w->win;
    for (;;) {
        while (end < v->n && (v->p[end] == '\r' || v->p[end] == '\n'))
            end++;
        const struct kj_seg *s = kj_window_seg(v, end);
        if (end < v->n || v->eof || (s && s->last && !v->plain))
            break;
        int rc = more(w, err);
        if (rc < 0)
            return rc;
    }
    w->consumed = end;
    w->rec.offset = kj_window_offset(v, 0);
    w->rec.length = -1;
    int64_t a = kj_window_start(v, 0), b = kj_window_start(v, end);
    if (v->plain)
        w->rec.length = (int64_t)end;
    else if (a >= 0 && b > a)
        w->rec.length = b - a;
    return KJ_OK;
}

/* One WARC record at the front of the window: KJ_OK, KJ_EOF, KJ_DROP (none
 * here, go on), KJ_FAIL. */
static int read_warc(struct kj_warc *w, struct kj_err *err)
{
    struct kj_window *v = &w->win;
    int rc = skip_newlines(w, err);
    if (rc != KJ_OK || (rc = want(w, TAIL, err)) < 0)
        return rc;
    size_t line = kj_lex_version(v->p, v->n);
    if (!line) {
        rc = resync(w, err);
        return rc == KJ_OK ? KJ_DROP : rc;
    }
    w->first = false;
    int64_t at = kj_window_offset(v, 0);
    size_t h, from = line - 1;
    while (!(h = kj_lex_head_end(v->p, from, v->n)) && !v->eof &&
           v->n < KJ_WARC_HEAD_MAX) {
        from = v->n > line + 2 ? v->n - 2 : line - 1;
        while (from > line - 1 && v->p[from] == '\r')
            from--;
        if ((rc = more(w, err)) < 0)
            return rc;
    }
    if (!h || h > KJ_WARC_HEAD_MAX) {
        fault(w, "extract.warc_head", at, "header without an end");
        if (v->n > KJ_WARC_HEAD_MAX) {
            kj_window_skip(v, line);
            return KJ_DROP;
        }
        h = v->n;
    }
    memset(&w->rec, 0, sizeof w->rec);
    w->rec.fields = w->fields;
    w->rec.n_fields = kj_warc_fields_parse(v->p + line, h - line, &w->head, w->fields);
    kj_warc_fields_fill(&w->rec);
    struct kj_str text = kj_warc_get(&w->rec, "content-length");
    uint64_t len = 0;
    size_t end = h;
    if (!kj_lex_number(text, &len)) {
        rc = block_open(w, h, text, at, &end, err);
    } else {
        if (len > KJ_WARC_BLOCK_MAX) {
            if ((rc = want(w, h + KJ_WARC_BLOCK_MAX + 1, err)) < 0)
                return rc;
            if (!v->eof || v->n > h + KJ_WARC_BLOCK_MAX) {
                kj_window_skip(v, h);
                return too_large(w, at, len, err);
            }
            len = KJ_WARC_BLOCK_MAX; /* more than there is: cut short */
        }
        rc = block_end(w, h, len, at, &end, err);
    }
    if (rc < 0 || (rc = finish(w, end, err)) < 0)
        return rc;
    w->rec.version = kj_lex_trim(v->p, line - 1);
    w->rec.block = (struct kj_str){v->p + h, end - h};
    return KJ_OK;
}

/* Does what stands at `at` follow a block of an ARC file? */
static bool good_arc_tail(const struct kj_window *v, size_t at)
{
    struct kj_arc_line a;
    size_t i = at;
    while (i < v->n && (v->p[i] == '\n' || v->p[i] == '\r'))
        i++;
    return i == v->n ? v->eof : kj_arc_parse(v->p + i, v->n - i, &a);
}

/* End of the block of an ARC record that should be [h, h + len). */
static int arc_block_end(struct kj_warc *w, size_t h, uint64_t len, int64_t at,
                         size_t *end, struct kj_err *err)
{
    struct kj_window *v = &w->win;
    int rc = want(w, h + (size_t)len, err);
    if (rc < 0)
        return rc;
    if (v->n < h + len) {
        *end = kj_arc_find(v->p, h, v->n);
        if (*end == v->n)
            fault(w, "extract.warc_cut", at, "record cut short: %zu of %llu bytes",
                  v->n - h, (unsigned long long)len);
        else
            fault(w, "extract.warc_length", at, "the length runs past the next record");
        w->rec.cut = *end == v->n;
        return KJ_OK;
    }
    *end = h + (size_t)len;
    const struct kj_seg *s = kj_window_seg(v, *end);
    if ((v->n == *end && s && s->last && !v->plain) || good_arc_tail(v, *end))
        return KJ_OK;
    if ((rc = want(w, *end + KJ_ARC_LINE_MAX, err)) < 0 || good_arc_tail(v, *end))
        return rc < 0 ? rc : KJ_OK;
    size_t seen = v->n < *end + KJ_ARC_LINE_MAX ? v->n : *end + KJ_ARC_LINE_MAX;
    size_t next = kj_arc_find(v->p, h, seen);
    if (next < *end) {
        fault(w, "extract.warc_length", at, "the length runs past the next record");
        *end = next;
    } else if (v->p[*end] != '\n' && v->p[*end] != '\r') {
        /* with a line end it is what follows that is damaged */
        fault(w, "extract.warc_length", at,
              "the length is too small, or garbage behind the block");
        if (!v->plain && (rc = want(w, *end + GARBAGE, err)) < 0)
            return rc;
    }
    return KJ_OK;
}

/* One ARC record; the same results. */
static int read_arc(struct kj_warc *w, struct kj_err *err)
{
    struct kj_window *v = &w->win;
    int rc = skip_newlines(w, err);
    if (rc != KJ_OK || (rc = want(w, KJ_ARC_LINE_MAX, err)) < 0)
        return rc;
    struct kj_arc_line a;
    int64_t at = kj_window_offset(v, 0);
    if (!kj_arc_parse(v->p, v->n, &a)) {
        size_t go = kj_arc_find(v->p, 0, v->n);
        if (go == v->n && !v->eof && go > KJ_ARC_LINE_MAX)
            go -= KJ_ARC_LINE_MAX; /* one may straddle the end */
        if (!w->n_faults || strcmp(w->faults[w->n_faults - 1].rule, garbage) != 0)
            fault(w, garbage, at, "bytes outside any record");
        w->faults[w->n_faults - 1].lost += stored_bytes(w, go);
        kj_window_skip(v, go);
        return KJ_DROP;
    }
    w->first = false;
    memset(&w->rec, 0, sizeof w->rec);
    uint64_t len = a.length > 0 ? (uint64_t)a.length : 0;
    if (a.length < 0)
        fault(w, "extract.warc_length", at, "negative length");
    if (len > KJ_WARC_BLOCK_MAX) {
        kj_window_skip(v, a.size);
        return too_large(w, at, len, err);
    }
    size_t end;
    if ((rc = arc_block_end(w, a.size, len, at, &end, err)) < 0 ||
        (rc = finish(w, end, err)) < 0)
        return rc;
    kj_arc_parse(v->p, v->n, &a); /* the window may have moved */
    kj_buf_reset(&w->head);
    kj_buf_reserve(&w->head, a.uri.n + 32);
    kj_buf_add(&w->head, a.uri.p, a.uri.n);
    w->rec.uri = (struct kj_str){w->head.p, a.uri.n};
    kj_buf_add(&w->head, a.iso, strlen(a.iso));
    w->rec.date = (struct kj_str){w->head.p + a.uri.n, strlen(a.iso)};
    snprintf(w->rec.type, sizeof w->rec.type, "%s", a.filedesc ? "filedesc" : "arc");
    w->rec.version = KJ_STR("ARC");
    w->rec.block = (struct kj_str){v->p + a.size, end - a.size};
    return KJ_OK;
}

/* A file that means to be ARC, even if its first line is not as it should be. */
static bool is_arc(const char *p, size_t n)
{
    struct kj_arc_line a;
    return (n > 9 && memcmp(p, "filedesc:", 9) == 0) || kj_arc_parse(p, n, &a);
}

static enum kj_warc_format tell_format(const char *p, size_t n)
{
    size_t near = n < 4096 ? n : 4096, i = 0;
    while (i < near && (kj_lex_is_blank(p[i]) || p[i] == '\n'))
        i++;
    if (kj_lex_find(p, 0, near) < near)
        return KJ_WARC_WARC;
    if (is_arc(p + i, n - i))
        return KJ_WARC_ARC;
    /* Its first line may be damaged; but pages may quote one. */
    return i < n && p[i] != '<' && kj_arc_find(p, i, n) < n ? KJ_WARC_ARC
                                                            : KJ_WARC_NONE;
}

int kj_warc_format(struct kj_warc *w, struct kj_str *head, struct kj_err *err)
{
    while (w->format < 0) {
        int rc = want(w, HEAD_SEEN, err);
        if (rc < 0)
            return rc;
        size_t n = w->win.n < HEAD_SEEN ? w->win.n : HEAD_SEEN;
        w->format = tell_format(w->win.p, n);
        if (w->format == KJ_WARC_NONE && w->broken && !(n && w->win.p[0] == '<') &&
            w->n_faults < MAX_FAULTS / 2) {
            /* nothing to be told from what is left of the first members */
            kj_window_skip(&w->win, w->win.n);
            w->broken = w->win.eof = false;
            w->format = -1;
        }
    }
    if (head)
        *head = (struct kj_str){w->win.p, w->win.n};
    return w->format;
}

int kj_warc_whole(struct kj_warc *w, struct kj_str *all, struct kj_err *err)
{
    int rc = want(w, KJ_WARC_BLOCK_MAX + 1, err);
    if (rc < 0)
        return rc;
    if (w->win.n > KJ_WARC_BLOCK_MAX)
        return kj_err_set(err, KJ_BAD_RECORD, "more than %zu bytes", KJ_WARC_BLOCK_MAX);
    *all = (struct kj_str){w->win.p, w->win.n};
    return KJ_OK;
}

int kj_warc_next(struct kj_warc *w, struct kj_warc_rec *rec, struct kj_err *err)
{
    int rc = KJ_DROP;
    if (!w->have && w->told == w->n_faults) {
        w->told = w->n_faults = 0;
        if (w->format < 0 && (rc = kj_warc_format(w, NULL, err)) < 0)
            return rc;
        kj_window_skip(&w->win, w->consumed);
        w->consumed = 0;
        do {
            rc = w->format == KJ_WARC_ARC ? read_arc(w, err) : read_warc(w, err);
            if (rc == KJ_EOF && w->broken) { /* go on behind the damage */
                kj_window_skip(&w->win, w->win.n);
                w->broken = w->win.eof = false;
                rc = KJ_DROP;
            }
        } while (rc == KJ_DROP && w->n_faults < MAX_FAULTS / 2);
        if (rc < 0)
            return rc;
        w->have = rc == KJ_OK;
    }
    if (w->told < w->n_faults) {
        const struct fault *f = &w->faults[w->told++];
        w->rule = f->rule;
        w->rule_offset = f->offset;
        w->rule_lost = f->lost;
        kj_err_set(err, KJ_BAD_RECORD, "%s", f->msg);
        kj_err_where(err, kj_input_name(w->win.in), f->offset);
        return KJ_BAD_RECORD;
    }
    if (!w->have)
        return KJ_EOF;
    w->have = false;
    *rec = w->rec;
    return KJ_OK;
}

const char *kj_warc_rule(const struct kj_warc *w)
{
    return w->rule;
}

int64_t kj_warc_fault_offset(const struct kj_warc *w)
{
    return w->rule_offset;
}

int64_t kj_warc_fault_lost(const struct kj_warc *w)
{
    return w->rule_lost;
}

int64_t kj_warc_restart(const struct kj_warc *w)
{
    return kj_window_start(&w->win, w->consumed);
}

int64_t kj_warc_consumed(const struct kj_warc *w)
{
    return kj_input_consumed(w->win.in);
}

int64_t kj_warc_size(const struct kj_warc *w)
{
    return kj_input_size(w->win.in);
}
