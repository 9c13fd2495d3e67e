/* Properties, case, normal forms and words against the conformance files of
 * the Unicode consortium (where unicode-data is installed), against Python
 * (where it is), and against a small set of our own. */
#include "base/unicode.h"

#include <stdlib.h>

#include "base/err.h"
#include "base/utf8.h"
#include "tests/unit/test.h"

#define DATA "/usr/share/unicode/"

static const char *const form_names[] = {"NFC", "NFD", "NFKC", "NFKD"};

static void check_norm(enum kj_nf f, const char *in, size_t n, const char *want,
                       size_t m)
{
    struct kj_buf b;
    kj_buf_init(&b, 1 << 20);
    CHECK_INT(kj_uni_normalize(&b, f, in, n), KJ_OK);
    if (!CHECK_MEM(b.p, b.n, want, m))
        printf("     form %s of [%.*s]\n", form_names[f], (int)n, in);
    kj_buf_release(&b);
}

static void test_own(void)
{
    CHECK_INT(kj_uni_category('a'), KJ_GC_LL);
    CHECK_INT(kj_uni_category(0xAC00), KJ_GC_LO);
    CHECK_INT(kj_uni_category(0x1100), KJ_GC_LO);
    CHECK_INT(kj_uni_category(0x20AC), KJ_GC_SC);
    CHECK_INT(kj_uni_category(0xD800), KJ_GC_CS);
    CHECK_INT(kj_uni_category(0x10FFFF), KJ_GC_CN);
    CHECK_INT(kj_uni_category(0x110000), KJ_GC_CN);
    CHECK(kj_uni_space(0x3000) && kj_uni_space(0x85) && !kj_uni_space(0x200B));
    CHECK(kj_uni_py_space(0x1C) && !kj_uni_space(0x1C));
    CHECK(kj_uni_alnum(0xBD) && kj_uni_alnum(0x2460) && !kj_uni_alnum('_'));
    CHECK_INT(kj_uni_lower(0x130), 'i');
    CHECK_INT(kj_uni_upper(0xFF), 0x178);
    CHECK_STR(kj_uni_script('a'), 4, "Latn");
    CHECK_STR(kj_uni_script(0xAC00), 4, "Hang");
    CHECK_STR(kj_uni_script(0x4E00), 4, "Hani");
    CHECK_STR(kj_uni_script(0x300), 4, "Zinh");
    CHECK_STR(kj_uni_script(' '), 4, "Zyyy");
    CHECK_STR(kj_uni_script(0x378), 4, "Zzzz");
    CHECK(kj_uni_is_nfc("한글 caf\xC3\xA9", 12));
    CHECK(!kj_uni_is_nfc("e\xCC\x81", 3));
    check_norm(KJ_NFD, "각", 3, "\xE1\x84\x80\xE1\x85\xA1\xE1\x86\xA8", 9);
    check_norm(KJ_NFC, "\xE1\x84\x80\xE1\x85\xA1\xE1\x86\xA8", 9, "각", 3);
    check_norm(KJ_NFC, "가\xE1\x86\xA8", 6, "각", 3);
    check_norm(KJ_NFKC, "ﬁ①", 6, "fi1", 3);
    check_norm(KJ_NFC, "", 0, "", 0);
}

static void check_lower(const char *in, const char *want)
{
    struct kj_buf b;
    kj_buf_init(&b, 4096);
    CHECK_INT(kj_uni_lower_str(&b, in, strlen(in)), KJ_OK);
    CHECK_STR(b.p, b.n, want);
    kj_buf_release(&b);
}

static void test_lower(void)
{
    check_lower("ABC xyz ÀÉ", "abc xyz àé");
    check_lower("ΑΣ", "ας");
    check_lower("ΑΣ.", "ας.");
    check_lower("ΑΣΑ", "ασα");
    check_lower("Σ", "σ");
    check_lower("ΑΣ'Α", "ασ'α");
    check_lower("İ", "i̇");
    struct kj_buf b;
    kj_buf_init(&b, 8);
    CHECK_INT(kj_uni_lower_str(&b, "ABCDEFGHIJ", 10), KJ_BAD_RECORD);
    CHECK_INT(b.n, 0);
    kj_buf_release(&b);
}

