/* memory.c - counting memory before it is taken.
 *
 * What would make a run fit is searched, not computed: each change is tried on a copy of
 * the run at its mildest, then all of them together, and the copy is counted like any
 * run. So a new switch that saves memory is one more function here, and a new
 * tensor is none.
 */
#include "trainer/memory.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "nn/backend.h"
#include "trainer/llama_internal.h"
#include "trainer/muon.h"

/* OpenBLAS's buffers, attention's blocks, stacks: found 4.5 MB on one thread (heads of
 * 64), 1.5 MB for each further one. */
#define OWN_BYTES    3000000
#define THREAD_BYTES 1500000
/* `kijil train` measures products of such matrices first: what they pack stays. */
#define PEAK 768

/* ---- machines ---- */

void kj_machine_open(struct kj_machine *m, struct kj_backend *b, int ranks)
{
    int64_t all;
    *m = (struct kj_machine){.gpu = strcmp(b->ops->name, "cpu") != 0,
                             .bf16 = b->ops->bf16,
                             .threads = b->threads,
                             .ranks = ranks};
    b->ops->memory(b, &m->left, &all);
    if (m->left == 0)
        return;
    m->left += b->bytes + b->work; /* what it holds already is counted, too */
    if (m->gpu)
        m->left -= all / 100;
}

void kj_machine_gpu(struct kj_machine *m, int64_t bytes, int ranks)
{
    *m = (struct kj_machine){
        .gpu = true, .bf16 = true, .left = bytes - bytes / 50, .ranks = ranks};
}

void kj_machine_cpu(struct kj_machine *m, int64_t bytes, unsigned threads, int ranks)
{
    *m = (struct kj_machine){.left = bytes, .threads = threads, .ranks = ranks};
}

/* ---- counting ---- */

static int64_t width_of(enum kj_dtype t)
{
    return t >= KJ_E4M3 ? 1 : t == KJ_BF16 ? 2 : 4;
}

static void count_model(const struct kj_shape *s, const struct kj_llama_how *how,
                        bool bf16, int64_t bytes[KJ_MEM_KINDS])
{
    struct kj_llama_need need[KJ_LT_COUNT];
    kj_llama_needs(s, how, bf16, need);
    for (size_t i = 0; i < KJ_LT_COUNT; i++)
        bytes[need[i].kind] += width_of(need[i].type) * (int64_t)need[i].n;
}

/* Without Muon each rank has its part of both. */
static void count_moments(const struct kj_run *run, const struct kj_llama_how *how,
                          int64_t bytes[KJ_MEM_KINDS])
{
    size_t n, elements, seconds;
    struct kj_param *params = kj_llama_params(&run->model, &n, &elements);
    if (run->optim.kind == KJ_OPTIM_MUON) {
        free(kj_muon_seconds(params, n, &seconds));
        bytes[KJ_MEM_MOMENTS] += 4 * (int64_t)(elements + seconds);
        bytes[KJ_MEM_ACTS] += 4 * (int64_t)kj_muon_floats(&run->model);
    } else {
        bytes[KJ_MEM_MOMENTS] +=
            (how->states_bf16 ? 4 : 8) * (int64_t)kj_llama_own(&run->model, how);
    }
    free(params);
}

/* The most that a linear map packs, forward and backward. */
static size_t packed(size_t tokens, size_t out, size_t in, unsigned flags, bool f8)
{
    if (f8) {
        size_t y = kj_matmul_f8_scratch(tokens, out, in);
        size_t x = kj_matmul_f8_scratch(tokens, in, out);
        size_t w = kj_matmul_f8_scratch(out, in, tokens);
        x = x > y ? x : y;
        return w > x ? w : x;
    }
    size_t most = kj_matmul_scratch(tokens, out, in, flags);
    size_t dx = kj_matmul_scratch(tokens, in, out, flags);
    size_t dw = kj_matmul_scratch(out, in, tokens, flags);
    most = dx > most ? dx : most;
    return dw > most ? dw : most;
}

/* In a process that trains on the CPU, besides its program: what products pack, rows
 * read ahead, what it takes whatever the model. */
