/* fuzz_doc.c - one line of the document stream: whatever is read must be
 * written as a line that reads back to the same line. */
#include "base/doc.h"
#include "base/err.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct kj_batch b;
    struct kj_err err = KJ_ERR_INIT;
    kj_batch_init(&b);
    struct kj_doc *d = kj_batch_add(&b);
    if (kj_doc_parse(d, b.json, &b.arena, (const char *)p, n, &err) == KJ_OK) {
        if (kj_doc_write(d, "s", false, &b.out, &err))
            abort();
        size_t first = b.out.n;
        struct kj_doc *again = kj_batch_add(&b);
        char *line = kj_arena_dup(&b.arena, b.out.p, first - 1);
        if (kj_doc_parse(again, b.json, &b.arena, line, first - 1, &err))
            abort();
        if (kj_doc_write(again, "s", false, &b.out, &err))
            abort();
        if (b.out.n != 2 * first || memcmp(b.out.p, b.out.p + first, first) != 0)
            abort();
    }
    kj_batch_release(&b);
    return 0;
}
