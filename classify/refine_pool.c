/* refine_pool.c - the pool of refine: scored, chosen from, fetched.
 *
 * Two passes. The first leaves 24 bytes a document: the score and hashes of id
 * and text. Sorted by all three, their order is total but for documents that
 * are equal in id and text, so the choice does not depend on the order of the
 * input. The second pass fetches the few texts that were chosen.
 */
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/doc.h"
#include "base/err.h"
#include "base/hash.h"
#include "classify/refine_internal.h"

#define GROUPS_MAX 1000000 /* names kept apart; later ones count as GROUP_REST */
#define GROUP_REST "(others)"
#define ID_SEED    1 /* of the hash of ids: those of texts are 0 */

static size_t table_size(size_t n)
{
    size_t size = 64;
    while (size < 2 * n)
        size *= 2;
    return size;
}

void refine_pool_init(struct refine_pool *p, const struct kj_refine *o,
                      struct kj_corpus *corpus, const struct kj_refine_set *a,
                      const struct kj_refine_set *b)
{
    *p = (struct refine_pool){.corpus = corpus, .o = o};
    p->n_known = 2 * (a->n + b->n);
    p->known = kj_xcalloc(p->n_known + 1, sizeof *p->known);
    size_t k = 0;
    for (size_t i = 0; i < a->n + b->n; i++) {
        const struct kj_refine_item *t = i < a->n ? &a->v[i] : &b->v[i - a->n];
        p->known[k++] = t->id;
        p->known[k++] = t->text;
    }
    qsort(p->known, p->n_known, sizeof *p->known, refine_compare_u64);
    kj_buf_init(&p->text, (size_t)o->memory);
    kj_arena_init(&p->names, (size_t)1 << 30);
}

void refine_pool_release(struct refine_pool *p)
{
    kj_buf_release(&p->text);
    kj_arena_release(&p->names);
    free(p->known);
    free(p->keys);
    free(p->picks);
    free(p->slots);
    free(p->groups);
    free(p->group_slots);
}

/* ---- first pass: scores ---- */

struct scorer {
    struct kj_ft_scratch *s;
    struct kj_ft_hit *hits;
    struct kj_buf line;
    struct refine_key *keys;
    size_t n, cap;
};

struct scoring {
    const struct refine_pool *p;
    const struct kj_ft *m;
    int32_t target;
    struct scorer *w;
    atomic_size_t bytes;
    atomic_ullong damaged;
};

static bool is_known(const struct refine_pool *p, uint64_t hash)
{
    return bsearch(&hash, p->known, p->n_known, sizeof hash, refine_compare_u64) !=
           NULL;
}

static int add_key(struct scoring *v, struct scorer *w, struct refine_key k,
                   struct kj_err *err)
{
    if (w->n == w->cap) {
        size_t more = w->cap ? w->cap : 4096, bytes = more * sizeof *w->keys;
        /* all keys are put side by side later, hence half */
        if (atomic_fetch_add(&v->bytes, bytes) + bytes > (size_t)v->p->o->memory / 2)
            return kj_err_set(err, KJ_FATAL,
                              "the scores of the pool need more than --memory");
        w->cap += more;
        w->keys = kj_xrealloc(w->keys, w->cap * sizeof *w->keys);
    }
    w->keys[w->n++] = k;
    return KJ_OK;
}

static int score_document(struct scoring *v, struct scorer *w, const struct kj_doc *d,
                          struct kj_err *err)
{
    struct refine_key k = {.id = kj_hash64(d->id.p, d->id.n, ID_SEED)};
    if (is_known(v->p, k.id) || refine_line(&w->line, d->text.p, d->text.n) != KJ_OK ||
        w->line.n == 0)
        return KJ_OK;
    k.text = kj_hash64(w->line.p, w->line.n, 0);
    if (is_known(v->p, k.text))
        return KJ_OK;
    int rc = v->m ? kj_ft_score(v->m, w->s, v->target, w->line.p, w->line.n, w->hits,
                                &k.score, err)
                  : KJ_OK;
    if (rc == KJ_BAD_RECORD) { /* beyond all measure: no document to learn from */
        kj_err_reset(err);
        return KJ_OK;
    }
    if (rc != KJ_OK) {
        kj_err_doc(err, d->id.p, d->id.n);
        return KJ_FATAL;
    }
    return add_key(v, w, k, err);
}

