/* train.c - the training loop. */
#include "trainer/train.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/input.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/output.h"
#include "nn/backend.h"
#include "nn/comm.h"
#include "trainer/runfile.h"
#include "trainer/stages.h"
#include "trainer/train_internal.h"

#define METRICS_MAX ((size_t)4 << 30)

/* With more groups metrics.jsonl does not tell each step what they had. */
#define SEEN_MAX 100

void kj_trainer_note(const struct kj_trainer *r, const char *fmt, ...)
{
    char text[1200];
    va_list ap;
    if (!r->t->on_note)
        return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    r->t->on_note(r->t->ctx, text);
}

/* ---- set-up and resume ---- */

static int run_hash(struct kj_trainer *r, struct kj_err *err)
{
    struct kj_buf b;
    kj_buf_init(&b, 1 << 20);
    int rc = kj_run_dump(r->run, true, &b);
    if (rc)
        rc = kj_err_set(err, KJ_FATAL, "configuration is too long");
    char hex[33];
    kj_hash128_hex(kj_hash128(b.p, b.n), hex);
    snprintf(r->at.run, sizeof r->at.run, "xxh128:%s", hex);
    snprintf(r->at.data, sizeof r->at.data, "%s", r->t->data_hash);
    kj_buf_release(&b);
    return rc;
}

static int open_teacher(struct kj_trainer *r, struct kj_err *err)
{
    const struct kj_run *c = r->run;
    struct kj_hf_config h;
    int rc = kj_hf_config(c->distil.teacher, &h, err);
    if (rc == KJ_OK && h.shape.vocab_size != c->model.vocab_size)
        rc = kj_err_set(err, KJ_USAGE, "the teacher's vocab_size is %lld, not %lld",
                        (long long)h.shape.vocab_size, (long long)c->model.vocab_size);
    if (rc == KJ_OK && h.shape.max_positions < c->data.seq_len)
        rc = kj_err_set(err, KJ_USAGE, "the teacher's context is %lld, below %lld",
                        (long long)h.shape.max_positions, (long long)c->data.seq_len);
    struct kj_llama_how how = kj_llama_how_teacher(c, r->b->ops->bf16);
    if (rc == KJ_OK)
        rc = kj_llama_make(&r->teacher.m, r->b, &h.shape, &how, err);
    if (rc == KJ_OK)
        rc = kj_hf_load(r->teacher.m, c->distil.teacher, err);
    r->teacher.weight = c->distil.weight;
    r->teacher.temperature = c->distil.temperature;
    return rc;
}

static int set_up(struct kj_trainer *r, struct kj_err *err)
{
    const struct kj_run *c = r->run;
    struct kj_comm *comm = r->t->comm;
    struct kj_llama_how how = kj_llama_how_of(c, comm ? kj_comm_rank(comm) : 0,
                                              comm ? kj_comm_size(comm) : 1);
    r->b->deterministic = c->optim.deterministic;
    int rc = kj_llama_make(&r->m, r->b, &c->model, &how, err);
    if (rc)
        return rc;
    size_t maps = kj_llama_f8_maps(&c->model, &how);
    if (how.f8 && maps < 4)
        kj_trainer_note(
            r,
            "optim.precision fp8: of the 4 products of a block %zu %s bf16, "
            "for sides that are no multiples of 16",
            4 - maps, maps == 3 ? "stays" : "stay");
    if (c->distil.teacher)
        rc = open_teacher(r, err);
    if (rc)
        return rc;
    kj_ranks_init(&r->ranks, comm, r->m);
    r->ranks.dir = r->t->dir;
    r->moments.ranks = &r->ranks;
    size_t n[2] = {r->m->own, r->m->own};
    if (c->optim.kind == KJ_OPTIM_MUON) {
        r->muon = kj_muon_new(r->b, &c->model);
        r->moments.seconds = kj_muon_seconds(r->m->params, r->m->n_params, &n[1]);
    }
    for (int i = 0; i < 2; i++)
        r->moments.t[i] =
            r->b->ops->tensor_new(r->b, how.states_bf16 ? KJ_BF16 : KJ_F32, n[i]);
    r->m->sums = r->b->ops->tensor_new(r->b, KJ_I32, 2 * KJ_SUMS);
    rc = r->b->ops->sync(r->b, err);
    if (rc)
        return rc;
    int64_t passes = (c->data.batch + c->data.micro - 1) / c->data.micro;
    if (passes < r->ranks.size)
        return kj_err_set(err, KJ_USAGE,
                          "a step of %" PRId64 " rows in passes of %" PRId64
                          " has no work for %d ranks: more data.batch_sequences, or "
                          "fewer data.micro_sequences",
                          c->data.batch, c->data.micro, r->ranks.size);
    r->feed = r->t->feed;
    rc = kj_validation_open(&r->held, c, r->t->held, r->t->n_held, err);
    return rc ? rc : run_hash(r, err);
}

