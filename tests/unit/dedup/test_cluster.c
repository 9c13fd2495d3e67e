/* Keepers on constructed chains, policies, bounds, and the memory limit. */
#include "base/err.h"
#include "dedup/cluster.h"
#include "dedup/lsh.h"
#include "tests/unit/test.h"

#include <stdlib.h>

/* A document: elements [from,to) as its set, all in bucket `bucket`. */
struct item {
    const char *id;
    double number;
    const char *word;
    uint64_t from, to;
    uint64_t bucket;
};

struct bed {
    struct kj_budget budget;
    struct kj_lsh lsh;
    struct kj_clusters c;
    struct kj_err err;
};

static int set_up(struct bed *b, const struct item *v, size_t n, double threshold,
                  uint32_t max_compare, int64_t memory)
{
    *b =
        (struct bed){.budget = {.max = memory, .doing = "testing"}, .err = KJ_ERR_INIT};
    kj_lsh_init(&b->lsh, 1, &b->budget);
    kj_clusters_init(&b->c, threshold, max_compare, &b->budget);
    int rc = KJ_OK;
    for (size_t i = 0; i < n && !rc; i++)
        rc = kj_lsh_add(&b->lsh, i, &v[i].bucket, &b->err);
    if (!rc)
        rc = kj_lsh_group(&b->lsh, &b->err);
    for (size_t i = 0; i < n && !rc; i++) {
        if (!kj_lsh_candidate(&b->lsh, i))
            continue;
        uint64_t set[4096];
        size_t m = 0;
        for (uint64_t e = v[i].from; e < v[i].to; e++)
            set[m++] = e;
        struct kj_candidate d = {.doc = i,
                                 .number = v[i].number,
                                 .word = kj_str_z(v[i].word),
                                 .id = kj_str_z(v[i].id),
                                 .weight = 1,
                                 .same = {v[i].from, v[i].to},
                                 .set = set,
                                 .n = m};
        rc = kj_clusters_add(&b->c, &d, &b->err);
    }
    return rc ? rc : kj_clusters_solve(&b->c, &b->lsh, &b->err);
}

static void tear_down(struct bed *b)
{
    kj_clusters_release(&b->c);
    kj_lsh_release(&b->lsh);
    CHECK_INT(b->budget.used, 0); /* every byte that was counted was given back */
}

/* Document i must have this keeper, similarity and size; "" = no candidate. */
static void fate(const struct bed *b, size_t i, const char *keeper, double sim,
                 uint64_t size, int line)
{
    struct kj_fate f = {0};
    bool any = kj_clusters_find(&b->c, i, &f);
    test_int(any, *keeper != 0, __FILE__, line, "is a candidate");
    if (!any)
        return;
    test_mem(f.keeper.p, f.keeper.n, keeper, strlen(keeper), __FILE__, line, "keeper");
    test_near(f.similarity, sim, 1e-12, __FILE__, line, "similarity");
    test_int((int64_t)f.size, (int64_t)size, __FILE__, line, "size");
}
#define FATE(i, keeper, sim, size) fate(&b, i, keeper, sim, size, __LINE__)

/* A~B, B~C, A!~C. With A first, B goes with A, and C, whose only friend went,
 * stays: a friend of a friend is no reason. */
static void test_chain(void)
{
    struct bed b;
    struct item v[] = {{"A", 1, "", 0, 100, 7}, /* A,B: 90/110 = .818 */
                       {"B", 2, "", 10, 110, 7},
                       {"C", 3, "", 20, 120, 7}, /* A,C: 80/120 = .667 */
                       {"D", 4, "", 500, 600, 8}};
    CHECK_INT(set_up(&b, v, 4, 0.8, 100, 0), KJ_OK);
    FATE(0, "A", 1, 2);
    FATE(1, "A", 90. / 110, 2);
    FATE(2, "C", 1, 1);
    FATE(3, "", 0, 0);
    tear_down(&b);
    /* with B first, both are its copies, each similar to it */
    v[1].number = 0;
    CHECK_INT(set_up(&b, v, 4, 0.8, 100, 0), KJ_OK);
    FATE(0, "B", 90. / 110, 3);
    FATE(1, "B", 1, 3);
    FATE(2, "B", 90. / 110, 3);
    tear_down(&b);
}

/* A chain of a hundred links, each similar to the next, the ends not alike at
 * all: single linkage would leave one document; here every dropped one is
 * similar to its keeper, and no two kept ones are similar. */
static void test_long_chain(void)
{
    enum { N = 100 };
    struct item v[N];
    static char ids[N][8];
    for (size_t i = 0; i < N; i++) {
        snprintf(ids[i], sizeof ids[i], "d%02zu", i);
        v[i] = (struct item){ids[i], 0, "", i * 10, i * 10 + 100, 1};
    }
    struct bed b;
    CHECK_INT(set_up(&b, v, N, 0.8, 1000, 0), KJ_OK);
    size_t kept = 0;
    for (size_t i = 0; i < N; i++) {
        struct kj_fate f;
        if (!CHECK(kj_clusters_find(&b.c, i, &f)))
            continue;
        kept += !f.dropped;
        size_t k = (size_t)atoi(f.keeper.p + 1);
        CHECK(!f.dropped || (k < i && f.similarity >= 0.8 && (i - k) == 1));
        CHECK(f.dropped == (i % 2 == 1));
    }
    CHECK_INT(kept, N / 2);
    tear_down(&b);
}

