/* The tree against what the HTML standard says of it, case by case; in each the
 * section that it is about. Trees are written name(child child 'text'), without
 * the html element and an empty head. */
#include "extract/tree.h"

#include <stdlib.h>

#include "base/err.h"
#include "tests/unit/test.h"

static struct kj_tree tree;
static struct kj_buf out;

static void write_node(size_t i)
{
    const struct kj_node *x = &tree.nodes[i];
    if (x->tag == KJ_TAG_TEXT) {
        kj_buf_addc(&out, '\'');
        kj_buf_add(&out, x->text.p, x->text.n);
        kj_buf_addc(&out, '\'');
        return;
    }
    kj_buf_addz(&out, x->tag == KJ_TAG_OTHER ? "?" : kj_tag_name(x->tag));
    if (x->end == i + 1)
        return;
    kj_buf_addc(&out, '(');
    for (size_t k = i + 1; k < x->end; k = tree.nodes[k].end) {
        if (k > i + 1)
            kj_buf_addc(&out, ' ');
        write_node(k);
    }
    kj_buf_addc(&out, ')');
}

static int parse(const char *p, size_t n)
{
    struct kj_html_limits lim = KJ_HTML_LIMITS;
    struct kj_err err = KJ_ERR_INIT;
    int rc = kj_tree_parse(&tree, p, n, &lim, &err);
    kj_buf_reset(&out);
    if (rc < 0)
        return rc;
    /* html is node 1; its children one after the other */
    CHECK_INT(tree.nodes[1].tag, KJ_TAG_html);
    CHECK_INT(tree.nodes[1].end, tree.n);
    for (size_t k = 2; k < tree.n; k = tree.nodes[k].end) {
        if (tree.nodes[k].tag == KJ_TAG_head && tree.nodes[k].end == k + 1)
            continue;
        if (out.n)
            kj_buf_addc(&out, ' ');
        write_node(k);
    }
    for (size_t k = 1; k < tree.n; k++) { /* the array is a tree */
        const struct kj_node *x = &tree.nodes[k], *up = &tree.nodes[x->parent];
        if (!CHECK(x->parent < k && x->end > k && x->end <= up->end &&
                   x->depth == up->depth + 1))
            break;
    }
    return rc;
}

struct fixture {
    const char *in, *want;
};

static void run(const struct fixture *f, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        CHECK_INT(parse(f[i].in, strlen(f[i].in)), KJ_OK);
        kj_buf_z(&out);
        if (!CHECK_STR(out.p, out.n, f[i].want))
            printf("     of %s\n", f[i].in);
    }
}
#define RUN(table) run(table, sizeof table / sizeof *table)

/* 13.1.3, 13.2.6.4.1 to 6: tags that may be left out, the head and its end. */
static void test_frame(void)
{
    static const struct fixture t[] = {
        {"", "body"},
        {" \n x", "body('x')"},
        {"<title>a</title>b", "head(title('a')) body('b')"},
        {"<html><head></head> <body>x</body></html>\n", "' ' body('x\n')"},
        {"<head><p>x", "body(p('x'))"},
        {"<head><meta></head><link><p>x", "head(meta link) body(p('x'))"},
        {"<title>a<b>&amp;</title>", "head(title('a<b>&')) body"},
        {"<head><noscript><link></noscript><meta>", "head(noscript(link) meta) body"},
        {"<head><noscript><p>x", "head(noscript) body(p('x'))"},
        {"x</body>y</html>z<p>w", "body('xyz' p('w'))"},
        {"<frameset><frame></frameset>x", ""},
        {"</p></br>x", "body(br 'x')"},
    };
    RUN(t);
}

/* 13.2.6.4.7: what ends what in the body. */
static void test_body(void)
{
    static const struct fixture t[] = {
        {"<p>a<p>b<div>c</div>d", "body(p('a') p('b') div('c') 'd')"},
        {"<p>a<span>b<div>c", "body(p('a' span('b')) div('c'))"},
        {"<ul><li>a<li>b<ul><li>c</ul></ul>", "body(ul(li('a') li('b' ul(li('c')))))"},
        {"<li>a<div><li>b</div>", "body(li('a' div) li('b'))"},
        {"<dl><dt>a<dd>b<dt>c</dl>", "body(dl(dt('a') dd('b') dt('c')))"},
        {"<h1>a<h2>b</h1>c", "body(h1('a') h2('b') 'c')"},
        {"<h4><article>a</article>b</h4>", "body(h4(article('a') 'b'))"},
        {"<h2><div>a</h2>b", "body(h2(div('a')) 'b')"},
        {"<div><p>a</div>b</p>c", "body(div(p('a')) 'b' p 'c')"},
        {"<form>a<form>b</form>c</form>d", "body(form('ab') 'cd')"},
        {"<div><form>a</div>b</form>c", "body(div(form('a')) 'bc')"},
        {"<form><div>a</form>b", "body(form(div('ab')))"},
        {"<pre>\n\na</pre>", "body(pre('\na'))"},
        {"<a href=x><div><p>b</a>c", "body(a div(a p(a('b') 'c')))"},
        {"<x-y>a<foo>b</x-y>c", "body(?('a' ?('b')) 'c')"},
        {"<x-y>a<foo-bar>b</foo>c", "body(?('a' ?('bc')))"},
        {"<ruby>a<rt>b<rt>c</ruby>", "body(ruby('a' rt('b') rt('c')))"},
        {"<img>a<image>b<hr/>c<input>", "body(img 'a' img 'b' hr 'c' input)"},
        {"<div/>a", "body(div('a'))"},
        {"a<plaintext>b<p>", "body('a' plaintext('b<p>'))"},
        {"<xmp><b>&amp;</xmp>a", "body(xmp('<b>&amp;') 'a')"},
        {"<body><body class=a>x", "body('x')"},
        {"<object><p>a</object>b", "body(object(p('a')) 'b')"},
        {"<p><object></p>a", "body(p(object(p 'a')))"},
    };
    RUN(t);
}

