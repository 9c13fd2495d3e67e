/* sdpa.cc - attn_cudnn.h's plans by plain loops, which read and write exactly what
 * cuDNN's graphs are bound to: rows by the table's offsets, with the strides of the
 * plan's shape.
 *
 * dQ is summed in an order that no two calls share, as atomics do it. KJ_EMU_CUDNN
 * makes it go wrong: "missing" (the library), "none" (no plan for any shape), "huge" (more
 * scratch than there is memory), "stale" (dQ is added to what its sums' place has),
 * "beyond" (something is cleared behind the scratch), or a result (o, lse, dq, dk, dv)
 * whose last row is twice what it should be. */
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <random>
#include <time.h>
#include <vector>

#include <cuda_runtime.h>

extern "C" {
#include "base/err.h"
#include "nn/cuda/attn_cudnn.h"
#include "nn/cuda/work.h"
}
#include "nn/arith.h"

struct kj_cudnn {
    cudaStream_t stream;
};
struct kj_sdpa {
    struct kj_sdpa_shape s;
    cudaStream_t stream;
};

static bool wrong(const char *how)
{
    const char *s = getenv("KJ_EMU_CUDNN");
    return s && strcmp(s, how) == 0;
}

int kj_cudnn_open(struct kj_cudnn **out, void *stream, const char *, struct kj_err *err)
{
    *out = NULL;
    if (wrong("missing"))
        return kj_err_set(err, KJ_FAIL, "no cuDNN: libcudnn.so.9: not found");
    *out = new kj_cudnn{(cudaStream_t)stream};
    return KJ_OK;
}
void kj_cudnn_close(struct kj_cudnn *c)
{
    delete c;
}
int64_t kj_cudnn_version(const struct kj_cudnn *)
{
    return 90800;
}
void kj_sdpa_round(struct kj_sdpa_shape *s)
{
    s->segs = (int64_t)kj_cuda_round_segs((size_t)s->segs);
    s->longest = (int64_t)kj_cuda_round_longest((size_t)s->longest);
}
int kj_sdpa_new(struct kj_sdpa **out, struct kj_cudnn *c, const struct kj_sdpa_shape *s,
                struct kj_err *err)
{
    *out = NULL;
    if (wrong("none"))
        return kj_err_set(err, KJ_FAIL, "cuDNN, no engine: not supported");
    *out = new kj_sdpa{*s, c->stream};
    return KJ_OK;
}
void kj_sdpa_free(struct kj_sdpa *p)
{
    delete p;
}
size_t kj_sdpa_scratch(const struct kj_sdpa *p, int64_t tokens, bool back)
{
    if (wrong("huge") && tokens < 200) /* the trial has more, and gets on */
        return (size_t)1 << 40;
    struct kj_sdpa_parts t = kj_sdpa_parts_of((size_t)tokens, (size_t)p->s.heads,
                                              (size_t)p->s.kv_heads, (size_t)p->s.dim);
    if (!back)
        return p->s.train ? 0 : t.rowsum;
    return t.rowsum + t.dq_sum + t.dk_heads + t.dv_heads;
}
size_t kj_sdpa_table_bytes(const struct kj_sdpa *p)
{
    return (size_t)(p->s.segs + 1) * sizeof(int32_t);
}
int kj_sdpa_table(const struct kj_sdpa *p, const int32_t *cu, int64_t segs,
                  int32_t *host_table, struct kj_err *err)
{
    if (segs > p->s.segs)
        return kj_err_set(err, KJ_FAIL, "attention: too many documents");
    for (int64_t i = 0; i <= p->s.segs; i++)
        host_table[i] = cu[i < segs ? i : segs];
    for (int64_t i = 0; i < segs; i++)
        if (cu[i + 1] - cu[i] > p->s.longest)
            return kj_err_set(err, KJ_FAIL, "attention: too long a document");
    return KJ_OK;
}

namespace
{
struct call {
    struct kj_sdpa_shape s;
    struct kj_sdpa_args a;
    mutable std::minstd_rand random; /* for orders */

