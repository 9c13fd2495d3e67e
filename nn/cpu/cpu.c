/* cpu.c - the CPU back end: memory, and the operations that work row by row.
 *
 * Loops over rows are cut into tasks of about GRAIN elements, by shape alone.
 * Sums over rows (weights' gradients of norms) are first made for blocks of
 * 64 rows, then over the blocks in order; the same at every thread count.
 */
#include "nn/cpu/cpu.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define GRAIN     16384
#define NORM_ROWS 64

bool kj_cpu_inside(struct kj_backend *b, const char *op, struct kj_mat m, size_t rows,
                   size_t cols)
{
    if (b->fault.rc)
        return false;
    if (rows == 0 || cols == 0)
        return true;
    if (!m.t) {
        kj_backend_fault(b, op, "an operand is missing");
        return false;
    }
    if ((rows > 1 && m.stride < cols) || m.at > m.t->n || cols > m.t->n - m.at ||
        (rows > 1 && (m.t->n - m.at - cols) / m.stride < rows - 1)) {
        kj_backend_fault(b, op,
                         "%zu rows of %zu (stride %zu, from %zu) in %zu elements", rows,
                         cols, m.stride, m.at, m.t->n);
        return false;
    }
    return true;
}

static bool grow(struct kj_cpu *c, const char *op, struct scratch *s, size_t n)
{
    if (s->n >= n)
        return true;
    free(s->p);
    s->n = 0;
    s->p = aligned_alloc(64, (n * sizeof(float) + 63) / 64 * 64);
    if (!s->p) {
        kj_backend_fault(&c->base, op, "no memory for %zu bytes", n * sizeof(float));
        return false;
    }
    s->n = n;
    return true;
}

bool kj_cpu_scratch(struct kj_cpu *c, const char *op, size_t n, size_t n0)
{
    for (unsigned i = 0; i < c->base.threads; i++)
        if (!grow(c, op, &c->scratch[i], n))
            return false;
    return grow(c, op, &c->scratch[c->base.threads], n0);
}

/* ---- memory ---- */

static struct kj_tensor *tensor_new(struct kj_backend *b, enum kj_dtype type, size_t n)
{
    if (b->fault.rc)
        return NULL;
    size_t bytes = n <= SIZE_MAX / 4 - 64 ? (n * 4 + 63) / 64 * 64 : 0;
    void *p = bytes || n == 0 ? aligned_alloc(64, bytes ? bytes : 64) : NULL;
    if (!p) {
        kj_backend_fault(b, "tensor", "no memory for %zu elements", n);
        return NULL;
    }
    memset(p, 0, bytes ? bytes : 64);
    struct kj_tensor *t = kj_xcalloc(1, sizeof *t);
    t->type = type;
    t->n = n;
    t->p = p;
    b->bytes += (int64_t)bytes;
    if (b->bytes > b->peak)
        b->peak = b->bytes;
    return t;
}

static void tensor_free(struct kj_backend *b, struct kj_tensor *t)
{
    if (!t)
        return;
    b->bytes -= (int64_t)((t->n * 4 + 63) / 64 * 64);
    free(t->p);
    free(t);
}

static size_t tensor_size(const struct kj_tensor *t)
{
    return t ? t->n : 0;
}

static void write_host(struct kj_backend *b, struct kj_tensor *t, size_t at,
                       const void *src, size_t n)
{
    if (n && kj_cpu_inside(b, "write", kj_mat(t, at, n), 1, n))
        memcpy((char *)t->p + at * 4, src, n * 4);
}

static void read_host(struct kj_backend *b, const struct kj_tensor *t, size_t at,
                      void *dst, size_t n)
{
    struct kj_tensor *u = (struct kj_tensor *)(uintptr_t)t;
    if (n && kj_cpu_inside(b, "read", kj_mat(u, at, n), 1, n))
        memcpy(dst, (const char *)t->p + at * 4, n * 4);
}

/* ---- loops ---- */

struct loop {
    struct kj_cpu *c;
    size_t n, per; /* items in all and in a task */
    size_t h, heads;
    struct kj_mat a, b, d, e, f, g;
    float s, z;
    bool flag;
    enum kj_act act;
    const struct kj_adamw *opt;
    double *sums;
};

static size_t tasks_of(const struct loop *l)
{
    return (l->n + l->per - 1) / l->per;
}

