/* latex_macro.c - tokens of TeX, definitions, and their replacement. */
#define _GNU_SOURCE /* memmem */
#include "extract/latex_internal.h"

#include "base/hash.h"

#define BODY_MAX      4000 /* longer macros are no abbreviations */
#define EXPANSION_MAX (1u << 20)

/* ---- tokens ---- */

struct kj_str kj_tex_command(struct kj_tex *t)
{
    const char *a = ++t->p;
    if (a >= t->end)
        return (struct kj_str){a, 0};
    if (!kj_tex_letter(*a)) {
        do
            t->p++;
        while (t->p < t->end && ((unsigned char)*t->p & 0xC0) == 0x80);
        return (struct kj_str){a, (size_t)(t->p - a)};
    }
    while (t->p < t->end && kj_tex_letter(*t->p))
        t->p++;
    return (struct kj_str){a, (size_t)(t->p - a)};
}

struct kj_str kj_tex_trim(struct kj_str s)
{
    while (s.n && kj_tex_blank(*s.p))
        s.p++, s.n--;
    while (s.n && kj_tex_blank(s.p[s.n - 1]))
        s.n--;
    return s;
}

static void blanks(struct kj_tex *t)
{
    while (t->p < t->end && kj_tex_blank(*t->p))
        t->p++;
}

struct kj_str kj_tex_arg(struct kj_latex *l, struct kj_tex *t)
{
    blanks(t);
    const char *a = t->p;
    if (a >= t->end || *a == '}')
        return (struct kj_str){NULL, 0};
    if (*a == '\\') {
        kj_tex_command(t);
        return (struct kj_str){a, (size_t)(t->p - a)};
    }
    if (*a != '{') {
        do
            t->p++;
        while (t->p < t->end && ((unsigned char)*t->p & 0xC0) == 0x80);
        return (struct kj_str){a, (size_t)(t->p - a)};
    }
    int deep = 0;
    for (const char *p = a; p < t->end; p++) {
        if (*p == '\\')
            p++;
        else if (*p == '{')
            deep++;
        else if (*p == '}' && --deep == 0) {
            t->p = p + 1;
            kj_tex_burn(l, (size_t)(p - a));
            return (struct kj_str){a + 1, (size_t)(p - a - 1)};
        }
    }
    kj_tex_burn(l, (size_t)(t->end - a));
    t->p = a + 1; /* never closed: an empty group */
    return (struct kj_str){a + 1, 0};
}

struct kj_str kj_tex_option(struct kj_latex *l, struct kj_tex *t)
{
    const char *a = t->p;
    while (a < t->end && (*a == ' ' || *a == '\t'))
        a++;
    if (a >= t->end || *a != '[')
        return (struct kj_str){NULL, 0};
    int deep = 0;
    for (const char *p = a + 1; p < t->end && p - a < 2000; p++) {
        if (*p == '\\')
            p++;
        else if (*p == '{')
            deep++;
        else if (*p == '}' && deep-- == 0)
            break;
        else if (*p == ']' && deep == 0) {
            t->p = p + 1;
            kj_tex_burn(l, (size_t)(p - a));
            return (struct kj_str){a + 1, (size_t)(p - a - 1)};
        }
    }
    kj_tex_burn(l, 200);
    return (struct kj_str){NULL, 0};
}

/* ---- the table ---- */

static struct kj_tex_macro *slot(struct kj_latex *l, struct kj_str name)
{
    size_t i = (size_t)kj_hash64(name.p, name.n, 7) % KJ_TEX_MACROS;
    while (l->macros[i].name.n && !kj_str_eq(l->macros[i].name, name))
        i = (i + 1) % KJ_TEX_MACROS;
    return &l->macros[i];
}

const struct kj_tex_macro *kj_tex_macro_find(struct kj_latex *l, struct kj_str name)
{
    if (!name.n || !l->n_macros)
        return NULL;
    const struct kj_tex_macro *m = slot(l, name);
    return m->name.n ? m : NULL;
}

static struct kj_str keep(struct kj_latex *l, struct kj_str s)
{
    char *p = kj_arena_dup(&l->arena, s.p ? s.p : "", s.n);
    return (struct kj_str){p, p ? s.n : 0};
}

