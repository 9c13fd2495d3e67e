/* gemm.c - matrix products: OpenBLAS on one thread per tile.
 *
 * OpenBLAS with its own threads cuts a product by their number, and the last
 * bits follow. So it runs single-threaded here, and we cut C into tiles by
 * shape alone and hand the tiles to our pool: equal bytes at every -j.
 *
 * Float32 stays OpenBLAS's: the packed products of bf16.c with float32 words, an
 * operand packed once rather than for every tile, took 5 % more CPU time for a step
 * (0.53 s against 0.51, 14 M parameters, Zen 5; 128, 192 or 256 of k at a time).
 */
#include <cblas.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nn/cpu/cpu.h"

/* Tiles: large ones amortise OpenBLAS's packing (one core of an AVX-512
 * processor: 180 GFLOP/s at 128x256x256, 193 at 256^3, 207 at 512^3), small
 * ones keep more cores busy. */
#define TILE_MAX  512
#define TILE_MIN  128
#define TILES_AIM 8

/* Opened with the first back end, since loading it costs what most commands never
 * use: it starts a thread for each processor, and these wait by sched_yield() in a
 * loop for a tenth of a second (extraction of 31 MB of pages: 0.36 s of CPU time with
 * it linked, 0.24 s without). */
#define OPENBLAS "libopenblas.so.0"

static struct {
    __typeof__(&cblas_sgemm) sgemm;
    __typeof__(&cblas_sgemv) sgemv;
    __typeof__(&openblas_get_corename) get_corename;
    __typeof__(&openblas_set_num_threads) set_num_threads;
    char why[256]; /* it is not there */
} blas;

static void open_blas(void)
{
    static const struct {
        const char *name;
        void **to;
    } all[] = {{"cblas_sgemm", (void **)&blas.sgemm},
               {"cblas_sgemv", (void **)&blas.sgemv},
               {"openblas_get_corename", (void **)&blas.get_corename},
               {"openblas_set_num_threads", (void **)&blas.set_num_threads}};
    void *so = dlopen(OPENBLAS, RTLD_NOW | RTLD_LOCAL);
    for (size_t i = 0; so && i < sizeof all / sizeof *all; i++)
        if (!(*all[i].to = dlsym(so, all[i].name)))
            so = NULL;
    if (!so) {
        snprintf(blas.why, sizeof blas.why, "%s", dlerror());
        return;
    }
    blas.set_num_threads(1);
}

int kj_cpu_gemm_open(struct kj_err *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, open_blas);
    if (*blas.why)
        return kj_err_set(err, KJ_FAIL,
                          "matrix products need OpenBLAS: %s (Debian's "
                          "libopenblas0-pthread has it)",
                          blas.why);
    return KJ_OK;
}

void kj_cpu_gemm_describe(char *buf, size_t n)
{
    const char *set = getenv("OPENBLAS_CORETYPE");
    snprintf(buf, n, "OpenBLAS %s kernels%s", blas.get_corename(),
             set && *set ? " (by OPENBLAS_CORETYPE)" : "");
}

void kj_cpu_sgemm(bool ta, bool tb, size_t m, size_t n, size_t k, const float *a,
                  size_t lda, const float *b, size_t ldb, float beta, float *c,
                  size_t ldc)
{
    blas.sgemm(CblasRowMajor, ta ? CblasTrans : CblasNoTrans,
               tb ? CblasTrans : CblasNoTrans, (int)m, (int)n, (int)k, 1.0f, a,
               (int)lda, b, (int)ldb, beta, c, (int)ldc);
}

struct product {
    struct kj_cpu_product of;
    size_t tm, tn, across;
};

static void tile(void *ctx, size_t task, unsigned worker)
{
    const struct product *t = ctx;
    const struct kj_cpu_product *p = &t->of;
    (void)worker;
    size_t i = task / t->across * t->tm, j = task % t->across * t->tn;
    size_t m = p->m - i < t->tm ? p->m - i : t->tm;
    size_t n = p->n - j < t->tn ? p->n - j : t->tn;
    const float *a = p->a + (p->ta ? i : i * p->lda);
    const float *b = p->b + (p->tb ? j * p->ldb : j);
    float *c = p->c + i * p->ldc + j;
    if (m == 1 && !p->ta)
        blas.sgemv(CblasRowMajor, p->tb ? CblasNoTrans : CblasTrans,
                   (int)(p->tb ? n : p->k), (int)(p->tb ? p->k : n), 1.0f, b,
                   (int)p->ldb, a, 1, p->beta, c, 1);
    else
        kj_cpu_sgemm(p->ta, p->tb, m, n, p->k, a, p->lda, b, p->ldb, p->beta, c,
                     p->ldc);
}

static size_t tiles(size_t n, size_t t)
{
    return (n + t - 1) / t;
}

/* Halve the longer side of the tile until there are enough of them. */
static void cut(struct product *p)
{
    size_t m = p->of.m, n = p->of.n;
    p->tm = m < TILE_MAX ? m : TILE_MAX;
    p->tn = n < TILE_MAX ? n : TILE_MAX;
    while (tiles(m, p->tm) * tiles(n, p->tn) < TILES_AIM) {
        size_t *longer = p->tm > p->tn ? &p->tm : &p->tn;
        if (*longer < 2 * TILE_MIN)
            break;
        *longer = (*longer / 2 + 15) / 16 * 16;
    }
    p->across = tiles(n, p->tn);
}

void kj_cpu_matmul_f32(struct kj_cpu *c, const struct kj_cpu_product *q)
{
    struct product p = {.of = *q};
    cut(&p);
    kj_pool_run(c->pool, tiles(q->m, p.tm) * p.across, tile, &p);
}

void kj_cpu_matmul(struct kj_backend *b, struct kj_mat c, struct kj_mat a,
                   struct kj_mat bb, size_t m, size_t n, size_t k, unsigned flags)
{
    bool ta = flags & KJ_MM_TA, tb = flags & KJ_MM_TB;
    if (m == 0 || n == 0 || !kj_cpu_inside(b, "matmul C", c, m, n) ||
        !kj_cpu_inside(b, "matmul A", a, ta ? k : m, ta ? m : k) ||
        !kj_cpu_inside(b, "matmul B", bb, tb ? n : k, tb ? k : n))
        return;
    struct kj_cpu_product p = {.c = kj_cpu_f32(c),
                               .a = kj_cpu_f32(a),
                               .b = kj_cpu_f32(bb),
                               .lda = a.stride,
                               .ldb = bb.stride,
                               .ldc = c.stride,
                               .m = m,
                               .n = n,
                               .k = k,
                               .ta = ta,
                               .tb = tb,
                               .beta = flags & KJ_MM_ADD ? 1.0f : 0.0f};
    if (flags & KJ_MM_BF16 && k > 0)
        kj_cpu_matmul_bf16(kj_cpu_of(b), &p);
    else
        kj_cpu_matmul_f32(kj_cpu_of(b), &p);
}
