/* test_sections.c - sections of operations and copies, on an emulated GPU: the same
 * bytes with and without graphs, whatever comes between; what the device is asked
 * for is counted. */
#include "tests/unit/emulated.h"

#include <stdlib.h>

#include "nn/backend.h"

static const char *const orders[] = {"reverse", "forward", "20261"};
/* Under sanitizers, which make fibers slow, less of everything. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { ORDERS = 1, SPOIL_STEP = 5, REPLAYS = 5, ROUNDS = 1 };
#else
enum { ORDERS = 3, SPOIL_STEP = 1, REPLAYS = 100, ROUNDS = 3 };
#endif

static struct kj_backend *device(const char *order, bool graphs)
{
    struct kj_backend *b = NULL;
    struct kj_err err = KJ_ERR_INIT;
    setenv("KJ_EMU_ORDER", order, 1);
    setenv("KIJIL_CUDA_GRAPHS", graphs ? "1" : "0", 1);
    if (!CHECK_INT(kj_backend_open(&b, "cuda", 1, &err), KJ_OK))
        printf("     %s\n", err.msg);
    return b;
}

enum { N = 12, H = 24, V = 30 };

/* Something like a layer, over tensors that the test writes to between passes. */
struct net {
    struct kj_backend *b;
    struct kj_tensor *w, *x, *y, *ids, *acc, *qkv, *o, *spare;
};

static struct net net_new(struct kj_backend *b)
{
    const struct kj_ops *o = b->ops;
    static float w[V * H];
    struct net n = {.b = b,
                    .w = o->tensor_new(b, KJ_F32, V * H),
                    .x = o->tensor_new(b, KJ_F32, N * H),
                    .y = o->tensor_new(b, KJ_F32, N * H),
                    .ids = o->tensor_new(b, KJ_I32, N),
                    .acc = o->tensor_new(b, KJ_I32, 2),
                    .qkv = o->tensor_new(b, KJ_F32, N * 3 * H),
                    .o = o->tensor_new(b, KJ_F32, N * H)};
    for (size_t i = 0; i < V * H; i++)
        w[i] = (float)(i * 7919 % 1013) / 1013.0f - 0.5f;
    o->write(b, n.w, 0, w, V * H);
    return n;
}

static void net_free(struct net *n)
{
    struct kj_tensor *t[] = {n->w, n->x, n->y, n->ids, n->acc, n->qkv, n->o, n->spare};
    for (size_t i = 0; i < sizeof t / sizeof *t; i++)
        n->b->ops->tensor_free(n->b, t[i]);
}

static void set_ids(struct net *n, unsigned seed)
{
    int32_t ids[N];
    for (unsigned i = 0; i < N; i++)
        ids[i] = (int32_t)((i * 11 + seed * 7) % V);
    n->b->ops->write(n->b, n->ids, 0, ids, N);
}

/* What a section does that no graph can hold, at the given place. */
enum spoil { NOTHING, READ, SYNC, SUMSQ, TENSOR, FREE, WRITE };

static void spoil(struct net *n, enum spoil how)
{
    const struct kj_ops *o = n->b->ops;
    float x[4] = {0};
    switch (how) {
    case NOTHING:
        break;
    case READ:
        o->read(n->b, n->x, 0, x, 4);
        CHECK(x[0] < 0 || x[0] > 0);
        break;
    case SYNC:
        CHECK_INT(o->sync(n->b, NULL), KJ_OK);
        break;
    case SUMSQ:
        CHECK(o->sumsq(n->b, kj_mat(n->x, 0, H), N * H) > 0);
        break;
    case TENSOR:
    case FREE:
        if (!n->spare)
            n->spare = o->tensor_new(n->b, KJ_F32, 100);
        if (how == TENSOR)
            break;
        o->tensor_free(n->b, n->spare);
        n->spare = NULL;
        break;
    case WRITE:
        o->write(n->b, n->o, 0, x, 4);
        break;
    }
}

