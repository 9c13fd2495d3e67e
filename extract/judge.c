/* judge.c - see judge.h.
 *
 *   h = relu(A x + a)                          of the numbers x of a block
 *   g = relu(B [h, page, 3 before, 3 after, 20 before, 20 after] + b)
 *   z = d relu(C [g, 6 before, 6 after] + c)   > 0: text
 *
 * where "page", "3 before", ... are means of h (or g) over those blocks, got
 * from prefix sums. After Vogels, Ganea and Eickhoff, "Web2Text" (2018), who
 * showed that deciding over the sequence of blocks beats deciding one by one;
 * the network optimises the F1 of the page's words, not the single decisions.
 */
#include "extract/judge.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { H = 32, F = KJ_BLOCK_FEATURES };

/* Little-endian floats, as the training script writes them; a row of a matrix
 * belongs to an input. */
struct weights {
    float a[F][H], a0[H];
    float b[6 * H][H], b0[H];
    float c[3 * H][H], c0[H];
    float d[H], d0;
};
extern const struct weights kj_judge_data;

/* Compiled once for each kind of machine, below. */
#define INLINE static inline __attribute__((always_inline))

void kj_judge_release(struct kj_judge *j)
{
    free(j->h);
    free(j->g);
    free(j->sums);
    free(j->verdict);
    memset(j, 0, sizeof *j);
}

static void reserve(struct kj_judge *j, size_t n)
{
    if (n <= j->cap)
        return;
    j->cap = n + n / 2;
    j->h = kj_xrealloc(j->h, j->cap * H * sizeof *j->h);
    j->g = kj_xrealloc(j->g, j->cap * H * sizeof *j->g);
    j->sums = kj_xrealloc(j->sums, (j->cap + 1) * H * sizeof *j->sums);
    j->verdict = kj_xrealloc(j->verdict, j->cap * sizeof *j->verdict);
}

/* out += x * rows: every output is a sum in the order of the inputs, so that
 * vectors of any width give the same bits. Most numbers of a block are 0. */
INLINE void add_rows(float *out, const float *x, const float (*rows)[H], size_t n)
{
    float acc[H];
    memcpy(acc, out, sizeof acc);
    for (size_t i = 0; i < n; i++) {
        float f = x[i];
        if (f == 0)
            continue;
        for (size_t k = 0; k < H; k++)
            acc[k] += f * rows[i][k];
    }
    memcpy(out, acc, sizeof acc);
}

INLINE void relu(float *x)
{
    for (size_t k = 0; k < H; k++)
        x[k] = x[k] > 0 ? x[k] : 0;
}

INLINE void sum_rows(double *sums, const float *x, size_t n)
{
    memset(sums, 0, H * sizeof *sums);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < H; k++)
            sums[(i + 1) * H + k] = sums[i * H + k] + (double)x[i * H + k];
}

/* Add the mean over rows a .. b-1 (cut to 0 .. n), as inputs of rows. */
INLINE void add_mean(float *out, const double *sums, ptrdiff_t a, ptrdiff_t b, size_t n,
                     const float (*rows)[H])
{
    float x[H];
    a = a < 0 ? 0 : a;
    b = b > (ptrdiff_t)n ? (ptrdiff_t)n : b;
    if (a >= b)
        return;
    double f = 1.0 / (double)(b - a);
    for (size_t k = 0; k < H; k++)
        x[k] = (float)((sums[(size_t)b * H + k] - sums[(size_t)a * H + k]) * f);
    add_rows(out, x, rows, H);
}

INLINE void layers(struct kj_judge *j, const struct kj_blocks *k,
                   const struct kj_content *c, const struct kj_tree *t)
{
    const struct weights *w = &kj_judge_data;
    float x[F], page[H];
    size_t n = k->n;
    for (size_t i = 0; i < n; i++) {
        float *h = j->h + i * H;
        kj_block_features(k, c, t, i, x);
        memcpy(h, w->a0, sizeof w->a0);
        add_rows(h, x, w->a, F);
        relu(h);
    }
    sum_rows(j->sums, j->h, n);
    memcpy(page, w->b0, sizeof page);
    add_mean(page, j->sums, 0, (ptrdiff_t)n, n, w->b + H);
    for (size_t i = 0; i < n; i++) {
        ptrdiff_t at = (ptrdiff_t)i;
        float *g = j->g + i * H;
        memcpy(g, page, sizeof page);
        add_rows(g, j->h + i * H, w->b, H);
        add_mean(g, j->sums, at - 3, at, n, w->b + 2 * H);
        add_mean(g, j->sums, at + 1, at + 4, n, w->b + 3 * H);
        add_mean(g, j->sums, at - 20, at, n, w->b + 4 * H);
        add_mean(g, j->sums, at + 1, at + 21, n, w->b + 5 * H);
        relu(g);
    }
    sum_rows(j->sums, j->g, n);
    double sure = 0, all = 0;
    j->any = false;
    for (size_t i = 0; i < n; i++) {
        ptrdiff_t at = (ptrdiff_t)i;
        float o[H], z = w->d0;
        memcpy(o, w->c0, sizeof o);
        add_rows(o, j->g + i * H, w->c, H);
        add_mean(o, j->sums, at - 6, at, n, w->c + H);
        add_mean(o, j->sums, at + 1, at + 7, n, w->c + 2 * H);
        relu(o);
        for (size_t f = 0; f < H; f++)
            z += o[f] * w->d[f];
        j->verdict[i] = z;
        j->any |= z > 0;
        sure += k->b[i].weight / (1 + exp(-fabs((double)z)));
        all += k->b[i].weight;
    }
    j->sure = all > 0 ? sure / all : 0;
}

static void layers_base(struct kj_judge *j, const struct kj_blocks *k,
                        const struct kj_content *c, const struct kj_tree *t)
{
    layers(j, k, c, t);
}

#ifdef __x86_64__
/* No fused multiply-add, which would round otherwise. */
__attribute__((target("avx2"))) static void layers_avx2(struct kj_judge *j,
                                                        const struct kj_blocks *k,
                                                        const struct kj_content *c,
                                                        const struct kj_tree *t)
{
    layers(j, k, c, t);
}
#endif

void kj_judge_blocks(struct kj_judge *j, const struct kj_blocks *k,
                     const struct kj_content *c, const struct kj_tree *t)
{
    reserve(j, k->n);
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx2")) {
        layers_avx2(j, k, c, t);
        return;
    }
#endif
    layers_base(j, k, c, t);
}

void kj_judge_apply(const struct kj_judge *j, const struct kj_blocks *k,
                    struct kj_content *c, struct kj_tree *t)
{
    for (uint32_t i = 1; i < t->n; i++)
        if (!(t->nodes[i].flags & KJ_NF_HARD))
            t->nodes[i].flags = 0;
    for (size_t i = 0; i < k->n; i++)
        if (!(j->verdict[i] > 0))
            for (uint32_t at = k->b[i].first; at < k->b[i].end; at++)
                if (t->nodes[at].tag == KJ_TAG_TEXT)
                    t->nodes[at].flags |= KJ_NF_SKIP;
    kj_content_settle(c, t, k->text);
}