static void tear_down(struct kj_trainer *r)
{
    if (r->log)
        fclose(r->log);
    if (r->lock >= 0)
        close(r->lock);
    kj_prefetch_stop(r->ahead);
    kj_validation_close(&r->held);
    for (int i = 0; i < 2; i++)
        r->b->ops->tensor_free(r->b, r->moments.t[i]);
    free(r->moments.seconds);
    if (r->m)
        r->b->ops->tensor_free(r->b, r->m->sums);
    kj_llama_free(r->m);
    kj_llama_free(r->teacher.m);
    kj_muon_free(r->muon);
    free(r->ckpt);
    free(r->model);
    free(r->metrics);
}

/* The run and its data may be others than those of c: then they stand as if they had
 * been the run's from its first step on, but counts of other data begin anew. */
static void go_on(struct kj_trainer *r, const struct kj_checkpoint *c)
{
    struct kj_checkpoint to = *c;
    bool moved = strcmp(c->data, r->at.data) != 0;
    memcpy(to.run, r->at.run, sizeof to.run);
    memcpy(to.data, r->at.data, sizeof to.data);
    to.row = (uint64_t)c->step * (uint64_t)r->run->data.batch;
    if (moved || c->n_seen == 0) /* one cell, or a checkpoint that has none yet */
        memset(c->seen, 0, kj_feed_cells(r->feed) * sizeof *c->seen);
    if (!moved && c->n_seen == 0)
        kj_feed_count(r->feed, 0, to.row, c->seen);
    r->at = to;
    r->saved = c->step;
}

/* The folder's run is another one. KJ_OK: it goes on as this one all the same, since
 * that is asked for, or was when its run.yaml became this one's. */
static int change(struct kj_trainer *r, const struct kj_checkpoint *c,
                  struct kj_err *err)
{
    struct kj_runfile_diff d;
    kj_runfile_compare(r->t->dir, r->run, r->t->data_hash, &d);
    if (d.same)
        return KJ_OK;
    if (d.known && r->t->change && !d.fixed) {
        kj_trainer_note(r, "changed behind step %" PRId64 ": %s", c->step, d.what);
        return KJ_OK;
    }
    return kj_err_set(err, KJ_USAGE,
                      "%.300s holds a run with another %s%s%s; %s--force starts over, "
                      "or give another folder",
                      r->t->dir,
                      strcmp(c->run, r->at.run) ? "configuration" : "data set",
                      d.known ? ": " : "", d.what,
                      !d.known  ? ""
                      : d.fixed ? "that cannot change on the way; "
                                : "--change goes on so, ");
}

/* The newest checkpoint whose files are sound; older ones if it is not. A device that
 * fails meanwhile says nothing about files: nothing older is taken, nothing is begun. */