static size_t per_task(size_t width)
{
    return width >= GRAIN ? 1 : GRAIN / (width ? width : 1);
}

static void run(struct loop *l, kj_pool_fn *fn)
{
    kj_pool_run(l->c->pool, tasks_of(l), fn, l);
}

#define TASK_RANGE(l, task, i0, i1)                                                    \
    size_t i0 = (task) * (l)->per, i1 = i0 + (l)->per < (l)->n ? i0 + (l)->per : (l)->n

static float *row(struct kj_mat m, size_t i)
{
    return kj_cpu_f32(m) + i * m.stride;
}

static void zero(struct kj_backend *b, struct kj_mat x, size_t n)
{
    if (kj_cpu_inside(b, "zero", x, 1, n))
        memset(kj_cpu_f32(x), 0, n * sizeof(float));
}

static void scale_task(void *ctx, size_t task, unsigned worker)
{
    const struct loop *l = ctx;
    (void)worker;
    TASK_RANGE(l, task, i, end);
    float *x = kj_cpu_f32(l->a) + i;
    l->c->kern->scale(x, x, end - i, l->s);
}

static void scale(struct kj_backend *b, struct kj_mat x, size_t n, float s)
{
    struct loop l = {.c = kj_cpu_of(b), .n = n, .per = GRAIN, .a = x, .s = s};
    if (kj_cpu_inside(b, "scale", x, 1, n))
        run(&l, scale_task);
}

static void sumsq_task(void *ctx, size_t task, unsigned worker)
{
    const struct loop *l = ctx;
    (void)worker;
    TASK_RANGE(l, task, i, end);
    l->sums[task] = l->c->kern->sumsq(kj_cpu_f32(l->a) + i, end - i);
}

static double sumsq(struct kj_backend *b, struct kj_mat x, size_t n)
{
    struct loop l = {.c = kj_cpu_of(b), .n = n, .per = 4 * GRAIN, .a = x};
    double s = 0;
    if (!kj_cpu_inside(b, "sumsq", x, 1, n))
        return NAN;
    l.sums = kj_xcalloc(tasks_of(&l) + 1, sizeof *l.sums);
    run(&l, sumsq_task);
    for (size_t i = 0; i < tasks_of(&l); i++)
        s += l.sums[i];
    free(l.sums);
    return s;
}

/* ---- embedding ---- */

static bool ids_valid(struct kj_backend *b, const char *op, struct kj_mat w,
                      const int32_t *ids, size_t n, size_t h)
{
    size_t rows = (w.t->n - w.at) / (w.stride ? w.stride : h);
    for (size_t i = 0; i < n; i++)
        if (ids[i] < 0 || (size_t)ids[i] >= rows) {
            kj_backend_fault(b, op, "token %d at %zu is outside the %zu rows", ids[i],
                             i, rows);
            return false;
        }
    return true;
}

static void embed_task(void *ctx, size_t task, unsigned worker)
{
    const struct loop *l = ctx;
    const int32_t *ids = kj_cpu_i32(l->d);
    (void)worker;
    TASK_RANGE(l, task, i, end);
    for (; i < end; i++)
        memcpy(row(l->a, i), row(l->b, (size_t)ids[i]), l->h * sizeof(float));
}

static void embed(struct kj_backend *b, struct kj_mat y, struct kj_mat w,
                  struct kj_mat ids, size_t n, size_t h)
{
    struct loop l = {.c = kj_cpu_of(b),
                     .n = n,
                     .per = per_task(h),
                     .h = h,
                     .a = y,
                     .b = w,
                     .d = ids};
    if (kj_cpu_inside(b, "embed", y, n, h) && kj_cpu_inside(b, "embed", ids, 1, n) &&
        kj_cpu_inside(b, "embed", w, 1, h) &&
        ids_valid(b, "embed", w, kj_cpu_i32(ids), n, h))
        run(&l, embed_task);
}

/* A task owns some columns, and adds rows in order. */
static void embed_back_task(void *ctx, size_t task, unsigned worker)
{
    const struct loop *l = ctx;
    const int32_t *ids = kj_cpu_i32(l->d);
    (void)worker;
    TASK_RANGE(l, task, c, end);
    for (size_t i = 0; i < l->heads; i++)
        l->c->kern->add(row(l->a, (size_t)ids[i]) + c, row(l->b, i) + c, end - c);
}

