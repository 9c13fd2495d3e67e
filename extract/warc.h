/* warc.h - records of WARC (0.17 to 1.1, WET and WAT among them) and ARC v1
 * and v2 files, however damaged.
 *
 * Over base/input.h: plain, gzip, zstd, ... with one record per member, many,
 * or records that span members. The reader believes Content-Length as long as
 * the next record starts where that says; else it looks for the next version
 * line (ISO 28500 section 4 asks for none of this, real crawls do). Line ends
 * may be CR LF, LF or CR CR LF, header lines may be folded, names are told
 * apart without case, and the first of equal names counts.
 *
 * Damage is reported as an event of its own: kj_warc_next returns
 * KJ_BAD_RECORD with file, offset and reason, kj_warc_rule names the kind, and
 * the next call goes on. A record that can still be used follows its events:
 * a block cut short is given as far as it goes. Missing line ends behind a
 * block are no damage.
 *
 * Thread-safety: one reader per object.
 */
#ifndef KJ_EXTRACT_WARC_H
#define KJ_EXTRACT_WARC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"

struct kj_err;
struct kj_input;

/* Records with a larger block are damage ("too large") and passed over. */
#define KJ_WARC_BLOCK_MAX ((size_t)64 << 20)
/* The same for a record's header. */
#define KJ_WARC_HEAD_MAX ((size_t)1 << 20)

enum kj_warc_format { KJ_WARC_NONE, KJ_WARC_WARC, KJ_WARC_ARC };

struct kj_warc_field {
    struct kj_str name, value;
};

struct kj_warc_rec {
    struct kj_str version; /* "WARC/1.1"; "ARC" for ARC records */
    char type[32];         /* WARC-Type in lower case; "(none)" without one,
                              "(empty)"; ARC: "filedesc" or "arc" */
    struct kj_str id;      /* WARC-Record-ID as it stood; empty for ARC */
    struct kj_str uri;     /* WARC-Target-URI without <> */
    struct kj_str date;    /* WARC-Date; ARC's date in the same form */
    struct kj_str digest;  /* WARC-Payload-Digest */
    struct kj_str content_type;
    const struct kj_warc_field *fields; /* all, in order, unfolded */
    size_t n_fields;
    struct kj_str block;
    int64_t offset; /* stored offset of its member; plain: of the record */
    int64_t length; /* stored length of a member that holds just this record;
                       plain: of the record with its line ends; else -1 */
    bool cut;       /* bytes are missing from the block's end */
};

struct kj_warc;

/* Takes over in. Nothing is read yet. */
struct kj_warc *kj_warc_new(struct kj_input *in);
void kj_warc_free(struct kj_warc *w);

/* What the file is, told by its first 16 KiB, which *head then shows (valid
 * until the next call). Negative when it cannot be read. */
int kj_warc_format(struct kj_warc *w, struct kj_str *head, struct kj_err *err);

/* The whole file as it stands, for one that holds no records; before the first
 * kj_warc_next. Valid until the next call. KJ_BAD_RECORD when it is larger than
 * KJ_WARC_BLOCK_MAX. */
int kj_warc_whole(struct kj_warc *w, struct kj_str *all, struct kj_err *err);

/* The next record, valid until the next call: KJ_OK, KJ_EOF, KJ_BAD_RECORD
 * (damage, *err says what and where; call again), KJ_FAIL. */
int kj_warc_next(struct kj_warc *w, struct kj_warc_rec *rec, struct kj_err *err);

/* Which damage the last KJ_BAD_RECORD was, a static name:
 * "extract.warc_length"  Content-Length missing, wrong or no number
 * "extract.warc_cut"     block cut short
 * "extract.warc_head"    header without an end, or too long
 * "extract.warc_garbage" bytes outside any record
 * "extract.warc_large"   block larger than KJ_WARC_BLOCK_MAX
 * "extract.warc_none"    no record in the whole file
 * "extract.warc_member"  compressed member damaged */
const char *kj_warc_rule(const struct kj_warc *w);
/* Where it lies: like kj_warc_rec.offset. */
int64_t kj_warc_fault_offset(const struct kj_warc *w);
/* Stored bytes that it cost, near enough: of the member from the record that was
 * hurt on, of garbage, of what was too large. 0: nothing that is in the file. */
int64_t kj_warc_fault_lost(const struct kj_warc *w);

/* A header field's value by name (no case), or {NULL,0}. */
struct kj_str kj_warc_get(const struct kj_warc_rec *rec, const char *name);

/* Behind a record: the stored offset at which a new reader would start with
 * the next one, or -1 when no member starts there. */
int64_t kj_warc_restart(const struct kj_warc *w);

/* Stored bytes read so far, and the file's size (-1 unknown). */
int64_t kj_warc_consumed(const struct kj_warc *w);
int64_t kj_warc_size(const struct kj_warc *w);

#endif
