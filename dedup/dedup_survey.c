/* dedup_survey.c - two readings of the corpus.
 *
 * First reading: workers turn each document into its keys (a hash for exact,
 * one per band for MinHash) and a check word; the collector files them by the
 * document's number. Then the keys are grouped. Second reading: only documents
 * that share a key are looked at again, now with everything that the choice of
 * keepers needs. Both methods go the same way: for exact, the "set" is the
 * full hash, and equality of it is the similarity.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/doc.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/stage.h"
#include "dedup/dedup_internal.h"
#include "dedup/identity.h"
#include "dedup/lsh.h"
#include "dedup/normal.h"
#include "dedup/shingle.h"

void kj_dedup_forget(struct dedup *c)
{
    if (!c->surveyed)
        return;
    kj_units_release(&c->units);
    kj_substring_release(&c->passages);
    if (c->in_files)
        kj_external_release(&c->external);
    c->in_files = false;
    kj_pieces_release(&c->pieces);
    free(c->piece_ids);
    c->piece_ids = NULL;
    kj_clusters_release(&c->clusters);
    kj_minhash_release(&c->mh);
    kj_budget_free(&c->budget, c->checks, c->cap_checks, sizeof *c->checks);
    c->checks = NULL;
    c->n_checks = c->cap_checks = 0;
    c->surveyed = false;
}

struct worker {
    struct kj_shingler sh;
    struct kj_buf norm, run; /* for exact */
    uint64_t *sig;
};

int kj_dedup_too_large(const struct kj_doc *d, struct kj_err *err)
{
    kj_err_set(err, KJ_FATAL, "a batch does not fit its memory");
    kj_err_doc(err, d->id.p, d->id.n);
    return KJ_FATAL;
}

/* The 128 bits that must be equal for an exact copy. */
static int exact_hash(const struct dedup *c, struct worker *w, const struct kj_doc *d,
                      bool *has, struct kj_hash128 *h)
{
    struct kj_str s = c->key == KEY_URL ? d->url : d->text;
    *has = s.p && (s.n || c->key == KEY_TEXT);
    int rc = KJ_OK;
    if (*has && (c->key == KEY_URL || c->normalize)) {
        kj_buf_reset(&w->norm);
        rc = c->key == KEY_URL ? kj_dedup_normalize_url(&w->norm, s.p, s.n)
                               : kj_dedup_normalize(&w->norm, &w->run, 0, s.p, s.n);
        s = (struct kj_str){w->norm.p, w->norm.n};
    }
    if (*has && rc == KJ_OK)
        *h = kj_hash128(s.p, s.n);
    return rc;
}

static int shingle(const struct dedup *c, struct worker *w, const struct kj_doc *d,
                   bool *has, struct kj_err *err)
{
    int rc = kj_shingler_run(&w->sh, (enum kj_shingle_unit)c->unit, (unsigned)c->ngram,
                             d->text.p, d->text.n, err);
    *has = w->sh.n > 0;
    return rc;
}

/* First reading, one document. */
static int find_keys(struct survey *s, struct worker *w, const struct kj_doc *d,
                     struct kj_arena *a, struct kj_dedup_found *f, struct kj_err *err)
{
    const struct dedup *c = s->c;
    f->keys = kj_arena_alloc(a, s->lsh.bands * sizeof *f->keys);
    if (!f->keys)
        return kj_dedup_too_large(d, err);
    f->check = kj_dedup_check(d);
    if (c->index)
        f->sum = kj_doc_checksum(d);
    if (c->method == METHOD_EXACT) {
        struct kj_hash128 h = {0, 0};
        int rc = exact_hash(c, w, d, &f->has, &h);
        f->keys[0] = h.hi;
        return rc;
    }
    int rc = shingle(c, w, d, &f->has, err);
    if (rc || !f->has)
        return rc;
    f->units = w->sh.n;
    kj_minhash_sign(&c->mh, w->sh.h, w->sh.n, w->sig);
    kj_minhash_bands(&c->mh, w->sig, f->keys);
    return KJ_OK;
}

/* Documents that d stands for already. */
uint64_t kj_dedup_weight(const struct kj_doc *d, struct kj_batch *b)
{
    struct kj_str raw = kj_doc_get(d, "cluster");
    const struct kj_jval *v;
    struct kj_err ignored = KJ_ERR_INIT; /* somebody else's field */
    if (!raw.n || kj_json_parse(b->json, raw.p, raw.n, &v, &ignored))
        return 1;
    int64_t size = kj_jint(kj_jget(v, "size"), 1);
    return size > 0 ? (uint64_t)size : 1;
}

