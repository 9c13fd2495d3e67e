/* selftest_model.c - checks of attention, losses and the optimizer. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "nn/selftest_internal.h"

/* ---- attention: in = q, k, v; d = heads, kv_heads, dim, segs, full ---- */

static void attend(const struct kj_probe *p, size_t row, size_t head, size_t k0,
                   size_t k1)
{
    size_t dim = p->d[2], wq = p->d[0] * dim, wk = p->d[1] * dim;
    size_t kh = head / (p->d[0] / p->d[1]);
    const double *q = p->in[0] + row * wq + head * dim;
    double *o = p->out + row * wq + head * dim, sum = 0;
    memset(o, 0, dim * sizeof *o);
    for (size_t k = k0; k < k1; k++) {
        double s = 0;
        for (size_t i = 0; i < dim; i++)
            s += q[i] * p->in[1][k * wk + kh * dim + i];
        s = exp(s * p->s[0]);
        sum += s;
        for (size_t i = 0; i < dim; i++)
            o[i] += s * p->in[2][k * wk + kh * dim + i];
    }
    for (size_t i = 0; i < dim; i++)
        o[i] /= sum;
}

static void f_attention(const struct kj_probe *p)
{
    for (size_t s = 0; s < p->d[3]; s++) {
        size_t k0 = (size_t)p->cu_k[s], k1 = (size_t)p->cu_k[s + 1];
        size_t q0 = (size_t)p->cu_q[s], q1 = (size_t)p->cu_q[s + 1];
        for (size_t q = q0; q < q1; q++)
            for (size_t h = 0; h < p->d[0]; h++)
                attend(p, q, h, k0, p->d[4] ? k1 : k1 - (q1 - q - 1));
    }
}

static void one_attention(struct kj_test *t, size_t heads, size_t kv, size_t dim,
                          size_t segs, const int32_t *cu_q, const int32_t *cu_k,
                          bool full)
{
    size_t nq = (size_t)cu_q[segs], nk = (size_t)cu_k[segs];
    size_t wq = heads * dim, wk = kv * dim;
    struct kj_probe p = {.n = {nq * wq, nk * wk, nk * wk},
                         .n_out = nq * wq,
                         .d = {heads, kv, dim, segs, full},
                         .s = {1 / sqrt((double)dim)},
                         .cu_q = cu_q,
                         .cu_k = cu_k,
                         .f = f_attention};
    char what[96];
    kj_probe_init(t, &p);
    struct kj_attn a = {.q = kj_test_put(t, p.in[0], nq * wq, wq),
                        .k = kj_test_put(t, p.in[1], nk * wk, wk),
                        .v = kj_test_put(t, p.in[2], nk * wk, wk),
                        .o = kj_test_put(t, NULL, nq * wq, wq),
                        .lse = kj_test_put_sum(t, NULL, nq * heads, heads),
                        .heads = heads,
                        .kv_heads = kv,
                        .dim = dim,
                        .scale = (float)p.s[0],
                        .full = full,
                        .segs = segs,
                        .cu_q = cu_q,
                        .cu_k = cu_k};
    struct kj_attn_grad g = {.d_o = kj_test_put(t, p.dy, nq * wq, wq),
                             .dq = kj_test_put(t, NULL, nq * wq, wq),
                             .dk = kj_test_put(t, NULL, nk * wk, wk),
                             .dv = kj_test_put(t, NULL, nk * wk, wk)};
    t->o->attention(t->b, &a);
    snprintf(what, sizeof what, "%zu/%zu heads of %zu, %zu queries, %zu keys%s", heads,
             kv, dim, nq, nk, full ? ", full" : "");
    kj_test_compare(t, "attention", what, a.o, p.out, nq * wq, 3e-6);
    t->o->attention_back(t->b, &a, &g);
    kj_test_gradient(t, "attention", "dq", &p, 0, g.dq);
    kj_test_gradient(t, "attention", "dk", &p, 1, g.dk);
    kj_test_gradient(t, "attention", "dv", &p, 2, g.dv);
    struct kj_mat all[] = {a.q, a.k, a.v, a.o, a.lse, g.d_o, g.dq, g.dk, g.dv};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        kj_test_drop(t, all[i]);
    kj_probe_free(&p);
}

