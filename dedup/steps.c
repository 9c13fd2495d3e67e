/* steps.c - sign, match, gather, solve; each from files to files. */
#include "dedup/steps.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/doc.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/output.h"
#include "base/stage.h"
#include "dedup/dedup_internal.h"
#include "dedup/external_internal.h"
#include "dedup/identity.h"
#include "dedup/match.h"

enum { SETS_KIND = 0x53544553, NAMES_KIND = 0x454D414E, LIST_KIND = 0x5453494C };

struct steps {
    struct dedup *c;
    struct kj_corpus *corpus;
    const struct kj_dedup_job *job;
    struct survey *reading;
};

static void say(const struct steps *s, const char *what, size_t no, size_t of)
{
    if (s->job->say)
        s->job->say(s->job->self, what, no, of);
}

static bool mine(const struct steps *s, size_t no)
{
    return s->job->shards < 2 || no % s->job->shards == s->job->shard;
}

static int gone(struct kj_err *err)
{
    return kj_err_set(err, KJ_FATAL, "the input changed between two readings");
}

/* ---- sign ---- */

struct signing {
    struct steps *s;
    size_t file, part;
    struct kj_sigs sigs;
    bool open, met; /* met: the next piece is there already */
};

static int sign_work(void *ctx, unsigned worker, struct kj_batch *b, struct kj_err *err)
{
    struct signing *g = ctx;
    return kj_dedup_work_keys(g->s->reading, worker, b, err);
}

static int finish_piece(struct signing *g, struct kj_err *err)
{
    int rc = kj_sigs_finish(&g->sigs, err);
    kj_sigs_release(&g->sigs);
    g->open = false;
    return rc;
}

/* Begin piece g->part, unless it is there. */
static int begin_piece(struct signing *g, struct kj_err *err)
{
    int rc = kj_pieces_open(&g->s->c->pieces, g->file, g->part, &g->sigs, err);
    if (rc == KJ_OK) {
        kj_sigs_release(&g->sigs);
        g->met = true;
    }
    if (rc != KJ_EOF)
        return rc;
    rc = kj_pieces_create(&g->s->c->pieces, g->file, g->part, &g->sigs, err);
    g->open = !rc;
    return rc;
}

static int sign_collect(void *ctx, struct kj_batch *b, struct kj_err *err)
{
    struct signing *g = ctx;
    const struct kj_dedup_found *f = b->aux;
    uint64_t per = g->s->c->pieces.per;
    int rc = KJ_OK;
    for (size_t i = 0; i < b->n && !rc && !g->met; i++) {
        uint64_t at = b->docs[i].serial - g->part * per;
        rc = kj_sigs_add(&g->sigs, at, f[i].check, f[i].has ? f[i].keys : NULL, err);
        if (!rc && at + 1 == per) {
            rc = finish_piece(g, err);
            g->part++;
            if (!rc)
                rc = begin_piece(g, err);
        }
    }
    return !rc && g->met ? KJ_EOF : rc;
}

/* The pieces that are missing of one file. */
static int sign_file(struct steps *s, size_t file, struct kj_err *err)
{
    const struct kj_pieces *p = &s->c->pieces;
    struct signing g = {.s = s, .file = file};
    int rc = KJ_OK;
    while (!rc) {
        rc = kj_pieces_open(p, file, g.part, &g.sigs, err);
        if (rc == KJ_OK) {
            bool last = g.sigs.n_docs < p->per;
            kj_sigs_release(&g.sigs);
            g.part++;
            if (last)
                return KJ_OK;
            continue;
        }
        if (rc != KJ_EOF)
            return rc;
        rc = begin_piece(&g, err);
        s->corpus->only = file + 1;
        s->corpus->skip = g.part * p->per;
        if (!rc)
            rc = s->corpus->pass(s->corpus, &g, sign_work, sign_collect, err);
        s->corpus->only = s->corpus->skip = 0;
        if (!rc && !g.met)
            return finish_piece(&g, err); /* the last one */
        g.met = false;
        if (g.open)
            kj_sigs_release(&g.sigs);
        g.open = false;
    }
    return rc;
}

