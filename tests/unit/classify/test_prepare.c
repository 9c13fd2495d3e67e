/* test_prepare.c - a document as one line, and its script. */
#include "classify/prepare.h"

#include "base/err.h"
#include "base/mem.h"
#include "tests/unit/test.h"

static void flat(const char *p, size_t n, const char *want)
{
    struct kj_buf b;
    kj_buf_init(&b, 1000);
    CHECK_INT(kj_classify_flatten(&b, p, n), KJ_OK);
    CHECK_STR(b.p, b.n, want);
    kj_buf_release(&b);
}
#define FLAT(lit, want) flat(lit, sizeof(lit) - 1, want)

static void script(const char *text, const char *want)
{
    const char *got = kj_classify_script(text, strlen(text));
    got = got ? got : "none";
    CHECK_STR(got, strlen(got), want);
}

int main(void)
{
    /* wanted: Python's " ".join(text.strip().splitlines()) */
    FLAT("", "");
    FLAT(" \n\t ", "");
    FLAT("a", "a");
    FLAT("\n a b \n", "a b");
    FLAT("a\nb\rc\vd\fe", "a b c d e");
    FLAT("a\x1c"
         "b\x1d"
         "c\x1e"
         "d\x1f"
         "e",
         "a b c d\x1f"
         "e"); /* 1F ends no line */
    FLAT("a\xc2\x85"
         "b\xe2\x80\xa8"
         "c\xe2\x80\xa9"
         "d",
         "a b c d");
    FLAT("\xe3\x80\x80가\xc2\xa0", "가"); /* ideographic and no-break space */
    FLAT("a\xe2\x80\xaa"
         "b",
         "a\xe2\x80\xaa"
         "b");
    FLAT("a\xe2\x80", "a\xe2\x80");
    FLAT("\x80 a", "\x80 a");
    FLAT("a\tb  c", "a\tb  c");
    struct kj_buf b;
    kj_buf_init(&b, 3);
    CHECK_INT(kj_classify_flatten(&b, "four", 4), KJ_BAD_RECORD);
    kj_buf_release(&b);

    script("", "none");
    script("12 .,", "none");
    script("abc", "Latn");
    script("ab가나다", "Hang");
    script("漢字", "Hani");
    script("漢字かなカナ", "Jpan");
    script("한국어와 漢字", "Hang");
    script("Привет ok", "Cyrl");
    script("\xff\xfe", "none");
    return test_end();
}
