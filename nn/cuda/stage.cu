/* stage.cu - between the host's memory and the device's, by way of pinned memory.
 *
 * A copy from memory that is not pinned makes the host wait for all that the stream
 * has to do before. So what goes up is copied into a ring of SLOTS pinned pieces first,
 * and the caller goes on; a piece is filled again when the stream has passed its last
 * use, which is noticed only by who is the whole ring ahead. Short copies run in the
 * stream itself. Long ones run on a stream of their own into a twin of the ring on the
 * device, while the operations before them are still at work; then the stream
 * of operations waits for that piece and copies it to its place, at the speed of the
 * device's memory.
 *
 * What comes down crosses in two pinned pieces: one is emptied by the host while the
 * other is filled.
 *
 * bfloat16 and FP8 cross as they are; the host rounds, or widens.
 */
#include "nn/cuda/cuda.cuh"

#include <cstdlib>
#include <cstring>

#define SLOTS KJ_CUDA_SLOTS
#define SLOT  KJ_CUDA_SLOT
#define SHORT ((size_t)64 << 10) /* some microseconds: less than two events cost */
#define DOWN  ((size_t)4 << 20)

struct kj_stage {
    char *host, *twin;
    cudaStream_t stream;
    cudaEvent_t come;          /* the last long copy is in the twin */
    cudaEvent_t passed[SLOTS]; /* the stream of operations is behind the piece */
    bool used[SLOTS];
    unsigned slot;
    size_t at; /* bytes used of it */
    char *down;
    cudaEvent_t filled[2];
};

static bool open_events(struct kj_cuda *c, cudaEvent_t *e, int n)
{
    for (int i = 0; i < n; i++)
        if (!KJ_CUDA(c, cudaEventCreateWithFlags(&e[i], cudaEventDisableTiming)))
            return false;
    return true;
}

bool kj_cuda_stage_open(struct kj_cuda *c)
{
    struct kj_stage *s = (struct kj_stage *)calloc(1, sizeof *s);
    c->stage = s;
    if (!s) {
        kj_cuda_fault(c, "no memory");
        return false;
    }
    if (cudaMalloc((void **)&s->twin, SLOTS * SLOT) == cudaSuccess) {
        c->base.work += SLOTS * SLOT;
    } else { /* all copies go the way of short ones */
        cudaGetLastError();
        s->twin = NULL;
    }
    return KJ_CUDA(c, cudaStreamCreateWithFlags(&s->stream, cudaStreamNonBlocking)) &&
           KJ_CUDA(c, cudaMallocHost((void **)&s->host, SLOTS * SLOT)) &&
           open_events(c, &s->come, 1) && open_events(c, s->passed, SLOTS) &&
           open_events(c, s->filled, 2);
}

void kj_cuda_stage_close(struct kj_cuda *c)
{
    struct kj_stage *s = c->stage;
    if (!s)
        return;
    if (s->stream)
        cudaStreamSynchronize(s->stream);
    for (int i = 0; i < SLOTS; i++)
        if (s->passed[i])
            cudaEventDestroy(s->passed[i]);
    for (int i = 0; i < 2; i++)
        if (s->filled[i])
            cudaEventDestroy(s->filled[i]);
    if (s->come)
        cudaEventDestroy(s->come);
    cudaFree(s->twin);
    cudaFreeHost(s->host);
    cudaFreeHost(s->down);
    if (s->stream)
        cudaStreamDestroy(s->stream);
    free(s);
    c->stage = NULL;
}

/* Room for n bytes of the ring, at *at of it. */
static bool take(struct kj_cuda *c, size_t n, size_t *at)
{
    struct kj_stage *s = c->stage;
    if (s->at + n > SLOT) {
        if (!KJ_CUDA(c, cudaEventRecord(s->passed[s->slot], c->stream)))
            return false;
        s->used[s->slot] = true;
        s->slot = (s->slot + 1) % SLOTS;
        s->at = 0;
        if (s->used[s->slot] && !KJ_CUDA(c, cudaEventSynchronize(s->passed[s->slot])))
            return false;
    }
    *at = s->slot * SLOT + s->at;
    s->at += (n + 255) / 256 * 256;
    return true;
}

