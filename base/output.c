/* output.c - files that appear whole or not at all.
 *
 * Content is gathered in a buffer of one unit (4 MiB for .zst and .gz, 1 MiB
 * for plain) and a full unit is compressed at once, as one frame or member.
 * So the stored bytes depend on the content and the cuts alone, and a unit
 * never needs a streaming encoder.
 */
#include "base/output.h"

#include <errno.h>
#include <fcntl.h>
#include <libdeflate.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "base/err.h"
#include "base/mem.h"

enum { UNIT_PLAIN = 1 << 20, UNIT_PACKED = 4 << 20 };
/* zstd -3 and deflate 6 are their tools' defaults: about 1/3 of the text's
 * size at speeds that one writer thread can hold. */
enum { ZSTD_LEVEL = 3, GZIP_LEVEL = 6 };

enum form { PLAIN, ZST, GZ };

struct kj_output {
    enum form form;
    int fd;
    char *path; /* NULL: standard output */
    char *tmp;  /* NULL: written in place (a device, a pipe) */
    char *unit;
    size_t n, size;
    char *packed;
    size_t packed_size;
    ZSTD_CCtx *zstd;
    struct libdeflate_compressor *deflate;
    int64_t written, stored;
    int rc; /* first failure; everything after it fails alike */
};

static bool ends_with(const char *s, const char *tail)
{
    size_t n = strlen(s), m = strlen(tail);
    return n > m && memcmp(s + n - m, tail, m) == 0;
}

static void output_free(struct kj_output *o)
{
    if (o->fd >= 0 && o->path)
        close(o->fd);
    ZSTD_freeCCtx(o->zstd);
    libdeflate_free_compressor(o->deflate);
    free(o->packed);
    free(o->unit);
    free(o->tmp);
    free(o->path);
    free(o);
}

static int open_encoder(struct kj_output *o, struct kj_err *err)
{
    o->size = o->form == PLAIN ? UNIT_PLAIN : UNIT_PACKED;
    o->unit = kj_xmalloc(o->size);
    if (o->form == ZST) {
        o->zstd = ZSTD_createCCtx();
        o->packed_size = ZSTD_compressBound(o->size);
        if (!o->zstd ||
            ZSTD_isError(
                ZSTD_CCtx_setParameter(o->zstd, ZSTD_c_compressionLevel, ZSTD_LEVEL)) ||
            ZSTD_isError(ZSTD_CCtx_setParameter(o->zstd, ZSTD_c_checksumFlag, 1)))
            return kj_err_set(err, KJ_FAIL, "cannot set up zstd");
    } else if (o->form == GZ) {
        o->deflate = libdeflate_alloc_compressor(GZIP_LEVEL);
        if (!o->deflate)
            return kj_err_set(err, KJ_FAIL, "cannot set up gzip");
        o->packed_size = libdeflate_gzip_compress_bound(o->deflate, o->size);
    }
    if (o->packed_size)
        o->packed = kj_xmalloc(o->packed_size);
    return KJ_OK;
}

/* Regular files are written beside their final place; a link is followed, so
 * that its target is replaced and not the link. Devices and pipes are written
 * directly, and so is what the shell has opened (/dev/stderr). */
