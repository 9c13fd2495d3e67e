/* cpu.h - what the files of the CPU back end share. */
#ifndef KJ_NN_CPU_H
#define KJ_NN_CPU_H

#include "nn/backend.h"
#include "nn/cpu/bf16.h"
#include "nn/cpu/kern.h"
#include "nn/cpu/pool.h"

struct kj_tensor {
    enum kj_dtype type;
    size_t n;
    void *p;   /* 64-byte aligned */
    bool view; /* of another one's memory */
};

/* Operands of an operation at most. */
#define KJ_CPU_WIDE 10

struct kj_cpu {
    struct kj_backend base; /* first: a kj_backend points here */
    struct kj_pool *pool;
    const struct kj_kern *kern;
    const struct kj_bf16_isa *bf16;
    struct scratch {
        float *p;
        size_t n;
    } * scratch; /* one per worker, and one more for whole operations */
    struct scratch wide[KJ_CPU_WIDE]; /* any.c: bfloat16 operands as float32 */
    struct scratch decoded;           /* operands of FP8 */
};

static inline struct kj_cpu *kj_cpu_of(struct kj_backend *b)
{
    return (struct kj_cpu *)b;
}
static inline float *kj_cpu_f32(struct kj_mat m)
{
    return m.t ? (float *)m.t->p + m.at : NULL;
}
static inline const int32_t *kj_cpu_i32(struct kj_mat m)
{
    return (const int32_t *)m.t->p + m.at;
}
static inline size_t kj_cpu_width(const struct kj_tensor *t)
{
    return t->type >= KJ_E4M3 ? 1 : t->type == KJ_BF16 ? 2 : 4;
}
/* Elements i .. i+n of m as float, and back. */
void kj_cpu_load(float *to, struct kj_mat m, size_t i, size_t n);
void kj_cpu_store(struct kj_mat m, size_t i, const float *from, size_t n);
/* To bfloat16 by chance: kj_backend.chance. */
void kj_cpu_store_by(struct kj_mat m, size_t i, const float *from, size_t n,
                     uint64_t chance);
/* Make sure every worker has n floats; the operation's own (number
 * base.threads) has n0. false leaves a fault. */
bool kj_cpu_scratch(struct kj_cpu *c, const char *op, size_t n, size_t n0);
/* At least n floats; false leaves a fault. */
bool kj_cpu_grow(struct kj_cpu *c, const char *op, struct scratch *s, size_t n);
/* True when the last row of the given matrix lies inside its tensor; else a
 * fault. Every operation checks its operands so; kj_cpu_inside also refuses
 * bfloat16 and FP8. */
bool kj_cpu_fits(struct kj_backend *b, const char *op, struct kj_mat m, size_t rows,
                 size_t cols);
bool kj_cpu_inside(struct kj_backend *b, const char *op, struct kj_mat m, size_t rows,
                   size_t cols);

int kj_cpu_open(struct kj_backend **out, unsigned threads, struct kj_err *err);

/* Opens OpenBLAS, once for all threads: other back ends may be at work already.
 * KJ_FAIL where the library is not installed. Products need it to have gone well. */
int kj_cpu_gemm_open(struct kj_err *err);
void kj_cpu_gemm_describe(char *buf, size_t n);

void kj_cpu_matmul(struct kj_backend *b, struct kj_mat c, struct kj_mat a,
                   struct kj_mat bb, size_t m, size_t n, size_t k, unsigned flags);
void kj_cpu_quantize(struct kj_backend *b, struct kj_mat q, struct kj_mat qt,
                     struct kj_mat s, struct kj_mat x, struct kj_mat most, size_t n,
                     size_t h);
/* x may be BF16. */
void kj_cpu_most(struct kj_backend *b, struct kj_mat most, struct kj_mat x, size_t n,
                 size_t h);
void kj_cpu_matmul_f8(struct kj_backend *b, struct kj_mat c, struct kj_mat a,
                      struct kj_mat sa, struct kj_mat bb, struct kj_mat sb, size_t m,
                      size_t n, size_t k, unsigned flags);
void kj_cpu_axpby(struct kj_backend *b, struct kj_mat y, struct kj_mat x, size_t n,
                  float alpha, float beta);
void kj_cpu_distil(struct kj_backend *b, struct kj_mat z, struct kj_mat t,
                   struct kj_mat loss, struct kj_mat kl, struct kj_mat targets,
                   size_t n, size_t v, const struct kj_distil *p);