static void ops(struct net *n, int32_t cut, enum spoil how)
{
    const struct kj_ops *o = n->b->ops;
    struct kj_mat x = kj_mat(n->x, 0, H), y = kj_mat(n->y, 0, H);
    struct kj_mat qkv = kj_mat(n->qkv, 0, 3 * H), w = kj_mat(n->w, 0, H);
    int32_t cu[] = {0, cut, N};
    o->embed(n->b, x, w, kj_mat(n->ids, 0, 1), N, H);
    o->matmul(n->b, y, x, w, N, H, H, KJ_MM_TB);
    spoil(n, how);
    for (size_t i = 0; i < 3; i++)
        o->matmul(n->b, kj_mat(n->qkv, i * H, 3 * H), y, kj_mat(n->w, i * 3 * H, H), N,
                  H, H, KJ_MM_TB);
    struct kj_attn a = {.q = qkv,
                        .k = kj_mat(n->qkv, H, 3 * H),
                        .v = kj_mat(n->qkv, (size_t)(2 * H), 3 * H),
                        .o = kj_mat(n->o, 0, H),
                        .heads = 3,
                        .kv_heads = 3,
                        .dim = 8,
                        .scale = 0.3f,
                        .segs = 2,
                        .cu_q = cu,
                        .cu_k = cu};
    o->attention(n->b, &a);
    o->add_sum(n->b, kj_mat(n->acc, 0, 1), kj_mat(n->o, 0, H), N * H, true);
}

static double pass(struct net *n, uint64_t key, int32_t cut, enum spoil how)
{
    double sum = -1;
    if (n->b->ops->section_begin(n->b, kj_section_key(n->w, &key, 1), 0, NULL))
        do
            ops(n, cut, how);
        while (n->b->ops->section_end(n->b));
    n->b->ops->read(n->b, n->acc, 0, &sum, 2);
    return sum;
}

/* Passes over changing tokens, two sections in turn, with other things between. */
enum { PASSES = 30 };

static void story(struct kj_backend *b, enum spoil how, double sum[PASSES],
                  float out[N * H])
{
    struct kj_err err = KJ_ERR_INIT;
    struct net n = net_new(b);
    for (unsigned i = 0; i < PASSES; i++) {
        set_ids(&n, i);
        sum[i] = pass(&n, i % 2, i % 2 ? 5 : 9, i % 2 ? NOTHING : how);
        if (i == 15) /* other segments, eight and more of them */
            for (int32_t cut = 1; cut < N; cut++)
                ops(&n, cut, NOTHING);
        if (i == 20) { /* memory is given back, and scratch memory grows */
            struct kj_tensor *t = b->ops->tensor_new(b, KJ_F32, 3 << 20);
            CHECK(b->ops->sumsq(b, kj_mat(t, 0, 1), 3 << 20) <= 0);
            b->ops->tensor_free(b, t);
        }
    }
    b->ops->read(b, n.o, 0, out, N * H);
    if (!CHECK_INT(b->ops->sync(b, &err), KJ_OK))
        printf("     %s\n", err.msg);
    net_free(&n);
}

static void same_bytes(void)
{
    for (int k = 0; k < ORDERS; k++)
        for (int how = NOTHING; how <= WRITE; how += SPOIL_STEP) {
            double sum[2][PASSES];
            float out[2][N * H];
            struct emulated_counts n = {0};
            for (int graphs = 0; graphs < 2; graphs++) {
                struct kj_backend *b = device(orders[k], graphs == 1);
                if (!b)
                    return;
                n = emulated_counts();
                story(b, (enum spoil)how, sum[graphs], out[graphs]);
                struct emulated_counts now = emulated_counts();
                n.replays = now.replays - n.replays;
                n.graphs = now.graphs - n.graphs;
                if (!graphs)
                    CHECK_INT(n.replays, 0);
                CHECK_INT(b->bytes, 0);
                kj_backend_close(b);
            }
            CHECK(memcmp(sum[0], sum[1], sizeof sum[0]) == 0);
            CHECK(memcmp(out[0], out[1], sizeof out[0]) == 0);
            /* Where something is always in the way, that key is soon left alone; but
             * with what frees memory all begin again each time. */
            if (how != FREE && !CHECK(n.replays >= 10 && n.graphs <= 12))
                printf("     %d: %d replays of %d graphs\n", how, (int)n.replays,
                       (int)n.graphs);
        }
}

