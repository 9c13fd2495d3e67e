/* tok_vocab.c - the byte alphabet, and the look-ups of a loaded model. */
#include "tokenize/tok_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/pages.h"
#include "base/utf8.h"

/* GPT-2's alphabet: printable Latin-1 stands for itself, the other 68 bytes
 * for U+0100 onwards in increasing order. */
static bool printable(unsigned b)
{
    return (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
}

uint32_t tok_byte_char(unsigned char b)
{
    if (printable(b))
        return b;
    if (b <= 0x20)
        return 0x100u + b;
    return b == 0xAD ? 0x143u : 0x121u + (b - 0x7Fu);
}

int tok_char_byte(uint32_t c)
{
    if (c < 0x100)
        return printable(c) ? (int)c : -1;
    if (c <= 0x120)
        return (int)(c - 0x100);
    if (c <= 0x142)
        return (int)(c - 0x121 + 0x7F);
    return c == 0x143 ? 0xAD : -1;
}

bool tok_unmap(const char *p, size_t n, char *out, size_t *len)
{
    size_t m = 0;
    for (size_t at = 0, k; at < n; at += k) {
        int b = (unsigned char)p[at];
        k = 1;
        if (b < 0x21 || b > 0x7E)
            b = tok_char_byte(kj_utf8_next(p + at, n - at, &k));
        if (b < 0)
            return false;
        out[m++] = (char)b;
    }
    *len = m;
    return true;
}

const char *tok_find(const char *p, size_t n, struct kj_str z)
{
    while (z.n <= n) {
        const char *q = memchr(p, z.p[0], n - z.n + 1);
        if (!q || memcmp(q, z.p, z.n) == 0)
            return q;
        n -= (size_t)(q + 1 - p);
        p = q + 1;
    }
    return NULL;
}

int tok_map(struct kj_buf *b, const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char c[4];
        size_t k = kj_utf8_put(tok_byte_char((unsigned char)p[i]), c);
        int rc = kj_buf_add(b, c, k);
        if (rc != KJ_OK)
            return rc;
    }
    return KJ_OK;
}

/* ---- words ---- */

const uint64_t tok_key_masks[TOK_KEY_MAX + 1][2] = {
    {0, 0},
    {0xFF, 0},
    {0xFFFF, 0},
    {0xFFFFFF, 0},
    {0xFFFFFFFF, 0},
    {0xFFFFFFFFFF, 0},
    {0xFFFFFFFFFFFF, 0},
    {0xFFFFFFFFFFFFFF, 0},
    {UINT64_MAX, 0},
    {UINT64_MAX, 0xFF},
    {UINT64_MAX, 0xFFFF},
    {UINT64_MAX, 0xFFFFFF},
    {UINT64_MAX, 0xFFFFFFFF},
    {UINT64_MAX, 0xFFFFFFFFFF},
    {UINT64_MAX, 0xFFFFFFFFFFFF},
    {UINT64_MAX, 0xFFFFFFFFFFFFFF},
    {UINT64_MAX, UINT64_MAX},
};

void tok_blob_add(struct kj_tok *t, uint32_t id, const char *p, size_t n)
{
    if (t->blob_n + n > t->blob_cap) {
        while (t->blob_n + n > t->blob_cap)
            t->blob_cap = t->blob_cap ? 2 * t->blob_cap : 1 << 16;
        t->blob = kj_xrealloc(t->blob, t->blob_cap + TOK_KEY_MAX);
    }
    memcpy(t->blob + t->blob_n, p, n);
    memset(t->blob + t->blob_n + n, 0, TOK_KEY_MAX);
    t->ids[id] = (struct tok_bytes){(uint32_t)t->blob_n, (uint32_t)n};
    t->blob_n += n;
}

