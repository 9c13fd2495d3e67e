/* derive.h - models made from other models' weights alone, tensor by tensor:
 * no model is ever in memory, so an 8B on a laptop is a matter of its disk.
 *
 * The folder OUT appears whole or not at all; it gets the tokenizer.json of
 * the (first) model, and bf16 weights where that has them, else float32.
 *
 * Depth up-scaling: Kim et al. 2023, "SOLAR 10.7B" - layers are copied by
 * ranges and trained further. SLERP: Shoemake 1985, over each tensor as one
 * vector.
 */
#ifndef KJ_TRAINER_DERIVE_H
#define KJ_TRAINER_DERIVE_H

#include <stddef.h>
#include <stdint.h>

#include "trainer/hf.h"
#include "trainer/weights.h"

struct kj_err;

/* A model to read from. */
struct kj_parent {
    char *dir; /* its own: DIR, or DIR/model behind a training run */
    struct kj_hf_config config;
    struct kj_weights *weights;
};
int kj_parent_open(struct kj_parent *p, const char *dir, struct kj_err *err);
void kj_parent_close(struct kj_parent *p);
/* Write OUT with the values that `fill` gives for each parameter of s. */
int kj_parent_publish(const struct kj_parent *p, const struct kj_shape *s,
                      kj_st_fill *fill, void *ctx, const char *out, struct kj_err *err);

/* Layers from (first) to (behind the last). */
struct kj_layers {
    int64_t from, to;
};
/* "0:20,12:32" to ranges; `:` alone stands for the model's ends, as in "0:".
 * KJ_USAGE names the range that is not in 0..layers. *out is the caller's. */
int kj_layers_parse(const char *text, int64_t layers, struct kj_layers **out, size_t *n,
                    struct kj_err *err);
/* The model of these layers, one range behind the other. *layers gets their
 * number. Also fewer layers than before. */
int kj_upscale(const char *dir, const char *keep, const char *out, int64_t *layers,
               struct kj_err *err);

/* The mean of n models of one shape, with weights that are divided by their
 * sum (NULL: all the same). KJ_USAGE when shapes differ. */
int kj_merge_linear(const char *const *dirs, size_t n, const double *weights,
                    const char *out, struct kj_err *err);
/* From a (t = 0) to b (t = 1) along the great circle of each tensor; straight
 * where they point almost the same way (cosine over 0.9995) or one is zero. */
int kj_merge_slerp(const char *a, const char *b, double t, const char *out,
                   struct kj_err *err);

#endif
