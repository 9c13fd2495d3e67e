/* normal.c - the normal form of a text, in one pass.
 *
 * Nearly all bytes are ASCII or Hangul syllables, for which each step is known
 * without looking anything up: ASCII goes through one table of 128 bytes;
 * Hangul and the unified ideographs have no case, are no digits and no
 * punctuation, and decompose by arithmetic or not at all. Only the rest (a
 * "run" of other characters) is lower-cased one by one, gathered, and
 * normalised by base/unicode.h. A run may be treated on its own because
 * canonical reordering never passes a character of combining class 0, and
 * ASCII, Hangul and ideographs are of that class.
 *
 * The one mapping of lower case that depends on its neighbours is the final
 * sigma: a text with a capital sigma is lower-cased as a whole first.
 */
#include "dedup/normal.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/unicode.h"
#include "base/utf8.h"

/* What an ASCII byte becomes; '0' to '9' are seen before. */
static const char ascii_map[128 + 1] = "                                "
                                       "                0123456789      "
                                       " abcdefghijklmnopqrstuvwxyz     "
                                       " abcdefghijklmnopqrstuvwxyz     ";

struct norm {
    struct kj_buf *out, *run;
    unsigned flags;
    const char *p;
    size_t n;
};

static bool is_space_or_punct(uint32_t c)
{
    return kj_uni_py_space(c) || kj_uni_punct(c) || kj_uni_category(c) == KJ_GC_CC;
}

/* Length of the decimal digit at i, or 0. */
static size_t digit_at(const struct norm *s, size_t i)
{
    if (i >= s->n)
        return 0;
    unsigned char c = (unsigned char)s->p[i];
    if (c < 0x80)
        return c >= '0' && c <= '9';
    size_t len;
    uint32_t u = kj_utf8_next(s->p + i, s->n - i, &len);
    return kj_uni_category(u) == KJ_GC_ND ? len : 0;
}

static size_t skip_digits(const struct norm *s, size_t i)
{
    size_t len;
    while ((len = digit_at(s, i)))
        i += len;
    return i;
}

/* End of the number that starts at i. */
static size_t skip_number(const struct norm *s, size_t i)
{
    i = skip_digits(s, i);
    if (i < s->n && s->p[i] == '.' && digit_at(s, i + 1))
        i = skip_digits(s, i + 1);
    return i;
}

static void put_space(struct kj_buf *b)
{
    if (b->n && b->p[b->n - 1] != ' ')
        b->p[b->n++] = ' ';
}

static int put_char(struct kj_buf *b, uint32_t c)
{
    char u[4];
    return kj_buf_add(b, u, kj_utf8_put(c, u));
}

/* Step 5 on the gathered characters. */
static int flush_run(struct norm *s, struct kj_buf *nfd)
{
    struct kj_buf *run = s->run;
    if (run->n == 0)
        return KJ_OK;
    size_t from = nfd->n;
    int rc = kj_uni_normalize(nfd, KJ_NFD, run->p, run->n);
    size_t w = from;
    for (size_t i = from, len; !rc && i < nfd->n; i += len) {
        uint32_t c = kj_utf8_next(nfd->p + i, nfd->n - i, &len);
        if (kj_uni_category(c) == KJ_GC_MN)
            continue;
        memmove(nfd->p + w, nfd->p + i, len);
        w += len;
    }
    nfd->n = w;
    kj_buf_reset(run);
    if (!rc && (s->flags & KJ_NORMAL_COMPOSED)) {
        rc = kj_buf_add(run, nfd->p + from, nfd->n - from);
        nfd->n = from;
        if (!rc)
            rc = kj_uni_normalize(nfd, KJ_NFC, run->p, run->n);
        kj_buf_reset(run);
    }
    return rc;
}

/* A Hangul syllable as jamo (Unicode 3.12), 6 or 9 bytes. */
static int put_jamo(struct kj_buf *b, uint32_t c)
{
    uint32_t s = c - 0xAC00;
    char u[12];
    size_t n = kj_utf8_put(0x1100 + s / 588, u);
    n += kj_utf8_put(0x1161 + s % 588 / 28, u + n);
    if (s % 28)
        n += kj_utf8_put(0x11A7 + s % 28, u + n);
    return kj_buf_add(b, u, n);
}

static bool is_syllable(uint32_t c)
{
    return c >= 0xAC00 && c <= 0xD7A3;
}

static bool is_ideograph(uint32_t c)
{
    return c >= 0x4E00 && c <= 0x9FFF;
}

