/* fuzz_tiktoken.c - any bytes as a file of ranks: refused with a reason, or a model
 * that encodes text into ids that decode to it. The 256 bytes stand in front, or
 * hardly anything would be a model. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "tokenize/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    static const char text[] =
        "The cat's 1234 한국어는 \n\n  <|endoftext|> caf\xC3\xA9";
    struct kj_tok *t;
    struct kj_err err = KJ_ERR_INIT;
    struct kj_buf b;
    kj_buf_init(&b, 1 << 24);
    for (unsigned i = 0; i < 256; i++)
        kj_buf_printf(&b, "%c%c== %u\n", digits[i >> 2], digits[(i & 3) << 4], i);
    kj_buf_add(&b, (const char *)p, n);
    int rc = kj_tok_parse(&t, b.p, b.n, "cl100k_base.tiktoken", &err);
    if (rc != KJ_OK && !(err.rc == KJ_FAIL && err.msg[0]))
        abort();
    if (rc == KJ_OK) {
        struct kj_tok_state *s = kj_tok_state_new(t);
        struct kj_tok_ids ids = {0};
        kj_buf_reset(&b);
        if (kj_tok_encode(t, s, text, sizeof text - 1, 0, &ids, &err) != KJ_OK ||
            kj_tok_decode(t, ids.v, ids.n, false, &b, &err) != KJ_OK ||
            b.n != sizeof text - 1 || memcmp(b.p, text, b.n) != 0)
            abort();
        kj_tok_ids_release(&ids);
        kj_tok_state_free(s);
        kj_tok_free(t);
    }
    kj_buf_release(&b);
    return 0;
}
