/* train_watch.h - what a person sees of a training run: lines on standard error,
 * the ledger, a page with curves, and texts that the model writes on the way.
 *
 * metrics.jsonl is the record; the ledger and the page follow it, a few seconds
 * behind. A process that goes on with a run takes the ledger's rows anew from the
 * file, which then ends where the checkpoint is: no step is missing or stands
 * twice. samples.jsonl is cut to the same step. Nothing here changes what is
 * trained, and a fault here (a full disk) is told once and does not end the run.
 *
 *     DIR/run.db        the ledger, unless another is named
 *     DIR/report.html   the page; a browser that shows it loads it again
 *     DIR/samples.jsonl {"step", "number", "prompt", "text"}
 */
#ifndef KJ_COMMANDS_TRAIN_WATCH_H
#define KJ_COMMANDS_TRAIN_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "trainer/config.h"
#include "trainer/train.h"

struct kj_backend;
struct kj_train_watch;

/* All borrowed. */
struct kj_watching {
    const struct kj_run *run; /* resolved */
    const char *dir, *ledger; /* ledger NULL: DIR/run.db; "none": none */
    const char *tokenizer;    /* file; NULL: there is none */
    uint32_t end;             /* token at the end of documents */
    struct kj_backend *b;
    double flops_token;
    int64_t tokens_step;
    bool quiet;      /* no lines */
    bool lines_only; /* another rank does the rest */
};

/* Measures the peak unless quiet. KJ_USAGE when texts are asked for and there is no
 * tokenizer. */
int kj_train_watch_new(struct kj_train_watch **out, const struct kj_watching *o,
                       struct kj_err *err);
/* For struct kj_train: on_step and on_note; ctx is the watch. */
void kj_train_watch_step(void *ctx, const struct kj_train_step *s);
void kj_train_watch_note(void *ctx, const char *text);
/* Bring ledger and page up to the end (done: the run ended without a fault), and
 * free. NULL is fine. */
void kj_train_watch_end(struct kj_train_watch *w, bool done);

#endif
