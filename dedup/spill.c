/* spill.c - checked blocks in files. */
#include "dedup/spill.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/output.h"

enum { BUFFER = 1 << 18, VERSION = 1 };
static const char magic[8] = "kijilDD";

static void put64(unsigned char *p, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        p[i] = (unsigned char)(v >> 8 * i);
}

static uint64_t get64(const unsigned char *p)
{
    uint64_t v = 0;
    for (int i = 7; i >= 0; i--)
        v = v << 8 | p[i];
    return v;
}

/* magic, version and kind, parameters, counts, size, hash of the rest; what
 * is left is zero. */
static void make_header(const struct kj_spill *s, unsigned char h[KJ_SPILL_HEADER])
{
    memset(h, 0, KJ_SPILL_HEADER);
    memcpy(h, magic, 8);
    put64(h + 8, (uint64_t)VERSION << 32 | s->params.kind);
    for (size_t i = 0; i < KJ_SPILL_PARAMS; i++)
        put64(h + 16 + 8 * i, s->params.v[i]);
    put64(h + 80, s->count[0]);
    put64(h + 88, s->count[1]);
    put64(h + 96, s->size);
    put64(h + KJ_SPILL_HEADER - 8, kj_hash64(h, KJ_SPILL_HEADER - 8, 0));
}

static int cannot_write(const struct kj_spill *s, struct kj_err *err)
{
    return kj_err_errno(err, KJ_FATAL, "cannot write %s", s->path);
}

static int write_all(struct kj_spill *s, const void *p, size_t n, uint64_t pos,
                     struct kj_err *err)
{
    const char *c = p;
    while (n) {
        ssize_t w = pwrite(s->fd, c, n, (off_t)pos);
        if (w < 0 && errno == EINTR)
            continue;
        if (w <= 0)
            return cannot_write(s, err);
        c += w;
        n -= (size_t)w;
        pos += (uint64_t)w;
    }
    return KJ_OK;
}

static int flush(struct kj_spill *s, struct kj_err *err)
{
    size_t n = s->n_buf;
    s->n_buf = 0;
    return write_all(s, s->buf, n, s->size - n, err);
}

