/* template_eval.c - values of templates. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/unicode.h"
#include "base/utf8.h"
#include "trainer/template_internal.h"

/* Longest text of one value, bytes. */
#define VALUE_MAX ((size_t)64 << 20)

struct eval {
    const struct kj_jval *doc;
    struct kj_arena *a;
    struct kj_err *err;
};

struct kj_str kj_template_strip(struct kj_str s, int left, int right)
{
    size_t len;
    while (left && s.n && kj_uni_py_space(kj_utf8_next(s.p, s.n, &len))) {
        s.p += len;
        s.n -= len;
    }
    while (right && s.n) {
        size_t at = s.n - 1;
        while (at && ((unsigned char)s.p[at] & 0xC0) == 0x80)
            at--;
        if (!kj_uni_py_space(kj_utf8_next(s.p + at, s.n - at, &len)))
            break;
        s.n = at;
    }
    return s;
}

static int bad(struct eval *e, const char *what)
{
    return kj_err_set(e->err, KJ_BAD_RECORD, "%s", what);
}

static const char *kind_of(const struct kj_jval *v)
{
    static const char *const names[] = {
        "nothing",  "null",   "true or false", "a number", "a number with a fraction",
        "a string", "a list", "an object"};
    return names[v->kind <= KJ_J_OBJECT ? v->kind : 0];
}

int kj_template_put(const struct kj_jval *v, struct kj_buf *out, struct kj_err *err)
{
    int rc = KJ_OK;
    if (v->kind == KJ_J_STR)
        rc = kj_buf_add(out, v->s.p, v->s.n);
    else if (v->kind == KJ_J_INT)
        rc = kj_buf_printf(out, "%" PRId64, v->i);
    else if (v->kind == KJ_J_BOOL)
        rc = kj_buf_addz(out, v->b ? "True" : "False");
    else if (v->kind == KJ_J_NULL)
        rc = kj_buf_addz(out, "None");
    else
        return kj_err_set(err, KJ_BAD_RECORD, "%s cannot stand in a text", kind_of(v));
    return rc ? kj_err_set(err, KJ_BAD_RECORD, "the text is too long") : KJ_OK;
}

/* As Python has it: true is 1. */
static bool whole(const struct kj_jval *v, int64_t *i)
{
    *i = v->kind == KJ_J_BOOL ? v->b : v->kind == KJ_J_INT ? v->i : 0;
    return v->kind == KJ_J_BOOL || v->kind == KJ_J_INT;
}

static bool truth(const struct kj_jval *v)
{
    switch (v->kind) {
    case KJ_J_NULL:
        return false;
    case KJ_J_BOOL:
        return v->b;
    case KJ_J_INT:
        return v->i != 0;
    case KJ_J_REAL:
        return v->r < 0 || v->r > 0;
    case KJ_J_STR:
        return v->s.n > 0;
    default:
        return v->n > 0;
    }
}

/* Lists and objects are not compared. */
static int equal(struct eval *e, const struct kj_jval *x, const struct kj_jval *y,
                 bool *out)
{
    int64_t i, j;
    if (x->kind >= KJ_J_ARRAY || y->kind >= KJ_J_ARRAY || x->kind == KJ_J_REAL ||
        y->kind == KJ_J_REAL)
        return bad(e, "only strings and whole numbers are compared");
    if (whole(x, &i) && whole(y, &j))
        *out = i == j;
    else
        *out = x->kind == y->kind && (x->kind != KJ_J_STR || kj_str_eq(x->s, y->s));
    return KJ_OK;
}

/* A string made in a buffer, kept in the arena. */
static int keep(struct eval *e, struct kj_buf *b, struct kj_jval *out)
{
    const char *p = kj_arena_dup(e->a, b->p ? b->p : "", b->n);
    *out = (struct kj_jval){.kind = KJ_J_STR, .s = {p, b->n}};
    return p ? KJ_OK : bad(e, "the text is too long");
}

static int value(struct eval *e, const struct kj_tnode *x, struct kj_jval *out);

