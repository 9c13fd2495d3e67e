/* Choosing and undoing encodings. Korean pages are made here by iconv in every
 * encoding, with right, wrong and no declarations, from 10 to 4,000 characters
 * long. */
#include "extract/charset.h"

#include <iconv.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/doc.h"
#include "base/err.h"
#include "base/input.h"
#include "base/utf8.h"
#include "tests/unit/test.h"

static struct kj_charset *cs;
static struct kj_buf out;

/* Own sentences of several registers; "똠방각하 펲시콜라 뷁" are syllables that
 * CP949 has and KS X 1001 has not. */
static const char *const korean[] = {
    "오늘 아침에 시장에서 사과와 배를 샀는데 값이 지난주보다 조금 올랐다고 한다. ",
    "정부는 내년 예산안을 국회에 제출하면서 교육과 보건 분야의 지출을 늘리겠다고 "
    "밝혔다. ",
    "컴퓨터가 느려졌을 때에는 먼저 필요 없는 프로그램을 지우고 다시 켜 보는 것이 "
    "좋습니다. ",
    "ㅋㅋㅋ 진짜 웃기다 어제 본 영화 완전 재밌었음 또 보러 갈래요? ",
    "이 함수는 두 개의 인수를 받아 그 합을 돌려주며, 오류가 나면 음수를 돌려준다. ",
    "선수들은 후반전에 두 골을 넣어 역전승을 거두었고 감독은 기쁨의 눈물을 흘렸다. ",
    "할머니는 겨울마다 김장을 하시며 이웃들과 나누어 먹는 것을 가장 큰 기쁨으로 "
    "여기셨다. ",
    "문의 사항은 홈페이지 게시판이나 전화로 연락해 주시면 친절하게 안내해 "
    "드리겠습니다. ",
};
#define N_KOREAN (sizeof korean / sizeof *korean)

/* `chars` characters beginning with sentence i. */
static size_t make_text(size_t i, size_t chars, char *to, size_t cap)
{
    size_t n = 0, count = 0;
    for (;; i++) {
        const char *s = korean[i % N_KOREAN];
        for (size_t k = 0, len = strlen(s); k < len;) {
            size_t w;
            kj_utf8_next(s + k, len - k, &w);
            if (count == chars || n + w > cap)
                return n;
            memcpy(to + n, s + k, w);
            n += w;
            k += w;
            count++;
        }
    }
}

static size_t encode(const char *name, const char *p, size_t n, char *to, size_t cap)
{
    iconv_t cd = iconv_open(name, "UTF-8");
    char *in = (char *)(uintptr_t)p, *o = to;
    size_t left = n, room = cap;
    if (cd == (iconv_t)-1)
        return 0;
    while (left > 0 && iconv(cd, &in, &left, &o, &room) == (size_t)-1 && left > 0) {
        in++; /* not in this table */
        left--;
        while (left > 0 && (*in & 0xC0) == 0x80)
            in++, left--;
    }
    iconv(cd, NULL, NULL, &o, &room);
    iconv_close(cd);
    return cap - room;
}

static void test_labels(void)
{
    static const char *const t[][2] = {
        {"euc-kr", "EUC-KR"},
        {"KS_C_5601-1987", "EUC-KR"},
        {" korean ", "EUC-KR"},
        {"windows-949", "EUC-KR"},
        {"iso-8859-1", "windows-1252"},
        {"US-ASCII", "windows-1252"},
        {"latin1", "windows-1252"},
        {"gb2312", "GBK"},
        {"shift_jis", "Shift_JIS"},
        {"x-sjis", "Shift_JIS"},
        {"utf8", "UTF-8"},
        {"\"UTF-8\"", "UTF-8"},
        {"iso-8859-9", "windows-1254"},
        {"tis-620", "windows-874"},
        {"big5-hkscs", "Big5"},
        {"iso-2022-kr", "ISO-2022-KR"},
        {"no-such", NULL},
        {"", NULL},
    };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        const char *got = kj_charset_label(kj_str_z(t[i][0]));
        if (!CHECK((got == NULL) == (t[i][1] == NULL)) || !got)
            continue;
        CHECK_STR(got, strlen(got), t[i][1]);
    }
}

