/* test_recompute.c - what layers make again instead of keeping it changes no bit of
 * the gradients, on the CPU and on an emulated GPU, and each level takes less memory. */
#include "tests/unit/emulated.h"

#include <stdlib.h>

#include "base/mem.h"
#include "trainer/llama.h"

/* Emulated threads are slow under sanitizers. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SLOW 1
#else
#define SLOW 0
#endif

enum { N = 32, LEVELS = KJ_RECOMPUTE_BLOCK + 1 };
static int32_t ids[N], pos[N], targets[N];
static const int32_t cu[] = {0, 3, 22, N}, cu2[] = {0, 17, 25};

static struct kj_rows rows(const int32_t *bounds, size_t segs, int seed, int vocab)
{
    for (size_t s = 0; s < segs; s++)
        for (int32_t i = bounds[s]; i < bounds[s + 1]; i++) {
            ids[i] = (i * 7 + seed) % vocab;
            pos[i] = i - bounds[s];
            targets[i] = i % 5 == 4 ? -1 : (i * 11 + seed) % vocab;
        }
    return (struct kj_rows){(size_t)bounds[segs], ids, pos, targets, segs, bounds};
}

/* The gradients of two passes of different lengths. */
static float *gradients(struct kj_backend *b, const struct kj_shape *s,
                        struct kj_llama_how how, struct kj_teacher *t, double sums[4],
                        size_t *n, int64_t *bytes)
{
    struct kj_llama *m;
    struct kj_err err = KJ_ERR_INIT;
    int64_t before = b->bytes;
    int rc = kj_llama_make(&m, b, s, &how, &err);
    if (!CHECK_INT(rc, KJ_OK))
        return NULL;
    *bytes = b->bytes - before;
    kj_llama_init(m, 4);
    for (int i = 0; i < 2; i++) {
        struct kj_rows r = i ? rows(cu2, 2, 5, (int)s->vocab_size)
                             : rows(cu, 3, 3, (int)s->vocab_size);
        rc = t->m ? kj_llama_distil(m, t, &r, true, 0.5f, 1e-3f, &sums[2 * i],
                                    &sums[2 * i + 1], &err)
                  : kj_llama_loss(m, &r, true, 0.5f, 1e-3f, &sums[2 * i], NULL, &err);
        if (!CHECK_INT(rc, KJ_OK))
            printf("     %s\n", err.msg);
    }
    float *g = kj_xmalloc(m->n * sizeof *g);
    b->ops->read(b, m->g, 0, g, m->n);
    CHECK_INT(b->ops->sync(b, NULL), KJ_OK);
    *n = m->n;
    kj_llama_free(m);
    CHECK_INT(b->bytes, before);
    return g;
}

/* What a model multiplies, and what it is held in. */
enum { F32, BF16, STATES, F8, F8_STATES, KINDS };

static void levels(struct kj_backend *b, const struct kj_shape *s, int kind,
                   bool taught)
{
    static const char *const names[] = {"f32", "bf16", "bf16 states", "fp8",
                                        "fp8, bf16 states"};
    struct kj_teacher t = {NULL, 0.75, 2};
    struct kj_llama_how how = {.tokens = N,
                               .chunk = 7,
                               .bf16 = kind > F32,
                               .states_bf16 = kind == STATES || kind == F8_STATES};
    double want[4] = {0}, got[4] = {0};
    float *first = NULL;
    int64_t last = 0;
    if (taught) {
        struct kj_shape other = *s;
        other.hidden = 24;
        other.layers = 2;
        CHECK_INT(kj_llama_make(&t.m, b, &other, &how, NULL), KJ_OK);
        kj_llama_init(t.m, 5);
    }
    how.train = true;
    how.f8 = kind >= F8;
    bool slow = strcmp(b->ops->name, "cpu") != 0; /* an emulator */
    for (int i = 0; i < 2 * LEVELS - 1; i++) {
        size_t n = 0;
        int64_t bytes = 0;
        int level = i / 2;
        how.recompute = (enum kj_recompute)level;
        how.deeper = i % 2; /* the first layer goes on to the next level */
        if (how.deeper && slow && kind != BF16 && kind != F8)
            continue;
        float *g = gradients(b, s, how, &t, i ? got : want, &n, &bytes);
        if (!first) {
            first = g;
            last = bytes;
            continue;
        }
        if (!CHECK(g && memcmp(g, first, n * sizeof *g) == 0) ||
            !CHECK(memcmp(got, want, sizeof got) == 0) ||
            !CHECK(how.deeper || bytes < last))
            printf("     %s, level %d, %s%s%s: %lld bytes after %lld\n", b->ops->name,
                   level, names[kind], s->tied ? ", tied" : "",
                   taught ? ", taught" : "", (long long)bytes, (long long)last);
        last =
            how.deeper ? last : bytes; /* one layer less may pay for what is shared */
        free(g);
    }
    free(first);
    kj_llama_free(t.m);
    CHECK_INT(b->bytes, 0);
}

/* Grouped keys; heads * head_dim is not hidden; on a GPU heads of 64 in bfloat16 go
 * another way than others. */
static const struct kj_shape grouped = {.vocab_size = 61,
                                        .hidden = 40,
                                        .ffn = 72,
                                        .layers = 3,
                                        .heads = 4,
                                        .kv_heads = 2,
                                        .head_dim = 16,
                                        .max_positions = 64,
                                        .rope_theta = 100,
                                        .norm_eps = 1e-5,
                                        .init_range = 0.25};

static void device(struct kj_backend *b)
{
    struct kj_shape tied = grouped, wide = grouped;
    tied.tied = true;
    wide.head_dim = 64;
    wide.heads = wide.kv_heads = 2;
    wide.layers = 2;
    bool cpu = strcmp(b->ops->name, "cpu") == 0;
    b->deterministic = true; /* cuDNN's sums may differ from call to call */
    for (int kind = 0; kind < KINDS; kind++) {
        /* FP8 are maps whose sides are multiples of 16: here none, two, all. */
        if (kind >= F8) {
            wide.hidden = tied.hidden = 48;
            wide.ffn = 80;
        }
        if (SLOW && !cpu) {
            if (kind == BF16)
                levels(b, &grouped, kind, false);
            continue;
        }
        if (kind != F8_STATES)
            levels(b, &grouped, kind, false);
        levels(b, &tied, kind, true);
        if (cpu || kind == BF16 || kind == F8)
            levels(b, &wide, kind, false);
    }
    kj_backend_close(b);
}

int main(void)
{
    struct kj_backend *b = NULL;
    struct kj_err err = KJ_ERR_INIT;
    CHECK(emulated_gpu(false));
    if (CHECK_INT(kj_backend_open(&b, "cpu", 2, NULL), KJ_OK))
        device(b);
    setenv("KJ_EMU_ORDER", "reverse", 1);
    setenv("KIJIL_CUDNN", "0", 1); /* trying it takes longer than all of this */
    if (CHECK_INT(kj_backend_open(&b, "cuda", 1, &err), KJ_OK))
        device(b);
    else
        printf("     %s\n", err.msg);
    return test_end();
}
