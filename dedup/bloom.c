/* bloom.c - the filter, and the reading in order.
 *
 * Workers turn documents into hashes, which takes nearly all of the time; the
 * collector, which sees them in the order of the input, asks and fills the
 * filter. One 64-bit hash an n-gram gives all of its positions, as h1 + i h2
 * (Kirsch, Mitzenmacher, 2006).
 */
#include "dedup/bloom.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/doc.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/stage.h"
#include "base/unicode.h"
#include "dedup/identity.h"
#include "dedup/units.h"

int kj_bloom_init(struct kj_bloom *b, uint64_t expected, double fpr,
                  struct kj_budget *budget, struct kj_err *err)
{
    double ln2 = log(2), per = -log(fpr) / (ln2 * ln2);
    *b = (struct kj_bloom){.expected = expected,
                           .n_bits = (uint64_t)ceil((double)expected * per),
                           .hashes = (unsigned)ceil(per * ln2),
                           .budget = budget};
    b->n_bits = (b->n_bits + 63) / 64 * 64;
    b->bits = kj_budget_calloc(budget, b->n_bits / 64, 8, err);
    return b->bits ? KJ_OK : KJ_FATAL;
}

void kj_bloom_release(struct kj_bloom *b)
{
    if (b->budget)
        kj_budget_free(b->budget, b->bits, b->n_bits / 64, 8);
    *b = (struct kj_bloom){0};
}

/* Position number i of a hash. */
static uint64_t position(const struct kj_bloom *b, uint64_t hash, unsigned i)
{
    uint64_t h2 = (hash ^ hash >> 31) * 0x9E3779B97F4A7C15u | 1;
    return (hash + i * h2) % b->n_bits;
}

bool kj_bloom_has(const struct kj_bloom *b, uint64_t hash)
{
    for (unsigned i = 0; i < b->hashes; i++) {
        uint64_t at = position(b, hash, i);
        if (!(b->bits[at / 64] >> at % 64 & 1))
            return false;
    }
    return true;
}

void kj_bloom_enter(struct kj_bloom *b, uint64_t hash)
{
    bool new = false;
    for (unsigned i = 0; i < b->hashes; i++) {
        uint64_t at = position(b, hash, i), bit = (uint64_t)1 << at % 64;
        new |= !(b->bits[at / 64] & bit);
        b->bits[at / 64] |= bit;
    }
    b->entered += new;
}

/* ---- the reading ---- */

struct found {
    uint32_t check;
    uint32_t *lines; /* n-grams of each line */
    size_t n_lines;
    uint64_t *h; /* of all lines, one behind the other */
};

struct survey {
    const struct kj_bloom_options *o;
    struct kj_units *u;
    struct kj_bloom filter;
    struct kj_buf *words; /* by worker: hashes of a line's words */
    uint64_t ngrams;
};

/* Hashes of a line's words but for white space; their number. */
static size_t hash_words(struct kj_buf *out, const char *p, size_t n)
{
    kj_buf_reset(out);
    for (size_t at = 0, next; at < n; at = next) {
        next = kj_uni_word_next(p, n, at);
        bool blank = true;
        for (size_t i = at; i < next && blank; i++)
            blank = p[i] == ' ' || (p[i] >= '\t' && p[i] <= '\r');
        uint64_t h = kj_hash64(p + at, next - at, 0);
        if (!blank && kj_buf_add(out, (const char *)&h, sizeof h))
            break; /* a line of over a hundred million words: its beginning */
    }
    return out->n / sizeof(uint64_t);
}

static int hash_doc(struct survey *s, struct kj_buf *words, const struct kj_doc *d,
                    struct kj_arena *a, struct found *f)
{
    size_t lines = 1, n = 0, ngram = s->o->ngram;
    for (size_t i = 0; i < d->text.n; i++)
        lines += d->text.p[i] == '\n';
    f->check = kj_dedup_check(d);
    f->lines = kj_arena_alloc(a, lines * sizeof *f->lines);
    /* a word has a byte or more, and white space is none */
    f->h = kj_arena_alloc(a, (d->text.n + 1) * sizeof *f->h);
    if (!f->lines || !f->h)
        return KJ_BAD_RECORD;
    for (size_t at = 0, len; at < d->text.n; at += len) {
        len = kj_units_next(KJ_UNITS_LINE, d->text.p + at, d->text.n - at);
        size_t w = hash_words(words, d->text.p + at, len);
        size_t count = w < ngram ? 0 : w - ngram + 1;
        for (size_t i = 0; i < count; i++)
            f->h[n++] = kj_hash64(words->p + i * 8, ngram * 8, 0);
        f->lines[f->n_lines++] = (uint32_t)count;
    }
    return KJ_OK;
}

