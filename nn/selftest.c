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
#include "nn/selftest_internal.h"

/* Rounding to bfloat16 moves a number by 1/512 of itself at most; what is compared
 * is relative to the largest number, and behind up to three of them. Gradients
 * through a softmax of logits see these in its exponent. */
#define BF16_LIMIT    (1.0 / 128)
#define BF16_GRADIENT (1.0 / 16)

double kj_test_uniform(struct kj_test *t) /* splitmix64, [0,1) */
{
    uint64_t z = t->rng += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return (double)((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

double kj_test_normal(struct kj_test *t)
{
    double s = 0;
    for (int i = 0; i < 12; i++)
        s += kj_test_uniform(t);
    return s - 6;
}

double kj_test_value(const struct kj_test *t, double x)
{
    return t->type == KJ_BF16 ? kj_test_bf16(x) : (double)(float)x;
}

double kj_test_limit(const struct kj_test *t, double limit)
{
    return t->type == KJ_BF16 && limit > 0 ? BF16_LIMIT : limit;
}

double *kj_test_random(struct kj_test *t, size_t n)
{
    double *x = kj_xcalloc(n ? n : 1, sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = kj_test_value(t, kj_test_normal(t));
    return x;
}

void kj_test_verdict(struct kj_test *t, const char *op, const char *what, double worst,
                     double limit)
{
    char text[96];
    snprintf(text, sizeof text, "%s%s%s", what, t->wide ? ", wide" : "",
             t->grads == KJ_BF16  ? ", bf16 and its gradients"
             : t->type == KJ_BF16 ? ", bf16"
                                  : "");
    what = text;
    struct kj_selftest r = {op, what, worst, limit, worst <= limit};
    if (!r.ok)
        t->failed++;
    if (t->report)
        t->report(t->ctx, &r);
}

/* A device copy of x, or a poisoned tensor. */
static struct kj_mat put(struct kj_test *t, enum kj_dtype type, const double *x,
                         size_t n, size_t stride)
{
    float *f = kj_xcalloc(n ? n : 1, sizeof *f);
    for (size_t i = 0; i < n; i++)
        f[i] = x ? (float)x[i] : NAN;
    struct kj_tensor *d = t->o->tensor_new(t->b, type, n);
    if (d)
        t->o->write(t->b, d, 0, f, n);
    free(f);
    return kj_mat(d, 0, stride);
}

struct kj_mat kj_test_put(struct kj_test *t, const double *x, size_t n, size_t stride)
{
    return put(t, t->type, x, n, stride);
}

struct kj_mat kj_test_put_sum(struct kj_test *t, const double *x, size_t n,
                              size_t stride)
{
    return put(t, KJ_F32, x, n, stride);
}

struct kj_mat kj_test_put_grad(struct kj_test *t, const double *x, size_t n,
                               size_t stride)
{
    return put(t, t->grads, x, n, stride);
}

struct kj_mat kj_test_put_ids(struct kj_test *t, const int32_t *x, size_t n)
{
    struct kj_tensor *d = t->o->tensor_new(t->b, KJ_I32, n);
    if (d)
        t->o->write(t->b, d, 0, x, n);
    return kj_mat(d, 0, 1);
}

double *kj_test_get(struct kj_test *t, struct kj_mat m, size_t n)
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

void kj_test_drop(struct kj_test *t, struct kj_mat m)
{
    t->o->tensor_free(t->b, m.t);
}

/* max |a - b| / max |b|; NaN anywhere counts as 1e300 */
double kj_test_differ(const double *a, const double *b, size_t n)
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
void kj_test_compare(struct kj_test *t, const char *op, const char *what,
                     struct kj_mat m, const double *want, size_t n, double limit)
{
    double *got = kj_test_get(t, m, n);
    kj_test_verdict(t, op, what, kj_test_differ(got, want, n), kj_test_limit(t, limit));
    free(got);
}

static double loss_of(const struct kj_probe *p)
{
    double s = 0;
    p->f(p);
    for (size_t i = 0; i < p->n_out; i++)
        s += p->dy[i] * p->out[i];
    return s;
}

/* The gradient g by input k against central differences. */
void kj_test_gradient(struct kj_test *t, const char *op, const char *what,
                      struct kj_probe *p, int k, struct kj_mat g)
{
    const double e = 1e-4;
    size_t n = p->n[k];
    double *grad = kj_test_get(t, g, n), *x = p->in[k],
           *old = kj_xcalloc(n, sizeof *old);
    double *u = kj_xcalloc(n, sizeof *u), worst = 0, top = 1e-30;
    memcpy(old, x, n * sizeof *x);
    for (int probe = 0; probe < 16; probe++) {
        double dot = 0, mag = 0;
        for (size_t i = 0; i < n; i++)
            u[i] = probe < 4 ? kj_test_normal(t) : 0;
        if (probe >= 4)
            u[(size_t)(kj_test_uniform(t) * (double)n)] = 1;
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
    kj_test_verdict(t, op, what, worst / top,
                    t->type == KJ_BF16 ? BF16_GRADIENT : 1e-5);
    free(grad);
    free(old);
    free(u);
}

void kj_probe_init(struct kj_test *t, struct kj_probe *p)
{
    for (int i = 0; i < KJ_PROBE_IN; i++)
        p->in[i] = p->n[i] ? kj_test_random(t, p->n[i]) : NULL;
    p->out = kj_xcalloc(p->n_out, sizeof *p->out);
    p->dy = kj_test_random(t, p->n_out);
    p->f(p);
}

void kj_probe_free(struct kj_probe *p)
{
    for (int i = 0; i < KJ_PROBE_IN; i++)
        free(p->in[i]);
    free(p->out);
    free(p->dy);
}

/* Which groups, each of a seed of its own. */
struct groups {
    uint64_t seed;
    unsigned n, from;
};

static int all(struct kj_test *t, struct groups *g, kj_test_fn *const *tests,
               struct kj_err *err)
{
    for (size_t i = 0; tests[i]; i++) {
        if (++g->n < g->from)
            continue;
        t->rng = g->seed + g->n * 0x9E3779B97F4A7C15u;
        tests[i](t);
        int rc = t->b->ops->sync(t->b, err);
        if (rc) {
            kj_err_context(err, "group %u", g->n);
            return rc;
        }
    }
    return KJ_OK;
}

int kj_selftest_run(struct kj_backend *b, uint64_t seed, unsigned from,
                    void (*report)(void *ctx, const struct kj_selftest *t), void *ctx,
                    unsigned *failed, struct kj_err *err)
{
    struct kj_test t = {.b = b,
                        .o = b->ops,
                        .report = report,
                        .ctx = ctx,
                        .type = KJ_F32,
                        .grads = KJ_F32};
    struct groups g = {.seed = seed, .from = from};
    int rc = all(&t, &g, kj_tests_bf16, err);
    for (int round = 0; rc == KJ_OK && round < 6; round++) {
        t.type = round / 2 ? KJ_BF16 : KJ_F32;
        t.grads = round / 2 == 2 ? KJ_BF16 : KJ_F32;
        t.wide = round % 2;
        if (t.type == KJ_BF16 && t.wide && !b->ops->bf16)
            continue; /* it only converts: no other way for wide rows */
        rc = all(&t, &g, round / 2 == 2 ? kj_tests_ops_grads : kj_tests_ops, err);
        rc = rc ? rc
                : all(&t, &g, round / 2 == 2 ? kj_tests_model_grads : kj_tests_model,
                      err);
        if (rc == KJ_OK && b->f8 && round < 4)
            rc = all(&t, &g, kj_tests_f8, err);
    }
    *failed = t.failed;
    return rc;
}
