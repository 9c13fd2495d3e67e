/* stage_bands.c - scores to bands of equal size, and several classifiers to one.
 *
 * Scores of different models cannot be compared: one calls a tenth of the web good at
 * 0.018, the other at 2.5. Ranks can. As Nemotron-CC does (arXiv 2412.02595), each
 * score is replaced by the band that the document's rank in the corpus falls into, 0
 * to 19, and the best band that any classifier gives is the document's.
 *
 * In the order of ranking.h, best first, document i (from 0) of n is in band
 *
 *     B - 1 - floor(i * B / n)
 *
 * of B, so the bands from b up hold ceil((B - b) * n / B) documents: with 20 bands,
 * 18 and 19 are what --keep-top 10% of `classify` keeps, document for document. By
 * weight, i / n is the share of the text that better documents have.
 *
 * The survey keeps 32 bytes for each document and score, sorts them, and remembers
 * the last document of each band, by language where asked. run() compares with
 * those, so a document's band depends on documents alone: not on their order,
 * threads, parts or shards. Texts are not looked at.
 */
#include "classify/ranking.h"
#include "classify/stages.h"

#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/json.h"

enum { SCORES_MAX = 16, BANDS_MAX = 100, LANGUAGES_MAX = 1024, LEVELS = 5 };
enum combine { BY_MAX, BY_MEAN, BY_MIN };
enum weight { BY_DOCUMENTS, BY_BYTES };
enum ties { SPLIT, TOGETHER };

/* A language, or all of them. edge[s][b - 1]: the last of score s in band b or above. */
struct group {
    char *language;
    uint64_t hash;
    struct kj_ranked *edge[SCORES_MAX]; /* NULL: none of its documents has the score */
    struct kj_ranking ranks[SCORES_MAX];
    uint64_t docs[SCORES_MAX]; /* with the score, in the sample or not */
};
struct groups {
    struct group *v;
    size_t n;
};

struct bands_cfg {
    struct kj_strs scores, levels;
    const char *as;
    int64_t bands, min;
    int combine, weight, ties;
    bool per_language;
    double sample;
    /* made by open */
    char *own[SCORES_MAX]; /* fields of each score's band; NULL: none */
    char *level_field;     /* NULL: none */
    int64_t level[LEVELS - 1];
    char *name;
    struct kj_rule rule;
    /* made by survey */
    bool surveyed;
    struct groups groups;
    struct kj_quantile *found;
    size_t n_found;
};

static const char *const level_names[LEVELS] = {
    "\"low\"", "\"medium-low\"", "\"medium\"", "\"medium-high\"", "\"high\""};

#define OFF(f) offsetof(struct bands_cfg, f)
const struct kj_opt kj_bands_opts[] = {
    {"scores", 's', KJ_OPT_LIST, OFF(scores), "FIELD,...",
     "scores of the documents, or values of that name among the signals", NULL, 0, 0},
    {"as", 0, KJ_OPT_STR, OFF(as), "NAME", "field for the band; the rule is bands.NAME",
     "quality_band", 0, 0},
    {"bands", 'n', KJ_OPT_INT, OFF(bands), "N", "how many bands, from 0 (worst) up",
     "20", 2, BANDS_MAX},
    {"combine", 0, KJ_OPT_ENUM, OFF(combine), "max|mean|min",
     "of several scores take the best band, their rounded mean, or the worst", "max", 0,
     0},
    {"per_language", 0, KJ_OPT_FLAG, OFF(per_language), NULL,
     "rank each language on its own", NULL, 0, 0},
    {"weight", 0, KJ_OPT_ENUM, OFF(weight), "documents|bytes",
     "bands hold equally many documents, or equally much text", "documents", 0, 0},
    {"ties", 0, KJ_OPT_ENUM, OFF(ties), "split|together",
     "equal scores at the edge of a band are split by a hash of the id, or all go into "
     "the better one",
     "split", 0, 0},
    {"min", 0, KJ_OPT_INT, OFF(min), "N",
     "drop documents of a lower band; from 0 on also those without any of the scores",
     "-1", -1, BANDS_MAX - 1},
    {"levels", 0, KJ_OPT_LIST, OFF(levels), "N,N,N,N",
     "bands from which on a document is medium-low, medium, medium-high and high, in "
     "the field NAME_level; none: no such field (default: 7,12,18,19 where there are "
     "20 bands)",
     NULL, 0, 0},
    {"sample", 0, KJ_OPT_REAL, OFF(sample), "P%",
     "find the bands from this share of the documents, picked by their ids and --seed",
     "1", 1e-9, 1},
    {0},
};

