/* sorter.h - more records than memory, put in the order of their keys.
 *
 * A record is a 64-bit key with any bytes. Records come out by key, and those
 * of one key in the order in which they were added, so the order depends on the
 * records alone, not on how much memory there was. Keys that are hashes make a
 * shuffle of it.
 *
 * Records gather in memory until they fill it, and are then written, sorted, as
 * a run into one temporary file, which has no name: a killed process leaves
 * nothing. The runs are merged with one buffer each. With M bytes of memory, M
 * * M / 64 KiB bytes can be sorted before the buffers alone need more than M: a
 * terabyte with 256 MiB.
 *
 * Thread-safety: one thread at a time.
 */
#ifndef KJ_BASE_SORTER_H
#define KJ_BASE_SORTER_H

#include <stddef.h>
#include <stdint.h>

struct kj_err;
struct kj_sorter;

/* dir: where the temporary file would be made. memory: at least 64 KiB are used. */
struct kj_sorter *kj_sorter_new(const char *dir, size_t memory);
void kj_sorter_free(struct kj_sorter *s);

/* Before the first next. n is below 2^32. KJ_FATAL when the disk is full. */
int kj_sorter_add(struct kj_sorter *s, uint64_t key, const void *p, size_t n,
                  struct kj_err *err);
/* The next record; its bytes are valid until the call after. KJ_EOF at the end. */
int kj_sorter_next(struct kj_sorter *s, uint64_t *key, const char **p, size_t *n,
                   struct kj_err *err);
/* Runs in the file so far: 0 while all is in memory. */
size_t kj_sorter_runs(const struct kj_sorter *s);

#endif
