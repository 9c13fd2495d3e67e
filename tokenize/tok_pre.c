/* tok_pre.c - the pre-tokenizer: a chain of steps that cut text into words.
 *
 * A step cuts each piece that the step before it left. Words go to a callback
 * as soon as they are known; only steps whose behaviour looks at neighbours,
 * or whose pattern has no scanner, list their pieces first. Pieces are cut as
 * the reference does: a pattern sees the piece alone, so that look-ahead ends
 * with it, and empty pieces vanish.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "tokenize/tok_internal.h"

#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/utf8.h"

/* Back-tracking that a pattern may spend on one match before the document is
 * given up; the published patterns need none to speak of. */
#define MATCH_LIMIT   10000000u
#define JIT_STACK_MAX (8u << 20)

void tok_pre_release(struct tok_pre *pre)
{
    for (size_t i = 0; i < pre->n_steps; i++)
        pcre2_code_free(pre->steps[i].re);
    pre->n_steps = 0;
}

void tok_pre_state_init(struct tok_pre_state *s, const struct tok_pre *pre)
{
    memset(s, 0, sizeof *s);
    s->pre = pre;
    for (size_t i = 0; i < TOK_STEPS_MAX; i++)
        kj_buf_init(&s->text[i], (size_t)1 << 30);
    for (size_t i = 0; i < pre->n_steps && !s->match; i++) {
        if (!pre->steps[i].re)
            continue;
        s->match = pcre2_match_data_create(1, NULL);
        s->context = pcre2_match_context_create(NULL);
        s->stack = pcre2_jit_stack_create(32 << 10, JIT_STACK_MAX, NULL);
        pcre2_set_match_limit(s->context, MATCH_LIMIT);
        pcre2_jit_stack_assign(s->context, NULL, s->stack);
    }
}

void tok_pre_state_release(struct tok_pre_state *s)
{
    for (size_t i = 0; i < TOK_STEPS_MAX; i++) {
        free(s->spans[i].v);
        kj_buf_release(&s->text[i]);
    }
    pcre2_match_data_free(s->match);
    pcre2_match_context_free(s->context);
    pcre2_jit_stack_free(s->stack);
    memset(s, 0, sizeof *s);
}

static void span_add(struct tok_spans *l, size_t b, size_t e, bool match)
{
    if (l->n == l->cap) {
        l->cap = l->cap ? 2 * l->cap : 256;
        l->v = kj_xrealloc(l->v, l->cap * sizeof *l->v);
    }
    l->v[l->n++] = (struct tok_span){b, e, match};
}

/* Matches and the gaps between them, in order. */
static void span_match(struct tok_spans *l, size_t *done, size_t b, size_t e)
{
    if (*done < b)
        span_add(l, *done, b, false);
    span_add(l, b, e, true);
    *done = e;
}

static int match_regex(struct tok_pre_state *s, const struct tok_step *st,
                       const char *p, size_t n, struct tok_spans *l, struct kj_err *err)
{
    size_t at = 0, done = 0;
    while (at <= n) {
        int rc = pcre2_match(st->re, (PCRE2_SPTR)p, n, at, PCRE2_NO_UTF_CHECK, s->match,
                             s->context);
        if (rc == PCRE2_ERROR_NOMATCH)
            break;
        if (rc < 0)
            return kj_err_set(err, KJ_BAD_RECORD,
                              "the split pattern gave up at byte %zu (PCRE2 error %d)",
                              at, rc);
        const PCRE2_SIZE *v = pcre2_get_ovector_pointer(s->match);
        if (v[1] < v[0]) /* \K in a look-ahead */
            return kj_err_set(err, KJ_BAD_RECORD, "the split pattern runs backwards");
        span_match(l, &done, v[0], v[1]);
        at = v[1];
        if (v[0] == v[1]) { /* an empty match: go on behind the next character */
            if (at == n)
                break;
            do
                at++;
            while (at < n && ((unsigned char)p[at] & 0xC0) == 0x80);
        }
    }
    if (done < n)
        span_add(l, done, n, false);
    return KJ_OK;
}

static void match_literal(const struct kj_str *z, const char *p, size_t n,
                          struct tok_spans *l)
{
    size_t done = 0, at = 0;
    while (z->n && at + z->n <= n) {
        const char *q = memchr(p + at, z->p[0], n - at - z->n + 1);
        if (!q)
            break;
        at = (size_t)(q - p);
        if (memcmp(q, z->p, z->n) != 0) {
            at++;
            continue;
        }
        span_match(l, &done, at, at + z->n);
        at += z->n;
    }
    if (done < n)
        span_add(l, done, n, false);
}

