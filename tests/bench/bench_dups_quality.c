/* bench_dups_quality - near duplicates by bands of MinHash, beside an exact
 * comparison of all pairs.
 *
 * usage: bench_dups_quality NAME FILE.jsonl OUT.jsonl REJECTS.jsonl
 *
 * FILE holds all documents; OUT and REJECTS what kijil dedup (14 x 8, 0.8)
 * made of them. Every pair is compared by the Jaccard similarity of its sets of
 * shingles, counted without signatures, buckets or early ends. Printed are
 *   - by similarity: pairs, the share of them that have a band in common, over
 *     SEEDS draws of the permutations, and what the curve 1 - (1 - s^8)^14 says;
 *   - precision: of the documents that went, those that are as similar to their
 *     keeper as was said, and enough;
 *   - what is left: kept documents that are similar to another kept one.
 */
#include "base/doc.h"
#include "base/err.h"
#include "base/json.h"
#include "base/jsonl.h"
#include "dedup/minhash.h"
#include "dedup/shingle.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BANDS = 14, ROWS = 8, SEEDS = 100, FEW = 30 };
static const double threshold = 0.8, floor_of_pairs = 0.675;

struct text {
    char *id;
    uint64_t *set;
    size_t n;
    bool in_pair, kept;
};

struct texts {
    struct text *v;
    size_t n, cap;
};

struct pair {
    uint32_t a, b;
    double j;
};

static void fail(const struct kj_err *err)
{
    char msg[1024];
    fprintf(stderr, "bench_dups_quality: %s\n", kj_err_text(err, msg, sizeof msg));
    exit(1);
}

/* Each document of a file, in order. */
static void each(const char *path, void *ctx,
                 void (*take)(void *ctx, const struct kj_doc *d, struct kj_json *json))
{
    struct kj_source s;
    struct kj_err err = KJ_ERR_INIT;
    if (kj_jsonl_source(&s, &path, 1, &err))
        fail(&err);
    struct kj_batch b;
    kj_batch_init(&b);
    int rc;
    while (kj_batch_reset(&b), (rc = s.read(s.self, &b, &err)) == KJ_OK) {
        if (s.decode(s.self, &b, &err))
            fail(&err);
        for (size_t i = 0; i < b.n; i++)
            take(ctx, &b.docs[i], b.json);
    }
    if (rc < 0)
        fail(&err);
    kj_batch_release(&b);
    s.close(s.self);
}

static void take_text(void *ctx, const struct kj_doc *d, struct kj_json *json)
{
    struct texts *t = ctx;
    struct kj_shingler s;
    struct kj_err err = KJ_ERR_INIT;
    (void)json;
    kj_shingler_init(&s);
    if (kj_shingler_run(&s, KJ_UNIT_AUTO, 0, d->text.n ? d->text.p : "", d->text.n,
                        &err) ||
        kj_shingler_set(&s, &err))
        fail(&err);
    if (t->n == t->cap) {
        t->cap = t->cap ? 2 * t->cap : 1024;
        t->v = kj_xrealloc(t->v, t->cap * sizeof *t->v);
    }
    struct text *x = &t->v[t->n++];
    *x = (struct text){.id = kj_xstrndup(d->id.n ? d->id.p : "", d->id.n), .n = s.n};
    x->set = kj_xcalloc(s.n + 1, sizeof *x->set);
    memcpy(x->set, s.h, s.n * sizeof *x->set);
    kj_shingler_release(&s);
}

static int by_id(const void *a, const void *b)
{
    return strcmp(((const struct text *)a)->id, ((const struct text *)b)->id);
}

static struct text *find(const struct texts *t, const char *p, size_t n)
{
    char *id = kj_xstrndup(n ? p : "", n);
    struct text key = {.id = id};
    struct text *x = bsearch(&key, t->v, t->n, sizeof *t->v, by_id);
    free(id);
    return x;
}

