/* match.c - sort a band, keep what occurs twice. */
#include "dedup/match.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "dedup/extsort.h"

enum {
    KIND = 0x444E4142, /* BAND */
    BLOCK = 4096,      /* entries in a block */
    BITS = 8192        /* bytes of bits in a block */
};

static void band_name(char out[KJ_PIECES_NAME], unsigned band)
{
    snprintf(out, KJ_PIECES_NAME, "match-%04u", band);
}

static struct kj_spill_params band_params(const struct kj_pieces *p, unsigned band)
{
    return kj_pieces_params(p, KIND, SIZE_MAX, band);
}

/* One piece's column of the band to the sorter. */
static int add_piece(const struct kj_pieces *p, const struct kj_piece *piece,
                     unsigned band, struct kj_extsort *sort, struct kj_err *err)
{
    struct kj_sigs s;
    int rc = kj_pieces_open(p, piece->file, piece->part, &s, err);
    if (rc)
        return rc == KJ_EOF ? kj_err_set(err, KJ_FATAL, "a file of signatures is gone")
                            : rc;
    uint64_t *checks = kj_xmalloc(s.cap * 8), *column = kj_xmalloc(s.cap * 8);
    for (uint64_t c = 0; c < kj_sigs_chunks(&s) && !rc; c++) {
        rc = kj_sigs_column(&s, c, 0, checks, err);
        if (!rc)
            rc = kj_sigs_column(&s, c, 1 + band, column, err);
        for (size_t i = 0; i < s.cap && !rc; i++)
            if (checks[i] & KJ_SIGS_HAS)
                rc = kj_extsort_add(
                    sort, (uint64_t[]){column[i], piece->first + c * s.cap + i}, err);
    }
    free(checks);
    free(column);
    kj_sigs_release(&s);
    return rc;
}

/* Entries on their way to the file. */
struct writer {
    struct kj_spill *file;
    unsigned char *bits;
    uint64_t v[BLOCK], n_entries;
    size_t n;
};

static int put(struct writer *w, uint64_t doc, bool starts, struct kj_err *err)
{
    w->bits[doc / 8] |= (unsigned char)(1u << doc % 8);
    w->v[w->n++] = doc << 1 | starts;
    w->n_entries++;
    if (w->n < BLOCK)
        return KJ_OK;
    w->n = 0;
    return kj_spill_add(w->file, w->v, sizeof w->v, NULL, err);
}

static int write_buckets(struct writer *w, struct kj_extsort *sort, struct kj_err *err)
{
    const uint64_t *r;
    uint64_t key = 0, last = 0;
    bool any = false, open = false;
    int rc;
    while ((rc = kj_extsort_next(sort, &r, err)) == KJ_OK) {
        bool more = any && r[0] == key;
        if (more && !open)
            rc = put(w, last, true, err);
        if (more && !rc)
            rc = put(w, r[1], false, err);
        if (rc)
            return rc;
        open = more;
        any = true;
        key = r[0];
        last = r[1];
    }
    if (rc == KJ_EOF)
        rc = w->n ? kj_spill_add(w->file, w->v, w->n * 8, NULL, err) : KJ_OK;
    return rc;
}

static uint64_t bit_bytes(uint64_t docs)
{
    return (docs / 8 / BITS + 1) * BITS;
}

