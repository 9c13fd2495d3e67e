/* survey_index.c - a corpus behind the ones that are in an index.
 *
 * What earlier corpora kept takes part like documents that come first in the
 * order of keepers and are kept without a question: their keys are grouped with
 * the corpus', and those that share a bucket with one of its documents are
 * candidates with their stored sets. Documents that were dropped earlier are not
 * needed: nobody is compared with them. So the outcome is that of one survey
 * over all corpora in which every document of an earlier one comes before every
 * document of a later one: the same documents stay. (One survey gives copies of
 * one set one fate; here a copy of what an earlier corpus dropped is judged
 * anew, and may name a more similar keeper that came in between.)
 */
#include <stdlib.h>

#include "base/doc.h"
#include "base/err.h"
#include "dedup/dedup_internal.h"

/* ---- keys and candidates ---- */

static int take_keys(void *ctx, uint64_t no, const uint64_t *keys, struct kj_err *err)
{
    struct survey *s = ctx;
    struct dedup *c = s->c;
    uint64_t doc = s->n_docs + no;
    return c->in_files ? kj_external_add(&c->external, doc, 1, keys, err)
                       : kj_lsh_add(&s->lsh, doc, keys, err);
}

int kj_dedup_index_keys(struct survey *s, struct kj_err *err)
{
    kj_index_know(&s->index, s->sum, s->n_docs);
    if (!s->n_docs)
        return KJ_OK;
    if (s->n_docs + s->index.n_use >= UINT32_MAX)
        return kj_err_set(err, KJ_FATAL,
                          "too many documents in the index and the input");
    s->c->external.settled = s->n_docs;
    s->c->budget.doing = "reading the index";
    return kj_index_keys(&s->index, take_keys, s, err);
}

static bool wanted(void *ctx, uint64_t no)
{
    const struct survey *s = ctx;
    return s->c->in_files ? kj_external_candidate(&s->c->external, s->n_docs + no)
                          : kj_lsh_candidate(&s->lsh, s->n_docs + no);
}

static int take_candidate(void *ctx, struct kj_candidate *k, struct kj_err *err)
{
    struct survey *s = ctx;
    k->doc += s->n_docs;
    return s->c->in_files ? kj_external_add_candidate(&s->c->external, k, err)
                          : kj_clusters_add(&s->c->clusters, k, err);
}

int kj_dedup_index_candidates(struct survey *s, struct kj_err *err)
{
    if (!s->n_docs || !(s->c->in_files ? s->c->external.n_edges : s->lsh.n_entries))
        return KJ_OK;
    return kj_index_candidates(&s->index, wanted, take_candidate, s, err);
}

/* ---- what is kept ---- */

struct append {
    struct survey *s;
    struct kj_external_reader *readers; /* by worker */
};

static int work(void *ctx, unsigned worker, struct kj_batch *b, struct kj_err *err)
{
    struct append *a = ctx;
    struct kj_dedup_found *f = kj_arena_zalloc(&b->arena, (b->n + 1) * sizeof *f);
    b->aux = f;
    if (!f)
        return kj_err_set(err, KJ_FATAL, "a batch does not fit its memory");
    int rc = KJ_OK;
    for (size_t i = 0; i < b->n && !rc; i++) {
        const struct kj_doc *d = &b->docs[i];
        struct kj_fate fate = {0};
        uint32_t check;
        bool found = false;
        if (!kj_doc_kept(d))
            continue;
        rc = kj_dedup_fate(a->s->c, &a->readers[worker], d->serial, &check, &fate,
                           &found, err);
        if (!rc && !(found && fate.dropped))
            rc = kj_dedup_find(a->s, worker, b, d, &f[i], err);
        if (!rc && f[i].check && f[i].check != check)
            rc = kj_err_set(err, KJ_FATAL, "the input changed between two readings");
    }
    return rc ? KJ_FATAL : KJ_OK;
}

static int collect(void *ctx, struct kj_batch *b, struct kj_err *err)
{
    struct append *a = ctx;
    const struct kj_dedup_found *f = b->aux;
    int rc = KJ_OK;
    for (size_t i = 0; i < b->n && !rc; i++)
        if (f[i].has)
            rc = kj_index_add(&a->s->index, f[i].keys, &f[i].candidate, err);
    return rc;
}

int kj_dedup_index_append(struct survey *s, struct kj_corpus *corpus,
                          struct kj_err *err)
{
    struct append a = {.s = s};
    if (s->index.known || !s->n_docs)
        return KJ_OK;
    unsigned n = corpus->threads ? corpus->threads : 1;
    a.readers = kj_xcalloc(n, sizeof *a.readers);
    int rc = kj_index_begin(&s->index, err);
    if (!rc)
        rc = corpus->pass(corpus, &a, work, collect, err);
    if (!rc)
        rc = kj_index_commit(&s->index, err);
    for (unsigned i = 0; i < n; i++)
        kj_external_reader_release(&a.readers[i]);
    free(a.readers);
    return rc;
}