/* The most similar kept document is the keeper, not the first one met. */
static void test_best_keeper(void)
{
    struct item v[] = {{"A", 1, "", 0, 100, 1},
                       {"B", 2, "", 30, 130, 1},  /* A,B: 70/130 */
                       {"C", 3, "", 16, 116, 1},  /* A,C: 84/116; B,C: 86/114 */
                       {"E", 4, "", 15, 115, 1}}; /* 85/115 with both: the earlier */
    struct bed b;
    CHECK_INT(set_up(&b, v, 4, 0.7, 100, 0), KJ_OK);
    FATE(1, "B", 1, 2);
    FATE(2, "B", 86. / 114, 2);
    FATE(3, "A", 85. / 115, 2);
    tear_down(&b);
}

/* Number, then word (greater first), then id; equal sets share one fate. */
static void test_order(void)
{
    struct item v[] = {{"b", 1, "2024-01-01", 0, 50, 1},
                       {"a", 1, "2023-01-01", 0, 50, 1},
                       {"c", 1, "2024-01-01", 0, 50, 1},
                       {"d", 2, "2025-01-01", 0, 50, 1},
                       {"e", 1, "", 0, 50, 1}};
    struct bed b;
    CHECK_INT(set_up(&b, v, 5, 0.8, 100, 0), KJ_OK);
    for (size_t i = 0; i < 5; i++)
        FATE(i, "b", 1, 5);
    CHECK_INT(b.c.pairs, 0); /* found without comparing */
    tear_down(&b);
}

/* A giant bucket of different texts: each is compared with the first ones
 * only, and says how many it was not compared with. */
static void test_bound(void)
{
    enum { N = 300 };
    struct item v[N + 1];
    static char ids[N][8];
    for (size_t i = 0; i < N; i++) {
        snprintf(ids[i], sizeof ids[i], "d%03zu", i);
        v[i] = (struct item){ids[i], 0, "", i * 1000, i * 1000 + 20, 1};
    }
    v[N] = (struct item){"e", 0, "", 299000, 299020, 1}; /* a copy of the last */
    struct bed b;
    CHECK_INT(set_up(&b, v, N + 1, 0.8, 10, 0), KJ_OK);
    CHECK_INT(b.c.pairs, 45 + 10 * (N - 10));
    struct kj_fate f;
    CHECK(kj_clusters_find(&b.c, 299, &f) && f.unchecked == 289 && !f.dropped);
    CHECK(kj_clusters_find(&b.c, 5, &f) && f.unchecked == 0);
    FATE(N, "d299", 1, 2); /* beyond the bound, but the very same set */
    tear_down(&b);
}

/* Every step stops clearly when memory runs out, and leaks nothing. */
static void test_memory(void)
{
    enum { N = 60 };
    struct item v[N];
    static char ids[N][8];
    for (size_t i = 0; i < N; i++) {
        snprintf(ids[i], sizeof ids[i], "d%02zu", i);
        v[i] = (struct item){ids[i], 0, "", i * 2000, i * 2000 + 1500, i / 2};
    }
    int failed = 0, passed = 0;
    for (int64_t memory = 4000; memory < 900000; memory += 7001) {
        struct bed b;
        int rc = set_up(&b, v, N, 0.8, 10, memory);
        CHECK(rc == KJ_OK || rc == KJ_FATAL);
        CHECK((rc == KJ_FATAL) == (strstr(b.err.msg, "--memory") != NULL));
        CHECK(b.budget.peak <= memory);
        failed += rc != KJ_OK;
        passed += rc == KJ_OK;
        tear_down(&b);
    }
    CHECK(failed > 10 && passed > 0);
}

/* Grouping against a quadratic twin, over several chunks, with holes. */
static void test_lsh(void)
{
    enum { N = 5000, BANDS = 3 };
    static uint64_t keys[N][BANDS];
    static bool has[N];
    struct kj_budget budget = {.doing = "testing"};
    struct kj_lsh l;
    struct kj_err err = KJ_ERR_INIT;
    uint64_t x = 1;
    kj_lsh_init(&l, BANDS, &budget);
    for (size_t i = 0; i < N; i++) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        has[i] = x >> 60 != 0;
        for (size_t b = 0; b < BANDS; b++)
            keys[i][b] = (x >> (20 + 3 * b)) % 9000 * 0x9E3779B97F4A7C15u;
        if (has[i])
            CHECK_INT(kj_lsh_add(&l, i, keys[i], &err), KJ_OK);
    }
    CHECK_INT(kj_lsh_group(&l, &err), KJ_OK);
    size_t entries = 0, wrong = 0;
    for (size_t i = 0; i < N; i++) {
        bool cand = false;
        for (size_t b = 0; b < BANDS && has[i]; b++) {
            bool shared = false;
            for (size_t k = 0; k < N && !shared; k++)
                shared = k != i && has[k] && keys[k][b] == keys[i][b];
            entries += shared;
            cand |= shared;
        }
        wrong += cand != kj_lsh_candidate(&l, i);
    }
    CHECK_INT(wrong, 0);
    CHECK_INT(l.n_entries, entries);
    for (size_t i = 1; i < l.n_entries; i++)
        wrong += l.entries[i].bucket == l.entries[i - 1].bucket
                     ? l.entries[i].doc <= l.entries[i - 1].doc
                     : l.entries[i].bucket != l.entries[i - 1].bucket + 1;
    CHECK_INT(wrong, 0);
    kj_lsh_release(&l);
    CHECK_INT(budget.used, 0);
}

int main(void)
{
    test_chain();
    test_long_chain();
    test_best_keeper();
    test_order();
    test_bound();
    test_memory();
    test_lsh();
    return test_end();
}
