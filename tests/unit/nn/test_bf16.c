/* test_bf16.c - products of bfloat16 are what nn/cpu/bf16.h says, to the last bit:
 * on every instruction set that works here, in blocks, at every thread count. */
#include "tests/unit/test.h"

#include <math.h>
#include <stdlib.h>

#include "nn/backend.h"
#include "nn/cpu/cpu.h"

static uint32_t rng = 1;

static uint32_t bits(void)
{
    rng = rng * 1664525u + 1013904223u;
    return rng >> 8;
}

/* Around 1; or with exponents from `low` to `high` (0: subnormal). */
static float *numbers(size_t n, uint32_t low, uint32_t high)
{
    float *x = malloc((n ? n : 1) * sizeof *x);
    for (size_t i = 0; i < n; i++) {
        uint32_t e = low + bits() % (high - low + 1);
        uint32_t u = (bits() & 1) << 31 | e << 23 | (bits() & 0x7FFFFFu);
        memcpy(&x[i], &u, sizeof u);
    }
    return x;
}

/* ---- the definition, in plain code ---- */

static float flush(float x)
{
    return fpclassify(x) == FP_SUBNORMAL ? copysignf(0, x) : x;
}

static float rounded(float x)
{
    uint32_t u;
    x = flush(x);
    memcpy(&u, &x, sizeof u);
    uint32_t low = u & 0xFFFFu, up = u & 0xFFFF0000u;
    if (low > 0x8000u || (low == 0x8000u && up & 0x10000u))
        up += 0x10000u;
    memcpy(&x, &up, sizeof x);
    return x;
}

static float element(const float *a, size_t sa, const float *b, size_t sb, size_t k,
                     float c)
{
    for (size_t e = 0; e < k; e += 512) {
        float sum = 0;
        for (size_t j = e; j < k && j < e + 512; j += 2) {
            if (j + 1 < k)
                sum = flush(
                    fmaf(rounded(a[(j + 1) * sa]), rounded(b[(j + 1) * sb]), sum));
            sum = flush(fmaf(rounded(a[j * sa]), rounded(b[j * sb]), sum));
        }
        c = e ? c + sum : c == 0 ? sum : c + sum;
    }
    return c;
}

static struct kj_mat put(struct kj_backend *b, const float *x, size_t n, size_t stride)
{
    struct kj_tensor *t = b->ops->tensor_new(b, KJ_F32, n);
    b->ops->write(b, t, 0, x, n);
    return kj_mat(t, 0, stride);
}

static void against_definition(const struct kj_bf16_isa *isa, unsigned threads,
                               size_t m, size_t n, size_t k, unsigned flags)
{
    struct kj_backend *b;
    size_t lda = (flags & KJ_MM_TA ? m : k) + 3, ldb = (flags & KJ_MM_TB ? k : n) + 1;
    size_t na = lda * (flags & KJ_MM_TA ? k : m), nb = ldb * (flags & KJ_MM_TB ? n : k);
    size_t ldc = n + 2, bad = 0;
    float *x = numbers(na, 120, 130), *y = numbers(nb, 120, 130);
    float *c = numbers(m * ldc, 120, 130), *got = malloc(m * ldc * sizeof *got);
    if (!CHECK_INT(kj_backend_open(&b, "cpu", threads, NULL), KJ_OK))
        return;
    kj_cpu_of(b)->bf16 = isa;
    struct kj_mat ma = put(b, x, na, lda), mb = put(b, y, nb, ldb),
                  mc = put(b, c, m * ldc, ldc);
    b->ops->matmul(b, mc, ma, mb, m, n, k, flags | KJ_MM_BF16);
    b->ops->read(b, mc.t, 0, got, m * ldc);
    CHECK_INT(b->ops->sync(b, NULL), KJ_OK);
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < ldc; j++) {
            float want = c[i * ldc + j]; /* behind the columns: left alone */
            if (j < n)
                want = element(
                    x + (flags & KJ_MM_TA ? i : i * lda), flags & KJ_MM_TA ? lda : 1,
                    y + (flags & KJ_MM_TB ? j * ldb : j), flags & KJ_MM_TB ? 1 : ldb, k,
                    flags & KJ_MM_ADD ? want : 0);
            bad += memcmp(&want, &got[i * ldc + j], sizeof want) != 0;
        }
    if (!CHECK_INT((int64_t)bad, 0))
        printf("     %s, %u threads, %zux%zux%zu, flags %u\n", isa->isa, threads, m, n,
               k, flags);
    b->ops->tensor_free(b, ma.t);
    b->ops->tensor_free(b, mb.t);
    b->ops->tensor_free(b, mc.t);
    kj_backend_close(b);
    free(x);
    free(y);
    free(c);
    free(got);
}

