/* test_decode.c - decoders, and BPE over characters. What comes out was worked out by
 * hand from the definitions; tests/cli/tokenizer-peers.sh asks the reference. */
#include "tests/unit/tokenize/fixture.h"

#include "tests/unit/test.h"

#define SIGN "\xE2\x96\x81" /* the sign for a space */

static char msg[256];
static struct kj_tok *parse(const char *front, const char *decoder, const char *model)
{
    struct kj_buf b;
    struct kj_tok *t = NULL;
    struct kj_err err = KJ_ERR_INIT;
    kj_buf_init(&b, 1 << 20);
    kj_buf_printf(&b,
                  "{\"added_tokens\":[{\"id\":0,\"content\":\"<s>\",\"special\":true}],"
                  "%s,\"decoder\":%s,\"model\":%s}",
                  front, decoder, model);
    if (kj_tok_parse(&t, b.p, b.n, "t.json", &err) != KJ_OK)
        t = NULL;
    snprintf(msg, sizeof msg, "%.255s", err.msg);
    kj_buf_release(&b);
    return t;
}

/* ---- decoders ---- */

/* Tokens by the model's order: 0 <s>, then these. */
#define TOKENS                                                                         \
    "{\"type\":\"WordPiece\",\"unk_token\":\"[UNK]\",\"vocab\":{\"<s>\":0,"            \
    "\"[UNK]\":1,\"do\":2,\"##n\":3,\"'\":4,\"t\":5,\".\":6,\"not\":7,\"##\":8,"       \
    "\"" SIGN "a\":9,\"b" SIGN SIGN "\":10,\"<0xED>\":11,\"<0x95>\":12,"               \
    "\"<0x9C>\":13,\"<0x+a>\":14,\"<0xg0>\":15,\"  a \":16,\"n't\":17}}"

static void text_is(const char *decoder, bool skip, const char *want,
                    const uint32_t *ids, size_t n)
{
    struct kj_err err = KJ_ERR_INIT;
    struct kj_buf b;
    struct kj_tok *t = parse("\"normalizer\":null", decoder, TOKENS);
    if (!CHECK(t)) {
        printf("     %s\n", msg);
        return;
    }
    kj_buf_init(&b, 1000);
    kj_buf_addz(&b, ">");
    CHECK_INT(kj_tok_decode(t, ids, n, skip, &b, &err), KJ_OK);
    CHECK_STR(b.p, b.n, want);
    kj_buf_release(&b);
    kj_tok_free(t);
}
#define IDS(...)                                                                       \
    (const uint32_t[]){__VA_ARGS__}, sizeof((const uint32_t[]){__VA_ARGS__}) / 4
#define META(scheme) "{\"type\":\"Metaspace\",\"replacement\":\"" SIGN "\"" scheme "}"
#define LIST(list)   "{\"type\":\"Sequence\",\"decoders\":[" list "]}"
#define BYTES        "{\"type\":\"ByteFallback\"}"
#define FUSE         "{\"type\":\"Fuse\"}"
#define STRIP(a, b)                                                                    \
    "{\"type\":\"Strip\",\"content\":\" \",\"start\":" #a ",\"stop\":" #b "}"
#define SPACES                                                                         \
    "{\"type\":\"Replace\",\"pattern\":{\"String\":\"" SIGN "\"},\"content\":\" \"}"

