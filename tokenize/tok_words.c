/* tok_words.c - words to ids through the cache.
 *
 * A word's ids depend on its bytes alone, so they are remembered. Words are
 * queued in rounds: queueing hashes a word and starts to fetch its part of the
 * cache, so that the memory behind the look-ups works in parallel. Nearly all
 * words have up to 16 bytes and 4 ids; those are compared as two numbers, and
 * their ids are written as one vector, of which only as many count as there are.
 * Two entries make a bucket, which is one cache line (two for longer words): a
 * new word takes the back, and moves to the front when it is met again, so that
 * words that come once do not drive out the others. A table has a fixed size and
 * is never searched beyond a bucket.
 *
 * In Korean a third of all distinct words comes once, and the cache does not help.
 * But most of their syllable boundaries cannot be crossed by any token: the model
 * knows all pairs of characters that stand side by side in some token. A word is
 * cut there (see tok_chars.c for why a piece may be merged by itself); what
 * remains is mostly single characters, whose id is known, and pairs of them, one
 * look-up. Llama 3: of 1,792,169 boundaries between the syllables of distinct
 * words 76 % are cut, and 95 % of the pieces have one or two characters.
 */
#include "tokenize/tok_block.h"
#include "tokenize/tok_state.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/pages.h"
#include "base/utf8.h"

/* Buckets: 2^17 of two 32-byte entries are 8 MiB a thread, and 2^14 of two of
 * 64 bytes 2 MiB. (2^15, 2^16, 2^17, 2^18: English 149, 218, 298, 347 MB/s warm,
 * 156, 184, 222, 152 cold; Korean 69, 90, 91, 95 cold.) */
#define SMALL_BITS 17
#define LARGE_BITS 14
#define SMALL_MAX  16 /* bytes */
#define LARGE_MAX  32
#define SMALL_IDS  4
#define LARGE_IDS  8

#define META_SHIFT 20 /* of the length; the number of ids is above it */
#define META_LEN   63u
#define META_IDS   26

/* First ids[0]: what the entry is of. */
static inline uint32_t meta(size_t n, size_t ids)
{
    return (uint32_t)(ids << META_IDS | n << META_SHIFT);
}

#define SMALL_BYTES (sizeof(struct tok_small) << (SMALL_BITS + 1))
#define LARGE_BYTES (sizeof(struct tok_large) << (LARGE_BITS + 1))

/* Both tables in large pages (10 MiB: five): a word's place is anywhere in them. Medians of
 * 15 and 9 passes in turns under a load of 19, with these and those of the model in large
 * pages, for both in small ones: English 337 for 264 MB/s warm, 155 for 130 cold, Korean
 * 67 for 54 and 61 for 50. */
void tok_queue_init(struct kj_tok_state *s)
{
    s->queue = kj_xcalloc(TOK_QUEUE, sizeof *s->queue);
    s->tables = kj_pages_xnew(SMALL_BYTES + LARGE_BYTES);
    s->small = (void *)s->tables;
    s->large = (void *)(s->tables + SMALL_BYTES);
}

void tok_queue_free(struct kj_tok_state *s)
{
    free(s->queue);
    kj_pages_free(s->tables, SMALL_BYTES + LARGE_BYTES);
    free(s->ways);
    tok_long_release(&s->big);
}

void tok_ids_grow(struct kj_tok_ids *o, size_t more)
{
    if (!o->cap)
        o->cap = 256;
    while (o->cap - o->n < more)
        o->cap *= 2;
    o->v = kj_xrealloc(o->v, o->cap * sizeof *o->v);
}

static inline struct tok_small *small_bucket(const struct kj_tok_state *s,
                                             const uint64_t *key)
{
    return &s->small[tok_key_hash(key) >> (64 - SMALL_BITS) << 1];
}

/* ---- ids of what the cache does not have ---- */

