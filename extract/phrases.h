/* phrases.h - lines that are about a page, not of its text. Internal to
 * extract/. */
#ifndef KJ_EXTRACT_PHRASES_H
#define KJ_EXTRACT_PHRASES_H

#include <stdbool.h>
#include <stddef.h>

enum kj_phrase {
    KJ_PHRASE_NONE,
    KJ_PHRASE_CHROME, /* "Share", "Read more: ...", "무단 전재 및 재배포 금지" */
    KJ_PHRASE_RELATED, /* heads a list of other pages: "Related posts", "관련 기사" */
    /* Headings that the judge of blocks learns the worth of. */
    KJ_PHRASE_ALSO,    /* begins like those of lists of other pages or things */
    KJ_PHRASE_ABOUT,   /* "Description", "Specifications" */
    KJ_PHRASE_REVIEWS, /* "Customer reviews" */
    KJ_PHRASE_TALK,    /* "12 comments", "Leave a reply" */
    KJ_PHRASE_SITE,    /* "Quick links", "Follow us", "Categories" */
    KJ_N_PHRASES
};

/* What a short block says, in English or Korean. White space may be as it
 * stood in the page. */
enum kj_phrase kj_phrase_of(const char *p, size_t n);

#endif
