/* spans.h - a sorted list of places in documents, in a file, found by document.
 *
 * A record is 1 to KJ_SPANS_WORDS numbers of 64 bits; the first begins with the
 * document: document << 32 | anything. Records are added in order of their
 * first word, in blocks of KJ_SPANS_BLOCK (spill.h), of which memory keeps the
 * first word.
 *
 * Writing belongs to one thread. After finish every thread may read, each with
 * a reader of its own, best in the order of documents.
 */
#ifndef KJ_DEDUP_SPANS_H
#define KJ_DEDUP_SPANS_H

#include <stddef.h>
#include <stdint.h>

#include "dedup/budget.h"
#include "dedup/spill.h"

#define KJ_SPANS_WORDS 4
#define KJ_SPANS_BLOCK 1024

struct kj_spans {
    unsigned words;
    uint64_t n;
    struct kj_spill file;
    struct kj_budget *budget;
    uint64_t *first; /* of each block */
    size_t n_first, cap_first;
    uint64_t *pending; /* a block being filled */
    size_t n_pending;
};

/* kind: of the file. The folder may not be NULL. */
int kj_spans_begin(struct kj_spans *s, unsigned words, const char *dir, uint32_t kind,
                   struct kj_budget *budget, struct kj_err *err);
int kj_spans_add(struct kj_spans *s, const uint64_t *rec, struct kj_err *err);
int kj_spans_finish(struct kj_spans *s, struct kj_err *err);
void kj_spans_release(struct kj_spans *s);

struct kj_spans_reader {
    uint64_t *block;
    size_t block_at, n_block;
};
void kj_spans_reader_release(struct kj_spans_reader *r);
/* Number of the first record whose first word is not below `least`; s->n when
 * there is none. */
int kj_spans_find(const struct kj_spans *s, struct kj_spans_reader *r, uint64_t least,
                  uint64_t *at, struct kj_err *err);
/* Record `at`, valid until the next call with r; NULL behind the last one. */
int kj_spans_get(const struct kj_spans *s, struct kj_spans_reader *r, uint64_t at,
                 const uint64_t **rec, struct kj_err *err);

#endif
