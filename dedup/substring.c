/* substring.c - which windows came before, without a suffix array.
 *
 * A suffix array of the corpus (as in Lee et al., Deduplicating Training Data
 * Makes Language Models Better, 2022) answers a harder question than the one
 * that is asked: only matches of a whole window count. Winnowing (winnow.h)
 * gives each window an anchor that depends on its content alone, and there are
 * some 200 times fewer anchors than windows of 500 bytes. A window can only have
 * come before if the hash of its anchor has. So:
 *
 *   1. all anchors are sorted by hash; those that stand alone are done with
 *   2. the others are sorted by hash, stretch, and order of documents. Of those
 *      with equal stretches the first stays and all others are cut: window by
 *      window they are copies of it. If a hash has one stretch only, its first
 *      one is the first occurrence of all of its windows, and done with
 *   3. what is left are the first ones of different stretches with one hash (the
 *      ends of repeated passages), and copies that overlap their first. Their
 *      windows are hashed, each for itself, in a second reading, and sorted:
 *      the first of each kind stays, the others are cut
 *
 * This is exact. Let f be the first occurrence of a window, g another one. Their
 * anchors have one hash, so both are in 2. If g's stretch is not the first of
 * its kind, it is cut there, by a copy that came before. If f's were not the
 * first of its kind, that one would have the same window at the same place in
 * it, before f: so f's stretch is a first one, and if g's is of another kind or
 * overlaps it, both are in 3, and compared.
 *
 * Measured against libdivsufsort, which tests/unit/dedup/test_substring.c uses
 * as the oracle: see docs/benchmarks.md.
 */
#include "dedup/substring.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/doc.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/stage.h"
#include "base/unicode.h"
#include "dedup/extsort.h"
#include "dedup/identity.h"
#include "dedup/winnow.h"

#define RANGES 0x53474E52 /* RNGS */
#define PIECES 0x43454950 /* PIEC */

/* Beyond this many windows of a document the collector hashes them, one by
 * one: they do not fit a batch's memory. */
enum { MOST_WINDOWS = 1 << 20 };

struct worker {
    struct kj_winnower winnower;
    struct kj_buf symbols, places;
    struct kj_spans_reader ranges;
};

/* Of one document. First reading: anchors and loops; second: windows. */
struct found {
    uint32_t check;
    uint64_t key[KJ_ROSTER_KEY];
    struct kj_anchor *anchors;
    struct kj_loop *loops;
    size_t n_anchors, n_loops;
    struct window *windows;
    size_t n_windows;
    bool many;
};

struct window {
    struct kj_hash128 h;
    uint64_t at;
};

struct survey {
    struct kj_substring *s;
    const char *dir;
    struct worker *workers; /* one more than threads: the collector's */
    unsigned threads;
    size_t share;
    struct kj_extsort anchors, again, open, windows, cuts;
    struct kj_spans ranges; /* document << 32 | first window, last window */
};

/* Runs of so many symbols are hashed. Short ones stand in many texts that do
 * not repeat: with windows of 500 bytes, 25 MB of English took 1.33 s at 16
 * bytes, 0.52 s at 32, 0.38 s at 62. */
static size_t gram_of(const struct kj_substring *s)
{
    size_t n = s->words ? s->window / 4 : s->window / 8, least = s->words ? 3 : 8;
    size_t most = s->words ? 16 : 64;
    n = n < least ? least : n > most ? most : n;
    return n < s->window ? n : s->window;
}

/* ---- symbols ---- */

static bool is_blank(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i] != ' ' && (p[i] < '\t' || p[i] > '\r'))
            return false;
    return true;
}

int kj_substring_words(struct kj_buf *symbols, struct kj_buf *places, const char *p,
                       size_t n)
{
    int rc = KJ_OK;
    kj_buf_reset(symbols);
    kj_buf_reset(places);
    for (size_t at = 0, next; at < n && !rc; at = next) {
        next = kj_uni_word_next(p, n, at);
        if (is_blank(p + at, next - at))
            continue;
        uint64_t h = kj_hash64(p + at, next - at, 0);
        uint32_t place[2] = {(uint32_t)at, (uint32_t)next};
        rc = kj_buf_add(symbols, (const char *)&h, sizeof h);
        if (!rc)
            rc = kj_buf_add(places, (const char *)place, sizeof place);
    }
    return rc;
}

