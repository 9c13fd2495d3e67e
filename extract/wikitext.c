/* wikitext.c - see wikitext.h.
 *
 * Three passes. The first finds what encloses what: {{...}}, {{{...}}},
 * [[...]], and elements whose content is no wikitext (comments, references,
 * formulas, code). It keeps one number for each byte, the end of what begins
 * there, so nothing is ever searched for twice. The second goes down through
 * these and writes lines of simple wikitext; an argument of a template is
 * rendered once at most, so every byte is met once per level. The third
 * (wikitext_lines.c) makes headings, lists and tables out of lines.
 *
 * Searches that could run to the end of the page again and again (for "]" or
 * "</sub>") remember the last place that they found.
 */
#include "extract/wikitext_internal.h"

#include <stdlib.h>

#define STACK 256 /* open brackets that are kept in mind */

struct kj_wikitext *kj_wikitext_new(void)
{
    struct kj_wikitext *w = kj_xcalloc(1, sizeof *w);
    kj_buf_init(&w->flat, 2 * KJ_WIKITEXT_MAX);
    kj_buf_init(&w->row, KJ_WIKITEXT_MAX);
    return w;
}

void kj_wikitext_free(struct kj_wikitext *w)
{
    if (!w)
        return;
    free(w->end);
    kj_buf_release(&w->flat);
    kj_buf_release(&w->row);
    free(w);
}

static bool same_word(const char *p, const char *low, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char c = p[i];
        if (c >= 'A' && c <= 'Z')
            c = (char)(c + 32);
        if (c != low[i])
            return false;
    }
    return true;
}

/* Where word (static) comes next at or behind i; n when it does not. */
size_t kj_wiki_next(struct kj_wikitext *w, const char *word, size_t i)
{
    size_t m = strlen(word);
    struct kj_wiki_lookout *s = w->seen;
    while (s < w->seen + KJ_WIKI_LOOKOUTS - 1 && s->word && strcmp(s->word, word) != 0)
        s++;
    if (s->word && s->from <= i && i <= s->at)
        return s->at;
    /* A step back costs what lies between, for the rest is known. */
    bool back = s->word && i < s->from;
    size_t end = back ? s->from : w->n, known = back ? s->at : w->n;
    s->word = word;
    s->from = i;
    for (s->at = i; s->at < end && s->at + m <= w->n; s->at++) {
        const char *c = memchr(w->p + s->at, word[0], w->n - m + 1 - s->at);
        s->at = c ? (size_t)(c - w->p) : w->n;
        if (s->at < end && same_word(c, word, m))
            return s->at;
    }
    return s->at = known;
}

bool kj_wiki_is(struct kj_str s, const char *z)
{
    return s.n == strlen(z) && same_word(s.p, z, s.n);
}

bool kj_wiki_all_of(struct kj_str s, const char *set)
{
    for (size_t i = 0; i < s.n; i++)
        if (!strchr(set, s.p[i]))
            return false;
    return s.n > 0;
}

struct kj_str kj_wiki_tag_name(const struct kj_wikitext *w, size_t i)
{
    size_t a = i + 1, b;
    if (a < w->n && w->p[a] == '/')
        a++;
    for (b = a; b < w->n && b - a < 20 && kj_wiki_alnum(w->p[b]);)
        b++;
    return (struct kj_str){w->p + a, b - a};
}

/* ---- first pass ---- */

struct open {
    uint32_t at, count;
    char c;
};

static size_t match_close(struct kj_wikitext *w, struct open *st, size_t *top,
                          size_t *braces, size_t i, char c)
{
    size_t run = 0;
    while (i + run < w->n && w->p[i + run] == c)
        run++;
    if (run < 2)
        return i + run;
    char open = c == '}' ? '{' : '[';
    /* A link that never closes must not keep a template from closing. */
    while (c == '}' && *braces && *top && st[*top - 1].c == '[')
        (*top)--;
    size_t left = run;
    while (left >= 2 && *top && st[*top - 1].c == open) {
        struct open *o = &st[*top - 1];
        uint32_t m = c == '}' && o->count >= 3 && left >= 3 ? 3 : 2;
        w->end[o->at + o->count - m] = (uint32_t)(i + run - left) << 2 | m;
        o->count -= m;
        left -= m;
        if (o->count < 2) {
            (*top)--;
            *braces -= c == '}';
        }
    }
    return i + run;
}

static void find_brackets(struct kj_wikitext *w)
{
    struct open st[STACK];
    size_t top = 0, braces = 0, i = 0;
    while (i < w->n) {
        char c = w->p[i];
        if (c == '<') {
            size_t e = kj_wiki_opaque_end(w, i);
            if (e)
                w->end[i] = (uint32_t)e << 2;
            i = e ? e : i + 1;
        } else if (c == '{' || c == '[') {
            size_t run = 1;
            while (i + run < w->n && w->p[i + run] == c)
                run++;
            /* "[[[" is a bracket and a link. */
            if (run >= 2 && top < STACK) {
                st[top++] = (struct open){(uint32_t)i, (uint32_t)run, c};
                braces += c == '{';
            }
            i += run;
        } else if (c == '}' || c == ']') {
            i = match_close(w, st, &top, &braces, i, c);
        } else {
            if (c == '\n' && i + 1 < w->n && w->p[i + 1] == '\n')
                while (top && st[top - 1].c == '[')
                    top--;
            i++;
        }
    }
}

/* ---- second pass ---- */

