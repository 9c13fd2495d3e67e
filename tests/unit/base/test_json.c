/* test_json.c - reading, writing, and both against each other. */
#include "base/json.h"

#include <float.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/err.h"
#include "tests/unit/test.h"

static struct kj_json *J;

static const struct kj_jval *parse(const char *s, size_t n)
{
    const struct kj_jval *v = NULL;
    struct kj_err err = KJ_ERR_INIT;
    int rc = kj_json_parse(J, s, n, &v, &err);
    CHECK_INT(rc, v ? KJ_OK : KJ_BAD_RECORD);
    CHECK_INT(err.rc, rc);
    return v;
}

static const struct kj_jval *parsez(const char *s)
{
    return parse(s, strlen(s));
}

static void test_tree(void)
{
    const struct kj_jval *v =
        parsez(" {\"a\":[1,-2.5,true,null,\"x\\u00e9\\ud83d\\ude00\\n\"],"
               "\"b\":{\"c\":{}},\"a\":9,\"\":[]} \n");
    if (!CHECK(v != NULL))
        return;
    CHECK_INT(v->kind, KJ_J_OBJECT);
    CHECK_INT(v->n, 4);
    const struct kj_jval *a = kj_jget(v, "a");
    CHECK_INT(a->kind, KJ_J_ARRAY);
    CHECK_INT(a->n, 5);
    CHECK(a->keys == NULL);
    CHECK_INT(kj_jint(&a->items[0], 0), 1);
    CHECK_NEAR(kj_jnum(&a->items[0], 0), 1, 0);
    CHECK_NEAR(kj_jnum(&a->items[1], 0), -2.5, 0);
    CHECK_INT(kj_jint(&a->items[1], 77), 77);
    CHECK(kj_jbool(&a->items[2], false));
    CHECK_INT(a->items[3].kind, KJ_J_NULL);
    CHECK_STR(kj_jstr(&a->items[4]).p, kj_jstr(&a->items[4]).n, "xé😀\n");
    CHECK_INT(kj_jget(kj_jget(v, "b"), "c")->n, 0);
    CHECK_INT(kj_jget(v, "")->n, 0);
    CHECK(kj_jget(v, "nope") == NULL);
    CHECK(kj_jget(a, "a") == NULL);
    CHECK(kj_jget(NULL, "a") == NULL);
    CHECK_INT(kj_jint(NULL, 5), 5);
    CHECK(kj_jstr(NULL).p == NULL);
    /* keys are in their order */
    CHECK_STR(v->keys[1].p, v->keys[1].n, "b");
    /* a NUL inside, and text that is not NUL-terminated */
    v = parse("\"a\\u0000b\"???", 10);
    CHECK(v && v->s.n == 3 && memcmp(v->s.p, "a\0b", 3) == 0);
    v = parse("\xEF\xBB\xBF[7]", 6);
    CHECK(v && v->n == 1);
}

static void test_refused(void)
{
    static const char *const bad[] = {
        "",
        " ",
        "{",
        "[1,]",
        "{\"a\":}",
        "{\"a\" 1}",
        "[1] x",
        "01",
        "1.",
        ".5",
        "+1",
        "nul",
        "\"\\x\"",
        "\"\\ud800\"",
        "\"\t\"",
        "'a'",
        "{a:1}",
        "[1 2]",
        "\"abc",
        "1e999",
        "-1e999",
        "NaN",
        "Infinity",
        "[1]]",
        "{\"a\":1,}",
        "\"\xff\"",
        "\"\xed\xa0\x80\"",
        "\"\xc0\xaf\"",
        "123456789012345678901x",
        "--12345678901234567890",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct kj_err err = KJ_ERR_INIT;
        const struct kj_jval *v = NULL;
        int rc = kj_json_parse(J, bad[i], strlen(bad[i]), &v, &err);
        if (!CHECK_INT(rc, KJ_BAD_RECORD))
            printf("     text [%s]\n", bad[i]);
        CHECK(v == NULL && err.msg[0]);
    }
    char deep[4096];
    memset(deep, '[', 2000);
    memset(deep + 2000, ']', 2000);
    CHECK(parse(deep, 4000) == NULL);
    CHECK(parse(deep + 1500, 1000) != NULL);
}

