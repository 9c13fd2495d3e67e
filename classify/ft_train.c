/* ft_train.c - training as fastText does it: plain stochastic gradient descent
 * on one line at a time, the rate falling linearly to zero over all tokens of
 * all epochs.
 *
 * A line's hidden vector is the mean of its rows. The gradient at the hidden
 * vector, divided by the number of rows, goes to every row. The losses differ
 * only in which output rows are touched: softmax all of them, hierarchical
 * softmax those on the label's path in a Huffman tree, negative sampling the
 * label's and a few drawn ones, one-vs-all all of them as separate questions.
 *
 * With one thread every operation on a float is done in fastText's order, and
 * its random numbers are the same: a multiplicative congruential generator
 * (48271 modulo 2^31-1) and the C++ library's ways to draw from it. So the
 * weights equal those of `fasttext supervised -thread 1` wherever no two words
 * are equally frequent. It also keeps that program's odd choice to give random
 * values to the first tenth of the input weights only (a thread's share); the
 * rest begins at zero, which does no harm, since the output starts at zero.
 *
 * With several threads each begins at its own place in the text and all write
 * to the same weights without locks (Niu et al., Hogwild, arXiv 1106.5730).
 * Updates may get lost; that is the method, so the race detector is told to
 * look away.
 */
#include "classify/ft_internal.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define NEGATIVES 10000000.0f /* resolution of the table that fastText draws from */

/* ---- random numbers ---- */

static uint32_t rand_next(uint32_t *s)
{
    *s = (uint32_t)((uint64_t)*s * 48271 % 2147483647);
    return *s;
}

static uint32_t rand_seed(int64_t seed)
{
    uint32_t s = (uint32_t)((uint64_t)seed % 2147483647);
    return s ? s : 1;
}

/* Uniform over 0..n-1, by equal shares and rejection. */
static uint64_t rand_below(uint32_t *s, uint64_t n)
{
    uint64_t scale = 2147483645u / n, past = n * scale, v;
    do
        v = rand_next(s) - 1;
    while (v >= past);
    return v / scale;
}

/* Uniform over [0,1) from two draws. */
static double rand_unit(uint32_t *s)
{
    const double r = 2147483646.0;
    double lo = (double)(rand_next(s) - 1);
    double v = (lo + (double)(rand_next(s) - 1) * r) / (r * r);
    return v < 1 ? v : nextafter(1, 0);
}

/* ---- one thread ---- */

struct shared {
    struct ft_job *job;
    struct kj_ft model; /* a view, for the parts that prediction has too */
    atomic_llong tokens;
    atomic_bool stop;
    double *negatives; /* running ends of the labels' shares */
    uint64_t n_negatives;
    struct ft_node *tree;
    int32_t *parent; /* hs: parent of each node; -1 root */
    bool *right;
};

struct worker {
    struct shared *sh;
    int id;
    pthread_t thread;
    struct kj_ft_scratch *s;
    float *grad;
    uint32_t rng;
    double loss;
    int64_t examples;
    struct kj_err err;
};

FT_RACY static void add_scaled(float *restrict x, const float *restrict y, float a,
                               size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] += a * y[i];
}

FT_RACY static float dot1(const float *w, const float *h, size_t n)
{
    float s = 0;
    for (size_t i = 0; i < n; i++)
        s += w[i] * h[i];
    return s;
}

/* Eight sums side by side: each in its own order, none waits for another. */
FT_RACY static void dot8(const float *w, const float *h, size_t n, float *out)
{
    float s[8] = {0};
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < 8; k++)
            s[k] += w[k * n + i] * h[i];
    memcpy(out, s, sizeof s);
}

FT_RACY static double learn_softmax(struct worker *w, int32_t target, float lr)
{
    struct ft_job *j = w->sh->job;
    size_t n = (size_t)j->dict->n_labels, dim = (size_t)j->dim, l = 0;
    float *o = w->s->output, *h = w->s->hidden;
    for (; l + 8 <= n; l += 8)
        dot8(j->out + l * dim, h, dim, o + l);
    for (; l < n; l++)
        o[l] = dot1(j->out + l * dim, h, dim);
    ft_softmax(o, n);
    for (l = 0; l < n; l++) {
        float alpha = lr * ((l == (size_t)target ? 1.0f : 0.0f) - o[l]);
        float *row = j->out + l * dim;
        add_scaled(w->grad, row, alpha, dim);
        add_scaled(row, h, alpha, dim);
    }
    return -log((double)o[target] + 1e-5);
}

