/* curated.h - documents of curated sources (papers, encyclopedia pages) to
 * text: what the stage does with records that come from no web server. */
#ifndef KJ_EXTRACT_CURATED_H
#define KJ_EXTRACT_CURATED_H

#include <stdbool.h>

#include "base/doc.h"

struct kj_curated; /* scratch of one thread */
struct kj_err;

struct kj_curated *kj_curated_new(void);
void kj_curated_free(struct kj_curated *c);

/* The text of d, whose aux is a record of kind KJ_REC_WIKI or KJ_REC_PAPER,
 * into *text (the scratch's, valid until the next call), and its metadata as a
 * JSON object into *meta (in the arena, or empty). Documents that are none are
 * dropped or marked as damaged instead. skip_lists: drop lists of articles.
 * KJ_OK or KJ_FATAL. */
int kj_curated_text(struct kj_curated *c, struct kj_batch *b, struct kj_doc *d,
                    bool skip_lists, struct kj_str *text, struct kj_str *meta,
                    struct kj_err *err);

#endif
