/* test.h - the few macros that unit tests need. Each test program runs its
 * cases from main() and ends with `return test_end();`, which prints
 * "N passed, N failed" (and ", N skipped"). A failed check prints both values
 * and goes on. */
#ifndef KJ_TESTS_TEST_H
#define KJ_TESTS_TEST_H

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static int test_passed, test_failed, test_skipped;

static inline int test_check(int ok, const char *file, int line, const char *what)
{
    if (ok) {
        test_passed++;
    } else {
        test_failed++;
        printf("FAIL %s:%d: %s\n", file, line, what);
    }
    return ok;
}

/* All return whether they held. */
#define CHECK(x)              test_check(!!(x), __FILE__, __LINE__, #x)
#define CHECK_INT(a, b)       test_int((int64_t)(a), (int64_t)(b), __FILE__, __LINE__, #a)
#define CHECK_NEAR(a, b, tol) test_near((a), (b), (tol), __FILE__, __LINE__, #a)
#define CHECK_MEM(p, n, q, m) test_mem((p), (n), (q), (m), __FILE__, __LINE__, #p)
#define CHECK_STR(p, n, z)    test_mem((p), (n), (z), strlen(z), __FILE__, __LINE__, #p)
/* For tests that need a file which may not be there. */
#define SKIP(why) (test_skipped++, printf("skip %s: %s\n", __func__, (why)))

static inline int test_int(int64_t a, int64_t b, const char *f, int l, const char *w)
{
    if (!test_check(a == b, f, l, w)) {
        printf("     got %" PRId64 ", want %" PRId64 "\n", a, b);
        return 0;
    }
    return 1;
}

static inline int test_near(double a, double b, double tol, const char *f, int l,
                            const char *w)
{
    int ok = fabs(a - b) <= tol || (isnan(a) && isnan(b));
    if (!test_check(ok, f, l, w))
        printf("     got %.17g, want %.17g within %g\n", a, b, tol);
    return ok;
}

static inline int test_mem(const char *p, size_t n, const char *q, size_t m,
                           const char *f, int l, const char *w)
{
    int ok = n == m && (n == 0 || memcmp(p, q, n) == 0);
    if (!test_check(ok, f, l, w))
        printf("     got  [%.*s] (%zu)\n     want [%.*s] (%zu)\n",
               (int)(n < 400 ? n : 400), p ? p : "", n, (int)(m < 400 ? m : 400), q, m);
    return ok;
}

static inline int test_have(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0;
}

static inline int test_end(void)
{
    printf("%d passed, %d failed", test_passed, test_failed);
    if (test_skipped)
        printf(", %d skipped", test_skipped);
    printf("\n");
    return test_failed != 0;
}

#endif
