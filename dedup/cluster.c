/* cluster.c - the greedy pass over candidates in keeper order.
 *
 * Each bucket has the list of its kept documents, in the order in which they
 * were kept. A new document walks the lists of its buckets, meets every kept
 * document at most once (a stamp), and compares sets. The cost is linear in
 * candidate pairs (document, kept document), with the bound of cluster.h.
 *
 * Sets that are equal are stored once, under a 128-bit hash of their content;
 * the fate of a set is remembered, so that the thousand copies of one page
 * cost one comparison and no memory beyond their row.
 */
#include "dedup/cluster.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "dedup/lsh.h"
#include "dedup/shingle.h"
#include "dedup/spill.h"

#define NONE UINT32_MAX

struct kj_member {
    uint32_t doc, set, keeper, unchecked;
    double number, similarity;
    struct kj_str word, id;
    uint64_t tie, weight, size; /* size: of the cluster, for keepers */
};

struct kj_set {
    struct kj_hash128 same;
    const uint64_t *v;
    uint32_t n;
    uint32_t keeper; /* NONE: undecided */
    double similarity;
    uint64_t pos;  /* in the store, if v was not given */
    uint32_t next; /* in the list of those read from the store, oldest first */
    bool stored;
};

/* What one call of solve() needs. */
struct solver {
    struct kj_clusters *c;
    size_t n_entries, n_buckets;
    uint32_t *order;             /* members in keeper order */
    uint32_t *rank;              /* its inverse */
    uint32_t *start;             /* member: where its buckets start; n + 1 */
    uint32_t *buckets;           /* entries, by member */
    uint32_t *head, *tail, *len; /* of each bucket's list of kept */
    uint32_t *node_member, *node_next;
    uint32_t n_nodes;
    uint32_t *stamp; /* member: the last one that met it, + 1 */
};

void kj_clusters_init(struct kj_clusters *c, double threshold, uint32_t max_compare,
                      struct kj_budget *budget)
{
    *c = (struct kj_clusters){
        .budget = budget, .threshold = threshold, .max_compare = max_compare};
    size_t cap = budget->max > 0 ? (size_t)budget->max : SIZE_MAX / 4;
    kj_arena_init(&c->ids, cap);
    kj_arena_init(&c->pool, cap);
    c->cache_head = c->cache_tail = NONE;
}

void kj_clusters_store(struct kj_clusters *c, const struct kj_spill *store,
                       size_t bytes)
{
    c->store = store;
    c->cache_max = bytes;
}

/* Let go of the set that was read first. */
static void evict(struct kj_clusters *c)
{
    struct kj_set *s = &c->sets[c->cache_head];
    c->cache_head = s->next;
    if (c->cache_head == NONE)
        c->cache_tail = NONE;
    c->cached -= s->n * sizeof *s->v;
    free((void *)(uintptr_t)s->v);
    s->v = NULL;
}

static void enlist(struct kj_clusters *c, uint32_t set)
{
    c->sets[set].next = NONE;
    if (c->cache_tail != NONE)
        c->sets[c->cache_tail].next = set;
    else
        c->cache_head = set;
    c->cache_tail = set;
}

/* Have the set in memory; `pinned` is not to go for it. */
static int need_set(struct kj_clusters *c, uint32_t set, uint32_t pinned,
                    struct kj_err *err)
{
    struct kj_set *s = &c->sets[set];
    if (!s->stored || s->v)
        return KJ_OK;
    size_t bytes = s->n * sizeof *s->v;
    while (c->cache_head != NONE && c->cached + bytes > c->cache_max) {
        uint32_t first = c->cache_head;
        if (first != pinned) {
            evict(c);
            continue;
        }
        if (c->sets[first].next == NONE)
            break;
        c->cache_head = c->sets[first].next;
        enlist(c, first);
    }
    uint64_t *v = kj_xmalloc(bytes);
    int rc = kj_spill_read(c->store, s->pos, v, bytes, err);
    if (rc) {
        free(v);
        return rc;
    }
    s->v = v;
    c->cached += bytes;
    enlist(c, set);
    return KJ_OK;
}

static void free_sets(struct kj_clusters *c)
{
    while (c->cache_head != NONE)
        evict(c);
    kj_budget_give(c->budget, c->pool.used);
    kj_arena_release(&c->pool);
    kj_budget_free(c->budget, c->sets, c->cap_sets, sizeof *c->sets);
    kj_budget_free(c->budget, c->table, c->n_table, sizeof *c->table);
    c->sets = NULL;
    c->table = NULL;
    c->n_sets = c->cap_sets = c->n_table = 0;
}

