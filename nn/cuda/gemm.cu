/* gemm.cu - matrix products by cuBLASLt, with a cache of algorithms.
 *
 * cuBLASLt thinks in columns: our row-major C = A B is its C' = B' A', so the operands
 * change places, and what is stored transposed stays a flag. A plan (descriptors and
 * an algorithm) is made once for each combination of shape, strides, types, flags
 * and alignment, since the library's own search costs more than a small product.
 *
 * The algorithm is the first that the library's heuristic offers: the same one for
 * the same library and GPU, so a run that is resumed gets the same bits. With
 * KIJIL_CUDA_TUNE=FILE the eight first offers are timed on the operands at hand, and
 * the choice is kept in FILE; later runs that name the file take it from there. Where
 * the bits must be the same at every run, the file is read and nothing is timed. An
 * algorithm that is refused when it is to run makes way for the next. Where none is left,
 * a plain kernel of ours does it; of a large product the back end's note says so.
 *
 * A linear map's bias, and an activation that the library has, are its epilogues: added
 * in float32 before the one rounding. Its GELU is the approximation by tanh.
 *
 * FP8 comes in the one layout that Hopper has: both operands' rows along k (A B', so the
 * library's "TN"). Their scales lie in device memory and change from call to call, so
 * the pointers are set before each; the plan stays.
 */
#include "nn/cuda/dev.cuh"

#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#define WORKSPACE KJ_CUDA_WORKSPACE
#define BUCKETS   512
#define OFFERS    8
#if defined(KJ_CUDA_EMU)
#define LARGE ((uint64_t)1 << 19)
#else
#define LARGE ((uint64_t)1 << 30) /* multiplications: a quarter of a ms by k_matmul */
#endif
#define TRIES 5

struct key {
    uint64_t m, n, k, lda, ldb, ldc;
    uint32_t flags, type, type_b, type_c;
    uint32_t align[4]; /* bytes, a power of two, of A, B, C and the bias */
    uint32_t epilogue; /* a cublasLtEpilogue_t, or 0 */
};

struct plan {
    struct plan *next;
    struct key key;
    cublasLtMatmulDesc_t desc;
    cublasLtMatrixLayout_t a, b, c;
    cublasLtMatmulAlgo_t algo;
    int refused; /* of the offers, from the first on, when they were to run */
    bool own;    /* cuBLASLt has no algorithm for this: k_matmul does it */
};

struct kj_gemm_plans {
    struct plan *bucket[BUCKETS];
    char *tune; /* file, or NULL */
};

static bool good(struct kj_cuda *c, cublasStatus_t rc, const char *call)
{
    if (rc == CUBLAS_STATUS_SUCCESS)
        return true;
    /* "execution failed" says little where the device has said more. */
    cudaError_t device = cudaGetLastError();
    if (device != cudaSuccess)
        return kj_cuda_good(c, device, call);
    kj_cuda_fault(c, "%.*s failed: %s", (int)strcspn(call, "("), call,
                  cublasLtGetStatusString(rc));
    return false;
}
#define LT(c, call) good(c, call, #call)

static unsigned bucket_of(const struct key *k)
{
    const unsigned char *p = (const unsigned char *)k;
    uint64_t h = 1469598103934665603u;
    for (size_t i = 0; i < sizeof *k; i++)
        h = (h ^ p[i]) * 1099511628211u;
    return (unsigned)(h >> 32) % BUCKETS;
}

static void plan_free(struct plan *p)
{
    if (p->desc)
        cublasLtMatmulDescDestroy(p->desc);
    cublasLtMatrixLayout_t l[] = {p->a, p->b, p->c};
    for (int i = 0; i < 3; i++)
        if (l[i])
            cublasLtMatrixLayoutDestroy(l[i]);
    free(p);
}

/* ---- the file of measured choices ---- */

