/* text.h - white space, stripping and case-blind search, as Python has them.
 *
 * The published rules are Python code, so "white space" is str.isspace, "strip"
 * str.strip, and two ways of ignoring case stand beside each other: comparing
 * with str.lower(), and re.IGNORECASE, which takes a few more letters for i
 * and s. All are linear in the text and hold no state.
 */
#ifndef KJ_FILTER_TEXT_H
#define KJ_FILTER_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "base/unicode.h"
#include "base/utf8.h"

/* Length of the white space at p, n >= 1; 0 when it is something else. */
static inline size_t kj_text_space(const char *p, size_t n)
{
    unsigned char c = (unsigned char)*p;
    size_t len;
    if (c < 0x80)
        return c == ' ' || (unsigned char)(c - 9) < 5 || (unsigned char)(c - 0x1C) < 4;
    if (c != 0xC2 && (c < 0xE1 || c > 0xE3)) /* no white space begins so */
        return 0;
    return kj_uni_py_space(kj_utf8_next(p, n, &len)) ? len : 0;
}

/* The last code point of p[0..n), n >= 1, and its length. */
uint32_t kj_text_last(const char *p, size_t n, size_t *len);

struct kj_str kj_text_strip(struct kj_str s);
bool kj_text_blank(struct kj_str s);

/* The next word (run without white space) of s at or behind *at; false when
 * there is none. *at goes behind it. */
bool kj_text_word(struct kj_str s, size_t *at, struct kj_str *word);

enum kj_fold { KJ_FOLD_LOWER, KJ_FOLD_RE };
/* Place of the first `z` (lower-case ASCII, two characters or more) in s when
 * case is ignored, and the length of what matched; false when there is none. */
bool kj_text_find(struct kj_str s, const char *z, enum kj_fold how, size_t *at,
                  size_t *len);
/* Does s begin with it? The length of what matched, 0 when not. */
size_t kj_text_begins(struct kj_str s, const char *z, enum kj_fold how);

bool kj_char_upper(uint32_t c); /* str.isupper */
bool kj_char_digit(uint32_t c); /* str.isdigit */

#endif
