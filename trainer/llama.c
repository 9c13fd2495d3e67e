/* llama.c - the Llama model: weights, forward and backward.
 *
 * Activations. For every layer the backward pass needs: the residual stream
 * before each norm and the norm's factor, the norm's output, q/k/v behind the
 * rotation, attention's output and its log sums, the residual behind
 * attention, gate and up, and their product. Where they lie is llama_acts.c's affair.
 * What a layer does not keep (`recompute`) the backward pass makes again from what it
 * keeps, by the same operations on the same shapes, so that gradients have the same
 * bits: cheap things first (Korthikanti et al. 2022), whole blocks last (Chen et al.
 * 2016).
 *
 * The residual stream's gradient flows through `dres` from the last layer to
 * the first; each half block adds to it what comes back through its norm.
 */
#include "trainer/llama.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "trainer/llama_internal.h"

/* Whether a device may be done with a layer of a pass before the host has issued the
 * next one's operations. Forward these are a dozen, 30 us; 1e11 weights times tokens are 2e11
 * operations, 0.4 ms at an H100's 500 TFLOP/s. (Estimated; no GPU has measured it.) */
static bool is_short(const struct kj_shape *s, size_t tokens)
{
    return (double)kj_llama_dims(s).per_layer * (double)tokens < 1e11;
}

int kj_llama_make(struct kj_llama **out, struct kj_backend *b, const struct kj_shape *s,
                  const struct kj_llama_how *how, struct kj_err *err)
{
    struct kj_llama_need need[KJ_LT_COUNT];
    int rc = kj_shape_check(s, err);
    if (rc)
        return rc;
    if (how->f8 && !b->f8)
        return kj_err_set(err, KJ_USAGE,
                          "this GPU has no FP8, which begins with compute capability "
                          "8.9: take optim.precision bf16");
    struct kj_llama *m = kj_xcalloc(1, sizeof *m);
    m->b = b;
    m->shape = *s;
    m->how = *how;
    m->how.chunk = how->chunk < how->tokens ? how->chunk : how->tokens;
    m->sections = how->again && is_short(s, how->tokens);
    m->mm = how->bf16 ? KJ_MM_BF16 : 0;
    if (how->recompute == KJ_RECOMPUTE_AUTO) /* nobody asked how much fits */
        m->how.recompute = KJ_RECOMPUTE_NONE;
    m->params = kj_llama_params(s, &m->n_params, &m->n);
    kj_llama_needs(s, &m->how, b->ops->bf16, need);
    kj_llama_spans_new(m);
    struct kj_tensor **const own[] = {[KJ_LT_WEIGHTS] = &m->w,
                                      [KJ_LT_GRADS] = &m->g,
                                      [KJ_LT_LOW] = &m->low,
                                      [KJ_LT_SLOTS] = &m->slots};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (need[i].n)
            *own[i] = b->ops->tensor_new(b, need[i].type, need[i].n);
    m->stale = m->low && !kj_llama_masters_cut(m);
    kj_llama_acts_new(m);
    rc = b->ops->sync(b, err);
    if (rc) {
        kj_llama_free(m);
        return rc;
    }
    *out = m;
    return KJ_OK;
}

int kj_llama_new(struct kj_llama **out, struct kj_backend *b, const struct kj_shape *s,
                 size_t tokens, size_t chunk, bool train, struct kj_err *err)
{
    struct kj_llama_how how = {.tokens = tokens, .chunk = chunk, .train = train};
    return kj_llama_make(out, b, s, &how, err);
}

void kj_llama_free(struct kj_llama *m)
{
    if (!m)
        return;
    const struct kj_ops *o = m->b->ops;
    kj_llama_acts_free(m);
    o->tensor_free(m->b, m->low);
    o->tensor_free(m->b, m->w);
    o->tensor_free(m->b, m->g);
    o->tensor_free(m->b, m->slots);
    free(m->spans);
    free(m->params);
    free(m);
}

