/* report_html.c - the report as one page. Sections in the order of questions:
 * what came of it, where did documents go, by which rules and cuts, in which
 * languages and sources, what does the near-duplicate search say, what do the
 * documents look like, did training work, and what exactly was run. */
#include "manifests/report.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "manifests/report_internal.h"

#define RULE_CARDS  60
#define EXAMPLES    3 /* of each side of a rule */
#define EXAMPLE_LEN 240
#define TABLE_ROWS  25

#define P(...) kj_buf_printf(r->out, __VA_ARGS__)
#define Z(z)   kj_buf_addz(r->out, z)

/* ------------------------------------------------------------------ pieces */

static void tile(struct kj_rep *r, const char *label)
{
    P("</b><span>%s</span></div>", label);
}

static void put_bar(struct kj_rep *r, const char *class, double a, double b)
{
    P("<div class=\"bar%s\"><i style=\"width:%.2f%%\"></i>", class, 100 * a);
    if (b > 0)
        P("<i class=\"d\" style=\"width:%.2f%%\"></i>", 100 * b);
    Z("</div>");
}

static void cell(struct kj_rep *r, int64_t n)
{
    Z("<td class=\"n\">");
    kj_put_count(r->out, n);
    Z("</td>");
}

static void cell_bytes(struct kj_rep *r, double n)
{
    Z("<td class=\"n\">");
    kj_put_bytes(r->out, n);
    Z("</td>");
}

static void cell_percent(struct kj_rep *r, double part, double whole)
{
    Z("<td class=\"n\">");
    kj_put_percent(r->out, part, whole);
    Z("</td>");
}

/* ------------------------------------------------------------------ the top */

static void head(struct kj_rep *r)
{
    Z("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none';"
      " style-src 'unsafe-inline'\"><title>kijil report</title>\n<style>");
    Z(kj_report_css);
    Z("</style></head>\n<body><main>\n<header><h1>");
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
        put_bar(r, "", kept / fmax(most, 1), (in - kept) / fmax(most, 1));
        Z("</td>");
        cell(r, (int64_t)kept);
        cell(r, (int64_t)(in - kept));
        cell_percent(r, in - kept, in);
        Z("<td>");
        put_bar(r, " thin", b_kept / fmax(bytes, 1),
                fmax(0, b_in - b_kept) / fmax(bytes, 1));
        Z("</td>");
        if (b_kept == 0 && kept > 0) { /* records that are no text yet */
            Z(rate > 0 ? "<td></td><td></td></tr>\n" : "<td></td></tr>\n");
            continue;
        }
        cell_bytes(r, b_kept);
        if (rate > 0)
            cell(r, (int64_t)(b_kept * rate));
        Z("</tr>\n");
    }
    Z("</table></div>\n");
}

static void reasons(struct kj_rep *r)
{
    double in = kj_rep_real(r, "SELECT docs_in FROM steps ORDER BY rowid LIMIT 1");
    double most =
        kj_rep_real(r, "SELECT max(n) FROM (SELECT sum(docs) AS n FROM reasons"
                       " JOIN scope_stages USING (stage) GROUP BY rule)");
    if (isnan(most))
        return;
    Z("<h2>Why they went</h2><p class=\"note\">Each dropped document is counted once, "
      "under"
      " the first rule that took it out.</p><div class=\"box\"><table><tr><th>rule</th>"
      "<th>drops</th><th>documents</th><th class=\"n\"></th><th class=\"n\">of all</th>"
      "<th class=\"n\">text</th><th class=\"n\" title=\"passing every other rule of the"
      " stage: what would stay without this one\">alone</th></tr>\n");
    sqlite3_stmt *st = kj_rep_query(
        r,
        "SELECT u.name, sum(x.docs) AS n, sum(x.bytes), max(t.op), max(t.threshold),"
        " u.about, max(x.damaged), u.unit, sum((SELECT sum(alone) FROM cuts c WHERE"
        " c.stage = x.stage AND c.rule = x.rule)) FROM reasons x JOIN scope_stages"
        " USING (stage) JOIN rules u USING (rule) LEFT JOIN thresholds t ON t.stage ="
        " x.stage AND t.rule = x.rule GROUP BY u.rule ORDER BY n DESC, u.name LIMIT"
        " 40");
    while (kj_rep_next(r, st)) {
        double n = kj_rep_num(st, 1);
        Z("<tr><td class=\"w\" title=\"");
        kj_put_html(r->out, kj_rep_text(st, 5));
        Z("\">");
        kj_put_html(r->out, kj_rep_text(st, 0));
        Z(sqlite3_column_int(st, 6) ? " <span class=\"soft\">damaged</span></td><td>"
                                    : "</td><td>");
        if (!isnan(kj_rep_num(st, 4))) {
            kj_put_html(r->out, kj_rep_text(st, 3));
            Z(" ");
            kj_put_value(r->out, kj_rep_num(st, 4));
            Z(" <span class=\"soft\">");
            kj_put_html(r->out, kj_rep_text(st, 7));
            Z("</span>");
        }
        P("</td><td style=\"width:30%%\"><div class=\"bar thin\"><i class=\"f\""
          " style=\"width:%.2f%%\"></i></div></td>",
          100 * n / most);
        cell(r, (int64_t)n);
        cell_percent(r, n, in);
        cell_bytes(r, kj_rep_num(st, 2));
        if (isnan(kj_rep_num(st, 8)))
            Z("<td class=\"n\">–</td>");
        else
            cell(r, (int64_t)kj_rep_num(st, 8));
        Z("</tr>\n");
    }
    Z("</table></div>\n");
}

