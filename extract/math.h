/* math.h - formulas as TeX. Internal to extract/.
 *
 * What pages carry beside the glyphs: the annotation "application/x-tex" or the
 * attribute alttext of MathML (Wikipedia, KaTeX, LaTeXML, MathJax 3), the
 * scripts "math/tex" of MathJax 2, and the alternative text of images of
 * formulas. Written as $...$, or $$...$$ where it stands alone. */
#ifndef KJ_EXTRACT_MATH_H
#define KJ_EXTRACT_MATH_H

#include "extract/tree.h"

/* Do the names of an image's class say that it shows a formula? */
bool kj_math_image(struct kj_str cls);

/* Is this the start tag of a script that holds TeX? Then its content goes to
 * out as text of the page. */
bool kj_math_script(const char *tag, size_t n, bool *display);
int kj_math_put(struct kj_buf *out, const char *tex, size_t n, bool display);

/* Put the TeX of each formula in the place of its glyphs, and mark what only
 * repeats it. */
void kj_math_resolve(struct kj_tree *t);

#endif
