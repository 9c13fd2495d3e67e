/* build.h - the pieces of HTML's tree construction. Internal to extract/.
 *
 * build.c has the stack of open elements, the list of active formatting
 * elements and the insertion of nodes (with foster parents and the adoption
 * agency); modes*.c the insertion modes that use them; all follow section
 * 13.2.6 of the HTML standard and its names.
 *
 * Nodes are made in the array of the tree with links beside them. As long as
 * nothing was put in front of what already stood, the array is in document
 * order as it is; else it is put in order at the end.
 *
 * Three kinds of open elements have no node of their own: muted ones (in SVG,
 * buttons), whose content has none either, and those deeper than the limit,
 * which share the node of the one they lie in.
 */
#ifndef KJ_EXTRACT_BUILD_H
#define KJ_EXTRACT_BUILD_H

#include "extract/token.h"

enum kj_mode {
    KJ_M_BEFORE_HTML,
    KJ_M_BEFORE_HEAD,
    KJ_M_IN_HEAD,
    KJ_M_IN_HEAD_NOSCRIPT,
    KJ_M_AFTER_HEAD,
    KJ_M_IN_BODY,
    KJ_M_IN_TABLE,
    KJ_M_IN_CAPTION,
    KJ_M_IN_COLGROUP,
    KJ_M_IN_TBODY,
    KJ_M_IN_ROW,
    KJ_M_IN_CELL,
    KJ_M_AFTER_BODY,
    KJ_M_FRAMESET
};

/* What an element is to the parser. */
enum kj_parse_class {
    KJ_P_SPECIAL = 1 << 0,
    KJ_P_SCOPE = 1 << 1,    /* bounds every scope */
    KJ_P_FORMAT = 1 << 2,   /* formatting elements */
    KJ_P_IMPLIED = 1 << 3,  /* end tag may be left out */
    KJ_P_BREAKOUT = 1 << 4, /* ends math and svg */
    KJ_P_VOID = 1 << 5,
    KJ_P_CLOSES_P = 1 << 6,  /* start tags that end a paragraph, and no more */
    KJ_P_BLOCK_END = 1 << 7, /* end tags that only close their element */
    KJ_P_TABLE = 1 << 8,     /* caption col colgroup tbody td tfoot th thead tr */
    KJ_P_HEAD = 1 << 9,      /* handled as in head, also in the body */
    /* of single open elements */
    KJ_P_NO_NODE = 1 << 10,    /* shares the node of another */
    KJ_P_TEXT_POINT = 1 << 11, /* MathML text integration point */
    KJ_P_HTML_POINT = 1 << 12, /* HTML integration point */
    KJ_P_MUTE = 1 << 13
};
extern const uint16_t kj_parse_classes[KJ_N_TAGS];
static inline unsigned kj_parse_class(enum kj_tag t)
{
    return kj_parse_classes[t];
}

enum kj_ns { KJ_NS_HTML, KJ_NS_MATH, KJ_NS_SVG };
#define KJ_NO_NODE UINT32_MAX

struct kj_open {
    uint32_t node; /* KJ_NO_NODE: muted */
    uint32_t id;   /* of the element, never given twice */
    uint32_t name;
    uint16_t is; /* enum kj_parse_class */
    uint8_t tag, ns;
    /* The stack below, at a glance: where the next element of the same name lies
     * (HTML only), the next that bounds scopes, the next special one; each plus
     * one, 0 for none. */
    uint32_t same, scope, special;
    struct kj_attrs *attr;
};

struct kj_format {
    uint32_t id; /* 0: a marker */
    uint8_t tag;
    bool open; /* is on the stack */
    struct kj_attrs *attr;
    struct kj_str text; /* the attributes as they stood */
};

/* Of a text node, first is the room behind its text in the arena, if it is
 * there. 0 is no node: nothing comes before the root. */
struct kj_links {
    uint32_t first, last, prev, next;
};

enum {
    KJ_FORMATS = 128, /* the oldest are forgotten */
    KJ_NAMES = 1024
};

