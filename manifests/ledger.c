/* ledger.c - runs, phases, parts, counters.
 *
 * Transactions. A filter commits at every batch, so that several processes of
 * a pipe can take turns: the write lock is held for milliseconds. A flow in
 * parts holds one transaction from its first batch to kj_ledger_commit.
 * Counters of stages are not counted here but taken from the flow, as the
 * difference to what is already in the file (struct kj_done), so that a flow
 * which spans several parts adds each document once. Checksums wrap around
 * modulo 2^64; SQLite's integers do not, hence they are added in C.
 */
#include "manifests/ledger.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/hash.h"
#include "manifests/ledger_internal.h"

void kj_ledger_done_release(struct kj_ledger *l)
{
    if (l->done)
        for (size_t i = 0; i <= l->n_steps; i++)
            free(l->done[i].tallies);
    free(l->done);
    l->done = NULL;
}

/* ------------------------------------------------------------------- runs */

/* "key: value" lines to rows of config. number: of the stage, 0 for the run. */
static int put_config(struct kj_ledger *l, int64_t number, const char *stage,
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
        rc = put_config(l, 0, "", config, strlen(config), err);
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

/* ---------------------------------------------------------------- stages */

static int register_stage(struct kj_ledger *l, size_t ordinal, const char *name,
                          int64_t *id, struct kj_err *err)
{
    *id = 0;
    int rc = kj_db_int(l, id, err,
                       "SELECT stage FROM stages WHERE run = ? AND phase = ? AND"
                       " ordinal = ?",
                       "isi", l->run, l->phase, (int64_t)ordinal);
    if (rc || *id)
        return rc;
    rc = kj_db_do(l, err,
                  "INSERT INTO stages (run, phase, ordinal, name) VALUES (?,?,?,?)",
                  "isis", l->run, l->phase, (int64_t)ordinal, name);
    *id = sqlite3_last_insert_rowid(l->db);
    return rc;
}

static int register_rules(struct kj_ledger *l, size_t step, int64_t stage,
                          const struct kj_step *s, struct kj_err *err)
{
    const struct kj_rule *r = NULL;
    size_t n = s->stage->rules ? s->stage->rules(s->cfg, &r) : 0;
    int64_t *rule = kj_xcalloc(n + 1, sizeof *rule);
    int rc = KJ_OK;
    for (size_t i = 0; i < n && rc == KJ_OK; i++) {
        struct kj_rule_slot *slot;
        rc = kj_ledger_rule(l, r[i].name, strlen(r[i].name), true, &slot, err);
        if (rc || !slot)
            continue;
        rule[i] = slot->id;
        if (strcmp(r[i].op, "off") == 0)
            continue;
        slot->only = slot->declared++ ? NULL : &r[i];
        rc = kj_db_do(l, err, "UPDATE rules SET unit = ?, about = ? WHERE rule = ?",
                      "ssi", r[i].unit, r[i].about, slot->id);
        if (rc == KJ_OK)
            rc = kj_db_do(l, err, "INSERT OR REPLACE INTO thresholds VALUES (?,?,?,?)",
                          "iisd", stage, slot->id, r[i].op, r[i].threshold);
    }
    if (rc == KJ_OK)
        rc = kj_ledger_cuts_register(l, step, stage, r, n, rule, err);
    free(rule);
    return rc;
}

static int register_flow(struct kj_ledger *l, const struct kj_flow *f,
                         struct kj_err *err)
{
    struct kj_buf dump;
    kj_buf_init(&dump, 1 << 20);
    int64_t id;
    int rc = register_stage(l, 0, "input", &l->stage0, err);
    kj_ledger_cuts_release(l);
    for (size_t i = 0; i < l->n_rules; i++) {
        l->rules[i].only = NULL;
        l->rules[i].declared = 0;
    }
    for (size_t i = 0; i < f->n_steps && rc == KJ_OK; i++) {
        const struct kj_step *s = &f->steps[i];
        rc = register_stage(l, i + 1, s->stage->name, &id, err);
        if (rc == KJ_OK && id != l->stage0 + 1 + (int64_t)i)
            rc = kj_err_set(err, KJ_FAIL, "ledger: phase '%s' had other stages before",
                            l->phase);
        kj_buf_reset(&dump);
        if (rc == KJ_OK && s->stage->opts)
            kj_opt_dump(s->stage->opts, s->cfg, &dump);
        if (rc == KJ_OK)
            rc = put_config(l, id, s->stage->name, dump.p, dump.n, err);
        if (rc == KJ_OK)
            rc = register_rules(l, i, id, s, err);
        if (rc == KJ_OK)
            rc = kj_ledger_bands_register(l, i, s, err);
    }
    kj_buf_release(&dump);
    return rc;
}

static int watch_begin(void *self, const struct kj_flow *f, struct kj_err *err)
{
    struct kj_ledger *l = self;
    kj_ledger_done_release(l);
    l->n_steps = f->n_steps;
    l->done = kj_xcalloc(f->n_steps + 1, sizeof *l->done);
    l->open_flow = true;
    l->known_first = false;
    l->own_sum = 0;
    l->spent = (struct kj_spent){0};
    /* Its own transaction, also with parts: registering is idempotent. */
    int rc = kj_db_begin(l, err);
    if (rc == KJ_OK)
        rc = register_flow(l, f, err);
    if (rc) {
        kj_db_rollback(l);
        return rc;
    }
    return kj_db_commit(l, err);
}

static int watch_batch(void *self, const struct kj_flow *f, const struct kj_batch *b,
                       struct kj_err *err)
{
    struct kj_ledger *l = self;
    int rc = kj_db_begin(l, err);
    /* A flow without stages does not sum up what passes. */
    for (size_t i = 0; i < b->n && f->n_steps == 0; i++)
        if (kj_doc_kept(&b->docs[i]))
            l->own_sum += kj_doc_checksum(&b->docs[i]);
    if (rc == KJ_OK)
        rc = kj_ledger_rows(l, b, err);
    if (rc) {
        kj_db_rollback(l);
        return rc;
    }
    return l->parts ? KJ_OK : kj_db_commit(l, err);
}

/* --------------------------------------------------------------- counters */

static int add_reasons(struct kj_ledger *l, int64_t stage, const struct kj_tally *t,
                       size_t n, struct kj_done *d, struct kj_err *err)
{
    int rc = KJ_OK;
    if (n > d->n_tallies) {
        d->tallies = kj_xrealloc(d->tallies, n * sizeof *d->tallies);
        memset(d->tallies + d->n_tallies, 0, (n - d->n_tallies) * sizeof *d->tallies);
        d->n_tallies = n;
    }
    for (size_t i = 0; i < n && rc == KJ_OK; i++) {
        struct kj_rule_slot *slot;
        if (t[i].docs == d->tallies[i].docs)
            continue;
        rc = kj_ledger_rule(l, t[i].rule, strlen(t[i].rule), true, &slot, err);
        if (rc == KJ_OK && !slot)
            rc = kj_err_set(err, KJ_FAIL, "ledger: more than %d rules",
                            KJ_LEDGER_RULES_MAX);
        if (rc == KJ_OK)
            rc = kj_db_do(l, err,
                          "INSERT INTO reasons VALUES (?,?,?,?,?) ON CONFLICT DO UPDATE"
                          " SET docs = docs + excluded.docs, bytes = bytes +"
                          " excluded.bytes",
                          "iiuui", stage, slot->id, t[i].docs - d->tallies[i].docs,
                          t[i].bytes - d->tallies[i].bytes, (int64_t)t[i].damaged);
        d->tallies[i] = (struct kj_count){t[i].docs, t[i].bytes};
    }
    return rc;
}

static int add_counts(struct kj_ledger *l, int64_t stage, const struct kj_done *now,
                      struct kj_done *was, struct kj_err *err)
{
    int64_t sum_in = 0, sum_kept = 0;
    int rc = kj_db_int(l, &sum_in, err, "SELECT sum_in FROM stages WHERE stage = ?",
                       "i", stage);
    if (rc == KJ_OK)
        rc = kj_db_int(l, &sum_kept, err, "SELECT sum_kept FROM stages WHERE stage = ?",
                       "i", stage);
    if (rc == KJ_OK)
        rc = kj_db_do(
            l, err,
            "UPDATE stages SET docs_in = docs_in + ?, docs_kept = docs_kept + ?,"
            " bytes_in = bytes_in + ?, bytes_kept = bytes_kept + ?, sum_in = ?,"
            " sum_kept = ? WHERE stage = ?",
            "uuuuuui", now->in - was->in, now->kept - was->kept,
            now->bytes_in - was->bytes_in, now->bytes_kept - was->bytes_kept,
            (uint64_t)sum_in + (now->sum_in - was->sum_in),
            (uint64_t)sum_kept + (now->sum_kept - was->sum_kept), stage);
    was->in = now->in;
    was->kept = now->kept;
    was->bytes_in = now->bytes_in;
    was->bytes_kept = now->bytes_kept;
    was->sum_in = now->sum_in;
    was->sum_kept = now->sum_kept;
    return rc;
}

/* The source as a stage of its own: it drops what is damaged. */
static struct kj_done source_counts(const struct kj_ledger *l, const struct kj_flow *f)
{
    struct kj_done d = {.in = f->docs_in, .bytes_in = f->text_in};
    uint64_t lost = 0;
    for (size_t i = 0; i < f->n_source_tallies; i++)
        lost += f->source_tallies[i].docs;
    d.kept = f->docs_in - lost;
    d.bytes_kept = f->n_steps ? f->steps[0].bytes_in : f->bytes_kept;
    d.sum_in = d.sum_kept = f->n_steps ? f->steps[0].sum_in : l->own_sum;
    return d;
}

/* Adds what the flow read and how long it took since the last time. Bytes
 * count once, in the run's first phase: later ones read what it wrote. */
static int add_run(struct kj_ledger *l, const struct kj_flow *f, struct kj_err *err)
{
    struct kj_spent now = {f->bytes_in, f->text_in, f->wall, f->cpu};
    struct kj_spent was = l->spent;
    l->spent = now;
    return kj_db_do(l, err,
                    "UPDATE runs SET wall = coalesce(wall, 0) + ?1, cpu = coalesce(cpu,"
                    " 0) + ?2, bytes_in = coalesce(bytes_in, 0) + ?3 * first, text_in ="
                    " coalesce(text_in, 0) + ?4 * first FROM (SELECT min(stage) = ?5 AS"
                    " first FROM stages WHERE run = ?6) WHERE run = ?6",
                    "dduuii", now.wall - was.wall, now.cpu - was.cpu,
                    now.bytes - was.bytes, now.text - was.text, l->stage0, l->run);
}

static int flush_flow(struct kj_ledger *l, const struct kj_flow *f, struct kj_err *err)
{
    struct kj_done now = source_counts(l, f);
    uint64_t docs = l->done[l->n_steps].kept, bytes = l->done[l->n_steps].bytes_kept,
             sum = l->done[l->n_steps].sum_kept;
    int rc = kj_db_begin(l, err);
    if (rc == KJ_OK)
        rc = add_counts(l, l->stage0, &now, &l->done[0], err);
    if (rc == KJ_OK)
        rc = add_reasons(l, l->stage0, f->source_tallies, f->n_source_tallies,
                         &l->done[0], err);
    for (size_t i = 0; i < f->n_steps && rc == KJ_OK; i++) {
        const struct kj_step *s = &f->steps[i];
        int64_t stage = l->stage0 + 1 + (int64_t)i;
        now = (struct kj_done){.in = s->in,
                               .kept = s->kept,
                               .bytes_in = s->bytes_in,
                               .bytes_kept = s->bytes_kept,
                               .sum_in = s->sum_in,
                               .sum_kept = s->sum_kept};
        rc = add_counts(l, stage, &now, &l->done[i + 1], err);
        if (rc == KJ_OK)
            rc = add_reasons(l, stage, s->tallies, s->n_tallies, &l->done[i + 1], err);
    }
    if (rc == KJ_OK)
        rc = kj_ledger_flush(l, err);
    if (rc == KJ_OK)
        rc = add_run(l, f, err);
    l->last.docs = l->done[l->n_steps].kept - docs;
    l->last.bytes = l->done[l->n_steps].bytes_kept - bytes;
    l->last_sum = l->done[l->n_steps].sum_kept - sum;
    return rc;
}

static int watch_end(void *self, const struct kj_flow *f, struct kj_err *err)
{
    struct kj_ledger *l = self;
    if (l->parts)
        return KJ_OK;
    int rc = flush_flow(l, f, err);
    l->open_flow = false;
    if (rc) {
        kj_db_rollback(l);
        return rc;
    }
    return kj_db_commit(l, err);
}

struct kj_watch kj_ledger_watch(struct kj_ledger *l)
{
    return (struct kj_watch){l, watch_begin, watch_batch, watch_end};
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
        rc = flush_flow(l, f, err);
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
        rc = add_run(l, f, err);
    if (rc == KJ_OK)
        rc = link_runs(l, err);
    if (rc) {
        kj_db_rollback(l);
        return rc;
    }
    return kj_db_commit(l, err);
}