/* ---- options ---- */

/* "dclm_score" with "_score" and "_band": "dclm_band". */
static char *renamed(const char *z, const char *old, const char *new)
{
    size_t n = strlen(z), k = strlen(old), cap = n + strlen(new) + 1;
    if (n > k && strcmp(z + n - k, old) == 0)
        n -= k;
    char *out = kj_xmalloc(cap);
    snprintf(out, cap, "%.*s%s", (int)n, z, new);
    return out;
}

static bool usable(const char *z)
{
    return *z && z[strspn(z, "abcdefghijklmnopqrstuvwxyz"
                             "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")] == 0;
}

static int open_levels(struct bands_cfg *c, struct kj_err *err)
{
    static const int64_t nemotron[LEVELS - 1] = {7, 12, 18, 19};
    if (c->levels.n == 1 && strcmp(c->levels.v[0], "none") == 0)
        return KJ_OK;
    if (c->levels.n == 0 && c->bands != 20)
        return KJ_OK;
    if (c->levels.n != 0 && c->levels.n != LEVELS - 1)
        return kj_err_set(
            err, KJ_USAGE,
            "--levels takes four bands (like 7,12,18,19), or none; not %zu",
            c->levels.n);
    memcpy(c->level, nemotron, sizeof nemotron);
    for (size_t i = 0; i < c->levels.n; i++) {
        char *end;
        c->level[i] = strtol(c->levels.v[i], &end, 10);
        if (*end || !*c->levels.v[i] || c->level[i] < (i ? c->level[i - 1] + 1 : 1) ||
            c->level[i] >= c->bands)
            return kj_err_set(err, KJ_USAGE,
                              "--levels takes bands from 1 to %lld that rise, not '%s'",
                              (long long)c->bands - 1, c->levels.v[i]);
    }
    c->level_field = renamed(c->as, "_band", "_level");
    return KJ_OK;
}

/* Fields that would be written twice, or over a score. */
static int check_fields(const struct bands_cfg *c, struct kj_err *err)
{
    const char *made[SCORES_MAX + 2] = {c->as};
    size_t n = 1;
    if (c->level_field)
        made[n++] = c->level_field;
    for (size_t i = 0; i < c->scores.n; i++)
        if (c->own[i])
            made[n++] = c->own[i];
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < i; k++)
            if (strcmp(made[i], made[k]) == 0)
                return kj_err_set(err, KJ_USAGE, "two bands would be called '%s'",
                                  made[i]);
        for (size_t k = 0; k < c->scores.n; k++)
            if (strcmp(made[i], c->scores.v[k]) == 0)
                return kj_err_set(err, KJ_USAGE, "'%s' is a score and a band", made[i]);
    }
    return KJ_OK;
}

static int bands_open(void *cfg, struct kj_err *err)
{
    struct bands_cfg *c = cfg;
    if (c->scores.n == 0)
        return kj_err_set(
            err, KJ_USAGE,
            "which scores? --scores FIELD,... (like dclm_score,edu_score)");
    if (c->scores.n > SCORES_MAX)
        return kj_err_set(err, KJ_USAGE, "--scores takes up to %d fields, not %zu",
                          SCORES_MAX, c->scores.n);
    if (!usable(c->as))
        return kj_err_set(
            err, KJ_USAGE,
            "--as takes letters, digits and _ (like quality_band), not '%s'", c->as);
    if (c->min >= c->bands)
        return kj_err_set(err, KJ_USAGE, "--min takes a band from 0 to %lld, not %lld",
                          (long long)c->bands - 1, (long long)c->min);
    int rc = open_levels(c, err);
    for (size_t i = 0; i < c->scores.n; i++)
        if (c->scores.n > 1) /* of one it would say the same */
            c->own[i] = renamed(c->scores.v[i], "_score", "_band");
    if (rc == KJ_OK)
        rc = check_fields(c, err);
    size_t n = strlen(c->as) + sizeof "bands.";
    c->name = kj_xmalloc(n);
    snprintf(c->name, n, "bands.%s", c->as);
    c->rule = (struct kj_rule){c->name, "<", c->min >= 0 ? (double)c->min : NAN, "band",
                               "the band of the document's scores is too low; -1: it "
                               "has none"};
    return rc;
}

