/* stage_classify.c - the probability of one label as a score of the document.
 *
 * The text becomes one line (prepare.h), the score is kj_ft_score's.
 *
 * A folder is an encoder with a head (texts.h). Its field is NAME_score, and that of a
 * regression has NAME_int beside it: the score rounded (to even) within 0..5, as
 * FineWeb-Edu's int_score.
 *
 * keep_top P keeps the ceil(P * n) best of the n documents that reach the stage, in
 * the order of ranking.h. A first pass finds the last one kept; the second compares
 * with it, and takes the scores from the first, by the documents' serial numbers:
 * nothing is computed twice (16 bytes a document; on bigrams, dimension 100 and 2.8
 * KB of text, 100 microseconds of CPU a document in place of 200). What is kept
 * depends on the documents alone, not on their order, threads or shards. With
 * `sample` the first pass scores a share of the documents only, and says how far the
 * cut may be from the exact one.
 */
#include "classify/encoder_score.h"
#include "classify/fasttext.h"
#include "classify/ft_device.h"
#include "classify/prepare.h"
#include "classify/ranking.h"
#include "classify/stages.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/json.h"

struct classify_cfg {
    const char *model, *as, *label, *device;
    double min, keep_top, sample;
    /* made by open */
    struct kj_ft *ft;               /* or the encoder */
    struct kj_ft_device *on_device; /* ft's, where a GPU is taken */
    char remark[400];
    struct encoder_scorer encoder;
    int32_t target;
    char *field, *int_field; /* int_field NULL: none */
    char *rule;
    struct kj_rule cut; /* threshold NAN: nothing is dropped by it */
    /* made by survey */
    bool surveyed;
    struct kj_ranked last; /* the worst that is kept */
    struct kj_quantile found;
    struct known { /* scores by serial number */
        uint64_t serial;
        float score;
    } * known;
    size_t n_known;
};

struct classify_state {
    struct kj_ft_scratch *s;
    struct kj_ft_hit *hits;
    struct kj_ft_pass *pass;
    struct encoder_worker encoder;
    struct kj_buf line, num;
    float *scores; /* of a batch */
    bool *want;
    size_t cap;
};

const struct kj_opt kj_classify_opts[] = {
    {"model", 'm', KJ_OPT_STR, offsetof(struct classify_cfg, model), "FILE",
     "fastText classifier, .bin or .ftz; or the folder of an encoder with a head", NULL,
     0, 0},
    {"as", 0, KJ_OPT_STR, offsetof(struct classify_cfg, as), "NAME",
     "field for the score; the rule is classify.NAME. Encoders: NAME_score and "
     "NAME_int",
     "score", 0, 0},
    {"label", 0, KJ_OPT_STR, offsetof(struct classify_cfg, label), "LABEL",
     "score the probability of this label (with or without __label__)", "hq", 0, 0},
    {"min", 0, KJ_OPT_REAL, offsetof(struct classify_cfg, min), "S",
     "drop documents that score lower", "0", 0, 1e6},
    {"keep_top", 0, KJ_OPT_REAL, offsetof(struct classify_cfg, keep_top), "P%",
     "keep exactly this share of the documents, the best ones (reads the input twice)",
     "nan", 1e-9, 1},
    {"sample", 0, KJ_OPT_REAL, offsetof(struct classify_cfg, sample), "P%",
     "with --keep-top: take the cut from this share of the documents, picked by their "
     "ids and --seed, and state its confidence interval",
     "1", 1e-9, 1},
    {"device", 0, KJ_OPT_STR, offsetof(struct classify_cfg, device), "NAME",
     "where models run: cpu, cuda, or auto: a GPU if there is one", "auto", 0, 0},
    {0},
};

static int usable_name(const char *s)
{
    static const char *const taken[] = {
        "id",          "text",           "url",
        "date",        "dump",           "file_path",
        "language",    "language_score", "language_script",
        "token_count", "source",         "warc",
        "signals",     "drop",           NULL};
    for (size_t i = 0; taken[i]; i++)
        if (strcmp(s, taken[i]) == 0)
            return 0;
    return *s && s[strspn(s, "abcdefghijklmnopqrstuvwxyz"
                             "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")] == 0;
}

/* "auto" takes a GPU for what a GPU is better at. A matrix of 22 MB that the caches
 * hold costs a fifth of a score's time, one of 800 MB four fifths; the rest, words and
 * hashing, stays with the processor anyhow (docs/benchmarks.md). */
#define CACHED ((size_t)32 << 20)

