/* arxiv.c - see arxiv.h. */
#include "extract/arxiv.h"

#include <archive.h>
#include <archive_entry.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/input.h"

struct papers {
    const char *const *files;
    size_t n_files, at;
    struct kj_archive_counts *counts;
    struct kj_input *in;
    struct kj_str name;  /* base name of the open file */
    struct kj_buf paper; /* the one being read */
    char entry[512];     /* its name; "" the file itself */
    bool begun, collection, whole, bad;
    int64_t seen, skip; /* papers of the file so far; to pass over */
    int64_t was, total;
    _Atomic int64_t done;
};

static struct kj_str base(const char *path)
{
    const char *slash = strrchr(path, '/');
    return kj_str_z(slash && slash[1] ? slash + 1 : path);
}

static bool digits(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i] < '0' || p[i] > '9')
            return false;
    return n > 0;
}

/* arXiv's name for a paper in that of its file: "2101.00001", or for the old
 * ones "hep-th/9901001". False: it is none. */
static bool paper_id(const char *file, char id[64])
{
    struct kj_str s = base(file);
    size_t a = 0, n = 0;
    while (n < s.n && s.p[n] >= '0' && s.p[n] <= '9')
        n++;
    if (n == 4 && n < s.n && s.p[n] == '.') {
        size_t m = n + 1;
        while (m < s.n && s.p[m] >= '0' && s.p[m] <= '9')
            m++;
        if (m < n + 5 || m > n + 6)
            return false;
        snprintf(id, 64, "%.*s", (int)m, s.p);
        return true;
    }
    while (a < s.n && a < 20 &&
           ((s.p[a] >= 'a' && s.p[a] <= 'z') || s.p[a] == '-' || s.p[a] == '_'))
        a++;
    if (a < 2 || s.n < a + 7 || !digits(s.p + a, 7) ||
        (s.n > a + 7 && s.p[a + 7] != '.'))
        return false;
    snprintf(id, 64, "%.*s/%.7s", (int)a, s.p, s.p + a);
    return true;
}

static bool is_tar(const char *p, size_t n)
{
    return n > 262 && memcmp(p + 257, "ustar", 5) == 0;
}

static int full(struct kj_err *err)
{
    return kj_err_set(err, KJ_FATAL, "a batch needs more than its memory");
}

static struct kj_str keep(struct kj_batch *b, const char *p, size_t n)
{
    char *q = kj_arena_dup(&b->arena, p ? p : "", n);
    return (struct kj_str){q, q ? n : 0};
}

static int fault(struct papers *a, struct kj_batch *b, const char *rule,
                 const char *msg, struct kj_err *err)
{
    if (a->counts)
        a->counts->faults++;
    struct kj_doc *d = kj_batch_add(b);
    d->file_path = d->warc.file = a->name;
    d->warc.offset = a->seen;
    d->warc.length = -1;
    char *note =
        kj_arena_printf(&b->arena, "%s%s%s", a->entry, *a->entry ? ": " : "", msg);
    if (!note)
        return full(err);
    kj_doc_damage(d, rule, note);
    return KJ_OK;
}

/* The paper that was read becomes a document. */
static int finish(struct papers *a, struct kj_batch *b, struct kj_err *err)
{
    char id[64], hex[33];
    bool bad = a->bad;
    a->begun = a->bad = false;
    if (a->seen++ < a->skip || bad)
        return KJ_OK;
    kj_archive_count(a->counts, "paper");
    struct kj_paper_rec *x = kj_arena_zalloc(&b->arena, sizeof *x);
    if (!x)
        return full(err);
    x->rec.kind = KJ_REC_PAPER;
    x->packed = a->whole;
    const char *name = a->collection ? a->entry : a->name.p;
    x->name = keep(b, name, strlen(name));
    struct kj_doc *d = kj_batch_add(b);
    d->aux = x;
    d->file_path = d->warc.file = a->name;
    d->warc.offset = a->seen - 1;
    d->source = KJ_STR("arxiv");
    if (paper_id(name, id)) {
        d->id = kj_str_z(kj_arena_printf(&b->arena, "arxiv:%s", id));
        d->url = kj_str_z(kj_arena_printf(&b->arena, "https://arxiv.org/abs/%s", id));
    } else {
        kj_hash128_hex(kj_hash128(a->paper.p ? a->paper.p : "", a->paper.n), hex);
        d->id = kj_str_z(kj_arena_printf(&b->arena, "xxh128:%s", hex));
    }
    d->raw = keep(b, a->paper.p, a->paper.n);
    return d->raw.p && d->id.p ? KJ_OK : full(err);
}