/* ---- documents ---- */

static struct group *group_find(const struct groups *g, const struct kj_doc *d,
                                bool per_language)
{
    struct kj_str l = per_language ? d->language : KJ_STR("");
    uint64_t hash = kj_hash64(l.n ? l.p : "", l.n, 0);
    for (size_t i = 0; i < g->n; i++) {
        struct group *x = &g->v[i];
        if (x->hash == hash && kj_str_is(l, x->language))
            return x;
    }
    return NULL;
}

static struct group *group_add(struct groups *g, const char *p, size_t n)
{
    g->v = kj_xrealloc(g->v, (g->n + 1) * sizeof *g->v);
    struct group *x = &g->v[g->n++];
    memset(x, 0, sizeof *x);
    x->language = kj_xstrndup(p ? p : "", n);
    x->hash = kj_hash64(x->language, n, 0);
    return x;
}

static void groups_release(struct groups *g)
{
    for (size_t i = 0; i < g->n; i++) {
        for (size_t s = 0; s < SCORES_MAX; s++) {
            free(g->v[i].edge[s]);
            kj_ranking_free(&g->v[i].ranks[s]);
        }
        free(g->v[i].language);
    }
    free(g->v);
    *g = (struct groups){0};
}

/* ---- survey ---- */

struct survey {
    const struct bands_cfg *c;
    uint64_t seed;
    struct worker {
        struct groups groups;
        uint64_t docs;
    } * w;
    struct kj_ranking_budget budget;
};

static int survey_document(struct survey *v, struct worker *w, const struct kj_doc *d,
                           struct kj_err *err)
{
    const struct bands_cfg *c = v->c;
    struct group *g = group_find(&w->groups, d, c->per_language);
    bool sampled = kj_ranking_sampled(d, c->sample, v->seed);
    uint64_t weight = c->weight == BY_BYTES ? d->text.n : 1;
    int rc = KJ_OK;
    w->docs++;
    if (!g && w->groups.n == LANGUAGES_MAX)
        return kj_err_set(err, KJ_FAIL,
                          "more than %d languages: --per-language takes the codes of a "
                          "language identifier",
                          LANGUAGES_MAX);
    if (!g)
        g = group_add(&w->groups, d->language.p, c->per_language ? d->language.n : 0);
    for (size_t s = 0; s < c->scores.n && rc == KJ_OK; s++) {
        double p = kj_doc_number(d, c->scores.v[s]);
        if (!isfinite(p))
            continue;
        g->docs[s]++;
        if (sampled)
            rc = kj_ranking_add(&g->ranks[s], &v->budget, kj_ranked_of(d, p, weight),
                                err);
    }
    return rc;
}

static int survey_batch(void *ctx, unsigned worker, struct kj_batch *b,
                        struct kj_err *err)
{
    struct survey *v = ctx;
    int rc = KJ_OK;
    for (size_t i = 0; i < b->n && rc == KJ_OK; i++)
        if (kj_doc_kept(&b->docs[i]))
            rc = survey_document(v, &v->w[worker], &b->docs[i], err);
    return rc;
}

/* The place of the last document in band b or above, by what is better than it. */
static size_t edge_at(const struct kj_ranking *r, uint64_t total, uint64_t bands,
                      uint64_t b)
{
    size_t at = 0;
    uint64_t before = 0;
    /* (before * bands) is below 2^64 for 10^17 bytes */
    for (size_t i = 0; i < r->n && before * bands < (bands - b) * total; i++) {
        at = i;
        before += r->v[i].own;
    }
    return at;
}

static void note_edge(struct bands_cfg *c, const struct group *g, size_t s, uint64_t b,
                      size_t at)
{
    const struct kj_ranking *r = &g->ranks[s];
    uint64_t n = (uint64_t)c->bands, N = g->docs[s];
    c->found = kj_xrealloc(c->found, (c->n_found + 1) * sizeof *c->found);
    struct kj_quantile *q = &c->found[c->n_found++];
    *q = (struct kj_quantile){.score = c->scores.v[s],
                              .language = g->language,
                              .band = (int)b,
                              .share = (double)(n - b) / (double)n,
                              .cut = r->v[at].score,
                              .low = NAN,
                              .high = NAN,
                              .share_low = NAN,
                              .share_high = NAN,
                              .docs = N,
                              .seen = r->n};
    if (r->n == N || b == 0 || c->weight == BY_BYTES)
        return;
    struct kj_ranking_interval in;
    kj_ranking_interval(N, ((n - b) * N + n - 1) / n, r->n, at + 1, &in);
    q->low = in.last ? r->v[in.last - 1].score : NAN;
    q->high = in.first ? r->v[in.first - 1].score : NAN;
    q->share_low = (double)in.rank_low / (double)N;
    q->share_high = (double)in.rank_high / (double)N;
}

