/* cmd_train.c - kijil train: pretraining from a run file and shards. */
#include "commands/commands.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/output.h"
#include "commands/data.h"
#include "commands/model.h"
#include "commands/stages.h"
#include "commands/train_watch.h"
#include "nn/comm.h"
#include "trainer/memory.h"
#include "trainer/plan.h"
#include "trainer/train.h"

struct options {
    const char *data, *output, *device, *tokenizer, *time_limit, *ledger;
    int64_t steps, jobs;
    struct kj_strs set;
    bool force, change, no_save, dry_run, quiet;
};

#define F(x) offsetof(struct options, x)
static const struct kj_opt train_opts[] = {
    {"data", 0, KJ_OPT_STR, F(data), "MANIFEST",
     "manifest.jsonl of shards, an order (kijil mix), or the folder of one, for all "
     "stages that name no data; default: data.manifest",
     0, 0, 0},
    {"output", 'o', KJ_OPT_STR, F(output), "DIR",
     "folder of the run; default: out/NAME by the run's name", 0, 0, 0},
    {"tokenizer", 't', KJ_OPT_STR, F(tokenizer), "FILE",
     "tokenizer.json to put beside the model; default: found near the shards", 0, 0, 0},
    {"device", 0, KJ_OPT_STR, F(device), "NAME", "compute back end: auto, cpu, cuda",
     "auto", 0, 0},
    {"steps", 0, KJ_OPT_INT, F(steps), "N", "steps in all, instead of the run file's",
     "0", 0, 0x1p40},
    {"time_limit", 0, KJ_OPT_STR, F(time_limit), "TIME",
     "stop cleanly, with a checkpoint and a model, before 90s, 2m, 1h30m", 0, 0, 0},
    {"set", 0, KJ_OPT_LIST, F(set), "KEY=VALUE",
     "override a key of the run file: optim.lr=3e-4, stages.NAME.data=PATH", 0, 0, 0},
    {"jobs", 'j', KJ_OPT_INT, F(jobs), "N",
     "threads; 0: as many as processors are allowed", "0", 0, 1024},
    {"ledger", 0, KJ_OPT_STR, F(ledger), "FILE",
     "put all metrics into this ledger, too; default: run.db in DIR; none: nowhere", 0,
     0, 0},
    {"force", 0, KJ_OPT_FLAG, F(force), 0, "start over where a run exists already", 0,
     0, 0},
    {"change", 0, KJ_OPT_FLAG, F(change), 0,
     "go on with a run file or data other than those before; model, optim.kind and "
     "optim.states stay",
     0, 0, 0},
    {"no_save", 0, KJ_OPT_FLAG, F(no_save), 0,
     "write metrics only, neither checkpoints nor a model: to measure speed", 0, 0, 0},
    {"dry_run", 0, KJ_OPT_FLAG, F(dry_run), 0,
     "print the resolved run file and what it will need, and stop", 0, 0, 0},
    {"quiet", 'q', KJ_OPT_FLAG, F(quiet), 0, "no lines on stderr but errors", 0, 0, 0},
    {0},
};
#undef F

