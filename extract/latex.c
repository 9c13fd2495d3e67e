/* latex.c - see latex.h.
 *
 * Three passes: the files into one text without comments (latex_files.c), the
 * definitions out of it (latex_macro.c), and this file, which walks what is
 * left from \begin{document} on. Groups need no matching here: braces are
 * passed over, and commands whose argument is text (\emph) leave it where it
 * stands. Only arguments that go elsewhere are cut out and walked by
 * themselves. Blanks are not written but remembered, so that paragraphs come
 * out clean whatever was left out between them. */
#define _GNU_SOURCE /* memmem */
#include "extract/latex_internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/unicode.h"
#include "base/utf8.h"

static void walk(struct kj_latex *l, struct kj_str s, int depth);

struct kj_latex *kj_latex_new(void)
{
    struct kj_latex *l = kj_xcalloc(1, sizeof *l);
    kj_buf_init(&l->flat, KJ_LATEX_MAX);
    kj_buf_init(&l->body, 2 * KJ_LATEX_MAX);
    kj_buf_init(&l->title, 1 << 16);
    kj_buf_init(&l->scratch, 2 * KJ_LATEX_MAX);
    kj_arena_init(&l->arena, KJ_LATEX_MAX);
    l->macros = kj_xcalloc(KJ_TEX_MACROS, sizeof *l->macros);
    l->cites = kj_xcalloc(KJ_TEX_CITES, sizeof *l->cites);
    l->labels = kj_xcalloc(KJ_TEX_LABELS, sizeof *l->labels);
    return l;
}

void kj_latex_free(struct kj_latex *l)
{
    if (!l)
        return;
    kj_buf_release(&l->flat);
    kj_buf_release(&l->body);
    kj_buf_release(&l->title);
    kj_buf_release(&l->scratch);
    kj_arena_release(&l->arena);
    free(l->macros);
    free(l->cites);
    free(l->labels);
    free(l);
}

/* ---- writing ---- */

void kj_tex_put(struct kj_latex *l, const char *p, size_t n)
{
    static const char *const gaps[] = {"", " ", "\n", "\n\n"};
    if (!n || l->rc < 0)
        return;
    int gap = l->flat_mode && l->gap > KJ_GAP_BLANK ? KJ_GAP_BLANK : l->gap;
    /* "see Section \ref{x}." must not become "Section ." */
    if (l->dropped && gap == KJ_GAP_BLANK && strchr(".,;:)", *p))
        gap = KJ_GAP_NONE;
    l->dropped = false;
    l->gap = KJ_GAP_NONE;
    if (l->out->n > l->start && kj_buf_addz(l->out, gaps[gap]) < 0)
        l->rc = KJ_BAD_RECORD;
    if (kj_buf_add(l->out, p, n) < 0)
        l->rc = KJ_BAD_RECORD;
}

void kj_tex_putz(struct kj_latex *l, const char *z)
{
    kj_tex_put(l, z, strlen(z));
}

void kj_tex_gap(struct kj_latex *l, int g)
{
    if (g > l->gap)
        l->gap = g;
}

/* Walk an argument in one line. */
void kj_tex_inline(struct kj_latex *l, struct kj_str s, int depth)
{
    bool was = l->flat_mode;
    l->flat_mode = true;
    walk(l, s, depth + 1);
    l->flat_mode = was;
    if (l->gap == KJ_GAP_BLANK && !was)
        l->gap = KJ_GAP_NONE;
}

void kj_tex_formula(struct kj_latex *l, struct kj_str s, const char *mark, bool lines)
{
    struct kj_buf *b = &l->scratch;
    s = kj_tex_trim(s);
    size_t from = b->n;
    kj_tex_math(l, s, lines && !l->flat_mode, 0, b);
    size_t n = b->n - from;
    while (n && kj_tex_blank(b->p[from + n - 1]))
        n--;
    if (n) {
        kj_tex_putz(l, mark);
        l->gap = *mark ? KJ_GAP_NONE : l->gap;
        kj_tex_put(l, b->p + from, n);
        kj_tex_putz(l, mark);
    }
    b->n = from;
}

