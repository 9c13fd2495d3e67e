/* latex_refs.c - numbers for labels, so that "see Section \ref{x}" reads "see
 * Section 2".
 *
 * One walk over the body counts what LaTeX counts: sections, equations and the
 * rows of aligned ones, figures, tables, algorithms, theorems (which share one
 * counter, as most papers have it). A label takes the number of what it stands
 * in. Environments of packages that nobody knows count nothing, so a number may
 * be another than in print; it is the same wherever the label is named.
 */
#include "extract/latex_internal.h"

#include <stdio.h>

#include "base/hash.h"

enum { DEPTH = 32 };

static const char *const kind_name[] = {"section", "equation",  "figure",
                                        "table",   "algorithm", "theorem"};

struct count {
    struct kj_latex *l;
    unsigned section[4], of[KJ_TEX_KINDS];
    bool appendix;
    struct kj_tex_label now; /* what a label would take; num[0] == 0: nothing */
    struct {
        uint64_t env;
        struct kj_tex_label was;
        bool rows, blank; /* each row has a number; nothing since the last */
    } open[DEPTH];
    size_t n_open;
};

static uint64_t hash(struct kj_str s)
{
    uint64_t h = kj_hash64(s.p, s.n, 0);
    return h ? h : 1;
}

static struct kj_tex_label *slot(struct kj_latex *l, uint64_t key)
{
    size_t i = key % KJ_TEX_LABELS;
    while (l->labels[i].key && l->labels[i].key != key)
        i = (i + 1) % KJ_TEX_LABELS;
    return &l->labels[i];
}

const struct kj_tex_label *kj_tex_label_find(const struct kj_latex *l,
                                             struct kj_str name)
{
    name = kj_tex_trim(name);
    const struct kj_tex_label *x =
        name.n ? slot((struct kj_latex *)l, hash(name)) : NULL;
    return x && x->key ? x : NULL;
}

const char *kj_tex_label_kind(const struct kj_tex_label *x)
{
    return kind_name[x->kind];
}

static void section(struct count *c, int level)
{
    int top = c->l->chapters ? 0 : 1;
    if (level < top || level > 3)
        return;
    c->section[level]++;
    for (int i = level + 1; i < 4; i++)
        c->section[i] = 0;
    char *to = c->now.num;
    size_t n = 0, room = sizeof c->now.num;
    unsigned first = c->section[top];
    if (c->appendix && first >= 1 && first <= 26)
        n = (size_t)snprintf(to, room, "%c", (char)('A' + first - 1));
    else
        n = (size_t)snprintf(to, room, "%u", first);
    for (int i = top + 1; i <= level && n < room; i++)
        n += (size_t)snprintf(to + n, room - n, ".%u", c->section[i]);
    c->now.kind = KJ_TEX_SECTION;
}

static void number(struct count *c, enum kj_tex_kind kind)
{
    snprintf(c->now.num, sizeof c->now.num, "%u", ++c->of[kind]);
    c->now.kind = kind;
}

/* What an environment counts as; -1 nothing. */
static int kind_of(const struct kj_latex *l, struct kj_str env, bool *rows)
{
    *rows = false;
    if (env.n && env.p[env.n - 1] == '*') {
        env.n--;
        return kj_tex_is(env, "figure")  ? KJ_TEX_FIGURE
               : kj_tex_is(env, "table") ? KJ_TEX_TABLE
                                         : -1;
    }
    if (kj_tex_is(env, "figure") || kj_tex_is(env, "wrapfigure"))
        return KJ_TEX_FIGURE;
    if (kj_tex_is(env, "table") || kj_tex_is(env, "longtable"))
        return KJ_TEX_TABLE;
    if (kj_tex_is(env, "algorithm"))
        return KJ_TEX_ALGORITHM;
    *rows = kj_tex_is(env, "align") || kj_tex_is(env, "eqnarray") ||
            kj_tex_is(env, "gather") || kj_tex_is(env, "alignat");
    if (*rows || kj_tex_is(env, "equation") || kj_tex_is(env, "multline"))
        return KJ_TEX_EQUATION;
    for (size_t i = 0; i < l->n_theorems; i++)
        if (kj_str_eq(l->theorem[i][0], env))
            return KJ_TEX_THEOREM;
    return kj_tex_theorem(env) && !kj_tex_is(env, "proof") ? KJ_TEX_THEOREM : -1;
}

static void begin(struct count *c, struct kj_str env)
{
    bool rows;
    int kind = kind_of(c->l, env, &rows);
    if (c->n_open == DEPTH)
        return;
    c->open[c->n_open].env = hash(env);
    c->open[c->n_open].was = c->now;
    c->open[c->n_open].rows = rows;
    c->open[c->n_open++].blank = false;
    if (kind >= 0)
        number(c, (enum kj_tex_kind)kind);
}

static void end(struct count *c, struct kj_str env)
{
    uint64_t h = hash(env);
    size_t i = c->n_open;
    while (i > 0 && c->open[i - 1].env != h)
        i--;
    if (i == 0)
        return;
    c->n_open = i - 1;
    /* "\\" in front of the end begins no row */
    if (c->open[i - 1].rows && c->open[i - 1].blank && c->of[KJ_TEX_EQUATION])
        c->of[KJ_TEX_EQUATION]--;
    c->now = c->open[i - 1].was;
}

static void label(struct count *c, struct kj_str name)
{
    struct kj_latex *l = c->l;
    name = kj_tex_trim(name);
    if (!name.n || !c->now.num[0] || l->n_labels >= KJ_TEX_LABELS / 2)
        return;
    struct kj_tex_label *x = slot(l, hash(name));
    if (x->key)
        return;
    *x = c->now;
    x->key = hash(name);
    l->n_labels++;
}

static void command(struct count *c, struct kj_str name, struct kj_tex *t)
{
    bool row = c->n_open && c->open[c->n_open - 1].rows;
    int level = kj_tex_section(name);
    if (level >= 0) {
        if (t->p < t->end && *t->p != '*')
            section(c, level);
    } else if (kj_tex_is(name, "begin")) {
        begin(c, kj_tex_arg(c->l, t));
    } else if (kj_tex_is(name, "end")) {
        end(c, kj_tex_arg(c->l, t));
    } else if (kj_tex_is(name, "label")) {
        label(c, kj_tex_arg(c->l, t));
    } else if (kj_tex_is(name, "appendix")) {
        c->appendix = true;
        memset(c->section, 0, sizeof c->section);
    } else if (row && kj_tex_is(name, "\\")) {
        number(c, KJ_TEX_EQUATION);
        c->open[c->n_open - 1].blank = true;
    } else if (row && (kj_tex_is(name, "nonumber") || kj_tex_is(name, "notag"))) {
        c->of[KJ_TEX_EQUATION] -= c->of[KJ_TEX_EQUATION] > 0;
    }
}

void kj_tex_number(struct kj_latex *l, struct kj_str body)
{
    struct count c = {.l = l};
    struct kj_tex t = {body.p, body.p + body.n};
    if (!body.n || !kj_tex_burn(l, body.n))
        return;
    while (t.p < t.end && l->fuel > 0) {
        const char *from = t.p;
        while (t.p < t.end && *t.p != '\\')
            t.p++;
        if (c.n_open && c.open[c.n_open - 1].blank)
            for (const char *p = from; p < t.p; p++)
                if (!kj_tex_blank(*p)) {
                    c.open[c.n_open - 1].blank = false;
                    break;
                }
        if (t.p == t.end)
            break;
        struct kj_str name = kj_tex_command(&t);
        if (name.n)
            command(&c, name, &t);
    }
}
