/* ft_load.c - a fastText file, checked from end to end, becomes a model.
 *
 * Layout (all numbers little-endian, nothing aligned):
 *
 *   int32 magic, int32 version
 *   args:   int32 dim ws epoch minCount neg wordNgrams loss model bucket minn
 *           maxn lrUpdateRate, float64 t
 *   dict:   int32 size nwords nlabels, int64 ntokens, int64 npruned (-1: not
 *           pruned), then per entry: bytes NUL int64 count int8 type (words
 *           first, labels behind them), then npruned pairs of int32
 *   bool    quantised input; the input matrix
 *   bool    quantised output; the output matrix
 *   matrix: dense: int64 rows cols, float32[rows * cols]
 *           quantised: bool qnorm, int64 rows cols, int32 codesize, codes,
 *           quantiser, and with qnorm uint8[rows], quantiser of the norms
 *   quantiser: int32 dim nsubq dsub lastdsub, float32[dim * 256]
 *
 * The mapped bytes are used in place: words are looked up where they lie, and
 * rows are added from where they lie. Only what is small or must be aligned is
 * copied: the word table (16 to 48 bytes for an entry that has at least 10 in
 * the file), the output weights, centroids.
 */
#include "classify/ft_internal.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#define ENTRY_MIN 10 /* NUL, count, type */
#define DIM_MAX   65536
#define NGRAM_MAX 1024
#define CHECK_MAX ((size_t)256 << 20) /* dense input scanned at once up to this */
#define COUNT_MAX ((int64_t)1000000000000000) /* the tree's "infinite" count */

struct reader {
    const char *p;
    size_t n, at;
    struct kj_err *err;
};

static int bad(struct reader *r, size_t at, const char *what)
{
    kj_err_set(r->err, KJ_FAIL, "not a usable fastText model: %s", what);
    kj_err_where(r->err, "", (int64_t)at);
    return KJ_FAIL;
}

static const char *take(struct reader *r, size_t n)
{
    if (n > r->n - r->at)
        return NULL;
    const char *p = r->p + r->at;
    r->at += n;
    return p;
}

static void *own(struct kj_ft *m, size_t count, size_t size)
{
    m->memory += count * size;
    return kj_xcalloc(count ? count : 1, size);
}

static bool all_finite(const unsigned char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t v;
        memcpy(&v, p + i * 4, 4);
        if ((v & 0x7F800000u) == 0x7F800000u)
            return false;
    }
    return true;
}

static int load_args(struct kj_ft *m, struct reader *r)
{
    const char *p = take(r, 8 + 12 * 4 + 8);
    if (!p)
        return bad(r, r->n, "the file is shorter than its header");
    if (ft_i32(p) != FT_MAGIC)
        return bad(r, 0, "wrong magic number");
    int32_t version = ft_i32(p + 4);
    if (version != 11 && version != 12) {
        kj_err_set(r->err, KJ_FAIL,
                   "fastText format version %d is not known (11 and 12 are)", version);
        kj_err_where(r->err, "", 4);
        return KJ_FAIL;
    }
    struct kj_ft_args *a = &m->args;
    int32_t *const f[12] = {&a->dim,    &a->ws,          &a->epoch, &a->min_count,
                            &a->neg,    &a->word_ngrams, &a->loss,  &a->model,
                            &a->bucket, &a->minn,        &a->maxn,  &a->lr_update_rate};
    for (int i = 0; i < 12; i++)
        *f[i] = ft_i32(p + 8 + i * 4);
    memcpy(&a->t, p + 56, 8);
    if (a->model != 3)
        return bad(r, 36, "word vectors, not a classifier (model is not supervised)");
    if (version == 11)
        a->maxn = 0; /* that version ignored character n-grams in classifiers */
    if (a->dim < 1 || a->dim > DIM_MAX)
        return bad(r, 8, "dim is out of range");
    if (a->loss < KJ_FT_HS || a->loss > KJ_FT_OVA)
        return bad(r, 32, "unknown loss");
    if (a->word_ngrams > NGRAM_MAX || a->maxn > NGRAM_MAX)
        return bad(r, 28, "n-gram length is out of range");
    if (a->bucket < 0 || (a->bucket == 0 && (a->word_ngrams > 1 || a->maxn > 0)))
        return bad(r, 40, "bucket is out of range");
    return KJ_OK;
}

