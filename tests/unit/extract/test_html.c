/* Pages to text: what is kept, how it is written, and what hostile pages do. */
#include "extract/html.h"

#include <stdlib.h>
#include <time.h>

#include "base/err.h"
#include "base/utf8.h"
#include "extract/tree.h"
#include "tests/unit/test.h"

static struct kj_html *html;
static struct kj_buf out;
static struct kj_html_page page;

static int run(const char *p, size_t n, bool md, bool whole)
{
    struct kj_err err = KJ_ERR_INIT;
    kj_buf_reset(&out);
    return kj_html_extract(html, p, n, md, whole, &out, &page, &err);
}

#define TEXT(in, want)                                                                 \
    do {                                                                               \
        CHECK_INT(run(in, sizeof(in) - 1, false, true), KJ_OK);                        \
        CHECK_STR(out.p, out.n, want);                                                 \
    } while (0)
#define MARKDOWN(in, want)                                                             \
    do {                                                                               \
        CHECK_INT(run(in, sizeof(in) - 1, true, true), KJ_OK);                         \
        CHECK_STR(out.p, out.n, want);                                                 \
    } while (0)

static void test_text(void)
{
    TEXT("<p>a  b\n\tc</p><p>d</p>", "a b c\nd");
    TEXT("<p>one<br>two<br/>three", "one\ntwo\nthree");
    TEXT("<div>a<span>b</span><b> c</b></div>text", "ab c\ntext");
    TEXT("<p>&lt;&amp;&#44256;&nbsp;x&shy;y&#8203;z", "<&\xEA\xB3\xA0 xyz");
    TEXT("<ul><li>a</li><li><p>b</p></li></ul><ol><li>x<li>y</ol>",
         "- a\n- b\n1. x\n2. y");
    TEXT("<table><tr><th>n<th>m<tr><td>1<td>2</table>", "n | m\n1 | 2");
    TEXT("<pre>  a\n    b\n</pre><p>c", "  a\n    b\nc");
    TEXT("<p>a<script>x('<p>')</script>b<style>p{}</style><!-- c "
         "--><noscript>d</noscript>",
         "ab");
    TEXT("<p>a<svg><title>t</title><text>u</text></svg><template>v</template>b", "ab");
    TEXT("<select><option>x</select><button>y</button><textarea>z</textarea>a", "a");
    TEXT("", "");
    TEXT("<", "<");
    TEXT("no markup at all", "no markup at all");
    TEXT("<p>a<!-- never closed <p>b", "a never closed\nb");
}

static void test_formulas(void)
{
    /* MathJax 2's scripts */
    TEXT("<p>Let <script type='math/tex'>a < b & c</script>, then<script "
         "type=\"math/tex; mode=display\">\\sum_i x_i</script>",
         "Let $a < b & c$, then$$\\sum_i x_i$$");
    /* KaTeX: MathML for readers, and glyphs */
    TEXT("<p>so <span class=katex><span class=katex-mathml><math><semantics><mrow><mi>x"
         "</mi><mo>=</mo></mrow><annotation encoding='application/x-tex'>x=\\frac12"
         "</annotation></semantics></math></span><span class=katex-html "
         "aria-hidden=true>"
         "<span>x=</span><span>1</span>2</span></span> holds",
         "so $x=\\frac12$ holds");
    /* Wikipedia */
    TEXT("<p><math display=block alttext='{\\displaystyle E=mc^{2}}'><semantics><mi>E"
         "</mi></semantics></math>",
         "$$E=mc^{2}$$");
    TEXT("<p>is <img class='latex' alt='\\pi r^2' src=x> here<img alt=photo>",
         "is $\\pi r^2$ here");
    TEXT("<p><math><mi>y</mi><mo>+</mo><mn>1</mn></math>", "y+1");
}

static void test_markdown(void)
{
    MARKDOWN("<h1>T</h1><p>a</p><p>b</p><h3>U</h3>c", "# T\n\na\n\nb\n\n### U\n\nc");
    MARKDOWN("<p>x</p><ul><li>a<ul><li>b</ul><li>c</ul><p>y",
             "x\n\n- a\n  - b\n- c\n\ny");
    MARKDOWN("<ol><li>a<li>b</ol>", "1. a\n2. b");
    MARKDOWN("<p>x</p><pre><code>if (a)\n    b;</code></pre><p>y",
             "x\n\n```\nif (a)\n    b;\n```\n\ny");
    MARKDOWN("<p>use <code>kj_x</code> here", "use `kj_x` here");
    MARKDOWN("<blockquote><p>a</p><p>b</p></blockquote>c", "> a\n\n> b\n\nc");
    MARKDOWN("<table><tr><th>n<th>m<tr><td>1<td>2</table>",
             "| n | m |\n| --- | --- |\n| 1 | 2 |");
}

