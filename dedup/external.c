/* external.c - grouping and the second reading, in files. What follows is in
 * external_solve.c.
 *
 * Components come from a union of the documents of each bucket, by an array
 * of parents in which every root is the component's first document: so a
 * component's name does not depend on the order of unions. Uniting is by
 * streams: a band is sorted, equal keys stand together, and only the last
 * document of a run has to be remembered.
 */
#include "dedup/external.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "dedup/external_internal.h"

static const struct kj_spill_params edge_params = {.kind = 0x45474445}, /* EDGE */
    set_params = {.kind = 0x53544553},                                  /* SETS */
    name_params = {.kind = 0x454D414E},                                 /* NAME */
    list_params = {.kind = 0x5453494C};                                 /* LIST */

int64_t kj_external_least(unsigned bands)
{
    return ((int64_t)4 << 20) + 2 * 64 * 8 * (int64_t)bands;
}

/* A buffer's share of the budget. Unlimited counts as 1 GB. */
static size_t share(const struct kj_external *x, unsigned part)
{
    int64_t max = x->budget->max > 0 ? x->budget->max : (int64_t)1 << 30;
    return (size_t)(max / part);
}

void kj_external_prepare(struct kj_external *x, const char *dir, unsigned bands,
                         double threshold, uint32_t max_compare,
                         struct kj_budget *budget)
{
    *x = (struct kj_external){.budget = budget,
                              .dir = dir,
                              .bands = bands,
                              .threshold = threshold,
                              .max_compare = max_compare,
                              .name_params = name_params,
                              .list_params = list_params};
    struct kj_spill *files[] = {&x->edges, &x->sets, &x->names, &x->list};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        files[i]->fd = -1;
    kj_extsort_init(&x->entries, 2, share(x, 8), dir, budget);
    kj_extsort_init(&x->members, 3, share(x, 16), dir, budget);
    kj_extsort_init(&x->fates, FATE_WORDS, share(x, 16), dir, budget);
}

int kj_external_init(struct kj_external *x, const char *dir,
                     const struct kj_spill_params *params, double threshold,
                     uint32_t max_compare, struct kj_budget *budget, struct kj_err *err)
{
    kj_external_prepare(x, dir, (unsigned)params->v[0], threshold, max_compare, budget);
    return kj_sigs_create(&x->sigs, dir, NULL, params, err);
}

int kj_external_add(struct kj_external *x, uint64_t doc, uint32_t check,
                    const uint64_t *keys, struct kj_err *err)
{
    return kj_sigs_add(&x->sigs, doc, check, keys, err);
}

/* ---- grouping ---- */

static uint32_t find(uint32_t *parent, uint32_t i)
{
    while (parent[i] != i) {
        parent[i] = parent[parent[i]];
        i = parent[i];
    }
    return i;
}

static void unite(uint32_t *parent, uint32_t a, uint32_t b)
{
    a = find(parent, a);
    b = find(parent, b);
    if (a < b)
        parent[b] = a;
    else
        parent[a] = b;
}

bool kj_external_candidate(const struct kj_external *x, uint64_t doc)
{
    return doc < x->n_docs && x->in_play[doc / 8] >> doc % 8 & 1;
}

/* (document, bucket) pairs on their way to a file. */
struct edges {
    uint64_t v[EDGE_BLOCK * 2];
    size_t n;
};

static int note_edge(struct kj_external *x, struct edges *e, uint32_t doc,
                     uint64_t bucket, struct kj_err *err)
{
    x->in_play[doc / 8] |= (unsigned char)(1u << doc % 8);
    e->v[2 * e->n] = doc;
    e->v[2 * e->n + 1] = bucket;
    x->n_edges++;
    if (++e->n < EDGE_BLOCK)
        return KJ_OK;
    e->n = 0;
    return kj_spill_add(&x->edges, e->v, sizeof e->v, NULL, err);
}