/* A paper given as a tar of its files is kept as name, NUL, size, bytes. */
static void pack_end(struct papers *a, size_t head)
{
    uint64_t size = a->paper.n - head - 8;
    memcpy(a->paper.p + head, &size, 8);
}

struct pack {
    size_t head;
    bool open;
};

static int take(struct papers *a, struct kj_batch *b, const struct kj_chunk *c,
                struct pack *k, struct kj_err *err)
{
    char id[64];
    const char *name = c->entry ? c->entry : "";
    bool same = strncmp(a->entry, name, sizeof a->entry - 1) == 0;
    int rc = KJ_OK;
    if (!a->begun && a->seen == 0 && !a->whole && !a->collection) {
        a->collection = c->entry && (paper_id(name, id) || is_tar(c->p, c->n));
        a->whole = c->entry && !a->collection;
    }
    if (a->begun && !same && a->collection)
        rc = finish(a, b, err);
    if (!a->begun) {
        a->begun = true;
        kj_buf_reset(&a->paper);
        same = k->open = false;
    }
    if (!same)
        snprintf(a->entry, sizeof a->entry, "%s", name);
    if (rc < 0 || a->bad)
        return rc;
    if (a->whole && !same) {
        static const char zero[8];
        if (k->open)
            pack_end(a, k->head);
        if (kj_buf_add(&a->paper, name, strlen(name) + 1) == KJ_OK) {
            k->head = a->paper.n;
            k->open = kj_buf_add(&a->paper, zero, 8) == KJ_OK;
        }
    }
    if (kj_buf_add(&a->paper, c->p, c->n) < 0) {
        a->bad = true;
        return fault(a, b, "extract.paper_bytes", "a paper larger than 128 MiB", err);
    }
    if (k->open && a->whole)
        pack_end(a, k->head);
    return KJ_OK;
}

static void note_progress(struct papers *a, struct kj_batch *b)
{
    int64_t now = kj_input_consumed(a->in);
    if (now <= a->was)
        return;
    b->bytes_in += (uint64_t)(now - a->was);
    atomic_fetch_add(&a->done, now - a->was);
    a->was = now;
}

static int open_file(struct papers *a, struct kj_err *err)
{
    int rc = kj_input_open(&a->in, a->files[a->at], err);
    if (rc < 0)
        return rc;
    a->name = base(a->files[a->at]);
    a->begun = a->collection = a->whole = a->bad = false;
    a->seen = a->was = 0;
    a->entry[0] = 0;
    return KJ_OK;
}

static int end_file(struct papers *a, struct kj_batch *b, struct kj_err *err)
{
    int rc = a->begun ? finish(a, b, err) : KJ_OK;
    note_progress(a, b);
    kj_input_close(a->in);
    a->in = NULL;
    a->at++;
    a->skip = 0;
    return rc;
}

static int step(struct papers *a, struct kj_batch *b, struct pack *k,
                struct kj_err *err)
{
    struct kj_chunk c;
    struct kj_err e = KJ_ERR_INIT;
    int rc = kj_input_chunk(a->in, &c, &e);
    if (rc == KJ_OK)
        return take(a, b, &c, k, err);
    if (rc == KJ_EOF)
        return end_file(a, b, err);
    /* What was read of the paper is not to be trusted. */
    bool skip = a->seen < a->skip;
    a->bad = a->begun;
    int was = skip ? KJ_OK : fault(a, b, "extract.file", e.msg, err);
    return was == KJ_OK && rc != KJ_BAD_RECORD ? end_file(a, b, err) : was;
}

static int papers_read(void *self, struct kj_batch *b, struct kj_err *err)
{
    struct papers *a = self;
    struct pack k = {0};
    bool any = false;
    while (a->at < a->n_files) {
        int64_t before = a->seen;
        int rc = a->in ? KJ_OK : open_file(a, err);
        if (rc == KJ_OK)
            rc = step(a, b, &k, err);
        if (rc < 0)
            return rc;
        any = true;
        if (b->arena.used < KJ_BATCH_BYTES && b->n < 4096)
            continue;
        /* The next paper has begun when the one before is known to be whole: it
         * goes on in the next batch, where a restart begins with it, too. */
        if (a->in && a->seen == before)
            continue;
        if (a->in)
            note_progress(a, b);
        b->next = (struct kj_pos){(uint32_t)a->at, a->in ? a->seen : 0};
        return KJ_OK;
    }
    b->next = (struct kj_pos){(uint32_t)a->n_files, 0};
    return any ? KJ_OK : KJ_EOF;
}

