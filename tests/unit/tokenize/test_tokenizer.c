/* test_tokenizer.c - loading, refusing, encoding, decoding. */
#include "tests/unit/tokenize/fixture.h"

#include "base/input.h"
#include "base/utf8.h"
#include "tests/unit/test.h"
#include "tokenize/tok_block.h"
#include "tokenize/tok_state.h"

static char msg[256];

/* Encode and compare with ids, ended by -1. */
static void is(const struct kj_tok *t, const char *text, unsigned flags,
               const int *want, const char *what)
{
    struct kj_tok_state *s = kj_tok_state_new(t);
    struct kj_err err = KJ_ERR_INIT;
    struct kj_tok_ids ids = {0};
    size_t n = 0;
    while (want[n] >= 0)
        n++;
    for (int round = 0; round < 2; round++) { /* the second is from the cache */
        ids.n = 0;
        int rc = kj_tok_encode(t, s, text, strlen(text), flags, &ids, &err);
        bool ok = rc == KJ_OK && ids.n == n;
        for (size_t i = 0; ok && i < n; i++)
            ok = ids.v[i] == (uint32_t)want[i];
        if (!test_check(ok, __FILE__, __LINE__, what)) {
            printf("     %s: got", err.msg);
            for (size_t i = 0; i < ids.n; i++)
                printf(" %u", ids.v[i]);
            printf("\n");
        }
    }
    kj_tok_ids_release(&ids);
    kj_tok_state_free(s);
}
#define IS(t, text, flags, ...) is(t, text, flags, (const int[]){__VA_ARGS__, -1}, text)

static void test_alphabet(void)
{
    bool seen[0x200] = {false};
    for (unsigned b = 0; b < 256; b++) {
        uint32_t c = tok_byte_char((unsigned char)b);
        CHECK(c < 0x200 && !seen[c] && c > 0x20);
        seen[c] = true;
        CHECK_INT(tok_char_byte(c), b);
    }
    CHECK_INT(tok_byte_char(' '), 0x120); /* the well-known ones */
    CHECK_INT(tok_byte_char('\n'), 0x10A);
    CHECK_INT(tok_byte_char(0xAD), 0x143);
    CHECK_INT(tok_byte_char(0xFF), 0xFF);
    CHECK_INT(tok_char_byte(0x144), -1);
    CHECK_INT(tok_char_byte(0xAD), -1);
}

static const char *const abc[] = {"a b", "b c", "ab c", "Ġ a", "c c", NULL};
/* ids:                            256    257    258     259   260 */

static void test_merging(void)
{
    for (int pairs = 0; pairs < 2; pairs++) {
        struct kj_tok *t =
            fixture_load(&(struct fixture){.merges = abc, .pairs = pairs}, msg);
        if (!CHECK(t))
            return;
        CHECK_INT(kj_tok_vocab_size(t), 261);
        CHECK_STR(kj_tok_name(t), strlen(kj_tok_name(t)), "tokenizer.json");
        IS(t, "abc", 0, 258);
        IS(t, "bcabc", 0, 257, 258);
        IS(t, "ccc", 0, 260, 'c'); /* of equal ranks the leftmost */
        IS(t, "abcc", 0, 258, 'c');
        IS(t, " abc", 0, ' ', 258); /* "a b" goes before "Ġ a" */
        IS(t, " a", 0, 259);
        IS(t, "\xEA\xB0\x80", 0, 0xEA, 0xB0, 0x80);
        kj_tok_free(t);
    }
}

static void test_ignore_merges(void)
{
    /* "xyz" is in the vocabulary, but no merge leads to it. */
    struct fixture f = {.merges = abc, .vocab = ",\"xyz\":300,\"bca\":301"};
    struct kj_tok *t = fixture_load(&f, msg);
    if (CHECK(t)) {
        IS(t, "xyz", 0, 'x', 'y', 'z');
        IS(t, "bca", 0, 257, 'a');
        kj_tok_free(t);
    }
    f.ignore_merges = true;
    t = fixture_load(&f, msg);
    if (CHECK(t)) {
        CHECK_INT(kj_tok_vocab_size(t), 302);
        IS(t, "xyz", 0, 300);
        IS(t, "bca", 0, 301);
        IS(t, "bcab", 0, 257, 256);
        kj_tok_free(t);
    }
}

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

