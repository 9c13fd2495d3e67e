/* mem.h - arenas, growable byte buffers, and small allocations.
 *
 * Four lifetimes (docs/architecture.md): the run, a stage's configuration, a
 * worker's scratch, a batch. Memory that input can grow comes from an arena
 * or a buffer, and both carry a cap that is given when they are made; hitting
 * the cap is a reported event, never an abort. Small fixed allocations
 * (kj_xmalloc) abort on exhaustion.
 *
 * Thread-safety: an arena or a buffer belongs to one thread at a time.
 */
#ifndef KJ_BASE_MEM_H
#define KJ_BASE_MEM_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

/* A borrowed run of bytes; not NUL-terminated. p may be NULL when n is 0. */
struct kj_str {
    const char *p;
    size_t n;
};

#define KJ_STR(lit) ((struct kj_str){(lit), sizeof(lit) - 1})
struct kj_str kj_str_z(const char *z); /* view of a C string; NULL gives {NULL,0} */
int kj_str_eq(struct kj_str a, struct kj_str b);
int kj_str_is(struct kj_str a, const char *z);

/* ---- small, fixed allocations: never NULL, abort on exhaustion ---- */
void kj_xfail(void); /* what they do when there is none */
void *kj_xmalloc(size_t n);
void *kj_xcalloc(size_t count, size_t size); /* overflow-checked */
void *kj_xrealloc(void *p, size_t n);
char *kj_xstrdup(const char *s);
char *kj_xstrndup(const char *p, size_t n); /* adds the NUL */
/* Of a size that the caller bounds: paths, names. */
char *kj_xprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* ---- arena: bump allocation, freed all at once ---- */
struct kj_arena_block;
struct kj_arena {
    struct kj_arena_block *head; /* the block being filled */
    size_t used;                 /* bytes handed out since the last reset */
    size_t cap;                  /* limit for used */
    size_t block;                /* size of an ordinary block */
};

/* cap: the most bytes that may be handed out between two resets. */
void kj_arena_init(struct kj_arena *a, size_t cap);
/* 16-byte aligned, not zeroed; NULL when the cap would be passed. */
void *kj_arena_alloc(struct kj_arena *a, size_t n);
void *kj_arena_zalloc(struct kj_arena *a, size_t n);
/* Copies of bytes; a NUL follows them that n does not count. */
char *kj_arena_dup(struct kj_arena *a, const char *p, size_t n);
char *kj_arena_printf(struct kj_arena *a, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* Forget all, keep one block for reuse. Debug builds poison it. */
void kj_arena_reset(struct kj_arena *a);
void kj_arena_release(struct kj_arena *a);

/* ---- buffer: contiguous growable bytes ----
 * KJ_BUF_PAD bytes behind n are always allocated (their value is not defined),
 * so that vector code may read past the end. */
#define KJ_BUF_PAD 64
struct kj_buf {
    char *p;
    size_t n;    /* bytes in use */
    size_t size; /* bytes allocated, without the pad */
    size_t cap;  /* limit for n */
};

void kj_buf_init(struct kj_buf *b, size_t cap);
/* Make room for n more bytes. KJ_BAD_RECORD when cap would be passed. */
int kj_buf_reserve(struct kj_buf *b, size_t n);
/* Append; all return KJ_OK or KJ_BAD_RECORD (cap), nothing is appended then. */
int kj_buf_add(struct kj_buf *b, const char *p, size_t n);
int kj_buf_addz(struct kj_buf *b, const char *z);
int kj_buf_addc(struct kj_buf *b, char c);
int kj_buf_printf(struct kj_buf *b, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
int kj_buf_vprintf(struct kj_buf *b, const char *fmt, va_list ap);
/* NUL behind the content (not counted); valid until the next change. */
const char *kj_buf_z(struct kj_buf *b);
static inline void kj_buf_reset(struct kj_buf *b)
{
    b->n = 0;
}
void kj_buf_release(struct kj_buf *b);

#endif