static int resume(struct kj_trainer *r, struct kj_err *err)
{
    size_t n;
    int64_t *v = kj_checkpoint_list(r->ckpt, &n);
    int rc = KJ_OK;
    r->saved = -1;
    for (size_t i = 0; i < n && r->saved < 0 && rc == KJ_OK; i++) {
        struct kj_err why = KJ_ERR_INIT;
        struct kj_checkpoint c = {.seen = r->feed->seen,
                                  .n_seen = kj_feed_cells(r->feed)};
        char text[1024];
        if (r->t->force) {
            rc = kj_checkpoint_remove(r->ckpt, v[i], err);
            continue;
        }
        int got = kj_checkpoint_load(r->ckpt, v[i], &c, NULL, NULL, &why);
        if (got == KJ_OK && (strcmp(c.run, r->at.run) || strcmp(c.data, r->at.data))) {
            if ((rc = change(r, &c, err)))
                break;
        }
        if (got == KJ_OK)
            got = kj_checkpoint_load(r->ckpt, v[i], &c, r->m, &r->moments, &why);
        if (got == KJ_OK) {
            go_on(r, &c);
            kj_trainer_note(r, "goes on behind step %" PRId64, c.step);
        } else if (got == KJ_FATAL) {
            r->saved = c.step;
            *err = why;
            rc = got;
        } else {
            kj_trainer_note(r, "checkpoint %" PRId64 " is damaged: %s", v[i],
                            kj_err_text(&why, text, sizeof text));
        }
    }
    free(v);
    if (r->saved < 0)
        memset(r->feed->seen, 0, kj_feed_cells(r->feed) * sizeof *r->feed->seen);
    return rc;
}

/* Keep the rows of metrics.jsonl up to the step that we go on from. */
static int trim_metrics(struct kj_trainer *r, struct kj_err *err)
{
    struct kj_buf b, keep;
    struct kj_json *j = kj_json_new();
    int rc = KJ_OK;
    kj_buf_init(&b, METRICS_MAX);
    kj_buf_init(&keep, METRICS_MAX);
    if (r->saved >= 0 && access(r->metrics, F_OK) == 0)
        rc = kj_input_slurp(r->metrics, &b, err);
    for (size_t at = 0; at < b.n && rc == KJ_OK;) {
        const char *nl = memchr(b.p + at, '\n', b.n - at);
        const struct kj_jval *v;
        if (!nl)
            break;
        size_t n = (size_t)(nl - b.p) - at;
        if (kj_json_parse(j, b.p + at, n, &v, NULL) == KJ_OK &&
            kj_jint(kj_jget(v, "step"), INT64_MAX) <= r->at.step)
            kj_buf_add(&keep, b.p + at, n + 1);
        at += n + 1;
    }
    if (rc == KJ_OK)
        rc = kj_output_file(r->metrics, keep.p ? keep.p : "", keep.n, err);
    kj_buf_release(&b);
    kj_buf_release(&keep);
    kj_json_free(j);
    if (rc == KJ_OK && !(r->log = fopen(r->metrics, "ae")))
        rc = kj_err_errno(err, KJ_FAIL, "cannot append to %s", r->metrics);
    return rc;
}

/* One process at a time in a folder; the lock goes with the process. */
static int lock_dir(struct kj_trainer *r, struct kj_err *err)
{
    char *path = kj_xprintf("%s/.lock", r->t->dir);
    int rc = KJ_OK;
    r->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (r->lock < 0)
        rc = kj_err_errno(err, KJ_FAIL, "cannot open %s", path);
    else if (flock(r->lock, LOCK_EX | LOCK_NB) != 0)
        rc = kj_err_set(err, KJ_FAIL, "another process trains in %s", r->t->dir);
    free(path);
    return rc;
}

/* Other ranks go on from where rank 0 does. */
static int follow(struct kj_trainer *r, struct kj_err *err)
{
    struct kj_checkpoint c = {.seen = r->feed->seen, .n_seen = kj_feed_cells(r->feed)};
    int rc = kj_ranks_tell(&r->ranks, &r->saved, sizeof r->saved, err);
    memset(r->feed->seen, 0, kj_feed_cells(r->feed) * sizeof *r->feed->seen);
    if (rc || r->saved < 0)
        return rc;
    rc = kj_checkpoint_load(r->ckpt, r->saved, &c, r->m, &r->moments, err);
    if (rc == KJ_OK)
        go_on(r, &c);
    else
        kj_err_context(err, "rank %d cannot read what rank 0 goes on from",
                       r->ranks.rank);
    return rc;
}

static int lead(struct kj_trainer *r, struct kj_err *err)
{
    int rc = kj_output_mkdirs(r->t->dir, err);
    if (rc == KJ_OK)
        rc = lock_dir(r, err);
    if (rc == KJ_OK)
        rc = kj_output_mkdirs(r->ckpt, err);
    if (rc == KJ_OK)
        rc = resume(r, err);
    if (rc == KJ_OK && !r->t->no_save)
        rc = kj_runfile_keep(r->t->dir, r->run, r->t->data_hash, r->saved, err);
    if (rc == KJ_OK)
        rc = kj_ranks_tell(&r->ranks, &r->saved, sizeof r->saved, err);
    return rc ? rc : trim_metrics(r, err);
}

