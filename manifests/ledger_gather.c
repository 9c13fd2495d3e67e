/* ledger_gather.c - what is gathered beside the rows of a batch: the histogram of each
 * rule's values, and samples of documents.
 *
 * Samples are the nearest to the cut, by (distance, hash of the id): a total
 * order over documents, so neither threads nor parts nor restarts change them.
 */
#include "manifests/ledger_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

/* ---- histograms ---- */

/* 64 buckets between powers of two: whole numbers up to 128 have their own,
 * and no bucket is wider than 1.6 % of its values. */
int32_t kj_bucket_key(double v)
{
    int e;
    if (v == 0 || !isfinite(v))
        return 0;
    double m = frexp(fabs(v), &e); /* [0.5, 1) */
    int32_t k = (e + 1100) * 64 + (int32_t)((m - 0.5) * 128) + 1;
    return v < 0 ? -k : k;
}

void kj_bucket_edges(int32_t key, double *lo, double *hi)
{
    int32_t k = (key < 0 ? -key : key) - 1;
    if (key == 0) {
        *lo = *hi = 0;
        return;
    }
    double a = ldexp(0.5 + (k % 64) / 128.0, k / 64 - 1100);
    double b = ldexp(0.5 + (k % 64 + 1) / 128.0, k / 64 - 1100);
    *lo = key < 0 ? -b : a;
    *hi = key < 0 ? -a : b;
}

static struct kj_bucket *bucket(struct kj_track *r, int32_t key)
{
    if (2 * (r->n_buckets + 1) > r->size) {
        struct kj_bucket *old = r->buckets;
        size_t n = r->size;
        r->size = n ? 2 * n : 64;
        r->buckets = kj_xcalloc(r->size, sizeof *r->buckets);
        r->n_buckets = 0;
        for (size_t i = 0; i < n; i++)
            if (old[i].docs || old[i].dropped)
                *bucket(r, old[i].key) = old[i];
        free(old);
    }
    for (size_t i = (uint32_t)key * 2654435761u;; i++) {
        struct kj_bucket *b = &r->buckets[i & (r->size - 1)];
        if (b->docs && b->key == key)
            return b;
        if (!b->docs) {
            b->key = key;
            r->n_buckets++;
            return b;
        }
    }
}

static struct kj_track *track_of(struct kj_rule_slot *r, int64_t cut, double threshold)
{
    for (size_t i = 0; i < r->n_tracks; i++)
        if (r->tracks[i].cut == cut)
            return &r->tracks[i];
    r->tracks = kj_xrealloc(r->tracks, (r->n_tracks + 1) * sizeof *r->tracks);
    struct kj_track *t = &r->tracks[r->n_tracks++];
    memset(t, 0, sizeof *t);
    t->cut = cut;
    t->threshold = threshold;
    return t;
}

/* ---- samples ---- */

static bool sample_before(double rank, uint64_t hash, const struct kj_sample *s)
{
    return rank != s->rank ? rank < s->rank : hash < s->hash;
}

/* A copy of at most n characters. */
static char *excerpt(struct kj_str s, size_t chars)
{
    size_t n = kj_utf8_cut(s.p, s.n, 4 * chars), k = 0, seen = 0;
    for (; k < n; k++)
        if (((unsigned char)s.p[k] & 0xC0) != 0x80 && seen++ == chars)
            break;
    return kj_xstrndup(s.p, k);
}

static void sample_add(struct kj_sample *list, size_t *n, size_t max, double rank,
                       uint64_t hash, double value, const struct kj_doc *d)
{
    if (*n == max && !sample_before(rank, hash, &list[max - 1]))
        return;
    size_t i = *n;
    for (size_t k = 0; k < *n; k++)
        if (list[k].hash == hash)
            return; /* an equal id */
    if (*n == max) {
        i = max - 1;
        free(list[i].id);
        free(list[i].url);
        free(list[i].language);
        free(list[i].excerpt);
    } else {
        ++*n;
    }
    for (; i > 0 && sample_before(rank, hash, &list[i - 1]); i--)
        list[i] = list[i - 1];
    list[i] = (struct kj_sample){
        .rank = rank,
        .value = value,
        .hash = hash,
        .id = excerpt(d->id, KJ_EXCERPT_CHARS),
        .url = d->url.n ? excerpt(d->url, KJ_EXCERPT_CHARS) : NULL,
        .language = d->language.n ? excerpt(d->language, 32) : NULL,
        .excerpt = excerpt(d->text.n ? d->text : d->raw, KJ_EXCERPT_CHARS)};
}

static void track_sample(struct kj_track *t, enum kj_side side, double rank,
                         uint64_t hash, double value, const struct kj_doc *d)
{
    sample_add(t->samples[side], &t->n_samples[side], KJ_SAMPLES_RULE, rank, hash,
               value, d);
}

/* ---- what a document leaves ---- */

double kj_hash_unit(uint64_t hash)
{
    return (double)(hash >> 11) * 0x1p-53;
}

