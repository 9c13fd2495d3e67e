/* wikitext_tags.c - tags, entities, formulas, code. */
#define _GNU_SOURCE /* memmem */
#include "extract/wikitext_internal.h"

#include <libxml/HTMLparser.h>
#include <stdlib.h>

#include "base/utf8.h"

#define SCRIPT 64 /* bytes in <sub> and <sup> that are looked at */

/* ---- elements whose content is no wikitext ---- */

enum element { E_DROP, E_MATH, E_CHEM, E_NOWIKI, E_PRE, E_COMMENT };

static const struct {
    const char *name, *close;
    enum element e;
} opaque[] = {
    {"ref", "</ref", E_DROP},
    {"math", "</math", E_MATH},
    {"nowiki", "</nowiki", E_NOWIKI},
    {"pre", "</pre", E_PRE},
    {"syntaxhighlight", "</syntaxhighlight", E_PRE},
    {"source", "</source", E_PRE},
    {"gallery", "</gallery", E_DROP},
    {"chem", "</chem", E_CHEM},
    {"ce", "</ce", E_CHEM},
    {"timeline", "</timeline", E_DROP},
    {"imagemap", "</imagemap", E_DROP},
    {"score", "</score", E_DROP},
    {"references", "</references", E_DROP},
    {"templatestyles", "</templatestyles", E_DROP},
    {"mapframe", "</mapframe", E_DROP},
    {"maplink", "</maplink", E_DROP},
    {"graph", "</graph", E_DROP},
    {"hiero", "</hiero", E_DROP},
    {"inputbox", "</inputbox", E_DROP},
    {"style", "</style", E_DROP},
};

static int opaque_index(struct kj_str name)
{
    for (size_t k = 0; k < sizeof opaque / sizeof *opaque; k++)
        if (kj_wiki_is(name, opaque[k].name))
            return (int)k;
    return -1;
}

size_t kj_wiki_opaque_end(struct kj_wikitext *w, size_t i)
{
    if (w->n - i >= 4 && memcmp(w->p + i, "<!--", 4) == 0) {
        size_t e = kj_wiki_next(w, "-->", i + 4);
        return e < w->n ? e + 3 : w->n;
    }
    struct kj_str name = kj_wiki_tag_name(w, i);
    int k = name.n && w->p[i + 1] != '/' ? opaque_index(name) : -1;
    if (k < 0)
        return 0;
    size_t gt = kj_wiki_next(w, ">", i);
    if (gt >= w->n)
        return 0;
    if (w->p[gt - 1] == '/')
        return gt + 1;
    size_t e = kj_wiki_next(w, opaque[k].close, gt);
    if (e >= w->n) /* never closed: the tag alone, as a wiki would show it */
        return gt + 1;
    e = kj_wiki_next(w, ">", e);
    return e < w->n ? e + 1 : w->n;
}

/* ---- tags, entities, formulas ---- */

static void put_raw(struct kj_wikitext *w, const char *p, size_t n, bool one_line)
{
    char before = ' ';
    for (size_t i = 0; i < n; i++) {
        char c = p[i];
        if (one_line && (c == '\n' || c == '\t'))
            c = ' ';
        if ((unsigned char)c < ' ' && c != '\n' && c != '\t')
            continue;
        if (!(one_line && c == ' ' && before == ' '))
            kj_wiki_put(w, &c, 1);
        before = c;
    }
    if (one_line && n && before == ' ' && w->flat.n && w->flat.p[w->flat.n - 1] == ' ')
        w->flat.n--;
}

/* Does the line so far hold nothing but indentation? */
static bool alone(const struct kj_wikitext *w, size_t e)
{
    size_t n = w->flat.n;
    while (n && (w->flat.p[n - 1] == ':' || w->flat.p[n - 1] == ' '))
        n--;
    while (e < w->n && (w->p[e] == ' ' || w->p[e] == '.' || w->p[e] == ','))
        e++;
    return (n == 0 || w->flat.p[n - 1] == '\n') && (e >= w->n || w->p[e] == '\n');
}

static void formula(struct kj_wikitext *w, struct kj_str s, bool chem, size_t e)
{
    const char *mark = alone(w, e) ? "\001$$" : "\001$";
    kj_wiki_putz(w, mark);
    kj_wiki_putz(w, chem ? "\\ce{" : "");
    size_t a = 0;
    while (a < s.n && (unsigned char)s.p[a] <= ' ')
        a++;
    put_raw(w, s.p + a, s.n - a, true);
    kj_wiki_putz(w, chem ? "}" : "");
    kj_wiki_putz(w, mark + 1);
    kj_wiki_putz(w, "\002");
}

static void code_block(struct kj_wikitext *w, struct kj_str head, struct kj_str s)
{
    const char *l = head.n ? memmem(head.p, head.n, "lang=", 5) : NULL;
    kj_wiki_putz(w, "\n\001```");
    if (l)
        for (l += 5; l < head.p + head.n && (kj_wiki_alnum(*l) || *l == '"'); l++)
            if (*l != '"')
                kj_wiki_put(w, l, 1);
    kj_wiki_putz(w, "\n");
    while (s.n && s.p[0] == '\n')
        s.p++, s.n--;
    while (s.n && (unsigned char)s.p[s.n - 1] <= ' ')
        s.n--;
    put_raw(w, s.p, s.n, false);
    kj_wiki_putz(w, "\n```\002\n");
}

