/* lt.cc - cuBLASLt's product on the processor; see cublasLt.h here.
 *
 * KJ_EMU_LT: algorithms that were offered are refused when they are to run, as libraries
 * have been seen to do: "first" or "all". */
#include <cublasLt.h>

#include <vector>

static float half_up(uint16_t h)
{
    return __uint_as_float((unsigned)h << 16);
}

/* E4M3 has no infinities and one NaN; E5M2 is the upper half of a half. */
static float from_fp8(uint8_t v, bool e5)
{
    int man = e5 ? 2 : 3, bias = e5 ? 15 : 7;
    int e = (v & 0x7f) >> man, m = v & ((1 << man) - 1);
    float x = e ? ldexpf((float)(m + (1 << man)), e - bias - man)
                : ldexpf((float)m, 1 - bias - man);
    if (e5 ? e == 31 : (v & 0x7f) == 0x7f)
        x = e5 && m == 0 ? INFINITY : NAN;
    return v & 0x80 ? -x : x;
}

static float load(const void *p, size_t i, cudaDataType_t t)
{
    switch (t) {
    case CUDA_R_32F:
        return ((const float *)p)[i];
    case CUDA_R_16BF:
        return half_up(((const uint16_t *)p)[i]);
    default:
        return from_fp8(((const uint8_t *)p)[i], t == CUDA_R_8F_E5M2);
    }
}

static void store(void *p, size_t i, cudaDataType_t t, double x)
{
    float f = (float)x;
    if (t == CUDA_R_32F) {
        ((float *)p)[i] = f;
    } else {
        unsigned u = __float_as_uint(f);
        ((uint16_t *)p)[i] =
            (uint16_t)(f != f ? (u >> 16) | 64 : (u + 0x7fff + (u >> 16 & 1)) >> 16);
    }
}

static size_t width(cudaDataType_t t)
{
    return t == CUDA_R_32F ? 4 : t == CUDA_R_16BF ? 2 : 1;
}

