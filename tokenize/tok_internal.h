/* tok_internal.h - what the files of the tokenizer share. */
#ifndef KJ_TOKENIZE_TOK_INTERNAL_H
#define KJ_TOKENIZE_TOK_INTERNAL_H

#include <string.h>

#include "base/mem.h"
#include "base/unicode.h"
#include "tokenize/tok_norm.h"
#include "tokenize/tokenizer.h"

#define TOK_NONE UINT32_MAX
/* Longest content of a token, bytes. */
#define TOK_TOKEN_MAX 65536u

struct kj_jval;
struct tok_pieces;

/* ---- byte alphabet of GPT-2 ---- */

/* Code point that stands for a byte. */
uint32_t tok_byte_char(unsigned char b);
/* The byte that a code point stands for, or -1. */
int tok_char_byte(uint32_t c);
/* Turn alphabet text into bytes at out (room for n); false if a character is
 * outside the alphabet. */
bool tok_unmap(const char *p, size_t n, char *out, size_t *len);
/* The first place of z (not empty) in bytes, or NULL. */
const char *tok_find(const char *p, size_t n, struct kj_str z);
/* Append bytes in alphabet text. */
int tok_map(struct kj_buf *b, const char *p, size_t n);

/* ---- hashing, for tables in memory only ---- */

__extension__ typedef unsigned __int128 tok_u128;

static inline uint64_t tok_mix(uint64_t a, uint64_t b)
{
    tok_u128 m = (tok_u128)a * b;
    return (uint64_t)m ^ (uint64_t)(m >> 64);
}

static inline uint64_t tok_load8(const char *p)
{
    uint64_t v;
    memcpy(&v, p, 8);
    return v;
}

/* Multiply and fold, eight bytes at a time, the last eight overlapping. */
static inline uint64_t tok_hash(const char *p, size_t n)
{
    const uint64_t k0 = 0x9E3779B97F4A7C15u, k1 = 0xD6E8FEB86659FD93u;
    uint64_t h = n * k1;
    if (n < 8) {
        uint64_t v = 0;
        if (n >= 4) {
            uint32_t a, b;
            memcpy(&a, p, 4);
            memcpy(&b, p + n - 4, 4);
            v = (uint64_t)a << 32 | b;
        } else if (n) {
            const unsigned char *u = (const unsigned char *)p;
            v = (uint64_t)u[0] << 16 | (uint64_t)u[n >> 1] << 8 | u[n - 1];
        }
        return tok_mix(v ^ k0, h ^ k1);
    }
    for (size_t i = 0; i + 8 < n; i += 8)
        h = tok_mix(tok_load8(p + i) ^ k0, h ^ k1);
    return tok_mix(tok_load8(p + n - 8) ^ k0, h ^ k1);
}

/* Up to 8 bytes as a number, zeros behind them. */
static inline uint64_t tok_load_few(const char *p, size_t n)
{
    const unsigned char *u = (const unsigned char *)p;
    uint32_t a, b;
    if (n == 8)
        return tok_load8(p);
    if (n >= 4) {
        memcpy(&a, p, 4);
        memcpy(&b, p + n - 4, 4);
        return a | (uint64_t)b << 8 * (n - 4);
    }
    return n ? u[0] | (uint64_t)u[n / 2] << 8 * (n / 2) |
                   (uint64_t)u[n - 1] << 8 * (n - 1)
             : 0;
}

/* Up to TOK_KEY_MAX bytes as two numbers. */
#define TOK_KEY_MAX 16
static inline void tok_key(const char *p, size_t n, uint64_t *key)
{
    key[0] = tok_load_few(p, n < 8 ? n : 8);
    key[1] = n > 8 ? tok_load8(p + n - 8) >> 8 * (16 - n) : 0;
}
static inline uint64_t tok_key_hash(const uint64_t *key)
{
    return tok_mix(key[0] ^ 0x9E3779B97F4A7C15u, key[1] ^ 0xD6E8FEB86659FD93u);
}
/* Of a key's numbers, those that are of its first n bytes. */
extern const uint64_t tok_key_masks[TOK_KEY_MAX + 1][2];

/* ---- model ---- */

struct tok_bytes {
    uint32_t off, len; /* in the blob; len 0: no such id */
};

