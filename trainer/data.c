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
#include "trainer/bestfit.h"

static uint64_t mix(uint64_t z)
{
    z += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

uint64_t kj_permute_key(uint64_t seed, uint64_t epoch)
{
    return mix(seed ^ mix(epoch));
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
                            NULL,
                            0,
                            NULL,
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

static const char *order_group_name(const void *self, size_t i)
{
    return kj_order_part(self, i)->name;
}

struct kj_docs kj_docs_order(const struct kj_order *o)
{
    return (struct kj_docs){o,
                            kj_order_entries(o),
                            kj_shards_eos(kj_order_set(o, 0)),
                            order_start,
                            order_at,
                            order_read,
                            order_group,
                            kj_order_parts(o),
                            order_group_name,
                            NULL};
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

void kj_loader_bestfit(struct kj_loader *l, size_t len)
{
    l->fit = kj_bestfit_new(&l->docs, l->seed, l->shuffle, len);
}

void kj_loader_release(struct kj_loader *l)
{
    kj_bestfit_free(l->fit);
    l->fit = NULL;
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
    if (l->fit) {
        size_t n;
        const struct kj_piece *p = kj_bestfit_row(l->fit, g, &n, epoch);
        return l->docs.start(l->docs.self, p->doc) + p->off;
    }
    *epoch = g / rows;
    if (!l->shuffle)
        return g % l->tokens * (len % l->tokens) % l->tokens;
    uint64_t key = kj_permute_key(l->seed, *epoch);
    uint64_t at = kj_permute(g % rows, rows, key) * len;
    return (at + mix(key) % l->tokens) % l->tokens;
}

/* The pieces of documents that make a row, one after the other. */
struct walk {
    const struct kj_loader *l;
    const struct kj_piece *v; /* by best fit */
    size_t n;
    uint64_t token; /* by concatenation */
    size_t left;
};

static struct walk walk_row(const struct kj_loader *l, uint64_t g, size_t len)
{
    struct walk w = {.l = l};
    uint64_t epoch;
    if (l->fit) {
        w.v = kj_bestfit_row(l->fit, g, &w.n, &epoch);
    } else {
        w.token = kj_loader_place(l, g, len, &epoch);
        w.left = len;
    }
    return w;
}

static bool walk_next(struct walk *w, struct kj_piece *p)
{
    const struct kj_docs *d = &w->l->docs;
    if (w->v) {
        if (w->n == 0)
            return false;
        *p = *w->v++;
        w->n--;
        return true;
    }
    if (w->left == 0)
        return false;
    p->doc = d->doc_at(d->self, w->token);
    p->off = w->token - d->start(d->self, p->doc);
    uint64_t n = d->start(d->self, p->doc + 1) - w->token;
    p->n = (uint32_t)(n < w->left ? n : w->left);
    w->left -= p->n;
    w->token = (w->token + p->n) % w->l->tokens;
    return true;
}

void kj_loader_seen(const struct kj_loader *l, uint64_t from, uint64_t to, size_t len,
                    const unsigned *cell, uint64_t *tokens)
{
    for (uint64_t g = from; g < to; g++) {
        struct walk w = walk_row(l, g, len);
        struct kj_piece p;
        while (walk_next(&w, &p))
            tokens[cell[l->docs.group ? l->docs.group(l->docs.self, p.doc) : 0]] += p.n;
    }
}

size_t kj_loader_predictions(const struct kj_loader *l, uint64_t g, size_t len)
{
    struct walk w;
    struct kj_piece p;
    size_t n = 0;
    if (!l->fit)
        return len;
    w = walk_row(l, g, len);
    while (walk_next(&w, &p))
        n += p.n;
    return n;
}

void kj_packed_clear(struct kj_packed *p)
{
    p->cu[0] = 0;
    p->rows = (struct kj_rows){0, p->ids, p->pos, p->targets, 0, p->cu};
}

/* What a row has left: a document of its own that predicts nothing. */
static void pad(const struct kj_loader *l, struct kj_packed *p, size_t at, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        p->ids[at + i] = (int32_t)l->docs.end;
        p->targets[at + i] = -1;
        p->pos[at + i] = (int32_t)i;
    }
    p->cu[++p->rows.segs] = (int32_t)(at + n);
}

int kj_loader_row(struct kj_loader *l, uint64_t g, size_t len, struct kj_packed *p,
                  struct kj_err *err)
{
    struct walk w = walk_row(l, g, len);
    struct kj_piece c;
    size_t at = p->rows.n, done = 0;
    while (walk_next(&w, &c)) {
        uint64_t from = l->docs.start(l->docs.self, c.doc);
        int rc = put(l, p, at + done, from, c.off, c.n, err);
        if (rc)
            return rc;
        done += c.n;
        p->cu[++p->rows.segs] = (int32_t)(at + done);
    }
    if (done < len)
        pad(l, p, at + done, len - done);
    p->rows.n = at + len;
    return KJ_OK;
}

int kj_loader_next(struct kj_loader *l, size_t rows, size_t len, struct kj_packed *p,
                   struct kj_err *err)
{
    int rc = KJ_OK;
    kj_packed_clear(p);
    for (size_t i = 0; i < rows && rc == KJ_OK; i++)
        if ((rc = kj_loader_row(l, l->row, len, p, err)) == KJ_OK)
            l->row++;
    return rc;
}
