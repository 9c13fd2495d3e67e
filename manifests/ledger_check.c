/* ledger_check.c - do the books balance? */
#include "manifests/ledger_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct books {
    struct kj_ledger *l;
    struct kj_buf *lines;
    struct kj_err *err;
    int rc;
};

/* Record a mismatch: the first one becomes the error. */
static void wrong(struct books *b, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
static void wrong(struct books *b, const char *fmt, ...)
{
    char text[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (b->lines) {
        kj_buf_addz(b->lines, text);
        kj_buf_addc(b->lines, '\n');
    }
    if (b->rc == KJ_OK) {
        b->rc = kj_err_set(b->err, KJ_FAIL, "%s", text);
        kj_err_where(b->err, b->l->path, -1);
    }
}

/* Run a query whose every row is a mismatch: the columns are its words. */
static int each(struct books *b, const char *sql,
                void (*row)(struct books *b, sqlite3_stmt *st))
{
    sqlite3_stmt *st;
    int rc = kj_db_query(b->l, &st, b->err, sql, "");
    if (rc)
        return rc;
    int s;
    while ((s = sqlite3_step(st)) == SQLITE_ROW)
        row(b, st);
    if (s != SQLITE_DONE)
        rc = kj_db_fail(b->l, "ledger", b->err);
    sqlite3_finalize(st);
    return rc;
}

#define INT(i) ((int64_t)sqlite3_column_int64(st, i))
#define TXT(i) ((const char *)sqlite3_column_text(st, i))

static void unfinished(struct books *b, sqlite3_stmt *st)
{
    wrong(b, "run %" PRId64 " (%s) %s", INT(0), TXT(1),
          strcmp(TXT(2), "running") == 0 ? "did not end" : TXT(2));
}

static void stage_counts(struct books *b, sqlite3_stmt *st)
{
    int64_t in = INT(2), kept = INT(3), out = INT(4), off = in - kept - out;
    wrong(b,
          "run %" PRId64 ", stage %s: %" PRId64 " in, %" PRId64 " kept + %" PRId64
          " dropped: %" PRId64 " %s",
          INT(0), TXT(1), in, kept, out, off < 0 ? -off : off,
          off < 0 ? "too many" : "missing");
}

static void decision_counts(struct books *b, sqlite3_stmt *st)
{
    wrong(b,
          "run %" PRId64 ", stage %s: %" PRId64 " %s by count, but %" PRId64
          " decisions say so",
          INT(0), TXT(1), INT(2), TXT(4), INT(3));
}

static void chain(struct books *b, sqlite3_stmt *st)
{
    int64_t wrote = INT(2), read = INT(4);
    if (wrote != read)
        wrong(b,
              "run %" PRId64 ": %s left %" PRId64 " documents, but %s read %" PRId64
              ": %" PRId64 " %s",
              INT(0), TXT(1), wrote, TXT(3), read,
              wrote > read ? wrote - read : read - wrote,
              wrote > read ? "missing" : "too many");
    else
        wrong(b,
              "run %" PRId64 ": %s read %" PRId64
              " documents that are not those which %s left (checksums differ)",
              INT(0), TXT(3), read, TXT(1));
}

static void pipes(struct books *b, sqlite3_stmt *st)
{
    int64_t wrote = INT(3), read = INT(5),
            off = wrote > read ? wrote - read : read - wrote;
    if (off)
        wrong(b,
              "run %" PRId64 " (%s) wrote %" PRId64 " documents, but run %" PRId64
              " (%s) read %" PRId64 " of them: %" PRId64 " %s",
              INT(1), TXT(2), wrote, INT(0), TXT(4), read, off,
              wrote > read ? "missing" : "too many");
    else
        wrong(b,
              "run %" PRId64 " (%s) read %" PRId64 " documents that are not those which"
              " run %" PRId64 " (%s) wrote (checksums differ)",
              INT(0), TXT(4), read, INT(1), TXT(2));
}

static void orphan(struct books *b, sqlite3_stmt *st)
{
    wrong(b,
          "run %" PRId64 " (%s) read %" PRId64 " documents from %s, but run %" PRId64
          " (%s) wrote %" PRId64 " there",
          INT(0), TXT(1), INT(2), TXT(3), INT(4), TXT(5), INT(6));
}

static void part_counts(struct books *b, sqlite3_stmt *st)
{
    wrong(b,
          "run %" PRId64 ", phase '%s': %" PRId64 " documents kept, %" PRId64
          " in its parts%s",
          INT(0), TXT(1), INT(2), INT(3),
          INT(2) == INT(3) ? " (checksums differ)" : "");
}

static void band_counts(struct books *b, sqlite3_stmt *st)
{
    wrong(b,
          "run %" PRId64 ", stage %s: %" PRId64 " documents in and %" PRId64
          " kept, by bands %" PRId64 " and %" PRId64 "%s",
          INT(0), TXT(1), INT(2), INT(3), INT(4), INT(5),
          INT(2) == INT(4) && INT(3) == INT(5) ? " (bytes differ)" : "");
}

/* Checksums of parts add up modulo 2^64, which SQL cannot do: its sum()
 * overflows into an error. Halves of 32 bits are added instead. */
#define SUM_LO "sum(o.sum & 4294967295)"
#define SUM_HI "sum((o.sum >> 32) & 4294967295)"

static int check_parts(struct books *b)
{
    return each(
        b,
        "WITH t AS (SELECT o.run, o.phase, sum(o.docs) AS docs, " SUM_LO
        " AS lo, " SUM_HI
        " AS hi FROM outputs o WHERE o.part IS NOT NULL GROUP BY o.run, o.phase)"
        " SELECT t.run, t.phase, s.docs_kept, t.docs FROM t JOIN stages s ON"
        " s.run = t.run AND s.phase = t.phase WHERE s.stage = (SELECT max(stage) FROM"
        " stages z WHERE z.run = t.run AND z.phase = t.phase) AND (s.docs_kept <> "
        "t.docs"
        " OR (t.lo & 4294967295) <> (s.sum_kept & 4294967295) OR"
        " ((t.hi + (t.lo >> 32)) & 4294967295) <> ((s.sum_kept >> 32) & 4294967295))",
        part_counts);
}

int kj_ledger_reconcile(struct kj_ledger *l, struct kj_buf *lines, struct kj_err *err)
{
    struct books b = {l, lines, err, KJ_OK};
    static const struct {
        const char *sql;
        void (*row)(struct books *, sqlite3_stmt *);
    } checks[] = {
        {"SELECT run, name, status FROM runs WHERE status NOT IN ('ok', 'damaged')",
         unfinished},
        {"SELECT s.run, s.name, s.docs_in, s.docs_kept, coalesce(sum(x.docs), 0) AS out"
         " FROM stages s LEFT JOIN reasons x USING (stage) GROUP BY s.stage"
         " HAVING s.docs_in <> s.docs_kept + out",
         stage_counts},
        {"WITH d AS (SELECT stage, sum(kept = 0) AS out FROM decisions GROUP BY stage),"
         " x AS (SELECT stage, sum(docs) AS out FROM reasons GROUP BY stage)"
         " SELECT s.run, s.name, coalesce(x.out, 0), coalesce(d.out, 0), 'dropped'"
         " FROM stages s LEFT JOIN d USING (stage) LEFT JOIN x USING (stage)"
         " WHERE coalesce(x.out, 0) <> coalesce(d.out, 0)",
         decision_counts},
        {"WITH d AS (SELECT stage, sum(kept) AS n FROM decisions GROUP BY stage),"
         " e AS (SELECT run, phase, max(stage) AS stage FROM stages GROUP BY run, "
         "phase)"
         " SELECT s.run, s.name, s.docs_kept, coalesce(d.n, 0), 'kept' FROM e"
         " JOIN stages s USING (stage) LEFT JOIN d USING (stage)"
         " WHERE s.docs_kept <> coalesce(d.n, 0)",
         decision_counts},
        {"SELECT s.run, s.name, s.docs_in, s.docs_kept, sum(b.docs), sum(b.docs_kept)"
         " FROM bands b JOIN stages s USING (stage) GROUP BY stage HAVING s.docs_in <>"
         " sum(b.docs) OR s.docs_kept <> sum(b.docs_kept) OR s.bytes_in <> sum(b.bytes)"
         " OR s.bytes_kept <> sum(b.bytes_kept)",
         band_counts},
        /* A stage reads what the one before it left, within a flow and from
         * phase to phase. The input's checksum is not known beyond its damage. */
        {"SELECT s.run, p.name, p.docs_kept, s.name, s.docs_in FROM stages s"
         " JOIN stages p ON p.run = s.run AND p.stage = (SELECT max(z.stage) FROM "
         "stages"
         " z WHERE z.run = s.run AND z.stage < s.stage)"
         " WHERE p.docs_kept <> s.docs_in OR (p.sum_kept <> s.sum_in)",
         chain},
        {"SELECT c.run, p.run, p.name, z.docs_kept, c.name, a.docs_in FROM runs c"
         " JOIN runs p ON p.run = c.parent"
         " JOIN stages a ON a.stage = (SELECT min(stage) FROM stages WHERE run = c.run)"
         " JOIN stages z ON z.stage = (SELECT max(stage) FROM stages WHERE run = p.run)"
         " WHERE NOT c.partial AND (z.docs_kept <> a.docs_in OR (z.sum_kept <> a.sum_in"
         " AND a.docs_in = a.docs_kept))",
         pipes},
        /* What was read from a file that an earlier run of this ledger wrote
         * must be what it wrote: a full input without a parent there is wrong. */
        {"SELECT c.run, c.name, a.docs_in, i.path, max(p.run), p.name, z.docs_kept"
         " FROM runs c JOIN inputs i ON i.run = c.run"
         " JOIN outputs o ON o.path = i.path AND o.path <> '-' AND o.run <> c.run"
         " JOIN runs p ON p.run = o.run"
         " JOIN stages a ON a.stage = (SELECT min(stage) FROM stages WHERE run = c.run)"
         " JOIN stages z ON z.stage = (SELECT max(stage) FROM stages WHERE run = p.run)"
         " WHERE c.parent IS NULL AND NOT c.partial AND p.finished <= c.started"
         " AND c.status IN ('ok', 'damaged') AND p.status IN ('ok', 'damaged')"
         " AND (SELECT count(*) FROM inputs k WHERE k.run = c.run) = 1"
         " GROUP BY c.run",
         orphan},
    };
    int rc = KJ_OK;
    for (size_t i = 0; i < sizeof checks / sizeof *checks && rc == KJ_OK; i++)
        rc = each(&b, checks[i].sql, checks[i].row);
    if (rc == KJ_OK)
        rc = check_parts(&b);
    return rc ? rc : b.rc;
}
