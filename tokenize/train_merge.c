/* train_merge.c - from counted words to merges.
 *
 * Every word is a run of symbols, at first its bytes. The most frequent pair
 * of neighbours becomes a new symbol, in all words at once, and so on. Kept
 * are: the count of each pair; and a heap of candidates, each with the words
 * in which its pair appeared when it was noted. Counts change only where a
 * merge happened, so a merge costs what the words that hold its pair cost. A
 * candidate whose count is no longer true is put back with the true count.
 *
 * Three habits of the reference (BpeTrainer in Hugging Face's tokenizers)
 * matter for equality and are kept: ties go to the pair of smaller ids; the
 * count of a merged pair itself is not taken back; and when two pairs make the
 * same bytes, the second merge is noted with the id of the first, and a pair
 * that shows up again then is a second candidate beside the first.
 */
#include "tokenize/train_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"

struct posts {
    uint32_t *v;
    uint32_t n, cap;
};

struct count {
    uint64_t key; /* a << 32 | b; EMPTY: free slot */
    int64_t n;
    uint32_t note; /* index + 1 in notes while a merge is under way */
};
#define EMPTY UINT64_MAX

struct cand {
    int64_t n;
    uint64_t key;
    struct posts where;
};

struct word {
    uint64_t off, count;
    uint32_t n;
};

struct trainer {
    struct word *words;
    size_t n_words;
    uint32_t *sym;
    struct count *counts;
    size_t used, mask;
    struct cand *heap;
    size_t n_heap, cap_heap;
    /* pairs that gained words in the merge under way */
    struct note {
        uint64_t key;
        struct posts where;
    } * notes;
    size_t n_notes, cap_notes;
    const struct tok_vocab *v;
    uint64_t max_length;
};

static inline size_t slot_of(uint64_t key, size_t mask)
{
    uint64_t h = key * 0x9E3779B97F4A7C15u;
    h ^= h >> 32;
    return (h * 0xD6E8FEB86659FD93u >> 24) & mask;
}

static void counts_grow(struct trainer *t)
{
    size_t live = 0, size = 1u << 16;
    struct count *old = t->counts;
    size_t n_old = old ? t->mask + 1 : 0;
    for (size_t i = 0; i < n_old; i++)
        live += old[i].key != EMPTY && (old[i].n != 0 || old[i].note);
    while (size < 3 * (live + 1))
        size *= 2;
    t->counts = kj_xmalloc(size * sizeof *t->counts);
    t->mask = size - 1;
    t->used = live;
    for (size_t i = 0; i < size; i++)
        t->counts[i] = (struct count){.key = EMPTY};
    /* Pairs that are gone are left out: absent and zero are the same. */
    for (size_t i = 0; i < n_old; i++) {
        if (old[i].key == EMPTY || (old[i].n == 0 && !old[i].note))
            continue;
        size_t k = slot_of(old[i].key, t->mask);
        while (t->counts[k].key != EMPTY)
            k = (k + 1) & t->mask;
        t->counts[k] = old[i];
    }
    free(old);
}

static int64_t count_get(const struct trainer *t, uint64_t key)
{
    for (size_t i = slot_of(key, t->mask);; i = (i + 1) & t->mask) {
        if (t->counts[i].key == key)
            return t->counts[i].n;
        if (t->counts[i].key == EMPTY)
            return 0;
    }
}

static struct count *count_at(struct trainer *t, uint64_t key)
{
    if (2 * (t->used + 1) > t->mask + 1)
        counts_grow(t);
    for (size_t i = slot_of(key, t->mask);; i = (i + 1) & t->mask) {
        struct count *c = &t->counts[i];
        if (c->key == key)
            return c;
        if (c->key == EMPTY) {
            *c = (struct count){.key = key};
            t->used++;
            return c;
        }
    }
}

static void post(struct posts *p, uint32_t word)
{
    if (p->n && p->v[p->n - 1] == word)
        return; /* words come in order, so equal ones are neighbours */
    if (p->n == p->cap) {
        p->cap = p->cap ? 2 * p->cap : 4;
        p->v = kj_xrealloc(p->v, p->cap * sizeof *p->v);
    }
    p->v[p->n++] = word;
}

static void change(struct trainer *t, uint32_t a, uint32_t b, int64_t by, uint32_t word)
{
    uint64_t key = (uint64_t)a << 32 | b;
    struct count *c = count_at(t, key);
    c->n += by;
    if (by < 0)
        return;
    if (!c->note) {
        if (t->n_notes == t->cap_notes) {
            t->cap_notes = t->cap_notes ? 2 * t->cap_notes : 1024;
            t->notes = kj_xrealloc(t->notes, t->cap_notes * sizeof *t->notes);
        }
        t->notes[t->n_notes++] = (struct note){.key = key};
        c->note = (uint32_t)t->n_notes;
    }
    post(&t->notes[c->note - 1].where, word);
}

/* ---- candidates ---- */

