/* stages.h - the stages of a run: where data and learning rate change inside it.
 *
 *     stages:
 *       - {name: broad, tokens: 2.7T, data: orders/stage1}
 *       - name: fine
 *         tokens: 300B
 *         data: [{path: orders/stage2, weight: 3}, {path: orders/stage1, weight: 1}]
 *         shape: linear       # from where the stage before ended ...
 *         end_ratio: 0        # ... to this share of optim.lr
 *
 * Stages follow one another without a break: weights, moments and step numbers go
 * on. Borders lie between steps; a stage given by tokens ends with the last step
 * that all tokens up to there fill. Rows of a set that several stages train on go
 * on where the stage before left it, so that the same set in two stages is the
 * same as one long stage.
 *
 * The learning rate of a stage with a shape: linear warm-up from the factor where
 * the stage before ended (0 in the first) to start_ratio, then the shape, which
 * meets end_ratio at the stage's last step. Without a shape it is the section
 * schedule's, counted over all stages: DeepSeek's multi-step rate, as in the
 * Kanana report, whose second stage is the last tenth of the tokens.
 *
 * With several sources, row i of a stage is of the source that is furthest behind
 * its weight; this is a pattern of 4096 rows (feed.h).
 */
#ifndef KJ_TRAINER_STAGES_H
#define KJ_TRAINER_STAGES_H

#include "base/opt.h"
#include "trainer/config.h"

struct kj_ynode;

/* Keys of a stage but `data`; they fill a struct kj_run_stage. */
extern const struct kj_opt kj_stage_opts[];

/* Read the list `stages:`. KJ_USAGE with the line. */
int kj_stages_read(struct kj_run *r, const struct kj_ynode *list, struct kj_err *err);
/* Set "stages.NAME.KEY=VALUE"; the text is borrowed. */
int kj_stages_set(struct kj_run *r, const char *assignment, struct kj_err *err);

/* Give each source the number of its set; a run without stages gets its one. May
 * be called again when paths have changed. KJ_USAGE when a source has neither a
 * path nor data.manifest and `needed` is set. */
int kj_stages_sets(struct kj_run *r, bool needed, struct kj_err *err);
/* Part of kj_run_resolve: borders and factors; schedule.steps becomes the sum. */
int kj_stages_resolve(struct kj_run *r, struct kj_err *err);
int kj_stages_dump(const struct kj_run *r, bool identity, struct kj_buf *out);

/* The stage of a step counted from 0: the last one for all steps behind it. */
const struct kj_run_stage *kj_stage_of(const struct kj_run *r, int64_t step);
/* Factor of a resolved stage that has a shape. */
double kj_stage_factor(const struct kj_run_stage *s, int64_t step);

#endif