static void test_numbers(void)
{
    const struct kj_jval *v = parsez("[9223372036854775807,-9223372036854775808,"
                                     "9223372036854775808,18446744073709551615]");
    CHECK(v->items[0].kind == KJ_J_INT && v->items[0].i == INT64_MAX);
    CHECK(v->items[1].kind == KJ_J_INT && v->items[1].i == INT64_MIN);
    CHECK(v->items[2].kind == KJ_J_REAL && v->items[2].r == 0x1p63);
    CHECK(v->items[3].kind == KJ_J_REAL && v->items[3].r == 0x1p64);
    /* beyond 64 bits, with look-alikes that must stay as they are */
    v = parsez("{\"12345678901234567890123\":\"12345678901234567890123\","
               "\"q\\\"9\":-123456789012345678901234567890,"
               "\"f\":1.2345678901234567890123,\"e\":1e-0000000000000000000000003,"
               "\"g\":[1000000000000000000000]}");
    if (!CHECK(v != NULL))
        return;
    CHECK_STR(v->keys[0].p, v->keys[0].n, "12345678901234567890123");
    CHECK_STR(v->items[0].s.p, v->items[0].s.n, "12345678901234567890123");
    CHECK_NEAR(v->items[1].r, -123456789012345678901234567890., 0);
    CHECK_NEAR(v->items[2].r, 1.2345678901234567890123, 0);
    CHECK_NEAR(v->items[3].r, 1e-3, 0);
    CHECK_NEAR(v->items[4].items[0].r, 1e21, 0);
}

static void test_reuse(void)
{
    /* A large text, then small ones: the parser gives its tables back. */
    size_t n = 9 << 20;
    char *big = malloc(n);
    memset(big, 'x', n);
    big[0] = big[n - 1] = '"';
    const struct kj_jval *v = parse(big, n);
    CHECK(v && v->s.n == n - 2);
    for (int i = 0; i < 3; i++) {
        v = parsez("[1,2,3]");
        CHECK(v && v->n == 3);
    }
    /* the densest tree */
    for (size_t i = 0; i < 200001; i++)
        big[i] = i & 1 ? '0' : ',';
    big[0] = '[';
    big[200000] = ']';
    v = parse(big, 200001);
    CHECK(v && v->n == 100000);
    free(big);
}

static void test_load(void)
{
    char path[] = "/tmp/kijil-json-XXXXXX";
    int fd = mkstemp(path);
    CHECK_INT(write(fd, "{\"k\": 5}\n", 9), 9);
    close(fd);
    struct kj_err err = KJ_ERR_INIT;
    const struct kj_jval *v;
    CHECK_INT(kj_json_load(J, path, 9, &v, &err), KJ_OK);
    CHECK_INT(kj_jint(kj_jget(v, "k"), 0), 5);
    CHECK_INT(kj_json_load(J, path, 8, &v, &err), KJ_FAIL);
    CHECK(v == NULL);
    CHECK_STR(err.file, strlen(err.file), path);
    kj_err_reset(&err);
    CHECK_INT(truncate(path, 5), 0);
    CHECK_INT(kj_json_load(J, path, 100, &v, &err), KJ_FAIL);
    CHECK_INT(err.rc, KJ_FAIL);
    CHECK_STR(err.file, strlen(err.file), path);
    unlink(path);
    kj_err_reset(&err);
    CHECK_INT(kj_json_load(J, path, 100, &v, &err), KJ_FAIL);
}

/* ---- members ---- */

static void test_member(void)
{
    const char *s = "  { \"a\" : 1 ,\"b\\\"}\":{\"x\":[\"]}\",{}]} , \"c\":\"\\\\\","
                    "\"d\": true\n,\"e\":[ ]\t} ";
    static const char *const want[][2] = {{"a", "1"},
                                          {"b\\\"}", "{\"x\":[\"]}\",{}]}"},
                                          {"c", "\"\\\\\""},
                                          {"d", "true"},
                                          {"e", "[ ]"}};
    size_t pos = 0;
    struct kj_str k, v;
    for (int i = 0; i < 5; i++) {
        CHECK_INT(kj_json_member(s, strlen(s), &pos, &k, &v), KJ_OK);
        CHECK_STR(k.p, k.n, want[i][0]);
        CHECK_STR(v.p, v.n, want[i][1]);
    }
    CHECK_INT(kj_json_member(s, strlen(s), &pos, &k, &v), KJ_EOF);
    CHECK_INT(kj_json_member(s, strlen(s), &pos, &k, &v), KJ_EOF);
    pos = 0;
    CHECK_INT(kj_json_member("{}", 2, &pos, &k, &v), KJ_EOF);
    pos = 0;
    CHECK_INT(kj_json_member("[1]", 3, &pos, &k, &v), KJ_BAD_RECORD);
    pos = 0;
    CHECK_INT(kj_json_member("", 0, &pos, &k, &v), KJ_BAD_RECORD);
}

/* ---- writing ---- */

static void check_str(const char *p, size_t n, const char *want)
{
    struct kj_buf b;
    kj_buf_init(&b, 1 << 20);
    CHECK_INT(kj_json_put_str(&b, p, n), KJ_OK);
    CHECK_STR(b.p, b.n, want);
    kj_buf_release(&b);
}

