/* wikitext_parts.c - templates and links. */
#include "extract/wikitext_internal.h"

#define ARGS     24
#define LINK_MAX 300 /* bytes of a link's target */

/* ---- templates ---- */

struct args {
    struct kj_str name;
    struct kj_wiki_range value[ARGS]; /* unnamed, by number from 1 */
    int n;
};

/* Named arguments: numbers are places, other names are not looked at but for
 * those that quotations and the like use for their text. */
static void sort_arg(const struct kj_wikitext *w, struct kj_wiki_range r,
                     struct args *g)
{
    size_t i = r.a;
    while (i < r.b && w->p[i] != '=' && kj_wiki_skip(w, i) == i)
        i++;
    if (i >= r.b || w->p[i] != '=') {
        if (g->n + 1 < ARGS)
            g->value[++g->n] = kj_wiki_trim(w, r);
        return;
    }
    struct kj_wiki_range k = kj_wiki_trim(w, (struct kj_wiki_range){r.a, i});
    struct kj_wiki_range v = kj_wiki_trim(w, (struct kj_wiki_range){i + 1, r.b});
    struct kj_str name = {w->p + k.a, k.b - k.a};
    int at = 0;
    if (name.n == 1 && *name.p >= '1' && *name.p <= '9')
        at = *name.p - '0';
    else if (kj_str_is(name, "text") || kj_str_is(name, "quote") ||
             kj_str_is(name, "내용") || kj_str_is(name, "글"))
        at = 1;
    else if (memchr(name.p, ' ', name.n) && name.n > 40) { /* a sentence with "=" */
        v = kj_wiki_trim(w, r);
        at = g->n + 1;
    }
    if (at > 0 && at < ARGS) {
        while (g->n < at)
            g->value[++g->n] = (struct kj_wiki_range){0, 0};
        g->value[at] = v;
    }
}

static void put_arg(struct kj_wikitext *w, const struct args *g, int k, int depth)
{
    if (k >= 1 && k <= g->n && k < ARGS)
        kj_wiki_render(w, g->value[k].a, g->value[k].b, depth);
}

static struct kj_str arg(const struct kj_wikitext *w, const struct args *g, int k)
{
    if (k < 1 || k > g->n || k >= ARGS)
        return (struct kj_str){"", 0};
    return (struct kj_str){w->p + g->value[k].a, g->value[k].b - g->value[k].a};
}

/* {{convert|5|km}}, {{convert|5|to|6|km}}, {{convert|5|ft|4|in}} */
static void convert(struct kj_wikitext *w, const struct args *g, int depth)
{
    put_arg(w, g, 1, depth);
    int k = 2;
    struct kj_str mid = arg(w, g, 2);
    if (kj_str_is(mid, "to") || kj_str_is(mid, "-") || kj_str_is(mid, "–") ||
        kj_str_is(mid, "and") || kj_str_is(mid, "or") || kj_str_is(mid, "x")) {
        bool tight = mid.p[0] == '-' || (unsigned char)mid.p[0] > 127;
        kj_wiki_putz(w, tight ? "–" : " ");
        if (!tight) {
            kj_wiki_put(w, mid.p, mid.n);
            kj_wiki_putz(w, " ");
        }
        put_arg(w, g, 3, depth);
        k = 4;
    }
    if (k <= g->n)
        kj_wiki_putz(w, " ");
    put_arg(w, g, k, depth);
    if (kj_wiki_all_of(arg(w, g, k + 1), "0123456789.,")) { /* 5 ft 4 in */
        if (k + 2 > g->n)
            return;
        kj_wiki_putz(w, " ");
        put_arg(w, g, k + 1, depth);
        kj_wiki_putz(w, " ");
        put_arg(w, g, k + 2, depth);
    }
}

static void join(struct kj_wikitext *w, const struct args *g, const char *before,
                 const char *between, int depth)
{
    for (int k = 1; k <= g->n; k++) {
        kj_wiki_putz(w, k > 1 ? between : before);
        put_arg(w, g, k, depth);
    }
}

static void gloss(struct kj_wikitext *w, const struct args *g, int max, int depth)
{
    int put_any = 0;
    put_arg(w, g, 1, depth);
    for (int k = 2; k <= max && k <= g->n; k++) {
        if (!arg(w, g, k).n)
            continue;
        kj_wiki_putz(w, put_any++ ? ", " : "(");
        put_arg(w, g, k, depth);
    }
    kj_wiki_putz(w, put_any ? ")" : "");
}

