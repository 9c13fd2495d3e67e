/* morph.c - the cheapest reading of a run of Hangul, by dynamic programming.
 *
 * Behind each syllable the reader is in one of five places (enum place): at the
 * start of a word, behind a noun, a particle, an ending, or an ending that makes
 * an attribute; or behind a verb's stem, in one of three ways (enum way): the
 * syllable belongs to the stem (먹|고), its final consonant belongs to the ending
 * (가|ㄴ다), or the ending 아/어 has merged with it (해|서, 했|다). Every morpheme
 * is a step with a cost. The costs of the best rest are found from the right, and
 * the steps are then followed from the left.
 *
 * A step looks strings up in one trie, over all classes at once. An average run
 * has three syllables; longer ones than KJ_MORPH_SYLLABLES are cut. Since words
 * come back, the last reading of each run is kept in a small table by its hash; four
 * times its size would read less and gain nothing.
 *
 * Costs were set by hand, on one half of a treebank and checked on the other
 * (docs/filtering.md, "Korean morphemes").
 */
#include "filter/morph.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/unicode.h"
#include "base/utf8.h"
#include "filter/morph_table.h"
#include "filter/text.h"

enum place { START, NOUN, PARTICLE, ENDING, ATTRIBUTE, PLACES };
enum way { CLOSED, OPEN, MERGED, WAYS };
enum { NONE = 1 << 20, SSANG_SIOT = 20 };
enum { MEMORY_BITS = 13, MEMORY = 1 << MEMORY_BITS, KEY = 27, KEPT = 17 };

/* Costs: of not knowing a noun of 1, 2, ... syllables, and of the steps. */
static const int unknown_sino[] = {0, 96, 60, 92, 142, 185, 220, 250, 280};
static const int unknown_other[] = {0, 110, 70, 84, 103, 135, 165, 200, 230};
enum {
    WORD_1 = 40,
    WORD_2 = 24,
    WORD_3 = 18,
    SUFFIX_COST = 46,
    COMMON_SUFFIX = 22,
    COUNTER_COST = 12,
    PREFIX_COST = 60,
    BOUND_COST = 12,
    PARTICLE_1 = 12,
    PARTICLE_2 = 8,
    AGAIN = 6,
    FINAL_PARTICLE = 8,
    STEM_1 = 36,
    STEM_2 = 28,
    UNKNOWN_STEM = 84,
    PER_SYLLABLE = 14,
    DERIVE_COST = 22,
    COMMON_DERIVE = 10,
    AUX_COST = 12,
    HONOR_COST = 20,
    TAIL_1 = 14,
    TAIL_2 = 8,
    TAIL_FINAL = 14,
    TAIL_MERGED = 14,
    REST_COST = 10,
    PAST_COST = 8,
    YO_COST = 8,
    ELIDED = 24,
    NEW_NOUN = 18,
    NEW_PARTICLE = 40,
    NEW_ENDING = 26,
    NEW_ATTRIBUTE = 30
};

/* A step, packed so that the smaller of two is the cheaper: its cost, what comes
 * next (a place, or PLACES + the way of a stem), the slice in syllables, where it
 * goes on (of a stem: its last syllable), and if the last syllable is a piece of
 * its own behind the slice. */
#define STEP(cost, to_what, from, to, next, more)                                      \
    ((uint64_t)(cost) << 32 | (uint64_t)(to_what) << 24 | (uint64_t)(from) << 16 |     \
     (uint64_t)(to) << 8 | (uint64_t)(next) << 1 | (more))

static int cost_of(uint64_t step)
{
    return (int)(step >> 32);
}

struct run {
    unsigned n;
    uint32_t s[KJ_MORPH_SYLLABLES]; /* indices of syllables */
    unsigned after;                 /* what stands right before: enum before */
    /* What begins at the syllable that is being read. */
    struct hit {
        unsigned to;
        uint32_t full, open; /* classes; open: without its last final consonant */
    } hits[KJ_MORPH_SYLLABLES];
    unsigned n_hits;
    uint64_t f[PLACES][KJ_MORPH_SYLLABLES + 1]; /* the best step, and its rest */
    uint64_t v[WAYS][KJ_MORPH_SYLLABLES];
};
enum before { BEFORE_NOTHING, BEFORE_LETTER, BEFORE_DIGIT };

struct slice {
    unsigned char from, to; /* syllables */
};

struct kept {
    unsigned char key[KEY]; /* the run's bytes */
    unsigned char len, after, n;
    struct slice slice[KEPT];
};

