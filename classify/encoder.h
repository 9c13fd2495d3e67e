/* encoder.h - transformer encoders with a head: BERT and XLM-RoBERTa.
 *
 * A folder in Hugging Face's layout: config.json, model.safetensors (or shards with
 * an index; F32, BF16, F16 or F64) and, for texts.h, tokenizer.json. model_type bert
 * (learned positions from 0, token types; the FineWeb-Edu classifier) or roberta,
 * xlm-roberta, camembert (positions from pad_token_id + 1; KoE5, multilingual-e5).
 * Post-LayerNorm, as in Devlin et al. 2018. Names of tensors are those of BertModel,
 * behind "bert.", "roberta." or nothing.
 *
 * The head: "classifier.weight" over the vector of the first token, behind the
 * pooler (tanh) where a BERT has one; or "classifier.dense" with an activation and
 * "classifier.out_proj". What Hugging Face has no word for stands in config.json
 * under "kijil": {"head": "linear"|"dense", "pooling": "cls"|"mean", "activation":
 * "tanh"|"relu", "pooler": bool, "prefix": "passage: ", "max_tokens": 512}.
 *
 * What the reader cannot honour it refuses by name: other position embeddings, a
 * decoder, missing, misshapen or unknown tensors, weights that are not finite.
 * Memory: the weights as float32 (on a GPU bfloat16, and so are activations there), and
 * per struct kj_encoder_run the activations of a pass.
 *
 * Thread-safety: an open encoder is read-only and shared by threads; each has a run
 * of its own.
 */
#ifndef KJ_CLASSIFY_ENCODER_H
#define KJ_CLASSIFY_ENCODER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "nn/backend.h"

/* Tokens of one pass, all texts together; a longer text is a pass by itself. A GPU
 * takes more: with 110 M parameters 2048 tokens are half a millisecond of one. There
 * KIJIL_CUDA_WINDOW (256 to 1048576) says another number. */
#define KJ_ENCODER_PACK     2048
#define KJ_ENCODER_PACK_GPU 16384
/* Passes that a GPU has at a time. */
#define KJ_ENCODER_FLYING 2

enum kj_pool { KJ_POOL_CLS, KJ_POOL_MEAN };

struct kj_encoder_config {
    int64_t vocab, hidden, ffn, layers, heads, types;
    int64_t positions;      /* rows of the table */
    int64_t first_position; /* row of the first token */
    int64_t max_tokens;     /* of one text, special tokens included */
    double eps;
    enum kj_act act;
    /* the head */
    bool regression; /* one number; else a softmax over the labels */
    int64_t labels;  /* as config.json has them; 0: not said */
    char **names;    /* [labels] */
    enum kj_pool pool;
    int head;    /* 0: by its tensors, 1: linear, 2: with classifier.dense */
    bool pooler; /* apply the pooler where there is one */
    enum kj_act head_act;
    char *prefix; /* of every text, "" */
};

/* Read the text of config.json. KJ_FAIL names the field. */
int kj_encoder_config_parse(struct kj_encoder_config *c, const char *p, size_t n,
                            struct kj_err *err);
void kj_encoder_config_release(struct kj_encoder_config *c);

/* A head over vectors of `in` numbers: W2 act(W1 x + b1) + b2, or without the first
 * layer when width is 0. Row-major; all owned. */
struct kj_head_weights {
    size_t in, width, out;
    enum kj_act act;
    float *w1, *b1; /* width * in, width */
    float *w2, *b2; /* out * (width or in), out */
};
void kj_head_weights_release(struct kj_head_weights *h);
/* y[out] from x[in], in double: for tests of what a head learned, and small jobs. */
void kj_head_apply(const struct kj_head_weights *h, const float *x, double *y);

struct kj_encoder;     /* weights */
struct kj_encoder_run; /* one thread's back end and activations */

/* Read a folder. With head: it must have one. device: a back end's name; where "auto" took
 * a GPU that has no memory for weights and passes, the CPU goes on, and says why. */
int kj_encoder_open(struct kj_encoder **out, const char *dir, bool head,
                    const char *device, struct kj_err *err);
/* The name of the back end that it took; in line a GPU's description, or why "auto" took
 * none ("": it was not asked). */
const char *kj_encoder_device(const struct kj_encoder *e, char *line, size_t n);
/* Is that a GPU? Then one or two runs are enough for all threads: encoder_queue.h. */
bool kj_encoder_gpu(const struct kj_encoder *e);
/* The most tokens and texts of a pass. */
size_t kj_encoder_pack(const struct kj_encoder *e);
size_t kj_encoder_texts(const struct kj_encoder *e);
void kj_encoder_free(struct kj_encoder *e);
const struct kj_encoder_config *kj_encoder_get_config(const struct kj_encoder *e);
const struct kj_head_weights *kj_encoder_head(const struct kj_encoder *e);

int kj_encoder_run_new(struct kj_encoder_run **out, const struct kj_encoder *e,
                       unsigned threads, struct kj_err *err);
void kj_encoder_run_free(struct kj_encoder_run *r);

/* A pass over n texts: text i has the ids cu[i] .. cu[i+1]-1 (at least one, at most
 * max_tokens; cu[0] is 0; cu[n] and n are at most as above, KJ_FATAL otherwise). start()
 * gives it to the device, which may work on it until finish() waits for the result: n
 * rows of hidden, the pooled vectors; or with outputs the head's n rows of `out`, before
 * any softmax, computed by the device in float32. ids and cu may be reused in between. */
int kj_encoder_start(const struct kj_encoder *e, struct kj_encoder_run *r,
                     enum kj_pool pool, bool outputs, const int32_t *ids,
                     const int32_t *cu, size_t n, struct kj_err *err);
int kj_encoder_finish(const struct kj_encoder *e, struct kj_encoder_run *r, float *out,
                      struct kj_err *err);
/* Both, for vectors. */
int kj_encoder_features(const struct kj_encoder *e, struct kj_encoder_run *r,
                        enum kj_pool pool, const int32_t *ids, const int32_t *cu,
                        size_t n, float *out, struct kj_err *err);

#endif
