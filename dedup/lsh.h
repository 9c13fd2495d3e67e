/* lsh.h - candidates: documents that share a key in some band.
 *
 * Documents are added in ascending order with one 64-bit key per band; group()
 * then sorts each band, and every key that two or more documents have becomes
 * a bucket. Memory: 8 bytes per document and band; then 8 bytes per document
 * and bucket in which it is. A band is sorted in parts by the keys' top bits,
 * so that sorting needs little on top.
 *
 * One thread.
 */
#ifndef KJ_DEDUP_LSH_H
#define KJ_DEDUP_LSH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dedup/budget.h"

struct kj_lsh_chunk;

struct kj_lsh_entry {
    uint32_t doc, bucket;
};

struct kj_lsh {
    unsigned bands;
    struct kj_budget *budget;
    struct kj_lsh_chunk **chunks;
    size_t n_chunks, cap_chunks;
    uint64_t n_docs; /* one more than the last document's number */
    /* results of group() */
    struct kj_lsh_entry *entries; /* by band, key, document */
    size_t n_entries, cap_entries;
    uint32_t n_buckets;
};

void kj_lsh_init(struct kj_lsh *l, unsigned bands, struct kj_budget *budget);
void kj_lsh_release(struct kj_lsh *l);

/* doc must be larger than the ones before; numbers may be left out. */
int kj_lsh_add(struct kj_lsh *l, uint64_t doc, const uint64_t *keys,
               struct kj_err *err);

/* Before group(): the keys of a document into keys[0..bands); false if it was
 * not added. */
bool kj_lsh_get(const struct kj_lsh *l, uint64_t doc, uint64_t *keys);

/* Find the buckets; the keys are freed. */
int kj_lsh_group(struct kj_lsh *l, struct kj_err *err);

/* After group(): forget the buckets that have only documents numbered `from` and
 * on, which have been decided about. */
void kj_lsh_settle(struct kj_lsh *l, uint64_t from);

/* After group(): is the document in any bucket? */
bool kj_lsh_candidate(const struct kj_lsh *l, uint64_t doc);

#endif