/* A pass that is replayed is one launch and one wait, and allocates nothing. */
static void what_a_replay_costs(void)
{
    struct kj_backend *b = device("forward", true);
    if (!b)
        return;
    struct net n = net_new(b);
    for (unsigned i = 0; i < 4; i++)
        pass(&n, 0, 5, NOTHING);
    struct emulated_counts was = emulated_counts();
    for (unsigned i = 0; i < REPLAYS; i++) {
        set_ids(&n, i);
        CHECK(pass(&n, 0, 5, NOTHING) > 0);
    }
    struct emulated_counts now = emulated_counts();
    CHECK_INT(now.replays - was.replays, REPLAYS);
    CHECK_INT(now.waits - was.waits, REPLAYS);
    CHECK_INT(now.launches - was.launches, 0);
    CHECK_INT(now.mallocs - was.mallocs + now.frees - was.frees, 0);
    CHECK_INT(now.graphs - was.graphs, 0);
    net_free(&n);
    kj_backend_close(b);
}

/* More keys than are known at a time. */
static void many_keys(void)
{
    struct kj_backend *b = device("forward", true);
    if (!b)
        return;
    const struct kj_ops *o = b->ops;
    struct net n = net_new(b);
    double sum = 0, each = 0;
    set_ids(&n, 1);
    for (uint64_t round = 0; round < ROUNDS; round++) {
        for (uint64_t key = 0; key < 10; key++) {
            double was = sum;
            sum = pass(&n, key, 5, NOTHING);
            each = each > 0 ? each : sum;
            CHECK_NEAR(sum - was, each, 1e-9);
        }
        for (uint64_t key = 1000; key < 2100; key++) /* they make the others go */
            if (o->section_begin(b, key, 0, NULL))
                o->section_end(b);
    }
    for (int i = 0; i < 3; i++) /* and the last are there */
        pass(&n, 9, 5, NOTHING);
    struct emulated_counts was = emulated_counts();
    pass(&n, 9, 5, NOTHING);
    CHECK_INT(emulated_counts().replays - was.replays, 1);
    net_free(&n);
    kj_backend_close(b);
    CHECK_INT(emulated_counts().nodes, 0);
}

/* Graphs hold addresses: where memory is given back, none stays. */
static void freed(void)
{
    struct kj_backend *b = device("forward", true);
    if (!b)
        return;
    struct net n = net_new(b);
    set_ids(&n, 1);
    for (unsigned i = 0; i < 3; i++)
        pass(&n, 0, 5, NOTHING);
    CHECK(emulated_counts().nodes > 0);
    spoil(&n, FREE); /* a tensor that the section does not even have */
    CHECK_INT(emulated_counts().nodes, 0);
    struct emulated_counts was = emulated_counts();
    pass(&n, 0, 5, NOTHING);
    CHECK_INT(emulated_counts().replays - was.replays, 0);
    net_free(&n);
    kj_backend_close(b);
}

/* Graphs take their part of the memory and no more: here 24 nodes, three passes. */
static void little_memory(void)
{
    enum { MOST = 24 };
    setenv("KJ_EMU_MEMORY", "80", 1);
    struct kj_backend *b = device("forward", true);
    unsetenv("KJ_EMU_MEMORY");
    if (!b)
        return;
    struct net n = net_new(b);
    double sum = 0, each = 0;
    set_ids(&n, 1);
    for (unsigned i = 0; i < 60; i++) {
        double was = sum;
        /* Two that come all the time, and four of which each comes too seldom. */
        sum = pass(&n, i % 3 < 2 ? i % 3 : 2 + i / 3 % 4, 5, NOTHING);
        each = each > 0 ? each : sum;
        CHECK_NEAR(sum - was, each, 1e-9);
        CHECK(emulated_counts().nodes <= MOST);
    }
    CHECK(emulated_counts().nodes > MOST / 2);
    struct emulated_counts was = emulated_counts();
    for (unsigned i = 0; i < 24; i++)
        pass(&n, i % 3 < 2 ? i % 3 : 2 + i / 3 % 4, 5, NOTHING);
    struct emulated_counts now = emulated_counts();
    CHECK(now.replays - was.replays >= 16);
    CHECK_INT(now.graphs - was.graphs, 0); /* those are not made again and again */
    net_free(&n);
    kj_backend_close(b);
}

