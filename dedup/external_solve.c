/* external_solve.c - components to fates, and the keep-list.
 *
 * Two sorted streams, candidates and (document, bucket) pairs, are read side
 * by side. Whole components are gathered until they fill their share of the
 * memory, and are handed to cluster.h as if they were a corpus: it numbers
 * documents from 0 and buckets from 0, so they are renumbered in their order.
 * Nothing in a component knows of another, so the outcome is that of all at
 * once.
 */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "dedup/external.h"
#include "dedup/external_internal.h"
#include "dedup/lsh.h"

enum { MEMBER_COST = 400, ENTRY_COST = 60 }; /* bytes, with all that solving needs */

struct solve {
    struct kj_external *x;
    const uint64_t *member, *entry; /* next in each stream, or NULL */
    struct kj_clusters c;
    struct kj_lsh lsh;       /* entries of this lot */
    uint64_t *docs, *bucket; /* by member; by entry */
    size_t cap_docs, cap_bucket, n;
    uint64_t *name; /* by member: place of its id in names; 0 not yet written */
    size_t cap_name;
    char *buf; /* a stored candidate */
    size_t cap_buf;
};

static int advance(struct kj_extsort *from, const uint64_t **r, struct kj_err *err)
{
    int rc = kj_extsort_next(from, r, err);
    if (rc == KJ_EOF) {
        *r = NULL;
        rc = KJ_OK;
    }
    return rc;
}

static int changed(struct kj_err *err)
{
    return kj_err_set(err, KJ_FATAL, "the input changed between two readings");
}

static int grow(struct solve *s, uint64_t **p, size_t *cap, size_t need,
                struct kj_err *err)
{
    void *q = *p;
    int rc = kj_budget_grow(s->x->budget, &q, cap, need, sizeof **p, err);
    *p = q;
    return rc;
}

/* The pairs of the member in hand, as document number `local`. */
static int take_entries(struct solve *s, uint32_t local, struct kj_err *err)
{
    struct kj_lsh *l = &s->lsh;
    int rc = KJ_OK;
    if (!s->entry || s->entry[0] != s->member[0])
        return changed(err);
    while (!rc && s->entry && s->entry[0] == s->member[0]) {
        void *p = l->entries;
        rc = kj_budget_grow(l->budget, &p, &l->cap_entries, l->n_entries + 1,
                            sizeof *l->entries, err);
        l->entries = p;
        if (!rc)
            rc = grow(s, &s->bucket, &s->cap_bucket, l->n_entries + 1, err);
        if (rc)
            break;
        s->bucket[l->n_entries] = s->entry[1];
        l->entries[l->n_entries++] = (struct kj_lsh_entry){local, 0};
        rc = advance(&s->x->entries, &s->entry, err);
    }
    return rc;
}

static int take_member(struct solve *s, struct kj_err *err)
{
    struct kj_external *x = s->x;
    size_t n = (size_t)s->member[2];
    if (n > s->cap_buf) {
        s->buf = kj_xrealloc(s->buf, n);
        s->cap_buf = n;
    }
    struct stored m;
    int rc = kj_spill_read(&x->sets, s->member[1], s->buf, n, err);
    if (!rc)
        rc = grow(s, &s->docs, &s->cap_docs, s->n + 1, err);
    if (rc)
        return rc;
    memcpy(&m, s->buf, sizeof m);
    s->docs[s->n] = (uint32_t)s->member[0];
    struct kj_candidate d = {.doc = s->n,
                             .number = m.number,
                             .word = {s->buf + sizeof m + m.id, m.word},
                             .id = {s->buf + sizeof m, m.id},
                             .tie = m.tie,
                             .weight = m.weight,
                             .same = m.same,
                             .n = m.n,
                             .set_pos = m.pos};
    rc = kj_clusters_add(&s->c, &d, err);
    if (!rc)
        rc = take_entries(s, (uint32_t)s->n, err);
    s->n++;
    return rc ? rc : advance(&x->members, &s->member, err);
}