/* A merge in the table of pairs (open addressing): left id, right id, rank in
 * one word of 20 + 20 + 24 bits, since the table is what the look-ups of new
 * words miss the cache on. */
#define TOK_PAIR_FREE  UINT64_MAX
#define TOK_MERGES_MAX ((1u << 24) - 1)
static inline uint64_t tok_pair_key(uint32_t a, uint32_t b)
{
    return (uint64_t)a << 20 | b;
}

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
    unsigned firsts; /* how many, and one of them */
    unsigned char some;
};

/* Patterns with a scanner of their own. */
enum tok_scan {
    TOK_SCAN_NONE,
    TOK_SCAN_GPT2,
    TOK_SCAN_LLAMA3,
    TOK_SCAN_QWEN2,
    TOK_SCAN_O200K,
    TOK_SCAN_TEKKEN
};
#define TOK_SCANS 5 /* from TOK_SCAN_GPT2 on */
enum tok_behavior {
    TOK_ISOLATED,
    TOK_REMOVED,
    TOK_CONTIGUOUS,
    TOK_WITH_PREVIOUS,
    TOK_WITH_NEXT
};
enum tok_step_kind {
    TOK_STEP_SPLIT,
    TOK_STEP_DIGITS,
    TOK_STEP_BYTES,
    TOK_STEP_META,  /* white space to a sign, and cuts in front of it */
    TOK_STEP_SPACE, /* cuts at white space */
    TOK_STEP_PUNCT, /* at punctuation */
    TOK_STEP_WORDS  /* runs of word characters, and of others but white space */
};
enum tok_first { TOK_FIRST_NEVER, TOK_FIRST_START, TOK_FIRST_ALWAYS };

struct tok_step {
    enum tok_step_kind kind;
    enum tok_scan scan;    /* SPLIT, BYTES */
    void *re;              /* SPLIT: pcre2_code of a pattern without scanner */
    struct kj_str literal; /* SPLIT: pattern that is a string */
    enum tok_behavior behavior;
    bool invert, individual; /* SPLIT; DIGITS */
    bool prefix_space;       /* BYTES */
    struct kj_str sign;      /* META */
    enum tok_first first;    /* META: whether the sign is put in front */
    bool split;              /* META */
};

#define TOK_STEPS_MAX 16

/* The pre-tokenizer by itself: the trainer has one without a model. */
struct tok_pre {
    struct tok_step steps[TOK_STEPS_MAX];
    size_t n_steps;
};

enum tok_kind { TOK_BPE, TOK_WORDPIECE, TOK_UNIGRAM };

/* Steps of a decoder, in the order of their names in tok_decode.c. */
enum tok_decoder_kind {
    TOK_DECODE_REPLACE,
    TOK_DECODE_BYTES, /* "<0xE2>" to a byte */
    TOK_DECODE_FUSE,
    TOK_DECODE_STRIP,
    TOK_DECODE_WORDPIECE,
    TOK_DECODE_META
};
struct tok_decoder {
    enum tok_decoder_kind kind;
    struct tok_norm replace;
    struct kj_str text; /* STRIP, META: the character; WORDPIECE: the prefix */
    size_t start, stop; /* STRIP: most that go on each side */
    bool cleanup;       /* WORDPIECE */
    bool front;         /* META: the sign was put in front */
};
#define TOK_DECODERS_MAX 16
struct tok_decoders {
    struct tok_decoder v[TOK_DECODERS_MAX];
    size_t n;
    bool apart; /* the file has none: tokens with spaces between them */
};

/* RAW: outside of the byte alphabet; not among the words. */
enum tok_id_flags { TOK_ADDED = 1, TOK_SPECIAL = 2, TOK_RAW = 4 };

struct kj_tok {
    char *name;
    char hash[40];
    struct kj_arena arena; /* strings of the file */
    uint32_t n_ids;
    struct tok_bytes *ids; /* [n_ids] */
    char *blob;            /* tok_key may be read anywhere in it */
    size_t blob_n, blob_cap;
    unsigned char *flags; /* [n_ids] of enum tok_id_flags */

