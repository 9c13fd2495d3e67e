/* Passages that repeat, against the definition (all windows sorted) and, where
 * libdivsufsort is, against a suffix array. */
#include "base/doc.h"
#include "base/err.h"
#include "base/stage.h"
#include "base/unicode.h"
#include "base/utf8.h"
#include "dedup/substring.h"
#include "tests/unit/test.h"

#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>
#if __has_include(<divsufsort.h>)
#include <divsufsort.h>
#define HAVE_SUFFIX_ARRAYS
#endif

static uint64_t rng_state = 11;
static uint64_t rng(void)
{
    rng_state += 0x9E3779B97F4A7C15u;
    uint64_t z = rng_state;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

/* ---- corpora ---- */

struct text {
    char id[24];
    char *p;
    size_t n;
};

struct mem {
    struct text *v;
    size_t n, per_batch;
    size_t *order;
    const char *dir;
};

static void fill(const struct mem *m, struct kj_batch *b, size_t at, size_t n)
{
    kj_batch_reset(b);
    for (size_t i = 0; i < n; i++) {
        const struct text *t = &m->v[m->order[at + i]];
        struct kj_doc *d = kj_batch_add(b);
        d->id = kj_str_z(t->id);
        d->text = (struct kj_str){t->p, t->n};
        d->serial = at + i;
    }
}

static int pass(struct kj_corpus *c, void *ctx,
                int (*work)(void *, unsigned, struct kj_batch *, struct kj_err *),
                int (*collect)(void *, struct kj_batch *, struct kj_err *),
                struct kj_err *err)
{
    struct mem *m = c->self;
    struct kj_batch b;
    kj_batch_init(&b);
    int rc = KJ_OK;
    for (size_t at = 0, k = 0; at < m->n && !rc; at += m->per_batch, k++) {
        fill(m, &b, at, m->n - at < m->per_batch ? m->n - at : m->per_batch);
        rc = work(ctx, (unsigned)(k % c->threads), &b, err);
        if (!rc)
            rc = collect(ctx, &b, err);
    }
    kj_batch_release(&b);
    return rc;
}

/* What is left of each text, by index in v; and that every span's copy is one. */
static void run(struct mem *m, struct kj_substring *s, int64_t memory,
                struct kj_str *left)
{
    struct kj_err err = KJ_ERR_INIT;
    struct kj_corpus c = {
        .self = m, .threads = 2, .memory = memory, .pass = pass, .tmp_dir = m->dir};
    struct kj_substring_reader r = {0};
    struct kj_batch b;
    kj_batch_init(&b);
    if (!CHECK_INT(kj_substring_survey(s, &c, &err), KJ_OK))
        printf("     %s\n", err.msg);
    for (size_t i = 0; i < m->n; i++) {
        fill(m, &b, i, 1);
        b.docs[0].serial = i;
        struct kj_str out;
        size_t cut, sum = 0, last = 0;
        CHECK_INT(kj_substring_cut(s, &r, &b, &b.docs[0], &out, &cut, &err), KJ_OK);
        for (size_t k = 0; k < r.n; k++) {
            const struct kj_removed *e = &r.v[k];
            const struct text *t = m->v;
            while (!kj_str_is(e->keeper, t->id))
                t++;
            if (!s->words)
                CHECK(e->offset + e->n <= t->n &&
                      memcmp(t->p + e->offset, b.docs[0].text.p + e->at, e->n) == 0);
            CHECK(e->n > 0 && e->at >= last);
            last = e->at + e->n;
            sum += e->n;
        }
        CHECK_INT(sum, cut);
        CHECK_INT(out.n + cut, b.docs[0].text.n);
        char *copy = malloc(out.n + 1);
        memcpy(copy, out.p, out.n);
        left[m->order[i]] = (struct kj_str){copy, out.n};
    }
    kj_batch_release(&b);
    kj_substring_reader_release(&r);
    CHECK_INT(s->budget.peak <= memory || !memory, 1);
    kj_substring_release(s);
    CHECK_INT(s->budget.used, 0);
}

static void free_left(struct kj_str *left, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free((void *)(uintptr_t)left[i].p);
    free(left);
}

/* Letters of an alphabet, with pieces of itself and of earlier texts. */
static char *make_text(const struct mem *m, size_t at, size_t n, unsigned letters,
                       const char *const *alphabet, size_t *out_n)
{
    char *p = malloc(n + 400);
    size_t k = 0;
    while (k < n) {
        size_t len = 1 + rng() % (rng() % 4 ? 12 : 60);
        if (rng() % 3 == 0 && (at || k > 4)) {
            const struct text *t = &m->v[at ? rng() % at : 0];
            const char *from = at && rng() % 3 ? t->p : p;
            size_t have = from == p ? k : t->n, start = have ? rng() % have : 0;
            while (start && (from[start] & 0xC0) == 0x80)
                start--;
            if (len > have - start)
                len = have - start;
            while (start + len < have && (from[start + len] & 0xC0) == 0x80)
                len++;
            memmove(p + k, from + start, len);
            k += len;
        } else {
            bool again = rng() % 5 == 0; /* a period */
            const char *one = alphabet[rng() % letters];
            for (size_t i = 0; i < len && k < n; i++) {
                const char *c = again ? one : alphabet[rng() % letters];
                memcpy(p + k, c, strlen(c));
                k += strlen(c);
            }
        }
    }
    *out_n = k;
    return p;
}

static void make_corpus(struct mem *m, size_t n, size_t size, unsigned letters,
                        const char *const *alphabet, const char *dir)
{
    m->n = n;
    m->dir = dir;
    m->per_batch = 3;
    m->v = calloc(n, sizeof *m->v);
    m->order = calloc(n, sizeof *m->order);
    for (size_t i = 0; i < n; i++) {
        m->order[i] = i;
        snprintf(m->v[i].id, sizeof m->v[i].id, "t%05zu", i);
        m->v[i].p = make_text(m, i, rng() % 8 ? rng() % size : 0, letters, alphabet,
                              &m->v[i].n);
    }
}

static void shuffle(struct mem *m)
{
    for (size_t i = m->n; i > 1; i--) {
        size_t k = rng() % i, t = m->order[i - 1];
        m->order[i - 1] = m->order[k];
        m->order[k] = t;
    }
}

static void free_corpus(struct mem *m)
{
    for (size_t i = 0; i < m->n; i++)
        free(m->v[i].p);
    free(m->v);
    free(m->order);
}

/* ---- the definition ---- */

struct place {
    const char *p;
    size_t doc, at; /* doc: number in the order of keepers */
};

static size_t window_now;

static int by_content(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    int r = memcmp(x->p, y->p, window_now);
    if (r)
        return r;
    if (x->doc != y->doc)
        return x->doc < y->doc ? -1 : 1;
    return (x->at > y->at) - (x->at < y->at);
}

static const struct text *texts_now;

/* Longest first, then by id. */
static int by_keeper(const void *a, const void *b)
{
    const struct text *x = &texts_now[*(const size_t *)a];
    const struct text *y = &texts_now[*(const size_t *)b];
    if (x->n != y->n)
        return x->n > y->n ? -1 : 1;
    return strcmp(x->id, y->id);
}

static size_t *keeper_order(const struct mem *m)
{
    size_t *order = calloc(m->n, sizeof *order);
    for (size_t i = 0; i < m->n; i++)
        order[i] = i;
    texts_now = m->v;
    qsort(order, m->n, sizeof *order, by_keeper);
    return order;
}

/* Bytes that go, marked in a flag per byte of each text. */
static char **mark_naive(const struct mem *m, size_t window)
{
    size_t *order = keeper_order(m), total = 0, n = 0;
    char **gone = calloc(m->n, sizeof *gone);
    for (size_t i = 0; i < m->n; i++) {
        gone[i] = calloc(m->v[i].n + 1, 1);
        total += m->v[i].n;
    }
    struct place *v = calloc(total + 1, sizeof *v);
    for (size_t i = 0; i < m->n; i++) {
        const struct text *t = &m->v[order[i]];
        for (size_t at = 0; at + window <= t->n; at++)
            v[n++] = (struct place){t->p + at, i, at};
    }
    window_now = window;
    qsort(v, n, sizeof *v, by_content);
    for (size_t i = 0, first = 0; i < n; i++) {
        if (memcmp(v[i].p, v[first].p, window) != 0)
            first = i;
        if (i != first && (v[i].doc != v[first].doc || v[i].at - v[first].at >= window))
            memset(gone[order[v[i].doc]] + v[i].at, 1, window);
    }
    free(v);
    free(order);
    return gone;
}

/* Make each stretch of marks begin and end between characters. */
static void trim_marks(const struct text *t, char *gone)
{
    for (size_t i = 0; i < t->n; i++)
        if (gone[i] && (i == 0 || !gone[i - 1]))
            for (size_t k = i; k < t->n && gone[k] && (t->p[k] & 0xC0) == 0x80; k++)
                gone[k] = 0;
    for (size_t i = t->n; i-- > 0;)
        if (gone[i] && i + 1 < t->n && !gone[i + 1] && (t->p[i + 1] & 0xC0) == 0x80) {
            size_t k = i;
            while ((t->p[k] & 0xC0) == 0x80 && gone[k])
                gone[k--] = 0;
            gone[k] = 0; /* its first byte */
        }
}

static size_t compare(const struct mem *m, char **gone, const struct kj_str *left)
{
    size_t wrong = 0;
    for (size_t i = 0; i < m->n; i++) {
        const struct text *t = &m->v[i];
        trim_marks(t, gone[i]);
        char *p = malloc(t->n + 1);
        size_t n = 0;
        for (size_t k = 0; k < t->n; k++)
            if (!gone[i][k])
                p[n++] = t->p[k];
        wrong += n != left[i].n || (n && memcmp(p, left[i].p, n) != 0);
        free(p);
        free(gone[i]);
    }
    free(gone);
    return wrong;
}

static const char *const latin[] = {"a", "b", "c", "d", "e", "f", "g", " ",
                                    "h", "i", "j", "k", "l", "m", "n", "."};
static const char *const korean[] = {"가", "나", "다", "라", " ", "마", "바", "각"};

static void test_definition(const char *dir)
{
    static const size_t windows[] = {1, 2, 3, 8, 9, 16, 33, 64, 150};
    size_t removed = 0, kept = 0;
    for (unsigned round = 0; round < 180; round++) {
        size_t window = windows[round % 9];
        struct mem m;
        if (round % 4 == 3)
            make_corpus(&m, 1 + rng() % 20, 400, 1 + (unsigned)(rng() % 8), korean,
                        dir);
        else
            make_corpus(&m, 1 + rng() % 30, round % 3 ? 150 : 900,
                        1 + (unsigned)(rng() % 16), latin, dir);
        struct kj_str *left = calloc(m.n, sizeof *left);
        shuffle(&m);
        struct kj_substring s = {.window = window};
        run(&m, &s, 16 << 20, left);
        if (!CHECK_INT(compare(&m, mark_naive(&m, window), left), 0))
            printf("     round %u, window %zu\n", round, window);
        for (size_t i = 0; i < m.n; i++) {
            kept += left[i].n;
            removed += m.v[i].n - left[i].n;
            CHECK(kj_utf8_valid(left[i].p, left[i].n) == left[i].n);
        }
        free_left(left, m.n);
        free_corpus(&m);
    }
    CHECK(removed > kept / 20 && kept > removed / 20);
}

/* The same in little memory (all sorting in runs), in another order. */
static void test_memory(const char *dir)
{
    struct mem m;
    make_corpus(&m, 600, 4000, 4, latin, dir);
    struct kj_str *a = calloc(m.n, sizeof *a), *b = calloc(m.n, sizeof *b);
    struct kj_substring s = {.window = 40};
    run(&m, &s, 64 << 20, a);
    s = (struct kj_substring){.window = 40};
    shuffle(&m);
    m.per_batch = 7;
    run(&m, &s, 3 << 20, b);
    CHECK(s.windows * 32 > 3 << 20); /* its buffer is a quarter of the memory */
    size_t wrong = 0;
    for (size_t i = 0; i < m.n; i++)
        wrong += a[i].n != b[i].n || memcmp(a[i].p, b[i].p, a[i].n) != 0;
    CHECK_INT(wrong, 0);
    free_left(a, m.n);
    free_left(b, m.n);
    free_corpus(&m);
}

static struct kj_str one(const char *const *texts, struct kj_substring s,
                         const char *dir, size_t which)
{
    static char buf[4][4096];
    static unsigned turn;
    struct mem m = {.per_batch = 2, .dir = dir};
    for (; texts[m.n]; m.n++)
        ;
    m.v = calloc(m.n, sizeof *m.v);
    m.order = calloc(m.n, sizeof *m.order);
    struct kj_str *left = calloc(m.n, sizeof *left);
    for (size_t i = 0; i < m.n; i++) {
        m.order[i] = i;
        snprintf(m.v[i].id, sizeof m.v[i].id, "%zu", i);
        m.v[i].n = strlen(texts[i]);
        m.v[i].p = (char *)(uintptr_t)texts[i];
    }
    run(&m, &s, 16 << 20, left);
    char *p = buf[turn++ % 4];
    struct kj_str out = {p, left[which].n};
    memcpy(p, left[which].p, left[which].n);
    free_left(left, m.n);
    free(m.v);
    free(m.order);
    return out;
}

static void test_edges(const char *dir)
{
    /* 1 repeats the middle of 0, from within a sentence to within another */
    const char *texts[] = {
        "First it began. The sea was high, and the wind stood from the north. "
        "\"Go on!\" said he. Nobody went. And so it ended, long after all.",
        "Nor was the sea was high, and the wind stood from the north. "
        "\"Go on!\" said he. Nobody went. And so what.",
        NULL};
    struct kj_substring s = {.window = 24, .edge = KJ_CUT_CHAR};
    struct kj_str left = one(texts, s, dir, 1);
    CHECK_STR(left.p, left.n, "Nor was twhat.");
    s.edge = KJ_CUT_SENTENCE;
    left = one(texts, s, dir, 1);
    CHECK_STR(
        left.p, left.n,
        "Nor was the sea was high, and the wind stood from the north. And so what.");
    s.edge = KJ_CUT_LINE;
    left = one(texts, s, dir, 1);
    CHECK_STR(left.p, left.n, texts[1]);
    /* Korean ends sentences in the same way; ideographic marks need no space */
    const char *hangul[] = {
        "바다는 높았다. 바람은 북쪽에서 불었다. 아무도 가지 않았다。그래서 끝났다고 "
        "한다.",
        "그 바다는 높았다. 바람은 북쪽에서 불었다. 아무도 가지 않았다。그래.", NULL};
    s = (struct kj_substring){.window = 30, .edge = KJ_CUT_SENTENCE};
    left = one(hangul, s, dir, 1);
    CHECK_STR(left.p, left.n, "그 바다는 높았다. 그래.");
    const char *lines[] = {
        "a menu of seven words in all\nhome about us contact\nand what "
        "was said here only once\n",
        "x menu of seven words in all\nhome about us contact\nand what "
        "else\n",
        NULL};
    s = (struct kj_substring){.window = 20, .edge = KJ_CUT_LINE};
    left = one(lines, s, dir, 1);
    CHECK_STR(left.p, left.n, "x menu of seven words in all\nand what else\n");
}

static void test_words(const char *dir)
{
    const char *texts[] = {"One two three four five six seven eight.",
                           "Zero. One  two\nthree four five nine ten.", NULL};
    struct kj_substring s = {.window = 4, .words = 1};
    struct kj_str left = one(texts, s, dir, 1);
    CHECK_STR(left.p, left.n, "Zero. nine ten.");
    s.window = 6;
    left = one(texts, s, dir, 1);
    CHECK_STR(left.p, left.n, texts[1]);
    /* a whole text, and a copy with other spaces */
    const char *whole[] = {"가 나 다 라 마 바 사   아", "가 나 다 라 마 바 사\n아",
                           NULL};
    s.window = 5;
    left = one(whole, s, dir, 1);
    CHECK_STR(left.p, left.n, "");
}

/* Periods: one window's length of them stays, or a little more. */
static void test_periods(const char *dir)
{
    for (size_t period = 1; period < 200; period = period * 2 + 1) {
        size_t n = 100000;
        char *p = malloc(n + 1);
        for (size_t i = 0; i < n; i++)
            p[i] = i < period ? (char)('a' + rng() % 26) : p[i - period];
        p[n] = 0;
        struct text t = {"x", p, n};
        struct mem m = {&t, 1, 1, (size_t[]){0}, dir};
        struct kj_str *left = calloc(1, sizeof *left);
        struct kj_substring s = {.window = 100};
        run(&m, &s, 16 << 20, left);
        CHECK(left->n >= 100 && left->n < 100 + period);
        CHECK(s.anchors < 400 || period > 80); /* not as many as letters */
        CHECK_INT(compare(&m, mark_naive(&m, 100), left), 0);
        free_left(left, 1);
        free(p);
    }
}

#ifdef HAVE_SUFFIX_ARRAYS
/* All texts in keeper order, one behind the other. Neighbours in the suffix array
 * with a common prefix of a window or more are occurrences of one. */
static char **mark_suffixes(const struct mem *m, size_t window)
{
    size_t *order = keeper_order(m), n = 0;
    char **gone = calloc(m->n, sizeof *gone);
    for (size_t i = 0; i < m->n; i++)
        n += m->v[i].n;
    char *t = malloc(n + 1);
    int32_t *sa = malloc((n + 1) * sizeof *sa), *rank = malloc((n + 1) * sizeof *rank);
    int32_t *lcp = calloc(n + 1, sizeof *lcp), *doc = malloc((n + 1) * sizeof *doc);
    int32_t *start = calloc(m->n + 1, sizeof *start);
    for (size_t i = 0, at = 0; i < m->n; i++) {
        const struct text *x = &m->v[order[i]];
        gone[order[i]] = calloc(x->n + 1, 1);
        memcpy(t + at, x->p, x->n);
        for (size_t k = 0; k < x->n; k++)
            doc[at + k] = (int32_t)i;
        at += x->n;
        start[i + 1] = (int32_t)at;
    }
    CHECK_INT(divsufsort((const unsigned char *)t, sa, (int32_t)n), 0);
    for (size_t i = 0; i < n; i++)
        rank[sa[i]] = (int32_t)i;
    for (size_t i = 0, h = 0; i < n; i++) { /* Kasai et al. 2001 */
        if (rank[i] == 0) {
            h = 0;
            continue;
        }
        size_t k = (size_t)sa[rank[i] - 1];
        while (i + h < n && k + h < n && t[i + h] == t[k + h])
            h++;
        lcp[rank[i]] = (int32_t)h;
        h -= h > 0;
    }
    for (size_t i = 0, end; i < n; i = end) {
        int32_t first = -1;
        for (end = i + 1; end < n && lcp[end] >= (int32_t)window; end++)
            ;
        for (size_t k = i; k < end; k++)
            if (sa[k] + (int32_t)window <= start[doc[sa[k]] + 1] &&
                (first < 0 || sa[k] < first))
                first = sa[k];
        for (size_t k = i; k < end; k++) {
            int32_t at = sa[k], d = doc[at];
            if (at + (int32_t)window <= start[d + 1] && at != first &&
                (d != doc[first] || at - first >= (int32_t)window))
                memset(gone[order[d]] + (at - start[d]), 1, window);
        }
    }
    free(t);
    free(sa);
    free(rank);
    free(lcp);
    free(doc);
    free(start);
    free(order);
    return gone;
}
#endif

static void test_suffix_array(const char *dir)
{
#ifdef HAVE_SUFFIX_ARRAYS
    static const size_t windows[] = {12, 50, 200};
    for (size_t round = 0; round < 6; round++) {
        struct mem m;
        make_corpus(&m, 400, 3000, round % 2 ? 16 : 3, latin, dir);
        struct kj_str *left = calloc(m.n, sizeof *left);
        struct kj_substring s = {.window = windows[round / 2]};
        run(&m, &s, 16 << 20, left);
        CHECK_INT(compare(&m, mark_suffixes(&m, s.window), left), 0);
        free_left(left, m.n);
        free_corpus(&m);
    }
#else
    (void)dir;
    SKIP("libdivsufsort is not installed");
#endif
}

int main(void)
{
    char dir[] = "/tmp/kijil-test-XXXXXX";
    if (!CHECK(mkdtemp(dir) != NULL))
        return test_end();
    test_definition(dir);
    test_memory(dir);
    test_edges(dir);
    test_words(dir);
    test_periods(dir);
    test_suffix_array(dir);
    CHECK_INT(rmdir(dir), 0); /* nothing stays behind */
    return test_end();
}
