/* extsort.c - runs sorted by merging, then merged through a heap.
 *
 * A bottom-up merge sort is used for the runs: it needs the second half of the
 * buffer, is insensitive to the distribution of keys, and reads and writes in
 * sequence. Sorted stretches of 16 come from insertion.
 */
#include "dedup/extsort.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"

struct kj_extsort_run {
    uint64_t pos;    /* of the next block */
    uint64_t left;   /* records not yet read */
    size_t at, n;    /* in the block */
    uint64_t *block; /* in the sorter's buffer */
};

static const struct kj_spill_params run_params = {.kind = 0x534E5552}; /* RUNS */

void kj_extsort_init(struct kj_extsort *s, unsigned words, size_t bytes,
                     const char *dir, struct kj_budget *budget)
{
    *s = (struct kj_extsort){.words = words, .budget = budget, .dir = dir};
    s->file.fd = -1;
    s->cap = bytes / (16 * (size_t)words);
    if (s->cap < 64)
        s->cap = 64;
    s->buf_words = 2 * s->cap * words;
}

static inline int compare(const uint64_t *a, const uint64_t *b, unsigned words)
{
    for (unsigned i = 0; i < words; i++)
        if (a[i] != b[i])
            return a[i] < b[i] ? -1 : 1;
    return 0;
}

static inline void copy(uint64_t *to, const uint64_t *from, unsigned words)
{
    for (unsigned i = 0; i < words; i++)
        to[i] = from[i];
}

static void insertion(uint64_t *v, size_t n, unsigned w)
{
    uint64_t t[KJ_EXTSORT_WORDS];
    for (size_t i = 1; i < n; i++) {
        size_t k = i;
        copy(t, v + i * w, w);
        for (; k > 0 && compare(t, v + (k - 1) * w, w) < 0; k--)
            copy(v + k * w, v + (k - 1) * w, w);
        copy(v + k * w, t, w);
    }
}

static void merge(const uint64_t *a, size_t na, const uint64_t *b, size_t nb,
                  uint64_t *out, unsigned w)
{
    const uint64_t *ea = a + na * w, *eb = b + nb * w;
    while (a < ea && b < eb) {
        const uint64_t **from = compare(a, b, w) <= 0 ? &a : &b;
        copy(out, *from, w);
        *from += w;
        out += w;
    }
    memcpy(out, a, (size_t)(ea - a) * 8);
    memcpy(out + (ea - a), b, (size_t)(eb - b) * 8);
}

/* Sort n records at v with room t of the same size; where they are then. */
static uint64_t *sort_records(uint64_t *v, uint64_t *t, size_t n, unsigned w)
{
    enum { STRETCH = 16 };
    for (size_t i = 0; i < n; i += STRETCH)
        insertion(v + i * w, n - i < STRETCH ? n - i : STRETCH, w);
    for (size_t len = STRETCH; len < n; len *= 2) {
        for (size_t i = 0; i < n; i += 2 * len) {
            size_t na = n - i < len ? n - i : len;
            size_t nb = n - i - na < len ? n - i - na : len;
            merge(v + i * w, na, v + (i + na) * w, nb, t + i * w, w);
        }
        uint64_t *x = v;
        v = t;
        t = x;
    }
    return v;
}

static size_t per_block(const struct kj_extsort *s)
{
    return KJ_EXTSORT_BLOCK / 8 / s->words;
}

/* Sort the buffer; its records start at buf afterwards. */
static void sort_buffer(struct kj_extsort *s)
{
    uint64_t *v = sort_records(s->buf, s->buf + s->cap * s->words, s->n, s->words);
    if (v != s->buf)
        memcpy(s->buf, v, s->n * s->words * 8);
}

static int write_run(struct kj_extsort *s, struct kj_err *err)
{
    int rc = KJ_OK;
    if (s->file.fd < 0)
        rc = kj_spill_create(&s->file, s->dir, NULL, &run_params, err);
    void *p = s->runs;
    if (!rc)
        rc = kj_budget_grow(s->budget, &p, &s->cap_runs, s->n_runs + 1, sizeof *s->runs,
                            err);
    s->runs = p;
    if (rc)
        return rc;
    sort_buffer(s);
    s->runs[s->n_runs] = (struct kj_extsort_run){.pos = s->file.size, .left = s->n};
    s->n_runs++;
    for (size_t i = 0; i < s->n && !rc; i += per_block(s)) {
        size_t n = s->n - i < per_block(s) ? s->n - i : per_block(s);
        rc = kj_spill_add(&s->file, s->buf + i * s->words, n * s->words * 8, NULL, err);
    }
    s->n = 0;
    return rc;
}

