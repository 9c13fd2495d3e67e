/* encoder_run.c - the forward pass of an encoder over packed texts.
 *
 * Texts stand one behind the other, with a list of where each begins, so no
 * arithmetic goes into padding. Where only the first token's vector is wanted, the
 * last layer asks its attention for those rows alone, and the rest of the layer works
 * on one row a text.
 *
 * A text's result must not depend on the texts beside it: which those are is a matter
 * of threads, shards and cuts of files. Everything but a matrix product works row by
 * row or text by text. A product's library has kernels that add up in different
 * orders, and chooses by the shape (and, on the CPU, by where a row stands):
 *
 *   CPU  Products have a multiple of 96 rows, in chunks of 384, and tiles
 *        (nn/cpu/gemm.c) cut them at multiples of 48. With OpenBLAS's AVX-512
 *        kernels that is enough; with those for AVX2 last bits still differ.
 *   GPU  Every product has the same number of rows, however many hold texts: the whole
 *        pass (or 256 where a row is a text). So it is always the same kernel, in
 *        which all rows are alike. A pass that is not full costs as much as a full one;
 *        encoder_queue.h fills them. (16,384 rows and 768 columns are 384 tiles of
 *        128 x 256, 2.9 for each of an H100's 132 multiprocessors; 384 rows would be
 *        9 tiles for all of them.)
 *
 * What stands behind the texts in a pass is left from earlier ones, and not looked at.
 */
#include "classify/encoder_internal.h"

#include <math.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"

#define ROWS  96u
#define CHUNK 384u
#define FEW   256u /* of a GPU's products over one row a text */

struct kj_encoder_run {
    struct kj_backend *b;
    bool gpu;
    size_t rows;                           /* of a GPU's products over tokens */
    struct kj_tensor *x, *t, *qkv, *o, *f; /* rows of hidden, ..., ffn */
    struct kj_tensor *ids, *pos, *first;
    struct kj_tensor *seq; /* 0, 1, 2, ... */
    /* Float32, made when they are first wanted: the texts' vectors, the layers of the
     * head; x where that is not. */
    struct kj_tensor *vec, *hidden, *out, *wide;
    int32_t *host_pos, *host_first, *host_seq;
    /* of the pass under way */
    size_t n;
    bool outputs, cls;
};

static size_t up_to(size_t n, size_t multiple)
{
    return (n + multiple - 1) / multiple * multiple;
}

/* Rows of what has a row a text, up to where products go. */
static size_t texts_room(const struct kj_encoder *e)
{
    return up_to(e->texts + ROWS, FEW);
}

int kj_encoder_run_new(struct kj_encoder_run **out, const struct kj_encoder *e,
                       unsigned threads, struct kj_err *err)
{
    struct kj_encoder_run *r = kj_xcalloc(1, sizeof *r);
    size_t h = (size_t)e->c.hidden, n;
    int rc = kj_backend_open(&r->b, e->b->ops->name, threads, err);
    if (rc) {
        free(r);
        return rc;
    }
    const struct kj_ops *o = r->b->ops;
    r->gpu = kj_encoder_gpu(e);
    r->rows = n = up_to(e->pack, r->gpu ? FEW : ROWS);
    r->x = o->tensor_new(r->b, e->type, n * h);
    r->t = o->tensor_new(r->b, e->type, n * h);
    r->qkv = o->tensor_new(r->b, e->type, n * 3 * h);
    r->o = o->tensor_new(r->b, e->type, n * h);
    r->f = o->tensor_new(r->b, e->type, n * (size_t)e->c.ffn);
    r->ids = o->tensor_new(r->b, KJ_I32, n);
    r->pos = o->tensor_new(r->b, KJ_I32, n);
    r->first = o->tensor_new(r->b, KJ_I32, n + 1);
    r->seq = o->tensor_new(r->b, KJ_I32, n + 1);
    r->host_pos = kj_xcalloc(n + 1, sizeof *r->host_pos);
    r->host_first = kj_xcalloc(n + 1, sizeof *r->host_first);
    r->host_seq = kj_xcalloc(n + 1, sizeof *r->host_seq);
    for (size_t i = 0; i <= n; i++)
        r->host_seq[i] = (int32_t)i;
    o->write(r->b, r->seq, 0, r->host_seq, n + 1);
    rc = o->sync(r->b, err);
    if (rc)
        kj_encoder_run_free(r);
    else
        *out = r;
    return rc;
}

void kj_encoder_run_free(struct kj_encoder_run *r)
{
    if (!r)
        return;
    struct kj_tensor *all[] = {r->x,      r->t,   r->qkv,   r->o,   r->f,
                               r->ids,    r->pos, r->first, r->seq, r->vec,
                               r->hidden, r->out, r->wide};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        r->b->ops->tensor_free(r->b, all[i]);
    kj_backend_close(r->b);
    free(r->host_pos);
    free(r->host_first);
    free(r->host_seq);
    free(r);
}