/* ---- forward ---- */

static void attn_of(const struct kj_llama *m, const struct kj_llama_layer_acts *l,
                    const struct kj_rows *r, struct kj_attn *a)
{
    struct kj_llama_dims d = kj_llama_dims(&m->shape);
    memset(a, 0, sizeof *a);
    a->q = l->qkv;
    a->k = kj_mat(l->qkv.t, l->qkv.at + d.q, d.qkv);
    a->v = kj_mat(l->qkv.t, l->qkv.at + d.q + d.kv, d.qkv);
    a->o = l->att;
    a->lse = l->lse;
    a->heads = d.heads;
    a->kv_heads = d.kv_heads;
    a->dim = d.dim;
    a->scale = (float)(1 / sqrt((double)d.dim));
    a->segs = r->segs;
    a->cu_q = a->cu_k = r->cu;
}

static struct kj_mat upper(struct kj_mat gu, size_t f)
{
    return kj_mat(gu.t, gu.at + f, gu.stride);
}

/* ---- the parts of a block, which backward passes may make again ---- */

/* A layer in one pass. */
struct pass {
    const struct kj_llama *m;
    const struct kj_rows *r;
    size_t i;
    struct kj_llama_dims d;
    struct kj_llama_layer w;
    struct kj_llama_layer_acts l;
    enum kj_recompute again;
};

static struct pass pass_of(const struct kj_llama *m, size_t i, const struct kj_rows *r)
{
    struct pass p = {.m = m,
                     .r = r,
                     .i = i,
                     .d = kj_llama_dims(&m->shape),
                     .w = kj_llama_layer_of(m, kj_llama_working(m), i),
                     .again = kj_llama_again(&m->how, i)};
    kj_llama_layer_acts(m, i, &p.l);
    return p;
}

/* What comes next leaves its largest number for that operand of a map. */
static void leave_most(const struct pass *p, enum kj_llama_map map,
                       enum kj_llama_operand which)
{
    p->m->b->most = kj_llama_most(p->m, p->i, map, which);
}

/* And this looks for it in n rows of x. */
static void find_most(const struct pass *p, enum kj_llama_map map,
                      enum kj_llama_operand which, struct kj_mat x, size_t width)
{
    struct kj_mat most = kj_llama_most(p->m, p->i, map, which);
    if (most.t)
        p->m->b->ops->most(p->m->b, most, x, p->r->n, width);
}

/* q, k, v from the first norm's output. */
static void project(const struct pass *p)
{
    const struct kj_llama *m = p->m;
    const struct kj_llama_acts *a = m->acts;
    size_t n = p->r->n;
    kj_llama_linear(m, p->i, KJ_MAP_QKV, p->l.qkv, p->l.y1, p->w.qkv, &p->l.kept_y1, n);
    m->b->ops->rope(m->b, p->l.qkv, kj_mat(a->pos, 0, 1), kj_mat(a->rope, 0, p->d.dim),
                    n, p->d.heads + p->d.kv_heads, p->d.dim, false);
}

/* From q, k, v to the stream before the feed-forward half and the norm of it. */
static void attend(const struct pass *p)
{
    const struct kj_llama *m = p->m;
    const struct kj_ops *o = m->b->ops;
    struct kj_llama_acts *a = m->acts;
    struct kj_attn at;
    size_t n = p->r->n;
    attn_of(m, &p->l, p->r, &at);
    o->attention(m->b, &at);
    find_most(p, KJ_MAP_O, KJ_OF_X, p->l.att, p->d.q);
    kj_llama_linear(m, p->i, KJ_MAP_O, a->delta, p->l.att, p->w.o, NULL, n);
    leave_most(p, KJ_MAP_GU, KJ_OF_X);
    o->norm(m->b, p->l.y2, p->l.x2, p->l.r2, p->l.x1, a->delta, p->w.norm2, n, p->d.h,
            (float)m->shape.norm_eps);
}

