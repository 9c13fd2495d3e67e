/* pii_internal.h - shared by the finders of numbers (pii_ko.c) and of addresses
 * (pii_net.c). */
#ifndef KJ_FILTER_PII_INTERNAL_H
#define KJ_FILTER_PII_INTERNAL_H

#include <string.h>

#include "filter/pii.h"

static inline bool digit(char c)
{
    return c >= '0' && c <= '9';
}

static inline bool alnum(char c)
{
    return digit(c) || (unsigned char)((c | 32) - 'a') < 26;
}

/* Does one of the words stand in the `back` bytes before i, on this line? */
bool kj_pii_said(const char *p, size_t i, size_t back, const char *const *words,
                 size_t n_words);
#define SAID(P, I, BACK, WORDS)                                                        \
    kj_pii_said(P, I, BACK, WORDS, sizeof(WORDS) / sizeof *(WORDS))

#endif
