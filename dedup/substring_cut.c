/* substring_cut.c - passages out of texts, between characters, sentences or
 * lines. */
#include "dedup/substring.h"

#include <stdbool.h>
#include <string.h>

#include "base/doc.h"
#include "base/err.h"
#include "base/unicode.h"

void kj_substring_reader_release(struct kj_substring_reader *r)
{
    kj_roster_reader_release(&r->roster);
    kj_spans_reader_release(&r->cuts);
    kj_buf_release(&r->symbols);
    kj_buf_release(&r->places);
    kj_buf_release(&r->removed);
    *r = (struct kj_substring_reader){0};
}

static void init_reader(struct kj_substring_reader *r)
{
    if (r->removed.cap)
        return;
    kj_buf_init(&r->symbols, (size_t)1 << 30);
    kj_buf_init(&r->places, (size_t)1 << 30);
    kj_buf_init(&r->removed, (size_t)1 << 30);
}

/* ---- edges ---- */

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* The mark that ends at p[n), if it is one of those, separated by spaces: its
 * length. */
static size_t ends_in(const char *p, size_t n, const char *const *list)
{
    for (; *list; list++) {
        size_t len = strlen(*list);
        if (len <= n && memcmp(p + n - len, *list, len) == 0)
            return len;
    }
    return 0;
}

/* Does a sentence end in front of p[at]? */
static bool sentence_at(const char *p, size_t n, size_t at)
{
    static const char *const stops[] = {".",      "!",      "?",      "\u2026",
                                        "\u3002", "\uFF01", "\uFF1F", "\u203C",
                                        "\u2047", "\u2049", NULL};
    static const char *const wide[] = {"\u3002", "\uFF01", "\uFF1F", NULL};
    static const char *const closing[] = {"\"",     "'",      ")",      "]",
                                          "\u2019", "\u201D", "\u300D", "\u300F",
                                          "\u300B", "\uFF09", NULL};
    if (at == 0 || at >= n || p[at - 1] == '\n')
        return true;
    size_t i = at, len;
    while (i > 0 && is_space(p[i - 1]))
        i--;
    bool spaced = i < at;
    if (is_space(p[at]))
        return false; /* the space belongs to what is before it */
    while ((len = ends_in(p, i, closing)) > 0)
        i -= len;
    return ends_in(p, i, spaced ? stops : wide) > 0;
}

static bool edge_at(enum kj_cut edge, const char *p, size_t n, size_t at)
{
    if (at == 0 || at >= n)
        return true;
    if (((unsigned char)p[at] & 0xC0) == 0x80)
        return false;
    return edge == KJ_CUT_CHAR ||
           (edge == KJ_CUT_LINE ? p[at - 1] == '\n' : sentence_at(p, n, at));
}

/* ---- cutting ---- */

static const uint32_t *places_of(const struct kj_substring_reader *r, size_t *n)
{
    *n = r->places.n / (2 * sizeof(uint32_t));
    return (const uint32_t *)(const void *)r->places.p;
}

/* Where symbol i begins, in bytes. */
static size_t byte_of(const struct kj_substring *s, const struct kj_substring_reader *r,
                      const struct kj_doc *d, uint64_t i)
{
    size_t n = d->text.n;
    const uint32_t *place = s->words ? places_of(r, &n) : NULL;
    if (i >= n)
        return d->text.n;
    return place ? place[2 * i] : (size_t)i;
}

