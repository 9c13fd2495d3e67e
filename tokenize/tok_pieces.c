/* tok_pieces.c - the models of encoders: WordPiece and Unigram.
 *
 * WordPiece takes from the left of a word the longest entry each time, behind the
 * first one among the entries that begin with the prefix ("##"); a word with no
 * way to its end, or with too many characters, is one unknown token.
 *
 * Unigram takes the pieces of the highest sum of scores (Viterbi), in double
 * precision and in the reference's order, so that ties fall as they do there: of
 * equal sums to one place the one that was found first. A character that is no
 * piece by itself costs the least score of the vocabulary less ten. Adjacent
 * unknown characters are one token, or with byte_fallback a token a byte, if all
 * are there.
 *
 * Both walk one trie from each place; its edges are in a hash table by node and
 * byte.
 */
#include "tokenize/tok_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/json.h"
#include "base/utf8.h"

#define UNKNOWN_COST 10.0

struct tok_pieces {
    uint64_t *edges; /* node << 8 | byte in 40 bits, above the child's 24; 0: free */
    size_t mask, n_edges;
    uint32_t *id; /* by node: id + 1 */
    size_t n, cap;
    uint32_t inner;    /* WordPiece: root of the entries that begin with the prefix */
    size_t characters; /* WordPiece: most in a word */
    double *score;     /* Unigram, by id */
    double unknown_score;
    uint32_t unknown; /* or TOK_NONE */
    bool fallback;
    uint32_t byte[256];
};

#define NODES_MAX ((1u << 24) - 1)

/* ---- trie ---- */

static inline size_t edge_slot(const struct tok_pieces *m, uint64_t key)
{
    size_t i = tok_mix(key ^ 0x9E3779B97F4A7C15u, 0xD6E8FEB86659FD93u) & m->mask;
    while (m->edges[i] && m->edges[i] >> 24 != key)
        i = (i + 1) & m->mask;
    return i;
}

static inline uint32_t child(const struct tok_pieces *m, uint32_t node, char c)
{
    uint64_t key = (uint64_t)node << 8 | (unsigned char)c;
    return m->edges[edge_slot(m, key)] & 0xFFFFFF;
}

static uint32_t node_new(struct tok_pieces *m)
{
    if (m->n == m->cap) {
        m->cap = m->cap ? 2 * m->cap : 1024;
        m->id = kj_xrealloc(m->id, m->cap * sizeof *m->id);
    }
    m->id[m->n] = 0;
    return (uint32_t)m->n++;
}

static void edges_grow(struct tok_pieces *m)
{
    uint64_t *old = m->edges;
    size_t size = old ? m->mask + 1 : 0;
    m->mask = size ? 2 * size - 1 : 4095;
    m->edges = kj_xcalloc(m->mask + 1, sizeof *m->edges);
    for (size_t i = 0; i < size; i++)
        if (old[i])
            m->edges[edge_slot(m, old[i] >> 24)] = old[i];
    free(old);
}

/* False: too many nodes. */
static bool trie_add(struct tok_pieces *m, uint32_t at, const char *p, size_t n,
                     uint32_t id)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t next = child(m, at, p[i]);
        if (!next) {
            if (m->n > NODES_MAX)
                return false;
            if (2 * m->n_edges++ >= m->mask)
                edges_grow(m);
            next = node_new(m);
            uint64_t key = (uint64_t)at << 8 | (unsigned char)p[i];
            m->edges[edge_slot(m, key)] = key << 24 | next;
        }
        at = next;
    }
    m->id[at] = id + 1;
    return true;
}

static struct tok_pieces *pieces_new(void)
{
    struct tok_pieces *m = kj_xcalloc(1, sizeof *m);
    edges_grow(m);
    node_new(m); /* the root */
    m->unknown = TOK_NONE;
    memset(m->byte, 0xFF, sizeof m->byte);
    return m;
}

void tok_pieces_free(struct tok_pieces *m)
{
    if (!m)
        return;
    free(m->edges);
    free(m->id);
    free(m->score);
    free(m);
}

/* ---- WordPiece ---- */

