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
    bool told;                  /* why this rank stops */
    struct kj_comm_peer *peers; /* by rank; the own one's fd is -1 */
    float *pieces;              /* ranks x KJ_COMM_PIECE */
};

/* All n bytes, in or out, before the deadline: where nothing else is to be done. */
bool kj_comm_move(int fd, void *p, size_t n, bool out, double deadline);

#endif
