/* plan.h - what a run costs before it is started: parameters, FLOPs, and the learning
 * rate and batch that DeepSeek's law advises. Memory: memory.h. */
#ifndef KJ_TRAINER_PLAN_H
#define KJ_TRAINER_PLAN_H

#include <stdint.h>

#include "trainer/config.h"

struct kj_plan {
    int64_t params, embedding; /* all; of the input embedding */
    int64_t non_embedding;     /* params less embedding and head */
    /* Training FLOPs per token: 6 x (matrices that multiply, the head among
     * them, the embedding's look-up not) + 6 x layers x heads x head_dim x T,
     * attention counted causally. */
    double flops_token;
    double flops_forward; /* a third of it */
    int64_t steps, tokens_step;
    double tokens, flops; /* of the run */
    /* DeepSeek LLM (Bi et al. 2024): C = M D, M = 72 L d^2 + 12 L d T;
     * lr = 0.3118 C^-0.125, batch = 0.2920 C^0.3271 tokens. Fitted on models
     * with plain attention and a feed-forward of 4d, from 1e17 FLOPs up. */
    double law_c, law_lr, law_batch;
};

/* run must be resolved. */
void kj_plan_make(const struct kj_run *run, struct kj_plan *p);
/* Add what the run's teacher needs, when its config.json can be read. */
void kj_plan_teacher(const struct kj_run *run, struct kj_plan *p);

#endif
