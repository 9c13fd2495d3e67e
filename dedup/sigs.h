/* sigs.h - the keys of a corpus in a file: one row per document, read back
 * by column (one band after the other).
 *
 * Rows are gathered in chunks of `cap` documents, and a chunk is written
 * column by column: first the documents' check words, then each band. Every
 * column is a block of its own, of the same size, so that any can be found
 * without an index. Byte layout: docs/formats/signatures.md.
 *
 * Memory: one chunk, at most 4 MB or 64 documents. Writing: one thread.
 * Reading is thread-safe.
 */
#ifndef KJ_DEDUP_SIGS_H
#define KJ_DEDUP_SIGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dedup/spill.h"

#define KJ_SIGS_KIND 0x53474953 /* SIGS */
/* A check word, as in column 0. */
#define KJ_SIGS_HAS ((uint64_t)1 << 32) /* the document has keys; below: its check */

struct kj_sigs {
    struct kj_spill file;
    unsigned bands;
    size_t cap;
    uint64_t *chunk; /* being filled: (bands + 1) columns of cap */
    uint64_t n_docs, n_keys;
};

/* params->v are the caller's, but for v[0], the number of bands. */
int kj_sigs_create(struct kj_sigs *s, const char *dir, const char *name,
                   const struct kj_spill_params *params, struct kj_err *err);
/* doc must be larger than the ones before; numbers left out have check word 0.
 * keys NULL: the document has none. */
int kj_sigs_add(struct kj_sigs *s, uint64_t doc, uint32_t check, const uint64_t *keys,
                struct kj_err *err);
int kj_sigs_finish(struct kj_sigs *s, struct kj_err *err);
int kj_sigs_open(struct kj_sigs *s, const char *path,
                 const struct kj_spill_params *params, struct kj_err *err);

uint64_t kj_sigs_chunks(const struct kj_sigs *s);
/* Column 0 (check words) or 1 + band of a chunk into out[0..cap). Rows beyond
 * n_docs are zero. */
int kj_sigs_column(const struct kj_sigs *s, uint64_t chunk, unsigned column,
                   uint64_t *out, struct kj_err *err);
void kj_sigs_release(struct kj_sigs *s);

/* A thread's view of column 0, best in the order of documents. */
struct kj_sigs_reader {
    uint64_t *checks, chunk;
};
void kj_sigs_reader_release(struct kj_sigs_reader *r);
/* Check word of a document; 0 if it was not added. */
int kj_sigs_check(const struct kj_sigs *s, struct kj_sigs_reader *r, uint64_t doc,
                  uint32_t *check, struct kj_err *err);

#endif
