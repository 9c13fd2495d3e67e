/* attn.cu - attention: checks, segments on the device, the choice of a path. */
#include "nn/cuda/attn.cuh"

#include <cstdlib>
#include <cstring>

static const struct kj_attn_path *const paths[] = {
#ifdef KJ_CUDNN
    &kj_attn_dnn,
#endif
    &kj_attn_mma, &kj_attn_any};

/* The lists of the last calls: layers of a model come with the same ones. A graph keeps
 * those that it was captured with.
 *
 * Documents of a section (kj_cuda.docs) have a table with room for all of their class:
 * behind them it has documents of length 0, the last of them always, and tiles of that
 * one, of which kernels do nothing. So bounds change, and grids and addresses do not. */
#define TABLES KJ_CUDA_TABLES

struct table {
    int32_t *host; /* cu_q, cu_k, then the tiles of queries and of keys */
    size_t segs, q_tiles, k_tiles;
    size_t docs; /* of a section: so many of segs; else 0 */
    struct kj_buffer device;
    uint64_t used;
    bool kept;
};
struct kj_attn_cache {
    struct table all[TABLES];
    uint64_t clock;
};

/* No graph is left. */
void kj_cuda_attn_forget(struct kj_cuda *c)
{
    for (int i = 0; c->attn && i < TABLES; i++)
        c->attn->all[i].kept = false;
}

void kj_cuda_attn_close(struct kj_cuda *c)
{
#ifdef KJ_CUDNN
    kj_cuda_dnn_close(c);
#endif
    if (!c->attn)
        return;
    for (int i = 0; i < TABLES; i++) {
        cudaFree(c->attn->all[i].device.p);
        free(c->attn->all[i].host);
    }
    free(c->attn);
}

/* How many tiles; their segments and first rows go to `to`, unless that is NULL. */
static size_t tiles(const int32_t *cu, size_t segs, int32_t *to)
{
    size_t n = 0;
    for (size_t i = 0; i < segs; i++)
        for (int32_t row = 0; row < cu[i + 1] - cu[i]; row += KJ_ATTN_TILE, n++)
            if (to) {
                to[2 * n] = (int32_t)i;
                to[2 * n + 1] = row;
            }
    return n;
}

/* Room on the host; NULL: a fault. */
static int32_t *room(struct kj_cuda *c, struct table *t, size_t n)
{
    int32_t *host = (int32_t *)realloc(t->host, n * sizeof *host);
    t->segs = t->docs = 0;
    if (host)
        t->host = host;
    else
        kj_cuda_fault(c, "no memory");
    return host;
}

/* The first n numbers of the host's, on the device; of so many segments and tiles. */
static bool send(struct kj_cuda *c, struct table *t, size_t n, size_t segs, size_t nq,
                 size_t nk)
{
    if (!kj_cuda_scratch(c, &t->device, n * sizeof *t->host) ||
        !kj_cuda_up(c, t->device.p, KJ_I32, t->host, n))
        return false;
    t->segs = segs;
    t->q_tiles = nq;
    t->k_tiles = nk;
    return true;
}

static bool renew(struct kj_cuda *c, struct table *t, const struct kj_attn *a)
{
    size_t n = a->segs + 1, nq = tiles(a->cu_q, a->segs, NULL);
    size_t nk = tiles(a->cu_k, a->segs, NULL), all = 2 * n + 2 * nq + 2 * nk;
    int32_t *host = room(c, t, all);
    if (!host)
        return false;
    memcpy(host, a->cu_q, n * sizeof *host);
    memcpy(host + n, a->cu_k, n * sizeof *host);
    tiles(a->cu_q, a->segs, host + 2 * n);
    tiles(a->cu_k, a->segs, host + 2 * n + 2 * nq);
    return send(c, t, all, a->segs, nq, nk);
}

/* ---- documents of a section ---- */

/* Segments and tiles of those of its class, at most. */
static size_t docs_segs(const struct kj_cuda *c)
{
    size_t most = c->docs.round_segs;
    return (most < c->docs.tokens ? most : c->docs.tokens) + 1;
}
static size_t docs_tiles(const struct kj_cuda *c)
{
    return c->docs.tokens / KJ_ATTN_TILE + docs_segs(c);
}

/* The same table serves them. */
static bool of_class(const struct kj_cuda *c, const struct table *t)
{
    return t->docs && t->segs == docs_segs(c) && t->q_tiles == docs_tiles(c);
}

