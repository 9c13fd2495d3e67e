/* attention.c - grouped-query attention on the CPU, causal or full.
 *
 * After FlashAttention (Dao et al. 2022): a block of queries meets blocks of
 * keys one after the other; running maxima and sums rescale what was
 * accumulated, so only a block of scores exists at a time. The query heads
 * that share a key head are stacked as rows of one matrix, which makes each
 * block three ordinary matrix products.
 *
 * Forward, a task is (segment, key head, block of queries). Backward, a task
 * is (segment, key head), because the blocks of queries all add into the same
 * dK and dV; their order is fixed, so the sums are.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "nn/cpu/cpu.h"

#define QB 64  /* queries in a block */
#define KB 256 /* keys in a block */

struct job {
    struct kj_cpu *cpu;
    const struct kj_attn *a;
    const struct kj_attn_grad *g;
    size_t group;  /* query heads per key head */
    size_t *first; /* forward: number of a segment's first block, segs + 1 */
    float *q, *k, *v, *o, *lse;
};

/* Where a block stands. */
struct span {
    size_t q0, nq;   /* first row and number of queries */
    size_t k0, keys; /* the segment's keys */
    size_t sees;     /* keys that the block's first query sees */
    size_t end;      /* and that its last one sees */
};

static size_t rows_len(const int32_t *cu, size_t s)
{
    return (size_t)(cu[s + 1] - cu[s]);
}

static struct span span_of(const struct kj_attn *a, size_t seg, size_t block)
{
    struct span s;
    size_t lq = rows_len(a->cu_q, seg), lk = rows_len(a->cu_k, seg);
    size_t i = block * QB;
    s.q0 = (size_t)a->cu_q[seg] + i;
    s.nq = lq - i < QB ? lq - i : QB;
    s.k0 = (size_t)a->cu_k[seg];
    s.keys = lk;
    s.sees = a->full ? lk : lk - lq + i + 1;
    s.end = a->full ? lk : s.sees + s.nq - 1;
    return s;
}

/* Rows (query, head of the group) of x, times s, one behind the other. */
static void pack(const struct job *j, float *to, const float *x, size_t stride,
                 const struct span *s, size_t head, float f)
{
    size_t w = j->group * j->a->dim;
    for (size_t i = 0; i < s->nq; i++)
        j->cpu->kern->scale(to + i * w, x + (s->q0 + i) * stride + head * w, w, f);
}

/* How many keys of the block [kb, kb + nk) the query in row `row` sees. */
static size_t seen(const struct job *j, const struct span *s, size_t row, size_t kb,
                   size_t nk)
{
    size_t end = j->a->full ? s->keys : s->sees + row / j->group;
    return end <= kb ? 0 : end - kb < nk ? end - kb : nk;
}

static void forward(void *ctx, size_t task, unsigned worker)
{
    const struct job *j = ctx;
    const struct kj_attn *a = j->a;
    const struct kj_kern *kern = j->cpu->kern;
    size_t head = task % a->kv_heads, block = task / a->kv_heads, seg = 0;
    while (j->first[seg + 1] <= block)
        seg++;
    struct span s = span_of(a, seg, block - j->first[seg]);
    size_t rows = s.nq * j->group, d = a->dim, most = QB * j->group;
    float *q = j->cpu->scratch[worker].p, *o = q + most * d, *sc = o + most * d;
    float *top = sc + most * KB, *sum = top + most;
    const float *k = j->k + s.k0 * a->k.stride + head * d;
    const float *v = j->v + s.k0 * a->v.stride + head * d;

    pack(j, q, j->q, a->q.stride, &s, head, a->scale);
    size_t end = s.end;
    for (size_t kb = 0; kb < end; kb += KB) {
        size_t nk = end - kb < KB ? end - kb : KB;
        kj_cpu_sgemm(false, true, rows, nk, d, q, d, k + kb * a->k.stride, a->k.stride,
                     0.0f, sc, KB);
        for (size_t r = 0; r < rows; r++) {
            float *row = sc + r * KB;
            size_t n = seen(j, &s, r, kb, nk);
            if (n > 0) {
                float m = kern->max(row, n), old = kb ? top[r] : m;
                m = kb && old > m ? old : m;
                float e = kern->expsum(row, row, n, m);
                sum[r] = kb ? sum[r] * expf(old - m) + e : e;
                if (kb && old != m)
                    kern->scale(o + r * d, o + r * d, d, expf(old - m));
                top[r] = m;
            }
            memset(row + n, 0, (nk - n) * sizeof *row);
        }
        kj_cpu_sgemm(false, false, rows, d, nk, sc, KB, v + kb * a->v.stride,
                     a->v.stride, kb ? 1.0f : 0.0f, o, d);
    }
    for (size_t r = 0; r < rows; r++) {
        size_t row = s.q0 + r / j->group, h = head * j->group + r % j->group;
        kern->scale(j->o + row * a->o.stride + h * d, o + r * d, d, 1.0f / sum[r]);
        if (j->lse)
            j->lse[row * a->lse.stride + h] = top[r] + logf(sum[r]);
    }
}

