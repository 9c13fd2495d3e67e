/* tok_block.h - the scanners of tok_scan.c, 64 bytes at a time. */
#ifndef KJ_TOKENIZE_TOK_BLOCK_H
#define KJ_TOKENIZE_TOK_BLOCK_H

#include "tokenize/tok_internal.h"

/* Bytes that a block needs: 64, and what is looked at behind them. */
#define TOK_BLOCK_READ 72

/* Vector code to use; tok_scan_init takes the best that the processor has.
 * False if it has not. For tests; not while other threads scan. */
enum tok_isa { TOK_PLAIN, TOK_SSE2, TOK_AVX2, TOK_AVX512 };
bool tok_block_use(enum tok_isa isa);

/* text[0..TOK_BLOCK_READ) is valid UTF-8 (but for a character cut at its end),
 * and a word starts at text[0]. Bit i: a word starts at text[i]. Bit 0 is set, the
 * words between two set bits are right, and what is behind the last is open;
 * with bit 0 alone, tok_scan_next has to be asked. */
uint64_t tok_block_starts(enum tok_scan scan, const char *text);

/* ---- shared with tok_scan.c ---- */
enum { TOK_O, TOK_L, TOK_N, TOK_S }; /* other, letter, number, white space */
/* Kinds: classes, of which some are told apart. Letters that are neither upper
 * nor lower case are TOK_L alone. */
enum { TOK_MARK = TOK_O | 4, TOK_UPPER = TOK_L | 4, TOK_LOWER = TOK_L | 8 };
extern unsigned char tok_scan_bmp[0x10000]; /* kinds */
unsigned char tok_scan_kind(uint32_t c);

/* Kind of the character at p[0], which is valid UTF-8, and its length. */
static inline unsigned tok_kind_at(const unsigned char *p, size_t *len)
{
    unsigned c = p[0];
    if (c < 0x80) {
        *len = 1;
        return tok_scan_bmp[c];
    }
    if (c < 0xE0) {
        *len = 2;
        return tok_scan_bmp[(c & 0x1F) << 6 | (p[1] & 0x3F)];
    }
    if (c < 0xF0) {
        *len = 3;
        return tok_scan_bmp[(c & 0x0F) << 12 | (p[1] & 0x3Fu) << 6 | (p[2] & 0x3F)];
    }
    *len = 4;
    return tok_scan_kind((c & 0x07) << 18 | (p[1] & 0x3Fu) << 12 | (p[2] & 0x3Fu) << 6 |
                         (p[3] & 0x3F));
}

static inline unsigned tok_class_at(const unsigned char *p, size_t *len)
{
    return tok_kind_at(p, len) & 3;
}

/* Length of 's 't 're 've 'm 'll 'd at the apostrophe p[at], or 0. */
size_t tok_contraction(const unsigned char *p, size_t n, size_t at, bool fold);

#endif
