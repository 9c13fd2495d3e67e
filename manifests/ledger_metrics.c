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

/* Losses on held-out texts: "val_loss", and the members of "validation". */
static int put_held(struct kj_ledger *l, const char *series, const struct kj_jval *v,
                    struct kj_err *err)
{
    static const char sql[] =
        "INSERT OR REPLACE INTO metric_validation VALUES (?,?,?,?)";
    const struct kj_jval *sets = kj_jget(v, "validation");
    int64_t step = kj_jint(kj_jget(v, "step"), 0);
    int rc = KJ_OK;
    if (kj_jget(v, "val_loss"))
        rc = kj_db_do(l, err, sql, "sisd", series, step, "",
                      kj_jnum(kj_jget(v, "val_loss"), NAN));
    for (size_t i = 0; rc == KJ_OK && sets && sets->kind == KJ_J_OBJECT && i < sets->n;
         i++) {
        char *name = kj_xstrndup(sets->keys[i].p, sets->keys[i].n);
        rc = kj_db_do(l, err, sql, "sisd", series, step, name,
                      kj_jnum(&sets->items[i], NAN));
        free(name);
    }
    return rc;
}

static int put_step(struct kj_ledger *l, const char *series, const struct kj_jval *v,
                    struct kj_err *err)
{
    struct kj_str stage = kj_jstr(kj_jget(v, "stage"));
    char *name = stage.p ? kj_xstrndup(stage.p, stage.n) : NULL;
    int64_t step = kj_jint(kj_jget(v, "step"), 0);
    int rc = kj_db_do(
        l, err,
        "INSERT OR REPLACE INTO metrics (series, step, loss, lr, tokens, tokens_per_s,"
        " grad_norm, kl, epoch, stage, skipped, seconds) VALUES"
        " (?,?,?,?,?,?,?,?,?,?,?,?)",
        "siddudddd"
        "sid",
        series, step, kj_jnum(kj_jget(v, "loss"), NAN), kj_jnum(kj_jget(v, "lr"), NAN),
        (uint64_t)kj_jint(kj_jget(v, "tokens"), 0),
        kj_jnum(kj_jget(v, "tokens_per_s"), NAN), kj_jnum(kj_jget(v, "grad_norm"), NAN),
        kj_jnum(kj_jget(v, "kl"), NAN), kj_jnum(kj_jget(v, "epoch"), NAN), name,
        (int64_t)kj_jbool(kj_jget(v, "skipped"), false),
        kj_jnum(kj_jget(v, "seconds"), NAN));
    free(name);
    rc = rc ? rc : put_seen(l, series, step, kj_jget(v, "seen"), err);
    return rc ? rc : put_held(l, series, v, err);
}

static int put_text(struct kj_ledger *l, const char *series, const struct kj_jval *v,
                    struct kj_err *err)
{
    struct kj_str p = kj_jstr(kj_jget(v, "prompt")), t = kj_jstr(kj_jget(v, "text"));
    char *prompt = kj_xstrndup(p.n ? p.p : "", p.n), *text = kj_xstrndup(t.p, t.n);
    int rc = kj_db_do(l, err, "INSERT OR REPLACE INTO generations VALUES (?,?,?,?,?)",
                      "siiss", series, kj_jint(kj_jget(v, "step"), 0),
                      kj_jint(kj_jget(v, "number"), 0), prompt, text);
    free(prompt);
    free(text);
    return rc;
}

static int put_line(struct kj_ledger *l, const char *series, const char *p, size_t n,
                    struct kj_err *err)
{
    const struct kj_jval *v;
    int rc = kj_json_parse(l->json, p, n, &v, err);
    if (rc || !kj_jget(v, "step"))
        return rc;
    if (kj_jget(v, "loss"))
        return put_step(l, series, v, err);
    if (kj_jstr(kj_jget(v, "text")).p)
        return put_text(l, series, v, err);
    return KJ_OK; /* an evaluation or an event */
}