static const char all_flags[] =
    "{\"id\":400,\"content\":\"<|x|>\",\"special\":true,\"normalized\":false},"
    "{\"id\":401,\"content\":\"<|x|>>\",\"special\":true,\"normalized\":false},"
    "{\"id\":402,\"content\":\"word\",\"single_word\":true,\"normalized\":false},"
    "{\"id\":403,\"content\":\"[L]\",\"lstrip\":true,\"normalized\":false},"
    "{\"id\":404,\"content\":\"[R]\",\"rstrip\":true,\"normalized\":false},"
    "{\"id\":405,\"content\":\"\\u00e9!\",\"normalized\":true}";

static void test_added(void)
{
    struct kj_tok *t = fixture_load(
        &(struct fixture){.added = all_flags, .normalizer = "{\"type\":\"NFC\"}"}, msg);
    if (!CHECK(t))
        return;
    CHECK_INT(kj_tok_added_id(t, "[L]"), 403);
    CHECK_INT(kj_tok_added_id(t, "nothing"), -1);
    IS(t, "<|x|>", 0, 400);
    IS(t, "a<|x|>>b", 0, 'a', 401, 'b'); /* the longest */
    IS(t, "<|x|", 0, '<', '|', 'x', '|');
    IS(t, "<|x|>", KJ_TOK_NO_SPECIAL, '<', '|', 'x', '|', '>');
    IS(t, "word.", 0, 402, '.');
    IS(t, "sword", 0, 's', 'w', 'o', 'r', 'd');
    IS(t, "words", 0, 'w', 'o', 'r', 'd', 's');
    IS(t, "a \n[L] b", 0, 'a', 403, ' ', 'b');
    IS(t, "a [R]\xE3\x80\x80 b", 0, 'a', ' ', 404, 'b');
    IS(t, "[R] [L]", 0, 404, 403); /* white space is taken once */
    IS(t, "e\xCC\x81!", 0, 405);   /* matched behind NFC */
    kj_tok_free(t);
}

static void test_normalizer(void)
{
    struct kj_tok *t = fixture_load(
        &(struct fixture){.normalizer =
                              "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":"
                              "\"NFD\"},{\"type\":\"NFKC\"}]}"},
        msg);
    if (!CHECK(t))
        return;
    IS(t, "e\xCC\x81", 0, 0xC3, 0xA9);
    IS(t, "\xEF\xBC\xA1", 0, 'A'); /* a full-width A */
    kj_tok_free(t);
}

/* Words of a pre-tokenizer, joined by '/'. */
static int join_word(void *ctx, const char *p, size_t n, struct kj_err *err)
{
    (void)err;
    kj_buf_add(ctx, p, n);
    return kj_buf_addc(ctx, '/');
}

static void words(const char *pre, const char *text, const char *want)
{
    struct kj_tok *t = fixture_load(&(struct fixture){.pre = pre}, msg);
    struct tok_pre_state s;
    struct kj_buf b;
    if (!CHECK(t)) {
        printf("     %s\n", msg);
        return;
    }
    kj_buf_init(&b, 1 << 16);
    tok_pre_state_init(&s, &t->pre);
    CHECK_INT(tok_pre_run(&s, text, strlen(text), join_word, &b, NULL), KJ_OK);
    CHECK_STR(b.p, b.n, want);
    tok_pre_state_release(&s);
    kj_buf_release(&b);
    kj_tok_free(t);
}

#define BYTES                                                                          \
    ",{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}]}"
