/* charset.c - choosing and undoing a page's encoding.
 *
 * Declarations are wrong often enough (a Korean page served as iso-8859-1, a
 * UTF-8 page whose template says euc-kr) that they must not be the last word,
 * and right often enough that a detector must not be the first. The rules:
 *
 *  - A byte order mark decides.
 *  - Valid UTF-8 with multi-byte sequences is UTF-8, if what is declared is
 *    nothing else, or there are enough sequences that another encoding cannot
 *    have made them by chance (two of three bytes, or four of two).
 *  - Otherwise candidates are taken in order (HTTP, meta, detection,
 *    windows-1252), and the first one wins whose decoding has at most one
 *    malformed sequence in 50 characters beyond ASCII. When the bytes read as
 *    Korean by syllable frequency, a declaration that says otherwise is passed
 *    over: single-byte tables and GB18030 accept any bytes and would always
 *    win.
 *
 * The syllable test is that of hangul.h; the cut at 25 % with at least 4
 * syllables holds down to titles of a few words.
 *
 * Behind all that, text that had been decoded wrongly before it was stored is
 * put right where that can be proved (mojibake.h).
 */
#include "extract/charset.h"

#include <errno.h>
#include <iconv.h>
#include <stdlib.h>
#include <string.h>
#include <uchardet.h>

#include "base/err.h"
#include "base/utf8.h"
#include "extract/hangul.h"
#include "extract/labels.h"
#include "extract/mojibake.h"

#define MAX_CONVERTERS 48
#define SAMPLE_BYTES   (64u << 10)
/* Texts beyond this are not looked at for mojibake. */
#define FIXED_MAX ((size_t)64 << 20)

struct kj_charset {
    iconv_t cd[MAX_CONVERTERS]; /* by index in kj_encodings; NULL: not yet */
    uchardet_t det;
    struct kj_buf sample, probe, fixed, korean;
};

struct kj_charset *kj_charset_new(void)
{
    struct kj_charset *c = kj_xcalloc(1, sizeof *c);
    kj_buf_init(&c->sample, 2 * SAMPLE_BYTES);
    kj_buf_init(&c->probe, 8 * SAMPLE_BYTES);
    kj_buf_init(&c->fixed, FIXED_MAX);
    kj_buf_init(&c->korean, FIXED_MAX);
    return c;
}

void kj_charset_free(struct kj_charset *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < MAX_CONVERTERS; i++)
        if (c->cd[i] && c->cd[i] != (iconv_t)-1)
            iconv_close(c->cd[i]);
    if (c->det)
        uchardet_delete(c->det);
    kj_buf_release(&c->sample);
    kj_buf_release(&c->probe);
    kj_buf_release(&c->fixed);
    kj_buf_release(&c->korean);
    free(c);
}

/* ---- labels ---- */

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static struct kj_str clean(struct kj_str s)
{
    while (s.n && (s.p[0] <= ' ' || s.p[0] == '"' || s.p[0] == '\''))
        s.p++, s.n--;
    while (s.n && ((s.p[s.n - 1] <= ' ' && s.p[s.n - 1] >= 0) || s.p[s.n - 1] == '"' ||
                   s.p[s.n - 1] == '\'' || s.p[s.n - 1] == ';'))
        s.n--;
    return s;
}

static const struct kj_encoding *by_label(struct kj_str s)
{
    char low[48];
    s = clean(s);
    if (s.n == 0 || s.n >= sizeof low)
        return NULL;
    for (size_t i = 0; i < s.n; i++) {
        low[i] = lower(s.p[i]);
        if (low[i] == ' ')
            return NULL;
    }
    for (const struct kj_encoding *e = kj_encodings; e->name; e++) {
        for (const char *l = e->labels; *l;) {
            size_t n = strcspn(l, " ");
            if (n == s.n && memcmp(l, low, n) == 0)
                return e;
            l += n;
            while (*l == ' ')
                l++;
        }
    }
    return NULL;
}

static const struct kj_encoding *by_name(const char *name)
{
    for (const struct kj_encoding *e = kj_encodings; e->name; e++)
        if (strcmp(e->name, name) == 0)
            return e;
    return NULL;
}

const char *kj_charset_label(struct kj_str label)
{
    const struct kj_encoding *e = by_label(label);
    return e ? e->name : NULL;
}

/* ---- conversion ---- */

static int full(struct kj_err *err)
{
    return kj_err_set(err, KJ_BAD_RECORD, "decoded text too large");
}

