/* fuzz_doc_ends.c - any bytes as llm.c's file or as a list of document ends:
 * refused, or every document lies within the tokens. The first byte chooses,
 * the next 8 are the number of tokens for a list. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/shards.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct kj_idx x;
    struct kj_err err = KJ_ERR_INIT;
    uint64_t tokens;
    unsigned width;
    if (n < 9)
        return 0;
    if (p[0] & 1) {
        if (kj_llmc_parse(p + 1, n - 1, &width, &tokens, &err) == KJ_OK &&
            KJ_LLMC_HEAD + tokens * width != n - 1)
            abort();
        return 0;
    }
    memcpy(&tokens, p + 1, 8);
    if (kj_ends_parse(&x, p + 9, n - 9, 2 + (p[0] & 2), tokens, &err) != KJ_OK)
        return err.rc == KJ_FAIL && err.msg[0] ? 0 : (abort(), 0);
    uint64_t before = 0;
    for (uint64_t d = 0; d <= x.documents; d++) {
        uint64_t at = kj_idx_doc_start(&x, d);
        if (at < before || at > tokens)
            abort();
        before = at;
    }
    if (before != tokens)
        abort();
    return 0;
}
