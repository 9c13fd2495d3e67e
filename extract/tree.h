/* tree.h - an HTML page as a flat tree in document order.
 *
 * The tree is the one that the HTML standard's parser builds (tokens in
 * token.c, construction in build.c and modes.c), laid out in one array in
 * document order: the subtree of node i is i .. end-1, and no recursion is
 * needed to walk it. Only attributes that somebody reads are kept.
 *
 * What is never text has no nodes: scripts, styles, SVG, templates, comments,
 * controls of forms other than buttons. Scripts of JSON-LD are put aside in ld,
 * those that hold TeX become text.
 *
 * Caps (bytes, nodes, depth, time) end in KJ_BAD_RECORD with a rule.
 * Thread-safety: one object per thread.
 */
#ifndef KJ_EXTRACT_TREE_H
#define KJ_EXTRACT_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "extract/tags.h"

struct kj_err;

struct kj_html_limits {
    size_t bytes; /* of the page, decoded */
    size_t nodes;
    size_t depth;      /* deeper elements are dissolved in their parent, text kept */
    size_t depth_stop; /* where the page is given up */
    double seconds;    /* of processor time for parsing */
};
#define KJ_HTML_LIMITS                                                                 \
    {                                                                                  \
        (size_t)16 << 20, 1000000, 256, 4096, 20                                       \
    }

/* Attributes that are kept; absent ones are {NULL,0}. */
struct kj_attrs {
    struct kj_str cls, id, role, href, lang, itemprop, itemtype, style, rel, type, alt,
        name, content, property, datetime, src, controls;
    bool hidden;      /* hidden, or aria-hidden=true */
    bool aria;        /* the latter */
    uint8_t expanded; /* aria-expanded: 1 false, 2 true */
};

struct kj_node {
    uint32_t parent; /* 0 for the root, which is node 0 */
    uint32_t end;    /* behind the last node of the subtree */
    uint8_t tag;     /* enum kj_tag */
    uint8_t flags;   /* for whoever works on the tree */
    uint16_t depth;
    union {
        struct kj_str text;          /* KJ_TAG_TEXT */
        const struct kj_attrs *attr; /* elements; NULL: none of interest */
    };
};

struct kj_builder;

struct kj_tree {
    struct kj_node *nodes;
    size_t n, cap;
    struct kj_arena arena; /* decoded text, attributes; reset by every parse */
    struct kj_buf ld;      /* JSON-LD scripts of the page, one a line */
    const char *rule;      /* which cap was hit, else NULL */
    struct kj_builder *b;  /* the parser's own */
};

void kj_tree_init(struct kj_tree *t);
void kj_tree_release(struct kj_tree *t);

/* Parse a page of valid UTF-8. Views in the tree point into p or into the tree's
 * arena: they live until the next parse, and as long as p does. KJ_OK, or
 * KJ_BAD_RECORD when a cap was hit (t->rule says which: "extract.html_bytes",
 * "extract.html_nodes", "extract.html_depth", "extract.html_time"). */
int kj_tree_parse(struct kj_tree *t, const char *p, size_t n,
                  const struct kj_html_limits *lim, struct kj_err *err);

#endif
