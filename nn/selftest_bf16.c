/* selftest_bf16.c - checks of bfloat16: rounding, conversion, mixed operands.
 *
 * The wanted value is made in double: x = m 2^e with m rounded to eight bits by
 * nearbyint(), whose ties go to even.
 */
#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "nn/arith.h"
#include "nn/selftest_internal.h"

double kj_test_bf16(double x)
{
    int e;
    if (x == 0 || !isfinite(x))
        return x;
    double m = frexp(x, &e);
    if (e < -125) { /* denormal: the last bit stays at 2^-133 */
        m = ldexp(m, e + 125);
        e = -125;
    }
    double y = ldexp(nearbyint(m * 256), e - 8);
    return fabs(y) > FLT_MAX ? copysign(HUGE_VAL, y) : y;
}

/* Random floats of all sizes, then the ends and ties. */
static size_t values(struct kj_test *t, float *x, size_t n)
{
    static const float ends[] = {0.0f,           -0.0f,
                                 HUGE_VALF,      -HUGE_VALF,
                                 FLT_MAX,        0x1.fep127f,
                                 0x1.ffp127f, /* a tie, to infinity */
                                 FLT_MIN,        0x1p-133f,
                                 0x1p-134f, /* a tie, to 0 */
                                 0x1.8p-133f,    0x1p-149f,
                                 1.0f + 0x1p-8f, /* ties: down, up */
                                 1.0f + 0x3p-8f, 1.0f + 0x1p-8f + 0x1p-23f,
                                 -1.0f - 0x3p-8f};
    size_t k = sizeof ends / sizeof *ends;
    for (size_t i = 0; i < n; i++)
        x[i] = i < k ? ends[i]
                     : (float)ldexp(kj_test_normal(t),
                                    (int)(kj_test_uniform(t) * 200) - 100);
    return n;
}

static void test_rounding(struct kj_test *t)
{
    enum { N = 3001, AT = 3 };
    float *x = kj_xcalloc(N, sizeof *x), *y = kj_xcalloc(N, sizeof *y);
    struct kj_mat h = kj_mat(t->o->tensor_new(t->b, KJ_BF16, N + AT), AT, N);
    struct kj_mat f = kj_mat(t->o->tensor_new(t->b, KJ_F32, N + AT), AT, N);
    size_t n = values(t, x, N), bad[3] = {0};
    if (h.t && f.t) {
        t->o->write(t->b, h.t, AT, x, n);
        t->o->read(t->b, h.t, AT, y, n);
    }
    for (size_t i = 0; i < n; i++)
        bad[0] += (double)y[i] != kj_test_bf16((double)x[i]);
    /* To bf16 and back on the device, and a sum in which both occur. */
    if (h.t && f.t) {
        t->o->write(t->b, f.t, AT, x, n);
        t->o->zero(t->b, h, n);
        t->o->axpby(t->b, h, f, n, 1, 0);
        t->o->zero(t->b, f, n);
        t->o->axpby(t->b, f, h, n, 1, 0);
        t->o->read(t->b, f.t, AT, y, n);
    }
    for (size_t i = 0; i < n; i++)
        bad[1] += (double)y[i] != kj_test_bf16((double)x[i]);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)kj_test_normal(t);
    if (h.t && f.t) {
        t->o->write(t->b, f.t, AT, x, n);
        t->o->write(t->b, h.t, AT, x, n);
        t->o->axpby(t->b, h, f, n, 0.5f, -2);
        t->o->read(t->b, h.t, AT, y, n);
    }
    for (size_t i = 0; i < n; i++) {
        float b = (float)kj_test_bf16((double)x[i]), fused = fmaf(0.5f, x[i], -2 * b);
        bad[2] += (double)y[i] != kj_test_bf16((double)(0.5f * x[i] - 2 * b)) &&
                  (double)y[i] != kj_test_bf16((double)fused);
    }
    kj_test_verdict(t, "bf16", "write and read", (double)bad[0], 0);
    kj_test_verdict(t, "bf16", "axpby converts", (double)bad[1], 0);
    kj_test_verdict(t, "bf16", "axpby of both", (double)bad[2], 0);
    kj_test_drop(t, h);
    kj_test_drop(t, f);
    free(x);
    free(y);
}

/* Rounding by chance: to a neighbour, right on average. */
static void test_chance(struct kj_test *t)
{
    enum { N = 40000 };
    double worst = 0, sum = 0, x = 1.0 + 0.3 * 0x1p-7;
    for (uint64_t i = 0; i < N; i++) {
        uint32_t r = (uint32_t)(kj_random64(7, i / 4) >> (i % 4 * 16));
        double y = (double)kj_from_bf16(kj_to_bf16_by((float)x, r));
        worst = y == 1.0 || y == 1.0 + 0x1p-7 ? worst : 1;
        sum += y;
    }
    kj_test_verdict(t, "bf16", "by chance: neighbours", worst, 0);
    /* Five standard deviations of the mean of N coins. */
    kj_test_verdict(t, "bf16", "by chance: mean", fabs(sum / N - x) / 0x1p-7,
                    5 * sqrt(0.21 / N));
}

kj_test_fn *const kj_tests_bf16[] = {test_rounding, test_chance, NULL};
