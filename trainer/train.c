/* train.c - the training loop. */
#include "trainer/train.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/input.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/output.h"
#include "nn/backend.h"
#include "trainer/checkpoint.h"
#include "trainer/llama.h"
#include "trainer/muon.h"

#define METRICS_MAX ((size_t)4 << 30)

struct trainer {
    const struct kj_train *t;
    const struct kj_run *run;
    struct kj_backend *b;
    struct kj_llama *m;
    struct kj_teacher teacher; /* m NULL: none */
    struct kj_muon *muon;      /* or NULL */
    struct kj_tensor *m1, *m2; /* moments */
    struct kj_loader loader;
    struct kj_packed *packs; /* one per pass of a step */
    size_t passes;
    struct kj_checkpoint at;
    int64_t saved; /* step of the newest checkpoint, -1 none */
    char *ckpt, *model, *metrics;
    FILE *log;
    int lock; /* descriptor that holds DIR/.lock, or -1 */
    double start;
};

static double now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + 1e-9 * (double)ts.tv_nsec;
}

static char *join(const char *dir, const char *name)
{
    size_t n = strlen(dir) + strlen(name) + 2;
    char *p = kj_xmalloc(n);
    snprintf(p, n, "%s/%s", dir, name);
    return p;
}

static void note(const struct trainer *r, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
static void note(const struct trainer *r, const char *fmt, ...)
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

static int run_hash(struct trainer *r, struct kj_err *err)
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

static int open_teacher(struct trainer *r, size_t pass, struct kj_err *err)
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
    if (rc == KJ_OK)
        rc = kj_llama_new(&r->teacher.m, r->b, &h.shape, pass,
                          (size_t)c->optim.loss_chunk, false, err);
    if (rc == KJ_OK)
        rc = kj_hf_load(r->teacher.m, c->distil.teacher, err);
    r->teacher.weight = c->distil.weight;
    r->teacher.temperature = c->distil.temperature;
    return rc;
}

static int set_up(struct trainer *r, struct kj_err *err)
{
    const struct kj_run *c = r->run;
    size_t micro = (size_t)c->data.micro, batch = (size_t)c->data.batch;
    size_t pass = micro * (size_t)c->data.seq_len;
    int rc = kj_llama_new(&r->m, r->b, &c->model, pass, (size_t)c->optim.loss_chunk,
                          true, err);
    if (rc)
        return rc;
    if (c->distil.teacher)
        rc = open_teacher(r, pass, err);
    if (rc)
        return rc;
    r->m1 = r->b->ops->tensor_new(r->b, KJ_F32, r->m->n);
    r->m2 = r->b->ops->tensor_new(r->b, KJ_F32, r->m->n);
    if (c->optim.kind == KJ_OPTIM_MUON)
        r->muon = kj_muon_new(r->b, &c->model);
    rc = r->b->ops->sync(r->b, err);
    if (rc)
        return rc;
    r->passes = (batch + micro - 1) / micro;
    r->packs = kj_xcalloc(r->passes, sizeof *r->packs);
    for (size_t i = 0; i < r->passes; i++)
        kj_packed_init(&r->packs[i], pass);
    rc = kj_loader_init(&r->loader, &r->t->docs, (uint64_t)c->seed, c->data.shuffle,
                        err);
    return rc ? rc : run_hash(r, err);
}

static void tear_down(struct trainer *r)
{
    if (r->log)
        fclose(r->log);
    if (r->lock >= 0)
        close(r->lock);
    for (size_t i = 0; i < r->passes; i++)
        kj_packed_release(&r->packs[i]);
    free(r->packs);
    kj_loader_release(&r->loader);
    r->b->ops->tensor_free(r->b, r->m1);
    r->b->ops->tensor_free(r->b, r->m2);
    kj_llama_free(r->m);
    kj_llama_free(r->teacher.m);
    kj_muon_free(r->muon);
    free(r->ckpt);
    free(r->model);
    free(r->metrics);
}