static int convert_utf8(const char *p, size_t n, struct kj_buf *out, uint64_t *replaced,
                        struct kj_err *err)
{
    while (n > 0) {
        size_t good = kj_utf8_valid(p, n);
        if (kj_buf_add(out, p, good) < 0)
            return full(err);
        p += good;
        n -= good;
        if (n == 0)
            break;
        size_t len;
        kj_utf8_next(p, n, &len);
        if (kj_buf_addz(out, "\xEF\xBF\xBD") < 0)
            return full(err);
        (*replaced)++;
        p += len;
        n -= len;
    }
    return KJ_OK;
}

/* windows-1252 by a table of our own: the C library refuses the five bytes
 * that the standard maps to control characters. */
static int convert_1252(const char *p, size_t n, struct kj_buf *out, struct kj_err *err)
{
    static const uint16_t high[32] = {
        0x20AC, 0x81,   0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021,
        0x02C6, 0x2030, 0x0160, 0x2039, 0x0152, 0x8D,   0x017D, 0x8F,
        0x90,   0x2018, 0x2019, 0x201C, 0x201D, 0x2022, 0x2013, 0x2014,
        0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0x9D,   0x017E, 0x0178};
    for (size_t i = 0; i < n;) {
        size_t a = i;
        while (i < n && !(p[i] & 0x80))
            i++;
        if (kj_buf_add(out, p + a, i - a) < 0)
            return full(err);
        if (i == n)
            break;
        unsigned char c = (unsigned char)p[i++];
        char u[4];
        size_t k = kj_utf8_put(c < 0xA0 ? high[c - 0x80] : c, u);
        if (kj_buf_add(out, u, k) < 0)
            return full(err);
    }
    return KJ_OK;
}

static int convert_iconv(iconv_t cd, const struct kj_encoding *e, const char *p,
                         size_t n, struct kj_buf *out, uint64_t *replaced,
                         struct kj_err *err)
{
    char *in = (char *)(uintptr_t)p;
    size_t left = n;
    bool utf16 = e->name[0] == 'U' && e->name[3] == '-' && e->name[4] == '1';
    iconv(cd, NULL, NULL, NULL, NULL);
    while (left > 0) {
        size_t want = left + left / 2 + 256;
        if (want > out->cap - out->n)
            want = out->cap - out->n;
        if (want < 16 || kj_buf_reserve(out, want) < 0)
            return full(err);
        char *to = out->p + out->n;
        size_t room = want;
        size_t rc = iconv(cd, &in, &left, &to, &room);
        out->n = (size_t)(to - out->p);
        if (rc != (size_t)-1)
            break;
        if (errno == E2BIG) {
            if (room > 16 && want == room)
                return full(err);
            continue;
        }
        /* Malformed, or cut short at the end: one U+FFFD, and go on behind
         * the lead byte; a trail byte that is ASCII is kept, as the standard
         * has it. */
        (*replaced)++;
        if (kj_buf_addz(out, "\xEF\xBF\xBD") < 0)
            return full(err);
        size_t skip = utf16 ? 2 : e->wide && left > 1 && (in[1] & 0x80) ? 2 : 1;
        if (skip > left || errno == EINVAL)
            skip = left;
        in += skip;
        left -= skip;
    }
    return KJ_OK;
}

static int convert(struct kj_charset *c, const struct kj_encoding *e, const char *p,
                   size_t n, struct kj_buf *out, uint64_t *replaced, struct kj_err *err)
{
    size_t i = (size_t)(e - kj_encodings);
    if (i == 0)
        return convert_utf8(p, n, out, replaced, err);
    if (i == 1)
        return convert_1252(p, n, out, err);
    if (!c->cd[i])
        c->cd[i] = iconv_open("UTF-8", e->iconv);
    if (c->cd[i] == (iconv_t)-1) /* a C library without this table */
        return convert_1252(p, n, out, err);
    return convert_iconv(c->cd[i], e, p, n, out, replaced, err);
}

int kj_charset_convert(struct kj_charset *c, const char *name, const char *p, size_t n,
                       struct kj_buf *out, uint64_t *replaced, struct kj_err *err)
{
    const struct kj_encoding *e = by_name(name);
    return convert(c, e ? e : kj_encodings + 1, p, n, out, replaced, err);
}

/* ---- detection ---- */

struct shape {
    size_t high;       /* bytes >= 0x80 */
    size_t seq2, seq3; /* UTF-8 sequences of two, and of more bytes */
    size_t first;      /* offset of the first high byte */
    bool utf8;         /* valid throughout */
    bool escapes, zeros;
};