static void test_decoders(void)
{
    const char *clean = "{\"type\":\"WordPiece\"}";
    const char *plain = "{\"type\":\"WordPiece\",\"prefix\":\"##\",\"cleanup\":false}";
    text_is(plain, false, ">don ' t .", IDS(2, 3, 4, 5, 6));
    text_is(clean, false, ">don ' t.", IDS(2, 3, 4, 5, 6)); /* token by token */
    text_is(clean, false, ">don't not", IDS(2, 17, 7));
    text_is(plain, false, ">##nn", IDS(3, 8, 3));
    text_is("null", false, "><s> do <s> ##n", IDS(0, 2, 0, 3));
    text_is("null", true, ">do ##n", IDS(0, 2, 0, 3));
    text_is(META(""), false, ">ab  ", IDS(9, 10));
    text_is(META(",\"prepend_scheme\":\"first\""), false, ">b a", IDS(10, 9));
    text_is(META(",\"prepend_scheme\":\"never\""), false, "> ab  ", IDS(9, 10));
    text_is(META(",\"add_prefix_space\":false"), false, "> a", IDS(9));
    text_is(BYTES, false, ">한" SIGN "a", IDS(11, 12, 13, 9));
    text_is(BYTES, false, ">\xEF\xBF\xBD\xEF\xBF\xBD" SIGN "a", IDS(11, 12, 9));
    text_is(BYTES, false, ">\n<0xg0>", IDS(14, 15));
    text_is(LIST(SPACES "," BYTES "," FUSE "," STRIP(1, 0)), false, ">a한b  ",
            IDS(9, 11, 12, 13, 10));
    text_is(STRIP(1, 1), false, "> a a", IDS(16, 16));
    text_is(STRIP(9, 0), false, ">a a ", IDS(16, 16));
    text_is(LIST(FUSE "," STRIP(0, 3)), false, ">  a   a", IDS(16, 16));
    text_is(FUSE, false, ">", (const uint32_t[]){0}, 0);
}

