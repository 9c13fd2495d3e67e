/* warc_write.h - records of WARC/1.1 (ISO 28500:2017), for archives made here.
 *
 * A record is appended to a buffer: header, block, two line ends, with
 * WARC-Block-Digest (and WARC-Payload-Digest for responses) as SHA-1 in base 32.
 * Identity is a UUID (version 8) made of the target URI and the content, so
 * the same input gives the same bytes. */
#ifndef KJ_EXTRACT_WARC_WRITE_H
#define KJ_EXTRACT_WARC_WRITE_H

#include "base/mem.h"

struct kj_warc_out {
    const char *type;         /* "warcinfo", "response" */
    const char *date;         /* 2026-01-31T12:00:00Z */
    const char *uri;          /* NULL: none */
    const char *filename;     /* WARC-Filename, or NULL */
    const char *info_id;      /* WARC-Warcinfo-ID, or NULL */
    const char *content_type; /* of the block */
    struct kj_str head;       /* the block is head and payload; a head makes a */
    struct kj_str payload;    /* payload digest be written */
};

/* Append the record; id receives its WARC-Record-ID ("<urn:uuid:...>").
 * KJ_OK, or KJ_BAD_RECORD at the buffer's cap. */
int kj_warc_put(struct kj_buf *b, const struct kj_warc_out *r, char id[48]);

/* The media type that a file name's ending stands for ("text/html"),
 * "application/octet-stream" when it is not known. */
const char *kj_media_type(const char *name);

/* Append path to a URL that ends in '/': bytes outside RFC 3986's unreserved
 * set and '/' become %XX. */
int kj_url_path(struct kj_buf *b, const char *path);

#endif