static void embed_back(struct kj_backend *b, struct kj_mat dw, struct kj_mat dy,
                       struct kj_mat ids, size_t n, size_t h)
{
    struct loop l = {
        .c = kj_cpu_of(b), .n = h, .per = 64, .heads = n, .a = dw, .b = dy, .d = ids};
    if (kj_cpu_inside(b, "embed_back", dy, n, h) &&
        kj_cpu_inside(b, "embed_back", ids, 1, n) &&
        kj_cpu_inside(b, "embed_back", dw, 1, h) &&
        ids_valid(b, "embed_back", dw, kj_cpu_i32(ids), n, h))
        run(&l, embed_back_task);
}

/* ---- norm ---- */

static void norm_task(void *ctx, size_t task, unsigned worker)
{
    const struct loop *l = ctx;
    (void)worker;
    TASK_RANGE(l, task, i, end);
    for (; i < end; i++)
        l->c->kern->norm(row(l->a, i), l->e.t ? row(l->b, i) : NULL,
                         kj_cpu_f32(l->d) + i, row(l->g, i),
                         l->e.t ? row(l->e, i) : NULL, kj_cpu_f32(l->f), l->h, l->s);
}

static void norm(struct kj_backend *b, struct kj_mat y, struct kj_mat s,
                 struct kj_mat r, struct kj_mat x, struct kj_mat delta, struct kj_mat w,
                 size_t n, size_t h, float eps)
{
    const char *op = "norm";
    struct loop l = {.c = kj_cpu_of(b),
                     .n = n,
                     .per = per_task(h),
                     .h = h,
                     .s = eps,
                     .a = y,
                     .b = s,
                     .d = r,
                     .e = delta,
                     .f = w,
                     .g = x};
    if (kj_cpu_inside(b, op, y, n, h) && kj_cpu_inside(b, op, r, 1, n) &&
        kj_cpu_inside(b, op, x, n, h) && kj_cpu_inside(b, op, w, 1, h) &&
        (!delta.t ||
         (kj_cpu_inside(b, op, delta, n, h) && kj_cpu_inside(b, op, s, n, h))))
        run(&l, norm_task);
}

static void norm_back_task(void *ctx, size_t task, unsigned worker)
{
    const struct loop *l = ctx;
    (void)worker;
    TASK_RANGE(l, task, i, end);
    float *dw = l->c->scratch[l->c->base.threads].p + task * l->h;
    memset(dw, 0, l->h * sizeof *dw);
    for (; i < end; i++)
        l->c->kern->norm_back(row(l->a, i), dw, row(l->b, i), row(l->d, i),
                              kj_cpu_f32(l->e)[i], kj_cpu_f32(l->f), l->h, l->flag);
}

static void norm_back(struct kj_backend *b, struct kj_mat dx, struct kj_mat dw,
                      struct kj_mat dy, struct kj_mat s, struct kj_mat r,
                      struct kj_mat w, size_t n, size_t h, bool add)
{
    const char *op = "norm_back";
    struct loop l = {.c = kj_cpu_of(b),
                     .n = n,
                     .per = NORM_ROWS,
                     .h = h,
                     .flag = add,
                     .a = dx,
                     .b = dy,
                     .d = s,
                     .e = r,
                     .f = w};
    if (!kj_cpu_inside(b, op, dx, n, h) || !kj_cpu_inside(b, op, dy, n, h) ||
        !kj_cpu_inside(b, op, s, n, h) || !kj_cpu_inside(b, op, r, 1, n) ||
        !kj_cpu_inside(b, op, w, 1, h) || !kj_cpu_inside(b, op, dw, 1, h) ||
        !kj_cpu_scratch(l.c, op, 0, tasks_of(&l) * h))
        return;
    run(&l, norm_back_task);
    for (size_t i = 0; i < tasks_of(&l); i++)
        l.c->kern->add(kj_cpu_f32(dw), l.c->scratch[b->threads].p + i * h, h);
}

static void layer_norm_task(void *ctx, size_t task, unsigned worker)
{
    const struct loop *l = ctx;
    (void)worker;
    TASK_RANGE(l, task, i, end);
    for (; i < end; i++)
        l->c->kern->layer_norm(row(l->a, i), row(l->b, i), l->d.t ? row(l->d, i) : NULL,
                               kj_cpu_f32(l->e), kj_cpu_f32(l->f), kj_cpu_f32(l->g),
                               l->h, l->s);
}

