/* nccl.cc - see nccl.h here. */
#include <cuda_runtime.h>

#include <atomic>
#include <cstdio>
#include <errno.h>
#include <memory>
#include <mutex>
#include <poll.h>
#include <string>
#include <sys/socket.h>
#include <sys/un.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include "nn/cuda/nccl_lib.h"
extern "C" {
#include "base/err.h"
}

namespace
{
struct hello {
    int32_t rank, ranks, device;
};

struct op {
    bool out;
    const char *p;
    size_t bytes;
    int peer;
};

/* A message is its length and its bytes. */
struct way {
    uint64_t length;
    const char *p;
    size_t at, n; /* with the length */
};

struct wire {
    std::string id;
    int rank, ranks, device;
    std::atomic<bool> aborted{false};
    std::atomic<int> state{ncclInProgress};
    std::vector<int> fd; /* by rank */
    std::thread meeting;
    /* A call that went to the background: it is done when it was asked for so often, and
     * only then is the group in its stream. */
    unsigned questions = 0;
    std::vector<op> due;
    cudaStream_t stream = nullptr;

    bool move(int f, void *p, size_t n, bool out);
    int reach(int peer);
    void meet();
    void swap(const std::vector<op> &ops);
    bool step(int f, way *w, bool out);
    ~wire()
    {
        for (int f : fd)
            if (f >= 0)
                close(f);
    }
};

void name_of(const std::string &id, int rank, sockaddr_un *a, socklen_t *n)
{
    std::string s = id + "." + std::to_string(rank);
    memset(a, 0, sizeof *a);
    a->sun_family = AF_UNIX;
    memcpy(a->sun_path + 1, s.data(), s.size()); /* no file */
    *n = (socklen_t)(offsetof(sockaddr_un, sun_path) + 1 + s.size());
}

void nap(void)
{
    usleep(1000);
}

/* Small things while ranks meet; false once aborted, or when the peer is gone. */
bool wire::move(int f, void *p, size_t n, bool out)
{
    for (size_t at = 0; at < n && !aborted;) {
        ssize_t k = out ? send(f, (char *)p + at, n - at, MSG_NOSIGNAL | MSG_DONTWAIT)
                        : recv(f, (char *)p + at, n - at, MSG_DONTWAIT);
        if (k > 0)
            at += (size_t)k;
        else if (k == 0 || (errno != EAGAIN && errno != EINTR))
            return false;
        else
            nap();
    }
    return !aborted;
}

int wire::reach(int peer)
{
    sockaddr_un a;
    socklen_t n;
    name_of(id, peer, &a, &n);
    while (!aborted) {
        int f = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (connect(f, (sockaddr *)&a, n) == 0)
            return f;
        close(f);
        nap();
    }
    return -1;
}

/* Every rank dials those below it. */
void wire::meet()
{
    sockaddr_un a;
    socklen_t n;
    bool good = true;
    int door = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    name_of(id, rank, &a, &n);
    good = bind(door, (sockaddr *)&a, n) == 0 && listen(door, 64) == 0;
    for (int k = 0; k < ranks - 1 && good && !aborted;) {
        int f = k < rank ? reach(k) : accept4(door, NULL, NULL, SOCK_CLOEXEC);
        if (f < 0) {
            nap();
            continue;
        }
        hello me = {rank, ranks, device}, you = {};
        good = move(f, &me, sizeof me, true) && move(f, &you, sizeof you, false) &&
               you.rank >= 0 && you.rank < ranks && you.ranks == ranks &&
               you.rank != rank && fd[(size_t)you.rank] < 0;
        if (good && you.device == device) {
            state = ncclInvalidUsage; /* Duplicate GPU detected */
            good = false;
        }
        if (good)
            fd[(size_t)you.rank] = f;
        else
            close(f);
        k++;
    }
    close(door);
    if (good && !aborted)
        state = ncclSuccess;
    else if (state == ncclInProgress && !aborted)
        state = ncclSystemError;
}

/* As much as goes now; false once all is done. */
bool wire::step(int f, way *w, bool out)
{
    if (w->at == w->n)
        return false;
    bool head = w->at < sizeof w->length;
    char *p = head ? (char *)&w->length + w->at
                   : (char *)(uintptr_t)w->p + (w->at - sizeof w->length);
    size_t n = head ? sizeof w->length - w->at : w->n - w->at;
    ssize_t k =
        out ? send(f, p, n, MSG_NOSIGNAL | MSG_DONTWAIT) : recv(f, p, n, MSG_DONTWAIT);
    if (k > 0)
        w->at += (size_t)k;
    /* A peer that is gone is waited for like one that is slow. */
    if (k > 0 && head && !out && w->at == sizeof w->length &&
        w->length != w->n - sizeof w->length)
        kj_emu_die("NCCL: a receive meets a send of another length");
    return true;
}

void wire::swap(const std::vector<op> &ops)
{
    std::vector<way> ways;
    for (const op &o : ops)
        ways.push_back({o.bytes, o.p, 0, o.bytes + sizeof(uint64_t)});
    for (bool more = true; more && !aborted;) {
        more = false;
        size_t before = 0, after = 0;
        for (size_t i = 0; i < ops.size(); i++) {
            before += ways[i].at;
            more = step(fd[(size_t)ops[i].peer], &ways[i], ops[i].out) || more;
            after += ways[i].at;
        }
        if (more && after == before)
            usleep(200);
    }
}

/* ---- the interface ---- */

thread_local bool in_group;
thread_local std::vector<op> group;
thread_local std::shared_ptr<wire> group_of;
thread_local cudaStream_t group_stream;
} // namespace

