/* shards.c - validates and maps token shards.
 *
 * Nothing of a file is used before it was compared with what is known
 * otherwise: a manifest row with its own hash, an index with the size of its
 * .bin (shards_index.c), a row with the index.
 */
#include "base/shards_internal.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/input.h"
#include "base/json.h"

#define MANIFEST_MAX ((size_t)1 << 30)

const char *const kj_shard_formats[] = {"megatron", "llm.c", "ds", NULL};

/* ---- manifest ---- */

static const char *row_str(struct kj_shards *s, const struct kj_jval *v,
                           const char *key, struct kj_err *err)
{
    struct kj_str z = kj_jstr(kj_jget(v, key));
    const char *c = z.p ? kj_arena_dup(&s->arena, z.p, z.n) : NULL;
    if (!c || strlen(c) != z.n) {
        kj_err_set(err, KJ_FAIL, "%s: missing, or no string", key);
        return "";
    }
    return c;
}

static uint64_t row_num(const struct kj_jval *v, const char *key, uint64_t max,
                        struct kj_err *err)
{
    int64_t i = kj_jint(kj_jget(v, key), -1);
    if (i < 0 || (uint64_t)i > max) {
        kj_err_set(err, KJ_FAIL, "%s: missing, or not a number in 0..%ju", key,
                   (uintmax_t)max);
        return 0;
    }
    return (uint64_t)i;
}

static void row_counts(struct kj_shards *s, struct kj_shard *r, const struct kj_jval *v,
                       struct kj_err *err)
{
    const struct kj_jval *list = kj_jget(v, "counts");
    uint64_t documents = 0, tokens = 0;
    if (!list || list->kind != KJ_J_ARRAY) {
        kj_err_set(err, KJ_FAIL, "counts: not an array");
        return;
    }
    r->counts = kj_arena_zalloc(&s->arena, (list->n + 1) * sizeof *r->counts);
    for (size_t i = 0; r->counts && i < list->n; i++) {
        struct kj_shard_count *c = &r->counts[r->n_counts++];
        c->source = row_str(s, &list->items[i], "source", err);
        c->language = row_str(s, &list->items[i], "language", err);
        c->band = row_str(s, &list->items[i], "band", err);
        c->documents = row_num(&list->items[i], "documents", INT64_MAX, err);
        c->tokens = row_num(&list->items[i], "tokens", INT64_MAX, err);
        documents += c->documents;
        tokens += c->tokens;
    }
    if (documents != r->documents || tokens != r->tokens)
        kj_err_set(err, KJ_FAIL, "counts: add up to %ju documents and %ju tokens",
                   (uintmax_t)documents, (uintmax_t)tokens);
}

static void row_parents(struct kj_shard *r, const struct kj_jval *v, struct kj_err *err)
{
    const struct kj_jval *list = kj_jget(v, "parents");
    struct kj_str p = {0};
    char z[27], *end = z;
    if (list && list->kind == KJ_J_ARRAY && list->n == 1)
        p = kj_jstr(&list->items[0]);
    if (p.n == sizeof z - 1) {
        memcpy(z, p.p, p.n);
        z[p.n] = '\0';
        if (strncmp(z, "documents:", 10) == 0)
            r->documents_sum = strtoull(z + 10, &end, 16);
    }
    if (end != z + sizeof z - 1)
        kj_err_set(err, KJ_FAIL, "parents: not the checksum of documents");
}

/* A name that stays inside the folder. */
static bool inside(const char *path)
{
    return path[0] && path[0] != '/' && strcmp(path, "..") != 0 &&
           strncmp(path, "../", 3) != 0 && !strstr(path, "/../");
}

