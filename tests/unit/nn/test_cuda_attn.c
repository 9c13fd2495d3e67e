/* test_cuda_attn.c - which way attention goes on an emulated GPU: cuDNN's (plain loops
 * in its place, tests/cuda_emu/sdpa.cc) where it agrees with our own kernels, ours
 * where it is missing, wrong or short of memory; and the same bits where they are
 * asked for. */
#include "tests/unit/emulated.h"

#include <stdlib.h>

#include "nn/backend.h"

enum { HEADS = 2, KV = 1, DIM = 64, SEGS = 4, TOKENS = 99 };
enum { WQ = HEADS * DIM, WK = KV * DIM, WIDE = WQ + 2 * WK };

/* One call, forward and backward; q, k and v in one tensor as in training. */
struct result {
    float o[TOKENS * WQ], lse[TOKENS * HEADS], d[TOKENS * WIDE];
    char note[256];
    struct kj_err err;
};

static float number(unsigned i)
{
    i = (i + 7) * 2654435761u;
    i = (i ^ i >> 15) * 2246822519u;
    return (float)((i ^ i >> 13) >> 8) / 8388608.0f - 1.0f;
}

static struct kj_tensor *filled(struct kj_backend *b, size_t n, unsigned seed)
{
    struct kj_tensor *t = b->ops->tensor_new(b, KJ_BF16, n);
    float *x = malloc(n * sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = number((unsigned)i + seed * 100003u);
    b->ops->write(b, t, 0, x, n);
    free(x);
    return t;
}

static bool attend(struct result *r, bool deterministic)
{
    static const int32_t docs[] = {0, 1, 70, 70, 99};
    struct kj_backend *b = NULL;
    memset(r, 0, sizeof *r);
    kj_err_reset(&r->err);
    if (!CHECK_INT(kj_backend_open(&b, "cuda", 1, &r->err), KJ_OK))
        return false;
    const struct kj_ops *o = b->ops;
    b->deterministic = deterministic;
    struct kj_tensor *t[] = {filled(b, TOKENS * WIDE, 1), filled(b, TOKENS * WQ, 2),
                             filled(b, TOKENS * WQ, 3), filled(b, TOKENS * WIDE, 4),
                             o->tensor_new(b, KJ_F32, TOKENS * HEADS)};
    struct kj_attn a = {.q = kj_mat(t[0], 0, WIDE),
                        .k = kj_mat(t[0], WQ, WIDE),
                        .v = kj_mat(t[0], WQ + WK, WIDE),
                        .o = kj_mat(t[2], 0, WQ),
                        .lse = kj_mat(t[4], 0, HEADS),
                        .heads = HEADS,
                        .kv_heads = KV,
                        .dim = DIM,
                        .scale = 0.125f,
                        .segs = SEGS,
                        .cu_q = docs,
                        .cu_k = docs};
    struct kj_attn_grad g = {.d_o = kj_mat(t[1], 0, WQ),
                             .dq = kj_mat(t[3], 0, WIDE),
                             .dk = kj_mat(t[3], WQ, WIDE),
                             .dv = kj_mat(t[3], WQ + WK, WIDE)};
    o->attention(b, &a);
    o->attention_back(b, &a, &g);
    o->read(b, t[2], 0, r->o, TOKENS * WQ);
    o->read(b, t[4], 0, r->lse, TOKENS * HEADS);
    o->read(b, t[3], 0, r->d, TOKENS * WIDE);
    o->sync(b, &r->err);
    snprintf(r->note, sizeof r->note, "%s", b->note);
    for (size_t i = 0; i < sizeof t / sizeof *t; i++)
        o->tensor_free(b, t[i]);
    CHECK_INT(b->bytes, 0);
    kj_backend_close(b);
    return true;
}

static bool bits_of(const void *a, const void *b, size_t n)
{
    return memcmp(a, b, n) == 0;
}

static bool same(const struct result *a, const struct result *b)
{
    return bits_of(a->o, b->o, sizeof a->o) && bits_of(a->lse, b->lse, sizeof a->lse) &&
           bits_of(a->d, b->d, sizeof a->d);
}

/* emu: what goes wrong with cuDNN, or NULL. */
static bool with(struct result *r, const char *use, const char *emu, bool deterministic)
{
    if (use)
        setenv("KIJIL_CUDNN", use, 1);
    else
        unsetenv("KIJIL_CUDNN");
    if (emu)
        setenv("KJ_EMU_CUDNN", emu, 1);
    else
        unsetenv("KJ_EMU_CUDNN");
    return attend(r, deterministic);
}

static struct result own, first, again;

/* Taken by itself; not when it may not be. */
static void taken(void)
{
    if (!with(&own, "0", NULL, false) || !with(&first, NULL, NULL, false))
        return;
    CHECK(own.err.rc == KJ_OK && first.err.rc == KJ_OK);
    CHECK(!*own.note && !*first.note);
    CHECK(!same(&own, &first)); /* other roundings: it was cuDNN's place */
    float worst = 0;
    for (size_t i = 0; i < TOKENS * WIDE; i++) {
        float x = own.d[i] - first.d[i];
        worst = x > worst ? x : -x > worst ? -x : worst;
    }
    CHECK(worst < 0.02f);
    with(&again, "1", NULL, false);
    CHECK(again.err.rc == KJ_OK && bits_of(again.o, first.o, sizeof first.o));
}

/* dQ by atomics: not always the same bits, unless they are asked for. Two orders of so
 * few numbers may well round to the same bfloat16; thirty hardly do. */
static void bits(void)
{
    for (int i = 0; i < 30 && bits_of(again.d, first.d, sizeof first.d); i++)
        with(&again, "1", NULL, false);
    CHECK(!bits_of(again.d, first.d, sizeof first.d));
    with(&first, NULL, NULL, true);
    with(&again, NULL, NULL, true);
    CHECK(first.err.rc == KJ_OK && same(&first, &again));
    with(&again, "0", NULL, true); /* gradients from cuDNN's log sums and result */
    CHECK(!same(&first, &again) && same(&own, &again));
}

/* Whatever is wrong with it: our own kernels, and a note that says so. */
static void left(const char *emu, const char *note)
{
    with(&first, NULL, emu, false);
    CHECK_INT(first.err.rc, KJ_OK);
    CHECK(same(&first, &own));
    if (!CHECK(strstr(first.note, note) && strstr(first.note, "our own attention")))
        printf("     %s: %s\n", emu, first.note);
    with(&again, "1", emu, false);
    CHECK_INT(again.err.rc, KJ_FATAL);
    if (!CHECK(strstr(again.err.msg, "KIJIL_CUDNN=1: ") &&
               strstr(again.err.msg, note) &&
               strstr(again.err.msg, "attention: of 99x2x64: ")))
        printf("     %s: %s\n", emu, again.err.msg);
}

int main(void)
{
    CHECK(emulated_gpu(false));
    taken();
    bits();
    left("dq", "not right here: dQ is off by 0.");
    left("stale", "not right here: dQ is no number");
    left("missing", "no cuDNN: libcudnn.so.9");
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* slow fibers */
    left("beyond", "writes 64 bytes behind its scratch");
    left("none", "no engine");
    left("huge", "no GPU memory for cuDNN's 1099511.6 MB");
    left("o", "not right here: the result is off by 0.");
    left("lse", "not right here: the log sum is off by ");
    left("dk", "not right here: dK is off by 0.");
    left("dv", "not right here: dV is off by 0.");
#endif
    return test_end();
}
