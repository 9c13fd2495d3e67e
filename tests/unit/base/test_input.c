/* test_input.c - every compressed form, mapped and through a pipe; offsets of
 * members. */
#include "tests/unit/base/input_fixture.h"

#include <archive.h>
#include <archive_entry.h>

static la_ssize_t arc_write(struct archive *a, void *self, const void *p, size_t n)
{
    (void)a;
    return kj_buf_add(self, p, n) ? -1 : (la_ssize_t)n;
}

struct entry {
    const char *name; /* ends with / : a folder */
    const char *p;
    size_t n;
};

/* filter: bzip2, xz, lz4, gzip, zstd or NULL; format: ustar, zip or raw. */
static bool add_archive(struct kj_buf *b, const char *format, const char *filter,
                        const struct entry *e, size_t n)
{
    struct archive *a = archive_write_new();
    if (archive_write_set_format_by_name(a, format) != ARCHIVE_OK ||
        (filter && archive_write_add_filter_by_name(a, filter) != ARCHIVE_OK)) {
        archive_write_free(a);
        return false;
    }
    archive_write_set_bytes_in_last_block(a, 1);
    archive_write_open2(a, b, NULL, arc_write, NULL, NULL);
    for (size_t i = 0; i < n; i++) {
        struct archive_entry *h = archive_entry_new();
        bool folder = e[i].name[strlen(e[i].name) - 1] == '/';
        archive_entry_set_pathname(h, e[i].name);
        archive_entry_set_filetype(h, folder ? AE_IFDIR : AE_IFREG);
        archive_entry_set_perm(h, 0644);
        archive_entry_set_size(h, folder ? 0 : (la_int64_t)e[i].n);
        CHECK_INT(archive_write_header(a, h), ARCHIVE_OK);
        if (!folder)
            CHECK_INT(archive_write_data(a, e[i].p, e[i].n), e[i].n);
        archive_entry_free(h);
    }
    archive_write_close(a);
    archive_write_free(a);
    return true;
}

/* ---- plain ---- */

static void test_plain(void)
{
    static const size_t sizes[] = {1, 4095, 4096, 4097, 8128, 8192, 1 << 20, 3000001};
    struct kj_buf b;
    struct seen s;
    buf_init(&b);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        kj_buf_reset(&b);
        add_text(&b, sizes[i]);
        read_buf(&b, &s);
        CHECK_INT(s.rc, KJ_EOF);
        SAME(s, b);
        CHECK_STR(s.kind, strlen(s.kind), "plain");
        CHECK(s.largest <= 1 << 20);
        kj_buf_release(&s.text);
    }
    kj_buf_reset(&b);
    read_buf(&b, &s); /* empty */
    CHECK_INT(s.rc, KJ_EOF);
    CHECK_INT(s.n_bad + s.text.n, 0);
    kj_buf_release(&b);
}

static void test_open(void)
{
    struct seen s;
    read_all("/nowhere/at/all", &s);
    CHECK_INT(s.rc, KJ_FAIL);
    read_all(dir, &s);
    CHECK_INT(s.rc, KJ_FAIL);
}

/* ---- gzip ---- */

static void test_gzip_members(void)
{
    struct kj_buf text, gz;
    struct seen s;
    int64_t want[40];
    buf_init(&text);
    buf_init(&gz);
    for (int i = 0; i < 40; i++) {
        size_t from = text.n, n = i == 7 ? 0 : i == 9 ? 5000000 : 1 + rnd() % 40000;
        add_text(&text, n);
        want[i] = (int64_t)gz.n;
        add_gzip(&gz, text.p + from, n);
    }
    read_buf(&gz, &s);
    CHECK_INT(s.rc, KJ_EOF);
    CHECK_INT(s.n_bad, 0);
    CHECK_STR(s.kind, strlen(s.kind), "gzip");
    SAME(s, text);
    CHECK_INT(s.n_members, 39); /* the empty one has no chunk */
    for (int i = 0, k = 0; i < 40; i++)
        if (i != 7) {
            CHECK_INT(s.members[k], want[i]);
            CHECK_INT(s.stored[k], (i < 39 ? want[i + 1] : (int64_t)gz.n) - want[i]);
            k++;
        }
    kj_buf_release(&s.text);
    kj_buf_release(&text);
    kj_buf_release(&gz);
}

