/* unicode.c - properties, case, normal forms, words.
 *
 * Normal forms (Unicode Standard, chapter 3.11; UAX #15). Most text is
 * "inert": characters with combining class 0 that neither decompose in the
 * wanted form nor combine with what stands before them. Runs of those are
 * copied; only the last of a run waits, since marks may follow it. All else
 * goes, fully decomposed, into a segment that ends before the next character
 * that cannot combine backwards. A segment is put in canonical order by a
 * stable sort (counting by class when it is long, because a hostile text can
 * be one run of marks), composed when the form asks for it, and appended.
 *
 * Words (UAX #29) are found by a scan with the classes of the last character
 * that counts (rule WB4 skips Extend, Format and ZWJ) and one look ahead for
 * the rules that need two characters of context. What is looked at ahead is
 * looked at again at most once, so the scan is linear.
 */
#include "base/unicode.h"

#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "base/err.h"
#include "base/unicode_internal.h"
#include "base/utf8.h"

#define MAX_CP 0x10FFFFu

static unsigned prop(uint32_t c)
{
    return c <= MAX_CP ? KJ_UD_LOOK(kj_ud_prop, c) : 0;
}

enum kj_gc kj_uni_category(uint32_t c)
{
    return (enum kj_gc)(prop(c) & 31);
}

bool kj_uni_space(uint32_t c)
{
    return prop(c) & KJ_UD_SPACE;
}

bool kj_uni_py_space(uint32_t c)
{
    return prop(c) & KJ_UD_PYSPACE;
}

bool kj_uni_alnum(uint32_t c)
{
    return prop(c) & KJ_UD_ALNUM;
}

bool kj_uni_alpha(uint32_t c)
{
    return kj_uni_letter(c);
}

/* ---- case ---- */

uint32_t kj_uni_lower(uint32_t c)
{
    if (c < 0x80)
        return c - 'A' < 26 ? c + 32 : c;
    if (c > MAX_CP)
        return c;
    return c + (uint32_t)kj_ud_delta[2 * KJ_UD_LOOK(kj_ud_case, c)];
}

uint32_t kj_uni_upper(uint32_t c)
{
    if (c < 0x80)
        return c - 'a' < 26 ? c - 32 : c;
    if (c > MAX_CP)
        return c;
    return c + (uint32_t)kj_ud_delta[2 * KJ_UD_LOOK(kj_ud_case, c) + 1];
}

/* Is the sigma at p[at..at+2) final: a cased letter before it and none after
 * it, ignorable characters skipped on both sides (Final_Sigma)? `cased` tells
 * whether the last character before it that is not ignorable is cased. */
static bool final_sigma(const char *p, size_t n, size_t at, bool cased)
{
    if (!cased)
        return false;
    for (size_t i = at + 2, len; i < n; i += len) {
        unsigned w = prop(kj_utf8_next(p + i, n - i, &len));
        if (!(w & KJ_UD_IGNORABLE))
            return !(w & KJ_UD_CASED);
    }
    return true;
}

int kj_uni_lower_str(struct kj_buf *b, const char *p, size_t n)
{
    size_t start = b->n;
    bool cased = false; /* the last character that is not ignorable is cased */
    for (size_t i = 0, len; i < n; i += len) {
        if (kj_buf_reserve(b, 4) != KJ_OK)
            goto full;
        uint32_t c = kj_utf8_next(p + i, n - i, &len);
        if (c < 0x80) {
            cased =
                c - 'A' < 26 || c - 'a' < 26 || (cased && prop(c) & KJ_UD_IGNORABLE);
            b->p[b->n++] = (char)kj_uni_lower(c);
            continue;
        }
        unsigned w = prop(c);
        if (c == 0x3A3) {
            /* Linear: a sigma is not ignorable itself, so each stretch of
             * ignorable characters is looked through for one sigma only. */
            c = final_sigma(p, n, i, cased) ? 0x3C2 : 0x3C3;
        } else if (c == 0x130) {
            /* The one unconditional full mapping of more than one character. */
            if (kj_buf_add(b, "i\xCC\x87", 3) != KJ_OK)
                goto full;
            cased = true;
            continue;
        } else {
            c = kj_uni_lower(c);
        }
        if (!(w & KJ_UD_IGNORABLE))
            cased = w & KJ_UD_CASED;
        b->n += kj_utf8_put(c, b->p + b->n);
    }
    return KJ_OK;
full:
    b->n = start;
    return KJ_BAD_RECORD;
}

/* ---- normal forms ---- */

enum { S_BASE = 0xAC00, L_BASE = 0x1100, V_BASE = 0x1161, T_BASE = 0x11A7 };
enum { L_COUNT = 19, V_COUNT = 21, T_COUNT = 28, S_COUNT = 11172 };

struct mark {
    uint32_t c;
    uint32_t ccc;
};

/* The segment under work: one starter and what follows it. */
struct seg {
    struct kj_buf *out;
    struct kj_buf marks; /* struct mark[] when room is too small */
    struct mark room[64];
    struct mark *v;
    size_t n, cap;
    bool compose, compat;
};