/* Gate and up from the second norm's output. */
static void gate(const struct pass *p)
{
    kj_llama_linear(p->m, p->i, KJ_MAP_GU, p->l.gu, p->l.y2, p->w.gu, &p->l.kept_y2,
                    p->r->n);
}

static void activate(const struct pass *p)
{
    leave_most(p, KJ_MAP_DOWN, KJ_OF_X);
    p->m->b->ops->swiglu(p->m->b, p->l.h, p->l.gu, upper(p->l.gu, p->d.f), p->r->n,
                         p->d.f);
}

/* A norm's output once more, from its input. */
static void norm_again(const struct pass *p, struct kj_mat y, struct kj_mat r,
                       struct kj_mat x, struct kj_mat w)
{
    p->m->b->ops->norm(p->m->b, y, KJ_MAT_NONE, r, x, KJ_MAT_NONE, w, p->r->n, p->d.h,
                       (float)p->m->shape.norm_eps);
}

bool kj_llama_in_sections(const struct kj_llama *m)
{
    return m->sections && !m->b->chance && !m->look;
}

static bool begin_layer(const struct kj_llama *m, size_t i, const struct kj_rows *r,
                        bool back)
{
    uint64_t more[] = {i, back, r->n};
    uint64_t key = kj_section_key(m, more, sizeof more / sizeof *more);
    return !kj_llama_in_sections(m) ||
           m->b->ops->section_begin(m->b, key, r->segs, r->cu);
}

/* True: once more. */
static bool end_layer(const struct kj_llama *m)
{
    return kj_llama_in_sections(m) && m->b->ops->section_end(m->b);
}

/* Attention half and feed-forward half of a block; see below. */
static void block_once(const struct pass *p, struct kj_mat x, struct kj_mat delta)
{
    const struct kj_llama *m = p->m;
    struct kj_llama_acts *a = m->acts;
    const struct kj_llama_layer_acts l = p->l;
    size_t n = p->r->n;
    kj_llama_most_of_weights(m, p->i, &p->w);
    leave_most(p, KJ_MAP_QKV, KJ_OF_X);
    m->b->ops->norm(m->b, l.y1, l.x1, l.r1, x, delta, p->w.norm1, n, p->d.h,
                    (float)m->shape.norm_eps);
    project(p);
    attend(p);
    gate(p);
    activate(p);
    kj_llama_linear(m, p->i, KJ_MAP_DOWN, a->delta, l.h, p->w.down, &l.kept_h, n);
    if (m->look)
        m->look(m->look_ctx, &(struct kj_llama_view){.layer = p->i,
                                                     .n = n,
                                                     .norm1 = l.y1,
                                                     .norm2 = l.y2,
                                                     .heads = l.att,
                                                     .neurons = l.h,
                                                     .before = l.x1,
                                                     .mid = l.x2,
                                                     .delta = a->delta});
}

static void embed(const struct pass *p)
{
    const struct kj_llama *m = p->m;
    m->b->ops->embed(m->b, p->l.x1, kj_llama_ends_of(m, kj_llama_working(m)).embed,
                     kj_mat(m->acts->ids, 0, 1), p->r->n, p->d.h);
}

static void last_norm(const struct pass *p)
{
    const struct kj_llama *m = p->m;
    const struct kj_llama_acts *a = m->acts;
    m->b->ops->norm(m->b, a->y, a->x, a->r, p->l.x2, a->delta,
                    kj_llama_ends_of(m, kj_llama_working(m)).norm, p->r->n, p->d.h,
                    (float)m->shape.norm_eps);
}

/* x, delta: the stream so far is x + delta (delta none in the first layer, which the
 * embedding comes before); behind the block, x2 + a->delta. The last norm goes with the last
 * layer. */
