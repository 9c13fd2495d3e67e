/* template.c - the parser of templates.
 *
 * Recursive descent in Jinja's order: conditional, comparison, + and -, ~, unary
 * minus, then what follows a value. (Jinja has ~ below + and -: a ~ b + 1 is
 * a ~ (b + 1).) Nodes and their strings lie in the template's arena.
 */
#include "trainer/template.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/unicode.h"
#include "base/utf8.h"
#include "trainer/template_internal.h"

#define TEXT_MAX  ((size_t)1 << 20)
#define DEPTH_MAX 64

struct parser {
    struct kj_template *t;
    const char *p;
    size_t n, at;
    int depth, rc;
    struct kj_err *err;
};

static struct kj_tnode *fail(struct parser *s, const char *what)
{
    if (s->rc == KJ_OK)
        s->rc = kj_err_set(s->err, KJ_USAGE, "template, byte %zu: %s", s->at + 1, what);
    return NULL;
}

static struct kj_tnode *node(struct parser *s, enum kj_tkind kind, struct kj_tnode *a,
                             struct kj_tnode *b)
{
    struct kj_tnode *x = s->rc == KJ_OK ? kj_arena_zalloc(&s->t->arena, sizeof *x) : 0;
    if (!x)
        return fail(s, "too long");
    x->kind = kind;
    x->fn = KJ_TF_NONE;
    x->a = a;
    x->b = b;
    return x;
}

static void space(struct parser *s)
{
    while (s->at < s->n && strchr(" \t\r\n", s->p[s->at]) && s->p[s->at])
        s->at++;
}

static bool here(const struct parser *s, const char *z)
{
    size_t n = strlen(z);
    return s->n - s->at >= n && memcmp(s->p + s->at, z, n) == 0;
}

static bool take(struct parser *s, const char *z)
{
    space(s);
    if (!here(s, z))
        return false;
    s->at += strlen(z);
    return true;
}

static bool letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool digit(char c)
{
    return c >= '0' && c <= '9';
}

/* An identifier: letters, digits, underscores; or nothing. */
static struct kj_str word(struct parser *s)
{
    space(s);
    size_t from = s->at;
    if (s->at < s->n && letter(s->p[s->at]))
        while (s->at < s->n && (letter(s->p[s->at]) || digit(s->p[s->at])))
            s->at++;
    return (struct kj_str){s->p + from, s->at - from};
}

static bool take_word(struct parser *s, const char *z)
{
    size_t from = s->at;
    if (kj_str_is(word(s), z))
        return true;
    s->at = from;
    return false;
}

static struct kj_tnode *expression(struct parser *s);

/* A string with Python's simple escapes; others are refused. */
static struct kj_tnode *string(struct parser *s)
{
    char quote = s->p[s->at++], *o = kj_arena_alloc(&s->t->arena, s->n - s->at + 1);
    size_t n = 0;
    if (!o)
        return fail(s, "too long");
    for (;; s->at++) {
        if (s->at >= s->n)
            return fail(s, "a string without its end");
        char c = s->p[s->at];
        if (c == quote)
            break;
        if (c == '\\') {
            static const char from[] = "nt\\'\"", to[] = "\n\t\\'\"";
            const char *e = ++s->at < s->n ? strchr(from, s->p[s->at]) : NULL;
            if (!e || !*e)
                return fail(s, "this escape is not understood");
            c = to[e - from];
        }
        o[n++] = c;
    }
    s->at++;
    struct kj_tnode *x = node(s, KJ_T_VALUE, NULL, NULL);
    if (x)
        x->val = (struct kj_jval){.kind = KJ_J_STR, .s = {o, n}};
    return x;
}

static struct kj_tnode *number(struct parser *s)
{
    int64_t v = 0;
    for (; s->at < s->n && digit(s->p[s->at]); s->at++)
        if (__builtin_mul_overflow(v, 10, &v) ||
            __builtin_add_overflow(v, s->p[s->at] - '0', &v))
            return fail(s, "a number this large is not understood");
    if (s->at < s->n && (s->p[s->at] == '.' || letter(s->p[s->at])))
        return fail(s, "only whole numbers are understood");
    struct kj_tnode *x = node(s, KJ_T_VALUE, NULL, NULL);
    if (x)
        x->val = (struct kj_jval){.kind = KJ_J_INT, .i = v};
    return x;
}

/* What stands between brackets, up to `end`: a chain. */
static struct kj_tnode *items(struct parser *s, enum kj_tkind kind, const char *end)
{
    struct kj_tnode *x = node(s, kind, NULL, NULL), **last = x ? &x->a : NULL;
    while (x && s->rc == KJ_OK && !take(s, end)) {
        struct kj_tnode *i = expression(s);
        if (i && kind == KJ_T_DICT) {
            if (!take(s, ":"))
                return fail(s, "a colon is missing");
            i->next = expression(s);
        }
        if (s->rc)
            return NULL;
        *last = i;
        last = i->next ? &i->next->next : &i->next;
        if (!take(s, ",")) {
            if (!take(s, end))
                return fail(s, "a bracket is not closed");
            break;
        }
    }
    return s->rc ? NULL : x;
}

