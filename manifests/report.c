/* report.c - what both forms of the report ask of the ledger, and the summary
 * for the terminal. */
#include "manifests/report.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"
#include "manifests/report_internal.h"

/* ------------------------------------------------------------ the questions */

sqlite3_stmt *kj_rep_query(struct kj_rep *r, const char *sql)
{
    sqlite3_stmt *st = NULL;
    if (r->rc == KJ_OK)
        r->rc = kj_db_query(r->l, &st, r->err, sql, "");
    return st;
}

bool kj_rep_next(struct kj_rep *r, sqlite3_stmt *st)
{
    if (!st)
        return false;
    int s = r->rc == KJ_OK ? sqlite3_step(st) : SQLITE_DONE;
    if (s == SQLITE_ROW)
        return true;
    if (s != SQLITE_DONE)
        r->rc = kj_db_fail(r->l, "ledger", r->err);
    sqlite3_finalize(st);
    return false;
}

int64_t kj_rep_int(struct kj_rep *r, const char *sql)
{
    double v = kj_rep_real(r, sql);
    return isnan(v) ? 0 : (int64_t)v;
}

double kj_rep_real(struct kj_rep *r, const char *sql)
{
    double v = NAN;
    sqlite3_stmt *st = kj_rep_query(r, sql);
    while (kj_rep_next(r, st))
        v = kj_rep_num(st, 0);
    return v;
}

const char *kj_rep_text(sqlite3_stmt *st, int col)
{
    const char *z = (const char *)sqlite3_column_text(st, col);
    return z ? z : "";
}

double kj_rep_num(sqlite3_stmt *st, int col)
{
    return sqlite3_column_type(st, col) == SQLITE_NULL ? NAN
                                                       : sqlite3_column_double(st, col);
}

/* The newest run, its other shards, and all whose output they read. */
static const char tables[] =
    "CREATE TEMP TABLE scope AS WITH RECURSIVE"
    " tip AS (SELECT * FROM runs WHERE run = (SELECT max(run) FROM run_order WHERE"
    "   depth = (SELECT max(depth) FROM run_order WHERE first = (SELECT first FROM"
    "   run_order WHERE run = (SELECT max(run) FROM runs))) AND first = (SELECT first"
    "   FROM run_order WHERE run = (SELECT max(run) FROM runs)))),"
    " up(run) AS (SELECT r.run FROM runs r, tip t WHERE r.run = t.run OR"
    "   (t.shard IS NOT NULL AND r.name = t.name AND r.config_hash = t.config_hash AND"
    "   substr(r.shard, instr(r.shard, '/')) = substr(t.shard, instr(t.shard, '/')))"
    "   UNION SELECT r.parent FROM runs r JOIN up USING (run) WHERE r.parent IS NOT "
    "NULL)"
    " SELECT run, depth FROM up JOIN run_order USING (run);"
    "CREATE TEMP TABLE scope_stages AS SELECT stage, s.run, depth, ordinal, phase FROM"
    " main.stages s JOIN scope USING (run);"
    "CREATE INDEX temp.scope_stages_i ON scope_stages (stage);"
    "CREATE TEMP TABLE steps AS SELECT min(s.stage) AS stage, r.name AS command, "
    "s.phase,"
    " s.ordinal, s.name, sum(s.docs_in) AS docs_in, sum(s.docs_kept) AS docs_kept,"
    " sum(s.bytes_in) AS bytes_in, sum(s.bytes_kept) AS bytes_kept"
    " FROM main.stages s JOIN scope_stages c USING (stage) JOIN runs r ON r.run = s.run"
    " WHERE s.ordinal > 0 OR s.docs_in > s.docs_kept OR s.stage = (SELECT min(stage) "
    "FROM"
    " scope_stages JOIN scope USING (run) WHERE scope.depth = (SELECT min(depth) FROM"
    " scope)) OR NOT EXISTS (SELECT 1 FROM main.stages z WHERE z.run = s.run AND "
    "z.phase ="
    " s.phase AND z.ordinal > 0)"
    " GROUP BY c.depth, r.name, s.phase, s.ordinal, s.name"
    " ORDER BY c.depth, min(s.stage);"
    "CREATE TEMP TABLE shares AS SELECT source, language, count(*) AS docs,"
    " sum(1 - out) AS docs_kept, sum(bytes) AS bytes, sum((1 - out) * bytes) AS"
    " bytes_kept, sum((1 - out) * tokens) AS tokens_kept FROM (SELECT doc,"
    " max(1 - kept) AS out FROM decisions WHERE stage IN (SELECT stage FROM"
    " scope_stages) GROUP BY doc) JOIN documents USING (doc) GROUP BY source, language;"
    /* The cuts of a rule in all groups of a recipe: "0.95 or 0.8". */
    "CREATE TEMP TABLE rule_cuts AS SELECT rule, min(op) AS op, replace(group_concat("
    "DISTINCT printf('%.10g', threshold)), ',', ' or ') AS at FROM (SELECT rule, op,"
    " threshold FROM cuts JOIN scope_stages USING (stage) WHERE op != 'off' UNION ALL"
    " SELECT rule, op, threshold FROM thresholds t JOIN scope_stages USING (stage) "
    "WHERE"
    " NOT EXISTS (SELECT 1 FROM cuts c WHERE c.stage = t.stage AND c.rule = t.rule))"
    " WHERE threshold IS NOT NULL GROUP BY rule";