int tok_wordpiece_load(struct kj_tok *t, const struct kj_jval *m, struct kj_err *err)
{
    const struct kj_jval *vocab = kj_jget(m, "vocab");
    const struct kj_jval *prefix = kj_jget(m, "continuing_subword_prefix");
    struct kj_str unk = kj_jstr(kj_jget(m, "unk_token"));
    struct kj_str pre = tok_absent(prefix) ? KJ_STR("##") : kj_jstr(prefix);
    struct tok_pieces *w = t->pieces = pieces_new();
    w->inner = node_new(w);
    w->characters = (size_t)kj_jint(kj_jget(m, "max_input_chars_per_word"), 100);
    if (!pre.p)
        REFUSE("model.continuing_subword_prefix: not a string");
    for (size_t i = 0; i < vocab->n; i++) {
        struct kj_str key = vocab->keys[i];
        uint32_t id = (uint32_t)vocab->items[i].i;
        bool in = key.n > pre.n && memcmp(key.p, pre.p, pre.n) == 0;
        if (kj_str_eq(key, unk))
            w->unknown = id;
        if (!trie_add(w, 0, key.p, key.n, id) ||
            (in && !trie_add(w, w->inner, key.p + pre.n, key.n - pre.n, id)))
            REFUSE("model.vocab: too large");
    }
    if (w->unknown == TOK_NONE)
        REFUSE("model.unk_token: not in the vocabulary");
    return KJ_OK;
}

static void wordpiece(struct kj_tok_state *s, const char *p, size_t n)
{
    const struct tok_pieces *w = s->t->pieces;
    size_t from = s->out->n;
    bool known = kj_utf8_count(p, n) <= w->characters;
    for (size_t at = 0, best; known && at < n; at += best) {
        uint32_t node = at ? w->inner : 0, id = 0;
        best = 0;
        for (size_t i = at; i < n && (node = child(w, node, p[i])); i++)
            if (w->id[node]) {
                id = w->id[node];
                best = i + 1 - at;
            }
        known = best != 0;
        if (known)
            tok_put(s->out, id - 1);
    }
    if (!known) {
        s->out->n = from;
        tok_put(s->out, w->unknown);
    }
}

/* ---- Unigram ---- */

/* A score as the reference's JSON reader has it: digits as an integer, scaled by
 * a power of ten, which may be off by one in the last place. Files are written
 * with the fewest digits that tell a number, so they can be had back from it.
 * Without this, sums that tie there do not tie here. */
static double score_read(double x)
{
    char z[40], digits[24];
    size_t n = 0;
    for (int k = 14; k < 17; k++) {
        snprintf(z, sizeof z, "%.*e", k, x < 0 ? -x : x);
        if (strtod(z, NULL) == (x < 0 ? -x : x))
            break;
    }
    const char *e = strchr(z, 'e');
    int power = (int)strtol(e + 1, NULL, 10);
    for (const char *p = z; p < e; p++)
        if (*p != '.')
            digits[n++] = *p;
    while (n > 1 && digits[n - 1] == '0')
        n--;
    digits[n] = 0;
    power -= (int)n - 1;
    double f = (double)strtoull(digits, NULL, 10), scale = 1;
    for (int i = 0; i < abs(power) && i < 300; i++)
        scale *= 10; /* exact up to 1e22; scores stay within */
    f = power < 0 ? f / scale : f * scale;
    return x < 0 ? -f : f;
}

static int unigram_entry(struct kj_tok *t, const struct kj_jval *e, uint32_t id,
                         struct kj_err *err)
{
    struct tok_pieces *m = t->pieces;
    struct kj_str piece = {0};
    const struct kj_jval *score = NULL;
    if (e->kind == KJ_J_ARRAY && e->n == 2) {
        piece = kj_jstr(&e->items[0]);
        score = &e->items[1];
    }
    if (!piece.p || !score || (score->kind != KJ_J_INT && score->kind != KJ_J_REAL))
        REFUSE("model.vocab[%u]: not a piece and a score", id);
    if (!piece.n || piece.n > TOK_TOKEN_MAX)
        REFUSE("model.vocab[%u]: empty or too long", id);
    if (tok_word_find(t, piece.p, piece.n) != TOK_NONE)
        REFUSE("model.vocab[%u]: \"%.*s\" stands there twice", id,
               (int)(piece.n < 80 ? piece.n : 80), piece.p);
    m->score[id] = score_read(kj_jnum(score, 0));
    if (!(m->score[id] > -1e30 && m->score[id] < 1e30))
        REFUSE("model.vocab[%u]: not a score", id);
    tok_blob_add(t, id, piece.p, piece.n);
    tok_word_insert(t, id, tok_word_hash(piece.p, piece.n));
    for (unsigned b = 0; piece.n == 6 && b < 256; b++) {
        char z[8];
        snprintf(z, sizeof z, "<0x%02X>", b);
        if (memcmp(z, piece.p, 6) == 0)
            m->byte[b] = id;
    }
    if (!trie_add(m, 0, piece.p, piece.n, id))
        REFUSE("model.vocab: too large");
    return KJ_OK;
}

