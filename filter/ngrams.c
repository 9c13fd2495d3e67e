/* ngrams.c - repeated n-grams; the definitions are in facts.h.
 *
 * N-grams are equal when their joined texts are, wherever the borders of their
 * words lie ("ab"+"c" equals "a"+"bc" where nothing stands between). So a hash of
 * joined texts is needed that comes from sums over words: a polynomial modulo 2^64
 * whose k-th byte weighs B^-(k+1), k counted from the beginning of the text. Since B
 * is odd it has an inverse. With Q the sums up to each word, an n-gram that begins
 * at word i, byte b, has the hash (Q[i+n] - Q[i]) * B^b: one multiplication by a
 * number that is the same for all n.
 *
 * Few n-grams repeat. So all of one text first go through a table of 8 bits or more
 * for each: one that finds its bit set sets it in a second table too. Those whose bit
 * is not set there are alone and cannot matter; the others, the repeats and one in
 * ten of the rest, are looked at in order with an exact table. (4 and 16 bits are no
 * faster.) All n of a kind go through the first step together, since they share the
 * weights.
 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "filter/facts.h"

#define SPREAD 0x9FB21C651E98DF25u
enum { BITS_MIN = 10, BITS_MAX = 22, AT_ONCE = 6 };

/* The tables of one n: seen once, seen again. */
struct marks {
    uint64_t *once, *again;
};

static void grow(struct kj_grams *g, size_t words, unsigned bits)
{
    size_t size = (size_t)1 << bits >> 6;
    if (2 * AT_ONCE * size > g->marks_cap) {
        g->marks_cap = 2 * AT_ONCE * size;
        g->marks = kj_xrealloc(g->marks, g->marks_cap * sizeof *g->marks);
    }
    if (words + 1 > g->cap) {
        g->cap = 2 * words + 1;
        g->weight = kj_xrealloc(g->weight, g->cap * sizeof *g->weight);
        g->maybe = kj_xrealloc(g->maybe, g->cap * sizeof *g->maybe);
    }
}

static inline void mark(struct marks m, uint64_t key, unsigned shift)
{
    uint64_t at = key >> shift, bit = 1ull << (at & 63), old = m.once[at >> 6];
    m.again[at >> 6] |= old & bit;
    m.once[at >> 6] = old | bit;
}

/* Mark the n-grams of from..to words, in sums q with weights. */
static void mark_all(const uint64_t *q, const uint64_t *weight, size_t words,
                     const struct marks *m, unsigned from, unsigned to, unsigned shift)
{
    size_t i = 0;
    if (from == 2 && to == 4) /* so that the inner loop is unrolled */
        for (; i + 4 <= words; i++)
            for (unsigned n = 2; n <= 4; n++)
                mark(m[n - 2], (q[i + n] - q[i]) * weight[i], shift);
    if (from == 5 && to == 10)
        for (; i + 10 <= words; i++)
            for (unsigned n = 5; n <= 10; n++)
                mark(m[n - 5], (q[i + n] - q[i]) * weight[i], shift);
    for (; i < words; i++)
        for (unsigned n = from; n <= to && i + n <= words; n++)
            mark(m[n - from], (q[i + n] - q[i]) * weight[i], shift);
}

/* The n-grams that may stand more than once, into maybe; their number. */
static size_t find_maybe(struct kj_grams *g, const uint64_t *q, size_t words,
                         struct marks m, unsigned n, unsigned shift)
{
    size_t found = 0;
    for (size_t i = 0; i + n <= words; i++) {
        uint64_t at = (q[i + n] - q[i]) * g->weight[i] >> shift;
        g->maybe[found] = (uint32_t)i;
        found += m.again[at >> 6] >> (at & 63) & 1;
    }
    return found;
}

static uint64_t key_of(const struct kj_grams *g, const uint64_t *q, size_t i,
                       unsigned n)
{
    uint64_t key = (q[i + n] - q[i]) * g->weight[i];
    return key + (key == 0);
}

