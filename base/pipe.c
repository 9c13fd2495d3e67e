/* pipe.c - the ordered ring of pipe.h.
 *
 * One mutex guards three counters of serial numbers: read (items that were
 * filled), work (items that a worker has taken), write (items that have left).
 * write <= work <= read <= write + window holds at all times, so the slot of
 * serial s, s mod window, is free when the reader wants it. Three conditions:
 * `room` wakes the reader, `todo` the workers, `done` the writer.
 *
 * The writer is the calling thread. It alone decides how the run ends: it
 * meets the items in serial order, so the first fault that it meets is the
 * first in serial order, whoever had it and whenever.
 */
#include "base/pipe.h"

#include "base/err.h"
#include "base/mem.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

enum slot_state { SLOT_FREE, SLOT_READY, SLOT_BUSY, SLOT_DONE };

struct slot {
    enum slot_state state;
    int rc;
    struct kj_err err;
};

struct ring {
    const struct kj_pipe *p;
    size_t window;
    struct slot *slots;
    pthread_mutex_t lock;
    pthread_cond_t room, todo, done;
    uint64_t rd, wk, wr;
    bool ended; /* the reader adds nothing more; rd is final */
    bool quit;  /* the writer has stopped: everyone goes home */
};

static bool stopped(const struct kj_pipe *p)
{
    return p->stop && atomic_load_explicit(p->stop, memory_order_relaxed);
}

static void *reader_main(void *arg)
{
    struct ring *r = arg;
    const struct kj_pipe *p = r->p;
    for (;;) {
        pthread_mutex_lock(&r->lock);
        while (!r->quit && r->rd - r->wr >= r->window)
            pthread_cond_wait(&r->room, &r->lock);
        bool quit = r->quit;
        size_t i = (size_t)(r->rd % r->window);
        pthread_mutex_unlock(&r->lock);
        if (quit)
            return NULL;

        struct kj_err err = KJ_ERR_INIT;
        int rc = stopped(p) ? KJ_EOF : p->read(p->ctx, p->slots[i], &err);

        pthread_mutex_lock(&r->lock);
        if (rc == KJ_EOF) {
            r->ended = true;
        } else {
            /* A failed read is an item too: it keeps its place in the order. */
            r->slots[i] = (struct slot){rc < 0 ? SLOT_DONE : SLOT_READY, rc, err};
            r->rd++;
            r->ended = rc < 0;
        }
        bool last = r->ended;
        pthread_cond_signal(&r->todo);
        if (last)
            pthread_cond_broadcast(&r->todo);
        pthread_cond_signal(&r->done);
        pthread_mutex_unlock(&r->lock);
        if (last)
            return NULL;
    }
}

struct worker {
    struct ring *r;
    unsigned id;
    pthread_t thread;
};

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    struct ring *r = w->r;
    const struct kj_pipe *p = r->p;
    pthread_mutex_lock(&r->lock);
    for (;;) {
        while (!r->quit && r->wk == r->rd && !r->ended)
            pthread_cond_wait(&r->todo, &r->lock);
        if (r->quit || r->wk == r->rd)
            break;
        size_t i = (size_t)(r->wk % r->window);
        r->wk++;
        if (r->slots[i].state != SLOT_READY) /* a failed read */
            continue;
        r->slots[i].state = SLOT_BUSY;
        pthread_mutex_unlock(&r->lock);

        struct kj_err err = KJ_ERR_INIT;
        int rc = p->work(p->ctx, w->id, p->slots[i], &err);

        pthread_mutex_lock(&r->lock);
        r->slots[i] = (struct slot){SLOT_DONE, rc, err};
        pthread_cond_signal(&r->done);
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

/* The calling thread: writes in order until the end or the first fault. */
static int write_all(struct ring *r, struct kj_err *err)
{
    const struct kj_pipe *p = r->p;
    int rc = KJ_OK;
    pthread_mutex_lock(&r->lock);
    for (;;) {
        size_t i = (size_t)(r->wr % r->window);
        while (!(r->wr < r->rd && r->slots[i].state == SLOT_DONE) &&
               !(r->ended && r->wr == r->rd))
            pthread_cond_wait(&r->done, &r->lock);
        if (r->wr == r->rd)
            break;
        rc = r->slots[i].rc;
        if (rc < 0) {
            if (err && err->rc >= 0)
                *err = r->slots[i].err;
            break;
        }
        pthread_mutex_unlock(&r->lock);
        rc = p->write(p->ctx, p->slots[i], err);
        pthread_mutex_lock(&r->lock);
        if (rc)
            break;
        r->slots[i].state = SLOT_FREE;
        r->wr++;
        pthread_cond_signal(&r->room);
    }
    r->quit = true;
    pthread_cond_broadcast(&r->room);
    pthread_cond_broadcast(&r->todo);
    pthread_mutex_unlock(&r->lock);
    return rc == KJ_EOF ? KJ_OK : rc;
}

static int run_serial(const struct kj_pipe *p, struct kj_err *err)
{
    for (;;) {
        int rc = stopped(p) ? KJ_EOF : p->read(p->ctx, p->slots[0], err);
        if (rc == KJ_EOF)
            return KJ_OK;
        if (rc >= 0) /* as in the ring: a worker's normal event stops nothing */
            rc = p->work(p->ctx, 0, p->slots[0], err);
        if (rc >= 0)
            rc = p->write(p->ctx, p->slots[0], err);
        if (rc)
            return rc == KJ_EOF ? KJ_OK : rc;
    }
}

int kj_pipe_run(const struct kj_pipe *p, struct kj_err *err)
{
    if (p->threads <= 1)
        return run_serial(p, err);
    struct ring r = {.p = p, .window = p->window ? p->window : 8 * (size_t)p->threads};
    r.slots = kj_xcalloc(r.window, sizeof *r.slots);
    struct worker *workers = kj_xcalloc(p->threads, sizeof *workers);
    pthread_mutex_init(&r.lock, NULL);
    pthread_cond_init(&r.room, NULL);
    pthread_cond_init(&r.todo, NULL);
    pthread_cond_init(&r.done, NULL);

    unsigned n = 0;
    while (n < p->threads) {
        workers[n] = (struct worker){.r = &r, .id = n};
        if (pthread_create(&workers[n].thread, NULL, worker_main, &workers[n]))
            break;
        n++;
    }
    pthread_t reader;
    bool reading = n > 0 && pthread_create(&reader, NULL, reader_main, &r) == 0;
    int rc = KJ_OK;
    if (reading) {
        rc = write_all(&r, err);
        pthread_join(reader, NULL);
    } else {
        pthread_mutex_lock(&r.lock);
        r.quit = true;
        pthread_cond_broadcast(&r.todo);
        pthread_mutex_unlock(&r.lock);
    }
    for (unsigned i = 0; i < n; i++)
        pthread_join(workers[i].thread, NULL);
    pthread_cond_destroy(&r.done);
    pthread_cond_destroy(&r.todo);
    pthread_cond_destroy(&r.room);
    pthread_mutex_destroy(&r.lock);
    free(workers);
    free(r.slots);
    return reading ? rc : run_serial(p, err);
}
