/* cmd_diff.c - kijil diff: which documents another run keeps, and why. */
#include "commands/commands.h"

#include <stdlib.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "base/output.h"
#include "manifests/compare.h"
#include "manifests/ledger.h"

struct diff_cfg {
    int64_t examples;
    const char *changed;
    bool json;
};

#define F(x) offsetof(struct diff_cfg, x)
static const struct kj_opt diff_opts[] = {
    {"examples", 0, KJ_OPT_INT, F(examples), "N", "documents shown, gained and lost",
     "8", 0, 1000},
    {"changed", 0, KJ_OPT_STR, F(changed), "FILE",
     "write every document whose verdict or rule differs there, as JSONL", 0, 0, 0},
    {"json", 0, KJ_OPT_FLAG, F(json), 0,
     "one JSON object with all counts, without the documents", 0, 0, 0},
    {0},
};
#undef F

static int open_ledger(struct kj_ledger **l, const char *path, struct kj_err *err)
{
    struct kj_buf inside;
    struct stat st;
    kj_buf_init(&inside, 1 << 16);
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) { /* the folder of a run */
        kj_buf_printf(&inside, "%s/run.db", path);
        path = kj_buf_z(&inside);
    }
    int rc = kj_ledger_open(l, path, KJ_LEDGER_READ, err);
    kj_buf_release(&inside);
    return rc;
}

static int write_line(void *ctx, const char *line, size_t n, struct kj_err *err)
{
    return kj_output_write(ctx, line, n, err);
}

static int diff(const struct kj_strs *pos, const struct diff_cfg *cfg,
                struct kj_err *err)
{
    struct kj_ledger *l[2] = {NULL, NULL};
    struct kj_compare ask = {.examples = (size_t)cfg->examples};
    struct kj_output *o = NULL;
    struct kj_buf out;
    kj_buf_init(&out, 64 << 20);
    int rc = pos->n == 2
                 ? KJ_OK
                 : kj_err_set(err, KJ_USAGE,
                              "give two ledgers: the run before, and the one now");
    for (size_t i = 0; i < 2 && rc == KJ_OK; i++)
        rc = open_ledger(&l[i], pos->v[i], err);
    if (rc == KJ_OK && cfg->changed) {
        rc = kj_output_open(&o, cfg->changed, err);
        ask.each = write_line;
        ask.ctx = o;
    }
    if (rc == KJ_OK)
        rc = (cfg->json ? kj_compare_json : kj_compare_text)(l[0], l[1], &ask, &out,
                                                             err);
    if (rc == KJ_OK && o)
        rc = kj_output_commit(o, err);
    else if (o)
        kj_output_abort(o);
    if (rc == KJ_OK && (fwrite(out.p, 1, out.n, stdout) != out.n || fflush(stdout)))
        rc = kj_err_errno(err, KJ_FAIL, "standard output");
    for (int i = 0; i < 2; i++)
        kj_ledger_close(l[i], NULL);
    kj_buf_release(&out);
    return rc;
}

static int run_diff(const struct kj_cmd *cmd, int argc, char **argv)
{
    struct diff_cfg cfg = {0};
    struct kj_common common;
    struct kj_strs pos = {0};
    struct kj_err err = KJ_ERR_INIT;
    int status = kj_cmd_parse(cmd, argc, argv, (void *const[]){&cfg}, &common, &pos);
    if (status < 0)
        status = diff(&pos, &cfg, &err) == KJ_OK ? 0 : kj_cmd_fail(cmd, &err);
    kj_strs_release(&pos);
    return status;
}

const struct kj_cmd kj_cmd_diff = {
    .name = "diff",
    .synopsis = "BEFORE NOW",
    .about = "which documents another run keeps or drops, and by which rules",
    .details =
        "Compares two runs by their ledgers, document by document: another recipe, "
        "another threshold, another version. It shows what both keep, what is gained "
        "and lost, in documents, text and tokens, by the rule that drops them in one "
        "of "
        "the two, by language and by source; documents that both drop, by another "
        "rule; the options and cuts that differ; and examples.\n\n"
        "BEFORE and NOW are ledgers or folders of runs. Of a ledger with several runs "
        "it takes the newest with the runs whose output it read, as report does. "
        "Documents are the same by their id, so both runs are to be over the same "
        "archives or documents; how many only one of them read is told.",
    .examples =
        "kijil diff out-gopher/ out-fineweb/  # two recipes on the same archives\n"
        "kijil diff a.db b.db --changed changed.jsonl  # every document concerned\n"
        "kijil diff a.db b.db --json | jq '.rules[] | select(.change == "
        "\"lost\")'\n",
    .opts = (const struct kj_opt *const[]){diff_opts, NULL},
    .run = run_diff,
};
