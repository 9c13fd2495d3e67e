/* test_comm.c - ranks as processes of this machine: sums in the order of ranks,
 * parts, broadcasts, at several sizes; ranks that die, stop, differ or do not come
 * are named; what launchers set. */
#include "tests/unit/test.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "nn/comm.h"

static int free_port(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    socklen_t n = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM, 0), port = 0;
    if (bind(fd, (void *)&a, sizeof a) == 0 && getsockname(fd, (void *)&a, &n) == 0)
        port = ntohs(a.sin_port);
    close(fd);
    return port;
}

/* What each rank does; it returns its exit status. */
typedef int rank_main(const struct kj_comm_place *p);

static struct kj_comm *join(const struct kj_comm_place *p)
{
    struct kj_comm *c = NULL;
    struct kj_err err = KJ_ERR_INIT;
    char text[1024];
    if (kj_comm_open(&c, p, 42, 20, &err) != KJ_OK)
        printf("     rank %d: %s\n", p->rank, kj_err_text(&err, text, sizeof text));
    return c;
}

/* Starts the ranks as processes; how many did not exit with 0. */
static int together(int size, rank_main *f)
{
    struct kj_comm_place p = {.size = size, .host = "127.0.0.1", .port = free_port()};
    int failed = 0, status;
    fflush(stdout);
    for (p.rank = 0; p.rank < size; p.rank++)
        if (fork() == 0) {
            int rc = f(&p);
            fflush(stdout);
            _exit(rc);
        }
    while (wait(&status) > 0)
        failed += status != 0;
    return failed;
}

/* Values whose sum depends on the order of its terms. */
static float value(int rank, size_t i)
{
    uint32_t x = (uint32_t)(i * 2654435761u) ^ (uint32_t)(rank * 40503 + 7);
    x ^= x >> 13;
    x *= 0x5bd1e995;
    return (float)(x >> 8) * (x & 1 ? 1e-3f : -1.0f);
}

static int sums_of(const struct kj_comm_place *p, size_t n)
{
    struct kj_comm *c = join(p);
    struct kj_err err = KJ_ERR_INIT;
    float *x = malloc((n + 1) * sizeof *x);
    int bad = !c;
    for (size_t i = 0; i < n; i++)
        x[i] = value(p->rank, i);
    bad = bad || kj_comm_reduce_scatter(c, x, n, &err) != KJ_OK ||
          kj_comm_all_gather(c, x, n, &err) != KJ_OK;
    for (size_t i = 0; i < n && !bad; i++) {
        float want = value(0, i);
        for (int r = 1; r < p->size; r++)
            want += value(r, i);
        bad = memcmp(&want, &x[i], sizeof want) != 0;
    }
    double few[3] = {p->rank, 1, 0.1 * p->rank}, want = 0;
    for (int r = 1; r < p->size; r++)
        want += 0.1 * r;
    bad = bad || kj_comm_sum(c, few, 3, &err) != KJ_OK ||
          few[0] != p->size * (p->size - 1) / 2 || few[1] != p->size || few[2] != want;
    char word[8] = "none";
    if (p->rank == p->size - 1)
        memcpy(word, "hello", 6);
    bad = bad || kj_comm_broadcast(c, word, sizeof word, p->size - 1, &err) != KJ_OK ||
          strcmp(word, "hello") != 0;
    if (bad)
        printf("     rank %d of %d: %s\n", p->rank, p->size, err.msg);
    free(x);
    kj_comm_close(c);
    return bad;
}

static int sums_small(const struct kj_comm_place *p)
{
    return sums_of(p, 5); /* most ranks own nothing */
}
static int sums_odd(const struct kj_comm_place *p)
{
    return sums_of(p, 10007);
}
static int sums_large(const struct kj_comm_place *p)
{
    return sums_of(p, 1300001); /* several pieces, more than sockets hold */
}

/* Any stretch of an array of which each has its part comes to rank 0. */
static int collected(const struct kj_comm_place *p)
{
    enum { N = 1000 };
    struct kj_comm *c = join(p);
    struct kj_err err = KJ_ERR_INIT;
    float all[N], got[N];
    size_t from, to;
    int bad = !c;
    for (size_t i = 0; i < N; i++)
        all[i] = value(7, i);
    if (c)
        kj_comm_part(c, p->rank, N, &from, &to);
    for (size_t at = 0; at < N && !bad; at += 37)
        for (size_t n = 0; n <= N - at && !bad; n += 91) {
            const float *mine = all + (from > at ? from : at);
            bad = kj_comm_collect(c, mine, N, at, n, got, &err) != KJ_OK;
            bad = bad || (p->rank == 0 && memcmp(got, all + at, n * sizeof *got) != 0);
        }
    kj_comm_close(c);
    return bad;
}

