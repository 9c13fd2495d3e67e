/* open.cu - the CUDA back end: opening, memory, faults, its table. */
#include "nn/cuda/cuda.cuh"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <new>

#include "nn/cuda/dev.cuh"
#include "nn/cuda/open.h"

/* ---- operands and launches ---- */

static cudaError_t choose(int device)
{
    static thread_local int chosen = -1;
    cudaError_t rc = chosen == device ? cudaSuccess : cudaSetDevice(device);
    chosen = rc == cudaSuccess ? device : -1;
    return rc;
}

bool kj_cuda_choose(struct kj_cuda *c)
{
    return kj_cuda_good(c, choose(c->device), "cudaSetDevice");
}

bool kj_cuda_inside(struct kj_cuda *c, struct kj_mat m, enum kj_dtype type, size_t rows,
                    size_t cols)
{
    static const char *const names[] = {"?",        "float32", "int32",
                                        "bfloat16", "E4M3",    "E5M2"};
    if (c->base.fault.rc)
        return false;
    if (rows == 0 || cols == 0)
        return true;
    if (!m.t) {
        kj_cuda_fault(c, "an operand is missing");
        return false;
    }
    if (m.t->type != type) {
        kj_cuda_fault(c, "an operand is %s, not %s", names[m.t->type], names[type]);
        return false;
    }
    if ((rows > 1 && m.stride < cols) || m.at > m.t->n || cols > m.t->n - m.at ||
        (rows > 1 && (m.t->n - m.at - cols) / m.stride < rows - 1)) {
        kj_cuda_fault(c, "%zu rows of %zu (stride %zu, from %zu) in %zu elements", rows,
                      cols, m.stride, m.at, m.t->n);
        return false;
    }
    return true;
}

bool kj_cuda_grid(struct kj_cuda *c, const void *kernel, size_t blocks, size_t shared)
{
    if (c->base.fault.rc || blocks == 0)
        return false;
    if (blocks > 0x7fffffffu || shared > c->shared_max) {
        kj_cuda_fault(c, "too large: %zu blocks with %zu bytes of shared memory",
                      blocks, shared);
        return false;
    }
    return shared <= 48 << 10 ||
           KJ_CUDA(c, cudaFuncSetAttribute(kernel,
                                           cudaFuncAttributeMaxDynamicSharedMemorySize,
                                           (int)shared));
}

bool kj_cuda_launched(struct kj_cuda *c, cudaStream_t stream, cudaError_t rc)
{
    if (rc != cudaSuccess)
        cudaGetLastError();
    if (!kj_cuda_good(c, rc, "launch"))
        return false;
    return !c->each || kj_cuda_good(c, cudaStreamSynchronize(stream), "kernel");
}

/* ---- memory ---- */

/* Device memory, or a fault that says how much there would have been. */
static void *memory(struct kj_cuda *c, size_t bytes)
{
    void *p = NULL;
    size_t left = 0, total = 0;
    cudaError_t rc = cudaMalloc(&p, bytes ? bytes : 1);
    if (rc == cudaSuccess)
        return p;
    cudaGetLastError();
    c->base.no_memory |= rc == cudaErrorMemoryAllocation;
    if (rc != cudaErrorMemoryAllocation ||
        cudaMemGetInfo(&left, &total) != cudaSuccess) {
        kj_cuda_good(c, rc, "cudaMalloc");
        return NULL;
    }
    /* The rest is this program's scratch, its libraries' (1 GB is usual), or others'. */
    double rest = (double)(total - left) - (double)c->base.bytes;
    kj_cuda_fault(c,
                  "no GPU memory for %.1f MB: %.1f of %.1f MB are free, %.1f hold this "
                  "program's tensors%s",
                  (double)bytes * 1e-6, (double)left * 1e-6, (double)total * 1e-6,
                  (double)c->base.bytes * 1e-6,
                  rest > 4e9 ? "; nvidia-smi shows which programs have the rest" : "");
    c->base.fault.err_no = ENOMEM;
    return NULL;
}

