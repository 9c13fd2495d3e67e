/* emu.cc - runs kernels on the processor; see cuda_runtime.h here.
 *
 * A block's threads are fibers. One fiber runs thread after thread as long as none
 * of them waits; a thread that waits keeps its fiber, and the next one starts on
 * another. So kernels without barriers never switch at all.
 */
#include <cuda_runtime.h>

#include <cstdio>
#include <deque>
#include <map>
#include <pthread.h>
#include <sys/mman.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#endif

enum { POISON_MAX = 16 << 20 };
enum { STACK = 256 << 10, MAX_THREADS = 1024, SHARED_MAX = 227 << 10 };

/* glibc's swapcontext asks the kernel for the signal mask each time; this does not. */
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) &&                           \
    !defined(__SANITIZE_THREAD__)
#define SWAP_ASM
extern "C" void kj_emu_swap(void **from, void *to);
asm(".text\n.hidden kj_emu_swap\n.globl kj_emu_swap\nkj_emu_swap:\n"
    "push %rbp\npush %rbx\npush %r12\npush %r13\npush %r14\npush %r15\n"
    "mov %rsp, (%rdi)\nmov %rsi, %rsp\n"
    "pop %r15\npop %r14\npop %r13\npop %r12\npop %rbx\npop %rbp\nret\n");
#endif

struct fiber {
    ucontext_t ctx;
    void *sp;
    char *stack;
    size_t size;
    void *fake, *tsan;
};

struct kj_emu_warp {
    unsigned size, here, exited, gen;
    struct kj_emu_slot slot[2][32];
    std::vector<unsigned> waiting;
};

struct kj_emu_thread *kj_emu_cur;
dim3 kj_emu_block, kj_emu_dim, kj_emu_grid;

static struct {
    std::vector<kj_emu_thread> thread;
    std::vector<unsigned> order; /* in which threads start and are released */
    std::vector<unsigned> rank;
    std::vector<fiber *> fiber_of;
    std::vector<kj_emu_warp> warp;
    std::deque<unsigned> ready;
    std::vector<unsigned> waiting; /* at __syncthreads */
    std::vector<fiber *> idle;
    unsigned n, fresh, live;
    const std::function<void()> *body;
    unsigned char *shared;
    fiber *now, main;
} e;

void kj_emu_die(const char *why)
{
    fprintf(stderr, "cuda emulator: %s (block %u of %u, thread %u)\n", why,
            kj_emu_block.x, kj_emu_grid.x, kj_emu_cur ? kj_emu_cur->tid.x : 0);
    abort();
}

void *kj_emu_shared(void)
{
    return e.shared;
}

/* Not a byte more than n, so that sanitizers see its end. */
static void *exact(size_t align, size_t n)
{
    void *p;
    if (posix_memalign(&p, align, n ? n : 1))
        kj_emu_die("no memory");
    return p;
}

/* ---- fibers ---- */

static void go(fiber *to)
{
    fiber *from = e.now;
    if (from == to)
        return;
    e.now = to;
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(&from->fake, to->stack, to->size);
#endif
#if defined(__SANITIZE_THREAD__)
    __tsan_switch_to_fiber(to->tsan, 0);
#endif
#if defined(SWAP_ASM)
    kj_emu_swap(&from->sp, to->sp);
#else
    swapcontext(&from->ctx, &to->ctx);
#endif
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(from->fake, NULL, NULL);
#endif
}

static void fiber_main(void);

static fiber *fiber_new(void)
{
    if (!e.idle.empty()) {
        fiber *f = e.idle.back();
        e.idle.pop_back();
        return f;
    }
    fiber *f = new fiber();
    f->size = STACK;
    f->stack = (char *)malloc(f->size);
#if defined(SWAP_ASM)
    void **sp = (void **)(f->stack + f->size);
    *--sp = NULL; /* so that fiber_main finds the stack as a call leaves it */
    *--sp = (void *)fiber_main;
    f->sp = sp - 6;
    memset(f->sp, 0, 6 * sizeof *sp);
#else
    getcontext(&f->ctx);
    f->ctx.uc_stack.ss_sp = f->stack;
    f->ctx.uc_stack.ss_size = f->size;
    makecontext(&f->ctx, fiber_main, 0);
#endif
#if defined(__SANITIZE_THREAD__)
    f->tsan = __tsan_create_fiber(0);
#endif
    return f;
}

/* Another thread's turn: one that has not begun, one that was released, or the
 * end of the block. The caller waits, or is an idle fiber. */
static void next(void)
{
    if (e.fresh < e.n) {
        go(fiber_new());
    } else if (!e.ready.empty()) {
        unsigned t = e.ready.front();
        e.ready.pop_front();
        kj_emu_cur = &e.thread[t];
        go(e.fiber_of[t]);
    } else if (e.live == 0) {
        go(&e.main);
    } else {
        kj_emu_die("threads wait at barriers that others do not reach");
    }
}