/* Word and label names with their place in the file. */
static int load_entries(struct kj_ft *m, struct reader *r, int32_t size)
{
    struct ft_dict *d = &m->dict;
    m->offs = own(m, (size_t)size + 1, sizeof *m->offs);
    m->label_counts = own(m, (size_t)d->n_labels, sizeof *m->label_counts);
    int64_t sum = 0;
    for (int32_t i = 0; i < size; i++) {
        const char *w = r->p + r->at;
        const char *z = memchr(w, 0, r->n - r->at);
        m->offs[i] = r->at;
        if (!z || r->n - (size_t)(z - r->p) < ENTRY_MIN)
            return bad(r, r->at, "the file ends inside the dictionary");
        int64_t count = ft_i64(z + 1);
        int type = (unsigned char)z[9];
        if (type != (i >= d->n_words))
            return bad(r, (size_t)(z + 9 - r->p),
                       "words and labels are not where their numbers say");
        if (i >= d->n_words) {
            if (count < 0 || count >= COUNT_MAX || (sum += count) >= COUNT_MAX)
                return bad(r, (size_t)(z + 1 - r->p), "the count of a label is absurd");
            m->label_counts[i - d->n_words] = count;
        }
        r->at = (size_t)(z - r->p) + ENTRY_MIN;
    }
    m->offs[size] = r->at;
    d->offs = m->offs;
    d->text = r->p;
    d->gap = ENTRY_MIN - 1;
    return KJ_OK;
}

/* Pairs (bucket, row) of the n-grams that were kept. */
static int load_pruning(struct kj_ft *m, struct reader *r)
{
    struct ft_dict *d = &m->dict;
    if (d->n_pruned <= 0)
        return KJ_OK;
    size_t at = r->at, n = (size_t)d->n_pruned;
    const char *p = take(r, n * 8);
    if (!p)
        return bad(r, r->n, "the file ends inside the table of kept n-grams");
    int32_t *from = kj_xcalloc(n, sizeof *from), *to = kj_xcalloc(n, sizeof *to);
    bool fine = true;
    for (size_t i = 0; i < n && fine; i++) {
        from[i] = ft_i32(p + i * 8);
        to[i] = ft_i32(p + i * 8 + 4);
        fine = from[i] >= 0 && from[i] < d->bucket && to[i] >= 0 && to[i] < d->n_pruned;
        at += fine ? 8 : 0;
    }
    if (fine) {
        if ((size_t)d->bucket / 8 <= r->n)
            d->prune_bits = own(m, (size_t)d->bucket / 32 + 1, sizeof *d->prune_bits);
        m->memory += ft_dict_prune(d, from, to);
    }
    free(from);
    free(to);
    return fine ? KJ_OK : bad(r, at, "a kept n-gram is out of range");
}

static int load_dict(struct kj_ft *m, struct reader *r)
{
    struct ft_dict *d = &m->dict;
    size_t at = r->at;
    const char *p = take(r, 28);
    if (!p)
        return bad(r, r->n, "the file ends before the dictionary");
    int32_t size = ft_i32(p);
    d->n_words = ft_i32(p + 4);
    d->n_labels = ft_i32(p + 8);
    m->n_tokens = ft_i64(p + 12);
    d->n_pruned = ft_i64(p + 20);
    d->word_ngrams = m->args.word_ngrams;
    d->bucket = m->args.bucket;
    d->minn = m->args.minn;
    d->maxn = m->args.maxn;
    d->prefix = "__label__"; /* the file does not keep another */
    d->prefix_n = 9;
    if (d->n_words < 0 || d->n_labels < 0 || size < 0 ||
        (int64_t)d->n_words + d->n_labels != size)
        return bad(r, at, "the sizes of the dictionary do not add up");
    if (d->n_labels == 0)
        return bad(r, at + 8, "there are no labels");
    if ((size_t)size > (r->n - r->at) / ENTRY_MIN)
        return bad(r, at, "the dictionary is larger than the file");
    if (d->n_pruned < -1 ||
        (d->n_pruned > 0 && (size_t)d->n_pruned > (r->n - r->at) / 8))
        return bad(r, at + 20, "the table of kept n-grams is larger than the file");
    if (load_entries(m, r, size) != KJ_OK || load_pruning(m, r) != KJ_OK)
        return KJ_FAIL;
    m->memory += ft_dict_index(d, size);
    return KJ_OK;
}

