/* common.c - what the commands share: options, errors, signals, progress, the
 * closing summary, and opening inputs so that they can be read twice. */
#define _GNU_SOURCE /* sched_getaffinity */
#include "commands/commands.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "extract/archive.h"
#include "manifests/ledger.h"

#include <math.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define F(x) offsetof(struct kj_common, x)
/* Rows, so that each table below holds what has an effect in its commands. */
#define OUTPUT(arg, help)                                                              \
    {                                                                                  \
        "output", 'o', KJ_OPT_STR, F(output), arg, help, 0, 0, 0                       \
    }
#define OUTPUT_FILE                                                                    \
    OUTPUT("FILE",                                                                     \
           "where the result goes; .zst and .gz compress; a file there is replaced")
#define JOBS                                                                           \
    {                                                                                  \
        "jobs", 'j', KJ_OPT_INT, F(jobs), "N",                                         \
            "threads; 0: as many as processors are allowed", "0", 0, 1024              \
    }
#define LEDGER(help)                                                                   \
    {                                                                                  \
        "ledger", 0, KJ_OPT_STR, F(ledger), "FILE", help, 0, 0, 0                      \
    }
#define SIGNALS                                                                        \
    {                                                                                  \
        "signals", 0, KJ_OPT_STR, F(signals), "all|sample=P|none",                     \
            "of which documents the ledger keeps the measured values: of a share P "   \
            "(0.01, 1%), chosen by their ids",                                         \
            "all", 0, 0                                                                \
    }
#define REJECTS                                                                        \
    {                                                                                  \
        "rejects", 0, KJ_OPT_STR, F(rejects), "FILE",                                  \
            "keep dropped and damaged documents here, with the reason", 0, 0, 0        \
    }
#define SHARD                                                                          \
    {                                                                                  \
        "shard", 0, KJ_OPT_STR, F(shard), "I/N",                                       \
            "only documents of shard I of N (by id, so N never changes the result)",   \
            0, 0, 0                                                                    \
    }
#define MEMORY                                                                         \
    {                                                                                  \
        "memory", 0, KJ_OPT_SIZE, F(memory), "SIZE",                                   \
            "memory that corpus-wide steps may use", "4G", 1 << 20, 0x1p60             \
    }
#define SEED                                                                           \
    {                                                                                  \
        "seed", 0, KJ_OPT_INT, F(seed), "N", "seed of everything random", "1", 0,      \
            0x1p53                                                                     \
    }
#define LIMIT                                                                          \
    {                                                                                  \
        "limit", 0, KJ_OPT_INT, F(limit), "N", "stop after N documents; 0: all", "0",  \
            0, 0x1p53                                                                  \
    }
#define DRY_RUN(help)                                                                  \
    {                                                                                  \
        "dry_run", 0, KJ_OPT_FLAG, F(dry_run), 0, help, 0, 0, 0                        \
    }
#define RESUME(help)                                                                   \
    {                                                                                  \
        "resume", 0, KJ_OPT_FLAG, F(resume), 0, help, 0, 0, 0                          \
    }
#define RESUME_FILE                                                                    \
    RESUME("do nothing where the output is there already (it is complete if it "       \
           "exists)")
#define FORCE                                                                          \
    {                                                                                  \
        "force", 0, KJ_OPT_FLAG, F(force), 0,                                          \
            "start over where a folder of output is there already; or, with "          \
            "--resume, a file",                                                        \
            0, 0, 0                                                                    \
    }
#define PROGRESS                                                                       \
    {                                                                                  \
        "progress", 0, KJ_OPT_ENUM, F(progress), "auto|plain|json|never",              \
            "progress on stderr; auto: on a terminal only", "auto", 0, 0               \
    }
#define QUIET                                                                          \
    {                                                                                  \
        "quiet", 'q', KJ_OPT_FLAG, F(quiet), 0, "no summary at the end", 0, 0, 0       \
    }
#define VERBOSE                                                                        \
    {                                                                                  \
        "verbose", 'v', KJ_OPT_FLAG, F(verbose), 0,                                    \
            "every rule in the summary, not only the ten that drop most", 0, 0, 0      \
    }
#define CONFIG_ONLY "print the resolved configuration and stop"
#define ESTIMATE                                                                       \
    "print the resolved configuration, and what the job will take by a trial on its "  \
    "first documents, and stop"

const struct kj_opt kj_common_opts[] = {
    OUTPUT_FILE,
    JOBS,
    LEDGER("append counts, decisions and signals to this SQLite file"),
    SIGNALS,
    REJECTS,
    SHARD,
    MEMORY,
    SEED,
    LIMIT,
    DRY_RUN(ESTIMATE),
    RESUME_FILE,
    FORCE,
    PROGRESS,
    QUIET,
    VERBOSE,
    {0},
};

