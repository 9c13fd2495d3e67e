/* labels.h - the encodings and their labels; internal to charset.c. */
#ifndef KJ_EXTRACT_LABELS_H
#define KJ_EXTRACT_LABELS_H

#include <stdbool.h>

struct kj_encoding {
    const char *name;   /* the WHATWG standard's name */
    const char *iconv;  /* the C library's name for the same table */
    const char *labels; /* separated by blanks, lower case */
    bool wide;          /* multi-byte: malformed input is likely to show */
};

/* Ended by a row without a name. The first row is UTF-8, the second
 * windows-1252. */
extern const struct kj_encoding kj_encodings[];

#endif
