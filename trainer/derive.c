/* derive.c - up-scaled and merged models. */
#include "trainer/derive.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"

#define COPY_FLOATS ((size_t)1 << 18)
/* Beyond this cosine the great circle is a straight line to float precision. */
#define ALMOST_PARALLEL 0.9995

/* ---- parents ---- */

int kj_parent_open(struct kj_parent *p, const char *dir, struct kj_err *err)
{
    memset(p, 0, sizeof *p);
    char *direct = kj_xprintf("%s/config.json", dir),
         *run = kj_xprintf("%s/model/config.json", dir);
    bool inside = access(direct, F_OK) != 0 && access(run, F_OK) == 0;
    p->dir = inside ? kj_xprintf("%s/model", dir) : kj_xstrdup(dir);
    free(direct);
    free(run);
    int rc = kj_hf_config(p->dir, &p->config, err);
    if (rc == KJ_OK)
        rc = kj_weights_open(&p->weights, p->dir, &p->config.shape, err);
    if (rc)
        kj_parent_close(p);
    return rc;
}

void kj_parent_close(struct kj_parent *p)
{
    kj_weights_close(p->weights);
    free(p->dir);
    memset(p, 0, sizeof *p);
}

int kj_parent_publish(const struct kj_parent *p, const struct kj_shape *s,
                      kj_st_fill *fill, void *ctx, const char *out, struct kj_err *err)
{
    char *tokenizer = kj_xprintf("%s/tokenizer.json", p->dir);
    struct kj_hf_source from = {s, fill, ctx, NULL};
    struct kj_hf_save save = {
        .tokenizer = access(tokenizer, F_OK) == 0 ? tokenizer : NULL,
        .bos = p->config.bos,
        .eos = p->config.eos,
        .bf16 = kj_weights_bf16(p->weights),
    };
    int rc = kj_hf_publish_from(&from, out, &save, err);
    free(tokenizer);
    return rc;
}

/* ---- depth up-scaling ---- */

static bool bound(const char **p, int64_t fallback, int64_t *out)
{
    char *end;
    if (**p < '0' || **p > '9') {
        *out = fallback;
        return true;
    }
    errno = 0;
    *out = strtoll(*p, &end, 10);
    *p = end;
    return errno == 0;
}

int kj_layers_parse(const char *text, int64_t layers, struct kj_layers **out, size_t *n,
                    struct kj_err *err)
{
    struct kj_layers *v = NULL;
    size_t count = 0;
    for (const char *p = text;;) {
        struct kj_layers r;
        bool good = bound(&p, 0, &r.from) && *p++ == ':' && bound(&p, layers, &r.to) &&
                    (*p == ',' || *p == 0);
        if (!good || r.from >= r.to || r.to > layers || count == 4096) {
            free(v);
            return kj_err_set(err, KJ_USAGE,
                              "\"%.200s\": ranges are FROM:TO, FROM below TO, within "
                              "0:%lld",
                              text, (long long)layers);
        }
        v = kj_xrealloc(v, (count + 1) * sizeof *v);
        v[count++] = r;
        if (*p++ == 0)
            break;
    }
    *out = v;
    *n = count;
    return KJ_OK;
}

struct stacked {
    const struct kj_weights *weights;
    struct kj_param *params; /* of the new shape */
    int64_t *origin;         /* of each new layer */
};

static int fill_stacked(void *ctx, size_t i, uint64_t at, float *out, size_t n,
                        struct kj_err *err)
{
    const struct stacked *s = ctx;
    const struct kj_param *p = &s->params[i];
    char name[sizeof p->name + 16];
    snprintf(name, sizeof name, "%s", p->name);
    if (p->layer >= 0) {
        const char *rest = strchr(p->name + sizeof "model.layers." - 1, '.');
        snprintf(name, sizeof name, "model.layers.%lld%s",
                 (long long)s->origin[p->layer], rest);
    }
    return kj_st_floats(kj_weights_find(s->weights, name), at, out, n, err);
}

static int stack(const struct kj_parent *p, const struct kj_layers *v, size_t n,
                 const char *out, int64_t *layers, struct kj_err *err)
{
    struct kj_shape shape = p->config.shape;
    size_t count, k = 0;
    shape.layers = 0;
    for (size_t i = 0; i < n; i++)
        shape.layers += v[i].to - v[i].from;
    int rc = kj_shape_check(&shape, err);
    if (rc)
        return rc;
    struct stacked s = {.weights = p->weights,
                        .params = kj_llama_params(&shape, &count, NULL),
                        .origin = kj_xcalloc((size_t)shape.layers, sizeof *s.origin)};
    for (size_t i = 0; i < n; i++)
        for (int64_t l = v[i].from; l < v[i].to; l++)
            s.origin[k++] = l;
    rc = kj_parent_publish(p, &shape, fill_stacked, &s, out, err);
    *layers = shape.layers;
    free(s.params);
    free(s.origin);
    return rc;
}

int kj_upscale(const char *dir, const char *keep, const char *out, int64_t *layers,
               struct kj_err *err)
{
    struct kj_parent p;
    struct kj_layers *v = NULL;
    size_t n;
    int rc = kj_parent_open(&p, dir, err);
    if (rc)
        return rc;
    rc = kj_layers_parse(keep, p.config.shape.layers, &v, &n, err);
    if (rc == KJ_OK)
        rc = stack(&p, v, n, out, layers, err);
    free(v);
    kj_parent_close(&p);
    return rc;
}