static int sort_band(struct kj_external *x, struct kj_extsort *sort, unsigned band,
                     uint64_t *column, struct kj_err *err)
{
    uint64_t *checks = column + x->sigs.cap;
    int rc = KJ_OK;
    for (uint64_t c = 0; c < kj_sigs_chunks(&x->sigs) && !rc; c++) {
        rc = kj_sigs_column(&x->sigs, c, 0, checks, err);
        if (!rc)
            rc = kj_sigs_column(&x->sigs, c, 1 + band, column, err);
        for (size_t i = 0; i < x->sigs.cap && !rc; i++)
            if (checks[i] & KJ_SIGS_HAS)
                rc = kj_extsort_add(sort, (uint64_t[]){column[i], c * x->sigs.cap + i},
                                    err);
    }
    return rc ? rc : kj_extsort_sort(sort, err);
}

/* Unite the runs of equal keys. A bucket is named by its number. */
static int unite_band(struct kj_external *x, struct kj_extsort *sort, struct edges *e,
                      uint64_t *bucket, struct kj_err *err)
{
    const uint64_t *r;
    uint64_t key = 0;
    uint32_t last = 0;
    bool any = false, open = false;
    int rc;
    while ((rc = kj_extsort_next(sort, &r, err)) == KJ_OK) {
        uint32_t doc = (uint32_t)r[1];
        if (any && r[0] == key && !open && x->settled && last >= x->settled) {
            /* all of this bucket have been decided about */
        } else if (any && r[0] == key) {
            if (!open) {
                open = true;
                ++*bucket;
                rc = note_edge(x, e, last, *bucket, err);
            }
            if (!rc)
                rc = note_edge(x, e, doc, *bucket, err);
            if (rc)
                return rc;
            unite(x->parent, last, doc);
        } else {
            open = false;
        }
        any = true;
        key = r[0];
        last = doc;
    }
    return rc == KJ_EOF ? KJ_OK : rc;
}

static int unite_bands(struct kj_external *x, struct edges *e, struct kj_err *err)
{
    struct kj_extsort sort;
    kj_extsort_init(&sort, 2, share(x, 4), x->dir, x->budget);
    size_t words = 2 * x->sigs.cap;
    uint64_t *column = kj_budget_calloc(x->budget, words, 8, err);
    int rc = column ? KJ_OK : KJ_FATAL;
    uint64_t bucket = 0;
    for (unsigned b = 0; b < x->sigs.bands && !rc; b++) {
        rc = sort_band(x, &sort, b, column, err);
        if (!rc)
            rc = unite_band(x, &sort, e, &bucket, err);
        kj_extsort_reset(&sort);
    }
    kj_budget_free(x->budget, column, words, 8);
    kj_extsort_release(&sort);
    if (!rc && e->n)
        rc = kj_spill_add(&x->edges, e->v, e->n * 16, NULL, err);
    return rc ? rc : kj_spill_finish(&x->edges, err);
}

/* Where a document stands in the order of components. */
static uint64_t place(struct kj_external *x, uint32_t doc)
{
    return (uint64_t)find(x->parent, doc) << 32 | doc;
}

/* Sort the pairs by component. */
static int sort_edges(struct kj_external *x, struct edges *e, struct kj_err *err)
{
    int rc = KJ_OK;
    uint64_t pos = KJ_SPILL_HEADER;
    for (uint64_t left = x->n_edges; left && !rc;) {
        size_t n = left < EDGE_BLOCK ? (size_t)left : EDGE_BLOCK;
        rc = kj_spill_read(&x->edges, pos, e->v, n * 16, err);
        for (size_t i = 0; i < n && !rc; i++)
            rc = kj_extsort_add(
                &x->entries,
                (uint64_t[]){place(x, (uint32_t)e->v[2 * i]), e->v[2 * i + 1]}, err);
        pos += KJ_SPILL_BLOCK + n * 16;
        left -= n;
    }
    kj_spill_release(&x->edges);
    return rc ? rc : kj_extsort_sort(&x->entries, err);
}

