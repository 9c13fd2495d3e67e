/* cmd_train.c - kijil train: pretraining from a run file and shards. */
#include "commands/commands.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/output.h"
#include "commands/data.h"
#include "commands/model.h"
#include "trainer/plan.h"
#include "trainer/train.h"

struct options {
    const char *data, *output, *device, *tokenizer, *time_limit;
    int64_t steps, jobs;
    struct kj_strs set;
    bool force, dry_run, quiet;
};

#define F(x) offsetof(struct options, x)
static const struct kj_opt train_opts[] = {
    {"data", 0, KJ_OPT_STR, F(data), "MANIFEST",
     "manifest.jsonl of shards, an order (kijil mix), or the folder of one; default: "
     "data.manifest",
     0, 0, 0},
    {"output", 'o', KJ_OPT_STR, F(output), "DIR",
     "folder of the run; default: out/NAME by the run's name", 0, 0, 0},
    {"tokenizer", 't', KJ_OPT_STR, F(tokenizer), "FILE",
     "tokenizer.json to put beside the model; default: found near the shards", 0, 0, 0},
    {"device", 0, KJ_OPT_STR, F(device), "NAME", "compute back end: auto, cpu", "auto",
     0, 0},
    {"steps", 0, KJ_OPT_INT, F(steps), "N", "steps in all, instead of the run file's",
     "0", 0, 0x1p40},
    {"time_limit", 0, KJ_OPT_STR, F(time_limit), "TIME",
     "stop cleanly, with a checkpoint and a model, before 90s, 2m, 1h30m", 0, 0, 0},
    {"set", 0, KJ_OPT_LIST, F(set), "KEY=VALUE",
     "override a key of the run file: optim.lr=3e-4", 0, 0, 0},
    {"jobs", 'j', KJ_OPT_INT, F(jobs), "N",
     "threads; 0: as many as processors are allowed", "0", 0, 1024},
    {"force", 0, KJ_OPT_FLAG, F(force), 0, "start over where a run exists already", 0,
     0, 0},
    {"dry_run", 0, KJ_OPT_FLAG, F(dry_run), 0,
     "print the resolved run file and what it will need, and stop", 0, 0, 0},
    {"quiet", 'q', KJ_OPT_FLAG, F(quiet), 0, "no lines on stderr but errors", 0, 0, 0},
    {0},
};
#undef F

/* Seconds between lines on stderr. */
#define INTERVAL 5.0

struct view {
    bool quiet, teacher;
    double shown, flops_token, mean_rate;
    double window_t; /* start of the interval */
    int64_t window_tokens, start_tokens, tokens_step;
    int64_t first; /* step before the first that ran here */
};

static void clock_text(double s, char *buf, size_t n)
{
    int64_t t = (int64_t)(s + 0.5);
    if (t >= 3600)
        snprintf(buf, n, "%" PRId64 ":%02d:%02d", t / 3600, (int)(t / 60 % 60),
                 (int)(t % 60));
    else
        snprintf(buf, n, "%d:%02d", (int)(t / 60), (int)(t % 60));
}

static void on_step(void *ctx, const struct kj_train_step *s)
{
    struct view *v = ctx;
    bool first = v->first < 0;
    if (first) {
        v->first = s->step - 1;
        v->start_tokens = v->window_tokens = s->tokens - v->tokens_step;
        v->window_t = s->seconds - (double)v->tokens_step / s->tokens_per_s;
    }
    if (v->quiet || (!first && s->seconds - v->shown < INTERVAL && s->step != s->steps))
        return;
    char eta[32];
    double rate = (double)(s->tokens - v->window_tokens) / (s->seconds - v->window_t);
    clock_text((double)(s->steps - s->step) * (double)v->tokens_step / rate, eta,
               sizeof eta);
    char kl[32] = "";
    if (v->teacher)
        snprintf(kl, sizeof kl, "  KL %.4f", s->kl);
    fprintf(stderr,
            "step %" PRId64 "/%" PRId64
            "  loss %.4f%s  lr %.2e  |g| %.2f  %.0f tokens/s  "
            "%.0f GFLOP/s  ETA %s\n",
            s->step, s->steps, s->loss, kl, s->lr, s->grad_norm, rate,
            rate * v->flops_token * 1e-9, eta);
    v->shown = v->window_t = s->seconds;
    v->window_tokens = s->tokens;
}

