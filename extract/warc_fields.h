/* warc_fields.h - the header of a WARC record: its lines as fields, and what of
 * them has a place in struct kj_warc_rec.
 *
 * Internal to extract/warc.c.
 */
#ifndef KJ_EXTRACT_WARC_FIELDS_H
#define KJ_EXTRACT_WARC_FIELDS_H

#include <stddef.h>

#include "base/mem.h"
#include "extract/warc.h"

/* More are passed over. */
#define KJ_WARC_FIELDS_MAX 1024

/* Split lines into fields[KJ_WARC_FIELDS_MAX], views of head, where folded lines
 * are joined; how many. */
size_t kj_warc_fields_parse(const char *p, size_t n, struct kj_buf *head,
                            struct kj_warc_field *fields);
/* Set type, id, uri, date, digest and content_type from r->fields. */
void kj_warc_fields_fill(struct kj_warc_rec *r);

#endif
