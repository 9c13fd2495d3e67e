/* loss.cu - cross-entropy and distillation: a row of logits a block.
 *
 * Maximum and sum of exponentials are found in one sweep: a thread keeps a running
 * maximum and rescales its sum when that grows (Milakov and Gimelshein 2018); pairs
 * are then joined over lanes and warps. A second sweep writes the gradient over the
 * logits.
 */
#include "nn/cuda/dev.cuh"

#define THREADS 512

/* sum of e^(x - top) */
struct lse {
    float top, sum;
};

KJ_DEV struct lse join(struct lse a, struct lse b)
{
    struct lse c;
    c.top = a.top > b.top ? a.top : b.top;
    c.sum = a.sum * kj_exp(a.top - c.top) + b.sum * kj_exp(b.top - c.top);
    return c;
}

template <int V> KJ_DEV struct lse take(struct lse a, const float *x, float f)
{
    float top = a.top, sum = 0;
    for (int k = 0; k < V; k++)
        top = x[k] * f > top ? x[k] * f : top;
    for (int k = 0; k < V; k++)
        sum += kj_exp(x[k] * f - top);
    a.sum = a.sum * kj_exp(a.top - top) + sum;
    a.top = top;
    return a;
}

/* Of the whole block; sm: 64 floats. Never NaN for threads that saw nothing: their
 * sum is 0 and their top a low but finite number. */
KJ_DEV float block_lse(struct lse a, float *sm)
{
    for (int i = 16; i > 0; i /= 2) {
        struct lse b;
        b.top = __shfl_xor_sync(0xffffffffu, a.top, i);
        b.sum = __shfl_xor_sync(0xffffffffu, a.sum, i);
        /* Both lanes join in the same order, so they agree to the bit. */
        a = threadIdx.x & (unsigned)i ? join(b, a) : join(a, b);
    }
    if (threadIdx.x % 32 == 0) {
        sm[threadIdx.x / 32 * 2] = a.top;
        sm[threadIdx.x / 32 * 2 + 1] = a.sum;
    }
    __syncthreads();
    a.top = sm[0];
    a.sum = sm[1];
    for (unsigned i = 1; i < THREADS / 32; i++) {
        struct lse b = {sm[2 * i], sm[2 * i + 1]};
        a = join(a, b);
    }
    __syncthreads();
    return a.top + logf(a.sum);
}

#define LSE_NONE                                                                       \
    {                                                                                  \
        -3.0e38f, 0.0f                                                                 \
    }

template <class T, int V>
__global__ void k_cross_entropy(T *z, size_t stride, float *loss, float *lse,
                                const int32_t *targets, size_t v, float scale,
                                const float *scale_by, float zeta, bool grad,
                                unsigned long long *flags)
{
    KJ_SHARED(float, sm);
    size_t i = blockIdx.x;
    int32_t y = targets[i];
    T *row = z + i * stride;
    struct lse a = LSE_NONE;
    float x[V];
    if (y >= 0 && (size_t)y >= v) {
        kj_complain(flags, KJ_FLAG_TARGET, i, y);
        return;
    }
    for (size_t j = threadIdx.x * V; j < v; j += THREADS * V) {
        kj_load<V>(x, row + j);
        a = take<V>(a, x, 1.0f);
    }
    float all = block_lse(a, sm);
    if (threadIdx.x == 0) {
        if (lse)
            lse[i] = all;
        loss[i] = y < 0 ? 0.0f : all - kj_get(row[y]);
    }
    if (!grad)
        return;
    __syncthreads(); /* row[y] was read */
    float c = 1.0f + 2.0f * zeta * all;
    scale *= scale_by ? *scale_by : 1.0f;
    for (size_t j = threadIdx.x * V; j < v; j += THREADS * V) {
        kj_load<V>(x, row + j);
        for (int k = 0; k < V; k++) {
            float p = y < 0 ? 0.0f : kj_ce_dz(kj_exp(x[k] - all), c, scale);
            x[k] = y >= 0 && j + (size_t)k == (size_t)y ? p - scale : p;
        }
        kj_store<V>(row + j, x);
    }
}

