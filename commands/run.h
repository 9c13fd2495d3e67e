/* run.h - what the files of `kijil run` share: cmd_run.c (the command, its
 * folder and its books), run_steps.c (the order of steps, tokenizer and
 * shards), run_phase.c (phases and parts). Not for other commands.
 */
#ifndef KJ_COMMANDS_RUN_H
#define KJ_COMMANDS_RUN_H

#include "commands/commands.h"
#include "commands/recipe.h"
#include "extract/archive.h"
#include "manifests/ledger.h"

struct kj_run_opts {
    struct kj_strs input;
    int64_t part_size;
};

/* Documents as a phase left them. */
struct kj_run_parts {
    char **path;
    uint64_t *docs;
    size_t n;
};

struct kj_run {
    const struct kj_cmd *cmd;
    struct kj_common c;
    struct kj_run_opts o;
    struct kj_recipe recipe;
    struct kj_strs files; /* expanded inputs, owned words */
    struct kj_ledger *ledger;
    const char *out;
    struct kj_run_parts docs; /* what the phase before wrote */
    unsigned phase, phases;
    size_t shard_step; /* the phase that starts here emits only the shard */
    uint64_t damaged;
};

/* "DIR/..." as a new string. */
char *kj_run_path(const char *dir, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void kj_run_parts_release(struct kj_run_parts *p);
/* A JSONL source over a struct kj_run_parts, for kj_corpus_inputs.reopen. */
int kj_run_parts_source(void *self, struct kj_source *out, struct kj_err *err);
/* Remove what a killed process was writing in dir. */
void kj_run_sweep(const char *dir);

/* Run steps [first, last) as one phase; r->docs becomes what it left. KJ_OK,
 * KJ_EOF when the run was interrupted, negative. */
int kj_run_phase(struct kj_run *r, size_t first, size_t last, struct kj_err *err);

/* Is the recipe one that can be run? KJ_USAGE with file and line if not. */
int kj_run_check(const struct kj_run *r, struct kj_err *err);
/* Where the phase that begins with step first ends: at the next step that
 * surveys, or that is no stage. */
size_t kj_run_phase_end(const struct kj_run *r, size_t first);
/* All steps, as kj_run_phase returns. */
int kj_run_steps(struct kj_run *r, struct kj_err *err);

#endif
