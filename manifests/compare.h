/* compare.h - two runs, document by document: what the other recipe, threshold or
 * version keeps that this one does not, and which rules are the reason.
 *
 * Of each ledger the newest run is taken, with the runs whose output it read (and all
 * shards of it), as the report does. A document is the same where id and copy are; it
 * is in a run's corpus where no stage dropped it. Both ledgers are read in the order
 * of ids, so memory does not grow with them; documents whose verdict differs go
 * through a temporary table of SQLite's.
 *
 * Tokens are as counted; of documents that were not counted, text by the bytes per
 * token of those of the same ledger that were, else 4.
 */
#ifndef KJ_MANIFESTS_COMPARE_H
#define KJ_MANIFESTS_COMPARE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/mem.h"

struct kj_ledger;

struct kj_compare {
    size_t examples; /* of documents gained, and lost */
    /* Each document whose verdict differs, by id, as one line of JSON with its \n: {id,
     * url, language, source, change: "gained" | "lost" | "other_rule", was, now:
     * the rule that dropped it, null: kept, "": it was not read; value: what the rule
     * measured}. May be NULL; non-zero stops. */
    int (*each)(void *ctx, const char *line, size_t n, struct kj_err *err);
    void *ctx;
};

/* From `was` to `now`: as text, or as one JSON object (docs/formats/ledger.md). */
int kj_compare_text(struct kj_ledger *was, struct kj_ledger *now,
                    const struct kj_compare *ask, struct kj_buf *out,
                    struct kj_err *err);
int kj_compare_json(struct kj_ledger *was, struct kj_ledger *now,
                    const struct kj_compare *ask, struct kj_buf *out,
                    struct kj_err *err);

#endif