static void test_prescan(void)
{
    static const char *const t[][2] = {
        {"<meta charset=euc-kr>", "euc-kr"},
        {"<META CHARSET='EUC-KR' >", "EUC-KR"},
        {"<meta http-equiv=Content-Type content='text/html; charset=ks_c_5601-1987'>",
         "ks_c_5601-1987"},
        {"<meta content=\"text/html;charset=utf-8\" http-equiv=\"content-type\"/>",
         "utf-8"},
        {"<meta content='text/html;charset=utf-8'>", ""},
        {"<!-- <meta charset=big5> --><meta charset=utf-8>", "utf-8"},
        {"<a title='<meta charset=big5>'><meta charset=utf-8>", "utf-8"},
        {"<?xml version='1.0' encoding=\"EUC-JP\"?><html>", "EUC-JP"},
        {"<meta name=x><meta charset=nonsense><meta charset=gbk>", "gbk"},
        {"<meta charset", ""},
        {"<", ""},
    };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        struct kj_str s = kj_charset_prescan(t[i][0], strlen(t[i][0]));
        CHECK_STR(s.p, s.n, t[i][1]);
    }
}

static void expect(const char *p, size_t n, const char *http, const char *used,
                   const char *want, uint64_t replaced)
{
    struct kj_charset_result r;
    struct kj_err err = KJ_ERR_INIT;
    kj_buf_reset(&out);
    CHECK_INT(kj_charset_decode(cs, p, n, kj_str_z(http), true, &out, &r, &err), KJ_OK);
    CHECK_STR(r.used, strlen(r.used), used);
    CHECK_STR(r.text.p, r.text.n, want);
    CHECK_INT(r.replaced, replaced);
    CHECK_INT(kj_utf8_valid(r.text.p, r.text.n), r.text.n);
}
#define EXPECT(p, http, used, want, bad) expect(p, sizeof(p) - 1, http, used, want, bad)

static void test_order(void)
{
    EXPECT("plain", NULL, "UTF-8", "plain", 0);
    EXPECT("plain", "euc-kr", "EUC-KR", "plain", 0);
    EXPECT("\xEF\xBB\xBFx", "euc-kr", "UTF-8", "x", 0);
    EXPECT("\xFF\xFEx\0", "utf-8", "UTF-16LE", "x", 0);
    EXPECT("\xFE\xFF\0x", NULL, "UTF-16BE", "x", 0);
    /* HTTP before meta, when both decode */
    EXPECT("<meta charset=utf-8>caf\xE9", "iso-8859-1", "windows-1252",
           "<meta charset=utf-8>caf\xC3\xA9", 0);
    /* a declaration that fails gives way */
    EXPECT("<meta charset=utf-8>caf\xE9 na\xEFve", NULL, "windows-1252",
           "<meta charset=utf-8>caf\xC3\xA9 na\xC3\xAFve", 0);
    EXPECT("<meta charset=utf-16>caf\xC3\xA9", NULL, "UTF-8",
           "<meta charset=utf-16>caf\xC3\xA9", 0);
    EXPECT("it\x92s 5\x80", "iso-8859-1", "windows-1252",
           "it\xE2\x80\x99s 5\xE2\x82\xAC", 0);
    EXPECT("\x81", "windows-1252", "windows-1252", "\xC2\x81", 0);
}

