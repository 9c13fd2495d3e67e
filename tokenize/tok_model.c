/* tok_model.c - model.vocab and model.merges to tables. */
#include "tokenize/tok_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/json.h"
#include "base/pages.h"
#include "base/utf8.h"

/* KJ_OK when key is absent or an empty string. */
static int want_empty(const struct kj_jval *o, const char *path, const char *key,
                      struct kj_err *err)
{
    const struct kj_jval *v = kj_jget(o, key);
    if (tok_absent(v) || (v->kind == KJ_J_STR && v->s.n == 0))
        return KJ_OK;
    REFUSE("%s.%s: only null is supported", path, key);
}

/* ---- vocabulary ---- */

static int want_id(const struct kj_jval *v, const char *path, struct kj_str what,
                   uint32_t *id, struct kj_err *err)
{
    if (!v || v->kind != KJ_J_INT || v->i < 0 || v->i > KJ_TOK_ID_MAX)
        REFUSE("%s[\"%.*s\"]: id is not an integer in 0..%u", path,
               (int)(what.n < 80 ? what.n : 80), what.p, KJ_TOK_ID_MAX);
    *id = (uint32_t)v->i;
    return KJ_OK;
}

void tok_blob_add(struct kj_tok *t, uint32_t id, const char *p, size_t n)
{
    if (t->blob_n + n > t->blob_cap) {
        while (t->blob_n + n > t->blob_cap)
            t->blob_cap = t->blob_cap ? 2 * t->blob_cap : 1 << 16;
        t->blob = kj_xrealloc(t->blob, t->blob_cap);
    }
    memcpy(t->blob + t->blob_n, p, n);
    t->ids[id] = (struct tok_bytes){(uint32_t)t->blob_n, (uint32_t)n};
    t->blob_n += n;
}

void tok_word_insert(struct kj_tok *t, uint32_t id)
{
    const struct tok_bytes *w = &t->ids[id];
    uint64_t h = tok_hash(t->blob + w->off, w->len);
    size_t i = h & t->words_mask;
    while (t->words[i])
        i = (i + 1) & t->words_mask;
    t->words[i] = (uint32_t)(h >> 52) << 20 | (id + 1);
}

static size_t table_size(size_t n)
{
    size_t size = 1024;
    while (size < 2 * n)
        size *= 2;
    return size;
}

void tok_ids_alloc(struct kj_tok *t, uint32_t n_ids, size_t n_words)
{
    size_t size = table_size(n_words);
    t->n_ids = n_ids;
    t->ids = kj_xcalloc(n_ids ? n_ids : 1, sizeof *t->ids);
    t->flags = kj_xcalloc(n_ids ? n_ids : 1, sizeof *t->flags);
    t->words = kj_pages_xnew(size * sizeof *t->words);
    t->words_mask = size - 1;
}

static int count_ids(struct kj_tok *t, const struct kj_jval *vocab,
                     const struct kj_jval *added, struct kj_err *err)
{
    uint32_t id = 0, top = 0;
    if (vocab->n > KJ_TOK_ID_MAX)
        REFUSE("model.vocab: more than %u", KJ_TOK_ID_MAX);
    if (vocab->kind == KJ_J_ARRAY) /* Unigram: ids are places */
        top = (uint32_t)vocab->n;
    for (size_t i = 0; i < vocab->n && vocab->kind == KJ_J_OBJECT; i++) {
        int rc = want_id(&vocab->items[i], "model.vocab", vocab->keys[i], &id, err);
        if (rc != KJ_OK)
            return rc;
        if (vocab->keys[i].n == 0 || vocab->keys[i].n > TOK_TOKEN_MAX)
            REFUSE("model.vocab: entry %zu is empty or too long", i);
        top = id + 1 > top ? id + 1 : top;
    }
    for (size_t i = 0; added && i < added->n; i++) {
        const struct kj_jval *a = &added->items[i];
        struct kj_str content = kj_jstr(kj_jget(a, "content"));
        if (!content.p || content.n > TOK_TOKEN_MAX)
            REFUSE("added_tokens[%zu].content: not a string, or too long", i);
        int rc = want_id(kj_jget(a, "id"), "added_tokens", content, &id, err);
        if (rc != KJ_OK)
            return rc;
        top = id + 1 > top ? id + 1 : top;
    }
    tok_ids_alloc(t, top, vocab->n);
    return KJ_OK;
}

