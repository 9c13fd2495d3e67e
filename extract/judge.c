/* judge.c - see judge.h.
 *
 *   h = relu(A [x, page's numbers] + a)        of the numbers x of a block
 *   g = relu(B [h, page, 3 before, 3 after, 20 before, 20 after,
 *               3 boxes around it, its kind] + b)
 *   z = d relu(C [g, 6 before, 6 after, the nearest box, its kind] + c)
 *
 * where "page", "3 before", ... are means of h (or g) over those blocks, got
 * from prefix sums: a box around a block is a range of blocks, and a kind the
 * blocks in boxes of the same form anywhere in the page (blocks.h). After
 * Vogels, Ganea and Eickhoff, "Web2Text" (2018), who showed that deciding over
 * the sequence of blocks beats deciding one by one; the network optimises the
 * F1 of the page's words, not the single decisions.
 *
 * 1/(1+exp(-z)) is the chance that a block is text. What is kept are the blocks
 * above the threshold at which the F1 that is to be expected is highest: a page
 * of doubtful blocks keeps more of them than a page of certain ones. (After
 * Lewis, "Evaluating and optimizing autonomous text classification systems",
 * 1995.) That F1 is how sure the judge is.
 */
#include "extract/judge.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { H = 32, F = KJ_BLOCK_FEATURES, PAGE = KJ_PAGE_FEATURES };
enum { BOXES = KJ_BLOCK_BOXES, B_IN = 6 + BOXES + 1, C_IN = 3 + 2 };
/* Half of the learned pages have more than 190 blocks, 1 in 15 has fewer than 40. On
 * such the judge must be surer of what the rules left out, by this logit: no change
 * in cross-validation, and made-up small pages keep their sidebars out. */
#define FEW     40
#define DOUBT   1.5F
#define CHANCES 64 /* steps of chance from which the threshold is chosen */
#define COPY    57 /* runs of four words: of a block that may be a copy */

/* Little-endian floats, as the training script writes them; a row of a matrix
 * belongs to an input. */
struct weights {
    float a[F][H], page[PAGE][H], a0[H];
    float b[B_IN * H][H], b0[H];
    float c[C_IN * H][H], c0[H];
    float d[H], d0;
    float none; /* where no z is above it, nothing of the page is text */
};
extern const struct weights kj_judge_data;

/* Compiled once for each kind of machine, below. */
#define INLINE static inline __attribute__((always_inline))

