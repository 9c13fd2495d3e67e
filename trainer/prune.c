/* prune.c - choosing and slicing. */
#include "trainer/prune.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"

/* ---- shapes ---- */

static int too_large(const char *what, int64_t to, int64_t from, struct kj_err *err)
{
    return kj_err_set(err, KJ_USAGE, "%s %lld is more than the model's %lld", what,
                      (long long)to, (long long)from);
}

static int differs(const char *what, double to, double from, struct kj_err *err)
{
    return kj_err_set(err, KJ_USAGE, "%s %g is not the model's %g, and is not pruned",
                      what, to, from);
}

int kj_prune_shape(const struct kj_shape *from, struct kj_shape *to, struct kj_err *err)
{
    if (to->vocab_size == 0)
        to->vocab_size = from->vocab_size;
    if (to->kv_heads == 0)
        to->kv_heads = to->heads;
    if (to->head_dim == 0)
        to->head_dim = to->hidden % to->heads ? 0 : to->hidden / to->heads;
    if (to->max_positions == 0)
        to->max_positions = from->max_positions;
    if (to->vocab_size != from->vocab_size)
        return differs("vocab_size", (double)to->vocab_size, (double)from->vocab_size,
                       err);
    if (to->head_dim != from->head_dim)
        return differs("head_dim", (double)to->head_dim, (double)from->head_dim, err);
    if (to->kv_heads != from->kv_heads)
        return differs("num_key_value_heads", (double)to->kv_heads,
                       (double)from->kv_heads, err);
    if (to->rope_theta != from->rope_theta)
        return differs("rope_theta", to->rope_theta, from->rope_theta, err);
    if (to->rope_original == 0)
        to->rope_original = from->rope_original;
    if (!kj_shape_same_rope(to, from))
        return kj_err_set(err, KJ_USAGE, "the model's rope scaling is another");
    if (to->norm_eps != from->norm_eps)
        return differs("rms_norm_eps", to->norm_eps, from->norm_eps, err);
    if (to->hidden > from->hidden)
        return too_large("hidden_size", to->hidden, from->hidden, err);
    if (to->ffn > from->ffn)
        return too_large("intermediate_size", to->ffn, from->ffn, err);
    if (to->layers > from->layers)
        return too_large("num_hidden_layers", to->layers, from->layers, err);
    if (to->heads > from->heads)
        return too_large("num_attention_heads", to->heads, from->heads, err);
    return kj_shape_check(to, err);
}

/* ---- choosing ---- */

struct ranked {
    double score;
    int64_t i;
};

static int best_first(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    return (x->i > y->i) - (x->i < y->i);
}

