/* test_normal.c - numbers drawn by vectors are the C library's, bit for bit, in any
 * pieces; and they are normal: moments, tails, no two in step. */
#include "tests/unit/test.h"

#include <math.h>
#include <string.h>

#include "trainer/normal.h"

#define N ((size_t)2500000) /* the library is asked for about one in a million */

static float x[N], want[N];

static void test_bits(unsigned isa, uint64_t key, uint64_t at)
{
    kj_normals_fn *draw = kj_normals_isa(isa);
    size_t bad = 0;
    if (!draw)
        return;
    draw(x, N, key, at, 0.02f);
    for (size_t i = 0; i < N; i++)
        bad += memcmp(&x[i], &want[i], sizeof x[i]) != 0;
    CHECK_INT(bad, 0);
}

static void test_pieces(void)
{
    static const size_t ends[] = {0, 1, 255, 256, 257, 511, 1024, 1500};
    float part[1501];
    kj_normals(x, 1500, 3, 40, 1);
    for (size_t a = 0; a < 8; a++)
        for (size_t b = a; b < 8; b++) {
            size_t n = ends[b] - ends[a];
            part[n] = -7;
            kj_normals(part, n, 3, 40 + ends[a], 1);
            CHECK(memcmp(part, x + ends[a], n * sizeof *x) == 0 && part[n] == -7);
        }
}

static void test_moments(void)
{
    double sum[5] = {0}, step = 0;
    size_t far = 0;
    kj_normals(x, N, 11, 0, 1);
    for (size_t i = 0; i < N; i++) {
        double p = 1;
        for (int k = 1; k < 5; k++)
            sum[k] += p *= (double)x[i];
        far += fabsf(x[i]) > 3;
        step += i ? (double)x[i] * (double)x[i - 1] : 0;
    }
    for (int k = 1; k < 5; k++)
        sum[k] /= (double)N;
    /* five standard errors: 1, 2, 15 and 96 over N are the variances of the means */
    double e = 5 / sqrt((double)N);
    CHECK_NEAR(sum[1], 0, e);
    CHECK_NEAR(sum[2], 1, e * sqrt(2));
    CHECK_NEAR(sum[3], 0, e * sqrt(15));
    CHECK_NEAR(sum[4], 3, e * sqrt(96));
    CHECK_NEAR(step / (double)N, 0, e);
    CHECK_NEAR((double)far / (double)N, 0.0026998, e * sqrt(0.0027));
}

int main(void)
{
    const uint64_t from[][2] = {{kj_normal_mix(1), 0}, {0, 1ull << 40}};
    for (size_t k = 0; k < 2; k++) {
        for (size_t i = 0; i < N; i++)
            want[i] = 0.02f * kj_normal(from[k][0], from[k][1] + i);
        for (unsigned isa = 0; isa < 3; isa++)
            test_bits(isa, from[k][0], from[k][1]);
    }
    test_pieces();
    test_moments();
    return test_end();
}
