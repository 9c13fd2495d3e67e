/* fuzz_latex - any bytes as a paper of one or more files: a line "%%FILE name"
 * begins the next file. Text that was valid UTF-8 must stay so. */
#define _GNU_SOURCE /* memmem */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "extract/latex.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    static struct kj_latex *l;
    struct kj_latex_file files[8];
    struct kj_latex_paper paper;
    struct kj_buf out;
    const char *s = (const char *)p, *end = s + n;
    size_t k = 0;
    if (!l)
        l = kj_latex_new();
    files[k++] = (struct kj_latex_file){KJ_STR("main.tex"), {s, n}};
    while (n && k < 8 && (s = memmem(s, (size_t)(end - s), "%%FILE ", 7))) {
        files[k - 1].text.n = (size_t)(s - files[k - 1].text.p);
        s += 7;
        const char *e = memchr(s, '\n', (size_t)(end - s));
        e = e ? e : end;
        files[k].name = (struct kj_str){s, (size_t)(e - s)};
        files[k++].text = (struct kj_str){e, (size_t)(end - e)};
        s = e;
    }
    kj_buf_init(&out, 1 << 26);
    int rc = kj_latex_render(l, files, k, &out, &paper);
    if (rc == 0 && kj_utf8_is_valid((const char *)p, n) &&
        !kj_utf8_is_valid(out.p ? out.p : "", out.n))
        abort();
    kj_buf_release(&out);
    return 0;
}