void *kj_cuda_scratch(struct kj_cuda *c, struct kj_buffer *b, size_t n)
{
    if (b->n >= n)
        return b->p;
    kj_cuda_leave(c);
    if (b->p)
        kj_cuda_forget(c);
    if (b->p && !KJ_CUDA(c, cudaFree(b->p))) /* waits for what still reads it */
        return NULL;
    c->base.work -= (int64_t)b->n;
    b->n = 0;
    b->p = memory(c, n);
    if (b->p)
        b->n = n;
    c->base.work += (int64_t)b->n;
    return b->p;
}

/* False: a fault. */
static bool has(struct kj_cuda *c, enum kj_dtype type)
{
    if (type >= KJ_E4M3 && !c->base.f8)
        kj_cuda_fault(c, "%s is of compute capability %d.%d; FP8 wants 8.9", c->gpu,
                      c->major, c->minor);
    return type < KJ_E4M3 || c->base.f8;
}

static struct kj_tensor *tensor_new(struct kj_backend *b, enum kj_dtype type, size_t n)
{
    struct kj_cuda *c = kj_cuda_of(b);
    if (!kj_cuda_op(c, "tensor", n))
        return NULL;
    if (n > SIZE_MAX / 4) {
        kj_cuda_fault(c, "no memory for that many elements");
        return NULL;
    }
    if (!has(c, type))
        return NULL;
    size_t bytes = n * kj_width(type);
    kj_cuda_leave(c);
    void *p = memory(c, bytes);
    if (!p)
        return NULL;
    struct kj_tensor *t = new (std::nothrow) kj_tensor();
    if (!t || !KJ_CUDA(c, cudaMemsetAsync(p, 0, bytes, c->stream))) {
        if (!t)
            kj_cuda_fault(c, "no memory");
        delete t;
        cudaFree(p);
        return NULL;
    }
    t->type = type;
    t->n = n;
    t->p = p;
    b->bytes += (int64_t)bytes;
    b->peak = b->bytes > b->peak ? b->bytes : b->peak;
    return t;
}

static void tensor_free(struct kj_backend *b, struct kj_tensor *t)
{
    if (!t)
        return;
    kj_cuda_forget(kj_cuda_of(b));
    if (!t->view) {
        b->bytes -= (int64_t)(t->n * kj_width(t->type));
        cudaFree(t->p); /* an earlier operation's failure would show here again */
    }
    delete t;
}

static struct kj_tensor *tensor_view(struct kj_backend *b, struct kj_tensor *t,
                                     enum kj_dtype type)
{
    struct kj_cuda *c = kj_cuda_of(b);
    if (!t || !kj_cuda_op(c, "view", t->n) || !has(c, type))
        return NULL;
    struct kj_tensor *v = new (std::nothrow) kj_tensor();
    if (!v) {
        kj_cuda_fault(c, "no memory");
        return NULL;
    }
    *v = {type, t->n * kj_width(t->type) / kj_width(type), t->p, true};
    return v;
}

static size_t tensor_size(const struct kj_tensor *t)
{
    return t ? t->n : 0;
}

static void memory_of(struct kj_backend *b, int64_t *left, int64_t *all)
{
    size_t free = 0, total = 0;
    if (!KJ_CUDA(kj_cuda_of(b), cudaMemGetInfo(&free, &total)))
        free = total = 0;
    *left = (int64_t)free;
    *all = (int64_t)total;
}

static void *address(const struct kj_tensor *t, size_t at)
{
    return (char *)t->p + at * kj_width(t->type);
}

static void write_host(struct kj_backend *b, struct kj_tensor *t, size_t at,
                       const void *src, size_t n)
{
    struct kj_cuda *c = kj_cuda_of(b);
    if (n && kj_cuda_op(c, "write", n) &&
        kj_cuda_inside(c, kj_mat(t, at, n), t ? t->type : KJ_F32, 1, n))
        kj_cuda_up(c, address(t, at), t->type, src, n);
}

static void read_host(struct kj_backend *b, const struct kj_tensor *t, size_t at,
                      void *dst, size_t n)
{
    struct kj_cuda *c = kj_cuda_of(b);
    struct kj_tensor *u = (struct kj_tensor *)(uintptr_t)t;
    if (n && kj_cuda_op(c, "read", n) &&
        kj_cuda_inside(c, kj_mat(u, at, n), t ? t->type : KJ_F32, 1, n))
        kj_cuda_down(c, dst, t->type, address(t, at), n);
}