/* A page of the usual shape, in two languages. */
#define MENU                                                                           \
    "<header><div class=logo>Site</div></header><nav><ul><li><a href=/>Home</a>"       \
    "<li><a href=/x>News</a></ul></nav><div class=gnb><a href=/a>MENUA</a></div>"
#define FOOT                                                                           \
    "<div class='sidebar'><h3>SIDE</h3><a href=/1>one link</a><a "                     \
    "href=/2>two</a></div>"                                                            \
    "<div class=comments><p>a COMMENT by someone that goes on a little</p></div>"      \
    "<footer>Copyright FOOT</footer>"
#define BODY                                                                           \
    "<h1>Head line</h1><p>A first paragraph of text, with commas, that is long "       \
    "enough "                                                                          \
    "to be text and nothing else.</p><p>A second paragraph follows it, and it too is " \
    "long enough, as paragraphs of articles are.</p>"
static const char korean[] =
    "<h1>제목입니다</h1><p>첫째 문단은 본문으로 볼 수 있을 만큼 "
    "충분히 길게 쓴 글입니다. 쉼표도 있고, 마침표도 있습니다.</p>"
    "<p>둘째 문단도 마찬가지로 길게 이어지며, 글쓴이의 생각을 "
    "차근차근 설명합니다.</p>";

static void check_main(const char *p)
{
    static const char *const never[] = {"News", "MENUA",   "SIDE",
                                        "FOOT", "COMMENT", "one link"};
    CHECK_INT(run(p, strlen(p), false, false), KJ_OK);
    kj_buf_z(&out);
    for (size_t i = 0; i < 6; i++)
        if (!CHECK(strstr(out.p, never[i]) == NULL))
            printf("     %s in [%s]\n", never[i], out.p);
}

static void test_main_text(void)
{
    check_main("<html><body>" MENU "<div id=wrap><div>" BODY "</div></div>" FOOT);
    CHECK(strstr(out.p, "A first paragraph") != NULL);
    CHECK(strstr(out.p, "articles are.") != NULL);
    check_main("<html><body>" MENU "<main><article>" BODY "</article></main>" FOOT);
    CHECK(strstr(out.p, "A first paragraph") != NULL);
    char p[4000];
    snprintf(p, sizeof p, "<html><body>%s<div id=content>%s</div>%s", MENU, korean,
             FOOT);
    check_main(p);
    CHECK(strstr(out.p, "첫째 문단은") != NULL);
    CHECK(strstr(out.p, "설명합니다.") != NULL);
    /* layout tables of old pages */
    snprintf(
        p, sizeof p,
        "<html><body><table><tr><td class=lnb><a href=/>MENUA</a> <a href=/n>News</a>"
        "</td><td>%s</td></tr></table>",
        korean);
    check_main(p);
    CHECK(strstr(out.p, "둘째 문단도") != NULL);
}

static void test_metadata(void)
{
    static const char p[] =
        "<html lang=ko><head><title>A &amp; B</title><link rel=canonical "
        "href=http://x/y>"
        "<meta name=description content='d e'><meta property=og:site_name content=S>"
        "<meta name=author content=W><meta property=article:published_time "
        "content=2020-01-02></head><body>" BODY;
    CHECK_INT(run(p, sizeof p - 1, false, false), KJ_OK);
    CHECK_STR(page.title.p, page.title.n, "A & B");
    CHECK_STR(page.lang.p, page.lang.n, "ko");
    CHECK_STR(page.canonical.p, page.canonical.n, "http://x/y");
    CHECK_STR(page.description.p, page.description.n, "d e");
    CHECK_STR(page.site.p, page.site.n, "S");
    CHECK_STR(page.author.p, page.author.n, "W");
    CHECK_STR(page.date.p, page.date.n, "2020-01-02");
    CHECK(page.share > 0.99);
}