static struct kj_tnode *named(struct parser *s)
{
    struct kj_str w = word(s);
    struct kj_tnode *x = node(s, KJ_T_VALUE, NULL, NULL);
    if (!x)
        return NULL;
    if (kj_str_is(w, "true") || kj_str_is(w, "True"))
        x->val = (struct kj_jval){.kind = KJ_J_BOOL, .b = true};
    else if (kj_str_is(w, "false") || kj_str_is(w, "False"))
        x->val = (struct kj_jval){.kind = KJ_J_BOOL, .b = false};
    else if (kj_str_is(w, "none") || kj_str_is(w, "None"))
        x->val = (struct kj_jval){.kind = KJ_J_NULL};
    else if (kj_str_is(w, "not") || kj_str_is(w, "and") || kj_str_is(w, "or") ||
             kj_str_is(w, "in") || kj_str_is(w, "is") || kj_str_is(w, "if") ||
             kj_str_is(w, "else"))
        return fail(s, "this operator is not understood");
    else {
        x->kind = KJ_T_NAME;
        x->val = (struct kj_jval){.kind = KJ_J_STR,
                                  .s = {kj_arena_dup(&s->t->arena, w.p, w.n), w.n}};
        if (!x->val.s.p)
            return fail(s, "too long");
    }
    return x;
}

static struct kj_tnode *primary(struct parser *s)
{
    space(s);
    char c = s->at < s->n ? s->p[s->at] : 0;
    if (c == '"' || c == '\'')
        return string(s);
    if (digit(c))
        return number(s);
    if (take(s, "["))
        return items(s, KJ_T_LIST, "]");
    if (take(s, "{"))
        return items(s, KJ_T_DICT, "}");
    if (take(s, "(")) {
        struct kj_tnode *x = expression(s);
        return take(s, ")") ? x : fail(s, "a bracket is not closed");
    }
    return letter(c) ? named(s) : fail(s, "a value is missing");
}

static const struct {
    const char *name;
    enum kj_tcall fn;
    bool method, filter, args;
} functions[] = {
    {"strip", KJ_TF_STRIP, true, false, false},
    {"lstrip", KJ_TF_LSTRIP, true, false, false},
    {"rstrip", KJ_TF_RSTRIP, true, false, false},
    {"lower", KJ_TF_LOWER, true, true, false},
    {"replace", KJ_TF_REPLACE, true, true, true},
    {"trim", KJ_TF_TRIM, false, true, false},
    {"string", KJ_TF_STRING, false, true, false},
    {"int", KJ_TF_INT, false, true, false},
    {"length", KJ_TF_LENGTH, false, true, false},
};

static struct kj_tnode *call(struct parser *s, struct kj_tnode *a, struct kj_str w,
                             bool filter)
{
    struct kj_tnode *x = node(s, KJ_T_CALL, a, NULL);
    size_t args = 0;
    for (size_t i = 0; x && i < sizeof functions / sizeof *functions; i++)
        if (kj_str_is(w, functions[i].name) &&
            (filter ? functions[i].filter : functions[i].method)) {
            x->fn = functions[i].fn;
            args = functions[i].args;
        }
    if (!x || x->fn == KJ_TF_NONE)
        return fail(s, filter ? "there is no filter of this name"
                              : "there is no function of this name");
    x->filter = filter;
    if (take(s, "(")) {
        if (args) {
            x->b = expression(s);
            if (!take(s, ","))
                return fail(s, "two arguments are needed");
            x->c = expression(s);
        }
        if (!take(s, ")"))
            return fail(s, "a bracket is not closed, or there are too many arguments");
    } else if (args)
        return fail(s, "two arguments are needed");
    return s->rc ? NULL : x;
}

/* A value and what follows it: .key, [E], .function(), |filter. */
static struct kj_tnode *postfix(struct parser *s)
{
    struct kj_tnode *x = primary(s);
    while (x && s->rc == KJ_OK) {
        if (take(s, "[")) {
            x = node(s, KJ_T_INDEX, x, expression(s));
            if (!take(s, "]"))
                return fail(s, "a bracket is not closed");
        } else if (take(s, ".")) {
            struct kj_str w = word(s);
            if (!w.n)
                return fail(s, "a name is missing");
            space(s);
            if (here(s, "(")) {
                x = call(s, x, w, false);
                continue;
            }
            struct kj_tnode *k = node(s, KJ_T_VALUE, NULL, NULL);
            if (!k)
                return NULL;
            k->val = (struct kj_jval){.kind = KJ_J_STR,
                                      .s = {kj_arena_dup(&s->t->arena, w.p, w.n), w.n}};
            x = k->val.s.p ? node(s, KJ_T_INDEX, x, k) : fail(s, "too long");
        } else if (take(s, "|")) {
            x = call(s, x, word(s), true);
        } else {
            break;
        }
    }
    return x;
}