static int start(struct kj_trainer *r, struct kj_err *err)
{
    int rc = r->ranks.rank ? follow(r, err) : lead(r, err);
    if (rc == KJ_OK && r->saved < 0) {
        if (r->run->init_from)
            rc = kj_hf_load(r->m, r->run->init_from, err);
        else
            kj_llama_init(r->m, (uint64_t)r->run->seed);
    }
    return rc;
}

/* The stage, and what its groups had of it. */
static void log_seen(const struct kj_trainer *r, const char *stage)
{
    const struct kj_feed *f = r->feed;
    const uint64_t *seen =
        f->seen +
        (size_t)(kj_stage_of(r->run, r->at.step - 1) - r->run->stages) * f->n_groups;
    struct kj_buf b;
    kj_buf_init(&b, 1 << 20);
    if (stage)
        kj_buf_printf(&b, ", \"stage\": \"%s\"", stage);
    if (f->n_groups > 1 && f->n_groups <= SEEN_MAX) {
        const char *sep = ", \"seen\": {";
        for (size_t i = 0; i < f->n_groups; i++) {
            if (!seen[i])
                continue;
            kj_buf_addz(&b, sep);
            kj_json_put_str(&b, f->groups[i], strlen(f->groups[i]));
            kj_buf_printf(&b, ": %" PRIu64, seen[i]);
            sep = ", ";
        }
        kj_buf_addz(&b, "}");
    }
    if (b.n)
        fwrite(b.p, 1, b.n, r->log);
    kj_buf_release(&b);
}

/* What the step's look at held-out texts found: over all, and where there are several
 * sets by set. */
static void log_held(const struct kj_trainer *r, const struct kj_train_step *s)
{
    struct kj_buf b;
    if (!s->val)
        return;
    kj_buf_init(&b, 1 << 20);
    kj_buf_addz(&b, ", \"val_loss\": ");
    kj_json_put_real(&b, s->val_loss);
    for (size_t i = 0; i < r->held.n && r->held.n > 1; i++) {
        const char *name = r->t->held[i].name;
        kj_buf_addz(&b, i ? ", " : ", \"validation\": {");
        kj_json_put_str(&b, name, strlen(name));
        kj_buf_addz(&b, ": ");
        kj_json_put_real(&b, s->val[i]);
    }
    if (r->held.n > 1)
        kj_buf_addz(&b, "}");
    fwrite(b.p, 1, b.n, r->log);
    kj_buf_release(&b);
}

static int log_step(struct kj_trainer *r, const struct kj_train_step *s,
                    struct kj_err *err)
{
    char kl[40] = "";
    if (!r->log) /* rank 0 does */
        return KJ_OK;
    if (r->teacher.m)
        snprintf(kl, sizeof kl, "\"kl\": %.6g, ", s->kl);
    fprintf(r->log,
            "{\"step\": %" PRId64
            ", \"loss\": %.6f, \"lr\": %.8g, \"grad_norm\": %.6g, %s"
            "\"tokens\": %" PRId64 ", \"epoch\": %" PRIu64,
            s->step, s->loss, s->lr, s->grad_norm, kl, s->tokens, s->epoch);
    log_seen(r, s->stage);
    log_held(r, s);
    fprintf(r->log, ", \"tokens_per_s\": %.1f, \"seconds\": %.3f%s}\n", s->tokens_per_s,
            s->seconds, s->skipped ? ", \"skipped\": true" : "");
    if (fflush(r->log) != 0)
        return kj_err_errno(err, KJ_FAIL, "cannot write %s", r->metrics);
    return KJ_OK;
}

static struct kj_hf_save save_as(const struct kj_trainer *r)
{
    uint32_t end = r->feed->loaders[0].docs.end;
    struct kj_hf_save s = {.tokenizer = r->t->tokenizer,
                           .bos = end,
                           .eos = end,
                           .bf16 = r->run->checkpoint.export == 1};
    return s;
}

