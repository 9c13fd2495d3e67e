/* needs.c - what a survey will take, from one of a sample.
 *
 * Documents, and n-grams in them, grow with the corpus, so they are scaled. The
 * share of documents that have a copy grows with it too, and a sample says
 * little about it; half is taken, which is more than most corpora have: what
 * is said is an upper bound for these. tests/cli/dedup-work.sh compares it with
 * real use.
 */
#include <math.h>

#include "dedup/dedup_internal.h"

void kj_dedup_needs(const void *cfg, double factor, unsigned threads, int64_t memory,
                    struct kj_needs *out)
{
    const struct dedup *c = cfg;
    *out = (struct kj_needs){.memory = NAN, .disk = NAN};
    if ((c->method != METHOD_MINHASH && c->method != METHOD_EXACT) || c->scope ||
        c->index) /* what an index will add is not in a sample */
        return;
    double docs = (double)c->seen_docs * factor, grams = (double)c->seen_grams * factor;
    double bands = kj_dedup_bands(c), copies = docs / 2;
    double budget = (double)kj_dedup_memory(memory, threads);
    double rest = (double)memory - budget; /* the program, and batches in flight */
    double keys = docs * (8 * bands + 4), sets = grams * 4; /* of half of them */
    double buckets = copies * bands / 2;
    bool files = c->spill == SPILL_ALWAYS ||
                 (c->spill == SPILL_AUTO && keys + sets > budget / 2);
    /* in memory: grouping takes some more beside the keys; these are gone when
     * candidates come, of about 300 bytes beside their sets. In files: buffers up to
     * half of the budget. */
    out->memory = rest + (files ? fmin(budget, budget / 2 + 4.125 * docs)
                                : fmax(keys * 1.2, sets + copies * 300 + buckets * 30));
    out->memory = fmin(out->memory, (double)memory);
    out->disk = docs * 8 * (bands + 1) + docs * 16 /* signatures, one band sorted */
                + buckets * 32 + sets + copies * 250;
    out->always_disk = files;
}
