/* winnow.h - the anchors of a text: few places by which all of its windows
 * can be found in other texts.
 *
 * S. Schleimer, D. Wilkerson, A. Aiken, Winnowing, SIGMOD 2003. A window is
 * `window` symbols (bytes, or words as 64-bit hashes). Its anchor is where,
 * among its runs of `gram` symbols, the one of the least hash begins; the
 * first of them if there are several. What a window's anchor is depends on the
 * content of the window alone, so equal windows have equal anchors at equal
 * places in them. Neighbouring windows mostly share theirs: random symbols
 * have one anchor in (window - gram + 2) / 2 symbols.
 *
 * The windows of an anchor begin at places next to each other, [from, to];
 * together they cover its stretch, [from, to + window). Anchors of one hash
 * whose stretches are equal stand for equal windows, one by one.
 *
 * Periodic text has an anchor in every period. When an anchor's stretch equals
 * that of the anchor before it, over and over at the same distance, only those
 * that begin within a window's length of the first are given; the rest, whose
 * windows all occur, without overlap, earlier in the same text, is given as
 * one loop.
 *
 * Linear in the symbols, whatever they are. A struct belongs to one thread.
 */
#ifndef KJ_DEDUP_WINNOW_H
#define KJ_DEDUP_WINNOW_H

#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/mem.h"

struct kj_anchor {
    uint64_t hash;
    struct kj_hash128 same; /* hash of the stretch */
    uint32_t from, to;      /* first and last window; the anchor lies behind `to` */
};

/* Symbols [from, end) equal those `back` before; back >= window. */
struct kj_loop {
    uint32_t from, end, back;
};

struct kj_winnower {
    size_t window, gram;
    uint64_t table[256];          /* of bytes */
    uint64_t *value;              /* two blocks of hashes */
    uint32_t *place;              /* least place from here to the block's end */
    struct kj_buf anchors, loops; /* struct kj_anchor, struct kj_loop */
    struct kj_anchor head, last;  /* of the run of equal stretches */
    uint32_t head_at, last_at, step;
    struct kj_loop loop;
    int any;
};

/* window >= 1. gram: at most 64, and at most the window. */
void kj_winnower_init(struct kj_winnower *w, size_t window, size_t gram);
void kj_winnower_release(struct kj_winnower *w);

/* Fill anchors and loops for p[0..n): bytes, or words (wide). Fewer than
 * `window` symbols have none. KJ_OK, or KJ_BAD_RECORD at the buffers' caps. */
int kj_winnow(struct kj_winnower *w, const void *p, size_t n, int wide);

#endif
