/* mem.c - arenas, buffers, small allocations.
 *
 * The arena keeps a list of blocks, newest first. A request that does not fit
 * gets a block of its own size or the ordinary size, whichever is larger.
 * Reset frees all blocks but the largest one, so that a steady load settles
 * on one block and no calls to malloc.
 */
#include "base/mem.h"

#include "base/err.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALIGN 16u
/* Ordinary block: large enough that a batch of 1 MiB of text with its decoded
 * and rewritten copies stays within a few blocks. */
#define BLOCK ((size_t)256 << 10)

struct kj_arena_block {
    struct kj_arena_block *next;
    size_t size, n;
    _Alignas(ALIGN) char data[];
};

void kj_xfail(void)
{
    static const char msg[] = "kijil: out of memory\n";
    fwrite(msg, 1, sizeof msg - 1, stderr); /* checksrc: ok, nothing else can be done */
    abort();                                /* checksrc: ok, the same */
}

void *kj_xmalloc(size_t n)
{
    void *p = malloc(n ? n : 1);
    if (!p)
        kj_xfail();
    return p;
}

void *kj_xcalloc(size_t count, size_t size)
{
    void *p = calloc(count ? count : 1, size ? size : 1);
    if (!p)
        kj_xfail();
    return p;
}

void *kj_xrealloc(void *p, size_t n)
{
    void *q = realloc(p, n ? n : 1);
    if (!q)
        kj_xfail();
    return q;
}

char *kj_xstrndup(const char *p, size_t n)
{
    char *s = kj_xmalloc(n + 1);
    if (n)
        memcpy(s, p, n);
    s[n] = 0;
    return s;
}

char *kj_xprintf(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    size_t size = n < 0 ? 1 : (size_t)n + 1;
    char *s = kj_xcalloc(size, 1);
    va_start(ap, fmt);
    vsnprintf(s, size, fmt, ap);
    va_end(ap);
    return s;
}

char *kj_xstrdup(const char *s)
{
    return kj_xstrndup(s, strlen(s));
}

struct kj_str kj_str_z(const char *z)
{
    return (struct kj_str){z, z ? strlen(z) : 0};
}

int kj_str_eq(struct kj_str a, struct kj_str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

int kj_str_is(struct kj_str a, const char *z)
{
    return kj_str_eq(a, kj_str_z(z));
}

void kj_arena_init(struct kj_arena *a, size_t cap)
{
    *a = (struct kj_arena){.cap = cap, .block = BLOCK};
}

void *kj_arena_alloc(struct kj_arena *a, size_t n)
{
    if (n > a->cap || a->used > a->cap - n)
        return NULL;
    size_t want = (n + ALIGN - 1) / ALIGN * ALIGN;
#ifdef KJ_DEBUG
    want += ALIGN; /* a gap that stays poisoned between neighbours */
#endif
    struct kj_arena_block *b = a->head;
    if (!b || b->size - b->n < want) {
        size_t size = want > a->block ? want : a->block;
        b = malloc(sizeof *b + size);
        if (!b)
            return NULL;
        b->size = size;
        b->n = 0;
        b->next = a->head;
        a->head = b;
    }
    void *p = b->data + b->n;
    b->n += want;
    a->used += n;
    return p;
}

void *kj_arena_zalloc(struct kj_arena *a, size_t n)
{
    void *p = kj_arena_alloc(a, n);
    if (p)
        memset(p, 0, n);
    return p;
}

char *kj_arena_dup(struct kj_arena *a, const char *p, size_t n)
{
    char *s = kj_arena_alloc(a, n + 1);
    if (!s)
        return NULL;
    if (n)
        memcpy(s, p, n);
    s[n] = 0;
    return s;
}

char *kj_arena_printf(struct kj_arena *a, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    char *s = n < 0 ? NULL : kj_arena_alloc(a, (size_t)n + 1);
    if (s)
        vsnprintf(s, (size_t)n + 1, fmt, again);
    va_end(again);
    return s;
}

void kj_arena_reset(struct kj_arena *a)
{
    struct kj_arena_block *keep = NULL, *b = a->head;
    while (b) {
        struct kj_arena_block *next = b->next;
        if (!keep || b->size > keep->size) {
            free(keep);
            keep = b;
        } else {
            free(b);
        }
        b = next;
    }
    /* One huge document must not pin its memory for the rest of the run. */
    if (keep && keep->size > (size_t)64 << 20) {
        free(keep);
        keep = NULL;
    }
    if (keep) {
#ifdef KJ_DEBUG
        memset(keep->data, 0xDB, keep->size);
#endif
        keep->n = 0;
        keep->next = NULL;
    }
    a->head = keep;
    a->used = 0;
}

void kj_arena_release(struct kj_arena *a)
{
    while (a->head) {
        struct kj_arena_block *next = a->head->next;
        free(a->head);
        a->head = next;
    }
    a->used = 0;
}

void kj_buf_init(struct kj_buf *b, size_t cap)
{
    *b = (struct kj_buf){.cap = cap};
}

int kj_buf_reserve(struct kj_buf *b, size_t n)
{
    if (n > b->cap || b->n > b->cap - n)
        return KJ_BAD_RECORD;
    size_t want = b->n + n;
    if (want <= b->size && b->p)
        return KJ_OK;
    size_t size = b->size + b->size / 2;
    if (size < want)
        size = want;
    if (size < 256)
        size = 256;
    if (size > b->cap)
        size = b->cap;
    char *p = realloc(b->p, size + KJ_BUF_PAD);
    if (!p)
        return KJ_BAD_RECORD;
    b->p = p;
    b->size = size;
    return KJ_OK;
}

int kj_buf_add(struct kj_buf *b, const char *p, size_t n)
{
    int rc = kj_buf_reserve(b, n);
    if (rc)
        return rc;
    if (n)
        memcpy(b->p + b->n, p, n);
    b->n += n;
    return KJ_OK;
}

int kj_buf_addz(struct kj_buf *b, const char *z)
{
    return kj_buf_add(b, z, strlen(z));
}

int kj_buf_addc(struct kj_buf *b, char c)
{
    return kj_buf_add(b, &c, 1);
}

int kj_buf_vprintf(struct kj_buf *b, const char *fmt, va_list ap)
{
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    int rc = n < 0 ? KJ_BAD_RECORD : kj_buf_reserve(b, (size_t)n);
    if (rc == KJ_OK) { /* the pad has room for the NUL */
        vsnprintf(b->p + b->n, (size_t)n + 1, fmt, again);
        b->n += (size_t)n;
    }
    va_end(again);
    return rc;
}

int kj_buf_printf(struct kj_buf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int rc = kj_buf_vprintf(b, fmt, ap);
    va_end(ap);
    return rc;
}

const char *kj_buf_z(struct kj_buf *b)
{
    if (kj_buf_reserve(b, 0) || !b->p)
        return "";
    b->p[b->n] = 0;
    return b->p;
}

void kj_buf_release(struct kj_buf *b)
{
    free(b->p);
    b->p = NULL;
    b->n = b->size = 0;
}
