/* shards_verify.c - reads a whole set of shards and compares it with what its
 * manifest says: content, tokens, and the document index. */
#include "base/shards_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/input.h"
#include "base/json.h"

/* Longest line of the document index. */
#define DOC_LINE_MAX ((size_t)1 << 20)

/* bytes: UINT64_MAX where only the hash is known. */
static int verify_file(const struct kj_shards *s, const char *name, const char *hash,
                       uint64_t bytes, struct kj_err *err)
{
    char *path = kj_shards_path(s, name), got[40];
    int64_t size;
    int rc = kj_hash_file(path, got, &size, err);
    if (rc == KJ_OK &&
        ((bytes != UINT64_MAX && (uint64_t)size != bytes) || strcmp(got, hash) != 0))
        rc = kj_err_set(err, KJ_FAIL, "content is %s (%jd bytes), by the manifest %s",
                        got, (intmax_t)size, hash);
    if (rc != KJ_OK)
        kj_err_where(err, path, -1);
    free(path);
    return rc;
}

static int verify_tokens(const struct kj_shards *s, const struct kj_shard *r,
                         struct kj_err *err)
{
    uint32_t v[1024], last = r->eos;
    uint64_t d = 1, end = kj_idx_doc_start(&r->idx, 1);
    for (uint64_t at = 0; at < r->tokens;) {
        size_t n = r->tokens - at < 1024 ? (size_t)(r->tokens - at) : 1024;
        kj_shards_copy(r, at, v, n);
        for (size_t i = 0; i < n; i++, at++) {
            if (v[i] >= s->v[0].vocab_size)
                return kj_err_set(err, KJ_FAIL,
                                  "token %ju is %u, beyond the vocabulary",
                                  (uintmax_t)at, v[i]);
            if (at == end) {
                if (last != r->eos)
                    return kj_err_set(err, KJ_FAIL,
                                      "document %ju does not end with EOS",
                                      (uintmax_t)(d - 1));
                end = kj_idx_doc_start(&r->idx, ++d);
                if (end == at)
                    return kj_err_set(err, KJ_FAIL, "document %ju is empty",
                                      (uintmax_t)(d - 1));
            }
            last = v[i];
        }
    }
    if (last != r->eos)
        return kj_err_set(err, KJ_FAIL, "the last document does not end with EOS");
    return KJ_OK;
}

/* One line of the document index against document `d` of shard `k`. */
static int verify_doc(const struct kj_shards *s, size_t k, uint64_t d,
                      const struct kj_jval *v, struct kj_err *err)
{
    const struct kj_shard *r = &s->v[k];
    uint64_t first = kj_idx_doc_start(&r->idx, d);
    uint64_t tokens = kj_idx_doc_start(&r->idx, d + 1) - first;
    struct kj_str id = kj_jstr(kj_jget(v, "id"));
    if (kj_jint(kj_jget(v, "shard"), -1) != (int64_t)k ||
        kj_jint(kj_jget(v, "first"), -1) != (int64_t)first ||
        kj_jint(kj_jget(v, "tokens"), -1) != (int64_t)tokens)
        return kj_err_set(
            err, KJ_FAIL,
            "does not describe document %ju of shard %zu (tokens %ju..%ju)",
            (uintmax_t)d, k, (uintmax_t)first, (uintmax_t)(first + tokens));
    if ((d == 0 && !kj_str_is(id, r->first_id)) ||
        (d + 1 == r->documents && !kj_str_is(id, r->last_id)))
        return kj_err_set(err, KJ_FAIL, "id differs from the manifest's");
    return KJ_OK;
}

static int verify_chain(const struct kj_shard *r, uint64_t h, struct kj_err *err)
{
    char got[40];
    snprintf(got, sizeof got, "xxh64-chain:%016jx", (uintmax_t)h);
    if (strcmp(got, r->docs_hash) != 0)
        return kj_err_set(err, KJ_FAIL, "lines of %s hash to %s, by the manifest %s",
                          r->path, got, r->docs_hash);
    return KJ_OK;
}

static int verify_docs(const struct kj_shards *s, struct kj_lines *l,
                       struct kj_err *err)
{
    struct kj_json *j = kj_json_new();
    const struct kj_jval *v;
    const char *p;
    size_t n, k = 0;
    uint64_t d = 0, line = 0, h = 0;
    int64_t member, at;
    int rc;
    for (;; line++) {
        while (k < s->n && d == s->v[k].documents) {
            rc = verify_chain(&s->v[k], h, err);
            if (rc != KJ_OK)
                goto out;
            k++;
            d = h = 0;
        }
        rc = kj_lines_next(l, &p, &n, &member, &at, err);
        if (rc != KJ_OK)
            break;
        rc = k < s->n ? kj_json_parse(j, p, n, &v, err)
                      : kj_err_set(err, KJ_FAIL, "more lines than documents");
        if (rc == KJ_OK)
            rc = verify_doc(s, k, d++, v, err);
        if (rc != KJ_OK) {
            kj_err_context(err, "line %ju", (uintmax_t)line + 1);
            break;
        }
        h = kj_hash64(p, n, h);
    }
    if (rc == KJ_EOF)
        rc = k == s->n ? KJ_OK
                       : kj_err_set(err, KJ_FAIL, "%ju lines for %ju documents",
                                    (uintmax_t)line, (uintmax_t)s->documents);
out:
    kj_json_free(j);
    return rc;
}

static int verify_doc_index(const struct kj_shards *s, struct kj_err *err)
{
    char *path = kj_shards_path(s, "docs.jsonl.zst");
    struct kj_input *in;
    int rc = kj_input_open(&in, path, err);
    if (rc == KJ_OK) {
        struct kj_lines *l = kj_lines_new(in, DOC_LINE_MAX);
        rc = verify_docs(s, l, err);
        kj_lines_free(l);
        kj_input_close(in);
    }
    if (rc != KJ_OK)
        kj_err_where(err, path, -1);
    free(path);
    return rc;
}

int kj_shards_verify(const struct kj_shards *s, struct kj_err *err)
{
    for (size_t i = 0; i < s->n; i++) {
        const struct kj_shard *r = &s->v[i];
        int rc = verify_file(s, r->path, r->hash, r->bytes, err);
        if (rc == KJ_OK)
            rc = verify_file(s, r->index, r->index_hash, r->index_bytes, err);
        if (rc == KJ_OK && r->note)
            rc = verify_file(s, r->note, r->note_hash, UINT64_MAX, err);
        if (rc != KJ_OK)
            return KJ_FAIL;
        if (verify_tokens(s, r, err) != KJ_OK) {
            char *path = kj_shards_path(s, r->path);
            kj_err_where(err, path, -1);
            free(path);
            return KJ_FAIL;
        }
    }
    return verify_doc_index(s, err) == KJ_OK ? KJ_OK : KJ_FAIL;
}
