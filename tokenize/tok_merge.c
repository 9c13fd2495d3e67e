/* tok_merge.c - the merges of one word.
 *
 * Of all adjacent pairs that have a merge, the one of lowest rank is merged, the
 * leftmost first, until none is left. Four ways:
 *
 * Up to 64 bytes, nearly all words: each symbol keeps its place; a word of bits
 * tells which are alive, and the rank of each pair and its place are one number,
 * so that the next merge is the least number of a small array.
 *
 * The same of up to 16 bytes of ASCII, several words in turns: a merge asks for two
 * pairs whose places in memory only it knows, so a word by itself mostly waits.
 *
 * Longer: the same numbers in a binary heap over a linked list; an entry is stale
 * when the pair at its place has another rank by now. O(n log n).
 *
 * Very long (a megabyte of one letter): a list holds the places of each rank, a
 * tree of bits finds the least rank in four steps, and all places of a rank are
 * merged from left to right; a list that did not grow in order is sorted by radix.
 * Merges make pairs of higher rank, as a rule, and then this is linear in the
 * word. Where one makes a pair of lower or equal rank, the rest of the list goes
 * back first; a word with which that happens all the time is left to the heap.
 */
#include "tokenize/tok_state.h"

#include "base/utf8.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

/* Words from here on are merged by rank; below, the heap is as fast. */
#define VERY_LONG 256
/* Scratch for long words is kept between calls up to this many symbols. */
#define KEEP ((size_t)64 << 10)

/* The symbols that a word starts with in a BPE over characters, and the rank of each
 * with the next one. They may be fewer than bytes, or none. An
 * unknown token waits until a known character, as in the reference, so that bytes
 * of later characters can come before it. */
static size_t start_chars(const struct kj_tok *t, const char *p, size_t n,
                          uint32_t *sym, uint32_t *rank)
{
    size_t m = 0;
    bool waits = false;
    for (size_t i = 0, len; i < n; i += len) {
        uint32_t c = kj_utf8_next(p + i, n - i, &len), id;
        id = c < 0x10000 ? t->chars[c] - 1 : tok_word_find(t, p + i, len);
        bool all = t->fallback && id == TOK_NONE;
        for (size_t k = 0; k < len && all; k++)
            all = t->bytes[(unsigned char)p[i + k]] != TOK_NONE;
        for (size_t k = 0; k < len && all; k++)
            sym[m++] = t->bytes[(unsigned char)p[i + k]];
        if (all)
            continue;
        if (waits && !(id == TOK_NONE && t->fuse)) {
            sym[m++] = t->unknown;
            waits = false;
        }
        if (id != TOK_NONE)
            sym[m++] = id;
        else
            waits = t->unknown != TOK_NONE;
    }
    if (waits)
        sym[m++] = t->unknown;
    for (size_t i = 0; i + 1 < m; i++)
        rank[i] = tok_pair_rank(t, sym[i], sym[i + 1]);
    if (m)
        rank[m - 1] = TOK_NONE;
    return m;
}

/* The symbols that a word starts with, and the rank of each with the next one:
 * its bytes, but for characters that may be taken whole. sym and rank have
 * room for n; the number of symbols. */
