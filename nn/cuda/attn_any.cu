/* attn_any.cu - attention of any head length up to 256, float32 or bfloat16.
 *
 * The plain path: a warp for each query and head (backward also one for each key
 * and key head), 32 keys at a time, a lane each for the scores and for the head's
 * elements afterwards. Sums in float32. It is for what the fast paths do not take,
 * odd head lengths and float32, and is what they are compared with.
 *
 * Backward goes over the scores twice, once by queries for dQ and once by keys for dK
 * and dV, so that nothing is added by two warps and the bits are always the same.
 */
#include "nn/cuda/attn.cuh"

#define WARPS 4
#define SLOTS 8 /* elements of a head that a lane holds: heads of 32 * 8 at most */

/* A call's shape and pointers, as the kernels take them. */
template <class T> struct call {
    const T *q, *k, *v, *o, *d_o;
    T *to, *dq, *dk, *dv;
    float *lse;
    const float *dsum;
    size_t sq, sk, sv, so, sl, sdo, sdq, sdk, sdv;
    unsigned heads, kv_heads, dim;
    float scale;
    struct kj_attn_segs seg;
    int32_t first_q, first_k;
    size_t nq, nk;
};

template <class T> KJ_DEV float dot(const float *a, const T *b, unsigned n)
{
    float sum = 0;
    for (unsigned i = 0; i < n; i++)
        sum += a[i] * kj_get(b[i]);
    return sum;
}

template <class T> KJ_DEV void copy(float *to, const T *from, unsigned n)
{
    for (unsigned i = threadIdx.x % 32; i < n; i += 32)
        to[i] = kj_get(from[i]);
}

/* acc += sum over j < n of w[j] times row j of x, a head long */
template <class T>
KJ_DEV void add_rows(float *acc, const float *w, const T *x, size_t stride, unsigned n,
                     unsigned dim)
{
    unsigned lane = threadIdx.x % 32;
    for (unsigned j = 0; j < n; j++)
#pragma unroll
        for (unsigned t = 0; t < SLOTS; t++)
            if (t * 32 + lane < dim)
                acc[t] += w[j] * kj_get(x[j * stride + t * 32 + lane]);
}

template <class T> KJ_DEV void put(T *to, const float *acc, float f, unsigned dim)
{
    unsigned lane = threadIdx.x % 32;
#pragma unroll
    for (unsigned t = 0; t < SLOTS; t++)
        if (t * 32 + lane < dim)
            kj_set(&to[t * 32 + lane], acc[t] * f);
}

/* First key, and how many the query sees. */
KJ_DEV void keys_of(const struct kj_attn_segs &s, int32_t row, int32_t *k0, int32_t *n)
{
    unsigned i = kj_segment(s.cu_q, s.segs, row);
    int32_t lk = s.cu_k[i + 1] - s.cu_k[i];
    *k0 = s.cu_k[i];
    *n = s.full ? lk : lk - (s.cu_q[i + 1] - 1 - row);
}

template <class T> __global__ void k_forward(struct call<T> c)
{
    KJ_SHARED(float, sm);
    unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    size_t at = (size_t)blockIdx.x * WARPS + warp;
    float *q = sm + warp * (c.dim + 32), *p = q + c.dim;
    float acc[SLOTS] = {0}, top = -3.0e38f, sum = 0;
    int32_t k0, n;
    if (at >= c.nq * c.heads)
        return;
    size_t row = (size_t)c.first_q + at / c.heads, head = at % c.heads;
    size_t kh = head / (c.heads / c.kv_heads);
    copy(q, c.q + row * c.sq + head * c.dim, c.dim);
    keys_of(c.seg, (int32_t)row, &k0, &n);
    __syncwarp();
    for (int32_t b = 0; b < n; b += 32) {
        unsigned m = n - b < 32 ? (unsigned)(n - b) : 32;
        size_t first = (size_t)(k0 + b);
        float s = -3.0e38f;
        if (lane < m)
            s = c.scale * dot(q, c.k + (first + lane) * c.sk + kh * c.dim, c.dim);
        float now = kj_warp_max(s), fix;
        now = now > top ? now : top;
        fix = b == 0 ? 0.0f : kj_exp(top - now);
        s = lane < m ? kj_exp(s - now) : 0.0f;
        p[lane] = s;
        sum = sum * fix + kj_warp_sum(s);
        top = now;
        __syncwarp();
        for (unsigned t = 0; t < SLOTS; t++)
            acc[t] *= fix;
        add_rows(acc, p, c.v + first * c.sv + kh * c.dim, c.sv, m, c.dim);
        __syncwarp();
    }
    put(c.to + row * c.so + head * c.dim, acc, 1.0f / sum, c.dim);
    if (lane == 0 && c.lse)
        c.lse[row * c.sl + head] = top + logf(sum);
}

