/* ft_save.c - a model's parts become the bytes of a file (layout: ft_load.c). */
#include "classify/ft_internal.h"

static int put(struct kj_buf *b, const void *p, size_t n)
{
    return kj_buf_add(b, p, n);
}

static int put_i32(struct kj_buf *b, int32_t v)
{
    return put(b, &v, sizeof v);
}

static int put_i64(struct kj_buf *b, int64_t v)
{
    return put(b, &v, sizeof v);
}

static int put_args(struct kj_buf *b, const struct kj_ft_args *a)
{
    const int32_t f[14] = {FT_MAGIC, FT_VERSION,       a->dim,    a->ws,
                           a->epoch, a->min_count,     a->neg,    a->word_ngrams,
                           a->loss,  a->model,         a->bucket, a->minn,
                           a->maxn,  a->lr_update_rate};
    return put(b, f, sizeof f) || put(b, &a->t, sizeof a->t);
}

static int put_pq(struct kj_buf *b, const struct ft_pq *q)
{
    return put_i32(b, q->dim) || put_i32(b, q->nsubq) || put_i32(b, q->dsub) ||
           put_i32(b, q->lastdsub) ||
           put(b, q->centroids, (size_t)q->dim * FT_KSUB * sizeof(float));
}

static int put_mat(struct kj_buf *b, const struct ft_mat *a)
{
    size_t rows = (size_t)a->rows;
    if (!a->quant)
        return put_i64(b, a->rows) || put_i64(b, a->cols) ||
               put(b, a->data, rows * (size_t)a->cols * 4);
    size_t codes = rows * (size_t)a->pq.nsubq;
    if (kj_buf_addc(b, a->qnorm) || put_i64(b, a->rows) || put_i64(b, a->cols) ||
        put_i32(b, (int32_t)codes) || put(b, a->codes, codes) || put_pq(b, &a->pq))
        return KJ_FAIL;
    return a->qnorm && (put(b, a->norm_codes, rows) || put_pq(b, &a->npq));
}

int ft_save(const struct ft_file *f, struct kj_buf *out, struct kj_err *err)
{
    const struct ft_dict *d = f->dict;
    int rc = put_args(out, &f->args) || put_i32(out, d->n_words + d->n_labels) ||
             put_i32(out, d->n_words) || put_i32(out, d->n_labels) ||
             put_i64(out, f->n_tokens) || put_i64(out, f->n_pruned);
    for (int32_t id = 0; !rc && id < d->n_words + d->n_labels; id++) {
        size_t n;
        const char *w = ft_dict_word(d, id, &n);
        rc = put(out, w, n + 1) || put_i64(out, f->counts[id]) ||
             kj_buf_addc(out, id >= d->n_words);
    }
    for (int64_t i = 0; !rc && i < f->n_pruned; i++)
        rc = put_i32(out, f->pruned[i]) || put_i32(out, (int32_t)i);
    rc = rc || kj_buf_addc(out, f->in.quant) || put_mat(out, &f->in) ||
         kj_buf_addc(out, f->qout) || put_mat(out, &f->out);
    if (rc)
        return kj_err_set(err, KJ_FAIL, "the model is larger than %zu bytes", out->cap);
    return KJ_OK;
}