struct kj_morph {
    struct run run;
    struct kept memory[MEMORY]; /* 64 bytes each */
};

static unsigned final_of(const struct run *r, unsigned i)
{
    return r->s[i] % 28;
}

static void better(uint64_t *old, uint64_t new)
{
    *old = new < *old ? new : *old;
}

/* Is there a syllable before i, without a final consonant? */
static bool behind_vowel(const struct run *r, unsigned i)
{
    return i > 0 && r->s[i - 1] % 28 == 0;
}

/* A piece from..to, and then the place at `to`. */
static void to_place(struct run *r, uint64_t *old, int cost, unsigned from, unsigned to,
                     enum place p)
{
    better(old, STEP(cost + cost_of(r->f[p][to]), p, from, to, to, 0));
}

/* A stem from..to, of which the last syllable is read in that way. */
static void to_stem(struct run *r, uint64_t *old, int cost, unsigned from, unsigned to,
                    enum way w)
{
    better(old, STEP(cost + cost_of(r->v[w][to - 1]), PLACES + w, from, to, to - 1, 0));
}

/* A piece and ㄴ or ㄹ of its last syllable: a particle. */
static void to_particle(struct run *r, uint64_t *old, int cost, unsigned from,
                        unsigned to)
{
    better(old, STEP(cost + cost_of(r->f[PARTICLE][to]), PARTICLE, from, to, to, 1));
}

/* ---- words ---- */

static int by_length(unsigned len, int one, int two, int more)
{
    return len == 1 ? one : len == 2 ? two : more;
}

static void try_stems(struct run *r, unsigned i, unsigned j, uint32_t cls, enum way w)
{
    int known = j - i == 1 ? STEM_1 : STEM_2, rest = cost_of(r->v[w][j - 1]);
    if (rest >= NONE)
        return;
    if (cls & KJ_M_DERIVE) {
        int cost = cls & KJ_M_COMMON ? COMMON_DERIVE : DERIVE_COST;
        to_stem(r, &r->f[NOUN][i], cost, i, j, w);
        to_stem(r, &r->f[PARTICLE][i], cost + NEW_PARTICLE / 2, i, j, w);
    }
    if (cls & KJ_M_AUX)
        to_stem(r, &r->f[ENDING][i], AUX_COST, i, j, w);
    to_stem(r, &r->f[START][i], known, i, j, w);
}

static void try_word(struct run *r, unsigned i, unsigned j, int cost)
{
    to_place(r, &r->f[START][i], cost, i, j, NOUN);
}

/* A string that is known: what it may be, from each place. */
static void try_known(struct run *r, unsigned i, unsigned j, uint32_t cls)
{
    unsigned len = j - i;
    if (cls & KJ_M_WORD && !(cls & KJ_M_OPEN && len == 0))
        try_word(r, i, j, by_length(len, WORD_1, WORD_2, WORD_3));
    if (cls & KJ_M_BOUND)
        to_place(r, &r->f[ATTRIBUTE][i], BOUND_COST, i, j, NOUN);
    if (cls & KJ_M_SUFFIX) {
        bool counts = cls & KJ_M_COUNTER && i == 0 && r->after == BEFORE_DIGIT;
        int cost = counts              ? COUNTER_COST
                   : cls & KJ_M_COMMON ? COMMON_SUFFIX
                                       : SUFFIX_COST;
        to_place(r, &r->f[NOUN][i], cost, i, j, NOUN);
    }
    if (cls & KJ_M_PREFIX)
        to_place(r, &r->f[START][i], PREFIX_COST, i, j, START);
    if (cls & KJ_M_PARTICLE) {
        int cost = len == 1 ? PARTICLE_1 : PARTICLE_2;
        to_place(r, &r->f[NOUN][i], cost, i, j, PARTICLE);
        to_place(r, &r->f[PARTICLE][i], cost + AGAIN, i, j, PARTICLE);
        to_place(r, &r->f[ENDING][i], cost + AGAIN, i, j, PARTICLE);
    }
    if (cls & KJ_M_YO) {
        to_place(r, &r->f[ENDING][i], YO_COST, i, j, PARTICLE);
        to_place(r, &r->f[PARTICLE][i], YO_COST + 20, i, j, PARTICLE);
    }
    if (cls & KJ_M_COPULA && behind_vowel(r, i)) {
        to_place(r, &r->f[NOUN][i], ELIDED, i, j, ENDING);
        to_place(r, &r->f[PARTICLE][i], ELIDED + 20, i, j, ENDING);
    }
    if (cls & KJ_M_STEM && !(cls & KJ_M_HONOR && len == 1))
        try_stems(r, i, j, cls, CLOSED);
    if (cls & KJ_M_MERGED && !final_of(r, j - 1))
        try_stems(r, i, j, cls, MERGED);
}

