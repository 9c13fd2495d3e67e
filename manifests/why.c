/* why.c - why a document is in the corpus, or out (see why.h). */
#include "manifests/why.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "manifests/report_internal.h"

struct why {
    struct kj_rep r; /* for its scope: the newest run and those before it */
    struct kj_buf *out;
    bool json;
    int64_t doc;
    int objects;    /* in the JSON array being written */
    char stage[80]; /* whose values are being listed */
};

/* A query with the document's number, and up to two more, bound to ?1, ?2, ?3. */
static sqlite3_stmt *query(struct why *w, const char *sql, int64_t a, int64_t b)
{
    sqlite3_stmt *st = kj_rep_query(&w->r, sql);
    if (st) {
        int n = sqlite3_bind_parameter_count(st);
        sqlite3_bind_int64(st, 1, w->doc);
        if (n > 1)
            sqlite3_bind_int64(st, 2, a);
        if (n > 2)
            sqlite3_bind_int64(st, 3, b);
    }
    return st;
}

/* ---- one field, in either form ---- */

static void put_json(struct kj_buf *b, const char *key, sqlite3_stmt *st, int col)
{
    int type = sqlite3_column_type(st, col);
    kj_buf_printf(b, "%s\"%s\":", b->p[b->n - 1] == '{' ? "" : ",", key);
    if (type == SQLITE_NULL)
        kj_buf_addz(b, "null");
    else if (type == SQLITE_TEXT)
        kj_json_put_str(b, kj_rep_text(st, col), strlen(kj_rep_text(st, col)));
    else if (type == SQLITE_INTEGER)
        kj_buf_printf(b, "%" PRId64, (int64_t)sqlite3_column_int64(st, col));
    else
        kj_json_put_real(b, sqlite3_column_double(st, col));
}

/* Text of the crawl, without what could move the cursor. */
static void put_plain(struct kj_buf *b, const char *z)
{
    kj_put_cell(b, z, (int)strnlen(z, 300));
    while (b->n && b->p[b->n - 1] == ' ')
        b->n--;
}

static void put_field(struct kj_buf *b, const char *key, const char *z)
{
    if (!*z)
        return;
    kj_buf_printf(b, "  %-10s", key);
    put_plain(b, z);
    kj_buf_addc(b, '\n');
}

static void put_exact(struct kj_buf *b, sqlite3_stmt *st, int col)
{
    if (sqlite3_column_type(st, col) != SQLITE_NULL)
        kj_json_put_real(b, sqlite3_column_double(st, col));
}

/* ---- what the document is ---- */

static void put_document(struct why *w)
{
    static const char *const keys[] = {"id",     "copy",   "url",    "language",
                                       "source", "bytes",  "tokens", "archive",
                                       "offset", "in_run", "kept"};
    sqlite3_stmt *st = query(
        w,
        "SELECT d.id, d.copy, d.url, l.code, s.name, d.bytes, d.tokens, a.name, "
        "d.offset,"
        " (SELECT max(run) FROM scope), (SELECT min(kept) FROM decisions x WHERE x.doc "
        "="
        " d.doc AND x.stage IN (SELECT stage FROM scope_stages)) FROM documents d LEFT"
        " JOIN languages l USING (language) LEFT JOIN sources s USING (source) LEFT "
        "JOIN"
        " archives a USING (archive) WHERE d.doc = ?1",
        0, 0);
    while (kj_rep_next(&w->r, st)) {
        if (w->json) {
            for (int i = 0; i < 11; i++)
                put_json(w->out, keys[i], st, i);
            continue;
        }
        put_plain(w->out, kj_rep_text(st, 0));
        if (sqlite3_column_int(st, 1))
            kj_buf_printf(w->out, " (copy %d of this id)", sqlite3_column_int(st, 1));
        kj_buf_printf(w->out, ": %s\n",
                      sqlite3_column_type(st, 10) == SQLITE_NULL
                          ? "not in the newest run"
                      : sqlite3_column_int(st, 10) ? "kept"
                                                   : "out");
        put_field(w->out, "url", kj_rep_text(st, 2));
        put_field(w->out, "language", kj_rep_text(st, 3));
        put_field(w->out, "source", kj_rep_text(st, 4));
        kj_buf_addz(w->out, "  text      ");
        kj_put_count(w->out, sqlite3_column_int64(st, 5));
        kj_buf_addz(w->out, " bytes");
        if (sqlite3_column_int64(st, 6) > 0) {
            kj_buf_addz(w->out, ", ");
            kj_put_count(w->out, sqlite3_column_int64(st, 6));
            kj_buf_addz(w->out, " tokens");
        }
        kj_buf_addc(w->out, '\n');
        if (*kj_rep_text(st, 7)) {
            kj_buf_addz(w->out, "  archive   ");
            put_plain(w->out, kj_rep_text(st, 7));
            if (sqlite3_column_type(st, 8) != SQLITE_NULL)
                kj_buf_printf(w->out, ", offset %" PRId64,
                              (int64_t)sqlite3_column_int64(st, 8));
            kj_buf_addc(w->out, '\n');
        }
    }
}

/* ---- its way ---- */