static inline bool before(const struct cand *x, const struct cand *y)
{
    return x->n != y->n ? x->n > y->n : x->key < y->key;
}

static void heap_push(struct trainer *t, struct cand c)
{
    if (t->n_heap == t->cap_heap) {
        t->cap_heap = t->cap_heap ? 2 * t->cap_heap : 1 << 16;
        t->heap = kj_xrealloc(t->heap, t->cap_heap * sizeof *t->heap);
    }
    size_t i = t->n_heap++;
    for (; i > 0 && before(&c, &t->heap[(i - 1) / 2]); i = (i - 1) / 2)
        t->heap[i] = t->heap[(i - 1) / 2];
    t->heap[i] = c;
}

static struct cand heap_pop(struct trainer *t)
{
    struct cand top = t->heap[0], x = t->heap[--t->n_heap];
    size_t i = 0, n = t->n_heap;
    for (size_t k; (k = 2 * i + 1) < n; i = k) {
        if (k + 1 < n && before(&t->heap[k + 1], &t->heap[k]))
            k++;
        if (!before(&t->heap[k], &x))
            break;
        t->heap[i] = t->heap[k];
    }
    if (n)
        t->heap[i] = x;
    return top;
}

/* Turn what the merge noted into candidates. */
static void drain(struct trainer *t)
{
    for (size_t i = 0; i < t->n_notes; i++) {
        struct note *n = &t->notes[i];
        struct count *c = count_at(t, n->key);
        c->note = 0;
        if (c->n > 0)
            heap_push(t, (struct cand){c->n, n->key, n->where});
        else
            free(n->where.v);
    }
    t->n_notes = 0;
}

/* ---- words ---- */

static void start(struct trainer *t, const struct tok_vocab *v, struct tok_words *w)
{
    uint32_t byte[256] = {0};
    for (size_t i = 0; i < v->n; i++)
        if (v->v[i].content.n == 1)
            byte[(unsigned char)v->v[i].content.p[0]] = (uint32_t)i;
    t->words = kj_xmalloc((w->n + 1) * sizeof *t->words);
    t->sym = kj_xmalloc((w->blob_n + 1) * sizeof *t->sym);
    t->n_words = w->n;
    for (size_t i = 0; i < w->n; i++) {
        const struct tok_word *s = &w->v[i];
        t->words[i] = (struct word){s->off, s->count, s->len};
        for (uint32_t k = 0; k < s->len; k++)
            t->sym[s->off + k] = byte[(unsigned char)w->blob[s->off + k]];
    }
    tok_words_release(w);
    counts_grow(t);
    for (size_t i = 0; i < t->n_words; i++) {
        const struct word *x = &t->words[i];
        for (uint32_t k = 0; k + 1 < x->n; k++)
            change(t, t->sym[x->off + k], t->sym[x->off + k + 1], (int64_t)x->count,
                   (uint32_t)i);
    }
    drain(t);
}

/* A pair that would make too long a token is not counted, so it never becomes a
 * candidate; what is taken back from its count does not matter. */
static inline bool fits(const struct trainer *t, uint32_t a, uint32_t b)
{
    return t->v->v[a].content.n + t->v->v[b].content.n <= t->max_length;
}

static void merge_word(struct trainer *t, uint32_t i, uint32_t a, uint32_t b,
                       uint32_t id)
{
    struct word *w = &t->words[i];
    uint32_t *s = t->sym + w->off, m = 0;
    int64_t c = (int64_t)w->count;
    /* s[0..m) is done, s[k..n) is to come; the pair before the new symbol is
     * with what stands there now, as the reference sees it. */
    for (uint32_t k = 0; k < w->n;) {
        if (s[k] != a || k + 1 >= w->n || s[k + 1] != b) {
            s[m++] = s[k++];
            continue;
        }
        if (m > 0) {
            change(t, s[m - 1], a, -c, i);
            if (fits(t, s[m - 1], id))
                change(t, s[m - 1], id, c, i);
        }
        if (k + 2 < w->n) {
            change(t, b, s[k + 2], -c, i);
            if (fits(t, id, s[k + 2]))
                change(t, id, s[k + 2], c, i);
        }
        s[m++] = id;
        k += 2;
    }
    w->n = m;
}

static void note_merge(struct tok_vocab *v, uint32_t a, uint32_t b)
{
    if (v->n_merges == v->cap_merges) {
        v->cap_merges = v->cap_merges ? 2 * v->cap_merges : 4096;
        v->merges = kj_xrealloc(v->merges, v->cap_merges * sizeof *v->merges);
    }
    v->merges[v->n_merges++] = (struct tok_rule){a, b};
}

/* ---- vocabulary ---- */

