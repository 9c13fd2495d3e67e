/* fail.cc - calls of the emulated device that fail when they are told to.
 *
 * KJ_EMU_FAIL=CALL:N:CODE: the Nth call of that kind in this process gives CODE, a number
 * of cudaError_t. CALL is open (the choice of the device), kernel (a question about
 * one), malloc, copy, set, wait, launch (also of graphs, cuDNN's and cuBLASLt's), aside (of
 * a kernel, on another stream than the first), capture (its end), graph (its
 * instantiation).
 *
 * As on a device: codes of a kernel (700 to 719) come not from its launch, which is
 * good, but from whatever comes behind its end, such as a wait for its stream; and behind
 * them, an uncorrectable error of memory or a lost device, nothing runs any more, and each
 * call gives that code again.
 *
 * N = 0: nothing fails, and at the end stderr has "CALL: how many there were".
 *
 * KJ_EMU_DRIVER=N: the driver's version, 13000 by default; an older one is refused. */
#include <cuda_runtime.h>

#include <cstdio>

static cudaError_t dead; /* cudaSuccess: alive */
static cudaError_t due;  /* of what is queued next, when it runs */

static struct teller {
    char call[16] = "";
    unsigned long n = 0;
    ~teller()
    {
        if (*call)
            fprintf(stderr, "%s: %lu\n", call, n);
    }
} teller;

static bool is(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

bool kj_emu_dead(void)
{
    return dead != cudaSuccess;
}

cudaError_t kj_emu_due(void)
{
    cudaError_t code = due;
    due = cudaSuccess;
    return code;
}

void kj_emu_kill(cudaError_t code)
{
    dead = code;
}

cudaError_t kj_emu_fails(const char *call)
{
    static unsigned long seen;
    static char told[32]; /* counted for this */
    const char *s = getenv("KJ_EMU_FAIL");
    char want[16];
    unsigned long n;
    int code;
    if (dead)
        return dead;
    if (!s || sscanf(s, "%15[a-z]:%lu:%d", want, &n, &code) != 3 || !is(want, call))
        return cudaSuccess;
    if (n == 0) {
        memcpy(teller.call, want, sizeof want);
        teller.n++;
        return cudaSuccess;
    }
    if (strncmp(s, told, sizeof told - 1) != 0) {
        snprintf(told, sizeof told, "%s", s);
        seen = 0;
    }
    if (++seen != n)
        return cudaSuccess;
    bool late = code >= 700 && code < 720 && (is(call, "launch") || is(call, "aside"));
    if (late)
        due = (cudaError_t)code;
    else if ((code >= 700 && code < 720) || code == cudaErrorECCUncorrectable ||
             code == cudaErrorUnknown)
        dead = (cudaError_t)code;
    return late ? cudaSuccess : (cudaError_t)code;
}

int kj_emu_driver(void)
{
    const char *s = getenv("KJ_EMU_DRIVER");
    return s ? atoi(s) : 13000;
}

const char *cudaGetErrorString(cudaError_t rc)
{
    static const struct {
        int code;
        const char *text; /* as CUDA 13.0 has it */
    } known[] = {
        {0, "no error"},
        {2, "out of memory"},
        {9, "invalid configuration argument"},
        {35, "CUDA driver version is insufficient for CUDA runtime version"},
        {46, "CUDA-capable device(s) is/are busy or unavailable"},
        {100, "no CUDA-capable device is detected"},
        {209, "no kernel image is available for execution on the device"},
        {214, "uncorrectable ECC error encountered"},
        {700, "an illegal memory access was encountered"},
        {702, "the launch timed out and was terminated"},
        {719, "unspecified launch failure"},
        {900, "operation not permitted when stream is capturing"},
        {901, "operation failed due to a previous error during capture"},
        {905, "dependency created on uncaptured work in another stream"},
        {999, "unknown error"},
    };
    for (const auto &k : known)
        if (k.code == (int)rc)
            return k.text;
    return "invalid argument";
}
