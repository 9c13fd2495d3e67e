/* The normal form of texts and URLs. The expectations for texts are what
 * Python's str.lower, re and unicodedata give for the steps in normal.h. */
#include "base/err.h"
#include "base/mem.h"
#include "dedup/normal.h"
#include "tests/unit/test.h"

static void check(unsigned flags, const char *in, const char *want, int line)
{
    struct kj_buf out, run;
    kj_buf_init(&out, 1 << 20);
    kj_buf_init(&run, 1 << 20);
    int rc = kj_dedup_normalize(&out, &run, flags, in, strlen(in));
    test_int(rc, KJ_OK, __FILE__, line, "rc");
    test_mem(out.p, out.n, want, strlen(want), __FILE__, line, in);
    /* appending to what is there gives the same */
    kj_buf_reset(&out);
    kj_buf_addz(&out, "x");
    kj_dedup_normalize(&out, &run, flags, in, strlen(in));
    test_mem(out.p + 1, out.n - 1, want, strlen(want), __FILE__, line, in);
    kj_buf_release(&out);
    kj_buf_release(&run);
}
#define N(in, want) check(KJ_NORMAL_NUMBERS, in, want, __LINE__)
#define C(in, want) check(KJ_NORMAL_NUMBERS | KJ_NORMAL_COMPOSED, in, want, __LINE__)
#define P(in, want) check(0, in, want, __LINE__)

static void test_text(void)
{
    N("", "");
    N("   ", "");
    N("Hello, World!", "hello world");
    N("  a\t\n b\r\n", "a b");
    N("It's 3.14 or 1,000 (42).", "it s 0 or 0 0 0");
    N("1.2.3 v2x10.", "0 0 v0x0");
    N("a_b-c $5 <x>", "a b c 0 x");
    P("a 12.5 B", "a 12 5 b");
    N("Caf\xC3\xA9 \xC3\x85ngstr\xC3\xB6m", "cafe angstrom");
    N("e\xCC\x81t\xC3\xA9", "ete");                             /* combining acute */
    N("\xC4\xB0stanbul", "istanbul");                           /* capital I with dot */
    N("\xCE\xA3\xCE\x9F\xCE\xA3", "\xCF\x83\xCE\xBF\xCF\x82");  /* final sigma */
    N("\xEF\xBC\x91\xEF\xBC\x92\xE6\x97\xA5", "0\xE6\x97\xA5"); /* full-width 12 */
    N("\xE2\x80\x9Cquoted\xE2\x80\x9D\xE2\x80\xA6", "quoted");
    N("a\xC2\xA0\xE3\x80\x80"
      "b",
      "a b");                          /* no-break, ideographic space */
    N("\xE3\x81\x8C", "\xE3\x81\x8B"); /* GA loses its voice mark */
    N("x\xC2\x85y\x7Fz", "x y z");     /* controls */
}

static void test_hangul(void)
{
    /* GA, GAG: jamo in NFD, whole when composed */
    N("\xEA\xB0\x80 \xEA\xB0\x81", "\xE1\x84\x80\xE1\x85\xA1 "
                                   "\xE1\x84\x80\xE1\x85\xA1\xE1\x86\xA8");
    C("\xEA\xB0\x80 \xEA\xB0\x81", "\xEA\xB0\x80 \xEA\xB0\x81");
    C("\xE1\x84\x80\xE1\x85\xA1\xE1\x86\xA8", "\xEA\xB0\x81");
    N("\xED\x9E\xA3", "\xE1\x84\x92\xE1\x85\xB5\xE1\x87\x82"); /* the last one */
    C("Caf\xC3\xA9", "cafe");
}

static void test_malformed(void)
{
    N("a\xFF"
      "b",
      "a\xEF\xBF\xBD"
      "b");
    N("\xEA\xB0", "\xEF\xBF\xBD");
}

static void test_cap(void)
{
    struct kj_buf out, run;
    kj_buf_init(&out, 8);
    kj_buf_init(&run, 8);
    CHECK_INT(kj_dedup_normalize(&out, &run, 0, "more than eight", 15), KJ_BAD_RECORD);
    kj_buf_reset(&out); /* jamo are three times as long */
    CHECK_INT(kj_dedup_normalize(&out, &run, 0, "\xEA\xB0\x81\xEA\xB0\x81", 6),
              KJ_BAD_RECORD);
    kj_buf_release(&out);
    kj_buf_release(&run);
}

static void url(const char *in, const char *want, int line)
{
    struct kj_buf b;
    kj_buf_init(&b, 4096);
    kj_dedup_normalize_url(&b, in, strlen(in));
    test_mem(b.p, b.n, want, strlen(want), __FILE__, line, in);
    kj_buf_release(&b);
}
#define U(in, want) url(in, want, __LINE__)

static void test_url(void)
{
    U("http://Example.COM/a", "example.com/a");
    U("https://www.example.com:443/a/#top", "example.com/a");
    U("http://example.com:80/", "example.com");
    U("https://example.com:80/", "example.com:80");
    U("http://example.com/a/?Q=1", "example.com/a?Q=1");
    U("HTTP://www.example.com?x", "example.com?x");
    U("ftp://www.example.com/", "ftp://www.example.com");
    U("", "");
    U("http://", "");
}

int main(void)
{
    test_text();
    test_hangul();
    test_malformed();
    test_cap();
    test_url();
    return test_end();
}