cublasStatus_t cublasLtCreate(cublasLtHandle_t *h)
{
    *h = NULL;
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t)
{
    return CUBLAS_STATUS_SUCCESS;
}
size_t cublasLtGetVersion(void)
{
    return 0;
}
const char *cublasLtGetStatusString(cublasStatus_t s)
{
    return s == CUBLAS_STATUS_NOT_SUPPORTED      ? "not supported"
           : s == CUBLAS_STATUS_EXECUTION_FAILED ? "execution failed"
           : s                                   ? "invalid value"
                                                 : "";
}
cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *d, cublasComputeType_t,
                                        cudaDataType_t)
{
    *d = new kj_emu_lt_desc();
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t d)
{
    delete d;
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t d, int what,
                                              const void *v, size_t n)
{
    void *at = what == CUBLASLT_MATMUL_DESC_TRANSA            ? (void *)&d->ta
               : what == CUBLASLT_MATMUL_DESC_TRANSB          ? (void *)&d->tb
               : what == CUBLASLT_MATMUL_DESC_A_SCALE_POINTER ? (void *)&d->sa
               : what == CUBLASLT_MATMUL_DESC_B_SCALE_POINTER ? (void *)&d->sb
               : what == CUBLASLT_MATMUL_DESC_FAST_ACCUM      ? (void *)&d->fast
               : what == CUBLASLT_MATMUL_DESC_EPILOGUE        ? (void *)&d->epilogue
               : what == CUBLASLT_MATMUL_DESC_BIAS_POINTER    ? (void *)&d->bias
                                                              : NULL;
    size_t want = what == CUBLASLT_MATMUL_DESC_FAST_ACCUM ? 1
                  : what <= CUBLASLT_MATMUL_DESC_EPILOGUE ? 4
                                                          : sizeof(void *);
    if (!at || n != want)
        return CUBLAS_STATUS_INVALID_VALUE;
    memcpy(at, v, n);
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *l, cudaDataType_t t,
                                          uint64_t rows, uint64_t cols, int64_t ld)
{
    *l = new kj_emu_lt_layout{t, rows, cols, ld};
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t l)
{
    delete l;
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *p)
{
    *p = new kj_emu_lt_pref();
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t p)
{
    delete p;
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t p,
                                                    int what, const void *v, size_t n)
{
    if (what >= CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES && n == 4)
        memcpy(&p->align[what - CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES], v, 4);
    else if (what != CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES || n != sizeof(size_t))
        return CUBLAS_STATUS_INVALID_VALUE;
    return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t fits(const kj_emu_lt_desc *d, const kj_emu_lt_layout *a,
                           const kj_emu_lt_layout *b, const kj_emu_lt_layout *c,
                           const kj_emu_lt_layout *dd)
{
    uint64_t m = d->ta ? a->cols : a->rows, k = d->ta ? a->rows : a->cols;
    uint64_t n = d->tb ? b->rows : b->cols, k2 = d->tb ? b->cols : b->rows;
    if (m != dd->rows || n != dd->cols || k != k2 || c->rows != m || c->cols != n ||
        a->ld < (int64_t)a->rows || b->ld < (int64_t)b->rows ||
        c->ld < (int64_t)c->rows || dd->ld < (int64_t)dd->rows || c->type != dd->type)
        return CUBLAS_STATUS_INVALID_VALUE;
    unsigned act = d->epilogue & ~(unsigned)CUBLASLT_EPILOGUE_BIAS;
    if (d->epilogue && d->epilogue != CUBLASLT_EPILOGUE_DEFAULT &&
        ((act && act != CUBLASLT_EPILOGUE_RELU && act != CUBLASLT_EPILOGUE_GELU) ||
         ((d->epilogue & CUBLASLT_EPILOGUE_BIAS) && !d->bias)))
        return CUBLAS_STATUS_INVALID_VALUE;
    bool fp8 = width(a->type) == 1 || width(b->type) == 1;
    if (fp8 && (width(a->type) != 1 || width(b->type) != 1 || !d->ta || d->tb ||
                m % 16 || n % 16 || k % 16 || a->ld % 16 || b->ld % 16 ||
                (size_t)dd->ld * width(dd->type) % 16 || !d->sa || !d->sb ||
                (a->type == CUDA_R_8F_E5M2 && b->type == CUDA_R_8F_E5M2)))
        return CUBLAS_STATUS_NOT_SUPPORTED;
    if (!fp8 &&
        (a->type != b->type || (a->type == CUDA_R_32F && dd->type != CUDA_R_32F)))
        return CUBLAS_STATUS_NOT_SUPPORTED;
    return CUBLAS_STATUS_SUCCESS;
}

static bool aligned(uint64_t bytes, uint32_t to)
{
    return to && bytes % to == 0;
}

cublasStatus_t
cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t d,
                               cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                               cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t dd,
                               cublasLtMatmulPreference_t p, int want,
                               cublasLtMatmulHeuristicResult_t *out, int *got)
{
    cublasStatus_t s = fits(d, a, b, c, dd);
    *got = 0;
    for (int i = 0; i < 4; i++)
        if (width(a->type) == 1 && p->align[i] % 16)
            s = CUBLAS_STATUS_NOT_SUPPORTED;
    /* Some versions have nothing for odd strides of 16-bit numbers. */
    if (!s && a->type == CUDA_R_16BF && (a->ld % 2 || b->ld % 2 || dd->ld % 2))
        s = CUBLAS_STATUS_NOT_SUPPORTED;
    for (int i = 0; !s && i < want && i < 3; i++) {
        memset(&out[i], 0, sizeof out[i]);
        /* The alignment that was promised is held against the pointers later. */
        out[i].algo.data[0] = 1000 + (uint64_t)i;
        memcpy(&out[i].algo.data[1], p->align, sizeof p->align);
        uint64_t at = (uint64_t)(uintptr_t)d->bias | 256;
        out[i].algo.data[3] = at & (~at + 1);
        (*got)++;
    }
    return s;
}

/* ---- sums over k ---- */

static double plain(const float *a, const float *b, uint64_t k)
{
    double sum = 0;
    for (uint64_t l = 0; l < k; l++)
        sum += (double)a[l] * (double)b[l];
    return sum;
}

static double of_bf16(const float *a, const float *b, uint64_t k)
{
    float sum = 0, p[16];
    for (uint64_t l = 0; l < k; l += 16) {
        unsigned n = k - l < 16 ? (unsigned)(k - l) : 16;
        for (unsigned i = 0; i < n; i++)
            p[i] = a[l + i] * b[l + i];
        sum = kj_emu_add(sum, p, n, KJ_EMU_BF16_BITS, KJ_EMU_BF16_KEEPS);
    }
    return (double)sum;
}