static void clock_text(double s, char *buf, size_t n)
{
    int64_t t = (int64_t)(s + 0.5);
    if (t >= 3600)
        snprintf(buf, n, "%" PRId64 ":%02d:%02d", t / 3600, (int)(t / 60 % 60),
                 (int)(t % 60));
    else
        snprintf(buf, n, "%d:%02d", (int)(t / 60), (int)(t % 60));
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

/* One table of parts: JSON, and lines on stderr. */
static void put_parts(struct kj_buf *b, const struct kj_feed *f, const uint64_t *seen,
                      bool tell)
{
    uint64_t all = 0;
    bool first = true;
    for (size_t i = 0; i < f->n_groups; i++)
        all += seen[i];
    kj_buf_printf(b, "\"tokens\": %" PRIu64 ", \"parts\": [", all);
    for (size_t i = 0; i < f->n_groups; i++) {
        kj_buf_addz(b, first ? "\n  {\"name\": " : ",\n  {\"name\": ");
        kj_json_put_str(b, f->groups[i], strlen(f->groups[i]));
        kj_buf_printf(b, ", \"tokens\": %" PRIu64 "}", seen[i]);
        first = false;
        if (tell)
            fprintf(stderr, "  %-22s %10.3f M tokens, %6.2f %%\n", f->groups[i],
                    (double)seen[i] * 1e-6,
                    all ? 100 * (double)seen[i] / (double)all : 0);
    }
    kj_buf_addz(b, "\n]");
}

/* What each stage and part had of this run, up to where it is: beside the
 * metrics. Of one set of shards there is nothing to tell. */
static int tell_parts(const struct kj_feed *f, const char *dir, int64_t step,
                      bool quiet, struct kj_err *err)
{
    const struct kj_run *r = f->run;
    size_t n = f->n_groups;
    uint64_t *all = kj_xcalloc(n + 1, sizeof *all);
    char path[4200];
    struct kj_buf b;
    if (kj_feed_cells(f) == 1 && !f->loaders[0].docs.group) {
        free(all);
        return KJ_OK;
    }
    kj_buf_init(&b, (size_t)1 << 28);
    for (size_t i = 0; i < kj_feed_cells(f); i++)
        all[i % n] += f->seen[i];
    kj_buf_printf(&b, "{\"step\": %" PRId64 ", ", step);
    put_parts(&b, f, all, !quiet && !r->staged);
    for (size_t i = 0; r->staged && i < r->n_stages; i++) {
        kj_buf_printf(&b, "%s{\"name\": \"%s\", ", i ? ",\n" : ", \"stages\": [\n",
                      r->stages[i].name);
        if (!quiet)
            fprintf(stderr, "stage %s:\n", r->stages[i].name);
        put_parts(&b, f, f->seen + i * n, !quiet);
        kj_buf_addz(&b, "}");
    }
    kj_buf_addz(&b, r->staged ? "]}\n" : "}\n");
    snprintf(path, sizeof path, "%s/parts.json", dir);
    int rc = kj_output_file(path, b.p, b.n, err);
    kj_buf_release(&b);
    free(all);
    return rc;
}

static int load(struct kj_run *r, const char *file, const struct options *o,
                struct kj_err *err)
{
    int rc = kj_run_load(r, file, err);
    if (rc == KJ_OK)
        rc = kj_model_set(r, &o->set, err);
    if (rc == KJ_OK && o->steps)
        r->schedule.steps = o->steps;
    if (rc == KJ_OK && o->data)
        r->data.manifest = o->data;
    if (rc == KJ_OK && o->tokenizer)
        r->data.tokenizer = o->tokenizer;
    return rc;
}

static double peak_mb(void)
{
    struct rusage ru;
    getrusage(RUSAGE_SELF, &ru);
    return (double)ru.ru_maxrss * 1024e-6;
}

/* Losses on what is trained on, too, tell little: say so. */
static void tell_trained(const struct kj_datas *d, const struct kj_datas *held)
{
    char a[40], b[40];
    for (size_t i = 0; i < held->n; i++)
        for (size_t k = 0; k < d->n; k++) {
            kj_data_hash(&held->v[i], a);
            kj_data_hash(&d->v[k], b);
            if (strcmp(a, b) == 0)
                fprintf(stderr, "kijil train: validation.data %s is trained on, too\n",
                        held->docs[i].name);
        }
}

/* So far this process has mapped its program and opened the data: what it takes now
 * is what it will take besides. */
static int print_plan(const struct kj_run *r, const struct kj_datas *d,
                      unsigned threads, struct kj_err *err)
{
    struct kj_plan p;
    struct kj_machine m;
    struct kj_memory_plan mem;
    struct kj_backend *cpu;
    int rc = kj_backend_open(&cpu, "cpu", threads, err);
    if (rc)
        return rc;
    kj_machine_open(&m, cpu, 1);
    kj_backend_close(cpu);
    kj_memory_plan(r, &m, &mem);
    struct kj_buf b;
    kj_buf_init(&b, 1 << 20);
    kj_run_dump(r, false, &b);
    kj_plan_make(r, &p);
    kj_plan_teacher(r, &p);
    fwrite(b.p, 1, b.n, stdout);
    if (r->staged)
        kj_stages_print(r, d, "# ");
    printf("# %.3f M parameters, %.1f M tokens, %.1f MB of tensors, %.0f MB of memory "
           "on a CPU\n",
           (double)p.params * 1e-6, p.tokens * 1e-6,
           (double)(mem.all - mem.bytes[KJ_MEM_WORK]) * 1e-6,
           (double)mem.all * 1e-6 + peak_mb());
    kj_buf_release(&b);
    return KJ_OK;
}

static int summary(const struct kj_cmd *cmd, const struct options *o, const char *dir,
                   const struct kj_train_result *res, const struct kj_backend *b,
                   double wall)
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
        fprintf(stderr, ", %.0f MB peak memory", peak_mb());
        if (strcmp(b->ops->name, "cpu") != 0)
            fprintf(stderr, ", %.1f MB of the GPU's",
                    (double)(b->peak + b->work) * 1e-6);
        fputs("\n", stderr);
        if (o->no_save)
            fprintf(stderr, "metrics: %s/metrics.jsonl\n", dir);
        else if (res->end != KJ_TRAIN_STOPPED)
            fprintf(stderr, "model: %s/model  metrics: %s/metrics.jsonl\n", dir, dir);
        else
            fprintf(stderr, "the same command goes on from here\n");
    }
    return res->end == KJ_TRAIN_STOPPED ? 130 : 0;
}

