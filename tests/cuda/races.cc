/* races.cc - threads of a kernel that touch the same memory without an order between them.
 *
 * Compiled in by tests/cuda/races.sh only. There the kernels are compiled with
 * -fsanitize=thread, whose calls before each access come here instead of to its library.
 * Two accesses to a byte of the same launch, one of them a write, are in order when the
 * same thread makes both, or a barrier of the block lies between, or __syncwarp of the
 * warp that has both (a shuffle orders no memory); accesses of two blocks never are. That holds
 * whatever order threads happened to run in, so unlike different results it is seen in
 * any. (compute-sanitizer's racecheck looks at shared memory only.)
 *
 * Also seen: what is neither the device's memory nor the thread's own, such as memory of
 * the host, which a device cannot reach and an emulated one can.
 *
 * Of a byte's readers two are kept, the last one and one further away from it, so a race
 * with a third one can be missed. atomicMax is no access here, nor are warnings
 * (kj_complain), of which the last one wins.
 *
 * Thread-safety: device work runs by one thread at a time (host.cc's lock).
 */
#include <cuda_runtime.h>

#include <cstdio>
#include <dlfcn.h>
#include <set>
#include <unistd.h>
#include <unordered_map>

struct access {
    unsigned launch; /* 0: none */
    struct kj_emu_place at;
};
struct cell {
    struct access wrote, read, far;
};

enum { PAGE = 4096, SHOWN = 40 };

static std::unordered_map<uintptr_t, cell *> pages;
static unsigned launch, found;
static std::set<const void *> told;

void kj_emu_race_launch(void)
{
    launch++;
}

static struct race_teller { /* fail.cc has one, too */
    ~race_teller()
    {
        if (found == 0)
            return;
        fprintf(stderr, "races: %u accesses\n", found);
        fflush(NULL);
        _exit(66);
    }
} race_teller;

static cell *cells_of(uintptr_t a)
{
    static uintptr_t last_page;
    static cell *last;
    if (last && a / PAGE == last_page)
        return last + a % PAGE;
    cell *&c = pages[a / PAGE];
    if (!c)
        c = (cell *)calloc(PAGE, sizeof *c);
    last_page = a / PAGE;
    last = c;
    return c + a % PAGE;
}

static bool same_warp(const struct kj_emu_place *a, const struct kj_emu_place *b)
{
    return a->thread / 32 == b->thread / 32;
}

static bool ordered(const struct access *a, const struct kj_emu_place *b, bool shared)
{
    if (a->launch != launch)
        return true;
    if (a->at.block != b->block)
        return shared; /* each has its own */
    return a->at.thread == b->thread || a->at.barriers != b->barriers ||
           (same_warp(&a->at, b) && a->at.warp_barriers != b->warp_barriers);
}

static void tell(const char *what, const struct access *a, const struct kj_emu_place *b,
                 const void *p, const void *from)
{
    Dl_info d = {};
    found++;
    if (told.size() >= SHOWN || !told.insert(from).second)
        return;
    dladdr(from, &d);
    fprintf(stderr, "race: %s at +0x%zx: block %u thread %u", what,
            (size_t)((const char *)from - (const char *)d.dli_fbase) - 1, b->block,
            b->thread);
    if (a)
        fprintf(stderr, ", and block %u thread %u", a->at.block, a->at.thread);
    fprintf(stderr, " (address %p)\n", p);
}

static void look(cell *c, const struct kj_emu_place *at, bool write, bool shared,
                 const void *p, const void *from)
{
    struct access now = {launch, *at};
    if (!ordered(&c->wrote, at, shared))
        tell(write ? "write behind a write" : "read behind a write", &c->wrote, at, p,
             from);
    if (write) {
        if (!ordered(&c->read, at, shared))
            tell("write behind a read", &c->read, at, p, from);
        else if (!ordered(&c->far, at, shared))
            tell("write behind a read", &c->far, at, p, from);
        c->wrote = now;
        return;
    }
    bool kept = c->far.launch == launch && c->far.at.barriers == at->barriers &&
                (c->far.at.block != at->block || !same_warp(&c->far.at, at));
    if (c->read.launch != launch || c->read.at.thread != at->thread ||
        c->read.at.block != at->block) {
        if (!kept || c->read.at.block != at->block || !same_warp(&c->read.at, at))
            c->far = c->read;
        c->read = now;
    }
    c->read = now;
}

static bool in_object(const void *p)
{
    static const void *base;
    Dl_info d, mine;
    if (!base && dladdr((const void *)kj_emu_race_launch, &mine))
        base = mine.dli_fbase;
    return dladdr(p, &d) && d.dli_fbase == base;
}

static void at(const void *p, size_t n, bool write, const void *from)
{
    struct kj_emu_place where;
    if (!kj_emu_where(&where) || kj_emu_own(p))
        return;
    bool shared = kj_emu_in_shared(p, n);
    if (!shared && !kj_emu_is_device(p, n)) {
        /* Constants, numbers of the block. */
        if (!kj_emu_operand(p) && !in_object(p))
            tell("memory that is not the device's", NULL, &where, p, from);
        return;
    }
    for (size_t i = 0; i < n; i++)
        look(cells_of((uintptr_t)p + i), &where, write, shared, p, from);
}

void kj_emu_touch(const void *p, size_t n, bool write)
{
    at(p, n, write, __builtin_return_address(0));
}

/* ---- what the compiler calls ---- */

#define HOOKS(n)                                                                       \
    extern "C" void __tsan_read##n(void *p)                                            \
    {                                                                                  \
        at(p, n, false, __builtin_return_address(0));                                  \
    }                                                                                  \
    extern "C" void __tsan_write##n(void *p)                                           \
    {                                                                                  \
        at(p, n, true, __builtin_return_address(0));                                   \
    }                                                                                  \
    extern "C" void __tsan_unaligned_read##n(void *p)                                  \
    {                                                                                  \
        at(p, n, false, __builtin_return_address(0));                                  \
    }                                                                                  \
    extern "C" void __tsan_unaligned_write##n(void *p)                                 \
    {                                                                                  \
        at(p, n, true, __builtin_return_address(0));                                   \
    }
HOOKS(1)
HOOKS(2)
HOOKS(4)
HOOKS(8)
HOOKS(16)
extern "C" void __tsan_read_range(void *p, size_t n)
{
    at(p, n, false, __builtin_return_address(0));
}
extern "C" void __tsan_write_range(void *p, size_t n)
{
    at(p, n, true, __builtin_return_address(0));
}
extern "C" void __tsan_init(void)
{
}
extern "C" void __tsan_func_entry(void *)
{
}
extern "C" void __tsan_func_exit(void)
{
}
extern "C" void __tsan_vptr_update(void **, void *)
{
}
extern "C" void __tsan_vptr_read(void **)
{
}