static double papers_progress(void *self)
{
    struct papers *a = self;
    int64_t done = atomic_load(&a->done);
    return a->total > 0 ? (double)(done < a->total ? done : a->total) / (double)a->total
                        : NAN;
}

static void papers_close(void *self)
{
    struct papers *a = self;
    if (!a)
        return;
    if (a->in)
        kj_input_close(a->in);
    kj_buf_release(&a->paper);
    free(a);
}

int kj_arxiv_source(struct kj_source *out, const char *const *files, size_t n,
                    struct kj_pos start, struct kj_archive_counts *counts,
                    struct kj_err *err)
{
    int64_t total;
    int rc = kj_archive_sizes(files, n, start.file, &total, err);
    if (rc < 0)
        return rc;
    struct papers *a = kj_xcalloc(1, sizeof *a);
    a->files = files;
    a->n_files = n;
    a->counts = counts;
    a->at = start.file;
    a->skip = start.offset;
    a->total = total;
    kj_buf_init(&a->paper, KJ_ARXIV_PAPER_MAX);
    *out =
        (struct kj_source){a, papers_read, NULL, papers_progress, papers_close, NULL};
    return KJ_OK;
}

/* ---- a paper's files ---- */

static bool is_tex(struct kj_str name)
{
    static const char *const ext[] = {".tex", ".ltx", ".latex", ".TEX",
                                      ".Tex", ".txt", ".pdf_t"};
    for (size_t i = 0; i < sizeof ext / sizeof *ext; i++) {
        size_t m = strlen(ext[i]);
        if (name.n > m && memcmp(name.p + name.n - m, ext[i], m) == 0)
            return true;
    }
    return false;
}

static int unpack_own(struct kj_str raw, struct kj_latex_file *files, size_t max,
                      size_t *n)
{
    size_t i = 0;
    while (i < raw.n && *n < max) {
        const char *z = memchr(raw.p + i, 0, raw.n - i);
        uint64_t size;
        if (!z || raw.n - (size_t)(z + 1 - raw.p) < 8)
            return KJ_BAD_RECORD;
        memcpy(&size, z + 1, 8);
        size_t at = (size_t)(z + 9 - raw.p);
        if (size > raw.n - at)
            return KJ_BAD_RECORD;
        struct kj_str name = {raw.p + i, (size_t)(z - raw.p) - i};
        if (is_tex(name))
            files[(*n)++] = (struct kj_latex_file){name, {raw.p + at, (size_t)size}};
        i = at + (size_t)size;
    }
    return KJ_OK;
}

static int unpack_tar(struct kj_arena *a, struct kj_str raw,
                      struct kj_latex_file *files, size_t max, size_t *n)
{
    struct archive *t = archive_read_new();
    struct archive_entry *e;
    int rc = KJ_OK, r;
    archive_read_support_filter_gzip(t);
    archive_read_support_format_tar(t);
    if (archive_read_open_memory(t, raw.p, raw.n) != ARCHIVE_OK) {
        archive_read_free(t);
        return KJ_BAD_RECORD;
    }
    while (*n < max && (r = archive_read_next_header(t, &e)) != ARCHIVE_EOF) {
        if (r < ARCHIVE_WARN) {
            rc = *n ? KJ_OK : KJ_BAD_RECORD; /* what came before is whole */
            break;
        }
        const char *name = archive_entry_pathname(e);
        la_int64_t size = archive_entry_size(e);
        if (!name || !is_tex(kj_str_z(name)) || size <= 0 || size > KJ_LATEX_MAX)
            continue;
        char *p = kj_arena_alloc(a, (size_t)size);
        char *q = kj_arena_dup(a, name, strlen(name));
        la_ssize_t got = p && q ? archive_read_data(t, p, (size_t)size) : -1;
        if (got > 0)
            files[(*n)++] = (struct kj_latex_file){kj_str_z(q), {p, (size_t)got}};
    }
    archive_read_free(t);
    return rc;
}

int kj_arxiv_unpack(struct kj_arena *a, struct kj_str raw, bool packed,
                    struct kj_latex_file *files, size_t max, size_t *n)
{
    *n = 0;
    if (packed)
        return unpack_own(raw, files, max, n);
    bool gzip = raw.n > 2 && raw.p[0] == 0x1F && (unsigned char)raw.p[1] == 0x8B;
    if (gzip || is_tar(raw.p, raw.n))
        return unpack_tar(a, raw, files, max, n);
    if (max && raw.n && !memchr(raw.p, 0, raw.n < 4096 ? raw.n : 4096))
        files[(*n)++] = (struct kj_latex_file){KJ_STR("main.tex"), raw};
    return KJ_OK;
}
