/* llama_internal.h - what training and generation share of the model. */
#ifndef KJ_TRAINER_LLAMA_INTERNAL_H
#define KJ_TRAINER_LLAMA_INTERNAL_H

#include "trainer/llama.h"

/* Sizes of a shape: widths of q, of k or v, of all three; per_layer: weights. */
struct kj_llama_dims {
    size_t h, f, v, q, kv, qkv, heads, kv_heads, dim, layers, per_layer;
};
struct kj_llama_dims kj_llama_dims(const struct kj_shape *s);

/* The matrices of a layer, whose weights or gradients begin at u. */
struct kj_llama_layer {
    struct kj_mat norm1, qkv, o, norm2, gu, down;
};
struct kj_llama_layer kj_llama_layer(const struct kj_llama *m, struct kj_mat u);
/* Those outside of layers. */
struct kj_llama_ends {
    struct kj_mat embed, norm, head;
};
struct kj_llama_ends kj_llama_ends(const struct kj_llama *m, struct kj_mat first,
                                   struct kj_mat last);
/* Of a tensor of all weights. */
struct kj_llama_layer kj_llama_layer_of(const struct kj_llama *m, struct kj_tensor *t,
                                        size_t i);
struct kj_llama_ends kj_llama_ends_of(const struct kj_llama *m, struct kj_tensor *t);
/* The weights that passes read; the gradients of ends, where passes add them up. */
struct kj_tensor *kj_llama_working(const struct kj_llama *m);
struct kj_llama_ends kj_llama_end_grads(const struct kj_llama *m);

/* llama.c: a layer one way is the same operations on the same operands in each pass, but
 * for the documents: a section, and so is the head. Not where gradients are rounded by
 * chance, which is another one each pass, or somebody looks on. */
bool kj_llama_in_sections(const struct kj_llama *m);
/* From r's tokens to the last norm's output. KJ_FATAL: more of them than m is for. */
int kj_llama_forward(struct kj_llama *m, const struct kj_rows *r, struct kj_err *err);
/* From the gradient of the last norm's input to those of all units but the last, which
 * is the head's. Who adds to a unit tells of it. */
void kj_llama_backward(struct kj_llama *m, const struct kj_rows *r);
void kj_llama_growing(const struct kj_llama *m, size_t unit);
void kj_llama_grown(const struct kj_llama *m, size_t unit);

/* llama_parts.c: elements that a rank keeps of weights, gradients or moments that are
 * cut; those of slots, 0 where there are none; a model's spans. */
size_t kj_llama_own(const struct kj_shape *s, const struct kj_llama_how *how);
size_t kj_llama_slots(const struct kj_shape *s, const struct kj_llama_how *how);
void kj_llama_spans_new(struct kj_llama *m);

/* Codes of a map's input, transposed (width rows of tokens), and their scale: what FP8
 * keeps in place of the input. t.t NULL: it does not. */
struct kj_llama_kept {
    struct kj_mat t, scale;
};

/* What a layer makes on its way forward and wants on its way back: the stream before
 * each norm and the norm's factor and output; q, k, v behind the rotation;
 * attention's output and log sums; gate and up, and their product. Those that the
 * model's `recompute` does not keep lie in memory that all layers share. */
struct kj_llama_layer_acts {
    struct kj_mat x1, r1, y1, qkv, att, lse, x2, r2, y2, gu, h;
    struct kj_llama_kept kept_y1, kept_y2, kept_h;
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
    KJ_LT_SLOTS,
    KJ_LT_LAYERS,
    KJ_LT_LAYER_SUMS,
    KJ_LT_REST,
    KJ_LT_REST_SUMS,
    KJ_LT_F8_KEPT,
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

/* The maps of a block, and what each multiplies: its input, its weights, the gradient
 * of its output. */
enum kj_llama_map { KJ_MAP_QKV, KJ_MAP_O, KJ_MAP_GU, KJ_MAP_DOWN, KJ_MAPS };
enum kj_llama_operand { KJ_OF_X, KJ_OF_W, KJ_OF_DY, KJ_OPERANDS };

/* FP8: codes of layers; `rest` as memory of codes, and at which byte of it those of the
 * map at hand begin, forward and backward; the scales of its input, its weights and the
 * gradient of its output; and the largest magnitudes of all operands of a pass: of each
 * layer, map and operand one number. */
struct kj_llama_f8 {
    struct kj_tensor *kept, *e4m3, *e5m2;
    size_t at[2][KJ_MAPS];
    struct kj_mat scales, most;
};

struct kj_llama_acts {
    /* Elements of a layer's set: of those that go deeper, and of the others. */
    size_t per_layer[2], sums_layer[2], f8_layer[2];
    size_t width; /* bytes of an activation */
    struct kj_tensor *layers, *layer_sums, *rest, *rest_sums;
    struct kj_tensor *ids, *pos, *targets, *rope;
    struct kj_mat delta, x, r, y, logits, loss, lse;
    struct kj_mat dres, dy, dqkv, datt, dh;
    struct kj_mat scale; /* the loss's share of the gradients; of who trains */
    struct kj_llama_layer_acts shared; /* of what is not kept; else t is NULL */
    struct kj_llama_f8 f8;
    float *host; /* tokens */
};
/* By m->how; faults stay in the back end. */
void kj_llama_acts_new(struct kj_llama *m);
void kj_llama_acts_free(struct kj_llama *m);

/* Bytes that codes of a map take while it is computed, forward or backward; 0 where it is
 * not FP8. x: those of its input are made again on the way back. */
size_t kj_llama_f8_codes(const struct kj_llama *m, enum kj_llama_map map, bool back,
                         bool x);
/* How many largest magnitudes there are. */
size_t kj_llama_mosts(const struct kj_shape *s);
bool kj_llama_f8_fits(const struct kj_llama_how *how, size_t out, size_t in);

/* Where the largest magnitude of an operand is to be when a map takes it: for
 * kj_backend.most. None where the map is not FP8. All are 0 when a pass begins, and those
 * of a layer's weights are there once kj_llama_most_of_weights was called. */
struct kj_mat kj_llama_most(const struct kj_llama *m, size_t layer,
                            enum kj_llama_map map, enum kj_llama_operand which);
void kj_llama_most_begin(const struct kj_llama *m);
void kj_llama_most_of_weights(const struct kj_llama *m, size_t layer,
                              const struct kj_llama_layer *w);

/* A map of a layer: y = x w', n rows. kept (may be NULL): where the codes of x go, if they
 * are kept. */
void kj_llama_linear(const struct kj_llama *m, size_t layer, enum kj_llama_map map,
                     struct kj_mat y, struct kj_mat x, struct kj_mat w,
                     const struct kj_llama_kept *kept, size_t n);
/* dw += dy' x, then dx = dy w. dx may lie where x did; x is not read if its codes were
 * kept. */
void kj_llama_linear_back(const struct kj_llama *m, size_t layer, enum kj_llama_map map,
                          struct kj_mat dx, struct kj_mat dw, struct kj_mat dy,
                          struct kj_mat x, const struct kj_llama_kept *kept,
                          struct kj_mat w, size_t n);

#endif
