/* The ledger: rows, counters, several writers, parts and kill -9, and books
 * that do not balance. */
#include "manifests/ledger.h"
#include "tests/unit/manifests/synth.h"
#include "tests/unit/test.h"

#include <sqlite3.h>
#include <sys/wait.h>

static char dir[64];

static const char *db_path(const char *name)
{
    static char p[128];
    snprintf(p, sizeof p, "%s/%s", dir, name);
    return p;
}

/* One number from the file, by plain SQLite. */
static double ask(const char *path, const char *sql)
{
    sqlite3 *db;
    sqlite3_stmt *st = NULL;
    double v = -999;
    if (sqlite3_open(path, &db) == SQLITE_OK) {
        sqlite3_busy_timeout(db, 10000);
        if (sqlite3_prepare_v2(db, sql, -1, &st, NULL) != SQLITE_OK)
            printf("     %s: %s\n", sql, sqlite3_errmsg(db));
        else if (sqlite3_step(st) == SQLITE_ROW)
            v = sqlite3_column_double(st, 0);
    }
    sqlite3_finalize(st);
    sqlite3_close(db);
    return v;
}

static void tamper(const char *path, const char *sql)
{
    sqlite3 *db;
    char *msg = NULL;
    sqlite3_open(path, &db);
    CHECK_INT(sqlite3_exec(db, sql, NULL, NULL, &msg), SQLITE_OK);
    sqlite3_free(msg);
    sqlite3_close(db);
}

static const struct kj_ledger_info info = {.name = "test",
                                           .version = "0.1.0",
                                           .command = "kijil test",
                                           .config = "a: 1\nb: two\n"};

/* Run the two stages over synth documents into an open ledger. */
static int flow(struct kj_ledger *l, struct synth s, unsigned threads,
                struct kj_flow *f, struct kj_err *err)
{
    static struct synth_cfg cfg;
    struct kj_watch w = kj_ledger_watch(l);
    cfg = (struct synth_cfg){s.n_signals, 20};
    struct kj_step *steps = calloc(2, sizeof *steps);
    steps[0] = (struct kj_step){.stage = &alpha, .cfg = &cfg};
    steps[1] = (struct kj_step){.stage = &beta};
    *f = (struct kj_flow){.source = {.self = &s, .read = synth_read},
                          .steps = steps,
                          .n_steps = 2,
                          .watches = &w,
                          .n_watches = 1,
                          .threads = threads};
    int rc = kj_flow_run(f, err);
    f->watches = NULL;
    f->n_watches = 0;
    return rc;
}

static void flow_free(struct kj_flow *f)
{
    kj_flow_release(f);
    free(f->steps);
}

static int one_run(const char *path, struct synth s, unsigned threads,
                   struct kj_ledger_info i)
{
    struct kj_err err = KJ_ERR_INIT;
    struct kj_ledger *l;
    struct kj_flow f = {0};
    int rc = kj_ledger_open(&l, path, KJ_LEDGER_WRITE, &err);
    if (rc == KJ_OK)
        rc = kj_ledger_begin(l, &i, NULL, &err);
    if (rc == KJ_OK)
        rc = flow(l, s, threads, &f, &err);
    if (rc == KJ_OK)
        rc = kj_ledger_end(l, &f, f.damaged ? 3 : 0, &err);
    if (rc)
        printf("     %s\n", err.msg);
    flow_free(&f);
    kj_ledger_close(l, NULL);
    return rc;
}

static int reconcile(const char *path, char *msg, size_t n)
{
    struct kj_err err = KJ_ERR_INIT;
    struct kj_ledger *l;
    int rc = kj_ledger_open(&l, path, KJ_LEDGER_READ, &err);
    if (rc == KJ_OK)
        rc = kj_ledger_reconcile(l, NULL, &err);
    kj_ledger_close(l, NULL);
    snprintf(msg, n, "%s", err.msg);
    return rc;
}