static void block(const struct kj_llama *m, size_t i, const struct kj_rows *r,
                  struct kj_mat x, struct kj_mat delta)
{
    struct pass p = pass_of(m, i, r);
    if (begin_layer(m, i, r, false))
        do {
            if (i == 0)
                embed(&p);
            block_once(&p, x, delta);
            if (i + 1 == p.d.layers)
                last_norm(&p);
        } while (end_layer(m));
}

/* A unit's weights, which may still be coming from other ranks, for what comes now. */
static void take_unit(const struct kj_llama *m, size_t unit, bool stale)
{
    size_t at = kj_llama_unit(m, unit), n = kj_llama_unit(m, unit + 1) - at;
    m->b->ops->await(m->b, kj_mat(kj_llama_working(m), at, 1), n);
    if (stale)
        m->b->ops->axpby(m->b, kj_mat(m->low, at, 1), kj_mat(m->w, at, 1), n, 1, 0);
}

int kj_llama_forward(struct kj_llama *m, const struct kj_rows *r, struct kj_err *err)
{
    const struct kj_ops *o = m->b->ops;
    struct kj_llama_acts *a = m->acts;
    struct kj_llama_dims d = kj_llama_dims(&m->shape);
    struct kj_llama_layer_acts l;
    if (r->n > m->how.tokens || r->n == 0)
        return kj_err_set(err, KJ_FATAL, "batch of %zu tokens in a model for %zu", r->n,
                          m->how.tokens);
    bool stale = m->low && m->stale;
    m->stale = false;
    kj_llama_most_begin(m);
    take_unit(m, 0, stale);
    o->write(m->b, a->ids, 0, r->ids, r->n);
    o->write(m->b, a->pos, 0, r->pos, r->n);
    for (size_t i = 0; i < d.layers; i++) {
        take_unit(m, i + 1, stale);
        if (i + 1 == d.layers)
            take_unit(m, d.layers + 1, stale);
        kj_llama_layer_acts(m, i ? i - 1 : 0, &l);
        block(m, i, r, i ? l.x2 : l.x1, i ? a->delta : KJ_MAT_NONE);
    }
    if (m->look)
        m->look(m->look_ctx,
                &(struct kj_llama_view){.layer = d.layers, .n = r->n, .norm1 = a->y});
    return KJ_OK;
}

/* ---- backward: dres holds the gradient of the stream behind the block, and
 * afterwards of that before it ---- */

/* What the feed-forward half needs and the layer did not keep. */
static void ffn_again(const struct pass *p)
{
    enum kj_recompute again = p->again;
    if (again == KJ_RECOMPUTE_BLOCK) {
        norm_again(p, p->l.y1, p->l.r1, p->l.x1, p->w.norm1);
        project(p);
        attend(p);
    } else if (again >= KJ_RECOMPUTE_NORM) {
        norm_again(p, p->l.y2, p->l.r2, p->l.x2, p->w.norm2);
    }
    if (again >= KJ_RECOMPUTE_FFN)
        gate(p);
    if (again >= KJ_RECOMPUTE_SWIGLU)
        activate(p);
}

static void ffn_back(const struct pass *p, const struct kj_llama_layer *g)
{
    const struct kj_llama *m = p->m;
    const struct kj_ops *o = m->b->ops;
    struct kj_llama_acts *a = m->acts;
    const struct kj_llama_layer_acts *l = &p->l;
    size_t n = p->r->n, h = p->d.h, f = p->d.f;
    ffn_again(p);
    /* The product's own gradient takes its place where it is not kept. */
    kj_llama_linear_back(m, p->i, KJ_MAP_DOWN, a->dh, g->down, a->dres, l->h,
                         &l->kept_h, p->w.down, n);
    leave_most(p, KJ_MAP_GU, KJ_OF_DY);
    o->swiglu_back(m->b, l->gu, upper(l->gu, f), a->dh, l->gu, upper(l->gu, f), n, f);
    kj_llama_linear_back(m, p->i, KJ_MAP_GU, a->dy, g->gu, l->gu, l->y2, &l->kept_y2,
                         p->w.gu, n);
    leave_most(p, KJ_MAP_O, KJ_OF_DY);
    o->norm_back(m->b, a->dres, g->norm2, a->dy, l->x2, l->r2, p->w.norm2, n, h, true);
}