/* dQ: the probabilities again from lse; dS = P (dO V' - dsum). */
template <class T> __global__ void k_back_q(struct call<T> c)
{
    KJ_SHARED(float, sm);
    unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    size_t at = (size_t)blockIdx.x * WARPS + warp;
    float *q = sm + warp * (2 * c.dim + 32), *go = q + c.dim, *ds = go + c.dim;
    float acc[SLOTS] = {0};
    int32_t k0, n;
    if (at >= c.nq * c.heads)
        return;
    size_t row = (size_t)c.first_q + at / c.heads, head = at % c.heads;
    size_t kh = head / (c.heads / c.kv_heads);
    copy(q, c.q + row * c.sq + head * c.dim, c.dim);
    copy(go, c.d_o + row * c.sdo + head * c.dim, c.dim);
    float lse = c.lse[row * c.sl + head], dsum = c.dsum[row * c.heads + head];
    keys_of(c.seg, (int32_t)row, &k0, &n);
    __syncwarp();
    for (int32_t b = 0; b < n; b += 32) {
        unsigned m = n - b < 32 ? (unsigned)(n - b) : 32;
        size_t first = (size_t)(k0 + b);
        if (lane < m) {
            size_t j = first + lane;
            float s = c.scale * dot(q, c.k + j * c.sk + kh * c.dim, c.dim);
            float dp = dot(go, c.v + j * c.sv + kh * c.dim, c.dim);
            ds[lane] = kj_exp(s - lse) * (dp - dsum);
        }
        __syncwarp();
        add_rows(acc, ds, c.k + first * c.sk + kh * c.dim, c.sk, m, c.dim);
        __syncwarp();
    }
    put(c.dq + row * c.sdq + head * c.dim, acc, c.scale, c.dim);
}

/* dK and dV of one key: over the queries that see it, head by head of its group. */
template <class T> __global__ void k_back_k(struct call<T> c)
{
    KJ_SHARED(float, sm);
    unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    unsigned group = c.heads / c.kv_heads;
    size_t at = (size_t)blockIdx.x * WARPS + warp;
    float *k = sm + warp * (2 * c.dim + 64), *v = k + c.dim, *ds = v + c.dim,
          *p = ds + 32;
    float dk[SLOTS] = {0}, dv[SLOTS] = {0};
    if (at >= c.nk * c.kv_heads)
        return;
    size_t row = (size_t)c.first_k + at / c.kv_heads, kh = at % c.kv_heads;
    unsigned i = kj_segment(c.seg.cu_k, c.seg.segs, (int32_t)row);
    int32_t q0 = c.seg.cu_q[i], q1 = c.seg.cu_q[i + 1];
    int32_t ahead = (c.seg.cu_k[i + 1] - c.seg.cu_k[i]) - (q1 - q0);
    int32_t from = (int32_t)row - c.seg.cu_k[i] - ahead;
    copy(k, c.k + row * c.sk + kh * c.dim, c.dim);
    copy(v, c.v + row * c.sv + kh * c.dim, c.dim);
    __syncwarp();
    for (unsigned g = 0; g < group; g++) {
        size_t head = kh * group + g;
        for (int32_t b = q0 + (c.seg.full || from < 0 ? 0 : from); b < q1; b += 32) {
            unsigned m = q1 - b < 32 ? (unsigned)(q1 - b) : 32;
            if (lane < m) {
                size_t j = (size_t)b + lane;
                float s = c.scale * dot(k, c.q + j * c.sq + head * c.dim, c.dim);
                float dp = dot(v, c.d_o + j * c.sdo + head * c.dim, c.dim);
                float e = kj_exp(s - c.lse[j * c.sl + head]);
                p[lane] = e;
                ds[lane] = e * (dp - c.dsum[j * c.heads + head]);
            }
            __syncwarp();
            add_rows(dk, ds, c.q + (size_t)b * c.sq + head * c.dim, c.sq, m, c.dim);
            add_rows(dv, p, c.d_o + (size_t)b * c.sdo + head * c.dim, c.sdo, m, c.dim);
            __syncwarp();
        }
    }
    put(c.dk + row * c.sdk + kh * c.dim, dk, c.scale, c.dim);
    put(c.dv + row * c.sdv + kh * c.dim, dv, 1.0f, c.dim);
}

