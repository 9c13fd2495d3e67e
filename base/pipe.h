/* pipe.h - the ordered ring: one reader, N workers, one ordered writer.
 *
 * Items pass through a ring of W reusable slots; the slot of serial s is
 * s mod W, so W bounds the memory and is the back-pressure. There is no
 * barrier. Slots go free -> ready -> busy -> done -> free; three counters
 * (read, work, write) count serials under one mutex with three conditions.
 *
 * Contract: write() sees the slots in the order in which read() filled them,
 * whatever the number of workers. The first failure in serial order wins:
 * every item before it is written, nothing after it, and kj_pipe_run returns
 * its code when all threads have stopped. threads == 1 starts no thread. If
 * the system refuses a thread, the run goes on with those that it gave.
 */
#ifndef KJ_BASE_PIPE_H
#define KJ_BASE_PIPE_H

#include <stdatomic.h>
#include <stddef.h>

struct kj_err;

struct kj_pipe {
    unsigned threads; /* workers, >= 1 */
    size_t window;    /* slots, >= 1; 0: 8 per worker */
    void **slots;     /* window pointers, the caller's */
    void *ctx;
    /* Fill the slot: KJ_OK, KJ_EOF (slot unused), or negative. One thread. */
    int (*read)(void *ctx, void *slot, struct kj_err *err);
    /* Work on it; `worker` < threads. Concurrent. Only a negative code stops. */
    int (*work)(void *ctx, unsigned worker, void *slot, struct kj_err *err);
    /* Take the result, in order. KJ_EOF: enough, stop without error. */
    int (*write)(void *ctx, void *slot, struct kj_err *err);
    /* When set by anyone (a signal handler), reading stops as if the input
     * had ended there; the run returns KJ_OK. May be NULL. */
    const atomic_bool *stop;
};

/* KJ_OK or the first failure, with *err filled. */
int kj_pipe_run(const struct kj_pipe *p, struct kj_err *err);

#endif
