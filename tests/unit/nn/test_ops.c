/* test_ops.c - every operation of every back end that works here against
 * float64 and finite differences, equal bytes at every thread count, and
 * faults that are reported instead of crashing. */
#include "tests/unit/test.h"

#include <stdlib.h>

#include "nn/backend.h"
#include "nn/cpu/cpu.h"
#include "nn/selftest.h"

static void report(void *ctx, const struct kj_selftest *t)
{
    (void)ctx;
    if (!CHECK(t->ok))
        printf("     %s, %s: %.3g, limit %.3g\n", t->op, t->what, t->worst, t->limit);
}

static void ops(unsigned threads, const struct kj_kern *kern)
{
    struct kj_backend *b;
    struct kj_err err = KJ_ERR_INIT;
    unsigned failed = 0;
    if (!CHECK_INT(kj_backend_open(&b, "cpu", threads, &err), KJ_OK))
        return;
    if (kern)
        kj_cpu_of(b)->kern = kern;
    CHECK_INT(kj_selftest_run(b, 7, 0, report, NULL, &failed, &err), KJ_OK);
    CHECK_INT(failed, 0);
    CHECK_INT(b->bytes, 0);
    kj_backend_close(b);
}

/* One of each operation at sizes that are cut into several tasks. */
static void fill(struct kj_backend *b, struct kj_tensor *t, uint32_t seed)
{
    size_t n = b->ops->tensor_size(t);
    float *x = malloc(n * sizeof *x);
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = (float)(seed >> 8) / 8388608.0f - 1.0f;
    }
    b->ops->write(b, t, 0, x, n);
    free(x);
}

enum { N = 700, H = 192 };

static float *threaded(unsigned threads)
{
    struct kj_backend *b;
    struct kj_tensor *t[8], *r, *ids;
    float *out = malloc(8 * N * H * sizeof *out);
    int32_t id[N], cu[] = {0, 100, 611, N};
    struct kj_adamw p = {.lr = 0.1f,
                         .beta1 = 0.9f,
                         .beta2 = 0.9f,
                         .eps = 1e-8f,
                         .grad_scale = 1,
                         .fix1 = 1,
                         .fix2 = 1};
    kj_backend_open(&b, "cpu", threads, NULL);
    const struct kj_ops *o = b->ops;
    for (uint32_t i = 0; i < 8; i++)
        fill(b, t[i] = o->tensor_new(b, KJ_F32, N * H), i);
    for (int i = 0; i < N; i++)
        id[i] = i * i % 97;
    r = o->tensor_new(b, KJ_F32, N * 4);
    ids = o->tensor_new(b, KJ_I32, N);
    o->write(b, ids, 0, id, N);
#define M(i) kj_mat(t[i], 0, H)
    struct kj_attn a = {.q = M(0),
                        .k = kj_mat(t[1], 0, H),
                        .v = kj_mat(t[1], 96, H),
                        .o = M(2),
                        .lse = kj_mat(r, 0, 4),
                        .heads = 4,
                        .kv_heads = 2,
                        .dim = 48,
                        .scale = 0.14f,
                        .segs = 3,
                        .cu_q = cu,
                        .cu_k = cu};
    struct kj_attn_grad g = {
        .d_o = M(3), .dq = M(4), .dk = kj_mat(t[5], 0, H), .dv = kj_mat(t[5], 96, H)};
    o->attention(b, &a);
    o->attention_back(b, &a, &g);
    o->matmul(b, M(6), M(4), kj_mat(t[1], 0, H), N, H, H, KJ_MM_TB);
    o->matmul(b, M(7), M(6), M(5), H, H, N, KJ_MM_TA | KJ_MM_ADD);
    o->norm(b, M(3), M(2), kj_mat(r, 0, 1), M(6), M(0), kj_mat(t[7], 0, H), N, H,
            1e-5f);
    o->norm_back(b, M(4), kj_mat(t[7], 0, H), M(3), M(2), kj_mat(r, 0, 1),
                 kj_mat(t[7], H, H), N, H, true);
    o->swiglu(b, M(0), M(2), M(3), N, H);
    o->embed_back(b, M(5), M(0), kj_mat(ids, 0, 1), N, H);
    o->adamw(b, M(1), M(5), M(6), kj_mat(t[3], 0, 0), N * H, &p);
    struct kj_tensor *low[4];
    for (size_t i = 0; i < 4; i++) { /* and on bfloat16 */
        low[i] = o->tensor_new(b, KJ_BF16, N * H);
        o->axpby(b, kj_mat(low[i], 0, 0), M(i), N * H, 1, 0);
    }
#define L(i) kj_mat(low[i], 0, H)
    o->norm(b, L(0), L(1), kj_mat(r, 0, 1), L(2), L(3), kj_mat(low[1], 0, H), N, H,
            1e-5f);
    o->embed_back(b, L(0), L(1), kj_mat(ids, 0, 1), N, H);
    o->matmul(b, L(2), L(0), L(1), H, H, N, KJ_MM_TA | KJ_MM_ADD);
    o->adamw(b, L(0), L(1), L(2), L(3), N * H, &p);
    for (size_t i = 0; i < 4; i++) {
        o->axpby(b, M(i), kj_mat(low[i], 0, 0), N * H, 1, 0);
        o->tensor_free(b, low[i]);
    }
    CHECK_INT(o->sync(b, NULL), KJ_OK);
    for (size_t i = 0; i < 8; i++) {
        o->read(b, t[i], 0, out + i * N * H, N * H);
        o->tensor_free(b, t[i]);
    }
    o->tensor_free(b, r);
    o->tensor_free(b, ids);
    kj_backend_close(b);
    return out;
}