static void zero(struct kj_backend *b, struct kj_mat x, size_t n)
{
    struct kj_cuda *c = kj_cuda_of(b);
    if (n && kj_cuda_op(c, "zero", n) &&
        kj_cuda_inside(c, x, x.t ? x.t->type : KJ_F32, 1, n))
        KJ_CUDA(c, cudaMemsetAsync(address(x.t, x.at), 0, n * kj_width(x.t->type),
                                   c->stream));
}

static void scale(struct kj_backend *b, struct kj_mat x, size_t n, float s)
{
    kj_cuda_axpby(b, x, x, n, s, 0.0f);
}

/* ---- waiting ---- */

/* What kernels complained of since the last time; the flags are read. */
static void complaints(struct kj_cuda *c)
{
    static const char *const what[] = {
        [KJ_FLAG_TOKEN] = "embed: token %d at %u is outside the rows",
        [KJ_FLAG_POSITION] = "rope: position %d at %u is outside the table",
        [KJ_FLAG_TARGET] = "cross_entropy: target %d at %u is outside the vocabulary",
        [KJ_FLAG_ROW] = "put: row %d at %u is outside the rows"};
    for (int i = 0; i < KJ_FLAGS; i++) {
        unsigned long long f = c->flags_host[i];
        if (!f)
            continue;
        char text[100];
        snprintf(text, sizeof text, what[i], (int)(uint32_t)f,
                 (unsigned)(f >> 32 & 0x7fffffffu));
        char *colon = strchr(text, ':');
        *colon = 0;
        kj_backend_fault(&c->base, text, "%s", colon + 2);
        KJ_CUDA(c,
                cudaMemsetAsync(c->flags, 0, KJ_FLAGS * sizeof *c->flags, c->stream));
    }
}

bool kj_cuda_wait(struct kj_cuda *c)
{
    if (!KJ_CUDA(c,
                 cudaMemcpyAsync(c->flags_host, c->flags, KJ_FLAGS * sizeof *c->flags,
                                 cudaMemcpyDeviceToHost, c->stream)) ||
        !KJ_CUDA(c, cudaStreamSynchronize(c->stream)) || !kj_cuda_ranks_good(c))
        return false;
    complaints(c);
    c->waited = true;
    return true;
}

static int sync_cuda(struct kj_backend *b, struct kj_err *err)
{
    struct kj_cuda *c = kj_cuda_of(b);
    c->at.op = KJ_CUDA_SYNC;
    c->at.d[0] = 0;
    kj_cuda_leave(c);
    if (c->waited || kj_cuda_wait(c))
        kj_cuda_ranks_good(c);
    int rc = b->fault.rc;
    if (rc) {
        kj_err_set(err, rc, "%s", b->fault.msg);
        if (err && !err->err_no)
            err->err_no = b->fault.err_no;
    }
    kj_err_reset(&b->fault);
    return rc;
}

/* ---- the back end ---- */

static void describe(struct kj_backend *b, char *buf, size_t n)
{
    struct kj_cuda *c = kj_cuda_of(b);
    int driver = 0, runtime = 0;
    cudaDriverGetVersion(&driver);
    cudaRuntimeGetVersion(&runtime);
    snprintf(buf, n, "%s (sm_%d%d, %d SMs), CUDA %d.%d, driver for %d.%d, cuBLASLt %zu",
             c->gpu, c->major, c->minor, c->sms, runtime / 1000, runtime % 1000 / 10,
             driver / 1000, driver % 1000 / 10, cublasLtGetVersion());
}

static void close_cuda(struct kj_backend *b)
{
    struct kj_cuda *c = kj_cuda_of(b);
    kj_cuda_ranks_close(c);
    if (c->stream)
        cudaStreamSynchronize(c->stream);
    kj_cuda_section_close(c);
    kj_cuda_stage_close(c);
    kj_cuda_gemm_close(c);
    kj_cuda_attn_close(c);
    cudaFree(c->scratch.p);
    cudaFree(c->workspace.p);
    cudaFree(c->rounded.p);
    cudaFree(c->flags);
    cudaFreeHost(c->flags_host);
    if (c->stream)
        cudaStreamDestroy(c->stream);
    free(c);
}

