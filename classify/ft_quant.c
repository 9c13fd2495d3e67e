/* ft_quant.c - a dense model becomes a small one (arXiv 1612.03651).
 *
 * Cutoff: of all words and n-grams only those with the largest norms stay (the
 * end of line always), and a table in the file says which n-grams they are.
 * Then product quantisation: every row is cut into pieces of dsub numbers, and
 * each piece is replaced by the number of the nearest of 256 centroids, found
 * per place by k-means over at most 65536 rows. With qnorm, directions and
 * norms are quantised apart.
 *
 * The k-means is plain Lloyd with a seeded start; a centroid that loses all
 * its points takes over half of the largest cluster. Where there are fewer
 * rows than centroids, each row is a centroid of its own.
 */
#include "classify/ft_internal.h"

#include <math.h>
#include <stdlib.h>

#define SAMPLE (256 * FT_KSUB)
#define ROUNDS 25

/* Centroids in columns, so that the distances to 8 of them are one vector. */
struct means {
    size_t d;
    float *c; /* [d][FT_KSUB] */
};

static uint32_t next(uint64_t *s)
{
    *s = *s * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*s >> 33);
}

static unsigned nearest(const struct means *m, const float *x)
{
    float dist[FT_KSUB];
    memset(dist, 0, sizeof dist);
    for (size_t j = 0; j < m->d; j++) {
        const float *c = m->c + j * FT_KSUB;
        float v = x[j];
        for (size_t k = 0; k < FT_KSUB; k++)
            dist[k] += (v - c[k]) * (v - c[k]);
    }
    unsigned best = 0;
    for (unsigned k = 1; k < FT_KSUB; k++)
        if (dist[k] < dist[best])
            best = k;
    return best;
}

static void update(struct means *m, const float *x, const unsigned char *code, size_t n)
{
    size_t count[FT_KSUB] = {0};
    memset(m->c, 0, m->d * FT_KSUB * sizeof *m->c);
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < m->d; j++)
            m->c[j * FT_KSUB + code[i]] += x[i * m->d + j];
        count[code[i]]++;
    }
    for (size_t k = 0; k < FT_KSUB; k++)
        for (size_t j = 0; count[k] && j < m->d; j++)
            m->c[j * FT_KSUB + k] /= (float)count[k];
    for (size_t k = 0; k < FT_KSUB; k++) {
        size_t big = 0;
        if (count[k])
            continue;
        for (size_t i = 1; i < FT_KSUB; i++)
            if (count[i] > count[big])
                big = i;
        for (size_t j = 0; j < m->d; j++) {
            float v = m->c[j * FT_KSUB + big], e = 1e-4f * (j % 2 ? -1.0f : 1.0f);
            m->c[j * FT_KSUB + k] = v * (1 + e) + e;
            m->c[j * FT_KSUB + big] = v * (1 - e) - e;
        }
        count[k] = count[big] / 2;
        count[big] -= count[k];
    }
}

static void kmeans(struct means *m, const float *x, size_t n)
{
    uint64_t seed = 1234;
    unsigned char *code = kj_xcalloc(n ? n : 1, 1);
    uint32_t *order = kj_xcalloc(n ? n : 1, sizeof *order);
    for (size_t i = 0; i < n; i++)
        order[i] = (uint32_t)i;
    memset(m->c, 0, m->d * FT_KSUB * sizeof *m->c);
    for (size_t k = 0; k < FT_KSUB && k < n; k++) {
        size_t at = k + next(&seed) % (n - k);
        uint32_t pick = order[at];
        order[at] = order[k];
        order[k] = pick;
        for (size_t j = 0; j < m->d; j++)
            m->c[j * FT_KSUB + k] = x[pick * m->d + j];
    }
    for (int round = 0; n > FT_KSUB && round < ROUNDS; round++) {
        for (size_t i = 0; i < n; i++)
            code[i] = (unsigned char)nearest(m, x + i * m->d);
        update(m, x, code, n);
    }
    free(code);
    free(order);
}

