/* arc.c - see arc.h. */
#include "extract/arc.h"

#include <string.h>

static bool digits(struct kj_str s, size_t lo, size_t hi)
{
    if (s.n < lo || s.n > hi)
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
    return true;
}

static bool address(struct kj_str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (!((c >= '0' && c <= '9') || c == '.' || c == ':' ||
              ((c | 32) >= 'a' && (c | 32) <= 'f') || (c == '-' && s.n == 1)))
            return false;
    }
    return s.n > 0;
}

/* A scheme and a colon. */
static bool scheme(const char *p, size_t n)
{
    size_t i = 0;
    while (i < n && (((p[i] | 32) >= 'a' && (p[i] | 32) <= 'z') ||
                     (i && ((p[i] >= '0' && p[i] <= '9') || strchr("+.-", p[i])))))
        i++;
    return i > 0 && i < n && p[i] == ':';
}

static void iso_date(struct kj_str d, char out[24])
{
    static const char form[] = "0000-01-01T00:00:00Z";
    static const unsigned char at[14] = {0, 1,  2,  3,  5,  6,  8,
                                         9, 11, 12, 14, 15, 17, 18};
    out[0] = 0;
    if (!digits(d, 8, 14))
        return;
    memcpy(out, form, sizeof form);
    for (size_t i = 0; i < d.n && i < 14; i++)
        out[at[i]] = d.p[i];
}

bool kj_arc_parse(const char *p, size_t n, struct kj_arc_line *out)
{
    size_t max = n < KJ_ARC_LINE_MAX ? n : KJ_ARC_LINE_MAX;
    const char *nl = max ? memchr(p, '\n', max) : NULL;
    if (!nl || !scheme(p, (size_t)(nl - p)))
        return false;
    size_t len = (size_t)(nl - p);
    while (len && p[len - 1] == '\r')
        len--;
    if (memchr(p, '\r', len))
        return false;
    /* The last word is the length. */
    size_t e = len, a = len;
    while (a && p[a - 1] >= '0' && p[a - 1] <= '9')
        a--;
    if (a == e || e - a > 18)
        return false;
    int64_t v = 0;
    for (size_t i = a; i < e; i++)
        v = v * 10 + (p[i] - '0');
    if (a && p[a - 1] == '-') {
        a--;
        v = -v;
    }
    /* Find "ADDRESS DATE" between spaces, from the right. */
    struct kj_str word[3] = {{NULL, 0}, {NULL, 0}, {NULL, 0}};
    for (size_t i = a; i-- > 1;) {
        if (p[i] != ' ')
            continue;
        size_t j = i + 1;
        while (j < a && p[j] != ' ')
            j++;
        word[0] = (struct kj_str){p + i + 1, j - i - 1};
        if (address(word[0]) && word[1].p && j < a &&
            (digits(word[1], 8, 14) || (word[1].n == 1 && word[1].p[0] == '-')) &&
            word[1].p + word[1].n < p + a) {
            out->uri = (struct kj_str){p, i};
            out->length = v;
            out->size = (size_t)(nl - p) + 1;
            out->filedesc = i > 9 && memcmp(p, "filedesc:", 9) == 0;
            iso_date(word[1], out->iso);
            return true;
        }
        word[1] = word[0];
    }
    return false;
}

/* The start of an address that crawlers fetch, p[0..n). */
static bool common_scheme(const char *p, size_t n)
{
    static const char *const known[] = {"http://", "https://", "dns:", "filedesc://",
                                        "ftp://"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        size_t m = strlen(known[i]);
        if (n > m && memcmp(p, known[i], m) == 0)
            return true;
    }
    return false;
}

/* Addresses of one line that are tried: garbage may be made of them. */
enum { TRIES = 64 };

size_t kj_arc_find(const char *p, size_t from, size_t n)
{
    struct kj_arc_line a;
    const char *colon, *line_end = p;
    unsigned tries = 0;
    if (from == 0 && kj_arc_parse(p, n, &a))
        return 0;
    for (size_t i = from; i < n && (colon = memchr(p + i, ':', n - i));
         i = (size_t)(colon - p) + 1) {
        size_t c = (size_t)(colon - p), line = c;
        /* back to the line's start, or to that of a known scheme */
        while (line > from && c - line < 32 && p[line - 1] != '\n')
            line--;
        if ((line == 0 || p[line - 1] == '\n') && kj_arc_parse(p + line, n - line, &a))
            return line;
        if (colon >= line_end) { /* a new line, as far as one is looked at */
            size_t max = n - c < KJ_ARC_LINE_MAX ? n - c : KJ_ARC_LINE_MAX;
            const char *nl = memchr(colon, '\n', max);
            line_end = nl ? nl : colon + max;
            tries = 0;
        }
        for (size_t k = c > from + 8 ? c - 8 : from; k < c && tries < TRIES; k++)
            if (common_scheme(p + k, n - k) && ++tries &&
                kj_arc_parse(p + k, n - k, &a))
                return k;
    }
    return n;
}