/* Ids of up to SHORT bytes by merging alone; ids has room for TOK_SHORT. */
static size_t merge(const struct kj_tok *t, const char *p, size_t n, uint32_t *ids)
{
    ids[0] = t->bytes[(unsigned char)*p];
    return n == 1 && !t->by_chars ? 1 : tok_merge_short(t, p, n, ids);
}

static void put_all(struct kj_tok_ids *o, const uint32_t *ids, size_t n)
{
    memcpy(o->v + o->n, ids, n * sizeof *ids);
    o->n += n;
}

/* A new entry at the back of a bucket of the small table. */
static void small_put(struct tok_small *b, const uint64_t *key, size_t n,
                      const uint32_t *ids, size_t m)
{
    memcpy(b[1].key, key, sizeof b->key);
    memcpy(b[1].ids, ids, (m < SMALL_IDS ? m : SMALL_IDS) * sizeof *ids);
    b[1].ids[0] |= meta(n, m);
}

static inline bool small_is(const struct tok_small *e, const uint64_t *key, uint32_t n)
{
    return ((e->key[0] ^ key[0]) | (e->key[1] ^ key[1]) |
            ((e->ids[0] >> META_SHIFT & META_LEN) ^ n)) == 0;
}

static inline void small_take(struct kj_tok_ids *o, const struct tok_small *e)
{
    uint32_t *v = o->v + o->n;
    uint32_t first = e->ids[0];
    memcpy(v, e->ids, sizeof e->ids);
    v[0] = first & TOK_CHAR_ID;
    o->n += first >> META_IDS;
}

/* In the small table pieces have lengths of their own: with ignore_merges a word
 * may have other ids than the same bytes as a piece. */
#define PIECE 32

/* A piece of a word, by merging alone. */
static void encode_piece(struct kj_tok_state *s, const char *p, size_t n)
{
    uint32_t ids[TOK_SHORT];
    uint64_t key[2] = {0};
    if (n > TOK_SHORT) {
        tok_merge_long(s->t, &s->big, p, n, s->out);
        return;
    }
    if (n > SMALL_MAX) {
        put_all(s->out, ids, merge(s->t, p, n, ids));
        return;
    }
    memcpy(key, p, n);
    struct tok_small *e = small_bucket(s, key);
    for (unsigned k = 0; k < 2; k++)
        if (small_is(&e[k], key, (uint32_t)n + PIECE)) {
            small_take(s->out, &e[k]);
            return;
        }
    size_t m = merge(s->t, p, n, ids);
    put_all(s->out, ids, m);
    if (m <= SMALL_IDS)
        small_put(e, key, n + PIECE, ids, m);
}

/* Encode a word by pieces. False, and nothing done, if it is all one piece. */
static bool encode_cut(struct kj_tok_state *s, const char *p, size_t n)
{
    const struct kj_tok *t = s->t;
    struct kj_tok_ids *o = s->out;
    size_t from = 0, to = 0, len;
    uint32_t before = 0, c;
    do {
        size_t k = 0; /* characters of the piece */
        for (; to < n; to += len, before = c, k++) {
            c = kj_utf8_next(p + to, n - to, &len);
            if (k && c >= 0x80 && !tok_char_pair(t, before, c) &&
                !tok_char_parts(t, (unsigned char)p[to - 1], (unsigned char)p[to]))
                break;
        }
        if (to - from == n)
            return false;
        if (k == 1 && before < 0x10000) {
            uint64_t ids = t->alone[before];
            o->v[o->n] = ids & TOK_CHAR_ID;
            o->v[o->n + 1] = ids >> 20 & TOK_CHAR_ID;
            o->v[o->n + 2] = ids >> 40 & TOK_CHAR_ID;
            o->n += ids >> 60;
        } else {
            encode_piece(s, p + from, to - from);
        }
        from = to;
    } while (to < n);
    return true;
}

