/* pool.c - parallel loops over numbered tasks.
 *
 * A loop is published under the mutex with a new generation number; sleeping
 * threads wake, claim tasks from an atomic counter, and the last one to finish
 * wakes the caller. A training step has some hundred loops of a few
 * milliseconds, so sleeping costs little; threads spin a very short while
 * first, because the next loop usually comes at once.
 */
#include "nn/cpu/pool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"

/* About 20 microseconds of looking before a thread sleeps. */
#define SPINS 400

struct kj_pool {
    pthread_mutex_t lock;
    pthread_cond_t work, done;
    atomic_uint gen;    /* changes with every loop */
    atomic_size_t next; /* next task to claim */
    unsigned busy;      /* threads still in the loop; under lock */
    bool quit;
    size_t n;
    kj_pool_fn *fn;
    void *ctx;
    unsigned started;
    struct thread {
        struct kj_pool *pool;
        unsigned id;
        pthread_t t;
    } * threads;
};

static void claim(struct kj_pool *p, unsigned id)
{
    for (;;) {
        size_t i = atomic_fetch_add(&p->next, 1);
        if (i >= p->n)
            return;
        p->fn(p->ctx, i, id);
    }
}

static inline void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

static void *run(void *arg)
{
    struct thread *t = arg;
    struct kj_pool *p = t->pool;
    unsigned seen = 0;
    for (;;) {
        for (int i = 0; i < SPINS && atomic_load(&p->gen) == seen; i++)
            relax();
        pthread_mutex_lock(&p->lock);
        while (atomic_load(&p->gen) == seen && !p->quit)
            pthread_cond_wait(&p->work, &p->lock);
        bool quit = p->quit;
        seen = atomic_load(&p->gen);
        pthread_mutex_unlock(&p->lock);
        if (quit)
            return NULL;
        claim(p, t->id);
        pthread_mutex_lock(&p->lock);
        if (--p->busy == 0)
            pthread_cond_signal(&p->done);
        pthread_mutex_unlock(&p->lock);
    }
}

int kj_pool_new(struct kj_pool **out, unsigned threads, struct kj_err *err)
{
    struct kj_pool *p = kj_xcalloc(1, sizeof *p);
    if (threads < 1)
        threads = 1;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->work, NULL);
    pthread_cond_init(&p->done, NULL);
    p->threads = kj_xcalloc(threads, sizeof *p->threads);
    for (unsigned i = 1; i < threads; i++) {
        struct thread *t = &p->threads[p->started];
        t->pool = p;
        t->id = i;
        if (pthread_create(&t->t, NULL, run, t) != 0) {
            kj_pool_free(p);
            return kj_err_set(err, KJ_FATAL, "cannot start thread %u of %u", i + 1,
                              threads);
        }
        p->started++;
    }
    *out = p;
    return KJ_OK;
}

void kj_pool_free(struct kj_pool *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->quit = true;
    pthread_cond_broadcast(&p->work);
    pthread_mutex_unlock(&p->lock);
    for (unsigned i = 0; i < p->started; i++)
        pthread_join(p->threads[i].t, NULL);
    pthread_cond_destroy(&p->done);
    pthread_cond_destroy(&p->work);
    pthread_mutex_destroy(&p->lock);
    free(p->threads);
    free(p);
}

void kj_pool_run(struct kj_pool *p, size_t n, kj_pool_fn *fn, void *ctx)
{
    if (p->started == 0 || n <= 1) {
        for (size_t i = 0; i < n; i++)
            fn(ctx, i, 0);
        return;
    }
    pthread_mutex_lock(&p->lock);
    p->n = n;
    p->fn = fn;
    p->ctx = ctx;
    p->busy = p->started;
    atomic_store(&p->next, 0);
    atomic_fetch_add(&p->gen, 1);
    pthread_cond_broadcast(&p->work);
    pthread_mutex_unlock(&p->lock);
    claim(p, 0);
    for (int i = 0; i < SPINS; i++)
        relax();
    pthread_mutex_lock(&p->lock);
    while (p->busy > 0)
        pthread_cond_wait(&p->done, &p->lock);
    pthread_mutex_unlock(&p->lock);
}
