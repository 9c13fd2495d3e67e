/* index.h - what was kept of earlier corpora, in a folder, for later ones.
 *
 * A folder holds segments, one for each corpus, in the order in which they
 * came. A segment has, of every document that stayed: its keys (sigs.h), its
 * id, and the set that verifies candidates: so a document of a later corpus
 * is compared with earlier ones as if they had been in one corpus with it,
 * first in order. 8 bytes per band, 8 per n-gram, 88, the id, and for keep newest the
 * date, per document.
 *
 * Keys come in whole chunks, so a small segment takes 2 to 4 MB (sigs.h).
 *
 * A corpus is known by an order-free checksum over its documents. One that is
 * in the folder already is judged by the segments before its own, as the first
 * time, and not added again: a run that was killed behind its survey, the
 * shards of one corpus, and repetitions all come to the same.
 *
 * Files (docs/formats/signatures.md): `index`, the list of segments;
 * N.keys and N.sets. A segment's files are complete before `index` is replaced
 * by rename: who is killed in between leaves the index as it was. Files made
 * with other parameters or another seed, cut short, changed, or of another segment
 * are refused by name. `lock` is held while the index is open: others wait.
 *
 * One thread.
 */
#ifndef KJ_DEDUP_INDEX_H
#define KJ_DEDUP_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dedup/cluster.h"
#include "dedup/sigs.h"

#define KJ_INDEX_ROW 5

struct kj_index {
    const char *dir;
    struct kj_spill_params params;
    int lock;
    uint64_t *rows;     /* of each segment: checksum, documents it was made from,
                       documents kept, and two numbers not used yet */
    size_t n, use;      /* segments; those that come before the corpus */
    bool known;         /* the corpus has a segment */
    uint64_t sum, docs; /* of the corpus */
    uint64_t n_use;     /* documents in the segments that are used */
    /* the segment being written */
    bool writing;
    struct kj_sigs keys;
    struct kj_spill sets;
    uint64_t kept, *row;
    char *buf;
    size_t cap_buf;
};

/* params: those of the signatures; the folder is made if there is none. */
int kj_index_open(struct kj_index *x, const char *dir,
                  const struct kj_spill_params *params, struct kj_err *err);
/* Which corpus is being judged. */
void kj_index_know(struct kj_index *x, uint64_t sum, uint64_t docs);

/* The keys of all documents of the segments in use, numbered from 0. */
int kj_index_keys(const struct kj_index *x,
                  int (*take)(void *ctx, uint64_t no, const uint64_t *keys,
                              struct kj_err *err),
                  void *ctx, struct kj_err *err);
/* Those that are wanted, as candidates that come before all others: doc is
 * their number; everything lives for the call. */
int kj_index_candidates(const struct kj_index *x,
                        bool (*wanted)(void *ctx, uint64_t no),
                        int (*take)(void *ctx, struct kj_candidate *c,
                                    struct kj_err *err),
                        void *ctx, struct kj_err *err);

/* The corpus' own segment, if it is not known: all that it keeps; k without doc
 * and weight. */
int kj_index_begin(struct kj_index *x, struct kj_err *err);
int kj_index_add(struct kj_index *x, const uint64_t *keys, const struct kj_candidate *k,
                 struct kj_err *err);
int kj_index_commit(struct kj_index *x, struct kj_err *err);
void kj_index_release(struct kj_index *x);

#endif