void kj_judge_release(struct kj_judge *j)
{
    free(j->h);
    free(j->g);
    free(j->sums);
    free(j->kinds);
    free(j->verdict);
    free(j->copies);
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
    j->kinds = kj_xrealloc(j->kinds, j->cap * (H + 1) * sizeof *j->kinds);
    j->verdict = kj_xrealloc(j->verdict, j->cap * sizeof *j->verdict);
    j->copies = kj_xrealloc(j->copies, j->cap * sizeof *j->copies);
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

/* What a box's mean adds; neighbours mostly stand in the same box. */
struct box {
    uint32_t lo, hi;
    float adds[H];
};

INLINE void add_box(float *out, struct box *box, const double *sums, uint32_t lo,
                    uint32_t hi, size_t n, const float (*rows)[H])
{
    if (box->lo != lo || box->hi != hi) {
        memset(box, 0, sizeof *box);
        box->lo = lo;
        box->hi = hi;
        add_mean(box->adds, sums, lo, hi, n, rows);
    }
    for (size_t k = 0; k < H; k++)
        out[k] += box->adds[k];
}

/* What the mean of each kind of block adds. */
INLINE void kinds_add(float *kinds, const struct kj_blocks *k, const float *x,
                      const float (*rows)[H])
{
    float *count = kinds + k->kinds * H;
    memset(kinds, 0, k->kinds * (H + 1) * sizeof *kinds);
    for (size_t i = 0; i < k->n; i++) {
        float *to = kinds + (size_t)k->b[i].like * H;
        count[k->b[i].like]++;
        for (size_t f = 0; f < H; f++)
            to[f] += x[i * H + f];
    }
    for (size_t i = 0; i < k->kinds; i++) {
        float mean[H], *to = kinds + i * H;
        for (size_t f = 0; f < H; f++)
            mean[f] = to[f] / count[i];
        memset(to, 0, H * sizeof *to);
        add_rows(to, mean, rows, H);
    }
}

INLINE void add_kind(float *out, const float *kinds, uint32_t like)
{
    for (size_t f = 0; f < H; f++)
        out[f] += kinds[(size_t)like * H + f];
}

INLINE void first_layer(struct kj_judge *j, const struct kj_blocks *k,
                        const struct kj_content *c, const struct kj_tree *t)
{
    const struct weights *w = &kj_judge_data;
    float x[F], page[H];
    memcpy(page, w->a0, sizeof page);
    add_rows(page, k->page, w->page, PAGE);
    for (size_t i = 0; i < k->n; i++) {
        float *h = j->h + i * H;
        kj_block_features(k, c, t, i, x);
        memcpy(h, page, sizeof page);
        add_rows(h, x, w->a, F);
        relu(h);
    }
}

INLINE void second_layer(struct kj_judge *j, const struct kj_blocks *k)
{
    const struct weights *w = &kj_judge_data;
    float page[H];
    struct box boxes[BOXES];
    size_t n = k->n;
    memset(boxes, 0, sizeof boxes);
    sum_rows(j->sums, j->h, n);
    kinds_add(j->kinds, k, j->h, w->b + (6 + BOXES) * H);
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
        for (int b = 0; b < BOXES; b++)
            add_box(g, &boxes[b], j->sums, k->b[i].lo[b], k->b[i].hi[b], n,
                    w->b + (6 + b) * H);
        add_kind(g, j->kinds, k->b[i].like);
        relu(g);
    }
}

INLINE void layers(struct kj_judge *j, const struct kj_blocks *k,
                   const struct kj_content *c, const struct kj_tree *t)
{
    const struct weights *w = &kj_judge_data;
    struct box box;
    size_t n = k->n;
    first_layer(j, k, c, t);
    second_layer(j, k);
    memset(&box, 0, sizeof box);
    sum_rows(j->sums, j->g, n);
    kinds_add(j->kinds, k, j->g, w->c + 4 * H);
    for (size_t i = 0; i < n; i++) {
        ptrdiff_t at = (ptrdiff_t)i;
        float o[H], z = w->d0;
        memcpy(o, w->c0, sizeof o);
        add_rows(o, j->g + i * H, w->c, H);
        add_mean(o, j->sums, at - 6, at, n, w->c + H);
        add_mean(o, j->sums, at + 1, at + 7, n, w->c + 2 * H);
        add_box(o, &box, j->sums, k->b[i].lo[0], k->b[i].hi[0], n, w->c + 3 * H);
        add_kind(o, j->kinds, k->b[i].like);
        relu(o);
        for (size_t f = 0; f < H; f++)
            z += o[f] * w->d[f];
        j->verdict[i] = z;
    }
}

static void layers_base(struct kj_judge *j, const struct kj_blocks *k,
                        const struct kj_content *c, const struct kj_tree *t)
{
    layers(j, k, c, t);
}

#ifdef __x86_64__
__attribute__((target("avx512f,prefer-vector-width=512"))) static void
layers_avx512(struct kj_judge *j, const struct kj_blocks *k, const struct kj_content *c,
              const struct kj_tree *t)
{
    layers(j, k, c, t);
}

__attribute__((target("avx2"))) static void layers_avx2(struct kj_judge *j,
                                                        const struct kj_blocks *k,
                                                        const struct kj_content *c,
                                                        const struct kj_tree *t)
{
    layers(j, k, c, t);
}
#endif

