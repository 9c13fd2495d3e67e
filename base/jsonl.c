/* jsonl.c - documents from JSONL files and back. The reader thread only cuts
 * lines; parsing is done in the workers. */
#include "base/jsonl.h"

#include "base/err.h"
#include "base/input.h"
#include "base/output.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct source {
    const char *const *files;
    size_t n, next;
    struct kj_input *in;
    struct kj_lines *lines;
    uint64_t line; /* number of the last line, from 1; 0: none, or begun within */
    bool within;   /* the file was begun within, so that nobody knows the number */
    bool textless; /* documents without text are fine */
    _Atomic double share; /* of the input read */
};

static const char *const only_stdin[] = {"-"};

static void close_file(struct source *s)
{
    kj_lines_free(s->lines);
    kj_input_close(s->in);
    s->lines = NULL;
    s->in = NULL;
}

static int open_next(struct source *s, struct kj_err *err)
{
    int rc = kj_input_open(&s->in, s->files[s->next], err);
    if (rc)
        return rc;
    s->next++;
    s->line = 0;
    s->within = false;
    s->lines = kj_lines_new(s->in, KJ_DOC_LINE_MAX);
    return KJ_OK;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* A line that is no document: kept as a damaged one, with its place. */
static void damaged_line(struct source *s, struct kj_batch *b, const struct kj_err *e)
{
    struct kj_doc *d = kj_batch_add(b);
    const char *name = base_name(s->files[s->next - 1]);
    d->warc.file.p = kj_arena_dup(&b->arena, name, strlen(name));
    d->warc.file.n = d->warc.file.p ? strlen(name) : 0;
    d->warc.offset = e->pos;
    kj_doc_damage(d, "input.damaged", kj_arena_dup(&b->arena, e->msg, strlen(e->msg)));
}

/* Until the lines are all there, raw.p holds their offset in b->in: the buffer
 * may move while it grows. */
static void fix_raw(struct kj_batch *b)
{
    for (size_t i = 0; i < b->n; i++)
        if (b->docs[i].raw.n)
            b->docs[i].raw.p = b->in.p + (uintptr_t)b->docs[i].raw.p;
}

/* Files of other kinds that people hand over, told by how they begin: each would be
 * as many faults as it has line ends. NULL: it may be JSONL. */
static const char *other_kind(const char *p, size_t n)
{
    static const struct {
        const char *begins, *what;
    } kinds[] = {
        {"WARC/", "a WARC archive; kijil extract makes documents of it"},
        {"filedesc:", "an ARC archive; kijil extract makes documents of it"},
        {"PAR1", "Parquet, and JSONL is needed; DuckDB makes it: "
                 "COPY (FROM 'x.parquet') TO '/dev/stdout' (FORMAT json)"},
        {"ARROW1", "Arrow, and JSONL is needed"},
        {"SQLite format 3", "an SQLite database, and JSONL is needed"},
        {"<!doctype", "HTML; kijil extract makes documents of it"},
        {"<html", "HTML; kijil extract makes documents of it"},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        size_t m = strlen(kinds[i].begins);
        if (n >= m && strncasecmp(p, kinds[i].begins, m) == 0)
            return kinds[i].what;
    }
    while (n && strchr(" \t\r", p[n - 1]))
        n--;
    if (n && *p == '[' && (n == 1 || p[n - 1] != ']'))
        return "a JSON array, and one document a line is needed: jq -c '.[]'";
    if (n == 1 && *p == '{')
        return "JSON over several lines, and one document a line is needed: jq -c .";
    return NULL;
}

static int add_line(struct source *s, struct kj_batch *b, struct kj_err *err)
{
    const char *p;
    size_t n;
    int64_t member, at;
    struct kj_err e = KJ_ERR_INIT;
    int rc = kj_lines_next(s->lines, &p, &n, &member, &at, &e);
    s->line++;
    if (rc == KJ_BAD_RECORD) {
        damaged_line(s, b, &e);
        return KJ_OK;
    }
    if (rc < 0) {
        *err = e;
        return rc;
    }
    if (rc == KJ_EOF) {
        close_file(s);
        return KJ_OK;
    }
    if (n == 0)
        return KJ_OK; /* an empty line is no document and no fault */
    const char *kind = s->line == 1 && !s->within ? other_kind(p, n) : NULL;
    if (kind)
        return kj_err_set(err, KJ_FAIL, "%s is %s",
                          strcmp(s->files[s->next - 1], "-") == 0
                              ? "standard input"
                              : s->files[s->next - 1],
                          kind);
    struct kj_doc *d = kj_batch_add(b);
    const char *name = base_name(s->files[s->next - 1]);
    d->raw = (struct kj_str){(const char *)(uintptr_t)b->in.n, n};
    d->warc.file = (struct kj_str){name, strlen(name)};
    d->warc.offset = member + at;
    d->warc.length = s->within ? 0 : (int64_t)s->line; /* until it is decoded */
    if (kj_buf_add(&b->in, p, n))
        return kj_err_set(err, KJ_FAIL, "line of %zu bytes is too long", n);
    return KJ_OK;
}

static int source_read(void *self, struct kj_batch *b, struct kj_err *err)
{
    struct source *s = self;
    int rc = KJ_OK;
    while (rc == KJ_OK && b->in.n < KJ_BATCH_BYTES && b->n < 65536) {
        if (!s->in) {
            if (s->next == s->n)
                break;
            rc = open_next(s, err);
        } else {
            rc = add_line(s, b, err);
        }
    }
    if (rc < 0)
        return rc;
    fix_raw(b);
    b->bytes_in = b->in.n + b->n;
    if (!s->in)
        b->next = (struct kj_pos){(uint32_t)s->next, 0};
    else if (kj_lines_place(s->lines, &b->next.offset, &b->next_at))
        b->next.file = (uint32_t)s->next - 1;
    double done = (double)s->next;
    if (s->in) {
        int64_t size = kj_input_size(s->in);
        done -= size > 0 ? 1 - (double)kj_input_consumed(s->in) / (double)size : 1;
    }
    atomic_store(&s->share, done / (double)s->n);
    return b->n ? KJ_OK : KJ_EOF;
}

/* The field of a document without text that most likely is it: the longest string. */
static struct kj_str likely_text(const struct kj_doc *d)
{
    struct kj_str best = {"", 0};
    size_t most = 2; /* "" */
    for (size_t i = 0; i < d->n_fields; i++)
        if (d->fields[i].json.n > most && d->fields[i].json.p[0] == '"') {
            most = d->fields[i].json.n;
            best = d->fields[i].key;
        }
    return best;
}

static void no_text(struct kj_doc *d, struct kj_err *e)
{
    struct kj_str is = likely_text(d);
    int n = is.n < 60 ? (int)is.n : 0;
    if (n)
        kj_err_set(e, KJ_BAD_RECORD,
                   "no field \"text\"; if it is \"%.*s\": jq -c '.text = .%.*s'", n,
                   is.p, n, is.p);
    else
        kj_err_set(e, KJ_BAD_RECORD, "no field \"text\"");
}

static char *line_note(struct kj_batch *b, int64_t line, const struct kj_err *e)
{
    char note[sizeof e->msg + 32];
    int n = line > 0 ? snprintf(note, sizeof note, "line %lld: ", (long long)line) : 0;
    n += snprintf(note + n, sizeof note - (size_t)n, "%s", e->msg);
    return kj_arena_dup(&b->arena, note, (size_t)n);
}

static int source_decode(void *self, struct kj_batch *b, struct kj_err *err)
{
    const struct source *s = self;
    (void)err;
    for (size_t i = 0; i < b->n; i++) {
        struct kj_doc *d = &b->docs[i];
        if (d->out.rule)
            continue;
        struct kj_str raw = d->raw;
        struct kj_place line = d->warc;
        d->warc = (struct kj_place){.offset = -1, .length = -1};
        struct kj_err e = KJ_ERR_INIT;
        bool bad = kj_doc_parse(d, b->json, &b->arena, raw.p, raw.n, &e) < 0;
        if (!bad && (d->text.p || s->textless)) {
            d->textless = !d->text.p;
            continue;
        }
        if (!bad) {
            no_text(d, &e);
            d->textless = true; /* nor is one in the rejects */
        }
        d->text = (struct kj_str){NULL, 0};
        d->warc.file.p = kj_arena_dup(&b->arena, line.file.p, line.file.n);
        d->warc.file.n = d->warc.file.p ? line.file.n : 0;
        d->warc.offset = line.offset;
        d->warc.length = (int64_t)raw.n;
        kj_doc_damage(d, bad ? "input.invalid_json" : "input.no_text",
                      line_note(b, line.length, &e));
    }
    return KJ_OK;
}

static double source_progress(void *self)
{
    struct source *s = self;
    return atomic_load(&s->share);
}

static void source_close(void *self)
{
    struct source *s = self;
    close_file(s);
    free(s);
}

int kj_jsonl_source(struct kj_source *out, const char *const *files, size_t n,
                    struct kj_err *err)
{
    return kj_jsonl_source_at(out, files, n, (struct kj_pos){0, 0}, 0, err);
}

/* Go to a place in the file that was just opened. */
static int go_to(struct source *s, int64_t member, int64_t at, struct kj_err *err)
{
    s->within = member || at;
    int rc = member ? kj_input_seek(s->in, member, err) : KJ_OK;
    return rc ? rc : kj_lines_skip(s->lines, at, err);
}

int kj_jsonl_source_at(struct kj_source *out, const char *const *files, size_t n,
                       struct kj_pos start, int64_t at, struct kj_err *err)
{
    struct source *s = kj_xcalloc(1, sizeof *s);
    s->files = n ? files : only_stdin;
    s->n = n ? n : 1;
    *out = (struct kj_source){
        s, source_read, source_decode, source_progress, source_close, NULL};
    int rc = KJ_OK;
    s->next = start.file;
    if (s->next < s->n) {
        rc = open_next(s, err); /* so that a wrong name shows at once */
        if (rc == KJ_OK && (start.offset || at))
            rc = go_to(s, start.offset, at, err);
    }
    if (rc) {
        source_close(s);
        memset(out, 0, sizeof *out);
    }
    return rc;
}

void kj_jsonl_textless(struct kj_source *s)
{
    struct source *self = s->self;
    self->textless = true;
}

/* ---- sinks ---- */

static int sink_encode(void *self, struct kj_batch *b, struct kj_err *err)
{
    (void)self;
    for (size_t i = 0; i < b->n; i++) {
        if (!kj_doc_kept(&b->docs[i]))
            continue;
        int rc = kj_doc_write(&b->docs[i], "", false, &b->out, err);
        if (rc)
            return rc;
    }
    return KJ_OK;
}

static int sink_write(void *self, struct kj_batch *b, struct kj_err *err)
{
    return kj_output_write(self, b->out.p, b->out.n, err);
}

struct kj_sink kj_jsonl_sink(struct kj_output *o)
{
    return (struct kj_sink){o, sink_encode, sink_write};
}

static int reject_batch(void *self, const struct kj_flow *f, const struct kj_batch *b,
                        struct kj_err *err)
{
    struct kj_buf line;
    kj_buf_init(&line, 8 * (size_t)KJ_DOC_LINE_MAX);
    int rc = KJ_OK;
    for (size_t i = 0; i < b->n && rc == KJ_OK; i++) {
        const struct kj_doc *d = &b->docs[i];
        if (kj_doc_kept(d))
            continue;
        const char *stage =
            d->out.stage >= 0 ? f->steps[d->out.stage].stage->name : "input";
        kj_buf_reset(&line);
        rc = kj_doc_write(d, stage, true, &line, err);
        if (rc == KJ_OK)
            rc = kj_output_write(self, line.p, line.n, err);
    }
    kj_buf_release(&line);
    return rc;
}

struct kj_watch kj_jsonl_rejects(struct kj_output *o)
{
    return (struct kj_watch){.self = o, .batch = reject_batch};
}
