/* host.cc - the host's side of the emulated device: memory, streams, events, graphs.
 *
 * A stream is a queue that nothing takes from before something waits for it. What of
 * several streams runs first is chosen against the program (KJ_EMU_ORDER): forward,
 * other streams run only as far as they are waited for; reverse, all but the first
 * run as soon as they can; a number tosses a coin. So a missing wait for an event is
 * seen in one of them.
 *
 * A stream that is captured collects what it is given; a graph's launch queues that.
 * What CUDA refuses during a capture is refused here too, and ends it.
 *
 * Thread-safety: one thread at a time is inside, by a lock.
 */
#include <cuda_runtime.h>

#include <cstdio>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <vector>

enum { POISON_MAX = 16 << 20, MAX_THREADS = 1024, SHARED_MAX = 227 << 10 };

/* A place in a stream, behind which an event was recorded. */
struct mark {
    bool done;
    double at;
    kj_emu_stream *stream;
};
struct item {
    std::function<void()> run;
    std::shared_ptr<mark> wait, set;
};
struct kj_emu_event {
    std::shared_ptr<mark> last;
};
struct kj_emu_graph {
    std::vector<item> nodes;
};
struct kj_emu_stream {
    unsigned number = 0;
    int device = 0;
    std::deque<item> queue;
    kj_emu_graph *graph = NULL; /* being captured */
    bool spoilt = false;        /* by something that cannot be captured */
};

static std::recursive_mutex lock;
#define LOCKED std::lock_guard<std::recursive_mutex> guard(lock)

static std::vector<kj_emu_stream *> streams;
static struct kj_emu_counts counts;
static cudaError_t last;
static thread_local int chosen;

extern "C" __attribute__((visibility("default"))) void
kj_emu_count(struct kj_emu_counts *to)
{
    LOCKED;
    *to = counts;
}

static cudaError_t fail(cudaError_t rc)
{
    if (rc != cudaSuccess)
        last = rc;
    return rc;
}
/* In a call: give up where it is to fail (fail.cc). */
#define MAY_FAIL(call)                                                                 \
    if (cudaError_t rc_ = kj_emu_fails(call))                                          \
    return fail(rc_)

/* ---- memory: pages that only the device may touch ---- */

struct region {
    char *base;
    size_t bytes, user;
};
static std::map<void *, region> regions, pinned;
static size_t device_used;
/* KJ_EMU_MEMORY: MB that the device tells. KJ_EMU_USABLE: those that can be had, as
 * where another program takes some meanwhile. */
static size_t megabytes(const char *name, size_t otherwise)
{
    const char *s = getenv(name);
    return s ? strtoul(s, NULL, 10) * 1000000 : otherwise;
}
static size_t device_total(void)
{
    return megabytes("KJ_EMU_MEMORY", (size_t)2 << 30);
}
static unsigned inside; /* runs of the device under way */

static void device_memory(bool on)
{
#if !defined(__SANITIZE_ADDRESS__)
    if (on ? inside++ : --inside)
        return;
    for (auto &r : regions)
        mprotect(r.second.base, r.second.bytes,
                 on ? PROT_READ | PROT_WRITE : PROT_NONE);
#else
    (void)on;
#endif
}

/* ---- streams ---- */

