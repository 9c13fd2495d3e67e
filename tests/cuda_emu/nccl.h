/* nccl.h - the part of NCCL that nn/cuda/ uses, between emulated GPUs.
 *
 * The ranks are processes of one machine that meet by sockets which the unique id
 * names. Calls do not block; what is sent and received runs on its stream, so when
 * somebody waits for that, and then waits for the peer, for ever if that is gone, until
 * the communicator is aborted. Refused as there: what is not device memory, ranks
 * out of range, calls outside of a group, two ranks on one GPU. A send that meets a
 * receive of another length, which hangs or overwrites memory there, ends the process.
 */
#ifndef KJ_TESTS_NCCL_H
#define KJ_TESTS_NCCL_H

#include <cuda_runtime.h>

#define NCCL_VERSION(x, y, z) ((x)*10000 + (y)*100 + (z))

struct kj_emu_nccl;
using ncclComm_t = kj_emu_nccl *;
struct ncclUniqueId {
    char internal[128];
};
enum ncclResult_t {
    ncclSuccess,
    ncclUnhandledCudaError,
    ncclSystemError,
    ncclInternalError,
    ncclInvalidArgument,
    ncclInvalidUsage,
    ncclRemoteError,
    ncclInProgress
};
enum ncclDataType_t { ncclFloat32 = 7, ncclBfloat16 = 9 };
struct ncclConfig_t {
    int blocking;
};
#define NCCL_CONFIG_INITIALIZER                                                        \
    {                                                                                  \
        1                                                                              \
    }

#endif
