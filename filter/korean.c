/* korean.c - one pass over the text counts everything; words of the spam lists
 * are looked up by their first syllable, so that the pass stays linear. */
#include "filter/korean.h"

#include <string.h>

#include "base/err.h"
#include "base/unicode.h"
#include "base/utf8.h"
#include "filter/recipe.h"
#include "filter/text.h"

struct term {
    const char *word;
    enum kj_spam list;
};

static const struct term terms[] = {
    {"카지노", KJ_SPAM_GAMBLING},     {"바카라", KJ_SPAM_GAMBLING},
    {"토토사이트", KJ_SPAM_GAMBLING}, {"스포츠토토", KJ_SPAM_GAMBLING},
    {"사설토토", KJ_SPAM_GAMBLING},   {"먹튀", KJ_SPAM_GAMBLING},
    {"슬롯머신", KJ_SPAM_GAMBLING},   {"슬롯사이트", KJ_SPAM_GAMBLING},
    {"룰렛", KJ_SPAM_GAMBLING},       {"파워볼", KJ_SPAM_GAMBLING},
    {"홀덤", KJ_SPAM_GAMBLING},       {"배팅", KJ_SPAM_GAMBLING},
    {"베팅", KJ_SPAM_GAMBLING},       {"꽁머니", KJ_SPAM_GAMBLING},
    {"안전놀이터", KJ_SPAM_GAMBLING}, {"메이저놀이터", KJ_SPAM_GAMBLING},
    {"사다리게임", KJ_SPAM_GAMBLING}, {"경마사이트", KJ_SPAM_GAMBLING},
    {"잭팟", KJ_SPAM_GAMBLING},       {"블랙잭", KJ_SPAM_GAMBLING},
    {"당일대출", KJ_SPAM_LOAN},       {"무직자", KJ_SPAM_LOAN},
    {"신용불량자", KJ_SPAM_LOAN},     {"급전", KJ_SPAM_LOAN},
    {"일수대출", KJ_SPAM_LOAN},       {"소액결제", KJ_SPAM_LOAN},
    {"현금화", KJ_SPAM_LOAN},         {"저신용자", KJ_SPAM_LOAN},
    {"연체자", KJ_SPAM_LOAN},         {"대환대출", KJ_SPAM_LOAN},
    {"무방문", KJ_SPAM_LOAN},         {"무서류", KJ_SPAM_LOAN},
    {"소액대출", KJ_SPAM_LOAN},       {"신용대출", KJ_SPAM_LOAN},
    {"햇살론", KJ_SPAM_LOAN},         {"개인돈", KJ_SPAM_LOAN},
    {"즉시대출", KJ_SPAM_LOAN},       {"대출상담", KJ_SPAM_LOAN},
    {"출장안마", KJ_SPAM_ADULT},      {"출장마사지", KJ_SPAM_ADULT},
    {"출장샵", KJ_SPAM_ADULT},        {"유흥업소", KJ_SPAM_ADULT},
    {"야동", KJ_SPAM_ADULT},          {"성인용품", KJ_SPAM_ADULT},
    {"성인사이트", KJ_SPAM_ADULT},    {"조건만남", KJ_SPAM_ADULT},
    {"풀싸롱", KJ_SPAM_ADULT},        {"룸싸롱", KJ_SPAM_ADULT},
    {"룸살롱", KJ_SPAM_ADULT},        {"안마방", KJ_SPAM_ADULT},
    {"콜걸", KJ_SPAM_ADULT},          {"비아그라", KJ_SPAM_ADULT},
    {"시알리스", KJ_SPAM_ADULT},      {"오피사이트", KJ_SPAM_ADULT},
    {"건마", KJ_SPAM_ADULT},          {"노래방도우미", KJ_SPAM_ADULT},
    {"최저가", KJ_SPAM_DOORWAY},      {"추천업체", KJ_SPAM_DOORWAY},
    {"업체추천", KJ_SPAM_DOORWAY},    {"비교견적", KJ_SPAM_DOORWAY},
    {"무료상담", KJ_SPAM_DOORWAY},    {"전문업체", KJ_SPAM_DOORWAY},
    {"잘하는곳", KJ_SPAM_DOORWAY},    {"저렴한곳", KJ_SPAM_DOORWAY},
    {"카톡문의", KJ_SPAM_DOORWAY},    {"상담문의", KJ_SPAM_DOORWAY},
    {"바로가기", KJ_SPAM_DOORWAY},    {"백링크", KJ_SPAM_DOORWAY},
    {"상위노출", KJ_SPAM_DOORWAY},    {"후기추천", KJ_SPAM_DOORWAY},
    {"견적문의", KJ_SPAM_DOORWAY},    {"실시간상담", KJ_SPAM_DOORWAY},
    {"링크모음", KJ_SPAM_DOORWAY},    {"주소모음", KJ_SPAM_DOORWAY},
};
#define TERMS (sizeof terms / sizeof *terms)

/* Chains of terms by first syllable: one more than an index, 0 ends. */
static unsigned char first[0xD7A4 - 0xAC00], chain[TERMS];

