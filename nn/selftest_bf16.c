/* selftest_bf16.c - checks of bfloat16: rounding, conversion, mixed operands.
 *
 * The wanted value is made in double: x = m 2^e with m rounded to eight bits by
 * nearbyint(), whose ties go to even.
 */
#include <float.h>
#include <math.h>
#include <stdio.h>
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

/* ---- AdamW on bfloat16 states ---- */

enum { STATES = 6007, W = 0, G, M, V };

/* w, g, m, v as the device has them; n elements of each from `at` on. */
struct states {
    struct kj_mat t[4];
    double *x[4];
};

static void states_new(struct kj_test *t, struct states *s, double *const *from,
                       size_t at)
{
    for (int k = 0; k < 4; k++) {
        float *f = kj_xcalloc(STATES, sizeof *f);
        for (size_t i = 0; i < STATES; i++)
            f[i] = (float)from[k][i];
        s->t[k] = kj_mat(t->o->tensor_new(t->b, KJ_BF16, STATES + at), at, 1);
        if (s->t[k].t)
            t->o->write(t->b, s->t[k].t, at, f, STATES);
        s->x[k] = kj_test_get(t, s->t[k], STATES);
        free(f);
    }
}

static void states_read(struct kj_test *t, struct states *s)
{
    for (int k = 0; k < 4; k++) {
        free(s->x[k]);
        s->x[k] = kj_test_get(t, s->t[k], STATES);
    }
}

static void states_free(struct kj_test *t, struct states *s)
{
    for (int k = 0; k < 4; k++) {
        kj_test_drop(t, s->t[k]);
        free(s->x[k]);
    }
}

static void states_step(struct kj_test *t, const struct states *s, size_t from,
                        size_t n, struct kj_adamw p)
{
    struct kj_mat m[4];
    for (int k = 0; k < 4; k++)
        m[k] = kj_mat(s->t[k].t, s->t[k].at + from, 1);
    p.at += from;
    t->o->adamw(t->b, m[W], m[G], m[M], m[V], n, &p);
}

static struct kj_adamw states_params(int step)
{
    return (struct kj_adamw){.lr = 1e-3f,
                             .beta1 = 0.9f,
                             .beta2 = 0.95f,
                             .eps = 1e-8f,
                             .decay = 0x1p-10f,
                             .grad_scale = 0.5f,
                             .fix1 = (float)(1 / (1 - pow(0.9, step))),
                             .fix2 = (float)(1 / (1 - pow(0.95, step))),
                             .key = kj_random64(3, (uint64_t)step),
                             .at = 1000};
}

/* The step that p tells from x, in double and not rounded. */
static void states_wanted(double *const *x, double *const *want,
                          const struct kj_adamw *p)
{
    for (size_t i = 0; i < STATES; i++) {
        double g = x[G][i] * (double)p->grad_scale, b1 = (double)p->beta1,
               b2 = (double)p->beta2;
        want[M][i] = b1 * x[M][i] + (1 - b1) * g;
        want[V][i] = b2 * x[V][i] + (1 - b2) * g * g;
        want[W][i] = x[W][i] * (1 - (double)p->decay) -
                     (double)p->lr * want[M][i] * (double)p->fix1 /
                         (sqrt(want[V][i] * (double)p->fix2) + (double)p->eps);
    }
}

/* Of the numbers kept in place of x: how many are none of x's neighbours; the mean of
 * what they are off, in distances, and the share that is not the nearest. */
struct off {
    double bad, mean, chance;
};
static struct off states_off(const double *got, const double *x, double *err)
{
    struct off o = {0};
    for (size_t i = 0; i < STATES; i++) {
        int e;
        frexp(x[i], &e);
        err[i] = x[i] == 0 ? got[i] : (got[i] - x[i]) / ldexp(1, e - 8);
        /* float32 is off by 2^-24 of the terms, which are of the order of 1. */
        o.bad += !(fabs(got[i] - x[i]) <= ldexp(1, e - 8) + 0x1p-21);
        o.mean += err[i] / STATES;
        o.chance += (fabs(err[i]) > 0.501) / (double)STATES;
    }
    return o;
}

