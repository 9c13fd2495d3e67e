/* cmd_report.c - kijil report: what a ledger shows, on the terminal or as one
 * HTML page. */
#include "commands/commands.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/output.h"
#include "manifests/ledger.h"
#include "manifests/report.h"

struct report_cfg {
    const char *output, *metrics;
    int format; /* 0 auto, 1 text, 2 html */
};

static const struct kj_opt report_opts[] = {
    {"output", 'o', KJ_OPT_STR, offsetof(struct report_cfg, output), "FILE",
     "write one self-contained HTML page there; a file is replaced", 0, 0, 0},
    {"metrics", 0, KJ_OPT_STR, offsetof(struct report_cfg, metrics), "FILE",
     "metrics.jsonl of a training run, for the loss curve", 0, 0, 0},
    {"format", 0, KJ_OPT_ENUM, offsetof(struct report_cfg, format), "auto|text|html",
     "auto: html with --output, else text", "auto", 0, 0},
    {0},
};

static int columns(void)
{
    struct winsize w;
    if (isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 &&
        w.ws_col >= 60)
        return w.ws_col > 120 ? 120 : w.ws_col;
    return 80;
}

/* The folder of a training run: its files are ahead of its ledger. */
static int newest(struct kj_ledger *l, const char *dir, struct kj_err *err)
{
    static const char *const names[] = {"metrics.jsonl", "samples.jsonl"};
    char path[4096];
    int rc = KJ_OK;
    for (size_t i = 0; i < 2 && rc == KJ_OK; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        if (access(path, F_OK) == 0)
            rc = kj_ledger_metrics_import(l, dir, path, err);
    }
    return rc;
}

static int report(const char *db, const struct report_cfg *cfg, struct kj_err *err)
{
    struct kj_ledger *l = NULL;
    struct kj_buf b;
    bool html = cfg->format == 2 || (cfg->format == 0 && cfg->output);
    kj_buf_init(&b, 64 << 20);
    struct kj_buf inside;
    struct stat st;
    kj_buf_init(&inside, 1 << 16);
    const char *dir = db;
    if (stat(db, &st) == 0 && S_ISDIR(st.st_mode)) { /* the folder of a run */
        kj_buf_printf(&inside, "%s/run.db", db);
        db = kj_buf_z(&inside);
    }
    int rc = kj_ledger_open(&l, db, KJ_LEDGER_READ, err);
    if (rc == KJ_OK && cfg->metrics)
        rc = kj_ledger_metrics_import(l, cfg->metrics, cfg->metrics, err);
    else if (rc == KJ_OK && inside.n)
        rc = newest(l, dir, err);
    if (rc == KJ_OK)
        rc = html ? kj_report_html(l, KJ_VERSION, &b, err)
                  : kj_report_text(l, columns(), &b, err);
    if (rc == KJ_OK && cfg->output && strcmp(cfg->output, "-") != 0) {
        rc = kj_output_file(cfg->output, b.p, b.n, err);
    } else if (rc == KJ_OK && (fwrite(b.p, 1, b.n, stdout) != b.n || fflush(stdout))) {
        rc = kj_err_errno(err, KJ_FAIL, "standard output");
    }
    kj_ledger_close(l, NULL);
    kj_buf_release(&inside);
    kj_buf_release(&b);
    return rc;
}

static int run_report(const struct kj_cmd *cmd, int argc, char **argv)
{
    struct report_cfg cfg = {0};
    struct kj_common common;
    struct kj_strs pos = {0};
    struct kj_err err = KJ_ERR_INIT;
    int status = kj_cmd_parse(cmd, argc, argv, (void *const[]){&cfg}, &common, &pos);
    if (status < 0) {
        int rc = pos.n == 1 ? report(pos.v[0], &cfg, &err)
                            : kj_err_set(&err, KJ_USAGE, "give one ledger, out/run.db");
        status = rc == KJ_OK ? 0 : kj_cmd_fail(cmd, &err);
    }
    kj_strs_release(&pos);
    return status;
}

const struct kj_cmd kj_cmd_report = {
    .name = "report",
    .group = NULL,
    .synopsis = "DB [-o report.html]",
    .about = "show what a ledger holds: on the terminal, or as one page",
    .details =
        "Shows the newest run of the ledger (or of the folder of a run) with the runs "
        "whose output it read, and "
        "if it was one shard of several, all of them: documents and text behind each "
        "stage, drops by rule, languages and sources, and whether the books balance.\n"
        "\n"
        "With -o it writes one HTML file that needs no network and no script: besides "
        "these, the distribution of each rule's values with the cut drawn in and "
        "examples from both sides of it, near-duplicate clusters, the curves of "
        "training runs, what models can do (kijil eval --ledger), and what exactly was "
        "run.",
    .examples = "kijil report out/run.db  # summary on the terminal\n"
                "kijil report out/model -o now.html  # of a training run, as it is "
                "now\n"
                "kijil report out/run.db -o report.html --metrics model/metrics.jsonl  "
                "# page with loss curve",
    .opts = (const struct kj_opt *const[]){report_opts, NULL},
    .run = run_report,
};