/* ---- citations ---- */

static unsigned cite_number(struct kj_latex *l, struct kj_str key)
{
    size_t i = 0;
    while (i < l->n_cites && !kj_str_eq(l->cites[i], key))
        i++;
    kj_tex_burn(l, i / 4);
    if (i == l->n_cites && l->n_cites < KJ_TEX_CITES)
        l->cites[l->n_cites++] = key; /* of the body, or of an expansion below */
    return (unsigned)i + 1;
}

static void cite(struct kj_latex *l, struct kj_tex *t)
{
    char num[16];
    kj_tex_option(l, t);
    kj_tex_option(l, t);
    struct kj_str s = kj_tex_arg(l, t);
    bool any = false;
    while (s.n) {
        const char *c = memchr(s.p, ',', s.n);
        struct kj_str key =
            kj_tex_trim((struct kj_str){s.p, c ? (size_t)(c - s.p) : s.n});
        s.n = c ? (size_t)(s.p + s.n - c - 1) : 0;
        s.p = c ? c + 1 : s.p;
        char *kept = key.n ? kj_arena_dup(&l->arena, key.p, key.n) : NULL;
        if (!kept)
            continue;
        unsigned k = cite_number(l, (struct kj_str){kept, key.n});
        kj_tex_putz(l, any ? ", " : "[");
        kj_tex_put(l, num, (size_t)snprintf(num, sizeof num, "%u", k));
        any = true;
    }
    kj_tex_putz(l, any ? "]" : "");
}

