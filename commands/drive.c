/* drive.c - runs one stage from a source to a sink, with everything that a
 * command owes its user around it: rejects, ledger, progress, summary. */
#include "commands/commands.h"

#include "base/clock.h"
#include "base/input.h"
#include "base/jsonl.h"
#include "base/mem.h"
#include "base/output.h"
#include "manifests/ledger.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- files that can be read again ---- */

static const char *tmp_root(void)
{
    const char *t = getenv("TMPDIR");
    return t && *t ? t : "/tmp";
}

static bool readable_again(const char *name)
{
    struct stat st;
    return strcmp(name, "-") != 0 && stat(name, &st) == 0 && S_ISREG(st.st_mode);
}

static int copy_lines(const char *from, struct kj_output *to, struct kj_err *err)
{
    struct kj_input *in;
    int rc = kj_input_open(&in, from, err);
    if (rc)
        return rc;
    struct kj_chunk c;
    char last = '\n';
    while (!atomic_load(&kj_interrupted) &&
           (rc = kj_input_chunk(in, &c, err)) == KJ_OK) {
        rc = kj_output_write(to, c.p, c.n, err);
        if (rc)
            break;
        if (c.n)
            last = c.p[c.n - 1];
    }
    if (rc == KJ_EOF)
        rc = last == '\n' ? KJ_OK : kj_output_write(to, "\n", 1, err);
    kj_input_close(in);
    return rc;
}

int kj_files_open(struct kj_files *f, const struct kj_strs *names, bool again,
                  struct kj_err *err)
{
    static const char *standard_input[] = {"-"};
    memset(f, 0, sizeof *f);
    f->v = names->n ? names->v : standard_input;
    f->n = names->n ? names->n : 1;
    bool spool = false;
    for (size_t i = 0; again && i < f->n; i++)
        spool |= !readable_again(f->v[i]);
    if (!spool)
        return KJ_OK;
    struct kj_buf path;
    kj_buf_init(&path, 4096);
    kj_buf_printf(&path, "%s/kijil-XXXXXX", tmp_root());
    f->spool = kj_xstrndup(path.p, path.n);
    kj_buf_release(&path);
    kj_cmd_signals(); /* an interrupt ends the copy, and whoever reads it stops at once */
    int fd = mkstemp(f->spool);
    if (fd < 0)
        return kj_err_errno(err, KJ_FATAL, "cannot make a temporary file %s", f->spool);
    close(fd);
    struct kj_output *o;
    int rc = kj_output_open(&o, f->spool, err);
    if (rc)
        return rc;
    for (size_t i = 0; i < f->n && rc == KJ_OK; i++)
        rc = copy_lines(f->v[i], o, err);
    if (rc) {
        kj_output_abort(o);
        return rc;
    }
    f->v = (const char **)&f->spool;
    f->n = 1;
    return kj_output_commit(o, err);
}

void kj_files_release(struct kj_files *f)
{
    if (f->spool)
        unlink(f->spool);
    free(f->spool);
    memset(f, 0, sizeof *f);
}

int kj_files_source(void *self, struct kj_source *out, struct kj_err *err)
{
    struct kj_files *f = self;
    int rc = kj_jsonl_source(out, f->v, f->n, err);
    if (rc == KJ_OK && f->textless)
        kj_jsonl_textless(out);
    return rc;
}

/* ---- small services ---- */

bool kj_cmd_done_already(const struct kj_cmd *cmd, const struct kj_common *c)
{
    if (!c->resume || c->force || !c->output || access(c->output, F_OK) != 0)
        return false;
    if (!c->quiet)
        fprintf(stderr, "kijil %s: %s is complete already; --force makes it anew\n",
                cmd->name, c->output);
    return true;
}