static void test_attention(struct kj_test *t)
{
    static const int32_t docs[] = {0, 1, 70, 70, 99}, one[] = {0, 300};
    static const int32_t q[] = {0, 1, 6}, k[] = {0, 40, 47}, some[] = {0, 140};
    if (t->wide) { /* heads that tensor cores take */
        one_attention(t, 6, 2, 64, 4, docs, docs, false);
        one_attention(t, 1, 1, 128, 1, some, some, false);
        one_attention(t, 4, 1, 128, 2, q, k, false);
        one_attention(t, 2, 1, 128, 4, docs, docs, true);
        one_attention(t, 1, 1, 64, 2, k, q, true);
        return;
    }
    one_attention(t, 6, 2, 10, 4, docs, docs, false);
    one_attention(t, 2, 2, 8, 1, one, one, false);
    one_attention(t, 4, 1, 16, 2, q, k, false);
    one_attention(t, 6, 2, 10, 4, docs, docs, true);
    one_attention(t, 2, 2, 8, 1, one, one, true);
    one_attention(t, 4, 1, 16, 2, k, q, true);
}

/* A cache with room for more: how many keys there are is on the device. */
static void test_attention_then(struct kj_test *t)
{
    enum { ROOM = 90, KEYS = 71, N = 3 };
    const size_t dim = t->wide ? 64 : 10, wq = 4 * dim, wk = 2 * dim;
    static const int32_t cu_q[] = {0, N}, cu_k[] = {0, KEYS}, most[] = {0, ROOM};
    double *x[3] = {kj_test_random(t, N * wq), kj_test_random(t, ROOM * wk),
                    kj_test_random(t, ROOM * wk)};
    struct kj_attn a = {.q = kj_test_put(t, x[0], N * wq, wq),
                        .k = kj_test_put(t, x[1], ROOM * wk, wk),
                        .v = kj_test_put(t, x[2], ROOM * wk, wk),
                        .o = kj_test_put(t, NULL, N * wq, wq),
                        .heads = 4,
                        .kv_heads = 2,
                        .dim = dim,
                        .scale = 0.25f,
                        .segs = 1,
                        .cu_q = cu_q,
                        .cu_k = cu_k};
    t->o->attention(t->b, &a);
    double *want = kj_test_get(t, a.o, N * wq);
    a.cu_k = most;
    a.cu_k_then = kj_test_put_ids(t, cu_k, 2);
    t->o->zero(t->b, a.o, N * wq);
    t->o->attention(t->b, &a);
    kj_test_compare(t, "attention", "keys by a number on the device", a.o, want, N * wq,
                    0);
    struct kj_mat all[] = {a.q, a.k, a.v, a.o, a.cu_k_then};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        kj_test_drop(t, all[i]);
    for (int i = 0; i < 3; i++)
        free(x[i]);
    free(want);
}

/* ---- head and cross-entropy: in = x, w; d = n, h, v; s = scale, zeta.
 * out has one value, dy[0] = 1. ---- */

static void f_head(const struct kj_probe *p)
{
    size_t n = p->d[0], h = p->d[1], v = p->d[2];
    double *z = kj_xcalloc(v, sizeof *z);
    p->out[0] = 0;
    for (size_t i = 0; i < n; i++) {
        double sum = 0;
        if (p->ids[i] < 0)
            continue;
        for (size_t j = 0; j < v; j++) {
            z[j] = 0;
            for (size_t k = 0; k < h; k++)
                z[j] += p->in[0][i * h + k] * p->in[1][j * h + k];
            sum += exp(z[j]);
        }
        double lse = log(sum);
        p->out[0] += p->s[0] * (lse - z[p->ids[i]] + p->s[1] * lse * lse);
    }
    free(z);
}

