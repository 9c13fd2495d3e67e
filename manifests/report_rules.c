/* report_rules.c - the report's sections on rules: which took out how much,
 * alone and first, and for each its histogram, its cut and examples. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "manifests/report_internal.h"

#define RULE_CARDS  60
#define EXAMPLES    3 /* of each side of a rule */
#define EXAMPLE_LEN 240

void kj_rep_reasons(struct kj_rep *r)
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
        kj_rep_cell(r, (int64_t)n);
        kj_rep_cell_percent(r, n, in);
        kj_rep_cell_bytes(r, kj_rep_num(st, 2));
        if (isnan(kj_rep_num(st, 8)))
            Z("<td class=\"n\">–</td>");
        else
            kj_rep_cell(r, (int64_t)kj_rep_num(st, 8));
        Z("</tr>\n");
    }
    Z("</table></div>\n");
}

void kj_rep_examples(struct kj_rep *r, int64_t rule, int kept, const char *title)
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
        kj_rep_examples(r, rule, 0,
                        isnan(h.threshold) ? "dropped" : "dropped, nearest the cut");
        kj_rep_examples(r, rule, 1, "kept, nearest the cut");
        Z("</details>");
    }
    Z("</div>\n");
    free(h.bins);
}

void kj_rep_rules(struct kj_rep *r)
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
