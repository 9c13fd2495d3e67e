/* report_training.c - the report's section on training. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "manifests/report_internal.h"

static void curve_of(struct kj_rep *r, const char *column, const char *label)
{
    struct kj_point *p = NULL;
    size_t n = 0, cap = 0;
    char sql[160];
    snprintf(
        sql, sizeof sql,
        "SELECT step, %s FROM metrics WHERE series = (SELECT max(series) FROM metrics)"
        " AND %s IS NOT NULL ORDER BY step",
        column, column);
    sqlite3_stmt *st = kj_rep_query(r, sql);
    while (kj_rep_next(r, st)) {
        if (n == cap) {
            cap = cap ? 2 * cap : 1024;
            p = kj_xrealloc(p, cap * sizeof *p);
        }
        p[n++] = (struct kj_point){kj_rep_num(st, 0), kj_rep_num(st, 1)};
    }
    if (n > 1)
        kj_plot_curve(r->out, p, n, label, "step");
    free(p);
}

void kj_rep_training(struct kj_rep *r)
{
    if (kj_rep_int(r, "SELECT count(*) FROM (SELECT 1 FROM metrics LIMIT 2)") < 2)
        return;
    Z("<h2>Training</h2><p class=\"note\">");
    sqlite3_stmt *st = kj_rep_query(
        r,
        "SELECT max(step), max(tokens), avg(tokens_per_s), (SELECT loss FROM metrics"
        " ORDER BY series DESC, step LIMIT 1), (SELECT avg(loss) FROM (SELECT loss FROM"
        " metrics ORDER BY series DESC, step DESC LIMIT 20)) FROM metrics WHERE series "
        "="
        " (SELECT max(series) FROM metrics)");
    while (kj_rep_next(r, st)) {
        kj_put_count(r->out, sqlite3_column_int64(st, 0));
        Z(" steps, ");
        kj_put_count(r->out, sqlite3_column_int64(st, 1));
        P(" tokens at %.0f tokens/s; loss from %.3f to %.3f (mean of the last 20 "
          "steps)",
          kj_rep_num(st, 2), kj_rep_num(st, 3), kj_rep_num(st, 4));
    }
    Z("</p><div class=\"box\">");
    curve_of(r, "loss", "Loss by step");
    Z("</div>\n");
}
