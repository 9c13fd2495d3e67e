/* fuzz_plan.c - any text as a plan of kijil mix: refused with a reason, or parts
 * with either a share or tokens, and epochs within bounds. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/err.h"
#include "manifests/mix.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct kj_mix m;
    struct kj_err err = KJ_ERR_INIT;
    if (kj_mix_parse(&m, (const char *)p, n, "plan", &err) != KJ_OK) {
        if (!err.msg[0])
            abort();
    } else {
        for (size_t i = 0; i < m.n; i++)
            if (!m.parts[i].name ||
                isnan(m.parts[i].share) == isnan(m.parts[i].tokens) ||
                !(m.parts[i].epochs >= 0 && m.parts[i].epochs <= 1000))
                abort();
    }
    kj_mix_release(&m);
    return 0;
}
