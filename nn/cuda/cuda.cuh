/* cuda.cuh - what the files of the CUDA back end share on the host's side.
 *
 * All operations go to one stream, in order; copies have another (stage.cu). An
 * operation checks its operands, notes its name and shape in `at`, and launches;
 * whatever fails is kept as the back end's fault with both. Memory that only one
 * operation needs is `scratch`, which only grows; because of the one stream two
 * operations never use it at a time.
 */
#ifndef KJ_NN_CUDA_CUDA_CUH
#define KJ_NN_CUDA_CUDA_CUH

#include <cublasLt.h>
#include <cuda_runtime.h>

extern "C" {
#include "nn/backend.h"
}
#include "nn/arith.h"
#include "nn/cuda/work.h"

/* Changes whenever struct kj_ops or struct kj_backend does: kj_cuda_abi says which
 * of them a shared object was built for. */
struct kj_tensor {
    enum kj_dtype type;
    size_t n;
    void *p;
    bool view; /* of another one's memory */
};

/* What device code complains of; read by sync(). */
enum kj_flag { KJ_FLAG_TOKEN, KJ_FLAG_POSITION, KJ_FLAG_TARGET, KJ_FLAG_ROW, KJ_FLAGS };

struct kj_buffer {
    void *p;
    size_t n;
};

struct kj_gemm_plans;
struct kj_attn_cache;
struct kj_dnn_state;
struct kj_cuda_ranks;
struct kj_stage;
struct kj_sections;

/* Attention by cuDNN (KIJIL_CUDNN): not at all; where it has a plan that agrees with
 * our own kernels; or an error where it has none. */
enum kj_dnn_use { KJ_DNN_NEVER, KJ_DNN_AGREED, KJ_DNN_MUST };

struct kj_cuda {
    struct kj_backend base; /* first: a kj_backend points here */
    char gpu[256];
    int device, major, minor, sms;
    size_t shared_max; /* bytes of shared memory that a block may ask for */
    bool each;         /* wait behind every launch, to find the one that fails */
    cudaStream_t stream;
    cublasLtHandle_t lt;
    struct kj_gemm_plans *plans;
    struct kj_attn_cache *attn;
    enum kj_dnn_use dnn_use;
    struct kj_dnn_state *dnn;    /* once the library was looked for */
    struct kj_cuda_ranks *ranks; /* NCCL; NULL: alone, or by way of the host */
    struct kj_stage *stage;
    struct kj_sections *sections;
    /* Of the section under way, if it was begun with some: attention over these very
     * bounds keeps them where the next ones will be put. Rounded: as work.h has it. */
    struct {
        const int32_t *cu; /* NULL: none */
        size_t segs, tokens, round_segs, round_longest;
    } docs;
    bool waited; /* for all that was begun, and the flags are read */
    struct kj_buffer scratch, workspace, rounded;
    unsigned long long *flags, *flags_host; /* KJ_FLAGS, of device and host */
    struct {
        const char *op;
        size_t d[3];
    } at;
};

static inline struct kj_cuda *kj_cuda_of(struct kj_backend *b)
{
    return (struct kj_cuda *)b;
}