static void named(struct kj_wikitext *w, struct kj_str code, const struct args *g,
                  int k, int depth)
{
    const char *name = kj_wiki_language(code, w->korean);
    if (name) {
        kj_wiki_putz(w, name);
        kj_wiki_putz(w, ": ");
    }
    put_arg(w, g, k, depth);
}

static void apply(struct kj_wikitext *w, const struct kj_wiki_template *t,
                  const struct args *g, int depth)
{
    switch (t->form) {
    case KJ_WIKI_ARG:
        put_arg(w, g, t->n <= g->n ? t->n : g->n, depth);
        break;
    case KJ_WIKI_LAST:
        put_arg(w, g, g->n, depth);
        break;
    case KJ_WIKI_JOIN:
        join(w, g, "", ", ", depth);
        break;
    case KJ_WIKI_CONCAT:
        join(w, g, "", "", depth);
        break;
    case KJ_WIKI_ITEMS:
        join(w, g, "\n* ", "\n* ", depth);
        kj_wiki_putz(w, "\n");
        break;
    case KJ_WIKI_TEXT:
        kj_wiki_putz(w, t->text);
        break;
    case KJ_WIKI_PREFIX:
        kj_wiki_putz(w, t->text);
        put_arg(w, g, 1, depth);
        break;
    case KJ_WIKI_BLOCK:
        kj_wiki_putz(w, "\n\n");
        put_arg(w, g, t->n, depth);
        kj_wiki_putz(w, "\n\n");
        break;
    case KJ_WIKI_NAMED:
        named(w, arg(w, g, 1), g, 2, depth);
        break;
    case KJ_WIKI_GLOSS:
        gloss(w, g, t->n, depth);
        break;
    case KJ_WIKI_CONVERT:
        convert(w, g, depth);
        break;
    case KJ_WIKI_FRAC:
        for (int k = 1; k <= g->n; k++) {
            kj_wiki_putz(w, k == 1 ? "" : g->n == 3 && k == 2 ? " " : "/");
            put_arg(w, g, k, depth);
        }
        break;
    case KJ_WIKI_DATE:
        for (int k = 1; k <= g->n && k <= 3; k++) {
            kj_wiki_putz(w, k > 1 ? "-" : "");
            put_arg(w, g, k, depth);
        }
        break;
    case KJ_WIKI_DISAMBIG:
        if (w->page)
            w->page->disambiguation = true;
        break;
    }
}

/* Lower case, "_" and runs of blanks to one blank, at most 63 bytes. */
static struct kj_str template_name(const struct kj_wikitext *w, struct kj_wiki_range r,
                                   char low[64])
{
    size_t n = 0;
    r = kj_wiki_trim(w, r);
    for (size_t i = r.a; i < r.b; i++) {
        char c = w->p[i];
        if (n == 63 || w->end[i])
            return (struct kj_str){low, 0};
        if (c >= 'A' && c <= 'Z')
            c = (char)(c + 32);
        c = c == '_' || c == '\n' || c == '\t' ? ' ' : c;
        if (c == ' ' && n && low[n - 1] == ' ')
            continue;
        low[n++] = c;
    }
    low[n] = 0;
    return (struct kj_str){low, n};
}

static bool starts(struct kj_str s, const char *z)
{
    size_t n = strlen(z);
    return s.n >= n && memcmp(s.p, z, n) == 0;
}

void kj_wiki_template(struct kj_wikitext *w, size_t a, size_t b, int depth)
{
    struct kj_wiki_range part[ARGS + 1];
    struct args g = {.n = 0};
    char low[64];
    size_t parts = kj_wiki_split(w, a, b, part, ARGS + 1);
    /* {{formatnum:123}} and {{lc:X}}: the first argument stands in the name */
    struct kj_str name = template_name(w, part[0], low);
    for (size_t i = part[0].a; i < part[0].b && i - part[0].a < 40; i++) {
        if (w->p[i] != ':' || w->end[i])
            continue;
        name = template_name(w, (struct kj_wiki_range){part[0].a, i}, low);
        sort_arg(w, (struct kj_wiki_range){i + 1, part[0].b}, &g);
        break;
    }
    for (size_t k = 1; k < parts; k++)
        sort_arg(w, part[k], &g);
    const struct kj_wiki_template *t = kj_wiki_template_find(name);
    if (t) {
        apply(w, t, &g, depth);
    } else if (kj_str_is(name, "pagename") || kj_str_is(name, "subpagename")) {
        kj_wiki_put(w, w->title.p, w->title.n);
    } else if (starts(name, "lang-") && name.n <= 9) {
        named(w, (struct kj_str){name.p + 5, name.n - 5}, &g, 1, depth);
    } else if (starts(name, "ipa-") || starts(name, "ipac-")) {
        if (g.n) {
            kj_wiki_putz(w, "[");
            put_arg(w, &g, name.p[3] == 'c' ? g.n : 1, depth);
            kj_wiki_putz(w, "]");
        }
    }
}

