/* clean.h - rules that rewrite a text: lines that go, marks that are cut out.
 *
 * A cleaning rule changes the text at its place in a recipe; rules behind it
 * see what it left. It drops no document. Each takes the text, appends the new
 * one to `out`, and counts what it removed; when the two texts are equal,
 * nothing was changed. All are linear. "Lines" are parted by \n alone.
 *
 * Definitions: C4QualityFilter of datatrove and the modifiers of DCLM, which do
 * the same things in slightly different ways (c4. and dclm. rules).
 */
#ifndef KJ_FILTER_CLEAN_H
#define KJ_FILTER_CLEAN_H

#include <stddef.h>

#include "base/mem.h"

struct kj_filter_item;

/* KJ_OK, or KJ_BAD_RECORD at the cap of out. */
#define KJ_CLEAN(NAME)                                                                 \
    int kj_clean_##NAME(const struct kj_filter_item *it, struct kj_str text,           \
                        struct kj_buf *out, size_t *count)

KJ_CLEAN(split_lines);    /* any line break to \n, each line stripped */
KJ_CLEAN(strip);          /* white space at both ends of the text */
KJ_CLEAN(max_newlines);   /* longer runs of newlines */
KJ_CLEAN(max_word_len);   /* lines with a longer word */
KJ_CLEAN(citations);      /* [1] [edit] [citation needed] */
KJ_CLEAN(terminal_punct); /* lines without; rule->arg 1: DCLM's */
KJ_CLEAN(min_line_words); /* shorter lines; arg 1: empty ones stay */
KJ_CLEAN(javascript);     /* lines with that word; arg 1: DCLM's */
KJ_CLEAN(policy);         /* lines on cookies and terms; arg 1: DCLM's */
KJ_CLEAN(repeated_lines); /* lines that stood before */
KJ_CLEAN(upper_lines);    /* lines mostly in upper case */
KJ_CLEAN(digit_lines);    /* lines mostly of digits */
KJ_CLEAN(counter_lines);  /* "3 likes" */
KJ_CLEAN(cart);           /* "items in cart" */
KJ_CLEAN(read_more);      /* "Read more..." */
KJ_CLEAN(sign_in);        /* "Sign-in" */

#endif