/* One line: version GPU-name-with-underscores key : algorithm, in hexadecimal. */
static void key_text(struct kj_cuda *c, const struct key *k, char *buf, size_t n)
{
    char gpu[sizeof c->gpu];
    snprintf(gpu, sizeof gpu, "%s", c->gpu);
    for (char *s = gpu; *s; s++)
        *s = *s == ' ' ? '_' : *s;
    snprintf(buf, n,
             "%zu %s %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64
             " %" PRIu64 " %u %u %u %u %u %u %u %u %u :",
             cublasLtGetVersion(), gpu, k->m, k->n, k->k, k->lda, k->ldb, k->ldc,
             k->flags, k->type, k->type_b, k->type_c, k->align[0], k->align[1],
             k->align[2], k->align[3], k->epilogue);
}

static bool tuned_before(struct kj_cuda *c, struct plan *p)
{
    char want[700], line[1400];
    FILE *f = c->plans->tune ? fopen(c->plans->tune, "r") : NULL;
    bool found = false;
    if (!f)
        return false;
    key_text(c, &p->key, want, sizeof want);
    size_t n = strlen(want);
    while (!found && fgets(line, sizeof line, f)) {
        char *at = line + n;
        if (strncmp(line, want, n) != 0)
            continue;
        found = true;
        for (int i = 0; i < 8; i++) {
            char *end;
            p->algo.data[i] = strtoull(at, &end, 16);
            found = found && end != at;
            at = end;
        }
    }
    fclose(f);
    return found;
}

static void remember(struct kj_cuda *c, const struct plan *p)
{
    char text[700];
    FILE *f = fopen(c->plans->tune, "a");
    if (!f)
        return; /* the choice is only not kept */
    key_text(c, &p->key, text, sizeof text);
    fputs(text, f);
    for (int i = 0; i < 8; i++)
        fprintf(f, " %" PRIx64, (uint64_t)p->algo.data[i]);
    fputc('\n', f);
    fclose(f);
}

/* ---- making a plan ---- */

static cudaDataType_t lt_type(uint32_t t)
{
    return t == KJ_E4M3   ? CUDA_R_8F_E4M3
           : t == KJ_E5M2 ? CUDA_R_8F_E5M2
           : t == KJ_BF16 ? CUDA_R_16BF
                          : CUDA_R_32F;
}

/* Some versions offer no FP8 algorithm unless the scales are known to be there. */
static bool set_scales(struct kj_cuda *c, const struct plan *p, const float *a,
                       const float *b)
{
    return p->key.type < KJ_E4M3 ||
           (LT(c, cublasLtMatmulDescSetAttribute(
                      p->desc, CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, &b, sizeof b)) &&
            LT(c, cublasLtMatmulDescSetAttribute(
                      p->desc, CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, &a, sizeof a)));
}

static bool set_bias(struct kj_cuda *c, const struct plan *p, const void *bias)
{
    return !p->key.epilogue ||
           LT(c, cublasLtMatmulDescSetAttribute(
                     p->desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias));
}

/* cuBLASLt's A is our B and the other way round. */
static bool describe(struct kj_cuda *c, struct plan *p)
{
    const struct key *k = &p->key;
    int32_t ta = k->flags & KJ_MM_TB ? CUBLAS_OP_T : CUBLAS_OP_N;
    int32_t tb = k->flags & KJ_MM_TA ? CUBLAS_OP_T : CUBLAS_OP_N;
    cudaDataType_t type_a = lt_type(k->type_b), type_b = lt_type(k->type),
                   type_c = lt_type(k->type_c);
    int8_t fast = k->flags & KJ_MM_FAST ? 1 : 0;
    return LT(c, cublasLtMatmulDescCreate(&p->desc, CUBLAS_COMPUTE_32F, CUDA_R_32F)) &&
           LT(c, cublasLtMatmulDescSetAttribute(p->desc, CUBLASLT_MATMUL_DESC_TRANSA,
                                                &ta, sizeof ta)) &&
           LT(c, cublasLtMatmulDescSetAttribute(p->desc, CUBLASLT_MATMUL_DESC_TRANSB,
                                                &tb, sizeof tb)) &&
           (!fast ||
            LT(c, cublasLtMatmulDescSetAttribute(
                      p->desc, CUBLASLT_MATMUL_DESC_FAST_ACCUM, &fast, sizeof fast))) &&
           (!k->epilogue ||
            LT(c, cublasLtMatmulDescSetAttribute(p->desc, CUBLASLT_MATMUL_DESC_EPILOGUE,
                                                 &k->epilogue, sizeof k->epilogue))) &&
           LT(c, cublasLtMatrixLayoutCreate(&p->a, type_a, ta ? k->k : k->n,
                                            ta ? k->n : k->k, (int64_t)k->ldb)) &&
           LT(c, cublasLtMatrixLayoutCreate(&p->b, type_b, tb ? k->m : k->k,
                                            tb ? k->k : k->m, (int64_t)k->lda)) &&
           LT(c,
              cublasLtMatrixLayoutCreate(&p->c, type_c, k->n, k->m, (int64_t)k->ldc));
}

