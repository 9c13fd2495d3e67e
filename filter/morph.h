/* morph.h - a light morpheme splitter for Korean: particles and endings off stems.
 *
 * FineWeb2's Korean rules count the morphemes of the analyser Kiwi, as slices of
 * the text. This one has no trained model. It knows the closed classes of the
 * language (particles, endings, suffixes, auxiliaries, the copula), the commonest
 * verbs and short nouns, and chooses for each run of Hangul the cheapest way to
 * read it; what it does not know is a noun. Its counts are close to Kiwi's; its
 * single decisions are not meant for anything else.
 *
 * Slices overlap, as Kiwi's do: in 했다 both the stem 하 and the ending 었 are the
 * slice 했; in 갑니다 the stem is 갑 and the ending 갑니다. Signs are pieces by
 * kind (runs of stops, of commas, of letters, of digits with their , and .; each
 * bracket alone). Runs of 20 or more digits and commas give no piece, as there.
 *
 * A splitter belongs to one thread. It remembers the runs it has read lately;
 * what it answers does not depend on that.
 */
#ifndef KJ_FILTER_MORPH_H
#define KJ_FILTER_MORPH_H

#include <stddef.h>
#include <stdint.h>

struct kj_morph;

/* A run of Hangul is read at most so many syllables at a time; so many runs and
 * signs in one call; and so many pieces come of it at most. */
enum {
    KJ_MORPH_SYLLABLES = 24,
    KJ_MORPH_ITEMS = 16,
    KJ_MORPH_PIECES = KJ_MORPH_ITEMS * 3 * KJ_MORPH_SYLLABLES
};

struct kj_morph_piece {
    uint32_t from, to; /* bytes from the beginning of what was read */
};

struct kj_morph *kj_morph_new(void);
void kj_morph_free(struct kj_morph *m);

/* Read on at p[i..n), i < n, a stretch of the text: gives the pieces in it
 * (KJ_MORPH_PIECES at most) and their number, and where it ends. */
size_t kj_morph_next(struct kj_morph *m, const char *p, size_t n, size_t i,
                     struct kj_morph_piece *out, size_t *end);

#endif
