/* ledger_db.c - SQLite with our errors; opening and closing a ledger. */
#include "manifests/ledger_internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/json.h"

int kj_db_fail(struct kj_ledger *l, const char *what, struct kj_err *err)
{
    int rc = kj_err_set(err, KJ_FAIL, "%s: %s", what, sqlite3_errmsg(l->db));
    kj_err_where(err, l->path, -1);
    return rc;
}

int kj_db_exec(struct kj_ledger *l, const char *sql, struct kj_err *err)
{
    if (sqlite3_exec(l->db, sql, NULL, NULL, NULL) != SQLITE_OK)
        return kj_db_fail(l, "ledger", err);
    return KJ_OK;
}

int kj_db_prepare(struct kj_ledger *l, sqlite3_stmt **st, const char *sql,
                  struct kj_err *err)
{
    if (sqlite3_prepare_v3(l->db, sql, -1, SQLITE_PREPARE_PERSISTENT, st, NULL) !=
        SQLITE_OK)
        return kj_db_fail(l, "ledger", err);
    return KJ_OK;
}

int kj_db_run(struct kj_ledger *l, sqlite3_stmt *st, struct kj_err *err)
{
    int rc;
    while ((rc = sqlite3_step(st)) == SQLITE_ROW)
        ;
    if (rc != SQLITE_DONE) {
        rc = kj_db_fail(l, "ledger", err);
        sqlite3_reset(st);
        return rc;
    }
    sqlite3_reset(st);
    return KJ_OK;
}

static int query_v(struct kj_ledger *l, sqlite3_stmt **st, struct kj_err *err,
                   const char *sql, const char *fmt, va_list ap)
{
    if (sqlite3_prepare_v2(l->db, sql, -1, st, NULL) != SQLITE_OK)
        return kj_db_fail(l, "ledger", err);
    for (int i = 0; fmt[i]; i++) {
        if (fmt[i] == 'i') {
            sqlite3_bind_int64(*st, i + 1, va_arg(ap, int64_t));
        } else if (fmt[i] == 'u') {
            sqlite3_bind_int64(*st, i + 1, (int64_t)va_arg(ap, uint64_t));
        } else if (fmt[i] == 'd') {
            double d = va_arg(ap, double);
            if (!isnan(d))
                sqlite3_bind_double(*st, i + 1, d);
        } else {
            const char *s = va_arg(ap, const char *);
            if (s)
                sqlite3_bind_text(*st, i + 1, s, -1, SQLITE_TRANSIENT);
        }
    }
    return KJ_OK;
}

int kj_db_query(struct kj_ledger *l, sqlite3_stmt **st, struct kj_err *err,
                const char *sql, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int rc = query_v(l, st, err, sql, fmt, ap);
    va_end(ap);
    return rc;
}

int kj_db_do(struct kj_ledger *l, struct kj_err *err, const char *sql, const char *fmt,
             ...)
{
    sqlite3_stmt *st;
    va_list ap;
    va_start(ap, fmt);
    int rc = query_v(l, &st, err, sql, fmt, ap);
    va_end(ap);
    if (rc)
        return rc;
    rc = kj_db_run(l, st, err);
    sqlite3_finalize(st);
    return rc;
}

int kj_db_int(struct kj_ledger *l, int64_t *out, struct kj_err *err, const char *sql,
              const char *fmt, ...)
{
    sqlite3_stmt *st;
    va_list ap;
    va_start(ap, fmt);
    int rc = query_v(l, &st, err, sql, fmt, ap);
    va_end(ap);
    if (rc)
        return rc;
    int s = sqlite3_step(st);
    if (s == SQLITE_ROW && sqlite3_column_type(st, 0) != SQLITE_NULL)
        *out = sqlite3_column_int64(st, 0);
    if (s != SQLITE_ROW && s != SQLITE_DONE)
        rc = kj_db_fail(l, "ledger", err);
    sqlite3_finalize(st);
    return rc;
}

