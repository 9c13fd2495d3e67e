/* test_eval.c - precision, recall, calibration, by hand and by brute force. */
#include "classify/eval.h"

#include <math.h>

#include "tests/unit/test.h"

/* Counted anew at one cut, for each. */
static struct kj_eval_cut brute(const struct kj_eval_point *p, size_t n, double cut)
{
    struct kj_eval_cut q = {.cut = cut};
    for (size_t i = 0; i < n; i++) {
        q.gold += p[i].gold;
        q.predicted += (double)p[i].score >= cut;
        q.right += p[i].gold && (double)p[i].score >= cut;
    }
    q.precision = q.predicted ? (double)q.right / (double)q.predicted : 1;
    q.recall = q.gold ? (double)q.right / (double)q.gold : 0;
    q.f1 = q.right ? 2 / (1 / q.precision + 1 / q.recall) : 0;
    return q;
}

static void by_hand(void)
{
    /* by cut: .9: 1/1 of 1, .8: both equal, 2/3; .5: 2/4; .1: 3/5 */
    struct kj_eval_point p[] = {
        {0.5f, false}, {0.8f, true}, {0.1f, true}, {0.9f, true}, {0.8f, false}};
    struct kj_eval_cut c[4];
    kj_eval_sort(p, 5);
    CHECK_NEAR(kj_eval_average_precision(p, 5), (1 + 2. / 3 + 3. / 5) / 3, 1e-12);
    CHECK_NEAR(kj_eval_at(p, 5, 0.8f).precision, 2. / 3, 1e-12);
    CHECK_NEAR(kj_eval_at(p, 5, 0.8f).recall, 2. / 3, 1e-12);
    CHECK_NEAR(kj_eval_at(p, 5, 1).precision, 1, 0);
    CHECK_NEAR(kj_eval_at(p, 5, 1).recall, 0, 0);
    CHECK_NEAR(kj_eval_best(p, 5).f1, 0.75, 1e-12); /* all five: 2 * 3 / (5 + 3) */
    CHECK_INT(kj_eval_curve(p, 5, 3, c), 3);
    CHECK_NEAR(c[0].cut, 0.9f, 0);
    CHECK_NEAR(c[1].cut, 0.8f, 0);
    CHECK_NEAR(c[2].cut, 0.1f, 0);
    CHECK_INT(kj_eval_curve(p, 5, 1, c), 1);
    CHECK_INT(c[0].predicted, 5);
}

static void nothing(void)
{
    struct kj_eval_bin bins[KJ_EVAL_BINS];
    struct kj_eval_point no[] = {{0.5f, false}};
    kj_eval_sort(NULL, 0);
    CHECK_NEAR(kj_eval_average_precision(NULL, 0), 0, 0);
    CHECK_NEAR(kj_eval_average_precision(no, 1), 0, 0);
    CHECK_INT(kj_eval_curve(no, 1, 1, NULL), 0);
    CHECK_NEAR(kj_eval_best(no, 1).f1, 0, 0);
    CHECK(isnan(kj_eval_calibration(NULL, 0, bins)));
}

static void random_sets(void)
{
    struct kj_eval_point p[60];
    struct kj_eval_cut c[10];
    unsigned seed = 1;
    for (int round = 0; round < 300; round++) {
        size_t n = 1 + (size_t)round % 60;
        for (size_t i = 0; i < n; i++) {
            seed = seed * 1664525 + 1013904223;
            p[i].score = (float)(seed >> 16 & 15) / 15; /* many are equal */
            p[i].gold = (seed >> 24 & 15) < (seed >> 16 & 15);
        }
        kj_eval_sort(p, n);
        double ap = 0, recall = 0, best = 0;
        for (int k = 15; k >= 0; k--) {
            struct kj_eval_cut q = brute(p, n, (double)((float)k / 15));
            struct kj_eval_cut got = kj_eval_at(p, n, (double)((float)k / 15));
            ap += q.precision * (q.recall - recall);
            recall = q.recall;
            best = q.f1 > best ? q.f1 : best;
            CHECK_INT(got.right, q.right);
            CHECK_NEAR(got.precision, q.precision, 1e-12);
            CHECK_NEAR(got.recall, q.recall, 1e-12);
            CHECK_NEAR(got.f1, q.f1, 1e-12);
        }
        CHECK_NEAR(kj_eval_average_precision(p, n), ap, 1e-12);
        CHECK_NEAR(kj_eval_best(p, n).f1, best, 1e-12);
        size_t made = kj_eval_curve(p, n, 10, c);
        CHECK(recall == 0 ? made == 0 : made > 0 && c[made - 1].recall == 1);
        for (size_t i = 0; i < made; i++) {
            struct kj_eval_cut q = brute(p, n, c[i].cut);
            CHECK_NEAR(c[i].precision, q.precision, 1e-12);
            CHECK_NEAR(c[i].recall, q.recall, 1e-12);
            CHECK(i == 0 || (c[i].recall > c[i - 1].recall && c[i].cut < c[i - 1].cut));
        }
    }
}

static void calibration(void)
{
    struct kj_eval_bin bins[KJ_EVAL_BINS];
    struct kj_eval_point p[] = {{0.25f, false}, {0.25f, true}, {0.95f, true},
                                {1.1f, true},   {0.0f, false}, {1.0f, false}};
    /* bins: 2 has .25 and 1/2; 9 has mean (.95 + 1 + 1) / 3 and 2/3; 0 has 0, 0 */
    double want = (2 * 0.25 + 3 * (2.95 / 3 - 2. / 3)) / 6;
    CHECK_NEAR(kj_eval_calibration(p, 6, bins), want, 1e-7);
    CHECK_INT(bins[2].n, 2);
    CHECK_INT(bins[9].n, 3);
    CHECK_NEAR(bins[2].share, 0.5, 0);
    CHECK_NEAR(bins[9].score, 2.95 / 3, 1e-7);
    CHECK(isnan(bins[5].share));
}

int main(void)
{
    by_hand();
    nothing();
    random_sets();
    calibration();
    return test_end();
}
