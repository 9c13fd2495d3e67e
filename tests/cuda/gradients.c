/* gradients.c - a whole model's gradients and losses on a device beside the CPU's.
 *
 * gradients SHAPE DEVICE STEPS PRECISION... [-o FILE]
 *
 * A Llama of that shape (tiny, odd, small, nano) gets the same fresh weights on the CPU
 * in float32 and on DEVICE in each PRECISION (f32, bf16, fp8; states: bfloat16
 * weights, gradients and moments as well), and one batch of packed documents. Each
 * parameter's gradient is compared (length of the difference over the length of the
 * CPU's), then the losses of STEPS steps of AdamW over fresh batches. FILE
 * (safetensors) gets weights, batches, gradients and losses, for torch_llama.py, which
 * does the same in PyTorch. Prints a line "row NAME RESULT TEXT KEY=VALUE...", separated
 * by tabs, for each comparison; exit status 1 when one misses its limit. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "nn/safetensors.h"
#include "trainer/llama.h"

enum { SEGS = 9, WAYS = 5, ARRAYS = 4096 };

static const struct shape {
    const char *name;
    int hidden, ffn, layers, heads, kv, dim, vocab;
    bool tied;
    size_t tokens, chunk;
} shapes[] = {
    /* for an emulated device; the second's heads are what tensor cores take */
    {"tiny", 32, 64, 2, 4, 2, 16, 280, true, 64, 48},
    {"tiny64", 64, 96, 1, 2, 1, 64, 280, false, 80, 64},
    /* no width is a multiple of 16, few are of 8: the ways beside the fast ones */
    {"odd", 180, 334, 2, 6, 2, 26, 1003, false, 301, 100},
    {"small", 256, 688, 4, 8, 2, 64, 1024, true, 512, 192},
    {"nano", 1792, 8064, 1, 24, 8, 128, 8192, false, 2048, 512},
};

/* What is allowed, for each precision: of gradients, of losses. FP8's codes are off by an
 * eighth (E5M2) and a sixteenth (E4M3) of themselves at most. */
static const struct way {
    const char *name;
    double gradient, loss;
} ways[] = {{"f32", 2e-4, 1e-3},
            {"bf16", 4e-2, 1e-2},
            {"states", 5e-2, 2e-2},
            {"fp8", 0.35, 2e-2}};

struct model {
    struct kj_backend *b;
    struct kj_llama *m;
    struct kj_tensor *moments[2];
    float *grad;
    double first; /* loss of the batch that the gradient is of */
    float *losses;
};

struct batch {
    size_t n;
    int32_t *ids, *pos, *targets;
    int32_t cu[SEGS + 1];
};

static struct kj_st_out outs[ARRAYS];
static const float *data[ARRAYS];
static size_t n_outs;

static void keep(const char *name, const float *x, size_t rows, size_t cols)
{
    outs[n_outs] = (struct kj_st_out){kj_xstrdup(name), 2, {rows, cols}};
    data[n_outs++] = x;
}

static int fill(void *ctx, size_t i, uint64_t at, float *out, size_t n,
                struct kj_err *err)
{
    (void)ctx;
    (void)err;
    memcpy(out, data[i] + at, n * sizeof *out);
    return KJ_OK;
}

static _Noreturn void die(const struct kj_err *err)
{
    fprintf(stderr, "gradients: %s\n", err->msg);
    exit(2);
}

/* Documents of 1, 2, 3 and more tokens; each token tells much of the next. */
static void draw(struct batch *b, int vocab, uint32_t seed)
{
    static const double ends[SEGS] = {0, 0, 0, .25, .3, .5, .8, .81, 1};
    uint32_t z = seed * 2654435761u + 1;
    size_t at = 0;
    for (size_t s = 0; s < SEGS; s++) {
        size_t end = s < 3 ? at + s + 1 : (size_t)((double)b->n * ends[s]);
        b->cu[s] = (int32_t)at;
        for (size_t i = at; i < end; i++) {
            z = z * 1664525u + 1013904223u;
            uint32_t next = i > at ? (uint32_t)b->ids[i - 1] * 7 + (z >> 30) : z >> 8;
            b->ids[i] = (int32_t)(next % (uint32_t)vocab);
            b->pos[i] = (int32_t)(i - at);
            b->targets[i] = -1;
            if (i > at)
                b->targets[i - 1] = b->ids[i];
        }
        at = end;
    }
    b->cu[SEGS] = (int32_t)b->n;
}

static void batch_new(struct batch *b, size_t n)
{
    b->n = n;
    b->ids = kj_xcalloc(n, sizeof *b->ids);
    b->pos = kj_xcalloc(n, sizeof *b->pos);
    b->targets = kj_xcalloc(n, sizeof *b->targets);
}

static struct kj_rows rows_of(const struct batch *b)
{
    return (struct kj_rows){.n = b->n,
                            .ids = b->ids,
                            .pos = b->pos,
                            .targets = b->targets,
                            .segs = SEGS,
                            .cu = b->cu};
}

