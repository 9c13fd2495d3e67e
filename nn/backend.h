/* backend.h - the compute door: what a device must be able to do so that a
 * model can be trained and run on it.
 *
 * A back end is a table of operations, each with its forward and its backward.
 * Callers hold opaque tensors (memory of the device) and describe operands as
 * struct kj_mat: rows of a tensor that start at an element and lie `stride`
 * elements apart, so that slices of fused matrices need no copies. Shapes are
 * arguments of the operation; tensors only know their number of elements.
 *
 * Operations do not return errors. A device may run them later than the call;
 * the first fault (no memory, a failed launch) is kept with the operation's
 * name and shape, later calls do nothing, and sync() reports it. So a caller
 * looks once per step.
 *
 * Results do not depend on the number of threads: work is cut by shape alone,
 * and every sum has a fixed order (on a GPU, where `deterministic` is set). Two machines
 * with different processors (or BLAS libraries) may differ in the last bits.
 *
 * Element arithmetic is in nn/arith.h, which every back end compiles.
 * nn/selftest.h checks any back end against float64 and finite differences.
 *
 * Thread-safety: one thread drives a back end at a time. Tensors that nobody
 * writes to (weights) may be operands of another open back end of the same name
 * and be read there at the same time; they are freed by the one that made them.
 */
#ifndef KJ_NN_BACKEND_H
#define KJ_NN_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* E4M3, E5M2: FP8, made by quantize and read by matmul_f8 only.
 * BF16: bfloat16. Activations and weights may be BF16, those of one operation all
 * alike (the CPU also takes them mixed). Gradients by weights are F32, or BF16 beside
 * BF16 activations: what a call adds is then summed in float32 and rounded once, to
 * nearest or by chance (kj_backend.chance). Log sums, losses and tables are F32. Sums
 * are float32 or wider whatever the operands are. */
enum kj_dtype { KJ_F32 = 1, KJ_I32, KJ_BF16, KJ_E4M3, KJ_E5M2 };

struct kj_comm;
struct kj_tensor; /* memory of a device; opaque */
struct kj_ops;

/* Rows of a tensor: row i begins at element at + i * stride. For vectors the
 * stride is not looked at. t == NULL is "none" where an operand is optional. */
struct kj_mat {
    struct kj_tensor *t;
    size_t at, stride;
};

static inline struct kj_mat kj_mat(struct kj_tensor *t, size_t at, size_t stride)
{
    struct kj_mat m = {t, at, stride};
    return m;
}
#define KJ_MAT_NONE ((struct kj_mat){NULL, 0, 0})

struct kj_backend {
    const struct kj_ops *ops;
    struct kj_err fault; /* first fault since the last sync() */
    unsigned threads;
    /* Set by who trains, before the first operation: equal calls give equal bits on
     * the same machine. Else a GPU may add in an order that changes (the CPU never
     * does), and pick its ways by the clock, which is faster. */
    bool deterministic;
    int64_t bytes;  /* device memory held by tensors now */
    int64_t peak;   /* and at most so far */
    int64_t work;   /* held by operations for their own; only grows */
    bool no_memory; /* set for good when there was not enough */
    bool f8;        /* it multiplies FP8 (GPUs from 8.9 on do) */
    int64_t step;   /* set by who trains: faults name it; 0: none */
    /* Set by who adds up many passes, to another number each pass: what is added to
     * BF16 gradients by weights (KJ_MM_ADD, norm_back, embed_back, act_back; axpby whose
     * beta is not 0) is rounded by chance, with kj_chance16 of (chance, the element's
     * place in its tensor). So nothing is lost on average, at 1.4 times nearest
     * rounding's error where nothing would be. 0: to nearest. */
    uint64_t chance;
    /* An F32, or none: set right before norm, norm_back, rope, swiglu or swiglu_back,
     * which takes it (none again) and raises it to the largest magnitude of what it
     * writes to y, dx, x, h, or dg and du, if that is more: for quantize, which then
     * reads its tensor once and not twice. NaN is more than all. */
    struct kj_mat most;
    struct kj_comm *comm; /* with whom it works (kj_backend_join), or NULL */
    char note[256];       /* for the user: "auto" took the CPU, and why; or a fast way
                             that is left, once an operation found so. Else "" */
    /* Set by who may end the process, or NULL: called from a thread of the device's, with
     * the reason, once a call will never return and cannot be given up either. It does
     * not return. */
    void (*stuck)(const char *why);
};