static unsigned norm_rec(uint32_t c)
{
    return kj_ud_rec[KJ_UD_LOOK(kj_ud_norm, c)];
}

static const unsigned no_flag[] = {
    [KJ_NFC] = KJ_UD_NO_NFC,
    [KJ_NFD] = KJ_UD_NO_NFD,
    [KJ_NFKC] = KJ_UD_NO_NFKC,
    [KJ_NFKD] = KJ_UD_NO_NFKD,
};

/* Stable by combining class: insertion for the usual two or three marks. */
static int sort_marks(struct seg *s, size_t lo, size_t hi)
{
    struct mark *v = s->v;
    if (hi - lo <= 16) {
        for (size_t i = lo + 1; i < hi; i++) {
            struct mark m = v[i];
            size_t k = i;
            for (; k > lo && v[k - 1].ccc > m.ccc; k--)
                v[k] = v[k - 1];
            v[k] = m;
        }
        return KJ_OK;
    }
    size_t count[257] = {0}, n = hi - lo;
    struct kj_buf tmp;
    kj_buf_init(&tmp, n * sizeof *v);
    if (kj_buf_reserve(&tmp, n * sizeof *v) != KJ_OK)
        return KJ_BAD_RECORD;
    memcpy(tmp.p, v + lo, n * sizeof *v);
    for (size_t i = lo; i < hi; i++)
        count[v[i].ccc + 1]++;
    for (int k = 0; k < 256; k++)
        count[k + 1] += count[k];
    const struct mark *t = (const void *)tmp.p;
    for (size_t i = 0; i < n; i++)
        v[lo + count[t[i].ccc]++] = t[i];
    kj_buf_release(&tmp);
    return KJ_OK;
}

/* The primary composite of a and b, or 0. */
static uint32_t composite(uint32_t a, uint32_t b)
{
    if (a - L_BASE < L_COUNT && b - V_BASE < V_COUNT)
        return S_BASE + ((a - L_BASE) * V_COUNT + b - V_BASE) * T_COUNT;
    if (a - S_BASE < S_COUNT && (a - S_BASE) % T_COUNT == 0 && b > T_BASE &&
        b < T_BASE + T_COUNT)
        return a + b - T_BASE;
    size_t lo = 0, hi = kj_ud_pairs;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        const uint32_t *t = kj_ud_pair + 3 * mid;
        if (t[0] < a || (t[0] == a && t[1] < b))
            lo = mid + 1;
        else
            hi = mid;
    }
    const uint32_t *t = kj_ud_pair + 3 * lo;
    return lo < kj_ud_pairs && t[0] == a && t[1] == b ? t[2] : 0;
}

static void compose(struct seg *s)
{
    struct mark *v = s->v;
    size_t to = 1, starter = 0;
    if (s->n < 2)
        return;
    bool have = v[0].ccc == 0;
    for (size_t i = 1; i < s->n; i++) {
        uint32_t c;
        /* Blocked when a mark of the same class, or a starter, is between. */
        bool blocked = to - 1 > starter && v[to - 1].ccc >= v[i].ccc;
        if (have && !blocked && (c = composite(v[starter].c, v[i].c))) {
            v[starter].c = c;
            continue;
        }
        if (v[i].ccc == 0) {
            starter = to;
            have = true;
        }
        v[to++] = v[i];
    }
    s->n = to;
}

static int seg_flush(struct seg *s)
{
    /* Marks are ordered between starters (a segment holds more than one only
     * when they may combine backwards). */
    for (size_t lo = 0; lo < s->n;) {
        size_t hi = lo + 1;
        if (s->v[lo].ccc) {
            while (hi < s->n && s->v[hi].ccc)
                hi++;
            if (hi - lo > 1 && sort_marks(s, lo, hi) != KJ_OK)
                return KJ_BAD_RECORD;
        }
        lo = hi;
    }
    if (s->compose)
        compose(s);
    if (kj_buf_reserve(s->out, s->n * 4) != KJ_OK) {
        /* Four bytes each is the worst case: near the cap count them. */
        char tmp[4];
        size_t need = 0;
        for (size_t i = 0; i < s->n; i++)
            need += kj_utf8_put(s->v[i].c, tmp);
        if (kj_buf_reserve(s->out, need) != KJ_OK)
            return KJ_BAD_RECORD;
    }
    for (size_t i = 0; i < s->n; i++)
        s->out->n += kj_utf8_put(s->v[i].c, s->out->p + s->out->n);
    s->n = 0;
    return KJ_OK;
}