#define SPLIT(pattern, behavior, invert)                                               \
    "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\","                   \
    "\"pattern\":" pattern ",\"behavior\":\"" behavior "\",\"invert\":" invert         \
    "}" BYTES

static void test_pre_tokenizers(void)
{
    /* The examples of the reference's documentation of each behaviour. */
    words(SPLIT("{\"String\":\"-\"}", "Removed", "false"), "the-final--countdown",
          "the/final/countdown/");
    words(SPLIT("{\"String\":\"-\"}", "Isolated", "false"), "the-final--countdown",
          "the/-/final/-/-/countdown/");
    words(SPLIT("{\"String\":\"-\"}", "MergedWithPrevious", "false"),
          "the-final--countdown", "the-/final-/-/countdown/");
    words(SPLIT("{\"String\":\"-\"}", "MergedWithNext", "false"),
          "the-final--countdown", "the/-final/-/-countdown/");
    words(SPLIT("{\"String\":\"-\"}", "Contiguous", "false"), "the-final--countdown",
          "the/-/final/--/countdown/");
    words(SPLIT("{\"Regex\":\"\\\\p{L}+\"}", "Removed", "true"), "ab 12 한국",
          "ab/한국/");
    words(SPLIT("{\"Regex\":\"(?=[A-Z])\"}", "Isolated", "false"), "oneTwoX",
          "one/Two/X/"); /* empty matches cut */
    words("{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Digits\","
          "\"individual_digits\":true}" BYTES,
          "a12b٣", "a/1/2/b/٣/");
    words("{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Digits\"}" BYTES,
          "a12b٣4", "a/12/b/٣4/");
    words("{\"type\":\"ByteLevel\",\"add_prefix_space\":true}", "Hi you're  ok 12\n",
          " Hi/ you/'re/ / ok/ 12/\n/");
    words("{\"type\":\"ByteLevel\",\"add_prefix_space\":false}", "  x\n\n y'S 's",
          " / x/\n\n/ y/'/S/ '/s/");
}

static void pattern(enum tok_scan scan, const char *text, const char *want)
{
    static char pre[1024];
    struct kj_buf b;
    kj_buf_init(&b, 1024);
    const char *z = tok_scan_pattern(scan);
    kj_json_put_str(&b, z, strlen(z));
    snprintf(
        pre, sizeof pre,
        "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{"
        "\"Regex\":%.*s},\"behavior\":\"Isolated\",\"invert\":false}" BYTES,
        (int)b.n, b.p);
    kj_buf_release(&b);
    words(pre, text, want);
}

static void llama(const char *text, const char *want)
{
    pattern(TOK_SCAN_LLAMA3, text, want);
}

static void test_llama3_pattern(void)
{
    llama("Hello world", "Hello/ world/");
    llama("I'LL don't '\xC5\xBFo", "I/'LL/ don/'t/ '/\xC5\xBFo/");
    llama("x'\xC5\xBFo", "x/'\xC5\xBF/o/");
    llama("12345 6", "123/45/ /6/");
    llama("a  b   c", "a/ / b/  / c/");
    llama("end.\n\n  next", "end/.\n\n/ / next/");
    llama("  \n \n  x", "  \n \n/ / x/");
    llama("tail   ", "tail/   /");
    llama("!!!어서 (오)", "!!!/어서/ (/오/)/");
    llama("\tx\xC2\xA0y", "\tx/\xC2\xA0y/");
    llama("한국어는 🙂입니다", "한국어는/ 🙂/입니다/");
}

static void o200k(const char *text, const char *want)
{
    pattern(TOK_SCAN_O200K, text, want);
}

