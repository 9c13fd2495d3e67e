/* ranks_nccl.cu - exchanges between the ranks of a run, by NCCL.
 *
 * All of it is made of NCCL's sends and receives, each rank with each other, on a
 * stream of its own, so that operations go on beside it. A sum is taken by a kernel of
 * ours over the pieces that came, in the order of ranks: the same bits whatever
 * the machines' wiring, NCCL's version or its settings, and those of the host's
 * exchange (nn/comm.h). It moves as many bytes as a ring would, (ranks - 1) / ranks of
 * the tensor in each direction, and a switch between GPUs serves all pairs at once.
 *
 * NCCL's kernels wait for their peers, for ever if need be, and so does then whoever
 * waits for the stream. The thread that watches the ranks (kj_comm_hear) ends
 * that: it aborts NCCL's communicator once a rank is gone, and looks for what NCCL
 * itself complains of. Calls into NCCL do not block (ncclConfig_t.blocking 0), so that
 * the two threads can take turns by a lock.
 */
#include "nn/cuda/dev.cuh"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <pthread.h>
#include <time.h>
#include <unistd.h>

extern "C" {
#include "base/err.h"
#include "nn/comm.h"
}
#include "base/clock.h"
#include "nn/cuda/ranks.cuh"
#include "nn/cuda/work.h"
#if defined(KJ_NCCL)
#include "nn/cuda/nccl_lib.h"
#endif

/* Ranks reach NCCL's start within seconds of each other: they have met before. */
#define INIT_SECONDS 120
#define END_SECONDS  5
/* Aborting takes milliseconds, some seconds where kernels are at work. */
#if defined(KJ_CUDA_EMU)
#define ABORT_SECONDS 2
#else
#define ABORT_SECONDS 20
#endif
/* The first whose calls can be given up while they wait. */
#define OLDEST NCCL_VERSION(2, 18, 0)

/* ---- sums ---- */

/* x: this rank's n elements; slots of the others' lie `apart` elements apart. */
template <class T, int V>
__global__ void k_rank_sum(T *x, const T *others, size_t apart, int rank, int ranks,
                           size_t n)
{
    size_t i = ((size_t)blockIdx.x * blockDim.x + threadIdx.x) * V;
    float mine[V], sum[V] = {}, a[V] = {};
    if (i >= n)
        return;
    kj_load<V>(mine, x + i);
    for (int r = 0; r < ranks; r++) {
        if (r != rank)
            kj_load<V>(a, others + (size_t)(r < rank ? r : r - 1) * apart + i);
        for (int k = 0; k < V; k++) {
            float e = r == rank ? mine[k] : a[k];
            sum[k] = r ? sum[k] + e : e;
        }
    }
    kj_store<V>(x + i, sum);
}

[[maybe_unused]] static void sum_piece(struct kj_cuda *c, cudaStream_t stream,
                                       struct kj_mat x, const void *others,
                                       size_t apart, size_t n)
{
    int rank = kj_comm_rank(c->base.comm), ranks = kj_comm_size(c->base.comm);
    size_t v = kj_wide(x.t->type);
    x.stride = v;
    size_t wide = kj_aligned(x, v, v) ? n / v * v : 0;
    kj_by_type(x.t->type, true, [&](auto type, auto vec) {
        typedef decltype(type) T;
        const int V = decltype(vec)::v;
        T *to = kj_ptr<T>(x);
        const T *from = (const T *)others;
        if (wide)
            kj_launch_on(c, stream, k_rank_sum<T, V>, kj_ceil(wide, V * 256), 256, to,
                         from, apart, rank, ranks, wide);
        if (n > wide)
            kj_launch_on(c, stream, k_rank_sum<T, 1>, kj_ceil(n - wide, 256), 256,
                         to + wide, from + wide, apart, rank, ranks, n - wide);
    });
}

#if defined(KJ_NCCL)

