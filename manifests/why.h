/* why.h - one document's way through the stages, out of the ledger: which stage dropped
 * it by which rule, what every rule measured on it and how far that is from its cut, and
 * which document stands for it where it was a duplicate.
 *
 * Ids are found by an index; a URL is looked for in all documents (a second for some
 * million), and none that is the word in full, among those that begin with it.
 */
#ifndef KJ_MANIFESTS_WHY_H
#define KJ_MANIFESTS_WHY_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/mem.h"

struct kj_ledger;

/* Appends what is known of the documents with this id (<urn:uuid: > may be left out) or
 * URL, at most `limit`; json: an object a line (docs/formats/ledger.md). *found, if not
 * NULL, is how many it told of, *more whether there were others. */
int kj_why(struct kj_ledger *l, const char *word, size_t limit, bool json,
           struct kj_buf *out, size_t *found, bool *more, struct kj_err *err);

#endif
