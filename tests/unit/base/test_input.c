/* test_input.c - every compressed form, mapped and through a pipe; offsets of
 * members; damage and what survives it; lines. Fixtures are made by the
 * libraries' encoders, in a scratch folder. */
#include "base/input.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <libdeflate.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>
#include <zstd.h>

#include "base/err.h"
#include "base/mem.h"
#include "tests/unit/test.h"

static char dir[64];

/* ---- fixtures ---- */

static void put_file(const char *name, const struct kj_buf *b, char *path)
{
    sprintf(path, "%s/%s", dir, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    size_t at = 0;
    while (at < b->n) {
        ssize_t k = write(fd, b->p + at, b->n - at);
        if (k <= 0)
            break;
        at += (size_t)k;
    }
    CHECK_INT(at, b->n);
    close(fd);
}

static uint64_t seed = 88172645463325252u;
static uint64_t rnd(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

/* Words: packs about 3:1, as text does. */
static void add_text(struct kj_buf *b, size_t n)
{
    static const char *const w[] = {"the ", "of ",  "키질 ",  "corpus ", "winnow\n",
                                    "a ",   "8b08", "grain ", "wind ",   "chaff, "};
    size_t end = b->n + n;
    while (b->n < end) {
        kj_buf_addz(b, w[rnd() % 10]);
        if (rnd() % 4 == 0)
            kj_buf_printf(b, "%u ", (unsigned)(rnd() % 100000));
    }
    b->n = end;
}

static void add_noise(struct kj_buf *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        kj_buf_addc(b, (char)rnd());
}

static void add_gzip(struct kj_buf *b, const char *p, size_t n)
{
    struct libdeflate_compressor *c = libdeflate_alloc_compressor(6);
    size_t room = libdeflate_gzip_compress_bound(c, n);
    kj_buf_reserve(b, room);
    b->n += libdeflate_gzip_compress(c, p, n, b->p + b->n, room);
    libdeflate_free_compressor(c);
}

/* With or without the content's size in the frame's header. */
static void add_zstd(struct kj_buf *b, const char *p, size_t n, bool sized)
{
    ZSTD_CCtx *c = ZSTD_createCCtx();
    size_t room = ZSTD_compressBound(n);
    ZSTD_CCtx_setParameter(c, ZSTD_c_contentSizeFlag, sized);
    ZSTD_CCtx_setParameter(c, ZSTD_c_checksumFlag, 1);
    kj_buf_reserve(b, room);
    b->n += ZSTD_compress2(c, b->p + b->n, room, p, n);
    ZSTD_freeCCtx(c);
}

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

/* ---- reading ---- */

struct seen {
    struct kj_buf text;
    char kind[16];
    int64_t members[64]; /* offsets of chunks that start a member */
    int64_t stored[64];
    size_t n_members;
    int64_t bad[64]; /* offsets of damage */
    char why[512];   /* of the first */
    size_t n_bad;
    size_t largest; /* chunk */
    int rc;         /* how it ended */
    char entries[256];
};

static void read_all(const char *path, struct seen *s)
{
    struct kj_input *in;
    struct kj_chunk c;
    struct kj_err err = KJ_ERR_INIT;
    memset(s, 0, sizeof *s);
    kj_buf_init(&s->text, (size_t)1 << 30);
    s->rc = kj_input_open(&in, path, &err);
    if (s->rc)
        return;
    for (;;) {
        kj_err_reset(&err);
        s->rc = kj_input_chunk(in, &c, &err);
        if (s->rc == KJ_BAD_RECORD) {
            CHECK_INT(err.rc, KJ_BAD_RECORD);
            if (s->n_bad == 0)
                snprintf(s->why, sizeof s->why, "%s", err.msg);
            if (s->n_bad < 64)
                s->bad[s->n_bad] = err.pos;
            CHECK(err.file[0] != 0);
            if (++s->n_bad > 200)
                break;
            continue;
        }
        if (s->rc)
            break;
        CHECK(c.n > 0 || c.last);
        volatile char pad = 0; /* the promise of readable bytes behind */
        for (size_t i = 0; i < KJ_BUF_PAD; i++)
            pad = (char)(pad + c.p[c.n + i]);
        if (c.at == 0 && s->n_members < 64)
            s->members[s->n_members++] = c.member;
        if (c.last && s->n_members)
            s->stored[s->n_members - 1] = c.stored;
        if (c.entry && c.at == 0 && strlen(s->entries) < 200)
            snprintf(s->entries + strlen(s->entries), 50, "%s;", c.entry);
        if (c.n > s->largest)
            s->largest = c.n;
        kj_buf_add(&s->text, c.p, c.n);
    }
    snprintf(s->kind, sizeof s->kind, "%s", kj_input_kind(in));
    if (s->rc == KJ_EOF) /* and it stays there */
        CHECK_INT(kj_input_chunk(in, &c, &err), KJ_EOF);
    kj_input_close(in);
}

struct feed {
    int fd;
    const struct kj_buf *b;
};

static void *feed_main(void *self)
{
    struct feed *f = self;
    size_t at = 0;
    while (at < f->b->n) { /* odd pieces, so that nothing is aligned by luck */
        size_t n = f->b->n - at < 40961 ? f->b->n - at : 40961;
        ssize_t k = write(f->fd, f->b->p + at, n);
        if (k <= 0)
            break;
        at += (size_t)k;
    }
    close(f->fd);
    return NULL;
}

static void read_pipe(const struct kj_buf *b, struct seen *s)
{
    int fd[2];
    char path[32];
    pthread_t t;
    if (!CHECK(pipe(fd) == 0))
        return;
    struct feed f = {fd[1], b};
    pthread_create(&t, NULL, feed_main, &f);
    sprintf(path, "/dev/fd/%d", fd[0]);
    read_all(path, s);
    close(fd[0]);
    pthread_join(t, NULL);
}

static int streamed; /* read() below goes through a pipe */
static void read_buf(const struct kj_buf *b, struct seen *s)
{
    char path[128];
    if (streamed) {
        read_pipe(b, s);
    } else {
        put_file("x", b, path);
        read_all(path, s);
    }
}

#define SAME(s, buf) CHECK_MEM((s).text.p, (s).text.n, (buf).p, (buf).n)

static void buf_init(struct kj_buf *b)
{
    kj_buf_init(b, (size_t)1 << 30);
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

static void test_gzip_tail(void)
{
    struct kj_buf text, gz;
    struct seen s;
    buf_init(&text);
    buf_init(&gz);
    add_text(&text, 5000);
    add_gzip(&gz, text.p, text.n);
    size_t end = gz.n;
    for (int i = 0; i < 700; i++)
        kj_buf_addc(&gz, 0);
    read_buf(&gz, &s);
    CHECK_INT(s.rc, KJ_EOF);
    CHECK_INT(s.n_bad, 0);
    SAME(s, text);
    kj_buf_release(&s.text);

    kj_buf_addz(&gz, "this is no gzip");
    read_buf(&gz, &s);
    CHECK_INT(s.rc, KJ_EOF);
    CHECK_INT(s.n_bad, 1);
    CHECK_INT(s.bad[0], end + 700);
    SAME(s, text);
    kj_buf_release(&s.text);

    /* A member behind the junk is found. */
    size_t was = text.n;
    add_text(&text, 3000);
    add_gzip(&gz, text.p + was, text.n - was);
    read_buf(&gz, &s);
    CHECK_INT(s.n_bad, 1);
    SAME(s, text);
    kj_buf_release(&s.text);
    kj_buf_release(&text);
    kj_buf_release(&gz);
}

enum { N = 12 };
struct many {
    struct kj_buf text, file;
    size_t text_at[N + 1], file_at[N + 1];
};

static void make_many(struct many *m,
                      void (*add)(struct kj_buf *, const char *, size_t))
{
    buf_init(&m->text);
    buf_init(&m->file);
    for (int i = 0; i < N; i++) {
        m->text_at[i] = m->text.n;
        m->file_at[i] = m->file.n;
        add_text(&m->text, 30000 + rnd() % 30000);
        add(&m->file, m->text.p + m->text_at[i], m->text.n - m->text_at[i]);
    }
    m->text_at[N] = m->text.n;
    m->file_at[N] = m->file.n;
}

static void free_many(struct many *m)
{
    kj_buf_release(&m->text);
    kj_buf_release(&m->file);
}

/* Members 0..k-1 came, then at most a part of k, then all from k+1 on. */
static void check_hole(const struct many *m, const struct seen *s, int k)
{
    size_t before = m->text_at[k], after = m->text.n - m->text_at[k + 1];
    CHECK_INT(s->rc, KJ_EOF);
    CHECK_INT(s->n_bad, 1);
    CHECK_INT(s->bad[0], m->file_at[k]);
    if (!CHECK(s->text.n >= before + after))
        return;
    CHECK(memcmp(s->text.p, m->text.p, before) == 0);
    CHECK(memcmp(s->text.p + s->text.n - after, m->text.p + m->text_at[k + 1], after) ==
          0);
}

static void flip(const struct many *m, int k, size_t at)
{
    m->file.p[m->file_at[k] + at] ^= 0x55;
}

static void damage_all_over(void (*add)(struct kj_buf *, const char *, size_t))
{
    struct many m;
    struct seen s;
    make_many(&m, add);
    for (int k = 0; k < N; k += 3) {
        size_t len = m.file_at[k + 1] - m.file_at[k];
        /* head, early, middle, near the end, the checksum */
        size_t spots[] = {20, 60, len / 2, len - 12, len - 2};
        for (size_t i = k == 0; i < 5; i++) {
            flip(&m, k, spots[i]);
            read_buf(&m.file, &s);
            check_hole(&m, &s, k);
            /* what stood before the damage came; a zstd block is all or nothing */
            if (spots[i] > len / 3 && add == add_gzip)
                CHECK(s.text.n > m.text.n - (m.text_at[k + 1] - m.text_at[k]));
            kj_buf_release(&s.text);
            flip(&m, k, spots[i]);
        }
    }
    free_many(&m);
}

/* A member cut short in the middle, the next one following at once; and a
 * file cut short. */
static void cut_short(void (*add)(struct kj_buf *, const char *, size_t))
{
    struct many m;
    struct seen s;
    make_many(&m, add);
    for (int k = 1; k < N; k += 2) {
        struct kj_buf b;
        buf_init(&b);
        size_t half = (m.file_at[k] + m.file_at[k + 1]) / 2;
        kj_buf_add(&b, m.file.p, half);
        kj_buf_add(&b, m.file.p + m.file_at[k + 1], m.file.n - m.file_at[k + 1]);
        read_buf(&b, &s);
        check_hole(&m, &s, k);
        kj_buf_release(&s.text);
        b.n = half;
        read_buf(&b, &s);
        CHECK_INT(s.rc, KJ_EOF);
        CHECK_INT(s.n_bad, 1);
        CHECK_INT(s.bad[0], m.file_at[k]);
        CHECK(s.text.n >= m.text_at[k]);
        CHECK(memcmp(s.text.p, m.text.p, s.text.n) == 0);
        kj_buf_release(&s.text);
        kj_buf_release(&b);
    }
    free_many(&m);
}

static void zstd_sized(struct kj_buf *b, const char *p, size_t n)
{
    add_zstd(b, p, n, true);
}

static void zstd_unsized(struct kj_buf *b, const char *p, size_t n)
{
    add_zstd(b, p, n, false);
}

static void test_damage(void)
{
    damage_all_over(add_gzip);
    damage_all_over(zstd_sized);
    damage_all_over(zstd_unsized);
    cut_short(add_gzip);
    cut_short(zstd_sized);
}

/* A page that was sent as gzip lies uncompressed in its member. When the
 * member's own checksum is wrong, the inner stream must not pass for one. */
static void test_inner_gzip(void)
{
    struct kj_buf page, inner, rec, gz, want;
    struct seen s;
    buf_init(&page);
    buf_init(&inner);
    buf_init(&rec);
    buf_init(&gz);
    buf_init(&want);
    add_text(&page, 9000);
    add_gzip(&inner, page.p, page.n);
    add_noise(&rec, 300);
    kj_buf_add(&rec, inner.p, inner.n);
    add_noise(&rec, 3000);
    add_gzip(&gz, rec.p, rec.n);
    gz.p[gz.n - 6] ^= 1;
    add_gzip(&gz, "next member", 11);
    kj_buf_add(&want, rec.p, rec.n);
    kj_buf_addz(&want, "next member");
    read_buf(&gz, &s);
    CHECK_INT(s.n_bad, 1);
    SAME(s, want);
    kj_buf_release(&s.text);
    kj_buf_release(&page);
    kj_buf_release(&inner);
    kj_buf_release(&rec);
    kj_buf_release(&gz);
    kj_buf_release(&want);
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

/* ---- lines ---- */

static void check_lines(const char *path, const char *want, size_t max)
{
    struct kj_err err = KJ_ERR_INIT;
    struct kj_input *in;
    struct kj_buf got;
    const char *p;
    size_t n;
    int64_t member, at;
    buf_init(&got);
    CHECK_INT(kj_input_open(&in, path, &err), KJ_OK);
    struct kj_lines *l = kj_lines_new(in, max);
    int rc;
    while ((rc = kj_lines_next(l, &p, &n, &member, &at, &err)) != KJ_EOF) {
        if (rc == KJ_OK)
            kj_buf_printf(&got, "%lld+%lld[%.*s]", (long long)member, (long long)at,
                          (int)n, p);
        else
            kj_buf_printf(&got, "BAD@%lld;", (long long)err.pos);
        kj_err_reset(&err);
        if (rc <= KJ_FAIL)
            break;
    }
    CHECK_STR(got.p, got.n, want);
    kj_lines_free(l);
    kj_input_close(in);
    kj_buf_release(&got);
}

static void test_lines(void)
{
    struct kj_buf b;
    char path[128], want[256];
    buf_init(&b);
    kj_buf_addz(&b, "one\n\ntwo\r\n12345678\n12345678\r\n123456789\n123\n123456789");
    put_file("lines", &b, path);
    check_lines(
        path,
        "0+0[one]4+0[]5+0[two]10+0[12345678]19+0[12345678]BAD@29;39+0[123]BAD@43;", 8);
    /* the same over members that cut lines, addressed by member and offset */
    kj_buf_reset(&b);
    add_gzip(&b, "one\n\ntw", 7);
    long long a = (long long)b.n;
    add_gzip(&b, "o\r\n123", 6);
    long long c = (long long)b.n;
    add_gzip(&b, "45678", 5);
    long long d = (long long)b.n;
    add_gzip(&b, "\r\n1234567890\nx", 14);
    put_file("lines", &b, path);
    sprintf(want, "0+0[one]0+4[]0+5[two]%lld+3[12345678]BAD@%lld;%lld+13[x]", a, d, d);
    check_lines(path, want, 8);
    /* damage takes the line that it interrupted, and no other */
    b.p[c + 10] ^= 0x55;
    put_file("lines", &b, path);
    struct kj_err err = KJ_ERR_INIT;
    sprintf(want, "0+0[one]0+4[]0+5[two]BAD@%lld;%lld+0[]BAD@%lld;%lld+13[x]", c, d, d,
            d);
    check_lines(path, want, 8);
    kj_err_reset(&err);
    kj_buf_release(&b);
}

/* Long lines over many chunks against a plain splitter. */
static void test_lines_long(void)
{
    struct kj_buf b, gz;
    char path[128];
    buf_init(&b);
    buf_init(&gz);
    for (int i = 0; i < 60; i++) {
        size_t n = rnd() % 300000;
        for (size_t k = 0; k < n; k++)
            kj_buf_addc(&b, (char)('a' + k % 23));
        kj_buf_addc(&b, '\n');
    }
    for (size_t i = 0; i < b.n; i += 77777)
        add_gzip(&gz, b.p + i, b.n - i < 77777 ? b.n - i : 77777);
    for (int form = 0; form < 2; form++) {
        struct kj_err err = KJ_ERR_INIT;
        struct kj_input *in;
        const char *p, *w = b.p;
        size_t n;
        int64_t member, at;
        put_file("long", form ? &gz : &b, path);
        CHECK_INT(kj_input_open(&in, path, &err), KJ_OK);
        struct kj_lines *l = kj_lines_new(in, 1 << 20);
        int count = 0;
        bool same = true;
        while (kj_lines_next(l, &p, &n, &member, &at, &err) == KJ_OK) {
            size_t len = (size_t)((char *)memchr(w, '\n', b.n) - w);
            same = same && n == len && memcmp(p, w, n) == 0;
            w += len + 1;
            count++;
        }
        CHECK(same);
        CHECK_INT(count, 60);
        kj_lines_free(l);
        kj_input_close(in);
    }
    kj_buf_release(&b);
    kj_buf_release(&gz);
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
    char cmd[100];
    snprintf(dir, sizeof dir, "/tmp/kijil-input-XXXXXX");
    if (!mkdtemp(dir))
        return 2;
    test_open();
    for (streamed = 0; streamed < 2; streamed++) {
        test_plain();
        test_gzip_members();
        test_gzip_sizes();
        test_gzip_tail();
        test_damage();
        test_inner_gzip();
        test_zstd();
        test_filters();
        test_containers();
    }
    test_seek();
    test_lines();
    test_lines_long();
    test_tools();
    snprintf(cmd, sizeof cmd, "rm -rf %s", dir);
    if (system(cmd) != 0)
        return 2;
    return test_end();
}