static void release(std::vector<unsigned> *waiting)
{
    std::vector<bool> is(e.n);
    for (unsigned t : *waiting)
        is[t] = true;
    if (waiting->size() > 32) {
        for (unsigned t : e.order)
            if (is[t])
                e.ready.push_back(t);
    } else {
        for (unsigned i = 0; i < waiting->size(); i++)
            for (unsigned j = i + 1; j < waiting->size(); j++)
                if (e.rank[(*waiting)[j]] < e.rank[(*waiting)[i]])
                    std::swap((*waiting)[i], (*waiting)[j]);
        /* A warp goes on before the others do: whatever it may overtake, it does. */
        for (unsigned i = (unsigned)waiting->size(); i-- > 0;)
            e.ready.push_front((*waiting)[i]);
    }
    waiting->clear();
}

static unsigned index_of(const kj_emu_thread *t)
{
    return (unsigned)(t - e.thread.data());
}

/* The caller goes on when it is its turn again. */
static void wait_turn(unsigned t)
{
    next();
    kj_emu_cur = &e.thread[t];
}

void __syncthreads(void)
{
    unsigned t = index_of(kj_emu_cur);
    e.waiting.push_back(t);
    if (e.waiting.size() == e.live)
        release(&e.waiting);
    wait_turn(t);
}

struct kj_emu_slot *kj_emu_exchange(const void *mine, size_t n)
{
    unsigned t = index_of(kj_emu_cur);
    kj_emu_warp *w = kj_emu_cur->warp;
    if (w->exited)
        kj_emu_die("a warp's lanes exchange values when some have left");
    struct kj_emu_slot *slots = w->slot[w->gen & 1];
    if (n)
        memcpy(slots[kj_emu_cur->lane].b, mine, n);
    if (++w->here < w->size) {
        w->waiting.push_back(t);
        wait_turn(t);
    } else {
        w->here = 0;
        w->gen++;
        release(&w->waiting);
    }
    return slots;
}

/* ---- asynchronous copies, by thread ---- */

struct copies {
    struct one {
        void *to;
        const void *from;
        unsigned bytes, group;
    };
    std::deque<one> all;
    unsigned group;
};
static std::vector<copies> pending;

static copies *mine(void)
{
    if (pending.size() < e.n)
        pending.resize(e.n);
    return &pending[index_of(kj_emu_cur)];
}

void kj_emu_copy(void *to, const void *from, unsigned bytes)
{
    if ((uintptr_t)to % 16 || (uintptr_t)from % 16)
        kj_emu_die("cp.async wants addresses aligned to 16 bytes");
    copies *c = mine();
    c->all.push_back({to, from, bytes, c->group});
}

void kj_emu_copies_commit(void)
{
    mine()->group++;
}

void kj_emu_copies_wait(unsigned left)
{
    copies *c = mine();
    while (!c->all.empty() && c->all.front().group + left < c->group) {
        copies::one o = c->all.front();
        c->all.pop_front();
        memcpy(o.to, o.from, o.bytes);
        memset((char *)o.to + o.bytes, 0, 16 - o.bytes);
    }
}

static void fiber_main(void)
{
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(NULL, NULL, NULL);
#endif
    fiber *self = e.now;
    for (;;) {
        while (e.fresh < e.n) {
            unsigned t = e.order[e.fresh++];
            e.fiber_of[t] = self;
            kj_emu_cur = &e.thread[t];
            (*e.body)();
            if (!pending.empty() && !mine()->all.empty())
                kj_emu_die("a thread left copies that it did not wait for");
            e.live--;
            e.thread[t].warp->exited++;
            if (e.live > 0 && e.waiting.size() == e.live)
                release(&e.waiting);
        }
        e.idle.push_back(self);
        next();
    }
}

/* ---- order ---- */