/* One that is known without the final consonant of its last syllable. */
static void try_open(struct run *r, unsigned i, unsigned j, uint32_t cls)
{
    unsigned final = final_of(r, j - 1);
    if (cls & KJ_M_OPEN && !(cls & KJ_M_PRONOUN))
        try_stems(r, i, j, cls, OPEN);
    if (cls & KJ_M_MERGED && final == SSANG_SIOT)
        try_stems(r, i, j, cls, MERGED);
    if (cls & KJ_M_PRONOUN) {
        if (final == 4 || final == 8) /* 난, 걸 */
            to_particle(r, &r->f[START][i], WORD_1 + FINAL_PARTICLE, i, j);
        to_stem(r, &r->f[START][i], WORD_1 + ELIDED, i, j, OPEN);
        if (cls & KJ_M_BOUND)
            to_stem(r, &r->f[ATTRIBUTE][i], BOUND_COST + ELIDED, i, j, OPEN);
    }
    if (cls & KJ_M_PARTICLE && final == 4 &&
        (j - i > 1 || r->s[i] == 0xC5D4 - 0xAC00)) /* 에선, 엔 */
        to_particle(r, &r->f[NOUN][i], PARTICLE_1 + FINAL_PARTICLE, i, j);
}

static void try_unknown(struct run *r, unsigned i)
{
    bool sino = true;
    for (unsigned j = i + 1; j <= r->n && j - i <= 8; j++) {
        unsigned len = j - i;
        sino = sino && kj_morph_sino(r->s[j - 1]);
        try_word(r, i, j, (sino ? unknown_sino : unknown_other)[len]);
        if (len < 2 || len > 4)
            continue;
        int cost = UNKNOWN_STEM + PER_SYLLABLE * (int)len;
        for (int w = 0; w < WAYS; w++) {
            unsigned final = final_of(r, j - 1);
            if (cost_of(r->v[w][j - 1]) < NONE &&
                (w == CLOSED || (w == OPEN && final) ||
                 (w == MERGED && final == SSANG_SIOT)))
                to_stem(r, &r->f[START][i], cost, i, j, (enum way)w);
        }
    }
}

/* All that is known and begins at i. */
static void look_up(struct run *r, unsigned i)
{
    uint32_t code = r->s[i] + 1, final = r->s[i] % 28;
    const struct kj_morph_node *node = kj_morph_begin(code);
    const struct kj_morph_node *open = final ? kj_morph_begin(code - final) : NULL;
    r->n_hits = 0;
    for (unsigned j = i + 1;; j++) {
        uint32_t a = node ? node->classes : 0, b = open ? open->classes : 0;
        r->hits[r->n_hits] = (struct hit){j, a, b};
        r->n_hits += (a | b) != 0;
        if (!node || j == r->n)
            return;
        code = r->s[j] + 1;
        final = r->s[j] % 28;
        open = final ? kj_morph_step(node, code - final) : NULL;
        node = kj_morph_step(node, code);
    }
}

/* From every place at i, with all that begins there. */
static void read_words(struct run *r, unsigned i)
{
    static const int new_word[PLACES] = {0, NEW_NOUN, NEW_PARTICLE, NEW_ENDING,
                                         NEW_ATTRIBUTE};
    for (unsigned k = 0; k < r->n_hits; k++) {
        const struct hit *h = &r->hits[k];
        if (h->open)
            try_open(r, i, h->to, h->open);
        if (h->full)
            try_known(r, i, h->to, h->full);
    }
    try_unknown(r, i);
    for (int p = NOUN; p < PLACES; p++) /* nothing more: a new word */
        better(&r->f[p][i], r->f[START][i] + ((uint64_t)new_word[p] << 32));
}

/* ---- endings ---- */

static void to_ending(struct run *r, uint64_t *old, int cost, unsigned from,
                      unsigned to, uint32_t cls)
{
    if (cls & KJ_M_PAST) {
        if (to > 0)
            to_stem(r, old, cost + PAST_COST, from, to, CLOSED);
    } else if (cls & KJ_M_ATTR) {
        to_place(r, old, cost, from, to, ATTRIBUTE);
    } else if (cls & KJ_M_NOMIN) {
        to_place(r, old, cost, from, to, NOUN);
    } else {
        to_place(r, old, cost, from, to, ENDING);
    }
}