/* Tables that hide those of the file from this connection. */
static int hide(struct kj_ledger *l, struct kj_err *err)
{
    int64_t old = 0; /* what stands for the table of an older file */
    int rc = kj_db_int(l, &old, err,
                       "SELECT count(*) FROM sqlite_temp_master WHERE type = 'view' AND"
                       " name = 'metrics'",
                       "");
    if (rc == KJ_OK && old)
        rc = kj_db_exec(l, "DROP VIEW temp.metrics", err);
    if (rc)
        return rc;
    return kj_db_exec(
        l,
        "CREATE TEMP TABLE IF NOT EXISTS metrics (series TEXT, step INTEGER, loss"
        " REAL, lr REAL, tokens INTEGER, tokens_per_s REAL, grad_norm REAL, kl REAL,"
        " epoch INTEGER, stage TEXT, skipped INTEGER, seconds REAL, PRIMARY KEY"
        " (series, step));"
        "CREATE TEMP TABLE IF NOT EXISTS metric_sources (series TEXT, step INTEGER,"
        " source TEXT, tokens INTEGER, PRIMARY KEY (series, source, step));"
        "CREATE TEMP TABLE IF NOT EXISTS metric_validation (series TEXT, step INTEGER,"
        " source TEXT, loss REAL, PRIMARY KEY (series, source, step));"
        "CREATE TEMP TABLE IF NOT EXISTS generations (series TEXT, step INTEGER,"
        " number INTEGER, prompt TEXT, text TEXT, PRIMARY KEY (series, step, number))",
        err);
}

static int put_lines(struct kj_ledger *l, const char *series, FILE *f, const char *path,
                     int64_t *at, struct kj_err *err)
{
    char *line = NULL;
    size_t size = 0;
    ssize_t n;
    int64_t number = 0;
    int rc = KJ_OK;
    while (rc == KJ_OK && (n = getline(&line, &size, f)) > 0) {
        struct kj_err bad = KJ_ERR_INIT;
        number++;
        if (line[n - 1] != '\n')
            break;
        rc = put_line(l, series, line, (size_t)n, &bad);
        if (rc) {
            kj_err_where(&bad, path, number);
            *err = bad;
        }
        *at += n;
    }
    free(line);
    return rc;
}

int kj_ledger_metrics_more(struct kj_ledger *l, const char *series, const char *path,
                           int64_t *at, struct kj_err *err)
{
    FILE *f = fopen(path, "re");
    int64_t from = *at;
    if (!f || fseeko(f, (off_t)*at, SEEK_SET) != 0) {
        int rc = kj_err_errno(err, KJ_FAIL, "cannot open");
        kj_err_where(err, path, -1);
        if (f)
            fclose(f);
        return rc;
    }
    int rc = l->write ? KJ_OK : hide(l, err);
    if (rc == KJ_OK)
        rc = kj_db_begin(l, err);
    if (rc == KJ_OK)
        rc = put_lines(l, series, f, path, at, err);
    fclose(f);
    rc = rc ? rc : kj_db_commit(l, err);
    if (rc) {
        *at = from;
        kj_db_rollback(l);
        return rc == KJ_BAD_RECORD ? KJ_FAIL : rc;
    }
    return KJ_OK;
}

int kj_ledger_metrics_import(struct kj_ledger *l, const char *series, const char *path,
                             struct kj_err *err)
{
    int64_t at = 0;
    return kj_ledger_metrics_more(l, series, path, &at, err);
}

int kj_ledger_metrics_forget(struct kj_ledger *l, const char *series,
                             struct kj_err *err)
{
    static const char *const sql[] = {"DELETE FROM metrics WHERE series = ?",
                                      "DELETE FROM metric_sources WHERE series = ?",
                                      "DELETE FROM metric_validation WHERE series = ?",
                                      "DELETE FROM generations WHERE series = ?"};
    int rc = KJ_OK;
    for (size_t i = 0; i < sizeof sql / sizeof *sql && rc == KJ_OK; i++)
        rc = kj_db_do(l, err, sql[i], "s", series);
    return rc;
}