/* The next thing of s, if nothing is in its way. */
static bool advance(kj_emu_stream *s)
{
    if (s->queue.empty() || (s->queue.front().wait && !s->queue.front().wait->done))
        return false;
    item i = std::move(s->queue.front());
    s->queue.pop_front();
    if (i.run && !kj_emu_dead())
        i.run();
    if (i.set) {
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        i.set->at = (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
        i.set->done = true;
    }
    return true;
}

/* Whether what need not run yet runs now. */
static bool eager(void)
{
    static uint64_t r;
    const char *how = getenv("KJ_EMU_ORDER");
    if (!how || strcmp(how, "forward") == 0)
        return false;
    if (strcmp(how, "reverse") == 0)
        return true;
    r = (r + strtoull(how, NULL, 10)) * 6364136223846793005u + 1442695040888963407u;
    return r >> 63;
}

/* Runs s until `until` is reached, or to its end; others as far as s waits for them. */
static void run(kj_emu_stream *s, const mark *until, unsigned depth)
{
    if (depth > 100)
        kj_emu_die("streams wait for each other");
    while (until ? !until->done : !s->queue.empty()) {
        if (s->queue.empty())
            kj_emu_die("an event that is waited for is in no stream");
        if (!advance(s)) {
            std::shared_ptr<mark> w = s->queue.front().wait;
            run(w->stream, w.get(), depth + 1);
        }
    }
}

static void run_eager(void)
{
    for (size_t i = 0; i < streams.size(); i++)
        if (streams[i]->number > 0 && !streams[i]->queue.empty() && eager()) {
            device_memory(true);
            while (advance(streams[i]))
                ;
            device_memory(false);
        }
}

static void finish(kj_emu_stream *s, const mark *until)
{
    if (until ? until->done : s->queue.empty())
        return;
    run_eager();
    device_memory(true);
    run(s, until, 0);
    device_memory(false);
}

static void finish_all(void)
{
    for (size_t i = 0; i < streams.size(); i++)
        finish(streams[i], NULL);
}

static void put(kj_emu_stream *s, item i)
{
    LOCKED;
    if (!s)
        kj_emu_die("work on the default stream, which waits for all others");
    if (s->graph) {
        s->graph->nodes.push_back(std::move(i));
        return;
    }
    s->queue.push_back(std::move(i));
    if (s->number > 0 && !inside)
        run_eager();
}

void kj_emu_queue(cudaStream_t s, std::function<void()> f)
{
    cudaError_t code = kj_emu_due();
    if (code != cudaSuccess)
        f = [code] { kj_emu_kill(code); };
    put(s, item{std::move(f), nullptr, nullptr});
}

/* What may not be done while anything is captured: the capture is lost. */
static bool refused(void)
{
    bool any = false;
    for (kj_emu_stream *s : streams)
        if (s->graph)
            any = s->spoilt = true;
    return any;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned)
{
    LOCKED;
    /* Of those that live together the first, number 0, is never eager. */
    static unsigned made;
    *s = new kj_emu_stream();
    (*s)->device = chosen;
    made = streams.empty() ? 0 : made + 1;
    (*s)->number = made;
    streams.push_back(*s);
    return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t s)
{
    LOCKED;
    MAY_FAIL("wait");
    if (refused())
        return fail(cudaErrorStreamCaptureUnsupported);
    counts.waits++;
    finish(s, NULL);
    MAY_FAIL("end");
    return cudaSuccess;
}
/* For tests of whole programs: the counts go to the file KJ_EMU_COUNTS, as JSON. */
static void tell(void)
{
    const char *path = getenv("KJ_EMU_COUNTS");
    FILE *f = path ? fopen(path, "w") : NULL;
    if (!f)
        return;
    fprintf(f, "{\"waits\": %llu, \"mallocs\": %llu, \"frees\": %llu, ",
            (unsigned long long)counts.waits, (unsigned long long)counts.mallocs,
            (unsigned long long)counts.frees);
    fprintf(f, "\"launches\": %llu, \"graphs\": %llu, \"replays\": %llu}\n",
            (unsigned long long)counts.launches, (unsigned long long)counts.graphs,
            (unsigned long long)counts.replays);
    fclose(f);
}
cudaError_t cudaStreamDestroy(cudaStream_t s)
{
    LOCKED;
    finish(s, NULL);
    delete s->graph;
    for (size_t i = 0; i < streams.size(); i++)
        if (streams[i] == s)
            streams.erase(streams.begin() + (ptrdiff_t)i--);
    delete s;
    if (streams.empty()) {
        kj_emu_fibers_free();
        tell();
    }
    return cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t e, unsigned)
{
    LOCKED;
    if (s->graph) { /* of what is outside of the capture nothing is known */
        s->spoilt = true;
        return fail(cudaErrorStreamCaptureIsolation);
    }
    if (e->last)
        put(s, item{nullptr, e->last, nullptr});
    return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t *p)
{
    *p = new kj_emu_event();
    return cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *p, unsigned)
{
    return cudaEventCreate(p);
}
cudaError_t cudaEventRecord(cudaEvent_t p, cudaStream_t s)
{
    LOCKED;
    if (s->graph) { /* possible there; nothing here needs it */
        s->spoilt = true;
        return fail(cudaErrorStreamCaptureUnsupported);
    }
    p->last = std::make_shared<mark>(mark{false, 0, s});
    put(s, item{nullptr, nullptr, p->last});
    return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t p)
{
    LOCKED;
    return !p->last || p->last->done ? cudaSuccess : cudaErrorNotReady;
}
cudaError_t cudaEventSynchronize(cudaEvent_t p)
{
    LOCKED;
    MAY_FAIL("wait");
    if (refused())
        return fail(cudaErrorStreamCaptureUnsupported);
    counts.waits++;
    if (p->last)
        finish(p->last->stream, p->last.get());
    MAY_FAIL("end");
    return cudaSuccess;
}
cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t a, cudaEvent_t b)
{
    LOCKED;
    if (!a->last || !b->last)
        return fail(cudaErrorInvalidValue);
    if (!a->last->done || !b->last->done)
        return fail(cudaErrorNotReady);
    *ms = (float)(b->last->at - a->last->at);
    return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t p)
{
    delete p;
    return cudaSuccess;
}

