/* wikitext.h - MediaWiki's markup to text, without a wiki at hand.
 *
 * Headings become "## " to "###### " by their level, lists "- " and "1. ",
 * tables rows "| a | b |", formulas "$...$" (alone in a line "$$...$$"), code
 * blocks fenced. Bold, italic, links and references to pages leave their text;
 * references, files, categories, galleries, comments and magic words go.
 *
 * A template cannot be expanded, since its text is on another page: those that
 * stand within sentences in English and Korean articles (lang, llang, nowrap,
 * convert, hanja, ruby, quotations, ...) are known by name and give their text,
 * all others (infoboxes, navigation, notices) go. Tables of the classes
 * infobox, navbox, sidebar and metadata go too. A section that has no text left
 * goes with its heading, and so do the apparatus at the end: references, notes,
 * see also, further reading, external links, bibliography, in both languages.
 *
 * Time is linear in the text, also on hostile input: brackets are matched in
 * one pass, nesting is bounded by KJ_WIKITEXT_DEPTH, what is deeper is dropped.
 */
#ifndef KJ_EXTRACT_WIKITEXT_H
#define KJ_EXTRACT_WIKITEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/mem.h"

struct kj_wikitext; /* scratch of one thread */

/* Longest text that is rendered; the wikis' own limit is 2 MiB. */
#define KJ_WIKITEXT_MAX   (16u << 20)
#define KJ_WIKITEXT_DEPTH 40

struct kj_wikitext *kj_wikitext_new(void);
void kj_wikitext_free(struct kj_wikitext *w);

struct kj_wikitext_page {
    bool disambiguation; /* it bears such a template */
    bool redirect;       /* it says #REDIRECT */
};

/* Append the text of the page [p,n) named title to out. korean: the language
 * of words that templates add. KJ_OK, or KJ_BAD_RECORD when the page or its
 * text is too large. */
int kj_wikitext_render(struct kj_wikitext *w, const char *p, size_t n,
                       struct kj_str title, bool korean, struct kj_buf *out,
                       struct kj_wikitext_page *page);

/* ---- internal to wikitext*.c ---- */

/* Marks in the text between the two passes; no page can hold them. */
#define KJ_WIKI_RAW     '\001' /* begin of bytes that are taken as they stand */
#define KJ_WIKI_RAW_END '\002'
#define KJ_WIKI_BREAK   '\003' /* <br> */

/* What becomes of a template. */
enum kj_wiki_form {
    KJ_WIKI_ARG,     /* argument number n */
    KJ_WIKI_LAST,    /* the last unnamed argument */
    KJ_WIKI_JOIN,    /* all unnamed arguments, ", " between */
    KJ_WIKI_CONCAT,  /* all unnamed arguments, nothing between */
    KJ_WIKI_TEXT,    /* the fixed text */
    KJ_WIKI_PREFIX,  /* the fixed text, then argument 1 */
    KJ_WIKI_BLOCK,   /* argument n as a paragraph */
    KJ_WIKI_NAMED,   /* llang: name of language 1, ": ", argument 2 */
    KJ_WIKI_GLOSS,   /* argument 1 (arguments 2 and 3) */
    KJ_WIKI_CONVERT, /* value and unit */
    KJ_WIKI_FRAC,    /* 1/2 */
    KJ_WIKI_DATE,    /* arguments 1 to 3 */
    KJ_WIKI_ITEMS,   /* all unnamed arguments, a list item each */
    KJ_WIKI_DISAMBIG /* gone, and the page is no article */
};
struct kj_wiki_template {
    const char *name; /* lower case, blanks single */
    enum kj_wiki_form form;
    int n;
    const char *text;
};

/* The template of that name, or NULL. */
const struct kj_wiki_template *kj_wiki_template_find(struct kj_str name);
/* Name of a language by its code, in Korean or English; NULL unknown. */
const char *kj_wiki_language(struct kj_str code, bool korean);
/* Is this the title of a section of apparatus? */
bool kj_wiki_apparatus(struct kj_str title);
/* Second pass: lines with KJ_WIKI_ marks to text. */
int kj_wiki_lines(const char *p, size_t n, struct kj_buf *row, struct kj_buf *out);

#endif