static uint64_t dup(struct kj_grams *g, const struct kj_words *w, size_t found,
                    unsigned n)
{
    uint64_t value = 0;
    size_t next = 0; /* behind the last repeat */
    kj_table_reset(&g->table, found);
    for (size_t k = 0; k < found; k++) {
        size_t i = g->maybe[k];
        if (i >= next && kj_table_add(&g->table, key_of(g, w->cat, i, n))) {
            value += w->chars[i + n] - w->chars[i];
            next = i + n;
        }
    }
    return value;
}

static uint64_t top(struct kj_grams *g, const struct kj_words *w, size_t found,
                    unsigned n)
{
    uint32_t best = 1, first = 0;
    kj_table_reset(&g->table, found);
    if (((size_t)1 << g->table.bits) > g->counts_cap) {
        g->counts_cap = (size_t)1 << g->table.bits;
        g->counts = kj_xrealloc(g->counts, g->counts_cap * sizeof *g->counts);
    }
    for (size_t k = 0; k < found; k++) {
        uint32_t i = g->maybe[k];
        uint64_t key = key_of(g, w->spc, i, n);
        size_t at = kj_table_at(&g->table, key);
        if (!g->table.keys[at]) {
            g->table.keys[at] = key;
            g->counts[at] = (struct kj_gram_count){0, i};
        }
        struct kj_gram_count *c = &g->counts[at];
        c->count++;
        /* Of equally frequent ones the first: every n-gram passes through the
         * final count once, and is then compared with the others. */
        if (c->count > best || (c->count == best && best > 1 && c->first < first)) {
            best = c->count;
            first = c->first;
        }
    }
    return (uint64_t)(w->chars[first + n] - w->chars[first] + n - 1) * best;
}

/* The weights of the words, with `more` bytes between two. */
static void weigh(struct kj_facts *f, const struct kj_words *w, unsigned more)
{
    uint64_t weight = SPREAD;
    for (size_t i = 0; i < w->n; i++) {
        f->grams.weight[i] = weight;
        weight *= kj_facts_power(f, w->bytes[i + 1] - w->bytes[i] + more);
    }
}

static void measure(struct kj_facts *f, struct kj_words *w, bool spaced)
{
    struct kj_grams *g = &f->grams;
    struct marks m[AT_ONCE];
    unsigned from = spaced ? 2 : 5, to = spaced ? 4 : 10, bits = BITS_MIN;
    const uint64_t *q = spaced ? w->spc : w->cat;
    while (bits < BITS_MAX && ((size_t)1 << bits) < 8 * w->n)
        bits++;
    size_t size = (size_t)1 << bits >> 6;
    grow(g, w->n, bits);
    memset(g->marks, 0, 2 * (to - from + 1) * size * sizeof *g->marks);
    for (unsigned n = from; n <= to; n++)
        m[n - from] = (struct marks){g->marks + 2 * (n - from) * size,
                                     g->marks + (2 * (n - from) + 1) * size};
    weigh(f, w, spaced);
    mark_all(q, g->weight, w->n, m, from, to, 64 - bits);
    for (unsigned n = from; n <= to; n++) {
        if (w->n < n)
            continue;
        size_t found = find_maybe(g, q, w->n, m[n - from], n, 64 - bits);
        w->gram[n] = spaced ? top(g, w, found, n) : dup(g, w, found, n);
    }
}

static uint64_t value(struct kj_facts *f, enum kj_word_unit unit, unsigned n)
{
    struct kj_words *w = (struct kj_words *)kj_facts_words(f, unit);
    bool spaced = n < 5;
    if (!w->have_grams[spaced]) {
        memset(w->gram + (spaced ? 2 : 5), 0, (spaced ? 3 : 6) * sizeof *w->gram);
        if (!f->over)
            measure(f, w, spaced);
        w->have_grams[spaced] = true;
    }
    return w->gram[n];
}

uint64_t kj_facts_top(struct kj_facts *f, enum kj_word_unit unit, unsigned n)
{
    return value(f, unit, n);
}

uint64_t kj_facts_dup(struct kj_facts *f, enum kj_word_unit unit, unsigned n)
{
    return value(f, unit, n);
}

void kj_grams_release(struct kj_grams *g)
{
    free(g->marks);
    free(g->weight);
    free(g->maybe);
    free(g->counts);
    free(g->table.keys);
}
