/* choose.h - the likelihoods of the choices of questions, packed many to a pass.
 *
 * A choice is a run of tokens behind a prompt; its score is the sum of the log
 * likelihoods of these tokens. Choices whose input is the same (all that differ
 * in their last token only), or a beginning of another's, share one row, and only
 * rows that are asked for go through the head. An input longer than the model's
 * context loses tokens at its left.
 *
 * What a choice gets does not depend on the number of threads. The room of a pass
 * decides how rows are grouped into matrix products and so may move a score in
 * its last digits.
 */
#ifndef KJ_TRAINER_CHOOSE_H
#define KJ_TRAINER_CHOOSE_H

#include <stddef.h>
#include <stdint.h>

#include "trainer/llama.h"

/* The tokens of prompt and choice: the last n - prompt are scored. */
struct kj_choice {
    const uint32_t *ids;
    size_t n, prompt; /* prompt: 1 or more, and below n */
};

struct kj_chooser;

/* tokens: room of one pass, of the model's; at most max_positions are read of an
 * input, so it must hold the longest, or as many. got() is called once for each
 * question, in order, with the scores of its choices (nats, below 0). */
int kj_chooser_new(struct kj_chooser **out, struct kj_llama *m, size_t tokens,
                   void (*got)(void *ctx, uint64_t question, const double *scores,
                               size_t n),
                   void *ctx, struct kj_err *err);
void kj_chooser_free(struct kj_chooser *c);
/* Add question number 0, 1, ...: the choices' tokens are copied. KJ_BAD_RECORD
 * when a choice's own tokens are more than the context; it is then left out, and
 * got() will not be called for its number. */
int kj_chooser_add(struct kj_chooser *c, const struct kj_choice *x, size_t n,
                   struct kj_err *err);
/* Score what is waiting. */
int kj_chooser_flush(struct kj_chooser *c, struct kj_err *err);

#endif