/* What lies on the device of a scale; the rest is given. */
static const double quarter = 0.25;

static void test_head(struct kj_test *t)
{
    enum { N = 29, CHUNK = 8 };
    const size_t H = t->wide ? 16 : 12, V = t->wide ? 4128 : 67;
    const size_t n = t->wide ? 9 : N;
    int32_t ids[N];
    for (int i = 0; i < N; i++)
        ids[i] = i % 7 == 3 ? -1 : (int32_t)(kj_test_uniform(t) * (double)V);
    for (int z = 0; z < 2; z++) {
        struct kj_probe p = {.n = {n * H, V * H},
                             .n_out = 1,
                             .d = {n, H, V},
                             .ids = ids,
                             .s = {0.0625, z ? 0.03125 : 0},
                             .f = f_head};
        kj_probe_init(t, &p);
        p.dy[0] = 1;
        struct kj_head head = {.x = kj_test_put(t, p.in[0], n * H, H),
                               .w = kj_test_put(t, p.in[1], V * H, H),
                               .targets = kj_test_put_ids(t, ids, n),
                               .loss = kj_test_put_sum(t, NULL, n, 1),
                               .lse = kj_test_put_sum(t, NULL, n, 1),
                               .dx = kj_test_put(t, NULL, n * H, H),
                               .dw = kj_test_put_grad(t, NULL, V * H, H),
                               .ws = kj_test_put(t, NULL, CHUNK * V, V),
                               .n = n,
                               .h = H,
                               .v = V,
                               .chunk = CHUNK,
                               .scale = (float)p.s[0] * (z ? 4 : 1),
                               .scale_by =
                                   z ? kj_test_put_sum(t, &quarter, 1, 1) : KJ_MAT_NONE,
                               .zeta = (float)p.s[1]};
        t->o->zero(t->b, head.dw, V * H);
        kj_head_loss(t->b, &head);
        double *loss = kj_test_get(t, head.loss, n), *lse = kj_test_get(t, head.lse, n),
               sum = 0;
        for (size_t i = 0; i < n; i++)
            sum += ids[i] < 0 ? loss[i] : p.s[0] * (loss[i] + p.s[1] * lse[i] * lse[i]);
        kj_test_verdict(t, "head", z ? "loss + z-loss" : "loss",
                        kj_test_differ(&sum, p.out, 1), kj_test_limit(t, 1e-6));
        kj_test_gradient(t, "head", "dx", &p, 0, head.dx);
        kj_test_gradient(t, "head", "dw", &p, 1, head.dw);
        struct kj_mat all[] = {head.x,  head.w,  head.targets, head.loss,    head.lse,
                               head.dx, head.dw, head.ws,      head.scale_by};
        for (size_t i = 0; i < sizeof all / sizeof *all; i++)
            kj_test_drop(t, all[i]);
        free(loss);
        free(lse);
        kj_probe_free(&p);
    }
}

/* ---- distillation: in = x, w, teacher's x, w; d = n, h, v, teacher's h;
 * s = weight, temperature ---- */

enum { KD_H = 12, KD_TH = 9, KD_MOST = 4128 };
#define KD_SCALE 0.0625
#define KD_ZETA  0.03125

/* z = rows x of w, over T; the log of their sum of exponentials. */
static double f_logits(double *z, size_t v, const double *x, const double *w, size_t h,
                       double temp)
{
    double sum = 0;
    size_t j = 0;
    do {
        z[j] = 0;
        for (size_t k = 0; k < h; k++)
            z[j] += x[k] * w[j * h + k] / temp;
        sum += exp(z[j]);
    } while (++j < v);
    return log(sum);
}

