/* tok_chars.c - characters that merging may begin with, in place of bytes.
 *
 * Merging starts from bytes, and in Korean text two of three merges only put
 * a syllable's bytes together. For most characters the outcome of these is
 * known beforehand. Let c be a character whose bytes, merged by themselves,
 * become one symbol, by merges of ranks r1, r2; R is the larger. While c is
 * incomplete and its next own merge has rank r, let every merge that pairs
 * its first symbol with one on the left, or its last symbol with one on the
 * right, have a rank above r; and let every merge that pairs the complete c
 * with a neighbour have a rank above R. Then c may be taken whole:
 *
 *   The own merge of rank r is at hand from the start, and greedy merging
 *   never takes a higher rank before a lower one, so nothing reaches into c
 *   before it is complete, and it is complete before the lowest rank at hand
 *   exceeds R. Until then no merge touches the complete c either; so what is
 *   left of c and what is right of it develop by themselves, and have no rank
 *   up to R left, whether c was there from the start or not. From then on
 *   both runs are in the same state.
 *
 * "Every merge" with a left neighbour is taken over all tokens, but apart for
 * tokens that end in ASCII and those that do not, for the byte in front is
 * known: vocabularies merge a space with the first byte of a syllable early,
 * which rules out only syllables behind a space. Where a condition fails, the
 * character is left as bytes: the table never changes ids, only speed.
 */
#include "tokenize/tok_internal.h"

#include <stdlib.h>

#include "base/utf8.h"

/* Lowest rank of a merge that holds an id on one side. */
struct lowest {
    uint32_t *left;        /* the id on the left */
    uint32_t *right_ascii; /* on the right of a token that ends in ASCII */
    uint32_t *right_other;
};

static void lower(uint32_t *v, uint32_t rank)
{
    if (rank < *v)
        *v = rank;
}

static void gather(const struct kj_tok *t, struct lowest *l)
{
    size_t size = t->n_ids * sizeof(uint32_t);
    l->left = kj_xmalloc(size);
    l->right_ascii = kj_xmalloc(size);
    l->right_other = kj_xmalloc(size);
    memset(l->left, 0xFF, size);
    memset(l->right_ascii, 0xFF, size);
    memset(l->right_other, 0xFF, size);
    for (size_t i = 0; i <= t->pairs_mask; i++) {
        uint64_t e = t->pairs[i];
        if (e == TOK_PAIR_FREE)
            continue;
        uint32_t a = (uint32_t)(e >> 44), b = e >> 24 & 0xFFFFF;
        uint32_t rank = (uint32_t)(e & TOK_MERGES_MAX);
        const struct tok_bytes *w = &t->ids[a];
        bool ascii = (unsigned char)t->blob[w->off + w->len - 1] < 0x80;
        lower(&l->left[a], rank);
        lower(ascii ? &l->right_ascii[b] : &l->right_other[b], rank);
    }
}

/* The entry of the table for the character of n bytes at p. */
static uint32_t judge(const struct kj_tok *t, const struct lowest *l, const char *p,
                      size_t n)
{
    uint32_t sym[3], top = 0, flags = TOK_CHAR_ASCII | TOK_CHAR_OTHER;
    for (size_t i = 0; i < n; i++)
        sym[i] = t->bytes[(unsigned char)p[i]];
    for (;;) {
        uint32_t rank = TOK_NONE; /* of the next own merge */
        size_t best = 0;
        for (size_t i = 0; i + 1 < n; i++) {
            uint32_t r = tok_pair_rank(t, sym[i], sym[i + 1]);
            if (r < rank) {
                rank = r;
                best = i;
            }
        }
        if (n == 1)
            rank = top; /* complete: neighbours must wait for all of its merges */
        else if (rank == TOK_NONE)
            return 0;
        if (l->left[sym[n - 1]] <= rank)
            return 0;
        if (l->right_ascii[sym[0]] <= rank)
            flags &= ~TOK_CHAR_ASCII;
        if (l->right_other[sym[0]] <= rank)
            flags &= ~TOK_CHAR_OTHER;
        if (n == 1)
            return flags ? flags | sym[0] : 0;
        top = rank > top ? rank : top;
        sym[best] = t->made[rank];
        for (size_t i = best + 1; i + 1 < n; i++)
            sym[i] = sym[i + 1];
        n--;
    }
}

void tok_chars_build(struct kj_tok *t)
{
    struct lowest l;
    t->chars = kj_xcalloc(65536, sizeof *t->chars);
    gather(t, &l);
    for (uint32_t c = 0x80; c < 0x10000; c++) {
        char p[4];
        if (c >= 0xD800 && c < 0xE000)
            continue;
        size_t n = kj_utf8_put(c, p);
        if (tok_word_find(t, p, n) != TOK_NONE)
            t->chars[c] = judge(t, &l, p, n);
    }
    free(l.left);
    free(l.right_ascii);
    free(l.right_other);
}
