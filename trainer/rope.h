/* rope.h - how fast rotary positions turn (RoFormer, Su et al. 2021), in longer contexts,
 * too: YaRN (Peng et al. 2023, eq. 21 to 25), Llama 3.1's, positions divided (Chen
 * et al. 2023).
 */
#ifndef KJ_TRAINER_ROPE_H
#define KJ_TRAINER_ROPE_H

#include "nn/backend.h"
#include "trainer/config.h"

/* speed[i], i < head_dim / 2: radians a position of pair i, without any scaling
 * theta^(-2i/head_dim). Returned: what cosines and sines are multiplied by, 1 but for
 * YaRN. */
double kj_rope_speeds(const struct kj_shape *s, double *speed);

/* Row p of a table, p < positions: head_dim / 2 cosines of p speed[i], then the sines. A
 * fault is b's. */
void kj_rope_table(struct kj_backend *b, const struct kj_shape *s, struct kj_tensor *t,
                   size_t positions);

#endif