/* What a shared object was built for: the number counts changes of the structs in
 * this header that their sizes do not show. */
#define KJ_BACKEND_ABI                                                                 \
    ((unsigned)(9000000 + sizeof(struct kj_ops) * 1000 + sizeof(struct kj_backend)))

/* For implementations: b->most, which is none from then on. */
static inline struct kj_mat kj_backend_take_most(struct kj_backend *b)
{
    struct kj_mat m = b->most;
    b->most = KJ_MAT_NONE;
    return m;
}

enum kj_mm_flags {
    KJ_MM_TA = 1 << 0,  /* A is stored transposed: k rows of m */
    KJ_MM_TB = 1 << 1,  /* B is stored transposed: n rows of k */
    KJ_MM_ADD = 1 << 2, /* add to C instead of replacing it */
    /* Both operands, float32, are rounded to bfloat16 first (to nearest even); sums
     * stay float32. A device for which that is no gain may leave it out. */
    KJ_MM_BF16 = 1 << 3,
    /* Of FP8: sums may be kept in fewer bits, where the device is faster then. */
    KJ_MM_FAST = 1 << 4
};

/* Attention over segments (documents). Segment i has the queries
 * cu_q[i] .. cu_q[i+1]-1 and the keys cu_k[i] .. cu_k[i+1]-1 (row numbers of
 * q/o and of k/v). Causal: its last query sees all of its keys, the one before
 * all but one, and so on. In training the two lists are the same; in generation
 * the queries are the last rows of a longer cache. full: every query sees all
 * keys of its segment, as in encoders. Nothing of size T x T is ever
 * stored. Query head h reads key head h / (heads / kv_heads). */
struct kj_attn {
    struct kj_mat q, k, v, o; /* rows of heads*dim, kv_heads*dim, ... */
    struct kj_mat lse;        /* one row per query, `heads` values: log sum exp */
    size_t heads, kv_heads, dim;
    float scale; /* usually 1/sqrt(dim) */
    bool full;
    size_t segs;
    const int32_t *cu_q, *cu_k; /* host memory, segs + 1 entries each, read
                                   during the call */
    /* Forward only: segs + 1 int32 on the device that are taken for cu_k when the
     * operation runs; cu_k then says what they are at most. Or none. */
    struct kj_mat cu_k_then;
};

/* What stands behind a linear map. GELU is x Phi(x) (Hendrycks and Gimpel 2016);
 * GELU_TANH its approximation by tanh. */
enum kj_act { KJ_ACT_NONE, KJ_ACT_RELU, KJ_ACT_TANH, KJ_ACT_GELU, KJ_ACT_GELU_TANH };

struct kj_attn_grad {
    struct kj_mat d_o;        /* given */
    struct kj_mat dq, dk, dv; /* replaced */
};

/* One AdamW step over a run of elements. Weight, gradient and moments are all F32, or
 * all BF16. BF16 states are computed in float32, and what is kept is rounded by chance:
 * to one of the two neighbours, the nearer one more likely, so that the mean is right
 * and steps below a neighbour's distance are not lost. The random bits of element i
 * are those of kj_random64(key, at + i) alone: equal bytes on all devices, at
 * any number of threads, and however the elements are cut into runs. */
struct kj_adamw {
    float lr; /* step size, already scheduled */
    float beta1, beta2, eps;
    float decay;      /* w is first multiplied by 1 - decay */
    float grad_scale; /* gradients are multiplied by this (clipping) */
    float fix1, fix2; /* bias corrections 1/(1-beta1^t), 1/(1-beta2^t) */
    uint64_t key, at; /* BF16 only: another key every step; the run's first element */
};

