/* attn_dnn.cu - attention by cuDNN's plans (attn_cudnn.h), as a path of attn.cuh.
 *
 * For bfloat16 where queries and keys are the same tokens, in training. It comes
 * first, but no plan is believed before it was held against our own kernels on the
 * machine at hand (attn_agree.cu): in scratch that is not-a-number before, so that sums
 * that nobody clears are seen, and with a guard behind it. Where the library is missing,
 * has no plan for a shape, finds no memory or disagrees, those go on, and the back end's
 * note says why;
 * under KIJIL_CUDNN=1 that is a fault, so that who measures cuDNN measures it.
 *
 * The backward pass adds up dQ by atomics, in an order that changes: where the bits
 * must not, it is ours. The forward pass has no such sums.
 */
#ifdef KJ_CUDNN /* its headers were there */
#include "nn/cuda/attn.cuh"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

extern "C" {
#include "nn/cuda/attn_cudnn.h"
}

/* Shapes at a time. Rounded as they are, a run over documents of all lengths has up to
 * 28 (4 counts, 7 lengths); the one that was not wanted for longest goes first, so
 * which way a call takes does not depend on the calls before. */
#define PLANS 64

/* Where a plan's documents lie on the device never changes, so a graph may hold calls of
 * it; what lies there does (kj_cuda_attn_renew). */
struct plan {
    struct kj_sdpa_shape shape;
    struct kj_sdpa *p; /* NULL: not for this shape */
    uint64_t used;
    struct kj_buffer table;
    int32_t *cu; /* what the table was made of: bounds of segs documents */
    size_t segs; /* 0: of nothing */
};

struct kj_dnn_state {
    struct kj_cudnn *lib; /* NULL: not there */
    struct plan plans[PLANS];
    size_t n;
    uint64_t calls;
    bool trying; /* our own kernels are asked, for comparison */
    struct kj_buffer scratch;
    int32_t *host;     /* a table on its way to the device */
    struct plan *call; /* that takes() found for the call under way */
};

