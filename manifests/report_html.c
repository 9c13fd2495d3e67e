/* report_html.c - the report as one page. Sections in the order of questions:
 * what came of it, where did documents go, by which rules and cuts, in which
 * languages and sources, what does the near-duplicate search say, what do the
 * documents look like, did training work, what can the model do, and what exactly
 * was run. A section
 * that is more than a table has its own file, report_SECTION.c. */
#include "manifests/report.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "manifests/report_internal.h"

#define TABLE_ROWS 25

/* ------------------------------------------------------------------ pieces */

void kj_rep_bar(struct kj_rep *r, const char *class, double solid, double hatched)
{
    P("<div class=\"bar%s\"><i style=\"width:%.2f%%\"></i>", class, 100 * solid);
    if (hatched > 0)
        P("<i class=\"d\" style=\"width:%.2f%%\"></i>", 100 * hatched);
    Z("</div>");
}

void kj_rep_cell(struct kj_rep *r, int64_t n)
{
    Z("<td class=\"n\">");
    kj_put_count(r->out, n);
    Z("</td>");
}

void kj_rep_cell_bytes(struct kj_rep *r, double n)
{
    Z("<td class=\"n\">");
    kj_put_bytes(r->out, n);
    Z("</td>");
}

void kj_rep_cell_percent(struct kj_rep *r, double part, double whole)
{
    Z("<td class=\"n\">");
    kj_put_percent(r->out, part, whole);
    Z("</td>");
}

/* ------------------------------------------------------------------ the top */

static void tile(struct kj_rep *r, const char *label)
{
    P("</b><span>%s</span></div>", label);
}

static void head(struct kj_rep *r)
{
    Z("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none';"
      " style-src 'unsafe-inline'\">");
    if (r->refresh)
        P("<meta http-equiv=\"refresh\" content=\"%d\">", r->refresh);
    Z("<title>kijil report</title>\n<style>");
    Z(kj_report_css);
    Z("</style></head>\n<body><main>\n<header><h1>");
    if (r->no_runs) {
        Z("kijil</h1></header>\n");
        return;
    }
    sqlite3_stmt *st = kj_rep_query(
        r, "SELECT group_concat(name, ' → '), min(started), max(finished) FROM (SELECT"
           " DISTINCT c.depth, r.name, r.started, r.finished FROM runs r JOIN scope c"
           " USING (run) GROUP BY c.depth, r.name ORDER BY c.depth)");
    while (kj_rep_next(r, st)) {
        Z("kijil ");
        kj_put_html_n(r->out, kj_rep_text(st, 0), 120);
        P("</h1><span class=\"soft\">%.16s UTC</span>", kj_rep_text(st, 1));
    }
    if (r->balanced)
        Z("<span class=\"badge\">books balance</span></header>\n");
    else {
        Z("<span class=\"badge bad\">books do not balance</span></header>\n"
          "<div class=\"warn\">");
        kj_put_html(r->out, r->why);
        Z("</div>\n");
    }
}

static void tiles(struct kj_rep *r)
{
    double in = kj_rep_real(r, "SELECT docs_in FROM steps ORDER BY rowid LIMIT 1");
    double kept =
        kj_rep_real(r, "SELECT docs_kept FROM steps ORDER BY rowid DESC LIMIT 1");
    double text =
        kj_rep_real(r, "SELECT bytes_kept FROM steps ORDER BY rowid DESC LIMIT 1");
    double tokens = kj_rep_real(r, "SELECT sum(tokens_kept) FROM shares");
    double wall = kj_rep_real(r, "SELECT max(wall) FROM runs JOIN scope USING (run)");
    double bytes =
        kj_rep_real(r, "SELECT bytes_in FROM runs JOIN scope USING (run) ORDER"
                       " BY depth, run LIMIT 1");
    Z("<div class=\"tiles\"><div class=\"tile\"><b>");
    kj_put_count(r->out, (int64_t)(isnan(in) ? 0 : in));
    tile(r, "documents in");
    Z("<div class=\"tile\"><b>");
    kj_put_count(r->out, (int64_t)(isnan(kept) ? 0 : kept));
    tile(r, "documents kept");
    Z("<div class=\"tile\"><b>");
    kj_put_percent(r->out, kept, in);
    tile(r, "share kept");
    Z("<div class=\"tile\"><b>");
    kj_put_bytes(r->out, text);
    tile(r, "of text kept");
    if (tokens > 0) {
        Z("<div class=\"tile\"><b>");
        kj_put_count(r->out, (int64_t)tokens);
        tile(r, "tokens kept");
    }
    if (wall > 0) {
        P("<div class=\"tile\"><b>%.*f s", wall < 100 ? 1 : 0, wall);
        tile(r, "wall time");
        Z("<div class=\"tile\"><b>");
        kj_put_bytes(r->out, bytes / wall);
        tile(r, "read per second");
    }
    Z("</div>\n");
}

