/* llama_cache.c - generation: one token (or a prompt) at a time, with the keys
 * and values of what came before kept per layer.
 *
 * Keys and values of the new tokens are made side by side, turned, and put into
 * their rows of the cache. Which rows these are, and how many keys there are to see, the
 * device reads from `in` (ids, positions, bounds of keys: one copy up per token),
 * so one token after the other is the same section of operations (nn/backend.h).
 */
#include <math.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "trainer/llama_internal.h"
#include "trainer/rope.h"

/* Tokens of a prompt that are fed in one pass. */
#define FEED 256

struct kj_cache {
    struct kj_llama *m;
    size_t size, used;
    struct kj_tensor *kv; /* layers x size rows of 2 * kv */
    struct kj_tensor *t;  /* scratch for FEED tokens */
    struct kj_tensor *rt; /* the norms' factors */
    struct kj_tensor *in; /* of n tokens: ids, positions, 0 and the number of keys */
    struct kj_tensor *rope;
    struct kj_mat x, y, r, q, new_kv, att, delta, gu, h, logits;
};

/* float32 ones, or what a rank that has a part of these multiplies. */
static struct kj_tensor *weights(const struct kj_llama *m)
{
    return kj_llama_masters_cut(m) ? m->low : m->w;
}

static struct kj_mat scratch(struct kj_cache *c, size_t *at, size_t rows, size_t cols)
{
    struct kj_mat m = kj_mat(c->t, *at, cols);
    *at += (rows * cols + 15) / 16 * 16;
    return m;
}

static size_t layout(struct kj_cache *c)
{
    struct kj_llama_dims d = kj_llama_dims(&c->m->shape);
    size_t at = 0;
    c->x = scratch(c, &at, FEED, d.h);
    c->y = scratch(c, &at, FEED, d.h);
    c->r = kj_mat(c->rt, 0, 1);
    c->q = scratch(c, &at, FEED, d.q);
    c->new_kv = scratch(c, &at, FEED, 2 * d.kv);
    c->att = scratch(c, &at, FEED, d.q);
    c->delta = scratch(c, &at, FEED, d.h);
    c->gu = scratch(c, &at, FEED, 2 * d.f);
    c->h = scratch(c, &at, FEED, d.f);
    c->logits = scratch(c, &at, 1, d.v);
    return at;
}

int kj_cache_new(struct kj_cache **out, struct kj_llama *m, size_t positions,
                 struct kj_err *err)
{
    struct kj_llama_dims d = kj_llama_dims(&m->shape);
    const struct kj_ops *o = m->b->ops;
    struct kj_cache *c = kj_xcalloc(1, sizeof *c);
    c->m = m;
    c->size = positions;
    /* Operands of one type, where the back end wants that. */
    bool low = m->how.states_bf16 || kj_llama_masters_cut(m);
    enum kj_dtype type = low && o->bf16 ? KJ_BF16 : KJ_F32;
    c->kv = o->tensor_new(m->b, type, d.layers * positions * 2 * d.kv);
    c->rt = o->tensor_new(m->b, KJ_F32, FEED);
    c->t = o->tensor_new(m->b, type, layout(c));
    layout(c);
    c->in = o->tensor_new(m->b, KJ_I32, 2 * FEED + 2);
    c->rope = o->tensor_new(m->b, KJ_F32, positions * d.dim);
    if (c->rope)
        kj_rope_table(m->b, &m->shape, c->rope, positions);
    int rc = o->sync(m->b, err);
    if (rc) {
        kj_cache_free(c);
        return rc;
    }
    *out = c;
    return KJ_OK;
}

void kj_cache_free(struct kj_cache *c)
{
    if (!c)
        return;
    struct kj_tensor *t[] = {c->kv, c->t, c->rt, c->in, c->rope};
    for (size_t i = 0; i < sizeof t / sizeof *t; i++)
        c->m->b->ops->tensor_free(c->m->b, t[i]);
    free(c);
}

size_t kj_cache_used(const struct kj_cache *c)
{
    return c->used;
}

