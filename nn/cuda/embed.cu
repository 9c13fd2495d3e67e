/* embed.cu - rows by number, and their gradient without atomics.
 *
 * Backward, the rows of dy that belong to one token are added in order. The tokens
 * are sorted by (id, place): the rank of a place is the number of places that
 * come before it, counted by comparing all with all. That is n^2 comparisons of
 * integers, 1e9 for 32,768 tokens, some tenths of a millisecond on a current GPU,
 * where a step takes a thousand times as long. Then the first place of each id
 * owns its row of dw.
 */
#include "nn/cuda/dev.cuh"

#define RANK_TILE 1024

template <class T, int V>
__global__ void k_embed(T *y, size_t sy, const T *w, size_t sw, const int32_t *ids,
                        size_t rows, size_t h, unsigned pieces,
                        unsigned long long *flags)
{
    size_t i = blockIdx.x / pieces;
    size_t j = ((size_t)(blockIdx.x % pieces) * blockDim.x + threadIdx.x) * V;
    int32_t id = ids[i];
    if (id < 0 || (size_t)id >= rows) {
        kj_complain(flags, KJ_FLAG_TOKEN, i, id);
        return;
    }
    if (j < h)
        *reinterpret_cast<kj_pack<T, V> *>(y + i * sy + j) =
            *reinterpret_cast<const kj_pack<T, V> *>(w + (size_t)id * sw + j);
}

static size_t rows_of(struct kj_mat w, size_t h)
{
    return (w.t->n - w.at) / (w.stride ? w.stride : h);
}

void kj_cuda_embed(struct kj_backend *b, struct kj_mat y, struct kj_mat w,
                   struct kj_mat ids, size_t n, size_t h)
{
    struct kj_cuda *c = kj_cuda_of(b);
    enum kj_dtype type = kj_cuda_type(y);
    if (!kj_cuda_op(c, "embed", n, h) || !kj_cuda_inside(c, y, type, n, h) ||
        !kj_cuda_inside(c, w, type, 1, h) || !kj_cuda_inside(c, ids, KJ_I32, 1, n))
        return;
    kj_by_type(type, kj_all_aligned(h, kj_wide(type), y, w), [&](auto t, auto v) {
        using T = decltype(t);
        const int V = decltype(v)::v;
        size_t pieces = kj_pieces(h, V);
        kj_launch(c, k_embed<T, V>, n * pieces, kj_row_threads(h, V), 0, kj_ptr<T>(y),
                  y.stride, kj_ptr<T>(w), w.stride, kj_ptr<int32_t>(ids), rows_of(w, h),
                  h, (unsigned)pieces, c->flags);
    });
}

template <class T, int V>
__global__ void k_put(T *w, size_t sw, const T *y, size_t sy, const int32_t *ids,
                      size_t rows, size_t h, unsigned pieces, unsigned long long *flags)
{
    size_t i = blockIdx.x / pieces;
    size_t j = ((size_t)(blockIdx.x % pieces) * blockDim.x + threadIdx.x) * V;
    int32_t id = ids[i];
    if (id < 0 || (size_t)id >= rows) {
        kj_complain(flags, KJ_FLAG_ROW, i, id);
        return;
    }
    if (j < h)
        *reinterpret_cast<kj_pack<T, V> *>(w + (size_t)id * sw + j) =
            *reinterpret_cast<const kj_pack<T, V> *>(y + i * sy + j);
}