int kj_external_docs(struct kj_external *x, uint64_t n, struct kj_err *err)
{
    x->n_docs = n;
    x->parent = kj_budget_calloc(x->budget, n, sizeof *x->parent, err);
    x->in_play = x->parent ? kj_budget_calloc(x->budget, n / 8 + 1, 1, err) : NULL;
    if (!x->in_play)
        return KJ_FATAL;
    for (uint64_t i = 0; i < n; i++)
        x->parent[i] = (uint32_t)i;
    return KJ_OK;
}

void kj_external_unite(struct kj_external *x, uint32_t a, uint32_t b)
{
    unite(x->parent, a, b);
}

int kj_external_tie(struct kj_external *x, uint32_t doc, uint64_t bucket,
                    struct kj_err *err)
{
    x->in_play[doc / 8] |= (unsigned char)(1u << doc % 8);
    x->n_edges++;
    return kj_extsort_add(&x->entries, (uint64_t[]){place(x, doc), bucket}, err);
}

int kj_external_tied(struct kj_external *x, struct kj_err *err)
{
    int rc = kj_extsort_sort(&x->entries, err);
    return rc ? rc : kj_spill_create(&x->sets, x->dir, NULL, &set_params, err);
}

int kj_external_group(struct kj_external *x, struct kj_err *err)
{
    int rc = kj_sigs_finish(&x->sigs, err);
    if (rc)
        return rc;
    rc = kj_external_docs(x, x->sigs.n_docs, err);
    if (rc)
        return rc;
    struct edges *e = kj_xcalloc(1, sizeof *e);
    rc = kj_spill_create(&x->edges, x->dir, NULL, &edge_params, err);
    if (!rc)
        rc = unite_bands(x, e, err);
    if (!rc)
        rc = sort_edges(x, e, err);
    free(e);
    if (!rc)
        rc = kj_spill_create(&x->sets, x->dir, NULL, &set_params, err);
    return rc;
}

/* ---- the second reading ---- */

int kj_external_add_candidate(struct kj_external *x, const struct kj_candidate *d,
                              struct kj_err *err)
{
    struct stored m = {.number = d->number,
                       .tie = d->tie,
                       .weight = d->weight,
                       .same = d->same,
                       .n = d->n,
                       .id = d->id.n,
                       .word = d->word.n};
    int rc = KJ_OK;
    if (!kj_external_candidate(x, d->doc))
        return kj_err_set(err, KJ_FATAL, "the input changed between two readings");
    if (d->n)
        rc = kj_spill_add(&x->sets, d->set, d->n * sizeof *d->set, &m.pos, err);
    size_t n = sizeof m + d->id.n + d->word.n;
    char *p = kj_xmalloc(n);
    memcpy(p, &m, sizeof m);
    if (d->id.n)
        memcpy(p + sizeof m, d->id.p, d->id.n);
    if (d->word.n)
        memcpy(p + sizeof m + d->id.n, d->word.p, d->word.n);
    uint64_t pos = 0;
    if (!rc)
        rc = kj_spill_add(&x->sets, p, n, &pos, err);
    free(p);
    x->n_candidates++;
    if (!rc)
        rc = kj_extsort_add(&x->members,
                            (uint64_t[]){place(x, (uint32_t)d->doc), pos, n}, err);
    return rc;
}

void kj_external_release(struct kj_external *x)
{
    if (!x->budget)
        return;
    kj_sigs_release(&x->sigs);
    kj_external_drop_docs(x);
    kj_extsort_release(&x->entries);
    kj_extsort_release(&x->members);
    kj_extsort_release(&x->fates);
    struct kj_spill *files[] = {&x->edges, &x->sets, &x->names, &x->list};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        kj_spill_release(files[i]);
    kj_budget_free(x->budget, x->first, x->cap_first, sizeof *x->first);
    *x = (struct kj_external){0};
}

void kj_external_drop_docs(struct kj_external *x)
{
    kj_budget_free(x->budget, x->parent, x->n_docs, sizeof *x->parent);
    kj_budget_free(x->budget, x->in_play, x->n_docs / 8 + 1, 1);
    x->parent = NULL;
    x->in_play = NULL;
}
