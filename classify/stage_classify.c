/* stage_classify.c - the probability of one label as a score of the document.
 *
 * The text becomes one line (prepare.h), the score is kj_ft_score's.
 *
 * A folder is an encoder with a head (texts.h). Its field is NAME_score, and that of a
 * regression has NAME_int beside it: the score rounded (to even) within 0..5, as
 * FineWeb-Edu's int_score. A survey keeps its scores for the run, by the documents'
 * serial numbers: nothing is computed twice.
 *
 * keep_top P keeps the ceil(P * n) best of the n documents that reach the
 * stage. A first pass gives every document a key: score, then a hash of its
 * id, then its checksum, so that the order is total but for documents that are
 * equal in id and text (which share their fate). The key of the last one kept
 * is found by selection; the second pass compares with it. What is kept
 * depends on the documents alone, not on their order, threads or shards.
 */
#include "classify/encoder_score.h"
#include "classify/fasttext.h"
#include "classify/prepare.h"
#include "classify/stages.h"

#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/hash.h"
#include "base/json.h"

struct key {
    float score;
    uint64_t id, sum, serial;
};

struct classify_cfg {
    const char *model, *as, *label;
    double min, keep_top;
    /* made by open */
    struct kj_ft *ft; /* or */
    struct encoder_scorer encoder;
    int32_t target;
    char *field, *int_field; /* int_field NULL: none */
    char *rule;
    struct kj_rule rules[2];
    size_t n_rules;
    /* made by survey */
    bool surveyed;
    struct key last; /* the worst that is kept */
    struct known {   /* an encoder's scores, by serial number */
        uint64_t serial;
        float score;
    } * known;
    size_t n_known;
};

struct classify_state {
    struct kj_ft_scratch *s;
    struct kj_ft_hit *hits;
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
     "0", 0, 1},
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
    return KJ_OK;
}

/* "edu" and "edu_score" give edu_score and edu_int; "score" the names of
 * FineWeb-Edu, score and int_score. */
static int open_encoder(struct classify_cfg *c, struct kj_err *err)
{
    size_t n = strlen(c->as);
    int rc = encoder_scorer_open(&c->encoder, c->model, c->label, err);
    if (rc != KJ_OK)
        return rc;
    if (n > 6 && strcmp(c->as + n - 6, "_score") == 0)
        n -= 6;
    bool plain = strcmp(c->as, "score") == 0;
    c->field = kj_xcalloc(n + 16, 1);
    c->int_field = c->encoder.regression ? kj_xcalloc(n + 16, 1) : NULL;
    snprintf(c->field, n + 16, plain ? "score" : "%.*s_score", (int)n, c->as);
    if (c->int_field)
        snprintf(c->int_field, n + 16, plain ? "int_score" : "%.*s_int", (int)n, c->as);
    if (!usable_name(c->field))
        return kj_err_set(err, KJ_USAGE, "'%s' is a field of the stream", c->field);
    return KJ_OK;
}

static int classify_open(void *cfg_, struct kj_err *err)
{
    struct classify_cfg *c = cfg_;
    struct stat st;
    if (!c->model)
        return kj_err_set(err, KJ_USAGE, "which model? (-m FILE)");
    if (!usable_name(c->as))
        return kj_err_set(err, KJ_USAGE,
                          "'%s' cannot be the name of a score: letters, digits and _, "
                          "and no field of the stream",
                          c->as);
    if (c->min > 0 && c->keep_top > 0)
        return kj_err_set(err, KJ_USAGE, "--min and --keep-top exclude each other");
    bool folder = stat(c->model, &st) == 0 && S_ISDIR(st.st_mode);
    int rc = folder ? open_encoder(c, err) : open_fasttext(c, err);
    if (rc != KJ_OK)
        return rc;
    bool number = folder && c->encoder.regression;
    if (!number && c->min > 1)
        return kj_err_set(err, KJ_USAGE, "--min: a probability is at most 1");
    const char *unit = number ? "score" : "probability";
    size_t n = strlen(c->field) + sizeof "classify.";
    c->rule = kj_xmalloc(n);
    snprintf(c->rule, n, "classify.%s", c->field);
    if (c->min > 0)
        c->rules[c->n_rules++] = (struct kj_rule){
            c->rule, "<", c->min, unit, "the score of the classifier is too low"};
    if (c->keep_top > 0)
        c->rules[c->n_rules++] = (struct kj_rule){
            c->rule, "<", NAN, unit, "the score is not among the best of the corpus"};
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
    s->s = kj_ft_scratch_new(c->ft, 0);
    s->hits = kj_xcalloc((size_t)kj_ft_labels(c->ft), sizeof *s->hits);
    return KJ_OK;
}

