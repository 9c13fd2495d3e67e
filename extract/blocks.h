/* blocks.h - a page as a row of blocks, and numbers that describe each.
 * Internal to extract/.
 *
 * A block is a run of text that no block element, cell or double line break
 * interrupts: a paragraph, a heading, a list item, a cell, a row of links.
 * judge.c tells from the numbers which blocks are the page's text.
 *
 * All numbers are about form: tags, hints of names (hints.h), lengths, links,
 * punctuation, repetition, place, and what the rules of content.c said. None is
 * a word of the text, so that they carry over between languages.
 */
#ifndef KJ_EXTRACT_BLOCKS_H
#define KJ_EXTRACT_BLOCKS_H

#include "extract/content.h"
#include "extract/said.h"

/* Numbers of one block. scripts/train_blocks must be run again when their
 * meaning changes. */
#define KJ_BLOCK_FEATURES 252 /* of the block */
#define KJ_PAGE_FEATURES  50  /* of its page */

/* Pages of more blocks are left to the rules: what a block needs of memory
 * and time is for pages, not for dumps of data bases. */
#define KJ_BLOCKS_MAX 40000
/* Pages of fewer, too: of so little there is nothing to learn from. */
#define KJ_BLOCKS_MIN 10

#define KJ_BLOCK_BOXES 3

struct kj_block {
    uint32_t first, end;    /* text nodes lie in first .. end-1 */
    uint32_t box;           /* the block element around it */
    uint32_t weight, link;  /* of its text (content.c), and inside links */
    uint64_t hash;          /* of its text without white space */
    uint32_t twins, twin;   /* blocks of the page with the same hash; which it is */
    uint32_t same;          /* the first of them */
    uint32_t before, links; /* weight of all blocks in front of it, and in links */
    uint32_t head, next;    /* the last heading (itself too) or n, and the next one */
    uint8_t phrase;         /* enum kj_phrase */
    /* Boxes around it, each with noticeably more text than the one before, and
     * the blocks in them: lo .. hi-1. */
    uint32_t wider[KJ_BLOCK_BOXES], lo[KJ_BLOCK_BOXES], hi[KJ_BLOCK_BOXES];
    uint32_t like;        /* which of the page's kinds of boxes it stands in */
    uint32_t run, n_runs; /* its runs of words in said.at */
};

/* Words that the page's head has, by hash: bit 0 the title, 1 the description,
 * 2 descriptions in JSON-LD. */
struct kj_words {
    uint64_t hash[1024];
    uint8_t where[1024];
    size_t n;
};

/* What is said of an element by it and all around it. */
struct kj_around {
    uint16_t hints; /* enum kj_hints */
    uint8_t rules;  /* enum kj_node_flags */
    uint16_t folds; /* enum kj_folds */
    uint32_t tags;  /* see blocks.c */
};

/* What is shown only when asked for, and what asks. */
enum kj_folds {
    KJ_FOLD_SHUT_KEY = 1 << 0, /* aria-expanded=false */
    KJ_FOLD_OPEN_KEY = 1 << 1, /* aria-expanded=true */
    KJ_FOLD_SHUT = 1 << 2,     /* what it unfolds */
    KJ_FOLD_OPEN = 1 << 3,
    KJ_FOLD_PANEL = 1 << 4,  /* role=tabpanel */
    KJ_FOLD_DIALOG = 1 << 5, /* role=dialog, alertdialog */
    KJ_FOLD_ARIA = 1 << 6,   /* aria-hidden=true */
    KJ_FOLD_STYLE = 1 << 7,  /* hidden by its style */
    KJ_FOLD_LIST = 1 << 8,   /* role=list, listitem */
    KJ_FOLD_TAB = 1 << 9,    /* role=tab */
};
#define KJ_FOLDS 10

struct kj_blocks {
    struct kj_block *b;
    size_t n, cap;
    struct kj_around *around; /* of each node */
    uint32_t *text, *link;    /* sums over the visible page, as in kj_content */
    uint32_t *kin;            /* siblings of an element of its tag and class */
    uint32_t *form;           /* hash of an element's tag and class */
    size_t node_cap;
    uint64_t *seen; /* hash table of block texts */
    uint32_t *count, *place;
    size_t seen_cap;
    struct kj_words words;
    struct kj_said said;
    size_t n_title;
    size_t kinds; /* values of like: 0 .. kinds-1 */
    uint32_t h1;  /* block of the first h1, or n */
    float page[KJ_PAGE_FEATURES];
};

void kj_blocks_release(struct kj_blocks *k);

/* Call when what can never be text is marked and before the rules run: keeps
 * the sums of the visible page. */
void kj_blocks_begin(struct kj_blocks *k, const struct kj_content *c,
                     const struct kj_tree *t);

/* Call behind the rules. False: too many blocks, or too few. */
bool kj_blocks_find(struct kj_blocks *k, const struct kj_content *c,
                    const struct kj_tree *t);

/* Its step that fills around, kin and form. */
void kj_blocks_look_around(struct kj_blocks *k, const struct kj_content *c,
                           const struct kj_tree *t);

/* The numbers of block i into x[KJ_BLOCK_FEATURES]; those of the page are in
 * k->page. How many were written. */
size_t kj_block_features(const struct kj_blocks *k, const struct kj_content *c,
                         const struct kj_tree *t, size_t i, float *x);

/* What the numbers are about, in their order, those of the page last. */
struct kj_block_group {
    const char *name;
    size_t n;
};
extern const struct kj_block_group kj_block_groups[];

/* Where the page's head has a word: bits of kj_words, 0 if nowhere. The hash is
 * FNV-1a over its bytes, ASCII letters in lower case. */
unsigned kj_words_find(const struct kj_words *w, uint64_t hash);

/* Counts by their order of magnitude: log(1 + v) * per, at most 1.5. */
float kj_squash(float v, float per);

#endif
