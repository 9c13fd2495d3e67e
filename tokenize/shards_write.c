/* shards_write.c - Megatron shards with manifest and document index.
 *
 * Order of appearance: a shard's .bin and .idx are renamed into place when the
 * shard is full; the document index when all shards are; the manifest last.
 * So a folder with a manifest is whole, and one without is worthless.
 */
#include "tokenize/shards.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/json.h"
#include "base/output.h"
#include "base/shards.h"

/* Megatron's own rule for the width of a token. */
#define UINT16_BELOW 65500u
/* Pairs of source and language counted by name in a shard; further ones are
 * counted as source "(other)". */
#define COUNTS_MAX   4096
#define MANIFEST_MAX ((size_t)1 << 30)

#define OFF(f) offsetof(struct kj_shard_opts, f)
const struct kj_opt kj_shard_opts_table[] = {
    {"shard_tokens", 0, KJ_OPT_INT, OFF(shard_tokens), "N", "most tokens in a shard",
     "100000000", 1, 0x1p40},
    {"format", 0, KJ_OPT_ENUM, OFF(format), "megatron", "form of the shards",
     "megatron", 0, 0},
    {0},
};
#undef OFF

struct tally {
    char *source, *language;
    uint64_t documents, tokens;
};

struct kj_shard_writer {
    const struct kj_tokenize *c;
    const char *dir, *tool;
    uint64_t shard_tokens;
    char config_hash[40];
    unsigned width;
    struct kj_output *docs;
    struct kj_buf manifest, line;
    size_t shard;          /* number of the one being written, or the next */
    struct kj_output *bin; /* NULL: none open */
    uint64_t tokens;       /* in it */
    int32_t *lengths;
    size_t n, cap;
    uint64_t chain; /* hash over its lines of the document index */
    char *first_id, *last_id;
    struct tally *tallies;
    size_t n_tallies, last_tally;
    struct kj_shard_totals totals;
};

static char *path_of(const struct kj_shard_writer *w, const char *name)
{
    size_t n = strlen(w->dir) + strlen(name) + 2;
    char *p = kj_xmalloc(n);
    snprintf(p, n, "%s/%s", w->dir, name);
    return p;
}

static void shard_name(char out[32], size_t i, const char *suffix)
{
    snprintf(out, 32, "shard-%05zu.%s", i, suffix);
}

static bool forget(const struct kj_shard_writer *w, const char *name)
{
    char *p = path_of(w, name);
    bool was = unlink(p) == 0;
    free(p);
    return was;
}

static void forget_shards(const struct kj_shard_writer *w)
{
    for (size_t i = 0;; i++) {
        char bin[32], idx[32];
        shard_name(bin, i, "bin");
        shard_name(idx, i, "idx");
        bool a = forget(w, bin), b = forget(w, idx);
        if (!a && !b)
            break;
    }
}

static void writer_free(struct kj_shard_writer *w)
{
    for (size_t i = 0; i < w->n_tallies; i++) {
        free(w->tallies[i].source);
        free(w->tallies[i].language);
    }
    free(w->tallies);
    free(w->lengths);
    free(w->first_id);
    free(w->last_id);
    kj_buf_release(&w->manifest);
    kj_buf_release(&w->line);
    free(w);
}

/* What decides the bytes besides the documents; paths do not. */
static void hash_config(struct kj_shard_writer *w)
{
    struct kj_buf b;
    char hex[33];
    kj_buf_init(&b, 4096);
    kj_buf_printf(&b,
                  "format: megatron\ntokenizer_hash: %s\neos: %u\nno_special: %d\n"
                  "template: %d\nshard_tokens: %ju\n",
                  kj_tok_hash(w->c->tok), w->c->eos_id, w->c->no_special,
                  w->c->use_template, (uintmax_t)w->shard_tokens);
    kj_hash128_hex(kj_hash128(b.p, b.n), hex);
    snprintf(w->config_hash, sizeof w->config_hash, "xxh128:%s", hex);
    kj_buf_release(&b);
}

