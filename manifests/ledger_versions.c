/* ledger_versions.c - a ledger of an older version: made new when it is written to, or
 * looked at as if it were new when it is only read.
 */
#include "manifests/ledger_internal.h"

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

/* Of version 7 as one of version 8: options by stage, not by its name. */
static const char to_version_8[] =
    "CREATE TEMP TABLE old_config AS SELECT run, coalesce((SELECT min(s.stage) FROM"
    " stages s WHERE s.run = c.run AND s.name = c.stage), 0) AS number, stage, key,"
    " value FROM config c;"
    "DROP TABLE config;"
    "CREATE TABLE config (run INTEGER NOT NULL REFERENCES runs(run), number INTEGER"
    " NOT NULL, stage TEXT NOT NULL, key TEXT NOT NULL, value TEXT, PRIMARY KEY (run,"
    " number, key)) WITHOUT ROWID;"
    "INSERT INTO config SELECT run, number, stage, key, value FROM old_config;"
    "DROP TABLE old_config;"
    "PRAGMA user_version = 8";

/* Of version 8 as one of version 9: losses on held-out texts. */
static const char to_version_9[] =
    "CREATE TABLE metric_validation (series TEXT NOT NULL, step INTEGER NOT NULL, "
    "source TEXT NOT NULL, loss REAL, PRIMARY KEY (series, source, step)) WITHOUT "
    "ROWID;"
    "PRAGMA user_version = 9";

const char *const kj_ledger_upgrade[KJ_LEDGER_VERSION] = {
    NULL,         to_version_2, to_version_3, to_version_4, to_version_5,
    to_version_6, to_version_7, to_version_8, to_version_9,
};

/* ---- only read: what reports ask for and files of that version or before lack ---- */

static const char like_version_1[] = "CREATE TEMP TABLE cuts (cut, stage, rule, op,"
                                     " threshold, failed, alone, about)";
static const char like_version_2[] =
    "CREATE TEMP VIEW IF NOT EXISTS cuts AS SELECT *, NULL AS about FROM main.cuts;"
    "CREATE TEMP VIEW histograms AS SELECT rule, 0 AS cut, bucket, lo, hi, docs,"
    " dropped FROM main.histograms;"
    "CREATE TEMP VIEW samples AS SELECT *, 0 AS cut, 0 AS far FROM main.samples";
static const char like_version_3[] =
    "CREATE TEMP TABLE copies (cluster, hash, size, id, url, kept, similarity, member,"
    " text)";
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
static const char like_version_6[] =
    "CREATE TEMP TABLE quantiles (stage, score, language, band, share, cut, low, high,"
    " share_low, share_high, docs, seen);"
    "CREATE TEMP TABLE bands (stage, language, band, docs, bytes, docs_kept,"
    " bytes_kept)";
static const char like_version_7[] =
    "CREATE TEMP VIEW config AS SELECT run, coalesce((SELECT min(s.stage) FROM"
    " main.stages s WHERE s.run = c.run AND s.name = c.stage), 0) AS number, stage, "
    "key,"
    " value FROM main.config c";

static const char like_version_8[] =
    "CREATE TEMP TABLE metric_validation (series, step, source, loss)";

const char *const kj_ledger_like[KJ_LEDGER_VERSION] = {
    NULL,           like_version_1, like_version_2, like_version_3, NULL,
    like_version_5, like_version_6, like_version_7, like_version_8,
};