static int fasttext_device(struct classify_cfg *c, struct kj_err *err)
{
    bool choose = strcmp(c->device, "auto") == 0;
    size_t bytes = kj_ft_matrix_bytes(c->ft);
    if (strcmp(c->device, "cpu") == 0)
        return KJ_OK;
    if (choose && kj_ft_quantised(c->ft)) {
        snprintf(c->remark, sizeof c->remark,
                 "on the CPU: a quantised model (.ftz) is scored there alone");
        return KJ_OK;
    }
    if (choose && bytes <= CACHED) {
        snprintf(c->remark, sizeof c->remark,
                 "on the CPU: its caches hold the model's %.1f MB",
                 (double)bytes * 1e-6);
        return KJ_OK;
    }
    struct kj_backend *b;
    char line[300];
    int rc = kj_backend_open(&b, c->device, 1, err);
    if (rc != KJ_OK)
        return rc;
    bool cpu = strcmp(b->ops->name, "cpu") == 0;
    snprintf(line, sizeof line, "%s", b->note);
    if (!cpu)
        b->ops->describe(b, line, sizeof line);
    snprintf(c->remark, sizeof c->remark, "on the %s: %s", cpu ? "CPU" : "GPU", line);
    struct kj_err why = KJ_ERR_INIT;
    rc = cpu ? KJ_OK : kj_ft_device_open(&c->on_device, c->ft, b->ops->name, &why);
    kj_backend_close(b);
    if (rc != KJ_OK && choose) { /* others have its memory, for example */
        snprintf(c->remark, sizeof c->remark, "on the CPU: no GPU: %.250s", why.msg);
        rc = KJ_OK;
    }
    if (rc != KJ_OK && err)
        *err = why;
    return rc;
}

static int open_fasttext(struct classify_cfg *c, struct kj_err *err)
{
    int rc = kj_ft_open(&c->ft, c->model, err);
    if (rc != KJ_OK)
        return rc;
    c->target = kj_ft_label_find(c->ft, c->label);
    if (c->target < 0) {
        struct kj_str l = kj_ft_label(c->ft, 0);
        return kj_err_set(
            err, KJ_USAGE,
            "the model has no label '%s'; its %d labels begin with '%.*s'", c->label,
            kj_ft_labels(c->ft), (int)(l.n < 100 ? l.n : 100), l.p);
    }
    c->field = kj_xstrdup(c->as);
    return fasttext_device(c, err);
}

/* "edu" and "edu_score" give edu_score and edu_int; "score" the names of
 * FineWeb-Edu, score and int_score. */
static int open_encoder(struct classify_cfg *c, struct kj_err *err)
{
    size_t n = strlen(c->as);
    char line[300];
    int rc = encoder_scorer_open(&c->encoder, c->model, c->label, c->device, err);
    if (rc != KJ_OK)
        return rc;
    kj_encoder_device(kj_texts_encoder(c->encoder.texts), line, sizeof line);
    if (*line)
        snprintf(c->remark, sizeof c->remark, "on the %s: %s",
                 kj_texts_shared(c->encoder.texts) ? "GPU, in bfloat16" : "CPU", line);
    if (n > 6 && strcmp(c->as + n - 6, "_score") == 0)
        n -= 6;
    bool plain = strcmp(c->as, "score") == 0;
    c->field = kj_xcalloc(n + 16, 1);
    c->int_field = c->encoder.regression ? kj_xcalloc(n + 16, 1) : NULL;
    snprintf(c->field, n + 16, plain ? "score" : "%.*s_score", (int)n, c->as);
    if (c->int_field)
        snprintf(c->int_field, n + 16, plain ? "int_score" : "%.*s_int", (int)n, c->as);
    if (!usable_name(c->field))
        return kj_err_set(err, KJ_USAGE, "--as %s: '%s' is a field of the stream",
                          c->as, c->field);
    return KJ_OK;
}