/* Ranks may be started minutes apart. */
#define MEET_SECONDS 300

/* Meet the other ranks of the same run file and data, if there are any: first of all,
 * so that they hear of whatever stops this one. */
static int meet(struct kj_comm **comm, const struct kj_run *r,
                const struct kj_comm_place *place, const char *data_hash,
                struct kj_err *err)
{
    struct kj_buf id;
    if (place->size == 1)
        return KJ_OK;
    kj_buf_init(&id, 1 << 20);
    kj_run_dump(r, true, &id);
    kj_buf_addz(&id, data_hash);
    kj_buf_printf(&id, "zero %" PRId64, r->optim.zero); /* may change between starts */
    int rc = kj_comm_open(comm, place, kj_hash64(id.p, id.n, 0), MEET_SECONDS, err);
    kj_buf_release(&id);
    return rc;
}

/* Memory was there when it was counted. What could be had is what there is. */
static int ran_out(const struct kj_run *r, const struct kj_machine *counted,
                   const struct kj_backend *b, struct kj_err *err)
{
    struct kj_machine m = *counted;
    struct kj_err why = *err;
    char advice[512];
    m.left = b->peak + b->work;
    kj_memory_advice(r, &m, advice, sizeof advice);
    kj_err_reset(err);
    return kj_err_set(err, KJ_USAGE, "%.400s; the run %s", why.msg, advice);
}

/* On a thread of the device's: nobody else will ever say or end anything. */
static void stuck(const char *why)
{
    fprintf(stderr,
            "kijil train: %s; start again to go on behind the last checkpoint\n", why);
    _exit(1);
}

/* A run from its sections to its end. */
struct session {
    struct kj_run *r;
    const struct options *o;
    const struct kj_comm_place *place;
    const struct kj_datas *d, *held;
    unsigned threads;
    double limit, start;
    char *tokenizer;
    struct kj_feed feed;
    struct kj_comm *comm;
    struct kj_backend *b;
    struct kj_machine machine;
    char hash[40], dir[4096];
    struct kj_train_watch *watch;
    int status;
};