static void find_edges(struct bands_cfg *c, struct group *g, size_t s)
{
    struct kj_ranking *r = &g->ranks[s];
    uint64_t total = 0, bands = (uint64_t)c->bands;
    if (r->n == 0)
        return;
    kj_ranking_sort(r);
    for (size_t i = 0; i < r->n; i++)
        total += r->v[i].own;
    if (total == 0) /* texts without a byte: all weigh the same */
        for (; total < r->n; total++)
            r->v[total].own = 1;
    g->edge[s] = kj_xcalloc(bands, sizeof *g->edge[s]);
    for (uint64_t b = 0; b < bands; b++) {
        size_t at = b ? edge_at(r, total, bands, b) : r->n - 1;
        if (b)
            g->edge[s][b - 1] = r->v[at];
        note_edge(c, g, s, b, at);
    }
    kj_ranking_free(r);
}

static int by_language(const void *pa, const void *pb)
{
    const struct group *a = pa, *b = pb;
    return strcmp(a->language, b->language);
}

/* The groups of all workers into those of the corpus. */
static void join(struct bands_cfg *c, struct worker *w)
{
    for (size_t i = 0; i < w->groups.n; i++) {
        struct group *from = &w->groups.v[i], *to = NULL;
        for (size_t k = 0; k < c->groups.n && !to; k++)
            if (strcmp(c->groups.v[k].language, from->language) == 0)
                to = &c->groups.v[k];
        if (!to)
            to = group_add(&c->groups, from->language, strlen(from->language));
        for (size_t s = 0; s < c->scores.n; s++) {
            kj_ranking_join(&to->ranks[s], &from->ranks[s]);
            to->docs[s] += from->docs[s];
        }
    }
    groups_release(&w->groups);
}

/* A score that no document has is a misspelt one. */
static int check_scores(const struct bands_cfg *c, struct kj_err *err)
{
    for (size_t s = 0; s < c->scores.n; s++) {
        uint64_t docs = 0, seen = 0;
        for (size_t i = 0; i < c->groups.n; i++) {
            docs += c->groups.v[i].docs[s];
            seen += c->groups.v[i].ranks[s].n;
        }
        if (docs == 0)
            return kj_err_set(err, KJ_FAIL, "no document has the score '%s'",
                              c->scores.v[s]);
        if (seen == 0)
            return kj_err_set(err, KJ_FAIL,
                              "no document with the score '%s' is in the --sample: "
                              "raise it",
                              c->scores.v[s]);
    }
    return KJ_OK;
}

static int bands_survey(void *cfg, struct kj_corpus *corpus, struct kj_err *err)
{
    struct bands_cfg *c = cfg;
    struct survey v = {
        .c = c, .seed = corpus->seed, .budget = {0, (size_t)corpus->memory / 2}};
    unsigned threads = corpus->threads ? corpus->threads : 1;
    uint64_t docs = 0;
    v.w = kj_xcalloc(threads, sizeof *v.w);
    int rc = corpus->pass(corpus, &v, survey_batch, NULL, err);
    for (unsigned i = 0; i < threads; i++) {
        docs += v.w[i].docs;
        join(c, &v.w[i]);
    }
    free(v.w);
    if (rc == KJ_OK && docs > 0 && !corpus->trial)
        rc = check_scores(c, err);
    if (rc == KJ_OK && c->groups.n)
        qsort(c->groups.v, c->groups.n, sizeof *c->groups.v, by_language);
    for (size_t i = 0; i < c->groups.n && rc == KJ_OK; i++)
        for (size_t s = 0; s < c->scores.n; s++)
            find_edges(c, &c->groups.v[i], s);
    c->surveyed = rc == KJ_OK;
    return rc;
}

/* ---- run ---- */

