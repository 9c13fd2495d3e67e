/* tok_pairs.c - the tables of a BPE's merges.
 *
 * Only merges that can ever happen are kept. Where a merge makes token c out of some
 * bytes of a word, nothing has reached across the ends of these bytes, so they went the
 * way that they go by themselves; that way is one and the same, so each token has at
 * most one merge that can make it: the last one of its own bytes, if they become that
 * token. Vocabularies that were converted from lists of ranks name every pair that makes
 * a token, Llama 3 280,147 for 127,744.
 *
 * Which one it is can as a rule be told without merging. Let merges make parts before
 * wholes, let (a, b) of rank r make c, and let a and b be tokens that merging makes. The
 * bytes of c become a and b and then c, unless some merge reaches across their boundary
 * before. Going back in time from r, the last symbol of a and the first one of b fall
 * apart into their own parts, in the order of the ranks that made them; what stands on
 * the two sides of the boundary at any time is found by taking apart the one of higher
 * rank again and again, and a pair (x, y) is merged across if its rank is below that of
 * the merge that took x or y away (or equal to it where that took y: of equal pairs the
 * leftmost goes first). So all merges are asked in order of rank, each with the tables
 * of those below.
 *
 * Some merges come before their parts. These, and those that were not found to happen, are
 * in the tables, too, and so nothing is taken for made by merges that one of them might
 * come in between. What is found is so: up to the first other merge in the bytes of a
 * token all goes as found, and that has no such pair side by side. For the tokens that
 * are left merging is tried out (Llama 3: 695; a vocabulary in any order: all).
 */
#include "tokenize/tok_state.h"

#include <stdlib.h>
#include <string.h>

#include "base/pages.h"
#include "base/utf8.h"

/* Merges whose places in the tables are on their way from memory. */
#define AHEAD 16

/* ---- tables ---- */

void tok_pairs_free(struct kj_tok *t)
{
    kj_pages_free(t->pairs, (t->pairs_mask + 1) * sizeof *t->pairs);
    free(t->filter);
    free(t->made);
}

/* Empty tables for n pairs of ranks below `ranks`. */
static void pairs_alloc(struct kj_tok *t, size_t n, size_t ranks)
{
    size_t size = 1024;
    while (3 * size < 4 * n)
        size *= 2;
    kj_pages_free(t->pairs, (t->pairs_mask + 1) * sizeof *t->pairs);
    free(t->filter);
    free(t->made);
    t->pairs = kj_pages_xnew(size * sizeof *t->pairs);
    memset(t->pairs, 0xFF, size * sizeof *t->pairs);
    t->pairs_mask = size - 1;
    t->filter = kj_xcalloc(TOK_FILTER_BITS / 64, sizeof *t->filter);
    t->made = kj_xmalloc((ranks + 1) * sizeof *t->made);
    memset(t->made, 0xFF, (ranks + 1) * sizeof *t->made);
    t->n_merges = ranks;
}

/* Begin to fetch what pair_put will write a few merges later. */
static inline void pair_fetch(const struct kj_tok *t, const struct tok_cut *c)
{
    uint64_t h = tok_pair_hash(c->a, c->b);
    __builtin_prefetch(&t->pairs[h & t->pairs_mask], 1);
    __builtin_prefetch(&t->filter[(h >> 43) / 64], 1);
}

/* Of two equal pairs the last counts. */
static void pair_put(struct kj_tok *t, const struct tok_cut *c, size_t rank)
{
    uint32_t bit = tok_pair_hash(c->a, c->b) >> 43;
    *tok_pair_slot(t, c->a, c->b) = tok_pair_key(c->a, c->b) << 24 | rank;
    t->filter[bit / 64] |= (uint64_t)1 << bit % 64;
    t->made[rank] = c->id;
}

static void put_all(struct kj_tok *t, const struct tok_cut *c, size_t n)
{
    pairs_alloc(t, n, n);
    for (size_t i = 0; i < n; i++)
        pair_put(t, &c[i], i);
}