static void test_o200k_pattern(void)
{
    o200k("Hello World's HTTPServer", "Hello/ World's/ HTTPServer/");
    o200k("camelCase fooBARbaz", "camel/Case/ foo/BARbaz/");
    o200k("한국ABC 한국Abc 한국abC", "한국/ABC/ 한국Abc/ 한국ab/C/");
    o200k("한국AB中C 가a나B", "한국AB中/C/ 가a나/B/");
    o200k("don'tx DON'T'S they'Re", "don't/x/ DON'T/'S/ they'Re/");
    o200k("a'\xC5\xBF's 1's", "a'\xC5\xBF/'s/ /1/'s/");
    o200k("x!\xCC\x81y !!\xCC\x81z \xCC\x81", "x/!\xCC\x81y/ !!\xCC\x81/z/ \xCC\x81/");
    o200k("a//\n//\r\n/!b", "a///\n//\r\n//!b/");
    o200k("12345  x\n y", "123/45/ / x/\n/ y/");
    o200k("Ǆa ǅ ДомДОМ", "Ǆa/ ǅ/ Дом/ДОМ/");
    pattern(TOK_SCAN_TEKKEN, "don't 123", "don/'t/ /1/2/3/");
}

/* Escapes that PCRE2 reads otherwise: what Oniguruma, and what Rust matches. */
static void matches(const char *z, enum tok_regex kind, const char *text,
                    const char *want)
{
    struct tok_pre pre = {.n_steps = 1};
    struct tok_pre_state s;
    struct kj_buf b;
    kj_buf_init(&b, 1 << 16);
    pre.steps[0].behavior = TOK_REMOVED;
    pre.steps[0].invert = true;
    if (CHECK_INT(tok_pattern_compile(&pre.steps[0], kind, z, strlen(z), "", NULL),
                  0)) {
        tok_pre_state_init(&s, &pre);
        CHECK_INT(tok_pre_run(&s, text, strlen(text), join_word, &b, NULL), 0);
        CHECK_STR(b.p, b.n, want);
        tok_pre_state_release(&s);
    }
    tok_pre_release(&pre);
    kj_buf_release(&b);
}

static void test_escapes(void)
{
    const char *text = "e\xCC\x81\xC2\xB2_\xE2\x80\x8D\xE0\xA7\xB4-a\xE1\xA0\x8E"
                       "7";
    matches("\\w+", TOK_ONIGURUMA, text, "e\xCC\x81\xC2\xB2_/a/7/");
    matches("\\w+", TOK_RUST, text, "e\xCC\x81/_\xE2\x80\x8D/a/7/");
    matches("[\\w-]+", TOK_RUST, text, "e\xCC\x81/_\xE2\x80\x8D/-a/7/");
    matches("\\W+", TOK_ONIGURUMA, "a-b", "-/");
    matches("[^\\s]+", TOK_ONIGURUMA,
            "a\xE1\xA0\x8E"
            "b c",
            "a\xE1\xA0\x8E"
            "b/c/");
    matches("[\\S]+\\s", TOK_RUST, "ab c", "ab /");
    matches("\\h+", TOK_ONIGURUMA, "fa\tX0g", "fa/0/");
    matches("[x\\h]+", TOK_ONIGURUMA, "fxg", "fx/");
    matches("\\be\\b|\\Bb", TOK_ONIGURUMA, "e\xCC\x81 e ab b", "e/b/");
    matches("[]a]+|[^]a\\]]+", TOK_ONIGURUMA, "]ab", "]a/b/");
    matches("[[:digit:]\\]]+\\[", TOK_ONIGURUMA, "1][", "1][/");
    static const char *const bad[] = {"[\\W_]", "[a[b]]", "[a&&b]", "[\\H]", "[[:x"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct tok_step s = {0};
        struct kj_err err = KJ_ERR_INIT;
        CHECK_INT(
            tok_pattern_compile(&s, TOK_ONIGURUMA, bad[i], strlen(bad[i]), "p", &err),
            KJ_FAIL);
        CHECK(strncmp(err.msg, "p: pattern", 10) == 0);
    }
}