static void vocab_index(struct tok_vocab *v, uint32_t id, const char *p, size_t n)
{
    if (2 * (v->n + 1) > v->mask) {
        size_t size = v->mask ? 2 * (v->mask + 1) : 4096;
        uint32_t *old = v->table;
        size_t n_old = v->mask ? v->mask + 1 : 0;
        v->table = kj_xcalloc(size, sizeof *v->table);
        v->mask = size - 1;
        for (size_t i = 0; i < n_old; i++) {
            if (!old[i])
                continue;
            struct kj_str c = v->v[old[i] - 1].content;
            size_t k = tok_hash(c.p, c.n) & v->mask;
            while (v->table[k])
                k = (k + 1) & v->mask;
            v->table[k] = old[i];
        }
        free(old);
    }
    size_t k = tok_hash(p, n) & v->mask;
    while (v->table[k])
        k = (k + 1) & v->mask;
    v->table[k] = id + 1;
}

static uint32_t vocab_find(const struct tok_vocab *v, const char *p, size_t n)
{
    for (size_t k = tok_hash(p, n) & v->mask; v->table[k]; k = (k + 1) & v->mask) {
        struct kj_str c = v->v[v->table[k] - 1].content;
        if (c.n == n && memcmp(c.p, p, n) == 0)
            return v->table[k] - 1;
    }
    return TOK_NONE;
}

static uint32_t vocab_new(struct tok_vocab *v, const char *p, size_t n, bool special)
{
    if (v->n == v->cap) {
        v->cap = v->cap ? 2 * v->cap : 1024;
        v->v = kj_xrealloc(v->v, v->cap * sizeof *v->v);
    }
    v->v[v->n] = (struct tok_made){{kj_arena_dup(&v->arena, p, n), n}, special};
    return (uint32_t)v->n++;
}

void tok_vocab_init(struct tok_vocab *v, const struct kj_strs *special)
{
    memset(v, 0, sizeof *v);
    kj_arena_init(&v->arena, (size_t)1 << 34);
    vocab_index(v, 0, "", 0); /* makes the table */
    memset(v->table, 0, (v->mask + 1) * sizeof *v->table);
    for (size_t i = 0; i < special->n; i++) {
        const char *z = special->v[i];
        bool ascii = true;
        for (const char *p = z; *p; p++)
            ascii = ascii && *p > ' ' && *p < 0x7F;
        uint32_t id = vocab_new(v, z, strlen(z), true);
        /* Printable ASCII reads the same in the alphabet, so that a merge may
         * make the very same token. */
        if (ascii)
            vocab_index(v, id, z, strlen(z));
    }
    /* In the order of the characters that stand for the bytes. */
    for (uint32_t c = 0; c < 0x144; c++) {
        int b = tok_char_byte(c);
        char byte[8] = {(char)b}; /* one byte is used */
        if (b >= 0 && vocab_find(v, byte, 1) == TOK_NONE)
            vocab_index(v, vocab_new(v, byte, 1, false), byte, 1);
    }
}

void tok_vocab_release(struct tok_vocab *v)
{
    kj_arena_release(&v->arena);
    free(v->v);
    free(v->table);
    free(v->merges);
    memset(v, 0, sizeof *v);
}

static uint32_t join(struct tok_vocab *v, uint32_t a, uint32_t b)
{
    struct kj_str x = v->v[a].content, y = v->v[b].content;
    char *p = kj_xmalloc(x.n + y.n);
    memcpy(p, x.p, x.n);
    memcpy(p + x.n, y.p, y.n);
    uint32_t id = vocab_find(v, p, x.n + y.n);
    if (id == TOK_NONE) {
        id = vocab_new(v, p, x.n + y.n, false);
        vocab_index(v, id, p, x.n + y.n);
    }
    free(p);
    return id;
}

int tok_train_merges(struct tok_vocab *v, struct tok_words *w,
                     const struct tok_until *until, struct kj_err *err)
{
    const atomic_bool *stop = until->stop;
    struct trainer t = {.v = v,
                        .max_length = until->max_length ? until->max_length : SIZE_MAX};
    int rc = KJ_OK;
    start(&t, v, w);
    while (v->n < until->vocab_size && t.n_heap) {
        struct cand top = heap_pop(&t);
        int64_t now = count_get(&t, top.key);
        if (top.n != now) {
            top.n = now;
            heap_push(&t, top);
            continue;
        }
        if (top.n < 1 || (uint64_t)top.n < until->min_frequency) {
            free(top.where.v);
            break;
        }
        if (stop && atomic_load(stop)) {
            free(top.where.v);
            rc = kj_err_set(err, KJ_FAIL, "interrupted");
            break;
        }
        uint32_t a = (uint32_t)(top.key >> 32), b = (uint32_t)top.key;
        uint32_t id = join(v, a, b);
        note_merge(v, a, b);
        for (uint32_t i = 0; i < top.where.n; i++)
            merge_word(&t, top.where.v[i], a, b, id);
        free(top.where.v);
        drain(&t);
    }
    for (size_t i = 0; i < t.n_heap; i++)
        free(t.heap[i].where.v);
    free(t.heap);
    free(t.notes);
    free(t.counts);
    free(t.words);
    free(t.sym);
    return rc;
}