int kj_match_make(const struct kj_pieces *p, unsigned band, struct kj_budget *budget,
                  struct kj_err *err)
{
    char name[KJ_PIECES_NAME];
    struct kj_spill_params params = band_params(p, band);
    uint64_t bytes = bit_bytes(kj_pieces_docs(p));
    int64_t max = budget->max > 0 ? budget->max : (int64_t)1 << 30;
    struct kj_extsort sort;
    struct kj_spill file = {.fd = -1};
    struct writer *w = kj_xcalloc(1, sizeof *w);
    band_name(name, band);
    kj_pieces_sweep(p->dir, name);
    kj_extsort_init(&sort, 2, (size_t)(max / 2), p->dir, budget);
    w->file = &file;
    w->bits = kj_budget_calloc(budget, bytes, 1, err);
    int rc = w->bits ? KJ_OK : KJ_FATAL;
    for (size_t i = 0; i < p->n && !rc; i++)
        rc = add_piece(p, &p->v[i], band, &sort, err);
    if (!rc)
        rc = kj_extsort_sort(&sort, err);
    if (!rc)
        rc = kj_spill_create(&file, p->dir, name, &params, err);
    if (!rc)
        rc = write_buckets(w, &sort, err);
    for (uint64_t i = 0; i < bytes && !rc; i += BITS)
        rc = kj_spill_add(&file, w->bits + i, BITS, NULL, err);
    file.count[0] = w->n_entries;
    file.count[1] = kj_pieces_docs(p);
    if (!rc)
        rc = kj_spill_finish(&file, err);
    kj_spill_release(&file);
    kj_extsort_release(&sort);
    kj_budget_free(budget, w->bits, bytes, 1);
    free(w);
    return rc;
}

/* Where the bits start. */
static uint64_t bits_pos(const struct kj_match *m)
{
    uint64_t whole = m->n_entries / BLOCK, rest = m->n_entries % BLOCK;
    return KJ_SPILL_HEADER + whole * (KJ_SPILL_BLOCK + BLOCK * 8) +
           (rest ? KJ_SPILL_BLOCK + rest * 8 : 0);
}

int kj_match_open(struct kj_match *m, const struct kj_pieces *p, unsigned band,
                  struct kj_err *err)
{
    char name[KJ_PIECES_NAME];
    struct kj_spill_params params = band_params(p, band);
    band_name(name, band);
    int rc = kj_pieces_file(&m->file, p->dir, name, &params, err);
    if (rc)
        return rc;
    m->n_entries = m->file.count[0];
    m->n_docs = m->file.count[1];
    uint64_t blocks = bit_bytes(m->n_docs) / BITS;
    if (m->n_docs >= UINT32_MAX || m->n_entries > m->n_docs ||
        (p->first && m->n_docs != kj_pieces_docs(p)) ||
        m->file.size != bits_pos(m) + blocks * (KJ_SPILL_BLOCK + BITS)) {
        rc = kj_err_set(err, KJ_FATAL, "%s: its counts do not fit", m->file.path);
        kj_match_release(m);
    }
    return rc;
}

int kj_match_each(const struct kj_match *m, void *ctx,
                  int (*take)(void *ctx, uint32_t doc, bool starts, struct kj_err *err),
                  struct kj_err *err)
{
    uint64_t *v = kj_xmalloc(BLOCK * 8), pos = KJ_SPILL_HEADER;
    int rc = KJ_OK;
    for (uint64_t left = m->n_entries; left && !rc;) {
        size_t n = left < BLOCK ? (size_t)left : BLOCK;
        rc = kj_spill_read(&m->file, pos, v, n * 8, err);
        for (size_t i = 0; i < n && !rc; i++)
            rc = v[i] >> 1 < m->n_docs
                     ? take(ctx, (uint32_t)(v[i] >> 1), v[i] & 1, err)
                     : kj_err_set(err, KJ_FATAL, "%s names a document that is not",
                                  m->file.path);
        pos += KJ_SPILL_BLOCK + n * 8;
        left -= n;
    }
    free(v);
    return rc;
}

int kj_match_mark(const struct kj_match *m, uint64_t first, uint64_t n,
                  unsigned char *bits, struct kj_err *err)
{
    unsigned char *v = kj_xmalloc(BITS);
    uint64_t at = UINT64_MAX;
    int rc = KJ_OK;
    for (uint64_t i = 0; i < n && !rc; i++) {
        uint64_t doc = first + i, block = doc / 8 / BITS;
        if (block != at)
            rc = kj_spill_read(&m->file, bits_pos(m) + block * (KJ_SPILL_BLOCK + BITS),
                               v, BITS, err);
        at = block;
        if (!rc && v[doc / 8 % BITS] >> doc % 8 & 1)
            bits[i / 8] |= (unsigned char)(1u << i % 8);
    }
    free(v);
    return rc;
}

void kj_match_release(struct kj_match *m)
{
    kj_spill_release(&m->file);
}