/* The scanners against the same patterns in PCRE2. */
static void test_scan_is_pattern(void)
{
    struct kj_buf text, a, b;
    uint64_t seed = 11;
    tok_scan_init();
    kj_buf_init(&text, 1 << 20);
    kj_buf_init(&a, 1 << 20);
    kj_buf_init(&b, 1 << 20);
    for (unsigned k = 0; k < TOK_SCANS; k++) {
        enum tok_scan scan = (enum tok_scan)(TOK_SCAN_GPT2 + k);
        struct tok_pre hand = {.n_steps = 1}, re = {.n_steps = 1};
        struct tok_pre_state sh, sr;
        char z[512];
        snprintf(z, sizeof z, "(?:)%s", tok_scan_pattern(scan));
        CHECK_INT(tok_pattern_compile(&hand.steps[0], TOK_RUST, z + 4, strlen(z) - 4,
                                      "", NULL),
                  0);
        CHECK_INT(tok_pattern_compile(&re.steps[0], TOK_RUST, z, strlen(z), "", NULL),
                  0);
        CHECK(hand.steps[0].scan == scan && re.steps[0].scan == TOK_SCAN_NONE);
        tok_pre_state_init(&sh, &hand);
        tok_pre_state_init(&sr, &re);
        for (int i = 0; i < 4000; i++) {
            fixture_words(&text, &seed, 1 + fixture_random(&seed, 20));
            kj_buf_reset(&a);
            kj_buf_reset(&b);
            tok_pre_run(&sh, text.p, text.n, join_word, &a, NULL);
            tok_pre_run(&sr, text.p, text.n, join_word, &b, NULL);
            if (a.n != b.n || memcmp(a.p, b.p, a.n) != 0) {
                CHECK_MEM(a.p, a.n, b.p, b.n);
                break;
            }
        }
        CHECK(a.n > 0);
        tok_pre_state_release(&sh);
        tok_pre_state_release(&sr);
        tok_pre_release(&re);
    }
    kj_buf_release(&text);
    kj_buf_release(&a);
    kj_buf_release(&b);
}

/* Cut text as tok_queue_scan does, into one bit for each place. */
static void block_cuts(enum tok_scan scan, const char *p, size_t n, char *cut)
{
    memset(cut, 0, n);
    for (size_t at = 0; at < n;) {
        uint64_t starts = n - at >= TOK_BLOCK_READ ? tok_block_starts(scan, p + at) : 1;
        CHECK(starts & 1);
        if (starts == 1) {
            at = tok_scan_next(scan, p, n, at);
            cut[at - 1] = 1;
            continue;
        }
        size_t to = at;
        for (starts &= starts - 1; starts; starts &= starts - 1) {
            to = at + (size_t)__builtin_ctzll(starts);
            cut[to - 1] = 1;
        }
        at = to;
    }
}

/* Blocks of every vector code against the scanners, one word at a time. */
static void test_blocks(void)
{
    static char a[1 << 16], b[1 << 16];
    struct kj_buf text, more;
    uint64_t seed = 12;
    size_t blocks = 0;
    kj_buf_init(&text, sizeof a);
    kj_buf_init(&more, sizeof a);
    for (int round = 0; round < 2500; round++) {
        enum tok_scan scan = (enum tok_scan)(TOK_SCAN_GPT2 + round % TOK_SCANS);
        kj_buf_reset(&text);
        /* Stretches of mixed bits, of plain words, and of everything there is. */
        for (int k = 0; k < 6; k++) {
            fixture_words(&more, &seed, 1 + fixture_random(&seed, 30));
            kj_buf_add(&text, more.p, more.n);
            for (uint32_t w = fixture_random(&seed, 20); w--;)
                kj_buf_addz(&text, (const char *const[]){"the ", "words, ", "it's ",
                                                         "한국어 ", "문장을 ", "12345 ",
                                                         "\n    x", "ÜnïÑ ", "한글ABC ",
                                                         "don'tX한A"}[w % 10]);
            for (uint32_t w = fixture_random(&seed, 12); w--;) {
                char c[4];
                uint32_t cp = fixture_random(&seed, w % 2 ? 0x3100 : 0x110000);
                if (cp < 0xD800 || cp >= 0xE000)
                    kj_buf_add(&text, c, kj_utf8_put(cp, c));
            }
        }
        memset(a, 0, text.n);
        for (size_t at = 0; at < text.n;) {
            at = tok_scan_next(scan, text.p, text.n, at);
            a[at - 1] = 1;
        }
        for (int isa = TOK_PLAIN; isa <= TOK_AVX512; isa++) {
            if (!tok_block_use((enum tok_isa)isa))
                continue;
            block_cuts(scan, text.p, text.n, b);
            blocks++;
            if (!CHECK_MEM(b, text.n, a, text.n))
                round = 10000;
        }
    }
    CHECK(blocks >= 2500 * 2);
    for (int isa = TOK_AVX512; !tok_block_use((enum tok_isa)isa);)
        isa--;
    kj_buf_release(&text);
    kj_buf_release(&more);
}