/* One block of queries against one block of keys, backward: scores and
 * probabilities again, then dV += P'dO, dS = P (dO V' - D), dQ += dS K,
 * dK += dS'Q. q is scaled, so dK needs no factor; dQ gets it in the end. */
struct back {
    float *q, *go, *gq, *sc, *dp, *lse, *dsum;
};

static void back_block(const struct job *j, const struct span *s, const struct back *t,
                       size_t head, size_t kb, size_t nk)
{
    const struct kj_attn *a = j->a;
    const struct kj_attn_grad *g = j->g;
    size_t rows = s->nq * j->group, d = a->dim, at = s->k0 + kb;
    const float *k = j->k + at * a->k.stride + head * d;
    const float *v = j->v + at * a->v.stride + head * d;
    float *dk = kj_cpu_f32(g->dk) + at * g->dk.stride + head * d;
    float *dv = kj_cpu_f32(g->dv) + at * g->dv.stride + head * d;
    kj_cpu_sgemm(false, true, rows, nk, d, t->q, d, k, a->k.stride, 0.0f, t->sc, KB);
    kj_cpu_sgemm(false, true, rows, nk, d, t->go, d, v, a->v.stride, 0.0f, t->dp, KB);
    for (size_t r = 0; r < rows; r++) {
        size_t n = seen(j, s, r, kb, nk);
        j->cpu->kern->attn_back(t->sc + r * KB, t->dp + r * KB, n, t->lse[r],
                                t->dsum[r]);
        memset(t->sc + r * KB + n, 0, (nk - n) * sizeof(float));
        memset(t->dp + r * KB + n, 0, (nk - n) * sizeof(float));
    }
    kj_cpu_sgemm(true, false, nk, d, rows, t->sc, KB, t->go, d, 1.0f, dv, g->dv.stride);
    kj_cpu_sgemm(true, false, nk, d, rows, t->dp, KB, t->q, d, 1.0f, dk, g->dk.stride);
    kj_cpu_sgemm(false, false, rows, d, nk, t->dp, KB, k, a->k.stride, kb ? 1.0f : 0.0f,
                 t->gq, d);
}

static void backward(void *ctx, size_t task, unsigned worker)
{
    const struct job *j = ctx;
    const struct kj_attn *a = j->a;
    const struct kj_attn_grad *g = j->g;
    const struct kj_kern *kern = j->cpu->kern;
    size_t head = task % a->kv_heads, seg = task / a->kv_heads, d = a->dim;
    size_t most = QB * j->group;
    struct back t;
    t.q = j->cpu->scratch[worker].p;
    t.go = t.q + most * d;
    t.gq = t.go + most * d;
    t.sc = t.gq + most * d;
    t.dp = t.sc + most * KB;
    t.lse = t.dp + most * KB;
    t.dsum = t.lse + most;
    for (int32_t i = a->cu_k[seg]; i < a->cu_k[seg + 1]; i++) {
        size_t at = (size_t)i;
        memset(kj_cpu_f32(g->dk) + at * g->dk.stride + head * d, 0, d * sizeof(float));
        memset(kj_cpu_f32(g->dv) + at * g->dv.stride + head * d, 0, d * sizeof(float));
    }
    for (size_t block = 0; block * QB < rows_len(a->cu_q, seg); block++) {
        struct span s = span_of(a, seg, block);
        size_t rows = s.nq * j->group, end = s.end;
        pack(j, t.q, j->q, a->q.stride, &s, head, a->scale);
        pack(j, t.go, kj_cpu_f32(g->d_o), g->d_o.stride, &s, head, 1.0f);
        for (size_t r = 0; r < rows; r++) {
            size_t row = s.q0 + r / j->group, h = head * j->group + r % j->group;
            t.lse[r] = j->lse[row * a->lse.stride + h];
            t.dsum[r] = kern->dot(t.go + r * d, j->o + row * a->o.stride + h * d, d);
        }
        for (size_t kb = 0; kb < end; kb += KB)
            back_block(j, &s, &t, head, kb, end - kb < KB ? end - kb : KB);
        size_t w = j->group * d;
        for (size_t i = 0; i < s.nq; i++)
            kern->scale(kj_cpu_f32(g->dq) + (s.q0 + i) * g->dq.stride + head * w,
                        t.gq + i * w, w, a->scale);
    }
}