static void test_rights(void)
{
    static const char p[] =
        "<html><head><meta name=ROBOTS content='noai, noindex'>"
        "<meta name=GPTBot content=none><meta name=robots content=nofollow>"
        "<meta name=robotic content=no>"
        "<meta name=tdm-reservation content=1>"
        "<script type='application/ld+json'>{\"@graph\":[{\"@type\":\"Article\","
        "\"license\":{\"@id\":\"https://l/by\"},\"author\":[{\"name\":\"N\"}],\n"
        "\"datePublished\":\"2021-05-06\",\"headline\":\"H \\u00e9\"}]}</script>"
        "<script type='application/ld+json'>{not json</script></head><body>" BODY;
    CHECK_INT(run(p, sizeof p - 1, false, false), KJ_OK);
    CHECK_STR(page.license.p, page.license.n, "https://l/by");
    CHECK_STR(page.author.p, page.author.n, "N");
    CHECK_STR(page.date.p, page.date.n, "2021-05-06");
    CHECK_STR(page.title.p, page.title.n, "H \xC3\xA9");
    CHECK(page.n_robots == 3);
    CHECK_STR(page.robots[0].content.p, page.robots[0].content.n, "noai, noindex");
    CHECK_STR(page.robots[1].agent.p, page.robots[1].agent.n, "GPTBot");
    CHECK_STR(page.robots[1].content.p, page.robots[1].content.n, "none");
    CHECK(!page.robots[2].agent.n);
    CHECK_STR(page.tdm.p, page.tdm.n, "1");
    static const char q[] = "<p>x <a rel='nofollow License' href=/by>l</a>";
    CHECK_INT(run(q, sizeof q - 1, false, false), KJ_OK);
    CHECK_STR(page.license.p, page.license.n, "/by");
}

static size_t times(const char *text, const char *what)
{
    size_t n = 0;
    for (const char *p = text; (p = strstr(p, what)) != NULL; p++)
        n++;
    return n;
}

/* The whole text once more in one block, as some pages have it for machines. */
static void test_copy(void)
{
    static const char *const para[] = {
        "The river rose through the night, and by morning the lower road was under "
        "water. Nobody had seen it so high since the mill was built, said the keeper "
        "of the bridge, who had slept in his boots. ",
        "Three barns were lost, he told us, and with them the hay of two summers. The "
        "council wants to move the dyke, but the money it was promised last spring has "
        "not come, and winter is near. ",
        "Upstream the rain has stopped, the office for water reports, so that the "
        "highest level should be passed before noon. Those who live at the harbour are "
        "asked to stay away from the quay until then. "};
    char p[8000], all[2000];
    snprintf(all, sizeof all, "%s%s%s", para[0], para[1], para[2]);
    int n = snprintf(
        p, sizeof p,
        "<html><head><title>The river rose | Paper</title></head><body>"
        "<nav><ul><li><a href=/a>Home</a><li><a href=/b>World</a><li><a href=/c>Sport"
        "</a></ul></nav><article><h1>The river rose</h1><div class=article-body><p>%s"
        "</p><p>%s</p><p>%s</p><p>He <a href=/x>left</a> at noon.</p></div></article>"
        "<article><div class=article-body><p>%s</p></div></article>"
        "<footer><p>Copyright 2021 Paper. All rights reserved.</p><ul><li>"
        "<a href=/t>Terms</a><li><a href=/p>Privacy</a></ul></footer></body></html>",
        para[0], para[1], para[2], all);
    CHECK_INT(run(p, (size_t)n, false, false), KJ_OK);
    kj_buf_addc(&out, 0);
    CHECK_INT(times(out.p, "The river rose through"), 1);
    CHECK_INT(times(out.p, "Three barns were lost"), 1);
    CHECK_INT(times(out.p, "until then.\n"), 1); /* of the paragraphs, not the copy */
    CHECK_INT(times(out.p, "at noon."), 1);
}

/* Questions of folded answers are text; other buttons are none. */
static void test_questions(void)
{
    static const char p[] =
        "<main><h1>Moving a piano</h1><p>We carry pianos up and down all stairs of the "
        "town, with care, since our grandfather did.</p><h2>Questions</h2>"
        "<div><button aria-expanded=false>How long does it take to move one?</button>"
        "<div><p>One hour for each floor, and another one for the tuner, who comes the "
        "day after.</p></div></div>"
        "<div><button class=q><h3>Who pays if it falls?</h3></button><div><p>We do, "
        "and "
        "so far it has never happened to us, in three generations.</p></div></div>"
        "<button>Book now</button><button aria-expanded=false>More</button></main>";
    CHECK_INT(run(p, sizeof p - 1, false, false), KJ_OK);
    kj_buf_addc(&out, 0);
    CHECK_INT(times(out.p, "How long does it take to move one?"), 1);
    CHECK_INT(times(out.p, "Who pays if it falls?"), 1);
    CHECK_INT(times(out.p, "in three generations."), 1);
    CHECK_INT(times(out.p, "Book now") + times(out.p, "More"), 0);
}

