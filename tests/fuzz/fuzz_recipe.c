/* Any bytes as a filter recipe: refused with a message, or compiled. */
#include <stdint.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/yaml.h"
#include "filter/recipe.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct kj_err err = KJ_ERR_INIT;
    struct kj_yaml *y = NULL;
    struct kj_filter_recipe r;
    if (kj_yaml_parse(&y, (const char *)p, n, "fuzz", &err) != KJ_OK)
        return 0;
    kj_filter_recipe_init(&r, "/nonexistent");
    int rc = kj_filter_recipe_add_node(&r, kj_yaml_root(y), &err);
    if (rc != KJ_OK && (rc != KJ_USAGE || !err.msg[0]))
        abort();
    if (rc == KJ_OK)
        for (size_t i = 0; i < r.n; i++)
            if (!r.items[i].rule || !r.items[i].scope)
                abort();
    kj_filter_recipe_release(&r);
    kj_yaml_free(y);
    return 0;
}