static int encode_word(struct kj_tok_state *s, const char *p, size_t n,
                       struct kj_err *err)
{
    const struct kj_tok *t = s->t;
    uint32_t ids[TOK_SHORT], whole;
    if (n > KJ_TOK_WORD_MAX)
        return kj_err_set(err, KJ_BAD_RECORD, "a word of %zu bytes (at most %zu)", n,
                          KJ_TOK_WORD_MAX);
    if (t->kind != TOK_BPE)
        return tok_pieces_encode(s, p, n, err);
    if (!t->by_chars && encode_cut(s, p, n))
        return KJ_OK; /* no token is all of it */
    if (t->ignore_merges && (whole = tok_word_find(t, p, n)) != TOK_NONE)
        put_all(s->out, &whole, 1);
    else if (n > TOK_SHORT)
        tok_merge_long(t, &s->big, p, n, s->out);
    else
        put_all(s->out, ids, merge(t, p, n, ids));
    return KJ_OK;
}

/* ---- through the tables ---- */

/* A word of up to LARGE_MAX bytes through the large table. Words of up to
 * SMALL_MAX bytes are there when they have more ids than the small one takes. */
static int encode_large(struct kj_tok_state *s, const struct tok_word *w, size_t *m,
                        struct kj_err *err)
{
    struct kj_tok_ids *o = s->out;
    uint64_t key[4] = {0};
    memcpy(key, w->p, w->n);
    struct tok_large *e = &s->large[w->slot];
    for (unsigned k = 0; k < 2; k++) {
        if (memcmp(e[k].key, key, sizeof key) != 0 ||
            (e[k].ids[0] >> META_SHIFT & META_LEN) != w->n)
            continue;
        *m = e[k].ids[0] >> META_IDS;
        memcpy(o->v + o->n, e[k].ids, LARGE_IDS * sizeof *e->ids);
        o->v[o->n] &= TOK_CHAR_ID;
        o->n += *m;
        if (k) {
            struct tok_large x = e[0];
            e[0] = e[1];
            e[1] = x;
        }
        return KJ_OK;
    }
    size_t from = o->n;
    int rc = encode_word(s, w->p, w->n, err);
    *m = o->n - from;
    if (rc == KJ_OK && *m && *m <= LARGE_IDS) {
        memcpy(e[1].key, key, sizeof key);
        memcpy(e[1].ids, o->v + from, *m * sizeof *e->ids);
        e[1].ids[0] |= meta(w->n, *m);
    }
    return rc;
}

static inline uint32_t large_slot(uint64_t hash)
{
    return (uint32_t)(hash >> (64 - LARGE_BITS) << 1);
}

static int encode_small(struct kj_tok_state *s, const struct tok_word *w,
                        struct kj_err *err)
{
    struct tok_small *e = &s->small[w->slot];
    struct kj_tok_ids *o = s->out;
    unsigned k = small_is(e, w->key, w->n) ? 0 : small_is(e + 1, w->key, w->n) ? 1 : 2;
    size_t from = o->n, m;
    if (k < 2 && e[k].ids[0] >> META_IDS > SMALL_IDS) {
        struct tok_word x = *w;
        x.slot = large_slot(tok_key_hash(w->key));
        return encode_large(s, &x, &m, err);
    }
    if (k == 1) {
        struct tok_small x = e[1];
        small_take(o, &x);
        e[1] = e[0];
        e[0] = x;
        return KJ_OK;
    }
    int rc = encode_word(s, w->p, w->n, err);
    m = o->n - from;
    if (rc == KJ_OK && m && m <= LARGE_IDS)
        small_put(e, w->key, w->n, o->v + from, m);
    return rc;
}

/* ---- words seen first ---- */