static void on_note(void *ctx, const char *text)
{
    const struct view *v = ctx;
    if (!v->quiet)
        fprintf(stderr, "kijil train: %s\n", text);
}

static bool stop(void *ctx)
{
    (void)ctx;
    return atomic_load(&kj_interrupted);
}

/* The tokenizer: the one that is named must be the shards' own; else look
 * beside the manifest and one folder up. NULL in *out when there is none. */
static int find_tokenizer(const char *given, const char *manifest,
                          const struct kj_shards *s, char **out, struct kj_err *err)
{
    static const char *const places[] = {"%.*s%s", "%.*s../%s", "%.*s../tokenizer.json",
                                         "%.*stokenizer.json"};
    const char *want = kj_shards_tokenizer_hash(s), *slash = strrchr(manifest, '/');
    const char *name = kj_shards_count(s) ? kj_shards_get(s, 0)->tokenizer : "";
    char hash[40], path[4096];
    int64_t bytes;
    int dir = slash ? (int)(slash - manifest) + 1 : 0;
    *out = NULL;
    if (given) {
        int rc = kj_hash_file(given, hash, &bytes, err);
        if (rc == KJ_OK && strcmp(hash, want) != 0)
            rc = kj_err_set(err, KJ_USAGE,
                            "the shards were made with another tokenizer "
                            "than %s",
                            given);
        if (rc == KJ_OK)
            *out = kj_xstrdup(given);
        return rc;
    }
    if (access(manifest, F_OK) == 0 && !slash)
        dir = 0;
    for (size_t i = 0; i < sizeof places / sizeof *places && !*out; i++) {
        if (i < 2)
            snprintf(path, sizeof path, i ? "%.*s../%s" : "%.*s%s", dir, manifest,
                     name);
        else
            snprintf(path, sizeof path, "%.*s%stokenizer.json", dir, manifest,
                     i == 2 ? "../" : "");
        if (kj_hash_file(path, hash, &bytes, NULL) == KJ_OK && strcmp(hash, want) == 0)
            *out = kj_xstrdup(path);
    }
    return KJ_OK;
}

/* What an order's parts had of this run, up to where it is: beside the metrics. */
static int tell_parts(const struct kj_data *d, const struct kj_run *r, const char *dir,
                      const struct kj_train_result *res, bool quiet, struct kj_err *err)
{
    size_t n = d->order ? kj_order_parts(d->order) : 0;
    uint64_t rows = (uint64_t)res->last.step * (uint64_t)r->data.batch, all = 0;
    uint64_t *tokens = kj_xcalloc(n + 1, sizeof *tokens);
    struct kj_buf b;
    kj_buf_init(&b, (size_t)1 << 28);
    int rc = n ? kj_data_seen(d, (uint64_t)r->seed, r->data.shuffle, rows,
                              (size_t)r->data.seq_len, tokens, err)
               : KJ_OK;
    for (size_t i = 0; i < n; i++)
        all += tokens[i];
    kj_buf_printf(&b, "{\"step\": %" PRId64 ", \"tokens\": %" PRIu64 ", \"parts\": [",
                  res->last.step, all);
    for (size_t i = 0; i < n && rc == KJ_OK; i++) {
        const char *name = kj_order_part(d->order, i)->name;
        kj_buf_addz(&b, i ? ",\n  {\"name\": " : "\n  {\"name\": ");
        kj_json_put_str(&b, name, strlen(name));
        kj_buf_printf(&b, ", \"tokens\": %" PRIu64 "}", tokens[i]);
        if (!quiet)
            fprintf(stderr, "  %-22s %10.3f M tokens, %6.2f %%\n", name,
                    (double)tokens[i] * 1e-6,
                    all ? 100 * (double)tokens[i] / (double)all : 0);
    }
    kj_buf_addz(&b, "\n]}\n");
    if (n && rc == KJ_OK) {
        char path[4200];
        snprintf(path, sizeof path, "%s/parts.json", dir);
        rc = kj_output_file(path, b.p, b.n, err);
    }
    kj_buf_release(&b);
    free(tokens);
    return rc;
}