/* 1/(1+exp(-z)), without the C library's expf, which may round otherwise on
 * another machine: exp(-z) is 2^n 2^f, n whole and f in [0,1), by the series. */
static float chance(float z)
{
    float t = -1.44269504F * z;
    t = t > 60 ? 60 : t < -60 ? -60 : t;
    int n = (int)(t + 64) - 64;
    float f = (t - (float)n) * 0.69314718F;
    float e = 1 + f * (1 + f * (0.5F + f * (1.F / 6 + f * (1.F / 24 + f / 120))));
    uint32_t bits = (uint32_t)(n + 127) << 23;
    float scale;
    memcpy(&scale, &bits, sizeof scale);
    return 1 / (1 + e * scale);
}

/* Blocks of a page err together: whether reviews, or menus with descriptions,
 * are its text is one question, not a hundred. So the F1 that is to be expected is
 * the mean over cases in which all logits of the page are off by the same, of this
 * deviation. Measured by cross-validation: word F1 +.0018, with 1.5 times of the
 * deviation or none .0006 and .0018 less. */
#define OFF   2.0F
#define CASES 7
static const float off[CASES] = {-1.8F * OFF, -1.2F * OFF, -0.6F * OFF, 0,
                                 0.6F * OFF,  1.2F * OFF,  1.8F * OFF};
static const double likely[CASES] = {0.0490, 0.1205, 0.2068, 0.2474,
                                     0.2068, 0.1205, 0.0490}; /* normal */

/* The text kept and right in each case, from the highest chance down. */
struct cases {
    double text[CHANCES], right[CHANCES][CASES], all[CASES];
};

static size_t best_cut(const struct cases *x, double *sure)
{
    double kept = 0, right[CASES] = {0};
    size_t cut = CHANCES;
    *sure = 0;
    for (size_t s = CHANCES; s-- > 0;) {
        double f1 = 0;
        kept += x->text[s];
        for (size_t i = 0; i < CASES; i++) {
            right[i] += x->right[s][i];
            f1 += kept > 0 ? likely[i] * 2 * right[i] / (kept + x->all[i]) : 0;
        }
        if (x->text[s] > 0 && f1 > *sure) {
            *sure = f1;
            cut = s;
        }
    }
    return cut;
}

/* Did the rules leave a block out? */
static bool left_out(const struct kj_blocks *k, const struct kj_content *c,
                     const struct kj_tree *t, size_t i)
{
    uint32_t at = k->b[i].first;
    return (k->around[at].rules & KJ_NF_SKIP) || at < c->root ||
           at >= t->nodes[c->root].end;
}

/* From logits to verdicts: choose the threshold, a step of chance. */
static void decide(struct kj_judge *j, const struct kj_blocks *k,
                   const struct kj_content *c, const struct kj_tree *t)
{
    struct cases x;
    memset(&x, 0, sizeof x);
    for (size_t i = 0; i < k->n; i++) {
        bool doubt = k->n < FEW && left_out(k, c, t, i);
        float z = j->verdict[i] - (doubt ? DOUBT : 0), p = chance(z);
        size_t s = (size_t)(p * CHANCES);
        s = s < CHANCES ? s : CHANCES - 1;
        j->any |= j->verdict[i] > kj_judge_data.none;
        j->verdict[i] = p;
        x.text[s] += k->b[i].weight;
        for (size_t o = 0; o < CASES; o++) {
            double right = (double)chance(z + off[o]) * k->b[i].weight;
            x.right[s][o] += right;
            x.all[o] += right;
        }
    }
    size_t cut = best_cut(&x, &j->sure);
    for (size_t i = 0; i < k->n; i++)
        j->verdict[i] = j->any && (size_t)(j->verdict[i] * CHANCES) >= cut ? 1.F : -1.F;
}

