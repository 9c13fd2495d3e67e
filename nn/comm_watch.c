/* comm_watch.c - hearing of ranks that are gone while this one is busy elsewhere.
 *
 * A thread of each rank sends a sign of life to rank 0, and rank 0's to all, over
 * connections of their own. Rank 0 tells all of a rank that closed its connection,
 * was silent too long, or stopped with a reason; the others watch rank 0. So
 * everyone knows the name of the first that failed within seconds of rank 0, whatever
 * its main thread waits for: an exchange of bytes, which is woken, or a GPU whose kernel
 * waits for data that will not come (kj_comm_hear).
 */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "nn/comm.h"
#include "nn/comm_internal.h"

/* A process that lives is late by a second or two at most, also on a machine that is
 * short of memory; the others are to stop within a minute. */
#define SILENCE   30
#define TICK      1.0 /* seconds between two calls of who hears */
#define BEATS     6   /* signs of life within the silence that is allowed */
#define WORDS_MAX 1200

enum note_kind { NOTE_BEAT = 1, NOTE_GONE, NOTE_BYE };

struct note {
    uint64_t magic;
    uint32_t kind, n;
};

struct kj_comm_watch {
    struct kj_comm *c;
    pthread_t thread;
    pthread_mutex_t lock; /* of what follows and of sending */
    bool over;            /* this rank leaves */
    bool bad;             /* why is set */
    char why[WORDS_MAX];
    void (*hear)(void *ctx, const char *why);
    void *ctx;
    /* the thread's own: */
    int wake, gone; /* eventfds: look at `over`; somebody is gone */
    double silence;
    int *fd;       /* by rank; -1: not watched, or not any more */
    double *heard; /* when */
};

static void describe(const struct kj_comm *c, int r, char *buf, size_t n)
{
    const struct kj_comm_hello *who = &c->peers[r].who;
    snprintf(buf, n, "rank %d (process %d on %s)", r, (int)who->pid, who->host);
}

static void send_note(struct kj_comm_watch *w, int r, enum note_kind kind,
                      const char *why)
{
    struct note h = {KJ_COMM_MAGIC, kind, (uint32_t)strlen(why)};
    double soon = kj_now() + 1;
    if (w->fd[r] >= 0 && kj_comm_move(w->fd[r], &h, sizeof h, true, soon))
        kj_comm_move(w->fd[r], (void *)(size_t)why, h.n, true, soon);
}

static void send_all(struct kj_comm_watch *w, enum note_kind kind, const char *why,
                     int but)
{
    for (int r = 0; r < w->c->size; r++)
        if (r != but)
            send_note(w, r, kind, why);
}

static void forget(struct kj_comm_watch *w, int r)
{
    if (w->fd[r] >= 0)
        close(w->fd[r]);
    w->fd[r] = -1;
}

/* Somebody is gone: tell whom this rank tells, and those who wait here. Locked. */
static void alarm_all(struct kj_comm_watch *w, const char *why, int from)
{
    uint64_t one = 1;
    if (w->bad || w->over)
        return;
    w->bad = true;
    snprintf(w->why, sizeof w->why, "%s", why);
    if (w->c->rank == 0)
        send_all(w, NOTE_GONE, w->why, from);
    if (write(w->gone, &one, sizeof one) < 0)
        w->bad = true; /* cannot fail: the counter is far from full */
    if (w->hear)
        w->hear(w->ctx, w->why);
}

static void read_note(struct kj_comm_watch *w, int r)
{
    struct note h;
    char who[400], why[WORDS_MAX] = "";
    double soon = kj_now() + 5;
    describe(w->c, r, who, sizeof who);
    if (!kj_comm_move(w->fd[r], &h, sizeof h, false, soon) ||
        h.magic != KJ_COMM_MAGIC || h.n >= sizeof why ||
        !kj_comm_move(w->fd[r], why, h.n, false, soon)) {
        forget(w, r);
        snprintf(why, sizeof why, "%s is gone: it closed the connection", who);
        alarm_all(w, why, r);
    } else if (h.kind == NOTE_GONE) {
        alarm_all(w, why, r);
    } else if (h.kind == NOTE_BYE) {
        forget(w, r);
    }
    w->heard[r] = kj_now();
}

