/* test_encoders.c - WordPiece and Unigram, and what stands in front of them. Ids
 * worked out by hand from the definitions. */
#include "tests/unit/tokenize/fixture.h"

#include "tests/unit/test.h"
#include "tokenize/tok_norm.h"

/* NULL with the reason in msg when it is refused. */
static char msg[256];
static struct kj_tok *parse(const char *normalizer, const char *pre, const char *post,
                            const char *model)
{
    struct kj_buf b;
    struct kj_tok *t = NULL;
    struct kj_err err = KJ_ERR_INIT;
    kj_buf_init(&b, 1 << 20);
    kj_buf_printf(
        &b,
        "{\"added_tokens\":[{\"id\":0,\"content\":\"[UNK]\",\"special\":true},"
        "{\"id\":1,\"content\":\"[X]\",\"special\":true,\"lstrip\":true}],"
        "\"normalizer\":%s,\"pre_tokenizer\":%s,\"post_processor\":%s,"
        "\"decoder\":{\"type\":\"WordPiece\"},\"model\":%s}",
        normalizer, pre, post, model);
    if (kj_tok_parse(&t, b.p, b.n, "t.json", &err) != KJ_OK)
        t = NULL;
    snprintf(msg, sizeof msg, "%.255s", err.msg);
    kj_buf_release(&b);
    return t;
}

static void ids_are(const struct kj_tok *t, const char *text, unsigned flags,
                    const int *want)
{
    struct kj_tok_state *s = kj_tok_state_new(t);
    struct kj_tok_ids ids = {0};
    struct kj_err err = KJ_ERR_INIT;
    for (int round = 0; round < 2; round++) { /* the second is from the cache */
        size_t i = 0;
        ids.n = 0;
        CHECK_INT(kj_tok_encode(t, s, text, strlen(text), flags, &ids, &err), KJ_OK);
        while (want[i] >= 0 && i < ids.n && (uint32_t)want[i] == ids.v[i])
            i++;
        if (!test_check(want[i] < 0 && i == ids.n, __FILE__, __LINE__, text)) {
            printf("     %s: got", err.msg);
            for (i = 0; i < ids.n; i++)
                printf(" %u", ids.v[i]);
            printf("\n");
        }
    }
    kj_tok_ids_release(&ids);
    kj_tok_state_free(s);
}
#define IDS(t, text, flags, ...) ids_are(t, text, flags, (const int[]){__VA_ARGS__, -1})

#define BERT "{\"type\":\"BertNormalizer\"}"
#define WORDS                                                                          \
    "{\"type\":\"WordPiece\",\"unk_token\":\"[UNK]\",\"max_input_chars_per_word\":9,"  \
    "\"continuing_subword_prefix\":\"##\",\"vocab\":{\"[UNK]\":0,\"[X]\":1,\"un\":2,"  \
    "\"##aff\":3,\"##able\":4,\"##a\":5,\"!\":6,\"한\":7,\"##국\":8,\"한국\":9,"   \
    "\"中\":10,\"u\":11,\"cafe\":12,\"#\":13,\"##x\":14}}"

static void test_wordpiece(void)
{
    struct kj_tok *t =
        parse(BERT, "{\"type\":\"BertPreTokenizer\"}",
              "{\"type\":\"BertProcessing\",\"sep\":[\"[X]\",1],\"cls\":[\"[UNK]\",0]}",
              WORDS);
    if (!CHECK(t)) {
        printf("     %s\n", msg);
        return;
    }
    IDS(t, "unaffable", 0, 2, 3, 4);
    IDS(t, "UnAff!Able", 0, 2, 3, 6, 0); /* "able" is no first piece */
    IDS(t, "unaffablea", 0, 0);          /* ten characters are too many */
    IDS(t, "  caf\xC3\xA9\t\xE2\x80\x8Bun ", 0, 12, 2);
    IDS(t, "한국", 0, 0);      /* taken apart into jamo with the accents */
    IDS(t, "中中", 0, 10, 10); /* apart, as by spaces */
    IDS(t, "un  [X]un", 0, 2, 1, 2);
    IDS(t, "##x", 0, 13, 13, 0); /* punctuation is cut off */
    IDS(t, "un", KJ_TOK_TEMPLATE, 0, 2, 1);
    kj_tok_free(t);
    t = parse("null", "{\"type\":\"WhitespaceSplit\"}", "null", WORDS);
    if (CHECK(t)) {
        IDS(t, "##x un##x", 0, 14, 0);
        IDS(t, "unaff UNAFF", 0, 2, 3, 0);
        IDS(t, "한국 한국국", 0, 9, 9, 8);
        kj_tok_free(t);
    }
}

