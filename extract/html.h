/* html.h - an HTML page in, its main text and metadata out.
 *
 * The page is valid UTF-8 (charset.h). What is text and what is menu is told
 * by content.c; render.c writes it as plain text (a line per paragraph,
 * heading, list item, table row) or as Markdown.
 *
 * Thread-safety: one object per thread.
 */
#ifndef KJ_EXTRACT_HTML_H
#define KJ_EXTRACT_HTML_H

#include <stdbool.h>
#include <stddef.h>

#include "base/mem.h"

struct kj_err;
struct kj_html;

struct kj_html *kj_html_new(void);
void kj_html_free(struct kj_html *h);

#define KJ_HTML_ROBOTS_MAX 8

/* A <meta name=robots>, or one that is named like a crawler (GPTBot, Yeti). */
struct kj_html_robots {
    struct kj_str agent; /* {NULL,0}: all */
    struct kj_str content;
};

/* What the page says of itself; views that live until the next page, and as
 * long as the bytes of this one do. White space in them is as it stood. Absent:
 * {NULL,0}. */
struct kj_html_page {
    struct kj_str title;     /* <title>, og:title, JSON-LD's headline, or first <h1> */
    struct kj_str lang;      /* <html lang> */
    struct kj_str canonical; /* <link rel=canonical>, else og:url */
    struct kj_str description, author, date, site;
    struct kj_str license; /* link rel=license, else JSON-LD's */
    struct kj_html_robots robots[KJ_HTML_ROBOTS_MAX];
    size_t n_robots;
    struct kj_str tdm; /* <meta name=tdm-reservation>, W3C TDMRep: "1" reserves */
    double share;      /* share of the visible text that was kept */
    double confidence; /* F1 of the text that is to be expected, 0 to 1 */
    const char *rule;  /* with KJ_BAD_RECORD: which cap was hit */
};

/* Append the main text to out. whole: all visible text, menus included. KJ_OK
 * (also when there is no text), or KJ_BAD_RECORD when a cap was hit. */
int kj_html_extract(struct kj_html *h, const char *p, size_t n, bool markdown,
                    bool whole, struct kj_buf *out, struct kj_html_page *page,
                    struct kj_err *err);

#endif
