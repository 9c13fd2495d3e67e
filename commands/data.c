/* data.c - shards and orders behind one face. */
#include "commands/data.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"

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

int kj_data_seen(const struct kj_data *d, uint64_t seed, bool shuffle, uint64_t rows,
                 size_t len, uint64_t *tokens, struct kj_err *err)
{
    struct kj_docs docs = kj_data_docs(d);
    struct kj_loader l;
    int rc = kj_loader_init(&l, &docs, seed, shuffle, err);
    if (rc == KJ_OK && docs.group)
        kj_loader_seen(&l, rows, len, tokens);
    kj_loader_release(&l);
    return rc;
}