int kj_db_begin(struct kj_ledger *l, struct kj_err *err)
{
    if (l->in_txn)
        return KJ_OK;
    int rc = kj_db_exec(l, l->write ? "BEGIN IMMEDIATE" : "BEGIN", err);
    l->in_txn = rc == KJ_OK;
    return rc;
}

int kj_db_commit(struct kj_ledger *l, struct kj_err *err)
{
    if (!l->in_txn)
        return KJ_OK;
    int rc = kj_db_exec(l, "COMMIT", err);
    if (rc == KJ_OK)
        l->in_txn = false;
    else
        kj_db_rollback(l);
    return rc;
}

void kj_db_rollback(struct kj_ledger *l)
{
    if (l->in_txn)
        sqlite3_exec(l->db, "ROLLBACK", NULL, NULL, NULL);
    l->in_txn = false;
    /* Rows named in the caches may be gone. */
    kj_names_clear(&l->languages);
    kj_names_clear(&l->sources);
    kj_names_clear(&l->archives);
    kj_names_clear(&l->cutsets);
    l->last_set_id = 0;
}

void kj_ledger_now(char out[32])
{
    struct timespec t;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &t);
    gmtime_r(&t.tv_sec, &tm);
    size_t n = strftime(out, 32, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out + n, 32 - n, ".%03dZ", (int)(t.tv_nsec / 1000000));
}

/* ------------------------------------------------------------ open, close */

/* Writers hold the lock for milliseconds: ask again soon, with a wait that
 * differs between processes, and give up after two minutes. */
static int busy(void *ctx, int count)
{
    (void)ctx;
    if (count > 60000)
        return 0;
    unsigned us =
        500 +
        (unsigned)((uint64_t)getpid() * 2654435761u + (unsigned)count * 977) % 3000;
    struct timespec ts = {0, (long)us * 1000};
    nanosleep(&ts, NULL);
    return 1;
}

/* A file of version 1 goes on as one of version 2. */
static const char to_version_2[] =
    "CREATE TABLE cuts (cut INTEGER PRIMARY KEY, stage INTEGER NOT NULL REFERENCES"
    " stages(stage), ordinal INTEGER NOT NULL, rule INTEGER NOT NULL REFERENCES"
    " rules(rule), op TEXT, threshold REAL, failed INTEGER NOT NULL DEFAULT 0,"
    " alone INTEGER NOT NULL DEFAULT 0, UNIQUE (stage, ordinal));"
    "CREATE TABLE cutsets (cutset INTEGER PRIMARY KEY, cuts TEXT NOT NULL UNIQUE);"
    "ALTER TABLE decisions ADD COLUMN cutset INTEGER REFERENCES cutsets(cutset);"
    "PRAGMA user_version = 2";

/* Of version 2 as one of version 3: histograms and examples by cut. */
static const char to_version_3[] =
    "ALTER TABLE cuts ADD COLUMN about TEXT;"
    "ALTER TABLE samples ADD COLUMN cut INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE samples ADD COLUMN far INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE histograms RENAME TO old_histograms;"
    "CREATE TABLE histograms (rule INTEGER NOT NULL REFERENCES rules(rule), cut INTEGER"
    " NOT NULL, bucket INTEGER NOT NULL, lo REAL NOT NULL, hi REAL NOT NULL, docs"
    " INTEGER NOT NULL, dropped INTEGER NOT NULL, PRIMARY KEY (rule, cut, bucket))"
    " WITHOUT ROWID;"
    "INSERT INTO histograms SELECT rule, 0, bucket, lo, hi, docs, dropped FROM"
    " old_histograms;"
    "DROP TABLE old_histograms;"
    "PRAGMA user_version = 3";

