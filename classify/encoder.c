/* encoder.c - the weights of an encoder: read from its files, checked, put on the
 * device, in one tensor. The three projections of attention are one matrix.
 */
#include "classify/encoder_internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/input.h"
#include "base/mem.h"
#include "nn/st_set.h"

#define CONFIG_MAX  ((size_t)16 << 20)
#define COPY_FLOATS ((size_t)1 << 18)

void kj_head_weights_release(struct kj_head_weights *h)
{
    free(h->w1);
    free(h->b1);
    free(h->w2);
    free(h->b2);
    memset(h, 0, sizeof *h);
}

static double act(enum kj_act a, double x)
{
    return a == KJ_ACT_TANH ? tanh(x) : a == KJ_ACT_RELU ? (x > 0 ? x : 0) : x;
}

void kj_head_apply(const struct kj_head_weights *h, const float *x, double *y)
{
    double *z = kj_xcalloc(h->width + 1, sizeof *z);
    for (size_t i = 0; i < h->width; i++) {
        z[i] = (double)h->b1[i];
        for (size_t k = 0; k < h->in; k++)
            z[i] += (double)h->w1[i * h->in + k] * (double)x[k];
        z[i] = act(h->act, z[i]);
    }
    size_t n = h->width ? h->width : h->in;
    for (size_t i = 0; i < h->out; i++) {
        y[i] = (double)h->b2[i];
        for (size_t k = 0; k < n; k++)
            y[i] += (double)h->w2[i * n + k] * (h->width ? z[k] : (double)x[k]);
    }
    free(z);
}

/* ---- loading ---- */

static const struct kj_st_tensor *find(const struct kj_encoder *e, const char *name)
{
    char full[256];
    snprintf(full, sizeof full, "%s%s", e->prefix, name);
    const struct kj_st_tensor *t = kj_st_set_find(e->files, full);
    size_t n = strlen(full);
    /* Files made from TensorFlow's checkpoints. */
    if (!t && n > 16 && strcmp(full + n - 16, "LayerNorm.weight") == 0) {
        snprintf(full + n - 6, 7, "gamma");
        t = kj_st_set_find(e->files, full);
    } else if (!t && n > 14 && strcmp(full + n - 14, "LayerNorm.bias") == 0) {
        snprintf(full + n - 4, 5, "beta");
        t = kj_st_set_find(e->files, full);
    }
    return t;
}

/* rows 0: a vector. */
static int check_shape(const struct kj_st_tensor *t, const char *name, size_t rows,
                       size_t cols, struct kj_err *err)
{
    if (!t)
        return kj_err_set(err, KJ_FAIL, "tensor %s is missing", name);
    bool fits = rows ? t->rank == 2 && t->shape[0] == rows && t->shape[1] == cols
                     : t->rank == 1 && t->shape[0] == cols;
    if (!fits)
        return kj_err_set(err, KJ_FAIL, "tensor %s should be %zu x %zu", name,
                          rows ? rows : 1, cols);
    return KJ_OK;
}

static int finite_floats(const struct kj_st_tensor *t, size_t at, float *x, size_t n,
                         struct kj_err *err)
{
    int rc = kj_st_floats(t, at, x, n, err);
    for (size_t i = 0; i < n && rc == KJ_OK; i++)
        if (!isfinite(x[i]))
            rc = kj_err_set(err, KJ_FAIL,
                            "tensor %.200s holds a number that is not "
                            "finite, at %zu",
                            t->name, at + i);
    return rc;
}

/* Walks the parameters twice: first to check and count, then to fill. */
struct loader {
    struct kj_encoder *e;
    bool fill;
    size_t at;
    float *buf;
    int rc;
    struct kj_err *err;
};

static size_t take(struct loader *l, const char *name, size_t rows, size_t cols)
{
    size_t n = (rows ? rows : 1) * cols, here = l->at;
    if (l->rc)
        return here;
    const struct kj_st_tensor *t = find(l->e, name);
    if (!l->fill)
        l->rc = check_shape(t, name, rows, cols, l->err);
    for (size_t i = 0; l->fill && i < n && l->rc == KJ_OK; i += COPY_FLOATS) {
        size_t k = n - i < COPY_FLOATS ? n - i : COPY_FLOATS;
        l->rc = finite_floats(t, i, l->buf, k, l->err);
        if (l->rc == KJ_OK)
            l->e->b->ops->write(l->e->b, l->e->w, here + i, l->buf, k);
    }
    l->at += n;
    return here;
}

static size_t take_in(struct loader *l, int64_t layer, const char *tail, size_t rows,
                      size_t cols)
{
    char name[128];
    snprintf(name, sizeof name, "encoder.layer.%lld.%s", (long long)layer, tail);
    return take(l, name, rows, cols);
}