static int load_pq(struct kj_ft *m, struct reader *r, struct ft_pq *q, int64_t dim)
{
    size_t at = r->at;
    const char *p = take(r, 16);
    if (!p)
        return bad(r, r->n, "the file ends before a quantiser");
    q->dim = ft_i32(p);
    q->nsubq = ft_i32(p + 4);
    q->dsub = ft_i32(p + 8);
    q->lastdsub = ft_i32(p + 12);
    if (q->dim != dim || q->dsub < 1 || q->dsub > q->dim ||
        q->nsubq != (q->dim + q->dsub - 1) / q->dsub ||
        q->lastdsub != q->dim - (q->nsubq - 1) * q->dsub)
        return bad(r, at, "the sizes of a quantiser do not fit");
    size_t n = (size_t)dim * FT_KSUB;
    at = r->at;
    if (!(p = take(r, n * 4)))
        return bad(r, r->n, "the file ends inside a quantiser");
    if (!all_finite((const unsigned char *)p, n))
        return bad(r, at, "a weight is not a finite number");
    q->centroids = own(m, n, 4);
    memcpy(q->centroids, p, n * 4);
    return KJ_OK;
}

static int load_mat(struct kj_ft *m, struct reader *r, struct ft_mat *a, bool quant)
{
    a->quant = quant;
    size_t at = r->at;
    const char *p = take(r, quant ? 21 : 16);
    if (!p)
        return bad(r, r->n, "the file ends before a matrix");
    if (quant && (unsigned char)*p > 1)
        return bad(r, at, "a flag is neither 0 nor 1");
    if (quant)
        a->qnorm = *p++;
    a->rows = ft_i64(p);
    a->cols = ft_i64(p + 8);
    if (a->cols != m->args.dim || a->rows < 0)
        return bad(r, at, "the shape of a matrix does not fit");
    if (!quant) {
        if ((uint64_t)a->rows > (r->n - r->at) / 4 / (size_t)a->cols)
            return bad(r, at, "a matrix is larger than the file");
        size_t n = (size_t)a->rows * (size_t)a->cols;
        at = r->at;
        a->data = (const unsigned char *)take(r, n * 4);
        if (n * 4 <= CHECK_MAX && !all_finite(a->data, n))
            return bad(r, at, "a weight is not a finite number");
        return KJ_OK;
    }
    int32_t codesize = ft_i32(p + 16);
    if (codesize < 0 || (size_t)codesize > r->n - r->at ||
        (a->rows > 0 && codesize / a->rows > a->cols))
        return bad(r, at, "the codes of a matrix are larger than the file");
    a->codes = (const unsigned char *)take(r, (size_t)codesize);
    if (load_pq(m, r, &a->pq, a->cols) != KJ_OK)
        return KJ_FAIL;
    if (a->rows > codesize || a->rows * a->pq.nsubq != codesize)
        return bad(r, at, "the number of codes does not fit");
    if (!a->qnorm)
        return KJ_OK;
    a->norm_codes = (const unsigned char *)take(r, (size_t)a->rows);
    if (!a->norm_codes)
        return bad(r, r->n, "the file ends inside the norms");
    return load_pq(m, r, &a->npq, 1);
}

static int load_flag(struct reader *r, bool *v)
{
    const char *p = take(r, 1);
    if (!p)
        return bad(r, r->n, "the file ends before a matrix");
    if ((unsigned char)*p > 1)
        return bad(r, r->at - 1, "a flag is neither 0 nor 1");
    *v = *p;
    return KJ_OK;
}

/* Dense output weights in the order in which prediction reads them: by rows
 * for walks in the tree, else by columns, so that labels lie side by side. */
static void arrange_output(struct kj_ft *m)
{
    if (m->out.quant)
        return;
    size_t rows = (size_t)m->out.rows, cols = (size_t)m->out.cols;
    m->out_t = own(m, rows * cols, 4);
    if (m->args.loss == KJ_FT_HS) {
        memcpy(m->out_t, m->out.data, rows * cols * 4);
        return;
    }
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < cols; j++)
            memcpy(&m->out_t[j * rows + i], m->out.data + (i * cols + j) * 4, 4);
}