/* The newest checkpoint whose files are sound; older ones if it is not. */
static int resume(struct trainer *r, struct kj_err *err)
{
    size_t n;
    int64_t *v = kj_checkpoint_list(r->ckpt, &n);
    int rc = KJ_OK;
    r->saved = -1;
    for (size_t i = 0; i < n && r->saved < 0 && rc == KJ_OK; i++) {
        struct kj_err why = KJ_ERR_INIT;
        struct kj_checkpoint c;
        char text[1024];
        if (r->t->force) {
            rc = kj_checkpoint_remove(r->ckpt, v[i], err);
            continue;
        }
        int got = kj_checkpoint_load(r->ckpt, v[i], &c, NULL, NULL, NULL, &why);
        if (got == KJ_OK && (strcmp(c.run, r->at.run) || strcmp(c.data, r->at.data))) {
            rc = kj_err_set(err, KJ_USAGE,
                            "%s holds a run with another %s; --force starts over, or "
                            "give another folder",
                            r->t->dir,
                            strcmp(c.run, r->at.run) ? "configuration" : "data set");
            break;
        }
        if (got == KJ_OK)
            got = kj_checkpoint_load(r->ckpt, v[i], &c, r->m, r->m1, r->m2, &why);
        if (got == KJ_OK) {
            r->at = c;
            r->loader.row = c.row;
            r->saved = v[i];
            note(r, "goes on behind step %" PRId64, c.step);
        } else {
            note(r, "checkpoint %" PRId64 " is damaged: %s", v[i],
                 kj_err_text(&why, text, sizeof text));
        }
    }
    free(v);
    return rc;
}

/* Keep the rows of metrics.jsonl up to the step that we go on from. */
static int trim_metrics(struct trainer *r, struct kj_err *err)
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
static int lock_dir(struct trainer *r, struct kj_err *err)
{
    char *path = join(r->t->dir, ".lock");
    int rc = KJ_OK;
    r->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (r->lock < 0)
        rc = kj_err_errno(err, KJ_FAIL, "cannot open %s", path);
    else if (flock(r->lock, LOCK_EX | LOCK_NB) != 0)
        rc = kj_err_set(err, KJ_FAIL, "another process trains in %s", r->t->dir);
    free(path);
    return rc;
}

static int start(struct trainer *r, struct kj_err *err)
{
    int rc = kj_output_mkdirs(r->t->dir, err);
    if (rc == KJ_OK)
        rc = lock_dir(r, err);
    if (rc == KJ_OK)
        rc = kj_output_mkdirs(r->ckpt, err);
    if (rc == KJ_OK)
        rc = resume(r, err);
    if (rc == KJ_OK && r->saved < 0) {
        if (r->run->init_from)
            rc = kj_hf_load(r->m, r->run->init_from, err);
        else
            kj_llama_init(r->m, (uint64_t)r->run->seed);
    }
    return rc ? rc : trim_metrics(r, err);
}

/* ---- one step ---- */

/* Name the first parameter with a value that is not finite. */
static int blame(struct trainer *r, double loss, uint64_t from, struct kj_err *err)
{
    uint64_t epoch,
        token = kj_loader_place(&r->loader, from, (size_t)r->run->data.seq_len, &epoch);
    struct kj_tensor *t[2] = {r->m->w, r->m->g};
    static const char *const what[2] = {"the weight", "the gradient of"};
    for (int k = 0; k < 2; k++) {
        const struct kj_param *first = NULL;
        size_t bad = 0;
        for (size_t i = 0; i < r->m->n_params; i++) {
            const struct kj_param *p = &r->m->params[i];
            double s =
                r->b->ops->sumsq(r->b, kj_mat(t[k], p->at, p->cols), p->rows * p->cols);
            if (!isfinite(s)) {
                bad++;
                first = first ? first : p;
            }
        }
        if (first)
            return kj_err_set(err, KJ_FATAL,
                              "step %" PRId64 ": %s %s is not finite (first of %zu of "
                              "%zu; loss %g; the step's data begin with row %" PRIu64
                              ", at token %" PRIu64 " of the shards, epoch %" PRIu64
                              ")",
                              r->at.step + 1, what[k], first->name, bad, r->m->n_params,
                              loss, from, token, epoch);
    }
    return kj_err_set(err, KJ_FATAL,
                      "step %" PRId64 ": the loss is %g (data: row %" PRIu64
                      ", token %" PRIu64 ", epoch %" PRIu64 ")",
                      r->at.step + 1, loss, from, token, epoch);
}

/* Muon for its matrices; AdamW over runs of other parameters that are decayed
 * alike. */
