/* stage_classify.c - the probability of one label as a score of the document.
 *
 * The text becomes one line (prepare.h), the score is kj_ft_score's.
 *
 * keep_top P keeps the ceil(P * n) best of the n documents that reach the
 * stage. A first pass gives every document a key: score, then a hash of its
 * id, then its checksum, so that the order is total but for documents that are
 * equal in id and text (which share their fate). The key of the last one kept
 * is found by selection; the second pass compares with it. What is kept
 * depends on the documents alone, not on their order, threads or shards.
 */
#include "classify/fasttext.h"
#include "classify/prepare.h"
#include "classify/stages.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/json.h"

struct key {
    float score;
    uint64_t id, sum;
};

struct classify_cfg {
    const char *model, *as, *label;
    double min, keep_top;
    /* made by open */
    struct kj_ft *ft;
    int32_t target;
    char *rule;
    struct kj_rule rules[2];
    size_t n_rules;
    /* made by survey */
    bool surveyed;
    struct key last; /* the worst that is kept */
};

struct classify_state {
    struct kj_ft_scratch *s;
    struct kj_ft_hit *hits;
    struct kj_buf line, num;
};

const struct kj_opt kj_classify_opts[] = {
    {"model", 'm', KJ_OPT_STR, offsetof(struct classify_cfg, model), "FILE",
     "fastText classifier, .bin or .ftz", NULL, 0, 0},
    {"as", 0, KJ_OPT_STR, offsetof(struct classify_cfg, as), "NAME",
     "field for the score; the rule is classify.NAME", "score", 0, 0},
    {"label", 0, KJ_OPT_STR, offsetof(struct classify_cfg, label), "LABEL",
     "score the probability of this label (with or without __label__)", "hq", 0, 0},
    {"min", 0, KJ_OPT_REAL, offsetof(struct classify_cfg, min), "S",
     "drop documents that score lower", "0", 0, 1},
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

static int classify_open(void *cfg_, struct kj_err *err)
{
    struct classify_cfg *c = cfg_;
    if (!c->model)
        return kj_err_set(err, KJ_USAGE, "which model? (-m FILE)");
    if (!usable_name(c->as))
        return kj_err_set(err, KJ_USAGE,
                          "'%s' cannot be the name of a score: letters, digits and _, "
                          "and no field of the stream",
                          c->as);
    if (c->min > 0 && c->keep_top > 0)
        return kj_err_set(err, KJ_USAGE, "--min and --keep-top exclude each other");
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
    size_t n = strlen(c->as) + sizeof "classify.";
    c->rule = kj_xmalloc(n);
    memcpy(c->rule, "classify.", 9);
    memcpy(c->rule + 9, c->as, n - 9);
    if (c->min > 0)
        c->rules[c->n_rules++] =
            (struct kj_rule){c->rule, "<", c->min, "probability",
                             "the score of the classifier is too low"};
    if (c->keep_top > 0)
        c->rules[c->n_rules++] =
            (struct kj_rule){c->rule, "<", NAN, "probability",
                             "the score is not among the best of the corpus"};
    return KJ_OK;
}

static int classify_begin(const void *cfg_, void *state, struct kj_err *err)
{
    const struct classify_cfg *c = cfg_;
    struct classify_state *s = state;
    (void)err;
    s->s = kj_ft_scratch_new(c->ft, 0);
    s->hits = kj_xcalloc((size_t)kj_ft_labels(c->ft), sizeof *s->hits);
    kj_buf_init(&s->line, KJ_DOC_LINE_MAX);
    kj_buf_init(&s->num, 64);
    return KJ_OK;
}

static void classify_end(const void *cfg, void *state)
{
    struct classify_state *s = state;
    (void)cfg;
    kj_ft_scratch_free(s->s);
    free(s->hits);
    kj_buf_release(&s->line);
    kj_buf_release(&s->num);
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

static struct key key_of(const struct kj_doc *d, float score)
{
    return (struct key){score, kj_hash64(d->id.p, d->id.n, 0), kj_doc_checksum(d)};
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
    for (size_t i = 0; i < b->n; i++) {
        const struct kj_doc *d = &b->docs[i];
        float p;
        if (!kj_doc_kept(d))
            continue;
        int rc = score(v->c, &w->state, d, &p, err);
        if (rc == KJ_BAD_RECORD)
            continue;
        if (rc != KJ_OK)
            return rc;
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

static int classify_survey(void *cfg, struct kj_corpus *corpus, struct kj_err *err)
{
    struct classify_cfg *c = cfg;
    /* half of the memory: all keys are put side by side to be sorted */
    struct survey v = {.c = c, .limit = (size_t)corpus->memory / 2};
    if (c->keep_top <= 0)
        return KJ_OK;
    unsigned threads = corpus->threads ? corpus->threads : 1;
    v.w = kj_xcalloc(threads, sizeof *v.w);
    for (unsigned i = 0; i < threads; i++)
        classify_begin(c, &v.w[i].state, err);
    int rc = corpus->pass(corpus, &v, survey_batch, NULL, err);
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
    }
    c->surveyed = true;
    free(all);
    free(v.w);
    return rc;
}

static int classify_document(const struct classify_cfg *c, struct classify_state *s,
                             struct kj_doc *d, struct kj_arena *a, struct kj_err *err)
{
    float p;
    int rc = score(c, s, d, &p, err);
    if (rc == KJ_BAD_RECORD) {
        kj_doc_drop(d, "classify.too_long", (double)d->text.n, NAN);
        return KJ_OK;
    }
    if (rc != KJ_OK)
        return rc;
    kj_buf_reset(&s->num);
    kj_json_put_float(&s->num, p);
    /* What is compared is what stands in the stream, not a hidden bit more. */
    double shown = strtod(kj_buf_z(&s->num), NULL);
    const char *text = kj_arena_dup(a, s->num.p, s->num.n);
    if (!text)
        return kj_err_set(err, KJ_FATAL, "no room in the batch");
    kj_doc_set(d, a, c->as, (struct kj_str){text, s->num.n});
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
    for (size_t i = 0; i < b->n; i++) {
        if (!kj_doc_kept(&b->docs[i]))
            continue;
        int rc = classify_document(c, state, &b->docs[i], &b->arena, err);
        if (rc != KJ_OK)
            return rc;
    }
    return KJ_OK;
}

static void classify_close(void *cfg)
{
    struct classify_cfg *c = cfg;
    kj_ft_free(c->ft);
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
