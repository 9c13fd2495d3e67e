/* comm_place.c - which rank this process is, from its launcher's environment. */
#include "nn/comm.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

struct launcher {
    const char *name, *rank, *size, *local;
};
static const struct launcher launchers[] = {
    {"torchrun", "RANK", "WORLD_SIZE", "LOCAL_RANK"},
    /* of the step: a batch script itself has a PROCID too, and all tasks of the job
     * in SLURM_NTASKS */
    {"Slurm", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID"},
    {"Open MPI", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE",
     "OMPI_COMM_WORLD_LOCAL_RANK"},
};

/* A number in [low, high]; 0 left in *out when the variable is not set. */
static int number(const char *name, long low, long high, int *out, struct kj_err *err)
{
    const char *s = getenv(name);
    char *end;
    if (!s || !*s)
        return KJ_EOF;
    long v = strtol(s, &end, 10);
    if (*end || v < low || v > high)
        return kj_err_set(err, KJ_USAGE, "%s=%s: not a number from %ld to %ld", name, s,
                          low, high);
    *out = (int)v;
    return KJ_OK;
}

static int read_launcher(struct kj_comm_place *p, const struct launcher *l,
                         struct kj_err *err)
{
    int rc = number(l->rank, 0, 65535, &p->rank, err);
    if (rc == KJ_OK)
        rc = number(l->size, 1, 65536, &p->size, err);
    if (rc == KJ_EOF)
        return kj_err_set(err, KJ_USAGE, "%s is set but %s is not", l->rank, l->size);
    if (rc == KJ_OK && p->rank >= p->size)
        return kj_err_set(err, KJ_USAGE, "%s=%d of %s=%d", l->rank, p->rank, l->size,
                          p->size);
    if (rc == KJ_OK)
        rc = number(l->local, 0, 65535, &p->local_rank, err);
    return rc == KJ_EOF ? KJ_OK : rc;
}

/* Where rank 0 listens. Slurm gives no port: the job's number makes one that two
 * jobs on one machine seldom share. */
static int read_address(struct kj_comm_place *p, const struct launcher *l,
                        struct kj_err *err)
{
    const char *host = getenv("MASTER_ADDR"), *job = getenv("SLURM_JOB_ID");
    int rc = number("MASTER_PORT", 1, 65535, &p->port, err);
    if ((!host || !*host) && strcmp(l->name, "Slurm") == 0)
        host = getenv("SLURM_LAUNCH_NODE_IPADDR");
    if (!host || !*host)
        return kj_err_set(
            err, KJ_USAGE,
            "%d ranks, but no MASTER_ADDR: set it to the machine of rank 0", p->size);
    if (rc == KJ_EOF && strcmp(l->name, "Slurm") == 0 && job) {
        p->port = 20000 + (int)(strtoul(job, NULL, 10) % 20000);
        rc = KJ_OK;
    }
    if (rc == KJ_EOF)
        return kj_err_set(err, KJ_USAGE,
                          "%d ranks, but no MASTER_PORT: set it to a free port of %s",
                          p->size, host);
    if (rc == KJ_OK &&
        snprintf(p->host, sizeof p->host, "%s", host) >= (int)sizeof p->host)
        return kj_err_set(err, KJ_USAGE, "MASTER_ADDR is too long");
    return rc;
}

int kj_comm_place(struct kj_comm_place *p, struct kj_err *err)
{
    *p = (struct kj_comm_place){.size = 1};
    for (size_t i = 0; i < sizeof launchers / sizeof *launchers; i++) {
        const char *s = getenv(launchers[i].rank);
        if (!s || !*s)
            continue;
        int rc = read_launcher(p, &launchers[i], err);
        return rc != KJ_OK || p->size == 1 ? rc : read_address(p, &launchers[i], err);
    }
    return KJ_OK;
}
