/* compare.c - finds what differs between two runs.
 *
 * Each ledger gives its documents with their verdicts in the order of (id, copy); the
 * two streams are merged. A verdict is made of a document's decisions in the runs
 * shown: out where one of them is, by that one's rule. What differs is put into a
 * temporary table, and everything else is a question to that.
 */
#include "manifests/compare_internal.h"

#include <math.h>
#include <string.h>

#include "base/hash.h"
#include "base/json.h"

static const char verdicts[] =
    "DROP TABLE IF EXISTS temp.verdict;"
    "CREATE TEMP TABLE verdict (doc INTEGER PRIMARY KEY, out, rule, value);"
    /* the columns beside max() are of the row that has it */
    "INSERT INTO verdict SELECT doc, out, rule, value FROM (SELECT doc, max(1 - kept) "
    "AS"
    " out, rule, value FROM decisions WHERE stage IN (SELECT stage FROM scope_stages)"
    " GROUP BY doc)";

static const char tables[] =
    "DROP TABLE IF EXISTS temp.changes; DROP TABLE IF EXISTS temp.settings;"
    "DROP TABLE IF EXISTS temp.levels;"
    "CREATE TEMP TABLE changes (kind, id, copy, url, language, source, was, now, value,"
    " bytes, tokens, hash);"
    "CREATE TEMP TABLE settings (side, stage, key, value);"
    "CREATE TEMP TABLE levels (side, at, name, nth, docs, bytes)";

static const char documents[] =
    "SELECT d.id, d.copy, v.out, coalesce(u.name, ''), v.value, d.bytes, d.tokens,"
    " coalesce(l.code, ''), coalesce(s.name, ''), d.url FROM documents d CROSS JOIN"
    " verdict v ON v.doc = d.doc LEFT JOIN rules u ON u.rule = v.rule LEFT JOIN"
    " languages l ON l.language = d.language LEFT JOIN sources s ON s.source = d.source"
    " ORDER BY d.id, d.copy";

/* A stream of documents. */
struct docs {
    struct kj_rep *r;
    sqlite3_stmt *st;
    bool more;
    double ratio; /* bytes per token */
};

static void next(struct docs *s)
{
    s->more = kj_rep_next(s->r, s->st);
    if (!s->more)
        s->st = NULL; /* finalized */
}

static struct kj_amount amount(const struct docs *s)
{
    double bytes = kj_rep_num(s->st, 5), tokens = kj_rep_num(s->st, 6);
    return (struct kj_amount){1, bytes, isnan(tokens) ? bytes / s->ratio : tokens};
}

static bool is_out(const struct docs *s)
{
    return sqlite3_column_int(s->st, 2) != 0;
}

static void add(struct kj_amount *a, struct kj_amount b)
{
    a->docs += b.docs;
    a->bytes += b.bytes;
    a->tokens += b.tokens;
}

struct merge {
    struct kj_diff *d;
    struct docs s[2];
    sqlite3_stmt *put;
    struct kj_err *err;
};