/* 13.2.4.3 and the adoption agency. */
static void test_formatting(void)
{
    static const struct fixture t[] = {
        {"<b>a<p>b</b>c</p>d", "body(b('a') p(b('b') 'c') 'd')"},
        {"<p>a<b>b<p>c", "body(p('a' b('b')) p(b('c')))"},
        {"<b>1<i>2</b>3</i>4", "body(b('1' i('2')) i('3') '4')"},
        {"<a>1<a>2", "body(a('1') a('2'))"},
        {"<a>1<div>2<a>3", "body(a('1') div(a('2') a('3')))"},
        {"<b><b><b><b><p>x</p>", "body(b(b(b(b(p('x'))))))"},
        {"<p><b><b><b><b><p>x", "body(p(b(b(b(b)))) p(b(b(b('x')))))"},
        {"<nobr>1<nobr>2", "body(nobr('1') nobr('2'))"},
        {"<font><p>hello<b>cruel</font>world",
         "body(font p(font('hello' b('cruel')) b('world')))"},
        {"<b><em><foo><foo><aside></b>", "body(b(em(?(?))) em(aside(b)))"},
        {"<marquee><b>a</marquee>b", "body(marquee(b('a')) 'b')"},
        {"<i>a</i></i>b", "body(i('a') 'b')"},
    };
    RUN(t);
}

/* 13.2.6.4.9 to 15. */
static void test_tables(void)
{
    static const struct fixture t[] = {
        {"<table><tr><td>a<td>b<tr><th>c</table>d",
         "body(table(tbody(tr(td('a') td('b')) tr(th('c')))) 'd')"},
        {"<table>a<tr>b<td>c</table>", "body('ab' table(tbody(tr(td('c')))))"},
        {"<table><b>a<tr><td>c</table>d",
         "body(b('a') table(tbody(tr(td('c')))) b('d'))"},
        {"<table><p>a<td>b", "body(p('a') table(tbody(tr(td('b')))))"},
        {"<table><td><table><td>a</table>b</table>c",
         "body(table(tbody(tr(td(table(tbody(tr(td('a')))) 'b')))) 'c')"},
        {"<table><tr><table><td>a", "body(table(tbody(tr)) table(tbody(tr(td('a')))))"},
        {"<table><caption>a<col><thead><th>b",
         "body(table(caption('a') colgroup(col) thead(tr(th('b')))))"},
        {"<p>a<table><td>b", "body(p('a' table(tbody(tr(td('b'))))))"},
        {"<!doctype html><p>a<table><td>b", "body(p('a') table(tbody(tr(td('b')))))"},
        {"<!doctype html public \"-//W3C//DTD XHTML 1.0 Strict//EN\"><p>a<table><td>b",
         "body(p('a') table(tbody(tr(td('b')))))"},
        {"<!doctype html public \"-//W3C//DTD HTML 4.01 Transitional//EN\"><p><table>",
         "body(p(table))"},
        {"<td>a<tr>b<table><tr></td>c", "body('abc' table(tbody(tr)))"},
        {"<table><td></p></div>a</tr>b", "body('b' table(tbody(tr(td(p 'a')))))"},
        {"<table><input type=hidden><input><tr>", "body(input table(input tbody(tr)))"},
        {"<table><form><tr><td>a</form>b", "body(table(form tbody(tr(td('ab')))))"},
        {"<table> <tr> <td> a", "body(table(' ' tbody(tr(' ' td(' a')))))"},
    };
    RUN(t);
}

