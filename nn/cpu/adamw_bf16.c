/* adamw_bf16.c - AdamW on bfloat16 states, rounded by chance.
 *
 * What is lost without chance: bfloat16 has 8 bits, so that neighbours of x lie x/256 to
 * x/128 apart, and rounding to nearest loses every step that is below half of that. A
 * weight moves by about the learning rate, which is below it for any weight over
 * 500 learning rates. The second moment falls by 1 - beta2 of itself at most (0.05 to
 * 0.001): with a beta2 over 0.998 it would never fall. The first moment moves by a
 * tenth and would stand nearest rounding, but not with a beta1 of 0.99. So all three
 * are rounded by chance, each with 16 bits of one random number an element: the
 * mean of what is kept is what was computed. What that noise does to losses is in
 * docs/benchmarks.md.
 *
 * The weight moves by the moments as they were computed, not as they are kept.
 */
#include <math.h>

#include "nn/arith.h"
#include "nn/cpu/cpu.h"

void kj_cpu_adamw_bf16(struct kj_mat w, struct kj_mat g, struct kj_mat m,
                       struct kj_mat v, size_t i, size_t end, const struct kj_adamw *p)
{
    const struct kj_adamw q = *p;
    struct kj_bf16 *wp = (struct kj_bf16 *)w.t->p + w.at,
                   *mp = (struct kj_bf16 *)m.t->p + m.at,
                   *vp = (struct kj_bf16 *)v.t->p + v.at;
    const struct kj_bf16 *gp = (const struct kj_bf16 *)g.t->p + g.at;
    for (; i < end; i++) {
        uint64_t r = kj_random64(q.key, q.at + i);
        float d = kj_mul(kj_from_bf16(gp[i]), q.grad_scale);
        float mi = kj_ema_low(mp[i], d, q.beta1);
        float vi = kj_ema_low(vp[i], kj_mul(d, d), q.beta2);
        float wi = kj_adamw_low(wp[i], mi, sqrtf(kj_mul(vi, q.fix2)), q.lr, q.eps,
                                q.decay, q.fix1);
        wp[i] = kj_to_bf16_by(wi, (uint32_t)r);
        mp[i] = kj_to_bf16_by(mi, (uint32_t)(r >> 16));
        vp[i] = kj_to_bf16_by(vi, (uint32_t)(r >> 32));
    }
}
