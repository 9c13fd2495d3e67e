/* hf.h - models as folders in Hugging Face's layout: config.json,
 * model.safetensors (or shards with an index), tokenizer.json.
 *
 * What the reader cannot honour it refuses by name: biases, rope scaling
 * other than YaRN's, Llama 3.1's and linear, another activation or architecture,
 * missing, misshapen and unknown tensors.
 */
#ifndef KJ_TRAINER_HF_H
#define KJ_TRAINER_HF_H

#include <stdint.h>

#include "nn/safetensors.h"
#include "trainer/llama.h"

struct kj_hf_config {
    struct kj_shape shape;
    int64_t bos, eos; /* -1: not given */
};

/* Read DIR/config.json. KJ_FAIL names the field. */
int kj_hf_config(const char *dir, struct kj_hf_config *c, struct kj_err *err);

/* Read the weights of DIR into m, whose shape must be the folder's. */
int kj_hf_load(struct kj_llama *m, const char *dir, struct kj_err *err);

struct kj_hf_save {
    const char *tokenizer; /* file to copy, or NULL */
    int64_t bos, eos;
    bool bf16;
};
/* Weights that come from anywhere, a few at a time: fill is asked for parameter i of
 * kj_llama_params(shape), in order. */
struct kj_hf_source {
    const struct kj_shape *shape;
    kj_st_fill *fill;
    void *ctx;
    /* Or: writes such a file of them itself; fill is not asked then. */
    int (*write)(void *ctx, const char *path, const struct kj_st_out *t, size_t n,
                 enum kj_st_type type, struct kj_err *err);
};
/* Write config.json, generation_config.json, tokenizer.json with its
 * tokenizer_config.json (the one beside it, or one that names the end tokens and the
 * plain class) and model.safetensors into an existing folder (not atomic: see
 * kj_hf_publish_from). */
int kj_hf_write_from(const struct kj_hf_source *from, const char *dir,
                     const struct kj_hf_save *s, struct kj_err *err);
/* The same, so that DIR appears whole or stays as it was. */
int kj_hf_publish_from(const struct kj_hf_source *from, const char *dir,
                       const struct kj_hf_save *s, struct kj_err *err);
/* Of m, which holds all of its weights. */
int kj_hf_publish(struct kj_llama *m, const char *dir, const struct kj_hf_save *s,
                  struct kj_err *err);

/* Remove a folder of plain files. */
int kj_hf_remove(const char *dir, struct kj_err *err);

#endif