static int sign(struct steps *s, struct kj_err *err)
{
    int rc = KJ_OK;
    s->c->budget.doing = "keeping keys";
    for (size_t f = 0; f < s->job->n_files && !rc; f++)
        if (mine(s, f)) {
            say(s, "sign", f, s->job->n_files);
            rc = sign_file(s, f, err);
        }
    return rc;
}

/* ---- match ---- */

static int match(struct steps *s, struct kj_err *err)
{
    unsigned bands = kj_dedup_bands(s->c);
    int rc = kj_pieces_load(&s->c->pieces, err);
    s->c->budget.doing = "grouping keys";
    for (unsigned b = 0; b < bands && !rc; b++) {
        struct kj_match m;
        if (!mine(s, b))
            continue;
        say(s, "match", b, bands);
        rc = kj_match_open(&m, &s->c->pieces, b, err);
        if (rc == KJ_OK)
            kj_match_release(&m);
        else if (rc == KJ_EOF)
            rc = kj_match_make(&s->c->pieces, b, &s->c->budget, err);
        if (!rc && s->corpus->stop && atomic_load(s->corpus->stop))
            rc = KJ_EOF;
    }
    return rc;
}

/* For each band: its file, which must be there. */
static int each_band(struct steps *s, void *ctx,
                     int (*take)(void *ctx, const struct kj_match *m,
                                 struct kj_err *err),
                     struct kj_err *err)
{
    int rc = KJ_OK;
    for (unsigned b = 0; b < kj_dedup_bands(s->c) && !rc; b++) {
        struct kj_match m;
        rc = kj_match_open(&m, &s->c->pieces, b, err);
        if (rc == KJ_EOF)
            return kj_err_set(err, KJ_FATAL,
                              "%s/match-%04u is missing: first run --step match (this "
                              "is of band %u)",
                              s->job->dir, b, b);
        if (rc)
            return rc;
        rc = take(ctx, &m, err);
        kj_match_release(&m);
    }
    return rc;
}

/* ---- gather ---- */

struct gathering {
    struct steps *s;
    struct kj_spill file;
    uint64_t first, n, left; /* documents; candidates not yet seen */
    unsigned char *bits;
};

/* A candidate in a file of sets, then its id and its word; its set, if it has
 * one, is the next block. */
struct gathered {
    uint64_t doc;
    struct stored m;
};

static void sets_name(char out[KJ_PIECES_NAME], size_t file)
{
    snprintf(out, KJ_PIECES_NAME, "sets-%05zu", file);
}

static struct kj_spill_params sets_params(const struct dedup *c, size_t file)
{
    return kj_pieces_params(&c->pieces, SETS_KIND, file,
                            kj_hash64(c->keep, strlen(c->keep), 0));
}

static int mark(void *ctx, const struct kj_match *m, struct kj_err *err)
{
    struct gathering *g = ctx;
    return kj_match_mark(m, g->first, g->n, g->bits, err);
}

static int gather_work(void *ctx, unsigned worker, struct kj_batch *b,
                       struct kj_err *err)
{
    struct gathering *g = ctx;
    return kj_dedup_work_sets(g->s->reading, worker, b, err);
}

static int gather_one(struct gathering *g, const struct kj_candidate *d,
                      struct kj_err *err)
{
    struct gathered m = {.doc = g->first + d->doc,
                         .m = {.number = d->number,
                               .tie = d->tie,
                               .weight = d->weight,
                               .same = d->same,
                               .n = d->n,
                               .id = d->id.n,
                               .word = d->word.n}};
    size_t n = sizeof m + d->id.n + d->word.n;
    char *p = kj_xmalloc(n);
    memcpy(p, &m, sizeof m);
    if (d->id.n)
        memcpy(p + sizeof m, d->id.p, d->id.n);
    if (d->word.n)
        memcpy(p + sizeof m + d->id.n, d->word.p, d->word.n);
    int rc = kj_spill_add(&g->file, p, n, NULL, err);
    free(p);
    if (!rc && d->n)
        rc = kj_spill_add(&g->file, d->set, d->n * sizeof *d->set, NULL, err);
    g->file.count[0]++;
    return rc;
}

