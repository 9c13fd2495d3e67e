/* any.c - bfloat16 operands for every operation of the CPU.
 *
 * An operation that meets bfloat16 gets float32 copies of those operands and runs as
 * always; what it wrote is rounded back to nearest, gradients by weights by chance if
 * the back end says so. Copies are packed, so that operands
 * of one operation may be slices of one matrix or, where the operation allows it,
 * the same memory. Of tables that are read by number (embeddings) only the rows that
 * occur are copied. Slower than float32, the same numbers as on devices that
 * compute in float32 and store bfloat16.
 *
 * Operations on runs of elements (axpby, sumsq, adamw, zero, reads and writes) do
 * without copies: cpu.c, axpby.c, adamw_bf16.c.
 */
#include <stdlib.h>

#include "base/mem.h"
#include "nn/cpu/loop.h"

enum how { IN = 1, OUT = 2, INOUT = 3, GRADIENT = 7 };

/* The operands of one call as it goes on. */
struct any {
    struct kj_cpu *c;
    const char *op;
    size_t n;
    struct operand {
        struct kj_mat was, now;
        struct kj_tensor t;
        size_t rows, cols;
        enum how how;
        uint64_t chance;
    } list[KJ_CPU_WIDE];
};

static struct kj_ops plain; /* the operations on float32 */

static bool low(struct kj_mat m)
{
    return m.t && m.t->type == KJ_BF16;
}

/* What was written raises `most` when all is in its place, rounded. */
static void raise_most(struct any *a, struct kj_mat most, struct kj_mat y, size_t n,
                       size_t h)
{
    if (most.t && !a->c->base.fault.rc)
        kj_cpu_most(&a->c->base, most, y, n, h);
}

static struct any begin(struct kj_backend *b, const char *op)
{
    return (struct any){.c = kj_cpu_of(b), .op = op};
}

static void copy_in(void *ctx, size_t task, unsigned worker)
{
    const struct operand *o = ctx;
    size_t per = kj_cpu_per_task(o->cols), i = task * per;
    (void)worker;
    for (size_t end = i + per < o->rows ? i + per : o->rows; i < end; i++)
        kj_cpu_load((float *)o->t.p + i * o->cols, o->was, i * o->was.stride, o->cols);
}

static void copy_out(void *ctx, size_t task, unsigned worker)
{
    const struct operand *o = ctx;
    size_t per = kj_cpu_per_task(o->cols), i = task * per;
    (void)worker;
    for (size_t end = i + per < o->rows ? i + per : o->rows; i < end; i++) {
        const float *x = (float *)o->t.p + i * o->cols;
        if (o->chance)
            kj_cpu_store_by(o->was, i * o->was.stride, x, o->cols, o->chance);
        else
            kj_cpu_store(o->was, i * o->was.stride, x, o->cols);
    }
}

static void over_rows(const struct any *a, struct operand *o, kj_pool_fn *fn)
{
    size_t per = kj_cpu_per_task(o->cols);
    kj_pool_run(a->c->pool, (o->rows + per - 1) / per, fn, o);
}

/* Put a float32 copy in m's place if it is bfloat16. */
static void widen(struct any *a, struct kj_mat *m, size_t rows, size_t cols,
                  enum how how)
{
    if (!low(*m) || !kj_cpu_fits(&a->c->base, a->op, *m, rows, cols))
        return;
    struct operand *o = &a->list[a->n];
    size_t n = rows && cols ? rows * cols : 1;
    if (!kj_cpu_grow(a->c, a->op, &a->c->wide[a->n], n))
        return;
    a->n++;
    *o = (struct operand){.was = *m,
                          .t = {KJ_F32, n, a->c->wide[a->n - 1].p},
                          .rows = rows,
                          .cols = cols};
    o->how = how;
    o->chance = how == GRADIENT ? a->c->base.chance : 0;
    *m = kj_mat(&o->t, 0, cols);
    if (how & IN)
        over_rows(a, o, copy_in);
}

