/* test_cuda.c - the CUDA back end's kernels, run on an emulated device.
 *
 * The object that is opened here is built from nn/cuda/ and tests/cuda_emu, whose
 * headers say what it can find. The self-test runs in three orders of threads and
 * blocks; a run of every operation must give the same bits in each. */
#include "tests/unit/emulated.h"

#include <pthread.h>
#include <stdlib.h>

#include "nn/backend.h"
#include "nn/selftest.h"

/* Under sanitizers, which make fibers slow, one of them. */
static const char *const orders[] = {"20261", "reverse", "forward"};
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define ORDERS 1
#else
#define ORDERS 3
#endif

static void report(void *ctx, const struct kj_selftest *t)
{
    (void)ctx;
    if (!CHECK(t->ok))
        printf("     %s, %s: %.3g, limit %.3g\n", t->op, t->what, t->worst, t->limit);
}

static struct kj_backend *device(void)
{
    struct kj_backend *b = NULL;
    struct kj_err err = KJ_ERR_INIT;
    if (!CHECK_INT(kj_backend_open(&b, "cuda", 1, &err), KJ_OK))
        printf("     %s\n", err.msg);
    return b;
}

static void against_float64(void)
{
    for (size_t i = 0; i < ORDERS; i++) {
        struct kj_err err = KJ_ERR_INIT;
        unsigned failed = 0;
        setenv("KJ_EMU_ORDER", orders[i], 1);
        if (i < 2) /* attention's paths; the third time it chooses */
            setenv("KIJIL_CUDNN", i == 1 ? "1" : "0", 1);
        else
            unsetenv("KIJIL_CUDNN");
        struct kj_backend *b = device();
        if (!b)
            return;
        if (!CHECK_INT(kj_selftest_run(b, 7 + i, 0, report, NULL, &failed, &err),
                       KJ_OK))
            printf("     %s\n", err.msg);
        CHECK_INT(failed, 0);
        CHECK_INT(b->bytes, 0);
        kj_backend_close(b);
    }
}

/* Tokens by rank: more of them than a block compares at a time, some ids often. */
static void many_tokens(void)
{
    enum { N = 2500, V = 90, H = 3 };
    static float dy[N * H], dw[V * H], want[V * H];
    static int32_t ids[N];
    struct kj_backend *b = device();
    if (!b)
        return;
    const struct kj_ops *o = b->ops;
    for (int i = 0; i < N; i++)
        ids[i] = (int32_t)((unsigned)i * 2654435761u >> 16) % V % (i % 3 ? V : 7);
    for (int i = 0; i < N * H; i++)
        dy[i] = (float)((unsigned)i * 40503u % 1009) / 1009.0f;
    for (int i = 0; i < N; i++) /* in order, so equal to the bit */
        for (int j = 0; j < H; j++)
            want[ids[i] * H + j] += dy[i * H + j];
    struct kj_tensor *t = o->tensor_new(b, KJ_F32, N * H),
                     *id = o->tensor_new(b, KJ_I32, N);
    struct kj_tensor *w = o->tensor_new(b, KJ_F32, V * H);
    o->write(b, t, 0, dy, N * H);
    o->write(b, id, 0, ids, N);
    o->embed_back(b, kj_mat(w, 0, H), kj_mat(t, 0, H), kj_mat(id, 0, 1), N, H);
    o->read(b, w, 0, dw, V * H);
    CHECK(memcmp(dw, want, sizeof dw) == 0);
    o->tensor_free(b, t);
    o->tensor_free(b, id);
    o->tensor_free(b, w);
    kj_backend_close(b);
}

/* Weights, gradients and moments in bfloat16, of all sizes: the device and the CPU
 * keep the same bits over several steps, and add up the same gradients. */
enum { STATES = 5003, IDS = 700, WIDTH = 24 };