struct kj_distil {
    float weight, temperature; /* 0..1 and T > 0 */
    float scale, zeta;
    struct kj_mat scale_by; /* scale is multiplied by it; or none */
};

struct kj_ops {
    const char *name; /* "cpu" */
    /* Whether bfloat16 activations are a gain. All back ends take them; where it is
     * false, operations convert them on their way in and out, so that only memory is
     * saved, and matmul rounds (KJ_MM_BF16) as well. */
    bool bf16;
    void (*close)(struct kj_backend *b);
    /* One line about the device and libraries in use. */
    void (*describe)(struct kj_backend *b, char *buf, size_t n);

    /* ---- memory; a new tensor is zeroed; NULL leaves a fault ---- */
    struct kj_tensor *(*tensor_new)(struct kj_backend *b, enum kj_dtype type, size_t n);
    void (*tensor_free)(struct kj_backend *b, struct kj_tensor *t);
    /* t's memory as elements of another type, from its first byte on: for what takes
     * turns with something else in one place. It is freed before t is. The elements of
     * one are noise to the other; await() does not know that the two are one. */
    struct kj_tensor *(*tensor_view)(struct kj_backend *b, struct kj_tensor *t,
                                     enum kj_dtype type);
    size_t (*tensor_size)(const struct kj_tensor *t);
    /* Bytes of the device that this program may still take, and that it has in all;
     * both 0 where that is not known. */
    void (*memory)(struct kj_backend *b, int64_t *left, int64_t *all);
    /* Copies of n elements between host memory and t[at...]. read() waits. The host
     * has int32_t for I32 and float for all others, rounded to nearest. */
    void (*write)(struct kj_backend *b, struct kj_tensor *t, size_t at, const void *src,
                  size_t n);
    void (*read)(struct kj_backend *b, const struct kj_tensor *t, size_t at, void *dst,
                 size_t n);
    void (*zero)(struct kj_backend *b, struct kj_mat x, size_t n);
    void (*scale)(struct kj_backend *b, struct kj_mat x, size_t n, float s);
    /* y = a x + b y; where b is 0, y is not read. The two may be of different
     * types (F32, BF16): so this converts. */
    void (*axpby)(struct kj_backend *b, struct kj_mat y, struct kj_mat x, size_t n,
                  float alpha, float beta);
    /* Sum of squares of n elements, in double; waits. */
    double (*sumsq)(struct kj_backend *b, struct kj_mat x, size_t n);
    /* Without a wait: acc, two int32 elements at an even place, hold a double, to which
     * the sum of n float32 (or of the squares of n elements) is added. Read them and
     * memcpy. */
    void (*add_sum)(struct kj_backend *b, struct kj_mat acc, struct kj_mat x, size_t n,
                    bool squares);

    /* ---- C[m,n] = A[m,k] B[k,n]; flags: enum kj_mm_flags ---- */
    void (*matmul)(struct kj_backend *b, struct kj_mat c, struct kj_mat a,
                   struct kj_mat bb, size_t m, size_t n, size_t k, unsigned flags);

    /* y = act(x w' + bias): n rows of `out`, w `out` rows of `in`, bias one row of `out`:
     * as matmul with KJ_MM_TB and then bias_act give it, but the product itself may stay
     * unrounded. */
    void (*linear)(struct kj_backend *b, struct kj_mat y, struct kj_mat x,
                   struct kj_mat w, struct kj_mat bias, size_t n, size_t out, size_t in,
                   enum kj_act act);