/* A note, where n offers are all refused or none: a large product costs tens of times as
 * much by the plain kernel. */
static void slow(struct kj_cuda *c, const struct plan *p, int n, cublasStatus_t why)
{
    if (n > p->refused || p->key.m * p->key.n < LARGE / p->key.k || *c->base.note ||
        p->key.epilogue) /* without, there may be one */
        return;
    snprintf(c->base.note, sizeof c->base.note,
             "cuBLASLt has no algorithm for %s of %" PRIu64 "x%" PRIu64 "x%" PRIu64
             " (%s): a plain kernel goes on, slowly",
             c->at.op, p->key.m, p->key.n, p->key.k,
             n ? "all were refused" : cublasLtGetStatusString(why));
}

static int offers(struct kj_cuda *c, struct plan *p,
                  cublasLtMatmulHeuristicResult_t *out)
{
    static const struct {
        cublasLtMatmulPreferenceAttributes_t what;
        int which;
    } align[] = {{CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, 1},
                 {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, 0},
                 {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, 2},
                 {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, 2}};
    cublasLtMatmulPreference_t pref = NULL;
    size_t ws = WORKSPACE;
    int n = 0;
    bool ok =
        LT(c, cublasLtMatmulPreferenceCreate(&pref)) &&
        LT(c, cublasLtMatmulPreferenceSetAttribute(
                  pref, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &ws, sizeof ws));
    for (size_t i = 0; ok && i < sizeof align / sizeof *align; i++)
        ok = LT(c, cublasLtMatmulPreferenceSetAttribute(pref, align[i].what,
                                                        &p->key.align[align[i].which],
                                                        sizeof p->key.align[0]));
    if (ok) {
        cublasStatus_t rc = cublasLtMatmulAlgoGetHeuristic(
            c->lt, p->desc, p->a, p->b, p->c, p->c, pref, OFFERS, out, &n);
        int all = rc == CUBLAS_STATUS_SUCCESS ? n : 0;
        n = 0;
        for (int i = 0; i < all; i++)
            if (out[i].state == CUBLAS_STATUS_SUCCESS)
                out[n++] = out[i];
        slow(c, p, n, rc);
    }
    if (pref)
        cublasLtMatmulPreferenceDestroy(pref);
    return n;
}

/* The offer behind those that were refused; own where there is none. */
static void next_offer(struct kj_cuda *c, struct plan *p)
{
    cublasLtMatmulHeuristicResult_t offer[OFFERS];
    int n = p->refused < OFFERS ? offers(c, p, offer) : 0;
    p->own = n <= p->refused;
    if (!p->own)
        p->algo = offer[p->refused].algo;
}

/* For what the library refuses, such as odd strides of bfloat16: 16x16 outputs a
 * block, a thread each, sums in order of k. sa, sb: scales, or NULL. Not fast. */
#define EDGE 16