static void waterfall(struct kj_rep *r)
{
    double most = kj_rep_real(r, "SELECT max(docs_in) FROM steps");
    double bytes =
        kj_rep_real(r, "SELECT max(max(bytes_in * (ordinal > 0), bytes_kept))"
                       " FROM steps");
    /* Tokens are counted at the end; earlier stages go by bytes per token. */
    double rate = kj_rep_real(r, "SELECT sum(tokens_kept) / sum(bytes_kept * 1.0) FROM"
                                 " shares WHERE tokens_kept > 0");
    char last[256] = "";
    Z("<h2>Where documents went</h2><p class=\"note\">What each stage left, and, "
      "hatched,"
      " what it took out. Bars of documents and of text have their own scale.</p>"
      "<div class=\"box\"><table class=\"fall\"><tr><th>stage</th><th>documents</th>"
      "<th class=\"n\">left</th><th class=\"n\">dropped</th><th class=\"n\">of "
      "stage</th>"
      "<th>text</th><th class=\"n\"></th>");
    Z(rate > 0 ? "<th class=\"n\">≈ tokens</th></tr>\n" : "</tr>\n");
    sqlite3_stmt *st = kj_rep_query(r, "SELECT name, docs_in, docs_kept, bytes_in * "
                                       "(ordinal > 0), bytes_kept, command,"
                                       " phase FROM"
                                       " steps ORDER BY rowid");
    while (kj_rep_next(r, st)) {
        double in = kj_rep_num(st, 1), kept = kj_rep_num(st, 2);
        double b_in = kj_rep_num(st, 3), b_kept = kj_rep_num(st, 4);
        char group[256];
        snprintf(group, sizeof group, "%.100s%s%.100s", kj_rep_text(st, 5),
                 *kj_rep_text(st, 6) ? " · " : "", kj_rep_text(st, 6));
        if (strcmp(group, last) != 0 && strcmp(group, kj_rep_text(st, 0)) != 0) {
            Z("<tr class=\"run\"><td colspan=\"8\">");
            kj_put_html(r->out, group);
            Z("</td></tr>\n");
            snprintf(last, sizeof last, "%s", group);
        }
        Z("<tr><td><b>");
        kj_put_html(r->out, kj_rep_text(st, 0));
        Z("</b></td><td>");
        kj_rep_bar(r, "", kept / fmax(most, 1), (in - kept) / fmax(most, 1));
        Z("</td>");
        kj_rep_cell(r, (int64_t)kept);
        kj_rep_cell(r, (int64_t)(in - kept));
        kj_rep_cell_percent(r, in - kept, in);
        Z("<td>");
        kj_rep_bar(r, " thin", b_kept / fmax(bytes, 1),
                   fmax(0, b_in - b_kept) / fmax(bytes, 1));
        Z("</td>");
        if (b_kept == 0 && kept > 0) { /* records that are no text yet */
            Z(rate > 0 ? "<td></td><td></td></tr>\n" : "<td></td></tr>\n");
            continue;
        }
        kj_rep_cell_bytes(r, b_kept);
        if (rate > 0)
            kj_rep_cell(r, (int64_t)(b_kept * rate));
        Z("</tr>\n");
    }
    Z("</table></div>\n");
}

/* --------------------------------------------------- languages and sources */

/* What could not be read: how much by each fault, and where the first ones are. */
static void damage(struct kj_rep *r)
{
    int n = 0;
    sqlite3_stmt *st = kj_rep_query(
        r,
        "WITH bad AS (SELECT rule, sum(docs) AS docs FROM reasons JOIN scope_stages "
        "USING"
        " (stage) WHERE damaged GROUP BY rule), places AS (SELECT rule, d.id, a.name,"
        " d.offset, row_number() OVER (PARTITION BY x.rule ORDER BY d.doc) AS k FROM"
        " decisions x JOIN scope_stages USING (stage) JOIN bad USING (rule) JOIN"
        " documents d USING (doc) LEFT JOIN archives a USING (archive) WHERE x.kept = "
        "0)"
        " SELECT u.name, bad.docs, p.k, p.id, p.name, p.offset FROM bad JOIN rules u"
        " USING (rule) LEFT JOIN places p ON p.rule = bad.rule AND p.k <= 4 ORDER BY"
        " bad.docs DESC, u.name, p.k LIMIT 60");
    while (kj_rep_next(r, st)) {
        bool first = sqlite3_column_int64(st, 2) <= 1;
        if (n++ == 0)
            Z("<h2>Damage</h2><p class=\"note\">Input that could not be read. It costs"
              " itself only; the first places of each fault.</p><div class=\"box\">"
              "<table><tr><th>fault</th><th class=\"n\">records</th><th>archive</th><th"
              " class=\"n\">offset</th><th>record</th></tr>\n");
        Z("<tr><td>");
        kj_put_html(r->out, first ? kj_rep_text(st, 0) : "");
        Z("</td>");
        if (first)
            kj_rep_cell(r, sqlite3_column_int64(st, 1));
        else
            Z("<td></td>");
        Z("<td class=\"w\"><code>");
        kj_put_html_n(r->out, kj_rep_text(st, 4), 120);
        Z("</code></td>");
        if (isnan(kj_rep_num(st, 5)))
            Z("<td></td>");
        else
            kj_rep_cell(r, sqlite3_column_int64(st, 5));
        Z("<td class=\"w\"><code>");
        kj_put_html_n(r->out, kj_rep_text(st, 3), 90);
        Z("</code></td></tr>\n");
    }
    if (n)
        Z("</table></div>\n");
}

