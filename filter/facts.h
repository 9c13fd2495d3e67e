/* facts.h - what rules measure of one text, each thing found at most once.
 *
 * A worker owns one struct kj_facts and points it at one text after another.
 * Words, lines, paragraphs and n-gram counts are computed when a rule first
 * asks. Everything is linear in the text. Lengths are in code points unless
 * they say bytes; white space is Python's (str.isspace), because the rules
 * were published as Python.
 *
 * Definitions follow datatrove (huggingface/datatrove, 2026-08), whose code
 * is the de-facto reference of these rules:
 *
 *   words       the segments of a text, in one of three units: UAX #29 segments
 *               that are not all white space (punctuation counts as words, as
 *               in its tokenizers), runs without white space, or what morph.h
 *               takes for Korean morphemes
 *   solid words words with a character outside the punctuation set
 *   lines       three kinds, as three filters split differently: "pieces" by
 *               runs of \n (re.split(r'\n+')), "full" = pieces that are not
 *               blank, and "python" by str.splitlines()
 *   paragraphs  text.strip() split by two or more \n
 *   repeats     elements equal to an earlier one; the first is no repeat
 *   top n-gram  length of the most frequent n words joined by spaces (of
 *               equals the first) times its count
 *   dup n-grams total length of n words, joined without spaces, equal to an
 *               earlier such run; after a hit the scan goes on behind it
 *
 * N-grams, lines and paragraphs are compared by 64-bit hashes.
 */
#ifndef KJ_FILTER_FACTS_H
#define KJ_FILTER_FACTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "filter/korean.h"
#include "filter/table.h"

struct kj_dclm;
struct kj_doc;
struct kj_morph;

/* A text with more words or lines than this is not measured (facts.over):
 * it bounds the scratch of a worker to about 150 MB. Published recipes stop
 * at 100,000 words. */
#define KJ_FACTS_MAX (1u << 21)

enum kj_word_unit {
    KJ_WORDS_UAX29,
    KJ_WORDS_SPACE,
    KJ_WORDS_MORPHEME,
    KJ_WORDS_ALNUM, /* UAX #29 segments that begin with a letter or digit; for the
                       dclm. rules, not to be chosen in a recipe */
    KJ_WORD_UNITS
};

struct kj_words {
    bool ready;
    bool counted; /* only `count` is known */
    size_t count;
    size_t n;
    size_t n_solid, solid_chars;
    size_t n_alpha; /* words with a letter */
    /* Prefix sums over words, n + 1 entries each. */
    uint32_t *chars; /* code points of the words so far */
    uint32_t *bytes; /* bytes of the words so far */
    uint64_t *cat;   /* weighted bytes of the words so far; ngrams.c */
    uint64_t *spc;   /* the same with a space behind each word */
    uint64_t *hash;  /* of each word: kj_facts_hash */
    size_t cap;
    uint64_t cat_weight, spc_weight; /* of the next byte */
    bool have_grams[2];              /* dup; top */
    uint64_t gram[11];               /* by n: top 2..4, dup 5..10 */
};

struct kj_lines {
    bool ready;
    size_t pieces, dup_pieces, dup_piece_chars;
    size_t full, full_punct, full_short, dup_full_chars;
    size_t short_line; /* for which full_short was counted */
    bool py_ready;
    size_t py, py_bullet, py_ellipsis;
    bool para_ready;
    size_t paras, dup_paras, dup_para_chars;
};

struct kj_gram_count {
    uint32_t count, first;
};

/* Scratch of ngrams.c. */
struct kj_grams {
    uint64_t *marks, *weight;
    uint32_t *maybe;
    struct kj_gram_count *counts; /* beside the table's keys */
    size_t marks_cap, cap, counts_cap;
    struct kj_table table;
};
void kj_grams_release(struct kj_grams *g);

struct kj_facts {
    const struct kj_doc *doc;
    const char *p;
    size_t n;
    size_t chars, newlines, hashes, ellipses;
    bool odd_breaks; /* may hold line breaks other than \n */
    bool over;       /* a limit was hit: nothing measured is meant to be used */
    struct kj_words words[KJ_WORD_UNITS];
    struct kj_lines lines;
    struct kj_korean ko;
    struct kj_morph *morph; /* NULL until morphemes are asked for */
    struct kj_dclm *dclm;   /* what the dclm. rules count; dclm.h */
    struct kj_str came;     /* the text before any rule changed it */
    /* scratch */
    struct kj_table table; /* of lines and paragraphs */
    struct kj_grams grams;
    uint64_t *powers, *inverses; /* of B, of short words */
};

/* Bytes of a text: continuations, newlines, '#', '.', 0xC2, 0xE2, and control
 * characters that str.splitlines breaks at, \n not among them. */
struct kj_facts_bytes {
    size_t conts, newlines, hashes, dots, c2, e2, odd;
};
struct kj_facts_bytes kj_facts_tally(const char *p, size_t n);

void kj_facts_init(struct kj_facts *f);
void kj_facts_release(struct kj_facts *f);

/* Turn to a document's text (borrowed until the next call). Counts
 * characters, newlines, '#', and ellipses ("..." without overlap, and U+2026). */
void kj_facts_set(struct kj_facts *f, const struct kj_doc *d);
/* The same document, whose text is now this one (borrowed likewise). */
void kj_facts_text(struct kj_facts *f, struct kj_str text);

const struct kj_words *kj_facts_words(struct kj_facts *f, enum kj_word_unit unit);
/* Their number alone: less work where no other rule asks for the words. */
size_t kj_facts_word_count(struct kj_facts *f, enum kj_word_unit unit);
/* Code points of the top n-gram times its count; 0 when there is none. */
uint64_t kj_facts_top(struct kj_facts *f, enum kj_word_unit unit, unsigned n);
/* Code points in repeated n-grams. */
uint64_t kj_facts_dup(struct kj_facts *f, enum kj_word_unit unit, unsigned n);
const struct kj_lines *kj_facts_lines(struct kj_facts *f, size_t short_line);
const struct kj_lines *kj_facts_py_lines(struct kj_facts *f);
const struct kj_lines *kj_facts_paras(struct kj_facts *f);
const struct kj_korean *kj_facts_korean(struct kj_facts *f);

/* The hash of one word, a polynomial in B; and B^n. */
uint64_t kj_facts_hash(const char *p, size_t n);
uint64_t kj_facts_power(const struct kj_facts *f, size_t n);

/* The two character sets. Terminal: Sentence_Terminal of Unicode 15 and five
 * Khmer signs, as in datatrove. Punctuation: those, ASCII punctuation,
 * control characters without tab and newline, and 30 more. */
bool kj_char_terminal(uint32_t c);
bool kj_char_punct(uint32_t c);

#endif
