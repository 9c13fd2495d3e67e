/* tok_norm.c - the normalizers, as the reference does them: by single characters,
 * without regard to their neighbours but in normal forms and patterns. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "tokenize/tok_internal.h"

#include <pcre2.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/json.h"
#include "base/utf8.h"

/* ---- running ---- */

static int put(struct kj_buf *b, uint32_t c)
{
    char z[4];
    return kj_buf_add(b, z, kj_utf8_put(c, z));
}

/* Rust's char::to_lowercase: one character has a mapping to two. */
static int put_lower(struct kj_buf *b, uint32_t c)
{
    if (c == 0x130)
        return kj_buf_add(b, "i\xCC\x87", 3);
    return put(b, tok_ref_lower(c));
}

static int lower(struct kj_buf *out, const char *p, size_t n)
{
    int rc = KJ_OK;
    for (size_t at = 0, len; at < n && rc == KJ_OK; at += len)
        rc = put_lower(out, kj_utf8_next(p + at, n - at, &len));
    return rc;
}

static int strip(const struct tok_norm *m, struct kj_buf *out, const char *p, size_t n)
{
    size_t len;
    while (m->left && n && kj_uni_space(kj_utf8_next(p, n, &len))) {
        p += len;
        n -= len;
    }
    while (m->right && n) {
        size_t b = n - 1;
        while (b && ((unsigned char)p[b] & 0xC0) == 0x80)
            b--;
        if (!kj_uni_space(kj_utf8_next(p + b, n - b, &len)))
            break;
        n = b;
    }
    return kj_buf_add(out, p, n);
}

static int drop_marks(struct kj_buf *out, const char *p, size_t n, bool nonspacing)
{
    int rc = KJ_OK;
    for (size_t at = 0, len; at < n && rc == KJ_OK; at += len) {
        uint32_t c = kj_utf8_next(p + at, n - at, &len);
        if (nonspacing ? !tok_ref_nonspacing(c) : !tok_ref_mark(c))
            rc = kj_buf_add(out, p + at, len);
    }
    return rc;
}

