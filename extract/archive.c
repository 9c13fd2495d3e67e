/* archive.c - see archive.h. */
#define _GNU_SOURCE /* memmem */
#include "extract/archive.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/input.h"
#include "extract/arxiv.h"
#include "extract/warc.h"
#include "extract/wikidump.h"

struct archive {
    const char *const *files;
    size_t n_files, at;
    enum kj_archive_kind kind;
    struct kj_archive_counts *counts;
    struct kj_warc *warc;
    unsigned ahead;             /* threads that unpack */
    int64_t seek;               /* offset to start the next file at */
    struct kj_str name;         /* base name of the open file */
    int64_t was;                /* stored bytes of it that were counted */
    int64_t hurt;               /* offset of its last damaged member; -1 none */
    struct kj_archive_hurt sum; /* of it */
    /* progress: sizes of all files, and what was read of them */
    int64_t total;
    _Atomic int64_t done;
};

static struct kj_str base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return kj_str_z(slash && slash[1] ? slash + 1 : path);
}

void kj_archive_count(struct kj_archive_counts *c, const char *type)
{
    if (!c)
        return;
    c->records++;
    for (size_t i = 0; i < c->n; i++)
        if (strcmp(c->types[i].type, type) == 0) {
            c->types[i].n++;
            return;
        }
    if (c->n < sizeof c->types / sizeof *c->types) {
        snprintf(c->types[c->n].type, sizeof c->types[0].type, "%s", type);
        c->types[c->n++].n = 1;
    }
}

static int open_next(struct archive *a, struct kj_err *err)
{
    struct kj_input *in;
    const char *path = a->files[a->at];
    int rc = kj_input_open(&in, path, err);
    if (rc < 0)
        return rc;
    kj_input_ahead(in, a->ahead);
    if (a->seek > 0 && (rc = kj_input_seek(in, a->seek, err)) < 0) {
        kj_input_close(in);
        return rc;
    }
    a->was = a->seek;
    a->hurt = -1;
    memset(&a->sum, 0, sizeof a->sum);
    a->seek = 0;
    a->name = base_name(path);
    a->warc = kj_warc_new(in);
    return KJ_OK;
}

static void note_progress(struct archive *a, struct kj_batch *b)
{
    int64_t now = kj_warc_consumed(a->warc);
    if (now > a->was) {
        b->bytes_in += (uint64_t)(now - a->was);
        a->sum.bytes += (uint64_t)(now - a->was);
        atomic_fetch_add(&a->done, now - a->was);
        a->was = now;
    }
}

static void close_file(struct archive *a, struct kj_batch *b)
{
    struct kj_archive_counts *c = a->counts;
    note_progress(a, b);
    if (c) {
        c->bytes += a->sum.bytes;
        c->lost += a->sum.lost;
    }
    if (c && a->sum.faults && c->n_hurt++ < sizeof c->hurt / sizeof *c->hurt) {
        snprintf(a->sum.file, sizeof a->sum.file, "%.*s", (int)a->name.n, a->name.p);
        c->hurt[c->n_hurt - 1] = a->sum;
    }
    kj_warc_free(a->warc);
    a->warc = NULL;
    a->at++;
}

static struct kj_str keep(struct kj_batch *b, struct kj_str s)
{
    char *p = s.n ? kj_arena_dup(&b->arena, s.p, s.n) : NULL;
    return (struct kj_str){p, p ? s.n : 0};
}

/* Identity of a record without one: what it is and what is in it. */
static struct kj_str content_id(struct kj_batch *b, struct kj_str url,
                                struct kj_str date, struct kj_str block)
{
    struct kj_hash128 h = kj_hash128(block.p, block.n);
    char hex[33];
    h.hi ^= kj_hash64(url.p, url.n, 1);
    h.lo ^= kj_hash64(date.p, date.n, 2);
    kj_hash128_hex(h, hex);
    const char *id = kj_arena_printf(&b->arena, "xxh128:%s", hex);
    return kj_str_z(id);
}

static int full(struct kj_err *err)
{
    return kj_err_set(err, KJ_FATAL, "a batch needs more than its memory");
}