/* Symbols that begin in front of a byte. */
static size_t symbol_at(const struct kj_substring *s,
                        const struct kj_substring_reader *r, size_t byte)
{
    size_t lo = 0, hi;
    if (!s->words)
        return byte;
    const uint32_t *place = places_of(r, &hi);
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (place[2 * mid] < byte)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* A piece of the passages that go, clipped to [from, to): to r. */
static int keep_piece(const struct kj_substring *s, struct kj_substring_reader *r,
                      struct kj_removed m, size_t from, size_t to)
{
    size_t end = m.at + m.n;
    if (m.at < from) {
        m.offset += symbol_at(s, r, from) - symbol_at(s, r, m.at);
        m.at = from;
    }
    if (end > to)
        end = to;
    if (end <= m.at)
        return KJ_OK;
    m.n = end - m.at;
    return kj_buf_add(&r->removed, (const char *)&m, sizeof m);
}

/* All pieces of a document, as bytes, into r->removed. */
static int list_pieces(const struct kj_substring *s, struct kj_substring_reader *r,
                       const struct kj_doc *d, struct kj_arena *a, struct kj_err *err)
{
    const uint64_t *rec;
    uint64_t at;
    bool full = false;
    int rc = kj_spans_find(&s->cuts, &r->cuts, d->serial << 32, &at, err);
    for (bool first = true; !rc && !full; at++, first = false) {
        rc = kj_spans_get(&s->cuts, &r->cuts, at, &rec, err);
        if (rc || !rec || rec[0] >> 32 != d->serial)
            break;
        if (first && s->words)
            full = kj_substring_words(&r->symbols, &r->places, d->text.p, d->text.n);
        struct kj_removed m = {
            byte_of(s, r, d, (uint32_t)rec[0]), 0, {NULL, 0}, rec[2]};
        m.n = byte_of(s, r, d, rec[1] >> 32) - m.at;
        rc = kj_roster_name(&s->roster, &r->roster, (uint32_t)rec[1], &m.keeper, err);
        m.keeper.p = rc ? NULL : kj_arena_dup(a, m.keeper.p, m.keeper.n);
        full |= !m.keeper.p || kj_buf_add(&r->removed, (const char *)&m, sizeof m);
    }
    if (!rc && full)
        rc = kj_err_set(err, KJ_FATAL, "a batch does not fit its memory");
    return rc;
}

/* Join what touches, make it smaller by the edges, and list it anew. */
static int trim_pieces(const struct kj_substring *s, struct kj_substring_reader *r,
                       const struct kj_doc *d, struct kj_arena *a)
{
    size_t n = r->removed.n / sizeof(struct kj_removed);
    struct kj_removed *v = (void *)kj_arena_dup(a, r->removed.p, r->removed.n);
    const char *p = d->text.p;
    int rc = v ? KJ_OK : KJ_BAD_RECORD;
    kj_buf_reset(&r->removed);
    for (size_t i = 0, k; i < n && !rc; i = k) {
        size_t from = v[i].at, to = from;
        for (k = i; k < n && v[k].at == to; k++)
            to += v[k].n;
        while (from < to && !edge_at(s->edge, p, d->text.n, from))
            from++;
        while (to > from && !edge_at(s->edge, p, d->text.n, to))
            to--;
        for (size_t m = i; m < k && !rc; m++)
            rc = keep_piece(s, r, v[m], from, to);
    }
    r->v = (const struct kj_removed *)(const void *)r->removed.p;
    r->n = r->removed.n / sizeof *r->v;
    return rc;
}

int kj_substring_cut(const struct kj_substring *s, struct kj_substring_reader *r,
                     struct kj_batch *b, const struct kj_doc *d, struct kj_str *left,
                     size_t *cut, struct kj_err *err)
{
    init_reader(r);
    kj_buf_reset(&r->removed);
    r->n = 0;
    *left = d->text;
    *cut = 0;
    int rc = kj_roster_check(&s->roster, &r->roster, d, err);
    if (!rc)
        rc = list_pieces(s, r, d, &b->arena, err);
    if (rc || !r->removed.n)
        return rc;
    char *out = NULL;
    if (!trim_pieces(s, r, d, &b->arena))
        out = kj_arena_alloc(&b->arena, d->text.n + 1);
    if (!out)
        return kj_err_set(err, KJ_FATAL, "a batch does not fit its memory");
    size_t n = 0, from = 0;
    for (size_t i = 0; i <= r->n; i++) {
        size_t to = i < r->n ? r->v[i].at : d->text.n;
        memcpy(out + n, d->text.p + from, to - from);
        n += to - from;
        if (i < r->n) {
            from = to + r->v[i].n;
            *cut += r->v[i].n;
        }
    }
    if (r->n)
        *left = (struct kj_str){out, n};
    return KJ_OK;
}