static void update(struct trainer *r, double factor, double clip)
{
    const struct kj_run *c = r->run;
    struct kj_llama *m = r->m;
    double t = (double)(r->at.step + 1 - r->at.skipped), lr = c->optim.lr * factor;
    double decay =
        c->optim.weight_decay * (c->optim.decay == KJ_DECAY_INDEPENDENT ? factor : lr);
    struct kj_muon_step u = {.lr = (float)lr,
                             .decay = (float)decay,
                             .momentum = (float)c->optim.momentum,
                             .grad_scale = (float)clip};
    struct kj_adamw p = {
        .lr = (float)lr,
        .beta1 = (float)c->optim.beta1,
        .beta2 = (float)c->optim.beta2,
        .eps = (float)c->optim.eps,
        .grad_scale = (float)clip,
        .fix1 = (float)(1 / (1 - pow(c->optim.beta1, t))),
        .fix2 = (float)(1 / (1 - pow(c->optim.beta2, t))),
    };
    for (size_t i = 0, k; i < m->n_params; i = k) {
        size_t at = m->params[i].at, end = at;
        if (r->muon && kj_muon_takes(&m->params[i])) {
            kj_muon_move(r->muon, m, &m->params[i], r->m1, &u);
            k = i + 1;
            continue;
        }
        for (k = i; k < m->n_params && m->params[k].vector == m->params[i].vector &&
                    !(r->muon && kj_muon_takes(&m->params[k]));
             k++)
            end = m->params[k].at + m->params[k].rows * m->params[k].cols;
        p.decay = m->params[i].vector ? 0.0f : (float)decay;
        r->b->ops->adamw(r->b, kj_mat(m->w, at, 1), kj_mat(m->g, at, 1),
                         kj_mat(r->m1, at, 1), kj_mat(r->m2, at, 1), end - at, &p);
    }
}

/* Move the weights, or leave a step out that stands out. */
static bool move(struct trainer *r, double factor, double loss, double norm)
{
    const struct kj_run *c = r->run;
    bool clip = c->optim.clip > 0 && norm > c->optim.clip;
    if (c->optim.skip > 0 && kj_spike_step(&r->at.spikes, c->optim.skip, loss, norm)) {
        r->at.skipped++;
        note(r,
             "step %" PRId64 " is left out: loss %.4f, gradient norm %.4g stand out "
             "(%" PRId64 " so far)",
             r->at.step + 1, loss, norm, r->at.skipped);
        return false;
    }
    update(r, factor, clip ? c->optim.clip / norm : 1);
    return true;
}

static int one_step(struct trainer *r, struct kj_train_step *s, struct kj_err *err)
{
    const struct kj_run *c = r->run;
    const struct kj_ops *o = r->b->ops;
    uint64_t from = r->loader.row, epoch;
    double t0 = now(), sum = 0, kl = 0, norm;
    int64_t count = 0;
    size_t left = (size_t)c->data.batch, micro = (size_t)c->data.micro;
    int rc = KJ_OK;
    /* All passes first: the loss is divided by the whole step's count. */
    for (size_t i = 0; i < r->passes && rc == KJ_OK; i++) {
        size_t rows = left < micro ? left : micro;
        rc = kj_loader_next(&r->loader, rows, (size_t)c->data.seq_len, &r->packs[i],
                            err);
        for (size_t k = 0; rc == KJ_OK && k < r->packs[i].rows.n; k++)
            count += r->packs[i].targets[k] >= 0;
        left -= rows;
    }
    o->zero(r->b, kj_mat(r->m->g, 0, 1), r->m->n);
    for (size_t i = 0; i < r->passes && rc == KJ_OK; i++) {
        double part = 0, apart = 0;
        float one = 1.0f / (float)count, zeta = (float)c->optim.z_loss;
        if (r->teacher.m)
            rc = kj_llama_distil(r->m, &r->teacher, &r->packs[i].rows, true, one, zeta,
                                 &part, &apart, err);
        else
            rc = kj_llama_loss(r->m, &r->packs[i].rows, true, one, zeta, &part, NULL,
                               err);
        sum += part;
        kl += apart;
    }
    if (rc)
        return rc;
    norm = sqrt(o->sumsq(r->b, kj_mat(r->m->g, 0, 1), r->m->n));
    if (!isfinite(sum) || !isfinite(kl) || !isfinite(norm))
        return blame(r, sum / (double)count, from, err);
    double factor = kj_schedule_factor(c, r->at.step);
    bool moved = move(r, factor, sum / (double)count, norm);
    rc = o->sync(r->b, err);
    r->at.step++;
    r->at.tokens += count;
    r->at.row = r->loader.row;
    double t1 = now();
    kj_loader_place(&r->loader, from, (size_t)c->data.seq_len, &epoch);
    *s = (struct kj_train_step){
        .step = r->at.step,
        .steps = c->schedule.steps,
        .loss = sum / (double)count,
        .kl = kl / (double)count,
        .skipped = !moved,
        .lr = c->optim.lr * factor,
        .grad_norm = norm,
        .tokens = r->at.tokens,
        .tokens_per_s = (double)count / (t1 - t0),
        .seconds = t1 - r->start,
        .epoch = epoch,
    };
    return rc;
}

