/* sample.h - choosing the next token from logits.
 *
 * Temperature 0 takes the largest logit (the lowest id on a tie). Otherwise
 * one of the smallest set of tokens whose probabilities, at that temperature,
 * reach top_p (nucleus sampling, Holtzman et al. 2019). The choice for token
 * number n of a text depends on (seed, n) and the logits alone.
 */
#ifndef KJ_TRAINER_SAMPLE_H
#define KJ_TRAINER_SAMPLE_H

#include <stddef.h>
#include <stdint.h>

struct kj_sampler {
    double temperature, top_p;
    uint64_t seed;
};

/* logits are overwritten. order: room for n numbers. */
uint32_t kj_sample(const struct kj_sampler *s, uint64_t number, float *logits, size_t n,
                   uint32_t *order);

#endif