static void layer_norm(struct kj_backend *b, struct kj_mat y, struct kj_mat x,
                       struct kj_mat delta, struct kj_mat bias, struct kj_mat w,
                       struct kj_mat c, size_t n, size_t h, float eps)
{
    const char *op = "layer_norm";
    struct loop l = {.c = kj_cpu_of(b),
                     .n = n,
                     .per = per_task(h),
                     .h = h,
                     .s = eps,
                     .a = y,
                     .b = x,
                     .d = delta,
                     .e = bias,
                     .f = w,
                     .g = c};
    if (kj_cpu_inside(b, op, y, n, h) && kj_cpu_inside(b, op, x, n, h) &&
        (!delta.t || kj_cpu_inside(b, op, delta, n, h)) &&
        (!bias.t || kj_cpu_inside(b, op, bias, 1, h)) &&
        kj_cpu_inside(b, op, w, 1, h) && kj_cpu_inside(b, op, c, 1, h))
        run(&l, layer_norm_task);
}

/* ---- bias and activation ---- */

static void bias_act_task(void *ctx, size_t task, unsigned worker)
{
    const struct loop *l = ctx;
    (void)worker;
    TASK_RANGE(l, task, i, end);
    for (; i < end; i++)
        l->c->kern->bias_act(row(l->a, i), kj_cpu_f32(l->b), l->h, l->act);
}

static void bias_act(struct kj_backend *b, struct kj_mat x, struct kj_mat bias,
                     size_t n, size_t h, enum kj_act act)
{
    struct loop l = {.c = kj_cpu_of(b),
                     .n = n,
                     .per = per_task(h),
                     .h = h,
                     .act = act,
                     .a = x,
                     .b = bias};
    if (kj_cpu_inside(b, "bias_act", x, n, h) &&
        (!bias.t || kj_cpu_inside(b, "bias_act", bias, 1, h)))
        run(&l, bias_act_task);
}

/* A task owns some columns, and goes through the rows in order. */
static void act_back_task(void *ctx, size_t task, unsigned worker)
{
    const struct loop *l = ctx;
    (void)worker;
    TASK_RANGE(l, task, from, end);
    for (size_t i = 0; i < l->heads; i++) {
        float *dx = row(l->a, i), *db = kj_cpu_f32(l->b);
        const float *dy = row(l->d, i), *y = row(l->e, i);
        for (size_t c = from; c < end; c++) {
            float f = l->act == KJ_ACT_TANH   ? 1.0f - y[c] * y[c]
                      : l->act == KJ_ACT_RELU ? (y[c] > 0.0f ? 1.0f : 0.0f)
                                              : 1.0f;
            dx[c] = dy[c] * f;
            if (db)
                db[c] += dx[c];
        }
    }
}

static void act_back(struct kj_backend *b, struct kj_mat dx, struct kj_mat dbias,
                     struct kj_mat dy, struct kj_mat y, size_t n, size_t h,
                     enum kj_act act)
{
    const char *op = "act_back";
    struct loop l = {.c = kj_cpu_of(b),
                     .n = h,
                     .per = 64,
                     .h = h,
                     .heads = n,
                     .act = act,
                     .a = dx,
                     .b = dbias,
                     .d = dy,
                     .e = y};
    if (act != KJ_ACT_NONE && act != KJ_ACT_RELU && act != KJ_ACT_TANH)
        kj_backend_fault(b, op, "activation %d has no backward pass", (int)act);
    else if (kj_cpu_inside(b, op, dx, n, h) && kj_cpu_inside(b, op, dy, n, h) &&
             kj_cpu_inside(b, op, y, n, h) &&
             (!dbias.t || kj_cpu_inside(b, op, dbias, 1, h)))
        run(&l, act_back_task);
}

/* ---- rotary, SwiGLU ---- */

static void rope_task(void *ctx, size_t task, unsigned worker)
{
    const struct loop *l = ctx;
    const int32_t *pos = kj_cpu_i32(l->b);
    (void)worker;
    TASK_RANGE(l, task, i, end);
    for (; i < end; i++)
        l->c->kern->rope(row(l->a, i), row(l->d, (size_t)pos[i]), l->heads, l->h, l->s);
}

