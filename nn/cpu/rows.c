/* rows.c - operations that work row by row.
 *
 * Sums over rows (weights' gradients of norms) are first made for blocks of
 * 64 rows, then over the blocks in order; the same at every thread count.
 */
#include "nn/cpu/loop.h"

#include <string.h>

#define NORM_ROWS 64

/* ---- embedding ---- */

bool kj_cpu_ids_valid(struct kj_backend *b, const char *op, struct kj_mat w,
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
    const struct kj_loop *l = ctx;
    const int32_t *ids = kj_cpu_i32(l->d);
    (void)worker;
    KJ_TASK_RANGE(l, task, i, end);
    for (; i < end; i++)
        memcpy(kj_cpu_row(l->a, i), kj_cpu_row(l->b, (size_t)ids[i]),
               l->h * sizeof(float));
}

void kj_cpu_embed(struct kj_backend *b, struct kj_mat y, struct kj_mat w,
                  struct kj_mat ids, size_t n, size_t h)
{
    struct kj_loop l = {.c = kj_cpu_of(b),
                        .n = n,
                        .per = kj_cpu_per_task(h),
                        .h = h,
                        .a = y,
                        .b = w,
                        .d = ids};
    if (kj_cpu_inside(b, "embed", y, n, h) && kj_cpu_inside(b, "embed", ids, 1, n) &&
        kj_cpu_inside(b, "embed", w, 1, h) &&
        kj_cpu_ids_valid(b, "embed", w, kj_cpu_i32(ids), n, h))
        kj_cpu_run(&l, embed_task);
}

static void put_task(void *ctx, size_t task, unsigned worker)
{
    const struct kj_loop *l = ctx;
    const int32_t *ids = kj_cpu_i32(l->d);
    size_t w = kj_cpu_width(l->a.t);
    (void)worker;
    KJ_TASK_RANGE(l, task, i, end);
    for (; i < end; i++)
        memcpy((char *)l->a.t->p + (l->a.at + (size_t)ids[i] * l->a.stride) * w,
               (const char *)l->b.t->p + (l->b.at + i * l->b.stride) * w, l->h * w);
}

void kj_cpu_put(struct kj_backend *b, struct kj_mat w, struct kj_mat y,
                struct kj_mat ids, size_t n, size_t h)
{
    struct kj_loop l = {.c = kj_cpu_of(b),
                        .n = n,
                        .per = kj_cpu_per_task(h),
                        .h = h,
                        .a = w,
                        .b = y,
                        .d = ids};
    if (!kj_cpu_fits(b, "put", y, n, h) || !kj_cpu_inside(b, "put", ids, 1, n) ||
        !kj_cpu_fits(b, "put", w, 1, h) ||
        !kj_cpu_ids_valid(b, "put", w, kj_cpu_i32(ids), n, h))
        return;
    if (n && w.t->type != y.t->type)
        kj_backend_fault(b, "put", "rows of another type");
    else
        kj_cpu_run(&l, put_task);
}

/* A task owns some columns, and adds rows in order. */
static void embed_back_task(void *ctx, size_t task, unsigned worker)
{
    const struct kj_loop *l = ctx;
    const int32_t *ids = kj_cpu_i32(l->d);
    (void)worker;
    KJ_TASK_RANGE(l, task, c, end);
    for (size_t i = 0; i < l->heads; i++)
        l->c->kern->add(kj_cpu_row(l->a, (size_t)ids[i]) + c, kj_cpu_row(l->b, i) + c,
                        end - c);
}

void kj_cpu_embed_back(struct kj_backend *b, struct kj_mat dw, struct kj_mat dy,
                       struct kj_mat ids, size_t n, size_t h)
{
    struct kj_loop l = {
        .c = kj_cpu_of(b), .n = h, .per = 64, .heads = n, .a = dw, .b = dy, .d = ids};
    if (kj_cpu_inside(b, "embed_back", dy, n, h) &&
        kj_cpu_inside(b, "embed_back", ids, 1, n) &&
        kj_cpu_inside(b, "embed_back", dw, 1, h) &&
        kj_cpu_ids_valid(b, "embed_back", dw, kj_cpu_i32(ids), n, h))
        kj_cpu_run(&l, embed_back_task);
}