int kj_cmd_dry_run(const struct kj_cmd *cmd, const struct kj_common *c,
                   const struct kj_stage *stage, void *cfg,
                   struct kj_corpus_inputs inputs, const struct kj_strs *files)
{
    struct kj_err err = KJ_ERR_INIT;
    struct kj_step step = {.stage = stage, .cfg = cfg};
    struct kj_buf b;
    kj_buf_init(&b, 1 << 20);
    kj_buf_printf(&b, "command: %s\nversion: " KJ_VERSION "\n", cmd->name);
    if (stage->opts)
        kj_opt_dump(stage->opts, cfg, &b);
    kj_opt_dump(kj_common_opts, c, &b);
    const struct kj_rule *rules;
    size_t n = stage->rules ? stage->rules(cfg, &rules) : 0;
    for (size_t i = 0; i < n; i++) {
        kj_buf_printf(&b, "rule: %s", rules[i].name);
        if (!isnan(rules[i].threshold))
            kj_buf_printf(&b, " drops %s %g", rules[i].op, rules[i].threshold);
        else if (strcmp(rules[i].op, "off") == 0)
            kj_buf_addz(&b, " off");
        kj_buf_printf(&b, " (%s)\n", rules[i].unit ? rules[i].unit : "");
    }
    fwrite(b.p, 1, b.n, stdout);
    kj_buf_release(&b);
    int rc = kj_cmd_estimate(c, &step, 1, inputs, files, &err);
    return rc < 0 ? kj_cmd_fail(cmd, &err) : 0;
}

static int survey(const struct kj_common *c, const struct kj_stage *stage, void *cfg,
                  struct kj_corpus_inputs *inputs, struct kj_err *err)
{
    if (!kj_stage_surveys(stage, cfg))
        return KJ_OK;
    struct kj_buf dir;
    kj_buf_init(&dir, 4096);
    kj_buf_printf(&dir, "%s/kijil-survey-XXXXXX", tmp_root());
    char *path = kj_xstrndup(dir.p, dir.n);
    kj_buf_release(&dir);
    if (!mkdtemp(path)) {
        kj_err_errno(err, KJ_FATAL, "cannot make a temporary folder %s", path);
        free(path);
        return KJ_FATAL;
    }
    struct kj_corpus corpus = {.self = inputs,
                               .threads = (unsigned)c->jobs,
                               .memory = c->memory,
                               .seed = (uint64_t)c->seed,
                               .tmp_dir = path,
                               .pass = kj_corpus_pass,
                               .limit = c->limit,
                               .stop = &kj_interrupted};
    int rc = stage->survey(cfg, &corpus, err);
    rmdir(path);
    free(path);
    if (rc == KJ_OK)
        kj_cmd_print_quantiles(stage->name, c, stage, cfg);
    return rc;
}

/* ---- the drive ---- */

struct drive {
    struct kj_output *out, *rejects;
    struct kj_ledger *ledger;
    struct kj_watch watches[6];
    struct kj_faults faults;
    struct kj_progress progress;
    struct kj_step step;
    struct kj_flow flow;
};

static int open_ledger(struct drive *d, const struct kj_cmd *cmd,
                       const struct kj_common *c, struct kj_err *err)
{
    if (!c->ledger)
        return KJ_OK;
    struct kj_ledger_info info = {.name = cmd->name,
                                  .version = KJ_VERSION,
                                  .command = c->command_line,
                                  .shard = c->shard,
                                  .partial = c->shard_n > 1 || c->limit > 0,
                                  .signals = c->signals_kind,
                                  .signal_share = c->signal_share};
    int rc = kj_ledger_open(&d->ledger, c->ledger, KJ_LEDGER_WRITE, err);
    if (rc == KJ_OK)
        rc = kj_ledger_begin(d->ledger, &info, NULL, err);
    for (size_t i = 0; i < c->n_inputs && rc == KJ_OK; i++)
        rc = kj_ledger_input(d->ledger, c->inputs[i], err);
    if (c->n_inputs == 0 && rc == KJ_OK)
        rc = kj_ledger_input(d->ledger, "-", err);
    return rc;
}

