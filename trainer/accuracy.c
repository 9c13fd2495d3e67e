/* accuracy.c - accuracies and their errors. */
#include "trainer/accuracy.h"

#include <math.h>

const char *const kj_accuracy_names[KJ_ACCURACY_METRICS] = {"acc", "acc_norm", "f1"};

static double characters(struct kj_str s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++)
        n += ((unsigned char)s.p[i] & 0xC0) != 0x80;
    return (double)n;
}

size_t kj_accuracy_add(struct kj_accuracy *t, const struct kj_question *q,
                       const double *scores)
{
    size_t best = 0, norm = 0;
    double top = -INFINITY;
    for (size_t i = 0; i < q->n_choices; i++) {
        double v = scores[i] / characters(q->choices[i]);
        best = scores[i] > scores[best] ? i : best;
        norm = v > top ? i : norm;
        top = fmax(v, top);
    }
    t->n++;
    t->right += best == q->gold;
    t->right_norm += norm == q->gold;
    t->tp[q->gold] += best == q->gold;
    t->gold[q->gold]++;
    t->chosen[best]++;
    return best;
}

static double f1(const struct kj_accuracy *t)
{
    double sum = 0;
    size_t labels = 0;
    for (size_t i = 0; i < KJ_CHOICES_MAX; i++)
        if (t->gold[i] + t->chosen[i]) {
            sum += 2 * (double)t->tp[i] / (double)(t->gold[i] + t->chosen[i]);
            labels++;
        }
    return sum / (double)labels;
}

/* Of one subset. */
static double value(const struct kj_accuracy *t, int metric, double *error)
{
    double n = (double)t->n;
    *error = NAN;
    if (metric == KJ_ACCURACY_F1)
        return f1(t);
    double p = (double)(metric == KJ_ACCURACY_ACC ? t->right : t->right_norm) / n;
    if (t->n > 1)
        *error = sqrt(p * (1 - p) / (n - 1));
    return p;
}

struct kj_accuracy_value kj_accuracy_mean(const struct kj_accuracy *const *t, size_t n,
                                          int metric)
{
    double size = 0, sum = 0, plain = 0, pooled = 0, square = 0, subsets = 0, error = 0;
    for (size_t i = 0; i < n; i++) {
        double w = (double)t[i]->n;
        if (t[i]->n == 0)
            continue;
        double v = value(t[i], metric, &error);
        size += w;
        sum += w * v;
        plain += v;
        pooled += (w - 1) * w * error * error;
        square += error * error;
        subsets++;
    }
    struct kj_accuracy_value r = {.value = sum / size,
                                  .macro = plain / subsets,
                                  .stderr_ = sqrt(pooled / (size - subsets) / size),
                                  .macro_stderr = sqrt(square) / subsets};
    if (subsets <= 1)
        r.stderr_ = error;
    return r;
}
