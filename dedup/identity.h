/* identity.h - what tells documents apart, whatever the order they come in.
 * Pure; thread-safe. */
#ifndef KJ_DEDUP_IDENTITY_H
#define KJ_DEDUP_IDENTITY_H

#include <stdint.h>

struct kj_doc;

/* A check of the text, never 0: input that changes between two readings is
 * noticed by it. */
uint32_t kj_dedup_check(const struct kj_doc *d);
/* Hash of what distinguishes two documents of the same id. */
uint64_t kj_dedup_tie(const struct kj_doc *d);

#endif
