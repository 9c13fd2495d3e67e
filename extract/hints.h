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

#define KJ_HINTS 0x1FFu

/* What else words of a name speak of (names.c); one bit each. */
enum kj_names {
    KJ_NAME_PRODUCT,
    KJ_NAME_PRICE,
    KJ_NAME_BUY,
    KJ_NAME_DESC,
    KJ_NAME_SPEC,
    KJ_NAME_REVIEW,
    KJ_NAME_CARD,
    KJ_NAME_LIST,
    KJ_NAME_FACET,
    KJ_NAME_TITLE,
    KJ_NAME_USER,
    KJ_NAME_AUTHOR,
    KJ_NAME_DATE,
    KJ_NAME_FORM,
    KJ_NAME_LINK,
    KJ_NAME_LEGAL,
    KJ_NAME_CONTACT,
    KJ_NAME_HERO,
    KJ_NAME_CTA,
    KJ_NAME_FOLD,
    KJ_NAME_SECTION,
    KJ_NAME_TEXT,
    KJ_NAME_MEDIA,
    KJ_NAME_SLIDE,
    KJ_NAME_TAG,
    KJ_NAME_MORE,
    KJ_NAME_SIGN,
    KJ_NAME_QUOTE,
    KJ_NAME_MOBILE,
    KJ_NAME_HIDDEN,
    KJ_NAME_TOP,
    KJ_NAME_BOTTOM,
    KJ_NAME_BESIDE,
    KJ_NAME_PRIMARY,
    KJ_NAME_CODE,
    KJ_NAME_TABLE,
    KJ_NAME_WRAP,
    KJ_NAME_WIDGET,
    KJ_NAME_FEED,
    KJ_NAME_EVENT,
    KJ_NAME_LOCALE,
    KJ_NAME_NOTE,
    KJ_NAME_COUNT,
    KJ_NAME_STORE,
    KJ_NAME_SUB,
    KJ_NAME_ICON,
    KJ_NAME_SIMILAR,
    KJ_NAME_STEP,
    KJ_NAME_TEAM,
    KJ_NAME_GROUP,
    KJ_NAME_SITE,
    KJ_NAME_KOREAN,
    KJ_NAME_TOC,
    KJ_NAME_EDIT,
    KJ_NAME_ANSWER,
    KJ_N_NAMES
};
#define KJ_NAME_FIRST 9 /* the bit of KJ_NAME_PRODUCT */

/* Names repeat within a page and from page to page: what they said last time.
 * All zero is empty. */
struct kj_hint_memo {
    struct {
        uint64_t hash;
        uint64_t hints;
    } slot[2048];
};

/* Hints of one element's class, id, role and itemprop: kj_hints in the low bits,
 * kj_names above. */
uint64_t kj_hints(struct kj_hint_memo *memo, const struct kj_attrs *a);

/* The bit of one lower-case word, or 0. */
uint64_t kj_name_of(const char *p, size_t n);

#endif
