/* whatif_internal.h - shared by whatif_open.c (what is replayed), whatif.c (replay),
 * whatif_curve.c and the two forms of the answer (whatif_text.c, whatif_json.c). */
#ifndef KJ_MANIFESTS_WHATIF_INTERNAL_H
#define KJ_MANIFESTS_WHATIF_INTERNAL_H

#include "manifests/ledger_internal.h"
#include "manifests/whatif.h"

#define KJ_WHATIF_EXAMPLES_MAX 20

struct kj_wcut {
    int64_t id, ordinal, rule;
    char op[4];
    double was, now;
    bool off;   /* now */
    int change; /* index of the change that touches it; -1 */
    bool swept;
};

/* The cuts of a set that are of our stage, ascending. */
struct kj_wset {
    struct kj_wcut **cuts;
    size_t n;
};

struct kj_total {
    double docs, bytes, tokens;
};

struct kj_wexample {
    double distance, value;
    int64_t doc;
    bool was, now; /* kept */
};

struct kj_wchange {
    const char *name; /* in full */
    int64_t rule;
    size_t places, uncovered; /* documents of a group where the rule was off */
    bool off_somewhere;
    struct kj_wexample near[2][KJ_WHATIF_EXAMPLES_MAX]; /* dropped, kept side */
    size_t n_near[2];
};

struct kj_wpoint {
    double value, bytes, tokens;
};

enum { KJ_ROLE_NONE, KJ_ROLE_STAGE, KJ_ROLE_FLOW, KJ_ROLE_LATER };

struct kj_replay {
    struct kj_ledger *l;
    const struct kj_whatif *ask;
    struct kj_err *err;

    int64_t stage, run; /* the newest of the stages replayed */
    char *stage_name, *command;
    bool mark;
    double share; /* of documents with values, as was asked for */
    char *role;   /* by stage number */
    int64_t n_stages;

    struct kj_wcut *cuts;
    size_t n_cuts;
    struct kj_wset *sets; /* by number */
    int64_t n_sets;
    struct kj_wchange *changes;
    int64_t sweep_rule;
    char sweep_op;

    double *value; /* by rule; valid where stamp is the document */
    int64_t *stamp, n_rules;
    double *ratio, ratio_all; /* bytes per token by language; in all */
    bool measured;            /* the ratios come from counted tokens */
    int64_t n_languages, n_sources;

    /* results */
    struct kj_total seen, before, after, gained, lost, lost_later;
    struct kj_total *by_language[2], *by_source[2]; /* gained, lost */
    uint64_t n_docs, valued, fixed, unvalued, mismatches;
    char mismatch[200];
    struct kj_wpoint *points; /* documents that the swept cut decides */
    size_t n_points, cap_points;
    struct kj_total base; /* documents that stay whatever that cut is */
};

/* A row of the curve. */
#define KJ_CURVE_ROWS_MAX 40
struct kj_wrow {
    double cut;
    bool now; /* the rule stands there now */
    struct kj_total kept;
};
/* From the strictest to the loosest cut, into rows[KJ_CURVE_ROWS_MAX]; how many.
 * Once, before kj_whatif_budget. */
size_t kj_whatif_curve(struct kj_replay *r, struct kj_wrow *rows);
/* The loosest cut that keeps at most so many tokens: NULL, or why there is none. */
const char *kj_whatif_budget(const struct kj_replay *r, double tokens,
                             struct kj_wrow *row);

int kj_replay_open(struct kj_replay *r, struct kj_ledger *l,
                   const struct kj_whatif *ask, struct kj_err *err);
int kj_replay_run(struct kj_replay *r);
/* Whether there is another row. */
int kj_replay_step(struct kj_replay *r, sqlite3_stmt *st, bool *row);
void kj_replay_release(struct kj_replay *r);

#endif
