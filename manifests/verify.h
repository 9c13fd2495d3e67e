/* verify.h - is a run's folder what its ledger says?
 *
 * Checks, each mismatch reported with its file:
 *   the ledger's own books (kj_ledger_reconcile);
 *   every recorded output: there, of the recorded size and content hash;
 *   JSONL outputs: as many documents as recorded, each line a document, and
 *     the checksum over (id, text) that the last stage left;
 *   token shards (folders with manifest.jsonl): everything that
 *     kj_shards_verify reads, and
 *   lineage: each document in the shards is in the ledger, no stage of the
 *     same run dropped it, and it has as many tokens as recorded.
 * Token shards without a ledger are checked by themselves, and so are orders
 * over shards (folders with order.json): kj_order_verify.
 */
#ifndef KJ_MANIFESTS_VERIFY_H
#define KJ_MANIFESTS_VERIFY_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/err.h"

struct kj_verify {
    /* asked */
    const char *dir;    /* the folder, or the ledger's file in it */
    const char *ledger; /* its file; NULL: DIR/run.db when there is one */
    void *ctx;
    /* A mismatch; file may be "". Required. */
    void (*wrong)(void *ctx, const char *file, const char *what);
    /* Before a file is read; may be NULL. done and all are bytes. */
    void (*progress)(void *ctx, const char *file, int64_t done, int64_t all);
    const atomic_bool *stop; /* may be NULL */
    /* found */
    uint64_t files, shards, documents, tokens, mismatches;
    int64_t bytes;
};

/* KJ_OK also when mismatches were found: see v->mismatches. KJ_FAIL when there
 * is nothing to check or the ledger cannot be read; KJ_EOF when stopped. */
int kj_verify_run(struct kj_verify *v, struct kj_err *err);

#endif
