/* sigs.c - chunks of keys, column by column. */
#include "dedup/sigs.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"

/* A chunk of about 4 MB: long columns read fast, and memory stays small. */
static size_t chunk_docs(unsigned bands)
{
    size_t n = ((size_t)4 << 20) / (8 * ((size_t)bands + 1));
    return n > 16384 ? 16384 : n < 64 ? 64 : n;
}

int kj_sigs_create(struct kj_sigs *s, const char *dir, const char *name,
                   const struct kj_spill_params *params, struct kj_err *err)
{
    *s = (struct kj_sigs){.bands = (unsigned)params->v[0]};
    s->cap = chunk_docs(s->bands);
    int rc = kj_spill_create(&s->file, dir, name, params, err);
    if (!rc)
        s->chunk = kj_xcalloc((s->bands + 1) * s->cap, 8);
    return rc;
}

static int write_chunk(struct kj_sigs *s, struct kj_err *err)
{
    int rc = KJ_OK;
    for (unsigned c = 0; c <= s->bands && !rc; c++)
        rc = kj_spill_add(&s->file, s->chunk + c * s->cap, s->cap * 8, NULL, err);
    memset(s->chunk, 0, (s->bands + 1) * s->cap * 8);
    return rc;
}

int kj_sigs_add(struct kj_sigs *s, uint64_t doc, uint32_t check, const uint64_t *keys,
                struct kj_err *err)
{
    int rc = KJ_OK;
    if (doc >= UINT32_MAX)
        return kj_err_set(err, KJ_FATAL,
                          "more than 4 billion documents: deduplicate in parts");
    for (; s->n_docs / s->cap < doc / s->cap && !rc;
         s->n_docs += s->cap - s->n_docs % s->cap)
        rc = write_chunk(s, err);
    size_t row = doc % s->cap;
    s->chunk[row] = check | (keys ? KJ_SIGS_HAS : 0);
    for (unsigned b = 0; b < s->bands && keys; b++)
        s->chunk[(b + 1) * s->cap + row] = keys[b];
    s->n_keys += keys != NULL;
    s->n_docs = doc + 1;
    if (!rc && s->n_docs % s->cap == 0)
        rc = write_chunk(s, err);
    return rc;
}

int kj_sigs_finish(struct kj_sigs *s, struct kj_err *err)
{
    int rc = s->n_docs % s->cap ? write_chunk(s, err) : KJ_OK;
    s->file.count[0] = s->n_docs;
    s->file.count[1] = s->n_keys;
    free(s->chunk);
    s->chunk = NULL;
    return rc ? rc : kj_spill_finish(&s->file, err);
}

int kj_sigs_open(struct kj_sigs *s, const char *path,
                 const struct kj_spill_params *params, struct kj_err *err)
{
    *s = (struct kj_sigs){.bands = (unsigned)params->v[0]};
    s->cap = chunk_docs(s->bands);
    int rc = kj_spill_open(&s->file, path, params, err);
    if (rc)
        return rc;
    s->n_docs = s->file.count[0];
    s->n_keys = s->file.count[1];
    uint64_t column = KJ_SPILL_BLOCK + s->cap * 8;
    uint64_t chunks = s->n_docs / s->cap + (s->n_docs % s->cap != 0);
    if (s->n_docs > UINT32_MAX || s->n_keys > s->n_docs ||
        s->file.size != KJ_SPILL_HEADER + chunks * (s->bands + 1) * column) {
        rc = kj_err_set(err, KJ_FAIL, "%s: its counts do not fit its size", path);
        kj_sigs_release(s);
    }
    return rc;
}

uint64_t kj_sigs_chunks(const struct kj_sigs *s)
{
    return s->n_docs / s->cap + (s->n_docs % s->cap != 0);
}

int kj_sigs_column(const struct kj_sigs *s, uint64_t chunk, unsigned column,
                   uint64_t *out, struct kj_err *err)
{
    uint64_t size = KJ_SPILL_BLOCK + s->cap * 8;
    uint64_t pos = KJ_SPILL_HEADER + (chunk * (s->bands + 1) + column) * size;
    return kj_spill_read(&s->file, pos, out, s->cap * 8, err);
}

void kj_sigs_release(struct kj_sigs *s)
{
    kj_spill_release(&s->file);
    free(s->chunk);
    s->chunk = NULL;
}

void kj_sigs_reader_release(struct kj_sigs_reader *r)
{
    free(r->checks);
    *r = (struct kj_sigs_reader){0};
}

int kj_sigs_check(const struct kj_sigs *s, struct kj_sigs_reader *r, uint64_t doc,
                  uint32_t *check, struct kj_err *err)
{
    *check = 0;
    if (doc >= s->n_docs)
        return KJ_OK;
    uint64_t chunk = doc / s->cap;
    if (!r->checks || r->chunk != chunk) {
        if (!r->checks)
            r->checks = kj_xcalloc(s->cap, 8);
        r->chunk = UINT64_MAX;
        int rc = kj_sigs_column(s, chunk, 0, r->checks, err);
        if (rc)
            return rc;
        r->chunk = chunk;
    }
    *check = (uint32_t)r->checks[doc % s->cap];
    return KJ_OK;
}