static void test_rows(void)
{
    const char *p = db_path("rows.db");
    char msg[512];
    struct synth s = {.end = 1000, .batch = 64, .with_damage = true, .n_signals = 20};
    struct want w = synth_want(0, 1000, true);
    CHECK_INT(one_run(p, s, 3, info), KJ_OK);
    if (!CHECK_INT(reconcile(p, msg, sizeof msg), KJ_OK))
        printf("     %s\n", msg);
    CHECK(!test_have(db_path("rows.db-wal")));
    p = db_path("rows.db");
    CHECK_NEAR(ask(p, "SELECT count(*) FROM documents"), 1000, 0);
    CHECK_NEAR(ask(p, "SELECT docs_in FROM stages WHERE name = 'input'"), 1000, 0);
    CHECK_NEAR(ask(p, "SELECT docs FROM drops WHERE rule = 'input.bad_record'"),
               w.damaged, 0);
    CHECK_NEAR(ask(p, "SELECT docs FROM drops WHERE rule = 'alpha.words'"), w.words, 0);
    CHECK_NEAR(ask(p, "SELECT docs FROM drops WHERE rule = 'beta.near'"), w.near, 0);
    CHECK_NEAR(ask(p, "SELECT docs_kept FROM runs"), w.kept, 0);
    CHECK_NEAR(ask(p, "SELECT sum(kept) FROM decisions"), w.kept, 0);
    /* Every value, for kept and dropped alike: damaged records have none. */
    CHECK_NEAR(ask(p, "SELECT count(*) FROM values_of WHERE rule = 'alpha.words'"),
               (double)(w.docs - w.damaged), 0);
    CHECK_NEAR(ask(p, "SELECT count(*) FROM values_of WHERE rule LIKE 'alpha.%'"),
               (double)(w.docs - w.damaged) * 20, 0);
    CHECK_NEAR(ask(p, "SELECT value FROM values_of WHERE doc = 64 AND"
                      " rule = 'alpha.s01'"),
               0.063 + 1e-7, 0);
    CHECK_NEAR(ask(p,
                   "SELECT count(*) FROM decisions x JOIN signals g USING (doc, rule)"
                   " WHERE x.value <> g.value OR x.threshold <> 20"),
               0, 0);
    CHECK_NEAR(ask(p, "SELECT threshold FROM thresholds JOIN rules USING (rule) WHERE"
                      " name = 'alpha.words' AND op = '<' AND unit = 'words'"),
               20, 0);
    CHECK_NEAR(ask(p, "SELECT count(*) FROM sources WHERE name = 'site3.example.kr'"),
               1, 0);
    CHECK_NEAR(ask(p, "SELECT sum(docs) FROM source_counts"), 1000, 0);
    CHECK_NEAR(ask(p, "SELECT docs FROM language_counts WHERE language = 'ko'"), 250,
               0);
    CHECK_NEAR(ask(p, "SELECT sum(docs_kept) FROM language_counts"), w.kept, 0);
    CHECK_NEAR(ask(p, "SELECT count(*) FROM config WHERE key = 'b' AND value = 'two'"),
               1, 0);
    CHECK_NEAR(ask(p, "SELECT value FROM config WHERE stage = 'alpha'"), 20, 0);
    /* A histogram counts each value once; the samples stand at the cut. */
    CHECK_NEAR(ask(p, "SELECT sum(docs) FROM histograms JOIN rules USING (rule) WHERE"
                      " name = 'alpha.words'"),
               (double)(w.docs - w.damaged), 0);
    CHECK_NEAR(ask(p,
                   "SELECT sum(dropped) FROM histograms JOIN rules USING (rule) WHERE"
                   " name = 'alpha.words'"),
               w.words, 0);
    CHECK_NEAR(ask(p, "SELECT max(value) FROM samples JOIN rules USING (rule) WHERE"
                      " name = 'alpha.words' AND samples.kept = 0"),
               19, 0);
    CHECK_NEAR(ask(p, "SELECT min(value) FROM samples JOIN rules USING (rule) WHERE"
                      " name = 'alpha.words' AND samples.kept = 1"),
               20, 0);
    CHECK_NEAR(ask(p, "SELECT max(n) FROM (SELECT count(*) AS n FROM samples WHERE rule"
                      " > 0 GROUP BY rule, cut, kept, far)"),
               8, 0);
    CHECK_NEAR(ask(p, "SELECT count(*) FROM clusters"),
               ask(p, "SELECT count(*) FROM decisions x JOIN documents d USING (doc)"
                      " JOIN stages s USING (stage) WHERE s.name = 'beta' AND"
                      " (offset/1000) % 5 < 2"),
               0);
}

/* The same rows for any number of threads; and what is not asked for is not
 * there. */