static void finish(struct any *a)
{
    for (size_t i = 0; i < a->n && !a->c->base.fault.rc; i++)
        if (a->list[i].how & OUT)
            over_rows(a, &a->list[i], copy_out);
}

/* ---- rows by number ---- */

/* The rows that ids name, each once and rising, and ids as places among these. */
struct few {
    size_t n;
    int32_t *rows, *places;
    struct kj_tensor of, t;
    struct kj_mat ids;
};

static int rising(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

static void few_of(struct few *f, const int32_t *ids, size_t n)
{
    f->rows = kj_xcalloc(n + 1, sizeof *f->rows);
    f->places = kj_xcalloc(n + 1, sizeof *f->places);
    f->n = 0;
    for (size_t i = 0; i < n; i++)
        f->rows[i] = ids[i];
    qsort(f->rows, n, sizeof *f->rows, rising);
    for (size_t i = 0; i < n; i++)
        if (i == 0 || f->rows[i] != f->rows[i - 1])
            f->rows[f->n++] = f->rows[i];
    for (size_t i = 0; i < n; i++) {
        const int32_t *at = bsearch(&ids[i], f->rows, f->n, sizeof *f->rows, rising);
        f->places[i] = (int32_t)(at - f->rows);
    }
    f->of = (struct kj_tensor){KJ_I32, n, f->places, false};
    f->ids = kj_mat(&f->of, 0, 1);
}

/* A float32 copy of those rows of w in its place. */
static bool gather(struct any *a, struct few *f, struct kj_mat *w, size_t h)
{
    struct scratch *s = &a->c->wide[KJ_CPU_WIDE - 1];
    struct kj_mat from = *w;
    if (!kj_cpu_grow(a->c, a->op, s, f->n * h + 1))
        return false;
    f->t = (struct kj_tensor){KJ_F32, f->n * h + 1, s->p, false};
    for (size_t i = 0; i < f->n; i++)
        kj_cpu_load(s->p + i * h, from, (size_t)f->rows[i] * from.stride, h);
    *w = kj_mat(&f->t, 0, h);
    return true;
}

static void few_free(struct few *f)
{
    free(f->rows);
    free(f->places);
}

static bool table_fits(struct kj_backend *b, const char *op, struct kj_mat w,
                       struct kj_mat ids, size_t n, size_t h)
{
    return kj_cpu_fits(b, op, w, 1, h) && kj_cpu_inside(b, op, ids, 1, n) &&
           (n == 0 || kj_cpu_ids_valid(b, op, w, kj_cpu_i32(ids), n, h));
}

static void embed(struct kj_backend *b, struct kj_mat y, struct kj_mat w,
                  struct kj_mat ids, size_t n, size_t h)
{
    struct any a = begin(b, "embed");
    struct few f = {0};
    if (low(w)) {
        if (!table_fits(b, a.op, w, ids, n, h))
            return;
        few_of(&f, n ? kj_cpu_i32(ids) : NULL, n);
        if (gather(&a, &f, &w, h))
            ids = f.ids;
    }
    widen(&a, &y, n, h, OUT);
    plain.embed(b, y, w, ids, n, h);
    finish(&a);
    few_free(&f);
}

static void embed_back(struct kj_backend *b, struct kj_mat dw, struct kj_mat dy,
                       struct kj_mat ids, size_t n, size_t h)
{
    struct any a = begin(b, "embed_back");
    struct few f = {0};
    struct kj_mat was = dw;
    if (low(dw)) {
        if (!table_fits(b, a.op, dw, ids, n, h))
            return;
        few_of(&f, n ? kj_cpu_i32(ids) : NULL, n);
        if (gather(&a, &f, &dw, h))
            ids = f.ids;
    }
    widen(&a, &dy, n, h, IN);
    plain.embed_back(b, dw, dy, ids, n, h);
    for (size_t i = 0; i < f.n && !b->fault.rc; i++) {
        size_t to = (size_t)f.rows[i] * was.stride;
        if (b->chance) /* not as a head's that is the same matrix */
            kj_cpu_store_by(was, to, (float *)dw.t->p + i * h, h, b->chance + 1);
        else
            kj_cpu_store(was, to, (float *)dw.t->p + i * h, h);
    }
    few_free(&f);
}

static void embed_mean(struct kj_backend *b, struct kj_mat y, struct kj_mat w,
                       struct kj_mat ids, struct kj_mat cu, size_t n, size_t h)
{
    struct any a = begin(b, "embed_mean");
    struct few f = {0};
    if (low(w)) {
        if (!kj_cpu_inside(b, a.op, cu, 1, n + 1))
            return;
        int32_t all = kj_cpu_i32(cu)[n];
        if (all < 0 || !table_fits(b, a.op, w, ids, (size_t)all, h))
            return;
        few_of(&f, all ? kj_cpu_i32(ids) : NULL, (size_t)all);
        if (gather(&a, &f, &w, h))
            ids = f.ids;
    }
    widen(&a, &y, n, h, OUT);
    plain.embed_mean(b, y, w, ids, cu, n, h);
    finish(&a);
    few_free(&f);
}

/* ---- the others ---- */

static void scale(struct kj_backend *b, struct kj_mat x, size_t n, float s)
{
    if (low(x))
        kj_cpu_axpby(b, x, x, n, s, 0.0f);
    else
        plain.scale(b, x, n, s);
}

static void matmul(struct kj_backend *b, struct kj_mat c, struct kj_mat a,
                   struct kj_mat bb, size_t m, size_t n, size_t k, unsigned flags)
{
    bool ta = flags & KJ_MM_TA, tb = flags & KJ_MM_TB;
    struct any l = begin(b, "matmul");
    widen(&l, &a, ta ? k : m, ta ? m : k, IN);
    widen(&l, &bb, tb ? n : k, tb ? k : n, IN);
    widen(&l, &c, m, n, flags & KJ_MM_ADD ? GRADIENT : OUT);
    plain.matmul(b, c, a, bb, m, n, k, flags);
    finish(&l);
}

static void quantize(struct kj_backend *b, struct kj_mat q, struct kj_mat qt,
                     struct kj_mat s, struct kj_mat x, struct kj_mat most, size_t n,
                     size_t h)
{
    struct any a = begin(b, "quantize");
    widen(&a, &x, n, h, IN);
    plain.quantize(b, q, qt, s, x, most, n, h);
}

static void matmul_f8(struct kj_backend *b, struct kj_mat c, struct kj_mat a,
                      struct kj_mat sa, struct kj_mat bb, struct kj_mat sb, size_t m,
                      size_t n, size_t k, unsigned flags)
{
    struct any l = begin(b, "matmul_f8");
    widen(&l, &c, m, n, flags & KJ_MM_ADD ? GRADIENT : OUT);
    plain.matmul_f8(b, c, a, sa, bb, sb, m, n, k, flags);
    finish(&l);
}

static void norm(struct kj_backend *b, struct kj_mat y, struct kj_mat s,
                 struct kj_mat r, struct kj_mat x, struct kj_mat delta, struct kj_mat w,
                 size_t n, size_t h, float eps)
{
    struct any a = begin(b, "norm");
    struct kj_mat most = kj_backend_take_most(b), to = y;
    if (delta.t)
        widen(&a, &s, n, h, OUT);
    widen(&a, &y, n, h, OUT);
    widen(&a, &x, n, h, IN);
    widen(&a, &delta, n, h, IN);
    widen(&a, &w, 1, h, IN);
    plain.norm(b, y, s, r, x, delta, w, n, h, eps);
    finish(&a);
    raise_most(&a, most, to, n, h);
}

static void norm_back(struct kj_backend *b, struct kj_mat dx, struct kj_mat dw,
                      struct kj_mat dy, struct kj_mat s, struct kj_mat r,
                      struct kj_mat w, size_t n, size_t h, bool add)
{
    struct any a = begin(b, "norm_back");
    struct kj_mat most = kj_backend_take_most(b), to = dx;
    widen(&a, &dx, n, h, add ? INOUT : OUT);
    widen(&a, &dw, 1, h, GRADIENT);
    widen(&a, &dy, n, h, IN);
    widen(&a, &s, n, h, IN);
    widen(&a, &w, 1, h, IN);
    plain.norm_back(b, dx, dw, dy, s, r, w, n, h, add);
    finish(&a);
    raise_most(&a, most, to, n, h);
}

static void layer_norm(struct kj_backend *b, struct kj_mat y, struct kj_mat x,
                       struct kj_mat delta, struct kj_mat bias, struct kj_mat w,
                       struct kj_mat c, size_t n, size_t h, float eps)
{
    struct any a = begin(b, "layer_norm");
    widen(&a, &y, n, h, OUT);
    widen(&a, &x, n, h, IN);
    widen(&a, &delta, n, h, IN);
    widen(&a, &bias, 1, h, IN);
    widen(&a, &w, 1, h, IN);
    widen(&a, &c, 1, h, IN);
    plain.layer_norm(b, y, x, delta, bias, w, c, n, h, eps);
    finish(&a);
}

static void bias_act(struct kj_backend *b, struct kj_mat x, struct kj_mat bias,
                     size_t n, size_t h, enum kj_act act)
{
    struct any a = begin(b, "bias_act");
    widen(&a, &x, n, h, INOUT);
    widen(&a, &bias, 1, h, IN);
    plain.bias_act(b, x, bias, n, h, act);
    finish(&a);
}

static void act_back(struct kj_backend *b, struct kj_mat dx, struct kj_mat dbias,
                     struct kj_mat dy, struct kj_mat y, size_t n, size_t h,
                     enum kj_act act)
{
    struct any a = begin(b, "act_back");
    widen(&a, &dx, n, h, OUT);
    widen(&a, &dbias, 1, h, GRADIENT);
    widen(&a, &dy, n, h, IN);
    widen(&a, &y, n, h, IN);
    plain.act_back(b, dx, dbias, dy, y, n, h, act);
    finish(&a);
}

static void rope(struct kj_backend *b, struct kj_mat x, struct kj_mat pos,
                 struct kj_mat table, size_t n, size_t heads, size_t dim, bool inverse)
{
    struct any a = begin(b, "rope");
    struct kj_mat most = kj_backend_take_most(b), to = x;
    widen(&a, &x, n, heads * dim, INOUT);
    plain.rope(b, x, pos, table, n, heads, dim, inverse);
    finish(&a);
    raise_most(&a, most, to, n, heads * dim);
}

/* Where the list of segments ends; what is wrong with it, the operation will say. */
static size_t rows_of(const int32_t *cu, size_t segs)
{
    return segs && cu[segs] > 0 ? (size_t)cu[segs] : 0;
}

static void widen_attn(struct any *a, struct kj_attn *x, bool back)
{
    size_t nq = rows_of(x->cu_q, x->segs), nk = rows_of(x->cu_k, x->segs);
    widen(a, &x->q, nq, x->heads * x->dim, IN);
    widen(a, &x->k, nk, x->kv_heads * x->dim, IN);
    widen(a, &x->v, nk, x->kv_heads * x->dim, IN);
    /* In and out, since rows before the first segment stay as they are. */
    widen(a, &x->o, nq, x->heads * x->dim, back ? IN : INOUT);
}

static void attention(struct kj_backend *b, const struct kj_attn *p)
{
    struct any a = begin(b, "attention");
    struct kj_attn x = *p;
    widen_attn(&a, &x, false);
    plain.attention(b, &x);
    finish(&a);
}

static void attention_back(struct kj_backend *b, const struct kj_attn *p,
                           const struct kj_attn_grad *q)
{
    struct any a = begin(b, "attention_back");
    struct kj_attn x = *p;
    struct kj_attn_grad g = *q;
    size_t nq = rows_of(x.cu_q, x.segs), nk = rows_of(x.cu_k, x.segs);
    widen_attn(&a, &x, true);
    widen(&a, &g.d_o, nq, x.heads * x.dim, IN);
    widen(&a, &g.dq, nq, x.heads * x.dim, INOUT);
    widen(&a, &g.dk, nk, x.kv_heads * x.dim, INOUT);
    widen(&a, &g.dv, nk, x.kv_heads * x.dim, INOUT);
    plain.attention_back(b, &x, &g);
    finish(&a);
}

static void swiglu(struct kj_backend *b, struct kj_mat h, struct kj_mat g,
                   struct kj_mat u, size_t n, size_t f)
{
    struct any a = begin(b, "swiglu");
    struct kj_mat most = kj_backend_take_most(b), to = h;
    widen(&a, &h, n, f, OUT);
    widen(&a, &g, n, f, IN);
    widen(&a, &u, n, f, IN);
    plain.swiglu(b, h, g, u, n, f);
    finish(&a);
    raise_most(&a, most, to, n, f);
}

static void swiglu_back(struct kj_backend *b, struct kj_mat dg, struct kj_mat du,
                        struct kj_mat dh, struct kj_mat g, struct kj_mat u, size_t n,
                        size_t f)
{
    struct any a = begin(b, "swiglu_back");
    struct kj_mat most = kj_backend_take_most(b), to_g = dg, to_u = du;
    widen(&a, &dg, n, f, OUT);
    widen(&a, &du, n, f, OUT);
    widen(&a, &dh, n, f, IN);
    widen(&a, &g, n, f, IN);
    widen(&a, &u, n, f, IN);
    plain.swiglu_back(b, dg, du, dh, g, u, n, f);
    finish(&a);
    raise_most(&a, most, to_g, n, f);
    raise_most(&a, most, to_u, n, f);
}

static void cross_entropy(struct kj_backend *b, struct kj_mat z, struct kj_mat loss,
                          struct kj_mat lse, struct kj_mat targets, size_t n, size_t v,
                          float s, struct kj_mat by, float zeta, bool grad)
{
    struct any a = begin(b, "cross_entropy");
    widen(&a, &z, n, v, grad ? INOUT : IN);
    plain.cross_entropy(b, z, loss, lse, targets, n, v, s, by, zeta, grad);
    finish(&a);
}

static void distil(struct kj_backend *b, struct kj_mat z, struct kj_mat t,
                   struct kj_mat loss, struct kj_mat kl, struct kj_mat targets,
                   size_t n, size_t v, const struct kj_distil *p)
{
    struct any a = begin(b, "distil");
    widen(&a, &z, n, v, INOUT);
    widen(&a, &t, n, v, INOUT);
    plain.distil(b, z, t, loss, kl, targets, n, v, p);
    finish(&a);
}

static void reduce_scatter(struct kj_backend *b, struct kj_mat x, size_t n)
{
    struct any a = begin(b, "reduce_scatter");
    widen(&a, &x, 1, n, INOUT);
    plain.reduce_scatter(b, x, n);
    finish(&a);
}

static void all_gather(struct kj_backend *b, struct kj_mat x, size_t n)
{
    struct any a = begin(b, "all_gather");
    widen(&a, &x, 1, n, INOUT);
    plain.all_gather(b, x, n);
    finish(&a);
}

void kj_cpu_any(struct kj_ops *o)
{
    plain = *o;
    o->scale = scale;
    o->matmul = matmul;
    o->quantize = quantize;
    o->matmul_f8 = matmul_f8;
    o->embed = embed;
    o->embed_back = embed_back;
    o->embed_mean = embed_mean;
    o->norm = norm;
    o->norm_back = norm_back;
    o->layer_norm = layer_norm;
    o->bias_act = bias_act;
    o->act_back = act_back;
    o->rope = rope;
    o->attention = attention;
    o->attention_back = attention_back;
    o->swiglu = swiglu;
    o->swiglu_back = swiglu_back;
    o->cross_entropy = cross_entropy;
    o->distil = distil;
    o->reduce_scatter = reduce_scatter;
    o->all_gather = all_gather;
}