int kj_shard_writer_open(struct kj_shard_writer **out, const struct kj_tokenize *c,
                         const struct kj_shard_opts *o, const char *dir,
                         const char *tool, bool force, struct kj_err *err)
{
    struct kj_shard_writer *w = kj_xcalloc(1, sizeof *w);
    w->c = c;
    w->dir = dir;
    w->tool = tool;
    w->shard_tokens = (uint64_t)o->shard_tokens;
    hash_config(w);
    w->width = kj_tok_vocab_size(c->tok) < UINT16_BELOW ? 2 : 4;
    kj_buf_init(&w->manifest, MANIFEST_MAX);
    kj_buf_init(&w->line, MANIFEST_MAX);
    int rc = kj_output_mkdirs(dir, err);
    if (rc == KJ_OK) {
        char *manifest = path_of(w, "manifest.jsonl");
        bool there = access(manifest, F_OK) == 0;
        if (there && !force)
            rc = kj_err_set(err, KJ_USAGE, "%s exists already; --force starts over",
                            manifest);
        else if (there && unlink(manifest) != 0)
            rc = kj_err_errno(err, KJ_FAIL, "cannot remove %s", manifest);
        free(manifest);
    }
    if (rc == KJ_OK) {
        forget_shards(w);
        char *docs = path_of(w, "docs.jsonl.zst");
        rc = kj_output_open(&w->docs, docs, err);
        free(docs);
    }
    if (rc != KJ_OK) {
        writer_free(w);
        return rc;
    }
    *out = w;
    return KJ_OK;
}

/* ---- one shard ---- */

static int shard_begin(struct kj_shard_writer *w, struct kj_err *err)
{
    char name[32];
    shard_name(name, w->shard, "bin");
    char *path = path_of(w, name);
    int rc = kj_output_open(&w->bin, path, err);
    free(path);
    w->tokens = w->chain = 0;
    w->n = 0;
    return rc;
}

static int put64(struct kj_output *o, uint64_t v, struct kj_err *err)
{
    return kj_output_write(o, (const char *)&v, 8, err);
}

static int write_index(struct kj_shard_writer *w, const char *path, struct kj_err *err)
{
    struct kj_output *o;
    unsigned char dtype = w->width == 2 ? KJ_IDX_UINT16 : KJ_IDX_INT32;
    uint64_t at = 0;
    int rc = kj_output_open(&o, path, err);
    if (rc != KJ_OK)
        return rc;
    rc = kj_output_write(o, "MMIDIDX\0\0", 9, err);
    if (rc == KJ_OK)
        rc = put64(o, 1, err);
    if (rc == KJ_OK)
        rc = kj_output_write(o, (const char *)&dtype, 1, err);
    if (rc == KJ_OK)
        rc = put64(o, w->n, err);
    if (rc == KJ_OK)
        rc = put64(o, w->n + 1, err);
    if (rc == KJ_OK)
        rc = kj_output_write(o, (const char *)w->lengths, w->n * 4, err);
    for (size_t i = 0; i < w->n && rc == KJ_OK; i++) {
        rc = put64(o, at, err);
        at += (uint64_t)w->lengths[i] * w->width;
    }
    for (size_t i = 0; i <= w->n && rc == KJ_OK; i++)
        rc = put64(o, i, err); /* one sequence is one document */
    if (rc == KJ_OK)
        return kj_output_commit(o, err);
    kj_output_abort(o);
    return rc;
}

static int by_name(const void *a, const void *b)
{
    const struct tally *x = a, *y = b;
    int c = strcmp(x->source, y->source);
    return c ? c : strcmp(x->language, y->language);
}

static void key_str(struct kj_buf *b, const char *key, const char *value)
{
    kj_buf_printf(b, "\"%s\":", key);
    kj_json_put_str(b, value, strlen(value));
    kj_buf_addc(b, ',');
}

static int row(struct kj_shard_writer *w, const char *bin, const char *idx,
               const char *hash, const char *idx_hash, int64_t idx_bytes,
               struct kj_err *err)
{
    struct kj_buf *b = &w->manifest;
    kj_buf_addz(b, "{\"format\":\"megatron\",");
    key_str(b, "path", bin);
    key_str(b, "index", idx);
    kj_buf_printf(b, "\"bytes\":%ju,\"index_bytes\":%jd,",
                  (uintmax_t)w->tokens * w->width, (intmax_t)idx_bytes);
    key_str(b, "hash", hash);
    key_str(b, "index_hash", idx_hash);
    kj_buf_printf(b, "\"docs_hash\":\"xxh64-chain:%016jx\",", (uintmax_t)w->chain);
    kj_buf_printf(b, "\"tokens\":%ju,\"documents\":%zu,", (uintmax_t)w->tokens, w->n);
    key_str(b, "dtype", w->width == 2 ? "uint16" : "int32");
    key_str(b, "tokenizer", kj_tok_name(w->c->tok));
    key_str(b, "tokenizer_hash", kj_tok_hash(w->c->tok));
    kj_buf_printf(b, "\"eos\":%u,\"vocab_size\":%u,", w->c->eos_id,
                  kj_tok_vocab_size(w->c->tok));
    key_str(b, "first_id", w->first_id);
    key_str(b, "last_id", w->last_id);
    kj_buf_addz(b, "\"counts\":[");
    qsort(w->tallies, w->n_tallies, sizeof *w->tallies, by_name);
    for (size_t i = 0; i < w->n_tallies; i++) {
        struct tally *t = &w->tallies[i];
        kj_buf_addz(b, i ? ",{" : "{");
        key_str(b, "source", t->source);
        key_str(b, "language", t->language);
        kj_buf_printf(b, "\"documents\":%ju,\"tokens\":%ju}", (uintmax_t)t->documents,
                      (uintmax_t)t->tokens);
    }
    kj_buf_addz(b, "],");
    key_str(b, "config_hash", w->config_hash);
    kj_buf_addz(b, "\"tool\":");
    kj_json_put_str(b, w->tool, strlen(w->tool));
    if (kj_buf_addz(b, "}\n") != KJ_OK)
        return kj_err_set(err, KJ_FAIL, "the manifest grew too large");
    return KJ_OK;
}