/* Three steps: each number a neighbour of the exact one; right on average; what
 * the three are off by has nothing to do with one another. */
static void states_unbiased(struct kj_test *t, double *const *from, size_t at)
{
    static const char *const names[] = {"weight", "", "first moment", "second moment"};
    struct states s;
    double *want[4], *err[4];
    const double sigma = 1 / sqrt(3.0 * STATES);
    struct off sum[4] = {0};
    double pair[3] = {0};
    for (int k = 0; k < 4; k++) {
        want[k] = kj_xcalloc(STATES, sizeof **want);
        err[k] = kj_xcalloc(STATES, sizeof **err);
    }
    states_new(t, &s, from, at);
    for (int step = 1; step <= 3; step++) {
        struct kj_adamw p = states_params(step);
        states_wanted(s.x, want, &p);
        states_step(t, &s, 0, STATES, p);
        states_read(t, &s);
        for (int k = 0; k < 4; k++) {
            struct off o = states_off(s.x[k], k == G ? s.x[k] : want[k], err[k]);
            sum[k].bad += o.bad;
            sum[k].mean += o.mean / 3;
            sum[k].chance += o.chance / 3;
        }
        for (size_t i = 0; i < STATES; i++) {
            pair[0] += err[W][i] * err[M][i] * sigma * sigma;
            pair[1] += err[W][i] * err[V][i] * sigma * sigma;
            pair[2] += err[M][i] * err[V][i] * sigma * sigma;
        }
    }
    for (int k = 0; k < 4; k++) {
        char what[64];
        if (k == G)
            continue;
        snprintf(what, sizeof what, "bf16 states: %s, neighbours", names[k]);
        kj_test_verdict(t, "adamw", what, sum[k].bad, 0);
        snprintf(what, sizeof what, "bf16 states: %s, mean", names[k]);
        /* One rounding is off by half a distance at most (standard deviation). */
        kj_test_verdict(t, "adamw", what, fabs(sum[k].mean), 5 * 0.5 * sigma);
        snprintf(what, sizeof what, "bf16 states: %s, chance", names[k]);
        kj_test_verdict(t, "adamw", what, fabs(sum[k].chance - 0.25), 0.05);
    }
    for (int k = 0; k < 3; k++)
        kj_test_verdict(t, "adamw", "bf16 states: independent", fabs(pair[k]),
                        5 * 0.25 * sigma);
    states_free(t, &s);
    for (int k = 0; k < 4; k++) {
        free(want[k]);
        free(err[k]);
    }
}

/* One step in one run and in two, from elements that lie otherwise: equal numbers;
 * with another key others. */
static void states_bits(struct kj_test *t, double *const *from)
{
    struct states a, b, c;
    struct kj_adamw p = states_params(2);
    double bad = 0, same = 0;
    states_new(t, &a, from, 0);
    states_new(t, &b, from, 5);
    states_new(t, &c, from, 0);
    states_step(t, &a, 0, STATES, p);
    states_step(t, &b, 0, 1003, p);
    states_step(t, &b, 1003, STATES - 1003, p);
    p.key++;
    states_step(t, &c, 0, STATES, p);
    states_read(t, &a);
    states_read(t, &b);
    states_read(t, &c);
    for (int k = 0; k < 4; k++)
        for (size_t i = 0; i < STATES; i++) {
            bad += a.x[k][i] != b.x[k][i];
            same += k == W && a.x[k][i] == c.x[k][i];
        }
    kj_test_verdict(t, "adamw", "bf16 states: cut in two", bad, 0);
    kj_test_verdict(t, "adamw", "bf16 states: another key", same, 0.8 * STATES);
    states_free(t, &a);
    states_free(t, &b);
    states_free(t, &c);
}

