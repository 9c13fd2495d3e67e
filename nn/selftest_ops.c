/* selftest_ops.c - checks of products, norms and maps of single elements. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "nn/selftest_internal.h"

/* ---- matmul: d = m, n, k, flags ---- */

static void f_matmul(const struct kj_probe *p)
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

static void test_matmul(struct kj_test *t)
{
    static const size_t odd[][3] = {{1, 33, 65}, {37, 41, 29}, {300, 70, 130}};
    static const size_t wide[][3] = {{1, 32, 64}, {40, 48, 24}, {16, 264, 520}};
    const size_t(*shapes)[3] = t->wide ? wide : odd;
    static const char *const names[] = {"AB", "A'B", "AB'", "A'B'"};
    for (size_t s = 0; s < 3; s++)
        for (unsigned flags = 0; flags < 16; flags++) {
            size_t m = shapes[s][0], n = shapes[s][1], k = shapes[s][2];
            struct kj_probe p = {.n = {m * k, k * n, m * n},
                                 .n_out = m * n,
                                 .d = {m, n, k, flags},
                                 .f = f_matmul};
            char what[64];
            kj_probe_init(t, &p);
            if (flags & KJ_MM_BF16) { /* numbers that no rounding changes */
                for (size_t i = 0; i < m * k; i++)
                    p.in[0][i] = kj_test_bf16(p.in[0][i]);
                for (size_t i = 0; i < k * n; i++)
                    p.in[1][i] = kj_test_bf16(p.in[1][i]);
                p.f(&p);
            }
            struct kj_mat a = kj_test_put(t, p.in[0], m * k, flags & KJ_MM_TA ? m : k);
            struct kj_mat b = kj_test_put(t, p.in[1], k * n, flags & KJ_MM_TB ? k : n);
            struct kj_mat c = flags & KJ_MM_ADD ? kj_test_put_grad(t, p.in[2], m * n, n)
                                                : kj_test_put(t, NULL, m * n, n);
            t->o->matmul(t->b, c, a, b, m, n, k, flags);
            snprintf(what, sizeof what, "%s%s%s %zux%zux%zu", names[flags & 3],
                     flags & KJ_MM_ADD ? " + C" : "",
                     flags & KJ_MM_BF16 ? " of bf16" : "", m, n, k);
            kj_test_compare(t, "matmul", what, c, p.out, m * n, 2e-6);
            kj_test_drop(t, a);
            kj_test_drop(t, b);
            kj_test_drop(t, c);
            kj_probe_free(&p);
        }
}

/* ---- embed: in[0] = w; d = rows, h, n ---- */

static void f_embed(const struct kj_probe *p)
{
    for (size_t i = 0; i < p->d[2]; i++)
        memcpy(p->out + i * p->d[1], p->in[0] + (size_t)p->ids[i] * p->d[1],
               p->d[1] * sizeof(double));
}

static void test_embed(struct kj_test *t)
{
    enum { V = 19, N = 50 };
    const size_t H = t->wide ? 2176 : 77;
    int32_t ids[N];
    for (int i = 0; i < N; i++)
        ids[i] = (int32_t)(kj_test_uniform(t) * V);
    struct kj_probe p = {
        .n = {V * H}, .n_out = N * H, .d = {V, H, N}, .ids = ids, .f = f_embed};
    kj_probe_init(t, &p);
    struct kj_mat w = kj_test_put(t, p.in[0], V * H, H),
                  y = kj_test_put(t, NULL, N * H, H);
    struct kj_mat id = kj_test_put_ids(t, ids, N), dy = kj_test_put(t, p.dy, N * H, H);
    t->o->embed(t->b, y, w, id, N, H);
    kj_test_compare(t, "embed", "50 of 19 rows", y, p.out, N * H, 0);
    struct kj_mat dw = kj_test_put_grad(t, NULL, V * H, H);
    t->o->zero(t->b, dw, V * H);
    t->o->embed_back(t->b, dw, dy, id, N, H);
    kj_test_gradient(t, "embed", "dw", &p, 0, dw);
    kj_test_drop(t, dw);
    kj_test_drop(t, w);
    kj_test_drop(t, y);
    kj_test_drop(t, id);
    kj_test_drop(t, dy);
    kj_probe_free(&p);
}