/* An exchange that may still run: of these elements of a tensor. */
struct pending {
    const struct kj_tensor *t;
    size_t from, to;
    cudaEvent_t done;
};
enum { PENDING = 64 };

struct kj_cuda_ranks {
    struct kj_nccl lib;
    struct kj_backend *b;
    pthread_mutex_t lock; /* of what follows, and of calls into NCCL */
    ncclComm_t comm;      /* NULL: none any more */
    bool gone;
    char why[1200];
    /* of the thread that drives the back end: */
    cudaStream_t stream;
    cudaEvent_t ready;
    struct kj_buffer pieces;
    struct pending pending[PENDING];
    size_t n_pending;
};

/* ---- faults ---- */

static void abort_now(void *arg)
{
    struct kj_cuda_ranks *r = (struct kj_cuda_ranks *)arg;
    r->lib.abort(r->comm);
}

/* Aborting joins NCCL's threads, which may themselves wait for a driver or a network
 * that does not answer. */
static void abort_nccl(struct kj_cuda_ranks *r, const char *why)
{
    char text[sizeof r->why + 40];
    snprintf(text, sizeof text, "%s; NCCL does not come to an end", why);
    kj_cuda_patient(r->b, ABORT_SECONDS, text, abort_now, r);
    r->comm = NULL;
}

/* With the lock held. */
static void give_up(struct kj_cuda_ranks *r, const char *why)
{
    if (r->gone)
        return;
    r->gone = true;
    snprintf(r->why, sizeof r->why, "%s", why);
    if (r->comm)
        abort_nccl(r, r->why);
}

/* NCCL's own complaint, or false. */
static bool complains(struct kj_cuda_ranks *r, ncclResult_t rc, char *buf, size_t n)
{
    if (rc == ncclSuccess || rc == ncclInProgress)
        return false;
    const char *more = r->lib.last_error(r->comm);
    snprintf(buf, n, "NCCL: %s%s%.500s (NCCL_DEBUG=INFO says more)",
             r->lib.error_string(rc), more && *more ? ": " : "", more ? more : "");
    for (char *p = buf; *p; p++)
        if (*p == '\n')
            *p = ' ';
    return true;
}

static void hear(void *ctx, const char *why)
{
    struct kj_cuda_ranks *r = (struct kj_cuda_ranks *)ctx;
    ncclResult_t state = ncclSuccess;
    char text[800];
    pthread_mutex_lock(&r->lock);
    if (why)
        give_up(r, why);
    else if (r->comm && r->lib.async_error(r->comm, &state) == ncclSuccess &&
             complains(r, state, text, sizeof text))
        give_up(r, text);
    pthread_mutex_unlock(&r->lock);
}

bool kj_cuda_ranks_good(struct kj_cuda *c)
{
    struct kj_cuda_ranks *r = c->ranks;
    char why[sizeof r->why];
    if (!r)
        return true;
    pthread_mutex_lock(&r->lock);
    bool gone = r->gone;
    if (gone)
        memcpy(why, r->why, sizeof why);
    pthread_mutex_unlock(&r->lock);
    if (gone && !c->base.fault.rc)
        kj_err_set(&c->base.fault, KJ_FATAL, "%s", why);
    return !gone;
}

/* Until NCCL has taken what was called last; false and `why` where it never will. */
static bool settled(struct kj_cuda_ranks *r, ncclResult_t rc, double deadline)
{
    char text[800];
    for (long ns = 20000; rc == ncclInProgress; ns = ns < 1000000 ? ns * 2 : ns) {
        struct timespec t = {0, ns};
        nanosleep(&t, NULL);
        pthread_mutex_lock(&r->lock);
        if (!r->comm)
            rc = ncclInvalidUsage;
        else if (r->lib.async_error(r->comm, &rc) != ncclSuccess)
            rc = ncclInternalError;
        if (rc == ncclInProgress && kj_now() > deadline) {
            give_up(r, "NCCL did not connect all ranks in time (NCCL_DEBUG=INFO says "
                       "more)");
            rc = ncclRemoteError;
        }
        pthread_mutex_unlock(&r->lock);
    }
    if (rc == ncclSuccess)
        return true;
    pthread_mutex_lock(&r->lock);
    if (!r->gone && complains(r, rc, text, sizeof text))
        give_up(r, text);
    pthread_mutex_unlock(&r->lock);
    return false;
}

