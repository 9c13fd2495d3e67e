/* ledger_copies.c - texts of a few clusters, so that the report can show what
 * went beside what stayed.
 *
 * Kept are the KJ_COPIES_LARGEST largest clusters and KJ_COPIES_SAMPLED more,
 * those whose ids have the least hashes; of each its keeper and the
 * KJ_COPIES_OF members least similar to it. A document carries its cluster's id
 * and final size, so whether a cluster is among them can be said at any of its
 * members, whatever came before: the choice does not depend on the order of
 * documents, threads, parts or shards. What an earlier part or another process
 * chose is in the file already; after adding to it, the file is cut down by the
 * same order.
 */
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/utf8.h"
#include "manifests/ledger_internal.h"

/* One member of a chosen cluster. */
struct kj_copy {
    char *id, *url, *text;
    uint64_t hash; /* of id and text */
    double similarity;
    bool keeper;
};

struct kj_copied {
    char *cluster;
    uint64_t hash;
    int64_t size;
    struct kj_copy v[KJ_COPIES_OF + 1];
    size_t n;
};

static void release_copy(struct kj_copy *c)
{
    free(c->id);
    free(c->url);
    free(c->text);
}

static void release_cluster(struct kj_copied *c)
{
    for (size_t i = 0; i < c->n; i++)
        release_copy(&c->v[i]);
    free(c->cluster);
}

void kj_ledger_copies_release(struct kj_ledger *l)
{
    for (size_t i = 0; i < l->n_copied; i++)
        release_cluster(&l->copied[i]);
    free(l->copied);
    l->copied = NULL;
    l->n_copied = 0;
}

static bool smaller_hash(const struct kj_copied *a, const struct kj_copied *b)
{
    return a->hash < b->hash;
}

static bool larger(const struct kj_copied *a, const struct kj_copied *b)
{
    return a->size != b->size ? a->size > b->size : a->hash < b->hash;
}

/* How many of the list come before c. */
static size_t rank(const struct kj_ledger *l, const struct kj_copied *c,
                   bool (*before)(const struct kj_copied *, const struct kj_copied *))
{
    size_t n = 0;
    for (size_t i = 0; i < l->n_copied; i++)
        n += before(&l->copied[i], c);
    return n;
}

static bool chosen(const struct kj_ledger *l, const struct kj_copied *c)
{
    return rank(l, c, larger) < KJ_COPIES_LARGEST ||
           rank(l, c, smaller_hash) < KJ_COPIES_SAMPLED;
}

static struct kj_copied *find_cluster(struct kj_ledger *l, struct kj_str id,
                                      int64_t size)
{
    for (size_t i = 0; i < l->n_copied; i++)
        if (kj_str_is(id, l->copied[i].cluster))
            return &l->copied[i];
    struct kj_copied c = {.hash = kj_hash64(id.p, id.n, 0), .size = size};
    if (!chosen(l, &c))
        return NULL;
    c.cluster = kj_xstrndup(id.p, id.n);
    l->copied = kj_xrealloc(l->copied, (l->n_copied + 1) * sizeof *l->copied);
    l->copied[l->n_copied++] = c;
    for (size_t i = 0; i < l->n_copied; i++)
        while (i < l->n_copied && !chosen(l, &l->copied[i])) {
            release_cluster(&l->copied[i]);
            l->copied[i] = l->copied[--l->n_copied];
        }
    for (size_t i = 0; i < l->n_copied; i++)
        if (kj_str_is(id, l->copied[i].cluster))
            return &l->copied[i];
    return NULL;
}

/* Keepers first, then by similarity, least first. */
static bool copy_before(const struct kj_copy *a, const struct kj_copy *b)
{
    if (a->keeper != b->keeper)
        return a->keeper;
    if (a->similarity != b->similarity)
        return a->similarity < b->similarity;
    return a->hash < b->hash;
}

static struct kj_str head_of(struct kj_str s, size_t n)
{
    return (struct kj_str){s.p, kj_utf8_cut(s.p, s.n, n)};
}

void kj_ledger_copies_add(struct kj_ledger *l, const struct kj_doc *d, struct kj_str id,
                          int64_t size, struct kj_str keeper, double similarity)
{
    struct kj_copied *c = id.n && size > 1 ? find_cluster(l, id, size) : NULL;
    if (!c)
        return;
    struct kj_copy m = {.similarity = similarity, .keeper = kj_doc_kept(d)};
    if (m.keeper && !(keeper.n == d->id.n && memcmp(keeper.p, d->id.p, d->id.n) == 0))
        return; /* of an earlier deduplication */
    m.hash = kj_hash64(d->text.p, d->text.n, kj_hash64(d->id.p, d->id.n, 0));
    size_t at = 0;
    while (at < c->n && !copy_before(&m, &c->v[at]))
        at++;
    if (at > KJ_COPIES_OF)
        return;
    struct kj_str text = head_of(d->text, KJ_COPIES_TEXT);
    m.id = kj_xstrndup(d->id.n ? d->id.p : "", d->id.n);
    m.url = d->url.n ? kj_xstrndup(d->url.p, head_of(d->url, 1000).n) : NULL;
    m.text = kj_xstrndup(text.n ? text.p : "", text.n);
    if (c->n > KJ_COPIES_OF)
        release_copy(&c->v[--c->n]);
    memmove(&c->v[at + 1], &c->v[at], (c->n - at) * sizeof m);
    c->v[at] = m;
    c->n++;
}

/* The same order in the file; hashes compare as unsigned numbers, as above. */
static const char cut_down[] =
    "DELETE FROM copies WHERE cluster NOT IN (SELECT cluster FROM (SELECT DISTINCT"
    " cluster, size, hash FROM copies ORDER BY size DESC, hash < 0, hash LIMIT ?1)) AND"
    " cluster NOT IN (SELECT cluster FROM (SELECT DISTINCT cluster, hash FROM copies"
    " ORDER BY hash < 0, hash LIMIT ?2))";
static const char cut_members[] =
    "DELETE FROM copies WHERE rowid IN (SELECT rowid FROM (SELECT rowid, row_number()"
    " OVER (PARTITION BY cluster ORDER BY kept DESC, similarity, member < 0, member) AS"
    " k FROM copies) WHERE k > ?)";

int kj_ledger_copies_flush(struct kj_ledger *l, struct kj_err *err)
{
    int rc = KJ_OK;
    if (!l->n_copied)
        return KJ_OK;
    for (size_t i = 0; i < l->n_copied; i++)
        for (size_t k = 0; k < l->copied[i].n && rc == KJ_OK; k++) {
            const struct kj_copied *c = &l->copied[i];
            const struct kj_copy *m = &c->v[k];
            rc = kj_db_do(l, err,
                          "INSERT OR REPLACE INTO copies (cluster, hash, size, id, url,"
                          " kept, similarity, member, text) VALUES (?,?,?,?,?,?,?,?,?)",
                          "siissidis", c->cluster, (int64_t)c->hash, c->size, m->id,
                          m->url, (int64_t)m->keeper, m->similarity, (int64_t)m->hash,
                          m->text);
        }
    if (rc == KJ_OK)
        rc = kj_db_do(l, err, cut_down, "ii", (int64_t)KJ_COPIES_LARGEST,
                      (int64_t)KJ_COPIES_SAMPLED);
    if (rc == KJ_OK)
        rc = kj_db_do(l, err, cut_members, "i", (int64_t)KJ_COPIES_OF + 1);
    return rc;
}
