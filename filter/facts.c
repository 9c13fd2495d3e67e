/* facts.c - words, lines, paragraphs; see the definitions in facts.h, and ngrams.c.
 *
 * A word is added with its hash, and to two sums in which each byte has a weight by
 * its place in the text, so that ngrams.c can take the hash of any run of words.
 */
#define _GNU_SOURCE /* memmem */
#include "filter/facts.h"

#include <stdlib.h>
#include <string.h>

#include "base/doc.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/unicode.h"
#include "base/utf8.h"
#include "filter/dclm.h"
#include "filter/morph.h"

#define B      0x9E3779B97F4A7C15u /* odd; any will do */
#define B2     (B * B)
#define B3     (B2 * B)
#define POWERS 1024 /* precomputed powers of B */

/* Classes of ASCII bytes: what a word needs to know of a character. */
enum { C_SPACE = 1, C_ALPHA = 2, C_SOLID = 4 };
static unsigned char ascii[128];

void kj_facts_init(struct kj_facts *f)
{
    memset(f, 0, sizeof *f);
    f->powers = kj_xmalloc(2 * POWERS * sizeof *f->powers);
    f->inverses = f->powers + POWERS;
    f->powers[0] = f->inverses[0] = 1;
    uint64_t inverse = B; /* right in 3 bits, in twice as many by each step */
    for (int i = 0; i < 5; i++)
        inverse *= 2 - B * inverse;
    for (size_t i = 1; i < POWERS; i++) {
        f->powers[i] = f->powers[i - 1] * B;
        f->inverses[i] = f->inverses[i - 1] * inverse;
    }
}

void kj_facts_release(struct kj_facts *f)
{
    for (int u = 0; u < KJ_WORD_UNITS; u++) {
        free(f->words[u].chars);
        free(f->words[u].bytes);
        free(f->words[u].cat);
        free(f->words[u].spc);
        free(f->words[u].hash);
    }
    kj_morph_free(f->morph);
    kj_dclm_free(f->dclm);
    kj_grams_release(&f->grams);
    free(f->table.keys);
    free(f->powers);
    memset(f, 0, sizeof *f);
}

/* Filled before main(), so that it is read-only for all threads. */
__attribute__((constructor)) static void fill_ascii(void)
{
    for (uint32_t c = 0; c < 128; c++) {
        unsigned k = kj_uni_py_space(c) ? C_SPACE : 0;
        k |= kj_uni_alpha(c) ? C_ALPHA : 0;
        k |= kj_char_punct(c) ? 0 : C_SOLID;
        ascii[c] = (unsigned char)k;
    }
}

static uint64_t raise(const uint64_t *powers, size_t n)
{
    if (n < POWERS)
        return powers[n];
    uint64_t r = 1, b = powers[1];
    for (; n; n >>= 1, b *= b)
        if (n & 1)
            r *= b;
    return r;
}

uint64_t kj_facts_power(const struct kj_facts *f, size_t n)
{
    return raise(f->powers, n);
}

uint64_t kj_facts_hash(const char *p, size_t n)
{
    uint64_t h = 0;
    for (size_t i = 0; i < n; i++)
        h = h * B + (unsigned char)p[i] + 1;
    return h;
}

/* ---- the text as a whole ---- */

/* Occurrences of three bytes, without overlap, where the first is rare. */
static size_t count_three(const char *p, size_t n, const char *s)
{
    size_t k = 0;
    const char *e = p + n;
    while (p && e - p > 2 &&
           (p = memchr(p, (unsigned char)s[0], (size_t)(e - p) - 2))) {
        bool hit = p[1] == s[1] && p[2] == s[2];
        k += hit;
        p += hit ? 3 : 1;
    }
    return k;
}

void kj_facts_set(struct kj_facts *f, const struct kj_doc *d)
{
    f->doc = d;
    f->came = d->text;
    f->over = false;
    kj_facts_text(f, d->text);
}