static int list(struct eval *e, const struct kj_tnode *x, struct kj_jval *out)
{
    size_t n = 0;
    bool dict = x->kind == KJ_T_DICT;
    int rc = KJ_OK;
    for (const struct kj_tnode *i = x->a; i; i = i->next)
        n++;
    n /= dict ? 2 : 1;
    *out = (struct kj_jval){.kind = dict ? KJ_J_OBJECT : KJ_J_ARRAY};
    out->items = kj_arena_zalloc(e->a, (n + 1) * sizeof *out->items);
    out->keys = dict ? kj_arena_zalloc(e->a, (n + 1) * sizeof *out->keys) : NULL;
    out->n = n;
    if (!out->items || (dict && !out->keys))
        return bad(e, "the list is too long");
    const struct kj_tnode *i = x->a;
    for (size_t k = 0; k < n && rc == KJ_OK; k++) {
        struct kj_jval key;
        if (dict && (rc = value(e, i, &key)) == KJ_OK) {
            if (key.kind != KJ_J_STR)
                return bad(e, "keys are strings");
            out->keys[k] = key.s;
            i = i->next;
        }
        if (rc == KJ_OK)
            rc = value(e, i, &out->items[k]);
        i = i->next;
    }
    return rc;
}

/* The last member of equal name counts, as in Python. */
static const struct kj_jval *member(const struct kj_jval *v, struct kj_str key)
{
    for (size_t i = v->n; i-- > 0;)
        if (kj_str_eq(v->keys[i], key))
            return &v->items[i];
    return NULL;
}

static int item(struct eval *e, const struct kj_jval *v, const struct kj_jval *k,
                struct kj_jval *out)
{
    int64_t i;
    if (v->kind == KJ_J_ARRAY && whole(k, &i)) {
        i += i < 0 ? (int64_t)v->n : 0;
        if (i < 0 || (uint64_t)i >= v->n)
            return kj_err_set(e->err, KJ_BAD_RECORD,
                              "a list has %zu entries, none at %" PRId64, v->n, k->i);
        *out = v->items[i];
        return KJ_OK;
    }
    if (v->kind != KJ_J_OBJECT || k->kind != KJ_J_STR)
        return kj_err_set(e->err, KJ_BAD_RECORD, "%s has no entry that is named by %s",
                          kind_of(v), kind_of(k));
    const struct kj_jval *m = member(v, k->s);
    if (!m)
        return kj_err_set(e->err, KJ_BAD_RECORD, "no entry \"%.*s\"",
                          (int)(k->s.n < 64 ? k->s.n : 64), k->s.p);
    *out = *m;
    return KJ_OK;
}

static int replace(struct eval *e, struct kj_str s, struct kj_str from,
                   struct kj_str to, struct kj_jval *out)
{
    struct kj_buf b;
    if (!from.n)
        return bad(e, "nothing cannot be replaced");
    kj_buf_init(&b, VALUE_MAX);
    int rc = KJ_OK;
    for (size_t i = 0; i < s.n && rc == KJ_OK;) {
        bool hit = s.n - i >= from.n && memcmp(s.p + i, from.p, from.n) == 0;
        rc = hit ? kj_buf_add(&b, to.p, to.n) : kj_buf_addc(&b, s.p[i]);
        i += hit ? from.n : 1;
    }
    rc = rc ? bad(e, "the text is too long") : keep(e, &b, out);
    kj_buf_release(&b);
    return rc;
}

/* int("  12 ") as Python and Jinja's filter have it; where Jinja would give its
 * default, or a number with a fraction would be cut, this refuses. */
static int to_int(struct eval *e, struct kj_jval *v)
{
    int64_t i = 0;
    if (whole(v, &i)) {
        *v = (struct kj_jval){.kind = KJ_J_INT, .i = i};
        return KJ_OK;
    }
    if (v->kind != KJ_J_STR)
        return kj_err_set(e->err, KJ_BAD_RECORD, "%s is no whole number", kind_of(v));
    struct kj_str s = kj_template_strip(v->s, 1, 1);
    bool minus = s.n && s.p[0] == '-';
    size_t at = minus || (s.n && s.p[0] == '+');
    if (at == s.n || s.n - at > 18)
        return bad(e, "a string is no whole number");
    for (; at < s.n; at++) {
        if (s.p[at] < '0' || s.p[at] > '9')
            return bad(e, "a string is no whole number");
        i = 10 * i + (s.p[at] - '0');
    }
    *v = (struct kj_jval){.kind = KJ_J_INT, .i = minus ? -i : i};
    return KJ_OK;
}