static size_t start(const struct kj_tok *t, const char *p, size_t n, uint32_t *sym,
                    uint32_t *rank)
{
    const unsigned char *u = (const unsigned char *)p;
    size_t m = 0;
    if (t->by_chars)
        return start_chars(t, p, n, sym, rank);
    bool whole = false; /* the last symbol is a character taken whole */
    for (size_t i = 0, len; i < n; i += len) {
        uint32_t c = u[i], id = 0;
        len = 1;
        if (c >= 0xE0 && c < 0xF0)
            id = t->chars[(c & 0x0F) << 12 | (u[i + 1] & 0x3Fu) << 6 |
                          (u[i + 2] & 0x3F)];
        else if (c >= 0xC0 && c < 0xE0)
            id = t->chars[(c & 0x1F) << 6 | (u[i + 1] & 0x3F)];
        size_t to = i + (c < 0xE0 ? 2 : 3);
        if ((id & (i && u[i - 1] < 0x80 ? TOK_CHAR_ASCII : TOK_CHAR_OTHER)) &&
            (id & TOK_CHAR_FAR || to >= n || tok_char_near(u[to]))) {
            len = to - i;
            sym[m] = id & TOK_CHAR_ID;
            if (m)
                rank[m - 1] = tok_pair_rank(t, sym[m - 1], sym[m]);
            whole = true;
            m++;
            continue;
        }
        sym[m] = t->bytes[c];
        if (m)
            rank[m - 1] = whole ? tok_pair_rank(t, sym[m - 1], sym[m])
                                : t->byte_ranks[(unsigned)u[i - 1] << 8 | c];
        whole = false;
        m++;
    }
    rank[m - 1] = TOK_NONE;
    return m;
}

/* ---- short words ---- */

#define NO_PAIR INT32_MAX

/* A rank and a place below 64 as one number; ranks are below 2^24. */
static inline int32_t pair_at(uint32_t rank, unsigned place)
{
    return rank == TOK_NONE ? NO_PAIR : (int32_t)(rank << 6 | place);
}

/* Least of v[0..n), n a multiple of 8. */
static inline int32_t least(const int32_t *v, size_t n)
{
#if defined(__SSE2__)
    const __m128i *p = (const __m128i *)(const void *)v;
    __m128i a = _mm_load_si128(p), b = _mm_load_si128(p + 1), x, lt;
    for (size_t i = 2; i < n / 4; i += 2) {
        x = _mm_load_si128(p + i);
        lt = _mm_cmplt_epi32(x, a);
        a = _mm_or_si128(_mm_and_si128(lt, x), _mm_andnot_si128(lt, a));
        x = _mm_load_si128(p + i + 1);
        lt = _mm_cmplt_epi32(x, b);
        b = _mm_or_si128(_mm_and_si128(lt, x), _mm_andnot_si128(lt, b));
    }
    lt = _mm_cmplt_epi32(a, b);
    a = _mm_or_si128(_mm_and_si128(lt, a), _mm_andnot_si128(lt, b));
    uint64_t lo = (uint64_t)_mm_cvtsi128_si64(a);
    uint64_t hi = (uint64_t)_mm_cvtsi128_si64(_mm_unpackhi_epi64(a, a));
    int32_t u = (int32_t)lo, w = (int32_t)(lo >> 32);
    int32_t y = (int32_t)hi, z = (int32_t)(hi >> 32);
    u = u < w ? u : w;
    y = y < z ? y : z;
    return u < y ? u : y;
#else
    int32_t m = v[0];
    for (size_t i = 1; i < n; i++)
        m = v[i] < m ? v[i] : m;
    return m;
#endif
}

/* *last: the key of the last pair that was merged. */
static inline size_t merge_short(const struct kj_tok *t, const char *p, size_t n,
                                 uint32_t *ids, uint64_t *last)
{
    uint32_t sym[TOK_SHORT], rank[TOK_SHORT];
    _Alignas(16) int32_t pairs[TOK_SHORT];
    n = start(t, p, n, sym, rank);
    if (!n)
        return 0;
    size_t span = (n + 7) & ~(size_t)7, m = 0;
    for (unsigned i = 0; i < span; i++)
        pairs[i] = i < n ? pair_at(rank[i], i) : NO_PAIR;
    uint64_t alive = n == 64 ? UINT64_MAX : ((uint64_t)1 << n) - 1;
    for (int32_t best; (best = least(pairs, span)) != NO_PAIR;) {
        unsigned i = (unsigned)best & 63;
        uint64_t behind = alive & (UINT64_MAX - 1) << i;
        uint64_t front = alive & (((uint64_t)1 << i) - 1);
        unsigned j = (unsigned)__builtin_ctzll(behind);
        if (last)
            *last = tok_pair_key(sym[i], sym[j]);
        pairs[j] = NO_PAIR;
        behind &= behind - 1;
        alive &= ~((uint64_t)1 << j);
        sym[i] = tok_made(t, (uint32_t)best >> 6);
        pairs[i] = NO_PAIR;
        if (behind)
            pairs[i] =
                pair_at(tok_pair_rank(t, sym[i], sym[__builtin_ctzll(behind)]), i);
        if (front) {
            unsigned k = 63 - (unsigned)__builtin_clzll(front);
            pairs[k] = pair_at(tok_pair_rank(t, sym[k], sym[i]), k);
        }
    }
    for (; alive; alive &= alive - 1)
        ids[m++] = sym[__builtin_ctzll(alive)];
    return m;
}