const struct kj_opt kj_run_common_opts[] = {
    OUTPUT("DIR", "the folder of the run"),
    JOBS,
    LEDGER("the ledger, instead of DIR/run.db"),
    SIGNALS,
    SHARD,
    MEMORY,
    SEED,
    LIMIT,
    DRY_RUN(ESTIMATE),
    RESUME("go on where the run was stopped; so it does without the word"),
    FORCE,
    PROGRESS,
    QUIET,
    {0},
};

const struct kj_opt kj_pack_common_opts[] = {
    OUTPUT_FILE, SHARD, LIMIT, DRY_RUN("count the files and stop"),
    RESUME_FILE, FORCE, QUIET, {0},
};

const struct kj_opt kj_model_common_opts[] = {
    OUTPUT("FILE",
           "where the model, the table of test, or (a folder) refine's rounds go"),
    LEDGER("refine: record the rounds here; `kijil report` shows them"),
    MEMORY,
    DRY_RUN(CONFIG_ONLY),
    PROGRESS,
    QUIET,
    {0},
};

const struct kj_opt kj_cat_common_opts[] = {OUTPUT_FILE, JOBS, SHARD, LIMIT, {0}};
#undef F

static bool is_common(const struct kj_opt *opts)
{
    return opts == kj_common_opts || opts == kj_run_common_opts ||
           opts == kj_pack_common_opts || opts == kj_model_common_opts ||
           opts == kj_cat_common_opts;
}

atomic_bool kj_interrupted;

static void on_signal(int sig)
{
    if (atomic_exchange(&kj_interrupted, true)) {
        signal(sig, SIG_DFL);
        raise(sig);
    }
}

void kj_cmd_signals(void)
{
    struct sigaction sa = {.sa_handler = on_signal};
    sigemptyset(&sa.sa_mask);
    sigaction(SIGINT, &sa, NULL);
    sigaction(SIGTERM, &sa, NULL);
}

static int usage(const struct kj_cmd *cmd, const struct kj_err *err)
{
    char text[1024];
    fprintf(stderr, "kijil %s: %s\nusage: kijil %s %s\n", cmd->name,
            kj_err_text(err, text, sizeof text), cmd->name,
            cmd->synopsis ? cmd->synopsis : "");
    return 2;
}

int kj_cmd_refuse(const struct kj_cmd *cmd, const char *verb,
                  const struct kj_refusal *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!list[i].given)
            continue;
        fprintf(stderr, "kijil %s: %s has no use for --%s\n", cmd->name, verb,
                list[i].option);
        return 2;
    }
    return -1;
}

int kj_cmd_fail(const struct kj_cmd *cmd, const struct kj_err *err)
{
    char text[1024];
    fflush(stdout);
    fprintf(stderr, "kijil %s: %s\n", cmd->name, kj_err_text(err, text, sizeof text));
    return err->rc == KJ_USAGE ? 2 : 1;
}

/* "i/n" with 0 <= i < n. */
static int parse_shard(struct kj_common *c, struct kj_err *err)
{
    c->shard_i = 0;
    c->shard_n = 1;
    if (!c->shard)
        return KJ_OK;
    char tail;
    if (sscanf(c->shard, "%u/%u%c", &c->shard_i, &c->shard_n, &tail) != 2 ||
        c->shard_i >= c->shard_n || c->shard[0] == '-')
        return kj_err_set(err, KJ_USAGE,
                          "--shard takes I/N with I from 0 to N-1 (like 0/4), not '%s'",
                          c->shard);
    return KJ_OK;
}

static int parse_signals(struct kj_common *c, struct kj_err *err)
{
    const char *s = c->signals ? c->signals : "all";
    char *end = NULL;
    c->signals_kind = strcmp(s, "all") == 0    ? KJ_SIGNALS_ALL
                      : strcmp(s, "none") == 0 ? KJ_SIGNALS_NONE
                                               : KJ_SIGNALS_SAMPLE;
    c->signal_share = 1;
    if (c->signals_kind != KJ_SIGNALS_SAMPLE)
        return KJ_OK;
    if (strncmp(s, "sample=", 7) == 0 && s[7])
        c->signal_share = strtod(s + 7, &end);
    if (end && *end == '%') {
        c->signal_share /= 100;
        end++;
    }
    if (!end || *end || !(c->signal_share > 0 && c->signal_share <= 1))
        return kj_err_set(err, KJ_USAGE,
                          "--signals takes all, none or sample=P with P above 0 and up "
                          "to 1 (like sample=0.01, sample=1%%), not '%s'",
                          s);
    return KJ_OK;
}

static int64_t allowed_cpus(void)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);
#ifdef CPU_COUNT
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        n = CPU_COUNT(&set);
#endif
    return n > 0 ? n : 1;
}

