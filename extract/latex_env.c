/* latex_env.c - headings, environments, tables, lists, captions. */
#define _GNU_SOURCE /* memmem */
#include "extract/latex_internal.h"

#include <stdio.h>

#include "base/hash.h"

enum kind { K_OTHER, K_ITEMIZE, K_ENUMERATE, K_DESCRIPTION, K_FLOAT, K_TABLE };

/* ---- environments ---- */

void kj_tex_heading(struct kj_latex *l, int level, struct kj_str title, int depth)
{
    level += l->chapters ? 2 : 1;
    level = level < 2 ? 2 : level > 6 ? 6 : level;
    l->gap = KJ_GAP_PARA;
    kj_tex_put(l, "######", (size_t)level);
    l->gap = KJ_GAP_BLANK;
    kj_tex_inline(l, title, depth);
    l->gap = KJ_GAP_PARA;
    l->dropped = false;
}

/* Behind \end{name}; content in *in. Nested ones of the same name count. */
static struct kj_str content(struct kj_latex *l, struct kj_tex *t, struct kj_str name)
{
    char mark[80];
    const char *p = t->p;
    struct kj_str in = {t->p, (size_t)(t->end - t->p)};
    int deep = 1;
    if (name.n > 60)
        return (struct kj_str){NULL, 0};
    size_t m = (size_t)snprintf(mark, sizeof mark, "{%.*s}", (int)name.n, name.p);
    while ((p = memmem(p, (size_t)(t->end - p), mark, m))) {
        if (p - in.p >= 4 && memcmp(p - 4, "\\end", 4) == 0) {
            if (--deep == 0)
                break;
        } else if (p - in.p >= 6 && memcmp(p - 6, "\\begin", 6) == 0) {
            deep++;
        }
        p += m;
    }
    kj_tex_burn(l, p ? (size_t)(p - in.p) : in.n);
    if (!p) /* never closed */
        return (struct kj_str){NULL, 0};
    in.n = (size_t)(p - 4 - in.p);
    t->p = p + m;
    return in;
}

static void display(struct kj_latex *l, struct kj_str name, struct kj_str in)
{
    char mark[80];
    snprintf(mark, sizeof mark, "\\begin{%.*s}", (int)name.n, name.p);
    kj_tex_gap(l, l->flat_mode ? KJ_GAP_BLANK : KJ_GAP_PARA);
    kj_tex_putz(l, mark);
    kj_tex_gap(l, KJ_GAP_LINE);
    kj_tex_formula(l, in, "", true);
    kj_tex_gap(l, KJ_GAP_LINE);
    snprintf(mark, sizeof mark, "\\end{%.*s}", (int)name.n, name.p);
    kj_tex_putz(l, mark);
    kj_tex_gap(l, l->flat_mode ? KJ_GAP_BLANK : KJ_GAP_PARA);
}

/* A cell ends at & and a row at \\, outside of groups and environments. */
static void table(struct kj_latex *l, struct kj_str in, int depth)
{
    struct kj_tex t = {in.p, in.p + in.n};
    const char *from = t.p;
    int deep = 0;
    bool row = false;
    size_t cells = l->out->n;
    if (!in.n || !kj_tex_burn(l, in.n))
        return;
    kj_tex_gap(l, KJ_GAP_PARA);
    while (t.p <= t.end && l->rc == KJ_OK && l->fuel > 0) {
        struct kj_tex u = t;
        bool end = t.p == t.end, newline = end, amp = false;
        if (!end && *t.p == '\\') {
            struct kj_str c = kj_tex_command(&u);
            newline =
                deep == 0 && (kj_tex_is(c, "\\") || kj_tex_is(c, "tabularnewline") ||
                              kj_tex_is(c, "cr"));
            deep += kj_tex_is(c, "begin");
            deep -= kj_tex_is(c, "end") && deep > 0;
        } else if (!end) {
            amp = *t.p == '&' && deep == 0;
            deep += *t.p == '{';
            deep -= *t.p == '}' && deep > 0;
            u.p++;
        }
        if (newline || amp) {
            struct kj_str cell =
                kj_tex_trim((struct kj_str){from, (size_t)(t.p - from)});
            if (!row && (amp || cell.n))
                kj_tex_putz(l, "|");
            row |= amp || cell.n;
            if (row) {
                l->gap = KJ_GAP_BLANK;
                kj_tex_inline(l, cell, depth);
                l->gap = KJ_GAP_BLANK;
                kj_tex_putz(l, "|");
            }
            if (newline)
                kj_tex_option(l, &u);
            from = u.p;
        }
        if (newline && row) {
            /* A row of nothing but bars goes. */
            size_t i = cells;
            while (i < l->out->n && strchr("| \n", l->out->p[i]))
                i++;
            if (i == l->out->n)
                l->out->n = cells;
            cells = l->out->n;
            l->gap = KJ_GAP_LINE;
            row = false;
        }
        t.p = end ? t.end + 1 : u.p;
    }
    l->gap = KJ_GAP_PARA;
}

