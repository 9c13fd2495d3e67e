/* faults.cu - what goes wrong on a GPU, in one line each that says what to do.
 *
 * Kernels run later than they are launched. What one of them did wrong is told by
 * whatever call waits next, so the operation under way then is only where it was
 * noticed; KIJIL_CUDA_WAIT, which waits behind each, makes it the one. Behind such an
 * error, or one of memory, the process has lost the device: every later call fails
 * alike, so the first message is the one that counts, and another process is what
 * helps.
 */
#include "nn/cuda/cuda.cuh"

#include <cstdarg>
#include <cstdio>
#include <cstring>

#include "nn/cuda/dev.cuh"

/* The GPUs that the Makefile had kernels made for. */
#ifndef KJ_CUDA_FOR
#define KJ_CUDA_FOR emulator
#endif
#define TEXT_(x) #x
#define TEXT(x)  TEXT_(x)

/* CALL: of the call that gives it; KERNEL: of a kernel, told by a later call; DEVICE: of
 * the device, at any time. */
enum source { CALL, KERNEL, DEVICE };
static const struct advice {
    cudaError_t rc;
    enum source of;
    const char *text;
} advices[] = {
    {cudaErrorDevicesUnavailable, CALL,
     "another program has the GPU for itself, or it is being reset (nvidia-smi shows)"},
    {cudaErrorUnsupportedPtxVersion, CALL, "the driver is older than this program"},
    {cudaErrorSystemNotReady, CALL,
     "the machine's fabric manager is not running yet (nvidia-fabricmanager)"},
    {cudaErrorSystemDriverMismatch, CALL,
     "the driver was replaced while it was in use: restart the machine"},
    {cudaErrorCompatNotSupportedOnDevice, CALL,
     "CUDA's compatibility libraries do not serve this GPU: a newer driver is needed"},
    {cudaErrorStreamCaptureUnsupported, CALL,
     "KIJIL_CUDA_GRAPHS=0 does without graphs"},
    {cudaErrorStreamCaptureInvalidated, CALL,
     "KIJIL_CUDA_GRAPHS=0 does without graphs"},
    {cudaErrorStreamCaptureImplicit, CALL, "KIJIL_CUDA_GRAPHS=0 does without graphs"},
    {cudaErrorStreamCaptureUnjoined, CALL, "KIJIL_CUDA_GRAPHS=0 does without graphs"},
    {cudaErrorECCUncorrectable, DEVICE,
     "its memory is damaged: reset it (nvidia-smi -r) or take another GPU"},
    {cudaErrorNvlinkUncorrectable, DEVICE,
     "the link between GPUs is damaged: reset them (nvidia-smi -r)"},
    {(cudaError_t)226,
     DEVICE, /* cudaErrorContained, which older toolkits do not name */
     "its memory is damaged: reset it (nvidia-smi -r) or take another GPU"},
    {cudaErrorLaunchTimeout, KERNEL,
     "a kernel ran into the time limit of a GPU that also drives a display"},
    {cudaErrorIllegalAddress, KERNEL, "an operation left its memory"},
    {cudaErrorMisalignedAddress, KERNEL, "an operation left its memory"},
    {cudaErrorAssert, KERNEL, ""},
    {cudaErrorHardwareStackError, KERNEL, ""},
    {cudaErrorIllegalInstruction, KERNEL, ""},
    {cudaErrorInvalidAddressSpace, KERNEL, "an operation left its memory"},
    {cudaErrorInvalidPc, KERNEL, ""},
    {cudaErrorLaunchFailure, KERNEL,
     "dmesg | grep Xid tells more (79: the GPU fell off the bus)"},
    {cudaErrorUnknown, DEVICE,
     "the driver lost the GPU; dmesg | grep Xid tells why (79: it fell off the bus)"},
    {cudaErrorNoDevice, DEVICE,
     "the driver lost the GPU; dmesg | grep Xid tells why (79: it fell off the bus)"},
};

static const struct advice *advice_of(cudaError_t rc)
{
    for (size_t i = 0; i < sizeof advices / sizeof *advices; i++)
        if (advices[i].rc == rc)
            return &advices[i];
    return NULL;
}

const char *kj_cuda_text(cudaError_t rc, char *buf, size_t n)
{
    const struct advice *a = advice_of(rc);
    bool more = a && *a->text;
    snprintf(buf, n, "%s%s%s", cudaGetErrorString(rc), more ? ": " : "",
             more ? a->text : "");
    return buf;
}

/* " of 3x4x5" */
static void shape_of(const struct kj_cuda *c, char *buf, size_t room)
{
    size_t n = 0;
    *buf = 0;
    for (int i = 0; i < 3 && c->at.d[i] && n < room; i++)
        n += (size_t)snprintf(buf + n, room - n, "%s%zu", i ? "x" : " of ", c->at.d[i]);
}

void kj_cuda_fault(struct kj_cuda *c, const char *fmt, ...)
{
    char what[300], shape[80];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    shape_of(c, shape, sizeof shape);
    kj_backend_fault(&c->base, c->at.op ? c->at.op : "cuda", "%s%s%s",
                     *shape ? shape + 1 : "", *shape ? ": " : "", what);
}

bool kj_cuda_good(struct kj_cuda *c, cudaError_t rc, const char *call)
{
    const struct advice *a = advice_of(rc);
    char text[200], shape[80], place[200] = "";
    if (rc == cudaSuccess)
        return true;
    kj_cuda_text(rc, text, sizeof text);
    shape_of(c, shape, sizeof shape);
    if (c->at.op && strcmp(c->at.op, KJ_CUDA_SYNC) != 0)
        snprintf(place, sizeof place, " (noticed at %s%s)", c->at.op, shape);
    if (!a || a->of == CALL)
        kj_cuda_fault(c, "%.*s failed: %s", (int)strcspn(call, "("), call, text);
    else if (a->of == DEVICE)
        kj_backend_fault(&c->base, "the GPU", "%s%s", text, place);
    else if (c->each)
        kj_cuda_fault(c, "%s", text);
    else
        kj_backend_fault(&c->base, "the GPU",
                         "%s%s; KIJIL_CUDA_WAIT=1 names the operation that did it",
                         text, place);
    return false;
}

/* ---- before anything runs ---- */

__global__ void k_probe(void)
{
}

int kj_cuda_probe(struct kj_cuda *c, struct kj_err *err)
{
    cudaFuncAttributes a;
    char text[200];
    cudaError_t rc = cudaFuncGetAttributes(&a, (const void *)k_probe);
    if (rc == cudaSuccess)
        return KJ_OK;
    if (rc == cudaErrorNoKernelImageForDevice || rc == cudaErrorInvalidKernelImage ||
        rc == cudaErrorInvalidDeviceFunction)
        return kj_err_set(err, KJ_USAGE,
                          "%s is of sm_%d%d, and this program was built for %s: make "
                          "cuda with it in CUARCH",
                          c->gpu, c->major, c->minor, TEXT(KJ_CUDA_FOR));
    return kj_err_set(err, KJ_USAGE, "%s cannot be used: %s", c->gpu,
                      kj_cuda_text(rc, text, sizeof text));
}
