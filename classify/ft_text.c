/* ft_text.c - a line of text becomes numbers of rows, as fastText does it.
 *
 * Words are runs of bytes between space, \n \r \t \v \f and NUL; an end of line
 * is the word "</s>". A known word gives its row, and with character n-grams
 * (maxn > 0) the rows of the n-grams of "<word>"; an unknown word gives only
 * these; a word with the label prefix gives nothing. Behind all words come the
 * rows of the word n-grams, hashed from the words' own hashes, known or not.
 *
 * Looking a word up costs three dependent reads from tables that do not fit
 * the caches: the slot, the word's offset, its bytes. Words are therefore cut
 * in groups, and each step is done for the whole group with prefetches for the
 * next.
 */
#include "classify/ft_internal.h"

#include <stdlib.h>

#define GROUP      64
#define ROWS_MAX   ((size_t)16 << 20)
#define MULTIPLIER 116049371u

static const bool separator[256] = {
    [' '] = true,  ['\n'] = true, ['\r'] = true, ['\t'] = true,
    ['\v'] = true, ['\f'] = true, [0] = true,
};

struct kj_ft_scratch *kj_ft_scratch_new(const struct kj_ft *m, size_t max_rows)
{
    struct kj_ft_scratch *s = kj_xcalloc(1, sizeof *s);
    size_t labels = m ? (size_t)m->dict.n_labels : 0, dim = m ? (size_t)m->args.dim : 0;
    s->max_rows = max_rows ? max_rows : ROWS_MAX;
    s->toks = kj_xcalloc(GROUP, sizeof *s->toks);
    s->hidden = kj_xcalloc(dim + 16, sizeof *s->hidden);
    s->output = kj_xcalloc(labels + 16, sizeof *s->output);
    s->heap = kj_xcalloc(labels + 2, sizeof *s->heap);
    if (m && m->tree)
        s->stack = kj_xcalloc(labels + 2, sizeof *s->stack);
    return s;
}

void kj_ft_scratch_free(struct kj_ft_scratch *s)
{
    if (!s)
        return;
    free(s->rows);
    free(s->hashes);
    free(s->labels);
    free(s->toks);
    free(s->hidden);
    free(s->output);
    free(s->heap);
    free(s->stack);
    free(s);
}

/* Room for n more numbers; false over max. */
static bool room(int32_t **v, size_t *cap, size_t used, size_t n, size_t max)
{
    if (n > max || used > max - n)
        return false;
    if (used + n > *cap) {
        size_t c = *cap ? *cap : 1024;
        while (c < used + n)
            c *= 2;
        c = c < max ? c : max;
        *v = kj_xrealloc(*v, c * sizeof **v);
        *cap = c;
    }
    return true;
}

static bool add_row(struct kj_ft_scratch *s, int32_t row)
{
    if (s->n_rows == s->cap_rows &&
        !room(&s->rows, &s->cap_rows, s->n_rows, 1, s->max_rows))
        return false;
    s->rows[s->n_rows++] = row;
    return true;
}

/* The row of an n-gram's bucket, unless it was pruned away. */
static bool add_bucket(const struct ft_dict *d, struct kj_ft_scratch *s, uint32_t b)
{
    if (d->n_pruned >= 0) {
        if (d->n_pruned == 0)
            return true;
        if (d->prune_bits && !(d->prune_bits[b / 32] >> (b % 32) & 1))
            return true;
        uint32_t k = ft_spread(b) & d->prune_mask;
        while (d->prune[k].id >= 0 && d->prune[k].hash != b)
            k = (k + 1) & d->prune_mask;
        if (d->prune[k].id < 0)
            return true;
        b = (uint32_t)d->prune[k].id;
    }
    return add_row(s, d->n_words + (int32_t)b);
}

static inline bool continues(char c)
{
    return (c & 0xC0) == 0x80;
}

/* n-grams of "<word>", by code points; single brackets are none. */
static bool add_chars(const struct ft_dict *d, struct kj_ft_scratch *s, const char *w,
                      size_t n)
{
    uint32_t bucket = (uint32_t)d->bucket;
    for (size_t i = 0; i < n + 2; i++) {
        char c = i == 0 ? '<' : i <= n ? w[i - 1] : '>';
        if (continues(c))
            continue;
        uint32_t h = FT_FNV;
        size_t j = i;
        for (int32_t len = 1; j < n + 2 && len <= d->maxn; len++) {
            h = ft_fnv(h, j == 0 ? '<' : j <= n ? w[j - 1] : '>');
            for (j++; j <= n && j > 0 && continues(w[j - 1]); j++)
                h = ft_fnv(h, w[j - 1]);
            if (len >= d->minn && !(len == 1 && (i == 0 || j == n + 2)) &&
                !add_bucket(d, s, h % bucket))
                return false;
        }
    }
    return true;
}

