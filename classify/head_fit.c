/* head_fit.c - gradient descent on a small head. */
#include "classify/head.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"

enum { W1, B1, W2, B2, PARTS };

struct fit {
    const struct kj_head_train *o;
    struct kj_backend *b;
    size_t in, width, out, last; /* last: width of the last layer's input */
    struct part {
        size_t n;
        struct kj_tensor *w, *g, *m, *v;
    } p[PARTS];
    struct kj_tensor *x, *a, *da, *z, *y, *loss;
    float *rows, *zs, *ys;
    int32_t *labels;
    double total;
    uint64_t rng;
};

static double uniform(uint64_t *s) /* splitmix64, [0,1) */
{
    uint64_t z = *s += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return (double)((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

static void begin(struct fit *f, const float *y, size_t n)
{
    const struct kj_ops *o = f->b->ops;
    size_t sizes[PARTS] = {f->width * f->in, f->width, f->out * f->last, f->out};
    size_t batch = (size_t)f->o->batch;
    for (int i = 0; i < PARTS; i++) {
        struct part *p = &f->p[i];
        size_t in = i == W1 ? f->in : f->last;
        float *x = kj_xcalloc(sizes[i] + 1, sizeof *x);
        p->n = sizes[i];
        p->w = o->tensor_new(f->b, KJ_F32, p->n);
        p->g = o->tensor_new(f->b, KJ_F32, p->n);
        p->m = o->tensor_new(f->b, KJ_F32, p->n);
        p->v = o->tensor_new(f->b, KJ_F32, p->n);
        for (size_t k = 0; k < p->n && (i == W1 || i == W2); k++)
            x[k] = (float)((2 * uniform(&f->rng) - 1) / sqrt((double)in));
        if (i == B2 && f->o->regression) {
            double mean = 0;
            for (size_t k = 0; k < n; k++)
                mean += (double)y[k] / (double)n;
            x[0] = (float)mean;
        }
        o->write(f->b, p->w, 0, x, p->n);
        free(x);
    }
    f->x = o->tensor_new(f->b, KJ_F32, batch * f->in);
    f->a = o->tensor_new(f->b, KJ_F32, batch * f->width);
    f->da = o->tensor_new(f->b, KJ_F32, batch * f->width);
    f->z = o->tensor_new(f->b, KJ_F32, batch * f->out);
    f->loss = o->tensor_new(f->b, KJ_F32, batch);
    f->y = o->tensor_new(f->b, KJ_I32, batch);
    f->rows = kj_xcalloc(batch * f->in, sizeof *f->rows);
    f->zs = kj_xcalloc(batch * f->out, sizeof *f->zs);
    f->ys = kj_xcalloc(batch, sizeof *f->ys);
    f->labels = kj_xcalloc(batch, sizeof *f->labels);
}

static void end(struct fit *f)
{
    const struct kj_ops *o = f->b->ops;
    for (int i = 0; i < PARTS; i++) {
        struct kj_tensor *t[] = {f->p[i].w, f->p[i].g, f->p[i].m, f->p[i].v};
        for (int k = 0; k < 4; k++)
            o->tensor_free(f->b, t[k]);
    }
    struct kj_tensor *t[] = {f->x, f->a, f->da, f->z, f->loss, f->y};
    for (size_t k = 0; k < sizeof t / sizeof *t; k++)
        o->tensor_free(f->b, t[k]);
    free(f->rows);
    free(f->zs);
    free(f->ys);
    free(f->labels);
    kj_backend_close(f->b);
}

/* Losses into total, and z becomes the gradient of their mean by it. */
static void losses(struct fit *f, size_t n)
{
    const struct kj_ops *o = f->b->ops;
    if (f->o->regression) {
        o->read(f->b, f->z, 0, f->zs, n);
        for (size_t i = 0; i < n; i++) {
            float d = f->zs[i] - f->ys[i];
            f->total += (double)d * (double)d;
            f->zs[i] = 2 * d / (float)n;
        }
        o->write(f->b, f->z, 0, f->zs, n);
        return;
    }
    for (size_t i = 0; i < n; i++)
        f->labels[i] = (int32_t)f->ys[i];
    o->write(f->b, f->y, 0, f->labels, n);
    o->cross_entropy(f->b, kj_mat(f->z, 0, f->out), kj_mat(f->loss, 0, 1), KJ_MAT_NONE,
                     kj_mat(f->y, 0, 1), n, f->out, 1.0f / (float)n, KJ_MAT_NONE, 0,
                     true);
    o->read(f->b, f->loss, 0, f->zs, n);
    for (size_t i = 0; i < n; i++)
        f->total += (double)f->zs[i];
}

static void step(struct fit *f, size_t n, double lr, int64_t t)
{
    const struct kj_ops *o = f->b->ops;
    struct kj_backend *b = f->b;
    struct kj_mat x = kj_mat(f->x, 0, f->in), a = kj_mat(f->a, 0, f->width);
    struct kj_mat da = kj_mat(f->da, 0, f->width), z = kj_mat(f->z, 0, f->out);
    struct kj_mat w1 = kj_mat(f->p[W1].w, 0, f->in), b1 = kj_mat(f->p[B1].w, 0, 1);
    struct kj_mat w2 = kj_mat(f->p[W2].w, 0, f->last), b2 = kj_mat(f->p[B2].w, 0, 1);
    o->write(b, f->x, 0, f->rows, n * f->in);
    if (f->width) {
        o->matmul(b, a, x, w1, n, f->width, f->in, KJ_MM_TB);
        o->bias_act(b, a, b1, n, f->width, f->o->act);
    } else {
        a = x;
    }
    o->matmul(b, z, a, w2, n, f->out, f->last, KJ_MM_TB);
    o->bias_act(b, z, b2, n, f->out, KJ_ACT_NONE);
    losses(f, n);
    for (int i = 0; i < PARTS; i++)
        o->zero(b, kj_mat(f->p[i].g, 0, 1), f->p[i].n);
    o->act_back(b, z, kj_mat(f->p[B2].g, 0, 1), z, z, n, f->out, KJ_ACT_NONE);
    o->matmul(b, kj_mat(f->p[W2].g, 0, f->last), z, a, f->out, f->last, n, KJ_MM_TA);
    if (f->width) {
        o->matmul(b, da, z, w2, n, f->last, f->out, 0);
        o->act_back(b, da, kj_mat(f->p[B1].g, 0, 1), da, a, n, f->width, f->o->act);
        o->matmul(b, kj_mat(f->p[W1].g, 0, f->in), da, x, f->width, f->in, n, KJ_MM_TA);
    }
    struct kj_adamw w = {.lr = (float)lr,
                         .beta1 = 0.9f,
                         .beta2 = 0.999f,
                         .eps = 1e-8f,
                         .grad_scale = 1,
                         .fix1 = (float)(1 / (1 - pow(0.9, (double)t))),
                         .fix2 = (float)(1 / (1 - pow(0.999, (double)t)))};
    for (int i = 0; i < PARTS; i++) {
        w.decay = i == W1 || i == W2 ? (float)(lr * f->o->decay) : 0;
        o->adamw(b, kj_mat(f->p[i].w, 0, 1), kj_mat(f->p[i].g, 0, 1),
                 kj_mat(f->p[i].m, 0, 1), kj_mat(f->p[i].v, 0, 1), f->p[i].n, &w);
    }
}

/* mean and 1 / standard deviation of each column; columns that do not vary: 0. */
static void measure(const float *x, size_t n, size_t in, double *mean, double *inverse)
{
    for (size_t c = 0; c < in; c++) {
        double s = 0, q = 0;
        for (size_t i = 0; i < n; i++)
            s += (double)x[i * in + c];
        mean[c] = s / (double)n;
        for (size_t i = 0; i < n; i++)
            q += pow((double)x[i * in + c] - mean[c], 2);
        inverse[c] = q > 1e-12 * (double)n ? 1 / sqrt(q / (double)n) : 0;
    }
}

static int run(struct fit *f, const float *x, const float *y, size_t n,
               const double *mean, const double *inverse, struct kj_err *err)
{
    size_t *order = kj_xcalloc(n, sizeof *order), batch = (size_t)f->o->batch;
    int64_t t = 0, per = (int64_t)((n + batch - 1) / batch);
    int rc = KJ_OK;
    for (size_t i = 0; i < n; i++)
        order[i] = i;
    for (int64_t epoch = 0; epoch < f->o->epochs && rc == KJ_OK; epoch++) {
        f->total = 0;
        for (size_t i = n; i > 1; i--) {
            size_t k = (size_t)(uniform(&f->rng) * (double)i), old = order[i - 1];
            order[i - 1] = order[k];
            order[k] = old;
        }
        for (size_t i = 0; i < n; i += batch) {
            size_t m = n - i < batch ? n - i : batch;
            for (size_t r = 0; r < m; r++) {
                const float *row = x + order[i + r] * f->in;
                for (size_t c = 0; c < f->in; c++)
                    f->rows[r * f->in + c] =
                        (float)(((double)row[c] - mean[c]) * inverse[c]);
                f->ys[r] = y[order[i + r]];
            }
            double left = 1 - (double)t / (double)(per * f->o->epochs);
            t++;
            step(f, m, f->o->lr * left, t);
        }
        rc = f->b->ops->sync(f->b, err);
        if (rc == KJ_OK && !isfinite(f->total))
            rc = kj_err_set(err, KJ_FAIL,
                            "the training runs off; a lower --head-lr may do");
    }
    free(order);
    return rc;
}

/* The first layer sees (x - mean) inverse: that goes into its weights. */
static void fold(struct kj_head_weights *h, const double *mean, const double *inverse)
{
    float *w = h->width ? h->w1 : h->w2, *b = h->width ? h->b1 : h->b2;
    for (size_t i = 0; i < (h->width ? h->width : h->out); i++) {
        double shift = 0;
        for (size_t c = 0; c < h->in; c++) {
            double v = (double)w[i * h->in + c] * inverse[c];
            w[i * h->in + c] = (float)v;
            shift += v * mean[c];
        }
        b[i] = (float)((double)b[i] - shift);
    }
}

static float *taken(struct fit *f, int part)
{
    float *x = kj_xcalloc(f->p[part].n + 1, sizeof *x);
    f->b->ops->read(f->b, f->p[part].w, 0, x, f->p[part].n);
    return x;
}

int kj_head_fit(const struct kj_head_train *o, const float *x, const float *y, size_t n,
                size_t in, size_t outputs, struct kj_head_weights *h, double *loss,
                struct kj_err *err)
{
    struct fit f = {.o = o, .in = in, .width = o->width, .out = outputs};
    f.last = o->width ? o->width : in;
    f.rng = (uint64_t)o->seed;
    memset(h, 0, sizeof *h);
    int rc = kj_backend_open(&f.b, "cpu", o->threads, err);
    if (rc)
        return rc;
    double *mean = kj_xcalloc(2 * in, sizeof *mean), *inverse = mean + in;
    begin(&f, y, n);
    measure(x, n, in, mean, inverse);
    rc = run(&f, x, y, n, mean, inverse, err);
    if (rc == KJ_OK) {
        *h = (struct kj_head_weights){in,
                                      o->width,
                                      outputs,
                                      o->act,
                                      taken(&f, W1),
                                      taken(&f, B1),
                                      taken(&f, W2),
                                      taken(&f, B2)};
        fold(h, mean, inverse);
        *loss = f.total / (double)n;
    }
    end(&f);
    free(mean);
    return rc;
}
