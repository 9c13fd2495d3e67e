/* units.c - copies of lines and paragraphs.
 *
 * Every unit becomes a record (hash, hash, rank of its document, document,
 * number in it). Sorted, the copies of a unit stand together with the one that
 * stays in front. The others' places, sorted again, are the list by which
 * run() cuts.
 */
#include "dedup/units.h"

#include <stdlib.h>
#include <string.h>

#include "base/doc.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/stage.h"
#include "dedup/extsort.h"
#include "dedup/identity.h"
#include "dedup/normal.h"

#define CUTS 0x53545543 /* the kind of file, in its letters */

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static size_t line_length(const char *p, size_t n)
{
    const char *end = memchr(p, '\n', n);
    return end ? (size_t)(end - p) + 1 : n;
}

static bool is_blank(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!is_space(p[i]))
            return false;
    return true;
}

size_t kj_units_next(enum kj_units_kind kind, const char *p, size_t n)
{
    size_t at = line_length(p, n);
    if (kind == KJ_UNITS_LINE)
        return at;
    bool gap = false; /* a blank line was met: the next other one begins a unit */
    while (at < n) {
        size_t len = line_length(p + at, n - at);
        bool blank = is_blank(p + at, len);
        if (gap && !blank)
            break;
        gap |= blank;
        at += len;
    }
    return at;
}

/* ---- survey ---- */

struct worker {
    struct kj_buf norm, run;
};

struct found {
    uint32_t check;
    uint64_t rank;
    struct kj_hash128 *v; /* by unit; both 0 for blank ones */
    size_t n;
};

struct survey {
    struct kj_units *u;
    struct worker *workers;
    struct kj_extsort units, cuts;
};

static struct kj_hash128 hash_unit(const struct kj_units *u, struct worker *w,
                                   const char *p, size_t n, int *rc)
{
    while (n && is_space(p[n - 1]))
        n--;
    while (n && is_space(*p)) {
        p++;
        n--;
    }
    if (n && u->normalize) {
        kj_buf_reset(&w->norm);
        *rc = kj_dedup_normalize(&w->norm, &w->run, 0, p, n);
        p = w->norm.p;
        n = w->norm.n;
    }
    return n ? kj_hash128(p, n) : (struct kj_hash128){0, 0};
}

static int work(void *ctx, unsigned worker, struct kj_batch *b, struct kj_err *err)
{
    struct survey *s = ctx;
    struct found *f = kj_arena_zalloc(&b->arena, (b->n + 1) * sizeof *f);
    int rc = f ? KJ_OK : KJ_BAD_RECORD;
    b->aux = f;
    for (size_t i = 0; i < b->n && !rc; i++) {
        const struct kj_doc *d = &b->docs[i];
        if (!kj_doc_kept(d))
            continue;
        size_t n = 0;
        for (size_t at = 0; at < d->text.n; n++)
            at += kj_units_next(s->u->kind, d->text.p + at, d->text.n - at);
        f[i].check = kj_dedup_check(d);
        f[i].rank = kj_hash64(d->id.p, d->id.n, kj_dedup_tie(d));
        f[i].v = kj_arena_alloc(&b->arena, (n + 1) * sizeof *f[i].v);
        if (!f[i].v)
            rc = KJ_BAD_RECORD;
        for (size_t at = 0, len; at < d->text.n && !rc; at += len) {
            len = kj_units_next(s->u->kind, d->text.p + at, d->text.n - at);
            f[i].v[f[i].n++] =
                hash_unit(s->u, &s->workers[worker], d->text.p + at, len, &rc);
        }
    }
    return rc ? kj_err_set(err, KJ_FATAL, "a batch does not fit its memory") : KJ_OK;
}

static int collect(void *ctx, struct kj_batch *b, struct kj_err *err)
{
    struct survey *s = ctx;
    const struct found *f = b->aux;
    int rc = KJ_OK;
    for (size_t i = 0; i < b->n && !rc; i++) {
        uint64_t doc = b->docs[i].serial;
        if (f[i].check)
            rc = kj_units_doc(s->u, doc, f[i].check, err);
        for (size_t k = 0; k < f[i].n && !rc; k++)
            if (f[i].v[k].hi || f[i].v[k].lo)
                rc = kj_extsort_add(
                    &s->units,
                    (uint64_t[]){f[i].v[k].hi, f[i].v[k].lo, f[i].rank, doc, k}, err);
    }
    return rc;
}

static int find_copies(struct survey *s, struct kj_err *err)
{
    const uint64_t *r;
    uint64_t hi = 0, lo = 0;
    bool any = false;
    int rc = kj_extsort_sort(&s->units, err);
    while (!rc && (rc = kj_extsort_next(&s->units, &r, err)) == KJ_OK) {
        if (any && r[0] == hi && r[1] == lo)
            rc = kj_extsort_add(&s->cuts, (uint64_t[]){r[3] << 32 | r[4]}, err);
        any = true;
        hi = r[0];
        lo = r[1];
    }
    return rc == KJ_EOF ? KJ_OK : rc;
}

int kj_units_begin(struct kj_units *u, const char *dir, struct kj_err *err)
{
    struct kj_spill_params params = {KJ_SIGS_KIND, {1}};
    u->cuts.file.fd = u->checks.file.fd = -1;
    if (!dir)
        return kj_err_set(err, KJ_FATAL, "no folder for temporary files");
    int rc = kj_sigs_create(&u->checks, dir, NULL, &params, err);
    return rc ? rc : kj_spans_begin(&u->cuts, 1, dir, CUTS, &u->budget, err);
}

