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

/* Are these the attributes of a script that holds TeX? Then its content is text
 * of the page. */
bool kj_math_script(struct kj_str attributes, bool *display);

/* TeX between its marks, in the arena; empty if there is none or no room. */
struct kj_str kj_math_tex(struct kj_arena *a, struct kj_str tex, bool display);

/* Put the TeX of each formula in the place of its glyphs, and mark what only
 * repeats it. */
void kj_math_resolve(struct kj_tree *t);

#endif