/* One character beyond ASCII; *i moves behind it (or behind its number). */
static int other(struct norm *s, size_t *i)
{
    size_t len;
    uint32_t c = kj_utf8_next(s->p + *i, s->n - *i, &len);
    int rc = KJ_OK;
    if (is_syllable(c)) {
        rc = flush_run(s, s->out);
        if (rc == KJ_OK)
            rc = s->flags & KJ_NORMAL_COMPOSED ? put_char(s->out, c)
                                               : put_jamo(s->out, c);
    } else if (is_ideograph(c)) {
        rc = flush_run(s, s->out);
        if (rc == KJ_OK)
            rc = put_char(s->out, c);
    } else if ((s->flags & KJ_NORMAL_NUMBERS) && kj_uni_category(c) == KJ_GC_ND) {
        rc = flush_run(s, s->out);
        if (rc == KJ_OK)
            rc = kj_buf_addc(s->out, '0');
        *i = skip_number(s, *i);
        len = 0;
    } else if (is_space_or_punct(c)) {
        rc = flush_run(s, s->out);
        if (rc == KJ_OK)
            rc = kj_buf_reserve(s->out, 1);
        if (rc == KJ_OK)
            put_space(s->out);
    } else {
        rc = put_char(s->run, kj_uni_lower(c));
    }
    *i += len;
    return rc;
}

/* ASCII from *i on; out has room for all of it. */
static void ascii(struct norm *s, size_t *i)
{
    size_t at = *i;
    char *w = s->out->p + s->out->n, *base = s->out->p;
    bool space = w == base || w[-1] == ' ';
    for (; at < s->n; at++) {
        unsigned char c = (unsigned char)s->p[at];
        if (c >= 0x80)
            break;
        char m = ascii_map[c];
        if (m == ' ') {
            *w = ' ';
            w += !space;
            space = true;
        } else if (m > '9' || !(s->flags & KJ_NORMAL_NUMBERS)) {
            *w++ = m;
            space = false;
        } else {
            *w++ = '0';
            space = false;
            at = skip_number(s, at) - 1;
        }
    }
    s->out->n = (size_t)(w - base);
    *i = at;
}

static bool has_capital_sigma(const char *p, size_t n)
{
    const char *end = p + n;
    while ((p = memchr(p, 0xCE, (size_t)(end - p)))) {
        if (end - p > 1 && (unsigned char)p[1] == 0xA3)
            return true;
        p++;
    }
    return false;
}

static int normalize(struct norm *s)
{
    int rc = kj_buf_reserve(s->out, s->n + 1);
    kj_buf_reset(s->run);
    for (size_t i = 0; rc == KJ_OK && i < s->n;) {
        if ((unsigned char)s->p[i] < 0x80) {
            rc = flush_run(s, s->out);
            if (rc == KJ_OK)
                rc = kj_buf_reserve(s->out, s->n - i + 1);
            if (rc == KJ_OK)
                ascii(s, &i);
        } else {
            rc = other(s, &i);
        }
    }
    if (rc == KJ_OK)
        rc = flush_run(s, s->out);
    return rc;
}

int kj_dedup_normalize(struct kj_buf *out, struct kj_buf *run, unsigned flags,
                       const char *p, size_t n)
{
    struct kj_buf body;
    kj_buf_init(&body, out->cap);
    struct norm s = {.out = &body, .run = run, .flags = flags, .p = p, .n = n};
    struct kj_buf lower;
    kj_buf_init(&lower, out->cap);
    int rc = KJ_OK;
    if (has_capital_sigma(p, n)) {
        rc = kj_uni_lower_str(&lower, p, n);
        s.p = lower.p;
        s.n = lower.n;
    }
    /* at the front of an empty buffer the work is done in place */
    if (out->n == 0)
        s.out = out;
    if (rc == KJ_OK)
        rc = normalize(&s);
    if (rc == KJ_OK && s.out->n && s.out->p[s.out->n - 1] == ' ')
        s.out->n--;
    if (rc == KJ_OK && s.out != out)
        rc = kj_buf_add(out, body.p, body.n);
    kj_buf_release(&lower);
    kj_buf_release(&body);
    return rc;
}

static char lower_ascii(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

/* Does p[0..n) start with z, in any case? */
static bool starts(const char *p, size_t n, const char *z)
{
    size_t m = strlen(z);
    if (n < m)
        return false;
    for (size_t i = 0; i < m; i++)
        if (lower_ascii(p[i]) != z[i])
            return false;
    return true;
}

int kj_dedup_normalize_url(struct kj_buf *out, const char *p, size_t n)
{
    const char *port = "";
    if (starts(p, n, "http://")) {
        p += 7;
        n -= 7;
        port = ":80";
    } else if (starts(p, n, "https://")) {
        p += 8;
        n -= 8;
        port = ":443";
    }
    if (*port && starts(p, n, "www.")) {
        p += 4;
        n -= 4;
    }
    const char *hash = memchr(p, '#', n);
    if (hash)
        n = (size_t)(hash - p);
    size_t host = 0;
    while (host < n && p[host] != '/' && p[host] != '?')
        host++;
    size_t m = strlen(port), name = host;
    if (m && host >= m && memcmp(p + host - m, port, m) == 0)
        name -= m;
    int rc = KJ_OK;
    for (size_t i = 0; i < name && rc == KJ_OK; i++)
        rc = kj_buf_addc(out, lower_ascii(p[i]));
    const char *q = memchr(p + host, '?', n - host);
    size_t path = q ? (size_t)(q - p) : n, end = path;
    while (end > host && p[end - 1] == '/')
        end--;
    if (rc == KJ_OK)
        rc = kj_buf_add(out, p + host, end - host);
    return rc == KJ_OK ? kj_buf_add(out, p + path, n - path) : rc;
}
