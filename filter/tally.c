/* tally.c - bytes of a few kinds, counted 32 at a time. */
#include <string.h>

#include "filter/facts.h"

typedef unsigned char lanes __attribute__((vector_size(32)));

__attribute__((always_inline)) static inline void tally_byte(struct kj_facts_bytes *t,
                                                             unsigned char c)
{
    t->conts += (c & 0xC0) == 0x80;
    t->newlines += c == '\n';
    t->hashes += c == '#';
    t->dots += c == '.';
    t->c2 += c == 0xC2;
    t->e2 += c == 0xE2;
    t->odd += (unsigned char)(c - 0x0B) < 3 || (unsigned char)(c - 0x1C) < 3;
}

/* Each lane counts by itself, for at most 255 rounds; true is -1. */
__attribute__((always_inline)) static inline struct kj_facts_bytes tally(const char *p,
                                                                         size_t n)
{
    struct kj_facts_bytes t = {0};
    size_t *const sums[7] = {&t.conts, &t.newlines, &t.hashes, &t.dots,
                             &t.c2,    &t.e2,       &t.odd};
    size_t i = 0;
    while (n - i >= 32) {
        size_t end = n - i > 255 * 32 ? i + 255 * 32 : n;
        lanes k[7] = {{0}}, c;
        for (; i + 32 <= end; i += 32) {
            memcpy(&c, p + i, 32);
            k[0] -= (lanes)((c & 0xC0) == 0x80);
            k[1] -= (lanes)(c == '\n');
            k[2] -= (lanes)(c == '#');
            k[3] -= (lanes)(c == '.');
            k[4] -= (lanes)(c == 0xC2);
            k[5] -= (lanes)(c == 0xE2);
            k[6] -= (lanes)(((c - 0x0B) < 3) | ((c - 0x1C) < 3));
        }
        for (int m = 0; m < 7; m++)
            for (int j = 0; j < 32; j++)
                *sums[m] += k[m][j];
    }
    for (; i < n; i++)
        tally_byte(&t, (unsigned char)p[i]);
    return t;
}

#ifdef __x86_64__
__attribute__((target("avx2"))) static struct kj_facts_bytes tally_avx2(const char *p,
                                                                        size_t n)
{
    return tally(p, n);
}
#endif

struct kj_facts_bytes kj_facts_tally(const char *p, size_t n)
{
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx2"))
        return tally_avx2(p, n);
#endif
    return tally(p, n);
}
