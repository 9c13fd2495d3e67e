/* tok_encode.c - text to ids, and back.
 *
 * Text is cut three times, as the reference does it: at added tokens that are
 * matched in text as it stands; then, behind the normalizer, at those that
 * are matched in normalized text; then by the pre-tokenizer into words. A
 * word's ids depend on its bytes alone, so words are cached.
 *
 * Merging a word: of all adjacent pairs that have a merge, the one of lowest
 * rank is merged, the leftmost first, until none is left. Short words, nearly
 * all, look for the lowest rank by a scan of a small array. Long ones keep
 * candidates in a binary heap keyed by (rank, position) over a linked list;
 * an entry is stale when the pair at its position has another rank by now,
 * and is then passed over. Each merge adds at most two entries, so a word of
 * n bytes costs O(n log n).
 *
 * The cache is a table of 64-byte entries, two to a bucket: a hit moves to the
 * front of its bucket, a new word takes the front and pushes the other back.
 * It has a fixed size and is never searched beyond a bucket.
 */
#include "tokenize/tok_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/utf8.h"

/* 2^16 entries of 64 bytes are 4 MiB a thread. Words over KEY bytes or IDS ids
 * are not kept: one in a hundred in Korean and English text. */
#define CACHE_BITS 16
#define CACHE_KEY  30
#define CACHE_IDS  8
/* Words up to here are merged by scanning. */
#define SHORT_WORD 64
/* Scratch for long words is kept between calls up to this many bytes of word. */
#define KEEP_WORD (64u << 10)

/* Words looked up ahead: the cache is larger than what the processor keeps near,
 * so each look-up starts early and is used eight words later. */
#define AHEAD 8

struct entry {
    unsigned char klen, nids; /* klen 0: free */
    char key[CACHE_KEY];
    uint32_t ids[CACHE_IDS];
};

/* A word that waits for its cache entry to arrive from memory. */
struct ahead {
    const char *p;
    size_t n;
    uint64_t hash;
};

struct kj_tok_state {
    struct tok_pre_state pre;
    struct ahead ahead[AHEAD];
    unsigned first, waiting;
    bool copies; /* words do not outlive their callback */
    struct entry *cache;
    struct kj_buf norm[2];
    /* long words */
    uint32_t *sym, *rank, *next, *prev;
    uint64_t *heap;
    size_t cap, heap_n;
    /* of the call under way */
    const struct kj_tok *t;
    struct kj_tok_ids *out;
};

void kj_tok_ids_release(struct kj_tok_ids *ids)
{
    free(ids->v);
    *ids = (struct kj_tok_ids){0};
}

static inline void put(struct kj_tok_ids *o, uint32_t id)
{
    if (o->n == o->cap) {
        o->cap = o->cap ? 2 * o->cap : 256;
        o->v = kj_xrealloc(o->v, o->cap * sizeof *o->v);
    }
    o->v[o->n++] = id;
}

struct kj_tok_state *kj_tok_state_new(const struct kj_tok *t)
{
    struct kj_tok_state *s = kj_xcalloc(1, sizeof *s);
    tok_pre_state_init(&s->pre, &t->pre);
    s->cache = kj_xcalloc((size_t)1 << CACHE_BITS, sizeof *s->cache);
    kj_buf_init(&s->norm[0], (size_t)1 << 30);
    kj_buf_init(&s->norm[1], (size_t)1 << 30);
    s->t = t;
    for (size_t i = 0; i < t->pre.n_steps; i++)
        s->copies |= t->pre.steps[i].prefix_space;
    return s;
}

static void free_long(struct kj_tok_state *s)
{
    free(s->sym);
    free(s->heap);
    s->sym = NULL;
    s->heap = NULL;
    s->cap = 0;
}

void kj_tok_state_free(struct kj_tok_state *s)
{
    if (!s)
        return;
    tok_pre_state_release(&s->pre);
    free(s->cache);
    kj_buf_release(&s->norm[0]);
    kj_buf_release(&s->norm[1]);
    free_long(s);
    free(s);
}

