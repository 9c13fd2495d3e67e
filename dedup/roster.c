/* roster.c - documents by number. */
#include "dedup/roster.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/doc.h"
#include "base/err.h"
#include "base/hash.h"
#include "dedup/identity.h"

enum { NAMES = 64, ID_WORDS = 5 }; /* in a block; of an id, in the order */

static const struct kj_spill_params name_params = {.kind = 0x534D414E, /* NAMS */
                                                   .v = {NAMES}};

/* ---- the order ---- */

/* Numbers in the order of doubles, greatest first. */
static uint64_t descending(double v)
{
    uint64_t bits;
    if (isnan(v))
        return UINT64_MAX;
    v = -v + 0.0; /* no negative zero */
    memcpy(&bits, &v, 8);
    return bits >> 63 ? ~bits : bits | (uint64_t)1 << 63;
}

static uint64_t digits_of(struct kj_str date)
{
    uint64_t v = 0;
    unsigned n = 0;
    for (size_t i = 0; i < date.n && n < 19; i++)
        if (date.p[i] >= '0' && date.p[i] <= '9') {
            v = v * 10 + (uint64_t)(date.p[i] - '0');
            n++;
        }
    for (; n && n < 19; n++)
        v *= 10;
    return v;
}

void kj_roster_key(enum kj_keep policy, const char *field, const struct kj_doc *d,
                   uint64_t key[KJ_ROSTER_KEY])
{
    memset(key, 0, KJ_ROSTER_KEY * sizeof *key);
    if (policy == KJ_KEEP_LONGEST)
        key[0] = ~(uint64_t)d->text.n;
    if (policy == KJ_KEEP_NEWEST)
        key[0] = ~digits_of(d->date);
    if (policy == KJ_KEEP_BEST)
        key[0] = descending(kj_doc_number(d, field));
    for (size_t i = 0; i < d->id.n && i < 8 * ID_WORDS; i++)
        key[1 + i / 8] |= (uint64_t)(unsigned char)d->id.p[i] << (56 - i % 8 * 8);
    key[1 + ID_WORDS] = kj_hash64(d->id.p, d->id.n, kj_dedup_tie(d));
}

/* ---- writing ---- */

int kj_roster_begin(struct kj_roster *r, const char *dir, size_t sort,
                    struct kj_budget *budget, struct kj_err *err)
{
    struct kj_spill_params params = {KJ_SIGS_KIND, {1}};
    *r = (struct kj_roster){.budget = budget, .names.fd = -1, .checks.file.fd = -1};
    kj_buf_init(&r->pending, (size_t)1 << 30);
    kj_extsort_init(&r->order, KJ_ROSTER_KEY + 1, sort, dir, budget);
    int rc = kj_sigs_create(&r->checks, dir, NULL, &params, err);
    return rc ? rc : kj_spill_create(&r->names, dir, NULL, &name_params, err);
}

static int write_names(struct kj_roster *r, struct kj_err *err)
{
    void *p = r->first;
    int rc = kj_budget_grow(r->budget, &p, &r->cap_first, r->n_first + 1,
                            sizeof *r->first, err);
    r->first = p;
    if (!rc)
        rc = kj_spill_add(&r->names, r->pending.p, r->pending.n, &r->first[r->n_first],
                          err);
    r->n_first++;
    r->n_pending = 0;
    kj_buf_reset(&r->pending);
    return rc;
}

static int add_name(struct kj_roster *r, struct kj_str id, struct kj_err *err)
{
    uint32_t n = (uint32_t)id.n;
    if (kj_buf_add(&r->pending, (const char *)&n, sizeof n) ||
        kj_buf_add(&r->pending, id.p, n))
        return kj_err_set(err, KJ_FATAL, "ids of over a gigabyte");
    return ++r->n_pending == NAMES ? write_names(r, err) : KJ_OK;
}

