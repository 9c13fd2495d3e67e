/* morph_read.c - the cheapest reading of a run of Hangul, by dynamic programming.
 *
 * Behind each syllable the reader is in one of five places (enum place): at the
 * start of a word, behind a noun, a particle, an ending, or an ending that makes
 * an attribute; or behind a verb's stem, in one of three ways (enum way): the
 * syllable belongs to the stem (먹|고), its final consonant belongs to the ending
 * (가|ㄴ다), or the ending 아/어 has merged with it (해|서, 했|다). Every morpheme
 * is a step with a cost. The costs of the best rest are found from the right, and
 * the steps are then followed from the left.
 *
 * A step looks strings up in one trie, over all classes at once. A step is one
 * number, so that the best of several is their minimum; what all steps to one spot
 * share is put together once, when the spot has been read.
 *
 * Costs were set by hand, on one half of a treebank and checked on the other
 * (docs/filtering.md, "Korean morphemes").
 */
#include "filter/morph_read.h"

#include <stdbool.h>

#include "base/mem.h"
#include "filter/morph_table.h"

enum place { START, NOUN, PARTICLE, ENDING, ATTRIBUTE, PLACES };
enum way { CLOSED, OPEN, MERGED, WAYS };
enum { NONE = 1 << 20, SSANG_SIOT = 20 };

/* Costs: of not knowing a noun of 1, 2, ... syllables, and of the steps. */
static const unsigned short unknown_sino[] = {0, 96, 60, 92, 142, 185, 220, 250, 280};
static const unsigned short unknown_other[] = {0, 110, 70, 84, 103, 135, 165, 200, 230};
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

static uint64_t cost_of(uint64_t step)
{
    return step >> 32;
}

struct kj_morph_scratch {
    unsigned n;
    unsigned s[KJ_MORPH_SYLLABLES]; /* indices of syllables */
    unsigned final[KJ_MORPH_SYLLABLES];
    enum kj_morph_before before;
    /* What begins at the syllable that is being read. */
    struct hit {
        unsigned to;
        uint32_t full, open; /* classes; open: without its last final consonant */
    } hits[KJ_MORPH_SYLLABLES];
    unsigned n_hits;
    unsigned sino; /* how many from here on can be readings of Chinese characters */
    /* The best step from a spot, and its rest; v: behind that syllable. */
    uint64_t f[PLACES][KJ_MORPH_SYLLABLES + 1];
    uint64_t v[WAYS][KJ_MORPH_SYLLABLES];
    /* Steps to a spot, but for their cost and where they come from: to a place; by
     * a stem that ends there; and by the cheapest of the stems that the syllable
     * before allows, whatever stem it is. */
    uint64_t place[PLACES][KJ_MORPH_SYLLABLES + 1];
    uint64_t stem[WAYS][KJ_MORPH_SYLLABLES + 1];
    uint64_t any_stem[KJ_MORPH_SYLLABLES + 1];
};

static void better(uint64_t *old, uint64_t new)
{
    *old = new < *old ? new : *old;
}

/* Is there a syllable before i, without a final consonant? */
static bool behind_vowel(const struct kj_morph_scratch *r, unsigned i)
{
    return i > 0 && r->final[i - 1] == 0;
}

/* What a step to a spot lacks. */
static uint64_t origin(unsigned cost, unsigned from)
{
    return (uint64_t)cost << 32 | (uint64_t)from << 16;
}

/* A piece from..to, and then the place at `to`. */
static void to_place(struct kj_morph_scratch *r, uint64_t *old, unsigned cost,
                     unsigned from, unsigned to, enum place p)
{
    better(old, r->place[p][to] + origin(cost, from));
}

/* A stem from..to, of which the last syllable is read in that way. */
static void to_stem(struct kj_morph_scratch *r, uint64_t *old, unsigned cost,
                    unsigned from, unsigned to, enum way w)
{
    better(old, r->stem[w][to] + origin(cost, from));
}

/* A piece and ㄴ or ㄹ of its last syllable: a particle. */
static void to_particle(struct kj_morph_scratch *r, uint64_t *old, unsigned cost,
                        unsigned from, unsigned to)
{
    better(old, (r->place[PARTICLE][to] | 1) + origin(cost, from));
}

/* ---- words ---- */

static unsigned by_length(unsigned len, unsigned one, unsigned two, unsigned more)
{
    return len == 1 ? one : len == 2 ? two : more;
}