/* Second reading, one candidate. */
static int find_candidate(struct survey *s, struct worker *w, const struct kj_doc *d,
                          struct kj_batch *b, struct kj_dedup_found *f,
                          struct kj_err *err)
{
    const struct dedup *c = s->c;
    struct kj_candidate *k = &f->candidate;
    *k = (struct kj_candidate){.doc = d->serial,
                               .id = d->id,
                               .tie = kj_dedup_tie(d),
                               .weight = kj_dedup_weight(d, b)};
    if (c->policy == KJ_KEEP_LONGEST)
        k->number = -(double)d->text.n;
    if (c->policy == KJ_KEEP_NEWEST)
        k->word = d->date;
    if (c->policy == KJ_KEEP_BEST) {
        double v = kj_doc_number(d, c->field);
        k->number = isnan(v) ? HUGE_VAL : -v;
    }
    if (c->method == METHOD_EXACT)
        return exact_hash(c, w, d, &f->has, &k->same);
    int rc = shingle(c, w, d, &f->has, err);
    if (!rc && f->has)
        rc = kj_shingler_set(&w->sh, err);
    if (rc)
        return rc;
    k->same = kj_hash128(w->sh.h, w->sh.n * sizeof *w->sh.h);
    k->n = w->sh.n;
    uint64_t *v = kj_arena_alloc(&b->arena, (w->sh.n + 1) * sizeof *v);
    if (!v)
        return kj_dedup_too_large(d, err);
    memcpy(v, w->sh.h, w->sh.n * sizeof *v);
    k->set = v;
    return KJ_OK;
}

int kj_dedup_find(struct survey *s, unsigned worker, struct kj_batch *b,
                  const struct kj_doc *d, struct kj_dedup_found *f, struct kj_err *err)
{
    struct worker *w = &s->workers[worker];
    int rc = find_keys(s, w, d, &b->arena, f, err);
    return rc || !f->has ? rc : find_candidate(s, w, d, b, f, err);
}

static bool is_candidate(const struct survey *s, uint64_t doc)
{
    return s->c->in_files ? kj_external_candidate(&s->c->external, doc)
                          : kj_lsh_candidate(&s->lsh, doc);
}

/* Work on a batch; second: the second reading. b->aux gets one found each. */
static int work(struct survey *s, unsigned worker, struct kj_batch *b, bool second,
                struct kj_err *err)
{
    struct kj_dedup_found *f = kj_arena_zalloc(&b->arena, (b->n + 1) * sizeof *f);
    if (!f)
        return kj_err_set(err, KJ_FATAL, "a batch does not fit its memory");
    b->aux = f;
    int rc = KJ_OK;
    for (size_t i = 0; i < b->n && !rc; i++) {
        const struct kj_doc *d = &b->docs[i];
        if (!kj_doc_kept(d) || (second && !is_candidate(s, d->serial)))
            continue;
        struct worker *w = &s->workers[worker];
        rc = second ? find_candidate(s, w, d, b, &f[i], err)
                    : find_keys(s, w, d, &b->arena, &f[i], err);
        if (rc)
            kj_err_doc(err, d->id.p, d->id.n);
    }
    return rc ? KJ_FATAL : KJ_OK;
}

int kj_dedup_work_keys(void *ctx, unsigned worker, struct kj_batch *b,
                       struct kj_err *err)
{
    return work(ctx, worker, b, false, err);
}

int kj_dedup_work_sets(void *ctx, unsigned worker, struct kj_batch *b,
                       struct kj_err *err)
{
    return work(ctx, worker, b, true, err);
}

static int keep_check(struct dedup *c, uint64_t doc, uint32_t check, struct kj_err *err)
{
    void *p = c->checks;
    int rc = kj_budget_grow(&c->budget, &p, &c->cap_checks, (size_t)doc + 1,
                            sizeof *c->checks, err);
    c->checks = p;
    if (rc)
        return rc;
    while (c->n_checks < doc)
        c->checks[c->n_checks++] = 0;
    c->checks[c->n_checks++] = check;
    return KJ_OK;
}

/* Is it foreseeable that memory will not do? Half of all sets are taken for
 * candidates', which is more than most corpora have. */
static bool too_much(const struct survey *s)
{
    const struct kj_budget *b = &s->c->budget;
    return s->may_spill && s->c->spill == SPILL_AUTO &&
           ((uint64_t)b->used + s->units * 4 > (uint64_t)b->max / 2);
}

