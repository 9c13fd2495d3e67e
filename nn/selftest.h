/* selftest.h - does a back end compute what it should?
 *
 * Every operation is run on random operands of odd sizes and compared with a
 * plain float64 version of its definition in nn/backend.h; every backward pass
 * is compared with central differences of that float64 forward, along random
 * directions and along single elements. Outputs are poisoned with NaN first
 * where the operation has to replace them. `kijil device` and the unit tests
 * run the same checks.
 */
#ifndef KJ_NN_SELFTEST_H
#define KJ_NN_SELFTEST_H

#include <stdbool.h>
#include <stdint.h>

struct kj_backend;
struct kj_err;

struct kj_selftest {
    const char *op;   /* "attention" */
    const char *what; /* "dk, 8/4 heads, 3 segments" */
    double worst;     /* largest difference, relative to the largest value */
    double limit;     /* what is allowed */
    bool ok;
};

/* Run all checks; report (may be NULL) sees each. *failed counts those that
 * missed their limit. KJ_FATAL when the back end itself fails; the message begins with
 * the number of the group of checks, and `from` begins with that group (0: with the first),
 * so that another process can look at those behind one that loses a device. What a
 * group is given does not depend on the groups before it. */
int kj_selftest_run(struct kj_backend *b, uint64_t seed, unsigned from,
                    void (*report)(void *ctx, const struct kj_selftest *t), void *ctx,
                    unsigned *failed, struct kj_err *err);

#endif
