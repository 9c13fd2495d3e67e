/* fuzz_safetensors.c - headers of tensor files; what is accepted must hold
 * together and be readable to its last byte. */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "nn/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kj_st *s;
    struct kj_err err = KJ_ERR_INIT;
    char *copy = malloc(size ? size : 1);
    if (size)
        memcpy(copy, data, size);
    if (kj_st_parse(&s, copy, size, "fuzz", &err) == KJ_OK) {
        const unsigned char *end = NULL;
        for (size_t i = 0; i < kj_st_count(s); i++) {
            const struct kj_st_tensor *t = kj_st_get(s, i);
            float x[3];
            if ((end && t->p != end) || !kj_st_find(s, t->name))
                abort();
            end = t->p + t->bytes;
            if (t->elements) {
                size_t n = t->elements < 3 ? (size_t)t->elements : 3;
                kj_st_floats(t, t->elements - n, x, n, NULL);
            }
        }
        if (end && end != (unsigned char *)copy + size)
            abort();
        kj_st_close(s);
    } else if (err.rc != KJ_FAIL || !err.msg[0]) {
        abort();
    }
    free(copy);
    return 0;
}
