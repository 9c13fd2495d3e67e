/* optim.cu - the optimizer's step. */
#include "nn/cuda/dev.cuh"

template <int V>
__global__ void k_adamw(float *w, const float *g, float *m, float *v, size_t n,
                        struct kj_adamw q)
{
    size_t i = ((size_t)blockIdx.x * blockDim.x + threadIdx.x) * V;
    float a[V], d[V], mi[V], vi[V];
    if (i >= n)
        return;
    kj_load<V>(a, w + i);
    kj_load<V>(d, g + i);
    kj_load<V>(mi, m + i);
    kj_load<V>(vi, v + i);
    for (int k = 0; k < V; k++) {
        float e = d[k] * q.grad_scale;
        mi[k] = kj_ema(mi[k], e, q.beta1);
        vi[k] = kj_ema(vi[k], e * e, q.beta2);
        a[k] = kj_adamw_w(a[k], mi[k], sqrtf(vi[k] * q.fix2), q.lr, q.eps, q.decay,
                          q.fix1);
    }
    kj_store<V>(w + i, a);
    kj_store<V>(m + i, mi);
    kj_store<V>(v + i, vi);
}

/* As nn/cpu/adamw_bf16.c, to the bit. An element costs 14 bytes, half of k_adamw's, and
 * 108 instructions of an H100, most of them for random bits, the exact root and the exact
 * quotient; its memory is busy as long as some 140 take (docs/gpu.md; counted, not
 * measured), so 8e9 elements should take some 40 ms. */
template <int V>
__global__ void k_adamw_low(struct kj_bf16 *w, const struct kj_bf16 *g,
                            struct kj_bf16 *m, struct kj_bf16 *v, size_t n,
                            struct kj_adamw q)
{
    typedef kj_pack<struct kj_bf16, V> pack;
    size_t i = ((size_t)blockIdx.x * blockDim.x + threadIdx.x) * V;
    if (i >= n)
        return;
    pack wi = *reinterpret_cast<pack *>(w + i), mi = *reinterpret_cast<pack *>(m + i),
         vi = *reinterpret_cast<pack *>(v + i);
    const pack gi = *reinterpret_cast<const pack *>(g + i);
#pragma unroll
    for (int k = 0; k < V; k++) {
        uint64_t r = kj_random64(q.key, q.at + i + (size_t)k);
        float d = kj_mul(kj_from_bf16(gi.v[k]), q.grad_scale);
        float a = kj_ema_low(mi.v[k], d, q.beta1);
        float e = kj_ema_low(vi.v[k], kj_mul(d, d), q.beta2);
        float x = kj_adamw_low(wi.v[k], a, sqrtf(kj_mul(e, q.fix2)), q.lr, q.eps,
                               q.decay, q.fix1);
        uint32_t low = (uint32_t)r, high = (uint32_t)(r >> 32);
        wi.v[k] = kj_to_bf16_by(x, low);
        mi.v[k] = kj_to_bf16_by(a, low >> 16);
        vi.v[k] = kj_to_bf16_by(e, high);
    }
    *reinterpret_cast<pack *>(w + i) = wi;
    *reinterpret_cast<pack *>(m + i) = mi;
    *reinterpret_cast<pack *>(v + i) = vi;
}

template <int V>
static void adamw_bf16(struct kj_cuda *c, struct kj_mat w, struct kj_mat g,
                       struct kj_mat m, struct kj_mat v, size_t from, size_t end,
                       struct kj_adamw p)
{
    p.at += from;
    kj_launch(c, k_adamw_low<V>, kj_ceil(end - from, V * 256), 256, 0,
              kj_ptr<struct kj_bf16>(w) + from, kj_ptr<struct kj_bf16>(g) + from,
              kj_ptr<struct kj_bf16>(m) + from, kj_ptr<struct kj_bf16>(v) + from,
              end - from, p);
}

void kj_cuda_adamw(struct kj_backend *b, struct kj_mat w, struct kj_mat g,
                   struct kj_mat m, struct kj_mat v, size_t n, const struct kj_adamw *p)
{
    struct kj_cuda *c = kj_cuda_of(b);
    enum kj_dtype type = kj_cuda_type(w);
    if (!kj_cuda_op(c, "adamw", n) || !kj_cuda_inside(c, w, type, 1, n) ||
        !kj_cuda_inside(c, g, type, 1, n) || !kj_cuda_inside(c, m, type, 1, n) ||
        !kj_cuda_inside(c, v, type, 1, n))
        return;
    w.stride = g.stride = m.stride = v.stride = 8;
    if (type == KJ_BF16) {
        size_t most = kj_all_aligned(8, 8, w, g, m, v) ? n / 8 * 8 : 0;
        adamw_bf16<8>(c, w, g, m, v, 0, most, *p);
        adamw_bf16<1>(c, w, g, m, v, most, n, *p);
        return;
    }
    size_t wide = kj_all_aligned(4, 4, w, g, m, v) ? n / 4 * 4 : 0;
    kj_launch(c, k_adamw<4>, kj_ceil(wide, 4 * 256), 256, 0, kj_ptr<float>(w),
              kj_ptr<float>(g), kj_ptr<float>(m), kj_ptr<float>(v), wide, *p);
    kj_launch(c, k_adamw<1>, kj_ceil(n - wide, 256), 256, 0, kj_ptr<float>(w) + wide,
              kj_ptr<float>(g) + wide, kj_ptr<float>(m) + wide, kj_ptr<float>(v) + wide,
              n - wide, *p);
}
