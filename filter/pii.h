/* pii.h - e-mail addresses and public IPv4 addresses, found and replaced.
 *
 * Both find exactly what FineWeb's expressions (datatrove, PIIFormatter) find
 * in Python's re, but in linear time and without an expression:
 *
 *   e-mail  atoms of [A-Za-z0-9!#$%&'*+/=?^_`{|}~-] joined by single dots,
 *           from a word boundary (Unicode's: a letter of any script right
 *           before the address is one of its word), '@', and two or more
 *           host labels or [a.b.c.d]
 *   IPv4    four numbers to 255 joined by dots, no boundary asked for at
 *           either end, whose address is public: a number with a leading zero
 *           or an address of IANA's special-purpose registry (private,
 *           loopback, link-local, documentation, shared, benchmark, reserved)
 *           stays; multicast counts as public, as in Python
 *
 * Replacements rotate: email@example.com, firstname.lastname@example.org; and
 * six addresses that were unused when FineWeb was made. datatrove's rotation
 * goes on from document to document; ours starts anew in each, so that the
 * result depends on the document alone.
 */
#ifndef KJ_FILTER_PII_H
#define KJ_FILTER_PII_H

#include <stdbool.h>
#include <stddef.h>

#include "base/mem.h"

/* The next match in [p,n) at or behind *at: its place and length; false when
 * there is none. A caller goes on with *at = *from + *len. */
bool kj_pii_email(const char *p, size_t n, size_t at, size_t *from, size_t *len);
bool kj_pii_ipv4(const char *p, size_t n, size_t at, size_t *from, size_t *len);

/* Is this dotted address, as matched by kj_pii_ipv4's shape, public? */
bool kj_pii_ipv4_public(const char *p, size_t n);

enum kj_pii_kind { KJ_PII_EMAIL, KJ_PII_IPV4 };
/* Count the matches, and, when a is given and there are any, set *out to the
 * text with all of them replaced (from a). KJ_OK, or KJ_BAD_RECORD at a's cap. */
int kj_pii_mask(enum kj_pii_kind kind, const char *p, size_t n, size_t *count,
                struct kj_arena *a, struct kj_str *out);

#endif
