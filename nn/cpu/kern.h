/* kern.h - the vector code of the CPU back end: one table per instruction
 * set, made from the same source (kern.inc) and chosen at run time.
 *
 * All functions work on one row or one run of elements on one thread. Sums
 * run in 16 lanes that are added in a fixed order, whatever the width of the
 * machine's vectors.
 */
#ifndef KJ_NN_CPU_KERN_H
#define KJ_NN_CPU_KERN_H

#include <stddef.h>
#include <stdint.h>

#include "nn/backend.h"

/* One row of distillation: log sums of z, z/T and t/T; 1/T; and z's gradient is
 * c softmax(z) + d (softmax(z/T) - softmax(t/T)). */
struct kj_kd_row {
    float lse, lse_z, lse_t, inv, c, d;
};

struct kj_kern {
    const char *isa;
    double (*sumsq)(const float *x, size_t n);
    float (*dot)(const float *x, const float *y, size_t n);
    void (*add)(float *y, const float *x, size_t n);
    void (*scale)(float *y, const float *x, size_t n, float s);
    /* y = a x + b y; b 0: y is not read */
    void (*axpby)(float *y, const float *x, size_t n, float a, float b);
    float (*max)(const float *x, size_t n); /* n > 0 */
    /* The largest magnitude's bits; NaN is above all. */
    uint32_t (*most)(const float *x, size_t n);
    /* Codes of s x, in FP8: E5M2 or E4M3 */
    void (*f8)(uint8_t *q, const float *x, size_t n, float s, int e5m2);
    /* sum of e^(x - max); y gets the terms unless NULL (y may be x) */
    float (*expsum)(float *y, const float *x, size_t n, float max);
    /* x = scale * c * e^(x - lse) */
    void (*ce_grad)(float *x, size_t n, float lse, float c, float scale);
    /* z becomes its gradient; the sum of q (log q - log p) is returned */
    float (*distil)(float *z, const float *t, size_t n, const struct kj_kd_row *r);
    /* s = e^(s - lse); dp = s * (dp - d) */
    void (*attn_back)(float *s, float *dp, size_t n, float lse, float d);
    /* one row each; s NULL when there is no delta */
    void (*norm)(float *y, float *s, float *r, const float *x, const float *delta,
                 const float *w, size_t h, float eps);
    void (*norm_back)(float *dx, float *dw, const float *dy, const float *s, float r,
                      const float *w, size_t h, int add);
    /* y = x + delta + bias, normalised; delta, bias may be NULL */
    void (*layer_norm)(float *y, const float *x, const float *delta, const float *bias,
                       const float *w, const float *c, size_t h, float eps);
    /* x = act(x + bias); bias may be NULL */
    void (*bias_act)(float *x, const float *bias, size_t n, enum kj_act act);
    void (*rope)(float *x, const float *cs, size_t heads, size_t dim, float sign);
    void (*swiglu)(float *h, const float *g, const float *u, size_t n);
    void (*swiglu_back)(float *dg, float *du, const float *dh, const float *g,
                        const float *u, size_t n);
    void (*adamw)(float *w, const float *g, float *m, float *v, size_t n,
                  const struct kj_adamw *p);
};

extern const struct kj_kern kj_kern_base, kj_kern_avx2, kj_kern_avx512;
const struct kj_kern *kj_kern_best(void);

#endif