static double count_of(const struct batch *b)
{
    double n = 0;
    for (size_t i = 0; i < b->n; i++)
        n += b->targets[i] >= 0;
    return n;
}

/* The mean loss; the gradient of it in m->g. */
static double pass(struct model *d, const struct batch *b)
{
    struct kj_err err = KJ_ERR_INIT;
    struct kj_rows rows = rows_of(b);
    double sum, n = count_of(b);
    d->b->ops->zero(d->b, kj_mat(d->m->g, 0, 1), d->m->n);
    if (kj_llama_loss(d->m, &rows, true, (float)(1 / n), 0, &sum, NULL, &err))
        die(&err);
    return sum / n;
}

static void move(struct model *d, int step)
{
    double t = step + 1;
    const struct kj_adamw p = {.lr = 1e-3f,
                               .beta1 = 0.9f,
                               .beta2 = 0.95f,
                               .eps = 1e-8f,
                               .grad_scale = 1,
                               .key = (uint64_t)step * 0x9E3779B97F4A7C15u,
                               .fix1 = (float)(1 / (1 - pow(0.9, t))),
                               .fix2 = (float)(1 / (1 - pow(0.95, t)))};
    d->b->ops->adamw(d->b, kj_mat(d->m->w, 0, 1), kj_mat(d->m->g, 0, 1),
                     kj_mat(d->moments[0], 0, 1), kj_mat(d->moments[1], 0, 1), d->m->n,
                     &p);
    d->m->stale = true;
}

static void model_new(struct model *d, const struct shape *s, const char *device,
                      const char *precision)
{
    struct kj_err err = KJ_ERR_INIT;
    const struct kj_shape shape = {.vocab_size = s->vocab,
                                   .hidden = s->hidden,
                                   .ffn = s->ffn,
                                   .layers = s->layers,
                                   .heads = s->heads,
                                   .kv_heads = s->kv,
                                   .head_dim = s->dim,
                                   .max_positions = (int64_t)s->tokens,
                                   .rope_theta = 500000,
                                   .norm_eps = 1e-5,
                                   .tied = s->tied,
                                   .init_range = 0.05};
    const struct kj_llama_how how = {.tokens = s->tokens,
                                     .chunk = s->chunk,
                                     .train = true,
                                     .bf16 = strcmp(precision, "f32") != 0,
                                     .states_bf16 = strcmp(precision, "states") == 0,
                                     .f8 = strcmp(precision, "fp8") == 0};
    if (kj_backend_open(&d->b, device, 4, &err) ||
        kj_llama_make(&d->m, d->b, &shape, &how, &err))
        die(&err);
    kj_llama_init(d->m, 5);
    d->m->stale = true;
    for (int i = 0; i < 2; i++)
        d->moments[i] =
            d->b->ops->tensor_new(d->b, how.states_bf16 ? KJ_BF16 : KJ_F32, d->m->n);
    if (d->b->ops->sync(d->b, &err))
        die(&err);
}

static void run(struct model *d, const struct shape *s, int steps, float *tokens)
{
    struct kj_err err = KJ_ERR_INIT;
    struct batch b;
    batch_new(&b, s->tokens);
    draw(&b, s->vocab, 1);
    d->grad = kj_xcalloc(d->m->n, sizeof *d->grad);
    d->losses = kj_xcalloc((size_t)steps + 1, sizeof *d->losses);
    d->first = pass(d, &b);
    d->b->ops->read(d->b, d->m->g, 0, d->grad, d->m->n);
    for (int i = 0; i < steps; i++) {
        draw(&b, s->vocab, (uint32_t)i + 1);
        d->losses[i] = (float)pass(d, &b);
        move(d, i);
        for (size_t k = 0; k < b.n && tokens; k++)
            tokens[(size_t)i * b.n + k] = (float)b.ids[k];
    }
    if (d->b->ops->sync(d->b, &err))
        die(&err);
    free(b.ids);
    free(b.pos);
    free(b.targets);
}

static void model_free(struct model *d)
{
    d->b->ops->tensor_free(d->b, d->moments[0]);
    d->b->ops->tensor_free(d->b, d->moments[1]);
    kj_llama_free(d->m);
    kj_backend_close(d->b);
    free(d->grad);
    free(d->losses);
}

/* ---- comparison ---- */

static double apart(const float *got, const float *want, size_t n)
{
    double d = 0, w = 0;
    for (size_t i = 0; i < n; i++) {
        double x = (double)got[i] - (double)want[i];
        d += x * x;
        w += (double)want[i] * (double)want[i];
    }
    return sqrt(d / (w > 0 ? w : 1e-30));
}

static bool verdict(const char *what, const struct shape *s, const char *precision,
                    double worst, double limit, const char *where)
{
    bool good = worst <= limit; /* NaN is not */
    printf("row\t%s.%s.%s\t%s\t%s: at worst %.2g of %.2g (%s)\tworst=%.4g\n", what,
           s->name, precision, good ? "good" : "FAILED",
           strcmp(what, "gradients") == 0 ? "each parameter's gradient beside the CPU's"
                                          : "losses of a run beside the CPU's",
           worst, limit, where, worst);
    return good;
}

