/* The filter: what was entered is found, what was not rarely is. */
#include "base/err.h"
#include "base/hash.h"
#include "dedup/bloom.h"
#include "tests/unit/test.h"

static uint64_t key(uint64_t i)
{
    return kj_hash64(&i, sizeof i, 7);
}

static void test_rate(uint64_t n, double fpr, unsigned hashes)
{
    struct kj_budget budget = {.doing = "testing"};
    struct kj_bloom b;
    struct kj_err err = KJ_ERR_INIT;
    CHECK_INT(kj_bloom_init(&b, n, fpr, &budget, &err), KJ_OK);
    CHECK_INT(b.hashes, hashes);
    uint64_t lost = 0, wrong = 0;
    for (uint64_t i = 0; i < n; i++)
        kj_bloom_enter(&b, key(i));
    for (uint64_t i = 0; i < n; i++) {
        lost += !kj_bloom_has(&b, key(i));
        wrong += kj_bloom_has(&b, key(n + i));
    }
    CHECK_INT(lost, 0);
    CHECK_NEAR((double)wrong / (double)n, fpr, fpr * 0.3 + 3 / (double)n);
    CHECK(b.entered <= n && (double)b.entered > (double)n * (1 - fpr));
    kj_bloom_release(&b);
    CHECK_INT(budget.used, 0);
}

int main(void)
{
    test_rate(100000, 0.01, 7);
    test_rate(100000, 0.001, 10);
    test_rate(50000, 0.2, 3);
    test_rate(1, 1e-6, 20);
    struct kj_budget budget = {.max = 1000, .doing = "testing"};
    struct kj_bloom b;
    struct kj_err err = KJ_ERR_INIT;
    CHECK_INT(kj_bloom_init(&b, 100000, 0.01, &budget, &err), KJ_FATAL);
    CHECK(strstr(err.msg, "--memory") != NULL);
    kj_bloom_release(&b);
    return test_end();
}
