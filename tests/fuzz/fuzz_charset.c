/* fuzz_charset - any bytes in any encoding; the first byte chooses the label.
 * The result must be valid UTF-8. */
#include <stdint.h>
#include <stdlib.h>

#include "base/utf8.h"
#include "extract/charset.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    static const char *const labels[] = {
        "",          "utf-8",    "euc-kr",     "johab",        "iso-2022-kr",
        "shift_jis", "euc-jp",   "gb18030",    "big5",         "gbk",
        "utf-16",    "utf-16be", "iso-8859-1", "windows-1251", "iso-2022-jp",
        "euc-tw"};
    struct kj_charset *c = kj_charset_new();
    struct kj_charset_result r;
    struct kj_buf out;
    const char *label = n ? labels[p[0] % 16] : "";
    const char *text = (const char *)p + (n > 0);
    size_t len = n - (n > 0);
    kj_buf_init(&out, 1 << 20);
    if (kj_charset_decode(c, text, len, kj_str_z(label), true, &out, &r, NULL) == 0 &&
        kj_utf8_valid(r.text.p, r.text.n) != r.text.n)
        abort();
    kj_buf_release(&out);
    kj_charset_free(c);
    return 0;
}