static struct kj_mat weight(const struct kj_encoder *e, size_t at, size_t stride)
{
    return kj_mat(e->w, at, stride);
}

/* c = a w' for n rows, which are tokens or texts; with a bias act(a w' + bias). */
static void product(struct kj_encoder_run *r, struct kj_mat c, struct kj_mat a,
                    struct kj_mat w, struct kj_mat bias, enum kj_act act, size_t n,
                    bool tokens, size_t out, size_t in)
{
    const struct kj_ops *o = r->b->ops;
    size_t chunk = !r->gpu ? CHUNK : tokens ? r->rows : FEW;
    for (size_t i = 0; i < n; i += chunk) {
        size_t m = r->gpu || n - i >= chunk ? chunk : up_to(n - i, ROWS);
        struct kj_mat ci = kj_mat(c.t, c.at + i * c.stride, c.stride);
        struct kj_mat ai = kj_mat(a.t, a.at + i * a.stride, a.stride);
        if (bias.t)
            o->linear(r->b, ci, ai, w, bias, m, out, in, act);
        else
            o->matmul(r->b, ci, ai, w, m, out, in, KJ_MM_TB);
    }
}

/* One layer over x. only_first: the rows `first` alone go on behind attention, and
 * they end up as the first rows of x. */
static void one_layer(const struct kj_encoder *e, struct kj_encoder_run *r,
                      const struct encoder_layer *y, const int32_t *cu, size_t segs,
                      bool only_first)
{
    const struct kj_ops *o = r->b->ops;
    struct kj_backend *b = r->b;
    size_t h = (size_t)e->c.hidden, f = (size_t)e->c.ffn, n = (size_t)cu[segs];
    struct kj_mat x = kj_mat(r->x, 0, h), t = kj_mat(r->t, 0, h);
    struct kj_mat up = kj_mat(r->f, 0, f), none = KJ_MAT_NONE;
    bool all = !only_first;
    struct kj_attn a = {.q = kj_mat(r->qkv, 0, 3 * h),
                        .k = kj_mat(r->qkv, h, 3 * h),
                        .v = kj_mat(r->qkv, 2 * h, 3 * h),
                        .o = kj_mat(r->o, 0, h),
                        .lse = none,
                        .heads = (size_t)e->c.heads,
                        .kv_heads = (size_t)e->c.heads,
                        .dim = h / (size_t)e->c.heads,
                        .full = true,
                        .segs = segs,
                        .cu_q = cu,
                        .cu_k = cu};
    a.scale = 1.0f / sqrtf((float)a.dim);
    if (only_first) {
        /* keys and values of all, queries of the first ones */
        product(r, a.k, x, weight(e, y->qkv + h * h, h), weight(e, y->qkv_b + h, 2 * h),
                KJ_ACT_NONE, n, true, 2 * h, h);
        o->embed(b, t, x, kj_mat(r->first, 0, 1), segs, h);
        o->embed(b, x, t, kj_mat(r->seq, 0, 1), segs, h);
        n = segs;
        a.cu_q = r->host_seq;
        product(r, a.q, x, weight(e, y->qkv, h), weight(e, y->qkv_b, h), KJ_ACT_NONE, n,
                all, h, h);
    } else {
        product(r, a.q, x, weight(e, y->qkv, h), weight(e, y->qkv_b, 3 * h),
                KJ_ACT_NONE, n, all, 3 * h, h);
    }
    o->attention(b, &a);
    product(r, t, a.o, weight(e, y->o, h), none, KJ_ACT_NONE, n, all, h, h);
    o->layer_norm(b, x, x, t, weight(e, y->o_b, h), weight(e, y->ln1, h),
                  weight(e, y->ln1_b, h), n, h, (float)e->c.eps);
    product(r, up, x, weight(e, y->up, h), weight(e, y->up_b, f), e->c.act, n, all, f,
            h);
    product(r, t, up, weight(e, y->down, f), none, KJ_ACT_NONE, n, all, h, f);
    o->layer_norm(b, x, x, t, weight(e, y->down_b, h), weight(e, y->ln2, h),
                  weight(e, y->ln2_b, h), n, h, (float)e->c.eps);
}

static struct kj_mat floats(struct kj_encoder_run *r, struct kj_tensor **t, size_t rows,
                            size_t cols)
{
    if (!*t)
        *t = r->b->ops->tensor_new(r->b, KJ_F32, rows * cols);
    return kj_mat(*t, 0, cols);
}

/* The means of the texts' rows. */
static struct kj_mat mean_rows(const struct kj_encoder *e, struct kj_encoder_run *r,
                               const int32_t *cu, size_t n)
{
    const struct kj_ops *o = r->b->ops;
    size_t h = (size_t)e->c.hidden, tokens = (size_t)cu[n];
    struct kj_mat x = kj_mat(r->x, 0, h);
    struct kj_mat mean = floats(r, &r->vec, texts_room(e), h);
    if (e->type != KJ_F32) {
        struct kj_mat wide = floats(r, &r->wide, r->rows, h);
        o->axpby(r->b, wide, x, tokens * h, 1, 0);
        x = wide;
    }
    o->embed_mean(r->b, mean, x, kj_mat(r->seq, 0, 1), kj_mat(r->first, 0, 1), n, h);
    return mean;
}