template <class TA, class TB, class TC>
__global__ void k_matmul(TC *c, size_t ldc, const TA *a, size_t lda, const TB *b,
                         size_t ldb, size_t m, size_t n, size_t k, unsigned across,
                         unsigned flags, const float *sa, const float *sb)
{
    KJ_SHARED(float, sm);
    float *x = sm, *y = sm + EDGE * EDGE, sum = 0;
    unsigned i = threadIdx.x / EDGE, j = threadIdx.x % EDGE;
    size_t row = (size_t)(blockIdx.x / across) * EDGE + i;
    size_t col = (size_t)(blockIdx.x % across) * EDGE + j;
    for (size_t k0 = 0; k0 < k; k0 += EDGE) {
        /* x[i][j]: row i, k j; y[i][j]: k i, column j */
        x[threadIdx.x] = row < m && k0 + j < k
                             ? kj_get(flags & KJ_MM_TA ? a[(k0 + j) * lda + row]
                                                       : a[row * lda + k0 + j])
                             : 0.0f;
        y[threadIdx.x] = k0 + i < k && col < n
                             ? kj_get(flags & KJ_MM_TB ? b[col * ldb + k0 + i]
                                                       : b[(k0 + i) * ldb + col])
                             : 0.0f;
        __syncthreads();
        for (unsigned q = 0; q < EDGE; q++)
            sum += x[i * EDGE + q] * y[q * EDGE + j];
        __syncthreads();
    }
    if (sa)
        sum *= *sa * *sb;
    if (row < m && col < n)
        kj_set(&c[row * ldc + col],
               flags & KJ_MM_ADD ? kj_get(c[row * ldc + col]) + sum : sum);
}

struct operands {
    const void *a, *b, *old;
    void *to;
    const float *sa, *sb; /* of FP8 */
    const void *bias;     /* with an epilogue */
};

/* Pointers that are a description's own. */
static bool set_pointers(struct kj_cuda *c, const struct plan *p,
                         const struct operands *o)
{
    return set_scales(c, p, o->sa, o->sb) && set_bias(c, p, o->bias);
}

template <class TA, class TB, class TC>
static void own(struct kj_cuda *c, const struct key *k, const struct operands *o)
{
    size_t across = kj_ceil(k->n, EDGE);
    kj_launch(c, k_matmul<TA, TB, TC>, kj_ceil(k->m, EDGE) * across, EDGE * EDGE,
              2 * EDGE * EDGE * sizeof(float), (TC *)o->to, k->ldc, (const TA *)o->a,
              k->lda, (const TB *)o->b, k->ldb, k->m, k->n, k->k, (unsigned)across,
              k->flags, o->sa, o->sb);
}

template <class TC>
static void own_by_type(struct kj_cuda *c, const struct key *k,
                        const struct operands *o)
{
    using e4 = struct kj_e4m3;
    using e5 = struct kj_e5m2;
    if (k->type == KJ_F32)
        own<float, float, float>(c, k, o);
    else if (k->type == KJ_BF16)
        own<struct kj_bf16, struct kj_bf16, TC>(c, k, o);
    else if (k->type == KJ_E5M2)
        own<e5, e4, TC>(c, k, o);
    else if (k->type_b == KJ_E5M2)
        own<e4, e5, TC>(c, k, o);
    else
        own<e4, e4, TC>(c, k, o);
}

/* By the library's algorithm, if it takes it. */
static cublasStatus_t by_library(struct kj_cuda *c, const struct plan *p,
                                 const struct operands *o)
{
    const float one = 1.0f, beta = p->key.flags & KJ_MM_ADD ? 1.0f : 0.0f;
    return cublasLtMatmul(c->lt, p->desc, &one, o->b, p->a, o->a, p->b, &beta, o->old,
                          p->c, o->to, p->c, &p->algo, c->workspace.p, WORKSPACE,
                          c->stream);
}

static bool refused(cublasStatus_t rc)
{
    return rc == CUBLAS_STATUS_NOT_SUPPORTED || rc == CUBLAS_STATUS_ARCH_MISMATCH;
}

