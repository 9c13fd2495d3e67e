/* budget.h - memory that a survey may use, counted before it is taken.
 *
 * Everything that grows with the corpus asks here first, so that passing
 * --memory is a clear stop with advice, and never a surprise. One thread.
 */
#ifndef KJ_DEDUP_BUDGET_H
#define KJ_DEDUP_BUDGET_H

#include <stddef.h>
#include <stdint.h>

struct kj_err;

struct kj_budget {
    int64_t used, peak, max; /* bytes; max 0: no limit */
    const char *doing;       /* "signatures": named in the message */
    int refused;             /* something did not fit */
};

/* KJ_OK, or KJ_FATAL with a message that says what to do. */
int kj_budget_take(struct kj_budget *b, size_t bytes, struct kj_err *err);
void kj_budget_give(struct kj_budget *b, size_t bytes);

/* count * size bytes, zeroed; NULL (with err) when the budget has no room. */
void *kj_budget_calloc(struct kj_budget *b, size_t count, size_t size,
                       struct kj_err *err);
void kj_budget_free(struct kj_budget *b, void *p, size_t count, size_t size);

/* Let *p hold `need` elements: grows by half, from *cap. */
int kj_budget_grow(struct kj_budget *b, void **p, size_t *cap, size_t need, size_t size,
                   struct kj_err *err);

#endif
