/* importance.c - one pass over calibration texts, and the file of scores. */
#include "trainer/importance.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/output.h"

#define FORMAT   "kijil-importance"
#define JSON_MAX ((size_t)1 << 30)

/* Sums of squares over samples, one vector per place that is looked at. */
struct pass {
    struct kj_scores *s;
    struct kj_llama *m;
    double *norms;  /* (2 layers + 1) x hidden */
    double *att;    /* layers x heads * head_dim */
    double *cosine; /* layers */
    size_t att_n;
    uint64_t tokens;
    float *x, *y, *z; /* rows of one activation */
    double *mean;
};

/* sum[i] += (mean over the sample's tokens of |x_i|)^2 */
static void add(struct pass *p, struct kj_mat a, size_t n, size_t cols, double *sum)
{
    memset(p->mean, 0, cols * sizeof *p->mean);
    p->m->b->ops->read(p->m->b, a.t, a.at, p->x, n * cols);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < cols; k++)
            p->mean[k] += fabs((double)p->x[i * cols + k]);
    for (size_t k = 0; k < cols; k++) {
        double v = p->mean[k] / (double)n;
        sum[k] += v * v;
    }
}

static void add_cosine(struct pass *p, const struct kj_llama_view *v, size_t h)
{
    const struct kj_ops *o = p->m->b->ops;
    o->read(p->m->b, v->before.t, v->before.at, p->x, v->n * h);
    o->read(p->m->b, v->mid.t, v->mid.at, p->y, v->n * h);
    o->read(p->m->b, v->delta.t, v->delta.at, p->z, v->n * h);
    for (size_t i = 0; i < v->n; i++) {
        double aa = 0, bb = 0, ab = 0;
        for (size_t k = i * h; k < (i + 1) * h; k++) {
            double a = (double)p->x[k], b = (double)p->y[k] + (double)p->z[k];
            aa += a * a;
            bb += b * b;
            ab += a * b;
        }
        p->cosine[v->layer] += aa > 0 && bb > 0 ? ab / sqrt(aa * bb) : 0;
    }
}

static void look(void *ctx, const struct kj_llama_view *v)
{
    struct pass *p = ctx;
    size_t h = (size_t)p->s->hidden, f = (size_t)p->s->ffn;
    add(p, v->norm1, v->n, h, p->norms + 2 * v->layer * h);
    if (v->layer == (size_t)p->s->layers) {
        p->tokens += v->n;
        return;
    }
    add(p, v->norm2, v->n, h, p->norms + (2 * v->layer + 1) * h);
    add(p, v->heads, v->n, p->att_n, p->att + v->layer * p->att_n);
    add(p, v->neurons, v->n, f, p->s->neuron + v->layer * f);
    add_cosine(p, v, h);
}

static void scores_new(struct kj_scores *s)
{
    size_t l = (size_t)s->layers;
    s->channel = kj_xcalloc((size_t)s->hidden, sizeof *s->channel);
    s->neuron = kj_xcalloc(l * (size_t)s->ffn, sizeof *s->neuron);
    s->head = kj_xcalloc(l * (size_t)s->heads, sizeof *s->head);
    s->block = kj_xcalloc(l, sizeof *s->block);
}

void kj_scores_release(struct kj_scores *s)
{
    free(s->channel);
    free(s->neuron);
    free(s->head);
    free(s->block);
    memset(s, 0, sizeof *s);
}

/* From sums of squares to scores. */
static void finish(struct pass *p)
{
    struct kj_scores *s = p->s;
    size_t h = (size_t)s->hidden, l = (size_t)s->layers, heads = (size_t)s->heads;
    size_t dim = p->att_n / heads;
    for (size_t i = 0; i < (2 * l + 1) * h; i++)
        s->channel[i % h] += sqrt(p->norms[i]);
    for (size_t i = 0; i < l * (size_t)s->ffn; i++)
        s->neuron[i] = sqrt(s->neuron[i]);
    /* The squares of an element's L2 norm over samples, summed over the head. */
    for (size_t i = 0; i < l * heads; i++) {
        for (size_t k = 0; k < dim; k++)
            s->head[i] += p->att[i * dim + k];
        s->head[i] = sqrt(s->head[i]);
    }
    for (size_t i = 0; i < l; i++)
        s->block[i] = 1 - p->cosine[i] / (double)p->tokens;
}

int kj_scores_make(struct kj_scores *s, struct kj_llama *m, struct kj_loader *l,
                   int64_t samples, int64_t length, struct kj_err *err)
{
    const struct kj_shape *h = &m->shape;
    size_t n = (size_t)length, widest = (size_t)(h->heads * h->head_dim);
    *s = (struct kj_scores){.hidden = h->hidden,
                            .ffn = h->ffn,
                            .heads = h->heads,
                            .layers = h->layers,
                            .samples = samples,
                            .length = length};
    scores_new(s);
    struct pass p = {.s = s, .m = m, .att_n = widest};
    struct kj_packed rows;
    double sum;
    int rc = KJ_OK;
    widest = widest > (size_t)h->ffn ? widest : (size_t)h->ffn;
    widest = widest > (size_t)h->hidden ? widest : (size_t)h->hidden;
    p.norms =
        kj_xcalloc((size_t)(2 * h->layers + 1) * (size_t)h->hidden, sizeof *p.norms);
    p.att = kj_xcalloc((size_t)h->layers * p.att_n, sizeof *p.att);
    p.cosine = kj_xcalloc((size_t)h->layers, sizeof *p.cosine);
    p.mean = kj_xcalloc(widest, sizeof *p.mean);
    p.x = kj_xcalloc(n * widest, sizeof *p.x);
    p.y = kj_xcalloc(n * (size_t)h->hidden, sizeof *p.y);
    p.z = kj_xcalloc(n * (size_t)h->hidden, sizeof *p.z);
    kj_packed_init(&rows, n);
    m->look = look;
    m->look_ctx = &p;
    for (int64_t i = 0; i < samples && rc == KJ_OK; i++) {
        rc = kj_loader_next(l, 1, n, &rows, err);
        if (rc == KJ_OK)
            rc = kj_llama_loss(m, &rows.rows, false, 0, 0, &sum, NULL, err);
    }
    m->look = NULL;
    m->look_ctx = NULL;
    if (rc == KJ_OK)
        finish(&p);
    kj_packed_release(&rows);
    free(p.norms);
    free(p.att);
    free(p.cosine);
    free(p.mean);
    free(p.x);
    free(p.y);
    free(p.z);
    return rc;
}