static int load(struct kj_run *r, const char *file, const struct options *o,
                struct kj_err *err)
{
    int rc = kj_run_load(r, file, err);
    for (size_t i = 0; i < o->set.n && rc == KJ_OK; i++)
        rc = kj_model_set(r, o->set.v[i], err);
    if (rc == KJ_OK && o->steps)
        r->schedule.steps = o->steps;
    if (rc == KJ_OK && o->data)
        r->data.manifest = o->data;
    if (rc == KJ_OK && o->tokenizer)
        r->data.tokenizer = o->tokenizer;
    if (rc == KJ_OK && !r->data.manifest)
        rc = kj_err_set(err, KJ_USAGE,
                        "no shards are named; give --data manifest.jsonl");
    return rc;
}

static void print_plan(const struct kj_run *r)
{
    struct kj_plan p;
    struct kj_buf b;
    kj_buf_init(&b, 1 << 20);
    kj_run_dump(r, false, &b);
    kj_plan_make(r, &p);
    kj_plan_teacher(r, &p);
    printf("%.*s# %.3f M parameters, %.1f M tokens, %.1f MB of memory\n", (int)b.n, b.p,
           (double)p.params * 1e-6, p.tokens * 1e-6, (double)p.bytes * 1e-6);
    kj_buf_release(&b);
}

static int summary(const struct kj_cmd *cmd, const struct options *o, const char *dir,
                   const struct kj_train_result *res, double wall)
{
    static const char *const how[] = {"", "done", "stopped at the time limit",
                                      "interrupted"};
    char t[32];
    clock_text(wall, t, sizeof t);
    if (!o->quiet) {
        fprintf(stderr,
                "kijil " KJ_VERSION " %s: %s at step %" PRId64 "/%" PRId64
                ", %.2f M tokens, %s here",
                cmd->name, how[res->end], res->last.step, res->last.steps,
                (double)res->last.tokens * 1e-6, t);
        if (res->ran > 1)
            fprintf(stderr, ", loss %.4f to %.4f", res->first_loss, res->last_loss);
        fprintf(stderr, "\n");
        if (res->end != KJ_TRAIN_STOPPED)
            fprintf(stderr, "model: %s/model  metrics: %s/metrics.jsonl\n", dir, dir);
        else
            fprintf(stderr, "the same command goes on from here\n");
    }
    return res->end == KJ_TRAIN_STOPPED ? 130 : 0;
}

static double seconds(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + 1e-9 * (double)ts.tv_nsec;
}

