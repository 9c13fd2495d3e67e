/* test_lid.c - labels' meaning, forms of Hangul, scripts, samples of long texts. */
#include "classify/lid.h"

#include <stdlib.h>

#include "base/err.h"
#include "base/unicode.h"
#include "classify/lid_codes.h"
#include "tests/unit/test.h"

#define SCRIPT(z) kj_lid_script(z, 4)

static void code(const char *label, const char *want, uint64_t scripts)
{
    struct kj_arena a;
    uint64_t set;
    kj_arena_init(&a, 1 << 20);
    struct kj_str s = kj_lid_code(kj_str_z(label), &set, &a);
    CHECK_STR(s.p, s.n, want);
    CHECK_INT(set == scripts, 1);
    kj_arena_release(&a);
}

static void codes(void)
{
    const uint64_t latin = SCRIPT("Latn");
    code("__label__ko", "ko", SCRIPT("Hang"));
    code("__label__kor_Hang", "ko", SCRIPT("Hang"));
    code("kor_Hang", "ko", SCRIPT("Hang"));
    code("__label__eng_Latn", "en", latin);
    code("__label__zho_Hans", "zh", SCRIPT("Hani"));
    code("__label__zho_Hant", "zh", SCRIPT("Hani"));
    code("__label__cmn_Hani", "zh", SCRIPT("Hani"));
    code("__label__jpn_Jpan", "ja", SCRIPT("Hani") | SCRIPT("Kana"));
    code("__label__arb_Arab", "ar", SCRIPT("Arab"));
    code("__label__pes_Arab", "fa", SCRIPT("Arab"));
    code("__label__zsm_Latn", "ms", latin);
    code("__label__als_Latn", "sq", latin);
    code("__label__nob_Latn", "nb", latin);
    code("__label__srp_Cyrl", "sr", SCRIPT("Cyrl"));
    code("__label__hin_Latn", "hi-Latn", latin); /* not its script */
    code("__label__ceb_Latn", "ceb", latin);     /* no two letters */
    code("__label__yue_Hani", "yue", SCRIPT("Hani"));
    code("__label__arz", "arz", SCRIPT("Arab"));
    code("__label__als", "als", KJ_SCRIPT_ANY); /* lid.176: Alemannic */
    code("__label__ko-Latn", "ko-Latn", latin);
    code("__label__sr", "sr", SCRIPT("Cyrl") | latin);
    code("__label__", "__label__", KJ_SCRIPT_ANY);
    code("__label__spam", "spam", KJ_SCRIPT_ANY);
    code("__label__kor_hang", "kor_hang", KJ_SCRIPT_ANY);
    code("", "", KJ_SCRIPT_ANY);
}

static struct kj_lid *lid;
static struct kj_lid_scratch *scratch;

static struct kj_lid_answer ask(const char *p, size_t n, const char *want)
{
    struct kj_err err = KJ_ERR_INIT;
    struct kj_lid_answer a;
    CHECK_INT(kj_lid_ask(lid, scratch, p, n, &a, &err), KJ_OK);
    struct kj_str s = kj_lid_language(lid, a.label);
    CHECK_STR(s.p, s.n, want);
    return a;
}

static double asks(const char *text, const char *want)
{
    return ask(text, strlen(text), want).score;
}

