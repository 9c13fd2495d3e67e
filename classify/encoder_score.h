/* encoder_score.h - the scores that an encoder's head gives to documents. */
#ifndef KJ_CLASSIFY_ENCODER_SCORE_H
#define KJ_CLASSIFY_ENCODER_SCORE_H

#include "base/doc.h"
#include "classify/texts.h"

/* Documents that are sorted by length and packed together on the CPU; with a shared
 * device a whole batch is given to it at once. */
#define ENCODER_WINDOW 1024

struct encoder_scorer {
    struct kj_texts *texts;
    size_t target; /* the label; 0 for a regression */
    bool regression;
};
/* KJ_USAGE when a classifier has no such label. */
int encoder_scorer_open(struct encoder_scorer *s, const char *dir, const char *label,
                        const char *device, struct kj_err *err);
void encoder_scorer_close(struct encoder_scorer *s);

struct encoder_worker {
    struct kj_texts_worker *w;
    struct kj_str *texts;
    size_t *which;
    double *outputs; /* rows of the head's */
    size_t room;
};
int encoder_worker_begin(struct encoder_worker *w, const struct encoder_scorer *s,
                         struct kj_err *err);
void encoder_worker_end(struct encoder_worker *w);

/* scores[i] of the documents of b that are kept and have want[i]: the number of
 * the regression, or the probability of the label; NAN: cannot be tokenized. */
int encoder_score_batch(const struct encoder_scorer *s, struct encoder_worker *w,
                        const struct kj_batch *b, const bool *want, float *scores,
                        struct kj_err *err);

#endif
