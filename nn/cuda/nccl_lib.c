/* nccl_lib.c - see nccl_lib.h. */
#include "nn/cuda/nccl_lib.h"

#include <dlfcn.h>

#include "base/err.h"

int kj_nccl_open(struct kj_nccl *lib, struct kj_err *err)
{
    const struct {
        const char *name;
        void *at;
    } all[] = {
        {"ncclGetVersion", &lib->get_version},
        {"ncclGetUniqueId", &lib->get_unique_id},
        {"ncclCommInitRankConfig", &lib->init_rank},
        {"ncclCommFinalize", &lib->finalize},
        {"ncclCommDestroy", &lib->destroy},
        {"ncclCommAbort", &lib->abort},
        {"ncclCommGetAsyncError", &lib->async_error},
        {"ncclGroupStart", &lib->group_start},
        {"ncclGroupEnd", &lib->group_end},
        {"ncclSend", &lib->send},
        {"ncclRecv", &lib->recv},
        {"ncclGetErrorString", &lib->error_string},
        {"ncclGetLastError", &lib->last_error},
    };
    void *so = dlopen("libnccl.so.2", RTLD_NOW | RTLD_LOCAL);
    if (!so)
        return kj_err_set(err, KJ_USAGE, "several ranks on GPUs need NCCL: %s",
                          dlerror());
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        void *f = dlsym(so, all[i].name);
        if (!f)
            return kj_err_set(err, KJ_USAGE, "NCCL has no %s: it is too old",
                              all[i].name);
        *(void **)all[i].at = f;
    }
    return KJ_OK;
}
