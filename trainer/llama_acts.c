/* llama_acts.c - where a model's activations lie, and the rotary table.
 *
 * What layers keep lies in one tensor, layer by layer; without training the layers
 * share one set. What they do not keep lies in `rest`, which all layers share. Factors
 * of norms, log sums and losses lie in tensors of their own, because they stay float32
 * where activations are bfloat16.
 *
 * In training, things whose lives do not overlap share memory in `rest`. Three streams
 * (n rows of hidden) are always there: the gradient of the residual stream; `delta`,
 * which is dead when the head makes `dy` and where backward passes have theirs; and
 * `y`, the last norm's output, which is dead when the head is done, so that norms that
 * are not kept have theirs there. One place is used by turns:
 *
 *   feed-forward, both ways   [gate and up]  product, then its gradient
 *   attention, both ways      [q, k, v]      gradients of its output and of q, k, v
 *   head                      the last norm's input, and logits of a chunk
 *
 * where [] is there if it is not kept. With whole blocks made again the attention half
 * must stay until the feed-forward half went back, so its part comes before that place.
 * A map's FP8 codes are needed only while it is multiplied: they lie behind what its half
 * has made by then, where the half's later things come (gate and up have theirs in the
 * place of their product, which is not there yet, or no more).
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "trainer/llama_internal.h"
#include "trainer/rope.h"

/* All begin at multiples of 256 bytes: matrix products choose their algorithms by
 * alignment, too, and what is made again must have the same bits. */
#define GRAIN 128

static size_t take(size_t *at, size_t n)
{
    size_t here = *at;
    *at += (n + GRAIN - 1) / GRAIN * GRAIN;
    return here;
}

/* Elements of a set: activations, sums, which are always float32, and codes of FP8. */
struct need {
    size_t acts, sums, f8;
};

/* Rows of this layer's own where that is kept; else those that all share. */
static struct kj_mat keep(bool kept, struct kj_tensor *t, size_t *at, size_t n,
                          size_t width, struct kj_mat shared)
{
    return kept ? kj_mat(t, take(at, n * width), width) : shared;
}

enum kj_recompute kj_llama_again(const struct kj_llama_how *how, size_t i)
{
    bool deeper = i < how->deeper && how->recompute < KJ_RECOMPUTE_BLOCK;
    return how->train ? how->recompute + deeper : KJ_RECOMPUTE_NONE;
}

/* Where layer i's set begins, of sets of two sizes. */
static size_t set_at(const struct kj_llama *m, size_t i, const size_t size[2])
{
    size_t deep = i < m->how.deeper ? i : m->how.deeper;
    return m->how.train ? deep * size[0] + (i - deep) * size[1] : 0;
}

/* Room for the codes of a map's input: n columns, from 256 bytes on. */
static struct kj_llama_kept keep_codes(bool kept, const struct kj_llama *m, size_t *at,
                                       size_t *as, size_t width)
{
    const struct kj_llama_acts *a = m->acts;
    size_t stride = (m->how.tokens + 15) / 16 * 16, here = *at;
    if (!kept)
        return (struct kj_llama_kept){KJ_MAT_NONE, KJ_MAT_NONE};
    *at += (width * stride + 255) / 256 * 256;
    return (struct kj_llama_kept){kj_mat(a->f8.kept, here, stride),
                                  kj_mat(a->layer_sums, take(as, 1), 1)};
}

