/* input_archive.c - bzip2, xz, lz4, tar and zip by libarchive.
 *
 * Entries come one behind the other. The bytes of an entry are read through a
 * window of their own, so that an entry which is itself gzip (a WACZ is a zip
 * that holds .warc.gz files) is decoded in turn by the gzip decoder; offsets
 * then are those inside the entry, as the indexes of such archives have them.
 */
#include "base/input_internal.h"

#include <archive.h>
#include <archive_entry.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum state { BETWEEN, IN_PLAIN, IN_GZIP, AT_END };

struct kj_arc {
    struct kj_raw *raw;
    struct archive *a;
    enum state state;
    const char *kind;
    char *name;        /* of the entry; NULL: the stream is no archive */
    int64_t where;     /* offset of the entry's header */
    int64_t given;     /* bytes of it */
    int64_t bad_at;    /* where the last broken header was */
    struct kj_raw in;  /* the entry's bytes */
    struct kj_gz *gz;  /* over in */
    const void *block; /* libarchive's, not yet taken */
    size_t block_n;
    bool broken; /* nothing more can be read */
};

/* ---- libarchive's view of the stored bytes ---- */

static la_ssize_t on_read(struct archive *a, void *self, const void **p)
{
    struct kj_arc *c = self;
    size_t n = kj_raw_need(c->raw, 1);
    if (n == 0 && c->raw->fault.rc < 0) {
        archive_set_error(a, c->raw->fault.err_no, "%s", c->raw->fault.msg);
        return ARCHIVE_FATAL;
    }
    *p = c->raw->p + c->raw->at;
    n = n < KJ_CHUNK ? n : KJ_CHUNK;
    kj_raw_advance(c->raw, n);
    return (la_ssize_t)n;
}

static la_int64_t on_seek(struct archive *a, void *self, la_int64_t off, int whence)
{
    (void)a;
    struct kj_raw *r = ((struct kj_arc *)self)->raw;
    int64_t to = whence == SEEK_SET   ? off
                 : whence == SEEK_CUR ? (int64_t)r->at + off
                                      : (int64_t)r->n + off;
    if (to < 0 || to > (int64_t)r->n)
        return ARCHIVE_FATAL;
    r->at = (size_t)to;
    r->dropped = 0;
    return to;
}

struct kj_arc *kj_arc_new(struct kj_raw *raw, const char *fallback)
{
    struct kj_arc *c = kj_xcalloc(1, sizeof *c);
    c->raw = raw;
    c->kind = fallback;
    c->bad_at = -1;
    return c;
}

void kj_arc_free(struct kj_arc *c)
{
    if (!c)
        return;
    if (c->a)
        archive_read_free(c->a);
    kj_gz_free(c->gz);
    kj_raw_release(&c->in);
    free(c->name);
    free(c);
}

const char *kj_arc_kind(const struct kj_arc *c)
{
    return c->kind;
}

static int start(struct kj_arc *c, struct kj_err *err)
{
    struct archive *a = c->a = archive_read_new();
    if (!a)
        return kj_err_set(err, KJ_FAIL, "cannot set up libarchive");
    archive_read_support_filter_bzip2(a);
    archive_read_support_filter_xz(a);
    archive_read_support_filter_lz4(a);
    archive_read_support_filter_gzip(a);
    archive_read_support_filter_zstd(a);
    archive_read_support_format_tar(a);
    archive_read_support_format_zip(a);
    archive_read_support_format_raw(a);
    archive_read_support_format_empty(a);
    archive_read_set_callback_data(a, c);
    archive_read_set_read_callback(a, on_read);
    if (c->raw->mapped)
        archive_read_set_seek_callback(a, on_seek);
    if (archive_read_open1(a) == ARCHIVE_OK)
        return KJ_OK;
    c->state = AT_END; /* its first bytes do not decode */
    kj_err_set(err, KJ_BAD_RECORD, "damaged %s: %s", c->kind, archive_error_string(a));
    kj_err_where(err, NULL, 0);
    return KJ_BAD_RECORD;
}

/* ---- entries ---- */

static const char *fault_text(struct kj_arc *c)
{
    const char *s = archive_error_string(c->a);
    return s ? s : "unknown fault";
}

/* Feeds the entry's window. By blocks: archive_read_data would lose what stood
 * in front of a fault. Holes of sparse entries are left out. */
