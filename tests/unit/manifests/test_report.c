/* The report and the check of a folder, over made-up runs. */
#include "base/hash.h"
#include "base/output.h"
#include "manifests/ledger.h"
#include "manifests/report.h"
#include "manifests/report_internal.h"
#include "manifests/verify.h"
#include "tests/unit/manifests/synth.h"
#include "tests/unit/test.h"

static char dir[64];

static char *in_dir(const char *name)
{
    static char p[2][160];
    static int k;
    k = !k;
    snprintf(p[k], sizeof p[k], "%s/%s", dir, name);
    return p[k];
}

static int write_batch(void *self, struct kj_batch *b, struct kj_err *err)
{
    struct kj_buf line;
    int rc = KJ_OK;
    kj_buf_init(&line, 1 << 20);
    for (size_t i = 0; i < b->n && rc == KJ_OK; i++)
        if (kj_doc_kept(&b->docs[i]))
            rc = kj_doc_write(&b->docs[i], "", false, &line, err);
    if (rc == KJ_OK)
        rc = kj_output_write(self, line.p, line.n, err);
    kj_buf_release(&line);
    return rc;
}

/* A run in three parts, each a JSONL file, as `kijil run` makes it. */
static void make_run(const char *db, bool hostile, const char *shard)
{
    struct kj_err err = KJ_ERR_INIT;
    struct kj_ledger *l;
    struct kj_ledger_info info = {.name = "run",
                                  .version = "0",
                                  .shard = shard,
                                  .command =
                                      hostile ? "kijil run '<b>x</b>'" : "kijil run"};
    if (!CHECK_INT(kj_ledger_open(&l, db, KJ_LEDGER_WRITE, &err), KJ_OK)) {
        printf("     %s\n", err.msg);
        exit(1);
    }
    CHECK_INT(kj_ledger_begin(l, &info, NULL, &err), KJ_OK);
    CHECK_INT(kj_ledger_phase(l, "clean", true, &err), KJ_OK);
    for (int64_t k = 0; k < 3; k++) {
        struct synth s = {.at = (uint64_t)k * 400,
                          .batch = 50,
                          .hostile = hostile,
                          .with_damage = true};
        struct synth_cfg cfg = {20, 20};
        struct kj_step steps[2] = {{.stage = &alpha, .cfg = &cfg}, {.stage = &beta}};
        struct kj_watch w = kj_ledger_watch(l);
        struct kj_output *o;
        char name[32];
        s.end = s.at + 400;
        snprintf(name, sizeof name, "part-%d.jsonl", (int)k);
        char *path = in_dir(name);
        CHECK_INT(kj_output_open(&o, path, &err), KJ_OK);
        struct kj_flow f = {.source = {.self = &s, .read = synth_read},
                            .steps = steps,
                            .n_steps = 2,
                            .watches = &w,
                            .n_watches = 1,
                            .sink = {.self = o, .write = write_batch}};
        CHECK_INT(kj_flow_run(&f, &err), KJ_OK);
        CHECK_INT(kj_output_commit(o, &err), KJ_OK);
        struct kj_ledger_part part = {.part = k, .path = name};
        CHECK_INT(kj_hash_file(path, part.hash, &part.bytes, &err), KJ_OK);
        CHECK_INT(kj_ledger_commit(l, &f, &part, &err), KJ_OK);
        kj_flow_release(&f);
    }
    CHECK_INT(kj_ledger_end(l, NULL, 3, &err), KJ_OK);
    CHECK_INT(kj_ledger_close(l, &err), KJ_OK);
    if (err.rc)
        printf("     %s\n", err.msg);
}

static void report(const char *db, bool html, struct kj_buf *out)
{
    struct kj_err err = KJ_ERR_INIT;
    struct kj_ledger *l;
    kj_buf_init(out, 16 << 20);
    CHECK_INT(kj_ledger_open(&l, db, KJ_LEDGER_READ, &err), KJ_OK);
    CHECK_INT(html ? kj_report_html(l, "0", out, &err)
                   : kj_report_text(l, 100, out, &err),
              KJ_OK);
    if (err.rc)
        printf("     %s\n", err.msg);
    kj_ledger_close(l, NULL);
    kj_buf_z(out);
}

