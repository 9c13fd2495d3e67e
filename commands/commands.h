/* commands.h - the commands' entry points and what they share.
 *
 * commands/ is the only room that may include every other, and the only one
 * that prints. Each file cmd_NAME.c holds one command: it fills options,
 * wires modules together, prints once, and returns the exit status
 * (0 good, 1 failed, 2 usage, 3 done but input was damaged, 130 interrupted).
 */
#ifndef KJ_COMMANDS_H
#define KJ_COMMANDS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"
#include "base/flow.h"
#include "base/opt.h"

#define KJ_VERSION "0.1.0"

/* The table of commands, in main.c, ended by NULL. Each row is defined in its
 * own cmd_NAME.c as `const struct kj_cmd kj_cmd_NAME`; group rows are in main.c. */
extern const struct kj_cmd *const kj_commands[];

extern const struct kj_cmd kj_cmd_filter;
extern const struct kj_cmd kj_cmd_tokenizer, kj_cmd_tokenize, kj_cmd_mix, kj_cmd_trace;
extern const struct kj_cmd kj_cmd_run;
extern const struct kj_cmd kj_cmd_help_row, kj_cmd_completion;
extern const struct kj_cmd kj_cmd_urls, kj_cmd_decontaminate, kj_cmd_dedup;
extern const struct kj_cmd kj_cmd_lid, kj_cmd_classify, kj_cmd_bands, kj_cmd_model;
extern const struct kj_cmd kj_cmd_pack, kj_cmd_extract, kj_cmd_cat;
extern const struct kj_cmd kj_cmd_report, kj_cmd_why, kj_cmd_whatif, kj_cmd_diff,
    kj_cmd_check;

extern const struct kj_cmd kj_cmd_plan, kj_cmd_train, kj_cmd_eval, kj_cmd_generate;
extern const struct kj_cmd kj_cmd_upscale, kj_cmd_prune, kj_cmd_merge, kj_cmd_convert;
extern const struct kj_cmd kj_cmd_device;

/* Options that commands share. */
struct kj_common {
    const char *output; /* -o; NULL: standard output */
    int64_t jobs;       /* resolved: >= 1 */
    const char *ledger, *rejects;
    const char *signals; /* as given; resolved: */
    int signals_kind;    /* enum kj_ledger_signals */
    double signal_share;
    const char *shard; /* "i/n" as given */
    unsigned shard_i, shard_n;
    bool shard_is_files; /* set by a command whose inputs are the shard already */
    int64_t memory, seed, limit;
    bool dry_run, force, resume, quiet, verbose;
    int progress; /* 0 auto, 1 plain, 2 json, 3 never */

    char command_line[1024]; /* as it was typed, cut when long */
    const char **inputs;     /* for the ledger: set by the command; none is "-" */
    size_t n_inputs;
};
/* All of them, for the filters; and what of them has an effect elsewhere. Each
 * table goes with the struct kj_common, and stands last in kj_cmd.opts. */
extern const struct kj_opt kj_common_opts[], kj_run_common_opts[];
extern const struct kj_opt kj_pack_common_opts[], kj_model_common_opts[];
extern const struct kj_opt kj_cat_common_opts[];

/* Parse argv into the command's tables: cfgs[i] goes with cmd->opts[i].
 * Defaults are set first. Handles --help itself. Returns -1 to go on, else
 * the exit status to return; then what the options held is freed already. */
int kj_cmd_parse(const struct kj_cmd *cmd, int argc, char **argv, void *const *cfgs,
                 struct kj_common *common, struct kj_strs *pos);

/* Options of a shared table that one verb of a command cannot honour: the first
 * that is given is named on stderr. Returns -1 to go on, else 2. */
struct kj_refusal {
    const char *option;
    bool given;
};
int kj_cmd_refuse(const struct kj_cmd *cmd, const char *verb,
                  const struct kj_refusal *list, size_t n);

/* Print "kijil NAME: error" once; the exit status for it. */
int kj_cmd_fail(const struct kj_cmd *cmd, const struct kj_err *err);

/* 0, 3 when documents were damaged, 130 after an interrupt. */
int kj_cmd_status(const struct kj_flow *f);

/* The --help text. Returns 0. */
int kj_cmd_help(const struct kj_cmd *cmd, FILE *to);

/* Progress on stderr, as a watch of a flow. */
struct kj_progress {
    const char *name;
    const struct kj_common *common;
    double start, last;
    bool shown;
};
bool kj_progress_wanted(const struct kj_common *c);
struct kj_watch kj_progress_watch(struct kj_progress *p, const char *name,
                                  const struct kj_common *c);

/* What a stage's survey found in the order of scores, on stderr unless --quiet. */
void kj_cmd_print_quantiles(const char *name, const struct kj_common *c,
                            const struct kj_stage *stage, const void *cfg);

/* What an opened stage has to say, and what it warns of when all has been read; on
 * stderr, unless --quiet. */
