/* encoder_internal.h - what encoder.c (weights) and encoder_run.c (the pass) share. */
#ifndef KJ_CLASSIFY_ENCODER_INTERNAL_H
#define KJ_CLASSIFY_ENCODER_INTERNAL_H

#include "classify/encoder.h"

struct kj_st_set;

struct encoder_layer { /* offsets in the tensor of weights */
    size_t qkv, qkv_b, o, o_b, ln1, ln1_b, up, up_b, down, down_b, ln2, ln2_b;
};

struct kj_encoder {
    struct kj_encoder_config c;
    struct kj_backend *b;
    enum kj_dtype type; /* of weights and activations */
    size_t pack, texts; /* the most of one pass */
    struct kj_tensor *w;
    size_t n_w;
    size_t words, positions, types, ln, ln_b;
    struct encoder_layer *layers;
    struct kj_head_weights head;
    struct kj_tensor *head_w; /* float32: w1, b1, w2, b2; NULL without a head */
    const char *prefix;       /* of the names: "bert." */
    struct kj_st_set *files;
};

/* Where the head's four parts are in head_w; the last is the number of elements. */
void kj_encoder_head_at(const struct kj_head_weights *h, size_t at[5]);

#endif
