/* norm.cu - RMSNorm and LayerNorm, one row a block, the row kept in shared memory.
 *
 * The gradient by the weights is a sum over rows. A block takes NORM_ROWS rows one
 * after the other and leaves its part; the parts are summed by kj_cuda_colsum in
 * order. So it does not depend on how many blocks run at a time.
 */
#include "nn/cuda/dev.cuh"

#define THREADS   256
#define NORM_ROWS KJ_CUDA_NORM_ROWS

template <class T, int V>
__global__ void k_norm(T *y, size_t sy, T *s, size_t ss, float *r, const T *x,
                       size_t sx, const T *delta, size_t sd, const T *w, size_t h,
                       float eps, uint32_t *most)
{
    KJ_SHARED(float, sm);
    float *row = sm + 32, a[V], b[V], sum = 0;
    uint32_t bits = 0;
    size_t i = blockIdx.x;
    for (size_t j = threadIdx.x * V; j < h; j += THREADS * V) {
        kj_load<V>(a, x + i * sx + j);
        if (delta) {
            kj_load<V>(b, delta + i * sd + j);
            for (int k = 0; k < V; k++)
                a[k] = kj_rounded<T>(a[k] + b[k]);
            kj_store<V>(s + i * ss + j, a);
        }
        for (int k = 0; k < V; k++) {
            row[j + (size_t)k] = a[k];
            sum += a[k] * a[k];
        }
    }
    float q = 1.0f / sqrtf(kj_block_sum(sum, sm) / (float)h + eps);
    for (size_t j = threadIdx.x * V; j < h; j += THREADS * V) {
        kj_load<V>(b, w + j);
        for (int k = 0; k < V; k++)
            a[k] = b[k] * (row[j + (size_t)k] * q);
        kj_store<V>(y + i * sy + j, a);
        bits = kj_most_of<V>(bits, a);
    }
    if (threadIdx.x == 0)
        r[i] = q;
    if (most)
        kj_raise<T>(most, bits, reinterpret_cast<uint32_t *>(sm));
}

void kj_cuda_norm(struct kj_backend *b, struct kj_mat y, struct kj_mat s,
                  struct kj_mat r, struct kj_mat x, struct kj_mat delta,
                  struct kj_mat w, size_t n, size_t h, float eps)
{
    struct kj_cuda *c = kj_cuda_of(b);
    enum kj_dtype type = kj_cuda_type(y);
    struct kj_mat most = kj_backend_take_most(b);
    if (!kj_cuda_op(c, "norm", n, h) || !kj_cuda_inside(c, y, type, n, h) ||
        !kj_cuda_maybe(c, most, KJ_F32, 1, 1) || !kj_cuda_inside(c, r, KJ_F32, 1, n) ||
        !kj_cuda_inside(c, x, type, n, h) || !kj_cuda_inside(c, w, type, 1, h) ||
        (delta.t &&
         (!kj_cuda_inside(c, delta, type, n, h) || !kj_cuda_inside(c, s, type, n, h))))
        return;
    if (!delta.t)
        s.t = NULL;
    w.stride = h;
    kj_by_type(type, kj_all_aligned(h, kj_wide(type), y, s, x, delta, w),
               [&](auto t, auto v) {
                   using T = decltype(t);
                   kj_launch(c, k_norm<T, decltype(v)::v>, n, THREADS,
                             (32 + h) * sizeof(float), kj_ptr<T>(y), y.stride,
                             kj_ptr<T>(s), s.stride, kj_ptr<float>(r), kj_ptr<T>(x),
                             x.stride, kj_ptr<T>(delta), delta.stride, kj_ptr<T>(w), h,
                             eps, kj_ptr<uint32_t>(most));
               });
}