static void refused(const struct fixture *f, const char *want)
{
    struct kj_tok *t = fixture_load(f, msg);
    if (!CHECK(!t)) {
        printf("     accepted; want: %s\n", want);
        kj_tok_free(t);
        return;
    }
    if (!CHECK(strncmp(msg, want, strlen(want)) == 0))
        printf("     got  %s\n     want %s\n", msg, want);
}

static void test_refusals(void)
{
    refused(&(struct fixture){.merges = (const char *const[]){"a b", "Ġ Ġx", NULL}},
            "model.merges[1]: the second part is not in the vocabulary");
    refused(&(struct fixture){.merges = (const char *const[]){"한 국", NULL}},
            "model.merges[0]: not in the byte alphabet");
    refused(&(struct fixture){.vocab = ",\"zz\":65"},
            "model.vocab[\"zz\"]: id 65 is taken");
    refused(&(struct fixture){.vocab = ",\"a\":999"},
            "model.vocab[\"a\"]: stands there");
    refused(&(struct fixture){.vocab = ",\"q q\":-1"},
            "model.vocab[\"q q\"]: id is not");
    refused(&(struct fixture){.vocab = ",\"qq\":1048575"},
            "model.vocab[\"qq\"]: id is");
    refused(&(struct fixture){.extra = ",\"dropout\":0.1"}, "model.dropout:");
    refused(&(struct fixture){.extra = ",\"end_of_word_suffix\":\"</w>\""},
            "model.end_of_word_suffix:");
    refused(&(struct fixture){.normalizer = "{\"type\":\"Odd\"}"},
            "normalizer.type: \"Odd\" is not supported");
    refused(&(struct fixture){.normalizer = "{\"type\":\"Sequence\",\"normalizers\":[{"
                                            "\"type\":\"NFC\"},{\"type\":\"Odd\"}]}"},
            "normalizer.normalizers[1].type: \"Odd\" is not supported");
    refused(&(struct fixture){.pre = "{\"type\":\"UnicodeScripts\"}"},
            "pre_tokenizer.type: \"UnicodeScripts\" is not supported");
    refused(&(struct fixture){.pre = SPLIT("{\"Regex\":\"a(\"}", "Isolated", "false")},
            "pre_tokenizer.pretokenizers[0]: pattern, at byte 2:");
    refused(&(struct fixture){.pre = SPLIT("{\"Regex\":\"a\"}", "Sideways", "false")},
            "pre_tokenizer.pretokenizers[0].behavior:");
    refused(&(struct fixture){.added = "{\"id\":65,\"content\":\"<s>\"}"},
            "added_tokens[0].id: 65 is another token");
    refused(&(struct fixture){.added = "{\"id\":300,\"content\":\"<s>\"},"
                                       "{\"id\":300,\"content\":\"<t>\"}"},
            "added_tokens[1].id: 300 stands there twice");
    struct kj_tok *t;
    struct kj_err err = KJ_ERR_INIT;
    CHECK_INT(kj_tok_parse(&t, "{\"model\"", 8, "x.json", &err), KJ_FAIL);
    CHECK_STR(err.file, strlen(err.file), "x.json");
    kj_err_reset(&err);
    const char *uni = "{\"pre_tokenizer\":{\"type\":\"ByteLevel\"},\"model\":{\"type\":"
                      "\"WordLevel\",\"vocab\":{}}}";
    CHECK_INT(kj_tok_parse(&t, uni, strlen(uni), "x.json", &err), KJ_FAIL);
    CHECK_STR(err.msg, strlen(err.msg), "model.type: \"WordLevel\" is not supported");
}