static void byte_ranks(struct kj_tok *t)
{
    for (unsigned i = 0; i < 1u << 16 && !t->by_chars; i++) {
        uint32_t a = t->bytes[i >> 8], b = t->bytes[i & 255];
        t->byte_ranks[i] =
            a == TOK_NONE || b == TOK_NONE ? TOK_NONE : tok_pair_rank(t, a, b);
    }
}

/* ---- the merges that can happen ---- */

struct found {
    /* By id, as in t->pairs, the merge that was found in order, with its place + 1; of
     * what merging starts with the place is 0; else TOK_PAIR_FREE. */
    uint64_t *split;
    uint32_t *by; /* by id: what makes it, its place + 1 */
};

/* Whether the bytes of tokens a and b come to be these two, side by side. */
static bool comes_to(const struct kj_tok *t, const uint64_t *split, uint32_t a,
                     uint32_t b)
{
    for (;;) {
        uint64_t x = split[a], y = split[b];
        uint32_t rx = x & TOK_MERGES_MAX, ry = y & TOK_MERGES_MAX;
        if (!(rx | ry)) /* both were there from the start */
            return true;
        bool first = rx > ry;
        a = first ? x >> 24 & TOK_CHAR_ID : a;
        b = first ? b : (uint32_t)(y >> 44);
        uint32_t rank = tok_pair_rank(t, a, b);
        if (rank != TOK_NONE && rank + 1 < (first ? rx : ry + 1))
            return false;
    }
}

/* What merging starts with. */
static void find_starts(const struct kj_tok *t, struct found *f)
{
    memset(f->split, 0xFF, (t->n_ids + 1) * sizeof *f->split);
    for (unsigned b = 0; b < 256 && !t->by_chars; b++)
        if (t->bytes[b] != TOK_NONE)
            f->split[t->bytes[b]] = 0;
    for (uint32_t id = 0; id < t->n_ids && t->by_chars; id++) {
        size_t len = 0;
        if (t->ids[id].len)
            kj_utf8_next(t->blob + t->ids[id].off, t->ids[id].len, &len);
        if (len && len == t->ids[id].len)
            f->split[id] = 0;
    }
}

/* Find merges in order, and make tables of all that can happen. False when a pair stands
 * there twice: then nothing is known. */
static bool in_order(struct kj_tok *t, const struct tok_cut *c, size_t n,
                     struct found *f)
{
    pairs_alloc(t, n, n);
    find_starts(t, f);
    for (size_t i = 0; i < n; i++) {
        uint64_t pair = tok_pair_key(c[i].a, c[i].b), *split = &f->split[c[i].id];
        if (i + AHEAD < n) {
            pair_fetch(t, &c[i + AHEAD]);
            __builtin_prefetch(&f->split[c[i + AHEAD].a]);
            __builtin_prefetch(&f->split[c[i + AHEAD].b]);
        }
        if (*split != TOK_PAIR_FREE) {
            if (*split >> 24 == pair)
                return false;
            continue;
        }
        if (f->split[c[i].a] != TOK_PAIR_FREE && f->split[c[i].b] != TOK_PAIR_FREE &&
            comes_to(t, f->split, c[i].a, c[i].b)) {
            *split = pair << 24 | (i + 1);
            f->by[c[i].id] = (uint32_t)i + 1;
        }
        pair_put(t, &c[i], i);
    }
    return true;
}

/* The same by merging, for tokens that are left. */
static void by_merging(const struct kj_tok *t, struct found *f)
{
    struct tok_long scratch = {0};
    for (uint32_t id = 0; id < t->n_ids; id++) {
        uint64_t key = f->by[id] ? TOK_PAIR_FREE : tok_last_merge(t, &scratch, id);
        if (key != TOK_PAIR_FREE)
            f->by[id] = tok_pair_rank(t, (uint32_t)(key >> 20), key & TOK_CHAR_ID) + 1;
    }
    tok_long_release(&scratch);
}

