/* ledger_cuts.c - which cuts were applied to each document.
 *
 * A rule may stand in a stage more than once, with other thresholds for other
 * documents (groups of a filter recipe), so neither a rule's name nor its value
 * tells what the value was compared with. Each row of a stage's rules() is one
 * row of `cuts`. The rows that applied to a document are a set of which a
 * corpus has few (one for each group of documents that the recipe treats
 * alike), so the sets are rows of `cutsets` and a decision only names its set:
 * one byte or two for a document.
 *
 * A set is written as the numbers of its cuts, ascending, runs joined:
 * "12-25,27". Ascending is the order in which the stage applies them.
 *
 * Beside that it is counted for each cut how many documents failed it, and how
 * many failed it alone, which is what dropping the rule would bring back.
 */
#include "manifests/ledger_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/stage.h"

bool kj_cut_fails(const char *op, double threshold, double v)
{
    bool equal = op[0] && op[1] == '=';
    if (op[0] == '<')
        return equal ? v <= threshold : v < threshold;
    return op[0] == '>' && (equal ? v >= threshold : v > threshold);
}

void kj_ledger_cuts_release(struct kj_ledger *l)
{
    for (size_t i = 0; i < l->n_cut_stages; i++)
        free(l->cut_stages[i].cuts);
    free(l->cut_stages);
    free(l->set);
    free(l->last_set);
    l->cut_stages = NULL;
    l->set = l->last_set = NULL;
    l->n_cut_stages = l->n_last_set = 0;
    l->last_set_id = 0;
}

void kj_ledger_cuts_unflush(struct kj_ledger *l)
{
    for (size_t i = 0; i < l->n_cut_stages; i++)
        for (size_t k = 0; k < l->cut_stages[i].n; k++)
            l->cut_stages[i].cuts[k].failed = l->cut_stages[i].cuts[k].alone = 0;
}

int kj_ledger_cuts_register(struct kj_ledger *l, size_t step, int64_t stage,
                            const struct kj_rule *r, size_t n, const int64_t *rule,
                            struct kj_err *err)
{
    if (step >= l->n_cut_stages) {
        l->cut_stages = kj_xrealloc(l->cut_stages, (step + 1) * sizeof *l->cut_stages);
        memset(l->cut_stages + l->n_cut_stages, 0,
               (step + 1 - l->n_cut_stages) * sizeof *l->cut_stages);
        l->n_cut_stages = step + 1;
    }
    struct kj_cut_stage *s = &l->cut_stages[step];
    s->rules = r;
    s->n = n;
    s->stage = stage;
    s->band = NULL;
    s->cuts = kj_xcalloc(n + 1, sizeof *s->cuts);
    size_t all = 0;
    for (size_t i = 0; i < l->n_cut_stages; i++)
        all += l->cut_stages[i].n;
    l->set = kj_xrealloc(l->set, (all + 1) * sizeof *l->set);
    l->last_set = kj_xrealloc(l->last_set, (all + 1) * sizeof *l->last_set);
    int rc = KJ_OK;
    for (size_t i = 0; i < n && rc == KJ_OK; i++) {
        if (!rule[i])
            continue;
        rc = kj_db_do(l, err,
                      "INSERT OR IGNORE INTO cuts (stage, ordinal, rule, op, threshold,"
                      " about) VALUES (?,?,?,?,?,?)",
                      "iiisds", stage, (int64_t)i, rule[i], r[i].op, r[i].threshold,
                      r[i].about);
        if (rc == KJ_OK)
            rc = kj_db_int(l, &s->cuts[i].id, err,
                           "SELECT cut FROM cuts WHERE stage = ? AND ordinal = ?", "ii",
                           stage, (int64_t)i);
    }
    return rc;
}