static int gather_collect(void *ctx, struct kj_batch *b, struct kj_err *err)
{
    struct gathering *g = ctx;
    const struct kj_dedup_found *f = b->aux;
    int rc = KJ_OK;
    for (size_t i = 0; i < b->n && !rc; i++)
        if (f[i].has) {
            g->left--;
            rc = gather_one(g, &f[i].candidate, err);
        }
    return rc;
}

static int gather_file(struct steps *s, size_t file, struct kj_err *err)
{
    struct dedup *c = s->c;
    char name[KJ_PIECES_NAME];
    struct kj_spill_params params = sets_params(c, file);
    struct gathering g = {.s = s, .first = c->pieces.first[file], .file = {.fd = -1}};
    g.n = c->pieces.first[file + 1] - g.first;
    sets_name(name, file);
    kj_pieces_sweep(s->job->dir, name);
    kj_external_prepare(&c->external, s->job->dir, kj_dedup_bands(c), c->threshold,
                        (uint32_t)c->max_compare, &c->budget);
    int rc = kj_external_docs(&c->external, g.n, err);
    g.bits = c->external.in_play;
    if (!rc)
        rc = each_band(s, &g, mark, err);
    for (uint64_t i = 0; i < g.n && !rc; i++)
        g.left += kj_external_candidate(&c->external, i);
    uint64_t want = g.left;
    if (!rc)
        rc = kj_spill_create(&g.file, s->job->dir, name, &params, err);
    s->corpus->only = file + 1;
    if (!rc && want)
        rc = s->corpus->pass(s->corpus, &g, gather_work, gather_collect, err);
    s->corpus->only = 0;
    if (!rc && g.left)
        rc = gone(err);
    if (!rc)
        rc = kj_spill_finish(&g.file, err);
    kj_spill_release(&g.file);
    kj_external_release(&c->external);
    return rc;
}

static int gather(struct steps *s, struct kj_err *err)
{
    int rc = kj_pieces_load(&s->c->pieces, err);
    s->c->budget.doing = "keeping candidates";
    for (size_t f = 0; f < s->job->n_files && !rc; f++) {
        char name[KJ_PIECES_NAME];
        struct kj_spill have = {.fd = -1};
        struct kj_spill_params params = sets_params(s->c, f);
        if (!mine(s, f))
            continue;
        say(s, "gather", f, s->job->n_files);
        sets_name(name, f);
        rc = kj_pieces_file(&have, s->job->dir, name, &params, err);
        kj_spill_release(&have);
        if (rc == KJ_EOF)
            rc = gather_file(s, f, err);
    }
    return rc;
}

/* ---- solve ---- */

static int unite_next(void *ctx, uint32_t doc, bool starts, struct kj_err *err)
{
    struct kj_external *x = ctx;
    (void)err;
    if (!starts)
        kj_external_unite(x, x->last, doc);
    x->last = doc;
    return KJ_OK;
}

static int unite_band(void *ctx, const struct kj_match *m, struct kj_err *err)
{
    return kj_match_each(m, ctx, unite_next, err);
}

static int tie_next(void *ctx, uint32_t doc, bool starts, struct kj_err *err)
{
    struct kj_external *x = ctx;
    x->buckets += starts;
    return kj_external_tie(x, doc, x->buckets, err);
}

static int tie_band(void *ctx, const struct kj_match *m, struct kj_err *err)
{
    return kj_match_each(m, ctx, tie_next, err);
}

/* The block at *pos; *pos moves behind it. */
static int next_block(const struct kj_spill *f, uint64_t *pos, char **buf, size_t *cap,
                      size_t *n, struct kj_err *err)
{
    int rc = kj_spill_length(f, *pos, n, err);
    if (!rc && *n > *cap) {
        *buf = kj_xrealloc(*buf, *n);
        *cap = *n;
    }
    if (!rc)
        rc = kj_spill_read(f, *pos, *buf, *n, err);
    *pos += KJ_SPILL_BLOCK + *n;
    return rc;
}

