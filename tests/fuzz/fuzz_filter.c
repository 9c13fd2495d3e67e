/* Any bytes as a text: every rule in all word units, and the masks. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/doc.h"
#include "base/err.h"
#include "filter/facts.h"
#include "filter/filter.h"
#include "filter/pii.h"
#include "filter/recipe.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static void masks(const char *p, size_t n)
{
    for (int k = KJ_PII_EMAIL; k < KJ_PII_KINDS; k++) {
        struct kj_arena a;
        struct kj_str out = {p, n};
        size_t count, again;
        kj_arena_init(&a, 64 * n + 4096);
        if (kj_pii_mask((enum kj_pii_kind)k, p, n, &count, &a, &out) != KJ_OK)
            abort();
        if (kj_pii_mask((enum kj_pii_kind)k, p, n, &again, NULL, NULL) ||
            again != count)
            abort();
        if (k > KJ_PII_IPV4 && count &&
            (kj_pii_mask((enum kj_pii_kind)k, out.p, out.n, &again, NULL, NULL) ||
             again > count))
            abort(); /* masking must not make more */
        kj_arena_release(&a);
    }
}

/* A cleaning rule: nothing may grow. */
static void clean(const struct kj_filter_item *it, const char *p, size_t n)
{
    struct kj_buf b;
    size_t count = 0;
    kj_buf_init(&b, 4 * n + 16);
    if (it->rule->clean(it, (struct kj_str){p, n}, &b, &count) != KJ_OK ||
        (b.n > n && it->rule->clean != kj_clean_nfc)) /* NFC may grow */
        abort();
    kj_buf_release(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    const char *p = (const char *)bytes;
    const char *stop = "the";
    uint64_t hash = kj_facts_hash(stop, 3);
    struct kj_facts f;
    struct kj_doc d;
    memset(&d, 0, sizeof d);
    d.text = (struct kj_str){p, n};
    kj_facts_init(&f);
    kj_facts_set(&f, &d);
    for (int u = 0; u < KJ_WORD_UNITS; u++) {
        struct kj_filter_scope sc = {.text = "",
                                     .words = (enum kj_word_unit)u,
                                     .short_line = 30,
                                     .stop_words = &stop,
                                     .stop_hash = &hash,
                                     .n_stop = 1};
        for (const struct kj_filter_rule *r = kj_filter_rules; r->name; r++) {
            struct kj_filter_item it = {.rule = r, .scope = &sc, .threshold = 1};
            if (r->clean && u == 0)
                clean(&it, p, n);
            if (r->measure && !(r->measure(&f, &it) >= 0))
                abort();
        }
        const struct kj_words *w = kj_facts_words(&f, (enum kj_word_unit)u);
        size_t most = u == KJ_WORDS_MORPHEME ? 3 * n : n; /* slices overlap */
        if (w->n_solid > w->n || w->n_alpha > w->n || w->bytes[w->n] > most)
            abort();
    }
    kj_facts_release(&f);
    masks(p, n);
    return 0;
}
