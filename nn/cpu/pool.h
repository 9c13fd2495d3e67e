/* pool.h - threads that share the numbered tasks of one parallel loop.
 *
 * Tasks are claimed one by one, so they may be of unequal size; which thread
 * runs which task is not defined, so a task's result may depend on its number
 * only. The caller works too. With one thread nothing is started.
 */
#ifndef KJ_NN_CPU_POOL_H
#define KJ_NN_CPU_POOL_H

#include <stddef.h>

struct kj_err;
struct kj_pool;

/* worker: 0 .. threads-1, for scratch memory */
typedef void kj_pool_fn(void *ctx, size_t task, unsigned worker);

/* KJ_FATAL when a thread cannot be started. */
int kj_pool_new(struct kj_pool **out, unsigned threads, struct kj_err *err);
void kj_pool_free(struct kj_pool *p);
/* Run fn for tasks 0 .. n-1 and return when all are done. Not reentrant. */
void kj_pool_run(struct kj_pool *p, size_t n, kj_pool_fn *fn, void *ctx);

#endif