/* Of a plan with an epilogue nothing is done where it ends as our own. */
static bool multiply(struct kj_cuda *c, struct plan *p, const struct operands *o)
{
    if (!p->own && !set_pointers(c, p, o))
        return false;
    while (!p->own) {
        cublasStatus_t rc = by_library(c, p, o);
        if (!refused(rc))
            return good(c, rc, "cublasLtMatmul");
        p->refused++;
        next_offer(c, p);
    }
    if (p->key.epilogue)
        return true;
    if (p->key.type_c == KJ_F32)
        own_by_type<float>(c, &p->key, o);
    else
        own_by_type<struct kj_bf16>(c, &p->key, o);
    return !c->base.fault.rc;
}

/* ms of the plan's algorithm, the best of TRIES; negative: it does not run. */
static float timed(struct kj_cuda *c, const struct plan *p, const struct operands *o,
                   cudaEvent_t e[2])
{
    float best = -1;
    for (int i = 0; i < TRIES; i++) {
        float ms = 0;
        if (!KJ_CUDA(c, cudaEventRecord(e[0], c->stream)) || !set_pointers(c, p, o))
            return -1;
        cublasStatus_t rc = by_library(c, p, o);
        if (refused(rc) || !good(c, rc, "cublasLtMatmul") ||
            !KJ_CUDA(c, cudaEventRecord(e[1], c->stream)) ||
            !KJ_CUDA(c, cudaEventSynchronize(e[1])) ||
            !KJ_CUDA(c, cudaEventElapsedTime(&ms, e[0], e[1])))
            return -1;
        best = i > 0 && (best < 0 || ms < best) ? ms : best; /* the first warms up */
    }
    return best;
}

/* Times the offers; what is added to must not change, so that goes elsewhere. */
static void tune(struct kj_cuda *c, struct plan *p, struct operands o,
                 const cublasLtMatmulHeuristicResult_t *offer, int n)
{
    size_t left = 0, total = 0, bytes = p->key.m * p->key.ldc * 4;
    cudaEvent_t e[2] = {NULL, NULL};
    float best = -1;
    int choice = 0;
    kj_cuda_leave(c);
    if (p->key.flags & KJ_MM_ADD) {
        if (cudaMemGetInfo(&left, &total) != cudaSuccess ||
            (c->scratch.n < bytes && left < bytes + ((size_t)256 << 20)))
            return;
        o.to = kj_cuda_scratch(c, &c->scratch, bytes);
    }
    if (!o.to || !KJ_CUDA(c, cudaEventCreate(&e[0])) ||
        !KJ_CUDA(c, cudaEventCreate(&e[1])))
        return;
    for (int i = 0; i < n && !c->base.fault.rc; i++) {
        p->algo = offer[i].algo;
        float ms = timed(c, p, &o, e);
        if (ms >= 0 && (best < 0 || ms < best)) {
            best = ms;
            choice = i;
        }
    }
    p->algo = offer[choice].algo;
    remember(c, p);
    cudaEventDestroy(e[0]);
    cudaEventDestroy(e[1]);
}

static struct plan *plan_of(struct kj_cuda *c, const struct key *k,
                            const struct operands *o)
{
    cublasLtMatmulHeuristicResult_t offer[OFFERS];
    unsigned at = bucket_of(k);
    for (struct plan *p = c->plans->bucket[at]; p; p = p->next)
        if (memcmp(&p->key, k, sizeof *k) == 0)
            return p;
    struct plan *p = (struct plan *)calloc(1, sizeof *p);
    if (!p) {
        kj_cuda_fault(c, "no memory");
        return NULL;
    }
    p->key = *k;
    bool ok = describe(c, p) && set_pointers(c, p, o);
    if (ok && !tuned_before(c, p)) {
        int n = offers(c, p, offer);
        p->own = n == 0;
        if (n > 0)
            p->algo = offer[0].algo;
        if (n > 1 && c->plans->tune && !c->base.deterministic)
            tune(c, p, *o, offer, n);
    }
    if (!ok || c->base.fault.rc) {
        plan_free(p);
        return NULL;
    }
    p->next = c->plans->bucket[at];
    return c->plans->bucket[at] = p;
}

