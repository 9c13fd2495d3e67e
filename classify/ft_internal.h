/* ft_internal.h - what the parts of the fastText reader and trainer share.
 *
 * ft_load.c   file -> struct kj_ft, with every check
 * ft_text.c   text -> row numbers (words, character n-grams, word n-grams)
 * ft_predict.c rows -> hidden vector -> best labels
 * ft_near.c  a large matrix in large pages
 * ft_device.c many texts' rows -> hidden vectors, on a compute back end
 * ft_vocab.c  training text -> dictionary
 * ft_train.c  gradient descent
 * ft_quant.c  product quantisation
 * ft_save.c   struct kj_ft_file -> bytes
 */
#ifndef KJ_CLASSIFY_FT_INTERNAL_H
#define KJ_CLASSIFY_FT_INTERNAL_H

#include <string.h>

#include "base/err.h"
#include "base/map.h"
#include "classify/fasttext.h"

#define FT_MAGIC   793712314
#define FT_VERSION 12
#define FT_EOS     "</s>"
/* Threads in training read and write the same weights on purpose. */
#define FT_RACY __attribute__((no_sanitize("thread")))

#define FT_KSUB 256 /* centroids of a sub-quantiser: 8 bits */

/* Numbers in the file are little-endian and not aligned. */
static inline int32_t ft_i32(const void *p)
{
    int32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline int64_t ft_i64(const void *p)
{
    int64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* FNV-1a over bytes widened as SIGNED char: fastText hashes like that, and for
 * every byte over 0x7F it is another hash than the textbook's. */
#define FT_FNV 2166136261u
static inline uint32_t ft_fnv(uint32_t h, char c)
{
    return (h ^ (uint32_t)(int32_t)(signed char)c) * 16777619u;
}
static inline uint32_t ft_hash(const char *p, size_t n)
{
    uint32_t h = FT_FNV;
    for (size_t i = 0; i < n; i++)
        h = ft_fnv(h, p[i]);
    return h;
}

/* FNV's low bits are weak; tables index by the mixed value. */
static inline uint32_t ft_spread(uint32_t h)
{
    h ^= h >> 16;
    h *= 0x85EBCA6Bu;
    return h ^ h >> 13;
}

struct ft_pq {
    int32_t dim, nsubq, dsub, lastdsub;
    float *centroids; /* dim * FT_KSUB, owned copy (aligned) */
};

/* Input or output weights: dense rows, or codes with their centroids. */
struct ft_mat {
    bool quant;
    int64_t rows, cols;
    const unsigned char *data; /* dense: floats, not aligned */
    bool qnorm;
    const unsigned char *codes, *norm_codes; /* quantised */
    struct ft_pq pq, npq;
};

struct ft_slot { /* of the word table */
    uint32_t hash;
    int32_t id; /* -1: free */
};

struct ft_node { /* of the tree of labels */
    int32_t left, right;
};

/* What turns text into rows: shared by models and the trainer. */
struct ft_dict {
    int32_t n_words, n_labels;
    int32_t word_ngrams, bucket, minn, maxn;
    struct ft_slot *slots; /* slot_mask + 1 of them, a power of two */
    uint32_t slot_mask;
    /* word or label id -> its bytes */
    const char *text;
    const uint64_t *offs; /* n_words + n_labels + 1; entry i ends with a NUL */
    uint64_t gap;         /* bytes between a word's NUL and the next word */
    const char *prefix;   /* of labels; unknown words that begin so are skipped */
    size_t prefix_n;
    /* pruning: bucket -> row behind the words */
    int64_t n_pruned;      /* -1: not pruned */
    struct ft_slot *prune; /* hash is the bucket */
    uint32_t prune_mask;
    uint32_t *prune_bits; /* one bit a bucket, or NULL */
};

struct kj_ft {
    struct kj_ft_args args;
    struct ft_dict dict;
    int64_t n_tokens;
    int64_t *label_counts;
    struct ft_mat in, out;
    bool qout;
    float *out_t;         /* dense output: hs [label][dim], else [dim][label] */
    struct ft_node *tree; /* hs: 2 * labels - 1 nodes */
    uint64_t *offs;       /* owned; dict.offs */
    struct kj_map map;    /* empty when the memory is the caller's */
    struct ft_near *near; /* a large mapped matrix's copy; NULL: none is wanted */
    size_t memory;
};

struct kj_ft_scratch {
    int32_t *rows; /* of the current line */
    size_t n_rows, cap_rows, max_rows;
    int32_t *hashes; /* of its words */
    size_t n_hashes, cap_hashes;
    int32_t *labels;
    size_t n_labels, cap_labels;
    struct ft_tok { /* words cut out, looked up together */
        const char *p;
        size_t n;
        uint32_t hash;
    } * toks;
    float *hidden, *output;
    struct ft_best {
        float score; /* log p */
        int32_t label;
    } * heap;
    struct ft_walk {
        int32_t node;
        float score;
    } * stack;
    int32_t heap_cap;
};

/* ---- ft_text.c ---- */
/* Fill s->rows and s->labels from one line. *tokens counts words, labels and
 * the end of line. */
int ft_text_line(const struct ft_dict *d, struct kj_ft_scratch *s, const char *p,
                 size_t n, bool eol, size_t *used, int64_t *tokens, struct kj_err *err);
static inline const char *ft_dict_word(const struct ft_dict *d, int32_t id, size_t *n)
{
    *n = (size_t)(d->offs[id + 1] - d->offs[id] - d->gap - 1);
    return d->text + d->offs[id];
}
/* Build the tables for look-ups; each returns its size in bytes. to == NULL:
 * row i belongs to from[i]. */
size_t ft_dict_index(struct ft_dict *d, int32_t size);
size_t ft_dict_prune(struct ft_dict *d, const int32_t *from, const int32_t *to);
int32_t ft_dict_find(const struct ft_dict *d, const char *p, size_t n, uint32_t h);
/* One word of fastText's reader: advances *at; false at the end. An end of
 * line is the word FT_EOS. */
bool ft_text_word(const char *p, size_t n, size_t *at, const char **w, size_t *wn);

/* ---- ft_predict.c ---- */
float ft_log(float x);
float ft_sigmoid(float x);
void ft_softmax(float *v, size_t n);
void ft_tree_build(const int64_t *counts, int32_t n, struct ft_node *tree);
int ft_hidden(const struct kj_ft *m, struct kj_ft_scratch *s, struct kj_err *err);
/* kj_ft_score from a hidden vector that was made elsewhere; NULL: nothing known. */
int ft_score_hidden(const struct kj_ft *m, struct kj_ft_scratch *s, int32_t target,
                    const float *hidden, struct kj_ft_hit *hits, float *score,
                    struct kj_err *err);

/* ---- ft_near.c ---- */
/* Of a model that was mapped: have its matrix in large pages when that pays. min: bytes
 * of a matrix for which it may; 0: as measured. */
void ft_near_new(struct kj_ft *m, size_t min);
void ft_near_free(struct kj_ft *m);
/* Where the rows lie, or the codes of a quantised model; n_rows of them are about to be
 * read. Any thread. May copy a piece first. */
const unsigned char *ft_near_rows(const struct kj_ft *m, size_t n_rows);
/* For tests: copy once so many rows were read; is it still undecided or under way? */
void ft_near_after(struct kj_ft *m, uint64_t rows);
bool ft_near_open(const struct kj_ft *m);

/* ---- ft_vocab.c ---- */
struct ft_vocab {
    struct ft_dict dict;
    char *pool;
    uint64_t *offs;
    int64_t *counts; /* of words, then of labels */
    int64_t n_tokens;
};
int ft_vocab_build(struct ft_vocab *v, const struct kj_ft_train *o, const char *p,
                   size_t n, struct kj_err *err);
void ft_vocab_release(struct ft_vocab *v);

/* ---- ft_save.c ---- */
struct ft_file {
    struct kj_ft_args args;
    const struct ft_dict *dict; /* for the names */
    const int64_t *counts;      /* of words, then of labels */
    int64_t n_tokens;
    int64_t n_pruned;      /* -1: not pruned */
    const int32_t *pruned; /* n_pruned buckets, in the order of their rows */
    struct ft_mat in, out;
    bool qout;
};
int ft_save(const struct ft_file *f, struct kj_buf *out, struct kj_err *err);

/* ---- ft_train.c ---- */
/* Weights and text of one training run, new or continued. */
struct ft_job {
    const struct kj_ft_train *o;
    struct ft_dict *dict;
    const int64_t *label_counts;
    int64_t n_tokens;
    float *in, *out;
    int64_t in_rows;
    const char *text;
    size_t text_n;
    int loss;
    int32_t dim;
};
int ft_descend(struct ft_job *j, struct kj_ft_train_stats *stats, struct kj_err *err);

#endif