static void test_threads(void)
{
    char one[128], four[128];
    struct synth s = {.end = 700, .batch = 16, .n_signals = 5, .twin = 9};
    struct kj_ledger_info none = info;
    none.signals = KJ_SIGNALS_NONE;
    snprintf(one, sizeof one, "%s", db_path("j1.db"));
    snprintf(four, sizeof four, "%s", db_path("j4.db"));
    CHECK_INT(one_run(one, s, 1, info), KJ_OK);
    CHECK_INT(one_run(four, s, 4, none), KJ_OK);
    char sql[300];
    static const char *const same[] = {"documents",  "decisions", "reasons",
                                       "histograms", "samples",   "clusters",
                                       "copies",     "stages"};
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        sqlite3 *db;
        sqlite3_open(one, &db);
        snprintf(sql, sizeof sql, "ATTACH '%s' AS b", four);
        sqlite3_exec(db, sql, NULL, NULL, NULL);
        snprintf(sql, sizeof sql,
                 "SELECT (SELECT count(*) FROM (SELECT * FROM main.%s EXCEPT SELECT *"
                 " FROM b.%s)) + (SELECT count(*) FROM main.%s) = (SELECT count(*) FROM"
                 " b.%s)",
                 same[i], same[i], same[i], same[i]);
        sqlite3_stmt *st;
        sqlite3_prepare_v2(db, sql, -1, &st, NULL);
        sqlite3_step(st);
        if (!CHECK_INT(sqlite3_column_int(st, 0), 1))
            printf("     table %s\n", same[i]);
        sqlite3_finalize(st);
        sqlite3_close(db);
    }
    CHECK_NEAR(ask(four, "SELECT count(*) FROM signals"), 0, 0);
    CHECK_NEAR(ask(one, "SELECT count(*) FROM values_of WHERE rule LIKE 'alpha.%'"),
               3500, 0);
}

/* Equal ids in one stream are copies; a later run finds the same ones. */
static void test_copies(void)
{
    const char *p = db_path("copies.db");
    char msg[512];
    struct synth s = {.end = 300, .batch = 10, .n_signals = 1, .twin = 3};
    CHECK_INT(one_run(p, s, 2, info), KJ_OK);
    CHECK_INT(one_run(p, s, 2, info), KJ_OK);
    CHECK_NEAR(ask(p, "SELECT count(*) FROM documents"), 300, 0);
    CHECK_NEAR(ask(p, "SELECT count(*) FROM documents WHERE copy = 1"), 100, 0);
    CHECK_NEAR(ask(p, "SELECT count(*) FROM decisions"), 600, 0);
    CHECK_INT(reconcile(p, msg, sizeof msg), KJ_OK);
    /* One page a thousand times. */
    p = db_path("page.db");
    s = (struct synth){.end = 2000, .batch = 100, .n_signals = 1};
    struct kj_err err = KJ_ERR_INIT;
    struct kj_ledger *l;
    CHECK_INT(kj_ledger_open(&l, p, KJ_LEDGER_WRITE, &err), KJ_OK);
    CHECK_INT(kj_ledger_begin(l, &info, NULL, &err), KJ_OK);
    struct kj_watch w = kj_ledger_watch(l);
    struct kj_flow f = {0};
    struct kj_batch b;
    kj_batch_init(&b);
    w.begin(w.self, &f, &err);
    for (int round = 0; round < 20; round++) {
        kj_batch_reset(&b);
        for (int i = 0; i < 100; i++) {
            struct kj_doc *d = kj_batch_add(&b);
            d->id = KJ_STR("same");
            d->text = KJ_STR("same page");
        }
        f.docs_in += b.n;
        f.docs_kept += b.n;
        CHECK_INT(w.batch(w.self, &f, &b, &err), KJ_OK);
    }
    CHECK_INT(w.end(w.self, &f, &err), KJ_OK);
    CHECK_INT(kj_ledger_end(l, &f, 0, &err), KJ_OK);
    kj_ledger_close(l, NULL);
    kj_batch_release(&b);
    CHECK_NEAR(ask(p, "SELECT max(copy) FROM documents"), 1999, 0);
    CHECK_NEAR(ask(p, "SELECT count(DISTINCT doc) FROM decisions"), 2000, 0);
    CHECK_INT(reconcile(p, msg, sizeof msg), KJ_OK);
}

