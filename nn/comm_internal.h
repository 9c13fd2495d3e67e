/* comm_internal.h - what the meeting of ranks (comm_meet.c) and their messages
 * (comm.c) share. */
#ifndef KJ_NN_COMM_INTERNAL_H
#define KJ_NN_COMM_INTERNAL_H

#include <stdbool.h>

#include "nn/comm.h"

#define KJ_COMM_MAGIC 0x6b6a636f6d6d3031 /* "kjcomm01" */
#define KJ_COMM_PIECE ((size_t)1 << 18)  /* elements */

enum kj_comm_kind { KJ_COMM_DATA = 1, KJ_COMM_ABORT, KJ_COMM_BYE };

struct kj_comm_head {
    uint64_t magic;
    uint32_t kind, call;
    uint64_t n;
};

/* Who dials says this first. */
struct kj_comm_hello {
    uint64_t magic, run;
    int32_t rank, size, pid, port;
    char host[64], addr[64]; /* its name; its address as rank 0 saw it */
};

struct kj_comm_peer {
    int fd;
    bool left; /* it said goodbye */
    struct kj_comm_hello who;
    /* this exchange: */
    struct kj_comm_head out, in;
    const char *to;
    char *from;
    size_t out_n, out_at, in_n, in_at; /* bytes with their heads */
};

struct kj_comm {
    int rank, size;
    uint32_t call;
    bool told;                   /* why this rank stops */
    struct kj_comm_peer *peers;  /* by rank; the own one's fd is -1 */
    float *pieces;               /* ranks x KJ_COMM_PIECE */
    struct kj_comm_watch *watch; /* NULL: alone */
};

/* All n bytes, in or out, before the deadline: where nothing else is to be done. */
bool kj_comm_move(int fd, void *p, size_t n, bool out, double deadline);

/* comm_meet.c. Listen at a port (0: any; *got), dial one, take the next who dials
 * and is of this run; -1 where that fails. */
int kj_comm_listen(int port, int *got, struct kj_err *err);
int kj_comm_dial(const char *host, int port, double deadline, struct kj_err *err);
int kj_comm_answer(int listener, const struct kj_comm_hello *self,
                   struct kj_comm_hello *who, double deadline);

/* comm_watch.c. All ranks start it; host: where rank 0 is. */
int kj_comm_watch_start(struct kj_comm *c, const char *host,
                        const struct kj_comm_hello *self, double deadline,
                        struct kj_err *err);
/* This rank leaves: because of something (why), or because it is through. */
void kj_comm_watch_stop(struct kj_comm *c, const char *why);
void kj_comm_watch_free(struct kj_comm *c);
/* To poll: readable once somebody is gone; -1: nobody watches. */
int kj_comm_watch_fd(const struct kj_comm *c);
/* KJ_FATAL with who is gone, KJ_OK while nobody is. */
int kj_comm_watch_told(struct kj_comm *c, struct kj_err *err);

#endif