/* By counting, without the library's early ends. */
static double jaccard(const struct text *a, const struct text *b)
{
    size_t i = 0, k = 0, both = 0;
    while (i < a->n && k < b->n) {
        if (a->set[i] == b->set[k])
            both++, i++, k++;
        else if (a->set[i] < b->set[k])
            i++;
        else
            k++;
    }
    size_t all = a->n + b->n - both;
    return all ? (double)both / (double)all : 0;
}

/* Sets as similar as that share one of the least elements of each: of n, n -
 * ceil(floor n) + 1 of them, or the rest could not hold enough. */
struct owner {
    uint64_t h;
    uint32_t text;
};

static size_t prefix(const struct text *x)
{
    return x->n - (size_t)ceil(floor_of_pairs * (double)x->n) + (x->n > 0);
}

static int by_hash(const void *a, const void *b)
{
    const struct owner *x = a, *y = b;
    if (x->h != y->h)
        return x->h < y->h ? -1 : 1;
    return (x->text > y->text) - (x->text < y->text);
}

static struct owner *all_owners(const struct texts *t, size_t *n)
{
    *n = 0;
    for (size_t i = 0; i < t->n; i++)
        *n += prefix(&t->v[i]);
    struct owner *o = kj_xcalloc(*n + 1, sizeof *o);
    size_t k = 0;
    for (uint32_t i = 0; i < t->n; i++)
        for (size_t e = 0; e < prefix(&t->v[i]); e++)
            o[k++] = (struct owner){t->v[i].set[e], i};
    qsort(o, *n, sizeof *o, by_hash);
    return o;
}

static struct pair *all_pairs(struct texts *t, size_t *n)
{
    struct pair *v = NULL;
    size_t cap = 0, n_owners;
    struct owner *o = all_owners(t, &n_owners);
    uint32_t *met =
        kj_xcalloc(t->n + 1, sizeof *met); /* by text: with whom last, + 1 */
    *n = 0;
    for (uint32_t a = 0; a < t->n; a++)
        for (size_t e = 0; e < prefix(&t->v[a]); e++) {
            struct owner key = {t->v[a].set[e], a};
            const struct owner *at = bsearch(&key, o, n_owners, sizeof *o, by_hash);
            for (at++; at < o + n_owners && at->h == key.h; at++) {
                if (met[at->text] == a + 1)
                    continue;
                met[at->text] = a + 1;
                double j = jaccard(&t->v[a], &t->v[at->text]);
                if (j < floor_of_pairs)
                    continue;
                if (*n == cap) {
                    cap = cap ? 2 * cap : 1024;
                    v = kj_xrealloc(v, cap * sizeof *v);
                }
                v[(*n)++] = (struct pair){a, at->text, j};
                t->v[a].in_pair = t->v[at->text].in_pair = true;
            }
        }
    free(met);
    free(o);
    return v;
}

/* Pairs with a band in common, by bins of similarity, for one seed. */
static void draw(const struct texts *t, const struct pair *v, size_t n, uint32_t seed,
                 const double *edges, size_t n_bins, double *found)
{
    struct kj_minhash m;
    kj_minhash_init(&m, BANDS, ROWS, seed);
    uint64_t *sig = kj_minhash_alloc(m.padded + 16);
    uint64_t *keys = kj_xcalloc(t->n * BANDS, sizeof *keys);
    for (size_t i = 0; i < t->n; i++)
        if (t->v[i].in_pair) {
            kj_minhash_sign(&m, t->v[i].set, t->v[i].n, sig);
            kj_minhash_bands(&m, sig, keys + i * BANDS);
        }
    for (size_t i = 0; i < n; i++) {
        bool hit = false;
        for (size_t b = 0; b < BANDS; b++)
            hit |= keys[v[i].a * BANDS + b] == keys[v[i].b * BANDS + b];
        for (size_t k = 0; k < n_bins && hit; k++)
            found[k] += v[i].j >= edges[k] && v[i].j < edges[k + 1];
    }
    free(keys);
    free(sig);
    kj_minhash_release(&m);
}

