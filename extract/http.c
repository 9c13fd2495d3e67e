/* http.c - see http.h. */
#include "extract/http.h"

#include <stdint.h>
#include <string.h>

#include "extract/coding.h"
#include "extract/lex.h"

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

/* "HTTP/1.1 200 OK": the status, or 0. Broken names ("HTTPX/1.1") are taken, as
 * long as a version follows. */
static int status_line(const char *p, size_t n)
{
    size_t i = 4;
    bool version = false;
    if (n < 8 || !kj_lex_same((struct kj_str){p, 4}, "http"))
        return 0;
    for (; i < n && p[i] != ' ' && p[i] != '\t' && p[i] != '\n'; i++)
        version |= p[i] == '/' && i + 1 < n && p[i + 1] >= '0' && p[i + 1] <= '9';
    while (i < n && (p[i] == ' ' || p[i] == '\t'))
        i++;
    int v = 0;
    size_t d = i;
    while (i < n && i < d + 3 && p[i] >= '0' && p[i] <= '9')
        v = v * 10 + (p[i++] - '0');
    return version && i == d + 3 ? v : 0;
}

void kj_http_parse(const char *p, size_t n, struct kj_http *out)
{
    out->n_fields = 0;
    out->body = (struct kj_str){p, n};
    out->status = status_line(p, n < 256 ? n : 256);
    if (!out->status)
        return;
    const char *end = p + n;
    const char *nl = memchr(p, '\n', n);
    p = nl ? nl + 1 : end;
    while (p < end) {
        nl = memchr(p, '\n', (size_t)(end - p));
        const char *stop = nl ? nl : end;
        struct kj_str line = kj_lex_trim(p, (size_t)(stop - p));
        if (line.n == 0 && nl) {
            p = nl + 1;
            break;
        }
        size_t k = out->n_fields;
        const char *colon = line.n ? memchr(line.p, ':', line.n) : NULL;
        if ((*p == ' ' || *p == '\t') && k) {
            /* Folded: views are contiguous, so let the last one grow over it. */
            struct kj_str *v = &out->values[k - 1];
            v->n = (size_t)(line.p + line.n - v->p);
        } else if (colon && k < KJ_HTTP_FIELDS) {
            size_t at = (size_t)(colon - line.p);
            out->names[k] = kj_lex_trim(line.p, at);
            out->values[k] = kj_lex_trim(colon + 1, line.n - at - 1);
            out->n_fields++;
        }
        p = nl ? nl + 1 : end;
    }
    out->body = (struct kj_str){p, (size_t)(end - p)};
}

struct kj_str kj_http_get(const struct kj_http *h, const char *name)
{
    for (size_t i = 0; i < h->n_fields; i++)
        if (kj_lex_same(h->names[i], name))
            return h->values[i];
    return (struct kj_str){NULL, 0};
}

void kj_http_type(struct kj_str value, struct kj_str *type, struct kj_str *charset)
{
    const char *semi = value.n ? memchr(value.p, ';', value.n) : NULL;
    size_t n = semi ? (size_t)(semi - value.p) : value.n;
    const char *comma = n ? memchr(value.p, ',', n) : NULL; /* two headers joined */
    *type = kj_lex_trim(value.p, comma ? (size_t)(comma - value.p) : n);
    *charset = (struct kj_str){NULL, 0};
    for (size_t i = n; i + 8 < value.n; i++) {
        if (!kj_lex_same((struct kj_str){value.p + i, 7}, "charset"))
            continue;
        size_t j = i + 7;
        while (j < value.n && kj_lex_is_blank(value.p[j]))
            j++;
        if (j >= value.n || value.p[j] != '=')
            continue;
        j++;
        while (j < value.n &&
               (kj_lex_is_blank(value.p[j]) || strchr("\"'", value.p[j])))
            j++;
        size_t e = j;
        while (e < value.n && !kj_lex_is_blank(value.p[e]) &&
               !strchr("\"';,", value.p[e]))
            e++;
        *charset = (struct kj_str){value.p + j, e - j};
        return;
    }
}

/* ---- chunks ---- */

/* A chunk-size line at p: its length with the line end, 0 if it is none. */
static size_t size_line(const char *p, size_t n, uint64_t *size)
{
    size_t i = 0;
    uint64_t v = 0;
    while (i < n && (p[i] == ' ' || p[i] == '\t'))
        i++;
    size_t d = i;
    for (; i < n; i++) {
        int x = p[i] >= '0' && p[i] <= '9'                 ? p[i] - '0'
                : lower(p[i]) >= 'a' && lower(p[i]) <= 'f' ? lower(p[i]) - 'a' + 10
                                                           : -1;
        if (x < 0)
            break;
        v = v > UINT64_MAX / 32 ? UINT64_MAX / 2 : v * 16 + (unsigned)x;
    }
    if (i == d || i - d > 16)
        return 0;
    *size = v;
    while (i < n && (p[i] == ' ' || p[i] == '\t'))
        i++;
    if (i < n && p[i] == ';') /* extensions */
        while (i < n && p[i] != '\n')
            i++;
    while (i < n && p[i] == '\r')
        i++;
    return i < n && p[i] == '\n' ? i + 1 : 0;
}

