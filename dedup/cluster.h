/* cluster.h - who is a copy of whom, and which copy is kept.
 *
 * The rule. Candidates are taken in keeper order (below). A document is out
 * if and only if a document before it that is KEPT, and with which it shares a
 * bucket, is similar to it: Jaccard similarity of their sets >= threshold,
 * counted, not estimated. Its keeper is the most similar of those (the
 * earlier one if two are equally similar). Hence
 *   - every dropped document is similar to its own keeper; chains (a friend of
 *     a friend) are never followed: with A~B and B~C but not A~C, and A first,
 *     B goes with A as its keeper and C stays;
 *   - no two kept documents that share a bucket are similar, but for the
 *     bound below;
 *   - the outcome depends on the set of documents only: not on the order in
 *     which they came, threads or shards.
 * With `containment` the similarity of a document to a keeper is the share of
 * the document's own set that the keeper has: what goes is in what stays, but
 * not the other way round.
 *
 * A cluster is a keeper with the documents that it stands for.
 *
 * Keeper order: the policy's key (longest: bytes of text, most first; newest:
 * date, latest first, compared as text, none last; best: a number, greatest
 * first, none last; first: nothing), then id, ascending by bytes, then a hash
 * of the document's other fields. Documents that are alike in all of that are
 * the same to everyone.
 *
 * The bound. In each of its buckets a document is compared with the first
 * max_compare kept documents, in keeper order. This makes giant buckets of
 * mutually different texts cost a multiple of their size, not its square. How
 * many were left out is reported per document, never hidden. Copies with
 * the very same set are found without comparing, bound or not, and share one
 * fate (that of the first) and one stored set.
 *
 * Memory: about 150 bytes, its id, and its set per candidate with a set of its
 * own; all of it through the budget. Sets may stay in a file.
 */
#ifndef KJ_DEDUP_CLUSTER_H
#define KJ_DEDUP_CLUSTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/mem.h"
#include "dedup/budget.h"

struct kj_err;
struct kj_lsh;
struct kj_spill;

/* A candidate as it is added. */
struct kj_candidate {
    uint64_t doc;           /* ascending from call to call */
    double number;          /* policy's key: smaller first; 0 if not used; -HUGE_VAL:
                               of an earlier corpus, kept without a question */
    struct kj_str word;     /* policy's key: greater first; empty if not used */
    struct kj_str id;       /* borrowed for the call */
    uint64_t tie;           /* hash of the other fields */
    uint64_t weight;        /* documents that it stands for already; usually 1 */
    struct kj_hash128 same; /* equal for equal sets, and only for those */
    const uint64_t *set;    /* sorted, without repeats; may be NULL with n 0: then */
    size_t n;               /* only documents of the same `same` are similar */
    uint64_t set_pos;       /* set NULL, n > 0: where the set is in the store */
};

/* What became of one. */
struct kj_fate {
    uint64_t cluster;     /* hash that names the cluster */
    uint64_t keeper_doc;  /* its document number */
    uint64_t size;        /* documents in it, the keeper too; by weight */
    struct kj_str keeper; /* its id; lives as long as the clusters */
    double similarity;    /* to the keeper; 1 for the keeper itself */
    bool dropped;
    uint32_t unchecked; /* kept documents in its buckets beyond the bound */
};

struct kj_clusters {
    struct kj_budget *budget;
    double threshold;
    uint32_t max_compare;
    bool containment;          /* set it after init; see above */
    struct kj_member *members; /* by document number */
    size_t n, cap;
    struct kj_set *sets;
    size_t n_sets, cap_sets;
    uint32_t *table; /* open addressing over sets, index + 1 */
    size_t n_table;
    struct kj_arena ids, pool;    /* ids stay; the sets go after solving */
    const struct kj_spill *store; /* sets that were given by place; or NULL */
    size_t cache_max, cached;     /* bytes of them that are in memory */
    uint32_t cache_head, cache_tail;
    uint64_t pairs; /* compared */
};

void kj_clusters_init(struct kj_clusters *c, double threshold, uint32_t max_compare,
                      struct kj_budget *budget);
void kj_clusters_release(struct kj_clusters *c);
/* Sets may be given by their place in store (blocks of their bytes): each is
 * read when it is first compared, and at most `bytes` of them (but always the
 * two in hand) stay in memory, which the caller has taken from the budget. */
void kj_clusters_store(struct kj_clusters *c, const struct kj_spill *store,
                       size_t bytes);

int kj_clusters_add(struct kj_clusters *c, const struct kj_candidate *d,
                    struct kj_err *err);
/* Decide. Every document of l's entries must have been added. l's entries may
 * be released afterwards. */
int kj_clusters_solve(struct kj_clusters *c, const struct kj_lsh *l,
                      struct kj_err *err);

/* After solve(): false when the document is no candidate. */
bool kj_clusters_find(const struct kj_clusters *c, uint64_t doc, struct kj_fate *out);

#endif
