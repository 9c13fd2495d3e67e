/* tok_vocab.c - the byte alphabet, and the look-ups of a loaded model. */
#include "tokenize/tok_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
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
        int b = tok_char_byte(kj_utf8_next(p + at, n - at, &k));
        if (b < 0)
            return false;
        out[m++] = (char)b;
    }
    *len = m;
    return true;
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

static inline uint64_t load8(const char *p)
{
    uint64_t v;
    memcpy(&v, p, 8);
    return v;
}

__extension__ typedef unsigned __int128 u128;

static inline uint64_t mix(uint64_t a, uint64_t b)
{
    u128 m = (u128)a * b;
    return (uint64_t)m ^ (uint64_t)(m >> 64);
}

/* For tables in memory only: multiply and fold, eight bytes at a time, the
 * last eight overlapping. */
uint64_t tok_hash(const char *p, size_t n)
{
    const uint64_t k0 = 0x9E3779B97F4A7C15u, k1 = 0xD6E8FEB86659FD93u;
    uint64_t h = n * k1;
    if (n < 8) {
        uint64_t v = 0;
        if (n >= 4) {
            uint32_t a, b;
            memcpy(&a, p, 4);
            memcpy(&b, p + n - 4, 4);
            v = (uint64_t)a << 32 | b;
        } else if (n) {
            const unsigned char *u = (const unsigned char *)p;
            v = (uint64_t)u[0] << 16 | (uint64_t)u[n >> 1] << 8 | u[n - 1];
        }
        return mix(v ^ k0, h ^ k1);
    }
    for (size_t i = 0; i + 8 < n; i += 8)
        h = mix(load8(p + i) ^ k0, h ^ k1);
    return mix(load8(p + n - 8) ^ k0, h ^ k1);
}

uint32_t tok_word_find(const struct kj_tok *t, const char *p, size_t n)
{
    for (size_t i = tok_hash(p, n) & t->words_mask;; i = (i + 1) & t->words_mask) {
        uint32_t id = t->words[i];
        if (id == 0)
            return TOK_NONE;
        id--;
        if (t->ids[id].len == n && memcmp(t->blob + t->ids[id].off, p, n) == 0)
            return id;
    }
}

struct tok_pair *tok_pair_find(const struct kj_tok *t, uint32_t a, uint32_t b)
{
    uint64_t h =
        mix(((uint64_t)a << 32 | b) ^ 0x9E3779B97F4A7C15u, 0xD6E8FEB86659FD93u);
    for (size_t i = h & t->pairs_mask;; i = (i + 1) & t->pairs_mask) {
        struct tok_pair *e = &t->pairs[i];
        if ((e->a == a && e->b == b) || e->a == TOK_NONE)
            return e;
    }
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
    t->first[(unsigned char)s.p[0]] = true;
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