/* All candidates of one file of sets. */
static int take_sets(struct kj_external *x, const struct kj_spill *f,
                     struct kj_err *err)
{
    char *buf = NULL, *set = NULL;
    size_t cap = 0, cap_set = 0, n, n_set;
    uint64_t pos = KJ_SPILL_HEADER;
    int rc = KJ_OK;
    for (uint64_t left = f->count[0]; left && !rc; left--) {
        struct gathered g;
        rc = next_block(f, &pos, &buf, &cap, &n, err);
        if (rc)
            break;
        memcpy(&g, buf, n < sizeof g ? n : sizeof g);
        if (n < sizeof g || g.m.id > n - sizeof g ||
            g.m.word != n - sizeof g - g.m.id) {
            rc = kj_err_set(err, KJ_FATAL, "%s: a candidate is not whole", f->path);
            break;
        }
        n_set = 0;
        if (g.m.n)
            rc = next_block(f, &pos, &set, &cap_set, &n_set, err);
        struct kj_candidate d = {.doc = g.doc,
                                 .number = g.m.number,
                                 .id = {buf + sizeof g, g.m.id},
                                 .word = {buf + sizeof g + g.m.id, g.m.word},
                                 .tie = g.m.tie,
                                 .weight = g.m.weight,
                                 .same = g.m.same,
                                 .set = (const uint64_t *)(const void *)set,
                                 .n = g.m.n};
        if (!rc && n_set / sizeof *d.set != g.m.n)
            rc = kj_err_set(err, KJ_FATAL, "%s: a set is not whole", f->path);
        if (!rc)
            rc = kj_external_add_candidate(x, &d, err);
    }
    free(buf);
    free(set);
    return rc;
}

static int take_all_sets(struct steps *s, struct kj_err *err)
{
    int rc = KJ_OK;
    for (size_t f = 0; f < s->job->n_files && !rc; f++) {
        char name[KJ_PIECES_NAME];
        struct kj_spill_params params = sets_params(s->c, f);
        struct kj_spill file = {.fd = -1};
        sets_name(name, f);
        rc = kj_pieces_file(&file, s->job->dir, name, &params, err);
        if (rc == KJ_EOF)
            rc = kj_err_set(err, KJ_FATAL,
                            "%s/%s is missing: first run --step gather (this is of "
                            "input file %zu, counted from 0)",
                            s->job->dir, name, f);
        if (!rc)
            rc = take_sets(&s->c->external, &file, err);
        kj_spill_release(&file);
    }
    return rc;
}

/* Get external ready for solve and apply: what the list depends on. */
static void prepare_list(struct steps *s)
{
    struct dedup *c = s->c;
    struct {
        uint64_t keep, compare, measure;
        double threshold;
    } more = {kj_hash64(c->keep, strlen(c->keep), 0), (uint64_t)c->max_compare,
              (uint64_t)c->measure, c->threshold};
    uint64_t h = kj_hash64(&more, sizeof more, 0);
    struct kj_external *x = &c->external;
    kj_external_prepare(x, s->job->dir, kj_dedup_bands(c), c->threshold,
                        (uint32_t)c->max_compare, &c->budget);
    x->containment = c->measure == CONTAINMENT;
    x->named = true;
    x->name_params = kj_pieces_params(&c->pieces, NAMES_KIND, SIZE_MAX, h);
    x->list_params = kj_pieces_params(&c->pieces, LIST_KIND, SIZE_MAX, h);
}

static int solve(struct steps *s, struct kj_err *err)
{
    struct kj_external *x = &s->c->external;
    int rc = kj_pieces_load(&s->c->pieces, err);
    say(s, "solve", 0, 1);
    s->c->budget.doing = "comparing candidates";
    if (rc)
        return rc;
    prepare_list(s);
    rc = kj_external_open(x, err);
    kj_external_release(x);
    if (rc != KJ_EOF)
        return rc; /* it is there */
    kj_pieces_sweep(s->job->dir, "names");
    kj_pieces_sweep(s->job->dir, "list");
    prepare_list(s);
    rc = kj_external_docs(x, kj_pieces_docs(&s->c->pieces), err);
    if (!rc)
        rc = each_band(s, x, unite_band, err);
    if (!rc)
        rc = each_band(s, x, tie_band, err);
    if (!rc)
        rc = kj_external_tied(x, err);
    if (!rc)
        rc = take_all_sets(s, err);
    if (!rc)
        rc = kj_external_solve(x, err);
    kj_external_release(x);
    return rc;
}

