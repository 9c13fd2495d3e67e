/* llama_head.c - the model's head: losses, their gradients, logits.
 *
 * Losses' gradients are multiplied by a number of the step, one over its targets, which
 * are fewer where rows are not full or targets are masked. It lies on the device, so that
 * the head is the same section whatever it is.
 */
#include <string.h>

#include "base/err.h"
#include "trainer/llama_internal.h"

/* The loss's share of the gradients, which another number of targets makes another one.
 * Graphs read it there; operations that are already on their way have the old one. */
static void tell_scale(struct kj_llama *m, float scale)
{
    if (m->scale < scale || m->scale > scale)
        m->b->ops->write(m->b, m->acts->scale.t, m->acts->scale.at, &scale, 1);
    m->scale = scale;
}

static bool begin_head(const struct kj_llama *m, const struct kj_head *p, bool back,
                       bool sums)
{
    const struct kj_head_teacher *t = p->teacher;
    float f[4] = {p->zeta, t ? t->weight : 0, t ? t->temperature : 0};
    uint64_t more[] = {(uint64_t)m->shape.layers,
                       back + 2 * sums,
                       p->n,
                       t ? (uint64_t)(uintptr_t)t->x.t : 0,
                       0,
                       0};
    memcpy(&more[4], f, sizeof f);
    uint64_t key = kj_section_key(m, more, sizeof more / sizeof *more);
    return !kj_llama_in_sections(m) || m->b->ops->section_begin(m->b, key, 0, NULL);
}

/* The head's loss, and with back its gradients and the last norm's; sums: added to those
 * that the device keeps. */
static void head_once(const struct kj_llama *m, const struct kj_head *p, bool back,
                      bool sums)
{
    const struct kj_ops *o = m->b->ops;
    const struct kj_llama_acts *a = m->acts;
    kj_head_loss(m->b, p);
    if (back) {
        size_t layer = (size_t)m->shape.layers - 1;
        m->b->most = kj_llama_most(m, layer, KJ_MAP_DOWN, KJ_OF_DY);
        o->norm_back(m->b, a->dres, kj_llama_end_grads(m).norm, a->dy, a->x, a->r,
                     kj_llama_ends_of(m, kj_llama_working(m)).norm, p->n, p->h, false);
    }
    if (sums)
        o->add_sum(m->b, kj_llama_sum(m, KJ_SUM_LOSS), p->loss, p->n, false);
    if (sums && p->teacher)
        o->add_sum(m->b, kj_llama_sum(m, KJ_SUM_KL), p->teacher->kl, p->n, false);
}

/* From the last norm's output to the losses, and with back all gradients. */
static void head_and_back(struct kj_llama *m, const struct kj_head *p,
                          const struct kj_rows *r, bool back, bool sums)
{
    size_t last = (size_t)m->shape.layers + 1;
    if (back && m->shape.tied)
        kj_llama_growing(m, 0);
    if (back)
        kj_llama_growing(m, last);
    if (begin_head(m, p, back, sums))
        do
            head_once(m, p, back, sums);
        while (kj_llama_in_sections(m) && m->b->ops->section_end(m->b));
    if (back) {
        kj_llama_grown(m, last);
        kj_llama_backward(m, r);
    }
}

static struct kj_head head_of(struct kj_llama *m, const struct kj_rows *r, bool back,
                              float scale, float zeta)
{
    struct kj_llama_acts *a = m->acts;
    if (back)
        tell_scale(m, scale);
    return (struct kj_head){
        .x = a->y,
        .w = kj_llama_ends_of(m, kj_llama_working(m)).head,
        .targets = kj_mat(a->targets, 0, 1),
        .loss = a->loss,
        .lse = KJ_MAT_NONE,
        .dx = back ? a->dy : KJ_MAT_NONE,
        .dw = back ? kj_llama_end_grads(m).head : KJ_MAT_NONE,
        .ws = a->logits,
        .n = r->n,
        .h = (size_t)m->shape.hidden,
        .v = (size_t)m->shape.vocab_size,
        .chunk = m->how.chunk,
        .scale = 1,
        .scale_by = back ? a->scale : KJ_MAT_NONE,
        .zeta = zeta,
        .flags = m->mm,
    };
}

/* Sum of n floats on the device; they are left in host. */
static int sum_of(struct kj_llama *m, struct kj_mat x, size_t n, double *sum,
                  struct kj_err *err)
{
    float *host = m->acts->host;
    m->b->ops->read(m->b, x.t, x.at, host, n);
    int rc = m->b->ops->sync(m->b, err);
    *sum = 0;
    for (size_t i = 0; i < n && rc == KJ_OK; i++)
        *sum += (double)host[i];
    return rc;
}

