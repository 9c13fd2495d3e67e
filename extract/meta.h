/* meta.h - what a page says of itself. Internal to extract/.
 *
 * From <title>, <meta>, <link>, <time>, rel=license links, and JSON-LD
 * (schema.org), in this order of belief. */
#ifndef KJ_EXTRACT_META_H
#define KJ_EXTRACT_META_H

#include "extract/html.h"
#include "extract/tree.h"

struct kj_json;

/* Fill what is found; views into the tree, into json's memory, or into the
 * tree's arena. */
void kj_meta_read(struct kj_tree *t, struct kj_json *json, struct kj_html_page *page);

#endif
