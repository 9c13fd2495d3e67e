/* content.h - which nodes of a page are its text. Internal to extract/.
 *
 * content.c marks subtrees to be left out (KJ_NF_SKIP) and names the root of
 * what remains; render.c writes that.
 */
#ifndef KJ_EXTRACT_CONTENT_H
#define KJ_EXTRACT_CONTENT_H

#include "extract/tree.h"

enum kj_node_flags { KJ_NF_SKIP = 1 << 0 };

struct kj_content {
    uint32_t root;    /* node under which the text lies */
    double share;     /* share of the page's visible text that is kept, 0..1 */
    uint32_t *text;   /* scratch: weight of text before each node */
    uint32_t *link;   /* the same inside links */
    uint32_t *weight; /* of each text node */
    uint16_t *hint;   /* enum kj_hints of each element */
    size_t cap;
    bool forum;
};

void kj_content_release(struct kj_content *c);
void kj_content_find(struct kj_content *c, struct kj_tree *t);

#endif
