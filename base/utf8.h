/* utf8.h - UTF-8 at the byte level. Character properties are in unicode.h. */
#ifndef KJ_BASE_UTF8_H
#define KJ_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KJ_UTF8_BAD 0xFFFDu

/* The code point at p[0..n), n >= 1, and its length in *len (>= 1). Malformed
 * input gives KJ_UTF8_BAD with the length of the maximal ill-formed prefix, as
 * the WHATWG decoder does. */
static inline uint32_t kj_utf8_next(const char *s, size_t n, size_t *len)
{
    const unsigned char *p = (const unsigned char *)s;
    uint32_t c = p[0];
    if (c < 0x80) {
        *len = 1;
        return c;
    }
    unsigned lo = 0x80, hi = 0xBF, need;
    if (c >= 0xC2 && c <= 0xDF) {
        need = 1;
        c &= 0x1F;
    } else if (c >= 0xE0 && c <= 0xEF) {
        need = 2;
        lo = c == 0xE0 ? 0xA0 : 0x80;
        hi = c == 0xED ? 0x9F : 0xBF;
        c &= 0x0F;
    } else if (c >= 0xF0 && c <= 0xF4) {
        need = 3;
        lo = c == 0xF0 ? 0x90 : 0x80;
        hi = c == 0xF4 ? 0x8F : 0xBF;
        c &= 0x07;
    } else {
        *len = 1;
        return KJ_UTF8_BAD;
    }
    size_t i = 1;
    for (; i <= need; i++) {
        if (i >= n || p[i] < lo || p[i] > hi) {
            *len = i;
            return KJ_UTF8_BAD;
        }
        c = c << 6 | (p[i] & 0x3F);
        lo = 0x80;
        hi = 0xBF;
    }
    *len = i;
    return c;
}

/* Write c (a scalar value) to out[4]; the length. */
static inline size_t kj_utf8_put(uint32_t c, char *out)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xC0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3F));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xE0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3F));
        out[2] = (char)(0x80 | (c & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3F));
    out[2] = (char)(0x80 | (c >> 6 & 0x3F));
    out[3] = (char)(0x80 | (c & 0x3F));
    return 4;
}

/* Is all of it well-formed? The fast question. */
bool kj_utf8_is_valid(const char *p, size_t n);
/* Bytes up to the first malformed sequence (n when all is well). */
size_t kj_utf8_valid(const char *p, size_t n);
/* Code points in VALID text: bytes that are no continuation. */
size_t kj_utf8_count(const char *p, size_t n);
/* The largest m <= max at which VALID text p[0..n) may be cut. */
size_t kj_utf8_cut(const char *p, size_t n, size_t max);

#endif
