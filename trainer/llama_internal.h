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

/* What a layer keeps for its backward pass: the stream before each norm and the norm's
 * factor and output; q, k, v behind the rotation; attention's output and log
 * sums; gate and up, and their product. */
struct kj_llama_layer_acts {
    struct kj_mat x1, r1, y1, qkv, att, lse, x2, r2, y2, gu, h;
};
void kj_llama_layer_acts(const struct kj_llama *m, size_t i,
                         struct kj_llama_layer_acts *l);

struct kj_llama_acts {
    size_t tokens, chunk;
    bool train;
    size_t per_layer, sums_layer; /* elements of a layer's set */
    struct kj_tensor *layers, *layer_sums, *rest, *rest_sums;
    struct kj_tensor *ids, *pos, *targets, *rope;
    size_t rope_n; /* positions in the table */
    struct kj_mat delta, x, r, y, logits, loss, lse;
    struct kj_mat dres, dy, dqkv, datt, dh;
    float *host; /* tokens */
};
/* Faults stay in the back end. type: of what is not a sum. */
void kj_llama_acts_new(struct kj_llama *m, size_t tokens, size_t chunk, bool train,
                       enum kj_dtype type);
void kj_llama_acts_free(struct kj_llama *m);

/* Row p of the rotary table: cosines of p theta^(-2i/dim) for i below dim/2,
 * then the sines. With YaRN other speeds, and both times its factor. */
void kj_llama_rope_row(const struct kj_shape *s, size_t p, float *row);

/* Floats of activations and workspaces for so many tokens a pass. */
size_t kj_llama_act_floats(const struct kj_shape *s, size_t tokens, size_t chunk,
                           bool train);

#endif