static void walk(struct loader *l)
{
    struct kj_encoder *e = l->e;
    size_t h = (size_t)e->c.hidden, f = (size_t)e->c.ffn;
    l->at = 0;
    e->words = take(l, "embeddings.word_embeddings.weight", (size_t)e->c.vocab, h);
    e->positions =
        take(l, "embeddings.position_embeddings.weight", (size_t)e->c.positions, h);
    e->types =
        take(l, "embeddings.token_type_embeddings.weight", (size_t)e->c.types, h);
    e->ln = take(l, "embeddings.LayerNorm.weight", 0, h);
    e->ln_b = take(l, "embeddings.LayerNorm.bias", 0, h);
    for (int64_t i = 0; i < e->c.layers && l->rc == KJ_OK; i++) {
        struct encoder_layer *y = &e->layers[i];
        y->qkv = take_in(l, i, "attention.self.query.weight", h, h);
        take_in(l, i, "attention.self.key.weight", h, h);
        take_in(l, i, "attention.self.value.weight", h, h);
        y->qkv_b = take_in(l, i, "attention.self.query.bias", 0, h);
        take_in(l, i, "attention.self.key.bias", 0, h);
        take_in(l, i, "attention.self.value.bias", 0, h);
        y->o = take_in(l, i, "attention.output.dense.weight", h, h);
        y->o_b = take_in(l, i, "attention.output.dense.bias", 0, h);
        y->ln1 = take_in(l, i, "attention.output.LayerNorm.weight", 0, h);
        y->ln1_b = take_in(l, i, "attention.output.LayerNorm.bias", 0, h);
        y->up = take_in(l, i, "intermediate.dense.weight", f, h);
        y->up_b = take_in(l, i, "intermediate.dense.bias", 0, f);
        y->down = take_in(l, i, "output.dense.weight", h, f);
        y->down_b = take_in(l, i, "output.dense.bias", 0, h);
        y->ln2 = take_in(l, i, "output.LayerNorm.weight", 0, h);
        y->ln2_b = take_in(l, i, "output.LayerNorm.bias", 0, h);
    }
}

static float *floats(const struct kj_st_tensor *t, struct kj_err *err)
{
    float *x = kj_xcalloc((size_t)t->elements + 1, sizeof *x);
    if (finite_floats(t, 0, x, (size_t)t->elements, err) == KJ_OK)
        return x;
    free(x);
    return NULL;
}

/* A linear layer of the head: NAME.weight [out, in] and NAME.bias. *out 0: any. */
static int linear(const struct kj_st_set *s, const char *name, size_t in, size_t *out,
                  float **w, float **b, struct kj_err *err)
{
    char weight[128], bias[128];
    snprintf(weight, sizeof weight, "%s.weight", name);
    snprintf(bias, sizeof bias, "%s.bias", name);
    const struct kj_st_tensor *tw = kj_st_set_find(s, weight);
    const struct kj_st_tensor *tb = kj_st_set_find(s, bias);
    if (tw && *out == 0 && tw->rank == 2)
        *out = (size_t)tw->shape[0];
    if (check_shape(tw, weight, *out ? *out : 1, in, err) ||
        check_shape(tb, bias, 0, *out, err))
        return KJ_FAIL;
    *w = floats(tw, err);
    *b = *w ? floats(tb, err) : NULL;
    return *b ? KJ_OK : KJ_FAIL;
}

static int load_head(struct kj_encoder *e, struct kj_err *err)
{
    struct kj_head_weights *h = &e->head;
    char pooler[32];
    int rc = KJ_OK;
    const char *last = "classifier";
    snprintf(pooler, sizeof pooler, "%spooler.dense", e->prefix);
    h->in = (size_t)e->c.hidden;
    h->act = e->c.head_act;
    bool dense = kj_st_set_find(e->files, "classifier.dense.weight") != NULL;
    if (e->c.head)
        dense = e->c.head == 2;
    if (dense) {
        rc =
            linear(e->files, "classifier.dense", h->in, &h->width, &h->w1, &h->b1, err);
        last = "classifier.out_proj";
    } else if (!kj_st_set_find(e->files, "classifier.weight")) {
        return kj_err_set(err, KJ_FAIL,
                          "the model has no head (tensor classifier.weight or "
                          "classifier.dense.weight)");
    } else if (e->c.pooler && find(e, "pooler.dense.weight")) {
        h->width = h->in;
        h->act = KJ_ACT_TANH;
        rc = linear(e->files, pooler, h->in, &h->width, &h->w1, &h->b1, err);
    }
    if (rc == KJ_OK)
        rc = linear(e->files, last, h->width ? h->width : h->in, &h->out, &h->w2,
                    &h->b2, err);
    if (rc == KJ_OK && h->out == 0)
        rc = kj_err_set(err, KJ_FAIL, "the head has no outputs");
    if (rc == KJ_OK && e->c.labels && (size_t)e->c.labels != h->out)
        rc = kj_err_set(err, KJ_FAIL, "config.json has %lld labels, the head %zu",
                        (long long)e->c.labels, h->out);
    if (rc == KJ_OK && e->c.regression && h->out != 1)
        rc = kj_err_set(err, KJ_FAIL, "a regression with %zu outputs is not supported",
                        h->out);
    e->c.regression = h->out == 1;
    return rc;
}

