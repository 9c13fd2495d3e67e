/* charref.h - HTML's character references (&amp; &#44256; &eacute).
 * Internal to extract/. The HTML standard, sections 13.2.5.72 to 13.2.5.80. */
#ifndef KJ_EXTRACT_CHARREF_H
#define KJ_EXTRACT_CHARREF_H

#include <stddef.h>
#include <stdint.h>

/* One of the standard's list: what follows '&', and one or two characters. */
struct kj_charref {
    const char *name;
    uint32_t a, b;
};
enum { KJ_N_CHARREFS = 2231 };
extern const struct kj_charref kj_charrefs[KJ_N_CHARREFS]; /* by strcmp */

/* Room that the decoded form of n bytes may need. */
static inline size_t kj_charref_room(size_t n)
{
    return n + n / 2 + 8;
}

enum kj_charref_where {
    KJ_IN_TEXT,
    KJ_IN_VALUE, /* of an attribute: a few references are left as they are */
    KJ_IN_RAW    /* raw text has no references */
};

/* Write n bytes of markup as text: references resolved, line ends made \n, NULs
 * gone. Returns the length. out has kj_charref_room(n) bytes. */
size_t kj_charref_decode(const char *p, size_t n, enum kj_charref_where where,
                         char *out);

#endif