static bool has(struct kj_str s, const char *z)
{
    return s.n && memmem(s.p, s.n, z, strlen(z)) != NULL;
}

static struct kj_str macro_name(struct kj_str s)
{
    s = kj_tex_trim(s);
    if (s.n && *s.p == '\\')
        s.p++, s.n--;
    return s;
}

static void define(struct kj_latex *l, struct kj_tex_macro m)
{
    static const char *const odd[] = {
        "\\def",     "\\if",     "\\expandafter", "\\csname",    "\\@",
        "\\catcode", "\\global", "\\let",         "\\futurelet", "##"};
    m.name = macro_name(m.name);
    if (!m.name.n || kj_tex_core(m.name) || m.body.n > BODY_MAX)
        return;
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++)
        if (has(m.body, odd[i]))
            return; /* a program, not an abbreviation */
    struct kj_tex_macro *s = slot(l, m.name);
    if (!s->name.n && ++l->n_macros > KJ_TEX_MACROS / 2) {
        l->n_macros--;
        return;
    }
    m.name = keep(l, m.name);
    m.body = keep(l, m.body);
    m.option = keep(l, m.option);
    *s = m;
}

int kj_tex_expand(struct kj_latex *l, const struct kj_tex_macro *m, struct kj_tex *t,
                  struct kj_buf *out)
{
    struct kj_str arg[10] = {{NULL, 0}};
    int k = 1;
    if (m->has_option) {
        arg[1] = kj_tex_option(l, t);
        if (!arg[1].p)
            arg[1] = m->option;
        k = 2;
    }
    for (; k <= m->args && k < 10; k++)
        arg[k] = kj_tex_arg(l, t);
    for (size_t i = 0; i < m->body.n; i++) {
        char c = m->body.p[i];
        int which = c == '#' && i + 1 < m->body.n ? m->body.p[i + 1] - '0' : 0;
        if (c == '\\' && i + 1 < m->body.n && m->body.p[i + 1] == '#') {
            if (kj_buf_add(out, "\\#", 2))
                return KJ_BAD_RECORD;
            i++;
        } else if (which >= 1 && which <= 9) {
            if (out->n + arg[which].n > EXPANSION_MAX ||
                kj_buf_add(out, arg[which].p ? arg[which].p : "", arg[which].n))
                return KJ_BAD_RECORD;
            i++;
        } else if (kj_buf_addc(out, c)) {
            return KJ_BAD_RECORD;
        }
    }
    /* A replacement costs more than its bytes: a buffer, a look-up. */
    return kj_tex_burn(l, out->n + m->body.n + 64) ? KJ_OK : KJ_BAD_RECORD;
}

/* ---- definitions ---- */

static void star(struct kj_tex *t)
{
    if (t->p < t->end && *t->p == '*')
        t->p++;
}

static int number(struct kj_str s)
{
    s = kj_tex_trim(s);
    return s.n == 1 && *s.p >= '0' && *s.p <= '9' ? *s.p - '0' : 0;
}

static void new_command(struct kj_latex *l, struct kj_tex *t)
{
    star(t);
    struct kj_tex_macro m = {.name = kj_tex_arg(l, t)};
    blanks(t);
    struct kj_str n = kj_tex_option(l, t);
    m.args = number(n);
    blanks(t);
    struct kj_str option = n.p ? kj_tex_option(l, t) : n;
    m.has_option = option.p != NULL;
    m.option = option;
    m.body = kj_tex_arg(l, t);
    define(l, m);
}

/* \def\x#1#2{...}; parameters with text between them are beyond us. */
static void plain_def(struct kj_latex *l, struct kj_tex *t)
{
    struct kj_tex_macro m = {.name = kj_tex_arg(l, t)};
    bool odd = false;
    const char *from = t->p;
    while (t->p < t->end && *t->p != '{' && t->p - from < 200) {
        if (*t->p == '#' && t->p + 1 < t->end && t->p[1] == '1' + m.args)
            m.args++, t->p++;
        else
            odd |= !kj_tex_blank(*t->p);
        t->p++;
    }
    m.body = kj_tex_arg(l, t);
    if (!odd)
        define(l, m);
}