/* One fully decomposed character. */
static int seg_put(struct seg *s, uint32_t c)
{
    unsigned r = norm_rec(c);
    bool boundary = !(r & KJ_UD_CCC) && !(s->compose && r & KJ_UD_BACK);
    if (boundary && s->n && seg_flush(s) != KJ_OK)
        return KJ_BAD_RECORD;
    if (s->n == s->cap) {
        size_t bytes = s->n * sizeof *s->v;
        s->marks.n = s->v == s->room ? 0 : bytes; /* what a move must keep */
        if (kj_buf_reserve(&s->marks, 2 * bytes) != KJ_OK)
            return KJ_BAD_RECORD;
        if (s->v == s->room)
            memcpy(s->marks.p, s->room, bytes);
        s->v = (struct mark *)(void *)s->marks.p;
        s->cap = s->marks.size / sizeof *s->v;
    }
    s->v[s->n++] = (struct mark){c, r & KJ_UD_CCC};
    return KJ_OK;
}

static int seg_decompose(struct seg *s, uint32_t c)
{
    if (c - S_BASE < S_COUNT) {
        uint32_t i = c - S_BASE, t = i % T_COUNT;
        int rc = seg_put(s, L_BASE + i / (V_COUNT * T_COUNT));
        if (rc == KJ_OK)
            rc = seg_put(s, V_BASE + i % (V_COUNT * T_COUNT) / T_COUNT);
        if (rc == KJ_OK && t)
            rc = seg_put(s, T_BASE + t);
        return rc;
    }
    unsigned at = KJ_UD_LOOK(kj_ud_dec, c);
    const uint32_t *d = kj_ud_pool + at;
    size_t canon = d[0] >> 5, compat = d[0] & 31;
    const uint32_t *from = d + 1;
    size_t n = canon;
    if (s->compat && compat) {
        from += canon;
        n = compat;
    }
    if (!n)
        return seg_put(s, c);
    for (size_t i = 0; i < n; i++)
        if (seg_put(s, from[i]) != KJ_OK)
            return KJ_BAD_RECORD;
    return KJ_OK;
}

int kj_uni_normalize(struct kj_buf *b, enum kj_nf form, const char *p, size_t n)
{
    size_t start = b->n;
    unsigned stop = KJ_UD_CCC | KJ_UD_BACK | no_flag[form];
    struct seg s = {.out = b, .cap = 64};
    s.v = s.room;
    s.compose = form == KJ_NFC || form == KJ_NFKC;
    s.compat = form == KJ_NFKC || form == KJ_NFKD;
    /* A mark takes two bytes of input or more and gives at most three; the
     * array doubles. */
    kj_buf_init(&s.marks, 32 * n + 4096);
    for (size_t i = 0, len; i < n;) {
        size_t from = i, last = i; /* an inert run and its last character */
        while (i < n) {
            uint32_t c = kj_utf8_next(p + i, n - i, &len);
            if (c >= 0x80 && norm_rec(c) & stop)
                break;
            last = i;
            i += len;
        }
        if (i > from) {
            if (seg_flush(&s) != KJ_OK ||
                kj_buf_add(b, p + from, last - from) != KJ_OK ||
                seg_decompose(&s, kj_utf8_next(p + last, n - last, &len)) != KJ_OK)
                goto full;
        }
        if (i < n) {
            if (seg_decompose(&s, kj_utf8_next(p + i, n - i, &len)) != KJ_OK)
                goto full;
            i += len;
        }
    }
    if (seg_flush(&s) != KJ_OK)
        goto full;
    kj_buf_release(&s.marks);
    return KJ_OK;
full:
    kj_buf_release(&s.marks);
    b->n = start;
    return KJ_BAD_RECORD;
}

bool kj_uni_is_nfc(const char *p, size_t n)
{
    unsigned last = 0;
    for (size_t i = 0, len; i < n; i += len) {
        uint32_t c = kj_utf8_next(p + i, n - i, &len);
        if (c < 0x300) {
            last = 0;
            continue;
        }
        unsigned r = norm_rec(c), ccc = r & KJ_UD_CCC;
        if (r & (KJ_UD_BACK | KJ_UD_NO_NFC) || (ccc && ccc < last))
            return false;
        last = ccc;
    }
    return true;
}

/* ---- scripts ---- */

const char *kj_uni_script(uint32_t c)
{
    if (c > MAX_CP)
        return "Zzzz";
    size_t lo = 0, hi = kj_ud_runs; /* run[lo] starts at or before c */
    while (hi - lo > 1) {
        size_t mid = (lo + hi) / 2;
        if (kj_ud_run[mid] >> 8 <= c)
            lo = mid;
        else
            hi = mid;
    }
    return kj_ud_script[kj_ud_run[lo] & 0xFF];
}

/* ---- word boundaries ---- */

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
        unsigned k = wb_class(prop(kj_utf8_next(p + at, n - at, &len)));
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
    unsigned w = prop(kj_utf8_next(p + at, n - at, &len));
    unsigned a = wb_class(w); /* the last character that counts */
    unsigned raw = a;         /* the last character */
    unsigned mid = 0;         /* what stood before a, when a joined two */
    bool odd = a == BIT(WB_RI);
    at += len;
    if (a & NEWLINES) /* WB3, WB3a */
        return at + (a == BIT(WB_CR) && at < n && p[at] == '\n');
    for (; at < n; at += len) {
        w = prop(kj_utf8_next(p + at, n - at, &len));
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
