/* backend.c - opening back ends, and what is the same on all of them. */
#include "nn/backend.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "nn/cpu/cpu.h"

const char *const kj_backend_names[] = {"cpu", NULL};

int kj_backend_open(struct kj_backend **out, const char *name, unsigned threads,
                    struct kj_err *err)
{
    if (strcmp(name, "cpu") == 0 || strcmp(name, "auto") == 0)
        return kj_cpu_open(out, threads, err);
    return kj_err_set(err, KJ_USAGE,
                      "no compute back end \"%s\" in this program (there is: cpu)",
                      name);
}

void kj_backend_close(struct kj_backend *b)
{
    if (b)
        b->ops->close(b);
}

void kj_backend_fault(struct kj_backend *b, const char *op, const char *fmt, ...)
{
    char what[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    kj_err_set(&b->fault, KJ_FATAL, "%s: %s", op, what);
}

static struct kj_mat from(struct kj_mat m, size_t i)
{
    m.at += i * m.stride;
    return m;
}

/* Rows i .. i+n; the student's logits are in p->ws already. */
static void distil(struct kj_backend *b, const struct kj_head *p, size_t i, size_t n)
{
    const struct kj_head_teacher *q = p->teacher;
    struct kj_distil d = {q->weight, q->temperature, p->scale, p->zeta};
    struct kj_mat z = p->ws, t = q->ws, loss = p->loss, kl = q->kl, y = p->targets;
    z.stride = t.stride = p->v;
    loss.at += i;
    kl.at += i;
    y.at += i;
    b->ops->matmul(b, t, from(q->x, i), q->w, n, p->v, q->h, KJ_MM_TB);
    b->ops->distil(b, z, t, loss, kl, y, n, p->v, &d);
}

void kj_head_loss(struct kj_backend *b, const struct kj_head *p)
{
    const struct kj_ops *o = b->ops;
    bool grad = p->dx.t != NULL;
    struct kj_mat z = p->ws;
    z.stride = p->v;
    for (size_t i = 0; i < p->n; i += p->chunk) {
        size_t n = p->n - i < p->chunk ? p->n - i : p->chunk;
        struct kj_mat loss = p->loss, lse = p->lse, y = p->targets;
        loss.at += i;
        lse.at += i;
        y.at += i;
        o->matmul(b, z, from(p->x, i), p->w, n, p->v, p->h, KJ_MM_TB);
        if (p->teacher)
            distil(b, p, i, n);
        else
            o->cross_entropy(b, z, loss, lse, y, n, p->v, p->scale, p->zeta, grad);
        if (!grad)
            continue;
        o->matmul(b, from(p->dx, i), z, p->w, n, p->h, p->v, 0);
        o->matmul(b, p->dw, z, from(p->x, i), p->v, p->h, n, KJ_MM_TA | KJ_MM_ADD);
    }
}
