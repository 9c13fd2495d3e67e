/* phrases.c - see phrases.h.
 *
 * A block of a few words is compared, in lower case and with its white space
 * collapsed, with whole lines and with beginnings. Only what no author writes
 * as a paragraph of his own is in the lists. */
#include "extract/phrases.h"

#include <stdint.h>
#include <string.h>

#define MAX_LINE 160

static const char *const whole[] = {"advert",
                                    "advertisement",
                                    "advertising",
                                    "sponsored",
                                    "share",
                                    "share this",
                                    "share this story",
                                    "share this article",
                                    "share this post",
                                    "share on facebook",
                                    "share on twitter",
                                    "share via email",
                                    "tweet",
                                    "comments",
                                    "comment",
                                    "post comment",
                                    "post a comment",
                                    "leave a comment",
                                    "leave a reply",
                                    "read more",
                                    "continue reading",
                                    "sign up",
                                    "sign in",
                                    "subscribe",
                                    "log in",
                                    "login",
                                    "print",
                                    "email",
                                    "reply",
                                    "report",
                                    "loading",
                                    "loading...",
                                    "close",
                                    "menu",
                                    "search",
                                    "skip to content",
                                    "skip to main content",
                                    "back to top",
                                    "view all",
                                    "see all",
                                    "show more",
                                    "load more",
                                    "next",
                                    "previous",
                                    "follow us",
                                    "copy link",
                                    "facebook",
                                    "twitter",
                                    "pinterest",
                                    "linkedin",
                                    "whatsapp",
                                    "caption",
                                    "hide caption",
                                    "toggle caption",
                                    "enlarge this image",
                                    "add to cart",
                                    "add to wishlist",
                                    "add to bag",
                                    "quick view",
                                    "write a review",
                                    "was this helpful?",
                                    "was this page helpful?",
                                    "table of contents",
                                    "tags",
                                    "tags:",
                                    "공유",
                                    "공유하기",
                                    "댓글",
                                    "댓글쓰기",
                                    "댓글 쓰기",
                                    "댓글 작성",
                                    "목록",
                                    "목록으로",
                                    "이전글",
                                    "다음글",
                                    "이전 글",
                                    "다음 글",
                                    "인쇄",
                                    "인쇄하기",
                                    "스크랩",
                                    "신고",
                                    "신고하기",
                                    "좋아요",
                                    "더보기",
                                    "더 보기",
                                    "닫기",
                                    "로그인",
                                    "회원가입",
                                    "맨위로",
                                    "맨 위로",
                                    "본문 바로가기",
                                    "메뉴 바로가기",
                                    "구독하기",
                                    "글자크기",
                                    "글자 크기",
                                    "광고",
                                    "기사공유",
                                    "기사저장",
                                    "url 복사",
                                    "url복사",
                                    "카카오톡",
                                    "페이스북",
                                    "트위터",
                                    NULL};

static const char *const start[] = {"read more:",
                                    "read also:",
                                    "related:",
                                    "see also:",
                                    "see more:",
                                    "also read:",
                                    "also:",
                                    "more:",
                                    "watch:",
                                    "recommended:",
                                    "photo:",
                                    "photo by ",
                                    "photo credit",
                                    "image:",
                                    "image credit",
                                    "image source",
                                    "image via",
                                    "get short url",
                                    "follow us on",
                                    "sign up for ",
                                    "subscribe to ",
                                    "click here to subscribe",
                                    "like this story?",
                                    "share this:",
                                    "tagged:",
                                    "filed under",
                                    "posted in ",
                                    "get the latest ",
                                    "this slideshow requires javascript",
                                    "please enable javascript",
                                    "\xC2\xA9",
                                    "copyright \xC2\xA9",
                                    "copyright(c)",
                                    "copyright \xE2\x93\x92",
                                    "\xE2\x93\x92",
                                    "저작권자",
                                    "무단전재",
                                    "무단 전재",
                                    "<저작권자",
                                    "[저작권자",
                                    "기사제보",
                                    "제보는 ",
                                    "▶ ",
                                    "관련기사",
                                    "[관련기사",
                                    NULL};

static const char *const related[] = {"related",
                                      "related articles",
                                      "related posts",
                                      "related stories",
                                      "related content",
                                      "related news",
                                      "related topics",
                                      "related products",
                                      "related reading",
                                      "you may also like",
                                      "you might also like",
                                      "you may also like...",
                                      "more from",
                                      "more stories",
                                      "more news",
                                      "recommended",
                                      "recommended for you",
                                      "recommended reading",
                                      "read next",
                                      "up next",
                                      "most popular",
                                      "most read",
                                      "popular posts",
                                      "latest news",
                                      "latest posts",
                                      "recent posts",
                                      "trending",
                                      "trending now",
                                      "further reading on",
                                      "customers also bought",
                                      "customers also viewed",
                                      "similar products",
                                      "similar posts",
                                      "recently viewed",
                                      "관련 기사",
                                      "관련기사",
                                      "관련 글",
                                      "관련글",
                                      "추천 기사",
                                      "추천기사",
                                      "인기 기사",
                                      "인기기사",
                                      "많이 본 뉴스",
                                      "많이 본 기사",
                                      "최신 기사",
                                      "최신기사",
                                      "최근 글",
                                      "최근글",
                                      "인기 글",
                                      "인기글",
                                      "이 시각 주요뉴스",
                                      "주요 뉴스",
                                      "주요뉴스",
                                      "함께 보면 좋은 글",
                                      "다른 글 보기",
                                      "카테고리의 다른 글",
                                      "함께 본 상품",
                                      NULL};

