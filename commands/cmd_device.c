/* cmd_device.c - kijil device: which compute back ends work here. */
#include "commands/commands.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "commands/model.h"
#include "nn/selftest.h"
#include "nn/speed.h"

/* The ceilings want the best, single operations the median. */
#define PEAK_TIMES 6

struct options {
    int64_t jobs, size, from;
    double seconds;
    const char *device, *ops;
    bool verbose, json, brief, f8;
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
    {"ops", 0, KJ_OPT_STR, F(ops), "SHAPE",
     "instead of the self-test, time each operation of a model's step at its shapes: "
     "nano, qwen, 8b, bert, tiny",
     0, 0, 0},
    {"f8", 0, KJ_OPT_FLAG, F(f8), 0, "with --ops: the linear maps of blocks in FP8", 0,
     0, 0},
    {"seconds", 0, KJ_OPT_REAL, F(seconds), "S",
     "time for each product and operation; the products get six times that", "0.15",
     1e-4, 60},
    {"from", 0, KJ_OPT_INT, F(from), "N",
     "begin the self-test with that group of checks: to see those behind one that lost "
     "the GPU",
     "0", 0, 10000},
    {"brief", 0, KJ_OPT_FLAG, F(brief), 0, "only whether they are here", 0, 0, 0},
    {"json", 0, KJ_OPT_FLAG, F(json), 0, "with --ops: JSON, an operation a line", 0, 0,
     0},
    {"verbose", 'v', KJ_OPT_FLAG, F(verbose), 0, "every check, not only each operation",
     0, 0, 0},
    {0},
};
#undef F

/* Checks of one operation; in float32 and in bfloat16. */
struct op_row {
    char op[32];
    unsigned checks, failed;
    double worst[2]; /* share of its limit */
};

struct table {
    bool verbose;
    struct op_row rows[64];
    size_t n;
};

static struct op_row *row_of(struct table *t, const char *op)
{
    size_t i = 0;
    while (i < t->n && strcmp(t->rows[i].op, op) != 0)
        i++;
    if (i == t->n && t->n < sizeof t->rows / sizeof *t->rows)
        snprintf(t->rows[t->n++].op, sizeof t->rows->op, "%s", op);
    return i < t->n ? &t->rows[i] : &t->rows[t->n - 1];
}

static void report(void *ctx, const struct kj_selftest *s)
{
    struct table *t = ctx;
    struct op_row *r = row_of(t, s->op);
    double share = s->limit > 0 ? s->worst / s->limit : s->worst > 0 ? 1e9 : 0;
    double *worst = &r->worst[strstr(s->what, ", bf16") != NULL];
    r->checks++;
    r->failed += !s->ok;
    *worst = share > *worst ? share : *worst;
    if (t->verbose || !s->ok)
        printf("  %-14s %-34s %.2e of %.0e  %s\n", s->op, s->what, s->worst, s->limit,
               s->ok ? "good" : "FAILED");
}

static void print_table(const struct table *t)
{
    printf("  %-14s %6s  %-6s  %s\n", "operation", "checks", "",
           "at worst, of what is allowed: float32, bfloat16");
    for (size_t i = 0; i < t->n; i++) {
        const struct op_row *r = &t->rows[i];
        printf("  %-14s %6u  %-6s %5.0f %%", r->op, r->checks,
               r->failed ? "FAILED" : "good", 100 * r->worst[0]);
        if (r->worst[1] > 0)
            printf(" %5.0f %%", 100 * r->worst[1]);
        printf("\n");
    }
}

/* Products that fill a GPU take a second of a processor. */
static unsigned product_size(const struct kj_backend *b)
{
    return strcmp(b->ops->name, "cpu") == 0 ? 1024 : 8192;
}

static void print_peaks(unsigned size, const struct kj_speed_peaks *p)
{
    printf("  matrix product %u^3: %.0f GFLOP/s, of bfloat16 %.0f", size, p->gflops,
           p->gflops_bf16);
    if (p->gflops_f8 > 0)
        printf(", of FP8 %.0f", p->gflops_f8);
    printf("   copy: %.1f GB/s   optimizer step: %.1f GB/s\n", p->copy, p->adamw);
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
    struct kj_speed_peaks speed;
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
    if (o->brief) {
        kj_backend_close(b);
        return KJ_OK;
    }
    clock_gettime(CLOCK_MONOTONIC, &t0);
    rc = kj_selftest_run(b, 1, (unsigned)o->from, report, &t, &failed, err);
    print_table(&t);
    clock_gettime(CLOCK_MONOTONIC, &t1);
    unsigned size = o->size ? (unsigned)o->size : product_size(b);
    if (rc == KJ_OK)
        rc = kj_speed_peaks(b, size, PEAK_TIMES * o->seconds, &speed, err);
    if (rc == KJ_OK) {
        printf("  each operation against float64 and finite differences, %.1f s\n",
               (double)(t1.tv_sec - t0.tv_sec) +
                   1e-9 * (double)(t1.tv_nsec - t0.tv_nsec));
        print_peaks(size, &speed);
    }
    if (*b->note)
        printf("  %s\n", b->note);
    kj_backend_close(b);
    if (rc == KJ_OK && failed)
        rc = kj_err_set(err, KJ_FAIL, "%u checks of back end %s failed", failed, name);
    return rc;
}

/* ---- operations of a model ---- */

struct timed {
    bool json;
    size_t n;
    double seconds; /* of a whole step */
};

