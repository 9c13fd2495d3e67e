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
 * "Every merge" with a neighbour is taken over all tokens that can stand there:
 * on the left such as end with a whole character, on the right such as begin
 * with one. Apart are tokens that end in ASCII and those that do not, for the
 * byte in front is known (vocabularies merge a space with the first byte of a
 * syllable early, which rules out only syllables behind a space); and tokens that
 * begin with ASCII or the first byte of a Hangul syllable, and others (stray bytes
 * of Chinese characters rule out a good many syllables, but not in Korean text).
 * Where a condition fails, the character is left as bytes: the table never
 * changes ids, only speed.
 *
 * Words can also be cut. A merge across the boundary of characters b and c makes a
 * token that holds the last byte of b and the first of c. If no token holds b and
 * c side by side, and none holds these two bytes together with only a part of b or
 * of c, there is no such merge, and what is left and right of the boundary has
 * nothing to do with each other. Nor can a token be the whole word.
 */
#include "tokenize/tok_state.h"

#include <stdlib.h>

#include "base/utf8.h"

/* Lowest rank of a merge that holds an id on one side. */
struct lowest {
    uint32_t *left_near; /* on the left of a token that begins with ASCII or Hangul */
    uint32_t *left_far;
    uint32_t *right_ascii; /* on the right of a token that ends in ASCII */
    uint32_t *right_other;
};

static void lower(uint32_t *v, uint32_t rank)
{
    if (rank < *v)
        *v = rank;
}

/* Whether bytes end with the last byte of a character. */
static bool ends_whole(const char *p, size_t n)
{
    size_t k = 0, len;
    while (k < n && k < 3 && ((unsigned char)p[n - 1 - k] & 0xC0) == 0x80)
        k++;
    if (k == n || k == 3)
        return k == n || ((unsigned char)p[n - 1 - k] & 0xF8) == 0xF0;
    kj_utf8_next(p + n - 1 - k, k + 1, &len);
    return len == k + 1 && (k || (unsigned char)p[n - 1] < 0x80);
}

static void gather(const struct kj_tok *t, struct lowest *l)
{
    size_t size = t->n_ids * sizeof(uint32_t);
    l->left_near = kj_xmalloc(4 * size);
    l->left_far = l->left_near + t->n_ids;
    l->right_ascii = l->left_far + t->n_ids;
    l->right_other = l->right_ascii + t->n_ids;
    memset(l->left_near, 0xFF, 4 * size);
    for (size_t i = 0; i <= t->pairs_mask; i++) {
        uint64_t e = t->pairs[i];
        if (e == TOK_PAIR_FREE)
            continue;
        uint32_t a = (uint32_t)(e >> 44), b = e >> 24 & 0xFFFFF;
        uint32_t rank = (uint32_t)(e & TOK_MERGES_MAX);
        const struct tok_bytes *w = &t->ids[a];
        const char *p = t->blob + w->off;
        unsigned char c = (unsigned char)t->blob[t->ids[b].off];
        if ((c & 0xC0) != 0x80)
            lower(tok_char_near(c) ? &l->left_near[a] : &l->left_far[a], rank);
        if (ends_whole(p, w->len))
            lower((unsigned char)p[w->len - 1] < 0x80 ? &l->right_ascii[b]
                                                      : &l->right_other[b],
                  rank);
    }
}

/* The entry of the table for the character of n bytes at p. */
static uint32_t judge(const struct kj_tok *t, const struct lowest *l, const char *p,
                      size_t n)
{
    uint32_t sym[3], top = 0;
    uint32_t flags = TOK_CHAR_ASCII | TOK_CHAR_OTHER | TOK_CHAR_FAR;
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
        if (l->left_near[sym[n - 1]] <= rank)
            return 0;
        if (l->left_far[sym[n - 1]] <= rank)
            flags &= ~TOK_CHAR_FAR;
        if (l->right_ascii[sym[0]] <= rank)
            flags &= ~TOK_CHAR_ASCII;
        if (l->right_other[sym[0]] <= rank)
            flags &= ~TOK_CHAR_OTHER;
        if (n == 1)
            return flags & ~TOK_CHAR_FAR ? flags | sym[0] : 0;
        top = rank > top ? rank : top;
        sym[best] = tok_made(t, rank);
        for (size_t i = best + 1; i + 1 < n; i++)
            sym[i] = sym[i + 1];
        n--;
    }
}

