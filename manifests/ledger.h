/* ledger.h - the ledger of a run: one SQLite file that can say of every
 * document why it is, or is not, in the corpus (docs/formats/ledger.md).
 *
 * Two kinds of users:
 *
 *   A filter in a pipe (`--ledger run.db`). Several processes append to one
 *   file, one behind the other or at the same time. Each batch is one short
 *   transaction; a busy file is waited for.
 *
 *       kj_ledger_open(&l, path, KJ_LEDGER_WRITE, err);
 *       kj_ledger_begin(l, &info, err);
 *       kj_ledger_input(l, "-", err);
 *       flow.watches[n++] = kj_ledger_watch(l);
 *       kj_flow_run(&flow, err);
 *       kj_ledger_output(l, "-", err);          // after the file is committed
 *       kj_ledger_end(l, &flow, status, err);
 *       kj_ledger_close(l, err);
 *
 *   A restartable run, in phases and parts. After kj_ledger_phase(l, name,
 *   true) the rows of a flow stay in one open transaction until
 *   kj_ledger_commit, which is called when a part file has its final name:
 *   rows of its documents, counters, and the row of the part appear together
 *   or not at all. After kill -9 the next process calls kj_ledger_begin with
 *   resume, gets the same run, lists the finished parts with kj_ledger_parts,
 *   and goes on behind the last. A flow may span several parts (commit from
 *   the sink's write, when the watch has seen exactly the documents of the
 *   part), or one flow may run for each part.
 *
 * The same id may come more than once in a stream: the second one is copy 1.
 *
 * While it is written the file is in WAL mode; the last writer to close it
 * leaves one plain file. WAL needs a local file system.
 *
 * Thread-safety: one thread at a time (the ordered writer, then the caller).
 */
#ifndef KJ_MANIFESTS_LEDGER_H
#define KJ_MANIFESTS_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/flow.h"

struct kj_ledger;

enum kj_ledger_mode {
    KJ_LEDGER_READ = 0,  /* must exist; nothing is changed */
    KJ_LEDGER_WRITE = 1, /* made when missing */
};

/* KJ_FAIL when the file cannot be opened, or is no ledger, or is one of a
 * later version. */
int kj_ledger_open(struct kj_ledger **out, const char *path, int mode,
                   struct kj_err *err);
/* Roll back what is not committed, checkpoint, close. Frees l in every case;
 * NULL is fine. */
int kj_ledger_close(struct kj_ledger *l, struct kj_err *err);

/* Which measured values become rows of `signals`. Histograms and samples are
 * kept either way. */
enum kj_ledger_signals {
    KJ_SIGNALS_ALL = 0,
    KJ_SIGNALS_NONE,
    KJ_SIGNALS_SAMPLE /* of a share of the documents, chosen by their ids */
};

struct kj_ledger_info {
    const char *name;    /* of the command: "filter" */
    const char *version; /* of the program */
    const char *command; /* as it was typed */
    const char *config;  /* "key: value" lines of the run itself; may be NULL */
    const char *shard;   /* "i/n" or NULL */
    bool partial;        /* reads only some of its input: --shard, --limit */
    bool resume;         /* go on with the last unfinished run of equal name,
                            configuration and shard, when there is one */
    int signals;         /* enum kj_ledger_signals */
    double signal_share; /* 0..1, for KJ_SIGNALS_SAMPLE */
};

/* Register this process's run. *resumed (may be NULL) says whether it goes on
 * with an earlier one. */
int kj_ledger_begin(struct kj_ledger *l, const struct kj_ledger_info *info,
                    bool *resumed, struct kj_err *err);

/* The flows run from now on belong to this phase. `parts`: rows wait for
 * kj_ledger_commit. Without a call: phase "", committed at every batch. */
int kj_ledger_phase(struct kj_ledger *l, const char *phase, bool parts,
                    struct kj_err *err);

/* The watch to hang into a flow. When the flow begins, it registers the
 * stages with their configuration and rules. */
struct kj_watch kj_ledger_watch(struct kj_ledger *l);

/* A file read ("-" is standard input: two processes of this ledger at the ends
 * of one pipe are linked by it). */
int kj_ledger_input(struct kj_ledger *l, const char *path, struct kj_err *err);

/* A file written, under its final name: hashed here; of a folder, its
 * manifest.jsonl. Counts are those of the last flow. Not for parts. */
int kj_ledger_output(struct kj_ledger *l, const char *path, struct kj_err *err);

