/* llama.h - the Llama model on a compute back end: weights, forward,
 * backward, and generation with a cache.
 *
 * Pre-norm blocks: x += attention(norm(x)); x += down(swiglu(norm(x))). All
 * weights lie in one tensor, in the order of a Hugging Face checkpoint, with
 * q, k, v (and gate, up) of a layer one behind the other, so that each triple
 * is one matrix product. Gradients have the same layout.
 *
 * Rows of a batch are packed: documents stand one behind the other, attention
 * and positions are cut between them (struct kj_rows).
 *
 * Thread-safety: one thread at a time; the back end has its own threads.
 */
#ifndef KJ_TRAINER_LLAMA_H
#define KJ_TRAINER_LLAMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "nn/backend.h"
#include "trainer/config.h"

/* One named matrix or vector of the weights. */
struct kj_param {
    char name[80];     /* Hugging Face's: "model.layers.3.mlp.up_proj.weight" */
    size_t at;         /* first element */
    size_t rows, cols; /* vectors: rows 1 */
    int layer;         /* -1 outside of blocks */
    bool vector;
    float init; /* standard deviation when fresh; 0: all ones */
};

/* The parameters of a shape, in order. *n_elements may be NULL. The array is
 * the caller's to free. */
struct kj_param *kj_llama_params(const struct kj_shape *s, size_t *n,
                                 size_t *n_elements);

/* Packed rows: what one forward pass reads. */
struct kj_rows {
    size_t n; /* tokens */
    const int32_t *ids, *pos;
    const int32_t *targets; /* -1: no loss here; NULL when not asked for */
    size_t segs;
    const int32_t *cu; /* segs + 1 bounds of documents */
};

/* What one block (or, with layer == layers, the last norm) just computed, in
 * memory of the device: n rows each. Those that do not apply have t NULL. */
struct kj_llama_view {
    size_t layer, n;
    struct kj_mat norm1, norm2; /* hidden: the norms' outputs (last: norm1) */
    struct kj_mat heads;        /* heads * head_dim: what o_proj reads */
    struct kj_mat neurons;      /* ffn: silu(gate) * up */
    struct kj_mat before;       /* hidden: the stream before the block */
    struct kj_mat mid, delta;   /* behind it: the sum of these two */
};

/* How a model is held. */
struct kj_llama_how {
    size_t tokens; /* most of one pass */
    size_t chunk;  /* tokens whose logits exist at a time */
    bool train;    /* gradients, and what backward passes need */
    /* Multiply bfloat16 numbers. On back ends whose operations take them (ops->bf16)
     * activations are kept in bfloat16 too, and a copy of the weights, which stay
     * float32 themselves; elsewhere only products round their operands. */
    bool bf16;
    bool states_bf16; /* weights and gradients are bfloat16 themselves; on back ends
                         with ops->bf16, for models that multiply it */
    bool f8;          /* the maps of blocks multiply FP8 (llama_linear.c) */
    enum kj_recompute recompute; /* of training; the same bits at each */
    size_t deeper;               /* so many of the first layers take the next level */
    /* One of several ranks that train it together, and of which each keeps a part of what
     * passes can do without: of float32 weights where they multiply a copy, and with
     * zero 2 of gradients. ranks 0 or 1: it keeps all. */
    int rank, ranks, zero;
    /* Passes of few sizes come again and again: short ones are sections, layer by layer
     * (nn/backend.h). */
    bool again;
};

/* As a run says, of which this is one rank. With Muon, which needs whole matrices,
 * every rank keeps all. */
struct kj_llama_how kj_llama_how_of(const struct kj_run *run, int rank, int ranks);
/* Of the run's teacher, whose weights are only multiplied; bf16: the back end's
 * operations take bfloat16 (ops->bf16). */
struct kj_llama_how kj_llama_how_teacher(const struct kj_run *run, bool bf16);

/* What memory is taken for; in this order it is told. */
enum kj_memory {
    KJ_MEM_WEIGHTS,
    KJ_MEM_LOW, /* the weights once more, as passes multiply them */
    KJ_MEM_GRADS,
    KJ_MEM_MOMENTS,
    KJ_MEM_ACTS,
    KJ_MEM_WORK, /* what operations need besides their operands */
    KJ_MEM_KINDS
};

/* Elements from .. to of a model, which lie at `at` of what a rank keeps of them. */
struct kj_span {
    size_t from, to, at;
};

struct kj_llama {
    struct kj_backend *b;
    /* Called in forward passes while set: where scores are made. Of a model that is
     * not for training, whose norms and products are there side by side. */
    void (*look)(void *ctx, const struct kj_llama_view *v);
    void *look_ctx;
    unsigned mm; /* KJ_MM_BF16 or 0: how training multiplies; generation and
                    kj_llama_logits too, but not the cache */
    struct kj_shape shape;
    struct kj_llama_how how;
    struct kj_param *params;
    bool sections;      /* layers are, one for each way */
    float scale;        /* of losses, as it lies on the device */
    size_t n_params, n; /* parameters, elements */
    /* What is this rank's to keep and to move: a span of each unit, or one of all. */
    size_t n_spans, own; /* own: elements that spans take where they are kept */
    struct kj_span *spans;
    struct kj_tensor *w, *g; /* weights; gradients (training only): all, or own */
    struct kj_tensor *low;   /* the weights in bfloat16 beside float32 ones, or NULL */
    struct kj_tensor
        *slots; /* gradients of a few units, where g has own ones; or NULL */
    bool stale; /* set when w was changed behind the first pass: low
                                is made again */
    /* Called in backward passes while set: before the first gradient of a unit is added
     * up, and when they are complete as far as this pass goes, which is from the last
     * unit to the first. */
    void (*growing)(void *ctx, size_t unit);
    void (*grown)(void *ctx, size_t unit);
    void *grown_ctx;        /* of both */
    struct kj_tensor *sums; /* doubles, as add_sum has them; of who trains, or NULL */
    struct kj_llama_acts *acts;
};

