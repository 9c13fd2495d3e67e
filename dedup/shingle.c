/* shingle.c - units, n-grams and their hashes; sets and their similarity.
 *
 * The units lie one behind the other in one buffer with a single space in
 * between (syllables: with nothing), so an n-gram is a contiguous run of bytes
 * and is hashed where it lies.
 */
#include "dedup/shingle.h"

#include <stdbool.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/err.h"
#include "base/unicode.h"
#include "dedup/normal.h"

/* A document is at most 64 MiB of UTF-8; jamo are three times as long, and an
 * offset or a hash per byte is the worst case. */
#define CAP ((size_t)1 << 30)

void kj_shingler_init(struct kj_shingler *s)
{
    *s = (struct kj_shingler){.h = NULL};
    kj_buf_init(&s->norm, CAP);
    kj_buf_init(&s->run, CAP);
    kj_buf_init(&s->tokens, CAP);
    kj_buf_init(&s->ends, CAP);
    kj_buf_init(&s->hashes, CAP);
}

void kj_shingler_release(struct kj_shingler *s)
{
    kj_buf_release(&s->norm);
    kj_buf_release(&s->run);
    kj_buf_release(&s->tokens);
    kj_buf_release(&s->ends);
    kj_buf_release(&s->hashes);
}

/* Hangul syllables are EA B0 80 to ED 9E A3; what else starts with these bytes
 * (rare scripts, and a few old jamo) does not matter for a share. */
enum kj_shingle_unit kj_shingle_unit_of(const char *p, size_t n)
{
    size_t latin = 0, hangul = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)p[i];
        latin += (unsigned char)((c | 32) - 'a') < 26;
        hangul += c >= 0xEA && c <= 0xED;
    }
    return hangul && (double)hangul >= KJ_SHINGLE_HANGUL * (double)(hangul + latin)
               ? KJ_UNIT_SYLLABLE
               : KJ_UNIT_WORD;
}

/* Note the unit [from,to) of the text that is being split. */
static inline void add_unit(struct kj_buf *b, size_t from, size_t to)
{
    uint32_t v[2] = {(uint32_t)from, (uint32_t)to};
    memcpy(b->p + b->n, v, sizeof v);
    b->n += sizeof v;
}

/* Units between single spaces; there is room for one per two bytes. */
static int split_spaces(struct kj_shingler *s, const char *p, size_t n)
{
    int rc = kj_buf_reserve(&s->ends, (n / 2 + 1) * 8);
    if (rc)
        return rc;
    for (size_t at = 0; at < n;) {
        const char *sp = memchr(p + at, ' ', n - at);
        size_t end = sp ? (size_t)(sp - p) : n;
        if (end > at)
            add_unit(&s->ends, at, end);
        at = end + 1;
    }
    return KJ_OK;
}

static bool all_ascii(const char *p, size_t n)
{
    unsigned char any = 0;
    for (size_t i = 0; i < n; i++)
        any |= (unsigned char)p[i];
    return any < 0x80;
}

/* Copy the normal form to tokens with a space at every word boundary. */
static int split_words(struct kj_shingler *s)
{
    const char *p = s->norm.p;
    size_t n = s->norm.n;
    kj_buf_reset(&s->tokens);
    int rc = kj_buf_reserve(&s->tokens, 2 * n + 1);
    if (rc)
        return rc;
    char *w = s->tokens.p;
    for (size_t at = 0; at < n;) {
        const char *sp = memchr(p + at, ' ', n - at);
        size_t end = sp ? (size_t)(sp - p) : n;
        bool plain = all_ascii(p + at, end - at);
        while (at < end) {
            size_t to = plain ? end : at + kj_uni_word_next(p + at, end - at, 0);
            memcpy(w, p + at, to - at);
            w += to - at;
            *w++ = ' ';
            at = to;
        }
        at = end + 1;
    }
    s->tokens.n = (size_t)(w - s->tokens.p);
    if (s->tokens.n)
        s->tokens.n--;
    return KJ_OK;
}

/* Squeeze out the spaces; every character is a unit. */
static int split_syllables(struct kj_shingler *s)
{
    char *p = s->norm.p;
    size_t n = 0, chars = 0;
    for (size_t i = 0; i < s->norm.n; i++) {
        p[n] = p[i];
        n += p[i] != ' ';
        chars += p[i] != ' ' && ((unsigned char)p[i] & 0xC0) != 0x80;
    }
    s->norm.n = n;
    int rc = kj_buf_reserve(&s->ends, (chars + 1) * 8);
    for (size_t i = 0, from = 0; !rc && i < n; from = i) {
        i++;
        while (i < n && ((unsigned char)p[i] & 0xC0) == 0x80)
            i++;
        add_unit(&s->ends, from, i);
    }
    return rc;
}

/* Fills s->norm or s->tokens, and s->ends; *text is the one to hash. */
static int split(struct kj_shingler *s, enum kj_shingle_unit unit, const char *p,
                 size_t n, const struct kj_buf **text)
{
    unsigned flags =
        KJ_NORMAL_NUMBERS | (unit == KJ_UNIT_SYLLABLE ? KJ_NORMAL_COMPOSED : 0);
    kj_buf_reset(&s->norm);
    kj_buf_reset(&s->ends);
    int rc = kj_dedup_normalize(&s->norm, &s->run, flags, p, n);
    if (rc)
        return rc;
    *text = &s->norm;
    if (unit == KJ_UNIT_SYLLABLE)
        return split_syllables(s);
    if (unit == KJ_UNIT_WORD && !all_ascii(s->norm.p, s->norm.n)) {
        rc = split_words(s);
        *text = &s->tokens;
    }
    return rc ? rc : split_spaces(s, (*text)->p, (*text)->n);
}

