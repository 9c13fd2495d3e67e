/* test_memory.c - the count of a run's memory beside what is taken: a dozen shapes on
 * the CPU and on an emulated GPU; the level that `auto` takes; what would fit. */
#include "tests/unit/emulated.h"

#include <stdlib.h>

#include "base/mem.h"
#include "trainer/llama_internal.h"
#include "trainer/memory.h"
#include "trainer/muon.h"

/* Emulated threads are slow under sanitizers. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SLOW 1
#else
#define SLOW 0
#endif

static struct kj_run run_of(int64_t hidden, int64_t ffn, int64_t layers, int64_t heads,
                            int64_t kv, int64_t dim, int64_t vocab, bool tied)
{
    struct kj_run r;
    CHECK_INT(kj_run_init(&r, NULL), KJ_OK);
    r.model = (struct kj_shape){.vocab_size = vocab,
                                .hidden = hidden,
                                .ffn = ffn,
                                .layers = layers,
                                .heads = heads,
                                .kv_heads = kv,
                                .head_dim = dim,
                                .max_positions = 64,
                                .rope_theta = 1e4,
                                .norm_eps = 1e-5,
                                .tied = tied,
                                .init_range = 0.02};
    r.data.seq_len = 32;
    r.data.batch = 8;
    r.data.micro = 2;
    r.schedule.steps = 1;
    r.optim.loss_chunk = 16;
    CHECK_INT(kj_run_resolve(&r, 0, NULL), KJ_OK);
    return r;
}

/* Make what a run makes and run one pass and one update of it, as train.c does. */
static void one_step(struct kj_backend *b, const struct kj_run *r, int ranks)
{
    const struct kj_ops *o = b->ops;
    size_t n = (size_t)(r->data.micro * r->data.seq_len), seconds;
    struct kj_llama_how how = kj_llama_how_of(r, ranks - 1, ranks);
    enum kj_dtype type = r->optim.states ? KJ_BF16 : KJ_F32;
    struct kj_llama *m;
    struct kj_muon *muon = NULL;
    struct kj_err err = KJ_ERR_INIT;
    CHECK_INT(kj_llama_make(&m, b, &r->model, &how, &err), KJ_OK);
    seconds = m->own;
    if (r->optim.kind == KJ_OPTIM_MUON) {
        muon = kj_muon_new(b, &r->model);
        free(kj_muon_seconds(m->params, m->n_params, &seconds));
    }
    struct kj_tensor *t[2] = {o->tensor_new(b, type, m->own),
                              o->tensor_new(b, type, seconds)};
    int32_t *ids = kj_xcalloc(3 * n, sizeof *ids), *pos = ids + n, *targets = pos + n;
    const int32_t cu[] = {0, (int32_t)n / 2, (int32_t)n};
    for (size_t i = 0; i < n; i++) {
        ids[i] = targets[i] = (int32_t)(i % (size_t)r->model.vocab_size);
        pos[i] = (int32_t)(i % (n / 2));
    }
    struct kj_rows rows = {n, ids, pos, targets, 2, cu};
    double sum;
    kj_llama_init(m, 1);
    if (!CHECK_INT(kj_llama_loss(m, &rows, true, 1, 0, &sum, NULL, &err), KJ_OK))
        printf("     %s\n", err.msg);
    for (size_t i = 0; i < m->n_spans; i++) {
        const struct kj_span *s = &m->spans[i];
        size_t len = muon ? seconds : s->to - s->from;
        o->sumsq(b, kj_llama_grad(m, s), s->to - s->from);
        o->adamw(b, kj_llama_master(m, s), kj_llama_grad(m, s), kj_mat(t[0], s->at, 1),
                 kj_mat(t[1], s->at, 1), len, &(struct kj_adamw){.eps = 1});
    }
    struct kj_tensor *low = type == KJ_BF16 ? m->w : m->low;
    if (low) {
        float *host = kj_xcalloc(m->n, sizeof *host);
        o->read(b, low, 0, host, m->n);
        free(host);
    }
    CHECK_INT(o->sync(b, NULL), KJ_OK);
    o->tensor_free(b, t[0]);
    o->tensor_free(b, t[1]);
    kj_muon_free(muon);
    kj_llama_free(m);
    free(ids);
    CHECK_INT(b->bytes, 0);
}

/* Tensors to 64 bytes each (the CPU rounds them up), workspaces of a GPU at most, and
 * both together within 3 %. Of several ranks the last, without what exchanges take. */