void kj_cmd_print_remark(const char *name, const struct kj_common *c,
                         const struct kj_stage *stage, const void *cfg);
void kj_cmd_print_warning(const char *name, const struct kj_common *c,
                          const struct kj_stage *stage, const void *cfg);

/* "1.23 s wall, 2.34 s CPU, 56 MB peak memory" */
void kj_cmd_usage_line(double wall, double cpu);

/* Set by the first SIGINT or SIGTERM after kj_cmd_signals(); a second kills. */
extern atomic_bool kj_interrupted;
void kj_cmd_signals(void);

/* Input files that can be read more than once. Standard input and pipes are
 * copied to a temporary file first when again is set. The names are borrowed. */
struct kj_files {
    const char **v;
    size_t n;
    bool textless; /* kj_files_source: documents may be without text */
    char *spool;   /* temporary copy, removed by kj_files_release; or NULL */
};
int kj_files_open(struct kj_files *f, const struct kj_strs *names, bool again,
                  struct kj_err *err);
void kj_files_release(struct kj_files *f);
/* For kj_corpus_inputs.reopen: a JSONL source over a struct kj_files. */
int kj_files_source(void *self, struct kj_source *out, struct kj_err *err);

/* A sink of the command's own. When everything went well commit is called,
 * before the books are closed; in every other case abort. Either may be NULL. */
struct kj_cmd_sink {
    struct kj_sink sink;
    void *self; /* for commit and abort */
    int (*commit)(void *self, struct kj_err *err);
    void (*abort)(void *self);
    /* Of a run that goes on: number of the first document, and damaged ones before. */
    uint64_t first_doc, damaged;
};

/* Drive one stage over a source: survey, sink, rejects, ledger, progress, and
 * the closing summary.
 *
 * The stage is open; cfg is its configuration. inputs opens the source (more
 * than once when the stage has survey()). sink NULL means JSONL to --output.
 * Returns the exit status; everything was printed. */
int kj_cmd_drive(const struct kj_cmd *cmd, const struct kj_common *c,
                 const struct kj_stage *stage, void *cfg,
                 struct kj_corpus_inputs inputs, const struct kj_cmd_sink *sink);

/* With --resume and a complete --output: true, and a line on stderr. */
bool kj_cmd_done_already(const struct kj_cmd *cmd, const struct kj_common *c);

/* --dry-run: the resolved options and the stage's rules on standard output,
 * then an estimate where the inputs are files. The stage is open. */
int kj_cmd_dry_run(const struct kj_cmd *cmd, const struct kj_common *c,
                   const struct kj_stage *stage, void *cfg,
                   struct kj_corpus_inputs inputs, const struct kj_strs *files);

/* Run the steps on the first documents of the files (which inputs opens) and
 * print what all of them will take, as lines "estimate_WHAT: VALUE". */
int kj_cmd_estimate(const struct kj_common *c, struct kj_step *steps, size_t n,
                    struct kj_corpus_inputs inputs, const struct kj_strs *files,
                    struct kj_err *err);

/* One stage as a filter from JSONL to JSONL: the command behind most rows. */
int kj_cmd_stage(const struct kj_cmd *cmd, int argc, char **argv);
/* The same with options of the command's own: cmd->opts[1] goes with `own`.
 * drive is called when all is open, and returns the exit status, or -1 for the
 * usual run. */
int kj_cmd_stage_own(const struct kj_cmd *cmd, int argc, char **argv, void *own,
                     int (*drive)(void *own, const struct kj_cmd *cmd,
                                  struct kj_common *c, void *cfg,
                                  struct kj_files *files));

/* The inputs named in c are all there, no folder, and standard input but once; no
 * output (standard output included) is an input or another output. KJ_FAIL or
 * KJ_USAGE, with the name. */
int kj_cmd_check_names(const struct kj_common *c, struct kj_err *err);
/* Input files of no bytes are mostly downloads that failed: a warning, unless --quiet. */
void kj_cmd_warn_empty(const struct kj_cmd *cmd, const struct kj_common *c);

/* The first damaged inputs that a flow met, as text: a watch of it. */
enum { KJ_FAULTS = 3 };
struct kj_faults {
    size_t n;
    char text[KJ_FAULTS][640];
};
struct kj_watch kj_faults_watch(struct kj_faults *f);
/* On standard error: how many there were, where they are kept, and the first. */
void kj_faults_print(const struct kj_faults *f, const struct kj_common *c,
                     uint64_t damaged);

/* The closing lines on stderr: version and command, documents, rules, speed, and
 * what was damaged. */
void kj_cmd_summary(const struct kj_cmd *cmd, const struct kj_common *c,
                    const struct kj_flow *f, const struct kj_faults *faults);

struct kj_archive_counts;
/* On standard error: the share recovered of each archive with damage, if any. */
void kj_cmd_print_damage(const struct kj_archive_counts *c);

#endif