static void embed_mean_task(void *ctx, size_t task, unsigned worker)
{
    const struct kj_loop *l = ctx;
    const int32_t *ids = kj_cpu_i32(l->d), *cu = kj_cpu_i32(l->e);
    (void)worker;
    KJ_TASK_RANGE(l, task, i, end);
    for (; i < end; i++) {
        float *y = kj_cpu_row(l->a, i);
        float scale = cu[i + 1] > cu[i] ? (float)(1.0 / (cu[i + 1] - cu[i])) : 0;
        memset(y, 0, l->h * sizeof *y);
        for (int32_t k = cu[i]; k < cu[i + 1]; k++)
            l->c->kern->add(y, kj_cpu_row(l->b, (size_t)ids[k]), l->h);
        for (size_t j = 0; j < l->h; j++)
            y[j] *= scale;
    }
}

static bool bags_valid(struct kj_backend *b, const int32_t *cu, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (cu[0] != 0 || cu[i + 1] < cu[i]) {
            kj_backend_fault(b, "embed_mean", "bag %zu ends before it begins", i);
            return false;
        }
    return true;
}

void kj_cpu_embed_mean(struct kj_backend *b, struct kj_mat y, struct kj_mat w,
                       struct kj_mat ids, struct kj_mat cu, size_t n, size_t h)
{
    const char *op = "embed_mean";
    struct kj_loop l = {.c = kj_cpu_of(b),
                        .n = n,
                        .per = 16,
                        .h = h,
                        .a = y,
                        .b = w,
                        .d = ids,
                        .e = cu};
    if (!kj_cpu_inside(b, op, y, n, h) || !kj_cpu_inside(b, op, cu, 1, n + 1) ||
        !kj_cpu_inside(b, op, w, 1, h) || !bags_valid(b, kj_cpu_i32(cu), n))
        return;
    size_t all = (size_t)kj_cpu_i32(cu)[n];
    if (kj_cpu_inside(b, op, ids, 1, all) &&
        kj_cpu_ids_valid(b, op, w, kj_cpu_i32(ids), all, h))
        kj_cpu_run(&l, embed_mean_task);
}

/* ---- norm ---- */

static void norm_task(void *ctx, size_t task, unsigned worker)
{
    const struct kj_loop *l = ctx;
    (void)worker;
    KJ_TASK_RANGE(l, task, i, end);
    for (; i < end; i++)
        l->c->kern->norm(kj_cpu_row(l->a, i), l->e.t ? kj_cpu_row(l->b, i) : NULL,
                         kj_cpu_f32(l->d) + i, kj_cpu_row(l->g, i),
                         l->e.t ? kj_cpu_row(l->e, i) : NULL, kj_cpu_f32(l->f), l->h,
                         l->s);
}