static void match_scan(enum tok_scan scan, const char *p, size_t n, struct tok_spans *l)
{
    for (size_t at = 0, end; at < n; at = end) {
        end = tok_scan_next(scan, p, n, at);
        span_add(l, at, end, true);
    }
}

/* The reference's digits are Rust's char::is_numeric: \p{N}. */
static void match_digits(bool individual, const char *p, size_t n, struct tok_spans *l)
{
    size_t done = 0;
    for (size_t at = 0, len; at < n; at += len) {
        if (!tok_ref_number(kj_utf8_next(p + at, n - at, &len)))
            continue;
        size_t b = at;
        at += len;
        while (!individual && at < n &&
               tok_ref_number(kj_utf8_next(p + at, n - at, &len)))
            at += len;
        span_match(l, &done, b, at);
        len = 0;
    }
    if (done < n)
        span_add(l, done, n, false);
}

/* Rework matches and gaps into pieces, in place. A piece that is to vanish
 * becomes empty. */
static void behave(struct tok_spans *l, const struct tok_step *st)
{
    size_t n = 0;
    bool before = false;
    for (size_t i = 0; st->invert && i < l->n; i++)
        l->v[i].match = !l->v[i].match;
    switch (st->behavior) {
    case TOK_ISOLATED:
        return;
    case TOK_REMOVED:
        for (size_t i = 0; i < l->n; i++)
            if (!l->v[i].match)
                l->v[n++] = l->v[i];
        break;
    case TOK_CONTIGUOUS:
        for (size_t i = 0; i < l->n; i++) {
            if (n && l->v[n - 1].match == l->v[i].match)
                l->v[n - 1].e = l->v[i].e;
            else
                l->v[n++] = l->v[i];
        }
        break;
    case TOK_WITH_PREVIOUS:
        for (size_t i = 0; i < l->n; i++) {
            bool m = l->v[i].match;
            if (m && !before && n)
                l->v[n - 1].e = l->v[i].e;
            else
                l->v[n++] = l->v[i];
            before = m;
        }
        break;
    case TOK_WITH_NEXT: /* the same from behind; pieces gather at the end */
        n = l->n;
        for (size_t i = l->n; i-- > 0;) {
            bool m = l->v[i].match;
            if (m && !before && n < l->n)
                l->v[n].b = l->v[i].b;
            else
                l->v[--n] = l->v[i];
            before = m;
        }
        memmove(l->v, l->v + n, (l->n - n) * sizeof *l->v);
        n = l->n - n;
        break;
    }
    l->n = n;
}

/* Whether a scanner's words are the step's pieces: the patterns leave no gap. */
static bool direct(const struct tok_step *st)
{
    return st->scan != TOK_SCAN_NONE && ((st->behavior == TOK_ISOLATED) ||
                                         (st->behavior == TOK_REMOVED && st->invert));
}

enum tok_scan tok_pre_scan(const struct tok_pre *pre)
{
    enum tok_scan scan = TOK_SCAN_NONE;
    for (size_t i = 0; i < pre->n_steps; i++) {
        const struct tok_step *st = &pre->steps[i];
        if (st->kind == TOK_STEP_BYTES ? st->prefix_space : !direct(st))
            return TOK_SCAN_NONE;
        if (st->scan != TOK_SCAN_NONE && scan != TOK_SCAN_NONE)
            return TOK_SCAN_NONE;
        scan = st->scan != TOK_SCAN_NONE ? st->scan : scan;
    }
    return scan;
}

static int apply(struct tok_pre_state *s, size_t level, const char *p, size_t n,
                 tok_word_fn *fn, void *ctx, struct kj_err *err);

static int step_bytes(struct tok_pre_state *s, size_t level, const char **p, size_t *n,
                      struct kj_err *err)
{
    struct kj_buf *b = &s->text[level];
    if (!s->pre->steps[level].prefix_space || **p == ' ')
        return KJ_OK;
    kj_buf_reset(b);
    if (kj_buf_addc(b, ' ') || kj_buf_add(b, *p, *n))
        return kj_err_set(err, KJ_BAD_RECORD, "text too long");
    *p = b->p;
    *n = b->n;
    return KJ_OK;
}

/* Spaces to the sign, and one in front. */
static int step_meta(struct tok_pre_state *s, size_t level, const char **p, size_t *n,
                     struct kj_err *err)
{
    const struct tok_step *st = &s->pre->steps[level];
    struct kj_buf *b = &s->text[level];
    size_t k = st->sign.n;
    bool has = **p == ' ' || (*n >= k && memcmp(*p, st->sign.p, k) == 0);
    bool put = st->first == TOK_FIRST_ALWAYS ||
               (st->first == TOK_FIRST_START && *p == s->begin);
    int rc = KJ_OK;
    kj_buf_reset(b);
    if (put && !has)
        rc = kj_buf_add(b, st->sign.p, k);
    for (size_t at = 0; at < *n && rc == KJ_OK;) {
        const char *sp = memchr(*p + at, ' ', *n - at);
        size_t to = sp ? (size_t)(sp - *p) : *n;
        rc = kj_buf_add(b, *p + at, to - at);
        if (sp && rc == KJ_OK)
            rc = kj_buf_add(b, st->sign.p, k);
        at = to + (sp != NULL);
    }
    *p = b->p;
    *n = b->n;
    return rc == KJ_OK ? rc : kj_err_set(err, KJ_BAD_RECORD, "text too long");
}