/* Parts of the weights that passes use one behind the other: the embedding, each
 * layer, the last norm with the head. Unit i is elements kj_llama_unit(m, i) up to
 * kj_llama_unit(m, i + 1). Forward passes let the back end await each one's weights
 * (kj_ops.await) before they use it. */
size_t kj_llama_units(const struct kj_llama *m);
size_t kj_llama_unit(const struct kj_llama *m, size_t i);

/* What of elements at .. end span i has; false: nothing. */
bool kj_llama_span(const struct kj_llama *m, size_t i, size_t at, size_t end,
                   struct kj_span *part);
/* Whether m->w has the elements of spans only, and low alone has all; whether m->g
 * has those only, and passes add to slots. */
bool kj_llama_masters_cut(const struct kj_llama *m);
bool kj_llama_grads_cut(const struct kj_llama *m);
/* The weights and gradients of (a part of) a span. */
struct kj_mat kj_llama_master(const struct kj_llama *m, const struct kj_span *s);
struct kj_mat kj_llama_grad(const struct kj_llama *m, const struct kj_span *s);
/* Weights at .. at+n from the host, as far as the model keeps them. */
void kj_llama_write(struct kj_llama *m, size_t at, const float *x, size_t n);
/* Where a pass adds up a unit's gradients, and in which of the slots that is. */
#define KJ_LLAMA_SLOTS 4
struct kj_mat kj_llama_unit_grads(const struct kj_llama *m, size_t unit);
size_t kj_llama_slot(const struct kj_llama *m, size_t unit);

/* Weights are zero. KJ_FATAL without memory; KJ_USAGE when f8 is asked of a device that
 * has no FP8. */
int kj_llama_make(struct kj_llama **out, struct kj_backend *b, const struct kj_shape *s,
                  const struct kj_llama_how *how, struct kj_err *err);
/* The same in float32, with all activations kept. */
int kj_llama_new(struct kj_llama **out, struct kj_backend *b, const struct kj_shape *s,
                 size_t tokens, size_t chunk, bool train, struct kj_err *err);
void kj_llama_free(struct kj_llama *m);
/* How many of a block's four maps are FP8: those with sides of multiples of 16. */
size_t kj_llama_f8_maps(const struct kj_shape *s, const struct kj_llama_how *how);
/* Fresh weights: normal with init_range (the two projections back into the
 * residual stream divided by sqrt(2 layers)), norms 1. Each element depends on
 * seed, parameter and index only. */
void kj_llama_init(struct kj_llama *m, uint64_t seed);

/* The sum of the negative log likelihoods (nats) of r's targets, and
 * with back set, gradients of scale * sum(loss + zeta lse^2) are added to g.
 * each: per-token losses (r->n), or NULL. */
int kj_llama_loss(struct kj_llama *m, const struct kj_rows *r, bool back, float scale,
                  float zeta, double *sum, float *each, struct kj_err *err);

/* The sums of losses and of the teacher's terms, where they are left on the device: with
 * `sum` (and kl) NULL, a pass waits for nothing and adds to these of m->sums. */
enum kj_llama_sum { KJ_SUM_LOSS, KJ_SUM_KL, KJ_SUM_SQUARES, KJ_SUMS };
struct kj_mat kj_llama_sum(const struct kj_llama *m, enum kj_llama_sum which);
/* Reads them, and waits; a fault of the passes shows here. */
int kj_llama_sums(struct kj_llama *m, double sum[KJ_SUMS], struct kj_err *err);

/* The same against a teacher of the same vocabulary (weight, temperature and
 * the loss: kj_ops.distil). *kl gets the sum of its terms. Neither model's
 * logits exist but for a chunk of tokens. */
struct kj_teacher {
    struct kj_llama *m; /* made for as many tokens and the same chunk */
    double weight, temperature;
};
int kj_llama_distil(struct kj_llama *m, const struct kj_teacher *t,
                    const struct kj_rows *r, bool back, float scale, float zeta,
                    double *sum, double *kl, struct kj_err *err);

/* The logits of every row (r->n times vocab_size); for tests and eval. */
int kj_llama_logits(struct kj_llama *m, const struct kj_rows *r, float *logits,
                    struct kj_err *err);

/* For n pairs of a row and a token: minus the log likelihood (nats) that the token
 * stands behind that row. Only these rows go through the head, so a prompt costs
 * no logits, and its choices share it. Rows may repeat; r's targets are not read. */
int kj_llama_pick(struct kj_llama *m, const struct kj_rows *r, const int32_t *rows,
                  const int32_t *tokens, size_t n, float *nats, struct kj_err *err);

/* ---- generation ---- */

struct kj_cache;
/* Keys and values for up to `positions` tokens. */
int kj_cache_new(struct kj_cache **out, struct kj_llama *m, size_t positions,
                 struct kj_err *err);
void kj_cache_free(struct kj_cache *c);
size_t kj_cache_used(const struct kj_cache *c);
/* Feed n tokens behind those in the cache; logits (vocab_size) of the last. */
int kj_cache_feed(struct kj_cache *c, const uint32_t *ids, size_t n, float *logits,
                  struct kj_err *err);

#endif
