/* test_cuda_gemm.c - products on an emulated GPU whose library refuses, when they are to
 * run, algorithms that it has offered (tests/cuda_emu/lt.cc): the next one serves, and
 * where none is left a plain kernel of ours, with a note that it is slow. */
#include "tests/unit/emulated.h"

#include <stdlib.h>

#include "nn/backend.h"

enum { M = 64, N = 128, K = 64 };

struct result {
    float c[M * N];
    char note[256];
    struct kj_err err;
};

static struct kj_tensor *filled(struct kj_backend *b, size_t n, unsigned seed)
{
    struct kj_tensor *t = b->ops->tensor_new(b, KJ_BF16, n);
    float *x = malloc(n * sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)((i * 37 + seed) % 64) / 32.0f - 1.0f;
    b->ops->write(b, t, 0, x, n);
    free(x);
    return t;
}

/* Twice C = A B', so that the second meets the plan of the first; or with a bias and
 * GELU. emu: what is refused, or NULL. */
static void multiply(struct result *r, const char *emu, bool linear)
{
    struct kj_backend *b = NULL;
    memset(r, 0, sizeof *r);
    kj_err_reset(&r->err);
    if (emu)
        setenv("KJ_EMU_LT", emu, 1);
    else
        unsetenv("KJ_EMU_LT");
    if (!CHECK_INT(kj_backend_open(&b, "cuda", 1, &r->err), KJ_OK))
        return;
    const struct kj_ops *o = b->ops;
    struct kj_tensor *t[] = {filled(b, M * K, 1), filled(b, N * K, 2),
                             o->tensor_new(b, linear ? KJ_BF16 : KJ_F32, M * N),
                             filled(b, 2 * N, 3)};
    struct kj_mat c = kj_mat(t[2], 0, N), x = kj_mat(t[0], 0, K),
                  w = kj_mat(t[1], 0, K);
    for (size_t i = 0; i < 2; i++)
        if (linear) /* the second bias lies elsewhere, as a layer's does */
            o->linear(b, c, x, w, kj_mat(t[3], i * N, N), M, N, K, KJ_ACT_GELU_TANH);
        else
            o->matmul(b, c, x, w, M, N, K, KJ_MM_TB);
    o->read(b, t[2], 0, r->c, (size_t)M * N);
    o->sync(b, &r->err);
    snprintf(r->note, sizeof r->note, "%s", b->note);
    for (size_t i = 0; i < sizeof t / sizeof *t; i++)
        o->tensor_free(b, t[i]);
    kj_backend_close(b);
}

static bool near(const struct result *a, const struct result *b, float by)
{
    for (size_t i = 0; i < (size_t)M * N; i++)
        if (!(a->c[i] - b->c[i] < by && b->c[i] - a->c[i] < by))
            return false;
    return true;
}

static struct result want, got;

int main(void)
{
    CHECK(emulated_gpu(false));
    multiply(&want, NULL, false);
    CHECK_INT(want.err.rc, KJ_OK);
    CHECK(!*want.note && want.c[0] != 0);
    multiply(&got, "first", false);
    CHECK_INT(got.err.rc, KJ_OK);
    CHECK(!*got.note && memcmp(got.c, want.c, sizeof got.c) == 0);
    multiply(&got, "all", false);
    CHECK_INT(got.err.rc, KJ_OK);
    CHECK(near(&got, &want, 1e-4f));
    if (!CHECK(strcmp(got.note,
                      "cuBLASLt has no algorithm for matmul of 64x128x64 (all "
                      "were refused): a plain kernel goes on, slowly") == 0))
        printf("     %s\n", got.note);
    /* Timed, too: what is refused is not chosen, and stops nothing. */
    setenv("KIJIL_CUDA_TUNE", "/dev/null", 1);
    multiply(&got, "first", false);
    CHECK_INT(got.err.rc, KJ_OK);
    CHECK(!*got.note && memcmp(got.c, want.c, sizeof got.c) == 0);
    unsetenv("KIJIL_CUDA_TUNE");
    /* The same of epilogues; without any left, by a product and a kernel for the rest,
     * which rounds twice. */
    multiply(&want, NULL, true);
    CHECK_INT(want.err.rc, KJ_OK);
    CHECK(!*want.note && want.c[0] != 0);
    multiply(&got, "first", true);
    CHECK_INT(got.err.rc, KJ_OK);
    CHECK(!*got.note && memcmp(got.c, want.c, sizeof got.c) == 0);
    multiply(&got, "all", true);
    CHECK_INT(got.err.rc, KJ_OK);
    CHECK(*got.note && near(&got, &want, 0.25f));
    return test_end();
}
