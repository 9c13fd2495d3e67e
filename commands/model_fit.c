/* model_fit.c - kijil model train and quantize. */
#include "commands/model_job.h"

#include <stdio.h>

/* ---- train ---- */

int kj_model_train(struct model_job *j)
{
    if (j->h.encoder)
        return kj_model_head_train(j);
    struct kj_err err = KJ_ERR_INIT;
    struct kj_buf text, model;
    struct kj_ft_train_stats st = {0};
    struct kj_ft_train *t = &j->c.t;
    t->loss += KJ_FT_HS; /* the enum's words stand in the order of the file's codes */
    t->memory = j->common.memory;
    if (kj_progress_wanted(&j->common))
        t->progress = kj_model_progress;
    t->ctx = &j->common;
    kj_buf_init(&model, (size_t)j->common.memory + ((size_t)1 << 30));
    int rc = kj_model_read_text(j, j->pos.v + 1, j->pos.n - 1, &text, &err);
    if (rc == KJ_OK)
        rc = kj_model_check_labels(j, &text, &err);
    if (rc == KJ_OK)
        rc = kj_ft_train(t, text.p, text.n, &model, &st, &err);
    if (rc == KJ_OK)
        rc = kj_model_write(j, &model, &err);
    if (rc == KJ_OK && !j->common.quiet) {
        fprintf(stderr,
                "kijil " KJ_VERSION " model train: %lld tokens, %d words, %d labels, "
                "mean loss %.4f, %.1f MB\n",
                (long long)st.tokens, st.words, st.labels, st.loss,
                (double)model.n / 1e6);
        if (st.labels == 1)
            fprintf(stderr,
                    "kijil model train: warning: there is one label only, so every"
                    " text will get it\n");
        kj_model_closing(j);
    }
    kj_buf_release(&text);
    kj_buf_release(&model);
    return rc == KJ_OK ? 0 : kj_cmd_fail(j->cmd, &err);
}

/* ---- quantize ---- */

int kj_model_quantize(struct model_job *j)
{
    struct kj_err err = KJ_ERR_INIT;
    struct kj_ft *m = NULL;
    struct kj_buf text = {0}, out;
    struct kj_ft_quantize q = {.cutoff = j->c.cutoff,
                               .dsub = j->c.dsub,
                               .qnorm = j->c.qnorm,
                               .qout = j->c.qout};
    int rc = KJ_OK;
    if (j->pos.n < 2 || (j->c.retrain && j->pos.n < 3) ||
        (!j->c.retrain && j->pos.n > 2))
        rc = kj_err_set(&err, KJ_USAGE,
                        j->c.retrain ? "--retrain needs MODEL and text"
                                     : "one MODEL is needed");
    if (rc == KJ_OK && j->c.retrain && j->c.cutoff == 0)
        rc = kj_err_set(&err, KJ_USAGE, "--retrain goes with --cutoff");
    kj_buf_init(&out, (size_t)j->common.memory + ((size_t)1 << 30));
    if (rc == KJ_OK)
        rc = kj_ft_open(&m, j->pos.v[1], &err);
    if (rc == KJ_OK && j->c.retrain) {
        rc = kj_model_read_text(j, j->pos.v + 2, j->pos.n - 2, &text, &err);
        q.retrain = &j->c.t;
        q.text = text.p;
        q.text_n = text.n;
        if (kj_progress_wanted(&j->common))
            j->c.t.progress = kj_model_progress;
        j->c.t.ctx = &j->common;
    }
    if (rc == KJ_OK)
        rc = kj_ft_quantise(m, &q, &out, &err);
    if (rc == KJ_OK)
        rc = kj_model_write(j, &out, &err);
    if (rc == KJ_OK && !j->common.quiet) {
        fprintf(stderr, "kijil " KJ_VERSION " model quantize: %.3f MB\n",
                (double)out.n / 1e6);
        kj_model_closing(j);
    }
    kj_buf_release(&text);
    kj_buf_release(&out);
    kj_ft_free(m);
    return rc == KJ_OK ? 0 : kj_cmd_fail(j->cmd, &err);
}