void kj_facts_text(struct kj_facts *f, struct kj_str text)
{
    const char *p = text.p;
    size_t n = text.n;
    const struct kj_facts_bytes t = kj_facts_tally(p, n);
    f->p = p;
    f->n = n;
    f->chars = n - t.conts;
    f->newlines = t.newlines;
    f->hashes = t.hashes;
    f->ellipses = (t.dots > 2 ? count_three(p, n, "...") : 0) +
                  (t.e2 ? count_three(p, n, "\xE2\x80\xA6") : 0);
    f->odd_breaks =
        t.odd || (t.c2 && memmem(p, n, "\xC2\x85", 2)) ||
        (t.e2 && (memmem(p, n, "\xE2\x80\xA8", 3) || memmem(p, n, "\xE2\x80\xA9", 3)));
    for (int u = 0; u < KJ_WORD_UNITS; u++) {
        struct kj_words *w = &f->words[u];
        w->ready = w->counted = false;
        w->have_grams[0] = w->have_grams[1] = false;
    }
    f->lines.ready = f->lines.py_ready = f->lines.para_ready = false;
    f->ko.ready = false;
    kj_dclm_reset(f->dclm);
}

const struct kj_korean *kj_facts_korean(struct kj_facts *f)
{
    if (!f->ko.ready)
        kj_korean_count((struct kj_str){f->p, f->n}, &f->ko);
    return &f->ko;
}

static size_t count_chars(const char *p, size_t n)
{
    size_t conts = 0;
    for (size_t i = 0; i < n;) {
        size_t end = n - i > 255 ? i + 255 : n;
        unsigned char k = 0;
        for (; i < end; i++)
            k += (p[i] & 0xC0) == 0x80;
        conts += k;
    }
    return n - conts;
}

/* ---- words ---- */

/* Length of the white space at p, 0 when it is something else. */
static inline size_t space_at(const char *p, size_t n)
{
    unsigned char c = (unsigned char)*p;
    if (c < 0x80)
        return ascii[c] & C_SPACE;
    if (c != 0xC2 && (c < 0xE1 || c > 0xE3)) /* no white space begins so */
        return 0;
    size_t len;
    return kj_uni_py_space(kj_utf8_next(p, n, &len)) ? len : 0;
}

static bool all_space(const char *p, size_t n)
{
    for (size_t i = 0, len; i < n; i += len)
        if (!(len = space_at(p + i, n - i)))
            return false;
    return true;
}

static void words_grow(struct kj_words *w)
{
    size_t cap = w->cap ? 2 * w->cap : 4096;
    w->chars = kj_xrealloc(w->chars, cap * sizeof *w->chars);
    w->bytes = kj_xrealloc(w->bytes, cap * sizeof *w->bytes);
    w->cat = kj_xrealloc(w->cat, cap * sizeof *w->cat);
    w->spc = kj_xrealloc(w->spc, cap * sizeof *w->spc);
    w->hash = kj_xrealloc(w->hash, cap * sizeof *w->hash);
    w->cap = cap;
}

static bool is_cont(char c)
{
    return ((unsigned char)c & 0xC0) == 0x80;
}

static void words_add(const struct kj_facts *f, struct kj_words *w, const char *p,
                      size_t n)
{
    uint64_t h = 0;
    size_t conts = 0;
    unsigned seen = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)p[i];
        if ((c == 0xEB || c == 0xEC) && n - i > 2 && is_cont(p[i + 1]) &&
            is_cont(p[i + 2])) { /* most of Hangul: three bytes at once */
            h = h * B3 + (c + 1) * B2 + (unsigned char)p[i + 1] * B + B +
                (unsigned char)p[i + 2] + 1;
            seen |= C_ALPHA | C_SOLID;
            conts += 2;
            i += 2;
            continue;
        }
        h = h * B + c + 1;
        if (c < 0x80) {
            seen |= ascii[c];
        } else if (c < 0xC0) {
            conts++;
        } else if ((seen & (C_ALPHA | C_SOLID)) != (C_ALPHA | C_SOLID)) {
            size_t len;
            uint32_t u = kj_utf8_next(p + i, n - i, &len);
            seen |= kj_uni_alpha(u) ? C_ALPHA : 0;
            seen |= kj_char_punct(u) ? 0 : C_SOLID;
        }
    }
    size_t i = w->n, chars = n - conts;
    if (i + 2 > w->cap)
        words_grow(w);
    uint64_t less = raise(f->inverses, n);
    w->chars[i + 1] = w->chars[i] + (uint32_t)chars;
    w->bytes[i + 1] = w->bytes[i] + (uint32_t)n;
    w->hash[i] = h;
    w->cat_weight *= less;
    w->cat[i + 1] = w->cat[i] + h * w->cat_weight;
    w->spc_weight *= less;
    w->spc[i + 1] = w->spc[i] + h * w->spc_weight;
    w->spc_weight *= f->inverses[1];
    w->spc[i + 1] += (' ' + 1) * w->spc_weight;
    w->n++;
    w->n_alpha += (seen & C_ALPHA) != 0;
    if (seen & C_SOLID) {
        w->n_solid++;
        w->solid_chars += chars;
    }
}