size_t tok_merge_short(const struct kj_tok *t, const char *p, size_t n, uint32_t *ids)
{
    return merge_short(t, p, n, ids, NULL);
}

/* ---- several short words at once ---- */

#define NO_SYMBOL UINT_MAX

static void lane_start(const struct kj_tok *t, struct tok_lane *l)
{
    const unsigned char *u = (const unsigned char *)l->p;
    for (unsigned i = 0; i < TOK_LANE_MAX; i++)
        l->pairs[i] = NO_PAIR;
    l->sym[0] = t->bytes[u[0]];
    for (unsigned i = 1; i < l->n; i++) {
        l->sym[i] = t->bytes[u[i]];
        l->pairs[i - 1] = pair_at(t->byte_ranks[(unsigned)u[i - 1] << 8 | u[i]], i - 1);
    }
    l->alive = (1u << l->n) - 1;
    l->at = NO_SYMBOL;
}

static inline void pair_fetch(const struct kj_tok *t, uint32_t a, uint32_t b)
{
    uint64_t h = tok_pair_hash(a, b);
    __builtin_prefetch(&t->filter[(h >> 43) / 64]);
    __builtin_prefetch(&t->pairs[h & t->pairs_mask]);
}

/* Symbols behind and in front of symbol i, as bits. */
static inline uint32_t lane_behind(const struct tok_lane *l, unsigned i)
{
    return l->alive & (UINT32_MAX - 1) << i;
}
static inline uint32_t lane_front(const struct tok_lane *l, unsigned i)
{
    return l->alive & ((1u << i) - 1);
}
static inline unsigned last_bit(uint32_t bits)
{
    return 31 - (unsigned)__builtin_clz(bits);
}

/* Look up the pairs of the last merge, and do the next one; false: there is none. */
static bool lane_step(const struct kj_tok *t, struct tok_lane *l)
{
    unsigned i = l->at;
    if (i != NO_SYMBOL) {
        uint32_t behind = lane_behind(l, i), front = lane_front(l, i);
        if (behind)
            l->pairs[i] =
                pair_at(tok_pair_rank(t, l->sym[i], l->sym[__builtin_ctz(behind)]), i);
        if (front) {
            unsigned k = last_bit(front);
            l->pairs[k] = pair_at(tok_pair_rank(t, l->sym[k], l->sym[i]), k);
        }
    }
    int32_t best = least(l->pairs, TOK_LANE_MAX);
    if (best == NO_PAIR)
        return false;
    i = l->at = (unsigned)best & 63;
    unsigned j = (unsigned)__builtin_ctz(lane_behind(l, i));
    l->alive &= ~(1u << j);
    l->sym[i] = tok_made(t, (uint32_t)best >> 6);
    l->pairs[i] = l->pairs[j] = NO_PAIR;
    uint32_t behind = lane_behind(l, i), front = lane_front(l, i);
    if (behind)
        pair_fetch(t, l->sym[i], l->sym[__builtin_ctz(behind)]);
    if (front)
        pair_fetch(t, l->sym[last_bit(front)], l->sym[i]);
    return true;
}

