/* eval.h - what kijil eval measures, a file each. */
#ifndef KJ_COMMANDS_EVAL_H
#define KJ_COMMANDS_EVAL_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/mem.h"
#include "base/opt.h"
#include "commands/model.h"
#include "trainer/accuracy.h"
#include "trainer/task.h"

struct kj_eval_options {
    struct kj_strs tasks, data;
    const char *tokenizer, *device, *output, *details, *ledger;
    int64_t limit, context, jobs, shots, pass;
    int bos; /* enum kj_eval_bos */
    bool json, quiet;
};

enum kj_eval_bos { KJ_BOS_AUTO, KJ_BOS_YES, KJ_BOS_NO };

#define KJ_EVAL_METRICS 6

/* One line of results: a source, a subset, a group of subsets, or all. */
struct kj_eval_row {
    const char *task;
    const char *kind, *part; /* "source", "subset", "group"; "task": of all, "" */
    uint64_t n;              /* documents or questions */
    int64_t shots;           /* -1: not such a task */
    uint64_t subsets;        /* that it is the mean of; 0: none */
    struct {
        const char *name;
        double value, error; /* error NAN: none */
    } metric[KJ_EVAL_METRICS];
    size_t n_metrics;
};

/* One call of kijil eval: the model and where its results go. */
struct kj_evaluation {
    const struct kj_eval_options *o;
    struct kj_opened m; /* weights are loaded by who needs them */
    unsigned threads;
    const char *model; /* as it was named */
    FILE *table, *json, *details;
    struct kj_ledger *ledger;
    int64_t number;   /* in the ledger */
    uint64_t damaged; /* lines that could not be used */
    uint64_t named;   /* of them, for the task at hand */
    int shown;        /* which table was begun: 1 of sources, 2 of tasks */
};

/* Tell a row: table, JSON, ledger. */
int kj_eval_put(struct kj_evaluation *e, const struct kj_eval_row *r,
                struct kj_err *err);

/* Perplexity and bits per byte of documents. */
int kj_eval_ppl(struct kj_evaluation *all, const struct kj_strs *files,
                struct kj_err *err);
/* A multiple-choice task, or a group of them: a name or the path of a file. */
int kj_eval_task(struct kj_evaluation *e, const char *name, struct kj_err *err);
/* Score the questions of a task; tally: one of each subset, added to. KJ_EOF when
 * interrupted. */
int kj_eval_questions(struct kj_evaluation *e, const struct kj_task *t,
                      const struct kj_questions *q, const struct kj_questions *pool,
                      bool own, int64_t shots, struct kj_accuracy *tally,
                      struct kj_err *err);
/* Name and count a line that cannot be used; self is the struct kj_evaluation. */
void kj_eval_bad(void *self, const char *file, int64_t line, const char *why);

#endif
