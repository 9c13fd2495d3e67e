/* speed_items.c - the operations of a training step or of an encoder's window.
 *
 * An operation is a function that takes its operands from arenas, in order, and
 * counts what it computes and moves; run dry it only counts, which says how large the
 * arenas must be.
 */
#include <math.h>

#include "nn/speed_internal.h"

#define PARAMS ((size_t)64 << 20) /* elements at most, in what runs over weights */

/* rows x cols of an arena that are moved `uses` times. */
static struct kj_mat take(struct kj_speed_bench *s, struct kj_speed_arena *a,
                          size_t rows, size_t cols, double uses)
{
    struct kj_mat m = kj_mat(a->t, a->at, cols);
    a->at += (rows * cols + 63) / 64 * 64;
    s->bytes += uses * (double)(rows * cols * kj_speed_width(a->type));
    return m;
}

static struct kj_mat low(struct kj_speed_bench *s, size_t rows, size_t cols,
                         double uses)
{
    return take(s, &s->low, rows, cols, uses);
}

static struct kj_mat wide(struct kj_speed_bench *s, size_t rows, size_t cols,
                          double uses)
{
    return take(s, &s->wide, rows, cols, uses);
}

static struct kj_mat part(struct kj_mat m, size_t at)
{
    return kj_mat(m.t, m.at + at, m.stride);
}

/* ---- operations ---- */

/* A gradient by weights is added to float32; the rest is of the low type. */
static void run_matmul(struct kj_speed_bench *s, const struct kj_speed_item *it)
{
    bool add = it->flags & KJ_MM_ADD, ta = it->flags & KJ_MM_TA,
         tb = it->flags & KJ_MM_TB;
    struct kj_mat a = low(s, ta ? it->k : it->m, ta ? it->m : it->k, 1);
    struct kj_mat b = low(s, tb ? it->n : it->k, tb ? it->k : it->n, 1);
    struct kj_mat c = add ? wide(s, it->m, it->n, 2) : low(s, it->m, it->n, 1);
    s->flops += 2.0 * (double)it->m * (double)it->n * (double)it->k;
    if (!s->dry)
        s->o->matmul(s->b, c, a, b, it->m, it->n, it->k, it->flags | s->mm);
}

/* With FP8 the operation that comes next leaves the largest magnitude. */
static void leave_most(struct kj_speed_bench *s)
{
    struct kj_mat most = s->f8 ? wide(s, 1, 1, 2) : KJ_MAT_NONE;
    if (!s->dry)
        s->b->most = most;
}

/* With a bias; flags: the activation. */
static void run_linear(struct kj_speed_bench *s, const struct kj_speed_item *it)
{
    struct kj_mat x = low(s, it->m, it->k, 1), w = low(s, it->n, it->k, 1),
                  bias = low(s, 1, it->n, 1), y = low(s, it->m, it->n, 1);
    s->flops += 2.0 * (double)it->m * (double)it->n * (double)it->k;
    if (!s->dry)
        s->o->linear(s->b, y, x, w, bias, it->m, it->n, it->k, (enum kj_act)it->flags);
}

/* Rows of FP8 begin at multiples of 16. */
static struct kj_mat codes(struct kj_speed_bench *s, struct kj_speed_arena *a,
                           size_t rows, size_t cols)
{
    return take(s, a, rows, (cols + 15) / 16 * 16, 1);
}

/* m x n of k; flags: forward, by activations, or by weights. */
enum { F8_FORWARD, F8_DX, F8_DW };