void kj_cuda_put(struct kj_backend *b, struct kj_mat w, struct kj_mat y,
                 struct kj_mat ids, size_t n, size_t h)
{
    struct kj_cuda *c = kj_cuda_of(b);
    enum kj_dtype type = kj_cuda_type(y);
    if (!kj_cuda_op(c, "put", n, h) || !kj_cuda_inside(c, y, type, n, h) ||
        !kj_cuda_inside(c, w, type, 1, h) || !kj_cuda_inside(c, ids, KJ_I32, 1, n))
        return;
    kj_by_type(type, kj_all_aligned(h, kj_wide(type), y, w), [&](auto t, auto v) {
        using T = decltype(t);
        const int V = decltype(v)::v;
        size_t pieces = kj_pieces(h, V);
        kj_launch(c, k_put<T, V>, n * pieces, kj_row_threads(h, V), 0, kj_ptr<T>(w),
                  w.stride, kj_ptr<T>(y), y.stride, kj_ptr<int32_t>(ids), rows_of(w, h),
                  h, (unsigned)pieces, c->flags);
    });
}

__global__ void k_rank(int32_t *order, const int32_t *ids, unsigned n)
{
    KJ_SHARED(int32_t, tile);
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x, before = 0;
    int32_t mine = i < n ? ids[i] : 0;
    for (unsigned from = 0; from < n; from += RANK_TILE) {
        unsigned m = n - from < RANK_TILE ? n - from : RANK_TILE;
        __syncthreads();
        for (unsigned j = threadIdx.x; j < m; j += blockDim.x)
            tile[j] = ids[from + j];
        __syncthreads();
        for (unsigned j = 0; j < m; j++)
            before += tile[j] < mine || (tile[j] == mine && from + j < i);
    }
    if (i < n)
        order[before] = (int32_t)i;
}

template <class T, class TW, int V>
__global__ void k_embed_back(TW *dw, size_t sw, const T *dy, size_t sy,
                             const int32_t *ids, const int32_t *order, size_t rows,
                             size_t n, size_t h, unsigned pieces, uint64_t chance,
                             size_t at, unsigned long long *flags)
{
    size_t p = blockIdx.x / pieces;
    size_t j = ((size_t)(blockIdx.x % pieces) * blockDim.x + threadIdx.x) * V;
    int32_t id = ids[order[p]];
    float sum[V], x[V];
    if (p > 0 && ids[order[p - 1]] == id)
        return;
    if (id < 0 || (size_t)id >= rows) {
        kj_complain(flags, KJ_FLAG_TOKEN, (size_t)order[p], id);
        return;
    }
    if (j >= h)
        return;
    TW *to = dw + (size_t)id * sw + j;
    kj_load<V>(sum, to);
    do {
        kj_load<V>(x, dy + (size_t)order[p] * sy + j);
        for (int k = 0; k < V; k++)
            sum[k] += x[k];
    } while (++p < n && ids[order[p]] == id);
    at += (size_t)id * sw + j;
    for (int k = 0; chance && k < V; k++)
        sum[k] =
            kj_from_bf16(kj_to_bf16_by(sum[k], kj_chance16(chance, at + (size_t)k)));
    kj_store<V>(to, sum);
}

template <class T, class TW, int V>
static void embed_back(struct kj_cuda *c, struct kj_mat dw, struct kj_mat dy,
                       struct kj_mat ids, const int32_t *order, size_t n, size_t h)
{
    size_t pieces = kj_pieces(h, V);
    kj_launch(c, k_embed_back<T, TW, V>, n * pieces, kj_row_threads(h, V), 0,
              kj_ptr<TW>(dw), dw.stride, kj_ptr<T>(dy), dy.stride, kj_ptr<int32_t>(ids),
              order, rows_of(dw, h), n, h, (unsigned)pieces,
              /* not as a head's that is the same matrix */
              sizeof(TW) == 2 && c->base.chance ? c->base.chance + 1 : 0, dw.at,
              c->flags);
}

