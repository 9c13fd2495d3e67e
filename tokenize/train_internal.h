/* train_internal.h - what the files of the trainer share. */
#ifndef KJ_TOKENIZE_TRAIN_INTERNAL_H
#define KJ_TOKENIZE_TRAIN_INTERNAL_H

#include "tokenize/tok_internal.h"
#include "tokenize/train.h"

/* Distinct words with their counts. */
struct tok_word {
    uint64_t off, count;
    uint32_t len, hash;
};
struct tok_words {
    char *blob;
    size_t blob_n, blob_cap;
    struct tok_word *v;
    size_t n, cap;
    uint32_t *table; /* index + 1 */
    size_t mask;
    size_t limit; /* bytes; 0: none */
    uint64_t total, forgotten;
};
void tok_words_add(struct tok_words *w, const char *p, uint32_t n, uint64_t hash,
                   uint64_t count);
void tok_words_release(struct tok_words *w);

/* A sample of at least `want` bytes, or of all there is (train_sample.c). */
struct tok_sampled {
    uint64_t hash, order;
    char *p; /* owned */
    size_t n;
};
struct tok_sample {
    uint64_t want, seed;
    /* rest: zero */
    uint64_t bytes, seen;
    struct tok_sampled *v; /* a heap, the last one in front */
    size_t n, cap, at;
};
/* A sink's write. self is the sample. */
int tok_sample_gather(void *self, struct kj_batch *b, struct kj_err *err);
/* Its documents, without ids, in an order of its own; once. Their text is the
 * sample's. */
struct kj_source tok_sample_source(struct tok_sample *s);
void tok_sample_release(struct tok_sample *s);

/* The vocabulary that grows. */
struct tok_made {
    struct kj_str content; /* bytes; of a special token its text */
    bool special;
};
struct tok_vocab {
    struct kj_arena arena;
    struct tok_made *v;
    size_t n, cap;
    uint32_t *table; /* by bytes: id + 1; tokens outside the alphabet are not in */
    size_t mask;
    struct tok_rule {
        uint32_t a, b;
    } * merges;
    size_t n_merges, cap_merges;
};
void tok_vocab_init(struct tok_vocab *v, const struct kj_strs *special);
void tok_vocab_release(struct tok_vocab *v);

/* Merge until the vocabulary is full or no pair is frequent enough. Uses up
 * the words. */
struct tok_until {
    uint64_t vocab_size, min_frequency;
    uint64_t max_length; /* of a token, bytes; 0: any */
    const atomic_bool *stop;
};
int tok_train_merges(struct tok_vocab *v, struct tok_words *w,
                     const struct tok_until *until, struct kj_err *err);

/* The Split steps of the pre-tokenizer are patterns[0..n). */
int tok_train_json(const struct tok_vocab *v, const char *const *patterns, size_t n,
                   struct kj_buf *out);

#endif
