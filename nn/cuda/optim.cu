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

void kj_cuda_adamw(struct kj_backend *b, struct kj_mat w, struct kj_mat g,
                   struct kj_mat m, struct kj_mat v, size_t n, const struct kj_adamw *p)
{
    struct kj_cuda *c = kj_cuda_of(b);
    if (!kj_cuda_op(c, "adamw", n) || !kj_cuda_inside(c, w, KJ_F32, 1, n) ||
        !kj_cuda_inside(c, g, KJ_F32, 1, n) || !kj_cuda_inside(c, m, KJ_F32, 1, n) ||
        !kj_cuda_inside(c, v, KJ_F32, 1, n))
        return;
    w.stride = g.stride = m.stride = v.stride = 4;
    size_t wide = kj_all_aligned(4, 4, w, g, m, v) ? n / 4 * 4 : 0;
    kj_launch(c, k_adamw<4>, kj_ceil(wide, 4 * 256), 256, 0, kj_ptr<float>(w),
              kj_ptr<float>(g), kj_ptr<float>(m), kj_ptr<float>(v), wide, *p);
    kj_launch(c, k_adamw<1>, kj_ceil(n - wide, 256), 256, 0, kj_ptr<float>(w) + wide,
              kj_ptr<float>(g) + wide, kj_ptr<float>(m) + wide, kj_ptr<float>(v) + wide,
              n - wide, *p);
}
