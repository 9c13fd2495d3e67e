/* test_mem.c - errors, arenas, buffers, UTF-8. */
#include "base/err.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void test_err(void)
{
    struct kj_err e = KJ_ERR_INIT;
    char text[1024];
    CHECK_INT(kj_err_set(&e, KJ_FAIL, "bad %d", 7), KJ_FAIL);
    kj_err_set(&e, KJ_FATAL, "later");
    CHECK_INT(e.rc, KJ_FAIL); /* the first fault wins */
    kj_err_where(&e, "x.warc", 42);
    kj_err_where(&e, "y.warc", 43);
    kj_err_doc(&e, "idX", 2);
    kj_err_context(&e, "reading");
    kj_err_text(&e, text, sizeof text);
    CHECK_STR(text, strlen(text), "x.warc:42: reading: bad 7 (document id)");
    kj_err_reset(&e);
    errno = ENOENT;
    kj_err_errno(&e, KJ_FAIL, "open");
    CHECK_INT(e.err_no, ENOENT);
    CHECK(strstr(e.msg, "No such file") != NULL);
    char longname[400];
    memset(longname, 'a', sizeof longname - 1);
    memcpy(longname + sizeof longname - 5, "tail", 5);
    struct kj_err f = KJ_ERR_INIT;
    kj_err_set(&f, KJ_FAIL, "x");
    kj_err_where(&f, longname, -1);
    CHECK(strcmp(f.file + strlen(f.file) - 4, "tail") == 0); /* keeps its end */
    CHECK_INT(kj_err_set(NULL, KJ_DROP, "none"), KJ_DROP);
}

static void test_arena(void)
{
    struct kj_arena a;
    kj_arena_init(&a, 1 << 20);
    char *p = kj_arena_dup(&a, "abc", 3);
    CHECK_MEM(p, 4, "abc", 4);
    CHECK_INT((uintptr_t)p % 16, 0);
    char *q = kj_arena_printf(&a, "%d-%s", 5, "x");
    CHECK_STR(q, strlen(q), "5-x");
    unsigned char *z = kj_arena_zalloc(&a, 700000); /* beyond an ordinary block */
    CHECK(z && z[0] == 0 && z[699999] == 0);
    CHECK(kj_arena_alloc(&a, 400000) == NULL); /* the cap */
    CHECK(kj_arena_alloc(&a, SIZE_MAX) == NULL);
    kj_arena_reset(&a);
    CHECK_INT(a.used, 0);
    CHECK(kj_arena_alloc(&a, 1 << 20) != NULL);
    for (int i = 0; i < 1000; i++) {
        kj_arena_reset(&a);
        for (int k = 0; k < 100; k++)
            memset(kj_arena_alloc(&a, (size_t)(k * 37 + 1)), k, (size_t)(k * 37 + 1));
    }
    kj_arena_release(&a);
    kj_arena_release(&a);
}

static void test_buf(void)
{
    struct kj_buf b;
    kj_buf_init(&b, 10);
    CHECK_INT(kj_buf_addz(&b, "12345"), KJ_OK);
    CHECK_INT(kj_buf_addz(&b, "678901"), KJ_BAD_RECORD);
    CHECK_STR(b.p, b.n, "12345"); /* nothing of the one that did not fit */
    CHECK_INT(kj_buf_printf(&b, "%05d", 42), KJ_OK);
    CHECK_STR(kj_buf_z(&b), b.n, "1234500042");
    CHECK_INT(kj_buf_addc(&b, 'x'), KJ_BAD_RECORD);
    CHECK_INT(kj_buf_reserve(&b, SIZE_MAX), KJ_BAD_RECORD);
    for (size_t i = 0; i < KJ_BUF_PAD; i++)
        b.p[b.n + i] = 1; /* the pad is ours to touch */
    kj_buf_release(&b);
    CHECK(b.p == NULL && b.n == 0);
}

/* Decoding by the definition: tables 3-6 and 3-7 of the Unicode standard. */
static void test_utf8(void)
{
    char s[4];
    size_t len;
    for (uint32_t c = 0; c < 0x110000; c += c < 0x3000 ? 1 : 97) {
        if (c >= 0xD800 && c < 0xE000)
            continue;
        size_t n = kj_utf8_put(c, s);
        if (kj_utf8_next(s, n, &len) != c || len != n || kj_utf8_valid(s, n) != n) {
            CHECK_INT(kj_utf8_next(s, n, &len), c);
            break;
        }
    }
    static const struct {
        const char *p;
        size_t n, len;
    } bad[] = {
        {"\x80", 1, 1},         {"\xC0\x80", 2, 1},         {"\xC1\xBF", 2, 1},
        {"\xE0\x80\x80", 3, 1}, {"\xED\xA0\x80", 3, 1},     {"\xF4\x90\x80\x80", 4, 1},
        {"\xF5", 1, 1},         {"\xE1\x80", 2, 2},         {"\xE1\x80\x41", 3, 2},
        {"\xF1\x80\x80", 3, 3}, {"\xF0\x80\x80\x80", 4, 1},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK_INT(kj_utf8_next(bad[i].p, bad[i].n, &len), KJ_UTF8_BAD);
        CHECK_INT(len, bad[i].len);
        CHECK_INT(kj_utf8_valid(bad[i].p, bad[i].n), 0);
    }
    const char *ko = "ab\xED\x95\x9C\xEA\xB8\x80"; /* "ab한글" */
    CHECK_INT(kj_utf8_count(ko, 8), 4);
    CHECK_INT(kj_utf8_cut(ko, 8, 6), 5);
    CHECK_INT(kj_utf8_cut(ko, 8, 5), 5);
    CHECK_INT(kj_utf8_cut(ko, 8, 100), 8);
    CHECK_INT(kj_utf8_valid("12345678\xFF", 9), 8);
    CHECK_INT(kj_utf8_valid("\xEF\xBF\xBD", 3), 3);
}

static void test_xprintf(void)
{
    char long_name[3000];
    memset(long_name, 'x', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = 0;
    char *a = kj_xprintf("%s/%d.json", "dir", 7), *b = kj_xprintf("%s/", long_name);
    char *empty = kj_xprintf("%s", "");
    CHECK_STR(a, strlen(a), "dir/7.json");
    CHECK_INT(strlen(b), sizeof long_name);
    CHECK_STR(empty, strlen(empty), "");
    free(a);
    free(b);
    free(empty);
}

int main(void)
{
    test_err();
    test_arena();
    test_buf();
    test_xprintf();
    test_utf8();
    return test_end();
}
