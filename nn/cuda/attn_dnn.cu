/* attn_dnn.cu - attention by cuDNN's plans (attn_cudnn.h), as a path of attn.cuh.
 *
 * For bfloat16 where queries and keys are the same tokens: training, encoders. It is
 * taken when KIJIL_CUDNN=1 says so: its sums are not repeatable to the bit, and its
 * results have not been held against a GPU's yet. Where cuDNN is not there or has no
 * plan for a shape, the kernels of our own go on.
 */
#ifdef KJ_CUDNN /* its headers were there */
#include "nn/cuda/attn.cuh"

#include <cstdlib>
#include <cstring>

extern "C" {
#include "nn/cuda/attn_cudnn.h"
}

#define PLANS 16 /* shapes at a time: one or two for a run */

struct plan {
    struct kj_sdpa_shape shape;
    struct kj_sdpa *p; /* NULL: there is none for this shape */
};

struct kj_dnn_state {
    struct kj_cudnn *lib; /* NULL: not there */
    struct plan plans[PLANS];
    size_t n;
    struct kj_buffer table, scratch;
    int32_t *cu, *host; /* what the table was made of, and its copy */
    size_t segs;
    const struct kj_sdpa *made_for;
    struct kj_sdpa *call; /* the plan that takes() found for the call under way */
};

static struct kj_dnn_state *state_of(struct kj_cuda *c)
{
    const char *s = getenv("KIJIL_CUDNN");
    struct kj_err why;
    kj_err_reset(&why);
    if (!c->dnn && s && *s == '1') {
        c->dnn = (struct kj_dnn_state *)calloc(1, sizeof *c->dnn);
        if (c->dnn && kj_cudnn_open(&c->dnn->lib, c->stream, NULL, &why) != KJ_OK)
            c->dnn->lib = NULL;
    }
    return c->dnn && c->dnn->lib ? c->dnn : NULL;
}

void kj_cuda_dnn_close(struct kj_cuda *c)
{
    struct kj_dnn_state *d = c->dnn;
    if (!d)
        return;
    for (size_t i = 0; i < d->n; i++)
        kj_sdpa_free(d->plans[i].p);
    kj_cudnn_close(d->lib);
    cudaFree(d->table.p);
    cudaFree(d->scratch.p);
    free(d->cu);
    free(d->host);
    free(d);
    c->dnn = NULL;
}

static bool equal(const struct kj_sdpa_shape *a, const struct kj_sdpa_shape *b)
{
    return a->segs == b->segs && a->longest == b->longest && a->heads == b->heads &&
           a->kv_heads == b->kv_heads && a->dim == b->dim && a->q == b->q &&
           a->kv == b->kv && a->o == b->o && a->dq == b->dq && a->dkv == b->dkv &&
           a->full == b->full && a->train == b->train;
}

/* The plan of a shape, made when it is first asked for. */
static struct kj_sdpa *plan_of(struct kj_dnn_state *d, const struct kj_sdpa_shape *s)
{
    struct kj_err why;
    kj_err_reset(&why);
    for (size_t i = 0; i < d->n; i++)
        if (equal(&d->plans[i].shape, s))
            return d->plans[i].p;
    if (d->n == PLANS)
        return NULL;
    struct plan *p = &d->plans[d->n++];
    p->shape = *s;
    if (kj_sdpa_new(&p->p, d->lib, s, &why) != KJ_OK)
        p->p = NULL;
    return p->p;
}

static struct kj_sdpa_shape shape_of(const struct kj_attn *a,
                                     const struct kj_attn_grad *g)
{
    struct kj_sdpa_shape s = {};
    s.segs = (int64_t)a->segs;
    for (size_t i = 0; i < a->segs; i++) {
        int64_t n = a->cu_q[i + 1] - a->cu_q[i];
        s.longest = n > s.longest ? n : s.longest;
    }
    s.heads = (int64_t)a->heads;
    s.kv_heads = (int64_t)a->kv_heads;
    s.dim = (int64_t)a->dim;
    s.q = (int64_t)a->q.stride;
    s.kv = (int64_t)a->k.stride;
    s.o = (int64_t)a->o.stride;
    s.dq = g ? (int64_t)g->dq.stride : s.q;
    s.dkv = g ? (int64_t)g->dk.stride : s.kv;
    s.full = a->full;
    s.train = a->lse.t != NULL;
    kj_sdpa_round(&s);
    return s;
}

