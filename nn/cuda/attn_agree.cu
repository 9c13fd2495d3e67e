/* attn_agree.cu - a plan of cuDNN beside our own kernels, on a small packed case.
 *
 * A plan is made at run time out of a pattern of operations, by a library that changes
 * under the program. Before its numbers are believed, the plan itself (not one like
 * it) computes four documents, one of a single token, one empty, none of a length
 * that fills a tile, from operands with the strides of the real call, into outputs
 * that are not-a-number before; our kernels compute them too, and those are held
 * against float64 by the self-test.
 *
 * What is compared: each row of each head, as a vector, by the length of the
 * difference over its own length and that of the tensor's rows on average (a gradient
 * that cancels to nothing is noise beside the others). Both sides round
 * probabilities and results to bfloat16, 8 bits: the rows of two right kernels were
 * 0.5 % apart at most (self-test's shapes, cuDNN's stand-in in double); a wrong head, mask or
 * document is off by the row's own length. The limit of 2 % lies between.
 */
#include "nn/cuda/attn.cuh"

#include <cmath>
#include <cstdlib>

extern "C" {
#include "nn/cuda/attn_cudnn.h"
}

#define LIMIT     0.02
#define LIMIT_LSE 0.01 /* of log sums, which are float32 on both sides */
#define DOCS      4

using bf16 = struct kj_bf16;

/* Operands and results; R_ are there twice, ours and theirs. */
enum { T_Q, T_K, T_V, T_DO, R_O, R_DQ, R_DK, R_DV, R_LSE, TENSORS };
static const char *const names[TENSORS] = {"q",  "k",  "v",  "d_o",        "the result",
                                           "dQ", "dK", "dV", "the log sum"};

struct trial {
    struct kj_cuda *c;
    int32_t cu[DOCS + 1];
    size_t segs, tokens;
    size_t heads[TENSORS], dim[TENSORS], stride[TENSORS], bytes[TENSORS];
    struct kj_tensor t[2][TENSORS];
    struct kj_attn a[2];
    struct kj_attn_grad g[2];
    char *memory;
    float *found; /* at its end: two numbers for each row and head */
};

/* Numbers between -2 and 2 that look random, the same everywhere. */
__global__ void k_fill(bf16 *x, size_t n, unsigned seed)
{
    size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    unsigned r = (unsigned)i * 2654435761u + seed;
    r = (r ^ (r >> 15)) * 2246822519u;
    r = (r ^ (r >> 13)) * 3266489917u;
    r ^= r >> 16;
    if (i < n)
        kj_set(&x[i], (float)(r >> 8) * (4.0f / 16777216.0f) - 2.0f);
}

/* out[2 i] = |x - y|^2 and out[2 i + 1] = |x|^2 of row and head i; a warp each. */
__global__ void k_apart(float *out, const bf16 *x, const bf16 *y, size_t stride,
                        size_t n, unsigned heads, unsigned dim)
{
    size_t i = (size_t)blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
    size_t at = i / heads * stride + i % heads * dim;
    float apart = 0, size = 0;
    if (i >= n)
        return;
    for (unsigned j = threadIdx.x % 32; j < dim; j += 32) {
        float u = kj_get(x[at + j]), v = kj_get(y[at + j]);
        apart += (u - v) * (u - v);
        size += u * u;
    }
    apart = kj_warp_sum(apart);
    size = kj_warp_sum(size);
    if (threadIdx.x % 32 == 0) {
        out[2 * i] = apart;
        out[2 * i + 1] = size;
    }
}