/* Rows of a table are replaced, the others stay. */
static void test_put(struct kj_test *t)
{
    enum { V = 23, N = 9 };
    const size_t H = t->wide ? 2176 : 77;
    int32_t ids[N];
    double *w = kj_test_random(t, V * H), *y = kj_test_random(t, N * H);
    struct kj_mat mw = kj_test_put(t, w, V * H, H), my = kj_test_put(t, y, N * H, H);
    for (int i = 0; i < N; i++) {
        ids[i] = (i * 5 + 3) % V;
        memcpy(w + (size_t)ids[i] * H, y + (size_t)i * H, H * sizeof *w);
    }
    struct kj_mat id = kj_test_put_ids(t, ids, N);
    t->o->put(t->b, mw, my, id, N, H);
    kj_test_compare(t, "put", "9 of 23 rows", mw, w, V * H, 0);
    kj_test_drop(t, mw);
    kj_test_drop(t, my);
    kj_test_drop(t, id);
    free(w);
    free(y);
}

/* Sums are added to what is there, in double. */
static void test_add_sum(struct kj_test *t)
{
    const size_t N = t->wide ? 40000 : 331;
    const double start = 1e6;
    int32_t bits[2];
    double *x = kj_test_random(t, N), want[2] = {start, start}, got[2];
    memcpy(bits, &start, sizeof bits);
    struct kj_mat v = kj_test_put(t, x, N, N), f = kj_test_put_sum(t, x, N, N);
    for (size_t i = 0; i < N; i++) {
        want[0] += (double)(float)x[i];
        want[1] += (double)(float)x[i] * (double)(float)x[i];
    }
    for (int k = 0; k < 2; k++) {
        struct kj_mat acc = kj_test_put_ids(t, bits, 2);
        t->o->add_sum(t->b, acc, k ? v : f, N, k == 1);
        t->o->read(t->b, acc.t, 0, &got[k], 2);
        kj_test_drop(t, acc);
    }
    kj_test_verdict(t, "add_sum", "plain", fabs(got[0] - want[0]), 1e-8);
    /* Of float32 sums a few roundings; 1.2e-7 is what a CPU has at some seeds. */
    kj_test_verdict(t, "add_sum", "squares", fabs(got[1] - want[1]) / (double)N, 5e-7);
    kj_test_drop(t, v);
    kj_test_drop(t, f);
    free(x);
}

/* Bags of 0 to 9 rows, and one that is larger than a block of threads. */
static void test_embed_mean(struct kj_test *t)
{
    enum { V = 23, N = 40 };
    const size_t H = t->wide ? 2176 : 77;
    int32_t ids[N * 9 + 700], cu[N + 1] = {0};
    double *w = kj_xcalloc(V * H, sizeof *w), *want = kj_xcalloc(N * H, sizeof *want);
    for (size_t i = 0; i < V * H; i++)
        w[i] = kj_test_value(t, kj_test_uniform(t) - 0.5);
    for (int i = 0; i < N; i++)
        cu[i + 1] = cu[i] + (i == 7 ? 700 : i % 10);
    for (int32_t k = 0; k < cu[N]; k++)
        ids[k] = (int32_t)(kj_test_uniform(t) * V);
    for (int i = 0; i < N; i++)
        for (int32_t k = cu[i]; k < cu[i + 1]; k++)
            for (size_t j = 0; j < H; j++)
                want[(size_t)i * H + j] +=
                    w[(size_t)ids[k] * H + j] / (cu[i + 1] - cu[i]);
    struct kj_mat mw = kj_test_put(t, w, V * H, H), y = kj_test_put(t, NULL, N * H, H);
    struct kj_mat id = kj_test_put_ids(t, ids, (size_t)cu[N]),
                  bags = kj_test_put_ids(t, cu, N + 1);
    t->o->embed_mean(t->b, y, mw, id, bags, N, H);
    kj_test_compare(t, "embed_mean", "40 bags", y, want, N * H, 2e-6);
    kj_test_drop(t, mw);
    kj_test_drop(t, y);
    kj_test_drop(t, id);
    kj_test_drop(t, bags);
    free(w);
    free(want);
}

/* ---- norm: in = x, delta, w; d = n, h ---- */

#define NORM_EPS 1e-5

static void f_norm(const struct kj_probe *p)
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