/* Join chunks into out. False when the body is not chunked at all. */
static bool dechunk(struct kj_str in, struct kj_buf *out, unsigned *flags)
{
    const char *p = in.p;
    size_t n = in.n;
    bool any = false;
    kj_buf_reset(out);
    for (;;) {
        uint64_t size = 0;
        size_t line = size_line(p, n, &size);
        if (!line) {
            if (!any)
                return false;
            if (n > 0) { /* broken off: what follows is more likely text than not */
                *flags |= KJ_HTTP_BAD_CHUNKS;
                kj_buf_add(out, p, n);
            }
            return true;
        }
        p += line;
        n -= line;
        any = true;
        *flags |= KJ_HTTP_CHUNKED;
        if (size == 0)
            return true; /* trailers are of no use */
        size_t k = size < n ? (size_t)size : n;
        if (kj_buf_add(out, p, k) < 0) {
            *flags |= KJ_HTTP_TOO_LARGE;
            return true;
        }
        if (size > n)
            *flags |= KJ_HTTP_BAD_CHUNKS;
        p += k;
        n -= k;
        while (n && *p == '\r')
            p++, n--;
        if (n && *p == '\n')
            p++, n--;
        if (n == 0)
            return true;
    }
}

/* ---- codings ---- */

static enum kj_coding coding_of(struct kj_str s)
{
    if (kj_lex_same(s, "gzip") || kj_lex_same(s, "x-gzip"))
        return KJ_CODING_GZIP;
    if (kj_lex_same(s, "deflate"))
        return KJ_CODING_DEFLATE;
    if (kj_lex_same(s, "br"))
        return KJ_CODING_BR;
    if (kj_lex_same(s, "zstd"))
        return KJ_CODING_ZSTD;
    return KJ_CODING_NONE;
}

/* Undo one coding; a view of out, or the input when the header is stale. */
static struct kj_str undo(struct kj_str body, enum kj_coding c, struct kj_buf *out,
                          unsigned *flags)
{
    kj_buf_reset(out);
    switch (kj_coding_undo(c, body, out)) {
    case KJ_CODING_OK:
        *flags |= KJ_HTTP_CODED;
        break;
    case KJ_CODING_CUT:
        *flags |= KJ_HTTP_CODED | KJ_HTTP_CUT;
        break;
    case KJ_CODING_LARGE:
        *flags |= KJ_HTTP_CODED | KJ_HTTP_TOO_LARGE;
        break;
    case KJ_CODING_NOT:
        *flags |= KJ_HTTP_STALE;
        return body;
    }
    return (struct kj_str){out->p, out->n};
}

struct kj_str kj_http_body(const struct kj_http *h, struct kj_buf *a, struct kj_buf *b,
                           unsigned *flags)
{
    struct kj_str body = h->body;
    *flags = 0;
    for (size_t i = 0; i < h->n_fields; i++) {
        if (!kj_lex_same(h->names[i], "transfer-encoding"))
            continue;
        struct kj_str v = h->values[i];
        if (v.n < 7 || !kj_lex_same((struct kj_str){v.p + v.n - 7, 7}, "chunked"))
            continue;
        if (dechunk(body, a, flags))
            body = (struct kj_str){a->p, a->n};
        else
            *flags |= KJ_HTTP_STALE;
        break;
    }
    /* Codings are listed in the order in which they were applied, over all
     * Content-Encoding lines; undo them from the last. */
    enum kj_coding list[8];
    size_t n = 0;
    for (size_t i = 0; i < h->n_fields; i++) {
        if (!kj_lex_same(h->names[i], "content-encoding"))
            continue;
        struct kj_str v = h->values[i];
        while (v.n) {
            const char *comma = memchr(v.p, ',', v.n);
            size_t k = comma ? (size_t)(comma - v.p) : v.n;
            enum kj_coding c = coding_of(kj_lex_trim(v.p, k));
            if (c != KJ_CODING_NONE && n < 8)
                list[n++] = c;
            v.p += k + (comma != NULL);
            v.n -= k + (comma != NULL);
        }
    }
    while (n > 0)
        body = undo(body, list[--n], body.p == a->p && a->n ? b : a, flags);
    /* gzip that no header announces: its magic is never the start of text. */
    for (int k = 0; k < 2 && body.n > 18 && memcmp(body.p, "\x1f\x8b\x08", 3) == 0;
         k++) {
        struct kj_str was = body;
        body = undo(body, KJ_CODING_GZIP, body.p == a->p && a->n ? b : a, flags);
        if (body.p == was.p)
            break;
    }
    return body;
}