    /* n rows of h of x (F32 or BF16) as FP8: into q, n rows, and into qt, h rows of n;
     * one of them may be none, both are of one type. What a code stands for is its
     * number times s[0] (F32): the least power of two for which nothing overflows
     * (kj_f8_scale). A number that is not finite makes s[0], and so every product of
     * the tensor, NaN. Rows of q and qt begin at multiples of 16 and lie as far apart;
     * up to the next such multiple behind their end they become 0. most: an F32 that
     * holds x's largest magnitude, NaN being more than all; none: it is looked for. */
    void (*quantize)(struct kj_backend *b, struct kj_mat q, struct kj_mat qt,
                     struct kj_mat s, struct kj_mat x, struct kj_mat most, size_t n,
                     size_t h);
    /* Raises `most` by n rows of h of x, as operations do with kj_backend.most. */
    void (*most)(struct kj_backend *b, struct kj_mat most, struct kj_mat x, size_t n,
                 size_t h);
    /* C[m,n] = sa sb A[m,k] B[n,k]' of quantised operands and their scales; C is F32
     * or BF16, and A and B are not both E5M2. Rows are read up to the next multiple of
     * 16 behind k. flags: KJ_MM_ADD, KJ_MM_FAST. Fastest where n is a multiple of 16. */
    void (*matmul_f8)(struct kj_backend *b, struct kj_mat c, struct kj_mat a,
                      struct kj_mat sa, struct kj_mat bb, struct kj_mat sb, size_t m,
                      size_t n, size_t k, unsigned flags);

    /* y[i] = w[ids[i]]; dw[ids[i]] += dy[i], in order of i */
    void (*embed)(struct kj_backend *b, struct kj_mat y, struct kj_mat w,
                  struct kj_mat ids, size_t n, size_t h);
    /* w[ids[i]] = y[i]; the ids differ */
    void (*put)(struct kj_backend *b, struct kj_mat w, struct kj_mat y,
                struct kj_mat ids, size_t n, size_t h);
    void (*embed_back)(struct kj_backend *b, struct kj_mat dw, struct kj_mat dy,
                       struct kj_mat ids, size_t n, size_t h);
    /* Bags of rows: y[i] = the mean of w[ids[k]] for k = cu[i] .. cu[i+1] - 1, added in
     * that order; zeros where there is none. cu: n + 1 int32, from 0 rising. */
    void (*embed_mean)(struct kj_backend *b, struct kj_mat y, struct kj_mat w,
                       struct kj_mat ids, struct kj_mat cu, size_t n, size_t h);

    /* RMSNorm of a sum (Zhang and Sennrich 2019): s = x + delta, r =
     * (mean s^2 + eps)^-1/2, y = w * s * r. delta may be none; then s is not
     * written. s may be x. r (one value a row) is kept for the backward pass, which gives
     * dx (+)= the gradient by s, and dw += the gradient by w. */
    void (*norm)(struct kj_backend *b, struct kj_mat y, struct kj_mat s,
                 struct kj_mat r, struct kj_mat x, struct kj_mat delta, struct kj_mat w,
                 size_t n, size_t h, float eps);
    void (*norm_back)(struct kj_backend *b, struct kj_mat dx, struct kj_mat dw,
                      struct kj_mat dy, struct kj_mat s, struct kj_mat r,
                      struct kj_mat w, size_t n, size_t h, bool add);

    /* LayerNorm of a sum (Ba et al. 2016), forward only: s = x + delta + bias, y =
     * w (s - mean s) (var s + eps)^-1/2 + c. delta and bias (one row) may be
     * none; y may be x or delta. */
    void (*layer_norm)(struct kj_backend *b, struct kj_mat y, struct kj_mat x,
                       struct kj_mat delta, struct kj_mat bias, struct kj_mat w,
                       struct kj_mat c, size_t n, size_t h, float eps);

    /* x = act(x + bias) in place; bias (one row) may be none. */
    void (*bias_act)(struct kj_backend *b, struct kj_mat x, struct kj_mat bias,
                     size_t n, size_t h, enum kj_act act);
    /* From y = act(z) and dy: dx = dy act'(z), which may be dy itself, and dbias
     * (may be none) += its column sums. NONE, RELU and TANH only. */
    void (*act_back)(struct kj_backend *b, struct kj_mat dx, struct kj_mat dbias,
                     struct kj_mat dy, struct kj_mat y, size_t n, size_t h,
                     enum kj_act act);

