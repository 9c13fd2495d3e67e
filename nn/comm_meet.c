/* comm_meet.c - how ranks find each other.
 *
 * Rank 0 listens where all know; the others dial until it answers, say who they are
 * and where they listen themselves, and get the list of all. Then every rank dials
 * those below it. A dialler that is of another run, or no rank at all, is turned
 * away and costs nothing else.
 */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "nn/comm.h"
#include "nn/comm_internal.h"

/* ---- sockets ---- */

/* A machine that is gone answers nothing: after 20 s without a word it is asked
 * four times, 5 s apart; what was sent to it may stay unanswered for 40 s. */
static void tune(int fd)
{
    int on = 1, idle = 20, step = 5, times = 4;
    unsigned unanswered = 40000;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &step, sizeof step);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &times, sizeof times);
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unanswered, sizeof unanswered);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
}

bool kj_comm_move(int fd, void *p, size_t n, bool out, double deadline)
{
    char *at = p;
    while (n > 0) {
        struct pollfd f = {.fd = fd, .events = out ? POLLOUT : POLLIN};
        double left = deadline - kj_now();
        if (left <= 0 || poll(&f, 1, (int)(left * 1000) + 1) <= 0)
            return false;
        ssize_t k = out ? send(fd, at, n, MSG_NOSIGNAL | MSG_DONTWAIT)
                        : recv(fd, at, n, MSG_DONTWAIT);
        if (k == 0 || (k < 0 && errno != EAGAIN && errno != EINTR))
            return false;
        if (k > 0) {
            at += k;
            n -= (size_t)k;
        }
    }
    return true;
}

int kj_comm_listen(int port, int *got, struct kj_err *err)
{
    struct sockaddr_in6 a = {.sin6_family = AF_INET6,
                             .sin6_port = htons((uint16_t)port)};
    socklen_t n = sizeof a;
    int on = 1, off = 0, fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) /* a machine without IPv6 */
        fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    else
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (fd < 0)
        return kj_err_errno(err, KJ_FATAL, "no socket"), -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    int family = 0;
    socklen_t fn = sizeof family;
    getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &fn);
    struct sockaddr_in a4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct sockaddr *sa = family == AF_INET ? (void *)&a4 : (void *)&a;
    if (bind(fd, sa, family == AF_INET ? sizeof a4 : sizeof a) != 0 ||
        listen(fd, 1024) != 0 || getsockname(fd, (void *)&a, &n) != 0) {
        kj_err_errno(err, KJ_FATAL, "cannot listen on port %d", port);
        close(fd);
        return -1;
    }
    *got = ntohs(a.sin6_port); /* at the same place in both families */
    return fd;
}

