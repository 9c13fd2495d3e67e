/* bloom.h - text that was seen before, by a Bloom filter over n-grams.
 *
 * B. Bloom, Space/time trade-offs in hash coding with allowable errors, 1970;
 * as DataComp-LM's "old-both": words are the segments of UAX #29 but for white
 * space; a paragraph is a line. Documents are taken in the order of the input:
 *   - a line of which more than `threshold` of the n-grams are in the filter
 *     is cut, and not entered; the n-grams of every other line are entered
 *   - when more than `threshold` of all n-grams of a document were in the
 *     filter (each looked up before its own line was entered), all of it goes
 *   - a line with fewer than n words has no n-gram and stays
 *
 * So the first copy in the input stays, and ANOTHER ORDER OF THE INPUT GIVES
 * ANOTHER RESULT: only threads and shards make no difference, since the survey
 * looks at all documents in their order. Nothing is verified: up to `fpr` of
 * the new n-grams are taken for known ones. When more than `expected`
 * different n-grams come, that no longer holds, and the survey is KJ_FATAL
 * with the number to expect.
 *
 * bits = expected * -ln(fpr) / ln(2)^2, hashes = ceil(bits / expected * ln 2):
 * 1.2 bytes and 7 hashes an n-gram at 1 %. That is all the memory it takes.
 */
#ifndef KJ_DEDUP_BLOOM_H
#define KJ_DEDUP_BLOOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dedup/budget.h"

struct kj_corpus;
struct kj_units;

struct kj_bloom {
    uint64_t *bits;
    uint64_t n_bits, entered, expected;
    unsigned hashes;
    struct kj_budget *budget;
};

int kj_bloom_init(struct kj_bloom *b, uint64_t expected, double fpr,
                  struct kj_budget *budget, struct kj_err *err);
void kj_bloom_release(struct kj_bloom *b);
bool kj_bloom_has(const struct kj_bloom *b, uint64_t hash);
/* Enter it; counted in `entered` if the filter did not have it. */
void kj_bloom_enter(struct kj_bloom *b, uint64_t hash);

struct kj_bloom_options {
    uint64_t expected;
    double fpr, threshold;
    unsigned ngram;
};

/* One reading; what is to be cut goes to u (zeroed), for kj_units_cut. */
int kj_bloom_survey(const struct kj_bloom_options *o, struct kj_units *u,
                    struct kj_corpus *corpus, struct kj_err *err);

#endif