/* ---- apply ---- */

static int apply(struct steps *s, struct kj_err *err)
{
    struct dedup *c = s->c;
    int rc = kj_pieces_load(&c->pieces, err);
    if (rc)
        return rc;
    prepare_list(s);
    c->external.pieces = &c->pieces;
    c->external.n_docs = kj_pieces_docs(&c->pieces);
    c->in_files = true;
    rc = kj_external_open(&c->external, err);
    if (rc == KJ_EOF)
        rc = kj_err_set(err, KJ_FATAL,
                        "%s/list or %s/names is missing: first run --step solve",
                        s->job->dir, s->job->dir);
    if (!rc && s->job->step == KJ_STEP_APPLY && s->job->shards > 1)
        kj_pieces_shard(&c->pieces, s->job->shard, s->job->shards);
    return rc;
}

uint64_t kj_dedup_number(const struct dedup *c, uint64_t serial)
{
    return c->pieces.before ? kj_pieces_number(&c->pieces, serial) : serial;
}

/* ---- all ---- */

/* What input files are known by. */
static int identify(struct steps *s, struct kj_err *err)
{
    const struct kj_dedup_job *j = s->job;
    uint64_t *ids = kj_xcalloc(j->n_files, sizeof *ids);
    s->c->piece_ids = ids;
    for (size_t f = 0; f < j->n_files; f++) {
        struct stat st;
        if (stat(j->files[f], &st))
            return kj_err_errno(err, KJ_FATAL, "cannot read %s", j->files[f]);
        const char *slash = strrchr(j->files[f], '/');
        const char *name = slash ? slash + 1 : j->files[f];
        ids[f] = kj_hash64(name, strlen(name), (uint64_t)st.st_size);
    }
    s->c->pieces = (struct kj_pieces){.dir = j->dir,
                                      .params = kj_dedup_params(s->c, s->corpus->seed),
                                      .ids = ids,
                                      .n_files = j->n_files,
                                      .per = j->per};
    return KJ_OK;
}

int kj_dedup_steps(void *cfg, struct kj_corpus *corpus, const struct kj_dedup_job *job,
                   struct kj_err *err)
{
    static int (*const steps[])(struct steps *,
                                struct kj_err *) = {[KJ_STEP_SIGN] = sign,
                                                    [KJ_STEP_MATCH] = match,
                                                    [KJ_STEP_GATHER] = gather,
                                                    [KJ_STEP_SOLVE] = solve,
                                                    [KJ_STEP_APPLY] = apply};
    struct steps s = {.c = cfg, .corpus = corpus, .job = job};
    if ((s.c->method != METHOD_MINHASH && s.c->method != METHOD_EXACT) || s.c->scope)
        return kj_err_set(err, KJ_USAGE,
                          "--work is for whole documents, exact or minhash");
    if (s.c->index)
        return kj_err_set(err, KJ_USAGE, "--work does not go with --index");
    int64_t memory = kj_dedup_memory(corpus->memory, corpus->threads);
    if (memory < kj_external_least(kj_dedup_bands(s.c)))
        return kj_err_set(err, KJ_FATAL, "--memory is too small for %u bands",
                          kj_dedup_bands(s.c));
    kj_dedup_prepare(s.c, corpus, memory);
    s.c->in_files = true;
    s.reading = kj_dedup_reading_new(s.c, corpus->threads);
    int rc = kj_output_mkdirs(job->dir, err);
    if (!rc)
        rc = identify(&s, err);
    bool all = job->step == KJ_STEP_ALL;
    for (int k = KJ_STEP_SIGN; k <= KJ_STEP_APPLY && !rc; k++)
        if (all || (int)job->step == k)
            rc = steps[k](&s, err);
    kj_dedup_reading_free(s.reading);
    if (rc)
        kj_dedup_forget(s.c);
    return rc;
}