/* Filled before main(), so that it is read-only for all threads. */
__attribute__((constructor)) static void fill_first(void)
{
    _Static_assert(TERMS < 128, "indices are bytes, kinds two words of 64 bits");
    for (size_t i = 0; i < TERMS; i++) {
        size_t len;
        uint32_t c = kj_utf8_next(terms[i].word, 3, &len) - 0xAC00;
        chain[i] = first[c];
        first[c] = (unsigned char)(i + 1);
    }
}

static void look_up(struct kj_str t, size_t i, uint32_t c, uint64_t seen[2],
                    struct kj_korean *k)
{
    for (unsigned x = first[c - 0xAC00]; x; x = chain[x - 1]) {
        const struct term *m = &terms[x - 1];
        size_t n = strlen(m->word);
        if (t.n - i < n || memcmp(t.p + i, m->word, n) != 0)
            continue;
        k->spam[m->list]++;
        k->kinds[m->list] += !(seen[x / 64] >> x % 64 & 1);
        seen[x / 64] |= 1ull << x % 64;
    }
}

static bool laughs(uint32_t c)
{
    static const uint32_t of[] = {0x314B, 0x314E, 0x3160, 0x315C, 0x3161,
                                  0x3137, 0x3147, 0x3131, 0x3145, 0x3149};
    for (size_t i = 0; i < sizeof of / sizeof *of; i++)
        if (c == of[i])
            return true;
    return false;
}

static bool is_lone(uint32_t c)
{
    return c >= 0x3131 && c <= 0x318E;
}

static void other_letter(uint32_t c, struct kj_korean *k)
{
    if (!kj_uni_alpha(c))
        return;
    k->letters++;
    k->lone += is_lone(c);
    k->half += c >= 0xFFA1 && c <= 0xFFDC;
    k->conjoining += c >= 0x1100 && c <= 0x11FF;
    k->hangul += kj_uni_hangul(c);
    k->hanja += (c >= 0x3400 && c <= 0x9FFF) || (c >= 0xF900 && c <= 0xFAFF) ||
                (c >= 0x20000 && c <= 0x323AF);
    k->latin += c < 0x250;
}

void kj_korean_count(struct kj_str t, struct kj_korean *k)
{
    uint64_t seen[2] = {0, 0};
    uint32_t last = 0;
    size_t run = 0, len;
    memset(k, 0, sizeof *k);
    for (size_t i = 0; i < t.n; i += len) {
        unsigned char b = (unsigned char)t.p[i];
        k->chars++;
        if (b < 0x80) {
            len = 1;
            bool letter = (unsigned char)((b | 32) - 'a') < 26;
            k->letters += letter;
            k->latin += letter;
            last = 0;
            continue;
        }
        uint32_t c = kj_utf8_next(t.p + i, t.n - i, &len);
        if (c >= 0xAC00 && c <= 0xD7A3) {
            k->letters++;
            k->hangul++;
            if (first[c - 0xAC00])
                look_up(t, i, c, seen, k);
        } else {
            other_letter(c, k);
            run = c == last ? run + 1 : 1;
            k->laughs += run == 2 && laughs(c);
        }
        last = c;
    }
    k->ready = true;
}

/* ---- characters in their usual form ---- */

static int same_text(struct kj_str t, struct kj_buf *out)
{
    return t.n ? kj_buf_add(out, t.p, t.n) : KJ_OK;
}

KJ_CLEAN(nfc)
{
    (void)it;
    if (kj_uni_is_nfc(text.p, text.n) || !kj_utf8_is_valid(text.p, text.n))
        return same_text(text, out);
    int rc = kj_uni_normalize(out, KJ_NFC, text.p, text.n);
    *count = out->n != text.n || memcmp(out->p, text.p, text.n) != 0;
    return rc;
}

/* The usual form of a half-width jamo or a full-width sign; c itself if none. */
static uint32_t usual(uint32_t c)
{
    if (c >= 0xFF01 && c <= 0xFF5E)
        return c - 0xFF01 + '!';
    if (c == 0x3000)
        return ' ';
    if (c >= 0xFFA1 && c <= 0xFFBE)
        return c - 0xFFA1 + 0x3131;
    /* Vowels stand in groups of six: FFC2.., FFCA.., FFD2.., FFDA... */
    uint32_t v = c - 0xFFC2;
    if (c >= 0xFFC2 && c <= 0xFFDC && v % 8 < 6)
        return 0x314F + v / 8 * 6 + v % 8;
    return c;
}

KJ_CLEAN(half_jamo)
{
    size_t from = 0, len;
    int rc = KJ_OK;
    (void)it;
    for (size_t i = 0; i < text.n && rc == KJ_OK; i += len) {
        unsigned char b = (unsigned char)text.p[i];
        len = 1;
        if (b != 0xEF && b != 0xE3)
            continue;
        uint32_t c = kj_utf8_next(text.p + i, text.n - i, &len), u = usual(c);
        if (u == c)
            continue;
        char z[4];
        rc = i > from ? kj_buf_add(out, text.p + from, i - from) : KJ_OK;
        rc = rc ? rc : kj_buf_add(out, z, kj_utf8_put(u, z));
        from = i + len;
        ++*count;
    }
    return rc || from == text.n ? rc : kj_buf_add(out, text.p + from, text.n - from);
}