/* The document's symbols: their number and where they are. */
static int symbols_of(const struct kj_substring *s, struct worker *w,
                      const struct kj_doc *d, const char **p, size_t *n)
{
    *p = d->text.p;
    *n = d->text.n;
    if (!s->words)
        return KJ_OK;
    int rc = kj_substring_words(&w->symbols, &w->places, d->text.p, d->text.n);
    *p = w->symbols.p;
    *n = w->symbols.n / sizeof(uint64_t);
    return rc;
}

static int too_large(struct kj_err *err)
{
    return kj_err_set(err, KJ_FATAL, "a batch does not fit its memory");
}

/* ---- the first reading ---- */

static int find_anchors(struct survey *v, struct worker *w, const struct kj_doc *d,
                        struct kj_arena *a, struct found *f)
{
    struct kj_substring *s = v->s;
    const char *p;
    size_t n;
    f->check = kj_dedup_check(d);
    kj_roster_key(s->policy, s->field, d, f->key);
    int rc = symbols_of(s, w, d, &p, &n);
    if (!rc)
        rc = kj_winnow(&w->winnower, p, n, s->words);
    if (rc)
        return rc;
    const struct kj_buf *an = &w->winnower.anchors, *lo = &w->winnower.loops;
    f->n_anchors = an->n / sizeof *f->anchors;
    f->n_loops = lo->n / sizeof *f->loops;
    f->anchors = (void *)kj_arena_dup(a, an->p, an->n);
    f->loops = (void *)kj_arena_dup(a, lo->p, lo->n);
    return f->anchors && f->loops ? KJ_OK : KJ_BAD_RECORD;
}

static int work_anchors(void *ctx, unsigned worker, struct kj_batch *b,
                        struct kj_err *err)
{
    struct survey *v = ctx;
    struct found *f = kj_arena_zalloc(&b->arena, (b->n + 1) * sizeof *f);
    int rc = f ? KJ_OK : KJ_BAD_RECORD;
    b->aux = f;
    for (size_t i = 0; i < b->n && !rc; i++)
        if (kj_doc_kept(&b->docs[i]))
            rc = find_anchors(v, &v->workers[worker], &b->docs[i], &b->arena, &f[i]);
    return rc ? too_large(err) : KJ_OK;
}

/* Symbols [from, end) of doc stand at `at` of keeper. */
static int cut(struct survey *v, uint64_t doc, uint64_t from, uint64_t end,
               uint64_t keeper, uint64_t at, struct kj_err *err)
{
    /* of those that begin at one place the longest first */
    uint64_t rec[3] = {doc << 32 | from, (UINT32_MAX - end) << 32 | keeper, at};
    return kj_extsort_add(&v->cuts, rec, err);
}

static int collect_anchors(void *ctx, struct kj_batch *b, struct kj_err *err)
{
    struct survey *v = ctx;
    const struct found *f = b->aux;
    int rc = KJ_OK;
    for (size_t i = 0; i < b->n && !rc; i++) {
        const struct kj_doc *d = &b->docs[i];
        if (!f[i].check)
            continue;
        rc = kj_roster_add(&v->s->roster, d->serial, f[i].check, d->id, f[i].key, err);
        for (size_t k = 0; k < f[i].n_anchors && !rc; k++) {
            const struct kj_anchor *a = &f[i].anchors[k];
            uint64_t rec[5] = {a->hash, a->same.hi, a->same.lo,
                               d->serial << 32 | a->from, a->to};
            rc = kj_extsort_add(&v->anchors, rec, err);
        }
        for (size_t k = 0; k < f[i].n_loops && !rc; k++) {
            const struct kj_loop *l = &f[i].loops[k];
            rc = cut(v, d->serial, l->from, l->end, d->serial, l->from - l->back, err);
        }
    }
    return rc;
}

/* ---- step 1: hashes that come again ---- */

static int take_again(struct survey *v, const uint64_t *r, struct kj_err *err)
{
    uint64_t doc = r[3] >> 32, from = (uint32_t)r[3];
    uint64_t rec[5] = {r[0], r[1], r[2], (uint64_t)v->s->roster.rank[doc] << 32 | from,
                       doc << 32 | r[4]};
    v->s->repeated++;
    return kj_extsort_add(&v->again, rec, err);
}