/* ---- graphs ---- */

cudaError_t cudaStreamBeginCapture(cudaStream_t s, cudaStreamCaptureMode)
{
    LOCKED;
    if (!s || s->graph)
        return fail(cudaErrorInvalidValue);
    s->graph = new kj_emu_graph();
    s->spoilt = false;
    return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t *g)
{
    LOCKED;
    *g = NULL;
    if (!s->graph)
        return fail(cudaErrorInvalidValue);
    counts.captures++;
    cudaError_t rc = kj_emu_fails("capture");
    if (s->spoilt || rc != cudaSuccess)
        delete s->graph;
    else
        *g = s->graph;
    s->graph = NULL;
    return *g ? cudaSuccess : fail(cudaErrorStreamCaptureInvalidated);
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *e, cudaGraph_t g, unsigned long long)
{
    LOCKED;
    MAY_FAIL("graph");
    *e = new kj_emu_graph(*g);
    counts.graphs++;
    counts.nodes += g->nodes.size();
    return cudaSuccess;
}
/* How many; which they are nobody asks here. */
cudaError_t cudaGraphGetNodes(cudaGraph_t g, cudaGraphNode_t *nodes, size_t *n)
{
    LOCKED;
    if (nodes)
        return fail(cudaErrorInvalidValue);
    *n = g->nodes.size();
    return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t g, cudaStream_t s)
{
    LOCKED;
    MAY_FAIL("launch");
    if (s->graph) {
        s->spoilt = true;
        return fail(cudaErrorStreamCaptureUnsupported);
    }
    counts.replays++;
    cudaError_t code = kj_emu_due();
    if (code != cudaSuccess)
        put(s, item{[code] { kj_emu_kill(code); }, nullptr, nullptr});
    for (const item &i : g->nodes)
        put(s, i);
    return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t g)
{
    LOCKED;
    delete g;
    return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t g)
{
    LOCKED;
    if (refused())
        return fail(cudaErrorStreamCaptureUnsupported);
    counts.nodes -= g->nodes.size();
    delete g;
    return cudaSuccess;
}

/* ---- allocation and copies ---- */