static void rope(struct kj_backend *b, struct kj_mat x, struct kj_mat pos,
                 struct kj_mat table, size_t n, size_t heads, size_t dim, bool inverse)
{
    struct loop l = {.c = kj_cpu_of(b),
                     .n = n,
                     .per = per_task(heads * dim),
                     .h = dim,
                     .heads = heads,
                     .a = x,
                     .b = pos,
                     .d = table,
                     .s = inverse ? -1.0f : 1.0f};
    if (kj_cpu_inside(b, "rope", x, n, heads * dim) &&
        kj_cpu_inside(b, "rope", pos, 1, n) &&
        kj_cpu_inside(b, "rope", table, 1, dim) &&
        ids_valid(b, "rope", table, kj_cpu_i32(pos), n, dim))
        run(&l, rope_task);
}

static void swiglu_task(void *ctx, size_t task, unsigned worker)
{
    const struct loop *l = ctx;
    (void)worker;
    TASK_RANGE(l, task, i, end);
    for (; i < end; i++)
        l->c->kern->swiglu(row(l->a, i), row(l->b, i), row(l->d, i), l->h);
}

static void swiglu(struct kj_backend *b, struct kj_mat h, struct kj_mat g,
                   struct kj_mat u, size_t n, size_t f)
{
    struct loop l = {
        .c = kj_cpu_of(b), .n = n, .per = per_task(f), .h = f, .a = h, .b = g, .d = u};
    if (kj_cpu_inside(b, "swiglu", h, n, f) && kj_cpu_inside(b, "swiglu", g, n, f) &&
        kj_cpu_inside(b, "swiglu", u, n, f))
        run(&l, swiglu_task);
}

static void swiglu_back_task(void *ctx, size_t task, unsigned worker)
{
    const struct loop *l = ctx;
    (void)worker;
    TASK_RANGE(l, task, i, end);
    for (; i < end; i++)
        l->c->kern->swiglu_back(row(l->a, i), row(l->b, i), row(l->d, i), row(l->e, i),
                                row(l->f, i), l->h);
}

static void swiglu_back(struct kj_backend *b, struct kj_mat dg, struct kj_mat du,
                        struct kj_mat dh, struct kj_mat g, struct kj_mat u, size_t n,
                        size_t f)
{
    const char *op = "swiglu_back";
    struct loop l = {.c = kj_cpu_of(b),
                     .n = n,
                     .per = per_task(f),
                     .h = f,
                     .a = dg,
                     .b = du,
                     .d = dh,
                     .e = g,
                     .f = u};
    if (kj_cpu_inside(b, op, dg, n, f) && kj_cpu_inside(b, op, du, n, f) &&
        kj_cpu_inside(b, op, dh, n, f) && kj_cpu_inside(b, op, g, n, f) &&
        kj_cpu_inside(b, op, u, n, f))
        run(&l, swiglu_back_task);
}

/* ---- loss and optimizer ---- */

static void ce_task(void *ctx, size_t task, unsigned worker)
{
    const struct loop *l = ctx;
    const struct kj_kern *kern = l->c->kern;
    (void)worker;
    TASK_RANGE(l, task, i, end);
    for (; i < end; i++) {
        float *z = row(l->a, i);
        int32_t y = kj_cpu_i32(l->e)[i];
        float top = kern->max(z, l->h);
        float lse = top + logf(kern->expsum(NULL, z, l->h, top));
        if (l->d.t)
            kj_cpu_f32(l->d)[i] = lse;
        kj_cpu_f32(l->b)[i] = y < 0 ? 0.0f : lse - z[y];
        if (!l->flag)
            continue;
        if (y < 0) {
            memset(z, 0, l->h * sizeof *z);
        } else {
            kern->ce_grad(z, l->h, lse, 1.0f + 2.0f * l->z * lse, l->s);
            z[y] -= l->s;
        }
    }
}