static int classify_open(void *cfg_, struct kj_err *err)
{
    struct classify_cfg *c = cfg_;
    struct stat st;
    if (!c->model)
        return kj_err_set(err, KJ_USAGE, "which model? -m FILE");
    if (!usable_name(c->as))
        return kj_err_set(err, KJ_USAGE,
                          "--as takes letters, digits and _ (like edu), and no field "
                          "of the stream, not '%s'",
                          c->as);
    if (c->min > 0 && c->keep_top > 0)
        return kj_err_set(err, KJ_USAGE, "--min and --keep-top exclude each other");
    if (c->sample < 1 && !(c->keep_top > 0))
        return kj_err_set(err, KJ_USAGE, "--sample is for --keep-top");
    bool folder = stat(c->model, &st) == 0 && S_ISDIR(st.st_mode);
    int rc = folder ? open_encoder(c, err) : open_fasttext(c, err);
    if (rc != KJ_OK)
        return rc;
    bool number = folder && c->encoder.regression;
    if (!number && c->min > 1)
        return kj_err_set(err, KJ_USAGE, "--min takes a probability, at most 1, not %g",
                          c->min);
    size_t n = strlen(c->field) + sizeof "classify.";
    c->rule = kj_xmalloc(n);
    snprintf(c->rule, n, "classify.%s", c->field);
    /* Also without a cut, so that the ledger has the values to try one on. */
    c->cut = (struct kj_rule){
        c->rule, "<", c->min > 0 ? c->min : NAN, number ? "score" : "probability",
        c->keep_top > 0 ? "the score is not among the best of the corpus"
                        : "the score of the classifier is too low"};
    return KJ_OK;
}

static int classify_begin(const void *cfg_, void *state, struct kj_err *err)
{
    const struct classify_cfg *c = cfg_;
    struct classify_state *s = state;
    kj_buf_init(&s->line, KJ_DOC_LINE_MAX);
    kj_buf_init(&s->num, 64);
    if (!c->ft)
        return encoder_worker_begin(&s->encoder, &c->encoder, err);
    if (c->on_device)
        return kj_ft_pass_new(&s->pass, c->on_device, err);
    s->s = kj_ft_scratch_new(c->ft, 0);
    s->hits = kj_xcalloc((size_t)kj_ft_labels(c->ft), sizeof *s->hits);
    return KJ_OK;
}

static void classify_end(const void *cfg, void *state)
{
    struct classify_state *s = state;
    (void)cfg;
    kj_ft_scratch_free(s->s);
    kj_ft_pass_free(s->pass);
    free(s->hits);
    encoder_worker_end(&s->encoder);
    kj_buf_release(&s->line);
    kj_buf_release(&s->num);
    free(s->scores);
    free(s->want);
}

/* KJ_BAD_RECORD: longer than memory allows. */
static int score(const struct classify_cfg *c, struct classify_state *s,
                 const struct kj_doc *d, float *out, struct kj_err *err)
{
    *out = 0;
    int rc = kj_classify_flatten(&s->line, d->text.p, d->text.n);
    if (rc == KJ_OK && s->pass)
        rc = kj_ft_pass_add(s->pass, c->target, s->line.p, s->line.n, out, err);
    else if (rc == KJ_OK)
        rc = kj_ft_score(c->ft, s->s, c->target, s->line.p, s->line.n, s->hits, out,
                         err);
    if (rc == KJ_FAIL) {
        kj_err_doc(err, d->id.p, d->id.n);
        return KJ_FATAL;
    }
    if (rc == KJ_BAD_RECORD)
        kj_err_reset(err);
    return rc;
}

static int by_serial(const void *pa, const void *pb)
{
    const struct known *a = pa, *b = pb;
    return a->serial < b->serial ? -1 : a->serial > b->serial;
}

/* What the survey found for a document, if it did. */
static bool look_up(const struct classify_cfg *c, uint64_t serial, float *score)
{
    struct known key = {.serial = serial};
    const struct known *k =
        c->n_known ? bsearch(&key, c->known, c->n_known, sizeof key, by_serial) : NULL;
    if (k)
        *score = k->score;
    return k != NULL;
}

/* Fill s->scores for the documents of b that are kept, and in the sample where one
 * is taken; NAN: not, or cannot be scored. */
static int score_batch(const struct classify_cfg *c, struct classify_state *s,
                       const struct kj_batch *b, double sample, uint64_t seed,
                       struct kj_err *err)
{
    int rc = KJ_OK;
    if (b->n > s->cap) {
        s->cap = b->n;
        s->scores = kj_xrealloc(s->scores, s->cap * sizeof *s->scores);
        s->want = kj_xrealloc(s->want, s->cap * sizeof *s->want);
    }
    for (size_t i = 0; i < b->n && rc == KJ_OK; i++) {
        s->scores[i] = NAN;
        s->want[i] =
            kj_doc_kept(&b->docs[i]) && kj_ranking_sampled(&b->docs[i], sample, seed);
        if (s->want[i])
            s->want[i] = !look_up(c, b->docs[i].serial, &s->scores[i]);
        if (s->want[i] && c->ft)
            rc = score(c, s, &b->docs[i], &s->scores[i], err);
        if (rc == KJ_BAD_RECORD) {
            s->scores[i] = NAN;
            rc = KJ_OK;
        }
    }
    if (rc == KJ_OK && s->pass && (rc = kj_ft_pass_run(s->pass, err)) == KJ_FAIL)
        rc = KJ_FATAL;
    if (rc == KJ_OK && !c->ft)
        rc = encoder_score_batch(&c->encoder, &s->encoder, b, s->want, s->scores, err);
    return rc;
}