static bool renew_docs(struct kj_cuda *c, struct table *t)
{
    size_t segs = docs_segs(c), n = segs + 1, nt = docs_tiles(c), docs = c->docs.segs;
    size_t all = 2 * n + 4 * nt;
    const int32_t *cu = c->docs.cu;
    if (of_class(c, t) && t->docs == docs &&
        memcmp(t->host, cu, (docs + 1) * sizeof *cu) == 0)
        return true;
    int32_t *host = room(c, t, all);
    if (!host)
        return false;
    for (size_t i = 0; i < n; i++)
        host[i] = host[n + i] = cu[i < docs ? i : docs];
    int32_t *to = host + 2 * n;
    for (size_t i = tiles(cu, docs, to); i < nt; i++) {
        to[2 * i] = (int32_t)segs - 1;
        to[2 * i + 1] = 0;
    }
    memcpy(to + 2 * nt, to, 2 * nt * sizeof *to);
    if (!send(c, t, all, segs, nt, nt))
        return false;
    t->docs = docs;
    return true;
}

bool kj_cuda_attn_renew(struct kj_cuda *c)
{
#ifdef KJ_CUDNN
    if (!kj_cuda_dnn_renew(c))
        return false;
#endif
    for (int i = 0; c->attn && i < TABLES; i++)
        if (of_class(c, &c->attn->all[i]) && !renew_docs(c, &c->attn->all[i]))
            return false;
    return true;
}

/* ---- the table of a call ---- */

static bool holds(const struct kj_cuda *c, const struct table *t,
                  const struct kj_attn *a)
{
    size_t n = a->segs + 1, bytes = n * sizeof(int32_t);
    if (kj_cuda_of_docs(c, a))
        return of_class(c, t);
    return !t->docs && t->segs == a->segs && memcmp(t->host, a->cu_q, bytes) == 0 &&
           memcmp(t->host + n, a->cu_k, bytes) == 0;
}

/* The call's table, or the one that may be overwritten. */
static struct table *table_of(struct kj_cuda *c, const struct kj_attn *a, bool *found)
{
    struct table *old = NULL;
    for (int i = 0; i < TABLES; i++) {
        struct table *t = &c->attn->all[i];
        *found = holds(c, t, a);
        if (*found)
            return t;
        if (!t->kept && (!old || t->used < old->used))
            old = t;
    }
    if (old)
        return old;
    kj_cuda_forget(c); /* graphs have them all */
    return &c->attn->all[0];
}

static bool upload(struct kj_cuda *c, const struct kj_attn *a, struct kj_attn_segs *s)
{
    bool found;
    if (!c->attn)
        c->attn = (struct kj_attn_cache *)calloc(1, sizeof *c->attn);
    if (!c->attn) {
        kj_cuda_fault(c, "no memory");
        return false;
    }
    struct table *t = table_of(c, a, &found);
    if (kj_cuda_of_docs(c, a) ? !renew_docs(c, t) : !found && !renew(c, t, a))
        return false;
    size_t n = t->segs + 1;
    t->used = ++c->attn->clock;
    t->kept = t->kept || kj_cuda_capturing(c);
    s->cu_q = (const int32_t *)t->device.p;
    s->cu_k = s->cu_q + n;
    s->q_tiles = s->cu_k + n;
    s->k_tiles = s->q_tiles + 2 * t->q_tiles;
    s->n_q_tiles = (unsigned)t->q_tiles;
    s->n_k_tiles = (unsigned)t->k_tiles;
    s->segs = (unsigned)t->segs;
    s->full = a->full;
    if (a->cu_k_then.t)
        s->cu_k = kj_ptr<int32_t>(a->cu_k_then);
    return true;
}

/* Checks; then the segments and the path. NULL: a fault, or nothing to do. */
static const struct kj_attn_path *begin(struct kj_cuda *c, const char *op,
                                        const struct kj_attn *a,
                                        const struct kj_attn_grad *g,
                                        enum kj_dtype type, struct kj_attn_segs *s)
{
    if (!kj_cuda_op(c, op, a->segs ? (size_t)a->cu_q[a->segs] : 0, a->heads, a->dim) ||
        a->segs == 0)
        return NULL;
    if (a->kv_heads == 0 || a->heads % a->kv_heads != 0) {
        kj_cuda_fault(c, "%zu heads over %zu key heads", a->heads, a->kv_heads);
        return NULL;
    }
    for (size_t i = 0; i < a->segs; i++) {
        int32_t lq = a->cu_q[i + 1] - a->cu_q[i], lk = a->cu_k[i + 1] - a->cu_k[i];
        if (lq < 0 || lk < (a->full ? lq > 0 : lq) || a->cu_q[0] < 0 ||
            a->cu_k[0] < 0) {
            kj_cuda_fault(c, "segment %zu has %d queries and %d keys", i, lq, lk);
            return NULL;
        }
    }
    size_t nq = (size_t)a->cu_q[a->segs], nk = (size_t)a->cu_k[a->segs];
    size_t wq = a->heads * a->dim, wk = a->kv_heads * a->dim;
    if (!kj_cuda_inside(c, a->q, type, nq, wq) ||
        !kj_cuda_inside(c, a->o, type, nq, wq) ||
        !kj_cuda_inside(c, a->k, type, nk, wk) ||
        !kj_cuda_inside(c, a->v, type, nk, wk) ||
        !kj_cuda_maybe(c, a->lse, KJ_F32, nq, a->heads) ||
        !kj_cuda_maybe(c, a->cu_k_then, KJ_I32, 1, a->segs + 1))
        return NULL;
    const struct kj_attn_path *p = NULL;
    for (size_t i = 0; i < sizeof paths / sizeof *paths && !p && !c->base.fault.rc; i++)
        p = paths[i]->takes(c, a, g, type) ? paths[i] : NULL;
    if (!p && !c->base.fault.rc)
        kj_cuda_fault(c, "heads of %zu are too long: 256 is the most", a->dim);
    /* Behind the choice: what a path tries out has segments of its own. */
    return p && upload(c, a, s) ? p : NULL;
}

