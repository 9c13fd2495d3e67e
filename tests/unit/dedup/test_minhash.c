/* Signatures: numpy's parameters, kernels against plain arithmetic, and the
 * curve by which bands find pairs. */
#include "dedup/minhash.h"
#include "tests/unit/test.h"

#include <stdlib.h>

static uint64_t rng_state = 88172645463325252u;
static uint64_t rng(void)
{
    rng_state ^= rng_state << 13;
    rng_state ^= rng_state >> 7;
    rng_state ^= rng_state << 17;
    return rng_state * 0x9E3779B97F4A7C15u;
}

/* Values printed by numpy 1.24:
 *   g = numpy.random.RandomState(seed); p = numpy.uint64((1 << 61) - 1)
 *   a = g.randint(1, p, dtype=numpy.uint64, size=(1, n))
 *   b = g.randint(0, p, dtype=numpy.uint64, size=(1, n)) */
static void test_numpy_parameters(void)
{
    struct kj_minhash m;
    kj_minhash_init(&m, 14, 8, 1);
    CHECK_INT(m.n, 112);
    CHECK_INT(m.a[0], 775169054918279404);
    CHECK_INT(m.a[1], 1758426461858698313);
    CHECK_INT(m.a[2], 2109959069025162);
    CHECK_INT(m.a[111], 223865076026037746);
    CHECK_INT(m.b[0], 1062448801025099917);
    CHECK_INT(m.b[1], 1324811268927594100);
    CHECK_INT(m.b[111], 1097409548522419201);
    kj_minhash_release(&m);
    kj_minhash_init(&m, 3, 2, 5);
    CHECK_INT(m.a[5], 2061310418014472127);
    CHECK_INT(m.b[0], 293448226066451056);
    CHECK_INT(m.b[5], 2092604071239809051);
    kj_minhash_release(&m);
}

static void check_kernel(kj_minhash_fn *fold, const struct kj_minhash *m,
                         const uint64_t *h, size_t n)
{
    uint64_t *got = kj_minhash_alloc(m->padded);
    memset(got, 0xFF, m->padded * 8);
    /* in two pieces: the minimum must be carried on */
    fold(m->a, m->b, got, m->padded, h, n / 3);
    fold(m->a, m->b, got, m->padded, h + n / 3, n - n / 3);
    size_t wrong = 0;
    for (size_t i = 0; i < m->n; i++) {
        uint64_t least = UINT64_MAX;
        for (size_t k = 0; k < n; k++) {
            uint64_t v = (m->a[i] * h[k] + m->b[i]) % KJ_MINHASH_PRIME;
            least = v < least ? v : least;
        }
        wrong += got[i] != least;
    }
    CHECK_INT(wrong, 0);
    free(got);
}

static void test_kernels(void)
{
    static const char *const names[] = {"portable", "AVX2", "AVX-512"};
    static const unsigned shapes[][2] = {{14, 8}, {26, 11}, {1, 1}, {5, 3}, {450, 20}};
    uint64_t h[900];
    for (size_t i = 0; i < 900; i++)
        h[i] = rng();
    h[0] = 0;
    h[1] = UINT64_MAX;
    h[2] = KJ_MINHASH_PRIME;
    for (int isa = 0; isa < KJ_ISA_COUNT; isa++) {
        kj_minhash_fn *f = kj_minhash_kernel((enum kj_minhash_isa)isa);
        if (!f) {
            SKIP(names[isa]);
            continue;
        }
        for (size_t s = 0; s < 5; s++) {
            struct kj_minhash m;
            kj_minhash_init(&m, shapes[s][0], shapes[s][1], 7);
            check_kernel(f, &m, h, s == 4 ? 50 : 900);
            /* values around the prime: a = 1, so v = h + b */
            for (size_t i = 0; i < m.padded; i++) {
                m.a[i] = 1;
                m.b[i] = i % 8;
            }
            uint64_t edge[6] = {KJ_MINHASH_PRIME - 3, KJ_MINHASH_PRIME,
                                8 * KJ_MINHASH_PRIME, UINT64_MAX - 7,
                                UINT64_MAX - 3,       KJ_MINHASH_PRIME - 7};
            for (size_t e = 0; e < 6; e++)
                check_kernel(f, &m, edge + e, 1);
            kj_minhash_release(&m);
        }
    }
}

static void test_empty(void)
{
    struct kj_minhash m;
    kj_minhash_init(&m, 2, 2, 1);
    uint64_t *sig = kj_minhash_alloc(m.padded);
    kj_minhash_sign(&m, NULL, 0, sig);
    CHECK(sig[0] == UINT64_MAX && sig[3] == UINT64_MAX);
    free(sig);
    kj_minhash_release(&m);
}

/* The published match probabilities of 14 x 8. */
static void test_curve(void)
{
    CHECK_NEAR(kj_minhash_curve(14, 8, 0.70), 0.565, 0.001);
    CHECK_NEAR(kj_minhash_curve(14, 8, 0.75), 0.772, 0.001);
    CHECK_NEAR(kj_minhash_curve(14, 8, 0.80), 0.924, 0.001);
    CHECK_NEAR(kj_minhash_curve(14, 8, 0.85), 0.988, 0.001);
}

/* Random sets of known similarity are found as often as the curve says. With
 * 1000 pairs one standard deviation is at most 1.6 points. */
static void test_curve_met(void)
{
    enum { PAIRS = 1000, SIZE = 120 };
    static const double sims[] = {0.5, 0.7, 0.75, 0.8, 0.85, 0.95};
    struct kj_minhash m;
    kj_minhash_init(&m, 14, 8, 1);
    uint64_t *sig = kj_minhash_alloc(2 * m.padded), keys[2][14];
    for (size_t s = 0; s < 6; s++) {
        size_t common = (size_t)lround(sims[s] * SIZE), alone = SIZE - common, hits = 0;
        double truth = (double)common / (double)SIZE;
        for (int i = 0; i < PAIRS; i++) {
            uint64_t h[SIZE + 1];
            for (size_t k = 0; k < SIZE; k++)
                h[k] = rng();
            /* of the elements not shared, half are in each: the union is SIZE */
            size_t half = alone / 2;
            kj_minhash_sign(&m, h, common + half, sig);
            memmove(h + common, h + common + half, (alone - half) * 8);
            kj_minhash_sign(&m, h, common + alone - half, sig + m.padded);
            kj_minhash_bands(&m, sig, keys[0]);
            kj_minhash_bands(&m, sig + m.padded, keys[1]);
            int hit = 0;
            for (int b = 0; b < 14; b++)
                hit |= keys[0][b] == keys[1][b];
            hits += (size_t)hit;
        }
        CHECK_NEAR((double)hits / PAIRS, kj_minhash_curve(14, 8, truth), 0.05);
    }
    free(sig);
    kj_minhash_release(&m);
}

int main(void)
{
    test_numpy_parameters();
    test_kernels();
    test_empty();
    test_curve();
    test_curve_met();
    return test_end();
}
