/* fuzz_html - any text as a page, in every form of output; the result must be
 * valid UTF-8. */
#include <stdint.h>
#include <stdlib.h>

#include "base/utf8.h"
#include "extract/charset.h"
#include "extract/html.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct kj_html *h = kj_html_new();
    struct kj_charset *c = kj_charset_new();
    struct kj_html_page page;
    struct kj_buf out, text;
    uint64_t replaced = 0;
    kj_buf_init(&text, 1 << 22);
    kj_buf_init(&out, 1 << 24);
    kj_charset_convert(c, "UTF-8", (const char *)p, n, &text, &replaced, NULL);
    for (int form = 0; form < 3; form++) {
        kj_buf_reset(&out);
        kj_html_extract(h, text.p, text.n, form == 1, form == 2, &out, &page, NULL);
        if (kj_utf8_valid(out.p, out.n) != out.n)
            abort();
    }
    kj_buf_release(&out);
    kj_buf_release(&text);
    kj_charset_free(c);
    kj_html_free(h);
    return 0;
}