/* Is output row `row` on? One logistic question. */
FT_RACY static double learn_binary(struct worker *w, int32_t row_i, bool on, float lr)
{
    struct ft_job *j = w->sh->job;
    size_t dim = (size_t)j->dim;
    float *row = j->out + (size_t)row_i * dim;
    float p = ft_sigmoid(dot1(row, w->s->hidden, dim));
    float alpha = lr * ((on ? 1.0f : 0.0f) - p);
    add_scaled(w->grad, row, alpha, dim);
    add_scaled(row, w->s->hidden, alpha, dim);
    return -log((on ? (double)p : 1.0 - (double)p) + 1e-5);
}

static int32_t draw_negative(struct worker *w, int32_t target)
{
    const struct shared *sh = w->sh;
    for (;;) {
        double at = (double)rand_below(&w->rng, sh->n_negatives);
        int32_t lo = 0, hi = sh->job->dict->n_labels - 1;
        while (lo < hi) {
            int32_t mid = lo + (hi - lo) / 2;
            if (at < sh->negatives[mid])
                hi = mid;
            else
                lo = mid + 1;
        }
        if (lo != target)
            return lo;
    }
}

static double learn_one(struct worker *w, int32_t target, float lr)
{
    const struct shared *sh = w->sh;
    const struct ft_job *j = sh->job;
    double loss = 0;
    if (j->loss == KJ_FT_SOFTMAX)
        return learn_softmax(w, target, lr);
    if (j->loss == KJ_FT_HS) {
        for (int32_t node = target; sh->parent[node] >= 0; node = sh->parent[node])
            loss += learn_binary(w, sh->parent[node] - j->dict->n_labels,
                                 sh->right[node], lr);
        return loss;
    }
    loss = learn_binary(w, target, true, lr);
    for (int64_t i = 0; i < j->o->neg && j->dict->n_labels > 1; i++)
        loss += learn_binary(w, draw_negative(w, target), false, lr);
    return loss;
}

static double learn_all(struct worker *w, float lr)
{
    const struct kj_ft_scratch *s = w->s;
    double loss = 0;
    for (int32_t l = 0; l < w->sh->job->dict->n_labels; l++) {
        bool on = false;
        for (size_t i = 0; i < s->n_labels && !on; i++)
            on = s->labels[i] == l;
        loss += learn_binary(w, l, on, lr);
    }
    return loss;
}

FT_RACY static int learn_line(struct worker *w, float lr)
{
    struct kj_ft_scratch *s = w->s;
    struct ft_job *j = w->sh->job;
    size_t dim = (size_t)j->dim;
    int32_t target = 0;
    if (s->n_rows == 0 || s->n_labels == 0)
        return KJ_OK;
    if (j->loss != KJ_FT_OVA)
        target = s->labels[rand_below(&w->rng, s->n_labels)];
    if (ft_hidden(&w->sh->model, s, NULL) != KJ_OK)
        return kj_err_set(&w->err, KJ_FAIL, "training diverged: a smaller --lr?");
    memset(w->grad, 0, dim * sizeof *w->grad);
    w->loss += j->loss == KJ_FT_OVA ? learn_all(w, lr) : learn_one(w, target, lr);
    w->examples++;
    float scale = (float)(1.0 / (double)s->n_rows);
    for (size_t i = 0; i < dim; i++)
        w->grad[i] *= scale;
    for (size_t i = 0; i < s->n_rows; i++) {
        if (i + 8 < s->n_rows)
            __builtin_prefetch(j->in + (size_t)s->rows[i + 8] * dim, 1);
        add_scaled(j->in + (size_t)s->rows[i] * dim, w->grad, 1.0f, dim);
    }
    return KJ_OK;
}

