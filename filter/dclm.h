/* dclm.h - what the dclm. rules measure, as DCLM's code defines it.
 *
 * Under the names of Gopher's rules DCLM (mlfoundations/dclm, baselines/mappers)
 * measures different things:
 *
 *   lines       split by \n, paragraphs by each \n\n; stripped; blank ones are
 *               not counted, nor their characters
 *   copies      all elements that stand more than once, the first included
 *   words       for n-grams: UAX #29 segments that begin with a letter or digit;
 *               their total length is what shares are of
 *   top n-gram  the longest of the most frequent, times its count; 0 when none
 *               repeats
 *   dup n-grams the words that lie in any n-gram that stands more than once
 *   tokens      for word counts: runs between ASCII white space that begin with
 *               a letter or digit
 */
#ifndef KJ_FILTER_DCLM_H
#define KJ_FILTER_DCLM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"

struct kj_facts;

struct kj_segments {
    bool ready;
    size_t n, chars;
    size_t copies, copy_chars;
    size_t bullets, ellipses; /* begin with a bullet; end with an ellipsis */
};

struct kj_dclm {
    struct kj_segments lines, paras;
    bool hashed;
    unsigned unique; /* n-grams of so many words or more do not repeat; 0 unknown */
    uint64_t *hash;  /* of each word (KJ_WORDS_ALNUM) */
    size_t cap;
    struct kj_entry *table;
    size_t table_cap;
};

void kj_dclm_free(struct kj_dclm *d);
void kj_dclm_reset(struct kj_dclm *d); /* another text; d may be NULL */

const struct kj_segments *kj_dclm_lines(struct kj_facts *f);
const struct kj_segments *kj_dclm_paras(struct kj_facts *f);
/* Characters of the top n-gram times its count; of words in repeated n-grams. */
uint64_t kj_dclm_top(struct kj_facts *f, unsigned n);
uint64_t kj_dclm_dup(struct kj_facts *f, unsigned n);
size_t kj_dclm_tokens(struct kj_str text);
/* Occurrences of '#', "...", ". . ." and U+2026. */
size_t kj_dclm_symbols(const struct kj_facts *f);
/* Occurrences of stop words among the words without white space, lower-cased. */
size_t kj_dclm_stop_words(struct kj_str text, const char *const *stop, size_t n_stop);
/* Sentences: each line that is not blank has one more than ends inside it; an
 * end is . ? ! or U+2026, closing quotes and brackets, white space, and then
 * no lower-case letter; behind an abbreviation a full stop ends nothing. */
size_t kj_dclm_sentences(struct kj_str text);

#endif