static void counted(const char *device, const struct kj_run *r, int ranks)
{
    struct kj_backend *b = NULL;
    struct kj_machine m;
    struct kj_memory_plan p;
    if (!CHECK_INT(kj_backend_open(&b, device, 1, NULL), KJ_OK))
        return;
    kj_machine_open(&m, b, ranks);
    kj_memory_plan(r, &m, &p);
    CHECK(m.left > 0 && p.fits && p.recompute == (enum kj_recompute)r->optim.recompute);
    one_step(b, r, ranks);
    int64_t tensors = p.all - p.bytes[KJ_MEM_WORK];
    bool good = CHECK(b->peak >= tensors && b->peak <= tensors + 64 * 20);
    if (m.gpu && ranks == 1)
        good &= CHECK(b->work <= p.bytes[KJ_MEM_WORK] &&
                      (double)(b->peak + b->work) > 0.97 * (double)p.all);
    if (!good)
        printf("     %s: tensors %lld counted, %lld taken; work %lld and %lld\n",
               device, (long long)tensors, (long long)b->peak,
               (long long)p.bytes[KJ_MEM_WORK], (long long)b->work);
    kj_backend_close(b);
}

static void shapes(void)
{
    static const char *const devices[] = {"cpu", "cuda"};
    struct kj_run r[] = {
        run_of(64, 160, 2, 4, 2, 16, 300, true),
        run_of(64, 160, 3, 4, 4, 16, 300, false),
        run_of(96, 200, 2, 2, 1, 64, 500, false), /* cuDNN's heads */
        run_of(40, 72, 5, 4, 2, 6, 61, true),     /* nobody's */
        run_of(64, 64, 1, 8, 1, 8, 3000, false),  /* mostly head */
        run_of(128, 512, 2, 2, 2, 64, 128, true),
    };
    setenv("KIJIL_CUDNN", "1", 1);
    for (size_t d = 0; d < 2; d++)
        for (size_t i = 0; i < sizeof r / sizeof *r; i++)
            for (int low = 0; low < 4; low++) {
                struct kj_run x = r[i];
                if (SLOW && d == 1 && i != (size_t)low)
                    continue;
                bool bf16 = low > 0;
                x.optim.precision = low < 3 ? bf16 : KJ_PRECISION_FP8;
                x.optim.states = low == 2;
                x.optim.recompute = (int)(i + 3 * (size_t)low) % 6;
                x.optim.deeper = (int64_t)i / 3;
                x.optim.kind = i == 1 && !bf16 ? KJ_OPTIM_MUON : KJ_OPTIM_ADAMW;
                counted(devices[d], &x, 1);
                x.optim.zero = 1 + low % 2;
                if (d == 0 || i == (size_t)low)
                    counted(devices[d], &x, 2 + (int)i);
            }
    unsetenv("KIJIL_CUDNN");
}

/* FP8's codes, besides those that layers keep, lie where other things do at other times: of
 * what the largest would take by themselves, two fifths at most are more. */
static void codes(void)
{
    struct kj_run r = run_of(4096, 14336, 32, 32, 8, 128, 128256, false);
    struct kj_machine m;
    struct kj_llama_need f8[KJ_LT_COUNT], bf16[KJ_LT_COUNT];
    r.data.micro = 1;
    r.data.seq_len = 8192;
    r.optim.loss_chunk = 1024;
    r.optim.precision = KJ_PRECISION_FP8;
    kj_machine_gpu(&m, 0, 1);
    for (int level = 0; level < KJ_RECOMPUTE_AUTO; level++) {
        struct kj_llama_how how = kj_llama_how_of(&r, 0, 1);
        how.recompute = (enum kj_recompute)level;
        kj_llama_needs(&r.model, &how, true, f8);
        how.f8 = false;
        kj_llama_needs(&r.model, &how, true, bf16);
        size_t x = 8192 * 14336, w = 4096 * 2 * 14336, dy = 2 * x;
        size_t more = 2 * (f8[KJ_LT_REST].n - bf16[KJ_LT_REST].n);
        CHECK(more > 0 && 5 * more < 2 * (x + w + 2 * dy));
    }
}

