/* fuzz_annotate.c - a server's answer: any bytes, one of the outcomes. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/json.h"
#include "classify/annotate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kj_json *json = kj_json_new();
    struct kj_annotate_answer a = kj_annotate_read(json, (const char *)data, size);
    struct kj_buf b;
    kj_buf_init(&b, (size_t)1 << 24);
    if (a.kind > KJ_ANNOTATE_MALFORMED ||
        (a.kind == KJ_ANNOTATE_SCORE && (a.score < 0 || a.score > 5)) ||
        a.tokens_in < 0 || a.tokens_out < 0)
        abort();
    if (a.reason.n && kj_json_put_str(&b, a.reason.p, a.reason.n) != 0 &&
        size < 1 << 20)
        abort();
    kj_buf_release(&b);
    kj_json_free(json);
    return 0;
}
