/* data.c - packing documents into batches.
 *
 * The permutation is a four-round Feistel network on the smallest even number
 * of bits that holds n, applied again while the result is n or more (cycle
 * walking: Black and Rogaway 2002); on average fewer than four times.
 */
#include "trainer/data.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/order.h"
#include "base/shards.h"

static uint64_t mix(uint64_t z)
{
    z += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

uint64_t kj_permute(uint64_t x, uint64_t n, uint64_t key)
{
    unsigned half = 1;
    while (half < 32 && (UINT64_C(1) << (2 * half)) < n)
        half++;
    uint64_t mask = (UINT64_C(1) << half) - 1;
    do {
        uint64_t a = x >> half, b = x & mask;
        for (uint64_t round = 0; round < 4; round++) {
            uint64_t c = a ^ (mix(key ^ mix(b ^ round << 40)) & mask);
            a = b;
            b = c;
        }
        x = a << half | b;
    } while (x >= n);
    return x;
}

static uint64_t shards_start(const void *self, uint64_t doc)
{
    return kj_shards_doc_start(self, doc);
}

static uint64_t shards_doc_at(const void *self, uint64_t token)
{
    return kj_shards_doc_at(self, token);
}

static size_t shards_read(const void *self, uint64_t at, uint32_t *out, size_t n)
{
    return kj_shards_read(self, at, out, n);
}

struct kj_docs kj_docs_shards(const struct kj_shards *s)
{
    return (struct kj_docs){s,
                            kj_shards_documents(s),
                            kj_shards_eos(s),
                            shards_start,
                            shards_doc_at,
                            shards_read,
                            NULL};
}

static uint64_t order_start(const void *self, uint64_t doc)
{
    return kj_order_start(self, doc);
}

static uint64_t order_at(const void *self, uint64_t token)
{
    return kj_order_at(self, token);
}

static size_t order_read(const void *self, uint64_t at, uint32_t *out, size_t n)
{
    return kj_order_read(self, at, out, n);
}

static unsigned order_group(const void *self, uint64_t doc)
{
    return kj_order_part_of(self, doc);
}

struct kj_docs kj_docs_order(const struct kj_order *o)
{
    return (struct kj_docs){o,
                            kj_order_entries(o),
                            kj_shards_eos(kj_order_set(o, 0)),
                            order_start,
                            order_at,
                            order_read,
                            order_group};
}

int kj_loader_init(struct kj_loader *l, const struct kj_docs *d, uint64_t seed,
                   bool shuffle, struct kj_err *err)
{
    memset(l, 0, sizeof *l);
    if (d->documents == 0 || d->start(d->self, d->documents) == 0)
        return kj_err_set(err, KJ_FAIL, "there is no token to train on");
    l->docs = *d;
    l->seed = seed;
    l->shuffle = shuffle;
    l->tokens = d->start(d->self, d->documents);
    return KJ_OK;
}

void kj_loader_release(struct kj_loader *l)
{
    free(l->buf);
    l->buf = NULL;
}

void kj_packed_init(struct kj_packed *p, size_t tokens)
{
    memset(p, 0, sizeof *p);
    p->cap = tokens;
    p->ids = kj_xcalloc(tokens, sizeof *p->ids);
    p->pos = kj_xcalloc(tokens, sizeof *p->pos);
    p->targets = kj_xcalloc(tokens, sizeof *p->targets);
    p->cu = kj_xcalloc(tokens + 1, sizeof *p->cu);
}

void kj_packed_release(struct kj_packed *p)
{
    free(p->ids);
    free(p->pos);
    free(p->targets);
    free(p->cu);
    memset(p, 0, sizeof *p);
}

/* n predictions of the document at token `from`, beginning with number off:
 * inputs are the tokens one before the targets; before the first stands the
 * end token. */
static int put(struct kj_loader *l, struct kj_packed *p, size_t at, uint64_t from,
               uint64_t off, size_t n, struct kj_err *err)
{
    size_t lead = off > 0, want = n + lead;
    if (l->buf_n < want) {
        l->buf = kj_xrealloc(l->buf, want * sizeof *l->buf);
        l->buf_n = want;
    }
    if (l->docs.read(l->docs.self, from + off - lead, l->buf, want) != want)
        return kj_err_set(err, KJ_FAIL, "the shards end before token %" PRIu64,
                          from + off + n);
    for (size_t i = 0; i < n; i++) {
        p->targets[at + i] = (int32_t)l->buf[i + lead];
        p->ids[at + i] =
            i + lead ? (int32_t)l->buf[i + lead - 1] : (int32_t)l->docs.end;
        p->pos[at + i] = (int32_t)i;
    }
    return KJ_OK;
}

uint64_t kj_loader_place(const struct kj_loader *l, uint64_t g, size_t len,
                         uint64_t *epoch)
{
    uint64_t rows = l->tokens / len ? l->tokens / len : 1;
    *epoch = g / rows;
    if (!l->shuffle)
        return g % l->tokens * (len % l->tokens) % l->tokens;
    uint64_t key = mix(l->seed ^ mix(*epoch));
    uint64_t at = kj_permute(g % rows, rows, key) * len;
    return (at + mix(key) % l->tokens) % l->tokens;
}

void kj_loader_seen(const struct kj_loader *l, uint64_t rows, size_t len,
                    uint64_t *tokens)
{
    for (uint64_t g = 0; g < rows; g++) {
        uint64_t epoch, token = kj_loader_place(l, g, len, &epoch);
        for (size_t done = 0; done < len;) {
            uint64_t d = l->docs.doc_at(l->docs.self, token);
            uint64_t left = l->docs.start(l->docs.self, d + 1) - token;
            size_t n = left < len - done ? (size_t)left : len - done;
            tokens[l->docs.group(l->docs.self, d)] += n;
            done += n;
            token = (token + n) % l->tokens;
        }
    }
}

/* One row at p's place `at`; its documents' bounds behind the *segs others. */
static int fill_row(struct kj_loader *l, struct kj_packed *p, size_t at, size_t len,
                    uint64_t token, size_t *segs, struct kj_err *err)
{
    for (size_t done = 0; done < len;) {
        uint64_t d = l->docs.doc_at(l->docs.self, token);
        uint64_t from = l->docs.start(l->docs.self, d);
        uint64_t left = l->docs.start(l->docs.self, d + 1) - token;
        size_t n = left < len - done ? (size_t)left : len - done;
        int rc = put(l, p, at + done, from, token - from, n, err);
        if (rc)
            return rc;
        p->cu[(*segs)++] = (int32_t)(at + done);
        done += n;
        token = (token + n) % l->tokens;
    }
    return KJ_OK;
}

int kj_loader_next(struct kj_loader *l, size_t rows, size_t len, struct kj_packed *p,
                   struct kj_err *err)
{
    size_t segs = 0;
    for (size_t i = 0; i < rows; i++) {
        uint64_t epoch, token = kj_loader_place(l, l->row, len, &epoch);
        int rc = fill_row(l, p, i * len, len, token, &segs, err);
        if (rc)
            return rc;
        l->row++;
    }
    p->cu[segs] = (int32_t)(rows * len);
    p->rows = (struct kj_rows){rows * len, p->ids, p->pos, p->targets, segs, p->cu};
    return KJ_OK;
}