/* Each thread adds to its own columns of `part`, so they need no barrier. */
template <class T, int V>
__global__ void k_norm_back(T *dx, size_t sx, float *part, const T *dy, size_t sy,
                            const T *s, size_t ss, const float *r, const T *w, size_t n,
                            size_t h, bool add, uint32_t *most)
{
    KJ_SHARED(float, sm);
    uint32_t bits = 0;
    float *dw = sm + 32, d[V], u[V], g[V], old[V];
    size_t i = (size_t)blockIdx.x * NORM_ROWS;
    size_t end = i + NORM_ROWS < n ? i + NORM_ROWS : n;
    for (size_t j = threadIdx.x * V; j < h; j += THREADS * V)
        for (int k = 0; k < V; k++)
            dw[j + (size_t)k] = 0.0f;
    for (; i < end; i++) {
        float sum = 0, q = r[i];
        for (size_t j = threadIdx.x * V; j < h; j += THREADS * V) {
            kj_load<V>(d, dy + i * sy + j);
            kj_load<V>(u, s + i * ss + j);
            kj_load<V>(g, w + j);
            for (int k = 0; k < V; k++) {
                sum += g[k] * d[k] * u[k];
                dw[j + (size_t)k] += d[k] * (u[k] * q);
            }
        }
        float c = q * q * q / (float)h * kj_block_sum(sum, sm);
        for (size_t j = threadIdx.x * V; j < h; j += THREADS * V) {
            kj_load<V>(d, dy + i * sy + j);
            kj_load<V>(u, s + i * ss + j);
            kj_load<V>(g, w + j);
            if (add)
                kj_load<V>(old, dx + i * sx + j);
            for (int k = 0; k < V; k++) {
                float e = kj_norm_dx(d[k], g[k], u[k], q, c);
                d[k] = add ? old[k] + e : e;
            }
            kj_store<V>(dx + i * sx + j, d);
            bits = kj_most_of<V>(bits, d);
        }
    }
    for (size_t j = threadIdx.x * V; j < h; j += THREADS * V)
        kj_store<V>(part + (size_t)blockIdx.x * h + j, &dw[j]);
    if (most)
        kj_raise<T>(most, bits, reinterpret_cast<uint32_t *>(sm));
}

void kj_cuda_norm_back(struct kj_backend *b, struct kj_mat dx, struct kj_mat dw,
                       struct kj_mat dy, struct kj_mat s, struct kj_mat r,
                       struct kj_mat w, size_t n, size_t h, bool add)
{
    struct kj_cuda *c = kj_cuda_of(b);
    enum kj_dtype type = kj_cuda_type(dx);
    size_t parts = kj_ceil(n, NORM_ROWS);
    struct kj_mat most = kj_backend_take_most(b);
    if (n == 0 || h == 0 || !kj_cuda_op(c, "norm_back", n, h) ||
        !kj_cuda_maybe(c, most, KJ_F32, 1, 1) || !kj_cuda_inside(c, dx, type, n, h) ||
        !kj_cuda_inside(c, dy, type, n, h) || !kj_cuda_inside(c, s, type, n, h) ||
        !kj_cuda_inside(c, r, KJ_F32, 1, n) || !kj_cuda_inside(c, w, type, 1, h) ||
        !kj_cuda_inside(c, dw, kj_cuda_type(dw), 1, h))
        return;
    float *part =
        (float *)kj_cuda_scratch(c, &c->scratch, kj_cuda_norm_ws(n, h) * sizeof *part);
    if (!part)
        return;
    w.stride = h;
    kj_by_type(type, kj_all_aligned(h, kj_wide(type), dx, dy, s, w),
               [&](auto t, auto v) {
                   using T = decltype(t);
                   kj_launch(c, k_norm_back<T, decltype(v)::v>, parts, THREADS,
                             (32 + h) * sizeof(float), kj_ptr<T>(dx), dx.stride, part,
                             kj_ptr<T>(dy), dy.stride, kj_ptr<T>(s), s.stride,
                             kj_ptr<float>(r), kj_ptr<T>(w), n, h, add,
                             kj_ptr<uint32_t>(most));
               });
    kj_cuda_colsum(c, dw, part, KJ_F32, h, parts, h, part + parts * h);
}

template <class T, int V>
__global__ void k_layer_norm(T *y, size_t sy, const T *x, size_t sx, const T *delta,
                             size_t sd, const T *bias, const T *w, const T *c, size_t h,
                             float eps)
{
    KJ_SHARED(float, sm);
    float *row = sm + 32, a[V], b[V], sum = 0;
    size_t i = blockIdx.x;
    for (size_t j = threadIdx.x * V; j < h; j += THREADS * V) {
        kj_load<V>(a, x + i * sx + j);
        if (delta) {
            kj_load<V>(b, delta + i * sd + j);
            for (int k = 0; k < V; k++)
                a[k] += b[k];
        }
        if (bias) {
            kj_load<V>(b, bias + j);
            for (int k = 0; k < V; k++)
                a[k] += b[k];
        }
        for (int k = 0; k < V; k++) {
            row[j + (size_t)k] = a[k];
            sum += a[k];
        }
    }
    float mean = kj_block_sum(sum, sm) / (float)h;
    sum = 0;
    for (size_t j = threadIdx.x * V; j < h; j += THREADS * V)
        for (int k = 0; k < V; k++) {
            float d = row[j + (size_t)k] - mean;
            sum += d * d;
        }
    float q = 1.0f / sqrtf(kj_block_sum(sum, sm) / (float)h + eps);
    for (size_t j = threadIdx.x * V; j < h; j += THREADS * V) {
        kj_load<V>(a, w + j);
        kj_load<V>(b, c + j);
        for (int k = 0; k < V; k++)
            a[k] = a[k] * ((row[j + (size_t)k] - mean) * q) + b[k];
        kj_store<V>(y + i * sy + j, a);
    }
}