static int score_batch(void *ctx, unsigned worker, struct kj_batch *b,
                       struct kj_err *err)
{
    struct scoring *v = ctx;
    int rc = KJ_OK;
    for (size_t i = 0; i < b->n && rc == KJ_OK; i++)
        if (!kj_doc_kept(&b->docs[i]))
            atomic_fetch_add(&v->damaged, 1);
        else
            rc = score_document(v, &v->w[worker], &b->docs[i], err);
    return rc;
}

static int best_first(const void *pa, const void *pb)
{
    const struct refine_key *a = pa, *b = pb;
    if (a->score != b->score)
        return a->score > b->score ? -1 : 1;
    if (a->id != b->id)
        return a->id < b->id ? -1 : 1;
    return (a->text > b->text) - (a->text < b->text);
}

int refine_pool_score(struct refine_pool *p, const struct kj_ft *m, struct kj_err *err)
{
    struct scoring v = {.p = p, .m = m};
    unsigned threads = p->corpus->threads ? p->corpus->threads : 1;
    v.target = m ? kj_ft_label_find(m, "hq") : 0;
    v.w = kj_xcalloc(threads, sizeof *v.w);
    for (unsigned i = 0; i < threads; i++) {
        kj_buf_init(&v.w[i].line, KJ_DOC_LINE_MAX);
        v.w[i].s = m ? kj_ft_scratch_new(m, 0) : NULL;
        v.w[i].hits = kj_xcalloc(m ? (size_t)kj_ft_labels(m) : 1, sizeof *v.w[i].hits);
    }
    int rc = p->corpus->pass(p->corpus, &v, score_batch, NULL, err);
    p->damaged = atomic_load(&v.damaged);
    p->n = 0;
    for (unsigned i = 0; i < threads; i++)
        p->n += v.w[i].n;
    free(p->keys);
    p->keys = kj_xcalloc(p->n + 1, sizeof *p->keys);
    size_t at = 0;
    for (unsigned i = 0; i < threads; i++) {
        if (v.w[i].n)
            memcpy(p->keys + at, v.w[i].keys, v.w[i].n * sizeof *p->keys);
        at += v.w[i].n;
        free(v.w[i].keys);
        free(v.w[i].hits);
        if (m)
            kj_ft_scratch_free(v.w[i].s);
        kj_buf_release(&v.w[i].line);
    }
    free(v.w);
    qsort(p->keys, p->n, sizeof *p->keys, best_first);
    return rc;
}

/* ---- the choice ---- */

struct lot {
    uint64_t hash;
    size_t key;
};

static int lowest_lot(const void *pa, const void *pb)
{
    const struct lot *a = pa, *b = pb;
    if (a->hash != b->hash)
        return a->hash < b->hash ? -1 : 1;
    return (a->key > b->key) - (a->key < b->key);
}

/* Every document draws a lot from its own content; the lowest are taken. */
static size_t draw_negatives(struct refine_pool *p, size_t from, size_t want,
                             uint64_t draw)
{
    size_t n = from < p->n ? p->n - from : 0;
    struct lot *lots = kj_xcalloc(n + 1, sizeof *lots);
    for (size_t i = 0; i < n; i++) {
        const struct refine_key *k = &p->keys[from + i];
        uint64_t both[2] = {k->id, k->text};
        lots[i] = (struct lot){kj_hash64(both, sizeof both, draw), from + i};
    }
    qsort(lots, n, sizeof *lots, lowest_lot);
    want = want < n ? want : n;
    for (size_t i = 0; i < want; i++)
        p->picks[p->n_picks++] = (struct refine_pick){.key = p->keys[lots[i].key]};
    free(lots);
    return want;
}