static uint64_t mix(uint64_t z)
{
    z += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static void order(std::vector<unsigned> *v, unsigned n, uint64_t salt)
{
    const char *how = getenv("KJ_EMU_ORDER");
    v->resize(n);
    for (unsigned i = 0; i < n; i++)
        (*v)[i] = i;
    if (how && strcmp(how, "reverse") == 0) {
        for (unsigned i = 0; i < n; i++)
            (*v)[i] = n - 1 - i;
    } else if (how && strcmp(how, "forward") != 0) {
        uint64_t r = mix(strtoull(how, NULL, 10)) ^ salt;
        for (unsigned i = n; i > 1; i--)
            std::swap((*v)[i - 1], (*v)[(r = mix(r)) % i]);
    }
}

static void block(void)
{
    e.fresh = 0;
    e.live = e.n;
    e.waiting.clear();
    e.ready.clear();
    for (unsigned w = 0; w < e.warp.size(); w++) {
        e.warp[w].here = e.warp[w].exited = e.warp[w].gen = 0;
        e.warp[w].size = e.n - w * 32 < 32 ? e.n - w * 32 : 32;
        e.warp[w].waiting.clear();
    }
    e.now = &e.main;
    go(fiber_new());
}

/* Which stack the caller is on; sanitizers want to know. */
static void main_stack(void)
{
    pthread_attr_t a;
    void *p;
    pthread_getattr_np(pthread_self(), &a);
    pthread_attr_getstack(&a, &p, &e.main.size);
    pthread_attr_destroy(&a);
    e.main.stack = (char *)p;
}

static void grid(dim3 g, dim3 b, size_t shared, const std::function<void()> &body)
{
    std::vector<unsigned> blocks;
    main_stack();
    e.n = b.x * b.y * b.z;
    e.body = &body;
    e.thread.resize(e.n);
    e.fiber_of.resize(e.n);
    e.rank.resize(e.n);
    e.warp.resize((e.n + 31) / 32);
    for (unsigned i = 0; i < e.n; i++) {
        e.thread[i].tid = dim3(i % b.x, i / b.x % b.y, i / b.x / b.y);
        e.thread[i].lane = i % 32;
        e.thread[i].warp = &e.warp[i / 32];
    }
    order(&e.order, e.n, 1);
    for (unsigned i = 0; i < e.n; i++)
        e.rank[e.order[i]] = i;
    order(&blocks, g.x * g.y * g.z, 2);
    kj_emu_grid = g;
    kj_emu_dim = b;
    for (unsigned i : blocks) {
        e.shared = (unsigned char *)exact(128, shared);
        memset(e.shared, 0xff, shared);
        kj_emu_block = dim3(i % g.x, i / g.x % g.y, i / g.x / g.y);
        block();
        free(e.shared);
    }
}

/* ---- memory: pages that only the device may touch ---- */

struct region {
    char *base;
    size_t bytes, user;
};
static std::map<void *, region> regions, pinned;
static size_t device_used;
static const size_t device_total = (size_t)2 << 30;

static void device_memory(bool on)
{
#if !defined(__SANITIZE_ADDRESS__)
    for (auto &r : regions)
        mprotect(r.second.base, r.second.bytes,
                 on ? PROT_READ | PROT_WRITE : PROT_NONE);
#else
    (void)on;
#endif
}

/* ---- streams ---- */

struct kj_emu_stream {
    std::deque<std::function<void()>> work;
};
static std::vector<kj_emu_stream *> streams;

void kj_emu_queue(cudaStream_t s, std::function<void()> f)
{
    if (!s)
        kj_emu_die("work on the default stream, which waits for all others");
    s->work.push_back(std::move(f));
}

/* Until that mark, or until nothing is left. What a stream runs may wait for a
 * mark in another one, which then runs first. */
static void run(kj_emu_stream *s, const kj_emu_mark *until)
{
    static int depth;
    if (depth++ == 0)
        device_memory(true);
    while (!s->work.empty() && !(until && until->passed)) {
        std::function<void()> f = std::move(s->work.front());
        s->work.pop_front();
        f();
    }
    if (--depth == 0)
        device_memory(false);
}

static void flush(cudaStream_t s)
{
    if (s && !s->work.empty())
        run(s, NULL);
}

/* The whole device, the youngest stream first where order is reversed. */
static void flush(void)
{
    const char *how = getenv("KJ_EMU_ORDER");
    for (size_t i = 0, n = streams.size(); i < n; i++)
        flush(streams[how && strcmp(how, "reverse") == 0 ? n - 1 - i : i]);
}

static cudaError_t last;

static cudaError_t fail(cudaError_t rc)
{
    if (rc != cudaSuccess)
        last = rc;
    return rc;
}

cudaError_t cudaMalloc(void **p, size_t n)
{
    *p = NULL;
    if (n > device_total - device_used)
        return fail(cudaErrorMemoryAllocation);
    flush();
    region r;
    r.user = n;
#if defined(__SANITIZE_ADDRESS__)
    r.bytes = n;
    r.base = (char *)exact(256, n);
    *p = r.base;
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

cudaError_t cudaFree(void *p)
{
    if (!p)
        return cudaSuccess;
    flush();
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
    return cudaSuccess;
}

cudaError_t cudaMallocHost(void **p, size_t n)
{
    *p = malloc(n ? n : 1);
    pinned[*p] = region{(char *)*p, n, n};
    return cudaSuccess;
}

cudaError_t cudaFreeHost(void *p)
{
    if (p && !pinned.erase(p))
        return fail(cudaErrorInvalidValue);
    free(p);
    return cudaSuccess;
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
    if (kind == cudaMemcpyHostToDevice && !is_pinned(from)) {
        /* Pageable memory is staged before the call returns. */
        std::vector<char> copy((const char *)from, (const char *)from + n);
        kj_emu_queue(s, [to, copy] { memcpy(to, copy.data(), copy.size()); });
    } else {
        kj_emu_queue(s, [to, from, n] { memcpy(to, from, n); });
    }
    if (kind == cudaMemcpyDeviceToHost && !is_pinned(to))
        flush(s);
    return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void *p, int v, size_t n, cudaStream_t s)
{
    kj_emu_queue(s, [p, v, n] { memset(p, v, n); });
    return cudaSuccess;
}

/* ---- the rest of the host's side ---- */

cudaError_t cudaGetDeviceCount(int *n)
{
    *n = 1;
    return cudaSuccess;
}
cudaError_t cudaSetDevice(int)
{
    return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *p, int)
{
    memset(p, 0, sizeof *p);
    snprintf(p->name, sizeof p->name, "emulated on the processor, for tests");
    p->totalGlobalMem = device_total;
    p->sharedMemPerBlockOptin = SHARED_MAX;
    p->major = 9;
    p->multiProcessorCount = 4;
    return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int *v)
{
    *v = 13000;
    return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int *v)
{
    *v = 13000;
    return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t *left, size_t *total)
{
    *total = device_total;
    *left = device_total - device_used;
    return cudaSuccess;
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned)
{
    *s = new kj_emu_stream();
    streams.push_back(*s);
    return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t s)
{
    flush(s);
    return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t s)
{
    flush(s);
    for (size_t i = 0; i < streams.size(); i++)
        if (streams[i] == s)
            streams.erase(streams.begin() + (ptrdiff_t)i);
    delete s;
    if (!streams.empty())
        return cudaSuccess;
    for (fiber *f : e.idle) {
#if defined(__SANITIZE_THREAD__)
        __tsan_destroy_fiber(f->tsan);
#endif
        free(f->stack);
        delete f;
    }
    e.idle.clear();
    return cudaSuccess;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *p, unsigned)
{
    *p = new kj_emu_event();
    return cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t *p)
{
    return cudaEventCreateWithFlags(p, 0);
}
cudaError_t cudaEventRecord(cudaEvent_t p, cudaStream_t s)
{
    auto m = std::make_shared<kj_emu_mark>(kj_emu_mark{s, false, 0});
    p->mark = m;
    kj_emu_queue(s, [m] {
        m->at = now();
        m->passed = true;
    });
    return cudaSuccess;
}
/* What is recorded now counts, not what will be when the stream comes here. */
cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t p, unsigned)
{
    if (auto m = p->mark)
        kj_emu_queue(s, [m] {
            if (!m->passed)
                run(m->in, m.get());
        });
    return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t p)
{
    if (p->mark && !p->mark->passed)
        run(p->mark->in, p->mark.get());
    return cudaSuccess;
}
cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t a, cudaEvent_t b)
{
    if (!a->mark || !b->mark)
        return fail(cudaErrorInvalidValue);
    if (!a->mark->passed || !b->mark->passed)
        return fail(cudaErrorNotReady);
    *ms = (float)(b->mark->at - a->mark->at);
    return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t p)
{
    delete p;
    return cudaSuccess;
}
cudaError_t cudaGetLastError(void)
{
    cudaError_t rc = last;
    last = cudaSuccess;
    return rc;
}
const char *cudaGetErrorString(cudaError_t rc)
{
    switch (rc) {
    case cudaSuccess:
        return "no error";
    case cudaErrorMemoryAllocation:
        return "out of memory";
    case cudaErrorInvalidConfiguration:
        return "invalid configuration argument";
    default:
        return "invalid argument";
    }
}

static std::map<const void *, size_t> optin;

cudaError_t cudaFuncSetAttribute(const void *f, cudaFuncAttribute, int v)
{
    if (v > SHARED_MAX)
        return fail(cudaErrorInvalidValue);
    optin[f] = (size_t)v;
    return cudaSuccess;
}

cudaError_t kj_emu_launch(const void *key, dim3 g, dim3 b, size_t shared,
                          cudaStream_t s, std::function<void()> body)
{
    uint64_t threads = (uint64_t)b.x * b.y * b.z, blocks = (uint64_t)g.x * g.y * g.z;
    size_t most = optin.count(key) ? optin[key] : 48 << 10;
#if defined(__SANITIZE_THREAD__)
    e.main.tsan = __tsan_get_current_fiber();
#endif
    if (threads == 0 || threads > MAX_THREADS || blocks == 0 || g.x > 0x7fffffffu ||
        g.y > 65535 || g.z > 65535 || b.z > 64 ||
        shared > (most < 49152 ? 49152 : most))
        return fail(cudaErrorInvalidConfiguration);
    kj_emu_queue(s, [=] { grid(g, b, shared, body); });
    return cudaSuccess;
}
