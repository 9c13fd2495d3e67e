/* substring.h - long passages that stand in the corpus more than once.
 *
 * A window is `window` symbols next to each other: bytes, or words (the
 * segments of UAX #29 but for white space, compared as bytes; what stands
 * between them does not matter). Places are ordered: documents as in roster.h,
 * in a document from its beginning. Of the occurrences of a window the first
 * stays, and all others go, but for those that overlap the first. What is cut
 * out of a document is the union of its windows that go. Hence
 *   - no passage of `window` symbols stands in two documents afterwards, or
 *     twice in one without overlap, but for what the edges below leave, and for
 *     what comes together by a cut
 *   - of each byte that goes a copy stays, in a place before it: the copy of
 *     its window, or, where that went with a still earlier one, the copy of that
 *   - the outcome depends on the set of documents only, not on their order,
 *     threads or shards
 * Windows are compared by 128-bit hashes of their symbols (XXH3).
 *
 * Edges. A passage that goes is made smaller until it begins and ends between
 * characters, sentences (behind . ! ? and their likes, with closing quotes, where
 * white space follows; and at line ends) or lines; what is empty then stays.
 * Passages of words take the white space behind them along.
 *
 * How they are found, and that it is exact: substring.c.
 *
 * Memory: 4 1/8 bytes a document, and shares of the budget for sorting. Disk, for
 * windows of 500 bytes: about 0.2 bytes per byte of text, and as much again per
 * repeated byte; 16 and 24 bytes for every window that begins within one
 * window's length of either end of a repeated passage.
 */
#ifndef KJ_DEDUP_SUBSTRING_H
#define KJ_DEDUP_SUBSTRING_H

#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "dedup/budget.h"
#include "dedup/roster.h"
#include "dedup/spans.h"

struct kj_batch;
struct kj_corpus;
struct kj_doc;

enum kj_cut { KJ_CUT_CHAR, KJ_CUT_SENTENCE, KJ_CUT_LINE };

struct kj_substring {
    size_t window;
    int words; /* symbols are words */
    enum kj_cut edge;
    enum kj_keep policy;
    const char *field; /* of policy best */
    struct kj_budget budget;
    struct kj_roster roster;
    /* symbols that go, each once: document << 32 | first, end << 32 | document
     * of the copy, where it begins there */
    struct kj_spans cuts;
    uint64_t anchors, repeated, windows; /* given; whose hash came again; compared */
};

/* Two readings at most. The fields up to `field` are set, the rest is zero. */
int kj_substring_survey(struct kj_substring *s, struct kj_corpus *corpus,
                        struct kj_err *err);
void kj_substring_release(struct kj_substring *s);

/* A passage that went. */
struct kj_removed {
    size_t at, n;         /* bytes of the text as it was */
    struct kj_str keeper; /* id of the document that has the copy; in the arena */
    uint64_t offset;      /* there: bytes, or words */
};

/* What a thread holds while it cuts. */
struct kj_substring_reader {
    struct kj_roster_reader roster;
    struct kj_spans_reader cuts;
    struct kj_buf symbols, places, removed;
    const struct kj_removed *v; /* what went of the last document, in order */
    size_t n;
};
void kj_substring_reader_release(struct kj_substring_reader *r);
/* What is left of d's text, from b's arena (d itself is not touched), and in
 * r what went; *cut: bytes that did. */
int kj_substring_cut(const struct kj_substring *s, struct kj_substring_reader *r,
                     struct kj_batch *b, const struct kj_doc *d, struct kj_str *left,
                     size_t *cut, struct kj_err *err);

/* Hashes of the words of p[0..n) into symbols (uint64_t), and where each begins and
 * ends into places (uint32_t, two each). KJ_BAD_RECORD at the buffers' caps. */
int kj_substring_words(struct kj_buf *symbols, struct kj_buf *places, const char *p,
                       size_t n);

#endif
