/* eval_put.c - results of kijil eval, as a table, as JSON, and in the ledger. */
#include <math.h>
#include <string.h>

#include "base/json.h"
#include "commands/eval.h"
#include "manifests/ledger.h"

static void ppl_row(struct kj_evaluation *e, const struct kj_eval_row *r)
{
    if (e->shown != 1)
        fprintf(e->table, "%-24s %9s %12s %9s %12s %9s\n", "source", "documents",
                "tokens", "nats/tok", "perplexity", "bits/byte");
    fprintf(e->table, "%-24.24s %9llu %12.0f %9.4f %12.3f %9.4f\n", r->part,
            (unsigned long long)r->n, r->metric[0].value, r->metric[2].value,
            r->metric[3].value, r->metric[4].value);
}

/* The plain means stand in JSON and in the ledger only. */
static void choice_row(struct kj_evaluation *e, const struct kj_eval_row *r)
{
    if (e->shown != 2)
        fprintf(e->table, "%-40s %9s %5s  %s\n", "task", "questions", "shots",
                "percent +- standard error");
    fprintf(e->table, "%s%-*.*s %9llu %5lld ", *r->part ? "  " : "", *r->part ? 38 : 40,
            38, *r->part ? r->part : r->task, (unsigned long long)r->n,
            (long long)r->shots);
    for (size_t i = 0; i < r->n_metrics; i++) {
        size_t n = strlen(r->metric[i].name);
        if (n > 6 && strcmp(r->metric[i].name + n - 6, "_macro") == 0)
            continue;
        fprintf(e->table, " %s %.2f", r->metric[i].name, 100 * r->metric[i].value);
        if (!isnan(r->metric[i].error))
            fprintf(e->table, " +- %.2f", 100 * r->metric[i].error);
    }
    fprintf(e->table, "\n");
}

static void json_row(struct kj_evaluation *e, const struct kj_eval_row *r)
{
    struct kj_buf o;
    bool ppl = r->shots < 0;
    kj_buf_init(&o, 1 << 20);
    kj_buf_addz(&o, "{\"task\":");
    kj_json_put_str(&o, r->task, strlen(r->task));
    if (*r->part) {
        kj_buf_printf(&o, ",\"%s\":", ppl ? "source" : r->kind);
        kj_json_put_str(&o, r->part, strlen(r->part));
    }
    if (r->subsets)
        kj_buf_printf(&o, ",\"subsets\":%llu", (unsigned long long)r->subsets);
    kj_buf_printf(&o, ",\"%s\":%llu", ppl ? "documents" : "questions",
                  (unsigned long long)r->n);
    if (!ppl)
        kj_buf_printf(&o, ",\"shots\":%lld", (long long)r->shots);
    for (size_t i = 0; i < r->n_metrics; i++) {
        kj_buf_printf(&o, ",\"%s\":", r->metric[i].name);
        kj_json_put_real(&o, r->metric[i].value);
        if (ppl)
            continue;
        kj_buf_printf(&o, ",\"%s_stderr\":", r->metric[i].name);
        kj_json_put_real(&o, r->metric[i].error);
    }
    kj_buf_addz(&o, "}\n");
    fwrite(o.p, 1, o.n, e->json);
    kj_buf_release(&o);
}

int kj_eval_put(struct kj_evaluation *e, const struct kj_eval_row *r,
                struct kj_err *err)
{
    int rc = KJ_OK;
    if (e->table) {
        if (r->shots < 0)
            ppl_row(e, r);
        else
            choice_row(e, r);
    }
    e->shown = r->shots < 0 ? 1 : 2;
    if (e->json)
        json_row(e, r);
    for (size_t i = 0; e->ledger && i < r->n_metrics && rc == KJ_OK; i++) {
        struct kj_ledger_score s = {.task = r->task,
                                    .kind = r->kind,
                                    .part = r->part,
                                    .metric = r->metric[i].name,
                                    .value = r->metric[i].value,
                                    .error = r->metric[i].error,
                                    .n = r->n,
                                    .shots = r->shots};
        rc = kj_ledger_score(e->ledger, e->number, &s, err);
    }
    return rc;
}
