/* wikidump.c - see wikidump.h. */
#define _GNU_SOURCE /* memmem */
#include "extract/wikidump.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/input.h"
#include "base/utf8.h"

struct dump {
    const char *const *files;
    size_t n_files, at;
    struct kj_archive_counts *counts;
    struct kj_input *in;
    struct kj_buf win;    /* decoded bytes not yet taken */
    size_t taken;         /* of win */
    size_t scanned;       /* of win: no "</page>" ends before */
    int64_t base;         /* decoded offset of win.p[0] */
    int64_t seek;         /* pages that begin before it are passed over */
    unsigned ahead;       /* threads that unpack */
    bool ended, skipping; /* skipping: in a page that is too large */
    struct kj_str name;
    char site[512], lang[32], source[64]; /* of the open file */
    bool head;
    int64_t was, total;
    _Atomic int64_t done;
};

static struct kj_str keep(struct kj_batch *b, struct kj_str s)
{
    char *p = kj_arena_dup(&b->arena, s.p ? s.p : "", s.n);
    return (struct kj_str){p, p ? s.n : 0};
}

static int full(struct kj_err *err)
{
    return kj_err_set(err, KJ_FATAL, "a batch needs more than its memory");
}

static int fault(struct dump *d, struct kj_batch *b, const char *rule, int64_t at,
                 const char *msg, struct kj_err *err)
{
    if (d->counts)
        d->counts->faults++;
    struct kj_doc *x = kj_batch_add(b);
    x->file_path = x->warc.file = d->name;
    x->warc.offset = at;
    x->warc.length = -1;
    char *note = kj_arena_dup(&b->arena, msg, strlen(msg));
    if (!note)
        return full(err);
    kj_doc_damage(x, rule, note);
    return KJ_OK;
}

/* ---- XML, as these dumps write it ---- */

int kj_wikidump_unescape(const char *p, size_t n, struct kj_buf *out)
{
    static const struct {
        const char *name;
        size_t n;
        char c;
    } known[] = {{"lt;", 3, '<'},
                 {"gt;", 3, '>'},
                 {"amp;", 4, '&'},
                 {"quot;", 5, '"'},
                 {"apos;", 5, '\''}};
    for (size_t i = 0; i < n;) {
        size_t a = i;
        while (i < n && p[i] != '&' && ((unsigned char)p[i] >= ' ' || p[i] == '\n'))
            i++;
        if (kj_buf_add(out, p + a, i - a) < 0)
            return KJ_BAD_RECORD;
        if (i == n)
            break;
        if (p[i] != '&') {
            if (p[i] == '\t' && kj_buf_addc(out, ' ') < 0)
                return KJ_BAD_RECORD;
            i++;
            continue;
        }
        size_t used = 1, put = 1;
        char utf8[4] = {'&'};
        if (i + 2 < n && p[i + 1] == '#') {
            bool hex = p[i + 2] == 'x';
            uint32_t c = 0;
            size_t k = i + (hex ? 3 : 2);
            for (; k < n && k < i + 12 && p[k] != ';'; k++) {
                char x = p[k] | 32;
                uint32_t v =
                    x >= 'a' ? (uint32_t)(x - 'a' + 10) : (uint32_t)(p[k] - '0');
                c = v < (hex ? 16u : 10u) && c < 0x1000000 ? c * (hex ? 16 : 10) + v
                                                           : 0x7FFFFFF;
            }
            if (k < n && p[k] == ';' && c >= ' ' && c <= 0x10FFFF &&
                !(c >= 0xD800 && c <= 0xDFFF)) {
                put = kj_utf8_put(c, utf8);
                used = k + 1 - i;
            }
        }
        for (size_t k = 0; k < sizeof known / sizeof *known; k++)
            if (n - i - 1 >= known[k].n &&
                !memcmp(p + i + 1, known[k].name, known[k].n)) {
                utf8[0] = known[k].c;
                used = 1 + known[k].n;
            }
        if (kj_buf_add(out, utf8, put) < 0)
            return KJ_BAD_RECORD;
        i += used;
    }
    return KJ_OK;
}

/* The content of the first element of that name in s; {NULL,0} when absent.
 * *rest, if asked for, is what follows it. */