KJ_CLEAN(jamo_runs)
{
    size_t most = (size_t)it->threshold, from = 0, len = 1;
    int rc = KJ_OK;
    for (size_t i = 0; i < text.n && rc == KJ_OK; i += len) {
        len = 1;
        if ((unsigned char)text.p[i] != 0xE3)
            continue;
        uint32_t c = kj_utf8_next(text.p + i, text.n - i, &len);
        if (!is_lone(c))
            continue;
        size_t run = 1;
        while (i + (run + 1) * 3 <= text.n &&
               memcmp(text.p + i, text.p + i + run * 3, 3) == 0)
            run++;
        if (run > most) {
            rc = kj_buf_add(out, text.p + from, i + most * 3 - from);
            from = i + run * 3;
            ++*count;
        }
        len = run * 3;
    }
    return rc || from == text.n ? rc : kj_buf_add(out, text.p + from, text.n - from);
}

/* ---- tails ---- */

static bool holds(struct kj_str s, const char *z)
{
    size_t m = strlen(z);
    for (size_t i = 0; i + m <= s.n; i++)
        if (s.p[i] == z[0] && memcmp(s.p + i, z, m) == 0)
            return true;
    return false;
}

static size_t count_words(struct kj_str s)
{
    struct kj_str w;
    size_t k = 0;
    for (size_t at = 0; k < 31 && kj_text_word(s, &at, &w);)
        k++;
    return k;
}

/* "무단 전재 및 재배포 금지" and its kin */
static bool is_copyright(struct kj_str s)
{
    return (holds(s, "무단") && holds(s, "금지") &&
            (holds(s, "전재") || holds(s, "복제") || holds(s, "배포"))) ||
           (holds(s, "저작권자") &&
            (holds(s, "ⓒ") || holds(s, "©") || holds(s, "(c)") || holds(s, "(C)")));
}

/* A short line that names a reporter and an address: "홍길동 기자 hong@a.kr". Behind
 * masking the address is another, and still one. */
static bool is_reporter(struct kj_str s, size_t words)
{
    return words <= 8 && memchr(s.p, '@', s.n) &&
           (holds(s, "기자") || holds(s, "특파원") || holds(s, "리포터")) &&
           s.p[s.n - 1] != '.' && s.p[s.n - 1] != '?';
}

/* Two or more words, all of them names of places to share, or what one does. */
static bool is_share_bar(struct kj_str s, size_t words)
{
    static const char *const names[] = {
        "페이스북",  "트위터",   "카카오톡",   "카카오스토리",
        "네이버",    "밴드",     "네이버밴드", "네이버블로그",
        "블로그",    "구글",     "핀터레스트", "인스타그램",
        "라인",      "텔레그램", "공유",       "공유하기",
        "URL",       "URL복사",  "링크복사",   "복사",
        "링크",      "이메일",   "메일",       "스크랩",
        "인쇄",      "인쇄하기", "프린트",     "글자크기",
        "글씨크기",  "크게",     "작게",       "가",
        "댓글",      "댓글달기", "좋아요",     "구독",
        "구독하기",  "신고",     "목록",       "이전글",
        "다음글",    "닫기",     "Facebook",   "Twitter",
        "KakaoTalk", "Band",     "공감",       "이웃추가",
        "팔로우",    "더보기",   "카페",       "주소복사",
        "|",         "·",        "/",          "-"};
    struct kj_str w;
    int named = 0;
    if (words < 2 || words > 20)
        return false;
    for (size_t at = 0; kj_text_word(s, &at, &w);) {
        size_t i = 0;
        while (i < sizeof names / sizeof *names && !kj_str_is(w, names[i]))
            i++;
        if (i == sizeof names / sizeof *names)
            return false;
        named += w.n > 2; /* the signs between the names are shorter */
    }
    return named >= 2;
}

static bool is_tail(struct kj_str line)
{
    struct kj_str s = kj_text_strip(line);
    size_t words = s.n && s.n < 600 ? count_words(s) : 0;
    return words && words <= 30 &&
           (is_copyright(s) || is_reporter(s, words) || is_share_bar(s, words));
}

KJ_CLEAN(news_tails)
{
    int rc = KJ_OK;
    bool any = false;
    (void)it;
    for (size_t i = 0; i <= text.n && rc == KJ_OK;) {
        const char *e = i < text.n ? memchr(text.p + i, '\n', text.n - i) : NULL;
        size_t end = e ? (size_t)(e - text.p) : text.n;
        if (is_tail((struct kj_str){text.p + i, end - i})) {
            ++*count;
        } else {
            rc = any ? kj_buf_addc(out, '\n') : KJ_OK;
            rc = rc || end == i ? rc : kj_buf_add(out, text.p + i, end - i);
            any = true;
        }
        i = end + 1;
    }
    return rc;
}
