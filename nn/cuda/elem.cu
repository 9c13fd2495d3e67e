/* elem.cu - operations on single elements, and sums over columns or all. */
#include "nn/cuda/dev.cuh"

/* ---- y = a x + b y ---- */

/* CHANCE: y is rounded by it, with this key and y's place in its tensor. */
template <class TY, class TX, int V, bool CHANCE>
__global__ void k_axpby(TY *y, const TX *x, size_t n, float a, float b, uint64_t key,
                        size_t at)
{
    size_t i = ((size_t)blockIdx.x * blockDim.x + threadIdx.x) * V;
    float u[V], w[V];
    if constexpr (CHANCE) {
        static_assert(V == 1);
        if (i < n)
            y[i] = kj_to_bf16_by(a * kj_get(x[i]) + b * kj_get(y[i]),
                                 kj_chance16(key, at + i));
        return;
    }
    if (i + V <= n) {
        kj_load<V>(u, x + i);
        if (b != 0.0f)
            kj_load<V>(w, y + i);
        for (int j = 0; j < V; j++)
            w[j] = b == 0.0f ? a * u[j] : a * u[j] + b * w[j];
        kj_store<V>(y + i, w);
        return;
    }
#pragma unroll 1
    for (; i < n; i++)
        kj_set(&y[i],
               b == 0.0f ? a * kj_get(x[i]) : a * kj_get(x[i]) + b * kj_get(y[i]));
}

template <class TY, class TX>
static void axpby(struct kj_cuda *c, struct kj_mat y, struct kj_mat x, size_t n,
                  float a, float b)
{
    uint64_t key = c->base.chance;
    x.stride = y.stride = 8; /* one run: only where it starts counts */
    if (sizeof(TY) == 2 && key && b != 0.0f)
        kj_launch(c, k_axpby<TY, TX, 1, sizeof(TY) == 2>, kj_ceil(n, 256), 256, 0,
                  kj_ptr<TY>(y), kj_ptr<TX>(x), n, a, b, key, y.at);
    else if (kj_all_aligned(8, 8, x, y))
        kj_launch(c, k_axpby<TY, TX, 8, false>, kj_ceil(n, 8 * 256), 256, 0,
                  kj_ptr<TY>(y), kj_ptr<TX>(x), n, a, b, key, y.at);
    else
        kj_launch(c, k_axpby<TY, TX, 1, false>, kj_ceil(n, 256), 256, 0, kj_ptr<TY>(y),
                  kj_ptr<TX>(x), n, a, b, key, y.at);
}

void kj_cuda_axpby(struct kj_backend *b, struct kj_mat y, struct kj_mat x, size_t n,
                   float alpha, float beta)
{
    struct kj_cuda *c = kj_cuda_of(b);
    enum kj_dtype ty = kj_cuda_type(y), tx = kj_cuda_type(x);
    if (n == 0 || !kj_cuda_op(c, "axpby", n) || !kj_cuda_inside(c, y, ty, 1, n) ||
        !kj_cuda_inside(c, x, tx, 1, n))
        return;
    if (ty == KJ_BF16 && tx == KJ_BF16)
        axpby<struct kj_bf16, struct kj_bf16>(c, y, x, n, alpha, beta);
    else if (ty == KJ_BF16)
        axpby<struct kj_bf16, float>(c, y, x, n, alpha, beta);
    else if (tx == KJ_BF16)
        axpby<float, struct kj_bf16>(c, y, x, n, alpha, beta);
    else
        axpby<float, float>(c, y, x, n, alpha, beta);
}

/* ---- sum of squares: pieces of SUM_PIECE elements, then their sums ---- */

#define SUM_PIECE KJ_CUDA_SUM_PIECE