int kj_units_doc(struct kj_units *u, uint64_t doc, uint32_t check, struct kj_err *err)
{
    return kj_sigs_add(&u->checks, doc, check, NULL, err);
}

int kj_units_add(struct kj_units *u, uint64_t place, struct kj_err *err)
{
    return kj_spans_add(&u->cuts, &place, err);
}

int kj_units_finish(struct kj_units *u, struct kj_err *err)
{
    int rc = kj_sigs_finish(&u->checks, err);
    return rc ? rc : kj_spans_finish(&u->cuts, err);
}

static int write_cuts(struct survey *s, struct kj_err *err)
{
    const uint64_t *r;
    int rc = kj_extsort_sort(&s->cuts, err);
    while (!rc && (rc = kj_extsort_next(&s->cuts, &r, err)) == KJ_OK)
        rc = kj_units_add(s->u, *r, err);
    return rc == KJ_EOF ? KJ_OK : rc;
}

int kj_units_survey(struct kj_units *u, struct kj_corpus *corpus, struct kj_err *err)
{
    struct survey s = {.u = u};
    unsigned n = corpus->threads ? corpus->threads : 1;
    int64_t memory = corpus->memory > 0 ? corpus->memory : (int64_t)1 << 30;
    u->budget = (struct kj_budget){.max = corpus->memory, .doing = "sorting units"};
    int rc = kj_units_begin(u, corpus->tmp_dir, err);
    kj_extsort_init(&s.units, 5, (size_t)(memory / 3), corpus->tmp_dir, &u->budget);
    kj_extsort_init(&s.cuts, 1, (size_t)(memory / 6), corpus->tmp_dir, &u->budget);
    s.workers = kj_xcalloc(n, sizeof *s.workers);
    for (unsigned i = 0; i < n; i++) {
        kj_buf_init(&s.workers[i].norm, (size_t)1 << 30);
        kj_buf_init(&s.workers[i].run, (size_t)1 << 30);
    }
    if (!rc)
        rc = corpus->pass(corpus, &s, work, collect, err);
    if (!rc)
        rc = find_copies(&s, err);
    kj_extsort_release(&s.units);
    if (!rc)
        rc = write_cuts(&s, err);
    if (!rc)
        rc = kj_units_finish(u, err);
    kj_extsort_release(&s.cuts);
    for (unsigned i = 0; i < n; i++) {
        kj_buf_release(&s.workers[i].norm);
        kj_buf_release(&s.workers[i].run);
    }
    free(s.workers);
    return rc;
}

void kj_units_release(struct kj_units *u)
{
    kj_sigs_release(&u->checks);
    kj_spans_release(&u->cuts);
    *u = (struct kj_units){.kind = u->kind, .normalize = u->normalize};
}

/* ---- cutting ---- */

void kj_units_reader_release(struct kj_units_reader *r)
{
    kj_sigs_reader_release(&r->checks);
    kj_spans_reader_release(&r->cuts);
}

/* Is cut number `at` the unit? */
static int is_cut(const struct kj_units *u, struct kj_units_reader *r, uint64_t at,
                  uint64_t unit, bool *yes, struct kj_err *err)
{
    const uint64_t *rec;
    int rc = kj_spans_get(&u->cuts, &r->cuts, at, &rec, err);
    *yes = !rc && rec && *rec == unit;
    return rc;
}

static int changed(const struct kj_doc *d, struct kj_err *err)
{
    kj_err_set(err, KJ_FATAL,
               "the input changed since it was first read: this document is new");
    kj_err_doc(err, d->id.p, d->id.n);
    return KJ_FATAL;
}

int kj_units_cut(const struct kj_units *u, struct kj_units_reader *r,
                 struct kj_batch *b, struct kj_doc *d, size_t *cut, struct kj_err *err)
{
    uint32_t check;
    *cut = 0;
    int rc = kj_sigs_check(&u->checks, &r->checks, d->serial, &check, err);
    if (rc)
        return rc;
    if (check != kj_dedup_check(d))
        return changed(d, err);
    uint64_t at = 0, unit = d->serial << 32;
    rc = kj_spans_find(&u->cuts, &r->cuts, unit, &at, err);
    char *out = NULL;
    size_t n = 0;
    for (size_t from = 0, len; from < d->text.n && !rc; from += len, unit++) {
        bool yes;
        len = kj_units_next(u->kind, d->text.p + from, d->text.n - from);
        rc = is_cut(u, r, at, unit, &yes, err);
        if (rc)
            return rc;
        if (yes && !out) {
            out = kj_arena_dup(&b->arena, d->text.p, d->text.n);
            if (!out)
                return kj_err_set(err, KJ_FATAL, "a batch does not fit its memory");
        }
        if (out && !yes)
            memmove(out + n, d->text.p + from, len);
        n += yes ? 0 : len;
        *cut += yes ? len : 0;
        at += yes;
    }
    if (!out || rc)
        return rc;
    /* a text that did not end in a line end does not do so now */
    while (n && d->text.p[d->text.n - 1] != '\n' && out[n - 1] == '\n')
        n--;
    d->text = (struct kj_str){out, is_blank(out, n) ? 0 : n};
    return KJ_OK;
}
