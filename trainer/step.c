/* step.c - one step of training: gradients of its passes, their norm, the update. */
#include <inttypes.h>
#include <math.h>

#include "base/clock.h"
#include "base/err.h"
#include "nn/arith.h"
#include "nn/backend.h"
#include "trainer/feed.h"
#include "trainer/train_internal.h"

/* Chance that rounds states has nothing in common with that of fresh weights. */
#define STATES_SEED 0x73746174u
#define GRADS_SEED  0x67726164u

/* Passes of a rank from which on bfloat16 gradients are added up by chance. Rounded to
 * nearest they are nearer to float32's until some 250 passes; then what is below
 * half a neighbour's distance begins to be lost (docs/benchmarks.md). */
#define CHANCE_PASSES 128

/* Passes of the rank that has most of them. */
static size_t rounds_of(const struct kj_trainer *r)
{
    const struct kj_run *c = r->run;
    int64_t passes = (c->data.batch + c->data.micro - 1) / c->data.micro;
    return (size_t)((passes + r->ranks.size - 1) / r->ranks.size);
}

/* The key of the step's chance; 0: to nearest. */
static uint64_t chance_of(const struct kj_trainer *r)
{
    if (!r->m->how.states_bf16 || rounds_of(r) <= CHANCE_PASSES)
        return 0;
    return kj_random64((uint64_t)r->run->seed ^ GRADS_SEED, (uint64_t)r->at.step) | 1u;
}

/* Name the first parameter with a value that is not finite. */
static int blame(struct kj_trainer *r, double loss, const struct kj_feed_step *from,
                 struct kj_err *err)
{
    static const char *const what[2] = {"the weight", "the gradient of"};
    const struct kj_param *first;
    size_t bad;
    r->spoiled = true;
    int rc = kj_ranks_settle(&r->ranks, err); /* all ranks come here */
    for (int k = 0; k < 2 && rc == KJ_OK; k++) {
        rc = kj_ranks_spoiled(&r->ranks, k == 1, &first, &bad, err);
        if (rc == KJ_OK && first)
            return kj_err_set(err, KJ_FATAL,
                              "step %" PRId64 ": %s %s is not finite (first of %zu of "
                              "%zu; loss %g; the step's data begin with row %" PRIu64
                              ", at token %" PRIu64 " of the shards, epoch %" PRIu64
                              ")",
                              r->at.step + 1, what[k], first->name, bad, r->m->n_params,
                              loss, from->row, from->at.token, from->at.epoch);
    }
    if (rc)
        return rc;
    return kj_err_set(err, KJ_FATAL,
                      "step %" PRId64 ": the loss is %g (data: row %" PRIu64
                      ", token %" PRIu64 ", epoch %" PRIu64 ")",
                      r->at.step + 1, loss, from->row, from->at.token, from->at.epoch);
}

/* As far as the elements are this rank's to move; with Muon their second moments begin
 * at `second`. */
static void adamw(struct kj_trainer *r, size_t at, size_t end, size_t second,
                  const struct kj_adamw *p)
{
    struct kj_adamw q = *p;
    struct kj_span s;
    for (size_t i = 0; i < r->m->n_spans; i++) {
        if (!kj_llama_span(r->m, i, at, end, &s))
            continue;
        q.at = s.from;
        r->b->ops->adamw(
            r->b, kj_llama_master(r->m, &s), kj_llama_grad(r->m, &s),
            kj_mat(r->moments.t[0], s.at, 1),
            kj_mat(r->moments.t[1], r->muon ? second + (s.from - at) : s.at, 1),
            s.to - s.from, &q);
    }
}

/* Muon for its matrices; AdamW over runs of other parameters that are decayed
 * alike. */
static void update(struct kj_trainer *r, double factor, double clip)
{
    const struct kj_run *c = r->run;
    struct kj_llama *m = r->m;
    double t = (double)(r->at.step + 1 - r->at.skipped), lr = c->optim.lr * factor;
    double decay =
        c->optim.weight_decay * (c->optim.decay == KJ_DECAY_INDEPENDENT ? factor : lr);
    struct kj_muon_step u = {.lr = (float)lr,
                             .decay = (float)decay,
                             .momentum = (float)c->optim.momentum,
                             .grad_scale = (float)clip};
    struct kj_adamw p = {
        .lr = (float)lr,
        .beta1 = (float)c->optim.beta1,
        .beta2 = (float)c->optim.beta2,
        .eps = (float)c->optim.eps,
        .grad_scale = (float)clip,
        .fix1 = (float)(1 / (1 - pow(c->optim.beta1, t))),
        .fix2 = (float)(1 / (1 - pow(c->optim.beta2, t))),
        .key = kj_random64((uint64_t)c->seed ^ STATES_SEED, (uint64_t)r->at.step),
    };
    for (size_t i = 0, k; i < m->n_params; i = k) {
        size_t at = m->params[i].at, end = at;
        if (r->muon && kj_muon_takes(&m->params[i])) {
            kj_muon_move(r->muon, m, &m->params[i], r->moments.t[0], &u);
            k = i + 1;
            continue;
        }
        for (k = i; k < m->n_params && m->params[k].vector == m->params[i].vector &&
                    !(r->muon && kj_muon_takes(&m->params[k]));
             k++)
            end = m->params[k].at + m->params[k].rows * m->params[k].cols;
        p.decay = m->params[i].vector ? 0.0f : (float)decay;
        adamw(r, at, end, r->muon ? r->moments.seconds[i] : at, &p);
    }
    kj_ranks_share(&r->ranks);
}