static void test_malformed(void)
{
    char page[400];
    size_t n = make_text(0, 100, page, 300);
    /* one broken sequence in a page of UTF-8 is replaced, not a reason to doubt */
    memcpy(page + n, "\xED\x95", 2);
    struct kj_charset_result r;
    kj_buf_reset(&out);
    CHECK_INT(
        kj_charset_decode(cs, page, n + 2, kj_str_z("utf-8"), true, &out, &r, NULL), 0);
    CHECK_STR(r.used, strlen(r.used), "UTF-8");
    CHECK_INT(r.replaced, 1);
    CHECK_MEM(r.text.p + n, r.text.n - n, "\xEF\xBF\xBD", 3);
    /* a lead byte without its trail, in CP949 */
    char coded[400];
    size_t m = encode("UHC", page, n, coded, sizeof coded);
    memcpy(coded + m, "\xB0 x", 3);
    kj_buf_reset(&out);
    CHECK_INT(
        kj_charset_decode(cs, coded, m + 3, kj_str_z("euc-kr"), true, &out, &r, NULL),
        0);
    CHECK_STR(r.used, strlen(r.used), "EUC-KR");
    CHECK_INT(r.replaced, 1);
    CHECK_MEM(r.text.p, n, page, n);
    CHECK_STR(r.text.p + n, r.text.n - n, "\xEF\xBF\xBD x");
    /* the cap */
    struct kj_buf small;
    kj_buf_init(&small, 100);
    CHECK_INT(
        kj_charset_decode(cs, coded, m, kj_str_z("euc-kr"), true, &small, &r, NULL),
        KJ_BAD_RECORD);
    kj_buf_release(&small);
}

/* ---- pages ---- */

static const char markup_head[] =
    "<!DOCTYPE html><html><head><title>page</title><link rel=stylesheet href=/s.css>%s"
    "</head><body><div class=\"menu\"><a href=/>home</a> <a "
    "href=/list>list</a></div><p>";
static const char markup_tail[] =
    "</p><div id=foot>Copyright 2004 by somebody</div></body></html>";

/* A page in the named encoding; meta: what it declares, or NULL. */
static size_t make_page(const char *name, const char *meta, const char *text, size_t n,
                        bool markup, char *to, size_t cap)
{
    static char utf8[40000];
    char decl[80] = "";
    size_t k = 0;
    if (meta)
        snprintf(decl, sizeof decl, "<meta charset=\"%s\">", meta);
    if (markup)
        k = (size_t)snprintf(utf8, sizeof utf8, markup_head, decl);
    memcpy(utf8 + k, text, n);
    k += n;
    if (markup) {
        memcpy(utf8 + k, markup_tail, sizeof markup_tail - 1);
        k += sizeof markup_tail - 1;
    }
    return encode(name, utf8, k, to, cap);
}

static bool decoded_right(const char *name, const char *http, const char *meta,
                          bool markup, size_t i, size_t chars)
{
    static char text[20000], page[80000], want[80000];
    struct kj_charset_result r;
    size_t n = make_text(i, chars, text, sizeof text);
    size_t m = make_page(name, meta, text, n, markup, page, sizeof page);
    size_t w = make_page("UTF-8", meta, text, n, markup, want, sizeof want);
    kj_buf_reset(&out);
    if (kj_charset_decode(cs, page, m, kj_str_z(http), markup, &out, &r, NULL) < 0)
        return false;
    return r.text.n == w && memcmp(r.text.p, want, w) == 0;
}