/* A page as they are: menu, byline, text, related pages, footer. Only the text
 * is, and the same every time. */
static void test_judge(void)
{
    static const char para[] =
        "<p>The river rose through the night, and by morning the lower road was under "
        "water. Nobody had seen it so high since the mill was built, said the keeper "
        "of the bridge, who had slept in his boots.</p>";
    char p[8000];
    int n = snprintf(
        p, sizeof p,
        "<html><head><title>The river rose | Paper</title></head><body>"
        "<nav><ul><li><a href=/a>Home</a><li><a href=/b>World</a><li><a href=/c>Sport"
        "</a></ul></nav><div class=wrap><h1>The river rose</h1>"
        "<div class=byline>By A. Writer <time>3 May 2021</time></div>"
        "<div class=article-body>%s%s%s%s%s<p>He <a href=/x>left</a> at noon.</p></div>"
        "<div class=related><h3>Related stories</h3><ul><li><a href=/1>One story of "
        "many</a><li><a href=/2>Another story</a><li><a href=/3>A third story</a></ul>"
        "</div></div><footer><p>Copyright 2021 Paper. All rights reserved.</p><ul><li>"
        "<a href=/t>Terms</a><li><a href=/p>Privacy</a></ul></footer></body></html>",
        para, para, para, para, para);
    CHECK_INT(run(p, (size_t)n, false, false), KJ_OK);
    kj_buf_addc(&out, 0);
    CHECK(strncmp(out.p, "The river rose through the night", 32) == 0);
    CHECK(strstr(out.p, "He left at noon.") != NULL);
    CHECK(!strstr(out.p, "Sport") && !strstr(out.p, "Writer"));
    CHECK(!strstr(out.p, "third") && !strstr(out.p, "Terms"));
    CHECK(page.confidence > 0.6 && page.confidence <= 1);
    struct kj_buf first;
    kj_buf_init(&first, 1 << 20);
    kj_buf_add(&first, out.p, out.n);
    CHECK_INT(run(p, (size_t)n, false, false), KJ_OK);
    CHECK_STR(out.p, out.n, first.p);
    kj_buf_release(&first);
}

/* n times the piece, between head and tail. */
static char *repeat(const char *head, const char *piece, size_t times, const char *tail,
                    size_t *n)
{
    size_t h = strlen(head), k = strlen(piece), t = strlen(tail);
    char *p = malloc(h + k * times + t + 1);
    memcpy(p, head, h);
    for (size_t i = 0; i < times; i++)
        memcpy(p + h + i * k, piece, k);
    memcpy(p + h + k * times, tail, t + 1);
    *n = h + k * times + t;
    return p;
}

static void hostile(const char *head, const char *piece, size_t times, const char *tail,
                    int rc, const char *rule)
{
    size_t n;
    char *p = repeat(head, piece, times, tail, &n);
    if (!CHECK_INT(run(p, n, false, false), rc))
        printf("     %zu times %s: %s\n", times, piece, page.rule ? page.rule : "");
    if (getenv("VERBOSE"))
        printf("%.2f s %s\n", (double)clock() / CLOCKS_PER_SEC, piece);
    if (rule && CHECK(page.rule != NULL))
        CHECK_STR(page.rule, strlen(page.rule), rule);
    CHECK_INT(kj_utf8_valid(out.p, out.n), out.n);
    free(p);
}

