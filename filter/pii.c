/* pii.c - the two finders are the expressions of FineWeb, worked out by hand.
 *
 * E-mail: a match holds exactly one '@' outside its atoms, so each '@' is
 * looked at once. Leftwards the atoms reach as far as they can; the leftmost
 * start at a word boundary is the one that a search from the left finds.
 * Rightwards the host is taken greedily. No byte is read more than twice.
 *
 * IPv4: an address has its first dot right behind one to three digits; from
 * there on everything is determined, so each dot is tried once.
 */
#include "filter/pii.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/unicode.h"
#include "base/utf8.h"

static bool digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool alnum(char c)
{
    return digit(c) || (unsigned char)((c | 32) - 'a') < 26;
}

static bool atom(char c)
{
    return alnum(c) || (c && strchr("!#$%&'*+/=?^_`{|}~-", c));
}

/* Python's \w before and at place i. */
static bool word_before(const char *p, size_t i)
{
    if (i == 0)
        return false;
    size_t s = i - 1, len;
    while (s > 0 && i - s < 4 && ((unsigned char)p[s] & 0xC0) == 0x80)
        s--;
    uint32_t c = kj_utf8_next(p + s, i - s, &len);
    return len == i - s && (c == '_' || kj_uni_alnum(c));
}

static bool boundary(const char *p, size_t i)
{
    return word_before(p, i) != (p[i] == '_' || alnum(p[i]));
}

/* Length of the number (0 to 255, at most three digits) that fills the run of
 * digits at p, 0 when it is none. */
static size_t octet(const char *p, size_t n)
{
    size_t k = 0;
    unsigned v = 0;
    while (k < n && k < 4 && digit(p[k]))
        v = v * 10 + (unsigned)(p[k++] - '0');
    return k < 4 && v < 256 ? k : 0;
}

/* Host labels at p: at least one with a dot behind it and one more. */
static size_t host(const char *p, size_t n)
{
    size_t i = 0, end = 0; /* end of the last label that may be the last one */
    for (int labels = 0;; labels++) {
        if (i >= n || !alnum(p[i]))
            return end;
        size_t from = i;
        while (i < n && (alnum(p[i]) || p[i] == '-'))
            i++;
        size_t last = i; /* a label ends with a letter or digit */
        while (last > from && p[last - 1] == '-')
            last--;
        if (labels)
            end = last;
        if (last < i || i >= n || p[i] != '.')
            return end;
        i++;
    }
}

/* "[1.2.3.4]" or "[1.2.3.name:]" */
static size_t literal(const char *p, size_t n)
{
    size_t i = 1;
    for (int k = 0; k < 3; k++) {
        size_t o = octet(p + i, n - i);
        if (!o || i + o >= n || p[i + o] != '.')
            return 0;
        i += o + 1;
    }
    size_t o = octet(p + i, n - i);
    if (o && i + o < n && p[i + o] == ']')
        return i + o + 1;
    size_t from = i;
    while (i < n && (alnum(p[i]) || p[i] == '-'))
        i++;
    if (i == from || !alnum(p[i - 1]) || n - i < 2 || memcmp(p + i, ":]", 2) != 0)
        return 0;
    return i + 2;
}

bool kj_pii_email(const char *p, size_t n, size_t at, size_t *from, size_t *len)
{
    size_t floor = at;
    const char *q;
    while (at < n && (q = memchr(p + at, '@', n - at))) {
        size_t i = (size_t)(q - p), lo = i;
        at = i + 1;
        while (lo > floor &&
               (atom(p[lo - 1]) || (lo < i && p[lo - 1] == '.' && p[lo] != '.')))
            lo--;
        if (lo == i)
            continue;
        size_t right = i + 1 < n && p[i + 1] == '[' ? literal(p + i + 1, n - i - 1)
                                                    : host(p + i + 1, n - i - 1);
        if (!right)
            continue;
        for (; lo < i; lo++) {
            if (p[lo] != '.' && boundary(p, lo)) {
                *from = lo;
                *len = i + 1 + right - lo;
                return true;
            }
        }
    }
    return false;
}