static void test_korean(void)
{
    static const struct {
        const char *coded, *http, *meta, *what;
        bool markup;
        int tolerated; /* per cent of the short texts (10 and 20) that may fail */
    } t[] = {
        {"UHC", NULL, NULL, "CP949, nothing declared", true, 15},
        {"UHC", NULL, NULL, "CP949, bare text", false, 15},
        {"UHC", NULL, "euc-kr", "CP949, meta euc-kr", true, 0},
        {"UHC", "EUC-KR", NULL, "CP949, HTTP euc-kr", true, 0},
        {"UHC", NULL, "utf-8", "CP949, meta utf-8", true, 15},
        {"UHC", "iso-8859-1", NULL, "CP949, HTTP iso-8859-1", true, 15},
        {"UHC", "gb2312", NULL, "CP949, HTTP gb2312", true, 15},
        {"UHC", "utf-8", "ks_c_5601-1987", "CP949, HTTP utf-8, meta ks_c_5601", true,
         0},
        {"UTF-8", NULL, NULL, "UTF-8, nothing declared", true, 0},
        {"UTF-8", NULL, "euc-kr", "UTF-8, meta euc-kr", true, 0},
        {"UTF-8", "iso-8859-1", NULL, "UTF-8, HTTP iso-8859-1", true, 0},
        {"JOHAB", NULL, NULL, "Johab, nothing declared", true, 30},
        {"JOHAB", NULL, "johab", "Johab, declared", true, 0},
        {"ISO-2022-KR", NULL, NULL, "ISO-2022-KR, nothing declared", true, 0},
        {"ISO-2022-KR", NULL, "iso-2022-kr", "ISO-2022-KR, declared", true, 0},
        {"UTF-16LE", NULL, NULL, "UTF-16LE without a mark", true, 0},
        {"UTF-16BE", NULL, "utf-16", "UTF-16BE without a mark, declared", true, 0},
    };
    static const size_t lengths[] = {10, 20, 50, 150, 400, 4000};
    for (size_t k = 0; k < sizeof t / sizeof *t; k++) {
        int bad_short = 0, bad_long = 0, n_short = 0;
        for (size_t l = 0; l < 6; l++) {
            for (size_t i = 0; i < N_KOREAN; i++) {
                bool ok = decoded_right(t[k].coded, t[k].http, t[k].meta, t[k].markup,
                                        i, lengths[l]);
                n_short += lengths[l] < 50;
                bad_short += !ok && lengths[l] < 50;
                bad_long += !ok && lengths[l] >= 50;
            }
        }
        if (!CHECK_INT(bad_long, 0))
            printf("     %s\n", t[k].what);
        if (!CHECK(bad_short * 100 <= t[k].tolerated * n_short))
            printf("     %s: %d of %d short texts\n", t[k].what, bad_short, n_short);
    }
    static const char rare[] = "똠방각하 펲시콜라 뷁 아햏햏 쓩";
    char coded[200];
    size_t n = encode("UHC", rare, sizeof rare - 1, coded, sizeof coded);
    expect(coded, n, "euc-kr", "EUC-KR", rare, 0);
}

static void test_others(void)
{
    static const struct {
        const char *coded, *label, *text;
    } t[] = {
        {"CP932", "shift_jis", "東京の天気は晴れです。①②㈱"},
        {"EUC-JP", "euc-jp", "東京の天気は晴れです。"},
        {"ISO-2022-JP", "iso-2022-jp", "東京の天気は晴れです。"},
        {"GB18030", "gb2312", "今天天气很好，我们去公园。镕"},
        {"BIG5", "big5", "今天天氣很好，我們去公園。"},
        {"CP1251", "windows-1251", "Сегодня хорошая погода, и мы идём в парк."},
        {"KOI8-R", "koi8-r", "Сегодня хорошая погода, и мы идем в парк."},
        {"CP1253", "windows-1253", "Σήμερα ο καιρός είναι καλός."},
        {"CP1254", "iso-8859-9", "Bugün hava çok güzel, şimdi parka gidiyoruz."},
        {"CP1256", "windows-1256", "الطقس جميل اليوم"},
        {"CP874", "tis-620", "วันนี้อากาศดีมาก"},
    };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        char coded[400];
        size_t n =
            encode(t[i].coded, t[i].text, strlen(t[i].text), coded, sizeof coded);
        const char *name = kj_charset_label(kj_str_z(t[i].label));
        expect(coded, n, t[i].label, name, t[i].text, 0);
    }
    /* detection, where there is enough of it */
    static const struct {
        const char *coded, *text;
    } d[] = {
        {"CP932",
         "東京の天気は晴れです。明日は雨が降るでしょう。傘を持って行ってください。"},
        {"EUC-JP",
         "東京の天気は晴れです。明日は雨が降るでしょう。傘を持って行ってください。"},
        {"GB18030",
         "今天天气很好，我们去公园散步。明天会下雨，请带雨伞。这是一个测试。"},
        {"CP1251", "Сегодня хорошая погода, и мы идём в парк. Завтра будет дождь."},
    };
    for (size_t i = 0; i < sizeof d / sizeof *d; i++) {
        char coded[400];
        size_t n =
            encode(d[i].coded, d[i].text, strlen(d[i].text), coded, sizeof coded);
        struct kj_charset_result r;
        kj_buf_reset(&out);
        kj_charset_decode(cs, coded, n, (struct kj_str){NULL, 0}, false, &out, &r,
                          NULL);
        CHECK_STR(r.text.p, r.text.n, d[i].text);
    }
}