/* A part of a phase. */
struct kj_ledger_part {
    int64_t part;             /* number within the phase, from 0 */
    const char *path;         /* final name, relative to the ledger's folder */
    char hash[40];            /* as of kj_hash_file */
    int64_t bytes;            /* stored */
    struct kj_pos start, end; /* input read for it; offset -1: unknown */
    /* Of the documents in it. The ledger adds those since the last commit, so that
     * one row can be replaced by one of more documents. */
    uint64_t docs, text_bytes, sum;
};

/* Commit what the watch gathered since the last commit, together with the
 * part's row (NULL: a part that wrote nothing but has rows). f is the flow
 * being watched; its counters so far are recorded. */
int kj_ledger_commit(struct kj_ledger *l, const struct kj_flow *f,
                     struct kj_ledger_part *part, struct kj_err *err);

/* Forget rows gathered since the last commit (the part will be redone, by a
 * new flow). */
void kj_ledger_rollback(struct kj_ledger *l);

/* The committed parts of a phase of this run (after begin), by number.
 * Stops when each() returns non-zero and returns that. */
int kj_ledger_parts(struct kj_ledger *l, const char *phase,
                    int (*each)(void *ctx, const struct kj_ledger_part *p), void *ctx,
                    struct kj_err *err);

/* Documents that the committed parts of a phase of this run took in. */
int kj_ledger_docs_in(struct kj_ledger *l, const char *phase, uint64_t *docs,
                      struct kj_err *err);

/* Documents of this run that were damaged, over all processes that worked on it. */
int kj_ledger_damaged(struct kj_ledger *l, uint64_t *docs, struct kj_err *err);

/* Forget a phase of this run, which is to be done over: its decisions, reasons,
 * outputs and counters. Documents, signals, histograms and samples stay: it is
 * meant for phases that measure nothing, such as writing shards. */
int kj_ledger_forget(struct kj_ledger *l, const char *phase, struct kj_err *err);

/* End of the run; f (may be NULL) gives bytes read and times. status is the
 * exit status of the command. Links the run to the one whose output it read. */
int kj_ledger_end(struct kj_ledger *l, const struct kj_flow *f, int status,
                  struct kj_err *err);

/* Take a training run from DIR/metrics.jsonl of `kijil train` ({"step":..,"loss":..}
 * lines, docs/formats/checkpoint.md) or texts from its DIR/samples.jsonl. Rows
 * already there are replaced. On a ledger open for reading it is seen by this
 * object only, in place of the runs in the file. A last line without its end is
 * left alone: training is still writing it. */
int kj_ledger_metrics_import(struct kj_ledger *l, const char *series, const char *path,
                             struct kj_err *err);
/* The same for what was added since: from byte *at on, which is moved on. */
int kj_ledger_metrics_more(struct kj_ledger *l, const char *series, const char *path,
                           int64_t *at, struct kj_err *err);
/* Forget a training run: its files are shorter than they were. */
int kj_ledger_metrics_forget(struct kj_ledger *l, const char *series,
                             struct kj_err *err);

/* One process of kijil eval, and what it found. Evaluations are no runs: they
 * take no documents and are not held against the books. */
struct kj_ledger_evaluation {
    const char *model, *tokenizer, *version, *command; /* NULL: not known */
};
int kj_ledger_evaluation(struct kj_ledger *l, const struct kj_ledger_evaluation *e,
                         int64_t *number, struct kj_err *err);
struct kj_ledger_score {
    const char *task, *kind, *part, *metric;
    double value, error; /* NAN: none */
    uint64_t n;
    int64_t shots; /* below 0: no such task */
};
int kj_ledger_score(struct kj_ledger *l, int64_t evaluation,
                    const struct kj_ledger_score *s, struct kj_err *err);
/* Take a round of `kijil model refine` from its round.json into this run: figures,
 * domains and examples (tables refine_*). A round already there is replaced. */
int kj_ledger_refine_round(struct kj_ledger *l, const char *path, struct kj_err *err);

/* Do the books balance? At every stage in = kept + dropped by reason; between
 * stages, phases, and runs in a pipe, counts and order-free checksums chain;
 * decisions and parts add up to the same. KJ_FAIL with the first mismatch in
 * err (which stage, by how much) and one line for each in `lines` (may be
 * NULL). An unfinished run is a mismatch. */
int kj_ledger_reconcile(struct kj_ledger *l, struct kj_buf *lines, struct kj_err *err);

#endif