static void copy_piece(float *to, const float *rows, size_t cols, const uint32_t *pick,
                       size_t n, size_t at, size_t d)
{
    for (size_t i = 0; i < n; i++)
        memcpy(to + i * d, rows + (pick ? pick[i] : i) * cols + at, d * sizeof *to);
}

/* Train q on rows[n][dim] and write its codes. */
static void quantise(struct ft_pq *q, unsigned char *codes, const float *rows, size_t n,
                     size_t dim, size_t dsub)
{
    uint64_t seed = 99;
    size_t s = n < SAMPLE ? n : SAMPLE;
    uint32_t *pick = kj_xcalloc(n ? n : 1, sizeof *pick);
    for (size_t i = 0; i < n; i++)
        pick[i] = (uint32_t)i;
    for (size_t i = 0; i < s; i++) {
        size_t at = i + (((uint64_t)next(&seed) << 31) + next(&seed)) % (n - i);
        uint32_t v = pick[at];
        pick[at] = pick[i];
        pick[i] = v;
    }
    q->dim = (int32_t)dim;
    q->dsub = (int32_t)dsub;
    q->nsubq = (int32_t)((dim + dsub - 1) / dsub);
    q->lastdsub = (int32_t)(dim - (size_t)(q->nsubq - 1) * dsub);
    q->centroids = kj_xcalloc(dim * FT_KSUB, sizeof *q->centroids);
    struct means m = {.c = kj_xcalloc(dsub * FT_KSUB, sizeof *m.c)};
    float *x = kj_xcalloc((s ? s : 1) * dsub, sizeof *x);
    for (size_t p = 0; p < (size_t)q->nsubq; p++) {
        m.d = p + 1 == (size_t)q->nsubq ? (size_t)q->lastdsub : dsub;
        copy_piece(x, rows, dim, pick, s, p * dsub, m.d);
        kmeans(&m, x, s);
        for (size_t i = 0; i < n; i++)
            codes[i * (size_t)q->nsubq + p] =
                (unsigned char)nearest(&m, rows + i * dim + p * dsub);
        float *c = q->centroids + p * FT_KSUB * dsub;
        for (size_t k = 0; k < FT_KSUB; k++)
            for (size_t j = 0; j < m.d; j++)
                c[k * m.d + j] = m.c[j * FT_KSUB + k];
    }
    free(m.c);
    free(x);
    free(pick);
}

/* Quantise rows into a; rows are scaled in place with qnorm. */
static int pack(struct ft_mat *a, float *rows, int64_t n, int32_t dim, int64_t dsub,
                bool qnorm, struct kj_err *err)
{
    *a = (struct ft_mat){.quant = true, .rows = n, .cols = dim, .qnorm = qnorm};
    dsub = dsub < dim ? dsub : dim;
    int64_t nsubq = (dim + dsub - 1) / dsub;
    if (n * nsubq > INT32_MAX)
        return kj_err_set(err, KJ_FAIL,
                          "too many rows for the format: a smaller --cutoff?");
    unsigned char *codes = kj_xcalloc((size_t)(n * nsubq) + 1, 1), *norm_codes = NULL;
    if (qnorm) {
        float *norm = kj_xcalloc((size_t)n + 1, sizeof *norm);
        norm_codes = kj_xcalloc((size_t)n + 1, 1);
        for (int64_t i = 0; i < n; i++) {
            double s = 0;
            for (int32_t j = 0; j < dim; j++)
                s += (double)rows[i * dim + j] * (double)rows[i * dim + j];
            norm[i] = (float)sqrt(s);
            for (int32_t j = 0; s > 0 && j < dim; j++)
                rows[i * dim + j] /= norm[i];
        }
        quantise(&a->npq, norm_codes, norm, (size_t)n, 1, 1);
        free(norm);
    }
    quantise(&a->pq, codes, rows, (size_t)n, (size_t)dim, (size_t)dsub);
    a->codes = codes;
    a->norm_codes = norm_codes;
    return KJ_OK;
}