static int load_vocab(struct kj_tok *t, const struct kj_jval *vocab, struct kj_err *err)
{
    char *bytes = kj_xmalloc(TOK_TOKEN_MAX);
    int rc = KJ_OK;
    for (size_t i = 0; i < vocab->n && rc == KJ_OK; i++) {
        struct kj_str key = vocab->keys[i];
        uint32_t id = (uint32_t)vocab->items[i].i;
        const char *p = bytes;
        size_t n;
        if (t->kind != TOK_BPE || t->by_chars) {
            p = key.p;
            n = key.n;
        }
        if (t->ids[id].len) {
            rc = kj_err_set(err, KJ_FAIL, "model.vocab[\"%.*s\"]: id %u is taken",
                            (int)(key.n < 80 ? key.n : 80), key.p, id);
        } else if (p == bytes && !tok_unmap(key.p, key.n, bytes, &n)) {
            /* Outside the byte alphabet: no merge reaches it, it only decodes. */
            tok_blob_add(t, id, key.p, key.n);
        } else if (tok_word_find(t, p, n) != TOK_NONE) {
            rc = kj_err_set(err, KJ_FAIL, "model.vocab[\"%.*s\"]: stands there twice",
                            (int)(key.n < 80 ? key.n : 80), key.p);
        } else {
            tok_blob_add(t, id, p, n);
            tok_word_insert(t, id);
        }
    }
    free(bytes);
    return rc;
}

int tok_bpe_bytes(struct kj_tok *t, struct kj_err *err)
{
    int rc = KJ_OK;
    for (unsigned b = 0; b < 256 && rc == KJ_OK; b++) {
        char c = (char)b;
        t->bytes[b] = tok_word_find(t, &c, 1);
        /* Bytes that no UTF-8 text holds may be missing. */
        bool never = b == 0xC0 || b == 0xC1 || b >= 0xF5;
        if (t->bytes[b] == TOK_NONE && !never)
            rc = kj_err_set(
                err, KJ_FAIL,
                "model.vocab: no token for byte 0x%02X: not a byte-level BPE", b);
    }
    return rc;
}

/* ---- merges ---- */

/* The parts of merge i as strings. */
static int merge_parts(const struct kj_jval *m, size_t i, struct kj_str *a,
                       struct kj_str *b, struct kj_err *err)
{
    if (m->kind == KJ_J_STR) {
        const char *sp = memchr(m->s.p, ' ', m->s.n);
        size_t k = sp ? (size_t)(sp - m->s.p) : 0;
        if (!sp || memchr(sp + 1, ' ', m->s.n - k - 1))
            REFUSE("model.merges[%zu]: not two words", i);
        *a = (struct kj_str){m->s.p, k};
        *b = (struct kj_str){sp + 1, m->s.n - k - 1};
        return KJ_OK;
    }
    if (m->kind != KJ_J_ARRAY || m->n != 2)
        REFUSE("model.merges[%zu]: neither a pair nor a string", i);
    *a = kj_jstr(&m->items[0]);
    *b = kj_jstr(&m->items[1]);
    if (!a->p || !b->p)
        REFUSE("model.merges[%zu]: not two strings", i);
    return KJ_OK;
}

struct merge {
    uint32_t a, b, id;
};

