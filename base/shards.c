/* shards.c - validates and maps token shards.
 *
 * Nothing of a file is used before it was compared with what is known
 * otherwise: an index with the size of its .bin, a manifest row with the
 * index. The arrays of an index start at byte 34 and are not aligned, so they
 * are read with memcpy; all numbers are little-endian, as is every machine
 * that this program supports.
 */
#include "base/shards_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/input.h"
#include "base/json.h"

#define IDX_HEAD     34
#define MANIFEST_MAX ((size_t)1 << 30)

static int32_t get32(const unsigned char *p)
{
    int32_t v;
    memcpy(&v, p, 4);
    return v;
}

static int64_t get64(const unsigned char *p)
{
    int64_t v;
    memcpy(&v, p, 8);
    return v;
}

/* ---- index ---- */

static int idx_check(struct kj_idx *x, uint64_t bin_bytes, struct kj_err *err)
{
    uint64_t at = 0;
    for (uint64_t i = 0; i < x->sequences; i++) {
        int32_t len = get32(x->lengths + 4 * i);
        if (len < 0)
            return kj_err_set(err, KJ_FAIL, "sequence %ju: negative length",
                              (uintmax_t)i);
        if (get64(x->pointers + 8 * i) != (int64_t)at)
            return kj_err_set(err, KJ_FAIL, "sequence %ju: its pointer is %jd, not %ju",
                              (uintmax_t)i, (intmax_t)get64(x->pointers + 8 * i),
                              (uintmax_t)at);
        at += (uint64_t)len * x->width;
        if (at > bin_bytes)
            return kj_err_set(err, KJ_FAIL, "sequence %ju: ends behind the .bin",
                              (uintmax_t)i);
    }
    if (at != bin_bytes)
        return kj_err_set(err, KJ_FAIL, "sequences hold %ju bytes, the .bin %ju",
                          (uintmax_t)at, (uintmax_t)bin_bytes);
    x->tokens = at / x->width;
    int64_t before = 0;
    for (uint64_t d = 0; d <= x->documents; d++) {
        int64_t b = get64(x->bounds + 8 * d);
        if (b < before || (d == 0 && b != 0) || (uint64_t)b > x->sequences)
            return kj_err_set(err, KJ_FAIL, "document %ju: begins at sequence %jd",
                              (uintmax_t)d, (intmax_t)b);
        before = b;
    }
    if ((uint64_t)before != x->sequences)
        return kj_err_set(err, KJ_FAIL, "the last document ends at sequence %jd of %ju",
                          (intmax_t)before, (uintmax_t)x->sequences);
    return KJ_OK;
}

int kj_idx_parse(struct kj_idx *x, const void *bytes, size_t n, uint64_t bin_bytes,
                 struct kj_err *err)
{
    const unsigned char *p = bytes;
    memset(x, 0, sizeof *x);
    if (n < IDX_HEAD || memcmp(p, "MMIDIDX\0\0", 9) != 0)
        return kj_err_set(err, KJ_FAIL, "not a Megatron index");
    if (get64(p + 9) != 1)
        return kj_err_set(err, KJ_FAIL, "index version %jd, not 1",
                          (intmax_t)get64(p + 9));
    x->dtype = p[17];
    if (x->dtype != KJ_IDX_INT32 && x->dtype != KJ_IDX_UINT16)
        return kj_err_set(err, KJ_FAIL, "dtype %d is neither uint16 (8) nor int32 (4)",
                          x->dtype);
    x->width = x->dtype == KJ_IDX_UINT16 ? 2 : 4;
    uint64_t s = (uint64_t)get64(p + 18), d = (uint64_t)get64(p + 26);
    if (d == 0 || s > n / 12 || d > n / 8 || IDX_HEAD + 12 * s + 8 * d != n)
        return kj_err_set(
            err, KJ_FAIL,
            "%ju sequences and %ju document indices do not make %zu bytes",
            (uintmax_t)s, (uintmax_t)d, n);
    x->sequences = s;
    x->documents = d - 1;
    x->lengths = p + IDX_HEAD;
    x->pointers = x->lengths + 4 * s;
    x->bounds = x->pointers + 8 * s;
    return idx_check(x, bin_bytes, err);
}