static double of_f8(const float *a, const float *b, uint64_t k, bool fast)
{
    float sum = 0, part = 0, p[32];
    for (uint64_t l = 0; l < k; l += 32) {
        unsigned n = k - l < 32 ? (unsigned)(k - l) : 32;
        for (unsigned i = 0; i < n; i++)
            p[i] = a[l + i] * b[l + i];
        part = kj_emu_add(part, p, n, KJ_EMU_F8_BITS, KJ_EMU_F8_BITS);
        if (!fast && l % 128 == 96) {
            sum += part;
            part = 0;
        }
    }
    return (double)(sum + part);
}

cublasStatus_t
cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t d, const void *alpha,
               const void *a, cublasLtMatrixLayout_t la, const void *b,
               cublasLtMatrixLayout_t lb, const void *beta, const void *c,
               cublasLtMatrixLayout_t lc, void *dd, cublasLtMatrixLayout_t ld,
               const cublasLtMatmulAlgo_t *algo, void *, size_t, cudaStream_t stream)
{
    cublasStatus_t s = fits(d, la, lb, lc, ld);
    const char *refuse = getenv("KJ_EMU_LT");
    uint32_t align[4];
    memcpy(align, &algo->data[1], sizeof align);
    /* Which kernel serves was decided for the bias of then. */
    if (!s && (d->epilogue & CUBLASLT_EPILOGUE_BIAS) &&
        !aligned((uint64_t)(uintptr_t)d->bias, (uint32_t)algo->data[3]))
        s = CUBLAS_STATUS_INVALID_VALUE;
    if (!s && (algo->data[0] < 1000 || !aligned((uint64_t)(uintptr_t)a, align[0]) ||
               !aligned((uint64_t)(uintptr_t)b, align[1]) ||
               !aligned((uint64_t)(uintptr_t)c, align[2]) ||
               !aligned((uint64_t)(uintptr_t)dd, align[3])))
        s = CUBLAS_STATUS_INVALID_VALUE;
    if (!s && refuse && (algo->data[0] == 1000 || strcmp(refuse, "all") == 0))
        s = CUBLAS_STATUS_NOT_SUPPORTED;
    if (s)
        return s;
    if (kj_emu_refuse("launch") != cudaSuccess)
        return CUBLAS_STATUS_EXECUTION_FAILED;
    kj_emu_lt_desc t = *d;
    kj_emu_lt_layout x = *la, y = *lb, z = *lc, w = *ld;
    float fa = *(const float *)alpha, fb = *(const float *)beta;
    if (getenv("KJ_EMU_WRONG")) /* so that tests see checks fail */
        fa *= 1.0625f;
    kj_emu_queue(stream, [=] {
        uint64_t m = w.rows, n = w.cols, k = t.ta ? x.rows : x.cols;
        double scale =
            (double)fa * (double)(t.sa ? *t.sa : 1) * (double)(t.sb ? *t.sb : 1);
        std::vector<float> col(k), row(m * k);
        for (uint64_t i = 0; i < m; i++)
            for (uint64_t l = 0; l < k; l++)
                row[i * k + l] = load(
                    a, t.ta ? l + i * (uint64_t)x.ld : i + l * (uint64_t)x.ld, x.type);
        for (uint64_t j = 0; j < n; j++) {
            for (uint64_t l = 0; l < k; l++)
                col[l] = load(b, t.tb ? j + l * (uint64_t)y.ld : l + j * (uint64_t)y.ld,
                              y.type);
            for (uint64_t i = 0; i < m; i++) {
                double sum = x.type == CUDA_R_32F ? plain(&row[i * k], &col[0], k)
                             : x.type == CUDA_R_16BF
                                 ? of_bf16(&row[i * k], &col[0], k)
                                 : of_f8(&row[i * k], &col[0], k, t.fast);
                sum *= scale;
                if (fb != 0)
                    sum += (double)fb * (double)load(c, i + j * (uint64_t)z.ld, z.type);
                if (t.epilogue & CUBLASLT_EPILOGUE_BIAS)
                    sum += (double)load(t.bias, i, w.type);
                if (t.epilogue & CUBLASLT_EPILOGUE_RELU)
                    sum = sum > 0 ? sum : 0;
                if (t.epilogue & CUBLASLT_EPILOGUE_GELU)
                    sum *= 0.5 + 0.5 * tanh(0.7978845608028654 *
                                            (sum + 0.044715 * sum * sum * sum));
                store(dd, i + j * (uint64_t)w.ld, w.type, sum);
            }
        }
    });
    return CUBLAS_STATUS_SUCCESS;
}
