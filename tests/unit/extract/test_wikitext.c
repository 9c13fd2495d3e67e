/* Wikitext to text: each construct alone, pages in both languages, and input
 * that is made to be slow. */
#include "extract/wikitext.h"

#include <stdlib.h>
#include <time.h>

#include "base/err.h"
#include "base/utf8.h"
#include "tests/unit/test.h"

static struct kj_wikitext *wiki;
static struct kj_buf out;
static struct kj_wikitext_page page;

static int render(const char *p, size_t n, bool korean)
{
    kj_buf_reset(&out);
    return kj_wikitext_render(wiki, p, n, KJ_STR("서울"), korean, &out, &page);
}

static const struct {
    const char *wiki, *text;
} cases[] = {
    /* emphasis, links */
    {"'''Seoul''' is ''the'' '''''capital'''''. L'Oréal ''''x''''",
     "Seoul is the capital. L'Oréal 'x'"},
    {"[[Korea]] and [[Korea|the country]]s, [[Seoul (city)|]] [[a_b]] [[#Top]]",
     "Korea and the countrys, Seoul a b Top"},
    {"[[File:a.png|thumb|A [[cat]] here]]text [[파일:b.jpg|섬네일|글]]x", "text x"},
    {"[[Category:X]]text[[분류:도시]] [[en:Seoul]] [[:en:Seoul]] [[:Category:X]]",
     "text Seoul X"},
    {"[[Star Wars: A New Hope]] [[wikt:word|word]] [[wikt:word]]",
     "Star Wars: A New Hope word word"},
    {"a [http://x.org the site] b [http://x.org] [not a link] http://y.org",
     "a the site b [not a link] http://y.org"},
    {"[[a|b [[c]] d]] [[never closed\n\nnext [[e]]", "b c d [[never closed\n\nnext e"},
    /* headings keep their levels; empty and apparatus sections go */
    {"lead\n== A ==\ntext\n=== B ===\nmore\n====C====\nend",
     "lead\n\n## A\n\ntext\n\n### B\n\nmore\n\n#### C\n\nend"},
    {"x\n== Empty ==\n== Full ==\ny\n== References ==\n<references/>\n=== Notes "
     "===\nn\n"
     "== Back ==\nz",
     "x\n\n## Full\n\ny\n\n## Back\n\nz"},
    {"x\n== 각주 ==\n{{각주}}\n== 외부 링크 ==\n* [http://a.kr 누리집]", "x"},
    {"== Over ==\n=== Under ===\ntext", "## Over\n\n### Under\n\ntext"},
    /* formulas stay in their place */
    {"where <math>E = mc^2</math>, and <math>\\alpha\n + 1</math>.",
     "where $E = mc^2$, and $\\alpha + 1$."},
    {"so\n:<math>\\frac{a}{b}</math>.\nis", "so\n\n$$\\frac{a}{b}$$.\n\nis"},
    {"<math>a''b_{[[x]]} {{y}}</math>", "$$a''b_{[[x]]} {{y}}$$"},
    {"<chem>H2O</chem> is H<sub>2</sub>O, 10<sup>-3</sup>, x<sup>n+k</sup>, "
     "a<sub>i</sub>",
     "$\\ce{H2O}$ is H₂O, 10⁻³, x^(n+k), a_i"},
    /* references, comments, other elements */
    {"a<ref>gone</ref> b<ref name=x /> c<!-- no -->d<ref group=\"a>b\">x</ref>",
     "a b cd"},
    {"a<gallery>\nx.png|y\n</gallery>b<references>z</references>", "ab"},
    {"<nowiki>[[x]] ''y''</nowiki> &lt;b&gt; &amp; &nbsp;&#44032;&#xAC01;&euro; &bad; "
     "&",
     "[[x]] ''y'' <b> & 가각€ &bad; &"},
    {"x\n<syntaxhighlight lang=\"c\">\nint  a; /* [[b]] */\n\n  "
     "c;\n</syntaxhighlight>\ny",
     "x\n\n```c\nint  a; /* [[b]] */\n\n  c;\n```\n\ny"},
    {"one<br>two<br />three", "one\ntwo\nthree"},
    {"a <span style=\"x\">b</span> <small>c</small> 1 < 2 __TOC__ __목차없음__ a__b",
     "a b c 1 < 2 a__b"},
    {"unclosed <ref>text [[a]] {{x|y", "unclosed text a {{x|y"},
    /* templates */
    {"{{Infobox city\n| name = Seoul\n| area = {{convert|605|km2}}\n}}\nText", "Text"},
    {"{{lang|fr|bonjour}} {{Nowrap|5 kg}} {{convert|5|km|mi}} "
     "{{convert|3|to|4|m|abbr=on}} {{convert|5|ft|4|in}}",
     "bonjour 5 kg 5 km 3 to 4 m 5 ft 4 in"},
    {"({{llang|en|Seoul}}, {{lang-fr|Séoul}}, {{한자|首爾}})",
     "(영어: Seoul, 프랑스어: Séoul, 首爾)"},
    {"{{루비|漢字|한자}} {{일본어 표기|도쿄|東京|Tōkyō}} {{nihongo|Tokyo||x}}",
     "漢字(한자) 도쿄(東京, Tōkyō) Tokyo(x)"},
    {"{{frac|1|2}} {{frac|3|1|2}} {{circa|1900}} {{formatnum:12345}} {{PAGENAME}}",
     "1/2 3 1/2 c. 1900 12345 서울"},
    {"{{출생일|1990|1|2}} a{{!}}b {{abbr|NASA|National}} {{lang|1=ko|2=말=글}}",
     "1990-1-2 a|b NASA 말=글"},
    {"x\n{{인용문|첫 줄 [[글]]}}\ny {{cite web|url=http://a|title=T}}{{unknown}}z",
     "x\n\n첫 줄 글\n\ny z"},
    {"{{{1|default}}} {{{2}}} {{a{{b}}c|{{d}}}}end {{nowrap|{{lang|en|deep}}}}",
     "default end deep"},
    {"{{ubl|a|b}}", "- a\n- b"},
    {"{{IPA-ko|sʌ.ul}} {{math|''x'' {{=}} 1}} {{e|5}}", "[sʌ.ul] x = 1 ×10^5"},
    {"a }} b ]] c {| d", "a }} b ]] c {| d"},
    /* lists, paragraphs */
    {"* a\n** b\n# x\n# y\n## z\n# w\n: indented\n; term : def",
     "- a\n  - b\n1. x\n2. y\n  1. z\n3. w\nindented\nterm : def"},
    {"one\ntwo\n\nthree\n----\nfour", "one two\n\nthree\n\nfour"},
    /* tables */
    {"a\n{| class=\"wikitable\"\n|+ Cap\n! Name !! 인구\n|-\n| Seoul || 9,400,000\n|-\n"
     "| colspan=2 | [[Busan|B]]\nmore\n|}\nb",
     "a\n\n| Cap |\n| Name | 인구 |\n| Seoul | 9,400,000 |\n| B more |\n\nb"},
    {"{| class=\"infobox\"\n| a\n{|\n| b\n|}\n| c\n|}\ntext", "text"},
    {"{|\n| a <math>|x|</math> || {{nowrap|b}}\n|}", "| a $|x|$ | b |"},
    {"{|\n| never closed", "| never closed |"},
};

