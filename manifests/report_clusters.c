/* report_clusters.c - the report's section on near duplicates. */
#include <stdio.h>

#include "manifests/report_internal.h"

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

void kj_rep_clusters(struct kj_rep *r)
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
        " THEN '8–15' WHEN size < 64 THEN '16+' WHEN size < 1024 THEN"
        " '64+' ELSE '1024+' END, count(*) FROM c WHERE size > 1 GROUP BY 1"
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
        kj_rep_cell(r, sqlite3_column_int64(st, 1));
        Z("</tr>");
    }
    Z("</table></div></div>\n");
}
