/* llama_linear.c - the linear maps of blocks and their gradients, in FP8 where asked.
 *
 * In FP8 each of the three products of a map y = x W' has two quantised operands:
 *
 *   y  (+)= x  W'       x by rows, W by rows      both E4M3
 *   dW  += dy' x        dy and x transposed       dy E5M2, x E4M3
 *   dx   = dy W         dy by rows, W transposed
 *
 * because tensor cores take FP8 along the inner dimension only. A tensor's scale is made
 * of its own largest magnitude when it is quantised ("current scaling": nothing to keep
 * from step to step). The operations that make x and dy leave it while they write
 * (kj_backend.most); of attention's output and its gradient by v, and once a pass of
 * weights, it is looked for. What a backward pass makes again has the magnitudes that
 * it had. x is written both ways at once where its transposed codes can be kept for dW:
 * they take the place of x itself, at half of its size. dy is written both
 * ways at once. Weights are quantised when they are used: reading them costs a hundredth
 * of multiplying them, and no second copy of the model lies about.
 *
 * Gradients in E4M3 instead ended 0.3 % above bfloat16's loss where these ended below
 * (400 steps on real text, docs/benchmarks.md).
 *
 * Maps with a side that is no multiple of 16 stay as they are without FP8.
 */
#include <string.h>

#include "trainer/llama_internal.h"

/* Where tensors within others begin: as in llama_acts.c. */
#define GRAIN 256

static size_t up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

bool kj_llama_f8_fits(const struct kj_llama_how *how, size_t out, size_t in)
{
    return how->f8 && out % 16 == 0 && in % 16 == 0;
}

/* Widths out and in of a block's maps. */
static void maps_of(const struct kj_shape *s, size_t map[4][2])
{
    struct kj_llama_dims d = kj_llama_dims(s);
    const size_t all[4][2] = {{d.qkv, d.h}, {d.h, d.q}, {2 * d.f, d.h}, {d.h, d.f}};
    memcpy(map, all, sizeof all);
}

size_t kj_llama_f8_maps(const struct kj_shape *s, const struct kj_llama_how *how)
{
    size_t map[4][2], n = 0;
    maps_of(s, map);
    for (size_t i = 0; i < 4; i++)
        n += kj_llama_f8_fits(how, map[i][0], map[i][1]);
    return n;
}

/* ---- places of codes: forward x, w; backward dy, then dy and x transposed, and when
 * these are multiplied w in their place ---- */

size_t kj_llama_f8_codes(const struct kj_llama *m, enum kj_llama_map map, bool back,
                         bool x)
{
    size_t all[KJ_MAPS][2], tokens = up(m->how.tokens, 16);
    maps_of(&m->shape, all);
    size_t out = all[map][0], in = all[map][1];
    if (!kj_llama_f8_fits(&m->how, out, in))
        return 0;
    if (!back)
        return up(tokens * in, GRAIN) + out * in;
    size_t dy = up(tokens * out, GRAIN), dw = dy + (x ? tokens * in : 0);
    return dy + (dw > out * in ? dw : out * in);
}

/* ---- largest magnitudes ---- */

/* Widths of a map's output and input. */
static void widths(const struct kj_llama *m, enum kj_llama_map map, size_t *out,
                   size_t *in)
{
    size_t all[KJ_MAPS][2];
    maps_of(&m->shape, all);
    *out = all[map][0];
    *in = all[map][1];
}

size_t kj_llama_mosts(const struct kj_shape *s)
{
    return (size_t)s->layers * KJ_MAPS * KJ_OPERANDS;
}

struct kj_mat kj_llama_most(const struct kj_llama *m, size_t layer,
                            enum kj_llama_map map, enum kj_llama_operand which)
{
    size_t out, in;
    widths(m, map, &out, &in);
    if (!kj_llama_f8_fits(&m->how, out, in))
        return KJ_MAT_NONE;
    struct kj_mat most = m->acts->f8.most;
    most.at += (layer * KJ_MAPS + map) * KJ_OPERANDS + which;
    return most;
}

void kj_llama_most_begin(const struct kj_llama *m)
{
    if (m->acts->f8.most.t)
        m->b->ops->zero(m->b, m->acts->f8.most, kj_llama_mosts(&m->shape));
}

