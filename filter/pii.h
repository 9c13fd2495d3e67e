/* pii.h - what identifies persons, found and replaced: addresses and numbers.
 *
 * The first two find exactly what FineWeb's expressions (datatrove, PIIFormatter) find
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
 * Their replacements rotate: email@example.com, firstname.lastname@example.org; and
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

/* What else is found (pii_ko.c, pii_net.c), numbers only where they stand alone:
 *
 *   e-mail any  local parts of letters, digits and . _ + - %, also right behind a
 *               letter of another script; a host that ends in letters
 *   IPv4 alone  public and not multicast, no part of a longer number, not behind a
 *               word for version; what looks like a version (16.4.1.2) only behind
 *               a word for hosts
 *   IPv6        global unicast but for documentation
 *   resident    Korean resident and foreigner registration numbers, 6-7 digits: a
 *               real date and the check digit, or a word before them that names
 *               them (numbers given since October 2020 have no check digit);
 *               without a hyphen, or with a blank, only behind such a word and with
 *               check digit
 *   card        4-4-4-4 and 4-6-5 digits of a range that is given out, with Luhn's
 *               check digit; without joints only behind a word for cards
 *   business    Korean business registration numbers, 3-2-5, with check digit; without
 *               joints only behind a word for them
 *   driver      Korean driver's licences, 2-2-6-2, of a region from 11 to 28
 *   phone       Korean mobile, land-line, 050 and 070 numbers, national and with +82;
 *               land-line numbers without joints only behind a word for them. Numbers
 *               that are companies' by nature (1588, 080) stay
 *   account     10 to 14 digits at most 40 bytes behind the name of a bank or a
 *               word for account, with no number between; right behind a bank's short
 *               name (국민) in three groups; joined by blanks right behind 계좌
 *   passport    M12345678 or M123A4567 behind a word for passport
 */
#define KJ_PII_FINDER(NAME)                                                            \
    bool kj_pii_##NAME(const char *p, size_t n, size_t at, size_t *from, size_t *len)
KJ_PII_FINDER(email_any);
KJ_PII_FINDER(ipv4_alone);
KJ_PII_FINDER(ipv6);
KJ_PII_FINDER(rrn);
KJ_PII_FINDER(card);
KJ_PII_FINDER(business);
KJ_PII_FINDER(driver);
KJ_PII_FINDER(phone);
KJ_PII_FINDER(account);
KJ_PII_FINDER(passport);

enum kj_pii_kind {
    KJ_PII_EMAIL,
    KJ_PII_IPV4,
    KJ_PII_EMAIL_ANY,
    KJ_PII_IPV6,
    KJ_PII_RRN,
    KJ_PII_CARD,
    KJ_PII_BUSINESS,
    KJ_PII_DRIVER,
    KJ_PII_PHONE,
    KJ_PII_ACCOUNT,
    KJ_PII_PASSPORT,
    KJ_PII_IPV4_ALONE,
    KJ_PII_KINDS
};

/* Count the matches of one kind; KJ_OK. And, when a is given and there are any,
 * set *out to the text with all of them replaced (from a); KJ_BAD_RECORD at its cap. */
int kj_pii_mask(enum kj_pii_kind kind, const char *p, size_t n, size_t *count,
                struct kj_arena *a, struct kj_str *out);

struct kj_pii_span {
    size_t from, len; /* bytes */
    enum kj_pii_kind kind;
    size_t was; /* characters that the replacement stands for */
};

/* A list of places, in order, none over another. Zero to begin; owned. */
struct kj_pii_spans {
    struct kj_pii_span *v, *next;
    size_t n, cap;
};
void kj_pii_spans_release(struct kj_pii_spans *s);
/* Add the matches of a kind in p[0..n) that lie over none of the list; how many. */
size_t kj_pii_spans_add(struct kj_pii_spans *s, enum kj_pii_kind kind, const char *p,
                        size_t n);
/* The text with all places replaced, from a; the places become those of the new
 * text. KJ_OK, or KJ_BAD_RECORD at a's cap. */
int kj_pii_spans_mask(struct kj_pii_spans *s, const char *p, size_t n,
                      struct kj_arena *a, struct kj_str *out);

#endif