static int load_all(struct kj_ft *m, struct reader *r)
{
    bool quant = false;
    size_t at;
    if (load_args(m, r) != KJ_OK || load_dict(m, r) != KJ_OK ||
        load_flag(r, &quant) != KJ_OK)
        return KJ_FAIL;
    at = r->at;
    struct ft_dict *d = &m->dict;
    if (!quant && d->n_pruned >= 0)
        return bad(r, at - 1, "pruned, but not quantised");
    if (load_mat(m, r, &m->in, quant) != KJ_OK)
        return KJ_FAIL;
    int64_t need = d->n_words;
    if (d->word_ngrams > 1 || d->maxn > 0)
        need += d->n_pruned >= 0 ? d->n_pruned : d->bucket;
    if (m->in.rows < need)
        return bad(r, at, "the input matrix has too few rows for the dictionary");
    if (load_flag(r, &m->qout) != KJ_OK)
        return KJ_FAIL;
    at = r->at;
    if (load_mat(m, r, &m->out, quant && m->qout) != KJ_OK)
        return KJ_FAIL;
    if (m->out.rows != d->n_labels)
        return bad(r, at, "the output matrix does not have one row a label");
    if (!m->out.quant &&
        !all_finite(m->out.data, (size_t)m->out.rows * (size_t)m->out.cols))
        return bad(r, at + 16, "a weight is not a finite number");
    arrange_output(m);
    if (m->args.loss == KJ_FT_HS) {
        m->tree = own(m, 2 * (size_t)d->n_labels - 1, sizeof *m->tree);
        ft_tree_build(m->label_counts, d->n_labels, m->tree);
    }
    return KJ_OK;
}

int kj_ft_open_mem(struct kj_ft **out, const void *p, size_t n, const char *name,
                   struct kj_err *err)
{
    struct kj_ft *m = kj_xcalloc(1, sizeof *m);
    struct reader r = {.p = p, .n = n, .err = err};
    *out = NULL;
    if (load_all(m, &r) != KJ_OK) {
        kj_err_where(err, name, -1);
        kj_ft_free(m);
        return KJ_FAIL;
    }
    *out = m;
    return KJ_OK;
}

int kj_ft_open(struct kj_ft **out, const char *path, struct kj_err *err)
{
    struct kj_map map;
    *out = NULL;
    int rc = kj_map_open(&map, path, err);
    if (rc == KJ_OK && !map.n) {
        rc = kj_err_set(err, KJ_FAIL, "not a fastText model: the file is empty");
        kj_err_where(err, path, -1);
    }
    if (rc == KJ_OK && (rc = kj_ft_open_mem(out, map.p, map.n, path, err)) == KJ_OK) {
        (*out)->map = map;
        ft_near_new(*out, 0);
    } else {
        kj_map_close(&map);
    }
    return rc;
}

void kj_ft_free(struct kj_ft *m)
{
    if (!m)
        return;
    free(m->offs);
    free(m->label_counts);
    free(m->dict.slots);
    free(m->dict.prune);
    free(m->dict.prune_bits);
    free(m->in.pq.centroids);
    free(m->in.npq.centroids);
    free(m->out.pq.centroids);
    free(m->out.npq.centroids);
    free(m->out_t);
    free(m->tree);
    ft_near_free(m);
    kj_map_close(&m->map);
    free(m);
}

const struct kj_ft_args *kj_ft_get_args(const struct kj_ft *m)
{
    return &m->args;
}

bool kj_ft_quantised(const struct kj_ft *m)
{
    return m->in.quant;
}

size_t kj_ft_matrix_bytes(const struct kj_ft *m)
{
    return m->in.quant ? 0 : (size_t)m->in.rows * (size_t)m->in.cols * sizeof(float);
}

int32_t kj_ft_labels(const struct kj_ft *m)
{
    return m->dict.n_labels;
}

size_t kj_ft_memory(const struct kj_ft *m)
{
    return m->memory;
}

struct kj_str kj_ft_label(const struct kj_ft *m, int32_t i)
{
    struct kj_str s;
    s.p = ft_dict_word(&m->dict, m->dict.n_words + i, &s.n);
    return s;
}

/* Training from JSONL writes white space in a label as '_', so a name is found as it
 * stands in the documents, too. */
static bool label_is(struct kj_str s, const char *name)
{
    size_t i = 0;
    for (; i < s.n && name[i]; i++)
        if (s.p[i] != name[i] && !(s.p[i] == '_' && (unsigned char)name[i] <= ' '))
            return false;
    return i == s.n && !name[i];
}

int32_t kj_ft_label_find(const struct kj_ft *m, const char *name)
{
    const struct ft_dict *d = &m->dict;
    for (int32_t i = 0; i < d->n_labels; i++) {
        struct kj_str s = kj_ft_label(m, i);
        if (label_is(s, name))
            return i;
        if (s.n > d->prefix_n && memcmp(s.p, d->prefix, d->prefix_n) == 0 &&
            label_is((struct kj_str){s.p + d->prefix_n, s.n - d->prefix_n}, name))
            return i;
    }
    return -1;
}