static int open_file(struct kj_output *o, const char *path, struct kj_err *err)
{
    struct stat st;
    char *real = realpath(path, NULL);
    o->path = kj_xstrdup(real ? real : path);
    free(real);
    if (strncmp(path, "/dev/std", 8) == 0 || strncmp(path, "/dev/fd/", 8) == 0) {
        /* may be a file that others write to: never replaced */
        o->fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    } else if (stat(o->path, &st) == 0 && !S_ISREG(st.st_mode)) {
        o->fd = open(o->path, O_WRONLY | O_CLOEXEC);
    } else {
        size_t n = strlen(o->path) + 32;
        o->tmp = kj_xmalloc(n);
        snprintf(o->tmp, n, "%s.tmp-%ld", o->path, (long)getpid());
        o->fd = open(o->tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    }
    if (o->fd < 0)
        return kj_err_errno(err, KJ_FAIL, "cannot write %s", path);
    return KJ_OK;
}

static int open_part(struct kj_output *o, const char *path, int64_t stored,
                     struct kj_err *err)
{
    size_t n = strlen(path) + 8;
    struct stat st;
    o->path = kj_xstrdup(path);
    o->tmp = kj_xmalloc(n);
    snprintf(o->tmp, n, "%s.part", path);
    o->fd = open(o->tmp, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    if (o->fd < 0 || fstat(o->fd, &st))
        return kj_err_errno(err, KJ_FAIL, "cannot write %s", o->tmp);
    if (st.st_size < stored)
        return kj_err_set(err, KJ_FAIL, "%s is shorter than it was", o->tmp);
    if (ftruncate(o->fd, stored) || lseek(o->fd, stored, SEEK_SET) != stored)
        return kj_err_errno(err, KJ_FAIL, "cannot write %s", o->tmp);
    o->stored = stored;
    return KJ_OK;
}

int kj_output_open_part(struct kj_output **out, const char *path, int64_t stored,
                        const char *unit, size_t n, struct kj_err *err)
{
    struct kj_output *o = kj_xcalloc(1, sizeof *o);
    *out = NULL;
    o->fd = -1;
    o->form = ends_with(path, ".zst") ? ZST : ends_with(path, ".gz") ? GZ : PLAIN;
    int rc = open_part(o, path, stored, err);
    if (rc == KJ_OK)
        rc = open_encoder(o, err);
    if (rc == KJ_OK && n >= o->size)
        rc = kj_err_set(err, KJ_FAIL, "%s: a unit of %zu bytes", path, n);
    if (rc) {
        kj_output_leave(o);
        return rc;
    }
    if (n)
        memcpy(o->unit, unit, n);
    o->n = n;
    *out = o;
    return KJ_OK;
}

int kj_output_open(struct kj_output **out, const char *path, struct kj_err *err)
{
    struct kj_output *o = kj_xcalloc(1, sizeof *o);
    int rc = KJ_OK;
    *out = NULL;
    o->fd = -1;
    if (!path || strcmp(path, "-") == 0) {
        o->fd = STDOUT_FILENO;
    } else {
        o->form = ends_with(path, ".zst") ? ZST : ends_with(path, ".gz") ? GZ : PLAIN;
        rc = open_file(o, path, err);
    }
    if (!rc)
        rc = open_encoder(o, err);
    if (rc) {
        kj_output_abort(o);
        return rc;
    }
    *out = o;
    return KJ_OK;
}

static int write_all(struct kj_output *o, const char *p, size_t n, struct kj_err *err)
{
    while (n > 0) {
        ssize_t k = write(o->fd, p, n);
        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0 && errno == EPIPE)
            return o->rc = KJ_EOF;
        if (k < 0)
            return o->rc = kj_err_errno(err, KJ_FATAL, "cannot write %s",
                                        o->path ? o->path : "standard output");
        p += k;
        n -= (size_t)k;
        o->stored += k;
    }
    return KJ_OK;
}

static int flush_unit(struct kj_output *o, const char *p, size_t n, struct kj_err *err)
{
    size_t k;
    switch (o->form) {
    case ZST:
        k = ZSTD_compress2(o->zstd, o->packed, o->packed_size, p, n);
        if (ZSTD_isError(k))
            return o->rc = kj_err_set(err, KJ_FATAL, "zstd: %s", ZSTD_getErrorName(k));
        return write_all(o, o->packed, k, err);
    case GZ:
        k = libdeflate_gzip_compress(o->deflate, p, n, o->packed, o->packed_size);
        if (k == 0)
            return o->rc = kj_err_set(err, KJ_FATAL, "gzip: cannot compress");
        return write_all(o, o->packed, k, err);
    default:
        return write_all(o, p, n, err);
    }
}

int kj_output_write(struct kj_output *o, const char *p, size_t n, struct kj_err *err)
{
    if (o->rc)
        return o->rc;
    o->written += (int64_t)n;
    while (n > 0) {
        /* A whole unit at hand needs no copy. */
        if (o->n == 0 && n >= o->size) {
            if (flush_unit(o, p, o->size, err))
                return o->rc;
            p += o->size;
            n -= o->size;
            continue;
        }
        size_t take = o->size - o->n < n ? o->size - o->n : n;
        memcpy(o->unit + o->n, p, take);
        o->n += take;
        p += take;
        n -= take;
        if (o->n == o->size && kj_output_cut(o, err))
            return o->rc;
    }
    return KJ_OK;
}

int kj_output_cut(struct kj_output *o, struct kj_err *err)
{
    if (o->rc || o->n == 0)
        return o->rc;
    size_t n = o->n;
    o->n = 0;
    return flush_unit(o, o->unit, n, err);
}

int kj_output_save(struct kj_output *o, const char **unit, size_t *n,
                   struct kj_err *err)
{
    /* Of a plain file the units cannot be told apart. */
    int rc = o->form == PLAIN ? kj_output_cut(o, err) : o->rc;
    if (rc == KJ_OK && fdatasync(o->fd))
        rc = kj_err_errno(err, KJ_FATAL, "cannot sync %s", o->path);
    *unit = o->unit;
    *n = o->n;
    return rc;
}

void kj_output_leave(struct kj_output *o)
{
    if (!o)
        return;
    free(o->tmp);
    o->tmp = NULL;
    output_free(o);
}

static int commit_file(struct kj_output *o, struct kj_err *err)
{
    if (o->tmp && fsync(o->fd))
        return kj_err_errno(err, KJ_FATAL, "cannot sync %s", o->path);
    int fd = o->fd;
    o->fd = -1;
    if (close(fd))
        return kj_err_errno(err, KJ_FATAL, "cannot close %s", o->path);
    if (o->tmp && rename(o->tmp, o->path))
        return kj_err_errno(err, KJ_FATAL, "cannot rename %s to %s", o->tmp, o->path);
    if (!o->tmp)
        return KJ_OK;
    free(o->tmp);
    o->tmp = NULL;
    return kj_output_sync_dir(o->path, err);
}

/* Some file systems report a lost write only at close; standard output itself
 * stays open, so that its number is not given to another file. */
static int commit_stdout(struct kj_err *err)
{
    int fd = dup(STDOUT_FILENO);
    if (fd < 0 || close(fd))
        return kj_err_errno(err, KJ_FATAL, "cannot close standard output");
    return KJ_OK;
}

int kj_output_commit(struct kj_output *o, struct kj_err *err)
{
    int rc = o->rc;
    /* An empty .zst or .gz still needs one frame, to be of its kind. */
    if (!rc && (o->n > 0 || (o->form != PLAIN && o->stored == 0))) {
        size_t n = o->n;
        o->n = 0;
        rc = flush_unit(o, o->unit, n, err);
    }
    if (!rc)
        rc = o->path ? commit_file(o, err) : commit_stdout(err);
    kj_output_abort(o);
    return rc;
}

void kj_output_abort(struct kj_output *o)
{
    if (!o)
        return;
    if (o->tmp)
        unlink(o->tmp);
    output_free(o);
}

int64_t kj_output_written(const struct kj_output *o)
{
    return o->written;
}

int64_t kj_output_stored(const struct kj_output *o)
{
    return o->stored;
}

int kj_output_file(const char *path, const char *p, size_t n, struct kj_err *err)
{
    struct kj_output *o = kj_xcalloc(1, sizeof *o);
    o->fd = -1;
    int rc = open_file(o, path, err);
    if (!rc)
        rc = write_all(o, p, n, err);
    if (!rc)
        rc = commit_file(o, err);
    kj_output_abort(o);
    return rc;
}

int kj_output_mkdirs(const char *path, struct kj_err *err)
{
    char *p = kj_xstrdup(path);
    int rc = KJ_OK;
    size_t n = strlen(p);
    for (size_t i = 1; !rc && i <= n; i++) {
        if (p[i] != '/' && p[i] != 0)
            continue;
        char was = p[i];
        p[i] = 0;
        if (mkdir(p, 0777) && errno != EEXIST)
            rc = kj_err_errno(err, KJ_FAIL, "cannot make folder %s", p);
        p[i] = was;
    }
    struct stat st;
    if (!rc && (stat(path, &st) || !S_ISDIR(st.st_mode)))
        rc = kj_err_set(err, KJ_FAIL, "%s is no folder", path);
    free(p);
    return rc;
}

int kj_output_sync_dir(const char *path, struct kj_err *err)
{
    const char *slash = strrchr(path, '/');
    char *dir = slash == path ? kj_xstrdup("/")
                : slash       ? kj_xstrndup(path, (size_t)(slash - path))
                              : kj_xstrdup(".");
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = KJ_OK;
    /* EINVAL: the file system has no such thing as syncing a folder. */
    if (fd < 0 || (fsync(fd) && errno != EINVAL && errno != EROFS))
        rc = kj_err_errno(err, KJ_FATAL, "cannot sync folder %s", dir);
    if (fd >= 0)
        close(fd);
    free(dir);
    return rc;
}
