/* report_copies.c - the report's answer to "which copy was kept, and why":
 * removal by source, the largest clusters with their members, and copies
 * beside what stayed, their differences marked.
 *
 * Differences are those of words (what stands between white space), by the
 * longest common subsequence of at most DIFF_WORDS of each text, after what
 * both begin and end with. Long stretches that are equal are cut short. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "manifests/report_internal.h"

#define DIFF_WORDS  1000
#define DIFF_AROUND 12 /* equal words shown on each side of a difference */
#define PAIRS       8
#define MEMBERS     10
#define ALARM_DOCS  50 /* as in kijil dedup */

/* ---- differences ---- */

struct word {
    const char *p;
    size_t n, gap; /* bytes; of white space behind it */
    uint64_t hash;
    bool same; /* stands in the other text as well */
};

struct words {
    struct word v[DIFF_WORDS];
    size_t n;
    bool more; /* the text goes on */
};

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static void split(const char *z, struct words *w)
{
    w->n = 0;
    while (is_space(*z))
        z++;
    for (; *z && w->n < DIFF_WORDS; w->n++) {
        struct word *x = &w->v[w->n];
        *x = (struct word){.p = z};
        while (z[x->n] && !is_space(z[x->n]))
            x->n++;
        while (is_space(z[x->n + x->gap]))
            x->gap++;
        x->hash = kj_hash64(x->p, x->n, 0);
        z += x->n + x->gap;
    }
    w->more = *z != 0;
}

/* Mark what both have, by dynamic programming over what is between the common
 * beginning and end. */
static void compare(struct words *a, struct words *b)
{
    size_t lo = 0, end_a = a->n, end_b = b->n;
    while (lo < end_a && lo < end_b && a->v[lo].hash == b->v[lo].hash) {
        a->v[lo].same = b->v[lo].same = true;
        lo++;
    }
    while (end_a > lo && end_b > lo && a->v[end_a - 1].hash == b->v[end_b - 1].hash)
        a->v[--end_a].same = b->v[--end_b].same = true;
    size_t n = end_a - lo, m = end_b - lo;
    if (!n || !m)
        return;
    /* len[i][k]: of the longest common subsequence of a from i and b from k */
    uint16_t *len = kj_xcalloc((n + 1) * (m + 1), sizeof *len);
    for (size_t i = n; i-- > 0;)
        for (size_t k = m; k-- > 0;) {
            uint16_t skip_a = len[(i + 1) * (m + 1) + k],
                     skip_b = len[i * (m + 1) + k + 1];
            len[i * (m + 1) + k] = a->v[lo + i].hash == b->v[lo + k].hash
                                       ? (uint16_t)(len[(i + 1) * (m + 1) + k + 1] + 1)
                                   : skip_a > skip_b ? skip_a
                                                     : skip_b;
        }
    for (size_t i = 0, k = 0; i < n && k < m;) {
        if (a->v[lo + i].hash == b->v[lo + k].hash)
            a->v[lo + i++].same = b->v[lo + k++].same = true;
        else if (len[(i + 1) * (m + 1) + k] >= len[i * (m + 1) + k + 1])
            i++;
        else
            k++;
    }
    free(len);
}

static void put_word(struct kj_rep *r, const struct word *w)
{
    char z[256];
    size_t n = w->n < sizeof z - 1 ? w->n : sizeof z - 1;
    while (n < w->n && n > 0 && ((unsigned char)w->p[n] & 0xC0) == 0x80)
        n--; /* not within a character */
    memcpy(z, w->p, n);
    z[n] = 0;
    kj_put_html(r->out, z);
    if (n < w->n)
        Z("…");
}

/* One text; what the other lacks within tag. */
static void put_marked(struct kj_rep *r, const struct words *w, const char *tag)
{
    for (size_t i = 0; i < w->n;) {
        size_t end = i;
        while (end < w->n && w->v[end].same == w->v[i].same)
            end++;
        bool same = w->v[i].same;
        size_t first = i == 0 ? 4 : DIFF_AROUND, last = end == w->n ? 4 : DIFF_AROUND;
        size_t left_out =
            same && end - i > first + last + 2 ? end - i - first - last : 0;
        if (!same)
            P("<%s>", tag);
        for (size_t k = i; k < end; k++) {
            if (left_out && k == i + first) {
                P("<i>… %zu words …</i> ", left_out);
                k += left_out;
            }
            put_word(r, &w->v[k]);
            if (k + 1 < end)
                Z(" ");
        }
        if (!same)
            P("</%s>", tag);
        Z(" ");
        i = end;
    }
    if (w->more)
        Z("<i>… and so on</i>");
}