void kj_cpu_attention(struct kj_backend *b, const struct kj_attn *a);
void kj_cpu_attention_back(struct kj_backend *b, const struct kj_attn *a,
                           const struct kj_attn_grad *g);

/* Put operations that take operands of either type (any.c) before those of o, which
 * take float32. Once. */
void kj_cpu_any(struct kj_ops *o);

/* adamw_bf16.c: elements i .. end of a step on bfloat16 states. */
void kj_cpu_adamw_bf16(struct kj_mat w, struct kj_mat g, struct kj_mat m,
                       struct kj_mat v, size_t i, size_t end, const struct kj_adamw *p);

/* ranks.c */
void kj_cpu_reduce_scatter(struct kj_backend *b, struct kj_mat x, size_t n);
void kj_cpu_await(struct kj_backend *b, struct kj_mat x, size_t n);
void kj_cpu_all_gather(struct kj_backend *b, struct kj_mat x, size_t n);

/* rows.c: see struct kj_ops. */
bool kj_cpu_ids_valid(struct kj_backend *b, const char *op, struct kj_mat w,
                      const int32_t *ids, size_t n, size_t h);
void kj_cpu_embed(struct kj_backend *b, struct kj_mat y, struct kj_mat w,
                  struct kj_mat ids, size_t n, size_t h);
void kj_cpu_put(struct kj_backend *b, struct kj_mat w, struct kj_mat y,
                struct kj_mat ids, size_t n, size_t h);
void kj_cpu_embed_back(struct kj_backend *b, struct kj_mat dw, struct kj_mat dy,
                       struct kj_mat ids, size_t n, size_t h);
void kj_cpu_embed_mean(struct kj_backend *b, struct kj_mat y, struct kj_mat w,
                       struct kj_mat ids, struct kj_mat cu, size_t n, size_t h);
void kj_cpu_norm(struct kj_backend *b, struct kj_mat y, struct kj_mat s,
                 struct kj_mat r, struct kj_mat x, struct kj_mat delta, struct kj_mat w,
                 size_t n, size_t h, float eps);
void kj_cpu_norm_back(struct kj_backend *b, struct kj_mat dx, struct kj_mat dw,
                      struct kj_mat dy, struct kj_mat s, struct kj_mat r,
                      struct kj_mat w, size_t n, size_t h, bool add);
void kj_cpu_layer_norm(struct kj_backend *b, struct kj_mat y, struct kj_mat x,
                       struct kj_mat delta, struct kj_mat bias, struct kj_mat w,
                       struct kj_mat c, size_t n, size_t h, float eps);
void kj_cpu_bias_act(struct kj_backend *b, struct kj_mat x, struct kj_mat bias,
                     size_t n, size_t h, enum kj_act act);
void kj_cpu_act_back(struct kj_backend *b, struct kj_mat dx, struct kj_mat dbias,
                     struct kj_mat dy, struct kj_mat y, size_t n, size_t h,
                     enum kj_act act);
void kj_cpu_rope(struct kj_backend *b, struct kj_mat x, struct kj_mat pos,
                 struct kj_mat table, size_t n, size_t heads, size_t dim, bool inverse);
void kj_cpu_swiglu(struct kj_backend *b, struct kj_mat h, struct kj_mat g,
                   struct kj_mat u, size_t n, size_t f);
void kj_cpu_swiglu_back(struct kj_backend *b, struct kj_mat dg, struct kj_mat du,
                        struct kj_mat dh, struct kj_mat g, struct kj_mat u, size_t n,
                        size_t f);

/* C[m,n] = A B + beta C, beta 0 or 1, on row-major float arrays; operands checked. */
struct kj_cpu_product {
    float *c;
    const float *a, *b;
    size_t lda, ldb, ldc, m, n, k;
    bool ta, tb;
    float beta;
};
void kj_cpu_matmul_f32(struct kj_cpu *c, const struct kj_cpu_product *q);
/* The same with A and B rounded to bfloat16. */
void kj_cpu_matmul_bf16(struct kj_cpu *c, const struct kj_cpu_product *q);

/* One thread's C[m,n] = alpha A B + beta C on row-major float arrays. */
void kj_cpu_sgemm(bool ta, bool tb, size_t m, size_t n, size_t k, const float *a,
                  size_t lda, const float *b, size_t ldb, float beta, float *c,
                  size_t ldc);

#endif
