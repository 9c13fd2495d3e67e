/* data.c - shards and orders behind one face. */
#include "commands/data.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"
#include "trainer/stages.h"

int kj_data_open(struct kj_data *d, const char *path, struct kj_err *err)
{
    memset(d, 0, sizeof *d);
    if (!kj_order_is(path)) {
        int rc = kj_shards_open(&d->shards, path, err);
        d->first = d->shards;
        d->manifest = path;
        d->tokens = rc == KJ_OK ? kj_shards_tokens(d->shards) : 0;
        return rc;
    }
    int rc = kj_order_open(&d->order, path, err);
    if (rc == KJ_OK) {
        d->first = kj_order_set(d->order, 0);
        d->manifest = kj_order_manifest(d->order, 0);
        d->tokens = kj_order_tokens(d->order);
    }
    return rc;
}

void kj_data_close(struct kj_data *d)
{
    kj_shards_close(d->shards);
    kj_order_close(d->order);
    memset(d, 0, sizeof *d);
}

struct kj_docs kj_data_docs(const struct kj_data *d)
{
    return d->order ? kj_docs_order(d->order) : kj_docs_shards(d->shards);
}

static void add_shards(const struct kj_shards *s, struct kj_buf *b)
{
    kj_buf_addz(b, kj_shards_tokenizer_hash(s));
    for (size_t i = 0; i < kj_shards_count(s); i++)
        kj_buf_addz(b, kj_shards_get(s, i)->hash);
}

void kj_data_hash(const struct kj_data *d, char out[40])
{
    struct kj_buf b;
    char hex[33];
    kj_buf_init(&b, (size_t)1 << 30);
    if (d->shards)
        add_shards(d->shards, &b);
    for (size_t i = 0; d->order && i < kj_order_sets(d->order); i++)
        add_shards(kj_order_set(d->order, i), &b);
    if (d->order)
        kj_buf_addz(&b, kj_order_hash(d->order));
    kj_hash128_hex(kj_hash128(b.p, b.n), hex);
    snprintf(out, 40, "xxh128:%s", hex);
    kj_buf_release(&b);
}

static bool of_one_tokenizer(const struct kj_shards *a, const struct kj_shards *b)
{
    return strcmp(kj_shards_tokenizer_hash(a), kj_shards_tokenizer_hash(b)) == 0 &&
           kj_shards_eos(a) == kj_shards_eos(b);
}

static int another_tokenizer(const char *a, const char *b, struct kj_err *err)
{
    return kj_err_set(err, KJ_USAGE,
                      "%s and %s are of different tokenizers or end tokens", a, b);
}

int kj_datas_open(struct kj_datas *d, struct kj_run *r, bool here, struct kj_err *err)
{
    memset(d, 0, sizeof *d);
    int rc = kj_stages_sets(r, !here, err);
    if (rc)
        return rc;
    d->v = kj_xcalloc(r->n_sets, sizeof *d->v);
    d->docs = kj_xcalloc(r->n_sets, sizeof *d->docs);
    for (size_t i = 0; i < r->n_sets && rc == KJ_OK; i++) {
        struct kj_data *v = &d->v[d->n++];
        const char *path = r->sets[i];
        if (here && (!path || access(path, F_OK) != 0))
            continue;
        rc = kj_data_open(v, path, err);
        if (rc)
            break;
        const struct kj_shards *a = d->v[0].first, *b = v->first;
        if (a && !of_one_tokenizer(a, b))
            rc = another_tokenizer(r->sets[0], path, err);
        d->docs[i] = kj_data_docs(v);
        d->docs[i].name = path;
        d->tokens += v->tokens;
    }
    return rc;
}

int kj_datas_held(struct kj_datas *d, const struct kj_run *r,
                  const struct kj_datas *trained, struct kj_err *err)
{
    size_t n = r->validation.data.n;
    int rc = KJ_OK;
    memset(d, 0, sizeof *d);
    d->v = kj_xcalloc(n + 1, sizeof *d->v);
    d->docs = kj_xcalloc(n + 1, sizeof *d->docs);
    for (size_t i = 0; i < n && rc == KJ_OK; i++) {
        struct kj_data *v = &d->v[d->n++];
        const char *path = r->validation.data.v[i];
        rc = kj_data_open(v, path, err);
        if (rc == KJ_OK && !of_one_tokenizer(trained->v[0].first, v->first))
            rc = another_tokenizer(r->sets[0], path, err);
        if (rc)
            kj_err_context(err, "validation.data");
        else
            d->docs[i] = kj_data_docs(v);
        d->docs[i].name = path;
        d->tokens += v->tokens;
    }
    return rc;
}

void kj_datas_close(struct kj_datas *d)
{
    for (size_t i = 0; i < d->n; i++)
        kj_data_close(&d->v[i]);
    free(d->v);
    free(d->docs);
    memset(d, 0, sizeof *d);
}

void kj_datas_hash(const struct kj_datas *d, char out[40])
{
    struct kj_buf b;
    char hex[33];
    kj_data_hash(&d->v[0], out);
    if (d->n == 1)
        return;
    kj_buf_init(&b, 1 << 20);
    for (size_t i = 0; i < d->n; i++) {
        kj_data_hash(&d->v[i], out);
        kj_buf_addz(&b, out);
    }
    kj_hash128_hex(kj_hash128(b.p, b.n), hex);
    snprintf(out, 40, "xxh128:%s", hex);
    kj_buf_release(&b);
}