#define PIECES(more)                                                                   \
    "{\"type\":\"Unigram\",\"unk_id\":0" more                                          \
    ",\"vocab\":[[\"[UNK]\",0],[\"[X]\",0],[\"▁\",-2],[\"a\",-1],[\"b\",-1.5],"      \
    "[\"ab\",-2.5],[\"abc\",-9],[\"▁a\",-3],[\"<0xC3>\",-20],[\"<0xA9>\",-20],"      \
    "[\"ba\",-2.25]]}"
#define META                                                                           \
    "{\"type\":\"Metaspace\",\"replacement\":\"▁\",\"prepend_scheme\":\"always\"}"

static void test_unigram(void)
{
    struct kj_tok *t = parse("null", META, "null", PIECES(""));
    if (!CHECK(t)) {
        printf("     %s\n", msg);
        return;
    }
    IDS(t, "ab", 0, 2, 5);     /* 2 + 2.5 = 3 + 1.5 = 2 + 1 + 1.5: the first found */
    IDS(t, "ba", 0, 2, 10);    /* 2.25 < 1.5 + 1 */
    IDS(t, "abc", 0, 2, 6);    /* an unknown c costs 30 */
    IDS(t, "xyb", 0, 2, 0, 4); /* unknown neighbours are one */
    IDS(t, "xby", 0, 2, 0, 4, 0);
    IDS(t, "a  a", 0, 7, 2, 7);
    IDS(t, "▁a", 0, 7); /* the sign is there already */
    IDS(t, "a[X]a", 0, 7, 1, 7);
    IDS(t, "\xC3\xA9", 0, 2, 0);
    kj_tok_free(t);
    t = parse("null", META, "null", PIECES(",\"byte_fallback\":true"));
    if (CHECK(t)) {
        IDS(t, "\xC3\xA9", 0, 2, 8, 9);
        IDS(t, "\xC3\xA9x", 0, 2, 0); /* fused, and not all bytes are there */
        kj_tok_free(t);
    }
    t = parse("null",
              "{\"type\":\"Metaspace\",\"replacement\":\"▁\",\"prepend_scheme\":"
              "\"first\",\"split\":false}",
              "null", PIECES(""));
    if (CHECK(t)) {
        IDS(t, "a[X]a", 0, 7, 1, 3);
        kj_tok_free(t);
    }
}

static void normal(const char *json, const char *text, const char *want)
{
    struct kj_tok *t =
        parse(json, "{\"type\":\"WhitespaceSplit\"}", "null", PIECES(""));
    struct kj_buf b;
    if (!CHECK(t)) {
        printf("     %s\n", msg);
        return;
    }
    kj_buf_init(&b, 1 << 16);
    CHECK_INT(tok_norm_run(&t->norms.v[0], &b, text, strlen(text)), KJ_OK);
    CHECK_STR(b.p, b.n, want);
    kj_buf_release(&b);
    kj_tok_free(t);
}

