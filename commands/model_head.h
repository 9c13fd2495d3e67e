/* model_head.h - kijil model train --encoder and test of a folder: heads. */
#ifndef KJ_COMMANDS_MODEL_HEAD_H
#define KJ_COMMANDS_MODEL_HEAD_H

#include "base/opt.h"

struct model_job;

/* Options of the head; stand in their own table beside the fastText ones. */
struct model_head {
    const char *encoder, *prefix, *device;
    int task, pooling, activation;
    int64_t hidden, max_tokens, epochs, batch;
    double lr, decay;
};
extern const struct kj_opt kj_model_head_opts[];

int kj_model_head_train(struct model_job *j);
int kj_model_head_test(struct model_job *j);

#endif
