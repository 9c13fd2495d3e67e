/* ft_predict.c - rows to hidden vector to labels, in fastText's arithmetic.
 *
 * The sums are floats added in the order of the rows and of the dimensions:
 * no fused multiply-add and no tree of partial sums, since with one-vs-all and
 * negative sampling a score goes through a table of 512 steps, where the last
 * bit of a sum decides between two neighbours. Speed comes from elsewhere:
 * vectors run over dimensions (hidden) or over labels (output), where the order
 * of each single sum stays what it was; and rows are prefetched far ahead, for
 * with a large table every row is a miss of the caches.
 */
#include "classify/ft_internal.h"

#include <emmintrin.h>
#include <math.h>
#include <stdlib.h>

/* Rows fetched ahead, and bytes of one row that are asked for at most. Measured
 * with 2 M buckets of 400 bytes; see tests/bench/classify.sh. */
#define AHEAD     12
#define AHEAD_MAX 2048

#define SIGMOID_STEPS 512
#define SIGMOID_MAX   8

float ft_log(float x)
{
    return (float)log((double)x + 1e-5);
}

/* ---- hidden ---- */

FT_RACY static void add_dense(float *h, const unsigned char *row, size_t n)
{
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m128 a = _mm_loadu_ps((const float *)(const void *)(row + i * 4));
        __m128 b = _mm_loadu_ps((const float *)(const void *)(row + i * 4 + 16));
        _mm_storeu_ps(h + i, _mm_add_ps(_mm_loadu_ps(h + i), a));
        _mm_storeu_ps(h + i + 4, _mm_add_ps(_mm_loadu_ps(h + i + 4), b));
    }
    for (; i < n; i++) {
        float v;
        memcpy(&v, row + i * 4, 4);
        h[i] += v;
    }
}

static void fetch(const unsigned char *p, size_t n)
{
    n = n < AHEAD_MAX ? n : AHEAD_MAX;
    for (size_t i = 0; i < n; i += 64)
        __builtin_prefetch(p + i);
    __builtin_prefetch(p + n - 1);
}

FT_RACY static void sum_dense(const unsigned char *data, size_t cols,
                              const struct kj_ft_scratch *s, float *h)
{
    size_t bytes = cols * 4;
    for (size_t k = 0; k < s->n_rows; k++) {
        if (k + AHEAD < s->n_rows)
            fetch(data + (size_t)s->rows[k + AHEAD] * bytes, bytes);
        add_dense(h, data + (size_t)s->rows[k] * bytes, cols);
    }
}

/* Centroids of sub-quantiser q; the last one may be shorter. */
static const float *centroid(const struct ft_pq *pq, int32_t q, unsigned code)
{
    int32_t d = q == pq->nsubq - 1 ? pq->lastdsub : pq->dsub;
    return pq->centroids + (size_t)q * FT_KSUB * (size_t)pq->dsub + code * (size_t)d;
}

/* 16 dimensions in pairs, the shape of language models: sums stay in registers.
 * Each dimension is added up in the same order as below. */
static void sum_quant16(const struct ft_mat *a, const unsigned char *all,
                        const struct kj_ft_scratch *s, float *h)
{
    const float *cent = a->pq.centroids;
    __m128 sum[4] = {_mm_setzero_ps(), _mm_setzero_ps(), _mm_setzero_ps(),
                     _mm_setzero_ps()};
    for (size_t k = 0; k < s->n_rows; k++) {
        size_t row = (size_t)s->rows[k];
        const unsigned char *codes = all + row * 8;
        __m128 norm = _mm_set1_ps(a->qnorm ? a->npq.centroids[a->norm_codes[row]] : 1);
        for (size_t i = 0; i < 4; i++) {
            const float *lo = cent + (i * 2 * FT_KSUB + codes[i * 2]) * 2;
            const float *hi = cent + ((i * 2 + 1) * FT_KSUB + codes[i * 2 + 1]) * 2;
            __m128 c = _mm_loadl_pi(sum[i], (const __m64 *)(const void *)lo);
            c = _mm_loadh_pi(c, (const __m64 *)(const void *)hi);
            sum[i] = _mm_add_ps(sum[i], _mm_mul_ps(norm, c));
        }
    }
    for (size_t i = 0; i < 4; i++)
        _mm_storeu_ps(h + i * 4, sum[i]);
}

