/* morph_read.h - how a run of Hangul is read; for morph.c alone.
 *
 * A run is one of at most KJ_MORPH_SYLLABLES syllables. Reading it is a search for
 * the cheapest way through it (morph_read.c): linear in its length, without memory
 * of its own. The scratch belongs to one thread.
 */
#ifndef KJ_FILTER_MORPH_READ_H
#define KJ_FILTER_MORPH_READ_H

#include <stdint.h>

#include "filter/morph.h"

/* Pieces of one run at most. */
enum { KJ_MORPH_RUN_PIECES = 3 * KJ_MORPH_SYLLABLES };

/* What stands right before the run. */
enum kj_morph_before { KJ_MORPH_NOTHING, KJ_MORPH_LETTER, KJ_MORPH_DIGIT };

struct kj_morph_slice {
    unsigned char from, to; /* syllables */
};

struct kj_morph_scratch;
struct kj_morph_scratch *kj_morph_scratch_new(void); /* free() it */

/* Read n >= 1 syllables, given as their places in U+AC00..D7A3, into
 * out[KJ_MORPH_RUN_PIECES]; the number of pieces. The table must have been filled. */
unsigned kj_morph_read(struct kj_morph_scratch *r, const uint16_t *syllables,
                       unsigned n, enum kj_morph_before before,
                       struct kj_morph_slice *out);

#endif
