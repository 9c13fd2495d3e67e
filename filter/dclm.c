/* dclm.c - see dclm.h. N-grams of words are compared as sequences, so their
 * hashes roll over the hashes of the words: H = sum of h[i+k] * M^(n-1-k). */
#define _GNU_SOURCE /* memmem */
#include "filter/dclm.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/hash.h"
#include "filter/facts.h"
#include "filter/text.h"

#define M 0xD6E8FEB86659FD93u /* odd; any will do */

struct kj_entry {
    uint64_t key;
    uint32_t count, chars;
};

void kj_dclm_free(struct kj_dclm *d)
{
    if (!d)
        return;
    free(d->hash);
    free(d->table);
    free(d);
}

void kj_dclm_reset(struct kj_dclm *d)
{
    if (d)
        d->hashed = d->lines.ready = d->paras.ready = false;
    if (d)
        d->unique = 0;
}

static struct kj_dclm *dclm(struct kj_facts *f)
{
    if (!f->dclm)
        f->dclm = kj_xcalloc(1, sizeof *f->dclm);
    return f->dclm;
}

/* An empty table for n keys, at most half full; its size less one. */
static size_t table_reset(struct kj_dclm *d, size_t n)
{
    size_t size = 16;
    while (size < 4 * n)
        size *= 2;
    if (size > d->table_cap) {
        d->table = kj_xrealloc(d->table, size * sizeof *d->table);
        d->table_cap = size;
    }
    memset(d->table, 0, size * sizeof *d->table);
    return size - 1;
}

static struct kj_entry *entry(struct kj_dclm *d, size_t mask, uint64_t key)
{
    key += key == 0;
    size_t i = (key * 0x9FB21C651E98DF25u >> 20) & mask;
    while (d->table[i].key && d->table[i].key != key)
        i = (i + 1) & mask;
    d->table[i].key = key;
    return &d->table[i];
}

/* ---- lines and paragraphs ---- */

static bool begins(struct kj_str s, const char *z)
{
    size_t m = strlen(z);
    return s.n >= m && memcmp(s.p, z, m) == 0;
}

static bool ends(struct kj_str s, const char *z)
{
    size_t m = strlen(z);
    return s.n >= m && memcmp(s.p + s.n - m, z, m) == 0;
}

static void add_segment(struct kj_dclm *d, struct kj_segments *g, size_t mask,
                        struct kj_str s)
{
    s = kj_text_strip(s);
    if (!s.n)
        return;
    size_t chars = kj_utf8_count(s.p, s.n);
    struct kj_entry *e = entry(d, mask, kj_hash64(s.p, s.n, 0));
    size_t new_copies = ++e->count == 2 ? 2 : e->count > 2;
    g->n++;
    g->chars += chars;
    g->copies += new_copies;
    g->copy_chars += new_copies * chars;
    g->bullets += *s.p == '-' || *s.p == '*' || begins(s, "\xE2\x97\x8F") ||
                  begins(s, "\xE2\x80\xA2");
    g->ellipses += ends(s, "...") || ends(s, ". . .") || ends(s, "\xE2\x80\xA6");
}

static const struct kj_segments *segments(struct kj_facts *f, struct kj_segments *g,
                                          const char *sep)
{
    size_t m = strlen(sep);
    if (g->ready)
        return g;
    memset(g, 0, sizeof *g);
    if (f->newlines >= KJ_FACTS_MAX) {
        f->over = true;
        return g;
    }
    size_t mask = table_reset(f->dclm, f->newlines + 1);
    for (size_t i = 0; i < f->n;) {
        const char *e = memmem(f->p + i, f->n - i, sep, m);
        size_t end = e ? (size_t)(e - f->p) : f->n;
        add_segment(f->dclm, g, mask, (struct kj_str){f->p + i, end - i});
        i = end + m;
    }
    g->ready = true;
    return g;
}

const struct kj_segments *kj_dclm_lines(struct kj_facts *f)
{
    return segments(f, &dclm(f)->lines, "\n");
}

const struct kj_segments *kj_dclm_paras(struct kj_facts *f)
{
    return segments(f, &dclm(f)->paras, "\n\n");
}

/* ---- n-grams ---- */

