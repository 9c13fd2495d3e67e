/* ledger_metrics.c - a training curve into the ledger. */
#include "manifests/ledger_internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"

/* Tokens of each source: members of "seen". */
static int put_seen(struct kj_ledger *l, const char *series, int64_t step,
                    const struct kj_jval *seen, struct kj_err *err)
{
    int rc = KJ_OK;
    for (size_t i = 0; seen && seen->kind == KJ_J_OBJECT && i < seen->n; i++) {
        char *name = kj_xstrndup(seen->keys[i].p, seen->keys[i].n);
        rc = kj_db_do(l, err, "INSERT OR REPLACE INTO metric_sources VALUES (?,?,?,?)",
                      "sisi", series, step, name, kj_jint(&seen->items[i], 0));
        free(name);
        if (rc)
            break;
    }
    return rc;
}

static int put_line(struct kj_ledger *l, const char *series, const char *p, size_t n,
                    struct kj_err *err)
{
    const struct kj_jval *v;
    int rc = kj_json_parse(l->json, p, n, &v, err);
    if (rc)
        return rc;
    if (!kj_jget(v, "step") || !kj_jget(v, "loss"))
        return KJ_OK; /* an evaluation or an event, not a step */
    struct kj_str stage = kj_jstr(kj_jget(v, "stage"));
    char *name = stage.p ? kj_xstrndup(stage.p, stage.n) : NULL;
    const struct kj_jval *epoch = kj_jget(v, "epoch");
    int64_t step = kj_jint(kj_jget(v, "step"), 0);
    rc = kj_db_do(
        l, err,
        "INSERT OR REPLACE INTO metrics (series, step, loss, lr, tokens, tokens_per_s,"
        " grad_norm, kl, epoch, stage, skipped, seconds) VALUES"
        " (?,?,?,?,?,?,?,?,?,?,?,?)",
        "siddudddd"
        "sid",
        series, step, kj_jnum(kj_jget(v, "loss"), NAN), kj_jnum(kj_jget(v, "lr"), NAN),
        (uint64_t)kj_jint(kj_jget(v, "tokens"), 0),
        kj_jnum(kj_jget(v, "tokens_per_s"), NAN), kj_jnum(kj_jget(v, "grad_norm"), NAN),
        kj_jnum(kj_jget(v, "kl"), NAN), kj_jnum(epoch, NAN), name,
        (int64_t)kj_jbool(kj_jget(v, "skipped"), false),
        kj_jnum(kj_jget(v, "seconds"), NAN));
    free(name);
    return rc ? rc : put_seen(l, series, step, kj_jget(v, "seen"), err);
}

int kj_ledger_metrics_import(struct kj_ledger *l, const char *series, const char *path,
                             struct kj_err *err)
{
    char *line = NULL;
    size_t size = 0;
    ssize_t n;
    int64_t number = 0;
    FILE *f = fopen(path, "r");
    if (!f) {
        int rc = kj_err_errno(err, KJ_FAIL, "cannot open");
        kj_err_where(err, path, -1);
        return rc;
    }
    int rc = KJ_OK;
    int64_t old = 0; /* what stands for the table of an older file */
    rc = kj_db_int(l, &old, err,
                   "SELECT count(*) FROM sqlite_temp_master WHERE type = 'view' AND"
                   " name = 'metrics'",
                   "");
    if (rc == KJ_OK && old)
        rc = kj_db_exec(l, "DROP VIEW temp.metrics", err);
    if (rc == KJ_OK &&
        !l->write) /* hides the tables of the file from this connection */
        rc = kj_db_exec(
            l,
            "CREATE TEMP TABLE IF NOT EXISTS metrics (series TEXT, step INTEGER, loss"
            " REAL, lr REAL, tokens INTEGER, tokens_per_s REAL, grad_norm REAL, kl "
            "REAL,"
            " epoch INTEGER, stage TEXT, skipped INTEGER, seconds REAL, PRIMARY KEY"
            " (series, step));"
            "CREATE TEMP TABLE IF NOT EXISTS metric_sources (series TEXT, step "
            "INTEGER, source TEXT,"
            " tokens INTEGER, PRIMARY KEY (series, source, step))",
            err);
    if (rc == KJ_OK)
        rc = kj_db_begin(l, err);
    while (rc == KJ_OK && (n = getline(&line, &size, f)) > 0) {
        bool whole = line[n - 1] == '\n';
        number++;
        struct kj_err bad = KJ_ERR_INIT;
        rc = put_line(l, series, line, (size_t)n, &bad);
        if (rc && !whole) {
            rc = KJ_OK; /* training is still writing it */
            break;
        }
        if (rc) {
            kj_err_where(&bad, path, number);
            *err = bad;
        }
    }
    free(line);
    fclose(f);
    if (rc) {
        kj_db_rollback(l);
        return rc == KJ_BAD_RECORD ? KJ_FAIL : rc;
    }
    return kj_db_commit(l, err);
}
