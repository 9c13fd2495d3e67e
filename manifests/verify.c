/* verify.c - reads back what a run wrote and compares it with the ledger. */
#include "manifests/verify.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/hash.h"
#include "base/input.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/order.h"
#include "base/shards.h"
#include "manifests/ledger_internal.h"

struct job {
    struct kj_verify *v;
    struct kj_ledger *l; /* NULL: none there */
    char *base;          /* the folder that recorded paths are relative to */
    int64_t done, all;   /* bytes read, to be read */
    struct kj_err *err;
};

static void wrong(struct job *j, const char *file, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static void wrong(struct job *j, const char *file, const char *fmt, ...)
{
    char text[800];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    j->v->mismatches++;
    j->v->wrong(j->v->ctx, file, text);
}

static bool stopped(const struct job *j)
{
    return j->v->stop && atomic_load(j->v->stop);
}

static bool is_file(const char *path, int64_t *bytes)
{
    struct stat st;
    if (stat(path, &st) != 0 || !S_ISREG(st.st_mode))
        return false;
    if (bytes)
        *bytes = st.st_size;
    return true;
}

/* A recorded path: relative to the ledger's folder for parts; what a filter
 * wrote is named as it was typed. */
static char *resolve(const struct job *j, const char *path)
{
    if (path[0] == '/')
        return kj_xstrdup(path);
    char *p = kj_xprintf("%s/%s", j->base, path);
    if (is_file(p, NULL) || !is_file(path, NULL))
        return p;
    free(p);
    return kj_xstrdup(path);
}

/* --------------------------------------------------------------- documents */

struct lines {
    uint64_t docs, sum, bad;
};

static int count_docs(struct job *j, const char *path, struct lines *out)
{
    struct kj_input *in = NULL;
    struct kj_err e = KJ_ERR_INIT;
    struct kj_arena a;
    struct kj_json *json = kj_json_new();
    const char *p;
    size_t n;
    int64_t member, at;
    kj_arena_init(&a, KJ_BATCH_ARENA_CAP);
    int rc = kj_input_open(&in, path, &e);
    struct kj_lines *l = rc == KJ_OK ? kj_lines_new(in, KJ_DOC_LINE_MAX) : NULL;
    while (rc == KJ_OK && !stopped(j)) {
        struct kj_doc d = {0};
        rc = kj_lines_next(l, &p, &n, &member, &at, &e);
        if (rc != KJ_OK)
            break;
        if (kj_doc_parse(&d, json, &a, p, n, NULL) == KJ_OK) {
            out->docs++;
            out->sum += kj_doc_checksum(&d);
        } else {
            out->bad++;
        }
        kj_arena_reset(&a);
    }
    if (rc < 0)
        wrong(j, path, "%s", e.msg);
    kj_lines_free(l);
    kj_input_close(in);
    kj_json_free(json);
    kj_arena_release(&a);
    return rc < 0 ? KJ_FAIL : KJ_OK;
}

static bool holds_docs(const char *path)
{
    const char *name = strrchr(path, '/');
    return strstr(path, ".jsonl") && strcmp(name ? name + 1 : path, "manifest.jsonl");
}

static void check_docs(struct job *j, const char *path, sqlite3_stmt *st)
{
    struct lines n = {0};
    if (sqlite3_column_type(st, 3) == SQLITE_NULL || count_docs(j, path, &n) != KJ_OK ||
        stopped(j))
        return;
    uint64_t docs = (uint64_t)sqlite3_column_int64(st, 3);
    if (n.bad)
        wrong(j, path, "%" PRIu64 " lines are no documents", n.bad);
    if (n.docs != docs)
        wrong(j, path, "%" PRIu64 " documents, by the ledger %" PRIu64, n.docs, docs);
    else if (n.sum != (uint64_t)sqlite3_column_int64(st, 4))
        wrong(j, path, "documents differ from those that the last stage left");
    j->v->documents += n.docs;
}

static void check_output(struct job *j, sqlite3_stmt *st)
{
    const char *name = (const char *)sqlite3_column_text(st, 0);
    const char *want = (const char *)sqlite3_column_text(st, 1);
    char hash[40];
    int64_t bytes = 0;
    struct kj_err e = KJ_ERR_INIT;
    char *path = resolve(j, name);
    if (j->v->progress)
        j->v->progress(j->v->ctx, name, j->done, j->all);
    if (!is_file(path, &bytes)) {
        wrong(j, path, "missing");
    } else if (kj_hash_file(path, hash, &bytes, &e) != KJ_OK) {
        wrong(j, path, "%s", e.msg);
    } else {
        j->v->files++;
        j->v->bytes += bytes;
        j->done += bytes;
        if (want && strcmp(want, hash) != 0)
            wrong(j, path,
                  "content is %s (%" PRId64 " bytes), by the ledger %s (%" PRId64
                  " bytes)",
                  hash, bytes, want, (int64_t)sqlite3_column_int64(st, 2));
        else if (holds_docs(path))
            check_docs(j, path, st);
    }
    free(path);
}

/* Of a file written more than once, the last writing counts. */
static int check_outputs(struct job *j)
{
    sqlite3_stmt *st;
    int rc = kj_db_int(j->l, &j->all, j->err,
                       "SELECT sum(bytes) FROM outputs WHERE path <> '-'", "");
    if (rc == KJ_OK)
        rc = kj_db_query(j->l, &st, j->err,
                         "SELECT path, hash, bytes, docs, sum FROM outputs o WHERE path"
                         " <> '-' AND output = (SELECT max(output) FROM outputs WHERE"
                         " path = o.path) ORDER BY output",
                         "");
    if (rc)
        return rc;
    int s;
    while ((s = sqlite3_step(st)) == SQLITE_ROW && !stopped(j))
        check_output(j, st);
    if (s != SQLITE_ROW && s != SQLITE_DONE)
        rc = kj_db_fail(j->l, "ledger", j->err);
    sqlite3_finalize(st);
    return rc;
}

/* ------------------------------------------------------------------ shards */

/* One line of the document index against the ledger. */
static void check_lineage(struct job *j, const char *file, sqlite3_stmt *st,
                          const struct kj_jval *v)
{
    struct kj_str id = kj_jstr(kj_jget(v, "id"));
    int64_t tokens = kj_jint(kj_jget(v, "tokens"), -1);
    bool found = false, kept = false, equal = false;
    sqlite3_bind_text64(st, 1, id.p ? id.p : "", id.n, SQLITE_STATIC, SQLITE_UTF8);
    while (sqlite3_step(st) == SQLITE_ROW) {
        bool alive = sqlite3_column_int(st, 1) == 0;
        found = true;
        kept |= alive;
        /* The shard holds an end mark behind each document. */
        equal |= alive && (sqlite3_column_type(st, 0) == SQLITE_NULL ||
                           sqlite3_column_int64(st, 0) + 1 == tokens);
    }
    sqlite3_reset(st);
    if (!found)
        wrong(j, file, "document %.*s is not in the ledger", (int)id.n, id.p);
    else if (!kept)
        wrong(j, file, "document %.*s was dropped, by the ledger", (int)id.n, id.p);
    else if (!equal)
        wrong(j, file, "document %.*s has %" PRId64 " tokens, by the ledger others",
              (int)id.n, id.p, tokens);
}

static void lineage(struct job *j, const char *dir)
{
    struct kj_input *in = NULL;
    struct kj_err e = KJ_ERR_INIT;
    struct kj_json *json = kj_json_new();
    const struct kj_jval *root;
    sqlite3_stmt *st = NULL;
    const char *p;
    size_t n;
    int64_t member, at;
    char *path = kj_xprintf("%s/docs.jsonl.zst", dir);
    struct kj_lines *l = NULL;
    /* Equal ids are copies of which one may have stayed. Only the newest run
     * and those whose output it read have a say. */
    int rc =
        kj_db_exec(j->l,
                   "CREATE TEMP TABLE IF NOT EXISTS line_stages AS WITH RECURSIVE"
                   " up(run) AS (SELECT max(run) FROM runs UNION SELECT parent FROM"
                   " runs JOIN up USING (run) WHERE parent IS NOT NULL) SELECT stage"
                   " FROM stages JOIN up USING (run)",
                   &e);
    if (rc == KJ_OK)
        rc = kj_db_prepare(j->l, &st,
                           "SELECT d.tokens, (SELECT count(*) FROM decisions x WHERE"
                           " x.doc = d.doc AND x.kept = 0 AND x.stage IN (SELECT stage"
                           " FROM line_stages)) FROM documents d WHERE d.id = ?1",
                           &e);
    if (rc == KJ_OK)
        rc = kj_input_open(&in, path, &e);
    if (rc == KJ_OK)
        l = kj_lines_new(in, KJ_DOC_LINE_MAX);
    while (rc == KJ_OK && !stopped(j)) {
        rc = kj_lines_next(l, &p, &n, &member, &at, &e);
        if (rc == KJ_OK)
            rc = kj_json_parse(json, p, n, &root, &e);
        if (rc == KJ_OK)
            check_lineage(j, path, st, root);
    }
    if (rc < 0)
        wrong(j, path, "%s", e.msg);
    sqlite3_finalize(st);
    kj_lines_free(l);
    kj_input_close(in);
    kj_json_free(json);
    free(path);
}

/* Does the ledger know who wrote these shards? Then it knows how many documents
 * they hold. */
static void shard_counts(struct job *j, const char *manifest, uint64_t docs, bool *ours)
{
    sqlite3_stmt *st;
    *ours = false;
    if (!j->l || kj_db_query(j->l, &st, NULL,
                             "SELECT path, docs FROM outputs ORDER BY output DESC", ""))
        return;
    while (!*ours && sqlite3_step(st) == SQLITE_ROW) {
        char *p = resolve(j, (const char *)sqlite3_column_text(st, 0));
        struct stat a, b;
        *ours = stat(p, &a) == 0 && stat(manifest, &b) == 0 && a.st_ino == b.st_ino &&
                a.st_dev == b.st_dev;
        if (*ours && sqlite3_column_type(st, 1) != SQLITE_NULL &&
            (uint64_t)sqlite3_column_int64(st, 1) != docs)
            wrong(j, manifest, "%" PRIu64 " documents, by the ledger %" PRId64, docs,
                  (int64_t)sqlite3_column_int64(st, 1));
        free(p);
    }
    sqlite3_finalize(st);
    /* `kijil tokenize` closes the ledger before it names its files. */
    int64_t n = 0;
    if (!*ours && kj_db_int(j->l, &n, NULL,
                            "SELECT count(*) FROM stages WHERE name = 'tokenize' AND"
                            " docs_kept = ?",
                            "u", docs) == KJ_OK)
        *ours = n > 0;
}

/* The shards are of the documents that the ledger's tokenize stage kept. */
static void shard_parents(struct job *j, const char *manifest,
                          const struct kj_shards *s)
{
    uint64_t sum = 0, docs = kj_shards_documents(s);
    int64_t known = 0, equal = 0;
    for (size_t i = 0; i < kj_shards_count(s); i++)
        sum += kj_shards_get(s, i)->documents_sum;
    if (kj_db_int(
            j->l, &known, NULL,
            "SELECT count(*) FROM stages WHERE name = 'tokenize' AND docs_kept = ?",
            "u", docs) == KJ_OK &&
        kj_db_int(
            j->l, &equal, NULL,
            "SELECT count(*) FROM stages WHERE name = 'tokenize' AND docs_kept = ?"
            " AND sum_kept = ?",
            "uu", docs, sum) == KJ_OK &&
        known && !equal)
        wrong(j, manifest, "made from other documents than the ledger has");
}

static void check_shards(struct job *j, const char *dir, const char *manifest)
{
    struct kj_shards *s = NULL;
    struct kj_err e = KJ_ERR_INIT;
    bool ours;
    if (j->v->progress)
        j->v->progress(j->v->ctx, manifest, j->done, j->all);
    int rc = kj_shards_open(&s, dir, &e);
    if (rc == KJ_OK)
        rc = kj_shards_verify(s, &e);
    if (rc != KJ_OK) {
        wrong(j, e.file[0] ? e.file : manifest, "%s", e.msg);
    } else {
        for (size_t i = 0; i < kj_shards_count(s); i++) {
            const struct kj_shard *k = kj_shards_get(s, i);
            j->v->bytes += (int64_t)(k->bytes + k->index_bytes);
            j->v->files += 2;
        }
        j->v->shards += kj_shards_count(s);
        j->v->tokens += kj_shards_tokens(s);
        shard_counts(j, manifest, kj_shards_documents(s), &ours);
        if (ours) {
            shard_parents(j, manifest, s);
            lineage(j, dir);
        }
    }
    kj_shards_close(s);
}

static void check_order(struct job *j, const char *dir)
{
    struct kj_order *o = NULL;
    struct kj_err e = KJ_ERR_INIT;
    int rc = kj_order_open(&o, dir, &e);
    if (rc == KJ_OK)
        rc = kj_order_verify(o, &e);
    if (rc != KJ_OK)
        wrong(j, e.file[0] ? e.file : dir, "%s", e.msg);
    else
        j->v->files += 2;
    kj_order_close(o);
}

/* Shards and orders in the folder itself and in the folders in it. */
static void find_shards(struct job *j, const char *dir, int depth, int *found)
{
    char *manifest = kj_xprintf("%s/manifest.jsonl", dir);
    if (is_file(manifest, NULL)) {
        ++*found;
        check_shards(j, dir, manifest);
    }
    free(manifest);
    if (kj_order_is(dir)) {
        ++*found;
        check_order(j, dir);
    }
    struct dirent **list;
    int n = depth ? scandir(dir, &list, NULL, alphasort) : -1;
    for (int i = 0; i < n; i++) {
        struct stat st;
        char *p = kj_xprintf("%s/%s", dir, list[i]->d_name);
        if (list[i]->d_name[0] != '.' && !stopped(j) && lstat(p, &st) == 0 &&
            S_ISDIR(st.st_mode))
            find_shards(j, p, depth - 1, found);
        free(p);
        free(list[i]);
    }
    if (n >= 0)
        free(list);
}

/* ------------------------------------------------------------------- whole */

static void books(struct job *j, const char *db)
{
    struct kj_buf lines;
    struct kj_err e = KJ_ERR_INIT;
    kj_buf_init(&lines, 1 << 20);
    int rc = kj_ledger_reconcile(j->l, &lines, &e);
    for (char *p = lines.p, *end = lines.p + lines.n; p && p < end;) {
        char *nl = memchr(p, '\n', (size_t)(end - p));
        *nl = '\0';
        wrong(j, db, "%s", p);
        p = nl + 1;
    }
    if (rc && !lines.n)
        wrong(j, db, "%s", e.msg);
    kj_buf_release(&lines);
}

/* DIR may be the folder or the ledger in it. */
static char *find_ledger(const struct kj_verify *v, struct job *j)
{
    char *db;
    if (is_file(v->dir, NULL)) {
        const char *slash = strrchr(v->dir, '/');
        j->base =
            slash ? kj_xstrndup(v->dir, (size_t)(slash - v->dir)) : kj_xstrdup(".");
        db = kj_xstrdup(v->ledger ? v->ledger : v->dir);
    } else {
        j->base = kj_xstrdup(v->dir);
        db = v->ledger ? kj_xstrdup(v->ledger) : kj_xprintf("%s/run.db", v->dir);
    }
    if (v->ledger || is_file(db, NULL))
        return db;
    free(db);
    return NULL;
}

int kj_verify_run(struct kj_verify *v, struct kj_err *err)
{
    struct job j = {.v = v, .err = err};
    struct stat st;
    int rc = KJ_OK, found = 0;
    if (stat(v->dir, &st) != 0) {
        rc = kj_err_errno(err, KJ_FAIL, "cannot open");
        kj_err_where(err, v->dir, -1);
        return rc;
    }
    char *db = find_ledger(v, &j);
    if (db)
        rc = kj_ledger_open(&j.l, db, KJ_LEDGER_READ, err);
    if (rc == KJ_OK && j.l) {
        books(&j, db);
        rc = check_outputs(&j);
    }
    if (rc == KJ_OK && !stopped(&j))
        find_shards(&j, j.base, 2, &found);
    if (rc == KJ_OK && !db && !found)
        rc = kj_err_set(err, KJ_FAIL,
                        "%s: neither run.db nor manifest.jsonl nor order.json is here",
                        v->dir);
    kj_ledger_close(j.l, NULL);
    free(db);
    free(j.base);
    return rc == KJ_OK && stopped(&j) ? KJ_EOF : rc;
}