void refine_pool_choose(struct refine_pool *p, size_t harvest, size_t negatives,
                        size_t margin, uint64_t draw)
{
    size_t room = p->n < harvest + negatives ? p->n : harvest + negatives;
    free(p->picks);
    free(p->slots);
    p->picks = kj_xcalloc(room + 1, sizeof *p->picks);
    p->n_picks = 0;
    p->n_harvest = harvest < p->n ? harvest : p->n;
    for (size_t i = 0; i < p->n_harvest; i++)
        p->picks[p->n_picks++] =
            (struct refine_pick){.key = p->keys[i], .positive = true};
    draw_negatives(p, margin > p->n_harvest ? margin : p->n_harvest, negatives, draw);
    size_t size = table_size(p->n_picks);
    p->mask = size - 1;
    p->slots = kj_xcalloc(size, sizeof *p->slots);
    for (size_t i = 0; i < p->n_picks; i++) {
        size_t at = p->picks[i].key.id & p->mask;
        while (p->slots[at])
            at = (at + 1) & p->mask;
        p->slots[at] = i + 1;
    }
}

/* ---- second pass: texts and groups ---- */

/* The host of an address without "www.", or the source. */
static struct kj_str group_name(const struct kj_doc *d)
{
    struct kj_str s = d->url;
    if (!s.n)
        return d->source.n ? d->source : KJ_STR("(none)");
    for (size_t i = 0; i + 2 < s.n; i++)
        if (memcmp(s.p + i, "://", 3) == 0) {
            s.p += i + 3;
            s.n -= i + 3;
            break;
        }
    size_t n = 0;
    while (n < s.n && s.p[n] != '/' && s.p[n] != ':' && s.p[n] != '?' && s.p[n] != '#')
        n++;
    if (n > 4 && memcmp(s.p, "www.", 4) == 0)
        return (struct kj_str){s.p + 4, n - 4};
    return (struct kj_str){s.p, n};
}

static void group_grow(struct refine_pool *p)
{
    p->cap_groups = p->cap_groups ? 2 * p->cap_groups : 256;
    p->groups = kj_xrealloc(p->groups, p->cap_groups * sizeof *p->groups);
    free(p->group_slots);
    size_t size = table_size(p->cap_groups);
    p->group_mask = size - 1;
    p->group_slots = kj_xcalloc(size, sizeof *p->group_slots);
    for (size_t i = 0; i < p->n_groups; i++) {
        size_t at = kj_hash64(p->groups[i].name, p->groups[i].n, 0) & p->group_mask;
        while (p->group_slots[at])
            at = (at + 1) & p->group_mask;
        p->group_slots[at] = i + 1;
    }
}

static size_t group_find(struct refine_pool *p, struct kj_str name)
{
    if (p->n_groups >= GROUPS_MAX)
        name = KJ_STR(GROUP_REST);
    if (p->n_groups == p->cap_groups)
        group_grow(p);
    size_t at = kj_hash64(name.p, name.n, 0) & p->group_mask;
    for (; p->group_slots[at]; at = (at + 1) & p->group_mask) {
        const struct refine_group *g = &p->groups[p->group_slots[at] - 1];
        if (g->n == name.n && memcmp(g->name, name.p, name.n) == 0)
            return p->group_slots[at] - 1;
    }
    const char *copy = kj_arena_dup(&p->names, name.p, name.n);
    p->groups[p->n_groups] =
        (struct refine_group){copy ? copy : "", copy ? name.n : 0, 0, 0};
    p->group_slots[at] = p->n_groups + 1;
    return p->n_groups++;
}

/* Is the document chosen? Its text is kept then. Two that are equal in id and
 * text are two picks, each found once. */