static int row_parse(struct kj_shards *s, struct kj_shard *r, const struct kj_jval *v,
                     struct kj_err *err)
{
    if (v->kind != KJ_J_OBJECT)
        return kj_err_set(err, KJ_FAIL, "not an object");
    while (kj_shard_formats[r->format] &&
           !kj_str_is(kj_jstr(kj_jget(v, "format")), kj_shard_formats[r->format]))
        r->format++;
    if (!kj_shard_formats[r->format])
        return kj_err_set(err, KJ_FAIL, "format: none of megatron, llm.c, ds");
    if (r->format == KJ_SHARD_DS) {
        r->note = row_str(s, v, "metadata", err);
        r->note_hash = row_str(s, v, "metadata_hash", err);
    }
    r->path = row_str(s, v, "path", err);
    r->index = row_str(s, v, "index", err);
    r->hash = row_str(s, v, "hash", err);
    r->index_hash = row_str(s, v, "index_hash", err);
    r->docs_hash = row_str(s, v, "docs_hash", err);
    r->docs_offset = row_num(v, "docs_offset", INT64_MAX, err);
    r->bytes = row_num(v, "bytes", INT64_MAX, err);
    r->index_bytes = row_num(v, "index_bytes", INT64_MAX, err);
    r->tokens = row_num(v, "tokens", INT64_MAX, err);
    r->documents = row_num(v, "documents", INT64_MAX, err);
    r->tokenizer = row_str(s, v, "tokenizer", err);
    r->tokenizer_hash = row_str(s, v, "tokenizer_hash", err);
    r->dtype = row_str(s, v, "dtype", err);
    r->vocab_size = (uint32_t)row_num(v, "vocab_size", INT32_MAX, err);
    r->eos = (uint32_t)row_num(v, "eos", INT32_MAX, err);
    r->first_id = row_str(s, v, "first_id", err);
    r->last_id = row_str(s, v, "last_id", err);
    r->tool = row_str(s, v, "tool", err);
    r->config_hash = row_str(s, v, "config_hash", err);
    row_counts(s, r, v, err);
    row_parents(r, v, err);
    if (err->rc == KJ_OK &&
        (!inside(r->path) || !inside(r->index) || (r->note && !inside(r->note))))
        kj_err_set(err, KJ_FAIL, "path: leaves the folder");
    if (err->rc == KJ_OK && r->eos >= r->vocab_size)
        kj_err_set(err, KJ_FAIL, "eos: not below vocab_size");
    return err->rc;
}

char *kj_shards_path(const struct kj_shards *s, const char *name)
{
    return kj_xprintf("%s/%s", s->folder, name);
}

/* The index of a mapped shard, whichever form it has. */
static int index_open(struct kj_shards *s, size_t i, const char *bin,
                      struct kj_err *err)
{
    struct kj_shard *r = &s->v[i];
    const struct kj_map *b = &s->bins[i], *x = &s->idxs[i];
    unsigned width = strcmp(r->dtype, "uint16") == 0 ? 2 : 4;
    uint64_t tokens = b->n / width;
    int rc = KJ_OK;
    r->bin = b->p;
    if (r->format == KJ_SHARD_MEGATRON)
        return kj_idx_parse(&r->idx, x->p, x->n, r->bytes, err);
    if (r->format == KJ_SHARD_LLMC) {
        rc = kj_llmc_parse(b->p, b->n, &width, &tokens, err);
        r->bin += rc == KJ_OK ? KJ_LLMC_HEAD : 0;
    } else if (b->n % width) {
        rc = kj_err_set(err, KJ_FAIL, "%zu bytes are no whole tokens", b->n);
    }
    if (rc != KJ_OK)
        kj_err_where(err, bin, -1);
    return rc == KJ_OK ? kj_ends_parse(&r->idx, x->p, x->n, width, tokens, err) : rc;
}

static int shard_open(struct kj_shards *s, size_t i, struct kj_err *err)
{
    struct kj_shard *r = &s->v[i];
    char *bin = kj_shards_path(s, r->path), *idx = kj_shards_path(s, r->index);
    const char *wide = r->format == KJ_SHARD_MEGATRON ? "int32" : "uint32";
    int rc = kj_map_open(&s->bins[i], bin, err);
    if (rc == KJ_OK)
        rc = kj_map_open(&s->idxs[i], idx, err);
    if (rc == KJ_OK && s->bins[i].n != r->bytes) {
        rc = kj_err_set(err, KJ_FAIL, "%zu bytes, by the manifest %ju", s->bins[i].n,
                        (uintmax_t)r->bytes);
        kj_err_where(err, bin, -1);
    }
    if (rc == KJ_OK) {
        rc = index_open(s, i, bin, err);
        if (rc == KJ_OK && strcmp(r->dtype, r->idx.width == 2 ? "uint16" : wide) != 0)
            rc = kj_err_set(err, KJ_FAIL, "%u bytes a token, by the manifest %s",
                            r->idx.width, r->dtype);
        if (rc == KJ_OK &&
            (r->idx.tokens != r->tokens || r->idx.documents != r->documents))
            rc = kj_err_set(err, KJ_FAIL,
                            "%ju documents and %ju tokens, by the manifest %ju and %ju",
                            (uintmax_t)r->idx.documents, (uintmax_t)r->idx.tokens,
                            (uintmax_t)r->documents, (uintmax_t)r->tokens);
        if (rc != KJ_OK)
            kj_err_where(err, idx, -1);
    }
    free(bin);
    free(idx);
    r->first_token = s->tokens;
    r->first_document = s->documents;
    s->tokens += r->tokens;
    s->documents += r->documents;
    return rc;
}