/* The document that stands at s[0], s[1] or both. */
static int put_change(struct merge *m, bool has0, bool has1)
{
    const struct docs *s[2] = {has0 ? &m->s[0] : NULL, has1 ? &m->s[1] : NULL};
    bool kept[2];
    for (int i = 0; i < 2; i++) {
        kept[i] = s[i] && !is_out(s[i]);
        m->d->read[i] += s[i] != NULL;
        m->d->only[i] += s[i] && !s[!i];
        if (kept[i])
            add(&m->d->kept[i], amount(s[i]));
    }
    if (kept[0] && kept[1]) {
        add(&m->d->both, amount(s[1]));
        m->d->other_text += kj_rep_num(s[0]->st, 5) != kj_rep_num(s[1]->st, 5);
        return KJ_OK;
    }
    const char *rule[2];
    for (int i = 0; i < 2; i++)
        rule[i] = !s[i] ? "" : kept[i] ? NULL : kj_rep_text(s[i]->st, 3);
    if (!kept[0] && !kept[1] && (!s[0] || !s[1] || strcmp(rule[0], rule[1]) == 0))
        return KJ_OK;
    int kind = kept[0] ? 0 : kept[1] ? 1 : 2;
    const struct docs *from = kind == 0 ? s[0] : s[1]; /* the text that counts */
    const struct docs *judge = kind == 1 ? s[0] : s[1];
    struct kj_amount a = amount(from);
    const char *id = kj_rep_text(from->st, 0);
    sqlite3_stmt *p = m->put;
    sqlite3_bind_int(p, 1, kind);
    sqlite3_bind_text(p, 2, id, -1, SQLITE_TRANSIENT);
    sqlite3_bind_value(p, 3, sqlite3_column_value(from->st, 1));
    sqlite3_bind_value(p, 4, sqlite3_column_value(from->st, 9));
    sqlite3_bind_value(p, 5, sqlite3_column_value(from->st, 7));
    sqlite3_bind_value(p, 6, sqlite3_column_value(from->st, 8));
    for (int i = 0; i < 2; i++)
        sqlite3_bind_text(p, 7 + i, rule[i], -1, SQLITE_TRANSIENT);
    if (judge)
        sqlite3_bind_value(p, 9, sqlite3_column_value(judge->st, 4));
    else
        sqlite3_bind_null(p, 9);
    sqlite3_bind_double(p, 10, a.bytes);
    sqlite3_bind_double(p, 11, a.tokens);
    sqlite3_bind_int64(p, 12, (int64_t)(kj_hash64(id, strlen(id), 0) >> 1));
    return kj_db_run(m->d->side[0].l, p, m->err);
}

/* Which comes first; where one has ended, the other. */
static int order(const struct merge *m)
{
    if (!m->s[0].more || !m->s[1].more)
        return m->s[0].more ? -1 : 1;
    int c = strcmp(kj_rep_text(m->s[0].st, 0), kj_rep_text(m->s[1].st, 0));
    if (c)
        return c;
    int64_t a = sqlite3_column_int64(m->s[0].st, 1),
            b = sqlite3_column_int64(m->s[1].st, 1);
    return a < b ? -1 : a > b;
}

static int merge(struct kj_diff *d, struct kj_err *err)
{
    struct merge m = {.d = d, .err = err};
    int rc = kj_db_prepare(d->side[0].l, &m.put,
                           "INSERT INTO changes VALUES (?,?,?,?,?,?,?,?,?,?,?,?)", err);
    for (int i = 0; i < 2 && rc == KJ_OK; i++) {
        struct kj_rep *r = &d->side[i];
        double ratio = kj_rep_real(
            r, "SELECT 1.0 * sum(bytes) / sum(tokens) FROM documents WHERE tokens > 0");
        d->counted[i] = ratio > 0;
        m.s[i] = (struct docs){.r = r, .ratio = ratio > 0 ? ratio : 4};
        m.s[i].st = kj_rep_query(r, documents);
        next(&m.s[i]);
        rc = r->rc;
    }
    while (rc == KJ_OK && (m.s[0].more || m.s[1].more)) {
        int c = order(&m);
        rc = put_change(&m, c <= 0, c >= 0);
        if (c <= 0)
            next(&m.s[0]);
        if (c >= 0)
            next(&m.s[1]);
        for (int i = 0; i < 2; i++)
            rc = rc ? rc : d->side[i].rc;
    }
    for (int i = 0; i < 2; i++)
        sqlite3_finalize(m.s[i].st);
    sqlite3_finalize(m.put);
    return rc;
}