/* The id of each part and of both together; scratch has room for both. */
static int merge_ids(const struct kj_tok *t, size_t i, struct kj_str a, struct kj_str b,
                     char *scratch, struct merge *out, struct kj_err *err)
{
    size_t na = a.n, nb = b.n;
    if (a.n > TOK_TOKEN_MAX || b.n > TOK_TOKEN_MAX)
        REFUSE("model.merges[%zu]: too long", i);
    if (t->by_chars) {
        memcpy(scratch, a.p, a.n);
        memcpy(scratch + a.n, b.p, b.n);
    } else if (!tok_unmap(a.p, a.n, scratch, &na) ||
               !tok_unmap(b.p, b.n, scratch + na, &nb)) {
        REFUSE("model.merges[%zu]: not in the byte alphabet", i);
    }
    out->a = na ? tok_word_find(t, scratch, na) : TOK_NONE;
    out->b = nb ? tok_word_find(t, scratch + na, nb) : TOK_NONE;
    out->id = na + nb ? tok_word_find(t, scratch, na + nb) : TOK_NONE;
    if (out->a == TOK_NONE || out->b == TOK_NONE)
        REFUSE("model.merges[%zu]: the %s part is not in the vocabulary", i,
               out->a == TOK_NONE ? "first" : "second");
    if (out->id == TOK_NONE)
        REFUSE("model.merges[%zu]: what it makes is not in the vocabulary", i);
    return KJ_OK;
}

void tok_pairs_free(struct kj_tok *t)
{
    kj_pages_free(t->pairs, (t->pairs_mask + 1) * sizeof *t->pairs);
}

/* Tables for n merges. */
static void pairs_alloc(struct kj_tok *t, size_t n)
{
    size_t size = 1024;
    while (3 * size < 4 * n)
        size *= 2;
    tok_pairs_free(t);
    free(t->filter);
    t->pairs = kj_pages_xnew(size * sizeof *t->pairs);
    memset(t->pairs, 0xFF, size * sizeof *t->pairs);
    t->pairs_mask = size - 1;
    t->filter = kj_xcalloc(TOK_FILTER_BITS / 64, sizeof *t->filter);
}

/* Of two equal pairs the last counts. */
static void pair_put(struct kj_tok *t, uint32_t a, uint32_t b, uint32_t rank)
{
    *tok_pair_slot(t, a, b) = tok_pair_key(a, b) << 24 | rank;
    uint32_t bit = tok_pair_hash(a, b) >> 43;
    t->filter[bit / 64] |= (uint64_t)1 << bit % 64;
}

static void byte_ranks(struct kj_tok *t)
{
    for (unsigned i = 0; i < 1u << 16; i++) {
        uint32_t a = t->bytes[i >> 8], b = t->bytes[i & 255];
        t->byte_ranks[i] =
            a == TOK_NONE || b == TOK_NONE ? TOK_NONE : tok_pair_rank(t, a, b);
    }
}

static int read_merges(struct kj_tok *t, const struct kj_jval *merges,
                       struct kj_err *err)
{
    if (merges->n > TOK_MERGES_MAX)
        REFUSE("model.merges: more than %u", TOK_MERGES_MAX);
    char *scratch = kj_xmalloc(2 * TOK_TOKEN_MAX);
    int rc = KJ_OK;
    t->made = kj_xcalloc(merges->n + 1, sizeof *t->made);
    t->n_merges = merges->n;
    pairs_alloc(t, merges->n);
    for (size_t i = 0; i < merges->n && rc == KJ_OK; i++) {
        struct kj_str a = {0}, b = {0};
        struct merge m = {0};
        /* An old header line that some writers kept. */
        if (merges->items[i].kind == KJ_J_STR && merges->items[i].s.n >= 8 &&
            memcmp(merges->items[i].s.p, "#version", 8) == 0)
            continue;
        rc = merge_parts(&merges->items[i], i, &a, &b, err);
        if (rc == KJ_OK)
            rc = merge_ids(t, i, a, b, scratch, &m, err);
        if (rc == KJ_OK) {
            pair_put(t, m.a, m.b, (uint32_t)i);
            t->made[i] = m.id;
        }
    }
    free(scratch);
    return rc;
}

/* Keep the merges that can ever happen, and number them without gaps.
 *
 * Where a merge makes token c out of some bytes of a word, nothing has reached
 * across the ends of these bytes, so they went the way that they go by
 * themselves; that way is one and the same, so each token has at most one merge
 * that can make it: the last one of its own bytes, if they become that token.
 * Vocabularies that were converted from lists of ranks name every pair that
 * makes a token, Llama 3 280,147 for 127,744. Tables half as large, and ids that
 * follow from ranks: 8 % faster on Korean. */