static uint32_t table_size(uint64_t n)
{
    uint32_t t = 8;
    while ((uint64_t)t * 3 < n * 4)
        t *= 2;
    return t;
}

static struct ft_slot *table(uint64_t n, uint32_t *mask)
{
    uint32_t t = table_size(n);
    struct ft_slot *s = kj_xcalloc(t, sizeof *s);
    *mask = t - 1;
    for (uint32_t i = 0; i < t; i++)
        s[i].id = -1;
    return s;
}

/* The last of equal words wins, as in fastText. */
size_t ft_dict_index(struct ft_dict *d, int32_t size)
{
    d->slots = table((uint64_t)size, &d->slot_mask);
    for (int32_t i = 0; i < size; i++) {
        size_t n, n2;
        const char *w = ft_dict_word(d, i, &n), *w2;
        uint32_t h = ft_hash(w, n), k = ft_spread(h) & d->slot_mask;
        for (; d->slots[k].id >= 0; k = (k + 1) & d->slot_mask) {
            w2 = ft_dict_word(d, d->slots[k].id, &n2);
            if (d->slots[k].hash == h && n == n2 && memcmp(w, w2, n) == 0)
                break;
        }
        d->slots[k] = (struct ft_slot){h, i};
    }
    return ((size_t)d->slot_mask + 1) * sizeof *d->slots;
}

/* A table, and if the caller gave room one bit a bucket in front of it, since
 * most n-grams of a pruned model are not kept. */
size_t ft_dict_prune(struct ft_dict *d, const int32_t *from, const int32_t *to)
{
    d->prune = table((uint64_t)d->n_pruned, &d->prune_mask);
    for (int64_t i = 0; i < d->n_pruned; i++) {
        uint32_t b = (uint32_t)from[i], k = ft_spread(b) & d->prune_mask;
        while (d->prune[k].id >= 0 && d->prune[k].hash != b)
            k = (k + 1) & d->prune_mask;
        d->prune[k] = (struct ft_slot){b, to ? to[i] : (int32_t)i};
        if (d->prune_bits)
            d->prune_bits[b / 32] |= 1u << (b % 32);
    }
    return ((size_t)d->prune_mask + 1) * sizeof *d->prune;
}

int32_t ft_dict_find(const struct ft_dict *d, const char *p, size_t n, uint32_t h)
{
    uint32_t k = ft_spread(h) & d->slot_mask;
    for (; d->slots[k].id >= 0; k = (k + 1) & d->slot_mask) {
        if (d->slots[k].hash != h)
            continue;
        size_t wn;
        const char *w = ft_dict_word(d, d->slots[k].id, &wn);
        if (wn == n && memcmp(w, p, n) == 0)
            return d->slots[k].id;
    }
    return -1;
}

/* Cut the next word; its hash comes for free. */
static bool cut_word(const char *p, size_t n, size_t *at, struct ft_tok *t)
{
    size_t i = *at;
    for (; i < n && separator[(unsigned char)p[i]]; i++) {
        if (p[i] == '\n') {
            *at = i + 1;
            *t = (struct ft_tok){FT_EOS, sizeof FT_EOS - 1, 0};
            t->hash = ft_hash(t->p, t->n);
            return true;
        }
    }
    size_t b = i;
    uint32_t h = FT_FNV;
    for (; i < n && !separator[(unsigned char)p[i]]; i++)
        h = ft_fnv(h, p[i]);
    *at = i;
    *t = (struct ft_tok){p + b, i - b, h};
    return i > b;
}

bool ft_text_word(const char *p, size_t n, size_t *at, const char **w, size_t *wn)
{
    struct ft_tok t;
    if (!cut_word(p, n, at, &t))
        return false;
    *w = t.p;
    *wn = t.n;
    return true;
}

static inline bool is_eos(const struct ft_tok *t)
{
    return t->n == sizeof FT_EOS - 1 && memcmp(t->p, FT_EOS, t->n) == 0;
}