static void sum_quant(const struct ft_mat *a, const unsigned char *all,
                      const struct kj_ft_scratch *s, float *h)
{
    const struct ft_pq *pq = &a->pq;
    size_t nsubq = (size_t)pq->nsubq, dsub = (size_t)pq->dsub;
    if (dsub == 2 && nsubq == 8 && pq->lastdsub == 2) {
        sum_quant16(a, all, s, h);
        return;
    }
    for (size_t k = 0; k < s->n_rows; k++) {
        size_t row = (size_t)s->rows[k];
        const unsigned char *codes = all + row * nsubq;
        if (k + AHEAD < s->n_rows)
            fetch(all + (size_t)s->rows[k + AHEAD] * nsubq, nsubq);
        float norm = a->qnorm ? a->npq.centroids[a->norm_codes[row]] : 1.0f;
        size_t q = 0;
        if (dsub == 2)
            for (__m128 v = _mm_set1_ps(norm); q + 2 < nsubq; q += 2) {
                const float *lo = pq->centroids + (q * FT_KSUB + codes[q]) * 2;
                const float *hi =
                    pq->centroids + ((q + 1) * FT_KSUB + codes[q + 1]) * 2;
                __m128 c = _mm_loadl_pi(v, (const __m64 *)(const void *)lo);
                c = _mm_loadh_pi(c, (const __m64 *)(const void *)hi);
                c = _mm_add_ps(_mm_loadu_ps(h + q * 2), _mm_mul_ps(v, c));
                _mm_storeu_ps(h + q * 2, c);
            }
        for (; q < nsubq; q++) {
            const float *c = centroid(pq, (int32_t)q, codes[q]);
            size_t d = q == nsubq - 1 ? (size_t)pq->lastdsub : dsub;
            for (size_t i = 0; i < d; i++)
                h[q * dsub + i] += norm * c[i];
        }
    }
}

static int all_finite(const struct kj_ft *m, const struct kj_ft_scratch *s,
                      struct kj_err *err)
{
    bool fine = true;
    for (int32_t i = 0; i < m->args.dim; i++)
        fine = fine && isfinite(s->hidden[i]);
    if (!fine)
        return kj_err_set(err, KJ_FAIL, "the model holds weights that are not finite");
    return KJ_OK;
}

/* The mean of the rows. */
int ft_hidden(const struct kj_ft *m, struct kj_ft_scratch *s, struct kj_err *err)
{
    size_t dim = (size_t)m->args.dim;
    float scale = (float)(1.0 / (double)s->n_rows);
    memset(s->hidden, 0, dim * sizeof *s->hidden);
    const unsigned char *rows = ft_near_rows(m, s->n_rows);
    if (m->in.quant)
        sum_quant(&m->in, rows, s, s->hidden);
    else
        sum_dense(rows, dim, s, s->hidden);
    for (size_t i = 0; i < dim; i++)
        s->hidden[i] *= scale;
    return all_finite(m, s, err);
}

/* ---- output ---- */

static float dot(const float *w, const float *h, size_t n)
{
    float s = 0;
    for (size_t i = 0; i < n; i++)
        s += w[i] * h[i];
    return s;
}

static float dot_quant(const struct ft_mat *a, const float *h, size_t row)
{
    const struct ft_pq *pq = &a->pq;
    const unsigned char *codes = a->codes + row * (size_t)pq->nsubq;
    float norm = a->qnorm ? a->npq.centroids[a->norm_codes[row]] : 1.0f, s = 0;
    for (int32_t q = 0; q < pq->nsubq; q++) {
        const float *c = centroid(pq, q, codes[q]);
        int32_t d = q == pq->nsubq - 1 ? pq->lastdsub : pq->dsub;
        for (int32_t i = 0; i < d; i++)
            s += h[q * pq->dsub + i] * c[i];
    }
    return s * norm;
}

/* All labels at once: output[l] is a sum over dimensions in their order. */
static void scores(const struct kj_ft *m, struct kj_ft_scratch *s)
{
    size_t n = (size_t)m->dict.n_labels, dim = (size_t)m->args.dim;
    if (m->out.quant) {
        for (size_t l = 0; l < n; l++)
            s->output[l] = dot_quant(&m->out, s->hidden, l);
        return;
    }
    size_t l = 0;
    for (; l + 16 <= n; l += 16) {
        __m128 a = _mm_setzero_ps(), b = a, c = a, d = a;
        const float *w = m->out_t + l;
        for (size_t j = 0; j < dim; j++, w += n) {
            __m128 x = _mm_set1_ps(s->hidden[j]);
            a = _mm_add_ps(a, _mm_mul_ps(_mm_loadu_ps(w), x));
            b = _mm_add_ps(b, _mm_mul_ps(_mm_loadu_ps(w + 4), x));
            c = _mm_add_ps(c, _mm_mul_ps(_mm_loadu_ps(w + 8), x));
            d = _mm_add_ps(d, _mm_mul_ps(_mm_loadu_ps(w + 12), x));
        }
        _mm_storeu_ps(s->output + l, a);
        _mm_storeu_ps(s->output + l + 4, b);
        _mm_storeu_ps(s->output + l + 8, c);
        _mm_storeu_ps(s->output + l + 12, d);
    }
    for (; l < n; l++) {
        float a = 0;
        for (size_t j = 0; j < dim; j++)
            a += m->out_t[j * n + l] * s->hidden[j];
        s->output[l] = a;
    }
}

