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
#include "base/jsonl.h"
#include "base/mem.h"
#include "base/output.h"
#include "commands/recipe.h"
#include "extract/archive.h"
#include "extract/stage.h"
#include "manifests/ledger.h"
#include "manifests/report.h"
#include "tokenize/stage.h"
#include "tokenize/train.h"

#include <glob.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct run_opts {
    struct kj_strs input;
    int64_t part_size;
    int signals;
};

static const struct kj_opt run_opts[] = {
    {"input", 'i', KJ_OPT_LIST, offsetof(struct run_opts, input), "GLOB",
     "input files; quote the pattern, it is expanded and sorted here", 0, 0, 0},
    {"part_size", 0, KJ_OPT_SIZE, offsetof(struct run_opts, part_size), "SIZE",
     "input that makes one part, the unit of restart", "256M", 1, 0x1p50},
    {"signals", 0, KJ_OPT_ENUM, offsetof(struct run_opts, signals), "all|none",
     "which measured values the ledger keeps", "all", 0, 0},
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
    uint64_t damaged;
    bool resumed;
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
        ph->first_doc += f.docs_in;
        r->damaged += f.damaged;
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
    ph->first_doc = kj_ledger_docs_in(r->ledger, ph->name);
    int rc =
        kj_archive_source(&p->inner, r->files.v, r->files.n, at.file, at.offset, err);
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
                          tmp, kj_corpus_pass};
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
