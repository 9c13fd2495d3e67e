/* ft_tune.c - fastText's options by search: the first trial is what was given,
 * each later one changes some options of the best so far, by less and less. So
 * does fastText's own autotune (rate, epochs, dimension, n-grams, buckets); the
 * draws here are ours, a hash of seed and counter.
 */
#include "classify/ft_tune.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

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

static void vary(struct dice *d, struct kj_ft_train *t, double spread)
{
    static const int64_t subwords[][2] = {{0, 0}, {2, 3}, {2, 5}, {3, 6}};
    if (unit(d) < 0.7)
        t->lr = scaled(d, t->lr, spread, 0.01, 5);
    if (unit(d) < 0.7)
        t->epoch = lround(scaled(d, (double)t->epoch, spread, 1, 100));
    if (unit(d) < 0.5)
        t->dim = lround(scaled(d, (double)t->dim, spread, 4, 1000));
    if (unit(d) < 0.5)
        t->word_ngrams = 1 + (int64_t)(unit(d) * 5);
    if (unit(d) < 0.4) {
        const int64_t *s = subwords[(size_t)(unit(d) * 4)];
        t->minn = s[0];
        t->maxn = s[1];
    }
    if (unit(d) < 0.3)
        t->bucket = lround(scaled(d, (double)(t->bucket ? t->bucket : 100000), spread,
                                  10000, 10000000));
    if (t->bucket == 0 && (t->word_ngrams > 1 || t->maxn > 0))
        t->bucket = 100000;
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

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int kj_ft_tune(const struct kj_ft_tune *o, struct kj_ft_train *best, double *metric,
               struct kj_buf *model, struct kj_err *err)
{
    struct dice dice = {(uint64_t)o->base.seed, 0};
    double began = now();
    int64_t cap = o->trials > 0 ? o->trials : 30; /* of the shrinking spread */
    *best = o->base;
    *metric = -1;
    for (int64_t i = 0; o->trials == 0 || i < o->trials; i++) {
        if (i > 0 && ((o->seconds > 0 && now() - began >= o->seconds) ||
                      (o->stop && atomic_load(o->stop))))
            break;
        struct kj_ft_train t = *best;
        struct kj_ft_train_stats st;
        struct kj_err bad = KJ_ERR_INIT;
        struct kj_buf file;
        double f1 = -1;
        if (i > 0)
            vary(&dice, &t, fmax(0.4, 2 - 1.6 * (double)i / (double)cap));
        kj_buf_init(&file, model->cap);
        int rc = kj_ft_train(&t, o->text, o->text_n, &file, &st, &bad);
        if (rc == KJ_OK)
            rc = judge(o, &file, &f1, &bad);
        /* Options that do not fit memory or diverge lose; the given ones must work. */
        if (rc != KJ_OK && (i == 0 || rc == KJ_USAGE)) {
            kj_buf_release(&file);
            *err = bad;
            return rc;
        }
        bool better = rc == KJ_OK && f1 > *metric;
        if (better) {
            *metric = f1;
            *best = t;
            kj_buf_release(model);
            *model = file;
        } else {
            kj_buf_release(&file);
        }
        if (o->tell)
            o->tell(o->ctx, i + 1, &t, f1, better);
    }
    return o->stop && atomic_load(o->stop) ? KJ_EOF : KJ_OK;
}
