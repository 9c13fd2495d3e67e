/* external_internal.h - what external.c and external_solve.c share. */
#ifndef KJ_DEDUP_EXTERNAL_INTERNAL_H
#define KJ_DEDUP_EXTERNAL_INTERNAL_H

#include "base/hash.h"
#include "dedup/external.h"

enum {
    EDGE_BLOCK = 4096, /* pairs in a block */
    FATE_BLOCK = 256,  /* fates in a block of the keep-list */
    /* document, cluster, size, similarity, name's place, unchecked * 2 + dropped,
     * name's length */
    FATE_WORDS = 7
};

/* A candidate in the file of sets: this, its id, its word. */
struct stored {
    double number;
    uint64_t tie, weight;
    struct kj_hash128 same;
    uint64_t n, pos;   /* of its set */
    uint64_t id, word; /* lengths */
};

/* Free what is kept per document. */
void kj_external_drop_docs(struct kj_external *x);

#endif