/* The words' hashes; NULL when there are too few or too many words. */
static const struct kj_words *hashed(struct kj_facts *f, unsigned n)
{
    struct kj_dclm *d = dclm(f);
    const struct kj_words *w = kj_facts_words(f, KJ_WORDS_ALNUM);
    if (f->over || w->n < n)
        return NULL;
    if (d->hashed)
        return w;
    if (w->n > d->cap) {
        d->cap = 2 * w->n;
        d->hash = kj_xrealloc(d->hash, d->cap * sizeof *d->hash);
    }
    for (size_t i = 0; i < w->n; i++) {
        uint64_t h = w->hash[i] ^ (w->bytes[i + 1] - w->bytes[i]);
        h = (h ^ h >> 31) * 0x9E3779B97F4A7C15u;
        d->hash[i] = h ^ h >> 29;
    }
    d->hashed = true;
    return w;
}

/* Hash of the n-gram at i from that at i - 1. */
static uint64_t roll(const struct kj_dclm *d, uint64_t h, uint64_t top, size_t i,
                     unsigned n)
{
    if (i)
        return (h - d->hash[i - 1] * top) * M + d->hash[i + n - 1];
    for (unsigned k = 0; k < n; k++)
        h = h * M + d->hash[k];
    return h;
}

static uint64_t top_power(unsigned n)
{
    uint64_t r = 1;
    while (--n)
        r *= M;
    return r;
}

uint64_t kj_dclm_top(struct kj_facts *f, unsigned n)
{
    const struct kj_words *w = hashed(f, n);
    if (!w)
        return 0;
    uint64_t top = top_power(n), h = 0;
    uint32_t most = 0, longest = 0;
    size_t mask = table_reset(f->dclm, w->n);
    for (size_t i = 0; i + n <= w->n; i++) {
        struct kj_entry *e = entry(f->dclm, mask, h = roll(f->dclm, h, top, i, n));
        uint32_t chars = w->chars[i + n] - w->chars[i];
        if (++e->count > most) {
            most = e->count;
            longest = chars;
        } else if (e->count == most && chars > longest) {
            longest = chars;
        }
    }
    return most > 1 ? (uint64_t)most * longest : 0;
}

uint64_t kj_dclm_dup(struct kj_facts *f, unsigned n)
{
    const struct kj_words *w = hashed(f, n);
    if (!w || (f->dclm->unique && n >= f->dclm->unique))
        return 0; /* what repeats has parts that repeat */
    uint64_t top = top_power(n), h = 0, value = 0;
    size_t mask = table_reset(f->dclm, w->n), done = 0; /* words counted so far */
    bool repeats = false;
    for (size_t i = 0; i + n <= w->n; i++)
        repeats |= ++entry(f->dclm, mask, h = roll(f->dclm, h, top, i, n))->count > 1;
    if (!repeats) {
        f->dclm->unique = n;
        return 0;
    }
    h = 0;
    for (size_t i = 0; i + n <= w->n; i++) {
        h = roll(f->dclm, h, top, i, n);
        if (entry(f->dclm, mask, h)->count < 2)
            continue;
        size_t from = i > done ? i : done;
        value += w->chars[i + n] - w->chars[from];
        done = i + n;
    }
    return value;
}

/* ---- counts ---- */

size_t kj_dclm_tokens(struct kj_str t)
{
    size_t k = 0, len;
    bool inside = false;
    for (size_t i = 0; i < t.n; i++) {
        unsigned char c = (unsigned char)t.p[i];
        if (c == ' ' || c == 0 || (c >= 9 && c <= 13)) {
            inside = false;
        } else if (!inside) {
            inside = true;
            k += c < 0x80
                     ? (unsigned)(c - '0') < 10 || ((c | 32) >= 'a' && (c | 32) <= 'z')
                     : kj_uni_alnum(kj_utf8_next(t.p + i, t.n - i, &len));
        }
    }
    return k;
}

static size_t occurrences(struct kj_str t, const char *z)
{
    size_t k = 0, m = strlen(z);
    const char *e = t.p + t.n, *q = t.p;
    while (t.n && (q = memmem(q, (size_t)(e - q), z, m)))
        k++, q += m;
    return k;
}

size_t kj_dclm_symbols(const struct kj_facts *f)
{
    return f->hashes + f->ellipses + occurrences((struct kj_str){f->p, f->n}, ". . .");
}

