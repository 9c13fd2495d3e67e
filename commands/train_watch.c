/* train_watch.c - what a person sees of a training run. */
#include "commands/train_watch.h"

#include <inttypes.h>
#include <malloc.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/input.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/output.h"
#include "commands/commands.h"
#include "commands/continue.h"
#include "manifests/ledger.h"
#include "manifests/report.h"
#include "nn/speed.h"
#include "tokenize/tokenizer.h"

/* Seconds between lines on stderr; at least between two looks of the ledger at
 * metrics.jsonl, which also take no more than 1/50 of the time. */
#define INTERVAL 5.0
#define SYNC     10.0
#define SYNC_PER 50.0

/* The peak is the best of a few products of matrices of these sizes. Large ones
 * alone say little where other processes have the cores, too: with two such
 * cores, 768 and 2048 gave 28 to 45 GFLOP/s, 512 30 to 111, 256 always 103. A GPU
 * is busy with large ones only, and its libraries begin during the first. Larger ones
 * are left out once the rates say that a product would take PEAK_MOST; 1024 took a
 * GPU that is emulated on the processor 5 s. */
static const unsigned peak_sizes[] = {256, 512, 768},
                      peak_sizes_gpu[] = {32, 32, 128, 1024, 4096};
#define PEAK_SECONDS 0.05
#define PEAK_MOST    0.2 /* s */

#define SAMPLES_MAX ((size_t)1 << 30)

struct kj_train_watch {
    struct kj_watching o;
    struct kj_ledger *ledger;
    struct kj_tok *tok;
    struct kj_buf text; /* of the sample being written */
    FILE *samples;
    char *db, *page, *metrics, *texts;
    bool no_ledger, no_samples;     /* a fault was told; no more is tried */
    int64_t metrics_at, texts_at;   /* what the ledger has of them, bytes */
    double synced, sync_cost, peak; /* peak: GFLOP/s; 0: not measured */
    double shown, window_t;         /* when the interval of the lines began */
    int64_t window_tokens;
    bool begun;
};

static void give_up(bool *flag, const struct kj_err *e, const char *what)
{
    char text[1024];
    fprintf(stderr, "kijil train: no more of the %s: %s\n", what,
            kj_err_text(e, text, sizeof text));
    *flag = true;
}

/* ---- start and end ---- */

static int peak(struct kj_train_watch *w, struct kj_err *err)
{
    bool cpu = strcmp(w->o.b->ops->name, "cpu") == 0;
    bool bf16 = w->o.run->optim.precision != KJ_PRECISION_F32;
    const unsigned *sizes = cpu ? peak_sizes : peak_sizes_gpu;
    size_t n = 0,
           most = (cpu ? sizeof peak_sizes : sizeof peak_sizes_gpu) / sizeof *sizes;
    for (double slowest = INFINITY;
         n < most && 2e-9 * pow(sizes[n], 3) <= PEAK_MOST * slowest; n++) {
        struct kj_speed_peaks s;
        struct kj_err e = KJ_ERR_INIT;
        int rc = kj_speed_peaks(w->o.b, sizes[n], PEAK_SECONDS, &s, &e);
        if (rc && n > 0 && w->o.b->no_memory) { /* that is no reason not to train */
            w->o.b->no_memory = false;
            break;
        }
        if (rc)
            return kj_err_set(err, rc, "%s", e.msg);
        w->peak = fmax(w->peak, bf16 ? s.gflops_bf16 : s.gflops);
        if (cpu || n > 0) /* not a library's beginning */
            slowest = fmin(s.gflops, s.gflops_bf16);
    }
    malloc_trim(0); /* or a small run's peak memory depends on what was measured */
    fprintf(stderr,
            "kijil train: peak %.*f GFLOP/s, the best of a few products of %s matrices "
            "of %u to %u\n",
            w->peak < 10, w->peak, bf16 ? "bf16" : "f32", sizes[0], sizes[n - 1]);
    return KJ_OK;
}

int kj_train_watch_new(struct kj_train_watch **out, const struct kj_watching *o,
                       struct kj_err *err)
{
    struct kj_train_watch *w = kj_xcalloc(1, sizeof *w);
    int rc = KJ_OK;
    w->o = *o;
    w->db = o->ledger ? kj_xstrdup(o->ledger) : kj_xprintf("%s/run.db", o->dir);
    w->page = kj_xprintf("%s/report.html", o->dir);
    w->metrics = kj_xprintf("%s/metrics.jsonl", o->dir);
    w->texts = kj_xprintf("%s/samples.jsonl", o->dir);
    kj_buf_init(&w->text, 16 << 20);
    if (o->run->samples.every && !o->lines_only && !o->tokenizer)
        rc = kj_err_set(err, KJ_USAGE,
                        "samples need the shards' tokenizer.json; name it with "
                        "--tokenizer");
    else if (o->run->samples.every && !o->lines_only)
        rc = kj_tok_load(&w->tok, o->tokenizer, err);
    if (rc == KJ_OK && !o->quiet)
        rc = peak(w, err);
    if (rc)
        kj_train_watch_end(w, false);
    else
        *out = w;
    return rc;
}