static void shares(struct kj_rep *r, const char *title, const char *sql)
{
    double most = 0;
    int rows = 0;
    sqlite3_stmt *st = kj_rep_query(r, sql);
    P("<div class=\"box\"><table><tr><th>%s</th><th></th><th class=\"n\">in</th><th"
      " class=\"n\">kept</th><th class=\"n\"></th><th class=\"n\">text "
      "kept</th></tr>\n",
      title);
    while (kj_rep_next(r, st)) {
        double docs = kj_rep_num(st, 1), kept = kj_rep_num(st, 2);
        most = rows++ ? most : docs;
        Z("<tr><td class=\"w\">");
        kj_put_html_n(r->out, *kj_rep_text(st, 0) ? kj_rep_text(st, 0) : "(none)", 60);
        Z("</td><td style=\"width:20%\">");
        kj_rep_bar(r, " thin", kept / fmax(most, 1), (docs - kept) / fmax(most, 1));
        Z("</td>");
        kj_rep_cell(r, (int64_t)docs);
        kj_rep_cell(r, (int64_t)kept);
        kj_rep_cell_percent(r, kept, docs);
        kj_rep_cell_bytes(r, kj_rep_num(st, 3));
        Z("</tr>\n");
    }
    Z("</table>");
    Z("</div>\n");
}

static void places(struct kj_rep *r)
{
    char sql[400];
    int64_t n_sources = kj_rep_int(r, "SELECT count(DISTINCT source) FROM shares");
    Z("<h2>Languages and sources</h2><p class=\"note\">");
    kj_put_count(r->out, n_sources);
    P(" sources; the %d largest are shown. Hatched: dropped at any stage.</p><div"
      " class=\"two\">\n",
      TABLE_ROWS);
    snprintf(
        sql, sizeof sql,
        "SELECT coalesce(l.code, ''), sum(docs) AS n, sum(docs_kept), sum(bytes_kept)"
        " FROM shares LEFT JOIN languages l USING (language) GROUP BY language"
        " ORDER BY n DESC, 1 LIMIT %d",
        TABLE_ROWS);
    shares(r, "language", sql);
    snprintf(
        sql, sizeof sql,
        "SELECT coalesce(s.name, ''), sum(docs) AS n, sum(docs_kept), sum(bytes_kept)"
        " FROM shares LEFT JOIN sources s USING (source) GROUP BY source"
        " ORDER BY n DESC, 1 LIMIT %d",
        TABLE_ROWS);
    shares(r, "source", sql);
    Z("</div>\n");
}

/* ------------------------------------------------------------------- facts */

static void runs_table(struct kj_rep *r)
{
    Z("<h2>What was run</h2><div class=\"box\"><table><tr><th>run</th><th>command</th>"
      "<th>version</th><th>started</th><th>status</th><th class=\"n\">wall</th><th"
      " class=\"n\">CPU</th><th class=\"n\">read</th><th class=\"n\">per "
      "second</th></tr>\n");
    sqlite3_stmt *st = kj_rep_query(
        r, "SELECT r.run, coalesce(r.command, r.name), r.version, r.started, r.status,"
           " r.wall, r.cpu, r.bytes_in FROM runs r JOIN scope c USING (run) ORDER BY"
           " c.depth, r.run LIMIT 200");
    while (kj_rep_next(r, st)) {
        double wall = kj_rep_num(st, 5);
        P("<tr><td>%lld</td><td class=\"w\"><code>",
          (long long)sqlite3_column_int64(st, 0));
        kj_put_html_n(r->out, kj_rep_text(st, 1), 400);
        Z("</code></td><td>");
        kj_put_html(r->out, kj_rep_text(st, 2));
        P("</td><td>%.19s</td><td>%s</td><td class=\"n\">%.2f s</td><td "
          "class=\"n\">%.2f s"
          "</td>",
          kj_rep_text(st, 3), kj_rep_text(st, 4), wall > 0 ? wall : 0,
          kj_rep_num(st, 6) > 0 ? kj_rep_num(st, 6) : 0);
        kj_rep_cell_bytes(r, kj_rep_num(st, 7));
        kj_rep_cell_bytes(r, wall > 0 ? kj_rep_num(st, 7) / wall : 0);
        Z("</tr>\n");
    }
    Z("</table>\n");
}