void tok_merge_lanes(const struct kj_tok *t, struct tok_lane *v, size_t n)
{
    uint32_t busy = (1u << n) - 1;
    for (size_t i = 0; i < n; i++)
        lane_start(t, &v[i]);
    while (busy)
        for (uint32_t b = busy; b; b &= b - 1) {
            unsigned i = (unsigned)__builtin_ctz(b);
            if (!lane_step(t, &v[i]))
                busy &= ~(1u << i);
        }
    for (size_t i = 0; i < n; i++) {
        struct tok_lane *l = &v[i];
        for (l->n = 0; l->alive; l->alive &= l->alive - 1)
            l->sym[l->n++] = l->sym[__builtin_ctz(l->alive)];
    }
}

/* ---- long words: a heap ---- */

static void heap_down(uint64_t *h, size_t n, size_t i)
{
    uint64_t x = h[i];
    for (size_t k; (k = 2 * i + 1) < n; i = k) {
        if (k + 1 < n && h[k + 1] < h[k])
            k++;
        if (h[k] >= x)
            break;
        h[i] = h[k];
    }
    h[i] = x;
}

static void heap_push(struct tok_long *l, uint64_t x)
{
    size_t i = l->heap_n++;
    for (; i > 0 && l->heap[(i - 1) / 2] > x; i = (i - 1) / 2)
        l->heap[i] = l->heap[(i - 1) / 2];
    l->heap[i] = x;
}

/* Note the pair that starts at symbol i; end is the index behind the last. */
static void offer(const struct kj_tok *t, struct tok_long *l, uint32_t i, uint32_t end)
{
    uint32_t j = l->next[i];
    l->rank[i] = TOK_NONE;
    if (j == end)
        return;
    uint32_t rank = tok_pair_rank(t, l->sym[i], l->sym[j]);
    if (rank == TOK_NONE)
        return;
    l->rank[i] = rank;
    heap_push(l, (uint64_t)rank << 32 | i);
}

static void merge_heap(const struct kj_tok *t, struct tok_long *l, uint32_t end)
{
    /* n - 1 pairs at first; every merge takes one out and adds at most two. */
    if (!l->heap)
        l->heap = kj_xmalloc(2 * l->cap * sizeof *l->heap);
    l->heap_n = 0;
    for (uint32_t i = 0; i < end; i = l->next[i])
        if (l->rank[i] != TOK_NONE)
            l->heap[l->heap_n++] = (uint64_t)l->rank[i] << 32 | i;
    for (size_t i = l->heap_n / 2; i-- > 0;)
        heap_down(l->heap, l->heap_n, i);
    while (l->heap_n) {
        uint64_t x = l->heap[0];
        uint32_t i = (uint32_t)x;
        l->heap[0] = l->heap[--l->heap_n];
        heap_down(l->heap, l->heap_n, 0);
        if (l->rank[i] != x >> 32)
            continue;
        uint32_t j = l->next[i];
        l->last = tok_pair_key(l->sym[i], l->sym[j]);
        l->sym[i] = tok_made(t, (uint32_t)(x >> 32));
        l->rank[j] = TOK_NONE; /* gone */
        l->next[i] = l->next[j];
        if (l->next[i] < end)
            l->prev[l->next[i]] = i;
        offer(t, l, i, end);
        if (i > 0)
            offer(t, l, l->prev[i], end);
    }
}

/* ---- very long words: rank by rank ---- */

static void rank_set(struct tok_long *l, uint32_t r)
{
    for (unsigned k = 0; k < 4; k++, r >>= 6)
        l->level[k][r >> 6] |= (uint64_t)1 << (r & 63);
}

static void rank_clear(struct tok_long *l, uint32_t r)
{
    for (unsigned k = 0; k < 4; k++, r >>= 6)
        if (l->level[k][r >> 6] &= ~((uint64_t)1 << (r & 63)))
            break;
}