static void words_space(struct kj_facts *f, struct kj_words *w)
{
    const char *p = f->p;
    size_t n = f->n, i = 0, len;
    while (i < n && w->n <= KJ_FACTS_MAX) {
        while (i < n && (len = space_at(p + i, n - i)))
            i += len;
        size_t from = i;
        /* Any byte may be asked: none but a first byte can look like space. */
        while (i < n && !space_at(p + i, n - i))
            i++;
        if (i > from)
            words_add(f, w, p + from, i - from);
    }
}

/* Behind spaces at i that are a segment of their own; i where there are none. */
static inline size_t skip_spaces(const char *p, size_t n, size_t i)
{
    size_t end = i;
    while (end < n && p[end] == ' ')
        end++;
    return end == n || !((unsigned char)p[end] & 0x80) ? end : i;
}

static void words_uax29(struct kj_facts *f, struct kj_words *w, bool alnum)
{
    const char *p = f->p;
    size_t n = f->n, i = 0;
    while ((i = skip_spaces(p, n, i)) < n && w->n <= KJ_FACTS_MAX) {
        size_t end = kj_uni_word_next(p, n, i), len;
        if (alnum ? kj_uni_alnum(kj_utf8_next(p + i, n - i, &len))
                  : !space_at(p + i, n - i) || !all_space(p + i, end - i))
            words_add(f, w, p + i, end - i);
        i = end;
    }
}

static void words_morpheme(struct kj_facts *f, struct kj_words *w)
{
    struct kj_morph_piece piece[KJ_MORPH_PIECES];
    if (!f->morph)
        f->morph = kj_morph_new();
    for (size_t i = 0, end; i < f->n && w->n <= KJ_FACTS_MAX; i = end) {
        size_t k = kj_morph_next(f->morph, f->p, f->n, i, piece, &end);
        for (size_t x = 0; x < k; x++)
            words_add(f, w, f->p + piece[x].from, piece[x].to - piece[x].from);
    }
}

const struct kj_words *kj_facts_words(struct kj_facts *f, enum kj_word_unit unit)
{
    struct kj_words *w = &f->words[unit];
    if (w->ready)
        return w;
    if (!w->cap)
        words_grow(w);
    w->n = w->n_solid = w->solid_chars = w->n_alpha = 0;
    w->chars[0] = w->bytes[0] = 0;
    w->cat[0] = w->spc[0] = 0;
    w->cat_weight = w->spc_weight = 1;
    if (unit == KJ_WORDS_SPACE)
        words_space(f, w);
    else if (unit == KJ_WORDS_MORPHEME)
        words_morpheme(f, w);
    else
        words_uax29(f, w, unit == KJ_WORDS_ALNUM);
    if (w->n > KJ_FACTS_MAX)
        f->over = true;
    w->ready = true;
    return w;
}

size_t kj_facts_word_count(struct kj_facts *f, enum kj_word_unit unit)
{
    struct kj_words *w = &f->words[unit];
    if (w->ready || unit != KJ_WORDS_UAX29)
        return kj_facts_words(f, unit)->n;
    if (w->counted)
        return w->count;
    w->count = 0;
    for (size_t i = 0, end; (i = skip_spaces(f->p, f->n, i)) < f->n; i = end) {
        end = kj_uni_word_next(f->p, f->n, i);
        w->count += !space_at(f->p + i, f->n - i) || !all_space(f->p + i, end - i);
    }
    if (w->count > KJ_FACTS_MAX)
        f->over = true;
    w->counted = true;
    return w->count;
}

/* ---- lines ---- */

/* The last code point of [p,n), n >= 1. */
static uint32_t last_char(const char *p, size_t n, size_t *len)
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

static uint64_t line_key(const char *p, size_t n)
{
    return kj_hash64(p, n, 0);
}

static void line_add(struct kj_lines *l, const char *p, size_t n, bool repeat)
{
    size_t chars = count_chars(p, n), len;
    if (repeat) {
        l->dup_pieces++;
        l->dup_piece_chars += chars;
    }
    if (all_space(p, n))
        return;
    l->full++;
    l->full_short += chars <= l->short_line;
    l->full_punct += kj_char_terminal(last_char(p, n, &len));
    if (repeat)
        l->dup_full_chars += chars;
}