    /* In large pages where they are large: their places are asked for at random. */
    /* By bytes, model entries only, open addressing by buckets of TOK_WORD_WAYS: 12
     * bits of hash, the last of them set, above 20 bits of id + 1, so that most of
     * what is not there is told by the table alone. */
    uint32_t *words;
    size_t words_mask; /* of buckets */
    uint64_t *pairs;
    size_t pairs_mask;
    /* Bits of pairs that exist: most pairs that are asked for do not, and this
     * table stays in the second-level cache where pairs does not. */
    uint64_t *filter; /* [TOK_FILTER_BITS / 64] */
    /* Id that a merge makes, by rank; NULL: it is the rank + made_base. */
    uint32_t *made;
    uint32_t made_base;
    size_t n_merges;      /* ranks are below */
    uint32_t *byte_ranks; /* [256 * 256]: rank of the merge of two bytes, or TOK_NONE */
    /* [65536], by code point: the id of a character of up to three bytes that
     * may be taken whole (tok_chars.c), with TOK_CHAR_... flags; else 0. */
    uint32_t *chars;
    /* Bits of pairs of characters that stand side by side in some token. */
    uint64_t *side;
    unsigned side_shift;
    /* By last byte of a character and first byte of the next: bits of such as
     * stand in a token that has only a part of one of them. */
    uint64_t parts[256][4];
    /* [65536], by code point: up to three ids of a character by itself, 20 bits
     * each, and their number above. */
    uint64_t *alone;
    uint32_t bytes[256]; /* id of each byte, TOK_NONE for bytes UTF-8 never has */
    bool ignore_merges;

    /* A BPE whose merging begins with characters. */
    bool by_chars;
    bool fallback;    /* unknown characters become the tokens of their bytes (bytes) */
    bool fuse;        /* unknown neighbours become one token */
    bool all_bytes;   /* no character is unknown */
    bool closed;      /* no merge takes a token that stands for something unknown */
    uint32_t unknown; /* or TOK_NONE */

    enum tok_kind kind;
    struct tok_pieces *pieces; /* WORDPIECE, UNIGRAM */

    struct tok_norms norms;
    struct tok_pre pre;

    struct tok_added *added;
    size_t n_added;
    struct tok_trie raw, normal; /* tokens matched before and behind the normalizer */

    uint32_t *head, *tail; /* template, ids */
    size_t n_head, n_tail;
    char *template_refused;      /* why the template cannot be applied, or NULL */
    struct tok_decoders decoder; /* but for byte-level BPE */
    char *decoder_refused;       /* why, or NULL */
};

static inline uint32_t tok_made(const struct kj_tok *t, uint32_t rank)
{
    return t->made ? t->made[rank] : rank + t->made_base;
}

#define TOK_WORD_WAYS 4
static inline uint32_t *tok_word_bucket(const struct kj_tok *t, uint64_t hash)
{
    return &t->words[(hash & t->words_mask) * TOK_WORD_WAYS];
}
static inline uint32_t tok_word_tag(uint64_t hash)
{
    return (uint32_t)(hash >> 52) | 1;
}
static inline uint64_t tok_word_hash(const char *p, size_t n)
{
    uint64_t key[2];
    if (n > TOK_KEY_MAX)
        return tok_hash(p, n);
    tok_key(p, n, key);
    return tok_key_hash(key);
}
/* What a hash most likely is of, to fetch it. */
static inline const struct tok_bytes *tok_word_likely(const struct kj_tok *t,
                                                      uint64_t hash)
{
    const uint32_t *b = tok_word_bucket(t, hash);
    uint32_t tag = tok_word_tag(hash), k = TOK_WORD_WAYS - 1;
    while (k && b[k] >> 20 != tag)
        k--;
    uint32_t id = (b[k] & ((1u << 20) - 1)) - 1;
    return &t->ids[id < t->n_ids ? id : 0];
}
/* The id of a model's entry, or TOK_NONE; by its hash; and of up to TOK_KEY_MAX bytes
 * by their key and its hash. */
uint32_t tok_word_find(const struct kj_tok *t, const char *p, size_t n);
uint32_t tok_word_hashed(const struct kj_tok *t, uint64_t hash, const char *p,
                         size_t n);