static int log_step(struct trainer *r, const struct kj_train_step *s,
                    struct kj_err *err)
{
    char kl[40] = "";
    if (r->teacher.m)
        snprintf(kl, sizeof kl, "\"kl\": %.6g, ", s->kl);
    fprintf(r->log,
            "{\"step\": %" PRId64
            ", \"loss\": %.6f, \"lr\": %.8g, \"grad_norm\": %.6g, %s"
            "\"tokens\": %" PRId64 ", \"epoch\": %" PRIu64
            ", \"tokens_per_s\": %.1f, \"seconds\": %.3f%s}\n",
            s->step, s->loss, s->lr, s->grad_norm, kl, s->tokens, s->epoch,
            s->tokens_per_s, s->seconds, s->skipped ? ", \"skipped\": true" : "");
    if (fflush(r->log) != 0)
        return kj_err_errno(err, KJ_FAIL, "cannot write %s", r->metrics);
    return KJ_OK;
}

static struct kj_hf_save save_as(const struct trainer *r)
{
    struct kj_hf_save s = {.tokenizer = r->t->tokenizer,
                           .bos = r->t->docs.end,
                           .eos = r->t->docs.end,
                           .bf16 = r->run->checkpoint.export == 1};
    return s;
}

static int save(struct trainer *r, struct kj_err *err)
{
    struct kj_hf_save s = save_as(r);
    if (r->saved == r->at.step)
        return KJ_OK;
    int rc = kj_checkpoint_save(r->ckpt, &r->at, r->m, r->m1, r->m2, &s,
                                r->run->checkpoint.keep, err);
    if (rc == KJ_OK)
        r->saved = r->at.step;
    return rc;
}

/* Whether the next step would end behind the time limit. */
static bool out_of_time(const struct trainer *r, int64_t ran)
{
    double t = now() - r->start;
    if (r->t->time_limit <= 0)
        return false;
    return t + (ran ? t / (double)ran : 0) > r->t->time_limit;
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

static int loop(struct trainer *r, struct kj_train_result *out, struct kj_err *err)
{
    const struct kj_run *c = r->run;
    int rc = KJ_OK;
    double recent[KJ_TRAIN_RECENT];
    out->end = KJ_TRAIN_DONE;
    while (r->at.step < c->schedule.steps && rc == KJ_OK) {
        if ((r->t->stop && r->t->stop(r->t->ctx)) ||
            (r->t->stop_after && r->at.step >= r->t->stop_after)) {
            out->end = KJ_TRAIN_STOPPED;
            break;
        }
        if (out_of_time(r, out->ran)) {
            out->end = KJ_TRAIN_TIME;
            break;
        }
        rc = one_step(r, &out->last, err);
        if (rc == KJ_OK)
            rc = log_step(r, &out->last, err);
        if (rc)
            break;
        if (out->ran == 0)
            out->first_loss = out->last.loss;
        recent[out->ran++ % KJ_TRAIN_RECENT] = out->last.loss;
        out->last_loss = mean(recent, out->ran);
        if (r->t->on_step)
            r->t->on_step(r->t->ctx, &out->last);
        if (c->checkpoint.every && r->at.step % c->checkpoint.every == 0)
            rc = save(r, err);
    }
    return rc;
}

int kj_train(const struct kj_train *t, struct kj_backend *b,
             struct kj_train_result *result, struct kj_err *err)
{
    struct trainer r = {
        .t = t, .run = t->run, .b = b, .saved = -1, .lock = -1, .start = now()};
    memset(result, 0, sizeof *result);
    r.ckpt = join(t->dir, "checkpoints");
    r.model = join(t->dir, "model");
    r.metrics = join(t->dir, "metrics.jsonl");
    int rc = set_up(&r, err);
    if (rc == KJ_OK)
        rc = start(&r, err);
    if (rc == KJ_OK)
        rc = loop(&r, result, err);
    if (rc == KJ_OK)
        rc = save(&r, err);
    if (rc == KJ_OK && result->end != KJ_TRAIN_STOPPED) {
        struct kj_hf_save s = save_as(&r);
        rc = kj_hf_publish(r.m, r.model, &s, err);
    }
    result->last.step = r.at.step;
    result->last.steps = t->run->schedule.steps;
    result->last.tokens = r.at.tokens;
    tear_down(&r);
    return rc;
}
