/* run_steps.c - the order of the steps of `kijil run`, and the two that are no
 * stages: training a tokenizer, and writing shards. */
#include "commands/run.h"

#include "base/hash.h"
#include "base/jsonl.h"
#include "extract/stage.h"
#include "tokenize/shards.h"
#include "tokenize/train.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- corpus steps ---- */

static void say_step(struct kj_run *r, const char *name)
{
    r->phase++;
    if (!r->c.quiet)
        fprintf(stderr, "[%u/%u] %s\n", r->phase, r->phases, name);
}

static int run_tokenizer(struct kj_run *r, struct kj_recipe_step *s, struct kj_err *err)
{
    say_step(r, s->name);
    char *path = kj_run_path(r->out, "tokenizer.json");
    struct kj_tok_train *c = s->cfg;
    c->memory = r->c.memory;
    c->threads = (unsigned)r->c.jobs;
    c->shards = 1;
    c->seed = (uint64_t)r->c.seed;
    c->stop = &kj_interrupted;
    struct kj_source src;
    int rc = KJ_OK;
    /* The file appears whole or not at all, so one that is there is done. */
    if (access(path, F_OK) != 0) {
        rc = kj_run_parts_source(&r->docs, &src, err);
        if (rc == KJ_OK)
            rc = kj_tok_train_file(c, &src, path, NULL, err);
    }
    if (rc < 0 && atomic_load(&kj_interrupted))
        rc = KJ_EOF;
    if (rc == KJ_OK)
        rc = kj_ledger_phase(r->ledger, s->name, false, err);
    free(path);
    return rc;
}

/* ---- shards ---- */

/* The phase is one part, whose row the ledger replaces as the work goes on: until
 * the manifest is there it names the writer's state that belongs to the rows. So
 * after a kill the ledger's word holds: what was written behind that state is done
 * again, and what the state lacks has no rows. */
struct shards {
    struct kj_run *r;
    struct kj_flow *flow;
    struct kj_ledger_part part; /* of all so far */
    char state[40];             /* "": none */
};

static int take_row(void *ctx, const struct kj_ledger_part *p)
{
    struct shards *s = ctx;
    s->part = *p;
    s->part.path = NULL;
    if (strlen(p->path) < sizeof s->state)
        memcpy(s->state, p->path, strlen(p->path) + 1);
    return 0;
}

static int put_row(struct shards *s, const char *name, struct kj_err *err)
{
    char *path = kj_run_path(s->r->out, "%s", name);
    int rc = kj_hash_file(path, s->part.hash, &s->part.bytes, err);
    s->part.path = name;
    if (rc == KJ_OK)
        rc = kj_ledger_commit(s->r->ledger, s->flow, &s->part, err);
    free(path);
    return rc;
}

static int saved_state(void *ctx, const struct kj_shard_place *at, struct kj_err *err)
{
    return put_row(ctx, at->name, err);
}

/* Open writer and source, where an earlier process stopped or at the beginning. */
static int open_shards(struct shards *s, struct kj_recipe_step *step,
                       struct kj_shard_restart *restart, struct kj_shard_writer **w,
                       struct kj_err *err)
{
    struct kj_run *r = s->r;
    struct kj_shard_opts *opts = step->more;
    struct kj_shard_place at = {0};
    int rc = kj_ledger_parts(r->ledger, step->name, take_row, s, err);
    opts->memory = r->c.memory;
    opts->restart = restart;
    restart->from = s->state;
    if (rc == KJ_OK) /* a manifest that is there is of a killed run: the ledger
                        had not taken it yet */
        rc = kj_shard_writer_open(w, step->cfg, opts, r->out, "kijil " KJ_VERSION, true,
                                  err);
    opts->restart = NULL;
    if (rc == KJ_OK && !kj_shard_writer_resumed(*w, &at)) {
        s->part = (struct kj_ledger_part){0};
        rc = kj_ledger_forget(r->ledger, step->name, err);
    } else if (rc == KJ_OK && !r->c.quiet) {
        fprintf(stderr, "        goes on behind document %llu\n",
                (unsigned long long)at.next_doc);
    }
    if (rc == KJ_OK)
        rc = kj_ledger_phase(r->ledger, step->name, true, err);
    if (rc == KJ_OK)
        rc = kj_jsonl_source_at(&s->flow->source, (const char *const *)r->docs.path,
                                r->docs.n, at.next, at.next_at, err);
    s->flow->first_doc = at.next_doc;
    return rc;
}