static void test_cases(void)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CHECK_INT(render(cases[i].wiki, strlen(cases[i].wiki), true), KJ_OK);
        if (!CHECK_STR(out.p, out.n, cases[i].text))
            printf("     of   [%s]\n", cases[i].wiki);
    }
    const char *en = "({{llang|ko|서울}}; {{lang-ja|ソウル}})";
    render(en, strlen(en), false);
    CHECK_STR(out.p, out.n, "(Korean: 서울; Japanese: ソウル)");
}

static void test_kinds(void)
{
    static const char *const dis[] = {"'''A''' may be:\n{{Disambiguation}}",
                                      "{{동음이의}} 뜻", "{{ hndis |x}}"};
    for (size_t i = 0; i < 3; i++) {
        render(dis[i], strlen(dis[i]), true);
        CHECK(page.disambiguation && !page.redirect);
    }
    render("#REDIRECT [[x]]", 15, true);
    CHECK(page.redirect && !page.disambiguation);
    render(" #넘겨주기 [[x]]", strlen(" #넘겨주기 [[x]]"), true);
    CHECK(page.redirect);
    render("text", 4, true);
    CHECK(!page.redirect && !page.disambiguation);
}

static double cpu(void)
{
    return (double)clock() / CLOCKS_PER_SEC;
}