static int text_of(struct eval *e, struct kj_jval *v)
{
    if (v->kind == KJ_J_STR)
        return KJ_OK;
    struct kj_buf b;
    kj_buf_init(&b, VALUE_MAX);
    int rc = kj_template_put(v, &b, e->err);
    rc = rc ? rc : keep(e, &b, v);
    kj_buf_release(&b);
    return rc;
}

static int length(struct eval *e, struct kj_jval *v)
{
    size_t n = v->n;
    if (v->kind == KJ_J_STR) {
        n = 0;
        for (size_t i = 0; i < v->s.n; i++)
            n += ((unsigned char)v->s.p[i] & 0xC0) != 0x80;
    } else if (v->kind < KJ_J_ARRAY) {
        return kj_err_set(e->err, KJ_BAD_RECORD, "%s has no length", kind_of(v));
    }
    *v = (struct kj_jval){.kind = KJ_J_INT, .i = (int64_t)n};
    return KJ_OK;
}

static int call(struct eval *e, const struct kj_tnode *x, struct kj_jval *v)
{
    struct kj_jval b = {0}, c = {0};
    struct kj_buf low;
    int rc = value(e, x->a, v);
    if (rc == KJ_OK && x->b)
        rc = value(e, x->b, &b);
    if (rc == KJ_OK && x->c)
        rc = value(e, x->c, &c);
    if (rc)
        return rc;
    if (x->fn == KJ_TF_INT)
        return to_int(e, v);
    if (x->fn == KJ_TF_LENGTH)
        return length(e, v);
    if (x->filter && (rc = text_of(e, v)))
        return rc;
    if (v->kind != KJ_J_STR || (x->b && (b.kind != KJ_J_STR || c.kind != KJ_J_STR)))
        return kj_err_set(e->err, KJ_BAD_RECORD, "%s where a string is needed",
                          kind_of(v->kind != KJ_J_STR  ? v
                                  : b.kind != KJ_J_STR ? &b
                                                       : &c));
    switch (x->fn) {
    case KJ_TF_REPLACE:
        return replace(e, v->s, b.s, c.s, v);
    case KJ_TF_LOWER:
        kj_buf_init(&low, VALUE_MAX);
        rc = kj_uni_lower_str(&low, v->s.p, v->s.n);
        rc = rc ? bad(e, "the text is too long") : keep(e, &low, v);
        kj_buf_release(&low);
        return rc;
    case KJ_TF_STRIP:
    case KJ_TF_LSTRIP:
    case KJ_TF_RSTRIP:
    case KJ_TF_TRIM:
        v->s = kj_template_strip(v->s, x->fn != KJ_TF_RSTRIP, x->fn != KJ_TF_LSTRIP);
        return KJ_OK;
    default:
        return KJ_OK;
    }
}

static int add(struct eval *e, const struct kj_jval *x, const struct kj_jval *y,
               bool minus, struct kj_jval *out)
{
    int64_t i, j, k;
    if (whole(x, &i) && whole(y, &j)) {
        if (minus ? __builtin_sub_overflow(i, j, &k) : __builtin_add_overflow(i, j, &k))
            return bad(e, "a number is too large");
        *out = (struct kj_jval){.kind = KJ_J_INT, .i = k};
        return KJ_OK;
    }
    if (minus || x->kind != y->kind || (x->kind != KJ_J_STR && x->kind != KJ_J_ARRAY))
        return kj_err_set(e->err, KJ_BAD_RECORD, "%s %c %s cannot be done", kind_of(x),
                          minus ? '-' : '+', kind_of(y));
    if (x->kind == KJ_J_STR) {
        char *p = kj_arena_alloc(e->a, x->s.n + y->s.n + 1);
        if (!p)
            return bad(e, "the text is too long");
        if (x->s.n)
            memcpy(p, x->s.p, x->s.n);
        if (y->s.n)
            memcpy(p + x->s.n, y->s.p, y->s.n);
        *out = (struct kj_jval){.kind = KJ_J_STR, .s = {p, x->s.n + y->s.n}};
        return KJ_OK;
    }
    struct kj_jval *p = kj_arena_alloc(e->a, (x->n + y->n + 1) * sizeof *p);
    if (!p)
        return bad(e, "the list is too long");
    for (size_t k2 = 0; k2 < x->n + y->n; k2++)
        p[k2] = k2 < x->n ? x->items[k2] : y->items[k2 - x->n];
    *out = (struct kj_jval){.kind = KJ_J_ARRAY, .items = p, .n = x->n + y->n};
    return KJ_OK;
}

