/* speed_ops.c - each operation of a training step (or an encoder's window), timed at
 * the model's shapes.
 *
 * What they are, speed_items.c says. Repetitions go round as many sets of operands as
 * fit in SPREAD.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "nn/speed_internal.h"

/* Five times the largest second-level cache of a GPU (H100: 50 MB). */
#define SPREAD   (256u << 20)
#define SETS     16
#define SAMPLES  15
#define SAMPLE_S 2e-3 /* waiting for a GPU takes 10 to 20 us: below 1 % of this */
#define REPEATED 512

const struct kj_speed_shape kj_speed_shapes[] = {
    {"nano", "Kanana Nano 2.1B, rows of 4096", 32, 1792, 8064, 24, 8, 128, 128256,
     16384, 4096, 4096, false},
    {"qwen", "Qwen2.5 1.5B, rows of 1024", 28, 1536, 8960, 12, 2, 128, 151936, 16384,
     1024, 4096, false},
    {"8b", "8B, one row of 8192", 32, 4096, 14336, 32, 8, 128, 128256, 8192, 8192, 2048,
     false},
    {"bert", "BERT base, documents of 64 to 512", 12, 768, 3072, 12, 12, 64, 30522,
     65536, 512, 0, true},
    {"tiny", "to see that it works", 2, 32, 64, 4, 2, 16, 280, 64, 32, 48, false},
    {0},
};

/* Ids, positions, rotations, and the bounds of documents. */
static void inputs(struct kj_speed_bench *s)
{
    const struct kj_speed_shape *p = s->s;
    size_t n = s->n, dim = p->dim, half = dim / 2, at = 0;
    int32_t *ids = kj_xcalloc(n, sizeof *ids), *pos = kj_xcalloc(n, sizeof *pos);
    float *turn = kj_xcalloc(p->seq * dim, sizeof *turn);
    s->cu = kj_xcalloc(n + 1, sizeof *s->cu);
    for (uint32_t z = 7; at < n; s->segs++) {
        z = z * 1664525u + 1013904223u;
        size_t len = p->encoder ? 64 + (z >> 8) % (p->seq - 63) : p->seq;
        len = len < n - at ? len : n - at;
        for (size_t i = 0; i < len; i++)
            pos[at + i] = (int32_t)i;
        s->pairs += (double)len * (p->encoder ? (double)len : (double)(len + 1) / 2);
        s->cu[s->segs + 1] = (int32_t)(at += len);
    }
    for (size_t i = 0; i < n; i++)
        ids[i] = (int32_t)((uint32_t)i * 2654435761u % p->vocab);
    for (size_t i = 0; i < p->seq; i++)
        for (size_t k = 0; k < half; k++) {
            double a = (double)i * pow(500000, -2 * (double)k / (double)dim);
            turn[i * dim + k] = (float)cos(a);
            turn[i * dim + half + k] = (float)sin(a);
        }
    s->ids = s->o->tensor_new(s->b, KJ_I32, n);
    s->pos = s->o->tensor_new(s->b, KJ_I32, n);
    s->rope = s->o->tensor_new(s->b, KJ_F32, p->seq * dim);
    if (s->ids && s->pos && s->rope) {
        s->o->write(s->b, s->ids, 0, ids, n);
        s->o->write(s->b, s->pos, 0, pos, n);
        s->o->write(s->b, s->rope, 0, turn, p->seq * dim);
    }
    free(ids);
    free(pos);
    free(turn);
}

