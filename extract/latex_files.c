/* latex_files.c - which file is the paper, and its parts in their order. */
#define _GNU_SOURCE /* memmem */
#include "extract/latex_internal.h"

#define FILES_DEEP 16
#define FLAGS      64

struct flat {
    struct kj_latex *l;
    const struct kj_latex_file *files;
    size_t n;
    size_t stack[FILES_DEEP];
    size_t depth;
    int rc;
    struct {
        struct kj_str name; /* "draft" of \ifdraft */
        bool on;
    } flag[FLAGS]; /* that the paper made with \newif */
    size_t n_flags;
    bool open[FLAGS]; /* conditionals that are open: is it a flag that is on? */
    size_t n_open;
};

static bool has(struct kj_str s, const char *z)
{
    return s.n && memmem(s.p, s.n, z, strlen(z)) != NULL;
}

/* The first place of z in s that is not commented out; NULL none. */
static const char *live(struct kj_str s, const char *z)
{
    size_t m = strlen(z);
    const char *p = s.p, *end = s.p + s.n;
    while (p && p < end && (p = memmem(p, (size_t)(end - p), z, m))) {
        const char *q = p;
        while (q > s.p && q[-1] != '\n' && q[-1] != '%')
            q--;
        if (q == s.p || q[-1] == '\n' || (q - 1 > s.p && q[-2] == '\\'))
            return p;
        q = memchr(p, '\n', (size_t)(end - p));
        p = q ? q + 1 : end;
    }
    return NULL;
}

static struct kj_str stem(struct kj_str s)
{
    size_t a = s.n;
    while (a && s.p[a - 1] != '/')
        a--;
    s.p += a, s.n -= a;
    const char *dot = s.n ? memrchr(s.p, '.', s.n) : NULL;
    return (struct kj_str){s.p, dot ? (size_t)(dot - s.p) : s.n};
}

/* How much a file looks like the paper; 0: not at all. */
static int rank(const struct kj_latex_file *f)
{
    static const char *const names[] = {"main", "ms", "paper", "article", "manuscript"};
    struct kj_str s = stem(f->name);
    int r = 0;
    bool doc = live(f->text, "\\documentclass") || live(f->text, "\\documentstyle");
    bool begin = live(f->text, "\\begin{document}") != NULL;
    if (doc && begin)
        r = has(f->text, "{subfiles}") || has(f->text, "{standalone}") ? 3 : 10;
    else if (begin)
        r = 6;
    else if (doc) /* its body is in another file */
        r = 5;
    else
        return has(f->text, "\\section") || has(f->text, "\\begin{")
                   ? 2
                   : has(f->text, "\\bye") || has(f->text, "\\magnification") ||
                         has(f->text, "\\par");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        r += 2 * kj_tex_is(s, names[i]);
    return r + (live(f->text, "\\maketitle") || live(f->text, "\\begin{abstract}"));
}

static size_t find_main(const struct kj_latex_file *files, size_t n)
{
    size_t best = n;
    int most = 0;
    for (size_t i = 0; i < n; i++) {
        int r = rank(&files[i]);
        if (r > most || (r == most && r && files[i].text.n > files[best].text.n)) {
            most = r;
            best = i;
        }
    }
    return best;
}

/* Does the file's name end in this path, with or without its extension? */
static bool named(struct kj_str file, struct kj_str want)
{
    static const char *const ext[] = {"", ".tex", ".ltx", ".TEX"};
    for (size_t i = 0; i < sizeof ext / sizeof *ext; i++) {
        size_t m = strlen(ext[i]), all = want.n + m;
        if (file.n >= all && memcmp(file.p + file.n - m, ext[i], m) == 0 &&
            memcmp(file.p + file.n - all, want.p, want.n) == 0 &&
            (file.n == all || file.p[file.n - all - 1] == '/'))
            return true;
    }
    return false;
}

static size_t find_file(const struct flat *f, struct kj_str want)
{
    want = kj_tex_trim(want);
    while (want.n >= 2 && want.p[0] == '.' && want.p[1] == '/')
        want.p += 2, want.n -= 2;
    while (want.n >= 3 && memcmp(want.p, "../", 3) == 0)
        want.p += 3, want.n -= 3;
    size_t best = f->n;
    for (size_t i = 0; want.n && i < f->n; i++)
        if (named(f->files[i].name, want) &&
            (best == f->n || f->files[i].name.n < f->files[best].name.n))
            best = i;
    return best;
}

static void put(struct flat *f, const char *p, size_t n)
{
    if (n && kj_buf_add(&f->l->flat, p, n) < 0)
        f->rc = KJ_BAD_RECORD;
}

static void inline_file(struct flat *f, size_t k);