/* ---- exchanges ---- */

/* Elements of x for a rank, and of this rank's from it; n 0: none. */
struct parcel {
    struct kj_mat to, from;
    size_t to_n, from_n;
};

static void *address(struct kj_mat m)
{
    return (char *)m.t->p + m.at * (m.t->type == KJ_BF16 ? 2 : 4);
}

/* Of calls that do not block each may say that it is not done yet. */
static bool begun(ncclResult_t rc)
{
    return rc == ncclSuccess || rc == ncclInProgress;
}

/* One group of sends and receives with all others. */
static void swap_all(struct kj_cuda *c, enum kj_dtype type, const struct parcel *p)
{
    struct kj_cuda_ranks *r = c->ranks;
    int ranks = kj_comm_size(c->base.comm), rank = kj_comm_rank(c->base.comm);
    ncclDataType_t t = type == KJ_BF16 ? ncclBfloat16 : ncclFloat32;
    ncclResult_t rc = ncclInvalidUsage;
    pthread_mutex_lock(&r->lock);
    if (r->comm) {
        rc = r->lib.group_start();
        for (int k = 1; k < ranks && begun(rc); k++) {
            /* not all to the same one at the same time */
            int to = (rank + k) % ranks, from = (rank + ranks - k) % ranks;
            if (p[to].to_n)
                rc = r->lib.send(address(p[to].to), p[to].to_n, t, to, r->comm,
                                 r->stream);
            if (p[from].from_n && begun(rc))
                rc = r->lib.recv(address(p[from].from), p[from].from_n, t, from,
                                 r->comm, r->stream);
        }
        ncclResult_t end = r->lib.group_end();
        rc = begun(rc) ? end : rc;
    }
    pthread_mutex_unlock(&r->lock);
    if (!settled(r, rc, kj_now() + INIT_SECONDS))
        kj_cuda_ranks_good(c);
}

/* The exchange's stream goes on behind what has been called so far. */
static bool fork_off(struct kj_cuda *c)
{
    return KJ_CUDA(c, cudaEventRecord(c->ranks->ready, c->stream)) &&
           KJ_CUDA(c, cudaStreamWaitEvent(c->ranks->stream, c->ranks->ready, 0));
}

/* What is called later waits for the first n exchanges that may still run. */
static void join_in(struct kj_cuda *c, size_t n)
{
    struct kj_cuda_ranks *r = c->ranks;
    struct pending over[PENDING];
    if (!n)
        return;
    KJ_CUDA(c, cudaStreamWaitEvent(c->stream, r->pending[n - 1].done, 0));
    memcpy(over, r->pending, n * sizeof *over); /* their events serve again */
    memmove(r->pending, r->pending + n, (PENDING - n) * sizeof *over);
    memcpy(r->pending + PENDING - n, over, n * sizeof *over);
    r->n_pending -= n;
}

static void mark(struct kj_cuda *c, struct kj_mat x, size_t n)
{
    struct kj_cuda_ranks *r = c->ranks;
    if (r->n_pending == PENDING)
        join_in(c, 1);
    struct pending *p = &r->pending[r->n_pending];
    p->t = x.t;
    p->from = x.at;
    p->to = x.at + n;
    if (!c->base.fault.rc && KJ_CUDA(c, cudaEventRecord(p->done, r->stream)))
        r->n_pending++;
    if (c->each && !c->base.fault.rc) /* for NCCL's kernels */
        KJ_CUDA(c, cudaStreamSynchronize(r->stream));
}

