/* input.c - opening, telling the form, and plain bytes.
 *
 * Regular files are mapped: libdeflate wants whole members, and a mapped
 * member costs no copy. Pipes, and files that tell no size (/proc), go through
 * a window that keeps some bytes behind the cursor for resync.
 */
#define _GNU_SOURCE /* memmem */
#include "base/input.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/input_internal.h"
#include "base/mem.h"

enum form { UNKNOWN, PLAIN, GZIP, ZSTD, BZIP2, ARCHIVE };
/* Behind the cursor of a pipe: a damaged member is searched again from here. */
#define KEEP ((size_t)256 << 10)
/* Enough to tell a tar inside of a compressed stream. */
enum { PEEK = 1 << 16, TAR_BLOCK = 512 };

struct kj_input {
    char *name;
    int fd;
    struct kj_raw raw;
    enum form form;
    const char *kind;
    struct kj_gz *gz;
    struct kj_zst *zst;
    struct kj_bz *bz;
    struct kj_arc *arc;
    char *tail; /* the last bytes of a mapped file, padded */
    unsigned ahead;
};

static int fill_fd(void *self, char *p, size_t room, size_t *got, struct kj_err *err)
{
    struct kj_input *in = self;
    ssize_t n;
    do
        n = read(in->fd, p, room);
    while (n < 0 && errno == EINTR);
    if (n < 0) {
        kj_err_errno(err, KJ_FAIL, "cannot read");
        kj_err_where(err, in->name, -1);
        return KJ_FAIL;
    }
    *got = (size_t)n;
    return KJ_OK;
}

static int map_or_stream(struct kj_input *in, struct kj_err *err)
{
    struct stat st;
    if (fstat(in->fd, &st))
        return kj_err_errno(err, KJ_FAIL, "cannot open %s", in->name);
    if (S_ISDIR(st.st_mode))
        return kj_err_set(err, KJ_FAIL, "%s is a folder", in->name);
    in->raw.fill = fill_fd;
    in->raw.src = in;
    in->raw.keep = KEEP;
    /* Standard input may be a file that someone has read the head of. */
    if (!S_ISREG(st.st_mode) || st.st_size <= 0 || lseek(in->fd, 0, SEEK_CUR) != 0)
        return KJ_OK;
    void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, in->fd, 0);
    if (p == MAP_FAILED)
        return KJ_OK;
    madvise(p, (size_t)st.st_size, MADV_SEQUENTIAL);
    in->raw.p = p;
    in->raw.n = (size_t)st.st_size;
    in->raw.eof = in->raw.mapped = true;
    return KJ_OK;
}

int kj_input_open(struct kj_input **out, const char *path, struct kj_err *err)
{
    *out = NULL;
    bool std = strcmp(path, "-") == 0;
    int fd = std ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return kj_err_errno(err, KJ_FAIL, "cannot open %s", path);
    struct kj_input *in = kj_xcalloc(1, sizeof *in);
    in->fd = fd;
    in->name = kj_xstrdup(path);
    in->kind = "plain";
    int rc = map_or_stream(in, err);
    if (rc)
        kj_input_close(in);
    else
        *out = in;
    return rc;
}

void kj_input_close(struct kj_input *in)
{
    if (!in)
        return;
    kj_gz_free(in->gz);
    kj_zst_free(in->zst);
    kj_bz_free(in->bz);
    kj_arc_free(in->arc);
    if (in->raw.mapped)
        munmap((void *)(uintptr_t)in->raw.p, in->raw.n);
    kj_raw_release(&in->raw);
    if (in->fd != STDIN_FILENO)
        close(in->fd);
    free(in->tail);
    free(in->name);
    free(in);
}

/* ---- telling the form ---- */

/* A tar header carries the sum of its own bytes, the sum's field read as
 * spaces; true of every tar since 1979, with or without "ustar". */
static bool is_tar(const char *p, size_t n)
{
    if (n < TAR_BLOCK || p[0] == 0)
        return false;
    unsigned sum = 0, told = 0;
    for (int i = 0; i < TAR_BLOCK; i++)
        sum += i >= 148 && i < 156 ? ' ' : (unsigned char)p[i];
    int i = 148;
    while (i < 156 && p[i] == ' ')
        i++;
    if (i == 156 || p[i] < '0' || p[i] > '7')
        return false;
    for (; i < 156 && p[i] >= '0' && p[i] <= '7'; i++)
        told = told * 8 + (unsigned)(p[i] - '0');
    return sum == told;
}

