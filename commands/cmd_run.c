/* cmd_run.c - `kijil run`: a recipe from archives to shards, in one process,
 * that can be killed anywhere and goes on to the same bytes.
 *
 * The steps are cut into phases. A phase reads documents, passes them through
 * one or more stages, and writes them as numbered parts; it ends before a
 * stage that must survey the whole corpus first (dedup, classify with
 * --keep-top), and before the corpus steps tokenizer and tokenize.
 *
 * A part of the first phase is a stretch of archive that starts and ends at a
 * gzip member; a part of a later phase is what became of one part of the phase
 * before. A part file gets its final name first, then one transaction of the
 * ledger takes its row and the rows of all of its documents. So after a kill
 * the ledger says which parts are done, and the next one starts where the last
 * one ended. Batches start afresh with each part, so their bytes are the same
 * as if nothing had happened.
 */
#include "commands/commands.h"

#include "base/hash.h"
#include "base/json.h"
#include "base/jsonl.h"
#include "base/mem.h"
#include "base/output.h"
#include "commands/recipe.h"
#include "extract/archive.h"
#include "extract/stage.h"
#include "manifests/ledger.h"
#include "manifests/report.h"
#include "tokenize/shards.h"
#include "tokenize/train.h"

#include <fcntl.h>
#include <glob.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

struct run_opts {
    struct kj_strs input;
    int64_t part_size;
};

static const struct kj_opt run_opts[] = {
    {"input", 'i', KJ_OPT_LIST, offsetof(struct run_opts, input), "GLOB",
     "input files; quote the pattern, it is expanded and sorted here", 0, 0, 0},
    {"part_size", 0, KJ_OPT_SIZE, offsetof(struct run_opts, part_size), "SIZE",
     "input that makes one part, the unit of restart", "256M", 1, 0x1p50},
    {0},
};

/* Documents as a phase left them. */
struct parts {
    char **path;
    uint64_t *docs;
    size_t n;
};

struct run {
    const struct kj_cmd *cmd;
    struct kj_common c;
    struct run_opts o;
    struct kj_recipe recipe;
    struct kj_strs files; /* expanded inputs, owned words */
    struct kj_ledger *ledger;
    const char *out;
    struct parts docs; /* what the phase before wrote */
    unsigned phase, phases;
    size_t shard_step; /* the phase that starts here emits only the shard */
    struct kj_archive_counts records;
    uint64_t damaged;
};

/* ---- small things ---- */