/* A piece of a rank's part. */
static void piece_of(const struct kj_comm *c, int rank, size_t n, size_t k,
                     size_t *from, size_t *to)
{
    size_t end;
    kj_comm_part(c, rank, n, from, &end);
    *from = *from + k * KJ_CUDA_EXCHANGE < end ? *from + k * KJ_CUDA_EXCHANGE : end;
    *to = *from + KJ_CUDA_EXCHANGE < end ? *from + KJ_CUDA_EXCHANGE : end;
}

static struct parcel *parcels(struct kj_cuda *c)
{
    size_t n = (size_t)kj_comm_size(c->base.comm);
    struct parcel *p = (struct parcel *)calloc(n, sizeof *p);
    if (!p)
        kj_cuda_fault(c, "no memory");
    return p;
}

void kj_cuda_nccl_reduce_scatter(struct kj_cuda *c, struct kj_mat x, size_t n)
{
    struct kj_cuda_ranks *r = c->ranks;
    const struct kj_comm *comm = c->base.comm;
    int ranks = kj_comm_size(comm), rank = kj_comm_rank(comm);
    struct parcel *p = parcels(c);
    size_t part = n / (size_t)ranks + 32, mine, end, a, b; /* the largest, at least */
    size_t apart = kj_cuda_apart(n, (size_t)ranks);
    struct kj_tensor slots = {x.t->type, (size_t)(ranks - 1) * apart, NULL, false};
    slots.p = kj_cuda_scratch(c, &r->pieces, slots.n * sizeof(float));
    if (p && slots.p && fork_off(c)) {
        for (size_t k = 0; k * KJ_CUDA_EXCHANGE < part && !c->base.fault.rc; k++) {
            piece_of(comm, rank, n, k, &mine, &end);
            for (int i = 0; i < ranks; i++) {
                piece_of(comm, i, n, k, &a, &b);
                size_t slot = (size_t)(i < rank ? i : i - 1) * apart;
                p[i].to = kj_mat(x.t, x.at + a, 1);
                p[i].to_n = b - a;
                p[i].from = kj_mat(&slots, slot, 1);
                p[i].from_n = end - mine;
            }
            swap_all(c, x.t->type, p);
            if (end > mine)
                sum_piece(c, r->stream, kj_mat(x.t, x.at + mine, 1), slots.p, apart,
                          end - mine);
        }
        mark(c, x, n);
    }
    free(p);
}

void kj_cuda_nccl_all_gather(struct kj_cuda *c, struct kj_mat x, size_t n)
{
    const struct kj_comm *comm = c->base.comm;
    int ranks = kj_comm_size(comm);
    struct parcel *p = parcels(c);
    size_t mine, end, a, b;
    if (p && fork_off(c)) {
        kj_comm_part(comm, kj_comm_rank(comm), n, &mine, &end);
        for (int i = 0; i < ranks; i++) {
            kj_comm_part(comm, i, n, &a, &b);
            p[i].to = kj_mat(x.t, x.at + mine, 1);
            p[i].to_n = end - mine;
            p[i].from = kj_mat(x.t, x.at + a, 1);
            p[i].from_n = b - a;
        }
        swap_all(c, x.t->type, p);
        mark(c, x, n);
    }
    free(p);
}

void kj_cuda_nccl_await(struct kj_cuda *c, struct kj_mat x, size_t n)
{
    struct kj_cuda_ranks *r = c->ranks;
    size_t upto = 0;
    for (size_t i = 0; i < r->n_pending; i++) {
        const struct pending *p = &r->pending[i];
        if (p->t == x.t && p->from < x.at + n && x.at < p->to)
            upto = i + 1;
    }
    join_in(c, upto);
}

/* ---- meeting and leaving ---- */

/* What ranks must know of each other before NCCL does. */
struct card {
    char host[64], gpu[32];
    int32_t by_host, nccl;
};