int kj_roster_add(struct kj_roster *r, uint64_t doc, uint32_t check, struct kj_str id,
                  const uint64_t key[KJ_ROSTER_KEY], struct kj_err *err)
{
    uint64_t rec[KJ_ROSTER_KEY + 1];
    int rc = KJ_OK;
    while (!rc && r->n_first * NAMES + r->n_pending < doc)
        rc = add_name(r, (struct kj_str){NULL, 0}, err);
    if (!rc)
        rc = add_name(r, id, err);
    if (!rc)
        rc = kj_sigs_add(&r->checks, doc, check, NULL, err);
    memcpy(rec, key, KJ_ROSTER_KEY * sizeof *key);
    rec[KJ_ROSTER_KEY] = doc;
    return rc ? rc : kj_extsort_add(&r->order, rec, err);
}

int kj_roster_finish(struct kj_roster *r, struct kj_err *err)
{
    const uint64_t *rec;
    int rc = r->n_pending ? write_names(r, err) : KJ_OK;
    if (!rc)
        rc = kj_spill_finish(&r->names, err);
    if (!rc)
        rc = kj_sigs_finish(&r->checks, err);
    if (!rc)
        rc = kj_extsort_sort(&r->order, err);
    r->n_rank = (size_t)r->checks.n_docs;
    r->rank = rc ? NULL : kj_budget_calloc(r->budget, r->n_rank, sizeof *r->rank, err);
    if (!r->rank)
        return KJ_FATAL;
    for (uint32_t i = 0; !rc && (rc = kj_extsort_next(&r->order, &rec, err)) == KJ_OK;)
        r->rank[rec[KJ_ROSTER_KEY]] = i++;
    kj_extsort_release(&r->order);
    return rc == KJ_EOF ? KJ_OK : rc;
}

void kj_roster_release(struct kj_roster *r)
{
    if (!r->budget)
        return;
    kj_sigs_release(&r->checks);
    kj_spill_release(&r->names);
    kj_buf_release(&r->pending);
    kj_extsort_release(&r->order);
    kj_budget_free(r->budget, r->first, r->cap_first, sizeof *r->first);
    kj_budget_free(r->budget, r->rank, r->n_rank, sizeof *r->rank);
    *r = (struct kj_roster){0};
}

/* ---- reading ---- */

void kj_roster_reader_release(struct kj_roster_reader *r)
{
    kj_sigs_reader_release(&r->checks);
    free(r->block);
    *r = (struct kj_roster_reader){0};
}

int kj_roster_name(const struct kj_roster *r, struct kj_roster_reader *rd, uint64_t doc,
                   struct kj_str *id, struct kj_err *err)
{
    uint64_t at = doc / NAMES;
    if (at >= r->n_first)
        return kj_err_set(err, KJ_FATAL, "no document of number %llu",
                          (unsigned long long)doc);
    if (rd->block_at != at + 1) {
        rd->block_at = 0;
        int rc = kj_spill_length(&r->names, r->first[at], &rd->n_block, err);
        if (rc)
            return rc;
        if (rd->n_block > rd->cap_block) {
            rd->block = kj_xrealloc(rd->block, rd->n_block);
            rd->cap_block = rd->n_block;
        }
        rc = kj_spill_read(&r->names, r->first[at], rd->block, rd->n_block, err);
        if (rc)
            return rc;
        rd->block_at = at + 1;
    }
    uint32_t n = 0;
    size_t pos = 0;
    for (uint64_t i = 0; i <= doc % NAMES; i++) {
        pos += n;
        memcpy(&n, rd->block + pos, sizeof n);
        pos += sizeof n;
    }
    *id = (struct kj_str){rd->block + pos, n};
    return KJ_OK;
}

int kj_roster_check(const struct kj_roster *r, struct kj_roster_reader *rd,
                    const struct kj_doc *d, struct kj_err *err)
{
    uint32_t check;
    int rc = kj_sigs_check(&r->checks, &rd->checks, d->serial, &check, err);
    if (rc || check == kj_dedup_check(d))
        return rc;
    kj_err_set(err, KJ_FATAL,
               "the input changed since it was first read: this document is new");
    kj_err_doc(err, d->id.p, d->id.n);
    return KJ_FATAL;
}