/* Elements as the host has them to those of the device, and back. */
static void narrow(void *to, enum kj_dtype type, const void *from, size_t n)
{
    const float *x = (const float *)from;
    if (type == KJ_BF16)
        for (size_t i = 0; i < n; i++)
            ((struct kj_bf16 *)to)[i] = kj_to_bf16(x[i]);
    else if (type == KJ_E4M3)
        for (size_t i = 0; i < n; i++)
            ((struct kj_e4m3 *)to)[i] = kj_to_e4m3(x[i]);
    else if (type == KJ_E5M2)
        for (size_t i = 0; i < n; i++)
            ((struct kj_e5m2 *)to)[i] = kj_to_e5m2(x[i]);
    else
        memcpy(to, from, n * 4);
}

static void widen(void *to, enum kj_dtype type, const void *from, size_t n)
{
    float *y = (float *)to;
    if (type == KJ_BF16)
        for (size_t i = 0; i < n; i++)
            y[i] = kj_from_bf16(((const struct kj_bf16 *)from)[i]);
    else if (type == KJ_E4M3)
        for (size_t i = 0; i < n; i++)
            y[i] = kj_from_e4m3(((const struct kj_e4m3 *)from)[i]);
    else if (type == KJ_E5M2)
        for (size_t i = 0; i < n; i++)
            y[i] = kj_from_e5m2(((const struct kj_e5m2 *)from)[i]);
    else
        memcpy(to, from, n * 4);
}

static bool send(struct kj_cuda *c, char *to, size_t at, size_t n)
{
    struct kj_stage *s = c->stage;
    if (n <= SHORT || !s->twin)
        return KJ_CUDA(
            c, cudaMemcpyAsync(to, s->host + at, n, cudaMemcpyHostToDevice, c->stream));
    return KJ_CUDA(c, cudaMemcpyAsync(s->twin + at, s->host + at, n,
                                      cudaMemcpyHostToDevice, s->stream)) &&
           KJ_CUDA(c, cudaEventRecord(s->come, s->stream)) &&
           KJ_CUDA(c, cudaStreamWaitEvent(c->stream, s->come, 0)) &&
           KJ_CUDA(c, cudaMemcpyAsync(to, s->twin + at, n, cudaMemcpyDeviceToDevice,
                                      c->stream));
}

bool kj_cuda_up(struct kj_cuda *c, void *to, enum kj_dtype type, const void *from,
                size_t n)
{
    size_t width = kj_width(type), most = SLOT / width, at;
    kj_cuda_leave(c);
    for (size_t i = 0, k; i < n; i += k) {
        k = n - i < most ? n - i : most;
        if (!take(c, k * width, &at))
            return false;
        narrow(c->stage->host + at, type, (const char *)from + i * 4, k);
        if (!send(c, (char *)to + i * width, at, k * width))
            return false;
    }
    return true;
}

bool kj_cuda_down(struct kj_cuda *c, void *to, enum kj_dtype type, const void *from,
                  size_t n)
{
    struct kj_stage *s = c->stage;
    size_t width = kj_width(type), most = DOWN / width;
    size_t pieces = (n + most - 1) / most;
    kj_cuda_leave(c);
    if (!s->down && !KJ_CUDA(c, cudaMallocHost((void **)&s->down, 2 * DOWN)))
        return false;
    for (size_t i = 0; i <= pieces; i++) {
        size_t k = n - i * most < most ? n - i * most : most;
        if (i < pieces &&
            (!KJ_CUDA(c, cudaMemcpyAsync(s->down + i % 2 * DOWN,
                                         (const char *)from + i * DOWN, k * width,
                                         cudaMemcpyDeviceToHost, c->stream)) ||
             !KJ_CUDA(c, cudaEventRecord(s->filled[i % 2], c->stream))))
            return false;
        if (i == 0)
            continue;
        /* The last wait is for all, flags too: sync() then need not wait again. */
        if (i == pieces ? !kj_cuda_wait(c)
                        : !KJ_CUDA(c, cudaEventSynchronize(s->filled[(i - 1) % 2])))
            return false;
        k = n - (i - 1) * most < most ? n - (i - 1) * most : most;
        widen((char *)to + (i - 1) * most * 4, type, s->down + (i - 1) % 2 * DOWN, k);
    }
    return true;
}
