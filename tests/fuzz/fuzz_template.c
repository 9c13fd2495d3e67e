/* A template, a zero byte, and a JSON object for its fields: refused with a
 * message, or a text. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "trainer/template.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    const uint8_t *cut = n ? memchr(p, 0, n) : NULL;
    size_t head = cut ? (size_t)(cut - p) : n;
    struct kj_err err = KJ_ERR_INIT;
    struct kj_template *t = NULL;
    int rc = kj_template_parse(&t, n ? (const char *)p : "", head, &err);
    if (rc != KJ_OK) {
        if (rc != KJ_USAGE || !err.msg[0])
            abort();
        return 0;
    }
    struct kj_json *j = kj_json_new();
    const struct kj_jval *doc;
    struct kj_jval v;
    struct kj_arena a;
    struct kj_buf b;
    kj_arena_init(&a, 1 << 20);
    kj_buf_init(&b, 1 << 16);
    if (cut &&
        kj_json_parse(j, (const char *)cut + 1, n - head - 1, &doc, NULL) == KJ_OK) {
        rc = kj_template_render(t, doc, &a, &b, &err);
        if (rc != KJ_OK && (rc != KJ_BAD_RECORD || !err.msg[0]))
            abort();
        kj_err_reset(&err);
        rc = kj_template_value(t, doc, &a, &v, &err);
        if (rc != KJ_OK && !err.msg[0])
            abort();
    }
    kj_template_free(t);
    kj_json_free(j);
    kj_arena_release(&a);
    kj_buf_release(&b);
    return 0;
}