/* A page of training alone: while it goes on a browser loads it again, and what
 * comes from files is escaped. */
static void test_training(void)
{
    struct kj_err err = KJ_ERR_INIT;
    struct kj_ledger *l;
    struct kj_buf b;
    int64_t at = 0;
    FILE *f = fopen(in_dir("metrics.jsonl"), "w");
    for (int i = 1; i <= 300; i++)
        fprintf(f,
                "{\"step\": %d, \"loss\": %.3f, \"lr\": 1e-3, \"grad_norm\": 1,"
                " \"tokens\": %d, \"stage\": \"<a>\", \"seen\": {\"<b>\": %d, \"web\":"
                " %d}, \"tokens_per_s\": 9}\n",
                i, 5 - i / 100.0, 64 * i, 16 * i, 48 * i);
    fputs("{\"step\": 301, \"loss\": 1", f); /* being written */
    fclose(f);
    f = fopen(in_dir("samples.jsonl"), "w");
    fputs("{\"step\": 5, \"number\": 0, \"prompt\": \"<c>\", \"text\": \"<d>\"}\n", f);
    fclose(f);
    CHECK_INT(kj_ledger_open(&l, in_dir("train.db"), KJ_LEDGER_WRITE, &err), KJ_OK);
    CHECK_INT(kj_ledger_metrics_more(l, "run<1>", in_dir("metrics.jsonl"), &at, &err),
              KJ_OK);
    int64_t whole = at;
    CHECK_INT(kj_ledger_metrics_more(l, "run<1>", in_dir("metrics.jsonl"), &at, &err),
              KJ_OK);
    CHECK(whole > 0 && at == whole);
    CHECK_INT(kj_ledger_metrics_import(l, "run<1>", in_dir("samples.jsonl"), &err),
              KJ_OK);
    for (int refresh = 0; refresh <= 10; refresh += 10) {
        kj_buf_init(&b, 1 << 20);
        CHECK_INT(kj_report_training(l, "run<1>", "0", refresh, &b, &err), KJ_OK);
        kj_buf_z(&b);
        CHECK(strstr(b.p, "<b>run&lt;1&gt;</b>: 300 steps, 19,200 tokens"));
        CHECK((strstr(b.p, "http-equiv=\"refresh\" content=\"10\"") != NULL) ==
              (refresh > 0));
        CHECK(strstr(b.p, "&lt;a&gt;") && strstr(b.p, "&lt;b&gt;"));
        CHECK(strstr(b.p, "<b>&lt;c&gt;</b>&lt;d&gt;"));
        CHECK(strstr(b.p, "75.0 %")); /* of the stage's tokens: web */
        CHECK(strstr(b.p, "Gradient norm") && !strstr(b.p, "Divergence"));
        CHECK(b.n < 100000);
        kj_buf_release(&b);
    }
    CHECK_INT(kj_ledger_metrics_forget(l, "run<1>", &err), KJ_OK);
    kj_buf_init(&b, 1 << 20);
    kj_ledger_close(l, NULL);
    CHECK_INT(kj_ledger_open(&l, in_dir("train.db"), KJ_LEDGER_READ, &err), KJ_OK);
    CHECK_INT(kj_report_html(l, "0", &b, &err), KJ_FAIL); /* nothing is left */
    kj_ledger_close(l, NULL);
    kj_buf_release(&b);
}

static void test_text(void)
{
    struct kj_buf b;
    struct want w = synth_want(0, 1200, true);
    char line[64];
    make_run(in_dir("text.db"), false, NULL);
    report(in_dir("text.db"), false, &b);
    CHECK(strstr(b.p, "books balance"));
    snprintf(line, sizeof line, "beta%24llu", (unsigned long long)w.kept);
    if (!CHECK(strstr(b.p, "\nbeta ") && strstr(b.p, "site3.example.kr")))
        printf("%s\n", b.p);
    snprintf(line, sizeof line, "alpha.words %32llu", (unsigned long long)w.words);
    CHECK(strstr(b.p, "  alpha.words") && strstr(b.p, "< 20"));
    for (size_t i = 0; i < b.n; i++) /* the terminal gets no control characters */
        if ((unsigned char)b.p[i] < 0x20 && b.p[i] != '\n')
            CHECK(!"control character");
    kj_buf_release(&b);
}