static void inline_named(struct flat *f, struct kj_str name)
{
    size_t k = find_file(f, name);
    for (size_t i = 0; i < f->depth; i++)
        if (f->stack[i] == k)
            k = f->n;
    if (k == f->n || f->depth == FILES_DEEP) {
        f->l->paper->missing++;
        return;
    }
    f->l->paper->inlined++;
    inline_file(f, k);
    if (f->l->flat.n && f->l->flat.p[f->l->flat.n - 1] != '\n')
        put(f, "\n", 1);
}

/* Does this command open what a \fi closes? */
static bool is_if(struct kj_str c)
{
    static const char *const others[] = {
        "iff",     "ifthenelse", "ifbool",    "iftoggle", "ifstrequal", "ifstrempty",
        "ifblank", "ifdefempty", "ifnumcomp", "ifdef",    "ifundef",    "ifcsdef"};
    if (c.n <= 2 || c.p[0] != 'i' || c.p[1] != 'f')
        return false;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (kj_str_is(c, others[i]))
            return false;
    return true;
}

/* Behind the \fi of the conditional that t stands in, or behind its \else where
 * that is wanted and comes first; true then. */
static bool skip_if(struct kj_tex *t, bool or_else)
{
    int deep = 1;
    while (t->p < t->end) {
        if (*t->p == '%') {
            const char *e = memchr(t->p, '\n', (size_t)(t->end - t->p));
            t->p = e ? e + 1 : t->end;
        } else if (*t->p++ == '\\' && t->p < t->end) {
            t->p--;
            struct kj_str c = kj_tex_command(t);
            if (or_else && deep == 1 && kj_tex_is(c, "else"))
                return true;
            if (kj_tex_is(c, "fi") && --deep == 0)
                return false;
            deep += is_if(c);
        }
    }
    return false;
}

/* The flag of that name, its last `less` bytes and its first `from` left out. */
static size_t find_flag(const struct flat *f, struct kj_str c, size_t from,
                        const char *tail)
{
    size_t m = strlen(tail);
    if (c.n <= from + m || memcmp(c.p + c.n - m, tail, m) != 0)
        return f->n_flags;
    struct kj_str name = {c.p + from, c.n - from - m};
    size_t i = 0;
    while (i < f->n_flags && !kj_str_eq(f->flag[i].name, name))
        i++;
    return i;
}

static void open_if(struct flat *f, bool on)
{
    if (f->n_open < FLAGS)
        f->open[f->n_open++] = on;
}

/* \newif\ifdraft, \drafttrue, \ifdraft ... \else ... \fi: the branch that TeX
 * would take. Of conditionals that only TeX can decide both stay. True: the
 * command is dealt with. */
static bool conditional(struct flat *f, struct kj_str c, struct kj_tex *t)
{
    size_t i;
    if (kj_tex_is(c, "newif")) {
        while (t->p < t->end && kj_tex_blank(*t->p))
            t->p++;
        if (t->p < t->end && *t->p == '\\') {
            struct kj_str name = kj_tex_command(t);
            if (name.n > 2 && f->n_flags < FLAGS)
                f->flag[f->n_flags++].name = (struct kj_str){name.p + 2, name.n - 2};
        }
        return true;
    }
    if ((i = find_flag(f, c, 0, "true")) < f->n_flags ||
        (i = find_flag(f, c, 0, "false")) < f->n_flags) {
        f->flag[i].on = c.p[c.n - 2] == 'u';
        return true;
    }
    if (kj_tex_is(c, "iffalse") || (c.n > 2 && memcmp(c.p, "if", 2) == 0 &&
                                    (i = find_flag(f, c, 2, "")) < f->n_flags)) {
        if (!kj_tex_is(c, "iffalse") && f->flag[i].on)
            open_if(f, true);
        else if (skip_if(t, true))
            open_if(f, false);
        return true;
    }
    if (kj_tex_is(c, "else") && f->n_open && f->open[f->n_open - 1]) {
        skip_if(t, false);
        f->n_open--;
        return true;
    }
    if (kj_tex_is(c, "fi") && f->n_open)
        return f->open[--f->n_open];
    if (is_if(c))
        open_if(f, false);
    return false;
}