/* ---- the operation ---- */

static uint32_t alignment(const void *p)
{
    uintptr_t x = (uintptr_t)p;
    uint32_t low = (uint32_t)(x & (~x + 1) & 511u);
    return low == 0 || low > 256 ? 256 : low;
}

static const char *place(struct kj_mat m)
{
    return (const char *)m.t->p + m.at * kj_width(m.t->type);
}

/* Operands of KJ_MM_BF16 as bfloat16, in buffers of their own: rows of a multiple of
 * 8, so that what follows is aligned. */
static bool rounded(struct kj_cuda *c, struct kj_mat *a, size_t ra, size_t ca,
                    struct kj_mat *b, size_t rb, size_t cb, struct kj_tensor t[2])
{
    size_t sa = kj_ceil(ca, 8) * 8, sb = kj_ceil(cb, 8) * 8;
    struct kj_bf16 *p = (struct kj_bf16 *)kj_cuda_scratch(
        c, &c->rounded, (ra * sa + rb * sb) * sizeof *p);
    if (!p)
        return false;
    kj_cuda_round(c, p, sa, *a, ra, ca);
    kj_cuda_round(c, p + ra * sa, sb, *b, rb, cb);
    t[0] = {KJ_BF16, ra * sa, p, false};
    t[1] = {KJ_BF16, rb * sb, p + ra * sa, false};
    *a = kj_mat(&t[0], 0, sa);
    *b = kj_mat(&t[1], 0, sb);
    return !c->base.fault.rc;
}

/* The rest of the key: alignments; then by its plan. */
static void product_as_is(struct kj_cuda *c, struct key *key, struct kj_mat cc,
                          struct kj_mat a, struct kj_mat bb, const float *sa,
                          const float *sb)
{
    struct operands o = {place(a), place(bb), place(cc), (void *)(uintptr_t)place(cc),
                         sa,       sb,        NULL};
    key->type = a.t->type;
    key->type_b = bb.t->type;
    key->type_c = cc.t->type;
    key->align[0] = alignment(o.a);
    key->align[1] = alignment(o.b);
    key->align[2] = alignment(o.to);
    struct plan *p = plan_of(c, key, &o);
    if (p && multiply(c, p, &o) && c->each)
        KJ_CUDA(c, cudaStreamSynchronize(c->stream));
}

/* Floats of a product that waits to be added by chance: 16 MB, which plans do not count
 * (they keep more in reserve). */
#if defined(KJ_CUDA_EMU)
#define CHANCE_FLOATS ((size_t)1 << 10)
#else
#define CHANCE_FLOATS ((size_t)4 << 20)
#endif

/* The same; but what is added to bfloat16 by chance is made in float32 first, as many
 * rows at a time as lie in little memory. */
static void product(struct kj_cuda *c, struct key *key, struct kj_mat cc,
                    struct kj_mat a, struct kj_mat bb, const float *sa, const float *sb)
{
    if (!(key->flags & KJ_MM_ADD) || cc.t->type != KJ_BF16 || !c->base.chance) {
        product_as_is(c, key, cc, a, bb, sa, sb);
        return;
    }
    size_t m = key->m, wide = kj_ceil(key->n, 16) * 16;
    size_t most = CHANCE_FLOATS / wide / 16 * 16, per = most < 16 ? 16 : most;
    per = per < m ? per : m;
    struct kj_tensor t = {KJ_F32, per * wide, NULL, false};
    t.p = kj_cuda_scratch(c, &c->scratch, per * wide * sizeof(float));
    key->flags &= ~(uint32_t)KJ_MM_ADD;
    key->ldc = wide;
    for (size_t i = 0; t.p && i < m && !c->base.fault.rc; i += per) {
        key->m = m - i < per ? m - i : per;
        product_as_is(c, key, kj_mat(&t, 0, wide), a, bb, sa, sb);
        kj_cuda_add_by_chance(c, kj_mat(cc.t, cc.at + i * cc.stride, cc.stride),
                              (const float *)t.p, wide, key->m, key->n);
        a.at += per * (key->flags & KJ_MM_TA ? 1 : a.stride);
    }
}

