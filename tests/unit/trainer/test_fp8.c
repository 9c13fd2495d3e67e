/* test_fp8.c - gradients of a model whose blocks multiply FP8: beside float32's, alike
 * on the CPU and on an emulated GPU, and refused where a GPU has no FP8. */
#include "tests/unit/emulated.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "trainer/llama.h"

enum { N = 45 }; /* tokens of a pass that is for 50: neither is a multiple of 16 */

static const struct kj_shape shape = {.vocab_size = 61,
                                      .hidden = 64,
                                      .ffn = 176,
                                      .layers = 2,
                                      .heads = 4,
                                      .kv_heads = 2,
                                      .head_dim = 16,
                                      .max_positions = 64,
                                      .rope_theta = 100,
                                      .norm_eps = 1e-5,
                                      .init_range = 0.125};

struct result {
    double sum;
    float *g;
    struct kj_param *p;
    size_t n_params;
};

static struct result run(struct kj_backend *b, bool bf16, bool f8)
{
    static const int32_t cu[] = {0, 20, N};
    struct kj_llama_how how = {
        .tokens = 50, .chunk = 16, .train = true, .bf16 = bf16, .f8 = f8};
    int32_t ids[N], pos[N], targets[N];
    struct kj_llama *m;
    struct kj_err err = KJ_ERR_INIT;
    struct result r = {0};
    for (int i = 0; i < N; i++) {
        ids[i] = i * 7 % 61;
        pos[i] = i < 20 ? i : i - 20;
        targets[i] = (i * 11 + 3) % 61;
    }
    if (!CHECK_INT(kj_llama_make(&m, b, &shape, &how, &err), KJ_OK))
        return r;
    kj_llama_init(m, 4);
    struct kj_rows rows = {N, ids, pos, targets, 2, cu};
    if (!CHECK_INT(kj_llama_loss(m, &rows, true, 1.0f / N, 0, &r.sum, NULL, &err),
                   KJ_OK))
        printf("     %s\n", err.msg);
    r.g = kj_xmalloc(m->n * sizeof *r.g);
    b->ops->read(b, m->g, 0, r.g, m->n);
    CHECK_INT(b->ops->sync(b, NULL), KJ_OK);
    r.p = kj_llama_params(&shape, &r.n_params, NULL);
    kj_llama_free(m);
    return r;
}

/* The least cosine of a parameter's two gradients, and how far their lengths are apart. */
static void beside(const struct result *a, const struct result *b, double *cosine,
                   double *lengths)
{
    *cosine = 1;
    *lengths = 0;
    for (size_t i = 0; i < a->n_params; i++) {
        double x = 0, y = 0, xy = 0;
        for (size_t k = 0; k < a->p[i].rows * a->p[i].cols; k++) {
            double u = (double)a->g[a->p[i].at + k], v = (double)b->g[a->p[i].at + k];
            x += u * u;
            y += v * v;
            xy += u * v;
        }
        *cosine = fmin(*cosine, xy / sqrt(x * y));
        *lengths = fmax(*lengths, fabs(sqrt(y / x) - 1));
    }
}

static void gone(struct result *r)
{
    free(r->g);
    free(r->p);
}

static struct kj_backend *gpu(void)
{
    struct kj_backend *b = NULL;
    struct kj_err err = KJ_ERR_INIT;
    if (!CHECK_INT(kj_backend_open(&b, "cuda", 1, &err), KJ_OK))
        printf("     %s\n", err.msg);
    return b;
}

static void gradients(void)
{
    struct kj_backend *b, *d = gpu();
    double cosine, lengths;
    if (!d || !CHECK_INT(kj_backend_open(&b, "cpu", 2, NULL), KJ_OK))
        return;
    struct result f32 = run(b, false, false), cpu = run(b, true, true);
    struct result cuda = run(d, true, true);
    CHECK(fabs(cpu.sum / f32.sum - 1) < 5e-3 && cpu.sum != f32.sum);
    beside(&f32, &cpu, &cosine, &lengths);
    printf("# FP8 beside float32: cosine %.4f, lengths within %.4f\n", cosine, lengths);
    /* E5M2 is off by an eighth at most, E4M3 by a sixteenth; this is the worst of all
     * parameters, behind twelve products. */
    CHECK(cosine > 0.95 && cosine < 0.99999 && lengths < 0.06);
    /* The emulated GPU keeps activations in bfloat16: some fall to another code. */
    CHECK(fabs(cuda.sum / cpu.sum - 1) < 2e-3);
    beside(&cpu, &cuda, &cosine, &lengths);
    printf("# GPU beside CPU: cosine %.4f, lengths within %.4f\n", cosine, lengths);
    CHECK(cosine > 0.95 && lengths < 0.06);
    gone(&f32);
    gone(&cpu);
    gone(&cuda);
    kj_backend_close(b);
    kj_backend_close(d);
}

static void older_gpu(void)
{
    struct kj_llama_how how = {.tokens = 16, .chunk = 16, .bf16 = true, .f8 = true};
    struct kj_llama *m;
    struct kj_err err = KJ_ERR_INIT;
    setenv("KJ_EMU_CAPABILITY", "80", 1);
    struct kj_backend *d = gpu();
    unsetenv("KJ_EMU_CAPABILITY");
    if (!d)
        return;
    CHECK_INT(kj_llama_make(&m, d, &shape, &how, &err), KJ_USAGE);
    CHECK(strstr(err.msg, "take optim.precision bf16") != NULL);
    CHECK_INT(d->bytes, 0);
    kj_backend_close(d);
}

static void which_maps(void)
{
    struct kj_shape s = shape;
    struct kj_llama_how how = {.f8 = true};
    CHECK_INT((int64_t)kj_llama_f8_maps(&s, &how), 4);
    s.ffn = 168; /* gate and up together are 336 wide */
    CHECK_INT((int64_t)kj_llama_f8_maps(&s, &how), 3);
    s.hidden = 60;
    CHECK_INT((int64_t)kj_llama_f8_maps(&s, &how), 0);
    how.f8 = false;
    CHECK_INT((int64_t)kj_llama_f8_maps(&shape, &how), 0);
}

int main(void)
{
    CHECK(emulated_gpu(false));
    gradients();
    older_gpu();
    which_maps();
    return test_end();
}