/* What needs no device. */
static int prepare(struct session *s, struct kj_err *err)
{
    const struct kj_data *first = &s->d->v[0];
    int rc = kj_run_resolve(s->r, kj_shards_vocab_size(first->first), err);
    if (rc == KJ_OK && s->o->time_limit)
        rc = kj_model_seconds(s->o->time_limit, &s->limit, err);
    if (rc == KJ_OK)
        rc = find_tokenizer(s->r->data.tokenizer, first->manifest, first->first,
                            &s->tokenizer, err);
    return rc ? rc : kj_feed_open(&s->feed, s->r, s->d->docs, s->d->n, err);
}

/* The other ranks and the device; how the run fits there. */
static int gather(struct session *s, struct kj_err *err)
{
    kj_datas_hash(s->d, s->hash);
    int rc = meet(&s->comm, s->r, s->place, s->hash, err);
    if (rc == KJ_OK)
        rc = kj_backend_open(&s->b, s->o->device, s->threads, err);
    if (rc)
        return rc;
    s->b->deterministic = s->r->optim.deterministic; /* from the first product on */
    s->b->stuck = stuck;
    rc = s->comm ? kj_backend_join(s->b, s->comm, err) : KJ_OK;
    if (rc)
        return rc;
    kj_machine_open(&s->machine, s->b, s->place->size);
    return kj_memory_settle(s->r, &s->machine, err);
}

static void tell_start(const struct session *s, const struct kj_plan *p)
{
    struct kj_memory_plan mem;
    char what[256], again[64];
    kj_memory_plan(s->r, &s->machine, &mem);
    s->b->ops->describe(s->b, what, sizeof what);
    fprintf(stderr,
            "kijil train: %.2f M parameters, %.2f M tokens in the %s, "
            "%.0f MB; %s%s%s\n",
            (double)p->params * 1e-6, (double)s->d->tokens * 1e-6,
            s->d->n > 1        ? "sets"
            : s->d->v[0].order ? "order"
                               : "shards",
            (double)mem.all * 1e-6, what, *s->b->note ? "; " : "", s->b->note);
    if (mem.recompute != KJ_RECOMPUTE_NONE)
        fprintf(stderr, "kijil train: layers make again: %s\n",
                kj_memory_recompute(&mem, s->r->model.layers, again));
    tell_trained(s->d, s->held);
    if (s->comm)
        fprintf(stderr, "kijil train: %d ranks\n", s->place->size);
    if (!s->tokenizer)
        fprintf(stderr, "kijil train: no tokenizer.json of the shards was found; the "
                        "model's folder will have none (see --tokenizer)\n");
}

static int watch(struct session *s, struct kj_err *err)
{
    struct kj_plan p;
    kj_plan_make(s->r, &p);
    kj_plan_teacher(s->r, &p);
    snprintf(s->dir, sizeof s->dir, "%s%s", s->o->output ? "" : "out/",
             s->o->output ? s->o->output : s->r->name);
    if (!s->o->quiet)
        tell_start(s, &p);
    return kj_train_watch_new(&s->watch,
                              &(struct kj_watching){.run = s->r,
                                                    .dir = s->dir,
                                                    .ledger = s->o->ledger,
                                                    .tokenizer = s->tokenizer,
                                                    .end = s->d->docs[0].end,
                                                    .b = s->b,
                                                    .flops_token = p.flops_token,
                                                    .tokens_step = p.tokens_step,
                                                    .quiet = s->o->quiet,
                                                    .lines_only = s->place->rank != 0},
                              err);
}

