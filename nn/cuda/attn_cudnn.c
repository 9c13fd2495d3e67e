/* attn_cudnn.c - see attn_cudnn.h.
 *
 * cuDNN has no operation "attention" that is causal and has a backward pass. It
 * has products, element-wise operations and reductions, and its engines know the
 * pattern that these make. Forward, S = Q K^T being heads x tokens x tokens and
 * never in memory:
 *
 *     P = exp(scale S - max),  O = (P / sum P) V,  lse = max + log sum P
 *
 * with S set to -inf beyond a document's end and above the diagonal. Backward,
 * with P = exp(scale S - lse):
 *
 *     dV = P^T dO,  D = rowsum(dO o O),  dS = scale P o (dO V^T - D)
 *     dQ = dS K,    dK = dS^T Q
 *
 * Documents are entries of a batch whose tensors are ragged: each entry starts
 * where a table of offsets (in elements) says, and has its own length. With
 * grouped queries the products for dK and dV have one row of heads per query
 * head; these are real buffers of the packed size, because left to cuDNN they
 * would be workspace for segs x longest tokens (6 GiB at 64 x 8192; 30 KB this
 * way), and are then summed over each group.
 */
#include "nn/cuda/attn_cudnn.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "nn/cuda/cudnn_graph.h"
#include "nn/cuda/work.h"

#define F32  CUDNN_DATA_FLOAT
#define BF16 CUDNN_DATA_BFLOAT16
#define I32  CUDNN_DATA_INT32
#define BOOL CUDNN_DATA_BOOLEAN

/* What is bound when a plan runs. */
enum uid {
    U_Q = 1,
    U_K,
    U_V,
    U_O,
    U_LSE,
    U_DO,
    U_DQ,
    U_DK,
    U_DV,
    U_ROWSUM,
    U_DQ_SUM,
    U_DK_HEADS,
    U_DV_HEADS,
    U_SCALE,
    U_MINUS_INF,
    U_ONE,
    U_LENGTH, /* and the table's rows of offsets behind it */
    U_AT_Q,
    U_AT_KV,
    U_AT_O,
    U_AT_DQ,
    U_AT_DKV,
    U_AT_HEADS, /* rows of heads * dim without gaps */
    U_AT_LSE,
    U_END,
    U_INSIDE = 100
};
#define ROWS (U_END - U_LENGTH)

struct kj_sdpa {
    struct kj_cudnn *c;
    struct kj_sdpa_shape s;
    kj_dnn forward, backward;
    int64_t forward_bytes, backward_bytes; /* workspaces */
};

/* A graph and what its tensors have in common. */
struct draft {
    struct kj_dnn_graph g;
    const struct kj_sdpa_shape *s;
    kj_dnn at[ROWS]; /* the table's rows as tensors */
    kj_dnn scale, minus_inf, one;
};

static int64_t stride_of(const struct kj_sdpa_shape *s, enum uid row)
{
    switch (row) {
    case U_AT_Q:
        return s->q;
    case U_AT_KV:
        return s->kv;
    case U_AT_O:
        return s->o;
    case U_AT_DQ:
        return s->dq;
    case U_AT_DKV:
        return s->dkv;
    case U_AT_HEADS:
        return s->heads * s->dim;
    case U_AT_LSE:
        return s->heads;
    default:
        return 1;
    }
}

/* ---- tensors ---- */

static kj_dnn small(struct draft *d, enum uid uid, cudnnDataType_t type, int64_t n,
                    bool scalar)
{
    return kj_dnn_tensor(&d->g, &(struct kj_dnn_tensor){.uid = uid,
                                                        .type = type,
                                                        .dim = {n, 1, 1, 1},
                                                        .stride = {1, 1, 1, 1},
                                                        .scalar = scalar});
}

/* segs x heads x longest x dim, ragged by a row of the table; turned: the last
 * two dimensions change places. */
static kj_dnn heads_of(struct draft *d, enum uid uid, cudnnDataType_t type,
                       int64_t heads, enum uid row, bool turned)
{
    const struct kj_sdpa_shape *s = d->s;
    int64_t step = stride_of(s, row);
    struct kj_dnn_tensor t = {.uid = uid,
                              .type = type,
                              .dim = {s->segs, heads, s->longest, s->dim},
                              .stride = {s->longest * step, s->dim, step, 1},
                              .ragged = d->at[row - U_LENGTH]};
    if (turned) {
        t.dim[2] = s->dim, t.dim[3] = s->longest;
        t.stride[2] = 1, t.stride[3] = step;
    }
    return kj_dnn_tensor(&d->g, &t);
}