void kj_cuda_cross_entropy(struct kj_backend *b, struct kj_mat z, struct kj_mat loss,
                           struct kj_mat lse, struct kj_mat targets, size_t n, size_t v,
                           float scale, struct kj_mat scale_by, float zeta, bool grad)
{
    struct kj_cuda *c = kj_cuda_of(b);
    enum kj_dtype type = kj_cuda_type(z);
    if (!kj_cuda_op(c, "cross_entropy", n, v) || !kj_cuda_inside(c, z, type, n, v) ||
        !kj_cuda_inside(c, loss, KJ_F32, 1, n) ||
        !kj_cuda_maybe(c, lse, KJ_F32, 1, n) ||
        !kj_cuda_inside(c, targets, KJ_I32, 1, n) ||
        !kj_cuda_maybe(c, scale_by, KJ_F32, 1, 1))
        return;
    kj_by_type(type, kj_aligned(z, v, kj_wide(type)), [&](auto t, auto w) {
        using T = decltype(t);
        kj_launch(c, k_cross_entropy<T, decltype(w)::v>, n, THREADS, 64 * sizeof(float),
                  kj_ptr<T>(z), z.stride, kj_ptr<float>(loss), kj_ptr<float>(lse),
                  kj_ptr<int32_t>(targets), v, scale, kj_ptr<float>(scale_by), zeta,
                  grad, c->flags);
    });
}

/* With p = softmax(z/T), q = softmax(t/T): d/dz of T^2 sum q (log q - log p) is
 * T (p - q). The hard loss's own terms are added in the same sweep. */
template <class T, int V>
__global__ void k_distil(T *z, size_t sz, const T *t, size_t st, float *loss, float *kl,
                         const int32_t *targets, size_t v, struct kj_distil q,
                         const float *scale_by, unsigned long long *flags)
{
    KJ_SHARED(float, sm);
    size_t i = blockIdx.x;
    int32_t y = targets[i];
    T *row = z + i * sz;
    const T *soft = t + i * st;
    struct lse a = LSE_NONE, az = LSE_NONE, at = LSE_NONE;
    float x[V], u[V], inv = 1.0f / q.temperature, hard = 1.0f - q.weight, sum = 0;
    if (y >= 0 && (size_t)y >= v) {
        kj_complain(flags, KJ_FLAG_TARGET, i, y);
        return;
    }
    for (size_t j = threadIdx.x * V; j < v; j += THREADS * V) {
        kj_load<V>(x, row + j);
        kj_load<V>(u, soft + j);
        a = take<V>(a, x, 1.0f);
        az = take<V>(az, x, inv);
        at = take<V>(at, u, inv);
    }
    float all = block_lse(a, sm), all_z = block_lse(az, sm), all_t = block_lse(at, sm);
    if (threadIdx.x == 0)
        loss[i] = y < 0 ? 0.0f : all - kj_get(row[y]);
    __syncthreads(); /* row[y] was read */
    q.scale *= scale_by ? *scale_by : 1.0f;
    float c = q.scale * (hard + 2.0f * q.zeta * all);
    float d = q.scale * q.weight * q.temperature;
    for (size_t j = threadIdx.x * V; j < v; j += THREADS * V) {
        kj_load<V>(x, row + j);
        kj_load<V>(u, soft + j);
        for (int k = 0; k < V; k++) {
            float lp = x[k] * inv - all_z, lq = u[k] * inv - all_t, p = kj_exp(lq);
            float g = c * kj_exp(x[k] - all) + d * (kj_exp(lp) - p);
            sum += p * (lq - lp);
            g = j + (size_t)k == (size_t)y ? g - q.scale * hard : g;
            x[k] = y < 0 ? 0.0f : g;
        }
        kj_store<V>(row + j, x);
    }
    sum = kj_block_sum(sum, sm);
    if (threadIdx.x == 0)
        kl[i] = y < 0 ? 0.0f : q.temperature * q.temperature * sum;
}

void kj_cuda_distil(struct kj_backend *b, struct kj_mat z, struct kj_mat t,
                    struct kj_mat loss, struct kj_mat kl, struct kj_mat targets,
                    size_t n, size_t v, const struct kj_distil *p)
{
    struct kj_cuda *c = kj_cuda_of(b);
    enum kj_dtype type = kj_cuda_type(z);
    if (!kj_cuda_op(c, "distil", n, v) || !kj_cuda_inside(c, z, type, n, v) ||
        !kj_cuda_inside(c, t, type, n, v) || !kj_cuda_inside(c, loss, KJ_F32, 1, n) ||
        !kj_cuda_inside(c, kl, KJ_F32, 1, n) ||
        !kj_cuda_inside(c, targets, KJ_I32, 1, n) ||
        !kj_cuda_maybe(c, p->scale_by, KJ_F32, 1, 1))
        return;
    kj_by_type(type, kj_all_aligned(v, kj_wide(type), z, t), [&](auto e, auto w) {
        using T = decltype(e);
        kj_launch(c, k_distil<T, decltype(w)::v>, n, THREADS, 64 * sizeof(float),
                  kj_ptr<T>(z), z.stride, kj_ptr<T>(t), t.stride, kj_ptr<float>(loss),
                  kj_ptr<float>(kl), kj_ptr<int32_t>(targets), v, *p,
                  kj_ptr<float>(p->scale_by), c->flags);
    });
}
