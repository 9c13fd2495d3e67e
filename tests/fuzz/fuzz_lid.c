/* Any text, also cut into pieces: an answer within its bounds; any bytes as a
 * label: a code. */
#include <stdint.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/utf8.h"
#include "classify/lid.h"
#include "classify/lid_codes.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    const char *text = (const char *)p;
    static const size_t sizes[] = {16, 600, 4096};
    struct kj_err err = KJ_ERR_INIT;
    struct kj_arena a;
    uint64_t set;
    kj_arena_init(&a, 1 << 20);
    if (n < 100 && kj_lid_code((struct kj_str){text, n}, &set, &a).n > n + 1)
        abort();
    kj_arena_release(&a);
    n = kj_utf8_valid(text, n);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct kj_lid_options o = {.max_bytes = sizes[i]};
        struct kj_lid *m;
        struct kj_lid_answer ans;
        if (kj_lid_open(&m, &o, &err) != KJ_OK)
            abort();
        struct kj_lid_scratch *s = kj_lid_scratch_new(m);
        if (kj_lid_ask(m, s, text, n, &ans, &err) != KJ_OK)
            abort();
        if (!(ans.score >= 0 && ans.score <= 1) || ans.letters > o.max_bytes ||
            ans.label >= kj_lid_labels(m) || (ans.label < 0) != (ans.score <= 0))
            abort();
        kj_lid_scratch_free(s);
        kj_lid_free(m);
    }
    return 0;
}
