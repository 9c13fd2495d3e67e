/* plan.c - counting before starting. */
#include "trainer/plan.h"

#include <math.h>
#include <stdlib.h>

#include "trainer/llama_internal.h"

void kj_plan_make(const struct kj_run *run, struct kj_plan *p)
{
    const struct kj_shape *s = &run->model;
    double T = (double)run->data.seq_len, L = (double)s->layers, d = (double)s->hidden;
    size_t n, elements, pass = (size_t)(run->data.micro * run->data.seq_len);
    free(kj_llama_params(s, &n, &elements));
    int64_t table = s->vocab_size * s->hidden, norms = (2 * s->layers + 1) * s->hidden;
    p->params = (int64_t)elements;
    p->embedding = table;
    p->non_embedding = p->params - (s->tied ? 1 : 2) * table;
    double matrices = (double)(p->non_embedding - norms + table);
    p->flops_token = 6 * matrices + 6 * L * (double)(s->heads * s->head_dim) * T;
    p->flops_forward = p->flops_token / 3;
    p->steps = run->schedule.steps;
    p->tokens_step = run->data.batch * run->data.seq_len;
    p->tokens = (double)p->steps * (double)p->tokens_step;
    p->flops = p->flops_token * p->tokens;
    p->bytes_weights = p->bytes_grads = 4 * p->params;
    p->bytes_moments = 8 * p->params;
    p->bytes_acts =
        4 * (int64_t)kj_llama_act_floats(s, pass, (size_t)run->optim.loss_chunk, true);
    p->bytes = p->bytes_weights + p->bytes_grads + p->bytes_moments + p->bytes_acts;
    p->law_c = (72 * L * d * d + 12 * L * d * T) * p->tokens;
    p->law_lr = 0.3118 * pow(p->law_c, -0.1250);
    p->law_batch = 0.2920 * pow(p->law_c, 0.3271);
}