static int64_t cpu_work(const struct kj_run *run, size_t pass, unsigned threads)
{
    struct kj_llama_dims d = kj_llama_dims(&run->model);
    unsigned flags = run->optim.precision != KJ_PRECISION_F32 ? KJ_MM_BF16 : 0;
    struct kj_llama_how how = {.f8 = run->optim.precision == KJ_PRECISION_FP8};
    size_t chunk = (size_t)run->optim.loss_chunk;
    const size_t maps[][3] = {{pass, d.qkv, d.h},
                              {pass, d.h, d.q},
                              {pass, 2 * d.f, d.h},
                              {pass, d.h, d.f},
                              {chunk < pass ? chunk : pass, d.v, d.h}};
    size_t most = kj_matmul_f8_scratch(PEAK, PEAK, PEAK);
    for (size_t i = 0; i < sizeof maps / sizeof *maps; i++) {
        size_t n = packed(maps[i][0], maps[i][1], maps[i][2], flags,
                          i < 4 && kj_llama_f8_fits(&how, maps[i][1], maps[i][2]));
        most = n > most ? n : most;
    }
    if (run->optim.states == KJ_STATES_BF16) { /* a matrix and embeddings as float32 */
        size_t matrix = d.v > 2 * d.f ? d.v : 2 * d.f, rows = d.v < pass ? d.v : pass;
        matrix = d.qkv > matrix ? d.qkv : matrix;
        most += 4 * (matrix + rows) * d.h;
    }
    /* A token is an id, a position and a target. */
    int64_t steps = run->data.prefetch + 1;
    return (int64_t)most + 12 * steps * run->data.batch * run->data.seq_len +
           OWN_BYTES + THREAD_BYTES * (int64_t)threads;
}

static int64_t gpu_work(const struct kj_run *run, size_t pass, int ranks)
{
    struct kj_llama_dims d = kj_llama_dims(&run->model);
    struct kj_step_shape s = {.tokens = pass,
                              .hidden = d.h,
                              .heads = d.heads,
                              .kv_heads = d.kv_heads,
                              .dim = d.dim,
                              .ranks = ranks > 1 ? (size_t)ranks : 1,
                              .unit = d.v * d.h + d.h,
                              .bf16 = run->optim.precision != KJ_PRECISION_F32};
    size_t n;
    free(kj_llama_params(&run->model, &n, &s.elements));
    s.unit = s.unit > d.per_layer ? s.unit : d.per_layer;
    return (int64_t)kj_cuda_work(&s);
}

/* teacher: its shape, or NULL. */
static void count(const struct kj_run *run, const struct kj_machine *m,
                  const struct kj_shape *teacher, enum kj_recompute again,
                  struct kj_memory_plan *p)
{
    size_t pass = (size_t)(run->data.micro * run->data.seq_len);
    int ranks = m->ranks > 0 ? m->ranks : 1; /* the last has the most */
    struct kj_llama_how how = kj_llama_how_of(run, ranks - 1, ranks);
    how.recompute = again;
    memset(p, 0, sizeof *p);
    p->recompute = again;
    p->deeper = run->optim.deeper;
    count_model(&run->model, &how, m->bf16, p->bytes);
    count_moments(run, &how, p->bytes);
    how = kj_llama_how_teacher(run, m->bf16);
    if (teacher)
        count_model(teacher, &how, m->bf16, p->bytes);
    p->bytes[KJ_MEM_WORK] =
        m->gpu ? gpu_work(run, pass, m->ranks) : cpu_work(run, pass, m->threads);
    for (size_t i = 0; i < KJ_MEM_KINDS; i++)
        p->all += p->bytes[i];
    p->fits = m->left == 0 || p->all <= m->left;
}

/* The fewest layers that must go from `level` to the next one; more of them take less,
 * so this halves. They do fit if all do. */
static void mix(const struct kj_run *run, const struct kj_machine *m,
                const struct kj_shape *teacher, enum kj_recompute level,
                struct kj_memory_plan *p)
{
    struct kj_run part = *run;
    int64_t low = 0, high = run->model.layers;
    while (high - low > 1) {
        struct kj_memory_plan q;
        part.optim.deeper = low + (high - low) / 2;
        count(&part, m, teacher, level, &q);
        if (q.fits) {
            high = part.optim.deeper;
            *p = q;
        } else {
            low = part.optim.deeper;
        }
    }
}