static void put_way(struct why *w)
{
    static const char *const keys[] = {"run",  "command", "phase", "stage",    "kept",
                                       "rule", "value",   "op",    "threshold"};
    sqlite3_stmt *st = query(
        w,
        "SELECT s.run, r.name, s.phase, s.name, s.stage < x.stage OR x.kept, CASE WHEN"
        " s.stage = x.stage THEN u.name END, CASE WHEN s.stage = x.stage AND NOT x.kept"
        " THEN x.value END, t.op, CASE WHEN s.stage = x.stage AND NOT x.kept THEN"
        " x.threshold END, u.unit FROM decisions x JOIN stages e ON e.stage = x.stage "
        "JOIN"
        " stages s ON s.run = e.run AND s.phase = e.phase AND s.ordinal <= e.ordinal "
        "AND"
        " (s.ordinal > 0 OR s.stage = e.stage) JOIN runs r ON r.run = s.run JOIN "
        "run_order"
        " o ON o.run = s.run LEFT JOIN rules u ON u.rule = x.rule AND s.stage = x.stage"
        " LEFT JOIN thresholds t ON t.stage = s.stage AND t.rule = x.rule WHERE x.doc "
        "= ?1"
        " ORDER BY o.first, o.depth, s.run, s.stage",
        0, 0);
    for (int n = 0; kj_rep_next(&w->r, st); n++) {
        if (w->json) {
            kj_buf_addz(w->out, n ? ",{" : "{");
            for (int i = 0; i < 9; i++)
                put_json(w->out, keys[i], st, i);
            kj_buf_addc(w->out, '}');
            continue;
        }
        kj_buf_printf(w->out, "  run %-6s", kj_rep_text(st, 0));
        put_plain(w->out, kj_rep_text(st, 3));
        if (sqlite3_column_int(st, 4)) {
            kj_buf_addz(w->out, ": kept\n");
            continue;
        }
        kj_buf_addz(w->out, ": OUT by ");
        put_plain(w->out, kj_rep_text(st, 5));
        kj_buf_addc(w->out, ' ');
        put_exact(w->out, st, 6);
        if (sqlite3_column_type(st, 8) != SQLITE_NULL) {
            kj_buf_printf(w->out, ", dropped %s ", kj_rep_text(st, 7));
            put_exact(w->out, st, 8);
        }
        if (*kj_rep_text(st, 9))
            kj_buf_printf(w->out, " [%s]", kj_rep_text(st, 9));
        kj_buf_addc(w->out, '\n');
    }
}

/* ---- what was measured ---- */

static bool beyond(const char *op, double v, double at)
{
    if (isnan(v) || isnan(at))
        return false;
    return strcmp(op, "<") == 0    ? v < at
           : strcmp(op, ">") == 0  ? v > at
           : strcmp(op, "<=") == 0 ? v <= at
           : strcmp(op, ">=") == 0 ? v >= at
                                   : false;
}

/* Rows of: rule, value, op, threshold, unit, stage whose cut it is. */
static void put_values(struct why *w, sqlite3_stmt *st)
{
    while (kj_rep_next(&w->r, st)) {
        bool fails = beyond(kj_rep_text(st, 2), kj_rep_num(st, 1), kj_rep_num(st, 3));
        if (w->json) {
            static const char *const keys[] = {"rule",      "value", "op",
                                               "threshold", "unit",  "stage"};
            kj_buf_addz(w->out, w->objects++ ? ",{" : "{");
            for (int i = 0; i < 6; i++)
                put_json(w->out, keys[i], st, i);
            kj_buf_printf(w->out, ",\"fails\":%s}", fails ? "true" : "false");
            continue;
        }
        const char *stage = *kj_rep_text(st, 5) ? kj_rep_text(st, 5) : "without a cut";
        if (strncmp(w->stage, stage, sizeof w->stage - 1) != 0) {
            snprintf(w->stage, sizeof w->stage, "%s", stage);
            kj_buf_printf(w->out, "  measured %s%s\n", *kj_rep_text(st, 5) ? "by " : "",
                          w->stage);
        }
        kj_buf_addz(w->out, "    ");
        kj_put_cell(w->out, kj_rep_text(st, 0), 30);
        size_t at = w->out->n;
        put_exact(w->out, st, 1);
        for (size_t k = w->out->n - at; k < 22; k++)
            kj_buf_addc(w->out, ' ');
        if (!isnan(kj_rep_num(st, 3))) {
            kj_buf_printf(w->out, " drops %s ", kj_rep_text(st, 2));
            put_exact(w->out, st, 3);
        }
        while (w->out->n && w->out->p[w->out->n - 1] == ' ')
            w->out->n--;
        kj_buf_addz(w->out, fails ? "   FAILS\n" : "\n");
    }
}

