/* ft_tune.h - options for fastText found by trying them. */
#ifndef KJ_CLASSIFY_FT_TUNE_H
#define KJ_CLASSIFY_FT_TUNE_H

#include <stdatomic.h>

#include "classify/fasttext.h"

/* What is searched, as bits. */
enum {
    KJ_TUNE_LR = 1,
    KJ_TUNE_EPOCH = 2,
    KJ_TUNE_DIM = 4,
    KJ_TUNE_WORD_NGRAMS = 8,
    KJ_TUNE_SUBWORDS = 16, /* minn, maxn */
    KJ_TUNE_BUCKET = 32,
    KJ_TUNE_LOSS = 64, /* softmax, ova, hs */
    KJ_TUNE_DSUB = 128 /* with a model_size */
};

/* The options of a trial. */
struct kj_ft_trial {
    struct kj_ft_train t;
    /* With a model_size: how it was made to fit (retrain, text unset). */
    struct kj_ft_quantize q;
    size_t bytes; /* of the model; 0: none was made */
};

struct kj_ft_tune {
    struct kj_ft_train base; /* the first trial; what is not searched stays */
    int64_t dsub;            /* of the first trial */
    unsigned fixed;          /* KJ_TUNE_*: these stay */
    int64_t model_size;      /* most bytes, by quantisation; 0: dense models */
    int64_t trials;          /* 0: until the time is over */
    double seconds;          /* no trial begins after; 0: no limit */
    const char *label;       /* F1 of this one; NULL: of all together */
    const char *text, *valid;
    size_t text_n, valid_n;
    const atomic_bool *stop;
    /* Of each trial: its number, options, F1 (-1: it failed), is it the best. */
    void (*tell)(void *ctx, int64_t number, const struct kj_ft_trial *t, double f1,
                 bool best);
    void *ctx;
};

/* Search what is not fixed for the highest F1 of the best label on valid; the model
 * of the best trial replaces *model, which must be initialised. With model_size
 * every trial is quantised (qnorm, qout from 256 labels on, trained again on text)
 * with as many words and n-grams as fit, and judged so, as by fastText. With one
 * thread and no time limit the result is a function of texts, options and seed.
 * trials or seconds must be over 0. An error of the first trial is the result, but
 * for a size that it misses; later failures count as lost. KJ_FAIL: no trial fits
 * model_size. KJ_EOF: stopped. */
int kj_ft_tune(const struct kj_ft_tune *o, struct kj_ft_trial *best, double *metric,
               struct kj_buf *model, struct kj_err *err);

#endif