void tok_word_insert(struct kj_tok *t, uint32_t id, uint64_t hash)
{
    uint32_t *b = tok_word_bucket(t, hash), k = 0;
    for (uint64_t h = hash; b[TOK_WORD_WAYS - 1];)
        b = tok_word_bucket(t, ++h);
    while (b[k])
        k++;
    b[k] = tok_word_tag(hash) << 20 | (id + 1);
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
    t->words_mask = size / TOK_WORD_WAYS - 1;
}

void tok_words_free(struct kj_tok *t)
{
    kj_pages_free(t->words, (t->words_mask + 1) * TOK_WORD_WAYS * sizeof *t->words);
}

uint32_t tok_word_hashed(const struct kj_tok *t, uint64_t hash, const char *p, size_t n)
{
    uint32_t tag = tok_word_tag(hash);
    for (;; hash++) {
        const uint32_t *b = tok_word_bucket(t, hash);
        for (unsigned k = 0; k < TOK_WORD_WAYS && b[k]; k++) {
            uint32_t id = (b[k] & TOK_CHAR_ID) - 1;
            if (b[k] >> 20 == tag && t->ids[id].len == n &&
                memcmp(t->blob + t->ids[id].off, p, n) == 0)
                return id;
        }
        if (!b[TOK_WORD_WAYS - 1])
            return TOK_NONE;
    }
}

uint32_t tok_word_find(const struct kj_tok *t, const char *p, size_t n)
{
    uint64_t key[2];
    if (n > TOK_KEY_MAX)
        return tok_word_hashed(t, tok_hash(p, n), p, n);
    tok_key(p, n, key);
    return tok_word_keyed(t, tok_key_hash(key), key, n);
}

/* ---- trie of added tokens ---- */

static uint32_t trie_node(struct tok_trie *t, unsigned char c)
{
    if (t->n == t->cap) {
        t->cap = t->cap ? 2 * t->cap : 64;
        t->v = kj_xrealloc(t->v, t->cap * sizeof *t->v);
    }
    t->v[t->n] = (struct tok_node){.c = c, .added = TOK_NONE};
    return (uint32_t)t->n++;
}

static uint32_t trie_child(const struct tok_trie *t, uint32_t at, unsigned char c)
{
    for (at = t->v[at].child; at; at = t->v[at].sibling)
        if (t->v[at].c == c)
            return at;
    return 0;
}

bool tok_trie_add(struct tok_trie *t, struct kj_str s, uint32_t added)
{
    if (t->n == 0)
        trie_node(t, 0);
    if (s.n == 0)
        return true; /* never matches */
    t->firsts += !t->first[(unsigned char)s.p[0]];
    t->some = (unsigned char)s.p[0];
    t->first[t->some] = true;
    uint32_t at = 0;
    for (size_t i = 0; i < s.n; i++) {
        uint32_t next = trie_child(t, at, (unsigned char)s.p[i]);
        if (!next) {
            next = trie_node(t, (unsigned char)s.p[i]);
            t->v[next].sibling = t->v[at].child;
            t->v[at].child = next;
        }
        at = next;
    }
    if (t->v[at].added != TOK_NONE)
        return false;
    t->v[at].added = added;
    return true;
}

void tok_trie_release(struct tok_trie *t)
{
    free(t->v);
    memset(t, 0, sizeof *t);
}

size_t tok_trie_skip(const struct tok_trie *t, const char *p, size_t n, size_t at)
{
    if (t->firsts == 1) { /* "<" as a rule */
        const char *q = memchr(p + at, t->some, n - at);
        return q ? (size_t)(q - p) : n;
    }
    while (at < n && !t->first[(unsigned char)p[at]])
        at++;
    return at;
}

uint32_t tok_trie_longest(const struct tok_trie *t, const char *p, size_t n,
                          size_t *len)
{
    uint32_t at = 0, best = TOK_NONE;
    for (size_t i = 0; i < n && t->n; i++) {
        at = trie_child(t, at, (unsigned char)p[i]);
        if (!at)
            break;
        if (t->v[at].added != TOK_NONE) {
            best = t->v[at].added;
            *len = i + 1;
        }
    }
    return best;
}