/* Text that TeX does not read: as it stands, or gone when it is a comment. */
static bool raw_environment(struct flat *f, struct kj_tex *t, const char *from,
                            unsigned *unclosed)
{
    struct kj_tex u = *t;
    if (u.p >= u.end || *u.p != '{')
        return false;
    const char *e = memchr(u.p, '}', (size_t)(u.end - u.p < 40 ? u.end - u.p : 40));
    if (!e)
        return false;
    struct kj_str name = {u.p + 1, (size_t)(e - u.p - 1)};
    bool comment = kj_tex_is(name, "comment");
    if (!comment && !kj_tex_is_verbatim(name))
        return false;
    char close[64] = "\\end{";
    memcpy(close + 5, name.p, name.n);
    close[5 + name.n] = '}';
    unsigned bit = 1u << (name.n * 7 + (unsigned char)*name.p) % 32;
    const char *q =
        *unclosed & bit ? NULL : memmem(e, (size_t)(u.end - e), close, name.n + 6);
    if (!q) { /* nor will a later one be */
        *unclosed |= bit;
        return false;
    }
    t->p = q + name.n + 6;
    if (!comment)
        put(f, from, (size_t)(t->p - from));
    return true;
}

static bool names_file(struct kj_str c)
{
    return kj_tex_is(c, "input") || kj_tex_is(c, "include") ||
           kj_tex_is(c, "subfile") || kj_tex_is(c, "subfileinclude") ||
           kj_tex_is(c, "InputIfFileExists");
}

/* A command; true: the file ends here. */
static bool command(struct flat *f, struct kj_tex *t, unsigned *unclosed)
{
    const char *from = t->p;
    struct kj_str c = kj_tex_command(t);
    if (names_file(c)) {
        struct kj_tex u = *t;
        while (u.p < u.end && (*u.p == ' ' || *u.p == '\t'))
            u.p++;
        struct kj_str name = {u.p, 0};
        if (u.p < u.end && *u.p == '{') {
            name = kj_tex_arg(f->l, &u);
        } else {
            while (u.p < u.end && !kj_tex_blank(*u.p) && !strchr("\\{}%$", *u.p))
                u.p++;
            name.n = (size_t)(u.p - name.p);
        }
        t->p = u.p;
        inline_named(f, name);
    } else if (kj_tex_is(c, "import") || kj_tex_is(c, "subimport")) {
        kj_tex_arg(f->l, t);
        inline_named(f, kj_tex_arg(f->l, t));
    } else if (kj_tex_is(c, "endinput")) {
        return true;
    } else if (conditional(f, c, t)) {
        return false;
    } else if (kj_tex_is(c, "begin") && raw_environment(f, t, from, unclosed)) {
        return false;
    } else if (kj_tex_is(c, "verb") && t->p < t->end) {
        char d = *t->p == '*' && t->p + 1 < t->end ? *++t->p : *t->p;
        const char *e = memchr(
            t->p + 1, d,
            (size_t)(t->end - t->p - 1) < 400 ? (size_t)(t->end - t->p - 1) : 400);
        t->p = e ? e + 1 : t->p;
        put(f, from, (size_t)(t->p - from));
    } else {
        put(f, from, (size_t)(t->p - from));
    }
    return false;
}

/* Past a comment, the line end, and the next line's indentation. */
static void comment(struct flat *f, struct kj_tex *t)
{
    const char *e = memchr(t->p, '\n', (size_t)(t->end - t->p));
    t->p = e ? e + 1 : t->end;
    const char *q = t->p;
    while (q < t->end && (*q == ' ' || *q == '\t' || *q == '\r'))
        q++;
    if (q < t->end && *q == '\n')
        put(f, "\n", 1);
    t->p = q;
}

static void inline_file(struct flat *f, size_t k)
{
    struct kj_str s = f->files[k].text;
    if (f->depth) { /* a part that can also stand alone */
        const char *b = live(s, "\\begin{document}"), *e;
        if (b && live(s, "\\documentclass")) {
            s.n -= (size_t)(b + 16 - s.p);
            s.p = b + 16;
            e = live(s, "\\end{document}");
            s.n = e ? (size_t)(e - s.p) : s.n;
        }
    }
    struct kj_tex t = {s.p, s.p + s.n};
    unsigned unclosed = 0;
    f->stack[f->depth++] = k;
    while (t.p < t.end && f->rc == KJ_OK && f->l->fuel > 0) {
        const char *from = t.p;
        while (t.p < t.end && *t.p != '\\' && *t.p != '%')
            t.p++;
        put(f, from, (size_t)(t.p - from));
        if (t.p == t.end)
            break;
        if (*t.p == '%')
            comment(f, &t);
        else if (command(f, &t, &unclosed))
            break;
    }
    f->depth--;
}

int kj_tex_flatten(struct kj_latex *l, const struct kj_latex_file *files, size_t n)
{
    struct flat f = {.l = l, .files = files, .n = n, .rc = KJ_OK};
    size_t k = find_main(files, n);
    if (k == n)
        return KJ_DROP;
    l->paper->main = files[k].name;
    inline_file(&f, k);
    return f.rc;
}