void kj_clusters_release(struct kj_clusters *c)
{
    free_sets(c);
    kj_budget_give(c->budget, c->ids.used);
    kj_arena_release(&c->ids);
    kj_budget_free(c->budget, c->members, c->cap, sizeof *c->members);
    c->members = NULL;
    c->n = c->cap = 0;
}

/* Copy into an arena, counted. */
static void *keep(struct kj_clusters *c, struct kj_arena *a, const void *p, size_t n,
                  struct kj_err *err)
{
    size_t before = a->used;
    if (kj_budget_take(c->budget, n + 16, err))
        return NULL;
    kj_budget_give(c->budget, n + 16);
    void *q = kj_arena_alloc(a, n ? n : 1);
    if (!q) {
        kj_err_set(err, KJ_FATAL, "%s: out of memory", c->budget->doing);
        return NULL;
    }
    c->budget->used += (int64_t)(a->used - before);
    if (n)
        memcpy(q, p, n);
    return q;
}

static int grow_table(struct kj_clusters *c, struct kj_err *err)
{
    size_t n = c->n_table ? 2 * c->n_table : 1024;
    uint32_t *t = kj_budget_calloc(c->budget, n, sizeof *t, err);
    if (!t)
        return KJ_FATAL;
    for (size_t s = 0; s < c->n_sets; s++) {
        size_t i = (size_t)c->sets[s].same.lo & (n - 1);
        while (t[i])
            i = (i + 1) & (n - 1);
        t[i] = (uint32_t)s + 1;
    }
    kj_budget_free(c->budget, c->table, c->n_table, sizeof *t);
    c->table = t;
    c->n_table = n;
    return KJ_OK;
}

/* Index of the candidate's set, stored when it is new. */
static int intern_set(struct kj_clusters *c, const struct kj_candidate *d,
                      uint32_t *out, struct kj_err *err)
{
    int rc = 2 * (c->n_sets + 1) > c->n_table ? grow_table(c, err) : KJ_OK;
    if (rc)
        return rc;
    size_t i = (size_t)d->same.lo & (c->n_table - 1);
    for (; c->table[i]; i = (i + 1) & (c->n_table - 1)) {
        const struct kj_set *s = &c->sets[c->table[i] - 1];
        if (s->same.lo == d->same.lo && s->same.hi == d->same.hi) {
            *out = c->table[i] - 1;
            return KJ_OK;
        }
    }
    void *p = c->sets;
    rc = kj_budget_grow(c->budget, &p, &c->cap_sets, c->n_sets + 1, sizeof *c->sets,
                        err);
    c->sets = p;
    if (rc)
        return rc;
    bool stored = d->n && !d->set;
    const uint64_t *v =
        d->set ? keep(c, &c->pool, d->set, d->n * sizeof *d->set, err) : NULL;
    if (d->set && !v)
        return KJ_FATAL;
    *out = (uint32_t)c->n_sets;
    c->sets[c->n_sets++] = (struct kj_set){.same = d->same,
                                           .v = v,
                                           .n = (uint32_t)d->n,
                                           .keeper = NONE,
                                           .pos = d->set_pos,
                                           .next = NONE,
                                           .stored = stored};
    c->table[i] = *out + 1;
    return KJ_OK;
}

static int keep_str(struct kj_clusters *c, struct kj_str s, struct kj_str *out,
                    struct kj_err *err)
{
    *out = (struct kj_str){NULL, 0};
    if (!s.n)
        return KJ_OK;
    out->p = keep(c, &c->ids, s.p, s.n, err);
    out->n = out->p ? s.n : 0;
    return out->p ? KJ_OK : KJ_FATAL;
}

int kj_clusters_add(struct kj_clusters *c, const struct kj_candidate *d,
                    struct kj_err *err)
{
    void *p = c->members;
    int rc = kj_budget_grow(c->budget, &p, &c->cap, c->n + 1, sizeof *c->members, err);
    c->members = p;
    if (rc)
        return rc;
    struct kj_member *m = &c->members[c->n];
    *m = (struct kj_member){.doc = (uint32_t)d->doc,
                            .keeper = NONE,
                            .number = d->number,
                            .tie = d->tie,
                            .weight = d->weight};
    rc = intern_set(c, d, &m->set, err);
    if (!rc)
        rc = keep_str(c, d->id, &m->id, err);
    if (!rc)
        rc = keep_str(c, d->word, &m->word, err);
    c->n += rc == KJ_OK;
    return rc;
}

