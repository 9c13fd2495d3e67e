/* rope.c - how fast rotary positions turn. */
#include "trainer/rope.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"

/* Positions that go to the device at once. */
#define ROWS ((size_t)64)

/* YaRN: the pair (a real number) that turns `beta` times in the old context. */
static double pair_of(const struct kj_shape *s, double beta)
{
    double dim = (double)s->head_dim;
    return dim * log((double)s->rope_original / (beta * 6.283185307179586)) /
           (2 * log(s->rope_theta));
}

/* How much of pair i, which turns by f a position, is stretched: what turns fast enough
 * to tell neighbours apart stays; slow pairs are stretched; a ramp lies between, over
 * pairs with YaRN, over turns in the old context with Llama 3.1. */
static double stretched(const struct kj_shape *s, double i, double f)
{
    double fast = s->rope_beta_fast, slow = s->rope_beta_slow;
    if (s->rope_type == KJ_ROPE_LINEAR)
        return 1;
    if (s->rope_type == KJ_ROPE_LLAMA3) {
        double turns = f * (double)s->rope_original / 6.283185307179586;
        return fmin(fmax((fast - turns) / (fast - slow), 0), 1);
    }
    double low = fmax(floor(pair_of(s, fast)), 0);
    double high = fmin(ceil(pair_of(s, slow)), (double)s->head_dim - 1);
    if (high == low)
        high += 0.001;
    return fmin(fmax((i - low) / (high - low), 0), 1);
}

double kj_rope_speeds(const struct kj_shape *s, double *speed)
{
    for (size_t i = 0; i < (size_t)s->head_dim / 2; i++) {
        double f = pow(s->rope_theta, -2.0 * (double)i / (double)s->head_dim);
        double part = s->rope_factor > 1 ? stretched(s, (double)i, f) : 0;
        speed[i] = part > 0 ? f * (1 - part) + f / s->rope_factor * part : f;
    }
    return s->rope_factor > 1 && s->rope_type == KJ_ROPE_YARN
               ? 0.1 * log(s->rope_factor) + 1
               : 1;
}

/* Angles are made in double: at position 8000 float32 would be off by 5e-4. */
void kj_rope_table(struct kj_backend *b, const struct kj_shape *s, struct kj_tensor *t,
                   size_t positions)
{
    size_t dim = (size_t)s->head_dim, half = dim / 2;
    double *speed = kj_xcalloc(half, sizeof *speed), scale = kj_rope_speeds(s, speed);
    float *rows = kj_xcalloc(ROWS * dim, sizeof *rows);
    for (size_t from = 0; from < positions; from += ROWS) {
        size_t n = positions - from < ROWS ? positions - from : ROWS;
        for (size_t k = 0; k < n; k++)
            for (size_t i = 0; i < half; i++) {
                double angle = (double)(from + k) * speed[i];
                rows[k * dim + i] = (float)(scale * cos(angle));
                rows[k * dim + i + half] = (float)(scale * sin(angle));
            }
        b->ops->write(b, t, from * dim, rows, n * dim);
    }
    free(rows);
    free(speed);
}