/* Layer i over n rows; x + delta is the stream before and behind it. */
static void layer(struct kj_cache *c, size_t i, size_t n)
{
    struct kj_llama *m = c->m;
    const struct kj_ops *o = m->b->ops;
    struct kj_llama_dims d = kj_llama_dims(&m->shape);
    struct kj_llama_layer w = kj_llama_layer_of(m, weights(m), i);
    size_t row = 2 * d.kv, base = i * c->size * row;
    struct kj_mat wkv = w.qkv, pos = kj_mat(c->in, n, 1);
    struct kj_mat up = c->gu, rope = kj_mat(c->rope, 0, d.dim);
    float eps = (float)m->shape.norm_eps;
    int32_t cu_q[2] = {0, (int32_t)n}, cu_k[2] = {0, (int32_t)c->size};
    wkv.at += d.q * d.h;
    up.at += d.f;
    o->norm(m->b, c->y, c->x, c->r, c->x, i == 0 ? KJ_MAT_NONE : c->delta, w.norm1, n,
            d.h, eps);
    o->matmul(m->b, c->q, c->y, w.qkv, n, d.q, d.h, KJ_MM_TB);
    o->matmul(m->b, c->new_kv, c->y, wkv, n, row, d.h, KJ_MM_TB);
    o->rope(m->b, c->q, pos, rope, n, d.heads, d.dim, false);
    o->rope(m->b, c->new_kv, pos, rope, n, d.kv_heads, d.dim, false);
    struct kj_attn a = {.q = c->q,
                        .k = kj_mat(c->kv, base, row),
                        .v = kj_mat(c->kv, base + d.kv, row),
                        .o = c->att,
                        .heads = d.heads,
                        .kv_heads = d.kv_heads,
                        .dim = d.dim,
                        .scale = (float)(1 / sqrt((double)d.dim)),
                        .segs = 1,
                        .cu_q = cu_q,
                        .cu_k = cu_k,
                        .cu_k_then = kj_mat(c->in, 2 * n, 1)};
    o->put(m->b, a.k, c->new_kv, pos, n, row);
    o->attention(m->b, &a);
    o->matmul(m->b, c->delta, c->att, w.o, n, d.h, d.q, KJ_MM_TB);
    o->norm(m->b, c->y, c->x, c->r, c->x, c->delta, w.norm2, n, d.h, eps);
    o->matmul(m->b, c->gu, c->y, w.gu, n, 2 * d.f, d.h, KJ_MM_TB);
    o->swiglu(m->b, c->h, c->gu, up, n, d.f);
    o->matmul(m->b, c->delta, c->h, w.down, n, d.h, d.f, KJ_MM_TB);
}

/* From what lies in `in` to the logits of the last row. */
static void pass(struct kj_cache *c, size_t n)
{
    struct kj_llama *m = c->m;
    const struct kj_ops *o = m->b->ops;
    struct kj_llama_dims d = kj_llama_dims(&m->shape);
    o->embed(m->b, c->x, kj_llama_ends_of(m, weights(m)).embed, kj_mat(c->in, 0, 1), n,
             d.h);
    for (size_t i = 0; i < d.layers; i++)
        layer(c, i, n);
    o->norm(m->b, c->y, c->x, c->r, c->x, c->delta,
            kj_llama_ends_of(m, weights(m)).norm, n, d.h, (float)m->shape.norm_eps);
    struct kj_mat y = kj_mat(c->y.t, c->y.at + (n - 1) * d.h, d.h);
    o->matmul(m->b, c->logits, y, kj_llama_ends_of(m, weights(m)).head, 1, d.v, d.h,
              KJ_MM_TB);
}

static void feed(struct kj_cache *c, const uint32_t *ids, size_t n)
{
    const struct kj_ops *o = c->m->b->ops;
    int32_t in[2 * FEED + 2];
    uint64_t more = n;
    for (size_t i = 0; i < n; i++) {
        in[i] = (int32_t)ids[i];
        in[n + i] = (int32_t)(c->used + i);
    }
    in[2 * n] = 0;
    in[2 * n + 1] = (int32_t)(c->used + n);
    o->write(c->m->b, c->in, 0, in, 2 * n + 2);
    if (o->section_begin(c->m->b, kj_section_key(c, &more, 1), 0, NULL)) {
        do
            pass(c, n);
        while (o->section_end(c->m->b));
    }
    c->used += n;
}

int kj_cache_feed(struct kj_cache *c, const uint32_t *ids, size_t n, float *logits,
                  struct kj_err *err)
{
    struct kj_llama *m = c->m;
    struct kj_llama_dims d = kj_llama_dims(&m->shape);
    if (n == 0 || n > c->size - c->used)
        return kj_err_set(err, KJ_FAIL, "%zu tokens behind %zu of %zu positions", n,
                          c->used, c->size);
    for (size_t i = 0, k; i < n; i += k) {
        k = n - i < FEED ? n - i : FEED;
        feed(c, ids + i, k);
    }
    m->b->ops->read(m->b, c->logits.t, c->logits.at, logits, d.v);
    return m->b->ops->sync(m->b, err);
}
