/* pyrandom.c - MT19937 and CPython's sample(). */
#include "trainer/pyrandom.h"

#include <stdbool.h>
#include <stdlib.h>

#include "base/mem.h"

enum { N = 624, M = 397 };

static void seed_word(struct kj_pyrandom *r, uint32_t s)
{
    r->mt[0] = s;
    for (uint32_t i = 1; i < N; i++)
        r->mt[i] = 1812433253u * (r->mt[i - 1] ^ (r->mt[i - 1] >> 30)) + i;
    r->at = N;
}

void kj_pyrandom_seed(struct kj_pyrandom *r, uint64_t seed)
{
    uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    uint32_t words = key[1] ? 2 : 1, i = 1, j = 0, *mt = r->mt;
    seed_word(r, 19650218u);
    for (int k = 0; k < N; k++) {
        mt[i] = (mt[i] ^ ((mt[i - 1] ^ (mt[i - 1] >> 30)) * 1664525u)) + key[j] + j;
        j = (j + 1) % words;
        if (++i == N) {
            mt[0] = mt[N - 1];
            i = 1;
        }
    }
    for (int k = 0; k < N - 1; k++) {
        mt[i] = (mt[i] ^ ((mt[i - 1] ^ (mt[i - 1] >> 30)) * 1566083941u)) - i;
        if (++i == N) {
            mt[0] = mt[N - 1];
            i = 1;
        }
    }
    mt[0] = 0x80000000u;
}

static void refill(struct kj_pyrandom *r)
{
    uint32_t *mt = r->mt;
    for (int k = 0; k < N; k++) {
        uint32_t y = (mt[k] & 0x80000000u) | (mt[(k + 1) % N] & 0x7fffffffu);
        mt[k] = mt[(k + M) % N] ^ (y >> 1) ^ (y & 1 ? 0x9908b0dfu : 0);
    }
    r->at = 0;
}

uint32_t kj_pyrandom_next(struct kj_pyrandom *r)
{
    if (r->at >= N)
        refill(r);
    uint32_t y = r->mt[r->at++];
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c5680u;
    y ^= (y << 15) & 0xefc60000u;
    return y ^ (y >> 18);
}

/* random._randbelow: uniform below n, n at least 1. */
static uint32_t below(struct kj_pyrandom *r, uint32_t n)
{
    int bits = 32 - __builtin_clz(n);
    uint32_t x;
    do
        x = kj_pyrandom_next(r) >> (32 - bits);
    while (x >= n);
    return x;
}

/* CPython moves numbers in a list where that is not much larger than a set of
 * the chosen would be, and draws again otherwise: two paths, two results. */
void kj_pyrandom_sample(struct kj_pyrandom *r, uint32_t n, uint32_t k, uint32_t *out)
{
    uint64_t set = 21;
    if (k > 5) {
        uint64_t power = 1; /* 4 ** ceil(log(3 k, 4)) */
        while (power < 3 * (uint64_t)k)
            power *= 4;
        set += power;
    }
    if (n <= set) {
        uint32_t *pool = kj_xmalloc(((size_t)n + 1) * sizeof *pool);
        for (uint32_t i = 0; i < n; i++)
            pool[i] = i;
        for (uint32_t i = 0; i < k; i++) {
            uint32_t j = below(r, n - i);
            out[i] = pool[j];
            pool[j] = pool[n - i - 1];
        }
        free(pool);
        return;
    }
    for (uint32_t i = 0; i < k; i++) {
        bool again;
        do {
            out[i] = below(r, n);
            again = false;
            for (uint32_t j = 0; j < i && !again; j++)
                again = out[j] == out[i];
        } while (again);
    }
}