/* A device that has no memory for a graph, with others there: they go. */
static void no_memory(void)
{
    struct kj_backend *b = device("forward", true);
    if (!b)
        return;
    struct net n = net_new(b);
    double sum = 0, each = 0;
    set_ids(&n, 1);
    setenv("KJ_EMU_FAIL", "graph:3:2", 1);
    for (unsigned i = 0; i < 30; i++) {
        double was = sum;
        sum = pass(&n, i % 5, 5, NOTHING);
        each = each > 0 ? each : sum;
        CHECK_NEAR(sum - was, each, 1e-9);
    }
    unsetenv("KJ_EMU_FAIL");
    CHECK_INT(b->ops->sync(b, NULL), KJ_OK);
    CHECK_INT(emulated_counts().nodes, 0);
    net_free(&n);
    kj_backend_close(b);
}

/* A fault in a section that is captured is told as without, and leaves no graph; a
 * section that failed can be tried again. */
static void faults(void)
{
    struct kj_err err = KJ_ERR_INIT;
    struct kj_backend *b = device("forward", true);
    if (!b)
        return;
    const struct kj_ops *o = b->ops;
    struct net n = net_new(b);
    set_ids(&n, 1);
    for (int i = 0; i < 4; i++) {
        bool bad = i == 1;
        CHECK(o->section_begin(b, 77, 0, NULL));
        do {
            ops(&n, 5, NOTHING);
            if (bad)
                o->matmul(b, kj_mat(n.x, 0, H), kj_mat(n.x, 0, H), kj_mat(n.x, 0, H),
                          50, H, H, 0);
        } while (o->section_end(b));
        CHECK(!*b->note);
        CHECK_INT(o->sync(b, &err), bad ? KJ_FATAL : KJ_OK);
        if (bad)
            CHECK(strstr(err.msg, "matmul: of 50x24x24: ") != NULL);
        kj_err_reset(&err);
        if (i == 2)
            break; /* captured and kept */
    }
    CHECK(!o->section_begin(b, 77, 0, NULL));
    CHECK_INT(o->sync(b, &err), KJ_OK);
    /* What kernels complain of is found in a replay, too. */
    o->write(b, n.ids, 3, &(int32_t){500}, 1);
    CHECK(!o->section_begin(b, 77, 0, NULL));
    CHECK_INT(o->sync(b, &err), KJ_FATAL);
    CHECK(strstr(err.msg, "token 500 at 3 ") != NULL);
    kj_err_reset(&err);
    /* Behind a fault nothing runs, and nothing is captured. */
    o->zero(b, kj_mat(n.x, 0, 1), 100000);
    CHECK(o->section_begin(b, 77, 0, NULL));
    o->section_end(b);
    CHECK_INT(o->sync(b, &err), KJ_FATAL);
    kj_err_reset(&err);
    set_ids(&n, 1);
    CHECK(!o->section_begin(b, 77, 0, NULL));
    CHECK_INT(o->sync(b, &err), KJ_OK);
    net_free(&n);
    kj_backend_close(b);
}