    /* Rotary embedding in place, "rotate half": element i pairs with i + dim/2
     * (Su et al. 2021, in Hugging Face's layout). table: row p holds dim/2
     * cosines, then dim/2 sines; pos: n int32. inverse: the backward pass. */
    void (*rope)(struct kj_backend *b, struct kj_mat x, struct kj_mat pos,
                 struct kj_mat table, size_t n, size_t heads, size_t dim, bool inverse);

    /* Dao et al. 2022, blocks of keys with a running maximum. */
    void (*attention)(struct kj_backend *b, const struct kj_attn *a);
    void (*attention_back)(struct kj_backend *b, const struct kj_attn *a,
                           const struct kj_attn_grad *g);

    /* h = silu(g) * u (Shazeer 2020). dg, du may be g, u themselves. */
    void (*swiglu)(struct kj_backend *b, struct kj_mat h, struct kj_mat g,
                   struct kj_mat u, size_t n, size_t f);
    void (*swiglu_back)(struct kj_backend *b, struct kj_mat dg, struct kj_mat du,
                        struct kj_mat dh, struct kj_mat g, struct kj_mat u, size_t n,
                        size_t f);

    /* Cross-entropy of n rows of v logits: loss[i] = lse_i - z[i][target_i],
     * and z becomes scale * (softmax - onehot + 2 zeta lse softmax), the
     * gradient of scale * (loss + zeta lse^2). A target below 0 masks the row:
     * loss 0, gradient 0. lse (may be none) gets the rows' log sum exp. With
     * grad false, z is left alone. scale_by: an F32 on the device that scale is
     * multiplied by, for what must be the same operation whatever it is; or none. See
     * kj_head_loss for whole batches. */
    void (*cross_entropy)(struct kj_backend *b, struct kj_mat z, struct kj_mat loss,
                          struct kj_mat lse, struct kj_mat targets, size_t n, size_t v,
                          float scale, struct kj_mat scale_by, float zeta, bool grad);

    /* Distillation (Hinton et al. 2015): z and t are n rows of v logits of
     * student and teacher, both overwritten. With p = softmax(z / T), q =
     * softmax(t / T): kl[i] = T^2 KL(q || p); loss[i] as in cross_entropy; z
     * becomes the gradient of scale * ((1 - weight) loss + zeta lse^2 +
     * weight kl), in which the teacher is constant. Masked rows are 0. */
    void (*distil)(struct kj_backend *b, struct kj_mat z, struct kj_mat t,
                   struct kj_mat loss, struct kj_mat kl, struct kj_mat targets,
                   size_t n, size_t v, const struct kj_distil *p);

    /* Kingma and Ba 2015; Loshchilov and Hutter 2019; see struct kj_adamw. */
    void (*adamw)(struct kj_backend *b, struct kj_mat w, struct kj_mat g,
                  struct kj_mat m, struct kj_mat v, size_t n, const struct kj_adamw *p);

    /* Between ranks (kj_backend_join); all must call them alike. Each rank owns a
     * part of the n elements (kj_comm_part), F32 or BF16: its part of x becomes the
     * sum over ranks, taken in float32 in the order of ranks; or the others' parts
     * come into x. They may go on beside operations that are called later. So these
     * must not touch x before await, which has what is called behind it wait for all
     * exchanges of elements in those of x; sync() need not wait for them. */
    void (*reduce_scatter)(struct kj_backend *b, struct kj_mat x, size_t n);
    void (*all_gather)(struct kj_backend *b, struct kj_mat x, size_t n);
    void (*await)(struct kj_backend *b, struct kj_mat x, size_t n);
    /* What opening takes beyond the host's; may be NULL. */
    int (*join)(struct kj_backend *b, struct kj_comm *c, struct kj_err *err);

