/* report_scores.c - the report's section on what models can do. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "manifests/report_internal.h"

/* The newest evaluations, one row for each task; perplexity over one source has
 * no row of its own. */
static const char newest[] =
    "SELECT e.evaluation, e.model, s.task, s.kind, s.part, s.metric, s.value, s.stderr,"
    " s.n, s.shots FROM scores s JOIN evaluations e USING (evaluation) WHERE"
    " e.evaluation IN (SELECT evaluation FROM evaluations ORDER BY evaluation DESC "
    "LIMIT"
    " 12) AND (s.kind = 'task' OR (s.kind = 'source' AND NOT EXISTS (SELECT 1 FROM"
    " scores t WHERE t.evaluation = s.evaluation AND t.task = s.task AND t.kind ="
    " 'task'))) AND s.metric IN ('acc', 'acc_norm', 'f1', 'perplexity',"
    " 'bits_per_byte') ORDER BY e.evaluation DESC, s.task, s.kind, s.part, s.metric";

/* The parts of the newest evaluation of each task. */
static const char parts[] =
    "SELECT e.evaluation, e.model, s.task, s.kind, s.part, s.metric, s.value, s.stderr,"
    " s.n, s.shots FROM scores s JOIN evaluations e USING (evaluation) WHERE"
    " e.evaluation = (SELECT max(evaluation) FROM scores t WHERE t.task = s.task) AND"
    " s.kind != 'task' AND s.metric IN ('acc', 'acc_norm', 'f1', 'perplexity',"
    " 'bits_per_byte') ORDER BY s.task, s.kind, s.part, s.metric LIMIT 2000";

static void value(struct kj_rep *r, sqlite3_stmt *st, const char *plus)
{
    const char *metric = kj_rep_text(st, 5);
    bool share = strcmp(metric, "perplexity") != 0 && strcmp(metric, "bits_per_byte");
    double v = kj_rep_num(st, 6), e = kj_rep_num(st, 7);
    P("%s ", metric);
    if (share)
        P("%.2f", 100 * v);
    else
        kj_put_value(r->out, v);
    if (!isnan(e))
        P(" %s %.2f", plus, 100 * e);
}

/* Rows of one part lie together: one line a part. */
static int table(struct kj_rep *r, const char *sql, bool part)
{
    char last[1400] = "", now[1400];
    int rows = 0;
    sqlite3_stmt *st = kj_rep_query(r, sql);
    while (kj_rep_next(r, st)) {
        snprintf(now, sizeof now, "%.20s %.200s %.20s %.1000s", kj_rep_text(st, 0),
                 kj_rep_text(st, 2), kj_rep_text(st, 3), kj_rep_text(st, 4));
        if (strcmp(now, last) == 0) {
            Z(" · ");
            value(r, st, "±");
            continue;
        }
        snprintf(last, sizeof last, "%s", now);
        if (rows++)
            Z("</td></tr>\n");
        else
            P("<table><tr><th>%s</th><th>task</th><th class=\"n\">of</th><th"
              " class=\"n\">shots</th><th>percent ± standard error</th></tr>\n",
              part ? "part" : "model");
        Z("<tr><td class=\"w\">");
        kj_put_html_n(r->out, kj_rep_text(st, part ? 4 : 1), 100);
        Z("</td><td>");
        kj_put_html_n(r->out, kj_rep_text(st, 2), 60);
        if (part && strcmp(kj_rep_text(st, 3), "group") == 0)
            Z(" (group)");
        Z("</td>");
        kj_rep_cell(r, sqlite3_column_int64(st, 8));
        P("<td class=\"n\">%s</td><td>", kj_rep_text(st, 9));
        value(r, st, "±");
    }
    if (rows)
        Z("</td></tr></table>");
    return rows;
}

void kj_rep_scores(struct kj_rep *r)
{
    if (!kj_rep_int(r, "SELECT count(*) FROM scores"))
        return;
    Z("<h2>What models can do</h2><p class=\"note\">The newest evaluations, the last"
      " first. Means over subsets are weighted by their questions.</p><div"
      " class=\"box\">");
    table(r, newest, false);
    Z("<details><summary>by subset and source, of the newest evaluation of each"
      " task</summary>");
    table(r, parts, true);
    Z("</details></div>\n");
}

void kj_rep_scores_text(struct kj_rep *r)
{
    char last[1400] = "", now[1400];
    int rows = 0;
    sqlite3_stmt *st = kj_rep_query(r, newest);
    while (kj_rep_next(r, st)) {
        snprintf(now, sizeof now, "%.20s %.200s %.1000s", kj_rep_text(st, 0),
                 kj_rep_text(st, 2), kj_rep_text(st, 4));
        if (strcmp(now, last) != 0) {
            Z(rows++ ? "\n  " : "\nmodels\n  ");
            kj_put_cell(r->out, kj_rep_text(st, 1), 24);
            Z(" ");
            kj_put_cell(r->out, kj_rep_text(st, 2), 16);
            P(" %7lld %s", (long long)sqlite3_column_int64(st, 8),
              *kj_rep_text(st, 9) ? "questions" : "documents");
            if (*kj_rep_text(st, 9))
                P(", %s shots", kj_rep_text(st, 9));
            Z("  ");
        } else {
            Z(", ");
        }
        snprintf(last, sizeof last, "%s", now);
        value(r, st, "+-");
    }
    if (rows)
        Z("\n");
}
