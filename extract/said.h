/* said.h - runs of four words of a page: which blocks say what others say too,
 * and what the page's structured data says. Internal to extract/.
 *
 * A word is a run of ASCII letters and digits and of bytes above 0x7F; letters
 * count in lower case. A run of words is known by its hash.
 */
#ifndef KJ_EXTRACT_SAID_H
#define KJ_EXTRACT_SAID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"

/* Where the structured data (JSON-LD) has a run. */
enum kj_said_where {
    KJ_SAID_DESC = 1 << 0,   /* "description" */
    KJ_SAID_BODY = 1 << 1,   /* "articleBody" */
    KJ_SAID_ANSWER = 1 << 2, /* "text", of answers and posts */
    KJ_SAID_REVIEW = 1 << 3, /* "reviewBody" */
};
#define KJ_SAID_WHERE 4

struct kj_said_run {
    uint64_t hash;  /* 0: free */
    uint32_t texts; /* that have it */
    uint32_t last;  /* of them, plus one */
    uint32_t kept;  /* for whoever chooses among texts: how many of his have it */
    uint8_t said;   /* enum kj_said_where */
};

/* Zero it before the first use. */
struct kj_said {
    struct kj_said_run *table;
    size_t size, used, cap; /* slots: a power of two; cap are allocated */
    uint32_t *at;           /* the slots of the runs of all texts */
    size_t n, at_cap;
    uint64_t near[4]; /* the words in front of the next one, and their number */
    unsigned n_near;
    bool any; /* the structured data has runs */
};

void kj_said_release(struct kj_said *g);

/* Forget the last page; a table for texts of about so many bytes in all. */
void kj_said_begin(struct kj_said *g, size_t bytes);

/* What JSON-LD says, scripts one a line; of each kind at most 64 KiB are read. */
void kj_said_read_ld(struct kj_said *g, const char *p, size_t n);

/* A text is added piece by piece; its runs of words, not its words, run on. Its
 * runs are g->at[n .. g->n - 1], n the g->n in front of the first piece. */
void kj_said_text(struct kj_said *g);
void kj_said_add(struct kj_said *g, uint32_t text, const char *p, size_t n);

#endif