/* One value a query and head, bound, as lse lies. */
static kj_dnn per_query(struct draft *d, enum uid uid)
{
    const struct kj_sdpa_shape *s = d->s;
    return kj_dnn_tensor(&d->g, &(struct kj_dnn_tensor){
                                    .uid = uid,
                                    .type = F32,
                                    .dim = {s->segs, s->heads, s->longest, 1},
                                    .stride = {s->longest * s->heads, 1, s->heads, 1},
                                    .ragged = d->at[U_AT_LSE - U_LENGTH]});
}

/* Inside of the graph: segs x heads x longest x n. */
static kj_dnn inside(struct draft *d, cudnnDataType_t type, int64_t n, bool turned)
{
    const struct kj_sdpa_shape *s = d->s;
    return kj_dnn_tensor(
        &d->g,
        &(struct kj_dnn_tensor){.type = type,
                                .dim = {s->segs, s->heads, s->longest, n},
                                .stride = {s->heads * s->longest * n, s->longest * n,
                                           turned ? 1 : n, turned ? s->longest : 1}});
}

static kj_dnn square(struct draft *d, cudnnDataType_t type)
{
    return inside(d, type, d->s->longest, false);
}

static kj_dnn rows(struct draft *d)
{
    return inside(d, F32, 1, false);
}

static void start(struct draft *d, struct kj_cudnn *c, const struct kj_sdpa_shape *s,
                  const char *name, struct kj_err *err)
{
    *d = (struct draft){
        .g = {.c = c, .name = name, .next_uid = U_INSIDE, .rc = KJ_OK, .err = err},
        .s = s};
    for (int r = 0; r < ROWS; r++)
        d->at[r] = small(d, U_LENGTH + r, I32, r ? s->segs + 1 : s->segs, false);
    d->scale = small(d, U_SCALE, F32, 1, true);
    d->minus_inf = small(d, U_MINUS_INF, F32, 1, true);
    d->one = small(d, U_ONE, F32, 1, true);
}

/* ---- steps that both directions have ---- */

static kj_dnn map2(struct draft *d, cudnnPointwiseMode_t mode, kj_dnn x, kj_dnn b,
                   kj_dnn y)
{
    return kj_dnn_pointwise(&d->g, mode, F32, -1, x, b, NULL, y);
}

static kj_dnn place_of(struct draft *d, kj_dnn x, int axis)
{
    return kj_dnn_pointwise(&d->g, CUDNN_POINTWISE_GEN_INDEX, I32, axis, x, NULL, NULL,
                            square(d, I32));
}

static kj_dnn test(struct draft *d, cudnnPointwiseMode_t mode, kj_dnn x, kj_dnn b)
{
    return kj_dnn_pointwise(&d->g, mode, BOOL, -1, x, b, NULL, square(d, BOOL));
}

/* x where the condition holds, else -inf */
static kj_dnn where(struct draft *d, kj_dnn condition, kj_dnn x)
{
    return kj_dnn_pointwise(&d->g, CUDNN_POINTWISE_BINARY_SELECT, F32, -1, x,
                            d->minus_inf, condition, square(d, F32));
}

/* scale Q K^T, -inf beyond the documents' ends */
static kj_dnn scores(struct draft *d, kj_dnn q, kj_dnn kt, bool pad)
{
    kj_dnn n = d->at[0];
    kj_dnn s = kj_dnn_matmul(&d->g, q, kt, square(d, F32), n, n, NULL, pad);
    s = map2(d, CUDNN_POINTWISE_MUL, s, d->scale, square(d, F32));
    kj_dnn row = place_of(d, s, 2), column = place_of(d, s, 3);
    row = test(d, CUDNN_POINTWISE_CMP_LT, row, n);
    column = test(d, CUDNN_POINTWISE_CMP_LT, column, n);
    return where(d, test(d, CUDNN_POINTWISE_LOGICAL_AND, row, column), s);
}

