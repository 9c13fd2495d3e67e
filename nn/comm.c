/* comm.c - see comm.h.
 *
 * A message is a head (kind, number, length) and its bytes. The number counts
 * calls, so that ranks which do not do the same are found out. A rank that stops
 * early sends a last message with its reason, one that is through says so; one that
 * dies only closes its sockets.
 *
 * Exchanges send to and receive from all peers at once, whoever is ready: with
 * blocking calls two large messages in opposite directions would wait for each
 * other. Sums go through pieces of KJ_COMM_PIECE elements, so the memory of a call
 * is ranks x that, whatever the model's size.
 */
#define _GNU_SOURCE /* POLLRDHUP: a rank that left is heard of while others are awaited */
#include "nn/comm.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "nn/comm_internal.h"

#define CUT      16  /* elements: a cache line */
#define GRACE_MS 200 /* for what was sent before somebody was gone */

int kj_comm_rank(const struct kj_comm *c)
{
    return c->rank;
}

int kj_comm_size(const struct kj_comm *c)
{
    return c->size;
}

void kj_comm_cut(size_t n, int rank, int ranks, size_t *from, size_t *to)
{
    size_t lines = (n + CUT - 1) / CUT, size = (size_t)ranks, r = (size_t)rank;
    size_t a = lines * r / size * CUT, b = lines * (r + 1) / size * CUT;
    *from = a < n ? a : n;
    *to = b < n ? b : n;
}

void kj_comm_part(const struct kj_comm *c, int rank, size_t n, size_t *from, size_t *to)
{
    kj_comm_cut(n, rank, c->size, from, to);
}

/* ---- messages ---- */

/* What to send to and to take from a rank; n 0 and p NULL: nothing. */
static void post(struct kj_comm *c, int rank, const void *to, size_t to_n, void *from,
                 size_t from_n)
{
    struct kj_comm_peer *p = &c->peers[rank];
    p->out = (struct kj_comm_head){KJ_COMM_MAGIC, KJ_COMM_DATA, c->call, to_n};
    p->to = to;
    p->from = from;
    p->out_n = to ? sizeof p->out + to_n : 0;
    p->in_n = from ? sizeof p->in + from_n : 0;
    p->out_at = p->in_at = 0;
}

/* Its last words are next in the socket. */
static int stopped(const struct kj_comm_peer *p, uint64_t n, struct kj_err *err)
{
    char why[1024] = "";
    if (n >= sizeof why || !kj_comm_move(p->fd, why, n, false, kj_now() + 5))
        why[0] = '\0';
    return kj_err_set(err, KJ_FATAL, "rank %d (process %d on %s) stopped: %s",
                      p->who.rank, (int)p->who.pid, p->who.host, why);
}

static int check_head(const struct kj_comm *c, const struct kj_comm_peer *p,
                      struct kj_err *err)
{
    if (p->in.magic == KJ_COMM_MAGIC && p->in.kind == KJ_COMM_ABORT)
        return stopped(p, p->in.n, err);
    if (p->in.magic != KJ_COMM_MAGIC || p->in.kind != KJ_COMM_DATA ||
        p->in.call != c->call || p->in.n + sizeof p->in != p->in_n)
        return kj_err_set(err, KJ_FATAL,
                          "rank %d on %s is not where this rank is: its exchange %u of "
                          "%llu bytes meets %u of %zu here",
                          p->who.rank, p->who.host, p->in.call,
                          (unsigned long long)p->in.n, c->call, p->in_n - sizeof p->in);
    return KJ_OK;
}

/* Who is gone, and who is too: one that leaves because of another may be seen
 * first. */
static int gone(const struct kj_comm *c, const struct kj_comm_peer *p, const char *why,
                struct kj_err *err)
{
    char others[128] = "";
    size_t at = 0;
    for (int r = 0; r < c->size && at < sizeof others - 16; r++) {
        struct pollfd f = {.fd = c->peers[r].fd, .events = POLLRDHUP};
        if (&c->peers[r] != p && !c->peers[r].left && poll(&f, 1, 0) > 0 &&
            (f.revents & (POLLRDHUP | POLLHUP)))
            at += (size_t)snprintf(others + at, sizeof others - at, "%s %d",
                                   at ? "," : "; so are", r);
    }
    return kj_err_set(err, KJ_FATAL, "rank %d (process %d on %s) is gone: %s%s",
                      p->who.rank, (int)p->who.pid, p->who.host, why, others);
}

/* A connection has ended from which nothing is awaited now. What it sent for later
 * calls is left where it is. */
static int ended(struct kj_comm *c, struct kj_comm_peer *p, struct kj_err *err)
{
    struct kj_comm_head h;
    ssize_t n = recv(p->fd, &h, sizeof h, MSG_PEEK | MSG_DONTWAIT);
    if (n != sizeof h || h.magic != KJ_COMM_MAGIC)
        return gone(c, p, "it closed the connection", err);
    if (h.kind == KJ_COMM_ABORT &&
        kj_comm_move(p->fd, &h, sizeof h, false, kj_now() + 1))
        return stopped(p, h.n, err);
    p->left = true;
    return KJ_OK;
}

