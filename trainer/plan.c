/* plan.c - counting before starting. */
#include "trainer/plan.h"

#include <math.h>
#include <stdlib.h>

#include "trainer/hf.h"
#include "trainer/llama_internal.h"
#include "trainer/muon.h"

/* A third of training: 2 FLOPs for each weight that multiplies, and attention. */
static double forward_flops(const struct kj_shape *s, double T)
{
    size_t n, elements;
    free(kj_llama_params(s, &n, &elements));
    int64_t table = s->vocab_size * s->hidden, norms = (2 * s->layers + 1) * s->hidden;
    double matrices = (double)((int64_t)elements - norms - (s->tied ? 0 : table));
    return 2 * matrices + 2 * (double)(s->layers * s->heads * s->head_dim) * T;
}

/* Bytes of a model's tensors, by kind, on a CPU. */
static void count(const struct kj_shape *s, const struct kj_llama_how *how,
                  int64_t bytes[KJ_MEM_KINDS])
{
    struct kj_llama_need need[KJ_LT_COUNT];
    kj_llama_needs(s, how, false, need);
    for (size_t i = 0; i < KJ_LT_COUNT; i++)
        bytes[need[i].kind] += (need[i].type == KJ_BF16 ? 2 : 4) * (int64_t)need[i].n;
}

void kj_plan_teacher(const struct kj_run *run, struct kj_plan *p)
{
    struct kj_hf_config c;
    int64_t bytes[KJ_MEM_KINDS] = {0};
    if (!run->distil.teacher || kj_hf_config(run->distil.teacher, &c, NULL) != KJ_OK)
        return;
    count(
        &c.shape,
        &(struct kj_llama_how){.tokens = (size_t)(run->data.micro * run->data.seq_len),
                               .chunk = (size_t)run->optim.loss_chunk,
                               .states_bf16 = run->optim.states == KJ_STATES_BF16},
        bytes);
    p->bytes_weights += bytes[KJ_MEM_WEIGHTS];
    p->bytes_acts += bytes[KJ_MEM_ACTS];
    p->bytes += bytes[KJ_MEM_WEIGHTS] + bytes[KJ_MEM_ACTS];
    p->flops_token += forward_flops(&c.shape, (double)run->data.seq_len);
    p->flops = p->flops_token * p->tokens;
}

/* The most that a linear map takes, forward and backward. */
static size_t packed(size_t tokens, size_t out, size_t in, unsigned flags)
{
    size_t most = kj_matmul_scratch(tokens, out, in, flags);
    size_t dx = kj_matmul_scratch(tokens, in, out, flags);
    size_t dw = kj_matmul_scratch(out, in, tokens, flags);
    most = dx > most ? dx : most;
    return dw > most ? dw : most;
}

static int64_t work_bytes(const struct kj_run *run, size_t pass)
{
    struct kj_llama_dims d = kj_llama_dims(&run->model);
    unsigned flags = run->optim.precision == KJ_PRECISION_BF16 ? KJ_MM_BF16 : 0;
    size_t chunk = (size_t)run->optim.loss_chunk;
    const size_t maps[][3] = {{pass, d.qkv, d.h},
                              {pass, d.h, d.q},
                              {pass, 2 * d.f, d.h},
                              {pass, d.h, d.f},
                              {chunk < pass ? chunk : pass, d.v, d.h}};
    size_t most = 0;
    for (size_t i = 0; i < sizeof maps / sizeof *maps; i++) {
        size_t n = packed(maps[i][0], maps[i][1], maps[i][2], flags);
        most = n > most ? n : most;
    }
    if (run->optim.states == KJ_STATES_BF16) { /* a matrix and embeddings as float32 */
        size_t matrix = d.v > 2 * d.f ? d.v : 2 * d.f, rows = d.v < pass ? d.v : pass;
        matrix = d.qkv > matrix ? d.qkv : matrix;
        most += 4 * (matrix + rows) * d.h;
    }
    /* A token is an id, a position and a target. */
    int64_t steps = run->data.prefetch + 1;
    return (int64_t)most + 12 * steps * run->data.batch * run->data.seq_len;
}

void kj_plan_make(const struct kj_run *run, struct kj_plan *p)
{
    const struct kj_shape *s = &run->model;
    double T = (double)run->data.seq_len, L = (double)s->layers, d = (double)s->hidden;
    size_t n, elements, pass = (size_t)(run->data.micro * run->data.seq_len);
    free(kj_llama_params(s, &n, &elements));
    int64_t table = s->vocab_size * s->hidden;
    p->params = (int64_t)elements;
    p->embedding = table;
    p->non_embedding = p->params - (s->tied ? 1 : 2) * table;
    p->flops_forward = forward_flops(s, T);
    p->flops_token = 3 * p->flops_forward;
    p->steps = run->schedule.steps;
    p->tokens_step = run->data.batch * run->data.seq_len;
    p->tokens = (double)p->steps * (double)p->tokens_step;
    p->flops = p->flops_token * p->tokens;
    bool low = run->optim.states == KJ_STATES_BF16;
    p->bytes_weights = p->bytes_grads = (low ? 2 : 4) * p->params;
    p->bytes_moments = (low ? 4 : 8) * p->params;
    p->bytes_work = work_bytes(run, pass);
    int64_t bytes[KJ_MEM_KINDS] = {0};
    count(s,
          &(struct kj_llama_how){.tokens = pass,
                                 .chunk = (size_t)run->optim.loss_chunk,
                                 .train = true,
                                 .recompute = (enum kj_recompute)run->optim.recompute},
          bytes);
    p->bytes_acts = bytes[KJ_MEM_ACTS];
    if (run->optim.kind == KJ_OPTIM_MUON) {
        size_t seconds;
        struct kj_param *params = kj_llama_params(s, &n, NULL);
        free(kj_muon_seconds(params, n, &seconds));
        free(params);
        p->bytes_acts += 4 * (int64_t)kj_muon_floats(s);
        p->bytes_moments = 4 * (p->params + (int64_t)seconds);
    }
    p->bytes = p->bytes_weights + p->bytes_grads + p->bytes_moments + p->bytes_acts;
    p->law_c = (72 * L * d * d + 12 * L * d * T) * p->tokens;
    p->law_lr = 0.3118 * pow(p->law_c, -0.1250);
    p->law_batch = 0.2920 * pow(p->law_c, 0.3271);
}