/* The band of one score, -1 without an edge to compare with. */
static int band_of(const struct bands_cfg *c, const struct group *g, size_t s,
                   const struct kj_doc *d, double score, struct kj_ranked *key)
{
    if (!g || !g->edge[s])
        return -1;
    key->score = score;
    int lo = 0, hi = (int)c->bands - 1; /* is in lo or above, not above hi */
    while (lo < hi) {
        int b = lo + (hi - lo + 1) / 2;
        const struct kj_ranked *e = &g->edge[s][b - 1];
        bool in = score != e->score ? score > e->score : c->ties == TOGETHER;
        if (!in && score == e->score) {
            if (!key->own) /* hashed when it is needed */
                *key = kj_ranked_of(d, score, 1);
            in = kj_ranked_compare(key, e) <= 0;
        }
        if (in)
            lo = b;
        else
            hi = b - 1;
    }
    return lo;
}

static void set_band(struct kj_doc *d, struct kj_arena *a, const char *field, int band)
{
    /* "0" .. "99": static text */
    static const char digits[] = "00010203040506070809101112131415161718192021222324"
                                 "25262728293031323334353637383940414243444546474849"
                                 "50515253545556575859606162636465666768697071727374"
                                 "75767778798081828384858687888990919293949596979899";
    kj_doc_set(d, a, field,
               (struct kj_str){digits + 2 * band + (band < 10), band < 10 ? 1 : 2});
}

static void bands_document(const struct bands_cfg *c, struct kj_doc *d,
                           struct kj_arena *a)
{
    const struct group *g = group_find(&c->groups, d, c->per_language);
    struct kj_ranked key = {0};
    int band = -1, sum = 0, n = 0;
    for (size_t s = 0; s < c->scores.n; s++) {
        double p = kj_doc_number(d, c->scores.v[s]);
        int b = isfinite(p) ? band_of(c, g, s, d, p, &key) : -1;
        if (b < 0)
            continue;
        if (c->own[s])
            set_band(d, a, c->own[s], b);
        if (n == 0 || (c->combine == BY_MAX ? b > band : b < band))
            band = b;
        sum += b;
        n++;
    }
    if (n && c->combine == BY_MEAN)
        band = (2 * sum + n) / (2 * n); /* halves up */
    if (n) {
        int level = 0;
        while (level < LEVELS - 1 && band >= c->level[level])
            level++;
        set_band(d, a, c->as, band);
        if (c->level_field)
            kj_doc_set(d, a, c->level_field, kj_str_z(level_names[level]));
    }
    kj_doc_signal_by(d, a, &c->rule, band);
    if (band < c->min)
        kj_doc_drop(d, c->name, band, c->rule.threshold);
}

static int bands_run(const void *cfg, void *state, struct kj_batch *b,
                     struct kj_err *err)
{
    const struct bands_cfg *c = cfg;
    (void)state;
    if (!c->surveyed)
        return kj_err_set(err, KJ_FATAL, "bands has not seen the corpus");
    for (size_t i = 0; i < b->n; i++)
        if (kj_doc_kept(&b->docs[i]))
            bands_document(c, &b->docs[i], &b->arena);
    return KJ_OK;
}

static void bands_close(void *cfg)
{
    struct bands_cfg *c = cfg;
    groups_release(&c->groups);
    for (size_t i = 0; i < SCORES_MAX; i++)
        free(c->own[i]);
    free(c->level_field);
    free(c->name);
    free(c->found);
}

static size_t bands_rules(const void *cfg, const struct kj_rule **out)
{
    const struct bands_cfg *c = cfg;
    *out = &c->rule;
    return 1;
}

static void bands_quantiles(const void *cfg, struct kj_quantiles *out)
{
    const struct bands_cfg *c = cfg;
    *out = (struct kj_quantiles){c->found, c->n_found, &c->rule};
}

static bool bands_textless(const void *cfg)
{
    return ((const struct bands_cfg *)cfg)->weight ==
           BY_DOCUMENTS; /* scores are all it needs */
}

const struct kj_stage kj_stage_bands = {
    .name = "bands",
    .about = "bands of equal size by the rank of scores, of several classifiers one",
    .opts = kj_bands_opts,
    .cfg_size = sizeof(struct bands_cfg),
    .open = bands_open,
    .survey = bands_survey,
    .run = bands_run,
    .close = bands_close,
    .rules = bands_rules,
    .quantiles = bands_quantiles,
    .textless = bands_textless,
};