int kj_spill_create(struct kj_spill *s, const char *dir, const char *name,
                    const struct kj_spill_params *params, struct kj_err *err)
{
    *s = (struct kj_spill){.fd = -1, .params = *params, .size = KJ_SPILL_HEADER};
    if (name) {
        char end[32];
        snprintf(end, sizeof end, ".tmp-%ld", (long)getpid());
        s->path = kj_xprintf("%s/%s", dir, name);
        s->tmp = kj_xprintf("%s/%s%s", dir, name, end);
        s->fd = open(s->tmp, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    } else {
        s->path = kj_xprintf("%s/spill-XXXXXX", dir);
        s->fd = mkstemp(s->path);
        if (s->fd >= 0)
            unlink(s->path);
    }
    if (s->fd < 0) {
        kj_err_errno(err, KJ_FATAL, "cannot make a file in %s", dir);
        kj_spill_release(s);
        return KJ_FATAL;
    }
    s->buf = kj_xmalloc(BUFFER);
    return KJ_OK;
}

int kj_spill_add(struct kj_spill *s, const void *p, size_t n, uint64_t *pos,
                 struct kj_err *err)
{
    unsigned char head[KJ_SPILL_BLOCK];
    if (n > KJ_SPILL_LARGEST)
        return kj_err_set(err, KJ_FATAL, "%s: a block of %zu bytes", s->path, n);
    put64(head, n);
    put64(head + 8, kj_hash64(p, n, s->size));
    if (pos)
        *pos = s->size;
    int rc = KJ_OK;
    if (s->n_buf + sizeof head + n > BUFFER)
        rc = flush(s, err);
    memcpy(s->buf + s->n_buf, head, sizeof head);
    s->n_buf += sizeof head;
    s->size += sizeof head;
    if (!rc && s->n_buf + n > BUFFER) {
        rc = flush(s, err);
        if (!rc)
            rc = write_all(s, p, n, s->size, err);
    } else if (n) {
        memcpy(s->buf + s->n_buf, p, n);
        s->n_buf += n;
    }
    s->size += n;
    return rc;
}

int kj_spill_finish(struct kj_spill *s, struct kj_err *err)
{
    unsigned char h[KJ_SPILL_HEADER];
    int rc = flush(s, err);
    make_header(s, h);
    if (!rc)
        rc = write_all(s, h, sizeof h, 0, err);
    free(s->buf);
    s->buf = NULL;
    if (!rc && s->tmp) {
        if (fsync(s->fd) || rename(s->tmp, s->path))
            return cannot_write(s, err);
        free(s->tmp);
        s->tmp = NULL;
        rc = kj_output_sync_dir(s->path, err);
    }
    s->finished = !rc;
    return rc;
}

static int read_all(const struct kj_spill *s, uint64_t pos, void *p, size_t n,
                    struct kj_err *err)
{
    char *c = p;
    while (n) {
        ssize_t r = pread(s->fd, c, n, (off_t)pos);
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return kj_err_errno(err, KJ_FATAL, "cannot read %s", s->path);
        if (r == 0)
            return kj_err_set(err, KJ_FATAL, "%s ends too early", s->path);
        c += r;
        n -= (size_t)r;
        pos += (uint64_t)r;
    }
    return KJ_OK;
}

/* Is it a header, and one of what is wanted? */
static int check_header(struct kj_spill *s, const unsigned char *h, uint64_t size,
                        struct kj_err *err)
{
    const struct kj_spill_params *want = &s->params;
    if (memcmp(h, magic, 8) != 0)
        return kj_err_set(err, KJ_FAIL, "%s: not a file of kijil dedup, or unfinished",
                          s->path);
    if (get64(h + KJ_SPILL_HEADER - 8) != kj_hash64(h, KJ_SPILL_HEADER - 8, 0))
        return kj_err_set(err, KJ_FAIL, "%s: its header is damaged", s->path);
    if (get64(h + 8) >> 32 != VERSION)
        return kj_err_set(err, KJ_FAIL, "%s: of version %u, not %d", s->path,
                          (unsigned)(get64(h + 8) >> 32), VERSION);
    if ((uint32_t)get64(h + 8) != want->kind)
        return kj_err_set(err, KJ_FAIL, "%s: holds something else", s->path);
    for (size_t i = 0; i < KJ_SPILL_PARAMS; i++)
        if (get64(h + 16 + 8 * i) != want->v[i])
            return kj_err_set(err, KJ_FAIL,
                              "%s: made with another seed or other parameters "
                              "(number %zu is %llu, not %llu)",
                              s->path, i + 1, (unsigned long long)get64(h + 16 + 8 * i),
                              (unsigned long long)want->v[i]);
    s->count[0] = get64(h + 80);
    s->count[1] = get64(h + 88);
    s->size = get64(h + 96);
    if (s->size != size)
        return kj_err_set(err, KJ_FAIL, "%s: %s: has %llu bytes of %llu", s->path,
                          size < s->size ? "cut short" : "too long",
                          (unsigned long long)size, (unsigned long long)s->size);
    return KJ_OK;
}

int kj_spill_open(struct kj_spill *s, const char *path,
                  const struct kj_spill_params *params, struct kj_err *err)
{
    *s = (struct kj_spill){.fd = open(path, O_RDONLY | O_CLOEXEC),
                           .params = *params,
                           .path = kj_xstrdup(path)};
    struct stat st;
    unsigned char h[KJ_SPILL_HEADER];
    int rc = KJ_OK;
    if (s->fd < 0 || fstat(s->fd, &st))
        rc = kj_err_errno(err, KJ_FAIL, "cannot open %s", path);
    else if (st.st_size < KJ_SPILL_HEADER)
        rc = kj_err_set(err, KJ_FAIL, "%s: cut short", path);
    if (!rc && read_all(s, 0, h, sizeof h, err))
        rc = KJ_FAIL;
    if (!rc)
        rc = check_header(s, h, (uint64_t)st.st_size, err);
    s->finished = !rc;
    if (rc)
        kj_spill_release(s);
    return rc;
}

static int damaged(const struct kj_spill *s, uint64_t pos, struct kj_err *err)
{
    return kj_err_set(err, KJ_FATAL, "%s: damaged at byte %llu", s->path,
                      (unsigned long long)pos);
}

static int block_head(const struct kj_spill *s, uint64_t pos,
                      unsigned char head[KJ_SPILL_BLOCK], size_t *n, struct kj_err *err)
{
    if (pos < KJ_SPILL_HEADER || pos > s->size || s->size - pos < KJ_SPILL_BLOCK)
        return damaged(s, pos, err);
    int rc = read_all(s, pos, head, KJ_SPILL_BLOCK, err);
    if (rc)
        return rc;
    uint64_t len = get64(head);
    if (len > KJ_SPILL_LARGEST || len > s->size - pos - KJ_SPILL_BLOCK)
        return damaged(s, pos, err);
    *n = (size_t)len;
    return KJ_OK;
}

int kj_spill_length(const struct kj_spill *s, uint64_t pos, size_t *n,
                    struct kj_err *err)
{
    unsigned char head[KJ_SPILL_BLOCK];
    return block_head(s, pos, head, n, err);
}

int kj_spill_read(const struct kj_spill *s, uint64_t pos, void *p, size_t n,
                  struct kj_err *err)
{
    unsigned char head[KJ_SPILL_BLOCK];
    size_t have;
    int rc = block_head(s, pos, head, &have, err);
    if (!rc && have != n)
        rc = damaged(s, pos, err);
    if (!rc)
        rc = read_all(s, pos + KJ_SPILL_BLOCK, p, n, err);
    if (!rc && get64(head + 8) != kj_hash64(p, n, pos))
        rc = damaged(s, pos, err);
    return rc;
}

void kj_spill_release(struct kj_spill *s)
{
    if (s->fd >= 0 && s->path)
        close(s->fd);
    if (s->tmp)
        unlink(s->tmp);
    free(s->path);
    free(s->tmp);
    free(s->buf);
    *s = (struct kj_spill){.fd = -1};
}