/* The comment or element [i,e). */
void kj_wiki_opaque(struct kj_wikitext *w, size_t i, size_t e)
{
    if (w->p[i + 1] == '!')
        return;
    int k = opaque_index(kj_wiki_tag_name(w, i));
    const char *gt = memchr(w->p + i, '>', e - i);
    if (k < 0 || opaque[k].e == E_DROP || !gt || gt + 1 >= w->p + e)
        return;
    struct kj_str head = {w->p + i, (size_t)(gt - w->p) - i};
    size_t close = e;
    while (close > i && w->p[close - 1] != '<')
        close--;
    struct kj_str s = {gt + 1, 0};
    if (close && w->p + close - 1 > gt)
        s.n = (size_t)(w->p + close - 1 - s.p);
    switch (opaque[k].e) {
    case E_MATH:
    case E_CHEM:
        formula(w, s, opaque[k].e == E_CHEM, e);
        break;
    case E_PRE:
        code_block(w, head, s);
        break;
    case E_NOWIKI:
        kj_wiki_putz(w, "\001");
        put_raw(w, s.p, s.n, true);
        kj_wiki_putz(w, "\002");
        break;
    case E_DROP:
    case E_COMMENT:
        break;
    }
}

/* Digits and signs raised or lowered, where Unicode has all of them. */
static void script(struct kj_wikitext *w, size_t mark, bool up)
{
    static const char *const raised[] = {"⁰", "¹", "²", "³", "⁴", "⁵",
                                         "⁶", "⁷", "⁸", "⁹", "⁺", "⁻"};
    static const char *const lowered[] = {"₀", "₁", "₂", "₃", "₄", "₅",
                                          "₆", "₇", "₈", "₉", "₊", "₋"};
    static const char set[] = "0123456789+-";
    char s[SCRIPT * 4];
    size_t n = w->flat.n - mark;
    if (n == 0 || n > sizeof s || w->rc < 0)
        return;
    memcpy(s, w->flat.p + mark, n);
    w->flat.n = mark;
    if (kj_wiki_all_of((struct kj_str){s, n}, set)) {
        for (size_t i = 0; i < n; i++)
            kj_wiki_putz(w, (up ? raised : lowered)[strchr(set, s[i]) - set]);
        return;
    }
    bool paren = kj_utf8_count(s, n) > 1;
    kj_wiki_putz(w, up ? (paren ? "^(" : "^") : (paren ? "_(" : "_"));
    kj_wiki_put(w, s, n);
    kj_wiki_putz(w, paren ? ")" : "");
}

/* A tag that is none of the opaque ones. Returns where to go on. */
size_t kj_wiki_tag(struct kj_wikitext *w, size_t i, size_t b, int depth)
{
    static const char *const blocks[] = {"p",     "div", "blockquote", "center",
                                         "table", "ul",  "ol",         "poem",
                                         "h2",    "h3",  "h4"};
    struct kj_str name = kj_wiki_tag_name(w, i);
    size_t gt = name.n ? kj_wiki_next(w, ">", i) : b;
    if (gt >= b) {
        kj_wiki_put(w, "<", 1);
        return i + 1;
    }
    bool close = w->p[i + 1] == '/';
    bool sup = kj_wiki_is(name, "sup");
    if (!close && (sup || kj_wiki_is(name, "sub"))) {
        size_t e = kj_wiki_next(w, sup ? "</sup" : "</sub", gt);
        if (e < b && e - gt <= SCRIPT) {
            size_t mark = w->flat.n;
            kj_wiki_render(w, gt + 1, e, depth);
            script(w, mark, sup);
            gt = kj_wiki_next(w, ">", e);
            return gt < b ? gt + 1 : b;
        }
    }
    if (kj_wiki_is(name, "br"))
        kj_wiki_putz(w, "\003");
    else if (kj_wiki_is(name, "li") && !close)
        kj_wiki_putz(w, "\n* ");
    else if (kj_wiki_is(name, "tr"))
        kj_wiki_putz(w, "\n");
    else if ((kj_wiki_is(name, "td") || kj_wiki_is(name, "th")) && close)
        kj_wiki_putz(w, " ");
    for (size_t k = 0; k < sizeof blocks / sizeof *blocks; k++)
        if (kj_wiki_is(name, blocks[k]))
            kj_wiki_putz(w, "\n\n");
    return gt + 1;
}

size_t kj_wiki_entity(struct kj_wikitext *w, size_t i, size_t b)
{
    char name[16], utf8[4];
    size_t n = 0, e = i + 1;
    uint32_t c = 0;
    while (e < b && n < 15 && (kj_wiki_alnum(w->p[e]) || w->p[e] == '#'))
        name[n++] = w->p[e++];
    name[n] = 0;
    if (e < b && w->p[e] == ';' && n > 1) {
        if (name[0] == '#') {
            bool hex = name[1] == 'x' || name[1] == 'X';
            c = (uint32_t)strtoul(name + (hex ? 2 : 1), NULL, hex ? 16 : 10);
        } else {
            const htmlEntityDesc *d = htmlEntityLookup((const xmlChar *)name);
            c = d ? d->value : 0;
        }
    }
    if (c < ' ' || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF)) {
        kj_wiki_put(w, "&", 1);
        return i + 1;
    }
    if (c == 0xA0 || c == 0x2009 || c == 0x202F)
        c = ' ';
    if (c == 0x200B || c == 0xAD || c == 0x200E || c == 0xFEFF)
        return e + 1;
    /* What an entity gives is no markup. */
    bool guard = c < 128 && strchr("=*#:;|!{}[]<'", (int)c);
    kj_wiki_putz(w, guard ? "\001" : "");
    kj_wiki_put(w, utf8, kj_utf8_put(c, utf8));
    kj_wiki_putz(w, guard ? "\002" : "");
    return e + 1;
}