static int send_some(struct kj_comm *c, struct kj_comm_peer *p, struct kj_err *err)
{
    bool head = p->out_at < sizeof p->out;
    const char *at =
        head ? (const char *)&p->out + p->out_at : p->to + (p->out_at - sizeof p->out);
    size_t n = head ? sizeof p->out - p->out_at : p->out_n - p->out_at;
    ssize_t k = send(p->fd, at, n, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (k < 0 && errno != EAGAIN && errno != EINTR) {
        int e = errno,
            rc = p->in_at == 0 || p->in_at == p->in_n ? ended(c, p, err) : KJ_OK;
        return rc ? rc : gone(c, p, strerror(e), err);
    }
    p->out_at += k > 0 ? (size_t)k : 0;
    return KJ_OK;
}

static int take_some(struct kj_comm *c, struct kj_comm_peer *p, struct kj_err *err)
{
    bool head = p->in_at < sizeof p->in;
    char *at = head ? (char *)&p->in + p->in_at : p->from + (p->in_at - sizeof p->in);
    size_t n = head ? sizeof p->in - p->in_at : p->in_n - p->in_at;
    ssize_t k = recv(p->fd, at, n, MSG_DONTWAIT);
    if (k == 0)
        return gone(c, p, "it closed the connection", err);
    if (k < 0)
        return errno == EAGAIN || errno == EINTR ? KJ_OK
                                                 : gone(c, p, strerror(errno), err);
    p->in_at += (size_t)k;
    return head && p->in_at == sizeof p->in ? check_head(c, p, err) : KJ_OK;
}

/* What a peer has to be waited for; false: nothing. */
static bool wanted(const struct kj_comm_peer *p, struct pollfd *f)
{
    *f = (struct pollfd){.fd = p->left ? -1 : p->fd, .events = POLLRDHUP};
    if (p->out_at < p->out_n)
        f->events |= POLLOUT;
    if (p->in_at < p->in_n)
        f->events |= POLLIN;
    if (f->events != POLLRDHUP)
        f->fd = p->fd;
    return f->events != POLLRDHUP;
}

static int serve(struct kj_comm *c, struct kj_comm_peer *p, const struct pollfd *f,
                 struct kj_err *err)
{
    int rc = KJ_OK;
    bool end = f->revents & (POLLHUP | POLLERR | POLLRDHUP);
    if ((f->events & POLLIN) && (end || (f->revents & POLLIN)))
        rc = take_some(c, p, err);
    else if (end)
        rc = ended(c, p, err);
    if (rc == KJ_OK && (f->revents & POLLOUT))
        rc = send_some(c, p, err);
    return rc;
}

/* Do all that is posted. Ranks from which nothing is awaited are listened to
 * as well while others are waited for, so that a rank that is gone is noticed by
 * all at once. */
static int exchange(struct kj_comm *c, struct kj_err *err)
{
    int rc = KJ_OK, size = c->size;
    bool told = false;
    struct pollfd *f = calloc((size_t)size + 1, sizeof *f);
    if (!f)
        return kj_err_set(err, KJ_FATAL, "out of memory");
    f[size] = (struct pollfd){.fd = kj_comm_watch_fd(c), .events = POLLIN};
    while (rc == KJ_OK) {
        bool more = false;
        for (int r = 0; r < size; r++)
            more = wanted(&c->peers[r], &f[r]) || more;
        if (!more)
            break;
        int got = poll(f, (nfds_t)size + 1, told ? GRACE_MS : -1);
        if (got < 0 && errno != EINTR)
            rc = kj_err_errno(err, KJ_FATAL, "poll");
        for (int r = 0; rc == KJ_OK && r < size; r++)
            rc = serve(c, &c->peers[r], &f[r], err);
        if (rc == KJ_OK && got == 0)
            rc = kj_comm_watch_told(c, err);
        if (f[size].fd >= 0 && f[size].revents) {
            told = true;
            f[size].fd = -1;
        }
    }
    free(f);
    c->call++;
    return rc;
}

static void post_nothing(struct kj_comm *c)
{
    for (int r = 0; r < c->size; r++)
        post(c, r, NULL, 0, NULL, 0);
}

/* ---- collectives ---- */

int kj_comm_broadcast(struct kj_comm *c, void *p, size_t n, int root,
                      struct kj_err *err)
{
    post_nothing(c);
    for (int r = 0; r < c->size; r++)
        if (r != c->rank && c->rank == root)
            post(c, r, p, n, NULL, 0);
    if (c->rank != root)
        post(c, root, NULL, 0, p, n);
    return exchange(c, err);
}

/* The k-th piece of a rank's part. */
static void piece_of(const struct kj_comm *c, int rank, size_t n, size_t k,
                     size_t *from, size_t *to)
{
    size_t end;
    kj_comm_part(c, rank, n, from, &end);
    *from = *from + k * KJ_COMM_PIECE < end ? *from + k * KJ_COMM_PIECE : end;
    *to = *from + KJ_COMM_PIECE < end ? *from + KJ_COMM_PIECE : end;
}

static size_t pieces_in(const struct kj_comm *c, size_t n)
{
    size_t most = 0;
    for (int r = 0; r < c->size; r++) {
        size_t from, to;
        kj_comm_part(c, r, n, &from, &to);
        most = to - from > most ? to - from : most;
    }
    return (most + KJ_COMM_PIECE - 1) / KJ_COMM_PIECE;
}

int kj_comm_reduce_scatter(struct kj_comm *c, float *x, size_t n, struct kj_err *err)
{
    size_t rounds = pieces_in(c, n);
    int rc = KJ_OK;
    for (size_t k = 0; rc == KJ_OK && k < rounds; k++) {
        size_t from, to, a, b;
        piece_of(c, c->rank, n, k, &from, &to);
        post_nothing(c);
        for (int r = 0; r < c->size; r++) {
            piece_of(c, r, n, k, &a, &b);
            if (r != c->rank)
                post(c, r, x + a, (b - a) * sizeof *x,
                     c->pieces + (size_t)r * KJ_COMM_PIECE, (to - from) * sizeof *x);
        }
        rc = exchange(c, err);
        if (rc == KJ_OK)
            memcpy(c->pieces + (size_t)c->rank * KJ_COMM_PIECE, x + from,
                   (to - from) * sizeof *x);
        for (size_t i = from; rc == KJ_OK && i < to; i++) {
            float sum = c->pieces[i - from];
            for (int r = 1; r < c->size; r++)
                sum += c->pieces[(size_t)r * KJ_COMM_PIECE + (i - from)];
            x[i] = sum;
        }
    }
    return rc;
}

int kj_comm_all_gather(struct kj_comm *c, float *x, size_t n, struct kj_err *err)
{
    size_t from, to, a, b;
    kj_comm_part(c, c->rank, n, &from, &to);
    post_nothing(c);
    for (int r = 0; r < c->size; r++) {
        kj_comm_part(c, r, n, &a, &b);
        if (r != c->rank)
            post(c, r, x + from, (to - from) * sizeof *x, x + a, (b - a) * sizeof *x);
    }
    return exchange(c, err);
}

int kj_comm_collect(struct kj_comm *c, const float *mine, size_t all, size_t at,
                    size_t n, float *to, struct kj_err *err)
{
    post_nothing(c);
    for (int r = 0; r < c->size; r++) {
        size_t from, end;
        kj_comm_part(c, r, all, &from, &end);
        from = from > at ? from : at;
        end = end < at + n ? end : at + n;
        size_t bytes = from < end ? (end - from) * sizeof *to : 0;
        if (bytes && c->rank == 0 && r != 0)
            post(c, r, NULL, 0, to + (from - at), bytes);
        else if (bytes && c->rank == r && r != 0)
            post(c, 0, mine, bytes, NULL, 0);
        else if (bytes && c->rank == 0)
            memcpy(to + (from - at), mine, bytes);
    }
    return exchange(c, err);
}

int kj_comm_sum(struct kj_comm *c, double *x, size_t n, struct kj_err *err)
{
    size_t size = (size_t)c->size;
    double *all = malloc(size * n * sizeof *all);
    if (!all)
        return kj_err_set(err, KJ_FATAL, "out of memory");
    post_nothing(c);
    for (size_t r = 0; r < size; r++)
        if ((int)r != c->rank)
            post(c, (int)r, x, n * sizeof *x, all + r * n, n * sizeof *x);
    int rc = exchange(c, err);
    if (rc == KJ_OK)
        memcpy(all + (size_t)c->rank * n, x, n * sizeof *x);
    for (size_t i = 0; rc == KJ_OK && i < n; i++) {
        x[i] = all[i];
        for (size_t r = 1; r < size; r++)
            x[i] += all[r * n + i];
    }
    free(all);
    return rc;
}

/* ---- the end ---- */

/* In the middle of a message nobody would understand it. */
static void say(struct kj_comm *c, enum kj_comm_kind kind, const char *why)
{
    struct kj_comm_head h = {KJ_COMM_MAGIC, kind, c->call, strnlen(why, 1000)};
    for (int r = 0; r < c->size; r++) {
        const struct kj_comm_peer *p = &c->peers[r];
        double soon = kj_now() + 1;
        if (p->fd >= 0 && (p->out_at == 0 || p->out_at == p->out_n) &&
            kj_comm_move(p->fd, &h, sizeof h, true, soon))
            kj_comm_move(p->fd, (void *)(size_t)why, h.n, true, soon);
    }
}

void kj_comm_abort(struct kj_comm *c, const char *why)
{
    if (c->told)
        return;
    kj_comm_watch_stop(c, why);
    say(c, KJ_COMM_ABORT, why);
    c->told = true;
}

void kj_comm_close(struct kj_comm *c)
{
    if (c)
        kj_comm_watch_stop(c, NULL);
    if (c && c->peers && !c->told)
        say(c, KJ_COMM_BYE, "");
    for (int r = 0; c && c->peers && r < c->size; r++)
        if (c->peers[r].fd >= 0)
            close(c->peers[r].fd);
    if (c) {
        kj_comm_watch_free(c);
        free(c->peers);
        free(c->pieces);
    }
    free(c);
}