static int train(const struct kj_cmd *cmd, struct kj_run *r, const struct options *o,
                 const struct kj_data *d, unsigned threads, struct kj_err *err)
{
    struct kj_train_result res;
    struct kj_backend *b = NULL;
    char *tokenizer = NULL, hash[40], dir[4096], what[256];
    double limit = 0, start = seconds();
    struct kj_plan p;
    int status = 0;
    int rc = kj_run_resolve(r, kj_shards_vocab_size(d->first), err);
    if (rc == KJ_OK && o->time_limit)
        rc = kj_model_seconds(o->time_limit, &limit, err);
    if (rc == KJ_OK)
        rc = find_tokenizer(r->data.tokenizer, d->manifest, d->first, &tokenizer, err);
    if (rc == KJ_OK && o->dry_run) {
        print_plan(r);
        free(tokenizer);
        return 0;
    }
    if (rc == KJ_OK)
        rc = kj_backend_open(&b, o->device, threads, err);
    if (rc == KJ_OK) {
        kj_plan_make(r, &p);
        kj_plan_teacher(r, &p);
        kj_data_hash(d, hash);
        snprintf(dir, sizeof dir, "%s%s", o->output ? "" : "out/",
                 o->output ? o->output : r->name);
        struct view v = {.quiet = o->quiet,
                         .teacher = r->distil.teacher != NULL,
                         .flops_token = p.flops_token,
                         .first = -1,
                         .tokens_step = p.tokens_step};
        b->ops->describe(b, what, sizeof what);
        if (!o->quiet)
            fprintf(stderr,
                    "kijil train: %.2f M parameters, %.2f M tokens in the %s, "
                    "%.0f MB; %s\n",
                    (double)p.params * 1e-6, (double)d->tokens * 1e-6,
                    d->order ? "order" : "shards", (double)p.bytes * 1e-6, what);
        if (!tokenizer && !o->quiet)
            fprintf(stderr,
                    "kijil train: no tokenizer.json of the shards was found; the "
                    "model's folder will have none (see --tokenizer)\n");
        struct kj_train t = {.run = r,
                             .dir = dir,
                             .docs = kj_data_docs(d),
                             .data_hash = hash,
                             .tokenizer = tokenizer,
                             .time_limit = limit,
                             .force = o->force,
                             .ctx = &v,
                             .on_step = on_step,
                             .on_note = on_note,
                             .stop = stop};
        rc = kj_train(&t, b, &res, err);
        if (rc == KJ_OK)
            status = summary(cmd, o, dir, &res, seconds() - start);
        if (rc == KJ_OK)
            rc = tell_parts(d, r, dir, &res, o->quiet, err);
    }
    kj_backend_close(b);
    free(tokenizer);
    return rc ? kj_cmd_fail(cmd, err) : status;
}

static int run(const struct kj_cmd *cmd, int argc, char **argv)
{
    struct options o = {0};
    struct kj_common common;
    struct kj_strs pos = {0};
    struct kj_err err = KJ_ERR_INIT;
    struct kj_run r = {0};
    struct kj_data d = {0};
    void *const cfgs[] = {&o};
    int status = kj_cmd_parse(cmd, argc, argv, cfgs, &common, &pos);
    if (status >= 0)
        return status;
    kj_cmd_signals();
    int rc = pos.n == 1 ? KJ_OK : kj_err_set(&err, KJ_USAGE, "one run file is needed");
    if (rc == KJ_OK)
        rc = load(&r, pos.v[0], &o, &err);
    if (rc == KJ_OK)
        rc = kj_data_open(&d, r.data.manifest, &err);
    if (rc)
        status = kj_cmd_fail(cmd, &err);
    else
        status =
            train(cmd, &r, &o, &d, (unsigned)(o.jobs ? o.jobs : common.jobs), &err);
    kj_data_close(&d);
    kj_run_release(&r);
    kj_strs_release(&pos);
    kj_opt_release(train_opts, &o);
    return status;
}

const struct kj_cmd kj_cmd_train = {
    .name = "train",
    .synopsis = "RUN.yaml [--data manifest.jsonl] [-o DIR]",
    .about = "train a Llama on shards; goes on by itself after an interruption",
    .details =
        "Documents are packed into rows, attention is cut between them. DIR gets "
        "metrics.jsonl (one line per step), checkpoints/, and at the end model/, a "
        "Hugging Face folder.\n\n"
        "The same command continues a run that was stopped, killed, or ended by its "
        "time limit; the weights are then the same bytes as without the stop. They do "
        "not depend on -j either.\n\n"
        "kijil plan --keys lists the keys of run files.",
    .examples = "kijil train recipes/demo-train.yaml --data out/shards/manifest.jsonl "
                "-o out/m  "
                "# a small model\n"
                "kijil train run.yaml --time-limit 2m --set optim.lr=3e-4  # two "
                "minutes of it\n",
    .opts = (const struct kj_opt *const[]){train_opts, NULL},
    .run = run,
};