/* Rows of a query on one side into a table of side 0, behind the number of the side. */
static int copy(struct kj_diff *d, int side, const char *query, const char *insert,
                struct kj_err *err)
{
    sqlite3_stmt *put = NULL;
    struct kj_rep *r = &d->side[side];
    int rc = kj_db_prepare(d->side[0].l, &put, insert, err);
    sqlite3_stmt *st = rc ? NULL : kj_rep_query(r, query);
    while (rc == KJ_OK && kj_rep_next(r, st)) {
        sqlite3_bind_int(put, 1, side);
        for (int k = 0; k < sqlite3_column_count(st); k++)
            sqlite3_bind_value(put, k + 2, sqlite3_column_value(st, k));
        rc = kj_db_run(d->side[0].l, put, err);
        if (rc)
            sqlite3_finalize(st);
    }
    sqlite3_finalize(put);
    return rc ? rc : r->rc;
}

/* Options of stages, and cuts with the documents that they are for. */
static const char settings[] =
    "SELECT stage, key, group_concat(DISTINCT value) FROM (SELECT c.stage, c.key,"
    " c.value FROM config c JOIN scope USING (run) WHERE c.number > 0 ORDER BY "
    "c.number)"
    " GROUP BY stage, key"
    " UNION ALL SELECT name, rule, group_concat(DISTINCT cut) FROM (SELECT s.name,"
    " u.name || coalesce(substr(c.about, nullif(instr(c.about, ' (where '), 0)), '') AS"
    " rule, CASE WHEN c.op = 'off' THEN 'off' ELSE c.op || printf(' %.10g', "
    "c.threshold)"
    " END AS cut FROM cuts c JOIN scope_stages USING (stage) JOIN main.stages s USING"
    " (stage) JOIN rules u USING (rule) WHERE c.op = 'off' OR c.threshold IS NOT NULL)"
    " GROUP BY name, rule";

static const char levels[] =
    "SELECT rowid, name, row_number() OVER (PARTITION BY name ORDER BY rowid),"
    " docs_kept, bytes_kept FROM steps";

int kj_diff_open(struct kj_diff *d, struct kj_ledger *was, struct kj_ledger *now,
                 struct kj_err *err)
{
    struct kj_ledger *l[2] = {was, now};
    int rc = KJ_OK;
    memset(d, 0, sizeof *d);
    for (int i = 0; i < 2 && rc == KJ_OK; i++) {
        rc = kj_rep_open(&d->side[i], l[i], NULL, err);
        if (rc == KJ_OK && d->side[i].no_runs)
            rc = kj_err_set(err, KJ_FAIL, "%s: no run over documents is recorded here",
                            l[i]->path);
        rc = rc ? rc : kj_db_exec(l[i], verdicts, err);
    }
    rc = rc ? rc : kj_db_exec(was, tables, err);
    rc = rc ? rc : kj_db_exec(was, "BEGIN", err);
    rc = rc ? rc : merge(d, err);
    for (int i = 0; i < 2 && rc == KJ_OK; i++) {
        rc = copy(d, i, settings, "INSERT INTO settings VALUES (?,?,?,?)", err);
        if (rc == KJ_OK)
            rc = copy(d, i, levels, "INSERT INTO levels VALUES (?,?,?,?,?,?)", err);
    }
    return rc ? rc : kj_db_exec(was, "COMMIT", err);
}

void kj_diff_close(struct kj_diff *d)
{
    for (int i = 0; i < 2; i++) {
        if (!d->side[i].l)
            continue;
        if (!sqlite3_get_autocommit(d->side[i].l->db))
            sqlite3_exec(d->side[i].l->db, "ROLLBACK", NULL, NULL, NULL);
        sqlite3_exec(d->side[i].l->db,
                     "DROP TABLE IF EXISTS temp.verdict; DROP TABLE IF EXISTS"
                     " temp.changes; DROP TABLE IF EXISTS temp.settings; DROP TABLE IF"
                     " EXISTS temp.levels",
                     NULL, NULL, NULL);
        kj_rep_close(&d->side[i]);
    }
}