static void run_set(struct kj_speed_bench *s, const struct kj_speed_item *it,
                    size_t set)
{
    struct kj_speed_arena *const all[] = {KJ_SPEED_ARENAS(s)};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        all[i]->at = set * all[i]->need;
    s->flops = s->bytes = 0;
    it->run(s, it);
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The median of one run. Short ones are timed in groups between two waits. */
static int clocked(struct kj_speed_bench *s, const struct kj_speed_item *it,
                   size_t sets, double seconds, double *median, struct kj_err *err)
{
    double took[SAMPLES] = {0};
    size_t n = 0, set = 0, group;
    s->first = true;
    for (size_t i = 0; i < sets; i++)
        run_set(s, it, i);
    s->first = false;
    int rc = s->o->sync(s->b, err);
    double start = kj_now();
    run_set(s, it, 0);
    rc = rc ? rc : s->o->sync(s->b, err);
    double one = fmax(kj_now() - start, 1e-9);
    group = (size_t)fmin(ceil(SAMPLE_S / one), REPEATED);
    while (!rc && n < SAMPLES && (n < 3 || kj_now() - start < seconds)) {
        double t0 = kj_now();
        for (size_t i = 0; i < group; i++, set++)
            run_set(s, it, set % sets);
        rc = s->o->sync(s->b, err);
        took[n++] = (kj_now() - t0) / (double)group;
    }
    qsort(took, n, sizeof *took, by_size);
    *median = n ? took[n / 2] : 0;
    return rc;
}

static int item(struct kj_speed_bench *s, const struct kj_speed_item *it,
                const struct kj_speed_peaks *peaks, double seconds,
                struct kj_speed_row *r, struct kj_err *err)
{
    struct kj_speed_arena *const all[] = {KJ_SPEED_ARENAS(s)};
    const size_t n = sizeof all / sizeof *all;
    double bytes = 0;
    s->dry = true;
    for (size_t i = 0; i < n; i++)
        all[i]->need = 0;
    run_set(s, it, 0);
    s->dry = false;
    for (size_t i = 0; i < n; i++) {
        all[i]->need = all[i]->at;
        bytes += (double)(all[i]->need * kj_speed_width(all[i]->type));
    }
    size_t sets = (size_t)fmin(fmax(ceil(SPREAD / bytes), 1), SETS);
    for (size_t i = 0; i < n; i++)
        all[i]->t = kj_speed_width(all[i]->type) > 1
                        ? kj_speed_random(s->b, all[i]->type, sets * all[i]->need)
                        : s->o->tensor_new(s->b, all[i]->type, sets * all[i]->need);
    *r = (struct kj_speed_row){.op = it->op,
                               .what = it->what,
                               .count = it->count,
                               .flops = s->flops,
                               .bytes = s->bytes};
    if (it->k)
        snprintf(r->size, sizeof r->size, "%zux%zux%zu", it->m, it->n, it->k);
    else
        snprintf(r->size, sizeof r->size, "%zux%zu", it->m, it->n);
    int rc = s->o->sync(s->b, err);
    rc = rc ? rc : clocked(s, it, sets, seconds, &r->seconds, err);
    for (size_t i = 0; i < n; i++) {
        s->o->tensor_free(s->b, all[i]->t);
        all[i]->t = NULL;
    }
    double peak = strcmp(it->op, "matmul_f8") == 0 ? peaks->gflops_f8
                  : s->o->bf16                     ? peaks->gflops_bf16
                                                   : peaks->gflops;
    double floor = fmax(r->flops / (1e9 * peak), r->bytes / (1e9 * peaks->copy));
    r->share = r->seconds > 0 ? floor / r->seconds : 0;
    return rc;
}

int kj_speed_ops(struct kj_backend *b, const struct kj_speed_shape *p, bool f8,
                 const struct kj_speed_peaks *peaks, double seconds,
                 void (*report)(void *ctx, const struct kj_speed_row *r), void *ctx,
                 struct kj_err *err)
{
    struct kj_speed_bench s = {.b = b, .o = b->ops, .s = p, .n = p->tokens};
    struct kj_speed_items t = {.n = 0};
    s.h = p->hidden;
    s.f = p->ffn;
    s.q = p->heads * p->dim;
    s.kv = p->kv_heads * p->dim;
    s.qkv = s.q + 2 * s.kv;
    s.params = 2 * s.h + s.qkv * s.h + s.h * s.q + 3 * s.f * s.h;
    s.low.type = b->ops->bf16 ? KJ_BF16 : KJ_F32;
    s.wide.type = KJ_F32;
    s.flat.type = KJ_E4M3;
    s.steep.type = KJ_E5M2;
    s.f8 = f8 && b->f8;
    if (f8 && !s.f8)
        return kj_err_set(err, KJ_USAGE, "%s does not multiply FP8", b->ops->name);
    inputs(&s);
    int rc = b->ops->sync(b, err);
    kj_speed_items(&s, &t);
    for (size_t i = 0; i < t.n && rc == KJ_OK; i++) {
        struct kj_speed_row r;
        rc = item(&s, &t.v[i], peaks, seconds, &r, err);
        if (rc == KJ_OK)
            report(ctx, &r);
    }
    b->ops->tensor_free(b, s.ids);
    b->ops->tensor_free(b, s.pos);
    b->ops->tensor_free(b, s.rope);
    free(s.cu);
    return rc;
}