template <class T, int V, bool SQUARES>
__global__ void k_part_sums(double *part, const T *x, size_t n)
{
    KJ_SHARED(double, sm);
    size_t from = (size_t)blockIdx.x * SUM_PIECE;
    size_t end = n - from < SUM_PIECE ? n : from + SUM_PIECE;
    float sum = 0;
    double plain = 0; /* there are few of these: log likelihoods of a pass */
    for (size_t i = from + threadIdx.x * V; i < end; i += 256 * V) {
        float u[V];
        if (i + V <= end)
            kj_load<V>(u, x + i);
        else
            for (int j = 0; j < V; j++)
                u[j] = i + (size_t)j < end ? kj_get(x[i + (size_t)j]) : 0.0f;
        for (int j = 0; j < V; j++)
            if (SQUARES)
                sum += u[j] * u[j];
            else
                plain += (double)u[j];
    }
    sm[threadIdx.x] = SQUARES ? (double)sum : plain;
    for (unsigned w = 128; w > 0; w /= 2) {
        __syncthreads();
        if (threadIdx.x < w)
            sm[threadIdx.x] += sm[threadIdx.x + w];
    }
    if (threadIdx.x == 0)
        part[blockIdx.x] = sm[0];
}

__global__ void k_sum(double *out, const double *part, size_t n, bool add)
{
    KJ_SHARED(double, sm);
    double sum = 0;
    for (size_t i = threadIdx.x; i < n; i += 1024)
        sum += part[i];
    sm[threadIdx.x] = sum;
    for (unsigned w = 512; w > 0; w /= 2) {
        __syncthreads();
        if (threadIdx.x < w)
            sm[threadIdx.x] += sm[threadIdx.x + w];
    }
    if (threadIdx.x == 0)
        *out = add ? *out + sm[0] : sm[0];
}

/* *out (+)= the sum; out NULL: to the first of the scratch memory, which is returned. */
static double *sum(struct kj_cuda *c, double *out, struct kj_mat x, size_t n,
                   enum kj_dtype type, bool squares)
{
    size_t parts = kj_ceil(n, SUM_PIECE);
    double *part =
        (double *)kj_cuda_scratch(c, &c->scratch, (parts + 1) * sizeof *part);
    if (!part)
        return NULL;
    x.stride = kj_wide(type);
    kj_by_type(type, kj_aligned(x, x.stride, x.stride), [&](auto t, auto v) {
        using T = decltype(t);
        kj_launch(c,
                  squares ? k_part_sums<T, decltype(v)::v, true>
                          : k_part_sums<T, decltype(v)::v, false>,
                  parts, 256, 256 * sizeof(double), part + 1, kj_ptr<T>(x), n);
    });
    kj_launch(c, k_sum, 1, 1024, 1024 * sizeof(double), out ? out : part, part + 1,
              parts, out != NULL);
    return c->base.fault.rc ? NULL : part;
}

double kj_cuda_sumsq(struct kj_backend *b, struct kj_mat x, size_t n)
{
    struct kj_cuda *c = kj_cuda_of(b);
    enum kj_dtype type = kj_cuda_type(x);
    if (!kj_cuda_op(c, "sumsq", n) || !kj_cuda_inside(c, x, type, 1, n))
        return NAN;
    if (n == 0)
        return 0;
    double *at = sum(c, NULL, x, n, type, true), result;
    return at && kj_cuda_down(c, &result, KJ_I32, at, 2) ? result : NAN;
}

void kj_cuda_add_sum(struct kj_backend *b, struct kj_mat acc, struct kj_mat x, size_t n,
                     bool squares)
{
    struct kj_cuda *c = kj_cuda_of(b);
    enum kj_dtype type = squares ? kj_cuda_type(x) : KJ_F32;
    if (!kj_cuda_op(c, "add_sum", n) || !kj_cuda_inside(c, acc, KJ_I32, 1, 2) ||
        !kj_cuda_inside(c, x, type, 1, n))
        return;
    if (acc.at % 2)
        kj_cuda_fault(c, "a double at an odd place");
    else if (n)
        sum(c, (double *)kj_ptr<int32_t>(acc), x, n, type, squares);
}

