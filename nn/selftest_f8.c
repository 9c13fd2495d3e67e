/* selftest_f8.c - checks of FP8: codes, quantised tensors, their products.
 *
 * The wanted code of a number is the nearest among all 256, found by looking at each;
 * a tie takes the even code.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "nn/arith.h"
#include "nn/selftest_internal.h"

/* What code c is, by the format's definition. NaN, and E5M2's infinities, are NaN. */
static double value_of(unsigned c, bool e5m2)
{
    int m = e5m2 ? 2 : 3, bias = e5m2 ? 15 : 7;
    int e = (int)(c & 0x7f) >> m, f = (int)c & ((1 << m) - 1);
    double x = e ? ldexp(1 + ldexp(f, -m), e - bias) : ldexp(f, 1 - bias - m);
    if (e5m2 ? e == 31 : (c & 0x7f) == 0x7f)
        return NAN;
    return c & 0x80 ? -x : x;
}

static double nearest(double x, bool e5m2)
{
    double best = 0;
    unsigned code = 0;
    for (unsigned c = 0; c < 128; c++) {
        double v = value_of(c, e5m2);
        double d = fabs(fabs(x) - v), was = fabs(fabs(x) - best);
        if (!isnan(v) && (d < was || (d == was && c % 2 == 0 && code % 2))) {
            best = v;
            code = c;
        }
    }
    return isnan(x) ? x : copysign(best, x);
}

/* The definition of s in kj_ops.quantize, by trying. */
static double scale_of(const double *x, size_t n, bool e5m2)
{
    double most = 0, top = e5m2 ? 57344 : 448, s = 0x1p-126;
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(x[i]))
            return NAN;
        most = fabs(x[i]) > most ? fabs(x[i]) : most;
    }
    while (most / s > top)
        s *= 2;
    return most == 0 ? 1 : s;
}

static size_t up16(size_t n)
{
    return (n + 15) / 16 * 16;
}

/* Poisoned; there is room before and behind each row. */
static struct kj_mat f8_new(struct kj_test *t, bool e5m2, size_t rows, size_t cols)
{
    size_t stride = up16(cols) + 16, n = 16 + rows * stride;
    float *bad = kj_xcalloc(n, sizeof *bad);
    for (size_t i = 0; i < n; i++)
        bad[i] = NAN;
    struct kj_tensor *q = t->o->tensor_new(t->b, e5m2 ? KJ_E5M2 : KJ_E4M3, n);
    if (q)
        t->o->write(t->b, q, 0, bad, n);
    free(bad);
    return kj_mat(q, 16, stride);
}

/* Elements of m that are not what they should be: the nearest of x / s, 0 behind a
 * row's end, untouched behind that. x: rows apart by `down`, columns by `right`. */
static size_t wrong(struct kj_test *t, struct kj_mat m, const double *x, double s,
                    size_t rows, size_t cols, size_t down, size_t right, bool e5m2)
{
    size_t n = 16 + rows * m.stride, bad = 0;
    float *got = kj_xcalloc(n, sizeof *got);
    if (m.t)
        t->o->read(t->b, m.t, 0, got, n);
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < m.stride; j++) {
            double y = (double)got[16 + i * m.stride + j];
            double want = j < cols         ? nearest(x[i * down + j * right] / s, e5m2)
                          : j < up16(cols) ? 0
                                           : NAN;
            bad += isnan(want) ? !isnan(y) : y != want;
        }
    free(got);
    return bad;
}

/* which: 1 by rows, 2 transposed, 4 with the largest magnitude found before. */
static void check(struct kj_test *t, const char *what, const double *x, size_t n,
                  size_t h, size_t stride, bool e5m2, unsigned which)
{
    char text[80];
    struct kj_mat m = kj_test_put(t, x, n * stride, stride);
    struct kj_mat s = kj_test_put_sum(t, NULL, 1, 1);
    struct kj_mat q = which & 1 ? f8_new(t, e5m2, n, h) : KJ_MAT_NONE;
    struct kj_mat qt = which & 2 ? f8_new(t, e5m2, h, n) : KJ_MAT_NONE;
    double *flat = kj_xcalloc(n * h, sizeof *flat), nothing[] = {0};
    struct kj_mat most = which & 4 ? kj_test_put_sum(t, nothing, 1, 1) : KJ_MAT_NONE;
    for (size_t i = 0; i < n; i++)
        memcpy(flat + i * h, x + i * stride, h * sizeof *flat);
    double want = scale_of(flat, n * h, e5m2);
    if (most.t)
        t->o->most(t->b, most, m, n, h);
    t->o->quantize(t->b, q, qt, s, m, most, n, h);
    double *got = kj_test_get(t, s, 1);
    bool same = isnan(want) ? isnan(got[0]) : got[0] == want;
    size_t bad = 0;
    if (!isnan(want) && which & 1)
        bad += wrong(t, q, x, want, n, h, stride, 1, e5m2);
    if (!isnan(want) && which & 2)
        bad += wrong(t, qt, x, want, h, n, 1, stride, e5m2);
    snprintf(text, sizeof text, "%s, %s%s", what, e5m2 ? "E5M2" : "E4M3",
             most.t ? ", of a known most" : "");
    kj_test_verdict(t, "quantize", text, same ? (double)bad : 1e300, 0);
    free(flat);
    free(got);
    kj_test_drop(t, m);
    kj_test_drop(t, s);
    kj_test_drop(t, q);
    kj_test_drop(t, qt);
    kj_test_drop(t, most);
}