static struct kj_tnode *unary(struct parser *s)
{
    space(s);
    if (s->depth >= DEPTH_MAX)
        return fail(s, "nested too deeply");
    if (here(s, "-") && !here(s, "-}}")) {
        s->at++;
        s->depth++;
        struct kj_tnode *x = node(s, KJ_T_MINUS, unary(s), NULL);
        s->depth--;
        return x;
    }
    return postfix(s);
}

static struct kj_tnode *join(struct parser *s, struct kj_tnode *x)
{
    while (x && take(s, "~"))
        x = node(s, KJ_T_JOIN, x, unary(s));
    return x;
}

static struct kj_tnode *sum(struct parser *s)
{
    struct kj_tnode *x = join(s, unary(s));
    for (; x;) {
        space(s);
        bool plus = here(s, "+");
        if (!plus && (!here(s, "-") || here(s, "-}}")))
            break;
        s->at++;
        x = node(s, plus ? KJ_T_ADD : KJ_T_SUB, x, join(s, unary(s)));
    }
    return x;
}

static struct kj_tnode *comparison(struct parser *s)
{
    struct kj_tnode *x = sum(s);
    bool eq = x && take(s, "==");
    if (x && (eq || take(s, "!=")))
        x = node(s, eq ? KJ_T_EQ : KJ_T_NE, x, sum(s));
    return x;
}

static struct kj_tnode *expression(struct parser *s)
{
    if (++s->depth > DEPTH_MAX)
        return fail(s, "nested too deeply");
    struct kj_tnode *x = comparison(s);
    if (x && s->rc == KJ_OK && take_word(s, "if")) {
        struct kj_tnode *c = comparison(s);
        if (s->rc == KJ_OK && !take_word(s, "else"))
            return fail(s, "else is missing");
        x = node(s, KJ_T_IF, x, expression(s));
        if (x)
            x->c = c;
    }
    s->depth--;
    return s->rc ? NULL : x;
}

/* Plain text up to the next expression. {{- takes white space before it. */
static struct kj_tnode *text(struct parser *s, bool strip)
{
    size_t from = s->at;
    while (s->at < s->n && !here(s, "{{")) {
        if (here(s, "{%") || here(s, "{#"))
            return fail(s, "statements and comments are not understood");
        s->at++;
    }
    struct kj_str v = {s->p + from, s->at - from};
    v = kj_template_strip(v, strip, here(s, "{{-"));
    struct kj_tnode *x = node(s, KJ_T_TEXT, NULL, NULL);
    if (x)
        x->val = (struct kj_jval){.kind = KJ_J_STR, .s = v};
    return x;
}

static int parts(struct parser *s)
{
    struct kj_tnode **last = &s->t->parts;
    bool strip = false;
    s->t->plain = true;
    while (s->at < s->n && s->rc == KJ_OK) {
        struct kj_tnode *x = text(s, strip);
        if (x && x->val.s.n) {
            *last = x;
            last = &x->next;
            s->t->n_parts++;
        }
        if (s->rc || s->at >= s->n)
            break;
        s->at += here(s, "{{-") ? 3 : 2;
        s->t->plain = false;
        x = expression(s);
        if (!x)
            break;
        strip = take(s, "-}}");
        if (!strip && !take(s, "}}")) {
            fail(s, "}} is missing");
            break;
        }
        *last = x;
        last = &x->next;
        s->t->n_parts++;
    }
    return s->rc;
}

int kj_template_parse(struct kj_template **out, const char *p, size_t n,
                      struct kj_err *err)
{
    if (n > TEXT_MAX)
        return kj_err_set(err, KJ_USAGE, "template over %zu bytes", TEXT_MAX);
    struct kj_template *t = kj_xcalloc(1, sizeof *t);
    kj_arena_init(&t->arena, 64 * n + ((size_t)64 << 10));
    const char *copy = kj_arena_dup(&t->arena, p, n);
    struct parser s = {.t = t, .p = copy, .n = n, .err = err};
    int rc = copy ? parts(&s) : kj_err_set(err, KJ_USAGE, "template too long");
    if (rc) {
        kj_template_free(t);
        return rc;
    }
    *out = t;
    return KJ_OK;
}

void kj_template_free(struct kj_template *t)
{
    if (!t)
        return;
    kj_arena_release(&t->arena);
    free(t);
}