/* Content around the size of a chunk, and beyond what is decoded at once. */
static void test_gzip_sizes(void)
{
    static const size_t sizes[] = {1048575, 1048576, 1048577, 2097152, (64 << 20) + 1};
    struct kj_buf text, gz;
    struct seen s;
    buf_init(&text);
    buf_init(&gz);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        kj_buf_reset(&text);
        kj_buf_reset(&gz);
        add_text(&text, sizes[i] < 4000000 ? sizes[i] : 4000000);
        while (text.n < sizes[i]) { /* the rest is zeros: quick to make */
            size_t n = sizes[i] - text.n < 1 << 20 ? sizes[i] - text.n : 1 << 20;
            kj_buf_reserve(&text, n);
            memset(text.p + text.n, 0, n);
            text.n += n;
        }
        add_gzip(&gz, text.p, text.n);
        add_gzip(&gz, "end", 3);
        kj_buf_addz(&text, "end");
        read_buf(&gz, &s);
        CHECK_INT(s.rc, KJ_EOF);
        CHECK_INT(s.n_members, 2);
        CHECK_INT(s.stored[0], s.members[1]);
        CHECK(s.text.n == text.n && memcmp(s.text.p, text.p, text.n) == 0);
        CHECK(s.largest <= KJ_INPUT_MEMBER_MAX);
        kj_buf_release(&s.text);
    }
    kj_buf_release(&text);
    kj_buf_release(&gz);
}

/* ---- zstd ---- */

static void test_zstd(void)
{
    struct kj_buf text, z;
    struct seen s;
    int64_t at[20];
    buf_init(&text);
    buf_init(&z);
    for (int i = 0; i < 20; i++) {
        size_t from = text.n, n = i == 3 ? 0 : i == 5 ? 3 << 20 : 1 + rnd() % 100000;
        add_text(&text, n);
        if (i == 4 || i == 11) /* skippable frame of 70000 bytes */
            kj_buf_add(&z, "\x5a\x2a\x4d\x18\x70\x11\x01\x00", 8), add_noise(&z, 70000);
        at[i] = (int64_t)z.n;
        add_zstd(&z, text.p + from, n, i & 1);
    }
    read_buf(&z, &s);
    CHECK_INT(s.rc, KJ_EOF);
    CHECK_INT(s.n_bad, 0);
    CHECK_STR(s.kind, strlen(s.kind), "zstd");
    SAME(s, text);
    CHECK_INT(s.n_members, 19);
    CHECK_INT(s.members[18], at[19]);
    CHECK_INT(s.members[3], at[4]);
    CHECK_INT(s.stored[18], (int64_t)z.n - at[19]);
    kj_buf_release(&s.text);
    kj_buf_release(&text);
    kj_buf_release(&z);
}

/* ---- archives ---- */

static void test_filters(void)
{
    static const char *const filters[] = {"bzip2", "xz", "lz4"};
    struct kj_buf text, b;
    struct seen s;
    buf_init(&text);
    add_text(&text, 2500000);
    for (int i = 0; i < 3; i++) {
        struct entry e = {"data", text.p, text.n};
        buf_init(&b);
        if (!add_archive(&b, "raw", filters[i], &e, 1)) {
            SKIP(filters[i]);
            kj_buf_release(&b);
            continue;
        }
        read_buf(&b, &s);
        CHECK_INT(s.rc, KJ_EOF);
        CHECK_INT(s.n_bad, 0);
        CHECK_STR(s.kind, strlen(s.kind), filters[i]);
        SAME(s, text);
        CHECK_INT(s.stored[0], b.n);
        CHECK(s.largest <= 1 << 20);
        kj_buf_release(&s.text);
        b.n /= 2;
        read_buf(&b, &s); /* cut short */
        CHECK_INT(s.rc, KJ_EOF);
        CHECK_INT(s.n_bad, 1);
        if (i < 2) /* one block of lz4 holds it all */
            CHECK(s.text.n > 0);
        CHECK(s.text.n < text.n);
        CHECK(!s.text.n || memcmp(s.text.p, text.p, s.text.n) == 0);
        kj_buf_release(&s.text);
        kj_buf_release(&b);
    }
    kj_buf_release(&text);
}

static void test_containers(void)
{
    static const char *const forms[][3] = {
        {"ustar", NULL, "tar"},    {"ustar", "gzip", "tar"}, {"ustar", "zstd", "tar"},
        {"ustar", "bzip2", "tar"}, {"zip", NULL, "zip"},
    };
    struct kj_buf text, gz, want, b;
    struct seen s;
    buf_init(&text);
    buf_init(&gz);
    buf_init(&want);
    add_text(&text, 1500000);
    add_gzip(&gz, text.p, 1000);
    add_gzip(&gz, text.p + 1000, 500000);
    kj_buf_add(&want, text.p, text.n);
    kj_buf_add(&want, text.p, 501000);
    kj_buf_addz(&want, "last");
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        struct entry e[] = {{"a.txt", text.p, text.n},
                            {"archive/", NULL, 0},
                            {"archive/data.warc.gz", gz.p, gz.n},
                            {"empty", "", 0},
                            {"한글.txt", "last", 4}};
        buf_init(&b);
        if (!add_archive(&b, forms[i][0], forms[i][1], e, 5)) {
            SKIP(forms[i][1]);
            kj_buf_release(&b);
            continue;
        }
        read_buf(&b, &s);
        CHECK_INT(s.rc, KJ_EOF);
        CHECK_INT(s.n_bad, 0);
        CHECK_STR(s.kind, strlen(s.kind), forms[i][2]);
        SAME(s, want);
        CHECK_STR(s.entries, strlen(s.entries),
                  "a.txt;archive/data.warc.gz;archive/data.warc.gz;한글.txt;");
        /* inside the entry that is gzip: the members' offsets within it */
        CHECK_INT(s.members[1], 0);
        CHECK_INT(s.members[2], s.stored[1]);
        CHECK_INT(s.stored[1] + s.stored[2], gz.n);
        kj_buf_release(&s.text);
        if (!forms[i][1]) {
            b.n = b.n * 2 / 3;
            read_buf(&b, &s);
            CHECK_INT(s.rc, KJ_EOF);
            CHECK(s.n_bad >= 1);
            CHECK(s.text.n > 0);
            CHECK(memcmp(s.text.p, want.p, s.text.n) == 0);
            kj_buf_release(&s.text);
        }
        kj_buf_release(&b);
    }
    kj_buf_release(&text);
    kj_buf_release(&gz);
    kj_buf_release(&want);
}