static int find_again(struct survey *v, struct kj_err *err)
{
    const uint64_t *r;
    uint64_t last[5] = {0};
    bool any = false, taken = false;
    int rc = kj_extsort_sort(&v->anchors, err);
    while (!rc && (rc = kj_extsort_next(&v->anchors, &r, err)) == KJ_OK) {
        bool again = any && r[0] == last[0];
        if (again && !taken)
            rc = take_again(v, last, err);
        if (again && !rc)
            rc = take_again(v, r, err);
        taken = again;
        any = true;
        memcpy(last, r, sizeof last);
    }
    v->s->anchors = v->anchors.total;
    kj_extsort_release(&v->anchors);
    return rc == KJ_EOF ? KJ_OK : rc;
}

/* ---- step 2: equal stretches ---- */

/* A stretch whose windows are to be compared one by one. */
static int leave_open(struct survey *v, const uint64_t *r, struct kj_err *err)
{
    uint64_t doc = r[4] >> 32, from = (uint32_t)r[3], to = (uint32_t)r[4];
    v->s->windows += to - from + 1;
    return kj_extsort_add(&v->open, (uint64_t[]){doc << 32 | from, to}, err);
}

static int find_equal(struct survey *v, struct kj_err *err)
{
    const uint64_t *r;
    uint64_t first[5] = {0}; /* of its kind */
    bool any = false, open = false, several = false;
    int rc = kj_extsort_sort(&v->again, err);
    while (!rc && (rc = kj_extsort_next(&v->again, &r, err)) == KJ_OK) {
        bool hash = any && r[0] == first[0];
        if (hash && r[1] == first[1] && r[2] == first[2]) {
            uint64_t doc = r[4] >> 32, from = (uint32_t)r[3], to = (uint32_t)r[4];
            uint64_t at = (uint32_t)first[3];
            if (r[3] >> 32 != first[3] >> 32 || from - at >= v->s->window) {
                rc = cut(v, doc, from, to + v->s->window, first[4] >> 32, at, err);
                continue;
            }
            if (!open)
                rc = leave_open(v, first, err);
            open = true;
            if (!rc)
                rc = leave_open(v, r, err);
            continue;
        }
        several = hash; /* this hash has kinds before this one */
        if (hash && !open)
            rc = leave_open(v, first, err);
        memcpy(first, r, sizeof first);
        any = true;
        open = several;
        if (open && !rc)
            rc = leave_open(v, first, err);
    }
    kj_extsort_release(&v->again);
    return rc == KJ_EOF ? KJ_OK : rc;
}

static int list_open(struct survey *v, struct kj_err *err)
{
    const uint64_t *r;
    int rc = kj_spans_begin(&v->ranges, 2, v->dir, RANGES, &v->s->budget, err);
    if (!rc)
        rc = kj_extsort_sort(&v->open, err);
    while (!rc && (rc = kj_extsort_next(&v->open, &r, err)) == KJ_OK)
        rc = kj_spans_add(&v->ranges, r, err);
    kj_extsort_release(&v->open);
    return rc == KJ_EOF ? kj_spans_finish(&v->ranges, err) : rc;
}

/* ---- step 3: windows, one by one ---- */

/* Call take for each window of d that is open. */
static int each_window(struct survey *v, struct worker *w, const struct kj_doc *d,
                       int (*take)(void *ctx, struct kj_hash128 h, uint64_t at,
                                   struct kj_err *err),
                       void *ctx, struct kj_err *err)
{
    const struct kj_substring *s = v->s;
    const uint64_t *r;
    uint64_t at;
    const char *p = NULL;
    size_t n = 0, size = s->words ? 8 : 1;
    int rc = kj_spans_find(&v->ranges, &w->ranges, d->serial << 32, &at, err);
    for (; !rc; at++) {
        rc = kj_spans_get(&v->ranges, &w->ranges, at, &r, err);
        if (rc || !r || r[0] >> 32 != d->serial)
            break;
        uint64_t from = (uint32_t)r[0], to = r[1];
        if (!p && symbols_of(s, w, d, &p, &n))
            return too_large(err);
        if (to + s->window > n)
            return kj_err_set(err, KJ_FATAL, "the input changed between two readings");
        for (; from <= to && !rc; from++)
            rc = take(ctx, kj_hash128(p + from * size, s->window * size), from, err);
    }
    return rc;
}

struct counting {
    struct found *f;
    struct survey *v;
    uint64_t doc;
};