static uint32_t rank_least(const struct tok_long *l)
{
    uint32_t r = 0;
    if (!l->level[3][0])
        return TOK_NONE;
    for (unsigned k = 4; k-- > 0;)
        r = r << 6 | (uint32_t)__builtin_ctzll(l->level[k][r]);
    return r;
}

static void list_in(struct tok_long *l, uint32_t i, uint32_t rank)
{
    bool any = l->level[0][rank >> 6] >> (rank & 63) & 1;
    uint32_t head = any ? l->first[rank] : TOK_NONE;
    if (!any)
        rank_set(l, rank);
    else
        l->before[head] = i;
    l->rank[i] = rank;
    l->behind[i] = head;
    l->before[i] = TOK_NONE;
    l->first[rank] = i;
}

/* Take symbol i out of its list; those of rank `now` are in none any more. */
static void list_out(struct tok_long *l, uint32_t i, uint32_t now)
{
    uint32_t rank = l->rank[i], a = l->before[i], b = l->behind[i];
    l->rank[i] = TOK_NONE;
    if (rank == TOK_NONE || rank == now)
        return;
    if (a != TOK_NONE)
        l->behind[a] = b;
    else
        l->first[rank] = b;
    if (b != TOK_NONE)
        l->before[b] = a;
    else if (a == TOK_NONE)
        rank_clear(l, rank);
}

/* One pass of a radix sort, 12 bits from `shift` up. */
static void radix(const uint32_t *from, uint32_t *to, size_t n, unsigned shift)
{
    uint32_t at[4096] = {0}, sum = 0;
    for (size_t i = 0; i < n; i++)
        at[from[i] >> shift & 4095]++;
    for (size_t i = 0; i < 4096; i++) {
        uint32_t c = at[i];
        at[i] = sum;
        sum += c;
    }
    for (size_t i = 0; i < n; i++)
        to[at[from[i] >> shift & 4095]++] = from[i];
}

