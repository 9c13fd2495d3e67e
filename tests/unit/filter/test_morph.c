/* The morpheme splitter: slices of sentences whose morphemes are beyond doubt, and
 * what must hold for any text. */
#include <stdlib.h>

#include "filter/morph.h"
#include "tests/unit/test.h"

/* The pieces of a text, with | between them. */
static void split(struct kj_morph *m, const char *p, size_t n, char *out, size_t cap)
{
    struct kj_morph_piece v[KJ_MORPH_PIECES];
    size_t len = 0;
    out[0] = 0;
    for (size_t i = 0, end; i < n; i = end) {
        size_t k = kj_morph_next(m, p, n, i, v, &end);
        CHECK(end > i && end <= n && k <= KJ_MORPH_PIECES);
        for (size_t x = 0; x < k && len < cap; x++) {
            CHECK(v[x].from >= i && v[x].from < v[x].to && v[x].to <= end);
            len += (size_t)snprintf(out + len, cap - len, "%s%.*s", len ? "|" : "",
                                    (int)(v[x].to - v[x].from), p + v[x].from);
        }
    }
}

static void is(const char *text, const char *want)
{
    char got[4096];
    struct kj_morph *m = kj_morph_new();
    for (int twice = 0; twice < 2; twice++) { /* the second time from memory */
        split(m, text, strlen(text), got, sizeof got);
        CHECK_STR(got, strlen(got), want);
    }
    kj_morph_free(m);
}

static void test_particles(void)
{
    is("학교에서는 학생이", "학교|에서|는|학생|이");
    is("사람들은 물을 마시고", "사람|들|은|물|을|마시|고");
    is("정부의 정책과 국민에게까지도", "정부|의|정책|과|국민|에게|까지|도");
    is("난 그걸", "난|난|그걸|걸"); /* 나+ㄴ, 그거+ㄹ */
    /* What looks like a particle and is none. */
    is("아이가 회의를 국가의", "아이|가|회의|를|국가|의");
    is("API를 3월에 1,000원을", "API|를|3|월|에|1,000|원|을");
}

static void test_endings(void)
{
    is("먹고 먹는 먹었다", "먹|고|먹|는|먹|었|다");
    /* Where stem and ending share a syllable, both slices hold it. */
    is("했다", "했|했|다");
    is("갑니다", "갑|갑니다");
    is("사용한", "사용|한|한");
    is("만든", "만든|든"); /* 만들+ㄴ */
    is("어려운 어려워서", "어려운|운|어려워|워서");
    is("그렇게 그랬다", "그렇|게|그랬|랬|다");
    is("몰라서 불렀다", "몰라|라서|불렀|렀|다");
    is("하셨습니다", "하|셨|셨|습니다");
    is("학생입니다", "학생|입|입니다");
    is("하고 있지 않았습니다", "하|고|있|지|않|았|습니다");
    is("먹을 것이 많다", "먹|을|것|이|많|다");
}

static void test_signs(void)
{
    is("끝났다... 정말?!", "끝났|났|다|...|정말|?!");
    is("(한국)은 \"말\"이다", "(|한국|)|은|\"|말|\"|이|다");
    is("ㅋㅋㅋ ㅠㅠ~~", "ㅋㅋㅋ|ㅠㅠ|~~");
    is("3.14 a-b", "3.14|a|-|b");
    is("大韓民國 ABC", "大韓民國|ABC");
    /* 20 digits and commas or more are no word. */
    is("1234567890123456789 끝", "1234567890123456789|끝");
    is("12345678901234567890 끝", "끝");
    is("1,2,3,4,5,6,7,8,9,0,1", "");
    is("", "");
    is(" \n\t ", "");
}

/* Any bytes: pieces lie in order inside what was read (split checks it), and the
 * memory of earlier texts changes nothing. */
static void test_any(void)
{
    static const char *const bits[] = {"가",
                                       "다",
                                       "했",
                                       "는",
                                       "이",
                                       "을",
                                       "한",
                                       "있",
                                       "ㅋ",
                                       "1",
                                       "a",
                                       ",",
                                       ".",
                                       " ",
                                       "(",
                                       "漢",
                                       "\x80",
                                       "\xEA\xB0",
                                       "\xE3\x85\x8B",
                                       "ᄀ",
                                       "습니다",
                                       "하"};
    struct kj_morph *old = kj_morph_new();
    char text[2048], a[16384], b[16384];
    srand(3);
    for (int round = 0; round < 2000; round++) {
        size_t n = 0, pieces = (size_t)rand() % 60;
        for (size_t i = 0; i < pieces; i++) {
            const char *z = bits[(size_t)rand() % (sizeof bits / sizeof *bits)];
            memcpy(text + n, z, strlen(z));
            n += strlen(z);
        }
        struct kj_morph *fresh = kj_morph_new();
        split(old, text, n, a, sizeof a);
        split(fresh, text, n, b, sizeof b);
        CHECK_STR(a, strlen(a), b);
        kj_morph_free(fresh);
    }
    kj_morph_free(old);
}

int main(void)
{
    test_particles();
    test_endings();
    test_signs();
    test_any();
    return test_end();
}