/* Three processes write at the same time. */
static void test_writers(void)
{
    const char *p = db_path("writers.db");
    char msg[512];
    pid_t pid[3];
    for (int k = 0; k < 3; k++) {
        pid[k] = fork();
        if (pid[k] == 0) {
            struct synth s = {
                .at = (uint64_t)(k == 2 ? 0 : k) * 2000, .batch = 20, .n_signals = 6};
            s.end = s.at + 2000;
            _exit(one_run(p, s, 1, info) == KJ_OK ? 0 : 1);
        }
    }
    for (int k = 0; k < 3; k++) {
        int status = -1;
        waitpid(pid[k], &status, 0);
        CHECK_INT(status, 0);
    }
    CHECK_NEAR(ask(p, "SELECT count(*) FROM runs WHERE status = 'ok'"), 3, 0);
    CHECK_NEAR(ask(p, "SELECT count(*) FROM documents"), 4000, 0);
    CHECK_NEAR(ask(p, "SELECT count(*) FROM decisions"), 6000, 0);
    CHECK_NEAR(ask(p, "SELECT count(*) FROM values_of WHERE rule LIKE 'alpha.%'"),
               24000, 0);
    CHECK_INT(reconcile(p, msg, sizeof msg), KJ_OK);
    CHECK(!test_have(db_path("writers.db-wal")));
}

/* ---- parts ---- */

struct listed {
    int64_t n;
    uint64_t docs;
    int64_t end;
};
static int list_part(void *ctx, const struct kj_ledger_part *p)
{
    struct listed *x = ctx;
    CHECK_INT(p->part, x->n);
    x->n++;
    x->docs += p->docs;
    x->end = p->end.offset;
    return KJ_OK;
}

#define PART_DOCS 250
#define PARTS     8

/* Go on with a run in parts. kill_at: the number of the part in whose rows the
 * process dies (-1: never); late: after its rows, before its commit. */
static int parts_run(const char *path, int kill_at, bool late, struct kj_err *err)
{
    struct kj_ledger_info i = info;
    struct kj_ledger *l;
    struct listed have = {0};
    struct kj_flow f = {0};
    i.resume = true;
    int rc = kj_ledger_open(&l, path, KJ_LEDGER_WRITE, err);
    if (rc == KJ_OK)
        rc = kj_ledger_begin(l, &i, NULL, err);
    if (rc == KJ_OK)
        rc = kj_ledger_phase(l, "one", true, err);
    if (rc == KJ_OK)
        rc = kj_ledger_parts(l, "one", list_part, &have, err);
    for (int64_t k = have.n; k < PARTS && rc == KJ_OK; k++) {
        struct synth s = {
            .at = (uint64_t)k * PART_DOCS, .batch = 40, .n_signals = 4, .twin = 11};
        s.end = s.at + (k == kill_at && !late ? 100 : PART_DOCS);
        rc = flow(l, s, 2, &f, err);
        if (rc == KJ_OK && k == kill_at)
            kill(getpid(), SIGKILL);
        char name[32];
        snprintf(name, sizeof name, "part-%02d", (int)k);
        struct kj_ledger_part part = {.part = k,
                                      .path = name,
                                      .bytes = 1,
                                      .start = {0, k * PART_DOCS},
                                      .end = {0, (k + 1) * PART_DOCS}};
        if (rc == KJ_OK)
            rc = kj_ledger_commit(l, &f, &part, err);
        flow_free(&f);
    }
    if (rc == KJ_OK)
        rc = kj_ledger_end(l, NULL, 0, err);
    kj_ledger_close(l, NULL);
    return rc;
}

/* All that a reader can ask of a ledger, as one text. */
static void dump(const char *path, struct kj_buf *out)
{
    static const char *const sql[] = {
        "SELECT id, copy, url, bytes FROM documents ORDER BY id, copy",
        "SELECT id, copy, stage, kept, rule, value FROM why ORDER BY id, copy",
        "SELECT id, copy, rule, value FROM values_of ORDER BY id, copy, rule",
        "SELECT * FROM stages ORDER BY stage",
        "SELECT * FROM reasons ORDER BY stage, rule",
        "SELECT name, bucket, docs, dropped FROM histograms JOIN rules USING (rule)"
        " ORDER BY name, bucket",
        "SELECT name, kept, rank, hash, id, excerpt FROM samples JOIN rules USING "
        "(rule)"
        " ORDER BY name, kept, rank, hash",
        "SELECT doc, cluster, size, keeper FROM clusters ORDER BY doc",
        "SELECT cluster, size, id, kept, similarity, text FROM copies ORDER BY"
        " cluster, kept DESC, similarity, id",
        "SELECT part, path, docs, text_bytes, sum FROM outputs ORDER BY part",
    };
    sqlite3 *db;
    sqlite3_open(path, &db);
    for (size_t i = 0; i < sizeof sql / sizeof *sql; i++) {
        sqlite3_stmt *st = NULL;
        CHECK_INT(sqlite3_prepare_v2(db, sql[i], -1, &st, NULL), SQLITE_OK);
        while (sqlite3_step(st) == SQLITE_ROW) {
            for (int k = 0; k < sqlite3_column_count(st); k++)
                kj_buf_printf(out, "%s|", (const char *)sqlite3_column_text(st, k));
            kj_buf_addc(out, '\n');
        }
        sqlite3_finalize(st);
    }
    sqlite3_close(db);
}