void kj_cuda_embed_back(struct kj_backend *b, struct kj_mat dw, struct kj_mat dy,
                        struct kj_mat ids, size_t n, size_t h)
{
    struct kj_cuda *c = kj_cuda_of(b);
    enum kj_dtype type = kj_cuda_type(dy), type_w = kj_cuda_type(dw);
    if (!kj_cuda_op(c, "embed_back", n, h) || !kj_cuda_inside(c, dy, type, n, h) ||
        !kj_cuda_inside(c, dw, type_w, 1, h) || !kj_cuda_inside(c, ids, KJ_I32, 1, n))
        return;
    if (n > INT32_MAX / 2) {
        kj_cuda_fault(c, "too many tokens");
        return;
    }
    int32_t *order =
        (int32_t *)kj_cuda_scratch(c, &c->scratch, (n + 1) * sizeof *order);
    if (!order)
        return;
    kj_launch(c, k_rank, kj_ceil(n, 256), 256, RANK_TILE * sizeof(int32_t), order,
              kj_ptr<int32_t>(ids), (unsigned)n);
    kj_by_type(type, kj_all_aligned(h, kj_wide(type), dw, dy), [&](auto t, auto v) {
        using T = decltype(t);
        const int V = decltype(v)::v;
        if (type_w == KJ_BF16)
            embed_back<T, struct kj_bf16, V>(c, dw, dy, ids, order, n, h);
        else
            embed_back<T, float, V>(c, dw, dy, ids, order, n, h);
    });
}

/* A row lies anywhere in memory, so a thread asks for AHEAD of them before it adds the
 * first. */
#define AHEAD 8

template <class T, int V>
__global__ void k_embed_mean(T *y, size_t sy, const T *w, size_t sw, const int32_t *ids,
                             const int32_t *cu, size_t rows, size_t h, unsigned pieces,
                             unsigned long long *flags)
{
    size_t i = blockIdx.x / pieces;
    size_t j = ((size_t)(blockIdx.x % pieces) * blockDim.x + threadIdx.x) * V;
    int32_t k = cu[i], end = cu[i + 1];
    float scale = end > k ? (float)(1.0 / (end - k)) : 0, sum[V] = {0}, x[AHEAD][V];
    if (j >= h)
        return;
    while (k < end) {
        int32_t n = end - k < AHEAD ? end - k : AHEAD;
#pragma unroll
        for (int a = 0; a < AHEAD; a++) {
            int32_t id = ids[a < n ? k + a : k];
            if (id < 0 || (size_t)id >= rows) {
                kj_complain(flags, KJ_FLAG_TOKEN, (size_t)k + (size_t)a, id);
                return;
            }
            kj_load<V>(x[a], w + (size_t)id * sw + j);
        }
#pragma unroll
        for (int a = 0; a < AHEAD; a++)
            for (int v = 0; v < V && a < n; v++)
                sum[v] += x[a][v];
        k += n;
    }
    for (int v = 0; v < V; v++)
        sum[v] *= scale;
    kj_store<V>(y + i * sy + j, sum);
}

void kj_cuda_embed_mean(struct kj_backend *b, struct kj_mat y, struct kj_mat w,
                        struct kj_mat ids, struct kj_mat cu, size_t n, size_t h)
{
    struct kj_cuda *c = kj_cuda_of(b);
    enum kj_dtype type = kj_cuda_type(y);
    if (!kj_cuda_op(c, "embed_mean", n, h) || !kj_cuda_inside(c, y, type, n, h) ||
        !kj_cuda_inside(c, w, type, 1, h) || !kj_cuda_inside(c, cu, KJ_I32, 1, n + 1))
        return;
    kj_by_type(type, kj_all_aligned(h, kj_wide(type), y, w), [&](auto t, auto v) {
        using T = decltype(t);
        const int V = decltype(v)::v;
        size_t pieces = kj_pieces(h, V);
        kj_launch(c, k_embed_mean<T, V>, n * pieces, kj_row_threads(h, V), 0,
                  kj_ptr<T>(y), y.stride, kj_ptr<T>(w), w.stride, kj_ptr<int32_t>(ids),
                  kj_ptr<int32_t>(cu), rows_of(w, h), h, (unsigned)pieces, c->flags);
    });
}
