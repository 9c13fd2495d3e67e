/* input.h - compressed input told by magic bytes, never by name.
 *
 * Plain, gzip (member by member: libdeflate on whole members of mapped files,
 * zlib's streaming inflate for pipes and for members beyond
 * KJ_INPUT_MEMBER_MAX), zstd (every frame), bzip2 (every stream), and through
 * libarchive: xz, lz4, tar and zip (their entries one behind the other). The offset of every
 * member in the stored file is kept, since it is the address that a document
 * carries, and the unit of restart. An entry of a tar or zip that is itself
 * gzip (as in a WACZ) is decoded in turn; its members' offsets are those inside
 * the entry. A tar inside gzip, zstd or bzip2 counts as tar.
 *
 * A damaged member gives KJ_BAD_RECORD with file and offset; the next call
 * goes on at the next place that starts a member that decodes (gzip, zstd,
 * bzip2), or returns KJ_EOF. Bytes decoded before the damage are given first.
 * Zero bytes between and behind members are padding and pass silently; other
 * bytes there are damage. Empty members have no chunk.
 *
 * Thread-safety: one reader per object.
 */
#ifndef KJ_BASE_INPUT_H
#define KJ_BASE_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kj_err;
struct kj_buf;

/* A gzip member whose content is larger than this is streamed. */
#define KJ_INPUT_MEMBER_MAX (64u << 20)

struct kj_input;

/* A run of decoded bytes; n may be 0 only when last. Valid until the next call
 * on the same input, with KJ_BUF_PAD readable bytes behind p[n-1]. */
struct kj_chunk {
    const char *p;
    size_t n;
    int64_t member;    /* offset of its member in the stored file; for plain
                          files the offset of p itself */
    int64_t at;        /* offset of p in the member's decoded bytes (plain: 0) */
    bool last;         /* the member ends behind this chunk; never set for plain */
    int64_t stored;    /* with last: stored length of the member, -1 for an entry
                          of a tar or zip; plain: n; else -1 */
    const char *entry; /* name inside a tar or zip, else NULL */
};

/* Open path; "-" is standard input. Nothing is decoded yet. KJ_FAIL when it
 * cannot be opened. */
int kj_input_open(struct kj_input **out, const char *path, struct kj_err *err);
void kj_input_close(struct kj_input *in);

/* Unpack the members of a mapped file ahead of the reader, in so many threads of
 * their own; 0, the default, does all in kj_input_chunk. What the chunks are is
 * the same. Before the first chunk; forms without members (and pipes) take no
 * notice. */
void kj_input_ahead(struct kj_input *in, unsigned threads);

/* "plain", "gzip", "zstd", "bzip2", "xz", "lz4", "tar", "zip"; known once the
 * first chunk was asked for. */
const char *kj_input_kind(const struct kj_input *in);
const char *kj_input_name(const struct kj_input *in);
/* Stored bytes consumed so far, and in all (-1 for pipes): for progress. */
int64_t kj_input_consumed(const struct kj_input *in);
int64_t kj_input_size(const struct kj_input *in);

/* The next run of bytes: KJ_OK, KJ_EOF, KJ_BAD_RECORD (damage; call again),
 * KJ_FAIL. Plain files come in chunks of about 1 MiB; a gzip member that fits
 * comes whole. */
int kj_input_chunk(struct kj_input *in, struct kj_chunk *c, struct kj_err *err);

/* Start over at the stored offset of a member (mapped files: gzip, zstd,
 * bzip2, plain). KJ_FAIL when the input cannot seek. */
int kj_input_seek(struct kj_input *in, int64_t offset, struct kj_err *err);

/* Append all of it to b (whose cap limits it). Damage is KJ_FAIL here. */
int kj_input_slurp(const char *path, struct kj_buf *b, struct kj_err *err);

/* ---- lines over chunks ---- */
struct kj_lines; /* cuts an input at \n; lines longer than max are damage */
struct kj_lines *kj_lines_new(struct kj_input *in, size_t max);
void kj_lines_free(struct kj_lines *l);
/* One line without its \n (and \r), valid until the next call. *member is the
 * stored offset of the member it began in, *at its offset in the member's
 * decoded bytes. A line over max is KJ_BAD_RECORD and skipped whole. */
int kj_lines_next(struct kj_lines *l, const char **p, size_t *n, int64_t *member,
                  int64_t *at, struct kj_err *err);
/* Where the next line begins, between two calls: to go on there later, seek a new
 * input to *member and skip *at bytes. false when that is not known (before the
 * first line, behind damage). */
bool kj_lines_place(const struct kj_lines *l, int64_t *member, int64_t *at);
/* Before the first line: pass over decoded bytes. KJ_FAIL when there are fewer. */
int kj_lines_skip(struct kj_lines *l, int64_t bytes, struct kj_err *err);

#endif