/* Check the shapes and fill what both passes need; false leaves a fault. */
static bool begin(struct kj_backend *b, const struct kj_attn *a, struct job *j)
{
    const char *op = "attention";
    if (a->kv_heads == 0 || a->heads % a->kv_heads != 0) {
        kj_backend_fault(b, op, "%zu heads over %zu key heads", a->heads, a->kv_heads);
        return false;
    }
    for (size_t s = 0; s < a->segs; s++) {
        int32_t lq = a->cu_q[s + 1] - a->cu_q[s], lk = a->cu_k[s + 1] - a->cu_k[s];
        if (lq < 0 || lk < (a->full ? lq > 0 : lq) || a->cu_q[0] < 0 ||
            a->cu_k[0] < 0) {
            kj_backend_fault(b, op, "segment %zu has %d queries and %d keys", s, lq,
                             lk);
            return false;
        }
    }
    size_t nq = a->segs ? (size_t)a->cu_q[a->segs] : 0;
    size_t nk = a->segs ? (size_t)a->cu_k[a->segs] : 0;
    size_t wq = a->heads * a->dim, wk = a->kv_heads * a->dim;
    if (!kj_cpu_inside(b, op, a->q, nq, wq) || !kj_cpu_inside(b, op, a->o, nq, wq) ||
        !kj_cpu_inside(b, op, a->k, nk, wk) || !kj_cpu_inside(b, op, a->v, nk, wk) ||
        (a->lse.t && !kj_cpu_inside(b, op, a->lse, nq, a->heads)))
        return false;
    j->cpu = kj_cpu_of(b);
    j->a = a;
    j->group = a->heads / a->kv_heads;
    j->q = kj_cpu_f32(a->q);
    j->k = kj_cpu_f32(a->k);
    j->v = kj_cpu_f32(a->v);
    j->o = kj_cpu_f32(a->o);
    j->lse = kj_cpu_f32(a->lse);
    size_t most = QB * j->group;
    return kj_cpu_scratch(j->cpu, op, most * (3 * a->dim + 2 * KB + 2), 0);
}

void kj_cpu_attention(struct kj_backend *b, const struct kj_attn *a)
{
    struct job j = {0};
    struct kj_attn now = *a;
    if (a->cu_k_then.t && kj_cpu_inside(b, "attention", a->cu_k_then, 1, a->segs + 1)) {
        now.cu_k = kj_cpu_i32(a->cu_k_then);
        a = &now;
    }
    if (!begin(b, a, &j))
        return;
    j.first = kj_xcalloc(a->segs + 1, sizeof *j.first);
    for (size_t s = 0; s < a->segs; s++)
        j.first[s + 1] = j.first[s] + (rows_len(a->cu_q, s) + QB - 1) / QB;
    kj_pool_run(j.cpu->pool, j.first[a->segs] * a->kv_heads, forward, &j);
    free(j.first);
}

void kj_cpu_attention_back(struct kj_backend *b, const struct kj_attn *a,
                           const struct kj_attn_grad *g)
{
    const char *op = "attention_back";
    struct job j = {.g = g};
    if (!begin(b, a, &j))
        return;
    size_t nq = a->segs ? (size_t)a->cu_q[a->segs] : 0;
    size_t nk = a->segs ? (size_t)a->cu_k[a->segs] : 0;
    size_t wq = a->heads * a->dim, wk = a->kv_heads * a->dim;
    if (!a->lse.t) {
        kj_backend_fault(b, op, "needs lse");
        return;
    }
    if (kj_cpu_inside(b, op, g->d_o, nq, wq) && kj_cpu_inside(b, op, g->dq, nq, wq) &&
        kj_cpu_inside(b, op, g->dk, nk, wk) && kj_cpu_inside(b, op, g->dv, nk, wk))
        kj_pool_run(j.cpu->pool, a->segs * a->kv_heads, backward, &j);
}