int tok_unigram_load(struct kj_tok *t, const struct kj_jval *m, struct kj_err *err)
{
    const struct kj_jval *vocab = kj_jget(m, "vocab"), *unk = kj_jget(m, "unk_id");
    struct tok_pieces *w = t->pieces = pieces_new();
    w->score = kj_xcalloc(vocab->n + 1, sizeof *w->score);
    int rc = tok_want_bool(m, "model", "byte_fallback", false, &w->fallback, err);
    for (size_t i = 0; i < vocab->n && rc == KJ_OK; i++) {
        rc = unigram_entry(t, &vocab->items[i], (uint32_t)i, err);
        if (!i || w->score[i] < w->unknown_score)
            w->unknown_score = w->score[i];
    }
    w->unknown_score -= UNKNOWN_COST;
    if (rc == KJ_OK && !tok_absent(unk)) {
        if (unk->kind != KJ_J_INT || unk->i < 0 || (size_t)unk->i >= vocab->n)
            REFUSE("model.unk_id: not an index of model.vocab");
        w->unknown = (uint32_t)unk->i;
    }
    return rc;
}

/* The ids of a piece of the best way; `p` may be several unknown characters. */
static int unigram_put(struct kj_tok_state *s, const char *p, size_t n,
                       struct kj_err *err)
{
    const struct tok_pieces *w = s->t->pieces;
    uint32_t id = tok_word_find(s->t, p, n);
    bool all = w->fallback && id == TOK_NONE;
    for (size_t i = 0; i < n && all; i++)
        all = w->byte[(unsigned char)p[i]] != TOK_NONE;
    for (size_t i = 0; i < n && all; i++)
        tok_put(s->out, w->byte[(unsigned char)p[i]]);
    if (all)
        return KJ_OK;
    if (id == TOK_NONE)
        id = w->unknown;
    if (id == TOK_NONE)
        return kj_err_set(err, KJ_BAD_RECORD,
                          "the vocabulary has no token for unknown text");
    tok_put(s->out, id);
    return KJ_OK;
}

static void best_ways(struct kj_tok_state *s, const char *p, size_t n)
{
    const struct tok_pieces *w = s->t->pieces;
    struct tok_way *way = s->ways;
    for (size_t i = 0; i <= n; i++)
        way[i] = (struct tok_way){.from = TOK_NONE};
    for (size_t at = 0, len; at < n; at += len) {
        double here = way[at].score;
        bool single = false;
        uint32_t node = 0;
        kj_utf8_next(p + at, n - at, &len);
        for (size_t i = at; i < n && (node = child(w, node, p[i])); i++) {
            if (!w->id[node])
                continue;
            struct tok_way *to = &way[i + 1];
            double score = w->score[w->id[node] - 1] + here;
            if (to->from == TOK_NONE || score > to->score)
                *to = (struct tok_way){score, (uint32_t)at, w->id[node] - 1, 0};
            single |= i + 1 == at + len;
        }
        struct tok_way *to = &way[at + len];
        double score = w->unknown_score + here;
        if (!single && (to->from == TOK_NONE || score > to->score))
            *to = (struct tok_way){score, (uint32_t)at, w->unknown, 0};
    }
}

static int unigram(struct kj_tok_state *s, const char *p, size_t n, struct kj_err *err)
{
    const struct tok_pieces *w = s->t->pieces;
    if (n >= s->ways_cap) {
        s->ways_cap = 2 * n + 64;
        free(s->ways);
        s->ways = kj_xmalloc(s->ways_cap * sizeof *s->ways);
    }
    best_ways(s, p, n);
    /* Backwards along the way: each start gets its end. */
    uint32_t end = (uint32_t)n;
    while (end > 0) {
        uint32_t from = s->ways[end].from;
        s->ways[from].to = end;
        end = from;
    }
    int rc = KJ_OK;
    for (size_t at = 0, to; at < n && rc == KJ_OK; at = to) {
        to = s->ways[at].to;
        /* Unknown neighbours are one. */
        while (w->unknown != TOK_NONE && s->ways[to].id == w->unknown && to < n &&
               s->ways[s->ways[to].to].id == w->unknown)
            to = s->ways[to].to;
        rc = unigram_put(s, p + at, to - at, err);
    }
    return rc;
}

int tok_pieces_encode(struct kj_tok_state *s, const char *p, size_t n,
                      struct kj_err *err)
{
    if (s->t->kind == TOK_UNIGRAM)
        return unigram(s, p, n, err);
    wordpiece(s, p, n);
    return KJ_OK;
}