static double shortest(float v)
{
    struct kj_buf b;
    kj_buf_init(&b, 64);
    kj_json_put_float(&b, v);
    double d = strtod(kj_buf_z(&b), NULL);
    kj_buf_release(&b);
    return d;
}

struct survey {
    const struct classify_cfg *c;
    uint64_t seed;
    struct survey_worker {
        struct classify_state state;
        struct kj_ranking ranks;
        uint64_t docs; /* all, in the sample or not */
    } * w;
    struct kj_ranking_budget budget;
};

static int survey_batch(void *ctx, unsigned worker, struct kj_batch *b,
                        struct kj_err *err)
{
    struct survey *v = ctx;
    struct survey_worker *w = &v->w[worker];
    int rc = score_batch(v->c, &w->state, b, v->c->sample, v->seed, err);
    for (size_t i = 0; i < b->n && rc == KJ_OK; i++) {
        const struct kj_doc *d = &b->docs[i];
        double p = (double)w->state.scores[i];
        w->docs += kj_doc_kept(d);
        if (!isnan(p))
            rc = kj_ranking_add(&w->ranks, &v->budget, kj_ranked_of(d, p, d->serial),
                                err);
    }
    return rc;
}

static void remember(struct classify_cfg *c, const struct kj_ranking *all)
{
    free(c->known);
    c->known = kj_xcalloc(all->n, sizeof *c->known);
    c->n_known = all->n;
    for (size_t i = 0; i < all->n; i++)
        c->known[i] = (struct known){all->v[i].own, (float)all->v[i].score};
    qsort(c->known, all->n, sizeof *c->known, by_serial);
}

/* The cut, from the scores in order. docs: how many there are beside those that
 * cannot be scored. */
static void find_cut(struct classify_cfg *c, const struct kj_ranking *all,
                     uint64_t docs)
{
    uint64_t k = kj_ranking_top(all->n, c->keep_top);
    c->last = all->v[k - 1];
    c->cut.threshold = shortest((float)c->last.score);
    c->found = (struct kj_quantile){.score = c->field,
                                    .language = "",
                                    .band = -1,
                                    .share = c->keep_top,
                                    .cut = c->cut.threshold,
                                    .low = NAN,
                                    .high = NAN,
                                    .share_low = NAN,
                                    .share_high = NAN,
                                    .docs = docs,
                                    .seen = all->n};
    if (all->n == docs)
        return;
    struct kj_ranking_interval in;
    kj_ranking_interval(docs, kj_ranking_top(docs, c->keep_top), all->n, k, &in);
    if (in.last)
        c->found.low = shortest((float)all->v[in.last - 1].score);
    if (in.first)
        c->found.high = shortest((float)all->v[in.first - 1].score);
    c->found.share_low = (double)in.rank_low / (double)docs;
    c->found.share_high = (double)in.rank_high / (double)docs;
}

static int classify_survey(void *cfg, struct kj_corpus *corpus, struct kj_err *err)
{
    struct classify_cfg *c = cfg;
    /* half of the memory: all keys are put side by side to be sorted */
    struct survey v = {
        .c = c, .seed = corpus->seed, .budget = {0, (size_t)corpus->memory / 2}};
    unsigned threads = corpus->threads ? corpus->threads : 1;
    v.w = kj_xcalloc(threads, sizeof *v.w);
    int rc = KJ_OK;
    for (unsigned i = 0; i < threads && rc == KJ_OK; i++)
        rc = classify_begin(c, &v.w[i].state, err);
    if (rc == KJ_OK)
        rc = corpus->pass(corpus, &v, survey_batch, NULL, err);
    struct kj_ranking all = {0};
    uint64_t docs = 0;
    for (unsigned i = 0; i < threads; i++) {
        kj_ranking_join(&all, &v.w[i].ranks);
        docs += v.w[i].docs;
        classify_end(c, &v.w[i].state);
    }
    if (c->sample >= 1) /* without those that cannot be scored */
        docs = all.n;
    if (rc == KJ_OK && docs > 0 && all.n == 0 && !corpus->trial)
        rc = kj_err_set(
            err, KJ_FATAL,
            "none of the %" PRIu64 " documents is in the --sample: raise it", docs);
    if (rc == KJ_OK && all.n > 0) {
        kj_ranking_sort(&all);
        find_cut(c, &all, docs);
        remember(c, &all);
    }
    c->surveyed = true;
    kj_ranking_free(&all);
    free(v.w);
    return rc;
}