void kj_rep_close(struct kj_rep *r)
{
    sqlite3_exec(
        r->l->db,
        "DROP TABLE IF EXISTS temp.scope; DROP TABLE IF EXISTS temp.scope_stages;"
        "DROP TABLE IF EXISTS temp.steps; DROP TABLE IF EXISTS temp.shares;"
        "DROP TABLE IF EXISTS temp.rule_cuts",
        NULL, NULL, NULL);
}

int kj_rep_open(struct kj_rep *r, struct kj_ledger *l, struct kj_buf *out,
                struct kj_err *err)
{
    struct kj_err e = KJ_ERR_INIT;
    *r = (struct kj_rep){.l = l, .out = out, .err = err};
    kj_rep_close(r);
    r->rc = kj_db_exec(l, tables, err);
    if (r->rc == KJ_OK && !kj_rep_int(r, "SELECT count(*) FROM scope")) {
        r->no_runs = true;
        if (!kj_rep_int(r, "SELECT (SELECT count(*) FROM metrics) + (SELECT count(*)"
                           " FROM scores)"))
            r->rc = kj_err_set(err, KJ_FAIL, "%s: no run is recorded here", l->path);
        return r->rc;
    }
    if (r->rc == KJ_OK) {
        r->balanced = kj_ledger_reconcile(l, NULL, &e) == KJ_OK;
        snprintf(r->why, sizeof r->why, "%s", e.msg);
    }
    return r->rc;
}

/* ------------------------------------------------------ numbers for people */

void kj_put_count(struct kj_buf *b, int64_t n)
{
    char t[32];
    int len = snprintf(t, sizeof t, "%" PRId64, n);
    for (int i = 0; i < len; i++) {
        kj_buf_addc(b, t[i]);
        if (t[i] != '-' && (len - 1 - i) % 3 == 0 && i + 1 < len)
            kj_buf_addc(b, ',');
    }
}

void kj_put_bytes(struct kj_buf *b, double n)
{
    static const char *const unit[] = {"B", "kB", "MB", "GB", "TB", "PB"};
    int u = 0;
    if (isnan(n))
        n = 0;
    while (n >= 1000 && u < 5) {
        n /= 1000;
        u++;
    }
    kj_buf_printf(b, u && n < 99.95 ? "%.1f %s" : "%.0f %s", n, unit[u]);
}

void kj_put_percent(struct kj_buf *b, double part, double whole)
{
    double p = whole > 0 ? 100 * part / whole : 0;
    kj_buf_printf(b, p && p < 0.95 ? "%.2f %%" : "%.1f %%", p);
}

void kj_put_value(struct kj_buf *b, double v)
{
    if (isnan(v))
        return;
    if (fabs(v) >= 10000 && fabs(v) < 1e15)
        kj_put_count(b, (int64_t)llround(v));
    else
        kj_buf_printf(b, "%.4g", v);
}

/* ------------------------------------------------------------------ escapes */

void kj_put_html_n(struct kj_buf *b, const char *z, size_t chars)
{
    size_t n = strlen(z), len;
    for (size_t i = 0; i < n; i += len) {
        uint32_t c = kj_utf8_next(z + i, n - i, &len);
        char out[4];
        if (chars-- == 0) {
            kj_buf_addz(b, " …");
            return;
        }
        if (c == '&')
            kj_buf_addz(b, "&amp;");
        else if (c == '<')
            kj_buf_addz(b, "&lt;");
        else if (c == '>')
            kj_buf_addz(b, "&gt;");
        else if (c == '"')
            kj_buf_addz(b, "&quot;");
        else if (c == '\'')
            kj_buf_addz(b, "&#39;");
        else if (c == '\r' && z[i + len] == '\n')
            continue; /* a line end of HTTP or Windows */
        else if ((c < 0x20 && c != '\n' && c != '\t') || (c >= 0x7F && c < 0xA0))
            kj_buf_addz(b, "�");
        else
            kj_buf_add(b, out, kj_utf8_put(c, out));
    }
}

void kj_put_html(struct kj_buf *b, const char *z)
{
    kj_put_html_n(b, z, (size_t)-1);
}

/* ------------------------------------------------------------ the terminal */

