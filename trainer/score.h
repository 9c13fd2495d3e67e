/* score.h - how surprised a model is by documents: the sum of the negative log
 * likelihoods of their tokens, packed many documents to a pass.
 *
 * A document begins behind the begin token; one longer than the context is cut
 * into pieces, each of which begins with the last token of the one before and
 * knows nothing else of it.
 */
#ifndef KJ_TRAINER_SCORE_H
#define KJ_TRAINER_SCORE_H

#include <stddef.h>
#include <stdint.h>

#include "trainer/llama.h"

struct kj_scorer;

/* tokens: room of one pass (the model's); context: longest piece; got: called
 * once per document, in order, with its number, tokens and nats. */
int kj_scorer_new(struct kj_scorer **out, struct kj_llama *m, size_t tokens,
                  size_t context, uint32_t begin,
                  void (*got)(void *ctx, uint64_t doc, uint64_t tokens, double nats),
                  void *ctx, struct kj_err *err);
void kj_scorer_free(struct kj_scorer *s);
/* Add document number 0, 1, ...: its tokens. */
int kj_scorer_add(struct kj_scorer *s, const uint32_t *ids, size_t n,
                  struct kj_err *err);
/* Score what is waiting. */
int kj_scorer_flush(struct kj_scorer *s, struct kj_err *err);

#endif
