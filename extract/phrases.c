/* phrases.c - see phrases.h.
 *
 * A block of a few words is compared, in lower case and with its white space
 * collapsed, with whole lines and with beginnings, in the languages with most
 * pages. Of CHROME and RELATED, which are rules, only what no author writes as a
 * paragraph of his own is in the list; the others are for the judge of blocks. */
#include "extract/phrases.h"

#include <stdint.h>
#include <string.h>

#define MAX_LINE 160

struct phrase {
    const char *text;
    uint8_t n;
    uint8_t whole; /* or a beginning */
    uint8_t is;    /* enum kj_phrase */
};
/* clang-format off */
#define W(text, is) {text, sizeof text - 1, 1, KJ_PHRASE_##is}
#define B(text, is) {text, sizeof text - 1, 0, KJ_PHRASE_##is}
/* In byte order: those of one first byte are found by bisection. */
static const struct phrase phrases[] = {
    B("<저작권자", CHROME), B("[관련기사", CHROME), B("[저작권자", CHROME),
    B("about", SITE), B("about th", ABOUT), B("about us", SITE), B("account", SITE),
    B("add a ", TALK), W("add to bag", CHROME), W("add to cart", CHROME),
    W("add to wishlist", CHROME), W("advert", CHROME), W("advertisement", CHROME),
    W("advertising", CHROME), B("also ", ALSO), B("also read:", CHROME),
    B("also:", CHROME), B("archive", SITE), B("articles ", ALSO),
    B("artículos ", ALSO), B("avis", REVIEWS), W("back to top", CHROME),
    B("benefit", ABOUT), B("beschreibung", ABOUT), B("best sell", ALSO),
    B("bewertung", REVIEWS), W("caption", CHROME), B("característ", ABOUT),
    B("caractér", ABOUT), B("cart", SITE), B("categor", SITE), B("catégor", SITE),
    B("click here to subscribe", CHROME), W("close", CHROME), B("comentario", TALK),
    W("comment", CHROME), B("comment", TALK), B("commentaire", TALK),
    W("comments", CHROME), B("company", SITE), B("connect", SITE), B("contact", SITE),
    B("contacto", SITE), W("continue reading", CHROME), B("cookie", SITE),
    W("copy link", CHROME), B("copyright ©", CHROME), B("copyright ⓒ", CHROME),
    B("copyright(c)", CHROME), B("country", SITE), B("customer ", REVIEWS),
    B("customer care", SITE), B("customer review", REVIEWS), B("customer serv", SITE),
    B("customers ", ALSO), W("customers also bought", RELATED),
    W("customers also viewed", RELATED), B("das könnte", ALSO), B("deja ", TALK),
    B("descripci", ABOUT), B("description", ABOUT), B("details", ABOUT),
    B("dimensions", ABOUT), B("discover ", ALSO), B("discussion", TALK),
    B("don't miss", ALSO), B("download", SITE), B("eigenschaften", ABOUT),
    W("email", CHROME), W("enlarge this image", CHROME), B("explore ", ALSO),
    W("facebook", CHROME), B("feature", ABOUT), B("featured", ALSO),
    B("filed under", CHROME), B("filter", SITE), B("follow", SITE),
    W("follow us", CHROME), B("follow us on", CHROME), B("frequently bought", ALSO),
    W("further reading on", RELATED), B("get in touch", SITE),
    B("get short url", CHROME), B("get the latest ", CHROME), B("help", SITE),
    W("hide caption", CHROME), B("highlights", ABOUT), B("how it", ABOUT),
    B("how to", ABOUT), B("image credit", CHROME), B("image source", CHROME),
    B("image via", CHROME), B("image:", CHROME), B("in this ", ALSO),
    B("ingredient", ABOUT), B("join ", SITE), B("join the", TALK), B("kategor", SITE),
    B("keep reading", ALSO), B("key ", ABOUT), B("kommentar", TALK), B("kontakt", SITE),
    B("kundenbew", REVIEWS), B("kundenrez", REVIEWS), B("laisser", TALK),
    B("language", SITE), B("latest ", ALSO), W("latest news", RELATED),
    W("latest posts", RELATED), B("leave a ", TALK), W("leave a comment", CHROME),
    W("leave a reply", CHROME), B("legal", SITE), B("like this story?", CHROME),
    W("linkedin", CHROME), B("links", SITE), W("load more", CHROME),
    W("loading", CHROME), W("loading...", CHROME), W("log in", CHROME),
    W("login", CHROME), B("materials", ABOUT), B("mehr ", ALSO), W("menu", CHROME),
    B("menu", SITE), B("more ", ALSO), W("more from", RELATED), W("more news", RELATED),
    W("more stories", RELATED), B("more:", CHROME), W("most popular", RELATED),
    W("most read", RELATED), B("my ", SITE), B("navigation", SITE),
    B("new arrival", ALSO), B("newsletter", SITE), W("next", CHROME),
    B("opinion", REVIEWS), B("other ", ALSO), B("our ", SITE), B("overview", ABOUT),
    B("people also", ALSO), B("photo by ", CHROME), B("photo credit", CHROME),
    B("photo:", CHROME), W("pinterest", CHROME), B("please enable javascript", CHROME),
    B("popular ", ALSO), W("popular posts", RELATED), B("post a ", TALK),
    W("post a comment", CHROME), W("post comment", CHROME), B("posted in ", CHROME),
    W("previous", CHROME), W("print", CHROME), B("privacy", SITE),
    B("product desc", ABOUT), B("product det", ABOUT), B("product info", ABOUT),
    B("produktbe", ABOUT), B("q&a", REVIEWS), B("questions", REVIEWS),
    B("quick link", SITE), W("quick view", CHROME), B("rating", REVIEWS),
    B("ratings", REVIEWS), B("read also:", CHROME), W("read more", CHROME),
    B("read more:", CHROME), W("read next", RELATED), B("recent ", ALSO),
    W("recent posts", RELATED), B("recently ", ALSO), W("recently viewed", RELATED),
    W("recommended", RELATED), B("recommended ", ALSO),
    W("recommended for you", RELATED), W("recommended reading", RELATED),
    B("recommended:", CHROME), B("refine", SITE), B("relacionad", ALSO),
    W("related", RELATED), B("related ", ALSO), W("related articles", RELATED),
    W("related content", RELATED), W("related news", RELATED),
    W("related posts", RELATED), W("related products", RELATED),
    W("related reading", RELATED), W("related stories", RELATED),
    W("related topics", RELATED), B("related:", CHROME), B("repl", TALK),
    W("reply", CHROME), W("report", CHROME), B("reseñas", REVIEWS),
    B("resources", SITE), B("responses", TALK), B("review", REVIEWS),
    B("schreibe", TALK), W("search", CHROME), B("search", SITE), W("see all", CHROME),
    B("see also:", CHROME), B("see more:", CHROME), W("share", CHROME),
    B("share", SITE), W("share on facebook", CHROME), W("share on twitter", CHROME),
    W("share this", CHROME), W("share this article", CHROME),
    W("share this post", CHROME), W("share this story", CHROME),
    B("share this:", CHROME), W("share via email", CHROME), B("shop ", ALSO),
    W("show more", CHROME), W("sign in", CHROME), W("sign up", CHROME),
    B("sign up", SITE), B("sign up for ", CHROME), B("similar ", ALSO),
    W("similar posts", RELATED), W("similar products", RELATED),
    W("skip to content", CHROME), W("skip to main content", CHROME), B("social", SITE),
    B("sort", SITE), B("spec", ABOUT), B("specification", ABOUT),
    W("sponsored", CHROME), B("stay ", SITE), W("subscribe", CHROME),
    B("subscribe", SITE), B("subscribe to ", CHROME), B("suche", SITE),
    B("suivez", SITE), B("summary", ABOUT), B("support", SITE), B("sígue", SITE),
    W("table of contents", CHROME), B("tagged:", CHROME), W("tags", CHROME),
    B("tags", SITE), W("tags:", CHROME), B("también ", ALSO), B("te puede", ALSO),
    B("technical", ABOUT), B("testimonial", REVIEWS),
    B("this slideshow requires javascript", CHROME), W("toggle caption", CHROME),
    B("top ", ALSO), W("trending", RELATED), B("trending ", ALSO),
    W("trending now", RELATED), W("tweet", CHROME), W("twitter", CHROME),
    W("up next", RELATED), W("url 복사", CHROME), W("url복사", CHROME),
    B("useful", SITE), W("view all", CHROME), B("voir aussi", ALSO),
    B("vous aimerez", ALSO), W("was this helpful?", CHROME),
    W("was this page helpful?", CHROME), B("watch:", CHROME), B("weitere ", ALSO),
    B("what is", ABOUT), B("what our c", REVIEWS), B("what people", REVIEWS),
    B("what to read", ALSO), B("what's in", ABOUT), W("whatsapp", CHROME),
    W("write a review", CHROME), B("you may ", ALSO), W("you may also like", RELATED),
    W("you may also like...", RELATED), B("you might ", ALSO),
    W("you might also like", RELATED), B("your ", SITE), B("©", CHROME),
    B("à lire", ALSO), B("à propos", SITE), B("ähnlich", ALSO), B("über uns", SITE),
    B("другие ", ALSO), B("категор", SITE), B("комментар", TALK),
    B("контакт", SITE), B("описание", ABOUT), B("отзывы", REVIEWS),
    B("похожие", ALSO), B("характерист", ABOUT),
    B("читайте", ALSO), B("ⓒ", CHROME), B("▶ ", CHROME),
    B("おすすめ", ALSO), B("カテゴリ", SITE), B("コメント", TALK),
    B("タグ", SITE), B("レビュー", REVIEWS), B("产品", ABOUT),
    B("人気", ALSO), B("分类", SITE), B("口コミ", REVIEWS), B("商品", ABOUT),
    B("商品説明", ABOUT), B("推荐", ALSO), B("标签", SITE), B("热门", ALSO),
    B("相关", ALSO), B("规格", ABOUT), B("评价", REVIEWS), B("评论", TALK),
    B("関連", ALSO), B("개요", ABOUT), B("검색", SITE), B("고객", SITE),
    W("공유", CHROME), B("공유", SITE), W("공유하기", CHROME),
    B("관련", ALSO), W("관련 글", RELATED), W("관련 기사", RELATED),
    W("관련글", RELATED), B("관련기사", CHROME), W("관련기사", RELATED),
    W("광고", CHROME), B("구독", SITE), W("구독하기", CHROME),
    B("구매 후기", REVIEWS), B("구매후기", REVIEWS), W("글자 크기", CHROME),
    W("글자크기", CHROME), W("기사공유", CHROME), W("기사저장", CHROME),
    B("기사제보", CHROME), B("다른 ", ALSO), W("다른 글 보기", RELATED),
    W("다음 글", CHROME), W("다음글", CHROME), W("닫기", CHROME),
    B("답글", TALK), W("댓글", CHROME), B("댓글", TALK),
    W("댓글 쓰기", CHROME), W("댓글 작성", CHROME), W("댓글쓰기", CHROME),
    W("더 보기", CHROME), W("더보기", CHROME), W("로그인", CHROME),
    B("로그인", SITE), B("리뷰", REVIEWS), B("많이 본", ALSO),
    W("많이 본 기사", RELATED), W("많이 본 뉴스", RELATED),
    W("맨 위로", CHROME), W("맨위로", CHROME), B("메뉴", SITE),
    W("메뉴 바로가기", CHROME), W("목록", CHROME), W("목록으로", CHROME),
    B("무단 전재", CHROME), B("무단전재", CHROME), B("문의", SITE),
    W("본문 바로가기", CHROME), B("상세", ABOUT), B("상품 설명", ABOUT),
    B("상품문의", REVIEWS), B("상품설명", ABOUT), B("상품평", REVIEWS),
    B("설명", ABOUT), W("스크랩", CHROME), W("신고", CHROME),
    W("신고하기", CHROME), B("요약", ABOUT), B("의견", TALK),
    W("이 시각 주요뉴스", RELATED), B("이런 ", ALSO), W("이전 글", CHROME),
    W("이전글", CHROME), B("인기", ALSO), W("인기 글", RELATED),
    W("인기 기사", RELATED), W("인기글", RELATED), W("인기기사", RELATED),
    W("인쇄", CHROME), W("인쇄하기", CHROME), B("저작권자", CHROME),
    B("제보는 ", CHROME), B("제품", ABOUT), W("좋아요", CHROME),
    W("주요 뉴스", RELATED), W("주요뉴스", RELATED), W("최근 글", RELATED),
    W("최근글", RELATED), B("최신", ALSO), W("최신 기사", RELATED),
    W("최신기사", RELATED), B("추천", ALSO), W("추천 기사", RELATED),
    W("추천기사", RELATED), W("카카오톡", CHROME), B("카테고리", SITE),
    W("카테고리의 다른 글", RELATED), B("태그", SITE), W("트위터", CHROME),
    B("특징", ABOUT), W("페이스북", CHROME), B("함께 ", ALSO),
    W("함께 보면 좋은 글", RELATED), W("함께 본 상품", RELATED),
    B("회사", SITE), W("회원가입", CHROME), B("후기", REVIEWS),
};
#undef W
#undef B
/* clang-format on */

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