/* Fill the backend's fault with the operation, its shape and what happened. */
void kj_cuda_fault(struct kj_cuda *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* True when rc is good; else a fault that says which call failed. */
bool kj_cuda_good(struct kj_cuda *c, cudaError_t rc, const char *call);
#define KJ_CUDA(c, call) kj_cuda_good(c, call, #call)
/* What `at` names while sync() waits. */
#define KJ_CUDA_SYNC "the GPU"
/* CUDA's words for rc, and what to do about it. Returns buf. */
const char *kj_cuda_text(cudaError_t rc, char *buf, size_t n);
/* Whether this GPU can run what was built: KJ_USAGE says what it lacks. */
int kj_cuda_probe(struct kj_cuda *c, struct kj_err *err);

/* Make c's device that of the calling thread, whose first one is number 0. */
bool kj_cuda_choose(struct kj_cuda *c);

/* Begin an operation of that shape; false once there is a fault. */
static inline bool kj_cuda_op(struct kj_cuda *c, const char *op, size_t d0,
                              size_t d1 = 0, size_t d2 = 0)
{
    if (c->base.fault.rc)
        return false;
    c->waited = false;
    c->at.op = op;
    c->at.d[0] = d0;
    c->at.d[1] = d1;
    c->at.d[2] = d2;
    return kj_cuda_choose(c);
}
/* True when m has that type and its rows lie inside its tensor; else a fault. */
bool kj_cuda_inside(struct kj_cuda *c, struct kj_mat m, enum kj_dtype type, size_t rows,
                    size_t cols);
static inline bool kj_cuda_maybe(struct kj_cuda *c, struct kj_mat m, enum kj_dtype type,
                                 size_t rows, size_t cols)
{
    return !m.t || kj_cuda_inside(c, m, type, rows, cols);
}
/* The type of an operation's activations, by its first operand. */
static inline enum kj_dtype kj_cuda_type(struct kj_mat m)
{
    return m.t && m.t->type == KJ_BF16 ? KJ_BF16 : KJ_F32;
}
static inline size_t kj_width(enum kj_dtype type)
{
    return type >= KJ_E4M3 ? 1 : type == KJ_BF16 ? 2 : 4;
}
/* At least n bytes of scratch memory; NULL leaves a fault. Where it grows, graphs are
 * forgotten. */
void *kj_cuda_scratch(struct kj_cuda *c, struct kj_buffer *b, size_t n);

/* ---- copies (stage.cu); elements as write() and read() have them on the host ---- */

/* Begun when it returns; `from` may be freed then. False: a fault. */
bool kj_cuda_up(struct kj_cuda *c, void *to, enum kj_dtype type, const void *from,
                size_t n);
/* Done when it returns, as is all that was begun before. */
bool kj_cuda_down(struct kj_cuda *c, void *to, enum kj_dtype type, const void *from,
                  size_t n);
bool kj_cuda_stage_open(struct kj_cuda *c);
void kj_cuda_stage_close(struct kj_cuda *c);
/* Waits for the stream, and keeps what kernels complained of as the fault. */
bool kj_cuda_wait(struct kj_cuda *c);

/* ---- sections (section.cu) ---- */

bool kj_cuda_section_open(struct kj_cuda *c);
void kj_cuda_section_close(struct kj_cuda *c);
bool kj_cuda_capturing(const struct kj_cuda *c);
/* Whoever does what a graph cannot hold calls this first. */
void kj_cuda_leave(struct kj_cuda *c);
/* And who gives memory back that a graph may use, this. */
void kj_cuda_forget(struct kj_cuda *c);
/* Whether a call goes over the documents of the section under way. */
static inline bool kj_cuda_of_docs(const struct kj_cuda *c, const struct kj_attn *a)
{
    return c->docs.cu && a->cu_q == c->docs.cu && a->cu_k == c->docs.cu &&
           a->segs == c->docs.segs && !a->cu_k_then.t;
}

template <class T> static inline T *kj_ptr(struct kj_mat m)
{
    return m.t ? (T *)m.t->p + m.at : nullptr;
}

static inline void *kj_address(struct kj_mat m)
{
    return (char *)m.t->p + m.at * (m.t->type == KJ_BF16 ? 2 : 4);
}

/* ---- operations, as in struct kj_ops ---- */

void kj_cuda_axpby(struct kj_backend *b, struct kj_mat y, struct kj_mat x, size_t n,
                   float alpha, float beta);
double kj_cuda_sumsq(struct kj_backend *b, struct kj_mat x, size_t n);
void kj_cuda_add_sum(struct kj_backend *b, struct kj_mat acc, struct kj_mat x, size_t n,
                     bool squares);
bool kj_cuda_section_begin(struct kj_backend *b, uint64_t key, size_t segs,
                           const int32_t *cu);
bool kj_cuda_section_end(struct kj_backend *b);
void kj_cuda_bias_act(struct kj_backend *b, struct kj_mat x, struct kj_mat bias,
                      size_t n, size_t h, enum kj_act act);
void kj_cuda_act_back(struct kj_backend *b, struct kj_mat dx, struct kj_mat dbias,
                      struct kj_mat dy, struct kj_mat y, size_t n, size_t h,
                      enum kj_act act);
void kj_cuda_rope(struct kj_backend *b, struct kj_mat x, struct kj_mat pos,
                  struct kj_mat table, size_t n, size_t heads, size_t dim,
                  bool inverse);
void kj_cuda_swiglu(struct kj_backend *b, struct kj_mat h, struct kj_mat g,
                    struct kj_mat u, size_t n, size_t f);
void kj_cuda_swiglu_back(struct kj_backend *b, struct kj_mat dg, struct kj_mat du,
                         struct kj_mat dh, struct kj_mat g, struct kj_mat u, size_t n,
                         size_t f);
void kj_cuda_embed(struct kj_backend *b, struct kj_mat y, struct kj_mat w,
                   struct kj_mat ids, size_t n, size_t h);
void kj_cuda_put(struct kj_backend *b, struct kj_mat w, struct kj_mat y,
                 struct kj_mat ids, size_t n, size_t h);
void kj_cuda_embed_back(struct kj_backend *b, struct kj_mat dw, struct kj_mat dy,
                        struct kj_mat ids, size_t n, size_t h);
void kj_cuda_embed_mean(struct kj_backend *b, struct kj_mat y, struct kj_mat w,
                        struct kj_mat ids, struct kj_mat cu, size_t n, size_t h);
void kj_cuda_norm(struct kj_backend *b, struct kj_mat y, struct kj_mat s,
                  struct kj_mat r, struct kj_mat x, struct kj_mat delta,
                  struct kj_mat w, size_t n, size_t h, float eps);
void kj_cuda_norm_back(struct kj_backend *b, struct kj_mat dx, struct kj_mat dw,
                       struct kj_mat dy, struct kj_mat s, struct kj_mat r,
                       struct kj_mat w, size_t n, size_t h, bool add);
void kj_cuda_layer_norm(struct kj_backend *b, struct kj_mat y, struct kj_mat x,
                        struct kj_mat delta, struct kj_mat bias, struct kj_mat w,
                        struct kj_mat cc, size_t n, size_t h, float eps);
void kj_cuda_matmul(struct kj_backend *b, struct kj_mat c, struct kj_mat a,
                    struct kj_mat bb, size_t m, size_t n, size_t k, unsigned flags);
void kj_cuda_linear(struct kj_backend *b, struct kj_mat y, struct kj_mat x,
                    struct kj_mat w, struct kj_mat bias, size_t n, size_t out,
                    size_t in, enum kj_act act);
void kj_cuda_quantize(struct kj_backend *b, struct kj_mat q, struct kj_mat qt,
                      struct kj_mat s, struct kj_mat x, struct kj_mat most, size_t n,
                      size_t h);
void kj_cuda_most(struct kj_backend *b, struct kj_mat most, struct kj_mat x, size_t n,
                  size_t h);
void kj_cuda_matmul_f8(struct kj_backend *b, struct kj_mat c, struct kj_mat a,
                       struct kj_mat sa, struct kj_mat bb, struct kj_mat sb, size_t m,
                       size_t n, size_t k, unsigned flags);
/* True when m's rows are FP8's: begin and lie multiples of 16 apart, with room for
 * cols up to the next. */
bool kj_cuda_f8_inside(struct kj_cuda *c, struct kj_mat m, size_t rows, size_t cols);
void kj_cuda_reduce_scatter(struct kj_backend *b, struct kj_mat x, size_t n);
void kj_cuda_all_gather(struct kj_backend *b, struct kj_mat x, size_t n);
void kj_cuda_await(struct kj_backend *b, struct kj_mat x, size_t n);
int kj_cuda_join(struct kj_backend *b, struct kj_comm *c, struct kj_err *err);
/* Makes that call; where it has not ended after so many seconds, b->stuck has `why`. */
void kj_cuda_patient(struct kj_backend *b, int seconds, const char *why,
                     void (*call)(void *), void *arg);
/* False, and a fault with its name, once another rank is gone or NCCL has failed. */
bool kj_cuda_ranks_good(struct kj_cuda *c);
void kj_cuda_ranks_close(struct kj_cuda *c);
void kj_cuda_attention(struct kj_backend *b, const struct kj_attn *a);
void kj_cuda_attention_back(struct kj_backend *b, const struct kj_attn *a,
                            const struct kj_attn_grad *g);
void kj_cuda_cross_entropy(struct kj_backend *b, struct kj_mat z, struct kj_mat loss,
                           struct kj_mat lse, struct kj_mat targets, size_t n, size_t v,
                           float scale, struct kj_mat scale_by, float zeta, bool grad);
void kj_cuda_distil(struct kj_backend *b, struct kj_mat z, struct kj_mat t,
                    struct kj_mat loss, struct kj_mat kl, struct kj_mat targets,
                    size_t n, size_t v, const struct kj_distil *p);
void kj_cuda_adamw(struct kj_backend *b, struct kj_mat w, struct kj_mat g,
                   struct kj_mat m, struct kj_mat v, size_t n,
                   const struct kj_adamw *p);

/* y: n rows of h bfloat16, plus x, rounded by c->base.chance. */
void kj_cuda_add_by_chance(struct kj_cuda *c, struct kj_mat y, const float *x,
                           size_t stride, size_t n, size_t h);
/* y: n rows of h bfloat16, `stride` apart, from the float32 rows of x. */
void kj_cuda_round(struct kj_cuda *c, struct kj_bf16 *y, size_t stride, struct kj_mat x,
                   size_t n, size_t h);
/* out[j] += the sum over n rows of x (rows of h; both f32 or bf16), 128 rows at a time,
 * the sums in order and float32. ws: kj_cuda_colsum_ws floats. */
void kj_cuda_colsum(struct kj_cuda *c, struct kj_mat out, const void *x,
                    enum kj_dtype type, size_t stride, size_t n, size_t h, float *ws);

int kj_cuda_gemm_open(struct kj_cuda *c);
void kj_cuda_gemm_close(struct kj_cuda *c);
void kj_cuda_attn_close(struct kj_cuda *c);
void kj_cuda_attn_forget(struct kj_cuda *c);
/* Puts the documents of the section under way where the attention of its graph reads
 * them. False: a fault. */
bool kj_cuda_attn_renew(struct kj_cuda *c);

#endif
