/* lsh.c - band keys in chunks, grouped by sorting.
 *
 * A chunk holds the keys of 1024 documents band by band, so that a band is
 * read in long runs. Only equality matters, but sorting gives an order of
 * buckets that depends on nothing but the keys, and it is as fast as a hash
 * table once the part that is sorted fits the cache.
 */
#include "dedup/lsh.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"

enum { CHUNK = 1024, PART_TARGET = 1 << 18, MAX_PART_BITS = 12 };

struct kj_lsh_chunk {
    uint8_t has[CHUNK];  /* a document of this number was added */
    uint8_t cand[CHUNK]; /* it is in a bucket */
    uint64_t *keys;      /* [band * CHUNK + document]; freed by group() */
};

struct pair {
    uint64_t key;
    uint64_t doc;
};

void kj_lsh_init(struct kj_lsh *l, unsigned bands, struct kj_budget *budget)
{
    *l = (struct kj_lsh){.bands = bands, .budget = budget};
}

static size_t keys_size(const struct kj_lsh *l)
{
    return (size_t)l->bands * CHUNK;
}

static void free_keys(struct kj_lsh *l)
{
    for (size_t i = 0; i < l->n_chunks; i++)
        if (l->chunks[i]) {
            kj_budget_free(l->budget, l->chunks[i]->keys, keys_size(l), 8);
            l->chunks[i]->keys = NULL;
        }
}

void kj_lsh_release(struct kj_lsh *l)
{
    free_keys(l);
    for (size_t i = 0; i < l->n_chunks; i++)
        kj_budget_free(l->budget, l->chunks[i], 1, sizeof **l->chunks);
    kj_budget_free(l->budget, l->chunks, l->cap_chunks, sizeof *l->chunks);
    kj_budget_free(l->budget, l->entries, l->cap_entries, sizeof *l->entries);
    kj_lsh_init(l, l->bands, l->budget);
}

static int add_chunk(struct kj_lsh *l, size_t c, struct kj_err *err)
{
    void *p = l->chunks;
    int rc =
        kj_budget_grow(l->budget, &p, &l->cap_chunks, c + 1, sizeof *l->chunks, err);
    l->chunks = p;
    if (rc)
        return rc;
    while (l->n_chunks <= c)
        l->chunks[l->n_chunks++] = NULL;
    l->chunks[c] = kj_budget_calloc(l->budget, 1, sizeof **l->chunks, err);
    if (!l->chunks[c])
        return KJ_FATAL;
    l->chunks[c]->keys = kj_budget_calloc(l->budget, keys_size(l), 8, err);
    return l->chunks[c]->keys ? KJ_OK : KJ_FATAL;
}

int kj_lsh_add(struct kj_lsh *l, uint64_t doc, const uint64_t *keys, struct kj_err *err)
{
    if (doc >= UINT32_MAX)
        return kj_err_set(err, KJ_FATAL,
                          "more than 4 billion documents: deduplicate in parts");
    size_t c = (size_t)(doc / CHUNK), i = (size_t)(doc % CHUNK);
    if (c >= l->n_chunks || !l->chunks[c]) {
        int rc = add_chunk(l, c, err);
        if (rc)
            return rc;
    }
    struct kj_lsh_chunk *k = l->chunks[c];
    k->has[i] = 1;
    for (unsigned b = 0; b < l->bands; b++)
        k->keys[(size_t)b * CHUNK + i] = keys[b];
    l->n_docs = doc + 1;
    return KJ_OK;
}

bool kj_lsh_get(const struct kj_lsh *l, uint64_t doc, uint64_t *keys)
{
    size_t c = (size_t)(doc / CHUNK), i = (size_t)(doc % CHUNK);
    if (c >= l->n_chunks || !l->chunks[c] || !l->chunks[c]->has[i])
        return false;
    for (unsigned b = 0; b < l->bands; b++)
        keys[b] = l->chunks[c]->keys[(size_t)b * CHUNK + i];
    return true;
}

bool kj_lsh_candidate(const struct kj_lsh *l, uint64_t doc)
{
    size_t c = (size_t)(doc / CHUNK);
    return c < l->n_chunks && l->chunks[c] && l->chunks[c]->cand[doc % CHUNK];
}