static struct kj_str element(struct kj_str s, const char *name, struct kj_str *rest)
{
    char mark[40];
    size_t m = strlen(name);
    if (!s.n)
        return (struct kj_str){NULL, 0};
    const char *p = s.p, *end = s.p + s.n;
    mark[0] = '<';
    memcpy(mark + 1, name, m + 1);
    while (p && p < end && (p = memmem(p, (size_t)(end - p), mark, m + 1))) {
        const char *gt = p + m + 1;
        if (gt < end && (*gt == '>' || *gt == ' ' || *gt == '/')) {
            gt = memchr(gt, '>', (size_t)(end - gt));
            if (!gt)
                break;
            struct kj_str in = {gt + 1, 0};
            if (gt[-1] != '/') {
                char close[44] = "</";
                memcpy(close + 2, name, m);
                close[m + 2] = '>';
                const char *e = memmem(gt, (size_t)(end - gt), close, m + 3);
                if (!e)
                    break;
                in.n = (size_t)(e - in.p);
                gt = e + m + 2;
            }
            if (rest)
                *rest = (struct kj_str){gt + 1, (size_t)(end - gt - 1)};
            return in;
        }
        p += m + 1;
    }
    return (struct kj_str){NULL, 0};
}

static void copy(char *to, size_t room, const char *prefix, struct kj_str s)
{
    size_t m = strlen(prefix), n = s.n < room - m - 1 ? s.n : room - m - 1;
    memcpy(to, prefix, m);
    memcpy(to + m, s.p ? s.p : "", n);
    to[m + n] = 0;
}

/* <mediawiki xml:lang="ko"> and <siteinfo>. */
static void read_head(struct dump *d, struct kj_str s)
{
    struct kj_str base = element(s, "base", NULL), db = element(s, "dbname", NULL);
    const char *lang = memmem(s.p, s.n, "xml:lang=\"", 10), *e = NULL;
    d->lang[0] = d->site[0] = 0;
    if (lang) {
        lang += 10;
        e = memchr(lang, '"', (size_t)(s.p + s.n - lang));
    }
    if (e)
        copy(d->lang, sizeof d->lang, "", (struct kj_str){lang, (size_t)(e - lang)});
    size_t slash = base.n;
    while (slash && base.p[slash - 1] != '/')
        slash--;
    copy(d->site, sizeof d->site, "", (struct kj_str){base.p, slash});
    if (db.n > 4 && memcmp(db.p + db.n - 4, "wiki", 4) == 0)
        copy(d->source, sizeof d->source, "wikipedia-",
             (struct kj_str){db.p, db.n - 4});
    else
        copy(d->source, sizeof d->source, "wikipedia-", kj_str_z(d->lang));
    d->head = true;
}

