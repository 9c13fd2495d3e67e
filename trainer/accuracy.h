/* accuracy.h - accuracies of multiple-choice tasks, as lm-evaluation-harness has them.
 *
 * acc       the choice with the largest score is right (the first of equals)
 * acc_norm  the same with scores divided by the choice's length in characters
 * f1        mean over labels of 2 tp / (2 tp + fp + fn), a label being the number
 *           of a choice that is right, or chosen, somewhere (macro F1)
 *
 * The standard error of a subset's accuracy is sqrt(p (1 - p) / (n - 1)). Over
 * several subsets: the mean weighted by questions with the pooled variance, as
 * the harness has it, and beside it the plain mean of the subsets with the error
 * of a mean of independent values. f1 has no standard error (NAN), as there.
 */
#ifndef KJ_TRAINER_TALLY_H
#define KJ_TRAINER_TALLY_H

#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "trainer/task.h"

enum { KJ_ACCURACY_ACC, KJ_ACCURACY_ACC_NORM, KJ_ACCURACY_F1, KJ_ACCURACY_METRICS };
extern const char *const kj_accuracy_names[KJ_ACCURACY_METRICS];

/* Of one subset. Zeroed memory is an empty one. */
struct kj_accuracy {
    uint64_t n, right, right_norm;
    uint64_t tp[KJ_CHOICES_MAX], gold[KJ_CHOICES_MAX], chosen[KJ_CHOICES_MAX];
};

/* Count one question; the choice that was taken is returned. */
size_t kj_accuracy_add(struct kj_accuracy *t, const struct kj_question *q,
                       const double *scores);

struct kj_accuracy_value {
    double value, stderr_;      /* weighted by size; NAN: none */
    double macro, macro_stderr; /* plain mean of the subsets */
};
/* A metric over n subsets, of which those without questions do not count. */
struct kj_accuracy_value kj_accuracy_mean(const struct kj_accuracy *const *t, size_t n,
                                          int metric);

#endif
