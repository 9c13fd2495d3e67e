/* window.h - the decoded bytes of an archive as one sliding window.
 *
 * Chunks of base/input.h are handed through without a copy while nothing is
 * left over from the one before; a record that spans chunks (or gzip members)
 * is joined in a buffer. For every byte in the window its address in the
 * stored file is known. Entries of zip and tar archives (WACZ) are taken when
 * their name says WARC or ARC, and unpacked again when they are gzip.
 *
 * Internal to extract/. One thread per object.
 */
#ifndef KJ_EXTRACT_WINDOW_H
#define KJ_EXTRACT_WINDOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/input.h"
#include "base/mem.h"

struct kj_err;

/* A run of window bytes that came from one chunk. */
struct kj_seg {
    int64_t pos;    /* position of its first byte in the decoded stream */
    int64_t n;      /* bytes */
    int64_t member; /* stored offset of the member; plain: of the first byte */
    int64_t at;     /* offset of the first byte inside the decoded member */
    bool last;      /* the member ends behind it */
    int64_t stored; /* with last: stored length of the member */
};

struct kj_window {
    const char *p; /* the window: p[0..n), KJ_BUF_PAD readable bytes behind */
    size_t n;
    int64_t pos;  /* position of p[0] in the decoded stream */
    bool eof;     /* nothing follows */
    bool plain;   /* the input is not compressed: every byte is addressable */
    bool entries; /* the bytes come from files inside a zip or tar */

    struct kj_input *in;
    struct kj_buf buf;
    size_t off; /* of p in buf, when owned */
    bool owned; /* p points into buf */
    struct kj_seg *segs;
    size_t n_segs, cap_segs;
    char entry[256];      /* name of the entry being read */
    int entry_mode;       /* 0 not decided, 1 skip, 2 as it is, 3 gunzip */
    struct z_stream_s *z; /* for entry_mode 3 */
    bool z_live;
};

/* Takes over `in` (closed by release). cap: the most bytes held at once. */
void kj_window_init(struct kj_window *w, struct kj_input *in, size_t cap);
void kj_window_release(struct kj_window *w);

/* Make the window longer by a chunk; earlier pointers become invalid. KJ_OK
 * (also when the chunk was empty), KJ_EOF, KJ_BAD_RECORD (damage was passed
 * over: call again; err names the place), KJ_FAIL. */
int kj_window_fill(struct kj_window *w, struct kj_err *err);

/* Drop the first n bytes of the window. */
void kj_window_skip(struct kj_window *w, size_t n);

/* The run that holds window byte i (or that ends at it, when it is behind the
 * last one); NULL before the first chunk. */
const struct kj_seg *kj_window_seg(const struct kj_window *w, size_t i);

/* Stored offset of window byte i: its own for plain input, its member's
 * otherwise; -1 where there is none. */
int64_t kj_window_offset(const struct kj_window *w, size_t i);

/* Where reading could start to see byte i first: the stored offset, or -1 when
 * no member starts there. */
int64_t kj_window_start(const struct kj_window *w, size_t i);

#endif