static kj_dnn below_diagonal(struct draft *d, kj_dnn s)
{
    if (d->s->full)
        return s;
    kj_dnn row = place_of(d, s, 2), column = place_of(d, s, 3);
    return where(d, test(d, CUDNN_POINTWISE_CMP_GE, row, column), s);
}

/* ---- the graphs ---- */

static int forward_plan(struct kj_sdpa *p, struct kj_err *err)
{
    const struct kj_sdpa_shape *s = &p->s;
    struct draft d;
    start(&d, p->c, s, "attention", err);
    kj_dnn n = d.at[0];
    kj_dnn q = heads_of(&d, U_Q, BF16, s->heads, U_AT_Q, false);
    kj_dnn kt = heads_of(&d, U_K, BF16, s->kv_heads, U_AT_KV, true);
    kj_dnn v = heads_of(&d, U_V, BF16, s->kv_heads, U_AT_KV, false);
    kj_dnn o = heads_of(&d, U_O, BF16, s->heads, U_AT_O, false);
    kj_dnn x = below_diagonal(&d, scores(&d, q, kt, true));
    kj_dnn max = kj_dnn_reduce(&d.g, CUDNN_REDUCE_TENSOR_MAX, x, rows(&d));
    x = map2(&d, CUDNN_POINTWISE_SUB, x, max, square(&d, F32));
    x = map2(&d, CUDNN_POINTWISE_EXP, x, NULL, square(&d, F32));
    kj_dnn sum = kj_dnn_reduce(&d.g, CUDNN_REDUCE_TENSOR_ADD, x, rows(&d));
    /* no engine takes packed documents without these two */
    kj_dnn log = map2(&d, CUDNN_POINTWISE_LOG, sum, NULL, rows(&d));
    map2(&d, CUDNN_POINTWISE_ADD, max, log, per_query(&d, U_LSE));
    x = map2(&d, CUDNN_POINTWISE_DIV, x, sum, square(&d, BF16));
    kj_dnn_matmul(&d.g, x, v, o, n, NULL, n, false);
    int rc = kj_dnn_plan(&d.g, &p->forward, &p->forward_bytes);
    kj_dnn_graph_release(&d.g);
    return rc;
}

/* x^T y for dK or dV: summed over the query heads of each key head */
static void by_key(struct draft *d, kj_dnn x, kj_dnn y, enum uid uid, enum uid heads)
{
    const struct kj_sdpa_shape *s = d->s;
    kj_dnn n = d->at[0];
    x = kj_dnn_reshape(&d->g, x, inside(d, BF16, s->longest, true));
    kj_dnn out = heads_of(d, uid, BF16, s->kv_heads, U_AT_DKV, false);
    if (s->heads == s->kv_heads) {
        kj_dnn_matmul(&d->g, x, y, out, n, NULL, n, false);
        return;
    }
    kj_dnn all = heads_of(d, heads, BF16, s->heads, U_AT_HEADS, false);
    kj_dnn_matmul(&d->g, x, y, all, n, NULL, n, false);
    kj_dnn_reduce(&d->g, CUDNN_REDUCE_TENSOR_ADD, all, out);
}