static int save(struct kj_trainer *r, struct kj_err *err)
{
    struct kj_hf_save s = save_as(r);
    if (r->saved == r->at.step || r->t->no_save)
        return KJ_OK;
    r->at.seen = r->feed->seen;
    r->at.n_seen = kj_feed_cells(r->feed);
    bool apart = r->ranks.apart;
    int rc = r->ranks.rank ? kj_ranks_lend(&r->ranks, r->moments.t, err)
                           : kj_checkpoint_save(r->ckpt, &r->at, r->m, &r->moments, &s,
                                                r->run->checkpoint.keep, err);
    if (r->ranks.apart && !apart)
        kj_trainer_note(r, "not all ranks see %s: rank 0 writes for them", r->t->dir);
    if (rc == KJ_OK)
        r->saved = r->at.step;
    return rc;
}

/* The model by itself; of rank 0, while the others lend it their weights. */
static int publish(struct kj_trainer *r, struct kj_err *err)
{
    struct kj_hf_save s = save_as(r);
    if (r->ranks.rank)
        return kj_ranks_lend(&r->ranks, r->moments.t, err);
    struct kj_hf_source from = kj_ranks_weights(&r->ranks);
    int rc = kj_hf_publish_from(&from, r->model, &s, err);
    return rc ? rc : kj_ranks_done(&r->ranks, err);
}

/* Whether the next step would end behind the time limit. */
static bool out_of_time(const struct kj_trainer *r, int64_t ran)
{
    double t = kj_now() - r->start;
    if (r->t->time_limit <= 0)
        return false;
    return t + (ran ? t / (double)ran : 0) > r->t->time_limit;
}

/* All ranks stop when one is asked to. */
static int asked_to_stop(struct kj_trainer *r, struct kj_train_result *out,
                         struct kj_err *err)
{
    double why[2] = {(r->t->stop && r->t->stop(r->t->ctx)) ||
                         (r->t->stop_after && r->at.step >= r->t->stop_after),
                     out_of_time(r, out->ran)};
    int rc = kj_ranks_add(&r->ranks, why, 2, err);
    if (rc == KJ_OK && why[0] > 0)
        out->end = KJ_TRAIN_STOPPED;
    else if (rc == KJ_OK && why[1] > 0)
        out->end = KJ_TRAIN_TIME;
    return rc;
}

/* Of what a ring of KJ_TRAIN_RECENT holds after so many steps. */
static double mean(const double *recent, int64_t steps)
{
    int64_t n = steps < KJ_TRAIN_RECENT ? steps : KJ_TRAIN_RECENT;
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += recent[i];
    return sum / (double)n;
}

/* Say which stage the next step belongs to, where that is new. */
static void tell_stage(const struct kj_trainer *r, bool first)
{
    const struct kj_run_stage *s = kj_stage_of(r->run, r->at.step);
    if (!r->run->staged || (!first && r->at.step != s->begin))
        return;
    const char *set = r->run->sets[s->sources[0].set];
    char more[40] = "";
    if (s->n_sources > 1)
        snprintf(more, sizeof more, " and %zu more", s->n_sources - 1);
    kj_trainer_note(r, "stage %s: steps %" PRId64 " to %" PRId64 ", from %s%s", s->name,
                    s->begin + 1, s->end, set ? set : "memory", more);
}

/* What the device has found out about itself since. */
static void tell_device(struct kj_trainer *r)
{
    if (strcmp(r->told, r->b->note) == 0)
        return;
    memcpy(r->told, r->b->note, sizeof r->told);
    kj_trainer_note(r, "%s", r->told);
}

/* What to do about a run that stopped: behind the message, once. */
static void advise(const struct kj_trainer *r, struct kj_err *err)
{
    size_t n = err ? strlen(err->msg) : 0;
    if (n == 0 || err->rc == KJ_USAGE || r->t->no_save || strstr(err->msg, "; start "))
        return;
    if (r->spoiled && r->saved >= 0)
        snprintf(err->msg + n, sizeof err->msg - n,
                 "; the newest checkpoint is of step %" PRId64, r->saved);
    else if (r->saved >= 0)
        snprintf(err->msg + n, sizeof err->msg - n,
                 "; start again to go on behind step %" PRId64, r->saved);
    else if (!r->spoiled)
        snprintf(err->msg + n, sizeof err->msg - n, "; there is no checkpoint yet");
}

