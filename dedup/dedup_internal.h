/* dedup_internal.h - the stage's configuration, for dedup.c and dedup_survey.c. */
#ifndef KJ_DEDUP_INTERNAL_H
#define KJ_DEDUP_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/stage.h"
#include "dedup/bloom.h"
#include "dedup/budget.h"
#include "dedup/cluster.h"
#include "dedup/external.h"
#include "dedup/index.h"
#include "dedup/lsh.h"
#include "dedup/minhash.h"
#include "dedup/pieces.h"
#include "dedup/roster.h"
#include "dedup/substring.h"
#include "dedup/units.h"

enum { METHOD_MINHASH, METHOD_EXACT, METHOD_BLOOM, METHOD_SUBSTRING };
enum { KEY_TEXT, KEY_URL };
enum { SCOPE_DOCUMENT, SCOPE_PARAGRAPH, SCOPE_LINE };
enum { JACCARD, CONTAINMENT };
enum { SPILL_AUTO, SPILL_ALWAYS, SPILL_NEVER };

struct dedup {
    /* options */
    int method, unit, key, spill, scope, measure, cut;
    bool normalize;
    int64_t bands, rows, ngram, max_compare, expected;
    int64_t min_bytes, min_words, min_left;
    double threshold, fpr, alarm;
    const char *keep, *index;
    /* from open() */
    enum kj_keep policy;
    const char *field; /* of policy best */
    struct kj_rule rule;
    char about[200]; /* of the rule: which copy stays */
    /* from survey() */
    bool surveyed;
    uint64_t seen_docs, seen_grams; /* n-grams, repeats included */
    struct kj_minhash mh;
    struct kj_budget budget;
    uint32_t *checks; /* by document; 0: not in play */
    size_t n_checks, cap_checks;
    struct kj_clusters clusters;
    bool in_files; /* external holds the survey, not checks and clusters */
    struct kj_external external;
    struct kj_units units; /* scope paragraph, line */
    /* from steps.h: the signatures that external reads */
    struct kj_pieces pieces;
    uint64_t *piece_ids;
    struct kj_substring passages;
};

/* What a worker found out about one document, for the collector. */
struct kj_dedup_found {
    bool has; /* it has a key at all */
    uint32_t check;
    uint64_t sum;                  /* for the index: of id and text */
    size_t units;                  /* shingles, repeats included */
    uint64_t *keys;                /* first reading */
    struct kj_candidate candidate; /* second reading */
};

/* The two readings, for whoever collects: a batch's aux becomes an array of
 * kj_dedup_found, one a document. ctx is the reading; the second takes the
 * candidates of c->external or of the reading's own keys. */
struct worker;
struct survey {
    struct dedup *c;
    struct worker *workers;
    unsigned n_workers;
    struct kj_lsh lsh;
    struct kj_spill_params params;
    const char *dir;
    bool may_spill;
    size_t units;         /* shingles of all documents so far */
    uint64_t n_docs, sum; /* numbers given to documents; checksum over them */
    struct kj_index index;
};
struct survey *kj_dedup_reading_new(struct dedup *c, unsigned threads);
void kj_dedup_reading_free(struct survey *s);
int kj_dedup_work_keys(void *ctx, unsigned worker, struct kj_batch *b,
                       struct kj_err *err);
int kj_dedup_work_sets(void *ctx, unsigned worker, struct kj_batch *b,
                       struct kj_err *err);

/* Start afresh: the permutations, the budget. */
void kj_dedup_prepare(struct dedup *c, const struct kj_corpus *corpus, int64_t memory);
/* Bands of keys: 1 for exact. */
unsigned kj_dedup_bands(const struct dedup *c);
/* What signatures depend on. */
struct kj_spill_params kj_dedup_params(const struct dedup *c, uint64_t seed);

/* needs.c */
void kj_dedup_needs(const void *cfg, double factor, unsigned threads, int64_t memory,
                    struct kj_needs *out);

/* Keys and candidate of one document at once. */
int kj_dedup_find(struct survey *s, unsigned worker, struct kj_batch *b,
                  const struct kj_doc *d, struct kj_dedup_found *f, struct kj_err *err);
/* The check word and the fate of a document. */
int kj_dedup_fate(const struct dedup *c, struct kj_external_reader *r, uint64_t doc,
                  uint32_t *check, struct kj_fate *f, bool *found, struct kj_err *err);

/* survey_index.c: earlier corpora in a survey. Their documents get the numbers
 * behind those of the corpus. Behind the first reading: which come before this
 * corpus, and their keys; behind the second: those that share a bucket with a
 * document of the corpus; in the end: what is kept goes to the index. */
int kj_dedup_index_keys(struct survey *s, struct kj_err *err);
int kj_dedup_index_candidates(struct survey *s, struct kj_err *err);
int kj_dedup_index_append(struct survey *s, struct kj_corpus *corpus,
                          struct kj_err *err);

int kj_dedup_survey(void *cfg, struct kj_corpus *corpus, struct kj_err *err);
/* The number that document `serial` of this run had when it was surveyed. */
uint64_t kj_dedup_number(const struct dedup *c, uint64_t serial);
/* Free what the survey found. */
void kj_dedup_forget(struct dedup *c);
/* Documents that d stands for already. */
uint64_t kj_dedup_weight(const struct kj_doc *d, struct kj_batch *b);
/* KJ_FATAL: the batch's arena is full. */
int kj_dedup_too_large(const struct kj_doc *d, struct kj_err *err);
/* The part of --memory that is left for the survey. */
int64_t kj_dedup_memory(int64_t memory, unsigned threads);

#endif