static void run_matmul_f8(struct kj_speed_bench *s, const struct kj_speed_item *it)
{
    struct kj_mat a = codes(s, it->flags ? &s->steep : &s->flat, it->m, it->k);
    struct kj_mat b = codes(s, &s->flat, it->n, it->k);
    struct kj_mat c =
        it->flags == F8_DW ? wide(s, it->m, it->n, 2) : low(s, it->m, it->n, 1);
    struct kj_mat sa = wide(s, 1, 1, 1), sb = wide(s, 1, 1, 1);
    struct kj_mat x = low(s, it->m > it->n ? it->m : it->n, it->k, 0);
    s->flops += 2.0 * (double)it->m * (double)it->n * (double)it->k;
    if (s->dry)
        return;
    if (s->first) {
        s->o->quantize(s->b, a, KJ_MAT_NONE, sa, x, KJ_MAT_NONE, it->m, it->k);
        s->o->quantize(s->b, b, KJ_MAT_NONE, sb, x, KJ_MAT_NONE, it->n, it->k);
    }
    s->o->matmul_f8(s->b, c, a, sa, b, sb, it->m, it->n, it->k,
                    it->flags == F8_DW        ? KJ_MM_ADD
                    : it->flags == F8_FORWARD ? KJ_MM_FAST
                                              : 0);
}

/* From one reading: rows, or transposed, or both. The largest magnitude is known. */
enum { Q_ROWS = 1, Q_TURNED = 2, Q_GRADIENT = 4 };

static void run_quantize(struct kj_speed_bench *s, const struct kj_speed_item *it)
{
    struct kj_speed_arena *to = it->flags & Q_GRADIENT ? &s->steep : &s->flat;
    struct kj_mat x = low(s, it->m, it->n, 1), q = KJ_MAT_NONE, qt = KJ_MAT_NONE;
    struct kj_mat scale = wide(s, 1, 1, 1), most = wide(s, 1, 1, 1);
    if (it->flags & Q_ROWS)
        q = codes(s, to, it->m, it->n);
    if (it->flags & Q_TURNED)
        qt = codes(s, to, it->n, it->m);
    if (!s->dry)
        s->o->quantize(s->b, q, qt, scale, x, most, it->m, it->n);
}

/* flags: a part of rows of that many. */
static void run_most(struct kj_speed_bench *s, const struct kj_speed_item *it)
{
    struct kj_mat x = low(s, it->m, it->flags ? it->flags : it->n, 0);
    s->bytes += (double)(it->m * it->n * kj_speed_width(s->low.type));
    struct kj_mat most = wide(s, 1, 1, 2);
    if (!s->dry)
        s->o->most(s->b, most, x, it->m, it->n);
}

static void run_embed(struct kj_speed_bench *s, const struct kj_speed_item *it)
{
    struct kj_mat w = low(s, s->s->vocab, s->h, 0), y = low(s, it->m, it->n, 2);
    if (!s->dry)
        s->o->embed(s->b, y, w, kj_mat(s->ids, 0, 1), it->m, it->n);
}

static void run_embed_back(struct kj_speed_bench *s, const struct kj_speed_item *it)
{
    struct kj_mat dw = wide(s, s->s->vocab, s->h, 0), dy = low(s, it->m, it->n, 1);
    s->bytes += 8.0 * (double)(it->m * it->n);
    if (!s->dry)
        s->o->embed_back(s->b, dw, dy, kj_mat(s->ids, 0, 1), it->m, it->n);
}

static void run_norm(struct kj_speed_bench *s, const struct kj_speed_item *it)
{
    struct kj_mat y = low(s, it->m, it->n, 1), x = low(s, it->m, it->n, 1),
                  sum = low(s, it->m, it->n, 1), delta = low(s, it->m, it->n, 1),
                  w = low(s, 1, it->n, 1), r = wide(s, it->m, 1, 1);
    leave_most(s);
    if (!s->dry)
        s->o->norm(s->b, y, sum, r, x, delta, w, it->m, it->n, 1e-5f);
}

static void run_norm_back(struct kj_speed_bench *s, const struct kj_speed_item *it)
{
    struct kj_mat dx = low(s, it->m, it->n, 2), dy = low(s, it->m, it->n, 1),
                  x = low(s, it->m, it->n, 1), w = low(s, 1, it->n, 1),
                  dw = wide(s, 1, it->n, 2), r = wide(s, it->m, 1, 1);
    leave_most(s);
    if (!s->dry)
        s->o->norm_back(s->b, dx, dw, dy, x, r, w, it->m, it->n, true);
}