static inline uint32_t tok_word_keyed(const struct kj_tok *t, uint64_t hash,
                                      const uint64_t *key, size_t n)
{
    uint32_t tag = tok_word_tag(hash);
    for (;; hash++) {
        const uint32_t *b = tok_word_bucket(t, hash);
        unsigned hits = 0;
        for (unsigned k = 0; k < TOK_WORD_WAYS; k++)
            hits |= (unsigned)(b[k] >> 20 == tag) << k;
        for (; hits; hits &= hits - 1) {
            uint32_t id = (b[__builtin_ctz(hits)] & ((1u << 20) - 1)) - 1;
            const char *p = t->blob + t->ids[id].off;
            if (t->ids[id].len == n &&
                (((tok_load8(p) & tok_key_masks[n][0]) ^ key[0]) |
                 ((tok_load8(p + 8) & tok_key_masks[n][1]) ^ key[1])) == 0)
                return id;
        }
        if (!b[TOK_WORD_WAYS - 1])
            return TOK_NONE;
    }
}
#define TOK_FILTER_BITS (1u << 21)
static inline uint64_t tok_pair_hash(uint32_t a, uint32_t b)
{
    return tok_mix(tok_pair_key(a, b) ^ 0x9E3779B97F4A7C15u, 0xD6E8FEB86659FD93u);
}

/* The slot of a pair, or the free one where it would stand. */
static inline uint64_t *tok_pair_slot(const struct kj_tok *t, uint32_t a, uint32_t b)
{
    uint64_t key = tok_pair_key(a, b);
    size_t i = tok_pair_hash(a, b) & t->pairs_mask;
    while (t->pairs[i] >> 24 != key && t->pairs[i] != TOK_PAIR_FREE)
        i = (i + 1) & t->pairs_mask;
    return &t->pairs[i];
}
/* Rank of the merge of two ids, or TOK_NONE. */
static inline uint32_t tok_pair_rank(const struct kj_tok *t, uint32_t a, uint32_t b)
{
    uint32_t bit = tok_pair_hash(a, b) >> 43; /* 21 bits */
    if (!(t->filter[bit / 64] >> bit % 64 & 1))
        return TOK_NONE;
    uint64_t e = *tok_pair_slot(t, a, b);
    return e == TOK_PAIR_FREE ? TOK_NONE : (uint32_t)(e & TOK_MERGES_MAX);
}

/* The character may be taken whole behind a byte that is ASCII, or behind one
 * that is not and at the start of a word. */
#define TOK_CHAR_ASCII (1u << 31)
#define TOK_CHAR_OTHER (1u << 30)
/* And in front of any character, not just of ASCII and Hangul (or nothing). */
#define TOK_CHAR_FAR (1u << 29)
#define TOK_CHAR_ID  ((1u << 20) - 1)
void tok_chars_build(struct kj_tok *t);
/* Only t->side, for a BPE over characters. */
void tok_side_build(struct kj_tok *t);

/* The first byte of ASCII and of Hangul syllables. */
static inline bool tok_char_near(unsigned char c)
{
    return c < 0x80 || (c >= 0xEA && c <= 0xED);
}

/* False: in no token does b stand behind a. */
static inline uint32_t tok_char_hash(const struct kj_tok *t, uint32_t a, uint32_t b)
{
    return (a * 0x9E3779B1u + b) * 0x85EBCA6Bu >> t->side_shift;
}
static inline bool tok_char_pair(const struct kj_tok *t, uint32_t a, uint32_t b)
{
    uint32_t bit = tok_char_hash(t, a, b);
    return t->side[bit / 64] >> bit % 64 & 1;
}
/* False: no token has these bytes, the last and the first of two characters,
 * with only a part of one of the two. */
static inline bool tok_char_parts(const struct kj_tok *t, unsigned char a,
                                  unsigned char b)
{
    return t->parts[a][b / 64] >> b % 64 & 1;
}

/* ---- loading ---- */

#define REFUSE(...) return kj_err_set(err, KJ_FAIL, __VA_ARGS__)
/* Missing, or null. */
bool tok_absent(const struct kj_jval *v);
int tok_want_bool(const struct kj_jval *o, const char *path, const char *key,
                  bool other, bool *out, struct kj_err *err);