static void *work(void *arg)
{
    struct worker *w = arg;
    struct shared *sh = w->sh;
    const struct ft_job *j = sh->job;
    int64_t all = j->n_tokens * j->o->epoch, mine = 0, reports = 0;
    size_t at = (size_t)((double)j->text_n * w->id / (double)j->o->threads);
    at = at < j->text_n ? at : 0;
    while (!atomic_load(&sh->stop)) {
        int64_t done = atomic_load(&sh->tokens), tokens = 0;
        size_t used = 0;
        if (done >= all)
            break;
        float share = (float)done / (float)all;
        float lr = (float)(j->o->lr * (1.0 - (double)share));
        if (j->o->progress && w->id == 0 && reports++ % 1024 == 0)
            j->o->progress(j->o->ctx, (double)share, (double)lr,
                           w->loss / (double)(w->examples ? w->examples : 1));
        int rc = ft_text_line(j->dict, w->s, j->text + at, j->text_n - at, false, &used,
                              &tokens, &w->err);
        at = at + used < j->text_n ? at + used : 0;
        if (rc == KJ_OK)
            rc = learn_line(w, lr);
        else
            kj_err_reset(&w->err); /* a line beyond all measure: leave it out */
        if (rc == KJ_FAIL) {
            atomic_store(&sh->stop, true);
            break;
        }
        mine += tokens;
        if (mine > j->o->lr_update_rate) {
            atomic_fetch_add(&sh->tokens, mine);
            mine = 0;
        }
    }
    return NULL;
}

/* ---- all of it ---- */

static void make_negatives(struct shared *sh)
{
    const struct ft_job *j = sh->job;
    float z = 0;
    double end = 0;
    sh->negatives = kj_xcalloc((size_t)j->dict->n_labels, sizeof *sh->negatives);
    for (int32_t i = 0; i < j->dict->n_labels; i++)
        z = (float)((double)z + sqrt((double)j->label_counts[i]));
    for (int32_t i = 0; i < j->dict->n_labels; i++) {
        float c = (float)sqrt((double)j->label_counts[i]);
        end += ceil((double)(c * NEGATIVES / z));
        sh->negatives[i] = end;
    }
    sh->n_negatives = (uint64_t)end;
}

static void make_tree(struct shared *sh)
{
    int32_t n = sh->job->dict->n_labels;
    sh->tree = kj_xcalloc((size_t)n * 2, sizeof *sh->tree);
    sh->parent = kj_xcalloc((size_t)n * 2, sizeof *sh->parent);
    sh->right = kj_xcalloc((size_t)n * 2, sizeof *sh->right);
    ft_tree_build(sh->job->label_counts, n, sh->tree);
    for (int32_t i = 0; i < 2 * n - 1; i++)
        sh->parent[i] = -1;
    for (int32_t i = n; i < 2 * n - 1; i++) {
        sh->parent[sh->tree[i].left] = sh->parent[sh->tree[i].right] = i;
        sh->right[sh->tree[i].right] = true;
    }
}

int ft_descend(struct ft_job *j, struct kj_ft_train_stats *stats, struct kj_err *err)
{
    struct shared sh = {.job = j};
    int n = (int)j->o->threads, started = 0, rc = KJ_OK;
    sh.model.args.dim = j->dim;
    sh.model.dict = *j->dict;
    sh.model.in = (struct ft_mat){.rows = j->in_rows, .cols = j->dim};
    sh.model.in.data = (const unsigned char *)j->in;
    if (j->loss == KJ_FT_NS)
        make_negatives(&sh);
    if (j->loss == KJ_FT_HS)
        make_tree(&sh);
    struct worker *w = kj_xcalloc((size_t)n, sizeof *w);
    for (int i = 0; i < n; i++) {
        w[i] = (struct worker){.sh = &sh, .id = i, .err = KJ_ERR_INIT};
        w[i].rng = rand_seed(i + j->o->seed);
        w[i].s = kj_ft_scratch_new(&sh.model, 0);
        w[i].grad = kj_xcalloc((size_t)j->dim, sizeof *w[i].grad);
    }
    while (started + 1 < n &&
           pthread_create(&w[started + 1].thread, NULL, work, &w[started + 1]) == 0)
        started++;
    work(&w[0]);
    for (int i = 0; i < n; i++) {
        if (i > 0 && i <= started)
            pthread_join(w[i].thread, NULL);
        if (w[i].err.rc != KJ_OK && rc == KJ_OK) {
            rc = w[i].err.rc;
            *err = w[i].err;
        }
        stats->loss += w[i].loss;
        stats->examples += w[i].examples;
        kj_ft_scratch_free(w[i].s);
        free(w[i].grad);
    }
    stats->loss /= (double)(stats->examples ? stats->examples : 1);
    if (j->o->progress)
        j->o->progress(j->o->ctx, 1, 0, stats->loss);
    free(w);
    free(sh.negatives);
    free(sh.tree);
    free(sh.parent);
    free(sh.right);
    return rc;
}