/* Every code, the middle between neighbours and what lies beside it, in a tensor whose
 * scale is 1. */
static void every_code(struct kj_test *t, bool e5m2)
{
    enum { N = 1024 };
    double x[N] = {0};
    size_t n = 0;
    for (unsigned c = 0; c < 256; c++) {
        double a = value_of(c, e5m2), b = value_of((c + 1) & 0xff, e5m2);
        if (isnan(a))
            continue;
        x[n++] = a;
        if (isnan(b) || (c & 0x7f) == 0x7f)
            continue;
        x[n++] = (a + b) / 2;
        x[n++] = kj_test_value(t, (a + b) / 2 * (1 + 0x1p-7));
        x[n++] = kj_test_value(t, (a + b) / 2 * (1 - 0x1p-7));
    }
    check(t, "every code and tie", x, 32, N / 32, N / 32, e5m2, 3);
}

static void test_quantize(struct kj_test *t)
{
    static const size_t odd[][3] = {{1, 1, 1}, {37, 41, 45}, {131, 70, 70}};
    static const size_t wide[][3] = {{1, 64, 64}, {40, 48, 56}, {144, 72, 72}};
    const size_t(*shapes)[3] = t->wide ? wide : odd;
    for (int e5m2 = 0; e5m2 < 2; e5m2++) {
        for (size_t k = 0; k < 3; k++) {
            size_t n = shapes[k][0], h = shapes[k][1], stride = shapes[k][2];
            double *x = kj_test_random(t, n * stride);
            char what[64];
            for (size_t i = 0; i < n * stride; i++) /* over many binades */
                x[i] = kj_test_value(t, ldexp(x[i], (int)(kj_test_uniform(t) * 30)));
            snprintf(what, sizeof what, "%zux%zu", n, h);
            check(t, what, x, n, h, stride, e5m2, 1 + (unsigned)k);
            check(t, what, x, n, h, stride, e5m2, 5 + (unsigned)k);
            free(x);
        }
        double few[32] = {0};
        check(t, "zeros", few, 2, 16, 16, e5m2, 3);
        check(t, "zeros", few, 2, 16, 16, e5m2, 7);
        few[5] = 0x1p-126;
        check(t, "next to nothing", few, 2, 16, 16, e5m2, 3);
        few[6] = -0x1.fp127;
        check(t, "huge", few, 2, 16, 16, e5m2, 3);
        few[31] = NAN;
        check(t, "NaN", few, 2, 16, 16, e5m2, 3);
        check(t, "NaN", few, 2, 16, 16, e5m2, 7);
        few[31] = -HUGE_VAL;
        check(t, "infinite", few, 2, 16, 16, e5m2, 3);
        every_code(t, e5m2);
    }
}

