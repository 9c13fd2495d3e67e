/* text.c - search that ignores case.
 *
 * Nearly all text has no letter outside ASCII that Python folds to an ASCII
 * letter, so the search runs over bytes, 16 at a time, comparing first and last
 * letter of the pattern with bit 0x20 set, and looks closer where both fit. A
 * text that does hold one of the four such letters is walked by code point.
 */
#include "filter/text.h"

#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

uint32_t kj_text_last(const char *p, size_t n, size_t *len)
{
    size_t i = n - 1;
    while (i > 0 && n - i < 4 && ((unsigned char)p[i] & 0xC0) == 0x80)
        i--;
    uint32_t c = kj_utf8_next(p + i, n - i, len);
    if (*len != n - i) { /* malformed: the last byte alone */
        *len = 1;
        return KJ_UTF8_BAD;
    }
    return c;
}

struct kj_str kj_text_strip(struct kj_str s)
{
    size_t len;
    while (s.n && (len = kj_text_space(s.p, s.n))) {
        s.p += len;
        s.n -= len;
    }
    while (s.n && kj_uni_py_space(kj_text_last(s.p, s.n, &len)))
        s.n -= len;
    return s;
}

bool kj_text_blank(struct kj_str s)
{
    for (size_t i = 0, len; i < s.n; i += len)
        if (!(len = kj_text_space(s.p + i, s.n - i)))
            return false;
    return true;
}

bool kj_text_word(struct kj_str s, size_t *at, struct kj_str *word)
{
    size_t i = *at, len;
    while (i < s.n && (len = kj_text_space(s.p + i, s.n - i)))
        i += len;
    size_t from = i;
    /* Any byte may be asked: none but a first byte can look like space. */
    while (i < s.n && !kj_text_space(s.p + i, s.n - i))
        i++;
    *at = i;
    *word = (struct kj_str){s.p + from, i - from};
    return i > from;
}

static uint32_t fold(uint32_t c, enum kj_fold how)
{
    if (c - 'A' < 26)
        return c | 0x20;
    if (c == 0x212A) /* Kelvin sign */
        return 'k';
    if (how == KJ_FOLD_RE && (c == 0x130 || c == 0x131))
        return 'i';
    return how == KJ_FOLD_RE && c == 0x17F ? 's' : c;
}

size_t kj_text_begins(struct kj_str s, const char *z, enum kj_fold how)
{
    size_t i = 0, len;
    for (; *z; z++, i += len)
        if (i >= s.n || fold(kj_utf8_next(s.p + i, s.n - i, &len), how) != (uint32_t)*z)
            return 0;
    return i;
}

/* Does s hold this sequence of a rare first byte? */
static bool holds(struct kj_str s, const char *z, size_t m)
{
    const char *p = s.p, *e = s.p + s.n;
    for (; (p = memchr(p, (unsigned char)z[0], (size_t)(e - p))); p++)
        if ((size_t)(e - p) >= m && memcmp(p, z, m) == 0)
            return true;
    return false;
}

static bool odd_letters(struct kj_str s, enum kj_fold how)
{
    return holds(s, "\xE2\x84\xAA", 3) ||
           (how == KJ_FOLD_RE && (holds(s, "\xC4\xB0", 2) || holds(s, "\xC4\xB1", 2) ||
                                  holds(s, "\xC5\xBF", 2)));
}

static bool same_ascii(const char *p, const char *z, size_t m)
{
    for (size_t i = 0; i < m; i++) {
        unsigned char c = (unsigned char)p[i];
        if (((unsigned char)(c - 'A') < 26 ? c | 0x20 : c) != z[i])
            return false;
    }
    return true;
}

static bool find_ascii(struct kj_str s, const char *z, size_t *at, size_t m)
{
    if (s.n < m)
        return false;
    size_t i = 0, last = s.n - m; /* the last place where it may stand */
#ifdef __SSE2__
    const __m128i bit = _mm_set1_epi8(0x20);
    const __m128i a = _mm_set1_epi8((char)(z[0] | 0x20));
    const __m128i b = _mm_set1_epi8((char)(z[m - 1] | 0x20));
    for (; i + m + 15 <= s.n; i += 16) {
        __m128i x = _mm_loadu_si128((const __m128i *)(const void *)(s.p + i));
        __m128i y = _mm_loadu_si128((const __m128i *)(const void *)(s.p + i + m - 1));
        x = _mm_cmpeq_epi8(_mm_or_si128(x, bit), a);
        y = _mm_cmpeq_epi8(_mm_or_si128(y, bit), b);
        unsigned hits = (unsigned)_mm_movemask_epi8(_mm_and_si128(x, y));
        for (; hits; hits &= hits - 1) {
            *at = i + (size_t)__builtin_ctz(hits);
            if (same_ascii(s.p + *at, z, m))
                return true;
        }
    }
#endif
    for (; i <= last; i++) {
        *at = i;
        if (same_ascii(s.p + i, z, m))
            return true;
    }
    return false;
}

bool kj_text_find(struct kj_str s, const char *z, enum kj_fold how, size_t *at,
                  size_t *len)
{
    if (!s.n)
        return false;
    if (!odd_letters(s, how)) {
        *len = strlen(z);
        return find_ascii(s, z, at, *len);
    }
    for (*at = 0; *at < s.n; ++*at)
        if ((*len = kj_text_begins((struct kj_str){s.p + *at, s.n - *at}, z, how)))
            return true;
    return false;
}

struct range {
    uint32_t lo, hi;
};

static bool in(uint32_t c, const struct range *r, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (c >= r[i].lo && c <= r[i].hi)
            return true;
    return false;
}

bool kj_char_upper(uint32_t c)
{
    /* Other_Uppercase of Unicode, beside the category Lu */
    static const struct range more[] = {{0x2160, 0x216F},
                                        {0x24B6, 0x24CF},
                                        {0x1F130, 0x1F149},
                                        {0x1F150, 0x1F169},
                                        {0x1F170, 0x1F189}};
    if (c < 0x80)
        return c - 'A' < 26;
    return kj_uni_category(c) == KJ_GC_LU || in(c, more, sizeof more / sizeof *more);
}

bool kj_char_digit(uint32_t c)
{
    /* Numeric_Type=Digit of Unicode, beside the category Nd */
    static const struct range more[] = {
        {0xB2, 0xB3},       {0xB9, 0xB9},       {0x1369, 0x1371},   {0x19DA, 0x19DA},
        {0x2070, 0x2070},   {0x2074, 0x2079},   {0x2080, 0x2089},   {0x2460, 0x2468},
        {0x2474, 0x247C},   {0x2488, 0x2490},   {0x24EA, 0x24EA},   {0x24F5, 0x24FD},
        {0x24FF, 0x24FF},   {0x2776, 0x277E},   {0x2780, 0x2788},   {0x278A, 0x2792},
        {0x10A40, 0x10A43}, {0x10E60, 0x10E68}, {0x11052, 0x1105A}, {0x1F100, 0x1F10A},
    };
    if (c < 0x80)
        return c - '0' < 10;
    return kj_uni_category(c) == KJ_GC_ND || in(c, more, sizeof more / sizeof *more);
}