/* The last document of the batch, when it is a fault at this offset. */
static struct kj_doc *fault_at(struct archive *a, struct kj_batch *b, int64_t offset)
{
    struct kj_doc *d = b->n ? &b->docs[b->n - 1] : NULL;
    return d && d->out.damaged && !d->aux && d->warc.offset == offset &&
                   d->warc.file.p == a->name.p
               ? d
               : NULL;
}

/* One place that is damaged is one document, however many rules it breaks: the
 * first, which is the cause of the others, names it. */
static int add_fault(struct archive *a, struct kj_batch *b, const char *rule,
                     int64_t offset, int64_t lost, const char *msg, struct kj_err *err)
{
    if (a->counts)
        a->counts->faults++;
    a->sum.faults++;
    if (strcmp(rule, "extract.warc_member") == 0)
        a->hurt = offset;
    else if (offset == a->hurt)
        lost = 0; /* garbage in a member that is lost anyhow */
    a->sum.lost += (uint64_t)(lost > 0 ? lost : 0);
    struct kj_doc *d = fault_at(a, b, offset);
    if (d) {
        d->out.value += (double)lost;
        return KJ_OK;
    }
    d = kj_batch_add(b);
    d->file_path = d->warc.file = a->name;
    d->warc.offset = offset;
    d->warc.length = -1;
    char *note = kj_arena_dup(&b->arena, msg, strlen(msg));
    if (!note)
        return full(err);
    kj_doc_damage(d, rule, note);
    d->out.value = (double)lost;
    return KJ_OK;
}

/* How a record is read, or -1 when it is no document. */
static int kind_of(const struct archive *a, const struct kj_warc_rec *r)
{
    if (strcmp(r->type, "conversion") == 0)
        return KJ_REC_TEXT;
    if (a->kind == KJ_ARCHIVE_WET)
        return -1;
    if (strcmp(r->type, "response") == 0 || strcmp(r->type, "arc") == 0)
        return KJ_REC_HTTP;
    return strcmp(r->type, "resource") == 0 ? KJ_REC_RESOURCE : -1;
}

static int add_record(struct archive *a, struct kj_batch *b,
                      const struct kj_warc_rec *r, struct kj_err *err)
{
    kj_archive_count(a->counts, r->type);
    int kind = kind_of(a, r);
    if (kind < 0)
        return KJ_OK;
    /* Text out of a member whose checksum fails, or that was cut, is not to be
     * trusted: the record and the fault become one damaged document. */
    struct kj_doc *d = r->offset == a->hurt ? fault_at(a, b, r->offset) : NULL;
    if (!d)
        d = kj_batch_add(b);
    if (r->offset == a->hurt)
        kj_doc_damage(d, "extract.warc_member", "in a damaged gzip member");
    struct kj_archive_rec *x = kj_arena_zalloc(&b->arena, sizeof *x);
    if (!x)
        return full(err);
    x->kind = kind;
    x->content_type = keep(b, r->content_type);
    d->aux = x;
    d->url = keep(b, r->uri);
    d->date = keep(b, r->date);
    d->file_path = d->warc.file = a->name;
    d->warc.offset = r->offset;
    d->warc.length = r->length;
    d->warc.digest = keep(b, r->digest);
    d->id = r->id.n ? keep(b, r->id) : content_id(b, d->url, d->date, r->block);
    d->raw = keep(b, r->block);
    if (r->block.n && !d->raw.p)
        return full(err);
    return KJ_OK;
}