/* Behind a stem whose last syllable, b, is wholly its own. What begins behind b has
 * been looked up. */
static void read_closed(struct run *r, unsigned b)
{
    uint64_t *old = &r->v[CLOSED][b];
    uint32_t fits = KJ_M_TAIL | KJ_M_TAIL_A | (final_of(r, b) ? KJ_M_TAIL_C : 0);
    for (unsigned k = 0; k < r->n_hits; k++) {
        const struct hit *h = &r->hits[k];
        unsigned to = h->to, final = final_of(r, to - 1);
        if (h->open & KJ_M_HONOR && h->open & KJ_M_OPEN)
            to_stem(r, old, HONOR_COST, b + 1, to, OPEN);
        if (h->open & KJ_M_HONOR && h->open & KJ_M_MERGED && final == SSANG_SIOT)
            to_stem(r, old, HONOR_COST, b + 1, to, MERGED);
        if (h->full & fits)
            to_ending(r, old, to == b + 2 ? TAIL_1 : TAIL_2, b + 1, to, h->full);
        if (h->full & KJ_M_HONOR && h->full & KJ_M_STEM)
            to_stem(r, old, HONOR_COST, b + 1, to, CLOSED);
        if (h->full & KJ_M_HONOR && h->full & KJ_M_MERGED && !final)
            to_stem(r, old, HONOR_COST, b + 1, to, MERGED);
    }
}

/* Behind one whose last final consonant begins the ending. */
static void read_open(struct run *r, unsigned b)
{
    uint64_t *old = &r->v[OPEN][b];
    unsigned final = final_of(r, b);
    const struct kj_morph_node *node =
        final ? kj_morph_begin(KJ_M_FINAL + final) : NULL;
    for (unsigned j = b; node; j++) {
        if (node->classes & KJ_M_TAIL)
            to_ending(r, old, j == b ? TAIL_FINAL : TAIL_2, b, j + 1, node->classes);
        if (j + 1 == r->n)
            return;
        node = kj_morph_step(node, r->s[j + 1] + 1);
    }
}

/* Behind one that has merged with 아 or 어. */
static void read_merged(struct run *r, unsigned b)
{
    uint64_t *old = &r->v[MERGED][b];
    if (final_of(r, b) == SSANG_SIOT) {
        to_stem(r, old, PAST_COST, b, b + 1, CLOSED);
        return;
    }
    if (final_of(r, b))
        return;
    to_place(r, old, TAIL_MERGED, b, b + 1, ENDING);
    for (unsigned k = 0; k < r->n_hits; k++)
        if (r->hits[k].full & KJ_M_REST)
            to_ending(r, old, REST_COST, b, r->hits[k].to, r->hits[k].full & KJ_M_PAST);
}

static void solve(struct run *r)
{
    const uint64_t none = (uint64_t)NONE << 32;
    for (unsigned i = r->n;; i--) {
        for (int p = 0; p < PLACES; p++)
            r->f[p][i] = i < r->n || p == START ? none : 0;
        r->n_hits = 0;
        if (i < r->n) {
            look_up(r, i);
            read_words(r, i);
        }
        if (i == 0)
            break;
        for (int w = 0; w < WAYS; w++)
            r->v[w][i - 1] = none;
        read_closed(r, i - 1);
        read_open(r, i - 1);
        read_merged(r, i - 1);
    }
}

/* Follow the steps; the pieces as syllables. Their number. */
static unsigned follow(const struct run *r, struct slice out[KJ_MORPH_PIECES])
{
    enum place p = r->after ? NOUN : START;
    uint64_t s = r->f[p][0];
    for (unsigned n = 0;;) {
        unsigned what = s >> 24 & 255, to = s >> 8 & 255, next = s >> 1 & 127;
        if (n + 2 <= KJ_MORPH_PIECES) {
            out[n++] = (struct slice){(unsigned char)(s >> 16), (unsigned char)to};
            if (s & 1)
                out[n++] = (struct slice){(unsigned char)(to - 1), (unsigned char)to};
        }
        if (what < PLACES && next == r->n)
            return n;
        s = what < PLACES ? r->f[what][next] : r->v[what - PLACES][next];
    }
}

/* ---- text ---- */

static bool syllable(const char *p, size_t n, uint32_t *s)
{
    if (n < 3 || (unsigned char)p[0] < 0xEA || (unsigned char)p[0] > 0xED)
        return false;
    size_t len;
    *s = kj_utf8_next(p, n, &len) - 0xAC00;
    return *s < 11172;
}

