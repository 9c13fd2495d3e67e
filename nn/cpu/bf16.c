/* bf16.c - matrix products of float32 matrices whose numbers are first rounded to
 * bfloat16; sums stay float32.
 *
 * As in Goto and van de Geijn 2008: both operands are rounded and packed in the order
 * in which they are read (panels of 12 rows of A, of 32 columns of B), 512 of k at a
 * time, so that a panel of B (32 KiB) stays in the first cache while panels of A come
 * from the second. An element of C is the sum, in order, of what each 512 of k gives.
 * The cut depends on the shape alone.
 *
 * Large products go in blocks, so that packed copies take 16 MB at most; an operand is
 * then packed again for every 2048 of the other side, which costs little.
 */
#include "nn/cpu/bf16.h"

#include <stdlib.h>

#include "nn/cpu/cpu.h"

enum { MR = KJ_BF16_MR, NR = KJ_BF16_NR };
#define KC 512
#define MB ((size_t)1920)
#define NB ((size_t)2048)
#define KB ((size_t)2048)
/* Tiles of C that a thread claims, in multiples of panels. */
#define TILE_M    240
#define TILE_N    256
#define TILES_AIM 8

/* One block of the product. */
struct block {
    const struct kj_bf16_isa *isa;
    const float *a, *b; /* first elements */
    float *c;
    size_t lda, ldb, ldc;
    bool ta, tb, add;
    size_t m, n, k;
    size_t tm, tn, across; /* tiles, and how many of them in a row */
    uint32_t *pa, *pb;
};

static size_t parts(size_t n, size_t part)
{
    return (n + part - 1) / part;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Where the panel of vector i (of n) begins, from k = e on: whole panels of 512 of k
 * one behind the other, then those of the next 512. */
static size_t place(size_t width, size_t n, size_t k, size_t i, size_t e)
{
    size_t len = (least(k - e, KC) + 1) / 2;
    return e / 2 * width * parts(n, width) + i * len;
}

/* Round and pack vectors from .. end of one operand, 512 of k. Across, a few rows of
 * it are packed for all panels before the next few: neighbours share cache lines. */
static void pack(const struct kj_bf16_isa *isa, uint32_t *to, size_t width,
                 const float *x, size_t ld, bool across, size_t n, size_t k,
                 size_t from, size_t end, size_t e)
{
    size_t len = least(k - e, KC);
    if (!across) {
        for (size_t i = from; i < end; i += width)
            isa->pack_along(to + place(width, n, k, i, e), width, x + i * ld + e, ld,
                            least(n - i, width), len);
        return;
    }
    for (size_t f = 0; f < len; f += 32)
        for (size_t i = from; i < end; i += width)
            isa->pack_across(to + place(width, n, k, i, e) + f / 2 * width, width,
                             x + (e + f) * ld + i, ld, least(n - i, width),
                             least(len - f, 32));
}

/* Tasks: groups of A's panels, then of B's, each for 512 of k. */
static void pack_task(void *ctx, size_t task, unsigned worker)
{
    const struct block *p = ctx;
    size_t deep = parts(p->k, KC), e = task % deep * KC, g = task / deep;
    (void)worker;
    if (g < parts(p->m, TILE_M)) {
        size_t i = g * TILE_M;
        pack(p->isa, p->pa, MR, p->a, p->lda, p->ta, p->m, p->k, i,
             least(p->m, i + TILE_M), e);
    } else {
        size_t i = (g - parts(p->m, TILE_M)) * TILE_N;
        pack(p->isa, p->pb, NR, p->b, p->ldb, !p->tb, p->n, p->k, i,
             least(p->n, i + TILE_N), e);
    }
}

static void tile_task(void *ctx, size_t task, unsigned worker)
{
    const struct block *p = ctx;
    size_t i0 = task / p->across * p->tm, i1 = least(p->m, i0 + p->tm);
    size_t j0 = task % p->across * p->tn, j1 = least(p->n, j0 + p->tn);
    (void)worker;
    for (size_t e = 0; e < p->k; e += KC) {
        size_t pairs = (least(p->k - e, KC) + 1) / 2;
        for (size_t j = j0; j < j1; j += NR)
            for (size_t i = i0; i < i1; i += MR)
                p->isa->product(
                    p->c + i * p->ldc + j, p->ldc, p->pa + place(MR, p->m, p->k, i, e),
                    p->pb + place(NR, p->n, p->k, j, e), pairs, least(p->m - i, MR),
                    least(p->n - j, NR), p->add || e > 0);
    }
}

/* Halve the tile until there are enough of them. */
static void cut(struct block *p)
{
    p->tm = TILE_M;
    p->tn = TILE_N;
    while (parts(p->m, p->tm) * parts(p->n, p->tn) < TILES_AIM && p->tn > NR) {
        if (p->tm > p->tn && p->tm > 5 * MR)
            p->tm /= 2;
        else
            p->tn /= 2;
    }
    p->across = parts(p->n, p->tn);
}

/* Words of the packed copies, each from a cache line on. */
static void words(size_t m, size_t n, size_t k, size_t *a, size_t *b)
{
    size_t pairs = (least(k, KB) + 1) / 2;
    *a = (parts(least(m, MB), MR) * MR * pairs + 15) / 16 * 16;
    *b = parts(least(n, NB), NR) * NR * pairs;
}

size_t kj_matmul_scratch(size_t m, size_t n, size_t k, unsigned flags)
{
    size_t a, b;
    words(m, n, k, &a, &b);
    return flags & KJ_MM_BF16 ? (a + b) * sizeof(uint32_t) : 0;
}

static bool room_for(struct kj_cpu *c, struct block *p, size_t m, size_t n, size_t k)
{
    size_t a, b;
    words(m, n, k, &a, &b);
    if (!kj_cpu_scratch(c, "matmul", 0, a + b))
        return false;
    p->pa = (uint32_t *)(void *)c->scratch[c->base.threads].p;
    p->pb = p->pa + a;
    return true;
}

void kj_cpu_matmul_bf16(struct kj_cpu *c, const struct kj_cpu_product *q)
{
    struct block p = {.isa = c->bf16,
                      .lda = q->lda,
                      .ldb = q->ldb,
                      .ldc = q->ldc,
                      .ta = q->ta,
                      .tb = q->tb};
    if (!room_for(c, &p, q->m, q->n, q->k))
        return;
    for (size_t j = 0; j < q->n; j += NB)
        for (size_t e = 0; e < q->k; e += KB)
            for (size_t i = 0; i < q->m; i += MB) {
                p.m = least(q->m - i, MB);
                p.n = least(q->n - j, NB);
                p.k = least(q->k - e, KB);
                p.a = q->a + (q->ta ? e * q->lda + i : i * q->lda + e);
                p.b = q->b + (q->tb ? j * q->ldb + e : e * q->ldb + j);
                p.c = q->c + i * q->ldc + j;
                p.add = q->beta != 0 || e > 0;
                cut(&p);
                kj_pool_run(c->pool,
                            parts(p.k, KC) * (parts(p.m, TILE_M) + parts(p.n, TILE_N)),
                            pack_task, &p);
                kj_pool_run(c->pool, parts(p.m, p.tm) * p.across, tile_task, &p);
            }
}