static void run_states(struct kj_backend *b, float out[4][STATES], float *dw)
{
    const struct kj_ops *o = b->ops;
    struct kj_tensor *t[4], *dy, *id, *e;
    static float x[STATES];
    static int32_t ids[IDS];
    for (uint32_t k = 0, u = 1; k < 4; k++) {
        for (size_t i = 0; i < STATES; i++) {
            u = u * 1664525u + 1013904223u;
            x[i] = ((float)(u >> 8) / 8388608.0f - 1.0f) * (i % 7 ? 0.05f : 1e-19f);
            x[i] = k == 3 ? x[i] * x[i] : x[i]; /* some are 0, some denormal */
        }
        t[k] = o->tensor_new(b, KJ_BF16, STATES);
        o->write(b, t[k], 0, x, STATES);
    }
    for (int s = 1; s <= 4; s++) {
        struct kj_adamw p = {.lr = 3e-4f,
                             .beta1 = 0.9f,
                             .beta2 = 0.95f,
                             .eps = 1e-8f,
                             .decay = 3e-5f,
                             .grad_scale = 1.0f / (float)s,
                             .fix1 = 10.0f / (float)s,
                             .fix2 = 20.0f / (float)s,
                             .key = 77777u * (uint64_t)s};
        o->adamw(b, kj_mat(t[0], 0, 1), kj_mat(t[1], 0, 1), kj_mat(t[2], 0, 1),
                 kj_mat(t[3], 0, 1), STATES, &p);
    }
    for (int k = 0; k < 4; k++) {
        o->read(b, t[k], 0, out[k], STATES);
        if (k > 1)
            o->tensor_free(b, t[k]);
    }
    for (int i = 0; i < IDS; i++)
        ids[i] = (int32_t)((unsigned)i * 2654435761u >> 16) % (i % 3 ? 90 : 4);
    dy = o->tensor_new(b, KJ_BF16, IDS * WIDTH);
    e = o->tensor_new(b, KJ_BF16, 90 * WIDTH);
    id = o->tensor_new(b, KJ_I32, IDS);
    o->write(b, id, 0, ids, IDS);
    for (int i = 0; i < 4; i++) /* part by part, from what there is */
        o->axpby(b, kj_mat(dy, (size_t)i * 4200, 1), kj_mat(t[i % 2], 0, 1), 4200, 3,
                 0);
    o->axpby(b, kj_mat(e, 0, 1), kj_mat(t[0], 300, 1), 90 * WIDTH, 1, 0);
    for (uint64_t i = 0; i < 3; i++) { /* products of one term are exact */
        b->chance = i * 4711;
        o->embed_back(b, kj_mat(e, 0, WIDTH), kj_mat(dy, 0, WIDTH), kj_mat(id, 0, 1),
                      IDS, WIDTH);
        o->matmul(b, kj_mat(e, 0, WIDTH), kj_mat(t[0], 16, 90), kj_mat(t[1], 8, WIDTH),
                  90, WIDTH, 1, KJ_MM_TA | KJ_MM_ADD);
        o->matmul(b, kj_mat(e, 1, WIDTH), kj_mat(t[0], 3, 1), kj_mat(t[1], 5, 1), 89,
                  WIDTH - 1, 1, KJ_MM_TB | KJ_MM_ADD);
        o->axpby(b, kj_mat(e, 7, 1), kj_mat(t[1], 2, 1), 89 * WIDTH, 1, 1);
    }
    b->chance = 0;
    o->read(b, e, 0, dw, 90 * WIDTH);
    CHECK_INT(o->sync(b, NULL), KJ_OK);
    struct kj_tensor *all[] = {t[0], t[1], dy, e, id};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        o->tensor_free(b, all[i]);
}

static void states_as_on_the_cpu(void)
{
    static float x[2][4][STATES], dw[2][90 * WIDTH];
    struct kj_backend *b = device(), *c = NULL;
    if (!b || !CHECK_INT(kj_backend_open(&c, "cpu", 3, NULL), KJ_OK))
        return;
    run_states(b, x[0], dw[0]);
    run_states(c, x[1], dw[1]);
    for (int k = 0; k < 4; k++)
        CHECK_MEM((char *)x[0][k], sizeof x[0][k], (char *)x[1][k], sizeof x[1][k]);
    CHECK_MEM((char *)dw[0], sizeof dw[0], (char *)dw[1], sizeof dw[1]);
    kj_backend_close(b);
    kj_backend_close(c);
}