static const struct kj_ops cuda_ops = {
    .name = "cuda",
    .bf16 = true,
    .close = close_cuda,
    .describe = describe,
    .tensor_new = tensor_new,
    .tensor_free = tensor_free,
    .tensor_view = tensor_view,
    .tensor_size = tensor_size,
    .memory = memory_of,
    .write = write_host,
    .read = read_host,
    .zero = zero,
    .scale = scale,
    .axpby = kj_cuda_axpby,
    .sumsq = kj_cuda_sumsq,
    .add_sum = kj_cuda_add_sum,
    .matmul = kj_cuda_matmul,
    .linear = kj_cuda_linear,
    .quantize = kj_cuda_quantize,
    .most = kj_cuda_most,
    .matmul_f8 = kj_cuda_matmul_f8,
    .embed = kj_cuda_embed,
    .put = kj_cuda_put,
    .embed_back = kj_cuda_embed_back,
    .embed_mean = kj_cuda_embed_mean,
    .norm = kj_cuda_norm,
    .norm_back = kj_cuda_norm_back,
    .layer_norm = kj_cuda_layer_norm,
    .bias_act = kj_cuda_bias_act,
    .act_back = kj_cuda_act_back,
    .rope = kj_cuda_rope,
    .attention = kj_cuda_attention,
    .attention_back = kj_cuda_attention_back,
    .swiglu = kj_cuda_swiglu,
    .swiglu_back = kj_cuda_swiglu_back,
    .cross_entropy = kj_cuda_cross_entropy,
    .distil = kj_cuda_distil,
    .adamw = kj_cuda_adamw,
    .reduce_scatter = kj_cuda_reduce_scatter,
    .all_gather = kj_cuda_all_gather,
    .await = kj_cuda_await,
    .join = kj_cuda_join,
    .section_begin = kj_cuda_section_begin,
    .section_end = kj_cuda_section_end,
    .sync = sync_cuda,
};

/* Which GPU: the first; launchers number the ranks of a machine. One that is shown
 * a single GPU (Slurm with --gpus-per-task) takes that, whatever its number. */
static int device_number(int gpus)
{
    static const char *const names[] = {"LOCAL_RANK", "SLURM_LOCALID",
                                        "OMPI_COMM_WORLD_LOCAL_RANK"};
    const char *s = NULL;
    for (size_t i = 0; i < sizeof names / sizeof *names && !s; i++)
        s = getenv(names[i]);
    return s && gpus > 1 ? (int)strtol(s, NULL, 10) : 0;
}

/* Whoever has touched a GPU is not unloaded again: the runtime has handlers for the
 * ends of threads and of the process, and the driver threads. */
static void stay(void)
{
    Dl_info self;
    if (dladdr((const void *)kj_cuda_open, &self) && self.dli_fname)
        dlopen(self.dli_fname, RTLD_NOW | RTLD_NOLOAD | RTLD_NODELETE);
}

