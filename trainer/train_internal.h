/* train_internal.h - a run in progress: what its loop (train.c) and its steps
 * (step.c) share. */
#ifndef KJ_TRAINER_TRAIN_INTERNAL_H
#define KJ_TRAINER_TRAIN_INTERNAL_H

#include <stdio.h>

#include "nn/backend.h"
#include "trainer/checkpoint.h"
#include "trainer/llama.h"
#include "trainer/muon.h"
#include "trainer/ranks.h"
#include "trainer/train.h"
#include "trainer/validate.h"

struct kj_trainer {
    const struct kj_train *t;
    const struct kj_run *run;
    struct kj_backend *b;
    struct kj_llama *m;
    struct kj_teacher teacher; /* m NULL: none */
    struct kj_muon *muon;      /* or NULL */
    struct kj_ranks ranks;
    struct kj_moments moments;
    struct kj_feed *feed;
    struct kj_validation held;
    struct kj_prefetch *ahead;
    struct kj_checkpoint at;
    int64_t saved; /* step of the newest checkpoint, -1 none */
    bool spoiled;  /* numbers are not finite: to start again leads there again */
    char told[sizeof((struct kj_backend *)0)->note]; /* of the device's notes */
    char *ckpt, *model, *metrics;
    FILE *log;
    int lock; /* descriptor that holds DIR/.lock, or -1 */
    double start;
};

/* To the user, if on_note is there. */
void kj_trainer_note(const struct kj_trainer *r, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* The next step of all ranks: rows, gradients, update. r->at is behind it then. */
int kj_trainer_step(struct kj_trainer *r, struct kj_train_step *s, struct kj_err *err);

#endif
