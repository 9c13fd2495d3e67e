/* selftest.c - checks of a back end against float64 and finite differences.
 *
 * A check is a probe: input arrays in double, a function that computes the
 * outputs from them in the plainest way, and shapes. The inputs are rounded to
 * float32 first, so both sides start from equal values. For a backward pass
 * the loss is L = sum of dy * out with random dy; the back end's gradient g
 * must satisfy <g, u> = (L(x + e u) - L(x - e u)) / 2e for directions u.
 */
#include "nn/selftest.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "nn/backend.h"

#define MAX_IN 4

struct probe {
    size_t n[MAX_IN]; /* elements of each input; 0: none */
    double *in[MAX_IN];
    size_t n_out;
    double *out, *dy;
    const int32_t *ids;
    size_t d[6]; /* shape, as the operation likes */
    double s[2];
    const int32_t *cu_q, *cu_k;
    enum kj_act act;
    void (*f)(const struct probe *p);
};

struct test {
    struct kj_backend *b;
    const struct kj_ops *o;
    uint64_t rng;
    void (*report)(void *ctx, const struct kj_selftest *t);
    void *ctx;
    unsigned failed;
};

static double uniform(struct test *t) /* splitmix64, [0,1) */
{
    uint64_t z = t->rng += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return (double)((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

static double normal(struct test *t)
{
    double s = 0;
    for (int i = 0; i < 12; i++)
        s += uniform(t);
    return s - 6;
}

/* n random doubles that are float32 values */
static double *random_new(struct test *t, size_t n)
{
    double *x = kj_xcalloc(n ? n : 1, sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = (double)(float)normal(t);
    return x;
}

static void verdict(struct test *t, const char *op, const char *what, double worst,
                    double limit)
{
    struct kj_selftest r = {op, what, worst, limit, worst <= limit};
    if (!r.ok)
        t->failed++;
    if (t->report)
        t->report(t->ctx, &r);
}

/* A device copy of x, or a poisoned tensor. */
static struct kj_mat put(struct test *t, const double *x, size_t n, size_t stride)
{
    float *f = kj_xcalloc(n ? n : 1, sizeof *f);
    for (size_t i = 0; i < n; i++)
        f[i] = x ? (float)x[i] : NAN;
    struct kj_tensor *d = t->o->tensor_new(t->b, KJ_F32, n);
    if (d)
        t->o->write(t->b, d, 0, f, n);
    free(f);
    return kj_mat(d, 0, stride);
}

static struct kj_mat put_ids(struct test *t, const int32_t *x, size_t n)
{
    struct kj_tensor *d = t->o->tensor_new(t->b, KJ_I32, n);
    if (d)
        t->o->write(t->b, d, 0, x, n);
    return kj_mat(d, 0, 1);
}

static double *get(struct test *t, struct kj_mat m, size_t n)
{
    float *f = kj_xcalloc(n ? n : 1, sizeof *f);
    double *x = kj_xcalloc(n ? n : 1, sizeof *x);
    if (m.t)
        t->o->read(t->b, m.t, m.at, f, n);
    for (size_t i = 0; i < n; i++)
        x[i] = (double)f[i];
    free(f);
    return x;
}

static void drop(struct test *t, struct kj_mat m)
{
    t->o->tensor_free(t->b, m.t);
}

/* max |a - b| / max |b|; NaN anywhere counts as 1e300 */
static double differ(const double *a, const double *b, size_t n)
{
    double top = 1e-30, worst = 0;
    for (size_t i = 0; i < n; i++) {
        double d = fabs(a[i] - b[i]);
        top = fabs(b[i]) > top ? fabs(b[i]) : top;
        if (!(d <= worst))
            worst = isnan(d) ? 1e300 : d;
    }
    return worst / top;
}

/* Compare device memory with out. */
static void compare(struct test *t, const char *op, const char *what, struct kj_mat m,
                    const double *want, size_t n, double limit)
{
    double *got = get(t, m, n);
    verdict(t, op, what, differ(got, want, n), limit);
    free(got);
}

static double loss_of(const struct probe *p)
{
    double s = 0;
    p->f(p);
    for (size_t i = 0; i < p->n_out; i++)
        s += p->dy[i] * p->out[i];
    return s;
}

/* The gradient g by input k against central differences. */
static void gradient(struct test *t, const char *op, const char *what, struct probe *p,
                     int k, struct kj_mat g)
{
    const double e = 1e-4;
    size_t n = p->n[k];
    double *grad = get(t, g, n), *x = p->in[k], *old = kj_xcalloc(n, sizeof *old);
    double *u = kj_xcalloc(n, sizeof *u), worst = 0, top = 1e-30;
    memcpy(old, x, n * sizeof *x);
    for (int probe = 0; probe < 16; probe++) {
        double dot = 0, mag = 0;
        for (size_t i = 0; i < n; i++)
            u[i] = probe < 4 ? normal(t) : 0;
        if (probe >= 4)
            u[(size_t)(uniform(t) * (double)n)] = 1;
        for (size_t i = 0; i < n; i++) {
            dot += grad[i] * u[i];
            mag += grad[i] * grad[i];
            x[i] = old[i] + e * u[i];
        }
        double hi = loss_of(p);
        for (size_t i = 0; i < n; i++)
            x[i] = old[i] - e * u[i];
        double d = fabs((hi - loss_of(p)) / (2 * e) - dot);
        top = sqrt(mag) > top ? sqrt(mag) : top;
        if (!(d <= worst))
            worst = isnan(d) ? 1e300 : d;
    }
    memcpy(x, old, n * sizeof *x);
    verdict(t, op, what, worst / top, 1e-5);
    free(grad);
    free(old);
    free(u);
}

static void probe_init(struct test *t, struct probe *p)
{
    for (int i = 0; i < MAX_IN; i++)
        p->in[i] = p->n[i] ? random_new(t, p->n[i]) : NULL;
    p->out = kj_xcalloc(p->n_out, sizeof *p->out);
    p->dy = random_new(t, p->n_out);
    p->f(p);
}

static void probe_free(struct probe *p)
{
    for (int i = 0; i < MAX_IN; i++)
        free(p->in[i]);
    free(p->out);
    free(p->dy);
}

/* ---- matmul: d = m, n, k, flags ---- */

static void f_matmul(const struct probe *p)
{
    size_t m = p->d[0], n = p->d[1], k = p->d[2];
    bool ta = p->d[3] & KJ_MM_TA, tb = p->d[3] & KJ_MM_TB;
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) {
            double s = p->d[3] & KJ_MM_ADD ? p->in[2][i * n + j] : 0;
            for (size_t x = 0; x < k; x++)
                s += p->in[0][ta ? x * m + i : i * k + x] *
                     p->in[1][tb ? j * k + x : x * n + j];
            p->out[i * n + j] = s;
        }
}

static void test_matmul(struct test *t)
{
    static const size_t shapes[][3] = {{1, 33, 65}, {37, 41, 29}, {300, 70, 130}};
    static const char *const names[] = {"AB", "A'B", "AB'", "A'B'"};
    for (size_t s = 0; s < 3; s++)
        for (unsigned flags = 0; flags < 8; flags++) {
            size_t m = shapes[s][0], n = shapes[s][1], k = shapes[s][2];
            struct probe p = {.n = {m * k, k * n, m * n},
                              .n_out = m * n,
                              .d = {m, n, k, flags},
                              .f = f_matmul};
            char what[64];
            probe_init(t, &p);
            struct kj_mat a = put(t, p.in[0], m * k, flags & KJ_MM_TA ? m : k);
            struct kj_mat b = put(t, p.in[1], k * n, flags & KJ_MM_TB ? k : n);
            struct kj_mat c = put(t, flags & KJ_MM_ADD ? p.in[2] : NULL, m * n, n);
            t->o->matmul(t->b, c, a, b, m, n, k, flags);
            snprintf(what, sizeof what, "%s%s %zux%zux%zu", names[flags & 3],
                     flags & KJ_MM_ADD ? " + C" : "", m, n, k);
            compare(t, "matmul", what, c, p.out, m * n, 2e-6);
            drop(t, a);
            drop(t, b);
            drop(t, c);
            probe_free(&p);
        }
}

/* ---- embed: in[0] = w; d = rows, h, n ---- */

static void f_embed(const struct probe *p)
{
    for (size_t i = 0; i < p->d[2]; i++)
        memcpy(p->out + i * p->d[1], p->in[0] + (size_t)p->ids[i] * p->d[1],
               p->d[1] * sizeof(double));
}

static void test_embed(struct test *t)
{
    enum { V = 19, H = 77, N = 50 };
    int32_t ids[N];
    for (int i = 0; i < N; i++)
        ids[i] = (int32_t)(uniform(t) * V);
    struct probe p = {
        .n = {V * H}, .n_out = N * H, .d = {V, H, N}, .ids = ids, .f = f_embed};
    probe_init(t, &p);
    struct kj_mat w = put(t, p.in[0], V * H, H), y = put(t, NULL, N * H, H);
    struct kj_mat id = put_ids(t, ids, N), dy = put(t, p.dy, N * H, H);
    t->o->embed(t->b, y, w, id, N, H);
    compare(t, "embed", "50 of 19 rows", y, p.out, N * H, 0);
    t->o->zero(t->b, w, V * H);
    t->o->embed_back(t->b, w, dy, id, N, H);
    gradient(t, "embed", "dw", &p, 0, w);
    drop(t, w);
    drop(t, y);
    drop(t, id);
    drop(t, dy);
    probe_free(&p);
}

/* ---- norm: in = x, delta, w; d = n, h ---- */

#define NORM_EPS 1e-5

static void f_norm(const struct probe *p)
{
    size_t n = p->d[0], h = p->d[1];
    for (size_t i = 0; i < n; i++) {
        double q = 0;
        for (size_t j = 0; j < h; j++) {
            double s = p->in[0][i * h + j] + (p->n[1] ? p->in[1][i * h + j] : 0);
            p->out[i * h + j] = s;
            q += s * s;
        }
        q = 1 / sqrt(q / (double)h + NORM_EPS);
        for (size_t j = 0; j < h; j++)
            p->out[i * h + j] *= q * p->in[2][j];
    }
}

static void test_norm(struct test *t)
{
    enum { N = 133, H = 83 };
    for (int delta = 0; delta < 2; delta++) {
        struct probe p = {.n = {N * H, delta ? N * H : 0, H},
                          .n_out = N * H,
                          .d = {N, H},
                          .f = f_norm};
        probe_init(t, &p);
        struct kj_mat x = put(t, p.in[0], N * H, H), s = x, e = KJ_MAT_NONE;
        struct kj_mat w = put(t, p.in[2], H, H), y = put(t, NULL, N * H, H);
        struct kj_mat r = put(t, NULL, N, 1), dy = put(t, p.dy, N * H, H);
        struct kj_mat dx = put(t, NULL, N * H, H), dw = put(t, NULL, H, H);
        if (delta) {
            s = put(t, NULL, N * H, H);
            e = put(t, p.in[1], N * H, H);
        }
        t->o->norm(t->b, y, s, r, x, e, w, N, H, (float)NORM_EPS);
        compare(t, "norm", delta ? "x + delta" : "x", y, p.out, N * H, 2e-6);
        t->o->zero(t->b, dw, H);
        t->o->norm_back(t->b, dx, dw, dy, s, r, w, N, H, false);
        gradient(t, "norm", "dx", &p, 0, dx);
        gradient(t, "norm", "dw", &p, 2, dw);
        if (delta) {
            double *once = get(t, dx, N * H);
            t->o->norm_back(t->b, dx, dw, dy, s, r, w, N, H, true);
            for (size_t i = 0; i < N * H; i++)
                once[i] *= 2;
            compare(t, "norm", "dx added", dx, once, N * H, 1e-6);
            free(once);
            drop(t, s);
            drop(t, e);
        }
        drop(t, x);
        drop(t, w);
        drop(t, y);
        drop(t, r);
        drop(t, dy);
        drop(t, dx);
        drop(t, dw);
        probe_free(&p);
    }
}

/* ---- layer_norm: in = x, delta, bias, and w with c behind it; d = n, h ---- */

static void f_layer_norm(const struct probe *p)
{
    size_t n = p->d[0], h = p->d[1];
    for (size_t i = 0; i < n; i++) {
        double *y = p->out + i * h, mean = 0, var = 0;
        for (size_t j = 0; j < h; j++) {
            y[j] = p->in[0][i * h + j] + (p->n[1] ? p->in[1][i * h + j] : 0) +
                   (p->n[2] ? p->in[2][j] : 0);
            mean += y[j] / (double)h;
        }
        for (size_t j = 0; j < h; j++)
            var += (y[j] - mean) * (y[j] - mean) / (double)h;
        for (size_t j = 0; j < h; j++)
            y[j] = p->in[3][j] * (y[j] - mean) / sqrt(var + NORM_EPS) + p->in[3][h + j];
    }
}

static void test_layer_norm(struct test *t)
{
    enum { N = 133, H = 83 };
    for (int with = 0; with < 4; with++) {
        struct probe p = {.n = {N * H, with & 1 ? N * H : 0, with & 2 ? H : 0, 2 * H},
                          .n_out = N * H,
                          .d = {N, H},
                          .f = f_layer_norm};
        char what[64];
        probe_init(t, &p);
        struct kj_mat x = put(t, p.in[0], N * H, H), w = put(t, p.in[3], 2 * H, H);
        struct kj_mat e = p.n[1] ? put(t, p.in[1], N * H, H) : KJ_MAT_NONE;
        struct kj_mat b = p.n[2] ? put(t, p.in[2], H, H) : KJ_MAT_NONE;
        struct kj_mat y = put(t, NULL, N * H, H);
        struct kj_mat into[] = {y, x};
        for (int in_place = 0; in_place < 2; in_place++) {
            t->o->layer_norm(t->b, into[in_place], x, e, b, w, kj_mat(w.t, H, H), N, H,
                             (float)NORM_EPS);
            snprintf(what, sizeof what, "x%s%s%s", with & 1 ? " + delta" : "",
                     with & 2 ? " + bias" : "", in_place ? ", in place" : "");
            compare(t, "layer_norm", what, into[in_place], p.out, N * H, 2e-6);
        }
        struct kj_mat all[] = {x, w, e, b, y};
        for (size_t i = 0; i < sizeof all / sizeof *all; i++)
            drop(t, all[i]);
        probe_free(&p);
    }
}

/* ---- bias and activation: in = x, bias; d = n, h ---- */

static void f_act(const struct probe *p)
{
    size_t h = p->d[1];
    for (size_t i = 0; i < p->n_out; i++) {
        double x = p->in[0][i] + (p->n[1] ? p->in[1][i % h] : 0), y = x;
        if (p->act == KJ_ACT_RELU)
            y = x > 0 ? x : 0;
        else if (p->act == KJ_ACT_TANH)
            y = tanh(x);
        else if (p->act == KJ_ACT_GELU)
            y = x * 0.5 * erfc(-x * sqrt(0.5));
        else if (p->act == KJ_ACT_GELU_TANH)
            y = 0.5 * x * (1 + tanh(sqrt(2 / acos(-1)) * (x + 0.044715 * x * x * x)));
        p->out[i] = y;
    }
}

static void test_act(struct test *t)
{
    enum { N = 137, H = 71 };
    static const char *const names[] = {"none", "relu", "tanh", "gelu", "gelu_tanh"};
    for (int with = 0; with < 2; with++)
        for (int act = 0; act <= KJ_ACT_GELU_TANH; act++) {
            struct probe p = {.n = {N * H, with ? H : 0},
                              .n_out = N * H,
                              .d = {N, H},
                              .act = (enum kj_act)act,
                              .f = f_act};
            probe_init(t, &p);
            for (int i = 0; i < 40; i++) /* far ends, and about 0 */
                p.in[0][i] = (double)(float)(i < 20 ? (i - 10) * 20 : (i - 30) * 0.01);
            p.f(&p);
            struct kj_mat x = put(t, p.in[0], N * H, H), dy = put(t, p.dy, N * H, H);
            struct kj_mat b = with ? put(t, p.in[1], H, H) : KJ_MAT_NONE;
            struct kj_mat db = put(t, NULL, H, H);
            t->o->bias_act(t->b, x, b, N, H, p.act);
            /* Against the values of a usual size, not the largest. */
            compare(t, names[act], with ? "with bias" : "forward", x, p.out, 20, 1e-6);
            x.at = 20;
            compare(t, names[act], "near", x, p.out + 20, N * H - 20, 1e-6);
            x.at = 0;
            if (act <= KJ_ACT_TANH) {
                t->o->zero(t->b, db, H);
                t->o->act_back(t->b, dy, with ? db : KJ_MAT_NONE, dy, x, N, H, p.act);
                if (act == KJ_ACT_RELU) { /* its kink is within the differences */
                    for (size_t i = 0; i < p.n_out; i++)
                        p.dy[i] = p.out[i] > 0 ? p.dy[i] : 0;
                    compare(t, names[act], "dx in place", dy, p.dy, p.n_out, 0);
                } else {
                    gradient(t, names[act], "dx in place", &p, 0, dy);
                    if (with)
                        gradient(t, names[act], "dbias", &p, 1, db);
                }
            }
            drop(t, x);
            drop(t, dy);
            drop(t, b);
            drop(t, db);
            probe_free(&p);
        }
}

/* ---- rope: in = x, table; d = n, heads, dim; ids = positions ---- */

static void f_rope(const struct probe *p)
{
    size_t dim = p->d[2], half = dim / 2;
    for (size_t i = 0; i < p->d[0] * p->d[1]; i++) {
        const double *x = p->in[0] + i * dim;
        const double *c = p->in[1] + (size_t)p->ids[i / p->d[1]] * dim;
        for (size_t j = 0; j < half; j++) {
            p->out[i * dim + j] = x[j] * c[j] - x[j + half] * c[j + half];
            p->out[i * dim + j + half] = x[j + half] * c[j] + x[j] * c[j + half];
        }
    }
}

static void test_rope(struct test *t)
{
    enum { N = 21, HEADS = 3, DIM = 26, POS = 9 };
    int32_t ids[N];
    size_t n = (size_t)N * HEADS * DIM;
    for (int i = 0; i < N; i++)
        ids[i] = (int32_t)(uniform(t) * POS);
    struct probe p = {
        .n = {n, POS * DIM}, .n_out = n, .d = {N, HEADS, DIM}, .ids = ids, .f = f_rope};
    probe_init(t, &p);
    struct kj_mat x = put(t, p.in[0], n, HEADS * DIM);
    struct kj_mat dx = put(t, p.dy, n, HEADS * DIM);
    struct kj_mat c = put(t, p.in[1], POS * DIM, DIM), id = put_ids(t, ids, N);
    t->o->rope(t->b, x, id, c, N, HEADS, DIM, false);
    compare(t, "rope", "forward", x, p.out, n, 1e-6);
    t->o->rope(t->b, dx, id, c, N, HEADS, DIM, true);
    gradient(t, "rope", "dx", &p, 0, dx);
    drop(t, x);
    drop(t, dx);
    drop(t, c);
    drop(t, id);
    probe_free(&p);
}

/* ---- attention: in = q, k, v; d = heads, kv_heads, dim, segs, full ---- */

static void attend(const struct probe *p, size_t row, size_t head, size_t k0, size_t k1)
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

static void f_attention(const struct probe *p)
{
    for (size_t s = 0; s < p->d[3]; s++) {
        size_t k0 = (size_t)p->cu_k[s], k1 = (size_t)p->cu_k[s + 1];
        size_t q0 = (size_t)p->cu_q[s], q1 = (size_t)p->cu_q[s + 1];
        for (size_t q = q0; q < q1; q++)
            for (size_t h = 0; h < p->d[0]; h++)
                attend(p, q, h, k0, p->d[4] ? k1 : k1 - (q1 - q - 1));
    }
}

static void one_attention(struct test *t, size_t heads, size_t kv, size_t dim,
                          size_t segs, const int32_t *cu_q, const int32_t *cu_k,
                          bool full)
{
    size_t nq = (size_t)cu_q[segs], nk = (size_t)cu_k[segs];
    size_t wq = heads * dim, wk = kv * dim;
    struct probe p = {.n = {nq * wq, nk * wk, nk * wk},
                      .n_out = nq * wq,
                      .d = {heads, kv, dim, segs, full},
                      .s = {1 / sqrt((double)dim)},
                      .cu_q = cu_q,
                      .cu_k = cu_k,
                      .f = f_attention};
    char what[96];
    probe_init(t, &p);
    struct kj_attn a = {.q = put(t, p.in[0], nq * wq, wq),
                        .k = put(t, p.in[1], nk * wk, wk),
                        .v = put(t, p.in[2], nk * wk, wk),
                        .o = put(t, NULL, nq * wq, wq),
                        .lse = put(t, NULL, nq * heads, heads),
                        .heads = heads,
                        .kv_heads = kv,
                        .dim = dim,
                        .scale = (float)p.s[0],
                        .full = full,
                        .segs = segs,
                        .cu_q = cu_q,
                        .cu_k = cu_k};
    struct kj_attn_grad g = {.d_o = put(t, p.dy, nq * wq, wq),
                             .dq = put(t, NULL, nq * wq, wq),
                             .dk = put(t, NULL, nk * wk, wk),
                             .dv = put(t, NULL, nk * wk, wk)};
    t->o->attention(t->b, &a);
    snprintf(what, sizeof what, "%zu/%zu heads of %zu, %zu queries, %zu keys%s", heads,
             kv, dim, nq, nk, full ? ", full" : "");
    compare(t, "attention", what, a.o, p.out, nq * wq, 3e-6);
    t->o->attention_back(t->b, &a, &g);
    gradient(t, "attention", "dq", &p, 0, g.dq);
    gradient(t, "attention", "dk", &p, 1, g.dk);
    gradient(t, "attention", "dv", &p, 2, g.dv);
    struct kj_mat all[] = {a.q, a.k, a.v, a.o, a.lse, g.d_o, g.dq, g.dk, g.dv};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        drop(t, all[i]);
    probe_free(&p);
}

static void test_attention(struct test *t)
{
    static const int32_t docs[] = {0, 1, 70, 70, 99}, one[] = {0, 300};
    static const int32_t q[] = {0, 1, 6}, k[] = {0, 40, 47};
    one_attention(t, 6, 2, 10, 4, docs, docs, false);
    one_attention(t, 2, 2, 8, 1, one, one, false);
    one_attention(t, 4, 1, 16, 2, q, k, false);
    one_attention(t, 6, 2, 10, 4, docs, docs, true);
    one_attention(t, 2, 2, 8, 1, one, one, true);
    one_attention(t, 4, 1, 16, 2, k, q, true);
}

/* ---- SwiGLU: in = g, u; d = n, f ---- */

static void f_swiglu(const struct probe *p)
{
    for (size_t i = 0; i < p->n_out; i++)
        p->out[i] = p->in[0][i] / (1 + exp(-p->in[0][i])) * p->in[1][i];
}

static void test_swiglu(struct test *t)
{
    enum { N = 31, F = 53 };
    struct probe p = {.n = {N * F, N * F}, .n_out = N * F, .f = f_swiglu};
    probe_init(t, &p);
    p.in[0][0] = -200; /* far ends of the sigmoid */
    p.in[0][1] = 200;
    p.f(&p);
    struct kj_mat g = put(t, p.in[0], N * F, F), u = put(t, p.in[1], N * F, F);
    struct kj_mat h = put(t, NULL, N * F, F), dh = put(t, p.dy, N * F, F);
    t->o->swiglu(t->b, h, g, u, N, F);
    compare(t, "swiglu", "forward", h, p.out, N * F, 1e-6);
    t->o->swiglu_back(t->b, g, u, dh, g, u, N, F);
    gradient(t, "swiglu", "dg in place", &p, 0, g);
    gradient(t, "swiglu", "du in place", &p, 1, u);
    drop(t, g);
    drop(t, u);
    drop(t, h);
    drop(t, dh);
    probe_free(&p);
}

/* ---- head and cross-entropy: in = x, w; d = n, h, v; s = scale, zeta.
 * out has one value, dy[0] = 1. ---- */

static void f_head(const struct probe *p)
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

static void test_head(struct test *t)
{
    enum { N = 29, H = 12, V = 67, CHUNK = 8 };
    int32_t ids[N];
    for (int i = 0; i < N; i++)
        ids[i] = i % 7 == 3 ? -1 : (int32_t)(uniform(t) * V);
    for (int z = 0; z < 2; z++) {
        struct probe p = {.n = {N * H, V * H},
                          .n_out = 1,
                          .d = {N, H, V},
                          .ids = ids,
                          .s = {0.0625, z ? 0.03125 : 0},
                          .f = f_head};
        probe_init(t, &p);
        p.dy[0] = 1;
        struct kj_head head = {.x = put(t, p.in[0], N * H, H),
                               .w = put(t, p.in[1], V * H, H),
                               .targets = put_ids(t, ids, N),
                               .loss = put(t, NULL, N, 1),
                               .lse = put(t, NULL, N, 1),
                               .dx = put(t, NULL, N * H, H),
                               .dw = put(t, NULL, V * H, H),
                               .ws = put(t, NULL, CHUNK * V, V),
                               .n = N,
                               .h = H,
                               .v = V,
                               .chunk = CHUNK,
                               .scale = (float)p.s[0],
                               .zeta = (float)p.s[1]};
        t->o->zero(t->b, head.dw, V * H);
        kj_head_loss(t->b, &head);
        double *loss = get(t, head.loss, N), *lse = get(t, head.lse, N), sum = 0;
        for (size_t i = 0; i < N; i++)
            sum += ids[i] < 0 ? loss[i] : p.s[0] * (loss[i] + p.s[1] * lse[i] * lse[i]);
        verdict(t, "head", z ? "loss + z-loss" : "loss", differ(&sum, p.out, 1), 1e-6);
        gradient(t, "head", "dx", &p, 0, head.dx);
        gradient(t, "head", "dw", &p, 1, head.dw);
        struct kj_mat all[] = {head.x,   head.w,  head.targets, head.loss,
                               head.lse, head.dx, head.dw,      head.ws};
        for (size_t i = 0; i < sizeof all / sizeof *all; i++)
            drop(t, all[i]);
        free(loss);
        free(lse);
        probe_free(&p);
    }
}

/* ---- distillation: in = x, w, teacher's x, w; d = n, h, v, teacher's h;
 * s = weight, temperature ---- */

enum { KD_H = 12, KD_TH = 9, KD_V = 67 };
#define KD_SCALE 0.0625
#define KD_ZETA  0.03125

/* z = rows x of w, over T; the log of their sum of exponentials. */
static double f_logits(double *z, const double *x, const double *w, size_t h,
                       double temp)
{
    double sum = 0;
    for (size_t j = 0; j < KD_V; j++) {
        z[j] = 0;
        for (size_t k = 0; k < h; k++)
            z[j] += x[k] * w[j * h + k] / temp;
        sum += exp(z[j]);
    }
    return log(sum);
}

static void f_distil(const struct probe *p)
{
    double z[KD_V], q[KD_V];
    p->out[0] = 0;
    for (size_t i = 0; i < p->d[0]; i++) {
        const double *x = p->in[0] + i * KD_H, temp = p->s[1];
        double kl = 0, lse = f_logits(z, x, p->in[1], KD_H, 1);
        if (p->ids[i] < 0)
            continue;
        double hard = lse - z[p->ids[i]];
        double a = f_logits(z, x, p->in[1], KD_H, temp);
        double b = f_logits(q, p->in[2] + i * KD_TH, p->in[3], KD_TH, temp);
        for (size_t j = 0; j < KD_V; j++)
            kl += exp(q[j] - b) * (q[j] - b - z[j] + a);
        p->out[0] += KD_SCALE * ((1 - p->s[0]) * hard + KD_ZETA * lse * lse +
                                 p->s[0] * temp * temp * kl);
    }
}

static void test_distil(struct test *t)
{
    enum { N = 29, CHUNK = 8 };
    static const double set[3][2] = {{1, 1}, {0.25, 2}, {0.5, 0.5}};
    int32_t ids[N];
    for (int i = 0; i < N; i++)
        ids[i] = i % 7 == 3 ? -1 : (int32_t)(uniform(t) * KD_V);
    for (int k = 0; k < 3; k++) {
        struct probe p = {.n = {N * KD_H, KD_V * KD_H, N * KD_TH, KD_V * KD_TH},
                          .n_out = 1,
                          .d = {N},
                          .ids = ids,
                          .s = {set[k][0], set[k][1]},
                          .f = f_distil};
        probe_init(t, &p);
        p.dy[0] = 1;
        struct kj_head_teacher teacher = {.x = put(t, p.in[2], N * KD_TH, KD_TH),
                                          .w = put(t, p.in[3], KD_V * KD_TH, KD_TH),
                                          .ws = put(t, NULL, CHUNK * KD_V, KD_V),
                                          .kl = put(t, NULL, N, 1),
                                          .h = KD_TH,
                                          .weight = (float)set[k][0],
                                          .temperature = (float)set[k][1]};
        struct kj_head head = {.teacher = &teacher,
                               .x = put(t, p.in[0], N * KD_H, KD_H),
                               .w = put(t, p.in[1], KD_V * KD_H, KD_H),
                               .targets = put_ids(t, ids, N),
                               .loss = put(t, NULL, N, 1),
                               .dx = put(t, NULL, N * KD_H, KD_H),
                               .dw = put(t, NULL, KD_V * KD_H, KD_H),
                               .ws = put(t, NULL, CHUNK * KD_V, KD_V),
                               .n = N,
                               .h = KD_H,
                               .v = KD_V,
                               .chunk = CHUNK,
                               .scale = (float)KD_SCALE,
                               .zeta = (float)KD_ZETA};
        t->o->zero(t->b, head.dw, KD_V * KD_H);
        kj_head_loss(t->b, &head);
        double *loss = get(t, head.loss, N), *kl = get(t, teacher.kl, N), sum = 0,
               z[KD_V];
        for (size_t i = 0; i < N; i++) {
            double lse = f_logits(z, p.in[0] + i * KD_H, p.in[1], KD_H, 1);
            sum += (1 - p.s[0]) * loss[i] + p.s[0] * kl[i] +
                   (ids[i] < 0 ? 0 : KD_ZETA * lse * lse);
        }
        sum *= KD_SCALE;
        f_distil(&p);
        verdict(t, "distil", "loss", differ(&sum, p.out, 1), 1e-6);
        gradient(t, "distil", "dx", &p, 0, head.dx);
        gradient(t, "distil", "dw", &p, 1, head.dw);
        struct kj_mat all[] = {head.x,    head.w,     head.targets, head.loss,
                               head.dx,   head.dw,    head.ws,      teacher.x,
                               teacher.w, teacher.ws, teacher.kl};
        for (size_t i = 0; i < sizeof all / sizeof *all; i++)
            drop(t, all[i]);
        free(loss);
        free(kl);
        probe_free(&p);
    }
}

/* ---- AdamW, sums, scaling ---- */

static void test_adamw(struct test *t)
{
    enum { N = 1000, STEPS = 5 };
    double *w = random_new(t, N), *m = kj_xcalloc(N, sizeof *m);
    double *v = kj_xcalloc(N, sizeof *v), *g = random_new(t, N), sum = 0;
    struct kj_mat dw = put(t, w, N, N), dm = put(t, m, N, N), dv = put(t, v, N, N);
    struct kj_mat dg = put(t, g, N, N);
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
    compare(t, "adamw", "weights after 5 steps", dw, w, N, 1e-6);
    compare(t, "adamw", "first moment", dm, m, N, 1e-6);
    compare(t, "adamw", "second moment", dv, v, N, 1e-6);
    for (int i = 0; i < N; i++)
        sum += g[i] * g[i];
    double got = t->o->sumsq(t->b, dg, N);
    verdict(t, "sumsq", "1000 elements", differ(&got, &sum, 1), 1e-6);
    t->o->scale(t->b, dg, N, 0.25f);
    for (int i = 0; i < N; i++)
        g[i] *= 0.25;
    compare(t, "scale", "by 1/4", dg, g, N, 0);
    t->o->axpby(t->b, dg, dw, N, 0.5f, -2);
    double *now = get(t, dw, N);
    for (size_t i = 0; i < N; i++)
        g[i] = 0.5 * now[i] - 2 * g[i];
    compare(t, "axpby", "x/2 - 2y", dg, g, N, 1e-6);
    t->o->axpby(t->b, dg, dw, N, -1, 0);
    for (size_t i = 0; i < N; i++)
        g[i] = -now[i];
    compare(t, "axpby", "-x", dg, g, N, 0);
    free(now);
    drop(t, dw);
    drop(t, dm);
    drop(t, dv);
    drop(t, dg);
    free(w);
    free(m);
    free(v);
    free(g);
}

int kj_selftest_run(struct kj_backend *b, uint64_t seed,
                    void (*report)(void *ctx, const struct kj_selftest *t), void *ctx,
                    unsigned *failed, struct kj_err *err)
{
    struct test t = {.b = b, .o = b->ops, .rng = seed, .report = report, .ctx = ctx};
    static void (*const tests[])(struct test *) = {
        test_matmul,    test_embed,  test_norm, test_layer_norm, test_act,   test_rope,
        test_attention, test_swiglu, test_head, test_distil,     test_adamw,
    };
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
        tests[i](&t);
        int rc = b->ops->sync(b, err);
        if (rc)
            return rc;
    }
    *failed = t.failed;
    return KJ_OK;
}
