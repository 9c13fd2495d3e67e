/* test_ranking.c - the order of scores, and that intervals from samples hold as often
 * as they say: counted over many seeds against the exact cut. */
#include "classify/ranking.h"

#include <stdlib.h>

#include "base/doc.h"
#include "base/err.h"
#include "base/mem.h"
#include "tests/unit/test.h"

/* ---- the distribution, from its definition ---- */

static double choose(unsigned n, unsigned k)
{
    double c = 1;
    for (unsigned i = 0; i < k; i++)
        c = c * (n - i) / (i + 1);
    return k > n ? 0 : c;
}

static void distribution(void)
{
    for (unsigned N = 1; N < 14; N++)
        for (unsigned K = 0; K <= N; K++)
            for (unsigned m = 0; m <= N; m++) {
                double sum = 0;
                for (unsigned x = 0; x <= m; x++) {
                    if (x <= K && m - x <= N - K)
                        sum += choose(K, x) * choose(N - K, m - x) / choose(N, m);
                    if (fabs(kj_hypergeometric_cdf(N, K, m, x) - sum) > 1e-12)
                        CHECK_NEAR(kj_hypergeometric_cdf(N, K, m, x), sum, 1e-12);
                }
            }
    /* large: near the normal distribution, whose median is the mean */
    CHECK_NEAR(kj_hypergeometric_cdf(1000000000000, 100000000000, 1000000, 100000), 0.5,
               0.002);
    CHECK_NEAR(kj_hypergeometric_cdf(1000000000000, 100000000000, 1000000,
                                     100000 + 588), /* 1.96 standard deviations */
               0.975, 0.001);
    CHECK(test_failed == 0);
}

/* ---- documents ---- */

static struct kj_doc doc_of(char id[32], unsigned i)
{
    snprintf(id, 32, "document %u", i);
    struct kj_doc d = {.id = kj_str_z(id), .text = KJ_STR("text")};
    return d;
}

static void order(void)
{
    char id[32];
    struct kj_ranking r = {0}, more = {0};
    struct kj_ranking_budget b = {0, 1 << 20};
    for (unsigned i = 0; i < 200; i++) {
        struct kj_doc d = doc_of(id, i);
        CHECK(kj_ranking_add(i % 2 ? &r : &more, &b, kj_ranked_of(&d, i / 10, i),
                             NULL) == KJ_OK);
    }
    kj_ranking_join(&r, &more);
    CHECK_INT(r.n, 200);
    CHECK_INT(more.n, 0);
    kj_ranking_sort(&r);
    for (size_t i = 1; i < r.n; i++) {
        const struct kj_ranked *x = &r.v[i - 1], *y = &r.v[i];
        if (x->score < y->score || (x->score == y->score && x->id >= y->id) ||
            (unsigned)y->score != y->own / 10)
            CHECK_INT(i, 0);
    }
    CHECK(kj_ranked_compare(&r.v[3], &r.v[3]) == 0);
    kj_ranking_free(&r);
    struct kj_err err = KJ_ERR_INIT;
    struct kj_ranking_budget little = {0, 1000 * sizeof *r.v};
    int rc = KJ_OK;
    unsigned n = 0;
    for (struct kj_ranked k = {0}; n < 5000 && rc == KJ_OK; n++)
        rc = kj_ranking_add(&r, &little, k, &err);
    CHECK_INT(rc, KJ_FATAL);
    CHECK(n > 250 && n < 1002);
    kj_ranking_free(&r);
}

static void top(void)
{
    CHECK_INT(kj_ranking_top(0, 0.1), 0);
    CHECK_INT(kj_ranking_top(1, 0.1), 1);
    CHECK_INT(kj_ranking_top(30, 0.1), 3);
    CHECK_INT(kj_ranking_top(31, 0.1), 4);
    CHECK_INT(kj_ranking_top(7, 1), 7);
    for (unsigned n = 1; n < 2000; n++) /* in whole numbers */
        if (kj_ranking_top(n, 0.35) != (35 * n + 99) / 100)
            CHECK_INT(kj_ranking_top(n, 0.35), (35 * n + 99) / 100);
}

/* A sample of a share of the ids, the same whatever else, other with another seed. */
static void sample(void)
{
    enum { N = 20000 };
    char id[32];
    unsigned a = 0, both = 0, small = 0;
    for (unsigned i = 0; i < N; i++) {
        struct kj_doc d = doc_of(id, i);
        bool x = kj_ranking_sampled(&d, 0.2, 1), y = kj_ranking_sampled(&d, 0.2, 2);
        a += x;
        both += x && y;
        small += kj_ranking_sampled(&d, 0.1, 1) && !x; /* a smaller one is part of it */
        if (!kj_ranking_sampled(&d, 1, i))
            CHECK(false);
    }
    CHECK_NEAR(a, 0.2 * N, 5 * sqrt(N * 0.16));
    CHECK_NEAR(both, 0.04 * N, 5 * sqrt(N * 0.04));
    CHECK_INT(small, 0);
}

