/* report_rules.c - the report's sections on rules: which took out how much,
 * alone and first, and for each its histogram, its cut and examples. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "manifests/report_internal.h"

#define RULE_CARDS   70
#define EXAMPLES     3 /* of each side of a rule */
#define EXAMPLES_FAR 2
#define EXAMPLE_LEN  240

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
        r, "WITH c AS (SELECT rule, sum(failed) AS failed, sum(alone) AS alone FROM "
           "cuts JOIN"
           " scope_stages USING (stage) WHERE threshold IS NOT NULL GROUP BY rule)"
           " SELECT u.name, sum(x.docs) AS n, sum(x.bytes), t.op, t.at, u.about,"
           " max(x.damaged), u.unit, CASE WHEN c.failed > 0 THEN c.alone END FROM "
           "reasons x"
           " JOIN scope_stages USING (stage) JOIN rules u USING (rule) LEFT JOIN c ON"
           " c.rule = x.rule LEFT JOIN rule_cuts t ON t.rule = x.rule"
           " GROUP BY u.rule ORDER BY n DESC, u.name LIMIT 40");
    while (kj_rep_next(r, st)) {
        double n = kj_rep_num(st, 1);
        Z("<tr><td class=\"w\" title=\"");
        kj_put_html(r->out, kj_rep_text(st, 5));
        Z("\">");
        kj_put_html(r->out, kj_rep_text(st, 0));
        Z(sqlite3_column_int(st, 6) ? " <span class=\"soft\">damaged</span></td><td>"
                                    : "</td><td>");
        if (*kj_rep_text(st, 4)) {
            kj_put_html(r->out, kj_rep_text(st, 3));
            Z(" ");
            kj_put_html(r->out, kj_rep_text(st, 4));
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

static void example(struct kj_rep *r, sqlite3_stmt *st, int kept, size_t chars)
{
    P("<div class=\"ex%s\"><small>", kept ? "" : " d");
    if (!isnan(kj_rep_num(st, 3))) {
        kj_put_value(r->out, kj_rep_num(st, 3));
        Z(" · ");
    }
    if (*kj_rep_text(st, 2)) {
        kj_put_html(r->out, kj_rep_text(st, 2));
        Z(" · ");
    }
    kj_put_html_n(r->out, *kj_rep_text(st, 1) ? kj_rep_text(st, 1) : kj_rep_text(st, 0),
                  90);
    Z("</small><q>");
    kj_put_html_n(r->out, kj_rep_text(st, 4), chars);
    Z("</q></div>");
}

void kj_rep_kept(struct kj_rep *r)
{
    sqlite3_stmt *st = kj_rep_query(
        r, "SELECT s.id, s.url, s.language, s.value, s.excerpt FROM samples s WHERE"
           " rule = 0 AND NOT EXISTS (SELECT 1 FROM documents d JOIN decisions x USING"
           " (doc) WHERE d.id = s.id AND d.copy = 0 AND x.kept = 0) ORDER BY rank,"
           " hash < 0, hash LIMIT 12");
    int n = 0;
    while (kj_rep_next(r, st)) {
        if (n++ == 0)
            Z("<h2>What stays</h2><p class=\"note\">Documents picked by the hash of "
              "their"
              " id.</p><div class=\"two\">\n");
        example(r, st, 1, KJ_EXCERPT_CHARS);
    }
    if (n)
        Z("</div>\n");
}

/* Examples of one card: documents dropped, dropped far beyond the cut, kept. */
static void examples(struct kj_rep *r, int64_t card, int kept, int far,
                     const char *title)
{
    char sql[600];
    int n = 0;
    /* What a later stage took out after all is no example of what stays; what is
     * among the nearest is none of what is far. */
    snprintf(
        sql, sizeof sql,
        "SELECT s.id, s.url, s.language, s.value, s.excerpt FROM samples s JOIN cards c"
        " ON c.rule = s.rule AND c.cut IN (s.cut, -1) WHERE c.card = %lld AND kept = %d"
        " AND far = %d AND NOT (kept AND EXISTS (SELECT 1 FROM documents d JOIN"
        " decisions x USING (doc) WHERE d.id = s.id AND d.copy = 0 AND x.kept = 0)) AND"
        " NOT (far AND EXISTS (SELECT 1 FROM samples z WHERE z.rule = s.rule AND z.cut "
        "="
        " s.cut AND z.far = 0 AND z.kept = 0 AND z.id = s.id)) ORDER BY rank, hash < 0,"
        " hash LIMIT %d",
        (long long)card, kept, far, far ? EXAMPLES_FAR : EXAMPLES);
    sqlite3_stmt *st = kj_rep_query(r, sql);
    while (kj_rep_next(r, st)) {
        if (n++ == 0)
            P("<p class=\"side\">%s</p>", title);
        example(r, st, kept, EXAMPLE_LEN);
    }
}

static struct kj_hist load_hist(struct kj_rep *r, int64_t card)
{
    struct kj_hist h = {.threshold = NAN};
    size_t cap = 0;
    char sql[240];
    snprintf(
        sql, sizeof sql,
        "SELECT lo, hi, sum(docs), sum(dropped) FROM histograms h JOIN cards c USING"
        " (rule, cut) WHERE c.card = %lld GROUP BY bucket ORDER BY lo",
        (long long)card);
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

/* "what is measured (where language=ko)": the part before, or inside. Of a card
 * for several cuts the abouts are joined by '|'. */
static void put_about(struct kj_rep *r, const char *abouts)
{
    const char *end = strstr(abouts, " (where ");
    size_t n = strcspn(abouts, "|");
    if (end && (size_t)(end - abouts) < n)
        n = (size_t)(end - abouts);
    char *z = kj_xstrndup(abouts, n);
    kj_put_html(r->out, z);
    free(z);
}

static void put_scopes(struct kj_rep *r, const char *abouts)
{
    for (const char *p = abouts; (p = strstr(p, " (where ")) != NULL;) {
        p += 8;
        size_t n = strcspn(p, "|");
        char *z = kj_xstrndup(p, n && p[n - 1] == ')' ? n - 1 : n);
        Z("<span class=\"chip\">");
        kj_put_html(r->out, z);
        Z("</span>");
        free(z);
    }
}

/* Columns: card, name, op, threshold, dropped first, about, unit, alone. */
static void rule_card(struct kj_rep *r, sqlite3_stmt *st, double all)
{
    int64_t card = sqlite3_column_int64(st, 0);
    double dropped = kj_rep_num(st, 4);
    struct kj_hist h = load_hist(r, card);
    h.op = kj_rep_text(st, 2);
    h.threshold = kj_rep_num(st, 3);
    h.label = kj_rep_text(st, 1);
    Z("<div class=\"card\"><h3>");
    kj_put_html(r->out, h.label);
    put_scopes(r, kj_rep_text(st, 5));
    Z("</h3><p>");
    put_about(r, kj_rep_text(st, 5));
    if (*kj_rep_text(st, 6)) {
        Z(" [");
        kj_put_html(r->out, kj_rep_text(st, 6));
        Z("]");
    }
    Z("</p>");
    if (h.n)
        kj_plot_hist(r->out, &h);
    if (dropped > 0) {
        Z("<p class=\"took\"><b>");
        kj_put_count(r->out, (int64_t)dropped);
        Z("</b> dropped first (");
        kj_put_percent(r->out, dropped, all);
        Z(")");
        if (!isnan(kj_rep_num(st, 7))) {
            Z(", <b>");
            kj_put_count(r->out, (int64_t)kj_rep_num(st, 7));
            Z("</b> alone (");
            kj_put_percent(r->out, kj_rep_num(st, 7), all);
            Z(")");
        }
        Z("</p><details><summary>examples</summary>");
        bool cut = !isnan(h.threshold);
        examples(r, card, 0, 0, cut ? "dropped, nearest the cut" : "dropped");
        examples(r, card, 0, 1, "dropped, farthest beyond it");
        examples(r, card, 1, 0, "kept, nearest the cut");
        Z("</details>");
    }
    Z("</div>\n");
    free(h.bins);
}

/* A card for each rule and threshold: groups of a recipe that share a threshold
 * share a card, those that differ have their own. Cut 0: no cut; -1: a rule that
 * drops and measures nothing. */
static const char make_cards[] =
    "CREATE TEMP TABLE cut_list AS"
    " SELECT h.rule, h.cut, nullif(coalesce(c.op, t.op), '') AS op,"
    "   coalesce(c.threshold, t.threshold) AS threshold, c.about, c.failed, c.alone"
    " FROM (SELECT rule, cut FROM histograms UNION SELECT rule, cut FROM samples WHERE"
    "   rule > 0) h LEFT JOIN cuts c ON c.cut = h.cut LEFT JOIN (SELECT rule, max(op) "
    "AS"
    "   op, max(threshold) AS threshold FROM thresholds JOIN scope_stages USING (stage)"
    "   WHERE threshold IS NOT NULL GROUP BY rule) t ON h.cut = 0 AND t.rule = h.rule"
    " WHERE h.cut = 0 OR c.stage IN (SELECT stage FROM scope_stages)"
    " UNION ALL SELECT DISTINCT rule, -1, NULL, NULL, NULL, 0, 0 FROM reasons JOIN"
    "   scope_stages USING (stage) WHERE rule NOT IN (SELECT rule FROM histograms UNION"
    "   SELECT rule FROM samples);"
    "CREATE TEMP TABLE cards AS SELECT dense_rank() OVER (ORDER BY rule, op, threshold)"
    " AS card, * FROM cut_list";

static const char card_rows[] =
    "WITH h AS (SELECT rule, cut, sum(dropped) AS dropped FROM histograms GROUP BY 1, "
    "2),"
    " x AS (SELECT rule, sum(docs) AS n FROM reasons JOIN scope_stages USING (stage)"
    "   GROUP BY rule)"
    " SELECT card, u.name, op, threshold, CASE WHEN sum(h.dropped) > 0 THEN"
    "   sum(h.dropped) WHEN count(*) OVER (PARTITION BY c.rule) = 1 THEN coalesce(x.n, "
    "0)"
    "   ELSE 0 END AS n,"
    "   coalesce(replace(group_concat(DISTINCT c.about), ',' || u.about, '|' ||"
    "   u.about), u.about), u.unit, CASE WHEN sum(failed) > 0 THEN sum(alone) END"
    " FROM cards c JOIN rules u USING (rule) LEFT JOIN h ON h.rule = c.rule AND h.cut ="
    "   c.cut LEFT JOIN x ON x.rule = c.rule"
    " WHERE u.rule > 0 GROUP BY card ORDER BY n DESC, threshold IS NULL, u.name, card";

void kj_rep_rules(struct kj_rep *r)
{
    double all = kj_rep_real(r, "SELECT docs_in FROM steps ORDER BY rowid LIMIT 1");
    int cards = 0;
    bool tail = false;
    if (r->rc == KJ_OK)
        r->rc = kj_db_exec(r->l, make_cards, r->err);
    sqlite3_stmt *st = kj_rep_query(r, card_rows);
    while (kj_rep_next(r, st)) {
        bool plain = kj_rep_num(st, 4) == 0 && isnan(kj_rep_num(st, 3));
        if (cards == 0 && !plain)
            Z("<h2>Rules and their cuts</h2><p class=\"note\">The values that each rule"
              " measured, on all documents that it was applied to, with its cut for "
              "these"
              " documents. The tinted side is dropped.</p>"
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
    kj_db_exec(r->l,
               "DROP TABLE IF EXISTS temp.cards; DROP TABLE IF EXISTS temp.cut_list",
               NULL);
}
