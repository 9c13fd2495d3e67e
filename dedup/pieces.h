/* pieces.h - the signatures of a corpus in many files (sigs.h) of one folder.
 *
 * Input file f (from 0) has pieces 0, 1, ... of `per` documents each, and its
 * last piece is the first one with fewer (none, when they come out even). So it
 * can be seen whether a file's pieces are complete, and which one is missing.
 * A piece's parameters hold its place and its input file's name and size:
 * renamed, or left over from other input, it is refused.
 *
 * Documents have the numbers 0, 1, ... through all files.
 */
#ifndef KJ_DEDUP_PIECES_H
#define KJ_DEDUP_PIECES_H

#include <stddef.h>
#include <stdint.h>

#include "dedup/sigs.h"

#define KJ_PIECES_NAME 64 /* bytes for a name */

struct kj_piece {
    uint32_t file, part;
    uint64_t first, n_docs; /* number of its first document */
};

struct kj_pieces {
    const char *dir;
    struct kj_spill_params params; /* of the signatures, without place */
    const uint64_t *ids;           /* of each input file: hash of name and size */
    size_t n_files;
    uint64_t per;
    /* by kj_pieces_load */
    struct kj_piece *v;
    size_t n, cap;
    uint64_t *first; /* n_files + 1: number of each file's first document */
    /* by kj_pieces_shard: documents in front of each file of the shard, and of all */
    uint64_t *before;
    size_t n_mine, shard, shards;
};

/* Parameters for a file of a kind that depends on input file `file` (SIZE_MAX:
 * on all of them) and on `more`. */
struct kj_spill_params kj_pieces_params(const struct kj_pieces *p, uint32_t kind,
                                        size_t file, uint64_t more);
/* KJ_OK; KJ_EOF when there is none; KJ_FATAL when it cannot be used. */
int kj_pieces_open(const struct kj_pieces *p, size_t file, size_t part,
                   struct kj_sigs *out, struct kj_err *err);
int kj_pieces_create(const struct kj_pieces *p, size_t file, size_t part,
                     struct kj_sigs *out, struct kj_err *err);
/* Find all pieces of all files; KJ_FATAL names the one that is missing. */
int kj_pieces_load(struct kj_pieces *p, struct kj_err *err);
/* After load: the piece that holds document doc, which exists. */
size_t kj_pieces_find(const struct kj_pieces *p, uint64_t doc);
uint64_t kj_pieces_docs(const struct kj_pieces *p);
/* From now on documents are counted through the files shard, shard + shards... */
void kj_pieces_shard(struct kj_pieces *p, size_t shard, size_t shards);
/* The number of the document that is `serial` by that count; UINT64_MAX behind
 * the last one. */
uint64_t kj_pieces_number(const struct kj_pieces *p, uint64_t serial);
void kj_pieces_release(struct kj_pieces *p);

/* Open dir/name of these parameters. As kj_pieces_open, with advice. */
int kj_pieces_file(struct kj_spill *s, const char *dir, const char *name,
                   const struct kj_spill_params *params, struct kj_err *err);
/* Remove what a killed process left of dir/name. */
void kj_pieces_sweep(const char *dir, const char *name);

#endif
