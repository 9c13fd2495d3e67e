/* bench_judge - the optimiser behind scripts/train_blocks: one network of
 * extract/judge.c, trained by AdamW on the F1 of pages.
 *
 * usage: bench_judge DATA FOLD EPOCHS SEED OUT [FIRST-LAST]
 *
 * DATA, all of 32 bits: pages, numbers of a block; then per page its blocks,
 * fold, words of the gold text and weight; per block its target (below 0:
 * none), its words, four groups, its numbers. The network learns from the pages
 * that are not of FOLD. OUT: the logits of the blocks of FOLD, in order, or, when
 * no page is of it, the weights as judge.c has them. Numbers FIRST to LAST - 1
 * are left out.
 *
 * Every layer's output is a row of H per block. The inputs of the second and
 * third are means of the rows before over some blocks each, and the gradient of
 * a mean is the same mean turned round, so that all of it is prefix sums and
 * products with H columns. Dropout on the numbers and on the rows keeps so many
 * weights from learning so few pages by heart. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "extract/blocks.h"

enum { H = 32, GROUPS = KJ_BLOCK_BOXES + 1, BATCH = 24, LIMIT = 800, LAYERS = 2 };
enum { B_IN = 6 + GROUPS, C_IN = 5, ROWS = 40000 };

/* Measured by cross-validation, word F1. On two folds: numbers of deviation below
 * 0.3 not scaled up .871, below 0.02 .861; 5 epochs .881, 8 .885, 18 less; 16 rows
 * .879, 32 .885, 64 .875; a third layer of means less. On all: decay 0.3 .879,
 * 1 .882. */
static const double rate = 3e-3, decay = 1.0, least_dev = 0.3, entropy = 0.3;
static const double drop_numbers = 0.4, drop_rows = 0.3, warm = 0.15;

enum way { SELF, PAGE, BEFORE, BEHIND, GROUP };
struct part {
    enum way way;
    int arg;
};
static const struct part second[B_IN] = {
    {SELF, 0},    {PAGE, 0},  {BEFORE, 3}, {BEHIND, 3}, {BEFORE, 20},
    {BEHIND, 20}, {GROUP, 0}, {GROUP, 1},  {GROUP, 2},  {GROUP, 3},
};
static const struct part third[C_IN] = {
    {SELF, 0}, {BEFORE, 6}, {BEHIND, 6}, {GROUP, 0}, {GROUP, 3},
};
static const struct part *const parts[LAYERS] = {second, third};
static const size_t n_parts[LAYERS] = {B_IN, C_IN};

struct page {
    uint32_t n, fold, kinds[GROUPS];
    float gold, weight;
    float *y, *words;
    uint32_t *group[GROUPS];
    uint32_t *start; /* numbers that are not 0: of block i, start[i] .. */
    uint16_t *column;
    float *value;
};

struct net {
    size_t features, n;
    size_t a, a0, w[LAYERS], w0[LAYERS], d, d0; /* offsets of the weights */
    float *x, *grad, *m, *v;
};

/* Working space for one page. */
struct space {
    float *row[LAYERS + 1], *mask[LAYERS + 1], *in[LAYERS];
    float *delta, *next, *part, *sums, *mean, *z, *dz;
    uint8_t *keep;
};

/* ---- chance ---- */

static uint64_t state;