/* Go on in files: what memory holds goes there first. */
static int start_files(struct survey *s, struct kj_err *err)
{
    struct dedup *c = s->c;
    uint64_t keys[4096];
    c->in_files = true;
    int rc = kj_external_init(&c->external, s->dir, &s->params, c->threshold,
                              (uint32_t)c->max_compare, &c->budget, err);
    c->external.containment = c->measure == CONTAINMENT;
    for (size_t doc = 0; doc < c->n_checks && !rc; doc++)
        if (c->checks[doc])
            rc = kj_external_add(&c->external, doc, c->checks[doc],
                                 kj_lsh_get(&s->lsh, doc, keys) ? keys : NULL, err);
    kj_lsh_release(&s->lsh);
    kj_budget_free(&c->budget, c->checks, c->cap_checks, sizeof *c->checks);
    c->checks = NULL;
    c->n_checks = c->cap_checks = 0;
    return rc;
}

static int collect_keys(void *ctx, struct kj_batch *b, struct kj_err *err)
{
    struct survey *s = ctx;
    struct dedup *c = s->c;
    const struct kj_dedup_found *f = b->aux;
    int rc = KJ_OK;
    for (size_t i = 0; i < b->n && !rc; i++) {
        if (!f[i].check)
            continue;
        uint64_t doc = b->docs[i].serial;
        s->units += f[i].units;
        c->seen_docs++;
        c->seen_grams += f[i].units;
        s->n_docs = doc + 1;
        s->sum += f[i].sum;
        if (c->in_files) {
            rc = kj_external_add(&c->external, doc, f[i].check,
                                 f[i].has ? f[i].keys : NULL, err);
            continue;
        }
        rc = keep_check(c, doc, f[i].check, err);
        if (!rc && f[i].has)
            rc = kj_lsh_add(&s->lsh, doc, f[i].keys, err);
    }
    if (!rc && !c->in_files && too_much(s))
        rc = start_files(s, err);
    return rc;
}

static int collect_sets(void *ctx, struct kj_batch *b, struct kj_err *err)
{
    struct survey *s = ctx;
    const struct kj_dedup_found *f = b->aux;
    int rc = KJ_OK;
    for (size_t i = 0; i < b->n && !rc; i++)
        if (f[i].has)
            rc = s->c->in_files
                     ? kj_external_add_candidate(&s->c->external, &f[i].candidate, err)
                     : kj_clusters_add(&s->c->clusters, &f[i].candidate, err);
    return rc;
}

static void make_workers(struct survey *s, unsigned n)
{
    n = n ? n : 1;
    s->workers = kj_xcalloc(n, sizeof *s->workers);
    s->n_workers = n;
    for (unsigned i = 0; i < n; i++) {
        kj_shingler_init(&s->workers[i].sh);
        kj_buf_init(&s->workers[i].norm, (size_t)1 << 30);
        kj_buf_init(&s->workers[i].run, (size_t)1 << 30);
        s->workers[i].sig = kj_minhash_alloc(s->c->mh.padded + 16);
    }
}

static void free_workers(struct survey *s)
{
    for (unsigned i = 0; i < s->n_workers; i++) {
        kj_shingler_release(&s->workers[i].sh);
        kj_buf_release(&s->workers[i].norm);
        kj_buf_release(&s->workers[i].run);
        free(s->workers[i].sig);
    }
    free(s->workers);
}

struct survey *kj_dedup_reading_new(struct dedup *c, unsigned threads)
{
    struct survey *s = kj_xcalloc(1, sizeof *s);
    s->c = c;
    s->lsh.bands = kj_dedup_bands(c);
    make_workers(s, threads);
    return s;
}

void kj_dedup_reading_free(struct survey *s)
{
    free_workers(s);
    free(s);
}

/* Both readings and the decisions, in memory or in files. */
static int survey_once(struct survey *s, struct kj_corpus *corpus, struct kj_err *err)
{
    struct dedup *c = s->c;
    kj_lsh_init(&s->lsh, (unsigned)s->params.v[0], &c->budget);
    s->units = 0;
    s->n_docs = s->sum = 0;
    c->budget.doing = "keeping keys";
    int rc = c->in_files ? start_files(s, err) : KJ_OK;
    if (!rc)
        rc = corpus->pass(corpus, s, kj_dedup_work_keys, collect_keys, err);
    if (!rc && c->index)
        rc = kj_dedup_index_keys(s, err);
    c->budget.doing = "grouping keys";
    if (!rc)
        rc = c->in_files ? kj_external_group(&c->external, err)
                         : kj_lsh_group(&s->lsh, err);
    if (!rc && c->index && !c->in_files)
        kj_lsh_settle(&s->lsh, s->n_docs);
    c->budget.doing = "keeping candidates";
    if (!rc && (c->in_files ? c->external.n_edges : s->lsh.n_entries))
        rc = corpus->pass(corpus, s, kj_dedup_work_sets, collect_sets, err);
    if (!rc && c->index)
        rc = kj_dedup_index_candidates(s, err);
    c->budget.doing = "comparing candidates";
    if (!rc)
        rc = c->in_files ? kj_external_solve(&c->external, err)
                         : kj_clusters_solve(&c->clusters, &s->lsh, err);
    if (!rc && c->index && !corpus->trial)
        rc = kj_dedup_index_append(s, corpus, err);
    kj_lsh_release(&s->lsh);
    return rc;
}

