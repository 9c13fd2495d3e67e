/* input_internal.h - what the parts of input.c share: the raw bytes, and one
 * decoder for each form.
 *
 * Not for use outside base/input*.c.
 */
#ifndef KJ_BASE_INPUT_INTERNAL_H
#define KJ_BASE_INPUT_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/input.h"

/* Decoded bytes of plain and streamed forms come in chunks of this size. */
#define KJ_CHUNK ((size_t)1 << 20)

/* ---- stored bytes ----
 * A window over them with a cursor. A mapped file is one window; otherwise
 * fill() is asked for more, and `keep` bytes behind the cursor stay, so that a
 * search for the next member may begin there. A fault of fill() is kept until
 * the bytes in front of it were used up. */
struct kj_raw {
    const char *p; /* the window */
    size_t n;      /* its bytes */
    size_t at;     /* the cursor */
    int64_t base;  /* stored offset of p[0] */
    bool eof;      /* nothing comes behind the window */
    bool mapped;
    size_t keep;
    size_t dropped; /* mapped: pages up to here were given back */
    char *buf;      /* the window's memory, when not mapped */
    size_t size;
    /* *got == 0 is the end. */
    int (*fill)(void *src, char *p, size_t room, size_t *got, struct kj_err *err);
    void *src;
    struct kj_err fault; /* rc != 0: what stands at the end of the window */
};

void kj_raw_release(struct kj_raw *r);
/* Have `ahead` bytes behind the cursor, or eof; the bytes there are. */
size_t kj_raw_need(struct kj_raw *r, size_t ahead);
/* Move the cursor over n bytes of the window. */
void kj_raw_advance(struct kj_raw *r, size_t n);
static inline int64_t kj_raw_tell(const struct kj_raw *r)
{
    return r->base + (int64_t)r->at;
}
/* At the end: KJ_EOF, or the fault that ended it. */
int kj_raw_end(const struct kj_raw *r, struct kj_err *err);

/* Does a member that decodes start at p[0..n)? `more`: the input goes on
 * behind n. `strict`: it must decode to its end, or for KJ_CHUNK bytes. */
typedef bool kj_raw_trial(void *ctx, const char *p, size_t n, bool more, bool strict);
/* May this be what follows a whole member? */
bool kj_raw_boundary(const char *p, size_t n, const char *magic, size_t magic_n);

/* ---- decoders: each gives the next chunk of its raw bytes ---- */

enum kj_unpack_state { KJ_AT_START, KJ_IN_STREAM, KJ_AT_DAMAGE, KJ_AT_END };

/* What gzip and zstd have in common. */
struct kj_unpack {
    struct kj_raw *raw;
    enum kj_unpack_state state;
    int64_t member; /* stored offset */
    int64_t at;     /* decoded bytes of it given so far */
    char *out;
    size_t out_size; /* without the pad */
    char why[96];    /* of the damage */
    bool junk;       /* the damage is bytes that are no member */
};
void kj_unpack_room(struct kj_unpack *u, size_t n);
/* Skip zero bytes; KJ_OK at other bytes, else the end. */
int kj_unpack_skip_zeros(struct kj_unpack *u, struct kj_err *err);
/* Note damage; bytes of the same member that were decoded go out first. */
void kj_unpack_damage(struct kj_unpack *u, const char *why, bool junk);
/* Say the noted damage and move to the next member: KJ_BAD_RECORD; or the end,
 * when it was the input that ended, by its own fault. unit: "gzip member". */
int kj_unpack_report(struct kj_unpack *u, const char *unit, const char *magic,
                     size_t magic_n, kj_raw_trial *trial, void *ctx,
                     struct kj_err *err);
void kj_unpack_chunk(struct kj_unpack *u, struct kj_chunk *c, size_t n, bool last);

struct kj_gz;
struct kj_gz *kj_gz_new(struct kj_raw *raw);
void kj_gz_free(struct kj_gz *g);
void kj_gz_restart(struct kj_gz *g);
/* Unpack ahead in so many threads, where raw is mapped. */
void kj_gz_threads(struct kj_gz *g, unsigned threads);
int kj_gz_chunk(struct kj_gz *g, struct kj_chunk *c, struct kj_err *err);
bool kj_gz_magic(const char *p, size_t n);
/* Does a member that decodes start at p, as far as it is there? */
bool kj_gz_starts(const char *p, size_t n);
/* Decode the first bytes of a stream, at most `room`; how many came. */
size_t kj_gz_peek(const char *p, size_t n, char *out, size_t room);

struct kj_bz;
struct kj_bz *kj_bz_new(struct kj_raw *raw, unsigned threads);
void kj_bz_free(struct kj_bz *b);
void kj_bz_restart(struct kj_bz *b);
int kj_bz_chunk(struct kj_bz *b, struct kj_chunk *c, struct kj_err *err);
bool kj_bz_magic(const char *p, size_t n);
/* Nothing comes before a whole block of 900,000 bytes is there. */
#define KJ_BZ_PEEK ((size_t)1 << 20)
size_t kj_bz_peek(const char *p, size_t n, char *out, size_t room);

struct kj_zst;
struct kj_zst *kj_zst_new(struct kj_raw *raw);
void kj_zst_free(struct kj_zst *z);
void kj_zst_restart(struct kj_zst *z);
int kj_zst_chunk(struct kj_zst *z, struct kj_chunk *c, struct kj_err *err);
bool kj_zst_magic(const char *p, size_t n);
size_t kj_zst_peek(const char *p, size_t n, char *out, size_t room);

struct kj_arc;
/* `fallback` is its kind while no entry says better. */
struct kj_arc *kj_arc_new(struct kj_raw *raw, const char *fallback);
void kj_arc_free(struct kj_arc *c);
int kj_arc_chunk(struct kj_arc *c, struct kj_chunk *k, struct kj_err *err);
const char *kj_arc_kind(const struct kj_arc *c);

#endif