static int swap_cards(struct kj_comm *comm, struct card *all, struct kj_err *err)
{
    int rc = KJ_OK;
    for (int i = 0; i < kj_comm_size(comm) && rc == KJ_OK; i++)
        rc = kj_comm_broadcast(comm, &all[i], sizeof *all, i, err);
    return rc;
}

/* All ranks find the same. */
static int check_cards(const struct card *all, int n, struct kj_err *err)
{
    for (int i = 1; i < n; i++)
        if (all[i].by_host != all[0].by_host || all[i].nccl != all[0].nccl)
            return kj_err_set(err, KJ_USAGE,
                              "rank 0 (%s) exchanges by %s %d, rank %d (%s) by %s %d: "
                              "they must be alike",
                              all[0].host, all[0].by_host ? "host" : "NCCL",
                              all[0].nccl, i, all[i].host,
                              all[i].by_host ? "host" : "NCCL", all[i].nccl);
    for (int i = 0; i < n && !all[0].by_host; i++)
        for (int k = 0; k < i; k++)
            if (!strcmp(all[i].host, all[k].host) && !strcmp(all[i].gpu, all[k].gpu))
                return kj_err_set(
                    err, KJ_USAGE,
                    "ranks %d and %d are on one GPU (%s of %s): start as many ranks on "
                    "a machine as it has GPUs, with LOCAL_RANK or SLURM_LOCALID set",
                    k, i, all[i].gpu, all[i].host);
    return KJ_OK;
}

static int start_nccl(struct kj_cuda_ranks *r, struct kj_comm *comm, struct kj_err *err)
{
    ncclUniqueId id;
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    memset(&id, 0, sizeof id);
    if (kj_comm_rank(comm) == 0 && r->lib.get_unique_id(&id) != ncclSuccess)
        return kj_err_set(err, KJ_FATAL,
                          "NCCL finds no network interface to meet at (set "
                          "NCCL_SOCKET_IFNAME; NCCL_DEBUG=INFO says more)");
    int rc = kj_comm_broadcast(comm, &id, sizeof id, 0, err);
    if (rc)
        return rc;
    kj_comm_hear(comm, hear, r);
    pthread_mutex_lock(&r->lock);
    ncclResult_t got = r->gone ? ncclInvalidUsage
                               : r->lib.init_rank(&r->comm, kj_comm_size(comm), id,
                                                  kj_comm_rank(comm), &config);
    pthread_mutex_unlock(&r->lock);
    if (settled(r, got, kj_now() + INIT_SECONDS))
        return KJ_OK;
    pthread_mutex_lock(&r->lock);
    rc = kj_err_set(err, KJ_FATAL, "%s", r->gone ? r->why : "NCCL did not start");
    pthread_mutex_unlock(&r->lock);
    return rc;
}

static int streams(struct kj_cuda *c)
{
    struct kj_cuda_ranks *r = c->ranks;
    int low, high;
    bool good = KJ_CUDA(c, cudaDeviceGetStreamPriorityRange(&low, &high)) &&
                KJ_CUDA(c, cudaStreamCreateWithPriority(&r->stream,
                                                        cudaStreamNonBlocking, high)) &&
                KJ_CUDA(c, cudaEventCreateWithFlags(&r->ready, cudaEventDisableTiming));
    for (size_t i = 0; good && i < PENDING; i++)
        good = KJ_CUDA(
            c, cudaEventCreateWithFlags(&r->pending[i].done, cudaEventDisableTiming));
    return good ? KJ_OK : KJ_FATAL;
}

static int version_of(const struct kj_nccl *lib, int32_t *version, struct kj_err *err)
{
    int v = 0;
    ncclResult_t rc = lib->get_version(&v);
    *version = v;
    if (rc == ncclSuccess && v >= OLDEST)
        return KJ_OK;
    /* up to 2.8 versions were written with a digit less */
    return kj_err_set(err, KJ_USAGE, "NCCL %d.%d is too old: 2.18 is needed",
                      v < 10000 ? v / 1000 : v / 10000,
                      v < 10000 ? v % 1000 / 100 : v % 10000 / 100);
}