static size_t count(const char *p, const char *what)
{
    size_t n = 0;
    for (; (p = strstr(p, what)); p++)
        n++;
    return n;
}

static void test_html(void)
{
    struct kj_buf b;
    make_run(in_dir("html.db"), true, NULL);
    report(in_dir("html.db"), true, &b);
    CHECK(b.n > 20000 && b.n < 1000000);
    CHECK_INT(count(b.p, "<script"), 0);
    CHECK_INT(count(b.p, "<img"), 0);
    CHECK_INT(count(b.p, "<b>x</b>"), 0);
    CHECK(count(b.p, "&lt;script&gt;alert(&quot;t&quot;)") > 5);
    CHECK(count(b.p, "&lt;b&gt;x&lt;/b&gt;") == 1);
    CHECK(strstr(b.p, "문서 번호"));
    CHECK_INT(count(b.p, "<svg"), count(b.p, "</svg>"));
    CHECK_INT(count(b.p, "<div"), count(b.p, "</div>"));
    CHECK_INT(count(b.p, "<table"), count(b.p, "</table>"));
    CHECK_INT(count(b.p, "<details"), count(b.p, "</details>"));
    CHECK_INT(count(b.p, "nan") + count(b.p, "inf\"") + count(b.p, "-nan"), 0);
    CHECK(strstr(b.p, "class=\"cut\"") && strstr(b.p, "Similarity"));
    kj_buf_release(&b);
    /* The ledger is not changed by being looked at. */
    char one[40], two[40];
    int64_t n;
    kj_hash_file(in_dir("html.db"), one, &n, NULL);
    report(in_dir("html.db"), true, &b);
    kj_buf_release(&b);
    kj_hash_file(in_dir("html.db"), two, &n, NULL);
    CHECK_STR(one, strlen(one), two);
}

/* Shards of one run are shown together; a run made anew replaces the old. */
static void test_scope(void)
{
    struct kj_buf b;
    char db[160];
    snprintf(db, sizeof db, "%s", in_dir("scope.db"));
    make_run(db, false, NULL);
    make_run(db, false, "0/2");
    make_run(db, false, "1/2");
    report(db, false, &b);
    CHECK(strstr(b.p, "run 2") && strstr(b.p, "run 3") && !strstr(b.p, "run 1 "));
    CHECK(strstr(b.p, "2,352  "));
    kj_buf_release(&b);
    make_run(db, false, NULL);
    report(db, false, &b);
    CHECK(strstr(b.p, "run 4") && !strstr(b.p, "run 3"));
    kj_buf_release(&b);
}

/* Buckets cover their values, and the drawing holds all documents. */
static void test_buckets(void)
{
    static const double v[] = {0,  1,    2,      63, 64,   0.1, 1e-9, 1e300,
                               -1, -0.5, 1e-300, 20, 0.65, 3,   127,  128};
    for (size_t i = 0; i < sizeof v / sizeof *v; i++) {
        double lo, hi;
        kj_bucket_edges(kj_bucket_key(v[i]), &lo, &hi);
        CHECK(lo <= v[i] && (v[i] < hi || (v[i] <= hi && v[i] <= 0)));
        CHECK(hi - lo <= 0.016 * fabs(v[i]) + 1e-300);
    }
    int32_t last = -2000000000;
    for (double x = -1000; x <= 1000; x += 0.37) {
        CHECK(kj_bucket_key(x) >= last);
        last = kj_bucket_key(x);
    }
    CHECK_INT(kj_bucket_key(NAN), 0);
    /* Odd shapes give finite drawings. */
    struct kj_bin one = {5, 5.01, 100, 0},
                  wide[3] = {{-3, -2.9, 1, 1}, {0, 0, 1e9, 0}, {1e12, 1.01e12, 5, 5}};
    const double cuts[] = {NAN, -1e9, 0, 5, 1e30};
    for (size_t i = 0; i < 5; i++) {
        struct kj_hist a = {&one, 1, cuts[i], ">", "one"};
        struct kj_hist w = {wide, 3, cuts[i], "<", "wide"};
        struct kj_hist none = {NULL, 0, cuts[i], "<", "none"};
        struct kj_buf b;
        kj_buf_init(&b, 1 << 20);
        kj_plot_hist(&b, &a);
        kj_plot_hist(&b, &w);
        kj_plot_hist(&b, &none);
        kj_buf_z(&b);
        CHECK(!strstr(b.p, "nan") && !strstr(b.p, "inf") && b.n < 20000);
        kj_buf_release(&b);
    }
}