/* Rows of up to 32 * V * PACKS: a warp each, the row in its registers. With 768
 * bfloat16 a block a row has work for 96 of its 256 threads, and four barriers. */
#define PACKS 4
#define WARPS 4

template <class T, int V>
__global__ void k_layer_norm_row(T *y, size_t sy, const T *x, size_t sx, const T *delta,
                                 size_t sd, const T *bias, const T *w, const T *c,
                                 size_t n, size_t h, float eps)
{
    size_t i = (size_t)blockIdx.x * WARPS + threadIdx.x / 32;
    size_t lane = threadIdx.x % 32 * V;
    float row[PACKS][V], a[V], b[V], sum = 0;
    if (i >= n)
        return;
#pragma unroll
    for (int p = 0; p < PACKS; p++) {
        size_t j = lane + (size_t)p * 32 * V;
        bool in = j < h;
        for (int k = 0; k < V; k++)
            row[p][k] = 0;
        if (in)
            kj_load<V>(row[p], x + i * sx + j);
        if (in && delta) {
            kj_load<V>(b, delta + i * sd + j);
            for (int k = 0; k < V; k++)
                row[p][k] += b[k];
        }
        if (in && bias) {
            kj_load<V>(b, bias + j);
            for (int k = 0; k < V; k++)
                row[p][k] += b[k];
        }
        for (int k = 0; k < V; k++)
            sum += row[p][k];
    }
    float mean = kj_warp_sum(sum) / (float)h;
    sum = 0;
#pragma unroll
    for (int p = 0; p < PACKS; p++)
        for (int k = 0; k < V; k++) {
            float d = row[p][k] - mean;
            sum += lane + (size_t)p * 32 * V < h ? d * d : 0;
        }
    float q = 1.0f / sqrtf(kj_warp_sum(sum) / (float)h + eps);
#pragma unroll
    for (int p = 0; p < PACKS; p++) {
        size_t j = lane + (size_t)p * 32 * V;
        if (j >= h)
            break;
        kj_load<V>(a, w + j);
        kj_load<V>(b, c + j);
        for (int k = 0; k < V; k++)
            a[k] = a[k] * ((row[p][k] - mean) * q) + b[k];
        kj_store<V>(y + i * sy + j, a);
    }
}

void kj_cuda_layer_norm(struct kj_backend *b, struct kj_mat y, struct kj_mat x,
                        struct kj_mat delta, struct kj_mat bias, struct kj_mat w,
                        struct kj_mat cc, size_t n, size_t h, float eps)
{
    struct kj_cuda *c = kj_cuda_of(b);
    enum kj_dtype type = kj_cuda_type(y);
    if (!kj_cuda_op(c, "layer_norm", n, h) || !kj_cuda_inside(c, y, type, n, h) ||
        !kj_cuda_inside(c, x, type, n, h) || !kj_cuda_maybe(c, delta, type, n, h) ||
        !kj_cuda_maybe(c, bias, type, 1, h) || !kj_cuda_inside(c, w, type, 1, h) ||
        !kj_cuda_inside(c, cc, type, 1, h))
        return;
    bias.stride = w.stride = cc.stride = h;
    kj_by_type(type, kj_all_aligned(h, kj_wide(type), y, x, delta, bias, w, cc),
               [&](auto t, auto v) {
                   using T = decltype(t);
                   const int V = decltype(v)::v;
                   if (h <= 32 * V * PACKS)
                       kj_launch(c, k_layer_norm_row<T, V>, kj_ceil(n, WARPS),
                                 32 * WARPS, 0, kj_ptr<T>(y), y.stride, kj_ptr<T>(x),
                                 x.stride, kj_ptr<T>(delta), delta.stride,
                                 kj_ptr<T>(bias), kj_ptr<T>(w), kj_ptr<T>(cc), n, h,
                                 eps);
                   else
                       kj_launch(c, k_layer_norm<T, V>, n, THREADS,
                                 (32 + h) * sizeof(float), kj_ptr<T>(y), y.stride,
                                 kj_ptr<T>(x), x.stride, kj_ptr<T>(delta), delta.stride,
                                 kj_ptr<T>(bias), kj_ptr<T>(w), kj_ptr<T>(cc), h, eps);
               });
}
