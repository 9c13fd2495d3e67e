/* external.h - the survey when the corpus does not fit into memory.
 *
 * The same decisions as lsh.h and cluster.h together, bit for bit, with
 * everything that grows in files (spill.h):
 *
 *   1. keys of all documents, chunk by chunk                      (sigs.h)
 *   2. each band is sorted (extsort.h); documents that share a key are united,
 *      and (document, bucket) is noted
 *   3. candidates of the second reading: their sets and what the keeper order
 *      needs, one behind the other
 *   4. both lists are sorted by component: what the buckets tie together, over
 *      however many steps. A document's fate depends on its component alone,
 *      so components are decided one after the other (many small ones at a
 *      time), by cluster.h, which reads the sets that it compares
 *   5. the fates, sorted by document: the keep-list
 *
 * Memory, within the budget: 4 1/8 bytes per document (steps 2 and 3); buffers
 * of a fixed share of it; and, for the largest single component, about 400
 * bytes per document plus 60 per bucket that it is in. Disk: 8 bytes per
 * document and band, 32 per document and bucket, and the candidates' sets.
 *
 * Calls: init, add..., group, add_candidate..., solve; then readers, one per
 * thread. One thread until solve is over.
 *
 * In steps of separate processes (steps.h) signatures and buckets are files
 * already: prepare, docs, unite... , tie..., tied, add_candidate..., solve leaves
 * the keep-list under a name, and open finds it again.
 */
#ifndef KJ_DEDUP_EXTERNAL_H
#define KJ_DEDUP_EXTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dedup/budget.h"
#include "dedup/cluster.h"
#include "dedup/extsort.h"
#include "dedup/pieces.h"
#include "dedup/sigs.h"

struct kj_external {
    struct kj_budget *budget;
    const char *dir;
    double threshold;
    uint32_t max_compare;
    bool containment; /* as in cluster.h */
    unsigned bands;
    uint64_t n_docs;
    uint64_t settled;    /* documents from here on are of earlier corpora; 0: none */
    struct kj_sigs sigs; /* of all documents; or they are */
    const struct kj_pieces *pieces; /* in pieces */
    bool named;                     /* names and list are to stay, in dir */
    struct kj_spill_params name_params, list_params;
    uint32_t *parent;       /* the union of buckets: towards the first document */
    unsigned char *in_play; /* bits: is in a bucket */
    struct kj_extsort entries, members, fates;
    struct kj_spill edges, sets, names, list;
    uint64_t n_edges, n_candidates, pairs;
    uint32_t last;    /* for whoever unites: the document before */
    uint64_t buckets; /* for whoever ties: numbers given */
    uint64_t *first;  /* of each block of the keep-list: its first document */
    size_t n_first, cap_first, n_fates;
};

/* params as for kj_sigs_create. */
int kj_external_init(struct kj_external *x, const char *dir,
                     const struct kj_spill_params *params, double threshold,
                     uint32_t max_compare, struct kj_budget *budget,
                     struct kj_err *err);
/* The same without room for signatures. */
void kj_external_prepare(struct kj_external *x, const char *dir, unsigned bands,
                         double threshold, uint32_t max_compare,
                         struct kj_budget *budget);
/* The least budget.max with which it makes sense. */
int64_t kj_external_least(unsigned bands);

/* As kj_sigs_add. */
int kj_external_add(struct kj_external *x, uint64_t doc, uint32_t check,
                    const uint64_t *keys, struct kj_err *err);
int kj_external_group(struct kj_external *x, struct kj_err *err);
/* After group(): is the document in any bucket? Thread-safe. */
bool kj_external_candidate(const struct kj_external *x, uint64_t doc);
int kj_external_add_candidate(struct kj_external *x, const struct kj_candidate *d,
                              struct kj_err *err);
int kj_external_solve(struct kj_external *x, struct kj_err *err);
void kj_external_release(struct kj_external *x);

/* In place of group(): take room for the union of n documents; unite all pairs
 * that share a bucket; then name every (document, bucket); then tied. */
int kj_external_docs(struct kj_external *x, uint64_t n, struct kj_err *err);
void kj_external_unite(struct kj_external *x, uint32_t a, uint32_t b);
int kj_external_tie(struct kj_external *x, uint32_t doc, uint64_t bucket,
                    struct kj_err *err);
int kj_external_tied(struct kj_external *x, struct kj_err *err);
/* In place of all: a keep-list that solve left in dir. KJ_EOF: there is none. */
int kj_external_open(struct kj_external *x, struct kj_err *err);

/* What a thread holds while it asks, best in the order of documents. */
struct kj_external_reader {
    struct kj_sigs piece; /* open: number at - 1 */
    size_t at;
    uint64_t *checks, chunk; /* a column of sigs */
    uint64_t *block;         /* of the keep-list */
    size_t block_at, n_block;
    char *name;
    size_t cap_name;
};
void kj_external_reader_release(struct kj_external_reader *r);
/* Check word of a document; 0 if it was not added. */
int kj_external_check(const struct kj_external *x, struct kj_external_reader *r,
                      uint64_t doc, uint32_t *check, struct kj_err *err);
/* *found false: alone. out->keeper lives until the next call; keeper_doc is
 * not set. */
int kj_external_find(const struct kj_external *x, struct kj_external_reader *r,
                     uint64_t doc, struct kj_fate *out, bool *found,
                     struct kj_err *err);

#endif
