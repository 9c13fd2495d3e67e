/* model_test.c - kijil model test. */
#include "commands/model_job.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

struct score {
    uint64_t gold, predicted, right;
};

static double ratio(uint64_t a, uint64_t b)
{
    return b ? (double)a / (double)b : 0;
}

/* Count one line's predictions against its labels. */
static void count_line(const int32_t *gold, size_t n_gold, const struct kj_ft_hit *hits,
                       int32_t n_hits, struct score *labels, struct score *all)
{
    for (size_t g = 0; g < n_gold; g++)
        labels[gold[g]].gold++;
    all->gold += n_gold;
    all->predicted += (uint64_t)n_hits;
    for (int32_t h = 0; h < n_hits; h++) {
        bool right = false;
        for (size_t g = 0; g < n_gold && !right; g++)
            right = gold[g] == hits[h].label;
        labels[hits[h].label].predicted++;
        labels[hits[h].label].right += right;
        all->right += right;
    }
}

static int test_text(const struct model_job *j, const struct kj_ft *m,
                     const struct kj_buf *text, struct score *labels, struct score *all,
                     uint64_t *lines, struct kj_err *err)
{
    struct kj_ft_scratch *s = kj_ft_scratch_new(m, 0);
    int32_t k = (int32_t)j->c.k < kj_ft_labels(m) ? (int32_t)j->c.k : kj_ft_labels(m);
    struct kj_ft_hit *hits = kj_xcalloc((size_t)k, sizeof *hits);
    int rc = KJ_OK;
    for (size_t at = 0, used = 0; at < text->n && rc == KJ_OK; at += used) {
        const int32_t *gold;
        int32_t n = 0;
        rc = kj_ft_predict(m, s, text->p + at, text->n - at, false, k,
                           (float)j->c.threshold, hits, &n, &used, err);
        size_t n_gold = kj_ft_true_labels(s, &gold);
        if (rc != KJ_OK || n_gold == 0 || !kj_ft_known(s))
            continue;
        (*lines)++;
        count_line(gold, n_gold, hits, n, labels, all);
    }
    free(hits);
    kj_ft_scratch_free(s);
    return rc;
}

static void report(const struct model_job *j, const struct kj_ft *m,
                   const struct score *labels, const struct score *all, uint64_t lines,
                   struct kj_buf *b)
{
    kj_buf_printf(b, "N\t%llu\nP@%lld\t%.4f\nR@%lld\t%.4f\n\n",
                  (unsigned long long)lines, (long long)j->c.k,
                  ratio(all->right, all->predicted), (long long)j->c.k,
                  ratio(all->right, all->gold));
    kj_buf_addz(b, "label\tprecision\trecall\tF1\ttrue\tpredicted\n");
    for (int32_t i = 0; i < kj_ft_labels(m); i++) {
        struct kj_str name = kj_ft_label(m, i);
        const struct score *s = &labels[i];
        kj_buf_add(b, name.p, name.n);
        kj_buf_printf(b, "\t%.4f\t%.4f\t%.4f\t%llu\t%llu\n",
                      ratio(s->right, s->predicted), ratio(s->right, s->gold),
                      ratio(2 * s->right, s->predicted + s->gold),
                      (unsigned long long)s->gold, (unsigned long long)s->predicted);
    }
}

int kj_model_test(struct model_job *j)
{
    struct kj_err err = KJ_ERR_INIT;
    struct kj_ft *m = NULL;
    struct kj_buf text = {0}, out;
    struct score all = {0}, *labels = NULL;
    uint64_t lines = 0;
    if (j->pos.n < 2) {
        kj_err_set(&err, KJ_USAGE, "which model? (kijil model test MODEL [FILE...])");
        return kj_cmd_fail(j->cmd, &err);
    }
    if (j->c.json && j->c.curve.n == 0) {
        kj_err_set(&err, KJ_USAGE, "--json goes with --curve LABEL");
        return kj_cmd_fail(j->cmd, &err);
    }
    struct stat st;
    if (stat(j->pos.v[1], &st) == 0 && S_ISDIR(st.st_mode)) {
        if (j->c.curve.n == 0)
            return kj_model_head_test(j);
        kj_err_set(&err, KJ_USAGE, "--curve is for fastText models, not for a folder");
        return kj_cmd_fail(j->cmd, &err);
    }
    kj_buf_init(&out, (size_t)1 << 30);
    int rc = kj_ft_open(&m, j->pos.v[1], &err);
    if (rc == KJ_OK)
        rc = kj_model_read_text(j, j->pos.v + 2, j->pos.n - 2, &text, &err);
    if (rc == KJ_OK) {
        labels = kj_xcalloc((size_t)kj_ft_labels(m), sizeof *labels);
        rc = test_text(j, m, &text, labels, &all, &lines, &err);
    }
    if (rc == KJ_OK && lines == 0)
        rc = kj_err_set(&err, KJ_FAIL,
                        "no line has both a label and words of the model");
    if (rc == KJ_OK) {
        if (!j->c.json)
            report(j, m, labels, &all, lines, &out);
        rc = kj_model_curves(j, m, &text, &out, &err);
    }
    if (rc == KJ_OK)
        rc = kj_model_write(j, &out, &err);
    free(labels);
    kj_buf_release(&text);
    kj_buf_release(&out);
    kj_ft_free(m);
    return rc == KJ_OK ? 0 : kj_cmd_fail(j->cmd, &err);
}
