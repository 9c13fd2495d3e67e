/* dev.cuh - what kernels share: vectors of elements, sums over a block, launching.
 *
 * A kernel is a template over its element type and over V, how many elements a
 * thread takes at a time: 16 bytes where all operands allow it, else one. Sums have
 * a fixed order: within a thread by index, then the lanes of a warp as a butterfly,
 * then warps by number. No atomics but for maxima, whose order does not matter, so
 * equal inputs give equal bits.
 */
#ifndef KJ_NN_CUDA_DEV_CUH
#define KJ_NN_CUDA_DEV_CUH

#include "nn/cuda/cuda.cuh"

#define KJ_DEV static __device__ __forceinline__

/* ---- elements ---- */

KJ_DEV float kj_get(float x)
{
    return x;
}
KJ_DEV float kj_get(struct kj_bf16 x)
{
    return kj_from_bf16(x);
}
KJ_DEV void kj_set(float *p, float x)
{
    *p = x;
}
KJ_DEV void kj_set(struct kj_bf16 *p, float x)
{
#if defined(__CUDA_ARCH__)
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(p->u) : "f"(x));
#else
    *p = kj_to_bf16(x);
#endif
}

KJ_DEV float kj_get(struct kj_e4m3 x)
{
    return kj_from_e4m3(x);
}
KJ_DEV float kj_get(struct kj_e5m2 x)
{
    return kj_from_e5m2(x);
}
/* Two numbers, a in the lower half. */
KJ_DEV uint32_t kj_pair(struct kj_bf16, float a, float b)
{
#if defined(__CUDA_ARCH__)
    uint32_t r;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(b), "f"(a));
    return r;
#else
    return kj_to_bf16(a).u | (uint32_t)kj_to_bf16(b).u << 16;
#endif
}
/* Of FP8; GPUs before 8.9 have no such instruction. */
KJ_DEV uint32_t kj_pair(struct kj_e4m3, float a, float b)
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 890
    unsigned short r;
    asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(r) : "f"(b), "f"(a));
    return r;
#else
    return kj_to_e4m3(a).u | (uint32_t)kj_to_e4m3(b).u << 8;
#endif
}
KJ_DEV uint32_t kj_pair(struct kj_e5m2, float a, float b)
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 890
    unsigned short r;
    asm("cvt.rn.satfinite.e5m2x2.f32 %0, %1, %2;" : "=h"(r) : "f"(b), "f"(a));
    return r;
#else
    return kj_to_e5m2(a).u | (uint32_t)kj_to_e5m2(b).u << 8;
#endif
}

template <class T, int V> struct alignas(sizeof(T) * V) kj_pack {
    T v[V];
};
template <int V, class T> KJ_DEV void kj_load(float *to, const T *p)
{
    kj_pack<T, V> k = *reinterpret_cast<const kj_pack<T, V> *>(p);
    for (int i = 0; i < V; i++)
        to[i] = kj_get(k.v[i]);
}
/* The 4 bytes that hold element i of `from` and what shares them. */
KJ_DEV uint32_t kj_word(const float *, const float *from, int i)
{
    return __float_as_uint(from[i]);
}
KJ_DEV uint32_t kj_word(const struct kj_bf16 *, const float *from, int i)
{
    return kj_pair(kj_bf16(), from[i], from[i + 1]);
}
/* V elements by one instruction for each 16 bytes (8 where there are no more), by a
 * function that is nothing else: where a struct of elements or of words is copied,
 * nvcc makes single stores of it whenever their loop is unrolled late, four or eight
 * where one serves (scripts/cuda-check looks for that). p: global memory. */
template <int V, class T> KJ_DEV void kj_store(T *p, const float *from)
{
    constexpr int per = 4 / (int)sizeof(T); /* elements in a word */
    if constexpr (V == 1) {
        kj_set(p, from[0]);
    } else if constexpr (V == 2 * per) {
        __stwb(reinterpret_cast<uint2 *>(p),
               uint2{kj_word(p, from, 0), kj_word(p, from, per)});
    } else {
#pragma unroll
        for (int i = 0; i < V; i += 4 * per)
            __stwb(reinterpret_cast<uint4 *>(p + i),
                   uint4{kj_word(p, from, i), kj_word(p, from, i + per),
                         kj_word(p, from, i + 2 * per), kj_word(p, from, i + 3 * per)});
    }
}

/* ---- sums over a block; sm: 32 floats of shared memory ---- */

KJ_DEV float kj_warp_sum(float x)
{
    for (int i = 16; i > 0; i /= 2)
        x += __shfl_xor_sync(0xffffffffu, x, i);
    return x;
}
KJ_DEV float kj_warp_max(float x)
{
    for (int i = 16; i > 0; i /= 2) {
        float y = __shfl_xor_sync(0xffffffffu, x, i);
        x = y > x ? y : x;
    }
    return x;
}
KJ_DEV float kj_block_sum(float x, float *sm)
{
    float sum = 0;
    x = kj_warp_sum(x);
    if (threadIdx.x % 32 == 0)
        sm[threadIdx.x / 32] = x;
    __syncthreads();
    for (unsigned i = 0; i < blockDim.x / 32; i++)
        sum += sm[i];
    __syncthreads();
    return sum;
}

/* ---- the largest magnitude of what a kernel stores (kj_backend.most) ---- */

