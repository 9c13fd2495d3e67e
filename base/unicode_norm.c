/* unicode_norm.c - normal forms (Unicode Standard, chapter 3.11; UAX #15).
 *
 * Most text is "inert": characters with combining class 0 that neither decompose
 * in the wanted form nor combine with what stands before them. Runs of those are
 * copied; only the last of a run waits, since marks may follow it. All else goes,
 * fully decomposed, into a segment that ends before the next character that cannot
 * combine backwards. A segment is put in canonical order by a stable sort (counting
 * by class when it is long, because a hostile text can be one run of marks),
 * composed when the form asks for it, and appended.
 */
#include "base/unicode.h"

#include <string.h>

#include "base/err.h"
#include "base/unicode_internal.h"
#include "base/utf8.h"

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
