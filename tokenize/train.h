/* train.h - training a byte-level BPE and writing it as tokenizer.json.
 *
 * The merges are those of Hugging Face's BpeTrainer with the ByteLevel
 * alphabet on the same sequences, pre-tokenizer, vocabulary size, minimum
 * frequency and special tokens: pairs by falling count, ties by the ids of
 * their parts. They do not depend on the number of threads.
 *
 * Rules for digits and white space stand in front of the pattern, as Split steps
 * that the file then names, so that whoever loads it cuts text the same way; for
 * digits the patterns llama3 and qwen2, which differ in nothing else, take each
 * other's place. A limit of token length is that trainer's max_token_length - 1:
 * it compares with "<". Sampling takes a document when XXH64(id, seed) falls into
 * the share, so that it does not depend on files, order or threads; sampling by bytes
 * takes the documents of least XXH64(id, seed) until they have so many, and holds
 * them in memory.
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

/* How numbers are cut: as the pattern says, into digits, or into groups of up to
 * three from the left. */
enum kj_tok_digits { KJ_TOK_DIGITS_PATTERN, KJ_TOK_DIGITS_SINGLE, KJ_TOK_DIGITS_THREE };
/* White space: as the pattern says; no token joins a line end to anything; or no
 * token joins white space to anything else. */
enum kj_tok_whitespace { KJ_TOK_SPACE_PATTERN, KJ_TOK_SPACE_LINES, KJ_TOK_SPACE_APART };

/* Settings; filled from kj_tok_train_opts by the command line or a recipe. */
struct kj_tok_train {
    int64_t vocab_size;    /* special tokens and bytes included */
    int64_t min_frequency; /* least count of a pair that is merged */
    const char *pattern;   /* llama3 (if NULL), qwen2, gpt2, o200k, tekken, a regex */
    struct kj_strs special;
    int64_t max_token_length; /* bytes; 0: any */
    int digits;               /* enum kj_tok_digits */
    int whitespace;           /* enum kj_tok_whitespace */
    double sample;            /* share of documents */
    int64_t sample_bytes;     /* of these so many bytes of text; 0: all */
    /* not options of its own: */
    int64_t memory;
    unsigned threads;
    unsigned shard, shards;
    int64_t limit;
    uint64_t seed;           /* of sampling */
    const atomic_bool *stop; /* may be NULL */
};
extern const struct kj_opt kj_tok_train_opts[];

struct kj_tok_train_result {
    uint64_t documents, bytes, damaged; /* documents that were sampled */
    uint64_t words, distinct;           /* counted, and different ones kept */
    uint64_t forgotten;                 /* distinct words pruned for memory */
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