/* The fewest bytes of each level; auto takes the first that fits. */
static void levels(void)
{
    struct kj_run r = run_of(4096, 14336, 32, 32, 8, 128, 128256, false);
    struct kj_machine m;
    struct kj_memory_plan p, q;
    int64_t last = INT64_MAX;
    r.data.micro = 8;
    r.data.seq_len = 1024;
    r.optim.precision = KJ_PRECISION_BF16;
    for (int level = 0; level < KJ_RECOMPUTE_AUTO; level++) {
        kj_machine_gpu(&m, 0, 1);
        r.optim.recompute = level;
        kj_memory_plan(&r, &m, &p);
        CHECK(p.fits && p.all < last);
        last = p.all;
        m.left = p.all;
        r.optim.recompute = KJ_RECOMPUTE_AUTO;
        kj_memory_plan(&r, &m, &q);
        CHECK(q.fits);
        CHECK_INT(q.recompute, level);
        CHECK_INT(q.all, p.all);
    }
    /* In no more layers than needed: one less does not fit. */
    r.optim.recompute = KJ_RECOMPUTE_FFN;
    kj_machine_gpu(&m, 0, 1);
    kj_memory_plan(&r, &m, &p);
    m.left = p.all;
    r.optim.recompute = KJ_RECOMPUTE_NORM;
    kj_memory_plan(&r, &m, &q);
    m.left += (q.all - p.all) / 3;
    r.optim.recompute = KJ_RECOMPUTE_AUTO;
    kj_memory_plan(&r, &m, &p);
    CHECK(p.fits && p.recompute == KJ_RECOMPUTE_NORM && p.deeper > 16 && p.deeper < 28);
    r.optim.recompute = KJ_RECOMPUTE_NORM;
    for (int more = 0; more < 2; more++) {
        r.optim.deeper = p.deeper - !more;
        kj_memory_plan(&r, &m, &q);
        CHECK_INT(q.fits, more);
    }
    CHECK_INT(q.all, p.all);
    r.optim.deeper = 0;
    r.optim.recompute = KJ_RECOMPUTE_AUTO;
    m.left = last - 1;
    kj_memory_plan(&r, &m, &q);
    CHECK(!q.fits && q.recompute == KJ_RECOMPUTE_BLOCK);
    CHECK_INT(kj_memory_settle(&r, &m, NULL), KJ_USAGE);
    CHECK_INT(r.optim.recompute, KJ_RECOMPUTE_AUTO);
    m.left = last;
    CHECK_INT(kj_memory_settle(&r, &m, NULL), KJ_OK);
    CHECK_INT(r.optim.recompute, KJ_RECOMPUTE_BLOCK);
}

/* What is named in a message does fit, by the count of that run. */
static void advice(void)
{
    struct kj_run r = run_of(1792, 8064, 32, 24, 8, 128, 128256, true), x;
    struct kj_machine m;
    struct kj_memory_plan p;
    char text[512], want[64];
    r.data.seq_len = 8192;
    r.data.micro = 8;
    r.data.batch = 64;
    r.optim.precision = KJ_PRECISION_BF16;
    r.optim.recompute = KJ_RECOMPUTE_NONE;
    kj_machine_gpu(&m, (int64_t)80 << 30, 1);
    kj_memory_plan(&r, &m, &p);
    CHECK(!p.fits);
    kj_memory_advice(&r, &m, text, sizeof text);
    snprintf(want, sizeof want, "needs %.1f of %.1f GB: ", (double)p.all * 1e-9,
             (double)m.left * 1e-9);
    CHECK(strstr(text, want) == text);
    x = r;
    x.data.micro = 2;
    kj_memory_plan(&x, &m, &p);
    CHECK(p.fits);
    snprintf(want, sizeof want, "data.micro_sequences: 2 (%.1f)", (double)p.all * 1e-9);
    if (!CHECK(strstr(text, want) != NULL))
        printf("     %s\n", text);
    x.data.micro = 3;
    kj_memory_plan(&x, &m, &p);
    CHECK(!p.fits);
    /* Several together; then nothing. */
    kj_machine_gpu(&m, (int64_t)41 << 30, 1);
    kj_memory_advice(&r, &m, text, sizeof text);
    const char *micro = strstr(text, " Fits with optim.recompute: block and data.micro_"
                                     "sequences: ");
    if (!CHECK(micro && strstr(micro, " together (") && !strstr(micro, ", or ")))
        printf("     %s\n", text);
    x.optim.recompute = KJ_RECOMPUTE_BLOCK;
    x.data.micro = micro ? strtoll(strrchr(micro, ':') + 1, NULL, 10) : 0;
    kj_memory_plan(&x, &m, &p);
    CHECK(x.data.micro >= 1 && p.fits);
    x.data.micro++;
    kj_memory_plan(&x, &m, &p);
    CHECK(!p.fits);
    kj_machine_gpu(&m, (int64_t)4 << 30, 1);
    kj_memory_advice(&r, &m, text, sizeof text);
    CHECK(strstr(text, "No setting makes it fit") != NULL);
    /* One pass a step is nothing to share; float32 may become bfloat16. */
    r.data.batch = 8;
    r.optim.precision = KJ_PRECISION_F32;
    r.data.micro = 1;
    r.optim.recompute = KJ_RECOMPUTE_NORM;
    kj_machine_gpu(&m, (int64_t)70 << 30, 1);
    kj_memory_advice(&r, &m, text, sizeof text);
    if (!CHECK(strstr(text, "or optim.precision: bf16 (") != NULL))
        printf("     %s\n", text);
    m.bf16 = false;
    kj_memory_advice(&r, &m, text, sizeof text);
    CHECK(strstr(text, "precision") == NULL);
}

int main(void)
{
    CHECK(emulated_gpu(false));
    shapes();
    codes();
    levels();
    advice();
    return test_end();
}
