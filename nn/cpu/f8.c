/* f8.c - FP8 on the processor: quantised tensors are real, their products simulated.
 *
 * No processor multiplies FP8. A product decodes its operands to float32, scaled, and
 * is then made of these. A code times a power of two has at most four digits, so
 * bfloat16 holds it as well: where the processor multiplies bfloat16, that is as good
 * and faster. A GPU's product of the same codes differs by the order of its sums only.
 */
#include <string.h>

#include "nn/arith.h"
#include "nn/cpu/cpu.h"

/* Rows and columns of x that are encoded at a time, to lie in the cache until they are
 * written the other way round too. */
enum { EDGE = 64, BAND = 256 };

static size_t up16(size_t n)
{
    return (n + 15) / 16 * 16;
}

/* ---- quantize ---- */

struct work {
    const struct kj_kern *kern;
    struct kj_mat q, qt, x;
    size_t n, h, bands;
    float inverse;
    uint32_t *most; /* of each band */
    bool e5m2;
};

static size_t band_end(const struct work *w, size_t band)
{
    return (band + 1) * BAND < w->n ? (band + 1) * BAND : w->n;
}

static uint32_t most_of_row(const struct work *w, size_t i)
{
    uint32_t most = 0;
    if (w->x.t->type != KJ_BF16)
        return w->kern->most(kj_cpu_f32(w->x) + i * w->x.stride, w->h);
    const struct kj_bf16 *x = (const struct kj_bf16 *)w->x.t->p + w->x.at;
    for (size_t j = 0; j < w->h; j++) {
        uint32_t m = x[i * w->x.stride + j].u & 0x7fffu;
        most = m > most ? m : most;
    }
    return most << 16;
}

static void most_task(void *ctx, size_t band, unsigned worker)
{
    const struct work *w = ctx;
    uint32_t most = 0;
    (void)worker;
    for (size_t i = band * BAND; i < band_end(w, band); i++) {
        uint32_t m = most_of_row(w, i);
        most = m > most ? m : most;
    }
    w->most[band] = most;
}

/* The bits of the largest magnitude; false: no memory. */
static bool look_for_most(struct kj_backend *b, const char *op, struct work *w,
                          uint32_t *most)
{
    struct kj_cpu *c = kj_cpu_of(b);
    if (!kj_cpu_grow(c, op, &c->scratch[b->threads], w->bands))
        return false;
    w->most = (uint32_t *)(void *)c->scratch[b->threads].p;
    kj_pool_run(c->pool, w->bands, most_task, w);
    for (size_t i = 0; i < w->bands; i++)
        *most = w->most[i] > *most ? w->most[i] : *most;
    return true;
}

void kj_cpu_most(struct kj_backend *b, struct kj_mat most, struct kj_mat x, size_t n,
                 size_t h)
{
    struct work w = {.kern = kj_cpu_of(b)->kern,
                     .x = x,
                     .n = n,
                     .h = h,
                     .bands = (n + BAND - 1) / BAND};
    uint32_t bits;
    bool low = x.t && x.t->type == KJ_BF16;
    if (n == 0 || h == 0 || !(low ? kj_cpu_fits : kj_cpu_inside)(b, "most", x, n, h) ||
        !kj_cpu_inside(b, "most", most, 1, 1))
        return;
    memcpy(&bits, kj_cpu_f32(most), sizeof bits);
    if (look_for_most(b, "most", &w, &bits))
        memcpy(kj_cpu_f32(most), &bits, sizeof bits);
}

static uint8_t *codes(struct kj_mat m, size_t row, size_t col)
{
    return (uint8_t *)m.t->p + m.at + row * m.stride + col;
}

/* The square at row i, column j: rows x cols of x, and zeros behind them. */
static void square(const struct work *w, size_t i, size_t j)
{
    uint8_t c[EDGE][EDGE] = {{0}};
    size_t rows = w->n - i < EDGE ? w->n - i : EDGE;
    size_t cols = w->h - j < EDGE ? w->h - j : EDGE;
    for (size_t r = 0; r < rows; r++)
        w->kern->f8(c[r], kj_cpu_f32(w->x) + (i + r) * w->x.stride + j, cols,
                    w->inverse, w->e5m2);
    for (size_t r = 0; w->q.t && r < rows; r++)
        memcpy(codes(w->q, i + r, j), c[r], up16(cols));
    for (size_t k = 0; w->qt.t && k < cols; k++) {
        uint8_t *to = codes(w->qt, j + k, i);
        for (size_t r = 0; r < up16(rows); r++)
            to[r] = c[r][k];
    }
}

static void encode_task(void *ctx, size_t band, unsigned worker)
{
    const struct work *w = ctx;
    (void)worker;
    for (size_t i = band * BAND; i < band_end(w, band); i += EDGE)
        for (size_t j = 0; j < w->h; j += EDGE)
            square(w, i, j);
}

static bool padded(struct kj_backend *b, const char *op, struct kj_mat m, size_t rows,
                   size_t cols)
{
    if (!kj_cpu_fits(b, op, m, rows, up16(cols)))
        return false;
    if (m.t->type < KJ_E4M3 || m.at % 16 || (rows > 1 && m.stride % 16)) {
        kj_backend_fault(b, op, "FP8 rows begin and lie multiples of 16 apart");
        return false;
    }
    return true;
}