static bool is_space(uint32_t c)
{
    return kj_uni_space(c);
}

/* Every character of a class is a match. */
static void match_chars(bool (*is)(uint32_t c), const char *p, size_t n,
                        struct tok_spans *l)
{
    size_t done = 0;
    for (size_t at = 0, len; at < n; at += len)
        if (is(kj_utf8_next(p + at, n - at, &len)))
            span_match(l, &done, at, at + len);
    if (done < n)
        span_add(l, done, n, false);
}

/* \w+|[^\w\s]+ */
static void match_words(const char *p, size_t n, struct tok_spans *l)
{
    size_t done = 0;
    for (size_t at = 0, len; at < n; at += len) {
        uint32_t c = kj_utf8_next(p + at, n - at, &len);
        if (kj_uni_space(c))
            continue;
        bool word = tok_ref_word(c);
        size_t b = at;
        for (at += len; at < n; at += len) {
            c = kj_utf8_next(p + at, n - at, &len);
            if (kj_uni_space(c) || tok_ref_word(c) != word)
                break;
        }
        span_match(l, &done, b, at);
        len = 0;
    }
    if (done < n)
        span_add(l, done, n, false);
}

static int step_spans(struct tok_pre_state *s, size_t level, const char *p, size_t n,
                      tok_word_fn *fn, void *ctx, struct kj_err *err)
{
    const struct tok_step *st = &s->pre->steps[level];
    struct tok_spans *l = &s->spans[level];
    int rc = KJ_OK;
    l->n = 0;
    if (st->kind == TOK_STEP_DIGITS)
        match_digits(st->individual, p, n, l);
    else if (st->kind == TOK_STEP_SPACE)
        match_chars(is_space, p, n, l);
    else if (st->kind == TOK_STEP_PUNCT)
        match_chars(tok_ref_punct, p, n, l);
    else if (st->kind == TOK_STEP_WORDS)
        match_words(p, n, l);
    else if (st->kind == TOK_STEP_META)
        match_literal(&st->sign, p, n, l);
    else if (st->scan != TOK_SCAN_NONE)
        match_scan(st->scan, p, n, l);
    else if (st->re)
        rc = match_regex(s, st, p, n, l, err);
    else
        match_literal(&st->literal, p, n, l);
    if (rc != KJ_OK)
        return rc;
    behave(l, st);
    for (size_t i = 0; i < l->n && rc == KJ_OK; i++)
        rc = apply(s, level + 1, p + l->v[i].b, l->v[i].e - l->v[i].b, fn, ctx, err);
    return rc;
}

static int apply(struct tok_pre_state *s, size_t level, const char *p, size_t n,
                 tok_word_fn *fn, void *ctx, struct kj_err *err)
{
    if (n == 0)
        return KJ_OK;
    if (level == s->pre->n_steps)
        return fn(ctx, p, n, err);
    const struct tok_step *st = &s->pre->steps[level];
    if (st->kind == TOK_STEP_BYTES) {
        int rc = step_bytes(s, level, &p, &n, err);
        if (rc != KJ_OK)
            return rc;
        if (st->scan == TOK_SCAN_NONE)
            return apply(s, level + 1, p, n, fn, ctx, err);
    } else if (st->kind == TOK_STEP_META) {
        int rc = step_meta(s, level, &p, &n, err);
        if (rc != KJ_OK)
            return rc;
        return st->split ? step_spans(s, level, p, n, fn, ctx, err)
                         : apply(s, level + 1, p, n, fn, ctx, err);
    } else if (!direct(st)) {
        return step_spans(s, level, p, n, fn, ctx, err);
    }
    for (size_t at = 0, end; at < n; at = end) {
        end = tok_scan_next(st->scan, p, n, at);
        int rc = apply(s, level + 1, p + at, end - at, fn, ctx, err);
        if (rc != KJ_OK)
            return rc;
    }
    return KJ_OK;
}

int tok_pre_run(struct tok_pre_state *s, const char *p, size_t n, tok_word_fn *fn,
                void *ctx, struct kj_err *err)
{
    return apply(s, 0, p, n, fn, ctx, err);
}