static void f_distil(const struct kj_probe *p)
{
    size_t v = p->d[1];
    double z[KD_MOST], q[KD_MOST];
    p->out[0] = 0;
    for (size_t i = 0; i < p->d[0]; i++) {
        const double *x = p->in[0] + i * KD_H, temp = p->s[1];
        double kl = 0, lse = f_logits(z, v, x, p->in[1], KD_H, 1);
        if (p->ids[i] < 0)
            continue;
        double hard = lse - z[p->ids[i]];
        double a = f_logits(z, v, x, p->in[1], KD_H, temp);
        double b = f_logits(q, v, p->in[2] + i * KD_TH, p->in[3], KD_TH, temp);
        for (size_t j = 0; j < v; j++)
            kl += exp(q[j] - b) * (q[j] - b - z[j] + a);
        p->out[0] += KD_SCALE * ((1 - p->s[0]) * hard + KD_ZETA * lse * lse +
                                 p->s[0] * temp * temp * kl);
    }
}

static void test_distil(struct kj_test *t)
{
    enum { N = 29, CHUNK = 8 };
    const size_t V = t->wide ? KD_MOST : 67;
    static const double set[3][2] = {{1, 1}, {0.25, 2}, {0.5, 0.5}};
    const size_t n = t->wide ? 9 : N;
    int32_t ids[N];
    for (int i = 0; i < N; i++)
        ids[i] = i % 7 == 3 ? -1 : (int32_t)(kj_test_uniform(t) * (double)V);
    for (int k = 0; k < 3; k++) {
        struct kj_probe p = {.n = {n * KD_H, V * KD_H, n * KD_TH, V * KD_TH},
                             .n_out = 1,
                             .d = {n, V},
                             .ids = ids,
                             .s = {set[k][0], set[k][1]},
                             .f = f_distil};
        kj_probe_init(t, &p);
        p.dy[0] = 1;
        struct kj_head_teacher teacher = {
            .x = kj_test_put(t, p.in[2], n * KD_TH, KD_TH),
            .w = kj_test_put(t, p.in[3], V * KD_TH, KD_TH),
            .ws = kj_test_put(t, NULL, CHUNK * V, V),
            .kl = kj_test_put_sum(t, NULL, n, 1),
            .h = KD_TH,
            .weight = (float)set[k][0],
            .temperature = (float)set[k][1]};
        struct kj_head head = {.teacher = &teacher,
                               .x = kj_test_put(t, p.in[0], n * KD_H, KD_H),
                               .w = kj_test_put(t, p.in[1], V * KD_H, KD_H),
                               .targets = kj_test_put_ids(t, ids, n),
                               .loss = kj_test_put_sum(t, NULL, n, 1),
                               .dx = kj_test_put(t, NULL, n * KD_H, KD_H),
                               .dw = kj_test_put_grad(t, NULL, V * KD_H, KD_H),
                               .ws = kj_test_put(t, NULL, CHUNK * V, V),
                               .n = n,
                               .h = KD_H,
                               .v = V,
                               .chunk = CHUNK,
                               .scale = (float)KD_SCALE * (k ? 4 : 1),
                               .scale_by =
                                   k ? kj_test_put_sum(t, &quarter, 1, 1) : KJ_MAT_NONE,
                               .zeta = (float)KD_ZETA};
        t->o->zero(t->b, head.dw, V * KD_H);
        kj_head_loss(t->b, &head);
        double *loss = kj_test_get(t, head.loss, n),
               *kl = kj_test_get(t, teacher.kl, n), sum = 0, z[KD_MOST];
        for (size_t i = 0; i < n; i++) {
            double lse = f_logits(z, V, p.in[0] + i * KD_H, p.in[1], KD_H, 1);
            sum += (1 - p.s[0]) * loss[i] + p.s[0] * kl[i] +
                   (ids[i] < 0 ? 0 : KD_ZETA * lse * lse);
        }
        sum *= KD_SCALE;
        f_distil(&p);
        kj_test_verdict(t, "distil", "loss", kj_test_differ(&sum, p.out, 1),
                        kj_test_limit(t, 1e-6));
        kj_test_gradient(t, "distil", "dx", &p, 0, head.dx);
        kj_test_gradient(t, "distil", "dw", &p, 1, head.dw);
        struct kj_mat all[] = {head.x,    head.w,    head.targets, head.loss,
                               head.dx,   head.dw,   head.ws,      head.scale_by,
                               teacher.x, teacher.w, teacher.ws,   teacher.kl};
        for (size_t i = 0; i < sizeof all / sizeof *all; i++)
            kj_test_drop(t, all[i]);
        free(loss);
        free(kl);
        kj_probe_free(&p);
    }
}