/* Of version 3 as one of version 4: texts of clusters, alarms. */
static const char to_version_4[] =
    "CREATE VIEW dedup_sources AS WITH seen AS (SELECT d.run, x.doc, max(x.stage "
    "= d.stage AND NOT x.kept) AS gone FROM stages d JOIN stages s ON s.run = "
    "d.run AND s.phase = d.phase AND s.ordinal >= d.ordinal JOIN decisions x ON "
    "x.stage = s.stage WHERE d.name = 'dedup' GROUP BY d.run, x.doc) SELECT "
    "z.run, coalesce(n.name, '') AS source, count(*) AS docs, sum(gone) AS "
    "removed, round(100.0 * sum(gone) / count(*), 2) AS removed_percent, count(*) "
    ">= 50 AND sum(gone) > count(*) * coalesce((SELECT max(CAST(c.value AS REAL)) "
    "FROM config c WHERE c.run = z.run AND c.key = 'alarm'), 0.5) AS alarm FROM "
    "seen z JOIN documents USING (doc) LEFT JOIN sources n USING (source) GROUP "
    "BY z.run, source;"
    "CREATE TABLE copies (cluster TEXT NOT NULL, hash INTEGER NOT NULL, size INTEGER"
    " NOT NULL, id TEXT NOT NULL, url TEXT, kept INTEGER NOT NULL, similarity REAL,"
    " member INTEGER NOT NULL, text TEXT, UNIQUE (cluster, kept, member));"
    "PRAGMA user_version = 4";

/* Of version 4 as one of version 5: passages. */
static const char to_version_5[] =
    "CREATE TABLE passages (doc INTEGER NOT NULL REFERENCES documents(doc), ordinal"
    " INTEGER NOT NULL, at INTEGER NOT NULL, bytes INTEGER NOT NULL, keeper TEXT,"
    " offset INTEGER, PRIMARY KEY (doc, ordinal)) WITHOUT ROWID;"
    "PRAGMA user_version = 5";

/* Of version 5 as one of version 6: all of training, evaluations. */
static const char to_version_6[] =
    "ALTER TABLE metrics ADD COLUMN grad_norm REAL;"
    "ALTER TABLE metrics ADD COLUMN kl REAL;"
    "ALTER TABLE metrics ADD COLUMN epoch INTEGER;"
    "ALTER TABLE metrics ADD COLUMN stage TEXT;"
    "ALTER TABLE metrics ADD COLUMN skipped INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE metrics ADD COLUMN seconds REAL;"
    "CREATE TABLE metric_sources (series TEXT NOT NULL, step INTEGER NOT NULL, "
    "source TEXT NOT NULL, tokens INTEGER NOT NULL, PRIMARY KEY (series, source, "
    "step)) WITHOUT ROWID;"
    "CREATE TABLE generations (series TEXT NOT NULL, step INTEGER NOT NULL, "
    "number INTEGER NOT NULL, prompt TEXT NOT NULL, text TEXT NOT NULL, PRIMARY "
    "KEY (series, step, number)) WITHOUT ROWID;"
    "CREATE TABLE evaluations (evaluation INTEGER PRIMARY KEY, model TEXT NOT "
    "NULL, tokenizer TEXT, version TEXT, command TEXT, at TEXT);"
    "CREATE TABLE scores (evaluation INTEGER NOT NULL REFERENCES "
    "evaluations(evaluation), task TEXT NOT NULL, kind TEXT NOT NULL, part TEXT "
    "NOT NULL, metric TEXT NOT NULL, value REAL, stderr REAL, n INTEGER NOT NULL, "
    "shots INTEGER, PRIMARY KEY (evaluation, task, kind, part, metric)) WITHOUT "
    "ROWID;"
    "PRAGMA user_version = 6";