static void test_killed(void)
{
    char whole[128], cut[128], msg[512];
    struct kj_err err = KJ_ERR_INIT;
    struct kj_buf a, b;
    snprintf(whole, sizeof whole, "%s", db_path("whole.db"));
    snprintf(cut, sizeof cut, "%s", db_path("cut.db"));
    CHECK_INT(parts_run(whole, -1, false, &err), KJ_OK);
    static const int at[] = {0, 3, 3, 7};
    for (size_t k = 0; k < sizeof at / sizeof *at; k++) {
        fflush(stdout);
        pid_t pid = fork();
        if (pid == 0) {
            parts_run(cut, at[k], k % 2, &err);
            _exit(9); /* not reached */
        }
        int status = 0;
        waitpid(pid, &status, 0);
        CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        /* What stands there is whole parts. */
        CHECK_NEAR(ask(cut, "SELECT count(*) FROM decisions"), at[k] * PART_DOCS, 0);
        CHECK_NEAR(ask(cut, "SELECT count(*) FROM outputs"), at[k], 0);
        CHECK_INT(reconcile(cut, msg, sizeof msg), KJ_FAIL);
        CHECK(strstr(msg, "did not end"));
    }
    CHECK_INT(parts_run(cut, -1, false, &err), KJ_OK);
    CHECK_INT(reconcile(cut, msg, sizeof msg), KJ_OK);
    CHECK_INT(reconcile(whole, msg, sizeof msg), KJ_OK);
    kj_buf_init(&a, 16 << 20);
    kj_buf_init(&b, 16 << 20);
    dump(whole, &a);
    dump(cut, &b);
    CHECK(a.n > 100000);
    CHECK(a.n == b.n && memcmp(a.p, b.p, a.n) == 0);
    kj_buf_release(&a);
    kj_buf_release(&b);
    /* A finished run stays as it is when asked to go on. */
    CHECK_INT(parts_run(cut, -1, false, &err), KJ_OK);
    CHECK_NEAR(ask(cut, "SELECT count(*) FROM runs"), 1, 0);
    CHECK_NEAR(ask(cut, "SELECT sum(docs_in) FROM stages WHERE ordinal = 0"),
               PART_DOCS * PARTS, 0);
}

/* One flow over several parts, committed from its sink; then the phase anew. */
struct spanning {
    struct kj_ledger *l;
    struct kj_flow *f;
    int64_t part;
    uint64_t docs;
};
static int span_write(void *self, struct kj_batch *b, struct kj_err *err)
{
    struct spanning *s = self;
    char name[32];
    if (b->serial % 3 != 2)
        return KJ_OK;
    snprintf(name, sizeof name, "p%d", (int)s->part);
    struct kj_ledger_part part = {
        .part = s->part++, .path = name, .start = {0, -1}, .end = b->next};
    int rc = kj_ledger_commit(s->l, s->f, &part, err);
    s->docs += part.docs;
    return rc;
}

