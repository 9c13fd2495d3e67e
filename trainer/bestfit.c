/* bestfit.c - windows of documents into rows.
 *
 * Rows that are still open stand sorted by the room that they have, so that the
 * one with the least room that is enough is found by bisection. Most are closed
 * while the long pieces are placed, so the list stays short.
 */
#include "trainer/bestfit.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "trainer/data.h"

/* Documents in a window, however short they are. */
#define DOCS_MAX ((size_t)1 << 20)

struct item {
    struct kj_piece p;
    uint32_t number; /* in the window, so that equal lengths have an order */
    uint32_t row;
};

struct room {
    uint32_t room, row;
};

struct kj_bestfit {
    struct kj_docs docs;
    uint64_t seed;
    bool shuffle;
    size_t len;
    /* The window: rows first..first + rows of the loader's numbers. */
    uint64_t epoch, window, first;
    size_t rows;
    struct kj_piece *pieces; /* row by row */
    size_t *row_at;          /* [rows + 1] */
    /* Where the next window begins. */
    uint64_t next_epoch, next_doc, next_off;
    struct item *items;
    size_t n, cap;
    struct room *open;
    size_t open_cap;
};

struct kj_bestfit *kj_bestfit_new(const struct kj_docs *d, uint64_t seed, bool shuffle,
                                  size_t len)
{
    struct kj_bestfit *f = kj_xcalloc(1, sizeof *f);
    f->docs = *d;
    f->seed = seed;
    f->shuffle = shuffle;
    f->len = len;
    return f;
}

void kj_bestfit_free(struct kj_bestfit *f)
{
    if (!f)
        return;
    free(f->pieces);
    free(f->row_at);
    free(f->items);
    free(f->open);
    free(f);
}

static void add(struct kj_bestfit *f, uint64_t doc, uint64_t off, size_t n)
{
    if (f->n == f->cap) {
        f->cap = f->cap ? 2 * f->cap : 1024;
        f->items = kj_xrealloc(f->items, f->cap * sizeof *f->items);
    }
    f->items[f->n] = (struct item){{doc, off, (uint32_t)n}, (uint32_t)f->n, 0};
    f->n++;
}

/* The documents of the next window, cut to rows; a long one may go on in the
 * window behind. */
static void gather(struct kj_bestfit *f)
{
    uint64_t want = (uint64_t)KJ_BESTFIT_ROWS * f->len, have = 0;
    uint64_t key = kj_permute_key(f->seed, f->next_epoch);
    size_t docs = 0;
    f->n = 0;
    f->epoch = f->next_epoch;
    while (have < want && docs < DOCS_MAX && f->next_doc < f->docs.documents) {
        uint64_t d =
            f->shuffle ? kj_permute(f->next_doc, f->docs.documents, key) : f->next_doc;
        uint64_t n =
            f->docs.start(f->docs.self, d + 1) - f->docs.start(f->docs.self, d);
        for (; f->next_off < n && have < want;) {
            size_t k = n - f->next_off < f->len ? (size_t)(n - f->next_off) : f->len;
            add(f, d, f->next_off, k);
            f->next_off += k;
            have += k;
        }
        if (f->next_off < n)
            break;
        f->next_off = 0;
        f->next_doc++;
        docs++;
    }
    if (f->next_doc == f->docs.documents) {
        f->next_doc = 0;
        f->next_epoch++;
        f->window = 0;
    }
}

static int by_length(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    if (x->p.n != y->p.n)
        return x->p.n < y->p.n ? 1 : -1;
    return x->number < y->number ? -1 : 1;
}

/* The first open row with at least n of room. */
static size_t find(const struct room *v, size_t count, uint32_t n)
{
    size_t lo = 0, hi = count;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (v[mid].room < n)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* Give each item its row. */
static void place(struct kj_bestfit *f)
{
    size_t open = 0;
    f->rows = 0;
    for (size_t i = 0; i < f->n; i++) {
        struct item *it = &f->items[i];
        size_t at = find(f->open, open, it->p.n);
        struct room r = {(uint32_t)f->len, (uint32_t)f->rows};
        if (at < open) {
            r = f->open[at];
            memmove(&f->open[at], &f->open[at + 1], (--open - at) * sizeof *f->open);
        } else {
            f->rows++;
        }
        it->row = r.row;
        r.room -= it->p.n;
        if (r.room == 0)
            continue;
        if (open == f->open_cap) {
            f->open_cap = f->open_cap ? 2 * f->open_cap : 256;
            f->open = kj_xrealloc(f->open, f->open_cap * sizeof *f->open);
        }
        at = find(f->open, open, r.room);
        memmove(&f->open[at + 1], &f->open[at], (open - at) * sizeof *f->open);
        f->open[at] = r;
        open++;
    }
}

/* Plan the window behind the one that is there. */
static void advance(struct kj_bestfit *f)
{
    f->first += f->rows;
    uint64_t key = kj_permute_key(f->seed ^ 0x77696e646f77, f->window++);
    gather(f);
    qsort(f->items, f->n, sizeof *f->items, by_length);
    place(f);
    f->pieces = kj_xrealloc(f->pieces, (f->n + 1) * sizeof *f->pieces);
    f->row_at = kj_xrealloc(f->row_at, (f->rows + 2) * sizeof *f->row_at);
    memset(f->row_at, 0, (f->rows + 2) * sizeof *f->row_at);
    /* A counting sort by row; row_at[r + 1] is where row r is filled next. */
    for (size_t i = 0; i < f->n; i++) {
        struct item *it = &f->items[i];
        if (f->shuffle)
            it->row = (uint32_t)kj_permute(it->row, f->rows, key ^ f->epoch);
        f->row_at[it->row + 2]++;
    }
    for (size_t r = 2; r < f->rows + 2; r++)
        f->row_at[r] += f->row_at[r - 1];
    for (size_t i = 0; i < f->n; i++)
        f->pieces[f->row_at[f->items[i].row + 1]++] = f->items[i].p;
}

const struct kj_piece *kj_bestfit_row(struct kj_bestfit *f, uint64_t g, size_t *n,
                                      uint64_t *epoch)
{
    if (g < f->first) {
        f->first = f->window = 0;
        f->rows = 0;
        f->next_epoch = f->next_doc = f->next_off = 0;
    }
    while (g >= f->first + f->rows)
        advance(f);
    size_t r = (size_t)(g - f->first);
    *n = f->row_at[r + 1] - f->row_at[r];
    *epoch = f->epoch;
    return f->pieces + f->row_at[r];
}