static void print_recall(const struct texts *t, const struct pair *v, size_t n)
{
    static const double edges[] = {.675, .725, .775, .825, .875, .95, 1.0001};
    enum { BINS = sizeof edges / sizeof *edges - 1 };
    double found[BINS] = {0}, curve[BINS] = {0}, pairs[BINS] = {0};
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < BINS; k++)
            if (v[i].j >= edges[k] && v[i].j < edges[k + 1]) {
                pairs[k]++;
                curve[k] += kj_minhash_curve(BANDS, ROWS, v[i].j);
            }
    for (uint32_t seed = 1; seed <= SEEDS; seed++)
        draw(t, v, n, seed, edges, BINS, found);
    for (size_t k = 0; k < BINS; k++) {
        if (pairs[k] == 0)
            continue;
        printf("    %.3f to %.3f  %9.0f pairs  found %6.2f %%  curve %6.2f %%  ",
               edges[k], fmin(edges[k + 1], 1), pairs[k],
               100 * found[k] / pairs[k] / SEEDS, 100 * curve[k] / pairs[k]);
        if (pairs[k] < FEW) /* and not independent of each other */
            printf("too few to tell\n");
        else
            printf("%+5.2f\n", 100 * (found[k] / SEEDS - curve[k]) / pairs[k]);
    }
}

struct verdicts {
    struct texts *t;
    size_t dropped, right;
};

static void take_kept(void *ctx, const struct kj_doc *d, struct kj_json *json)
{
    struct verdicts *q = ctx;
    struct text *x = find(q->t, d->id.p, d->id.n);
    (void)json;
    if (x)
        x->kept = true;
}

static void take_dropped(void *ctx, const struct kj_doc *d, struct kj_json *json)
{
    struct verdicts *q = ctx;
    struct kj_str raw = kj_doc_get(d, "cluster");
    const struct kj_jval *v;
    struct kj_err err = KJ_ERR_INIT;
    q->dropped++;
    if (!raw.n || kj_json_parse(json, raw.p, raw.n, &v, &err))
        return;
    struct kj_str keeper = kj_jstr(kj_jget(v, "keeper"));
    const struct text *x = find(q->t, d->id.p, d->id.n),
                      *k = find(q->t, keeper.p, keeper.n);
    double j = x && k ? jaccard(x, k) : 0;
    q->right += k && k->kept && j >= threshold &&
                fabs(j - kj_jnum(kj_jget(v, "similarity"), -1)) < 1e-9;
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fprintf(stderr, "usage: bench_dups_quality NAME FILE OUT REJECTS\n");
        return 2;
    }
    struct texts t = {0};
    each(argv[2], &t, take_text);
    qsort(t.v, t.n, sizeof *t.v, by_id);
    size_t n;
    struct pair *v = all_pairs(&t, &n);
    struct verdicts q = {.t = &t};
    each(argv[3], &q, take_kept);
    each(argv[4], &q, take_dropped);
    size_t similar = 0, left = 0, left_docs = 0;
    for (size_t i = 0; i < n; i++)
        if (v[i].j >= threshold) {
            similar++;
            left += t.v[v[i].a].kept && t.v[v[i].b].kept;
        }
    for (size_t i = 0; i < t.n; i++)
        left_docs += !t.v[i].kept;
    printf("%s: %zu documents, %zu pairs of %.1f or more; %zu went\n", argv[1], t.n,
           similar, threshold, q.dropped);
    print_recall(&t, v, n);
    printf("    precision %.4f (%zu of %zu went rightly); similar pairs left: %zu\n",
           q.dropped ? (double)q.right / (double)q.dropped : 1, q.right, q.dropped,
           left);
    for (size_t i = 0; i < t.n; i++) {
        free(t.v[i].id);
        free(t.v[i].set);
    }
    free(t.v);
    free(v);
    return q.right == q.dropped && left_docs == q.dropped ? 0 : 1;
}
