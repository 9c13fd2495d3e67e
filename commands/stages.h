/* stages.h - the stages of a run, told to a person and as JSON. */
#ifndef KJ_COMMANDS_STAGES_H
#define KJ_COMMANDS_STAGES_H

#include "commands/data.h"
#include "trainer/stages.h"

/* One line a stage and source on stdout, behind lead. Of d the sets that are open
 * tell their epochs; d may have none. */
void kj_stages_print(const struct kj_run *r, const struct kj_datas *d,
                     const char *lead);
/* The same: a JSON array. */
void kj_stages_json(const struct kj_run *r, const struct kj_datas *d,
                    struct kj_buf *out);

#endif
