/* train.h - pretraining: the loop, its checkpoints and its metrics.
 *
 * DIR/metrics.jsonl      one line per step
 * DIR/checkpoints/       step-00000100/ ... (checkpoint.h)
 * DIR/run.yaml           the resolved run file (runfile.h)
 * DIR/model/             Hugging Face folder, written when the run ends or
 *                        stops at its time limit
 *
 * A run that finds checkpoints in DIR goes on from the newest sound one; the
 * weights at each step are the same bytes as without the interruption (on a GPU
 * where the run file says optim.deterministic). They do not depend on the number of
 * threads either.
 *
 * One step: the gradients of `batch` rows, in passes of `micro` rows, divided
 * by the number of predictions in the whole step; clipping by global norm;
 * AdamW. A loss, gradient or weight that is not finite stops the run with the
 * name of the first such parameter, the step and the place in the data; the
 * last checkpoint is from before it.
 */
#ifndef KJ_TRAINER_TRAIN_H
#define KJ_TRAINER_TRAIN_H

#include <stdbool.h>
#include <stdint.h>

#include "trainer/config.h"
#include "trainer/feed.h"

struct kj_backend;
struct kj_llama;
struct kj_comm;
struct kj_err;

struct kj_train_step {
    int64_t step, steps; /* done, and in all */
    double loss;         /* nats per prediction, mean over the step */
    double kl;           /* from the teacher, mean over the step; else 0 */
    double lr, grad_norm;
    int64_t tokens;      /* trained on so far */
    double tokens_per_s; /* of this step */
    double seconds;      /* since the start of this process's run */
    uint64_t epoch;
    const char *stage; /* its name; NULL where the run file has no stages */
    /* The loss on held-out texts behind this step (validate.h): over all, and by set;
     * what it took, in seconds. NULL: there was no look. */
    const double *val;
    double val_loss, val_seconds;
    bool skipped;           /* its update was left out */
    struct kj_llama *model; /* as it is behind the step, during on_step; to read */
};

struct kj_train {
    const struct kj_run *run; /* resolved */
    const char *dir;
    struct kj_comm *comm; /* the ranks that train together (ranks.h); NULL: alone */
    struct kj_feed *feed; /* of that run; its seen is kept up to date */
    const struct kj_docs *held; /* of the run's validation.data, in order */
    size_t n_held;
    const char *data_hash; /* identifies the data, below 40 characters */
    const char *tokenizer; /* file to put beside the model, or NULL */
    double time_limit;     /* seconds; 0: none */
    int64_t stop_after;    /* stop behind this step; 0: none (for tests) */
    bool force;            /* ignore and remove what is in dir */
    bool change;           /* go on where dir has another run or data (runfile.h) */
    bool no_save;          /* neither checkpoints nor a model: to measure */
    void *ctx;
    void (*on_step)(void *ctx, const struct kj_train_step *s);
    void (*on_note)(void *ctx, const char *text); /* "resumed at step 100" */
    bool (*stop)(void *ctx); /* asked before each step; may be NULL */
};

enum kj_train_end { KJ_TRAIN_DONE = 1, KJ_TRAIN_TIME, KJ_TRAIN_STOPPED };

#define KJ_TRAIN_RECENT 10

struct kj_train_result {
    enum kj_train_end end;
    struct kj_train_step last;
    double first_loss; /* of the first step that this process ran */
    double last_loss;  /* mean over the last KJ_TRAIN_RECENT steps that it ran, or
                          over all where it ran fewer: single steps jump */
    int64_t ran;       /* steps that this process ran */
};

int kj_train(const struct kj_train *t, struct kj_backend *b,
             struct kj_train_result *result, struct kj_err *err);

#endif