/* ---- sums over rows: 128 rows by 32 columns a block, 8 warps of 16 rows ---- */

#define SUM_ROWS KJ_CUDA_SUM_ROWS

template <class T, class TO>
__global__ void k_colsum(TO *out, const T *x, size_t stride, size_t n, size_t h,
                         unsigned across, bool add)
{
    KJ_SHARED(float, sm);
    unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    size_t j = (size_t)(blockIdx.x % across) * 32 + lane, run = blockIdx.x / across;
    size_t i = run * SUM_ROWS + warp * (SUM_ROWS / 8);
    size_t end = i + SUM_ROWS / 8 < n ? i + SUM_ROWS / 8 : n;
    float sum = 0;
    if (j < h)
        for (; i < end; i++)
            sum += kj_get(x[i * stride + j]);
    sm[threadIdx.x] = sum;
    __syncthreads();
    if (warp == 0 && j < h) {
        for (unsigned w = 1; w < 8; w++)
            sum += sm[w * 32 + lane];
        kj_set(&out[run * h + j], add ? kj_get(out[run * h + j]) + sum : sum);
    }
}

template <class T, class TO>
static void colsum(struct kj_cuda *c, void *out, const void *x, size_t stride, size_t n,
                   size_t h, bool add)
{
    size_t across = kj_ceil(h, 32);
    kj_launch(c, k_colsum<T, TO>, kj_ceil(n, SUM_ROWS) * across, 256,
              256 * sizeof(float), (TO *)out, (const T *)x, stride, n, h,
              (unsigned)across, add);
}

void kj_cuda_colsum(struct kj_cuda *c, struct kj_mat out, const void *x,
                    enum kj_dtype type, size_t stride, size_t n, size_t h, float *ws)
{
    bool chance = out.t->type == KJ_BF16 && c->base.chance;
    while (n > 0) {
        size_t runs = kj_ceil(n, SUM_ROWS);
        bool end = runs == 1, last = end && !chance,
             low = last && out.t->type == KJ_BF16;
        void *to = last ? kj_address(out) : (void *)ws;
        if (type == KJ_BF16 && low)
            colsum<struct kj_bf16, struct kj_bf16>(c, to, x, stride, n, h, last);
        else if (type == KJ_BF16)
            colsum<struct kj_bf16, float>(c, to, x, stride, n, h, last);
        else if (low)
            colsum<float, struct kj_bf16>(c, to, x, stride, n, h, last);
        else
            colsum<float, float>(c, to, x, stride, n, h, last);
        x = to;
        type = KJ_F32;
        stride = h;
        if (end && chance)
            kj_cuda_add_by_chance(c, out, ws, h, 1, h);
        ws += runs * h;
        n = end ? 0 : runs;
    }
}

/* ---- bias and activation ---- */

template <enum kj_act ACT> KJ_DEV float act_of(float x)
{
    if constexpr (ACT == KJ_ACT_RELU)
        return x > 0.0f ? x : 0.0f;
    else if constexpr (ACT == KJ_ACT_TANH)
        return kj_tanh(x);
    else if constexpr (ACT == KJ_ACT_GELU)
        return kj_gelu(x);
    else if constexpr (ACT == KJ_ACT_GELU_TANH)
        return kj_gelu_tanh(x);
    else
        return x;
}

/* Where a thread of such a grid stands; false: behind the row's end. */
template <int V> KJ_DEV bool kj_at(unsigned pieces, size_t h, size_t *row, size_t *col)
{
    *row = blockIdx.x / pieces;
    *col = ((size_t)(blockIdx.x % pieces) * blockDim.x + threadIdx.x) * V;
    return *col < h;
}