/* One try; -1 with why in *reason. */
static int dial_once(const char *host, int port, const char **reason)
{
    struct addrinfo hint = {.ai_socktype = SOCK_STREAM}, *list = NULL;
    char service[16];
    int fd = -1;
    snprintf(service, sizeof service, "%d", port);
    int e = getaddrinfo(host, service, &hint, &list);
    if (e) {
        *reason = gai_strerror(e);
        return -1;
    }
    for (struct addrinfo *a = list; a && fd < 0; a = a->ai_next) {
        fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, 0);
        if (fd >= 0 && connect(fd, a->ai_addr, a->ai_addrlen) != 0) {
            *reason = strerror(errno);
            close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(list);
    return fd;
}

int kj_comm_dial(const char *host, int port, double deadline, struct kj_err *err)
{
    const char *reason = "no answer";
    int fd;
    while ((fd = dial_once(host, port, &reason)) < 0 && kj_now() < deadline)
        nanosleep(&(struct timespec){0, 50000000}, NULL);
    if (fd < 0)
        kj_err_set(err, KJ_FATAL, "no way to %s port %d: %s", host, port, reason);
    else
        tune(fd);
    return fd;
}

/* ---- meeting ---- */

/* The next who dials and is of this run; -1 at the deadline. */
int kj_comm_answer(int listener, const struct kj_comm_hello *self,
                   struct kj_comm_hello *who, double deadline)
{
    for (;;) {
        struct pollfd f = {.fd = listener, .events = POLLIN};
        double left = deadline - kj_now();
        if (left <= 0 || poll(&f, 1, (int)(left * 1000) + 1) <= 0)
            return -1;
        struct sockaddr_storage a;
        socklen_t n = sizeof a;
        int fd = accept(listener, (void *)&a, &n);
        if (fd < 0)
            continue;
        tune(fd);
        /* somebody else who dials and says nothing must not use up the time */
        double soon = kj_now() + 5 < deadline ? kj_now() + 5 : deadline;
        if (kj_comm_move(fd, who, sizeof *who, false, soon) &&
            who->magic == KJ_COMM_MAGIC && who->run == self->run &&
            who->size == self->size && who->rank >= 0 && who->rank < self->size &&
            who->rank != self->rank) {
            who->host[sizeof who->host - 1] = '\0';
            if (getnameinfo((void *)&a, n, who->addr, sizeof who->addr, NULL, 0,
                            NI_NUMERICHOST) != 0)
                who->addr[0] = '\0';
            return fd;
        }
        close(fd);
    }
}

static int missing(const struct kj_comm *c, int from, struct kj_err *err)
{
    char list[256] = "";
    size_t at = 0;
    for (int r = from; r < c->size && at < sizeof list - 8; r++)
        if (r != c->rank && c->peers[r].fd < 0)
            at += (size_t)snprintf(list + at, sizeof list - at, " %d", r);
    return kj_err_set(
        err, KJ_FATAL,
        "rank %d of %d waited in vain for rank%s (not started, of another "
        "run, or kept out by a firewall)",
        c->rank, c->size, list);
}

/* Those above this rank dial it. */
static int wait_for(struct kj_comm *c, int listener, int from,
                    const struct kj_comm_hello *self, double deadline,
                    struct kj_err *err)
{
    for (int need = c->size - from; need > 0;) {
        struct kj_comm_hello who;
        int fd = kj_comm_answer(listener, self, &who, deadline);
        if (fd < 0)
            return missing(c, from, err);
        if (who.rank < from || c->peers[who.rank].fd >= 0) { /* twice the same */
            close(fd);
            continue;
        }
        c->peers[who.rank].fd = fd;
        c->peers[who.rank].who = who;
        need--;
    }
    return KJ_OK;
}

static int meet_as_first(struct kj_comm *c, const struct kj_comm_place *p,
                         struct kj_comm_hello *self, double deadline,
                         struct kj_err *err)
{
    int port, listener = kj_comm_listen(p->port, &port, err);
    if (listener < 0)
        return KJ_FATAL;
    int rc = wait_for(c, listener, 1, self, deadline, err);
    for (int r = 1; rc == KJ_OK && r < c->size; r++)
        for (int k = 0; rc == KJ_OK && k < c->size; k++)
            if (!kj_comm_move(c->peers[r].fd, k ? &c->peers[k].who : self, sizeof *self,
                              true, deadline))
                rc = kj_err_set(err, KJ_FATAL, "rank %d left while the ranks met", r);
    close(listener);
    return rc;
}

static int meet_as_other(struct kj_comm *c, const struct kj_comm_place *p,
                         struct kj_comm_hello *self, double deadline,
                         struct kj_err *err)
{
    int port, rc = KJ_OK, listener = kj_comm_listen(0, &port, err);
    if (listener < 0)
        return KJ_FATAL;
    self->port = port;
    int fd = kj_comm_dial(p->host, p->port, deadline, err);
    if (fd < 0 || !kj_comm_move(fd, self, sizeof *self, true, deadline))
        rc = kj_err_set(err, KJ_FATAL, "rank 0 did not answer");
    c->peers[0].fd = fd;
    for (int k = 0; rc == KJ_OK && k < c->size; k++) {
        struct kj_comm_hello *who = &c->peers[k].who;
        if (!kj_comm_move(fd, who, sizeof *who, false, deadline) ||
            who->magic != KJ_COMM_MAGIC)
            rc = kj_err_set(
                err, KJ_FATAL,
                "rank 0 at %s port %d turned this rank away (%d of %d): it is "
                "of another run or size, or not all ranks came",
                p->host, p->port, c->rank, c->size);
        who->host[sizeof who->host - 1] = who->addr[sizeof who->addr - 1] = '\0';
    }
    for (int k = 1; rc == KJ_OK && k < c->rank; k++) {
        fd = kj_comm_dial(c->peers[k].who.addr, c->peers[k].who.port, deadline, err);
        if (fd < 0 || !kj_comm_move(fd, self, sizeof *self, true, deadline))
            rc = kj_err_set(err, KJ_FATAL, "rank %d did not answer", k);
        c->peers[k].fd = fd;
    }
    if (rc == KJ_OK)
        rc = wait_for(c, listener, c->rank + 1, self, deadline, err);
    close(listener);
    return rc;
}

int kj_comm_open(struct kj_comm **out, const struct kj_comm_place *p, uint64_t run,
                 int seconds, struct kj_err *err)
{
    struct kj_comm *c = calloc(1, sizeof *c);
    struct kj_comm_hello self = {.magic = KJ_COMM_MAGIC,
                                 .run = run,
                                 .rank = p->rank,
                                 .size = p->size,
                                 .pid = getpid()};
    *out = c;
    if (!c || !(c->peers = calloc((size_t)p->size, sizeof *c->peers)) ||
        !(c->pieces = malloc((size_t)p->size * KJ_COMM_PIECE * sizeof *c->pieces))) {
        kj_comm_close(c);
        *out = NULL;
        return kj_err_set(err, KJ_FATAL, "out of memory for %d ranks", p->size);
    }
    c->rank = p->rank;
    c->size = p->size;
    for (int r = 0; r < c->size; r++)
        c->peers[r].fd = -1;
    gethostname(self.host, sizeof self.host - 1);
    double deadline = kj_now() + seconds;
    int rc = c->size == 1   ? KJ_OK
             : c->rank == 0 ? meet_as_first(c, p, &self, deadline, err)
                            : meet_as_other(c, p, &self, deadline, err);
    c->peers[c->rank].who = self;
    if (rc == KJ_OK && c->size > 1)
        rc = kj_comm_watch_start(c, p->host, &self, deadline, err);
    if (rc != KJ_OK) {
        kj_comm_close(c);
        *out = NULL;
    }
    return rc;
}
