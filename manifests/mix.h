/* mix.h - plans of what a model is trained on, and the orders made from them.
 *
 * A plan (YAML; keys: docs/formats/shards.md, "Plans") divides a budget of tokens
 * among parts. A part takes the documents whose source, language and band match
 * its patterns (fnmatch), and a document belongs to the first part that takes it.
 *
 * How often a document stands in the order: it has a number u in [0, 1), drawn by
 * the seed, and a weight w (by the size of its cluster of near duplicates; 1
 * without `rehydrate`). At x passes through the part it stands there floor(x w + u)
 * times: w x on average, and once each when x and w are 1. x is as large as
 * the part's budget allows, to a whole document, and at most its `epochs`. What a
 * part cannot give then is its shortfall.
 *
 * Repeated tokens are worth less than fresh ones: with D tokens of which U are
 * unique, U + U R (1 - exp(-(D/U - 1) / R)) with R = 15.39 (Muennighoff et al.
 * 2023, arXiv 2305.16264, section 6).
 *
 * Memory: 8 bytes a document of all sets, and `memory` for the sort.
 */
#ifndef KJ_MANIFESTS_MIX_H
#define KJ_MANIFESTS_MIX_H

#include <stddef.h>
#include <stdint.h>

#include "base/opt.h"

struct kj_buf;
struct kj_err;
struct kj_yaml;

enum kj_mix_short { KJ_MIX_LESS, KJ_MIX_SCALE, KJ_MIX_FILL, KJ_MIX_FAIL };

/* Documents in clusters of at least `size` have this weight. */
struct kj_mix_weight {
    uint64_t size;
    double weight;
};

struct kj_mix_weights {
    struct kj_mix_weight *v; /* by rising size */
    size_t n;
};

struct kj_mix_part {
    /* of the plan */
    const char *name;
    struct kj_strs source, language, band; /* patterns; none: any */
    double share;                          /* NAN: it has tokens instead */
    const char *tokens_text;
    double tokens; /* NAN: it has a share */
    double epochs; /* NAN in the plan: the plan's */
    struct kj_mix_weights weights;
    /* of the result */
    uint64_t documents, available; /* that it could take, and their tokens */
    double most;                   /* tokens with all its epochs */
    double asked, budget;          /* by the plan, and after shortfalls were settled */
    uint64_t passes;               /* in 2^-32 */
    uint64_t given, entries;
    uint64_t unique, unique_documents; /* of what it gives */
};

struct kj_mix {
    const char *name;
    struct kj_strs sets;
    int64_t seed;
    const char *tokens_text;
    double tokens; /* NAN: most */
    double epochs;
    int shortfall; /* enum kj_mix_short */
    struct kj_mix_weights weights;
    struct kj_mix_part *parts;
    size_t n;
    /* of the result */
    uint64_t left_documents, left_tokens; /* that no part takes */
    uint64_t given, entries;
    struct kj_mix_table *table;
    struct kj_yaml *yaml; /* owns the strings */
};

/* "2.7T", "300B", "5M", "1000" tokens, or "most" (NAN). KJ_USAGE,
 * in which the option or key is called `as`. */
int kj_mix_tokens(const char *as, const char *z, double *out, struct kj_err *err);
/* Read and check a plan. KJ_USAGE names the key and its line. */
int kj_mix_load(struct kj_mix *m, const char *path, struct kj_err *err);
int kj_mix_parse(struct kj_mix *m, const char *p, size_t n, const char *name,
                 struct kj_err *err);
void kj_mix_release(struct kj_mix *m);

/* Look at all sets (m->sets, paths of manifests or their folders) and settle
 * what each part gives. KJ_FAIL: a set that cannot be read or has another
 * tokenizer, or a shortfall where the plan says fail. */
int kj_mix_solve(struct kj_mix *m, struct kj_err *err);
/* Write the order into the folder dir, which must be there: order.json last. */
int kj_mix_write(const struct kj_mix *m, const char *dir, int64_t memory,
                 const char *tool, struct kj_err *err);

/* What D tokens are worth of which U are unique. */
double kj_mix_worth(double d, double u);
void kj_mix_text(const struct kj_mix *m, struct kj_buf *out);
void kj_mix_json(const struct kj_mix *m, struct kj_buf *out); /* one object */

#endif