static void equal_at_every_thread_count(void)
{
    float *one = threaded(1);
    for (unsigned n = 2; n <= 5; n++) {
        float *more = threaded(n);
        CHECK(memcmp(one, more, 8 * N * H * sizeof *one) == 0);
        free(more);
    }
    free(one);
}

static void faults(void)
{
    struct kj_backend *b;
    struct kj_err err = KJ_ERR_INIT;
    int32_t bad = 5;
    CHECK_INT(kj_backend_open(&b, "abacus", 1, &err), KJ_USAGE);
    kj_err_reset(&err);
    CHECK_INT(kj_backend_open(&b, "cpu", 1, &err), KJ_OK);
    const struct kj_ops *o = b->ops;
    struct kj_tensor *t = o->tensor_new(b, KJ_F32, 100);
    struct kj_tensor *ids = o->tensor_new(b, KJ_I32, 1);
    o->matmul(b, kj_mat(t, 0, 10), kj_mat(t, 0, 10), kj_mat(t, 0, 10), 10, 10, 11, 0);
    o->zero(b, kj_mat(t, 0, 1), 1000); /* after the first fault nothing runs */
    CHECK_INT(o->sync(b, &err), KJ_FATAL);
    CHECK(strstr(err.msg, "matmul A") != NULL);
    kj_err_reset(&err);
    CHECK_INT(o->sync(b, &err), KJ_OK);
    o->write(b, ids, 0, &bad, 1);
    o->embed(b, kj_mat(t, 0, 20), kj_mat(t, 0, 20), kj_mat(ids, 0, 1), 1, 20);
    CHECK_INT(o->sync(b, &err), KJ_FATAL);
    CHECK(strstr(err.msg, "token 5") != NULL);
    kj_err_reset(&err);
    struct kj_tensor *h = o->tensor_new(b, KJ_BF16, 100);
    o->adamw(b, kj_mat(h, 0, 1), kj_mat(t, 0, 1), kj_mat(h, 0, 1), kj_mat(h, 0, 1), 9,
             &(struct kj_adamw){.lr = 1});
    CHECK_INT(o->sync(b, &err), KJ_FATAL);
    CHECK(strstr(err.msg, "adamw") && strstr(err.msg, "different types"));
    kj_err_reset(&err);
    o->embed_back(b, kj_mat(h, 0, 20), kj_mat(t, 0, 20), kj_mat(ids, 0, 1), 1, 20);
    CHECK_INT(o->sync(b, &err), KJ_FATAL);
    CHECK(strstr(err.msg, "token 5") != NULL);
    kj_err_reset(&err);
    o->matmul(b, kj_mat(h, 0, 10), kj_mat(h, 0, 10), kj_mat(t, 0, 10), 10, 10, 11, 0);
    CHECK_INT(o->sync(b, &err), KJ_FATAL);
    CHECK(strstr(err.msg, "matmul") != NULL);
    kj_err_reset(&err);
    o->tensor_free(b, h);
    CHECK(o->tensor_new(b, KJ_F32, SIZE_MAX / 2) == NULL);
    CHECK_INT(o->sync(b, &err), KJ_FATAL);
    o->tensor_free(b, t);
    o->tensor_free(b, ids);
    kj_backend_close(b);
}

int main(void)
{
    ops(1, NULL);
    ops(3, NULL);
    ops(2, &kj_kern_base);
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        ops(1, &kj_kern_avx2);
#endif
    equal_at_every_thread_count();
    faults();
    return test_end();
}