/* The last number of an address: the longest of one to three digits that the
 * expression takes: 250-255, 200-249, or up to 199 and two digits else. */
static size_t last_octet(const char *p, size_t n)
{
    size_t k = 0;
    while (k < n && k < 3 && digit(p[k]))
        k++;
    if (k == 3 &&
        (p[0] > '2' || (p[0] == '2' && (p[1] > '5' || (p[1] == '5' && p[2] > '5')))))
        k = 2;
    return k;
}

bool kj_pii_ipv4(const char *p, size_t n, size_t at, size_t *from, size_t *len)
{
    size_t floor = at;
    const char *q;
    while (at < n && (q = memchr(p + at, '.', n - at))) {
        size_t dot = (size_t)(q - p), i = dot + 1;
        at = i;
        if (dot == floor || !digit(p[dot - 1]) || i >= n || !digit(p[i]))
            continue;
        int k = 0;
        for (; k < 2; k++) {
            size_t o = octet(p + i, n - i);
            if (!o || i + o >= n || p[i + o] != '.')
                break;
            i += o + 1;
        }
        size_t o = k == 2 ? last_octet(p + i, n - i) : 0;
        if (!o)
            continue;
        size_t lo = dot; /* the leftmost start: three digits, if they are a number */
        while (lo > floor && dot - lo < 3 && digit(p[lo - 1]))
            lo--;
        while (octet(p + lo, dot - lo) != dot - lo)
            lo++;
        *from = lo;
        *len = i + o - lo;
        if (kj_pii_ipv4_public(p + lo, *len))
            return true;
        floor = at = lo + *len; /* found but not public: passed over whole */
    }
    return false;
}

bool kj_pii_ipv4_public(const char *p, size_t n)
{
    /* IANA's registry of special-purpose addresses, "globally reachable: no". */
    static const struct {
        uint32_t net;
        int bits;
    } special[] = {
        {0x00000000, 8},  {0x0A000000, 8},  {0x64400000, 10}, {0x7F000000, 8},
        {0xA9FE0000, 16}, {0xAC100000, 12}, {0xC0000000, 24}, {0xC0000200, 24},
        {0xC0A80000, 16}, {0xC6120000, 15}, {0xC6336400, 24}, {0xCB007100, 24},
        {0xF0000000, 4},
    };
    uint32_t a = 0, v = 0;
    for (size_t i = 0; i < n; i++) {
        if (p[i] == '.') {
            a = a << 8 | v;
            v = 0;
        } else {
            if (p[i] == '0' && (i == 0 || p[i - 1] == '.') && i + 1 < n &&
                digit(p[i + 1]))
                return false; /* not an address to Python */
            v = v * 10 + (uint32_t)(p[i] - '0');
        }
    }
    a = a << 8 | v;
    if (a == 0xC0000009 || a == 0xC000000A) /* two exceptions in 192.0.0.0/24 */
        return true;
    for (size_t i = 0; i < sizeof special / sizeof *special; i++)
        if ((a ^ special[i].net) >> (32 - special[i].bits) == 0)
            return false;
    return true;
}

static const char *const emails[] = {"email@example.com",
                                     "firstname.lastname@example.org"};
static const char *const addresses[] = {"22.214.171.124", "126.96.36.199",
                                        "188.8.131.52",   "184.108.40.206",
                                        "220.127.116.11", "18.104.22.168"};
static const char *const fixed[KJ_PII_KINDS] = {
    [KJ_PII_IPV6] = "2001:db8::1",         [KJ_PII_RRN] = "000000-0000000",
    [KJ_PII_CARD] = "0000-0000-0000-0000", [KJ_PII_BUSINESS] = "000-00-00000",
    [KJ_PII_DRIVER] = "00-00-000000-00",   [KJ_PII_PHONE] = "010-0000-0000",
    [KJ_PII_ACCOUNT] = "000-0000-0000-00", [KJ_PII_PASSPORT] = "M00000000",
};

