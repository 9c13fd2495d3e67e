/* muon.h - Muon (Jordan et al. 2024): a matrix moves by its momentum with all
 * singular values brought near 1.
 *
 * u = (1 - mu) g + mu m behind m = mu m + (1 - mu) g; X = u / |u|; five times X =
 * aX + (bA + cA^2) X with A = X X^T (of the shorter side). The step is 0.2
 * sqrt(max(rows, cols)) X (Liu et al. 2025, "Muon is Scalable"): as large as
 * AdamW's, so that both go by one learning rate.
 */
#ifndef KJ_TRAINER_MUON_H
#define KJ_TRAINER_MUON_H

#include "trainer/llama.h"

struct kj_muon; /* workspaces */

/* Whether a parameter is Muon's: the matrices of blocks. */
bool kj_muon_takes(const struct kj_param *p);
/* Where each parameter's second moment begins among those of AdamW's parameters;
 * SIZE_MAX for Muon's, which has none. *elements: of all. The caller frees. */
size_t *kj_muon_seconds(const struct kj_param *p, size_t n, size_t *elements);
/* Elements of the workspaces of a shape. */
size_t kj_muon_floats(const struct kj_shape *s);
struct kj_muon *kj_muon_new(struct kj_backend *b, const struct kj_shape *s);
void kj_muon_free(struct kj_muon *u);

struct kj_muon_step {
    float lr, decay; /* w is first multiplied by 1 - decay */
    float momentum;
    float grad_scale; /* clipping */
};
/* Move parameter p of m; moment: of all parameters, as m->w. */
void kj_muon_move(struct kj_muon *u, struct kj_llama *m, const struct kj_param *p,
                  struct kj_tensor *moment, const struct kj_muon_step *s);

#endif