static void config_table(struct kj_rep *r)
{
    Z("<details><summary>configuration</summary><table>");
    sqlite3_stmt *st =
        kj_rep_query(r, "SELECT stage, key, value FROM (SELECT DISTINCT c.stage, key,"
                        " value, phase, ordinal FROM config c JOIN scope USING (run)"
                        " LEFT JOIN stages s ON s.stage = c.number) ORDER BY phase,"
                        " ordinal, key LIMIT 400");
    while (kj_rep_next(r, st)) {
        for (int i = 0; i < 3; i++) {
            Z(i ? "<td class=\"w\"><code>" : "<tr><td>");
            kj_put_html_n(r->out, kj_rep_text(st, i), 300);
            Z(i ? "</code></td>" : "</td>");
        }
        Z("</tr>\n");
    }
    Z("</table></details>\n");
}

static void files_table(struct kj_rep *r)
{
    Z("<details><summary>inputs and "
      "outputs</summary><table><tr><th>"
      "</th><th>path</th><th class=\"n\">bytes</th><th "
      "class=\"n\">documents</th><th>content"
      " hash</th></tr>");
    sqlite3_stmt *st = kj_rep_query(
        r, "SELECT 'in', path, bytes, NULL, '' FROM inputs JOIN scope USING (run) "
           "UNION ALL"
           " SELECT 'out', path, bytes, docs, hash FROM outputs JOIN scope USING (run)"
           " LIMIT 400");
    while (kj_rep_next(r, st)) {
        P("<tr><td>%s</td><td class=\"w\"><code>", kj_rep_text(st, 0));
        kj_put_html_n(r->out, kj_rep_text(st, 1), 200);
        Z("</code></td>");
        kj_rep_cell_bytes(r, kj_rep_num(st, 2));
        if (isnan(kj_rep_num(st, 3)))
            Z("<td></td>");
        else
            kj_rep_cell(r, sqlite3_column_int64(st, 3));
        Z("<td><code>");
        kj_put_html(r->out, kj_rep_text(st, 4));
        Z("</code></td></tr>\n");
    }
    Z("</table></details></div>\n");
}

static void foot(struct kj_rep *r, const char *version)
{
    P("<footer>Made by kijil %s from the ledger; every number on this page can be asked"
      " of it with SQL.</footer></main></body></html>\n",
      version);
}

static void models(struct kj_rep *r, const char *version)
{
    head(r);
    kj_rep_training(r);
    kj_rep_scores(r);
    foot(r, version);
}

int kj_report_training(struct kj_ledger *l, const char *series, const char *version,
                       int refresh, struct kj_buf *out, struct kj_err *err)
{
    struct kj_rep rep = {.l = l,
                         .out = out,
                         .err = err,
                         .no_runs = true,
                         .series = series,
                         .refresh = refresh};
    models(&rep, version);
    return rep.rc;
}

int kj_report_html(struct kj_ledger *l, const char *version, struct kj_buf *out,
                   struct kj_err *err)
{
    struct kj_rep rep, *r = &rep;
    int rc = kj_rep_open(r, l, out, err);
    if (rc == KJ_OK && r->no_runs) {
        models(r, version);
        rc = r->rc;
    } else if (rc == KJ_OK) {
        bool docs = kj_rep_int(r, "SELECT count(*) FROM steps") > 0;
        head(r);
        if (docs) {
            tiles(r);
            waterfall(r);
        }
        kj_rep_reasons(r);
        kj_rep_rules(r);
        kj_rep_cuts(r);
        kj_rep_bands(r);
        if (docs)
            places(r);
        damage(r);
        kj_rep_clusters(r);
        kj_rep_copies(r);
        kj_rep_training(r);
        kj_rep_scores(r);
        kj_rep_refine(r);
        kj_rep_kept(r);
        runs_table(r);
        config_table(r);
        files_table(r);
        foot(r, version);
        rc = r->rc;
    }
    kj_rep_close(r);
    return rc;
}
