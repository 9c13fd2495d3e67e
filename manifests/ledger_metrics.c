/* ledger_metrics.c - a training curve into the ledger. */
#include "manifests/ledger_internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"

static int put_line(struct kj_ledger *l, const char *series, const char *p, size_t n,
                    struct kj_err *err)
{
    const struct kj_jval *v;
    int rc = kj_json_parse(l->json, p, n, &v, err);
    if (rc)
        return rc;
    if (!kj_jget(v, "step") || !kj_jget(v, "loss"))
        return KJ_OK; /* an evaluation or an event, not a step */
    return kj_db_do(l, err, "INSERT OR REPLACE INTO metrics VALUES (?,?,?,?,?,?)",
                    "siddud", series, kj_jint(kj_jget(v, "step"), 0),
                    kj_jnum(kj_jget(v, "loss"), NAN), kj_jnum(kj_jget(v, "lr"), NAN),
                    (uint64_t)kj_jint(kj_jget(v, "tokens"), 0),
                    kj_jnum(kj_jget(v, "tokens_per_s"), NAN));
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
    if (!l->write) /* hides the table of the file from this connection */
        rc = kj_db_exec(
            l,
            "CREATE TEMP TABLE IF NOT EXISTS metrics (series TEXT, step"
            " INTEGER, loss REAL, lr REAL, tokens INTEGER, tokens_per_s REAL,"
            " PRIMARY KEY (series, step))",
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