void kj_put_bar(struct kj_buf *b, double share, int width)
{
    static const char *const eighth[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
    bool pad = width > 0;
    width = pad ? width : -width;
    int n = (int)lround(8 * width * (share < 0 ? 0 : share > 1 ? 1 : share));
    if (n == 0 && share > 0)
        n = 1;
    int cols = 0;
    for (; n >= 8; n -= 8, cols++)
        kj_buf_addz(b, "█");
    if (n > 0) {
        kj_buf_addz(b, eighth[n]);
        cols++;
    }
    for (; pad && cols < width; cols++)
        kj_buf_addc(b, ' ');
}

/* Text in exactly `width` columns (wide Hangul and Han count two), controls
 * dropped: a page's host name is not to move the cursor. */
void kj_put_cell(struct kj_buf *b, const char *z, int width)
{
    size_t n = strlen(z), len;
    int cols = 0;
    for (size_t i = 0; i < n; i += len) {
        uint32_t c = kj_utf8_next(z + i, n - i, &len);
        int w = (c >= 0x1100 && c <= 0x115F) || (c >= 0x2E80 && c <= 0xA4CF) ||
                        (c >= 0xAC00 && c <= 0xD7A3) || (c >= 0xF900 && c <= 0xFAFF) ||
                        (c >= 0xFF00 && c <= 0xFF60) || (c >= 0x20000 && c <= 0x3FFFD)
                    ? 2
                    : 1;
        char out[4];
        if (c < 0x20 || (c >= 0x7F && c < 0xA0))
            continue;
        if (cols + w > width)
            break;
        kj_buf_add(b, out, kj_utf8_put(c, out));
        cols += w;
    }
    for (; cols < width; cols++)
        kj_buf_addc(b, ' ');
}

static void put_right(struct kj_buf *b, int64_t n, int width)
{
    struct kj_buf t;
    kj_buf_init(&t, 64);
    kj_put_count(&t, n);
    for (size_t i = t.n; (int)i < width; i++)
        kj_buf_addc(b, ' ');
    kj_buf_add(b, t.p, t.n);
    kj_buf_release(&t);
}

static void text_head(struct kj_rep *r)
{
    sqlite3_stmt *st = kj_rep_query(
        r, "SELECT r.run, r.name, r.version, r.command, r.started, r.status, r.wall,"
           " r.bytes_in FROM runs r JOIN scope c USING (run) ORDER BY c.depth, r.run");
    while (kj_rep_next(r, st)) {
        kj_buf_printf(r->out, "run %lld  kijil %s %s  %.19s  %s",
                      (long long)sqlite3_column_int64(st, 0), kj_rep_text(st, 1),
                      kj_rep_text(st, 2), kj_rep_text(st, 4), kj_rep_text(st, 5));
        double wall = kj_rep_num(st, 6), bytes = kj_rep_num(st, 7);
        if (wall > 0) {
            kj_buf_printf(r->out, "  %.1f s, ", wall);
            kj_put_bytes(r->out, bytes / wall);
            kj_buf_addz(r->out, "/s");
        }
        kj_buf_addc(r->out, '\n');
    }
}

static void text_waterfall(struct kj_rep *r, int width)
{
    double most = kj_rep_real(r, "SELECT max(docs_in) FROM steps");
    int bar = width - 50;
    sqlite3_stmt *st = kj_rep_query(
        r, "SELECT name, docs_in, docs_kept, bytes_kept FROM steps ORDER BY rowid");
    kj_buf_printf(r->out, "\n%-18s %12s %8s  %s\n", "stage", "documents", "kept",
                  "text");
    while (kj_rep_next(r, st)) {
        double in = kj_rep_num(st, 1), kept = kj_rep_num(st, 2);
        kj_put_cell(r->out, kj_rep_text(st, 0), 18);
        put_right(r->out, (int64_t)kept, 13);
        kj_buf_printf(r->out, " %6.1f %%  ", in > 0 ? 100 * kept / in : 100.0);
        size_t at = r->out->n;
        if (kj_rep_num(st, 3) > 0 || kept == 0)
            kj_put_bytes(r->out, kj_rep_num(st, 3));
        for (size_t k = r->out->n - at; k < 9; k++)
            kj_buf_addc(r->out, ' ');
        kj_put_bar(r->out, most > 0 ? kept / most : 0, bar > 4 ? bar : 4);
        while (r->out->n && r->out->p[r->out->n - 1] == ' ')
            r->out->n--;
        kj_buf_addc(r->out, '\n');
    }
}

static void text_reasons(struct kj_rep *r)
{
    int64_t in = kj_rep_int(r, "SELECT docs_in FROM steps ORDER BY rowid LIMIT 1");
    int64_t rules = 0;
    sqlite3_stmt *st = kj_rep_query(
        r, "SELECT u.name, sum(x.docs) AS n, t.op, t.at, max(x.damaged)"
           " FROM reasons x JOIN scope_stages USING (stage) JOIN rules u USING (rule)"
           " LEFT JOIN rule_cuts t ON t.rule = x.rule"
           " GROUP BY u.rule ORDER BY n DESC, u.name");
    while (kj_rep_next(r, st)) {
        if (rules++ == 0)
            kj_buf_addz(r->out, "\ndropped by\n");
        if (rules > 12)
            continue;
        kj_buf_addz(r->out, "  ");
        kj_put_cell(r->out, kj_rep_text(st, 0), 32);
        put_right(r->out, sqlite3_column_int64(st, 1), 12);
        kj_buf_addz(r->out, "  ");
        kj_put_percent(r->out, kj_rep_num(st, 1), (double)in);
        if (*kj_rep_text(st, 3))
            kj_buf_printf(r->out, "   %s %s", kj_rep_text(st, 2), kj_rep_text(st, 3));
        kj_buf_addz(r->out, sqlite3_column_int(st, 4) ? "   damaged\n" : "\n");
    }
    if (rules > 12)
        kj_buf_printf(r->out, "  ... and %d more rules\n", (int)rules - 12);
}

static void text_shares(struct kj_rep *r, const char *title, const char *sql, int width)
{
    int64_t rows = 0;
    sqlite3_stmt *st = kj_rep_query(r, sql);
    while (kj_rep_next(r, st)) {
        double docs = kj_rep_num(st, 1), kept = kj_rep_num(st, 2);
        if (rows++ == 0)
            kj_buf_printf(r->out, "\n%-32s %12s %12s\n", title, "documents", "kept");
        kj_put_cell(r->out, *kj_rep_text(st, 0) ? kj_rep_text(st, 0) : "(none)", 32);
        put_right(r->out, (int64_t)docs, 13);
        put_right(r->out, (int64_t)kept, 13);
        kj_buf_addz(r->out, "  ");
        kj_put_bar(r->out, docs > 0 ? kept / docs : 0, width > 72 ? width - 64 : 8);
        while (r->out->n && r->out->p[r->out->n - 1] == ' ')
            r->out->n--;
        kj_buf_addc(r->out, '\n');
    }
}

/* Sources that a deduplication took more of than was allowed. */
static void text_alarms(struct kj_rep *r)
{
    double alarm = 100 * kj_rep_alarm(r);
    sqlite3_stmt *st = kj_rep_query(r, kj_rep_removals);
    int n = 0;
    while (kj_rep_next(r, st)) {
        if (!sqlite3_column_int(st, 3))
            continue;
        if (n++ == 0)
            kj_buf_addz(r->out, "\n");
        kj_buf_printf(r->out, "ALARM: deduplication took ");
        kj_put_percent(r->out, kj_rep_num(st, 2), kj_rep_num(st, 1));
        kj_buf_printf(r->out, " of the ");
        kj_put_count(r->out, sqlite3_column_int64(st, 1));
        kj_buf_printf(r->out, " documents of source \"%.80s\" (more than %.3g %%)\n",
                      kj_rep_text(st, 0), alarm);
    }
}

int kj_report_text(struct kj_ledger *l, int width, struct kj_buf *out,
                   struct kj_err *err)
{
    struct kj_rep r;
    if (width <= 0)
        width = 80;
    int rc = kj_rep_open(&r, l, out, err);
    if (rc == KJ_OK && r.no_runs) {
        kj_rep_scores_text(&r);
        rc = r.rc;
    } else if (rc == KJ_OK) {
        text_head(&r);
        if (kj_rep_int(&r, "SELECT count(*) FROM steps"))
            text_waterfall(&r, width);
        text_reasons(&r);
        text_shares(&r, "language",
                    "SELECT coalesce(l.code, ''), sum(docs) AS n, sum(docs_kept) FROM"
                    " shares LEFT JOIN languages l USING (language) GROUP BY language"
                    " ORDER BY n DESC, 1 LIMIT 10",
                    width);
        text_shares(&r, "source",
                    "SELECT coalesce(s.name, ''), sum(docs) AS n, sum(docs_kept) FROM"
                    " shares LEFT JOIN sources s USING (source) GROUP BY source"
                    " ORDER BY n DESC, 1 LIMIT 10",
                    width);
        kj_rep_bands_text(&r, width);
        text_alarms(&r);
        kj_rep_scores_text(&r);
        kj_rep_refine_text(&r);
        kj_buf_printf(out, "\n%s%s\n",
                      r.balanced ? "books balance: in = kept + dropped at every stage,"
                                   " checksums chain"
                                 : "BOOKS DO NOT BALANCE: ",
                      r.balanced ? "" : r.why);
        rc = r.rc;
    }
    kj_rep_close(&r);
    return rc;
}