template <class T, int V, enum kj_act ACT>
__global__ void k_bias_act(T *x, size_t stride, const T *bias, size_t h,
                           unsigned pieces)
{
    size_t i, j;
    float u[V], b[V];
    if (!kj_at<V>(pieces, h, &i, &j))
        return;
    kj_load<V>(u, x + i * stride + j);
    if (bias) {
        kj_load<V>(b, bias + j);
        for (int k = 0; k < V; k++)
            u[k] += b[k];
    }
    for (int k = 0; k < V; k++)
        u[k] = act_of<ACT>(u[k]);
    kj_store<V>(x + i * stride + j, u);
}

template <enum kj_act ACT>
static void bias_act(struct kj_cuda *c, struct kj_mat x, struct kj_mat bias, size_t n,
                     size_t h)
{
    enum kj_dtype type = kj_cuda_type(x);
    kj_by_type(type, kj_all_aligned(h, kj_wide(type), x, bias), [&](auto t, auto v) {
        using T = decltype(t);
        const int V = decltype(v)::v;
        size_t pieces = kj_pieces(h, V);
        kj_launch(c, k_bias_act<T, V, ACT>, n * pieces, kj_row_threads(h, V), 0,
                  kj_ptr<T>(x), x.stride, kj_ptr<T>(bias), h, (unsigned)pieces);
    });
}

void kj_cuda_bias_act(struct kj_backend *b, struct kj_mat x, struct kj_mat bias,
                      size_t n, size_t h, enum kj_act act)
{
    struct kj_cuda *c = kj_cuda_of(b);
    enum kj_dtype type = kj_cuda_type(x);
    if (!kj_cuda_op(c, "bias_act", n, h) || !kj_cuda_inside(c, x, type, n, h) ||
        !kj_cuda_maybe(c, bias, type, 1, h))
        return;
    bias.stride = x.stride;
    switch (act) {
    case KJ_ACT_RELU:
        bias_act<KJ_ACT_RELU>(c, x, bias, n, h);
        break;
    case KJ_ACT_TANH:
        bias_act<KJ_ACT_TANH>(c, x, bias, n, h);
        break;
    case KJ_ACT_GELU:
        bias_act<KJ_ACT_GELU>(c, x, bias, n, h);
        break;
    case KJ_ACT_GELU_TANH:
        bias_act<KJ_ACT_GELU_TANH>(c, x, bias, n, h);
        break;
    default:
        bias_act<KJ_ACT_NONE>(c, x, bias, n, h);
    }
}

template <class T, int V>
__global__ void k_act_back(T *dx, size_t sx, const T *dy, size_t sd, const T *y,
                           size_t sy, size_t h, unsigned pieces, int act)
{
    size_t i, j;
    float d[V], u[V];
    if (!kj_at<V>(pieces, h, &i, &j))
        return;
    kj_load<V>(d, dy + i * sd + j);
    kj_load<V>(u, y + i * sy + j);
    for (int k = 0; k < V; k++)
        d[k] *= act == KJ_ACT_TANH   ? 1.0f - u[k] * u[k]
                : act == KJ_ACT_RELU ? (u[k] > 0.0f ? 1.0f : 0.0f)
                                     : 1.0f;
    kj_store<V>(dx + i * sx + j, d);
}

void kj_cuda_act_back(struct kj_backend *b, struct kj_mat dx, struct kj_mat dbias,
                      struct kj_mat dy, struct kj_mat y, size_t n, size_t h,
                      enum kj_act act)
{
    struct kj_cuda *c = kj_cuda_of(b);
    enum kj_dtype type = kj_cuda_type(dx);
    if (!kj_cuda_op(c, "act_back", n, h))
        return;
    if (act != KJ_ACT_NONE && act != KJ_ACT_RELU && act != KJ_ACT_TANH) {
        kj_cuda_fault(c, "activation %d has no backward pass", (int)act);
        return;
    }
    if (!kj_cuda_inside(c, dx, type, n, h) || !kj_cuda_inside(c, dy, type, n, h) ||
        !kj_cuda_inside(c, y, type, n, h) ||
        !kj_cuda_maybe(c, dbias, kj_cuda_type(dbias), 1, h))
        return;
    float *ws = (float *)kj_cuda_scratch(c, &c->scratch,
                                         (kj_cuda_colsum_ws(n, h) + 1) * sizeof(float));
    kj_by_type(type, kj_all_aligned(h, kj_wide(type), dx, dy, y), [&](auto t, auto v) {
        using T = decltype(t);
        const int V = decltype(v)::v;
        size_t pieces = kj_pieces(h, V);
        kj_launch(c, k_act_back<T, V>, n * pieces, kj_row_threads(h, V), 0,
                  kj_ptr<T>(dx), dx.stride, kj_ptr<T>(dy), dy.stride, kj_ptr<T>(y),
                  y.stride, h, (unsigned)pieces, (int)act);
        if (ws && dbias.t)
            kj_cuda_colsum(c, dbias, kj_ptr<T>(dx), type, dx.stride, n, h, ws);
    });
}

