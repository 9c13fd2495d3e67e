/* ranking.h - documents in the order of a score, and cuts through that order.
 *
 * The order is total but for documents that are equal in id and text: the score,
 * then a hash of the id, then the document's checksum. So "the best tenth" is the
 * same documents whatever the order of the input, the threads and the shards.
 *
 * Of n documents the best share P are ceil(P * n).
 *
 * A sample takes each document by another hash of its id and the seed, so it too
 * depends on the documents alone. Given its size it is one of all samples of that
 * size, equally likely (ids taken to be distinct), so how many of it are among the
 * K best of the N documents is hypergeometric, and order statistics of the sample
 * bound the exact cut at any size and for any distribution of scores. The binomial
 * and the Dvoretzky-Kiefer-Wolfowitz bounds are wider.
 *
 * Thread-safety: a list belongs to one worker until it is joined; the budget is
 * shared by all.
 */
#ifndef KJ_CLASSIFY_RANKING_H
#define KJ_CLASSIFY_RANKING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kj_doc;
struct kj_err;

struct kj_ranked {
    double score;
    uint64_t id, sum;
    uint64_t own; /* the caller's: what it weighs, or its serial number */
};

struct kj_ranking {
    struct kj_ranked *v;
    size_t n, cap;
};
/* Zeroed but for limit, in bytes. Joining takes as much again. */
struct kj_ranking_budget {
    atomic_size_t used;
    size_t limit;
};

struct kj_ranked kj_ranked_of(const struct kj_doc *d, double score, uint64_t own);
/* For qsort: best first. */
int kj_ranked_compare(const void *a, const void *b);

/* KJ_FATAL when the budget is spent. */
int kj_ranking_add(struct kj_ranking *r, struct kj_ranking_budget *b,
                   struct kj_ranked k, struct kj_err *err);
/* All of from behind what is in to; from is empty afterwards. */
void kj_ranking_join(struct kj_ranking *to, struct kj_ranking *from);
void kj_ranking_sort(struct kj_ranking *r);
void kj_ranking_free(struct kj_ranking *r);

/* How many of n are the best share P, 0 < P <= 1. */
uint64_t kj_ranking_top(uint64_t n, double share);

/* Is the document in the sample? share 1: all are. */
bool kj_ranking_sampled(const struct kj_doc *d, double share, uint64_t seed);

/* Of N documents of which m were sampled: the k-th best of the sample stands for the
 * K-th best of all. */
struct kj_ranking_interval {
    /* With a confidence of 95 % the K-th best of all is not better than the first-th
     * best of the sample and better than the last-th (numbers from 1; 0: no such
     * bound). */
    uint64_t first, last;
    /* And the k-th best of the sample is one of these among all, from 1. */
    uint64_t rank_low, rank_high;
};
void kj_ranking_interval(uint64_t N, uint64_t K, uint64_t m, uint64_t k,
                         struct kj_ranking_interval *out);

/* P(X <= x) for the number X of marked ones in m of N, of which K are marked. */
double kj_hypergeometric_cdf(uint64_t N, uint64_t K, uint64_t m, uint64_t x);

#endif
