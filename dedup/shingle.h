/* shingle.h - a text as a set of hashed n-grams.
 *
 * Units:
 *   word      segments of UAX #29 within each run without space; symbols
 *             count as words. FineWeb's choice for English is close to it.
 *   eojeol    what stands between spaces.
 *   syllable  characters of the normal form without spaces, Hangul as whole
 *             syllables: insensitive to particles, endings and to Korean's
 *             loose spacing.
 *   auto      syllable when at least KJ_SHINGLE_HANGUL of the text's letters
 *             (Hangul syllables and ASCII letters) are Hangul, else word.
 * n: given, or 5 words, 5 eojeol, 8 syllables. (Eight syllables are about
 * five of the morphemes on which FineWeb2 builds its Korean shingles: 4.7
 * bytes each. Five eojeol would be about fifteen syllables, and one changed
 * ending would spoil five of them.)
 *
 * A shingle's hash is XXH64 (seed 0) of its units joined by one space
 * (syllables: by nothing), in the normal form of normal.h: the hash that
 * datatrove's 64-bit xxhash configuration takes of the same tokens. The n of
 * the two scripts never meet in one text, so their sets do not mix.
 *
 * A text with fewer than n units is one shingle: all of its units. A text
 * without any unit has no shingle, and is nobody's copy.
 *
 * A struct belongs to one worker; its arrays are reused from text to text.
 */
#ifndef KJ_DEDUP_SHINGLE_H
#define KJ_DEDUP_SHINGLE_H

#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"

struct kj_err;

#define KJ_SHINGLE_HANGUL 0.3

enum kj_shingle_unit { KJ_UNIT_AUTO, KJ_UNIT_WORD, KJ_UNIT_EOJEOL, KJ_UNIT_SYLLABLE };

struct kj_shingler {
    struct kj_buf norm, run, tokens;
    struct kj_buf ends;   /* uint32_t: where each unit starts and ends in `text` */
    struct kj_buf hashes; /* uint64_t */
    uint64_t *h;          /* the shingles' hashes, in text order, repeats included */
    size_t n;
};

void kj_shingler_init(struct kj_shingler *s);
void kj_shingler_release(struct kj_shingler *s);

/* The unit that auto means for this text. */
enum kj_shingle_unit kj_shingle_unit_of(const char *p, size_t n);

/* Fill s->h and s->n. ngram 0: the unit's own. KJ_BAD_RECORD when the text
 * passes the caps (it would have to be larger than the largest document). */
int kj_shingler_run(struct kj_shingler *s, enum kj_shingle_unit unit, unsigned ngram,
                    const char *p, size_t n, struct kj_err *err);

/* Sort s->h and drop repeats: the set. */
int kj_shingler_set(struct kj_shingler *s, struct kj_err *err);

/* Sort v[0..n) ascending with tmp of the same size; repeats go. The count. */
size_t kj_shingle_sort(uint64_t *v, uint64_t *tmp, size_t n);

/* Jaccard similarity of two sorted sets; -1 as soon as it is certain that it
 * is below `least`. Two empty sets: 0. */
double kj_shingle_jaccard(const uint64_t *a, size_t na, const uint64_t *b, size_t nb,
                          double least);

/* Share of a's elements that are in b, in the same way; 0 without elements. */
double kj_shingle_contained(const uint64_t *a, size_t na, const uint64_t *b, size_t nb,
                            double least);

#endif