static int fill_entry(void *self, char *p, size_t room, size_t *got, struct kj_err *err)
{
    struct kj_arc *c = self;
    la_int64_t at;
    int r = ARCHIVE_OK;
    while (c->block_n == 0 &&
           (r == ARCHIVE_OK || r == ARCHIVE_RETRY || r == ARCHIVE_WARN))
        r = archive_read_data_block(c->a, &c->block, &c->block_n, &at);
    if (c->block_n > 0) {
        *got = c->block_n < room ? c->block_n : room;
        memcpy(p, c->block, *got);
        c->block = (const char *)c->block + *got;
        c->block_n -= *got;
        return KJ_OK;
    }
    if (r == ARCHIVE_EOF)
        return KJ_OK;
    c->broken = r == ARCHIVE_FATAL;
    kj_err_set(err, KJ_BAD_RECORD, "damaged %s%s%s: %s", c->name ? "entry " : c->kind,
               c->name ? c->name : "", c->name ? "" : " stream", fault_text(c));
    kj_err_where(err, NULL, c->where);
    return KJ_BAD_RECORD;
}

static void enter(struct kj_arc *c, struct archive_entry *e)
{
    int format = archive_format(c->a) & ARCHIVE_FORMAT_BASE_MASK;
    free(c->name);
    c->name = NULL;
    c->where = 0;
    if (format == ARCHIVE_FORMAT_TAR || format == ARCHIVE_FORMAT_ZIP) {
        const char *name = archive_entry_pathname_utf8(e);
        if (!name)
            name = archive_entry_pathname(e);
        c->name = kj_xstrdup(name ? name : "");
        c->where = archive_read_header_position(c->a);
        c->kind = format == ARCHIVE_FORMAT_TAR ? "tar" : "zip";
    }
    char *buf = c->in.buf;
    size_t size = c->in.size;
    c->in = (struct kj_raw){.buf = buf, .size = size, .p = buf, .keep = 256u << 10};
    c->in.fill = fill_entry;
    c->in.src = c;
    c->given = 0;
    c->block_n = 0;
    c->state = IN_PLAIN;
    size_t n = kj_raw_need(&c->in, 4);
    if (c->name && kj_gz_magic(c->in.p, n)) {
        kj_gz_free(c->gz);
        c->gz = kj_gz_new(&c->in);
        c->state = IN_GZIP;
    }
}

/* On to the next regular file: KJ_OK, KJ_EOF, KJ_BAD_RECORD. */
static int next_entry(struct kj_arc *c, struct kj_err *err)
{
    struct archive_entry *e;
    for (;;) {
        if (c->broken) {
            c->state = AT_END;
            return KJ_EOF;
        }
        int r = archive_read_next_header(c->a, &e);
        if (r == ARCHIVE_EOF) {
            c->state = AT_END;
            return KJ_EOF;
        }
        if (r == ARCHIVE_RETRY)
            continue;
        if (r < ARCHIVE_WARN) {
            int64_t here = kj_raw_tell(c->raw);
            c->broken = r == ARCHIVE_FATAL || here == c->bad_at;
            c->bad_at = here;
            kj_err_set(err, KJ_BAD_RECORD, "damaged %s: %s", c->kind, fault_text(c));
            kj_err_where(err, NULL, archive_read_header_position(c->a));
            return KJ_BAD_RECORD;
        }
        mode_t type = archive_entry_filetype(e);
        if (type != AE_IFREG && type != 0)
            continue;
        enter(c, e);
        return KJ_OK;
    }
}

static int plain_chunk(struct kj_arc *c, struct kj_chunk *k, struct kj_err *err)
{
    size_t n = kj_raw_need(&c->in, KJ_CHUNK);
    n = n < KJ_CHUNK ? n : KJ_CHUNK;
    if (n == 0) {
        c->state = BETWEEN;
        return kj_raw_end(&c->in, err);
    }
    *k = (struct kj_chunk){.p = c->in.p + c->in.at, .n = n, .member = c->where};
    k->at = c->given;
    k->stored = -1;
    kj_raw_advance(&c->in, n);
    c->given += (int64_t)n;
    k->last = c->in.eof && c->in.at == c->in.n && c->in.fault.rc == KJ_OK;
    if (k->last && !c->name)
        k->stored = kj_raw_tell(c->raw);
    k->entry = c->name;
    return KJ_OK;
}

int kj_arc_chunk(struct kj_arc *c, struct kj_chunk *k, struct kj_err *err)
{
    if (!c->a) {
        int rc = start(c, err);
        if (rc)
            return rc;
    }
    for (;;) {
        int rc = KJ_EOF;
        switch (c->state) {
        case AT_END:
            return KJ_EOF;
        case BETWEEN:
            rc = next_entry(c, err);
            if (rc)
                return rc;
            continue;
        case IN_PLAIN:
            rc = plain_chunk(c, k, err);
            break;
        case IN_GZIP:
            rc = kj_gz_chunk(c->gz, k, err);
            k->entry = c->name;
            break;
        }
        if (rc != KJ_EOF)
            return rc;
        c->state = BETWEEN;
    }
}