int kj_cuda_nccl_join(struct kj_cuda *c, struct kj_comm *comm, struct kj_err *err)
{
    int n = kj_comm_size(comm), device = 0;
    struct kj_cuda_ranks *r = new (std::nothrow) kj_cuda_ranks();
    struct card *all = (struct card *)calloc((size_t)n, sizeof *all);
    struct card *mine = all + kj_comm_rank(comm);
    const char *way = getenv("KIJIL_NCCL");
    bool by_host = way && strcmp(way, "host") == 0;
    c->at.op = "ranks";
    c->at.d[0] = 0;
    int rc = r && all ? KJ_OK : kj_err_set(err, KJ_FATAL, "no memory");
    if (rc == KJ_OK && !by_host)
        rc = kj_nccl_open(&r->lib, err);
    if (rc == KJ_OK && !by_host)
        rc = version_of(&r->lib, &mine->nccl, err);
    if (rc == KJ_OK) {
        mine->by_host = by_host;
        gethostname(mine->host, sizeof mine->host - 1);
        if (!KJ_CUDA(c, cudaGetDevice(&device)) ||
            !KJ_CUDA(c, cudaDeviceGetPCIBusId(mine->gpu, sizeof mine->gpu, device)))
            rc = kj_err_set(err, KJ_FATAL, "%s", c->base.fault.msg);
    }
    if (rc == KJ_OK)
        rc = swap_cards(comm, all, err);
    if (rc == KJ_OK)
        rc = check_cards(all, n, err);
    free(all);
    if (rc || by_host) {
        delete r;
        return rc;
    }
    c->ranks = r;
    r->b = &c->base;
    pthread_mutex_init(&r->lock, NULL);
    if (streams(c))
        return kj_err_set(err, KJ_FATAL, "%s", c->base.fault.msg);
    return start_nccl(r, comm, err);
}

void kj_cuda_ranks_close(struct kj_cuda *c)
{
    struct kj_cuda_ranks *r = c->ranks;
    if (!r)
        return;
    kj_comm_hear(c->base.comm, NULL, NULL);
    if (r->comm && !c->base.fault.rc &&
        settled(r, r->lib.finalize(r->comm), kj_now() + END_SECONDS))
        r->lib.destroy(r->comm);
    else if (r->comm)
        abort_nccl(r, c->base.fault.rc ? c->base.fault.msg : "the ranks did not part");
    if (r->stream)
        cudaStreamSynchronize(r->stream);
    for (size_t i = 0; i < PENDING; i++)
        if (r->pending[i].done)
            cudaEventDestroy(r->pending[i].done);
    if (r->ready)
        cudaEventDestroy(r->ready);
    if (r->stream)
        cudaStreamDestroy(r->stream);
    cudaFree(r->pieces.p);
    pthread_mutex_destroy(&r->lock);
    delete r;
    c->ranks = NULL;
}

#else /* a build without NCCL's header */

bool kj_cuda_ranks_good(struct kj_cuda *)
{
    return true;
}

void kj_cuda_nccl_reduce_scatter(struct kj_cuda *, struct kj_mat, size_t)
{
}

void kj_cuda_nccl_all_gather(struct kj_cuda *, struct kj_mat, size_t)
{
}

void kj_cuda_nccl_await(struct kj_cuda *, struct kj_mat, size_t)
{
}

int kj_cuda_nccl_join(struct kj_cuda *, struct kj_comm *, struct kj_err *err)
{
    const char *way = getenv("KIJIL_NCCL");
    if (way && strcmp(way, "host") == 0)
        return KJ_OK;
    return kj_err_set(err, KJ_USAGE,
                      "several ranks on GPUs need NCCL, and this program was built "
                      "without its nccl.h (KIJIL_NCCL=host goes by way of the host)");
}

void kj_cuda_ranks_close(struct kj_cuda *)
{
}

#endif
