/* prune.h - a smaller model out of the parts of another that matter most.
 *
 * Hidden channels go everywhere at once; neurons layer by layer; query heads
 * layer by layer, the same number from each group that shares a key head (so
 * keys and values stay as they are); whole blocks by their own score. What is
 * kept stands in its old order, on a tie the first. When the smaller model has
 * embedding and head tied and the larger has not, the two are averaged.
 *
 * Dropping neurons or heads equals zeroing them. Dropping channels is a little
 * more: the norms' mean of squares is then over fewer, so that the same stream
 * comes out sqrt(kept / all) smaller. Training on repairs that.
 */
#ifndef KJ_TRAINER_PRUNE_H
#define KJ_TRAINER_PRUNE_H

#include "trainer/derive.h"
#include "trainer/importance.h"

/* Numbers of what is kept, rising. */
struct kj_kept {
    int64_t *layer;   /* layers of the small model */
    int64_t *channel; /* hidden */
    int64_t *neuron;  /* its layers x ffn */
    int64_t *head;    /* its layers x heads */
};

/* Fill what a run file leaves open in `to` from the model, and check that a
 * `from` can be cut to it. KJ_USAGE names the field. */
int kj_prune_shape(const struct kj_shape *from, struct kj_shape *to,
                   struct kj_err *err);
/* Choose. The shapes must have passed kj_prune_shape. */
int kj_prune_choose(struct kj_kept *k, const struct kj_scores *s,
                    const struct kj_shape *from, const struct kj_shape *to,
                    struct kj_err *err);
void kj_kept_release(struct kj_kept *k);
/* Write the folder OUT, tensor by tensor. */
int kj_prune_write(const struct kj_parent *p, const struct kj_shape *to,
                   const struct kj_kept *k, const char *out, struct kj_err *err);

#endif
