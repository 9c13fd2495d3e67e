/* fuzz_wikitext - any bytes as wikitext; control characters, which a dump
 * cannot hold, included. Text that was valid UTF-8 must stay so. */
#include <stdint.h>
#include <stdlib.h>

#include "base/utf8.h"
#include "extract/wikitext.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    static struct kj_wikitext *w;
    struct kj_wikitext_page page;
    struct kj_buf out;
    if (!w)
        w = kj_wikitext_new();
    kj_buf_init(&out, 1 << 24);
    int rc = kj_wikitext_render(w, (const char *)p, n, KJ_STR("t"), n & 1, &out, &page);
    if (rc == 0 && kj_utf8_is_valid((const char *)p, n) &&
        !kj_utf8_is_valid(out.p ? out.p : "", out.n))
        abort();
    kj_buf_release(&out);
    return 0;
}
