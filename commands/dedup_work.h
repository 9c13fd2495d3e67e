/* dedup_work.h - the options of kijil dedup that are no stage's, and what they
 * make of its run. For cmd_dedup.c. */
#ifndef KJ_COMMANDS_DEDUP_WORK_H
#define KJ_COMMANDS_DEDUP_WORK_H

#include "commands/commands.h"

struct kj_dedup_work {
    const char *dir; /* NULL: none of this */
    int step;        /* enum kj_dedup_step */
    int64_t per;
};
extern const struct kj_opt kj_dedup_work_opts[];

/* For kj_cmd_stage_own. */
int kj_dedup_work_drive(void *own, const struct kj_cmd *cmd, struct kj_common *c,
                        void *cfg, struct kj_files *files);

#endif