static void test_not_decoded(void)
{
    static const struct {
        const char *decoder, *want;
    } bad[] = {
        {"{\"type\":\"CTC\"}", "t.json: decoder.type: \"CTC\" is not supported"},
        {LIST(FUSE ",{\"type\":\"ByteLevel\"}"),
         "t.json: decoder.decoders[1].type: \"ByteLevel\" is not supported"},
        {STRIP(-1, 0), "t.json: decoder: start or stop"},
        {"{\"type\":\"Strip\",\"content\":\"ab\"}", "t.json: decoder.content: not one"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct kj_tok *t = parse("\"normalizer\":null", bad[i].decoder, TOKENS);
        struct kj_err err = KJ_ERR_INIT;
        struct kj_buf b;
        uint32_t id = 2;
        kj_buf_init(&b, 100);
        if (CHECK(t)) {
            CHECK_INT(kj_tok_decode(t, &id, 1, false, &b, &err), KJ_FAIL);
            if (!CHECK(strncmp(err.msg, bad[i].want, strlen(bad[i].want)) == 0))
                printf("     got  %s\n", err.msg);
        }
        kj_buf_release(&b);
        kj_tok_free(t);
    }
}

/* ---- BPE over characters ---- */

#define LLAMA                                                                          \
    "\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\","    \
    "\"prepend\":\"" SIGN "\"},{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},"  \
    "\"content\":\"" SIGN "\"}]}"
#define VOCAB(more)                                                                    \
    "\"vocab\":{\"<s>\":0,\"<unk>\":1,\"" SIGN "\":2,\"a\":3,\"b\":4,\"c\":5,"         \
    "\"ab\":6,\"" SIGN "a\":7,\"" SIGN "ab\":8,\"bc\":9,\"<0xED>\":10,"                \
    "\"<0x95>\":11,\"<0x9C>\":12,\"" SIGN "cab\":13" more "}"
#define MERGES     "\"a b\",\"" SIGN " ab\",\"" SIGN " a\",\"b c\""
#define BPE(flags) "{\"type\":\"BPE\"," flags "," VOCAB("") ",\"merges\":[" MERGES "]}"
#define FALL       "\"unk_token\":\"<unk>\",\"byte_fallback\":true,\"fuse_unk\":"

static void ids_are(const char *model, const char *text, const uint32_t *want, size_t n)
{
    struct kj_tok *t = parse(LLAMA, "null", model);
    struct kj_err err = KJ_ERR_INIT;
    if (!CHECK(t)) {
        printf("     %s\n", msg);
        return;
    }
    struct kj_tok_state *s = kj_tok_state_new(t);
    for (int round = 0; round < 2; round++) { /* the second is from the cache */
        struct kj_tok_ids ids = {0};
        CHECK_INT(kj_tok_encode(t, s, text, strlen(text), 0, &ids, &err), KJ_OK);
        if (!test_check(ids.n == n && (!n || memcmp(ids.v, want, 4 * n) == 0), __FILE__,
                        __LINE__, text)) {
            printf("     got");
            for (size_t i = 0; i < ids.n; i++)
                printf(" %u", ids.v[i]);
            printf("\n");
        }
        kj_tok_ids_release(&ids);
    }
    kj_tok_state_free(s);
    kj_tok_free(t);
}

static void test_characters(void)
{
    const char *bpe = BPE(FALL "true"), *apart = BPE(FALL "false");
    ids_are(bpe, "ab", IDS(8));
    ids_are(bpe, "abc", IDS(8, 5));
    ids_are(bpe, "a bc", IDS(7, 2, 9));
    ids_are(bpe, "aab", IDS(7, 6));
    ids_are(bpe, "cab<s>ab", IDS(2, 5, 6, 0, 8));
    ids_are(bpe, "한 b", IDS(2, 10, 11, 12, 2, 4));
    ids_are(bpe, "\xC3\xA9\xC3\xA9 b", IDS(2, 1, 2, 4));
    ids_are(apart, "\xC3\xA9\xC3\xA9 b", IDS(2, 1, 1, 2, 4));
    /* An unknown token waits for a known character, and bytes do not. */
    ids_are(bpe, "\xC3\xA9한b", IDS(2, 10, 11, 12, 1, 4));
    /* Without a token for it, it is not there. */
    ids_are(BPE("\"unk_token\":null"),
            "\xC3\xA9"
            "a",
            IDS(7));
    ids_are(BPE("\"unk_token\":null"), "", (const uint32_t[]){0}, 0);
    ids_are(BPE("\"ignore_merges\":true"), "cab", IDS(13));
    ids_are(BPE("\"ignore_merges\":true"), "cab cab", IDS(2, 5, 6, 2, 5, 6));
    /* Merges that take bytes. */
    ids_are("{\"type\":\"BPE\"," FALL
            "true," VOCAB(",\"<0xED><0x95>\":14") ",\"merges\":[" MERGES
                                                  ",[\"<0xED>\",\"<0x95>\"]]}",
            "한", IDS(2, 14, 12));
}

/* Words of all the ways to merge: 64 bytes, hundreds, and more. */
static void test_long_words(void)
{
    static char text[3001];
    static uint32_t want[1500];
    for (size_t n = 10; n <= 1500; n = n * 3 / 2) {
        for (size_t i = 0; i < n; i++) {
            memcpy(text + 2 * i, "ab", 2);
            want[i] = i ? 6 : 8;
        }
        text[2 * n] = 0;
        ids_are(BPE(FALL "true"), text, want, n);
    }
}

static void refused(const char *model, const char *want)
{
    struct kj_tok *t = parse(LLAMA, "null", model);
    CHECK(!t);
    kj_tok_free(t);
    if (!CHECK(strncmp(msg, want, strlen(want)) == 0))
        printf("     got  %s\n", msg);
}

static void test_refusals(void)
{
    refused(BPE("\"unk_token\":\"<no>\""), "model.unk_token: not in the vocabulary");
    refused(BPE("\"byte_fallback\":1"), "model.byte_fallback: not true or false");
    refused(BPE("\"end_of_word_suffix\":\"</w>\""), "model.end_of_word_suffix:");
    refused("{\"type\":\"BPE\"," VOCAB("") ",\"merges\":[\"a x\"]}",
            "model.merges[0]: the second part is not in the vocabulary");
    refused("{\"type\":\"BPE\"," VOCAB("") ",\"merges\":[\"b a\"]}",
            "model.merges[0]: what it makes is not in the vocabulary");
}

int main(void)
{
    test_decoders();
    test_not_decoded();
    test_characters();
    test_long_words();
    test_refusals();
    return test_end();
}