static int backward_plan(struct kj_sdpa *p, struct kj_err *err)
{
    const struct kj_sdpa_shape *s = &p->s;
    struct draft d;
    start(&d, p->c, s, "gradients of attention", err);
    kj_dnn n = d.at[0];
    kj_dnn q = heads_of(&d, U_Q, BF16, s->heads, U_AT_Q, false);
    kj_dnn kt = heads_of(&d, U_K, BF16, s->kv_heads, U_AT_KV, true);
    kj_dnn vt = heads_of(&d, U_V, BF16, s->kv_heads, U_AT_KV, true);
    kj_dnn o = heads_of(&d, U_O, BF16, s->heads, U_AT_O, false);
    kj_dnn d_o = heads_of(&d, U_DO, BF16, s->heads, U_AT_O, false);
    kj_dnn lse = per_query(&d, U_LSE);
    kj_dnn x = map2(&d, CUDNN_POINTWISE_MUL, d_o, o, inside(&d, F32, s->dim, false));
    x = kj_dnn_reduce(&d.g, CUDNN_REDUCE_TENSOR_ADD, x, rows(&d));
    kj_dnn rowsum = map2(&d, CUDNN_POINTWISE_MUL, x, d.one, per_query(&d, U_ROWSUM));
    x = map2(&d, CUDNN_POINTWISE_SUB, scores(&d, q, kt, false), lse, square(&d, F32));
    kj_dnn prob =
        map2(&d, CUDNN_POINTWISE_EXP, below_diagonal(&d, x), NULL, square(&d, F32));
    by_key(&d, prob, d_o, U_DV, U_DV_HEADS);
    x = kj_dnn_matmul(&d.g, d_o, vt, square(&d, F32), n, n, NULL, false);
    x = map2(&d, CUDNN_POINTWISE_SUB, x, rowsum, square(&d, F32));
    x = map2(&d, CUDNN_POINTWISE_MUL, x, prob, square(&d, F32));
    x = map2(&d, CUDNN_POINTWISE_MUL, x, d.scale, square(&d, F32));
    by_key(&d, x, q, U_DK, U_DK_HEADS);
    kj_dnn k = kj_dnn_tensor(
        &d.g, &(struct kj_dnn_tensor){.type = BF16,
                                      .dim = {s->segs, s->kv_heads, s->longest, s->dim},
                                      .stride = {s->longest * s->kv, s->dim, s->kv, 1},
                                      .ragged = d.at[U_AT_KV - U_LENGTH]});
    kj_dnn_reshape(&d.g, kt, k);
    kj_dnn sum = heads_of(&d, U_DQ_SUM, F32, s->heads, U_AT_HEADS, false);
    kj_dnn_matmul(&d.g, x, k, sum, n, NULL, n, false);
    map2(&d, CUDNN_POINTWISE_IDENTITY, sum, NULL,
         heads_of(&d, U_DQ, BF16, s->heads, U_AT_DQ, false));
    int rc = kj_dnn_plan(&d.g, &p->backward, &p->backward_bytes);
    kj_dnn_graph_release(&d.g);
    return rc;
}

void kj_sdpa_round(struct kj_sdpa_shape *s)
{
    s->segs = (int64_t)kj_cuda_round_segs((size_t)s->segs);
    s->longest = (int64_t)kj_cuda_round_longest((size_t)s->longest);
}

int kj_sdpa_new(struct kj_sdpa **out, struct kj_cudnn *c, const struct kj_sdpa_shape *s,
                struct kj_err *err)
{
    struct kj_sdpa *p = calloc(1, sizeof *p);
    int rc = p ? KJ_OK : kj_err_set(err, KJ_FATAL, "out of memory");
    if (rc == KJ_OK) {
        p->c = c;
        p->s = *s;
        rc = forward_plan(p, err);
    }
    if (rc == KJ_OK && s->train)
        rc = backward_plan(p, err);
    if (rc != KJ_OK) {
        kj_err_context(err, "%lld x %lld tokens, heads %lld/%lld of %lld",
                       (long long)s->segs, (long long)s->longest, (long long)s->heads,
                       (long long)s->kv_heads, (long long)s->dim);
        kj_sdpa_free(p);
        p = NULL;
    }
    *out = p;
    return rc;
}

void kj_sdpa_free(struct kj_sdpa *p)
{
    if (!p)
        return;
    if (p->forward)
        p->c->destroy(p->forward);
    if (p->backward)
        p->c->destroy(p->backward);
    free(p);
}

/* ---- running them ---- */

/* Rows of the table begin at multiples of 16 bytes. */
static size_t table_row(const struct kj_sdpa *p)
{
    return ((size_t)p->s.segs + 1 + 3) / 4 * 4;
}

size_t kj_sdpa_table_bytes(const struct kj_sdpa *p)
{
    return ROWS * table_row(p) * sizeof(int32_t);
}

int kj_sdpa_table(const struct kj_sdpa *p, const int32_t *cu, int64_t segs,
                  int32_t *host_table, struct kj_err *err)
{
    size_t row = table_row(p);
    if (segs > p->s.segs)
        return kj_err_set(err, KJ_FAIL, "attention: %lld documents, planned for %lld",
                          (long long)segs, (long long)p->s.segs);
    for (int64_t i = 0; i <= p->s.segs; i++) {
        int64_t from = cu[i < segs ? i : segs];
        int64_t length = i < segs ? cu[i + 1] - from : 0;
        if (length > p->s.longest)
            return kj_err_set(err, KJ_FAIL,
                              "attention: a document of %lld tokens, planned for %lld",
                              (long long)length, (long long)p->s.longest);
        if (i < p->s.segs)
            host_table[i] = (int32_t)length;
        for (int r = 1; r < ROWS; r++) {
            int64_t at = from * stride_of(&p->s, (enum uid)(U_LENGTH + r));
            if (at > INT32_MAX)
                return kj_err_set(err, KJ_FAIL,
                                  "attention: %lld tokens in one call are too many",
                                  (long long)cu[segs]);
            host_table[(size_t)r * row + (size_t)i] = (int32_t)at;
        }
    }
    return KJ_OK;
}

