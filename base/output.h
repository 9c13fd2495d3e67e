/* output.h - files that appear whole or not at all.
 *
 * Compression follows the name: .zst (frames of about 4 MiB of content, so
 * that readers can seek and restart), .gz (members of the same size), else
 * plain. A file is written as NAME.tmp-PID, synced and renamed by
 * kj_output_commit; without commit it is removed. NULL or "-" is standard
 * output: unbuffered by us beyond 1 MiB, checked when closed.
 *
 * The bytes depend only on what was written, never on how it was cut into
 * calls. SIGPIPE is ignored by the program: a closed pipe is KJ_EOF here.
 */
#ifndef KJ_BASE_OUTPUT_H
#define KJ_BASE_OUTPUT_H

#include <stddef.h>
#include <stdint.h>

struct kj_err;
struct kj_output;

int kj_output_open(struct kj_output **out, const char *path, struct kj_err *err);
/* A file that another process may go on with: written as NAME.part. What it holds
 * beyond `stored` bytes is cut off, and unit[0..n) stands behind that, not stored
 * yet: as kj_output_save gave them; 0, NULL, 0 begins the file. KJ_FAIL when there
 * are fewer bytes. */
int kj_output_open_part(struct kj_output **out, const char *path, int64_t stored,
                        const char *unit, size_t n, struct kj_err *err);
/* Sync what is stored, and tell what is not: *unit, *n, until the next call. The
 * bytes are not changed by it. */
int kj_output_save(struct kj_output *o, const char **unit, size_t *n,
                   struct kj_err *err);
/* Close it and leave NAME.part; frees o. NULL is fine. */
void kj_output_leave(struct kj_output *o);
int kj_output_write(struct kj_output *o, const char *p, size_t n, struct kj_err *err);
/* End the current frame or member here, so that a reader can start behind it. */
int kj_output_cut(struct kj_output *o, struct kj_err *err);
/* Flush, sync, rename; frees o in every case. */
int kj_output_commit(struct kj_output *o, struct kj_err *err);
/* Throw away; frees o. NULL is fine. */
void kj_output_abort(struct kj_output *o);
/* Bytes taken in, and stored (the latter exact only behind a cut). */
int64_t kj_output_written(const struct kj_output *o);
int64_t kj_output_stored(const struct kj_output *o);

/* Write a small file atomically (temporary name, sync, rename, sync of the
 * folder). */
int kj_output_file(const char *path, const char *p, size_t n, struct kj_err *err);
/* mkdir -p */
int kj_output_mkdirs(const char *path, struct kj_err *err);
/* fsync the folder that holds path, so that a rename in it is durable. */
int kj_output_sync_dir(const char *path, struct kj_err *err);

#endif
