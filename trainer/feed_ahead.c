/* feed_ahead.c - a rank's rows of each step, read ahead by a thread.
 *
 * The ring: slots filled..taken are ready. The reader waits while all slots are
 * ready or lent, the taker while none is. A slot is lent until the next is asked
 * for, so there is one slot more than steps read ahead.
 */
#include "trainer/feed.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"

void kj_feed_step_init(struct kj_feed_step *b, const struct kj_feed *f, size_t rank,
                       size_t ranks)
{
    const struct kj_run *r = f->run;
    size_t micro = (size_t)r->data.micro, batch = (size_t)r->data.batch;
    size_t all = (batch + micro - 1) / micro;
    memset(b, 0, sizeof *b);
    b->rank = rank;
    b->ranks = ranks;
    b->passes = all > rank ? (all - rank + ranks - 1) / ranks : 0;
    b->seen = kj_xcalloc(f->n_groups, sizeof *b->seen);
    b->packs = kj_xcalloc(b->passes + 1, sizeof *b->packs);
    for (size_t i = 0; i < b->passes; i++)
        kj_packed_init(&b->packs[i], micro * (size_t)r->data.seq_len);
}

void kj_feed_step_release(struct kj_feed_step *b)
{
    for (size_t i = 0; i < b->passes; i++)
        kj_packed_release(&b->packs[i]);
    free(b->packs);
    free(b->seen);
    memset(b, 0, sizeof *b);
}

int kj_feed_fill(struct kj_feed *f, int64_t step, struct kj_feed_step *b,
                 struct kj_err *err)
{
    const struct kj_run *r = f->run;
    size_t micro = (size_t)r->data.micro, len = (size_t)r->data.seq_len;
    int rc = KJ_OK;
    b->step = step;
    b->row = (uint64_t)step * (uint64_t)r->data.batch;
    b->at = kj_feed_place(f, b->row);
    b->count = 0;
    memset(b->seen, 0, f->n_groups * sizeof *b->seen);
    for (size_t i = 0; i < b->passes; i++)
        kj_packed_clear(&b->packs[i]);
    for (size_t i = 0; i < (size_t)r->data.batch && rc == KJ_OK; i++) {
        struct kj_feed_place at = kj_feed_place(f, b->row + i);
        struct kj_loader *l = &f->loaders[at.set];
        b->count += (int64_t)kj_loader_predictions(l, at.row, len);
        kj_loader_seen(l, at.row, at.row + 1, len, f->group_of[at.set], b->seen);
        size_t pass = i / micro;
        if (pass % b->ranks == b->rank)
            rc = kj_loader_row(l, at.row, len, &b->packs[pass / b->ranks], err);
    }
    return rc;
}

struct kj_prefetch {
    struct kj_feed *f;
    int64_t from, next, to; /* steps; next: the taker's */
    struct kj_feed_step *slots;
    size_t n;
    bool threaded;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t moved;
    /* Under the lock: */
    uint64_t filled, taken; /* slots so far */
    bool lent, stop, failed;
    struct kj_err err;
};

static void *work(void *ctx)
{
    struct kj_prefetch *p = ctx;
    for (int64_t step = p->from; step < p->to; step++) {
        pthread_mutex_lock(&p->lock);
        while (!p->stop && p->filled - p->taken + p->lent >= p->n)
            pthread_cond_wait(&p->moved, &p->lock);
        bool stop = p->stop;
        pthread_mutex_unlock(&p->lock);
        if (stop)
            break;
        struct kj_err err = KJ_ERR_INIT;
        int rc = kj_feed_fill(p->f, step, &p->slots[p->filled % p->n], &err);
        pthread_mutex_lock(&p->lock);
        if (rc) {
            p->failed = true;
            p->err = err;
        } else {
            p->filled++;
        }
        pthread_cond_broadcast(&p->moved);
        pthread_mutex_unlock(&p->lock);
        if (rc)
            break;
    }
    return NULL;
}

struct kj_prefetch *kj_prefetch_start(struct kj_feed *f, size_t rank, size_t ranks,
                                      int64_t from, int64_t to)
{
    struct kj_prefetch *p = kj_xcalloc(1, sizeof *p);
    p->f = f;
    p->from = p->next = from;
    p->to = to;
    p->n = (size_t)f->run->data.prefetch + 1;
    p->slots = kj_xcalloc(p->n, sizeof *p->slots);
    for (size_t i = 0; i < p->n; i++)
        kj_feed_step_init(&p->slots[i], f, rank, ranks);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->moved, NULL);
    /* Without a thread, for want of one or by order, the taker reads. */
    p->threaded = p->n > 1 && pthread_create(&p->thread, NULL, work, p) == 0;
    return p;
}

const struct kj_feed_step *kj_prefetch_next(struct kj_prefetch *p, struct kj_err *err)
{
    const struct kj_feed_step *b = NULL;
    if (p->next >= p->to) {
        kj_err_set(err, KJ_FAIL, "there is no step behind the last");
        return NULL;
    }
    if (!p->threaded) {
        int rc = kj_feed_fill(p->f, p->next++, &p->slots[0], err);
        return rc ? NULL : &p->slots[0];
    }
    pthread_mutex_lock(&p->lock);
    p->lent = false;
    pthread_cond_broadcast(&p->moved);
    while (p->filled == p->taken && !p->failed)
        pthread_cond_wait(&p->moved, &p->lock);
    if (p->filled > p->taken) {
        b = &p->slots[p->taken++ % p->n];
        p->lent = true;
        p->next++;
    } else if (err) {
        *err = p->err;
    }
    pthread_mutex_unlock(&p->lock);
    return b;
}

void kj_prefetch_stop(struct kj_prefetch *p)
{
    if (!p)
        return;
    if (p->threaded) {
        pthread_mutex_lock(&p->lock);
        p->stop = true;
        pthread_cond_broadcast(&p->moved);
        pthread_mutex_unlock(&p->lock);
        pthread_join(p->thread, NULL);
    }
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->moved);
    for (size_t i = 0; i < p->n; i++)
        kj_feed_step_release(&p->slots[i]);
    free(p->slots);
    free(p);
}