static void prune_merges(struct kj_tok *t)
{
    uint64_t *last = kj_xmalloc((t->n_merges + 1) * sizeof *last);
    struct tok_long scratch = {0};
    size_t n = 0;
    bool even = true;
    memset(last, 0xFF, (t->n_merges + 1) * sizeof *last);
    for (uint32_t id = 0; id < t->n_ids; id++) {
        uint64_t key = tok_last_merge(t, &scratch, id);
        if (key != TOK_PAIR_FREE)
            last[tok_pair_rank(t, (uint32_t)(key >> 20), key & TOK_CHAR_ID)] = key;
    }
    tok_long_release(&scratch);
    for (size_t i = 0; i < t->n_merges; i++)
        n += last[i] != TOK_PAIR_FREE;
    pairs_alloc(t, n);
    n = 0;
    for (size_t i = 0; i < t->n_merges; i++) {
        if (last[i] == TOK_PAIR_FREE)
            continue;
        t->made[n] = t->made[i];
        even &= t->made[n] == t->made[0] + n;
        pair_put(t, (uint32_t)(last[i] >> 20), last[i] & TOK_CHAR_ID, (uint32_t)n++);
    }
    free(last);
    t->n_merges = n;
    if (even && n) {
        t->made_base = t->made[0];
        free(t->made);
        t->made = NULL;
    }
}

/* Whether a token stands for what the vocabulary has no character for. */
static bool stands_in(const struct kj_tok *t, uint32_t id)
{
    bool is = id == t->unknown;
    for (unsigned b = 0; t->fallback && b < 256; b++)
        is |= id == t->bytes[b];
    return is;
}

/* The same for a BPE over characters. A token that stands for something unknown is
 * not made of its own text, so where merges take such, none is left out. */
static void finish_chars(struct kj_tok *t)
{
    unsigned char *in = kj_xcalloc(t->n_ids + 1, 1);
    t->chars = kj_xcalloc(65536, sizeof *t->chars);
    for (uint32_t c = 0; c < 0x10000; c++) {
        char p[4];
        if (c < 0xD800 || c >= 0xE000)
            t->chars[c] = tok_word_find(t, p, kj_utf8_put(c, p)) + 1;
    }
    t->closed = true;
    for (uint32_t id = 0; id < t->n_ids; id++)
        in[id] = stands_in(t, id);
    for (size_t i = 0; i <= t->pairs_mask; i++)
        if (t->pairs[i] != TOK_PAIR_FREE)
            t->closed &= !in[t->pairs[i] >> 44] && !in[t->pairs[i] >> 24 & TOK_CHAR_ID];
    free(in);
    if (t->closed)
        prune_merges(t);
    tok_side_build(t);
}

static void finish_merges(struct kj_tok *t)
{
    if (t->by_chars) {
        finish_chars(t);
        return;
    }
    t->byte_ranks = kj_xmalloc(sizeof *t->byte_ranks << 16);
    t->chars = kj_xcalloc(65536, sizeof *t->chars);
    byte_ranks(t);
    prune_merges(t);
    byte_ranks(t);
    tok_chars_build(t);
}

void tok_bpe_merges(struct kj_tok *t, const struct tok_cut *c, size_t n)
{
    t->made = kj_xcalloc(n + 1, sizeof *t->made);
    t->n_merges = n;
    pairs_alloc(t, n);
    for (size_t i = 0; i < n; i++) {
        pair_put(t, c[i].a, c[i].b, (uint32_t)i);
        t->made[i] = c[i].id;
    }
    finish_merges(t);
}

static int load_merges(struct kj_tok *t, const struct kj_jval *merges,
                       struct kj_err *err)
{
    int rc = read_merges(t, merges, err);
    if (rc == KJ_OK)
        finish_merges(t);
    return rc;
}

