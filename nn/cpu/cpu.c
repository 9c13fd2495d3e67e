/* cpu.c - the CPU back end: its table, memory, runs of elements, the loss. */
#include "nn/cpu/loop.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/room.h"

bool kj_cpu_fits(struct kj_backend *b, const char *op, struct kj_mat m, size_t rows,
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

bool kj_cpu_inside(struct kj_backend *b, const char *op, struct kj_mat m, size_t rows,
                   size_t cols)
{
    if (!kj_cpu_fits(b, op, m, rows, cols))
        return false;
    if (m.t && m.t->type >= KJ_BF16) {
        kj_backend_fault(b, op, "takes no %s here",
                         m.t->type == KJ_BF16 ? "bfloat16 on the CPU" : "FP8");
        return false;
    }
    return true;
}

bool kj_cpu_grow(struct kj_cpu *c, const char *op, struct scratch *s, size_t n)
{
    if (s->n >= n)
        return true;
    free(s->p);
    c->base.work -= (int64_t)(s->n * sizeof(float));
    s->n = 0;
    s->p = aligned_alloc(64, (n * sizeof(float) + 63) / 64 * 64);
    if (!s->p) {
        c->base.no_memory = true;
        kj_backend_fault(&c->base, op, "no memory for %zu bytes", n * sizeof(float));
        return false;
    }
    s->n = n;
    c->base.work += (int64_t)(n * sizeof(float));
    return true;
}

bool kj_cpu_scratch(struct kj_cpu *c, const char *op, size_t n, size_t n0)
{
    for (unsigned i = 0; i < c->base.threads; i++)
        if (!kj_cpu_grow(c, op, &c->scratch[i], n))
            return false;
    return kj_cpu_grow(c, op, &c->scratch[c->base.threads], n0);
}

/* ---- memory ---- */

static struct kj_tensor *tensor_new(struct kj_backend *b, enum kj_dtype type, size_t n)
{
    if (b->fault.rc)
        return NULL;
    size_t width = kj_cpu_width(&(struct kj_tensor){.type = type});
    size_t bytes = n <= SIZE_MAX / 4 - 64 ? (n * width + 63) / 64 * 64 : 0;
    void *p = bytes || n == 0 ? aligned_alloc(64, bytes ? bytes : 64) : NULL;
    if (!p) {
        b->no_memory = true;
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
    if (!t->view) {
        b->bytes -= (int64_t)((t->n * kj_cpu_width(t) + 63) / 64 * 64);
        free(t->p);
    }
    free(t);
}

static struct kj_tensor *tensor_view(struct kj_backend *b, struct kj_tensor *t,
                                     enum kj_dtype type)
{
    if (b->fault.rc || !t)
        return NULL;
    struct kj_tensor *v = kj_xcalloc(1, sizeof *v);
    *v = (struct kj_tensor){.type = type, .p = t->p, .view = true};
    v->n = t->n * kj_cpu_width(t) / kj_cpu_width(v);
    return v;
}

static size_t tensor_size(const struct kj_tensor *t)
{
    return t ? t->n : 0;
}

static void memory_of(struct kj_backend *b, int64_t *left, int64_t *all)
{
    (void)b;
    kj_room_find("", left, all);
}

static void write_host(struct kj_backend *b, struct kj_tensor *t, size_t at,
                       const void *src, size_t n)
{
    if (n && kj_cpu_fits(b, "write", kj_mat(t, at, n), 1, n))
        kj_cpu_store(kj_mat(t, at, n), 0, src, n);
}

static void read_host(struct kj_backend *b, const struct kj_tensor *t, size_t at,
                      void *dst, size_t n)
{
    struct kj_tensor *u = (struct kj_tensor *)(uintptr_t)t;
    if (n && kj_cpu_fits(b, "read", kj_mat(u, at, n), 1, n))
        kj_cpu_load(dst, kj_mat(u, at, n), 0, n);
}

/* ---- runs of elements ---- */

static void zero(struct kj_backend *b, struct kj_mat x, size_t n)
{
    if (n && kj_cpu_fits(b, "zero", x, 1, n))
        memset((char *)x.t->p + x.at * kj_cpu_width(x.t), 0, n * kj_cpu_width(x.t));
}

static void scale_task(void *ctx, size_t task, unsigned worker)
{
    const struct kj_loop *l = ctx;
    (void)worker;
    KJ_TASK_RANGE(l, task, i, end);
    float *x = kj_cpu_f32(l->a) + i;
    l->c->kern->scale(x, x, end - i, l->s);
}

static void scale(struct kj_backend *b, struct kj_mat x, size_t n, float s)
{
    struct kj_loop l = {.c = kj_cpu_of(b), .n = n, .per = KJ_GRAIN, .a = x, .s = s};
    if (kj_cpu_inside(b, "scale", x, 1, n))
        kj_cpu_run(&l, scale_task);
}

static void sumsq_task(void *ctx, size_t task, unsigned worker)
{
    const struct kj_loop *l = ctx;
    const float *x = l->c->scratch[worker].p;
    KJ_TASK_RANGE(l, task, i, end);
    if (l->a.t->type == KJ_BF16)
        kj_cpu_load(l->c->scratch[worker].p, l->a, i, end - i);
    else
        x = kj_cpu_f32(l->a) + i;
    l->sums[task] = l->c->kern->sumsq(x, end - i);
}

static double sumsq(struct kj_backend *b, struct kj_mat x, size_t n)
{
    struct kj_loop l = {.c = kj_cpu_of(b), .n = n, .per = 4 * KJ_GRAIN, .a = x};
    double s = 0;
    if (!kj_cpu_fits(b, "sumsq", x, 1, n) ||
        (n && x.t->type == KJ_BF16 && !kj_cpu_scratch(l.c, "sumsq", l.per, 0)))
        return NAN;
    l.sums = kj_xcalloc(kj_cpu_tasks(&l) + 1, sizeof *l.sums);
    kj_cpu_run(&l, sumsq_task);
    for (size_t i = 0; i < kj_cpu_tasks(&l); i++)
        s += l.sums[i];
    free(l.sums);
    return s;
}

/* In order, so that a sum on the device is the one that the host would have made. */
static void add_sum(struct kj_backend *b, struct kj_mat acc, struct kj_mat x, size_t n,
                    bool squares)
{
    double sum = 0, all;
    if (!kj_cpu_inside(b, "add_sum", acc, 1, 2) ||
        (!squares && !kj_cpu_inside(b, "add_sum", x, 1, n)))
        return;
    if (squares)
        sum = sumsq(b, x, n);
    for (size_t i = 0; i < n && !squares; i++)
        sum += (double)kj_cpu_f32(x)[i];
    memcpy(&all, kj_cpu_i32(acc), sizeof all);
    all += sum;
    memcpy((int32_t *)acc.t->p + acc.at, &all, sizeof all);
}

/* Nothing is saved by keeping calls. */
static bool section_begin(struct kj_backend *b, uint64_t key, size_t segs,
                          const int32_t *cu)
{
    (void)b;
    (void)key;
    (void)segs;
    (void)cu;
    return true;
}

static bool section_end(struct kj_backend *b)
{
    (void)b;
    return false;
}

/* ---- loss and optimizer ---- */

static void ce_task(void *ctx, size_t task, unsigned worker)
{
    const struct kj_loop *l = ctx;
    const struct kj_kern *kern = l->c->kern;
    (void)worker;
    KJ_TASK_RANGE(l, task, i, end);
    for (; i < end; i++) {
        float *z = kj_cpu_row(l->a, i);
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
                          float s, struct kj_mat by, float zeta, bool grad)
{
    const char *op = "cross_entropy";
    struct kj_loop l = {.c = kj_cpu_of(b),
                        .n = n,
                        .per = kj_cpu_per_task(v),
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
        (lse.t && !kj_cpu_inside(b, op, lse, 1, n)) ||
        (by.t && !kj_cpu_inside(b, op, by, 1, 1)))
        return;
    if (by.t)
        l.s *= *kj_cpu_f32(by);
    for (size_t i = 0; i < n; i++)
        if (kj_cpu_i32(targets)[i] >= (int64_t)v) {
            kj_backend_fault(b, op, "target %d at %zu is outside the vocabulary of %zu",
                             kj_cpu_i32(targets)[i], i, v);
            return;
        }
    kj_cpu_run(&l, ce_task);
}

static void adamw_task(void *ctx, size_t task, unsigned worker)
{
    const struct kj_loop *l = ctx;
    (void)worker;
    KJ_TASK_RANGE(l, task, i, end);
    if (l->a.t->type == KJ_BF16)
        kj_cpu_adamw_bf16(l->a, l->b, l->d, l->e, i, end, l->opt);
    else
        l->c->kern->adamw(kj_cpu_f32(l->a) + i, kj_cpu_f32(l->b) + i,
                          kj_cpu_f32(l->d) + i, kj_cpu_f32(l->e) + i, end - i, l->opt);
}

static void adamw(struct kj_backend *b, struct kj_mat w, struct kj_mat g,
                  struct kj_mat m, struct kj_mat v, size_t n, const struct kj_adamw *p)
{
    struct kj_loop l = {.c = kj_cpu_of(b),
                        .n = n,
                        .per = 4 * KJ_GRAIN,
                        .opt = p,
                        .a = w,
                        .b = g,
                        .d = m,
                        .e = v};
    if (n == 0 || !kj_cpu_fits(b, "adamw", w, 1, n) ||
        !kj_cpu_fits(b, "adamw", g, 1, n) || !kj_cpu_fits(b, "adamw", m, 1, n) ||
        !kj_cpu_fits(b, "adamw", v, 1, n))
        return;
    enum kj_dtype type = w.t->type;
    if (g.t->type != type || m.t->type != type || v.t->type != type)
        kj_backend_fault(b, "adamw", "its operands are of different types");
    else if (type != KJ_F32 && type != KJ_BF16)
        kj_backend_fault(b, "adamw", "takes float32 or bfloat16");
    else
        kj_cpu_run(&l, adamw_task);
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
    snprintf(buf, n, "%s, %s vector code, %u thread%s, float32, bfloat16 %s", gemm,
             kj_cpu_of(b)->kern->isa, b->threads, b->threads == 1 ? "" : "s",
             kj_cpu_of(b)->bf16->isa);
}

static void close_cpu(struct kj_backend *b)
{
    struct kj_cpu *c = kj_cpu_of(b);
    kj_pool_free(c->pool);
    for (unsigned i = 0; i <= b->threads; i++)
        free(c->scratch[i].p);
    for (size_t i = 0; i < KJ_CPU_WIDE; i++)
        free(c->wide[i].p);
    free(c->scratch);
    free(c->decoded.p);
    free(c);
}

static void linear(struct kj_backend *b, struct kj_mat y, struct kj_mat x,
                   struct kj_mat w, struct kj_mat bias, size_t n, size_t out, size_t in,
                   enum kj_act act)
{
    b->ops->matmul(b, y, x, w, n, out, in, KJ_MM_TB);
    b->ops->bias_act(b, y, bias, n, out, act);
}

static struct kj_ops cpu_ops = {
    /* Filled up by complete(), once. */
    .name = "cpu",
    .close = close_cpu,
    .describe = describe,
    .tensor_new = tensor_new,
    .tensor_free = tensor_free,
    .tensor_view = tensor_view,
    .tensor_size = tensor_size,
    .memory = memory_of,
    .write = write_host,
    .read = read_host,
    .zero = zero,
    .scale = scale,
    .sumsq = sumsq,
    .add_sum = add_sum,
    .matmul = kj_cpu_matmul,
    .linear = linear,
    .quantize = kj_cpu_quantize,
    .most = kj_cpu_most,
    .matmul_f8 = kj_cpu_matmul_f8,
    .embed = kj_cpu_embed,
    .put = kj_cpu_put,
    .embed_back = kj_cpu_embed_back,
    .embed_mean = kj_cpu_embed_mean,
    .norm = kj_cpu_norm,
    .norm_back = kj_cpu_norm_back,
    .layer_norm = kj_cpu_layer_norm,
    .bias_act = kj_cpu_bias_act,
    .act_back = kj_cpu_act_back,
    .rope = kj_cpu_rope,
    .attention = kj_cpu_attention,
    .attention_back = kj_cpu_attention_back,
    .swiglu = kj_cpu_swiglu,
    .swiglu_back = kj_cpu_swiglu_back,
    .cross_entropy = cross_entropy,
    .distil = kj_cpu_distil,
    .axpby = kj_cpu_axpby,
    .adamw = adamw,
    .reduce_scatter = kj_cpu_reduce_scatter,
    .all_gather = kj_cpu_all_gather,
    .await = kj_cpu_await,
    .section_begin = section_begin,
    .section_end = section_end,
    .sync = sync_cpu,
};

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void complete(void)
{
    kj_cpu_any(&cpu_ops);
}

int kj_cpu_open(struct kj_backend **out, unsigned threads, struct kj_err *err)
{
    struct kj_cpu *c = kj_xcalloc(1, sizeof *c);
    pthread_once(&once, complete);
    c->base.ops = &cpu_ops;
    c->base.threads = threads ? threads : 1;
    c->base.f8 = true;
    kj_err_reset(&c->base.fault);
    c->kern = kj_kern_best();
    c->bf16 = kj_bf16_best();
    int rc = kj_cpu_gemm_open(err);
    if (rc == KJ_OK)
        rc = kj_pool_new(&c->pool, c->base.threads, err);
    if (rc) {
        free(c);
        return rc;
    }
    c->scratch = kj_xcalloc(c->base.threads + 1, sizeof *c->scratch);
    *out = &c->base;
    return KJ_OK;
}
