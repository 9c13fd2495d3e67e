/* test_docs.c - sections whose documents are others each time, on an emulated GPU: every
 * way of attention, forward and backward, gives what it gives without graphs, and the
 * graphs are used. */
#include "tests/unit/emulated.h"

#include <math.h>
#include <stdlib.h>

#include "nn/backend.h"

/* Under sanitizers, which make fibers slow, fewer. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { PASSES = 8 };
#else
enum { PASSES = 14 };
#endif
enum { N = 140, HEADS = 2, KV = 1 };

/* Bounds of pass i's documents: few, one, more than 16; long and short ones, some of
 * length 0. */
static size_t bounds(unsigned i, int32_t cu[N + 1])
{
    static const size_t many[] = {5, 20, 1, 7, 16, 64, 1, 3};
    size_t n = many[i % (sizeof many / sizeof *many)];
    uint32_t u = i * 2654435761u + 12345;
    cu[0] = 0;
    cu[n] = N;
    for (size_t k = 1; k < n; k++) {
        u = u * 1664525u + 1013904223u;
        cu[k] = (int32_t)((u >> 8) % (N + 1));
        for (size_t j = k; j > 1 && cu[j] < cu[j - 1]; j--) {
            int32_t x = cu[j];
            cu[j] = cu[j - 1];
            cu[j - 1] = x;
        }
    }
    return n;
}

/* How many graphs a run has: one for each rounded number of documents, and rounded
 * length of the longest. */
static size_t classes(void)
{
    bool seen[4] = {false};
    size_t n = 0;
    for (unsigned i = 0; i < PASSES; i++) {
        int32_t cu[N + 1], longest = 0;
        size_t segs = bounds(i, cu);
        for (size_t k = 0; k < segs; k++)
            longest = cu[k + 1] - cu[k] > longest ? cu[k + 1] - cu[k] : longest;
        bool *s = &seen[2 * (segs > 16) + (longest > 128)];
        n += !*s;
        *s = true;
    }
    return n;
}

struct way {
    const char *name, *cudnn;
    enum kj_dtype type;
    size_t dim;
};

struct net {
    struct kj_backend *b;
    size_t dim, width;
    struct kj_tensor *qkv, *o, *lse, *d_o, *dqkv;
};

static struct kj_mat part(const struct net *n, struct kj_tensor *t, size_t head)
{
    return kj_mat(t, head * n->dim, n->width);
}

static void attend(struct net *n, size_t segs, const int32_t *cu)
{
    const struct kj_ops *o = n->b->ops;
    size_t h = HEADS * n->dim;
    struct kj_attn a = {.q = part(n, n->qkv, 0),
                        .k = part(n, n->qkv, HEADS),
                        .v = part(n, n->qkv, HEADS + KV),
                        .o = kj_mat(n->o, 0, h),
                        .lse = kj_mat(n->lse, 0, HEADS),
                        .heads = HEADS,
                        .kv_heads = KV,
                        .dim = n->dim,
                        .scale = 0.2f,
                        .segs = segs,
                        .cu_q = cu,
                        .cu_k = cu};
    struct kj_attn_grad g = {.d_o = kj_mat(n->d_o, 0, h),
                             .dq = part(n, n->dqkv, 0),
                             .dk = part(n, n->dqkv, HEADS),
                             .dv = part(n, n->dqkv, HEADS + KV)};
    o->attention(n->b, &a);
    o->attention_back(n->b, &a, &g);
}

/* One behind the other: attention's output and log sums, then gradients. */
struct result {
    float o[N * HEADS * 64], lse[N * HEADS], dqkv[N * (HEADS + 2 * KV) * 64];
};

static void pass(struct net *n, unsigned i, struct result *r)
{
    static float x[N * (HEADS + 2 * KV) * 64];
    const struct kj_ops *o = n->b->ops;
    int32_t cu[N + 1], other[] = {0, 4, 9, N};
    size_t all = N * n->width, h = N * HEADS * n->dim, segs = bounds(i, cu);
    for (size_t k = 0; k < all; k++)
        x[k] = (float)((k * 7919 + i * 104729) % 2003) / 1001.5f - 1;
    o->write(n->b, n->qkv, 0, x, all);
    o->write(n->b, n->d_o, 0, x + 1, h);
    if (o->section_begin(n->b, 5, segs, cu))
        do
            attend(n, segs, cu);
        while (o->section_end(n->b));
    o->read(n->b, n->o, 0, r->o, h);
    o->read(n->b, n->lse, 0, r->lse, N * HEADS);
    o->read(n->b, n->dqkv, 0, r->dqkv, all);
    if (i % 3 == 1) /* others, outside, where a plan may put its own */
        attend(n, 3, other);
}