int kj_cmd_help(const struct kj_cmd *cmd, FILE *to)
{
    struct kj_buf b;
    kj_buf_init(&b, 1 << 20);
    kj_opt_help(cmd, &b);
    fwrite(b.p, 1, b.n, to);
    kj_buf_release(&b);
    return 0;
}

int kj_cmd_parse(const struct kj_cmd *cmd, int argc, char **argv, void *const *cfgs,
                 struct kj_common *common, struct kj_strs *pos)
{
    struct kj_err err = KJ_ERR_INIT;
    struct kj_optset sets[8] = {{0}};
    bool help = false;
    int rc = KJ_OK;
    memset(common, 0, sizeof *common);
    rc = kj_opt_defaults(kj_common_opts, common, &err);
    size_t at =
        (size_t)snprintf(common->command_line, sizeof common->command_line, "kijil");
    for (int i = 0; i < argc && at < sizeof common->command_line; i++)
        at += (size_t)snprintf(common->command_line + at,
                               sizeof common->command_line - at, " %s", argv[i]);
    for (size_t i = 0; cmd->opts && cmd->opts[i] && i + 1 < 8 && rc == KJ_OK; i++) {
        sets[i] = (struct kj_optset){
            cmd->opts[i], is_common(cmd->opts[i]) ? (void *)common : cfgs[i]};
        rc = kj_opt_defaults(sets[i].opts, sets[i].cfg, &err);
    }
    if (rc == KJ_OK)
        rc = kj_opt_parse(sets, argc, argv, pos, &help, &err);
    if (rc == KJ_OK && !help)
        rc = parse_shard(common, &err);
    if (rc == KJ_OK && !help)
        rc = parse_signals(common, &err);
    if (help || rc) { /* the command ends here: nothing of its options is used */
        for (size_t i = 0; sets[i].opts; i++)
            kj_opt_release(sets[i].opts, sets[i].cfg);
        kj_strs_release(pos);
        return help ? kj_cmd_help(cmd, stdout) : usage(cmd, &err);
    }
    if (!common->jobs)
        common->jobs = allowed_cpus();
    return -1;
}

/* ---- progress: one line on stderr that is rewritten, or lines ---- */

bool kj_progress_wanted(const struct kj_common *c)
{
    return c->progress == 1 || c->progress == 2 ||
           (c->progress == 0 && !c->quiet && isatty(STDERR_FILENO));
}

static void progress_line(struct kj_progress *p, const struct kj_flow *f, double t,
                          bool end)
{
    bool tty = p->common->progress == 0;
    double share = f->source.progress ? f->source.progress(f->source.self) : NAN;
    double mb = (double)f->bytes_in / 1e6, rate = mb / (t - p->start + 1e-9);
    if (end && !atomic_load(&kj_interrupted))
        share = 1;
    if (p->common->progress == 2) {
        fprintf(stderr,
                "{\"command\":\"%s\",\"share\":%.4f,\"documents\":%llu,\"kept\":%llu,"
                "\"mb\":%.1f,\"mb_per_s\":%.2f}\n",
                p->name, isnan(share) ? 0 : share, (unsigned long long)f->docs_in,
                (unsigned long long)f->docs_kept, mb, rate);
        return;
    }
    fprintf(stderr, "%skijil %s: ", tty ? "\r" : "", p->name);
    if (!isnan(share) && share > 0)
        fprintf(stderr, "%3.0f %% ", 100 * share);
    fprintf(stderr, "%llu documents, %llu kept, %.1f MB/s%s",
            (unsigned long long)f->docs_in, (unsigned long long)f->docs_kept, rate,
            tty ? "\033[K" : "\n");
    fflush(stderr);
    p->shown = tty;
}

static int progress_batch(void *self, const struct kj_flow *f, const struct kj_batch *b,
                          struct kj_err *err)
{
    struct kj_progress *p = self;
    (void)b;
    (void)err;
    double t = kj_now();
    if (t - p->last < (p->common->progress == 0 ? 0.2 : 2.0))
        return KJ_OK;
    p->last = t;
    progress_line(p, f, t, false);
    return KJ_OK;
}

/* On a terminal the line gives way to the summary; a log gets a last one. */
static int progress_end(void *self, const struct kj_flow *f, struct kj_err *err)
{
    struct kj_progress *p = self;
    (void)err;
    if (p->shown)
        fprintf(stderr, "\r\033[K");
    else if (p->common->progress != 0)
        progress_line(p, f, kj_now(), true);
    return KJ_OK;
}

struct kj_watch kj_progress_watch(struct kj_progress *p, const char *name,
                                  const struct kj_common *c)
{
    *p = (struct kj_progress){.name = name, .common = c};
    p->start = p->last = kj_now();
    return (struct kj_watch){p, NULL, progress_batch, progress_end};
}