static void test_norm(struct kj_test *t)
{
    const size_t N = t->wide ? 18 : 133, H = t->wide ? 2176 : 83;
    for (int delta = 0; delta < 2; delta++) {
        struct kj_probe p = {.n = {N * H, delta ? N * H : 0, H},
                             .n_out = N * H,
                             .d = {N, H},
                             .f = f_norm};
        kj_probe_init(t, &p);
        struct kj_mat x = kj_test_put(t, p.in[0], N * H, H), s = x, e = KJ_MAT_NONE;
        struct kj_mat w = kj_test_put(t, p.in[2], H, H),
                      y = kj_test_put(t, NULL, N * H, H);
        struct kj_mat r = kj_test_put_sum(t, NULL, N, 1),
                      dy = kj_test_put(t, p.dy, N * H, H);
        struct kj_mat dx = kj_test_put(t, NULL, N * H, H),
                      dw = kj_test_put_grad(t, NULL, H, H);
        if (delta) {
            s = kj_test_put(t, NULL, N * H, H);
            e = kj_test_put(t, p.in[1], N * H, H);
        }
        t->o->norm(t->b, y, s, r, x, e, w, N, H, (float)NORM_EPS);
        kj_test_compare(t, "norm", delta ? "x + delta" : "x", y, p.out, N * H, 2e-6);
        t->o->zero(t->b, dw, H);
        t->o->norm_back(t->b, dx, dw, dy, s, r, w, N, H, false);
        kj_test_gradient(t, "norm", "dx", &p, 0, dx);
        kj_test_gradient(t, "norm", "dw", &p, 2, dw);
        if (delta) {
            double *once = kj_test_get(t, dx, N * H);
            t->o->norm_back(t->b, dx, dw, dy, s, r, w, N, H, true);
            for (size_t i = 0; i < N * H; i++)
                once[i] *= 2;
            kj_test_compare(t, "norm", "dx added", dx, once, N * H, 1e-6);
            free(once);
            kj_test_drop(t, s);
            kj_test_drop(t, e);
        }
        kj_test_drop(t, x);
        kj_test_drop(t, w);
        kj_test_drop(t, y);
        kj_test_drop(t, r);
        kj_test_drop(t, dy);
        kj_test_drop(t, dx);
        kj_test_drop(t, dw);
        kj_probe_free(&p);
    }
}

/* ---- layer_norm: in = x, delta, bias, and w with c behind it; d = n, h ---- */

static void f_layer_norm(const struct kj_probe *p)
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

static void one_layer_norm(struct kj_test *t, size_t N, size_t H)
{
    for (int with = 0; with < 4; with++) {
        struct kj_probe p = {
            .n = {N * H, with & 1 ? N * H : 0, with & 2 ? H : 0, 2 * H},
            .n_out = N * H,
            .d = {N, H},
            .f = f_layer_norm};
        char what[64];
        kj_probe_init(t, &p);
        struct kj_mat x = kj_test_put(t, p.in[0], N * H, H),
                      w = kj_test_put(t, p.in[3], 2 * H, H);
        struct kj_mat e = p.n[1] ? kj_test_put(t, p.in[1], N * H, H) : KJ_MAT_NONE;
        struct kj_mat b = p.n[2] ? kj_test_put(t, p.in[2], H, H) : KJ_MAT_NONE;
        struct kj_mat y = kj_test_put(t, NULL, N * H, H);
        struct kj_mat into[] = {y, x};
        for (int in_place = 0; in_place < 2; in_place++) {
            t->o->layer_norm(t->b, into[in_place], x, e, b, w, kj_mat(w.t, H, H), N, H,
                             (float)NORM_EPS);
            snprintf(what, sizeof what, "x%s%s%s", with & 1 ? " + delta" : "",
                     with & 2 ? " + bias" : "", in_place ? ", in place" : "");
            kj_test_compare(t, "layer_norm", what, into[in_place], p.out, N * H, 2e-6);
        }
        struct kj_mat all[] = {x, w, e, b, y};
        for (size_t i = 0; i < sizeof all / sizeof *all; i++)
            kj_test_drop(t, all[i]);
        kj_probe_free(&p);
    }
}

/* Rows that one warp of a GPU holds, and longer ones; even and odd. */
static void test_layer_norm(struct kj_test *t)
{
    one_layer_norm(t, t->wide ? 18 : 133, t->wide ? 2176 : 83);
    one_layer_norm(t, t->wide ? 10 : 7, t->wide ? 768 : 131);
}