static int rising(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* The k best of n, in their order; numbers count from `base`. */
static void choose(int64_t *out, const double *score, int64_t n, int64_t k,
                   int64_t base)
{
    struct ranked *r = kj_xcalloc((size_t)n, sizeof *r);
    for (int64_t i = 0; i < n; i++)
        r[i] = (struct ranked){score[i], base + i};
    qsort(r, (size_t)n, sizeof *r, best_first);
    for (int64_t i = 0; i < k; i++)
        out[i] = r[i].i;
    qsort(out, (size_t)k, sizeof *out, rising);
    free(r);
}

int kj_prune_choose(struct kj_kept *k, const struct kj_scores *s,
                    const struct kj_shape *from, const struct kj_shape *to,
                    struct kj_err *err)
{
    memset(k, 0, sizeof *k);
    if (s->hidden != from->hidden || s->ffn != from->ffn || s->heads != from->heads ||
        s->layers != from->layers)
        return kj_err_set(err, KJ_FAIL, "the scores are of a model of another shape");
    size_t n = (size_t)to->layers;
    int64_t groups = from->kv_heads, in = from->heads / groups,
            out = to->heads / groups;
    k->layer = kj_xcalloc(n, sizeof *k->layer);
    k->channel = kj_xcalloc((size_t)to->hidden, sizeof *k->channel);
    k->neuron = kj_xcalloc(n * (size_t)to->ffn, sizeof *k->neuron);
    k->head = kj_xcalloc(n * (size_t)to->heads, sizeof *k->head);
    choose(k->layer, s->block, from->layers, to->layers, 0);
    choose(k->channel, s->channel, from->hidden, to->hidden, 0);
    for (int64_t i = 0; i < to->layers; i++) {
        int64_t l = k->layer[i];
        choose(k->neuron + i * to->ffn, s->neuron + l * from->ffn, from->ffn, to->ffn,
               0);
        for (int64_t g = 0; g < groups; g++)
            choose(k->head + i * to->heads + g * out,
                   s->head + l * from->heads + g * in, in, out, g * in);
    }
    return KJ_OK;
}

void kj_kept_release(struct kj_kept *k)
{
    free(k->layer);
    free(k->channel);
    free(k->neuron);
    free(k->head);
    memset(k, 0, sizeof *k);
}

/* ---- slicing ---- */

struct slicer {
    const struct kj_parent *parent;
    const struct kj_shape *to;
    const struct kj_kept *kept;
    struct kj_param *params;               /* of the small model */
    size_t ready;                          /* the parameter that the rest is for, + 1 */
    const struct kj_st_tensor *src, *mean; /* mean: averaged with it, or NULL */
    int64_t *rows, *cols;                  /* numbers in the source */
    float *row, *other;                    /* one row of it */
};

/* Numbers of head h's elements, dim of each. */
static int64_t *spread(const int64_t *heads, size_t n, size_t dim)
{
    int64_t *v = kj_xcalloc(n * dim, sizeof *v);
    for (size_t i = 0; i < n * dim; i++)
        v[i] = heads[i / dim] * (int64_t)dim + (int64_t)(i % dim);
    return v;
}

static int64_t *copy(const int64_t *from, size_t n)
{
    int64_t *v = kj_xcalloc(n, sizeof *v);
    for (size_t i = 0; i < n; i++)
        v[i] = from ? from[i] : (int64_t)i;
    return v;
}

/* Sources and numbers for parameter i. */
static void prepare(struct slicer *s, size_t i)
{
    const struct kj_param *p = &s->params[i];
    const struct kj_kept *k = s->kept;
    size_t l = p->layer < 0 ? 0 : (size_t)p->layer, ffn = (size_t)s->to->ffn;
    size_t heads = (size_t)s->to->heads, dim = (size_t)s->to->head_dim;
    char name[sizeof p->name + 16];
    snprintf(name, sizeof name, "%s", p->name);
    if (p->layer >= 0)
        snprintf(name, sizeof name, "model.layers.%lld%s", (long long)k->layer[l],
                 strchr(p->name + sizeof "model.layers." - 1, '.'));
    const struct kj_st_tensor *head =
        kj_weights_find(s->parent->weights, "lm_head.weight");
    s->src = kj_weights_find(s->parent->weights, name);
    s->mean = NULL;
    if (!s->src) /* a head of its own where there was none */
        s->src = kj_weights_find(s->parent->weights, "model.embed_tokens.weight");
    if (i == 0 && s->to->tied && !s->parent->config.shape.tied)
        s->mean = head;
    free(s->rows);
    free(s->cols);
    bool back = strstr(name, "o_proj") || strstr(name, "down_proj");
    int64_t *inner = strstr(name, "q_proj") || strstr(name, "o_proj")
                         ? spread(k->head + l * heads, heads, dim)
                     : strstr(name, "mlp.") ? copy(k->neuron + l * ffn, ffn)
                                            : copy(NULL, p->rows);
    int64_t *channels = copy(k->channel, (size_t)s->to->hidden);
    s->rows = back ? channels : inner;
    s->cols = back ? inner : channels;
    uint64_t width = s->src->shape[s->src->rank - 1];
    s->row = kj_xrealloc(s->row, (size_t)width * sizeof *s->row);
    s->other = kj_xrealloc(s->other, (size_t)width * sizeof *s->other);
    s->ready = i + 1;
}

static int fill(void *ctx, size_t i, uint64_t at, float *out, size_t n,
                struct kj_err *err)
{
    struct slicer *s = ctx;
    int rc = KJ_OK;
    if (s->ready != i + 1)
        prepare(s, i);
    size_t cols = s->params[i].cols, width = (size_t)s->src->shape[s->src->rank - 1];
    for (size_t done = 0; done < n && rc == KJ_OK;) {
        size_t r = (size_t)((at + done) / cols), c = (size_t)((at + done) % cols);
        size_t k = cols - c < n - done ? cols - c : n - done;
        uint64_t from = (uint64_t)s->rows[r] * width;
        rc = kj_st_floats(s->src, from, s->row, width, err);
        if (rc == KJ_OK && s->mean)
            rc = kj_st_floats(s->mean, from, s->other, width, err);
        for (size_t j = 0; j < k && rc == KJ_OK; j++) {
            size_t x = (size_t)s->cols[c + j];
            out[done + j] = s->mean ? (s->row[x] + s->other[x]) / 2 : s->row[x];
        }
        done += k;
    }
    return rc;
}

int kj_prune_write(const struct kj_parent *p, const struct kj_shape *to,
                   const struct kj_kept *k, const char *out, struct kj_err *err)
{
    size_t n;
    struct slicer s = {
        .parent = p, .to = to, .kept = k, .params = kj_llama_params(to, &n, NULL)};
    int rc = kj_parent_publish(p, to, fill, &s, out, err);
    free(s.params);
    free(s.rows);
    free(s.cols);
    free(s.row);
    free(s.other);
    return rc;
}
