/* report_bands.c - the report's sections on what was found in the order of scores:
 * cuts such as "the best 10 %", and bands with their edges, by language. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "manifests/report_internal.h"

#define LANGUAGES 8  /* with a picture of their own */
#define EDGES     12 /* columns of the table of edges */
#define BANDS_MAX 101

/* The newest stage with bands, in each shard of its run. */
static const char banded[] =
    "CREATE TEMP TABLE banded AS SELECT stage FROM scope_stages WHERE (depth, phase,"
    " ordinal) IN (SELECT depth, phase, ordinal FROM scope_stages WHERE stage IN"
    " (SELECT stage FROM bands) ORDER BY depth DESC, stage DESC LIMIT 1)";

static void put_edge(struct kj_rep *r, double v)
{
    if (isnan(v))
        Z("…");
    else
        P("%.6g", v);
}

/* Columns from 2 on: low, high. */
static void put_interval(struct kj_rep *r, sqlite3_stmt *st, int low)
{
    if (isnan(kj_rep_num(st, low)) && isnan(kj_rep_num(st, low + 1)))
        return;
    put_edge(r, kj_rep_num(st, low));
    Z("–");
    put_edge(r, kj_rep_num(st, low + 1));
}

void kj_rep_cuts(struct kj_rep *r)
{
    int n = 0;
    sqlite3_stmt *st = kj_rep_query(
        r, "SELECT score, 100 * share, low, high, cut, docs, seen, 100 * share_low,"
           " 100 * share_high FROM quantiles WHERE band < 0 AND stage IN (SELECT"
           " max(stage) FROM scope_stages GROUP BY depth, phase, ordinal) ORDER BY"
           " stage");
    while (kj_rep_next(r, st)) {
        if (n++ == 0)
            Z("<h2>Cuts by rank</h2><p class=\"note\">The best share of the corpus,"
              " and the score that it begins with. Of a sample: where the exact cut"
              " lies, and how many documents are above this one, each with a"
              " confidence of 95 %.</p><div class=\"box\"><table><tr><th>score</th><th"
              " class=\"n\">best</th><th class=\"n\">from</th><th class=\"n\">exact cut"
              " in</th><th class=\"n\">in truth</th><th class=\"n\">documents</th><th"
              " class=\"n\">looked at</th></tr>\n");
        Z("<tr><td class=\"w\">");
        kj_put_html(r->out, kj_rep_text(st, 0));
        P("</td><td class=\"n\">%.6g %%</td><td class=\"n\">", kj_rep_num(st, 1));
        put_edge(r, kj_rep_num(st, 4));
        Z("</td><td class=\"n\">");
        put_interval(r, st, 2);
        Z("</td><td class=\"n\">");
        if (!isnan(kj_rep_num(st, 7)))
            P("%.4g–%.4g %%", kj_rep_num(st, 7), kj_rep_num(st, 8));
        Z("</td>");
        kj_rep_cell(r, sqlite3_column_int64(st, 5));
        kj_rep_cell(r, sqlite3_column_int64(st, 6));
        Z("</tr>\n");
    }
    if (n)
        Z("</table></div>\n");
}

/* One language, or all where the row says so: documents by band. Columns: language,
 * name, documents, bytes; language -1 is all. */
static void picture(struct kj_rep *r, sqlite3_stmt *st, int64_t best)
{
    struct kj_column c[BANDS_MAX] = {{{0}, 0}};
    char sql[160], where[48] = "";
    int64_t language = sqlite3_column_int64(st, 0);
    if (language >= 0)
        snprintf(where, sizeof where, " AND language = %lld", (long long)language);
    snprintf(sql, sizeof sql,
             "SELECT band, sum(docs) FROM bands WHERE band >= 0 AND stage IN (SELECT"
             " stage FROM banded)%s GROUP BY band",
             where);
    for (int64_t b = 0; b <= best; b++)
        snprintf(c[b].label, sizeof c[b].label, "%d", (int)b);
    sqlite3_stmt *row = kj_rep_query(r, sql);
    while (kj_rep_next(r, row)) {
        int64_t b = sqlite3_column_int64(row, 0);
        if (b <= best)
            c[b].docs = kj_rep_num(row, 1);
    }
    Z("<div class=\"card\"><h3>");
    kj_put_html_n(r->out, kj_rep_text(st, 1), 40);
    Z("</h3><p>");
    kj_put_count(r->out, sqlite3_column_int64(st, 2));
    Z(" documents, ");
    kj_put_bytes(r->out, kj_rep_num(st, 3));
    Z("</p>");
    kj_plot_columns(r->out, c, (size_t)best + 1, kj_rep_text(st, 1));
    Z("</div>\n");
}

