/* refine_internal.h - what the parts of refine share.
 *
 * refine_set.c   labelled documents
 * refine_pool.c  the pool: scores, the choice, the texts chosen
 * refine_json.c  a round's figures as JSON, and back
 * refine.c       the rounds
 */
#ifndef KJ_CLASSIFY_REFINE_INTERNAL_H
#define KJ_CLASSIFY_REFINE_INTERNAL_H

#include "base/json.h"
#include "classify/refine.h"

#define POSITIVE "__label__hq "
#define NEGATIVE "__label__cc "

/* ---- refine_set.c ---- */
/* The line that a classifier learns from: flattened, and no word of it begins
 * like a label (a page could teach its own label otherwise). */
int refine_line(struct kj_buf *b, const char *p, size_t n);
static inline int refine_compare_u64(const void *pa, const void *pb)
{
    uint64_t a = *(const uint64_t *)pa, b = *(const uint64_t *)pb;
    return (a > b) - (a < b);
}

/* ---- refine_pool.c ---- */
struct refine_key {
    float score;
    uint64_t id, text; /* hashes */
};

struct refine_group {
    const char *name;
    size_t n, pool, harvest;
};

/* A document taken from the pool. */
struct refine_pick {
    struct refine_key key;
    bool positive, found;
    size_t id_at, id_n, at, n; /* in refine_pool.text */
    size_t group;
};

struct refine_pool {
    struct kj_corpus *corpus;
    const struct kj_refine *o;
    uint64_t *known; /* sorted hashes of ids and texts of labelled documents */
    size_t n_known;
    struct refine_key *keys; /* best first */
    size_t n;
    struct refine_pick *picks; /* the harvest best first, then negatives */
    size_t n_picks, n_harvest;
    size_t *slots, mask; /* by id: number of a pick plus 1; 0 free */
    struct kj_buf text;
    struct refine_group *groups;
    size_t n_groups, cap_groups, *group_slots, group_mask;
    struct kj_arena names;
    uint64_t damaged; /* lines of the last pass for scores */
};

void refine_pool_init(struct refine_pool *p, const struct kj_refine *o,
                      struct kj_corpus *corpus, const struct kj_refine_set *a,
                      const struct kj_refine_set *b);
void refine_pool_release(struct refine_pool *p);
/* Score all documents; m NULL: all 0. */
int refine_pool_score(struct refine_pool *p, const struct kj_ft *m, struct kj_err *err);
/* Choose up to `harvest` of the best and `negatives` at random from behind the
 * first `margin`; draw makes the choice another one. */
void refine_pool_choose(struct refine_pool *p, size_t harvest, size_t negatives,
                        size_t margin, uint64_t draw);
/* Fetch the texts of what was chosen, and count groups. */
int refine_pool_collect(struct refine_pool *p, struct kj_err *err);

/* ---- refine_json.c ---- */
/* One line. */
int refine_round_json(const struct kj_refine *o, const struct kj_refine_round *r,
                      const struct refine_pool *p, struct kj_buf *b);
int refine_round_load(struct kj_refine_round *r, const char *path, struct kj_err *err);
int refine_harvest_json(const struct refine_pool *p, struct kj_buf *out);

#endif
