/* run_phase.c - phases and parts of `kijil run`; the essay is in cmd_run.c. */
#include "commands/run.h"

#include "base/hash.h"
#include "base/json.h"
#include "base/jsonl.h"
#include "base/mem.h"
#include "base/output.h"
#include "extract/stage.h"

#include <glob.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- small things ---- */

char *kj_run_path(const char *dir, const char *fmt, ...)
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

/* path is taken over. */
static void parts_add(struct kj_run_parts *p, char *path, uint64_t docs)
{
    p->path = kj_xrealloc(p->path, (p->n + 1) * sizeof *p->path);
    p->docs = kj_xrealloc(p->docs, (p->n + 1) * sizeof *p->docs);
    p->path[p->n] = path;
    p->docs[p->n++] = docs;
}

void kj_run_parts_release(struct kj_run_parts *p)
{
    for (size_t i = 0; i < p->n; i++)
        free(p->path[i]);
    free(p->path);
    free(p->docs);
    memset(p, 0, sizeof *p);
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

static void portion_workers(void *self, unsigned n)
{
    struct portion *p = self;
    if (p->inner.workers)
        p->inner.workers(p->inner.self, n);
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

static int part_open(struct kj_run *r, struct phase *ph, int64_t no, struct part_io *io,
                     struct kj_err *err)
{
    io->path = kj_run_path(ph->dir, "part-%05lld.jsonl.zst", (long long)no);
    io->reject_path = kj_run_path(ph->dir, "rejects-%05lld.jsonl.zst", (long long)no);
    int rc = kj_output_open(&io->docs, io->path, err);
    if (rc == KJ_OK)
        rc = kj_output_open(&io->rejects, io->reject_path, err);
    io->watches[0] = kj_jsonl_rejects(io->rejects);
    io->watches[1] = kj_ledger_watch(r->ledger);
    if (kj_progress_wanted(&r->c))
        io->watches[2] = kj_progress_watch(&io->progress, ph->name, &r->c);
    return rc;
}

static int part_commit(struct kj_run *r, struct part_io *io, const struct kj_flow *f,
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
static int run_part(struct kj_run *r, struct phase *ph, struct kj_source source,
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
    struct kj_run *r;
    struct phase *ph;
    const struct kj_run_parts *from;
    int64_t next;
    struct kj_pos end;
};

/* A part that an earlier process finished. */
static int take_done(void *ctx, const struct kj_ledger_part *p)
{
    struct done *d = ctx;
    parts_add(&d->r->docs, kj_run_path(d->r->out, "%s", p->path), p->docs);
    d->next = p->part + 1;
    d->end = p->end;
    return 0;
}

static int archive_parts(struct kj_run *r, struct phase *ph, struct done *d,
                         struct kj_err *err)
{
    struct portion *p = &ph->portion;
    struct kj_archive_counts counts;
    *p = (struct portion){.size = r->o.part_size};
    struct kj_pos at = d->next ? d->end : (struct kj_pos){0, 0};
    if (at.file >= r->files.n)
        return KJ_OK; /* all parts were done */
    int rc = kj_ledger_docs_in(r->ledger, ph->name, &ph->first_doc, err);
    if (rc == KJ_OK)
        rc = kj_archive_source(&p->inner, r->files.v, r->files.n,
                               kj_extract_source(r->recipe.steps[0].cfg), at, &counts,
                               err);
    if (rc)
        return rc;
    struct kj_source s = {p,    portion_read,   portion_decode, portion_progress,
                          NULL, portion_workers};
    while (rc == KJ_OK && at.file < r->files.n) {
        p->full = false;
        p->taken = 0;
        struct kj_pos end = at;
        rc = run_part(r, ph, s, d->next++, at, &end, err);
        at = end;
    }
    p->inner.close(p->inner.self);
    if (rc == KJ_OK && !r->c.quiet)
        kj_cmd_print_damage(&counts); /* of what this process read */
    return rc;
}

static int jsonl_parts(struct kj_run *r, struct phase *ph, struct done *d,
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

int kj_run_parts_source(void *self, struct kj_source *out, struct kj_err *err)
{
    struct kj_run_parts *p = self;
    return kj_jsonl_source(out, (const char *const *)p->path, p->n, err);
}

static int survey(struct kj_run *r, struct phase *ph, struct kj_run_parts *from,
                  struct kj_err *err)
{
    struct kj_recipe_step *s = &r->recipe.steps[ph->first];
    if (!kj_stage_surveys(s->stage, s->cfg))
        return KJ_OK;
    if (!r->c.quiet)
        fprintf(stderr, "        %s reads the whole corpus\n", s->name);
    struct kj_corpus_inputs in = {kj_run_parts_source, from};
    char *tmp = kj_run_path(ph->dir, "survey");
    int rc = kj_output_mkdirs(tmp, err);
    struct kj_corpus c = {.self = &in,
                          .threads = (unsigned)r->c.jobs,
                          .memory = r->c.memory,
                          .seed = (uint64_t)r->c.seed,
                          .tmp_dir = tmp,
                          .pass = kj_corpus_pass,
                          .stop = &kj_interrupted};
    if (rc == KJ_OK)
        rc = s->stage->survey(s->cfg, &c, err);
    if (rc == KJ_OK)
        kj_cmd_print_quantiles(s->name, &r->c, s->stage, s->cfg);
    rmdir(tmp);
    free(tmp);
    return rc;
}

static void say_phase(struct kj_run *r, const struct phase *ph)
{
    if (r->c.quiet)
        return;
    fprintf(stderr, "[%u/%u]", r->phase, r->phases);
    for (size_t i = ph->first; i < ph->last; i++)
        fprintf(stderr, " %s", r->recipe.steps[i].name);
    fprintf(stderr, "\n");
}

/* What a killed process was writing. Safe because the folder is locked. */
void kj_run_sweep(const char *dir)
{
    char *pattern = kj_run_path(dir, "*.tmp-*");
    glob_t g;
    if (glob(pattern, 0, NULL, &g) == 0) {
        for (size_t i = 0; i < g.gl_pathc; i++)
            unlink(g.gl_pathv[i]);
        globfree(&g);
    }
    free(pattern);
}

int kj_run_phase(struct kj_run *r, size_t first, size_t last, struct kj_err *err)
{
    struct phase ph = {.first = first, .last = last};
    r->phase++;
    ph.archives = first == 0 && r->recipe.steps[0].stage == &kj_stage_extract;
    struct kj_buf name;
    kj_buf_init(&name, 256);
    kj_buf_printf(&name, "%u-%s", r->phase, r->recipe.steps[first].name);
    ph.name = kj_xstrndup(name.p, name.n);
    kj_buf_release(&name);
    ph.dir = kj_run_path(r->out, "%s", ph.name);
    say_phase(r, &ph);
    struct kj_run_parts from = r->docs; /* input of this phase, for a source of JSONL */
    memset(&r->docs, 0, sizeof r->docs);
    struct done d = {.r = r, .ph = &ph, .from = &from};
    int rc = kj_output_mkdirs(ph.dir, err);
    kj_run_sweep(ph.dir);
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
    kj_run_parts_release(&from);
    free(ph.dir);
    free(ph.name);
    return rc;
}
