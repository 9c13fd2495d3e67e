/* train.h - training a byte-level BPE and writing it as tokenizer.json.
 *
 * The merges are those of Hugging Face's BpeTrainer with the ByteLevel
 * alphabet on the same sequences, pre-tokenizer, vocabulary size, minimum
 * frequency and special tokens: pairs by falling count, ties by the ids of
 * their parts. They do not depend on the number of threads.
 *
 * Words (pre-tokens) are counted in workers and added up in input order. When
 * the table of distinct words passes a quarter of `memory`, the rarest words
 * are forgotten, those seen once first (lossy counting); the result says how
 * many, and 0 means that the counts are exact. The merge phase takes about
 * eight bytes for each byte of distinct words, and the index of pairs.
 */
#ifndef KJ_TOKENIZE_TRAIN_H
#define KJ_TOKENIZE_TRAIN_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/flow.h"
#include "base/opt.h"

struct kj_buf;
struct kj_err;

/* Settings; filled from kj_tok_train_opts by the command line or a recipe. */
struct kj_tok_train {
    int64_t vocab_size;    /* special tokens and bytes included */
    int64_t min_frequency; /* least count of a pair that is merged */
    const char *pattern;   /* llama3, qwen2, gpt2, or a regular expression */
    struct kj_strs special;
    /* not options of its own: */
    int64_t memory;
    unsigned threads;
    unsigned shard, shards;
    int64_t limit;
    const atomic_bool *stop; /* may be NULL */
};
extern const struct kj_opt kj_tok_train_opts[];

struct kj_tok_train_result {
    uint64_t documents, bytes, damaged;
    uint64_t words, distinct; /* counted, and different ones kept */
    uint64_t forgotten;       /* distinct words pruned for memory */
    uint64_t vocab_size, merges;
};

/* Train on the kept documents of a source (closed in any case) and append the
 * text of tokenizer.json to out. KJ_USAGE: settings; else as the source. A run
 * stopped by *stop is KJ_FAIL. r may be NULL. */
int kj_tok_train_source(const struct kj_tok_train *c, const struct kj_source *src,
                        struct kj_buf *out, struct kj_tok_train_result *r,
                        struct kj_err *err);

/* The same, written to a file that appears whole or not at all. */
int kj_tok_train_file(const struct kj_tok_train *c, const struct kj_source *src,
                      const char *path, struct kj_tok_train_result *r,
                      struct kj_err *err);

/* A source over plain text: every line, its line end included if `ends`, is a
 * document; with ends this is how the reference's trainer reads files.
 * Lines that are not UTF-8 are damaged documents, rule "input.invalid_utf8".
 * The list is borrowed; "-" and an empty list are standard input. */
int kj_tok_text_source(struct kj_source *out, const char *const *files, size_t n,
                       bool ends, struct kj_err *err);

#endif