static void run_layer_norm(struct kj_speed_bench *s, const struct kj_speed_item *it)
{
    struct kj_mat x = low(s, it->m, it->n, 2), delta = low(s, it->m, it->n, 1),
                  bias = low(s, 1, it->n, 1), w = low(s, 1, it->n, 1),
                  c = low(s, 1, it->n, 1);
    if (!s->dry)
        s->o->layer_norm(s->b, x, x, delta, bias, w, c, it->m, it->n, 1e-5f);
}

static void run_bias_act(struct kj_speed_bench *s, const struct kj_speed_item *it)
{
    struct kj_mat x = low(s, it->m, it->n, 2), bias = low(s, 1, it->n, 1);
    if (!s->dry)
        s->o->bias_act(s->b, x, bias, it->m, it->n, (enum kj_act)it->flags);
}

static void run_rope(struct kj_speed_bench *s, const struct kj_speed_item *it)
{
    struct kj_mat x = low(s, it->m, s->qkv, 0);
    s->bytes += 2.0 * (double)(it->m * it->n * kj_speed_width(s->low.type));
    if (!s->dry)
        s->o->rope(s->b, x, kj_mat(s->pos, 0, 1), kj_mat(s->rope, 0, s->s->dim), it->m,
                   s->s->heads + s->s->kv_heads, s->s->dim, it->flags);
}

/* flags: the backward pass, five products to the forward's two. */
static void run_attention(struct kj_speed_bench *s, const struct kj_speed_item *it)
{
    struct kj_mat qkv = low(s, s->n, s->qkv, 1), o = low(s, s->n, s->q, 1);
    struct kj_attn a = {.q = qkv,
                        .k = part(qkv, s->q),
                        .v = part(qkv, s->q + s->kv),
                        .o = o,
                        .lse = wide(s, s->n, s->s->heads, 1),
                        .heads = s->s->heads,
                        .kv_heads = s->s->kv_heads,
                        .dim = s->s->dim,
                        .scale = 1 / sqrtf((float)s->s->dim),
                        .full = s->s->encoder,
                        .segs = s->segs,
                        .cu_q = s->cu,
                        .cu_k = s->cu};
    struct kj_attn_grad g = {0};
    if (it->flags) {
        struct kj_mat d = low(s, s->n, s->qkv, 1);
        g = (struct kj_attn_grad){.d_o = low(s, s->n, s->q, 1),
                                  .dq = d,
                                  .dk = part(d, s->q),
                                  .dv = part(d, s->q + s->kv)};
    }
    s->flops += (it->flags ? 10 : 4) * s->pairs * (double)s->q;
    if (s->dry)
        return;
    if (!it->flags || s->first) /* the log sums have to fit */
        s->o->attention(s->b, &a);
    if (it->flags)
        s->o->attention_back(s->b, &a, &g);
}

static void run_swiglu(struct kj_speed_bench *s, const struct kj_speed_item *it)
{
    struct kj_mat gu = low(s, it->m, 2 * it->n, it->flags ? 2 : 1),
                  h = low(s, it->m, it->n, 1), u = part(gu, it->n);
    leave_most(s);
    if (s->dry)
        return;
    if (it->flags)
        s->o->swiglu_back(s->b, gu, u, h, gu, u, it->m, it->n);
    else
        s->o->swiglu(s->b, h, gu, u, it->m, it->n);
}

static void run_cross_entropy(struct kj_speed_bench *s, const struct kj_speed_item *it)
{
    struct kj_mat z = low(s, it->m, it->n, 2), loss = wide(s, it->m, 1, 1);
    if (!s->dry)
        s->o->cross_entropy(s->b, z, loss, KJ_MAT_NONE, kj_mat(s->ids, 0, 1), it->m,
                            it->n, 1, KJ_MAT_NONE, 0, true);
}