/* The books of this command; the first error stays. */
static int close_ledger(struct drive *d, const struct kj_common *c, bool wrote, int rc,
                        struct kj_err *err)
{
    if (!d->ledger)
        return rc;
    if (rc == KJ_OK && wrote)
        rc = kj_ledger_output(d->ledger, c->output ? c->output : "-", err);
    struct kj_err late = KJ_ERR_INIT;
    int r2 =
        kj_ledger_end(d->ledger, &d->flow, rc ? 1 : kj_cmd_status(&d->flow), &late);
    int r3 = kj_ledger_close(d->ledger, &late);
    d->ledger = NULL;
    if (rc == KJ_OK && (r2 || r3)) {
        *err = late;
        rc = r2 ? r2 : r3;
    }
    return rc;
}

static int drive_run(struct drive *d, const struct kj_cmd *cmd,
                     const struct kj_common *c, const struct kj_stage *stage, void *cfg,
                     struct kj_corpus_inputs inputs, const struct kj_cmd_sink *sink,
                     struct kj_err *err)
{
    struct kj_flow *f = &d->flow;
    int rc = inputs.reopen(inputs.self, &f->source, err);
    if (rc == KJ_OK && !sink)
        rc = kj_output_open(&d->out, c->output, err);
    if (rc == KJ_OK && c->rejects)
        rc = kj_output_open(&d->rejects, c->rejects, err);
    if (rc == KJ_OK)
        rc = open_ledger(d, cmd, c, err);
    if (rc)
        return rc;
    if (stage->only_kept && !sink && !cmd->watch && !c->rejects && !c->ledger)
        stage->only_kept(cfg);
    d->step = (struct kj_step){.stage = stage, .cfg = cfg};
    f->steps = &d->step;
    f->n_steps = 1;
    f->sink = sink ? sink->sink : kj_jsonl_sink(d->out);
    f->watches = d->watches;
    f->watches[f->n_watches++] = kj_faults_watch(&d->faults);
    if (d->rejects)
        f->watches[f->n_watches++] = kj_jsonl_rejects(d->rejects);
    if (d->ledger)
        f->watches[f->n_watches++] = kj_ledger_watch(d->ledger);
    if (cmd->watch)
        cmd->watch(cfg, &f->watches[f->n_watches++]);
    if (kj_progress_wanted(c))
        f->watches[f->n_watches++] = kj_progress_watch(&d->progress, cmd->name, c);
    f->threads = (unsigned)c->jobs;
    f->shard = c->shard_i;
    f->shards = c->shard_is_files ? 1 : c->shard_n;
    f->limit = c->limit;
    f->stop = &kj_interrupted;
    f->first_doc = sink ? sink->first_doc : 0;
    f->damaged = sink ? sink->damaged : 0;
    return kj_flow_run(f, err);
}

/* Give every output its final name, or none of them. */
static int settle(struct drive *d, const struct kj_cmd_sink *sink, bool whole, int rc,
                  struct kj_err *err)
{
    if (whole && sink && sink->commit)
        rc = sink->commit(sink->self, err);
    else if (sink && sink->abort)
        sink->abort(sink->self);
    if (whole && rc == KJ_OK && d->out)
        rc = kj_output_commit(d->out, err);
    else
        kj_output_abort(d->out);
    if (whole && rc == KJ_OK && d->rejects)
        rc = kj_output_commit(d->rejects, err);
    else
        kj_output_abort(d->rejects);
    return rc;
}