static void test_spanning(void)
{
    const char *p = db_path("span.db");
    char msg[512];
    struct kj_err err = KJ_ERR_INIT;
    struct synth src = {.end = 1000, .batch = 30, .with_damage = true};
    struct synth_cfg cfg = {3, 20};
    struct kj_step steps[2] = {{.stage = &alpha, .cfg = &cfg}, {.stage = &beta}};
    struct spanning s = {0};
    CHECK_INT(kj_ledger_open(&s.l, p, KJ_LEDGER_WRITE, &err), KJ_OK);
    CHECK_INT(kj_ledger_begin(s.l, &info, NULL, &err), KJ_OK);
    CHECK_INT(kj_ledger_phase(s.l, "one", true, &err), KJ_OK);
    struct kj_watch w = kj_ledger_watch(s.l);
    struct kj_flow f = {.source = {.self = &src, .read = synth_read},
                        .steps = steps,
                        .n_steps = 2,
                        .watches = &w,
                        .n_watches = 1,
                        .sink = {.self = &s, .write = span_write},
                        .threads = 3};
    s.f = &f;
    CHECK_INT(kj_flow_run(&f, &err), KJ_OK);
    struct kj_ledger_part last = {.part = s.part, .path = "last"};
    CHECK_INT(kj_ledger_commit(s.l, &f, &last, &err), KJ_OK);
    CHECK_INT(s.docs + last.docs, synth_want(0, 1000, true).kept);
    CHECK_INT(kj_ledger_end(s.l, &f, 3, &err), KJ_OK);
    if (!CHECK_INT(kj_ledger_reconcile(s.l, NULL, &err), KJ_OK))
        printf("     %s\n", err.msg);
    CHECK_INT(kj_ledger_forget(s.l, "one", &err), KJ_OK);
    kj_ledger_close(s.l, NULL);
    kj_flow_release(&f);
    CHECK_NEAR(ask(p, "SELECT count(*) FROM decisions"), 0, 0);
    CHECK_NEAR(ask(p, "SELECT sum(docs_in) FROM stages"), 0, 0);
    (void)msg;
}

/* ---- books that do not balance ---- */

static void test_reconcile(void)
{
    static const struct {
        const char *sql, *want;
    } bad[] = {
        {"UPDATE stages SET docs_kept = docs_kept - 1 WHERE name = 'alpha'",
         "stage alpha: 490 in, 379 kept + 110 dropped: 1 missing"},
        {"UPDATE reasons SET docs = docs + 2 WHERE stage = 3",
         "stage beta: 380 in, 303 kept + 79 dropped: 2 too many"},
        {"DELETE FROM decisions WHERE doc = (SELECT min(doc) FROM decisions WHERE kept "
         "="
         " 0)",
         "decisions say so"},
        {"DELETE FROM decisions WHERE doc = (SELECT min(doc) FROM decisions WHERE "
         "kept)",
         "kept by count"},
        {"UPDATE stages SET sum_in = sum_in + 1 WHERE name = 'beta'",
         "beta read 380 documents that are not those which alpha left"},
        {"UPDATE runs SET status = 'running'", "did not end"},
        {"UPDATE runs SET status = 'interrupted'", "interrupted"},
    };
    char msg[512], path[128];
    struct synth s = {.end = 500, .batch = 50, .n_signals = 1, .with_damage = true};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(path, sizeof path, "%s/bad%zu.db", dir, i);
        one_run(path, s, 1, info);
        CHECK_INT(reconcile(path, msg, sizeof msg), KJ_OK);
        tamper(path, bad[i].sql);
        CHECK_INT(reconcile(path, msg, sizeof msg), KJ_FAIL);
        if (!CHECK(strstr(msg, bad[i].want)))
            printf("     got %s\n     want %s\n", msg, bad[i].want);
    }
}

/* Two processes at the ends of a pipe know each other by it; documents that
 * get lost between them are noticed. */