/* Sizes beside the panels', and beyond each of the blocks' (1920, 2048, 2048). */
static void shapes(const struct kj_bf16_isa *isa)
{
    static const size_t small[][3] = {{1, 1, 1},    {12, 32, 2},   {13, 33, 3},
                                      {5, 17, 513}, {24, 64, 514}, {261, 300, 31}};
    for (size_t i = 0; i < sizeof small / sizeof *small; i++)
        for (unsigned flags = 0; flags < 8; flags++)
            against_definition(isa, 1 + flags % 3, small[i][0], small[i][1],
                               small[i][2], flags);
    against_definition(isa, 2, 1925, 5, 21, KJ_MM_TA | KJ_MM_ADD);
    against_definition(isa, 2, 9, 2083, 20, KJ_MM_TB);
    against_definition(isa, 2, 9, 33, 4099, 0);
}

/* All exponents: what is subnormal, or becomes so, or overflows. */
static void everywhere(const struct kj_bf16_isa *p, const struct kj_bf16_isa *q)
{
    enum { K = 77, MR = KJ_BF16_MR, NR = KJ_BF16_NR };
    static const uint32_t range[][2] = {{0, 254}, {0, 130}, {60, 70}, {180, 254}};
    for (int r = 0; r < 4; r++) {
        float *x = numbers(NR * K, range[r][0], range[r][1]);
        uint32_t a[2][MR * (K + 1) / 2], b[2][NR * (K + 1) / 2];
        float c[2][MR * NR] = {{0}};
        x[0] = HUGE_VALF;
        x[5] = -HUGE_VALF;
        for (int i = 0; i < 2; i++) {
            const struct kj_bf16_isa *isa = i ? q : p;
            for (int w = 0; w < 2; w++)
                for (size_t n = 1; n <= (w ? NR : MR); n += w ? 31 : 11) {
                    isa->pack_along(w ? b[i] : a[i], w ? NR : MR, x, K, n, K);
                    isa->pack_across(w ? b[i] : a[i], w ? NR : MR, x, NR, n, K);
                }
            isa->product(c[i], NR, a[i], b[i], (K + 1) / 2, MR, NR, 0);
            isa->product(c[i], NR, a[i], b[i], (K + 1) / 2, MR, NR - 1, 1);
        }
        CHECK(memcmp(a[0], a[1], sizeof a[0]) == 0);
        CHECK(memcmp(b[0], b[1], sizeof b[0]) == 0);
        size_t bad = 0;
        for (int i = 0; i < MR * NR; i++)
            bad += memcmp(&c[0][i], &c[1][i], 4) != 0 &&
                   !(isnan(c[0][i]) && isnan(c[1][i]));
        CHECK_INT((int64_t)bad, 0);
        free(x);
    }
}

static void not_a_number(const struct kj_bf16_isa *isa)
{
    float x[2] = {NAN, 1}, c[KJ_BF16_MR * KJ_BF16_NR];
    uint32_t a[KJ_BF16_MR], b[KJ_BF16_NR];
    isa->pack_along(a, KJ_BF16_MR, x, 2, 1, 2);
    isa->pack_along(b, KJ_BF16_NR, x, 2, 1, 2);
    isa->product(c, KJ_BF16_NR, a, b, 1, 1, 2, 0);
    CHECK(isnan(c[0]));
    CHECK(isnan(c[1])); /* 0 times NaN */
}

int main(void)
{
    const struct kj_bf16_isa *best = kj_bf16_best();
    shapes(&kj_bf16_base);
    not_a_number(&kj_bf16_base);
    if (best != &kj_bf16_base) {
        shapes(best);
        not_a_number(best);
        everywhere(&kj_bf16_base, best);
    } else {
        printf("# this processor has no bfloat16 products: emulation only\n");
    }
    return test_end();
}