/* The replacement of the k-th match. */
static const char *replacement(enum kj_pii_kind kind, size_t k)
{
    if (kind == KJ_PII_EMAIL || kind == KJ_PII_EMAIL_ANY)
        return emails[k % 2];
    return kind == KJ_PII_IPV4 || kind == KJ_PII_IPV4_ALONE ? addresses[k % 6]
                                                            : fixed[kind];
}

static bool find(enum kj_pii_kind kind, const char *p, size_t n, size_t at,
                 size_t *from, size_t *len)
{
    static bool (*const finders[KJ_PII_KINDS])(const char *, size_t, size_t, size_t *,
                                               size_t *) = {
        kj_pii_email, kj_pii_ipv4,    kj_pii_email_any, kj_pii_ipv6,
        kj_pii_rrn,   kj_pii_card,    kj_pii_business,  kj_pii_driver,
        kj_pii_phone, kj_pii_account, kj_pii_passport,  kj_pii_ipv4_alone};
    return finders[kind](p, n, at, from, len);
}

int kj_pii_mask(enum kj_pii_kind kind, const char *p, size_t n, size_t *count,
                struct kj_arena *a, struct kj_str *out)
{
    struct kj_pii_spans s = {0};
    int rc = KJ_OK;
    *count = kj_pii_spans_add(&s, kind, p, n);
    if (a && *count)
        rc = kj_pii_spans_mask(&s, p, n, a, out);
    kj_pii_spans_release(&s);
    return rc;
}

/* ---- several kinds at once ---- */

void kj_pii_spans_release(struct kj_pii_spans *s)
{
    free(s->v);
    free(s->next);
    memset(s, 0, sizeof *s);
}

static void put(struct kj_pii_spans *s, size_t *k, struct kj_pii_span x)
{
    if (*k == s->cap) {
        s->cap = s->cap ? 2 * s->cap : 16;
        s->v = kj_xrealloc(s->v, s->cap * sizeof *s->v);
        s->next = kj_xrealloc(s->next, s->cap * sizeof *s->next);
    }
    s->next[(*k)++] = x;
}

size_t kj_pii_spans_add(struct kj_pii_spans *s, enum kj_pii_kind kind, const char *p,
                        size_t n)
{
    size_t from, len, old = 0, k = 0, added = 0;
    for (size_t at = 0; find(kind, p, n, at, &from, &len); at = from + len) {
        while (old < s->n && s->v[old].from + s->v[old].len <= from)
            put(s, &k, s->v[old++]);
        if (old < s->n && s->v[old].from < from + len)
            continue; /* an earlier kind has it */
        put(s, &k, (struct kj_pii_span){from, len, kind, kj_utf8_count(p + from, len)});
        added++;
    }
    if (!added)
        return 0;
    while (old < s->n)
        put(s, &k, s->v[old++]);
    struct kj_pii_span *v = s->v;
    s->v = s->next;
    s->next = v;
    s->n = k;
    return added;
}

int kj_pii_spans_mask(struct kj_pii_spans *s, const char *p, size_t n,
                      struct kj_arena *a, struct kj_str *out)
{
    size_t seen[KJ_PII_KINDS] = {0}, size = n, used = 0, at = 0;
    for (size_t i = 0; i < s->n; i++)
        size += strlen(replacement(s->v[i].kind, seen[s->v[i].kind]++));
    char *to = kj_arena_alloc(a, size);
    if (!to)
        return KJ_BAD_RECORD;
    memset(seen, 0, sizeof seen);
    for (size_t i = 0; i < s->n; i++) {
        struct kj_pii_span *x = &s->v[i];
        const char *r = replacement(x->kind, seen[x->kind]++);
        size_t m = strlen(r), end = x->from + x->len;
        memcpy(to + used, p + at, x->from - at);
        used += x->from - at;
        memcpy(to + used, r, m);
        *x = (struct kj_pii_span){used, m, x->kind, x->was};
        used += m;
        at = end;
    }
    memcpy(to + used, p + at, n - at);
    *out = (struct kj_str){to, used + n - at};
    return KJ_OK;
}
