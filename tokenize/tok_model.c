/* tok_model.c - model.vocab and model.merges to tables. */
#include "tokenize/tok_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/json.h"
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

/* Entries that are looked up together, so that their waits for memory are one. */
#define TOGETHER 32

static int not_twice(struct kj_tok *t, const uint32_t *ids, const uint64_t *hashes,
                     const struct kj_str *keys, size_t n, struct kj_err *err)
{
    for (size_t i = 0; i < n; i++) {
        const struct tok_bytes *w = &t->ids[ids[i]];
        if (tok_word_hashed(t, hashes[i], t->blob + w->off, w->len) != TOK_NONE)
            REFUSE("model.vocab[\"%.*s\"]: stands there twice",
                   (int)(keys[i].n < 80 ? keys[i].n : 80), keys[i].p);
        tok_word_insert(t, ids[i], hashes[i]);
    }
    return KJ_OK;
}

static int load_vocab(struct kj_tok *t, const struct kj_jval *vocab, struct kj_err *err)
{
    char *bytes = kj_xmalloc(TOK_TOKEN_MAX);
    uint64_t hashes[TOGETHER];
    uint32_t ids[TOGETHER];
    struct kj_str keys[TOGETHER];
    size_t m = 0;
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
            t->flags[id] = TOK_RAW;
        } else {
            tok_blob_add(t, id, p, n);
            keys[m] = key;
            ids[m] = id;
            hashes[m] = tok_word_hash(p, n);
            __builtin_prefetch(tok_word_bucket(t, hashes[m++]), 1);
        }
        if (rc == KJ_OK && m == TOGETHER) {
            rc = not_twice(t, ids, hashes, keys, m, err);
            m = 0;
        }
    }
    free(bytes);
    return rc == KJ_OK ? not_twice(t, ids, hashes, keys, m, err) : rc;
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

/* A merge on its way to ids. */
struct merge {
    size_t i, na, nb;   /* its number, the bytes of its parts */
    const char *p;      /* these, one behind the other */
    uint64_t hashes[2]; /* of the parts */
};

/* The bytes of merge i, at `to`, which has room for two tokens. */
static int merge_read(const struct kj_tok *t, const struct kj_jval *v, size_t i,
                      char *to, struct merge *m, struct kj_err *err)
{
    struct kj_str a = {0}, b = {0};
    int rc = merge_parts(v, i, &a, &b, err);
    if (rc != KJ_OK)
        return rc;
    *m = (struct merge){.i = i, .na = a.n, .nb = b.n, .p = to};
    if (a.n > TOK_TOKEN_MAX || b.n > TOK_TOKEN_MAX)
        REFUSE("model.merges[%zu]: too long", i);
    if (t->by_chars) {
        memcpy(to, a.p, a.n);
        memcpy(to + a.n, b.p, b.n);
    } else if (!tok_unmap(a.p, a.n, to, &m->na) ||
               !tok_unmap(b.p, b.n, to + m->na, &m->nb)) {
        REFUSE("model.merges[%zu]: not in the byte alphabet", i);
    }
    m->hashes[0] = tok_word_hash(to, m->na);
    m->hashes[1] = tok_word_hash(to + m->na, m->nb);
    for (size_t k = 0; k < 2; k++)
        __builtin_prefetch(tok_word_bucket(t, m->hashes[k]));
    return KJ_OK;
}

/* The id of n bytes, which may be `guess` or the next. */
static uint32_t id_near(const struct kj_tok *t, uint32_t guess, const char *p, size_t n)
{
    for (uint32_t id = guess; id < t->n_ids && id < guess + 2; id++)
        if (t->ids[id].len == n && !(t->flags[id] & TOK_RAW) &&
            memcmp(t->blob + t->ids[id].off, p, n) == 0)
            return id;
    return tok_word_find(t, p, n);
}

/* The ids of merges; *made is what the one in front of them makes. */
static int merge_ids(const struct kj_tok *t, const struct merge *m, size_t n,
                     uint32_t *made, struct tok_cut *c, struct kj_err *err)
{
    for (size_t i = 0; i < 2 * n; i++)
        __builtin_prefetch(tok_word_likely(t, m[i / 2].hashes[i % 2]));
    for (size_t i = 0; i < 2 * n; i++)
        __builtin_prefetch(t->blob + tok_word_likely(t, m[i / 2].hashes[i % 2])->off);
    for (size_t i = 0; i < n; i++, m++, c++) {
        const char *q = m->p + m->na;
        c->a = m->na ? tok_word_hashed(t, m->hashes[0], m->p, m->na) : TOK_NONE;
        c->b = m->nb ? tok_word_hashed(t, m->hashes[1], q, m->nb) : TOK_NONE;
        if (c->a == TOK_NONE || c->b == TOK_NONE)
            REFUSE("model.merges[%zu]: the %s part is not in the vocabulary", m->i,
                   c->a == TOK_NONE ? "first" : "second");
        /* Lists go by what merges make, and name several in a row that make one. */
        c->id = id_near(t, *made, m->p, m->na + m->nb);
        if (c->id == TOK_NONE)
            REFUSE("model.merges[%zu]: what it makes is not in the vocabulary", m->i);
        *made = c->id;
    }
    return KJ_OK;
}

static int load_merges(struct kj_tok *t, const struct kj_jval *merges,
                       struct kj_err *err)
{
    if (merges->n > TOK_MERGES_MAX)
        REFUSE("model.merges: more than %u", TOK_MERGES_MAX);
    char *scratch = kj_xmalloc(4 * TOK_TOKEN_MAX);
    struct tok_cut *c = kj_xmalloc((merges->n + 1) * sizeof *c);
    struct merge m[TOGETHER];
    uint32_t made = 0;
    size_t n = 0, k = 0, used = 0;
    int rc = KJ_OK;
    for (size_t i = 0; i < merges->n && rc == KJ_OK; i++) {
        const struct kj_jval *v = &merges->items[i];
        /* An old header line that some writers kept. */
        if (v->kind == KJ_J_STR && v->s.n >= 8 && memcmp(v->s.p, "#version", 8) == 0)
            continue;
        rc = merge_read(t, v, i, scratch + used, &m[k], err);
        if (rc != KJ_OK)
            break;
        used += m[k].na + m[k].nb;
        if (++k < TOGETHER && used <= 2 * TOK_TOKEN_MAX)
            continue;
        rc = merge_ids(t, m, k, &made, c + n, err);
        n += k;
        k = used = 0;
    }
    if (rc == KJ_OK)
        rc = merge_ids(t, m, k, &made, c + n, err);
    if (rc == KJ_OK)
        tok_bpe_merges(t, c, n + k);
    free(scratch);
    free(c);
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