/* Up to GROUP words, none behind an end of line. */
static size_t cut_group(const struct ft_dict *d, struct kj_ft_scratch *s, const char *p,
                        size_t n, bool eol, size_t *at, bool *end)
{
    size_t k = 0;
    while (k < GROUP && !*end) {
        struct ft_tok *t = &s->toks[k];
        if (!cut_word(p, n, at, t)) {
            *end = true;
            if (!eol)
                break;
            *t = (struct ft_tok){FT_EOS, sizeof FT_EOS - 1, 0};
            t->hash = ft_hash(t->p, t->n);
        }
        __builtin_prefetch(&d->slots[ft_spread(t->hash) & d->slot_mask]);
        *end = *end || is_eos(t);
        k++;
    }
    return k;
}

/* One word whose number was looked up. */
static bool add_word(const struct ft_dict *d, struct kj_ft_scratch *s,
                     const struct ft_tok *t, int32_t id)
{
    if (id >= d->n_words) {
        if (!room(&s->labels, &s->cap_labels, s->n_labels, 1, s->max_rows))
            return false;
        s->labels[s->n_labels++] = id - d->n_words;
        return true;
    }
    if (id < 0 && t->n >= d->prefix_n && memcmp(t->p, d->prefix, d->prefix_n) == 0)
        return true; /* a label that the model does not know */
    if (d->word_ngrams > 1) {
        if (!room(&s->hashes, &s->cap_hashes, s->n_hashes, 1, s->max_rows))
            return false;
        s->hashes[s->n_hashes++] = (int32_t)t->hash;
    }
    if (id >= 0 && !add_row(s, id))
        return false;
    return d->maxn <= 0 || is_eos(t) || add_chars(d, s, t->p, t->n);
}

/* The signed 32-bit hashes are widened WITH their sign to 64 bits. */
static bool add_word_ngrams(const struct ft_dict *d, struct kj_ft_scratch *s)
{
    for (size_t i = 0; i < s->n_hashes; i++) {
        uint64_t h = (uint64_t)(int64_t)s->hashes[i];
        size_t last = i + (size_t)d->word_ngrams;
        for (size_t j = i + 1; j < s->n_hashes && j < last; j++) {
            h = h * MULTIPLIER + (uint64_t)(int64_t)s->hashes[j];
            if (!add_bucket(d, s, (uint32_t)(h % (uint64_t)d->bucket)))
                return false;
        }
    }
    return true;
}

/* Where the table may hold the word: the first slot with its hash. */
static int32_t candidate(const struct ft_dict *d, uint32_t h)
{
    uint32_t k = ft_spread(h) & d->slot_mask;
    while (d->slots[k].id >= 0 && d->slots[k].hash != h)
        k = (k + 1) & d->slot_mask;
    return d->slots[k].id;
}

int ft_text_line(const struct ft_dict *d, struct kj_ft_scratch *s, const char *p,
                 size_t n, bool eol, size_t *used, int64_t *tokens, struct kj_err *err)
{
    size_t at = 0;
    bool end = false, fits = true;
    int32_t ids[GROUP];
    s->n_rows = s->n_hashes = s->n_labels = 0;
    *tokens = 0;
    while (!end && fits) {
        size_t k = cut_group(d, s, p, n, eol, &at, &end);
        for (size_t i = 0; i < k; i++) {
            ids[i] = candidate(d, s->toks[i].hash);
            if (ids[i] >= 0)
                __builtin_prefetch(&d->offs[ids[i]]);
        }
        for (size_t i = 0; i < k; i++)
            if (ids[i] >= 0)
                __builtin_prefetch(d->text + d->offs[ids[i]]);
        for (size_t i = 0; i < k && fits; i++) {
            const struct ft_tok *t = &s->toks[i];
            if (ids[i] >= 0) {
                size_t wn;
                const char *w = ft_dict_word(d, ids[i], &wn);
                if (wn != t->n || memcmp(w, t->p, wn) != 0)
                    ids[i] = ft_dict_find(d, t->p, t->n, t->hash);
            }
            fits = add_word(d, s, t, ids[i]);
        }
        *tokens += (int64_t)k;
    }
    if (used)
        *used = at;
    if (!fits || !add_word_ngrams(d, s))
        return kj_err_set(err, KJ_BAD_RECORD, "a text has more than %zu features",
                          s->max_rows);
    return KJ_OK;
}
