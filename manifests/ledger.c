/* ledger.c - runs, phases, parts.
 *
 * Transactions. A filter commits at every batch, so that several processes of
 * a pipe can take turns: the write lock is held for milliseconds. A flow in
 * parts holds one transaction from its first batch to kj_ledger_commit.
 */
#include "manifests/ledger.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/hash.h"
#include "manifests/ledger_internal.h"

/* ------------------------------------------------------------------- runs */

int kj_ledger_put_config(struct kj_ledger *l, int64_t number, const char *stage,
                         const char *lines, size_t n, struct kj_err *err)
{
    const char *end = lines + n;
    int rc = KJ_OK;
    while (lines < end && rc == KJ_OK) {
        const char *nl = memchr(lines, '\n', (size_t)(end - lines));
        size_t len = (size_t)((nl ? nl : end) - lines);
        const char *colon = memchr(lines, ':', len);
        if (len) {
            size_t k = colon ? (size_t)(colon - lines) : len;
            size_t v = colon ? k + 1 : len;
            while (v < len && lines[v] == ' ')
                v++;
            char *key = kj_xstrndup(lines, k), *val = kj_xstrndup(lines + v, len - v);
            rc = kj_db_do(l, err, "INSERT OR REPLACE INTO config VALUES (?,?,?,?,?)",
                          "iisss", l->run, number, stage, key, val);
            free(key);
            free(val);
        }
        lines += nl ? len + 1 : len;
    }
    return rc;
}

int kj_ledger_begin(struct kj_ledger *l, const struct kj_ledger_info *info,
                    bool *resumed, struct kj_err *err)
{
    char now[32], hash[33];
    const char *config = info->config ? info->config : "";
    kj_hash128_hex(kj_hash128(config, strlen(config)), hash);
    kj_ledger_now(now);
    l->signals = info->signals == KJ_SIGNALS_NONE     ? 0
                 : info->signals == KJ_SIGNALS_SAMPLE ? info->signal_share
                                                      : 1;
    l->run = 0;
    int rc = kj_db_begin(l, err);
    if (rc)
        return rc;
    if (info->resume)
        rc = kj_db_int(l, &l->run, err,
                       "SELECT run FROM runs WHERE name = ? AND config_hash = ?"
                       " AND shard IS ? ORDER BY run DESC LIMIT 1",
                       "sss", info->name, hash, info->shard);
    if (resumed)
        *resumed = l->run != 0;
    if (rc == KJ_OK && l->run) {
        rc = kj_db_do(l, err,
                      "UPDATE runs SET status = 'running', finished = NULL, version = ?"
                      " WHERE run = ?",
                      "si", info->version, l->run);
    } else if (rc == KJ_OK) {
        rc = kj_db_do(l, err,
                      "INSERT INTO runs (name, version, command, config_hash, shard,"
                      " partial, started, status) VALUES (?,?,?,?,?,?,?,'running')",
                      "sssssis", info->name, info->version, info->command, hash,
                      info->shard, (int64_t)info->partial, now);
        l->run = sqlite3_last_insert_rowid(l->db);
    }
    if (rc == KJ_OK)
        rc = kj_ledger_put_config(l, 0, "", config, strlen(config), err);
    if (rc == KJ_OK) /* as a number, whatever the command calls it */
        rc = kj_db_do(
            l, err,
            "INSERT OR REPLACE INTO config VALUES (?, 0, '', 'signal_share', ?)", "id",
            l->run, l->signals);
    if (rc) {
        kj_db_rollback(l);
        return rc;
    }
    return kj_db_commit(l, err);
}