static int by_place(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* The places of a rank, from left to right; the list ends. They were put in
 * front of one another, so from the last to the first they mostly ascend. */
static size_t list_take(struct tok_long *l, uint32_t rank)
{
    size_t n = 0;
    bool in_order = true;
    for (uint32_t i = l->first[rank]; i != TOK_NONE; i = l->behind[i]) {
        in_order &= !n || i < l->order[n - 1];
        l->order[n++] = i;
    }
    rank_clear(l, rank);
    if (in_order) {
        for (size_t i = 0, k = n; i + 1 < k; i++) {
            uint32_t x = l->order[i];
            l->order[i] = l->order[--k];
            l->order[k] = x;
        }
    } else if (n < 2048) {
        qsort(l->order, n, sizeof *l->order, by_place);
    } else { /* places are below 2^24 */
        radix(l->order, l->order + l->cap, n, 0);
        radix(l->order + l->cap, l->order, n, 12);
    }
    return n;
}

/* Put the pair at symbol i where it belongs now; whether that is not above
 * `now`. */
static bool relist(const struct kj_tok *t, struct tok_long *l, uint32_t i, uint32_t end,
                   uint32_t now)
{
    uint32_t j = l->next[i], rank = TOK_NONE;
    if (j < end)
        rank = tok_pair_rank(t, l->sym[i], l->sym[j]);
    if (rank == l->rank[i])
        return false;
    list_out(l, i, now);
    if (rank != TOK_NONE)
        list_in(l, i, rank);
    return rank <= now;
}

/* Merge all places of the least rank, `now`. The number of places that went back
 * because a lower rank came up. */
static size_t merge_rank(const struct kj_tok *t, struct tok_long *l, uint32_t end,
                         uint32_t now)
{
    size_t n = list_take(l, now), k = 0;
    bool lower = false;
    while (k < n && !lower) {
        uint32_t i = l->order[k++], j = l->next[i];
        if (l->rank[i] != now)
            continue;
        list_out(l, j, now);
        l->last = tok_pair_key(l->sym[i], l->sym[j]);
        l->sym[i] = tok_made(t, now);
        l->next[i] = l->next[j];
        if (l->next[i] < end)
            l->prev[l->next[i]] = i;
        l->rank[i] = TOK_NONE;
        lower = relist(t, l, i, end, now);
        if (i > 0)
            lower |= relist(t, l, l->prev[i], end, now);
    }
    for (size_t i = k; i < n; i++)
        if (l->rank[l->order[i]] == now)
            list_in(l, l->order[i], now);
    return n - k;
}

static void merge_ranks(const struct kj_tok *t, struct tok_long *l, uint32_t end)
{
    for (uint32_t i = 0; i < end; i++)
        if (l->rank[i] != TOK_NONE)
            list_in(l, i, l->rank[i]);
    size_t back = 0;
    for (uint32_t now; (now = rank_least(l)) != TOK_NONE;) {
        if (back > 16 * (size_t)end)
            rank_clear(l, now);
        else
            back += merge_rank(t, l, end, now);
    }
    if (back > 16 * (size_t)end)
        merge_heap(t, l, end);
}

/* ---- both ---- */

void tok_long_release(struct tok_long *l)
{
    free(l->sym);
    free(l->heap);
    free(l->before);
    free(l->first);
    free(l->level[0]);
    memset(l, 0, sizeof *l);
}

/* Arrays for n symbols. */
static void grow(const struct kj_tok *t, struct tok_long *l, size_t n, bool by_rank)
{
    if (n > l->cap) {
        tok_long_release(l);
        l->cap = n;
        l->sym = kj_xmalloc(4 * n * sizeof *l->sym);
        l->rank = l->sym + n;
        l->next = l->rank + n;
        l->prev = l->next + n;
    }
    if (by_rank && !l->before) {
        size_t words[4], all = 0;
        l->before = kj_xmalloc(4 * l->cap * sizeof *l->before);
        l->behind = l->before + l->cap;
        l->order = l->behind + l->cap;
        l->first = kj_xmalloc((t->n_merges + 1) * sizeof *l->first);
        for (size_t k = 0, r = t->n_merges; k < 4; k++, all += words[k - 1])
            words[k] = (r >>= 6) + 1;
        l->level[0] = kj_xcalloc(all, sizeof *l->level[0]);
        for (unsigned k = 1; k < 4; k++)
            l->level[k] = l->level[k - 1] + words[k - 1];
    }
}

void tok_merge_long(const struct kj_tok *t, struct tok_long *l, const char *p, size_t n,
                    struct kj_tok_ids *out)
{
    bool by_rank = n >= VERY_LONG;
    grow(t, l, n, by_rank);
    uint32_t end = (uint32_t)start(t, p, n, l->sym, l->rank);
    for (uint32_t i = 0; i < end; i++) {
        l->next[i] = i + 1;
        l->prev[i] = i - 1; /* wraps at 0: never read */
    }
    if (by_rank)
        merge_ranks(t, l, end);
    else
        merge_heap(t, l, end);
    for (uint32_t i = 0; i < end; i = l->next[i])
        tok_put(out, l->sym[i]);
    if (l->cap > KEEP)
        tok_long_release(l); /* but for l->last: tokens are shorter */
}

uint64_t tok_last_merge(const struct kj_tok *t, struct tok_long *l, uint32_t id)
{
    const struct tok_bytes *w = &t->ids[id];
    const char *p = t->blob + w->off;
    uint64_t last = TOK_PAIR_FREE;
    uint32_t ids[TOK_SHORT];
    if (w->len < 2)
        return TOK_PAIR_FREE;
    if (w->len <= TOK_SHORT)
        return merge_short(t, p, w->len, ids, &last) == 1 && ids[0] == id
                   ? last
                   : TOK_PAIR_FREE;
    struct kj_tok_ids out = {0};
    tok_merge_long(t, l, p, w->len, &out);
    last = out.n == 1 && out.v[0] == id ? l->last : TOK_PAIR_FREE;
    kj_tok_ids_release(&out);
    return last;
}
