/* encoder_queue.c - windows of texts on their way through one device.
 *
 * A window is free, open (texts are put in), ready (in a list, in order of closing),
 * or under way. Up to OPEN are open, and a text goes into the first that has room for
 * it, so that a long one need not close a window that short ones can still fill. With
 * lengths drawn evenly from 3 to 512 and windows of 16,384, one is filled to 98.9 %,
 * of four each to 99.98 %.
 *
 * One mutex guards everything but the contents of windows under way, which belong to
 * the driver.
 */
#include "classify/encoder_queue.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"

#define OPEN    4
#define FLYING  KJ_ENCODER_FLYING
#define WINDOWS (OPEN + FLYING + 4)

struct window {
    struct window *next;
    int32_t *ids, *cu;
    struct text {
        struct kj_encoder_group *group;
        float *out;
    } * texts;
    size_t n;
    bool outputs;
};

struct kj_encoder_queue {
    const struct kj_encoder *e;
    enum kj_pool pool;
    size_t pack, max_texts, vec_cols, out_cols;
    pthread_mutex_t lock;
    pthread_cond_t room, work, done;
    pthread_t driver;
    bool started, quit;
    struct kj_err fault; /* with it, nothing goes on */
    struct window all[WINDOWS];
    struct window *free, *ready, **ready_end;
    struct window *open[OPEN];
    size_t n_open;
    struct kj_encoder_run *run[FLYING];
    float *rows; /* the driver's: a pass's results */
    struct kj_encoder_work did;
};

static size_t tokens_of(const struct window *w)
{
    return (size_t)w->cu[w->n];
}

struct kj_encoder_queue *kj_encoder_queue_new(const struct kj_encoder *e,
                                              enum kj_pool pool)
{
    struct kj_encoder_queue *q = kj_xcalloc(1, sizeof *q);
    q->e = e;
    q->pool = pool;
    q->pack = kj_encoder_pack(e);
    q->max_texts = kj_encoder_texts(e);
    q->vec_cols = (size_t)kj_encoder_get_config(e)->hidden;
    q->out_cols = kj_encoder_head(e)->out;
    q->ready_end = &q->ready;
    kj_err_reset(&q->fault);
    pthread_mutex_init(&q->lock, NULL);
    pthread_cond_init(&q->room, NULL);
    pthread_cond_init(&q->work, NULL);
    pthread_cond_init(&q->done, NULL);
    return q;
}

/* ---- windows; the lock is held ---- */

static void close_window(struct kj_encoder_queue *q, size_t i)
{
    struct window *w = q->open[i];
    q->open[i] = q->open[--q->n_open];
    w->next = NULL;
    *q->ready_end = w;
    q->ready_end = &w->next;
}

static size_t fullest(const struct kj_encoder_queue *q)
{
    size_t best = 0;
    for (size_t i = 1; i < q->n_open; i++)
        if (tokens_of(q->open[i]) > tokens_of(q->open[best]))
            best = i;
    return best;
}

/* An open window with room for n ids; NULL: there is none, and none is free. */
static struct window *window_for(struct kj_encoder_queue *q, size_t n, bool outputs)
{
    for (size_t i = 0; i < q->n_open; i++) {
        struct window *w = q->open[i];
        if (w->outputs == outputs && w->n < q->max_texts && tokens_of(w) + n <= q->pack)
            return w;
    }
    if (q->n_open == OPEN)
        close_window(q, fullest(q));
    struct window *w = q->free;
    if (!w)
        return NULL;
    q->free = w->next;
    w->n = 0;
    w->cu[0] = 0;
    w->outputs = outputs;
    return q->open[q->n_open++] = w;
}

/* Everybody who waits for something of w has it, or there is a fault. */
static void give_back(struct kj_encoder_queue *q, struct window *w)
{
    for (size_t i = 0; i < w->n; i++)
        w->texts[i].group->left--;
    w->next = q->free;
    q->free = w;
    pthread_cond_broadcast(&q->done);
    pthread_cond_broadcast(&q->room);
}

/* Let all go who wait; those who come later are told. */
static void fail(struct kj_encoder_queue *q, const struct kj_err *why)
{
    if (!q->fault.rc)
        q->fault = *why;
    while (q->n_open)
        close_window(q, 0);
    while (q->ready) {
        struct window *w = q->ready;
        q->ready = w->next;
        give_back(q, w);
    }
    q->ready_end = &q->ready;
    pthread_cond_broadcast(&q->room);
}

/* ---- the driver ---- */

/* The next window: a closed one; where nothing is under way also an open one. NULL:
 * none (which is not waited for while something is), or the end. */
static struct window *next_window(struct kj_encoder_queue *q, bool flying)
{
    pthread_mutex_lock(&q->lock);
    while (!q->quit && !q->ready && !flying && q->n_open == 0)
        pthread_cond_wait(&q->work, &q->lock);
    if (!q->ready && !flying && q->n_open && !q->quit)
        close_window(q, fullest(q));
    struct window *w = q->ready;
    if (w) {
        q->ready = w->next;
        if (!q->ready)
            q->ready_end = &q->ready;
    }
    pthread_mutex_unlock(&q->lock);
    return w;
}

static int start(struct kj_encoder_queue *q, struct kj_encoder_run *r, struct window *w,
                 struct kj_err *err)
{
    return kj_encoder_start(q->e, r, q->pool, w->outputs, w->ids, w->cu, w->n, err);
}