static uint64_t draw(void)
{
    uint64_t z = (state += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static void fill(float *x, size_t n, size_t fan)
{
    double s = 1 / sqrt((double)fan);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(((double)(draw() >> 11) * 0x1p-52 - 1) * s);
}

/* ---- products ---- */

typedef float vec __attribute__((vector_size(64), aligned(4)));
enum { V = H / 16 };
#define WIDE __attribute__((target_clones("avx512f", "avx2", "default")))

#define INLINE static inline __attribute__((always_inline))

INLINE void multiply_rows(float *out, const float *in, const float *w, size_t k,
                          const size_t rows)
{
    vec acc[8][V];
    memcpy(acc, out, rows * H * sizeof *out);
    for (size_t q = 0; q < k; q++) {
        const vec *b = (const vec *)(w + q * H);
        for (size_t r = 0; r < rows; r++)
            for (size_t v = 0; v < V; v++)
                acc[r][v] += in[r * k + q] * b[v];
    }
    memcpy(out, acc, rows * H * sizeof *out);
}

/* out[n][H] += in[n][k] w[k][H] */
WIDE static void multiply(float *out, const float *in, const float *w, size_t k,
                          size_t n)
{
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        multiply_rows(out + i * H, in + i * k, w, k, 8);
    for (; i < n; i++)
        multiply_rows(out + i * H, in + i * k, w, k, 1);
}

/* w[k][H] += in[n][k], transposed, times out[n][H]. */
WIDE static void multiply_back(float *w, const float *in, const float *out, size_t k,
                               size_t n)
{
    for (size_t q = 0; q < k; q += 8) {
        vec acc[8][V];
        memcpy(acc, w + q * H, sizeof acc);
        for (size_t i = 0; i < n; i++) {
            const vec *b = (const vec *)(out + i * H);
            for (size_t r = 0; r < 8; r++)
                for (size_t v = 0; v < V; v++)
                    acc[r][v] += in[i * k + q + r] * b[v];
        }
        memcpy(w + q * H, acc, sizeof acc);
    }
}

/* to += f x, rows of H. */
INLINE void add(float *to, float f, const float *x)
{
    const vec *b = (const vec *)x;
    vec *a = (vec *)to;
    for (size_t v = 0; v < V; v++)
        a[v] += f * b[v];
}

/* ---- means, and their gradients ---- */

/* Blocks a .. b-1 stand before or behind block i. */
static void span(struct part q, size_t i, size_t n, size_t *a, size_t *b)
{
    size_t k = (size_t)q.arg;
    *a = q.way == BEFORE ? (i < k ? 0 : i - k) : i + 1;
    *b = q.way == BEFORE ? i : (i + 1 + k > n ? n : i + 1 + k);
}

/* Mean of x over each block's group, added to out with the given distance. */
WIDE static void group_mean(const struct page *p, size_t n, int which, const float *x,
                            float *out, size_t step, float *mean)
{
    const uint32_t *g = p->group[which];
    float *count = mean + (size_t)p->kinds[which] * H;
    memset(mean, 0, p->kinds[which] * (H + 1) * sizeof *mean);
    for (size_t i = 0; i < n; i++) {
        count[g[i]]++;
        add(mean + g[i] * H, 1, x + i * H);
    }
    for (size_t i = 0; i < n; i++)
        add(out + i * step, 1 / count[g[i]], mean + g[i] * H);
}

WIDE static void take(const struct page *p, size_t n, struct part q, const float *x,
                      float *out, size_t step, struct space *s)
{
    if (q.way == GROUP) {
        group_mean(p, n, q.arg, x, out, step, s->mean);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        size_t a = 0, b = n;
        if (q.way == SELF) {
            add(out + i * step, 1, x + i * H);
            continue;
        }
        if (q.way != PAGE)
            span(q, i, n, &a, &b);
        if (a >= b)
            continue;
        float f = 1 / (float)(b - a);
        add(out + i * step, f, s->sums + b * H);
        add(out + i * step, -f, s->sums + a * H);
    }
}

/* The other way: what the gradient at the mean gives the rows it is made of. */
WIDE static void give(const struct page *p, size_t n, struct part q, const float *from,
                      float *to, struct space *s)
{
    float sum[H] = {0};
    if (q.way == GROUP) {
        group_mean(p, n, q.arg, from, to, H, s->mean);
        return;
    }
    if (q.way == SELF) {
        for (size_t i = 0; i < n; i++)
            add(to + i * H, 1, from + i * H);
        return;
    }
    memset(s->sums, 0, (n + 1) * H * sizeof *s->sums);
    for (size_t i = 0; i < n; i++) {
        size_t a = 0, b = n;
        if (q.way != PAGE)
            span(q, i, n, &a, &b);
        if (a >= b)
            continue;
        add(s->sums + a * H, 1 / (float)(b - a), from + i * H);
        add(s->sums + b * H, -1 / (float)(b - a), from + i * H);
    }
    for (size_t i = 0; i < n; i++) {
        add(sum, 1, s->sums + i * H);
        add(to + i * H, 1, sum);
    }
}

/* ---- one page through the network ---- */

/* Negative outputs are 0; when learning, some of the others too. */
static void gate(float *x, float *mask, size_t n, double drop)
{
    uint32_t least = (uint32_t)(drop * 65536);
    float scale = 1 / (1 - (float)least / 65536);
    uint64_t bits = 0;
    for (size_t i = 0; i < n; i++) {
        if (i % 4 == 0 && least)
            bits = draw();
        mask[i] = x[i] > 0 && (bits & 0xFFFF) >= least ? scale : 0;
        bits >>= 16;
        x[i] *= mask[i];
    }
}

WIDE static void forward(const struct net *t, const struct page *p, size_t n,
                         struct space *s, bool learn)
{
    uint32_t least = learn ? (uint32_t)(drop_numbers * 256) : 0;
    float scale = 1 / (1 - (float)least / 256);
    for (uint32_t i = 0; i < p->start[n]; i++)
        s->keep[i] = !least || (draw() & 0xFF) >= least;
    for (size_t i = 0; i < n; i++) {
        float *h = s->row[0] + i * H;
        memcpy(h, t->x + t->a0, H * sizeof *h);
        for (uint32_t k = p->start[i]; k < p->start[i + 1]; k++)
            if (s->keep[k])
                add(h, p->value[k] * scale, t->x + t->a + (size_t)p->column[k] * H);
    }
    gate(s->row[0], s->mask[0], n * H, learn ? drop_rows : 0);
    for (int l = 0; l < LAYERS; l++) {
        size_t step = n_parts[l] * H;
        memset(s->sums, 0, H * sizeof *s->sums);
        for (size_t i = 0; i < n; i++) {
            memcpy(s->sums + (i + 1) * H, s->sums + i * H, H * sizeof *s->sums);
            add(s->sums + (i + 1) * H, 1, s->row[l] + i * H);
            memcpy(s->row[l + 1] + i * H, t->x + t->w0[l], H * sizeof *s->sums);
        }
        memset(s->in[l], 0, n * step * sizeof *s->in[l]);
        for (size_t q = 0; q < n_parts[l]; q++)
            take(p, n, parts[l][q], s->row[l], s->in[l] + q * H, step, s);
        multiply(s->row[l + 1], s->in[l], t->x + t->w[l], step, n);
        gate(s->row[l + 1], s->mask[l + 1], n * H,
             learn && l + 1 < LAYERS ? drop_rows : 0);
    }
    for (size_t i = 0; i < n; i++) {
        s->z[i] = t->x[t->d0];
        for (size_t k = 0; k < H; k++)
            s->z[i] += s->row[LAYERS][i * H + k] * t->x[t->d + k];
    }
}

/* The gradient of 1 - F1, smoothed, and of some cross-entropy. */
static void slope(const struct page *p, size_t n, double weight, struct space *s)
{
    double kept = 0, right = 0, roots = 0;
    for (size_t i = 0; i < n; i++) {
        double c = 1 / (1 + exp(-(double)s->z[i]));
        kept += c * p->words[i];
        right += c * p->words[i] * fmax(p->y[i], 0);
        roots += p->y[i] >= 0 ? sqrt(p->words[i]) : 0;
    }
    double den = kept + p->gold + 1, f1 = (2 * right + 1) / den;
    for (size_t i = 0; i < n; i++) {
        double c = 1 / (1 + exp(-(double)s->z[i])), y = fmax(p->y[i], 0);
        double d = -(2 * y - f1) * p->words[i] / den * c * (1 - c);
        if (p->y[i] >= 0)
            d += entropy * sqrt(p->words[i]) / fmax(roots, 1) * (c - y);
        s->dz[i] = (float)(weight * d);
    }
}

WIDE static void backward(struct net *t, const struct page *p, size_t n,
                          struct space *s)
{
    float turned[H * H];
    for (size_t i = 0; i < n; i++) {
        t->grad[t->d0] += s->dz[i];
        add(t->grad + t->d, s->dz[i], s->row[LAYERS] + i * H);
        for (size_t k = 0; k < H; k++)
            s->delta[i * H + k] = s->dz[i] * t->x[t->d + k];
    }
    for (int l = LAYERS - 1; l >= 0; l--) {
        for (size_t i = 0; i < n * H; i++)
            s->delta[i] *= s->mask[l + 1][i];
        for (size_t i = 0; i < n; i++)
            add(t->grad + t->w0[l], 1, s->delta + i * H);
        multiply_back(t->grad + t->w[l], s->in[l], s->delta, n_parts[l] * H, n);
        memset(s->next, 0, n * H * sizeof *s->next);
        for (size_t q = 0; q < n_parts[l]; q++) {
            const float *w = t->x + t->w[l] + q * H * H;
            for (size_t i = 0; i < H * H; i++)
                turned[i % H * H + i / H] = w[i];
            memset(s->part, 0, n * H * sizeof *s->part);
            multiply(s->part, s->delta, turned, H, n);
            give(p, n, parts[l][q], s->part, s->next, s);
        }
        memcpy(s->delta, s->next, n * H * sizeof *s->delta);
    }
    float scale = 1 / (1 - (float)(uint32_t)(drop_numbers * 256) / 256);
    for (size_t i = 0; i < n; i++) {
        float *d = s->delta + i * H;
        for (size_t k = 0; k < H; k++)
            d[k] *= s->mask[0][i * H + k];
        add(t->grad + t->a0, 1, d);
        for (uint32_t k = p->start[i]; k < p->start[i + 1]; k++)
            if (s->keep[k])
                add(t->grad + t->a + (size_t)p->column[k] * H, p->value[k] * scale, d);
    }
}

/* ---- AdamW, one cycle of the rate ---- */

static void step_weights(struct net *t, double done, long step)
{
    double rise = done < warm ? done / warm : 1, fall = done < warm ? 0 : done - warm;
    double up = 0.5 - 0.5 * cos(M_PI * rise),
           down = 0.5 - 0.5 * cos(M_PI * fall / (1 - warm));
    double r = rate * (0.04 + 0.96 * up) * (1 - down), norm = 0;
    for (size_t i = 0; i < t->n; i++)
        norm += (double)t->grad[i] * t->grad[i];
    float clip = norm > 1 ? (float)(1 / sqrt(norm)) : 1;
    float c1 = (float)(1 / (1 - pow(0.9, (double)step + 1)));
    float c2 = (float)(1 / (1 - pow(0.999, (double)step + 1)));
    for (size_t i = 0; i < t->n; i++) {
        float g = t->grad[i] * clip;
        t->m[i] = 0.9F * t->m[i] + 0.1F * g;
        t->v[i] = 0.999F * t->v[i] + 0.001F * g * g;
        t->x[i] -= (float)r * ((float)decay * t->x[i] +
                               t->m[i] * c1 / (sqrtf(t->v[i] * c2) + 1e-8F));
    }
}

static void train(struct net *t, const struct page *p, size_t n, uint32_t fold,
                  long epochs, struct space *s)
{
    uint32_t *order = kj_xmalloc((n + 1) * sizeof *order);
    size_t have = 0, at = 0;
    for (size_t i = 0; i < n; i++)
        if (p[i].fold != fold)
            order[have++] = (uint32_t)i;
    long steps = epochs * (long)(have / BATCH);
    for (long step = 0; step < steps; step++) {
        double all = 0;
        if (step == 0 || at + BATCH > have) {
            for (size_t i = have; i-- > 1;) {
                size_t k = draw() % (i + 1);
                uint32_t o = order[i];
                order[i] = order[k];
                order[k] = o;
            }
            at = 0;
        }
        memset(t->grad, 0, t->n * sizeof *t->grad);
        for (size_t b = 0; b < BATCH; b++)
            all += p[order[at + b]].weight;
        for (size_t b = 0; b < BATCH; b++, at++) {
            const struct page *q = &p[order[at]];
            size_t rows = q->n < LIMIT ? q->n : LIMIT;
            forward(t, q, rows, s, true);
            slope(q, rows, q->weight / all, s);
            backward(t, q, rows, s);
        }
        step_weights(t, (double)step / (double)steps, step);
    }
    free(order);
}

/* ---- files ---- */

static void get(FILE *f, void *to, size_t n)
{
    if (fread(to, 4, n, f) != n) {
        fprintf(stderr, "bench_judge: data cut short\n");
        exit(1);
    }
}

static void read_numbers(struct page *p, FILE *f, size_t features)
{
    float *x = kj_xmalloc(p->n * features * sizeof *x);
    size_t n = 0, at = 0;
    get(f, x, p->n * features);
    for (size_t i = 0; i < p->n * features; i++)
        n += x[i] != 0;
    p->start = kj_xmalloc((p->n + 1) * sizeof *p->start);
    p->column = kj_xmalloc((n + 1) * sizeof *p->column);
    p->value = kj_xmalloc((n + 1) * sizeof *p->value);
    for (size_t i = 0; i < p->n; i++) {
        p->start[i] = (uint32_t)at;
        for (size_t k = 0; k < features; k++)
            if (x[i * features + k] != 0) {
                p->column[at] = (uint16_t)k;
                p->value[at++] = x[i * features + k];
            }
    }
    p->start[p->n] = (uint32_t)at;
    free(x);
}

static void read_page(struct page *p, FILE *f, size_t features)
{
    get(f, &p->n, 1);
    get(f, &p->fold, 1);
    get(f, &p->gold, 1);
    get(f, &p->weight, 1);
    if (p->n > ROWS) {
        fprintf(stderr, "bench_judge: a page of too many blocks\n");
        exit(1);
    }
    p->y = kj_xmalloc(p->n * sizeof *p->y);
    p->words = kj_xmalloc(p->n * sizeof *p->words);
    get(f, p->y, p->n);
    get(f, p->words, p->n);
    for (int g = 0; g < GROUPS; g++) {
        p->group[g] = kj_xmalloc(p->n * sizeof *p->group[g]);
        get(f, p->group[g], p->n);
        for (size_t i = 0; i < p->n; i++)
            if (p->group[g][i] >= p->kinds[g])
                p->kinds[g] = p->group[g][i] + 1;
    }
    read_numbers(p, f, features);
}

/* Divide the numbers by their deviation, and drop those to be left out. */
static void scale_numbers(struct page *p, size_t n, size_t features, float *scale,
                          const char *without)
{
    size_t rows = 0, a = features, b = features;
    double *sum = kj_xcalloc(2 * features, sizeof *sum);
    if (without && sscanf(without, "%zu-%zu", &a, &b) != 2)
        a = b = features;
    for (size_t i = 0; i < n; i++) {
        size_t m = p[i].n < LIMIT ? p[i].n : LIMIT;
        rows += m;
        for (uint32_t k = 0; k < p[i].start[m]; k++) {
            sum[p[i].column[k]] += p[i].value[k];
            sum[features + p[i].column[k]] += (double)p[i].value[k] * p[i].value[k];
        }
    }
    for (size_t k = 0; k < features; k++) {
        double mean = sum[k] / (double)rows;
        double dev = sqrt(fmax(sum[features + k] / (double)rows - mean * mean, 0));
        scale[k] = k >= a && k < b ? 0
                   : dev < 0.02    ? 1
                                   : (float)(1 / fmax(dev, least_dev));
    }
    for (size_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < p[i].start[p[i].n]; k++)
            p[i].value[k] *= scale[p[i].column[k]];
    free(sum);
}

static void new_net(struct net *t, size_t features)
{
    size_t n = 0;
    t->features = features;
    t->a = n, n += features * H;
    t->a0 = n, n += H;
    for (int l = 0; l < LAYERS; l++) {
        t->w[l] = n, n += n_parts[l] * H * H;
        t->w0[l] = n, n += H;
    }
    t->d = n, n += H;
    t->d0 = n, n += 1;
    t->n = n;
    t->x = kj_xcalloc(n, sizeof *t->x);
    t->grad = kj_xcalloc(n, sizeof *t->grad);
    t->m = kj_xcalloc(n, sizeof *t->m);
    t->v = kj_xcalloc(n, sizeof *t->v);
    fill(t->x, features * H + H, features);
    for (int l = 0; l < LAYERS; l++)
        fill(t->x + t->w[l], n_parts[l] * H * H + H, n_parts[l] * H);
    fill(t->x + t->d, H + 1, H);
}

static void new_space(struct space *s, const struct page *p, size_t n)
{
    size_t rows = 1, numbers = 1;
    for (size_t i = 0; i < n; i++) {
        rows = p[i].n > rows ? p[i].n : rows;
        numbers = p[i].start[p[i].n] > numbers ? p[i].start[p[i].n] : numbers;
    }
    size_t one = (rows + 1) * H;
    for (int l = 0; l <= LAYERS; l++) {
        s->row[l] = kj_xcalloc(one, sizeof(float));
        s->mask[l] = kj_xcalloc(one, sizeof(float));
        if (l < LAYERS)
            s->in[l] = kj_xcalloc(one * n_parts[l], sizeof(float));
    }
    s->delta = kj_xcalloc(one, sizeof(float));
    s->next = kj_xcalloc(one, sizeof(float));
    s->part = kj_xcalloc(one, sizeof(float));
    s->sums = kj_xcalloc(one, sizeof(float));
    s->mean = kj_xcalloc(2 * one, sizeof(float));
    s->z = kj_xcalloc(rows, sizeof(float));
    s->dz = kj_xcalloc(rows, sizeof(float));
    s->keep = kj_xcalloc(numbers, 1);
}

int main(int argc, char **argv)
{
    FILE *f = argc < 6 ? NULL : fopen(argv[1], "rb");
    if (!f) {
        fprintf(stderr, "usage: bench_judge DATA FOLD EPOCHS SEED OUT [FIRST-LAST]\n");
        return 2;
    }
    struct net t;
    struct space s;
    uint32_t n, features, fold = (uint32_t)atoi(argv[2]);
    bool judged = false;
    get(f, &n, 1);
    get(f, &features, 1);
    struct page *p = kj_xcalloc(n + 1u, sizeof *p);
    float *scale = kj_xcalloc(features + 1u, sizeof *scale);
    for (size_t i = 0; i < n; i++)
        read_page(&p[i], f, features);
    fclose(f);
    scale_numbers(p, n, features, scale, argc > 6 ? argv[6] : NULL);
    state = (uint64_t)atoi(argv[4]) * 1000003 + fold * 7919;
    new_net(&t, features);
    new_space(&s, p, n);
    train(&t, p, n, fold, atol(argv[3]), &s);
    f = fopen(argv[5], "wb");
    if (!f)
        return 1;
    for (size_t i = 0; i < n; i++)
        if (p[i].fold == fold) {
            forward(&t, &p[i], p[i].n, &s, false);
            fwrite(s.z, 4, p[i].n, f);
            judged = true;
        }
    for (size_t i = 0; i < features * H; i++)
        t.x[t.a + i] *= scale[i / H];
    if (!judged)
        fwrite(t.x, 4, t.n, f);
    return fclose(f) != 0;
}
