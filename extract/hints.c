/* hints.c - see hints.h.
 *
 * Names are cut into words at every byte that is no letter or digit and where
 * a small letter meets a capital ("relatedPosts" is "related", "posts"), and
 * each word is looked up. The words are those of common content management
 * systems and of Korean portals, blogs and cafes ("gnb", "lnb", "snb" are their
 * navigation bars; "se-main-container" and "tt_article" are the text of Naver
 * and Tistory blogs). Whole names are looked up too, for pairs of words that
 * mean something only together.
 */
#include "extract/hints.h"

#include <string.h>

#include "base/hash.h"

struct word {
    const char *w;
    unsigned h;
};

#define CH KJ_HINT_CHROME
#define SI KJ_HINT_SIDE
#define CM KJ_HINT_COMMENT
#define CO KJ_HINT_CONTENT
#define BO (KJ_HINT_BODY | KJ_HINT_CONTENT)
#define HE KJ_HINT_HEADER
#define FO KJ_HINT_FOOTER
#define FR KJ_HINT_FORUM
#define ME KJ_HINT_META

/* In byte order: searched by bisection. */
static const struct word words[] = {
    {"actions", CH},
    {"ad", CH},
    {"addthis", CH},
    {"addtoany", CH},
    {"ads", CH},
    {"adsbygoogle", CH},
    {"adsense", CH},
    {"advert", CH},
    {"advertise", CH},
    {"advertisement", CH},
    {"advertisements", CH},
    {"advertising", CH},
    {"answer", FR},
    {"answers", FR},
    {"article", CO},
    {"articlebody", BO},
    {"articlecontent", BO},
    {"articleview", BO},
    {"aside", SI},
    {"banner", CH},
    {"banners", CH},
    {"bnr", CH},
    {"breadcrumb", CH},
    {"breadcrumbs", CH},
    {"byline", ME},
    {"carousel", SI},
    {"cart", CH},
    {"cmt", CM},
    {"cmts", CM},
    {"comment", CM},
    {"commentlist", CM},
    {"comments", CM},
    {"complementary", SI},
    {"consent", CH},
    {"content", CO},
    {"contentinfo", FO},
    {"contents", CO},
    {"cookie", CH},
    {"cookies", CH},
    {"copyright", FO},
    {"copyrights", FO},
    {"credit", ME},
    {"credits", ME},
    {"crumb", CH},
    {"crumbs", CH},
    {"dialog", CH},
    {"disqus", CM},
    {"dropdown", CH},
    {"entry", CO},
    {"entrycontent", BO},
    {"flyout", CH},
    {"foot", FO},
    {"footer", FO},
    {"footers", FO},
    {"forum", FR},
    {"gdpr", CH},
    {"gnb", CH},
    {"hatnote", ME},
    {"header", HE},
    {"hentry", CO},
    {"leaderboard", CH},
    {"lnb", CH},
    {"login", CH},
    {"logo", CH},
    {"main", CO},
    {"masthead", HE},
    {"megamenu", CH},
    {"menu", CH},
    {"menubar", CH},
    {"menus", CH},
    {"message", FR},
    {"modal", CH},
    {"mostread", SI},
    {"nav", CH},
    {"navbar", CH},
    {"navbox", CH},
    {"navigation", CH},
    {"navigator", CH},
    {"newsletter", CH},
    {"offcanvas", CH},
    {"outbrain", SI},
    {"overlay", CH},
    {"pager", CH},
    {"pagination", CH},
    {"paging", CH},
    {"popular", SI},
    {"popup", CH},
    {"post", CO},
    {"postbody", BO},
    {"postcontent", BO},
    {"print", CH},
    {"privacy", CH},
    {"promo", CH},
    {"promos", CH},
    {"promoted", CH},
    {"promotion", CH},
    {"question", FR},
    {"rank", SI},
    {"ranking", SI},
    {"recirc", SI},
    {"recirculation", SI},
    {"recommend", SI},
    {"recommendation", SI},
    {"recommendations", SI},
    {"recommended", SI},
    {"register", CH},
    {"relate", SI},
    {"related", SI},
    {"replies", CM},
    {"reply", CM},
    {"respond", CM},
    {"screenreader", CH},
    {"search", CH},
    {"searchbox", CH},
    {"share", CH},
    {"sharedaddy", CH},
    {"sharethis", CH},
    {"sharing", CH},
    {"sidebar", SI},
    {"sidebars", SI},
    {"sidemenu", CH},
    {"sidenav", CH},
    {"signin", CH},
    {"signup", CH},
    {"sitemap", CH},
    {"skip", CH},
    {"skiplink", CH},
    {"snb", CH},
    {"sns", CH},
    {"social", CH},
    {"socials", CH},
    {"sponsor", CH},
    {"sponsored", CH},
    {"sponsors", CH},
    {"story", CO},
    {"storybody", BO},
    {"subnav", CH},
    {"subscribe", CH},
    {"subscription", CH},
    {"taboola", SI},
    {"tagcloud", CH},
    {"taglist", CH},
    {"tags", ME},
    {"thread", FR},
    {"tnb", CH},
    {"toolbar", CH},
    {"toolbars", CH},
    {"tooltip", CH},
    {"topbar", CH},
    {"topic", FR},
    {"trending", SI},
    {"upsell", SI},
};

