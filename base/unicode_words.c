/* unicode_words.c - word boundaries (UAX #29).
 *
 * A scan with the classes of the last character that counts (rule WB4 skips Extend,
 * Format and ZWJ) and one look ahead for the rules that need two characters of
 * context. What is looked at ahead is looked at again at most once, so the scan is
 * linear.
 */
#include "base/unicode.h"

#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "base/unicode_internal.h"
#include "base/utf8.h"

/* In the order of WB in scripts/gen_unicode.py. */
enum wb {
    WB_OTHER,
    WB_CR,
    WB_LF,
    WB_NEWLINE,
    WB_EXTEND,
    WB_ZWJ,
    WB_FORMAT,
    WB_WSEG,
    WB_RI,
    WB_ALETTER,
    WB_HEBREW,
    WB_NUMERIC,
    WB_KATAKANA,
    WB_EXTNUM,
    WB_MIDLETTER,
    WB_MIDNUM,
    WB_MIDNUMLET,
    WB_SQUOTE,
    WB_DQUOTE
};
#define BIT(x)    (1u << (x))
#define AHLETTER  (BIT(WB_ALETTER) | BIT(WB_HEBREW))
#define NEWLINES  (BIT(WB_CR) | BIT(WB_LF) | BIT(WB_NEWLINE))
#define SKIPPED   (BIT(WB_EXTEND) | BIT(WB_FORMAT) | BIT(WB_ZWJ))
#define MIDLETTER (BIT(WB_MIDLETTER) | BIT(WB_MIDNUMLET) | BIT(WB_SQUOTE))
#define MIDNUM    (BIT(WB_MIDNUM) | BIT(WB_MIDNUMLET) | BIT(WB_SQUOTE))

static unsigned wb_class(unsigned w)
{
    return BIT(w >> 5 & 31);
}

/* Class of the first character at or behind p[at] that WB4 does not skip. */
static unsigned wb_ahead(const char *p, size_t n, size_t at)
{
    for (size_t len; at < n; at += len) {
        unsigned k = wb_class(kj_ud_of(kj_utf8_next(p + at, n - at, &len)));
        if (!(k & SKIPPED))
            return k;
    }
    return 0;
}

/* Do the rules WB5-WB13 join a (the last character that counts) and b, whose
 * successor stands at p[behind]? */
static bool wb_join(unsigned a, unsigned b, const char *p, size_t n, size_t behind)
{
    if (a & AHLETTER) {
        if (b & (AHLETTER | BIT(WB_NUMERIC) | BIT(WB_EXTNUM)))
            return true;
        if (a == BIT(WB_HEBREW) && b == BIT(WB_SQUOTE))
            return true;
        if (b & MIDLETTER)
            return wb_ahead(p, n, behind) & AHLETTER;
        if (a == BIT(WB_HEBREW) && b == BIT(WB_DQUOTE))
            return wb_ahead(p, n, behind) == BIT(WB_HEBREW);
        return false;
    }
    if (a == BIT(WB_NUMERIC)) {
        if (b & (AHLETTER | BIT(WB_NUMERIC) | BIT(WB_EXTNUM)))
            return true;
        return b & MIDNUM && wb_ahead(p, n, behind) == BIT(WB_NUMERIC);
    }
    if (a == BIT(WB_KATAKANA))
        return b & (BIT(WB_KATAKANA) | BIT(WB_EXTNUM));
    if (a == BIT(WB_EXTNUM))
        return b & (AHLETTER | BIT(WB_NUMERIC) | BIT(WB_KATAKANA) | BIT(WB_EXTNUM));
    return false;
}

/* What an ASCII byte is to the fast path below. */
enum { FAST_SIGN, FAST_SPACE, FAST_WORD, FAST_MIDDLE, FAST_LINE };
#define W FAST_WORD
#define L FAST_LINE
#define M FAST_MIDDLE
static const unsigned char fast[128] = {
    ['\n'] = L, L,         L,         L,         [' '] = FAST_SPACE,
    ['.'] = M,  [','] = M, [':'] = M, [';'] = M, ['\''] = M,
    ['_'] = W,  ['0'] = W, W,         W,         W,
    W,          W,         W,         W,         W,
    W,          ['A'] = W, W,         W,         W,
    W,          W,         W,         W,         W,
    W,          W,         W,         W,         W,
    W,          W,         W,         W,         W,
    W,          W,         W,         W,         W,
    W,          W,         ['a'] = W, W,         W,
    W,          W,         W,         W,         W,
    W,          W,         W,         W,         W,
    W,          W,         W,         W,         W,
    W,          W,         W,         W,         W,
    W,          W,         W};
#undef W
#undef L
#undef M

