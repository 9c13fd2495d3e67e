/* Shingles: which bytes are hashed in each unit; sets and similarity against
 * a quadratic twin. */
#include "base/err.h"
#include "dedup/shingle.h"
#include "tests/unit/test.h"

#include <stdlib.h>
#include <xxhash.h>

static uint64_t rng_state = 42;
static uint64_t rng(void)
{
    rng_state += 0x9E3779B97F4A7C15u;
    uint64_t z = rng_state;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

/* The shingles of a text are exactly the hashes of `want` (NULL-ended). */
static void check(enum kj_shingle_unit unit, unsigned n, const char *text,
                  const char *const *want, int line)
{
    struct kj_shingler s;
    kj_shingler_init(&s);
    struct kj_err err = KJ_ERR_INIT;
    int rc = kj_shingler_run(&s, unit, n, text, strlen(text), &err);
    test_int(rc, KJ_OK, __FILE__, line, err.msg);
    size_t k = 0;
    for (; want[k]; k++)
        test_check(k < s.n && s.h[k] == XXH64(want[k], strlen(want[k]), 0), __FILE__,
                   line, want[k]);
    test_int((int64_t)s.n, (int64_t)k, __FILE__, line, "count");
    kj_shingler_release(&s);
}
#define S(unit, n, text, ...)                                                          \
    check(unit, n, text, (const char *const[]){__VA_ARGS__}, __LINE__)

/* KIJIL NARA in Hangul: four syllables and a space; its jamo below. */
#define KI    "\xED\x82\xA4"
#define JIL   "\xEC\xA7\x88"
#define NA    "\xEB\x82\x98"
#define RA    "\xEB\x9D\xBC"
#define KI_J  "\xE1\x84\x8F\xE1\x85\xB5"
#define JIL_J "\xE1\x84\x8C\xE1\x85\xB5\xE1\x86\xAF"
#define NA_J  "\xE1\x84\x82\xE1\x85\xA1"
#define RA_J  "\xE1\x84\x85\xE1\x85\xA1"

static void test_units(void)
{
    S(KJ_UNIT_WORD, 2, "The cat, 3.5 mats!", "the cat", "cat 0", "0 mats", NULL);
    S(KJ_UNIT_WORD, 0, "a b c d e f", "a b c d e", "b c d e f", NULL);
    /* shorter than a shingle: the whole text, so that two short texts of
     * different words are not the same */
    S(KJ_UNIT_WORD, 5, "one two", "one two", NULL);
    S(KJ_UNIT_WORD, 5, "...", NULL);
    S(KJ_UNIT_WORD, 5, "", NULL);
    /* ideographs are words of their own; spaces are put between them */
    S(KJ_UNIT_WORD, 2, "\xE6\x97\xA5\xE6\x9C\xAC x", "\xE6\x97\xA5 \xE6\x9C\xAC",
      "\xE6\x9C\xAC x", NULL);
    S(KJ_UNIT_EOJEOL, 1, "\xE6\x97\xA5\xE6\x9C\xAC x", "\xE6\x97\xA5\xE6\x9C\xAC", "x",
      NULL);
    S(KJ_UNIT_EOJEOL, 1, KI JIL " " NA RA, KI_J JIL_J, NA_J RA_J, NULL);
    S(KJ_UNIT_SYLLABLE, 3, KI JIL " " NA RA, KI JIL NA, JIL NA RA, NULL);
    S(KJ_UNIT_SYLLABLE, 3, KI_J JIL_J NA_J, KI JIL NA, NULL);
    S(KJ_UNIT_SYLLABLE, 8, KI " " JIL, KI JIL, NULL);
    S(KJ_UNIT_SYLLABLE, 2, "A b9.", "ab", "b0", NULL);
}

static void test_auto(void)
{
    CHECK_INT(kj_shingle_unit_of("plain text", 10), KJ_UNIT_WORD);
    CHECK_INT(kj_shingle_unit_of(KI JIL " abc", 10), KJ_UNIT_SYLLABLE); /* 2 of 5 */
    CHECK_INT(kj_shingle_unit_of(KI JIL " abcde", 12), KJ_UNIT_WORD);   /* 2 of 7 */
    CHECK_INT(kj_shingle_unit_of("123 !?", 6), KJ_UNIT_WORD);
    CHECK_INT(kj_shingle_unit_of("\xE6\x97\xA5", 3), KJ_UNIT_WORD);
    S(KJ_UNIT_AUTO, 0, KI JIL NA RA KI JIL NA RA KI, KI JIL NA RA KI JIL NA RA,
      JIL NA RA KI JIL NA RA KI, NULL);
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void test_sort(void)
{
    static const uint64_t masks[] = {UINT64_MAX, 0xFF, 0xFFFF000000000000u, 1, 0};
    uint64_t v[3000], tmp[3000], w[3000];
    for (size_t n = 0; n <= 3000; n = n < 40 ? n + 1 : n * 3)
        for (size_t m = 0; m < 5; m++) {
            for (size_t i = 0; i < n; i++)
                v[i] = w[i] = rng() & masks[m];
            qsort(w, n, sizeof *w, by_value);
            size_t k = 0;
            for (size_t i = 0; i < n; i++)
                if (i == 0 || w[i] != w[i - 1])
                    w[k++] = w[i];
            size_t got = kj_shingle_sort(v, tmp, n);
            CHECK_MEM((char *)v, got * 8, (char *)w, k * 8);
        }
}

static void test_set(void)
{
    struct kj_shingler s;
    kj_shingler_init(&s);
    struct kj_err err = KJ_ERR_INIT;
    kj_shingler_run(&s, KJ_UNIT_WORD, 1, "b a b a c", 9, &err);
    CHECK_INT(s.n, 5);
    CHECK_INT(kj_shingler_set(&s, &err), KJ_OK);
    CHECK_INT(s.n, 3);
    CHECK(s.h[0] < s.h[1] && s.h[1] < s.h[2]);
    kj_shingler_release(&s);
}

static void test_jaccard(void)
{
    uint64_t a[60], b[60], tmp[60];
    for (int round = 0; round < 4000; round++) {
        size_t na = rng() % 60, nb = rng() % 60, common = 0;
        uint64_t range = 1 + rng() % 90;
        for (size_t i = 0; i < na; i++)
            a[i] = rng() % range;
        for (size_t i = 0; i < nb; i++)
            b[i] = rng() % range;
        na = kj_shingle_sort(a, tmp, na);
        nb = kj_shingle_sort(b, tmp, nb);
        for (size_t i = 0; i < na; i++)
            for (size_t k = 0; k < nb; k++)
                common += a[i] == b[k];
        double truth = na + nb ? (double)common / (double)(na + nb - common) : 0;
        double least = (double)(rng() % 101) / 100;
        double got = kj_shingle_jaccard(a, na, b, nb, least);
        double want = truth >= least ? truth : -1;
        if (got != want) {
            CHECK_NEAR(got, want, 0);
            return;
        }
        double part = na ? (double)common / (double)na : 0;
        got = kj_shingle_contained(a, na, b, nb, least);
        want = na && nb ? part >= least ? part : -1 : least > 0 ? -1 : 0;
        if (got != want) {
            CHECK_NEAR(got, want, 0);
            return;
        }
        /* at its own value exactly, it must be found */
        if (truth > 0 && kj_shingle_jaccard(a, na, b, nb, truth) != truth) {
            CHECK_NEAR(kj_shingle_jaccard(a, na, b, nb, truth), truth, 0);
            return;
        }
    }
    CHECK(1);
}

int main(void)
{
    test_units();
    test_auto();
    test_sort();
    test_set();
    test_jaccard();
    return test_end();
}
