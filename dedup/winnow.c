/* winnow.c - the least hash of every window, in constant time a symbol.
 *
 * Runs of `gram` symbols are hashed by a cyclic polynomial (Cohen 1997), and
 * the hash is mixed so that its order has nothing to do with the symbols.
 * With w = window - gram + 1 runs in a window, runs are taken in blocks of w: a
 * window is the end of one block and the beginning of the next, so its least is
 * the lesser of a minimum from the block's end and one from the next one's start
 * (van Herk 1992). No queue and no rescan: text of equal letters costs what any
 * other does.
 */
#include "dedup/winnow.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"

static uint64_t mix(uint64_t z)
{
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static inline uint64_t turn(uint64_t v, unsigned by)
{
    return v << (by & 63) | v >> (-by & 63);
}

void kj_winnower_init(struct kj_winnower *w, size_t window, size_t gram)
{
    size_t runs = window - gram + 1;
    *w = (struct kj_winnower){.window = window, .gram = gram};
    for (uint64_t i = 0; i < 256; i++)
        w->table[i] = mix((i + 1) * 0x9E3779B97F4A7C15u);
    w->value = kj_xcalloc(2 * runs, sizeof *w->value);
    w->place = kj_xcalloc(runs, sizeof *w->place);
    kj_buf_init(&w->anchors, (size_t)1 << 30);
    kj_buf_init(&w->loops, (size_t)1 << 30);
}

void kj_winnower_release(struct kj_winnower *w)
{
    free(w->value);
    free(w->place);
    kj_buf_release(&w->anchors);
    kj_buf_release(&w->loops);
    *w = (struct kj_winnower){0};
}

static int end_loop(struct kj_winnower *w)
{
    struct kj_loop loop = w->loop;
    w->loop = (struct kj_loop){0, 0, 0};
    return loop.back ? kj_buf_add(&w->loops, (const char *)&loop, sizeof loop) : KJ_OK;
}

/* One more anchor, at run `at`, with its windows. */
static int note(struct kj_winnower *w, const char *p, unsigned size, uint64_t hash,
                uint32_t at, uint32_t from, uint32_t to)
{
    struct kj_anchor a = {hash, {0, 0}, from, to};
    a.same = kj_hash128(p + (size_t)from * size, (to - from + w->window) * size);
    int again = w->any && a.hash == w->last.hash && a.same.hi == w->last.same.hi &&
                a.same.lo == w->last.same.lo &&
                (!w->step || at - w->last_at == w->step);
    int rc = KJ_OK;
    if (!again) {
        rc = end_loop(w);
        w->head = a;
        w->head_at = at;
        w->step = 0;
    } else {
        w->step = at - w->last_at;
    }
    w->any = 1;
    w->last = a;
    w->last_at = at;
    if (again && at - w->head_at >= w->window) {
        if (!w->loop.back)
            w->loop = (struct kj_loop){from, 0, at - w->head_at};
        w->loop.end = to + (uint32_t)w->window;
        return rc;
    }
    return rc ? rc : kj_buf_add(&w->anchors, (const char *)&a, sizeof a);
}

static inline uint64_t symbol(const struct kj_winnower *w, const void *p, size_t i,
                              int wide)
{
    return wide ? ((const uint64_t *)p)[i] : w->table[((const unsigned char *)p)[i]];
}

static inline int winnow(struct kj_winnower *w, const void *p, size_t n, int wide)
{
    size_t runs = w->window - w->gram + 1, windows = n - w->window + 1;
    unsigned size = wide ? 8 : 1, gram = (unsigned)w->gram;
    uint64_t *now = w->value, *next = w->value + runs, h = 0;
    size_t in = 0; /* symbols hashed */
    for (; in < w->gram; in++)
        h = turn(h, 1) ^ symbol(w, p, in, wide);
    now[0] = mix(h);
    for (size_t i = 1; i < runs; i++, in++) {
        h = turn(h, 1) ^ turn(symbol(w, p, in - gram, wide), gram) ^
            symbol(w, p, in, wide);
        now[i] = mix(h);
    }
    uint32_t at = 0, from = 0;
    uint64_t best = 0;
    int rc = KJ_OK;
    for (size_t base = 0; base < windows && !rc; base += runs) {
        /* now[i]: the least of the block's runs from i on; place[i]: where */
        w->place[runs - 1] = (uint32_t)(base + runs - 1);
        for (size_t i = runs - 1; i-- > 0;) {
            int here = now[i] <= now[i + 1];
            w->place[i] = here ? (uint32_t)(base + i) : w->place[i + 1];
            now[i] = here ? now[i] : now[i + 1];
        }
        uint64_t least = UINT64_MAX; /* of the next block, so far */
        uint32_t least_at = 0;
        size_t count = windows - base < runs ? windows - base : runs;
        for (size_t i = 0; i < count && !rc; i++) {
            int left = i == 0 || now[i] <= least;
            uint32_t found = left ? w->place[i] : least_at;
            if (found != at || base + i == 0) {
                if (base + i)
                    rc = note(w, p, size, best, at, from, (uint32_t)(base + i - 1));
                at = found;
                from = (uint32_t)(base + i);
                best = left ? now[i] : least;
            }
            if (in == n)
                continue; /* only behind the last window */
            h = turn(h, 1) ^ turn(symbol(w, p, in - gram, wide), gram) ^
                symbol(w, p, in, wide);
            in++;
            next[i] = mix(h);
            if (i == 0 || next[i] < least) {
                least = next[i];
                least_at = (uint32_t)(base + runs + i);
            }
        }
        uint64_t *t = now;
        now = next;
        next = t;
    }
    if (!rc)
        rc = note(w, p, size, best, at, from, (uint32_t)(windows - 1));
    return rc ? rc : end_loop(w);
}

int kj_winnow(struct kj_winnower *w, const void *p, size_t n, int wide)
{
    kj_buf_reset(&w->anchors);
    kj_buf_reset(&w->loops);
    w->any = 0;
    w->step = 0;
    w->loop = (struct kj_loop){0, 0, 0};
    if (n < w->window || n >= UINT32_MAX)
        return KJ_OK;
    return wide ? winnow(w, p, n, 1) : winnow(w, p, n, 0);
}
