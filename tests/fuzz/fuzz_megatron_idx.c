/* fuzz_megatron_idx.c - any bytes as an index: refused, or every document lies
 * within the .bin. The first 8 bytes are the size of the .bin. */
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
    uint64_t bytes;
    if (n < 8)
        return 0;
    memcpy(&bytes, p, 8);
    if (kj_idx_parse(&x, p + 8, n - 8, bytes, &err) != KJ_OK)
        return err.rc == KJ_FAIL && err.msg[0] ? 0 : (abort(), 0);
    if (x.tokens * x.width != bytes)
        abort();
    uint64_t before = 0;
    for (uint64_t d = 0; d <= x.documents; d++) {
        uint64_t at = kj_idx_doc_start(&x, d);
        if (at < before || at > x.tokens)
            abort();
        before = at;
    }
    if (kj_idx_doc_start(&x, x.documents) != x.tokens)
        abort();
    return 0;
}
