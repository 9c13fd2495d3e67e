/* llama_internal.h - what training and generation share of the model. */
#ifndef KJ_TRAINER_LLAMA_INTERNAL_H
#define KJ_TRAINER_LLAMA_INTERNAL_H

#include "trainer/llama.h"

/* Sizes of a shape: widths of q, of k or v, of all three; per_layer: weights. */
struct kj_llama_dims {
    size_t h, f, v, q, kv, qkv, heads, kv_heads, dim, layers, per_layer;
};
struct kj_llama_dims kj_llama_dims(const struct kj_shape *s);

/* The matrices of layer i in a tensor of weights or gradients. */
struct kj_llama_layer {
    struct kj_mat norm1, qkv, o, norm2, gu, down;
};
struct kj_llama_layer kj_llama_layer(const struct kj_llama *m, struct kj_tensor *t,
                                     size_t i);
struct kj_mat kj_llama_norm(const struct kj_llama *m, struct kj_tensor *t);
struct kj_mat kj_llama_embed(const struct kj_llama *m, struct kj_tensor *t);
struct kj_mat kj_llama_head(const struct kj_llama *m, struct kj_tensor *t);

/* Row p of the rotary table: cosines of p theta^(-2i/dim) for i below dim/2,
 * then the sines. With YaRN other speeds, and both times its factor. */
void kj_llama_rope_row(const struct kj_shape *s, size_t p, float *row);

/* Floats of activations and workspaces for so many tokens a pass. */
size_t kj_llama_act_floats(const struct kj_shape *s, size_t tokens, size_t chunk,
                           bool train);

#endif
