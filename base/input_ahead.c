/* input_ahead.c - see input_ahead.h.
 *
 * Ranges are tasks, numbered in order; a ring of slots holds those from the one
 * that the reader is in to the window's end, so memory is bounded. One mutex, one
 * condition for "a range is done", one for "there is room".
 */
#define _GNU_SOURCE /* memmem */
#include "base/input_ahead.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/* Stored bytes of a range: about 20 members of a crawl, 4 MiB of pages. */
#define RANGE ((size_t)1 << 20)
/* Unpacked bytes that one range may hold; the rest is the reader's. */
#define ROOM ((size_t)16 << 20)

struct member {
    size_t at, used;
    size_t pos, n; /* in the slot's out */
};

struct slot {
    size_t task; /* SIZE_MAX: none */
    bool done;
    struct member *v;
    size_t count, cap, next; /* next: the reader's cursor */
    char *out;
    size_t used, size;
};

struct kj_ahead {
    const struct kj_ahead_form *form;
    const char *p;
    size_t n, from, tasks;
    struct slot *slots;
    size_t n_slots;
    size_t reader;  /* the task that the reader is in */
    size_t claimed; /* tasks below it were taken by a thread, or passed over */
    bool quit;
    pthread_mutex_t lock;
    pthread_cond_t room, done;
    pthread_t *threads;
    unsigned n_threads;
};

/* ---- a range ---- */

static void grow(struct slot *s, size_t room)
{
    if (s->size - s->used >= room + KJ_BUF_PAD)
        return;
    size_t size = s->size ? 2 * s->size : (size_t)8 << 20;
    while (size - s->used < room + KJ_BUF_PAD)
        size *= 2;
    s->out = kj_xrealloc(s->out, size);
    s->size = size;
}

/* Unpack the member at `at`; false when there is none, or no room for it. */
static bool unpack_one(const struct kj_ahead *a, void *dec, struct slot *s, size_t at)
{
    struct member m = {.at = at, .pos = s->used};
    for (size_t room = a->form->room;; room *= 4) {
        if (s->used + room > ROOM) {
            s->used = ROOM; /* this range is full */
            return false;
        }
        grow(s, room);
        int r = a->form->unpack(dec, a->p + at, a->n - at, s->out + s->used, room,
                                &m.used, &m.n);
        if (r < 0)
            return false;
        if (r == 0)
            break;
    }
    if (m.used == 0)
        return false;
    if (s->count == s->cap) {
        s->cap = s->cap ? 2 * s->cap : 64;
        s->v = kj_xrealloc(s->v, s->cap * sizeof *s->v);
    }
    s->v[s->count++] = m;
    s->used += m.n + KJ_BUF_PAD;
    return true;
}

static void do_range(const struct kj_ahead *a, void *dec, struct slot *s, size_t task)
{
    const struct kj_ahead_form *f = a->form;
    size_t at = a->from + task * RANGE;
    size_t end = a->n - at > RANGE ? at + RANGE : a->n;
    s->count = s->next = s->used = 0;
    while (at < end && s->used < ROOM) {
        /* a magic number that begins in this range may end in the next */
        size_t seen = a->n - end > f->magic_n ? end + f->magic_n - 1 : a->n;
        const char *hit = memmem(a->p + at, seen - at, f->magic, f->magic_n);
        if (!hit)
            return;
        at = (size_t)(hit - a->p);
        while (at < end && unpack_one(a, dec, s, at))
            at += s->v[s->count - 1].used;
        at++;
    }
}

/* ---- threads ---- */

static void *work(void *arg)
{
    struct kj_ahead *a = arg;
    void *dec = a->form->begin();
    pthread_mutex_lock(&a->lock);
    while (!a->quit) {
        if (a->claimed < a->reader)
            a->claimed = a->reader;
        if (a->claimed >= a->tasks)
            break;
        if (a->claimed >= a->reader + a->n_slots) {
            pthread_cond_wait(&a->room, &a->lock);
            continue;
        }
        struct slot *s = &a->slots[a->claimed % a->n_slots];
        if (s->task != SIZE_MAX && !s->done) { /* passed over, but not yet left */
            pthread_cond_wait(&a->room, &a->lock);
            continue;
        }
        size_t task = s->task = a->claimed++;
        s->done = false;
        s->count = 0;
        pthread_mutex_unlock(&a->lock);
        if (dec)
            do_range(a, dec, s, task);
        pthread_mutex_lock(&a->lock);
        s->done = true;
        pthread_cond_broadcast(&a->done);
        pthread_cond_broadcast(&a->room);
    }
    pthread_mutex_unlock(&a->lock);
    if (dec)
        a->form->end(dec);
    return NULL;
}

struct kj_ahead *kj_ahead_new(const struct kj_ahead_form *form, const char *p, size_t n,
                              size_t from, unsigned threads)
{
    if (from >= n || threads == 0)
        return NULL;
    struct kj_ahead *a = kj_xcalloc(1, sizeof *a);
    a->form = form;
    a->p = p;
    a->n = n;
    a->from = from;
    a->tasks = (n - from + RANGE - 1) / RANGE;
    a->n_slots = 2 * (size_t)threads + 1;
    a->slots = kj_xcalloc(a->n_slots, sizeof *a->slots);
    for (size_t i = 0; i < a->n_slots; i++)
        a->slots[i].task = SIZE_MAX;
    pthread_mutex_init(&a->lock, NULL);
    pthread_cond_init(&a->room, NULL);
    pthread_cond_init(&a->done, NULL);
    a->threads = kj_xcalloc(threads, sizeof *a->threads);
    while (a->n_threads < threads &&
           pthread_create(&a->threads[a->n_threads], NULL, work, a) == 0)
        a->n_threads++;
    if (a->n_threads)
        return a;
    kj_ahead_free(a);
    return NULL;
}

void kj_ahead_free(struct kj_ahead *a)
{
    if (!a)
        return;
    pthread_mutex_lock(&a->lock);
    a->quit = true;
    pthread_cond_broadcast(&a->room);
    pthread_mutex_unlock(&a->lock);
    for (unsigned i = 0; i < a->n_threads; i++)
        pthread_join(a->threads[i], NULL);
    for (size_t i = 0; i < a->n_slots; i++) {
        free(a->slots[i].v);
        free(a->slots[i].out);
    }
    pthread_mutex_destroy(&a->lock);
    pthread_cond_destroy(&a->room);
    pthread_cond_destroy(&a->done);
    free(a->slots);
    free(a->threads);
    free(a);
}

bool kj_ahead_take(struct kj_ahead *a, size_t at, struct kj_ahead_member *m)
{
    if (at < a->from || at >= a->n)
        return false;
    size_t task = (at - a->from) / RANGE;
    struct slot *s = &a->slots[task % a->n_slots];
    pthread_mutex_lock(&a->lock);
    if (task > a->reader) {
        a->reader = task;
        pthread_cond_broadcast(&a->room);
    }
    while (s->task != task || !s->done)
        pthread_cond_wait(&a->done, &a->lock);
    pthread_mutex_unlock(&a->lock);
    while (s->next < s->count && s->v[s->next].at < at)
        s->next++;
    if (s->next == s->count || s->v[s->next].at != at)
        return false;
    const struct member *v = &s->v[s->next];
    *m = (struct kj_ahead_member){s->out + v->pos, v->n, v->used};
    return true;
}