/* Codes in the memory of another tensor, which keeps what lies behind them. */
static void test_view(struct kj_test *t)
{
    enum { N = 8, H = 32, BYTES = 16 + N * (H + 16), ALL = 500 };
    for (int e5m2 = 0; e5m2 < 2; e5m2++) {
        double *x = kj_test_random(t, N * H), worst = 0;
        float bad[BYTES];
        struct kj_mat m = kj_test_put(t, x, N * H, H),
                      s = kj_test_put_sum(t, NULL, 1, 1);
        struct kj_mat rest = kj_test_put(t, NULL, ALL, 1);
        int64_t bytes = t->b->bytes;
        struct kj_tensor *q = t->o->tensor_view(t->b, rest.t, e5m2 ? KJ_E5M2 : KJ_E4M3);
        size_t width = t->type == KJ_BF16 ? 2 : 4;
        bool good = t->o->tensor_size(q) == ALL * width && t->b->bytes == bytes;
        for (size_t i = 0; i < BYTES; i++)
            bad[i] = NAN;
        if (q)
            t->o->write(t->b, q, 0, bad, BYTES);
        struct kj_mat codes = kj_mat(q, 16, H + 16);
        t->o->quantize(t->b, codes, KJ_MAT_NONE, s, m, KJ_MAT_NONE, N, H);
        double scale = scale_of(x, N * H, e5m2);
        worst += (double)wrong(t, codes, x, scale, N, H, H, 1, e5m2);
        t->o->tensor_free(t->b, q);
        double *left = kj_test_get(t, rest, ALL);
        for (size_t i = BYTES / width; i < ALL; i++)
            worst += !isnan(left[i]);
        good &= t->b->bytes == bytes;
        kj_test_verdict(t, "tensor_view", e5m2 ? "E5M2" : "E4M3", good ? worst : 1e300,
                        0);
        free(left);
        free(x);
        kj_test_drop(t, m);
        kj_test_drop(t, s);
        kj_test_drop(t, rest);
    }
}

/* ---- the largest magnitude of what operations write ---- */

enum { LEAVES = 5 };

/* Operation `which`, over n rows of 2 h; what it writes lies in `to` afterwards. */
static void leave(struct kj_test *t, unsigned which, struct kj_mat to, struct kj_mat x,
                  struct kj_mat w, struct kj_mat sums, size_t n, size_t h)
{
    struct kj_mat none = KJ_MAT_NONE, up = kj_mat(to.t, to.at + h, to.stride);
    struct kj_mat xu = kj_mat(x.t, x.at + h, x.stride), r = kj_mat(sums.t, 2 * h, 1);
    static const int32_t zero[64];
    struct kj_tensor *pos;
    switch (which) {
    case 0:
        t->o->norm(t->b, to, none, r, x, none, w, n, 2 * h, 1e-5f);
        return;
    case 1:
        t->o->norm_back(t->b, to, sums, x, x, r, w, n, 2 * h, true);
        return;
    case 2:
        pos = t->o->tensor_new(t->b, KJ_I32, n);
        if (pos)
            t->o->write(t->b, pos, 0, zero, n);
        t->o->rope(t->b, to, kj_mat(pos, 0, 1), sums, n, 2, h, false);
        t->o->tensor_free(t->b, pos);
        return;
    case 3:
        t->o->swiglu(t->b, to, x, xu, n, h);
        return;
    default:
        t->o->swiglu_back(t->b, to, up, x, to, up, n, h);
    }
}

/* Elements of a row that operation `which` does not write. */
static size_t unwritten(unsigned which, size_t h)
{
    return which == 3 ? h : 0;
}

/* What was there before counts, whether it is more or less; none is left for others. */
static void leaves(struct kj_test *t, unsigned which, size_t n, size_t h, double was)
{
    static const char *const names[LEAVES] = {"norm", "norm_back", "rope", "swiglu",
                                              "swiglu_back"};
    size_t width = 2 * h, all = n * width;
    double *x = kj_test_random(t, all), *y = kj_test_random(t, all);
    double *w = kj_test_random(t, width), *s = kj_test_random(t, width + n);
    struct kj_mat to = kj_test_put(t, y, all, width),
                  from = kj_test_put(t, x, all, width);
    struct kj_mat wm = kj_test_put(t, w, width, width);
    struct kj_mat sums = kj_test_put_sum(t, s, width + n, h);
    struct kj_mat most = kj_test_put_sum(t, &was, 1, 1);
    double want = was;
    t->b->most = most;
    leave(t, which, to, from, wm, sums, n, h);
    bool taken = t->b->most.t == NULL;
    leave(t, which, from, to, wm, sums, n, h); /* and has no say */
    double *got = kj_test_get(t, to, all), *m = kj_test_get(t, most, 1);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < width - unwritten(which, h); j++)
            want = fmax(want, fabs(got[i * width + j]));
    kj_test_verdict(t, "most", names[which], taken ? fabs(m[0] - want) : 1e300, 0);
    struct kj_mat list[] = {to, from, wm, sums, most};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        kj_test_drop(t, list[i]);
    free(x);
    free(y);
    free(w);
    free(s);
    free(got);
    free(m);
}