static int pair(struct eval *e, const struct kj_tnode *x, struct kj_jval *out)
{
    struct kj_jval a, b;
    bool same = false;
    int rc = value(e, x->a, &a);
    rc = rc ? rc : value(e, x->b, &b);
    if (rc)
        return rc;
    switch (x->kind) {
    case KJ_T_INDEX:
        return item(e, &a, &b, out);
    case KJ_T_ADD:
    case KJ_T_SUB:
        return add(e, &a, &b, x->kind == KJ_T_SUB, out);
    case KJ_T_JOIN:
        rc = text_of(e, &a);
        rc = rc ? rc : text_of(e, &b);
        return rc ? rc : add(e, &a, &b, false, out);
    default:
        rc = equal(e, &a, &b, &same);
        *out = (struct kj_jval){.kind = KJ_J_BOOL, .b = same == (x->kind == KJ_T_EQ)};
        return rc;
    }
}

static int value(struct eval *e, const struct kj_tnode *x, struct kj_jval *out)
{
    const struct kj_jval *m;
    struct kj_jval c, zero = {.kind = KJ_J_INT};
    int rc;
    switch (x->kind) {
    case KJ_T_TEXT:
    case KJ_T_VALUE:
        *out = x->val;
        return KJ_OK;
    case KJ_T_NAME:
        m = e->doc->kind == KJ_J_OBJECT ? member(e->doc, x->val.s) : NULL;
        if (!m)
            return kj_err_set(e->err, KJ_BAD_RECORD, "there is no field \"%.*s\"",
                              (int)(x->val.s.n < 64 ? x->val.s.n : 64), x->val.s.p);
        *out = *m;
        return KJ_OK;
    case KJ_T_LIST:
    case KJ_T_DICT:
        return list(e, x, out);
    case KJ_T_MINUS:
        rc = value(e, x->a, &c);
        return rc ? rc : add(e, &zero, &c, true, out);
    case KJ_T_IF:
        rc = value(e, x->c, &c);
        return rc ? rc : value(e, truth(&c) ? x->a : x->b, out);
    case KJ_T_CALL:
        return call(e, x, out);
    default:
        return pair(e, x, out);
    }
}

int kj_template_value(const struct kj_template *t, const struct kj_jval *doc,
                      struct kj_arena *a, struct kj_jval *out, struct kj_err *err)
{
    struct eval e = {doc, a, err};
    struct kj_buf b;
    if (t->n_parts == 1)
        return value(&e, t->parts, out);
    kj_buf_init(&b, VALUE_MAX);
    int rc = kj_template_render(t, doc, a, &b, err);
    rc = rc ? rc : keep(&e, &b, out);
    kj_buf_release(&b);
    return rc;
}

int kj_template_render(const struct kj_template *t, const struct kj_jval *doc,
                       struct kj_arena *a, struct kj_buf *out, struct kj_err *err)
{
    struct eval e = {doc, a, err};
    struct kj_jval v;
    int rc = KJ_OK;
    for (const struct kj_tnode *x = t->parts; x && rc == KJ_OK; x = x->next) {
        rc = value(&e, x, &v);
        rc = rc ? rc : kj_template_put(&v, out, err);
    }
    return rc;
}

const char *kj_template_plain(const struct kj_template *t)
{
    if (!t->plain)
        return NULL;
    return t->parts ? t->parts->val.s.p : "";
}
