/* budget.c - counted memory. */
#include "dedup/budget.h"

#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"

int kj_budget_take(struct kj_budget *b, size_t bytes, struct kj_err *err)
{
    if (b->max > 0 && b->used + (int64_t)bytes > b->max) {
        b->refused = 1;
        return kj_err_set(err, KJ_FATAL,
                          "%s would need %.0f MB, and --memory allows %.0f MB: allow "
                          "more, take fewer bands, or deduplicate the corpus in parts "
                          "(by dump or by language)",
                          b->doing, ((double)b->used + (double)bytes) / 1e6,
                          (double)b->max / 1e6);
    }
    b->used += (int64_t)bytes;
    if (b->used > b->peak)
        b->peak = b->used;
    return KJ_OK;
}

void kj_budget_give(struct kj_budget *b, size_t bytes)
{
    b->used -= (int64_t)bytes;
}

void *kj_budget_calloc(struct kj_budget *b, size_t count, size_t size,
                       struct kj_err *err)
{
    if (kj_budget_take(b, count * size, err))
        return NULL;
    return kj_xcalloc(count ? count : 1, size);
}

void kj_budget_free(struct kj_budget *b, void *p, size_t count, size_t size)
{
    if (!p)
        return;
    kj_budget_give(b, count * size);
    free(p);
}

int kj_budget_grow(struct kj_budget *b, void **p, size_t *cap, size_t need, size_t size,
                   struct kj_err *err)
{
    if (need <= *cap)
        return KJ_OK;
    size_t want = *cap + *cap / 2 + 64;
    if (want < need)
        want = need;
    int rc = kj_budget_take(b, (want - *cap) * size, err);
    if (rc)
        return rc;
    *p = kj_xrealloc(*p, want * size);
    *cap = want;
    return KJ_OK;
}
