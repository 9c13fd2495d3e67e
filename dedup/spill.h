/* spill.h - files of checked blocks, for what does not fit into memory.
 *
 * Byte layout: docs/formats/signatures.md. A file is a header of
 * KJ_SPILL_HEADER bytes (kind, parameters, counts, its own checksum) and
 * blocks; a block is its length, a hash of its bytes seeded with its position,
 * and its bytes. So a block that was changed, cut short, or read from the
 * wrong place is refused, whichever way it is reached.
 *
 * The header is written last: a file that was not finished has none, and is
 * refused. A file with a name is written as NAME.tmp-PID, and renamed when it
 * is finished; one without a name (a folder only) is removed as soon as it is
 * open, and lives until it is released.
 *
 * Writing belongs to one thread. After kj_spill_finish reading is thread-safe.
 */
#ifndef KJ_DEDUP_SPILL_H
#define KJ_DEDUP_SPILL_H

#include <stddef.h>
#include <stdint.h>

struct kj_err;

#define KJ_SPILL_HEADER  160
#define KJ_SPILL_PARAMS  8
#define KJ_SPILL_BLOCK   16         /* bytes in front of a block's own */
#define KJ_SPILL_LARGEST (1u << 30) /* bytes in a block */

/* What a file must have been made with, to be of use. */
struct kj_spill_params {
    uint32_t kind; /* four characters, as 'SIGS' */
    uint64_t v[KJ_SPILL_PARAMS];
};

struct kj_spill {
    int fd;           /* -1: none */
    char *path, *tmp; /* for messages; to be removed if not finished, or NULL */
    char *buf;        /* not yet written */
    size_t n_buf;
    uint64_t size;     /* bytes so far, header and buffer included */
    uint64_t count[2]; /* of the owner's: go into the header */
    struct kj_spill_params params;
    int finished;
};

/* name NULL: an anonymous file in dir. KJ_FATAL when it cannot be made. */
int kj_spill_create(struct kj_spill *s, const char *dir, const char *name,
                    const struct kj_spill_params *params, struct kj_err *err);
/* Write one block. *pos is where it starts, for kj_spill_read; may be NULL. */
int kj_spill_add(struct kj_spill *s, const void *p, size_t n, uint64_t *pos,
                 struct kj_err *err);
/* Write the header; give the file its name if it has one. */
int kj_spill_finish(struct kj_spill *s, struct kj_err *err);

/* Open a finished file. KJ_FAIL with the reason when it is none, is cut short
 * or damaged, or was made with other parameters. */
int kj_spill_open(struct kj_spill *s, const char *path,
                  const struct kj_spill_params *params, struct kj_err *err);

/* Length of the block at pos, KJ_FATAL when there is none. */
int kj_spill_length(const struct kj_spill *s, uint64_t pos, size_t *n,
                    struct kj_err *err);
/* Read the block at pos, which must be of n bytes. KJ_FATAL names the file and
 * the place when it is not what was written. */
int kj_spill_read(const struct kj_spill *s, uint64_t pos, void *p, size_t n,
                  struct kj_err *err);

/* Close, and remove what was not finished. A zeroed or released one is fine. */
void kj_spill_release(struct kj_spill *s);

#endif