    /* A section: operations that will come again with the same operands (the same
     * tensors, places, shapes, scalars and host tables; what the tensors hold may
     * differ). `key` stands for all that. Where section_begin() says true, the caller
     * issues them and section_end(); where false, the device does them by itself, as
     * it has kept them. Where section_end() says true, keeping them has failed, nothing
     * was done, and the caller issues them once more, and section_end(). Inside, nothing
     * is read or written by the host, nor sync()ed.
     * When any tensor is freed all that was kept is forgotten, so addresses may be
     * part of a key (kj_section_key). Sections inside of a section count as nothing.
     *
     * cu: segs + 1 bounds of documents, which may be others each time: attention inside
     * whose cu_q and cu_k are both this very list goes over those of the time. Or none
     * (0, NULL). */
    bool (*section_begin)(struct kj_backend *b, uint64_t key, size_t segs,
                          const int32_t *cu);
    bool (*section_end)(struct kj_backend *b);

    /* Wait for the device; the first fault since the last call, or KJ_OK. */
    int (*sync)(struct kj_backend *b, struct kj_err *err);
};

/* Open a back end: "cpu", "cuda", or "auto" for the best that works here. "cuda" is
 * looked for in kijil-cuda.so: where KIJIL_CUDA_SO says, beside the program, or in
 * ../lib/kijil from there. KJ_USAGE with the reason when there is none of that name
 * or it does not work here; auto then takes the CPU and leaves the reason in `note`.
 * threads 0: one. */
int kj_backend_open(struct kj_backend **out, const char *name, unsigned threads,
                    struct kj_err *err);
void kj_backend_close(struct kj_backend *b);
/* Work with the other ranks of c, which outlives b. All ranks must use back ends of
 * one name. KJ_USAGE, KJ_FATAL: the others should hear of it (kj_comm_abort). */
int kj_backend_join(struct kj_backend *b, struct kj_comm *c, struct kj_err *err);
/* Names of the back ends in this program, NULL-terminated. */
extern const char *const kj_backend_names[];

/* Bytes that the CPU's matmul takes for a product besides its operands, and its
 * matmul_f8. */
size_t kj_matmul_scratch(size_t m, size_t n, size_t k, unsigned flags);
size_t kj_matmul_f8_scratch(size_t m, size_t n, size_t k);

/* A step of training, for those who count before it is made. */
struct kj_step_shape {
    size_t tokens, hidden, heads, kv_heads, dim; /* of a pass */
    size_t elements;                             /* of the weights */
    size_t ranks, unit; /* that share it; elements that they exchange at a time */
    bool bf16;
};
/* Bytes of kj_backend.work that a GPU takes for it, at most: cuDNN's attention needs more
 * than our own. */
size_t kj_cuda_work(const struct kj_step_shape *s);

/* A key for a section of `what`, an object, whose tensors nothing else has. */
uint64_t kj_section_key(const void *what, const uint64_t *more, size_t n);

/* Keep the first fault; for implementations. */
void kj_backend_fault(struct kj_backend *b, const char *op, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The language model head and its loss, over chunks of tokens, so that the
 * logits of only `chunk` tokens exist at a time (in `ws`: chunk * v elements).
 * loss[i] as in cross_entropy. With dx given: dx = scale * d loss / d x and
 * dw += scale * d loss / d w. */
struct kj_head_teacher {
    struct kj_mat x, w; /* n rows of h, v rows of h */
    struct kj_mat ws;   /* chunk * v */
    struct kj_mat kl;   /* n */
    size_t h;
    float weight, temperature;
};
struct kj_head {
    const struct kj_head_teacher *teacher; /* loss as in distil; or NULL */
    struct kj_mat x;                       /* n rows of h */
    struct kj_mat w;                       /* v rows of h */
    struct kj_mat targets, loss, lse;      /* n each; lse may be none */
    struct kj_mat dx, dw;                  /* both none: loss only */
    struct kj_mat ws;
    size_t n, h, v, chunk;
    float scale, zeta;
    struct kj_mat scale_by; /* as in cross_entropy */
    unsigned flags;         /* KJ_MM_BF16 or 0, for its products */
};
void kj_head_loss(struct kj_backend *b, const struct kj_head *p);

#endif
