/* f8.cu - float32 and bfloat16 to FP8, straight and transposed.
 *
 * The scale wants the largest magnitude before the first code. Whoever made x left it
 * (kj_backend.most), or k_most reads all of x for it; block 0 of the pass that encodes
 * writes the scale.
 *
 * That pass works on tiles of 128 rows and 64 columns. A thread takes 4 rows of 8
 * neighbours (16 bytes of bfloat16 each), writes 8 codes of each row to q, and turns the
 * square of 4 x 8 codes in its registers: the 4 codes of a column are a word. Words go to
 * shared memory so that 16 bytes of a column (16 rows) can be written to qt at once. The
 * word of column j and rows 4g .. lies at (j, (g / 4) ^ (j / 8), g % 4): the 32 lanes that
 * write at a time differ in g % 4 and j / 8, and the 8 that read at a time in g / 4, so
 * neither meets another in a bank.
 */
#include "nn/cuda/dev.cuh"

/* So many blocks of k_most, eight on each multiprocessor of an H100, go over all of x:
 * each ends with an atomic operation on the same word. */
#define MOST_BLOCKS 1056
#define THREADS     256
#define ROWS        128
#define COLS        64

/* Blocks stand `pieces` to a row, and go on to the row gridDim / pieces further. */
template <class T, int V>
__global__ void k_most(uint32_t *to, const T *x, size_t stride, size_t n, size_t h,
                       unsigned pieces)
{
    KJ_SHARED(uint32_t, sm);
    uint32_t most = 0;
    size_t j0 = ((size_t)(blockIdx.x % pieces) * THREADS + threadIdx.x) * V;
    size_t step = (size_t)pieces * THREADS * V;
    for (size_t i = blockIdx.x / pieces; i < n; i += gridDim.x / pieces) {
#pragma unroll 4
        for (size_t j = j0; j < h; j += step) {
            float u[V];
            kj_load<V>(u, x + i * stride + j);
            most = kj_most_of<V>(most, u);
        }
    }
    kj_raise<T>(to, most, sm);
}

/* Eight numbers of row i from column j on; 0 where x ends. WIDE: it ends at a multiple of
 * eight columns. */
template <class T, bool WIDE>
KJ_DEV kj_pack<T, 8> eight(const T *x, size_t stride, size_t n, size_t h, size_t i,
                           size_t j)
{
    kj_pack<T, 8> k = {};
    if (WIDE && i < n && j < h)
        k = *reinterpret_cast<const kj_pack<T, 8> *>(x + i * stride + j);
    for (size_t p = 0; !WIDE && p < 8; p++)
        if (i < n && j + p < h)
            k.v[p] = x[i * stride + j + p];
    return k;
}

struct alignas(8) codes8 {
    uint32_t w[2];
};

template <class T, class Q, bool WIDE>
__global__ void __launch_bounds__(THREADS)
    k_quantize(Q *q, size_t sq, Q *qt, size_t st, float *scale, const uint32_t *most,
               uint32_t e, const T *x, size_t stride, size_t n, size_t h,
               unsigned across)
{
    KJ_SHARED(uint32_t, sm);
    float s = kj_f8_scale(*most, e), inverse = kj_f8_inverse(s);
    if (blockIdx.x == 0 && threadIdx.x == 0)
        *scale = s;
    size_t i0 = (size_t)(blockIdx.x / across) * ROWS;
    size_t j0 = (size_t)(blockIdx.x % across) * COLS;
    unsigned c = threadIdx.x % 8, g = threadIdx.x / 8;
    size_t j = j0 + 8 * c;
    uint32_t turned[8] = {0};
    kj_pack<T, 8> rows[4]; /* all are asked for before the first is encoded */
#pragma unroll
    for (unsigned r = 0; r < 4; r++)
        rows[r] = eight<T, WIDE>(x, stride, n, h, i0 + 4 * g + r, j);
#pragma unroll
    for (unsigned r = 0; r < 4; r++) {
        float u[8];
        codes8 k;
        size_t i = i0 + 4 * g + r;
        for (int p = 0; p < 8; p++)
            u[p] = inverse * kj_get(rows[r].v[p]);
        for (int p = 0; p < 2; p++)
            k.w[p] = kj_pair(Q(), u[4 * p], u[4 * p + 1]) |
                     kj_pair(Q(), u[4 * p + 2], u[4 * p + 3]) << 16;
        if (q && i < n && j < (h + 15) / 16 * 16)
            *reinterpret_cast<codes8 *>(q + i * sq + j) = k;
        for (int p = 0; p < 8; p++)
            turned[p] |= (k.w[p / 4] >> 8 * (p % 4) & 0xffu) << 8 * r;
    }
    if (!qt)
        return;
    for (unsigned p = 0; p < 8; p++)
        sm[(8 * c + p) * (ROWS / 4) + ((g / 4) ^ c) * 4 + g % 4] = turned[p];
    __syncthreads();
    for (unsigned p = 0; p < 2; p++) {
        unsigned col = p * 32 + threadIdx.x / 8, run = threadIdx.x % 8;
        size_t i = i0 + 16 * run, at = j0 + col;
        const uint32_t *from = sm + col * (ROWS / 4) + (run ^ (col / 8)) * 4;
        if (at < h && i < n)
            *reinterpret_cast<uint4 *>(qt + at * st + i) =
                *reinterpret_cast<const uint4 *>(from);
    }
}