/* Whole class names or ids. */
static const struct word names[] = {
    {"article-body", BO},
    {"article-content", BO},
    {"article-text", BO},
    {"article__body", BO},
    {"article__content", BO},
    {"article_body", BO},
    {"article_content", BO},
    {"article_view", BO},
    {"articleBody", BO},
    {"blog-content", BO},
    {"body-content", BO},
    {"content-body", BO},
    {"dic_area", BO},
    {"entry-content", BO},
    {"entry_content", BO},
    {"markdown-body", BO},
    {"mw-content-text", BO},
    {"mw-editsection", CH},
    {"mw-jump-link", CH},
    {"news_body", BO},
    {"newsct_article", BO},
    {"page-content", BO},
    {"post-body", BO},
    {"post-content", BO},
    {"postViewArea", BO},
    {"post__content", BO},
    {"post_content", BO},
    {"rich-text", BO},
    {"se-main-container", BO},
    {"single-content", BO},
    {"story-body", BO},
    {"story-content", BO},
    {"td-post-content", BO},
    {"theme-doc-markdown", BO},
    {"toc", CH},
    {"table-of-contents", CH},
    {"tt_article_useless_p_margin", BO},
    {"view_content", BO},
    {"vector-toc", CH},
    {"sr-only", CH},
    {"visually-hidden", CH},
    {"screen-reader-text", CH},
    {"article-meta", ME},
    {"entry-meta", ME},
    {"post-meta", ME},
    {"entry-footer", FO},
    {"more-from", SI},
    {"read-more", CH},
    {"read-next", SI},
    {"also-read", SI},
    {"most-read", SI},
    {"you-may-also-like", SI},
    {"noprint", CH},
    {"headerlink", CH},
    {"about-author", SI},
    {"author-bio", SI},
    {"author-box", SI},
};

static unsigned find_word(const char *p, size_t n)
{
    size_t a = 0, b = sizeof words / sizeof *words;
    while (a < b) {
        size_t m = (a + b) / 2;
        int d = words[m].w[0] - p[0];
        if (d == 0)
            d = strncmp(words[m].w, p, n);
        if (d == 0 && words[m].w[n])
            d = 1;
        if (d == 0)
            return words[m].h;
        if (d < 0)
            a = m + 1;
        else
            b = m;
    }
    return 0;
}

static unsigned find_name(const char *p, size_t n)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].w[0] == p[0] && strncmp(names[i].w, p, n) == 0 && !names[i].w[n])
            return names[i].h;
    return 0;
}

static bool is_lower(char c)
{
    return c >= 'a' && c <= 'z';
}

static bool is_upper(char c)
{
    return c >= 'A' && c <= 'Z';
}

static bool is_word(char c)
{
    return is_lower(c) || is_upper(c) || (c >= '0' && c <= '9');
}

static uint64_t of_name(const char *p, size_t n)
{
    uint64_t h = find_name(p, n);
    char w[24];
    for (size_t i = 0; i < n;) {
        size_t k = 0;
        while (i < n && !is_word(p[i]))
            i++;
        size_t a = i;
        while (i < n && is_word(p[i]) &&
               !(i > a && is_upper(p[i]) && is_lower(p[i - 1]))) {
            if (k < sizeof w)
                w[k] = (char)(is_upper(p[i]) ? p[i] + 32 : p[i]);
            k++;
            i++;
        }
        if (k > 1 && k < sizeof w)
            h |= find_word(w, k) | kj_name_of(w, k);
    }
    return h;
}

static uint64_t of_names(struct kj_str s)
{
    uint64_t h = 0;
    for (size_t i = 0; i < s.n;) {
        while (i < s.n && (unsigned char)s.p[i] <= ' ')
            i++;
        size_t a = i;
        while (i < s.n && (unsigned char)s.p[i] > ' ')
            i++;
        /* Names with brackets are style sheets' arithmetic, not words. */
        if (i > a && i - a < 80 && !memchr(s.p + a, '[', i - a) &&
            !memchr(s.p + a, '(', i - a))
            h |= of_name(s.p + a, i - a);
    }
    return h;
}

static uint64_t remembered(struct kj_hint_memo *m, struct kj_str s)
{
    if (s.n == 0)
        return 0;
    uint64_t h = kj_hash64(s.p, s.n, 1) | 1; /* 0 is an empty slot */
    size_t i = (size_t)(h >> 1) % (sizeof m->slot / sizeof *m->slot);
    if (m->slot[i].hash != h) {
        m->slot[i].hash = h;
        m->slot[i].hints = of_names(s);
    }
    return m->slot[i].hints;
}

uint64_t kj_hints(struct kj_hint_memo *memo, const struct kj_attrs *a)
{
    if (!a)
        return 0;
    uint64_t h =
        remembered(memo, a->cls) | remembered(memo, a->id) | remembered(memo, a->role);
    h |= remembered(memo, a->itemprop) & ~(uint64_t)KJ_HINTS;
    if (kj_str_is(a->itemprop, "articleBody") || kj_str_is(a->itemprop, "text"))
        h |= BO;
    if (kj_str_is(a->itemprop, "comment"))
        h |= CM;
    return h;
}