const struct kj_lines *kj_facts_lines(struct kj_facts *f, size_t short_line)
{
    struct kj_lines *l = &f->lines;
    if (l->ready && l->short_line == short_line)
        return l;
    l->short_line = short_line;
    l->pieces = l->dup_pieces = l->dup_piece_chars = 0;
    l->full = l->full_punct = l->full_short = l->dup_full_chars = 0;
    if (f->newlines >= KJ_FACTS_MAX) {
        f->over = true;
        return l;
    }
    const char *p = f->p;
    size_t n = f->n;
    kj_table_reset(&f->table, f->newlines + 1);
    for (size_t i = 0; i < n;) {
        const char *e = memchr(p + i, '\n', n - i);
        size_t end = e ? (size_t)(e - p) : n;
        if (end > i) {
            l->pieces++;
            line_add(l, p + i, end - i,
                     kj_table_add(&f->table, line_key(p + i, end - i)));
        }
        i = end + 1;
    }
    /* An empty piece stands before newlines at the start and behind those at
     * the end; an empty text is one. The second of two repeats the first. */
    size_t empty = n == 0 ? 1 : (size_t)(p[0] == '\n') + (p[n - 1] == '\n');
    l->pieces += empty;
    l->dup_pieces += empty == 2;
    l->ready = true;
    return l;
}

static void py_line(struct kj_lines *l, const char *p, size_t n)
{
    size_t len;
    l->py++;
    while (n && (len = space_at(p, n))) {
        p += len;
        n -= len;
    }
    if (!n)
        return;
    l->py_bullet += *p == '-' || (n >= 3 && memcmp(p, "\xE2\x80\xA2", 3) == 0);
    while (n && kj_uni_py_space(last_char(p, n, &len)))
        n -= len;
    l->py_ellipsis += (n >= 3 && memcmp(p + n - 3, "...", 3) == 0) ||
                      (n >= 3 && memcmp(p + n - 3, "\xE2\x80\xA6", 3) == 0);
}

/* Length of the line break at p, 0 when it is something else. */
static size_t py_break(const char *p, size_t n)
{
    unsigned char c = (unsigned char)*p;
    if (c == '\r')
        return n > 1 && p[1] == '\n' ? 2 : 1;
    if ((c >= 0x0A && c <= 0x0C) || (c >= 0x1C && c <= 0x1E))
        return 1;
    if (n >= 2 && memcmp(p, "\xC2\x85", 2) == 0)
        return 2;
    if (n >= 3 &&
        (memcmp(p, "\xE2\x80\xA8", 3) == 0 || memcmp(p, "\xE2\x80\xA9", 3) == 0))
        return 3;
    return 0;
}

const struct kj_lines *kj_facts_py_lines(struct kj_facts *f)
{
    struct kj_lines *l = &f->lines;
    if (l->py_ready)
        return l;
    l->py = l->py_bullet = l->py_ellipsis = 0;
    const char *p = f->p;
    size_t n = f->n;
    for (size_t i = 0, len = 0; i < n;) {
        size_t end = i;
        if (f->odd_breaks) {
            while (end < n && !(len = py_break(p + end, n - end)))
                end++;
        } else {
            const char *e = memchr(p + i, '\n', n - i);
            end = e ? (size_t)(e - p) : n;
            len = 1;
        }
        py_line(l, p + i, end - i);
        i = end + len;
    }
    l->py_ready = true;
    return l;
}

const struct kj_lines *kj_facts_paras(struct kj_facts *f)
{
    struct kj_lines *l = &f->lines;
    if (l->para_ready)
        return l;
    l->paras = l->dup_paras = l->dup_para_chars = 0;
    if (f->newlines >= KJ_FACTS_MAX) {
        f->over = true;
        return l;
    }
    const char *p = f->p;
    size_t n = f->n, len;
    while (n && (len = space_at(p, n))) {
        p += len;
        n -= len;
    }
    while (n && kj_uni_py_space(last_char(p, n, &len)))
        n -= len;
    kj_table_reset(&f->table, f->newlines / 2 + 1);
    for (size_t i = 0; i <= n;) {
        const char *e = i < n ? memmem(p + i, n - i, "\n\n", 2) : NULL;
        size_t end = e ? (size_t)(e - p) : n;
        l->paras++;
        if (kj_table_add(&f->table, line_key(p + i, end - i))) {
            l->dup_paras++;
            l->dup_para_chars += count_chars(p + i, end - i);
        }
        if (!e)
            break;
        for (i = end; p[i] == '\n'; i++) /* the text ends otherwise */
            ;
    }
    l->para_ready = true;
    return l;
}