/* ---- real Korean ---- */

#define TEXTS "../shared/data/text/ko.jsonl.zst"
enum { EVERY = 7 }; /* of the documents, each in all encodings */

/* `chars` characters of [p,n) from character `from` on; *hangul of them. */
static size_t snippet(const char *p, size_t n, size_t from, size_t chars, char *to,
                      size_t *hangul)
{
    size_t k = 0, len;
    *hangul = 0;
    for (size_t i = 0; i < n && chars > 0; i += len) {
        uint32_t c = kj_utf8_next(p + i, n - i, &len);
        if (from > 0) {
            from--;
            continue;
        }
        if (c >= 0x10000 || c == '<' || c == '&')
            continue;
        memcpy(to + k, p + i, len);
        k += len;
        chars--;
        *hangul += c >= 0xAC00 && c <= 0xD7A3;
    }
    return k;
}

struct tally {
    int n, right;
};

/* One page, where HTTP or the page itself says what it is. */
static void try_real(const char *coded, const char *http, const char *meta,
                     const char *text, size_t n, struct tally *t)
{
    static char page[80000], want[80000];
    struct kj_charset_result r;
    size_t m = make_page(coded, meta, text, n, true, page, sizeof page);
    /* what is left of it in that encoding */
    iconv_t cd = iconv_open("UTF-8", coded);
    char *in = page, *o = want;
    size_t left = m, room = sizeof want;
    iconv(cd, &in, &left, &o, &room);
    iconv_close(cd);
    kj_buf_reset(&out);
    kj_charset_decode(cs, page, m, kj_str_z(http), true, &out, &r, NULL);
    t->n++;
    t->right += r.text.n == sizeof want - room && memcmp(r.text.p, want, r.text.n) == 0;
}

static const char *const coded_as[] = {"UHC",         "EUC-KR",   "UTF-8",   "JOHAB",
                                       "ISO-2022-KR", "UTF-16LE", "UTF-16BE"};
static const char *const said[] = {
    NULL,      "euc-kr",       "utf-8",  "iso-8859-1", "shift_jis",
    "euc-jp",  "johab",        "gb2312", "big5",       "windows-1251",
    "gb18030", "windows-1258", "utf-16", "iso-2022-kr"};
enum { CODED = sizeof coded_as / sizeof *coded_as, SAID = sizeof said / sizeof *said };

static void try_text(const char *text, size_t n, size_t hangul,
                     struct tally t[CODED][SAID][2])
{
    for (size_t c = 0; c < CODED; c++) {
        for (size_t s = 0; s < SAID; s++) {
            struct tally *y = &t[c][s][hangul >= 50];
            try_real(coded_as[c], NULL, said[s], text, n, y);
            if (said[s])
                try_real(coded_as[c], said[s], NULL, text, n, y);
        }
    }
}

