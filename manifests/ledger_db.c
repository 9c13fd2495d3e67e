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
    for (; version < KJ_LEDGER_VERSION && rc == KJ_OK; version++)
        rc = kj_db_exec(l, kj_ledger_upgrade[version], err);
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
    if (rc == KJ_OK && app == KJ_LEDGER_APP_ID && version < 1)
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
    /* So that reports need not ask. */
    for (int64_t v = l->version; !l->write && v < KJ_LEDGER_VERSION && rc == KJ_OK; v++)
        if (kj_ledger_like[v])
            rc = kj_db_exec(l, kj_ledger_like[v], err);
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
