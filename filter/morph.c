/* morph.c - a text in stretches: signs by kind, and runs of Hangul from memory.
 *
 * Half of the runs of Hangul on a Korean page are among the last 8,000 different
 * ones, seven in ten among the last 65,000; reading one anew (morph_read.c) takes
 * longer than the cache miss of finding it in a table of 2 MB. So runs of up to
 * eight syllables, 99 in 100, are remembered with their pieces, 32 bytes for each:
 * two that have the same hash share a cache line, and the older goes. The text is
 * walked in stretches of KJ_MORPH_ITEMS items. First all runs of a stretch are found
 * and their lines fetched, then they are looked up, so that the misses overlap.
 */
#include "filter/morph.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/unicode.h"
#include "base/utf8.h"
#include "filter/morph_read.h"
#include "filter/morph_table.h"
#include "filter/text.h"

enum { SET_BITS = 15, SETS = 1 << SET_BITS, LINE = 64, SHORT = 8, KEPT = 15 };

/* A run that was read: its syllables, 14 bits each (not 0), four to a word; what
 * stood before it in the top bits of the first. */
struct kept {
    uint64_t key[2];
    unsigned char n, piece[KEPT]; /* from << 4 | to */
};

/* One sign or run of Hangul of a stretch. */
struct item {
    size_t from, to;
    enum kj_morph_before before;
    unsigned n; /* syllables, 0: a sign */
    uint64_t key[2];
    struct kept *set;
    uint16_t syllable[KJ_MORPH_SYLLABLES];
};

struct kj_morph {
    struct kj_morph_scratch *scratch;
    void *memory;
    struct kept *kept; /* SETS pairs in it, each one cache line */
    struct item item[KJ_MORPH_ITEMS];
};

/* ---- runs of Hangul ---- */

/* The syllable at p, as its place in U+AC00..D7A3; -1: something else. */
static inline int syllable(const char *p, size_t n)
{
    const unsigned char *u = (const unsigned char *)p;
    if (n < 3 || u[0] < 0xEA || u[0] > 0xED || (u[1] & 0xC0) != 0x80 ||
        (u[2] & 0xC0) != 0x80)
        return -1;
    int s = ((u[0] & 15) << 12 | (u[1] & 63) << 6 | (u[2] & 63)) - 0xAC00;
    return s < 11172 ? s : -1;
}

/* Syllables at p, as many as are read at a time. */
static unsigned read_syllables(const char *p, size_t n, uint16_t *out)
{
    unsigned k = 0;
    for (int s; k < KJ_MORPH_SYLLABLES && (s = syllable(p, n)) >= 0; p += 3, n -= 3)
        out[k++] = (uint16_t)s;
    return k;
}

/* Where a run would be remembered; its line is on the way then. */
static void find_set(const struct kj_morph *m, struct item *it)
{
    uint64_t key[2] = {0, 0};
    it->set = NULL;
    if (it->n > SHORT)
        return;
    for (unsigned i = 0; i < it->n; i++)
        key[i / 4] = key[i / 4] << 14 | (it->syllable[i] + 1u);
    key[0] |= (uint64_t)it->before << 62;
    uint64_t h = (key[0] ^ key[1] * 0xD6E8FEB86659FD93u) * 0x9FB21C651E98DF25u;
    h = (h ^ h >> 32) * 0x9FB21C651E98DF25u;
    it->key[0] = key[0];
    it->key[1] = key[1];
    it->set = m->kept + 2 * (h >> (64 - SET_BITS));
    __builtin_prefetch(it->set);
}

static bool is_run(const struct kept *k, const struct item *it)
{
    return k->key[0] == it->key[0] && k->key[1] == it->key[1];
}

/* A run for the first time, or again. */
static size_t read_anew(struct kj_morph *m, const struct item *it,
                        struct kj_morph_piece *out)
{
    struct kj_morph_slice slice[KJ_MORPH_RUN_PIECES];
    unsigned n = kj_morph_read(m->scratch, it->syllable, it->n, it->before, slice);
    if (it->set && n <= KEPT) {
        struct kept *k = it->set;
        k[1] = k[0];
        k->key[0] = it->key[0];
        k->key[1] = it->key[1];
        k->n = (unsigned char)n;
        for (unsigned i = 0; i < n; i++)
            k->piece[i] = (unsigned char)(slice[i].from << 4 | slice[i].to);
    }
    uint32_t from = (uint32_t)it->from;
    for (unsigned i = 0; i < n; i++)
        out[i] =
            (struct kj_morph_piece){from + slice[i].from * 3u, from + slice[i].to * 3u};
    return n;
}

static size_t read_hangul(struct kj_morph *m, const struct item *it,
                          struct kj_morph_piece *out)
{
    const struct kept *k = it->set;
    if (!k || !(is_run(k, it) || is_run(++k, it)))
        return read_anew(m, it, out);
    uint32_t from = (uint32_t)it->from;
    for (unsigned i = 0; i < k->n; i++)
        out[i] = (struct kj_morph_piece){from + (k->piece[i] >> 4) * 3u,
                                         from + (k->piece[i] & 15u) * 3u};
    return k->n;
}

/* ---- signs ---- */

enum kind { SPACE, DIGIT, LETTER, HAN, STOP, COMMA, BRACKET, DASH, JAMO, OTHER };

/* Of ASCII, filled with the tables. */
static unsigned char ascii_kind[128];

