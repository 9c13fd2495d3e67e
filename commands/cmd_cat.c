/* cmd_cat.c - documents as a person reads them. */
#include "commands/commands.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/jsonl.h"
#include "base/mem.h"
#include "base/output.h"

struct cat {
    const char **ids;
    size_t n_ids;
    uint64_t shown;
    struct kj_output *out;
    bool bare;
};

struct options {
    bool bare;
};

static const struct kj_opt cat_opts[] = {
    {"bare", 0, KJ_OPT_FLAG, offsetof(struct options, bare), 0,
     "the text alone, without the lines about it", 0, 0, 0},
    {0},
};

/* Given as it stands, or without <urn:uuid:...>. */
static bool is_asked(const struct cat *c, struct kj_str id)
{
    for (size_t i = 0; i < c->n_ids; i++) {
        size_t n = strlen(c->ids[i]);
        if (kj_str_is(id, c->ids[i]))
            return true;
        if (id.n > n + 1 && id.p[id.n - 1] == '>' && id.p[id.n - n - 2] == ':' &&
            memcmp(id.p + id.n - n - 1, c->ids[i], n) == 0)
            return true;
    }
    return c->n_ids == 0;
}

static void line(struct kj_buf *b, const char *name, struct kj_str v)
{
    if (!v.n)
        return;
    kj_buf_printf(b, "%-12s ", name);
    kj_buf_add(b, v.p, v.n);
    kj_buf_addc(b, '\n');
}

static void print_head(struct kj_buf *b, const struct kj_doc *d)
{
    line(b, "id", d->id);
    line(b, "url", d->url);
    line(b, "date", d->date);
    line(b, "source", d->source);
    line(b, "file", d->file_path);
    if (d->language.n) {
        kj_buf_printf(b, "%-12s %.*s", "language", (int)d->language.n, d->language.p);
        if (!isnan(d->language_score))
            kj_buf_printf(b, " %.3f", d->language_score);
        kj_buf_addc(b, '\n');
    }
    for (size_t i = 0; i < d->n_fields; i++) {
        char name[64];
        snprintf(name, sizeof name, "%.*s", (int)d->fields[i].key.n,
                 d->fields[i].key.p);
        line(b, name, d->fields[i].json);
    }
    kj_buf_addc(b, '\n');
}

static int encode(void *self, struct kj_batch *b, struct kj_err *err)
{
    const struct cat *c = self;
    kj_buf_reset(&b->out);
    for (size_t i = 0; i < b->n; i++) {
        const struct kj_doc *d = &b->docs[i];
        if (!kj_doc_kept(d) || !is_asked(c, d->id))
            continue;
        if (!c->bare)
            print_head(&b->out, d);
        if (kj_buf_add(&b->out, d->text.p, d->text.n) < 0 ||
            kj_buf_addz(&b->out, c->bare ? "\n\n" : "\n\n----\n\n") < 0)
            return kj_err_set(err, KJ_FATAL, "a batch needs more than its memory");
    }
    return KJ_OK;
}

static int write_batch(void *self, struct kj_batch *b, struct kj_err *err)
{
    struct cat *c = self;
    for (size_t i = 0; c->n_ids && i < b->n; i++)
        c->shown += kj_doc_kept(&b->docs[i]) && is_asked(c, b->docs[i].id);
    return kj_output_write(c->out, b->out.p, b->out.n, err);
}

/* Words that name a file are files; all others are ids. */
static void sort_words(const struct kj_strs *pos, struct kj_strs *files, struct cat *c)
{
    c->ids = kj_xcalloc(pos->n + 1, sizeof *c->ids);
    for (size_t i = 0; i < pos->n; i++) {
        if (strcmp(pos->v[i], "-") == 0 || access(pos->v[i], F_OK) == 0)
            kj_strs_add(files, pos->v[i]);
        else
            c->ids[c->n_ids++] = pos->v[i];
    }
}

static int show(const struct kj_cmd *cmd, const struct kj_common *common, struct cat *c,
                const struct kj_strs *files)
{
    struct kj_err err = KJ_ERR_INIT;
    struct kj_flow f = {.threads = (unsigned)common->jobs,
                        .shard = common->shard_i,
                        .shards = common->shard_n,
                        .limit = common->limit,
                        .stop = &kj_interrupted,
                        .sink = {c, encode, write_batch}};
    int rc = kj_jsonl_source(&f.source, files->v, files->n, &err);
    if (rc == KJ_OK)
        rc = kj_output_open(&c->out, common->output, &err);
    kj_cmd_signals();
    if (rc == KJ_OK)
        rc = kj_flow_run(&f, &err);
    if (f.source.close)
        f.source.close(f.source.self);
    bool whole = rc == KJ_OK && !atomic_load(&kj_interrupted);
    if (rc < 0)
        kj_output_abort(c->out);
    else
        rc = kj_output_commit(c->out, &err);
    if (whole && rc == KJ_OK && c->n_ids && !c->shown)
        rc = kj_err_set(&err, KJ_FAIL,
                        "'%s' is neither a file nor the id of a document", c->ids[0]);
    int status = rc < 0 ? kj_cmd_fail(cmd, &err) : kj_cmd_status(&f);
    kj_flow_release(&f);
    return status;
}

static int run(const struct kj_cmd *cmd, int argc, char **argv)
{
    struct kj_common common;
    struct kj_strs pos = {0}, files = {0};
    struct options o = {0};
    struct cat c = {0};
    void *const cfgs[] = {&o, NULL};
    int status = kj_cmd_parse(cmd, argc, argv, cfgs, &common, &pos);
    if (status < 0) {
        c.bare = o.bare;
        sort_words(&pos, &files, &c);
        status = show(cmd, &common, &c, &files);
    }
    free(c.ids);
    kj_strs_release(&pos);
    kj_strs_release(&files);
    return status;
}

const struct kj_cmd kj_cmd_cat = {
    .name = "cat",
    .synopsis = "[FILE|ID...]",
    .about = "documents as readable text",
    .details =
        "Prints documents of JSONL files (or of standard input): what is known of "
        "each, then its text. Words that are no files are ids; then only those "
        "documents are shown, and it is a failure when there is none. An id may be "
        "given without <urn:uuid: >.",
    .examples =
        "kijil cat docs.jsonl.zst | less\n"
        "kijil cat docs.jsonl.zst 0f3c8a52-1d2b-8c4e-9f10-2b6d6a1c7e55  # one of them",
    .opts = (const struct kj_opt *const[]){cat_opts, kj_cat_common_opts, NULL},
    .run = run,
};
