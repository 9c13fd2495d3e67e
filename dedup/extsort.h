/* extsort.h - sorting more records than memory holds.
 *
 * A record is 1 to KJ_EXTSORT_WORDS numbers of 64 bits; they are sorted by the
 * first, then the second, and so on, over all words. Records are gathered in a
 * buffer; a full one is sorted and written as a run (spill.h), and in the end
 * the runs are merged. What fits into the buffer is never written.
 *
 * Memory: the buffer, through the budget, from the first record until
 * kj_extsort_release; while merging it holds a block of each run. A record is
 * written at most once: the cost is linear, and the most that can be sorted is
 * the buffer's bytes squared over KJ_EXTSORT_BLOCK (16 MB: 32 GB).
 *
 * One thread.
 */
#ifndef KJ_DEDUP_EXTSORT_H
#define KJ_DEDUP_EXTSORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dedup/budget.h"
#include "dedup/spill.h"

#define KJ_EXTSORT_WORDS 8
#define KJ_EXTSORT_BLOCK 8192 /* bytes of a block of a run, at most */

struct kj_extsort_run;

struct kj_extsort {
    unsigned words;
    struct kj_budget *budget;
    const char *dir;
    uint64_t *buf;     /* two halves: records, and room for sorting them */
    size_t cap, n, at; /* records */
    size_t buf_words;
    struct kj_spill file;
    struct kj_extsort_run *runs;
    size_t n_runs, cap_runs;
    uint32_t *heap; /* runs by their next record */
    size_t n_heap;
    uint64_t total; /* records added */
};

/* bytes: of the buffer. dir is borrowed. */
void kj_extsort_init(struct kj_extsort *s, unsigned words, size_t bytes,
                     const char *dir, struct kj_budget *budget);
int kj_extsort_add(struct kj_extsort *s, const uint64_t *rec, struct kj_err *err);
/* No more will come: sort. */
int kj_extsort_sort(struct kj_extsort *s, struct kj_err *err);
/* The next record, valid until the next call; KJ_EOF behind the last one. */
int kj_extsort_next(struct kj_extsort *s, const uint64_t **rec, struct kj_err *err);
/* Forget the records and keep the buffer, for another lot. */
void kj_extsort_reset(struct kj_extsort *s);
void kj_extsort_release(struct kj_extsort *s);

#endif