/* ---- rows to bfloat16 ---- */

/* at: y's place in its tensor; four elements share a random number, and a thread's
 * begin at a multiple of four. */
template <int V>
__global__ void k_chance(struct kj_bf16 *y, size_t sy, const float *x, size_t sx,
                         size_t h, unsigned pieces, uint64_t key, size_t at)
{
    typedef kj_pack<struct kj_bf16, V> pack;
    size_t i, j;
    float u[V];
    if (!kj_at<V>(pieces, h, &i, &j))
        return;
    struct kj_bf16 *to = y + i * sy + j;
    pack old = *reinterpret_cast<pack *>(to);
    kj_load<V>(u, x + i * sx + j);
    at += i * sy + j;
    uint64_t r = kj_random64(key, at / 4) >> at % 4 * 16;
#pragma unroll
    for (int k = 0; k < V; k++) {
        r = k > 0 && k % 4 == 0 ? kj_random64(key, (at + (size_t)k) / 4) : r;
        old.v[k] = kj_to_bf16_by(kj_get(old.v[k]) + u[k], (uint32_t)(r >> k % 4 * 16));
    }
    *reinterpret_cast<pack *>(to) = old;
}

void kj_cuda_add_by_chance(struct kj_cuda *c, struct kj_mat y, const float *x,
                           size_t stride, size_t n, size_t h)
{
    y.stride = n == 1 ? kj_ceil(h, 8) * 8 : y.stride;
    bool wide = kj_aligned(y, h, 8) && stride % 8 == 0 && (uintptr_t)x % 32 == 0;
    size_t pieces = kj_pieces(h, wide ? 8 : 1);
    kj_launch(c, wide ? k_chance<8> : k_chance<1>, n * pieces,
              kj_row_threads(h, wide ? 8 : 1), 0, kj_ptr<struct kj_bf16>(y), y.stride,
              x, stride, h, (unsigned)pieces, c->base.chance, y.at);
}

template <int V>
__global__ void k_round(struct kj_bf16 *y, size_t sy, const float *x, size_t sx,
                        size_t h, unsigned pieces)
{
    size_t i, j;
    float u[V];
    if (!kj_at<V>(pieces, h, &i, &j))
        return;
    kj_load<V>(u, x + i * sx + j);
    kj_store<V>(y + i * sy + j, u);
}

void kj_cuda_round(struct kj_cuda *c, struct kj_bf16 *y, size_t stride, struct kj_mat x,
                   size_t n, size_t h)
{
    bool wide = kj_aligned(x, h, 8) && stride % 8 == 0;
    size_t pieces = kj_pieces(h, wide ? 8 : 1);
    kj_launch(c, wide ? k_round<8> : k_round<1>, n * pieces,
              kj_row_threads(h, wide ? 8 : 1), 0, y, stride, kj_ptr<float>(x), x.stride,
              h, (unsigned)pieces);
}

/* ---- rotary ---- */

