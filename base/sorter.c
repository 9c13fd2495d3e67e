/* sorter.c - external merge sort of records by a 64-bit key.
 *
 * In memory and in the file a record is its key, its length (u32) and its
 * bytes, without padding. A run is sorted through a list of (key, place): the
 * place decides between equal keys, so the sort is stable. In the merge, equal
 * keys are taken from the earlier run.
 */
#include "base/sorter.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"

#define HEAD       12u
#define BUFFER_MIN ((size_t)64 << 10)

struct place {
    uint64_t key, at;
};

struct run {
    int64_t at, end; /* what of it was not read yet, in the file */
    char *buf;
    size_t n, pos, cap; /* bytes in buf, and of them used */
};

struct kj_sorter {
    char *dir;
    size_t memory;
    char *mem; /* records */
    size_t used, cap;
    struct place *v;
    size_t n, n_cap, next;
    int fd;
    int64_t written;
    struct run *runs;
    size_t n_runs;
    size_t *heap, heap_n;
    bool sorted;
    size_t given; /* run of the record given last + 1; 0: none */
};

struct kj_sorter *kj_sorter_new(const char *dir, size_t memory)
{
    struct kj_sorter *s = kj_xcalloc(1, sizeof *s);
    s->dir = kj_xstrdup(dir);
    s->memory = memory < BUFFER_MIN ? BUFFER_MIN : memory;
    s->fd = -1;
    return s;
}

void kj_sorter_free(struct kj_sorter *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->n_runs; i++)
        free(s->runs[i].buf);
    if (s->fd >= 0)
        close(s->fd);
    free(s->runs);
    free(s->heap);
    free(s->v);
    free(s->mem);
    free(s->dir);
    free(s);
}

size_t kj_sorter_runs(const struct kj_sorter *s)
{
    return s->n_runs;
}

static uint64_t key_of(const char *p)
{
    uint64_t k;
    memcpy(&k, p, 8);
    return k;
}

static size_t size_of(const char *p)
{
    uint32_t n;
    memcpy(&n, p + 8, 4);
    return n;
}

static int by_key(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return x->at < y->at ? -1 : x->at > y->at;
}

/* ---- runs to the file ---- */

static int file_open(struct kj_sorter *s, struct kj_err *err)
{
    struct kj_buf path;
    kj_buf_init(&path, 1 << 16);
    kj_buf_printf(&path, "%s/kijil-sort-XXXXXX", s->dir);
    char *name = kj_xstrndup(path.p, path.n);
    kj_buf_release(&path);
    s->fd = mkstemp(name);
    int rc = s->fd < 0 ? kj_err_errno(err, KJ_FATAL,
                                      "cannot make a temporary file in %s", s->dir)
                       : KJ_OK;
    if (rc == KJ_OK)
        unlink(name);
    free(name);
    return rc;
}

static int put(struct kj_sorter *s, const char *p, size_t n, struct kj_err *err)
{
    while (n) {
        ssize_t k = pwrite(s->fd, p, n, (off_t)s->written);
        if (k <= 0)
            return kj_err_errno(err, KJ_FATAL, "cannot write the temporary file in %s",
                                s->dir);
        s->written += k;
        p += k;
        n -= (size_t)k;
    }
    return KJ_OK;
}

static int run_write(struct kj_sorter *s, struct kj_err *err)
{
    struct kj_buf out;
    int rc = s->fd < 0 ? file_open(s, err) : KJ_OK;
    if (rc != KJ_OK)
        return rc;
    qsort(s->v, s->n, sizeof *s->v, by_key);
    s->runs = kj_xrealloc(s->runs, (s->n_runs + 1) * sizeof *s->runs);
    s->runs[s->n_runs] = (struct run){.at = s->written};
    kj_buf_init(&out, (size_t)1 << 33);
    for (size_t i = 0; i < s->n && rc == KJ_OK; i++) {
        const char *p = s->mem + s->v[i].at;
        if (kj_buf_add(&out, p, HEAD + size_of(p)) != KJ_OK)
            rc = kj_err_set(err, KJ_FATAL, "a record is too large to be sorted");
        if (rc == KJ_OK && (out.n >= BUFFER_MIN || i + 1 == s->n)) {
            rc = put(s, out.p, out.n, err);
            kj_buf_reset(&out);
        }
    }
    kj_buf_release(&out);
    s->runs[s->n_runs++].end = s->written;
    s->n = s->used = 0;
    return rc;
}

int kj_sorter_add(struct kj_sorter *s, uint64_t key, const void *p, size_t n,
                  struct kj_err *err)
{
    size_t need = HEAD + n;
    uint32_t len = (uint32_t)n;
    if (n > UINT32_MAX - HEAD)
        return kj_err_set(err, KJ_FATAL, "a record of %zu bytes", n);
    if (s->n && s->used + need + (s->n + 1) * sizeof *s->v > s->memory) {
        int rc = run_write(s, err);
        if (rc != KJ_OK)
            return rc;
    }
    if (s->used + need > s->cap) {
        size_t cap = s->cap ? s->cap + s->cap / 2 : BUFFER_MIN;
        s->cap = cap < s->used + need ? s->used + need : cap;
        s->mem = kj_xrealloc(s->mem, s->cap);
    }
    if (s->n == s->n_cap) {
        s->n_cap = s->n_cap ? s->n_cap + s->n_cap / 2 : 1024;
        s->v = kj_xrealloc(s->v, s->n_cap * sizeof *s->v);
    }
    s->v[s->n++] = (struct place){key, s->used};
    memcpy(s->mem + s->used, &key, 8);
    memcpy(s->mem + s->used + 8, &len, 4);
    if (n)
        memcpy(s->mem + s->used + HEAD, p, n);
    s->used += need;
    return KJ_OK;
}