/* ---- characters side by side ---- */

static void side_alloc(struct kj_tok *t, unsigned bits)
{
    free(t->side);
    t->side_shift = 32 - bits;
    t->side = kj_xcalloc((size_t)1 << (bits - 6), sizeof *t->side);
}

static void mark_part(struct kj_tok *t, unsigned char a, unsigned char b)
{
    t->parts[a][b / 64] |= (uint64_t)1 << b % 64;
}

/* Mark what a token has around the boundaries of its characters; those in
 * front of ASCII are left out, no word is cut there. */
static void side_token(struct kj_tok *t, const char *p, const char *end)
{
    uint32_t before = 0;
    const char *at = p;
    while (at < end && ((unsigned char)*at & 0xC0) == 0x80)
        at++;
    bool part = at > p; /* what stands in front is the end of a character */
    for (size_t i = 0, len; at < end; i++, at += len) {
        uint32_t c = kj_utf8_next(at, (size_t)(end - at), &len);
        unsigned char lead = (unsigned char)*at;
        bool bad = c == KJ_UTF8_BAD && (len < 3 || lead != 0xEF);
        if (at > p && lead >= 0x80 && (bad || (i == 0 && part)))
            mark_part(t, (unsigned char)at[-1], lead);
        if (bad)
            return; /* the front of a character; nothing can follow in text */
        if (i && c >= 0x80) {
            uint32_t bit = tok_char_hash(t, before, c);
            t->side[bit / 64] |= (uint64_t)1 << bit % 64;
        }
        before = c;
    }
}

static void side_mark(struct kj_tok *t)
{
    for (uint32_t id = 0; id < t->n_ids; id++) {
        const struct tok_bytes *w = &t->ids[id];
        side_token(t, t->blob + w->off, t->blob + w->off + w->len);
    }
}

/* At most one bit in 16 set, so that few cuts are missed; small, to stay in the
 * nearest cache. */
void tok_side_build(struct kj_tok *t)
{
    unsigned bits = 22;
    side_alloc(t, bits);
    side_mark(t);
    size_t pairs = 0;
    for (size_t i = 0; i < (size_t)1 << (bits - 6); i++)
        pairs += (size_t)__builtin_popcountll(t->side[i]);
    /* A BPE over characters is cut at each space by a pair of few different ones; a
     * bit that is set wrongly there would join very many words. */
    for (bits = t->by_chars ? 20 : 14; bits < 22 && (size_t)1 << bits < 16 * pairs;)
        bits++;
    side_alloc(t, bits);
    side_mark(t);
}

static void alone_build(struct kj_tok *t)
{
    t->alone = kj_xcalloc(65536, sizeof *t->alone);
    for (uint32_t c = 0; c < 65536; c++) {
        char p[4];
        uint32_t ids[TOK_SHORT];
        if (c >= 0xD800 && c < 0xE000)
            continue;
        size_t n = kj_utf8_put(c, p);
        ids[0] = t->bytes[(unsigned char)*p];
        size_t m = n == 1 ? 1 : tok_merge_short(t, p, n, ids);
        for (size_t i = m; i-- > 0;)
            t->alone[c] = t->alone[c] << 20 | ids[i];
        t->alone[c] |= (uint64_t)m << 60;
    }
}

void tok_chars_build(struct kj_tok *t)
{
    struct lowest l;
    gather(t, &l);
    for (uint32_t c = 0x80; c < 0x10000; c++) {
        char p[4];
        if (c >= 0xD800 && c < 0xE000)
            continue;
        size_t n = kj_utf8_put(c, p);
        if (tok_word_find(t, p, n) != TOK_NONE)
            t->chars[c] = judge(t, &l, p, n);
    }
    free(l.left_near);
    for (uint32_t c = 0; c < 0x80; c++)
        t->chars[c] = t->bytes[c] | TOK_CHAR_ASCII | TOK_CHAR_OTHER | TOK_CHAR_FAR;
    tok_side_build(t);
    alone_build(t);
}
