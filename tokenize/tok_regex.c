/* tok_regex.c - regular expressions as their authors' libraries read them, for PCRE2.
 *
 * tokenizer.json is read by Oniguruma, and tiktoken's patterns by Rust's regex. Both
 * and PCRE2 say the same of nearly everything; what they mean by an escape differs:
 *
 *   \s  PCRE2 adds U+180E to White_Space
 *   \w  alphabetic characters, marks, decimal digits and connectors; Oniguruma adds the
 *       superscripts and fractions of Latin-1, Rust the two joiners. PCRE2 10.42 has
 *       letters, numbers and "_", and no marks. \b follows
 *   \h  a hexadecimal digit in Oniguruma, a blank in PCRE2
 *
 * These are spelled out. In brackets \W and \H cannot be, and brackets in brackets and
 * && mean other things there: refused. (Which characters are alphabetic is still
 * asked of PCRE2's version of Unicode.)
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "tokenize/tok_internal.h"

#include <pcre2.h>

#include "base/err.h"

#define ALPHA    "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}"
#define HEX      "0-9A-Fa-f"
#define EDGE(w)  "(?:(?<=[" w "])(?![" w "])|(?<![" w "])(?=[" w "]))"
#define INNER(w) "(?:(?<=[" w "])(?=[" w "])|(?<![" w "])(?![" w "]))"
#define ONIG     ALPHA "\\x{B2}\\x{B3}\\x{B9}\\x{BC}-\\x{BE}"
#define RUST     ALPHA "\\p{Join_Control}"

/* What an escape stands for by itself and in brackets; NULL: itself, "": nothing that
 * can be said. */
static const struct escape {
    char c;
    const char *alone[2], *inside[2]; /* by enum tok_regex */
} escapes[] = {
    {'s',
     {"\\p{White_Space}", "\\p{White_Space}"},
     {"\\p{White_Space}", "\\p{White_Space}"}},
    {'S',
     {"\\P{White_Space}", "\\P{White_Space}"},
     {"\\P{White_Space}", "\\P{White_Space}"}},
    {'w', {"[" ONIG "]", "[" RUST "]"}, {ONIG, RUST}},
    {'W', {"[^" ONIG "]", "[^" RUST "]"}, {"", ""}},
    {'b', {EDGE(ONIG), EDGE(RUST)}, {NULL, NULL}},
    {'B', {INNER(ONIG), INNER(RUST)}, {NULL, NULL}},
    {'h', {"[" HEX "]", NULL}, {HEX, NULL}},
    {'H', {"[^" HEX "]", NULL}, {"", NULL}},
};

static int escape(struct kj_buf *b, char c, bool inside, enum tok_regex kind,
                  const char *path, struct kj_err *err)
{
    const char *z = NULL;
    for (size_t i = 0; i < sizeof escapes / sizeof *escapes; i++)
        if (escapes[i].c == c)
            z = inside ? escapes[i].inside[kind] : escapes[i].alone[kind];
    if (z && !*z)
        REFUSE("%s: pattern: \\%c in brackets is not supported", path, c);
    if (z)
        return kj_buf_addz(b, z);
    int rc = kj_buf_addc(b, '\\');
    return rc == KJ_OK ? kj_buf_addc(b, c) : rc;
}

/* The opening of a class with what may stand in front of its first "]", or a named
 * one in it; the bytes taken. */
static size_t bracket(const char *p, size_t n, bool inside)
{
    size_t k = 1;
    if (inside) {
        for (k = 2; k + 1 < n && !(p[k] == ':' && p[k + 1] == ']');)
            k++;
        return k + 1 < n ? k + 2 : 0;
    }
    k += k < n && p[k] == '^';
    return k + (k < n && p[k] == ']');
}

static int translate(struct kj_buf *b, const char *p, size_t n, enum tok_regex kind,
                     const char *path, struct kj_err *err)
{
    bool inside = false;
    int rc = KJ_OK;
    for (size_t at = 0, k; at < n && rc == KJ_OK; at += k) {
        k = 1;
        if (p[at] == '\\' && at + 1 < n) {
            k = 2;
            rc = escape(b, p[at + 1], inside, kind, path, err);
            continue;
        }
        if (p[at] == '[') {
            bool named = at + 1 < n && p[at + 1] == ':';
            k = inside && !named ? 0 : bracket(p + at, n - at, inside);
            if (!k)
                REFUSE("%s: pattern: brackets in brackets are not supported", path);
            inside = true;
        } else if (inside && p[at] == ']') {
            inside = false;
        } else if (inside && p[at] == '&' && at + 1 < n && p[at + 1] == '&') {
            REFUSE("%s: pattern: && in brackets is not supported", path);
        }
        rc = kj_buf_add(b, p + at, k);
    }
    return rc;
}

int tok_pattern_compile(struct tok_step *s, enum tok_regex kind, const char *p,
                        size_t n, const char *path, struct kj_err *err)
{
    int code = 0;
    PCRE2_SIZE at = 0;
    struct kj_buf b;
    s->scan = tok_scan_known(p, n);
    if (s->scan != TOK_SCAN_NONE)
        return KJ_OK;
    if (n > TOK_PATTERN_MAX)
        REFUSE("%s: pattern: too long", path);
    kj_buf_init(&b, (size_t)1 << 24); /* each escape takes less than 256 bytes */
    int rc = translate(&b, p, n, kind, path, err);
    if (rc == KJ_OK)
        s->re = pcre2_compile((PCRE2_SPTR)b.p, b.n,
                              PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &code,
                              &at, NULL);
    kj_buf_release(&b);
    if (rc != KJ_OK)
        return rc;
    if (!s->re) {
        PCRE2_UCHAR msg[128];
        pcre2_get_error_message(code, msg, sizeof msg);
        return kj_err_set(err, KJ_FAIL, "%s: pattern, at byte %zu: %s", path,
                          (size_t)at, (const char *)msg);
    }
    /* Without JIT (a pattern that it cannot do) the interpreter answers. */
    pcre2_jit_compile(s->re, PCRE2_JIT_COMPLETE);
    return KJ_OK;
}