void kj_cuda_attention(struct kj_backend *b, const struct kj_attn *a)
{
    struct kj_cuda *c = kj_cuda_of(b);
    struct kj_attn_segs s;
    enum kj_dtype type = kj_cuda_type(a->q);
    const struct kj_attn_path *p = begin(c, "attention", a, NULL, type, &s);
    if (p)
        p->forward(c, a, &s, type);
}

/* dsum[row][head] = the sum of d_o times o over the head; a warp each. */
template <class T>
__global__ void k_dsum(float *dsum, const T *d_o, size_t sd, const T *o, size_t so,
                       size_t n, unsigned heads, unsigned dim)
{
    size_t at = (size_t)blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
    size_t row = at / heads, head = at % heads;
    float sum = 0;
    if (row >= n)
        return;
    for (unsigned j = threadIdx.x % 32; j < dim; j += 32)
        sum += kj_get(d_o[row * sd + head * dim + j]) *
               kj_get(o[row * so + head * dim + j]);
    sum = kj_warp_sum(sum);
    if (threadIdx.x % 32 == 0)
        dsum[at] = sum;
}

/* NULL: a fault. */
static const float *row_sums(struct kj_cuda *c, const struct kj_attn *a,
                             const struct kj_attn_grad *g, size_t nq,
                             enum kj_dtype type)
{
    float *dsum =
        (float *)kj_cuda_scratch(c, &c->scratch, (nq * a->heads + 1) * sizeof *dsum);
    if (!dsum)
        return NULL;
    size_t blocks = kj_ceil(nq * a->heads, 8);
    if (type == KJ_BF16)
        kj_launch(c, k_dsum<struct kj_bf16>, blocks, 256, 0, dsum,
                  kj_ptr<struct kj_bf16>(g->d_o), g->d_o.stride,
                  kj_ptr<struct kj_bf16>(a->o), a->o.stride, nq, (unsigned)a->heads,
                  (unsigned)a->dim);
    else
        kj_launch(c, k_dsum<float>, blocks, 256, 0, dsum, kj_ptr<float>(g->d_o),
                  g->d_o.stride, kj_ptr<float>(a->o), a->o.stride, nq,
                  (unsigned)a->heads, (unsigned)a->dim);
    return dsum;
}

void kj_cuda_attention_back(struct kj_backend *b, const struct kj_attn *a,
                            const struct kj_attn_grad *g)
{
    struct kj_cuda *c = kj_cuda_of(b);
    struct kj_attn_segs s;
    enum kj_dtype type = kj_cuda_type(a->q);
    const struct kj_attn_path *p = begin(c, "attention_back", a, g, type, &s);
    if (!p)
        return;
    size_t nq = (size_t)a->cu_q[a->segs], nk = (size_t)a->cu_k[a->segs];
    size_t wq = a->heads * a->dim, wk = a->kv_heads * a->dim;
    if (!a->lse.t) {
        kj_cuda_fault(c, "needs lse");
        return;
    }
    if (!kj_cuda_inside(c, g->d_o, type, nq, wq) ||
        !kj_cuda_inside(c, g->dq, type, nq, wq) ||
        !kj_cuda_inside(c, g->dk, type, nk, wk) ||
        !kj_cuda_inside(c, g->dv, type, nk, wk))
        return;
    const float *dsum = p->wants_dsum ? row_sums(c, a, g, nq, type) : NULL;
    if (!dsum && p->wants_dsum)
        return;
    p->backward(c, a, g, &s, dsum, type);
}