static struct need layer_acts(const struct kj_llama *m, size_t i,
                              struct kj_llama_layer_acts *l)
{
    const struct kj_llama_acts *a = m->acts;
    const struct kj_llama_layer_acts *s = &a->shared;
    struct kj_llama_dims d = kj_llama_dims(&m->shape);
    struct kj_tensor *t = a->layers, *f = a->layer_sums;
    enum kj_recompute again = kj_llama_again(&m->how, i);
    size_t n = m->how.tokens, from = set_at(m, i, a->per_layer), at = from;
    size_t from_s = set_at(m, i, a->sums_layer), as = from_s;
    size_t from_8 = set_at(m, i, a->f8_layer), at8 = from_8;
    const struct kj_llama_how *how = &m->how;
    bool f8_y1 = how->train && kj_llama_f8_fits(how, d.qkv, d.h);
    bool f8_y2 = how->train && kj_llama_f8_fits(how, 2 * d.f, d.h);
    bool f8_h = how->train && kj_llama_f8_fits(how, d.h, d.f);
    bool swiglu = again < KJ_RECOMPUTE_SWIGLU;
    bool norm = again < KJ_RECOMPUTE_NORM, block = again < KJ_RECOMPUTE_BLOCK;
    l->x1 = kj_mat(t, take(&at, n * d.h), d.h);
    l->r1 = kj_mat(f, take(&as, n), 1);
    l->y1 = keep(norm && !f8_y1, t, &at, n, d.h, s->y1);
    l->qkv = keep(again < KJ_RECOMPUTE_QKV, t, &at, n, d.qkv, s->qkv);
    l->att = keep(block, t, &at, n, d.q, s->att);
    l->lse = keep(block, f, &as, n, d.heads, s->lse);
    l->x2 = keep(block, t, &at, n, d.h, s->x2);
    l->r2 = keep(block, f, &as, n, 1, s->r2);
    l->y2 = keep(norm && !f8_y2, t, &at, n, d.h, s->y2);
    l->gu = keep(again < KJ_RECOMPUTE_FFN, t, &at, n, 2 * d.f, s->gu);
    l->h = keep(swiglu && !f8_h, t, &at, n, d.f, s->h);
    l->kept_y1 = keep_codes(norm && f8_y1, m, &at8, &as, d.h);
    l->kept_y2 = keep_codes(norm && f8_y2, m, &at8, &as, d.h);
    l->kept_h = keep_codes(swiglu && f8_h, m, &at8, &as, d.f);
    return (struct need){at - from, as - from_s, at8 - from_8};
}

void kj_llama_layer_acts(const struct kj_llama *m, size_t i,
                         struct kj_llama_layer_acts *l)
{
    layer_acts(m, i, l);
}

