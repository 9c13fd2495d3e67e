/* compare_internal.h - shared by compare.c (what differs) and compare_show.c (the two
 * forms of the answer). */
#ifndef KJ_MANIFESTS_COMPARE_INTERNAL_H
#define KJ_MANIFESTS_COMPARE_INTERNAL_H

#include "manifests/compare.h"
#include "manifests/report_internal.h"

struct kj_amount {
    double docs, bytes, tokens;
};

/* side[0] is the run that was, side[1] the one that is. Temporary tables of side[0]:
 * changes (kind 0 lost, 1 gained, 2 out by another rule), settings, levels. */
struct kj_diff {
    struct kj_rep side[2];
    struct kj_amount kept[2], both;
    double read[2], only[2]; /* documents; those that the other run never read */
    double other_text;       /* kept by both, with texts of different lengths */
    bool counted[2];         /* some documents have counted tokens */
};

/* Fills d; the caller releases it in every case. */
int kj_diff_open(struct kj_diff *d, struct kj_ledger *was, struct kj_ledger *now,
                 struct kj_err *err);
void kj_diff_close(struct kj_diff *d);

#endif