static void plan(const struct kj_run *run, const struct kj_machine *m,
                 const struct kj_shape *teacher, struct kj_memory_plan *p)
{
    int level = run->optim.recompute;
    if (level != KJ_RECOMPUTE_AUTO) {
        count(run, m, teacher, (enum kj_recompute)level, p);
        return;
    }
    level = KJ_RECOMPUTE_NONE;
    count(run, m, teacher, KJ_RECOMPUTE_NONE, p);
    while (!p->fits && level < KJ_RECOMPUTE_BLOCK)
        count(run, m, teacher, (enum kj_recompute)++ level, p);
    if (p->fits && level > KJ_RECOMPUTE_NONE)
        mix(run, m, teacher, (enum kj_recompute)(level - 1), p);
}

/* The teacher's shape, if the run has one that can be read. */
static const struct kj_shape *teacher_of(const struct kj_run *run,
                                         struct kj_hf_config *c)
{
    bool there =
        run->distil.teacher && kj_hf_config(run->distil.teacher, c, NULL) == KJ_OK;
    return there ? &c->shape : NULL;
}

void kj_memory_plan(const struct kj_run *run, const struct kj_machine *m,
                    struct kj_memory_plan *p)
{
    struct kj_hf_config c;
    plan(run, m, teacher_of(run, &c), p);
}

/* ---- what would fit ---- */

/* A run that is changed until it fits. */
struct trial {
    struct kj_run run;
    struct kj_machine m;
    const struct kj_shape *teacher;
    struct kj_memory_plan plan;
};

static bool fits(struct trial *t)
{
    plan(&t->run, &t->m, t->teacher, &t->plan);
    return t->plan.fits;
}

/* The first level that fits, or the last. */
static void change_recompute(struct trial *t)
{
    while (t->run.optim.recompute < KJ_RECOMPUTE_BLOCK && !fits(t))
        t->run.optim.recompute++;
}

/* The most rows a pass that fit, or one. */
static void change_micro(struct trial *t)
{
    int64_t low = 1, high = t->run.data.micro;
    while (low + 1 < high) {
        int64_t mid = low + (high - low) / 2;
        t->run.data.micro = mid;
        if (fits(t))
            low = mid;
        else
            high = mid;
    }
    t->run.data.micro = low;
}

/* The CPU keeps all in float32. */
static void change_precision(struct trial *t)
{
    if (t->m.bf16 && t->run.optim.precision == KJ_PRECISION_F32)
        t->run.optim.precision = KJ_PRECISION_BF16;
}

/* Of a run that multiplies bfloat16 already. */
static void change_states(struct trial *t)
{
    if (t->run.optim.precision != KJ_PRECISION_F32 &&
        t->run.optim.kind == KJ_OPTIM_ADAMW)
        t->run.optim.states = KJ_STATES_BF16;
}

/* What ranks hold of gradients. */
static void change_zero(struct trial *t)
{
    if (t->m.ranks > 1 && t->run.optim.kind != KJ_OPTIM_MUON)
        t->run.optim.zero = 2;
}

/* As many as a step has passes for. */
static void change_ranks(struct trial *t)
{
    int64_t passes = t->run.data.batch / t->run.data.micro;
    while (t->run.optim.kind != KJ_OPTIM_MUON && !fits(t) &&
           2 * (int64_t)t->m.ranks <= passes && t->m.ranks < 1024)
        t->m.ranks *= 2;
}

static void (*const changes[])(struct trial *) = {change_recompute, change_micro,
                                                  change_zero,      change_precision,
                                                  change_states,    change_ranks};
#define CHANGES (sizeof changes / sizeof *changes)