static int compare_str(struct kj_str a, struct kj_str b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int r = n ? memcmp(a.p, b.p, n) : 0;
    return r ? r : (a.n > b.n) - (a.n < b.n);
}

static int keeper_order(const void *a, const void *b)
{
    const struct kj_member *x = *(const struct kj_member *const *)a;
    const struct kj_member *y = *(const struct kj_member *const *)b;
    if (x->number != y->number)
        return x->number < y->number ? -1 : 1;
    int r = compare_str(y->word, x->word);
    if (!r)
        r = compare_str(x->id, y->id);
    if (!r)
        r = (x->tie > y->tie) - (x->tie < y->tie);
    return r ? r : (x->doc > y->doc) - (x->doc < y->doc);
}

/* All arrays of a solver in one place: allocated and freed by the same list. */
static int solver_arrays(struct solver *s, bool take, struct kj_err *err)
{
    size_t n = s->c->n, e = s->n_entries, k = s->n_buckets;
    struct {
        uint32_t **p;
        size_t n;
    } list[] = {{&s->order, n},   {&s->rank, n},        {&s->start, n + 1},
                {&s->buckets, e}, {&s->head, k},        {&s->tail, k},
                {&s->len, k},     {&s->node_member, e}, {&s->node_next, e},
                {&s->stamp, n}};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        if (!take) {
            kj_budget_free(s->c->budget, *list[i].p, list[i].n, sizeof(uint32_t));
        } else {
            *list[i].p =
                kj_budget_calloc(s->c->budget, list[i].n, sizeof(uint32_t), err);
            if (!*list[i].p)
                return KJ_FATAL;
        }
    }
    return KJ_OK;
}

static int sort_members(struct solver *s, struct kj_err *err)
{
    struct kj_clusters *c = s->c;
    const struct kj_member **v = kj_budget_calloc(c->budget, c->n, sizeof *v, err);
    if (!v)
        return KJ_FATAL;
    for (size_t i = 0; i < c->n; i++)
        v[i] = &c->members[i];
    qsort(v, c->n, sizeof *v, keeper_order);
    for (size_t i = 0; i < c->n; i++) {
        s->order[i] = (uint32_t)(v[i] - c->members);
        s->rank[s->order[i]] = (uint32_t)i;
    }
    kj_budget_free(c->budget, v, c->n, sizeof *v);
    return KJ_OK;
}

/* Member of a document, or NONE. */
static uint32_t find_member(const struct kj_clusters *c, uint64_t doc)
{
    size_t lo = 0, hi = c->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (c->members[mid].doc < doc)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < c->n && c->members[lo].doc == doc ? (uint32_t)lo : NONE;
}

/* Turn (document, bucket) entries into each member's list of buckets. */
static int list_buckets(struct solver *s, const struct kj_lsh *l, struct kj_err *err)
{
    struct kj_clusters *c = s->c;
    uint32_t *map = kj_budget_calloc(c->budget, l->n_docs, sizeof *map, err);
    if (!map)
        return KJ_FATAL;
    int rc = KJ_OK;
    for (size_t i = 0; i < c->n; i++)
        map[c->members[i].doc] = (uint32_t)i + 1;
    for (size_t i = 0; i < l->n_entries && !rc; i++) {
        uint32_t m = map[l->entries[i].doc];
        if (m)
            s->start[m]++;
        else
            rc = kj_err_set(err, KJ_FATAL, "the input changed between two readings");
    }
    for (size_t i = 0; i < c->n; i++)
        s->start[i + 1] += s->start[i];
    /* the stamps serve as cursors here */
    for (size_t i = 0; i < l->n_entries && !rc; i++) {
        uint32_t m = map[l->entries[i].doc] - 1;
        s->buckets[s->start[m] + s->stamp[m]++] = l->entries[i].bucket;
    }
    memset(s->stamp, 0, c->n * sizeof *s->stamp);
    kj_budget_free(c->budget, map, l->n_docs, sizeof *map);
    return rc;
}