unsigned kj_dedup_bands(const struct dedup *c)
{
    return c->method != METHOD_MINHASH ? 1 : (unsigned)c->bands;
}

struct kj_spill_params kj_dedup_params(const struct dedup *c, uint64_t seed)
{
    return (struct kj_spill_params){
        KJ_SIGS_KIND,
        {kj_dedup_bands(c), (uint64_t)c->rows, (uint64_t)c->unit, (uint64_t)c->ngram,
         seed, (uint64_t)c->method, (uint64_t)c->key, c->normalize}};
}

void kj_dedup_prepare(struct dedup *c, const struct kj_corpus *corpus, int64_t memory)
{
    kj_dedup_forget(c);
    c->surveyed = true;
    c->seen_docs = c->seen_grams = 0;
    kj_minhash_init(&c->mh, (unsigned)c->bands, (unsigned)c->rows,
                    (uint32_t)corpus->seed);
    c->budget = (struct kj_budget){.max = memory};
    kj_clusters_init(&c->clusters, c->threshold, (uint32_t)c->max_compare, &c->budget);
    c->clusters.containment = c->measure == CONTAINMENT;
}

/* What the program and the batches in flight take of --memory: 4.5 MB each
 * beside 28 MB, but never more than three quarters of it. */
int64_t kj_dedup_memory(int64_t memory, unsigned threads)
{
    int64_t batches = threads > 1 ? 8 * (int64_t)threads : 1;
    int64_t rest = memory - ((int64_t)28 << 20) - batches * (9 << 19);
    return rest < memory / 4 ? memory / 4 : rest;
}

int kj_dedup_survey(void *cfg, struct kj_corpus *corpus, struct kj_err *err)
{
    struct dedup *c = cfg;
    unsigned bands = kj_dedup_bands(c);
    struct survey s = {.c = c, .dir = corpus->tmp_dir};
    s.params = kj_dedup_params(c, corpus->seed);
    s.may_spill = c->spill != SPILL_NEVER && corpus->tmp_dir && corpus->memory > 0;
    int64_t memory =
        s.may_spill ? kj_dedup_memory(corpus->memory, corpus->threads) : corpus->memory;
    if (s.may_spill && memory < kj_external_least(bands))
        return kj_err_set(err, KJ_FATAL,
                          "--memory is too small: dedup with %u bands and %u threads "
                          "wants %lld MB",
                          bands, corpus->threads,
                          (long long)(4 * kj_external_least(bands) >> 20) + 1);
    kj_dedup_prepare(c, corpus, memory);
    struct kj_corpus part = *corpus;
    part.memory = memory;
    if (c->method == METHOD_BLOOM) {
        struct kj_bloom_options o = {(uint64_t)c->expected, c->fpr, c->threshold,
                                     c->ngram ? (unsigned)c->ngram : 13};
        return kj_bloom_survey(&o, &c->units, &part, err);
    }
    if (c->method == METHOD_SUBSTRING) {
        c->passages = (struct kj_substring){
            .window = (size_t)(c->min_words ? c->min_words : c->min_bytes),
            .words = c->min_words > 0,
            .edge = (enum kj_cut)c->cut,
            .policy = c->policy,
            .field = c->field};
        return kj_substring_survey(&c->passages, &part, err);
    }
    if (c->scope) {
        c->units.kind = c->scope == SCOPE_LINE ? KJ_UNITS_LINE : KJ_UNITS_PARAGRAPH;
        c->units.normalize = c->normalize;
        return kj_units_survey(&c->units, &part, err);
    }
    make_workers(&s, corpus->threads);
    c->in_files = s.may_spill && c->spill == SPILL_ALWAYS;
    /* an estimate does not make the folder */
    bool open = c->index && !(corpus->trial && access(c->index, F_OK) != 0);
    int rc = open ? kj_index_open(&s.index, c->index, &s.params, err) : KJ_OK;
    if (!rc)
        rc = survey_once(&s, corpus, err);
    if (rc && c->budget.refused && s.may_spill && !c->in_files) {
        /* the guess of too_much() was wrong: again, in files */
        kj_err_reset(err);
        kj_dedup_prepare(c, corpus, memory);
        c->in_files = true;
        rc = survey_once(&s, corpus, err);
    }
    kj_index_release(&s.index);
    free_workers(&s);
    if (rc)
        kj_dedup_forget(c);
    return rc;
}