/* Of version 6 as one of version 7: bands. */
static const char to_version_7[] =
    "CREATE TABLE quantiles (stage INTEGER NOT NULL REFERENCES stages(stage), "
    "score TEXT NOT NULL, language TEXT NOT NULL, band INTEGER NOT NULL, share "
    "REAL, cut REAL, low REAL, high REAL, share_low REAL, share_high REAL, docs "
    "INTEGER NOT NULL, seen INTEGER NOT NULL, PRIMARY KEY (stage, score, "
    "language, band)) WITHOUT ROWID; CREATE TABLE bands (stage INTEGER NOT NULL "
    "REFERENCES stages(stage), language INTEGER NOT NULL, band INTEGER NOT NULL, "
    "docs INTEGER NOT NULL, bytes INTEGER NOT NULL, docs_kept INTEGER NOT NULL, "
    "bytes_kept INTEGER NOT NULL, PRIMARY KEY (stage, language, band)) WITHOUT "
    "ROWID;"
    "CREATE VIEW band_counts AS SELECT s.run, b.stage, coalesce(l.code, '') AS "
    "language, b.band, b.docs, b.bytes, b.docs_kept, b.bytes_kept FROM bands b "
    "JOIN stages s USING (stage) LEFT JOIN languages l USING (language) ORDER BY "
    "b.stage, language, b.band;"
    "PRAGMA user_version = 7";

/* What reports ask of an older file that is only read. */
static const char like_version_6[] =
    "CREATE TEMP TABLE quantiles (stage, score, language, band, share, cut, low, high,"
    " share_low, share_high, docs, seen);"
    "CREATE TEMP TABLE bands (stage, language, band, docs, bytes, docs_kept,"
    " bytes_kept)";
static const char like_version_5[] =
    "CREATE TEMP VIEW metrics AS SELECT *, NULL AS grad_norm, NULL AS kl, NULL AS "
    "epoch,"
    " NULL AS stage, 0 AS skipped, NULL AS seconds FROM main.metrics;"
    "CREATE TEMP TABLE metric_sources (series, step, source, tokens);"
    "CREATE TEMP TABLE generations (series, step, number, prompt, text);"
    "CREATE TEMP TABLE evaluations (evaluation, model, tokenizer, version, command, "
    "at);"
    "CREATE TEMP TABLE scores (evaluation, task, kind, part, metric, value, stderr, n,"
    " shots)";
static const char like_version_4[] =
    "CREATE TEMP TABLE copies (cluster, hash, size, id, url, kept, similarity, member,"
    " text)";
static const char like_version_3[] =
    "CREATE TEMP VIEW histograms AS SELECT rule, 0 AS cut, bucket, lo, hi, docs,"
    " dropped FROM main.histograms;"
    "CREATE TEMP VIEW samples AS SELECT *, 0 AS cut, 0 AS far FROM main.samples";

/* Two processes may find the file empty at the same time: look again under
 * the write lock. */
static int make_schema(struct kj_ledger *l, struct kj_err *err)
{
    int rc = kj_db_begin(l, err);
    if (rc)
        return rc;
    int64_t app = 0;
    rc = kj_db_int(l, &app, err, "PRAGMA application_id", "");
    int64_t version = KJ_LEDGER_VERSION;
    if (rc == KJ_OK && app != KJ_LEDGER_APP_ID)
        rc = kj_db_exec(l, kj_ledger_schema, err);
    else if (rc == KJ_OK)
        rc = kj_db_int(l, &version, err, "PRAGMA user_version", "");
    if (rc == KJ_OK && version < 2)
        rc = kj_db_exec(l, to_version_2, err);
    if (rc == KJ_OK && version < 3)
        rc = kj_db_exec(l, to_version_3, err);
    if (rc == KJ_OK && version < 4)
        rc = kj_db_exec(l, to_version_4, err);
    if (rc == KJ_OK && version < 5)
        rc = kj_db_exec(l, to_version_5, err);
    if (rc == KJ_OK && version < 6)
        rc = kj_db_exec(l, to_version_6, err);
    if (rc == KJ_OK && version < 7)
        rc = kj_db_exec(l, to_version_7, err);
    if (rc) {
        kj_db_rollback(l);
        return rc;
    }
    return kj_db_commit(l, err);
}