static void try_stems(struct kj_morph_scratch *r, unsigned i, unsigned j, uint32_t cls,
                      enum way w)
{
    unsigned known = j - i == 1 ? STEM_1 : STEM_2;
    if (cost_of(r->stem[w][j]) >= NONE)
        return;
    if (cls & KJ_M_DERIVE) {
        unsigned cost = cls & KJ_M_COMMON ? COMMON_DERIVE : DERIVE_COST;
        to_stem(r, &r->f[NOUN][i], cost, i, j, w);
        to_stem(r, &r->f[PARTICLE][i], cost + NEW_PARTICLE / 2, i, j, w);
    }
    if (cls & KJ_M_AUX)
        to_stem(r, &r->f[ENDING][i], AUX_COST, i, j, w);
    to_stem(r, &r->f[START][i], known, i, j, w);
}

static void try_word(struct kj_morph_scratch *r, unsigned i, unsigned j, unsigned cost)
{
    to_place(r, &r->f[START][i], cost, i, j, NOUN);
}

/* A string that is known: what it may be, from each place. */
static void try_known(struct kj_morph_scratch *r, unsigned i, unsigned j, uint32_t cls)
{
    unsigned len = j - i;
    if (cls & KJ_M_WORD && !(cls & KJ_M_OPEN && len == 0))
        try_word(r, i, j, by_length(len, WORD_1, WORD_2, WORD_3));
    if (cls & KJ_M_BOUND)
        to_place(r, &r->f[ATTRIBUTE][i], BOUND_COST, i, j, NOUN);
    if (cls & KJ_M_SUFFIX) {
        bool counts = cls & KJ_M_COUNTER && i == 0 && r->before == KJ_MORPH_DIGIT;
        unsigned cost = counts              ? COUNTER_COST
                        : cls & KJ_M_COMMON ? COMMON_SUFFIX
                                            : SUFFIX_COST;
        to_place(r, &r->f[NOUN][i], cost, i, j, NOUN);
    }
    if (cls & KJ_M_PREFIX)
        to_place(r, &r->f[START][i], PREFIX_COST, i, j, START);
    if (cls & KJ_M_PARTICLE) {
        unsigned cost = len == 1 ? PARTICLE_1 : PARTICLE_2;
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
    if (cls & KJ_M_MERGED && !r->final[j - 1])
        try_stems(r, i, j, cls, MERGED);
}

/* One that is known without the final consonant of its last syllable. */
static void try_open(struct kj_morph_scratch *r, unsigned i, unsigned j, uint32_t cls)
{
    unsigned final = r->final[j - 1];
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

/* What is not known is a noun, or a stem of two to four syllables. */
static void try_unknown(struct kj_morph_scratch *r, unsigned i)
{
    unsigned most = r->n - i < 8 ? r->n - i : 8;
    uint64_t best = r->f[START][i];
    r->sino = kj_morph_sino(r->s[i]) ? r->sino + 1 : 0;
    for (unsigned len = 1; len <= most; len++) {
        unsigned cost = len <= r->sino ? unknown_sino[len] : unknown_other[len];
        better(&best, r->place[NOUN][i + len] + origin(cost, i));
    }
    for (unsigned len = 2; len <= 4 && len <= most; len++)
        better(&best,
               r->any_stem[i + len] + origin(UNKNOWN_STEM + PER_SYLLABLE * len, i));
    r->f[START][i] = best;
}

/* All that is known and begins at i. */
static void look_up(struct kj_morph_scratch *r, unsigned i)
{
    uint32_t code = r->s[i] + 1, final = r->final[i];
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
        final = r->final[j];
        open = final ? kj_morph_step(node, code - final) : NULL;
        node = kj_morph_step(node, code);
    }
}

/* From every place at i, with all that begins there. */
static void read_words(struct kj_morph_scratch *r, unsigned i)
{
    static const uint64_t new_word[PLACES] = {0, NEW_NOUN, NEW_PARTICLE, NEW_ENDING,
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
        better(&r->f[p][i], r->f[START][i] + (new_word[p] << 32));
}

/* ---- endings ---- */

static void to_ending(struct kj_morph_scratch *r, uint64_t *old, unsigned cost,
                      unsigned from, unsigned to, uint32_t cls)
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
static void read_closed(struct kj_morph_scratch *r, unsigned b)
{
    uint64_t *old = &r->v[CLOSED][b];
    uint32_t fits = KJ_M_TAIL | KJ_M_TAIL_A | (r->final[b] ? KJ_M_TAIL_C : 0);
    for (unsigned k = 0; k < r->n_hits; k++) {
        const struct hit *h = &r->hits[k];
        unsigned to = h->to, final = r->final[to - 1];
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
static void read_open(struct kj_morph_scratch *r, unsigned b)
{
    uint64_t *old = &r->v[OPEN][b];
    unsigned final = r->final[b];
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
static void read_merged(struct kj_morph_scratch *r, unsigned b)
{
    uint64_t *old = &r->v[MERGED][b];
    if (r->final[b] == SSANG_SIOT) {
        to_stem(r, old, PAST_COST, b, b + 1, CLOSED);
        return;
    }
    if (r->final[b])
        return;
    to_place(r, old, TAIL_MERGED, b, b + 1, ENDING);
    for (unsigned k = 0; k < r->n_hits; k++)
        if (r->hits[k].full & KJ_M_REST)
            to_ending(r, old, REST_COST, b, r->hits[k].to, r->hits[k].full & KJ_M_PAST);
}

/* Everything that begins at i, and with it the steps that lead there. */
static void read_at(struct kj_morph_scratch *r, unsigned i)
{
    const uint64_t none = (uint64_t)NONE << 32;
    for (int p = 0; p < PLACES; p++)
        r->f[p][i] = i < r->n || p == START ? none : 0;
    r->n_hits = 0;
    if (i < r->n) {
        look_up(r, i);
        read_words(r, i);
    }
    for (unsigned p = 0; p < PLACES; p++)
        r->place[p][i] = STEP(cost_of(r->f[p][i]), p, 0, i, i, 0);
}

/* The same of stems that end at i > 0. */
static void read_behind_stems(struct kj_morph_scratch *r, unsigned i)
{
    unsigned final = r->final[i - 1];
    static void (*const read[WAYS])(struct kj_morph_scratch *,
                                    unsigned) = {read_closed, read_open, read_merged};
    for (unsigned w = 0; w < WAYS; w++) { /* later ones lead to the first */
        r->v[w][i - 1] = (uint64_t)NONE << 32;
        read[w](r, i - 1);
        r->stem[w][i] = STEP(cost_of(r->v[w][i - 1]), PLACES + w, 0, i, i - 1, 0);
    }
    r->any_stem[i] = r->stem[CLOSED][i];
    if (final)
        better(&r->any_stem[i], r->stem[OPEN][i]);
    if (final == SSANG_SIOT)
        better(&r->any_stem[i], r->stem[MERGED][i]);
}

/* Follow the steps; the pieces as syllables. Their number. */
static unsigned follow(const struct kj_morph_scratch *r, struct kj_morph_slice *out)
{
    enum place p = r->before != KJ_MORPH_NOTHING ? NOUN : START;
    uint64_t s = r->f[p][0];
    for (unsigned n = 0;;) {
        unsigned what = s >> 24 & 255, to = s >> 8 & 255, next = s >> 1 & 127;
        if (n + 2 <= KJ_MORPH_RUN_PIECES) {
            out[n++] =
                (struct kj_morph_slice){(unsigned char)(s >> 16), (unsigned char)to};
            if (s & 1)
                out[n++] =
                    (struct kj_morph_slice){(unsigned char)(to - 1), (unsigned char)to};
        }
        if (what < PLACES && next == r->n)
            return n;
        s = what < PLACES ? r->f[what][next] : r->v[what - PLACES][next];
    }
}

struct kj_morph_scratch *kj_morph_scratch_new(void)
{
    return kj_xcalloc(1, sizeof(struct kj_morph_scratch));
}

unsigned kj_morph_read(struct kj_morph_scratch *r, const uint16_t *syllables,
                       unsigned n, enum kj_morph_before before,
                       struct kj_morph_slice *out)
{
    r->n = n;
    r->before = before;
    r->sino = 0;
    for (unsigned i = 0; i < n; i++) {
        r->s[i] = syllables[i];
        r->final[i] = syllables[i] % 28u;
    }
    for (unsigned i = n; i > 0; i--) {
        read_at(r, i);
        read_behind_stems(r, i);
    }
    read_at(r, 0);
    return follow(r, out);
}