static int finish(struct kj_encoder_queue *q, struct kj_encoder_run *r,
                  struct window *w, struct kj_err *err)
{
    size_t cols = w->outputs ? q->out_cols : q->vec_cols;
    int rc = kj_encoder_finish(q->e, r, q->rows, err);
    for (size_t i = 0; i < w->n && rc == KJ_OK; i++)
        memcpy(w->texts[i].out, q->rows + i * cols, cols * sizeof *q->rows);
    pthread_mutex_lock(&q->lock);
    q->did.passes++;
    q->did.texts += w->n;
    q->did.tokens += tokens_of(w);
    if (rc == KJ_OK)
        give_back(q, w);
    pthread_mutex_unlock(&q->lock);
    return rc;
}

/* Until the end or a fault; flying: the windows under way, the oldest first. */
static int drive(struct kj_encoder_queue *q, struct window **flying, size_t *n,
                 struct kj_err *err)
{
    size_t turn = 0; /* whose run is next */
    int rc = KJ_OK;
    while (rc == KJ_OK) {
        struct window *w = *n < FLYING ? next_window(q, *n > 0) : NULL;
        if (w) {
            flying[(*n)++] = w;
            rc = start(q, q->run[turn++ % FLYING], w, err);
        } else if (*n == 0) {
            break;
        } else {
            rc = finish(q, q->run[(turn - *n) % FLYING], flying[0], err);
            if (rc == KJ_OK)
                memmove(flying, flying + 1, --*n * sizeof(struct window *));
        }
    }
    return rc;
}

static void *driver_main(void *arg)
{
    struct kj_encoder_queue *q = arg;
    struct window *flying[FLYING];
    struct kj_err err = KJ_ERR_INIT;
    size_t n = 0, cols = q->vec_cols > q->out_cols ? q->vec_cols : q->out_cols;
    int rc = KJ_OK;
    /* Opened by the thread that uses them: a GPU is chosen for each thread. */
    for (size_t i = 0; i < FLYING && rc == KJ_OK; i++)
        rc = kj_encoder_run_new(&q->run[i], q->e, 1, &err);
    q->rows = kj_xmalloc(q->max_texts * cols * sizeof *q->rows);
    if (rc == KJ_OK)
        rc = drive(q, flying, &n, &err);
    if (rc != KJ_OK) {
        pthread_mutex_lock(&q->lock);
        fail(q, &err);
        for (size_t i = 0; i < n; i++)
            give_back(q, flying[i]);
        pthread_mutex_unlock(&q->lock);
    }
    for (size_t i = 0; i < FLYING; i++)
        kj_encoder_run_free(q->run[i]);
    free(q->rows);
    return NULL;
}

/* With the first text; the lock is held. */
static void start_driver(struct kj_encoder_queue *q)
{
    if (q->started || q->fault.rc)
        return;
    for (size_t i = 0; i < WINDOWS; i++) {
        struct window *w = &q->all[i];
        w->ids = kj_xmalloc(q->pack * sizeof *w->ids);
        w->cu = kj_xmalloc((q->max_texts + 1) * sizeof *w->cu);
        w->texts = kj_xmalloc(q->max_texts * sizeof *w->texts);
        w->next = q->free;
        q->free = w;
    }
    q->started = pthread_create(&q->driver, NULL, driver_main, q) == 0;
    if (!q->started)
        kj_err_set(&q->fault, KJ_FATAL, "no thread for the encoder's device");
}

/* ---- for everybody ---- */

static int told(const struct kj_encoder_queue *q, struct kj_err *err)
{
    int rc = q->fault.rc;
    return rc ? kj_err_set(err, rc, "%s", q->fault.msg) : KJ_OK;
}

int kj_encoder_queue_add(struct kj_encoder_queue *q, struct kj_encoder_group *g,
                         const int32_t *ids, size_t n, bool outputs, float *out,
                         struct kj_err *err)
{
    struct window *w = NULL;
    if (n == 0 || n > q->pack)
        return kj_err_set(err, KJ_FATAL, "a text does not fit the encoder's pass");
    pthread_mutex_lock(&q->lock);
    start_driver(q);
    while (!q->fault.rc && !(w = window_for(q, n, outputs))) {
        pthread_cond_signal(&q->work);
        pthread_cond_wait(&q->room, &q->lock);
    }
    int rc = told(q, err);
    if (rc == KJ_OK && w) {
        memcpy(w->ids + w->cu[w->n], ids, n * sizeof *ids);
        w->texts[w->n] = (struct text){g, out};
        w->cu[w->n + 1] = w->cu[w->n] + (int32_t)n;
        w->n++;
        g->left++;
        pthread_cond_signal(&q->work);
    }
    pthread_mutex_unlock(&q->lock);
    return rc;
}

int kj_encoder_queue_wait(struct kj_encoder_queue *q, struct kj_encoder_group *g,
                          struct kj_err *err)
{
    pthread_mutex_lock(&q->lock);
    while (g->left)
        pthread_cond_wait(&q->done, &q->lock);
    int rc = told(q, err);
    pthread_mutex_unlock(&q->lock);
    return rc;
}

struct kj_encoder_work kj_encoder_queue_work(struct kj_encoder_queue *q)
{
    pthread_mutex_lock(&q->lock);
    struct kj_encoder_work did = q->did;
    pthread_mutex_unlock(&q->lock);
    return did;
}

void kj_encoder_queue_free(struct kj_encoder_queue *q)
{
    if (!q)
        return;
    pthread_mutex_lock(&q->lock);
    q->quit = true;
    pthread_cond_signal(&q->work);
    pthread_mutex_unlock(&q->lock);
    if (q->started)
        pthread_join(q->driver, NULL);
    for (size_t i = 0; i < WINDOWS; i++) {
        free(q->all[i].ids);
        free(q->all[i].cu);
        free(q->all[i].texts);
    }
    pthread_cond_destroy(&q->room);
    pthread_cond_destroy(&q->work);
    pthread_cond_destroy(&q->done);
    pthread_mutex_destroy(&q->lock);
    free(q);
}