/* ---- bias and activation: in = x, bias; d = n, h ---- */

static void f_act(const struct kj_probe *p)
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

/* in = x, w, bias; d = n, out, in */
static void f_linear(const struct kj_probe *p)
{
    struct kj_probe act = {.n = {0, p->d[1]},
                           .n_out = p->n_out,
                           .d = {p->d[0], p->d[1]},
                           .act = p->act,
                           .in = {p->out, p->in[2]},
                           .out = p->out};
    size_t out = p->d[1], in = p->d[2];
    for (size_t i = 0; i < p->n_out; i++) {
        double sum = 0;
        for (size_t k = 0; k < in; k++)
            sum += p->in[0][i / out * in + k] * p->in[1][i % out * in + k];
        act.out[i] = sum;
    }
    f_act(&act);
}

static void test_linear(struct kj_test *t)
{
    const size_t N = t->wide ? 32 : 5, OUT = t->wide ? 48 : 7, IN = t->wide ? 64 : 33;
    static const char *const names[] = {"none", "relu", "tanh", "gelu", "gelu_tanh"};
    for (int act = 0; act <= KJ_ACT_GELU_TANH; act++) {
        struct kj_probe p = {.n = {N * IN, OUT * IN, OUT},
                             .n_out = N * OUT,
                             .d = {N, OUT, IN},
                             .act = (enum kj_act)act,
                             .f = f_linear};
        kj_probe_init(t, &p);
        p.f(&p);
        struct kj_mat x = kj_test_put(t, p.in[0], N * IN, IN),
                      w = kj_test_put(t, p.in[1], OUT * IN, IN),
                      b = kj_test_put(t, p.in[2], OUT, OUT),
                      y = kj_test_put(t, NULL, N * OUT, OUT);
        t->o->linear(t->b, y, x, w, b, N, OUT, IN, p.act);
        kj_test_compare(t, "linear", names[act], y, p.out, N * OUT, 1e-5);
        struct kj_mat all[] = {x, w, b, y};
        for (size_t i = 0; i < sizeof all / sizeof *all; i++)
            kj_test_drop(t, all[i]);
        kj_probe_free(&p);
    }
}

static void test_act(struct kj_test *t)
{
    const size_t N = t->wide ? 3 : 137, H = t->wide ? 2176 : 71;
    static const char *const names[] = {"none", "relu", "tanh", "gelu", "gelu_tanh"};
    char what[64];
    for (int with = 0; with < 2; with++)
        for (int act = 0; act <= KJ_ACT_GELU_TANH; act++) {
            struct kj_probe p = {.n = {N * H, with ? H : 0},
                                 .n_out = N * H,
                                 .d = {N, H},
                                 .act = (enum kj_act)act,
                                 .f = f_act};
            kj_probe_init(t, &p);
            for (int i = 0; i < 40; i++) /* far ends, and about 0 */
                p.in[0][i] = kj_test_value(t, i < 20 ? (i - 10) * 20 : (i - 30) * 0.01);
            p.f(&p);
            struct kj_mat x = kj_test_put(t, p.in[0], N * H, H),
                          dy = kj_test_put(t, p.dy, N * H, H);
            struct kj_mat b = with ? kj_test_put(t, p.in[1], H, H) : KJ_MAT_NONE;
            struct kj_mat db = kj_test_put_grad(t, NULL, H, H);
            t->o->bias_act(t->b, x, b, N, H, p.act);
            /* Against the values of a usual size, not the largest. */
            snprintf(what, sizeof what, "%s%s", names[act], with ? ", bias" : "");
            kj_test_compare(t, "bias_act", what, x, p.out, 20, 1e-6);
            x.at = 20;
            snprintf(what, sizeof what, "%s, near", names[act]);
            kj_test_compare(t, "bias_act", what, x, p.out + 20, N * H - 20, 1e-6);
            x.at = 0;
            if (act <= KJ_ACT_TANH) {
                t->o->zero(t->b, db, H);
                t->o->act_back(t->b, dy, with ? db : KJ_MAT_NONE, dy, x, N, H, p.act);
                if (act == KJ_ACT_RELU) { /* its kink is within the differences */
                    for (size_t i = 0; i < p.n_out; i++)
                        p.dy[i] = p.out[i] > 0 ? p.dy[i] : 0;
                    kj_test_compare(t, "act_back", "relu, dx in place", dy, p.dy,
                                    p.n_out, 0);
                } else {
                    snprintf(what, sizeof what, "%s, dx in place", names[act]);
                    kj_test_gradient(t, "act_back", what, &p, 0, dy);
                    snprintf(what, sizeof what, "%s, dbias", names[act]);
                    if (with)
                        kj_test_gradient(t, "act_back", what, &p, 1, db);
                }
            }
            kj_test_drop(t, x);
            kj_test_drop(t, dy);
            kj_test_drop(t, b);
            kj_test_drop(t, db);
            kj_probe_free(&p);
        }
}