/* Move the weights, or leave a step out that stands out. */
static bool move(struct kj_trainer *r, double factor, double loss, double norm)
{
    const struct kj_run *c = r->run;
    bool clip = c->optim.clip > 0 && norm > c->optim.clip;
    if (c->optim.skip > 0 && kj_spike_step(&r->at.spikes, c->optim.skip, loss, norm)) {
        r->at.skipped++;
        kj_trainer_note(r,
                        "step %" PRId64
                        " is left out: loss %.4f, gradient norm %.4g stand out "
                        "(%" PRId64 " so far)",
                        r->at.step + 1, loss, norm, r->at.skipped);
        return false;
    }
    update(r, factor, clip ? c->optim.clip / norm : 1);
    return true;
}

/* The step's gradients, summed over ranks; its sums, likewise, and their norm. The host
 * waits once, when all of it is on its way. */
static int gradients(struct kj_trainer *r, const struct kj_feed_step *batch,
                     double sum[KJ_SUMS], double *norm, struct kj_err *err)
{
    const struct kj_ops *o = r->b->ops;
    float one = 1.0f / (float)batch->count, zeta = (float)r->run->optim.z_loss;
    int rc = KJ_OK;
    uint64_t chance = chance_of(r);
    bool cut = kj_llama_grads_cut(r->m); /* then a pass alone adds nothing up */
    kj_ranks_begin(&r->ranks, cut ? chance : 0);
    o->zero(r->b, kj_mat(r->m->sums, 0, 1), 2 * KJ_SUMS);
    for (size_t i = 0; i < batch->passes && rc == KJ_OK; i++) {
        const struct kj_rows *rows = &batch->packs[i].rows;
        uint64_t pass = i * (uint64_t)r->ranks.size + (uint64_t)r->ranks.rank;
        kj_ranks_pass(&r->ranks, i, batch->passes);
        r->b->chance = chance && !cut ? kj_random64(chance, pass) | 1u : 0;
        if (r->teacher.m)
            rc = kj_llama_distil(r->m, &r->teacher, rows, true, one, zeta, NULL, NULL,
                                 err);
        else
            rc = kj_llama_loss(r->m, rows, true, one, zeta, NULL, NULL, err);
    }
    r->b->chance = 0;
    if (rc)
        return rc;
    kj_ranks_end(&r->ranks, batch->passes, rounds_of(r));
    kj_ranks_squares(&r->ranks, kj_llama_sum(r->m, KJ_SUM_SQUARES));
    rc = kj_llama_sums(r->m, sum, err);
    rc = rc ? rc : kj_ranks_add(&r->ranks, sum, 2, err);
    return rc ? rc : kj_ranks_norm(&r->ranks, sum[KJ_SUM_SQUARES], norm, err);
}

int kj_trainer_step(struct kj_trainer *r, struct kj_train_step *s, struct kj_err *err)
{
    const struct kj_run *c = r->run;
    const struct kj_ops *o = r->b->ops;
    double t0 = kj_now(), sum[KJ_SUMS], norm;
    r->b->step = r->at.step + 1;
    const struct kj_feed_step *batch = kj_prefetch_next(r->ahead, err);
    if (!batch)
        return err ? err->rc : KJ_FAIL;
    double count = (double)batch->count;
    int rc = gradients(r, batch, sum, &norm, err);
    if (rc)
        return rc;
    double loss = sum[KJ_SUM_LOSS] / count;
    if (!isfinite(sum[KJ_SUM_LOSS]) || !isfinite(sum[KJ_SUM_KL]) || !isfinite(norm))
        return blame(r, loss, batch, err);
    double factor = kj_schedule_factor(c, r->at.step);
    bool moved = move(r, factor, loss, norm);
    rc = o->sync(r->b, err);
    r->at.step++;
    r->at.tokens += batch->count;
    r->at.row += (uint64_t)c->data.batch;
    for (size_t i = 0; i < r->feed->n_groups; i++)
        r->feed->seen[batch->at.stage * r->feed->n_groups + i] += batch->seen[i];
    double t1 = kj_now();
    *s = (struct kj_train_step){
        .step = r->at.step,
        .steps = c->schedule.steps,
        .loss = loss,
        .kl = sum[KJ_SUM_KL] / count,
        .skipped = !moved,
        .lr = c->optim.lr * factor,
        .grad_norm = norm,
        .tokens = r->at.tokens,
        .tokens_per_s = count / (t1 - t0),
        .seconds = t1 - r->start,
        .epoch = batch->at.epoch,
        .stage = c->staged ? c->stages[batch->at.stage].name : NULL,
    };
    return rc;
}