/* Of the first layer and of the last; without layers that go deeper, the same. */
static void set_sizes(const struct kj_llama *m)
{
    struct kj_llama_layer_acts l;
    for (size_t i = 0; i < 2; i++) {
        struct need need = layer_acts(m, i ? (size_t)m->shape.layers - 1 : 0, &l);
        m->acts->per_layer[i] = need.acts;
        m->acts->sums_layer[i] = need.sums;
        m->acts->f8_layer[i] = need.f8;
    }
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Whether a map's input is made again, or read once more, on its way back. */
static bool input_again(const struct kj_llama *m, enum kj_llama_map map)
{
    static const enum kj_recompute from[KJ_MAPS] = {
        KJ_RECOMPUTE_NORM, KJ_RECOMPUTE_NONE, KJ_RECOMPUTE_NORM, KJ_RECOMPUTE_SWIGLU};
    return kj_llama_again(&m->how, 0) >= from[map];
}

/* A map's codes behind `at` of rest; what comes behind them. */
static size_t codes(const struct kj_llama *m, enum kj_llama_map map, bool back,
                    size_t at)
{
    struct kj_llama_acts *a = m->acts;
    size_t bytes = kj_llama_f8_codes(m, map, back, input_again(m, map));
    a->f8.at[back][map] = at * a->width;
    take(&at, (bytes + a->width - 1) / a->width);
    return at;
}

/* In training; see above. */
static size_t shared_acts(const struct kj_llama *m, size_t at)
{
    struct kj_llama_acts *a = m->acts;
    struct kj_llama_layer_acts *s = &a->shared;
    struct kj_llama_dims d = kj_llama_dims(&m->shape);
    struct kj_tensor *t = a->rest;
    size_t n = m->how.tokens, chunk = m->how.chunk;
    enum kj_recompute most = kj_llama_again(&m->how, 0);
    s->y1 = s->y2 = a->y;
    if (most == KJ_RECOMPUTE_BLOCK) {
        s->x2 = kj_mat(t, take(&at, n * d.h), d.h);
        s->att = kj_mat(t, take(&at, n * d.q), d.q);
        s->qkv = kj_mat(t, take(&at, n * d.qkv), d.qkv);
    }
    size_t ffn = at, attn = at, head = at, end;
    if (most >= KJ_RECOMPUTE_FFN)
        s->gu = kj_mat(t, take(&ffn, n * 2 * d.f), 2 * d.f);
    end = larger(codes(m, KJ_MAP_GU, false, ffn), codes(m, KJ_MAP_GU, true, ffn));
    s->h = a->dh = kj_mat(t, take(&ffn, n * d.f), d.f);
    end = larger(end, codes(m, KJ_MAP_DOWN, false, ffn));
    end = larger(end, codes(m, KJ_MAP_DOWN, true, ffn));
    if (most == KJ_RECOMPUTE_QKV)
        s->qkv = kj_mat(t, take(&attn, n * d.qkv), d.qkv);
    end = larger(end, codes(m, KJ_MAP_QKV, false, attn));
    end = larger(end, codes(m, KJ_MAP_O, false, attn));
    a->datt = kj_mat(t, take(&attn, n * d.q), d.q);
    end = larger(end, codes(m, KJ_MAP_O, true, attn));
    a->dqkv = kj_mat(t, take(&attn, n * d.qkv), d.qkv);
    end = larger(end, codes(m, KJ_MAP_QKV, true, attn));
    a->x = kj_mat(t, take(&head, n * d.h), d.h);
    a->logits = kj_mat(t, take(&head, chunk * d.v), d.v);
    return larger(larger(end, head), larger(ffn, attn));
}

/* Behind all else. */
static size_t forward_codes(const struct kj_llama *m, size_t at)
{
    size_t end = at;
    for (enum kj_llama_map i = 0; i < KJ_MAPS; i++)
        end = larger(end, codes(m, i, false, at));
    return end;
}

static struct need rest_acts(const struct kj_llama *m)
{
    struct kj_llama_acts *a = m->acts;
    struct kj_llama_dims d = kj_llama_dims(&m->shape);
    struct kj_tensor *t = a->rest, *f = a->rest_sums;
    size_t n = m->how.tokens, at = 0, as = 0;
    a->delta = a->dy = kj_mat(t, take(&at, n * d.h), d.h);
    a->y = kj_mat(t, take(&at, n * d.h), d.h);
    a->r = kj_mat(f, take(&as, n), 1);
    a->loss = kj_mat(f, take(&as, n), 1);
    a->lse = kj_mat(f, take(&as, n), 1);
    if (m->how.train) {
        a->dres = kj_mat(t, take(&at, n * d.h), d.h);
        at = shared_acts(m, at);
        a->shared.lse = kj_mat(f, take(&as, n * d.heads), d.heads);
        a->shared.r2 = kj_mat(f, take(&as, n), 1);
    } else {
        a->x = kj_mat(t, take(&at, n * d.h), d.h);
        a->logits = kj_mat(t, take(&at, m->how.chunk * d.v), d.v);
        at = forward_codes(m, at);
    }
    if (m->how.f8)
        a->f8.scales = kj_mat(f, take(&as, KJ_OPERANDS), 1);
    if (m->how.f8)
        a->f8.most = kj_mat(f, take(&as, kj_llama_mosts(&m->shape)), 1);
    if (m->how.train)
        a->scale = kj_mat(f, take(&as, 1), 1);
    return (struct need){at, as, 0};
}

static struct kj_llama_how how_of(const struct kj_run *run)
{
    return (struct kj_llama_how){.tokens =
                                     (size_t)(run->data.micro * run->data.seq_len),
                                 .chunk = (size_t)run->optim.loss_chunk,
                                 .bf16 = run->optim.precision != KJ_PRECISION_F32,
                                 .states_bf16 = run->optim.states == KJ_STATES_BF16,
                                 .recompute = (enum kj_recompute)run->optim.recompute,
                                 .deeper = (size_t)run->optim.deeper,
                                 .again = true};
}

struct kj_llama_how kj_llama_how_of(const struct kj_run *run, int rank, int ranks)
{
    struct kj_llama_how how = how_of(run);
    how.train = true;
    how.f8 = run->optim.precision == KJ_PRECISION_FP8;
    if (run->optim.kind != KJ_OPTIM_MUON) {
        how.rank = rank;
        how.ranks = ranks;
        how.zero = (int)run->optim.zero;
    }
    return how;
}

struct kj_llama_how kj_llama_how_teacher(const struct kj_run *run, bool bf16)
{
    struct kj_llama_how how = how_of(run);
    how.states_bf16 |= how.bf16 && bf16;
    return how;
}

void kj_llama_needs(const struct kj_shape *s, const struct kj_llama_how *how, bool bf16,
                    struct kj_llama_need need[KJ_LT_COUNT])
{
    struct kj_llama_acts a = {.width = bf16 && how->bf16 ? 2 : 4};
    struct kj_llama m = {.shape = *s, .how = *how, .acts = &a};
    struct kj_llama_layer_acts l;
    size_t count, n, own = kj_llama_own(s, how), slots = kj_llama_slots(s, how);
    enum kj_dtype low = bf16 && how->bf16 ? KJ_BF16 : KJ_F32;
    enum kj_dtype state = how->states_bf16 ? KJ_BF16 : KJ_F32;
    m.how.chunk = how->chunk < how->tokens ? how->chunk : how->tokens;
    set_sizes(&m);
    size_t end = how->train ? (size_t)s->layers : 1;
    struct need last = layer_acts(&m, end - 1, &l), rest = rest_acts(&m);
    size_t acts = set_at(&m, end - 1, a.per_layer) + last.acts;
    size_t sums = set_at(&m, end - 1, a.sums_layer) + last.sums;
    size_t kept = set_at(&m, end - 1, a.f8_layer) + last.f8;
    free(kj_llama_params(s, &count, &n));
    bool copy = low == KJ_BF16 && state == KJ_F32;
    const struct kj_llama_need all[KJ_LT_COUNT] = {
        [KJ_LT_WEIGHTS] = {KJ_MEM_WEIGHTS, state, copy ? own : n},
        [KJ_LT_GRADS] = {KJ_MEM_GRADS, state,
                         !how->train ? 0
                         : slots     ? own
                                     : n},
        [KJ_LT_LOW] = {KJ_MEM_LOW, KJ_BF16, copy ? n : 0},
        [KJ_LT_SLOTS] = {KJ_MEM_GRADS, state, slots},
        [KJ_LT_LAYERS] = {KJ_MEM_ACTS, low, acts},
        [KJ_LT_LAYER_SUMS] = {KJ_MEM_ACTS, KJ_F32, sums},
        [KJ_LT_REST] = {KJ_MEM_ACTS, low, rest.acts},
        [KJ_LT_REST_SUMS] = {KJ_MEM_ACTS, KJ_F32, rest.sums},
        [KJ_LT_F8_KEPT] = {KJ_MEM_ACTS, KJ_E4M3, kept},
        [KJ_LT_IDS] = {KJ_MEM_ACTS, KJ_I32, how->tokens},
        [KJ_LT_POS] = {KJ_MEM_ACTS, KJ_I32, how->tokens},
        [KJ_LT_TARGETS] = {KJ_MEM_ACTS, KJ_I32, how->tokens},
        [KJ_LT_ROPE] = {KJ_MEM_ACTS, KJ_F32, (size_t)(s->max_positions * s->head_dim)},
    };
    memcpy(need, all, sizeof all);
}

static struct kj_tensor *make(struct kj_llama *m, const struct kj_llama_need *need)
{
    return need->n ? m->b->ops->tensor_new(m->b, need->type, need->n) : NULL;
}

void kj_llama_acts_new(struct kj_llama *m)
{
    struct kj_llama_need need[KJ_LT_COUNT];
    struct kj_llama_acts *a = m->acts = kj_xcalloc(1, sizeof *a);
    kj_llama_needs(&m->shape, &m->how, m->b->ops->bf16, need);
    set_sizes(m);
    a->layers = make(m, &need[KJ_LT_LAYERS]);
    a->layer_sums = make(m, &need[KJ_LT_LAYER_SUMS]);
    a->rest = make(m, &need[KJ_LT_REST]);
    a->rest_sums = make(m, &need[KJ_LT_REST_SUMS]);
    a->f8.kept = make(m, &need[KJ_LT_F8_KEPT]);
    if (m->how.f8) {
        a->f8.e4m3 = m->b->ops->tensor_view(m->b, a->rest, KJ_E4M3);
        a->f8.e5m2 = m->b->ops->tensor_view(m->b, a->rest, KJ_E5M2);
    }
    a->width = need[KJ_LT_REST].type == KJ_BF16 ? 2 : 4;
    rest_acts(m);
    a->ids = make(m, &need[KJ_LT_IDS]);
    a->pos = make(m, &need[KJ_LT_POS]);
    a->targets = make(m, &need[KJ_LT_TARGETS]);
    a->rope = make(m, &need[KJ_LT_ROPE]);
    a->host = kj_xcalloc(m->how.tokens, sizeof *a->host);
    if (a->rope)
        kj_rope_table(m->b, &m->shape, a->rope, (size_t)m->shape.max_positions);
}

void kj_llama_acts_free(struct kj_llama *m)
{
    struct kj_llama_acts *a = m->acts;
    if (!a)
        return;
    struct kj_tensor *t[] = {a->f8.e4m3, a->f8.e5m2,   a->layers,  a->layer_sums,
                             a->rest,    a->rest_sums, a->f8.kept, a->ids,
                             a->pos,     a->targets,   a->rope};
    for (size_t i = 0; i < sizeof t / sizeof *t; i++)
        m->b->ops->tensor_free(m->b, t[i]);
    free(a->host);
    free(a);
    m->acts = NULL;
}