void kj_cuda_matmul(struct kj_backend *b, struct kj_mat cc, struct kj_mat a,
                    struct kj_mat bb, size_t m, size_t n, size_t k, unsigned flags)
{
    struct kj_cuda *c = kj_cuda_of(b);
    bool ta = flags & KJ_MM_TA, tb = flags & KJ_MM_TB;
    enum kj_dtype type = kj_cuda_type(a), type_c = kj_cuda_type(cc);
    if (m == 0 || n == 0 || !kj_cuda_op(c, "matmul", m, n, k) ||
        !kj_cuda_inside(c, cc, type_c, m, n) ||
        !kj_cuda_inside(c, a, type, ta ? k : m, ta ? m : k) ||
        !kj_cuda_inside(c, bb, type, tb ? n : k, tb ? k : n))
        return;
    if (type == KJ_F32 && type_c != KJ_F32) {
        kj_cuda_fault(c, "float32 operands give a float32 product");
        return;
    }
    for (size_t i = 0; k == 0 && !(flags & KJ_MM_ADD) && i < m; i++)
        c->base.ops->zero(b, kj_mat(cc.t, cc.at + i * cc.stride, n), n);
    if (k == 0)
        return;
    struct kj_tensor t[2];
    if ((flags & KJ_MM_BF16) && type == KJ_F32 &&
        !rounded(c, &a, ta ? k : m, ta ? m : k, &bb, tb ? n : k, tb ? k : n, t))
        return;
    struct key key;
    memset(&key, 0, sizeof key); /* padding takes part in the comparison */
    key.m = m;
    key.n = n;
    key.k = k;
    /* The stride of a single row may be anything. */
    key.lda = (ta ? k : m) == 1 ? (ta ? m : k) : a.stride;
    key.ldb = (tb ? n : k) == 1 ? (tb ? k : n) : bb.stride;
    key.ldc = m == 1 ? n : cc.stride;
    key.flags = flags & (KJ_MM_TA | KJ_MM_TB | KJ_MM_ADD);
    product(c, &key, cc, a, bb, NULL, NULL);
}

/* The library's epilogue for that; 0: it has none. */
static uint32_t epilogue(enum kj_act act)
{
    return act == KJ_ACT_NONE        ? CUBLASLT_EPILOGUE_BIAS
           : act == KJ_ACT_RELU      ? CUBLASLT_EPILOGUE_RELU_BIAS
           : act == KJ_ACT_GELU_TANH ? CUBLASLT_EPILOGUE_GELU_BIAS
                                     : 0;
}

/* False: there is no algorithm, and nothing was done. */
static bool with_epilogue(struct kj_cuda *c, struct kj_mat y, struct kj_mat x,
                          struct kj_mat w, struct kj_mat bias, size_t n, size_t out,
                          size_t in, enum kj_act act)
{
    struct key key;
    memset(&key, 0, sizeof key);
    key.epilogue = epilogue(act);
    if (!key.epilogue)
        return false;
    struct operands o = {place(x), place(w), place(y),   (void *)(uintptr_t)place(y),
                         NULL,     NULL,     place(bias)};
    key.m = n;
    key.n = out;
    key.k = in;
    key.lda = n == 1 ? in : x.stride;
    key.ldb = out == 1 ? in : w.stride;
    key.ldc = n == 1 ? out : y.stride;
    key.flags = KJ_MM_TB;
    key.type = key.type_b = key.type_c = y.t->type;
    key.align[0] = alignment(o.a);
    key.align[1] = alignment(o.b);
    key.align[2] = alignment(o.to);
    key.align[3] = alignment(o.bias);
    struct plan *p = plan_of(c, &key, &o);
    if (p && multiply(c, p, &o) && !p->own && c->each)
        KJ_CUDA(c, cudaStreamSynchronize(c->stream));
    return !p || !p->own;
}

