/* flow.c - a run over the ordered pipe, with its counts.
 *
 * Everything that can be done on one batch alone happens in a worker:
 * decoding, the parallel stages, counting, encoding. What a batch counted
 * travels with it and is added up in the writer, in order, so that the totals
 * (and the order in which rules were first seen) do not depend on threads.
 */
#include "base/flow.h"

#include "base/clock.h"
#include "base/pipe.h"

#include <stdlib.h>
#include <string.h>

/* What one step did to one batch. */
struct step_count {
    uint64_t in, kept, bytes_in, bytes_kept, sum_in, sum_kept;
};

struct slot {
    struct kj_batch batch;
    struct step_count *counts; /* one per step */
    uint64_t docs, damaged, text;
};

struct run {
    struct kj_flow *f;
    size_t n_parallel; /* steps[0..n_parallel) run in workers */
    void **states;     /* [worker * n_steps + step]; serial steps use worker 0 */
    uint64_t next_batch, next_doc;
};

static int flow_read(void *ctx, void *slot, struct kj_err *err)
{
    struct run *r = ctx;
    struct slot *s = slot;
    struct kj_flow *f = r->f;
    kj_batch_reset(&s->batch);
    if (f->limit && r->next_doc >= (uint64_t)f->limit)
        return KJ_EOF;
    int rc = f->source.read(f->source.self, &s->batch, err);
    if (rc)
        return rc;
    struct kj_batch *b = &s->batch;
    if (f->limit && b->n > (uint64_t)f->limit - r->next_doc)
        b->n = (size_t)((uint64_t)f->limit - r->next_doc);
    b->serial = r->next_batch++;
    for (size_t i = 0; i < b->n; i++)
        b->docs[i].serial = r->next_doc++;
    b->next_doc = r->next_doc;
    return KJ_OK;
}

/* Leave only the documents of this shard. */
static void keep_shard(const struct kj_flow *f, struct kj_batch *b)
{
    if (f->shards <= 1)
        return;
    size_t k = 0;
    for (size_t i = 0; i < b->n; i++)
        if (kj_doc_in_shard(&b->docs[i], f->shard, f->shards))
            b->docs[k++] = b->docs[i];
    b->n = k;
}

static void count_alive(const struct kj_batch *b, uint64_t *docs, uint64_t *bytes,
                        uint64_t *sum)
{
    *docs = *bytes = *sum = 0;
    for (size_t i = 0; i < b->n; i++) {
        const struct kj_doc *d = &b->docs[i];
        if (!kj_doc_kept(d))
            continue;
        ++*docs;
        *bytes += d->text.n;
        *sum += kj_doc_checksum(d);
    }
}

/* One stage on one batch. The counts in are those out of the step before:
 * nothing stands between them. */
static int run_step(struct run *r, size_t k, unsigned worker, struct slot *s,
                    struct kj_err *err)
{
    const struct kj_step *step = &r->f->steps[k];
    struct step_count *c = &s->counts[k];
    struct kj_batch *b = &s->batch;
    if (k == 0) {
        count_alive(b, &c->in, &c->bytes_in, &c->sum_in);
    } else {
        c->in = c[-1].kept;
        c->bytes_in = c[-1].bytes_kept;
        c->sum_in = c[-1].sum_kept;
    }
    int rc = step->stage->run(step->cfg, r->states[worker * r->f->n_steps + k], b, err);
    if (rc < 0) {
        kj_err_context(err, "%s", step->stage->name);
        return rc;
    }
    for (size_t i = 0; i < b->n; i++)
        if (b->docs[i].out.rule && b->docs[i].out.stage == KJ_BY_NONE)
            b->docs[i].out.stage = (int)k;
    count_alive(b, &c->kept, &c->bytes_kept, &c->sum_kept);
    return KJ_OK;
}

static int flow_work(void *ctx, unsigned worker, void *slot, struct kj_err *err)
{
    struct run *r = ctx;
    struct slot *s = slot;
    struct kj_flow *f = r->f;
    struct kj_batch *b = &s->batch;
    int rc = KJ_OK;
    if (f->source.decode)
        rc = f->source.decode(f->source.self, b, err);
    if (rc < 0)
        return rc;
    keep_shard(f, b);
    s->docs = b->n;
    s->damaged = s->text = 0;
    for (size_t i = 0; i < b->n; i++) {
        s->text += b->docs[i].text.n ? b->docs[i].text.n : b->docs[i].raw.n;
        if (b->docs[i].out.rule) { /* the source's own verdict: not a stage's */
            b->docs[i].out.stage = KJ_BY_SOURCE;
            s->damaged += b->docs[i].out.damaged;
        }
    }
    for (size_t k = 0; k < r->n_parallel && rc == KJ_OK; k++)
        rc = run_step(r, k, worker, s, err);
    if (rc == KJ_OK && r->n_parallel == f->n_steps && f->sink.encode)
        rc = f->sink.encode(f->sink.self, b, err);
    return rc;
}