struct kj_wiki_range kj_wiki_trim(const struct kj_wikitext *w, struct kj_wiki_range r)
{
    while (r.a < r.b && (unsigned char)w->p[r.a] <= ' ')
        r.a++;
    while (r.b > r.a && (unsigned char)w->p[r.b - 1] <= ' ')
        r.b--;
    return r;
}

/* Cut [a,b) at bars outside of brackets. */
size_t kj_wiki_split(const struct kj_wikitext *w, size_t a, size_t b,
                     struct kj_wiki_range *out, size_t max)
{
    size_t n = 0, from = a;
    for (size_t i = a; i < b;) {
        size_t e = kj_wiki_skip(w, i);
        if (e > i) {
            i = e;
        } else if (w->p[i++] == '|') {
            if (n < max)
                out[n++] = (struct kj_wiki_range){from, i - 1};
            from = i;
        }
    }
    if (n < max)
        out[n++] = (struct kj_wiki_range){from, b};
    return n;
}

static size_t quotes(struct kj_wikitext *w, size_t i, size_t b)
{
    size_t n = 0;
    while (i + n < b && w->p[i + n] == '\'')
        n++;
    size_t keep = n == 1 ? 1 : n == 4 ? 1 : n > 5 ? n - 5 : 0;
    kj_wiki_put(w, w->p + i, keep);
    return i + n;
}

/* __TOC__, __목차없음__ */
static size_t magic(struct kj_wikitext *w, size_t i, size_t b)
{
    size_t e = i + 2;
    if (e < b && w->p[i + 1] == '_')
        while (e < b && e - i < 60 &&
               ((w->p[e] >= 'A' && w->p[e] <= 'Z') || (unsigned char)w->p[e] > 127))
            e++;
    if (e + 1 < b && e > i + 2 && w->p[e] == '_' && w->p[e + 1] == '_')
        return e + 2;
    kj_wiki_put(w, "_", 1);
    return i + 1;
}

static const unsigned char special[256] = {
    ['{'] = 1, ['['] = 1, ['<'] = 1, ['&'] = 1, ['_'] = 1, ['\''] = 1, [1] = 1,
    [2] = 1,   [3] = 1,   [4] = 1,   [5] = 1,   [6] = 1,   [7] = 1,    [8] = 1,
    [11] = 1,  [12] = 1,  [13] = 1,  [14] = 1,  [15] = 1,  [0] = 1,    [127] = 1};

static size_t bracket(struct kj_wikitext *w, size_t i, size_t b, int depth)
{
    size_t e = w->end[i] >> 2, m = w->end[i] & 3;
    if (e + m > b) { /* reaches out of a cut argument */
        kj_wiki_put(w, w->p + i, 1);
        return i + 1;
    }
    if (m == 0) {
        kj_wiki_opaque(w, i, e);
    } else if (w->p[i] == '[') {
        kj_wiki_link(w, i + 2, e, depth + 1);
    } else if (m == 2) {
        kj_wiki_template(w, i + 2, e, depth + 1);
    } else {
        struct kj_wiki_range part[2];
        if (kj_wiki_split(w, i + 3, e, part, 2) == 2) /* {{{parameter|default}}} */
            kj_wiki_render(w, part[1].a, part[1].b, depth + 1);
    }
    return e + m;
}

void kj_wiki_render(struct kj_wikitext *w, size_t a, size_t b, int depth)
{
    if (depth > KJ_WIKITEXT_DEPTH)
        return;
    for (size_t i = a; i < b && w->rc == KJ_OK;) {
        size_t from = i;
        while (i < b && !special[(unsigned char)w->p[i]])
            i++;
        kj_wiki_put(w, w->p + from, i - from);
        if (i >= b)
            break;
        char c = w->p[i];
        if (w->end[i])
            i = bracket(w, i, b, depth);
        else if (c == '[')
            i = kj_wiki_outer_link(w, i, b, depth + 1);
        else if (c == '<')
            i = kj_wiki_tag(w, i, b, depth + 1);
        else if (c == '&')
            i = kj_wiki_entity(w, i, b);
        else if (c == '\'')
            i = quotes(w, i, b);
        else if (c == '_')
            i = magic(w, i, b);
        else if (c == '{')
            kj_wiki_put(w, w->p + i++, 1);
        else
            i++; /* a control character */
    }
}

static bool says_redirect(const char *p, size_t n)
{
    size_t i = 0;
    while (i < n && (unsigned char)p[i] <= ' ')
        i++;
    p += i, n -= i;
    return (n >= 9 && same_word(p, "#redirect", 9)) ||
           (n >= 13 && memcmp(p, "#넘겨주기", 13) == 0);
}

int kj_wikitext_render(struct kj_wikitext *w, const char *p, size_t n,
                       struct kj_str title, bool korean, struct kj_buf *out,
                       struct kj_wikitext_page *page)
{
    *page = (struct kj_wikitext_page){.redirect = says_redirect(p, n)};
    if (n > KJ_WIKITEXT_MAX)
        return KJ_BAD_RECORD;
    if (n + 1 > w->room) {
        free(w->end);
        w->room = n + n / 4 + 4096;
        w->end = kj_xmalloc(w->room * sizeof *w->end);
    }
    memset(w->end, 0, (n + 1) * sizeof *w->end);
    memset(w->seen, 0, sizeof w->seen);
    w->p = p;
    w->n = n;
    w->title = title;
    w->korean = korean;
    w->page = page;
    w->rc = KJ_OK;
    kj_buf_reset(&w->flat);
    find_brackets(w);
    kj_wiki_render(w, 0, n, 0);
    if (w->rc == KJ_OK)
        w->rc = kj_wiki_lines(w->flat.p, w->flat.n, &w->row, out);
    return w->rc;
}