/* Are there bytes among these eight that measure() counts? All others of the
 * page's bytes, which is nearly all, are passed over at once. */
static bool telling8(const char *p)
{
    const uint64_t ones = 0x0101010101010101u, top = 0x8080808080808080u;
    uint64_t w, e, o;
    memcpy(&w, p, sizeof w);
    e = w ^ (0x1B * ones);
    o = w ^ (0x0E * ones);
    return (w | (w - ones) | ((e - ones) & ~e) | ((o - ones) & ~o)) & top;
}

static void measure(const char *p, size_t n, struct shape *s)
{
    memset(s, 0, sizeof *s);
    s->first = n;
    s->utf8 = kj_utf8_valid(p, n) == n;
    for (size_t i = 0; i < n; i++) {
        while (n - i >= 8 && !telling8(p + i))
            i += 8;
        if (i == n)
            break;
        unsigned char c = (unsigned char)p[i];
        if (c >= 0x80) {
            if (!s->high++)
                s->first = i;
            s->seq2 += c >= 0xC2 && c <= 0xDF;
            s->seq3 += c >= 0xE0 && c <= 0xF4;
        } else if (c < 0x20) {
            s->escapes |= c == 0x1B || c == 0x0E;
            s->zeros |= c == 0;
        }
    }
}

/* How Korean the bytes read in one encoding: share of common syllables, 0 when
 * there is too little or too much else. */
static double korean_share(struct kj_charset *c, const char *name, const char *p,
                           size_t n)
{
    struct kj_hangul h;
    uint64_t bad = 0;
    kj_buf_reset(&c->probe);
    if (convert(c, by_name(name), p, n, &c->probe, &bad, NULL) < 0)
        return 0;
    kj_hangul_count(c->probe.p, c->probe.n, &h);
    if (h.hangul < 4 || h.hangul < 4 * (h.other + h.bad))
        return 0;
    return (double)h.common / (double)h.hangul;
}

/* What lies around bytes beyond ASCII, without the markup between it: enough
 * to judge, and little even when the page is large. */
static void take_sample(struct kj_charset *c, const char *p, size_t n)
{
    kj_buf_reset(&c->sample);
    for (size_t i = 0; i < n && c->sample.n < SAMPLE_BYTES;) {
        while (i < n && !(p[i] & 0x80))
            i++;
        size_t a = i, gap = 0;
        while (i < n && gap < 3 && i - a < 4096) {
            gap = p[i] & 0x80 ? 0 : gap + 1;
            i++;
        }
        kj_buf_add(&c->sample, p + a, i - a);
        kj_buf_addc(&c->sample, ' ');
    }
}

static const char *ask_uchardet(struct kj_charset *c, const char *p, size_t n)
{
    if (!c->det)
        c->det = uchardet_new();
    uchardet_reset(c->det);
    uchardet_handle_data(c->det, p, n);
    uchardet_data_end(c->det);
    const char *name = kj_charset_label(kj_str_z(uchardet_get_charset(c->det)));
    return name ? name : "windows-1252";
}

/* UTF-16 without a mark: pairs whose one byte is 0 (ASCII) or in the range of
 * Hangul syllables. */
static const char *detect_utf16(const char *p, size_t n)
{
    size_t pairs = n / 2 < 4096 ? n / 2 : 4096, le = 0, be = 0, zero = 0;
    for (size_t i = 0; i < pairs; i++) {
        unsigned char a = (unsigned char)p[2 * i], b = (unsigned char)p[2 * i + 1];
        le += (b == 0 && a) || (b >= 0xAC && b <= 0xD7);
        be += (a == 0 && b) || (a >= 0xAC && a <= 0xD7);
        zero += !a != !b;
    }
    if (pairs < 4 || zero * 10 < pairs)
        return NULL;
    if (le * 10 >= pairs * 8 && le > be)
        return "UTF-16LE";
    if (be * 10 >= pairs * 8 && be > le)
        return "UTF-16BE";
    return NULL;
}

static const char *detect_escapes(const char *p, size_t n)
{
    for (size_t i = 0; i + 2 < n; i++) {
        if (p[i] != 0x1B)
            continue;
        if (i + 3 < n && memcmp(p + i, "\x1b$)C", 4) == 0)
            return "ISO-2022-KR";
        if (p[i + 1] == '$' && (p[i + 2] == 'B' || p[i + 2] == '@'))
            return "ISO-2022-JP";
    }
    return NULL;
}