/* Keep the texts up to the step that the run goes on from. */
static int trim(struct kj_train_watch *w, int64_t step, struct kj_err *err)
{
    struct kj_buf b, keep;
    struct kj_json *j = kj_json_new();
    int rc = KJ_OK;
    kj_buf_init(&b, SAMPLES_MAX);
    kj_buf_init(&keep, SAMPLES_MAX);
    if (access(w->texts, F_OK) == 0)
        rc = kj_input_slurp(w->texts, &b, err);
    for (size_t at = 0; at < b.n && rc == KJ_OK;) {
        const char *nl = memchr(b.p + at, '\n', b.n - at);
        const struct kj_jval *v;
        if (!nl)
            break;
        size_t n = (size_t)(nl - b.p) - at;
        if (kj_json_parse(j, b.p + at, n, &v, NULL) == KJ_OK &&
            kj_jint(kj_jget(v, "step"), INT64_MAX) <= step)
            kj_buf_add(&keep, b.p + at, n + 1);
        at += n + 1;
    }
    if (rc == KJ_OK && (w->o.run->samples.every || b.n))
        rc = kj_output_file(w->texts, keep.p ? keep.p : "", keep.n, err);
    if (rc == KJ_OK && w->o.run->samples.every && !(w->samples = fopen(w->texts, "ae")))
        rc = kj_err_errno(err, KJ_FAIL, "cannot append to %s", w->texts);
    kj_buf_release(&b);
    kj_buf_release(&keep);
    kj_json_free(j);
    return rc;
}

/* The folder is ours by now. step: that the run goes on from. */
static void begin(struct kj_train_watch *w, int64_t step)
{
    struct kj_err err = KJ_ERR_INIT;
    w->begun = true;
    if (trim(w, step, &err) != KJ_OK)
        give_up(&w->no_samples, &err, "samples");
    kj_err_reset(&err);
    int rc = KJ_OK;
    if (!(w->o.ledger && strcmp(w->o.ledger, "none") == 0))
        rc = kj_ledger_open(&w->ledger, w->db, KJ_LEDGER_WRITE, &err);
    if (rc == KJ_OK && w->ledger)
        rc = kj_ledger_metrics_forget(w->ledger, w->o.dir, &err);
    if (rc)
        give_up(&w->no_ledger, &err, "ledger and the page");
}

static int sync_to(struct kj_train_watch *w, bool last, struct kj_err *err)
{
    struct kj_buf b;
    int rc =
        kj_ledger_metrics_more(w->ledger, w->o.dir, w->metrics, &w->metrics_at, err);
    if (rc == KJ_OK && access(w->texts, F_OK) == 0)
        rc = kj_ledger_metrics_more(w->ledger, w->o.dir, w->texts, &w->texts_at, err);
    kj_buf_init(&b, 64 << 20);
    if (rc == KJ_OK)
        rc = kj_report_training(w->ledger, w->o.dir, KJ_VERSION, last ? 0 : (int)SYNC,
                                &b, err);
    if (rc == KJ_OK)
        rc = kj_output_file(w->page, b.p, b.n, err);
    kj_buf_release(&b);
    return rc;
}

static void sync_now(struct kj_train_watch *w, bool last)
{
    struct kj_err err = KJ_ERR_INIT;
    double start = kj_now();
    if (!w->ledger || w->no_ledger)
        return;
    if (sync_to(w, last, &err) != KJ_OK)
        give_up(&w->no_ledger, &err, "ledger and the page");
    w->synced = kj_now();
    w->sync_cost = w->synced - start;
}

void kj_train_watch_end(struct kj_train_watch *w, bool done)
{
    if (!w)
        return;
    if (done && !w->begun && !w->o.lines_only)
        begin(w, INT64_MAX); /* there was nothing left to train */
    if (w->begun && !w->o.lines_only)
        sync_now(w, true);
    if (w->samples)
        fclose(w->samples);
    kj_ledger_close(w->ledger, NULL);
    kj_tok_free(w->tok);
    kj_buf_release(&w->text);
    free(w->db);
    free(w->page);
    free(w->metrics);
    free(w->texts);
    free(w);
}

/* ---- samples ---- */

static bool piece(void *ctx, const char *p, size_t n)
{
    return kj_buf_add(ctx, p, n) == KJ_OK;
}