static bool looks_like_html(struct kj_str s)
{
    size_t i = 0;
    if (s.n >= 3 && memcmp(s.p, "\xEF\xBB\xBF", 3) == 0)
        i = 3;
    while (i < s.n && (unsigned char)s.p[i] <= ' ' && s.p[i])
        i++;
    if (i + 3 >= s.n || s.p[i] != '<')
        return s.n > 4 && (memcmp(s.p, "\xFF\xFE<\0", 4) == 0 ||
                           memcmp(s.p, "\xFE\xFF\0<", 4) == 0);
    char c = s.p[i + 1];
    return c == '!' || c == '?' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Bytes of the open file that were not read; 0 when that is not known. */
static int64_t rest(const struct archive *a)
{
    int64_t size = kj_warc_size(a->warc), at = kj_warc_consumed(a->warc);
    return size > at ? size - at : 0;
}

/* The open file, whole, as one page. */
static int add_page(struct archive *a, struct kj_batch *b, struct kj_err *err)
{
    struct kj_err e = KJ_ERR_INIT;
    struct kj_str raw = {NULL, 0}, none = {NULL, 0};
    int rc = kj_warc_whole(a->warc, &raw, &e);
    if (rc < 0) {
        rc = add_fault(a, b, "extract.file", -1, rest(a), e.msg, err);
    } else {
        struct kj_doc *d = kj_batch_add(b);
        struct kj_archive_rec *x = kj_arena_zalloc(&b->arena, sizeof *x);
        if (x)
            x->kind = KJ_REC_PAGE;
        d->aux = x;
        d->file_path = a->name;
        d->id = content_id(b, none, none, raw);
        d->raw = keep(b, raw);
        rc = x && (d->raw.p || !raw.n) ? KJ_OK : full(err);
        kj_archive_count(a->counts, "page");
    }
    close_file(a, b);
    return rc;
}

/* One record, or one event, of the open file. KJ_EOF at its end. */
static int step(struct archive *a, struct kj_batch *b, struct kj_err *err)
{
    struct kj_warc_rec r;
    struct kj_err e = KJ_ERR_INIT;
    int rc = kj_warc_next(a->warc, &r, &e);
    if (rc == KJ_OK)
        return add_record(a, b, &r, err);
    if (rc == KJ_BAD_RECORD)
        return add_fault(a, b, kj_warc_rule(a->warc), kj_warc_fault_offset(a->warc),
                         kj_warc_fault_lost(a->warc), e.msg, err);
    if (rc == KJ_FAIL) { /* this file is done; the others may be fine */
        rc = add_fault(a, b, "extract.file", kj_warc_consumed(a->warc), rest(a), e.msg,
                       err);
        return rc < 0 ? rc : KJ_EOF;
    }
    if (rc < 0 && err)
        *err = e;
    return rc;
}

static int archive_read(void *self, struct kj_batch *b, struct kj_err *err)
{
    struct archive *a = self;
    bool any = false;
    while (a->at < a->n_files) {
        if (!a->warc) {
            int rc = open_next(a, err);
            struct kj_str head = {NULL, 0};
            if (rc < 0)
                return rc;
            if (a->kind == KJ_ARCHIVE_HTML ||
                (a->kind == KJ_ARCHIVE_AUTO &&
                 (rc = kj_warc_format(a->warc, &head, err)) == KJ_WARC_NONE &&
                 looks_like_html(head))) {
                rc = add_page(a, b, err);
                any = true;
                if (rc < 0)
                    return rc;
                if (b->arena.used >= KJ_BATCH_BYTES) {
                    b->next = (struct kj_pos){(uint32_t)a->at, 0};
                    return KJ_OK;
                }
                continue;
            }
            if (rc < 0)
                return rc;
        }
        int rc = step(a, b, err);
        if (rc == KJ_EOF) {
            close_file(a, b);
            any = true; /* counts may have changed, and bytes were read */
            continue;
        }
        if (rc < 0)
            return rc;
        any = true;
        if (b->arena.used >= KJ_BATCH_BYTES || b->n >= 4096) {
            note_progress(a, b);
            b->next = (struct kj_pos){(uint32_t)a->at, kj_warc_restart(a->warc)};
            return KJ_OK;
        }
    }
    b->next = (struct kj_pos){(uint32_t)a->n_files, 0};
    return any ? KJ_OK : KJ_EOF;
}

static double archive_progress(void *self)
{
    struct archive *a = self;
    int64_t done = atomic_load(&a->done);
    return a->total > 0 ? (double)(done < a->total ? done : a->total) / (double)a->total
                        : NAN;
}

static void archive_close(void *self)
{
    struct archive *a = self;
    if (!a)
        return;
    kj_warc_free(a->warc);
    free(a);
}

/* Unpacking is done at about 1.2 GB/s and extraction at 0.18, so one thread more
 * is worth its while for every four to six workers. */
static void archive_workers(void *self, unsigned n)
{
    struct archive *a = self;
    a->ahead = n / 4;
}

/* Every file must be there before hours are spent on the first. */
int kj_archive_sizes(const char *const *files, size_t n, size_t from, int64_t *total,
                     struct kj_err *err)
{
    *total = 0;
    for (size_t i = 0; i < n; i++) {
        struct kj_input *in;
        if (strcmp(files[i], "-") == 0)
            continue;
        int rc = kj_input_open(&in, files[i], err);
        if (rc < 0)
            return rc;
        int64_t size = kj_input_size(in);
        *total += size > 0 && i >= from ? size : 0;
        kj_input_close(in);
    }
    return KJ_OK;
}

/* ---- what --source auto makes of the files ---- */

static bool ends_with(const char *name, const char *tail)
{
    size_t n = strlen(name), m = strlen(tail);
    return n >= m && strcmp(name + n - m, tail) == 0;
}

/* "2101/2101.00001.gz", "9901/hep-th9901001.pdf": a name that ends in arXiv's
 * digits. */
static bool arxiv_name(const char *name)
{
    size_t n = strlen(name), digits = 0;
    if (!ends_with(name, ".gz") && !ends_with(name, ".pdf"))
        return false;
    n -= ends_with(name, ".gz") ? 3 : 4;
    while (n && name[n - 1] >= '0' && name[n - 1] <= '9')
        n--, digits++;
    return digits >= 4 && digits <= 7;
}

/* A dump of a wiki and tars of papers are known by the first file's first bytes
 * and entries; everything else is looked at file by file. */
static enum kj_archive_kind sniff(const char *path)
{
    enum { ENTRIES = 64 };
    struct kj_err err = KJ_ERR_INIT;
    struct kj_input *in;
    struct kj_chunk c;
    enum kj_archive_kind kind = KJ_ARCHIVE_AUTO;
    if (strcmp(path, "-") == 0 || kj_input_open(&in, path, &err) < 0)
        return kind;
    for (int i = 0; i < ENTRIES && kind == KJ_ARCHIVE_AUTO; i++) {
        if (kj_input_chunk(in, &c, &err) != KJ_OK)
            break;
        if (!c.entry) {
            size_t n = c.n < 4096 ? c.n : 4096;
            if (n && memmem(c.p, n, "<mediawiki", 10) && c.p[0] == '<')
                kind = KJ_ARCHIVE_WIKIPEDIA;
            break;
        }
        if (ends_with(c.entry, ".tex") || arxiv_name(c.entry))
            kind = KJ_ARCHIVE_ARXIV;
    }
    kj_input_close(in);
    return kind;
}

int kj_archive_source(struct kj_source *out, const char *const *files, size_t n,
                      enum kj_archive_kind kind, struct kj_pos start,
                      struct kj_archive_counts *counts, struct kj_err *err)
{
    static const char *const standard_input[] = {"-"};
    int64_t total;
    if (counts)
        memset(counts, 0, sizeof *counts);
    files = n ? files : standard_input;
    n = n ? n : 1;
    if (kind == KJ_ARCHIVE_AUTO)
        kind = sniff(files[0]);
    if (kind == KJ_ARCHIVE_WIKIPEDIA)
        return kj_wikidump_source(out, files, n, start, counts, err);
    if (kind == KJ_ARCHIVE_ARXIV)
        return kj_arxiv_source(out, files, n, start, counts, err);
    int rc = kj_archive_sizes(files, n, start.file, &total, err);
    if (rc < 0)
        return rc;
    struct archive *a = kj_xcalloc(1, sizeof *a);
    a->files = files;
    a->n_files = n;
    a->kind = kind;
    a->counts = counts;
    a->at = start.file;
    a->seek = start.offset;
    a->total = total;
    out->self = a;
    out->read = archive_read;
    out->decode = NULL;
    out->progress = archive_progress;
    out->close = archive_close;
    out->workers = archive_workers;
    return KJ_OK;
}
