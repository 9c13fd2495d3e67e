/* model_tune.c - kijil model autotune. */
#include <stdio.h>
#include <string.h>

#include "classify/ft_tune.h"
#include "commands/model_job.h"

static void put_options(FILE *to, const struct kj_ft_train *t)
{
    static const char *const losses[] = {"", "hs", "ns", "softmax", "ova"};
    fprintf(
        to,
        "--lr %g --epoch %lld --dim %lld --word-ngrams %lld --minn %lld --maxn %lld "
        "--bucket %lld --loss %s",
        t->lr, (long long)t->epoch, (long long)t->dim, (long long)t->word_ngrams,
        (long long)t->minn, (long long)t->maxn, (long long)t->bucket, losses[t->loss]);
}

static void put_quantize(FILE *to, const struct kj_ft_trial *x)
{
    fprintf(to, "--cutoff %lld --dsub %lld --qnorm%s --retrain --lr %g --epoch %lld",
            (long long)x->q.cutoff, (long long)x->q.dsub, x->q.qout ? " --qout" : "",
            x->t.lr, (long long)x->t.epoch);
}

static void tell(void *ctx, int64_t number, const struct kj_ft_trial *x, double f1,
                 bool best)
{
    const struct model_job *j = ctx;
    if (j->common.quiet)
        return;
    if (f1 >= 0)
        fprintf(stderr, "trial %lld: F1 %.4f%s  ", (long long)number, f1,
                best ? " *" : "");
    else
        fprintf(stderr, "trial %lld: no model  ", (long long)number);
    put_options(stderr, &x->t);
    if (j->c.modelsize > 0 && x->bytes > 0)
        fprintf(stderr, " --dsub %lld: %zu bytes", (long long)x->q.dsub, x->bytes);
    fputc('\n', stderr);
}

static int read_fixed(const struct kj_strs *names, unsigned *fixed, struct kj_err *err)
{
    static const struct {
        const char *name;
        unsigned bit;
    } known[] = {{"lr", KJ_TUNE_LR},         {"epoch", KJ_TUNE_EPOCH},
                 {"dim", KJ_TUNE_DIM},       {"word-ngrams", KJ_TUNE_WORD_NGRAMS},
                 {"minn", KJ_TUNE_SUBWORDS}, {"maxn", KJ_TUNE_SUBWORDS},
                 {"bucket", KJ_TUNE_BUCKET}, {"loss", KJ_TUNE_LOSS},
                 {"dsub", KJ_TUNE_DSUB}};
    for (size_t i = 0; i < names->n; i++) {
        unsigned bit = 0;
        for (size_t k = 0; k < sizeof known / sizeof *known; k++)
            if (strcmp(names->v[i], known[k].name) == 0)
                bit = known[k].bit;
        if (!bit)
            return kj_err_set(err, KJ_USAGE, "--fix: '%s' is not searched",
                              names->v[i]);
        *fixed |= bit;
    }
    return KJ_OK;
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
    return read_fixed(&j->c.fix, &o->fixed, err);
}

int kj_model_autotune(struct model_job *j)
{
    struct kj_err err = KJ_ERR_INIT;
    struct kj_buf text = {0}, valid = {0}, model;
    struct kj_ft_trial best;
    double f1 = 0;
    struct kj_ft_tune o = {.trials = j->c.trials,
                           .seconds = j->c.duration,
                           .stop = &kj_interrupted,
                           .tell = tell,
                           .dsub = j->c.dsub,
                           .model_size = j->c.modelsize,
                           .ctx = j};
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
        put_options(stderr, &best.t);
        if (o.model_size > 0) {
            fprintf(stderr, "\n%zu bytes, as by model quantize ", best.bytes);
            put_quantize(stderr, &best);
        }
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