/* The same score for the same text in another form. */
static void forms(void)
{
    const char *ko = "키질 the grain을 바람에, tossing it so the chaff is blown away";
    double score = asks(ko, "en"); /* mostly, so that the model decides */
    CHECK(score < 1);
    struct kj_buf b;
    kj_buf_init(&b, 4096);
    CHECK_INT(kj_uni_normalize(&b, KJ_NFD, ko, strlen(ko)), KJ_OK);
    CHECK(ask(b.p, b.n, "en").score == score);
    kj_buf_release(&b);
    /* half-width jamo: double vowels, double finals, a consonant between vowels */
    CHECK(
        asks("ﾾￂﾤﾡￚﾩ ﾡￂﾴﾷￚﾩ ﾲￕﾪ ﾷￆﾴﾧￂ ﾡￍﾢￌﾺ ﾷￛﾩￏ grain, chaff away, the wind and the "
             "rain blow",
             "en") ==
        asks(
            "한글 값을 뷁 없다 과꽃 의뢰 grain, chaff away, the wind and the rain blow",
            "en"));
    CHECK(asks("ﾾￂﾤﾡￚﾩ", "ko") == 1);
    CHECK(asks("ㅋㅋㅋㅋ", "ko") == 1);
    CHECK(asks("Ｔｈｅ ｗｉｎｄ ｔａｋｅｓ ｔｈｅ ｃｈａｆｆ ａｗａｙ", "en") ==
          asks("The wind takes the chaff away", "en"));
    CHECK(asks("Việt Nam là đất nước của tôi", "vi") ==
          asks("Vie\xcc\xa3\xcc\x82t Nam la\xcc\x80 \xc4\x91\xc3\xa2\xcc\x81t "
               "n\xc6\xb0\xc6\xa1\xcc\x81"
               "c cu\xcc\x89"
               "a t\xc3\xb4i",
               "vi"));
    /* addresses are no words */
    CHECK(asks("기자 someone@example.com https://example.com/a/b", "ko") == 1);
    CHECK(asks("홈페이지는www.example.com입니다", "ko") == 1);
    CHECK(asks("The wind takes https://example.co.kr/x?y=바람 the chaff", "en") > 0.5);
}

static void by_script(void)
{
    CHECK(asks("전쟁은 무조건 악인가?", "ko") == 1);
    CHECK(asks("입력: 2007년 12월 23일 18:07:16", "ko") == 1);
    /* Han characters beside Hangul are Korean, beside kana Japanese */
    CHECK(asks("大韓民國은 民主共和國이다", "ko") == 1);
    CHECK(asks("民主主義とは何か", "ja") == 1);
    /* English that quotes Korean; Korean with much English; long, with code */
    asks("The group BTS (방탄소년단) released its first single in 2013", "en");
    CHECK(asks("걸즈 힙합 You Tube", "ko") == 1);
    struct kj_buf b;
    kj_buf_init(&b, 1 << 16);
    for (int i = 0; i < 20; i++)
        kj_buf_addz(&b, "const [state, setState] = useState(null); // 상태를 준비한다\n"
                        "return state.map(item => item.name)\n");
    CHECK(ask(b.p, b.n, "ko").score == 1);
    kj_buf_release(&b);
    CHECK(asks("Ελληνικά", "el") == 1);
    CHECK(asks("\xe1\xa0\xae\xe1\xa0\xa3\xe1\xa0\xa9", "mn") >= 0);
    asks("ᚠᚢᚦᚨᚱᚲ", "und"); /* runes: no language of the model */
    asks("12345 67.8 %", "und");
    asks("", "und");
}

/* Menus at the beginning do not decide. */
static void samples(void)
{
    struct kj_buf b;
    kj_buf_init(&b, 1 << 20);
    for (int i = 0; i < 60; i++)
        kj_buf_addz(&b, "Home Login Register News About this site and more\n");
    for (int i = 0; i < 600; i++)
        kj_buf_addz(&b, "키질은 곡식을 바람에 날려 쭉정이를 골라내는 일이다.\n");
    CHECK(ask(b.p, b.n, "ko").score > 0.9);
    kj_buf_reset(&b);
    for (int i = 0; i < 5000; i++) /* no white space to cut at */
        kj_buf_addz(&b, "風で籾殻を飛ばす作業のこと");
    struct kj_lid_answer a = ask(b.p, b.n, "ja");
    CHECK(a.letters <= 4096 / 3);
    CHECK(a.letters > 4096 / 3 - 32);
    kj_buf_release(&b);
}

int main(void)
{
    struct kj_err err = KJ_ERR_INIT;
    struct kj_lid_options o = {.max_bytes = 4096};
    codes();
    CHECK_INT(kj_lid_open(&lid, &o, &err), KJ_OK);
    scratch = kj_lid_scratch_new(lid);
    forms();
    by_script();
    samples();
    kj_lid_scratch_free(scratch);
    kj_lid_free(lid);
    return test_end();
}
