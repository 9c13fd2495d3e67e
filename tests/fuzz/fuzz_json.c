/* fuzz_json.c - whatever parses is written, read back and equal; the walk over
 * raw members agrees with the tree; any bytes as a string give valid JSON. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static bool same(const struct kj_jval *a, const struct kj_jval *b)
{
    if ((a->kind == KJ_J_INT || a->kind == KJ_J_REAL) &&
        (b->kind == KJ_J_INT || b->kind == KJ_J_REAL)) /* 1.0 is written as 1 */
        return kj_jnum(a, 0) == kj_jnum(b, 0);
    if (a->kind != b->kind)
        return false;
    switch (a->kind) {
    case KJ_J_BOOL:
        return a->b == b->b;
    case KJ_J_STR:
        return kj_str_eq(a->s, b->s);
    case KJ_J_ARRAY:
    case KJ_J_OBJECT:
        if (a->n != b->n)
            return false;
        for (size_t i = 0; i < a->n; i++)
            if (!same(&a->items[i], &b->items[i]) ||
                (a->keys && !kj_str_eq(a->keys[i], b->keys[i])))
                return false;
        return true;
    default:
        return true;
    }
}

static void need(bool ok)
{
    if (!ok)
        abort();
}

static void walk(const char *p, size_t n, const struct kj_jval *v)
{
    struct kj_json *j = kj_json_new();
    struct kj_str key, val;
    size_t pos = 0, count = 0;
    int rc;
    while ((rc = kj_json_member(p, n, &pos, &key, &val)) == KJ_OK) {
        const struct kj_jval *m;
        need(count < v->n);
        need(kj_json_parse(j, val.p, val.n, &m, NULL) == KJ_OK);
        need(same(m, &v->items[count++]));
        need(kj_json_parse(j, key.p - 1, key.n + 2, &m, NULL) == KJ_OK);
        need(kj_str_eq(m->s, v->keys[count - 1]));
    }
    need(rc == KJ_EOF && count == v->n);
    kj_json_free(j);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    const char *p = (const char *)bytes;
    struct kj_json *a = kj_json_new(), *b = kj_json_new();
    const struct kj_jval *v, *w;
    struct kj_buf out;
    kj_buf_init(&out, 8 * n + 64);
    if (kj_json_parse(a, p, n, &v, NULL) == KJ_OK) {
        need(kj_json_put_val(&out, v) == KJ_OK);
        need(kj_json_parse(b, out.p, out.n, &w, NULL) == KJ_OK);
        need(same(v, w));
        if (v->kind == KJ_J_OBJECT)
            walk(p, n, v);
    }
    kj_buf_reset(&out);
    need(kj_json_put_str(&out, p, n) == KJ_OK);
    need(kj_json_parse(b, out.p, out.n, &w, NULL) == KJ_OK && w->kind == KJ_J_STR);
    kj_buf_release(&out);
    kj_json_free(a);
    kj_json_free(b);
    return 0;
}
