/* fuzz_gguf.c - GGUF files; what is accepted must lie within the file, be found
 * by its name and be readable to its last byte. */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "trainer/gguf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kj_gguf *g;
    struct kj_err err = KJ_ERR_INIT;
    struct kj_shape s;
    unsigned char *copy = malloc(size ? size : 1);
    if (size)
        memcpy(copy, data, size);
    if (kj_gguf_parse(&g, copy, size, "fuzz", &err) == KJ_OK) {
        for (size_t i = 0; i < kj_gguf_tensors(g); i++) {
            const struct kj_gguf_tensor *t = kj_gguf_tensor(g, i);
            float x[3];
            if (t->p < copy || t->bytes > size || t->p + t->bytes > copy + size)
                abort();
            if (t->elements) {
                size_t n = t->elements < 3 ? (size_t)t->elements : 3;
                kj_gguf_floats(t, t->elements - n, x, n, NULL);
            }
        }
        int rc = kj_gguf_check(g, &s, &err);
        if (rc != KJ_OK && (rc != KJ_FAIL || !err.msg[0]))
            abort();
        kj_gguf_close(g);
    } else if (err.rc != KJ_FAIL || !err.msg[0]) {
        abort();
    }
    free(copy);
    return 0;
}