/* flags: on bfloat16 states. */
static void run_adamw(struct kj_speed_bench *s, const struct kj_speed_item *it)
{
    struct kj_mat (*as)(struct kj_speed_bench *, size_t, size_t, double) =
        it->flags ? low : wide;
    static const struct kj_adamw p = {.lr = 1e-4f,
                                      .beta1 = 0.9f,
                                      .beta2 = 0.95f,
                                      .eps = 1e-8f,
                                      .decay = 1e-5f,
                                      .grad_scale = 1,
                                      .fix1 = 1,
                                      .fix2 = 1};
    struct kj_mat w = as(s, 1, it->n, 2), g = as(s, 1, it->n, 1),
                  m = as(s, 1, it->n, 2), v = as(s, 1, it->n, 2);
    if (s->dry)
        return;
    if (s->first) /* squares */
        s->o->zero(s->b, v, it->n);
    s->o->adamw(s->b, w, g, m, v, it->n, &p);
}

static void run_sumsq(struct kj_speed_bench *s, const struct kj_speed_item *it)
{
    struct kj_mat g = wide(s, 1, it->n, 1);
    if (!s->dry)
        s->o->sumsq(s->b, g, it->n);
}

static void run_zero(struct kj_speed_bench *s, const struct kj_speed_item *it)
{
    struct kj_mat g = wide(s, 1, it->n, 1);
    if (!s->dry)
        s->o->zero(s->b, g, it->n);
}

static void run_round(struct kj_speed_bench *s, const struct kj_speed_item *it)
{
    struct kj_mat y = low(s, 1, it->n, 1), x = wide(s, 1, it->n, 1);
    if (!s->dry)
        s->o->axpby(s->b, y, x, it->n, 1, 0);
}

/* ---- which of them a step has ---- */

static void add(struct kj_speed_items *t, double count, const char *op,
                const char *what,
                void (*run)(struct kj_speed_bench *, const struct kj_speed_item *),
                size_t m, size_t n, size_t k, unsigned flags)
{
    t->v[t->n++] = (struct kj_speed_item){op, what, run, count, m, n, k, flags};
}

/* A linear map from `in` to `out`, of n tokens: forward, dx and dw. */
static void linear(struct kj_speed_items *t, double count, const char *const *what,
                   size_t n, size_t out, size_t in, bool back, bool f8)
{
    if (f8) { /* weights twice: forward and back, so that no copy is kept */
        add(t, count, "most", what[3], run_most, out, in, 0, 0);
        add(t, count, "quantize", what[0], run_quantize, n, in, 0, Q_ROWS | Q_TURNED);
        add(t, count, "quantize", what[3], run_quantize, out, in, 0, Q_ROWS);
        add(t, count, "quantize", what[4], run_quantize, out, in, 0, Q_TURNED);
        add(t, count, "quantize", what[5], run_quantize, n, out, 0,
            Q_ROWS | Q_TURNED | Q_GRADIENT);
        add(t, count, "matmul_f8", what[0], run_matmul_f8, n, out, in, F8_FORWARD);
        add(t, count, "matmul_f8", what[1], run_matmul_f8, n, in, out, F8_DX);
        add(t, count, "matmul_f8", what[2], run_matmul_f8, out, in, n, F8_DW);
        return;
    }
    add(t, count, "matmul", what[0], run_matmul, n, out, in, KJ_MM_TB);
    if (!back)
        return;
    add(t, count, "matmul", what[1], run_matmul, n, in, out, 0);
    add(t, count, "matmul", what[2], run_matmul, out, in, n, KJ_MM_TA | KJ_MM_ADD);
}

static const char *const qkv_names[] = {
    "qkv", "qkv dx", "qkv dw", "qkv weights", "qkv weights turned", "qkv gradient"};
static const char *const o_names[] = {
    "o", "o dx", "o dw", "o weights", "o weights turned", "o gradient"};
static const char *const up_names[] = {"gate and up",
                                       "gate and up dx",
                                       "gate and up dw",
                                       "gate and up weights",
                                       "gate and up weights turned",
                                       "gate and up gradient"};