static void fill_tables(void)
{
    kj_morph_table_fill();
    for (unsigned c = 0; c < 128; c++)
        ascii_kind[c] = kj_uni_alpha(c) || c == '_' ? LETTER
                        : c >= '0' && c <= '9'      ? DIGIT
                                                    : OTHER;
    for (const char *z = ".!?"; *z; z++)
        ascii_kind[(unsigned char)*z] = STOP;
    for (const char *z = ",:;/"; *z; z++)
        ascii_kind[(unsigned char)*z] = COMMA;
    for (const char *z = "()[]{}<>\"'"; *z; z++)
        ascii_kind[(unsigned char)*z] = BRACKET;
    ascii_kind['-'] = ascii_kind['~'] = DASH;
}

static enum kind kind_at(const char *p, size_t n, size_t *len)
{
    unsigned char b = (unsigned char)*p;
    if ((*len = kj_text_space(p, n)))
        return SPACE;
    *len = 1;
    if (b < 0x80)
        return (enum kind)ascii_kind[b];
    uint32_t c = kj_utf8_next(p, n, len);
    if ((c >= 0x3131 && c <= 0x318E) || (c >= 0xFFA1 && c <= 0xFFDC))
        return JAMO;
    if ((c >= 0x3400 && c <= 0x9FFF) || (c >= 0xF900 && c <= 0xFAFF))
        return HAN;
    if (c == 0x2026 || c == 0x3002)
        return STOP;
    if (c == 0xB7 || c == 0x3001)
        return COMMA;
    if ((c >= 0x2018 && c <= 0x201F) || (c >= 0x3008 && c <= 0x3011) || c == 0xAB ||
        c == 0xBB)
        return BRACKET;
    return kj_uni_alpha(c) ? LETTER : OTHER;
}

/* Digits with , and . between them. Long runs of digits and commas are none. */
static size_t read_number(const char *p, size_t n, size_t i, bool *dropped)
{
    size_t from = i, run = 0;
    while (i < n) {
        unsigned char c = (unsigned char)p[i];
        bool digit = (unsigned)(c - '0') < 10;
        bool joins = (c == ',' || c == '.') && i + 1 < n && p[i + 1] >= '0' &&
                     p[i + 1] <= '9' && i > from;
        if (!digit && !joins)
            break;
        run = c == '.' ? 0 : run + 1;
        *dropped |= run >= 20;
        i++;
    }
    return i;
}

static size_t read_sign(const char *p, size_t n, size_t i, enum kind k, size_t len)
{
    size_t end = i + len;
    if (k == BRACKET)
        return end;
    while (end < n) {
        if (syllable(p + end, n - end) >= 0 || kind_at(p + end, n - end, &len) != k)
            break;
        end += len;
    }
    return end;
}

/* What stands right before i. */
static enum kj_morph_before before(const char *p, size_t i)
{
    if (i == 0)
        return KJ_MORPH_NOTHING;
    unsigned char c = (unsigned char)p[i - 1];
    if ((unsigned)(c - '0') < 10 || c == '%')
        return KJ_MORPH_DIGIT;
    if (c >= 0x80) { /* a letter, or a closing sign; Hangul has been read already */
        size_t len;
        uint32_t u = kj_text_last(p, i, &len);
        return kj_uni_alpha(u) || u == 0x2019 || u == 0x201D ||
                       (u >= 0x3009 && u <= 0x3011 && u % 2)
                   ? KJ_MORPH_LETTER
                   : KJ_MORPH_NOTHING;
    }
    return (c | 32u) - 'a' < 26 || strchr(")]\"'`>_", c) ? KJ_MORPH_LETTER
                                                         : KJ_MORPH_NOTHING;
}

/* ---- stretches ---- */

/* The item at p[i..n); where it ends. 0 in *found: none, what is there is no word. */
static size_t find_item(const struct kj_morph *m, const char *p, size_t n, size_t i,
                        struct item *it, bool *found)
{
    it->from = i;
    it->n = read_syllables(p + i, n - i, it->syllable);
    *found = true;
    if (it->n) {
        it->before = before(p, i);
        find_set(m, it);
        return it->to = i + 3 * it->n;
    }
    size_t len;
    enum kind kind = kind_at(p + i, n - i, &len);
    bool dropped = kind == SPACE;
    it->to =
        kind == DIGIT ? read_number(p, n, i, &dropped) : read_sign(p, n, i, kind, len);
    *found = !dropped;
    return it->to;
}

size_t kj_morph_next(struct kj_morph *m, const char *p, size_t n, size_t i,
                     struct kj_morph_piece *out, size_t *end)
{
    size_t items = 0, pieces = 0;
    for (bool found; i < n && items < KJ_MORPH_ITEMS; items += found)
        i = find_item(m, p, n, i, &m->item[items], &found);
    *end = i;
    for (size_t k = 0; k < items; k++) {
        const struct item *it = &m->item[k];
        if (it->n)
            pieces += read_hangul(m, it, out + pieces);
        else
            out[pieces++] =
                (struct kj_morph_piece){(uint32_t)it->from, (uint32_t)it->to};
    }
    return pieces;
}

struct kj_morph *kj_morph_new(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, fill_tables);
    struct kj_morph *m = kj_xcalloc(1, sizeof *m);
    m->scratch = kj_morph_scratch_new();
    m->memory = kj_xcalloc(1, 2 * SETS * sizeof *m->kept + LINE);
    m->kept = (void *)(((uintptr_t)m->memory + LINE - 1) / LINE * LINE);
    return m;
}

void kj_morph_free(struct kj_morph *m)
{
    if (!m)
        return;
    free(m->scratch);
    free(m->memory);
    free(m);
}
