/* fuzz_yaml.c - a tree whose every node can be walked, or an error with its
 * line. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static size_t walk(const struct kj_ynode *n, size_t left)
{
    size_t seen = 1;
    if (n->line < 1 || strcmp(n->file, "f") != 0)
        abort();
    if (n->kind == KJ_Y_SCALAR)
        return seen + (strlen(n->scalar) > (1u << 20));
    for (size_t i = 0; i < n->n; i++) {
        const struct kj_ynode *c = n->items[i];
        if ((n->kind == KJ_Y_MAP) != (c->key != NULL))
            abort();
        if (c->key && kj_ynode_get(n, c->key) != c)
            abort();
        seen += walk(c, left - seen);
        if (seen > left)
            abort();
    }
    return seen;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct kj_yaml *y;
    struct kj_err err = KJ_ERR_INIT;
    if (kj_yaml_parse(&y, (const char *)p, n, "f", &err) == KJ_OK)
        walk(kj_yaml_root(y), 100001);
    else if (err.rc != KJ_USAGE || err.pos < 1 || !err.msg[0])
        abort();
    kj_yaml_free(y);
    return 0;
}