static void test_hostile(void)
{
    hostile("", "<div>", 1000000, "x", KJ_BAD_RECORD, "extract.html_depth");
    hostile("", "<b>", 100000, "x", KJ_BAD_RECORD, "extract.html_depth");
    hostile("", "<p>x", 2000000, "", KJ_BAD_RECORD, "extract.html_nodes");
    hostile("<p>", "x", 17u << 20, "", KJ_BAD_RECORD, "extract.html_bytes");
    hostile("<p title='", "x", 4u << 20, "'>text", KJ_OK, NULL);
    hostile("<p ", "a=b ", 200000, ">text", KJ_OK, NULL);
    hostile("<p>", "&amp;", 1000000, "", KJ_OK, NULL);
    hostile("<p>", "&#0;&#xD800;&#x110000;", 1000, "", KJ_OK, NULL);
    hostile("<table>", "<td colspan=2147483647 rowspan=2147483647>x", 1000, "", KJ_OK,
            NULL);
    hostile("", "</p></div></table>", 100000, "x", KJ_OK, NULL);
    hostile("", "<!--", 100000, "x", KJ_OK, NULL);
    hostile("", "<svg><template>", 10000, "x", KJ_BAD_RECORD, "extract.html_depth");
    hostile("", "<svg a='", 500000, "x", KJ_OK, NULL);
    hostile("", "<script", 500000, "x", KJ_OK, NULL);
    hostile("", "<iframe>", 500000, "</iframe>", KJ_OK, NULL);
    hostile("", "<a <b <c ", 100000, "x", KJ_OK, NULL);
    hostile("", "<table>", 500000, "x", KJ_OK, NULL);
    hostile("<p>", "&CounterClockwiseContourIntegra", 100000, "", KJ_OK, NULL);
    hostile("<script type=ld+json>", "[", 1000000, "</script>x", KJ_OK, NULL);
    hostile("", "<script><!--<script>", 100000, "-->", KJ_OK, NULL);
    hostile("", "<b id=a><p>", 100000, "x", KJ_OK, NULL);
    hostile("", "<a><div></a>", 4000, "x", KJ_OK, NULL);
    /* tags that look through thousands of open elements in vain */
    static const char *const deep[][3] = {
        {"<p><button>", "<div>", "</p>"}, {"", "<bar>", "</zzz>"},
        {"<li><ul>", "<span>", "</li>"},  {"<h1><object>", "<span>", "</h1>"},
        {"<b>", "<div>", "<table></b>"},  {"<math>", "<x>", "</y>"},
        {"<b>", "<span>", "x<br>"},       {"<table><td>", "<div>", "</tbody>"},
    };
    for (size_t i = 0; i < sizeof deep / sizeof *deep; i++) {
        size_t k;
        char *head = repeat(deep[i][0], deep[i][1], 4000, "", &k);
        double t = (double)clock();
        hostile(head, deep[i][2], 100000, "x", KJ_OK, NULL);
        t = ((double)clock() - t) / CLOCKS_PER_SEC;
        if (!CHECK(t < 2)) /* .05 s; .7 s each if it looked */
            printf("     %.2f s for %s under %s\n", t, deep[i][2], deep[i][1]);
        free(head);
    }
    /* nested, but within bounds: text is not lost */
    size_t n;
    char *p = repeat("", "<div>", 1000, "deep text of some length", &n);
    CHECK_INT(run(p, n, false, false), KJ_OK);
    CHECK_STR(out.p, out.n, "deep text of some length");
    free(p);
    /* a page that takes longer than it may */
    struct kj_tree t;
    struct kj_html_limits lim = KJ_HTML_LIMITS;
    struct kj_err err = KJ_ERR_INIT;
    p = repeat("", "<p>x", 5000, "", &n);
    kj_tree_init(&t);
    CHECK_INT(kj_tree_parse(&t, p, n, &lim, &err), KJ_OK);
    lim.seconds = 0;
    CHECK_INT(kj_tree_parse(&t, p, n, &lim, &err), KJ_BAD_RECORD);
    CHECK_STR(t.rule, strlen(t.rule), "extract.html_time");
    CHECK(t.n < 2000);
    kj_tree_release(&t);
    free(p);
    static const char nul[] = "<p>a\0b<\0/p>c";
    CHECK_INT(run(nul, sizeof nul - 1, false, true), KJ_OK);
    CHECK_STR(out.p, out.n, "ab</p>c"); /* "<" and NUL are no tag */
}

int main(void)
{
    html = kj_html_new();
    kj_buf_init(&out, (size_t)64 << 20);
    test_text();
    test_formulas();
    test_markdown();
    test_main_text();
    test_metadata();
    test_rights();
    test_judge();
    test_copy();
    test_questions();
    test_hostile();
    kj_html_free(html);
    kj_buf_release(&out);
    return test_end();
}