static bool compare(const struct model *d, const struct model *want,
                    const struct shape *s, int steps, const struct way *w)
{
    double worst = fabs(d->first - want->first) / want->first, off = 0;
    const char *where = "the loss";
    char at[32] = "no step";
    for (size_t i = 0; i < d->m->n_params; i++) {
        const struct kj_param *p = &d->m->params[i];
        double e = apart(d->grad + p->at, want->grad + p->at, p->rows * p->cols);
        printf("%-50s %.3g\n", p->name, e);
        if (!(e <= worst)) {
            worst = e;
            where = p->name;
        }
    }
    for (int i = 0; i < steps; i++) {
        double e =
            fabs((double)d->losses[i] - (double)want->losses[i]) / want->losses[i];
        if (!(e <= off)) {
            off = e;
            snprintf(at, sizeof at, "step %d of %d", i + 1, steps);
        }
    }
    bool good = verdict("gradients", s, w->name, worst, w->gradient, where);
    return (steps == 0 || verdict("losses", s, w->name, off, w->loss, at)) && good;
}

static void keep_gradient(const struct model *d, const char *as, int steps)
{
    char name[128];
    for (size_t i = 0; i < d->m->n_params; i++) {
        const struct kj_param *p = &d->m->params[i];
        snprintf(name, sizeof name, "gradient/%s/%s", as, p->name);
        keep(name, d->grad + p->at, p->rows, p->cols);
    }
    snprintf(name, sizeof name, "losses/%s", as);
    if (steps)
        keep(name, d->losses, 1, (size_t)steps);
}

/* The model itself and what it was fed. */
static void keep_model(const struct shape *s, const float *w, const struct model *d,
                       const float *tokens, int steps)
{
    static float shape[11], cu[SEGS + 1];
    const double v[] = {s->vocab, s->hidden, s->ffn, s->layers, s->heads, s->kv,
                        s->dim,   s->tied,   1e-5,   500000,    steps};
    struct batch b;
    batch_new(&b, s->tokens);
    draw(&b, s->vocab, 1);
    for (size_t i = 0; i < sizeof v / sizeof *v; i++)
        shape[i] = (float)v[i];
    for (size_t i = 0; i <= SEGS; i++)
        cu[i] = (float)b.cu[i];
    keep("shape", shape, 1, sizeof v / sizeof *v);
    keep("cu", cu, 1, SEGS + 1);
    keep("tokens", tokens, (size_t)(steps ? steps : 1), s->tokens);
    for (size_t i = 0; i < d->m->n_params; i++) {
        const struct kj_param *p = &d->m->params[i];
        keep(p->name, w + p->at, p->rows, p->cols);
    }
    free(b.ids);
    free(b.pos);
    free(b.targets);
}

static const void *named(const char *name, const void *first, size_t size, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const char *const *p = (const void *)((const char *)first + i * size);
        if (strcmp(*p, name) == 0)
            return p;
    }
    fprintf(stderr, "gradients: there is no %s\n", name);
    exit(2);
}

int main(int argc, char **argv)
{
    const char *file = NULL;
    struct kj_err err = KJ_ERR_INIT;
    if (argc > 2 && strcmp(argv[argc - 2], "-o") == 0) {
        file = argv[argc - 1];
        argc -= 2;
    }
    if (argc < 5 || argc > 4 + WAYS) {
        fprintf(stderr, "usage: gradients SHAPE DEVICE STEPS PRECISION... [-o FILE]\n");
        return 2;
    }
    const struct shape *s =
        named(argv[1], shapes, sizeof *shapes, sizeof shapes / sizeof *shapes);
    int steps = (int)strtol(argv[3], NULL, 10);
    struct model d[WAYS + 1] = {0};
    bool good = true;
    float *tokens = kj_xcalloc((size_t)(steps + 1) * s->tokens, sizeof *tokens);
    model_new(&d[0], s, "cpu", "f32");
    float *w = kj_xcalloc(d[0].m->n, sizeof *w);
    d[0].b->ops->read(d[0].b, d[0].m->w, 0, w, d[0].m->n);
    run(&d[0], s, steps, tokens);
    if (file) {
        keep_model(s, w, &d[0], tokens, steps);
        keep_gradient(&d[0], "cpu", steps);
    }
    for (int i = 4; i < argc; i++) {
        const struct way *how =
            named(argv[i], ways, sizeof *ways, sizeof ways / sizeof *ways);
        struct model *m = &d[i - 3];
        model_new(m, s, argv[2], how->name);
        run(m, s, steps, NULL);
        good = compare(m, &d[0], s, steps, how) && good;
        if (file)
            keep_gradient(m, how->name, steps);
    }
    if (file && kj_st_write(file, outs, n_outs, KJ_ST_F32, fill, NULL, &err))
        die(&err);
    for (int i = 0; i < argc - 3; i++)
        model_free(&d[i]);
    free(tokens);
    free(w);
    fflush(stdout);
    return good ? 0 : 1;
}