void kj_llama_most_of_weights(const struct kj_llama *m, size_t layer,
                              const struct kj_llama_layer *w)
{
    const struct kj_mat all[KJ_MAPS] = {w->qkv, w->o, w->gu, w->down};
    for (enum kj_llama_map i = 0; i < KJ_MAPS; i++) {
        struct kj_mat most = kj_llama_most(m, layer, i, KJ_OF_W);
        size_t out, in;
        widths(m, i, &out, &in);
        if (most.t)
            m->b->ops->most(m->b, most, all[i], out, in);
    }
}

/* ---- maps ---- */

static struct kj_mat scale(const struct kj_llama_f8 *f, enum kj_llama_operand i)
{
    return kj_mat(f->scales.t, f->scales.at + i, 1);
}

void kj_llama_linear(const struct kj_llama *m, size_t layer, enum kj_llama_map map,
                     struct kj_mat y, struct kj_mat x, struct kj_mat w,
                     const struct kj_llama_kept *kept, size_t n)
{
    const struct kj_ops *o = m->b->ops;
    const struct kj_llama_f8 *f = &m->acts->f8;
    size_t out, in;
    widths(m, map, &out, &in);
    if (!kj_llama_f8_fits(&m->how, out, in)) {
        o->matmul(m->b, y, x, w, n, out, in, KJ_MM_TB | m->mm);
        return;
    }
    size_t at = f->at[0][map], at_w = at + up(up(m->how.tokens, 16) * in, GRAIN);
    struct kj_mat q = kj_mat(f->e4m3, at, in), qw = kj_mat(f->e4m3, at_w, in);
    struct kj_mat t = kept ? kept->t : KJ_MAT_NONE;
    struct kj_mat sx = t.t ? kept->scale : scale(f, KJ_OF_X), sw = scale(f, KJ_OF_W);
    o->quantize(m->b, q, t, sx, x, kj_llama_most(m, layer, map, KJ_OF_X), n, in);
    o->quantize(m->b, qw, KJ_MAT_NONE, sw, w, kj_llama_most(m, layer, map, KJ_OF_W),
                out, in);
    o->matmul_f8(m->b, y, q, sx, qw, sw, n, out, in, KJ_MM_FAST);
}

void kj_llama_linear_back(const struct kj_llama *m, size_t layer, enum kj_llama_map map,
                          struct kj_mat dx, struct kj_mat dw, struct kj_mat dy,
                          struct kj_mat x, const struct kj_llama_kept *kept,
                          struct kj_mat w, size_t n)
{
    const struct kj_ops *o = m->b->ops;
    const struct kj_llama_f8 *f = &m->acts->f8;
    size_t out, in;
    widths(m, map, &out, &in);
    if (!kj_llama_f8_fits(&m->how, out, in)) {
        o->matmul(m->b, dw, dy, x, out, in, n, KJ_MM_TA | KJ_MM_ADD | m->mm);
        o->matmul(m->b, dx, dy, w, n, in, out, m->mm);
        return;
    }
    size_t tokens = up(m->how.tokens, 16);
    size_t at = f->at[1][map], dy_size = up(tokens * out, GRAIN), at_t = at + dy_size;
    struct kj_mat q = kj_mat(f->e5m2, at, out), qt = kj_mat(f->e5m2, at_t, tokens);
    struct kj_mat xt = kj_mat(f->e4m3, at_t + dy_size, tokens);
    struct kj_mat wt = kj_mat(f->e4m3, at_t, out); /* once qt is multiplied */
    struct kj_mat sx = scale(f, KJ_OF_X), sw = scale(f, KJ_OF_W),
                  sy = scale(f, KJ_OF_DY);
    o->quantize(m->b, q, qt, sy, dy, kj_llama_most(m, layer, map, KJ_OF_DY), n, out);
    if (kept && kept->t.t) {
        xt = kept->t;
        sx = kept->scale;
    } else {
        o->quantize(m->b, KJ_MAT_NONE, xt, sx, x, kj_llama_most(m, layer, map, KJ_OF_X),
                    n, in);
    }
    o->matmul_f8(m->b, dw, qt, sy, xt, sx, out, in, n, KJ_MM_ADD);
    o->quantize(m->b, KJ_MAT_NONE, wt, sw, w, kj_llama_most(m, layer, map, KJ_OF_W),
                out, in);
    o->matmul_f8(m->b, dx, q, sy, wt, sw, n, in, out, 0);
}
