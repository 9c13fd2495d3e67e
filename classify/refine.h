/* refine.h - a classifier that learns in rounds from few labels and a large pool.
 *
 * A round trains fastText, scores the pool, takes the best of it as further
 * positives (the harvest) and others at random as negatives, and hands both with
 * the seeds to the next round. So did DeepSeekMath (arXiv 2402.03300) for
 * mathematics, and Kanana's report (arXiv 2502.18934) for Korean educational
 * pages, of which there are too few among annotated ones.
 *
 * A folder holds all of it:
 *
 *   settings.json        what decides the result; another one is refused
 *   round-01/train.txt   what the round learned from, in fastText's format
 *   round-01/model.bin   labels __label__hq and __label__cc
 *   round-01/harvest.jsonl  id, score and group of each document taken, best first
 *   round-01/round.json  its figures; written last, so a round is done or not
 *   rounds.jsonl         these lines together
 *   model.bin            the model of the best round
 *
 * Every file is a function of seeds, pool and settings, whatever the order of
 * the pool's documents, the threads, and however often it was stopped.
 */
#ifndef KJ_CLASSIFY_REFINE_H
#define KJ_CLASSIFY_REFINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "base/opt.h"
#include "base/stage.h"
#include "classify/eval.h"
#include "classify/fasttext.h"

struct kj_err;

/* ---- labelled documents ---- */

struct kj_refine_item {
    uint64_t id, text; /* hashes */
    size_t at, n;      /* in kj_refine_set.text, one line */
    bool positive;
};

struct kj_refine_set {
    struct kj_buf text;
    struct kj_refine_item *v;
    size_t n, cap, positives;
    uint64_t unlabelled, damaged;
};

/* What makes a label positive: a number of at least min, true, or a word of the
 * list. Everything else that is a label is negative; null and nothing is none. */
struct kj_refine_rule {
    const char *field;
    double min;
    const struct kj_strs *words;
};

/* Read documents from JSONL; memory caps their text. Initialises the set. */
int kj_refine_set_read(struct kj_refine_set *s, const char *const *files, size_t n,
                       const struct kj_refine_rule *rule, size_t memory,
                       struct kj_err *err);
void kj_refine_set_release(struct kj_refine_set *s);

/* ---- rounds ---- */

enum kj_refine_metric { KJ_REFINE_AP, KJ_REFINE_F1 };

struct kj_refine_groups; /* counts by domain or source */

struct kj_refine_round {
    int64_t number;
    /* learned from */
    size_t seed_positives, seed_negatives, harvested, drawn;
    int64_t epoch; /* passes over it */
    double loss;
    int64_t words;
    /* held-out set; all 0 without one */
    size_t held, held_positives;
    struct kj_eval_cut at, best; /* at min_score, and where F1 is highest */
    double average_precision;
    double cut; /* least score of what may be taken; INFINITY: nothing may */
    /* the pool under this round's model */
    size_t pool;           /* documents scored: not those of seeds and held-out set */
    double positive_share; /* of them, scored at least min_score */
    size_t harvest;        /* taken for the next round */
    double lowest;         /* score among them; NAN if none */
    double kept;           /* share of the last round's harvest in this one; NAN */
    bool restored;         /* it was found done */
    const char *stop;      /* why no round follows, or NULL */
};

struct kj_refine {
    const char *dir;
    struct kj_ft_train train; /* threads are ignored: one */
    int64_t rounds, patience, examples, seed;
    double harvest;   /* most that is taken of the pool, a share */
    double growth;    /* most positives as a multiple of the round before */
    double min_score; /* the cut that is reported, and without precision or held-out
                         set the least score of what is taken */
    double precision; /* the least score is the lowest from which on upwards the
                         held-out set has this precision; 0: min_score is */
    int64_t updates;  /* least lines times epochs of a round: train.epoch rises */
    double margin;    /* share of the pool, the best, from which no negative is drawn */
    double balance;   /* negatives for each positive; 0: the seeds' only */
    double epsilon;   /* least gain that counts */
    int metric;       /* enum kj_refine_metric */
    int64_t memory;   /* bytes that texts of a round may take */
    /* JSON of what decides the result besides the code, for settings.json. */
    struct kj_str settings;
    /* Told of every round when it is done; may be NULL. */
    void (*tell)(void *ctx, const struct kj_refine_round *r);
    void *ctx;
};

struct kj_refine_result {
    int64_t best;     /* the round whose model was taken */
    uint64_t damaged; /* lines of the pool that were no documents */
};

/* Run the rounds that are missing. held may be empty: then the share of
 * positives in the pool says when to stop. pool is read twice a round (twice
 * more before the first if it needs negatives). KJ_EOF: stopped by pool->stop. */
int kj_refine_run(const struct kj_refine *o, const struct kj_refine_set *seeds,
                  const struct kj_refine_set *held, struct kj_corpus *pool,
                  struct kj_refine_result *result, struct kj_err *err);

#endif
