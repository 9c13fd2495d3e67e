/* lex.c - see lex.h. */
#include "extract/lex.h"

#include <string.h>

size_t kj_lex_version(const char *p, size_t n)
{
    static const char name[] = "WARC/";
    size_t i = 0;
    for (; i < 5; i++)
        if (i >= n || (p[i] & ~(i < 4 ? 0x20 : 0)) != name[i])
            return 0;
    size_t a = i;
    while (i < n && p[i] >= '0' && p[i] <= '9')
        i++;
    if (i == a || i >= n || p[i] != '.')
        return 0;
    a = ++i;
    while (i < n && p[i] >= '0' && p[i] <= '9')
        i++;
    if (i == a)
        return 0;
    while (i < n && (p[i] == ' ' || p[i] == '\t'))
        i++;
    while (i < n && p[i] == '\r')
        i++;
    return i < n && p[i] == '\n' ? i + 1 : 0;
}

size_t kj_lex_find(const char *p, size_t from, size_t n)
{
    for (size_t i = from; i + 8 < n; i++) {
        const char *slash = memchr(p + i, '/', n - i);
        if (!slash)
            break;
        size_t at = (size_t)(slash - p);
        if (at >= from + 4 && kj_lex_version(p + at - 4, n - at + 4))
            return at - 4;
        i = at;
    }
    return n;
}

size_t kj_lex_blank_line(const char *p, size_t n)
{
    size_t i = 0;
    for (int k = 0; k < 2; k++) {
        while (i < n && p[i] == '\r')
            i++;
        if (i >= n || p[i] != '\n')
            return 0;
        i++;
    }
    return i;
}

size_t kj_lex_head_end(const char *p, size_t from, size_t n)
{
    for (size_t i = from; i < n;) {
        const char *nl = memchr(p + i, '\n', n - i);
        if (!nl)
            return 0;
        size_t j = (size_t)(nl - p) + 1;
        while (j < n && p[j] == '\r')
            j++;
        if (j < n && p[j] == '\n')
            return j + 1;
        i = (size_t)(nl - p) + 1;
    }
    return 0;
}

bool kj_lex_is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

struct kj_str kj_lex_trim(const char *p, size_t n)
{
    while (n && kj_lex_is_blank(p[0]))
        p++, n--;
    while (n && kj_lex_is_blank(p[n - 1]))
        n--;
    return (struct kj_str){p, n};
}

bool kj_lex_same(struct kj_str a, const char *z)
{
    size_t i = 0;
    for (; i < a.n && z[i]; i++) {
        char c = a.p[i];
        if (c >= 'A' && c <= 'Z')
            c = (char)(c + 32);
        if (c != z[i])
            return false;
    }
    return i == a.n && !z[i];
}

int kj_lex_number(struct kj_str s, uint64_t *out)
{
    uint64_t v = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return 0;
        v = v > INT64_MAX / 10 ? INT64_MAX : v * 10 + (uint64_t)(s.p[i] - '0');
    }
    *out = v > INT64_MAX ? INT64_MAX : v;
    return s.n > 0;
}