static const char *detect(struct kj_charset *c, const char *p, size_t n,
                          const struct shape *s, bool *korean)
{
    const char *name;
    *korean = false;
    if (s->zeros && (name = detect_utf16(p, n)))
        return name;
    if (!s->high)
        return s->escapes && (name = detect_escapes(p, n)) ? name : "ASCII";
    if (s->utf8)
        return "UTF-8";
    take_sample(c, p, n);
    double uhc = korean_share(c, "EUC-KR", c->sample.p, c->sample.n);
    double johab = korean_share(c, "Johab", c->sample.p, c->sample.n);
    *korean = uhc >= 0.25 || johab >= 0.25;
    if (*korean)
        return johab > uhc ? "Johab" : "EUC-KR";
    size_t from = s->first > 1024 ? s->first - 1024 : 0;
    size_t len = n - from < SAMPLE_BYTES ? n - from : SAMPLE_BYTES;
    return ask_uchardet(c, p + from, len);
}

/* ---- the choice ---- */

struct candidate {
    const struct kj_encoding *e;
    const char *by;
};

/* Characters beyond ASCII in the decoded text, U+FFFD among them. */
static size_t beyond_ascii(const char *p, size_t n)
{
    size_t k = 0;
    for (size_t i = 0; i < n; i++)
        k += (unsigned char)p[i] >= 0xC0;
    return k;
}

static const struct kj_encoding *from_bom(const char **p, size_t *n)
{
    static const struct {
        const char *mark;
        size_t n;
        const char *name;
    } marks[] = {{"\xEF\xBB\xBF", 3, "UTF-8"},
                 {"\xFF\xFE", 2, "UTF-16LE"},
                 {"\xFE\xFF", 2, "UTF-16BE"}};
    for (size_t i = 0; i < 3; i++) {
        if (*n >= marks[i].n && memcmp(*p, marks[i].mark, marks[i].n) == 0) {
            *p += marks[i].n;
            *n -= marks[i].n;
            return by_name(marks[i].name);
        }
    }
    return NULL;
}

static void note_label(struct kj_charset_result *r, struct kj_str label)
{
    size_t k = 0;
    label = clean(label);
    for (size_t i = 0; i < label.n && k < sizeof r->declared - 1; i++)
        if (label.p[i] > ' ' && label.p[i] < 127)
            r->declared[k++] = lower(label.p[i]);
    r->declared[k] = 0;
}

/* May Korean bytes be of this encoding? Of the two tables, the one that was
 * detected must not read much better. */
static bool korean_table(struct kj_charset *c, const struct kj_encoding *e,
                         const char *detected)
{
    if (strcmp(e->name, detected) == 0)
        return true;
    if (strcmp(e->name, "EUC-KR") != 0 && strcmp(e->name, "Johab") != 0)
        return false;
    return korean_share(c, e->name, c->sample.p, c->sample.n) + 0.1 >
           korean_share(c, detected, c->sample.p, c->sample.n);
}

/* Decode by the best of the candidates. */
static int choose(struct kj_charset *c, const struct candidate *cand, size_t n_cand,
                  bool korean, const char *p, size_t n, struct kj_buf *out,
                  struct kj_charset_result *r, struct kj_err *err)
{
    const struct candidate *best = NULL;
    double best_bad = 2;
    for (size_t i = 0; i <= n_cand; i++) {
        const struct candidate *k = i < n_cand ? &cand[i] : best;
        if (i < n_cand && korean && !korean_table(c, k->e, r->detected))
            continue;
        uint64_t bad = 0;
        kj_buf_reset(out);
        int rc = convert(c, k->e, p, n, out, &bad, err);
        if (rc < 0)
            return rc;
        size_t all = beyond_ascii(out->p, out->n);
        double share = all ? (double)bad / (double)all : 0;
        if (share < best_bad) {
            best_bad = share;
            best = k;
        }
        if (share <= 0.02 || i == n_cand) {
            r->text = (struct kj_str){out->p, out->n};
            r->used = k->e->name;
            r->by = k->by;
            r->replaced = bad;
            return KJ_OK;
        }
    }
    return KJ_OK; /* not reached: the last turn always returns */
}

