/* json_write.c - strings and trees as JSON, and the walk over raw members.
 *
 * Strings are the bulk of the document stream. They are checked as UTF-8 once,
 * as a whole; then runs without a byte that needs an escape are found eight
 * bytes at a time and copied.
 */
#include "base/json.h"

#include <string.h>

#include "base/err.h"
#include "base/utf8.h"

/* Bytes in front of the first one below 0x20, '"' or '\\'. */
static size_t clean_run(const char *p, size_t n)
{
    const uint64_t ones = 0x0101010101010101u, high = 0x8080808080808080u;
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        uint64_t w;
        memcpy(&w, p + i, 8);
        uint64_t q = w ^ (ones * '"'), s = w ^ (ones * '\\');
        /* The usual "has a byte less than" trick; it may flag a byte behind a
         * true hit, never a word without one. */
        uint64_t hit = ((w - ones * 0x20) & ~w) | ((q - ones) & ~q) | ((s - ones) & ~s);
        if (hit & high)
            break;
    }
    for (; i < n; i++) {
        unsigned char c = (unsigned char)p[i];
        if (c < 0x20 || c == '"' || c == '\\')
            break;
    }
    return i;
}

static int put_escape(struct kj_buf *b, unsigned char c)
{
    static const char hex[] = "0123456789abcdef";
    char t[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
    size_t n = 2;
    switch (c) {
    case '"':
    case '\\':
        t[1] = (char)c;
        break;
    case '\n':
        t[1] = 'n';
        break;
    case '\r':
        t[1] = 'r';
        break;
    case '\t':
        t[1] = 't';
        break;
    case '\b':
        t[1] = 'b';
        break;
    case '\f':
        t[1] = 'f';
        break;
    default:
        n = 6;
    }
    return kj_buf_add(b, t, n);
}

static int put_valid(struct kj_buf *b, const char *p, size_t n)
{
    for (size_t i = 0; i < n;) {
        size_t run = clean_run(p + i, n - i);
        if (kj_buf_add(b, p + i, run))
            return KJ_BAD_RECORD;
        i += run;
        if (i < n && put_escape(b, (unsigned char)p[i++]))
            return KJ_BAD_RECORD;
    }
    return KJ_OK;
}

int kj_json_put_str(struct kj_buf *b, const char *p, size_t n)
{
    size_t start = b->n, len;
    int rc = kj_buf_addc(b, '"');
    while (!rc && n > 0) {
        size_t good = kj_utf8_valid(p, n);
        rc = put_valid(b, p, good);
        p += good;
        n -= good;
        if (!rc && n > 0) {
            rc = kj_buf_add(b, "\xEF\xBF\xBD", 3);
            kj_utf8_next(p, n, &len);
            p += len;
            n -= len;
        }
    }
    if (!rc)
        rc = kj_buf_addc(b, '"');
    if (rc)
        b->n = start; /* nothing is appended on failure */
    return rc;
}

static int put_children(struct kj_buf *b, const struct kj_jval *v)
{
    bool object = v->kind == KJ_J_OBJECT;
    int rc = kj_buf_addc(b, object ? '{' : '[');
    for (size_t i = 0; !rc && i < v->n; i++) {
        if (i > 0)
            rc = kj_buf_addc(b, ',');
        if (!rc && object)
            rc = kj_json_put_str(b, v->keys[i].p, v->keys[i].n);
        if (!rc && object)
            rc = kj_buf_addc(b, ':');
        if (!rc)
            rc = kj_json_put_val(b, &v->items[i]);
    }
    return rc ? rc : kj_buf_addc(b, object ? '}' : ']');
}

int kj_json_put_val(struct kj_buf *b, const struct kj_jval *v)
{
    size_t start = b->n;
    int rc = KJ_OK;
    switch (v->kind) {
    case KJ_J_NULL:
        rc = kj_buf_add(b, "null", 4);
        break;
    case KJ_J_BOOL:
        rc = kj_buf_addz(b, v->b ? "true" : "false");
        break;
    case KJ_J_INT:
        rc = kj_json_put_int(b, v->i);
        break;
    case KJ_J_REAL:
        rc = kj_json_put_real(b, v->r);
        break;
    case KJ_J_STR:
        rc = kj_json_put_str(b, v->s.p, v->s.n);
        break;
    case KJ_J_ARRAY:
    case KJ_J_OBJECT:
        rc = put_children(b, v);
        break;
    }
    if (rc)
        b->n = start;
    return rc;
}

/* ---- the walk over raw members ---- */

static size_t skip_space(const char *p, size_t n, size_t i)
{
    while (i < n && (p[i] == ' ' || p[i] == '\t' || p[i] == '\n' || p[i] == '\r'))
        i++;
    return i;
}

/* i stands at a quote; the index behind the closing one. */
static size_t skip_string(const char *p, size_t n, size_t i)
{
    for (i++; i < n; i++) {
        if (p[i] == '\\')
            i++;
        else if (p[i] == '"')
            return i + 1;
    }
    return n;
}

static size_t skip_value(const char *p, size_t n, size_t i)
{
    size_t depth = 0;
    while (i < n) {
        char c = p[i];
        if (c == '"') {
            i = skip_string(p, n, i);
            if (depth == 0)
                return i;
            continue;
        }
        if (depth == 0 && (c == ',' || c == '}' || c == ']'))
            return i;
        if (c == '{' || c == '[')
            depth++;
        else if ((c == '}' || c == ']') && --depth == 0)
            return i + 1;
        i++;
    }
    return n;
}

int kj_json_member(const char *p, size_t n, size_t *pos, struct kj_str *key,
                   struct kj_str *value)
{
    size_t i = *pos;
    if (i == 0) {
        if (n >= 3 && memcmp(p, "\xEF\xBB\xBF", 3) == 0)
            i = 3;
        i = skip_space(p, n, i);
        if (i >= n || p[i] != '{')
            return KJ_BAD_RECORD;
        i = skip_space(p, n, i + 1);
    } else {
        i = skip_space(p, n, i);
        if (i < n && p[i] == ',')
            i = skip_space(p, n, i + 1);
    }
    if (i >= n || p[i] == '}') {
        *pos = i;
        return i < n ? KJ_EOF : KJ_BAD_RECORD;
    }
    if (p[i] != '"')
        return KJ_BAD_RECORD;
    size_t end = skip_string(p, n, i);
    if (end - i < 2)
        return KJ_BAD_RECORD;
    *key = (struct kj_str){p + i + 1, end - i - 2};
    i = skip_space(p, n, end);
    if (i >= n || p[i] != ':')
        return KJ_BAD_RECORD;
    i = skip_space(p, n, i + 1);
    end = skip_value(p, n, i);
    *pos = end;
    while (end > i && skip_space(p, end, end - 1) == end)
        end--;
    *value = (struct kj_str){p + i, end - i};
    return KJ_OK;
}
