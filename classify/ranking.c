/* ranking.c - the order of scores, samples of it, and their confidence.
 *
 * The hypergeometric distribution is summed outward from its mode by the ratio of
 * neighbours, each term relative to the mode's, until a term no longer counts, and
 * divided by the sum of all: no factorials, so nothing is lost at 10^12 documents.
 * That takes about 16 standard deviations of terms, at most a few times sqrt(m).
 */
#include "classify/ranking.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/doc.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"

#define TAIL  0.025 /* each of two: a confidence of 95 % */
#define FIRST 64    /* a list for each worker, score and language */

struct kj_ranked kj_ranked_of(const struct kj_doc *d, double score, uint64_t own)
{
    return (struct kj_ranked){score, kj_hash64(d->id.p, d->id.n, 0), kj_doc_checksum(d),
                              own};
}

int kj_ranked_compare(const void *pa, const void *pb)
{
    const struct kj_ranked *a = pa, *b = pb;
    if (a->score != b->score)
        return a->score > b->score ? -1 : 1;
    if (a->id != b->id)
        return a->id < b->id ? -1 : 1;
    return a->sum < b->sum ? -1 : a->sum > b->sum;
}

int kj_ranking_add(struct kj_ranking *r, struct kj_ranking_budget *b,
                   struct kj_ranked k, struct kj_err *err)
{
    if (r->n == r->cap) {
        size_t more = r->cap ? r->cap : FIRST, bytes = more * sizeof *r->v;
        if (atomic_fetch_add(&b->used, bytes) + bytes > b->limit)
            return kj_err_set(err, KJ_FATAL,
                              "the scores of all documents need more than --memory: "
                              "raise it, or take a --sample");
        r->cap += more;
        r->v = kj_xrealloc(r->v, r->cap * sizeof *r->v);
    }
    r->v[r->n++] = k;
    return KJ_OK;
}

void kj_ranking_join(struct kj_ranking *to, struct kj_ranking *from)
{
    if (to->cap < to->n + from->n) {
        to->cap = to->n + from->n;
        to->v = kj_xrealloc(to->v, to->cap * sizeof *to->v);
    }
    if (from->n)
        memcpy(to->v + to->n, from->v, from->n * sizeof *to->v);
    to->n += from->n;
    kj_ranking_free(from);
}

void kj_ranking_sort(struct kj_ranking *r)
{
    if (r->n)
        qsort(r->v, r->n, sizeof *r->v, kj_ranked_compare);
}

void kj_ranking_free(struct kj_ranking *r)
{
    free(r->v);
    *r = (struct kj_ranking){0};
}

uint64_t kj_ranking_top(uint64_t n, double share)
{
    /* 0.1 * 30 is a little more than 3 */
    double k = ceil(share * (double)n - 1e-9);
    return k < 1 ? n > 0 : k > (double)n ? n : (uint64_t)k;
}

bool kj_ranking_sampled(const struct kj_doc *d, double share, uint64_t seed)
{
    /* Not the hash that breaks ties: the sample would be the winners. */
    uint64_t h = kj_hash64(d->id.p, d->id.n, seed ^ 0x73616d706c652121);
    return share >= 1 || (double)(h >> 11) * 0x1p-53 < share;
}

double kj_hypergeometric_cdf(uint64_t N, uint64_t K, uint64_t m, uint64_t x)
{
    double n = (double)N, k = (double)K, s = (double)m, at = (double)x;
    double lo = fmax(0, s + k - n), hi = fmin(s, k);
    if (at < lo)
        return 0;
    if (at >= hi)
        return 1;
    double mode = floor((s + 1) * (k + 1) / (n + 2));
    mode = fmin(fmax(mode, lo), hi);
    double all = 1, below = mode <= at ? 1 : 0, p = 1;
    for (double i = mode; i > lo && p > 1e-20; i--) {
        p *= i * (n - k - s + i) / ((k - i + 1) * (s - i + 1));
        all += p;
        below += i - 1 <= at ? p : 0;
    }
    p = 1;
    for (double i = mode; i < hi && p > 1e-20; i++) {
        p *= (k - i) * (s - i) / ((i + 1) * (n - k - s + i + 1));
        all += p;
        below += i + 1 <= at ? p : 0;
    }
    return below / all;
}

/* The smallest x in [lo, hi] with cdf(x) over TAIL, or over 1 - TAIL; hi if none. */
static uint64_t quantile(uint64_t N, uint64_t K, uint64_t m, double over)
{
    uint64_t lo = 0, hi = K < m ? K : m;
    while (lo < hi) {
        uint64_t mid = lo + (hi - lo) / 2;
        if (kj_hypergeometric_cdf(N, K, m, mid) > over)
            hi = mid;
        else
            lo = mid + 1;
    }
    return lo;
}

void kj_ranking_interval(uint64_t N, uint64_t K, uint64_t m, uint64_t k,
                         struct kj_ranking_interval *out)
{
    /* X of the sample are among the K best. X < x has a chance of at most TAIL for
     * the x that quantile() gives, and X > y for the y of the other tail. */
    out->first = quantile(N, K, m, TAIL);
    out->last = quantile(N, K, m, 1 - TAIL) + 1;
    if (out->last > m)
        out->last = 0;
    /* The k-th best of the sample is behind the r-th of all when fewer than k of the
     * sample are among the best r. */
    uint64_t lo = k, hi = N - (m - k);
    while (lo < hi) { /* the first r whose chance to be reached is over TAIL */
        uint64_t mid = lo + (hi - lo) / 2;
        if (1 - kj_hypergeometric_cdf(N, mid, m, k - 1) > TAIL)
            hi = mid;
        else
            lo = mid + 1;
    }
    out->rank_low = lo;
    hi = N - (m - k);
    while (lo < hi) { /* the first r that is passed with a chance of at most TAIL */
        uint64_t mid = lo + (hi - lo) / 2;
        if (kj_hypergeometric_cdf(N, mid, m, k - 1) <= TAIL)
            hi = mid;
        else
            lo = mid + 1;
    }
    out->rank_high = lo;
}