/* ---- how often the intervals hold ---- */

struct coverage {
    unsigned cut, share, wide_cut; /* held; had no bound on a side */
    double width;                  /* of shares, mean */
};

/* N documents, scores in ties of `tie`; `trials` seeds. */
static struct coverage cover(unsigned N, double keep, double share, unsigned trials,
                             unsigned tie)
{
    struct coverage c = {0};
    struct kj_ranked *v = kj_xcalloc(N, sizeof *v);
    bool *in = kj_xcalloc(N, 1);
    unsigned *place = kj_xcalloc(N, sizeof *place);
    char(*ids)[32] = kj_xcalloc(N, 32);
    for (unsigned i = 0; i < N; i++) {
        struct kj_doc d = doc_of(ids[i], i);
        v[i] = kj_ranked_of(&d, -(double)(i / tie) - 0.25, i);
    }
    qsort(v, N, sizeof *v, kj_ranked_compare);
    uint64_t K = kj_ranking_top(N, keep);
    for (unsigned seed = 0; seed < trials; seed++) {
        unsigned m = 0;
        for (unsigned i = 0; i < N; i++) {
            struct kj_doc d = {.id = kj_str_z(ids[v[i].own])};
            in[i] = kj_ranking_sampled(&d, share, seed);
            if (in[i])
                place[m++] = i + 1;
        }
        if (m == 0)
            continue;
        uint64_t k = kj_ranking_top(m, keep);
        struct kj_ranking_interval q;
        kj_ranking_interval(N, K, m, k, &q);
        CHECK(q.first <= k && (q.last == 0 || q.last >= k) && q.last <= m);
        bool high = q.first == 0 || place[q.first - 1] <= K;
        bool low = q.last == 0 || place[q.last - 1] > K;
        c.cut += high && low;
        c.wide_cut += q.first == 0 || q.last == 0;
        c.share += place[k - 1] >= q.rank_low && place[k - 1] <= q.rank_high;
        c.width += (double)(q.rank_high - q.rank_low) / N / trials;
    }
    free(ids);
    free(place);
    free(in);
    free(v);
    return c;
}

/* Of 1500 intervals of 95 % 1425 hold, with a standard deviation of 0.56 points of
 * the share. Whole numbers make the intervals hold a little more often, which may not
 * be much where samples are large. */
static void coverage(void)
{
    static const struct {
        unsigned N;
        double keep, share, most;
        unsigned tie;
    } t[] = {
        {4000, 0.10, 0.25, 0.985, 1},  {4000, 0.10, 0.10, 0.995, 1},
        {4000, 0.50, 0.25, 0.980, 1},  {4000, 0.018, 0.25, 0.998, 1},
        {4000, 0.10, 0.25, 0.985, 25}, /* ties, told apart by their ids */
        {1500, 0.90, 0.80, 0.985, 1},  /* most of a small corpus */
    };
    enum { TRIALS = 1500 };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        struct coverage c = cover(t[i].N, t[i].keep, t[i].share, TRIALS, t[i].tie);
        double cut = (double)c.cut / TRIALS, share = (double)c.share / TRIALS;
        if (!CHECK(cut > 0.95 - 0.017 && cut < t[i].most) ||
            !CHECK(share > 0.95 - 0.017 && share < t[i].most) ||
            !CHECK(c.wide_cut == 0))
            printf("     case %zu: cut %.4f, share %.4f, without bound %u\n", i, cut,
                   share, c.wide_cut);
        /* and they say something: 2 * 1.96 standard deviations of a share */
        double m = t[i].N * t[i].share,
               sd = sqrt(t[i].keep * (1 - t[i].keep) / m * (1 - t[i].share));
        CHECK_NEAR(c.width / (3.92 * sd), 1, 0.15);
    }
    /* a sample of a few documents promises nothing that it cannot hold */
    struct coverage few = cover(300, 0.1, 0.02, 1000, 1);
    CHECK(few.cut > 940 && few.share > 940 && few.wide_cut > 0);
    /* all of them: exact */
    struct kj_ranking_interval q;
    kj_ranking_interval(1000, 100, 1000, 100, &q);
    CHECK_INT(q.first, 100);
    CHECK_INT(q.last, 101);
    CHECK_INT(q.rank_low, 100);
    CHECK_INT(q.rank_high, 100);
}

int main(void)
{
    distribution();
    order();
    top();
    sample();
    coverage();
    return test_end();
}
