/* ft_tune.c - fastText's options by search: the first trial is what was given,
 * each later one changes some options of the best so far, by less and less. So
 * does fastText's own autotune (rate, epochs, dimension, n-grams, buckets, the
 * pieces of quantisation); the draws here are ours, a hash of seed and counter.
 * fastText always takes softmax for its loss, though it lists it as searched.
 */
#include "classify/ft_tune.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/hash.h"

struct dice {
    uint64_t seed, n;
};

static double unit(struct dice *d)
{
    uint64_t both[2] = {d->seed, d->n++};
    return (double)(kj_hash64(both, sizeof both, 0) >> 11) * 0x1p-53;
}

/* Nearly normal: variance 1. */
static double normal(struct dice *d)
{
    double sum = -6;
    for (int i = 0; i < 12; i++)
        sum += unit(d);
    return sum;
}

static double scaled(struct dice *d, double v, double spread, double min, double max)
{
    return fmin(fmax(v * exp2(normal(d) * spread), min), max);
}

static bool turn(struct dice *d, const struct kj_ft_tune *o, unsigned what,
                 double chance)
{
    double u = unit(d); /* drawn in any case: what is fixed does not move the rest */
    return !(o->fixed & what) && u < chance;
}

static void vary(struct dice *d, const struct kj_ft_tune *o, struct kj_ft_trial *x,
                 double spread)
{
    static const int64_t subwords[][2] = {{0, 0}, {2, 3}, {2, 5}, {3, 6}};
    /* Negative sampling is for vectors of words: its losses draw at random. */
    static const int losses[] = {KJ_FT_SOFTMAX, KJ_FT_OVA, KJ_FT_HS};
    struct kj_ft_train *t = &x->t;
    if (turn(d, o, KJ_TUNE_LR, 0.7))
        t->lr = scaled(d, t->lr, spread, 0.01, 5);
    if (turn(d, o, KJ_TUNE_EPOCH, 0.7))
        t->epoch = lround(scaled(d, (double)t->epoch, spread, 1, 100));
    if (turn(d, o, KJ_TUNE_DIM, 0.5))
        t->dim = lround(scaled(d, (double)t->dim, spread, 4, 1000));
    if (turn(d, o, KJ_TUNE_WORD_NGRAMS, 0.5))
        t->word_ngrams = 1 + (int64_t)(unit(d) * 5);
    if (turn(d, o, KJ_TUNE_SUBWORDS, 0.4)) {
        const int64_t *s = subwords[(size_t)(unit(d) * 4)];
        t->minn = s[0];
        t->maxn = s[1];
    }
    if (turn(d, o, KJ_TUNE_BUCKET, 0.3))
        t->bucket = lround(scaled(d, (double)(t->bucket ? t->bucket : 100000), spread,
                                  10000, 10000000));
    if (turn(d, o, KJ_TUNE_LOSS, 0.25))
        t->loss = losses[(size_t)(unit(d) * 3)];
    if (o->model_size > 0 && turn(d, o, KJ_TUNE_DSUB, 0.4))
        x->q.dsub = (int64_t)2 << (size_t)(unit(d) * 4);
    if (t->bucket == 0 && (t->word_ngrams > 1 || t->maxn > 0))
        t->bucket = 100000;
}

/* ---- a model of at most so many bytes ---- */

#define LEAST_ROWS 256 /* a model of fewer is no use, as in fastText */

/* Bytes that do not depend on how many rows are kept. */
static double fixed_bytes(const struct kj_ft *m, const struct kj_ft_quantize *q)
{
    const double dim = (double)kj_ft_get_args(m)->dim, labels = kj_ft_labels(m);
    double out =
        q->qout ? labels * (dim / 2 + 1) + 4 * 256 * (dim + 1) + 64 : 4 * labels * dim;
    return 300 + 4 * 256 * (dim + 1) + out;
}

static int64_t fitting(double rows)
{
    return rows < 0 ? 0 : rows > 2e9 ? 2000000000 : (int64_t)rows;
}

/* Quantise the dense file so that it fits. A row's bytes depend on the words that
 * are kept, so a first guess is weighed before the one that is trained again.
 * KJ_EOF: it cannot be made to fit. */
static int shrink(const struct kj_ft_tune *o, struct kj_ft_trial *x,
                  struct kj_buf *file, struct kj_err *err)
{
    struct kj_ft *m = NULL;
    struct kj_buf small;
    const double limit = (double)o->model_size;
    int rc = kj_ft_open_mem(&m, file->p, file->n, "the trial", err);
    if (rc != KJ_OK)
        return rc;
    x->q.qnorm = true;
    x->q.qout = kj_ft_labels(m) >= 256;
    double fixed = fixed_bytes(m, &x->q);
    const int64_t codes = (x->t.dim + x->q.dsub - 1) / x->q.dsub;
    double row = (double)codes + 1 + 16;
    x->q.cutoff = fitting((limit - fixed) / row);
    rc = KJ_EOF;
    for (int i = 0; i < 4 && rc == KJ_EOF && x->q.cutoff >= LEAST_ROWS; i++) {
        struct kj_ft_quantize q = x->q;
        if (i > 0) {
            q.retrain = &x->t;
            q.text = o->text;
            q.text_n = o->text_n;
        }
        kj_buf_init(&small, file->cap);
        rc = kj_ft_quantise(m, &q, &small, err);
        bool fits = small.n <= (size_t)o->model_size;
        if (rc == KJ_OK && i > 0 && fits) {
            kj_ft_free(m);
            kj_buf_release(file);
            *file = small;
            return KJ_OK;
        }
        if (rc == KJ_OK) {
            double by = (limit - fixed) / fmax((double)small.n - fixed, 1);
            x->q.cutoff = fitting((double)x->q.cutoff * by * 0.99);
            rc = KJ_EOF;
        }
        kj_buf_release(&small);
    }
    kj_ft_free(m);
    return rc;
}