static void pictures(struct kj_rep *r, int64_t best)
{
    char sql[500];
    snprintf(
        sql, sizeof sql,
        "SELECT * FROM (SELECT -1, 'all languages', sum(docs), sum(bytes) FROM bands"
        " WHERE stage IN (SELECT stage FROM banded)) UNION ALL SELECT * FROM (SELECT"
        " language, coalesce(l.code, '(none)'), sum(docs) AS n, sum(bytes) FROM bands"
        " LEFT JOIN languages l USING (language) WHERE stage IN (SELECT stage FROM"
        " banded) GROUP BY language ORDER BY n DESC, 2 LIMIT %d)",
        LANGUAGES);
    int64_t languages = kj_rep_int(r, "SELECT count(DISTINCT language) FROM bands WHERE"
                                      " stage IN (SELECT stage FROM banded)");
    sqlite3_stmt *st = kj_rep_query(r, sql);
    Z("<div class=\"cards\">\n");
    while (kj_rep_next(r, st))
        if (languages > 1 || sqlite3_column_int64(st, 0) < 0) /* one is all */
            picture(r, st, best);
    Z("</div>\n");
    if (languages > LANGUAGES)
        P("<p class=\"note\">%d more languages are in the ledger.</p>\n",
          (int)languages - LANGUAGES);
}

/* From the best band down: what is in it, and in it and above. */
static void counts(struct kj_rep *r)
{
    double most =
        kj_rep_real(r, "SELECT max(n) FROM (SELECT sum(docs) AS n FROM bands WHERE"
                       " stage IN (SELECT stage FROM banded) GROUP BY band)");
    double all = kj_rep_real(r, "SELECT sum(docs) FROM bands WHERE stage IN (SELECT"
                                " stage FROM banded)");
    sqlite3_stmt *st = kj_rep_query(
        r,
        "SELECT band, n, kept, bytes, sum(n) OVER up, sum(bytes) OVER up FROM (SELECT"
        " band, sum(docs) AS n, sum(docs_kept) AS kept, sum(bytes) AS bytes FROM bands"
        " WHERE stage IN (SELECT stage FROM banded) GROUP BY band) WINDOW up AS (ORDER"
        " BY band DESC) ORDER BY band DESC");
    Z("<div class=\"box\"><table><tr><th class=\"n\">band</th><th></th><th class=\"n\">"
      "documents</th><th class=\"n\">text</th><th class=\"n\">from it up</th><th"
      " class=\"n\"></th><th class=\"n\">text</th></tr>\n");
    while (kj_rep_next(r, st)) {
        double n = kj_rep_num(st, 1), kept = kj_rep_num(st, 2);
        if (sqlite3_column_int(st, 0) < 0)
            Z("<tr><td class=\"n\">none</td>");
        else
            P("<tr><td class=\"n\">%d</td>", sqlite3_column_int(st, 0));
        Z("<td style=\"width:40%\">");
        kj_rep_bar(r, " thin", kept / fmax(most, 1), (n - kept) / fmax(most, 1));
        Z("</td>");
        kj_rep_cell(r, (int64_t)n);
        kj_rep_cell_bytes(r, kj_rep_num(st, 3));
        kj_rep_cell(r, sqlite3_column_int64(st, 4));
        kj_rep_cell_percent(r, kj_rep_num(st, 4), all);
        kj_rep_cell_bytes(r, kj_rep_num(st, 5));
        Z("</tr>\n");
    }
    Z("</table></div>\n");
}

/* A row for each score and language, its bands across; a sample's intervals on
 * hovering. */