static int fetch(struct refine_pool *p, const struct kj_doc *d, size_t group,
                 struct kj_buf *line)
{
    uint64_t id = kj_hash64(d->id.p, d->id.n, ID_SEED), text = 0;
    int rc = KJ_OK;
    for (size_t at = id & p->mask; p->slots[at]; at = (at + 1) & p->mask) {
        struct refine_pick *k = &p->picks[p->slots[at] - 1];
        if (k->key.id != id || k->found)
            continue;
        if (!text) {
            if ((rc = refine_line(line, d->text.p, d->text.n)) != KJ_OK)
                return KJ_OK;
            text = kj_hash64(line->p, line->n, 0);
        }
        if (k->key.text != text)
            continue;
        k->found = true;
        k->group = group;
        p->groups[group].harvest += k->positive;
        k->id_at = p->text.n;
        k->id_n = d->id.n;
        rc = kj_buf_add(&p->text, d->id.p, d->id.n);
        k->at = p->text.n;
        k->n = line->n;
        return rc == KJ_OK ? kj_buf_add(&p->text, line->p, line->n) : rc;
    }
    return KJ_OK;
}

struct fetching {
    struct refine_pool *p;
    struct kj_buf line;
};

static int fetch_batch(void *ctx, struct kj_batch *b, struct kj_err *err)
{
    struct fetching *f = ctx;
    for (size_t i = 0; i < b->n; i++) {
        const struct kj_doc *d = &b->docs[i];
        if (!kj_doc_kept(d))
            continue;
        size_t g = group_find(f->p, group_name(d));
        f->p->groups[g].pool++;
        if (fetch(f->p, d, g, &f->line) != KJ_OK)
            return kj_err_set(err, KJ_FATAL,
                              "the texts of a round do not fit --memory");
    }
    return KJ_OK;
}

static int by_harvest(const void *pa, const void *pb)
{
    const struct refine_group *const *a = pa, *const *b = pb;
    size_t n = (*a)->n < (*b)->n ? (*a)->n : (*b)->n;
    if ((*a)->harvest != (*b)->harvest)
        return (*a)->harvest > (*b)->harvest ? -1 : 1;
    int c = memcmp((*a)->name, (*b)->name, n);
    return c ? c : ((*a)->n > (*b)->n) - ((*a)->n < (*b)->n);
}

/* Groups in an order of their own, that of the report; picks follow. */
static void sort_groups(struct refine_pool *p)
{
    struct refine_group **by = kj_xcalloc(p->n_groups + 1, sizeof *by);
    struct refine_group *sorted = kj_xcalloc(p->n_groups + 1, sizeof *sorted);
    size_t *to = kj_xcalloc(p->n_groups + 1, sizeof *to);
    for (size_t i = 0; i < p->n_groups; i++)
        by[i] = &p->groups[i];
    qsort(by, p->n_groups, sizeof *by,
          by_harvest); // NOLINT: pointers are what it sorts
    for (size_t i = 0; i < p->n_groups; i++) {
        to[by[i] - p->groups] = i;
        sorted[i] = *by[i];
    }
    for (size_t i = 0; i < p->n_picks; i++)
        p->picks[i].group = to[p->picks[i].group];
    free(p->groups);
    free(to);
    free(by);
    p->groups = sorted;
    p->cap_groups = p->n_groups + 1;
}

int refine_pool_collect(struct refine_pool *p, struct kj_err *err)
{
    struct fetching f = {.p = p};
    kj_buf_reset(&p->text);
    kj_arena_reset(&p->names);
    p->n_groups = 0;
    p->cap_groups = 0;
    group_grow(p);
    kj_buf_init(&f.line, KJ_DOC_LINE_MAX);
    int rc = p->corpus->pass(p->corpus, &f, NULL, fetch_batch, err);
    kj_buf_release(&f.line);
    sort_groups(p);
    for (size_t i = 0; i < p->n_picks && rc == KJ_OK; i++)
        if (!p->picks[i].found)
            rc = kj_err_set(err, KJ_FAIL, "the pool changed while it was read");
    return rc;
}
