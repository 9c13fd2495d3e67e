/* model_job.h - what the verbs of kijil model share.
 *
 * cmd_model.c     options, help, which verb
 * model_text.c    labelled text from files, results to files
 * model_fit.c     train, quantize
 * model_test.c    test
 * model_tune.c    autotune
 * model_curve.c   test --curve
 * model_refine.c  refine
 * model_head.c    train --encoder, and test of a folder
 * model_annotate.c annotate
 */
#ifndef KJ_COMMANDS_MODEL_JOB_H
#define KJ_COMMANDS_MODEL_JOB_H

#include <time.h>

#include "base/mem.h"
#include "classify/fasttext.h"
#include "commands/commands.h"
#include "commands/model_head.h"

struct model_cfg {
    struct kj_ft_train t;
    bool jsonl;
    const char *label_field;
    int64_t k;
    double threshold;
    int64_t cutoff, dsub;
    bool qnorm, qout, retrain;
    struct kj_strs curve; /* test: labels */
    bool json;
    /* autotune */
    struct kj_strs validation, fix;
    int64_t trials, modelsize;
    double duration;
    const char *tune_metric;
    /* refine */
    struct kj_strs seeds, held, positive;
    double positive_min, harvest, growth, min_score, precision, margin, balance,
        epsilon;
    int64_t rounds, patience, examples, updates;
    int refine_metric;
    /* annotate */
    const char *url, *llm, *prompt, *as;
    int prompt_language; /* 0 by document, 1 en, 2 ko */
    int64_t concurrency, tries, max_chars, max_tokens;
    double rpm, timeout, backoff, price_in, price_out, expect_seconds;
};

struct model_job {
    const struct kj_cmd *cmd;
    struct model_cfg c;
    struct model_head h;
    struct kj_common common;
    struct kj_strs pos; /* the verb first */
    uint64_t damaged;   /* lines that were no documents */
    double start;
};

/* The verbs: exit status; everything was printed. */
int kj_model_train(struct model_job *j);
int kj_model_quantize(struct model_job *j);
int kj_model_test(struct model_job *j);
int kj_model_refine(struct model_job *j);
int kj_model_autotune(struct model_job *j);
/* What --curve asks for, appended to out. */
int kj_model_curves(const struct model_job *j, const struct kj_ft *m,
                    const struct kj_buf *text, struct kj_buf *out, struct kj_err *err);
int kj_model_annotate(struct model_job *j);

/* Text in fastText's format from files or, with --jsonl, from documents; none:
 * standard input. out is initialised here and the caller's to release. */
int kj_model_read_text(struct model_job *j, const char *const *files, size_t n,
                       struct kj_buf *out, struct kj_err *err);
/* KJ_FAIL with what to do about it when no line has a label. */
int kj_model_check_labels(const struct model_job *j, const struct kj_buf *text,
                          struct kj_err *err);
/* b to --output, whole or not at all. */
int kj_model_write(const struct model_job *j, const struct kj_buf *b,
                   struct kj_err *err);
/* For kj_ft_train.progress; ctx is a struct kj_common. */
void kj_model_progress(void *ctx, double share, double lr, double loss);
/* The line of times on standard error. */
void kj_model_closing(const struct model_job *j);

#endif
