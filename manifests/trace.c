/* trace.c - looks a token or an id up in the document index of shards. */
#include "manifests/trace.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/input.h"
#include "base/json.h"
#include "base/order.h"
#include "base/shards.h"

#define DOC_LINE_MAX ((size_t)1 << 20)

/* The lines of a set's document index, from shard k on. */
struct index {
    char *path;
    struct kj_input *in;
    struct kj_lines *lines;
    struct kj_json *json;
};

static void index_close(struct index *x)
{
    kj_lines_free(x->lines);
    kj_input_close(x->in);
    kj_json_free(x->json);
    free(x->path);
}

static int index_open(struct index *x, const struct kj_shards *s, size_t k,
                      struct kj_err *err)
{
    uint64_t offset = kj_shards_get(s, k)->docs_offset;
    memset(x, 0, sizeof *x);
    x->path = kj_shards_path(s, "docs.jsonl.zst");
    int rc = kj_input_open(&x->in, x->path, err);
    if (rc == KJ_OK && offset)
        rc = kj_input_seek(x->in, (int64_t)offset, err);
    if (rc == KJ_OK) {
        x->lines = kj_lines_new(x->in, DOC_LINE_MAX);
        x->json = kj_json_new();
    } else {
        kj_err_where(err, x->path, -1);
    }
    return rc;
}

static int index_line(struct index *x, const char **p, size_t *n, struct kj_err *err)
{
    int64_t member, at;
    int rc = kj_lines_next(x->lines, p, n, &member, &at, err);
    if (rc == KJ_EOF)
        rc = kj_err_set(err, KJ_FAIL, "cut short");
    return rc;
}

/* Is the line that of document d of shard k? Then the caller hears of it. */
static int give(struct index *x, const struct kj_shards *s, size_t k, uint64_t d,
                struct kj_trace *t, kj_trace_fn *fn, void *ctx, struct kj_err *err)
{
    const struct kj_shard *r = kj_shards_get(s, k);
    int rc = kj_json_parse(x->json, t->line.p, t->line.n, &t->doc, err);
    t->number = d;
    t->first = kj_idx_doc_start(&r->idx, d);
    t->tokens = kj_idx_doc_start(&r->idx, d + 1) - t->first;
    if (rc == KJ_OK && (kj_jint(kj_jget(t->doc, "shard"), -1) != (int64_t)k ||
                        kj_jint(kj_jget(t->doc, "first"), -1) != (int64_t)t->first ||
                        kj_jint(kj_jget(t->doc, "tokens"), -1) != (int64_t)t->tokens))
        rc = kj_err_set(err, KJ_FAIL, "has not document %" PRIu64 " of %s where it was",
                        d, r->path);
    if (rc != KJ_OK)
        return rc;
    char *shard = kj_shards_path(s, r->path);
    t->shard = shard;
    rc = fn(ctx, t, err);
    free(shard);
    return rc;
}

/* Document d of the set, of which token `token` of its shard was asked for. */
static int give_one(const struct kj_shards *s, uint64_t token, kj_trace_fn *fn,
                    void *ctx, struct kj_err *err)
{
    uint64_t d = kj_shards_doc_at(s, token);
    size_t k = kj_shards_count(s) - 1;
    while (kj_shards_get(s, k)->first_document > d)
        k--;
    const struct kj_shard *r = kj_shards_get(s, k);
    struct kj_trace t = {.by_token = true, .token = token - r->first_token};
    struct index x;
    int rc = index_open(&x, s, k, err);
    for (uint64_t i = r->first_document; i <= d && rc == KJ_OK; i++)
        rc = index_line(&x, &t.line.p, &t.line.n, err);
    if (rc == KJ_OK)
        rc = give(&x, s, k, d - r->first_document, &t, fn, ctx, err);
    if (rc != KJ_OK)
        kj_err_where(err, x.path, -1);
    index_close(&x);
    return rc;
}

/* The set with a shard's file in it; *base is the shard's first token. */
static int open_shard(struct kj_shards **out, const char *path, uint64_t *base,
                      uint64_t *tokens, struct kj_err *err)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    char *dir = slash ? kj_xstrndup(path, (size_t)(slash - path) + (slash == path))
                      : kj_xstrdup(".");
    int rc = kj_shards_open(out, dir, err);
    size_t k = 0, n = rc == KJ_OK ? kj_shards_count(*out) : 0;
    while (k < n && strcmp(kj_shards_get(*out, k)->path, name) != 0)
        k++;
    if (rc == KJ_OK && k == n)
        rc = kj_err_set(err, KJ_FAIL, "%s is not in the manifest of %s", name, dir);
    if (rc == KJ_OK) {
        *base = kj_shards_get(*out, k)->first_token;
        *tokens = kj_shards_get(*out, k)->tokens;
    }
    free(dir);
    return rc;
}

static bool is_shard(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot && (strcmp(dot, ".bin") == 0 || strcmp(dot, ".ds") == 0);
}