static int to_found(void *ctx, struct kj_hash128 h, uint64_t at, struct kj_err *err)
{
    struct found *f = ((struct counting *)ctx)->f;
    (void)err;
    f->windows[f->n_windows++] = (struct window){h, at};
    return KJ_OK;
}

static int to_sorter(void *ctx, struct kj_hash128 h, uint64_t at, struct kj_err *err)
{
    struct counting *c = ctx;
    uint64_t rank = c->v->s->roster.rank[c->doc];
    return kj_extsort_add(&c->v->windows,
                          (uint64_t[]){h.hi, h.lo, rank << 32 | at, c->doc}, err);
}

/* How many windows of a document are open? */
static int count_windows(struct survey *v, struct worker *w, uint64_t doc, uint64_t *n,
                         struct kj_err *err)
{
    const uint64_t *r;
    uint64_t at;
    *n = 0;
    int rc = kj_spans_find(&v->ranges, &w->ranges, doc << 32, &at, err);
    while (!rc && !(rc = kj_spans_get(&v->ranges, &w->ranges, at++, &r, err)) && r &&
           r[0] >> 32 == doc)
        *n += r[1] - (uint32_t)r[0] + 1;
    return rc;
}

static int work_windows(void *ctx, unsigned worker, struct kj_batch *b,
                        struct kj_err *err)
{
    struct survey *v = ctx;
    struct worker *w = &v->workers[worker];
    struct found *f = kj_arena_zalloc(&b->arena, (b->n + 1) * sizeof *f);
    b->aux = f;
    if (!f)
        return too_large(err);
    for (size_t i = 0; i < b->n; i++) {
        struct counting c = {&f[i], v, b->docs[i].serial};
        uint64_t n;
        if (!kj_doc_kept(&b->docs[i]))
            continue;
        int rc = count_windows(v, w, c.doc, &n, err);
        f[i].many = n > MOST_WINDOWS;
        if (!rc && n && !f[i].many) {
            f[i].windows = kj_arena_alloc(&b->arena, n * sizeof *f[i].windows);
            rc = f[i].windows ? each_window(v, w, &b->docs[i], to_found, &c, err)
                              : too_large(err);
        }
        if (rc)
            return rc;
    }
    return KJ_OK;
}

static int collect_windows(void *ctx, struct kj_batch *b, struct kj_err *err)
{
    struct survey *v = ctx;
    const struct found *f = b->aux;
    int rc = KJ_OK;
    for (size_t i = 0; i < b->n && !rc; i++) {
        struct counting c = {NULL, v, b->docs[i].serial};
        if (f[i].many)
            rc = each_window(v, &v->workers[v->threads], &b->docs[i], to_sorter, &c,
                             err);
        for (size_t k = 0; k < f[i].n_windows && !rc; k++)
            rc = to_sorter(&c, f[i].windows[k].h, f[i].windows[k].at, err);
    }
    return rc;
}

static int find_windows(struct survey *v, struct kj_err *err)
{
    const uint64_t *r;
    uint64_t first[4] = {0};
    bool any = false;
    int rc = kj_extsort_sort(&v->windows, err);
    while (!rc && (rc = kj_extsort_next(&v->windows, &r, err)) == KJ_OK) {
        if (!any || r[0] != first[0] || r[1] != first[1]) {
            memcpy(first, r, sizeof first);
            any = true;
            continue;
        }
        uint64_t at = (uint32_t)r[2], keeper_at = (uint32_t)first[2];
        if (r[2] >> 32 != first[2] >> 32 || at - keeper_at >= v->s->window)
            rc = cut(v, r[3], at, at + v->s->window, first[3], keeper_at, err);
    }
    kj_extsort_release(&v->windows);
    return rc == KJ_EOF ? KJ_OK : rc;
}

/* ---- what goes ---- */

/* The pieces overlap: a symbol belongs to the first one that has it. Pieces
 * that go on where the last one ended, in both documents, are one. */