int kj_extsort_add(struct kj_extsort *s, const uint64_t *rec, struct kj_err *err)
{
    if (!s->buf) {
        s->buf = kj_budget_calloc(s->budget, s->buf_words, 8, err);
        if (!s->buf)
            return KJ_FATAL;
    }
    int rc = s->n == s->cap ? write_run(s, err) : KJ_OK;
    if (rc)
        return rc;
    copy(s->buf + s->n++ * s->words, rec, s->words);
    s->total++;
    return KJ_OK;
}

/* ---- merging ---- */

static int fill(struct kj_extsort *s, struct kj_extsort_run *r, struct kj_err *err)
{
    size_t n = r->left < per_block(s) ? (size_t)r->left : per_block(s);
    size_t bytes = n * s->words * 8;
    int rc = kj_spill_read(&s->file, r->pos, r->block, bytes, err);
    r->pos += KJ_SPILL_BLOCK + bytes;
    r->left -= n;
    r->at = 0;
    r->n = n;
    return rc;
}

static bool before(const struct kj_extsort *s, uint32_t a, uint32_t b)
{
    const struct kj_extsort_run *x = &s->runs[a], *y = &s->runs[b];
    int r = compare(x->block + x->at * s->words, y->block + y->at * s->words, s->words);
    return r ? r < 0 : a < b;
}

static void sift(struct kj_extsort *s, size_t i)
{
    uint32_t *h = s->heap;
    for (;;) {
        size_t k = 2 * i + 1;
        if (k + 1 < s->n_heap && before(s, h[k + 1], h[k]))
            k++;
        if (k >= s->n_heap || !before(s, h[k], h[i]))
            return;
        uint32_t t = h[i];
        h[i] = h[k];
        h[k] = t;
        i = k;
    }
}

static int start_merge(struct kj_extsort *s, struct kj_err *err)
{
    size_t block = per_block(s) * s->words;
    if (s->n_runs > s->buf_words / block)
        return kj_err_set(err, KJ_FATAL,
                          "sorting needs more memory: %zu runs are too many to merge; "
                          "raise --memory",
                          s->n_runs);
    int rc = kj_spill_finish(&s->file, err);
    s->heap = rc ? NULL : kj_budget_calloc(s->budget, s->n_runs, sizeof *s->heap, err);
    if (!s->heap)
        return KJ_FATAL;
    for (size_t i = 0; i < s->n_runs && !rc; i++) {
        s->runs[i].block = s->buf + i * block;
        rc = fill(s, &s->runs[i], err);
        s->heap[s->n_heap++] = (uint32_t)i;
    }
    for (size_t i = s->n_heap / 2; i-- > 0 && !rc;)
        sift(s, i);
    return rc;
}

int kj_extsort_sort(struct kj_extsort *s, struct kj_err *err)
{
    s->at = 0;
    if (!s->n_runs) {
        if (s->n)
            sort_buffer(s);
        return KJ_OK;
    }
    int rc = s->n ? write_run(s, err) : KJ_OK;
    return rc ? rc : start_merge(s, err);
}

int kj_extsort_next(struct kj_extsort *s, const uint64_t **rec, struct kj_err *err)
{
    if (!s->n_runs) {
        if (s->at == s->n)
            return KJ_EOF;
        *rec = s->buf + s->at++ * s->words;
        return KJ_OK;
    }
    /* the record given out last is passed over only now: it had to stay */
    if (s->at) {
        struct kj_extsort_run *r = &s->runs[s->heap[0]];
        int rc = ++r->at == r->n && r->left ? fill(s, r, err) : KJ_OK;
        if (rc)
            return rc;
        if (r->at == r->n)
            s->heap[0] = s->heap[--s->n_heap];
        sift(s, 0);
    }
    s->at = 1;
    if (!s->n_heap)
        return KJ_EOF;
    const struct kj_extsort_run *r = &s->runs[s->heap[0]];
    *rec = r->block + r->at * s->words;
    return KJ_OK;
}

void kj_extsort_reset(struct kj_extsort *s)
{
    kj_spill_release(&s->file);
    kj_budget_free(s->budget, s->heap, s->n_runs, sizeof *s->heap);
    s->heap = NULL;
    s->n = s->at = s->n_runs = s->n_heap = 0;
    s->total = 0;
}

void kj_extsort_release(struct kj_extsort *s)
{
    if (!s->budget)
        return;
    kj_extsort_reset(s);
    kj_budget_free(s->budget, s->runs, s->cap_runs, sizeof *s->runs);
    kj_budget_free(s->budget, s->buf, s->buf_words, 8);
    *s = (struct kj_extsort){.file.fd = -1};
}