static bool is_cite(struct kj_str c)
{
    static const char *const names[] = {
        "cite",       "citep",       "citet",     "citealp",  "citealt",   "citeauthor",
        "citeyear",   "citeyearpar", "parencite", "textcite", "autocite",  "footcite",
        "onlinecite", "Citet",       "Citep",     "citenum",  "shortcite", "supercite"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (kj_tex_is(c, names[i]))
            return true;
    return false;
}

/* ---- references to labels ---- */

/* \ref{x}: its number; \eqref: in parentheses; \cref, \autoref: with a word in
 * front. Labels that nobody set leave nothing. False: c is none of these. */
static bool reference(struct kj_latex *l, struct kj_str c, struct kj_tex *t)
{
    bool eq = kj_tex_is(c, "eqref"),
         big = kj_tex_is(c, "Cref") || kj_tex_is(c, "autoref");
    bool word = big || kj_tex_is(c, "cref"), any = false;
    if (!eq && !word && !kj_tex_is(c, "ref") && !kj_tex_is(c, "vref"))
        return false;
    if (t->p < t->end && *t->p == '*')
        t->p++;
    struct kj_str s = kj_tex_arg(l, t);
    while (s.n) {
        const char *comma = memchr(s.p, ',', s.n);
        size_t n = comma ? (size_t)(comma - s.p) : s.n;
        const struct kj_tex_label *x = kj_tex_label_find(l, (struct kj_str){s.p, n});
        n += comma != NULL;
        s = (struct kj_str){s.p + n, s.n - n};
        if (!x)
            continue;
        if (any) {
            kj_tex_putz(l, ",");
            kj_tex_gap(l, KJ_GAP_BLANK);
        } else if (word) {
            const char *k = kj_tex_label_kind(x);
            char first = big ? (char)(*k - 32) : *k;
            kj_tex_put(l, &first, 1);
            kj_tex_putz(l, k + 1);
            kj_tex_gap(l, KJ_GAP_BLANK);
        }
        bool round = eq || (word && x->kind == KJ_TEX_EQUATION);
        kj_tex_putz(l, round ? "(" : "");
        kj_tex_putz(l, x->num);
        kj_tex_putz(l, round ? ")" : "");
        any = true;
    }
    l->dropped = !any;
    return true;
}

/* ---- commands ---- */

static void accent(struct kj_latex *l, struct kj_tex *t, uint32_t mark)
{
    struct kj_str s = kj_tex_trim(kj_tex_arg(l, t));
    if (s.n && *s.p == '\\') /* \'{\i} */
        s = s.n > 1 && s.p[1] == 'j' ? KJ_STR("j") : KJ_STR("i");
    size_t m = 0;
    char raw[8];
    if (s.n && kj_utf8_next(s.p, s.n, &m) != KJ_UTF8_BAD && m <= 4) {
        struct kj_buf b;
        memcpy(raw, s.p, m);
        size_t n = m + kj_utf8_put(mark, raw + m);
        kj_buf_init(&b, 64);
        if (kj_uni_normalize(&b, KJ_NFC, raw, n) == KJ_OK)
            kj_tex_put(l, b.p, b.n);
        kj_buf_release(&b);
        walk(l, (struct kj_str){s.p + m, s.n - m}, KJ_LATEX_DEPTH);
    }
}

static void expand(struct kj_latex *l, const struct kj_tex_macro *m, struct kj_tex *t,
                   int depth)
{
    struct kj_buf b;
    kj_buf_init(&b, 2u << 20);
    if (depth < KJ_LATEX_DEPTH && kj_tex_expand(l, m, t, &b) == KJ_OK)
        walk(l, (struct kj_str){b.p, b.n}, depth + 1);
    kj_buf_release(&b);
}

/* \(...\) and \[...\] */
static void bracketed(struct kj_latex *l, struct kj_tex *t, bool block)
{
    const char *e = memmem(t->p, (size_t)(t->end - t->p), block ? "\\]" : "\\)", 2);
    kj_tex_burn(l, (size_t)((e ? e : t->end) - t->p));
    if (!e)
        return;
    struct kj_str in = {t->p, (size_t)(e - t->p)};
    t->p = e + 2;
    if (block)
        kj_tex_gap(l, KJ_GAP_PARA);
    kj_tex_formula(l, in, block ? "$$" : "$", block);
    if (block)
        kj_tex_gap(l, KJ_GAP_PARA);
}

/* \parindent=0pt, \baselineskip 14pt plus 2pt */
static void length(struct kj_tex *t)
{
    const char *p = t->p;
    while (p < t->end && (*p == ' ' || *p == '='))
        p++;
    const char *num = p;
    while (p < t->end && ((*p >= '0' && *p <= '9') || *p == '.' || *p == '-'))
        p++;
    if (p == num)
        return;
    while (p < t->end && p - num < 40 && *p >= 'a' && *p <= 'z')
        p++;
    t->p = p;
}

static bool ends(struct kj_str s, const char *z)
{
    size_t n = strlen(z);
    return s.n >= n && memcmp(s.p + s.n - n, z, n) == 0;
}

static bool text_command(struct kj_latex *l, struct kj_str c, struct kj_tex *t,
                         int depth)
{
    if (kj_tex_is(c, "footnote") || kj_tex_is(c, "footnotetext")) {
        kj_tex_option(l, t);
        struct kj_str s = kj_tex_trim(kj_tex_arg(l, t));
        if (!s.n)
            return true;
        kj_tex_putz(l, l->gap ? "(" : " (");
        l->gap = KJ_GAP_NONE;
        kj_tex_inline(l, s, depth);
        l->gap = KJ_GAP_NONE;
        kj_tex_putz(l, ")");
    } else if (kj_tex_is(c, "href")) {
        kj_tex_arg(l, t);
    } else if (kj_tex_is(c, "url") || kj_tex_is(c, "path") ||
               kj_tex_is(c, "nolinkurl")) {
        struct kj_str s = kj_tex_trim(kj_tex_arg(l, t));
        kj_tex_put(l, s.p, s.n);
    } else if (kj_tex_is(c, "verb") && t->p < t->end && (*t->p & 0x80) == 0) {
        const char *e = memchr(
            t->p + 1, *t->p,
            (size_t)(t->end - t->p - 1) < 400 ? (size_t)(t->end - t->p - 1) : 400);
        if (e) {
            kj_tex_putz(l, "`");
            kj_tex_put(l, t->p + 1, (size_t)(e - t->p - 1));
            kj_tex_putz(l, "`");
            t->p = e + 1;
        }
    } else if (kj_tex_is(c, "caption") || kj_tex_is(c, "captionof")) {
        kj_tex_caption(l, t, depth);
    } else if (kj_tex_is(c, "item")) {
        kj_tex_item(l, t, depth);
    } else if (kj_tex_is(c, "ensuremath")) {
        kj_tex_formula(l, kj_tex_arg(l, t), "$", false);
    } else if (kj_tex_is(c, "par") || kj_tex_is(c, "bigskip") ||
               kj_tex_is(c, "medskip")) {
        kj_tex_gap(l, KJ_GAP_PARA);
    } else if (kj_tex_is(c, "\\") || kj_tex_is(c, "newline") ||
               kj_tex_is(c, "linebreak")) {
        if (t->p < t->end && *t->p == '*')
            t->p++;
        kj_tex_option(l, t);
        kj_tex_gap(l, KJ_GAP_LINE);
    } else {
        return false;
    }
    return true;
}

/* A control symbol that is only space, or nothing. */
static bool spacing(struct kj_latex *l, struct kj_str c)
{
    if (c.n == 1 && strchr(" ,;:\n\t", *c.p))
        kj_tex_gap(l, KJ_GAP_BLANK);
    else if (kj_tex_is(c, "quad") || kj_tex_is(c, "qquad") || kj_tex_is(c, "enspace") ||
             kj_tex_is(c, "thinspace") || kj_tex_is(c, "space") ||
             kj_tex_is(c, "hfill"))
        kj_tex_gap(l, KJ_GAP_BLANK);
    else
        return c.n == 1 && strchr("!/-@*+", *c.p);
    return true;
}

static void unknown(struct kj_latex *l, struct kj_str c, struct kj_tex *t)
{
    int args = kj_tex_gone(c);
    bool word = kj_tex_letter(*c.p);
    if (args >= 0) {
        if (t->p < t->end && *t->p == '*')
            t->p++;
        kj_tex_option(l, t);
        kj_tex_option(l, t);
        for (int i = 0; i < args; i++)
            kj_tex_arg(l, t);
        l->dropped = true;
    } else if (ends(c, "skip") || ends(c, "indent") || ends(c, "width") ||
               ends(c, "height") || ends(c, "sep") || ends(c, "margin") ||
               ends(c, "penalty") || ends(c, "space") || ends(c, "stretch")) {
        length(t);
    } else if (word && t->p < t->end && *t->p == '[') {
        kj_tex_option(l, t);
    }
}

static void command(struct kj_latex *l, struct kj_tex *t, int depth)
{
    struct kj_str c = kj_tex_command(t);
    if (!c.n)
        return;
    const struct kj_tex_macro *m = kj_tex_macro_find(l, c);
    int level = kj_tex_section(c);
    uint32_t mark = kj_tex_accent(c);
    const char *symbol = m ? NULL : kj_tex_symbol(c);
    bool word = kj_tex_letter(*c.p);
    if (level >= 0) {
        if (t->p < t->end && *t->p == '*')
            t->p++;
        kj_tex_option(l, t);
        kj_tex_heading(l, level, kj_tex_arg(l, t), depth);
    } else if (kj_tex_is(c, "begin")) {
        kj_tex_begin(l, t, depth);
    } else if (kj_tex_is(c, "end")) {
        kj_tex_end(l, t);
    } else if (kj_tex_is(c, "(") || kj_tex_is(c, "[")) {
        bracketed(l, t, *c.p == '[');
    } else if (kj_tex_is(c, "title")) {
        kj_tex_option(l, t);
        kj_tex_arg(l, t);
    } else if (is_cite(c)) {
        if (t->p < t->end && *t->p == '*')
            t->p++;
        cite(l, t);
    } else if (!m && reference(l, c, t)) {
        return;
    } else if (m) {
        expand(l, m, t, depth);
    } else if (symbol) {
        kj_tex_putz(l, symbol);
        /* TeX eats the blanks behind a word; "\ldots and" wants one. */
        if (word && strcmp(symbol, "…") == 0 && t->p < t->end && *t->p == ' ')
            kj_tex_gap(l, KJ_GAP_BLANK);
    } else if (mark && (!word || t->p >= t->end || !kj_tex_letter(*t->p))) {
        accent(l, t, mark);
    } else if (!spacing(l, c) && !text_command(l, c, t, depth)) {
        unknown(l, c, t);
    }
    if (word && !m && (symbol || mark))
        while (t->p < t->end && *t->p == ' ')
            t->p++;
}

/* ---- characters ---- */

static void dollar(struct kj_latex *l, struct kj_tex *t)
{
    bool block = t->p + 1 < t->end && t->p[1] == '$';
    const char *a = t->p + (block ? 2 : 1), *e = a;
    while (e < t->end && *e != '$')
        e += *e == '\\' && e + 1 < t->end ? 2 : 1;
    kj_tex_burn(l, (size_t)(e - a));
    if (e >= t->end) {
        t->p = a;
        return;
    }
    t->p = e + 1;
    if (block && t->p < t->end && *t->p == '$')
        t->p++;
    if (block)
        kj_tex_gap(l, KJ_GAP_PARA);
    kj_tex_formula(l, (struct kj_str){a, (size_t)(e - a)}, block ? "$$" : "$", block);
    if (block)
        kj_tex_gap(l, KJ_GAP_PARA);
}

static void blanks(struct kj_latex *l, struct kj_tex *t)
{
    int lines = 0;
    while (t->p < t->end && kj_tex_blank(*t->p))
        lines += *t->p++ == '\n';
    kj_tex_gap(l, lines > 1 ? (l->lists ? KJ_GAP_LINE : KJ_GAP_PARA) : KJ_GAP_BLANK);
}

/* `` '' --- -- and their like; how many bytes were taken. */
static size_t ligature(struct kj_latex *l, const char *p, size_t n)
{
    static const char *const ligatures[][2] = {{"---", "—"}, {"--", "–"}, {"``", "“"},
                                               {"''", "”"},  {"`", "‘"},  {"~", NULL}};
    for (size_t i = 0; i < sizeof ligatures / sizeof *ligatures; i++) {
        size_t m = strlen(ligatures[i][0]);
        if (n < m || memcmp(p, ligatures[i][0], m) != 0)
            continue;
        if (ligatures[i][1])
            kj_tex_putz(l, ligatures[i][1]);
        else
            kj_tex_gap(l, KJ_GAP_BLANK);
        return m;
    }
    /* Arguments of a command that nobody knows: "\\who{A}{B}". */
    if (*p == '&' || (n > 1 && *p == '}' && p[1] == '{'))
        kj_tex_gap(l, KJ_GAP_BLANK);
    else if (*p != '{' && *p != '}' && (unsigned char)*p >= ' ')
        kj_tex_put(l, p, 1);
    return 1;
}

static const unsigned char special[256] = {
    ['\\'] = 1, ['$'] = 1, [' '] = 1, ['\t'] = 1, ['\r'] = 1, ['\n'] = 1, ['{'] = 1,
    ['}'] = 1,  ['~'] = 1, ['`'] = 1, ['\''] = 1, ['-'] = 1,  ['&'] = 1,  [0] = 1,
    [1] = 1,    [2] = 1,   [3] = 1,   [4] = 1,    [5] = 1,    [6] = 1,    [7] = 1,
    [8] = 1,    [11] = 1,  [12] = 1,  [14] = 1,   [15] = 1,   [27] = 1};

static void walk(struct kj_latex *l, struct kj_str s, int depth)
{
    if (depth > KJ_LATEX_DEPTH || !s.n || !kj_tex_burn(l, s.n))
        return;
    struct kj_tex t = {s.p, s.p + s.n};
    while (t.p < t.end && l->rc == KJ_OK && !l->ended && l->fuel > 0) {
        const char *from = t.p;
        while (t.p < t.end && !special[(unsigned char)*t.p])
            t.p++;
        kj_tex_put(l, from, (size_t)(t.p - from));
        if (t.p == t.end)
            break;
        if (*t.p == '\\')
            command(l, &t, depth);
        else if (*t.p == '$')
            dollar(l, &t);
        else if (kj_tex_blank(*t.p))
            blanks(l, &t);
        else
            t.p += ligature(l, t.p, (size_t)(t.end - t.p));
    }
}

/* ---- the paper ---- */

/* \title{...}, wherever it stands. */
static void find_title(struct kj_latex *l)
{
    struct kj_tex t = {l->body.p, l->body.p + l->body.n};
    const char *p = l->body.p;
    struct kj_str s = {NULL, 0};
    while (!s.n && l->fuel > 0 && (p = memmem(p, (size_t)(t.end - p), "\\title", 6))) {
        p += 6;
        if (p < t.end && kj_tex_letter(*p))
            continue;
        t.p = p;
        kj_tex_option(l, &t);
        if (t.p < t.end && *t.p == '{')
            s = kj_tex_arg(l, &t);
    }
    l->out = &l->title;
    l->start = 0;
    kj_tex_inline(l, s, 0);
    l->gap = KJ_GAP_NONE;
}

static void start(struct kj_latex *l, struct kj_latex_paper *paper)
{
    *paper = (struct kj_latex_paper){.main = {NULL, 0}};
    kj_buf_reset(&l->flat);
    kj_buf_reset(&l->body);
    kj_buf_reset(&l->title);
    kj_buf_reset(&l->scratch);
    kj_arena_reset(&l->arena);
    if (l->n_macros)
        memset(l->macros, 0, KJ_TEX_MACROS * sizeof *l->macros);
    if (l->n_labels)
        memset(l->labels, 0, KJ_TEX_LABELS * sizeof *l->labels);
    l->n_labels = 0;
    l->n_macros = l->n_theorems = l->n_cites = l->n_env = 0;
    l->lists = 0;
    l->paper = paper;
    l->gap = KJ_GAP_NONE;
    l->flat_mode = l->dropped = l->ended = false;
    l->fuel = 1 << 20;
    l->rc = KJ_OK;
}

int kj_latex_render(struct kj_latex *l, const struct kj_latex_file *files, size_t n,
                    struct kj_buf *out, struct kj_latex_paper *paper)
{
    start(l, paper);
    for (size_t i = 0; i < n; i++)
        l->fuel += 4 * (int64_t)files[i].text.n;
    int rc = kj_tex_flatten(l, files, n);
    paper->rule = l->fuel > 0 ? "extract.latex_bytes" : "extract.latex_work";
    if (l->fuel <= 0)
        return KJ_BAD_RECORD;
    if (rc == KJ_OK) {
        l->fuel = (1 << 20) + 40 * (int64_t)l->flat.n;
        rc = kj_tex_collect(l);
    }
    if (rc != KJ_OK)
        return rc;
    struct kj_str s = {l->body.p, l->body.n};
    l->chapters = s.n && memmem(s.p, s.n, "\\chapter", 8);
    if (s.n)
        find_title(l);
    paper->title = (struct kj_str){l->title.p, l->title.n};
    const char *b = s.n ? memmem(s.p, s.n, "\\begin{document}", 16) : NULL;
    if (b) {
        s.n -= (size_t)(b + 16 - s.p);
        s.p = b + 16;
    }
    kj_tex_number(l, s);
    l->out = out;
    l->start = out->n;
    l->n_cites = 0;
    if (l->title.n) {
        kj_tex_putz(l, "# ");
        kj_tex_put(l, l->title.p, l->title.n);
        kj_tex_gap(l, KJ_GAP_PARA);
    }
    walk(l, s, 0);
    if (l->rc == KJ_OK && l->fuel <= 0) {
        paper->rule = "extract.latex_work";
        return KJ_BAD_RECORD;
    }
    return l->rc;
}