static void cross_entropy(struct kj_backend *b, struct kj_mat z, struct kj_mat loss,
                          struct kj_mat lse, struct kj_mat targets, size_t n, size_t v,
                          float s, float zeta, bool grad)
{
    const char *op = "cross_entropy";
    struct loop l = {.c = kj_cpu_of(b),
                     .n = n,
                     .per = per_task(v),
                     .h = v,
                     .s = s,
                     .z = zeta,
                     .flag = grad,
                     .a = z,
                     .b = loss,
                     .d = lse,
                     .e = targets};
    if (!kj_cpu_inside(b, op, z, n, v) || !kj_cpu_inside(b, op, loss, 1, n) ||
        !kj_cpu_inside(b, op, targets, 1, n) ||
        (lse.t && !kj_cpu_inside(b, op, lse, 1, n)))
        return;
    for (size_t i = 0; i < n; i++)
        if (kj_cpu_i32(targets)[i] >= (int64_t)v) {
            kj_backend_fault(b, op, "target %d at %zu is outside the vocabulary of %zu",
                             kj_cpu_i32(targets)[i], i, v);
            return;
        }
    run(&l, ce_task);
}

static void adamw_task(void *ctx, size_t task, unsigned worker)
{
    const struct loop *l = ctx;
    (void)worker;
    TASK_RANGE(l, task, i, end);
    l->c->kern->adamw(kj_cpu_f32(l->a) + i, kj_cpu_f32(l->b) + i, kj_cpu_f32(l->d) + i,
                      kj_cpu_f32(l->e) + i, end - i, l->opt);
}

static void adamw(struct kj_backend *b, struct kj_mat w, struct kj_mat g,
                  struct kj_mat m, struct kj_mat v, size_t n, const struct kj_adamw *p)
{
    struct loop l = {.c = kj_cpu_of(b),
                     .n = n,
                     .per = 4 * GRAIN,
                     .opt = p,
                     .a = w,
                     .b = g,
                     .d = m,
                     .e = v};
    if (kj_cpu_inside(b, "adamw", w, 1, n) && kj_cpu_inside(b, "adamw", g, 1, n) &&
        kj_cpu_inside(b, "adamw", m, 1, n) && kj_cpu_inside(b, "adamw", v, 1, n))
        run(&l, adamw_task);
}

/* ---- the back end ---- */

static int sync_cpu(struct kj_backend *b, struct kj_err *err)
{
    int rc = b->fault.rc;
    if (rc)
        kj_err_set(err, rc, "%s", b->fault.msg);
    kj_err_reset(&b->fault);
    return rc;
}

static void describe(struct kj_backend *b, char *buf, size_t n)
{
    char gemm[64];
    kj_cpu_gemm_describe(gemm, sizeof gemm);
    snprintf(buf, n, "%s, %s vector code, %u thread%s, float32", gemm,
             kj_cpu_of(b)->kern->isa, b->threads, b->threads == 1 ? "" : "s");
}

static void close_cpu(struct kj_backend *b)
{
    struct kj_cpu *c = kj_cpu_of(b);
    kj_pool_free(c->pool);
    for (unsigned i = 0; i <= b->threads; i++)
        free(c->scratch[i].p);
    free(c->scratch);
    free(c);
}

static const struct kj_ops cpu_ops = {
    .name = "cpu",
    .close = close_cpu,
    .describe = describe,
    .tensor_new = tensor_new,
    .tensor_free = tensor_free,
    .tensor_size = tensor_size,
    .write = write_host,
    .read = read_host,
    .zero = zero,
    .scale = scale,
    .sumsq = sumsq,
    .matmul = kj_cpu_matmul,
    .embed = embed,
    .embed_back = embed_back,
    .norm = norm,
    .norm_back = norm_back,
    .layer_norm = layer_norm,
    .bias_act = bias_act,
    .act_back = act_back,
    .rope = rope,
    .attention = kj_cpu_attention,
    .attention_back = kj_cpu_attention_back,
    .swiglu = swiglu,
    .swiglu_back = swiglu_back,
    .cross_entropy = cross_entropy,
    .distil = kj_cpu_distil,
    .axpby = kj_cpu_axpby,
    .adamw = adamw,
    .sync = sync_cpu,
};

int kj_cpu_open(struct kj_backend **out, unsigned threads, struct kj_err *err)
{
    struct kj_cpu *c = kj_xcalloc(1, sizeof *c);
    c->base.ops = &cpu_ops;
    c->base.threads = threads ? threads : 1;
    kj_err_reset(&c->base.fault);
    c->kern = kj_kern_best();
    kj_cpu_gemm_init();
    int rc = kj_pool_new(&c->pool, c->base.threads, err);
    if (rc) {
        free(c);
        return rc;
    }
    c->scratch = kj_xcalloc(c->base.threads + 1, sizeof *c->scratch);
    *out = &c->base;
    return KJ_OK;
}
