/* fuzz_fasttext.c - any bytes as a model file; what loads is used on text that
 * has every kind of character. */
#include <stdint.h>
#include <stdlib.h>

#include "base/err.h"
#include "classify/fasttext.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    static const char text[] = "__label__a ba ke 가나 \xff\xfe \xed\xa0\x80 "
                               "__label__none\tлист <b> \0 x x x x x";
    struct kj_err err = KJ_ERR_INIT;
    struct kj_ft *m;
    if (kj_ft_open_mem(&m, p, n, "fuzz", &err) != KJ_OK)
        return 0;
    if (kj_ft_memory(m) > KJ_FT_MEM_FACTOR * n + (1 << 20))
        abort();
    int32_t labels = kj_ft_labels(m), found;
    struct kj_ft_hit *hits = malloc((size_t)labels * sizeof *hits);
    struct kj_ft_scratch *s = kj_ft_scratch_new(m, 1 << 16);
    kj_ft_predict(m, s, text, sizeof text - 1, true, -1, 0, hits, &found, NULL, &err);
    if (found > labels)
        abort();
    kj_ft_scratch_free(s);
    free(hits);
    kj_ft_free(m);
    return 0;
}
