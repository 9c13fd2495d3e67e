/* wikitext_internal.h - what the files of wikitext share. */
#ifndef KJ_EXTRACT_WIKITEXT_INTERNAL_H
#define KJ_EXTRACT_WIKITEXT_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/err.h"
#include "extract/wikitext.h"

#define KJ_WIKI_LOOKOUTS 32 /* more than there are words to look for */

/* The next place of a fixed string, found once. */
struct kj_wiki_lookout {
    const char *word;
    size_t at, from;
};

struct kj_wikitext {
    const char *p;
    size_t n;
    uint32_t *end; /* for each byte: end << 2 | length of the bracket, or 0 */
    size_t room;
    struct kj_wiki_lookout seen[KJ_WIKI_LOOKOUTS];
    struct kj_buf flat, row;
    struct kj_str title;
    bool korean;
    struct kj_wikitext_page *page;
    int rc;
};

static inline void kj_wiki_put(struct kj_wikitext *w, const char *p, size_t n)
{
    if (n && kj_buf_add(&w->flat, p, n) < 0)
        w->rc = KJ_BAD_RECORD;
}
static inline void kj_wiki_putz(struct kj_wikitext *w, const char *z)
{
    kj_wiki_put(w, z, strlen(z));
}

static inline bool kj_wiki_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}
/* Is s the word, which is in small letters? */
bool kj_wiki_is(struct kj_str s, const char *low);
/* Is s of these characters only, and not empty? */
bool kj_wiki_all_of(struct kj_str s, const char *set);
/* Where word (static) comes next at or behind i; n when it does not. */
size_t kj_wiki_next(struct kj_wikitext *w, const char *word, size_t i);
/* The name of the tag at p[i] == '<', or an empty string. */
struct kj_str kj_wiki_tag_name(const struct kj_wikitext *w, size_t i);

/* Where the bracket or element that begins at i ends, or i. */
static inline size_t kj_wiki_skip(const struct kj_wikitext *w, size_t i)
{
    return w->end[i] ? (w->end[i] >> 2) + (w->end[i] & 3) : i;
}

/* Write what stands in [a,b). */
void kj_wiki_render(struct kj_wikitext *w, size_t a, size_t b, int depth);
/* The inside of {{ }} and of [[ ]]. */
void kj_wiki_template(struct kj_wikitext *w, size_t a, size_t b, int depth);
void kj_wiki_link(struct kj_wikitext *w, size_t a, size_t b, int depth);
/* Each writes what begins at i and returns where to go on. */
size_t kj_wiki_outer_link(struct kj_wikitext *w, size_t i, size_t b, int depth);
size_t kj_wiki_tag(struct kj_wikitext *w, size_t i, size_t b, int depth);
size_t kj_wiki_entity(struct kj_wikitext *w, size_t i, size_t b);

/* ---- elements whose content is no wikitext ---- */
/* End of the comment or opaque element at i, or 0. */
size_t kj_wiki_opaque_end(struct kj_wikitext *w, size_t i);
/* Write it. */
void kj_wiki_opaque(struct kj_wikitext *w, size_t i, size_t e);

struct kj_wiki_range {
    size_t a, b;
};
struct kj_wiki_range kj_wiki_trim(const struct kj_wikitext *w, struct kj_wiki_range r);
/* Cut [a,b) at bars outside of brackets; at most max pieces. */
size_t kj_wiki_split(const struct kj_wikitext *w, size_t a, size_t b,
                     struct kj_wiki_range *out, size_t max);

#endif