static void test_template_and_eos(void)
{
    static const char post[] =
        "{\"type\":\"Sequence\",\"processors\":[{\"type\":\"ByteLevel\"},{\"type\":"
        "\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"<s>\",\"type_"
        "id\":0}}"
        ",{\"Sequence\":{\"id\":\"A\",\"type_id\":0}},{\"SpecialToken\":{\"id\":\"</"
        "s>\","
        "\"type_id\":0}}],\"pair\":[],\"special_tokens\":{\"<s>\":{\"id\":\"<s>\","
        "\"ids\":["
        "300],\"tokens\":[\"<s>\"]},\"</s>\":{\"id\":\"</"
        "s>\",\"ids\":[301],\"tokens\":["
        "\"</s>\"]}}}]}";
    struct fixture f = {.post = post,
                        .added = "{\"id\":300,\"content\":\"<s>\",\"special\":true},"
                                 "{\"id\":301,\"content\":\"</s>\",\"special\":true}"};
    struct kj_tok *t = fixture_load(&f, msg);
    struct kj_err err = KJ_ERR_INIT;
    uint32_t id = 0;
    if (!CHECK(t))
        return;
    IS(t, "a", 0, 'a');
    IS(t, "a", KJ_TOK_TEMPLATE, 300, 'a', 301);
    CHECK_INT(kj_tok_eos(t, NULL, &id, &err), KJ_OK);
    CHECK_INT(id, 301);
    CHECK_INT(kj_tok_eos(t, "<s>", &id, &err), KJ_OK);
    CHECK_INT(id, 300);
    CHECK_INT(kj_tok_eos(t, "<nope>", &id, &err), KJ_USAGE);
    kj_tok_free(t);
    f.post = "{\"type\":\"RobertaProcessing\"}";
    t = fixture_load(&f, msg);
    if (CHECK(t)) { /* fine until it is asked for */
        struct kj_tok_state *s = kj_tok_state_new(t);
        struct kj_tok_ids ids = {0};
        CHECK_INT(kj_tok_encode(t, s, "a", 1, 0, &ids, NULL), KJ_OK);
        CHECK_INT(kj_tok_encode(t, s, "a", 1, KJ_TOK_TEMPLATE, &ids, NULL), KJ_FAIL);
        kj_tok_ids_release(&ids);
        kj_tok_state_free(s);
        kj_tok_free(t);
    }
}

static void test_decode(void)
{
    struct kj_tok *t = fixture_load(
        &(struct fixture){.merges = abc,
                          .vocab = ",\"한 x\":350",
                          .added =
                              "{\"id\":400,\"content\":\"<|x|>\",\"special\":true},"
                              "{\"id\":401,\"content\":\"é\"}"},
        msg);
    struct kj_buf b;
    struct kj_err err = KJ_ERR_INIT;
    if (!CHECK(t))
        return;
    kj_buf_init(&b, 1000);
    const uint32_t ids[] = {258, 400, 0xEA, 0xB0, 350, 401};
    CHECK_INT(kj_tok_decode(t, ids, 6, false, &b, &err), KJ_OK);
    CHECK_STR(b.p, b.n, "abc<|x|>\xEA\xB0한 xé");
    kj_buf_reset(&b);
    CHECK_INT(kj_tok_decode(t, ids, 3, true, &b, &err), KJ_OK);
    CHECK_STR(b.p, b.n, "abc\xEA");
    const uint32_t bad[] = {399, 402};
    CHECK_INT(kj_tok_decode(t, bad, 1, false, &b, NULL), KJ_BAD_RECORD);
    CHECK_INT(kj_tok_decode(t, bad + 1, 1, false, &b, NULL), KJ_BAD_RECORD);
    struct kj_tok_state *s = kj_tok_state_new(t);
    struct kj_tok_ids out = {0};
    CHECK_INT(kj_tok_encode(t, s, "ab\xFFz", 4, 0, &out, &err), KJ_BAD_RECORD);
    CHECK_INT(err.pos, 2);
    CHECK_INT(out.n, 0);
    kj_tok_ids_release(&out);
    kj_tok_state_free(s);
    kj_buf_release(&b);
    kj_tok_free(t);
}

