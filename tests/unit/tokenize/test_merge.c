/* test_merge.c - merging: one word after the other, several in turns, long ones and
 * whole characters give the ids of the definition. */
#include "tests/unit/tokenize/fixture.h"

#include "tests/unit/test.h"
#include "tokenize/tok_state.h"

static char msg[256];

/* The merges of a fixture as ids, by rank. */
struct rule {
    uint32_t a, b, id;
};
static size_t rules(const struct kj_tok *t, const char *const *merges, struct rule *out)
{
    size_t n = 0, na, nb;
    for (; merges[n]; n++) {
        char p[256];
        const char *sp = strchr(merges[n], ' ');
        tok_unmap(merges[n], (size_t)(sp - merges[n]), p, &na);
        tok_unmap(sp + 1, strlen(sp + 1), p + na, &nb);
        out[n] = (struct rule){tok_word_find(t, p, na), tok_word_find(t, p + na, nb),
                               tok_word_find(t, p, na + nb)};
    }
    return n;
}

/* The definition, word for word: the leftmost of the lowest rank, again and
 * again; of two equal rules the last counts. */
static size_t naive(const struct kj_tok *t, const struct rule *r, size_t n_rules,
                    const char *p, size_t n, uint32_t *sym)
{
    for (size_t i = 0; i < n; i++)
        sym[i] = t->bytes[(unsigned char)p[i]];
    for (;;) {
        size_t best = n, low = n_rules;
        for (size_t i = 0; i + 1 < n; i++) {
            size_t rank = n_rules;
            for (size_t k = 0; k < n_rules; k++)
                if (r[k].a == sym[i] && r[k].b == sym[i + 1])
                    rank = k;
            if (rank < low) {
                best = i;
                low = rank;
            }
        }
        if (best == n)
            return n;
        sym[best] = r[low].id;
        n--;
        for (size_t i = best + 1; i < n; i++)
            sym[i] = sym[i + 1];
    }
}

/* Several words in turns: the ids of each are those of the definition; and through
 * the queue, with ignore_merges, words that are tokens though merging makes others. */
static void test_lanes(void)
{
    static const char *const m[] = {"a a",  "aa aa",     "b a",   "a b",
                                    "aa b", "ab ab",     "ba ba", "aaaa aa",
                                    "b b",  "aaaa aaaa", "bb aa", NULL};
    struct kj_tok *t = fixture_load(&(struct fixture){.merges = m}, msg);
    if (!CHECK(t))
        return;
    struct rule r[16];
    size_t n_rules = rules(t, m, r);
    uint64_t seed = 11;
    for (int round = 0; round < 500; round++) {
        static char text[TOK_LANES][TOK_LANE_MAX];
        struct tok_lane v[TOK_LANES];
        size_t lanes = fixture_random(&seed, TOK_LANES + 1);
        unsigned len[TOK_LANES];
        for (size_t k = 0; k < lanes; k++) {
            len[k] = 2 + fixture_random(&seed, TOK_LANE_MAX - 1);
            for (size_t i = 0; i < len[k]; i++)
                text[k][i] = fixture_random(&seed, 3) ? 'a' : 'b';
            v[k].p = text[k];
            v[k].n = len[k];
        }
        tok_merge_lanes(t, v, lanes);
        for (size_t k = 0; k < lanes; k++) {
            uint32_t want[TOK_LANE_MAX];
            size_t n = naive(t, r, n_rules, text[k], len[k], want);
            CHECK_MEM((char *)v[k].sym, v[k].n * 4, (char *)want, n * 4);
        }
    }
    kj_tok_free(t);
    static const char *const odd[] = {"a b", "b c", "ab c", NULL};
    t = fixture_load(&(struct fixture){.merges = odd,
                                       .pre = "{\"type\":\"ByteLevel\","
                                              "\"add_prefix_space\":false,"
                                              "\"use_regex\":true}",
                                       .vocab = ",\"bca\":259",
                                       .ignore_merges = true},
                     msg);
    if (!CHECK(t))
        return;
    IS(t, "bca\nabcbc\nbca\nbcab", 0, 259, 10, 258, 257, 10, 259, 10, 257, 256);
    kj_tok_free(t);
}

