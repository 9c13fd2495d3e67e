/* cuda_runtime.h - the part of CUDA that nn/cuda/ uses, on the processor.
 *
 * Found in place of NVIDIA's header when the back end is compiled by a host
 * compiler (-Itests/cuda_emu). Kernels run block after block; the threads of a
 * block are fibers that switch where the device would wait: __syncthreads, warp
 * shuffles, mma. What is checked that a device would not tell:
 *
 *  - Threads and blocks run in an order that KJ_EMU_ORDER chooses (forward,
 *    reverse, or a number that seeds a shuffle): a missing barrier or a result that
 *    depends on the order shows as different numbers.
 *  - Shared memory is new and poisoned for each block, device memory poisoned when
 *    allocated; device memory cannot be touched by the host outside of calls.
 *  - Streams are lazy: nothing runs before something waits for that very stream,
 *    so a host buffer that is freed too early is read too late. What of several
 *    streams runs first is chosen against the program (host.cc), so what one reads of
 *    another's without an event between them is not there yet, or overwritten.
 *  - What cannot be captured into a graph is refused as CUDA refuses it.
 *  - Barriers that not all threads reach, launches beyond the device's limits, and
 *    (by AddressSanitizer) every access outside of an allocation.
 *
 * What it cannot say: whether code is fast, and anything about NVIDIA's own libraries.
 */
#ifndef KJ_TESTS_CUDA_RUNTIME_H
#define KJ_TESTS_CUDA_RUNTIME_H

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>

#include "tests/cuda_emu/tensor.h"

#define KJ_CUDA_EMU 1
#define __global__  static
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __restrict__ __restrict

struct dim3 {
    unsigned x, y, z;
    dim3(unsigned a = 1, unsigned b = 1, unsigned c = 1) : x(a), y(b), z(c)
    {
    }
};
struct alignas(8) uint2 {
    unsigned x, y;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};

/* ---- what a kernel sees ---- */

struct kj_emu_warp;
struct kj_emu_thread {
    dim3 tid;
    unsigned lane;
    struct kj_emu_warp *warp;
};
struct kj_emu_slot {
    alignas(16) unsigned char b[64];
};
extern struct kj_emu_thread *kj_emu_cur;
extern dim3 kj_emu_block, kj_emu_dim, kj_emu_grid;
#define threadIdx (kj_emu_cur->tid)
#define blockIdx  kj_emu_block
#define blockDim  kj_emu_dim
#define gridDim   kj_emu_grid

/* Compiled for the search for races (races.cc): what is no access of the kernel's own, and
 * accesses that are made for it. */
#if defined(KJ_EMU_RACE)
#define KJ_EMU_PLAIN __attribute__((no_sanitize("thread")))
void kj_emu_touch(const void *p, size_t n, bool write);
#else
#define KJ_EMU_PLAIN
static inline void kj_emu_touch(const void *, size_t, bool)
{
}
#endif

void *kj_emu_shared(void);
void kj_emu_die(const char *why);
/* Leaves n bytes for the other lanes and gives the slots of all, once all came. */
struct kj_emu_slot *kj_emu_exchange(const void *mine, size_t n);
void __syncthreads(void);

KJ_EMU_PLAIN static inline void __syncwarp(unsigned mask = 0xffffffffu)
{
    if (mask != 0xffffffffu)
        kj_emu_die("partial warps are not emulated");
    kj_emu_exchange(NULL, 0);
}
template <class T> KJ_EMU_PLAIN static inline T kj_emu_lane(T v, unsigned from)
{
    struct kj_emu_slot *s = kj_emu_exchange(&v, sizeof v);
    memcpy(&v, s[from & 31].b, sizeof v);
    return v;
}
template <class T> static inline T __shfl_xor_sync(unsigned, T v, int mask)
{
    return kj_emu_lane(v, kj_emu_cur->lane ^ (unsigned)mask);
}
template <class T> static inline T __shfl_sync(unsigned, T v, int from)
{
    return kj_emu_lane(v, (unsigned)from);
}

KJ_EMU_PLAIN static inline unsigned __reduce_max_sync(unsigned, unsigned v)
{
    struct kj_emu_slot *s = kj_emu_exchange(&v, sizeof v);
    for (unsigned i = 0; i < 32; i++) {
        unsigned x;
        memcpy(&x, s[i].b, sizeof x);
        v = x > v ? x : v;
    }
    return v;
}
/* Fibers of one thread switch only where they wait. */
KJ_EMU_PLAIN static inline unsigned atomicMax(unsigned *to, unsigned v)
{
    unsigned was = *to;
    *to = v > was ? v : was;
    return was;
}

/* ---- tensor cores: a warp's 16x8 += 16x16 times 16x8, bfloat16 ---- */