static size_t put(const struct slice *slice, unsigned n, struct kj_morph_piece *out)
{
    for (unsigned k = 0; k < n; k++)
        out[k] = (struct kj_morph_piece){slice[k].from * 3u, slice[k].to * 3u};
    return n;
}

/* Its place in the memory. */
static size_t run_hash(const char *p, size_t n, unsigned after)
{
    uint64_t h = n * 4 + after, x = 0;
    for (; n >= 8; p += 8, n -= 8) {
        memcpy(&x, p, 8);
        h = (h ^ x) * 0x9FB21C651E98DF25u;
        h ^= h >> 32;
    }
    x = 0;
    memcpy(&x, p, n);
    return (h ^ x) * 0x9FB21C651E98DF25u >> (64 - MEMORY_BITS);
}

/* The run of `n` syllables at p. */
static size_t read_hangul(struct kj_morph *m, const char *p, unsigned n, unsigned after,
                          struct kj_morph_piece *out)
{
    struct run *r = &m->run;
    struct slice slice[KJ_MORPH_PIECES];
    struct kept *k = NULL;
    if (n * 3 <= KEY) {
        k = &m->memory[run_hash(p, n * 3, after)];
        if (k->len == n * 3 && k->after == after && memcmp(k->key, p, n * 3) == 0)
            return put(k->slice, k->n, out);
    }
    r->n = n;
    r->after = after;
    for (unsigned i = 0; i < n; i++) {
        size_t len;
        r->s[i] = kj_utf8_next(p + 3 * i, 3, &len) - 0xAC00;
    }
    solve(r);
    unsigned found = follow(r, slice);
    if (k && found <= KEPT) {
        memcpy(k->key, p, n * 3);
        k->len = (unsigned char)(n * 3);
        k->after = (unsigned char)after;
        k->n = (unsigned char)found;
        memcpy(k->slice, slice, found * sizeof *slice);
    }
    return put(slice, found, out);
}

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
        uint32_t s;
        if (syllable(p + end, n - end, &s) || kind_at(p + end, n - end, &len) != k)
            break;
        end += len;
    }
    return end;
}

/* What stands right before i. */
static unsigned before(const char *p, size_t i)
{
    if (i == 0)
        return BEFORE_NOTHING;
    unsigned char c = (unsigned char)p[i - 1];
    if ((unsigned)(c - '0') < 10 || c == '%')
        return BEFORE_DIGIT;
    if (c >= 0x80) { /* a letter, or a closing sign; Hangul has been read already */
        size_t len;
        uint32_t u = kj_text_last(p, i, &len);
        return kj_uni_alpha(u) || u == 0x2019 || u == 0x201D ||
                       (u >= 0x3009 && u <= 0x3011 && u % 2)
                   ? BEFORE_LETTER
                   : BEFORE_NOTHING;
    }
    return (c | 32u) - 'a' < 26 || strchr(")]\"'`>_", c) ? BEFORE_LETTER
                                                         : BEFORE_NOTHING;
}

/* Syllables at p, as many as are read at a time. */
static unsigned run_length(const char *p, size_t n)
{
    unsigned k = 0;
    for (uint32_t s; k < KJ_MORPH_SYLLABLES && syllable(p + 3 * k, n - 3 * k, &s);)
        k++;
    return k;
}

size_t kj_morph_next(struct kj_morph *m, const char *p, size_t n, size_t i,
                     struct kj_morph_piece *out, size_t *end)
{
    uint32_t s;
    size_t len, from = i, found;
    if (syllable(p + i, n - i, &s)) {
        unsigned k = run_length(p + i, n - i);
        *end = i + 3 * k;
        found = read_hangul(m, p + i, k, before(p, i), out);
        for (size_t x = 0; x < found; x++) {
            out[x].from += (uint32_t)from;
            out[x].to += (uint32_t)from;
        }
        return found;
    }
    enum kind kind = kind_at(p + i, n - i, &len);
    bool dropped = kind == SPACE;
    *end =
        kind == DIGIT ? read_number(p, n, i, &dropped) : read_sign(p, n, i, kind, len);
    if (dropped)
        return 0;
    out[0] = (struct kj_morph_piece){(uint32_t)i, (uint32_t)*end};
    return 1;
}

struct kj_morph *kj_morph_new(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, fill_tables);
    return kj_xcalloc(1, sizeof(struct kj_morph));
}

void kj_morph_free(struct kj_morph *m)
{
    free(m);
}
