/* spans.c - blocks of sorted records. */
#include "dedup/spans.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"

int kj_spans_begin(struct kj_spans *s, unsigned words, const char *dir, uint32_t kind,
                   struct kj_budget *budget, struct kj_err *err)
{
    struct kj_spill_params params = {.kind = kind, .v = {words}};
    *s = (struct kj_spans){.words = words, .file.fd = -1, .budget = budget};
    s->pending = kj_xcalloc((size_t)KJ_SPANS_BLOCK * words, 8);
    return kj_spill_create(&s->file, dir, NULL, &params, err);
}

static int write_block(struct kj_spans *s, struct kj_err *err)
{
    void *p = s->first;
    int rc = kj_budget_grow(s->budget, &p, &s->cap_first, s->n_first + 1,
                            sizeof *s->first, err);
    s->first = p;
    if (rc)
        return rc;
    size_t n = s->n_pending;
    s->first[s->n_first++] = s->pending[0];
    s->n_pending = 0;
    return kj_spill_add(&s->file, s->pending, n * s->words * 8, NULL, err);
}

int kj_spans_add(struct kj_spans *s, const uint64_t *rec, struct kj_err *err)
{
    memcpy(s->pending + s->n_pending * s->words, rec, s->words * sizeof *rec);
    s->n_pending++;
    s->n++;
    return s->n_pending == KJ_SPANS_BLOCK ? write_block(s, err) : KJ_OK;
}

int kj_spans_finish(struct kj_spans *s, struct kj_err *err)
{
    int rc = s->n_pending ? write_block(s, err) : KJ_OK;
    s->file.count[0] = s->n;
    return rc ? rc : kj_spill_finish(&s->file, err);
}

void kj_spans_release(struct kj_spans *s)
{
    kj_spill_release(&s->file);
    free(s->pending);
    if (s->budget)
        kj_budget_free(s->budget, s->first, s->cap_first, sizeof *s->first);
    *s = (struct kj_spans){.file.fd = -1};
}

void kj_spans_reader_release(struct kj_spans_reader *r)
{
    free(r->block);
    *r = (struct kj_spans_reader){0};
}

static int need_block(const struct kj_spans *s, struct kj_spans_reader *r, size_t at,
                      struct kj_err *err)
{
    if (r->block && r->n_block && r->block_at == at)
        return KJ_OK;
    size_t whole = (size_t)KJ_SPANS_BLOCK * s->words * 8;
    if (!r->block)
        r->block = kj_xmalloc(whole);
    uint64_t left = s->n - at * KJ_SPANS_BLOCK;
    size_t n = left < KJ_SPANS_BLOCK ? (size_t)left : KJ_SPANS_BLOCK;
    uint64_t pos = KJ_SPILL_HEADER + at * (KJ_SPILL_BLOCK + whole);
    int rc = kj_spill_read(&s->file, pos, r->block, n * s->words * 8, err);
    r->block_at = at;
    r->n_block = rc ? 0 : n;
    return rc;
}

int kj_spans_find(const struct kj_spans *s, struct kj_spans_reader *r, uint64_t least,
                  uint64_t *at, struct kj_err *err)
{
    size_t lo = 0, hi = s->n_first;
    *at = 0;
    if (!s->n_first)
        return KJ_OK;
    while (hi - lo > 1) { /* the last block that begins below it */
        size_t mid = lo + (hi - lo) / 2;
        if (s->first[mid] < least)
            lo = mid;
        else
            hi = mid;
    }
    int rc = need_block(s, r, lo, err);
    if (rc)
        return rc;
    size_t a = 0, b = r->n_block;
    while (a < b) {
        size_t mid = a + (b - a) / 2;
        if (r->block[mid * s->words] < least)
            a = mid + 1;
        else
            b = mid;
    }
    *at = (uint64_t)lo * KJ_SPANS_BLOCK + a;
    return KJ_OK;
}

int kj_spans_get(const struct kj_spans *s, struct kj_spans_reader *r, uint64_t at,
                 const uint64_t **rec, struct kj_err *err)
{
    *rec = NULL;
    if (at >= s->n)
        return KJ_OK;
    int rc = need_block(s, r, (size_t)(at / KJ_SPANS_BLOCK), err);
    if (!rc)
        *rec = r->block + at % KJ_SPANS_BLOCK * s->words;
    return rc;
}