static bool classify_surveys(const void *cfg)
{
    return ((const struct classify_cfg *)cfg)->keep_top > 0;
}

static void classify_quantiles(const void *cfg, struct kj_quantiles *out)
{
    const struct classify_cfg *c = cfg;
    *out = (struct kj_quantiles){&c->found, c->found.score != NULL, NULL};
}

static int set_number(struct kj_buf *num, struct kj_doc *d, struct kj_arena *a,
                      const char *field, struct kj_err *err)
{
    const char *text = kj_arena_dup(a, num->p, num->n);
    if (!text)
        return kj_err_set(err, KJ_FATAL, "no room in the batch");
    kj_doc_set(d, a, field, (struct kj_str){text, num->n});
    return KJ_OK;
}

static int classify_document(const struct classify_cfg *c, struct classify_state *s,
                             struct kj_doc *d, float p, struct kj_arena *a,
                             struct kj_err *err)
{
    if (isnan(p)) {
        kj_doc_drop(d, "classify.too_long", (double)d->text.n, NAN);
        return KJ_OK;
    }
    kj_buf_reset(&s->num);
    kj_json_put_float(&s->num, p);
    /* What is compared is what stands in the stream, not a hidden bit more. */
    double shown = strtod(kj_buf_z(&s->num), NULL);
    int rc = set_number(&s->num, d, a, c->field, err);
    if (rc == KJ_OK && c->int_field) {
        kj_buf_reset(&s->num);
        kj_json_put_int(&s->num, (int64_t)rint(fmin(fmax(shown, 0), 5)));
        rc = set_number(&s->num, d, a, c->int_field, err);
    }
    if (rc != KJ_OK)
        return rc;
    bool low = c->min > 0 && shown < c->min;
    if (c->keep_top > 0) {
        struct kj_ranked k = kj_ranked_of(d, (double)p, 0);
        low = kj_ranked_compare(&k, &c->last) > 0;
    }
    kj_doc_signal_by(d, a, &c->cut, shown);
    if (low)
        kj_doc_drop(d, c->rule, shown, c->cut.threshold);
    return KJ_OK;
}

static int classify_run(const void *cfg, void *state, struct kj_batch *b,
                        struct kj_err *err)
{
    const struct classify_cfg *c = cfg;
    if (c->keep_top > 0 && !c->surveyed)
        return kj_err_set(err, KJ_FATAL, "--keep-top has not seen the corpus");
    struct classify_state *s = state;
    int rc = score_batch(c, s, b, 1, 0, err);
    for (size_t i = 0; i < b->n && rc == KJ_OK; i++)
        if (kj_doc_kept(&b->docs[i]))
            rc = classify_document(c, s, &b->docs[i], s->scores[i], &b->arena, err);
    return rc;
}

static void classify_close(void *cfg)
{
    struct classify_cfg *c = cfg;
    kj_ft_device_free(c->on_device);
    kj_ft_free(c->ft);
    encoder_scorer_close(&c->encoder);
    free(c->known);
    free(c->field);
    free(c->int_field);
    free(c->rule);
}

static size_t classify_rules(const void *cfg, const struct kj_rule **out)
{
    const struct classify_cfg *c = cfg;
    *out = &c->cut;
    return 1;
}

static const char *classify_remark(const void *cfg)
{
    const struct classify_cfg *c = cfg;
    return *c->remark ? c->remark : NULL;
}

const struct kj_stage kj_stage_classify = {
    .name = "classify",
    .about = "score documents with a classifier, and cut by the score",
    .opts = kj_classify_opts,
    .cfg_size = sizeof(struct classify_cfg),
    .state_size = sizeof(struct classify_state),
    .open = classify_open,
    .survey = classify_survey,
    .surveys = classify_surveys,
    .begin = classify_begin,
    .run = classify_run,
    .end = classify_end,
    .close = classify_close,
    .rules = classify_rules,
    .quantiles = classify_quantiles,
    .remark = classify_remark,
};