void kj_cpu_norm(struct kj_backend *b, struct kj_mat y, struct kj_mat s,
                 struct kj_mat r, struct kj_mat x, struct kj_mat delta, struct kj_mat w,
                 size_t n, size_t h, float eps)
{
    const char *op = "norm";
    struct kj_loop l = {.c = kj_cpu_of(b),
                        .n = n,
                        .per = kj_cpu_per_task(h),
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
        kj_cpu_run(&l, norm_task);
}

static void norm_back_task(void *ctx, size_t task, unsigned worker)
{
    const struct kj_loop *l = ctx;
    (void)worker;
    KJ_TASK_RANGE(l, task, i, end);
    float *dw = l->c->scratch[l->c->base.threads].p + task * l->h;
    memset(dw, 0, l->h * sizeof *dw);
    for (; i < end; i++)
        l->c->kern->norm_back(kj_cpu_row(l->a, i), dw, kj_cpu_row(l->b, i),
                              kj_cpu_row(l->d, i), kj_cpu_f32(l->e)[i],
                              kj_cpu_f32(l->f), l->h, l->flag);
}

void kj_cpu_norm_back(struct kj_backend *b, struct kj_mat dx, struct kj_mat dw,
                      struct kj_mat dy, struct kj_mat s, struct kj_mat r,
                      struct kj_mat w, size_t n, size_t h, bool add)
{
    const char *op = "norm_back";
    struct kj_loop l = {.c = kj_cpu_of(b),
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
        !kj_cpu_scratch(l.c, op, 0, kj_cpu_tasks(&l) * h))
        return;
    kj_cpu_run(&l, norm_back_task);
    for (size_t i = 0; i < kj_cpu_tasks(&l); i++)
        l.c->kern->add(kj_cpu_f32(dw), l.c->scratch[b->threads].p + i * h, h);
}

static void layer_norm_task(void *ctx, size_t task, unsigned worker)
{
    const struct kj_loop *l = ctx;
    (void)worker;
    KJ_TASK_RANGE(l, task, i, end);
    for (; i < end; i++)
        l->c->kern->layer_norm(kj_cpu_row(l->a, i), kj_cpu_row(l->b, i),
                               l->d.t ? kj_cpu_row(l->d, i) : NULL, kj_cpu_f32(l->e),
                               kj_cpu_f32(l->f), kj_cpu_f32(l->g), l->h, l->s);
}

void kj_cpu_layer_norm(struct kj_backend *b, struct kj_mat y, struct kj_mat x,
                       struct kj_mat delta, struct kj_mat bias, struct kj_mat w,
                       struct kj_mat c, size_t n, size_t h, float eps)
{
    const char *op = "layer_norm";
    struct kj_loop l = {.c = kj_cpu_of(b),
                        .n = n,
                        .per = kj_cpu_per_task(h),
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
        kj_cpu_run(&l, layer_norm_task);
}

/* ---- bias and activation ---- */

static void bias_act_task(void *ctx, size_t task, unsigned worker)
{
    const struct kj_loop *l = ctx;
    (void)worker;
    KJ_TASK_RANGE(l, task, i, end);
    for (; i < end; i++)
        l->c->kern->bias_act(kj_cpu_row(l->a, i), kj_cpu_f32(l->b), l->h, l->act);
}

void kj_cpu_bias_act(struct kj_backend *b, struct kj_mat x, struct kj_mat bias,
                     size_t n, size_t h, enum kj_act act)
{
    struct kj_loop l = {.c = kj_cpu_of(b),
                        .n = n,
                        .per = kj_cpu_per_task(h),
                        .h = h,
                        .act = act,
                        .a = x,
                        .b = bias};
    if (kj_cpu_inside(b, "bias_act", x, n, h) &&
        (!bias.t || kj_cpu_inside(b, "bias_act", bias, 1, h)))
        kj_cpu_run(&l, bias_act_task);
}

/* A task owns some columns, and goes through the rows in order. */
static void act_back_task(void *ctx, size_t task, unsigned worker)
{
    const struct kj_loop *l = ctx;
    (void)worker;
    KJ_TASK_RANGE(l, task, from, end);
    for (size_t i = 0; i < l->heads; i++) {
        float *dx = kj_cpu_row(l->a, i), *db = kj_cpu_f32(l->b);
        const float *dy = kj_cpu_row(l->d, i), *y = kj_cpu_row(l->e, i);
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

void kj_cpu_act_back(struct kj_backend *b, struct kj_mat dx, struct kj_mat dbias,
                     struct kj_mat dy, struct kj_mat y, size_t n, size_t h,
                     enum kj_act act)
{
    const char *op = "act_back";
    struct kj_loop l = {.c = kj_cpu_of(b),
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
        kj_cpu_run(&l, act_back_task);
}

/* ---- rotary, SwiGLU ---- */

static void rope_task(void *ctx, size_t task, unsigned worker)
{
    const struct kj_loop *l = ctx;
    const int32_t *pos = kj_cpu_i32(l->b);
    (void)worker;
    KJ_TASK_RANGE(l, task, i, end);
    for (; i < end; i++)
        l->c->kern->rope(kj_cpu_row(l->a, i), kj_cpu_row(l->d, (size_t)pos[i]),
                         l->heads, l->h, l->s);
}

void kj_cpu_rope(struct kj_backend *b, struct kj_mat x, struct kj_mat pos,
                 struct kj_mat table, size_t n, size_t heads, size_t dim, bool inverse)
{
    struct kj_loop l = {.c = kj_cpu_of(b),
                        .n = n,
                        .per = kj_cpu_per_task(heads * dim),
                        .h = dim,
                        .heads = heads,
                        .a = x,
                        .b = pos,
                        .d = table,
                        .s = inverse ? -1.0f : 1.0f};
    if (kj_cpu_inside(b, "rope", x, n, heads * dim) &&
        kj_cpu_inside(b, "rope", pos, 1, n) &&
        kj_cpu_inside(b, "rope", table, 1, dim) &&
        kj_cpu_ids_valid(b, "rope", table, kj_cpu_i32(pos), n, dim))
        kj_cpu_run(&l, rope_task);
}

static void swiglu_task(void *ctx, size_t task, unsigned worker)
{
    const struct kj_loop *l = ctx;
    (void)worker;
    KJ_TASK_RANGE(l, task, i, end);
    for (; i < end; i++)
        l->c->kern->swiglu(kj_cpu_row(l->a, i), kj_cpu_row(l->b, i),
                           kj_cpu_row(l->d, i), l->h);
}

void kj_cpu_swiglu(struct kj_backend *b, struct kj_mat h, struct kj_mat g,
                   struct kj_mat u, size_t n, size_t f)
{
    struct kj_loop l = {.c = kj_cpu_of(b),
                        .n = n,
                        .per = kj_cpu_per_task(f),
                        .h = f,
                        .a = h,
                        .b = g,
                        .d = u};
    if (kj_cpu_inside(b, "swiglu", h, n, f) && kj_cpu_inside(b, "swiglu", g, n, f) &&
        kj_cpu_inside(b, "swiglu", u, n, f))
        kj_cpu_run(&l, swiglu_task);
}

static void swiglu_back_task(void *ctx, size_t task, unsigned worker)
{
    const struct kj_loop *l = ctx;
    (void)worker;
    KJ_TASK_RANGE(l, task, i, end);
    for (; i < end; i++)
        l->c->kern->swiglu_back(kj_cpu_row(l->a, i), kj_cpu_row(l->b, i),
                                kj_cpu_row(l->d, i), kj_cpu_row(l->e, i),
                                kj_cpu_row(l->f, i), l->h);
}

void kj_cpu_swiglu_back(struct kj_backend *b, struct kj_mat dg, struct kj_mat du,
                        struct kj_mat dh, struct kj_mat g, struct kj_mat u, size_t n,
                        size_t f)
{
    const char *op = "swiglu_back";
    struct kj_loop l = {.c = kj_cpu_of(b),
                        .n = n,
                        .per = kj_cpu_per_task(f),
                        .h = f,
                        .a = dg,
                        .b = du,
                        .d = dh,
                        .e = g,
                        .f = u};
    if (kj_cpu_inside(b, op, dg, n, f) && kj_cpu_inside(b, op, du, n, f) &&
        kj_cpu_inside(b, op, dh, n, f) && kj_cpu_inside(b, op, g, n, f) &&
        kj_cpu_inside(b, op, u, n, f))
        kj_cpu_run(&l, swiglu_back_task);
}