static void look_for_most(struct kj_cuda *c, uint32_t *to, struct kj_mat x, size_t n,
                          size_t h)
{
    bool run = x.stride == h || n == 1; /* as one row */
    size_t rows = run ? 1 : n, cols = run ? n * h : h;
    enum kj_dtype type = kj_cuda_type(x);
    kj_by_type(type, kj_aligned(x, h, kj_wide(type)), [&](auto t, auto v) {
        using T = decltype(t);
        const int V = decltype(v)::v;
        size_t pieces = kj_ceil(kj_ceil(cols, V), THREADS);
        pieces = pieces < MOST_BLOCKS ? pieces : MOST_BLOCKS;
        size_t at_once = MOST_BLOCKS / pieces;
        kj_launch(c, k_most<T, V>, (rows < at_once ? rows : at_once) * pieces, THREADS,
                  KJ_RAISE_SHARED, to, kj_ptr<T>(x), x.stride, rows, cols,
                  (unsigned)pieces);
    });
}

void kj_cuda_most(struct kj_backend *b, struct kj_mat most, struct kj_mat x, size_t n,
                  size_t h)
{
    struct kj_cuda *c = kj_cuda_of(b);
    if (n && h && kj_cuda_op(c, "most", n, h) &&
        kj_cuda_inside(c, x, kj_cuda_type(x), n, h) &&
        kj_cuda_inside(c, most, KJ_F32, 1, 1))
        look_for_most(c, kj_ptr<uint32_t>(most), x, n, h);
}

template <class T, class Q, bool WIDE>
static void quantize(struct kj_cuda *c, struct kj_mat q, struct kj_mat qt,
                     struct kj_mat s, struct kj_mat x, const uint32_t *most, size_t n,
                     size_t h)
{
    size_t across = kj_ceil(h, COLS), blocks = kj_ceil(n, ROWS) * across;
    kj_launch(c, k_quantize<T, Q, WIDE>, blocks, THREADS, ROWS * COLS, kj_ptr<Q>(q),
              q.stride, kj_ptr<Q>(qt), qt.stride, kj_ptr<float>(s), most,
              (q.t ? q.t : qt.t)->type == KJ_E5M2 ? 15 : 8, kj_ptr<T>(x), x.stride, n,
              h, (unsigned)across);
}

bool kj_cuda_f8_inside(struct kj_cuda *c, struct kj_mat m, size_t rows, size_t cols)
{
    if (!kj_cuda_inside(c, m, m.t && m.t->type == KJ_E5M2 ? KJ_E5M2 : KJ_E4M3, rows,
                        kj_ceil(cols, 16) * 16))
        return false;
    if (m.at % 16 || (rows > 1 && m.stride % 16)) {
        kj_cuda_fault(c, "FP8 rows begin and lie multiples of 16 apart");
        return false;
    }
    return true;
}

void kj_cuda_quantize(struct kj_backend *b, struct kj_mat q, struct kj_mat qt,
                      struct kj_mat s, struct kj_mat x, struct kj_mat most, size_t n,
                      size_t h)
{
    struct kj_cuda *c = kj_cuda_of(b);
    enum kj_dtype type = kj_cuda_type(x);
    if (n == 0 || h == 0 || !kj_cuda_op(c, "quantize", n, h) ||
        !kj_cuda_inside(c, x, type, n, h) || !kj_cuda_inside(c, s, KJ_F32, 1, 1) ||
        !kj_cuda_maybe(c, most, KJ_F32, 1, 1) ||
        (q.t && !kj_cuda_f8_inside(c, q, n, h)) ||
        (qt.t && !kj_cuda_f8_inside(c, qt, h, n)))
        return;
    if ((!q.t && !qt.t) || (q.t && qt.t && q.t->type != qt.t->type)) {
        kj_cuda_fault(c, "to one or two tensors of one FP8 type");
        return;
    }
    bool e5m2 = (q.t ? q.t : qt.t)->type == KJ_E5M2;
    uint32_t *bits = kj_ptr<uint32_t>(most);
    if (!bits) {
        bits = (uint32_t *)kj_cuda_scratch(c, &c->scratch, sizeof *bits);
        if (!bits || !KJ_CUDA(c, cudaMemsetAsync(bits, 0, sizeof *bits, c->stream)))
            return;
        look_for_most(c, bits, x, n, h);
    }
    kj_by_type(type, kj_aligned(x, h, 8), [&](auto t, auto v) {
        using T = decltype(t);
        constexpr bool WIDE = decltype(v)::v > 1;
        if (e5m2)
            quantize<T, struct kj_e5m2, WIDE>(c, q, qt, s, x, bits, n, h);
        else
            quantize<T, struct kj_e4m3, WIDE>(c, q, qt, s, x, bits, n, h);
    });
}