int tok_model_kind(struct kj_tok *t, const struct kj_jval *root, struct kj_err *err)
{
    const struct kj_jval *m = kj_jget(root, "model");
    if (!m || m->kind != KJ_J_OBJECT)
        REFUSE("model: not an object");
    const struct kj_jval *type = kj_jget(m, "type");
    /* Old files do not say the type; a BPE is told by its merges. */
    if (tok_absent(type) || kj_str_is(kj_jstr(type), "BPE"))
        t->kind = TOK_BPE;
    else if (kj_str_is(kj_jstr(type), "WordPiece"))
        t->kind = TOK_WORDPIECE;
    else if (kj_str_is(kj_jstr(type), "Unigram"))
        t->kind = TOK_UNIGRAM;
    else
        return tok_unsupported(kj_jstr(type), "model", err);
    return KJ_OK;
}

/* unk_token, fuse_unk and byte_fallback: for characters that are not in the
 * vocabulary. With all bytes there, none is, so byte-level BPE needs none of it. */
static int load_unknown(struct kj_tok *t, const struct kj_jval *m, struct kj_err *err)
{
    struct kj_str unk = kj_jstr(kj_jget(m, "unk_token"));
    int rc = tok_want_bool(m, "model", "fuse_unk", false, &t->fuse, err);
    if (rc == KJ_OK)
        rc = tok_want_bool(m, "model", "byte_fallback", false, &t->fallback, err);
    if (rc != KJ_OK)
        return rc;
    t->unknown = unk.n ? tok_word_find(t, unk.p, unk.n) : TOK_NONE;
    if (unk.p && t->unknown == TOK_NONE)
        REFUSE("model.unk_token: not in the vocabulary");
    t->all_bytes = t->fallback;
    for (unsigned b = 0; b < 256; b++) {
        char z[8];
        snprintf(z, sizeof z, "<0x%02X>", b);
        t->bytes[b] = tok_word_find(t, z, 6);
        bool never = b == 0xC0 || b == 0xC1 || b >= 0xF5;
        t->all_bytes &= never || t->bytes[b] != TOK_NONE;
    }
    return KJ_OK;
}

static int load_bpe(struct kj_tok *t, const struct kj_jval *m, struct kj_err *err)
{
    const struct kj_jval *merges = kj_jget(m, "merges"), *d = kj_jget(m, "dropout");
    if (!merges || merges->kind != KJ_J_ARRAY)
        REFUSE("model.merges: not an array");
    if (!tok_absent(d) && kj_jnum(d, 1) != 0)
        REFUSE("model.dropout: only null is supported");
    int rc = want_empty(m, "model", "continuing_subword_prefix", err);
    if (rc == KJ_OK)
        rc = want_empty(m, "model", "end_of_word_suffix", err);
    if (rc == KJ_OK)
        rc = tok_want_bool(m, "model", "ignore_merges", false, &t->ignore_merges, err);
    if (rc == KJ_OK)
        rc = t->by_chars ? load_unknown(t, m, err) : tok_bpe_bytes(t, err);
    return rc == KJ_OK ? load_merges(t, merges, err) : rc;
}

int tok_load_model(struct kj_tok *t, const struct kj_jval *root, struct kj_err *err)
{
    const struct kj_jval *m = kj_jget(root, "model"), *vocab = kj_jget(m, "vocab");
    enum kj_jkind want = t->kind == TOK_UNIGRAM ? KJ_J_ARRAY : KJ_J_OBJECT;
    if (!vocab || vocab->kind != want)
        REFUSE("model.vocab: not an %s", want == KJ_J_ARRAY ? "array" : "object");
    int rc = count_ids(t, vocab, kj_jget(root, "added_tokens"), err);
    if (rc == KJ_OK && t->kind != TOK_UNIGRAM)
        rc = load_vocab(t, vocab, err);
    if (rc != KJ_OK)
        return rc;
    if (t->kind == TOK_UNIGRAM)
        return tok_unigram_load(t, m, err);
    return t->kind == TOK_WORDPIECE ? tok_wordpiece_load(t, m, err)
                                    : load_bpe(t, m, err);
}
