/* bench_ledger - what the ledger costs: documents per second and bytes per
 * document with 20 signals each, beside the same flow without a ledger.
 * Usage: bench_ledger [DOCUMENTS] */
#include "manifests/ledger.h"
#include "tests/unit/manifests/synth.h"

#include <sys/stat.h>
#include <time.h>

static double run(struct kj_ledger *l, uint64_t docs)
{
    struct kj_err err = KJ_ERR_INIT;
    struct synth s = {.end = docs, .batch = 300};
    struct synth_cfg cfg = {20, 20};
    struct kj_step steps[2] = {{.stage = &alpha, .cfg = &cfg}, {.stage = &beta}};
    struct kj_watch w;
    struct kj_flow f = {.source = {.self = &s, .read = synth_read},
                        .steps = steps,
                        .n_steps = 2,
                        .threads = 1};
    if (l) {
        w = kj_ledger_watch(l);
        f.watches = &w;
        f.n_watches = 1;
    }
    if (kj_flow_run(&f, &err) != KJ_OK)
        fprintf(stderr, "%s\n", err.msg);
    if (l)
        kj_ledger_end(l, &f, 0, &err);
    kj_flow_release(&f);
    return f.cpu;
}

static double once(const char *name, int signals, uint64_t docs, double bare)
{
    char path[] = "/tmp/kj-bench-XXXXXX";
    struct kj_err err = KJ_ERR_INIT;
    struct kj_ledger *l;
    struct stat st = {0};
    struct kj_ledger_info info = {.name = "bench", .signals = signals};
    int fd = mkstemp(path);
    if (fd < 0)
        return 0;
    close(fd);
    kj_ledger_open(&l, path, KJ_LEDGER_WRITE, &err);
    kj_ledger_begin(l, &info, NULL, &err);
    struct timespec a, b;
    clock_gettime(CLOCK_MONOTONIC, &a);
    double cpu = run(l, docs);
    kj_ledger_close(l, &err);
    clock_gettime(CLOCK_MONOTONIC, &b);
    double wall =
        (double)(b.tv_sec - a.tv_sec) + 1e-9 * (double)(b.tv_nsec - a.tv_nsec);
    stat(path, &st);
    printf("ledger %-14s %9.0f documents/s of CPU (%.0f wall), %.0f bytes/document\n",
           name, (double)docs / (cpu - bare), (double)docs / wall,
           (double)st.st_size / (double)docs);
    unlink(path);
    return cpu;
}

int main(int argc, char **argv)
{
    uint64_t docs = argc > 1 ? strtoull(argv[1], NULL, 10) : 100000;
    double bare = run(NULL, docs);
    printf("no ledger             %9.0f documents/s\n", (double)docs / bare);
    once("signals=all", KJ_SIGNALS_ALL, docs, bare);
    once("signals=none", KJ_SIGNALS_NONE, docs, bare);
    return 0;
}
