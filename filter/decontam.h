/* decontam.h - documents that hold items of a benchmark.
 *
 * Text is read as a sequence of units: words (runs of letters, or of digits, in
 * lower case), and single characters of Hangul, Han and kana, so that neither
 * line breaks and punctuation nor Korean spacing make a difference. Jamo that
 * follow each other are put together, full-width letters are folded, marks are
 * dropped. A word weighs 5, a character of those scripts 2: about equal parts of
 * meaning; lengths below are weights divided by 5, "words".
 *
 * An item of a benchmark is a line of JSON. Its parts are what is looked for:
 * each text field of 8 words and more by itself, and, where the item has a
 * shorter one, all its text fields in order as one part (a question with its
 * choices). Fields that only name things (id, subject, label, ...) are not text.
 *
 * Parts below 4 words are too short to be found by their pieces. Those of 8
 * syllables and more count as a whole only: every unit in order, both ends on
 * edges of words. Of such items of a benchmark of product reviews none stood in
 * 6,565 Korean texts, 2,498 of them film reviews; of 7 syllables ("I am content")
 * some did in 6. Shorter ones are counted and left out: no text can be told from
 * chance there.
 *
 * Matching, after AI2's decon (sampled n-gram hits and two-way expansion): every
 * window of at least 4 words (4 words, 10 syllables) of every part is indexed.
 * Windows that stand in more than 64 parts are phrases of the trade ("which of
 * the following statements is") and no evidence. A hit is expanded both ways
 * along the part, over gaps of up to 8 units; stretches in the same
 * neighbourhood of the document add up. The overlap of a part is the share of its
 * weight that was found: of the part, not of the document, so padding does not
 * dilute it.
 *
 * The score is the overlap for parts of 14 words and more; of shorter ones
 * the lack counts more, so that a threshold T asks for T at 14 words and for
 * all of it at 4. Default T: 0.75 (decon: 0.8, and 1.0 at 20 tokens).
 *
 * docs/filtering.md has what it finds of 3,420 items of eight benchmarks planted
 * in web pages, by tests/bench/decontam.sh. In 10,160 pages without a plant nothing
 * was found, and one page at T = 0.5.
 *
 * Only the first 4 million units of a document are looked at.
 */
#ifndef KJ_FILTER_DECONTAM_H
#define KJ_FILTER_DECONTAM_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/opt.h"
#include "base/stage.h"

struct kj_decontam;       /* the index: read-only once built */
struct kj_decontam_state; /* one for each thread */

struct kj_decontam_hit {
    const char *item; /* "mmlu.dev.jsonl:17", lives with the index */
    const char *id;   /* of the item, or NULL */
    double score;
    size_t start, end; /* bytes of the text */
};

/* fields: names of the text fields (NULL ends it), or NULL: all that are not
 * known to name things. */
struct kj_decontam *kj_decontam_new(const struct kj_strs *fields);
void kj_decontam_free(struct kj_decontam *d);
/* Add a file of items. Damage in it is KJ_FAIL, with its line. */
int kj_decontam_add_file(struct kj_decontam *d, const char *path, struct kj_err *err);
/* After the last file. KJ_FAIL when there is nothing to look for. */
int kj_decontam_build(struct kj_decontam *d, struct kj_err *err);
size_t kj_decontam_items(const struct kj_decontam *d);
size_t kj_decontam_too_short(const struct kj_decontam *d); /* items left out */

struct kj_decontam_state *kj_decontam_state_new(const struct kj_decontam *d);
void kj_decontam_state_free(struct kj_decontam_state *s);
/* Parts that score at least `threshold`, the best first, at most max; *best is
 * the best score of all, 0 without a hit. */
size_t kj_decontam_find(struct kj_decontam_state *s, const char *p, size_t n,
                        double threshold, struct kj_decontam_hit *hits, size_t max,
                        double *best);

extern const struct kj_opt kj_decontam_opts[];
extern const struct kj_stage kj_stage_decontaminate;

#endif
