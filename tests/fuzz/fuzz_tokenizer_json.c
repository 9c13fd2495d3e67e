/* fuzz_tokenizer_json.c - any bytes as tokenizer.json: refused with a reason,
 * or a model that encodes text, and whose ids decode. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "tokenize/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    static const char text[] =
        "The cat's 1234 한국어는 \n\n  <|x|> caf\xC3\xA9 aaaaaaaaaaaaaaaa"
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    struct kj_tok *t;
    struct kj_err err = KJ_ERR_INIT;
    if (kj_tok_parse(&t, (const char *)p, n, "fuzz", &err) != KJ_OK)
        return err.rc == KJ_FAIL && err.msg[0] ? 0 : (abort(), 0);
    struct kj_tok_state *s = kj_tok_state_new(t);
    struct kj_tok_ids ids = {0};
    struct kj_buf b;
    kj_buf_init(&b, 1 << 20);
    if (kj_tok_encode(t, s, text, sizeof text - 1, 0, &ids, &err) == KJ_OK) {
        for (size_t i = 0; i < ids.n; i++)
            if (ids.v[i] >= kj_tok_vocab_size(t))
                abort();
        if (kj_tok_decode(t, ids.v, ids.n, false, &b, &err) == KJ_FAIL &&
            !strstr(err.msg, "decoder"))
            abort();
    }
    kj_buf_release(&b);
    kj_tok_ids_release(&ids);
    kj_tok_state_free(s);
    kj_tok_free(t);
    return 0;
}