static void faults(void)
{
    struct kj_err err = KJ_ERR_INIT;
    int32_t bad[] = {1, 500, -3};
    struct kj_backend *b = device();
    if (!b)
        return;
    const struct kj_ops *o = b->ops;
    struct kj_tensor *t = o->tensor_new(b, KJ_F32, 100);
    struct kj_tensor *h = o->tensor_new(b, KJ_BF16, 100);
    struct kj_tensor *ids = o->tensor_new(b, KJ_I32, 3);
    b->step = 12;
    o->matmul(b, kj_mat(t, 0, 10), kj_mat(t, 0, 10), kj_mat(t, 0, 10), 10, 10, 11, 0);
    o->zero(b, kj_mat(t, 0, 1), 1000); /* after the first fault nothing runs */
    CHECK_INT(o->sync(b, &err), KJ_FATAL);
    CHECK(strstr(err.msg, "matmul: of 10x10x11: ") && strstr(err.msg, "(step 12)"));
    kj_err_reset(&err);
    CHECK_INT(o->sync(b, &err), KJ_OK);
    o->write(b, ids, 0, bad, 3);
    o->embed(b, kj_mat(t, 0, 20), kj_mat(t, 0, 20), kj_mat(ids, 0, 1), 2, 20);
    CHECK_INT(o->sync(b, &err), KJ_FATAL);
    CHECK(strstr(err.msg, "token 500 at 1 ") != NULL);
    kj_err_reset(&err);
    o->embed_back(b, kj_mat(t, 0, 20), kj_mat(t, 0, 20), kj_mat(ids, 2, 1), 1, 20);
    CHECK_INT(o->sync(b, &err), KJ_FATAL);
    CHECK(strstr(err.msg, "token -3 at 0 ") != NULL);
    kj_err_reset(&err);
    o->cross_entropy(b, kj_mat(t, 0, 20), kj_mat(t, 90, 1), KJ_MAT_NONE,
                     kj_mat(ids, 0, 1), 2, 20, 1, KJ_MAT_NONE, 0, true);
    CHECK_INT(o->sync(b, &err), KJ_FATAL);
    CHECK(strstr(err.msg, "target 500 at 1 ") != NULL);
    kj_err_reset(&err);
    o->swiglu(b, kj_mat(t, 0, 10), kj_mat(h, 0, 10), kj_mat(t, 0, 10), 1, 10);
    CHECK_INT(o->sync(b, &err), KJ_FATAL);
    CHECK(strstr(err.msg, "bfloat16, not float32") != NULL);
    kj_err_reset(&err);
    CHECK(o->tensor_new(b, KJ_F32, (size_t)3 << 30) == NULL);
    CHECK_INT(o->sync(b, &err), KJ_FATAL);
    CHECK(strstr(err.msg, "no GPU memory for 12884.9 MB") != NULL);
    o->tensor_free(b, t);
    o->tensor_free(b, h);
    o->tensor_free(b, ids);
    kj_backend_close(b);
}

/* GPUs below 8.9 know no FP8, and those below 8.0 do not serve. */
static void older(void)
{
    struct kj_err err = KJ_ERR_INIT;
    setenv("KJ_EMU_CAPABILITY", "86", 1);
    struct kj_backend *b = device();
    if (b) {
        CHECK(!b->f8);
        CHECK(b->ops->tensor_new(b, KJ_E4M3, 16) == NULL);
        CHECK_INT(b->ops->sync(b, &err), KJ_FATAL);
        CHECK(strstr(err.msg, "compute capability 8.6; FP8 wants 8.9") != NULL);
        kj_backend_close(b);
    }
    kj_err_reset(&err);
    setenv("KJ_EMU_CAPABILITY", "75", 1);
    CHECK_INT(kj_backend_open(&b, "cuda", 1, &err), KJ_USAGE);
    CHECK(strstr(err.msg, "7.5; 8.0 (A100) is the least") != NULL);
    unsetenv("KJ_EMU_CAPABILITY");
}

/* A thread begins with GPU 0: a back end of another one works in it as well. */
static void *elsewhere(void *p)
{
    struct kj_backend *b = p;
    struct kj_tensor *t = b->ops->tensor_new(b, KJ_F32, 64);
    float x[64];
    b->ops->axpby(b, kj_mat(t, 0, 1), kj_mat(t, 0, 1), 64, 2, 0);
    b->ops->read(b, t, 0, x, 64);
    b->ops->tensor_free(b, t);
    CHECK_INT(b->ops->sync(b, NULL), KJ_OK);
    return NULL;
}

static void second_gpu(void)
{
    pthread_t thread;
    setenv("KJ_EMU_GPUS", "2", 1);
    setenv("LOCAL_RANK", "1", 1);
    struct kj_backend *b = device();
    if (b && CHECK(pthread_create(&thread, NULL, elsewhere, b) == 0))
        pthread_join(thread, NULL);
    kj_backend_close(b);
    unsetenv("LOCAL_RANK");
    unsetenv("KJ_EMU_GPUS");
}

static void where_there_is_none(void)
{
    struct kj_backend *b = NULL;
    struct kj_err err = KJ_ERR_INIT;
    setenv("KIJIL_CUDA_SO", "/nowhere/kijil-cuda.so", 1);
    CHECK_INT(kj_backend_open(&b, "cuda", 1, &err), KJ_USAGE);
    CHECK(strstr(err.msg, "no GPU: /nowhere/kijil-cuda.so: ") == err.msg);
    CHECK_INT(kj_backend_open(&b, "auto", 1, NULL), KJ_OK);
    CHECK(strcmp(b->ops->name, "cpu") == 0 && strstr(b->note, "no GPU: ") == b->note);
    kj_backend_close(b);
    unsetenv("KIJIL_CUDA_SO");
    CHECK_INT(kj_backend_open(&b, "auto", 1, NULL), KJ_OK);
    CHECK(strcmp(b->ops->name, "cpu") == 0 && strstr(b->note, "make cuda") != NULL);
    kj_backend_close(b);
}

int main(void)
{
    CHECK(emulated_gpu(false));
    against_float64();
    many_tokens();
    states_as_on_the_cpu();
    faults();
    older();
    second_gpu();
    where_there_is_none();
    return test_end();
}
