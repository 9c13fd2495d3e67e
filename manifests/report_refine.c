/* report_refine.c - the report's section on classifiers that learned in rounds:
 * what each round learned from and was worth, where its harvest came from, and
 * documents to look at. */
#include <math.h>
#include <stdio.h>

#include "manifests/report_internal.h"

#define RUNS_SHOWN    4
#define DOMAINS_SHOWN 12

static void cell_real(struct kj_rep *r, double v)
{
    if (isnan(v))
        Z("<td></td>");
    else
        P("<td class=\"n\">%.3f</td>", v);
}

static void cell_count(struct kj_rep *r, double v)
{
    if (isnan(v))
        Z("<td></td>");
    else
        kj_rep_cell(r, (int64_t)v);
}

static void rounds(struct kj_rep *r, int64_t run)
{
    char sql[600];
    snprintf(sql, sizeof sql,
             "SELECT round, seed_positives + harvested, seed_negatives + drawn,"
             " held_positives, precision, recall, f1, average_precision,"
             " 100 * positive_share, cut, taken, kept, stop FROM refine_rounds"
             " WHERE run = %lld ORDER BY round",
             (long long)run);
    Z("<div class=\"box\"><table><tr><th>round</th><th class=\"n\">positives</th><th"
      " class=\"n\">negatives</th><th class=\"n\">held out</th><th class=\"n\">"
      "precision</th><th class=\"n\">recall</th><th class=\"n\">F1</th><th "
      "class=\"n\">average precision</th><th class=\"n\">pool, %</th><th class=\"n\">"
      "cut</th><th class=\"n\">taken</th><th class=\"n\">of the last</th><th>stop"
      "</th></tr>\n");
    sqlite3_stmt *st = kj_rep_query(r, sql);
    while (kj_rep_next(r, st)) {
        P("<tr><td>%lld</td>", (long long)sqlite3_column_int64(st, 0));
        for (int i = 1; i < 4; i++)
            cell_count(r, kj_rep_num(st, i));
        for (int i = 4; i < 10; i++)
            cell_real(r, kj_rep_num(st, i));
        cell_count(r, kj_rep_num(st, 10));
        cell_real(r, kj_rep_num(st, 11));
        Z("<td class=\"w\">");
        kj_put_html(r->out, kj_rep_text(st, 12));
        Z("</td></tr>\n");
    }
    Z("</table></div>\n");
}

static void domains(struct kj_rep *r, int64_t run, int64_t round)
{
    char sql[400];
    snprintf(sql, sizeof sql,
             "SELECT name, pool, taken, lift FROM refine_domains WHERE run = %lld AND"
             " round = %lld ORDER BY ordinal LIMIT %d",
             (long long)run, (long long)round, DOMAINS_SHOWN);
    P("<div class=\"box\"><table><tr><th>taken in round %lld</th><th class=\"n\">in "
      "the "
      "pool</th><th class=\"n\">taken</th><th class=\"n\">times its share</th></tr>\n",
      (long long)round);
    sqlite3_stmt *st = kj_rep_query(r, sql);
    while (kj_rep_next(r, st)) {
        Z("<tr><td class=\"w\">");
        kj_put_html_n(r->out, kj_rep_text(st, 0), 60);
        Z("</td>");
        kj_rep_cell(r, sqlite3_column_int64(st, 1));
        kj_rep_cell(r, sqlite3_column_int64(st, 2));
        P("<td class=\"n\">%.1f</td></tr>\n", kj_rep_num(st, 3));
    }
    Z("</table></div>\n");
}

static void examples(struct kj_rep *r, int64_t run, int64_t round)
{
    char sql[400];
    snprintf(sql, sizeof sql,
             "SELECT border, score, id, excerpt FROM refine_examples WHERE run = %lld"
             " AND round = %lld ORDER BY border, ordinal",
             (long long)run, (long long)round);
    Z("<div class=\"box\"><table><tr><th>example</th><th class=\"n\">score</th><th>id"
      "</th><th>text</th></tr>\n");
    sqlite3_stmt *st = kj_rep_query(r, sql);
    while (kj_rep_next(r, st)) {
        Z(sqlite3_column_int64(st, 0) ? "<tr><td>border</td>" : "<tr><td>best</td>");
        P("<td class=\"n\">%.3f</td><td class=\"w\"><code>", kj_rep_num(st, 1));
        kj_put_html_n(r->out, kj_rep_text(st, 2), 60);
        Z("</code></td><td class=\"w\">");
        kj_put_html_n(r->out, kj_rep_text(st, 3), 120);
        Z("</td></tr>\n");
    }
    Z("</table></div>\n");
}

static bool any(struct kj_rep *r)
{
    return kj_rep_int(r, "SELECT count(*) FROM sqlite_master WHERE name ="
                         " 'refine_rounds'") &&
           kj_rep_int(r, "SELECT count(*) FROM refine_rounds");
}

void kj_rep_refine(struct kj_rep *r)
{
    char sql[200];
    struct {
        int64_t run, round;
    } shown[RUNS_SHOWN];
    int n = 0;
    if (!any(r))
        return;
    snprintf(sql, sizeof sql,
             "SELECT run, max(round * (taken > 0)) FROM refine_rounds GROUP BY run"
             " ORDER BY run DESC LIMIT %d",
             RUNS_SHOWN);
    sqlite3_stmt *st = kj_rep_query(r, sql);
    while (kj_rep_next(r, st))
        if (n < RUNS_SHOWN) {
            shown[n].run = sqlite3_column_int64(st, 0);
            shown[n++].round = sqlite3_column_int64(st, 1);
        }
    Z("<h2>Learning in rounds</h2><p class=\"note\">What each round learned from; "
      "precision, recall and F1 on the held-out set at the cut of the reports; the "
      "share "
      "of the pool above it; what was taken for the next round, from which score on, "
      "and "
      "how much of the last harvest is among it. Then the domains and examples of the "
      "last harvest: the best, and the doubtful ones at its border.</p>\n");
    for (int i = 0; i < n; i++) {
        if (n > 1)
            P("<h3>run %lld</h3>\n", (long long)shown[i].run);
        rounds(r, shown[i].run);
        if (shown[i].round > 0) {
            domains(r, shown[i].run, shown[i].round);
            examples(r, shown[i].run, shown[i].round);
        }
    }
}

void kj_rep_refine_text(struct kj_rep *r)
{
    if (!any(r))
        return;
    Z("\nlearning in rounds    positives negatives precision recall  av.prec.   "
      "taken\n");
    sqlite3_stmt *st = kj_rep_query(
        r, "SELECT run, round, seed_positives + harvested, seed_negatives + drawn,"
           " precision, recall, average_precision, taken, stop FROM refine_rounds WHERE"
           " run = (SELECT max(run) FROM refine_rounds) ORDER BY round");
    while (kj_rep_next(r, st)) {
        P("  run %-4lld round %2lld    %9lld %9lld ",
          (long long)sqlite3_column_int64(st, 0),
          (long long)sqlite3_column_int64(st, 1),
          (long long)sqlite3_column_int64(st, 2),
          (long long)sqlite3_column_int64(st, 3));
        if (isnan(kj_rep_num(st, 6)))
            Z("        -       -         - ");
        else
            P("    %.3f   %.3f    %.4f ", kj_rep_num(st, 4), kj_rep_num(st, 5),
              kj_rep_num(st, 6));
        P("%7lld", (long long)sqlite3_column_int64(st, 7));
        P("%s%s\n", *kj_rep_text(st, 8) ? "  " : "", kj_rep_text(st, 8));
    }
}