static void check_silence(struct kj_comm_watch *w)
{
    for (int r = 0; r < w->c->size; r++) {
        double silent = kj_now() - w->heard[r];
        char who[400], why[WORDS_MAX];
        if (w->fd[r] < 0 || silent <= w->silence)
            continue;
        describe(w->c, r, who, sizeof who);
        snprintf(why, sizeof why,
                 "%s has not been heard of for %.0f s: it hangs, or its machine does",
                 who, silent);
        alarm_all(w, why, r);
    }
}

/* What has arrived is read before anybody counts as silent: this process may have
 * been stopped itself for a while. */
static bool turn(struct kj_comm_watch *w, struct pollfd *f, double *beat)
{
    int size = w->c->size;
    for (int r = 0; r < size; r++)
        f[r] = (struct pollfd){.fd = w->fd[r], .events = POLLIN};
    f[size] = (struct pollfd){.fd = w->wake, .events = POLLIN};
    double wait = *beat - kj_now() < TICK ? *beat - kj_now() : TICK;
    int got = poll(f, (nfds_t)size + 1, wait > 0 ? (int)(wait * 1000) + 1 : 0);
    pthread_mutex_lock(&w->lock);
    for (int r = 0; got > 0 && r < size; r++)
        if (f[r].revents && !w->bad && !w->over)
            read_note(w, r);
    check_silence(w);
    if (!w->bad && !w->over && kj_now() >= *beat) {
        send_all(w, NOTE_BEAT, "", -1);
        *beat = kj_now() + w->silence / BEATS;
    }
    if (!w->bad && !w->over && w->hear)
        w->hear(w->ctx, NULL);
    bool more = !w->bad && !w->over;
    pthread_mutex_unlock(&w->lock);
    return more;
}

static void *watch_main(void *p)
{
    struct kj_comm_watch *w = p;
    struct pollfd *f = calloc((size_t)w->c->size + 1, sizeof *f);
    double beat = 0;
    while (f && turn(w, f, &beat))
        ;
    free(f);
    return NULL;
}

/* ---- beginning and end ---- */

static void watch_free(struct kj_comm_watch *w)
{
    for (int r = 0; w->fd && r < w->c->size; r++)
        forget(w, r);
    if (w->wake >= 0)
        close(w->wake);
    if (w->gone >= 0)
        close(w->gone);
    pthread_mutex_destroy(&w->lock);
    free(w->fd);
    free(w->heard);
    free(w);
}

static int silence_of(double *seconds, struct kj_err *err)
{
    const char *s = getenv("KIJIL_RANK_SILENCE");
    char *end = NULL;
    *seconds = s && *s ? strtod(s, &end) : SILENCE;
    if (end && (*end || !(*seconds >= 1 && *seconds <= 86400)))
        return kj_err_set(err, KJ_USAGE,
                          "KIJIL_RANK_SILENCE=%s: not seconds from 1 to 86400", s);
    return KJ_OK;
}

/* Nobody goes on, perhaps to its end, before all have come. */
static int all_here(struct kj_comm_watch *w, double deadline, struct kj_err *err)
{
    struct note h;
    if (w->c->rank == 0)
        send_all(w, NOTE_BEAT, "", -1);
    else if (!kj_comm_move(w->fd[0], &h, sizeof h, false, deadline))
        return kj_err_set(err, KJ_FATAL, "rank 0 left while the ranks met");
    return KJ_OK;
}

/* A second connection to rank 0, at a port that it tells over the first. */
static int connect_all(struct kj_comm_watch *w, const char *host,
                       const struct kj_comm_hello *self, double deadline,
                       struct kj_err *err)
{
    struct kj_comm *c = w->c;
    int32_t port = 0;
    int listener = -1, got = 0;
    struct kj_comm_hello me = *self, who;
    if (c->rank == 0 && (listener = kj_comm_listen(0, &got, err)) < 0)
        return KJ_FATAL;
    port = got;
    int rc = kj_comm_broadcast(c, &port, sizeof port, 0, err);
    if (rc == KJ_OK && c->rank) {
        w->fd[0] = kj_comm_dial(host, port, deadline, err);
        if (w->fd[0] < 0)
            rc = KJ_FATAL;
        else if (!kj_comm_move(w->fd[0], &me, sizeof me, true, deadline))
            rc = kj_err_set(err, KJ_FATAL, "rank 0 left while the ranks met");
    }
    for (int need = c->rank ? 0 : c->size - 1; rc == KJ_OK && need > 0;) {
        int fd = kj_comm_answer(listener, self, &who, deadline);
        if (fd < 0) {
            rc = kj_err_set(err, KJ_FATAL, "%d ranks left while the ranks met", need);
        } else if (w->fd[who.rank] >= 0) {
            close(fd);
        } else {
            w->fd[who.rank] = fd;
            need--;
        }
    }
    if (listener >= 0)
        close(listener);
    return rc ? rc : all_here(w, deadline, err);
}