static void classify_end(const void *cfg, void *state)
{
    struct classify_state *s = state;
    (void)cfg;
    kj_ft_scratch_free(s->s);
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
    if (rc == KJ_OK)
        rc = kj_ft_score(c->ft, s->s, c->target, s->line.p, s->line.n, s->hits, out,
                         err);
    if (rc == KJ_FAIL) {
        kj_err_doc(err, d->id.p, d->id.n);
        return KJ_FATAL;
    }
    if (rc != KJ_OK)
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

/* Fill s->scores for the documents of b that are kept; NAN: cannot be scored. */
static int score_batch(const struct classify_cfg *c, struct classify_state *s,
                       const struct kj_batch *b, struct kj_err *err)
{
    int rc = KJ_OK;
    if (b->n > s->cap) {
        s->cap = b->n;
        s->scores = kj_xrealloc(s->scores, s->cap * sizeof *s->scores);
        s->want = kj_xrealloc(s->want, s->cap * sizeof *s->want);
    }
    for (size_t i = 0; i < b->n && rc == KJ_OK; i++) {
        s->scores[i] = NAN;
        s->want[i] = kj_doc_kept(&b->docs[i]);
        if (s->want[i] && c->ft)
            rc = score(c, s, &b->docs[i], &s->scores[i], err);
        else if (s->want[i])
            s->want[i] = !look_up(c, b->docs[i].serial, &s->scores[i]);
        if (rc == KJ_BAD_RECORD) {
            s->scores[i] = NAN;
            rc = KJ_OK;
        }
    }
    if (rc == KJ_OK && !c->ft)
        rc = encoder_score_batch(&c->encoder, &s->encoder, b, s->want, s->scores, err);
    return rc;
}

static struct key key_of(const struct kj_doc *d, float score)
{
    return (struct key){score, kj_hash64(d->id.p, d->id.n, 0), kj_doc_checksum(d),
                        d->serial};
}

/* Best first. */
static int compare(const void *pa, const void *pb)
{
    const struct key *a = pa, *b = pb;
    if (a->score != b->score)
        return a->score > b->score ? -1 : 1;
    if (a->id != b->id)
        return a->id < b->id ? -1 : 1;
    return a->sum < b->sum ? -1 : a->sum > b->sum;
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
    struct survey_worker {
        struct classify_state state;
        struct key *keys;
        size_t n, cap;
    } * w;
    atomic_size_t bytes; /* of all keys */
    size_t limit;
};

static int survey_batch(void *ctx, unsigned worker, struct kj_batch *b,
                        struct kj_err *err)
{
    struct survey *v = ctx;
    struct survey_worker *w = &v->w[worker];
    int rc = score_batch(v->c, &w->state, b, err);
    if (rc != KJ_OK)
        return rc;
    for (size_t i = 0; i < b->n; i++) {
        const struct kj_doc *d = &b->docs[i];
        float p = w->state.scores[i];
        if (!kj_doc_kept(d) || isnan(p))
            continue;
        if (w->n == w->cap) {
            size_t more = w->cap ? w->cap : 4096;
            if (atomic_fetch_add(&v->bytes, more * sizeof *w->keys) +
                    more * sizeof *w->keys >
                v->limit)
                return kj_err_set(err, KJ_FATAL,
                                  "the scores for --keep-top need more than --memory");
            w->cap += more;
            w->keys = kj_xrealloc(w->keys, w->cap * sizeof *w->keys);
        }
        w->keys[w->n++] = key_of(d, p);
    }
    return KJ_OK;
}

static void remember(struct classify_cfg *c, const struct key *all, size_t n)
{
    free(c->known);
    c->known = kj_xcalloc(n, sizeof *c->known);
    c->n_known = n;
    for (size_t i = 0; i < n; i++)
        c->known[i] = (struct known){all[i].serial, all[i].score};
    qsort(c->known, n, sizeof *c->known, by_serial);
}

static int classify_survey(void *cfg, struct kj_corpus *corpus, struct kj_err *err)
{
    struct classify_cfg *c = cfg;
    /* half of the memory: all keys are put side by side to be sorted */
    struct survey v = {.c = c, .limit = (size_t)corpus->memory / 2};
    if (c->keep_top <= 0)
        return KJ_OK;
    unsigned threads = corpus->threads ? corpus->threads : 1;
    v.w = kj_xcalloc(threads, sizeof *v.w);
    int rc = KJ_OK;
    for (unsigned i = 0; i < threads && rc == KJ_OK; i++)
        rc = classify_begin(c, &v.w[i].state, err);
    if (rc == KJ_OK)
        rc = corpus->pass(corpus, &v, survey_batch, NULL, err);
    size_t n = 0;
    for (unsigned i = 0; i < threads; i++)
        n += v.w[i].n;
    struct key *all = kj_xcalloc(n ? n : 1, sizeof *all);
    n = 0;
    for (unsigned i = 0; i < threads; i++) {
        if (v.w[i].n)
            memcpy(all + n, v.w[i].keys, v.w[i].n * sizeof *all);
        n += v.w[i].n;
        free(v.w[i].keys);
        classify_end(c, &v.w[i].state);
    }
    if (rc == KJ_OK && n > 0) {
        size_t keep = (size_t)ceil(c->keep_top * (double)n - 1e-9);
        qsort(all, n, sizeof *all, compare);
        c->last = all[(keep ? keep : 1) - 1];
        c->rules[0].threshold = shortest(c->last.score);
        if (!c->ft)
            remember(c, all, n);
    }
    c->surveyed = true;
    free(all);
    free(v.w);
    return rc;
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
    if (c->n_rules == 0)
        return KJ_OK;
    bool low = c->min > 0 && shown < c->min, beaten = false;
    if (c->keep_top > 0) {
        struct key k = key_of(d, p);
        beaten = compare(&k, &c->last) > 0;
    }
    if (c->min > 0 && (low || !beaten)) /* the score alone decided */
        kj_doc_signal_by(d, a, &c->rules[0], shown);
    else
        kj_doc_signal(d, a, c->rule, shown);
    if (low)
        kj_doc_drop(d, c->rule, shown, c->min);
    else if (beaten)
        kj_doc_drop(d, c->rule, shown, c->rules[0].threshold);
    return KJ_OK;
}

static int classify_run(const void *cfg, void *state, struct kj_batch *b,
                        struct kj_err *err)
{
    const struct classify_cfg *c = cfg;
    if (c->keep_top > 0 && !c->surveyed)
        return kj_err_set(err, KJ_FATAL, "--keep-top has not seen the corpus");
    struct classify_state *s = state;
    int rc = score_batch(c, s, b, err);
    for (size_t i = 0; i < b->n && rc == KJ_OK; i++)
        if (kj_doc_kept(&b->docs[i]))
            rc = classify_document(c, s, &b->docs[i], s->scores[i], &b->arena, err);
    return rc;
}

static void classify_close(void *cfg)
{
    struct classify_cfg *c = cfg;
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
    *out = c->rules;
    return c->n_rules;
}

const struct kj_stage kj_stage_classify = {
    .name = "classify",
    .about = "score documents with a classifier, and cut by the score",
    .opts = kj_classify_opts,
    .cfg_size = sizeof(struct classify_cfg),
    .state_size = sizeof(struct classify_state),
    .open = classify_open,
    .survey = classify_survey,
    .begin = classify_begin,
    .run = classify_run,
    .end = classify_end,
    .close = classify_close,
    .rules = classify_rules,
};