int kj_shingler_run(struct kj_shingler *s, enum kj_shingle_unit unit, unsigned ngram,
                    const char *p, size_t n, struct kj_err *err)
{
    if (unit == KJ_UNIT_AUTO)
        unit = kj_shingle_unit_of(p, n);
    if (ngram == 0)
        ngram = unit == KJ_UNIT_SYLLABLE ? 8 : 5;
    const struct kj_buf *text = &s->norm;
    s->n = 0;
    kj_buf_reset(&s->hashes);
    int rc = split(s, unit, p, n, &text);
    size_t units = s->ends.n / 8;
    size_t count = units == 0 ? 0 : units < ngram ? 1 : units - ngram + 1;
    if (rc == KJ_OK)
        rc = kj_buf_reserve(&s->hashes, count * 8);
    if (rc)
        return kj_err_set(err, rc, "text of %zu bytes is too long to be shingled", n);
    s->h = (uint64_t *)(void *)s->hashes.p;
    const uint32_t *e = (const uint32_t *)(const void *)s->ends.p;
    size_t last = units < ngram ? units - 1 : ngram - 1;
    for (size_t i = 0; i < count; i++) {
        size_t from = e[2 * i], to = e[2 * (i + last) + 1];
        s->h[i] = XXH64(text->p + from, to - from, 0);
    }
    s->n = count;
    return KJ_OK;
}

int kj_shingler_set(struct kj_shingler *s, struct kj_err *err)
{
    s->hashes.n = s->n * 8;
    int rc = kj_buf_reserve(&s->hashes, s->n * 8);
    if (rc)
        return kj_err_set(err, rc, "set of %zu shingles is too large", s->n);
    s->h = (uint64_t *)(void *)s->hashes.p;
    s->n = kj_shingle_sort(s->h, s->h + s->n, s->n);
    return KJ_OK;
}

static void insertion_sort(uint64_t *v, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        uint64_t x = v[i];
        size_t j = i;
        for (; j && v[j - 1] > x; j--)
            v[j] = v[j - 1];
        v[j] = x;
    }
}

/* Distribute by the top bits (hashes are even there), then finish the small
 * parts: two touches per element instead of one per digit. */
static void bucket_sort(uint64_t *v, uint64_t *tmp, size_t n)
{
    enum { BITS = 8, PARTS = 1 << BITS };
    size_t at[PARTS + 1] = {0};
    uint64_t any = 0, all = ~(uint64_t)0;
    for (size_t i = 0; i < n; i++) {
        any |= v[i];
        all &= v[i];
    }
    if (any == all)
        return;
    int top = 63 - __builtin_clzll(any ^ all); /* highest bit that differs */
    int shift = top >= BITS ? top - BITS + 1 : 0;
    for (size_t i = 0; i < n; i++)
        at[(v[i] >> shift & (PARTS - 1)) + 1]++;
    for (size_t k = 0; k < PARTS; k++)
        at[k + 1] += at[k];
    size_t put[PARTS];
    memcpy(put, at, sizeof put);
    for (size_t i = 0; i < n; i++)
        tmp[put[v[i] >> shift & (PARTS - 1)]++] = v[i];
    memcpy(v, tmp, n * sizeof *v);
    for (size_t k = 0; k < PARTS; k++) {
        size_t m = at[k + 1] - at[k];
        if (m > 24 && shift)
            bucket_sort(v + at[k], tmp + at[k], m);
        else if (shift)
            insertion_sort(v + at[k], m);
    }
}

size_t kj_shingle_sort(uint64_t *v, uint64_t *tmp, size_t n)
{
    if (n > 24)
        bucket_sort(v, tmp, n);
    else
        insertion_sort(v, n);
    size_t w = 0;
    for (size_t i = 0; i < n; i++)
        if (i == 0 || v[i] != v[i - 1])
            v[w++] = v[i];
    return w;
}

double kj_shingle_jaccard(const uint64_t *a, size_t na, const uint64_t *b, size_t nb,
                          double least)
{
    if (na == 0 || nb == 0)
        return least > 0 ? -1 : 0;
    size_t lo = na < nb ? na : nb, hi = na < nb ? nb : na;
    if ((double)lo + 0.5 < least * (double)hi) /* J <= lo / hi; rounding is safe */
        return -1;
    /* With c common, J = c / (na + nb - c) >= least asks for
     * c >= least (na + nb) / (1 + least): at most `spare` of a may be alone.
     * The slack of one keeps rounding on the safe side. */
    double need = least * (double)(na + nb) / (1 + least) - 1;
    size_t alone = 0, spare = need < 0 ? na : na - (size_t)need;
    size_t i = 0, j = 0, common = 0;
    while (i < na && j < nb) {
        uint64_t x = a[i], y = b[j];
        common += x == y;
        alone += x < y;
        i += x <= y;
        j += y <= x;
        if (alone > spare)
            return -1;
    }
    double sim = (double)common / (double)(na + nb - common);
    return sim >= least ? sim : -1;
}

double kj_shingle_contained(const uint64_t *a, size_t na, const uint64_t *b, size_t nb,
                            double least)
{
    if (na == 0 || nb == 0)
        return least > 0 ? -1 : 0;
    /* as above: at most `spare` of a may be missing in b */
    double need = least * (double)na - 1;
    size_t alone = 0, spare = need < 0 ? na : na - (size_t)need;
    size_t i = 0, j = 0, common = 0;
    while (i < na && j < nb) {
        uint64_t x = a[i], y = b[j];
        common += x == y;
        alone += x < y;
        i += x <= y;
        j += y <= x;
        if (alone > spare)
            return -1;
    }
    double sim = (double)common / (double)na;
    return sim >= least ? sim : -1;
}