static bool starts(const char *p, size_t n, const char *magic, size_t m)
{
    return n >= m && memcmp(p, magic, m) == 0;
}

static const char *archive_kind(const char *p, size_t n)
{
    if (starts(p, n, "PK\3\4", 4) || starts(p, n, "PK\5\6", 4))
        return "zip";
    if (starts(p, n,
               "\xFD"
               "7zXZ\0",
               6))
        return "xz";
    if (starts(p, n, "\x04\x22\x4D\x18", 4))
        return "lz4";
    return is_tar(p, n) ? "tar" : NULL;
}

/* Text, as far as the first bytes say. */
static bool is_text(const char *p, size_t n)
{
    size_t odd = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)p[i];
        odd += (c < ' ' && c != '\n' && c != '\r' && c != '\t') || c == 0x7F;
    }
    return odd * 20 <= n;
}

/* Is it gzip whose first member is damaged, even in its first bytes? Then a
 * member that decodes comes behind it. Text that holds a gzip stream (an archive
 * of compressed pages) is none, nor is text behind what looks like a header. */
static bool hurt_gzip(const char *p, size_t n)
{
    static const char magic[] = "\x1f\x8b\x08";
    if (n < 32)
        return kj_gz_magic(p, n);
    if (n > PEEK)
        n = PEEK; /* what a pipe shows */
    for (const char *at = p; n && (at = memmem(at, n - (size_t)(at - p), magic, 3));
         at++) {
        size_t off = (size_t)(at - p);
        if (kj_gz_starts(at, n - off))
            return off < 32 || !is_text(p, off < TAR_BLOCK ? off : TAR_BLOCK);
    }
    return kj_gz_magic(p, n) &&
           !is_text(p + 10, n - 10 < TAR_BLOCK ? n - 10 : TAR_BLOCK);
}

static void tell_form(struct kj_input *in)
{
    size_t n = kj_raw_need(&in->raw, TAR_BLOCK);
    const char *p = in->raw.p;
    char head[TAR_BLOCK];
    size_t more = kj_gz_magic(p, n) ? kj_raw_need(&in->raw, PEEK) : 0;
    p = in->raw.p;
    if (more && kj_gz_starts(p, more < PEEK ? more : PEEK)) {
        n = more;
        in->form = GZIP;
        in->kind = "gzip";
        n = kj_gz_peek(p, n, head, sizeof head);
    } else if (kj_zst_magic(p, n)) {
        n = kj_raw_need(&in->raw, PEEK);
        p = in->raw.p;
        in->form = ZSTD;
        in->kind = "zstd";
        n = kj_zst_peek(p, n, head, sizeof head);
    } else if (kj_bz_magic(p, n)) {
        n = kj_raw_need(&in->raw, KJ_BZ_PEEK);
        p = in->raw.p;
        in->form = BZIP2;
        in->kind = "bzip2";
        n = kj_bz_peek(p, n, head, sizeof head);
    } else {
        const char *kind = n ? archive_kind(p, n) : NULL;
        in->form = kind ? ARCHIVE : PLAIN;
        in->kind = kind ? kind : "plain";
        if (!kind) {
            n = kj_raw_need(&in->raw, PEEK);
            if (hurt_gzip(in->raw.p, n)) {
                in->form = GZIP;
                in->kind = "gzip";
                n = 0;
            }
        }
    }
    if (in->form != PLAIN && in->form != ARCHIVE && is_tar(head, n)) {
        in->form = ARCHIVE;
        in->kind = "tar";
    }
    if (in->form == GZIP) {
        in->gz = kj_gz_new(&in->raw);
        kj_gz_threads(in->gz, in->ahead);
    }
    if (in->form == BZIP2)
        in->bz = kj_bz_new(&in->raw, in->ahead);
    else if (in->form == ZSTD)
        in->zst = kj_zst_new(&in->raw);
    else if (in->form == ARCHIVE)
        in->arc = kj_arc_new(&in->raw, in->kind);
    else
        in->raw.keep = 0;
}