/* A page says the same twice for narrow screens, in a carousel, in a folded copy
 * of a thread. Short texts may be meant. Measured by cross-validation: word F1
 * +.0035 (forums +.025), with a third or twice of the letters no other. */
static void drop_twins(struct kj_judge *j, const struct kj_blocks *k)
{
    for (size_t i = 0; i < k->n; i++) {
        const struct kj_block *b = &k->b[i];
        float *first = &j->verdict[b->same];
        if (b->twins < 2 || b->weight < 40 || j->verdict[i] < 0)
            continue;
        if (*first > 1 || *first < -1)
            j->verdict[i] = -1;
        else
            *first *= 2; /* one of them is kept */
    }
}

/* Nine of ten of a block's runs of words are in other blocks too, or in other kept
 * blocks. */
static bool is_copy(const struct kj_blocks *k, const struct kj_block *b, bool kept)
{
    size_t twice = 0;
    for (uint32_t i = b->run; i < b->run + b->n_runs; i++) {
        const struct kj_said_run *x = &k->said.table[k->said.at[i]];
        twice += (kept ? x->kept : x->texts) > 1;
    }
    return twice * 10 >= b->n_runs * 9u;
}

/* In how many kept blocks each run is. */
static void count_kept(const struct kj_judge *j, const struct kj_blocks *k)
{
    struct kj_said_run *table = k->said.table;
    for (size_t i = 0; i < k->said.n; i++)
        table[k->said.at[i]].kept = table[k->said.at[i]].last = 0;
    for (size_t i = 0; i < k->n; i++) {
        const struct kj_block *b = &k->b[i];
        for (uint32_t r = b->run; j->verdict[i] > 0 && r < b->run + b->n_runs; r++) {
            struct kj_said_run *x = &table[k->said.at[r]];
            x->kept += x->last != i + 1;
            x->last = (uint32_t)i + 1;
        }
    }
}

static int by_length(const void *a, const void *b)
{
    const struct kj_block *const *x = a, *const *y = b;
    if ((*x)->n_runs != (*y)->n_runs)
        return (*x)->n_runs > (*y)->n_runs ? -1 : 1;
    return *x > *y ? -1 : *x < *y; /* of equals the later one first */
}

/* A whole article once more in one block, for readers without scripts or for a
 * program: the longest of blocks whose words others have goes first. Measured:
 * F1 on articles (AEB) +.002, WCXB's -.0003 with all blocks of 60 words at 0.9;
 * shorter ones are often lines of one pattern. */
static void drop_copies(struct kj_judge *j, const struct kj_blocks *k)
{
    size_t n = 0;
    for (size_t i = 0; i < k->n; i++)
        if (j->verdict[i] > 0 && k->b[i].n_runs >= COPY && is_copy(k, &k->b[i], false))
            j->copies[n++] = &k->b[i];
    if (!n)
        return;
    count_kept(j, k);
    qsort(j->copies, n, sizeof *j->copies, by_length);
    for (size_t c = 0; c < n; c++) {
        const struct kj_block *b = j->copies[c];
        if (!is_copy(k, b, true))
            continue;
        j->verdict[b - k->b] = -1;
        for (uint32_t r = b->run; r < b->run + b->n_runs; r++) {
            struct kj_said_run *x = &k->said.table[k->said.at[r]];
            x->kept -= x->last != k->n + c + 1;
            x->last = (uint32_t)(k->n + c + 1);
        }
    }
}

void kj_judge_blocks(struct kj_judge *j, const struct kj_blocks *k,
                     const struct kj_content *c, const struct kj_tree *t)
{
    reserve(j, k->n);
    j->any = false;
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx512f"))
        layers_avx512(j, k, c, t);
    else if (__builtin_cpu_supports("avx2"))
        layers_avx2(j, k, c, t);
    else
#endif
        layers_base(j, k, c, t);
    decide(j, k, c, t);
    drop_twins(j, k);
    drop_copies(j, k);
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