static void test_long_words(void)
{
    static const char *const m[] = {"a a",  "aa aa",     "b a",   "a b",
                                    "aa b", "ab ab",     "ba ba", "aaaa aa",
                                    "b b",  "aaaa aaaa", "bb aa", NULL};
    struct kj_tok *t = fixture_load(&(struct fixture){.merges = m}, msg);
    if (!CHECK(t))
        return;
    struct kj_tok_state *s = kj_tok_state_new(t);
    struct kj_tok_ids ids = {0};
    struct rule r[16];
    size_t n_rules = rules(t, m, r);
    uint64_t seed = 5;
    for (int round = 0; round < 300; round++) {
        char text[400];
        uint32_t want[400];
        size_t n = 1 + fixture_random(&seed, sizeof text);
        for (size_t i = 0; i < n; i++)
            text[i] = fixture_random(&seed, 3) ? 'a' : 'b';
        size_t m_n = naive(t, r, n_rules, text, n, want);
        ids.n = 0;
        CHECK_INT(kj_tok_encode(t, s, text, n, 0, &ids, NULL), KJ_OK);
        CHECK_MEM((char *)ids.v, ids.n * 4, (char *)want, m_n * 4);
    }
    /* A megabyte of one letter: by quadratic merging this would take hours. */
    size_t big = 1 << 20;
    char *p = malloc(big);
    memset(p, 'a', big);
    ids.n = 0;
    CHECK_INT(kj_tok_encode(t, s, p, big, 0, &ids, NULL), KJ_OK);
    CHECK_INT(ids.n, big / 8);
    /* And a word beyond the cap is refused, with nothing appended. */
    p = realloc(p, KJ_TOK_WORD_MAX + 1);
    memset(p, 'a', KJ_TOK_WORD_MAX + 1);
    struct kj_err err = KJ_ERR_INIT;
    CHECK_INT(kj_tok_encode(t, s, p, KJ_TOK_WORD_MAX + 1, 0, &ids, &err),
              KJ_BAD_RECORD);
    CHECK_INT(ids.n, big / 8);
    free(p);
    kj_tok_ids_release(&ids);
    kj_tok_state_free(s);
    kj_tok_free(t);
}

/* Models whose merges join anything with anything, in any order, over a few
 * syllables: characters may be taken whole in some and not in others, and the
 * ids must be those of the definition. */