size_t kj_dclm_stop_words(struct kj_str t, const char *const *stop, size_t n_stop)
{
    size_t k = 0, longest = 0;
    uint64_t firsts = 0; /* first letters, lower case, modulo 64 */
    struct kj_str word;
    struct kj_buf b;
    for (size_t i = 0; i < n_stop; i++) {
        size_t len, m = strlen(stop[i]);
        longest = m > longest ? m : longest;
        firsts |= 1ull << (kj_utf8_next(stop[i], m, &len) & 63);
    }
    kj_buf_init(&b, 64 * longest + 64);
    for (size_t at = 0, len; kj_text_word(t, &at, &word);) {
        if (word.n > 3 * longest ||
            !(firsts >> (kj_uni_lower(kj_utf8_next(word.p, word.n, &len)) & 63) & 1))
            continue;
        kj_buf_reset(&b);
        if (kj_uni_lower_str(&b, word.p, word.n) != KJ_OK)
            continue;
        for (size_t i = 0; i < n_stop; i++)
            k += strlen(stop[i]) == b.n && memcmp(stop[i], b.p, b.n) == 0;
    }
    kj_buf_release(&b);
    return k;
}

/* ---- sentences ---- */

static bool is_one_of(struct kj_str s, const char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (s.n == strlen(list[i]) && kj_text_begins(s, list[i], KJ_FOLD_LOWER) == s.n)
            return true;
    return false;
}

/* Is the word that the full stop at `dot` closes an abbreviation? */
static bool abbreviation(struct kj_str line, size_t dot)
{
    static const char *const list[] = {
        "mr",  "mrs", "ms",  "dr",   "prof", "st",   "vs",     "etc",
        "e.g", "i.e", "inc", "ltd",  "co",   "corp", "no",     "jr",
        "sr",  "gen", "col", "capt", "lt",   "rev",  "hon",    "gov",
        "sen", "rep", "vol", "fig",  "al",   "cf",   "approx", "dept"};
    size_t from = dot;
    while (from && dot - from < 8 && line.p[from - 1] != ' ' &&
           line.p[from - 1] != '(' && line.p[from - 1] != '"')
        from--;
    struct kj_str word = {line.p + from, dot - from};
    if (word.n == 1 && (unsigned char)(word.p[0] - 'A') < 26)
        return true; /* an initial */
    return is_one_of(word, list, sizeof list / sizeof *list);
}

/* Is there a sentence end whose mark is at i, with more text behind it? */
static bool sentence_end(struct kj_str line, size_t i, size_t mark)
{
    size_t k = i + mark, len;
    while (k < line.n && (memchr("\"')]}", line.p[k], 5) ||
                          (line.n - k >= 3 && line.p[k] == '\xE2' &&
                           (memcmp(line.p + k, "\xE2\x80\x9D", 3) == 0 ||
                            memcmp(line.p + k, "\xE2\x80\x99", 3) == 0))))
        k += line.p[k] == '\xE2' ? 3 : 1;
    size_t space = k;
    while (k < line.n && (len = kj_text_space(line.p + k, line.n - k)))
        k += len;
    if (k == space || k >= line.n)
        return false;
    if (kj_uni_category(kj_utf8_next(line.p + k, line.n - k, &len)) == KJ_GC_LL)
        return false;
    return line.p[i] != '.' || !abbreviation(line, i);
}

static size_t line_sentences(struct kj_str line)
{
    size_t k = 1;
    for (size_t i = 0; i < line.n; i++) {
        char c = line.p[i];
        bool dots = c == '\xE2' && line.n - i >= 3 &&
                    memcmp(line.p + i, "\xE2\x80\xA6", 3) == 0;
        if (c == '.' || c == '?' || c == '!' || dots)
            k += sentence_end(line, i, dots ? 3 : 1);
    }
    return k;
}

size_t kj_dclm_sentences(struct kj_str t)
{
    size_t k = 0;
    for (size_t i = 0; i < t.n;) {
        const char *e = memchr(t.p + i, '\n', t.n - i);
        size_t end = e ? (size_t)(e - t.p) : t.n;
        struct kj_str line = kj_text_strip((struct kj_str){t.p + i, end - i});
        k += line.n ? line_sentences(line) : 0;
        i = end + 1;
    }
    return k;
}