static bool starts(const char *s, const char *head)
{
    return strncmp(s, head, strlen(head)) == 0;
}

/* What is not read must be something that an encoder does not need. */
static int check_rest(const struct kj_encoder *e, struct kj_err *err)
{
    static const char *const spare[] = {"pooler.",  "classifier.", "cls.",
                                        "lm_head.", "embeddings.", NULL};
    for (size_t i = 0; i < kj_st_set_files(e->files); i++) {
        const struct kj_st *f = kj_st_set_file(e->files, i);
        for (size_t k = 0; k < kj_st_count(f); k++) {
            const char *full = kj_st_get(f, k)->name, *name = full;
            bool known = false;
            if (starts(name, e->prefix))
                name += strlen(e->prefix);
            for (size_t s = 0; spare[s] && !known; s++)
                known = starts(name, spare[s]);
            if (!known && starts(name, "encoder.layer."))
                known = strtoll(name + 14, NULL, 10) < e->c.layers;
            if (!known)
                return kj_err_set(err, KJ_FAIL,
                                  "tensor %.200s has no place in this encoder", full);
        }
    }
    return KJ_OK;
}

static int load_weights(struct kj_encoder *e, const char *device, struct kj_err *err)
{
    static const char *const prefixes[] = {"", "bert.", "roberta."};
    struct loader l = {.e = e, .err = err};
    e->prefix = "";
    for (size_t i = 0; i < 3; i++) {
        char name[64];
        snprintf(name, sizeof name, "%sembeddings.word_embeddings.weight", prefixes[i]);
        if (kj_st_set_find(e->files, name))
            e->prefix = prefixes[i];
    }
    e->layers = kj_xcalloc((size_t)e->c.layers, sizeof *e->layers);
    walk(&l);
    if (l.rc == KJ_OK)
        l.rc = check_rest(e, err);
    if (l.rc == KJ_OK)
        l.rc = kj_backend_open(&e->b, device, 1, err);
    if (l.rc)
        return l.rc;
    e->n_w = l.at;
    e->type = e->b->ops->bf16 ? KJ_BF16 : KJ_F32;
    e->w = e->b->ops->tensor_new(e->b, e->type, e->n_w);
    l.fill = true;
    l.buf = kj_xcalloc(COPY_FLOATS, sizeof *l.buf);
    walk(&l);
    free(l.buf);
    return l.rc ? l.rc : e->b->ops->sync(e->b, err);
}

/* Where the head's four parts are in head_w; the last is the number of elements. */
void kj_encoder_head_at(const struct kj_head_weights *h, size_t at[5])
{
    at[0] = 0;
    at[1] = h->width * h->in;
    at[2] = at[1] + h->width;
    at[3] = at[2] + h->out * (h->width ? h->width : h->in);
    at[4] = at[3] + h->out;
}

static int put_head(struct kj_encoder *e, struct kj_err *err)
{
    const struct kj_head_weights *h = &e->head;
    const struct kj_ops *o = e->b->ops;
    const float *part[4] = {h->w1, h->b1, h->w2, h->b2};
    size_t at[5];
    kj_encoder_head_at(h, at);
    e->head_w = o->tensor_new(e->b, KJ_F32, at[4]);
    for (size_t i = 0; i < 4; i++)
        if (part[i])
            o->write(e->b, e->head_w, at[i], part[i], at[i + 1] - at[i]);
    return o->sync(e->b, err);
}

/* How much is one pass. */
static int choose_pack(struct kj_encoder *e, struct kj_err *err)
{
    bool gpu = e->type != KJ_F32;
    const char *s = gpu ? getenv("KIJIL_CUDA_WINDOW") : NULL;
    size_t n = gpu ? KJ_ENCODER_PACK_GPU : KJ_ENCODER_PACK;
    if (s && *s) {
        char *end;
        long long v = strtoll(s, &end, 10);
        if (*end || v < 256 || v > 1 << 20)
            return kj_err_set(err, KJ_USAGE,
                              "KIJIL_CUDA_WINDOW: 256 to 1048576 tokens, not '%.40s'",
                              s);
        n = (size_t)v;
    }
    e->pack = (size_t)e->c.max_tokens > n ? (size_t)e->c.max_tokens : n;
    /* The vectors of texts have room for texts of 8 tokens; more are the next pass. */
    e->texts = gpu ? (e->pack / 8 + 255) / 256 * 256 : e->pack;
    return KJ_OK;
}