static double time_of(const char *unit, size_t size)
{
    size_t m = strlen(unit);
    char *p = malloc(size);
    for (size_t i = 0; i < size; i++)
        p[i] = unit[i % m];
    double t = cpu();
    CHECK_INT(render(p, size, true), KJ_OK);
    t = cpu() - t;
    CHECK(kj_utf8_is_valid(out.p, out.n));
    free(p);
    return t;
}

/* Twice the bytes may not take more than about twice the time. */
static void test_hostile(void)
{
    static const char *const units[] = {"{{",
                                        "[[",
                                        "{{{",
                                        "{{a|",
                                        "[[a|",
                                        "<ref>",
                                        "<ref ",
                                        "<!--",
                                        "<math>",
                                        "[http://x ",
                                        "}}",
                                        "]]",
                                        "{{a}}",
                                        "{|\n|",
                                        "''",
                                        "<sup>",
                                        "&#",
                                        "__A",
                                        "{{convert|2=]|1=[http://x}}",
                                        "|-\n",
                                        "{{a|{{b|[[",
                                        "<sub>[[{{",
                                        "==\n",
                                        "= a =\n",
                                        "{|\n|a||b\n",
                                        "</ref>",
                                        "{{lang|a|[http://]",
                                        "*#:;",
                                        "[[File:a|[[b]]",
                                        "{{{{}}",
                                        "<nowiki>{{",
                                        "\n[[a\n\n"};
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        double one = time_of(units[i], 200000), two = time_of(units[i], 400000);
        if (!CHECK(two < 0.05 || two < 3.5 * one))
            printf("     [%s]: %.3f s, then %.3f s\n", units[i], one, two);
        CHECK(two < 1.0);
    }
}

static void test_caps(void)
{
    size_t n = KJ_WIKITEXT_MAX + 1;
    char *p = calloc(1, n);
    memset(p, 'a', n);
    CHECK_INT(render(p, n, true), KJ_BAD_RECORD);
    free(p);
    /* deeper than KJ_WIKITEXT_DEPTH: the inside goes, the rest stays */
    struct kj_buf b;
    kj_buf_init(&b, 1 << 16);
    for (int i = 0; i < 60; i++)
        kj_buf_addz(&b, "{{nowrap|");
    kj_buf_addz(&b, "deep");
    for (int i = 0; i < 60; i++)
        kj_buf_addz(&b, "}}");
    kj_buf_addz(&b, " after");
    CHECK_INT(render(b.p, b.n, true), KJ_OK);
    CHECK_STR(out.p, out.n, "after");
    struct kj_buf small;
    kj_buf_init(&small, 10);
    CHECK_INT(kj_wikitext_render(wiki, "a long line of text", 19, KJ_STR(""), true,
                                 &small, &page),
              KJ_BAD_RECORD);
    kj_buf_release(&small);
    kj_buf_release(&b);
}

int main(void)
{
    wiki = kj_wikitext_new();
    kj_buf_init(&out, 64u << 20);
    test_cases();
    test_kinds();
    test_caps();
    test_hostile();
    kj_wikitext_free(wiki);
    kj_buf_release(&out);
    return test_end();
}
