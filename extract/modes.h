/* modes.h - the insertion modes of HTML's tree construction (13.2.6.4).
 * Internal to extract/.
 *
 * A function per mode takes the token in b->tok and says whether it is to be
 * taken again, by the mode that the builder is in by then. The modes of the head,
 * math and svg are in modes.c, that of the body in modes_body.c, those of tables
 * in modes_table.c.
 */
#ifndef KJ_EXTRACT_MODES_H
#define KJ_EXTRACT_MODES_H

#include "extract/build.h"

bool kj_mode_body(struct kj_builder *b);
bool kj_mode_after_body(struct kj_builder *b);
bool kj_mode_table(struct kj_builder *b);
bool kj_mode_caption(struct kj_builder *b);
bool kj_mode_colgroup(struct kj_builder *b);
bool kj_mode_tbody(struct kj_builder *b);
bool kj_mode_row(struct kj_builder *b);
bool kj_mode_cell(struct kj_builder *b);

/* What is consumed in one go where it begins, for it has no nodes: an element
 * whose content is characters (under: where a title goes, or KJ_NO_NODE for the
 * usual place), a template, a select (true if the token that ended it is to be
 * taken again), and what belongs in the head. */
void kj_pass_raw(struct kj_builder *b, uint32_t under);
void kj_pass_template(struct kj_builder *b);
bool kj_pass_select(struct kj_builder *b);
void kj_pass_head(struct kj_builder *b, uint32_t under);
/* Attributes that an element got later, from a second tag of its kind. */
void kj_build_merge(struct kj_builder *b, uint32_t node);
/* The blank start of the text goes to the place, if it may; false if that was
 * all of it. */
bool kj_build_blanks(struct kj_builder *b, bool keep);

static inline bool kj_is_heading(enum kj_tag t)
{
    return t >= KJ_TAG_h1 && t <= KJ_TAG_h6;
}
static inline bool kj_is_rows(enum kj_tag t)
{
    return t == KJ_TAG_tbody || t == KJ_TAG_tfoot || t == KJ_TAG_thead;
}
static inline bool kj_is_cell(enum kj_tag t)
{
    return t == KJ_TAG_td || t == KJ_TAG_th;
}
static inline bool kj_tag_is(enum kj_tag t, unsigned is)
{
    return kj_parse_class(t) & is;
}
static inline enum kj_tag kj_tok_tag(const struct kj_builder *b)
{
    return (enum kj_tag)b->tok.tag;
}
static inline void kj_insert(struct kj_builder *b)
{
    kj_build_element(b, KJ_NS_HTML, 0);
}
static inline void kj_insert_void(struct kj_builder *b)
{
    kj_build_void(b, kj_tok_tag(b), b->tok.attr);
}

#endif