/* What is said first wins; of CHROME whole lines before beginnings does not
 * matter, and RELATED goes before it. */
static const uint8_t rank[KJ_N_PHRASES] = {
    [KJ_PHRASE_RELATED] = 7, [KJ_PHRASE_CHROME] = 6, [KJ_PHRASE_TALK] = 5,
    [KJ_PHRASE_REVIEWS] = 4, [KJ_PHRASE_ABOUT] = 3,  [KJ_PHRASE_ALSO] = 2,
    [KJ_PHRASE_SITE] = 1,
};

/* rules: also those that are rules. */
static enum kj_phrase find(const char *s, size_t n, bool rules)
{
    const size_t all = sizeof phrases / sizeof *phrases;
    unsigned char c = (unsigned char)*s;
    uint8_t best = KJ_PHRASE_NONE;
    size_t a = 0, b = all;
    while (a < b) {
        size_t m = (a + b) / 2;
        if ((unsigned char)*phrases[m].text < c)
            a = m + 1;
        else
            b = m;
    }
    for (; a < all && (unsigned char)*phrases[a].text == c; a++) {
        const struct phrase *p = &phrases[a];
        if (p->n > n || (p->whole && p->n != n) || rank[p->is] <= rank[best] ||
            memcmp(p->text, s, p->n) != 0)
            continue;
        /* Headings are short. */
        bool rule = p->is == KJ_PHRASE_CHROME || p->is == KJ_PHRASE_RELATED;
        if (rule ? rules : n <= 60)
            best = p->is;
    }
    return (enum kj_phrase)best;
}

enum kj_phrase kj_phrase_of(const char *p, size_t n)
{
    char s[MAX_LINE];
    size_t k = tidy(p, n, s), i = 0;
    if (k == 0)
        return KJ_PHRASE_NONE;
    while (k <= 60 && i + 2 < k && s[i] >= '0' && s[i] <= '9') /* "12 comments" */
        i += 1 + (s[i + 1] == ' ');
    return find(s + i, k - i, i == 0);
}