int tok_unsupported(struct kj_str type, const char *path, struct kj_err *err);
/* Room for ids and for words to enter. */
void tok_ids_alloc(struct kj_tok *t, uint32_t n_ids, size_t n_words);
/* Find the token of each byte; KJ_FAIL when one that text may hold is missing. */
int tok_bpe_bytes(struct kj_tok *t, struct kj_err *err);
/* Merges in order of rank, of equal pairs the last counts; the vocabulary and its
 * bytes are there. */
struct tok_cut {
    uint32_t a, b, id;
};
void tok_bpe_merges(struct kj_tok *t, const struct tok_cut *c, size_t n);
void tok_pairs_free(struct kj_tok *t);
/* Whether a name is that of a file of ranks; read its text. */
bool tok_tiktoken_is(const char *name);
int tok_tiktoken_load(struct kj_tok *t, const char *p, size_t n,
                      const struct kj_tok_ranks *given, struct kj_err *err);
/* The model's type, for what is read before it. */
int tok_model_kind(struct kj_tok *t, const struct kj_jval *root, struct kj_err *err);
int tok_load_model(struct kj_tok *t, const struct kj_jval *root, struct kj_err *err);
void tok_words_free(struct kj_tok *t);
/* Give an id its bytes, and enter it by their tok_word_hash. */
void tok_blob_add(struct kj_tok *t, uint32_t id, const char *p, size_t n);
void tok_word_insert(struct kj_tok *t, uint32_t id, uint64_t hash);
int tok_type_of(const struct kj_jval *v, const char *path, struct kj_str *type,
                struct kj_err *err);
int tok_wordpiece_load(struct kj_tok *t, const struct kj_jval *model,
                       struct kj_err *err);
int tok_unigram_load(struct kj_tok *t, const struct kj_jval *model, struct kj_err *err);
void tok_pieces_free(struct tok_pieces *m);
/* What the model is must be known. A decoder that is not supported is refused when
 * it is asked for. */
int tok_decoder_load(struct kj_tok *t, const struct kj_jval *v, struct kj_err *err);
void tok_decoder_release(struct tok_decoders *l);

/* ---- added tokens ---- */
/* False if the content is there already. */
bool tok_trie_add(struct tok_trie *t, struct kj_str s, uint32_t added);
void tok_trie_release(struct tok_trie *t);
/* The first place from `at` on where a token may start, or n. */
size_t tok_trie_skip(const struct tok_trie *t, const char *p, size_t n, size_t at);
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
    struct kj_buf text[TOK_STEPS_MAX]; /* of steps that change it */
    const char *begin; /* of the text in hand, when it begins the whole text */
    void *match;       /* pcre2_match_data */
    void *context;     /* pcre2_match_context */
    void *stack;       /* pcre2_jit_stack */
};

void tok_pre_state_init(struct tok_pre_state *s, const struct tok_pre *pre);
void tok_pre_state_release(struct tok_pre_state *s);
/* Cut VALID UTF-8 into words. */
int tok_pre_run(struct tok_pre_state *s, const char *p, size_t n, tok_word_fn *fn,
                void *ctx, struct kj_err *err);

/* The scanner whose words are all that the steps do, or TOK_SCAN_NONE. */
enum tok_scan tok_pre_scan(const struct tok_pre *pre);

/* Longest pattern, bytes. */
#define TOK_PATTERN_MAX 65536

/* The scanner for a pattern, or TOK_SCAN_NONE. */
enum tok_scan tok_scan_known(const char *pattern, size_t n);
const char *tok_scan_pattern(enum tok_scan scan);
/* By a name: gpt2, llama3, qwen2, o200k, tekken. */
enum tok_scan tok_scan_named(const char *name);
void tok_scan_init(void);
/* End of the word that starts at s[at], at < n. Text is valid UTF-8. */
size_t tok_scan_next(enum tok_scan scan, const char *s, size_t n, size_t at);
/* Compile a pattern as its author's library reads it; `path` stands in the
 * message. */
enum tok_regex { TOK_ONIGURUMA, TOK_RUST };
int tok_pattern_compile(struct tok_step *s, enum tok_regex kind, const char *p,
                        size_t n, const char *path, struct kj_err *err);
void tok_pre_release(struct tok_pre *pre);

#endif