/* ---- the file ---- */

static int put_list(struct kj_buf *b, const char *name, const double *v, size_t n)
{
    int rc = kj_buf_printf(b, "\"%s\": [", name);
    for (size_t i = 0; i < n; i++)
        rc |= (i ? kj_buf_addz(b, ", ") : 0) | kj_json_put_real(b, v[i]);
    return rc | kj_buf_addc(b, ']');
}

int kj_scores_write(const struct kj_scores *s, const char *path, struct kj_err *err)
{
    size_t f = (size_t)s->ffn, heads = (size_t)s->heads;
    struct kj_buf b;
    kj_buf_init(&b, JSON_MAX);
    int rc = kj_buf_printf(&b,
                           "{\n\"format\": \"%s\",\n\"version\": 1,\n\"samples\": "
                           "%lld,\n\"length\": %lld,\n",
                           FORMAT, (long long)s->samples, (long long)s->length);
    rc |= put_list(&b, "channels", s->channel, (size_t)s->hidden);
    rc |= kj_buf_addz(&b, ",\n\"layers\": [");
    for (size_t i = 0; i < (size_t)s->layers; i++) {
        rc |= kj_buf_addz(&b, i ? ",\n{\"block\": " : "\n{\"block\": ");
        rc |= kj_json_put_real(&b, s->block[i]) | kj_buf_addz(&b, ",\n ");
        rc |= put_list(&b, "heads", s->head + i * heads, heads);
        rc |= kj_buf_addz(&b, ",\n ");
        rc |= put_list(&b, "neurons", s->neuron + i * f, f) | kj_buf_addc(&b, '}');
    }
    rc |= kj_buf_addz(&b, "\n]\n}\n");
    rc = rc ? kj_err_set(err, KJ_FAIL, "the scores are too many")
            : kj_output_file(path, b.p, b.n, err);
    kj_buf_release(&b);
    return rc;
}

static bool get_list(const struct kj_jval *v, double *out, size_t n)
{
    if (!v || v->kind != KJ_J_ARRAY || v->n != n)
        return false;
    for (size_t i = 0; i < n; i++) {
        out[i] = kj_jnum(&v->items[i], NAN);
        if (!isfinite(out[i]))
            return false;
    }
    return true;
}

static int get_scores(struct kj_scores *s, const struct kj_jval *root,
                      struct kj_err *err)
{
    const struct kj_jval *ch = kj_jget(root, "channels"),
                         *layers = kj_jget(root, "layers");
    if (!kj_str_is(kj_jstr(kj_jget(root, "format")), FORMAT) ||
        kj_jint(kj_jget(root, "version"), 0) != 1)
        return kj_err_set(err, KJ_FAIL, "not a file of scores of version 1");
    if (!ch || ch->kind != KJ_J_ARRAY || !layers || layers->kind != KJ_J_ARRAY ||
        layers->n == 0 || layers->n > 4096)
        return kj_err_set(err, KJ_FAIL, "channels or layers are missing");
    const struct kj_jval *heads = kj_jget(&layers->items[0], "heads"),
                         *neurons = kj_jget(&layers->items[0], "neurons");
    if (!heads || heads->kind != KJ_J_ARRAY || !neurons || neurons->kind != KJ_J_ARRAY)
        return kj_err_set(err, KJ_FAIL, "heads or neurons are missing");
    s->hidden = (int64_t)ch->n;
    s->layers = (int64_t)layers->n;
    s->heads = (int64_t)heads->n;
    s->ffn = (int64_t)neurons->n;
    s->samples = kj_jint(kj_jget(root, "samples"), 0);
    s->length = kj_jint(kj_jget(root, "length"), 0);
    scores_new(s);
    bool good = get_list(ch, s->channel, ch->n);
    for (size_t i = 0; i < layers->n && good; i++) {
        const struct kj_jval *l = &layers->items[i];
        s->block[i] = kj_jnum(kj_jget(l, "block"), NAN);
        good = isfinite(s->block[i]) &&
               get_list(kj_jget(l, "heads"), s->head + i * heads->n, heads->n) &&
               get_list(kj_jget(l, "neurons"), s->neuron + i * neurons->n, neurons->n);
    }
    return good ? KJ_OK : kj_err_set(err, KJ_FAIL, "a list is short, or no number");
}

int kj_scores_read(struct kj_scores *s, const char *path, struct kj_err *err)
{
    struct kj_json *j = kj_json_new();
    const struct kj_jval *root;
    memset(s, 0, sizeof *s);
    int rc = kj_json_load(j, path, JSON_MAX, &root, err);
    if (rc == KJ_OK)
        rc = get_scores(s, root, err);
    kj_err_where(rc ? err : NULL, path, -1);
    kj_json_free(j);
    return rc;
}