/* What is left of x when it is stored as T. */
template <class T> KJ_DEV float kj_rounded(float x)
{
    T t;
    kj_set(&t, x);
    return kj_get(t);
}
/* Bits of magnitudes, so that NaN is above all. */
template <int V> KJ_DEV uint32_t kj_most_of(uint32_t most, const float *x)
{
    for (int k = 0; k < V; k++) {
        uint32_t m = __float_as_uint(x[k]) & 0x7fffffffu;
        most = m > most ? m : most;
    }
    return most;
}
/* Raises *to by the block's largest, all of whose threads come here. Rounding keeps
 * order, so the largest is rounded alone. One atomic operation a block, for whose result
 * nobody waits. sm: 32 words, which nothing else uses behind the last barrier. */
template <class T> KJ_DEV void kj_raise(uint32_t *to, uint32_t most, uint32_t *sm)
{
    most = __reduce_max_sync(0xffffffffu, most);
    if (threadIdx.x % 32 == 0)
        sm[threadIdx.x / 32] = most;
    __syncthreads();
    if (threadIdx.x > 0)
        return;
    for (unsigned i = 1; i < blockDim.x / 32; i++)
        most = sm[i] > most ? sm[i] : most;
    atomicMax(to, __float_as_uint(kj_rounded<T>(__uint_as_float(most))));
}
#define KJ_RAISE_SHARED (32 * sizeof(uint32_t))

#if defined(KJ_CUDA_EMU)
#define KJ_SHARED(T, name) T *name = reinterpret_cast<T *>(kj_emu_shared())
#else
extern __shared__ __align__(16) unsigned char kj_shared_bytes[];
#define KJ_SHARED(T, name) T *name = reinterpret_cast<T *>(kj_shared_bytes)
#endif

KJ_DEV void kj_complain(unsigned long long *flags, enum kj_flag kind, size_t i,
                        int32_t v)
{
    flags[kind] =
        1ull << 63 | (unsigned long long)(i & 0x7fffffffu) << 32 | (uint32_t)v;
}

/* ---- launching ---- */

bool kj_cuda_launched(struct kj_cuda *c, cudaStream_t stream, cudaError_t rc);
bool kj_cuda_grid(struct kj_cuda *c, const void *kernel, size_t blocks, size_t shared);

template <class... P>
static inline void kj_launch_typed(struct kj_cuda *c, cudaStream_t stream,
                                   void (*kernel)(P...), size_t blocks,
                                   unsigned threads, size_t shared, P... args)
{
    if (!kj_cuda_grid(c, (const void *)kernel, blocks, shared))
        return;
#if defined(KJ_CUDA_EMU)
    cudaError_t rc =
        kj_emu_launch((const void *)kernel, dim3((unsigned)blocks), dim3(threads),
                      shared, stream, [=] { kernel(args...); });
#else
    void *argv[] = {const_cast<void *>(static_cast<const void *>(&args))...};
    cudaError_t rc = cudaLaunchKernel((const void *)kernel, dim3((unsigned)blocks),
                                      dim3(threads), argv, shared, stream);
#endif
    kj_cuda_launched(c, stream, rc);
}
template <class... P, class... A>
static inline void kj_launch(struct kj_cuda *c, void (*kernel)(P...), size_t blocks,
                             unsigned threads, size_t shared, A... args)
{
    kj_launch_typed<P...>(c, c->stream, kernel, blocks, threads, shared,
                          static_cast<P>(args)...);
}
/* The same on another stream than that of operations. */
template <class... P, class... A>
static inline void kj_launch_on(struct kj_cuda *c, cudaStream_t stream,
                                void (*kernel)(P...), size_t blocks, unsigned threads,
                                A... args)
{
    kj_launch_typed<P...>(c, stream, kernel, blocks, threads, 0,
                          static_cast<P>(args)...);
}

/* ---- choosing a kernel ---- */

/* May rows of m, h long, be read v elements at a time? */
static inline bool kj_aligned(struct kj_mat m, size_t h, size_t v)
{
    if (!m.t)
        return true;
    size_t w = kj_width(m.t->type);
    return h % v == 0 && m.stride % v == 0 &&
           ((size_t)(uintptr_t)m.t->p + m.at * w) % (v * w) == 0;
}
template <class... M> static inline bool kj_all_aligned(size_t h, size_t v, M... m)
{
    return (kj_aligned(m, h, v) && ...);
}

/* Calls f with the element type and vector length as values of those types. */
template <int V> struct kj_int {
    static const int v = V;
};
template <class F> static inline void kj_by_type(enum kj_dtype type, bool wide, F f)
{
    if (type == KJ_BF16 && wide)
        f(kj_bf16(), kj_int<8>());
    else if (type == KJ_BF16)
        f(kj_bf16(), kj_int<1>());
    else if (wide)
        f(float(), kj_int<4>());
    else
        f(float(), kj_int<1>());
}
static inline size_t kj_wide(enum kj_dtype type)
{
    return type == KJ_BF16 ? 8 : 4;
}
static inline size_t kj_ceil(size_t a, size_t b)
{
    return (a + b - 1) / b;
}

/* Rows of h elements by blocks of KJ_ROW_THREADS threads that take V each: block x
 * is piece x % pieces of row x / pieces. */
#define KJ_ROW_THREADS 256
static inline size_t kj_pieces(size_t h, size_t v)
{
    return kj_ceil(kj_ceil(h, v), KJ_ROW_THREADS);
}
/* As few threads as do it in so many pieces, whole warps: of 768 bfloat16 96. */
static inline unsigned kj_row_threads(size_t h, size_t v)
{
    size_t pieces = kj_pieces(h, v);
    return pieces ? (unsigned)(kj_ceil(kj_ceil(h, v), 32 * pieces) * 32) : 32;
}

#endif
