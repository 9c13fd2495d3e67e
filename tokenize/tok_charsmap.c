/* tok_charsmap.c - SentencePiece's precompiled character map, as the reference
 * applies it.
 *
 * The map is a little-endian number of bytes, a double-array trie (darts-clone)
 * of that size, and texts ended by zero bytes. A key's value is the place of its
 * text. The reference goes by grapheme clusters (UAX #29): a cluster of less than
 * six bytes is looked up whole, and replaced by the text of the SHORTEST key that
 * is a prefix of it; else its characters are looked up one by one, likewise.
 *
 * Clusters of several characters that are so short are a base with marks, a
 * prepended sign with its base, or CR LF; the rules of flags, joined emoji and
 * Indic conjuncts are left out, for they make longer ones, which are taken apart in
 * any case. (One thing is lost: a mark of two bytes behind the last character of
 * such a cluster, where that character has three bytes and a mapping.)
 */
#include "tokenize/tok_norm.h"

#include <string.h>

#include "base/err.h"
#include "base/utf8.h"

#define CLUSTER 6 /* bytes from which a cluster is taken apart */

char *tok_base64(struct kj_str s, struct kj_arena *a, size_t *n)
{
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    unsigned char *out = kj_arena_alloc(a, s.n / 4 * 3 + 4);
    uint32_t bits = 0;
    unsigned have = 0;
    while (s.n && s.p[s.n - 1] == '=')
        s.n--;
    *n = 0;
    for (size_t i = 0; out && i < s.n; i++) {
        const char *d = s.p[i] ? strchr(digits, s.p[i]) : NULL;
        if (!d)
            return NULL;
        bits = bits << 6 | (uint32_t)(d - digits);
        have += 6;
        if (have >= 8) {
            have -= 8;
            out[(*n)++] = (unsigned char)(bits >> have);
        }
    }
    return (char *)out;
}

bool tok_charsmap_load(struct tok_charsmap *m, struct kj_str base64, struct kj_arena *a)
{
    size_t n;
    const char *p = tok_base64(base64, a, &n);
    uint32_t size;
    if (!p || n < 4)
        return false;
    memcpy(&size, p, 4);
    if (size % 4 || size < 4 || size > n - 4)
        return false;
    uint32_t *units = kj_arena_alloc(a, size);
    if (!units)
        return false;
    memcpy(units, p + 4, size);
    m->units = units;
    m->n_units = size / 4;
    m->text = p + 4 + size;
    m->n_text = n - 4 - size;
    return true;
}

/* A unit of the trie: 10 bits and more of offset, a label or a value. */
static inline uint32_t offset(uint32_t u)
{
    return u >> 10 << ((u & (1u << 9)) >> 6);
}

/* The text of the shortest key that is a prefix of p[0..n). */
static bool find(const struct tok_charsmap *m, const char *p, size_t n,
                 struct kj_str *to)
{
    uint32_t at = offset(m->units[0]);
    for (size_t i = 0; i < n && p[i]; i++) {
        unsigned char c = (unsigned char)p[i];
        at ^= c;
        if (at >= m->n_units || (m->units[at] & 0x800000FFu) != c)
            return false;
        bool leaf = m->units[at] >> 8 & 1;
        at ^= offset(m->units[at]);
        if (at >= m->n_units)
            return false;
        if (leaf) {
            size_t k = m->units[at] & 0x7FFFFFFF;
            if (k > m->n_text)
                return false;
            const char *end = memchr(m->text + k, 0, m->n_text - k);
            *to = (struct kj_str){m->text + k,
                                  end ? (size_t)(end - m->text) - k : m->n_text - k};
            return true;
        }
    }
    return false;
}

static bool in(uint32_t c, const uint32_t (*v)[2], size_t n)
{
    for (size_t i = 0; i < n && v[i][0] <= c; i++)
        if (c <= v[i][1])
            return true;
    return false;
}