static int list_cuts(struct survey *v, struct kj_err *err)
{
    struct kj_spans *out = &v->s->cuts;
    const uint64_t *r;
    uint64_t doc = UINT64_MAX, from = 0, end = 0, keeper = 0, at = 0;
    int rc = kj_extsort_sort(&v->cuts, err);
    while (!rc && (rc = kj_extsort_next(&v->cuts, &r, err)) == KJ_OK) {
        uint64_t d = r[0] >> 32, f = (uint32_t)r[0], e = UINT32_MAX - (r[1] >> 32);
        uint64_t k = (uint32_t)r[1], a = r[2];
        if (d == doc && e <= end)
            continue;
        if (d == doc && f <= end && k == keeper && a - f == at - from) {
            end = e;
            continue;
        }
        if (doc != UINT64_MAX) {
            uint64_t rec[3] = {doc << 32 | from, end << 32 | keeper, at};
            rc = kj_spans_add(out, rec, err);
        }
        uint64_t skip = d == doc && f < end ? end - f : 0;
        doc = d;
        from = f + skip;
        end = e;
        keeper = k;
        at = a + skip;
    }
    if (rc == KJ_EOF && doc != UINT64_MAX) {
        uint64_t rec[3] = {doc << 32 | from, end << 32 | keeper, at};
        rc = kj_spans_add(out, rec, err);
    }
    return rc == KJ_EOF || !rc ? kj_spans_finish(out, err) : rc;
}

/* ---- all together ---- */

static void make_workers(struct survey *v, unsigned n)
{
    v->threads = n;
    v->workers = kj_xcalloc(n + 1, sizeof *v->workers);
    for (unsigned i = 0; i <= n; i++) {
        kj_winnower_init(&v->workers[i].winnower, v->s->window, gram_of(v->s));
        kj_buf_init(&v->workers[i].symbols, (size_t)1 << 30);
        kj_buf_init(&v->workers[i].places, (size_t)1 << 30);
    }
}

static void release(struct survey *v)
{
    for (unsigned i = 0; i <= v->threads; i++) {
        kj_winnower_release(&v->workers[i].winnower);
        kj_buf_release(&v->workers[i].symbols);
        kj_buf_release(&v->workers[i].places);
        kj_spans_reader_release(&v->workers[i].ranges);
    }
    free(v->workers);
    struct kj_extsort *sorts[] = {&v->anchors, &v->again, &v->open, &v->windows,
                                  &v->cuts};
    for (size_t i = 0; i < sizeof sorts / sizeof *sorts; i++)
        kj_extsort_release(sorts[i]);
    kj_spans_release(&v->ranges);
}

static int begin(struct survey *v, const struct kj_corpus *corpus, struct kj_err *err)
{
    struct kj_substring *s = v->s;
    int64_t memory = corpus->memory > 0 ? corpus->memory : (int64_t)1 << 30;
    s->budget = (struct kj_budget){.max = corpus->memory,
                                   .doing = "looking for repeated passages"};
    size_t share = (size_t)(memory / 8);
    kj_extsort_init(&v->anchors, 5, 2 * share, v->dir, &s->budget);
    kj_extsort_init(&v->again, 5, share, v->dir, &s->budget);
    kj_extsort_init(&v->open, 2, share, v->dir, &s->budget);
    kj_extsort_init(&v->windows, 4, 2 * share, v->dir, &s->budget);
    kj_extsort_init(&v->cuts, 3, share, v->dir, &s->budget);
    s->cuts.file.fd = v->ranges.file.fd = -1;
    if (!v->dir)
        return kj_err_set(err, KJ_FATAL, "no folder for temporary files");
    int rc = kj_roster_begin(&s->roster, v->dir, share, &s->budget, err);
    return rc ? rc : kj_spans_begin(&s->cuts, 3, v->dir, PIECES, &s->budget, err);
}

int kj_substring_survey(struct kj_substring *s, struct kj_corpus *corpus,
                        struct kj_err *err)
{
    struct survey v = {.s = s, .dir = corpus->tmp_dir};
    make_workers(&v, corpus->threads ? corpus->threads : 1);
    int rc = begin(&v, corpus, err);
    if (!rc)
        rc = corpus->pass(corpus, &v, work_anchors, collect_anchors, err);
    if (!rc)
        rc = kj_roster_finish(&s->roster, err);
    if (!rc)
        rc = find_again(&v, err);
    if (!rc)
        rc = find_equal(&v, err);
    bool open = v.open.total > 0;
    if (!rc && open)
        rc = list_open(&v, err);
    if (!rc && open)
        rc = corpus->pass(corpus, &v, work_windows, collect_windows, err);
    if (!rc)
        rc = find_windows(&v, err);
    if (!rc)
        rc = list_cuts(&v, err);
    release(&v);
    if (rc)
        kj_substring_release(s);
    return rc;
}

void kj_substring_release(struct kj_substring *s)
{
    kj_roster_release(&s->roster);
    kj_spans_release(&s->cuts);
}
