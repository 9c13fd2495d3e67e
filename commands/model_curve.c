/* model_curve.c - kijil model test --curve: precision and recall of one label at
 * every cut, and whether its probabilities are what they say. */
#include <math.h>
#include <stdlib.h>

#include "base/json.h"
#include "classify/eval.h"
#include "commands/model_job.h"

#define STEPS 20 /* points of a curve: recalls of 5 %, 10 %, ... */
#define BAR   30 /* columns that stand for 1 */

struct curve {
    struct kj_str label;
    size_t n, gold;
    double average_precision, ece;
    struct kj_eval_cut best, cuts[STEPS];
    size_t n_cuts;
    struct kj_eval_bin bins[KJ_EVAL_BINS];
};

static int score_lines(const struct kj_ft *m, int32_t label, const struct kj_buf *text,
                       struct kj_eval_point **points, size_t *n, struct kj_err *err)
{
    struct kj_ft_scratch *s = kj_ft_scratch_new(m, 0);
    struct kj_ft_hit *hits = kj_xcalloc((size_t)kj_ft_labels(m), sizeof *hits);
    size_t cap = 0;
    int rc = KJ_OK;
    for (size_t at = 0, used = 0; at < text->n && rc == KJ_OK; at += used) {
        const int32_t *gold;
        int32_t k = 0;
        rc = kj_ft_predict(m, s, text->p + at, text->n - at, false,
                           kj_ft_labels(m) == 2 ? 1 : -1, 0, hits, &k, &used, err);
        size_t n_gold = kj_ft_true_labels(s, &gold);
        if (rc != KJ_OK || n_gold == 0 || !kj_ft_known(s))
            continue;
        if (*n == cap) {
            cap = cap ? 2 * cap : 4096;
            *points = kj_xrealloc(*points, cap * sizeof **points);
        }
        struct kj_eval_point *p = &(*points)[(*n)++];
        *p = (struct kj_eval_point){0, false};
        for (size_t g = 0; g < n_gold; g++)
            p->gold |= gold[g] == label;
        p->score = kj_ft_score_of(m, label, hits, k);
    }
    free(hits);
    kj_ft_scratch_free(s);
    return rc;
}

static void measure(struct curve *c, struct kj_eval_point *p, size_t n)
{
    kj_eval_sort(p, n);
    c->n = n;
    c->average_precision = kj_eval_average_precision(p, n);
    c->best = kj_eval_best(p, n);
    c->gold = c->best.gold;
    c->n_cuts = kj_eval_curve(p, n, STEPS, c->cuts);
    c->ece = kj_eval_calibration(p, n, c->bins);
}

/* A cut goes into --min as it stands here: the number that `classify` writes and
 * compares for the same score, not one rounded up past it. */
static void put_cut(struct kj_buf *b, double v)
{
    if (isfinite(v))
        kj_json_put_float(b, (float)v);
    else
        kj_buf_addz(b, "null");
}

static void put_text(const struct curve *c, struct kj_buf *b)
{
    kj_buf_printf(b, "\nprecision and recall of %.*s, %zu of %zu lines\n",
                  (int)c->label.n, c->label.p, c->gold, c->n);
    kj_buf_printf(b, "average precision\t%.4f\nbest F1\t%.4f at ", c->average_precision,
                  c->best.f1);
    put_cut(b, isfinite(c->best.cut) ? c->best.cut : 1);
    kj_buf_addz(b, "\ncut\tprecision\trecall\tF1\n");
    for (size_t i = 0; i < c->n_cuts; i++) {
        const struct kj_eval_cut *q = &c->cuts[i];
        put_cut(b, q->cut);
        kj_buf_printf(b, "\t%.4f\t%.4f\t%.4f\t%.*s\n", q->precision, q->recall, q->f1,
                      (int)lround(q->precision * BAR),
                      "##############################");
    }
    kj_buf_printf(b, "calibration error\t%.4f\nprobability\tmean\ttrue\tlines\n",
                  c->ece);
    for (int i = 0; i < KJ_EVAL_BINS; i++) {
        const struct kj_eval_bin *q = &c->bins[i];
        if (q->n)
            kj_buf_printf(b, "%.1f-%.1f\t%.4f\t%.4f\t%zu\t%.*s\n", i / 10.0,
                          (i + 1) / 10.0, q->score, q->share, q->n,
                          (int)lround(q->share * BAR),
                          "##############################");
    }
}

static void num(struct kj_buf *b, const char *key, double v)
{
    kj_buf_printf(b, "%s\"%s\":", b->p[b->n - 1] == '{' ? "" : ",", key);
    kj_json_put_real(b, round(v * 1e6) / 1e6);
}

static void put_json(const struct curve *c, struct kj_buf *b)
{
    kj_buf_addz(b, "{\"label\":");
    kj_json_put_str(b, c->label.p, c->label.n);
    num(b, "lines", (double)c->n);
    num(b, "true", (double)c->gold);
    num(b, "average_precision", c->average_precision);
    num(b, "best_f1", c->best.f1);
    kj_buf_addz(b, ",\"best_cut\":");
    put_cut(b, c->best.cut);
    kj_buf_addz(b, ",\"curve\":[");
    for (size_t i = 0; i < c->n_cuts; i++) {
        kj_buf_addz(b, i ? ",{\"cut\":" : "{\"cut\":");
        put_cut(b, c->cuts[i].cut);
        num(b, "precision", c->cuts[i].precision);
        num(b, "recall", c->cuts[i].recall);
        num(b, "f1", c->cuts[i].f1);
        kj_buf_addc(b, '}');
    }
    kj_buf_addc(b, ']');
    num(b, "calibration_error", c->ece);
    kj_buf_addz(b, ",\"reliability\":[");
    for (int i = 0; i < KJ_EVAL_BINS; i++) {
        kj_buf_addz(b, i ? ",{" : "{");
        num(b, "from", i / 10.0);
        num(b, "lines", (double)c->bins[i].n);
        num(b, "mean", c->bins[i].score);
        num(b, "true", c->bins[i].share);
        kj_buf_addc(b, '}');
    }
    kj_buf_addz(b, "]}\n");
}

int kj_model_curves(const struct model_job *j, const struct kj_ft *m,
                    const struct kj_buf *text, struct kj_buf *out, struct kj_err *err)
{
    int rc = KJ_OK;
    for (size_t i = 0; i < j->c.curve.n && rc == KJ_OK; i++) {
        struct kj_eval_point *p = NULL;
        size_t n = 0;
        int32_t label = kj_ft_label_find(m, j->c.curve.v[i]);
        if (label < 0)
            return kj_err_set(err, KJ_USAGE, "the model has no label '%s'",
                              j->c.curve.v[i]);
        struct curve c = {.label = kj_ft_label(m, label)};
        rc = score_lines(m, label, text, &p, &n, err);
        for (size_t k = 0; k < n; k++)
            c.gold += p[k].gold;
        if (rc == KJ_OK && !c.gold)
            rc = kj_err_set(err, KJ_FAIL,
                            "no line has the label '%s', so there is no curve of it",
                            j->c.curve.v[i]);
        if (rc == KJ_OK) {
            measure(&c, p, n);
            if (j->c.json)
                put_json(&c, out);
            else
                put_text(&c, out);
        }
        free(p);
    }
    return rc;
}