static void test_normalizers(void)
{
    normal("{\"type\":\"Lowercase\"}", "ÀBC İ ΑΣ", "àbc i\xCC\x87 ασ");
    normal("{\"type\":\"Strip\"}", " \xE3\x80\x80 a b \n", "a b");
    normal("{\"type\":\"Strip\",\"strip_left\":false}", " a ", " a");
    normal("{\"type\":\"StripAccents\"}", "e\xCC\x81\xC3\xA9", "e\xC3\xA9");
    normal("{\"type\":\"Prepend\",\"prepend\":\"▁\"}", "a", "▁a");
    normal("{\"type\":\"Prepend\",\"prepend\":\"▁\"}", "", "");
    normal("{\"type\":\"Replace\",\"pattern\":{\"String\":\"ab\"},\"content\":\"-\"}",
           "abcabab", "-c--");
    normal("{\"type\":\"Replace\",\"pattern\":{\"Regex\":\" {2,}\"},\"content\":\" \"}",
           "a   b c  ", "a b c ");
    normal("{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"x*\"},\"content\":\"-\"}",
           "axb", "-a--b-");
    normal(BERT, "A\x01\tb\xC3\x89 中", "a be  中 ");
    normal("{\"type\":\"BertNormalizer\",\"lowercase\":false,\"clean_text\":false,"
           "\"handle_chinese_chars\":false}",
           "A\x01 É中", "A\x01 É中");
    normal("{\"type\":\"Nmt\"}", "a\x01\tb\xE2\x80\x8B\xC2\x85\x7F▁\n",
           "a b \xC2\x85  ");
    /* A mark that came with Unicode 14 stays where it is. */
    normal("{\"type\":\"NFC\"}", "a\xE1\xAB\x81\xCC\xB4", "a\xE1\xAB\x81\xCC\xB4");
    normal("{\"type\":\"NFC\"}", "a\xCC\x81\xCC\xB4", "\xC3\xA1\xCC\xB4");
}

/* A map by hand: "A" to "xyz", "e" with an acute to "E". A unit of a character
 * has its label and its offset; value units stand at the offset. */