static int wrongs;
static char first_wrong[900];
static void on_wrong(void *ctx, const char *file, const char *what)
{
    (void)ctx;
    if (wrongs++ == 0)
        snprintf(first_wrong, sizeof first_wrong, "%.400s: %.480s", file, what);
}

static int verify(void)
{
    struct kj_err err = KJ_ERR_INIT;
    struct kj_verify v = {.dir = dir, .wrong = on_wrong};
    wrongs = 0;
    first_wrong[0] = '\0';
    int rc = kj_verify_run(&v, &err);
    CHECK_INT(wrongs, v.mismatches);
    return rc == KJ_OK ? wrongs : rc;
}

/* Change one byte, or cut a line, of a part. */
static void damage_part(bool cut)
{
    char *path = in_dir("part-1.jsonl");
    static char text[1 << 20];
    FILE *f = fopen(path, "r+");
    size_t n = fread(text, 1, sizeof text, f);
    char *nl = memchr(text, '\n', n);
    if (cut) {
        f = freopen(path, "w", f);
        fwrite(nl + 1, 1, n - (size_t)(nl + 1 - text), f);
    } else {
        char *word = strstr(text, "Plain");
        fseek(f, word ? word - text : 0, SEEK_SET);
        fputc('p', f);
    }
    fclose(f);
}

static void test_verify(void)
{
    struct kj_ledger *l;
    struct kj_err err = KJ_ERR_INIT;
    unlink(in_dir("run.db"));
    make_run(in_dir("run.db"), false, NULL);
    if (!CHECK_INT(verify(), 0))
        printf("     %s\n", first_wrong);
    damage_part(false);
    CHECK_INT(verify(), 1);
    CHECK(strstr(first_wrong, "part-1.jsonl: content is"));
    /* The same where the hash is not known: the checksum tells. */
    CHECK_INT(kj_ledger_open(&l, in_dir("run.db"), KJ_LEDGER_WRITE, &err), KJ_OK);
    CHECK_INT(kj_db_exec(l, "UPDATE outputs SET hash = NULL", &err), KJ_OK);
    kj_ledger_close(l, NULL);
    CHECK_INT(verify(), 1);
    CHECK(strstr(first_wrong, "part-1.jsonl: documents differ"));
    damage_part(true);
    CHECK_INT(verify(), 1);
    CHECK(strstr(first_wrong, "documents, by the ledger"));
    unlink(in_dir("part-1.jsonl"));
    CHECK_INT(verify(), 1);
    CHECK(strstr(first_wrong, "part-1.jsonl: missing"));
    /* Shards that are none, in a folder below. */
    CHECK_INT(kj_output_mkdirs(in_dir("shards"), &err), KJ_OK);
    CHECK_INT(kj_output_file(in_dir("shards/manifest.jsonl"), "{}\n", 3, &err), KJ_OK);
    CHECK_INT(verify(), 2);
}

int main(void)
{
    snprintf(dir, sizeof dir, "/tmp/kj-report-XXXXXX");
    if (!mkdtemp(dir))
        return 1;
    test_buckets();
    test_training();
    test_text();
    test_html();
    test_scope();
    test_verify();
    char cmd[128];
    snprintf(cmd, sizeof cmd, "rm -rf %s", dir);
    if (system(cmd) != 0)
        return 1;
    return test_end();
}