/* ---- seek, slurp ---- */

static void test_seek(void)
{
    void (*const forms[])(struct kj_buf *, const char *, size_t) = {add_gzip,
                                                                    zstd_sized};
    char path[128];
    struct kj_err err = KJ_ERR_INIT;
    struct kj_chunk c;
    for (int f = 0; f < 2; f++) {
        struct many m;
        struct kj_input *in;
        make_many(&m, forms[f]);
        put_file("seek", &m.file, path);
        CHECK_INT(kj_input_open(&in, path, &err), KJ_OK);
        CHECK_INT(kj_input_size(in), m.file.n);
        for (int k = N - 1; k >= 0; k--) {
            CHECK_INT(kj_input_seek(in, (int64_t)m.file_at[k], &err), KJ_OK);
            CHECK_INT(kj_input_chunk(in, &c, &err), KJ_OK);
            CHECK_INT(c.member, m.file_at[k]);
            CHECK(c.last && c.at == 0);
            CHECK_MEM(c.p, c.n, m.text.p + m.text_at[k],
                      m.text_at[k + 1] - m.text_at[k]);
            CHECK_INT(kj_input_consumed(in), m.file_at[k + 1]);
        }
        CHECK_INT(kj_input_seek(in, (int64_t)m.file.n, &err), KJ_OK);
        CHECK_INT(kj_input_chunk(in, &c, &err), KJ_EOF);
        CHECK_INT(kj_input_seek(in, (int64_t)m.file.n + 1, &err), KJ_FAIL);
        kj_err_reset(&err);
        kj_input_close(in);
        struct kj_buf b;
        kj_buf_init(&b, m.text.n);
        CHECK_INT(kj_input_slurp(path, &b, &err), KJ_OK);
        CHECK_MEM(b.p, b.n, m.text.p, m.text.n);
        kj_buf_release(&b);
        kj_buf_init(&b, m.text.n - 1);
        CHECK_INT(kj_input_slurp(path, &b, &err), KJ_FAIL);
        kj_buf_release(&b);
        kj_err_reset(&err);
        flip(&m, 4, 100);
        put_file("seek", &m.file, path);
        kj_buf_init(&b, m.text.n);
        CHECK_INT(kj_input_slurp(path, &b, &err), KJ_FAIL);
        CHECK_INT(err.rc, KJ_FAIL);
        CHECK_INT(err.pos, m.file_at[4]);
        kj_buf_release(&b);
        kj_err_reset(&err);
        free_many(&m);
    }
}

/* ---- against the programs ---- */

static void test_tools(void)
{
    static const char *const tools[] = {"gzip", "zstd", "bzip2", "xz", "lz4"};
    struct kj_buf text;
    struct seen s;
    char path[128], out[160], cmd[512];
    buf_init(&text);
    add_text(&text, 1200000);
    put_file("tool", &text, path);
    sprintf(out, "%s.out", path);
    for (size_t i = 0; i < sizeof tools / sizeof *tools; i++) {
        sprintf(cmd, "command -v %s >/dev/null", tools[i]);
        if (system(cmd) != 0) {
            SKIP(tools[i]);
            continue;
        }
        sprintf(cmd, "%s -c <%s >%s 2>/dev/null", tools[i], path, out);
        CHECK_INT(system(cmd), 0);
        read_all(out, &s);
        CHECK_INT(s.rc, KJ_EOF);
        CHECK_STR(s.kind, strlen(s.kind), tools[i]);
        SAME(s, text);
        kj_buf_release(&s.text);
    }
    kj_buf_release(&text);
}

int main(void)
{
    if (!make_dir())
        return 2;
    test_open();
    for (streamed = 0; streamed < 2; streamed++) {
        test_plain();
        test_gzip_members();
        test_gzip_sizes();
        test_zstd();
        test_filters();
        test_containers();
    }
    test_seek();
    test_tools();
    if (!remove_dir())
        return 2;
    return test_end();
}