/* It is not taken, and why. */
static void leave(struct kj_cuda *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
static void leave(struct kj_cuda *c, const char *fmt, ...)
{
    char why[200];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(why, sizeof why, fmt, ap);
    va_end(ap);
    if (c->dnn_use == KJ_DNN_MUST)
        kj_cuda_fault(c, "KIJIL_CUDNN=1: %s", why);
    else if (!*c->base.note)
        snprintf(c->base.note, sizeof c->base.note, "%s: our own attention goes on",
                 why);
}

static struct kj_dnn_state *state_of(struct kj_cuda *c)
{
    struct kj_err why;
    kj_err_reset(&why);
    if (!c->dnn) {
        c->dnn = (struct kj_dnn_state *)calloc(1, sizeof *c->dnn);
        if (c->dnn && kj_cudnn_open(&c->dnn->lib, c->stream, NULL, &why) != KJ_OK) {
            c->dnn->lib = NULL;
            leave(c, "%.190s", why.msg);
        }
    }
    return c->dnn && c->dnn->lib ? c->dnn : NULL;
}

void kj_cuda_dnn_close(struct kj_cuda *c)
{
    struct kj_dnn_state *d = c->dnn;
    if (!d)
        return;
    for (size_t i = 0; i < d->n; i++) {
        kj_sdpa_free(d->plans[i].p);
        cudaFree(d->plans[i].table.p);
        free(d->plans[i].cu);
    }
    kj_cudnn_close(d->lib);
    cudaFree(d->scratch.p);
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

/* The plan's table of these documents on the device; layers share it. */
static bool renew(struct kj_cuda *c, struct kj_dnn_state *d, struct plan *p,
                  const int32_t *bounds, size_t segs)
{
    size_t bytes = kj_sdpa_table_bytes(p->p), n = segs + 1;
    if (p->segs == segs && memcmp(p->cu, bounds, n * sizeof *bounds) == 0)
        return true;
    p->segs = 0;
    int32_t *cu = (int32_t *)realloc(p->cu, n * sizeof *cu);
    p->cu = cu ? cu : p->cu;
    int32_t *host = cu ? (int32_t *)realloc(d->host, bytes) : NULL;
    d->host = host ? host : d->host;
    if (!host) {
        kj_cuda_fault(c, "no memory");
        return false;
    }
    memcpy(cu, bounds, n * sizeof *cu);
    if (kj_sdpa_table(p->p, bounds, (int64_t)segs, host, &c->base.fault) != KJ_OK ||
        !kj_cuda_scratch(c, &p->table, bytes) ||
        !kj_cuda_up(c, p->table.p, KJ_I32, host, bytes / sizeof *host))
        return false;
    p->segs = segs;
    return true;
}

bool kj_cuda_dnn_renew(struct kj_cuda *c)
{
    struct kj_dnn_state *d = c->dnn;
    for (size_t i = 0; d && i < d->n; i++) {
        struct plan *p = &d->plans[i];
        if (p->p && p->table.p && p->shape.segs == (int64_t)c->docs.round_segs &&
            p->shape.longest == (int64_t)c->docs.round_longest &&
            !renew(c, d, p, c->docs.cu, c->docs.segs))
            return false;
    }
    return true;
}

static bool prepare(struct kj_cuda *c, const struct kj_attn *a,
                    const struct kj_attn_grad *g, struct kj_sdpa_args *args)
{
    struct kj_dnn_state *d = c->dnn;
    struct plan *p = d->call;
    int64_t tokens = a->cu_q[a->segs];
    size_t n = kj_sdpa_scratch(p->p, tokens, g != NULL);
    if (!renew(c, d, p, a->cu_q, a->segs) ||
        !kj_cuda_scratch(c, &d->scratch, n + (d->trying ? KJ_SDPA_GUARD : 1)))
        return false;
    if (d->trying &&
        !KJ_CUDA(c, cudaMemsetAsync(d->scratch.p, 0xff, n + KJ_SDPA_GUARD, c->stream)))
        return false;
    memset(args, 0, sizeof *args);
    args->q = kj_ptr<struct kj_bf16>(a->q);
    args->k = kj_ptr<struct kj_bf16>(a->k);
    args->v = kj_ptr<struct kj_bf16>(a->v);
    args->o = kj_ptr<struct kj_bf16>(a->o);
    args->lse = kj_ptr<float>(a->lse);
    args->scale = a->scale;
    args->tokens = tokens;
    args->table = (const int32_t *)p->table.p;
    args->scratch = d->scratch.p;
    if (!g)
        return true;
    args->d_o = kj_ptr<struct kj_bf16>(g->d_o);
    args->dq = kj_ptr<struct kj_bf16>(g->dq);
    args->dk = kj_ptr<struct kj_bf16>(g->dk);
    args->dv = kj_ptr<struct kj_bf16>(g->dv);
    return true;
}

/* Nothing was written behind the scratch of a trial. */
static bool inside(struct kj_cuda *c, size_t n, struct kj_err *why)
{
    unsigned char *host = (unsigned char *)malloc(KJ_SDPA_GUARD);
    size_t i = 0;
    if (!host) {
        kj_err_set(why, KJ_FAIL, "no memory to try cuDNN's attention");
        return false;
    }
    bool good =
        KJ_CUDA(c, cudaMemcpyAsync(host, (char *)c->dnn->scratch.p + n, KJ_SDPA_GUARD,
                                   cudaMemcpyDeviceToHost, c->stream)) &&
        KJ_CUDA(c, cudaStreamSynchronize(c->stream));
    while (good && i < KJ_SDPA_GUARD && host[i] == 0xff)
        i++;
    free(host);
    if (good && i < KJ_SDPA_GUARD)
        kj_err_set(why, KJ_FAIL,
                   "cuDNN's attention writes %zu bytes behind its scratch", i);
    return good && i == KJ_SDPA_GUARD;
}

/* The plan under way; why: of what cuDNN says, beside the back end's fault. */
static bool execute(struct kj_cuda *c, const struct kj_attn *a,
                    const struct kj_attn_grad *g, struct kj_err *why)
{
    struct kj_sdpa_args args;
    if (!prepare(c, a, g, &args))
        return false;
    struct kj_sdpa *p = c->dnn->call->p;
    int rc = g ? kj_sdpa_backward(p, &args, why) : kj_sdpa_forward(p, &args, why);
    return rc == KJ_OK && (!c->dnn->trying ||
                           inside(c, kj_sdpa_scratch(p, args.tokens, g != NULL), why));
}

static void go(struct kj_cuda *c, const struct kj_attn *a, const struct kj_attn_grad *g)
{
    struct kj_err why;
    kj_err_reset(&why);
    if (execute(c, a, g, &why)) {
        if (c->each)
            KJ_CUDA(c, cudaStreamSynchronize(c->stream));
        return;
    }
    cudaError_t device = cudaGetLastError(); /* knows more than cuDNN */
    if (device != cudaSuccess)
        kj_cuda_good(c, device, "cudnnBackendExecute");
    else
        kj_cuda_fault(c, "%s", why.msg);
}

static void forward(struct kj_cuda *c, const struct kj_attn *a,
                    const struct kj_attn_segs *, enum kj_dtype)
{
    go(c, a, NULL);
}

/* cuDNN takes row sums of its own */
static void backward(struct kj_cuda *c, const struct kj_attn *a,
                     const struct kj_attn_grad *g, const struct kj_attn_segs *,
                     const float *, enum kj_dtype)
{
    go(c, a, g);
}

/* ---- which calls ---- */

/* Make the plan and try it. */
static void fill(struct kj_cuda *c, struct kj_dnn_state *d, struct plan *p)
{
    struct kj_err why;
    kj_err_reset(&why);
    auto at = c->at;
    if (kj_sdpa_new(&p->p, d->lib, &p->shape, &why) != KJ_OK) {
        p->p = NULL;
        leave(c, "%.190s", why.msg);
        return;
    }
    d->call = p;
    d->trying = true;
    bool agrees = kj_attn_agrees(c, &p->shape, execute, &why);
    d->trying = false;
    c->at = at; /* our own kernels were there in between */
    if (agrees)
        return;
    kj_sdpa_free(p->p);
    p->p = NULL;
    leave(c, "%.190s", why.msg);
}

/* Another shape takes its place, and its table. No graph must have calls of it. */
static void evict(struct kj_cuda *c, struct plan *p)
{
    kj_cuda_forget(c);
    kj_sdpa_free(p->p);
    p->p = NULL;
    p->segs = 0;
}

/* The plan of a shape, made when it is first asked for; p NULL: there is none. */
static struct plan *plan_of(struct kj_cuda *c, struct kj_dnn_state *d,
                            const struct kj_sdpa_shape *s)
{
    struct plan *p = d->plans;
    for (size_t i = 0; i < d->n; i++) {
        if (equal(&d->plans[i].shape, s)) {
            d->plans[i].used = ++d->calls;
            return &d->plans[i];
        }
        p = d->plans[i].used < p->used ? &d->plans[i] : p;
    }
    kj_cuda_leave(c); /* making one takes memory, and trying it waits */
    if (d->n < PLANS)
        p = &d->plans[d->n++];
    else
        evict(c, p);
    p->shape = *s;
    p->used = ++d->calls;
    fill(c, d, p);
    return p;
}

/* cuDNN's sums by head take memory that a run may not have left: then ours, which take
 * none, go on. */
static bool room(struct kj_cuda *c, struct kj_dnn_state *d, size_t n)
{
    void *p = NULL;
    if (n <= d->scratch.n)
        return true;
    kj_cuda_forget(c);
    if (d->scratch.p && !KJ_CUDA(c, cudaFree(d->scratch.p)))
        return false;
    c->base.work -= (int64_t)d->scratch.n;
    d->scratch = {NULL, 0};
    cudaError_t rc = cudaMalloc(&p, n);
    if (rc == cudaSuccess) {
        d->scratch = {p, n};
        c->base.work += (int64_t)n;
        return true;
    }
    cudaGetLastError();
    if (rc == cudaErrorMemoryAllocation)
        leave(c, "no GPU memory for cuDNN's %.1f MB", (double)n * 1e-6);
    else
        kj_cuda_good(c, rc, "cudaMalloc");
    return false;
}

/* Offsets of documents, in elements of each operand, have 31 bits. */
static bool counts(struct kj_cuda *c, const struct kj_sdpa_shape *s, int64_t tokens)
{
    const int64_t of[] = {s->q, s->kv, s->o, s->dq, s->dkv, s->heads * s->dim};
    for (size_t i = 0; i < sizeof of / sizeof *of; i++)
        if (of[i] > INT32_MAX / tokens) {
            leave(c, "%lld tokens a pass are too many for cuDNN's attention",
                  (long long)tokens);
            return false;
        }
    return true;
}

static bool takes(struct kj_cuda *c, const struct kj_attn *a,
                  const struct kj_attn_grad *g, enum kj_dtype type)
{
    size_t h = a->heads * a->dim;
    /* Without lse it is a model at work, whose texts are to get the same bits whatever
     * stands beside them; plans go by the number of texts and the longest of them. */
    if (!a->lse.t || a->cu_k_then.t || c->dnn_use == KJ_DNN_NEVER ||
        (c->dnn && c->dnn->trying) || (g && c->base.deterministic) || type != KJ_BF16 ||
        (a->dim != 64 && a->dim != 128) || a->cu_q[0] != 0 ||
        a->k.stride != a->v.stride ||
        memcmp(a->cu_q, a->cu_k, (a->segs + 1) * sizeof *a->cu_q) != 0 ||
        (a->lse.t && a->lse.stride != a->heads) ||
        !kj_all_aligned(h, 8, a->q, a->k, a->v, a->o))
        return false;
    if (g && (g->dk.stride != g->dv.stride || g->d_o.stride != a->o.stride ||
              !kj_all_aligned(h, 8, g->d_o, g->dq, g->dk, g->dv)))
        return false;
    struct kj_dnn_state *d = state_of(c);
    if (!d)
        return false;
    struct kj_sdpa_shape s = shape_of(a, g);
    if (a->cu_q[a->segs] == 0 || !counts(c, &s, a->cu_q[a->segs]))
        return false;
    if (!kj_cuda_of_docs(c, a))
        kj_cuda_leave(c); /* a graph would not notice that the table changes */
    d->call = plan_of(c, d, &s);
    return d->call->p &&
           room(c, d, kj_sdpa_scratch(d->call->p, a->cu_q[a->segs], g) + 1);
}

const struct kj_attn_path kj_attn_dnn = {"cudnn", false, takes, forward, backward};

#endif