uint64_t kj_idx_doc_start(const struct kj_idx *x, uint64_t d)
{
    uint64_t seq = d < x->documents ? (uint64_t)get64(x->bounds + 8 * d) : x->sequences;
    if (seq >= x->sequences)
        return x->tokens;
    return (uint64_t)get64(x->pointers + 8 * seq) / x->width;
}

/* ---- manifest ---- */

static int map_file(struct kj_shards_map *m, const char *path, struct kj_err *err)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC), rc = KJ_OK;
    if (fd < 0) {
        kj_err_errno(err, KJ_FAIL, "cannot open");
        kj_err_where(err, path, -1);
        return KJ_FAIL;
    }
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        rc = kj_err_set(err, KJ_FAIL, "not a regular file");
    } else if (st.st_size > 0) {
        void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
        if (p == MAP_FAILED)
            rc = kj_err_errno(err, KJ_FAIL, "cannot map");
        else
            *m = (struct kj_shards_map){p, (size_t)st.st_size};
    }
    close(fd);
    if (rc != KJ_OK)
        kj_err_where(err, path, -1);
    return rc;
}

static void unmap(struct kj_shards_map *m)
{
    if (m->p)
        munmap(m->p, m->n);
    *m = (struct kj_shards_map){0};
}

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
        c->documents = row_num(&list->items[i], "documents", INT64_MAX, err);
        c->tokens = row_num(&list->items[i], "tokens", INT64_MAX, err);
        documents += c->documents;
        tokens += c->tokens;
    }
    if (documents != r->documents || tokens != r->tokens)
        kj_err_set(err, KJ_FAIL, "counts: add up to %ju documents and %ju tokens",
                   (uintmax_t)documents, (uintmax_t)tokens);
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
    if (!kj_str_is(kj_jstr(kj_jget(v, "format")), "megatron"))
        return kj_err_set(err, KJ_FAIL, "format: not \"megatron\"");
    r->path = row_str(s, v, "path", err);
    r->index = row_str(s, v, "index", err);
    r->hash = row_str(s, v, "hash", err);
    r->index_hash = row_str(s, v, "index_hash", err);
    r->docs_hash = row_str(s, v, "docs_hash", err);
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
    if (err->rc == KJ_OK && (!inside(r->path) || !inside(r->index)))
        kj_err_set(err, KJ_FAIL, "path: leaves the folder");
    if (err->rc == KJ_OK && r->eos >= r->vocab_size)
        kj_err_set(err, KJ_FAIL, "eos: not below vocab_size");
    return err->rc;
}

char *kj_shards_path(const struct kj_shards *s, const char *name)
{
    size_t n = strlen(s->folder) + strlen(name) + 2;
    char *p = kj_xmalloc(n);
    snprintf(p, n, "%s/%s", s->folder, name);
    return p;
}

static int shard_open(struct kj_shards *s, size_t i, struct kj_err *err)
{
    struct kj_shard *r = &s->v[i];
    char *bin = kj_shards_path(s, r->path), *idx = kj_shards_path(s, r->index);
    int rc = map_file(&s->bins[i], bin, err);
    if (rc == KJ_OK)
        rc = map_file(&s->idxs[i], idx, err);
    if (rc == KJ_OK && s->bins[i].n != r->bytes) {
        rc = kj_err_set(err, KJ_FAIL, "%zu bytes, by the manifest %ju", s->bins[i].n,
                        (uintmax_t)r->bytes);
        kj_err_where(err, bin, -1);
    }
    if (rc == KJ_OK) {
        rc = kj_idx_parse(&r->idx, s->idxs[i].p, s->idxs[i].n, r->bytes, err);
        if (rc == KJ_OK &&
            strcmp(r->dtype, r->idx.width == 2 ? "uint16" : "int32") != 0)
            rc = kj_err_set(err, KJ_FAIL, "dtype code %d, by the manifest %s",
                            r->idx.dtype, r->dtype);
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
    r->bin = s->bins[i].p;
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
        s->bins[s->n] = s->idxs[s->n] = (struct kj_shards_map){0};
        rc = e ? kj_json_parse(j, p, n, &v, &own)
               : kj_err_set(&own, KJ_FAIL, "the last line is cut short");
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
        unmap(&s->bins[i]);
        unmap(&s->idxs[i]);
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