/* Stable sort by key, eleven bits at a time from the low end. */
static void radix_sort(struct pair *v, struct pair *tmp, size_t n)
{
    for (unsigned shift = 0; shift < 64; shift += 11) {
        size_t at[2049] = {0};
        for (size_t i = 0; i < n; i++)
            at[(v[i].key >> shift & 2047) + 1]++;
        for (size_t k = 0; k < 2048; k++)
            at[k + 1] += at[k];
        for (size_t i = 0; i < n; i++)
            tmp[at[v[i].key >> shift & 2047]++] = v[i];
        memcpy(v, tmp, n * sizeof *v);
    }
}

static int by_key(const void *a, const void *b)
{
    const struct pair *x = a, *y = b;
    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return x->doc < y->doc ? -1 : x->doc > y->doc;
}

/* Make buckets of the runs of equal keys in v[0..n). */
static int take_runs(struct kj_lsh *l, const struct pair *v, size_t n,
                     struct kj_err *err)
{
    for (size_t i = 0, end; i < n; i = end) {
        end = i + 1;
        while (end < n && v[end].key == v[i].key)
            end++;
        if (end - i < 2)
            continue;
        if (l->n_buckets == UINT32_MAX)
            return kj_err_set(err, KJ_FATAL, "too many buckets: deduplicate in parts");
        void *p = l->entries;
        int rc = kj_budget_grow(l->budget, &p, &l->cap_entries, l->n_entries + end - i,
                                sizeof *l->entries, err);
        l->entries = p;
        if (rc)
            return rc;
        for (size_t k = i; k < end; k++) {
            l->entries[l->n_entries++] =
                (struct kj_lsh_entry){(uint32_t)v[k].doc, l->n_buckets};
            l->chunks[v[k].doc / CHUNK]->cand[v[k].doc % CHUNK] = 1;
        }
        l->n_buckets++;
    }
    return KJ_OK;
}

/* Which part of 2^bits a key is in. */
static size_t part_of(uint64_t key, unsigned bits)
{
    return bits ? (size_t)(key >> (64 - bits)) : 0;
}

/* Visit a band's keys: count them by part, or gather those of one part. */
static size_t scan(const struct kj_lsh *l, unsigned band, unsigned bits, size_t *counts,
                   size_t part, struct pair *out)
{
    size_t n = 0;
    for (size_t c = 0; c < l->n_chunks; c++) {
        const struct kj_lsh_chunk *k = l->chunks[c];
        if (!k)
            continue;
        const uint64_t *keys = k->keys + (size_t)band * CHUNK;
        for (size_t i = 0; i < CHUNK; i++) {
            if (!k->has[i])
                continue;
            size_t at = part_of(keys[i], bits);
            if (counts)
                counts[at]++;
            else if (at == part)
                out[n++] = (struct pair){keys[i], c * CHUNK + i};
        }
    }
    return n;
}

static int group_band(struct kj_lsh *l, unsigned band, unsigned bits,
                      struct kj_err *err)
{
    size_t *counts = kj_xcalloc((size_t)1 << bits, sizeof *counts);
    scan(l, band, bits, counts, 0, NULL);
    size_t most = 0;
    for (size_t i = 0; i < (size_t)1 << bits; i++)
        most = counts[i] > most ? counts[i] : most;
    free(counts);
    struct pair *v = kj_budget_calloc(l->budget, 2 * most, sizeof *v, err);
    int rc = v ? KJ_OK : KJ_FATAL;
    for (size_t i = 0; i < (size_t)1 << bits && !rc; i++) {
        size_t n = scan(l, band, bits, NULL, i, v);
        if (n > 4096)
            radix_sort(v, v + n, n);
        else
            qsort(v, n, sizeof *v, by_key);
        rc = take_runs(l, v, n, err);
    }
    kj_budget_free(l->budget, v, 2 * most, sizeof *v);
    return rc;
}

int kj_lsh_group(struct kj_lsh *l, struct kj_err *err)
{
    unsigned bits = 0;
    while (bits < MAX_PART_BITS && l->n_docs >> bits > PART_TARGET)
        bits++;
    int rc = KJ_OK;
    for (unsigned b = 0; b < l->bands && !rc; b++)
        rc = group_band(l, b, bits, err);
    free_keys(l);
    return rc;
}

void kj_lsh_settle(struct kj_lsh *l, uint64_t from)
{
    size_t n = 0;
    for (size_t i = 0, end; i < l->n_entries; i = end) {
        bool keep = l->entries[i].doc < from; /* the first is the least */
        for (end = i;
             end < l->n_entries && l->entries[end].bucket == l->entries[i].bucket;
             end++)
            ;
        for (size_t k = i; keep && k < end; k++)
            l->entries[n++] = l->entries[k];
    }
    l->n_entries = n;
}