static int decode(struct kj_charset *c, const char *p, size_t n,
                  struct kj_str http_label, bool markup, struct kj_buf *out,
                  struct kj_charset_result *r, struct kj_err *err)
{
    struct candidate cand[5];
    size_t k = 0;
    struct shape s;
    bool korean = false;
    memset(r, 0, sizeof *r);
    r->detected = "";
    struct kj_str meta = {NULL, 0};
    if (markup)
        meta = kj_charset_prescan(p, n);
    note_label(r, http_label.n ? http_label : meta);
    const struct kj_encoding *e = from_bom(&p, &n);
    if (e) {
        cand[0] = (struct candidate){e, "bom"};
        return choose(c, cand, 1, false, p, n, out, r, err);
    }
    measure(p, n, &s);
    r->detected = detect(c, p, n, &s, &korean);
    if ((e = by_label(http_label)))
        cand[k++] = (struct candidate){e, "http"};
    if ((e = by_label(meta))) {
        /* A page that can say so in ASCII is not UTF-16. */
        if (strncmp(e->name, "UTF-16", 6) == 0)
            e = kj_encodings;
        cand[k++] = (struct candidate){e, "meta"};
    }
    if (!s.high && !s.zeros && strcmp(r->detected, "ASCII") == 0) {
        r->text = (struct kj_str){p, n};
        r->used =
            k && strncmp(cand[0].e->name, "UTF-16", 6) ? cand[0].e->name : "UTF-8";
        r->by = k ? cand[0].by : "fallback";
        return KJ_OK;
    }
    if (strncmp(r->detected, "UTF-16", 6) == 0 ||
        strncmp(r->detected, "ISO-2022", 8) == 0) {
        cand[0] = (struct candidate){by_name(r->detected), "detected"};
        return choose(c, cand, 1, false, p, n, out, r, err);
    }
    if (s.utf8) {
        bool sure = s.seq3 >= 2 || s.seq2 >= 4;
        size_t i = 0;
        while (i < k && cand[i].e != kj_encodings)
            i++;
        if (i < k || sure || k == 0) {
            r->text = (struct kj_str){p, n};
            r->used = "UTF-8";
            r->by = i < k ? cand[i].by : "detected";
            return KJ_OK;
        }
    }
    if ((e = by_name(r->detected)))
        cand[k++] = (struct candidate){e, "detected"};
    cand[k++] = (struct candidate){kj_encodings + 1, "fallback"};
    return choose(c, cand, k, korean, p, n, out, r, err);
}

/* ---- what was decoded wrongly before ---- */

/* Bytes of EUC-KR that had been taken for ISO-8859-1 are in c->fixed: as text,
 * or NULL when they are no Korean. */
static const struct kj_buf *repair_korean(struct kj_charset *c)
{
    uint64_t bad = 0;
    struct kj_hangul h;
    take_sample(c, c->fixed.p, c->fixed.n);
    if (korean_share(c, "EUC-KR", c->sample.p, c->sample.n) < 0.4)
        return NULL;
    kj_buf_reset(&c->korean);
    if (convert(c, by_name("EUC-KR"), c->fixed.p, c->fixed.n, &c->korean, &bad, NULL) <
        0)
        return NULL;
    kj_hangul_count(c->korean.p, c->korean.n, &h);
    return bad == 0 && h.hangul >= 10 ? &c->korean : NULL;
}

static void repair(struct kj_charset *c, struct kj_buf *out,
                   struct kj_charset_result *r)
{
    /* What went wrong once may have gone wrong twice. */
    for (int round = 0; round < 3; round++) {
        enum kj_mojibake m = kj_mojibake_undo(r->text.p, r->text.n, &c->fixed);
        const struct kj_buf *b = m == KJ_MOJIBAKE_NONE    ? NULL
                                 : m == KJ_MOJIBAKE_BYTES ? repair_korean(c)
                                                          : &c->fixed;
        if (!b)
            return;
        /* It is shorter than what was there, so this cannot fail when the text
         * lies in out. */
        kj_buf_reset(out);
        if (kj_buf_add(out, b->p, b->n) < 0)
            return;
        r->text = (struct kj_str){out->p, out->n};
        r->repaired = m == KJ_MOJIBAKE_BYTES ? "EUC-KR" : "UTF-8";
    }
}

int kj_charset_decode(struct kj_charset *c, const char *p, size_t n,
                      struct kj_str http_label, bool markup, struct kj_buf *out,
                      struct kj_charset_result *r, struct kj_err *err)
{
    int rc = decode(c, p, n, http_label, markup, out, r, err);
    if (rc == KJ_OK)
        repair(c, out, r);
    return rc;
}