static void run(const struct way *w, bool graphs, struct result r[PASSES])
{
    struct kj_err err = KJ_ERR_INIT;
    struct kj_backend *b = NULL;
    setenv("KIJIL_CUDA_GRAPHS", graphs ? "1" : "0", 1);
    setenv("KIJIL_CUDNN", w->cudnn, 1);
    if (!CHECK_INT(kj_backend_open(&b, "cuda", 1, &err), KJ_OK)) {
        printf("     %s\n", err.msg);
        return;
    }
    const struct kj_ops *o = b->ops;
    struct net n = {.b = b, .dim = w->dim, .width = (HEADS + 2 * KV) * w->dim};
    n.qkv = o->tensor_new(b, w->type, N * n.width);
    n.o = o->tensor_new(b, w->type, N * HEADS * w->dim);
    n.lse = o->tensor_new(b, KJ_F32, N * HEADS);
    n.d_o = o->tensor_new(b, w->type, N * HEADS * w->dim);
    n.dqkv = o->tensor_new(b, w->type, N * n.width);
    struct emulated_counts was = emulated_counts();
    for (unsigned i = 0; i < PASSES; i++)
        pass(&n, i, &r[i]);
    struct emulated_counts now = emulated_counts();
    /* Each class runs once before it is captured, the first twice, for memory grows; one
     * that has cuDNN make a plan has the others begin again. */
    size_t k = classes(), again = *w->cudnn == '1' ? k - 1 : 0;
    if (!CHECK(graphs ? now.replays - was.replays >= PASSES - k - 1 - again &&
                            now.graphs - was.graphs <= k + again
                      : now.replays == was.replays))
        printf("     %s: %d replays of %d graphs\n", w->name,
               (int)(now.replays - was.replays), (int)(now.graphs - was.graphs));
    if (!CHECK_INT(o->sync(b, &err), KJ_OK))
        printf("     %s: %s\n", w->name, err.msg);
    struct kj_tensor *t[] = {n.qkv, n.o, n.lse, n.d_o, n.dqkv};
    for (size_t i = 0; i < sizeof t / sizeof *t; i++)
        o->tensor_free(b, t[i]);
    CHECK_INT(emulated_counts().nodes, 0); /* no graph survives them */
    kj_backend_close(b);
}

/* cuDNN adds up dQ in another order each time. */
static bool near(const float *a, const float *b, size_t n)
{
    double d = 0, s = 0;
    for (size_t i = 0; i < n; i++) {
        d += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        s += (double)b[i] * (double)b[i];
    }
    return s > 0 && d < 1e-5 * s;
}

static void same(const struct way *w, const char *order)
{
    static struct result r[2][PASSES];
    memset(r, 0, sizeof r);
    setenv("KJ_EMU_ORDER", order, 1);
    run(w, false, r[0]);
    run(w, true, r[1]);
    size_t n = N * (HEADS + 2 * KV) * w->dim;
    for (unsigned i = 0; i < PASSES; i++) {
        const struct result *a = &r[1][i], *b = &r[0][i];
        if (!CHECK(memcmp(a->o, b->o, sizeof a->o) == 0 &&
                   memcmp(a->lse, b->lse, sizeof a->lse) == 0) ||
            !CHECK(*w->cudnn == '1' ? near(a->dqkv, b->dqkv, n)
                                    : memcmp(a->dqkv, b->dqkv, sizeof a->dqkv) == 0))
            printf("     %s, %s: pass %u\n", w->name, order, i);
        CHECK(fabsf(a->o[n / 4]) > 0);
    }
}

int main(void)
{
    static const struct way ways[] = {
        {"any", "0", KJ_F32, 8},
        {"mma", "0", KJ_BF16, 64},
        {"cudnn", "1", KJ_BF16, 64},
    };
    static const char *const orders[] = {"reverse", "20261"};
    CHECK(emulated_gpu(true));
    CHECK_INT(classes(), 3);
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
        same(&ways[i], orders[i % 2]);
    return test_end();
}
