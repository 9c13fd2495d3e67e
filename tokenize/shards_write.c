/* shards_write.c - shards with manifest and document index.
 *
 * Order of appearance: a shard's files are renamed into place when the
 * shard is full; the document index when all shards are; the manifest last.
 * So a folder with a manifest is whole, and one without is worthless.
 */
#include "tokenize/shards.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/json.h"
#include "base/output.h"
#include "base/shards.h"
#include "base/sorter.h"
#include "tokenize/shards_write.h"

/* What a shard, its row and the document index hold of a document. */
struct item {
    struct kj_str id, source, language, band;
    struct kj_str rest; /* its line in the index, from "id" on */
    uint64_t sum;       /* kj_doc_checksum */
    const void *tokens; /* EOS included */
    size_t n;
};

/* ---- one shard ---- */

static int shard_begin(struct kj_shard_writer *w, struct kj_err *err)
{
    int rc = kj_shard_file_begin(&w->file, w->shard, err);
    /* Its lines begin a frame, so that a reader can go there at once. */
    if (rc == KJ_OK && w->shard)
        rc = kj_output_cut(w->docs, err);
    w->docs_offset = kj_output_stored(w->docs);
    w->chain = w->sum = 0;
    return rc;
}

static int by_name(const void *a, const void *b)
{
    const struct kj_shard_tally *x = a, *y = b;
    int c = strcmp(x->source, y->source);
    c = c ? c : strcmp(x->language, y->language);
    return c ? c : strcmp(x->band, y->band);
}

static void key_str(struct kj_buf *b, const char *key, const char *value)
{
    kj_buf_printf(b, "\"%s\":", key);
    kj_json_put_str(b, value, strlen(value));
    kj_buf_addc(b, ',');
}

static void put_counts(struct kj_shard_writer *w)
{
    struct kj_buf *b = &w->manifest;
    kj_buf_addz(b, "\"counts\":[");
    qsort(w->tallies, w->n_tallies, sizeof *w->tallies, by_name);
    for (size_t i = 0; i < w->n_tallies; i++) {
        struct kj_shard_tally *t = &w->tallies[i];
        kj_buf_addz(b, i ? ",{" : "{");
        key_str(b, "source", t->source);
        key_str(b, "language", t->language);
        key_str(b, "band", t->band);
        kj_buf_printf(b, "\"documents\":%ju,\"tokens\":%ju}", (uintmax_t)t->documents,
                      (uintmax_t)t->tokens);
    }
    kj_buf_addz(b, "],");
}

static int row(struct kj_shard_writer *w, struct kj_err *err)
{
    struct kj_buf *b = &w->manifest;
    const struct kj_shard_file *f = &w->file;
    static const char *const wide[] = {"int32", "uint32", "uint32"};
    size_t from = b->n;
    kj_buf_addc(b, '{');
    key_str(b, "format", kj_shard_formats[f->format]);
    key_str(b, "path", f->bin_name);
    key_str(b, "index", f->idx_name);
    kj_buf_printf(b, "\"bytes\":%jd,\"index_bytes\":%jd,", (intmax_t)f->bin_bytes,
                  (intmax_t)f->idx_bytes);
    key_str(b, "hash", f->bin_hash);
    key_str(b, "index_hash", f->idx_hash);
    if (f->note_name[0]) {
        key_str(b, "metadata", f->note_name);
        key_str(b, "metadata_hash", f->note_hash);
    }
    kj_buf_printf(b, "\"docs_hash\":\"xxh64-chain:%016jx\",\"docs_offset\":%jd,",
                  (uintmax_t)w->chain, (intmax_t)w->docs_offset);
    kj_buf_printf(b, "\"tokens\":%ju,\"documents\":%zu,", (uintmax_t)f->tokens, f->n);
    key_str(b, "dtype", f->width == 2 ? "uint16" : wide[f->format]);
    key_str(b, "tokenizer", kj_tok_name(w->c->tok));
    key_str(b, "tokenizer_hash", kj_tok_hash(w->c->tok));
    kj_buf_printf(b, "\"eos\":%u,\"vocab_size\":%u,", w->c->eos_id,
                  kj_tok_vocab_size(w->c->tok));
    if (w->shuffle < 0)
        kj_buf_addz(b, "\"seed\":null,");
    else
        kj_buf_printf(b, "\"seed\":%jd,", (intmax_t)w->shuffle);
    key_str(b, "first_id", w->first_id);
    key_str(b, "last_id", w->last_id);
    put_counts(w);
    kj_buf_printf(b, "\"parents\":[\"documents:%016jx\"],", (uintmax_t)w->sum);
    key_str(b, "config_hash", w->config_hash);
    kj_buf_addz(b, "\"tool\":");
    kj_json_put_str(b, w->tool, strlen(w->tool));
    if (b->n < b->cap - 64)
        kj_buf_printf(b, ",\"row_hash\":\"xxh64:%016jx\"}\n",
                      (uintmax_t)kj_hash64(b->p + from, b->n - from, 0));
    else
        return kj_err_set(err, KJ_FAIL, "the manifest grew too large");
    return KJ_OK;
}

