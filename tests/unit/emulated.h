/* emulated.h - the emulated GPU (tests/cuda_emu) under unit tests. */
#ifndef KJ_TESTS_EMULATED_H
#define KJ_TESTS_EMULATED_H

#include <dlfcn.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/unit/test.h"

/* "cuda" becomes the one beside this program's folder. Another one may be given by
 * KIJIL_CUDA_SO, unless `only` this one will do. False: there is none. */
static inline bool emulated_gpu(bool only)
{
    char path[4096], *slash;
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 80);
    path[n < 0 ? 0 : n] = 0;
    if (!(slash = strrchr(path, '/')))
        return false;
    snprintf(slash, 60, "/../../cuda_emu/kijil-cuda.so");
    setenv("KIJIL_CUDA_SO", path, only);
    return access(getenv("KIJIL_CUDA_SO"), R_OK) == 0;
}

/* What it has been asked for so far, as tests/cuda_emu/cuda_runtime.h has it. */
struct emulated_counts {
    uint64_t waits, mallocs, frees, launches, captures, graphs, replays, nodes;
};

static inline struct emulated_counts emulated_counts(void)
{
    struct emulated_counts n = {0};
    void (*count)(struct emulated_counts *) = NULL;
    void *so = dlopen(getenv("KIJIL_CUDA_SO"), RTLD_NOW | RTLD_NOLOAD);
    if (so)
        *(void **)&count = dlsym(so, "kj_emu_count");
    if (CHECK(count != NULL))
        count(&n);
    if (so)
        dlclose(so);
    return n;
}

#endif
