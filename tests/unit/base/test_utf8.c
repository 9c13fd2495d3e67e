/* test_utf8.c - the decoder, the validator and its fast half against each
 * other, and against the table of what is well-formed (Unicode, table 3-7). */
#include "base/utf8.h"

#include "tests/unit/test.h"

/* Independent of utf8.h: every scalar value has exactly one encoding. */
static void test_all_scalars(void)
{
    char s[4];
    size_t len;
    int bad = 0;
    for (uint32_t c = 0; c < 0x110000; c++) {
        size_t want = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
        size_t n = kj_utf8_put(c, s);
        if (c >= 0xD800 && c < 0xE000) { /* surrogates: encoded, but refused */
            bad += kj_utf8_next(s, n, &len) != KJ_UTF8_BAD || len != 1;
            bad += kj_utf8_valid(s, n) != 0;
            continue;
        }
        bad += n != want || kj_utf8_next(s, n, &len) != c || len != n;
        bad += kj_utf8_valid(s, n) != n || kj_utf8_count(s, n) != 1;
        for (size_t cut = 1; cut < n; cut++)
            bad += kj_utf8_next(s, cut, &len) != KJ_UTF8_BAD || len != cut;
    }
    CHECK_INT(bad, 0);
}

/* Well-formed by the decoder alone. */
static size_t slow_valid(const char *p, size_t n)
{
    size_t i = 0, len;
    while (i < n) {
        uint32_t c = kj_utf8_next(p + i, n - i, &len);
        if (c == KJ_UTF8_BAD && !(len == 3 && memcmp(p + i, "\xEF\xBF\xBD", 3) == 0))
            return i;
        i += len;
    }
    return n;
}

/* Texts of all lengths with a byte or two changed. */
static void test_agree(void)
{
    static const char src[] =
        "키질 winnowing \xf0\x9f\x8c\xbe é grain한국어\xEF\xBF\xBD"
        " plain ASCII that is long enough for a word or two. ";
    char s[300];
    uint32_t r = 7;
    int differ = 0, malformed = 0;
    for (int round = 0; round < 60000; round++) {
        r = r * 1664525 + 1013904223;
        size_t n = r >> 8 & 255;
        for (size_t i = 0; i < n; i++)
            s[i] = src[(i + (r >> 20)) % (sizeof src - 1)];
        for (int k = (int)(r >> 4 & 1); k >= 0 && n; k--) {
            r = r * 1664525 + 1013904223;
            s[(r >> 8) % n] = (char)(r >> 24);
        }
        size_t want = slow_valid(s, n);
        malformed += want < n;
        differ += kj_utf8_valid(s, n) != want || kj_utf8_is_valid(s, n) != (want == n);
    }
    CHECK_INT(differ, 0);
    CHECK(malformed > 1000);
}

static void test_cut(void)
{
    const char *s = "a한b";
    static const size_t want[] = {0, 1, 1, 1, 4, 5, 5};
    for (size_t max = 0; max < 7; max++)
        CHECK_INT(kj_utf8_cut(s, 5, max), want[max]);
    CHECK_INT(kj_utf8_count(s, 5), 3);
}

int main(void)
{
    test_all_scalars();
    test_agree();
    test_cut();
    return test_end();
}