static bool chinese(uint32_t c)
{
    return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) ||
           (c >= 0x20000 && c <= 0x2A6DF) || (c >= 0x2A700 && c <= 0x2B73F) ||
           (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) ||
           (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

static int bert_chars(const struct tok_norm *m, struct kj_buf *out, const char *p,
                      size_t n)
{
    int rc = KJ_OK;
    for (size_t at = 0, len; at < n && rc == KJ_OK; at += len) {
        uint32_t c = kj_utf8_next(p + at, n - at, &len);
        if (m->clean && (c == '\t' || c == '\n' || c == '\r'))
            c = ' ';
        else if (m->clean && tok_ref_dropped(c))
            continue;
        else if (m->clean && kj_uni_space(c))
            c = ' ';
        bool apart = m->chinese && chinese(c);
        if (apart)
            rc = kj_buf_addc(out, ' ');
        if (rc == KJ_OK)
            rc = put(out, c);
        if (apart && rc == KJ_OK)
            rc = kj_buf_addc(out, ' ');
    }
    return rc;
}

static int bert(const struct tok_norm *m, struct kj_buf *out, const char *p, size_t n)
{
    struct kj_buf a, b;
    kj_buf_init(&a, out->cap);
    kj_buf_init(&b, out->cap);
    int rc = bert_chars(m, &a, p, n);
    if (rc == KJ_OK && m->accents)
        rc = tok_ref_normalize(&b, KJ_NFD, a.p, a.n);
    if (rc == KJ_OK && m->accents) {
        kj_buf_reset(&a);
        rc = drop_marks(&a, b.p, b.n, true);
    }
    if (rc == KJ_OK)
        rc = m->lower ? lower(out, a.p, a.n) : kj_buf_add(out, a.p, a.n);
    kj_buf_release(&a);
    kj_buf_release(&b);
    return rc;
}

static int replace(const struct tok_norm *m, struct kj_buf *out, const char *p,
                   size_t n)
{
    size_t done = 0, at = 0;
    int rc = KJ_OK;
    pcre2_match_data *match = m->re ? pcre2_match_data_create(1, NULL) : NULL;
    while (rc == KJ_OK && at <= n) {
        size_t b, e;
        if (m->re) {
            int k = pcre2_match(m->re, (PCRE2_SPTR)p, n, at, PCRE2_NO_UTF_CHECK, match,
                                NULL);
            const PCRE2_SIZE *v = pcre2_get_ovector_pointer(match);
            if (k != PCRE2_ERROR_NOMATCH && (k < 0 || v[1] < v[0]))
                rc = KJ_BAD_RECORD;
            if (k < 0 || rc != KJ_OK)
                break;
            b = v[0];
            e = v[1];
        } else {
            const char *q = tok_find(p + at, n - at, m->from);
            if (!q)
                break;
            b = (size_t)(q - p);
            e = b + m->from.n;
        }
        rc = kj_buf_add(out, p + done, b - done);
        if (rc == KJ_OK)
            rc = kj_buf_add(out, m->to.p, m->to.n);
        done = at = e;
        if (b == e) { /* an empty match: on behind the next character */
            size_t len = 1;
            if (at < n)
                kj_utf8_next(p + at, n - at, &len);
            at += len;
        }
    }
    pcre2_match_data_free(match);
    return rc == KJ_OK ? kj_buf_add(out, p + done, n - done) : rc;
}

/* What SentencePiece takes out of text for translation, and for white space. */
static int nmt(struct kj_buf *out, const char *p, size_t n)
{
    int rc = KJ_OK;
    for (size_t at = 0, len; at < n && rc == KJ_OK; at += len) {
        uint32_t c = kj_utf8_next(p + at, n - at, &len);
        if ((c && c <= 0x08) || c == 0x0B || (c >= 0x0E && c <= 0x1F) || c == 0x7F ||
            c == 0x8F || c == 0x9F)
            continue;
        bool blank = c == 0x09 || c == 0x0A || c == 0x0C || c == 0x0D || c == 0x1680 ||
                     (c >= 0x200B && c <= 0x200F) || c == 0x2028 || c == 0x2029 ||
                     c == 0x2581 || c == 0xFEFF || c == 0xFFFD;
        rc = blank ? kj_buf_addc(out, ' ') : kj_buf_add(out, p + at, len);
    }
    return rc;
}

int tok_norm_run(const struct tok_norm *m, struct kj_buf *out, const char *p, size_t n)
{
    int rc;
    switch (m->kind) {
    case TOK_NORM_FORM:
        return tok_ref_normalize(out, m->form, p, n);
    case TOK_NORM_LOWER:
        return lower(out, p, n);
    case TOK_NORM_STRIP:
        return strip(m, out, p, n);
    case TOK_NORM_ACCENTS:
        return drop_marks(out, p, n, false);
    case TOK_NORM_BERT:
        return bert(m, out, p, n);
    case TOK_NORM_PREPEND:
        rc = n ? kj_buf_add(out, m->to.p, m->to.n) : KJ_OK;
        return rc == KJ_OK ? kj_buf_add(out, p, n) : rc;
    case TOK_NORM_REPLACE:
        return replace(m, out, p, n);
    case TOK_NORM_CHARSMAP:
        return tok_charsmap_run(&m->map, out, p, n);
    case TOK_NORM_NMT:
        return nmt(out, p, n);
    }
    return KJ_BAD_RECORD;
}

bool tok_norm_idle(const struct tok_norm *m, const char *p, size_t n)
{
    if (m->kind == TOK_NORM_FORM)
        return m->form == KJ_NFC && kj_uni_is_nfc(p, n);
    if (m->kind == TOK_NORM_REPLACE && !m->re)
        return !tok_find(p, n, m->from);
    return false;
}

/* ---- loading ---- */

static int load_bert(struct tok_norm *m, const struct kj_jval *v, const char *path,
                     struct kj_err *err)
{
    int rc = tok_want_bool(v, path, "clean_text", true, &m->clean, err);
    if (rc == KJ_OK)
        rc = tok_want_bool(v, path, "handle_chinese_chars", true, &m->chinese, err);
    if (rc == KJ_OK)
        rc = tok_want_bool(v, path, "lowercase", true, &m->lower, err);
    if (rc == KJ_OK)
        rc = tok_want_bool(v, path, "strip_accents", m->lower, &m->accents, err);
    return rc;
}

int tok_norm_replace(struct tok_norm *m, const struct kj_jval *v, const char *path,
                     struct kj_arena *a, struct kj_err *err)
{
    m->kind = TOK_NORM_REPLACE;
    const struct kj_jval *pat = kj_jget(v, "pattern");
    struct kj_str re = kj_jstr(kj_jget(pat, "Regex"));
    struct kj_str z = kj_jstr(kj_jget(pat, "String"));
    struct kj_str to = kj_jstr(kj_jget(v, "content"));
    if (!to.p)
        REFUSE("%s.content: not a string", path);
    if (!re.p && !z.n)
        REFUSE("%s.pattern: neither Regex nor String", path);
    m->to = (struct kj_str){kj_arena_dup(a, to.p, to.n), to.n};
    if (!re.p) {
        m->from = (struct kj_str){kj_arena_dup(a, z.p, z.n), z.n};
        return KJ_OK;
    }
    struct tok_step st = {0};
    char z2[TOK_PATTERN_MAX];
    /* Not by a scanner, if it happens to be a known pattern. */
    int k =
        snprintf(z2, sizeof z2, "(?:)%.*s", (int)(re.n < 65536 ? re.n : 65536), re.p);
    if (k < 0 || (size_t)k >= sizeof z2)
        REFUSE("%s.pattern: too long", path);
    int rc = tok_pattern_compile(&st, TOK_ONIGURUMA, z2, (size_t)k, path, err);
    m->re = st.re;
    return rc;
}

static int load_one(struct tok_norm *m, struct kj_str type, const struct kj_jval *v,
                    const char *path, struct kj_arena *a, struct kj_err *err)
{
    static const char *const names[] = {"NFC", "NFD", "NFKC", "NFKD"};
    static const enum kj_nf forms[] = {KJ_NFC, KJ_NFD, KJ_NFKC, KJ_NFKD};
    for (size_t i = 0; i < 4; i++)
        if (kj_str_is(type, names[i])) {
            m->kind = TOK_NORM_FORM;
            m->form = forms[i];
            return KJ_OK;
        }
    if (kj_str_is(type, "Lowercase")) {
        m->kind = TOK_NORM_LOWER;
        return KJ_OK;
    }
    if (kj_str_is(type, "StripAccents")) {
        m->kind = TOK_NORM_ACCENTS;
        return KJ_OK;
    }
    if (kj_str_is(type, "Nmt")) {
        m->kind = TOK_NORM_NMT;
        return KJ_OK;
    }
    if (kj_str_is(type, "Strip")) {
        m->kind = TOK_NORM_STRIP;
        int rc = tok_want_bool(v, path, "strip_left", true, &m->left, err);
        return rc ? rc : tok_want_bool(v, path, "strip_right", true, &m->right, err);
    }
    if (kj_str_is(type, "BertNormalizer")) {
        m->kind = TOK_NORM_BERT;
        return load_bert(m, v, path, err);
    }
    if (kj_str_is(type, "Prepend")) {
        struct kj_str z = kj_jstr(kj_jget(v, "prepend"));
        m->kind = TOK_NORM_PREPEND;
        if (!z.p)
            REFUSE("%s.prepend: not a string", path);
        m->to = (struct kj_str){kj_arena_dup(a, z.p, z.n), z.n};
        return KJ_OK;
    }
    if (kj_str_is(type, "Replace")) {
        return tok_norm_replace(m, v, path, a, err);
    }
    if (kj_str_is(type, "Precompiled")) {
        struct kj_str z = kj_jstr(kj_jget(v, "precompiled_charsmap"));
        m->kind = TOK_NORM_CHARSMAP;
        if (!z.p || !tok_charsmap_load(&m->map, z, a))
            REFUSE("%s.precompiled_charsmap: not a character map", path);
        return KJ_OK;
    }
    return tok_unsupported(type, path, err);
}

static int load(struct tok_norms *l, const struct kj_jval *v, const char *path,
                unsigned depth, struct kj_arena *a, struct kj_err *err)
{
    struct kj_str type;
    if (tok_absent(v))
        return KJ_OK;
    int rc = tok_type_of(v, path, &type, err);
    if (rc != KJ_OK)
        return rc;
    if (kj_str_is(type, "Sequence")) {
        const struct kj_jval *list = kj_jget(v, "normalizers");
        char sub[256];
        if (!list || list->kind != KJ_J_ARRAY)
            REFUSE("%s.normalizers: not an array", path);
        if (depth > 3)
            REFUSE("%s: nested too deep", path);
        for (size_t i = 0; rc == KJ_OK && i < list->n; i++) {
            snprintf(sub, sizeof sub, "%s.normalizers[%zu]", path, i);
            rc = load(l, &list->items[i], sub, depth + 1, a, err);
        }
        return rc;
    }
    if (l->n == TOK_NORMS_MAX)
        REFUSE("%s: more than %d normalizers", path, TOK_NORMS_MAX);
    return load_one(&l->v[l->n++], type, v, path, a, err);
}

int tok_norms_load(struct tok_norms *l, const struct kj_jval *v, struct kj_arena *a,
                   struct kj_err *err)
{
    return load(l, v, "normalizer", 0, a, err);
}

void tok_norm_release(struct tok_norm *m)
{
    pcre2_code_free(m->re);
    m->re = NULL;
}

void tok_norms_release(struct tok_norms *l)
{
    for (size_t i = 0; i < l->n; i++)
        tok_norm_release(&l->v[i]);
    l->n = 0;
}
