/* prescan.c - the encoding that the first bytes of a page declare: the HTML
 * standard's "prescan a byte stream", section 13.2.3.2, and XML's declaration. */
#include <string.h>

#include "extract/charset.h"

#define PRESCAN_BYTES 4096

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\f' || c == '\r';
}

static bool same(struct kj_str a, const char *z)
{
    size_t i = 0;
    for (; i < a.n && z[i]; i++)
        if (lower(a.p[i]) != z[i])
            return false;
    return i == a.n && !z[i];
}

/* Does p start with z (lower case)? */
static bool starts(const char *p, const char *end, const char *z)
{
    size_t n = strlen(z);
    return (size_t)(end - p) >= n && same((struct kj_str){p, n}, z);
}

/* The next attribute at *pp; false at the tag's end. */
static bool attribute(const char **pp, const char *end, struct kj_str *name,
                      struct kj_str *value)
{
    const char *p = *pp;
    while (p < end && (is_space(*p) || *p == '/'))
        p++;
    *value = (struct kj_str){p, 0};
    if (p >= end || *p == '>') {
        *pp = p;
        return false;
    }
    const char *a = p++;
    while (p < end && *p != '=' && *p != '>' && *p != '/' && !is_space(*p))
        p++;
    *name = (struct kj_str){a, (size_t)(p - a)};
    while (p < end && is_space(*p))
        p++;
    if (p < end && *p == '=') {
        p++;
        while (p < end && is_space(*p))
            p++;
        if (p < end && (*p == '"' || *p == '\'')) {
            char q = *p++;
            const char *e = memchr(p, q, (size_t)(end - p));
            if (!e)
                e = end;
            *value = (struct kj_str){p, (size_t)(e - p)};
            p = e < end ? e + 1 : end;
        } else {
            a = p;
            while (p < end && *p != '>' && !is_space(*p))
                p++;
            *value = (struct kj_str){a, (size_t)(p - a)};
        }
    }
    *pp = p;
    return true;
}

/* "charset=x" inside a content attribute. */
static struct kj_str from_content(struct kj_str s)
{
    const char *end = s.p + s.n;
    for (const char *p = s.p; p < end; p++) {
        if (!starts(p, end, "charset"))
            continue;
        const char *q = p + 7;
        while (q < end && is_space(*q))
            q++;
        if (q >= end || *q != '=')
            continue;
        q++;
        while (q < end && (is_space(*q) || *q == '"' || *q == '\''))
            q++;
        const char *e = q;
        while (e < end && !is_space(*e) && *e != ';' && *e != '"' && *e != '\'')
            e++;
        return (struct kj_str){q, (size_t)(e - q)};
    }
    return (struct kj_str){NULL, 0};
}

/* The label in one <meta>, or nothing. */
static struct kj_str from_meta(const char **pp, const char *end)
{
    struct kj_str name, value, charset = {NULL, 0}, content = {NULL, 0};
    bool pragma = false;
    while (attribute(pp, end, &name, &value)) {
        if (same(name, "http-equiv"))
            pragma = pragma || same(value, "content-type");
        else if (same(name, "charset") && !charset.p)
            charset = value;
        else if (same(name, "content") && !content.p)
            content = from_content(value);
    }
    if (charset.n)
        return charset;
    return pragma ? content : (struct kj_str){NULL, 0};
}

static struct kj_str from_xml(const char *p, const char *end)
{
    const char *stop = memchr(p, '>', (size_t)(end - p));
    if (!stop)
        return (struct kj_str){NULL, 0};
    struct kj_str name, value;
    p += 5;
    while (p < stop && *p != '?' && attribute(&p, stop, &name, &value))
        if (same(name, "encoding"))
            return value;
    return (struct kj_str){NULL, 0};
}

struct kj_str kj_charset_prescan(const char *p, size_t n)
{
    const char *end = p + (n < PRESCAN_BYTES ? n : PRESCAN_BYTES);
    struct kj_str xml = {NULL, 0};
    if (starts(p, end, "<?xml"))
        xml = from_xml(p, end);
    while (p < end && (p = memchr(p, '<', (size_t)(end - p)))) {
        if (starts(p, end, "<!--")) {
            p += 2;
            while (p < end && !starts(p, end, "-->"))
                p++;
        } else if (starts(p, end, "<meta") && p + 5 < end &&
                   (is_space(p[5]) || p[5] == '/')) {
            p += 5;
            struct kj_str label = from_meta(&p, end);
            if (label.n && kj_charset_label(label))
                return label;
        } else if (p + 1 < end && (lower(p[1]) >= 'a' && lower(p[1]) <= 'z')) {
            while (p < end && !is_space(*p) && *p != '>')
                p++;
            struct kj_str name, value;
            while (attribute(&p, end, &name, &value))
                ;
        } else {
            p++;
        }
    }
    return xml;
}
