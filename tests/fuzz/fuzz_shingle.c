/* Any bytes as a text: the normal form is UTF-8, squeezed and stripped; the
 * shingles are as many as the units allow. The first byte picks the options. */
#include "base/err.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "dedup/normal.h"
#include "dedup/shingle.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int ok)
{
    if (!ok)
        abort();
}

static void check_normal(unsigned flags, const char *p, size_t n)
{
    struct kj_buf out, run;
    kj_buf_init(&out, 1 << 24);
    kj_buf_init(&run, 1 << 24);
    if (kj_dedup_normalize(&out, &run, flags, p, n) == KJ_OK) {
        must(kj_utf8_valid(out.p, out.n) == out.n);
        for (size_t i = 0; i < out.n; i++) {
            unsigned char c = (unsigned char)out.p[i];
            must(c >= 0x80 || c == ' ' || (c >= '0' && c <= '9') ||
                 (c >= 'a' && c <= 'z'));
            must(c != ' ' || (i > 0 && i + 1 < out.n));
        }
    }
    kj_buf_reset(&out);
    must(kj_dedup_normalize_url(&out, p, n) == KJ_OK && out.n <= n);
    kj_buf_release(&out);
    kj_buf_release(&run);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    const char *p = (const char *)data + 1;
    size_t n = size - 1;
    check_normal(data[0] & 3, p, n);
    struct kj_shingler s;
    kj_shingler_init(&s);
    struct kj_err err = KJ_ERR_INIT;
    unsigned ngram = data[0] >> 4;
    if (kj_shingler_run(&s, (enum kj_shingle_unit)(data[0] >> 2 & 3), ngram, p, n,
                        &err) == KJ_OK) {
        must(s.n <= 3 * n); /* a character decomposes into few */
        size_t before = s.n;
        must(kj_shingler_set(&s, &err) == KJ_OK);
        must(s.n <= before && (s.n > 0) == (before > 0));
        for (size_t i = 1; i < s.n; i++)
            must(s.h[i - 1] < s.h[i]);
        must(kj_shingle_jaccard(s.h, s.n, s.h, s.n, 1) == (s.n ? 1 : -1));
    }
    kj_shingler_release(&s);
    return 0;
}