struct kj_mat kj_llama_sum(const struct kj_llama *m, enum kj_llama_sum which)
{
    return kj_mat(m->sums, 2 * (size_t)which, 2);
}

int kj_llama_sums(struct kj_llama *m, double sum[KJ_SUMS], struct kj_err *err)
{
    m->b->ops->read(m->b, m->sums, 0, sum, 2 * KJ_SUMS);
    return m->b->ops->sync(m->b, err);
}

int kj_llama_loss(struct kj_llama *m, const struct kj_rows *r, bool back, float scale,
                  float zeta, double *sum, float *each, struct kj_err *err)
{
    struct kj_llama_acts *a = m->acts;
    int rc = kj_llama_forward(m, r, err);
    if (rc)
        return rc;
    m->b->ops->write(m->b, a->targets, 0, r->targets, r->n);
    struct kj_head head = head_of(m, r, back, scale, zeta);
    head_and_back(m, &head, r, back, !sum);
    rc = sum ? sum_of(m, a->loss, r->n, sum, err) : KJ_OK;
    if (rc == KJ_OK && each)
        memcpy(each, a->host, r->n * sizeof *each);
    return rc;
}

int kj_llama_distil(struct kj_llama *m, const struct kj_teacher *t,
                    const struct kj_rows *r, bool back, float scale, float zeta,
                    double *sum, double *kl, struct kj_err *err)
{
    struct kj_llama_acts *a = m->acts, *b = t->m->acts;
    if (t->m->shape.vocab_size != m->shape.vocab_size || t->m->how.chunk < m->how.chunk)
        return kj_err_set(err, KJ_FATAL, "teacher of another vocabulary or chunk");
    int rc = kj_llama_forward(t->m, r, err);
    rc = rc ? rc : kj_llama_forward(m, r, err);
    if (rc)
        return rc;
    m->b->ops->write(m->b, a->targets, 0, r->targets, r->n);
    struct kj_head_teacher teacher = {
        .x = b->y,
        .w = kj_llama_ends_of(t->m, kj_llama_working(t->m)).head,
        .ws = b->logits,
        .kl = b->loss,
        .h = (size_t)t->m->shape.hidden,
        .weight = (float)t->weight,
        .temperature = (float)t->temperature};
    struct kj_head head = head_of(m, r, back, scale, zeta);
    head.teacher = &teacher;
    head_and_back(m, &head, r, back, !sum);
    rc = sum ? sum_of(m, a->loss, r->n, sum, err) : KJ_OK;
    return rc || !kl ? rc : sum_of(m, b->loss, r->n, kl, err);
}

int kj_llama_pick(struct kj_llama *m, const struct kj_rows *r, const int32_t *rows,
                  const int32_t *tokens, size_t n, float *nats, struct kj_err *err)
{
    const struct kj_ops *o = m->b->ops;
    struct kj_llama_acts *a = m->acts;
    size_t h = (size_t)m->shape.hidden;
    double sum;
    int rc = kj_llama_forward(m, r, err);
    for (size_t i = 0, k; i < n && rc == KJ_OK; i += k) {
        k = n - i < m->how.tokens ? n - i : m->how.tokens;
        o->write(m->b, a->pos, 0, rows + i, k);
        o->write(m->b, a->targets, 0, tokens + i, k);
        o->embed(m->b, a->delta, a->y, kj_mat(a->pos, 0, 1), k, h); /* gather */
        struct kj_rows part = {.n = k};
        struct kj_head head = head_of(m, &part, false, 0, 0);
        head.x = a->delta;
        kj_head_loss(m->b, &head);
        rc = sum_of(m, a->loss, k, &sum, err);
        memcpy(nats + i, a->host, k * sizeof *nats);
    }
    return rc;
}

int kj_llama_logits(struct kj_llama *m, const struct kj_rows *r, float *logits,
                    struct kj_err *err)
{
    const struct kj_ops *o = m->b->ops;
    struct kj_llama_acts *a = m->acts;
    size_t h = (size_t)m->shape.hidden, v = (size_t)m->shape.vocab_size;
    int rc = kj_llama_forward(m, r, err);
    for (size_t i = 0; rc == KJ_OK && i < r->n; i += m->how.chunk) {
        size_t n = r->n - i < m->how.chunk ? r->n - i : m->how.chunk;
        struct kj_mat y = kj_mat(a->y.t, a->y.at + i * h, h);
        o->matmul(m->b, a->logits, y, kj_llama_ends_of(m, kj_llama_working(m)).head, n,
                  v, h, KJ_MM_TB | m->mm);
        o->read(m->b, a->logits.t, a->logits.at, logits + i * v, n * v);
    }
    return rc ? rc : o->sync(m->b, err);
}