/* ---- rope: in = x, table; d = n, heads, dim; ids = positions ---- */

static void f_rope(const struct kj_probe *p)
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

static void test_rope(struct kj_test *t)
{
    enum { N = 21, POS = 9 };
    const size_t HEADS = t->wide ? 33 : 3, DIM = t->wide ? 128 : 26;
    int32_t ids[N];
    size_t n = (size_t)N * HEADS * DIM;
    for (int i = 0; i < N; i++)
        ids[i] = (int32_t)(kj_test_uniform(t) * POS);
    struct kj_probe p = {
        .n = {n, POS * DIM}, .n_out = n, .d = {N, HEADS, DIM}, .ids = ids, .f = f_rope};
    kj_probe_init(t, &p);
    struct kj_mat x = kj_test_put(t, p.in[0], n, HEADS * DIM);
    struct kj_mat dx = kj_test_put(t, p.dy, n, HEADS * DIM);
    struct kj_mat c = kj_test_put_sum(t, p.in[1], POS * DIM, DIM),
                  id = kj_test_put_ids(t, ids, N);
    t->o->rope(t->b, x, id, c, N, HEADS, DIM, false);
    kj_test_compare(t, "rope", "forward", x, p.out, n, 1e-6);
    t->o->rope(t->b, dx, id, c, N, HEADS, DIM, true);
    kj_test_gradient(t, "rope", "dx", &p, 0, dx);
    kj_test_drop(t, x);
    kj_test_drop(t, dx);
    kj_test_drop(t, c);
    kj_test_drop(t, id);
    kj_probe_free(&p);
}

/* ---- SwiGLU: in = g, u; d = n, f ---- */

static void f_swiglu(const struct kj_probe *p)
{
    for (size_t i = 0; i < p->n_out; i++)
        p->out[i] = p->in[0][i] / (1 + exp(-p->in[0][i])) * p->in[1][i];
}

static void test_swiglu(struct kj_test *t)
{
    const size_t N = t->wide ? 2 : 31, F = t->wide ? 2176 : 53;
    struct kj_probe p = {.n = {N * F, N * F}, .n_out = N * F, .f = f_swiglu};
    kj_probe_init(t, &p);
    p.in[0][0] = -200; /* far ends of the sigmoid */
    p.in[0][1] = 200;
    p.f(&p);
    struct kj_mat g = kj_test_put(t, p.in[0], N * F, F),
                  u = kj_test_put(t, p.in[1], N * F, F);
    struct kj_mat h = kj_test_put(t, NULL, N * F, F),
                  dh = kj_test_put(t, p.dy, N * F, F);
    t->o->swiglu(t->b, h, g, u, N, F);
    kj_test_compare(t, "swiglu", "forward", h, p.out, N * F, 1e-6);
    t->o->swiglu_back(t->b, g, u, dh, g, u, N, F);
    kj_test_gradient(t, "swiglu", "dg in place", &p, 0, g);
    kj_test_gradient(t, "swiglu", "du in place", &p, 1, u);
    kj_test_drop(t, g);
    kj_test_drop(t, u);
    kj_test_drop(t, h);
    kj_test_drop(t, dh);
    kj_probe_free(&p);
}

kj_test_fn *const kj_tests_ops[] = {
    test_matmul,     test_embed, test_put,    test_add_sum, test_embed_mean, test_norm,
    test_layer_norm, test_act,   test_linear, test_rope,    test_swiglu,     NULL,
};

kj_test_fn *const kj_tests_ops_grads[] = {test_matmul, test_embed, test_norm, test_act,
                                          NULL};