static char *path_in(const char *dir, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static char *path_in(const char *dir, const char *fmt, ...)
{
    struct kj_buf b;
    kj_buf_init(&b, 1 << 16);
    kj_buf_printf(&b, "%s/", dir);
    va_list ap;
    va_start(ap, fmt);
    kj_buf_vprintf(&b, fmt, ap);
    va_end(ap);
    char *s = kj_xstrndup(b.p, b.n);
    kj_buf_release(&b);
    return s;
}

static void parts_add(struct parts *p, char *path, uint64_t docs)
{
    p->path = kj_xrealloc(p->path, (p->n + 1) * sizeof *p->path);
    p->docs = kj_xrealloc(p->docs, (p->n + 1) * sizeof *p->docs);
    p->path[p->n] = path;
    p->docs[p->n++] = docs;
}

static void parts_release(struct parts *p)
{
    for (size_t i = 0; i < p->n; i++)
        free(p->path[i]);
    free(p->path);
    free(p->docs);
    memset(p, 0, sizeof *p);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int expand_inputs(struct run *r, const struct kj_strs *pos, struct kj_err *err)
{
    for (size_t k = 0; k < r->o.input.n + pos->n; k++) {
        const char *w = k < r->o.input.n ? r->o.input.v[k] : pos->v[k - r->o.input.n];
        glob_t g;
        int rc = glob(w, GLOB_ERR, NULL, &g);
        for (size_t i = 0; rc == 0 && i < g.gl_pathc; i++)
            kj_strs_add(&r->files, kj_xstrdup(g.gl_pathv[i]));
        if (rc == 0)
            globfree(&g);
        else
            return kj_err_set(err, KJ_USAGE, "no file matches '%s'", w);
    }
    if (!r->files.n)
        return kj_err_set(err, KJ_USAGE, "no input: name the archives with -i 'GLOB'");
    qsort(r->files.v, r->files.n, sizeof *r->files.v, by_name);
    return KJ_OK;
}

/* ---- one part ---- */

/* A source that ends at the first place behind part_size bytes where reading
 * can start again; it stays open for the next part. */
struct portion {
    struct kj_source inner;
    int64_t size;
    uint64_t taken;
    struct kj_pos next;
    bool full, ended;
};

static int portion_read(void *self, struct kj_batch *b, struct kj_err *err)
{
    struct portion *p = self;
    if (p->full)
        return KJ_EOF;
    int rc = p->inner.read(p->inner.self, b, err);
    if (rc == KJ_EOF)
        p->ended = true;
    if (rc == KJ_OK) {
        p->taken += b->bytes_in;
        p->next = b->next;
        p->full = p->taken >= (uint64_t)p->size && b->next.offset >= 0;
    }
    return rc;
}

static int portion_decode(void *self, struct kj_batch *b, struct kj_err *err)
{
    struct portion *p = self;
    return p->inner.decode ? p->inner.decode(p->inner.self, b, err) : KJ_OK;
}

static double portion_progress(void *self)
{
    struct portion *p = self;
    return p->inner.progress ? p->inner.progress(p->inner.self) : NAN;
}

/* What a phase is made of. */
struct phase {
    char *name, *dir;
    size_t first, last; /* steps[first..last) */
    bool archives;      /* the source is the archives */
    struct portion portion;
    uint64_t first_doc;
};

struct part_io {
    struct kj_output *docs, *rejects;
    char *path, *reject_path;
    struct kj_watch watches[3];
    struct kj_progress progress;
};

static int part_open(struct run *r, struct phase *ph, int64_t no, struct part_io *io,
                     struct kj_err *err)
{
    io->path = path_in(ph->dir, "part-%05lld.jsonl.zst", (long long)no);
    io->reject_path = path_in(ph->dir, "rejects-%05lld.jsonl.zst", (long long)no);
    int rc = kj_output_open(&io->docs, io->path, err);
    if (rc == KJ_OK)
        rc = kj_output_open(&io->rejects, io->reject_path, err);
    io->watches[0] = kj_jsonl_rejects(io->rejects);
    io->watches[1] = kj_ledger_watch(r->ledger);
    if (kj_progress_wanted(&r->c))
        io->watches[2] = kj_progress_watch(&io->progress, ph->name, &r->c);
    return rc;
}

static int part_commit(struct run *r, struct part_io *io, const struct kj_flow *f,
                       struct kj_ledger_part *part, struct kj_err *err)
{
    int rc = kj_output_commit(io->rejects, err);
    io->rejects = NULL;
    if (rc == KJ_OK) {
        rc = kj_output_commit(io->docs, err);
        io->docs = NULL;
    }
    if (rc == KJ_OK)
        rc = kj_hash_file(io->path, part->hash, &part->bytes, err);
    part->path = io->path + strlen(r->out) + 1;
    if (rc == KJ_OK)
        rc = kj_ledger_commit(r->ledger, f, part, err);
    return rc;
}

/* Run one part. start is where its input begins. KJ_OK, KJ_EOF when the run
 * was interrupted (nothing of the part remains), negative. */
static int run_part(struct run *r, struct phase *ph, struct kj_source source,
                    int64_t no, struct kj_pos start, struct kj_pos *end,
                    struct kj_err *err)
{
    struct part_io io = {0};
    size_t n = ph->last - ph->first;
    struct kj_step *steps = kj_xcalloc(n, sizeof *steps);
    for (size_t i = 0; i < n; i++)
        steps[i] = (struct kj_step){.stage = r->recipe.steps[ph->first + i].stage,
                                    .cfg = r->recipe.steps[ph->first + i].cfg};
    int rc = part_open(r, ph, no, &io, err);
    struct kj_flow f = {.source = source,
                        .steps = steps,
                        .n_steps = n,
                        .sink = kj_jsonl_sink(io.docs),
                        .watches = io.watches,
                        .n_watches = io.watches[2].batch ? 3 : 2,
                        .threads = (unsigned)r->c.jobs,
                        .limit = ph->archives ? r->c.limit : 0,
                        .first_doc = ph->first_doc,
                        .stop = &kj_interrupted};
    if (ph->first == r->shard_step) {
        f.shard = r->c.shard_i;
        f.shards = r->c.shard_n;
    }
    if (rc == KJ_OK)
        rc = kj_flow_run(&f, err);
    if (rc == KJ_OK && atomic_load(&kj_interrupted))
        rc = KJ_EOF;
    struct kj_ledger_part part = {.part = no, .start = start};
    if (rc == KJ_OK) {
        if (ph->archives) {
            struct portion *p = &ph->portion;
            bool limit =
                r->c.limit && ph->first_doc + f.docs_in >= (uint64_t)r->c.limit;
            *end =
                p->ended || limit ? (struct kj_pos){(uint32_t)r->files.n, 0} : p->next;
        }
        part.end = *end;
        rc = part_commit(r, &io, &f, &part, err);
    }
    kj_output_abort(io.docs);
    kj_output_abort(io.rejects);
    if (rc == KJ_OK) {
        parts_add(&r->docs, io.path, f.docs_kept);
        io.path = NULL;
        if (ph->archives)
            ph->first_doc += f.docs_in;
    } else {
        kj_ledger_rollback(r->ledger);
    }
    free(io.path);
    free(io.reject_path);
    kj_flow_release(&f);
    free(steps);
    return rc;
}

/* ---- phases of stages ---- */

struct done {
    struct run *r;
    struct phase *ph;
    const struct parts *from;
    int64_t next;
    struct kj_pos end;
};

/* A part that an earlier process finished. */
static int take_done(void *ctx, const struct kj_ledger_part *p)
{
    struct done *d = ctx;
    parts_add(&d->r->docs, path_in(d->r->out, "%s", p->path), p->docs);
    d->next = p->part + 1;
    d->end = p->end;
    return 0;
}

static int archive_parts(struct run *r, struct phase *ph, struct done *d,
                         struct kj_err *err)
{
    struct portion *p = &ph->portion;
    *p = (struct portion){.size = r->o.part_size};
    struct kj_pos at = d->next ? d->end : (struct kj_pos){0, 0};
    if (at.file >= r->files.n)
        return KJ_OK; /* all parts were done */
    int rc = kj_ledger_docs_in(r->ledger, ph->name, &ph->first_doc, err);
    if (rc == KJ_OK)
        rc = kj_archive_source(&p->inner, r->files.v, r->files.n,
                               kj_extract_source(r->recipe.steps[0].cfg), at,
                               &r->records, err);
    if (rc)
        return rc;
    struct kj_source s = {p, portion_read, portion_decode, portion_progress, NULL};
    while (rc == KJ_OK && at.file < r->files.n) {
        p->full = false;
        p->taken = 0;
        struct kj_pos end = at;
        rc = run_part(r, ph, s, d->next++, at, &end, err);
        at = end;
    }
    p->inner.close(p->inner.self);
    return rc;
}

static int jsonl_parts(struct run *r, struct phase *ph, struct done *d,
                       struct kj_err *err)
{
    int rc = KJ_OK;
    for (int64_t i = 0; i < d->next && (size_t)i < d->from->n; i++)
        ph->first_doc += d->from->docs[i];
    for (size_t i = (size_t)d->next; i < d->from->n && rc == KJ_OK; i++) {
        struct kj_source s;
        struct kj_pos at = {(uint32_t)i, 0}, end = {(uint32_t)i + 1, 0};
        const char *name = d->from->path[i];
        rc = kj_jsonl_source(&s, &name, 1, err);
        if (rc)
            break;
        rc = run_part(r, ph, s, (int64_t)i, at, &end, err);
        ph->first_doc += d->from->docs[i];
        s.close(s.self);
    }
    return rc;
}

static int reopen_parts(void *self, struct kj_source *out, struct kj_err *err)
{
    struct parts *p = self;
    return kj_jsonl_source(out, (const char *const *)p->path, p->n, err);
}

static int survey(struct run *r, struct phase *ph, struct parts *from,
                  struct kj_err *err)
{
    struct kj_recipe_step *s = &r->recipe.steps[ph->first];
    if (!s->stage->survey)
        return KJ_OK;
    if (!r->c.quiet)
        fprintf(stderr, "        %s reads the whole corpus\n", s->name);
    struct kj_corpus_inputs in = {reopen_parts, from};
    char *tmp = path_in(ph->dir, "survey");
    int rc = kj_output_mkdirs(tmp, err);
    struct kj_corpus c = {&in, (unsigned)r->c.jobs, r->c.memory, (uint64_t)r->c.seed,
                          tmp, kj_corpus_pass,      0,           &kj_interrupted};
    if (rc == KJ_OK)
        rc = s->stage->survey(s->cfg, &c, err);
    rmdir(tmp);
    free(tmp);
    return rc;
}

static void say_phase(struct run *r, const struct phase *ph)
{
    if (r->c.quiet)
        return;
    fprintf(stderr, "[%u/%u]", r->phase, r->phases);
    for (size_t i = ph->first; i < ph->last; i++)
        fprintf(stderr, " %s", r->recipe.steps[i].name);
    fprintf(stderr, "\n");
}

/* What a killed process was writing. Safe because the folder is locked. */
static void sweep(const char *dir)
{
    char *pattern = path_in(dir, "*.tmp-*");
    glob_t g;
    if (glob(pattern, 0, NULL, &g) == 0) {
        for (size_t i = 0; i < g.gl_pathc; i++)
            unlink(g.gl_pathv[i]);
        globfree(&g);
    }
    free(pattern);
}

static int run_phase(struct run *r, size_t first, size_t last, struct kj_err *err)
{
    struct phase ph = {.first = first, .last = last};
    r->phase++;
    ph.archives = first == 0 && r->recipe.steps[0].stage == &kj_stage_extract;
    struct kj_buf name;
    kj_buf_init(&name, 256);
    kj_buf_printf(&name, "%u-%s", r->phase, r->recipe.steps[first].name);
    ph.name = kj_xstrndup(name.p, name.n);
    kj_buf_release(&name);
    ph.dir = path_in(r->out, "%s", ph.name);
    say_phase(r, &ph);
    struct parts from = r->docs; /* input of this phase, for a source of JSONL */
    memset(&r->docs, 0, sizeof r->docs);
    struct done d = {.r = r, .ph = &ph, .from = &from};
    int rc = kj_output_mkdirs(ph.dir, err);
    sweep(ph.dir);
    if (rc == KJ_OK)
        rc = kj_ledger_phase(r->ledger, ph.name, true, err);
    if (rc == KJ_OK)
        rc = kj_ledger_parts(r->ledger, ph.name, take_done, &d, err);
    bool finished = !ph.archives && (size_t)d.next >= from.n;
    if (rc == KJ_OK && !finished)
        rc = survey(r, &ph, &from, err);
    if (rc == KJ_OK)
        rc =
            ph.archives ? archive_parts(r, &ph, &d, err) : jsonl_parts(r, &ph, &d, err);
    parts_release(&from);
    free(ph.dir);
    free(ph.name);
    return rc;
}

/* ---- corpus steps ---- */

static void say_step(struct run *r, const char *name)
{
    r->phase++;
    if (!r->c.quiet)
        fprintf(stderr, "[%u/%u] %s\n", r->phase, r->phases, name);
}

static int run_tokenizer(struct run *r, struct kj_recipe_step *s, struct kj_err *err)
{
    say_step(r, s->name);
    char *path = path_in(r->out, "tokenizer.json");
    struct kj_tok_train *c = s->cfg;
    c->memory = r->c.memory;
    c->threads = (unsigned)r->c.jobs;
    c->shards = 1;
    c->stop = &kj_interrupted;
    struct kj_source src;
    int rc = KJ_OK;
    /* The file appears whole or not at all, so one that is there is done. */
    if (access(path, F_OK) != 0) {
        rc = reopen_parts(&r->docs, &src, err);
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

/* Shards are made in one go: a kill costs this step, no document before it. */
static int run_tokenize(struct run *r, struct kj_recipe_step *s, struct kj_err *err)
{
    struct kj_tokenize *cfg = s->cfg;
    char *own = path_in(r->out, "tokenizer.json");
    say_step(r, s->name);
    if (!cfg->tokenizer)
        cfg->tokenizer = own;
    s->opened = true;
    int rc = s->stage->open ? s->stage->open(cfg, err) : KJ_OK;
    struct kj_shard_writer *w = NULL;
    struct kj_source src = {0};
    if (rc == KJ_OK)
        rc = kj_ledger_forget(r->ledger, s->name, err);
    if (rc == KJ_OK)
        rc = kj_ledger_phase(r->ledger, s->name, true, err);
    if (rc == KJ_OK) /* a manifest that is there is of a killed run: the ledger
                        had not taken it yet */
        rc = kj_shard_writer_open(&w, cfg, s->more, r->out, "kijil " KJ_VERSION, true,
                                  err);
    if (rc == KJ_OK)
        rc = reopen_parts(&r->docs, &src, err);
    struct kj_step step = {.stage = s->stage, .cfg = cfg};
    struct kj_progress progress;
    struct kj_watch watches[2] = {kj_ledger_watch(r->ledger)};
    struct kj_flow f = {.source = src,
                        .steps = &step,
                        .n_steps = 1,
                        .watches = watches,
                        .n_watches = 1,
                        .threads = (unsigned)r->c.jobs,
                        .stop = &kj_interrupted};
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
    struct kj_ledger_part part = {.part = 0, .path = "manifest.jsonl"};
    if (rc == KJ_OK) {
        char *path = path_in(r->out, "manifest.jsonl");
        rc = kj_hash_file(path, part.hash, &part.bytes, err);
        free(path);
    }
    if (rc == KJ_OK)
        rc = kj_ledger_commit(r->ledger, &f, &part, err);
    kj_shard_writer_abort(w);
    if (src.close)
        src.close(src.self);
    kj_flow_release(&f);
    if (cfg->tokenizer == own)
        cfg->tokenizer = NULL;
    free(own);
    return rc;
}

/* ---- the whole ---- */

/* Steps [first, end of the phase): up to the next survey or corpus step. */
static size_t phase_end(const struct run *r, size_t first)
{
    size_t k = first + 1;
    while (k < r->recipe.n && r->recipe.steps[k].stage &&
           !r->recipe.steps[k].stage->survey &&
           r->recipe.steps[k].stage != &kj_stage_tokenize)
        k++;
    return k;
}

static bool is_phase(const struct kj_recipe_step *s)
{
    return s->stage && s->stage != &kj_stage_tokenize;
}

/* What the recipe must look like beyond its keys. */
static int check_order(const struct run *r, struct kj_err *err)
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

static int run_steps(struct run *r, struct kj_err *err)
{
    int rc = KJ_OK;
    /* A survey must see every document, so only the last phase that has one
     * (or the first of all) may leave the other shards out. */
    for (size_t i = 0; i < r->recipe.n; i = phase_end(r, i)) {
        r->phases++;
        if (r->recipe.steps[i].stage && r->recipe.steps[i].stage->survey)
            r->shard_step = i;
    }
    for (size_t i = 0; i < r->recipe.n && rc == KJ_OK;) {
        struct kj_recipe_step *s = &r->recipe.steps[i];
        size_t end = phase_end(r, i);
        if (is_phase(s))
            rc = run_phase(r, i, end, err);
        else
            rc = s->stage ? run_tokenize(r, s, err) : run_tokenizer(r, s, err);
        i = end;
    }
    return rc;
}

/* The state of a run folder: run.json says for which configuration, and
 * whether it is complete. */
static int folder_state(struct run *r, const char *config, bool *complete,
                        struct kj_err *err)
{
    char *path = path_in(r->out, "run.json");
    struct kj_json *j = kj_json_new();
    const struct kj_jval *v = NULL;
    int rc = KJ_OK;
    *complete = false;
    if (access(path, F_OK) == 0)
        rc = kj_json_load(j, path, 1 << 20, &v, err);
    if (rc == KJ_OK && v && !r->c.force) {
        if (!kj_str_is(kj_jstr(kj_jget(v, "config")), config))
            rc = kj_err_set(err, KJ_FAIL,
                            "%s holds a run of another recipe, input or version; name "
                            "another folder, or --force to start over",
                            r->out);
        *complete = kj_jbool(kj_jget(v, "complete"), false);
        r->damaged = (uint64_t)kj_jint(kj_jget(v, "damaged"), 0);
    }
    kj_json_free(j);
    free(path);
    return rc;
}

static int mark_folder(struct run *r, const char *config, bool complete,
                       struct kj_err *err)
{
    struct kj_buf b;
    kj_buf_init(&b, 4096);
    char *path = path_in(r->out, "run.json");
    kj_buf_printf(&b,
                  "{\"config\":\"%s\",\"version\":\"" KJ_VERSION
                  "\",\"complete\":%s,\"damaged\":%llu}\n",
                  config, complete ? "true" : "false", (unsigned long long)r->damaged);
    int rc = kj_output_file(path, b.p, b.n, err);
    free(path);
    kj_buf_release(&b);
    return rc;
}

/* --force: what an earlier run left that would be taken for this one's. */
static void clear_folder(struct run *r)
{
    static const char *const names[] = {"run.json",       "run.db",
                                        "run.db-wal",     "run.db-shm",
                                        "tokenizer.json", "manifest.jsonl"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *p = path_in(r->out, "%s", names[i]);
        unlink(p);
        free(p);
    }
}

static void summary(struct run *r)
{
    struct kj_buf b;
    struct kj_err err = KJ_ERR_INIT;
    kj_buf_init(&b, 1 << 20);
    if (!r->c.quiet && kj_report_text(r->ledger, 0, &b, &err) == KJ_OK)
        fwrite(b.p, 1, b.n, stderr);
    kj_buf_release(&b);
}

static int open_books(struct run *r, const char *config, struct kj_err *err)
{
    char *own = path_in(r->out, "run.db");
    struct kj_ledger_info info = {.name = "run",
                                  .version = KJ_VERSION,
                                  .command = r->c.command_line,
                                  .config = config,
                                  .shard = r->c.shard,
                                  .resume = !r->c.force,
                                  .partial = r->c.shard_n > 1 || r->c.limit > 0,
                                  .signals = r->c.signals_kind,
                                  .signal_share = r->c.signal_share};
    int rc = kj_ledger_open(&r->ledger, r->c.ledger ? r->c.ledger : own,
                            KJ_LEDGER_WRITE, err);
    if (rc == KJ_OK)
        rc = kj_ledger_begin(r->ledger, &info, NULL, err);
    for (size_t i = 0; i < r->files.n && rc == KJ_OK; i++)
        rc = kj_ledger_input(r->ledger, r->files.v[i], err);
    free(own);
    return rc;
}

/* Two processes on one folder would undo each other's work. The lock is
 * released with the process, however it ends. */
static int lock_folder(struct run *r, struct kj_err *err)
{
    int fd = open(r->out, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return kj_err_errno(err, KJ_FAIL, "cannot open the folder %s", r->out);
    if (flock(fd, LOCK_EX | LOCK_NB))
        return kj_err_set(err, KJ_FAIL, "another process is at work in %s", r->out);
    sweep(r->out);
    return KJ_OK;
}

static int run_all(struct run *r, struct kj_err *err)
{
    struct kj_buf config;
    char hex[33];
    bool complete;
    kj_buf_init(&config, 16 << 20);
    kj_recipe_dump(&r->recipe, &config);
    kj_buf_printf(&config, "part_size: %lld\nlimit: %lld\nseed: %lld\n",
                  (long long)r->o.part_size, (long long)r->c.limit,
                  (long long)r->c.seed);
    if (r->c.shard)
        kj_buf_printf(&config, "shard: %s\n", r->c.shard);
    if (r->c.ledger) /* runs into several folders may share it */
        kj_buf_printf(&config, "out: %s\n", r->out);
    for (size_t i = 0; i < r->files.n; i++)
        kj_buf_printf(&config, "input: %s\n", r->files.v[i]);
    kj_hash128_hex(kj_hash128(config.p, config.n), hex);
    int rc = kj_output_mkdirs(r->out, err);
    if (rc == KJ_OK)
        rc = lock_folder(r, err);
    if (rc == KJ_OK)
        rc = folder_state(r, hex, &complete, err);
    if (rc == KJ_OK && complete) {
        if (!r->c.quiet)
            fprintf(stderr,
                    "kijil run: %s is complete already; --force makes it anew\n",
                    r->out);
        kj_buf_release(&config);
        return KJ_OK; /* with the damage that it found then */
    }
    r->damaged = 0;
    if (rc == KJ_OK && r->c.force)
        clear_folder(r);
    if (rc == KJ_OK)
        rc = mark_folder(r, hex, false, err);
    if (rc == KJ_OK)
        rc = open_books(r, kj_buf_z(&config), err);
    if (rc == KJ_OK)
        rc = run_steps(r, err);
    if (rc == KJ_OK)
        rc = kj_ledger_damaged(r->ledger, &r->damaged, err);
    if (rc == KJ_OK)
        rc = kj_ledger_end(r->ledger, NULL, r->damaged ? 3 : 0, err);
    if (rc == KJ_OK)
        rc = kj_ledger_reconcile(r->ledger, NULL, err);
    if (rc == KJ_OK)
        summary(r);
    struct kj_err late = KJ_ERR_INIT;
    int rc2 = kj_ledger_close(r->ledger, &late);
    if (rc == KJ_OK && rc2) {
        rc = rc2;
        *err = late;
    }
    if (rc == KJ_OK)
        rc = mark_folder(r, hex, true, err);
    kj_buf_release(&config);
    return rc;
}

static int reopen_archives(void *self, struct kj_source *out, struct kj_err *err)
{
    struct run *r = self;
    return kj_archive_source(out, r->files.v, r->files.n, KJ_ARCHIVE_AUTO,
                             (struct kj_pos){0, 0}, &r->records, err);
}

/* --dry-run: of the first phase, which reads everything; the phases behind it
 * read only what it kept. */
static int estimate(struct run *r, struct kj_err *err)
{
    size_t n = phase_end(r, 0);
    struct kj_step *steps = kj_xcalloc(n, sizeof *steps);
    printf("estimate_steps:");
    for (size_t i = 0; i < n; i++) {
        steps[i] = (struct kj_step){.stage = r->recipe.steps[i].stage,
                                    .cfg = r->recipe.steps[i].cfg};
        printf(" %s", r->recipe.steps[i].name);
    }
    printf("\n");
    int rc = kj_cmd_estimate(
        &r->c, steps, n, (struct kj_corpus_inputs){reopen_archives, r}, &r->files, err);
    free(steps);
    return rc;
}

static int cmd_run(const struct kj_cmd *cmd, int argc, char **argv)
{
    struct run r = {.cmd = cmd};
    struct kj_err err = KJ_ERR_INIT;
    struct kj_strs pos = {0}, rest = {0};
    void *const cfgs[] = {&r.o, NULL};
    int status = kj_cmd_parse(cmd, argc, argv, cfgs, &r.c, &pos);
    int rc = KJ_OK;
    if (status < 0 && (pos.n < 1 || !r.c.output))
        rc = kj_err_set(&err, KJ_USAGE, "a recipe and -o DIR are needed; see --help");
    if (status < 0 && rc == KJ_OK) {
        r.out = r.c.output;
        for (size_t i = 1; i < pos.n; i++)
            kj_strs_add(&rest, pos.v[i]);
        rc = kj_recipe_load(&r.recipe, pos.v[0], &err);
        if (rc == KJ_OK)
            rc = check_order(&r, &err);
        if (rc == KJ_OK)
            rc = kj_recipe_open(&r.recipe, &err);
        if (rc == KJ_OK)
            rc = expand_inputs(&r, &rest, &err);
        if (rc == KJ_OK && r.c.dry_run) {
            struct kj_buf b;
            kj_buf_init(&b, 16 << 20);
            kj_recipe_dump(&r.recipe, &b);
            fwrite(b.p, 1, b.n, stdout);
            kj_buf_release(&b);
            rc = estimate(&r, &err);
        } else if (rc == KJ_OK) {
            kj_cmd_signals();
            rc = run_all(&r, &err);
        }
    }
    if (status < 0)
        status = rc < 0                         ? kj_cmd_fail(cmd, &err)
                 : atomic_load(&kj_interrupted) ? 130
                 : r.damaged                    ? 3
                                                : 0;
    kj_recipe_release(&r.recipe);
    parts_release(&r.docs);
    for (size_t i = 0; i < r.files.n; i++)
        free((char *)(uintptr_t)r.files.v[i]);
    kj_strs_release(&r.files);
    kj_strs_release(&rest);
    kj_strs_release(&pos);
    kj_strs_release(&r.o.input);
    return status;
}

static const struct kj_opt *const tables[] = {run_opts, kj_run_common_opts, NULL};

const struct kj_cmd kj_cmd_run = {
    .name = "run",
    .synopsis = "RECIPE.yaml -i 'GLOB' -o DIR",
    .about = "a whole recipe in one process, restartable after any kill",
    .details =
        "Runs the steps of a recipe from archives to shards. DIR gets the documents "
        "of\n"
        "each phase as parts (DIR/1-extract/part-00000.jsonl.zst and the rejects "
        "beside\n"
        "them), tokenizer.json, the shards with manifest.jsonl, and the ledger "
        "run.db.\n"
        "\n"
        "A run that was killed or interrupted goes on where it stopped when the same\n"
        "command is given again, and ends with the same bytes. A complete one is left\n"
        "alone. A folder that holds a run of another recipe is refused without "
        "--force.",
    .examples =
        "  kijil run recipes/demo.yaml -i 'crawl/*.warc.gz' -o out/  # archives to "
        "shards\n"
        "  sqlite3 out/run.db 'select * from waterfall'              # what went where",
    .opts = tables,
    .run = cmd_run,
};