static const char *const down_names[] = {
    "down",         "down dx", "down dw", "down weights", "down weights turned",
    "down gradient"};
static const char *const head_names[] = {"head", "head dx", "head dw"};

static void llama_items(const struct kj_speed_bench *s, struct kj_speed_items *t)
{
    double layers = (double)s->s->layers,
           chunks = ceil((double)s->n / (double)s->s->chunk);
    double all = layers * (double)s->params + 2.0 * (double)(s->s->vocab * s->h);
    size_t n = s->n, c = s->s->chunk < n ? s->s->chunk : n, v = s->s->vocab;
    size_t some = (size_t)fmin(all, (double)PARAMS);
    double pieces = all / (double)some;
    add(t, 1, "embed", "", run_embed, n, s->h, 0, 0);
    add(t, 1, "embed_back", "", run_embed_back, n, s->h, 0, 0);
    add(t, 2 * layers + 1, "norm", "", run_norm, n, s->h, 0, 0);
    add(t, 2 * layers + 1, "norm_back", "", run_norm_back, n, s->h, 0, 0);
    linear(t, layers, qkv_names, n, s->qkv, s->h, true, s->f8);
    add(t, 2 * layers, "rope", "", run_rope, n, s->q + s->kv, 0, 0);
    add(t, layers, "attention", "", run_attention, n, s->s->seq, s->s->dim, 0);
    add(t, layers, "attention_back", "", run_attention, n, s->s->seq, s->s->dim, 1);
    if (s->f8) {
        add(t, layers, "most", "attention", run_most, n, s->q, 0, 0);
        add(t, layers, "most", "gradient by v", run_most, n, s->kv, 0,
            (unsigned)s->qkv);
    }
    linear(t, layers, o_names, n, s->h, s->q, true, s->f8);
    linear(t, layers, up_names, n, 2 * s->f, s->h, true, s->f8);
    add(t, layers, "swiglu", "", run_swiglu, n, s->f, 0, 0);
    add(t, layers, "swiglu_back", "", run_swiglu, n, s->f, 0, 1);
    linear(t, layers, down_names, n, s->h, s->f, true, s->f8);
    linear(t, chunks, head_names, c, v, s->h, true, false);
    add(t, chunks, "cross_entropy", "", run_cross_entropy, c, v, 0, 0);
    add(t, pieces, "zero", "gradients", run_zero, 1, some, 0, 0);
    add(t, pieces, "sumsq", "gradients", run_sumsq, 1, some, 0, 0);
    add(t, pieces, "adamw", "", run_adamw, 1, some, 0, 0);
    if (s->o->bf16) /* instead of that and what follows, where states are so */
        add(t, 0, "adamw", "bf16 states", run_adamw, 1, some, 0, 1);
    if (s->o->bf16)
        add(t, pieces, "axpby", "weights rounded", run_round, 1, some, 0, 0);
}

static void encoder_items(const struct kj_speed_bench *s, struct kj_speed_items *t)
{
    double layers = (double)s->s->layers;
    size_t n = s->n;
    add(t, 1, "embed", "", run_embed, n, s->h, 0, 0);
    add(t, layers, "linear", "qkv", run_linear, n, s->qkv, s->h, KJ_ACT_NONE);
    add(t, layers, "attention", "full", run_attention, n, s->s->seq, s->s->dim, 0);
    linear(t, layers, o_names, n, s->h, s->q, false, false);
    add(t, 2 * layers + 1, "layer_norm", "", run_layer_norm, n, s->h, 0, 0);
    linear(t, layers, up_names + 0, n, s->f, s->h, false, false);
    add(t, layers, "bias_act", "gelu", run_bias_act, n, s->f, 0, KJ_ACT_GELU);
    linear(t, layers, down_names, n, s->h, s->f, false, false);
}

void kj_speed_items(const struct kj_speed_bench *s, struct kj_speed_items *t)
{
    if (s->s->encoder)
        encoder_items(s, t);
    else
        llama_items(s, t);
}