/* F1 of the best label of each line, over all labels or of one. */
static int judge(const struct kj_ft_tune *o, const struct kj_buf *file, double *f1,
                 struct kj_err *err)
{
    struct kj_ft *m = NULL;
    uint64_t gold = 0, predicted = 0, right = 0;
    int rc = kj_ft_open_mem(&m, file->p, file->n, "the trial", err);
    if (rc != KJ_OK)
        return rc;
    struct kj_ft_scratch *s = kj_ft_scratch_new(m, 0);
    int32_t only = o->label ? kj_ft_label_find(m, o->label) : -1;
    if (o->label && only < 0)
        rc = kj_err_set(err, KJ_USAGE, "no line to learn from has the label '%s'",
                        o->label);
    for (size_t at = 0, used = 0; at < o->valid_n && rc == KJ_OK; at += used) {
        struct kj_ft_hit hit = {-1, 0};
        const int32_t *labels;
        int32_t n = 0;
        rc = kj_ft_predict(m, s, o->valid + at, o->valid_n - at, false, 1, 0, &hit, &n,
                           &used, err);
        size_t n_labels = kj_ft_true_labels(s, &labels);
        if (rc != KJ_OK || n_labels == 0)
            continue;
        predicted += n && (only < 0 || hit.label == only);
        for (size_t i = 0; i < n_labels; i++) {
            if (only >= 0 && labels[i] != only)
                continue;
            gold++;
            right += n && labels[i] == hit.label;
        }
    }
    *f1 = predicted + gold ? 2 * (double)right / (double)(predicted + gold) : 0;
    kj_ft_scratch_free(s);
    kj_ft_free(m);
    return rc;
}

/* One trial: KJ_EOF when its model cannot be made to fit. */
static int attempt(const struct kj_ft_tune *o, struct kj_ft_trial *x,
                   struct kj_buf *file, double *f1, struct kj_err *err)
{
    struct kj_ft_train_stats st;
    int rc = kj_ft_train(&x->t, o->text, o->text_n, file, &st, err);
    if (rc == KJ_OK && o->model_size > 0)
        rc = shrink(o, x, file, err);
    if (rc == KJ_OK)
        rc = judge(o, file, f1, err);
    x->bytes = rc == KJ_OK ? file->n : 0;
    return rc;
}

static bool over(const struct kj_ft_tune *o, int64_t i, double began)
{
    return i > 0 && ((o->seconds > 0 && kj_now() - began >= o->seconds) ||
                     (o->stop && atomic_load(o->stop)));
}

int kj_ft_tune(const struct kj_ft_tune *o, struct kj_ft_trial *best, double *metric,
               struct kj_buf *model, struct kj_err *err)
{
    struct dice dice = {(uint64_t)o->base.seed, 0};
    double began = kj_now();
    int64_t cap = o->trials > 0 ? o->trials : 30; /* of the shrinking spread */
    *best = (struct kj_ft_trial){.t = o->base, .q = {.dsub = o->dsub ? o->dsub : 2}};
    *metric = -1;
    for (int64_t i = 0; (o->trials == 0 || i < o->trials) && !over(o, i, began); i++) {
        struct kj_ft_trial x = *best;
        struct kj_err bad = KJ_ERR_INIT;
        struct kj_buf file;
        double f1 = -1;
        if (i > 0)
            vary(&dice, o, &x, fmax(0.4, 2 - 1.6 * (double)i / (double)cap));
        kj_buf_init(&file, model->cap);
        int rc = attempt(o, &x, &file, &f1, &bad);
        /* Options that do not fit memory or diverge lose; the given ones must work. */
        if (rc != KJ_OK && rc != KJ_EOF && (i == 0 || rc == KJ_USAGE)) {
            kj_buf_release(&file);
            *err = bad;
            return rc;
        }
        bool better = rc == KJ_OK && f1 > *metric;
        if (better) {
            *metric = f1;
            *best = x;
            kj_buf_release(model);
            *model = file;
        } else {
            kj_buf_release(&file);
        }
        if (o->tell)
            o->tell(o->ctx, i + 1, &x, f1, better);
    }
    if (o->stop && atomic_load(o->stop))
        return KJ_EOF;
    if (*metric < 0)
        return kj_err_set(err, KJ_FAIL, "no trial made a model of at most %lld bytes",
                          (long long)o->model_size);
    return KJ_OK;
}
