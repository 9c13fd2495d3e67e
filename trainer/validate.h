/* validate.h - the loss on texts that are not trained on, as a run goes along.
 *
 * Of each set of held-out documents the run looks at the same rows every time:
 * validation.rows of them, drawn once by a seed that is always the same, so that losses of
 * runs with other seeds, rates or data stand beside one another. Rows are packed like
 * those of training, and the loss is the mean negative log likelihood of their
 * predictions, in nats. It is a forward pass of the model in training: nothing of what
 * is trained changes.
 *
 * Ranks: pass p belongs to rank p mod size, and the sums are added up in the order of
 * ranks; all ranks call together.
 */
#ifndef KJ_TRAINER_VALIDATE_H
#define KJ_TRAINER_VALIDATE_H

#include <stddef.h>
#include <stdint.h>

#include "trainer/data.h"

struct kj_err;
struct kj_llama;
struct kj_ranks;
struct kj_run;

struct kj_validation {
    struct kj_loader *loaders; /* one per set */
    uint64_t *rows;            /* that are looked at */
    double *predictions;       /* of these */
    double *loss;              /* as the last look found them */
    double mean;               /* over the predictions of all sets */
    size_t n;
    size_t len, micro; /* tokens in a row, rows in a pass */
    struct kj_packed packed;
};

/* run is resolved; docs stay where they are. KJ_FAIL when a set has no token. */
int kj_validation_open(struct kj_validation *v, const struct kj_run *run,
                       const struct kj_docs *docs, size_t n, struct kj_err *err);
void kj_validation_close(struct kj_validation *v); /* of zeros: nothing */
/* Is there something to be looked at behind so many steps? */
bool kj_validation_due(const struct kj_validation *v, const struct kj_run *run,
                       int64_t step);
/* Look: sets loss and mean. */
int kj_validation_look(struct kj_validation *v, struct kj_llama *m,
                       struct kj_ranks *ranks, struct kj_err *err);

#endif