/* 13.2.6.5, and what has no nodes here. */
static void test_foreign(void)
{
    static const struct fixture t[] = {
        {"a<svg><g><text>b</g></svg>c", "body('ac')"},
        {"a<svg/>b<svg><style>a>b{}</style><title>t</svg>c", "body('abc')"},
        {"a<svg><g><p>b", "body('a' p('b'))"},
        {"<svg><foreignObject><p>a</p></foreignObject></svg>b", "body('b')"},
        {"<math><mi>x</mi><mo>+</math>a", "body(math(mi('x') mo('+')) 'a')"},
        {"<math><mi/>a<![CDATA[<b>]]></math>", "body(math(mi 'a<b>'))"},
        {"<math><mtext><p>a", "body(math(mtext(p('a'))))"},
        {"<math><mrow><p>a", "body(math(?) p('a'))"},
        {"a<script>if (a < b) '</p>'</script>b<style><p></style>c", "body('abc')"},
        {"a<script><!--<script></script>--></script>b", "body('ab')"},
        {"a<script><!-- </script>b", "body('ab')"},
        {"a<script><!--<script>--></script>b", "body('ab')"},
        {"a<script>b", "body('a')"},
        {"a<template><p>b<template></template>c</template>d", "body('ad')"},
        {"<div><template shadowrootmode=open><p>a</template>b</div>",
         "body(div(?(p('a')) 'b'))"},
        {"a<select><p><option>b</select>c", "body('ac')"},
        {"a<select><option>b<input>c", "body('a' input 'c')"},
        {"<table><td><select><option>a<td>b", "body(table(tbody(tr(td td('b')))))"},
        {"a<textarea></p></textarea>b<iframe><p></iframe>c", "body('abc')"},
        {"<div>a<button>b<p>c</div>d", "body(div('a' button('b' p('c'))) 'd')"},
        {"<h3><button>a</button></h3>", "body(h3(button('a')))"},
        {"a<iframe>b<p>c", "body('ab' p('c'))"}, /* cut short: our choice */
    };
    RUN(t);
}

/* 13.2.5: tags, comments and references. */
static void test_tokens(void)
{
    static const struct fixture t[] = {
        {"a<!-- x --!>b<!-->c<!--->d<!-- - -- > -->e", "body('abcde')"},
        {"a<!x>b<?y>c</ z>d</>e", "body('abcde')"},
        {"a<1 < b<", "body('a<1 < b<')"},
        {"<p", "body"},
        {"<P CLASS=x>a</P >b", "body(p('a') 'b')"},
        {"<p a='>' b=\">\" c=/>x", "body(p('x'))"},
        {"<p =a =b>x", "body(p('x'))"},
        {"&lt;&LT&amp;&#65;&#x42;&copy;&copy", "body('<<&AB\xC2\xA9\xC2\xA9')"},
        {"&notit; &notin; &no; & &;", "body('\xC2\xACit; \xE2\x88\x89 &no; & &;')"},
        {"&#128;&#0;&#xD800;&#x110000;&#;", "body('\xE2\x82\xAC\xEF\xBF\xBD"
                                            "\xEF\xBF\xBD\xEF\xBF\xBD&#;')"},
        {"&acE;&CounterClockwiseContourIntegral;", "body('\xE2\x88\xBE\xCC\xB3"
                                                   "\xE2\x88\xB3')"},
        {"a\r\nb\rc", "body('a\nb\nc')"},
    };
    RUN(t);
}

static void test_attributes(void)
{
    static const char p[] =
        "<p class='a &lt; b' CLASS=c id=\"x\" href=?a=1&copy=2&amp;b data-x=y "
        "style lang=ko aria-hidden=true>";
    CHECK_INT(parse(p, sizeof p - 1), KJ_OK);
    const struct kj_attrs *a = tree.nodes[tree.n - 1].attr;
    if (!CHECK(a != NULL))
        return;
    CHECK_STR(a->cls.p, a->cls.n, "a < b");
    CHECK_STR(a->id.p, a->id.n, "x");
    CHECK_STR(a->href.p, a->href.n, "?a=1&copy=2&b");
    CHECK_STR(a->lang.p, a->lang.n, "ko");
    CHECK(a->hidden && !a->style.n && !a->role.p);
    CHECK_INT(parse("<p data-x=y title=z>", 20), KJ_OK);
    CHECK(tree.nodes[tree.n - 1].attr == NULL);
    static const char twice[] = "<html lang=ko><p>a<html lang=en class=c>";
    CHECK_INT(parse(twice, sizeof twice - 1), KJ_OK);
    a = tree.nodes[1].attr;
    CHECK_STR(a->lang.p, a->lang.n, "ko");
    CHECK_STR(a->cls.p, a->cls.n, "c");
}

/* Where nothing had to be decoded, the tree is a view of the page. */
static void test_views(void)
{
    static const char p[] = "<p class=abc>plain<!-- --> text";
    CHECK_INT(parse(p, sizeof p - 1), KJ_OK);
    const struct kj_node *x = &tree.nodes[tree.n - 1];
    CHECK_STR(x->text.p, x->text.n, "plain text");
    CHECK(tree.nodes[tree.n - 2].attr->cls.p == p + 9);
    static const char whole[] = "<p>plain";
    CHECK_INT(parse(whole, sizeof whole - 1), KJ_OK);
    CHECK(tree.nodes[tree.n - 1].text.p == whole + 3);
}

int main(void)
{
    kj_tree_init(&tree);
    kj_buf_init(&out, 1 << 20);
    test_frame();
    test_body();
    test_formatting();
    test_tables();
    test_foreign();
    test_tokens();
    test_attributes();
    test_views();
    kj_tree_release(&tree);
    kj_buf_release(&out);
    return test_end();
}