/* Tables of those merges alone. Where ids rise with ranks the ranks get their gaps, so
 * that ids follow from ranks without a table: English, Llama 3 (which has 588 tokens that
 * merging does not make), empty cache: 238 for 228 MB/s. */
static void keep_those(struct kj_tok *t, const struct tok_cut *c, size_t n,
                       const struct found *f)
{
    size_t kept = 0, ranks;
    uint32_t first = 0, last = 0;
    bool rise = true;
    for (size_t i = 0; i < n; i++) {
        if (f->by[c[i].id] != i + 1)
            continue;
        rise &= !kept || c[i].id > last;
        last = c[i].id;
        first = kept++ ? first : last;
    }
    ranks = rise && kept ? last - first + 1 : kept;
    if (kept == n && ranks == n)
        return;
    pairs_alloc(t, kept, ranks);
    for (size_t i = 0, rank = 0; i < n; i++) {
        if (i + AHEAD < n && f->by[c[i + AHEAD].id] == i + AHEAD + 1)
            pair_fetch(t, &c[i + AHEAD]);
        if (f->by[c[i].id] == i + 1)
            pair_put(t, &c[i], rise ? c[i].id - first : rank++);
    }
    byte_ranks(t);
}

static void find_merges(struct kj_tok *t, const struct tok_cut *c, size_t n)
{
    struct found f = {.split = kj_xmalloc((t->n_ids + 1) * sizeof *f.split),
                      .by = kj_xcalloc(t->n_ids + 1, sizeof *f.by)};
    if (!in_order(t, c, n, &f)) {
        memset(f.by, 0, (t->n_ids + 1) * sizeof *f.by);
        put_all(t, c, n);
    }
    byte_ranks(t);
    by_merging(t, &f);
    keep_those(t, c, n, &f);
    free(f.split);
    free(f.by);
}

/* ---- all ---- */

/* Whether a token stands for what the vocabulary has no character for. */
static bool stands_in(const struct kj_tok *t, uint32_t id)
{
    bool is = id == t->unknown;
    for (unsigned b = 0; t->fallback && b < 256; b++)
        is |= id == t->bytes[b];
    return is;
}

/* A token that stands for something unknown is not made of its own text, so where
 * merges take such, none is left out. */
static void start_chars(struct kj_tok *t, const struct tok_cut *c, size_t n)
{
    unsigned char *in = kj_xcalloc(t->n_ids + 1, 1);
    t->chars = kj_xcalloc(65536, sizeof *t->chars);
    for (uint32_t k = 0; k < 0x10000; k++) {
        char p[4];
        if (k < 0xD800 || k >= 0xE000)
            t->chars[k] = tok_word_find(t, p, kj_utf8_put(k, p)) + 1;
    }
    t->closed = true;
    for (uint32_t id = 0; id < t->n_ids; id++)
        in[id] = stands_in(t, id);
    for (size_t i = 0; i < n; i++)
        t->closed &= !in[c[i].a] && !in[c[i].b];
    free(in);
}

void tok_bpe_merges(struct kj_tok *t, const struct tok_cut *c, size_t n)
{
    if (t->by_chars) {
        start_chars(t, c, n);
    } else {
        t->byte_ranks = kj_xmalloc(sizeof *t->byte_ranks << 16);
        t->chars = kj_xcalloc(65536, sizeof *t->chars);
    }
    if (t->by_chars && !t->closed)
        put_all(t, c, n);
    else
        find_merges(t, c, n);
    bool even = t->n_merges > 0;
    for (size_t i = 1; i < t->n_merges && even; i++)
        even = t->made[i] == t->made[0] + i || t->made[i] == TOK_NONE;
    if (even) {
        t->made_base = t->made[0];
        free(t->made);
        t->made = NULL;
    }
    if (t->by_chars)
        tok_side_build(t);
    else
        tok_chars_build(t);
}
