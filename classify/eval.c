/* eval.c - precision, recall, calibration of scored points. */
#include "classify/eval.h"

#include <math.h>
#include <stdlib.h>

static int best_first(const void *pa, const void *pb)
{
    const struct kj_eval_point *a = pa, *b = pb;
    return (a->score < b->score) - (a->score > b->score);
}

void kj_eval_sort(struct kj_eval_point *p, size_t n)
{
    if (n > 1)
        qsort(p, n, sizeof *p, best_first);
}

static size_t count_gold(const struct kj_eval_point *p, size_t n)
{
    size_t gold = 0;
    for (size_t i = 0; i < n; i++)
        gold += p[i].gold;
    return gold;
}

static struct kj_eval_cut quality(double cut, size_t predicted, size_t right,
                                  size_t gold)
{
    struct kj_eval_cut q = {
        .cut = cut, .predicted = predicted, .right = right, .gold = gold};
    q.precision = predicted ? (double)right / (double)predicted : 1;
    q.recall = gold ? (double)right / (double)gold : 0;
    q.f1 = predicted + gold ? 2 * (double)right / (double)(predicted + gold) : 0;
    return q;
}

struct kj_eval_cut kj_eval_at(const struct kj_eval_point *p, size_t n, double cut)
{
    size_t predicted = 0;
    while (predicted < n && (double)p[predicted].score >= cut)
        predicted++;
    return quality(cut, predicted, count_gold(p, predicted), count_gold(p, n));
}

struct kj_eval_cut kj_eval_best(const struct kj_eval_point *p, size_t n)
{
    size_t gold = count_gold(p, n), right = 0;
    struct kj_eval_cut best = quality(INFINITY, 0, 0, gold);
    for (size_t i = 0; i < n; i++) {
        right += p[i].gold;
        if (i + 1 < n && p[i + 1].score == p[i].score)
            continue;
        struct kj_eval_cut q = quality((double)p[i].score, i + 1, right, gold);
        if (q.f1 > best.f1)
            best = q;
    }
    return best;
}

double kj_eval_average_precision(const struct kj_eval_point *p, size_t n)
{
    size_t gold = count_gold(p, n), right = 0, before = 0;
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        right += p[i].gold;
        if (i + 1 < n && p[i + 1].score == p[i].score)
            continue;
        sum += (double)right / (double)(i + 1) * (double)(right - before);
        before = right;
    }
    return gold ? sum / (double)gold : 0;
}

size_t kj_eval_curve(const struct kj_eval_point *p, size_t n, size_t steps,
                     struct kj_eval_cut *out)
{
    size_t gold = count_gold(p, n), right = 0, step = 1, made = 0;
    for (size_t i = 0; i < n && gold && step <= steps; i++) {
        right += p[i].gold;
        if (i + 1 < n && p[i + 1].score == p[i].score)
            continue;
        if (right * steps < step * gold)
            continue;
        out[made++] = quality((double)p[i].score, i + 1, right, gold);
        while (step <= steps && right * steps >= step * gold)
            step++;
    }
    return made;
}

double kj_eval_calibration(const struct kj_eval_point *p, size_t n,
                           struct kj_eval_bin bins[KJ_EVAL_BINS])
{
    double error = 0;
    for (size_t b = 0; b < KJ_EVAL_BINS; b++)
        bins[b] = (struct kj_eval_bin){0};
    for (size_t i = 0; i < n; i++) {
        double s = fmin(fmax((double)p[i].score, 0), 1);
        size_t b = (size_t)(s * KJ_EVAL_BINS);
        struct kj_eval_bin *bin = &bins[b < KJ_EVAL_BINS ? b : KJ_EVAL_BINS - 1];
        bin->n++;
        bin->gold += p[i].gold;
        bin->score += s;
    }
    for (size_t b = 0; b < KJ_EVAL_BINS; b++) {
        struct kj_eval_bin *bin = &bins[b];
        bin->score = bin->n ? bin->score / (double)bin->n : NAN;
        bin->share = bin->n ? (double)bin->gold / (double)bin->n : NAN;
        if (bin->n)
            error += fabs(bin->share - bin->score) * (double)bin->n;
    }
    return n ? error / (double)n : NAN;
}
