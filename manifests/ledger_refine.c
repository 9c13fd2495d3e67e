/* ledger_refine.c - the rounds of `kijil model refine` into the ledger.
 *
 * The tables are made when the first round comes, so ledgers of corpora do not
 * have them and no version of the schema depends on them.
 */
#include "manifests/ledger_internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/input.h"
#include "base/json.h"

#define ROUND_MAX ((size_t)64 << 20) /* bytes of a round.json */

static const char tables[] =
    "CREATE TABLE IF NOT EXISTS refine_rounds ("
    " run INTEGER NOT NULL REFERENCES runs(run), round INTEGER NOT NULL,"
    " seed_positives INTEGER NOT NULL, seed_negatives INTEGER NOT NULL,"
    " harvested INTEGER NOT NULL, drawn INTEGER NOT NULL, epoch INTEGER NOT NULL,"
    " held INTEGER, held_positives INTEGER, threshold REAL, precision REAL,"
    " recall REAL, f1 REAL, average_precision REAL, pool INTEGER NOT NULL,"
    " positive_share REAL NOT NULL, cut REAL, taken INTEGER NOT NULL, lowest REAL,"
    " kept REAL, stop TEXT, PRIMARY KEY (run, round)) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS refine_domains ("
    " run INTEGER NOT NULL, round INTEGER NOT NULL, ordinal INTEGER NOT NULL,"
    " name TEXT NOT NULL, pool INTEGER NOT NULL, taken INTEGER NOT NULL,"
    " lift REAL NOT NULL, PRIMARY KEY (run, round, ordinal)) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS refine_examples ("
    " run INTEGER NOT NULL, round INTEGER NOT NULL, border INTEGER NOT NULL,"
    " ordinal INTEGER NOT NULL, id TEXT NOT NULL, score REAL NOT NULL, domain TEXT,"
    " excerpt TEXT, PRIMARY KEY (run, round, border, ordinal)) WITHOUT ROWID";

/* A string of JSON as one of C: json's own may have no end. */
static char *word(const struct kj_jval *v)
{
    struct kj_str s = kj_jstr(v);
    return s.n ? kj_xstrndup(s.p, s.n) : NULL;
}

static size_t items(const struct kj_jval *v)
{
    return v && v->kind == KJ_J_ARRAY ? v->n : 0;
}

static double real(const struct kj_jval *v, const char *key)
{
    return kj_jnum(kj_jget(v, key), NAN);
}

static int64_t whole(const struct kj_jval *v, const char *key)
{
    return kj_jint(kj_jget(v, key), 0);
}

static int put_round(struct kj_ledger *l, const struct kj_jval *v, int64_t round,
                     struct kj_err *err)
{
    const struct kj_jval *t = kj_jget(v, "train"), *h = kj_jget(v, "held");
    const struct kj_jval *at = kj_jget(h, "at"), *p = kj_jget(v, "pool");
    const struct kj_jval *x = kj_jget(v, "harvest");
    char *stop = word(kj_jget(v, "stop"));
    int rc = kj_db_do(
        l, err,
        "INSERT INTO refine_rounds VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
        "iiiiiiidddddddiddidds", l->run, round, whole(t, "seed_positives"),
        whole(t, "seed_negatives"), whole(t, "harvested"), whole(t, "drawn"),
        whole(t, "epoch"), real(h, "docs"), real(h, "positives"), real(at, "cut"),
        real(at, "precision"), real(at, "recall"), real(at, "f1"),
        real(h, "average_precision"), whole(p, "docs"), real(p, "positive_share"),
        real(x, "cut"), whole(x, "docs"), real(x, "lowest"), real(x, "kept"), stop);
    free(stop);
    return rc;
}

static int put_domains(struct kj_ledger *l, const struct kj_jval *list, int64_t round,
                       struct kj_err *err)
{
    int rc = KJ_OK;
    for (size_t i = 0; rc == KJ_OK && i < items(list); i++) {
        const struct kj_jval *g = &list->items[i];
        char *name = word(kj_jget(g, "group"));
        rc = kj_db_do(l, err, "INSERT INTO refine_domains VALUES (?,?,?,?,?,?,?)",
                      "iiisiid", l->run, round, (int64_t)i, name ? name : "",
                      whole(g, "pool"), whole(g, "harvest"), real(g, "lift"));
        free(name);
    }
    return rc;
}

static int put_examples(struct kj_ledger *l, const struct kj_jval *list, bool border,
                        int64_t round, struct kj_err *err)
{
    int rc = KJ_OK;
    for (size_t i = 0; rc == KJ_OK && i < items(list); i++) {
        const struct kj_jval *e = &list->items[i];
        char *id = word(kj_jget(e, "id")), *domain = word(kj_jget(e, "group"));
        char *text = word(kj_jget(e, "text"));
        rc = kj_db_do(l, err, "INSERT INTO refine_examples VALUES (?,?,?,?,?,?,?,?)",
                      "iiiisdss", l->run, round, (int64_t)border, (int64_t)i,
                      id ? id : "", real(e, "score"), domain, text);
        free(id);
        free(domain);
        free(text);
    }
    return rc;
}

static int put_all(struct kj_ledger *l, const struct kj_jval *v, int64_t round,
                   struct kj_err *err)
{
    static const char *const old[] = {
        "DELETE FROM refine_rounds WHERE run = ? AND round = ?",
        "DELETE FROM refine_domains WHERE run = ? AND round = ?",
        "DELETE FROM refine_examples WHERE run = ? AND round = ?"};
    const struct kj_jval *x = kj_jget(v, "harvest");
    int rc = kj_db_exec(l, tables, err);
    for (size_t i = 0; i < sizeof old / sizeof *old && rc == KJ_OK; i++)
        rc = kj_db_do(l, err, old[i], "ii", l->run, round);
    if (rc == KJ_OK)
        rc = put_round(l, v, round, err);
    if (rc == KJ_OK)
        rc = put_domains(l, kj_jget(x, "groups"), round, err);
    if (rc == KJ_OK)
        rc = put_examples(l, kj_jget(x, "best"), false, round, err);
    return rc == KJ_OK ? put_examples(l, kj_jget(x, "border"), true, round, err) : rc;
}

int kj_ledger_refine_round(struct kj_ledger *l, const char *path, struct kj_err *err)
{
    const struct kj_jval *v;
    int rc = kj_json_load(l->json, path, ROUND_MAX, &v, err);
    int64_t round = rc == KJ_OK ? kj_jint(kj_jget(v, "round"), 0) : 0;
    if (rc == KJ_OK && round < 1) {
        rc = kj_err_set(err, KJ_FAIL, "this is no round of refine");
        kj_err_where(err, path, -1);
    }
    if (rc == KJ_OK)
        rc = kj_db_begin(l, err);
    if (rc != KJ_OK)
        return rc;
    rc = put_all(l, v, round, err);
    if (rc != KJ_OK) {
        kj_db_rollback(l);
        return rc;
    }
    return kj_db_commit(l, err);
}