struct kj_builder {
    struct kj_tree *t;
    const struct kj_html_limits *lim;
    struct kj_lexer lex;
    struct kj_token tok;
    struct kj_links *links;
    size_t links_cap;
    struct kj_node *sorted; /* the array in document order */
    size_t sorted_cap;
    struct kj_open *stack;
    size_t n, stack_cap;
    struct kj_format formats[KJ_FORMATS];
    size_t n_formats;
    /* Where the topmost of each kind lies on the stack, plus one; see kj_open. */
    uint32_t open[KJ_N_TAGS], scope, special;
    uint16_t names[KJ_NAMES]; /* how many open elements' names hash to this */
    uint32_t last_id, form, head, html, body;
    enum kj_mode mode;
    bool foster, moved, quirks, skip_newline, stopped;
    unsigned events;
    double start;
};

void kj_build_begin(struct kj_builder *b, const char *p, size_t n);
void kj_build_end(struct kj_builder *b); /* lays the tree out */
void kj_build_stop(struct kj_builder *b, const char *rule);
bool kj_build_in_time(struct kj_builder *b);

/* The token in b->tok, by the insertion mode. */
void kj_build_token(struct kj_builder *b);

/* Nodes. kj_build_element also pushes; a void one is not pushed. */
void kj_build_element(struct kj_builder *b, enum kj_ns ns, unsigned is);
void kj_build_html(struct kj_builder *b, enum kj_tag tag, struct kj_attrs *a);
uint32_t kj_build_void(struct kj_builder *b, enum kj_tag tag, struct kj_attrs *a);
void kj_build_text(struct kj_builder *b, struct kj_str s);
/* A node with one text in it at the end of another. */
void kj_build_leaf(struct kj_builder *b, uint32_t under, enum kj_tag tag,
                   struct kj_attrs *a, struct kj_str text);

/* Where a node goes. */
struct kj_place {
    uint32_t parent; /* KJ_NO_NODE: nowhere */
    uint32_t before; /* 0: at the end */
};
struct kj_place kj_place_in(struct kj_builder *b, const struct kj_open *e);
uint32_t kj_node_new(struct kj_builder *b, enum kj_tag tag); /* hangs nowhere yet */
void kj_node_detach(struct kj_builder *b, uint32_t i);
void kj_node_attach(struct kj_builder *b, uint32_t i, uint32_t parent, uint32_t before);

/* The stack. */
static inline struct kj_open *kj_top(struct kj_builder *b)
{
    return &b->stack[b->n - 1];
}
static inline bool kj_is(const struct kj_open *e, enum kj_tag tag)
{
    return e->tag == tag && e->ns == KJ_NS_HTML;
}
static inline bool kj_top_is(struct kj_builder *b, enum kj_tag tag)
{
    return kj_is(kj_top(b), tag);
}
void kj_pop(struct kj_builder *b);
void kj_pop_to(struct kj_builder *b, size_t n);           /* n stay */
void kj_pop_until(struct kj_builder *b, enum kj_tag tag); /* with it */
void kj_remove(struct kj_builder *b, size_t i);
void kj_take_out(struct kj_builder *b, size_t i); /* the same before kj_relink */
void kj_relink(struct kj_builder *b);             /* after other changes of the stack */
void kj_implied(struct kj_builder *b, enum kj_tag but); /* implied end tags */
enum kj_scope { KJ_SCOPE, KJ_SCOPE_BUTTON, KJ_SCOPE_LIST, KJ_SCOPE_TABLE };
bool kj_in_scope(const struct kj_builder *b, enum kj_tag tag, enum kj_scope scope);
void kj_close_p(struct kj_builder *b);

/* Formatting elements. */
void kj_format_push(struct kj_builder *b); /* the element just opened */
void kj_format_mark(struct kj_builder *b);
void kj_format_clear(struct kj_builder *b); /* to the last marker */
bool kj_format_find(const struct kj_builder *b, enum kj_tag tag, size_t *at);
void kj_format_remove(struct kj_builder *b, size_t at);
void kj_format_again(struct kj_builder *b); /* reconstruct the active ones */
void kj_adopt(struct kj_builder *b, enum kj_tag tag);
void kj_any_end(struct kj_builder *b); /* any other end tag */

#endif