static void test_pipe(void)
{
    char msg[512], path[128];
    for (int round = 0; round < 12; round++) {
        int lose = round % 2;
        snprintf(path, sizeof path, "%s/pipe%d.db", dir, round);
        int fd[2];
        CHECK_INT(pipe(fd), 0);
        pid_t pid[2];
        for (int k = 0; k < 2; k++) {
            fflush(stdout);
            pid[k] = fork();
            if (pid[k])
                continue;
            dup2(fd[1 - k], 1 - k);
            struct kj_err err = KJ_ERR_INIT;
            struct kj_ledger *l;
            struct kj_flow f = {0};
            static const struct kj_stage first = {.name = "first", .run = beta_run};
            struct synth s = {.end = (uint64_t)(400 - (k && lose)), .batch = 25};
            struct kj_step step = {.stage = &first};
            if (kj_ledger_open(&l, path, KJ_LEDGER_WRITE, &err) != KJ_OK) {
                fprintf(stderr, "%s\n", err.msg);
                _exit(2);
            }
            kj_ledger_begin(l, &info, NULL, &err);
            struct kj_watch w = kj_ledger_watch(l);
            f = (struct kj_flow){.source = {.self = &s, .read = synth_read},
                                 .steps = &step,
                                 .n_steps = (size_t)k,
                                 .watches = &w,
                                 .n_watches = 1};
            if (k)
                kj_ledger_input(l, "-", &err);
            kj_flow_run(&f, &err);
            if (!k)
                kj_ledger_output(l, "-", &err);
            kj_ledger_end(l, &f, 0, &err);
            kj_ledger_close(l, NULL);
            if (err.rc)
                fprintf(stderr, "%s\n", err.msg);
            _exit(err.rc ? 1 : 0);
        }
        close(fd[0]);
        close(fd[1]);
        for (int k = 0; k < 2; k++) {
            int status = -1;
            waitpid(pid[k], &status, 0);
            CHECK_INT(status, 0);
        }
        CHECK_NEAR(ask(path, "SELECT count(*) FROM runs WHERE parent IS NOT NULL"), 1,
                   0);
        CHECK_INT(reconcile(path, msg, sizeof msg), lose ? KJ_FAIL : KJ_OK);
        if (lose && !CHECK(strstr(msg, "wrote 400 documents, but run ")))
            printf("     %s\n", msg);
        CHECK_NEAR(ask(path, "SELECT depth FROM run_order WHERE run = (SELECT run FROM"
                             " stages WHERE name = 'first')"),
                   1, 0);
    }
}

/* What versions 3 to 8 have. */
#define OLD_TABLES                                                                     \
    "DROP TABLE metric_validation; DROP TABLE scores; DROP TABLE evaluations;"         \
    "DROP TABLE metric_sources;"                                                       \
    "DROP TABLE generations; DROP TABLE metrics; CREATE TABLE metrics (series TEXT"    \
    " NOT NULL, step INTEGER NOT NULL, loss REAL, lr REAL, tokens INTEGER,"            \
    " tokens_per_s REAL, PRIMARY KEY (series, step)) WITHOUT ROWID;"                   \
    "DROP TABLE config; CREATE TABLE config (run, stage, key, value); INSERT INTO"     \
    " config VALUES (1, '', 'threads', 2), (1, 'alpha', 'k', 3); INSERT INTO stages"   \
    " (stage, run, phase, ordinal, name) VALUES (7, 1, '', 1, 'alpha');"               \
    "DROP VIEW band_counts; DROP TABLE bands; DROP TABLE quantiles;"                   \
    "DROP TABLE passages; DROP TABLE copies; DROP VIEW dedup_sources; "                \
    "DROP TABLE histograms; CREATE TABLE histograms (rule, bucket, lo, hi, docs,"      \
    " dropped); INSERT INTO histograms VALUES (1, 2, 3, 4, 5, 0);"                     \
    " ALTER TABLE samples DROP COLUMN cut; ALTER TABLE samples DROP COLUMN far;"

