/* The ordered ring: 1 to 8 threads, windows of 2, 8 and 32, with and without
 * faults in each role. The output is the same at every number of threads; on a
 * fault exactly the items before it are written, and every thread has stopped. */
#define _GNU_SOURCE /* RTLD_NEXT */
#include "base/err.h"
#include "base/pipe.h"
#include "tests/unit/test.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

enum { ITEMS = 150, MAX_WINDOW = 32, MAX_THREADS = 8, NEVER = -1 };

/* Which item each role fails at, or NEVER. */
struct faults {
    int read, work, work2, write, enough, stop, event;
};

struct item {
    atomic_int users; /* threads in it at this moment */
    int serial;
    uint64_t result;
};

struct bed {
    struct faults f;
    struct kj_pipe pipe;
    struct item items[MAX_WINDOW];
    void *slots[MAX_WINDOW];
    int next;               /* the reader's */
    int written[ITEMS + 1]; /* the writer's */
    int n_written;
    uint64_t sum;
    atomic_int workers[MAX_THREADS]; /* busy */
    atomic_int calls, clashes;       /* callbacks so far; contract broken */
    atomic_bool stop;
};

static uint64_t mix(uint64_t z)
{
    z += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static void enter(struct bed *b, struct item *it)
{
    atomic_fetch_add(&b->calls, 1);
    if (atomic_fetch_add(&it->users, 1) != 0)
        atomic_fetch_add(&b->clashes, 1);
}

static void leave(struct item *it)
{
    atomic_fetch_sub(&it->users, 1);
}

/* Uneven work, so that items overtake each other. */
static void dawdle(uint64_t seed)
{
    for (uint64_t i = mix(seed) % 8; i > 5; i--)
        sched_yield();
    volatile uint64_t x = 0;
    for (uint64_t i = mix(seed + 1) % 700; i; i--)
        x = x + i;
}

static int do_read(void *ctx, void *slot, struct kj_err *err)
{
    struct bed *b = ctx;
    struct item *it = slot;
    if (it != &b->items[(size_t)b->next % (b->pipe.threads > 1 ? b->pipe.window : 1)])
        atomic_fetch_add(&b->clashes, 1);
    enter(b, it);
    int rc = KJ_OK;
    if (b->next == b->f.stop)
        atomic_store(&b->stop, true);
    if (b->next == b->f.read)
        rc = kj_err_set(err, KJ_FAIL, "read %d", b->next);
    else if (b->next == ITEMS)
        rc = KJ_EOF;
    else
        it->serial = b->next++;
    leave(it);
    return rc;
}

static int do_work(void *ctx, unsigned worker, void *slot, struct kj_err *err)
{
    struct bed *b = ctx;
    struct item *it = slot;
    enter(b, it);
    if (worker >= b->pipe.threads || atomic_fetch_add(&b->workers[worker], 1) != 0)
        atomic_fetch_add(&b->clashes, 1);
    dawdle((uint64_t)it->serial);
    it->result = mix((uint64_t)it->serial);
    int rc = KJ_OK;
    if (it->serial == b->f.work || it->serial == b->f.work2)
        rc = kj_err_set(err, KJ_FATAL, "work %d", it->serial);
    else if (it->serial == b->f.event)
        rc = KJ_EOF;
    atomic_fetch_sub(&b->workers[worker], 1);
    leave(it);
    return rc;
}

static int do_write(void *ctx, void *slot, struct kj_err *err)
{
    struct bed *b = ctx;
    struct item *it = slot;
    enter(b, it);
    int rc = KJ_OK;
    if (it->serial == b->f.write) {
        rc = kj_err_set(err, KJ_FAIL, "write %d", it->serial);
    } else {
        b->written[b->n_written++] = it->serial;
        b->sum = b->sum * 31 + it->result;
        if (it->serial == b->f.enough)
            rc = KJ_EOF;
    }
    leave(it);
    return rc;
}

static int run(struct bed *b, unsigned threads, size_t window, struct faults f,
               struct kj_err *err)
{
    memset(b, 0, sizeof *b);
    b->f = f;
    for (size_t i = 0; i < MAX_WINDOW; i++)
        b->slots[i] = &b->items[i];
    b->pipe = (struct kj_pipe){.threads = threads,
                               .window = window,
                               .slots = b->slots,
                               .ctx = b,
                               .read = do_read,
                               .work = do_work,
                               .write = do_write,
                               .stop = &b->stop};
    return kj_pipe_run(&b->pipe, err);
}

/* What a run must have done: items [0,n) in order, this code and message. */
static void check(struct bed *b, int rc, const struct kj_err *err, int n, int want_rc,
                  const char *msg)
{
    uint64_t sum = 0;
    int wrong = 0;
    for (int i = 0; i < n; i++)
        sum = sum * 31 + mix((uint64_t)i);
    for (int i = 0; i < b->n_written; i++)
        wrong += b->written[i] != i;
    int calls = atomic_load(&b->calls);
    bool good = CHECK_INT(rc, want_rc);
    good &= CHECK_INT(b->n_written, n);
    good &= CHECK_INT(wrong, 0);
    good &= CHECK(b->sum == sum);
    good &= CHECK_INT(atomic_load(&b->clashes), 0);
    good &= CHECK_STR(err->msg, strlen(err->msg), msg);
    good &= CHECK_INT(err->rc, want_rc);
    /* nobody is still at work */
    sched_yield();
    good &= CHECK_INT(atomic_load(&b->calls), calls);
    if (!good)
        printf("     at %u threads, window %zu\n", b->pipe.threads, b->pipe.window);
}

static const struct faults none = {NEVER, NEVER, NEVER, NEVER, NEVER, NEVER, NEVER};

static void one_shape(unsigned threads, size_t window)
{
    struct {
        struct faults f;
        int n, rc;
        const char *msg;
    } cases[] = {
        {none, ITEMS, KJ_OK, ""},
        {none, 77, KJ_FATAL, "work 77"},
        {none, 0, KJ_FATAL, "work 0"},
        {none, 60, KJ_FATAL, "work 60"}, /* two fail: the first in order counts */
        {none, 77, KJ_FAIL, "read 77"},
        {none, 0, KJ_FAIL, "read 0"},
        {none, 70, KJ_FATAL, "work 70"}, /* before the reader's own fault */
        {none, 50, KJ_FAIL, "write 50"},
        {none, 51, KJ_OK, ""}, /* the writer had enough */
        {none, 41, KJ_OK, ""}, /* stopped from outside while 40 is read */
        {none, ITEMS, KJ_FAIL, "read 150"},
        {none, ITEMS, KJ_OK, ""}, /* a worker's normal event is no end */
    };
    cases[1].f.work = 77;
    cases[2].f.work = 0;
    cases[3].f.work = 60;
    cases[3].f.work2 = 61;
    cases[4].f.read = 77;
    cases[5].f.read = 0;
    cases[6].f.read = 72;
    cases[6].f.work = 70;
    cases[7].f.write = 50;
    cases[8].f.enough = 50;
    cases[9].f.stop = 40;
    cases[10].f.read = ITEMS;
    cases[11].f.event = 30;
    struct bed *b = malloc(sizeof *b);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct kj_err err = KJ_ERR_INIT;
        int rc = run(b, threads, window, cases[i].f, &err);
        check(b, rc, &err, cases[i].n, cases[i].rc, cases[i].msg);
    }
    free(b);
}