static int set_row(struct kj_ledger *l, size_t n, int64_t *set, struct kj_err *err)
{
    struct kj_buf b;
    kj_buf_init(&b, 480);
    int rc = KJ_OK;
    for (size_t i = 0; i < n && rc == KJ_OK;) {
        size_t k = i + 1;
        while (k < n && l->set[k] == l->set[k - 1] + 1)
            k++;
        rc = kj_buf_printf(&b, "%s%lld", b.n ? "," : "", (long long)l->set[i]);
        if (rc == KJ_OK && k > i + 1)
            rc = kj_buf_printf(&b, "-%lld", (long long)l->set[k - 1]);
        i = k;
    }
    *set = 0;
    if (rc) /* too many groups to be named: this document cannot be replayed */
        rc = KJ_OK;
    else
        rc = kj_names_row(l, &l->cutsets, "cutsets", "cutset", "cuts", b.p, b.n, set,
                          err);
    kj_buf_release(&b);
    return rc;
}

/* The stage whose row r is, or NULL. */
static struct kj_cut_stage *stage_of(const struct kj_ledger *l, const struct kj_rule *r)
{
    for (size_t i = 0; i < l->n_cut_stages; i++)
        if (r >= l->cut_stages[i].rules &&
            r < l->cut_stages[i].rules + l->cut_stages[i].n)
            return &l->cut_stages[i];
    return NULL;
}

int64_t kj_ledger_cut_by(const struct kj_ledger *l, const struct kj_rule *by)
{
    const struct kj_cut_stage *s = by ? stage_of(l, by) : NULL;
    return s ? s->cuts[by - s->rules].id : 0;
}

int kj_ledger_cuts_doc(struct kj_ledger *l, const struct kj_doc *d, int64_t *set,
                       struct kj_err *err)
{
    size_t n = 0;
    *set = 0;
    for (size_t i = 0; i < l->n_cut_stages; i++)
        l->cut_stages[i].fails = 0;
    for (size_t i = 0; i < d->n_signals; i++) {
        const struct kj_signal *g = &d->signals[i];
        struct kj_cut_stage *s = g->by ? stage_of(l, g->by) : NULL;
        struct kj_cut *c = s ? &s->cuts[g->by - s->rules] : NULL;
        if (!c || !c->id)
            continue;
        /* Of values that equal the cut a stage may still drop some: the best tenth. */
        if (kj_cut_fails(g->by->op, g->by->threshold, g->value) ||
            (d->out.rule == g->by->name && g->value == g->by->threshold)) {
            c->failed++;
            s->fails++;
            s->last = c;
        }
        size_t k = n++;
        for (; k && l->set[k - 1] > c->id; k--)
            l->set[k] = l->set[k - 1];
        l->set[k] = c->id;
    }
    for (size_t i = 0; i < l->n_cut_stages; i++)
        if (l->cut_stages[i].fails == 1)
            l->cut_stages[i].last->alone++;
    if (!n)
        return KJ_OK;
    if (l->last_set_id && n == l->n_last_set &&
        memcmp(l->set, l->last_set, n * sizeof *l->set) == 0) {
        *set = l->last_set_id;
        return KJ_OK;
    }
    int rc = set_row(l, n, set, err);
    if (rc == KJ_OK) {
        memcpy(l->last_set, l->set, n * sizeof *l->set);
        l->n_last_set = n;
        l->last_set_id = *set;
    }
    return rc;
}

int kj_ledger_cuts_flush(struct kj_ledger *l, struct kj_err *err)
{
    int rc = KJ_OK;
    for (size_t i = 0; i < l->n_cut_stages; i++)
        for (size_t k = 0; k < l->cut_stages[i].n && rc == KJ_OK; k++) {
            const struct kj_cut *c = &l->cut_stages[i].cuts[k];
            if (c->failed)
                rc = kj_db_do(l, err,
                              "UPDATE cuts SET failed = failed + ?, alone = alone + ?"
                              " WHERE cut = ?",
                              "uui", c->failed, c->alone, c->id);
        }
    if (rc == KJ_OK)
        kj_ledger_cuts_unflush(l);
    return rc;
}