static void mat_release(struct ft_mat *a)
{
    free((void *)(uintptr_t)a->codes);
    free((void *)(uintptr_t)a->norm_codes);
    free(a->pq.centroids);
    free(a->npq.centroids);
}

/* ---- which rows stay ---- */

struct rank {
    float norm;
    int32_t row;
};

static int by_norm(const void *pa, const void *pb)
{
    const struct rank *a = pa, *b = pb;
    if (a->norm != b->norm)
        return a->norm > b->norm ? -1 : 1;
    return a->row < b->row ? -1 : 1;
}

static int by_row(const void *pa, const void *pb)
{
    return *(const int32_t *)pa < *(const int32_t *)pb ? -1 : 1;
}

static float *dense_rows(const struct ft_mat *a)
{
    size_t n = (size_t)a->rows * (size_t)a->cols;
    float *v = kj_xcalloc(n ? n : 1, sizeof *v);
    memcpy(v, a->data, n * sizeof *v);
    return v;
}

/* The kept rows in rising order: words, then n-grams. */
static int32_t *choose(const struct kj_ft *m, const float *rows, int64_t cutoff)
{
    size_t n = (size_t)m->in.rows, dim = (size_t)m->args.dim;
    struct rank *r = kj_xcalloc(n, sizeof *r);
    int32_t *keep = kj_xcalloc((size_t)cutoff, sizeof *keep);
    int32_t eos = ft_dict_find(&m->dict, FT_EOS, 4, ft_hash(FT_EOS, 4));
    for (size_t i = 0; i < n; i++) {
        double s = 0;
        for (size_t j = 0; j < dim; j++)
            s += (double)rows[i * dim + j] * (double)rows[i * dim + j];
        r[i] = (struct rank){(int32_t)i == eos ? INFINITY : (float)sqrt(s), (int32_t)i};
    }
    qsort(r, n, sizeof *r, by_norm);
    for (int64_t i = 0; i < cutoff; i++)
        keep[i] = r[i].row;
    qsort(keep, (size_t)cutoff, sizeof *keep, by_row);
    free(r);
    return keep;
}

/* What is left of a model: its own dictionary and rows. */
struct small {
    struct ft_vocab v;
    int32_t *pruned; /* buckets, in the order of their rows */
    float *in;
    int64_t rows;
};

static void small_release(struct small *s)
{
    free(s->v.dict.prune);
    ft_vocab_release(&s->v);
    free(s->pruned);
    free(s->in);
}

static void copy_entry(struct ft_vocab *v, const struct kj_ft *m, int32_t id,
                       size_t *at, int32_t to)
{
    size_t n;
    const char *w = ft_dict_word(&m->dict, id, &n);
    v->offs[to] = *at;
    memcpy(v->pool + *at, w, n + 1);
    *at += n + 1;
    v->offs[to + 1] = *at;
    v->counts[to] = ft_i64(w + n + 1);
}

