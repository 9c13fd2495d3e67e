/* runfile.h - the run file as a run's folder keeps it.
 *
 * DIR/run.yaml is what the run goes by, resolved, with a hash of its data; kijil train
 * can be started from it. It tells what another run file would change, and where a run
 * went on with another one, DIR/run.to-00000040.yaml is what it went by up to step 40.
 */
#ifndef KJ_TRAINER_RUNFILE_H
#define KJ_TRAINER_RUNFILE_H

#include <stdbool.h>
#include <stdint.h>

#include "trainer/config.h"

struct kj_runfile_diff {
    bool known;     /* there is a run.yaml that can be read */
    bool same;      /* it has the same run and data */
    bool fixed;     /* what differs is nothing that a run can change on its way */
    char what[400]; /* "optim.lr 0.002 (there 0.001), data" */
};

/* What sets run (resolved) and data apart from DIR/run.yaml. */
void kj_runfile_compare(const char *dir, const struct kj_run *run,
                        const char *data_hash, struct kj_runfile_diff *out);
/* Write DIR/run.yaml, behind so many steps; one of another run is renamed. */
int kj_runfile_keep(const char *dir, const struct kj_run *run, const char *data_hash,
                    int64_t step, struct kj_err *err);

#endif
