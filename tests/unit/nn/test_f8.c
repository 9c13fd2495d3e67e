/* test_f8.c - FP8: what is refused, threads. What quantize and matmul_f8 compute is in
 * nn/selftest_f8.c; tests/cuda/f8_codes.cc holds our codes against NVIDIA's. */
#include "tests/unit/test.h"

#include <math.h>

#include "nn/backend.h"

static void refused(void)
{
    struct kj_backend *b;
    struct kj_err err = KJ_ERR_INIT;
    if (!CHECK_INT(kj_backend_open(&b, "cpu", 2, NULL), KJ_OK))
        return;
    const struct kj_ops *o = b->ops;
    CHECK(b->f8);
    struct kj_tensor *x = o->tensor_new(b, KJ_F32, 1000);
    struct kj_tensor *q = o->tensor_new(b, KJ_E4M3, 1000);
    struct kj_tensor *g = o->tensor_new(b, KJ_E5M2, 1000);
    struct kj_mat f = kj_mat(x, 0, 20), s = kj_mat(x, 900, 1), e4 = kj_mat(q, 0, 32),
                  e5 = kj_mat(g, 0, 32);
    CHECK_INT(b->bytes, 4032 + 1024 + 1024);
    o->quantize(b, kj_mat(q, 8, 32), KJ_MAT_NONE, s, f, KJ_MAT_NONE, 3, 20);
    CHECK_INT(o->sync(b, &err), KJ_FATAL);
    CHECK(strstr(err.msg, "multiples of 16") != NULL);
    o->quantize(b, kj_mat(q, 0, 40), KJ_MAT_NONE, s, f, KJ_MAT_NONE, 3, 20);
    CHECK_INT(o->sync(b, NULL), KJ_FATAL);
    o->quantize(b, kj_mat(q, 0, 16), KJ_MAT_NONE, s, f, KJ_MAT_NONE, 3, 20);
    CHECK_INT(o->sync(b, NULL), KJ_FATAL);
    o->quantize(b, kj_mat(q, 976, 16), KJ_MAT_NONE, s, f, KJ_MAT_NONE, 2,
                16); /* one row is left */
    CHECK_INT(o->sync(b, NULL), KJ_FATAL);
    kj_err_reset(&err);
    o->quantize(b, e4, e5, s, f, KJ_MAT_NONE, 20, 20);
    CHECK_INT(o->sync(b, &err), KJ_FATAL);
    CHECK(strstr(err.msg, "one FP8 type") != NULL);
    o->quantize(b, KJ_MAT_NONE, KJ_MAT_NONE, s, f, KJ_MAT_NONE, 20, 20);
    CHECK_INT(o->sync(b, NULL), KJ_FATAL);
    o->quantize(b, f, KJ_MAT_NONE, s, f, KJ_MAT_NONE, 2, 16);
    CHECK_INT(o->sync(b, NULL), KJ_FATAL);
    kj_err_reset(&err);
    o->matmul_f8(b, f, e5, s, e5, s, 5, 5, 20, 0);
    CHECK_INT(o->sync(b, &err), KJ_FATAL);
    CHECK(strstr(err.msg, "must be E4M3") != NULL);
    o->matmul_f8(b, f, e4, s, f, s, 5, 5, 20, 0);
    CHECK_INT(o->sync(b, NULL), KJ_FATAL);
    kj_err_reset(&err);
    o->matmul(b, f, e4, e4, 5, 5, 5, 0);
    CHECK_INT(o->sync(b, &err), KJ_FATAL);
    CHECK(strstr(err.msg, "takes no FP8") != NULL);
    o->axpby(b, f, e4, 5, 1, 0);
    CHECK_INT(o->sync(b, NULL), KJ_FATAL);
    o->tensor_free(b, x);
    o->tensor_free(b, q);
    o->tensor_free(b, g);
    CHECK_INT(b->bytes, 0);
    kj_backend_close(b);
}

/* Some thousand rows: the same bytes at every thread count. */
static void threads(void)
{
    enum { N = 1100, H = 96, M = 48 };
    static float x[N * H], y[2][H * M];
    for (int i = 0; i < N * H; i++)
        x[i] = sinf((float)i) * (float)(i % 77);
    for (unsigned k = 0; k < 2; k++) {
        struct kj_backend *b;
        if (!CHECK_INT(kj_backend_open(&b, "cpu", 1 + 2 * k, NULL), KJ_OK))
            return;
        const struct kj_ops *o = b->ops;
        struct kj_tensor *t = o->tensor_new(b, KJ_F32, N * H),
                         *c = o->tensor_new(b, KJ_F32, H * M + 1),
                         *q = o->tensor_new(b, KJ_E4M3, (size_t)H * (N + 16));
        struct kj_mat qt = kj_mat(q, 0, (N + 15) / 16 * 16), s = kj_mat(c, H * M, 1);
        o->write(b, t, 0, x, N * H);
        o->quantize(b, KJ_MAT_NONE, qt, s, kj_mat(t, 0, H), KJ_MAT_NONE, N, H);
        o->matmul_f8(b, kj_mat(c, 0, M), qt, s, qt, s, H, M, N, 0);
        o->read(b, c, 0, y[k], H * M);
        CHECK_INT(o->sync(b, NULL), KJ_OK);
        o->tensor_free(b, t);
        o->tensor_free(b, c);
        o->tensor_free(b, q);
        kj_backend_close(b);
    }
    CHECK(memcmp(y[0], y[1], sizeof y[0]) == 0 && y[0][1] != 0);
}

int main(void)
{
    refused();
    threads();
    return test_end();
}