void ft_softmax(float *v, size_t n)
{
    float max = v[0], z = 0;
    for (size_t i = 0; i < n; i++)
        max = v[i] > max ? v[i] : max;
    for (size_t i = 0; i < n; i++) {
        v[i] = (float)exp((double)(v[i] - max));
        z += v[i];
    }
    for (size_t i = 0; i < n; i++)
        v[i] /= z;
}

/* fastText's sigmoid is a table of 512 steps over [-8, 8]. */
float ft_sigmoid(float x)
{
    if (x < -SIGMOID_MAX)
        return 0;
    if (x > SIGMOID_MAX)
        return 1;
    int64_t i = (int64_t)((x + SIGMOID_MAX) * SIGMOID_STEPS / SIGMOID_MAX / 2);
    float at = (float)(i * 2 * SIGMOID_MAX) / SIGMOID_STEPS - SIGMOID_MAX;
    return (float)(1.0 / (1.0 + (double)expf(-at)));
}

/* ---- the best k, in a heap with the smallest on top ----
 * The steps are those of a binary heap whose hole first sinks to a leaf, so
 * that equal scores come out in the order in which fastText prints them. */

static void rise(struct ft_best *h, int32_t hole, struct ft_best v)
{
    while (hole > 0) {
        int32_t up = (hole - 1) / 2;
        if (!(h[up].score > v.score))
            break;
        h[hole] = h[up];
        hole = up;
    }
    h[hole] = v;
}

/* Take the top out and put it behind the last; n counts it still. */
static void take_top(struct ft_best *h, int32_t n)
{
    struct ft_best v = h[n - 1];
    int32_t hole = 0, kid = 0;
    h[n - 1] = h[0];
    n--;
    if (n == 0)
        return;
    while (kid < (n - 1) / 2) {
        kid = 2 * (kid + 1);
        if (h[kid].score > h[kid - 1].score)
            kid--;
        h[hole] = h[kid];
        hole = kid;
    }
    if (n % 2 == 0 && kid == (n - 2) / 2) {
        kid = 2 * (kid + 1);
        h[hole] = h[kid - 1];
        hole = kid - 1;
    }
    rise(h, hole, v);
}

static void offer(struct ft_best *h, int32_t *n, int32_t k, float score, int32_t label)
{
    if (*n == k && score < h[0].score)
        return;
    rise(h, (*n)++, (struct ft_best){score, label});
    if (*n > k)
        take_top(h, (*n)--);
}

static int32_t best_of_all(const struct kj_ft *m, struct kj_ft_scratch *s, int32_t k,
                           float threshold)
{
    int32_t n = 0;
    for (int32_t i = 0; i < m->dict.n_labels; i++)
        if (!(s->output[i] < threshold))
            offer(s->heap, &n, k, ft_log(s->output[i]), i);
    return n;
}

/* ---- hierarchical softmax ---- */

/* The Huffman tree over labels sorted by falling count: leaves 0..n-1, inner
 * nodes in order of making, the root last. A node not yet made counts as
 * larger than any. */
void ft_tree_build(const int64_t *counts, int32_t n, struct ft_node *tree)
{
    int64_t *c = kj_xcalloc((size_t)n * 2, sizeof *c);
    for (int32_t i = 0; i < 2 * n - 1; i++) {
        c[i] = i < n ? counts[i] : (int64_t)1000000000000000;
        tree[i] = (struct ft_node){-1, -1};
    }
    int32_t leaf = n - 1, node = n;
    for (int32_t i = n; i < 2 * n - 1; i++) {
        int32_t min[2];
        for (int j = 0; j < 2; j++)
            min[j] = leaf >= 0 && c[leaf] < c[node] ? leaf-- : node++;
        tree[i] = (struct ft_node){min[0], min[1]};
        c[i] = c[min[0]] + c[min[1]];
    }
    free(c);
}