static void lay_out(struct trial *t, const struct kj_sdpa_shape *s)
{
    static const int32_t length[DOCS] = {1, 77, 0, KJ_SDPA_TRIAL_TOKENS - 78};
    size_t h = (size_t)s->heads, kv = (size_t)s->kv_heads, d = (size_t)s->dim;
    size_t q = (size_t)s->q, k = (size_t)s->kv, o = (size_t)s->o;
    size_t stride[TENSORS] = {
        q, k, k, o, o, (size_t)s->dq, (size_t)s->dkv, (size_t)s->dkv, h};
    t->segs = s->segs < DOCS ? (size_t)s->segs : DOCS;
    for (size_t i = 0; i < t->segs; i++)
        t->cu[i + 1] =
            t->cu[i] + (length[i] < s->longest ? length[i] : (int32_t)s->longest);
    t->tokens = (size_t)t->cu[t->segs];
    for (int i = 0; i < TENSORS; i++) {
        bool key = i == T_K || i == T_V || i == R_DK || i == R_DV;
        t->heads[i] = key ? kv : h;
        t->dim[i] = i == R_LSE ? 1 : d;
        t->stride[i] = stride[i];
        t->bytes[i] = kj_ceil(t->tokens * stride[i] * (i == R_LSE ? 4 : 2), 256) * 256;
    }
}

/* Device memory for all, results poisoned, operands filled. */
static bool allocate(struct trial *t, struct kj_err *why)
{
    struct kj_cuda *c = t->c;
    size_t given = 0, results = 0,
           found = 2 * t->tokens * t->heads[T_Q] * sizeof(float);
    for (int i = 0; i < TENSORS; i++)
        *(i < R_O ? &given : &results) += t->bytes[i];
    size_t all = given + 2 * results + found;
    cudaError_t rc = cudaMalloc((void **)&t->memory, all);
    if (rc != cudaSuccess) {
        t->memory = NULL;
        cudaGetLastError();
        kj_err_set(why, KJ_FAIL, "no %.1f MB of GPU memory to try cuDNN's attention",
                   (double)all * 1e-6);
        return false;
    }
    char *p = t->memory;
    if (!KJ_CUDA(c, cudaMemsetAsync(p, 0xff, all, c->stream)))
        return false;
    for (int side = 0; side < 2; side++)
        for (int i = 0; i < TENSORS; i++) {
            if (side && i < R_O) {
                t->t[1][i] = t->t[0][i];
                continue;
            }
            t->t[side][i] = {i == R_LSE ? KJ_F32 : KJ_BF16, t->tokens * t->stride[i], p,
                             false};
            p += t->bytes[i];
            size_t n = t->t[side][i].n;
            if (i < R_O)
                kj_launch(c, k_fill, kj_ceil(n, 256), 256, 0, (bf16 *)t->t[side][i].p,
                          n, 1000003u * (unsigned)(i + 1));
        }
    t->found = (float *)p;
    return !c->base.fault.rc;
}

static void describe(struct trial *t, const struct kj_sdpa_shape *s)
{
    for (int side = 0; side < 2; side++) {
        struct kj_mat m[TENSORS];
        for (int i = 0; i < TENSORS; i++)
            m[i] = kj_mat(&t->t[side][i], 0, t->stride[i]);
        t->a[side] = {m[T_Q],
                      m[T_K],
                      m[T_V],
                      m[R_O],
                      s->train ? m[R_LSE] : KJ_MAT_NONE,
                      (size_t)s->heads,
                      (size_t)s->kv_heads,
                      (size_t)s->dim,
                      1.0f / sqrtf((float)s->dim),
                      s->full,
                      t->segs,
                      t->cu,
                      t->cu,
                      KJ_MAT_NONE};
        t->g[side] = {m[T_DO], m[R_DQ], m[R_DK], m[R_DV]};
    }
}