static int trace_order(const char *path, uint64_t token, kj_trace_fn *fn, void *ctx,
                       struct kj_err *err)
{
    struct kj_order *o = NULL;
    int rc = kj_order_open(&o, path, err);
    if (rc == KJ_OK && token >= kj_order_tokens(o))
        rc = kj_err_set(err, KJ_FAIL, "%s has %" PRIu64 " tokens", path,
                        kj_order_tokens(o));
    if (rc == KJ_OK) {
        size_t set;
        uint64_t e = kj_order_at(o, token), d = kj_order_doc(o, e, &set);
        const struct kj_shards *s = kj_order_set(o, set);
        rc = give_one(s, kj_shards_doc_start(s, d) + token - kj_order_start(o, e), fn,
                      ctx, err);
    }
    kj_order_close(o);
    return rc;
}

int kj_trace_token(const char *where, kj_trace_fn *fn, void *ctx, struct kj_err *err)
{
    const char *colon = strrchr(where, ':');
    char *end = NULL;
    errno = 0;
    uint64_t token = colon ? strtoull(colon + 1, &end, 10) : 0, base = 0, tokens = 0;
    if (!colon || colon == where || colon[1] < '0' || colon[1] > '9' || *end || errno)
        return kj_err_set(err, KJ_USAGE, "%s: not SHARD:TOKEN", where);
    char *path = kj_xstrndup(where, (size_t)(colon - where));
    struct kj_shards *s = NULL;
    int rc;
    if (kj_order_is(path)) {
        rc = trace_order(path, token, fn, ctx, err);
        free(path);
        return rc;
    }
    if (is_shard(path)) {
        rc = open_shard(&s, path, &base, &tokens, err);
    } else {
        rc = kj_shards_open(&s, path, err);
        tokens = rc == KJ_OK ? kj_shards_tokens(s) : 0;
    }
    if (rc == KJ_OK && token >= tokens)
        rc = kj_err_set(err, KJ_FAIL, "%s has %" PRIu64 " tokens", path, tokens);
    if (rc == KJ_OK)
        rc = give_one(s, base + token, fn, ctx, err);
    kj_shards_close(s);
    free(path);
    return rc;
}

/* ---- the way back ---- */

static bool holds(struct kj_str line, struct kj_str key)
{
    const char *p = line.p, *end = line.p + line.n;
    while ((size_t)(end - p) >= key.n) {
        p = memchr(p, key.p[0], (size_t)(end - p) - key.n + 1);
        if (!p)
            return false;
        if (memcmp(p, key.p, key.n) == 0)
            return true;
        p++;
    }
    return false;
}

static int find_in(const struct kj_shards *s, struct kj_str key, const char *id,
                   kj_trace_fn *fn, void *ctx, uint64_t *found, struct kj_err *err)
{
    struct index x;
    int rc = index_open(&x, s, 0, err);
    for (size_t k = 0; k < kj_shards_count(s) && rc == KJ_OK; k++)
        for (uint64_t d = 0; d < kj_shards_get(s, k)->documents && rc == KJ_OK; d++) {
            struct kj_trace t = {0};
            const struct kj_jval *v;
            rc = index_line(&x, &t.line.p, &t.line.n, err);
            /* Few lines hold the bytes at all; only these are read as JSON. */
            if (rc != KJ_OK || !holds(t.line, key))
                continue;
            rc = kj_json_parse(x.json, t.line.p, t.line.n, &v, err);
            if (rc == KJ_OK && kj_str_is(kj_jstr(kj_jget(v, "id")), id)) {
                rc = give(&x, s, k, d, &t, fn, ctx, err);
                ++*found;
            }
        }
    if (rc != KJ_OK)
        kj_err_where(err, x.path, -1);
    index_close(&x);
    return rc;
}

int kj_trace_doc(const char *path, const char *id, kj_trace_fn *fn, void *ctx,
                 uint64_t *found, struct kj_err *err)
{
    struct kj_order *o = NULL;
    struct kj_shards *s = NULL;
    struct kj_buf key;
    kj_buf_init(&key, 1 << 20);
    kj_buf_addz(&key, "\"id\":");
    int rc = kj_json_put_str(&key, id, strlen(id));
    struct kj_str k = {key.p, key.n};
    *found = 0;
    if (rc == KJ_OK && kj_order_is(path)) {
        rc = kj_order_open(&o, path, err);
        for (size_t i = 0; rc == KJ_OK && i < kj_order_sets(o); i++)
            rc = find_in(kj_order_set(o, i), k, id, fn, ctx, found, err);
    } else if (rc == KJ_OK) {
        rc = kj_shards_open(&s, path, err);
        if (rc == KJ_OK)
            rc = find_in(s, k, id, fn, ctx, found, err);
    }
    kj_shards_close(s);
    kj_order_close(o);
    kj_buf_release(&key);
    return rc;
}
