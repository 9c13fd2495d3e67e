/* render.h - a marked tree as text or Markdown. Internal to extract/. */
#ifndef KJ_EXTRACT_RENDER_H
#define KJ_EXTRACT_RENDER_H

#include "extract/tree.h"

/* Append what is under root and not marked KJ_NF_SKIP. One line per paragraph,
 * heading, list item and table row; white space as a browser shows it; code
 * as it stands. Markdown adds its marks and blank lines. KJ_OK, or
 * KJ_BAD_RECORD at out's cap. */
int kj_render(const struct kj_tree *t, uint32_t root, bool markdown,
              struct kj_buf *out);

#endif