void kj_gather_value(struct kj_rule_slot *r, int64_t cut, double threshold, double v,
                     bool drops, uint64_t hash, const struct kj_doc *d)
{
    struct kj_track *t = track_of(r, cut, threshold);
    struct kj_bucket *b = bucket(t, kj_bucket_key(v));
    b->docs++;
    b->dropped += drops;
    bool measured = !isnan(t->threshold);
    double rank = measured ? fabs(v - t->threshold) : kj_hash_unit(hash);
    if (drops)
        track_sample(t, KJ_DROPPED, rank, hash, v, d);
    if (drops && measured)
        track_sample(t, KJ_DROPPED_FAR, -rank, hash, v, d);
    if (!drops && kj_doc_kept(d) && measured)
        track_sample(t, KJ_KEPT, rank, hash, v, d);
}

void kj_gather_drop(struct kj_rule_slot *r, int64_t cut, uint64_t hash,
                    const struct kj_doc *d)
{
    struct kj_track *t = track_of(r, cut, NAN);
    track_sample(t, KJ_DROPPED, kj_hash_unit(hash), hash, NAN, d);
}

void kj_gather_kept(struct kj_ledger *l, uint64_t hash, const struct kj_doc *d)
{
    sample_add(l->kept, &l->n_kept, KJ_SAMPLES_ALL, kj_hash_unit(hash), hash, NAN, d);
}

/* ---- into the ledger ---- */

static int put_samples(struct kj_ledger *l, int64_t rule, int64_t cut, int side,
                       struct kj_sample *s, size_t n, size_t max, struct kj_err *err)
{
    int64_t kept = side == KJ_KEPT, far = side == KJ_DROPPED_FAR;
    int rc = KJ_OK;
    for (size_t i = 0; i < n && rc == KJ_OK; i++)
        rc = kj_db_do(
            l, err,
            "INSERT OR REPLACE INTO samples (rule, cut, kept, far, rank, hash, id, url,"
            " language, value, excerpt) VALUES (?,?,?,?,?,?,?,?,?,?,?)",
            "iiiidusssds", rule, cut, kept, far, s[i].rank, s[i].hash, s[i].id,
            s[i].url, s[i].language, s[i].value, s[i].excerpt);
    /* Hashes compare as unsigned numbers, as they do in memory. */
    if (rc == KJ_OK && n)
        rc = kj_db_do(
            l, err,
            "DELETE FROM samples WHERE rule = ?1 AND cut = ?2 AND kept = ?3 AND far = "
            "?4 AND"
            " sample NOT IN (SELECT sample FROM samples WHERE rule = ?1 AND"
            " cut = ?2 AND kept = ?3 AND far = ?4 ORDER BY rank, hash < 0, hash"
            " LIMIT ?5)",
            "iiiii", rule, cut, kept, far, (int64_t)max);
    return rc;
}

static int put_histogram(struct kj_ledger *l, int64_t rule, const struct kj_track *r,
                         sqlite3_stmt *st, struct kj_err *err)
{
    for (size_t i = 0; i < r->size; i++) {
        const struct kj_bucket *b = &r->buckets[i];
        double lo, hi;
        if (!b->docs)
            continue;
        kj_bucket_edges(b->key, &lo, &hi);
        sqlite3_bind_int64(st, 1, rule);
        sqlite3_bind_int64(st, 2, r->cut);
        sqlite3_bind_int(st, 3, b->key);
        sqlite3_bind_double(st, 4, lo);
        sqlite3_bind_double(st, 5, hi);
        sqlite3_bind_int64(st, 6, b->docs);
        sqlite3_bind_int64(st, 7, b->dropped);
        int rc = kj_db_run(l, st, err);
        if (rc)
            return rc;
    }
    return KJ_OK;
}

int kj_ledger_flush(struct kj_ledger *l, struct kj_err *err)
{
    sqlite3_stmt *st = NULL;
    int rc = kj_db_query(l, &st, err,
                         "INSERT INTO histograms VALUES (?,?,?,?,?,?,?) ON CONFLICT DO"
                         " UPDATE SET docs = docs + excluded.docs, dropped = dropped +"
                         " excluded.dropped",
                         "");
    for (size_t i = 0; i < l->n_rules && rc == KJ_OK; i++) {
        struct kj_rule_slot *r = &l->rules[i];
        for (size_t k = 0; k < r->n_tracks && rc == KJ_OK; k++) {
            struct kj_track *t = &r->tracks[k];
            rc = put_histogram(l, r->id, t, st, err);
            for (int side = 0; side < KJ_SIDES && rc == KJ_OK; side++)
                rc = put_samples(l, r->id, t->cut, side, t->samples[side],
                                 t->n_samples[side], KJ_SAMPLES_RULE, err);
        }
    }
    sqlite3_finalize(st);
    if (rc == KJ_OK && l->n_kept) {
        rc = kj_db_exec(l,
                        "INSERT OR IGNORE INTO rules VALUES (0, 'kept', '',"
                        " 'random sample of documents that stay')",
                        err);
        if (rc == KJ_OK)
            rc = put_samples(l, 0, 0, KJ_KEPT, l->kept, l->n_kept, KJ_SAMPLES_ALL, err);
    }
    if (rc == KJ_OK)
        rc = kj_ledger_copies_flush(l, err);
    if (rc == KJ_OK)
        rc = kj_ledger_cuts_flush(l, err);
    if (rc == KJ_OK)
        kj_ledger_unflush(l);
    return rc;
}