/* ---- merging ---- */

/* The symbols that a word starts with, and the rank of each with the next one:
 * its bytes, but for characters that may be taken whole. sym and rank have
 * room for n; the number of symbols. */
static size_t start(const struct kj_tok *t, const char *p, size_t n, uint32_t *sym,
                    uint32_t *rank)
{
    const unsigned char *u = (const unsigned char *)p;
    size_t m = 0;
    bool whole = false; /* the last symbol is a character taken whole */
    for (size_t i = 0, len; i < n; i += len) {
        uint32_t c = u[i], id = 0;
        len = 1;
        if (c >= 0xE0 && c < 0xF0)
            id = t->chars[(c & 0x0F) << 12 | (u[i + 1] & 0x3Fu) << 6 |
                          (u[i + 2] & 0x3F)];
        else if (c >= 0xC0 && c < 0xE0)
            id = t->chars[(c & 0x1F) << 6 | (u[i + 1] & 0x3F)];
        if (id & (i && u[i - 1] < 0x80 ? TOK_CHAR_ASCII : TOK_CHAR_OTHER)) {
            len = c < 0xE0 ? 2 : 3;
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

/* Words of 1..SHORT_WORD bytes. */
static size_t merge_short(const struct kj_tok *t, const char *p, size_t n,
                          uint32_t *sym)
{
    uint32_t rank[SHORT_WORD];
    n = start(t, p, n, sym, rank);
    while (n > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++)
            if (rank[i] < rank[best])
                best = i;
        if (rank[best] == TOK_NONE)
            break;
        sym[best] = t->made[rank[best]];
        n--;
        for (size_t i = best + 1; i < n; i++)
            sym[i] = sym[i + 1];
        for (size_t i = best; i < n; i++)
            rank[i] = rank[i + 1];
        /* The two pairs that hold the new symbol. */
        if (best > 0)
            rank[best - 1] = tok_pair_rank(t, sym[best - 1], sym[best]);
        if (best + 1 < n)
            rank[best] = tok_pair_rank(t, sym[best], sym[best + 1]);
    }
    return n;
}

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

static void heap_push(struct kj_tok_state *s, uint64_t x)
{
    size_t i = s->heap_n++;
    for (; i > 0 && s->heap[(i - 1) / 2] > x; i = (i - 1) / 2)
        s->heap[i] = s->heap[(i - 1) / 2];
    s->heap[i] = x;
}

/* Note the pair that starts at symbol i; end is the index behind the last. */
static void offer(struct kj_tok_state *s, uint32_t i, uint32_t end)
{
    uint32_t j = s->next[i];
    s->rank[i] = TOK_NONE;
    if (j == end)
        return;
    uint32_t rank = tok_pair_rank(s->t, s->sym[i], s->sym[j]);
    if (rank == TOK_NONE)
        return;
    s->rank[i] = rank;
    heap_push(s, (uint64_t)rank << 32 | i);
}

static void grow_long(struct kj_tok_state *s, size_t n)
{
    if (n <= s->cap)
        return;
    free_long(s);
    s->cap = n;
    s->sym = kj_xmalloc(4 * n * sizeof *s->sym);
    s->rank = s->sym + n;
    s->next = s->rank + n;
    s->prev = s->next + n;
    /* n - 1 pairs at first; every merge takes one out and adds at most two. */
    s->heap = kj_xmalloc(2 * n * sizeof *s->heap);
}

static void merge_long(struct kj_tok_state *s, const char *p, size_t n)
{
    const struct kj_tok *t = s->t;
    grow_long(s, n);
    s->heap_n = 0;
    uint32_t end = (uint32_t)start(t, p, n, s->sym, s->rank);
    for (uint32_t i = 0; i < end; i++) {
        s->next[i] = i + 1;
        s->prev[i] = i - 1; /* wraps at 0: never read */
        if (s->rank[i] != TOK_NONE)
            s->heap[s->heap_n++] = (uint64_t)s->rank[i] << 32 | i;
    }
    for (size_t i = s->heap_n / 2; i-- > 0;)
        heap_down(s->heap, s->heap_n, i);
    while (s->heap_n) {
        uint64_t x = s->heap[0];
        uint32_t i = (uint32_t)x;
        s->heap[0] = s->heap[--s->heap_n];
        heap_down(s->heap, s->heap_n, 0);
        if (s->rank[i] != x >> 32)
            continue;
        uint32_t j = s->next[i];
        s->sym[i] = t->made[x >> 32];
        s->rank[j] = TOK_NONE; /* gone */
        s->next[i] = s->next[j];
        if (s->next[i] < end)
            s->prev[s->next[i]] = i;
        offer(s, i, end);
        if (i > 0)
            offer(s, s->prev[i], end);
    }
    for (uint32_t i = 0; i < end; i = s->next[i])
        put(s->out, s->sym[i]);
    if (n > KEEP_WORD)
        free_long(s);
}

static inline bool same_bytes(const char *a, const char *b, size_t n)
{
    if (n >= 16)
        return ((tok_load8(a) ^ tok_load8(b)) | (tok_load8(a + 8) ^ tok_load8(b + 8)) |
                (tok_load8(a + n - 16) ^ tok_load8(b + n - 16)) |
                (tok_load8(a + n - 8) ^ tok_load8(b + n - 8))) == 0;
    if (n >= 8)
        return ((tok_load8(a) ^ tok_load8(b)) |
                (tok_load8(a + n - 8) ^ tok_load8(b + n - 8))) == 0;
    for (size_t i = 0; i < n; i++)
        if (a[i] != b[i])
            return false;
    return true;
}

static inline struct entry *bucket(const struct kj_tok_state *s, uint64_t hash)
{
    return &s->cache[(hash >> 40) << 1 & ((1u << CACHE_BITS) - 1)];
}

/* The hash is that of the bytes, for words that may be in the cache. */
static int encode_word(struct kj_tok_state *s, const char *p, size_t n, uint64_t hash,
                       struct kj_err *err)
{
    const struct kj_tok *t = s->t;
    struct entry *e = NULL;
    if (n == 1) {
        put(s->out, t->bytes[(unsigned char)*p]);
        return KJ_OK;
    }
    if (n <= CACHE_KEY) {
        e = bucket(s, hash);
        for (unsigned k = 0; k < 2; k++) {
            if (e[k].klen != n || !same_bytes(e[k].key, p, n))
                continue;
            for (unsigned i = 0; i < e[k].nids; i++)
                put(s->out, e[k].ids[i]);
            if (k) {
                struct entry x = e[0];
                e[0] = e[1];
                e[1] = x;
            }
            return KJ_OK;
        }
    }
    if (n > KJ_TOK_WORD_MAX)
        return kj_err_set(err, KJ_BAD_RECORD, "a word of %zu bytes (at most %zu)", n,
                          KJ_TOK_WORD_MAX);
    uint32_t ids[SHORT_WORD], whole = TOK_NONE;
    size_t m = 0;
    if (t->ignore_merges && (whole = tok_word_find(t, p, n)) != TOK_NONE)
        ids[m++] = whole;
    else if (n <= SHORT_WORD)
        m = merge_short(t, p, n, ids);
    else
        merge_long(s, p, n);
    for (size_t i = 0; i < m; i++)
        put(s->out, ids[i]);
    if (e && m <= CACHE_IDS) {
        e[1] = e[0];
        e->klen = (unsigned char)n;
        e->nids = (unsigned char)m;
        memcpy(e->key, p, n);
        memcpy(e->ids, ids, m * sizeof *ids);
    }
    return KJ_OK;
}

static int encode_first(struct kj_tok_state *s, struct kj_err *err)
{
    const struct ahead *a = &s->ahead[s->first];
    s->first = (s->first + 1) % AHEAD;
    s->waiting--;
    return encode_word(s, a->p, a->n, a->hash, err);
}

static int queue_word(void *ctx, const char *p, size_t n, struct kj_err *err)
{
    struct kj_tok_state *s = ctx;
    uint64_t hash = n <= CACHE_KEY ? tok_hash(p, n) : 0;
    if (s->copies)
        return encode_word(s, p, n, hash, err);
    if (s->waiting == AHEAD) {
        int rc = encode_first(s, err);
        if (rc != KJ_OK)
            return rc;
    }
    if (n > 1 && n <= CACHE_KEY) {
        const char *e = (const char *)bucket(s, hash);
        __builtin_prefetch(e);
        __builtin_prefetch(e + sizeof(struct entry));
        if (s->t->ignore_merges)
            __builtin_prefetch(&s->t->words[hash & s->t->words_mask]);
    }
    s->ahead[(s->first + s->waiting++) % AHEAD] = (struct ahead){p, n, hash};
    return KJ_OK;
}

/* ---- added tokens ---- */

/* \w: letters, marks, numbers, connecting punctuation, joiners. */
static bool word_char(uint32_t c)
{
    return kj_uni_letter(c) || kj_uni_mark(c) || kj_uni_number(c) ||
           kj_uni_category(c) == KJ_GC_PC || c == 0x200C || c == 0x200D;
}

static uint32_t char_before(const char *p, size_t at, size_t *len)
{
    size_t b = at - 1;
    while (b > 0 && ((unsigned char)p[b] & 0xC0) == 0x80)
        b--;
    return kj_utf8_next(p + b, at - b, len);
}

/* Whether the token may stand at [b,e), and where it begins and ends with the
 * white space that it takes. */
static bool token_fits(const struct tok_added *a, const char *p, size_t n, size_t done,
                       size_t *b, size_t *e)
{
    size_t len;
    if (a->single_word && ((*b > 0 && word_char(char_before(p, *b, &len))) ||
                           (*e < n && word_char(kj_utf8_next(p + *e, n - *e, &len)))))
        return false;
    while (a->lstrip && *b > done && kj_uni_space(char_before(p, *b, &len)))
        *b -= len;
    while (a->rstrip && *e < n && kj_uni_space(kj_utf8_next(p + *e, n - *e, &len)))
        *e += len;
    return true;
}

typedef int gap_fn(struct kj_tok_state *s, const char *p, size_t n, unsigned flags,
                   struct kj_err *err);

static int split_added(struct kj_tok_state *s, const struct tok_trie *trie,
                       const char *p, size_t n, unsigned flags, gap_fn *gap,
                       struct kj_err *err)
{
    size_t done = 0, at = 0;
    int rc = KJ_OK;
    while (trie->n && at < n) {
        while (at < n && !trie->first[(unsigned char)p[at]])
            at++;
        size_t len = 0;
        uint32_t k = at < n ? tok_trie_longest(trie, p + at, n - at, &len) : TOK_NONE;
        if (k == TOK_NONE) {
            at++;
            continue;
        }
        const struct tok_added *a = &s->t->added[k];
        size_t b = at, e = at + len;
        at = e;
        if ((flags & KJ_TOK_NO_SPECIAL) && a->special)
            continue;
        if (!token_fits(a, p, n, done, &b, &e))
            continue;
        if (done < b)
            rc = gap(s, p + done, b - done, flags, err);
        if (rc != KJ_OK)
            return rc;
        put(s->out, a->id);
        done = e;
    }
    return done < n ? gap(s, p + done, n - done, flags, err) : KJ_OK;
}

static int gap_words(struct kj_tok_state *s, const char *p, size_t n, unsigned flags,
                     struct kj_err *err)
{
    (void)flags;
    int rc = tok_pre_run(&s->pre, p, n, queue_word, s, err);
    while (rc == KJ_OK && s->waiting)
        rc = encode_first(s, err);
    s->waiting = 0;
    return rc;
}

static int gap_normalize(struct kj_tok_state *s, const char *p, size_t n,
                         unsigned flags, struct kj_err *err)
{
    const struct kj_tok *t = s->t;
    for (size_t i = 0; i < t->n_norms; i++) {
        if (t->norms[i] == KJ_NFC && kj_uni_is_nfc(p, n))
            continue;
        /* Two buffers in turn: a form reads one and fills the other. */
        struct kj_buf *b = &s->norm[p == s->norm[0].p];
        kj_buf_reset(b);
        if (kj_uni_normalize(b, t->norms[i], p, n) != KJ_OK)
            return kj_err_set(err, KJ_BAD_RECORD, "text too long to normalize");
        p = b->p;
        n = b->n;
    }
    return split_added(s, &t->normal, p, n, flags, gap_words, err);
}

int kj_tok_encode(const struct kj_tok *t, struct kj_tok_state *s, const char *p,
                  size_t n, unsigned flags, struct kj_tok_ids *out, struct kj_err *err)
{
    size_t n0 = out->n, good = kj_utf8_valid(p, n);
    if (good < n) {
        kj_err_set(err, KJ_BAD_RECORD, "not UTF-8 at byte %zu", good);
        kj_err_where(err, "", (int64_t)good);
        return KJ_BAD_RECORD;
    }
    if ((flags & KJ_TOK_TEMPLATE) && t->template_refused)
        return kj_err_set(err, KJ_FAIL, "%s", t->template_refused);
    s->t = t;
    s->out = out;
    for (size_t i = 0; i < t->n_head && (flags & KJ_TOK_TEMPLATE); i++)
        put(out, t->head[i]);
    int rc = split_added(s, &t->raw, p, n, flags, gap_normalize, err);
    if (rc != KJ_OK) {
        out->n = n0;
        return rc;
    }
    for (size_t i = 0; i < t->n_tail && (flags & KJ_TOK_TEMPLATE); i++)
        put(out, t->tail[i]);
    return KJ_OK;
}

int kj_tok_decode(const struct kj_tok *t, const uint32_t *ids, size_t n,
                  bool skip_special, struct kj_buf *out, struct kj_err *err)
{
    for (size_t i = 0; i < n; i++) {
        if (ids[i] >= t->n_ids ||
            (!t->ids[ids[i]].len && !(t->flags[ids[i]] & TOK_ADDED)))
            return kj_err_set(err, KJ_BAD_RECORD, "id %u is not in the vocabulary",
                              ids[i]);
        if (skip_special && (t->flags[ids[i]] & TOK_SPECIAL))
            continue;
        const struct tok_bytes *w = &t->ids[ids[i]];
        if (kj_buf_add(out, t->blob + w->off, w->len) != KJ_OK)
            return kj_err_set(err, KJ_BAD_RECORD, "decoded text too long");
    }
    return KJ_OK;
}

/* ---- what is known about a model ---- */

uint32_t kj_tok_vocab_size(const struct kj_tok *t)
{
    return t->n_ids;
}

const char *kj_tok_name(const struct kj_tok *t)
{
    return t->name;
}

const char *kj_tok_hash(const struct kj_tok *t)
{
    return t->hash;
}

int64_t kj_tok_added_id(const struct kj_tok *t, const char *content)
{
    for (size_t i = 0; i < t->n_added; i++)
        if (kj_str_is(t->added[i].content, content))
            return t->added[i].id;
    return -1;
}

int kj_tok_eos(const struct kj_tok *t, const char *content, uint32_t *id,
               struct kj_err *err)
{
    static const char *const usual[] = {"<|end_of_text|>", "<|endoftext|>", "</s>",
                                        "<eos>"};
    int64_t found = content ? kj_tok_added_id(t, content) : -1;
    for (size_t i = 0; !content && found < 0 && i < sizeof usual / sizeof *usual; i++)
        found = kj_tok_added_id(t, usual[i]);
    if (found < 0)
        return kj_err_set(err, KJ_USAGE,
                          content ? "%s: no added token \"%s\""
                                  : "%s: no end-of-text token; name one",
                          t->name, content);
    *id = (uint32_t)found;
    return KJ_OK;
}