/* The parts of all ranks follow each other and are the whole. */
static int parts(const struct kj_comm_place *p)
{
    struct kj_comm *c = join(p);
    size_t from, to, at = 0;
    int bad = 0;
    for (size_t n = 0; n < 200 && !bad; n++, at = 0) {
        for (int r = 0; r < p->size; r++) {
            kj_comm_part(c, r, n, &from, &to);
            bad += from != at || to < from || (to % 16 && to != n);
            at = to;
        }
        bad += at != n;
    }
    kj_comm_close(c);
    return bad;
}

/* The call fails, and its message has the words. */
static int told(struct kj_comm *c, const char *words)
{
    struct kj_err err = KJ_ERR_INIT;
    double x = 1;
    int rc = KJ_OK;
    for (int i = 0; i < 3 && rc == KJ_OK; i++)
        rc = kj_comm_sum(c, &x, 1, &err);
    int bad = rc != KJ_FATAL || !strstr(err.msg, words);
    if (bad)
        printf("     got: %s\n     not: %s\n", err.msg, words);
    kj_comm_abort(c, err.msg);
    kj_comm_close(c);
    return bad;
}

static int one_dies(const struct kj_comm_place *p)
{
    struct kj_comm *c = join(p);
    if (p->rank == 1)
        _exit(0); /* without a word */
    return !c || told(c, "rank 1 (process ");
}

static int one_stops(const struct kj_comm_place *p)
{
    struct kj_comm *c = join(p);
    if (c && p->rank == 2) {
        kj_comm_abort(c, "disk full at step 12");
        kj_comm_close(c);
        return 0;
    }
    return !c || told(c, "disk full at step 12");
}

/* A rank that is stopped closes nothing; after a while it counts as gone. The others
 * end it, or the test would wait for it. */
static int one_hangs(const struct kj_comm_place *p)
{
    struct kj_comm *c = join(p);
    double pid[2] = {p->rank == 1 ? getpid() : 0, 1};
    struct kj_err err = KJ_ERR_INIT;
    if (!c || kj_comm_sum(c, pid, 2, &err) != KJ_OK)
        return 1;
    if (p->rank == 1)
        raise(SIGSTOP);
    int bad = told(c, "rank 1 (process ");
    if (p->rank == 2)
        kill((pid_t)pid[0], SIGKILL);
    return bad;
}

/* Who computes hears of it as well, and by which name. */
static void hear(void *ctx, const char *why)
{
    char *got = ctx;
    if (why)
        snprintf(got + 1, 1000, "%s", why);
    __atomic_store_n(got, why ? 2 : 1, __ATOMIC_RELEASE);
}

static int heard(const struct kj_comm_place *p, void (*leave)(struct kj_comm *c),
                 const char *words)
{
    static char got[1001];
    struct kj_comm *c = join(p);
    if (!c)
        return 1;
    kj_comm_hear(c, hear, got);
    for (int i = 0; i < 2000 && !__atomic_load_n(got, __ATOMIC_ACQUIRE); i++)
        usleep(5000);
    if (p->rank == 2) { /* its own device hears of it as well */
        leave(c);
        return got[0] != 2 || !strstr(got + 1, "no room");
    }
    for (int i = 0; i < 2000 && __atomic_load_n(got, __ATOMIC_ACQUIRE) != 2; i++)
        usleep(5000);
    int bad = got[0] != 2 || !strstr(got + 1, words);
    if (bad)
        printf("     got: %s\n     not: %s\n", got + 1, words);
    kj_comm_hear(c, NULL, NULL);
    kj_comm_abort(c, "another rank");
    kj_comm_close(c);
    return bad;
}

static void leave_dead(struct kj_comm *c)
{
    (void)c;
    _exit(0);
}

static void leave_telling(struct kj_comm *c)
{
    kj_comm_abort(c, "no room");
    kj_comm_close(c);
}

static int death_heard(const struct kj_comm_place *p)
{
    return heard(p, leave_dead, "rank 2 (process ");
}

static int reason_heard(const struct kj_comm_place *p)
{
    return heard(p, leave_telling, "stopped: no room");
}

/* A rank that is through is not missed. */
static int early_end(const struct kj_comm_place *p)
{
    static char got[1001];
    struct kj_comm *c = join(p);
    if (!c)
        return 1;
    kj_comm_hear(c, hear, got);
    if (p->rank != 1)
        usleep(1500000);
    kj_comm_close(c);
    return got[0] == 2;
}

static int one_differs(const struct kj_comm_place *p)
{
    struct kj_comm *c = join(p);
    struct kj_err err = KJ_ERR_INIT;
    double x[2] = {0};
    if (!c)
        return 1;
    int rc = kj_comm_sum(c, x, p->rank == 1 ? 2 : 1, &err);
    int bad = rc != KJ_FATAL;
    kj_comm_abort(c, err.msg);
    kj_comm_close(c);
    return bad;
}