/* What cannot be captured is done without: a call inside is refused, or the end. */
static void no_capture(const char *how)
{
    struct kj_backend *b = device("forward", true);
    if (!b)
        return;
    struct net n = net_new(b);
    double sum = 0, each = 0;
    set_ids(&n, 1);
    struct emulated_counts was = emulated_counts();
    for (unsigned i = 0; i < 12; i++) {
        double before = sum;
        if (i == 4)
            setenv("KJ_EMU_FAIL", how, 1);
        sum = pass(&n, i < 4 ? 0 : 1, 5, NOTHING);
        each = each > 0 ? each : sum;
        CHECK_NEAR(sum - before, each, 1e-9);
    }
    unsetenv("KJ_EMU_FAIL");
    CHECK_INT(b->ops->sync(b, NULL), KJ_OK);
    CHECK_INT(emulated_counts().replays - was.replays, 3); /* before that */
    if (!CHECK(strstr(b->note, "no CUDA graphs: ") != NULL &&
               strstr(b->note, ": operations are launched one by one") != NULL))
        printf("     %s\n", b->note);
    net_free(&n);
    kj_backend_close(b);
}

/* Long and short copies, of more than the ring holds, whose memory is changed as soon as
 * the call is back; operations between them see what they should. */
static void copies(enum kj_dtype type, const char *order)
{
    enum { MOST = 5000000 };
    static const size_t sizes[] = {3, 20000, 300000, MOST, 1, 700000, 20000};
    float *x = malloc(MOST * sizeof *x), *got = malloc(MOST * sizeof *got);
    struct kj_backend *b = device(order, true);
    if (!b || !x || !got)
        return;
    const struct kj_ops *o = b->ops;
    struct kj_tensor *t = o->tensor_new(b, type, MOST),
                     *u = o->tensor_new(b, type, MOST);
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        size_t n = sizes[k], bad = 0, late = 0;
        for (size_t i = 0; i < n; i++)
            x[i] = (float)((i * 31 + k) % 251);
        o->write(b, t, 0, x, n);
        for (size_t i = 0; i < n; i++)
            x[i] = -1;
        o->axpby(b, kj_mat(u, 0, 1), kj_mat(t, 0, 1), n, 1, 0);
        o->write(b, t, 0, x, n); /* over what axpby reads */
        o->read(b, u, 0, got, n);
        for (size_t i = 0; i < n; i++)
            bad += !(got[i] >= (float)((i * 31 + k) % 251) && /* NaN is neither */
                     got[i] <= (float)((i * 31 + k) % 251));
        o->read(b, t, 0, got, n);
        for (size_t i = 0; i < n; i++)
            late += !(got[i] >= -1 && got[i] <= -1);
        CHECK_INT(bad, 0);
        CHECK_INT(late, 0);
    }
    CHECK_INT(o->sync(b, NULL), KJ_OK);
    o->tensor_free(b, t);
    o->tensor_free(b, u);
    kj_backend_close(b);
    free(x);
    free(got);
}

/* Writes do not wait; sync() does not behind a read that did. */
static void waits(void)
{
    float x[1000] = {0};
    struct kj_backend *b = device("forward", true);
    if (!b)
        return;
    const struct kj_ops *o = b->ops;
    struct kj_tensor *t = o->tensor_new(b, KJ_F32, 1000);
    struct emulated_counts was = emulated_counts();
    for (int i = 0; i < 1000; i++)
        o->write(b, t, 0, x, 1000);
    CHECK_INT(emulated_counts().waits - was.waits, 0);
    o->read(b, t, 0, x, 1000);
    CHECK_INT(o->sync(b, NULL), KJ_OK);
    CHECK_INT(o->sync(b, NULL), KJ_OK);
    CHECK_INT(emulated_counts().waits - was.waits, 1);
    o->zero(b, kj_mat(t, 0, 1), 1000);
    CHECK_INT(o->sync(b, NULL), KJ_OK);
    CHECK_INT(emulated_counts().waits - was.waits, 2);
    o->tensor_free(b, t);
    kj_backend_close(b);
}

int main(void)
{
    CHECK(emulated_gpu(true));
    same_bytes();
    what_a_replay_costs();
    many_keys();
    freed();
    little_memory();
    no_memory();
    no_capture("capture:1:901");
    no_capture("launch:12:900");
    faults();
    for (int k = 0; k < ORDERS; k++) {
        copies(KJ_F32, orders[k]);
        copies(KJ_BF16, orders[k]);
    }
    waits();
    return test_end();
}
