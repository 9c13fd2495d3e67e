/* http.h - the HTTP message inside a record, as crawlers write them.
 *
 * Status line (HTTP/0.9 to 3, also without a reason), header lines that end in
 * CR LF, LF or CR CR LF, folded or not, in any encoding. Then the body: chunks
 * joined, content codings undone. Crawlers often store the decoded body and
 * leave the headers as they were, so each header is believed only as long as
 * the bytes agree; what was decoded before a fault is kept.
 *
 * RFC 9110, RFC 9112; codings gzip (1952), deflate (zlib 1950 or raw 1951),
 * br (7932), zstd (8878).
 */
#ifndef KJ_EXTRACT_HTTP_H
#define KJ_EXTRACT_HTTP_H

#include <stdbool.h>
#include <stddef.h>

#include "base/mem.h"

struct kj_err;

#define KJ_HTTP_FIELDS 128
/* Cap of a decoded body: a bomb ends here. */
#define KJ_HTTP_BODY_MAX ((size_t)64 << 20)

struct kj_http {
    int status; /* 0: the block is no HTTP message; all of it is body */
    struct kj_str names[KJ_HTTP_FIELDS], values[KJ_HTTP_FIELDS];
    size_t n_fields;    /* further fields are not kept */
    struct kj_str body; /* as stored */
};

/* What became of the body. */
enum kj_http_flags {
    KJ_HTTP_CHUNKED = 1 << 0,    /* chunks were joined */
    KJ_HTTP_BAD_CHUNKS = 1 << 1, /* their framing broke off */
    KJ_HTTP_CODED = 1 << 2,      /* a content coding was undone */
    KJ_HTTP_STALE = 1 << 3,      /* headers name a coding that is not there */
    KJ_HTTP_CUT = 1 << 4,        /* compressed data broke off; its start is kept */
    KJ_HTTP_TOO_LARGE = 1 << 5   /* cut at KJ_HTTP_BODY_MAX */
};

/* Views into p. Never fails. */
void kj_http_parse(const char *p, size_t n, struct kj_http *out);

/* First value of a field (lower-case name), or {NULL,0}. */
struct kj_str kj_http_get(const struct kj_http *h, const char *name);

/* The decoded body: a view of the message itself, or of a or b, which serve as
 * scratch (their caps limit the size). Flags of enum kj_http_flags. */
struct kj_str kj_http_body(const struct kj_http *h, struct kj_buf *a, struct kj_buf *b,
                           unsigned *flags);

/* Parts of a Content-Type value: "text/html; charset=x" gives type (as it
 * stood, without parameters) and charset (without quotes; may be empty). */
void kj_http_type(struct kj_str value, struct kj_str *type, struct kj_str *charset);

#endif
