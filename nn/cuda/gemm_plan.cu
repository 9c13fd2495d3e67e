/* gemm_plan.cu - matrix products by cuBLASLt, with a cache of algorithms.
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
 * Pointers to FP8 scales and to a bias are part of a description and change from call
 * to call, so they are set before each; the plan stays.
 */
#include "nn/cuda/gemm.cuh"

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

struct plan {
    struct plan *next;
    struct kj_gemm_key key;
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

static unsigned bucket_of(const struct kj_gemm_key *k)
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
static void key_text(struct kj_cuda *c, const struct kj_gemm_key *k, char *buf,
                     size_t n)
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
    const struct kj_gemm_key *k = &p->key;
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

/* Pointers that are a description's own. */
static bool set_pointers(struct kj_cuda *c, const struct plan *p,
                         const struct kj_gemm_operands *o)
{
    return set_scales(c, p, o->sa, o->sb) && set_bias(c, p, o->bias);
}

/* By the library's algorithm, if it takes it. */
static cublasStatus_t by_library(struct kj_cuda *c, const struct plan *p,
                                 const struct kj_gemm_operands *o)
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

/* ms of the plan's algorithm, the best of TRIES; negative: it does not run. */
static float timed(struct kj_cuda *c, const struct plan *p,
                   const struct kj_gemm_operands *o, cudaEvent_t e[2])
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
static void tune(struct kj_cuda *c, struct plan *p, struct kj_gemm_operands o,
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

static struct plan *plan_of(struct kj_cuda *c, const struct kj_gemm_key *k,
                            const struct kj_gemm_operands *o)
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

bool kj_gemm_library(struct kj_cuda *c, const struct kj_gemm_key *k,
                     const struct kj_gemm_operands *o)
{
    struct plan *p = plan_of(c, k, o);
    if (!p)
        return true; /* there is a fault */
    while (!p->own && set_pointers(c, p, o)) {
        cublasStatus_t rc = by_library(c, p, o);
        if (!refused(rc)) {
            if (good(c, rc, "cublasLtMatmul") && c->each)
                KJ_CUDA(c, cudaStreamSynchronize(c->stream));
            return true;
        }
        p->refused++;
        next_offer(c, p);
    }
    return !p->own;
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
