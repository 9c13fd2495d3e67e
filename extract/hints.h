/* hints.h - what names of classes, ids and roles say about an element.
 * Internal to extract/. */
#ifndef KJ_EXTRACT_HINTS_H
#define KJ_EXTRACT_HINTS_H

#include "extract/tree.h"

enum kj_hints {
    KJ_HINT_CHROME = 1 << 0,  /* menus, sharing, adverts, logins, ... */
    KJ_HINT_SIDE = 1 << 1,    /* sidebars, widgets, related, recommended */
    KJ_HINT_COMMENT = 1 << 2, /* comments of readers */
    KJ_HINT_CONTENT = 1 << 3, /* content, article, post, entry, ... */
    KJ_HINT_BODY = 1 << 4,    /* names that only the text itself bears */
    KJ_HINT_HEADER = 1 << 5,
    KJ_HINT_FOOTER = 1 << 6,
    KJ_HINT_FORUM = 1 << 7, /* posts, answers, threads, questions */
    KJ_HINT_META = 1 << 8   /* bylines, tags, dates, captions of credits */
};

/* Names repeat within a page and from page to page: what they said last time.
 * All zero is empty. */
struct kj_hint_memo {
    struct {
        uint64_t hash;
        uint32_t hints;
    } slot[2048];
};

/* Hints of one element's class, id, role and itemprop. */
unsigned kj_hints(struct kj_hint_memo *memo, const struct kj_attrs *a);

#endif