/* The best keeper for member m among the kept of one bucket. */
static int search_bucket(struct solver *s, uint32_t m, uint32_t bucket, uint32_t *best,
                         double *sim, struct kj_err *err)
{
    struct kj_clusters *c = s->c;
    uint32_t mine = c->members[m].set, seen = 0;
    const struct kj_set *a = &c->sets[mine];
    int rc = s->head[bucket] ? need_set(c, mine, NONE, err) : KJ_OK;
    if (rc)
        return rc;
    for (uint32_t at = s->head[bucket]; at && seen < c->max_compare;
         at = s->node_next[at - 1], seen++) {
        uint32_t k = s->node_member[at - 1];
        if (s->stamp[k] == m + 1)
            continue;
        s->stamp[k] = m + 1;
        const struct kj_set *b = &c->sets[c->members[k].set];
        c->pairs++;
        rc = need_set(c, c->members[k].set, mine, err);
        if (rc)
            return rc;
        double least = *best == NONE ? c->threshold : *sim;
        double j = c->containment ? kj_shingle_contained(a->v, a->n, b->v, b->n, least)
                                  : kj_shingle_jaccard(a->v, a->n, b->v, b->n, least);
        if (j > *sim || (j >= 0 && j == *sim && s->rank[k] < s->rank[*best])) {
            *best = k;
            *sim = j;
        }
    }
    c->members[m].unchecked += s->len[bucket] - seen;
    return KJ_OK;
}

/* m stays: enter it in the lists of its buckets. */
static void enter(struct solver *s, uint32_t m)
{
    for (uint32_t i = s->start[m]; i < s->start[m + 1]; i++) {
        uint32_t b = s->buckets[i], node = ++s->n_nodes; /* 0 ends a list */
        s->node_member[node - 1] = m;
        if (s->tail[b])
            s->node_next[s->tail[b] - 1] = node;
        else
            s->head[b] = node;
        s->tail[b] = node;
        s->len[b]++;
    }
}

static int decide(struct solver *s, uint32_t m, struct kj_err *err)
{
    struct kj_clusters *c = s->c;
    struct kj_member *d = &c->members[m];
    struct kj_set *set = &c->sets[d->set];
    if (d->number == -HUGE_VAL) {
        if (set->keeper == NONE)
            set->keeper = m;
        set->similarity = 1;
        enter(s, m);
        d->keeper = m;
        d->similarity = 1;
        d->size += d->weight;
        return KJ_OK;
    }
    if (set->keeper == NONE) {
        uint32_t best = NONE;
        double sim = -1;
        for (uint32_t i = s->start[m]; i < s->start[m + 1]; i++)
            if (search_bucket(s, m, s->buckets[i], &best, &sim, err))
                return KJ_FATAL;
        set->keeper = best == NONE ? m : best;
        set->similarity = best == NONE ? 1 : sim;
        if (best == NONE)
            enter(s, m);
    }
    d->keeper = set->keeper;
    d->similarity = set->similarity;
    c->members[d->keeper].size += d->weight;
    return KJ_OK;
}

int kj_clusters_solve(struct kj_clusters *c, const struct kj_lsh *l, struct kj_err *err)
{
    struct solver s = {.c = c, .n_entries = l->n_entries, .n_buckets = l->n_buckets};
    if (l->n_entries >= UINT32_MAX || c->n >= UINT32_MAX)
        return kj_err_set(err, KJ_FATAL, "too many candidates: deduplicate in parts");
    int rc = solver_arrays(&s, true, err);
    if (!rc)
        rc = sort_members(&s, err);
    if (!rc)
        rc = list_buckets(&s, l, err);
    for (size_t i = 0; i < c->n && !rc; i++)
        rc = decide(&s, s.order[i], err);
    solver_arrays(&s, false, err);
    free_sets(c);
    return rc;
}

bool kj_clusters_find(const struct kj_clusters *c, uint64_t doc, struct kj_fate *out)
{
    uint32_t m = find_member(c, doc);
    if (m == NONE)
        return false;
    const struct kj_member *d = &c->members[m], *k = &c->members[d->keeper];
    *out = (struct kj_fate){
        .cluster = kj_hash64(k->id.p, k->id.n, k->tie),
        .keeper_doc = k->doc,
        .size = k->size,
        .keeper = k->id,
        .similarity = d->similarity,
        .dropped = d->keeper != m,
        .unchecked = d->unchecked,
    };
    return true;
}