/* ---- runs from the file ---- */

/* Have `want` bytes of the run's next record in its buffer. */
static int fill(struct kj_sorter *s, struct run *r, size_t want, struct kj_err *err)
{
    if (r->n - r->pos >= want)
        return KJ_OK;
    memmove(r->buf, r->buf + r->pos, r->n - r->pos);
    r->n -= r->pos;
    r->pos = 0;
    if (want > r->cap) {
        r->cap = want;
        r->buf = kj_xrealloc(r->buf, r->cap);
    }
    while (r->n < r->cap && r->at < r->end) {
        size_t n = r->cap - r->n;
        if ((int64_t)n > r->end - r->at)
            n = (size_t)(r->end - r->at);
        ssize_t k = pread(s->fd, r->buf + r->n, n, (off_t)r->at);
        if (k <= 0)
            return kj_err_errno(err, KJ_FATAL, "cannot read the temporary file in %s",
                                s->dir);
        r->n += (size_t)k;
        r->at += k;
    }
    if (r->n < want)
        return kj_err_set(err, KJ_FATAL, "a temporary file in %s is cut short", s->dir);
    return KJ_OK;
}

/* The run's next record, whole in its buffer; false in *more at its end. */
static int peek(struct kj_sorter *s, struct run *r, bool *more, struct kj_err *err)
{
    *more = r->pos < r->n || r->at < r->end;
    int rc = *more ? fill(s, r, HEAD, err) : KJ_OK;
    if (*more && rc == KJ_OK)
        rc = fill(s, r, HEAD + size_of(r->buf + r->pos), err);
    return rc;
}

static bool before(const struct kj_sorter *s, size_t a, size_t b)
{
    uint64_t x = key_of(s->runs[a].buf + s->runs[a].pos);
    uint64_t y = key_of(s->runs[b].buf + s->runs[b].pos);
    return x < y || (x == y && a < b);
}

static void sift_down(struct kj_sorter *s, size_t i)
{
    for (size_t k; (k = 2 * i + 1) < s->heap_n; i = k) {
        if (k + 1 < s->heap_n && before(s, s->heap[k + 1], s->heap[k]))
            k++;
        if (!before(s, s->heap[k], s->heap[i]))
            return;
        size_t t = s->heap[i];
        s->heap[i] = s->heap[k];
        s->heap[k] = t;
    }
}

static int merge_begin(struct kj_sorter *s, struct kj_err *err)
{
    int rc = s->n ? run_write(s, err) : KJ_OK;
    free(s->mem);
    free(s->v);
    s->mem = NULL;
    s->v = NULL;
    s->cap = s->n_cap = 0;
    s->heap = kj_xcalloc(s->n_runs, sizeof *s->heap);
    size_t size = s->memory / s->n_runs;
    for (size_t i = 0; i < s->n_runs && rc == KJ_OK; i++) {
        struct run *r = &s->runs[i];
        bool more;
        r->cap = size < BUFFER_MIN ? BUFFER_MIN : size;
        r->buf = kj_xmalloc(r->cap);
        rc = peek(s, r, &more, err);
        if (rc == KJ_OK && more)
            s->heap[s->heap_n++] = i;
    }
    for (size_t i = s->heap_n / 2; i-- > 0 && rc == KJ_OK;)
        sift_down(s, i);
    return rc;
}

static int merge_next(struct kj_sorter *s, const char **rec, struct kj_err *err)
{
    if (s->given) { /* its record is no longer needed by the caller */
        struct run *r = &s->runs[s->given - 1];
        bool more;
        r->pos += HEAD + size_of(r->buf + r->pos);
        int rc = peek(s, r, &more, err);
        if (rc != KJ_OK)
            return rc;
        if (!more)
            s->heap[0] = s->heap[--s->heap_n];
        sift_down(s, 0);
        s->given = 0;
    }
    if (s->heap_n == 0)
        return KJ_EOF;
    s->given = s->heap[0] + 1;
    *rec = s->runs[s->heap[0]].buf + s->runs[s->heap[0]].pos;
    return KJ_OK;
}

int kj_sorter_next(struct kj_sorter *s, uint64_t *key, const char **p, size_t *n,
                   struct kj_err *err)
{
    const char *rec = NULL;
    int rc = KJ_OK;
    if (!s->sorted) {
        s->sorted = true;
        if (s->n_runs)
            rc = merge_begin(s, err);
        else if (s->n)
            qsort(s->v, s->n, sizeof *s->v, by_key);
    }
    if (rc == KJ_OK && s->n_runs)
        rc = merge_next(s, &rec, err);
    else if (rc == KJ_OK && s->next < s->n)
        rec = s->mem + s->v[s->next++].at;
    else if (rc == KJ_OK)
        rc = KJ_EOF;
    if (rc != KJ_OK)
        return rc;
    *key = key_of(rec);
    *p = rec + HEAD;
    *n = size_of(rec);
    return KJ_OK;
}