static int check_kind(struct kj_ledger *l, struct kj_err *err)
{
    int64_t app = 0, version = 0, tables = 0;
    /* One snapshot: another process may be making the tables. */
    int rc = kj_db_exec(l, "BEGIN", err);
    if (rc == KJ_OK)
        rc = kj_db_int(l, &tables, err, "SELECT count(*) FROM sqlite_master", "");
    if (rc == KJ_OK)
        rc = kj_db_int(l, &app, err, "PRAGMA application_id", "");
    if (rc == KJ_OK)
        rc = kj_db_int(l, &version, err, "PRAGMA user_version", "");
    sqlite3_exec(l->db, "ROLLBACK", NULL, NULL, NULL);
    if (rc == KJ_OK && app != KJ_LEDGER_APP_ID &&
        !(l->write && tables == 0 && app == 0))
        rc = kj_err_set(err, KJ_FAIL, "not a kijil ledger");
    if (rc == KJ_OK && version > KJ_LEDGER_VERSION)
        rc = kj_err_set(err, KJ_FAIL, "ledger of version %d; this program knows %d",
                        (int)version, KJ_LEDGER_VERSION);
    l->version = version;
    if (rc)
        kj_err_where(err, l->path, -1);
    return rc;
}

static int prepare_hot(struct kj_ledger *l, struct kj_err *err)
{
    static const char *const sql[ST_COUNT] = {
        [ST_DOC_NEW] =
            "INSERT INTO documents (id, copy, url, source, language, bytes, chars,"
            " tokens, archive, offset) VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10)"
            " ON CONFLICT DO NOTHING",
        [ST_DOC_FIND] = "SELECT doc, language, bytes, tokens, source FROM documents"
                        " WHERE id = ?1 AND copy = ?2",
        [ST_DOC_UPDATE] = "UPDATE documents SET language = coalesce(?2, language),"
                          " bytes = ?3, chars = ?4, tokens = coalesce(?5, tokens),"
                          " source = coalesce(?6, source) WHERE doc = ?1",
        [ST_DECIDED] = "SELECT 1 FROM decisions WHERE doc = ?1 AND stage BETWEEN ?2"
                       " AND ?3 LIMIT 1",
        [ST_DECIDE] = "INSERT INTO decisions (doc, stage, kept, rule, value, threshold,"
                      " cutset) VALUES (?1,?2,?3,?4,?5,?6,?7)",
        [ST_SIGNAL] = "INSERT OR REPLACE INTO signals (doc, rule, value)"
                      " VALUES (?1,?2,?3)",
        [ST_CLUSTER] = "INSERT OR REPLACE INTO clusters (doc, cluster, size, keeper,"
                       " similarity) VALUES (?1,?2,?3,?4,?5)",
        [ST_PASSAGE] = "INSERT OR REPLACE INTO passages (doc, ordinal, at, bytes,"
                       " keeper, offset) VALUES (?1,?2,?3,?4,?5,?6)",
        [ST_BAND] = "INSERT INTO bands VALUES (?1,?2,?3,1,?4,?5,?6) ON CONFLICT DO"
                    " UPDATE SET docs = docs + 1, bytes = bytes + excluded.bytes,"
                    " docs_kept = docs_kept + excluded.docs_kept,"
                    " bytes_kept = bytes_kept + excluded.bytes_kept",
    };
    for (int i = 0; i < ST_COUNT; i++) {
        int rc = kj_db_prepare(l, &l->st[i], sql[i], err);
        if (rc)
            return rc;
    }
    return KJ_OK;
}

/* Changing the journal asks for the whole file without calling the busy
 * handler, so processes that start at the same time have to be patient here. */
static int set_wal(struct kj_ledger *l, struct kj_err *err)
{
    int rc, tries = 0;
    do {
        rc = sqlite3_exec(l->db, "PRAGMA journal_mode = WAL", NULL, NULL, NULL);
    } while ((rc == SQLITE_BUSY || rc == SQLITE_LOCKED || rc == SQLITE_PROTOCOL) &&
             busy(NULL, tries++));
    return rc == SQLITE_OK ? KJ_OK : kj_db_fail(l, "ledger", err);
}