static void test_put_str(void)
{
    check_str("", 0, "\"\"");
    check_str(NULL, 0, "\"\"");
    check_str("plain text, long enough for words", 33,
              "\"plain text, long enough for words\"");
    check_str("a\"b\\c/d\n\r\t\b\f\x01\x1f\x7f\0z", 17,
              "\"a\\\"b\\\\c/d\\n\\r\\t\\b\\f\\u0001\\u001f\x7f\\u0000z\"");
    check_str("한국어 \"말\"", strlen("한국어 \"말\""), "\"한국어 \\\"말\\\"\"");
    check_str("\xEF\xBF\xBD", 3, "\"\xEF\xBF\xBD\"");
    /* malformed: one U+FFFD for each maximal ill-formed part */
    check_str("a\xff\xfe"
              "b",
              4,
              "\"a\xEF\xBF\xBD\xEF\xBF\xBD"
              "b\"");
    check_str("\xe2\x82", 2, "\"\xEF\xBF\xBD\"");
    check_str("\xed\xa0\x80", 3, "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"");
    /* every position of every special byte in a word */
    for (int i = 0; i < 24; i++)
        for (int c = 0; c < 128; c++) {
            char s[24];
            struct kj_buf b;
            memset(s, 'k', 24);
            s[i] = (char)c;
            kj_buf_init(&b, 256);
            kj_json_put_str(&b, s, 24);
            const struct kj_jval *v = parse(b.p, b.n);
            CHECK_MEM(kj_jstr(v).p, kj_jstr(v).n, s, 24);
            kj_buf_release(&b);
        }
}

static void test_cap(void)
{
    struct kj_buf b;
    const struct kj_jval *v = parsez("[\"abc\",\"\\n\\n\\n\\n\\n\\n\"]");
    for (size_t cap = 0; cap < 24; cap++) {
        kj_buf_init(&b, cap);
        int rc = kj_json_put_val(&b, v);
        CHECK_INT(rc, cap < 22 ? KJ_BAD_RECORD : KJ_OK);
        CHECK_INT(b.n, cap < 22 ? 0 : 22);
        kj_buf_release(&b);
    }
}

static void check_real(double x, const char *want)
{
    struct kj_buf b;
    kj_buf_init(&b, 64);
    kj_json_put_real(&b, x);
    CHECK_STR(b.p, b.n, want);
    kj_buf_release(&b);
}

static void test_put_real(void)
{
    check_real(0, "0");
    check_real(-0.0, "-0.0");
    check_real(1, "1");
    check_real(-100000, "-100000");
    check_real(999999999999999., "999999999999999");
    check_real(1e15, "1e+15");
    check_real(0.1, "0.1");
    check_real(0.65, "0.65");
    check_real(1.0 / 3, "0.3333333333333333");
    check_real(5e-324, "5e-324");
    check_real(DBL_MAX, "1.7976931348623157e+308");
    check_real(NAN, "null");
    check_real(INFINITY, "null");
    check_real(-INFINITY, "null");
    /* any bits read back, and no shorter text does */
    uint64_t s = 1;
    for (int i = 0; i < 20000; i++) {
        s = s * 6364136223846793005u + 1442695040888963407u;
        double x;
        char t[64], u[64];
        memcpy(&x, &s, 8);
        if (!isfinite(x))
            continue;
        struct kj_buf b;
        kj_buf_init(&b, 64);
        kj_json_put_real(&b, x);
        snprintf(t, sizeof t, "%.*s", (int)b.n, b.p);
        const struct kj_jval *v = parse(b.p, b.n);
        double y = kj_jnum(v, 0);
        CHECK(strtod(t, NULL) == x && y == x);
        int digits = 0;
        for (char *q = t; *q && *q != 'e'; q++)
            digits += (*q > '0' || (*q == '0' && digits)) && *q <= '9';
        if (digits > 1) {
            snprintf(u, sizeof u, "%.*e", digits - 2, x);
            CHECK(strtod(u, NULL) != x);
        }
        kj_buf_reset(&b);
        float f = (float)x, g;
        if (isfinite(f)) {
            kj_json_put_float(&b, f);
            snprintf(t, sizeof t, "%.*s", (int)b.n, b.p);
            g = strtof(t, NULL);
            CHECK(g == f && b.n < 16);
        }
        kj_buf_release(&b);
    }
}

static void test_round_trip(void)
{
    static const char *const same[] = {
        "null",
        "true",
        "[1,2.5,-3]",
        "{\"a\":{\"b\":[]},\"c\":\"\\u0001한\"}",
        "-0.0",
        "[[],{},\"\",0]",
        "9223372036854775807",
        "1e-7",
    };
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        struct kj_buf b;
        kj_buf_init(&b, 1024);
        const struct kj_jval *v = parsez(same[i]);
        if (!CHECK(v != NULL))
            continue;
        CHECK_INT(kj_json_put_val(&b, v), KJ_OK);
        if (strcmp(same[i], "1e-7") == 0)
            CHECK_STR(b.p, b.n, "1e-07");
        else
            CHECK_STR(b.p, b.n, same[i]);
        kj_buf_release(&b);
    }
}

int main(void)
{
    J = kj_json_new();
    test_tree();
    test_refused();
    test_numbers();
    test_reuse();
    test_load();
    test_member();
    test_put_str();
    test_cap();
    test_put_real();
    test_round_trip();
    kj_json_free(J);
    kj_json_free(NULL);
    return test_end();
}