/* ---- AdamW, sums, scaling ---- */

static void test_adamw(struct kj_test *t)
{
    enum { N = 1000, STEPS = 5 };
    if (t->type != KJ_F32)
        return;
    double *w = kj_test_random(t, N), *m = kj_xcalloc(N, sizeof *m);
    double *v = kj_xcalloc(N, sizeof *v), *g = kj_test_random(t, N), sum = 0;
    struct kj_mat dw = kj_test_put_sum(t, w, N, N), dm = kj_test_put_sum(t, m, N, N),
                  dv = kj_test_put_sum(t, v, N, N);
    struct kj_mat dg = kj_test_put_sum(t, g, N, N);
    for (int s = 1; s <= STEPS; s++) {
        struct kj_adamw p = {.lr = 0.0625f,
                             .beta1 = 0.875f,
                             .beta2 = 0.9375f,
                             .eps = 1e-8f,
                             .decay = 0.0078125f,
                             .grad_scale = 0.5f,
                             .fix1 = (float)(1 / (1 - pow(0.875, s))),
                             .fix2 = (float)(1 / (1 - pow(0.9375, s)))};
        t->o->adamw(t->b, dw, dg, dm, dv, N, &p);
        for (int i = 0; i < N; i++) {
            m[i] = 0.875 * m[i] + 0.125 * 0.5 * g[i];
            v[i] = 0.9375 * v[i] + 0.0625 * 0.25 * g[i] * g[i];
            w[i] =
                w[i] * (1 - 0.0078125) - 0.0625 * m[i] / (1 - pow(0.875, s)) /
                                             (sqrt(v[i] / (1 - pow(0.9375, s))) + 1e-8);
        }
    }
    kj_test_compare(t, "adamw", "weights after 5 steps", dw, w, N, 1e-6);
    kj_test_compare(t, "adamw", "first moment", dm, m, N, 1e-6);
    kj_test_compare(t, "adamw", "second moment", dv, v, N, 1e-6);
    for (int i = 0; i < N; i++)
        sum += g[i] * g[i];
    double got = t->o->sumsq(t->b, dg, N);
    kj_test_verdict(t, "sumsq", "1000 elements", kj_test_differ(&got, &sum, 1), 1e-6);
    t->o->scale(t->b, dg, N, 0.25f);
    for (int i = 0; i < N; i++)
        g[i] *= 0.25;
    kj_test_compare(t, "scale", "by 1/4", dg, g, N, 0);
    t->o->axpby(t->b, dg, dw, N, 0.5f, -2);
    double *now = kj_test_get(t, dw, N);
    for (size_t i = 0; i < N; i++)
        g[i] = 0.5 * now[i] - 2 * g[i];
    kj_test_compare(t, "axpby", "x/2 - 2y", dg, g, N, 1e-6);
    t->o->axpby(t->b, dg, dw, N, -1, 0);
    for (size_t i = 0; i < N; i++)
        g[i] = -now[i];
    kj_test_compare(t, "axpby", "-x", dg, g, N, 0);
    free(now);
    kj_test_drop(t, dw);
    kj_test_drop(t, dm);
    kj_test_drop(t, dv);
    kj_test_drop(t, dg);
    free(w);
    free(m);
    free(v);
    free(g);
}

kj_test_fn *const kj_tests_model[] = {
    test_attention, test_attention_then, test_head, test_distil, test_adamw, NULL,
};

kj_test_fn *const kj_tests_model_grads[] = {test_head, NULL};
