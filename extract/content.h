/* content.h - which nodes of a page are its text. Internal to extract/.
 *
 * content.c marks subtrees to be left out (KJ_NF_SKIP) and names the root of
 * what remains; render.c writes that.
 */
#ifndef KJ_EXTRACT_CONTENT_H
#define KJ_EXTRACT_CONTENT_H

#include "extract/hints.h"
#include "extract/tree.h"

enum kj_node_flags {
    KJ_NF_SKIP = 1 << 0,   /* left out; the others say by which rule */
    KJ_NF_HARD = 1 << 1,   /* never text: scripts, form controls */
    KJ_NF_HIDDEN = 1 << 2, /* not shown */
    KJ_NF_CHROME = 1 << 3, /* menus, page headers and footers, adverts */
    KJ_NF_LINKS = 1 << 4,  /* mostly links */
    KJ_NF_COMMENT = 1 << 5,
    KJ_NF_PHRASE = 1 << 6
};

struct kj_content {
    uint32_t root;    /* node under which the text lies */
    double share;     /* share of the page's visible text that is kept, 0..1 */
    uint32_t *text;   /* scratch: weight of text before each node */
    uint32_t *link;   /* the same inside links */
    uint32_t *weight; /* of each text node */
    uint64_t *hint;   /* of each element, see hints.h */
    size_t cap;
    struct kj_hint_memo *memo;
    bool forum;
};

void kj_content_release(struct kj_content *c);
/* Does an element's style hide it? */
bool kj_content_style_hides(struct kj_str style);

/* First what can never be text, then the rules. */
void kj_content_begin(struct kj_content *c, struct kj_tree *t);
void kj_content_find(struct kj_content *c, struct kj_tree *t);

/* When text nodes have been marked by somebody else: also skip the elements
 * all of whose text is, and set root and share. seen: the sums of text that
 * kj_content_begin left. */
void kj_content_settle(struct kj_content *c, struct kj_tree *t, const uint32_t *seen);

#endif