template <class T, int V>
__global__ void k_rope(T *x, size_t stride, const int32_t *pos, const float *table,
                       size_t ts, size_t rows, unsigned heads, unsigned half,
                       unsigned pieces, float sign, uint32_t *most,
                       unsigned long long *flags)
{
    KJ_SHARED(uint32_t, sm);
    size_t i, j;
    float a[V], b[V], cs[V], sn[V], u[V];
    uint32_t bits = 0;
    bool in = kj_at<V>(pieces, (size_t)heads * half, &i, &j);
    int32_t p = pos[i]; /* a block has one row */
    if (p < 0 || (size_t)p >= rows) {
        kj_complain(flags, KJ_FLAG_POSITION, i, p);
        return;
    }
    if (in) {
        unsigned head = (unsigned)j / half, k = (unsigned)j % half;
        T *at = x + i * stride + (size_t)head * 2 * half + k;
        const float *row = table + (size_t)p * ts + k;
        kj_load<V>(a, at);
        kj_load<V>(b, at + half);
        kj_load<V>(cs, row);
        kj_load<V>(sn, row + half);
        for (int q = 0; q < V; q++) {
            u[q] = kj_rope_a(a[q], b[q], cs[q], sign * sn[q]);
            b[q] = kj_rope_b(a[q], b[q], cs[q], sign * sn[q]);
        }
        kj_store<V>(at, u);
        kj_store<V>(at + half, b);
        bits = kj_most_of<V>(kj_most_of<V>(0, u), b);
    }
    if (most)
        kj_raise<T>(most, bits, sm);
}

void kj_cuda_rope(struct kj_backend *b, struct kj_mat x, struct kj_mat pos,
                  struct kj_mat table, size_t n, size_t heads, size_t dim, bool inverse)
{
    struct kj_cuda *c = kj_cuda_of(b);
    enum kj_dtype type = kj_cuda_type(x);
    size_t half = dim / 2, width = heads * dim;
    struct kj_mat most = kj_backend_take_most(b);
    if (!kj_cuda_op(c, "rope", n, heads, dim) ||
        !kj_cuda_maybe(c, most, KJ_F32, 1, 1) ||
        !kj_cuda_inside(c, x, type, n, width) ||
        !kj_cuda_inside(c, pos, KJ_I32, 1, n) ||
        !kj_cuda_inside(c, table, KJ_F32, 1, dim))
        return;
    size_t rows = (table.t->n - table.at) / (table.stride ? table.stride : dim);
    kj_by_type(
        type, kj_all_aligned(half, kj_wide(type), x, table), [&](auto t, auto v) {
            using T = decltype(t);
            const int V = decltype(v)::v;
            size_t pieces = kj_pieces(heads * half, V);
            kj_launch(c, k_rope<T, V>, n * pieces, kj_row_threads(heads * half, V),
                      KJ_RAISE_SHARED, kj_ptr<T>(x), x.stride, kj_ptr<int32_t>(pos),
                      kj_ptr<float>(table), table.stride, rows, (unsigned)heads,
                      (unsigned)half, (unsigned)pieces, inverse ? -1.0f : 1.0f,
                      kj_ptr<uint32_t>(most), c->flags);
        });
}

/* ---- SwiGLU ---- */

template <class T, int V>
__global__ void k_swiglu(T *h, size_t sh, const T *g, size_t sg, const T *u, size_t su,
                         size_t f, unsigned pieces, uint32_t *most)
{
    KJ_SHARED(uint32_t, sm);
    size_t i, j;
    float a[V], b[V];
    uint32_t bits = 0;
    if (kj_at<V>(pieces, f, &i, &j)) {
        kj_load<V>(a, g + i * sg + j);
        kj_load<V>(b, u + i * su + j);
        for (int k = 0; k < V; k++)
            a[k] = kj_swiglu(a[k], b[k]);
        kj_store<V>(h + i * sh + j, a);
        bits = kj_most_of<V>(0, a);
    }
    if (most)
        kj_raise<T>(most, bits, sm);
}