/* Is p[0..n) a Hangul syllable? Not all are asked for: U+AC00..D77F. */
static inline bool fast_hangul(const unsigned char *p, size_t n)
{
    return n >= 3 && p[0] >= 0xEA && p[0] <= 0xED && (p[0] != 0xEA || p[1] >= 0xB0) &&
           (p[0] != 0xED || p[1] < 0x9E) && (p[1] & 0xC0) == 0x80 &&
           (p[2] & 0xC0) == 0x80;
}

/* Letters, digits and '_' at p, of the first 16 bytes. */
static inline size_t fast_word(const unsigned char *p, size_t n)
{
    size_t i = 0;
#ifdef __SSE2__
    if (n >= 16) { /* a range is compared when it has been moved to -128 */
        __m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
        __m128i low = _mm_or_si128(x, _mm_set1_epi8(0x20));
        __m128i a = _mm_cmplt_epi8(_mm_add_epi8(low, _mm_set1_epi8(128 - 'a')),
                                   _mm_set1_epi8(-128 + 26));
        __m128i d = _mm_cmplt_epi8(_mm_add_epi8(x, _mm_set1_epi8(128 - '0')),
                                   _mm_set1_epi8(-128 + 10));
        __m128i u = _mm_cmpeq_epi8(x, _mm_set1_epi8('_'));
        a = _mm_or_si128(_mm_or_si128(a, d), u);
        return (size_t)__builtin_ctz(~(unsigned)_mm_movemask_epi8(a));
    }
#endif
    while (i < n && p[i] < 0x80 && fast[p[i]] == FAST_WORD)
        i++;
    return i;
}

/* What most text is: a run of ASCII letters, digits, '_' and Hangul, or of spaces,
 * or one ASCII sign, with an ASCII character behind it that does not join. 0
 * elsewhere. A character in the middle of words (it's, 1.5) joins only what stands
 * on both sides of it. */
static size_t wb_fast(const char *text, size_t n, size_t at)
{
    const unsigned char *p = (const unsigned char *)text;
    size_t i = at + fast_word(p + at, n - at);
    while (i < n) {
        if (p[i] < 0x80 ? fast[p[i]] == FAST_WORD : fast_hangul(p + i, n - i))
            i += p[i] < 0x80 ? 1 : 3;
        else
            break;
    }
    if (i > at) {
        if (i == n)
            return i;
        if (p[i] >= 0x80)
            return 0;
        if (fast[p[i]] != FAST_MIDDLE || i + 1 == n)
            return i;
        return p[i + 1] < 0x80 && fast[p[i + 1]] != FAST_WORD ? i : 0;
    }
    if (p[i] >= 0x80)
        return 0;
    unsigned k = fast[p[i++]];
    if (k == FAST_SPACE)
        while (i < n && p[i] == ' ')
            i++;
    if (k == FAST_LINE) /* WB3, WB3a: whatever stands behind */
        return i + (p[at] == '\r' && i < n && p[i] == '\n');
    return i < n && p[i] >= 0x80 ? 0 : i;
}

size_t kj_uni_word_next(const char *p, size_t n, size_t at)
{
    if (at >= n)
        return n;
    size_t run = wb_fast(p, n, at);
    if (run)
        return run;
    size_t len;
    unsigned w = kj_ud_of(kj_utf8_next(p + at, n - at, &len));
    unsigned a = wb_class(w); /* the last character that counts */
    unsigned raw = a;         /* the last character */
    unsigned mid = 0;         /* what stood before a, when a joined two */
    bool odd = a == BIT(WB_RI);
    at += len;
    if (a & NEWLINES) /* WB3, WB3a */
        return at + (a == BIT(WB_CR) && at < n && p[at] == '\n');
    for (; at < n; at += len) {
        w = kj_ud_of(kj_utf8_next(p + at, n - at, &len));
        unsigned b = wb_class(w);
        if (raw == BIT(WB_ZWJ) && w & KJ_UD_PICT) { /* WB3c */
            a = b;
        } else if (raw == b && b == BIT(WB_WSEG)) { /* WB3d */
        } else if (b & SKIPPED) {                   /* WB4 */
            raw = b;
            continue;
        } else if (mid) { /* WB7, WB7c, WB12: promised by the look ahead */
            a = b;
            mid = 0;
        } else if (a == BIT(WB_RI) && b == BIT(WB_RI) && odd) { /* WB15, WB16 */
            odd = false;
            raw = b;
            continue;
        } else if (wb_join(a, b, p, n, at + len)) {
            if (b & (MIDLETTER | MIDNUM | BIT(WB_DQUOTE)))
                mid = a;
            /* WB7a: a quote behind a Hebrew letter joins without a promise */
            if (a == BIT(WB_HEBREW) && b == BIT(WB_SQUOTE) &&
                !(wb_ahead(p, n, at + len) & AHLETTER))
                mid = 0;
            a = b;
        } else {
            return at;
        }
        odd = a == BIT(WB_RI);
        raw = b;
    }
    return at;
}