static void test_characters(void)
{
    static const char *const chars[] = {"가", "각", "강", "나", "é", "a", " ", "中"};
    uint64_t seed = 77;
    size_t whole = 0, bytes = 0;
    for (int model = 0; model < 60; model++) {
        static char text[60][64];
        const char *merges[61] = {NULL};
        struct kj_buf parts[61 + 32]; /* tokens so far, in the alphabet */
        size_t n = 0, n_merges = 0;
        for (size_t i = 0; i < 8; i++)
            for (const char *c = chars[i]; *c; c++) {
                kj_buf_init(&parts[n], 64);
                tok_map(&parts[n++], c, 1);
            }
        while (n_merges < 60) {
            /* At first what makes characters, in most models, then anything. */
            bool order = n_merges < 12 && model % 3;
            size_t a = fixture_random(&seed, (uint32_t)n),
                   b = fixture_random(&seed, (uint32_t)n);
            if (order) {
                a = n_merges < 9 ? n_merges / 3 * 3 + (n_merges % 3 == 1) : a;
                b = n_merges < 9 ? a + 1 : b;
            }
            if (parts[a].n + parts[b].n > 40)
                continue;
            snprintf(text[n_merges], 64, "%.*s %.*s", (int)parts[a].n, parts[a].p,
                     (int)parts[b].n, parts[b].p);
            kj_buf_init(&parts[n], 64);
            kj_buf_add(&parts[n], parts[a].p, parts[a].n);
            kj_buf_add(&parts[n], parts[b].p, parts[b].n);
            merges[n_merges] = text[n_merges];
            n_merges++;
            n++;
        }
        for (size_t i = n_merges; model % 2 && i-- > 1;) { /* ranks in any order */
            size_t k = fixture_random(&seed, (uint32_t)i);
            const char *x = merges[i];
            merges[i] = merges[k];
            merges[k] = x;
        }
        for (size_t i = 0; i < n; i++)
            kj_buf_release(&parts[i]);
        struct kj_tok *t = fixture_load(&(struct fixture){.merges = merges}, msg);
        if (!CHECK(t))
            return;
        for (uint32_t c = 0xAC00; c < 0xB0A0; c++)
            whole += t->chars[c] != 0;
        struct kj_tok_state *s = kj_tok_state_new(t);
        struct kj_tok_ids ids = {0};
        struct rule r[60];
        size_t n_rules = rules(t, merges, r);
        for (int i = 0; i < 300; i++) {
            char line[400];
            uint32_t want[400];
            line[0] = 0;
            for (size_t k = 1 + fixture_random(&seed, i % 10 ? 12 : 90); k--;)
                strcat(line, chars[fixture_random(&seed, 8)]);
            size_t m = naive(t, r, n_rules, line, strlen(line), want);
            ids.n = 0;
            CHECK_INT(kj_tok_encode(t, s, line, strlen(line), 0, &ids, NULL), KJ_OK);
            if (!CHECK_MEM((char *)ids.v, ids.n * 4, (char *)want, m * 4))
                break;
            bytes += m;
        }
        kj_tok_ids_release(&ids);
        kj_tok_state_free(s);
        kj_tok_free(t);
    }
    /* The whole character wants "a" sooner than it is made itself; by then "b"
     * has taken it. */
    struct kj_buf m[5];
    const char *merges[6] = {0};
    for (size_t i = 0; i < 5; i++)
        kj_buf_init(&m[i], 64);
    kj_buf_addz(&m[0], "x y");
    tok_map(&m[1], "가", 3);
    kj_buf_addz(&m[1], " a");
    kj_buf_addz(&m[2], "a b");
    tok_map(&m[3], "가", 1);
    kj_buf_addc(&m[3], ' ');
    tok_map(&m[3], "가" + 1, 1);
    tok_map(&m[4], "가", 2);
    kj_buf_addc(&m[4], ' ');
    tok_map(&m[4], "가" + 2, 1);
    for (size_t i = 0; i < 5; i++)
        merges[i] = kj_buf_z(&m[i]);
    struct kj_tok *t = fixture_load(&(struct fixture){.merges = merges}, msg);
    if (CHECK(t)) {
        IS(t, "가ab", 0, 260, 258);
        IS(t, "가a", 0, 257);
        kj_tok_free(t);
    }
    for (size_t i = 0; i < 5; i++)
        kj_buf_release(&m[i]);
    CHECK(whole > 10); /* or nothing was tested */
    CHECK(bytes > 0);
}

/* A vocabulary that names every way to cut a token in two, parts that are made later
 * among them. */
#define CUT_TOKENS 48
struct cuts {
    char tokens[CUT_TOKENS][8], text[400][20];
    const char *merges[401];
    size_t n, m;
};

static bool is_token(const struct cuts *c, const char *p, size_t n)
{
    for (size_t i = 0; i < c->n; i++)
        if (strlen(c->tokens[i]) == n && memcmp(c->tokens[i], p, n) == 0)
            return true;
    return n == 1;
}

static bool is_cut(const struct cuts *c, size_t i, size_t k)
{
    const char *p = c->tokens[i];
    return is_token(c, p, k) && is_token(c, p + k, strlen(p) - k);
}

/* Shorter tokens first, as trainers find them. */
static void cuts_sort(struct cuts *c)
{
    for (size_t len = 2, to = 0; len < 7; len++)
        for (size_t i = to; i < c->n; i++)
            if (strlen(c->tokens[i]) == len) {
                char x[8];
                memcpy(x, c->tokens[i], 8);
                memcpy(c->tokens[i], c->tokens[to], 8);
                memcpy(c->tokens[to++], x, 8);
            }
}