static void test_most(struct kj_test *t)
{
    size_t n = 21, h = t->wide ? 80 : 34;
    for (unsigned which = 0; which < LEAVES; which++) {
        leaves(t, which, n, h, 0);
        leaves(t, which, n, h, 1e6);
    }
    double few[] = {1, 3, -8, 2}, was[] = {4}, *got;
    struct kj_mat x = kj_test_put(t, few, 4, 2), most = kj_test_put_sum(t, was, 1, 1);
    t->o->most(t->b, most, x, 1, 2);
    got = kj_test_get(t, most, 1);
    kj_test_verdict(t, "most", "of less", fabs(got[0] - 4), 0);
    free(got);
    t->o->most(t->b, most, x, 2, 2);
    got = kj_test_get(t, most, 1);
    kj_test_verdict(t, "most", "of more", fabs(got[0] - 8), 0);
    free(got);
    kj_test_drop(t, x);
    kj_test_drop(t, most);
}

/* ---- products ---- */

static struct kj_mat put_f8(struct kj_test *t, const double *x, size_t rows,
                            size_t cols, bool e5m2)
{
    struct kj_mat m = f8_new(t, e5m2, rows, cols);
    float *f = kj_xcalloc(up16(cols), sizeof *f);
    for (size_t i = 0; i < rows; i++) {
        for (size_t j = 0; j < cols; j++)
            f[j] = (float)x[i * cols + j];
        if (m.t)
            t->o->write(t->b, m.t, m.at + i * m.stride, f, up16(cols));
    }
    free(f);
    return m;
}

static double *codes_near(struct kj_test *t, size_t n, bool e5m2)
{
    double *x = kj_test_random(t, n);
    for (size_t i = 0; i < n; i++)
        x[i] = nearest(x[i], e5m2);
    return x;
}

static void product(struct kj_test *t, const size_t *d, unsigned kind, unsigned flags)
{
    static const char *const names[] = {"E4M3 E4M3'", "E5M2 E4M3'", "E4M3 E5M2'"};
    size_t m = d[0], n = d[1], k = d[2];
    bool ea = kind == 1, eb = kind == 2;
    double *a = codes_near(t, m * k, ea), *b = codes_near(t, n * k, eb);
    double *c = kj_test_random(t, m * n), sa[] = {0.25}, sb[] = {8};
    char what[64];
    struct kj_mat to = flags & KJ_MM_ADD ? kj_test_put_sum(t, c, m * n, n)
                                         : kj_test_put(t, NULL, m * n, n);
    struct kj_mat qa = put_f8(t, a, m, k, ea), qb = put_f8(t, b, n, k, eb);
    struct kj_mat fa = kj_test_put_sum(t, sa, 1, 1), fb = kj_test_put_sum(t, sb, 1, 1);
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) {
            double s = 0;
            for (size_t x = 0; x < k; x++)
                s += a[i * k + x] * b[j * k + x];
            c[i * n + j] = (flags & KJ_MM_ADD ? c[i * n + j] : 0) + 2 * s;
        }
    t->o->matmul_f8(t->b, to, qa, fa, qb, fb, m, n, k, flags);
    snprintf(what, sizeof what, "%s%s%s %zux%zux%zu", names[kind],
             flags & KJ_MM_ADD ? " + C" : "", flags & KJ_MM_FAST ? " fast" : "", m, n,
             k);
    /* An H100's tensor cores keep 13 bits of an instruction's sum; what is not fast adds
     * these up in float32, every 128 numbers or so. These k see 3e-4 either way. */
    kj_test_compare(t, "matmul_f8", what, to, c, m * n,
                    flags & KJ_MM_FAST ? 4e-3 : 1e-3);
    kj_test_drop(t, to);
    kj_test_drop(t, qa);
    kj_test_drop(t, qb);
    kj_test_drop(t, fa);
    kj_test_drop(t, fb);
    free(a);
    free(b);
    free(c);
}

static void test_matmul_f8(struct kj_test *t)
{
    static const size_t odd[][3] = {{1, 33, 65}, {37, 41, 29}};
    static const size_t wide[][3] = {{16, 32, 64}, {48, 112, 144}};
    for (size_t i = 0; i < 2; i++)
        for (unsigned kind = 0; kind < 3; kind++)
            for (unsigned f = 0; f < 4; f++)
                product(t, t->wide ? wide[i] : odd[i], kind,
                        (f & 1 ? KJ_MM_ADD : 0) | (f & 2 ? KJ_MM_FAST : 0));
}

kj_test_fn *const kj_tests_f8[] = {test_quantize, test_view, test_most, test_matmul_f8,
                                   NULL};
