/* token.h - the words of HTML: tags and runs of text. Internal to extract/.
 *
 * The tokenizer of the HTML standard (section 13.2.5) over a whole page in
 * memory, with what no reader of text misses left out: comments and processing
 * instructions are no tokens, and of the attributes only those are read that
 * somebody asks for (struct kj_attrs). Text and values are views into the page
 * where nothing in them had to be decoded, else copies in the arena.
 *
 * It departs from the standard where that would cost a damaged page its text: of
 * a comment that never ends only the mark goes, and an element of raw text other
 * than a script or a style that never ends is passed over.
 *
 * Every function is linear in what it consumes, also on hostile input: what was
 * looked for in vain to the end of the page is not looked for again.
 */
#ifndef KJ_EXTRACT_TOKEN_H
#define KJ_EXTRACT_TOKEN_H

#include <stdbool.h>

#include "base/mem.h"
#include "extract/charref.h"
#include "extract/tree.h"

enum kj_token_kind {
    KJ_TOK_END,
    KJ_TOK_TEXT,
    KJ_TOK_OPEN,
    KJ_TOK_CLOSE,
    KJ_TOK_DOCTYPE
};

struct kj_token {
    uint8_t kind;
    uint8_t tag;           /* enum kj_tag */
    bool self_closing;     /* <x/> */
    bool styled;           /* has color, face or size (of font) */
    bool shadow;           /* has shadowrootmode (of template) */
    bool quirks;           /* of a doctype */
    uint32_t name;         /* hash of the lower-case name, for those not in the list */
    struct kj_str text;    /* of a run; of a tag, its attributes as they stand */
    struct kj_attrs *attr; /* NULL: none of interest */
};

struct kj_lexer {
    const char *p, *end;
    struct kj_arena *arena;
    bool cdata;          /* <![CDATA[ is text here (in math and svg) */
    bool full;           /* the arena is: tokens are not to be trusted */
    bool no_comment_end; /* looked for in vain, as are the raw elements below */
    uint32_t no_raw_end;
};

void kj_lexer_init(struct kj_lexer *x, const char *p, size_t n, struct kj_arena *a);
void kj_lexer_next(struct kj_lexer *x, struct kj_token *t);

/* Behind the start tag of a raw element: its content, consumed with the end
 * tag. False when there is no end and the element is to be passed over. */
bool kj_lexer_raw(struct kj_lexer *x, enum kj_tag tag, struct kj_str *content);

/* s as text: a view of it, or decoded. */
struct kj_str kj_lexer_decode(struct kj_lexer *x, struct kj_str s,
                              enum kj_charref_where where);

static inline bool kj_is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r' || c == '\f';
}

#endif