cudaError_t cudaMalloc(void **p, size_t n)
{
    LOCKED;
    *p = NULL;
    MAY_FAIL("malloc");
    if (refused())
        return fail(cudaErrorStreamCaptureUnsupported);
    size_t most = megabytes("KJ_EMU_USABLE", device_total());
    if (n > most - (device_used < most ? device_used : most))
        return fail(cudaErrorMemoryAllocation);
    counts.mallocs++;
    region r;
    r.user = n;
#if defined(__SANITIZE_ADDRESS__)
    /* Not a byte more than n, so that its end is seen. */
    r.bytes = n;
    if (posix_memalign(p, 256, n ? n : 1))
        return fail(cudaErrorMemoryAllocation);
    r.base = (char *)*p;
    memset(*p, 0xff, n);
#else
    size_t page = (size_t)sysconf(_SC_PAGESIZE), pages = (n + page - 1) / page + 1;
    r.bytes = (pages - 1) * page;
    r.base = (char *)mmap(NULL, pages * page, PROT_NONE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (r.base == MAP_FAILED)
        return fail(cudaErrorMemoryAllocation);
    *p = r.base + (r.bytes - (n + 255) / 256 * 256);
    mprotect(r.base, r.bytes, PROT_READ | PROT_WRITE);
    if (n <= POISON_MAX) /* pages that nobody touches cost nothing to protect */
        memset(*p, 0xff, n);
    mprotect(r.base, r.bytes, PROT_NONE);
#endif
    regions[*p] = r;
    device_used += n;
    return cudaSuccess;
}

/* Waits for the whole device, as there. */
cudaError_t cudaFree(void *p)
{
    LOCKED;
    if (!p)
        return cudaSuccess;
    /* It is let go even so, or sanitizers would have it as a leak. */
    cudaError_t rc = kj_emu_fails("free");
    if (refused())
        return fail(cudaErrorStreamCaptureUnsupported);
    counts.frees++;
    finish_all();
    auto it = regions.find(p);
    if (it == regions.end())
        return fail(cudaErrorInvalidValue);
    device_used -= it->second.user;
#if defined(__SANITIZE_ADDRESS__)
    free(it->second.base);
#else
    munmap(it->second.base, it->second.bytes + (size_t)sysconf(_SC_PAGESIZE));
#endif
    regions.erase(it);
    return fail(rc);
}

cudaError_t cudaMallocHost(void **p, size_t n)
{
    LOCKED;
    *p = malloc(n ? n : 1);
    pinned[*p] = region{(char *)*p, n, n};
    return cudaSuccess;
}

cudaError_t cudaFreeHost(void *p)
{
    LOCKED;
    finish_all();
    if (p && !pinned.erase(p))
        return fail(cudaErrorInvalidValue);
    free(p);
    return cudaSuccess;
}

bool kj_emu_is_device(const void *p, size_t n)
{
    LOCKED;
    auto it = regions.upper_bound((void *)(uintptr_t)p);
    if (it == regions.begin())
        return false;
    --it;
    return (const char *)p + n <= (const char *)it->first + it->second.user;
}

static bool is_pinned(const void *p)
{
    auto it = pinned.upper_bound((void *)(uintptr_t)p);
    if (it == pinned.begin())
        return false;
    --it;
    return (const char *)p < it->second.base + it->second.bytes;
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t n, cudaMemcpyKind kind,
                            cudaStream_t s)
{
    LOCKED;
    MAY_FAIL("copy");
    if (kj_emu_is_device(to, n) == (kind == cudaMemcpyDeviceToHost) ||
        kj_emu_is_device(from, n) == (kind == cudaMemcpyHostToDevice))
        return fail(cudaErrorInvalidValue);
    bool up = kind == cudaMemcpyHostToDevice && !is_pinned(from);
    bool down = kind == cudaMemcpyDeviceToHost && !is_pinned(to);
    if (s->graph && (up || down)) {
        s->spoilt = true;
        return fail(cudaErrorStreamCaptureUnsupported);
    }
    if (up) { /* pageable memory is read before the call returns, behind a wait */
        std::vector<char> copy((const char *)from, (const char *)from + n);
        counts.waits++;
        kj_emu_queue(s, [to, copy] { memcpy(to, copy.data(), copy.size()); });
    } else {
        kj_emu_queue(s, [to, from, n] { memcpy(to, from, n); });
    }
    if (down) {
        counts.waits++;
        finish(s, NULL);
    }
    return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void *p, int v, size_t n, cudaStream_t s)
{
    LOCKED;
    MAY_FAIL("set");
    if (!kj_emu_is_device(p, n))
        return fail(cudaErrorInvalidValue);
    kj_emu_queue(s, [p, v, n] { memset(p, v, n); });
    return cudaSuccess;
}

/* ---- the device, errors, launches ---- */

/* KJ_EMU_GPUS: how many, each of a process of its own. */
cudaError_t cudaGetDeviceCount(int *n)
{
    const char *s = getenv("KJ_EMU_GPUS");
    *n = kj_emu_driver() < 13000 ? 0 : s ? atoi(s) : 1;
    return *n                        ? cudaSuccess
           : kj_emu_driver() < 13000 ? cudaErrorInsufficientDriver
                                     : cudaErrorNoDevice;
}
cudaError_t cudaSetDevice(int device)
{
    LOCKED;
    MAY_FAIL("open");
    int n;
    cudaGetDeviceCount(&n);
    if (device < 0 || device >= n)
        return fail(cudaErrorInvalidValue);
    chosen = device;
    return cudaSuccess;
}
cudaError_t cudaGetDevice(int *device)
{
    *device = chosen;
    return cudaSuccess;
}
cudaError_t cudaDeviceGetPCIBusId(char *buf, int n, int device)
{
    snprintf(buf, (size_t)n, "0000:%02X:00.0", (unsigned)device + 1);
    return cudaSuccess;
}
cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *greatest)
{
    *least = 0;
    *greatest = -5;
    return cudaSuccess;
}
cudaError_t cudaStreamCreateWithPriority(cudaStream_t *s, unsigned flags, int)
{
    return cudaStreamCreateWithFlags(s, flags);
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *p, int)
{
    memset(p, 0, sizeof *p);
    snprintf(p->name, sizeof p->name, "emulated on the processor, for tests");
    p->totalGlobalMem = device_total();
    p->sharedMemPerBlockOptin = SHARED_MAX;
    const char *cc = getenv("KJ_EMU_CAPABILITY");
    int number = cc ? atoi(cc) : 90;
    p->major = number / 10;
    p->minor = number % 10;
    p->multiProcessorCount = 4;
    return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int *v)
{
    *v = kj_emu_driver();
    return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int *v)
{
    *v = 13000;
    return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t *left, size_t *total)
{
    LOCKED;
    *total = device_total();
    *left = *total - (device_used < *total ? device_used : *total);
    return cudaSuccess;
}
cudaError_t cudaGetLastError(void)
{
    LOCKED;
    cudaError_t rc = last;
    last = cudaSuccess;
    return rc;
}
static std::map<const void *, size_t> optin;