/* Parts of scratch, in bytes, each a multiple of 256. */
static struct kj_sdpa_parts parts_of(const struct kj_sdpa *p, int64_t tokens)
{
    return kj_sdpa_parts_of((size_t)tokens, (size_t)p->s.heads, (size_t)p->s.kv_heads,
                            (size_t)p->s.dim);
}

/* Where there is no backward pass, nobody keeps lse. */
size_t kj_sdpa_scratch(const struct kj_sdpa *p, int64_t tokens, bool back)
{
    struct kj_sdpa_parts t = parts_of(p, tokens);
    if (!back)
        return kj_sdpa_part((size_t)p->forward_bytes) + (p->s.train ? 0 : t.rowsum);
    return t.rowsum + t.dq_sum + t.dk_heads + t.dv_heads +
           kj_sdpa_part((size_t)p->backward_bytes);
}

#define ROW(uid) (1u << ((uid)-U_LENGTH))

struct bindings {
    int64_t uid[U_END];
    void *at[U_END];
    int64_t n;
    float scale, minus_inf, one;
};

static void bind(struct bindings *b, enum uid uid, const void *at)
{
    b->uid[b->n] = uid;
    b->at[b->n++] = (void *)(size_t)at;
}

/* rows: bits of the table's rows that the graph reads; others it does not know. */
static void bind_common(struct bindings *b, const struct kj_sdpa *p,
                        const struct kj_sdpa_args *a, unsigned rows)
{
    *b = (struct bindings){.scale = a->scale, .minus_inf = -INFINITY, .one = 1};
    bind(b, U_Q, a->q);
    bind(b, U_K, a->k);
    bind(b, U_V, a->v);
    bind(b, U_O, a->o);
    bind(b, U_SCALE, &b->scale);
    bind(b, U_MINUS_INF, &b->minus_inf);
    for (int r = 0; r < ROWS; r++)
        if (rows >> r & 1)
            bind(b, (enum uid)(U_LENGTH + r), a->table + (size_t)r * table_row(p));
}

int kj_sdpa_forward(struct kj_sdpa *p, const struct kj_sdpa_args *a, struct kj_err *err)
{
    struct bindings b;
    char *lse = (char *)a->scratch + kj_sdpa_part((size_t)p->forward_bytes);
    bind_common(&b, p, a,
                ROW(U_LENGTH) | ROW(U_AT_Q) | ROW(U_AT_KV) | ROW(U_AT_O) |
                    ROW(U_AT_LSE));
    bind(&b, U_LSE, p->s.train ? (void *)a->lse : lse);
    return kj_dnn_run(p->c, p->forward, b.uid, b.at, b.n, a->scratch, err);
}

int kj_sdpa_backward(struct kj_sdpa *p, const struct kj_sdpa_args *a,
                     struct kj_err *err)
{
    struct bindings b;
    struct kj_sdpa_parts t = parts_of(p, a->tokens);
    char *at = a->scratch;
    bind_common(&b, p, a, ROW(ROWS + U_LENGTH) - 1);
    bind(&b, U_ONE, &b.one);
    bind(&b, U_LSE, a->lse);
    bind(&b, U_DO, a->d_o);
    bind(&b, U_DQ, a->dq);
    bind(&b, U_DK, a->dk);
    bind(&b, U_DV, a->dv);
    bind(&b, U_ROWSUM, at);
    at += t.rowsum;
    bind(&b, U_DQ_SUM, at);
    at += t.dq_sum;
    if (t.dk_heads) {
        bind(&b, U_DK_HEADS, at);
        at += t.dk_heads;
        bind(&b, U_DV_HEADS, at);
        at += t.dv_heads;
    }
    return kj_dnn_run(p->c, p->backward, b.uid, b.at, b.n, at, err);
}
