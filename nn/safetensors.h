/* safetensors.h - reading and writing files of named tensors.
 *
 * Format (github.com/huggingface/safetensors): u64 little-endian N; N bytes of
 * JSON {"name": {"dtype": "F32", "shape": [..], "data_offsets": [begin, end]},
 * "__metadata__": {string: string}}, padded with spaces; then the data buffer
 * to which the offsets are relative.
 *
 * The reader refuses what the format forbids: headers over 100 MB, duplicate
 * names, holes, overlaps, bytes behind the last tensor, sizes that disagree
 * with shape and type, metadata that are not strings. Files are mapped.
 *
 * Thread-safety: an open file is read-only and may be shared.
 */
#ifndef KJ_NN_SAFETENSORS_H
#define KJ_NN_SAFETENSORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kj_err;
struct kj_st;

enum kj_st_type {
    KJ_ST_BOOL = 1,
    KJ_ST_U8,
    KJ_ST_I8,
    KJ_ST_F8_E5M2,
    KJ_ST_F8_E4M3,
    KJ_ST_I16,
    KJ_ST_U16,
    KJ_ST_F16,
    KJ_ST_BF16,
    KJ_ST_I32,
    KJ_ST_U32,
    KJ_ST_F32,
    KJ_ST_F64,
    KJ_ST_I64,
    KJ_ST_U64
};

#define KJ_ST_RANK_MAX 8

struct kj_st_tensor {
    const char *name; /* lives as long as the file is open */
    enum kj_st_type type;
    unsigned rank;
    uint64_t shape[KJ_ST_RANK_MAX];
    uint64_t elements;
    const unsigned char *p; /* not aligned */
    uint64_t bytes;
    bool mapped; /* p is in a mapped file */
};

/* Map and check a file; KJ_FAIL names the fault. */
int kj_st_open(struct kj_st **out, const char *path, struct kj_err *err);
/* The same over bytes that outlive it; `name` stands in messages. */
int kj_st_parse(struct kj_st **out, const void *p, size_t n, const char *name,
                struct kj_err *err);
void kj_st_close(struct kj_st *s);
size_t kj_st_count(const struct kj_st *s);
/* In order of their data. */
const struct kj_st_tensor *kj_st_get(const struct kj_st *s, size_t i);
const struct kj_st_tensor *kj_st_find(const struct kj_st *s, const char *name);
/* Convert elements at..at+n (which must exist) to float32; F16, BF16, F32 and
 * F64 only, else KJ_FAIL. */
int kj_st_floats(const struct kj_st_tensor *t, uint64_t at, float *out, size_t n,
                 struct kj_err *err);

/* A tensor has been read: its file's pages are let go, so that copying a model takes no
 * more memory than the copy. It may be read again. */
void kj_st_pass(const struct kj_st_tensor *t);

/* ---- writing ---- */

struct kj_st_out {
    const char *name;
    unsigned rank;
    uint64_t shape[KJ_ST_RANK_MAX];
};

/* Gives the float32 values at..at+n of tensor i. */
typedef int kj_st_fill(void *ctx, size_t i, uint64_t at, float *out, size_t n,
                       struct kj_err *err);

/* Write a new file (synced, but under its final name: the caller makes the
 * folder atomic). type is KJ_ST_F32 or KJ_ST_BF16 (rounded to nearest even).
 * The data start 64-byte aligned. KJ_FAIL when the disk is full and the like;
 * the file is removed then. */
int kj_st_write(const char *path, const struct kj_st_out *t, size_t n,
                enum kj_st_type type, kj_st_fill *fill, void *ctx, struct kj_err *err);

/* The same file by several writers, processes on several machines too: one lays it out,
 * header and full length, and learns at which byte each tensor begins (at[0..n)); then
 * all open it and put elements where they belong. It is whole when each has called
 * kj_st_leave (which syncs), and has the bytes that kj_st_write gives it. */
int kj_st_lay_out(const char *path, const struct kj_st_out *t, size_t n,
                  enum kj_st_type type, uint64_t *at, struct kj_err *err);
/* A descriptor in *fd. For writing only: so no client of a network's file system reads a
 * page that others write to, too, and gives it back whole. */
int kj_st_join(int *fd, const char *path, struct kj_err *err);
/* n elements to byte `at`, converted in place: x is noise afterwards. */
int kj_st_put(int fd, uint64_t at, enum kj_st_type type, float *x, size_t n,
              struct kj_err *err);
int kj_st_leave(int fd, struct kj_err *err);
/* Bytes of an element. */
size_t kj_st_size(enum kj_st_type type);

#endif
