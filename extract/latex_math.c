/* latex_math.c - formulas: TeX in, TeX out, with the paper's own macros replaced
 * and what only matters for layout gone. */
#include "extract/latex_internal.h"

static bool gone(struct kj_str c)
{
    static const char *const names[] = {"nonumber", "notag",      "displaystyle",
                                        "hfill",    "allowbreak", "nobreak",
                                        "limits",   "noindent"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (kj_tex_is(c, names[i]))
            return true;
    return false;
}

static void put(struct kj_latex *l, struct kj_buf *out, const char *p, size_t n)
{
    if (n && kj_buf_add(out, p, n) < 0)
        l->rc = KJ_BAD_RECORD;
}

static void blank(struct kj_latex *l, struct kj_buf *out, char c)
{
    if (!out->n || (out->p[out->n - 1] != ' ' && out->p[out->n - 1] != '\n'))
        put(l, out, &c, 1);
    else if (c == '\n')
        out->p[out->n - 1] = '\n';
}

static void macro(struct kj_latex *l, const struct kj_tex_macro *m, struct kj_tex *t,
                  bool lines, int depth, struct kj_buf *out)
{
    struct kj_buf b;
    kj_buf_init(&b, 2u << 20);
    if (kj_tex_expand(l, m, t, &b) == KJ_OK && b.n) {
        /* "\cmd" before a letter needs the blank that TeX ate. */
        kj_tex_math(l, (struct kj_str){b.p, b.n}, lines, depth + 1, out);
        bool word = out->n && kj_tex_letter(out->p[out->n - 1]);
        if (word && t->p < t->end && kj_tex_letter(*t->p)) {
            size_t i = out->n;
            while (i && kj_tex_letter(out->p[i - 1]))
                i--;
            if (i && out->p[i - 1] == '\\')
                put(l, out, " ", 1);
        }
    }
    kj_buf_release(&b);
}

void kj_tex_math(struct kj_latex *l, struct kj_str s, bool lines, int depth,
                 struct kj_buf *out)
{
    if (depth > KJ_LATEX_DEPTH || !s.n || !kj_tex_burn(l, s.n))
        return;
    struct kj_tex t = {s.p, s.p + s.n};
    while (t.p < t.end && l->rc == KJ_OK && l->fuel > 0) {
        const char *from = t.p;
        while (t.p < t.end && *t.p != '\\' && !kj_tex_blank(*t.p))
            t.p++;
        put(l, out, from, (size_t)(t.p - from));
        if (t.p == t.end)
            break;
        if (*t.p != '\\') {
            bool line = false;
            while (t.p < t.end && kj_tex_blank(*t.p))
                line |= *t.p++ == '\n';
            blank(l, out, line && lines ? '\n' : ' ');
            continue;
        }
        from = t.p;
        struct kj_str c = kj_tex_command(&t);
        const struct kj_tex_macro *m = kj_tex_macro_find(l, c);
        if (kj_tex_is(c, "label"))
            kj_tex_arg(l, &t);
        else if (m)
            macro(l, m, &t, lines, depth, out);
        else if (kj_tex_is(c, "ensuremath"))
            kj_tex_math(l, kj_tex_arg(l, &t), lines, depth + 1, out);
        else if (!gone(c))
            put(l, out, from, (size_t)(t.p - from));
        else
            while (t.p < t.end && *t.p == ' ')
                t.p++;
    }
}