/* ---- the closing lines ---- */

struct line {
    const char *rule;
    uint64_t docs;
    bool damaged;
};

static int by_docs(const void *a, const void *b)
{
    const struct line *x = a, *y = b;
    if (x->docs != y->docs)
        return x->docs < y->docs ? 1 : -1;
    return strcmp(x->rule, y->rule);
}

static void summary_rules(const struct kj_common *c, const struct kj_flow *f)
{
    size_t n = f->n_source_tallies, k = 0;
    for (size_t i = 0; i < f->n_steps; i++)
        n += f->steps[i].n_tallies;
    struct line *l = kj_xcalloc(n, sizeof *l);
    for (size_t i = 0; i < f->n_source_tallies; i++)
        l[k++] = (struct line){f->source_tallies[i].rule, f->source_tallies[i].docs,
                               f->source_tallies[i].damaged};
    for (size_t i = 0; i < f->n_steps; i++)
        for (size_t t = 0; t < f->steps[i].n_tallies; t++)
            l[k++] =
                (struct line){f->steps[i].tallies[t].rule, f->steps[i].tallies[t].docs,
                              f->steps[i].tallies[t].damaged};
    qsort(l, n, sizeof *l, by_docs);
    for (size_t i = 0; i < n && (c->verbose || i < 10); i++)
        fprintf(stderr, "  %-34s %10llu%s\n", l[i].rule, (unsigned long long)l[i].docs,
                l[i].damaged ? "  damaged" : "");
    if (!c->verbose && n > 10)
        fprintf(stderr, "  ... and %zu more rules (-v shows all)\n", n - 10);
    free(l);
}

void kj_cmd_usage_line(double wall, double cpu)
{
    struct rusage ru;
    getrusage(RUSAGE_SELF, &ru);
    fprintf(stderr, "%.2f s wall, %.2f s CPU, %.0f MB peak memory\n", wall, cpu,
            (double)ru.ru_maxrss / 1024);
}

void kj_cmd_summary(const struct kj_cmd *cmd, const struct kj_common *c,
                    const struct kj_flow *f, const struct kj_faults *faults)
{
    if (c->quiet)
        return;
    double s = f->wall > 0 ? f->wall : 1e-9;
    fprintf(stderr, "kijil " KJ_VERSION " %s: %s%llu documents in, %llu kept",
            cmd->name, atomic_load(&kj_interrupted) ? "interrupted; " : "",
            (unsigned long long)f->docs_in, (unsigned long long)f->docs_kept);
    if (f->docs_in)
        fprintf(stderr, " (%.1f %%)\n",
                100.0 * (double)f->docs_kept / (double)f->docs_in);
    else
        fprintf(stderr, ": the input was empty\n");
    summary_rules(c, f);
    fprintf(stderr, "%.1f MB in at %.1f MB/s, %.0f documents/s; ",
            (double)f->bytes_in / 1e6, (double)f->bytes_in / 1e6 / s,
            (double)f->docs_in / s);
    kj_cmd_usage_line(f->wall, f->cpu);
    kj_faults_print(faults, c, f->damaged);
}

int kj_cmd_status(const struct kj_flow *f)
{
    if (atomic_load(&kj_interrupted))
        return 130;
    return f->damaged ? 3 : 0;
}

/* ---- archives ---- */

static void print_share(const char *what, uint64_t bytes, uint64_t lost,
                        uint64_t faults)
{
    if (lost > bytes)
        lost = bytes;
    double share = bytes ? 100 * (double)(bytes - lost) / (double)bytes : 100;
    /* 100.00 % only when nothing was lost */
    share = lost && share > 99.99 ? 99.99 : share;
    fprintf(stderr, "  %s: %llu fault%s, %.2f %% of %llu bytes recovered\n", what,
            (unsigned long long)faults, faults == 1 ? "" : "s", share,
            (unsigned long long)bytes);
}

void kj_cmd_print_damage(const struct kj_archive_counts *c)
{
    size_t n = sizeof c->hurt / sizeof *c->hurt;
    if (!c->n_hurt)
        return;
    fprintf(stderr, "damage in %zu file%s:\n", c->n_hurt, c->n_hurt == 1 ? "" : "s");
    for (size_t i = 0; i < n && i < c->n_hurt; i++)
        print_share(c->hurt[i].file, c->hurt[i].bytes, c->hurt[i].lost,
                    c->hurt[i].faults);
    if (c->n_hurt > n)
        fprintf(stderr, "  and %zu more; --rejects or --ledger has every place\n",
                c->n_hurt - n);
    print_share("all input", c->bytes, c->lost, c->faults);
}
