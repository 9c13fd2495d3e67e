/* ft_device.c - see ft_device.h. */
#include "classify/ft_device.h"

#include <math.h>
#include <stdlib.h>

#include "classify/ft_internal.h"
#include "nn/backend.h"

#define COPY_FLOATS ((size_t)4 << 20)
/* Of one run. 4 M rows are 16 MB of numbers, and 4 GB of a matrix of dimension 256
 * read: milliseconds on a GPU, over which its launch and the copies do not count. */
#define PASS_ROWS  ((size_t)4 << 20)
#define PASS_TEXTS ((size_t)16384)

struct kj_ft_device {
    const struct kj_ft *m;
    const char *name;
    struct kj_backend *b;
    struct kj_tensor *w;
};

struct kj_ft_pass {
    const struct kj_ft_device *d;
    struct kj_backend *b;
    struct kj_ft_scratch *s;
    struct kj_ft_hit *hits;
    struct kj_tensor *ids, *cu, *y;
    int32_t *rows, *begin;
    float *hidden;
    struct wanted {
        int32_t target;
        float *score;
    } * texts;
    size_t n_rows, n;
};

int kj_ft_device_open(struct kj_ft_device **out, const struct kj_ft *m,
                      const char *backend, struct kj_err *err)
{
    *out = NULL;
    if (m->in.quant)
        return kj_err_set(err, KJ_USAGE,
                          "a quantised model (.ftz) is scored by the processor alone");
    struct kj_ft_device *d = kj_xcalloc(1, sizeof *d);
    size_t n = (size_t)m->in.rows * (size_t)m->in.cols;
    float *buf = kj_xmalloc((n < COPY_FLOATS ? n : COPY_FLOATS) * sizeof *buf);
    d->m = m;
    int rc = kj_backend_open(&d->b, backend, 1, err);
    if (rc == KJ_OK) {
        d->name = d->b->ops->name;
        d->w = d->b->ops->tensor_new(d->b, KJ_F32, n);
        rc = d->b->ops->sync(d->b, err);
    }
    for (size_t at = 0; at < n && rc == KJ_OK; at += COPY_FLOATS) {
        size_t k = n - at < COPY_FLOATS ? n - at : COPY_FLOATS;
        memcpy(buf, m->in.data + at * sizeof *buf, k * sizeof *buf);
        d->b->ops->write(d->b, d->w, at, buf, k);
    }
    free(buf);
    if (rc == KJ_OK)
        rc = d->b->ops->sync(d->b, err);
    if (rc != KJ_OK) {
        kj_ft_device_free(d);
        return rc;
    }
    *out = d;
    return KJ_OK;
}

void kj_ft_device_free(struct kj_ft_device *d)
{
    if (d && d->b) {
        d->b->ops->tensor_free(d->b, d->w);
        kj_backend_close(d->b);
    }
    free(d);
}

int kj_ft_pass_new(struct kj_ft_pass **out, const struct kj_ft_device *d,
                   struct kj_err *err)
{
    struct kj_ft_pass *p = kj_xcalloc(1, sizeof *p);
    size_t dim = (size_t)d->m->args.dim;
    p->d = d;
    *out = NULL;
    int rc = kj_backend_open(&p->b, d->name, 1, err);
    if (rc == KJ_OK) {
        const struct kj_ops *o = p->b->ops;
        p->ids = o->tensor_new(p->b, KJ_I32, PASS_ROWS);
        p->cu = o->tensor_new(p->b, KJ_I32, PASS_TEXTS + 1);
        p->y = o->tensor_new(p->b, KJ_F32, PASS_TEXTS * dim);
        p->rows = kj_xmalloc(PASS_ROWS * sizeof *p->rows);
        p->begin = kj_xcalloc(PASS_TEXTS + 1, sizeof *p->begin);
        p->hidden = kj_xmalloc(PASS_TEXTS * dim * sizeof *p->hidden);
        p->texts = kj_xcalloc(PASS_TEXTS, sizeof *p->texts);
        p->s = kj_ft_scratch_new(d->m, PASS_ROWS);
        p->hits = kj_xcalloc((size_t)kj_ft_labels(d->m), sizeof *p->hits);
        rc = o->sync(p->b, err);
    }
    if (rc != KJ_OK) {
        kj_ft_pass_free(p);
        return rc;
    }
    *out = p;
    return KJ_OK;
}

void kj_ft_pass_free(struct kj_ft_pass *p)
{
    if (!p)
        return;
    if (p->b) {
        p->b->ops->tensor_free(p->b, p->ids);
        p->b->ops->tensor_free(p->b, p->cu);
        p->b->ops->tensor_free(p->b, p->y);
        kj_backend_close(p->b);
    }
    kj_ft_scratch_free(p->s);
    free(p->hits);
    free(p->rows);
    free(p->begin);
    free(p->hidden);
    free(p->texts);
    free(p);
}

int kj_ft_pass_add(struct kj_ft_pass *p, int32_t target, const char *text, size_t n,
                   float *score, struct kj_err *err)
{
    int64_t tokens;
    *score = NAN;
    int rc = ft_text_line(&p->d->m->dict, p->s, text, n, true, NULL, &tokens, err);
    if (rc != KJ_OK)
        return rc;
    if (p->n == PASS_TEXTS || p->n_rows + p->s->n_rows > PASS_ROWS)
        rc = kj_ft_pass_run(p, err);
    if (p->s->n_rows)
        memcpy(p->rows + p->n_rows, p->s->rows, p->s->n_rows * sizeof *p->rows);
    p->n_rows += p->s->n_rows;
    p->texts[p->n] = (struct wanted){target, score};
    p->begin[++p->n] = (int32_t)p->n_rows;
    return rc;
}

int kj_ft_pass_run(struct kj_ft_pass *p, struct kj_err *err)
{
    const struct kj_ft_device *d = p->d;
    const struct kj_ops *o = p->b->ops;
    size_t dim = (size_t)d->m->args.dim, n = p->n;
    int rc = KJ_OK;
    if (p->n_rows) {
        o->write(p->b, p->ids, 0, p->rows, p->n_rows);
        o->write(p->b, p->cu, 0, p->begin, n + 1);
        o->embed_mean(p->b, kj_mat(p->y, 0, dim), kj_mat(d->w, 0, dim),
                      kj_mat(p->ids, 0, 1), kj_mat(p->cu, 0, 1), n, dim);
        o->read(p->b, p->y, 0, p->hidden, n * dim);
        rc = o->sync(p->b, err);
    }
    for (size_t i = 0; i < n && rc == KJ_OK; i++) {
        const float *h = p->begin[i + 1] > p->begin[i] ? p->hidden + i * dim : NULL;
        rc = ft_score_hidden(d->m, p->s, p->texts[i].target, h, p->hits,
                             p->texts[i].score, err);
    }
    p->n = p->n_rows = 0;
    return rc;
}