struct kj_emu_nccl {
    std::shared_ptr<wire> l;
};

static ncclResult_t get_version(int *v)
{
    const char *how = getenv("KJ_EMU_NCCL");
    *v = how && strcmp(how, "old") == 0 ? NCCL_VERSION(2, 14, 3) : 22800;
    return ncclSuccess;
}

static ncclResult_t get_unique_id(ncclUniqueId *id)
{
    static int count;
    snprintf(id->internal, sizeof id->internal, "kj-emu-nccl-%d-%d", (int)getpid(),
             count++);
    return ncclSuccess;
}

static ncclResult_t init_rank(ncclComm_t *comm, int ranks, ncclUniqueId id, int rank,
                              ncclConfig_t *config)
{
    if (!comm || !config || config->blocking || ranks < 1 || rank < 0 || rank >= ranks)
        return ncclInvalidArgument;
    auto l = std::make_shared<wire>();
    l->id = id.internal;
    l->rank = rank;
    l->ranks = ranks;
    l->fd.assign((size_t)ranks, -1);
    cudaGetDevice(&l->device);
    *comm = new kj_emu_nccl{l};
    l->meeting = std::thread([p = l.get()] { p->meet(); });
    return ncclInProgress;
}

/* Calls that still wait in a stream keep the wire. */
static void leave(ncclComm_t comm)
{
    if (comm->l->meeting.joinable())
        comm->l->meeting.join();
    delete comm;
}

static ncclResult_t abort_comm(ncclComm_t comm)
{
    const char *how = getenv("KJ_EMU_NCCL");
    if (!comm)
        return ncclInvalidArgument;
    while (how && strcmp(how, "stuck") == 0)
        nap();
    comm->l->aborted = true;
    leave(comm);
    return ncclSuccess;
}

static ncclResult_t later(wire *l)
{
    l->questions = 3;
    l->state = ncclInProgress;
    return ncclInProgress;
}

static ncclResult_t finalize(ncclComm_t comm)
{
    if (!comm || comm->l->state != ncclSuccess)
        return ncclInvalidArgument;
    return later(comm->l.get());
}

static ncclResult_t destroy(ncclComm_t comm)
{
    if (!comm)
        return ncclInvalidArgument;
    leave(comm);
    return ncclSuccess;
}

static ncclResult_t async_error(ncclComm_t comm, ncclResult_t *state)
{
    if (!comm)
        return ncclInvalidArgument;
    wire *l = comm->l.get();
    if (l->questions && --l->questions == 0) {
        if (!l->due.empty())
            kj_emu_queue(l->stream, [l = comm->l, ops = l->due] { l->swap(ops); });
        l->due.clear();
        l->state = ncclSuccess;
    }
    *state = (ncclResult_t)l->state.load();
    return ncclSuccess;
}

static ncclResult_t group_start(void)
{
    in_group = true;
    return ncclSuccess;
}

static ncclResult_t group_end(void)
{
    if (!in_group)
        return ncclInvalidUsage;
    in_group = false;
    std::shared_ptr<wire> l = std::move(group_of);
    group_of.reset();
    if (group.empty())
        return ncclSuccess;
    l->due = std::move(group);
    l->stream = group_stream;
    group.clear();
    return later(l.get());
}

static ncclResult_t add(bool out, const void *p, size_t n, ncclDataType_t type,
                        int peer, ncclComm_t comm, cudaStream_t stream)
{
    size_t bytes = n * (type == ncclBfloat16 ? 2 : 4);
    if (!comm || !stream || peer < 0 || peer >= comm->l->ranks ||
        peer == comm->l->rank || !in_group || comm->l->state != ncclSuccess ||
        (type != ncclBfloat16 && type != ncclFloat32) || !kj_emu_is_device(p, bytes) ||
        (group_of && (group_of != comm->l || group_stream != stream)))
        return ncclInvalidArgument;
    group_of = comm->l;
    group_stream = stream;
    group.push_back({out, (const char *)p, bytes, peer});
    return out ? ncclSuccess : ncclInProgress; /* any call may say so */
}

static ncclResult_t send_to(const void *p, size_t n, ncclDataType_t type, int peer,
                            ncclComm_t comm, cudaStream_t stream)
{
    return add(true, p, n, type, peer, comm, stream);
}

static ncclResult_t recv_from(void *p, size_t n, ncclDataType_t type, int peer,
                              ncclComm_t comm, cudaStream_t stream)
{
    return add(false, p, n, type, peer, comm, stream);
}

static const char *error_string(ncclResult_t rc)
{
    return rc == ncclInvalidUsage      ? "invalid usage"
           : rc == ncclSystemError     ? "unhandled system error"
           : rc == ncclRemoteError     ? "remote process exited or there was a network "
                                         "error"
           : rc == ncclInvalidArgument ? "invalid argument"
                                       : "internal error";
}

static const char *last_error(ncclComm_t)
{
    return "";
}

int kj_nccl_open(struct kj_nccl *lib, struct kj_err *err)
{
    const char *how = getenv("KJ_EMU_NCCL");
    *lib = {get_version, get_unique_id, init_rank,   finalize,  destroy,
            abort_comm,  async_error,   group_start, group_end, send_to,
            recv_from,   error_string,  last_error};
    if (how && strcmp(how, "none") == 0)
        return kj_err_set(err, KJ_USAGE,
                          "several ranks on GPUs need NCCL: libnccl.so.2: cannot open "
                          "shared object file");
    return KJ_OK;
}