static bool same_make(const struct kj_shard *a, const struct kj_shard *b)
{
    return strcmp(a->tokenizer_hash, b->tokenizer_hash) == 0 && a->eos == b->eos &&
           a->vocab_size == b->vocab_size &&
           strcmp(a->config_hash, b->config_hash) == 0;
}

/* A row ends with the hash of all that stands before it on its line. */
static int row_whole(const char *p, size_t n, struct kj_err *err)
{
    static const char key[] = ",\"row_hash\":\"xxh64:";
    enum { TAIL = sizeof key - 1 + 16 + 2 };
    char want[TAIL + 1];
    if (n < TAIL)
        return kj_err_set(err, KJ_FAIL, "row_hash: missing");
    snprintf(want, sizeof want, "%s%016jx\"}", key,
             (uintmax_t)kj_hash64(p, n - TAIL, 0));
    if (memcmp(p + n - TAIL, want, TAIL) != 0)
        return kj_err_set(err, KJ_FAIL, "row_hash: not that of this line");
    return KJ_OK;
}

static int rows(struct kj_shards *s, struct kj_buf *text, const char *manifest,
                struct kj_err *err)
{
    struct kj_json *j = kj_json_new();
    size_t line = 0, cap = 0;
    int rc = KJ_OK;
    struct kj_err own = KJ_ERR_INIT;
    for (size_t at = 0; at < text->n && rc == KJ_OK; line++) {
        const char *p = text->p + at, *e = memchr(p, '\n', text->n - at);
        const struct kj_jval *v;
        size_t n = e ? (size_t)(e - p) : text->n - at;
        at += n + 1;
        if (s->n == cap) {
            cap = cap ? 2 * cap : 16;
            s->v = kj_xrealloc(s->v, cap * sizeof *s->v);
            s->bins = kj_xrealloc(s->bins, cap * sizeof *s->bins);
            s->idxs = kj_xrealloc(s->idxs, cap * sizeof *s->idxs);
        }
        memset(&s->v[s->n], 0, sizeof *s->v);
        s->bins[s->n] = s->idxs[s->n] = (struct kj_map){0};
        rc = e ? kj_json_parse(j, p, n, &v, &own)
               : kj_err_set(&own, KJ_FAIL, "the last line is cut short");
        if (rc == KJ_OK)
            rc = row_whole(p, n, &own);
        if (rc == KJ_OK)
            rc = row_parse(s, &s->v[s->n], v, &own);
        if (rc == KJ_OK && s->n && !same_make(&s->v[0], &s->v[s->n]))
            rc = kj_err_set(&own, KJ_FAIL,
                            "made with another tokenizer or configuration than line 1");
        if (rc != KJ_OK) {
            kj_err_context(&own, "line %zu", line + 1);
            kj_err_where(&own, manifest, -1);
            break;
        }
        rc = shard_open(s, s->n++, &own);
    }
    kj_json_free(j);
    if (rc != KJ_OK && err && err->rc == KJ_OK) {
        *err = own;
        err->rc = KJ_FAIL;
    }
    return rc == KJ_OK ? KJ_OK : KJ_FAIL;
}