static int open_write(struct kj_ledger *l, struct kj_err *err)
{
    int rc = set_wal(l, err);
    if (rc == KJ_OK)
        rc = kj_db_exec(l,
                        "PRAGMA synchronous = NORMAL;"
                        "PRAGMA wal_autocheckpoint = 16384;"
                        "PRAGMA cache_size = -32768",
                        err);
    if (rc == KJ_OK)
        rc = make_schema(l, err);
    return rc == KJ_OK ? prepare_hot(l, err) : rc;
}

int kj_ledger_open(struct kj_ledger **out, const char *path, int mode,
                   struct kj_err *err)
{
    *out = NULL;
    struct kj_ledger *l = kj_xcalloc(1, sizeof *l);
    l->path = kj_xstrdup(path);
    l->phase = kj_xstrdup("");
    l->write = mode == KJ_LEDGER_WRITE;
    l->json = kj_json_new();
    int flags =
        l->write ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE : SQLITE_OPEN_READONLY;
    int rc = KJ_OK;
    struct stat st;
    if (!l->write && stat(path, &st) != 0) {
        rc = kj_err_errno(err, KJ_FAIL, "cannot open");
        kj_err_where(err, path, -1);
    } else if (sqlite3_open_v2(path, &l->db, flags | SQLITE_OPEN_NOMUTEX, NULL) !=
               SQLITE_OK) {
        rc = kj_db_fail(l, "cannot open", err);
    }
    if (rc == KJ_OK) {
        sqlite3_busy_handler(l->db, busy, NULL);
        rc = check_kind(l, err);
    }
    /* At once: changing it later would drop temporary tables. */
    if (rc == KJ_OK)
        rc = kj_db_exec(l, "PRAGMA temp_store = MEMORY", err);
    if (rc == KJ_OK && l->write)
        rc = open_write(l, err);
    else if (rc == KJ_OK && l->version < 3) /* so that reports need not ask */
        rc = kj_db_exec(l, like_version_3, err);
    if (rc == KJ_OK && !l->write && l->version < 4)
        rc = kj_db_exec(l, like_version_4, err);
    if (rc == KJ_OK && !l->write && l->version < 6)
        rc = kj_db_exec(l, like_version_5, err);
    if (rc == KJ_OK && !l->write && l->version < 7)
        rc = kj_db_exec(l, like_version_6, err);
    if (rc == KJ_OK && !l->write && l->version < 3)
        rc = kj_db_exec(l,
                        l->version < 2
                            ? "CREATE TEMP TABLE cuts (cut, stage, rule, op, threshold,"
                              " failed, alone, about)"
                            : "CREATE TEMP VIEW cuts AS SELECT *, NULL AS about FROM"
                              " main.cuts",
                        err);
    if (rc) {
        kj_ledger_close(l, NULL);
        return rc;
    }
    *out = l;
    return KJ_OK;
}

int kj_ledger_close(struct kj_ledger *l, struct kj_err *err)
{
    int rc = KJ_OK;
    if (!l)
        return rc;
    if (l->db) {
        kj_db_rollback(l);
        for (int i = 0; i < ST_COUNT; i++)
            sqlite3_finalize(l->st[i]);
        if (l->write) {
            /* Fails while another process has the file open: the last one
             * to leave does it. */
            sqlite3_busy_timeout(l->db, 50);
            sqlite3_exec(l->db,
                         "PRAGMA wal_checkpoint(TRUNCATE);PRAGMA journal_mode = DELETE",
                         NULL, NULL, NULL);
        }
        if (sqlite3_close(l->db) != SQLITE_OK)
            rc = kj_err_set(err, KJ_FAIL, "ledger: cannot close %s", l->path);
    }
    kj_ledger_cuts_release(l);
    kj_names_clear(&l->cutsets);
    kj_names_clear(&l->languages);
    kj_names_clear(&l->sources);
    kj_names_clear(&l->archives);
    kj_ledger_rules_release(l);
    kj_ledger_done_release(l);
    kj_json_free(l->json);
    free(l->phase);
    free(l->path);
    free(l);
    return rc;
}
