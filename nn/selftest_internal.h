/* selftest_internal.h - what the files of the self-test share: probes, device
 * copies of their inputs, and verdicts. See nn/selftest.c.
 */
#ifndef KJ_NN_SELFTEST_INTERNAL_H
#define KJ_NN_SELFTEST_INTERNAL_H

#include "nn/backend.h"
#include "nn/selftest.h"

#define KJ_PROBE_IN 4

/* One operation on random operands: f computes out from in, in double. */
struct kj_probe {
    size_t n[KJ_PROBE_IN]; /* elements of each input; 0: none */
    double *in[KJ_PROBE_IN];
    size_t n_out;
    double *out, *dy;
    const int32_t *ids;
    size_t d[6]; /* shape, as the operation likes */
    double s[2];
    const int32_t *cu_q, *cu_k;
    enum kj_act act;
    void (*f)(const struct kj_probe *p);
};

struct kj_test {
    struct kj_backend *b;
    const struct kj_ops *o;
    uint64_t rng;
    void (*report)(void *ctx, const struct kj_selftest *t);
    void *ctx;
    unsigned failed;
    /* Of activations and weights: BF16 in a second round, where the back end takes
     * it. Limits then are those of its rounding. */
    enum kj_dtype type;
    enum kj_dtype grads; /* of gradients by weights: BF16 in a third */
    /* Rows are multiples of 8 elements, some longer than a device takes at a time; else
     * odd. */
    bool wide;
};

/* From [0, 1); normal by the sum of twelve of them. */
double kj_test_uniform(struct kj_test *t);
double kj_test_normal(struct kj_test *t);
/* n random doubles that are values of t's type. */
double *kj_test_random(struct kj_test *t, size_t n);
/* x rounded to t's type; what a result of t's type may be off by. */
double kj_test_value(const struct kj_test *t, double x);
double kj_test_limit(const struct kj_test *t, double limit);
void kj_test_verdict(struct kj_test *t, const char *op, const char *what, double worst,
                     double limit);
/* A device copy of x (NULL: poisoned with NaN), and back. sum: of what is F32
 * always, such as log sums and losses. grad: of gradients by weights. */
struct kj_mat kj_test_put_grad(struct kj_test *t, const double *x, size_t n,
                               size_t stride);
struct kj_mat kj_test_put_sum(struct kj_test *t, const double *x, size_t n,
                              size_t stride);
struct kj_mat kj_test_put(struct kj_test *t, const double *x, size_t n, size_t stride);
struct kj_mat kj_test_put_ids(struct kj_test *t, const int32_t *x, size_t n);
double *kj_test_get(struct kj_test *t, struct kj_mat m, size_t n);
void kj_test_drop(struct kj_test *t, struct kj_mat m);
/* max |a - b| / max |b|; NaN anywhere counts as 1e300. */
double kj_test_differ(const double *a, const double *b, size_t n);
/* Compare device memory with what was wanted. */
void kj_test_compare(struct kj_test *t, const char *op, const char *what,
                     struct kj_mat m, const double *want, size_t n, double limit);
/* The gradient g by input k against central differences of f. */
void kj_test_gradient(struct kj_test *t, const char *op, const char *what,
                      struct kj_probe *p, int k, struct kj_mat g);
/* Random inputs, their outputs, random dy. */
void kj_probe_init(struct kj_test *t, struct kj_probe *p);
void kj_probe_free(struct kj_probe *p);

/* x rounded to bfloat16's nearest, ties to even. */
double kj_test_bf16(double x);

/* Tests of single maps, and of what a model makes of them; each ends with NULL. */
typedef void kj_test_fn(struct kj_test *t);
extern kj_test_fn *const kj_tests_ops[],
    *const kj_tests_model[], *const kj_tests_f8[], *const kj_tests_bf16[];
/* Those of the first two that make gradients by weights. */
extern kj_test_fn *const kj_tests_ops_grads[], *const kj_tests_model_grads[];

#endif
