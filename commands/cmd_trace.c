/* cmd_trace.c - kijil trace: which document is this token from, and back. */
#include "commands/commands.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "manifests/trace.h"

struct trace_cfg {
    const char *doc;
    bool json;
};

static const struct kj_opt trace_opts[] = {
    {"doc", 0, KJ_OPT_STR, offsetof(struct trace_cfg, doc), "ID",
     "the way back: where the document of this id stands in the shards", 0, 0, 0},
    {"json", 0, KJ_OPT_FLAG, offsetof(struct trace_cfg, json), 0,
     "JSON, one object a line", 0, 0, 0},
    {0},
};

static void line(const char *key, struct kj_str v)
{
    if (v.n)
        printf("%-9s %.*s\n", key, (int)v.n, v.p);
}

static void text(const struct kj_trace *t)
{
    const struct kj_jval *warc = kj_jget(t->doc, "warc");
    struct kj_str file = kj_jstr(kj_jget(warc, "file"));
    line("document", kj_jstr(kj_jget(t->doc, "id")));
    if (t->by_token)
        printf("token     %" PRIu64 " of %s: %" PRIu64 " of the document's %" PRIu64
               "\n",
               t->token, t->shard, t->token - t->first, t->tokens);
    else
        printf("tokens    %" PRIu64 " to %" PRIu64 " of %s\n", t->first,
               t->first + t->tokens - 1, t->shard);
    line("url", kj_jstr(kj_jget(t->doc, "url")));
    if (file.n)
        printf("archive   %.*s, offset %" PRId64 ", length %" PRId64 "\n", (int)file.n,
               file.p, kj_jint(kj_jget(warc, "offset"), -1),
               kj_jint(kj_jget(warc, "length"), -1));
    line("source", kj_jstr(kj_jget(t->doc, "source")));
    line("language", kj_jstr(kj_jget(t->doc, "language")));
    line("band", kj_jstr(kj_jget(t->doc, "band")));
}

static int json(const struct kj_trace *t, struct kj_err *err)
{
    struct kj_buf b;
    kj_buf_init(&b, 16 << 20);
    kj_buf_addz(&b, "{\"shard\":");
    kj_json_put_str(&b, t->shard, strlen(t->shard));
    kj_buf_printf(&b,
                  ",\"number\":%" PRIu64 ",\"first\":%" PRIu64 ",\"tokens\":%" PRIu64,
                  t->number, t->first, t->tokens);
    if (t->by_token)
        kj_buf_printf(&b, ",\"token\":%" PRIu64, t->token);
    kj_buf_addz(&b, ",\"document\":");
    kj_buf_add(&b, t->line.p, t->line.n);
    int rc = kj_buf_addz(&b, "}\n");
    fwrite(b.p, 1, b.n, stdout);
    kj_buf_release(&b);
    return rc == KJ_OK ? rc : kj_err_set(err, KJ_FAIL, "the line is too long");
}

static int show(void *ctx, const struct kj_trace *t, struct kj_err *err)
{
    const struct trace_cfg *cfg = ctx;
    if (cfg->json)
        return json(t, err);
    text(t);
    return KJ_OK;
}

static int trace(struct trace_cfg *cfg, const struct kj_strs *pos, struct kj_err *err)
{
    int rc = KJ_OK;
    uint64_t all = 0;
    if (!pos->n)
        return kj_err_set(err, KJ_USAGE,
                          cfg->doc ? "a folder of shards is needed"
                                   : "SHARD:TOKEN is needed, or --doc ID and a folder");
    for (size_t i = 0; i < pos->n && rc == KJ_OK; i++) {
        uint64_t found = 0;
        if (cfg->doc)
            rc = kj_trace_doc(pos->v[i], cfg->doc, show, cfg, &found, err);
        else
            rc = kj_trace_token(pos->v[i], show, cfg, err);
        all += found;
    }
    if (rc == KJ_OK && cfg->doc && !all)
        rc = kj_err_set(err, KJ_FAIL, "no document has the id %s", cfg->doc);
    return rc;
}

static int run_trace(const struct kj_cmd *cmd, int argc, char **argv)
{
    struct trace_cfg cfg = {0};
    struct kj_common common;
    struct kj_strs pos = {0};
    struct kj_err err = KJ_ERR_INIT;
    int status = kj_cmd_parse(cmd, argc, argv, (void *const[]){&cfg}, &common, &pos);
    if (status >= 0)
        return status;
    status = trace(&cfg, &pos, &err) == KJ_OK ? 0 : kj_cmd_fail(cmd, &err);
    kj_strs_release(&pos);
    return status;
}

const struct kj_cmd kj_cmd_trace = {
    .name = "trace",
    .synopsis = "SHARD:TOKEN... | --doc ID DIR...",
    .about = "from a token to its document and archive record, and back",
    .details =
        "Prints the document that holds a token: its id, URL, and the file and offset "
        "of "
        "its archive record, as they stand in the shards' document index. SHARD is a "
        "shard's file (the token's number counts from its start), a folder of shards "
        "or its manifest (from the set's start), or an order (kijil mix).\n"
        "\n"
        "With --doc, where the document stands in the shards; an id that stands more "
        "than once is told each time. Exit status 1 when there is no such token or "
        "document.",
    .examples = "kijil trace shards/shard-00002.bin:123456  # whose token is this?\n"
                "kijil trace --doc '<urn:uuid:1f...>' shards/  # where is it?\n",
    .opts = (const struct kj_opt *const[]){trace_opts, NULL},
    .run = run_trace,
};