void kj_cuda_linear(struct kj_backend *b, struct kj_mat y, struct kj_mat x,
                    struct kj_mat w, struct kj_mat bias, size_t n, size_t out,
                    size_t in, enum kj_act act)
{
    struct kj_cuda *c = kj_cuda_of(b);
    enum kj_dtype type = kj_cuda_type(y);
    if (n == 0 || out == 0 || in == 0 || !kj_cuda_op(c, "linear", n, out, in) ||
        !kj_cuda_inside(c, y, type, n, out) || !kj_cuda_inside(c, x, type, n, in) ||
        !kj_cuda_inside(c, w, type, out, in) ||
        !kj_cuda_inside(c, bias, type, 1, out) ||
        with_epilogue(c, y, x, w, bias, n, out, in, act))
        return;
    kj_cuda_matmul(b, y, x, w, n, out, in, KJ_MM_TB);
    kj_cuda_bias_act(b, y, bias, n, out, act);
}

void kj_cuda_matmul_f8(struct kj_backend *b, struct kj_mat cc, struct kj_mat a,
                       struct kj_mat sa, struct kj_mat bb, struct kj_mat sb, size_t m,
                       size_t n, size_t k, unsigned flags)
{
    struct kj_cuda *c = kj_cuda_of(b);
    if (m == 0 || n == 0 || k == 0 || !kj_cuda_op(c, "matmul_f8", m, n, k) ||
        !kj_cuda_inside(c, cc, kj_cuda_type(cc), m, n) ||
        !kj_cuda_f8_inside(c, a, m, k) || !kj_cuda_f8_inside(c, bb, n, k) ||
        !kj_cuda_inside(c, sa, KJ_F32, 1, 1) || !kj_cuda_inside(c, sb, KJ_F32, 1, 1))
        return;
    if (a.t->type == KJ_E5M2 && bb.t->type == KJ_E5M2) {
        kj_cuda_fault(c, "one operand must be E4M3");
        return;
    }
    struct key key;
    memset(&key, 0, sizeof key);
    key.m = m;
    key.n = n;
    key.k = kj_ceil(k, 16) * 16;
    key.lda = m == 1 ? key.k : a.stride;
    key.ldb = n == 1 ? key.k : bb.stride;
    key.ldc = m == 1 ? kj_ceil(n, 16) * 16 : cc.stride;
    key.flags = KJ_MM_TB | (flags & (KJ_MM_ADD | KJ_MM_FAST));
    product(c, &key, cc, a, bb, kj_ptr<float>(sa), kj_ptr<float>(sb));
}

int kj_cuda_gemm_open(struct kj_cuda *c)
{
    const char *file = getenv("KIJIL_CUDA_TUNE");
    c->plans = (struct kj_gemm_plans *)calloc(1, sizeof *c->plans);
    if (c->plans && file && *file) {
        size_t n = strlen(file) + 1;
        c->plans->tune = (char *)malloc(n);
        if (c->plans->tune)
            memcpy(c->plans->tune, file, n);
    }
    if (!c->plans)
        kj_cuda_fault(c, "no memory");
    if (!c->plans || !LT(c, cublasLtCreate(&c->lt)) ||
        !kj_cuda_scratch(c, &c->workspace, WORKSPACE))
        return KJ_FATAL;
    return KJ_OK;
}

void kj_cuda_gemm_close(struct kj_cuda *c)
{
    for (int i = 0; c->plans && i < BUCKETS; i++)
        for (struct plan *p = c->plans->bucket[i], *next; p; p = next) {
            next = p->next;
            plan_free(p);
        }
    if (c->plans)
        free(c->plans->tune);
    free(c->plans);
    if (c->lt)
        cublasLtDestroy(c->lt);
}
