/* clock.h - seconds of a clock. */
#ifndef KJ_BASE_CLOCK_H
#define KJ_BASE_CLOCK_H

#include <time.h>

/* CLOCK_PROCESS_CPUTIME_ID and CLOCK_THREAD_CPUTIME_ID: what was worked so far. */
static inline double kj_seconds(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* To take differences of. */
static inline double kj_now(void)
{
    return kj_seconds(CLOCK_MONOTONIC);
}

#endif
