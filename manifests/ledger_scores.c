/* ledger_scores.c - what kijil eval found, into the ledger. */
#include <sqlite3.h>

#include "manifests/ledger_internal.h"

int kj_ledger_evaluation(struct kj_ledger *l, const struct kj_ledger_evaluation *e,
                         int64_t *number, struct kj_err *err)
{
    char at[32];
    kj_ledger_now(at);
    int rc = kj_db_do(l, err,
                      "INSERT INTO evaluations (model, tokenizer, version, command, at)"
                      " VALUES (?,?,?,?,?)",
                      "sssss", e->model, e->tokenizer, e->version, e->command, at);
    if (rc == KJ_OK)
        *number = sqlite3_last_insert_rowid(l->db);
    return rc;
}

int kj_ledger_score(struct kj_ledger *l, int64_t evaluation,
                    const struct kj_ledger_score *s, struct kj_err *err)
{
    return kj_db_do(l, err,
                    "INSERT OR REPLACE INTO scores VALUES (?1,?2,?3,?4,?5,?6,?7,?8,"
                    " CASE WHEN ?9 >= 0 THEN ?9 END)",
                    "issssddui", evaluation, s->task, s->kind, s->part, s->metric,
                    s->value, s->error, s->n, s->shots);
}