    double fault(const char *what, int64_t i) const
    {
        return i == a.table[s.segs] - 1 && wrong(what) ? 2 : 1;
    }
    static float get(const void *p, int64_t i)
    {
        return kj_from_bf16(((const struct kj_bf16 *)p)[i]);
    }
    static void put(void *p, int64_t i, double x)
    {
        ((struct kj_bf16 *)p)[i] = kj_to_bf16((float)x);
    }
    /* The probabilities of query row i of head h in document from..to; lse, too. */
    double weights(int64_t from, int64_t to, int64_t i, int64_t h,
                   std::vector<double> &p) const
    {
        int64_t k = h / (s.heads / s.kv_heads), last = s.full ? to : i + 1;
        double max = -INFINITY, sum = 0;
        p.assign((size_t)(to - from), 0);
        for (int64_t j = from; j < last; j++) {
            double dot = 0;
            for (int64_t d = 0; d < s.dim; d++)
                dot += (double)get(a.q, i * s.q + h * s.dim + d) *
                       (double)get(a.k, j * s.kv + k * s.dim + d);
            p[(size_t)(j - from)] = dot * (double)a.scale;
            max = fmax(max, dot * (double)a.scale);
        }
        for (int64_t j = from; j < last; j++)
            sum += p[(size_t)(j - from)] = exp(p[(size_t)(j - from)] - max);
        for (int64_t j = from; j < last; j++)
            p[(size_t)(j - from)] /= sum;
        return max + log(sum);
    }
    void forward() const
    {
        std::vector<double> p;
        float *lse = s.train ? a.lse : (float *)a.scratch;
        for (int64_t g = 0; g < s.segs; g++)
            for (int64_t i = a.table[g]; i < a.table[g + 1]; i++)
                for (int64_t h = 0; h < s.heads; h++) {
                    int64_t from = a.table[g], to = a.table[g + 1];
                    int64_t k = h / (s.heads / s.kv_heads);
                    lse[i * s.heads + h] =
                        (float)(weights(from, to, i, h, p) * fault("lse", i));
                    for (int64_t d = 0; d < s.dim; d++) {
                        double sum = 0;
                        for (int64_t j = from; j < to; j++)
                            sum += p[(size_t)(j - from)] *
                                   (double)get(a.v, j * s.kv + k * s.dim + d);
                        put(a.o, i * s.o + h * s.dim + d, sum * fault("o", i));
                    }
                }
    }
    void backward() const
    {
        std::vector<double> p, dk, dv;
        int64_t n = a.table[s.segs], width = s.kv_heads * s.dim;
        dk.assign((size_t)(n * width), 0);
        dv = dk;
        for (int64_t g = 0; g < s.segs; g++)
            for (int64_t i = a.table[g]; i < a.table[g + 1]; i++)
                for (int64_t h = 0; h < s.heads; h++)
                    row(a.table[g], a.table[g + 1], i, h, p, dk, dv);
        for (int64_t i = 0; i < n; i++)
            for (int64_t d = 0; d < width; d++) {
                put(a.dk, i * s.dkv + d, dk[(size_t)(i * width + d)] * fault("dk", i));
                put(a.dv, i * s.dkv + d, dv[(size_t)(i * width + d)] * fault("dv", i));
            }
        struct kj_sdpa_parts t = parts();
        if (wrong("beyond"))
            memset((char *)a.scratch + t.rowsum + t.dq_sum + t.dk_heads + t.dv_heads +
                       64,
                   0, 4);
    }
    struct kj_sdpa_parts parts() const
    {
        return kj_sdpa_parts_of((size_t)a.tokens, (size_t)s.heads, (size_t)s.kv_heads,
                                (size_t)s.dim);
    }
    void row(int64_t from, int64_t to, int64_t i, int64_t h, std::vector<double> &p,
             std::vector<double> &dk, std::vector<double> &dv) const
    {
        int64_t k = h / (s.heads / s.kv_heads), width = s.kv_heads * s.dim;
        std::vector<float> dq((size_t)s.dim, 0); /* the sum whose order shows */
        const float *old = (const float *)((const char *)a.scratch + parts().rowsum);
        for (int64_t d = 0; d < s.dim && wrong("stale"); d++)
            dq[(size_t)d] = old[(i * s.heads + h) * s.dim + d];
        std::vector<int64_t> keys((size_t)(to - from));
        double rows = 0;
        weights(from, to, i, h, p);
        for (int64_t j = from; j < to; j++)
            keys[(size_t)(j - from)] = j;
        std::shuffle(keys.begin(), keys.end(), random);
        for (int64_t d = 0; d < s.dim; d++)
            rows += (double)get(a.d_o, i * s.o + h * s.dim + d) *
                    (double)get(a.o, i * s.o + h * s.dim + d);
        ((float *)a.scratch)[i * s.heads + h] = (float)rows;
        for (int64_t j : keys) {
            double dp = 0, w = p[(size_t)(j - from)];
            for (int64_t d = 0; d < s.dim; d++) {
                double g = (double)get(a.d_o, i * s.o + h * s.dim + d);
                dp += g * (double)get(a.v, j * s.kv + k * s.dim + d);
                dv[(size_t)(j * width + k * s.dim + d)] += w * g;
            }
            double ds = w * (dp - rows) * (double)a.scale;
            for (int64_t d = 0; d < s.dim; d++) {
                dq[(size_t)d] += (float)ds * get(a.k, j * s.kv + k * s.dim + d);
                dk[(size_t)(j * width + k * s.dim + d)] +=
                    ds * (double)get(a.q, i * s.q + h * s.dim + d);
            }
        }
        for (int64_t d = 0; d < s.dim; d++)
            put(a.dq, i * s.dq + h * s.dim + d, (double)dq[(size_t)d] * fault("dq", i));
    }
};
} // namespace

static unsigned seed(void)
{
    static unsigned calls;
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (unsigned)t.tv_nsec + 77777u * ++calls;
}

int kj_sdpa_forward(struct kj_sdpa *p, const struct kj_sdpa_args *a, struct kj_err *err)
{
    if (kj_emu_refuse("launch") != cudaSuccess)
        return kj_err_set(err, KJ_FAIL, "cuDNN, execution: EXECUTION_FAILED");
    struct call c = {p->s, *a, std::minstd_rand(1)};
    kj_emu_queue(p->stream, [=] { c.forward(); });
    return KJ_OK;
}
int kj_sdpa_backward(struct kj_sdpa *p, const struct kj_sdpa_args *a,
                     struct kj_err *err)
{
    if (kj_emu_refuse("launch") != cudaSuccess)
        return kj_err_set(err, KJ_FAIL, "cuDNN, execution: EXECUTION_FAILED");
    struct call c = {p->s, *a, std::minstd_rand(seed())};
    kj_emu_queue(p->stream, [=] { c.backward(); });
    return KJ_OK;
}