/* ------------------------------------------------------------------- rules */

static void examples(struct kj_rep *r, int64_t rule, int kept, const char *title)
{
    char sql[400];
    int n = 0;
    /* What a later stage took out after all is no example of what stays. */
    snprintf(
        sql, sizeof sql,
        "SELECT s.id, s.url, s.language, s.value, s.excerpt FROM samples s WHERE"
        " rule = %lld AND kept = %d AND NOT (kept AND EXISTS (SELECT 1 FROM documents"
        " d JOIN decisions x USING (doc) WHERE d.id = s.id AND d.copy = 0 AND x.kept ="
        " 0)) ORDER BY rank, hash < 0, hash LIMIT %d",
        (long long)rule, kept, rule ? EXAMPLES : 12);
    sqlite3_stmt *st = kj_rep_query(r, sql);
    while (kj_rep_next(r, st)) {
        if (n++ == 0 && title)
            P("<p style=\"margin-bottom:0\">%s</p>", title);
        P("<div class=\"ex%s\"><small>", kept ? "" : " d");
        if (!isnan(kj_rep_num(st, 3))) {
            kj_put_value(r->out, kj_rep_num(st, 3));
            Z(" · ");
        }
        if (*kj_rep_text(st, 2)) {
            kj_put_html(r->out, kj_rep_text(st, 2));
            Z(" · ");
        }
        kj_put_html_n(
            r->out, *kj_rep_text(st, 1) ? kj_rep_text(st, 1) : kj_rep_text(st, 0), 90);
        Z("</small><q>");
        kj_put_html_n(r->out, kj_rep_text(st, 4),
                      rule ? EXAMPLE_LEN : KJ_EXCERPT_CHARS);
        Z("</q></div>");
    }
}

static struct kj_hist load_hist(struct kj_rep *r, int64_t rule)
{
    struct kj_hist h = {.threshold = NAN};
    size_t cap = 0;
    char sql[120];
    snprintf(
        sql, sizeof sql,
        "SELECT lo, hi, docs, dropped FROM histograms WHERE rule = %lld ORDER BY lo",
        (long long)rule);
    sqlite3_stmt *st = kj_rep_query(r, sql);
    while (kj_rep_next(r, st)) {
        if (h.n == cap) {
            cap = cap ? 2 * cap : 64;
            h.bins = kj_xrealloc(h.bins, cap * sizeof *h.bins);
        }
        h.bins[h.n++] = (struct kj_bin){kj_rep_num(st, 0), kj_rep_num(st, 1),
                                        kj_rep_num(st, 2), kj_rep_num(st, 3)};
    }
    return h;
}