/* ---- plain bytes ---- */

/* Reading behind the last byte of a mapping is fine up to the end of its page. */
static bool tail_is_padded(size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), used = size % page;
    return used != 0 && page - used >= KJ_BUF_PAD;
}

static int plain_chunk(struct kj_input *in, struct kj_chunk *c, struct kj_err *err)
{
    struct kj_raw *r = &in->raw;
    size_t n = kj_raw_need(r, 1);
    if (n == 0)
        return kj_raw_end(r, err);
    n = n < KJ_CHUNK ? n : KJ_CHUNK;
    *c = (struct kj_chunk){.p = r->p + r->at, .n = n, .member = kj_raw_tell(r)};
    c->stored = (int64_t)n;
    if (r->mapped && r->n - (r->at + n) < KJ_BUF_PAD && !tail_is_padded(r->n)) {
        if (!in->tail)
            in->tail = kj_xmalloc(KJ_CHUNK + KJ_BUF_PAD);
        memcpy(in->tail, c->p, n);
        c->p = in->tail;
    }
    kj_raw_advance(r, n);
    return KJ_OK;
}

int kj_input_chunk(struct kj_input *in, struct kj_chunk *c, struct kj_err *err)
{
    int rc;
    if (in->form == UNKNOWN)
        tell_form(in);
    switch (in->form) {
    case GZIP:
        rc = kj_gz_chunk(in->gz, c, err);
        break;
    case ZSTD:
        rc = kj_zst_chunk(in->zst, c, err);
        break;
    case BZIP2:
        rc = kj_bz_chunk(in->bz, c, err);
        break;
    case ARCHIVE:
        rc = kj_arc_chunk(in->arc, c, err);
        in->kind = kj_arc_kind(in->arc);
        break;
    default:
        rc = plain_chunk(in, c, err);
    }
    if (rc < 0)
        kj_err_where(err, in->name, -1);
    return rc;
}

/* ---- the rest of the face ---- */

void kj_input_ahead(struct kj_input *in, unsigned threads)
{
    in->ahead = threads;
}

const char *kj_input_kind(const struct kj_input *in)
{
    return in->kind;
}

const char *kj_input_name(const struct kj_input *in)
{
    return in->name;
}

int64_t kj_input_consumed(const struct kj_input *in)
{
    return kj_raw_tell(&in->raw);
}

int64_t kj_input_size(const struct kj_input *in)
{
    return in->raw.mapped ? (int64_t)in->raw.n : -1;
}

int kj_input_seek(struct kj_input *in, int64_t offset, struct kj_err *err)
{
    if (in->form == UNKNOWN)
        tell_form(in);
    bool can = in->raw.mapped && in->form != ARCHIVE;
    if (!can || offset < 0 || offset > (int64_t)in->raw.n) {
        kj_err_set(err, KJ_FAIL,
                   can ? "offset %lld is outside" : "cannot go to offset %lld here",
                   (long long)offset);
        kj_err_where(err, in->name, -1);
        return KJ_FAIL;
    }
    in->raw.at = (size_t)offset;
    in->raw.dropped = in->raw.at / KJ_CHUNK * KJ_CHUNK;
    if (in->gz)
        kj_gz_restart(in->gz);
    if (in->zst)
        kj_zst_restart(in->zst);
    if (in->bz)
        kj_bz_restart(in->bz);
    return KJ_OK;
}

int kj_input_slurp(const char *path, struct kj_buf *b, struct kj_err *err)
{
    struct kj_input *in;
    struct kj_chunk c;
    int rc = kj_input_open(&in, path, err);
    if (rc)
        return rc;
    while ((rc = kj_input_chunk(in, &c, err)) == KJ_OK)
        if (kj_buf_add(b, c.p, c.n)) {
            rc = kj_err_set(err, KJ_FAIL, "larger than the %zu bytes allowed", b->cap);
            kj_err_where(err, path, -1);
            break;
        }
    kj_input_close(in);
    if (rc == KJ_EOF)
        return KJ_OK;
    if (err)
        err->rc = KJ_FAIL;
    return KJ_FAIL;
}
