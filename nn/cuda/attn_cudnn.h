/* attn_cudnn.h - attention by cuDNN's flash engines, through its C back end.
 *
 * One plan serves every call of a shape: up to `segs` packed documents of up to
 * `longest` tokens, each cut from its neighbours; queries and keys are the same
 * tokens (training, encoders; generation takes the kernels of attention.cu).
 * Unused places hold documents of length 0. A plan costs 0.3 to 0.7 s, so
 * callers round segs and longest up and keep plans (kj_sdpa_round).
 *
 * The library is opened at run time (libcudnn.so.9, 9.8 or later); without it
 * there is no plan, and the reason in err. Plans can be made without a GPU, from
 * the properties of one as JSON: that is how the graphs are tested.
 *
 * bfloat16 in and out, float32 inside and for lse. All pointers but those named
 * host are memory of the device, aligned to 16 bytes. Not bitwise repeatable: dQ
 * is summed by atomics.
 *
 * Thread-safety: one thread at a time per library.
 */
#ifndef KJ_NN_CUDA_ATTN_CUDNN_H
#define KJ_NN_CUDA_ATTN_CUDNN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct kj_err;
struct kj_cudnn; /* the library, and its handle on a GPU */
struct kj_sdpa;  /* the plans of one shape */

/* stream: cudaStream_t, on which everything runs. device_json: properties of a
 * GPU that is not here (then nothing can run), or NULL. KJ_FAIL without the
 * library, or when it is too old. */
int kj_cudnn_open(struct kj_cudnn **out, void *stream, const char *device_json,
                  struct kj_err *err);
void kj_cudnn_close(struct kj_cudnn *c);
/* 90800 for 9.8.0 */
int64_t kj_cudnn_version(const struct kj_cudnn *c);

struct kj_sdpa_shape {
    int64_t segs, longest;        /* at most, per call */
    int64_t heads, kv_heads, dim; /* heads a multiple of kv_heads */
    int64_t q, kv, o, dq, dkv;    /* elements from one token to the next */
    bool full;                    /* every query sees all keys of its document */
    bool train;                   /* lse is kept, and there is a backward pass */
};
/* Round segs and longest up, so that few plans serve all calls (work.h). */
void kj_sdpa_round(struct kj_sdpa_shape *s);

/* KJ_FAIL when cuDNN has no engine for the shape; err says which graph. */
int kj_sdpa_new(struct kj_sdpa **out, struct kj_cudnn *c, const struct kj_sdpa_shape *s,
                struct kj_err *err);
void kj_sdpa_free(struct kj_sdpa *p);

/* What each call needs beside its operands, in bytes: scratch (forward and
 * backward one after the other may share it), and the table of lengths and
 * offsets, which the host fills and the caller copies to the device. */
size_t kj_sdpa_scratch(const struct kj_sdpa *p, int64_t tokens, bool back);
size_t kj_sdpa_table_bytes(const struct kj_sdpa *p);
/* cu: segs + 1 bounds of documents, segs at most the plan's. KJ_FAIL when an
 * offset does not fit 31 bits or a document is longer than the plan's. */
int kj_sdpa_table(const struct kj_sdpa *p, const int32_t *cu, int64_t segs,
                  int32_t *host_table, struct kj_err *err);

struct kj_sdpa_args {
    void *q, *k, *v, *o; /* first token's */
    float *lse;          /* tokens x heads; train only */
    const void *d_o;     /* as o; backward only, as all below */
    void *dq, *dk, *dv;
    float scale;
    int64_t tokens; /* rows of all documents: the bound of scratch */
    const int32_t *table;
    void *scratch;
};
int kj_sdpa_forward(struct kj_sdpa *p, const struct kj_sdpa_args *a,
                    struct kj_err *err);
int kj_sdpa_backward(struct kj_sdpa *p, const struct kj_sdpa_args *a,
                     struct kj_err *err);

#ifdef __cplusplus
}
#endif
#endif