/* Words behind what is in buf already. */
static void add(char *buf, size_t n, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static void add(char *buf, size_t n, const char *fmt, ...)
{
    size_t at = strlen(buf);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(buf + at, n - at, fmt, ap);
    va_end(ap);
}

/* In what a trial differs from the run: "optim.recompute: ffn and 2 ranks". */
static void differences(const struct trial *t, const struct kj_run *run,
                        const struct kj_machine *m, char *buf, size_t n)
{
    const char *sep = "";
    if (t->run.optim.recompute != run->optim.recompute) {
        add(buf, n, "optim.recompute: %s", kj_recompute_name(t->plan.recompute));
        sep = " and ";
    }
    if (t->run.data.micro != run->data.micro) {
        add(buf, n, "%sdata.micro_sequences: %" PRId64, sep, t->run.data.micro);
        sep = " and ";
    }
    if (t->run.optim.zero != run->optim.zero) {
        add(buf, n, "%soptim.zero: %" PRId64, sep, t->run.optim.zero);
        sep = " and ";
    }
    if (t->run.optim.precision != run->optim.precision) {
        add(buf, n, "%soptim.precision: bf16", sep);
        sep = " and ";
    }
    if (t->run.optim.states != run->optim.states) {
        add(buf, n, "%soptim.states: bf16", sep);
        sep = " and ";
    }
    if (t->m.ranks != m->ranks)
        add(buf, n, "%s%d ranks", sep, t->m.ranks);
}

/* " (78.2)" behind what fits; false if nothing does. */
static bool suggest(const struct trial *from, double unit, char *buf, size_t n)
{
    struct trial all = *from;
    const char *sep = " Fits with ";
    bool any = false;
    for (size_t i = 0; i < CHANGES; i++) {
        struct trial one = *from;
        changes[i](&one);
        if (!fits(&one))
            continue;
        add(buf, n, "%s", sep);
        differences(&one, &from->run, &from->m, buf, n);
        add(buf, n, " (%.1f)", (double)one.plan.all / unit);
        sep = ", or ";
        any = true;
    }
    for (size_t i = 0; i < CHANGES && !any; i++) {
        changes[i](&all);
        if (!fits(&all))
            continue;
        add(buf, n, "%s", sep);
        differences(&all, &from->run, &from->m, buf, n);
        add(buf, n, " together (%.1f)", (double)all.plan.all / unit);
        any = true;
    }
    if (!any)
        add(buf, n, " No setting makes it fit: %.1f at least",
            (double)all.plan.all / unit);
    return any;
}

void kj_memory_advice(const struct kj_run *run, const struct kj_machine *m, char *buf,
                      size_t n)
{
    struct kj_hf_config c;
    struct trial t = {.run = *run, .m = *m, .teacher = teacher_of(run, &c)};
    fits(&t);
    bool giga = t.plan.all >= 1000000000;
    double unit = giga ? 1e9 : 1e6, over = (double)(t.plan.all - m->left) / unit;
    *buf = 0;
    add(buf, n, "needs %.1f of %.1f %s", (double)t.plan.all / unit,
        (double)m->left / unit, giga ? "GB" : "MB");
    if (run->optim.recompute == KJ_RECOMPUTE_AUTO)
        add(buf, n, " even with optim.recompute: %s",
            kj_recompute_name(t.plan.recompute));
    add(buf, n, ": %.1f too many.", over < 0.1 ? 0.1 : over);
    suggest(&t, unit, buf, n);
}

int kj_memory_settle(struct kj_run *run, const struct kj_machine *m, struct kj_err *err)
{
    struct kj_memory_plan p;
    char why[512];
    kj_memory_plan(run, m, &p);
    if (!p.fits) {
        kj_memory_advice(run, m, why, sizeof why);
        return kj_err_set(err, KJ_USAGE, "the run %s", why);
    }
    run->optim.recompute = (int)p.recompute;
    run->optim.deeper = p.deeper;
    return KJ_OK;
}

const char *kj_recompute_name(enum kj_recompute r)
{
    static const char *const names[] = {"none", "swiglu", "norm", "ffn",
                                        "qkv",  "block",  "auto"};
    return names[r];
}

const char *kj_memory_recompute(const struct kj_memory_plan *p, int64_t layers,
                                char *buf)
{
    snprintf(buf, 64, "%s", kj_recompute_name(p->recompute));
    if (p->deeper)
        snprintf(buf, 64, "%s, and %s in %" PRId64 " of %" PRId64 " layers",
                 kj_recompute_name(p->recompute),
                 kj_recompute_name((enum kj_recompute)(p->recompute + 1)), p->deeper,
                 layers);
    return buf;
}