static inline float kj_emu_half(uint32_t pair, unsigned upper)
{
    uint32_t u = upper ? pair & 0xffff0000u : pair << 16;
    float f;
    memcpy(&f, &u, 4);
    return f;
}
/* PTX ISA, mma.m16n8k16: lane 4g + t has rows g and g + 8, columns 2t and 2t + 1. */
KJ_EMU_PLAIN static inline void kj_emu_mma(float *c, const uint32_t *a,
                                           const uint32_t *b)
{
    uint32_t mine[6] = {a[0], a[1], a[2], a[3], b[0], b[1]};
    struct kj_emu_slot *s = kj_emu_exchange(mine, sizeof mine);
    unsigned g = kj_emu_cur->lane / 4, t = kj_emu_cur->lane % 4;
    for (unsigned i = 0; i < 4; i++) {
        unsigned row = g % 8, high = i / 2, col = 2 * t + i % 2;
        float p[16];
        for (unsigned k = 0; k < 16; k++) {
            uint32_t x, y;
            memcpy(&x, s[4 * row + k % 8 / 2].b + 4 * (high + 2 * (k / 8)), 4);
            memcpy(&y, s[4 * col + k % 8 / 2].b + 4 * (4 + k / 8), 4);
            p[k] = kj_emu_half(x, k % 2) * kj_emu_half(y, k % 2);
        }
        c[i] = kj_emu_add(c[i], p, 16, KJ_EMU_BF16_BITS, KJ_EMU_BF16_KEEPS);
    }
}
/* ldmatrix.x4: lane l names row l % 8 of matrix l / 8, of eight 16-bit elements. */
KJ_EMU_PLAIN static inline void kj_emu_ldmatrix(uint32_t *r, const void *p, bool trans)
{
    if ((uintptr_t)p % 16)
        kj_emu_die("ldmatrix wants rows aligned to 16 bytes");
    kj_emu_touch(p, 16, false);
    struct kj_emu_slot *s = kj_emu_exchange(&p, sizeof p);
    unsigned g = kj_emu_cur->lane / 4, t = kj_emu_cur->lane % 4;
    for (unsigned m = 0; m < 4; m++) {
        uint16_t e[2];
        for (unsigned i = 0; i < 2; i++) {
            unsigned row = trans ? 2 * t + i : g, col = trans ? g : 2 * t + i;
            const uint16_t *q;
            memcpy(&q, s[8 * m + row].b, sizeof q);
            e[i] = q[col];
        }
        r[m] = (uint32_t)e[0] | (uint32_t)e[1] << 16;
    }
}
/* cp.async: some arrive at once, others not before the thread waits for them. */
void kj_emu_copy(void *to, const void *from, unsigned bytes);
void kj_emu_copies_commit(void);
void kj_emu_copies_wait(unsigned groups_left);

static inline float __fdividef(float a, float b)
{
    return a / b;
}
static inline float __frsqrt_rn(float a)
{
    return 1.0f / sqrtf(a);
}
/* One store, which wants its address aligned to its size. */
template <class T> static inline void __stwb(T *to, T v)
{
    if ((uintptr_t)to % sizeof v)
        kj_emu_die("a store is not aligned to its size");
    *to = v;
}
static inline float __uint_as_float(unsigned u)
{
    float f;
    memcpy(&f, &u, 4);
    return f;
}
static inline unsigned __float_as_uint(float f)
{
    unsigned u;
    memcpy(&u, &f, 4);
    return u;
}

/* ---- the host's side ---- */

enum cudaError_t {
    cudaSuccess = 0,
    cudaErrorInvalidValue = 1,
    cudaErrorMemoryAllocation = 2,
    cudaErrorInvalidConfiguration = 9,
    cudaErrorInvalidResourceHandle = 400,
    cudaErrorInsufficientDriver = 35,
    cudaErrorDevicesUnavailable = 46,
    cudaErrorInvalidDeviceFunction = 98,
    cudaErrorNoDevice = 100,
    cudaErrorInvalidKernelImage = 200,
    cudaErrorNoKernelImageForDevice = 209,
    cudaErrorECCUncorrectable = 214,
    cudaErrorNvlinkUncorrectable = 220,
    cudaErrorUnsupportedPtxVersion = 222,
    cudaErrorContained = 226,
    cudaErrorNotReady = 600,
    cudaErrorIllegalAddress = 700,
    cudaErrorLaunchTimeout = 702,
    cudaErrorAssert = 710,
    cudaErrorHardwareStackError = 714,
    cudaErrorIllegalInstruction,
    cudaErrorMisalignedAddress,
    cudaErrorInvalidAddressSpace,
    cudaErrorInvalidPc,
    cudaErrorLaunchFailure,
    cudaErrorSystemNotReady = 802,
    cudaErrorSystemDriverMismatch,
    cudaErrorCompatNotSupportedOnDevice,
    cudaErrorStreamCaptureUnsupported = 900,
    cudaErrorStreamCaptureInvalidated = 901,
    cudaErrorStreamCaptureUnjoined = 904,
    cudaErrorStreamCaptureIsolation = 905,
    cudaErrorStreamCaptureImplicit = 906,
    cudaErrorUnknown = 999
};
struct kj_emu_stream;
struct kj_emu_event;
struct kj_emu_graph;
struct kj_emu_node;
typedef kj_emu_stream *cudaStream_t;
typedef kj_emu_event *cudaEvent_t;
typedef kj_emu_graph *cudaGraph_t;
typedef kj_emu_graph *cudaGraphExec_t;
typedef kj_emu_node *cudaGraphNode_t;
enum cudaStreamCaptureMode {
    cudaStreamCaptureModeGlobal,
    cudaStreamCaptureModeThreadLocal,
    cudaStreamCaptureModeRelaxed
};
enum cudaMemcpyKind {
    cudaMemcpyHostToDevice = 1,
    cudaMemcpyDeviceToHost,
    cudaMemcpyDeviceToDevice
};
struct cudaDeviceProp {
    char name[256];
    size_t totalGlobalMem, sharedMemPerBlockOptin;
    int major, minor, multiProcessorCount;
};
struct cudaFuncAttributes {
    int numRegs;
};
enum { cudaStreamNonBlocking = 1, cudaEventDisableTiming = 2 };
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };

cudaError_t cudaGetDeviceCount(int *n);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaGetDevice(int *device);
cudaError_t cudaDeviceGetPCIBusId(char *buf, int n, int device);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *p, int device);
cudaError_t cudaDriverGetVersion(int *v);
cudaError_t cudaRuntimeGetVersion(int *v);
cudaError_t cudaMemGetInfo(size_t *left, size_t *total);
cudaError_t cudaMalloc(void **p, size_t n);
cudaError_t cudaFree(void *p);
cudaError_t cudaMallocHost(void **p, size_t n);
cudaError_t cudaFreeHost(void *p);
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t n, cudaMemcpyKind kind,
                            cudaStream_t s);
cudaError_t cudaMemsetAsync(void *p, int v, size_t n, cudaStream_t s);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned flags);
cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *greatest);
cudaError_t cudaStreamCreateWithPriority(cudaStream_t *s, unsigned flags, int priority);
cudaError_t cudaStreamSynchronize(cudaStream_t s);
cudaError_t cudaStreamDestroy(cudaStream_t s);
cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t e, unsigned flags);
cudaError_t cudaStreamBeginCapture(cudaStream_t s, cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t *g);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *e, cudaGraph_t g,
                                 unsigned long long flags);
cudaError_t cudaGraphGetNodes(cudaGraph_t g, cudaGraphNode_t *nodes, size_t *n);
cudaError_t cudaGraphLaunch(cudaGraphExec_t e, cudaStream_t s);
cudaError_t cudaGraphDestroy(cudaGraph_t g);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t e);
cudaError_t cudaEventCreate(cudaEvent_t *e);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *e, unsigned flags);
cudaError_t cudaEventQuery(cudaEvent_t e);
cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s);
cudaError_t cudaEventSynchronize(cudaEvent_t e);
cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t a, cudaEvent_t b);
cudaError_t cudaEventDestroy(cudaEvent_t e);
cudaError_t cudaGetLastError(void);
const char *cudaGetErrorString(cudaError_t e);
cudaError_t cudaFuncSetAttribute(const void *f, cudaFuncAttribute a, int v);
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes *a, const void *f);

/* Queue a call of body() by every thread of the grid. */
cudaError_t kj_emu_launch(const void *key, dim3 grid, dim3 block, size_t shared,
                          cudaStream_t s, std::function<void()> body);
/* Memory of the device, as far as its end? */
bool kj_emu_is_device(const void *p, size_t n);
/* Queue something that the device does at that time, such as a library's call. */
void kj_emu_queue(cudaStream_t s, std::function<void()> f);

/* What was asked of the device so far; kj_emu_count is a symbol of the object. */
struct kj_emu_counts {
    uint64_t waits; /* of the host: for streams, events, copies from pageable memory */
    uint64_t mallocs, frees;
    uint64_t launches; /* kernels, without those of graphs */
    uint64_t captures, graphs, replays;
    uint64_t nodes; /* of the graphs that can be launched now */
};

/* ---- between the emulator's files ---- */

/* Where a thread's accesses are looked at (races.cc): which it is, how many barriers its
 * block and its warp have passed; and memory that is the emulator's. */
struct kj_emu_place {
    unsigned block, thread, barriers, warp_barriers;
};
bool kj_emu_where(struct kj_emu_place *p);
bool kj_emu_own(const void *p);
bool kj_emu_operand(const void *p);
bool kj_emu_in_shared(const void *p, size_t n);

/* What a call of that kind gives: fail.cc. And whether nothing runs any more. */
cudaError_t kj_emu_fails(const char *call);
cudaError_t kj_emu_refuse(const char *call); /* and cudaGetLastError tells it */
bool kj_emu_dead(void);
/* The code that what was just launched is to fail with when it runs; and that it has. */
cudaError_t kj_emu_due(void);
void kj_emu_kill(cudaError_t code);
int kj_emu_driver(void);

void kj_emu_race_launch(void);
void kj_emu_grid_run(dim3 grid, dim3 block, size_t shared,
                     const std::function<void()> &body);
void kj_emu_fibers_free(void);

#endif
