/* fuzz_run.c - any text as a run file: refused with a reason, or stages that follow
 * one another to the last step, rates within bounds, and rows that every set has. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "trainer/feed.h"
#include "trainer/stages.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

/* Three documents of five tokens, without any. */
static uint64_t start(const void *self, uint64_t doc)
{
    (void)self;
    return 5 * doc;
}

static uint64_t doc_at(const void *self, uint64_t token)
{
    (void)self;
    return token / 5;
}

static void check(int holds)
{
    if (!holds)
        abort();
}

static void check_stages(const struct kj_run *r)
{
    int64_t at = 0;
    for (size_t i = 0; i < r->n_stages; i++) {
        const struct kj_run_stage *s = &r->stages[i];
        const int64_t steps[] = {s->begin, (s->begin + s->end) / 2, s->end - 1};
        check(s->begin == at && s->end > at);
        at = s->end;
        for (size_t k = 0; k < 3; k++) {
            double f = kj_schedule_factor(r, steps[k]);
            check(kj_stage_of(r, steps[k]) == s);
            check(f >= -1e-9 && f <= 1 + 1e-9);
        }
    }
    check(at == r->schedule.steps);
}

static void check_rows(const struct kj_run *r)
{
    struct kj_feed f;
    struct kj_docs *d = kj_xcalloc(r->n_sets, sizeof *d);
    for (size_t i = 0; i < r->n_sets; i++)
        d[i] = (struct kj_docs){.documents = 3, .start = start, .doc_at = doc_at};
    if (kj_feed_open(&f, r, d, r->n_sets, NULL) == KJ_OK) {
        uint64_t all = (uint64_t)(r->schedule.steps * r->data.batch);
        for (uint64_t k = 0; k < 64; k++) {
            uint64_t g = k < 32 ? all / 32 * k : all - 1 - (k - 32) % all;
            uint64_t taken = 0, first;
            struct kj_feed_place at = kj_feed_place(&f, g);
            check(at.set < r->n_sets && at.stage < r->n_stages && at.row <= g);
            first = (uint64_t)(r->stages[at.stage].begin * r->data.batch);
            for (size_t i = 0; i < r->n_sets; i++)
                taken += kj_feed_taken(&f, at.stage, i, g - first);
            check(taken == g - first);
        }
    }
    kj_feed_close(&f);
    free(d);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct kj_run *r = kj_xcalloc(1, sizeof *r);
    struct kj_err err = KJ_ERR_INIT;
    struct kj_buf b;
    kj_buf_init(&b, 1 << 24);
    int rc = kj_run_parse(r, (const char *)p, n, "run", &err);
    if (rc == KJ_OK)
        rc = kj_run_resolve(r, 100, &err);
    if (rc != KJ_OK) {
        check(err.msg[0] != 0);
    } else {
        check(kj_run_dump(r, false, &b) == KJ_OK);
        check_stages(r);
        if (r->data.packing == KJ_PACK_CONCAT) /* the other plans from the start */
            check_rows(r);
    }
    kj_buf_release(&b);
    kj_run_release(r);
    free(r);
    return 0;
}