/* As the wikis write their own addresses. */
static struct kj_str page_url(struct dump *d, struct kj_batch *b, struct kj_str title)
{
    static const char hex[] = "0123456789ABCDEF";
    size_t m = strlen(d->site), n = m;
    char *p = m ? kj_arena_alloc(&b->arena, m + 3 * title.n) : NULL;
    if (!p)
        return (struct kj_str){NULL, 0};
    memcpy(p, d->site, m);
    for (size_t i = 0; i < title.n; i++) {
        unsigned char c = (unsigned char)title.p[i];
        if ((c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z') ||
            (c && strchr("-_.~!*(),;:@/$", c))) {
            p[n++] = (char)c;
        } else if (c == ' ') {
            p[n++] = '_';
        } else {
            p[n++] = '%';
            p[n++] = hex[c >> 4];
            p[n++] = hex[c & 15];
        }
    }
    return (struct kj_str){p, n};
}

/* ---- pages ---- */

static struct kj_str plain(struct kj_batch *b, struct kj_str s)
{
    struct kj_buf t;
    kj_buf_init(&t, 4096);
    struct kj_str r = {NULL, 0};
    if (kj_wikidump_unescape(s.p, s.n, &t) == KJ_OK)
        r = keep(b, (struct kj_str){t.p, t.n});
    kj_buf_release(&t);
    return r;
}

/* The last of the revisions that follow. */
static struct kj_str last_revision(struct kj_str s)
{
    struct kj_str rev = {NULL, 0}, r, rest;
    while ((r = element(s, "revision", &rest)).p) {
        rev = r;
        s = rest;
    }
    return rev;
}

static int add_page(struct dump *d, struct kj_batch *b, struct kj_str page, int64_t at,
                    struct kj_err *err)
{
    const char *r = memmem(page.p, page.n, "<revision>", 10);
    struct kj_str head = {page.p, r ? (size_t)(r - page.p) : page.n};
    struct kj_str ns = element(head, "ns", NULL);
    if (ns.p && !kj_str_is(ns, "0")) {
        kj_archive_count(d->counts, "other-namespace");
        return KJ_OK;
    }
    if (memmem(head.p, head.n, "<redirect", 9)) {
        kj_archive_count(d->counts, "redirect");
        return KJ_OK;
    }
    struct kj_str rev =
        last_revision((struct kj_str){head.p + head.n, page.n - head.n});
    struct kj_str id = element(head, "id", NULL);
    struct kj_str rev_id = element(rev, "id", NULL);
    struct kj_str date = element(rev, "timestamp", NULL);
    struct kj_str text = element(rev, "text", NULL);
    if (!id.n || !rev.p || !text.p)
        return fault(d, b, "extract.wiki_page", at, "a page without id or text", err);
    kj_archive_count(d->counts, "article");
    struct kj_wiki_rec *x = kj_arena_zalloc(&b->arena, sizeof *x);
    if (!x)
        return full(err);
    x->rec.kind = KJ_REC_WIKI;
    x->title = plain(b, element(head, "title", NULL));
    struct kj_doc *doc = kj_batch_add(b);
    doc->aux = x;
    doc->file_path = doc->warc.file = d->name;
    doc->warc.offset = at;
    doc->warc.length = (int64_t)page.n;
    doc->id = kj_str_z(kj_arena_printf(
        &b->arena, "%s:%.*s:%.*s", d->source, (int)(id.n < 20 ? id.n : 20), id.p,
        (int)(rev_id.n < 20 ? rev_id.n : 20), rev_id.n ? rev_id.p : ""));
    doc->url = page_url(d, b, x->title);
    doc->date = keep(b, date);
    doc->language = keep(b, kj_str_z(d->lang));
    doc->source = keep(b, kj_str_z(d->source));
    doc->raw = keep(b, text);
    return doc->raw.p && doc->id.p ? KJ_OK : full(err);
}

/* ---- the window ---- */

static void forget(struct dump *d)
{
    d->base += (int64_t)d->taken;
    memmove(d->win.p, d->win.p + d->taken, d->win.n - d->taken);
    d->win.n -= d->taken;
    d->scanned -= d->taken < d->scanned ? d->taken : d->scanned;
    d->taken = 0;
}

static int fill(struct dump *d, struct kj_batch *b, struct kj_err *err)
{
    struct kj_chunk c;
    struct kj_err e = KJ_ERR_INIT;
    if (d->taken)
        forget(d);
    int rc = kj_input_chunk(d->in, &c, &e);
    if (rc == KJ_OK && d->win.n > KJ_WIKIDUMP_PAGE_MAX) {
        rc = d->skipping ? KJ_OK
                         : fault(d, b, "extract.wiki_bytes", d->base,
                                 "a page larger than 32 MiB", err);
        d->skipping = true;
        /* What may be the begin of "</page>" stays. */
        d->taken = d->win.n > 16 ? d->win.n - 16 : 0;
        forget(d);
        if (rc < 0)
            return rc;
    }
    if (rc == KJ_OK) {
        if (kj_buf_add(&d->win, c.p, c.n) < 0)
            return kj_err_set(err, KJ_FATAL, "a chunk larger than its window");
        return KJ_OK;
    }
    if (rc == KJ_EOF) {
        d->ended = true;
        return KJ_OK;
    }
    d->ended = rc != KJ_BAD_RECORD;
    d->skipping = true; /* up to the end of the page that it lies in */
    return fault(d, b, "extract.file", d->base + (int64_t)d->win.n, e.msg, err);
}

static int open_file(struct dump *d, struct kj_err *err)
{
    const char *path = d->files[d->at], *slash = strrchr(path, '/');
    int rc = kj_input_open(&d->in, path, err);
    if (rc < 0)
        return rc;
    kj_input_ahead(d->in, d->ahead);
    d->name = kj_str_z(slash && slash[1] ? slash + 1 : path);
    kj_buf_reset(&d->win);
    kj_buf_reserve(&d->win, 1); /* so that it is there, even of an empty file */
    d->taken = d->scanned = 0;
    d->base = d->was = 0;
    d->ended = d->head = d->skipping = false;
    copy(d->source, sizeof d->source, "wikipedia", (struct kj_str){NULL, 0});
    return KJ_OK;
}

static void note_progress(struct dump *d, struct kj_batch *b)
{
    int64_t now = kj_input_consumed(d->in);
    if (now <= d->was)
        return;
    b->bytes_in += (uint64_t)(now - d->was);
    atomic_fetch_add(&d->done, now - d->was);
    d->was = now;
}

static int end_file(struct dump *d, struct kj_batch *b, struct kj_err *err)
{
    const char *p = d->win.p + d->taken;
    size_t n = d->win.n - d->taken;
    int rc = KJ_OK;
    if (!d->skipping && n && memmem(p, n, "<page>", 6))
        rc = fault(d, b, "extract.wiki_cut", d->base + (int64_t)d->taken,
                   "the dump ends within a page", err);
    else if (!d->head && !d->skipping)
        rc = fault(d, b, "extract.file", 0, "no pages of a MediaWiki dump", err);
    note_progress(d, b);
    kj_input_close(d->in);
    d->in = NULL;
    d->at++;
    d->seek = 0;
    return rc;
}

/* One page, or more bytes. KJ_EOF at the end of the file. */
static int step(struct dump *d, struct kj_batch *b, struct kj_err *err)
{
    const char *from = d->win.p + d->scanned, *e = NULL;
    if (d->scanned < d->win.n)
        e = memmem(from, d->win.n - d->scanned, "</page>", 7);
    if (!e) {
        size_t tail = d->win.n > 6 ? d->win.n - 6 : 0;
        d->scanned = tail > d->scanned ? tail : d->scanned;
        return d->ended ? KJ_EOF : fill(d, b, err);
    }
    struct kj_str s = {d->win.p + d->taken, (size_t)(e - d->win.p) - d->taken};
    const char *open = memmem(s.p, s.n, "<page>", 6);
    int64_t end = d->base + (e + 7 - d->win.p);
    bool skipping = d->skipping;
    d->skipping = false;
    d->taken = d->scanned = (size_t)(e + 7 - d->win.p);
    if (!d->head)
        read_head(d, (struct kj_str){s.p, open ? (size_t)(open - s.p) : s.n});
    if (skipping || end <= d->seek)
        return KJ_OK;
    if (!open)
        return fault(d, b, "extract.wiki_page", end, "a page that does not begin", err);
    s.n -= (size_t)(open - s.p);
    s.p = open;
    return add_page(d, b, s, end - 7 - (int64_t)s.n, err);
}

static int dump_read(void *self, struct kj_batch *b, struct kj_err *err)
{
    struct dump *d = self;
    bool any = false;
    while (d->at < d->n_files) {
        int rc = d->in ? KJ_OK : open_file(d, err);
        if (rc == KJ_OK)
            rc = step(d, b, err);
        if (rc == KJ_EOF)
            rc = end_file(d, b, err);
        if (rc < 0)
            return rc;
        any = true;
        if (b->arena.used >= KJ_BATCH_BYTES || b->n >= 4096) {
            int64_t at = d->in ? d->base + (int64_t)d->taken : 0;
            if (d->in)
                note_progress(d, b);
            b->next = (struct kj_pos){(uint32_t)d->at, d->skipping ? -1 : at};
            return KJ_OK;
        }
    }
    b->next = (struct kj_pos){(uint32_t)d->n_files, 0};
    return any ? KJ_OK : KJ_EOF;
}

static double dump_progress(void *self)
{
    struct dump *d = self;
    int64_t done = atomic_load(&d->done);
    return d->total > 0 ? (double)(done < d->total ? done : d->total) / (double)d->total
                        : NAN;
}

/* A core unpacks 30 MB/s of bzip2 and makes text of more than that. */
static void dump_workers(void *self, unsigned n)
{
    struct dump *d = self;
    d->ahead = n > 1 ? n : 0;
}

static void dump_close(void *self)
{
    struct dump *d = self;
    if (!d)
        return;
    if (d->in)
        kj_input_close(d->in);
    kj_buf_release(&d->win);
    free(d);
}

int kj_wikidump_source(struct kj_source *out, const char *const *files, size_t n,
                       struct kj_pos start, struct kj_archive_counts *counts,
                       struct kj_err *err)
{
    int64_t total;
    int rc = kj_archive_sizes(files, n, start.file, &total, err);
    if (rc < 0)
        return rc;
    struct dump *d = kj_xcalloc(1, sizeof *d);
    d->files = files;
    d->n_files = n;
    d->counts = counts;
    d->at = start.file;
    d->seek = start.offset;
    d->total = total;
    kj_buf_init(&d->win, KJ_WIKIDUMP_PAGE_MAX + (80u << 20));
    *out =
        (struct kj_source){d, dump_read, NULL, dump_progress, dump_close, dump_workers};
    return KJ_OK;
}