/* Components until the share is full. */
static int take_lot(struct solve *s, struct kj_err *err)
{
    int64_t max = s->x->budget->max > 0 ? s->x->budget->max : (int64_t)1 << 32;
    size_t share = (size_t)(max / 4);
    int rc = KJ_OK;
    s->n = 0;
    s->lsh.n_entries = 0;
    while (s->member && !rc) {
        uint64_t component = s->member[0] >> 32;
        while (!rc && s->member && s->member[0] >> 32 == component)
            rc = take_member(s, err);
        if (s->n * MEMBER_COST + s->lsh.n_entries * ENTRY_COST > share)
            break;
    }
    if (!rc && !s->member && s->entry)
        rc = changed(err);
    return rc;
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Give the lot's buckets the numbers from 0, in their order. */
static int number_buckets(struct solve *s, struct kj_err *err)
{
    struct kj_lsh *l = &s->lsh;
    size_t n = l->n_entries, k = 0;
    uint64_t *v = kj_budget_calloc(s->x->budget, n, sizeof *v, err);
    if (!v)
        return KJ_FATAL;
    memcpy(v, s->bucket, n * sizeof *v);
    qsort(v, n, sizeof *v, by_value);
    for (size_t i = 0; i < n; i++)
        if (!i || v[i] != v[k - 1])
            v[k++] = v[i];
    for (size_t i = 0; i < n; i++) {
        const uint64_t *at = bsearch(&s->bucket[i], v, k, sizeof *v, by_value);
        l->entries[i].bucket = (uint32_t)(at - v);
    }
    l->n_buckets = (uint32_t)k;
    l->n_docs = s->n;
    kj_budget_free(s->x->budget, v, n, sizeof *v);
    return KJ_OK;
}

/* One fate to the sorter, with its keeper's id in the file of names. */
static int note_fate(struct solve *s, size_t local, const struct kj_fate *f,
                     struct kj_err *err)
{
    struct kj_external *x = s->x;
    uint64_t *name = &s->name[f->keeper_doc], bits;
    int rc = KJ_OK;
    if (!*name)
        rc = kj_spill_add(&x->names, f->keeper.p, f->keeper.n, name, err);
    memcpy(&bits, &f->similarity, 8);
    uint64_t rec[FATE_WORDS] = {s->docs[local], f->cluster,
                                f->size,        bits,
                                *name,          (uint64_t)f->unchecked * 2 + f->dropped,
                                f->keeper.n};
    x->n_fates++;
    return rc ? rc : kj_extsort_add(&x->fates, rec, err);
}

static int solve_lot(struct solve *s, struct kj_err *err)
{
    int rc = number_buckets(s, err);
    if (!rc)
        rc = kj_clusters_solve(&s->c, &s->lsh, err);
    if (!rc)
        rc = grow(s, &s->name, &s->cap_name, s->n, err);
    if (rc)
        return rc;
    memset(s->name, 0, s->n * sizeof *s->name);
    for (size_t i = 0; i < s->n && !rc; i++) {
        struct kj_fate f;
        if (kj_clusters_find(&s->c, i, &f) && (f.dropped || f.size > 1 || f.unchecked))
            rc = note_fate(s, i, &f, err);
    }
    s->x->pairs += s->c.pairs;
    return rc;
}

/* ---- the keep-list ---- */

static int note_first(struct kj_external *x, uint64_t doc, struct kj_err *err)
{
    void *p = x->first;
    int rc = kj_budget_grow(x->budget, &p, &x->cap_first, x->n_first + 1,
                            sizeof *x->first, err);
    x->first = p;
    if (!rc)
        x->first[x->n_first++] = doc;
    return rc;
}

static int write_block(struct kj_external *x, const uint64_t *v, size_t n,
                       struct kj_err *err)
{
    int rc = note_first(x, v[0], err);
    return rc ? rc : kj_spill_add(&x->list, v, n * FATE_WORDS * 8, NULL, err);
}

static int write_list(struct kj_external *x, struct kj_err *err)
{
    uint64_t v[FATE_BLOCK * FATE_WORDS];
    const uint64_t *r;
    size_t n = 0;
    int rc = kj_spill_create(&x->list, x->dir, x->named ? "list" : NULL,
                             &x->list_params, err);
    if (!rc)
        rc = kj_extsort_sort(&x->fates, err);
    while (!rc && (rc = kj_extsort_next(&x->fates, &r, err)) == KJ_OK) {
        memcpy(v + n++ * FATE_WORDS, r, FATE_WORDS * 8);
        if (n == FATE_BLOCK) {
            rc = write_block(x, v, n, err);
            n = 0;
        }
    }
    if (rc != KJ_EOF)
        return rc;
    rc = n ? write_block(x, v, n, err) : KJ_OK;
    x->list.count[0] = x->n_fates;
    return rc ? rc : kj_spill_finish(&x->list, err);
}

static int solve_all(struct solve *s, struct kj_err *err)
{
    struct kj_external *x = s->x;
    int rc = advance(&x->members, &s->member, err);
    if (!rc)
        rc = advance(&x->entries, &s->entry, err);
    if (!rc && !s->member && s->entry)
        rc = changed(err);
    size_t cache = x->budget->max > 0 ? (size_t)x->budget->max / 8 : (size_t)1 << 29;
    if (!rc)
        rc = kj_budget_take(x->budget, cache, err);
    while (!rc && s->member) {
        kj_clusters_init(&s->c, x->threshold, x->max_compare, x->budget);
        s->c.containment = x->containment;
        kj_clusters_store(&s->c, &x->sets, cache);
        rc = take_lot(s, err);
        if (!rc)
            rc = solve_lot(s, err);
        kj_clusters_release(&s->c);
    }
    kj_budget_give(x->budget, cache);
    kj_budget_free(x->budget, s->docs, s->cap_docs, sizeof *s->docs);
    kj_budget_free(x->budget, s->bucket, s->cap_bucket, sizeof *s->bucket);
    kj_budget_free(x->budget, s->name, s->cap_name, sizeof *s->name);
    kj_budget_free(x->budget, s->lsh.entries, s->lsh.cap_entries,
                   sizeof *s->lsh.entries);
    free(s->buf);
    return rc;
}

int kj_external_solve(struct kj_external *x, struct kj_err *err)
{
    struct solve s = {.x = x, .lsh = {.bands = x->bands, .budget = x->budget}};
    kj_external_drop_docs(x);
    int rc = kj_spill_finish(&x->sets, err);
    if (!rc)
        rc = kj_extsort_sort(&x->members, err);
    if (!rc)
        rc = kj_spill_create(&x->names, x->dir, x->named ? "names" : NULL,
                             &x->name_params, err);
    if (!rc)
        rc = solve_all(&s, err);
    kj_extsort_release(&x->entries);
    kj_extsort_release(&x->members);
    kj_spill_release(&x->sets);
    if (!rc)
        rc = kj_spill_finish(&x->names, err);
    if (!rc)
        rc = write_list(x, err);
    kj_extsort_release(&x->fates);
    return rc;
}

int kj_external_open(struct kj_external *x, struct kj_err *err)
{
    uint64_t v[FATE_BLOCK * FATE_WORDS];
    int rc = kj_pieces_file(&x->names, x->dir, "names", &x->name_params, err);
    if (!rc)
        rc = kj_pieces_file(&x->list, x->dir, "list", &x->list_params, err);
    uint64_t left = rc ? 0 : x->list.count[0], pos = KJ_SPILL_HEADER;
    x->n_fates = left;
    while (left && !rc) {
        size_t n = left < FATE_BLOCK ? (size_t)left : FATE_BLOCK;
        rc = kj_spill_read(&x->list, pos, v, n * FATE_WORDS * 8, err);
        if (!rc)
            rc = note_first(x, v[0], err);
        pos += KJ_SPILL_BLOCK + n * FATE_WORDS * 8;
        left -= n;
    }
    return rc;
}

/* ---- reading ---- */

void kj_external_reader_release(struct kj_external_reader *r)
{
    if (r->at)
        kj_sigs_release(&r->piece);
    free(r->checks);
    free(r->block);
    free(r->name);
    *r = (struct kj_external_reader){0};
}

/* Column 0 of a chunk, kept while the same one is asked for. */
static int need_checks(const struct kj_sigs *sigs, struct kj_external_reader *r,
                       uint64_t chunk, struct kj_err *err)
{
    if (r->checks && r->chunk == chunk)
        return KJ_OK;
    if (!r->checks)
        r->checks = kj_xcalloc(sigs->cap, 8);
    r->chunk = UINT64_MAX;
    int rc = kj_sigs_column(sigs, chunk, 0, r->checks, err);
    if (!rc)
        r->chunk = chunk;
    return rc;
}

/* Have the piece with document *doc open; *doc becomes its number in there. */
static int need_piece(const struct kj_external *x, struct kj_external_reader *r,
                      uint64_t *doc, struct kj_err *err)
{
    size_t at = kj_pieces_find(x->pieces, *doc);
    const struct kj_piece *p = &x->pieces->v[at];
    *doc -= p->first;
    if (r->at == at + 1)
        return KJ_OK;
    if (r->at)
        kj_sigs_release(&r->piece);
    r->at = 0;
    r->chunk = UINT64_MAX;
    int rc = kj_pieces_open(x->pieces, p->file, p->part, &r->piece, err);
    if (!rc)
        r->at = at + 1;
    return rc == KJ_EOF ? kj_err_set(err, KJ_FATAL, "a file of signatures is gone")
                        : rc;
}

int kj_external_check(const struct kj_external *x, struct kj_external_reader *r,
                      uint64_t doc, uint32_t *check, struct kj_err *err)
{
    const struct kj_sigs *sigs = x->pieces ? &r->piece : &x->sigs;
    *check = 0;
    if (doc >= x->n_docs)
        return KJ_OK;
    int rc = x->pieces ? need_piece(x, r, &doc, err) : KJ_OK;
    if (!rc)
        rc = need_checks(sigs, r, doc / sigs->cap, err);
    if (!rc)
        *check = (uint32_t)r->checks[doc % sigs->cap];
    return rc;
}

/* Have the block in which doc would be. */
static int need_block(const struct kj_external *x, struct kj_external_reader *r,
                      uint64_t doc, struct kj_err *err)
{
    size_t lo = 0, hi = x->n_first;
    while (hi - lo > 1) {
        size_t mid = lo + (hi - lo) / 2;
        if (x->first[mid] <= doc)
            lo = mid;
        else
            hi = mid;
    }
    if (r->block && r->n_block && r->block_at == lo)
        return KJ_OK;
    if (!r->block)
        r->block = kj_xcalloc(FATE_BLOCK * FATE_WORDS, 8);
    size_t left = x->n_fates - lo * FATE_BLOCK, whole = FATE_BLOCK * FATE_WORDS * 8;
    r->n_block = 0;
    size_t n = left < FATE_BLOCK ? left : FATE_BLOCK;
    int rc = kj_spill_read(&x->list, KJ_SPILL_HEADER + lo * (KJ_SPILL_BLOCK + whole),
                           r->block, n * FATE_WORDS * 8, err);
    r->block_at = lo;
    r->n_block = rc ? 0 : n;
    return rc;
}

int kj_external_find(const struct kj_external *x, struct kj_external_reader *r,
                     uint64_t doc, struct kj_fate *out, bool *found, struct kj_err *err)
{
    *found = false;
    if (!x->n_first)
        return KJ_OK;
    int rc = need_block(x, r, doc, err);
    if (rc)
        return rc;
    size_t lo = 0, hi = r->n_block;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (r->block[mid * FATE_WORDS] < doc)
            lo = mid + 1;
        else
            hi = mid;
    }
    const uint64_t *f = r->block + lo * FATE_WORDS;
    if (lo == r->n_block || f[0] != doc)
        return KJ_OK;
    size_t n = (size_t)f[6];
    if (n > KJ_SPILL_LARGEST)
        return kj_err_set(err, KJ_FATAL, "%s: a name of %zu bytes", x->list.path, n);
    if (n + 1 > r->cap_name) {
        r->name = kj_xrealloc(r->name, n + 1);
        r->cap_name = n + 1;
    }
    *out = (struct kj_fate){.cluster = f[1],
                            .size = f[2],
                            .keeper = {r->name, n},
                            .dropped = f[5] & 1,
                            .unchecked = (uint32_t)(f[5] >> 1)};
    memcpy(&out->similarity, &f[3], 8);
    *found = true;
    return kj_spill_read(&x->names, f[4], r->name, n, err);
}
