/* Any valid UTF-8: normal forms are stable, and words cover the text. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/unicode.h"
#include "base/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    const char *p = (const char *)bytes;
    for (size_t at = 0, next; at < n; at = next)
        if ((next = kj_uni_word_next(p, n, at)) <= at || next > n)
            abort();
    n = kj_utf8_valid(p, n);
    for (int f = KJ_NFC; f <= KJ_NFKD; f++) {
        struct kj_buf a, b;
        kj_buf_init(&a, 64 * n + 64);
        kj_buf_init(&b, 64 * n + 64);
        if (kj_uni_normalize(&a, (enum kj_nf)f, p, n) != KJ_OK ||
            kj_uni_normalize(&b, (enum kj_nf)f, a.p ? a.p : "", a.n) != KJ_OK)
            abort();
        if (a.n != b.n || (a.n && memcmp(a.p, b.p, a.n) != 0))
            abort();
        kj_buf_reset(&b);
        if (kj_uni_lower_str(&b, p, n) != KJ_OK ||
            kj_utf8_valid(b.p ? b.p : "", b.n) != b.n)
            abort();
        kj_buf_release(&a);
        kj_buf_release(&b);
    }
    return 0;
}