int kj_cmd_drive(const struct kj_cmd *cmd, const struct kj_common *c,
                 const struct kj_stage *stage, void *cfg,
                 struct kj_corpus_inputs inputs, const struct kj_cmd_sink *sink)
{
    struct kj_err err = KJ_ERR_INIT;
    struct drive d = {0};
    kj_cmd_signals();
    double wall = kj_now(), cpu = kj_seconds(CLOCK_PROCESS_CPUTIME_ID);
    int rc = kj_cmd_check_names(c, &err);
    if (rc == KJ_OK) {
        kj_cmd_warn_empty(cmd, c);
        rc = survey(c, stage, cfg, &inputs, &err);
    }
    /* the run adds its own time to that of the survey */
    d.flow.wall = kj_now() - wall;
    d.flow.cpu = kj_seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    if (rc == KJ_OK)
        rc = drive_run(&d, cmd, c, stage, cfg, inputs, sink, &err);
    if (d.flow.source.close)
        d.flow.source.close(d.flow.source.self);
    /* An interrupt leaves no file under its final name: it would look whole. */
    bool whole = rc == KJ_OK && !atomic_load(&kj_interrupted);
    bool wrote = d.out || (sink && sink->commit);
    rc = settle(&d, sink, whole, rc, &err);
    rc = close_ledger(&d, c, wrote && whole, rc, &err);
    /* KJ_EOF: the reader of our output had enough (| head). That is no fault, but
     * nothing is complete either. */
    int status = rc < 0 ? kj_cmd_fail(cmd, &err) : kj_cmd_status(&d.flow);
    if (rc == KJ_OK || status == 130) {
        kj_cmd_summary(cmd, c, &d.flow, &d.faults);
        kj_cmd_print_warning(cmd->name, c, stage, cfg);
    }
    kj_flow_release(&d.flow);
    return status;
}

int kj_cmd_stage(const struct kj_cmd *cmd, int argc, char **argv)
{
    return kj_cmd_stage_own(cmd, argc, argv, NULL, NULL);
}

void kj_cmd_print_remark(const char *name, const struct kj_common *c,
                         const struct kj_stage *stage, const void *cfg)
{
    const char *text = stage->remark && !c->quiet ? stage->remark(cfg) : NULL;
    if (text)
        fprintf(stderr, "kijil %s: %s\n", name, text);
}

void kj_cmd_print_warning(const char *name, const struct kj_common *c,
                          const struct kj_stage *stage, const void *cfg)
{
    const char *text = stage->warning && !c->quiet ? stage->warning(cfg) : NULL;
    if (text)
        fprintf(stderr, "kijil %s: warning: %s\n", name, text);
}

int kj_cmd_stage_own(const struct kj_cmd *cmd, int argc, char **argv, void *own,
                     int (*drive)(void *own, const struct kj_cmd *cmd,
                                  struct kj_common *c, void *cfg,
                                  struct kj_files *files))
{
    const struct kj_stage *stage = cmd->stage;
    struct kj_err err = KJ_ERR_INIT;
    struct kj_common common;
    struct kj_strs pos = {0};
    struct kj_files files = {0};
    void *cfg = kj_xcalloc(1, stage->cfg_size);
    void *const cfgs[] = {cfg, own, NULL};
    int status = kj_cmd_parse(cmd, argc, argv, cfgs, &common, &pos);
    bool opened = false;
    if (status < 0 && kj_cmd_done_already(cmd, &common))
        status = 0;
    if (status < 0) {
        opened = true;
        if (stage->open && stage->open(cfg, &err))
            status = kj_cmd_fail(cmd, &err);
        else
            kj_cmd_print_remark(cmd->name, &common, stage, cfg);
    }
    if (status < 0 && common.dry_run) {
        struct kj_files named = {.v = pos.v,
                                 .n = pos.n,
                                 .textless = stage->textless && stage->textless(cfg)};
        status =
            kj_cmd_dry_run(cmd, &common, stage, cfg,
                           (struct kj_corpus_inputs){kj_files_source, &named}, &pos);
    }
    if (status < 0 && kj_files_open(&files, &pos, kj_stage_surveys(stage, cfg), &err))
        status = kj_cmd_fail(cmd, &err);
    files.textless = status < 0 && stage->textless && stage->textless(cfg);
    common.inputs = pos.v;
    common.n_inputs = pos.n;
    if (status < 0 && drive)
        status = drive(own, cmd, &common, cfg, &files);
    if (status < 0)
        status = kj_cmd_drive(cmd, &common, stage, cfg,
                              (struct kj_corpus_inputs){kj_files_source, &files}, NULL);
    kj_files_release(&files);
    if (opened && stage->close)
        stage->close(cfg);
    if (stage->opts)
        kj_opt_release(stage->opts, cfg);
    free(cfg);
    kj_strs_release(&pos);
    return status;
}