/* keep == NULL: all rows. */
static void shrink(struct small *s, const struct kj_ft *m, const int32_t *keep,
                   int64_t n)
{
    const struct ft_dict *d = &m->dict;
    size_t dim = (size_t)m->args.dim, at = 0;
    int32_t words = 0, to = 0;
    memset(s, 0, sizeof *s);
    s->rows = keep ? n : m->in.rows;
    while (words < (keep ? n : d->n_words) && (!keep || keep[words] < d->n_words))
        words++;
    struct ft_vocab *v = &s->v;
    v->dict = *d;
    v->dict.slots = v->dict.prune = NULL;
    v->dict.prune_bits = NULL;
    v->dict.n_words = words;
    v->n_tokens = m->n_tokens;
    v->pool = kj_xcalloc((size_t)d->offs[d->n_words + d->n_labels] + 1, 1);
    v->offs = kj_xcalloc((size_t)words + (size_t)d->n_labels + 1, sizeof *v->offs);
    v->counts = kj_xcalloc((size_t)words + (size_t)d->n_labels + 1, sizeof *v->counts);
    for (; to < words; to++)
        copy_entry(v, m, keep ? keep[to] : to, &at, to);
    for (int32_t l = 0; l < d->n_labels; l++, to++)
        copy_entry(v, m, d->n_words + l, &at, to);
    v->dict.text = v->pool;
    v->dict.offs = v->offs;
    v->dict.gap = 0;
    s->in = dense_rows(&m->in);
    if (!keep)
        return;
    v->dict.n_pruned = n - words;
    s->pruned = kj_xcalloc((size_t)v->dict.n_pruned + 1, sizeof *s->pruned);
    for (int64_t i = 0; i < n; i++) {
        memmove(s->in + (size_t)i * dim, s->in + (size_t)keep[i] * dim,
                dim * sizeof *s->in);
        if (i >= words)
            s->pruned[i - words] = keep[i] - d->n_words;
    }
    s->in = kj_xrealloc(s->in, (size_t)n * dim * sizeof *s->in);
}

static int retrain(struct small *s, const struct kj_ft *m, float *out,
                   const struct kj_ft_quantize *o, struct kj_err *err)
{
    struct kj_ft_train_stats stats = {0};
    struct ft_job j = {.o = o->retrain,
                       .dict = &s->v.dict,
                       .n_tokens = m->n_tokens,
                       .in = s->in,
                       .out = out,
                       .in_rows = s->rows,
                       .text = o->text,
                       .text_n = o->text_n,
                       .loss = m->args.loss,
                       .dim = m->args.dim,
                       .label_counts = s->v.counts + s->v.dict.n_words};
    ft_dict_index(&s->v.dict, s->v.dict.n_words + s->v.dict.n_labels);
    ft_dict_prune(&s->v.dict, s->pruned, NULL);
    if (m->n_tokens <= 0 || o->text_n == 0)
        return kj_err_set(err, KJ_FAIL, "there is no text to train on again");
    return ft_descend(&j, &stats, err);
}

int kj_ft_quantise(const struct kj_ft *m, const struct kj_ft_quantize *o,
                   struct kj_buf *out, struct kj_err *err)
{
    struct small s;
    int32_t *keep = NULL;
    if (m->in.quant)
        return kj_err_set(err, KJ_FAIL, "the model is quantised already");
    if (o->dsub < 1 || o->cutoff < 0)
        return kj_err_set(err, KJ_USAGE, "an option of quantisation is out of range");
    if (o->cutoff > 0 && o->cutoff < m->in.rows) {
        float *rows = dense_rows(&m->in);
        keep = choose(m, rows, o->cutoff);
        free(rows);
    }
    shrink(&s, m, keep, o->cutoff);
    free(keep);
    float *weights = dense_rows(&m->out);
    struct ft_file f = {.args = m->args,
                        .dict = &s.v.dict,
                        .counts = s.v.counts,
                        .n_tokens = m->n_tokens,
                        .n_pruned = s.v.dict.n_pruned,
                        .pruned = s.pruned,
                        .qout = o->qout};
    struct ft_mat in = {0}, small_out = {0};
    int rc = KJ_OK;
    if (o->retrain && s.v.dict.n_pruned >= 0)
        rc = retrain(&s, m, weights, o, err);
    if (rc == KJ_OK)
        rc = pack(&in, s.in, s.rows, m->args.dim, o->dsub, o->qnorm, err);
    f.out = (struct ft_mat){
        .rows = m->out.rows, .cols = m->out.cols, .data = (unsigned char *)weights};
    if (rc == KJ_OK && o->qout) {
        rc = pack(&small_out, weights, m->out.rows, m->args.dim, 2, o->qnorm, err);
        f.out = small_out;
    }
    f.in = in;
    if (rc == KJ_OK)
        rc = ft_save(&f, out, err);
    mat_release(&in);
    mat_release(&small_out);
    free(weights);
    small_release(&s);
    return rc;
}
