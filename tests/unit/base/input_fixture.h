/* input_fixture.h - files of many members, made by the libraries' encoders in a scratch
 * folder, and all that reading them shows: for the tests of base/input.h. */
#ifndef KJ_TESTS_BASE_INPUT_FIXTURE_H
#define KJ_TESTS_BASE_INPUT_FIXTURE_H

#include <fcntl.h>
#include <libdeflate.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>
#include <zstd.h>

#include "base/err.h"
#include "base/input.h"
#include "base/mem.h"
#include "tests/unit/test.h"

static char dir[64];

/* A scratch folder in dir; false if there can be none. */
static inline bool make_dir(void)
{
    snprintf(dir, sizeof dir, "/tmp/kijil-input-XXXXXX");
    return mkdtemp(dir) != NULL;
}

static inline bool remove_dir(void)
{
    char cmd[100];
    snprintf(cmd, sizeof cmd, "rm -rf %s", dir);
    return system(cmd) == 0;
}

static inline void put_file(const char *name, const struct kj_buf *b, char *path)
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
static inline uint64_t rnd(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

/* Words: packs about 3:1, as text does. */
static inline void add_text(struct kj_buf *b, size_t n)
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

static inline void add_noise(struct kj_buf *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        kj_buf_addc(b, (char)rnd());
}

static inline void add_gzip(struct kj_buf *b, const char *p, size_t n)
{
    struct libdeflate_compressor *c = libdeflate_alloc_compressor(6);
    size_t room = libdeflate_gzip_compress_bound(c, n);
    kj_buf_reserve(b, room);
    b->n += libdeflate_gzip_compress(c, p, n, b->p + b->n, room);
    libdeflate_free_compressor(c);
}

/* With or without the content's size in the frame's header. */
static inline void add_zstd(struct kj_buf *b, const char *p, size_t n, bool sized)
{
    ZSTD_CCtx *c = ZSTD_createCCtx();
    size_t room = ZSTD_compressBound(n);
    ZSTD_CCtx_setParameter(c, ZSTD_c_contentSizeFlag, sized);
    ZSTD_CCtx_setParameter(c, ZSTD_c_checksumFlag, 1);
    kj_buf_reserve(b, room);
    b->n += ZSTD_compress2(c, b->p + b->n, room, p, n);
    ZSTD_freeCCtx(c);
}

static inline void buf_init(struct kj_buf *b)
{
    kj_buf_init(b, (size_t)1 << 30);
}

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

static inline void read_all(const char *path, struct seen *s)
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

static inline void *feed_main(void *self)
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

static inline void read_pipe(const struct kj_buf *b, struct seen *s)
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

static int streamed; /* read_buf goes through a pipe */
static inline void read_buf(const struct kj_buf *b, struct seen *s)
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

enum { N = 12 };
struct many {
    struct kj_buf text, file;
    size_t text_at[N + 1], file_at[N + 1];
};

static inline void make_many(struct many *m,
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

static inline void free_many(struct many *m)
{
    kj_buf_release(&m->text);
    kj_buf_release(&m->file);
}

static inline void zstd_sized(struct kj_buf *b, const char *p, size_t n)
{
    add_zstd(b, p, n, true);
}

static inline void zstd_unsized(struct kj_buf *b, const char *p, size_t n)
{
    add_zstd(b, p, n, false);
}

static inline void flip(const struct many *m, int k, size_t at)
{
    m->file.p[m->file_at[k] + at] ^= 0x55;
}

#endif