static void test_shapes(void)
{
    static const size_t windows[] = {2, 8, 32};
    for (unsigned threads = 1; threads <= MAX_THREADS; threads++)
        for (size_t w = 0; w < 3; w++)
            one_shape(threads, windows[w]);
    one_shape(4, 1); /* the smallest ring */
}

/* ---- a system that refuses threads ----
 * This definition stands before the C library's. Sanitizers have one of their
 * own that must not be passed by, so there it is left out. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
static void test_refused_threads(void)
{
    SKIP("a sanitizer has pthread_create");
}
#else
static unsigned refused; /* bit k: the k-th call fails */
static unsigned calls_made;

int pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*fn)(void *),
                   void *arg)
{
    union { /* ISO C has no cast from object to function pointers */
        void *p;
        int (*f)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    } real = {dlsym(RTLD_NEXT, "pthread_create")};
    return refused >> calls_made++ & 1 ? EAGAIN : real.f(t, a, fn, arg);
}

static void test_refused_threads(void)
{
    static const struct {
        unsigned refused;
        bool ring;
    } cases[] = {
        {1 << 2, true},           /* two workers of four, and the reader */
        {1 << 1, true},           /* one worker and the reader */
        {1 << 0, false},          /* no worker: all in this thread */
        {1 << 4, false},          /* no reader */
        {1 << 2 | 1 << 3, false}, /* nor here */
    };
    struct bed *b = malloc(sizeof *b);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct kj_err err = KJ_ERR_INIT;
        refused = cases[i].refused;
        calls_made = 0;
        int rc = run(b, 4, 8, none, &err);
        refused = 0;
        if (!cases[i].ring) /* without a ring, one slot is enough */
            atomic_store(&b->clashes, 0);
        check(b, rc, &err, ITEMS, KJ_OK, "");
    }
    free(b);
}
#endif

int main(void)
{
    test_shapes();
    test_refused_threads();
    return test_end();
}