static void put_place(struct kj_rep *r, const char *id, const char *url)
{
    kj_put_html_n(r->out, *url ? url : id, 90);
}

/* A removed text beside the kept one. Columns: id, url, similarity, text of the
 * one, then id, url, text of the other. */
static void put_pair(struct kj_rep *r, sqlite3_stmt *st)
{
    struct words *a = kj_xcalloc(1, sizeof *a), *b = kj_xcalloc(1, sizeof *b);
    split(kj_rep_text(st, 3), a);
    split(kj_rep_text(st, 6), b);
    compare(a, b);
    Z("<div class=\"pair\"><div class=\"ex d\"><small>removed · similarity ");
    kj_put_value(r->out, kj_rep_num(st, 2));
    Z(" · ");
    put_place(r, kj_rep_text(st, 0), kj_rep_text(st, 1));
    Z("</small>");
    put_marked(r, a, "del");
    Z("</div><div class=\"ex\"><small>kept · ");
    put_place(r, kj_rep_text(st, 4), kj_rep_text(st, 5));
    Z("</small>");
    put_marked(r, b, "ins");
    Z("</div></div>\n");
    free(a);
    free(b);
}

/* ---- clusters ---- */

static void put_members(struct kj_rep *r, const char *cluster)
{
    char sql[900];
    snprintf(
        sql, sizeof sql,
        "SELECT d.id, coalesce(d.url, ''), coalesce(n.name, ''), d.bytes,"
        " c.similarity, NOT EXISTS (SELECT 1 FROM decisions x JOIN stages s USING"
        " (stage) WHERE x.doc = c.doc AND x.kept = 0 AND s.name = 'dedup') AS kept"
        " FROM clusters c JOIN documents d USING (doc) LEFT JOIN sources n USING"
        " (source) WHERE c.cluster = '%.40s' ORDER BY kept DESC, d.bytes DESC, d.id"
        " LIMIT %d",
        cluster, MEMBERS);
    Z("<table><tr><th></th><th>document</th><th>source</th><th class=\"n\">text</th><th"
      " class=\"n\">similarity</th></tr>\n");
    sqlite3_stmt *st = kj_rep_query(r, sql);
    while (kj_rep_next(r, st)) {
        Z(sqlite3_column_int(st, 5) ? "<tr><td><b>kept</b></td><td class=\"w\">"
                                    : "<tr><td>removed</td><td class=\"w\">");
        put_place(r, kj_rep_text(st, 0), kj_rep_text(st, 1));
        Z("</td><td class=\"w\">");
        kj_put_html_n(r->out, kj_rep_text(st, 2), 40);
        Z("</td>");
        kj_rep_cell_bytes(r, kj_rep_num(st, 3));
        Z("<td class=\"n\">");
        kj_put_value(r->out, kj_rep_num(st, 4));
        Z("</td></tr>\n");
    }
    Z("</table>");
}

/* Pairs of one cluster, those that differ first; or (NULL) pairs that differ of
 * clusters picked by their hash. */
static int put_pairs(struct kj_rep *r, const char *cluster, int most)
{
    char sql[900];
    int n = 0;
    snprintf(sql, sizeof sql,
             "SELECT a.id, coalesce(a.url, ''), a.similarity, a.text, b.id,"
             " coalesce(b.url, ''), b.text FROM copies a JOIN copies b ON b.cluster ="
             " a.cluster AND b.kept AND NOT a.kept %s%.40s%s ORDER BY a.text = b.text,"
             " row_number() OVER (PARTITION BY a.cluster ORDER BY a.similarity,"
             " a.member), b.hash < 0, b.hash LIMIT %d",
             cluster ? "WHERE a.cluster = '" : "WHERE a.text <> b.text",
             cluster ? cluster : "", cluster ? "'" : "", most);
    sqlite3_stmt *st = kj_rep_query(r, sql);
    while (kj_rep_next(r, st)) {
        if (n++ == 0 && !cluster)
            Z("<h2>Copies beside what was kept</h2><p class=\"note\">Clusters picked by"
              " the hash of their ids, and in each the member least similar to its"
              " keeper. Marked: words that the other text lacks.</p>\n");
        put_pair(r, st);
    }
    return n;
}