/* The cuts of "12-25,27", with the values that they were applied to. */
static void put_cuts(struct why *w, const char *set)
{
    for (char *end; *set; set = *end == ',' ? end + 1 : end) {
        long long a = strtoll(set, &end, 10), b = a;
        if (*end == '-')
            b = strtoll(end + 1, &end, 10);
        if (end == set)
            return;
        sqlite3_stmt *st =
            query(w,
                  "SELECT u.name, g.value, c.op, c.threshold, u.unit, s.name FROM cuts"
                  " c JOIN stages s USING (stage) JOIN rules u USING (rule) JOIN "
                  "signals g ON g.doc = ?1 AND g.rule = c.rule WHERE"
                  " c.cut BETWEEN ?2 AND ?3 AND c.op != 'off' ORDER BY c.cut",
                  a, b);
        put_values(w, st);
    }
}

static void put_measured(struct why *w)
{
    sqlite3_stmt *st = query(w,
                             "SELECT k.cuts FROM decisions x JOIN cutsets k "
                             "USING (cutset) JOIN stages"
                             " s USING (stage) JOIN run_order o USING (run) WHERE "
                             "x.doc = ?1 ORDER BY o.first,"
                             " o.depth, s.stage",
                             0, 0);
    while (kj_rep_next(&w->r, st))
        put_cuts(w, kj_rep_text(st, 0));
    st = query(
        w,
        "SELECT u.name, g.value, NULL, NULL, u.unit, NULL FROM signals g JOIN rules u"
        " USING (rule) WHERE g.doc = ?1 AND g.rule NOT IN (SELECT rule FROM cuts)"
        " ORDER BY u.name",
        0, 0);
    put_values(w, st);
}

/* ---- its duplicates ---- */

static void put_duplicates(struct why *w)
{
    static const char *const keys[] = {"cluster", "size", "keeper", "similarity",
                                       "keeper_url"};
    sqlite3_stmt *st = query(
        w,
        "SELECT c.cluster, c.size, c.keeper, c.similarity, k.url FROM clusters c LEFT"
        " JOIN documents k ON k.id = c.keeper AND k.copy = 0 WHERE c.doc = ?1",
        0, 0);
    while (kj_rep_next(&w->r, st)) {
        if (w->json) {
            kj_buf_addz(w->out, ",\"duplicates\":{");
            for (int i = 0; i < 5; i++)
                put_json(w->out, keys[i], st, i);
            kj_buf_addc(w->out, '}');
            continue;
        }
        kj_buf_printf(w->out, "  one of %s duplicates; kept: ", kj_rep_text(st, 1));
        put_plain(w->out, kj_rep_text(st, 2));
        if (*kj_rep_text(st, 4)) {
            kj_buf_addz(w->out, " (");
            put_plain(w->out, kj_rep_text(st, 4));
            kj_buf_addc(w->out, ')');
        }
        if (!isnan(kj_rep_num(st, 3))) {
            kj_buf_addz(w->out, ", similarity ");
            put_exact(w->out, st, 3);
        }
        kj_buf_addc(w->out, '\n');
    }
}

static void put_all(struct why *w)
{
    if (w->json)
        kj_buf_addc(w->out, '{');
    put_document(w);
    if (w->json)
        kj_buf_addz(w->out, ",\"stages\":[");
    put_way(w);
    if (w->json)
        kj_buf_addz(w->out, "],\"values\":[");
    w->objects = 0;
    w->stage[0] = 0;
    put_measured(w);
    if (w->json)
        kj_buf_addc(w->out, ']');
    put_duplicates(w);
    kj_buf_addz(w->out, w->json ? "}\n" : "\n");
}

/* ---- which documents ---- */

/* Tells of every document that the question finds, up to the limit. */
static void each(struct why *w, const char *sql, const char *word, size_t limit,
                 size_t *found, bool *more)
{
    sqlite3_stmt *st = kj_rep_query(&w->r, sql);
    if (st)
        sqlite3_bind_text(st, 1, word, -1, SQLITE_STATIC);
    while (kj_rep_next(&w->r, st)) {
        if (*found == limit) {
            *more = true;
            sqlite3_finalize(st);
            return;
        }
        w->doc = sqlite3_column_int64(st, 0);
        ++*found;
        put_all(w);
    }
}

int kj_why(struct kj_ledger *l, const char *word, size_t limit, bool json,
           struct kj_buf *out, size_t *found, bool *more, struct kj_err *err)
{
    static const char *const questions[] = {
        "SELECT doc FROM documents WHERE id = ?1 ORDER BY copy",
        "SELECT doc FROM documents WHERE id = '<urn:uuid:' || ?1 || '>' ORDER BY copy",
        "SELECT doc FROM documents WHERE url = ?1 ORDER BY doc",
        "SELECT doc FROM documents WHERE substr(url, 1, length(?1)) = ?1 ORDER BY doc"};
    struct why w = {.out = out, .json = json};
    size_t n = 0;
    bool left = false;
    int rc = kj_rep_open(&w.r, l, out, err);
    if (rc == KJ_OK && w.r.no_runs)
        rc = kj_err_set(err, KJ_FAIL, "no run over documents is recorded here");
    for (size_t i = 0; i < 4 && rc == KJ_OK && !n && *word; i++) {
        each(&w, questions[i], word, limit, &n, &left);
        rc = w.r.rc;
    }
    kj_rep_close(&w.r);
    if (found)
        *found = n;
    if (more)
        *more = left;
    return rc;
}