/* The loss on held-out texts, where the step has a look at them. */
static int validate(struct kj_trainer *r, struct kj_train_step *s, struct kj_err *err)
{
    double t0 = kj_now();
    if (!kj_validation_due(&r->held, r->run, r->at.step))
        return KJ_OK;
    int rc = kj_ranks_settle(&r->ranks, err);
    rc = rc ? rc : kj_validation_look(&r->held, r->m, &r->ranks, err);
    s->val = r->held.loss;
    s->val_loss = r->held.mean;
    s->val_seconds = kj_now() - t0;
    return rc;
}

/* Behind this step others than the next one read the weights. */
static bool looked_at(const struct kj_trainer *r)
{
    const struct kj_run *c = r->run;
    bool last = r->at.step == c->schedule.steps;
    return (c->checkpoint.every && r->at.step % c->checkpoint.every == 0) ||
           (c->samples.every && (last || r->at.step % c->samples.every == 0));
}

static int loop(struct kj_trainer *r, struct kj_train_result *out, struct kj_err *err)
{
    const struct kj_run *c = r->run;
    int rc = KJ_OK;
    double recent[KJ_TRAIN_RECENT];
    out->end = KJ_TRAIN_DONE;
    r->ahead = kj_prefetch_start(r->feed, (size_t)r->ranks.rank, (size_t)r->ranks.size,
                                 r->at.step, c->schedule.steps);
    while (r->at.step < c->schedule.steps && rc == KJ_OK) {
        if ((rc = asked_to_stop(r, out, err)) || out->end != KJ_TRAIN_DONE)
            break;
        tell_stage(r, out->ran == 0);
        rc = kj_trainer_step(r, &out->last, err);
        if (rc == KJ_OK)
            rc = validate(r, &out->last, err);
        if (rc == KJ_OK)
            rc = log_step(r, &out->last, err);
        if (rc == KJ_OK && looked_at(r))
            rc = kj_ranks_settle(&r->ranks, err);
        if (rc)
            break;
        if (out->ran == 0)
            out->first_loss = out->last.loss;
        recent[out->ran++ % KJ_TRAIN_RECENT] = out->last.loss;
        out->last_loss = mean(recent, out->ran);
        if (r->t->on_step) {
            struct kj_train_step s = out->last;
            s.model = r->m;
            r->t->on_step(r->t->ctx, &s);
        }
        tell_device(r);
        if (c->checkpoint.every && r->at.step % c->checkpoint.every == 0)
            rc = save(r, err);
    }
    return rc ? rc : kj_ranks_settle(&r->ranks, err);
}

int kj_train(const struct kj_train *t, struct kj_backend *b,
             struct kj_train_result *result, struct kj_err *err)
{
    struct kj_trainer r = {
        .t = t, .run = t->run, .b = b, .saved = -1, .lock = -1, .start = kj_now()};
    memset(result, 0, sizeof *result);
    r.ckpt = kj_xprintf("%s/checkpoints", t->dir);
    r.model = kj_xprintf("%s/model", t->dir);
    r.metrics = kj_xprintf("%s/metrics.jsonl", t->dir);
    memcpy(r.told, b->note, sizeof r.told);
    int rc = set_up(&r, err);
    if (rc == KJ_OK)
        rc = start(&r, err);
    bool on = rc == KJ_OK || (rc == KJ_FATAL && r.saved >= 0);
    if (rc == KJ_OK)
        rc = loop(&r, result, err);
    if (rc == KJ_OK)
        rc = save(&r, err);
    if (rc == KJ_OK && result->end != KJ_TRAIN_STOPPED && !t->no_save)
        rc = publish(&r, err);
    if (rc && on)
        advise(&r, err);
    if (rc && t->comm) { /* or the others would wait */
        char why[1024];
        kj_comm_abort(t->comm, err ? kj_err_text(err, why, sizeof why) : "a fault");
    }
    result->last.val = NULL; /* goes with r */
    result->last.step = r.at.step;
    result->last.steps = t->run->schedule.steps;
    result->last.tokens = r.at.tokens;
    tear_down(&r);
    return rc;
}
