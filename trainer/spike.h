/* spike.h - steps whose loss or gradient stands out, so that they can be left out.
 *
 * As OLMo's SkipStepOptimizer: a step is an outlier when its loss or its
 * gradient's norm is over the mean of the last KJ_SPIKE_STEPS by more than sigma
 * standard deviations; none is before half as many were seen. Outliers count
 * among the last ones, too, so that a new level is taken for what it is in time.
 */
#ifndef KJ_TRAINER_SPIKE_H
#define KJ_TRAINER_SPIKE_H

#include <stdbool.h>
#include <stdint.h>

#define KJ_SPIKE_STEPS 128

struct kj_spike {
    double loss[KJ_SPIKE_STEPS], norm[KJ_SPIKE_STEPS]; /* rings */
    int64_t n;                                         /* steps seen */
};

/* Whether this step is an outlier; it is remembered. */
bool kj_spike_step(struct kj_spike *s, double sigma, double loss, double norm);

#endif