static int work(void *ctx, unsigned worker, struct kj_batch *b, struct kj_err *err)
{
    struct survey *s = ctx;
    struct found *f = kj_arena_zalloc(&b->arena, (b->n + 1) * sizeof *f);
    int rc = f ? KJ_OK : KJ_BAD_RECORD;
    b->aux = f;
    for (size_t i = 0; i < b->n && !rc; i++)
        if (kj_doc_kept(&b->docs[i]))
            rc = hash_doc(s, &s->words[worker], &b->docs[i], &b->arena, &f[i]);
    return rc ? kj_err_set(err, KJ_FATAL, "a batch does not fit its memory") : KJ_OK;
}

/* One document: which of its lines go. */
static int judge(struct survey *s, uint64_t doc, const struct found *f,
                 struct kj_err *err)
{
    uint64_t total = 0, known = 0;
    const uint64_t *h = f->h;
    bool *cut = kj_xcalloc(f->n_lines + 1, sizeof *cut);
    for (size_t k = 0; k < f->n_lines; h += f->lines[k++]) {
        uint64_t n = f->lines[k], has = 0;
        for (uint64_t i = 0; i < n; i++)
            has += kj_bloom_has(&s->filter, h[i]);
        total += n;
        known += has;
        cut[k] = (double)has > s->o->threshold * (double)n;
        for (uint64_t i = 0; i < n && !cut[k]; i++)
            kj_bloom_enter(&s->filter, h[i]);
    }
    bool all = (double)known > s->o->threshold * (double)total;
    int rc = KJ_OK;
    for (size_t k = 0; k < f->n_lines && !rc; k++)
        if (cut[k] || all)
            rc = kj_units_add(s->u, doc << 32 | k, err);
    free(cut);
    s->ngrams += total;
    return rc;
}

static int collect(void *ctx, struct kj_batch *b, struct kj_err *err)
{
    struct survey *s = ctx;
    const struct found *f = b->aux;
    int rc = KJ_OK;
    for (size_t i = 0; i < b->n && !rc; i++) {
        if (!f[i].check)
            continue;
        rc = kj_units_doc(s->u, b->docs[i].serial, f[i].check, err);
        if (s->filter.entered > s->filter.expected)
            for (size_t k = 0; k < f[i].n_lines; k++) /* count what is still to come */
                s->ngrams += f[i].lines[k];
        else if (!rc)
            rc = judge(s, b->docs[i].serial, &f[i], err);
    }
    return rc;
}

int kj_bloom_survey(const struct kj_bloom_options *o, struct kj_units *u,
                    struct kj_corpus *corpus, struct kj_err *err)
{
    struct survey s = {.o = o, .u = u};
    unsigned n = corpus->threads ? corpus->threads : 1;
    u->kind = KJ_UNITS_LINE;
    u->budget = (struct kj_budget){.max = corpus->memory, .doing = "the Bloom filter"};
    int rc = kj_bloom_init(&s.filter, o->expected, o->fpr, &u->budget, err);
    if (!rc)
        rc = kj_units_begin(u, corpus->tmp_dir, err);
    s.words = kj_xcalloc(n, sizeof *s.words);
    for (unsigned i = 0; i < n; i++)
        kj_buf_init(&s.words[i], (size_t)1 << 30);
    if (!rc)
        rc = corpus->pass(corpus, &s, work, collect, err);
    if (!rc && s.filter.entered > o->expected)
        rc = kj_err_set(err, KJ_FATAL,
                        "more different n-grams than the %llu of --expected: there are "
                        "%llu n-grams in all, repeated ones included",
                        (unsigned long long)o->expected, (unsigned long long)s.ngrams);
    if (!rc)
        rc = kj_units_finish(u, err);
    for (unsigned i = 0; i < n; i++)
        kj_buf_release(&s.words[i]);
    free(s.words);
    kj_bloom_release(&s.filter);
    return rc;
}