/* A long run of marks in reverse order: sorted, stable, and in linear time. */
static void test_marks(void)
{
    enum { N = 200000 };
    char *p = malloc(2 * N + 1), *want = malloc(2 * N + 1);
    p[0] = want[0] = 'q';
    for (int i = 0; i < N; i++) {
        p[1 + 2 * i] = '\xCC';
        /* U+0301 (230) and U+0316 (220) in turn */
        p[2 + 2 * i] = i % 2 ? '\x96' : '\x81';
        want[1 + 2 * i] = '\xCC';
        want[2 + 2 * i] = i < N / 2 ? '\x96' : '\x81';
    }
    check_norm(KJ_NFD, p, 2 * N + 1, want, 2 * N + 1);
    struct kj_buf b;
    kj_buf_init(&b, N);
    CHECK_INT(kj_uni_normalize(&b, KJ_NFD, p, 2 * N + 1), KJ_BAD_RECORD);
    CHECK_INT(b.n, 0);
    kj_buf_release(&b);
    free(p);
    free(want);
}

static size_t from_hex(const char *s, const char *end, char *out)
{
    size_t n = 0;
    while (s < end) {
        char *next;
        unsigned long c = strtoul(s, &next, 16);
        if (next == s)
            break;
        n += kj_utf8_put((uint32_t)c, out + n);
        s = next;
    }
    return n;
}

/* Columns of the test file: source; NFC; NFD; NFKC; NFKD. The five columns'
 * own forms are checked, and that characters not listed in part 1 are their
 * own normal forms. */
static void test_norm_file(void)
{
    FILE *f = test_have(DATA "NormalizationTest.txt.bz2")
                  ? popen("bzip2 -dc " DATA "NormalizationTest.txt.bz2", "r")
                  : NULL;
    char line[4096];
    int lines = 0, part = 0, bad = 0;
    unsigned char *listed = calloc(0x110000, 1);
    while (f && fgets(line, sizeof line, f)) {
        if (line[0] == '@')
            part = line[5] - '0';
        if (line[0] == '#' || line[0] == '@')
            continue;
        char col[5][512], *s = line;
        size_t n[5];
        for (int i = 0; i < 5; i++) {
            char *e = strchr(s, ';');
            n[i] = from_hex(s, e, col[i]);
            s = e + 1;
        }
        if (part == 1)
            listed[strtoul(line, NULL, 16)] = 1;
        static const int want[4][5] = {
            {1, 1, 1, 3, 3}, {2, 2, 2, 4, 4}, {3, 3, 3, 3, 3}, {4, 4, 4, 4, 4}};
        int before = test_failed;
        for (int k = 0; k < 4; k++)
            for (int i = 0; i < 5; i++)
                check_norm((enum kj_nf)k, col[i], n[i], col[want[k][i]], n[want[k][i]]);
        if (kj_uni_is_nfc(col[0], n[0]))
            CHECK_MEM(col[0], n[0], col[1], n[1]);
        bad += test_failed > before;
        lines++;
        if (bad > 10)
            break;
    }
    if (f)
        pclose(f);
    if (!lines) {
        SKIP("no " DATA "NormalizationTest.txt.bz2, or no bzip2");
        free(listed);
        return;
    }
    CHECK(lines > 18000);
    for (uint32_t c = 1; c < 0x110000; c++) {
        char u[4];
        size_t n = kj_utf8_put(c, u);
        if (listed[c] || (c >= 0xD800 && c < 0xE000))
            continue;
        for (int k = 0; k < 4; k++) {
            struct kj_buf b;
            kj_buf_init(&b, 64);
            kj_uni_normalize(&b, (enum kj_nf)k, u, n);
            if (b.n != n || memcmp(b.p, u, n) != 0)
                bad++;
            kj_buf_release(&b);
        }
    }
    CHECK_INT(bad, 0);
    free(listed);
}