/* ---- merging ---- */

struct merge {
    struct kj_parent *p;
    size_t n;
    struct kj_param *params;
    double *weights; /* sum 1 */
    bool slerp;
    double t;
    size_t ready;     /* the parameter that a and b are for, + 1 */
    double factor[2]; /* of SLERP for this parameter */
};

static const struct kj_st_tensor *tensor(const struct merge *m, size_t model, size_t i)
{
    return kj_weights_find(m->p[model].weights, m->params[i].name);
}

/* SLERP's two factors need both lengths and the angle, of the whole tensor. */
static int angle(struct merge *m, size_t i, struct kj_err *err)
{
    const struct kj_st_tensor *t[2] = {tensor(m, 0, i), tensor(m, 1, i)};
    double aa = 0, bb = 0, ab = 0;
    float *x = kj_xmalloc(2 * COPY_FLOATS * sizeof *x), *y = x + COPY_FLOATS;
    int rc = KJ_OK;
    for (uint64_t at = 0; at < t[0]->elements && rc == KJ_OK; at += COPY_FLOATS) {
        uint64_t left = t[0]->elements - at;
        size_t n = left < COPY_FLOATS ? (size_t)left : COPY_FLOATS;
        rc = kj_st_floats(t[0], at, x, n, err);
        rc = rc ? rc : kj_st_floats(t[1], at, y, n, err);
        for (size_t k = 0; k < n && rc == KJ_OK; k++) {
            aa += (double)x[k] * (double)x[k];
            bb += (double)y[k] * (double)y[k];
            ab += (double)x[k] * (double)y[k];
        }
    }
    free(x);
    double c = aa > 0 && bb > 0 ? ab / sqrt(aa * bb) : 1;
    if (fabs(c) > ALMOST_PARALLEL) {
        m->factor[0] = 1 - m->t;
        m->factor[1] = m->t;
    } else {
        double w = acos(c);
        m->factor[0] = sin((1 - m->t) * w) / sin(w);
        m->factor[1] = sin(m->t * w) / sin(w);
    }
    m->ready = i + 1;
    return rc;
}

static int fill_merged(void *ctx, size_t i, uint64_t at, float *out, size_t n,
                       struct kj_err *err)
{
    struct merge *m = ctx;
    int rc = KJ_OK;
    if (m->slerp && m->ready != i + 1)
        rc = angle(m, i, err);
    double *sum = kj_xcalloc(n, sizeof *sum);
    float *x = kj_xmalloc(n * sizeof *x);
    for (size_t k = 0; k < m->n && rc == KJ_OK; k++) {
        double f = m->slerp ? m->factor[k] : m->weights[k];
        rc = kj_st_floats(tensor(m, k, i), at, x, n, err);
        for (size_t j = 0; j < n && rc == KJ_OK; j++)
            sum[j] += f * (double)x[j];
    }
    for (size_t j = 0; j < n; j++)
        out[j] = (float)sum[j];
    free(x);
    free(sum);
    return rc;
}

static bool same_shape(const struct kj_shape *a, const struct kj_shape *b)
{
    return a->vocab_size == b->vocab_size && a->hidden == b->hidden &&
           a->ffn == b->ffn && a->layers == b->layers && a->heads == b->heads &&
           a->kv_heads == b->kv_heads && a->head_dim == b->head_dim &&
           a->tied == b->tied && kj_shape_same_rope(a, b);
}

static int run_merge(struct merge *m, const char *const *dirs, const char *out,
                     struct kj_err *err)
{
    int rc = KJ_OK;
    size_t n = m->n;
    m->p = kj_xcalloc(n, sizeof *m->p);
    for (m->n = 0; m->n < n && rc == KJ_OK;) {
        rc = kj_parent_open(&m->p[m->n], dirs[m->n], err);
        if (rc == KJ_OK)
            m->n++;
    }
    for (size_t i = 1; i < n && rc == KJ_OK; i++)
        if (!same_shape(&m->p[0].config.shape, &m->p[i].config.shape))
            rc = kj_err_set(err, KJ_USAGE, "%s and %s have different shapes", dirs[0],
                            dirs[i]);
    if (rc == KJ_OK) {
        size_t count;
        m->params = kj_llama_params(&m->p[0].config.shape, &count, NULL);
        rc = kj_parent_publish(&m->p[0], &m->p[0].config.shape, fill_merged, m, out,
                               err);
    }
    for (size_t i = 0; i < m->n; i++)
        kj_parent_close(&m->p[i]);
    free(m->p);
    free(m->params);
    return rc;
}

int kj_merge_linear(const char *const *dirs, size_t n, const double *weights,
                    const char *out, struct kj_err *err)
{
    double sum = 0, *w = kj_xcalloc(n, sizeof *w);
    for (size_t i = 0; i < n; i++)
        sum += w[i] = weights ? weights[i] : 1;
    for (size_t i = 0; i < n; i++)
        w[i] /= sum;
    struct merge m = {.n = n, .weights = w};
    int rc = fabs(sum) > 1e-9 && isfinite(sum)
                 ? run_merge(&m, dirs, out, err)
                 : kj_err_set(err, KJ_USAGE, "the weights' sum is %g", sum);
    free(w);
    return rc;
}

int kj_merge_slerp(const char *a, const char *b, double t, const char *out,
                   struct kj_err *err)
{
    const char *const dirs[] = {a, b};
    struct merge m = {.n = 2, .slerp = true, .t = t};
    return run_merge(&m, dirs, out, err);
}