int kj_shards_open(struct kj_shards **out, const char *path, struct kj_err *err)
{
    struct stat st;
    struct kj_shards *s = kj_xcalloc(1, sizeof *s);
    struct kj_buf text;
    kj_arena_init(&s->arena, 4 * MANIFEST_MAX);
    kj_buf_init(&text, MANIFEST_MAX);
    const char *slash = strrchr(path, '/');
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        s->folder = kj_xstrdup(path);
    else
        s->folder = slash ? kj_xstrndup(path, (size_t)(slash - path)) : kj_xstrdup(".");
    bool dir = stat(path, &st) == 0 && S_ISDIR(st.st_mode);
    char *manifest = dir ? kj_shards_path(s, "manifest.jsonl") : kj_xstrdup(path);
    int rc = kj_input_slurp(manifest, &text, err);
    if (rc == KJ_OK)
        rc = rows(s, &text, manifest, err);
    if (rc == KJ_OK && s->n == 0) {
        rc = kj_err_set(err, KJ_FAIL, "no shards");
        kj_err_where(err, manifest, -1);
    }
    free(manifest);
    kj_buf_release(&text);
    if (rc != KJ_OK) {
        kj_shards_close(s);
        return KJ_FAIL;
    }
    *out = s;
    return KJ_OK;
}

void kj_shards_close(struct kj_shards *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->n; i++) {
        kj_map_close(&s->bins[i]);
        kj_map_close(&s->idxs[i]);
    }
    kj_arena_release(&s->arena);
    free(s->folder);
    free(s->v);
    free(s->bins);
    free(s->idxs);
    free(s);
}

/* ---- looking ---- */

size_t kj_shards_count(const struct kj_shards *s)
{
    return s->n;
}

const struct kj_shard *kj_shards_get(const struct kj_shards *s, size_t i)
{
    return &s->v[i];
}

uint64_t kj_shards_tokens(const struct kj_shards *s)
{
    return s->tokens;
}

uint64_t kj_shards_documents(const struct kj_shards *s)
{
    return s->documents;
}

uint32_t kj_shards_vocab_size(const struct kj_shards *s)
{
    return s->v[0].vocab_size;
}

uint32_t kj_shards_eos(const struct kj_shards *s)
{
    return s->v[0].eos;
}

const char *kj_shards_tokenizer_hash(const struct kj_shards *s)
{
    return s->v[0].tokenizer_hash;
}

/* The last shard whose first token (document) is not behind x. Shards without
 * any share their number with the next one, which is then the one found. */
static size_t shard_of(const struct kj_shards *s, uint64_t x, bool documents)
{
    size_t lo = 0, hi = s->n;
    while (hi - lo > 1) {
        size_t mid = lo + (hi - lo) / 2;
        if ((documents ? s->v[mid].first_document : s->v[mid].first_token) <= x)
            lo = mid;
        else
            hi = mid;
    }
    return lo;
}

void kj_shards_copy(const struct kj_shard *r, uint64_t at, uint32_t *out, size_t n)
{
    const unsigned char *p = r->bin + at * r->idx.width;
    if (r->idx.width == 4) {
        memcpy(out, p, 4 * n);
        return;
    }
    for (size_t i = 0; i < n; i++, p += 2)
        out[i] = (uint32_t)p[0] | (uint32_t)p[1] << 8;
}

size_t kj_shards_read(const struct kj_shards *s, uint64_t at, uint32_t *out, size_t n)
{
    size_t done = 0;
    if (at >= s->tokens)
        return 0;
    for (size_t i = shard_of(s, at, false); i < s->n && done < n; i++) {
        const struct kj_shard *r = &s->v[i];
        uint64_t from = at + done - r->first_token;
        uint64_t k = r->tokens - from;
        if (k > n - done)
            k = n - done;
        if (k)
            kj_shards_copy(r, from, out + done, (size_t)k);
        done += (size_t)k;
    }
    return done;
}

uint64_t kj_shards_doc_start(const struct kj_shards *s, uint64_t d)
{
    if (d >= s->documents)
        return s->tokens;
    const struct kj_shard *r = &s->v[shard_of(s, d, true)];
    return r->first_token + kj_idx_doc_start(&r->idx, d - r->first_document);
}

uint64_t kj_shards_doc_at(const struct kj_shards *s, uint64_t token)
{
    const struct kj_shard *r = &s->v[shard_of(s, token, false)];
    uint64_t lo = 0, hi = r->documents, at = token - r->first_token;
    while (hi - lo > 1) {
        uint64_t mid = lo + (hi - lo) / 2;
        if (kj_idx_doc_start(&r->idx, mid) <= at)
            lo = mid;
        else
            hi = mid;
    }
    return r->first_document + lo;
}