/* Lines "÷ 0061 × 0308 ÷ 0020 ÷": ÷ is a boundary. */
static void check_words(const char *line)
{
    char text[512];
    size_t n = 0, ends[128], n_ends = 0;
    for (const char *s = line; *s && *s != '#' && *s != '\n';) {
        if (memcmp(s, "÷", 2) == 0) {
            if (n)
                ends[n_ends++] = n;
            s += 2;
        } else if (memcmp(s, "×", 2) == 0) {
            s += 2;
        } else if (*s == ' ' || *s == '\t') {
            s++;
        } else {
            char *e;
            n += kj_utf8_put((uint32_t)strtoul(s, &e, 16), text + n);
            if (e == s)
                break;
            s = e;
        }
    }
    size_t at = 0, i = 0;
    while (at < n) {
        at = kj_uni_word_next(text, n, at);
        if (i >= n_ends || !CHECK_INT(at, ends[i])) {
            test_check(0, __FILE__, __LINE__, line);
            return;
        }
        i++;
    }
    CHECK_INT(i, n_ends);
}

static void test_words(void)
{
    check_words(
        "÷ 0063 × 0061 × 006E × 0027 × 0074 ÷ 0020 ÷ 0033 × 002E × 0032 ÷ 0021 ÷");
    check_words("÷ AC00 × B098 ÷ 0020 × 0020 ÷ 1F1F0 × 1F1F7 ÷ 1F1F0 ÷");
    check_words("÷ 05D0 × 0027 ÷ 0020 ÷ 05D0 × 0022 × 05D0 ÷ 000D × 000A ÷");
}

static void test_word_file(void)
{
    FILE *f = fopen(DATA "auxiliary/WordBreakTest.txt", "r");
    char line[4096];
    int lines = 0;
    if (!f) {
        SKIP("no " DATA "auxiliary/WordBreakTest.txt");
        return;
    }
    while (fgets(line, sizeof line, f)) {
        if (line[0] != '#') {
            check_words(line);
            lines++;
        }
    }
    fclose(f);
    CHECK(lines > 1800);
}

/* Python's own answers for every character of its database. Ours is 15.0:
 * characters that Python does not know (category Cn) are passed over. */
static void test_python(void)
{
    static const char script[] =
        "python3 -c \"\n"
        "import unicodedata as u\n"
        "if [int(x) for x in u.unidata_version.split('.')]>[15,0,0]: raise SystemExit\n"
        "for i in range(0x110000):\n"
        "  c=chr(i)\n"
        "  if 0xD800<=i<0xE000 or u.category(c)=='Cn': continue\n"
        "  print(i,c.isspace()+2*c.isalnum()+4*c.isalpha(),u.category(c),\n"
        "    c.lower().encode().hex())\n\" 2>/dev/null";
    FILE *f = popen(script, "r");
    char line[256];
    int lines = 0;
    while (f && fgets(line, sizeof line, f)) {
        unsigned c, flags;
        char gc[8], hex[64], low[64], u[4];
        static const char names[] =
            "CnLuLlLtLmLoMnMcMeNdNlNoPcPdPsPePiPfPoSmScSkSoZsZlZpCcCfCsCo";
        if (sscanf(line, "%u %u %7s %63s", &c, &flags, gc, hex) != 4)
            break;
        unsigned ours =
            (unsigned)kj_uni_py_space(c) + 2u * kj_uni_alnum(c) + 4u * kj_uni_alpha(c);
        struct kj_buf b;
        kj_buf_init(&b, 64);
        kj_uni_lower_str(&b, u, kj_utf8_put(c, u));
        low[0] = 0;
        for (size_t i = 0; i < b.n; i++)
            snprintf(low + 2 * i, 3, "%02x", (unsigned char)b.p[i]);
        if (ours != flags || memcmp(names + 2 * kj_uni_category(c), gc, 2) != 0 ||
            strcmp(low, hex) != 0) {
            printf("     U+%04X: got %u %.2s %s, want %s", c, ours,
                   names + 2 * kj_uni_category(c), low, line);
            CHECK(!"equal to Python");
        }
        kj_buf_release(&b);
        lines++;
    }
    if (f)
        pclose(f);
    if (lines < 100000)
        SKIP("no python3 with Unicode 15.0 or older");
    else
        CHECK(lines > 140000);
}

int main(void)
{
    test_own();
    test_lower();
    test_marks();
    test_words();
    test_word_file();
    test_norm_file();
    test_python();
    return test_end();
}