/* The head over n vectors, in float32. */
static void apply_head(const struct kj_encoder *e, struct kj_encoder_run *r,
                       struct kj_mat vec, size_t n)
{
    const struct kj_head_weights *w = &e->head;
    size_t at[5], in = w->in, room = texts_room(e);
    struct kj_mat out = floats(r, &r->out, room, w->out);
    kj_encoder_head_at(w, at);
    if (w->width) {
        struct kj_mat z = floats(r, &r->hidden, room, w->width);
        product(r, z, vec, kj_mat(e->head_w, at[0], in),
                kj_mat(e->head_w, at[1], w->width), w->act, n, false, w->width, in);
        vec = z;
        in = w->width;
    }
    product(r, out, vec, kj_mat(e->head_w, at[2], in), kj_mat(e->head_w, at[3], w->out),
            KJ_ACT_NONE, n, false, w->out, in);
}

/* Where the texts begin and the tokens' rows of the table of positions. */
static int place(const struct kj_encoder *e, struct kj_encoder_run *r,
                 const int32_t *cu, size_t n, struct kj_err *err)
{
    bool good = (n ? (size_t)cu[n] : 0) <= e->pack && n <= e->texts;
    for (size_t i = 0; i < n && good; i++) {
        good = cu[i + 1] > cu[i] && cu[i + 1] - cu[i] <= e->c.max_tokens &&
               (size_t)cu[i + 1] <= e->pack;
        r->host_first[i] = cu[i];
        for (int32_t k = cu[i]; k < cu[i + 1] && good; k++)
            r->host_pos[k] = (int32_t)e->c.first_position + k - cu[i];
    }
    if (!good)
        return kj_err_set(err, KJ_FATAL, "a text does not fit the encoder's pass");
    if (n)
        r->host_first[n] = cu[n];
    return KJ_OK;
}

int kj_encoder_start(const struct kj_encoder *e, struct kj_encoder_run *r,
                     enum kj_pool pool, bool outputs, const int32_t *ids,
                     const int32_t *cu, size_t n, struct kj_err *err)
{
    const struct kj_ops *o = r->b->ops;
    size_t h = (size_t)e->c.hidden, tokens = n ? (size_t)cu[n] : 0;
    struct kj_mat x = kj_mat(r->x, 0, h), t = kj_mat(r->t, 0, h), vec = x;
    r->n = 0;
    int rc = place(e, r, cu, n, err);
    if (rc || n == 0)
        return rc;
    r->n = n;
    r->outputs = outputs;
    r->cls = pool == KJ_POOL_CLS;
    /* All that is copied goes first: behind it nothing waits for the host. */
    o->write(r->b, r->ids, 0, ids, tokens);
    o->write(r->b, r->pos, 0, r->host_pos, tokens);
    o->write(r->b, r->first, 0, r->host_first, n + 1);
    struct kj_mat words = weight(e, e->words, h), at = weight(e, e->positions, h);
    o->embed(r->b, x, words, kj_mat(r->ids, 0, 1), tokens, h);
    o->embed(r->b, t, at, kj_mat(r->pos, 0, 1), tokens, h);
    o->layer_norm(r->b, x, x, t, weight(e, e->types, h), weight(e, e->ln, h),
                  weight(e, e->ln_b, h), tokens, h, (float)e->c.eps);
    for (int64_t i = 0; i < e->c.layers; i++)
        one_layer(e, r, &e->layers[i], cu, n, r->cls && i == e->c.layers - 1);
    if (!r->cls)
        vec = mean_rows(e, r, cu, n);
    if (outputs && r->cls && e->type != KJ_F32) {
        vec = floats(r, &r->vec, texts_room(e), h);
        o->axpby(r->b, vec, x, n * h, 1, 0);
    }
    if (outputs)
        apply_head(e, r, vec, n);
    return KJ_OK;
}

int kj_encoder_finish(const struct kj_encoder *e, struct kj_encoder_run *r, float *out,
                      struct kj_err *err)
{
    const struct kj_ops *o = r->b->ops;
    size_t cols = r->outputs ? e->head.out : (size_t)e->c.hidden;
    o->read(r->b, r->outputs ? r->out : r->cls ? r->x : r->vec, 0, out, r->n * cols);
    r->n = 0;
    return o->sync(r->b, err);
}

int kj_encoder_features(const struct kj_encoder *e, struct kj_encoder_run *r,
                        enum kj_pool pool, const int32_t *ids, const int32_t *cu,
                        size_t n, float *out, struct kj_err *err)
{
    int rc = kj_encoder_start(e, r, pool, false, ids, cu, n, err);
    return rc || n == 0 ? rc : kj_encoder_finish(e, r, out, err);
}