static void test_open(void)
{
    struct kj_err err = KJ_ERR_INIT;
    struct kj_ledger *l;
    CHECK_INT(kj_ledger_open(&l, db_path("none.db"), KJ_LEDGER_READ, &err), KJ_FAIL);
    CHECK(!l && !test_have(db_path("none.db")));
    FILE *f = fopen(db_path("text.db"), "w");
    fputs("this is not a database, but it is long enough to look at in any case\n", f);
    fclose(f);
    kj_err_reset(&err);
    CHECK_INT(kj_ledger_open(&l, db_path("text.db"), KJ_LEDGER_WRITE, &err), KJ_FAIL);
    tamper(db_path("other.db"), "CREATE TABLE mine (x)");
    kj_err_reset(&err);
    CHECK_INT(kj_ledger_open(&l, db_path("other.db"), KJ_LEDGER_WRITE, &err), KJ_FAIL);
    CHECK(strstr(err.msg, "not a kijil ledger"));
    CHECK_NEAR(ask(db_path("other.db"), "SELECT count(*) FROM sqlite_master"), 1, 0);
    kj_err_reset(&err);
    CHECK_INT(kj_ledger_open(&l, db_path("new.db"), KJ_LEDGER_WRITE, &err), KJ_OK);
    kj_ledger_close(l, NULL);
    /* versions 1 and 2 lacked these; writing makes it version 9 */
    tamper(db_path("new.db"),
           OLD_TABLES "DROP TABLE cuts; DROP TABLE cutsets; ALTER TABLE"
                      " decisions DROP COLUMN cutset; PRAGMA user_version = 1");
    CHECK_INT(kj_ledger_open(&l, db_path("new.db"), KJ_LEDGER_READ, &err), KJ_OK);
    kj_ledger_close(l, NULL);
    CHECK_INT(kj_ledger_open(&l, db_path("new.db"), KJ_LEDGER_WRITE, &err), KJ_OK);
    kj_ledger_close(l, NULL);
    CHECK_NEAR(ask(db_path("new.db"), "PRAGMA user_version"), 9, 0);
    CHECK_NEAR(ask(db_path("new.db"), "SELECT number FROM config WHERE key = 'k'"), 7,
               0);
    CHECK_NEAR(ask(db_path("new.db"), "SELECT value FROM config WHERE number = 0"), 2,
               0);
    CHECK_NEAR(ask(db_path("new.db"), "SELECT count(*) FROM passages"), 0, 0);
    CHECK_NEAR(ask(db_path("new.db"), "SELECT count(*) FROM band_counts"), 0, 0);
    CHECK_NEAR(ask(db_path("new.db"), "SELECT count(share_low) FROM quantiles"), 0, 0);
    CHECK_NEAR(ask(db_path("new.db"), "SELECT count(cutset) FROM decisions"), 0, 0);
    CHECK_NEAR(ask(db_path("new.db"), "SELECT count(alone) FROM cuts"), 0, 0);
    CHECK_NEAR(ask(db_path("new.db"), "SELECT docs FROM histograms WHERE cut = 0"), 5,
               0);
    CHECK_NEAR(ask(db_path("new.db"), "SELECT count(far) FROM samples"), 0, 0);
    CHECK_NEAR(ask(db_path("new.db"), "SELECT count(skipped) FROM metrics"), 0, 0);
    CHECK_NEAR(ask(db_path("new.db"), "SELECT count(*) FROM scores"), 0, 0);
    CHECK_NEAR(ask(db_path("new.db"), "SELECT count(*) FROM metric_validation"), 0, 0);
    tamper(db_path("new.db"), "PRAGMA user_version = 10");
    CHECK_INT(kj_ledger_open(&l, db_path("new.db"), KJ_LEDGER_READ, &err), KJ_FAIL);
    CHECK(strstr(err.msg, "version 10"));
}

static void test_metrics(void)
{
    const char *p = db_path("metrics.db");
    struct kj_err err = KJ_ERR_INIT;
    struct kj_ledger *l;
    FILE *f = fopen(db_path("metrics.jsonl"), "w");
    for (int i = 1; i <= 50; i++)
        fprintf(
            f,
            "{\"step\":%d,\"loss\":%g,\"lr\":0.001,\"tokens\":%d,\"tokens_per_s\":9}\n",
            i, 10.0 / i, i * 512);
    fputs("{\"event\":\"checkpoint\"}\n{\"step\":51,\"lo", f);
    fclose(f);
    CHECK_INT(kj_ledger_open(&l, db_path("metrics.db"), KJ_LEDGER_WRITE, &err), KJ_OK);
    CHECK_INT(kj_ledger_metrics_import(l, "nano", db_path("metrics.jsonl"), &err),
              KJ_OK);
    CHECK_INT(kj_ledger_metrics_import(l, "nano", db_path("metrics.jsonl"), &err),
              KJ_OK);
    p = db_path("metrics.db");
    CHECK_NEAR(ask(p, "SELECT count(*) FROM metrics"), 50, 0);
    CHECK_NEAR(ask(p, "SELECT loss FROM metrics WHERE step = 4"), 2.5, 0);
    f = fopen(db_path("metrics.jsonl"), "w");
    fputs("{\"step\":1,\"loss\":1}\nnonsense\n", f);
    fclose(f);
    CHECK_INT(kj_ledger_metrics_import(l, "nano", db_path("metrics.jsonl"), &err),
              KJ_FAIL);
    CHECK_INT(err.pos, 2);
    kj_ledger_close(l, NULL);
}

int main(void)
{
    snprintf(dir, sizeof dir, "/tmp/kj-ledger-XXXXXX");
    if (!mkdtemp(dir))
        return 1;
    test_open();
    test_rows();
    test_threads();
    test_copies();
    test_writers();
    test_killed();
    test_spanning();
    test_reconcile();
    test_pipe();
    test_metrics();
    char cmd[128];
    snprintf(cmd, sizeof cmd, "rm -rf %s", dir);
    if (system(cmd) != 0)
        return 1;
    return test_end();
}