static void timed_row(void *ctx, const struct kj_speed_row *r)
{
    struct timed *t = ctx;
    double tflops = r->flops / r->seconds * 1e-12,
           gbytes = r->bytes / r->seconds * 1e-9;
    t->seconds += r->count * r->seconds;
    if (t->json) {
        printf(
            "%s{\"op\": \"%s\", \"what\": \"%s\", \"size\": \"%s\", \"count\": %.4g, "
            "\"ms\": %.6g, \"tflops\": %.6g, \"gbytes\": %.6g, \"share\": %.4g}",
            t->n++ ? ",\n" : "\n", r->op, r->what, r->size, r->count, 1e3 * r->seconds,
            tflops, gbytes, r->share);
        return;
    }
    if (t->n++ == 0)
        printf("  %-29s %-19s %7s %10s %8s %8s %7s\n", "operation", "size", "times",
               "ms", "TFLOP/s", "GB/s", "share");
    char name[64], rate[24] = "";
    snprintf(name, sizeof name, "%s%s%s", r->op, *r->what ? ", " : "", r->what);
    if (r->flops > 0)
        snprintf(rate, sizeof rate, "%.4g", tflops);
    printf("  %-29s %-19s %7.4g %10.4f %8s %8.4g %5.0f %%\n", name, r->size, r->count,
           1e3 * r->seconds, rate, gbytes, 100 * r->share);
}

static const struct kj_speed_shape *shape_of(const char *name, struct kj_err *err)
{
    const struct kj_speed_shape *s = kj_speed_shapes;
    char all[128] = "";
    for (; s->name && strcmp(s->name, name) != 0; s++)
        snprintf(all + strlen(all), sizeof all - strlen(all), " %s", s->name);
    if (s->name)
        return s;
    kj_err_set(err, KJ_USAGE, "--ops %s: there are%s", name, all);
    return NULL;
}

static int operations(const struct options *o, unsigned threads, struct kj_err *err)
{
    const struct kj_speed_shape *s = shape_of(o->ops, err);
    struct timed t = {.json = o->json};
    struct kj_speed_peaks p;
    struct kj_backend *b;
    char what[256];
    int rc = s ? kj_backend_open(&b, o->device ? o->device : "auto", threads, err)
               : KJ_USAGE;
    if (rc)
        return rc;
    b->ops->describe(b, what, sizeof what);
    unsigned size = o->size ? (unsigned)o->size : product_size(b);
    rc = kj_speed_peaks(b, size, PEAK_TIMES * o->seconds, &p, err);
    if (rc == KJ_OK && o->json)
        printf("{\"device\": \"%s\", \"shape\": \"%s%s\", \"product\": %u, "
               "\"gflops\": %.6g, \"gflops_bf16\": %.6g, \"gflops_f8\": %.6g, "
               "\"copy_gbytes\": %.6g, \"adamw_gbytes\": %.6g, \"ops\": [",
               b->ops->name, s->name, o->f8 ? " fp8" : "", size, p.gflops,
               p.gflops_bf16, p.gflops_f8, p.copy, p.adamw);
    else if (rc == KJ_OK) {
        printf("%s: %s\n", b->ops->name, what);
        print_peaks(size, &p);
        printf("%s: %s%s; share: of what the product or the copy would allow\n",
               s->name, s->about, o->f8 ? ", linear maps in FP8" : "");
    }
    if (rc == KJ_OK)
        rc = kj_speed_ops(b, s, o->f8, &p, o->seconds, timed_row, &t, err);
    if (rc == KJ_OK && o->json)
        printf("\n],\n\"ms\": %.6g, \"tokens_per_s\": %.6g}\n", 1e3 * t.seconds,
               (double)s->tokens / t.seconds);
    else if (rc == KJ_OK)
        printf("  all of them: %.2f ms for %zu tokens, %.0f tokens/s\n",
               1e3 * t.seconds, s->tokens, (double)s->tokens / t.seconds);
    kj_backend_close(b);
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
    if (rc == KJ_OK && (o.json || o.f8) && !o.ops)
        rc = kj_err_set(&err, KJ_USAGE, "--json and --f8 go with --ops");
    if (rc == KJ_OK && o.ops)
        rc = operations(&o, threads, &err);
    else if (rc == KJ_OK && o.device)
        rc = test(o.device, &o, threads, &err);
    for (size_t i = 0; !o.ops && !o.device && kj_backend_names[i] && rc == KJ_OK; i++)
        rc = test(kj_backend_names[i], &o, threads, &err);
    status = rc ? kj_cmd_fail(cmd, &err) : 0;
    kj_strs_release(&pos);
    kj_opt_release(device_opts, &o);
    return status;
}

const struct kj_cmd kj_cmd_device = {
    .name = "device",
    .synopsis = "[--device NAME] [--ops SHAPE] [-j N] [-v]",
    .about = "which compute back ends work here, with a self-test",
    .details = "Every operation of every back end is compared with float64, and every "
               "backward pass with finite differences; then a matrix product and an "
               "optimizer step are timed. Exit status 1 when a check fails.\n\n"
               "With --ops each operation of a training step (of an encoder: of a "
               "window of documents) is timed by itself, and told as a share of the "
               "best that the measured product and copy would allow.",
    .examples = "kijil device  # a few seconds\n"
                "kijil device --device cuda --ops nano  # where a step's time goes\n",
    .opts = (const struct kj_opt *const[]){device_opts, NULL},
    .run = run,
};
