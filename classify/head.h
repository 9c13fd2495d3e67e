/* head.h - training a head on the vectors of a frozen encoder, and its folder.
 *
 * Each number of the vectors is brought to mean 0 and variance 1 over the training
 * set, and that map is folded into the first layer in the end. AdamW, learning rate
 * falling linearly to 0, loss: mean squares, or cross-entropy over the labels. The
 * result depends on vectors, order and options alone, not on threads.
 */
#ifndef KJ_CLASSIFY_HEAD_H
#define KJ_CLASSIFY_HEAD_H

#include "classify/encoder.h"

struct kj_head_train {
    bool regression;
    size_t width; /* of the hidden layer; 0: a linear head */
    enum kj_act act;
    double lr, decay;
    int64_t epochs, batch, seed;
    unsigned threads;
};

/* x: n rows of `in` numbers; y: n values, or with labels > 1 outputs n label numbers
 * as floats. *loss: of the last epoch, per example. *h is the caller's to release.
 * KJ_FAIL when the training runs off to infinity. */
int kj_head_fit(const struct kj_head_train *o, const float *x, const float *y, size_t n,
                size_t in, size_t outputs, struct kj_head_weights *h, double *loss,
                struct kj_err *err);

struct kj_head_save {
    const struct kj_head_weights *head;
    const char *const *labels; /* [head->out]; NULL: a regression */
    enum kj_pool pool;
    const char *prefix;
    int64_t max_tokens;
};
/* Make the folder `dir`: head.safetensors, an index, config.json, and the encoder's
 * own files and tokenizer.json from the folder `from`, as hard links where the file
 * system can. It appears whole or not at all; KJ_USAGE when it exists and is not
 * empty. */
int kj_head_publish(const struct kj_head_save *s, const char *from, const char *dir,
                    struct kj_err *err);

#endif
