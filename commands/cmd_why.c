/* cmd_why.c - kijil why: why a document is in the corpus, or out. */
#include "commands/commands.h"

#include <stdlib.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "manifests/ledger.h"
#include "manifests/why.h"

struct why_cfg {
    int64_t most;
    bool json;
};

#define F(x) offsetof(struct why_cfg, x)
static const struct kj_opt why_opts[] = {
    {"most", 0, KJ_OPT_INT, F(most), "N",
     "documents told of for a word, where several match", "10", 1, 1000000},
    {"json", 0, KJ_OPT_FLAG, F(json), 0, "one JSON object a line", 0, 0, 0},
    {0},
};
#undef F

static int why(const struct kj_strs *pos, const struct why_cfg *cfg, struct kj_err *err)
{
    struct kj_ledger *l = NULL;
    struct kj_buf b, inside;
    struct stat st;
    if (pos->n < 2)
        return kj_err_set(err, KJ_USAGE, "give a ledger, and ids or URLs");
    const char *db = pos->v[0];
    kj_buf_init(&b, (size_t)1 << 30);
    kj_buf_init(&inside, 1 << 16);
    if (stat(db, &st) == 0 && S_ISDIR(st.st_mode)) { /* the folder of a run */
        kj_buf_printf(&inside, "%s/run.db", db);
        db = kj_buf_z(&inside);
    }
    int rc = kj_ledger_open(&l, db, KJ_LEDGER_READ, err);
    for (size_t i = 1; i < pos->n && rc == KJ_OK; i++) {
        size_t found;
        bool more;
        rc = kj_why(l, pos->v[i], (size_t)cfg->most, cfg->json, &b, &found, &more, err);
        if (b.n && fwrite(b.p, 1, b.n, stdout) != b.n && rc == KJ_OK)
            rc = kj_err_errno(err, KJ_FAIL, "standard output");
        kj_buf_reset(&b);
        if (rc == KJ_OK && more)
            fprintf(stderr,
                    "kijil why: more documents match '%s': --most N shows them\n",
                    pos->v[i]);
        if (rc == KJ_OK && !found)
            rc = kj_err_set(err, KJ_FAIL,
                            "no document of this ledger has the id or URL '%s'",
                            pos->v[i]);
    }
    if (fflush(stdout) && rc == KJ_OK)
        rc = kj_err_errno(err, KJ_FAIL, "standard output");
    kj_ledger_close(l, NULL);
    kj_buf_release(&inside);
    kj_buf_release(&b);
    return rc;
}

static int run_why(const struct kj_cmd *cmd, int argc, char **argv)
{
    struct why_cfg cfg = {0};
    struct kj_common common;
    struct kj_strs pos = {0};
    struct kj_err err = KJ_ERR_INIT;
    int status = kj_cmd_parse(cmd, argc, argv, (void *const[]){&cfg}, &common, &pos);
    if (status < 0)
        status = why(&pos, &cfg, &err) == KJ_OK ? 0 : kj_cmd_fail(cmd, &err);
    kj_strs_release(&pos);
    return status;
}

const struct kj_cmd kj_cmd_why = {
    .name = "why",
    .synopsis = "DB ID|URL...",
    .about = "why a document is in the corpus, or out",
    .details =
        "Tells of each document what every stage decided, by which rule; all values "
        "that "
        "were measured on it beside the cuts that applied to it, so that rules which "
        "it "
        "would fail next are seen too; and where it is a duplicate, which document "
        "stands for it.\n\n"
        "DB is a ledger or the folder of a run. A document is named by its id "
        "(urn:uuid: may be left out) or its URL; a URL that is none in full finds "
        "those that begin with it. Exit status 1 when a word finds none.",
    .examples = "kijil why out/ 0f3c8a52-1d2b-8c4e-9f10-2b6d6a1c7e55\n"
                "kijil why run.db https://example.org/ --most 3  # of a site\n"
                "kijil why run.db doc-003 --json | jq '.values[] | "
                "select(.fails)'\n",
    .opts = (const struct kj_opt *const[]){why_opts, NULL},
    .run = run_why,
};