void kj_cpu_quantize(struct kj_backend *b, struct kj_mat q, struct kj_mat qt,
                     struct kj_mat s, struct kj_mat x, struct kj_mat most, size_t n,
                     size_t h)
{
    const char *op = "quantize";
    struct kj_cpu *c = kj_cpu_of(b);
    if (n == 0 || h == 0 || !kj_cpu_inside(b, op, x, n, h) ||
        !kj_cpu_inside(b, op, s, 1, 1) || (q.t && !padded(b, op, q, n, h)) ||
        (qt.t && !padded(b, op, qt, h, n)) ||
        (most.t && !kj_cpu_inside(b, op, most, 1, 1)))
        return;
    if ((!q.t && !qt.t) || (q.t && qt.t && q.t->type != qt.t->type)) {
        kj_backend_fault(b, op, "to one or two tensors of one FP8 type");
        return;
    }
    struct work w = {.kern = c->kern,
                     .q = q,
                     .qt = qt,
                     .x = x,
                     .n = n,
                     .h = h,
                     .bands = (n + BAND - 1) / BAND,
                     .e5m2 = (q.t ? q.t : qt.t)->type == KJ_E5M2};
    uint32_t bits = 0;
    if (most.t)
        memcpy(&bits, kj_cpu_f32(most), sizeof bits);
    else if (!look_for_most(b, op, &w, &bits))
        return;
    float scale = kj_f8_scale(bits, w.e5m2 ? 15 : 8);
    *kj_cpu_f32(s) = scale;
    w.inverse = kj_f8_inverse(scale);
    kj_pool_run(c->pool, w.bands, encode_task, &w);
}

/* ---- products ---- */

struct decode {
    float *to;
    struct kj_mat m;
    size_t rows, cols;
    float value[256];
};

static void decode_task(void *ctx, size_t band, unsigned worker)
{
    const struct decode *d = ctx;
    size_t end = (band + 1) * BAND < d->rows ? (band + 1) * BAND : d->rows;
    (void)worker;
    for (size_t i = band * BAND; i < end; i++) {
        const uint8_t *x = codes(d->m, i, 0);
        float *to = d->to + i * d->cols;
        for (size_t j = 0; j < d->cols; j++)
            to[j] = d->value[x[j]];
    }
}

static void decode(struct kj_cpu *c, float *to, struct kj_mat m, float scale,
                   size_t rows, size_t cols)
{
    struct decode d = {.to = to, .m = m, .rows = rows, .cols = cols};
    for (unsigned i = 0; i < 256; i++)
        d.value[i] =
            scale * (m.t->type == KJ_E5M2 ? kj_from_e5m2((struct kj_e5m2){(uint8_t)i})
                                          : kj_from_e4m3((struct kj_e4m3){(uint8_t)i}));
    kj_pool_run(c->pool, (rows + BAND - 1) / BAND, decode_task, &d);
}

size_t kj_matmul_f8_scratch(size_t m, size_t n, size_t k)
{
    bool low = kj_bf16_best() != &kj_bf16_base;
    return (m + n) * k * sizeof(float) +
           kj_matmul_scratch(m, n, k, low ? KJ_MM_BF16 : 0);
}

void kj_cpu_matmul_f8(struct kj_backend *b, struct kj_mat cc, struct kj_mat a,
                      struct kj_mat sa, struct kj_mat bb, struct kj_mat sb, size_t m,
                      size_t n, size_t k, unsigned flags)
{
    const char *op = "matmul_f8";
    struct kj_cpu *c = kj_cpu_of(b);
    if (m == 0 || n == 0 || k == 0 || !kj_cpu_inside(b, op, cc, m, n) ||
        !padded(b, op, a, m, k) || !padded(b, op, bb, n, k) ||
        !kj_cpu_inside(b, op, sa, 1, 1) || !kj_cpu_inside(b, op, sb, 1, 1))
        return;
    if (a.t->type == KJ_E5M2 && bb.t->type == KJ_E5M2) {
        kj_backend_fault(b, op, "one operand must be E4M3");
        return;
    }
    if (!kj_cpu_grow(c, op, &c->decoded, (m + n) * k))
        return;
    struct kj_cpu_product p = {.c = kj_cpu_f32(cc),
                               .a = c->decoded.p,
                               .b = c->decoded.p + m * k,
                               .lda = k,
                               .ldb = k,
                               .ldc = cc.stride,
                               .m = m,
                               .n = n,
                               .k = k,
                               .tb = true,
                               .beta = flags & KJ_MM_ADD ? 1.0f : 0.0f};
    decode(c, c->decoded.p, a, *kj_cpu_f32(sa), m, k);
    decode(c, c->decoded.p + m * k, bb, *kj_cpu_f32(sb), n, k);
    if (c->bf16 != &kj_bf16_base)
        kj_cpu_matmul_bf16(c, &p);
    else
        kj_cpu_matmul_f32(c, &p);
}
