/* dedup_work.c - kijil dedup --work DIR: in steps, from files to files; the
 * work itself is dedup/steps.h's. */
#include "commands/dedup_work.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/jsonl.h"
#include "base/mem.h"
#include "base/stage.h"
#include "dedup/steps.h"

#define OFF(f) offsetof(struct kj_dedup_work, f)
const struct kj_opt kj_dedup_work_opts[] = {
    {"work", 0, KJ_OPT_STR, OFF(dir), "DIR",
     "leave the files of each step here, and go on from those that are there", 0, 0, 0},
    {"step", 0, KJ_OPT_ENUM, OFF(step), "all|sign|match|gather|solve|apply",
     "with --work: this step alone; --shard I/N then takes input files (match: bands) "
     "by their number",
     "all", 0, 0},
    {"piece", 0, KJ_OPT_INT, OFF(per), "N",
     "with --work: documents in a file of signatures; what a kill can cost", "131072",
     1, 0x1p31},
    {0},
};

/* The inputs, all or one of them. One command runs in a process; static,
 * because a survey is told nothing but the stage's configuration. */
static struct inputs {
    struct kj_files *files;
    const struct kj_corpus *corpus; /* while steps are running */
    struct kj_dedup_job job;
} the_inputs;

static int reopen(void *self, struct kj_source *out, struct kj_err *err)
{
    const struct inputs *in = self;
    if (!in->corpus || !in->corpus->only)
        return kj_files_source(in->files, out, err);
    struct kj_files one = {.v = &in->files->v[in->corpus->only - 1],
                           .n = 1,
                           .textless = in->files->textless};
    return kj_files_source(&one, out, err);
}

static void say(void *self, const char *what, size_t no, size_t of)
{
    const struct kj_common *c = self;
    if (c->progress == 2)
        fprintf(stderr,
                "{\"command\":\"dedup\",\"step\":\"%s\",\"no\":%zu,\"of\":%zu}\n", what,
                no, of);
    else
        fprintf(stderr, "kijil dedup: %s %zu of %zu\n", what, no + 1, of);
}

static int survey(void *cfg, struct kj_corpus *corpus, struct kj_err *err)
{
    the_inputs.corpus = corpus;
    int rc = kj_dedup_steps(cfg, corpus, &the_inputs.job, err);
    the_inputs.corpus = NULL;
    return rc;
}

/* The files that apply reads: those of the shard. */
static void keep_mine(struct kj_files *f, unsigned shard, unsigned shards)
{
    static const char *nothing[] = {"/dev/null"};
    size_t n = 0;
    for (size_t i = shard; i < f->n; i += shards)
        f->v[n++] = f->v[i];
    f->n = n;
    if (!n) { /* no file at all would be standard input */
        f->v = nothing;
        f->n = 1;
    }
}

/* One step that leaves files and no documents. */
static int one_step(const struct kj_cmd *cmd, const struct kj_common *c, void *cfg)
{
    struct kj_err err = KJ_ERR_INIT;
    struct kj_corpus_inputs in = {reopen, &the_inputs};
    struct kj_corpus corpus = {.self = &in,
                               .threads = (unsigned)c->jobs,
                               .memory = c->memory,
                               .seed = (uint64_t)c->seed,
                               .tmp_dir = the_inputs.job.dir,
                               .pass = kj_corpus_pass,
                               .stop = &kj_interrupted};
    kj_cmd_signals();
    double wall = kj_now(), cpu = kj_seconds(CLOCK_PROCESS_CPUTIME_ID);
    int rc = survey(cfg, &corpus, &err);
    if (rc < 0)
        return kj_cmd_fail(cmd, &err);
    if (rc == KJ_EOF || atomic_load(&kj_interrupted))
        return 130;
    if (!c->quiet) {
        fprintf(stderr, "kijil " KJ_VERSION " dedup: step done; ");
        kj_cmd_usage_line(kj_now() - wall, kj_seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu);
    }
    return 0;
}

static int refuse(const struct kj_cmd *cmd, const struct kj_dedup_work *w,
                  const struct kj_common *c, const struct kj_files *files)
{
    bool files_only = w->step != KJ_STEP_ALL && w->step != KJ_STEP_APPLY;
    const struct kj_refusal list[] = {{"limit", c->limit != 0},
                                      {"output", files_only && c->output},
                                      {"rejects", files_only && c->rejects},
                                      {"ledger", files_only && c->ledger},
                                      {"shard", w->step == KJ_STEP_SOLVE && c->shard}};
    int status = kj_cmd_refuse(cmd, files_only ? "this step" : "--work", list,
                               sizeof list / sizeof *list);
    if (status < 0 && files->spool) {
        fprintf(stderr,
                "kijil %s: --work wants files, for a later step reads them "
                "again\n",
                cmd->name);
        status = 2;
    }
    return status;
}

int kj_dedup_work_drive(void *own, const struct kj_cmd *cmd, struct kj_common *c,
                        void *cfg, struct kj_files *files)
{
    const struct kj_dedup_work *w = own;
    if (!w->dir) {
        if (w->step == KJ_STEP_ALL)
            return -1;
        fprintf(stderr, "kijil %s: --step needs --work DIR\n", cmd->name);
        return 2;
    }
    int status = refuse(cmd, w, c, files);
    if (status >= 0)
        return status;
    bool by_file = w->step != KJ_STEP_ALL;
    char **names = kj_xcalloc(files->n, sizeof *names);
    for (size_t i = 0; i < files->n; i++)
        names[i] = kj_xstrdup(files->v[i]);
    the_inputs = (struct inputs){.files = files};
    the_inputs.job = (struct kj_dedup_job){.dir = w->dir,
                                           .step = (enum kj_dedup_step)w->step,
                                           .shard = by_file ? c->shard_i : 0,
                                           .shards = by_file ? c->shard_n : 1,
                                           .files = (const char *const *)names,
                                           .n_files = files->n,
                                           .per = (uint64_t)w->per,
                                           .say = kj_progress_wanted(c) ? say : NULL,
                                           .self = c};
    if (w->step == KJ_STEP_ALL || w->step == KJ_STEP_APPLY) {
        struct kj_stage stage = *cmd->stage;
        stage.survey = survey;
        c->shard_is_files = by_file;
        if (by_file)
            keep_mine(files, c->shard_i, c->shard_n);
        status = kj_cmd_drive(cmd, c, &stage, cfg,
                              (struct kj_corpus_inputs){reopen, &the_inputs}, NULL);
    } else {
        status = one_step(cmd, c, cfg);
    }
    for (size_t i = 0; i < the_inputs.job.n_files; i++)
        free(names[i]);
    free(names);
    return status;
}