static void test_real(void)
{
    static const size_t lengths[] = {10, 20, 50, 70, 100, 200, 400, 1000, 4000};
    static struct tally t[CODED][SAID][2];
    static char text[20000];
    struct kj_err err = KJ_ERR_INIT;
    struct kj_input *in;
    if (access(TEXTS, R_OK) != 0) {
        SKIP("no texts in ../shared/data/text");
        return;
    }
    if (!CHECK_INT(kj_input_open(&in, TEXTS, &err), KJ_OK))
        return;
    struct kj_lines *lines = kj_lines_new(in, KJ_DOC_LINE_MAX);
    struct kj_batch b;
    const char *p;
    size_t n, no = 0;
    int64_t member, at;
    kj_batch_init(&b);
    while (kj_lines_next(lines, &p, &n, &member, &at, &err) == KJ_OK) {
        struct kj_doc d;
        kj_batch_reset(&b);
        if (++no % EVERY || kj_doc_parse(&d, b.json, &b.arena, p, n, &err) < 0)
            continue;
        size_t hangul, len = lengths[no / EVERY % 9];
        size_t k = snippet(d.text.p, d.text.n, no % 97, len, text, &hangul);
        if (hangul >= 5)
            try_text(text, k, hangul, t);
    }
    kj_batch_release(&b);
    kj_lines_free(lines);
    kj_input_close(in);
    struct tally all[2] = {{0, 0}, {0, 0}};
    for (size_t c = 0; c < CODED; c++) {
        for (size_t s = 0; s < SAID; s++) {
            const struct tally *y = t[c][s];
            for (int k = 0; k < 2; k++) {
                all[k].n += y[k].n;
                all[k].right += y[k].right;
            }
            if (!CHECK(y[1].n > 0 && y[1].right * 100 >= y[1].n * 99) ||
                !CHECK(y[0].right * 100 >= y[0].n * 95))
                printf("     %s, said to be %s: %d of %d, shorter ones %d of %d\n",
                       coded_as[c], said[s] ? said[s] : "nothing", y[1].right, y[1].n,
                       y[0].right, y[0].n);
        }
    }
    printf("real Korean: %d of %d pages right with 50 syllables or more, %d of %d "
           "with 5 to 49\n",
           all[1].right, all[1].n, all[0].right, all[0].n);
}

/* ---- text that had been decoded wrongly before it was stored ---- */

static void put_right(const char *p, size_t n, const char *want, const char *repaired)
{
    struct kj_charset_result r;
    kj_buf_reset(&out);
    CHECK_INT(kj_charset_decode(cs, p, n, kj_str_z("utf-8"), false, &out, &r, NULL), 0);
    CHECK_STR(r.text.p, r.text.n, want);
    CHECK_STR(r.repaired ? r.repaired : "", r.repaired ? strlen(r.repaired) : 0,
              repaired);
}

/* [p,n) read as ISO-8859-1 and encoded as UTF-8. */
static size_t again(const char *p, size_t n, char *to)
{
    size_t k = 0;
    for (size_t i = 0; i < n; i++)
        k += kj_utf8_put((unsigned char)p[i], to + k);
    return k;
}

