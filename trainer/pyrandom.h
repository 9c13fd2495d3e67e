/* pyrandom.h - the numbers of Python's random module, for programs whose choices
 * must be those of a Python program: Random(seed).sample(range(n), k).
 *
 * The generator is MT19937 (Matsumoto and Nishimura 1998), seeded by
 * init_by_array with the seed's 32-bit words; sample() is CPython's since 3.2.
 */
#ifndef KJ_TRAINER_PYRANDOM_H
#define KJ_TRAINER_PYRANDOM_H

#include <stddef.h>
#include <stdint.h>

struct kj_pyrandom {
    uint32_t mt[624];
    unsigned at;
};

void kj_pyrandom_seed(struct kj_pyrandom *r, uint64_t seed);
uint32_t kj_pyrandom_next(struct kj_pyrandom *r); /* getrandbits(32) */
/* k different numbers below n, in their order; k at most n. */
void kj_pyrandom_sample(struct kj_pyrandom *r, uint32_t n, uint32_t k, uint32_t *out);

#endif