/* ---- links ---- */

/* What a link with this prefix is: 'x' leaves nothing, 't' text behind the
 * prefix, 0 an ordinary title with a colon. */
static char prefix_kind(struct kj_str s)
{
    static const char *const gone[] = {"file", "image", "category", "media", "파일",
                                       "그림", "분류",  "미디어",   "섬네일"};
    static const char *const text[] = {
        "w",      "wikt",    "wiktionary", "s",          "commons",  "b",
        "d",      "q",       "wikipedia",  "wikisource", "위키백과", "m",
        "meta",   "species", "voy",        "special",    "help",     "template",
        "portal", "틀",      "도움말",     "특수",       "포털"};
    for (size_t i = 0; i < sizeof gone / sizeof *gone; i++)
        if (kj_wiki_is(s, gone[i]))
            return 'x';
    for (size_t i = 0; i < sizeof text / sizeof *text; i++)
        if (kj_wiki_is(s, text[i]))
            return 't';
    /* Links to other languages: two or three small letters. */
    if (s.n < 2 || s.n > 3)
        return 0;
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < 'a' || s.p[i] > 'z')
            return 0;
    return 'l';
}

static void link_target(struct kj_wikitext *w, struct kj_str s, bool piped)
{
    size_t n = s.n;
    if (piped) { /* [[Seoul (city)|]] */
        const char *open = memchr(s.p, '(', s.n);
        n = open ? (size_t)(open - s.p) : s.n;
        while (n && s.p[n - 1] == ' ')
            n--;
    }
    for (size_t i = 0; i < n; i++)
        kj_wiki_put(w, s.p[i] == '_' ? " " : s.p + i, 1);
}

void kj_wiki_link(struct kj_wikitext *w, size_t a, size_t b, int depth)
{
    size_t bar = a;
    while (bar < b && w->p[bar] != '|' && bar - a < LINK_MAX)
        bar = kj_wiki_skip(w, bar) > bar ? kj_wiki_skip(w, bar) : bar + 1;
    if (bar > b)
        bar = b;
    struct kj_wiki_range t = kj_wiki_trim(w, (struct kj_wiki_range){a, bar});
    bool colon = t.a < t.b && w->p[t.a] == ':';
    t.a += colon;
    struct kj_str s = {w->p + t.a, t.b - t.a};
    const char *c = s.n ? memchr(s.p, ':', s.n) : NULL;
    char kind = 0;
    if (c)
        kind = prefix_kind((struct kj_str){s.p, (size_t)(c - s.p)});
    if (!colon && (kind == 'x' || (kind == 'l' && bar >= b)))
        return;
    if (bar < b && w->p[bar] == '|' &&
        kj_wiki_trim(w, (struct kj_wiki_range){bar + 1, b}).a < b) {
        kj_wiki_render(w, bar + 1, b, depth);
        return;
    }
    if (kind && c) {
        s.n -= (size_t)(c + 1 - s.p);
        s.p = c + 1;
    } else if (s.n && *s.p == '#') {
        s.p++;
        s.n--;
    }
    link_target(w, s, bar < b);
}

/* [http://x text]: the text, or nothing. Returns where to go on. */
size_t kj_wiki_outer_link(struct kj_wikitext *w, size_t i, size_t b, int depth)
{
    static const char *const schemes[] = {"http://", "https://", "//", "ftp://",
                                          "mailto:"};
    struct kj_str s = {w->p + i + 1, b - i - 1};
    bool is = false;
    for (size_t k = 0; k < sizeof schemes / sizeof *schemes; k++)
        is |= starts(s, schemes[k]);
    size_t e = is ? kj_wiki_next(w, "]", i) : b;
    if (e >= b || kj_wiki_next(w, "\n", i) < e) {
        kj_wiki_put(w, "[", 1);
        return i + 1;
    }
    size_t t = i + 1;
    while (t < e && w->p[t] != ' ' && kj_wiki_skip(w, t) == t)
        t++;
    kj_wiki_render(w, t < e && w->p[t] == ' ' ? t + 1 : t, e, depth);
    return e + 1;
}