static void test_states(struct kj_test *t)
{
    double *from[4];
    for (int k = 0; k < 4; k++) {
        from[k] = kj_xcalloc(STATES, sizeof **from);
        for (size_t i = 0; i < STATES; i++) {
            double x = kj_test_normal(t) * (k == M ? 0.1 : k == W ? 0.02 : 1);
            from[k][i] = kj_test_bf16(k == V ? x * x : x);
        }
    }
    states_unbiased(t, from, 0);
    states_unbiased(t, from, 3);
    states_bits(t, from);
    for (int k = 0; k < 4; k++)
        free(from[k]);
}

/* ---- gradients by weights in bfloat16, added up ---- */

enum { ADDED_ROWS = 40, ADDED_COLS = 37, ADDS = 64 };

/* ADDS times a sixteenth of what lies between neighbours is added to ones; rows x cols of
 * them. What came of it: 1 if nearest rounding lost all. */
static double added(struct kj_test *t, const char *op, size_t cols, bool chance,
                    double *off)
{
    const float inc = 0x1p-11f;
    size_t n = ADDED_ROWS * cols;
    double one[ADDED_ROWS * 40], small[ADDED_ROWS * 40], sum = 0;
    int32_t ids[ADDED_ROWS];
    for (size_t i = 0; i < n; i++) {
        one[i] = 1;
        small[i] = (double)inc;
    }
    for (int32_t i = 0; i < ADDED_ROWS; i++)
        ids[i] = ADDED_ROWS - 1 - i;
    struct kj_mat g = kj_test_put(t, one, n, cols), x = kj_test_put(t, one, n, cols),
                  y = kj_test_put(t, small, n, cols), dx = kj_test_put(t, one, n, cols),
                  r = kj_test_put_sum(t, one, ADDED_ROWS, 1),
                  id = kj_test_put_ids(t, ids, ADDED_ROWS);
    size_t used = op[0] == 'n' || op[1] == 'c' ? cols : n;
    for (int i = 0; i < ADDS; i++) {
        t->b->chance = chance ? kj_random64(11, (uint64_t)i) : 0;
        if (op[0] == 'm')
            t->o->matmul(t->b, g, x, y, ADDED_ROWS, cols, 1, KJ_MM_TA | KJ_MM_ADD);
        else if (op[0] == 'e')
            t->o->embed_back(t->b, g, y, id, ADDED_ROWS, cols);
        else if (op[0] == 'n')
            t->o->norm_back(t->b, dx, g, y, x, r, x, 1, cols, false);
        else if (op[1] == 'x')
            t->o->axpby(t->b, g, y, n, 1, 1);
        else
            t->o->act_back(t->b, dx, g, y, y, 1, cols, KJ_ACT_NONE);
    }
    t->b->chance = 0;
    double *got = kj_test_get(t, g, n);
    for (size_t i = 0; i < used; i++)
        sum += got[i];
    *off = sqrt(ADDS * (1.0 / 16) * (15.0 / 16) / (double)used) * 0x1p-7;
    struct kj_mat all[] = {g, x, y, dx, r, id};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        kj_test_drop(t, all[i]);
    free(got);
    return sum / (double)used;
}

static void test_added(struct kj_test *t)
{
    static const char *const ops[] = {"matmul", "embed_back", "norm_back", "act_back",
                                      "axpby"};
    t->type = KJ_BF16;
    for (size_t k = 0; k < 10; k++) {
        double sigma;
        size_t cols = k % 2 ? 40 : ADDED_COLS;
        double x = added(t, ops[k / 2], cols, false, &sigma);
        kj_test_verdict(t, ops[k / 2], "added to nearest", fabs(x - 1), 0);
        x = added(t, ops[k / 2], cols, true, &sigma);
        kj_test_verdict(t, ops[k / 2], "added by chance",
                        fabs(x - 1 - ADDS * 0x1p-11) / sigma, 5);
    }
    t->type = KJ_F32;
}

kj_test_fn *const kj_tests_bf16[] = {test_rounding, test_chance, test_states,
                                     test_added, NULL};