static int find_device(struct kj_cuda *c, struct kj_err *err)
{
    int n = 0, driver = 0, runtime = 0;
    char text[200];
    cudaDeviceProp p;
    cudaError_t rc = cudaGetDeviceCount(&n);
    cudaDriverGetVersion(&driver);
    cudaRuntimeGetVersion(&runtime);
    if (rc == cudaErrorInsufficientDriver && driver == 0)
        return kj_err_set(err, KJ_USAGE, "no NVIDIA driver is installed here");
    if (rc == cudaErrorInsufficientDriver)
        return kj_err_set(
            err, KJ_USAGE,
            "the NVIDIA driver knows CUDA up to %d.%d, this program needs %d.%d: "
            "install driver %s or a later one",
            driver / 1000, driver % 1000 / 10, runtime / 1000, runtime % 1000 / 10,
            runtime < 13000 ? "525" : "580");
    const char *shown = getenv("CUDA_VISIBLE_DEVICES");
    if (rc == cudaErrorNoDevice || (rc == cudaSuccess && n == 0))
        return kj_err_set(err, KJ_USAGE, "the driver lists no GPU%s%.60s%s",
                          shown ? " (CUDA_VISIBLE_DEVICES=" : "", shown ? shown : "",
                          shown ? " lets it show no other)" : "");
    if (rc != cudaSuccess)
        return kj_err_set(err, KJ_USAGE, "there is no usable GPU: %s",
                          kj_cuda_text(rc, text, sizeof text));
    int device = device_number(n);
    if (device < 0 || device >= n)
        return kj_err_set(err, KJ_USAGE,
                          "there is no GPU %d for the rank of that number on this "
                          "machine: the driver lists %d",
                          device, n);
    stay();
    if ((rc = choose(device)) || (rc = cudaGetDeviceProperties(&p, device)))
        return kj_err_set(err, KJ_USAGE, "GPU %d cannot be used: %s", device,
                          kj_cuda_text(rc, text, sizeof text));
    snprintf(c->gpu, sizeof c->gpu, "%s", p.name);
    c->device = device;
    c->major = p.major;
    c->minor = p.minor;
    c->base.f8 = p.major > 8 || (p.major == 8 && p.minor >= 9);
    c->sms = p.multiProcessorCount;
    c->shared_max = p.sharedMemPerBlockOptin;
    if (p.major < 8)
        return kj_err_set(err, KJ_USAGE,
                          "%s is of compute capability %d.%d; 8.0 (A100) is the least",
                          c->gpu, p.major, p.minor);
    return kj_cuda_probe(c, err);
}

static int prepare(struct kj_cuda *c)
{
    size_t bytes = KJ_FLAGS * sizeof *c->flags;
    c->at.op = "cuda";
    if (KJ_CUDA(c, cudaStreamCreateWithFlags(&c->stream, cudaStreamNonBlocking)) &&
        KJ_CUDA(c, cudaMalloc((void **)&c->flags, bytes)) &&
        KJ_CUDA(c, cudaMallocHost((void **)&c->flags_host, bytes)) &&
        KJ_CUDA(c, cudaMemsetAsync(c->flags, 0, bytes, c->stream)) &&
        kj_cuda_stage_open(c) && kj_cuda_section_open(c))
        return kj_cuda_gemm_open(c);
    return KJ_FATAL;
}

unsigned kj_cuda_abi(void)
{
    return KJ_BACKEND_ABI;
}

static int dnn_use(struct kj_cuda *c, struct kj_err *err)
{
    const char *s = getenv("KIJIL_CUDNN");
    c->dnn_use = !s || !*s ? KJ_DNN_AGREED : *s == '0' ? KJ_DNN_NEVER : KJ_DNN_MUST;
#ifndef KJ_CUDNN
    if (c->dnn_use == KJ_DNN_MUST)
        return kj_err_set(err, KJ_USAGE,
                          "KIJIL_CUDNN=%s, but this was built where cuDNN's headers "
                          "were not",
                          s);
#endif
    (void)err;
    return KJ_OK;
}

int kj_cuda_open(struct kj_backend **out, unsigned threads, struct kj_err *err)
{
    struct kj_cuda *c = (struct kj_cuda *)calloc(1, sizeof *c);
    if (!c)
        return kj_err_set(err, KJ_FATAL, "no memory");
    c->base.ops = &cuda_ops;
    c->base.threads = threads ? threads : 1;
    kj_err_reset(&c->base.fault);
    c->each = getenv("KIJIL_CUDA_WAIT") != NULL;
    int rc = dnn_use(c, err);
    if (rc == KJ_OK)
        rc = find_device(c, err);
    if (rc == KJ_OK && prepare(c))
        rc = kj_err_set(err, KJ_USAGE, "%s: %s", c->gpu, c->base.fault.msg);
    if (rc) {
        if (c->stream)
            close_cuda(&c->base);
        else
            free(c);
        return rc;
    }
    *out = &c->base;
    return KJ_OK;
}
