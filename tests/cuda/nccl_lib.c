/* nccl_lib.c - NVIDIA's NCCL itself, without a GPU: all that is used of it is there,
 * an id to meet by can be had, and a start that cannot succeed is told as an error
 * within its time instead of hanging or ending the process. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/err.h"
#include "nn/cuda/nccl_lib.h"

int main(void)
{
    struct kj_nccl lib;
    struct kj_err err = KJ_ERR_INIT;
    ncclUniqueId id;
    ncclComm_t comm = NULL;
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    int version = 0;
    if (kj_nccl_open(&lib, &err) != KJ_OK) {
        printf("nccl_lib: %s\n", err.msg);
        return 1;
    }
    lib.get_version(&version);
    memset(&id, 0, sizeof id);
    ncclResult_t rc = lib.get_unique_id(&id), state;
    if (rc != ncclSuccess) {
        printf("nccl_lib: no id: %s\n", lib.error_string(rc));
        return 1;
    }
    config.blocking = 0;
    state = lib.init_rank(&comm, 2, id, 0, &config);
    for (int i = 0; i < 100 && comm && state == ncclInProgress; i++) {
        nanosleep(&(struct timespec){0, 50000000}, NULL);
        lib.async_error(comm, &state);
    }
    printf("nccl_lib: NCCL %d.%d.%d; a start without a GPU: %s (%s)\n", version / 10000,
           version % 10000 / 100, version % 100, lib.error_string(state),
           lib.last_error(comm));
    if (comm)
        lib.abort(comm);
    return state == ncclSuccess || state == ncclInProgress;
}