cudaError_t cudaFuncSetAttribute(const void *f, cudaFuncAttribute, int v)
{
    LOCKED;
    if (v > SHARED_MAX)
        return fail(cudaErrorInvalidValue);
    optin[f] = (size_t)v;
    return cudaSuccess;
}

cudaError_t kj_emu_refuse(const char *call)
{
    LOCKED;
    MAY_FAIL(call);
    return cudaSuccess;
}

cudaError_t cudaFuncGetAttributes(cudaFuncAttributes *a, const void *)
{
    LOCKED;
    MAY_FAIL("kernel");
    a->numRegs = 0;
    return cudaSuccess;
}

cudaError_t kj_emu_launch(const void *key, dim3 g, dim3 b, size_t shared,
                          cudaStream_t s, std::function<void()> body)
{
    LOCKED;
    uint64_t threads = (uint64_t)b.x * b.y * b.z, blocks = (uint64_t)g.x * g.y * g.z;
    size_t most = optin.count(key) ? optin[key] : 48 << 10;
    MAY_FAIL("launch");
    if (s->number > 0)
        MAY_FAIL("aside");
    if (s->device != chosen)
        return fail(cudaErrorInvalidResourceHandle);
    if (threads == 0 || threads > MAX_THREADS || blocks == 0 || g.x > 0x7fffffffu ||
        g.y > 65535 || g.z > 65535 || b.z > 64 ||
        shared > (most < 49152 ? 49152 : most))
        return fail(cudaErrorInvalidConfiguration);
    counts.launches += !s->graph;
    kj_emu_queue(s, [=] { kj_emu_grid_run(g, b, shared, body); });
    return cudaSuccess;
}
