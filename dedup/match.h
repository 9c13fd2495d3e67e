/* match.h - the buckets of one band as a file: documents that share a key.
 *
 * Byte layout: docs/formats/signatures.md (BAND). Made from the signatures of
 * all documents (pieces.h) by sorting the band in runs; the same bytes
 * whatever the memory. Behind the buckets stands one bit a document: is it in
 * any? So a reader of few documents need not read the buckets.
 */
#ifndef KJ_DEDUP_MATCH_H
#define KJ_DEDUP_MATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dedup/budget.h"
#include "dedup/pieces.h"

struct kj_match {
    struct kj_spill file;
    uint64_t n_entries, n_docs;
};

int kj_match_make(const struct kj_pieces *p, unsigned band, struct kj_budget *budget,
                  struct kj_err *err);
/* As kj_pieces_open: KJ_EOF when there is none. */
int kj_match_open(struct kj_match *m, const struct kj_pieces *p, unsigned band,
                  struct kj_err *err);
/* All entries: documents by bucket, ascending in each; starts: a new bucket. */
int kj_match_each(const struct kj_match *m, void *ctx,
                  int (*take)(void *ctx, uint32_t doc, bool starts, struct kj_err *err),
                  struct kj_err *err);
/* Set bit i of bits for every document first + i, i < n, that is in a bucket. */
int kj_match_mark(const struct kj_match *m, uint64_t first, uint64_t n,
                  unsigned char *bits, struct kj_err *err);
void kj_match_release(struct kj_match *m);

#endif