static int run_tokenize(struct kj_run *r, struct kj_recipe_step *s, struct kj_err *err)
{
    struct kj_tokenize *cfg = s->cfg;
    char *own = kj_run_path(r->out, "tokenizer.json");
    say_step(r, s->name);
    if (!cfg->tokenizer)
        cfg->tokenizer = own;
    s->opened = true;
    int rc = s->stage->open ? s->stage->open(cfg, err) : KJ_OK;
    struct kj_shard_writer *w = NULL;
    struct kj_step step = {.stage = s->stage, .cfg = cfg};
    struct kj_progress progress;
    struct kj_watch watches[2] = {kj_ledger_watch(r->ledger)};
    struct kj_flow f = {.steps = &step,
                        .n_steps = 1,
                        .watches = watches,
                        .n_watches = 1,
                        .threads = (unsigned)r->c.jobs,
                        .stop = &kj_interrupted};
    struct shards shards = {.r = r, .flow = &f};
    struct kj_shard_restart restart = {.identity = "run", /* of one configuration */
                                       .every = r->o.part_size,
                                       .saved = saved_state,
                                       .ctx = &shards};
    if (rc == KJ_OK)
        rc = open_shards(&shards, s, &restart, &w, err);
    if (kj_progress_wanted(&r->c))
        watches[f.n_watches++] = kj_progress_watch(&progress, s->name, &r->c);
    if (rc == KJ_OK) {
        f.sink = kj_shard_writer_sink(w);
        rc = kj_flow_run(&f, err);
    }
    if (rc == KJ_OK && atomic_load(&kj_interrupted))
        rc = KJ_EOF;
    if (rc == KJ_OK) {
        rc = kj_shard_writer_commit(w, NULL, err);
        w = NULL;
    }
    if (rc == KJ_OK)
        rc = put_row(&shards, "manifest.jsonl", err);
    if (rc == KJ_OK)
        kj_shard_states_forget(r->out, NULL);
    kj_shard_writer_abort(w);
    if (f.source.close)
        f.source.close(f.source.self);
    kj_flow_release(&f);
    if (cfg->tokenizer == own)
        cfg->tokenizer = NULL;
    free(own);
    return rc;
}

/* ---- the whole ---- */

static bool surveys(const struct kj_recipe_step *s)
{
    return s->stage && kj_stage_surveys(s->stage, s->cfg);
}

/* Steps [first, end of the phase): up to the next survey or corpus step. */
size_t kj_run_phase_end(const struct kj_run *r, size_t first)
{
    size_t k = first + 1;
    while (k < r->recipe.n && r->recipe.steps[k].stage &&
           !surveys(&r->recipe.steps[k]) &&
           r->recipe.steps[k].stage != &kj_stage_tokenize)
        k++;
    return k;
}

static bool is_phase(const struct kj_recipe_step *s)
{
    return s->stage && s->stage != &kj_stage_tokenize;
}

/* What the recipe must look like beyond its keys. */
int kj_run_check(const struct kj_run *r, struct kj_err *err)
{
    bool documents = true;
    for (size_t i = 0; i < r->recipe.n; i++) {
        const struct kj_recipe_step *s = &r->recipe.steps[i];
        if (i > 0 && s->stage == &kj_stage_extract)
            return kj_ynode_err(s->node, err, "extract can only be the first step");
        if (i == 0 && s->stage != &kj_stage_extract)
            return kj_ynode_err(s->node, err, "the first step is extract");
        if (is_phase(s) && !documents)
            return kj_ynode_err(s->node, err, "%s comes before tokenizer and tokenize",
                                s->name);
        documents &= is_phase(s);
        if (!s->stage && r->c.shard_n > 1)
            return kj_ynode_err(s->node, err,
                                "a tokenizer cannot be trained on one shard: train it "
                                "once, and give tokenize its path");
    }
    if (r->c.shard_n > 1 && r->c.limit)
        return kj_err_set(err, KJ_USAGE, "--shard and --limit exclude each other here");
    return KJ_OK;
}

int kj_run_steps(struct kj_run *r, struct kj_err *err)
{
    int rc = KJ_OK;
    /* A survey must see every document, so only the last phase that has one
     * (or the first of all) may leave the other shards out. */
    for (size_t i = 0; i < r->recipe.n; i = kj_run_phase_end(r, i)) {
        r->phases++;
        if (surveys(&r->recipe.steps[i]))
            r->shard_step = i;
    }
    for (size_t i = 0; i < r->recipe.n && rc == KJ_OK;) {
        struct kj_recipe_step *s = &r->recipe.steps[i];
        size_t end = kj_run_phase_end(r, i);
        if (is_phase(s))
            rc = kj_run_phase(r, i, end, err);
        else
            rc = s->stage ? run_tokenize(r, s, err) : run_tokenizer(r, s, err);
        i = end;
    }
    return rc;
}
