/* ledger_bands.c - cuts that a survey found, and documents by band and language.
 *
 * A stage whose survey ranks documents says which cuts it found (kj_stage.quantiles),
 * and which of its rules has bands for values. The cuts are rows of `quantiles`,
 * written when the flow begins: a restarted phase surveys the same documents, so they
 * are the same again. Documents are counted in `bands` as their rows are written, in
 * the same transaction, also where no signals are kept.
 */
#include "manifests/ledger_internal.h"

#include "base/stage.h"

int kj_ledger_bands_register(struct kj_ledger *l, size_t step, const struct kj_step *s,
                             struct kj_err *err)
{
    struct kj_quantiles found = {0};
    int64_t stage = l->cut_stages[step].stage;
    if (!s->stage->quantiles)
        return KJ_OK;
    s->stage->quantiles(s->cfg, &found);
    l->cut_stages[step].band = found.band;
    int rc = KJ_OK;
    for (size_t i = 0; i < found.n && rc == KJ_OK; i++) {
        const struct kj_quantile *q = &found.v[i];
        rc = kj_db_do(
            l, err, "INSERT OR REPLACE INTO quantiles VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",
            "issidddddduu", stage, q->score, q->language, (int64_t)q->band, q->share,
            q->cut, q->low, q->high, q->share_low, q->share_high, q->docs, q->seen);
    }
    return rc;
}

static int count(struct kj_ledger *l, int64_t stage, int64_t language, int64_t band,
                 int64_t bytes, bool kept, struct kj_err *err)
{
    sqlite3_stmt *st = l->st[ST_BAND];
    sqlite3_bind_int64(st, 1, stage);
    sqlite3_bind_int64(st, 2, language);
    sqlite3_bind_int64(st, 3, band);
    sqlite3_bind_int64(st, 4, bytes);
    sqlite3_bind_int64(st, 5, kept);
    sqlite3_bind_int64(st, 6, kept ? bytes : 0);
    return kj_db_run(l, st, err);
}

int kj_ledger_bands_doc(struct kj_ledger *l, const struct kj_doc *d, int64_t language,
                        struct kj_err *err)
{
    int rc = KJ_OK;
    for (size_t k = 0; k < l->n_cut_stages; k++) {
        const struct kj_cut_stage *s = &l->cut_stages[k];
        for (size_t i = 0; s->band && i < d->n_signals && rc == KJ_OK; i++)
            if (d->signals[i].by == s->band)
                rc = count(l, s->stage, language, (int64_t)d->signals[i].value,
                           (int64_t)d->text.n, kj_doc_kept(d) || d->out.stage > (int)k,
                           err);
    }
    return rc;
}
