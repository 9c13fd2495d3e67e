/* charref.c - see charref.h.
 *
 * The list is sorted, so the names that begin with what has been read are a
 * range of it, which each further letter narrows by bisection; the longest name
 * seen on the way wins. The six that make nearly all references of real pages
 * are tried before. */
#include "extract/charref.h"

#include <stdbool.h>
#include <string.h>

#include "base/utf8.h"

/* What the standard makes of the numbers 0x80 to 0x9F: windows-1252. */
static const uint16_t c1[32] = {0x20AC, 0x81,   0x201A, 0x0192, 0x201E, 0x2026, 0x2020,
                                0x2021, 0x02C6, 0x2030, 0x0160, 0x2039, 0x0152, 0x8D,
                                0x017D, 0x8F,   0x90,   0x2018, 0x2019, 0x201C, 0x201D,
                                0x2022, 0x2013, 0x2014, 0x02DC, 0x2122, 0x0161, 0x203A,
                                0x0153, 0x9D,   0x017E, 0x0178};

static bool is_alnum(char c)
{
    return (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z');
}

static int digit(char c, bool hex)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 32;
    return hex && c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Behind "&#": the length read, or 0 if there is no number. */
static size_t number(const char *p, const char *end, uint32_t *cp)
{
    const char *start = p;
    bool hex = p < end && (*p | 32) == 'x';
    p += hex;
    const char *digits = p;
    uint32_t v = 0;
    for (int d; p < end && (d = digit(*p, hex)) >= 0; p++)
        if (v < 0x110000)
            v = v * (hex ? 16 : 10) + (uint32_t)d;
    if (p == digits)
        return 0;
    p += p < end && *p == ';';
    if (v == 0 || v > 0x10FFFF || (v >= 0xD800 && v < 0xE000))
        v = 0xFFFD;
    else if (v >= 0x80 && v < 0xA0)
        v = c1[v - 0x80];
    *cp = v;
    return (size_t)(p - start);
}

static const struct {
    const char *name;
    uint8_t n;
    uint16_t cp;
} common[] = {
    {"nbsp;", 5, 0xA0}, {"amp;", 4, '&'}, {"quot;", 5, '"'},
    {"lt;", 3, '<'},    {"gt;", 3, '>'},
};

/* Behind '&': the length of the longest name there, or 0. */
static size_t named(const char *p, const char *end, uint32_t *a, uint32_t *b)
{
    *b = 0;
    for (size_t i = 0; i < sizeof common / sizeof *common; i++)
        if ((size_t)(end - p) >= common[i].n &&
            memcmp(p, common[i].name, common[i].n) == 0) {
            *a = common[i].cp;
            return common[i].n;
        }
    size_t lo = 0, hi = KJ_N_CHARREFS, best = 0;
    for (size_t k = 0; p + k < end; k++) {
        unsigned char c = (unsigned char)p[k];
        size_t x = lo, y = hi; /* the first whose letter k is not below c */
        while (x < y) {
            size_t m = (x + y) / 2;
            if ((unsigned char)kj_charrefs[m].name[k] < c)
                x = m + 1;
            else
                y = m;
        }
        lo = x;
        for (y = hi; x < y;) {
            size_t m = (x + y) / 2;
            if ((unsigned char)kj_charrefs[m].name[k] <= c)
                x = m + 1;
            else
                y = m;
        }
        hi = x;
        if (lo == hi || c == 0)
            break;
        if (!kj_charrefs[lo].name[k + 1]) { /* a name ends here; it sorts first */
            best = k + 1;
            *a = kj_charrefs[lo].a;
            *b = kj_charrefs[lo].b;
        }
    }
    return best;
}

/* The reference at p, which is '&': its length in *used, or 0 for none. */
static size_t reference(const char *p, const char *end, bool attribute, char *out,
                        size_t *used)
{
    uint32_t a = 0, b = 0;
    *used = 0;
    if (p + 1 < end && p[1] == '#') {
        size_t k = number(p + 2, end, &a);
        if (!k)
            return 0;
        *used = 2 + k;
    } else {
        size_t k = p + 1 < end && is_alnum(p[1]) ? named(p + 1, end, &a, &b) : 0;
        if (!k)
            return 0;
        const char *q = p + 1 + k;
        /* "?a=1&copy=2" in an address is no sign of copyright. */
        if (attribute && q[-1] != ';' && q < end && (*q == '=' || is_alnum(*q)))
            return 0;
        *used = 1 + k;
    }
    size_t n = kj_utf8_put(a, out);
    return b ? n + kj_utf8_put(b, out + n) : n;
}

size_t kj_charref_decode(const char *p, size_t n, enum kj_charref_where where,
                         char *out)
{
    const char *end = p + n;
    char *to = out;
    while (p < end) {
        const char *from = p;
        while (p < end && *p != '&' && *p != '\r' && *p != 0)
            p++;
        memcpy(to, from, (size_t)(p - from));
        to += p - from;
        if (p == end)
            break;
        if (*p == '&') {
            size_t used = 0;
            if (where != KJ_IN_RAW)
                to += reference(p, end, where == KJ_IN_VALUE, to, &used);
            if (used)
                p += used;
            else
                *to++ = *p++;
        } else if (*p++ == '\r') {
            if (p == end || *p != '\n')
                *to++ = '\n';
        }
    }
    return (size_t)(to - out);
}