int kj_comm_watch_start(struct kj_comm *c, const char *host,
                        const struct kj_comm_hello *self, double deadline,
                        struct kj_err *err)
{
    struct kj_comm_watch *w = calloc(1, sizeof *w);
    if (!w)
        return kj_err_set(err, KJ_FATAL, "out of memory");
    w->c = c;
    pthread_mutex_init(&w->lock, NULL);
    w->fd = calloc((size_t)c->size, sizeof *w->fd);
    w->heard = calloc((size_t)c->size, sizeof *w->heard);
    w->wake = eventfd(0, EFD_CLOEXEC);
    w->gone = eventfd(0, EFD_CLOEXEC);
    int rc = w->fd && w->heard && w->wake >= 0 && w->gone >= 0
                 ? silence_of(&w->silence, err)
                 : kj_err_set(err, KJ_FATAL, "out of memory or descriptors");
    for (int r = 0; w->fd && r < c->size; r++)
        w->fd[r] = -1;
    if (rc == KJ_OK)
        rc = connect_all(w, host, self, deadline, err);
    for (int r = 0; rc == KJ_OK && r < c->size; r++)
        w->heard[r] = kj_now();
    int e = rc == KJ_OK ? pthread_create(&w->thread, NULL, watch_main, w) : 0;
    if (e)
        rc = kj_err_set(err, KJ_FATAL, "no thread: %s", strerror(e));
    if (rc == KJ_OK)
        c->watch = w;
    else
        watch_free(w);
    return rc;
}

void kj_comm_watch_stop(struct kj_comm *c, const char *why)
{
    struct kj_comm_watch *w = c->watch;
    uint64_t one = 1;
    char text[WORDS_MAX];
    if (!w)
        return;
    pthread_mutex_lock(&w->lock);
    bool first = !w->over, known = w->bad;
    w->over = true;
    if (first && why && !known) {
        struct kj_comm_hello self = c->peers[c->rank].who;
        snprintf(text, sizeof text, "rank %d (process %d on %.63s) stopped: %.1000s",
                 c->rank, (int)getpid(), self.host, why);
        send_all(w, NOTE_GONE, text, -1);
        if (w->hear) /* a device must not wait for exchanges that will not end */
            w->hear(w->ctx, why);
    } else if (first && !known) {
        send_all(w, NOTE_BYE, "", -1);
    }
    pthread_mutex_unlock(&w->lock);
    if (first && write(w->wake, &one, sizeof one) < 0)
        return; /* cannot fail: see alarm_all */
    if (first)
        pthread_join(w->thread, NULL);
}

void kj_comm_watch_free(struct kj_comm *c)
{
    if (c->watch)
        watch_free(c->watch);
    c->watch = NULL;
}

int kj_comm_watch_fd(const struct kj_comm *c)
{
    return c->watch ? c->watch->gone : -1;
}

int kj_comm_watch_told(struct kj_comm *c, struct kj_err *err)
{
    struct kj_comm_watch *w = c->watch;
    int rc = KJ_OK;
    if (!w)
        return rc;
    pthread_mutex_lock(&w->lock);
    if (w->bad)
        rc = kj_err_set(err, KJ_FATAL, "%s", w->why);
    pthread_mutex_unlock(&w->lock);
    return rc;
}

void kj_comm_hear(struct kj_comm *c, void (*hear)(void *ctx, const char *why),
                  void *ctx)
{
    struct kj_comm_watch *w = c->watch;
    if (!w)
        return;
    pthread_mutex_lock(&w->lock);
    w->hear = hear;
    w->ctx = ctx;
    if (hear && w->bad)
        hear(ctx, w->why);
    pthread_mutex_unlock(&w->lock);
}