static bool takes(const struct kj_cuda *c, const struct kj_attn *a,
                  const struct kj_attn_grad *g, enum kj_dtype type)
{
    size_t h = a->heads * a->dim;
    struct kj_dnn_state *d = state_of(const_cast<struct kj_cuda *>(c));
    if (!d || type != KJ_BF16 || (a->dim != 64 && a->dim != 128) || a->cu_q[0] != 0 ||
        a->k.stride != a->v.stride ||
        memcmp(a->cu_q, a->cu_k, (a->segs + 1) * sizeof *a->cu_q) != 0 ||
        (a->lse.t && a->lse.stride != a->heads) ||
        !kj_all_aligned(h, 8, a->q, a->k, a->v, a->o))
        return false;
    if (g && (g->dk.stride != g->dv.stride || g->d_o.stride != a->o.stride ||
              !kj_all_aligned(h, 8, g->d_o, g->dq, g->dk, g->dv)))
        return false;
    struct kj_sdpa_shape s = shape_of(a, g);
    d->call = plan_of(d, &s);
    return d->call != NULL;
}

/* The table of this call's documents on the device; layers share it. */
static bool renew(struct kj_cuda *c, struct kj_dnn_state *d, const struct kj_sdpa *p,
                  const struct kj_attn *a)
{
    size_t bytes = kj_sdpa_table_bytes(p), n = a->segs + 1;
    if (d->made_for == p && d->segs == a->segs &&
        memcmp(d->cu, a->cu_q, n * sizeof *d->cu) == 0)
        return true;
    d->made_for = NULL;
    int32_t *cu = (int32_t *)realloc(d->cu, n * sizeof *cu);
    d->cu = cu ? cu : d->cu;
    int32_t *host = cu ? (int32_t *)realloc(d->host, bytes) : NULL;
    d->host = host ? host : d->host;
    if (!host) {
        kj_cuda_fault(c, "no memory");
        return false;
    }
    memcpy(cu, a->cu_q, n * sizeof *cu);
    if (kj_sdpa_table(p, a->cu_q, (int64_t)a->segs, host, &c->base.fault) != KJ_OK ||
        !kj_cuda_scratch(c, &d->table, bytes) ||
        !KJ_CUDA(c, cudaMemcpyAsync(d->table.p, host, bytes, cudaMemcpyHostToDevice,
                                    c->stream)))
        return false;
    d->segs = a->segs;
    d->made_for = p;
    return true;
}

static bool prepare(struct kj_cuda *c, const struct kj_attn *a,
                    const struct kj_attn_grad *g, struct kj_sdpa **p,
                    struct kj_sdpa_args *args)
{
    struct kj_dnn_state *d = state_of(c);
    int64_t tokens = a->cu_q[a->segs];
    *p = d->call;
    if (!renew(c, d, *p, a) ||
        !kj_cuda_scratch(c, &d->scratch, kj_sdpa_scratch(*p, tokens, g != NULL) + 1))
        return false;
    memset(args, 0, sizeof *args);
    args->q = kj_ptr<struct kj_bf16>(a->q);
    args->k = kj_ptr<struct kj_bf16>(a->k);
    args->v = kj_ptr<struct kj_bf16>(a->v);
    args->o = kj_ptr<struct kj_bf16>(a->o);
    args->lse = kj_ptr<float>(a->lse);
    args->scale = a->scale;
    args->tokens = tokens;
    args->table = (const int32_t *)d->table.p;
    args->scratch = d->scratch.p;
    return true;
}

static void forward(struct kj_cuda *c, const struct kj_attn *a,
                    const struct kj_attn_segs *s, enum kj_dtype type)
{
    struct kj_sdpa *p;
    struct kj_sdpa_args args;
    (void)s;
    (void)type;
    if (prepare(c, a, NULL, &p, &args))
        kj_sdpa_forward(p, &args, &c->base.fault);
}

static void backward(struct kj_cuda *c, const struct kj_attn *a,
                     const struct kj_attn_grad *g, const struct kj_attn_segs *s,
                     const float *dsum, enum kj_dtype type)
{
    struct kj_sdpa *p;
    struct kj_sdpa_args args;
    (void)s;
    (void)dsum; /* cuDNN takes its own */
    (void)type;
    if (!prepare(c, a, g, &p, &args))
        return;
    args.d_o = kj_ptr<struct kj_bf16>(g->d_o);
    args.dq = kj_ptr<struct kj_bf16>(g->dq);
    args.dk = kj_ptr<struct kj_bf16>(g->dk);
    args.dv = kj_ptr<struct kj_bf16>(g->dv);
    kj_sdpa_backward(p, &args, &c->base.fault);
}

const struct kj_attn_path kj_attn_dnn = {"cudnn", false, takes, forward, backward};

#endif