/* Grapheme_Cluster_Break = Extend, SpacingMark or ZWJ. */
static bool extends(uint32_t c)
{
    /* With marks that came behind Unicode 15. */
    static const uint32_t more[][2] = {
        {0x897, 0x897},     {0xE33, 0xE33},     {0xEB3, 0xEB3},     {0x1ACF, 0x1ADD},
        {0x1AE0, 0x1AEB},   {0x200C, 0x200D},   {0xFF9E, 0xFF9F},   {0x10D69, 0x10D6D},
        {0x10EFA, 0x10EFC}, {0x113B8, 0x113C0}, {0x113C2, 0x113C2}, {0x113C5, 0x113C5},
        {0x113C7, 0x113CA}, {0x113CC, 0x113D0}, {0x113D2, 0x113D2}, {0x113E1, 0x113E2},
        {0x11F5A, 0x11F5A}, {0x1611E, 0x1612F}, {0x1E5EE, 0x1E5EF}, {0x1F3FB, 0x1F3FF},
        {0xE0020, 0xE007F}};
    static const uint32_t less[][2] = {
        {0x102B, 0x102C},  {0x1038, 0x1038}, {0x1062, 0x1064}, {0x1067, 0x106D},
        {0x1083, 0x1083},  {0x1087, 0x108C}, {0x108F, 0x108F}, {0x109A, 0x109C},
        {0x1A61, 0x1A61},  {0x1A63, 0x1A64}, {0xAA7B, 0xAA7B}, {0xAA7D, 0xAA7D},
        {0x11720, 0x11721}};
    return in(c, more, sizeof more / sizeof *more) ||
           (kj_uni_mark(c) && !in(c, less, sizeof less / sizeof *less));
}

static bool prepended(uint32_t c)
{
    static const uint32_t v[][2] = {
        {0x600, 0x605},     {0x6DD, 0x6DD},     {0x70F, 0x70F},     {0x890, 0x891},
        {0x8E2, 0x8E2},     {0xD4E, 0xD4E},     {0x110BD, 0x110BD}, {0x110CD, 0x110CD},
        {0x111C2, 0x111C3}, {0x1193F, 0x1193F}, {0x11941, 0x11941}, {0x11A3A, 0x11A3A},
        {0x11A84, 0x11A89}, {0x11D46, 0x11D46}, {0x11F02, 0x11F02}};
    return in(c, v, sizeof v / sizeof *v);
}

static bool control(uint32_t c)
{
    enum kj_gc g = kj_uni_category(c);
    return g == KJ_GC_CC || g == KJ_GC_ZL || g == KJ_GC_ZP ||
           (g == KJ_GC_CF && !extends(c) && !prepended(c));
}

/* Hangul: 1 leading, 2 vowel, 3 trailing, 4 syllable without a trailing
 * consonant, 5 with one; 0 none. */
static int hangul(uint32_t c)
{
    if (c < 0x1100 || c > 0xD7FB)
        return 0;
    if (c <= 0x115F || (c >= 0xA960 && c <= 0xA97C))
        return 1;
    if (c <= 0x11A7 || (c >= 0xD7B0 && c <= 0xD7C6))
        return 2;
    if (c <= 0x11FF || c >= 0xD7CB)
        return 3;
    if (c < 0xAC00 || c > 0xD7A3)
        return 0;
    return (c - 0xAC00) % 28 ? 5 : 4;
}

static bool one_syllable(uint32_t a, uint32_t b)
{
    int x = hangul(a), y = hangul(b);
    if (x == 1)
        return y && y != 3;
    if (x == 2 || x == 4)
        return y == 2 || y == 3;
    return x && y == 3;
}

/* Bytes of the cluster at p; exact where they are less than CLUSTER. */
static size_t cluster(const char *p, size_t n)
{
    size_t len, at;
    uint32_t c = kj_utf8_next(p, n, &at);
    if (c == '\r' && at < n && p[at] == '\n')
        return 2;
    while (!control(c) && at < n) {
        uint32_t d = kj_utf8_next(p + at, n - at, &len);
        if (!extends(d) && !(prepended(c) && !control(d)) && !one_syllable(c, d))
            break;
        at += len;
        c = d;
    }
    return at;
}

int tok_charsmap_run(const struct tok_charsmap *m, struct kj_buf *out, const char *p,
                     size_t n)
{
    int rc = KJ_OK;
    struct kj_str to;
    for (size_t at = 0; at < n && rc == KJ_OK;) {
        size_t len = cluster(p + at, n - at);
        if (len < CLUSTER && find(m, p + at, len, &to)) {
            rc = kj_buf_add(out, to.p, to.n);
            at += len;
            continue;
        }
        for (size_t end = at + len, k; at < end && rc == KJ_OK; at += k) {
            kj_utf8_next(p + at, n - at, &k);
            rc = find(m, p + at, k, &to) ? kj_buf_add(out, to.p, to.n)
                                         : kj_buf_add(out, p + at, k);
        }
    }
    return rc;
}
