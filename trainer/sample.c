/* sample.c - choosing the next token. */
#include "trainer/sample.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

static double uniform(uint64_t seed, uint64_t n) /* splitmix64 on a counter */
{
    uint64_t z = seed * 0xD1342543DE82EF95u + (n + 1) * 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return (double)((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

static bool before(const float *p, uint32_t a, uint32_t b)
{
    return p[a] > p[b] || (a < b && p[a] == p[b]);
}

static void sink(uint32_t *heap, size_t n, size_t i, const float *p)
{
    for (size_t c; (c = 2 * i + 1) < n; i = c) {
        if (c + 1 < n && before(p, heap[c + 1], heap[c]))
            c++;
        if (!before(p, heap[c], heap[i]))
            return;
        uint32_t t = heap[i];
        heap[i] = heap[c];
        heap[c] = t;
    }
}

uint32_t kj_sample(const struct kj_sampler *s, uint64_t number, float *logits, size_t n,
                   uint32_t *order)
{
    uint32_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (logits[i] > logits[best])
            best = (uint32_t)i;
    if (s->temperature <= 0)
        return best;
    double top = logits[best], sum = 0, mass = 0;
    for (size_t i = 0; i < n; i++) {
        logits[i] = (float)exp(((double)logits[i] - top) / s->temperature);
        sum += logits[i];
        order[i] = (uint32_t)i;
    }
    /* A heap gives the tokens in falling order, only as many as are needed. */
    for (size_t i = n / 2; i-- > 0;)
        sink(order, n, i, logits);
    size_t taken = 0, left = n;
    while (left > 0 && mass < s->top_p * sum) {
        uint32_t t = order[0];
        mass += logits[t];
        order[0] = order[--left];
        order[left] = t; /* taken ones stand at the end, the best last */
        taken++;
        sink(order, left, 0, logits);
    }
    double u = uniform(s->seed, number) * mass;
    for (size_t i = 0; i < taken; i++) {
        uint32_t t = order[n - 1 - i];
        u -= logits[t];
        if (u < 0)
            return t;
    }
    return best;
}