void kj_ft_train_defaults(struct kj_ft_train *o)
{
    *o = (struct kj_ft_train){.lr = 0.1,
                              .t = 1e-4,
                              .dim = 100,
                              .ws = 5,
                              .epoch = 5,
                              .min_count = 1,
                              .neg = 5,
                              .word_ngrams = 1,
                              .bucket = 2000000,
                              .lr_update_rate = 100,
                              .threads = 1,
                              .loss = KJ_FT_SOFTMAX,
                              .label_prefix = "__label__",
                              .memory = (int64_t)16 << 30};
}

static int check(const struct kj_ft_train *o, struct kj_err *err)
{
    if (o->dim < 1 || o->dim > 65536 || o->epoch < 1 || o->threads < 1 || o->lr <= 0 ||
        o->word_ngrams < 1 || o->word_ngrams > 1024 || o->maxn < 0 || o->maxn > 1024 ||
        o->bucket < 0 || o->bucket > INT32_MAX || o->neg < 0)
        return kj_err_set(err, KJ_USAGE, "a training option is out of range");
    if (o->bucket == 0 && (o->word_ngrams > 1 || o->maxn > 0))
        return kj_err_set(err, KJ_USAGE, "n-grams need buckets");
    if (!*o->label_prefix)
        return kj_err_set(err, KJ_USAGE, "the label prefix is empty");
    return KJ_OK;
}

static void random_start(const struct kj_ft_train *o, float *in, int64_t rows)
{
    uint32_t s = rand_seed(o->seed);
    double a = (double)(float)(1.0 / (double)o->dim);
    for (int64_t i = 0; i < rows * o->dim / 10; i++)
        in[i] = (float)(rand_unit(&s) * (a + a) - a);
}

int kj_ft_train(const struct kj_ft_train *opt, const char *p, size_t n,
                struct kj_buf *out, struct kj_ft_train_stats *stats, struct kj_err *err)
{
    struct kj_ft_train o = *opt;
    struct ft_vocab v;
    memset(stats, 0, sizeof *stats);
    if (o.word_ngrams <= 1 && o.maxn == 0)
        o.bucket = 0;
    int rc = check(&o, err);
    if (rc != KJ_OK)
        return rc;
    if ((rc = ft_vocab_build(&v, &o, p, n, err)) != KJ_OK) {
        ft_vocab_release(&v);
        return rc;
    }
    struct ft_job j = {.o = &o,
                       .dict = &v.dict,
                       .n_tokens = v.n_tokens,
                       .text = p,
                       .text_n = n,
                       .loss = o.loss,
                       .dim = (int32_t)o.dim,
                       .in_rows = v.dict.n_words + o.bucket,
                       .label_counts = v.counts + v.dict.n_words};
    stats->tokens = v.n_tokens;
    stats->words = v.dict.n_words;
    stats->labels = v.dict.n_labels;
    if ((double)(j.in_rows + v.dict.n_labels) * (double)o.dim * 4 > (double)o.memory) {
        ft_vocab_release(&v);
        return kj_err_set(
            err, KJ_FAIL,
            "the weights need more than --memory: a smaller --bucket, --dim?");
    }
    j.in = kj_xcalloc((size_t)j.in_rows, (size_t)o.dim * sizeof *j.in);
    j.out = kj_xcalloc((size_t)v.dict.n_labels, (size_t)o.dim * sizeof *j.out);
    random_start(&o, j.in, j.in_rows);
    rc = ft_descend(&j, stats, err);
    struct ft_file f = {
        .args = {.dim = (int32_t)o.dim,
                 .ws = (int32_t)o.ws,
                 .epoch = (int32_t)o.epoch,
                 .min_count = (int32_t)o.min_count,
                 .neg = (int32_t)o.neg,
                 .word_ngrams = (int32_t)o.word_ngrams,
                 .loss = o.loss,
                 .model = 3,
                 .bucket = (int32_t)o.bucket,
                 .minn = (int32_t)o.minn,
                 .maxn = (int32_t)o.maxn,
                 .lr_update_rate = (int32_t)o.lr_update_rate,
                 .t = o.t},
        .dict = &v.dict,
        .counts = v.counts,
        .n_tokens = v.n_tokens,
        .n_pruned = -1,
        .in = {.rows = j.in_rows, .cols = o.dim, .data = (unsigned char *)j.in},
        .out = {
            .rows = v.dict.n_labels, .cols = o.dim, .data = (unsigned char *)j.out}};
    if (rc == KJ_OK)
        rc = ft_save(&f, out, err);
    free(j.in);
    free(j.out);
    ft_vocab_release(&v);
    return rc;
}