static int shard_end(struct kj_shard_writer *w, struct kj_err *err)
{
    char bin[32], idx[32], hash[40], idx_hash[40];
    int64_t bytes, idx_bytes = 0;
    shard_name(bin, w->shard, "bin");
    shard_name(idx, w->shard, "idx");
    char *bin_path = path_of(w, bin), *idx_path = path_of(w, idx);
    struct kj_output *o = w->bin;
    w->bin = NULL;
    int rc = kj_output_commit(o, err);
    if (rc == KJ_OK)
        rc = write_index(w, idx_path, err);
    if (rc == KJ_OK)
        rc = kj_hash_file(bin_path, hash, &bytes, err);
    if (rc == KJ_OK)
        rc = kj_hash_file(idx_path, idx_hash, &idx_bytes, err);
    if (rc == KJ_OK)
        rc = row(w, bin, idx, hash, idx_hash, idx_bytes, err);
    free(bin_path);
    free(idx_path);
    for (size_t i = 0; i < w->n_tallies; i++) {
        free(w->tallies[i].source);
        free(w->tallies[i].language);
    }
    w->n_tallies = w->last_tally = 0;
    w->shard++;
    w->totals.shards++;
    return rc;
}

/* ---- documents ---- */

static void set_id(char **to, struct kj_str id)
{
    free(*to);
    *to = kj_xstrndup(id.p ? id.p : "", id.n);
}

static bool tally_is(const struct tally *t, struct kj_str source,
                     struct kj_str language)
{
    return kj_str_is(source, t->source) && kj_str_is(language, t->language);
}

static void count(struct kj_shard_writer *w, const struct kj_doc *d, uint64_t tokens)
{
    struct kj_str source = d->source.p ? d->source : KJ_STR("");
    struct kj_str language = d->language.p ? d->language : KJ_STR("");
    size_t i = w->last_tally;
    if (i >= w->n_tallies || !tally_is(&w->tallies[i], source, language))
        for (i = 0; i < w->n_tallies; i++)
            if (tally_is(&w->tallies[i], source, language))
                break;
    if (i == w->n_tallies && i >= COUNTS_MAX) {
        source = KJ_STR("(other)");
        language = KJ_STR("");
        for (i = COUNTS_MAX; i < w->n_tallies; i++)
            if (tally_is(&w->tallies[i], source, language))
                break;
    }
    if (i == w->n_tallies) {
        if (!w->tallies)
            w->tallies = kj_xcalloc(COUNTS_MAX + 1, sizeof *w->tallies);
        w->tallies[w->n_tallies++] =
            (struct tally){.source = kj_xstrndup(source.p, source.n),
                           .language = kj_xstrndup(language.p, language.n)};
    }
    w->tallies[i].documents++;
    w->tallies[i].tokens += tokens;
    w->last_tally = i;
}

static int doc_line(struct kj_shard_writer *w, const struct kj_doc *d, uint64_t tokens,
                    struct kj_err *err)
{
    struct kj_buf *b = &w->line;
    kj_buf_reset(b);
    kj_buf_printf(b, "{\"shard\":%zu,\"first\":%ju,\"tokens\":%ju,\"id\":", w->shard,
                  (uintmax_t)w->tokens, (uintmax_t)tokens);
    kj_json_put_str(b, d->id.p, d->id.n);
    if (d->url.n) {
        kj_buf_addz(b, ",\"url\":");
        kj_json_put_str(b, d->url.p, d->url.n);
    }
    if (d->warc.file.n) {
        kj_buf_addz(b, ",\"warc\":{\"file\":");
        kj_json_put_str(b, d->warc.file.p, d->warc.file.n);
        kj_buf_printf(b, ",\"offset\":%jd,\"length\":%jd}", (intmax_t)d->warc.offset,
                      (intmax_t)d->warc.length);
    }
    kj_buf_addc(b, '}');
    w->chain = kj_hash64(b->p, b->n, w->chain);
    kj_buf_addc(b, '\n');
    return kj_output_write(w->docs, b->p, b->n, err);
}

