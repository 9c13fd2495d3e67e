/* Any bytes as a text: every window has one anchor, equal windows have equal ones
 * at equal places, and loops are copies. The first two bytes pick the lengths. */
#include "dedup/winnow.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int ok)
{
    if (!ok)
        abort();
}

/* The anchor that has window s, or NULL: it is in a loop. */
static const struct kj_anchor *anchor_of(const struct kj_winnower *w, size_t s)
{
    const struct kj_anchor *a = (const void *)w->anchors.p;
    const struct kj_anchor *end = a + w->anchors.n / sizeof *a;
    while (a < end && a->to < s)
        a++;
    return a < end && a->from <= s ? a : NULL;
}

static void check(const struct kj_winnower *w, const uint8_t *p, size_t n)
{
    const struct kj_loop *loop = (const void *)w->loops.p;
    size_t n_loops = w->loops.n / sizeof *loop;
    for (size_t i = 0; i < n_loops; i++) {
        must(loop[i].back >= w->window && loop[i].from >= loop[i].back);
        must(loop[i].end <= n && loop[i].end >= loop[i].from + w->window);
        must(!memcmp(p + loop[i].from, p + loop[i].from - loop[i].back,
                     loop[i].end - loop[i].from));
    }
    for (size_t s = 0; s + w->window <= n; s++) {
        const struct kj_anchor *a = anchor_of(w, s);
        int looped = 0;
        for (size_t i = 0; i < n_loops; i++)
            looped |= loop[i].from <= s && s + w->window <= loop[i].end;
        must(a || looped);
        for (size_t k = s + 1; a && k + w->window <= n && k < s + 300; k++) {
            const struct kj_anchor *b = anchor_of(w, k);
            if (b && !memcmp(p + s, p + k, w->window))
                must(a->hash == b->hash);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 || size > 2000)
        return 0;
    size_t window = 1 + data[0] % 80, gram = 1 + data[1] % 64;
    struct kj_winnower w;
    kj_winnower_init(&w, window, gram < window ? gram : window);
    must(kj_winnow(&w, data + 2, size - 2, 0) == 0);
    check(&w, data + 2, size - 2);
    size_t words = (size - 2) / 8;
    uint64_t *v = malloc(words * 8 + 8);
    memcpy(v, data + 2, words * 8);
    must(kj_winnow(&w, v, words, 1) == 0);
    free(v);
    kj_winnower_release(&w);
    return 0;
}