static void edges(struct kj_rep *r, int64_t best)
{
    char last[300] = "", name[300], sql[400];
    int rows = 0;
    snprintf(
        sql, sizeof sql,
        "SELECT q.score, q.language, q.low, q.high, q.cut, q.band, q.docs, q.seen FROM"
        " quantiles q WHERE band >= 0 AND q.stage = (SELECT min(stage) FROM banded)"
        " ORDER BY max(q.docs) OVER (PARTITION BY q.language) DESC, q.language,"
        " q.score, q.band LIMIT %d",
        (int)(best + 1) * EDGES);
    sqlite3_stmt *st = kj_rep_query(r, sql);
    while (kj_rep_next(r, st)) {
        snprintf(name, sizeof name, "%.200s %.80s", kj_rep_text(st, 0),
                 kj_rep_text(st, 1));
        if (rows == 0) {
            Z("<details><summary>edges of the bands: the lowest score in each</summary>"
              "<div class=\"box\"><table><tr><th>score</th><th class=\"n\">documents"
              "</th><th class=\"n\">looked at</th>");
            for (int64_t b = 0; b <= best; b++)
                P("<th class=\"n\">%d</th>", (int)b);
        }
        if (rows == 0 || strcmp(name, last) != 0) {
            Z("</tr>\n<tr><td>");
            kj_put_html(r->out, name);
            Z("</td>");
            kj_rep_cell(r, sqlite3_column_int64(st, 6));
            kj_rep_cell(r, sqlite3_column_int64(st, 7));
            snprintf(last, sizeof last, "%s", name);
        }
        rows++;
        Z("<td class=\"n\" title=\"");
        put_interval(r, st, 2);
        Z("\">");
        kj_put_value(r->out, kj_rep_num(st, 4));
        Z("</td>");
    }
    if (rows)
        Z("</tr></table></div></details>\n");
}

void kj_rep_bands(struct kj_rep *r)
{
    kj_db_exec(r->l, "DROP TABLE IF EXISTS temp.banded", NULL);
    if (r->rc == KJ_OK)
        r->rc = kj_db_exec(r->l, banded, r->err);
    double best = kj_rep_real(r, "SELECT max(q.band) FROM quantiles q WHERE stage IN"
                                 " (SELECT stage FROM banded)");
    if (best >= 0 && best < BANDS_MAX) {
        Z("<h2>Quality bands</h2><p class=\"note\">Documents by the rank of their"
          " scores; the best of several scores counts, so that of several the upper"
          " bands hold more than their share. Hatched: dropped by their band.</p>\n");
        pictures(r, (int64_t)best);
        counts(r);
        edges(r, (int64_t)best);
    }
    kj_db_exec(r->l, "DROP TABLE IF EXISTS temp.banded", NULL);
}

/* ---- the terminal ---- */

void kj_rep_bands_text(struct kj_rep *r, int width)
{
    if (r->rc == KJ_OK)
        r->rc = kj_db_exec(r->l, banded, r->err);
    double all = kj_rep_real(r, "SELECT sum(docs) FROM bands WHERE stage IN (SELECT"
                                " stage FROM banded)");
    double most =
        kj_rep_real(r, "SELECT max(n) FROM (SELECT sum(docs) AS n FROM bands WHERE"
                       " stage IN (SELECT stage FROM banded) GROUP BY band)");
    sqlite3_stmt *st = kj_rep_query(
        r,
        "SELECT band, n, bytes, sum(n) OVER (ORDER BY band DESC) FROM (SELECT band,"
        " sum(docs) AS n, sum(bytes) AS bytes FROM bands WHERE stage IN (SELECT stage"
        " FROM banded) GROUP BY band) ORDER BY band DESC");
    int rows = 0;
    while (kj_rep_next(r, st)) {
        if (rows++ == 0)
            kj_buf_printf(r->out, "\n%-8s %12s %10s %10s\n", "band", "documents",
                          "text", "and up");
        int band = sqlite3_column_int(st, 0);
        if (band < 0)
            kj_buf_printf(r->out, "%-8s", "none");
        else
            kj_buf_printf(r->out, "%-8d", band);
        struct kj_buf t;
        kj_buf_init(&t, 64);
        kj_put_count(&t, sqlite3_column_int64(st, 1));
        kj_buf_printf(r->out, " %12s", kj_buf_z(&t));
        kj_buf_reset(&t);
        kj_put_bytes(&t, kj_rep_num(st, 2));
        kj_buf_printf(r->out, " %10s", kj_buf_z(&t));
        kj_buf_reset(&t);
        kj_put_percent(&t, kj_rep_num(st, 3), all);
        kj_buf_printf(r->out, " %10s  ", kj_buf_z(&t));
        kj_buf_release(&t);
        kj_put_bar(r->out, kj_rep_num(st, 1) / fmax(most, 1),
                   width > 60 ? 46 - width : -8);
        kj_buf_addc(r->out, '\n');
    }
    kj_db_exec(r->l, "DROP TABLE IF EXISTS temp.banded", NULL);
}
