/* test_output.c - whole files or none, and bytes that depend on content alone. */
#include "base/output.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/err.h"
#include "base/input.h"
#include "base/jsonl.h"
#include "base/mem.h"
#include "tests/unit/test.h"

static char dir[64];
static struct kj_err err = KJ_ERR_INIT;

static const char *in_dir(const char *name)
{
    static char path[4][200];
    static int i;
    i = (i + 1) & 3;
    snprintf(path[i], sizeof path[i], "%s/%s", dir, name);
    return path[i];
}

static int count_files(void)
{
    int n = 0;
    DIR *d = opendir(dir);
    for (struct dirent *e; (e = readdir(d));)
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static void raw(const char *path, struct kj_buf *b)
{
    kj_buf_init(b, (size_t)1 << 30);
    FILE *f = fopen(path, "rb");
    char t[65536];
    size_t n;
    while (f && (n = fread(t, 1, sizeof t, f)) > 0)
        kj_buf_add(b, t, n);
    if (f)
        fclose(f);
}

static void fill(struct kj_buf *b, size_t n)
{
    uint32_t s = 1;
    kj_buf_init(b, n + 64);
    while (b->n < n) {
        s = s * 1664525 + 1013904223;
        kj_buf_printf(b, "%x %s ", s >> 16, s & 1 << 20 ? "키질" : "winnow");
    }
    b->n = n;
}

static void write_in_steps(const char *name, const struct kj_buf *b, size_t step)
{
    struct kj_output *o;
    CHECK_INT(kj_output_open(&o, in_dir(name), &err), KJ_OK);
    for (size_t i = 0; i < b->n; i += step)
        CHECK_INT(kj_output_write(o, b->p + i, b->n - i < step ? b->n - i : step, &err),
                  KJ_OK);
    CHECK_INT(kj_output_written(o), b->n);
    CHECK_INT(kj_output_commit(o, &err), KJ_OK);
}

static void test_forms(void)
{
    static const char *const names[] = {"a.jsonl", "a.jsonl.zst", "a.jsonl.gz"};
    static const char *const kinds[] = {"plain", "zstd", "gzip"};
    struct kj_buf text, one, two, back;
    fill(&text, 9500000);
    for (int i = 0; i < 3; i++) {
        write_in_steps(names[i], &text, text.n);
        raw(in_dir(names[i]), &one);
        write_in_steps(names[i], &text, 99991);
        raw(in_dir(names[i]), &two);
        CHECK(one.n == two.n && memcmp(one.p, two.p, one.n) == 0);
        kj_buf_init(&back, text.n);
        CHECK_INT(kj_input_slurp(in_dir(names[i]), &back, &err), KJ_OK);
        CHECK(back.n == text.n && memcmp(back.p, text.p, text.n) == 0);
        struct kj_input *in;
        struct kj_chunk c;
        CHECK_INT(kj_input_open(&in, in_dir(names[i]), &err), KJ_OK);
        int members = 0;
        while (kj_input_chunk(in, &c, &err) == KJ_OK)
            members += c.at == 0;
        CHECK_STR(kj_input_kind(in), strlen(kinds[i]), kinds[i]);
        if (i > 0)
            CHECK_INT(members, 3); /* 4 MiB, 4 MiB, rest */
        kj_input_close(in);
        kj_buf_release(&one);
        kj_buf_release(&two);
        kj_buf_release(&back);
        unlink(in_dir(names[i]));
    }
    kj_buf_release(&text);
}

/* Left at some byte, with more written behind that, and gone on with: the bytes of
 * a file that was written in one go. */
static void test_parts(void)
{
    static const char *const names[] = {"p.jsonl", "p.jsonl.zst", "p.jsonl.gz"};
    struct kj_buf text, want, got, unit;
    fill(&text, 9500000);
    for (int i = 0; i < 3; i++) {
        write_in_steps(names[i], &text, text.n);
        raw(in_dir(names[i]), &want);
        unlink(in_dir(names[i]));
        struct kj_output *o;
        const char *u = NULL;
        size_t n = 0;
        int64_t stored = 0;
        kj_buf_init(&unit, 8 << 20);
        for (size_t at = 0; at < text.n; at += 1700001) {
            size_t k = text.n - at < 1700001 ? text.n - at : 1700001;
            CHECK_INT(
                kj_output_open_part(&o, in_dir(names[i]), stored, unit.p, unit.n, &err),
                KJ_OK);
            CHECK_INT(kj_output_write(o, text.p + at, k, &err), KJ_OK);
            CHECK_INT(kj_output_save(o, &u, &n, &err), KJ_OK);
            stored = kj_output_stored(o);
            kj_buf_reset(&unit);
            kj_buf_add(&unit, u, n);
            /* what is lost */
            CHECK_INT(kj_output_write(o, text.p, 5000000, &err), KJ_OK);
            kj_output_leave(o);
        }
        CHECK_INT(
            kj_output_open_part(&o, in_dir(names[i]), stored, unit.p, unit.n, &err),
            KJ_OK);
        CHECK(access(in_dir(names[i]), F_OK) != 0);
        CHECK_INT(kj_output_commit(o, &err), KJ_OK);
        raw(in_dir(names[i]), &got);
        CHECK(got.n == want.n && memcmp(got.p, want.p, got.n) == 0);
        CHECK_INT(kj_output_open_part(&o, in_dir(names[i]), 1, NULL, 0, &err), KJ_FAIL);
        unlink(in_dir(names[i]));
        char part[200];
        snprintf(part, sizeof part, "%s.part", in_dir(names[i]));
        unlink(part);
        kj_buf_release(&want);
        kj_buf_release(&got);
        kj_buf_release(&unit);
    }
    kj_buf_release(&text);
}

/* The source started anew behind each batch gives the documents of one that reads
 * on, whatever the file is made of. */
static void test_places(void)
{
    static const char *const names[] = {"s.jsonl", "s.jsonl.zst", "s.jsonl.gz"};
    for (int i = 0; i < 3; i++) {
        struct kj_output *o;
        char line[200];
        CHECK_INT(kj_output_open(&o, in_dir(names[i]), &err), KJ_OK);
        for (int k = 0; k < 60000; k++) {
            int n = snprintf(line, sizeof line, "{\"id\":\"%d\",\"text\":\"%0*d\"}\n%s",
                             k, k % 97, k, k % 7 ? "" : "\n");
            kj_output_write(o, line, (size_t)n, &err);
            if (k % 9000 == 8999)
                kj_output_cut(o, &err);
        }
        CHECK_INT(kj_output_commit(o, &err), KJ_OK);
        char path[200];
        snprintf(path, sizeof path, "%s", in_dir(names[i]));
        const char *files[] = {path, path};
        struct kj_source on, anew;
        struct kj_batch a, b;
        kj_batch_init(&a);
        kj_batch_init(&b);
        struct kj_pos at = {0, 0};
        int64_t behind = 0;
        size_t docs = 0, batches = 0;
        CHECK_INT(kj_jsonl_source(&on, files, 2, &err), KJ_OK);
        while (on.read(on.self, &a, &err) == KJ_OK) {
            CHECK_INT(kj_jsonl_source_at(&anew, files, 2, at, behind, &err), KJ_OK);
            CHECK_INT(anew.read(anew.self, &b, &err), KJ_OK);
            CHECK_INT(b.n, a.n);
            for (size_t k = 0; k < a.n && k < b.n; k++)
                CHECK_MEM(a.docs[k].raw.p, a.docs[k].raw.n, b.docs[k].raw.p,
                          b.docs[k].raw.n);
            anew.close(anew.self);
            CHECK(a.next.offset >= 0);
            at = a.next;
            behind = a.next_at;
            docs += a.n;
            batches++;
            kj_batch_reset(&a);
            kj_batch_reset(&b);
        }
        CHECK_INT(docs, 120000);
        CHECK(batches > 5);
        CHECK_INT(at.file, 2);
        CHECK_INT(kj_jsonl_source_at(&anew, files, 2, at, 0, &err), KJ_OK);
        CHECK_INT(anew.read(anew.self, &b, &err), KJ_EOF);
        anew.close(anew.self);
        at = (struct kj_pos){1, 0};
        CHECK_INT(kj_jsonl_source_at(&anew, files, 2, at, 1 << 30, &err), KJ_FAIL);
        on.close(on.self);
        kj_batch_release(&a);
        kj_batch_release(&b);
        unlink(path);
    }
}

static void test_cut(void)
{
    struct kj_output *o;
    struct kj_input *in;
    struct kj_chunk c;
    int64_t at[3];
    CHECK_INT(kj_output_open(&o, in_dir("c.zst"), &err), KJ_OK);
    for (int i = 0; i < 3; i++) {
        at[i] = kj_output_stored(o);
        CHECK_INT(kj_output_write(o, "part\n", 5, &err), KJ_OK);
        CHECK_INT(kj_output_cut(o, &err), KJ_OK);
        CHECK_INT(kj_output_cut(o, &err), KJ_OK); /* nothing to end: no frame */
    }
    int64_t end = kj_output_stored(o);
    CHECK_INT(kj_output_commit(o, &err), KJ_OK);
    CHECK_INT(kj_input_open(&in, in_dir("c.zst"), &err), KJ_OK);
    for (int i = 0; i < 3; i++) {
        CHECK_INT(kj_input_chunk(in, &c, &err), KJ_OK);
        CHECK_INT(c.member, at[i]);
        CHECK_STR(c.p, c.n, "part\n");
    }
    CHECK_INT(kj_input_chunk(in, &c, &err), KJ_EOF);
    CHECK_INT(kj_input_size(in), end);
    kj_input_close(in);
    unlink(in_dir("c.zst"));
}

static void test_whole_or_none(void)
{
    struct kj_output *o;
    struct kj_buf b;
    CHECK_INT(kj_output_file(in_dir("w"), "old", 3, &err), KJ_OK);
    CHECK_INT(kj_output_open(&o, in_dir("w"), &err), KJ_OK);
    CHECK_INT(kj_output_write(o, "new", 3, &err), KJ_OK);
    CHECK_INT(count_files(), 2);
    raw(in_dir("w"), &b);
    CHECK_STR(b.p, b.n, "old");
    kj_buf_release(&b);
    kj_output_abort(o);
    CHECK_INT(count_files(), 1);
    CHECK_INT(kj_output_open(&o, in_dir("w"), &err), KJ_OK);
    CHECK_INT(kj_output_write(o, "new", 3, &err), KJ_OK);
    CHECK_INT(kj_output_commit(o, &err), KJ_OK);
    CHECK_INT(count_files(), 1);
    raw(in_dir("w"), &b);
    CHECK_STR(b.p, b.n, "new");
    kj_buf_release(&b);
    /* a link's target is replaced, not the link */
    CHECK_INT(symlink("w", in_dir("link")), 0);
    CHECK_INT(kj_output_file(in_dir("link"), "via", 3, &err), KJ_OK);
    struct stat st;
    CHECK(lstat(in_dir("link"), &st) == 0 && S_ISLNK(st.st_mode));
    raw(in_dir("w"), &b);
    CHECK_STR(b.p, b.n, "via");
    kj_buf_release(&b);
    unlink(in_dir("link"));
    unlink(in_dir("w"));
    kj_output_abort(NULL);
}

static void test_odd_places(void)
{
    struct kj_output *o;
    struct stat st;
    CHECK_INT(kj_output_open(&o, "/dev/null", &err), KJ_OK);
    CHECK_INT(kj_output_write(o, "x", 1, &err), KJ_OK);
    CHECK_INT(kj_output_commit(o, &err), KJ_OK);
    CHECK(stat("/dev/null", &st) == 0 && S_ISCHR(st.st_mode));
    CHECK_INT(kj_output_open(&o, in_dir("no/such/folder"), &err), KJ_FAIL);
    CHECK(o == NULL);
    kj_err_reset(&err);
    if (test_have("/dev/full")) {
        CHECK_INT(kj_output_open(&o, "/dev/full", &err), KJ_OK);
        CHECK_INT(kj_output_write(o, "x", 1, &err), KJ_OK);
        CHECK_INT(kj_output_commit(o, &err), KJ_FATAL);
        kj_err_reset(&err);
    }
    /* empty .zst and .gz are still of their kind */
    static const char *const names[] = {"e.zst", "e.gz"};
    for (int i = 0; i < 2; i++) {
        struct kj_input *in;
        struct kj_chunk c;
        CHECK_INT(kj_output_open(&o, in_dir(names[i]), &err), KJ_OK);
        CHECK_INT(kj_output_commit(o, &err), KJ_OK);
        CHECK_INT(kj_input_open(&in, in_dir(names[i]), &err), KJ_OK);
        CHECK_INT(kj_input_chunk(in, &c, &err), KJ_EOF);
        CHECK_STR(kj_input_kind(in), 4, i ? "gzip" : "zstd");
        kj_input_close(in);
        unlink(in_dir(names[i]));
    }
}

/* A reader that leaves: an event, not a fault. */
static void test_closed_pipe(void)
{
    int fd[2], keep = dup(STDOUT_FILENO);
    struct kj_output *o;
    char block[4096] = {0};
    fflush(stdout);
    CHECK_INT(pipe(fd), 0);
    dup2(fd[1], STDOUT_FILENO);
    close(fd[1]);
    close(fd[0]);
    signal(SIGPIPE, SIG_IGN);
    int rc = kj_output_open(&o, "-", &err);
    for (int i = 0; rc == KJ_OK && i < 1000; i++)
        rc = kj_output_write(o, block, sizeof block, &err);
    int rc2 = kj_output_commit(o, &err);
    dup2(keep, STDOUT_FILENO);
    close(keep);
    CHECK_INT(rc, KJ_EOF);
    CHECK_INT(rc2, KJ_EOF);
    CHECK_INT(err.rc, KJ_OK);
}

static void test_mkdirs(void)
{
    CHECK_INT(kj_output_mkdirs(in_dir("x/y/z"), &err), KJ_OK);
    CHECK_INT(kj_output_mkdirs(in_dir("x/y/z"), &err), KJ_OK);
    CHECK_INT(kj_output_file(in_dir("x/y/z/f"), "1", 1, &err), KJ_OK);
    CHECK_INT(kj_output_mkdirs(in_dir("x/y/z/f"), &err), KJ_FAIL);
    kj_err_reset(&err);
    CHECK_INT(kj_output_mkdirs(in_dir("x/y/z/f/g"), &err), KJ_FAIL);
    kj_err_reset(&err);
}

/* The stored bytes are read by the tools of their form. */
static void test_tools(void)
{
    static const char *const tools[][2] = {{"t.zst", "zstd"}, {"t.gz", "gzip"}};
    struct kj_buf text, back;
    char cmd[512];
    fill(&text, 5000000);
    for (int i = 0; i < 2; i++) {
        write_in_steps(tools[i][0], &text, 1 << 16);
        snprintf(cmd, sizeof cmd, "command -v %s >/dev/null", tools[i][1]);
        if (system(cmd) != 0) {
            SKIP(tools[i][1]);
            continue;
        }
        snprintf(cmd, sizeof cmd, "%s -dc %s >%s", tools[i][1], in_dir(tools[i][0]),
                 in_dir("t"));
        CHECK_INT(system(cmd), 0);
        raw(in_dir("t"), &back);
        CHECK(back.n == text.n && memcmp(back.p, text.p, text.n) == 0);
        kj_buf_release(&back);
    }
    kj_buf_release(&text);
}

int main(void)
{
    char cmd[100];
    snprintf(dir, sizeof dir, "/tmp/kijil-output-XXXXXX");
    if (!mkdtemp(dir))
        return 2;
    test_forms();
    test_cut();
    test_parts();
    test_places();
    test_whole_or_none();
    test_odd_places();
    test_closed_pipe();
    test_mkdirs();
    test_tools();
    snprintf(cmd, sizeof cmd, "rm -rf %s", dir);
    if (system(cmd) != 0)
        return 2;
    return test_end();
}