static void cuts_make(struct cuts *c, uint64_t *seed, unsigned letters, bool sorted)
{
    size_t want = 8 + fixture_random(seed, 40);
    c->n = c->m = 0;
    while (c->n < want) {
        char *p = c->tokens[c->n];
        size_t len = 2 + fixture_random(seed, 5);
        for (size_t i = 0; i < len; i++)
            p[i] = (char)('a' + fixture_random(seed, letters));
        p[len] = 0;
        c->n += !is_token(c, p, len);
    }
    if (sorted)
        cuts_sort(c);
    for (size_t i = 0; i < c->n; i++) { /* without those that cannot be cut */
        bool cut = false;
        for (size_t k = 1; k < strlen(c->tokens[i]); k++)
            cut |= is_cut(c, i, k);
        if (cut)
            continue;
        memmove(c->tokens[i], c->tokens[i + 1], (--c->n - i) * sizeof *c->tokens);
        i = SIZE_MAX; /* others may have been cut there */
    }
    for (size_t i = 0; i < c->n; i++)
        for (size_t k = 1; k < strlen(c->tokens[i]); k++) {
            if (!is_cut(c, i, k))
                continue;
            snprintf(c->text[c->m], sizeof c->text[c->m], "%.*s %s", (int)k,
                     c->tokens[i], c->tokens[i] + k);
            c->merges[c->m] = c->text[c->m];
            c->m++;
        }
    c->merges[c->m] = NULL;
}

static void words_are(const struct kj_tok *t, const struct rule *r, size_t n_rules,
                      uint64_t *seed, unsigned letters)
{
    struct kj_tok_state *s = kj_tok_state_new(t);
    struct kj_tok_ids ids = {0};
    for (int i = 0; i < 100; i++) {
        char word[40];
        uint32_t want[40];
        size_t len = 1 + fixture_random(seed, i % 10 ? 14 : 40);
        for (size_t k = 0; k < len; k++)
            word[k] = (char)('a' + fixture_random(seed, letters));
        size_t k = naive(t, r, n_rules, word, len, want);
        ids.n = 0;
        CHECK_INT(kj_tok_encode(t, s, word, len, 0, &ids, NULL), KJ_OK);
        if (!CHECK_MEM((char *)ids.v, ids.n * 4, (char *)want, k * 4))
            break;
    }
    kj_tok_ids_release(&ids);
    kj_tok_state_free(s);
}

/* The merges that can happen are kept, those that make their own bytes into a token,
 * and ids are those of the definition by all merges. */
static void test_cuts(void)
{
    static struct cuts c;
    static struct rule r[400];
    uint64_t seed = 5;
    size_t left_out = 0, alone = 0;
    for (int model = 0; model < 150; model++) {
        unsigned letters = 2 + (unsigned)model % 2;
        cuts_make(&c, &seed, letters, model % 4 > 1);
        struct kj_tok *t = fixture_load(&(struct fixture){.merges = c.merges}, msg);
        if (!CHECK(t))
            return;
        size_t n_rules = rules(t, c.merges, r), made = 0, kept = 0;
        for (size_t i = 0; i < c.n; i++) {
            uint32_t ids[8];
            made += naive(t, r, n_rules, c.tokens[i], strlen(c.tokens[i]), ids) == 1;
        }
        for (size_t i = 0; i <= t->pairs_mask; i++)
            kept += t->pairs[i] != TOK_PAIR_FREE;
        CHECK_INT((long long)kept, (long long)made);
        left_out += c.m - made;
        alone += c.n - made;
        words_are(t, r, n_rules, &seed, letters);
        kj_tok_free(t);
    }
    CHECK(left_out > 1000);
    CHECK(alone > 10); /* tokens that merging does not make */
}

int main(void)
{
    test_cuts();
    test_lanes();
    test_long_words();
    test_characters();
    return test_end();
}