static int steps(const struct kj_cmd *cmd, struct session *s, struct kj_err *err)
{
    struct kj_train_result res;
    struct kj_train t = {.run = s->r,
                         .dir = s->dir,
                         .comm = s->comm,
                         .feed = &s->feed,
                         .held = s->held->docs,
                         .n_held = s->held->n,
                         .data_hash = s->hash,
                         .tokenizer = s->tokenizer,
                         .time_limit = s->limit,
                         .force = s->o->force,
                         .change = s->o->change,
                         .no_save = s->o->no_save,
                         .ctx = s->watch,
                         .on_step = kj_train_watch_step,
                         .on_note = kj_train_watch_note,
                         .stop = stop};
    s->b->peak = s->b->bytes; /* the peak of speed was measured before */
    int rc = kj_train(&t, s->b, &res, err);
    if (rc && s->b->no_memory)
        rc = ran_out(s->r, &s->machine, s->b, err);
    kj_train_watch_end(s->watch, rc == KJ_OK);
    if (rc == KJ_OK)
        s->status = summary(cmd, s->o, s->dir, &res, s->b, kj_now() - s->start);
    if (rc == KJ_OK && s->place->rank == 0)
        rc = tell_parts(&s->feed, s->dir, res.last.step, s->o->quiet, err);
    return rc;
}

static int train(const struct kj_cmd *cmd, struct session *s, struct kj_err *err)
{
    s->start = kj_now();
    int rc = prepare(s, err);
    if (rc == KJ_OK && s->o->dry_run) {
        rc = print_plan(s->r, s->d, s->threads, err);
    } else if (rc == KJ_OK) {
        rc = gather(s, err);
        if (rc == KJ_OK)
            rc = watch(s, err);
        if (rc == KJ_OK)
            rc = steps(cmd, s, err);
    }
    kj_feed_close(&s->feed);
    if (rc && s->comm) {
        char why[1024];
        kj_comm_abort(s->comm, kj_err_text(err, why, sizeof why));
    }
    kj_backend_close(s->b);
    kj_comm_close(s->comm);
    free(s->tokenizer);
    return rc ? kj_cmd_fail(cmd, err) : s->status;
}

static int run(const struct kj_cmd *cmd, int argc, char **argv)
{
    struct options o = {0};
    struct kj_common common;
    struct kj_strs pos = {0};
    struct kj_err err = KJ_ERR_INIT;
    struct kj_run r = {0};
    struct kj_datas d = {0}, held = {0};
    void *const cfgs[] = {&o};
    int status = kj_cmd_parse(cmd, argc, argv, cfgs, &common, &pos);
    if (status >= 0)
        return status;
    kj_cmd_signals();
    struct kj_comm_place place;
    int rc = pos.n == 1 ? KJ_OK : kj_err_set(&err, KJ_USAGE, "one run file is needed");
    if (rc == KJ_OK)
        rc = kj_comm_place(&place, &err);
    if (rc == KJ_OK)
        rc = load(&r, pos.v[0], &o, &err);
    if (rc == KJ_OK)
        rc = kj_datas_open(&d, &r, false, &err);
    if (rc == KJ_OK)
        rc = kj_datas_held(&held, &r, &d, &err);
    if (rc == KJ_OK && place.rank) /* the first speaks for all */
        o.quiet = true;
    if (rc)
        status = kj_cmd_fail(cmd, &err);
    else
        status = train(
            cmd,
            &(struct session){.r = &r,
                              .o = &o,
                              .place = &place,
                              .d = &d,
                              .held = &held,
                              .threads = (unsigned)(o.jobs ? o.jobs : common.jobs)},
            &err);
    kj_datas_close(&held);
    kj_datas_close(&d);
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
        "time limit; the weights are then the same bytes as without the stop (on a GPU "
        "with optim.deterministic: true, which costs some speed). They do "
        "not depend on -j either.\n\n"
        "Several processes train one model together when they are started by torchrun, "
        "srun or mpirun (or with RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT set): "
        "each "
        "takes its share of every step's passes and of the optimizer. DIR must be the "
        "same folder for all. Checkpoints do not depend on how many there were.\n\n"
        "A run file with stages: changes data and learning rate on the way; kijil plan "
        "--keys lists all keys of run files.",
    .examples = "kijil train recipes/demo-train.yaml --data out/shards/manifest.jsonl "
                "-o out/m  "
                "# a small model\n"
                "kijil train run.yaml --time-limit 2m --set optim.lr=3e-4  # two "
                "minutes of it\n",
    .opts = (const struct kj_opt *const[]){train_opts, NULL},
    .run = run,
};