static int32_t best_of_tree(const struct kj_ft *m, struct kj_ft_scratch *s, int32_t k,
                            float threshold)
{
    int32_t n = 0, depth = 0, labels = m->dict.n_labels;
    size_t dim = (size_t)m->args.dim;
    float floor = ft_log(threshold);
    s->stack[depth++] = (struct ft_walk){2 * labels - 2, 0};
    while (depth > 0) {
        struct ft_walk w = s->stack[--depth];
        if (w.score < floor || (n == k && w.score < s->heap[0].score))
            continue;
        if (m->tree[w.node].left < 0) {
            offer(s->heap, &n, k, w.score, w.node);
            continue;
        }
        size_t row = (size_t)(w.node - labels);
        float f = m->out.quant ? dot_quant(&m->out, s->hidden, row)
                               : dot(m->out_t + row * dim, s->hidden, dim);
        f = (float)(1.0 / (double)(1 + expf(-f)));
        float l = w.score + ft_log((float)(1.0 - (double)f)), r = w.score + ft_log(f);
        s->stack[depth++] = (struct ft_walk){m->tree[w.node].right, r};
        s->stack[depth++] = (struct ft_walk){m->tree[w.node].left, l};
    }
    return n;
}

/* From s->hidden to the best labels. */
static int labels_of(const struct kj_ft *m, struct kj_ft_scratch *s, int32_t k,
                     float threshold, struct kj_ft_hit *hits, int32_t *n_hits,
                     struct kj_err *err)
{
    int32_t found;
    if (k < 0 || k > m->dict.n_labels)
        k = m->dict.n_labels;
    if (m->args.loss == KJ_FT_HS) {
        found = best_of_tree(m, s, k, threshold);
    } else {
        scores(m, s);
        if (m->args.loss == KJ_FT_SOFTMAX)
            ft_softmax(s->output, (size_t)m->dict.n_labels);
        else
            for (int32_t i = 0; i < m->dict.n_labels; i++)
                s->output[i] = ft_sigmoid(s->output[i]);
        found = best_of_all(m, s, k, threshold);
    }
    for (int32_t i = found; i > 1; i--)
        take_top(s->heap, i);
    for (int32_t i = 0; i < found; i++) {
        hits[i] = (struct kj_ft_hit){s->heap[i].label, expf(s->heap[i].score)};
        if (!isfinite(hits[i].prob))
            return kj_err_set(err, KJ_FAIL,
                              "the model gives scores that are not finite");
    }
    *n_hits = found;
    return KJ_OK;
}

int kj_ft_predict(const struct kj_ft *m, struct kj_ft_scratch *s, const char *p,
                  size_t n, bool eol, int32_t k, float threshold,
                  struct kj_ft_hit *hits, int32_t *n_hits, size_t *used,
                  struct kj_err *err)
{
    int64_t tokens;
    *n_hits = 0;
    int rc = ft_text_line(&m->dict, s, p, n, eol, used, &tokens, err);
    if (rc != KJ_OK || s->n_rows == 0 || k == 0)
        return rc;
    if ((rc = ft_hidden(m, s, err)) != KJ_OK)
        return rc;
    return labels_of(m, s, k, threshold, hits, n_hits, err);
}

size_t kj_ft_true_labels(const struct kj_ft_scratch *s, const int32_t **labels)
{
    *labels = s->labels;
    return s->n_labels;
}

bool kj_ft_known(const struct kj_ft_scratch *s)
{
    return s->n_rows > 0;
}

float kj_ft_score_of(const struct kj_ft *m, int32_t target,
                     const struct kj_ft_hit *hits, int32_t found)
{
    float score = 0;
    for (int32_t i = 0; i < found; i++)
        if (hits[i].label == target)
            score = hits[i].prob;
        else if (kj_ft_labels(m) == 2)
            score = (float)(1.0 - (double)hits[i].prob);
    return fminf(fmaxf(score, 0), 1);
}

int kj_ft_score(const struct kj_ft *m, struct kj_ft_scratch *s, int32_t target,
                const char *p, size_t n, struct kj_ft_hit *hits, float *score,
                struct kj_err *err)
{
    int32_t found = 0;
    int32_t k = kj_ft_labels(m) == 2 ? 1 : -1;
    *score = 0;
    int rc = kj_ft_predict(m, s, p, n, true, k, 0, hits, &found, NULL, err);
    if (rc == KJ_OK)
        *score = kj_ft_score_of(m, target, hits, found);
    return rc;
}

int ft_score_hidden(const struct kj_ft *m, struct kj_ft_scratch *s, int32_t target,
                    const float *hidden, struct kj_ft_hit *hits, float *score,
                    struct kj_err *err)
{
    int32_t found = 0;
    int32_t k = kj_ft_labels(m) == 2 ? 1 : -1;
    *score = 0;
    if (!hidden)
        return KJ_OK;
    memcpy(s->hidden, hidden, (size_t)m->args.dim * sizeof *hidden);
    int rc = all_finite(m, s, err);
    if (rc == KJ_OK)
        rc = labels_of(m, s, k, 0, hits, &found, err);
    if (rc == KJ_OK)
        *score = kj_ft_score_of(m, target, hits, found);
    return rc;
}