void kj_cuda_swiglu(struct kj_backend *b, struct kj_mat h, struct kj_mat g,
                    struct kj_mat u, size_t n, size_t f)
{
    struct kj_cuda *c = kj_cuda_of(b);
    enum kj_dtype type = kj_cuda_type(h);
    struct kj_mat most = kj_backend_take_most(b);
    if (!kj_cuda_op(c, "swiglu", n, f) || !kj_cuda_inside(c, h, type, n, f) ||
        !kj_cuda_maybe(c, most, KJ_F32, 1, 1) || !kj_cuda_inside(c, g, type, n, f) ||
        !kj_cuda_inside(c, u, type, n, f))
        return;
    kj_by_type(type, kj_all_aligned(f, kj_wide(type), h, g, u), [&](auto t, auto v) {
        using T = decltype(t);
        const int V = decltype(v)::v;
        size_t pieces = kj_pieces(f, V);
        kj_launch(c, k_swiglu<T, V>, n * pieces, kj_row_threads(f, V), KJ_RAISE_SHARED,
                  kj_ptr<T>(h), h.stride, kj_ptr<T>(g), g.stride, kj_ptr<T>(u),
                  u.stride, f, (unsigned)pieces, kj_ptr<uint32_t>(most));
    });
}

template <class T, int V>
__global__ void k_swiglu_back(T *dg, size_t sdg, T *du, size_t sdu, const T *dh,
                              size_t sdh, const T *g, size_t sg, const T *u, size_t su,
                              size_t f, unsigned pieces, uint32_t *most)
{
    KJ_SHARED(uint32_t, sm);
    size_t i, j;
    float a[V], b[V], d[V];
    uint32_t bits = 0;
    if (kj_at<V>(pieces, f, &i, &j)) {
        kj_load<V>(a, g + i * sg + j);
        kj_load<V>(b, u + i * su + j);
        kj_load<V>(d, dh + i * sdh + j);
        for (int k = 0; k < V; k++) {
            b[k] = kj_swiglu_dg(a[k], b[k], d[k]);
            a[k] = kj_swiglu_du(a[k], d[k]);
        }
        kj_store<V>(dg + i * sdg + j, b);
        kj_store<V>(du + i * sdu + j, a);
        bits = kj_most_of<V>(kj_most_of<V>(0, a), b);
    }
    if (most)
        kj_raise<T>(most, bits, sm);
}

void kj_cuda_swiglu_back(struct kj_backend *b, struct kj_mat dg, struct kj_mat du,
                         struct kj_mat dh, struct kj_mat g, struct kj_mat u, size_t n,
                         size_t f)
{
    struct kj_cuda *c = kj_cuda_of(b);
    enum kj_dtype type = kj_cuda_type(dg);
    struct kj_mat most = kj_backend_take_most(b);
    if (!kj_cuda_op(c, "swiglu_back", n, f) || !kj_cuda_inside(c, dg, type, n, f) ||
        !kj_cuda_maybe(c, most, KJ_F32, 1, 1) || !kj_cuda_inside(c, du, type, n, f) ||
        !kj_cuda_inside(c, dh, type, n, f) || !kj_cuda_inside(c, g, type, n, f) ||
        !kj_cuda_inside(c, u, type, n, f))
        return;
    kj_by_type(type, kj_all_aligned(f, kj_wide(type), dg, du, dh, g, u),
               [&](auto t, auto v) {
                   using T = decltype(t);
                   const int V = decltype(v)::v;
                   size_t pieces = kj_pieces(f, V);
                   kj_launch(c, k_swiglu_back<T, V>, n * pieces, kj_row_threads(f, V),
                             KJ_RAISE_SHARED, kj_ptr<T>(dg), dg.stride, kj_ptr<T>(du),
                             du.stride, kj_ptr<T>(dh), dh.stride, kj_ptr<T>(g),
                             g.stride, kj_ptr<T>(u), u.stride, f, (unsigned)pieces,
                             kj_ptr<uint32_t>(most));
               });
}