/* The furthest row of a result; NaN where one is not a number. */
static bool furthest(struct trial *t, int which, float *host, double *worst)
{
    struct kj_cuda *c = t->c;
    size_t n = t->tokens * t->heads[which];
    double mean = 0;
    kj_launch(c, k_apart, kj_ceil(n, 8), 256, 0, t->found,
              (const bf16 *)t->t[0][which].p, (const bf16 *)t->t[1][which].p,
              t->stride[which], n, (unsigned)t->heads[which], (unsigned)t->dim[which]);
    if (c->base.fault.rc ||
        !KJ_CUDA(c, cudaMemcpyAsync(host, t->found, 2 * n * sizeof *host,
                                    cudaMemcpyDeviceToHost, c->stream)) ||
        !KJ_CUDA(c, cudaStreamSynchronize(c->stream)))
        return false;
    for (size_t i = 0; i < n; i++)
        mean += sqrt((double)host[2 * i + 1]) / (double)n;
    *worst = 0;
    for (size_t i = 0; i < n; i++) {
        double x = sqrt((double)host[2 * i]) / (sqrt((double)host[2 * i + 1]) + mean);
        *worst = x <= *worst ? *worst : x;
        if (!(x >= 0))
            break;
    }
    return true;
}

static bool furthest_lse(struct trial *t, float *host, double *worst)
{
    struct kj_cuda *c = t->c;
    size_t n = t->tokens * t->heads[R_LSE];
    for (int side = 0; side < 2; side++)
        if (!KJ_CUDA(c, cudaMemcpyAsync(host + (size_t)side * n, t->t[side][R_LSE].p,
                                        n * sizeof *host, cudaMemcpyDeviceToHost,
                                        c->stream)))
            return false;
    if (!KJ_CUDA(c, cudaStreamSynchronize(c->stream)))
        return false;
    *worst = 0;
    for (size_t i = 0; i < n; i++) {
        double x = fabs((double)host[i] - (double)host[n + i]);
        *worst = x <= *worst ? *worst : x;
        if (!(x >= 0))
            break;
    }
    return true;
}

static bool compare(struct trial *t, bool log_sums, bool back, struct kj_err *why)
{
    float *host = (float *)malloc(2 * t->tokens * t->heads[T_Q] * sizeof *host);
    bool good = host != NULL;
    if (!host)
        kj_err_set(why, KJ_FAIL, "no memory to try cuDNN's attention");
    for (int i = R_O; i < TENSORS && good; i++) {
        double worst = 0;
        bool gradient = i >= R_DQ && i <= R_DV;
        if ((gradient && !back) || (i == R_LSE && !log_sums))
            continue;
        good =
            i == R_LSE ? furthest_lse(t, host, &worst) : furthest(t, i, host, &worst);
        if (good && !(worst <= (i == R_LSE ? LIMIT_LSE : LIMIT))) {
            kj_err_set(why, KJ_FAIL,
                       worst == worst
                           ? "cuDNN's attention is not right here: %s is off by %.2g"
                           : "cuDNN's attention is not right here: %s is no number",
                       names[i], worst);
            good = false;
        }
    }
    free(host);
    return good;
}

bool kj_attn_agrees(struct kj_cuda *c, const struct kj_sdpa_shape *s,
                    bool (*theirs)(struct kj_cuda *c, const struct kj_attn *a,
                                   const struct kj_attn_grad *g, struct kj_err *why),
                    struct kj_err *why)
{
    struct trial t = {};
    bool back = s->train && !c->base.deterministic;
    t.c = c;
    lay_out(&t, s);
    bool good = allocate(&t, why);
    if (good) {
        describe(&t, s);
        kj_cuda_attention(&c->base, &t.a[0]);
        if (back)
            kj_cuda_attention_back(&c->base, &t.a[0], &t.g[0]);
        good = !c->base.fault.rc && theirs(c, &t.a[1], NULL, why) &&
               (!back || theirs(c, &t.a[1], &t.g[1], why)) &&
               compare(&t, s->train, back, why);
    }
    cudaFree(t.memory);
    /* What went wrong in a trial is no fault of the run: the next operation finds
     * out whether the GPU still works. */
    if (c->base.fault.rc) {
        kj_err_set(why, KJ_FAIL, "cuDNN's attention could not be tried: %.150s",
                   c->base.fault.msg);
        kj_err_reset(&c->base.fault);
        good = false;
    }
    return good;
}