static int write_ids(struct kj_shard_writer *w, const uint32_t *ids, size_t n,
                     struct kj_err *err)
{
    uint16_t half[4096];
    if (w->width == 4)
        return kj_output_write(w->bin, (const char *)ids, 4 * n, err);
    while (n) {
        size_t k = n < 4096 ? n : 4096;
        for (size_t i = 0; i < k; i++)
            half[i] = (uint16_t)ids[i];
        int rc = kj_output_write(w->bin, (const char *)half, 2 * k, err);
        if (rc != KJ_OK)
            return rc;
        ids += k;
        n -= k;
    }
    return KJ_OK;
}

int kj_shard_writer_add(struct kj_shard_writer *w, const struct kj_doc *d,
                        const uint32_t *ids, size_t n, struct kj_err *err)
{
    uint64_t tokens = (uint64_t)n + 1;
    int rc = KJ_OK;
    if (tokens > INT32_MAX)
        return kj_err_set(err, KJ_FAIL, "a document of %zu tokens", n);
    if (w->bin && w->tokens + tokens > w->shard_tokens)
        rc = shard_end(w, err);
    if (rc == KJ_OK && !w->bin)
        rc = shard_begin(w, err);
    if (rc == KJ_OK)
        rc = doc_line(w, d, tokens, err);
    if (rc == KJ_OK)
        rc = write_ids(w, ids, n, err);
    if (rc == KJ_OK)
        rc = write_ids(w, &w->c->eos_id, 1, err);
    if (rc != KJ_OK)
        return rc;
    if (w->n == w->cap) {
        w->cap = w->cap ? 2 * w->cap : 4096;
        w->lengths = kj_xrealloc(w->lengths, w->cap * sizeof *w->lengths);
    }
    if (w->n == 0)
        set_id(&w->first_id, d->id);
    set_id(&w->last_id, d->id);
    w->lengths[w->n++] = (int32_t)tokens;
    count(w, d, tokens);
    w->tokens += tokens;
    w->totals.documents++;
    w->totals.tokens += tokens;
    return KJ_OK;
}

static int sink_write(void *self, struct kj_batch *b, struct kj_err *err)
{
    for (size_t i = 0; i < b->n; i++) {
        const struct kj_tok_doc *t = b->docs[i].aux;
        if (!kj_doc_kept(&b->docs[i]))
            continue;
        if (!t)
            return kj_err_set(err, KJ_FATAL, "a document reached the shards unencoded");
        int rc = kj_shard_writer_add(self, &b->docs[i], t->ids, t->n, err);
        if (rc != KJ_OK)
            return rc;
    }
    return KJ_OK;
}

struct kj_sink kj_shard_writer_sink(struct kj_shard_writer *w)
{
    return (struct kj_sink){.self = w, .write = sink_write};
}

int kj_shard_writer_commit(struct kj_shard_writer *w, struct kj_shard_totals *t,
                           struct kj_err *err)
{
    int rc = w->bin ? shard_end(w, err) : KJ_OK;
    if (rc == KJ_OK && !w->totals.documents)
        rc = kj_err_set(err, KJ_FAIL, "there is no document to write");
    if (rc == KJ_OK) {
        struct kj_output *docs = w->docs;
        w->docs = NULL;
        rc = kj_output_commit(docs, err);
    }
    if (rc == KJ_OK) {
        char *path = path_of(w, "manifest.jsonl");
        rc = kj_output_file(path, w->manifest.p, w->manifest.n, err);
        free(path);
    }
    if (rc != KJ_OK) {
        kj_shard_writer_abort(w);
        return rc;
    }
    if (t)
        *t = w->totals;
    writer_free(w);
    return KJ_OK;
}

void kj_shard_writer_abort(struct kj_shard_writer *w)
{
    if (!w)
        return;
    kj_output_abort(w->bin);
    if (w->docs)
        kj_output_abort(w->docs);
    else
        forget(w, "docs.jsonl.zst");
    forget_shards(w);
    writer_free(w);
}