static void rule_card(struct kj_rep *r, sqlite3_stmt *st, double all)
{
    int64_t rule = sqlite3_column_int64(st, 0);
    double dropped = kj_rep_num(st, 4);
    struct kj_hist h = load_hist(r, rule);
    h.op = kj_rep_text(st, 2);
    h.threshold = kj_rep_num(st, 3);
    h.label = kj_rep_text(st, 1);
    Z("<div class=\"card\"><h3>");
    kj_put_html(r->out, h.label);
    Z("</h3><p>");
    if (dropped > 0) {
        Z("<b>");
        kj_put_count(r->out, (int64_t)dropped);
        Z("</b> dropped first (");
        kj_put_percent(r->out, dropped, all);
        Z(")");
        if (!isnan(kj_rep_num(st, 8))) {
            Z(", <b>");
            kj_put_count(r->out, (int64_t)kj_rep_num(st, 8));
            Z("</b> alone (");
            kj_put_percent(r->out, kj_rep_num(st, 8), all);
            Z(")");
        }
        Z(" · ");
    }
    kj_put_html(r->out, *kj_rep_text(st, 5) ? kj_rep_text(st, 5) : "");
    if (*kj_rep_text(st, 6)) {
        Z(" [");
        kj_put_html(r->out, kj_rep_text(st, 6));
        Z("]");
    }
    Z("</p>");
    if (h.n)
        kj_plot_hist(r->out, &h);
    if (dropped > 0) {
        Z("<details><summary>examples</summary>");
        examples(r, rule, 0,
                 isnan(h.threshold) ? "dropped" : "dropped, nearest the cut");
        examples(r, rule, 1, "kept, nearest the cut");
        Z("</details>");
    }
    Z("</div>\n");
    free(h.bins);
}

static void rules(struct kj_rep *r)
{
    double all = kj_rep_real(r, "SELECT docs_in FROM steps ORDER BY rowid LIMIT 1");
    int cards = 0;
    bool tail = false;
    sqlite3_stmt *st = kj_rep_query(
        r,
        "WITH t AS (SELECT rule, max(op) AS op, max(threshold) AS threshold FROM"
        " thresholds JOIN scope_stages USING (stage) WHERE threshold IS NOT NULL GROUP"
        " BY rule), x AS (SELECT rule, sum(docs) AS n FROM reasons JOIN scope_stages"
        " USING (stage) GROUP BY rule), o AS (SELECT rule, sum(alone) AS alone FROM "
        "cuts"
        " JOIN scope_stages USING (stage) GROUP BY rule)"
        " SELECT u.rule, u.name, t.op, t.threshold, coalesce(x.n, 0) AS n, u.about,"
        " u.unit, t.rule IS NOT NULL AS cuts, o.alone FROM rules u LEFT JOIN t USING"
        " (rule) LEFT JOIN x USING (rule) LEFT JOIN o USING (rule) WHERE u.rule > 0 "
        "AND (x.n > 0 OR u.rule IN (SELECT rule"
        " FROM histograms)) ORDER BY n DESC, cuts DESC, u.name");
    while (kj_rep_next(r, st)) {
        bool plain = kj_rep_num(st, 4) == 0 && !sqlite3_column_int(st, 7);
        if (cards == 0 && !plain)
            Z("<h2>Rules and their cuts</h2><p class=\"note\">The values that each rule"
              " measured, on all documents that it saw. The tinted side is dropped.</p>"
              "<div class=\"legend\"><span><i></i>within the cut</span>"
              "<span><i class=\"f\"></i>dropped by this rule first</span><span><i"
              " class=\"o\"></i>beyond the cut, dropped by an earlier rule</span></div>"
              "<div class=\"cards\">\n");
        if (plain && !tail) {
            if (cards)
                Z("</div>\n");
            Z("<details><summary>other measured values</summary><div "
              "class=\"cards\">\n");
            tail = true;
        }
        if (++cards <= RULE_CARDS || r->rc)
            rule_card(r, st, all);
    }
    if (cards)
        Z("</div>\n");
    if (tail)
        Z("</details>\n");
    if (cards > RULE_CARDS)
        P("<p class=\"note\">%d more values are in the ledger.</p>\n",
          cards - RULE_CARDS);
}

/* --------------------------------------------------- languages and sources */

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
        Z("</td><td style=\"width:26%\">");
        put_bar(r, " thin", kept / fmax(most, 1), (docs - kept) / fmax(most, 1));
        Z("</td>");
        cell(r, (int64_t)docs);
        cell(r, (int64_t)kept);
        cell_percent(r, kept, docs);
        cell_bytes(r, kj_rep_num(st, 3));
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

/* ---------------------------------------------------------------- clusters */

static void cluster_columns(struct kj_rep *r, const char *sql, const char *label)
{
    struct kj_column c[64] = {{{0}, 0}};
    size_t n = 0;
    sqlite3_stmt *st = kj_rep_query(r, sql);
    while (kj_rep_next(r, st))
        if (n < 64) {
            snprintf(c[n].label, sizeof c[n].label, "%s", kj_rep_text(st, 0));
            c[n++].docs = kj_rep_num(st, 1);
        }
    if (n)
        kj_plot_columns(r->out, c, n, label);
}