int kj_ledger_phase(struct kj_ledger *l, const char *phase, bool parts,
                    struct kj_err *err)
{
    free(l->phase);
    l->phase = kj_xstrdup(phase);
    l->parts = parts;
    /* What earlier phases measured comes with their documents, and has been
     * recorded: a rule is this phase's when one of its stages says so. */
    for (size_t i = 0; i < l->n_rules; i++)
        l->rules[i].ours = false;
    /* A part is durable before its input is passed over for good. */
    return kj_db_exec(
        l, parts ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL", err);
}

/* Size of a file, or inode of a pipe, to bind; -1 for neither. */
static void probe(const char *path, int fd, int64_t *bytes, int64_t *pipe)
{
    struct stat st;
    *bytes = *pipe = -1;
    if ((strcmp(path, "-") == 0 ? fstat(fd, &st) : stat(path, &st)) != 0)
        return;
    if (S_ISFIFO(st.st_mode))
        *pipe = (int64_t)st.st_ino;
    else if (S_ISREG(st.st_mode))
        *bytes = st.st_size;
}

int kj_ledger_input(struct kj_ledger *l, const char *path, struct kj_err *err)
{
    int64_t bytes, pipe;
    probe(path, 0, &bytes, &pipe);
    return kj_db_do(l, err,
                    "INSERT OR REPLACE INTO inputs (run, path, bytes, pipe)"
                    " VALUES (?, ?, nullif(?, -1), nullif(?, -1))",
                    "isii", l->run, path, bytes, pipe);
}

int kj_ledger_output(struct kj_ledger *l, const char *path, struct kj_err *err)
{
    char hash[40] = "", now[32], manifest[4096];
    int64_t bytes, pipe;
    struct stat st;
    if (strcmp(path, "-") != 0 && stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
        snprintf(manifest, sizeof manifest, "%s/manifest.jsonl", path);
        path = manifest;
    }
    probe(path, 1, &bytes, &pipe);
    if (strcmp(path, "-") != 0) {
        int rc = kj_hash_file(path, hash, &bytes, err);
        if (rc)
            return rc;
    }
    kj_ledger_now(now);
    return kj_db_do(
        l, err,
        "INSERT OR REPLACE INTO outputs (run, phase, path, hash, bytes, docs,"
        " text_bytes, sum, pipe, written) VALUES (?, ?, ?, nullif(?, ''),"
        " nullif(?, -1), ?, ?, ?, nullif(?, -1), ?)",
        "isssiuuuis", l->run, l->phase, path, hash, bytes, l->last.docs, l->last.bytes,
        l->last_sum, pipe, now);
}

/* ------------------------------------------------------------------ parts */

int kj_ledger_commit(struct kj_ledger *l, const struct kj_flow *f,
                     struct kj_ledger_part *part, struct kj_err *err)
{
    char now[32];
    kj_ledger_now(now);
    int rc = kj_db_begin(l, err);
    l->last = (struct kj_count){0, 0};
    l->last_sum = 0;
    if (rc == KJ_OK && f)
        rc = kj_ledger_flush_flow(l, f, err);
    if (rc == KJ_OK && part) {
        part->docs += l->last.docs;
        part->text_bytes += l->last.bytes;
        part->sum += l->last_sum;
        if (rc == KJ_OK) /* it may have had another name */
            rc = kj_db_do(
                l, err, "DELETE FROM outputs WHERE run = ? AND phase = ? AND part = ?",
                "isi", l->run, l->phase, part->part);
        if (rc == KJ_OK)
            rc = kj_db_do(
                l, err,
                "INSERT OR REPLACE INTO outputs (run, phase, part, path, hash,"
                " bytes, docs, text_bytes, sum, file_start, offset_start, file_end,"
                " offset_end, written) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
                "isissiuuuiiiis", l->run, l->phase, part->part, part->path, part->hash,
                part->bytes, part->docs, part->text_bytes, part->sum,
                (int64_t)part->start.file, part->start.offset, (int64_t)part->end.file,
                part->end.offset, now);
    }
    if (rc) {
        kj_ledger_rollback(l);
        return rc;
    }
    return kj_db_commit(l, err);
}

void kj_ledger_rollback(struct kj_ledger *l)
{
    kj_db_rollback(l);
    /* Rules may have been named first in what is gone. */
    kj_ledger_rules_release(l);
}

int kj_ledger_parts(struct kj_ledger *l, const char *phase,
                    int (*each)(void *ctx, const struct kj_ledger_part *p), void *ctx,
                    struct kj_err *err)
{
    sqlite3_stmt *st;
    int rc = kj_db_query(l, &st, err,
                         "SELECT part, path, hash, bytes, docs, text_bytes, sum,"
                         " file_start, offset_start, file_end, offset_end FROM outputs"
                         " WHERE run = ? AND phase = ? AND part IS NOT NULL"
                         " ORDER BY part",
                         "is", l->run, phase);
    int s = SQLITE_DONE;
    while (rc == KJ_OK && (s = sqlite3_step(st)) == SQLITE_ROW) {
        struct kj_ledger_part p = {
            .part = sqlite3_column_int64(st, 0),
            .path = (const char *)sqlite3_column_text(st, 1),
            .bytes = sqlite3_column_int64(st, 3),
            .start = {(uint32_t)sqlite3_column_int64(st, 7),
                      sqlite3_column_int64(st, 8)},
            .end = {(uint32_t)sqlite3_column_int64(st, 9),
                    sqlite3_column_int64(st, 10)},
            .docs = (uint64_t)sqlite3_column_int64(st, 4),
            .text_bytes = (uint64_t)sqlite3_column_int64(st, 5),
            .sum = (uint64_t)sqlite3_column_int64(st, 6),
        };
        const char *h = (const char *)sqlite3_column_text(st, 2);
        snprintf(p.hash, sizeof p.hash, "%s", h ? h : "");
        rc = each(ctx, &p);
    }
    if (rc == KJ_OK && s != SQLITE_DONE)
        rc = kj_db_fail(l, "ledger", err);
    sqlite3_finalize(st);
    return rc;
}

int kj_ledger_docs_in(struct kj_ledger *l, const char *phase, uint64_t *docs,
                      struct kj_err *err)
{
    int64_t n = 0;
    int rc = kj_db_int(l, &n, err,
                       "SELECT docs_in FROM stages WHERE run = ? AND phase = ?"
                       " AND ordinal = 0",
                       "is", l->run, phase);
    *docs = (uint64_t)n;
    return rc;
}

int kj_ledger_damaged(struct kj_ledger *l, uint64_t *docs, struct kj_err *err)
{
    int64_t n = 0;
    int rc = kj_db_int(l, &n, err,
                       "SELECT SUM(docs) FROM reasons JOIN stages USING (stage)"
                       " WHERE run = ? AND damaged",
                       "i", l->run);
    *docs = (uint64_t)n;
    return rc;
}

int kj_ledger_forget(struct kj_ledger *l, const char *phase, struct kj_err *err)
{
    static const char *const sql[] = {
        "DELETE FROM decisions WHERE stage IN (SELECT stage FROM stages"
        " WHERE run = ? AND phase = ?)",
        "DELETE FROM reasons WHERE stage IN (SELECT stage FROM stages"
        " WHERE run = ? AND phase = ?)",
        "DELETE FROM outputs WHERE run = ? AND phase = ?",
        "UPDATE stages SET docs_in = 0, docs_kept = 0, bytes_in = 0, bytes_kept = 0,"
        " sum_in = 0, sum_kept = 0 WHERE run = ? AND phase = ?",
    };
    kj_ledger_rollback(l);
    int rc = kj_db_begin(l, err);
    for (size_t i = 0; i < sizeof sql / sizeof *sql && rc == KJ_OK; i++)
        rc = kj_db_do(l, err, sql[i], "is", l->run, phase);
    if (rc) {
        kj_db_rollback(l);
        return rc;
    }
    return kj_db_commit(l, err);
}

/* -------------------------------------------------------------------- end */

/* A run that read what another wrote: through a pipe, which both know by its
 * inode, or from a file that was there before. From a pipe it may have read
 * something else only by a fault, which reconciling will find; a file may have
 * been changed, so counts and checksums have to agree before the two are
 * linked. Either of the two may end last. */
static int link_runs(struct kj_ledger *l, struct kj_err *err)
{
    return kj_db_do(
        l, err,
        "WITH ends AS (SELECT run, min(stage) AS first, max(stage) AS last FROM stages"
        " GROUP BY run),"
        " pairs AS (SELECT c.run AS child, max(p.run) AS parent"
        " FROM runs c JOIN ends ce ON ce.run = c.run JOIN stages a ON a.stage = "
        "ce.first"
        " JOIN inputs i ON i.run = c.run"
        " JOIN outputs o ON (o.pipe = i.pipe OR o.path = i.path AND o.path <> '-')"
        " JOIN runs p ON p.run = o.run JOIN ends pe ON pe.run = p.run"
        " JOIN stages z ON z.stage = pe.last"
        " WHERE c.parent IS NULL AND p.run <> c.run AND ?1 IN (c.run, p.run)"
        " AND c.finished IS NOT NULL AND p.finished IS NOT NULL"
        " AND (o.pipe = i.pipe OR p.finished <= c.started AND a.docs_in = z.docs_kept"
        " AND (a.sum_in = z.sum_kept OR a.docs_kept < a.docs_in))"
        " GROUP BY c.run)"
        " UPDATE runs SET parent = (SELECT parent FROM pairs WHERE child = run)"
        " WHERE run IN (SELECT child FROM pairs)",
        "i", l->run);
}

int kj_ledger_end(struct kj_ledger *l, const struct kj_flow *f, int status,
                  struct kj_err *err)
{
    char now[32];
    const char *word = status == 0     ? "ok"
                       : status == 3   ? "damaged"
                       : status == 130 ? "interrupted"
                                       : "failed";
    kj_ledger_now(now);
    kj_ledger_rollback(l); /* rows without a commit do not count */
    int rc = kj_db_begin(l, err);
    if (rc == KJ_OK)
        rc = kj_db_do(
            l, err,
            "UPDATE runs SET finished = ?, status = ?,"
            " docs_in = (SELECT docs_in FROM stages WHERE run = ?3 ORDER BY"
            " stage LIMIT 1),"
            " docs_kept = (SELECT docs_kept FROM stages WHERE run = ?3 ORDER BY"
            " stage DESC LIMIT 1) WHERE run = ?3",
            "ssi", now, word, l->run);
    if (rc == KJ_OK && f)
        rc = kj_ledger_add_run(l, f, err);
    if (rc == KJ_OK)
        rc = link_runs(l, err);
    if (rc) {
        kj_db_rollback(l);
        return rc;
    }
    return kj_db_commit(l, err);
}