static bool is_table(struct kj_str name)
{
    return kj_tex_is(name, "tabular") || kj_tex_is(name, "tabular*") ||
           kj_tex_is(name, "tabularx") || kj_tex_is(name, "longtable") ||
           kj_tex_is(name, "tabulary") || kj_tex_is(name, "deluxetable") ||
           kj_tex_is(name, "supertabular");
}

static enum kind kind_of(struct kj_str name)
{
    static const struct {
        const char *name;
        enum kind kind;
    } kinds[] = {{"itemize", K_ITEMIZE},
                 {"enumerate", K_ENUMERATE},
                 {"description", K_DESCRIPTION},
                 {"compactitem", K_ITEMIZE},
                 {"inparaenum", K_ENUMERATE},
                 {"compactenum", K_ENUMERATE},
                 {"figure", K_FLOAT},
                 {"figure*", K_FLOAT},
                 {"wrapfigure", K_FLOAT},
                 {"table", K_TABLE},
                 {"table*", K_TABLE},
                 {"sidewaystable", K_TABLE},
                 {"wraptable", K_TABLE}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (kj_tex_is(name, kinds[i].name))
            return kinds[i].kind;
    return K_OTHER;
}

static void theorem(struct kj_latex *l, struct kj_tex *t, struct kj_str name, int depth)
{
    const char *word = kj_tex_theorem(name);
    struct kj_str say = kj_str_z(word);
    for (size_t i = 0; i < l->n_theorems; i++)
        if (kj_str_eq(l->theorem[i][0], name))
            say = l->theorem[i][1];
    if (!say.n)
        return;
    struct kj_str note = kj_tex_option(l, t);
    kj_tex_gap(l, KJ_GAP_PARA);
    kj_tex_put(l, say.p, say.n);
    if (note.n) {
        kj_tex_putz(l, " (");
        kj_tex_inline(l, note, depth);
        kj_tex_putz(l, ")");
    }
    kj_tex_putz(l, ".");
    kj_tex_gap(l, KJ_GAP_BLANK);
}

static void verbatim(struct kj_latex *l, struct kj_str in)
{
    while (in.n && (*in.p == '\n' || *in.p == '\r'))
        in.p++, in.n--;
    while (in.n && kj_tex_blank(in.p[in.n - 1]))
        in.n--;
    kj_tex_gap(l, KJ_GAP_PARA);
    kj_tex_putz(l, "```\n");
    kj_tex_put(l, in.p, in.n);
    kj_tex_putz(l, "\n```");
    kj_tex_gap(l, KJ_GAP_PARA);
}

void kj_tex_begin(struct kj_latex *l, struct kj_tex *t, int depth)
{
    struct kj_str name = kj_tex_arg(l, t);
    bool verb = kj_tex_is_verbatim(name), math = kj_tex_is_math(name);
    if (verb || math || kj_tex_is_picture(name) || is_table(name)) {
        struct kj_tex u = *t;
        kj_tex_option(l, &u);
        for (int i = math ? 9 : 0; i < kj_tex_env_args(name); i++)
            kj_tex_arg(l, &u);
        struct kj_str in = content(l, math ? t : &u, name);
        if (!in.p)
            return;
        t->p = math ? t->p : u.p;
        if (verb)
            verbatim(l, in);
        else if (math && kj_tex_is(name, "math"))
            kj_tex_formula(l, in, "$", false);
        else if (math)
            display(l, name, in);
        else if (is_table(name))
            table(l, in, depth);
        else
            l->dropped = true;
        return;
    }
    enum kind k = kind_of(name);
    if (kj_tex_is(name, "abstract") || kj_tex_is(name, "acknowledgments") ||
        kj_tex_is(name, "acknowledgements"))
        kj_tex_heading(l, l->chapters ? 0 : 1,
                       *name.p == 'a' && name.p[1] == 'b' ? KJ_STR("Abstract")
                                                          : KJ_STR("Acknowledgments"),
                       depth);
    kj_tex_gap(l, KJ_GAP_PARA);
    theorem(l, t, name, depth);
    if (k != K_OTHER || kj_tex_env_args(name))
        kj_tex_option(l, t);
    for (int i = 0; i < kj_tex_env_args(name); i++)
        kj_tex_arg(l, t);
    if (l->n_env < KJ_TEX_ENVS) {
        l->env[l->n_env].name = kj_hash64(name.p, name.n, 0);
        l->env[l->n_env].count = 0;
        l->env[l->n_env++].kind = k;
    }
    l->lists += k >= K_ITEMIZE && k <= K_DESCRIPTION;
}

void kj_tex_end(struct kj_latex *l, struct kj_tex *t)
{
    struct kj_str name = kj_tex_arg(l, t);
    if (kj_tex_is(name, "document")) {
        l->ended = true;
        return;
    }
    size_t i = l->n_env;
    uint64_t h = kj_hash64(name.p, name.n, 0);
    while (i && l->env[i - 1].name != h)
        i--;
    kj_tex_burn(l, l->n_env - i);
    while (i && l->n_env >= i) { /* closes what was left open within, too */
        int k = l->env[--l->n_env].kind;
        l->lists -= k >= K_ITEMIZE && k <= K_DESCRIPTION;
    }
    kj_tex_gap(l, l->lists ? KJ_GAP_LINE : KJ_GAP_PARA);
}

void kj_tex_item(struct kj_latex *l, struct kj_tex *t, int depth)
{
    size_t i = l->n_env;
    char num[16];
    while (i && (l->env[i - 1].kind < K_ITEMIZE || l->env[i - 1].kind > K_DESCRIPTION))
        i--;
    int k = i ? l->env[i - 1].kind : K_ITEMIZE;
    bool first = i && l->env[i - 1].count++ == 0;
    l->gap = first && l->lists <= 1 ? KJ_GAP_PARA : KJ_GAP_LINE;
    for (int d = 1; d < l->lists && d < 8; d++)
        kj_tex_putz(l, "  ");
    if (k == K_ENUMERATE)
        kj_tex_put(l, num,
                   (size_t)snprintf(num, sizeof num, "%u.", l->env[i - 1].count));
    else
        kj_tex_putz(l, "-");
    l->gap = KJ_GAP_BLANK;
    struct kj_str label = kj_tex_option(l, t);
    if (label.n && k != K_ENUMERATE) {
        kj_tex_inline(l, label, depth);
        kj_tex_putz(l, ":");
    }
    l->gap = KJ_GAP_BLANK;
}

void kj_tex_caption(struct kj_latex *l, struct kj_tex *t, int depth)
{
    const char *word = "Figure: ";
    for (size_t i = 0; i < l->n_env; i++)
        if (l->env[i].kind == K_TABLE)
            word = "Table: ";
    if (t->p < t->end && *t->p == '*')
        t->p++;
    kj_tex_option(l, t);
    struct kj_str s = kj_tex_arg(l, t);
    kj_tex_gap(l, KJ_GAP_PARA);
    kj_tex_putz(l, word);
    kj_tex_inline(l, s, depth);
    l->gap = KJ_GAP_PARA;
}