/* Cluster ids go into statements: take only what dedup writes. */
static bool is_plain(const char *z)
{
    size_t n =
        strspn(z, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-");
    return n && !z[n] && n <= 40;
}

static void largest(struct kj_rep *r)
{
    struct {
        char id[48], why[400];
        int64_t size;
    } v[KJ_COPIES_LARGEST] = {{{0}, {0}, 0}};
    size_t n = 0;
    sqlite3_stmt *st = kj_rep_query(
        r, "SELECT p.cluster, p.size, (SELECT u.name || ': ' || coalesce(u.about, '')"
           " FROM clusters c JOIN decisions x ON x.doc = c.doc AND x.kept = 0 JOIN"
           " rules u USING (rule) WHERE c.cluster = p.cluster LIMIT 1) AS why FROM"
           " (SELECT DISTINCT cluster, size, hash FROM copies) p WHERE EXISTS (SELECT 1"
           " FROM copies k WHERE k.cluster = p.cluster AND k.kept) ORDER BY p.size"
           " DESC, p.hash < 0, p.hash LIMIT 6");
    while (kj_rep_next(r, st)) {
        if (n == KJ_COPIES_LARGEST || !is_plain(kj_rep_text(st, 0)))
            continue;
        snprintf(v[n].id, sizeof v[n].id, "%s", kj_rep_text(st, 0));
        snprintf(v[n].why, sizeof v[n].why, "%s", kj_rep_text(st, 2));
        v[n++].size = sqlite3_column_int64(st, 1);
    }
    if (!n)
        return;
    Z("<h2>Largest clusters</h2><p class=\"note\">Which copy was kept, and by which"
      " rule.</p>\n");
    for (size_t i = 0; i < n; i++) {
        Z("<details class=\"box\"><summary><b>");
        kj_put_count(r->out, v[i].size);
        P("</b> documents · cluster %s · ", v[i].id);
        kj_put_html(r->out, v[i].why);
        Z("</summary>");
        put_members(r, v[i].id);
        put_pairs(r, v[i].id, 2);
        Z("</details>\n");
    }
}

/* ---- sources ---- */

#define ALARM                                                                          \
    "coalesce((SELECT max(CAST(value AS REAL)) FROM config JOIN scope USING (run) "    \
    "WHERE"                                                                            \
    " key = 'alarm'), 0.5)" /* the option's default */

const char kj_rep_removals[] =
    "WITH seen AS (SELECT x.doc, max(x.stage = d.stage AND NOT x.kept) AS gone FROM"
    " stages d JOIN scope_stages USING (stage) JOIN stages s ON s.run = d.run AND "
    "s.phase"
    " = d.phase AND s.ordinal >= d.ordinal JOIN decisions x ON x.stage = s.stage WHERE"
    " d.name = 'dedup' GROUP BY x.doc) SELECT coalesce(n.name, ''), count(*) AS docs,"
    " sum(gone) AS out, count(*) >= 50 AND sum(gone) > count(*) * " ALARM " AS loud"
    " FROM seen JOIN documents USING (doc) LEFT JOIN sources n USING (source) GROUP BY"
    " source ORDER BY loud DESC, out DESC, 1 LIMIT 25";

double kj_rep_alarm(struct kj_rep *r)
{
    return kj_rep_real(r, "SELECT " ALARM);
}

static void sources(struct kj_rep *r)
{
    double alarm = kj_rep_alarm(r);
    int n = 0;
    sqlite3_stmt *st = kj_rep_query(r, kj_rep_removals);
    while (kj_rep_next(r, st)) {
        double docs = kj_rep_num(st, 1), out = kj_rep_num(st, 2);
        if (n++ == 0) {
            Z("<h2>What deduplication took from each source</h2><p class=\"note\">Those"
              " that lose most");
            P("; an alarm where more than %.3g %% of %d documents or more went.</p><div"
              " class=\"box\"><table><tr><th>source</th><th></th><th class=\"n\">"
              "documents</th><th class=\"n\">removed</th><th class=\"n\"></th></tr>\n",
              100 * alarm, ALARM_DOCS);
        }
        Z("<tr><td class=\"w\">");
        kj_put_html_n(r->out, *kj_rep_text(st, 0) ? kj_rep_text(st, 0) : "(none)", 60);
        if (sqlite3_column_int(st, 3))
            Z(" <span class=\"badge bad\">alarm</span>");
        P("</td><td style=\"width:30%%\"><div class=\"bar thin\"><i class=\"f\""
          " style=\"width:%.2f%%\"></i></div></td>",
          docs > 0 ? 100 * out / docs : 0);
        kj_rep_cell(r, (int64_t)docs);
        kj_rep_cell(r, (int64_t)out);
        kj_rep_cell_percent(r, out, docs);
        Z("</tr>\n");
    }
    if (n)
        Z("</table></div>\n");
}

void kj_rep_copies(struct kj_rep *r)
{
    sources(r);
    largest(r);
    put_pairs(r, NULL, PAIRS);
}