static int golden_lines(const struct kj_tok *t, const char *path)
{
    struct kj_err err = KJ_ERR_INIT;
    struct kj_input *in;
    struct kj_json *j = kj_json_new();
    struct kj_tok_state *s = kj_tok_state_new(t);
    struct kj_tok_ids ids = {0};
    const char *p;
    size_t n;
    int64_t member, at;
    int good = 0, rc;
    if (!CHECK_INT(kj_input_open(&in, path, &err), KJ_OK))
        return 0;
    struct kj_lines *l = kj_lines_new(in, 1 << 24);
    while ((rc = kj_lines_next(l, &p, &n, &member, &at, &err)) == KJ_OK) {
        const struct kj_jval *root;
        if (!CHECK_INT(kj_json_parse(j, p, n, &root, &err), KJ_OK))
            break;
        struct kj_str text = kj_jstr(kj_jget(root, "text"));
        const struct kj_jval *want = kj_jget(root, "ids");
        ids.n = 0;
        kj_tok_encode(t, s, text.p, text.n, 0, &ids, &err);
        bool same = want->n == ids.n;
        for (size_t i = 0; same && i < ids.n; i++)
            same = want->items[i].i == ids.v[i];
        good += same;
        if (!same)
            printf("FAIL golden: [%.*s]\n", (int)text.n, text.p);
    }
    CHECK_INT(rc, KJ_EOF);
    kj_lines_free(l);
    kj_input_close(in);
    kj_tok_ids_release(&ids);
    kj_tok_state_free(s);
    kj_json_free(j);
    return good;
}

static void test_golden(void)
{
    static const struct {
        const char *model, *lines;
        int n;
    } sets[] = {{"llama3.tokenizer.json.zst", "golden.jsonl.zst", 2000},
                {"qwen3.tokenizer.json.zst", "qwen3.golden.jsonl.zst", 1000}};
    for (size_t i = 0; i < 2; i++) {
        char model[256], lines[256];
        struct kj_tok *t;
        struct kj_err err = KJ_ERR_INIT;
        snprintf(model, sizeof model, "../shared/data/tokenize/%s", sets[i].model);
        snprintf(lines, sizeof lines, "../shared/data/tokenize/%s", sets[i].lines);
        if (!test_have(model) || !test_have(lines)) {
            SKIP("no published tokenizer here");
            continue;
        }
        if (!CHECK_INT(kj_tok_load(&t, model, &err), KJ_OK))
            continue;
        CHECK_INT(golden_lines(t, lines), sets[i].n);
        kj_tok_free(t);
    }
}

int main(void)
{
    test_alphabet();
    test_merging();
    test_ignore_merges();
    test_lanes();
    test_long_words();
    test_characters();
    test_added();
    test_normalizer();
    test_pre_tokenizers();
    test_llama3_pattern();
    test_o200k_pattern();
    test_escapes();
    test_scan_is_pattern();
    test_blocks();
    test_refusals();
    test_template_and_eos();
    test_decode();
    test_golden();
    return test_end();
}
