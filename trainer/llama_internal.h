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

/* What a layer makes on its way forward and wants on its way back: the stream before
 * each norm and the norm's factor and output; q, k, v behind the rotation;
 * attention's output and log sums; gate and up, and their product. Those that the
 * model's `recompute` does not keep lie in memory that all layers share. */
struct kj_llama_layer_acts {
    struct kj_mat x1, r1, y1, qkv, att, lse, x2, r2, y2, gu, h;
};
void kj_llama_layer_acts(const struct kj_llama *m, size_t i,
                         struct kj_llama_layer_acts *l);
/* What layer i makes again. */
enum kj_recompute kj_llama_again(const struct kj_llama_how *how, size_t i);

/* The tensors of a model, one table for those who make them and those who count. */
enum kj_llama_tensor {
    KJ_LT_WEIGHTS,
    KJ_LT_GRADS,
    KJ_LT_LOW,
    KJ_LT_LAYERS,
    KJ_LT_LAYER_SUMS,
    KJ_LT_REST,
    KJ_LT_REST_SUMS,
    KJ_LT_IDS,
    KJ_LT_POS,
    KJ_LT_TARGETS,
    KJ_LT_ROPE,
    KJ_LT_COUNT
};
struct kj_llama_need {
    enum kj_memory kind;
    enum kj_dtype type;
    size_t n; /* elements; 0: there is no such tensor */
};
/* bf16: the back end's operations take bfloat16 (ops->bf16). */
void kj_llama_needs(const struct kj_shape *s, const struct kj_llama_how *how, bool bf16,
                    struct kj_llama_need need[KJ_LT_COUNT]);

struct kj_llama_acts {
    /* Elements of a layer's set: of those that go deeper, and of the others. */
    size_t per_layer[2], sums_layer[2];
    struct kj_tensor *layers, *layer_sums, *rest, *rest_sums;
    struct kj_tensor *ids, *pos, *targets, *rope;
    struct kj_mat delta, x, r, y, logits, loss, lse;
    struct kj_mat dres, dy, dqkv, datt, dh;
    struct kj_llama_layer_acts shared; /* of what is not kept; else t is NULL */
    float *host;                       /* tokens */
};
/* By m->how; faults stay in the back end. */
void kj_llama_acts_new(struct kj_llama *m);
void kj_llama_acts_free(struct kj_llama *m);

/* Row p of the rotary table: cosines of p theta^(-2i/dim) for i below dim/2,
 * then the sines. With YaRN other speeds, and both times its factor. */
void kj_llama_rope_row(const struct kj_shape *s, size_t p, float *row);

#endif
