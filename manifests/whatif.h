/* whatif.h - other thresholds, tried on the values that a ledger has stored.
 *
 * A stage measures every rule on every document that reaches it, also behind
 * the first one that fails, and the ledger keeps the values together with the
 * set of cuts that applied to the document. So the stage's decision under other
 * thresholds follows without the text, and equals that of a real re-run with
 * the same thresholds exactly: the same comparison of the same numbers.
 *
 * What is replayed is one stage: the newest that has the rules asked for; of
 * shards of one run, all. Documents that an earlier stage dropped never reached
 * it and stay out. Later stages (dedup, ...) cannot be replayed, since they
 * would see other documents; the answer says how many of the lost documents
 * they had dropped anyway. Rules that were not measured have no values and are
 * refused. First of all the old thresholds are replayed: where that does not
 * give the decisions in the ledger, the answer is an error and no estimate.
 *
 * Where values were kept of a sample of the documents, numbers are scaled up
 * and said to be estimates.
 *
 * Time and memory: one pass over decisions, signals and documents in the order
 * of their keys, with memory for cuts, languages and sources; a sweep holds 24
 * bytes for each document.
 */
#ifndef KJ_MANIFESTS_WHATIF_H
#define KJ_MANIFESTS_WHATIF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"

struct kj_ledger;

/* In every place where the stage has the rule, as `filter --set` does. */
struct kj_whatif_change {
    const char *rule; /* "gopher.mean_word_len" also finds its min_ or max_ form */
    char keep;        /* what stays: '>' values from the threshold up, '<' up to it,
                         '=' as the rule has it */
    bool off;
    double threshold;
};

struct kj_whatif {
    const struct kj_whatif_change *changes;
    size_t n;
    const char *sweep;      /* rule whose curve is wanted; NULL */
    double budget;          /* tokens: the cut of `sweep` that keeps at most these;
                               0: not asked */
    double bytes_per_token; /* for documents without a count; 0: as measured */
    size_t examples;        /* on each side of each cut */
    /* Each document whose verdict changes, by number, as one line of JSON with
     * its \n: {id, url, language, change: "gained" | "lost", rule, value}: the
     * first rule that dropped or drops it. May be NULL; non-zero stops. */
    int (*each)(void *ctx, const char *line, size_t n, struct kj_err *err);
    void *ctx;
};

/* The answer as text. KJ_USAGE for rules that cannot be asked about. */
int kj_whatif_text(struct kj_ledger *l, const struct kj_whatif *ask, struct kj_buf *out,
                   struct kj_err *err);

/* The same without examples as one JSON object (docs/formats/ledger.md). */
int kj_whatif_json(struct kj_ledger *l, const struct kj_whatif *ask, struct kj_buf *out,
                   struct kj_err *err);

#endif
