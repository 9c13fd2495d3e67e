/* ft_vocab.c - the dictionary of a training text.
 *
 * One pass counts every word and label; what is too rare goes; the rest is
 * sorted: words before labels, frequent before rare, and equally frequent ones
 * in the order in which they first occur, so that the numbering is a function
 * of the text. Words point into the text until the end, when the kept ones are
 * copied side by side.
 */
#include "classify/ft_internal.h"

#include <stdlib.h>

#define WORDS_MAX 30000000 /* fastText's limit; rare words go at 3/4 of it */

struct word {
    const char *p;
    uint64_t n : 63;
    uint64_t label : 1;
    int64_t count;
    uint32_t hash;
    uint32_t order; /* of first occurrence */
};

struct counter {
    struct word *w;
    size_t n, cap;
    int32_t *slots;
    uint32_t mask;
    uint32_t seen;
    const char *prefix;
    size_t prefix_n;
};

static void put(struct counter *c, int32_t i)
{
    uint32_t k = ft_spread(c->w[i].hash) & c->mask;
    while (c->slots[k] >= 0)
        k = (k + 1) & c->mask;
    c->slots[k] = i;
}

static void rehash(struct counter *c, uint32_t size)
{
    free(c->slots);
    c->slots = kj_xmalloc(size * sizeof *c->slots);
    memset(c->slots, 0xFF, size * sizeof *c->slots);
    c->mask = size - 1;
    for (size_t i = 0; i < c->n; i++)
        put(c, (int32_t)i);
}

static void count_word(struct counter *c, const char *p, size_t n, uint32_t h)
{
    uint32_t k = ft_spread(h) & c->mask;
    for (; c->slots[k] >= 0; k = (k + 1) & c->mask) {
        struct word *w = &c->w[c->slots[k]];
        if (w->hash == h && w->n == n && memcmp(w->p, p, n) == 0) {
            w->count++;
            return;
        }
    }
    if (c->n == c->cap) {
        c->cap = c->cap ? c->cap * 2 : 4096;
        c->w = kj_xrealloc(c->w, c->cap * sizeof *c->w);
    }
    c->w[c->n] =
        (struct word){.p = p, .n = n, .count = 1, .hash = h, .order = c->seen++};
    c->w[c->n].label = n >= c->prefix_n && memcmp(p, c->prefix, c->prefix_n) == 0;
    c->slots[k] = (int32_t)c->n++;
    if (c->n * 4 > (size_t)c->mask * 3)
        rehash(c, (c->mask + 1) * 2);
}

static void drop_rare(struct counter *c, int64_t words, int64_t labels)
{
    size_t n = 0;
    for (size_t i = 0; i < c->n; i++)
        if (c->w[i].count >= (c->w[i].label ? labels : words))
            c->w[n++] = c->w[i];
    c->n = n;
    rehash(c, c->mask + 1);
}

static int by_rank(const void *pa, const void *pb)
{
    const struct word *a = pa, *b = pb;
    if (a->label != b->label)
        return a->label ? 1 : -1;
    if (a->count != b->count)
        return a->count > b->count ? -1 : 1;
    return a->order < b->order ? -1 : 1;
}

static void finish(struct ft_vocab *v, struct counter *c)
{
    size_t bytes = 0, at = 0;
    if (c->n)
        qsort(c->w, c->n, sizeof *c->w, by_rank);
    for (size_t i = 0; i < c->n; i++)
        bytes += c->w[i].n + 1;
    v->pool = kj_xmalloc(bytes + 1);
    v->offs = kj_xcalloc(c->n + 1, sizeof *v->offs);
    v->counts = kj_xcalloc(c->n + 1, sizeof *v->counts);
    for (size_t i = 0; i < c->n; i++) {
        struct word *w = &c->w[i];
        v->offs[i] = at;
        memcpy(v->pool + at, w->p, w->n);
        v->pool[at + w->n] = 0;
        at += w->n + 1;
        v->counts[i] = w->count;
        *(w->label ? &v->dict.n_labels : &v->dict.n_words) += 1;
    }
    v->offs[c->n] = at;
    v->dict.text = v->pool;
    v->dict.offs = v->offs;
    v->dict.n_pruned = -1;
    ft_dict_index(&v->dict, (int32_t)c->n);
}

int ft_vocab_build(struct ft_vocab *v, const struct kj_ft_train *o, const char *p,
                   size_t n, struct kj_err *err)
{
    struct counter c = {.prefix = o->label_prefix, .prefix_n = strlen(o->label_prefix)};
    const char *w;
    size_t at = 0, wn;
    int64_t rare = 1;
    memset(v, 0, sizeof *v);
    rehash(&c, 1 << 16);
    while (ft_text_word(p, n, &at, &w, &wn)) {
        count_word(&c, w, wn, ft_hash(w, wn));
        v->n_tokens++;
        while (c.n > WORDS_MAX / 4 * 3) {
            rare++;
            drop_rare(&c, rare, rare);
        }
    }
    drop_rare(&c, o->min_count, o->min_count_label);
    v->dict.word_ngrams = (int32_t)o->word_ngrams;
    v->dict.bucket = (int32_t)o->bucket;
    v->dict.minn = (int32_t)o->minn;
    v->dict.maxn = (int32_t)o->maxn;
    v->dict.prefix = o->label_prefix;
    v->dict.prefix_n = c.prefix_n;
    finish(v, &c);
    free(c.w);
    free(c.slots);
    if (v->dict.n_words == 0)
        return kj_err_set(err, KJ_FAIL,
                          "no word occurs %lld times: a smaller --min-count?",
                          (long long)o->min_count);
    if (v->dict.n_labels == 0)
        return kj_err_set(err, KJ_FAIL, "no label: no word begins with \"%s\"",
                          o->label_prefix);
    return KJ_OK;
}

void ft_vocab_release(struct ft_vocab *v)
{
    free(v->pool);
    free(v->offs);
    free(v->counts);
    free(v->dict.slots);
    memset(v, 0, sizeof *v);
}
