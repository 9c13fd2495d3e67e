/* roster.h - the documents of a survey by number: a check word, the id, and
 * the place in the order in which copies are kept.
 *
 * The order: the policy's key (longest: bytes of text, most first; newest: the
 * first 19 digits of the date, latest first, none last; best: a number,
 * greatest first, none last; first: nothing), then the first 40 bytes of the
 * id, ascending, then a hash of the id and the document's other fields.
 * Documents that are alike in all of that are the same to everyone.
 *
 * Memory: 4 1/8 bytes a document; ids and check words are in files. Adding
 * belongs to one thread; after finish all may read.
 */
#ifndef KJ_DEDUP_ROSTER_H
#define KJ_DEDUP_ROSTER_H

#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "dedup/budget.h"
#include "dedup/extsort.h"
#include "dedup/sigs.h"

struct kj_doc;

enum kj_keep { KJ_KEEP_LONGEST, KJ_KEEP_FIRST, KJ_KEEP_NEWEST, KJ_KEEP_BEST };
enum { KJ_ROSTER_KEY = 7 };

/* What the order needs to know of a document; field is that of policy best. */
void kj_roster_key(enum kj_keep policy, const char *field, const struct kj_doc *d,
                   uint64_t key[KJ_ROSTER_KEY]);

struct kj_roster {
    struct kj_sigs checks; /* check words only */
    struct kj_spill names;
    struct kj_buf pending; /* names of a block, each with its length before it */
    uint64_t *first;       /* where blocks of names are */
    size_t n_first, cap_first, n_pending;
    struct kj_extsort order;
    uint32_t *rank; /* after finish: by document, from 0 */
    size_t n_rank;
    struct kj_budget *budget;
};

/* sort: bytes for sorting. */
int kj_roster_begin(struct kj_roster *r, const char *dir, size_t sort,
                    struct kj_budget *budget, struct kj_err *err);
/* doc must be larger than the ones before; numbers may be left out. */
int kj_roster_add(struct kj_roster *r, uint64_t doc, uint32_t check, struct kj_str id,
                  const uint64_t key[KJ_ROSTER_KEY], struct kj_err *err);
int kj_roster_finish(struct kj_roster *r, struct kj_err *err);
void kj_roster_release(struct kj_roster *r);

struct kj_roster_reader {
    struct kj_sigs_reader checks;
    char *block;
    uint64_t block_at; /* + 1; 0: none */
    size_t n_block, cap_block;
};
void kj_roster_reader_release(struct kj_roster_reader *r);
/* The id of a document, valid until the next call with rd. */
int kj_roster_name(const struct kj_roster *r, struct kj_roster_reader *rd, uint64_t doc,
                   struct kj_str *id, struct kj_err *err);
/* Is d the document that was added under its number? KJ_FATAL: it is not. */
int kj_roster_check(const struct kj_roster *r, struct kj_roster_reader *rd,
                    const struct kj_doc *d, struct kj_err *err);

#endif
