/* report_training.c - the report's section on training: what each step was like, what
 * it was trained on, and what the model wrote on the way. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "manifests/report_internal.h"

/* Training runs that one page shows, the last ones by name. */
#define SERIES_MAX 6
#define TEXT_CHARS 600
/* Curves of losses on held-out texts: over all, and of single sets. */
#define SETS_MAX 9

static sqlite3_stmt *ask(struct kj_rep *r, const char *sql, const char *series)
{
    sqlite3_stmt *st = NULL;
    if (r->rc == KJ_OK)
        r->rc = kj_db_query(r->l, &st, r->err, sql, "s", series);
    return st;
}

/* The points that a statement finds, to be freed. */
static struct kj_point *points(struct kj_rep *r, sqlite3_stmt *st, size_t *n)
{
    struct kj_point *p = NULL;
    size_t cap = 0;
    *n = 0;
    while (kj_rep_next(r, st)) {
        if (*n == cap) {
            cap = cap ? 2 * cap : 1024;
            p = kj_xrealloc(p, cap * sizeof *p);
        }
        p[(*n)++] = (struct kj_point){kj_rep_num(st, 0), kj_rep_num(st, 1)};
    }
    return p;
}

static void curve_of(struct kj_rep *r, const char *series, const char *column,
                     const char *label)
{
    size_t n;
    char sql[160];
    snprintf(sql, sizeof sql,
             "SELECT step, %s FROM metrics WHERE series = ? AND %s IS NOT NULL ORDER BY"
             " step",
             column, column);
    struct kj_point *p = points(r, ask(r, sql, series), &n);
    if (n > 1) {
        P("<div class=\"box gap\"><b>%s</b>", label);
        kj_plot_curve(r->out, p, n, strcmp(column, "lr") != 0, label, "step");
        Z("</div>\n");
    }
    free(p);
}

/* The losses on held-out texts: over all, then of each set. */
static void held_out(struct kj_rep *r, const char *series)
{
    char *names[SETS_MAX];
    size_t n = 0, n_points;
    sqlite3_stmt *st =
        ask(r,
            "SELECT source FROM metric_validation WHERE series = ? AND loss IS NOT NULL"
            " GROUP BY source HAVING count(*) > 1 ORDER BY source LIMIT 9",
            series);
    while (kj_rep_next(r, st))
        if (n < SETS_MAX)
            names[n++] = kj_xstrdup(kj_rep_text(st, 0));
    for (size_t i = 0; i < n; i++) {
        st = NULL;
        if (r->rc == KJ_OK)
            r->rc =
                kj_db_query(r->l, &st, r->err,
                            "SELECT step, loss FROM metric_validation WHERE series"
                            " = ? AND source = ? AND loss IS NOT NULL ORDER BY step",
                            "ss", series, names[i]);
        struct kj_point *p = points(r, st, &n_points);
        if (n_points > 1) {
            if (i < 2)
                Z(i ? "<div class=\"two\">" : "");
            Z("<div class=\"box gap\"><b>Loss on held-out texts");
            Z(*names[i] ? ": " : "");
            kj_put_html_n(r->out, names[i], 100);
            P("</b><span>, %.4f at step %.0f</span>", p[n_points - 1].y,
              p[n_points - 1].x);
            kj_plot_curve(r->out, p, n_points, true, "Loss on held-out texts", "step");
            Z("</div>\n");
        }
        free(p);
        free(names[i]);
    }
    Z(n > 1 ? "</div>\n" : "");
}

/* What each source had, stage by stage: the last count of each. */
static void sources(struct kj_rep *r, const char *series)
{
    sqlite3_stmt *st = ask(
        r,
        "WITH last AS (SELECT coalesce(m.stage, '') AS stage, s.source, max(s.tokens) "
        "AS"
        " tokens, min(s.step) AS first FROM metric_sources s JOIN metrics m USING"
        " (series, step) WHERE series = ? GROUP BY 1, 2) SELECT stage, source, tokens,"
        " 1.0 * tokens / sum(tokens) OVER (PARTITION BY stage), min(first) OVER"
        " (PARTITION BY stage) AS begin FROM last ORDER BY begin, tokens DESC, source"
        " LIMIT 200",
        series);
    int rows = 0;
    while (kj_rep_next(r, st)) {
        if (rows++ == 0)
            Z("<div class=\"box "
              "gap\"><table><tr><th>stage</th><th>source</th><th></th><th"
              " class=\"n\">tokens so far</th><th class=\"n\">share</th></tr>\n");
        Z("<tr><td>");
        kj_put_html_n(r->out, kj_rep_text(st, 0), 60);
        Z("</td><td class=\"w\">");
        kj_put_html_n(r->out, kj_rep_text(st, 1), 100);
        Z("</td><td style=\"width:24%\">");
        kj_rep_bar(r, " thin", kj_rep_num(st, 3), 0);
        Z("</td>");
        kj_rep_cell(r, sqlite3_column_int64(st, 2));
        kj_rep_cell_percent(r, kj_rep_num(st, 3), 1);
        Z("</tr>\n");
    }
    if (rows)
        Z("</table></div>\n");
}

