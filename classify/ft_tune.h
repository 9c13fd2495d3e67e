/* ft_tune.h - options for fastText found by trying them. */
#ifndef KJ_CLASSIFY_FT_TUNE_H
#define KJ_CLASSIFY_FT_TUNE_H

#include <stdatomic.h>

#include "classify/fasttext.h"

struct kj_ft_tune {
    struct kj_ft_train base; /* the first trial; what is not searched stays */
    int64_t trials;          /* 0: until the time is over */
    double seconds;          /* no trial begins after; 0: no limit */
    const char *label;       /* F1 of this one; NULL: of all together */
    const char *text, *valid;
    size_t text_n, valid_n;
    const atomic_bool *stop;
    /* Of each trial: its number, options, F1 (-1: it failed), is it the best. */
    void (*tell)(void *ctx, int64_t trial, const struct kj_ft_train *t, double f1,
                 bool best);
    void *ctx;
};

/* Search lr, epoch, dim, word_ngrams, minn, maxn and bucket for the highest F1 of
 * the best label on valid; the model of the best trial replaces *model, which
 * must be initialised. With one thread and no time limit the result is a
 * function of texts, options and seed. trials or seconds must be over 0. An
 * error of the first trial is the result; later failures count as lost. KJ_EOF:
 * stopped. */
int kj_ft_tune(const struct kj_ft_tune *o, struct kj_ft_train *best, double *metric,
               struct kj_buf *model, struct kj_err *err);

#endif
