/* tok_internal.h - what the files of the tokenizer share. */
#ifndef KJ_TOKENIZE_TOK_INTERNAL_H
#define KJ_TOKENIZE_TOK_INTERNAL_H

#include "base/mem.h"
#include "base/unicode.h"
#include "tokenize/tokenizer.h"

#define TOK_NONE UINT32_MAX
/* Longest content of a token, bytes. */
#define TOK_TOKEN_MAX 65536u

struct kj_jval;

/* ---- byte alphabet of GPT-2 ---- */

/* Code point that stands for a byte. */
uint32_t tok_byte_char(unsigned char b);
/* The byte that a code point stands for, or -1. */
int tok_char_byte(uint32_t c);
/* Turn alphabet text into bytes at out (room for n); false if a character is
 * outside the alphabet. */
bool tok_unmap(const char *p, size_t n, char *out, size_t *len);
/* Append bytes in alphabet text. */
int tok_map(struct kj_buf *b, const char *p, size_t n);

uint64_t tok_hash(const char *p, size_t n);

/* ---- model ---- */

struct tok_bytes {
    uint32_t off, len; /* in the blob; len 0: no such id */
};

/* A merge in the table of pairs, open addressing; key == EMPTY: free. */
struct tok_pair {
    uint32_t a, b;
    uint32_t rank, id;
};

struct tok_added {
    struct kj_str content;
    uint32_t id;
    bool single_word, lstrip, rstrip, normalized, special;
};

/* Trie over the contents of added tokens: nodes with sorted siblings. */
struct tok_node {
    unsigned char c;
    uint32_t child, sibling; /* 0: none */
    uint32_t added;          /* index in added, TOK_NONE: no end here */
};
struct tok_trie {
    struct tok_node *v; /* v[0] is the root */
    size_t n, cap;
    bool first[256]; /* bytes with which a token starts */
};

/* Patterns with a scanner of their own. */
enum tok_scan { TOK_SCAN_NONE, TOK_SCAN_GPT2, TOK_SCAN_LLAMA3, TOK_SCAN_QWEN2 };
enum tok_behavior {
    TOK_ISOLATED,
    TOK_REMOVED,
    TOK_CONTIGUOUS,
    TOK_WITH_PREVIOUS,
    TOK_WITH_NEXT
};
enum tok_step_kind { TOK_STEP_SPLIT, TOK_STEP_DIGITS, TOK_STEP_BYTES };

struct tok_step {
    enum tok_step_kind kind;
    enum tok_scan scan;    /* SPLIT, BYTES */
    void *re;              /* SPLIT: pcre2_code of a pattern without scanner */
    struct kj_str literal; /* SPLIT: pattern that is a string */
    enum tok_behavior behavior;
    bool invert, individual; /* SPLIT; DIGITS */
    bool prefix_space;       /* BYTES */
};

#define TOK_STEPS_MAX 16
#define TOK_NORMS_MAX 8

/* The pre-tokenizer by itself: the trainer has one without a model. */
struct tok_pre {
    struct tok_step steps[TOK_STEPS_MAX];
    size_t n_steps;
};

enum tok_id_flags { TOK_ADDED = 1, TOK_SPECIAL = 2 };

struct kj_tok {
    char *name;
    char hash[40];
    struct kj_arena arena; /* strings of the file */
    uint32_t n_ids;
    struct tok_bytes *ids; /* [n_ids] */
    char *blob;
    size_t blob_n, blob_cap;
    unsigned char *flags; /* [n_ids] of enum tok_id_flags */

    uint32_t *words; /* bytes -> id + 1, open addressing; model entries only */
    size_t words_mask;
    struct tok_pair *pairs;
    size_t pairs_mask;
    uint32_t *byte_pairs; /* [256 * 256]: slot in pairs, or TOK_NONE */
    uint32_t bytes[256];  /* id of each byte, TOK_NONE for bytes UTF-8 never has */
    bool ignore_merges;

    enum kj_nf norms[TOK_NORMS_MAX];
    size_t n_norms;
    struct tok_pre pre;

    struct tok_added *added;
    size_t n_added;
    struct tok_trie raw, normal; /* tokens matched before and behind the normalizer */

    uint32_t *head, *tail; /* template, ids */
    size_t n_head, n_tail;
    char *template_refused; /* why the template cannot be applied, or NULL */
};

uint32_t tok_word_find(const struct kj_tok *t, const char *p, size_t n);
struct tok_pair *tok_pair_find(const struct kj_tok *t, uint32_t a, uint32_t b);

/* ---- loading ---- */

#define REFUSE(...) return kj_err_set(err, KJ_FAIL, __VA_ARGS__)
/* Missing, or null. */
bool tok_absent(const struct kj_jval *v);
int tok_want_bool(const struct kj_jval *o, const char *path, const char *key,
                  bool other, bool *out, struct kj_err *err);
int tok_unsupported(struct kj_str type, const char *path, struct kj_err *err);
int tok_load_model(struct kj_tok *t, const struct kj_jval *root, struct kj_err *err);
/* Give an id its bytes. */
void tok_blob_add(struct kj_tok *t, uint32_t id, const char *p, size_t n);

/* ---- added tokens ---- */
/* False if the content is there already. */
bool tok_trie_add(struct tok_trie *t, struct kj_str s, uint32_t added);
void tok_trie_release(struct tok_trie *t);
/* Longest token at p[0..n) and its length, or TOK_NONE. */
uint32_t tok_trie_longest(const struct tok_trie *t, const char *p, size_t n,
                          size_t *len);

/* ---- pre-tokenizer ---- */

/* Called with each word. KJ_OK or negative. */
typedef int tok_word_fn(void *ctx, const char *p, size_t n, struct kj_err *err);

struct tok_span {
    size_t b, e;
    bool match;
};
struct tok_spans {
    struct tok_span *v;
    size_t n, cap;
};

/* Scratch of one thread. */
struct tok_pre_state {
    const struct tok_pre *pre;
    struct tok_spans spans[TOK_STEPS_MAX];
    struct kj_buf prefixed;
    void *match;   /* pcre2_match_data */
    void *context; /* pcre2_match_context */
    void *stack;   /* pcre2_jit_stack */
};

void tok_pre_state_init(struct tok_pre_state *s, const struct tok_pre *pre);
void tok_pre_state_release(struct tok_pre_state *s);
/* Cut VALID UTF-8 into words. */
int tok_pre_run(struct tok_pre_state *s, const char *p, size_t n, tok_word_fn *fn,
                void *ctx, struct kj_err *err);

/* The scanner for a pattern, or TOK_SCAN_NONE. */
enum tok_scan tok_scan_known(const char *pattern, size_t n);
const char *tok_scan_pattern(enum tok_scan scan);
void tok_scan_init(void);
/* End of the word that starts at p[at], at < n. Text is valid UTF-8. */
size_t tok_scan_next(enum tok_scan scan, const char *p, size_t n, size_t at);
/* Compile a pattern; `path` stands in the message. */
int tok_pattern_compile(struct tok_step *s, const char *p, size_t n, const char *path,
                        struct kj_err *err);
void tok_pre_release(struct tok_pre *pre);

#endif
