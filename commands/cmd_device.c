/* cmd_device.c - kijil device: which compute back ends work here. */
#include "commands/commands.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "commands/model.h"
#include "nn/selftest.h"

struct options {
    int64_t jobs, size;
    const char *device;
    bool verbose;
};

#define F(x) offsetof(struct options, x)
static const struct kj_opt device_opts[] = {
    {"jobs", 'j', KJ_OPT_INT, F(jobs), "N",
     "threads; 0: as many as processors are allowed", "0", 0, 1024},
    {"device", 0, KJ_OPT_STR, F(device), "NAME", "only this back end: cpu, cuda", NULL,
     0, 0},
    {"size", 0, KJ_OPT_INT, F(size), "N",
     "rows and columns of the product that is timed; 0: 1024, on a GPU 8192", "0", 0,
     65536},
    {"verbose", 'v', KJ_OPT_FLAG, F(verbose), 0, "every check, not only each operation",
     0, 0, 0},
    {0},
};
#undef F

struct table {
    bool verbose;
    char op[32];
    unsigned checks, failed;
    double worst; /* share of its limit */
};

static void close_row(struct table *t)
{
    if (*t->op && !t->verbose)
        printf("  %-14s %3u checks  %s  (at worst %.0f %% of what is allowed)\n", t->op,
               t->checks, t->failed ? "FAILED" : "good", 100 * t->worst);
    t->checks = t->failed = 0;
    t->worst = 0;
}

static void report(void *ctx, const struct kj_selftest *s)
{
    struct table *t = ctx;
    if (strcmp(t->op, s->op) != 0) {
        close_row(t);
        snprintf(t->op, sizeof t->op, "%s", s->op);
    }
    double share = s->limit > 0 ? s->worst / s->limit : s->worst > 0 ? 1e9 : 0;
    t->checks++;
    t->failed += !s->ok;
    t->worst = share > t->worst ? share : t->worst;
    if (t->verbose || !s->ok)
        printf("  %-14s %-34s %.2e of %.0e  %s\n", s->op, s->what, s->worst, s->limit,
               s->ok ? "good" : "FAILED");
}

/* Products that fill a GPU take a second of a processor. */
static unsigned product_size(const struct kj_backend *b)
{
    return strcmp(b->ops->name, "cpu") == 0 ? 1024 : 8192;
}

static int test(const char *name, const struct options *o, unsigned threads,
                struct kj_err *err)
{
    bool asked = o->device != NULL;
    struct kj_backend *b;
    struct table t = {.verbose = o->verbose};
    struct timespec t0, t1;
    char what[256];
    unsigned failed = 0;
    struct kj_selftest_speed speed;
    struct kj_err none = KJ_ERR_INIT;
    int rc = kj_backend_open(&b, name, threads, &none);
    if (rc == KJ_USAGE && !asked) { /* not here: that is no failure */
        printf("%s: %s\n", name, none.msg);
        return KJ_OK;
    }
    if (rc)
        return kj_err_set(err, rc, "%s", none.msg);
    b->ops->describe(b, what, sizeof what);
    printf("%s: %s\n", name, what);
    clock_gettime(CLOCK_MONOTONIC, &t0);
    rc = kj_selftest_run(b, 1, report, &t, &failed, err);
    close_row(&t);
    clock_gettime(CLOCK_MONOTONIC, &t1);
    unsigned size = o->size ? (unsigned)o->size : product_size(b);
    if (rc == KJ_OK)
        rc = kj_selftest_speed(b, size, 1.0, &speed, err);
    if (rc == KJ_OK) {
        printf("  each operation against float64 and finite differences, %.1f s\n",
               (double)(t1.tv_sec - t0.tv_sec) +
                   1e-9 * (double)(t1.tv_nsec - t0.tv_nsec));
        printf("  matrix product %u^3: %.0f GFLOP/s, of bfloat16 %.0f   "
               "optimizer step: %.1f GB/s\n",
               size, speed.gflops, speed.gflops_bf16, speed.gbytes);
    }
    kj_backend_close(b);
    if (rc == KJ_OK && failed)
        rc = kj_err_set(err, KJ_FAIL, "%u checks of back end %s failed", failed, name);
    return rc;
}

static int run(const struct kj_cmd *cmd, int argc, char **argv)
{
    struct options o = {0};
    struct kj_common common;
    struct kj_strs pos = {0};
    struct kj_err err = KJ_ERR_INIT;
    void *const cfgs[] = {&o};
    int status = kj_cmd_parse(cmd, argc, argv, cfgs, &common, &pos);
    if (status >= 0)
        return status;
    int rc = pos.n ? kj_err_set(&err, KJ_USAGE, "takes no words, only options") : KJ_OK;
    unsigned threads = (unsigned)(o.jobs ? o.jobs : common.jobs);
    if (rc == KJ_OK && o.device)
        rc = test(o.device, &o, threads, &err);
    for (size_t i = 0; !o.device && kj_backend_names[i] && rc == KJ_OK; i++)
        rc = test(kj_backend_names[i], &o, threads, &err);
    status = rc ? kj_cmd_fail(cmd, &err) : 0;
    kj_strs_release(&pos);
    kj_opt_release(device_opts, &o);
    return status;
}

const struct kj_cmd kj_cmd_device = {
    .name = "device",
    .synopsis = "[--device NAME] [-j N] [-v]",
    .about = "which compute back ends work here, with a self-test",
    .details = "Every operation of every back end is compared with float64, and every "
               "backward pass with finite differences; then a matrix product and an "
               "optimizer step are timed. Exit status 1 when a check fails.",
    .examples = "kijil device  # a few seconds\n",
    .opts = (const struct kj_opt *const[]){device_opts, NULL},
    .run = run,
};