static struct kj_tally *tally(struct kj_tally **list, size_t *n, const char *rule)
{
    for (size_t i = 0; i < *n; i++)
        if ((*list)[i].rule == rule || strcmp((*list)[i].rule, rule) == 0)
            return &(*list)[i];
    *list = kj_xrealloc(*list, (*n + 1) * sizeof **list);
    (*list)[*n] = (struct kj_tally){.rule = rule};
    return &(*list)[(*n)++];
}

static void add_up(struct kj_flow *f, const struct slot *s)
{
    const struct kj_batch *b = &s->batch;
    f->docs_in += s->docs;
    f->bytes_in += b->bytes_in;
    f->text_in += s->text;
    for (size_t k = 0; k < f->n_steps; k++) {
        const struct step_count *c = &s->counts[k];
        struct kj_step *t = &f->steps[k];
        t->in += c->in;
        t->kept += c->kept;
        t->bytes_in += c->bytes_in;
        t->bytes_kept += c->bytes_kept;
        t->sum_in += c->sum_in;
        t->sum_kept += c->sum_kept;
    }
    for (size_t i = 0; i < b->n; i++) {
        const struct kj_doc *d = &b->docs[i];
        if (!d->out.rule) {
            f->docs_kept++;
            f->bytes_kept += d->text.n;
            continue;
        }
        struct kj_step *t = d->out.stage >= 0 ? &f->steps[d->out.stage] : NULL;
        struct kj_tally *y =
            t ? tally(&t->tallies, &t->n_tallies, d->out.rule)
              : tally(&f->source_tallies, &f->n_source_tallies, d->out.rule);
        y->docs++;
        y->bytes += d->text.n;
        y->damaged |= d->out.damaged;
        f->damaged += d->out.damaged;
    }
}

static int flow_write(void *ctx, void *slot, struct kj_err *err)
{
    struct run *r = ctx;
    struct slot *s = slot;
    struct kj_flow *f = r->f;
    int rc = KJ_OK;
    for (size_t k = r->n_parallel; k < f->n_steps && rc == KJ_OK; k++)
        rc = run_step(r, k, 0, s, err);
    if (rc == KJ_OK && r->n_parallel < f->n_steps && f->sink.encode)
        rc = f->sink.encode(f->sink.self, &s->batch, err);
    if (rc == KJ_OK)
        add_up(f, s);
    for (size_t i = 0; i < f->n_watches && rc == KJ_OK; i++)
        if (f->watches[i].batch)
            rc = f->watches[i].batch(f->watches[i].self, f, &s->batch, err);
    if (rc == KJ_OK && f->sink.write)
        rc = f->sink.write(f->sink.self, &s->batch, err);
    return rc;
}

static int begin_states(struct run *r, struct kj_err *err)
{
    struct kj_flow *f = r->f;
    int rc = KJ_OK;
    for (unsigned w = 0; w < f->threads; w++)
        for (size_t k = 0; k < f->n_steps && rc == KJ_OK; k++) {
            const struct kj_stage *st = f->steps[k].stage;
            if (w > 0 && (st->flags & KJ_STAGE_SERIAL))
                continue;
            void *state = kj_xcalloc(1, st->state_size);
            r->states[w * f->n_steps + k] = state;
            if (st->begin)
                rc = st->begin(f->steps[k].cfg, state, err);
        }
    return rc;
}

static void end_states(struct run *r)
{
    struct kj_flow *f = r->f;
    for (unsigned w = 0; w < f->threads; w++)
        for (size_t k = 0; k < f->n_steps; k++) {
            void *state = r->states[w * f->n_steps + k];
            if (state && f->steps[k].stage->end)
                f->steps[k].stage->end(f->steps[k].cfg, state);
            free(state);
        }
    free(r->states);
}

static int run_pipe(struct run *r, struct kj_err *err)
{
    struct kj_flow *f = r->f;
    size_t window = f->threads <= 1 ? 1 : 8 * (size_t)f->threads;
    struct slot *slots = kj_xcalloc(window, sizeof *slots);
    void **ptrs = kj_xcalloc(window, sizeof *ptrs);
    for (size_t i = 0; i < window; i++) {
        kj_batch_init(&slots[i].batch);
        slots[i].counts = kj_xcalloc(f->n_steps, sizeof *slots[i].counts);
        ptrs[i] = &slots[i];
    }
    struct kj_pipe p = {f->threads, window,    ptrs,       r,
                        flow_read,  flow_work, flow_write, f->stop};
    int rc = KJ_OK;
    for (size_t i = 0; i < f->n_watches && rc == KJ_OK; i++)
        if (f->watches[i].begin)
            rc = f->watches[i].begin(f->watches[i].self, f, err);
    if (rc == KJ_OK)
        rc = kj_pipe_run(&p, err);
    for (size_t i = 0; i < f->n_watches; i++)
        if (f->watches[i].end && rc == KJ_OK)
            rc = f->watches[i].end(f->watches[i].self, f, err);
    for (size_t i = 0; i < window; i++) {
        kj_batch_release(&slots[i].batch);
        free(slots[i].counts);
    }
    free(ptrs);
    free(slots);
    return rc;
}