static void let(struct kj_latex *l, struct kj_tex *t)
{
    struct kj_tex_macro m = {.name = kj_tex_arg(l, t)};
    blanks(t);
    if (t->p < t->end && *t->p == '=')
        t->p++;
    m.body = kj_tex_arg(l, t);
    if (m.body.n && *m.body.p == '\\' &&
        !kj_str_eq(macro_name(m.body), macro_name(m.name)))
        define(l, m);
}

static void operator_name(struct kj_latex *l, struct kj_tex *t)
{
    star(t);
    struct kj_tex_macro m = {.name = kj_tex_arg(l, t)};
    struct kj_str body = kj_tex_arg(l, t);
    char *p = kj_arena_printf(&l->arena, "\\operatorname{%.*s}", (int)body.n,
                              body.p ? body.p : "");
    m.body = kj_str_z(p);
    define(l, m);
}

static void new_theorem(struct kj_latex *l, struct kj_tex *t)
{
    star(t);
    struct kj_str env = kj_tex_arg(l, t);
    kj_tex_option(l, t);
    struct kj_str name = kj_tex_arg(l, t);
    kj_tex_option(l, t);
    if (l->n_theorems < KJ_TEX_ENVS && env.n && name.n < 60 && !has(name, "\\")) {
        l->theorem[l->n_theorems][0] = keep(l, env);
        l->theorem[l->n_theorems++][1] = keep(l, name);
    }
}

static bool is_definition(struct kj_latex *l, struct kj_str c, struct kj_tex *t)
{
    if (kj_tex_is(c, "newcommand") || kj_tex_is(c, "renewcommand") ||
        kj_tex_is(c, "providecommand") || kj_tex_is(c, "DeclareRobustCommand")) {
        new_command(l, t);
    } else if (kj_tex_is(c, "def") || kj_tex_is(c, "gdef") || kj_tex_is(c, "edef") ||
               kj_tex_is(c, "xdef")) {
        plain_def(l, t);
    } else if (kj_tex_is(c, "let")) {
        let(l, t);
    } else if (kj_tex_is(c, "DeclareMathOperator")) {
        operator_name(l, t);
    } else if (kj_tex_is(c, "newtheorem")) {
        new_theorem(l, t);
    } else if (kj_tex_is(c, "newenvironment") || kj_tex_is(c, "renewenvironment")) {
        star(t);
        kj_tex_arg(l, t);
        kj_tex_option(l, t);
        kj_tex_option(l, t);
        kj_tex_arg(l, t);
        kj_tex_arg(l, t);
    } else if (kj_tex_is(c, "DeclarePairedDelimiter")) {
        for (int i = 0; i < 3; i++)
            kj_tex_arg(l, t);
    } else {
        return kj_tex_is(c, "long") || kj_tex_is(c, "global") ||
               kj_tex_is(c, "makeatletter") || kj_tex_is(c, "makeatother");
    }
    return true;
}

/* \be for \begin{equation}: these are replaced at once, so that whoever looks
 * for the end of an environment sees it. */
static bool opens(const struct kj_tex_macro *m)
{
    return m && (has(m->body, "\\begin") || has(m->body, "\\end"));
}

int kj_tex_collect(struct kj_latex *l)
{
    struct kj_tex t = {l->flat.p, l->flat.n ? l->flat.p + l->flat.n : l->flat.p};
    int rc = KJ_OK;
    while (l->flat.n && t.p < t.end && rc == KJ_OK) {
        const char *from = t.p;
        while (t.p < t.end && *t.p != '\\')
            t.p++;
        rc = kj_buf_add(&l->body, from, (size_t)(t.p - from));
        if (t.p == t.end || rc < 0)
            break;
        from = t.p;
        struct kj_str c = kj_tex_command(&t);
        if (is_definition(l, c, &t))
            continue;
        const struct kj_tex_macro *m = kj_tex_macro_find(l, c);
        rc = opens(m) ? kj_tex_expand(l, m, &t, &l->body)
                      : kj_buf_add(&l->body, from, (size_t)(t.p - from));
        if (l->fuel < 0)
            rc = KJ_BAD_RECORD;
    }
    return rc;
}
