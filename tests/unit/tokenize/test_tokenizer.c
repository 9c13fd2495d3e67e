/* test_tokenizer.c - loading, refusing, encoding, decoding. */
#include "tests/unit/tokenize/fixture.h"

#include "base/input.h"
#include "tests/unit/test.h"
#include "tokenize/tok_state.h"

static char msg[256];

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
    test_added();
    test_normalizer();
    test_refusals();
    test_template_and_eos();
    test_decode();
    test_golden();
    return test_end();
}