static void test_repair(void)
{
    static const char *const wrong[][2] = {
        /* by windows-1252, which has no U+0081: it goes through as a control */
        {"don\u00E2\u20AC\u2122t \u00E2\u20AC\u0153 quoted\u00E2\u20AC\xC2\x9D",
         "don’t “ quoted”"},
        {"\u00ED\u2022\u0153\u00EA\u00B8\u20AC", "한글"},
        {"caf\u00C3\u00A9 d\u00C3\u00A9j\u00C3\u00A0 vu", "café déjà vu"},
        /* a sound page that holds such runs */
        {"뉴스 \u00ED\u2022\u0153\u00EA\u00B8\u20AC 제목", "뉴스 한글 제목"},
        {"r\u00E9sum\u00E9 of Bob\u00E2\u20AC\u2122s", "résumé of Bob’s"},
        {"ok \u00F0\u0178\u02DC\u20AC é", "ok 😀 é"},
        /* ISO-8859-1 instead of EUC-KR */
        {"\u00C7\u00D1\u00B1\u00B9\u00BE\u00EE \u00B9\u00AE\u00BC\u00AD\u00C0\u00C7 "
         "\u00C1\u00A6\u00B8\u00F1\u00C0\u00BA "
         "\u00C0\u00CC\u00B0\u00CD\u00C0\u00CC\u00B4\u00D9",
         "한국어 문서의 제목은 이것이다"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        put_right(wrong[i][0], strlen(wrong[i][0]), wrong[i][1],
                  i == 6 ? "EUC-KR" : "UTF-8");
    /* too little evidence, or evidence against it */
    static const char *const sound[] = {
        "caf\u00C3\u00A9",
        "É\u2122 and Ü\u2013 or Spa\u00DF\u201C",
        "It says \u00C3\u00A9 where é should be, and Â° for °, Ã\u00BC for ü",
        "naïve café, Ångström, ½ ×2, “quoted”, 20 °C",
        "ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖØÙÚÛÜÝÞß",
        "Действительно, Ã",
        "한국어 문서",
    };
    for (size_t i = 0; i < sizeof sound / sizeof *sound; i++)
        put_right(sound[i], strlen(sound[i]), sound[i], "");
    /* every sentence of ours, once and twice over, survives the way back */
    for (size_t i = 0; i < N_KOREAN; i++) {
        char once[2000], twice[4000];
        size_t n = again(korean[i], strlen(korean[i]), once);
        put_right(once, n, korean[i], "UTF-8");
        n = again(once, n, twice);
        put_right(twice, n, korean[i], "UTF-8");
    }
}

/* Sentences of 75 languages: next to none changes (41, all of them broken where
 * they were collected), and nearly all that are encoded twice come back. The rest
 * has one or two marks, which prove nothing. */
static void test_languages(void)
{
    static const char name[] = "../shared/data/lid/lingua.tsv.zst";
    struct kj_err err = KJ_ERR_INIT;
    struct kj_input *in;
    if (access(name, R_OK) != 0) {
        SKIP("no sentences in ../shared/data/lid");
        return;
    }
    if (!CHECK_INT(kj_input_open(&in, name, &err), KJ_OK))
        return;
    struct kj_lines *lines = kj_lines_new(in, 1 << 20);
    int all = 0, changed = 0, twice = 0, back = 0;
    const char *p;
    size_t n;
    int64_t member, at;
    static char coded[1 << 16];
    while (kj_lines_next(lines, &p, &n, &member, &at, &err) == KJ_OK) {
        struct kj_charset_result r;
        kj_buf_reset(&out);
        kj_charset_decode(cs, p, n, kj_str_z("utf-8"), false, &out, &r, NULL);
        all++;
        changed += r.repaired != NULL;
        size_t marks = 0;
        for (size_t i = 0; i < n; i++)
            marks += (unsigned char)p[i] >= 0xC0;
        if (r.repaired || marks < 3 || n > sizeof coded / 2)
            continue;
        size_t m = again(p, n, coded);
        kj_buf_reset(&out);
        kj_charset_decode(cs, coded, m, kj_str_z("utf-8"), false, &out, &r, NULL);
        twice++;
        back += r.text.n == n && memcmp(r.text.p, p, n) == 0;
    }
    kj_lines_free(lines);
    kj_input_close(in);
    CHECK(all > 10000 && changed * 1000 < all);
    CHECK(back * 100 >= twice * 95);
    printf(
        "75 languages: %d of %d sentences changed; of %d encoded twice %d came back\n",
        changed, all, twice, back);
}

int main(void)
{
    cs = kj_charset_new();
    kj_buf_init(&out, 1 << 20);
    test_labels();
    test_prescan();
    test_order();
    test_malformed();
    test_korean();
    test_others();
    test_repair();
    test_real();
    test_languages();
    kj_charset_free(cs);
    kj_buf_release(&out);
    return test_end();
}