static void learn_lanes(struct kj_tok_state *s, const struct tok_word *const *of,
                        size_t n)
{
    const struct kj_tok *t = s->t;
    struct tok_lane lanes[TOK_LANES];
    const struct tok_word *merged[TOK_LANES];
    uint64_t hashes[TOK_LANES];
    size_t m = 0;
    for (size_t i = 0; i < n && t->ignore_merges; i++) {
        hashes[i] = tok_key_hash(of[i]->key);
        __builtin_prefetch(tok_word_likely(t, hashes[i]));
    }
    for (size_t i = 0; i < n && t->ignore_merges; i++)
        __builtin_prefetch(t->blob + tok_word_likely(t, hashes[i])->off);
    for (size_t i = 0; i < n; i++) {
        uint32_t whole = TOK_NONE;
        if (t->ignore_merges)
            whole = tok_word_keyed(t, hashes[i], of[i]->key, of[i]->n);
        if (whole != TOK_NONE) {
            small_put(&s->small[of[i]->slot], of[i]->key, of[i]->n, &whole, 1);
            continue;
        }
        merged[m] = of[i];
        lanes[m].p = of[i]->p;
        lanes[m++].n = of[i]->n;
    }
    tok_merge_lanes(t, lanes, m);
    for (size_t i = 0; i < m; i++)
        if (lanes[i].n <= SMALL_IDS)
            small_put(&s->small[merged[i]->slot], merged[i]->key, merged[i]->n,
                      lanes[i].sym, lanes[i].n);
}

/* Nearly half of the time of an empty cache was merging these words one by one,
 * waiting for the tables of pairs. English, 25 MB, empty cache, the median of three
 * runs: one by one 181 MB/s; with a queue of 128 words and 8 at a time 261, of 512
 * and 12 at a time 273. (115,096 of its 5,061,956 words are seen first, and 32,986
 * of these are tokens.) Tried and left: to take the longest tokens from the front and ask
 * of neighbours whether a merge reaches across, which needs no merging; with 0.7 steps
 * back and 2.5 such questions a word it was 0.8 to 0.9 times as fast.
 *
 * Put the words of the queue from `from` on that the cache does not have into
 * it, several at a time. Only ASCII: other words are cut, and their pieces come
 * again. Nothing depends on it but time: what was put may be gone when its turn
 * comes, and is then encoded like any other. */
static void learn(struct kj_tok_state *s, size_t from)
{
    const uint64_t high = 0x8080808080808080u;
    const struct tok_word *of[TOK_LANES];
    size_t n = 0;
    for (size_t i = from; i < s->queued; i++) {
        const struct tok_word *w = &s->queue[i];
        const struct tok_small *e = &s->small[w->slot];
        if (w->n > SMALL_MAX || w->n < 2 || ((w->key[0] | w->key[1]) & high) ||
            small_is(e, w->key, w->n) || small_is(e + 1, w->key, w->n))
            continue;
        if (s->t->ignore_merges)
            __builtin_prefetch(tok_word_bucket(s->t, tok_key_hash(w->key)));
        of[n++] = w;
        if (n == TOK_LANES) {
            learn_lanes(s, of, n);
            n = 0;
        }
    }
    if (n)
        learn_lanes(s, of, n);
}

int tok_queue_flush(struct kj_tok_state *s, struct kj_err *err)
{
    struct kj_tok_ids *o = s->out;
    size_t room = 0, m;
    int rc = KJ_OK;
    bool learned = s->t->kind != TOK_BPE || s->t->by_chars;
    for (size_t i = 0; i < s->queued; i++)
        room += s->queue[i].n;
    tok_ids_reserve(o, room + LARGE_IDS);
    for (size_t i = 0; i < s->queued && rc == KJ_OK; i++) {
        const struct tok_word *w = &s->queue[i];
        const struct tok_small *e = &s->small[w->slot];
        if (w->n > LARGE_MAX)
            rc = encode_word(s, w->p, w->n, err);
        else if (w->n > SMALL_MAX)
            rc = encode_large(s, w, &m, err);
        else if (small_is(e, w->key, w->n) && e->ids[0] >> META_IDS <= SMALL_IDS)
            small_take(o, e);
        else {
            if (!learned && !small_is(e, w->key, w->n) &&
                !small_is(e + 1, w->key, w->n)) {
                learn(s, i);
                learned = true;
            }
            rc = encode_small(s, w, err);
        }
    }
    s->queued = 0;
    return rc;
}