static void test_charsmap(void)
{
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    unsigned char bytes[4 + 4 * 1024 + 8] = {0};
    uint32_t unit[1024] = {0}, size = sizeof unit;
    char json[8192];
    size_t n = 0;
    unit['A'] = 'A' | 1 << 8 | 512u << 10; /* leaf; value at 'A' ^ 512 */
    unit['A' ^ 512] = 0;
    unit['e'] = 'e' | 256u << 10;
    uint32_t at = 'e' ^ 256 ^ 0xCC;
    unit[at] = 0xCC | 768u << 10;
    uint32_t to = at ^ 768 ^ 0x81;
    unit[to] = 0x81 | 1 << 8 | 64u << 10;
    unit[to ^ 64] = 4;
    memcpy(bytes, &size, 4);
    memcpy(bytes + 4, unit, size);
    memcpy(bytes + 4 + size, "xyz\0E", 6);
    n = (size_t)snprintf(json, sizeof json,
                         "{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"");
    for (size_t i = 0; i < 4 + size + 6; i += 3) {
        uint32_t v = (uint32_t)bytes[i] << 16 | bytes[i + 1] << 8 | bytes[i + 2];
        for (int k = 18; k >= 0; k -= 6)
            json[n++] = digits[v >> k & 63];
    }
    snprintf(json + n, sizeof json - n, "\"}");
    normal(json, "aAb", "axyzb");
    normal(json, "e\xCC\x81x", "Ex");
    normal(json, "e\xCC\x80", "e\xCC\x80");
    /* The shortest key in front of the cluster stands for all of it. */
    normal(json, "A\xCC\x80", "xyz");
    CHECK(!parse("{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"AAAA\"}", "null",
                 "null", PIECES("")));
    CHECK_STR(msg, strlen(msg), "normalizer.precompiled_charsmap: not a character map");
}

/* The bytes and some tokens as a file of ranks. */
static struct kj_tok *ranks(const char *name, const char *more)
{
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    struct kj_buf b;
    struct kj_tok *t = NULL;
    struct kj_err err = KJ_ERR_INIT;
    kj_buf_init(&b, 1 << 20);
    for (unsigned i = 0; i < 256; i++)
        kj_buf_printf(&b, "%c%c== %u\n", digits[i >> 2], digits[(i & 3) << 4], i);
    kj_buf_addz(&b, more);
    if (kj_tok_parse(&t, b.p, b.n, name, &err) != KJ_OK)
        t = NULL;
    snprintf(msg, sizeof msg, "%.255s", err.msg);
    kj_buf_release(&b);
    return t;
}

static void test_tiktoken(void)
{
    /* ab 256, bc 257, abc 258, xyz 259 (no way to it by merges), " a" 260. */
    struct kj_tok *t = ranks("x/cl100k_base.tiktoken",
                             "YWI= 256\r\nYmM= 257\n\nYWJj 258\neHl6 259\nIGE= 260");
    if (!CHECK(t)) {
        printf("     %s\n", msg);
        return;
    }
    CHECK_INT(kj_tok_vocab_size(t), 100277);
    IDS(t, "abc", 0, 258);
    IDS(t, "abcbc", 0, 258, 257);
    IDS(t, "xyz xyzx", 0, 259, ' ', 'x', 'y', 'z', 'x');
    IDS(t, "<|endoftext|>b a", 0, 100257, 'b', 260);
    IDS(t, "12345", 0, '1', '2', '3', '4', '5');
    kj_tok_free(t);
    t = ranks("o200k_base.tiktoken", "YWI= 256\n");
    if (CHECK(t)) {
        IDS(t, "abAB'sab<|endofprompt|>", 0, 256, 'A', 'B', '\'', 's', 256, 200018);
        kj_tok_free(t);
    }
    static const struct {
        const char *name, *text, *want;
    } bad[] = {
        {"other.tiktoken", "", "the name says no pattern"},
        {"gpt2.tiktoken", "YWI= 256\nYWI= 257\n", "the token of rank 257 stands"},
        {"gpt2.tiktoken", "YWI= 255\n", "rank 255 stands there twice"},
        {"gpt2.tiktoken", "YWI= 50256\n", "rank 50256 is that of <|endoftext|>"},
        {"gpt2.tiktoken", "Y*I= 256\n", "line 257: the token is not base64"},
        {"gpt2.tiktoken", "YWI= 2x6\n", "line 257: the rank"},
        {"gpt2.tiktoken", "YWI= 9999999\n", "line 257: the rank"},
        {"gpt2.tiktoken", "YWI=\n", "line 257: not a token and a rank"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        t = ranks(bad[i].name, bad[i].text);
        CHECK(!t);
        kj_tok_free(t);
        if (!CHECK(strncmp(msg, bad[i].want, strlen(bad[i].want)) == 0))
            printf("     got  %s\n", msg);
    }
}

static void refused(const char *normalizer, const char *pre, const char *model,
                    const char *want)
{
    struct kj_tok *t = parse(normalizer, pre, "null", model);
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
    refused("null", "null", "{\"type\":\"Unigram\",\"vocab\":[[\"a\",1],[\"a\",2]]}",
            "model.vocab[1]: \"a\" stands there twice");
    refused("null", "null", "{\"type\":\"Unigram\",\"vocab\":[[\"a\",\"b\"]]}",
            "model.vocab[0]: not a piece and a score");
    refused("null", "null", "{\"type\":\"Unigram\",\"unk_id\":3,\"vocab\":[[\"a\",1]]}",
            "model.unk_id:");
    refused("null", "null", "{\"type\":\"Unigram\",\"vocab\":{}}",
            "model.vocab: not an array");
    refused("null", "null", "{\"type\":\"WordPiece\",\"unk_token\":\"u\",\"vocab\":{}}",
            "model.unk_token: not in the vocabulary");
    refused("null", "{\"type\":\"ByteLevel\"}", WORDS, "pre_tokenizer: ByteLevel:");
    refused("{\"type\":\"Strip\"}",
            "{\"type\":\"Metaspace\",\"replacement\":\"▁\",\"prepend_scheme\":"
            "\"first\"}",
            PIECES(""), "pre_tokenizer.prepend_scheme: \"first\" behind");
    refused("null", "{\"type\":\"Metaspace\",\"replacement\":\"ab\"}", PIECES(""),
            "pre_tokenizer.replacement:");
    refused("null", "{\"type\":\"Punctuation\",\"behavior\":\"Odd\"}", PIECES(""),
            "pre_tokenizer.behavior:");
    refused("{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"a(\"},\"content\":\"\"}",
            "null", PIECES(""), "normalizer: pattern, at byte");
}

int main(void)
{
    test_wordpiece();
    test_unigram();
    test_normalizers();
    test_charsmap();
    test_tiktoken();
    test_refusals();
    return test_end();
}
