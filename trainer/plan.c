/* plan.c - counting before starting. */
#include "trainer/plan.h"

#include <math.h>
#include <stdlib.h>

#include "trainer/hf.h"
#include "trainer/llama.h"

/* A third of training: 2 FLOPs for each weight that multiplies, and attention. */
static double forward_flops(const struct kj_shape *s, double T)
{
    size_t n, elements;
    free(kj_llama_params(s, &n, &elements));
    int64_t table = s->vocab_size * s->hidden, norms = (2 * s->layers + 1) * s->hidden;
    double matrices = (double)((int64_t)elements - norms - (s->tied ? 0 : table));
    return 2 * matrices + 2 * (double)(s->layers * s->heads * s->head_dim) * T;
}

void kj_plan_teacher(const struct kj_run *run, struct kj_plan *p)
{
    struct kj_hf_config c;
    if (!run->distil.teacher || kj_hf_config(run->distil.teacher, &c, NULL) != KJ_OK)
        return;
    p->flops_token += forward_flops(&c.shape, (double)run->data.seq_len);
    p->flops = p->flops_token * p->tokens;
}

void kj_plan_make(const struct kj_run *run, struct kj_plan *p)
{
    const struct kj_shape *s = &run->model;
    double T = (double)run->data.seq_len, L = (double)s->layers, d = (double)s->hidden;
    size_t n, elements;
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
    p->law_c = (72 * L * d * d + 12 * L * d * T) * p->tokens;
    p->law_lr = 0.3118 * pow(p->law_c, -0.1250);
    p->law_batch = 0.2920 * pow(p->law_c, 0.3271);
}