static void attn_back(const struct pass *p, const struct kj_llama_layer *g)
{
    const struct kj_llama *m = p->m;
    const struct kj_ops *o = m->b->ops;
    struct kj_llama_acts *a = m->acts;
    const struct kj_llama_layer_acts *l = &p->l;
    struct kj_llama_dims d = p->d;
    struct kj_attn at;
    size_t n = p->r->n;
    if (p->again >= KJ_RECOMPUTE_NORM)
        norm_again(p, l->y1, l->r1, l->x1, p->w.norm1);
    if (p->again == KJ_RECOMPUTE_QKV)
        project(p);
    kj_llama_linear_back(m, p->i, KJ_MAP_O, a->datt, g->o, a->dres, l->att, NULL,
                         p->w.o, n);
    attn_of(m, l, p->r, &at);
    struct kj_attn_grad ag = {
        .d_o = a->datt,
        .dq = a->dqkv,
        .dk = kj_mat(a->dqkv.t, a->dqkv.at + d.q, d.qkv),
        .dv = kj_mat(a->dqkv.t, a->dqkv.at + d.q + d.kv, d.qkv),
    };
    o->attention_back(m->b, &at, &ag);
    find_most(p, KJ_MAP_QKV, KJ_OF_DY, ag.dv, d.kv);
    leave_most(p, KJ_MAP_QKV, KJ_OF_DY);
    o->rope(m->b, a->dqkv, kj_mat(a->pos, 0, 1), kj_mat(a->rope, 0, d.dim), n,
            d.heads + d.kv_heads, d.dim, true);
    kj_llama_linear_back(m, p->i, KJ_MAP_QKV, a->dy, g->qkv, a->dqkv, l->y1,
                         &l->kept_y1, p->w.qkv, n);
    if (p->i > 0) /* what the layer below begins with */
        m->b->most = kj_llama_most(m, p->i - 1, KJ_MAP_DOWN, KJ_OF_DY);
    o->norm_back(m->b, a->dres, g->norm1, a->dy, l->x1, l->r1, p->w.norm1, n, d.h,
                 true);
}

/* The embedding's goes with the first layer's. */
static void block_back(const struct kj_llama *m, size_t i, const struct kj_rows *r)
{
    struct pass p = pass_of(m, i, r);
    struct kj_llama_layer g = kj_llama_layer(m, kj_llama_unit_grads(m, i + 1));
    if (begin_layer(m, i, r, true))
        do {
            ffn_back(&p, &g);
            attn_back(&p, &g);
            if (i == 0)
                m->b->ops->embed_back(m->b, kj_llama_end_grads(m).embed, m->acts->dres,
                                      kj_mat(m->acts->ids, 0, 1), r->n, p.d.h);
        } while (end_layer(m));
}

void kj_llama_growing(const struct kj_llama *m, size_t unit)
{
    if (m->growing)
        m->growing(m->grown_ctx, unit);
}

void kj_llama_grown(const struct kj_llama *m, size_t unit)
{
    if (m->grown)
        m->grown(m->grown_ctx, unit);
}

void kj_llama_backward(struct kj_llama *m, const struct kj_rows *r)
{
    for (size_t i = (size_t)m->shape.layers; i-- > 0;) {
        kj_llama_growing(m, i + 1);
        if (i == 0 && !m->shape.tied)
            kj_llama_growing(m, 0);
        block_back(m, i, r);
        kj_llama_grown(m, i + 1);
    }
    kj_llama_grown(m, 0);
}
