/* eval.h - how good scores are: precision and recall at every cut, calibration.
 *
 * One point per judged document: the score of a class, and whether the document
 * is of it. Points of equal score stand or fall together, so nothing here
 * depends on the order of the documents. A point is predicted when its score is
 * at least the cut. Thread-safe; nothing fails.
 */
#ifndef KJ_CLASSIFY_EVAL_H
#define KJ_CLASSIFY_EVAL_H

#include <stdbool.h>
#include <stddef.h>

struct kj_eval_point {
    float score;
    bool gold;
};

/* Quality at one cut. precision is 1 when nothing is predicted, recall 0 when
 * there is nothing to find. */
struct kj_eval_cut {
    double cut, precision, recall, f1;
    size_t predicted, right, gold;
};

/* Best first. All functions below want them sorted. */
void kj_eval_sort(struct kj_eval_point *p, size_t n);
struct kj_eval_cut kj_eval_at(const struct kj_eval_point *p, size_t n, double cut);
/* The cut of highest F1; of equal ones the highest. */
struct kj_eval_cut kj_eval_best(const struct kj_eval_point *p, size_t n);
/* Average precision: the sum over distinct scores of precision times the recall
 * gained there (no interpolation). 0 without positives. */
double kj_eval_average_precision(const struct kj_eval_point *p, size_t n);
/* The curve at about `steps` points: for each recall i/steps, i = 1..steps, the
 * highest cut that reaches it. Returns how many went to out (room for steps);
 * cuts that serve several recalls come once. */
size_t kj_eval_curve(const struct kj_eval_point *p, size_t n, size_t steps,
                     struct kj_eval_cut *out);

#define KJ_EVAL_BINS 10
/* Of the points with scores in [i/10, (i+1)/10), the last bin closed. */
struct kj_eval_bin {
    size_t n, gold;
    double score; /* mean score; NAN when n is 0 */
    double share; /* of gold ones; NAN when n is 0 */
};
/* Reliability: fills the bins and returns the expected calibration error, the
 * mean over points of |share - score| of their bin (Naeini et al. 2015; Guo et
 * al., arXiv 1706.04599). NAN without points. Scores outside [0,1] are clamped. */
double kj_eval_calibration(const struct kj_eval_point *p, size_t n,
                           struct kj_eval_bin bins[KJ_EVAL_BINS]);

#endif