static int load_config(struct kj_encoder *e, const char *dir, struct kj_err *err)
{
    struct kj_buf b;
    size_t n = strlen(dir) + 16;
    char *path = kj_xmalloc(n);
    snprintf(path, n, "%s/config.json", dir);
    kj_buf_init(&b, CONFIG_MAX);
    int rc = kj_input_slurp(path, &b, err);
    if (rc == KJ_OK)
        rc = kj_encoder_config_parse(&e->c, b.p ? b.p : "", b.n, err);
    if (rc)
        kj_err_where(err, path, -1);
    kj_buf_release(&b);
    free(path);
    return rc;
}

/* Memory for all that will be under way: a run that is chosen a GPU must not find out in
 * its middle that others have it. */
static int try_runs(const struct kj_encoder *e, struct kj_err *err)
{
    struct kj_encoder_run *r[KJ_ENCODER_FLYING] = {NULL};
    int rc = KJ_OK;
    for (size_t i = 0; i < KJ_ENCODER_FLYING && rc == KJ_OK; i++)
        rc = kj_encoder_run_new(&r[i], e, 1, err);
    for (size_t i = 0; i < KJ_ENCODER_FLYING; i++)
        kj_encoder_run_free(r[i]);
    return rc ? (err->rc = KJ_FATAL) : rc;
}

static int open_on(struct kj_encoder **out, const char *dir, bool head,
                   const char *device, struct kj_err *err)
{
    struct kj_encoder *e = kj_xcalloc(1, sizeof *e);
    int rc = load_config(e, dir, err);
    if (rc == KJ_OK)
        rc = kj_st_set_open(&e->files, dir, err);
    if (rc == KJ_OK)
        rc = load_weights(e, device, err);
    if (rc == KJ_OK)
        rc = choose_pack(e, err);
    if (rc == KJ_OK && head)
        rc = load_head(e, err);
    if (rc == KJ_OK && head)
        rc = put_head(e, err);
    kj_st_set_close(e->files);
    e->files = NULL;
    if (rc == KJ_OK && kj_encoder_gpu(e) && strcmp(device, "auto") == 0)
        rc = try_runs(e, err);
    if (rc) {
        if (rc != KJ_FATAL)
            kj_err_where(err, dir, -1);
        kj_encoder_free(e);
        return rc;
    }
    *out = e;
    return KJ_OK;
}

int kj_encoder_open(struct kj_encoder **out, const char *dir, bool head,
                    const char *device, struct kj_err *err)
{
    struct kj_err why = KJ_ERR_INIT;
    int rc = open_on(out, dir, head, device, &why);
    if (rc != KJ_FATAL || strcmp(device, "auto") != 0) {
        if (rc != KJ_OK && err)
            *err = why;
        return rc;
    }
    rc = open_on(out, dir, head, "cpu", err);
    if (rc == KJ_OK)
        snprintf((*out)->b->note, sizeof(*out)->b->note, "no GPU: %.240s", why.msg);
    return rc;
}

void kj_encoder_free(struct kj_encoder *e)
{
    if (!e)
        return;
    if (e->b) {
        e->b->ops->tensor_free(e->b, e->w);
        e->b->ops->tensor_free(e->b, e->head_w);
        kj_backend_close(e->b);
    }
    kj_head_weights_release(&e->head);
    kj_encoder_config_release(&e->c);
    free(e->layers);
    free(e);
}

const char *kj_encoder_device(const struct kj_encoder *e, char *line, size_t n)
{
    *line = 0;
    if (kj_encoder_gpu(e))
        e->b->ops->describe(e->b, line, n);
    else
        snprintf(line, n, "%s", e->b->note);
    return e->b->ops->name;
}

bool kj_encoder_gpu(const struct kj_encoder *e)
{
    return e->type != KJ_F32;
}

size_t kj_encoder_pack(const struct kj_encoder *e)
{
    return e->pack;
}

size_t kj_encoder_texts(const struct kj_encoder *e)
{
    return e->texts;
}

const struct kj_encoder_config *kj_encoder_get_config(const struct kj_encoder *e)
{
    return &e->c;
}

const struct kj_head_weights *kj_encoder_head(const struct kj_encoder *e)
{
    return &e->head;
}
