/* units.h - lines or paragraphs that stand in the corpus more than once.
 *
 * A line ends at "\n"; a paragraph ends in front of a blank line (only white
 * space), and the blank lines behind it belong to it. Two are equal when their
 * bytes without white space at both ends are, or their normal forms (normal.h,
 * numbers left as they are) with `normalize`. Blank ones are nobody's copy.
 *
 * One copy stays: the one in the document with the least hash of id and other
 * fields, and there the first. So it depends neither on the order of documents
 * nor on threads, and no document is preferred for its place or its length.
 * All other copies are cut out of their texts.
 *
 * Everything that grows with the corpus is sorted in runs (extsort.h): 40
 * bytes a unit. Memory: the share of the budget for sorting, 8 bytes per 1,024
 * copies. Without a folder for the runs, only what fits can be sorted.
 */
#ifndef KJ_DEDUP_UNITS_H
#define KJ_DEDUP_UNITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "dedup/budget.h"
#include "dedup/sigs.h"
#include "dedup/spans.h"

struct kj_batch;
struct kj_corpus;
struct kj_doc;

enum kj_units_kind { KJ_UNITS_LINE, KJ_UNITS_PARAGRAPH };

/* Length of the unit at the start of p[0..n), its line ends included; n > 0. */
size_t kj_units_next(enum kj_units_kind kind, const char *p, size_t n);

struct kj_units {
    enum kj_units_kind kind;
    bool normalize;
    struct kj_budget budget;
    struct kj_sigs checks; /* check words only */
    struct kj_spans cuts;  /* document << 32 | number of the unit */
};

/* One reading. u->kind and u->normalize are set, the rest is zero. */
int kj_units_survey(struct kj_units *u, struct kj_corpus *corpus, struct kj_err *err);
/* The same by hand: begin, then documents in their order and places that are
 * to be cut (document << 32 | number of the unit) ascending, then finish. dir
 * NULL is KJ_FATAL. u->budget must be set. */
int kj_units_begin(struct kj_units *u, const char *dir, struct kj_err *err);
int kj_units_doc(struct kj_units *u, uint64_t doc, uint32_t check, struct kj_err *err);
int kj_units_add(struct kj_units *u, uint64_t place, struct kj_err *err);
int kj_units_finish(struct kj_units *u, struct kj_err *err);
void kj_units_release(struct kj_units *u);

/* What a thread holds while it cuts. */
struct kj_units_reader {
    struct kj_sigs_reader checks;
    struct kj_spans_reader cuts;
};
void kj_units_reader_release(struct kj_units_reader *r);
/* Cut the copies out of d's text. *cut: bytes that went; a text of which
 * nothing but white space is left becomes empty. */
int kj_units_cut(const struct kj_units *u, struct kj_units_reader *r,
                 struct kj_batch *b, struct kj_doc *d, size_t *cut, struct kj_err *err);

#endif
