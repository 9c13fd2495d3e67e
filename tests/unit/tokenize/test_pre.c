/* test_pre.c - cutting text into words: pre-tokenizers, the published patterns, and
 * the hand-written scanners and vector code beside the same patterns in PCRE2. */
#include "tests/unit/tokenize/fixture.h"

#include "base/utf8.h"
#include "tests/unit/test.h"
#include "tokenize/tok_block.h"

static char msg[256];

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
          "\"individual_digits\":true}" THEN_BYTES,
          "a12b٣", "a/1/2/b/٣/");
    words("{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Digits\"}" THEN_BYTES,
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
        "\"Regex\":%.*s},\"behavior\":\"Isolated\",\"invert\":false}" THEN_BYTES,
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

int main(void)
{
    test_pre_tokenizers();
    test_llama3_pattern();
    test_o200k_pattern();
    test_escapes();
    test_scan_is_pattern();
    test_blocks();
    return test_end();
}