static int sample(struct kj_train_watch *w, const struct kj_train_step *s, size_t k,
                  struct kj_err *err)
{
    const struct kj_run *run = w->o.run;
    const char *prompt = run->samples.prompts.v[k];
    struct kj_buf line;
    w->text.n = 0;
    struct kj_continue c = {
        .m = s->model,
        .tok = w->tok,
        .begin = w->o.end,
        .end = w->o.end,
        .sampler = {run->samples.temperature, 0.95, (uint64_t)run->seed},
        .most = run->samples.tokens,
        .ctx = &w->text,
        .piece = piece};
    int rc = kj_continue(&c, (struct kj_str){prompt, strlen(prompt)}, err);
    if (rc)
        return rc;
    kj_buf_init(&line, 64 << 20);
    kj_buf_printf(&line,
                  "{\"step\": %" PRId64 ", \"number\": %zu, \"prompt\": ", s->step, k);
    kj_json_put_str(&line, prompt, strlen(prompt));
    kj_buf_addz(&line, ", \"text\": ");
    kj_json_put_str(&line, w->text.p ? w->text.p : "", w->text.n);
    kj_buf_addz(&line, "}\n");
    if (fwrite(line.p, 1, line.n, w->samples) != line.n || fflush(w->samples) != 0)
        rc = kj_err_errno(err, KJ_FAIL, "cannot write %s", w->texts);
    kj_buf_release(&line);
    return rc;
}

static void samples(struct kj_train_watch *w, const struct kj_train_step *s)
{
    const struct kj_run *run = w->o.run;
    struct kj_err err = KJ_ERR_INIT;
    double start = kj_now();
    if (!w->samples || w->no_samples ||
        (s->step % run->samples.every != 0 && s->step != s->steps))
        return;
    for (size_t k = 0; k < run->samples.prompts.n; k++)
        if (sample(w, s, k, &err) != KJ_OK) {
            give_up(&w->no_samples, &err, "samples");
            return;
        }
    w->window_t += kj_now() - start; /* no part of the rate of training */
}

/* ---- lines ---- */

static void clock_text(double s, char *buf, size_t n)
{
    int64_t t = (int64_t)(s + 0.5);
    if (t >= 3600)
        snprintf(buf, n, "%" PRId64 ":%02d:%02d", t / 3600, (int)(t / 60 % 60),
                 (int)(t % 60));
    else
        snprintf(buf, n, "%d:%02d", (int)(t / 60), (int)(t % 60));
}

static void line(struct kj_train_watch *w, const struct kj_train_step *s)
{
    char eta[32], kl[32] = "", stage[40] = "", share[40] = "";
    double rate = (double)(s->tokens - w->window_tokens) / (s->seconds - w->window_t);
    double gflops = rate * w->o.flops_token * 1e-9;
    clock_text((double)(s->steps - s->step) * (double)w->o.tokens_step / rate, eta,
               sizeof eta);
    if (s->stage)
        snprintf(stage, sizeof stage, "  %s", s->stage);
    if (w->o.run->distil.teacher)
        snprintf(kl, sizeof kl, "  KL %.4f", s->kl);
    if (w->peak > 0)
        snprintf(share, sizeof share, " (%.0f %% of peak)", 100 * gflops / w->peak);
    fprintf(stderr,
            "step %" PRId64 "/%" PRId64
            "%s  loss %.4f%s  lr %.2e  |g| %.2f  %.0f tokens/s  "
            "%.0f GFLOP/s%s  ETA %s\n",
            s->step, s->steps, stage, s->loss, kl, s->lr, s->grad_norm, rate, gflops,
            share, eta);
    w->shown = w->window_t = s->seconds;
    w->window_tokens = s->tokens;
}

/* The loss on held-out texts, by set where there are several. */
static void held(struct kj_train_watch *w, const struct kj_train_step *s)
{
    const struct kj_strs *sets = &w->o.run->validation.data;
    w->window_t += s->val_seconds; /* no part of the rate of training */
    if (w->o.quiet)
        return;
    fprintf(stderr, "step %" PRId64 "/%" PRId64 "  validation loss %.4f", s->step,
            s->steps, s->val_loss);
    for (size_t i = 0; i < sets->n && sets->n > 1; i++)
        fprintf(stderr, "%s%s %.4f", i ? ", " : "  (", sets->v[i], s->val[i]);
    fprintf(stderr, "%s\n", sets->n > 1 ? ")" : "");
}

void kj_train_watch_step(void *ctx, const struct kj_train_step *s)
{
    struct kj_train_watch *w = ctx;
    bool first = !w->begun;
    if (first) {
        w->window_tokens = s->tokens - w->o.tokens_step;
        w->window_t = s->seconds - (double)w->o.tokens_step / s->tokens_per_s;
        w->begun = true;
        if (!w->o.lines_only)
            begin(w, s->step - 1);
        w->synced = kj_now();
    }
    if (!w->o.quiet &&
        (first || s->seconds - w->shown >= INTERVAL || s->step == s->steps))
        line(w, s);
    if (s->val)
        held(w, s);
    if (w->o.lines_only)
        return;
    samples(w, s);
    double since = kj_now() - w->synced;
    if (since >= SYNC && since >= SYNC_PER * w->sync_cost)
        sync_now(w, false);
}

void kj_train_watch_note(void *ctx, const char *text)
{
    const struct kj_train_watch *w = ctx;
    if (!w->o.quiet)
        fprintf(stderr, "kijil train: %s\n", text);
}