/* ---- queueing ---- */

/* Queue a word; `near` when 16 bytes may be read at p. */
static inline void queue(struct kj_tok_state *s, const char *p, size_t n, bool near)
{
    struct tok_word *w = &s->queue[s->queued++];
    w->p = p;
    w->n = n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
    w->slot = 0;
    if (n > LARGE_MAX)
        return;
    if (n > SMALL_MAX) {
        w->slot = large_slot(tok_hash(p, n));
        __builtin_prefetch(&s->large[w->slot], 1);
        __builtin_prefetch(&s->large[w->slot + 1], 1);
        return;
    }
    if (near) {
        w->key[0] = tok_load8(p) & tok_key_masks[n][0];
        w->key[1] = tok_load8(p + 8) & tok_key_masks[n][1];
    } else {
        w->key[0] = w->key[1] = 0;
        memcpy(w->key, p, n);
    }
    w->slot = (uint32_t)(tok_key_hash(w->key) >> (64 - SMALL_BITS) << 1);
    __builtin_prefetch(&s->small[w->slot], 1);
}

/* Whole texts are words of a BPE over characters. They are cut where no token has
 * the two characters side by side, and neither may be a part of something
 * unknown, which reaches further. */
static int queue_cut(struct kj_tok_state *s, const char *p, size_t n,
                     struct kj_err *err)
{
    const struct kj_tok *t = s->t;
    uint32_t before = 0;
    bool known = false;
    size_t from = 0;
    for (size_t at = 0, len; at < n; at += len) {
        if ((unsigned char)p[at] < 0x80) {
            before = (unsigned char)p[at];
            known = t->all_bytes || t->chars[before] != 0;
            len = 1;
            continue;
        }
        uint32_t c = kj_utf8_next(p + at, n - at, &len);
        bool was = known;
        known = t->all_bytes ||
                (c < 0x10000 ? t->chars[c] != 0 : tok_word_find(t, p + at, len) + 1);
        if (at && known && was && !tok_char_pair(t, before, c)) {
            queue(s, p + from, at - from, n - from >= SMALL_MAX);
            from = at;
            if (s->queued == TOK_QUEUE) {
                int rc = tok_queue_flush(s, err);
                if (rc != KJ_OK)
                    return rc;
            }
        }
        before = c;
    }
    queue(s, p + from, n - from, n - from >= SMALL_MAX);
    return KJ_OK;
}

int tok_queue_word(void *state, const char *p, size_t n, struct kj_err *err)
{
    struct kj_tok_state *s = state;
    int rc = KJ_OK;
    if (s->t->by_chars && s->t->closed && !s->t->ignore_merges)
        rc = queue_cut(s, p, n, err);
    else
        queue(s, p, n, false);
    if (rc != KJ_OK)
        return rc;
    return s->queued == TOK_QUEUE || s->copies ? tok_queue_flush(s, err) : KJ_OK;
}

int tok_queue_scan(struct kj_tok_state *s, enum tok_scan scan, const char *p, size_t n,
                   struct kj_err *err)
{
    size_t at = 0;
    int rc = KJ_OK;
    while (at < n && rc == KJ_OK) {
        bool block = n - at >= TOK_BLOCK_READ;
        uint64_t starts = block ? tok_block_starts(scan, p + at) : 1;
        if (starts == 1) {
            size_t end = tok_scan_next(scan, p, n, at);
            queue(s, p + at, end - at, n - at >= 16);
            at = end;
        } else {
            size_t from = at;
            for (starts &= starts - 1; starts; starts &= starts - 1) {
                size_t to = at + (size_t)__builtin_ctzll(starts);
                queue(s, p + from, to - from, true);
                from = to;
            }
            at = from;
        }
        if (s->queued > TOK_QUEUE - 64)
            rc = tok_queue_flush(s, err);
    }
    return rc == KJ_OK ? tok_queue_flush(s, err) : rc;
}