int kj_flow_run(struct kj_flow *f, struct kj_err *err)
{
    struct run r = {.f = f, .next_doc = f->first_doc};
    if (!f->threads)
        f->threads = 1;
    while (r.n_parallel < f->n_steps &&
           !(f->steps[r.n_parallel].stage->flags & KJ_STAGE_SERIAL))
        r.n_parallel++;
    for (size_t k = r.n_parallel; k < f->n_steps; k++)
        if (!(f->steps[k].stage->flags & KJ_STAGE_SERIAL))
            return kj_err_set(err, KJ_USAGE, "%s must come before %s in one process",
                              f->steps[k].stage->name,
                              f->steps[r.n_parallel].stage->name);
    double wall = kj_now(), cpu = kj_seconds(CLOCK_PROCESS_CPUTIME_ID);
    r.states = kj_xcalloc(f->threads * f->n_steps, sizeof *r.states);
    if (f->source.workers)
        f->source.workers(f->source.self, f->threads);
    int rc = begin_states(&r, err);
    if (rc == KJ_OK)
        rc = run_pipe(&r, err);
    end_states(&r);
    f->wall += kj_now() - wall;
    f->cpu += kj_seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    return rc;
}

void kj_flow_release(struct kj_flow *f)
{
    for (size_t k = 0; k < f->n_steps; k++) {
        free(f->steps[k].tallies);
        f->steps[k].tallies = NULL;
        f->steps[k].n_tallies = 0;
    }
    free(f->source_tallies);
    f->source_tallies = NULL;
    f->n_source_tallies = 0;
}

/* ---- passes over the whole corpus, for survey() ---- */

struct pass {
    struct kj_source source;
    void *ctx;
    int (*work)(void *, unsigned, struct kj_batch *, struct kj_err *);
    int (*collect)(void *, struct kj_batch *, struct kj_err *);
    uint64_t next_batch, next_doc, limit, skip;
};

/* Documents of b that are to be passed over go, before anybody parses them. */
static void skip_docs(const struct pass *p, struct kj_batch *b)
{
    uint64_t first = p->next_doc - b->n;
    size_t n = p->skip <= first ? 0 : (size_t)(p->skip - first);
    n = n < b->n ? n : b->n;
    for (size_t i = n; n && i < b->n; i++)
        b->docs[i - n] = b->docs[i];
    b->n -= n;
}

static int pass_read(void *ctx, void *slot, struct kj_err *err)
{
    struct pass *p = ctx;
    struct kj_batch *b = slot;
    kj_batch_reset(b);
    if (p->limit && p->next_doc >= p->limit)
        return KJ_EOF;
    int rc = p->source.read(p->source.self, b, err);
    if (rc)
        return rc;
    if (p->limit && b->n > p->limit - p->next_doc)
        b->n = (size_t)(p->limit - p->next_doc);
    b->serial = p->next_batch++;
    for (size_t i = 0; i < b->n; i++)
        b->docs[i].serial = p->next_doc++;
    skip_docs(p, b);
    return KJ_OK;
}

static int pass_work(void *ctx, unsigned worker, void *slot, struct kj_err *err)
{
    struct pass *p = ctx;
    int rc = KJ_OK;
    if (p->source.decode)
        rc = p->source.decode(p->source.self, slot, err);
    if (rc == KJ_OK && p->work)
        rc = p->work(p->ctx, worker, slot, err);
    return rc;
}

static int pass_write(void *ctx, void *slot, struct kj_err *err)
{
    struct pass *p = ctx;
    return p->collect ? p->collect(p->ctx, slot, err) : KJ_OK;
}

int kj_corpus_pass(struct kj_corpus *c, void *ctx,
                   int (*work)(void *, unsigned, struct kj_batch *, struct kj_err *),
                   int (*collect)(void *, struct kj_batch *, struct kj_err *),
                   struct kj_err *err)
{
    struct kj_corpus_inputs *in = c->self;
    struct pass p = {.ctx = ctx,
                     .work = work,
                     .collect = collect,
                     .limit = (uint64_t)c->limit,
                     .skip = c->skip};
    int rc = in->reopen(in->self, &p.source, err);
    if (rc)
        return rc;
    unsigned threads = c->threads ? c->threads : 1;
    if (p.source.workers)
        p.source.workers(p.source.self, threads);
    size_t window = threads <= 1 ? 1 : 8 * (size_t)threads;
    struct kj_batch *batches = kj_xcalloc(window, sizeof *batches);
    void **ptrs = kj_xcalloc(window, sizeof *ptrs);
    for (size_t i = 0; i < window; i++) {
        kj_batch_init(&batches[i]);
        ptrs[i] = &batches[i];
    }
    struct kj_pipe pipe = {threads,   window,    ptrs,       &p,
                           pass_read, pass_work, pass_write, c->stop};
    rc = kj_pipe_run(&pipe, err);
    if (rc == KJ_OK && c->stop && atomic_load(c->stop))
        rc = KJ_EOF; /* what was seen is not the corpus */
    for (size_t i = 0; i < window; i++)
        kj_batch_release(&batches[i]);
    free(ptrs);
    free(batches);
    if (p.source.close)
        p.source.close(p.source.self);
    return rc;
}