/* Rank 2 is of another run; rank 1 never comes. */
static int not_all(const struct kj_comm_place *p)
{
    struct kj_comm *c;
    struct kj_err err = KJ_ERR_INIT;
    if (p->rank == 1)
        return 0;
    int rc = kj_comm_open(&c, p, p->rank == 2 ? 43 : 42, 1, &err);
    const char *words = p->rank == 2 ? "of another run" : "in vain for rank 1 2";
    int bad = rc != KJ_FATAL || c || !strstr(err.msg, words);
    if (bad)
        printf("     got: %s\n     not: %s\n", err.msg, words);
    return bad;
}

static void clear_env(void)
{
    static const char *const names[] = {"RANK",
                                        "WORLD_SIZE",
                                        "LOCAL_RANK",
                                        "MASTER_ADDR",
                                        "MASTER_PORT",
                                        "SLURM_PROCID",
                                        "SLURM_STEP_NUM_TASKS",
                                        "SLURM_NTASKS",
                                        "SLURM_LOCALID",
                                        "SLURM_JOB_ID",
                                        "SLURM_LAUNCH_NODE_IPADDR",
                                        "OMPI_COMM_WORLD_RANK",
                                        "OMPI_COMM_WORLD_SIZE",
                                        "OMPI_COMM_WORLD_LOCAL_RANK"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unsetenv(names[i]);
}

static void refused(const char *words)
{
    struct kj_comm_place p;
    struct kj_err err = KJ_ERR_INIT;
    CHECK_INT(kj_comm_place(&p, &err), KJ_USAGE);
    if (!CHECK(strstr(err.msg, words)))
        printf("     got: %s\n", err.msg);
}

static void launchers(void)
{
    struct kj_comm_place p;
    struct kj_err err = KJ_ERR_INIT;
    clear_env();
    CHECK_INT(kj_comm_place(&p, &err), KJ_OK);
    CHECK(p.rank == 0 && p.size == 1);
    setenv("RANK", "3", 1);
    refused("WORLD_SIZE is not");
    setenv("WORLD_SIZE", "3", 1);
    refused("RANK=3 of WORLD_SIZE=3");
    setenv("WORLD_SIZE", "4", 1);
    refused("MASTER_ADDR");
    setenv("MASTER_ADDR", "node1", 1);
    refused("MASTER_PORT");
    setenv("MASTER_PORT", "2950x", 1);
    refused("MASTER_PORT=2950x");
    setenv("MASTER_PORT", "29500", 1);
    setenv("LOCAL_RANK", "1", 1);
    CHECK_INT(kj_comm_place(&p, &err), KJ_OK);
    CHECK(p.rank == 3 && p.size == 4 && p.local_rank == 1 && p.port == 29500);
    CHECK_STR(p.host, strlen(p.host), "node1");
    clear_env();
    /* a batch script itself: all tasks of the job are named, but this is no step */
    setenv("SLURM_PROCID", "0", 1);
    setenv("SLURM_NTASKS", "16", 1);
    setenv("SLURM_STEP_NUM_TASKS", "1", 1);
    CHECK_INT(kj_comm_place(&p, &err), KJ_OK);
    CHECK_INT(p.size, 1);
    setenv("SLURM_PROCID", "9", 1);
    setenv("SLURM_STEP_NUM_TASKS", "16", 1);
    setenv("SLURM_LOCALID", "1", 1);
    setenv("SLURM_JOB_ID", "1234567", 1);
    setenv("SLURM_LAUNCH_NODE_IPADDR", "10.0.0.5", 1);
    CHECK_INT(kj_comm_place(&p, &err), KJ_OK);
    CHECK(p.rank == 9 && p.size == 16 && p.local_rank == 1 && p.port == 34567);
    CHECK_STR(p.host, strlen(p.host), "10.0.0.5");
    clear_env();
}

int main(void)
{
    signal(SIGPIPE, SIG_DFL);
    launchers();
    for (int size = 1; size <= 5; size++) {
        CHECK_INT(together(size, sums_small), 0);
        CHECK_INT(together(size, sums_odd), 0);
        CHECK_INT(together(size, parts), 0);
        CHECK_INT(together(size, collected), 0);
    }
    CHECK_INT(together(3, sums_large), 0);
    for (int i = 0; i < 5; i++) { /* who is seen first is a matter of chance */
        CHECK_INT(together(4, one_dies), 0);
        CHECK_INT(together(4, one_stops), 0);
    }
    CHECK_INT(together(3, one_differs), 0);
    CHECK_INT(together(3, not_all), 0);
    CHECK_INT(together(4, death_heard), 0);
    CHECK_INT(together(4, reason_heard), 0);
    CHECK_INT(together(3, early_end), 0);
    setenv("KIJIL_RANK_SILENCE", "2", 1);
    CHECK_INT(together(4, one_hangs), 1); /* the one that is ended */
    return test_end();
}
