/* shards_file.h - the files of one shard: tokens, index and, for datatrove, a
 * note. Inside of tokenize/; layouts: docs/formats/shards.md. */
#ifndef KJ_TOKENIZE_SHARDS_FILE_H
#define KJ_TOKENIZE_SHARDS_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kj_err;
struct kj_output;

struct kj_shard_file {
    /* set by the owner, once */
    const char *dir, *tokenizer;
    int format;     /* enum kj_shard_format */
    unsigned width; /* bytes of a token: 2 or 4 */
    bool parts;     /* files under way can be gone on with (base/output.h) */
    /* of the shard that is open, and until the next begins */
    struct kj_output *bin; /* NULL: none is open */
    uint64_t tokens;
    int32_t *lengths; /* of its documents */
    size_t n, cap;
    /* once ended: names and hashes; note is "" where the format has none */
    char bin_name[32], idx_name[32], note_name[48];
    char bin_hash[40], idx_hash[40], note_hash[40];
    int64_t bin_bytes, idx_bytes;
};

/* Path of a file in the folder; free it. */
char *kj_shard_file_path(const struct kj_shard_file *f, const char *name);
/* Begin shard `number`. */
int kj_shard_file_begin(struct kj_shard_file *f, size_t number, struct kj_err *err);
/* The names of a shard's files. */
void kj_shard_file_name(struct kj_shard_file *f, size_t number);
/* Go on with a shard of which `stored` bytes were written: n documents. */
int kj_shard_file_resume(struct kj_shard_file *f, size_t number, int64_t stored,
                         uint64_t tokens, const char *lengths, size_t n,
                         struct kj_err *err);
/* Most tokens that the format can hold in one shard. */
uint64_t kj_shard_file_most(const struct kj_shard_file *f);
/* One document of n tokens, stored with f->width bytes each. */
int kj_shard_file_add(struct kj_shard_file *f, const void *tokens, size_t n,
                      struct kj_err *err);
/* Write the index, give all their names, and hash them. */
int kj_shard_file_end(struct kj_shard_file *f, struct kj_err *err);
/* Throw away the open shard, or leave it to a later process; free what f holds. */
void kj_shard_file_release(struct kj_shard_file *f, bool leave);
/* Remove shards from, from + 1, ... of any format from the folder, and what a killed
 * run left under temporary names, but (with from > 0) the unfinished shard `from`
 * itself. */
void kj_shard_file_forget(const struct kj_shard_file *f, size_t from, bool leave);

#endif