/* The first texts and the last ones. */
static void texts(struct kj_rep *r, const char *series)
{
    sqlite3_stmt *st = ask(
        r,
        "WITH s AS (SELECT *, dense_rank() OVER (ORDER BY step) AS up, dense_rank() "
        "OVER"
        " (ORDER BY step DESC) AS down FROM generations WHERE series = ?) SELECT step,"
        " prompt, text FROM s WHERE up = 1 OR down <= 5 ORDER BY step, number LIMIT 60",
        series);
    int rows = 0;
    while (kj_rep_next(r, st)) {
        if (rows++ == 0)
            Z("<div class=\"box gap\"><table><tr><th class=\"n\">step</th><th>what it "
              "wrote"
              " (the first and the last five times)</th></tr>\n");
        Z("<tr>");
        kj_rep_cell(r, sqlite3_column_int64(st, 0));
        Z("<td class=\"w\"><b>");
        kj_put_html_n(r->out, kj_rep_text(st, 1), TEXT_CHARS);
        Z("</b>");
        kj_put_html_n(r->out, kj_rep_text(st, 2), TEXT_CHARS);
        Z("</td></tr>\n");
    }
    if (rows)
        Z("</table></div>\n");
}

static void one(struct kj_rep *r, const char *series, bool alone)
{
    sqlite3_stmt *st = ask(
        r,
        "SELECT max(step), max(tokens), avg(tokens_per_s), (SELECT loss FROM metrics"
        " WHERE series = ?1 ORDER BY step LIMIT 1), (SELECT avg(loss) FROM (SELECT loss"
        " FROM metrics WHERE series = ?1 ORDER BY step DESC LIMIT 20)), sum(skipped)"
        " FROM metrics WHERE series = ?1",
        series);
    while (kj_rep_next(r, st)) {
        Z("<p class=\"note\">");
        if (!alone || r->series) {
            Z("<b>");
            kj_put_html_n(r->out, series, 120);
            Z("</b>: ");
        }
        kj_put_count(r->out, sqlite3_column_int64(st, 0));
        Z(" steps, ");
        kj_put_count(r->out, sqlite3_column_int64(st, 1));
        P(" tokens at %.0f tokens/s; loss from %.3f to %.3f (mean of the last 20 "
          "steps)",
          kj_rep_num(st, 2), kj_rep_num(st, 3), kj_rep_num(st, 4));
        if (sqlite3_column_int64(st, 5))
            P("; %lld updates left out", (long long)sqlite3_column_int64(st, 5));
        Z("</p>\n");
    }
    curve_of(r, series, "loss", "Loss by step");
    held_out(r, series);
    curve_of(r, series, "kl", "Divergence from the teacher");
    Z("<div class=\"two\">");
    curve_of(r, series, "lr", "Learning rate");
    curve_of(r, series, "grad_norm", "Gradient norm");
    curve_of(r, series, "tokens_per_s", "Tokens per second");
    Z("</div>\n");
    sources(r, series);
    texts(r, series);
}

void kj_rep_training(struct kj_rep *r)
{
    char *names[SERIES_MAX];
    size_t n = 0;
    sqlite3_stmt *st = kj_rep_query(
        r, "SELECT * FROM (SELECT series FROM metrics GROUP BY series HAVING count(*) >"
           " 1 ORDER BY series DESC LIMIT 6) ORDER BY series");
    while (kj_rep_next(r, st)) {
        const char *name = kj_rep_text(st, 0);
        if (n < SERIES_MAX && !r->series)
            names[n++] = kj_xstrdup(name);
    }
    if (r->series)
        names[n++] = kj_xstrdup(r->series);
    if (n)
        Z("<h2>Training</h2>");
    for (size_t i = 0; i < n; i++) {
        one(r, names[i], n == 1);
        free(names[i]);
    }
}