static bool takes(struct kj_cuda *, const struct kj_attn *a,
                  const struct kj_attn_grad *, enum kj_dtype)
{
    return a->dim <= 32 * SLOTS;
}

template <class T>
static struct call<T> call_of(const struct kj_attn *a, const struct kj_attn_segs *s) {
    struct call<T> c = {
    };
    c.q = kj_ptr<T>(a->q);
    c.k = kj_ptr<T>(a->k);
    c.v = kj_ptr<T>(a->v);
    c.o = c.to = kj_ptr<T>(a->o);
    c.lse = kj_ptr<float>(a->lse);
    c.sq = a->q.stride;
    c.sk = a->k.stride;
    c.sv = a->v.stride;
    c.so = a->o.stride;
    c.sl = a->lse.stride;
    c.heads = (unsigned)a->heads;
    c.kv_heads = (unsigned)a->kv_heads;
    c.dim = (unsigned)a->dim;
    c.scale = a->scale;
    c.seg = *s;
    c.first_q = a->cu_q[0];
    c.first_k = a->cu_k[0];
    c.nq = (size_t)(a->cu_q[a->segs] - a->cu_q[0]);
    c.nk = (size_t)(a->cu_k[a->segs] - a->cu_k[0]);
    return c;
}

template <class T>
static void forward_of(struct kj_cuda *c, const struct kj_attn *a,
                       const struct kj_attn_segs *s)
{
    struct call<T> t = call_of<T>(a, s);
    kj_launch(c, k_forward<T>, kj_ceil(t.nq * t.heads, WARPS), WARPS * 32,
              WARPS * (t.dim + 32) * sizeof(float), t);
}

static void forward(struct kj_cuda *c, const struct kj_attn *a,
                    const struct kj_attn_segs *s, enum kj_dtype type)
{
    if (type == KJ_BF16)
        forward_of<struct kj_bf16>(c, a, s);
    else
        forward_of<float>(c, a, s);
}

template <class T>
static void backward_of(struct kj_cuda *c, const struct kj_attn *a,
                        const struct kj_attn_grad *g, const struct kj_attn_segs *s,
                        const float *dsum)
{
    struct call<T> t = call_of<T>(a, s);
    t.d_o = kj_ptr<T>(g->d_o);
    t.dq = kj_ptr<T>(g->dq);
    t.dk = kj_ptr<T>(g->dk);
    t.dv = kj_ptr<T>(g->dv);
    t.sdo = g->d_o.stride;
    t.sdq = g->dq.stride;
    t.sdk = g->dk.stride;
    t.sdv = g->dv.stride;
    t.dsum = dsum;
    kj_launch(c, k_back_q<T>, kj_ceil(t.nq * t.heads, WARPS), WARPS * 32,
              WARPS * (2 * t.dim + 32) * sizeof(float), t);
    kj_launch(c, k_back_k<T>, kj_ceil(t.nk * t.kv_heads, WARPS), WARPS * 32,
              WARPS * (2 * t.dim + 64) * sizeof(float), t);
}

static void backward(struct kj_cuda *c, const struct kj_attn *a,
                     const struct kj_attn_grad *g, const struct kj_attn_segs *s,
                     const float *dsum, enum kj_dtype type)
{
    if (type == KJ_BF16)
        backward_of<struct kj_bf16>(c, a, g, s, dsum);
    else
        backward_of<float>(c, a, g, s, dsum);
}

extern const struct kj_attn_path kj_attn_any;
const struct kj_attn_path kj_attn_any = {"any", true, takes, forward, backward};
