/* model_tune.c - kijil model autotune. */
#include <stdio.h>
#include <string.h>

#include "classify/ft_tune.h"
#include "commands/model_job.h"

static void put_options(FILE *to, const struct kj_ft_train *t)
{
    fprintf(
        to,
        "--lr %g --epoch %lld --dim %lld --word-ngrams %lld --minn %lld --maxn %lld "
        "--bucket %lld",
        t->lr, (long long)t->epoch, (long long)t->dim, (long long)t->word_ngrams,
        (long long)t->minn, (long long)t->maxn, (long long)t->bucket);
}

static void tell(void *ctx, int64_t trial, const struct kj_ft_train *t, double f1,
                 bool best)
{
    const struct kj_common *c = ctx;
    if (c->quiet)
        return;
    fprintf(stderr, "trial %lld: F1 %.4f%s  ", (long long)trial, f1, best ? " *" : "");
    put_options(stderr, t);
    fputc('\n', stderr);
}

static int usage(struct model_job *j, struct kj_ft_tune *o, struct kj_err *err)
{
    const char *metric = j->c.tune_metric;
    if (j->c.validation.n == 0)
        return kj_err_set(err, KJ_USAGE, "what is it judged by? (--validation FILE)");
    if (j->c.trials == 0 && j->c.duration == 0)
        return kj_err_set(err, KJ_USAGE, "--trials or --duration must be over 0");
    if (strncmp(metric, "f1:", 3) == 0 && metric[3])
        o->label = metric + 3;
    else if (strcmp(metric, "f1") != 0)
        return kj_err_set(err, KJ_USAGE, "--tune-metric is f1 or f1:LABEL, not '%s'",
                          metric);
    return KJ_OK;
}

int kj_model_autotune(struct model_job *j)
{
    struct kj_err err = KJ_ERR_INIT;
    struct kj_buf text = {0}, valid = {0}, model;
    struct kj_ft_train best;
    double f1 = 0;
    struct kj_ft_tune o = {.trials = j->c.trials,
                           .seconds = j->c.duration,
                           .stop = &kj_interrupted,
                           .tell = tell,
                           .ctx = &j->common};
    j->c.t.loss += KJ_FT_HS;
    j->c.t.memory = j->common.memory;
    o.base = j->c.t;
    kj_buf_init(&model, (size_t)j->common.memory + ((size_t)1 << 30));
    int rc = usage(j, &o, &err);
    if (rc == KJ_OK)
        rc = kj_model_read_text(j, j->pos.v + 1, j->pos.n - 1, &text, &err);
    if (rc == KJ_OK)
        rc = kj_model_check_labels(j, &text, &err);
    if (rc == KJ_OK)
        rc = kj_model_read_text(j, j->c.validation.v, j->c.validation.n, &valid, &err);
    if (rc == KJ_OK)
        rc = kj_model_check_labels(j, &valid, &err);
    o.text = text.p;
    o.text_n = text.n;
    o.valid = valid.p;
    o.valid_n = valid.n;
    kj_cmd_signals();
    if (rc == KJ_OK)
        rc = kj_ft_tune(&o, &best, &f1, &model, &err);
    if (rc == KJ_OK)
        rc = kj_model_write(j, &model, &err);
    if (rc == KJ_OK && !j->common.quiet) {
        fprintf(stderr, "kijil " KJ_VERSION " model autotune: F1 %.4f with ", f1);
        put_options(stderr, &best);
        fputc('\n', stderr);
        kj_model_closing(j);
    }
    kj_buf_release(&text);
    kj_buf_release(&valid);
    kj_buf_release(&model);
    if (rc == KJ_EOF)
        return 130;
    return rc == KJ_OK ? 0 : kj_cmd_fail(j->cmd, &err);
}
