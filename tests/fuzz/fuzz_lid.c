/* Any text, also cut into pieces: an answer within its bounds; any bytes as a
 * label: a code. */
#include <stdint.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/utf8.h"
#include "classify/lid.h"
#include "classify/lid_codes.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

#define SIZES 3
static const size_t sizes[SIZES] = {16, 600, 4096};

/* Loading the model takes a hundred times as long as asking it. */
static struct kj_lid *model(size_t i)
{
    static struct kj_lid *open[SIZES];
    struct kj_err err = KJ_ERR_INIT;
    struct kj_lid_options o = {.max_bytes = sizes[i]};
    if (!open[i] && kj_lid_open(&open[i], &o, &err) != KJ_OK)
        abort();
    return open[i];
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    const char *text = (const char *)p;
    struct kj_err err = KJ_ERR_INIT;
    struct kj_arena a;
    uint64_t set;
    kj_arena_init(&a, 1 << 20);
    if (n < 100 && kj_lid_code((struct kj_str){text, n}, &set, &a).n > n + 1)
        abort();
    kj_arena_release(&a);
    n = kj_utf8_valid(text, n);
    for (size_t i = 0; i < SIZES; i++) {
        struct kj_lid *m = model(i);
        struct kj_lid_answer ans;
        struct kj_lid_scratch *s = kj_lid_scratch_new(m);
        if (kj_lid_ask(m, s, text, n, &ans, &err) != KJ_OK)
            abort();
        if (!(ans.score >= 0 && ans.score <= 1) || ans.letters > sizes[i] ||
            ans.label >= kj_lid_labels(m) || (ans.label < 0) != (ans.score <= 0))
            abort();
        kj_lid_scratch_free(s);
    }
    return 0;
}