static int shard_end(struct kj_shard_writer *w, struct kj_err *err)
{
    int rc = kj_shard_file_end(&w->file, err);
    if (rc == KJ_OK)
        rc = row(w, err);
    kj_shard_tallies_forget(w);
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

static bool tally_is(const struct kj_shard_tally *t, const struct item *x)
{
    return kj_str_is(x->source, t->source) && kj_str_is(x->language, t->language) &&
           kj_str_is(x->band, t->band);
}

static void count(struct kj_shard_writer *w, const struct item *of, uint64_t tokens)
{
    struct item x = {.source = of->source, .language = of->language, .band = of->band};
    size_t i = w->last_tally;
    if (i >= w->n_tallies || !tally_is(&w->tallies[i], &x))
        for (i = 0; i < w->n_tallies; i++)
            if (tally_is(&w->tallies[i], &x))
                break;
    if (i == w->n_tallies && i >= KJ_SHARD_COUNTS_MAX) {
        x = (struct item){
            .source = KJ_STR("(other)"), .language = KJ_STR(""), .band = KJ_STR("")};
        for (i = KJ_SHARD_COUNTS_MAX; i < w->n_tallies; i++)
            if (tally_is(&w->tallies[i], &x))
                break;
    }
    if (i == w->n_tallies) {
        if (!w->tallies)
            w->tallies = kj_xcalloc(KJ_SHARD_COUNTS_MAX + 1, sizeof *w->tallies);
        w->tallies[w->n_tallies++] =
            (struct kj_shard_tally){.source = kj_xstrndup(x.source.p, x.source.n),
                                    .language = kj_xstrndup(x.language.p, x.language.n),
                                    .band = kj_xstrndup(x.band.p, x.band.n)};
    }
    w->tallies[i].documents++;
    w->tallies[i].tokens += tokens;
    w->last_tally = i;
}

static int doc_line(struct kj_shard_writer *w, const struct item *x, struct kj_err *err)
{
    struct kj_buf *b = &w->line;
    kj_buf_reset(b);
    kj_buf_printf(b, "{\"shard\":%zu,\"first\":%ju,\"tokens\":%zu,", w->shard,
                  (uintmax_t)w->file.tokens, x->n);
    kj_buf_add(b, x->rest.p, x->rest.n);
    w->chain = kj_hash64(b->p, b->n, w->chain);
    kj_buf_addc(b, '\n');
    return kj_output_write(w->docs, b->p, b->n, err);
}

/* One document to the shard at hand, or the next. */
static int emit(struct kj_shard_writer *w, const struct item *x, struct kj_err *err)
{
    int rc = KJ_OK;
    if (w->file.bin && w->file.tokens + x->n > w->shard_tokens)
        rc = shard_end(w, err);
    if (rc == KJ_OK && !w->file.bin)
        rc = shard_begin(w, err);
    if (rc == KJ_OK)
        rc = doc_line(w, x, err);
    if (rc == KJ_OK)
        rc = kj_shard_file_add(&w->file, x->tokens, x->n, err);
    if (rc != KJ_OK)
        return rc;
    if (w->file.n == 1)
        set_id(&w->first_id, x->id);
    set_id(&w->last_id, x->id);
    count(w, x, x->n);
    w->sum += x->sum;
    return KJ_OK;
}

/* ---- what is kept of a document ---- */

static void key_if(struct kj_buf *b, const char *key, struct kj_str v)
{
    if (!v.n)
        return;
    kj_buf_printf(b, ",\"%s\":", key);
    kj_json_put_str(b, v.p, v.n);
}

/* size in the field "cluster" that dedup leaves; 0: none. */
static uint64_t cluster_size(const struct kj_doc *d)
{
    struct kj_str c = kj_doc_get(d, "cluster"), key, value;
    size_t pos = 0;
    while (c.n && kj_json_member(c.p, c.n, &pos, &key, &value) == KJ_OK)
        if (kj_str_is(key, "size") && value.n < 20) {
            char z[20];
            memcpy(z, value.p, value.n);
            z[value.n] = '\0';
            return strtoull(z, NULL, 10);
        }
    return 0;
}

/* The line of the document index behind the place of the tokens. */
static void put_rest(struct kj_buf *b, const struct kj_doc *d, const struct item *x)
{
    uint64_t cluster = cluster_size(d);
    kj_buf_reset(b);
    kj_buf_addz(b, "\"id\":");
    kj_json_put_str(b, d->id.p, d->id.n);
    key_if(b, "url", d->url);
    if (d->warc.file.n) {
        kj_buf_addz(b, ",\"warc\":{\"file\":");
        kj_json_put_str(b, d->warc.file.p, d->warc.file.n);
        kj_buf_printf(b, ",\"offset\":%jd,\"length\":%jd}", (intmax_t)d->warc.offset,
                      (intmax_t)d->warc.length);
    }
    key_if(b, "source", x->source);
    key_if(b, "language", x->language);
    key_if(b, "band", x->band);
    if (cluster)
        kj_buf_printf(b, ",\"cluster\":%ju", (uintmax_t)cluster);
    kj_buf_addc(b, '}');
}

/* The band of a document: the field's text; of a number, how many of the cuts it
 * reaches, or without cuts its whole part. "" where the document has none. */
static struct kj_str band(const struct kj_shard_writer *w, const struct kj_doc *d,
                          char text[32])
{
    if (!w->band)
        return KJ_STR("");
    double v = kj_doc_number(d, w->band);
    if (isnan(v))
        v = kj_doc_signal_get(d, w->band);
    if (!isnan(v)) {
        int64_t k = 0;
        if (!w->n_cuts)
            k = fabs(v) < 1e15 ? (int64_t)floor(v) : 0;
        while ((size_t)k < w->n_cuts && v >= w->cuts[k])
            k++;
        snprintf(text, 32, "%jd", (intmax_t)k);
        return kj_str_z(text);
    }
    struct kj_str s = kj_doc_get(d, w->band);
    if (s.n < 2 || s.p[0] != '"' || memchr(s.p, '\\', s.n))
        return KJ_STR("");
    return (struct kj_str){s.p + 1, s.n - 2};
}

/* ---- the shuffle: documents wait in a sorter ---- */

struct packed {
    uint64_t sum;
    uint32_t n, id, source, language, band, rest;
};

static int later(struct kj_shard_writer *w, const struct item *x, struct kj_err *err)
{
    struct packed h = {x->sum,
                       (uint32_t)x->n,
                       (uint32_t)x->id.n,
                       (uint32_t)x->source.n,
                       (uint32_t)x->language.n,
                       (uint32_t)x->band.n,
                       (uint32_t)x->rest.n};
    struct kj_buf *b = &w->packed;
    kj_buf_reset(b);
    kj_buf_add(b, (const char *)&h, sizeof h);
    kj_buf_add(b, x->id.p, x->id.n);
    kj_buf_add(b, x->source.p, x->source.n);
    kj_buf_add(b, x->language.p, x->language.n);
    kj_buf_add(b, x->band.p, x->band.n);
    kj_buf_add(b, x->rest.p, x->rest.n);
    if (kj_buf_add(b, x->tokens, x->n * w->file.width) != KJ_OK)
        return kj_err_set(err, KJ_FAIL, "a document of %zu tokens", x->n);
    uint64_t key = kj_hash64(x->id.p, x->id.n, (uint64_t)w->shuffle);
    return kj_sorter_add(w->sorter, key, b->p, b->n, err);
}

static struct kj_str take(const char **p, uint32_t n)
{
    struct kj_str s = {*p, n};
    *p += n;
    return s;
}

static int emit_shuffled(struct kj_shard_writer *w, struct kj_err *err)
{
    int rc;
    uint64_t key;
    const char *p;
    size_t n;
    while ((rc = kj_sorter_next(w->sorter, &key, &p, &n, err)) == KJ_OK) {
        struct packed h;
        memcpy(&h, p, sizeof h);
        p += sizeof h;
        struct item x = {.sum = h.sum, .n = h.n};
        x.id = take(&p, h.id);
        x.source = take(&p, h.source);
        x.language = take(&p, h.language);
        x.band = take(&p, h.band);
        x.rest = take(&p, h.rest);
        x.tokens = p;
        rc = emit(w, &x, err);
        if (rc != KJ_OK)
            return rc;
    }
    return rc == KJ_EOF ? KJ_OK : rc;
}

/* Tokens with EOS, in the width of the shards. */
static const char *pack_ids(struct kj_shard_writer *w, const uint32_t *ids, size_t n)
{
    struct kj_buf *b = &w->ids;
    kj_buf_reset(b);
    if (kj_buf_reserve(b, (n + 1) * w->file.width) != KJ_OK)
        return NULL;
    for (size_t i = 0; i <= n; i++) {
        uint32_t id = i < n ? ids[i] : w->c->eos_id;
        if (w->file.width == 4)
            memcpy(b->p + 4 * i, &id, 4);
        else
            memcpy(b->p + 2 * i, &(uint16_t){(uint16_t)id}, 2);
    }
    return b->p;
}

int kj_shard_writer_add(struct kj_shard_writer *w, const struct kj_doc *d,
                        const uint32_t *ids, size_t n, struct kj_err *err)
{
    char text[32];
    struct item x = {.id = d->id, .n = n + 1, .sum = kj_doc_checksum(d)};
    if (n >= INT32_MAX || x.n > kj_shard_file_most(&w->file))
        return kj_err_set(err, KJ_FAIL, "a document of %zu tokens", n);
    x.source = d->source.p ? d->source : KJ_STR("");
    x.language = d->language.p ? d->language : KJ_STR("");
    x.band = band(w, d, text);
    x.tokens = pack_ids(w, ids, n);
    put_rest(&w->rest, d, &x);
    x.rest = (struct kj_str){w->rest.p, w->rest.n};
    if (!x.tokens)
        return kj_err_set(err, KJ_FAIL, "a document of %zu tokens", n);
    w->totals.documents++;
    w->totals.tokens += x.n;
    return w->sorter ? later(w, &x, err) : emit(w, &x, err);
}

static int sink_write(void *self, struct kj_batch *b, struct kj_err *err)
{
    struct kj_shard_writer *w = self;
    for (size_t i = 0; i < b->n; i++) {
        const struct kj_tok_doc *t = b->docs[i].aux;
        w->damaged += b->docs[i].out.damaged;
        if (!kj_doc_kept(&b->docs[i]))
            continue;
        if (!t)
            return kj_err_set(err, KJ_FATAL, "a document reached the shards unencoded");
        int rc = kj_shard_writer_add(self, &b->docs[i], t->ids, t->n, err);
        if (rc != KJ_OK)
            return rc;
    }
    w->input += b->bytes_in;
    if (!w->restart || w->input < (uint64_t)w->restart->every || b->next.offset < 0)
        return KJ_OK;
    return kj_shard_state_save(w, b, err);
}

bool kj_shard_writer_resumed(const struct kj_shard_writer *w, struct kj_shard_place *at)
{
    *at = w->at;
    return w->saved;
}

struct kj_sink kj_shard_writer_sink(struct kj_shard_writer *w)
{
    return (struct kj_sink){.self = w, .write = sink_write};
}

int kj_shard_writer_commit(struct kj_shard_writer *w, struct kj_shard_totals *t,
                           struct kj_err *err)
{
    int rc = w->sorter ? emit_shuffled(w, err) : KJ_OK;
    if (rc == KJ_OK && w->file.bin)
        rc = shard_end(w, err);
    if (rc == KJ_OK && !w->totals.documents)
        rc = kj_err_set(err, KJ_FAIL,
                        "no document is left to write: the input is empty, "
                        "or all of it was dropped");
    if (rc == KJ_OK) {
        struct kj_output *docs = w->docs;
        w->docs = NULL;
        rc = kj_output_commit(docs, err);
    }
    if (rc == KJ_OK) {
        char *path = kj_shard_file_path(&w->file, "manifest.jsonl");
        rc = kj_output_file(path, w->manifest.p, w->manifest.n, err);
        free(path);
    }
    if (rc != KJ_OK) {
        kj_shard_writer_abort(w);
        return rc;
    }
    if (!w->restart || !w->restart->saved)
        kj_shard_states_forget(w->file.dir, NULL);
    if (t)
        *t = w->totals;
    kj_shard_writer_free(w);
    return KJ_OK;
}

void kj_shard_writer_abort(struct kj_shard_writer *w)
{
    if (!w)
        return;
    if (w->saved) {
        kj_output_leave(w->docs);
        kj_shard_writer_free(w);
        return;
    }
    kj_shard_file_release(&w->file, false);
    if (w->docs)
        kj_output_abort(w->docs);
    else
        kj_shard_forget(w, "docs.jsonl.zst");
    kj_shard_file_forget(&w->file, 0, false);
    kj_shard_writer_free(w);
}