static void clusters(struct kj_rep *r)
{
    if (!kj_rep_int(r, "SELECT count(*) FROM (SELECT 1 FROM clusters LIMIT 1)"))
        return;
    Z("<h2>Near duplicates</h2><div class=\"cards\"><div class=\"card\"><h3>Cluster "
      "size"
      "</h3><p>clusters, by documents in them</p>");
    cluster_columns(
        r,
        "WITH c AS (SELECT cluster, max(size, count(*)) AS size FROM clusters"
        " GROUP BY cluster) SELECT CASE WHEN size < 8 THEN size WHEN size < 16"
        " THEN '8–15' WHEN size < 64 THEN '16–63' WHEN size < 1024 THEN"
        " '64–1023' ELSE '1024+' END, count(*) FROM c WHERE size > 1 GROUP BY 1"
        " ORDER BY min(size)",
        "Cluster size");
    Z("</div><div class=\"card\"><h3>Similarity to the keeper</h3><p>documents, by "
      "measured"
      " similarity</p>");
    cluster_columns(
        r,
        "WITH RECURSIVE k(b) AS (SELECT (SELECT min(19, CAST(min(similarity) *"
        " 20 AS INTEGER)) FROM clusters) UNION ALL SELECT b + 1 FROM k WHERE b"
        " < 20), n AS (SELECT CAST(similarity * 20 + 1e-9 AS INTEGER) AS b,"
        " count(*) AS n FROM clusters WHERE similarity IS NOT NULL GROUP BY 1)"
        " SELECT printf('%.2f', b / 20.0), coalesce(n.n, 0) FROM k LEFT JOIN n"
        " USING (b) ORDER BY b",
        "Similarity");
    Z("</div><div class=\"card\"><h3>Largest clusters</h3><table><tr><th>keeper</th><th"
      " class=\"n\">size</th></tr>");
    sqlite3_stmt *st = kj_rep_query(
        r,
        "SELECT coalesce(min(d.url), c.keeper), max(max(c.size), count(*)) AS n FROM"
        " clusters c LEFT JOIN documents d ON d.id = c.keeper AND d.copy = 0 GROUP BY"
        " c.cluster ORDER BY n DESC, 1 LIMIT 6");
    while (kj_rep_next(r, st)) {
        Z("<tr><td class=\"w\">");
        kj_put_html_n(r->out, kj_rep_text(st, 0), 70);
        Z("</td>");
        cell(r, sqlite3_column_int64(st, 1));
        Z("</tr>");
    }
    Z("</table></div></div>\n");
}

/* ---------------------------------------------------------------- training */

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

static void training(struct kj_rep *r)
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
        cell_bytes(r, kj_rep_num(st, 7));
        cell_bytes(r, wall > 0 ? kj_rep_num(st, 7) / wall : 0);
        Z("</tr>\n");
    }
    Z("</table>\n");
}

static void config_table(struct kj_rep *r)
{
    Z("<details><summary>configuration</summary><table>");
    sqlite3_stmt *st =
        kj_rep_query(r, "SELECT DISTINCT stage, key, value FROM config JOIN scope USING"
                        " (run) ORDER BY stage, key LIMIT 400");
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
        cell_bytes(r, kj_rep_num(st, 2));
        if (isnan(kj_rep_num(st, 3)))
            Z("<td></td>");
        else
            cell(r, sqlite3_column_int64(st, 3));
        Z("<td><code>");
        kj_put_html(r->out, kj_rep_text(st, 4));
        Z("</code></td></tr>\n");
    }
    Z("</table></details></div>\n");
}

int kj_report_html(struct kj_ledger *l, const char *version, struct kj_buf *out,
                   struct kj_err *err)
{
    struct kj_rep rep, *r = &rep;
    int rc = kj_rep_open(r, l, out, err);
    if (rc == KJ_OK) {
        head(r);
        tiles(r);
        waterfall(r);
        reasons(r);
        rules(r);
        places(r);
        clusters(r);
        training(r);
        if (kj_rep_int(r, "SELECT count(*) FROM samples WHERE rule = 0")) {
            Z("<h2>What stays</h2><p class=\"note\">Documents picked by the hash of "
              "their"
              " id.</p><div class=\"two\">\n");
            examples(r, 0, 1, NULL);
            Z("</div>\n");
        }
        runs_table(r);
        config_table(r);
        files_table(r);
        P("<footer>Made by kijil %s from the ledger; every number on this page can be "
          "asked"
          " of it with SQL.</footer></main></body></html>\n",
          version);
        rc = r->rc;
    }
    kj_rep_close(r);
    return rc;
}
