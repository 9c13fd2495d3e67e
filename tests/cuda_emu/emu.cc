/* emu.cc - runs kernels on the processor; see cuda_runtime.h here.
 *
 * A block's threads are fibers. One fiber runs thread after thread as long as none
 * of them waits; a thread that waits keeps its fiber, and the next one starts on
 * another. So kernels without barriers never switch at all.
 */
#include <cuda_runtime.h>

#include <cstdio>
#include <deque>
#include <pthread.h>
#include <ucontext.h>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#endif

enum { STACK = 256 << 10 };

/* glibc's swapcontext asks the kernel for the signal mask each time, and AddressSanitizer's
 * marks a whole stack as clean: half of the time that kernels took with it. This does
 * neither, and go() tells sanitizers what they have to know. */
#if defined(__x86_64__)
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
    unsigned syncs; /* of them, __syncwarp: what orders memory */
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
    unsigned barriers; /* that the block has passed */
    size_t shared_n;
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
    if (e.waiting.size() == e.live) {
        e.barriers++;
        release(&e.waiting);
    }
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
        w->syncs += n == 0;
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
        bool there;
    };
    std::deque<one> all;
    unsigned group;
};
static std::vector<copies> pending;
/* When they arrive is not known: late, at the wait, so that who does not wait, or has no
 * barrier behind it, reads what was there before; or at once, so that they overwrite what
 * another warp still reads. KJ_EMU_ORDER: forward, reverse, by a coin. */
static enum { LATE, AT_ONCE, COIN } arrival;
static uint64_t coin;

static copies *mine(void)
{
    if (pending.size() < e.n)
        pending.resize(e.n);
    return &pending[index_of(kj_emu_cur)];
}

static uint64_t mix(uint64_t z);

static void arrive(const copies::one &o)
{
    kj_emu_touch(o.to, 16, true);
    memcpy(o.to, o.from, o.bytes);
    memset((char *)o.to + o.bytes, 0, 16 - o.bytes);
}

void kj_emu_copy(void *to, const void *from, unsigned bytes)
{
    if ((uintptr_t)to % 16 || (uintptr_t)from % 16)
        kj_emu_die("cp.async wants addresses aligned to 16 bytes");
    copies *c = mine();
    kj_emu_touch(from, bytes, false);
    kj_emu_touch(to, 16, true);
    bool now = arrival == AT_ONCE || (arrival == COIN && (coin = mix(coin)) & 1);
    c->all.push_back({to, from, bytes, c->group, now});
    if (now)
        arrive(c->all.back());
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
        if (!o.there)
            arrive(o);
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
            if (e.live > 0 && e.waiting.size() == e.live) {
                e.barriers++;
                release(&e.waiting);
            }
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
    e.barriers = 0;
    e.waiting.clear();
    e.ready.clear();
    for (unsigned w = 0; w < e.warp.size(); w++) {
        e.warp[w].here = e.warp[w].exited = e.warp[w].gen = e.warp[w].syncs = 0;
        e.warp[w].size = e.n - w * 32 < 32 ? e.n - w * 32 : 32;
        e.warp[w].waiting.clear();
    }
    e.now = &e.main;
    go(fiber_new());
}

/* Which stack the caller is on; sanitizers want to know. */
static void main_stack(void)
{
    static pthread_t of; /* asking takes reading all of the process's map */
    pthread_attr_t a;
    void *p;
    if (e.main.stack && pthread_equal(of, pthread_self()))
        return;
    of = pthread_self();
    pthread_getattr_np(pthread_self(), &a);
    pthread_attr_getstack(&a, &p, &e.main.size);
    pthread_attr_destroy(&a);
    e.main.stack = (char *)p;
}

void kj_emu_grid_run(dim3 g, dim3 b, size_t shared, const std::function<void()> &body)
{
    std::vector<unsigned> blocks;
    main_stack();
#if defined(__SANITIZE_THREAD__)
    e.main.tsan = __tsan_get_current_fiber();
#endif
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
    const char *how = getenv("KJ_EMU_ORDER");
    arrival = !how || !strcmp(how, "forward") ? LATE
              : !strcmp(how, "reverse")       ? AT_ONCE
                                              : COIN;
    order(&e.order, e.n, 1);
    for (unsigned i = 0; i < e.n; i++)
        e.rank[e.order[i]] = i;
    order(&blocks, g.x * g.y * g.z, 2);
    kj_emu_grid = g;
    kj_emu_dim = b;
    e.shared_n = shared;
#if defined(KJ_EMU_RACE)
    kj_emu_race_launch();
#endif
    for (unsigned i : blocks) {
        e.shared = (unsigned char *)exact(128, shared);
        memset(e.shared, 0xff, shared);
        kj_emu_block = dim3(i % g.x, i / g.x % g.y, i / g.x / g.y);
        block();
        kj_emu_cur = NULL;
        free(e.shared);
    }
}

/* ---- for those who look at accesses ---- */

bool kj_emu_where(struct kj_emu_place *p)
{
    if (!kj_emu_cur || e.now == &e.main)
        return false;
    p->block = kj_emu_block.x +
               kj_emu_grid.x * (kj_emu_block.y + kj_emu_grid.y * kj_emu_block.z);
    p->thread = index_of(kj_emu_cur);
    p->barriers = e.barriers;
    p->warp_barriers = kj_emu_cur->warp->syncs;
    return true;
}

bool kj_emu_in_shared(const void *p, size_t n)
{
    const unsigned char *q = (const unsigned char *)p;
    return q >= e.shared && q + n <= e.shared + e.shared_n;
}

/* A stack, and what a kernel sees of itself. */
bool kj_emu_own(const void *p)
{
    const char *q = (const char *)p, *t = (const char *)e.thread.data();
    return (q >= e.now->stack && q < e.now->stack + e.now->size) ||
           (q >= t && q < t + e.thread.size() * sizeof e.thread[0]);
}

/* libstdc++ has a function that is larger than two words at the address in the first. */
bool kj_emu_operand(const void *p)
{
    const char *q = (const char *)p, *body = (const char *)e.body, *far;
    memcpy(&far, body, sizeof far);
    return (q >= body && q < body + sizeof *e.body) || (q >= far && q < far + 1024);
}

void kj_emu_fibers_free(void)
{
    for (fiber *f : e.idle) {
#if defined(__SANITIZE_THREAD__)
        __tsan_destroy_fiber(f->tsan);
#endif
        free(f->stack);
        delete f;
    }
    e.idle.clear();
}
