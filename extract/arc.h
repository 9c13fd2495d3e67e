/* arc.h - the line in front of each record of an ARC file (Internet Archive's
 * ARC v1 and v2): "URL IP DATE MIME LENGTH", v2 with more words before LENGTH.
 * URLs with spaces and addresses or dates written "-" are taken. */
#ifndef KJ_EXTRACT_ARC_H
#define KJ_EXTRACT_ARC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"

#define KJ_ARC_LINE_MAX 8192

struct kj_arc_line {
    struct kj_str uri;
    char iso[24];   /* YYYY-MM-DDThh:mm:ssZ, or "" */
    int64_t length; /* may be negative, as written */
    size_t size;    /* bytes of the line with its end */
    bool filedesc;  /* the record that opens a file */
};

/* True if such a line stands at p. */
bool kj_arc_parse(const char *p, size_t n, struct kj_arc_line *out);

/* Where the first such line starts in p[from..n), at the start of a line or
 * behind garbage in one, or n. Of an address in the middle of a line, only the
 * common schemes are known. */
size_t kj_arc_find(const char *p, size_t from, size_t n);

#endif