/* Beginnings of headings, in the languages with most pages. */
/* clang-format off */
static const char *const also[] = {
    "related ", "similar ", "you may ", "you might ", "more ", "other ", "also ",
    "customers ", "people also", "recently ", "recommended ", "popular ", "trending ",
    "latest ", "featured", "frequently bought", "best sell", "new arrival", "shop ",
    "explore ", "discover ", "recent ", "top ", "what to read", "keep reading",
    "don't miss", "in this ", "ähnlich", "weitere ", "das könnte", "mehr ", "à lire",
    "articles ", "voir aussi", "vous aimerez", "también ", "artículos ", "te puede",
    "relacionad", "другие ", "читайте", "похожие", "関連",
    "おすすめ", "人気", "相关", "推荐", "热门", "관련", "추천",
    "인기", "최신", "이런 ", "함께 ", "다른 ", "많이 본", NULL};
static const char *const about[] = {
    "description", "product desc", "product info", "product det", "details", "about th",
    "specification", "spec", "technical", "feature", "overview", "ingredient",
    "what's in", "what is", "how to", "how it", "key ", "benefit", "highlights",
    "summary", "materials", "dimensions", "beschreibung", "produktbe", "eigenschaften",
    "caractér", "descripci", "característ", "описание",
    "характерист", "商品説明", "商品", "产品", "规格",
    "상품 설명", "상품설명", "상세", "제품", "특징", "개요", "설명",
    "요약", NULL};
static const char *const reviews[] = {
    "review", "customer review", "ratings", "rating", "customer ", "testimonial",
    "what our c", "what people", "q&a", "questions", "bewertung", "kundenrez",
    "kundenbew", "avis", "opinion", "reseñas", "отзывы", "レビュー",
    "口コミ", "评价", "리뷰", "후기", "상품평", "구매후기",
    "구매 후기", "상품문의", NULL};
static const char *const talk[] = {
    "comment", "leave a ", "post a ", "add a ", "join the", "repl", "responses",
    "discussion", "kommentar", "schreibe", "commentaire", "laisser", "comentario",
    "deja ", "комментар", "コメント", "评论", "댓글", "의견",
    "답글", NULL};
static const char *const site[] = {
    "follow", "share", "subscribe", "newsletter", "sign up", "join ", "stay ",
    "contact", "quick link", "useful", "company", "legal", "help", "support",
    "customer serv", "customer care", "resources", "categor", "tags", "archive",
    "about us", "our ", "about", "connect", "get in touch", "navigation", "menu",
    "search", "account", "my ", "privacy", "cookie", "filter", "sort", "refine",
    "language", "country", "your ", "cart", "links", "social", "download", "kontakt",
    "über uns", "suche", "kategor", "catégor", "suivez", "à propos", "sígue",
    "contacto", "категор", "контакт", "カテゴリ", "タグ", "分类",
    "标签", "카테고리", "태그", "공유", "구독", "문의", "고객",
    "회사", "검색", "로그인", "메뉴", NULL};
/* clang-format on */

static bool begins(const char *const *list, const char *s, size_t n)
{
    for (; *list; list++)
        if (**list == *s) {
            size_t m = strlen(*list);
            if (n >= m && memcmp(*list, s, m) == 0)
                return true;
        }
    return false;
}

/* Lower case of ASCII, white space collapsed, ends trimmed; 0 if too long. */
static size_t tidy(const char *p, size_t n, char out[MAX_LINE])
{
    size_t k = 0;
    for (size_t i = 0; i < n; i++) {
        char c = p[i];
        if ((unsigned char)c <= ' ') {
            if (k == 0 || out[k - 1] == ' ')
                continue;
            c = ' ';
        } else if (c >= 'A' && c <= 'Z') {
            c = (char)(c + 32);
        }
        if (k == MAX_LINE)
            return 0;
        out[k++] = c;
    }
    while (k && (out[k - 1] == ' ' || out[k - 1] == ':'))
        k--;
    return k;
}

static bool in_list(const char *const *list, const char *s, size_t n)
{
    for (; *list; list++)
        if (**list == *s && strlen(*list) == n && memcmp(*list, s, n) == 0)
            return true;
    return false;
}

enum kj_phrase kj_phrase_of(const char *p, size_t n)
{
    char s[MAX_LINE];
    size_t k = tidy(p, n, s);
    if (k == 0)
        return KJ_PHRASE_NONE;
    if (in_list(related, s, k))
        return KJ_PHRASE_RELATED;
    if (in_list(whole, s, k))
        return KJ_PHRASE_CHROME;
    if (begins(start, s, k))
        return KJ_PHRASE_CHROME;
    if (k > 60)
        return KJ_PHRASE_NONE;
    while (*s >= '0' && *s <= '9' && k > 2) { /* "12 comments" */
        size_t d = 1 + (s[1] == ' ');
        memmove(s, s + d, k -= d);
    }
    return begins(talk, s, k)      ? KJ_PHRASE_TALK
           : begins(reviews, s, k) ? KJ_PHRASE_REVIEWS
           : begins(about, s, k)   ? KJ_PHRASE_ABOUT
           : begins(also, s, k)    ? KJ_PHRASE_ALSO
           : begins(site, s, k)    ? KJ_PHRASE_SITE
                                   : KJ_PHRASE_NONE;
}
